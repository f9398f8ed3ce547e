/* dialect/dialect.h - a wire dialect, both ways: one const struct per dialect, one file each.
 *
 * Pure: no I/O, no state but what a reader or writer of one answer needs, no clock. Towards
 * clients: body -> chat_request, events -> bytes. Towards upstreams: chat_request -> body, bytes ->
 * events. Nothing is dropped silently (docs/api.md, "Fields"). The registry is dialect_find(). */
#ifndef FUSOR_DIALECT_DIALECT_H
#define FUSOR_DIALECT_DIALECT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "chat/chat.h"
#include "chat/collect.h"

/* Names left out on purpose (class "hint"), for x-fusor-ignored and the plan: borrowed literals or
 * arena spans. */
struct dialect_notes {
    struct span ignored[24];
    size_t n;
};

/* How an upstream differs from the dialect's book. */
struct dialect_target {
    struct span model;          /* the upstream's id */
    struct span dialect;        /* whose extras may be passed on: this dialect's name */
    bool omit_stream_options;   /* the server refuses stream_options */
    bool max_completion_tokens; /* send max_completion_tokens, not max_tokens */
    bool unary;                 /* ask for a whole body, not a stream */
    bool omit_reasoning;        /* the server refuses earlier reasoning in messages (Groq) */
    bool lenient; /* dialect_write_call(): go without a field that the upstream cannot take */
    int64_t
        default_max_tokens; /* sent where the dialect demands a limit and the request has none */
};

/* The head of an answer to a client. */
struct dialect_reply {
    const struct chat_request *request; /* what is answered; some dialects say it back */
    struct span id, model;              /* borrowed for the writer's life */
    int64_t created;                    /* unix seconds */
    bool stream_usage;                  /* OpenAI's own shape was asked for */
    bool members; /* stream_members: progress as frames with a `fusion` field */
};

struct dialect_writer; /* one streamed answer to a client */
struct dialect_reader; /* one streamed answer of an upstream */

enum dialect_status { DIALECT_MORE = 0, DIALECT_EVENT, DIALECT_FAIL };

struct dialect_header {
    const char *name, *value;
};

/* A dialect that is spoken one way only has NULL for the functions of the other. */
struct dialect {
    const char *name;      /* "openai_chat" */
    const char *id_prefix; /* of an answer to a client: "chatcmpl-" */

    /* An upstream's address: path behind its base URL, "/chat/completions"; where it depends on the
     * request, path is NULL and write_path() appends it. */
    const char *path;
    bool (*write_path)(const struct dialect_target *t, struct buf *out, struct err *e);
    bool passes;            /* its servers have OpenAI's other routes too (dialect/pass.c) */
    const char *key_header; /* its key goes there: "authorization" (as "Bearer KEY"), ... */
    struct dialect_header headers[2]; /* what else each of its requests has; name NULL: none */
    const char *betas_header; /* a client's betas of the same dialect go there; NULL: nowhere */

    /* Client's body -> request; values live in the arena, so that the body may go, but where
     * out->pass is set. Errors name the field. */
    bool (*read_request)(struct arena *a, struct span body, struct chat_request *out,
                         struct err *e);
    /* The question how many tokens a request has: a body like a request's, without what only an
     * answer needs; and the answer to it. NULL: not asked in this dialect. */
    bool (*read_count)(struct arena *a, struct span body, struct chat_request *out, struct err *e);
    bool (*write_count)(int64_t input_tokens, struct buf *out, struct err *e);
    /* owned; NULL: no memory. */
    struct dialect_writer *(*writer_new)(const struct dialect_reply *r);
    void (*writer_free)(struct dialect_writer *w);
    /* Event -> bytes of the stream (whole SSE frames), appended; may append nothing. */
    bool (*write_event)(struct dialect_writer *w, const struct chat_event *ev, struct buf *out,
                        struct err *e);
    /* A collected answer -> the whole unary body. */
    bool (*write_unary)(const struct dialect_reply *r, const struct chat_collect *c,
                        struct buf *out, struct err *e);
    /* An error body (before a stream has begun). */
    bool (*write_error)(const struct err *err, struct buf *out, struct err *e);

    /* Request -> body for an upstream. */
    bool (*write_request)(const struct chat_request *r, const struct dialect_target *t,
                          struct buf *out, struct dialect_notes *notes, struct err *e);
    /* owned; NULL: no memory. */
    struct dialect_reader *(*reader_new)(void);
    void (*reader_free)(struct dialect_reader *rd);
    /* One SSE event of a stream (type may be empty) goes in; then reader_next() until DIALECT_MORE.
     * data must stay until then. False: not understood (ERR_UPSTREAM). */
    bool (*reader_feed)(struct dialect_reader *rd, struct span type, struct span data,
                        struct err *e);
    /* A whole unary body instead: then reader_next() gives its events up to FINISH. */
    bool (*reader_body)(struct dialect_reader *rd, struct span body, struct err *e);
    /* The upstream's stream has ended: FINISH comes if a finish was seen, else DIALECT_FAIL
     * (ERR_CUT). */
    void (*reader_eof)(struct dialect_reader *rd);
    enum dialect_status (*reader_next)(struct dialect_reader *rd, struct chat_event *out,
                                       struct err *e);
    /* Status, body and Retry-After of a refused call -> an error for our client: our words, with
     * the upstream's message made safe and short, never its body verbatim. */
    void (*read_error)(int status, struct span body, int64_t retry_after_ms, struct err *out);
};

/* NULL when unknown. */
const struct dialect *dialect_find(struct span name);
/* d->write_request(), and what holds for all dialects: with t->lenient settings that the upstream
 * cannot take are left out (the first *n_left of the notes), and betas that go nowhere are listed.
 * notes and e may not be NULL. */
MUST_USE bool dialect_write_call(const struct dialect *d, const struct chat_request *r,
                                 const struct dialect_target *t, struct buf *out,
                                 struct dialect_notes *notes, size_t *n_left, struct err *e);
/* What goes into d->betas_header; p NULL: nothing. Lives as the request. */
struct span dialect_betas(const struct dialect *d, const struct chat_request *r);
extern const struct dialect dialect_openai_chat;
extern const struct dialect dialect_mistral;
extern const struct dialect dialect_gemini;
extern const struct dialect dialect_anthropic_messages;
extern const struct dialect dialect_openai_chat, dialect_openai_responses;
/* Requests that pass as they came: they are asked of upstreams whose own dialect passes, with its
 * key, headers and errors. */
extern const struct dialect dialect_embeddings, dialect_completions, dialect_fim;

#endif
