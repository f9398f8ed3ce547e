/* api/keep.h - what a request takes over from earlier ones, and what its answer leaves for later
 * ones: the turns of a conversation that Responses goes on from, and signed reasoning by tool call.
 * The archive keeps both; only a request that goes on from a turn cannot do without it. Private to
 * api/. */
#ifndef FUSOR_API_KEEP_H
#define FUSOR_API_KEEP_H

#include "api/edge.h"
#include "chat/collect.h"

struct dialect_reply;

/* A request that waits for the archive. */
struct keep_load;

/* Told from the loop, unless the load was given up before; the load is gone then. err NULL: the
 * request has what was there. */
typedef void keep_done(void *owner, const struct err *err);

/* owned. The turns that r->previous_id stands for, in front of its messages; *out_first: where its
 * own begin. In the end ERR_INPUT "previous_response_not_found", ERR_LIMIT (too long), or
 * ERR_UNAVAILABLE. r, out_first and the exchange's arena live until then, or until
 * keep_load_free(). */
MUST_USE struct keep_load *keep_load_turns(struct api_request *rq, struct chat_request *r,
                                           size_t *out_first, keep_done *on_done, void *owner,
                                           struct err *e);
/* The same for signed reasoning that r lacks; NULL when it lacks none, or there is no memory. Ends
 * without an error. */
struct keep_load *keep_load_reasoning(struct api_request *rq, struct chat_request *r,
                                      keep_done *on_done, void *owner);
/* Gives it up. NULL is fine. */
void keep_load_free(struct keep_load *l);

/* Keeps of a finished answer what is to be kept: the turn, when its request says `store` (first:
 * see keep_load_turns()), and what is signed, when it has calls. What cannot be kept is logged. */
void keep_answer(struct api_request *rq, const struct dialect_reply *head, size_t first,
                 const struct chat_collect *c);

/* For a streamed answer that nobody else collects: only what is signed and which calls it has, not
 * its text. False: it is given up, more than can be kept. chat_collect_done() is the caller's. */
void keep_gather_init(struct chat_collect *c);
MUST_USE bool keep_gather(struct chat_collect *c, const struct chat_event *ev);

/* `id`: of what cannot be found. Always false. */
bool keep_not_found(struct span id, struct err *e);

#endif
