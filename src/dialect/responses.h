/* dialect/responses.h - turns of a conversation that we keep for clients of Responses: what is
 * stored of a turn, and how a later request goes on from it.
 *
 * Pure: the archive does the I/O. It keeps one JSON text a turn, by the id of its answer:
 *
 *   {"input": [items], "response": {the response object, as the client got it}}
 *
 * so that an answer can be given out again as it was, with its input items, and a turn holds
 * nothing of the turns before it: response.previous_response_id names the one that it went on from.
 * A request with previous_response_id is answered by walking that chain (its length is the caller's
 * to limit), reading each turn, and joining them. Instructions hold for one request and are not
 * stored as input. */
#ifndef FUSOR_DIALECT_RESPONSES_H
#define FUSOR_DIALECT_RESPONSES_H

#include "dialect/dialect.h"

/* A turn that was kept; all of it in the arena that it was read into. */
struct responses_turn {
    const struct chat_message *messages; /* what the client sent, then what was answered */
    size_t n;
    struct span previous; /* id of the turn before; p NULL: it was the first */
};

/* Appends the JSON of a finished turn. r->request holds the messages as they were answered; those
 * before `first` (instructions and joined turns) are not stored. Reasoning and signatures of every
 * provider are kept, so that any of them can go on. */
MUST_USE bool responses_write_turn(const struct dialect_reply *r, size_t first,
                                   const struct chat_collect *c, struct buf *out, struct err *e);
/* Its way back. ERR_STATE when it is not what responses_write_turn() wrote. */
MUST_USE bool responses_read_turn(struct arena *a, struct span stored, struct responses_turn *out,
                                  struct err *e);
/* Puts n turns in front of the request's own messages, behind its instructions. turns[0] is the
 * newest, the one that r->previous_id names, as they come when the chain is walked. *out_first:
 * where the request's own messages begin, for responses_write_turn(). The new list lives in the
 * arena. */
MUST_USE bool responses_join(struct arena *a, const struct responses_turn *turns, size_t n,
                             struct chat_request *r, size_t *out_first, struct err *e);
/* The answer that a writer of this dialect has streamed, to be kept: borrowed, good until its
 * writer_free(). */
const struct chat_collect *responses_collected(const struct dialect_writer *w);

#endif
