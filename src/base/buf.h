/* base/buf.h - a byte buffer with a maximum from birth: what streams pass through.
 *
 * Readable bytes are [start, start+n). Eating from the front is O(1); memory is moved only when
 * room is needed and reused for ever. Adding past the maximum fails with ERR_LIMIT and changes
 * nothing. A buf that failed for lack of memory (ERR_NOMEM) is unchanged too. */
#ifndef FUSOR_BASE_BUF_H
#define FUSOR_BASE_BUF_H

#include <stdarg.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/span.h"

struct buf {
    char *mem;
    size_t start, n, cap, max;
};

/* No memory is taken before the first byte. max > 0. */
void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b);
/* Empty, memory kept. */
void buf_clear(struct buf *b);
/* borrowed until the next change of b. */
struct span buf_span(const struct buf *b);
MUST_USE bool buf_add(struct buf *b, struct span s, struct err *e);
MUST_USE bool buf_add_char(struct buf *b, char c, struct err *e);
MUST_USE bool buf_addf(struct buf *b, struct err *e, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Room for at least `want` more bytes at *out (borrowed until the next change); buf_grew() counts
 * what was written there. */
MUST_USE bool buf_room(struct buf *b, size_t want, char **out, struct err *e);
void buf_grew(struct buf *b, size_t n);
/* Drops n bytes (at most all) from the front. */
void buf_eat(struct buf *b, size_t n);
/* Cuts back to the first n bytes: undoes a half-written record. */
void buf_cut(struct buf *b, size_t n);

#endif
