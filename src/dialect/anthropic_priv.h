/* dialect/anthropic_priv.h - what the files of the Messages dialect share.
 *
 * request.c, message.c and tool.c read a client's request; send.c, send_turn.c and send_part.c
 * write one for an upstream, with what model.c knows of its model; read.c reads an upstream's
 * answer, write.c writes one for a client, usage.c is the usage object both ways and the error
 * object to clients. Nobody else includes this. */
#ifndef FUSOR_DIALECT_ANTHROPIC_PRIV_H
#define FUSOR_DIALECT_ANTHROPIC_PRIV_H

#include "dialect/wire_fields.h"

#define ANT_NAME SPAN("anthropic_messages")

/* ^[a-zA-Z0-9_-]{1,128}$: names of tools. */
bool ant_is_tool_name(struct span s);

/* --- requests of clients ---------------------------------------------------------------------- */

bool ant_read_request(struct arena *a, struct span body, struct chat_request *out, struct err *e);
bool ant_read_count(struct arena *a, struct span body, struct chat_request *out, struct err *e);
/* `system` and `messages` together; system may be NULL. */
MUST_USE bool ant_read_messages(struct arena *a, json_val *system, json_val *messages,
                                struct chat_request *r, struct err *e);
MUST_USE bool ant_read_tools(struct wire_in *in, json_val *v);
MUST_USE bool ant_read_tool_choice(struct wire_in *in, json_val *v);
/* Tells whether a tool choice makes sense beside the tools. */
MUST_USE bool ant_check_tool_choice(const struct chat_request *r, struct err *e);
/* The cache_control of a block or tool. */
MUST_USE bool ant_read_mark(struct arena *a, json_val *v, bool *out_mark, struct span *out_cache,
                            struct err *e);

/* A signature that is not Anthropic's goes to a client with its format before it ("format:sig"),
 * since a Messages client has no other place for it, and is known by that when it comes back. */
bool ant_write_signature(struct json_w *w, struct span signature, struct span format);
void ant_read_signature(struct span s, struct span *out_signature, struct span *out_format);

/* --- requests for upstreams ------------------------------------------------------------------- */

/* What a model is known to take; see model.c. */
struct ant_model {
    bool adaptive;    /* decides itself how much to think; has no budget */
    bool budget;      /* takes a budget */
    bool by_default;  /* thinks unless told not to */
    bool always;      /* cannot be told not to */
    bool between;     /* is told so by "between_tools" */
    bool effort;      /* takes output_config.effort */
    bool xhigh;       /* knows that level */
    bool no_sampling; /* refuses temperature, top_p and top_k */
};
struct ant_model ant_model_of(struct span id);

enum ant_thinking { ANT_UNSAID, ANT_AS_SENT, ANT_BUDGET, ANT_ADAPTIVE, ANT_DISABLED, ANT_BETWEEN };

/* How an answer is to be thought about. */
struct ant_plan {
    enum ant_thinking thinking;
    int64_t budget;
    struct span display; /* "summarized"; p NULL: the model's own way */
    struct span effort;  /* p NULL: the model's own */
    bool on;             /* thinking is asked for */
};
/* same: the request came in this dialect. max_tokens: what will be sent. */
MUST_USE bool ant_plan_thinking(const struct chat_request *r, struct span model_id, bool same,
                                int64_t max_tokens, struct ant_plan *out,
                                struct json_scratch *scratch, struct dialect_notes *notes,
                                struct err *e);

/* A request on its way out. */
struct ant_out {
    struct json_w *w;
    const struct chat_request *r;
    bool same;         /* the request came in this dialect: what it says goes as it came */
    size_t n_leading;  /* messages of the system prompt, at the front */
    size_t skip_marks; /* so many cache marks are left out yet: only the last four count */
    struct json_scratch scratch;
    struct buf text; /* for text put together */
    struct dialect_notes *notes;
    struct err *e;
};

bool ant_write_request(const struct chat_request *r, const struct dialect_target *t,
                       struct buf *out, struct dialect_notes *notes, struct err *e);
/* The `messages` list, from the first that is not leading. */
MUST_USE bool ant_write_turns(struct ant_out *o);
/* One block of message `index`; nothing when it has nothing to say. */
MUST_USE bool ant_write_part(struct ant_out *o, size_t index, const struct chat_part *p);
/* Whether ant_write_part() writes a block. */
bool ant_is_written(const struct ant_out *o, const struct chat_part *p);
/* cache_control into the open object, if this mark is one of those that go. */
void ant_write_mark(struct ant_out *o, struct span cache);
/* The `input` of a call: arguments that are no JSON object are wrapped in one, so that the model or
 * the tool can say what is wrong with them. */
MUST_USE bool ant_write_input(struct json_w *w, struct json_scratch *scratch, struct span arguments,
                              struct err *e);
/* The id of a call, in the letters that Anthropic takes; the same for the same id. */
void ant_write_call_id(struct json_w *w, struct span id);

/* --- usage and errors ------------------------------------------------------------------------- */

/* What v says goes over what *u holds: the counts of a stream are cumulative. False when v is no
 * usage. */
bool ant_read_usage(json_val *v, struct chat_usage *u);
/* Of a stream: without a price if `bare`. report may be NULL. */
void ant_write_usage(struct json_w *w, const struct chat_usage *u,
                     const struct chat_fusion_report *report, bool bare);
/* Of a whole body: with every member that Anthropic's schema asks for, null where there is nothing
 * to say. */
void ant_write_unary_usage(struct json_w *w, const struct chat_usage *u,
                           const struct chat_fusion_report *report);
void ant_write_null(struct json_w *w, const char *key);
bool ant_write_count(int64_t input_tokens, struct buf *out, struct err *e);
bool ant_write_error(const struct err *err, struct buf *out, struct err *e);
/* The error of a stream that has begun: with code, status and retry_after. */
void ant_write_stream_error(struct json_w *w, const struct err *err);

/* --- answers ---------------------------------------------------------------------------------- */

struct dialect_writer *ant_writer_new(const struct dialect_reply *r);
void ant_writer_free(struct dialect_writer *w);
bool ant_write_event(struct dialect_writer *w, const struct chat_event *ev, struct buf *out,
                     struct err *e);
bool ant_write_unary(const struct dialect_reply *r, const struct chat_collect *c, struct buf *out,
                     struct err *e);

struct dialect_reader *ant_reader_new(void);
void ant_reader_free(struct dialect_reader *rd);
bool ant_reader_feed(struct dialect_reader *rd, struct span type, struct span data, struct err *e);
bool ant_reader_body(struct dialect_reader *rd, struct span body, struct err *e);
void ant_reader_eof(struct dialect_reader *rd);
enum dialect_status ant_reader_next(struct dialect_reader *rd, struct chat_event *out,
                                    struct err *e);

#endif
