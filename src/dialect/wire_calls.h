/* dialect/wire_calls.h - the tool calls of an answer on its way to a client, as far as they have
 * come: what the writers of streams put together from events. Private to dialect/. */
#ifndef FUSOR_DIALECT_WIRE_CALLS_H
#define FUSOR_DIALECT_WIRE_CALLS_H

#include "dialect/wire.h"

struct wire_call {
    struct buf id, name, arguments;
    struct buf signature; /* the provider's, to be replayed with the call */
    bool sent;            /* the writer's: its first piece, or all of it, is out */
    bool whole;           /* the arguments are complete */
};

struct wire_calls {
    struct wire_call *at; /* owned array */
    size_t n;
};
void wire_calls_done(struct wire_calls *c);
/* The call of a CHAT_EV_TOOL event, made when it is new, with all that the event says of it but the
 * piece of its arguments. Borrowed until the next event. NULL: *e is set (ERR_NOMEM, ERR_LIMIT). */
struct wire_call *wire_calls_note(struct wire_calls *c, const struct chat_event *ev, struct err *e);

#endif
