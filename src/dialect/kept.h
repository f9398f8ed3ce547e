/* dialect/kept.h - reasoning that is kept by tool call, for the next turn of a client that does not
 * send it back.
 *
 * Some providers sign what a model thought before it called a tool, and take the result of the call
 * only, or answer better, when that comes back. Not every dialect has a place for it, and many
 * clients drop it where there is one. So it is kept under the id of each call as the client knows
 * it, and put back in front of the calls when a request comes without.
 *
 * Pure: the archive does the I/O. It keeps one JSON text a call:
 *
 *   {"name": tool, "signature": the call's own, "blocks": [{text, signature, format, id,
 *    signs_text}]}
 */
#ifndef FUSOR_DIALECT_KEPT_H
#define FUSOR_DIALECT_KEPT_H

#include "base/limits.h"
#include "dialect/dialect.h"

#define KEPT_ID_BYTES 16
/* Calls of one request that are looked for, and bytes that are kept of one. */
#define KEPT_CALLS 256
#define KEPT_BYTES MIB(1)

/* Whether an answer has calls and anything signed. */
bool kept_wanted(const struct chat_collect *c);
/* The id that the client has for a call of the answer `answer_id`; may lie in `made`. */
struct span kept_call_id(const struct chat_collect *c, size_t call, struct span answer_id,
                         char made[static KEPT_ID_BYTES]);
/* Appends what is kept of a call. ERR_LIMIT: more than fits into `out`. */
MUST_USE bool kept_write(const struct chat_collect *c, size_t call, struct buf *out, struct err *e);

/* The ids of calls whose message has lost what was signed, newest first, at most `max`; borrowed
 * from the request. */
size_t kept_missing(const struct chat_request *r, struct span *ids, size_t max);
/* Puts back what was found: values[i] belongs to ids[i]; p NULL: nothing was. What cannot be read,
 * or belongs to a call of another tool, is passed over. The new parts live in the arena and are
 * marked as `kept`. ERR_NOMEM. */
MUST_USE bool kept_restore(struct arena *a, const struct span *ids, const struct span *values,
                           size_t n, struct chat_request *r, struct err *e);

#endif
