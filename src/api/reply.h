/* api/reply.h - the answer to one chat request: events into what the client gets, streamed or whole.
 * Private to api/; worker's thread.
 *
 * chat.c finds out what is asked and starts the call with ->sink; from then on everything that can
 * end it (events, the client's leaving, a drain) is handled in reply.c. */
#ifndef FUSOR_API_REPLY_H
#define FUSOR_API_REPLY_H

#include "api/edge.h"
#include "api/keep.h"
#include "chat/collect.h"
#include "dialect/dialect.h"

/* What the client has seen. */
enum reply_state {
    REPLY_WAITING,   /* nothing has been sent; load or call is alive */
    REPLY_STREAMING, /* head has been sent; load or call is alive */
    REPLY_ENDED,     /* both are gone; x may be gone */
};

struct chat_reply {
    struct list node; /* of worker->replies */
    struct chat_sink sink;
    struct api_request *rq;
    enum reply_state state;
    struct chat_request request;
    struct app_target target;
    const struct dialect *dialect;
    struct keep_load *load; /* the archive is asked: there is no call yet */
    struct chat_call *call;
    size_t first;     /* messages that were there before this request: those of earlier turns */
    const char *mode; /* of a recipe, else NULL */
    size_t n_members; /* of a recipe */
    struct dialect_reply head;
    struct dialect_writer *writer; /* streamed answers; NULL before the first byte */
    struct chat_collect collect;   /* whole answers; of streamed ones what is signed */
    bool gathers;                  /* streamed: it is collected */
    struct loop_timer keepalive;
    int64_t wrote_us; /* streamed: when the client last got bytes */
    bool watched;
    bool paused;
    struct chat_event held; /* streamed: a USAGE that came before any content */
    /* progress that a slow client has not taken yet: the latest state of each call */
    struct chat_member *late;
    size_t n_late;
};

/* In the request's arena: never freed by hand. NULL: no memory. */
MUST_USE struct chat_reply *reply_new(struct api_request *rq);
/* From now on something is under way (->load or ->call): the client may leave, or have to be kept
 * alive. Once is enough. */
MUST_USE bool reply_watch(struct chat_reply *r, struct err *e);
/* Ends the call without an event; the answer goes on. NULL is fine. */
void reply_cancel_call(struct chat_reply *r);
/* There is no call, or no more: the client gets the error, as a status or in its stream. The last
 * thing done with r. */
void reply_fail(struct chat_reply *r, const struct err *err);

#endif
