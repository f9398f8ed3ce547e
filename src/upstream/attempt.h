/* upstream/attempt.h - one call to a provider over HTTP; private to upstream/.
 *
 * attempt.c: life, booking, the end. attempt_http.c: what comes back. local.c: the child a local
 * model needs first. */
#ifndef FUSOR_UPSTREAM_ATTEMPT_H
#define FUSOR_UPSTREAM_ATTEMPT_H

#include "chat/think.h"
#include "dialect/dialect.h"
#include "http/sse.h"
#include "upstream/child.h"
#include "upstream/upstream_priv.h"

/* One writer: attempt_to(). Beside each state what exists in it. */
enum attempt_state {
    ATTEMPT_IDLE = 0,   /* memory only; in upstream->idle */
    ATTEMPT_LEASING,    /* local->out: a child is starting; body is written */
    ATTEMPT_BOOKING,    /* the ticket is out; local: the child is held, from here to the end */
    ATTEMPT_SENDING,    /* booked; http runs, no head yet */
    ATTEMPT_STREAMING,  /* booked; http, sse and reader: events flow */
    ATTEMPT_COLLECTING, /* booked; http, reply: a whole body or an error's body grows */
    ATTEMPT_TELLING,    /* settled; the last events are on their way to the sink */
    ATTEMPT_DRAINING,   /* settled, the sink is gone; http runs to the end of its body, so that its
                         * connection can be used again */
    ATTEMPT_ENDED,      /* memory, perhaps a lease on its way back; recycled between turns */
    ATTEMPT_STATES
};

/* What a local model's attempt has beside the others'. Kept with the attempt's memory. */
struct attempt_local {
    struct child_lease lease;
    struct http_origin origin; /* of the child, while it is held */
    char bearer[48];           /* "Bearer KEY" of the child */
    struct attempt *owner;
    bool out;       /* the pool knows the lease: its memory must stay */
    bool returning; /* released, on_gone is to come */
};

struct attempt {
    struct chat_call call;
    struct upstream_node node;
    struct upstream *upstream; /* NULL: freed while the lease was on its way back */
    const struct up_provider *provider;
    const struct config_model *model;
    const struct dialect *dialect; /* of the call: the provider's, or that of a pass */
    struct chat_sink *sink;        /* NULL after the last event or a cancel */
    enum attempt_state state;
    bool paused;
    bool booked;       /* has its yes and is not settled */
    bool started;      /* START was emitted */
    bool usage_told;   /* the last known usage was emitted */
    bool has_usage;    /* usage is the upstream's */
    bool refused;      /* COLLECTING: the body of an error */
    int status;        /* of the head */
    int64_t retry_ms;  /* of the head */
    bool pass, stream; /* of the request; a chat is always asked for as a stream */
    int64_t deadline_us, max_tokens;
    struct gate_intent intent;
    struct gate_ticket ticket;
    struct loop_timer timer; /* LEASING, BOOKING: deadline; error's body and DRAINING: patience */
    struct loop_task recycle;
    struct http_call *http;
    struct buf body, path, reply;
    struct sse *sse;
    struct dialect_reader *reader;
    struct dialect_notes notes;  /* of the body */
    struct think think;          /* THINK_OVER: text is passed on as it is */
    struct span betas;           /* of the request; p NULL: none are sent */
    struct attempt_local *local; /* NULL for hosted ones */
    struct chat_usage usage;
    size_t drained_bytes;
    int64_t in_bytes, out_bytes; /* of the request's text; of the answer's so far */
    int64_t start_us, first_us, start_wall_ms;
};

void attempt_to(struct attempt *a, enum attempt_state to);
/* Hands an event to the sink. False: the sink has cancelled, leave at once. */
MUST_USE bool attempt_emit(struct attempt *a, const struct chat_event *ev);
/* After the lease, if there is one: asks the gate and sends. */
void attempt_book(struct attempt *a);
/* The two ends an answer can have; a is told, settled and gone for the sink. */
void attempt_finish(struct attempt *a, const struct chat_event *finish);
void attempt_fail(struct attempt *a, const struct err *err);
/* ERR_UPSTREAM in our words with a code of its own. */
void attempt_fail_code(struct attempt *a, const char *code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* attempt_write.c: body, path and notes of the call, and what goes into its head. ERR_INPUT: this
 * upstream cannot be asked so. */
MUST_USE bool attempt_write(struct attempt *a, const struct chat_request *r,
                            const struct chat_start_opts *o, struct err *e);

/* attempt_http.c */
extern const struct http_call_ops attempt_http_ops;
/* The upstream has said no, and has done no work. */
bool attempt_turned_down(const struct attempt *a);
/* The patience with an error's body is over. */
void attempt_reply_late(struct attempt *a);

/* local.c */
MUST_USE bool attempt_local_init(struct attempt *a, struct err *e);
void attempt_local_acquire(struct attempt *a);
void attempt_local_release(struct attempt *a, bool failed);

/* Recycles an ended attempt between turns, once nothing of it is under way (attempt.c). */
void attempt_recycle_later(struct attempt *a);

#endif
