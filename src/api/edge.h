/* api/edge.h - one client request between the socket and its handler: route table, checks of the
 * edge, headers that every answer has, errors in the dialect's shape. Private to api/. */
#ifndef FUSOR_API_EDGE_H
#define FUSOR_API_EDGE_H

#include "api/app_priv.h"
#include "http/server.h"

struct dialect;

/* Who may call a route. */
enum api_auth {
    AUTH_NONE,   /* anybody who reaches the port */
    AUTH_CLIENT, /* the configured key, if there is one; the Unix socket always */
    AUTH_LOCAL,  /* the 0600 Unix socket only */
};

/* How an answer ended: for log, metrics and archive. */
struct api_outcome {
    int status;
    const char *word;  /* "ok", "left", or an error class */
    struct span model; /* may be empty */
    const char *mode;  /* of a fusion, else NULL */
    bool fused;        /* it came to an answer or, after its calls, to an error */
    struct chat_usage usage;
    int64_t calls, ttft_us; /* ttft -1: no byte of the answer went out */
};

struct api_request {
    struct http_exchange *x;
    struct worker *worker;
    struct lane *lane;   /* held until api_request_end() */
    struct span rest;    /* of a route that ends in '*': from the last '/' before it */
    struct span id;      /* request id */
    struct span target;  /* the model that answers, where it is not the one that was named */
    struct span ignored; /* fields that the upstream did not get, "a, b" */
    int64_t start_us;    /* clock_mono_us() when the request was whole */
    int64_t overhead_us; /* our own time so far: see api_overhead() */
    const struct api_route *route; /* NULL: it did not get so far */
    bool estimated;                /* figures of the answer are reckoned */
    int8_t log_word;               /* whether it may be logged: 1 yes, -1 no, 0 not asked yet */
    struct api_outcome outcome;    /* handlers fill in what they know as they go */
};

struct api_route {
    enum http_method method;
    const char *path; /* a final '*' takes at least one byte, and may hold '/' */
    enum api_auth auth;
    size_t body_cap;
    /* Owns rq (in the exchange's arena) until api_request_end(). */
    void (*handler)(struct api_request *rq);
    const struct dialect *dialect; /* what its clients speak; NULL: OpenAI's shape of errors */
};

extern const struct api_route api_routes[];
extern const size_t api_n_routes;

/* Whole answers; both end the request: rq is gone. */
void api_reply_json(struct api_request *rq, int status, struct span body);
void api_reply_error(struct api_request *rq, const struct err *err);
/* Headers that every answer has; n <= API_MAX_HEADERS, values live in the exchange's arena. */
#define API_MAX_HEADERS 13
size_t api_headers(struct api_request *rq, const char *content_type, const struct err *err,
                   struct http_header *out);
/* Books the end (log, metrics, archive) from rq->outcome with this status and word, and lets the
 * lane go. Call it before the answer's last function of http/server.h, which frees rq. */
void api_request_end(struct api_request *rq, int status, const char *word);

/* What a request asks for, by its model and the header x-fusor-policy: worker_resolve(). */
MUST_USE bool api_resolve(struct api_request *rq, const struct chat_request *r,
                          struct app_target *out, struct err *e);

/* Adds to the header x-fusor-ignored. */
void api_note_ignored(struct api_request *rq, const struct span *names, size_t n);

/* Handlers. */
void api_chat(struct api_request *rq); /* in the dialect of its route */
void api_count_tokens(struct api_request *rq);
void api_fusion_plan(struct api_request *rq);
void api_response(struct api_request *rq);
void api_response_delete(struct api_request *rq);
void api_models(struct api_request *rq);
void api_model(struct api_request *rq);
void api_healthz(struct api_request *rq);
void api_readyz(struct api_request *rq);
void api_metrics(struct api_request *rq);
void api_admin_reload(struct api_request *rq);
void api_admin_state(struct api_request *rq);
void api_admin_config(struct api_request *rq);

#endif
