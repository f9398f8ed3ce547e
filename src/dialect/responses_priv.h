/* dialect/responses_priv.h - what the files of the Responses dialect share.
 *
 * request.c, item.c and tool.c read a client's request; send.c and send_item.c write one for an
 * upstream; read.c and read_item.c read an upstream's answer (responses_read.h); object.c is items
 * and the response object, write.c streams them to a client, progress.c what a fusion does
 * meanwhile (responses_write.h); store.c keeps turns for previous_response_id (responses.h), seal.c
 * carries reasoning that is not OpenAI's. The error object and our members of usage are Chat's
 * (openai_chat_priv.h). Nobody else includes this.
 */
#ifndef FUSOR_DIALECT_RESPONSES_PRIV_H
#define FUSOR_DIALECT_RESPONSES_PRIV_H

#include "dialect/openai_chat_priv.h"
#include "dialect/wire_fields.h"

#define RESP_NAME SPAN("openai_responses")
/* In chat_part.detail of a CHAT_PART_RAW that is an item of its own, not a part of a message. */
#define RESP_ITEM SPAN("item")

/* --- requests of clients ---------------------------------------------------------------------- */

bool resp_read_request(struct arena *a, struct span body, struct chat_request *out, struct err *e);
/* A list of items at `at` -> messages in the arena, with room for `before` more in front of them,
 * which stay zeroed: *out_n counts them too. */
MUST_USE bool resp_read_items(struct arena *a, json_val *list, const struct wire_path *at,
                              size_t before, struct chat_message **out, size_t *out_n,
                              struct err *e);
MUST_USE bool resp_read_tools(struct wire_in *in, json_val *v);
MUST_USE bool resp_read_tool_choice(struct wire_in *in, json_val *v);
MUST_USE bool resp_read_text(struct wire_in *in, json_val *v);
MUST_USE bool resp_read_reasoning(struct wire_in *in, json_val *v);
MUST_USE bool resp_read_include(struct wire_in *in, json_val *v);

/* --- reasoning and its signature -------------------------------------------------------------- */

/* A block of reasoning as a provider gave it. */
struct resp_block {
    struct span id, text, signature, format;
};
/* `encrypted_content` for a client that sees the block under shown_id: OpenAI's own goes as it is
 * when it stands under its own id, all else packed with its id and the name of who signed it.
 * Writes null when there is no signature. */
void resp_write_sealed(struct json_w *w, const struct resp_block *b, struct span shown_id);
/* The way back: sets signature, format and id from what came under the id `id`. */
void resp_unseal(struct span sealed, struct span id, struct resp_block *out);

/* --- items and the response object ------------------------------------------------------------ */

#define RESP_ID_BYTES 80

enum resp_kind { RESP_MESSAGE, RESP_REASONING, RESP_CALL, RESP_FUSION };

/* One item of an answer. Text is a piece of what was collected. */
struct resp_item {
    enum resp_kind kind;
    size_t index;        /* RESP_REASONING: block, RESP_CALL: call, of the collected answer */
    size_t text, text_n; /* RESP_MESSAGE, RESP_REASONING */
    size_t refusal, refusal_n;
    int8_t text_part, refusal_part; /* content_index, -1: no such part */
    bool done;                      /* its last event is out; else it is not in the answer */
    const char *status;
    char id[RESP_ID_BYTES], call_id[RESP_ID_BYTES]; /* NUL terminated */
};

/* "msg_ANSWER_N", the same whenever it is asked for. */
void resp_item_id(struct resp_item *it, struct span answer_id, size_t n);
/* Reasoning: the upstream's own id where it is fit, so that the signature can go back under it. */
void resp_reasoning_id(struct resp_item *it, struct span own);
void resp_write_item(struct json_w *w, const struct chat_collect *c, const struct resp_item *it);
/* The `text` of a part, as `part` of an event or in `content`. */
void resp_write_part(struct json_w *w, bool refusal, struct span text);

/* How an answer ended. */
struct resp_end {
    const char *status;    /* "completed", "incomplete", "failed", "in_progress" */
    const char *reason;    /* of "incomplete"; NULL */
    const struct err *err; /* of "failed"; NULL */
};
struct resp_end resp_end_of(const struct chat_collect *c, enum chat_finish finish, bool calls);
/* Whether call i may go out: truncated arguments are never released. */
bool resp_releasable(const struct chat_collect *c, size_t i, enum chat_finish finish);
/* The client's id of call i, in `out`. */
void resp_call_id(const struct chat_collect *c, size_t i, struct span answer_id,
                  char out[static RESP_ID_BYTES]);

/* What the object says back of the request: members without braces. */
void resp_write_echo(struct json_w *w, const struct chat_request *r);
/* Two members of it that a request has too. whole: with a null for what is not there. */
void resp_write_format(struct json_w *w, const struct chat_request *r, bool whole);
void resp_write_choice(struct json_w *w, const struct chat_request *r);
/* The whole object. echo: rendered by resp_write_echo(). c NULL: nothing has come; items count when
 * they are done. */
void resp_write_object(struct json_w *w, const struct dialect_reply *r, const struct resp_end *end,
                       struct span echo, const struct chat_collect *c,
                       const struct resp_item *items, size_t n);
bool resp_write_unary(const struct dialect_reply *r, const struct chat_collect *c, struct buf *out,
                      struct err *e);

/* --- answers to clients ----------------------------------------------------------------------- */

struct dialect_writer *resp_writer_new(const struct dialect_reply *r);
void resp_writer_free(struct dialect_writer *w);
bool resp_write_event(struct dialect_writer *w, const struct chat_event *ev, struct buf *out,
                      struct err *e);

/* --- requests to upstreams -------------------------------------------------------------------- */

/* Messages on their way out, as items. */
struct resp_send {
    struct json_w *w;
    bool same;           /* the request came in this dialect: what only it knows goes as it came */
    bool keep_reasoning; /* to be kept by us: blocks of every provider, sealed */
    bool omit_reasoning; /* the server takes none */
    struct dialect_notes *notes;
    struct err *e;
};
MUST_USE bool resp_write_message(struct resp_send *s, const struct chat_message *m, size_t index);
bool resp_write_request(const struct chat_request *r, const struct dialect_target *t,
                        struct buf *out, struct dialect_notes *notes, struct err *e);

/* --- answers of upstreams --------------------------------------------------------------------- */

struct dialect_reader *resp_reader_new(void);
void resp_reader_free(struct dialect_reader *rd);
bool resp_reader_feed(struct dialect_reader *rd, struct span type, struct span data, struct err *e);
bool resp_reader_body(struct dialect_reader *rd, struct span body, struct err *e);
void resp_reader_eof(struct dialect_reader *rd);
enum dialect_status resp_reader_next(struct dialect_reader *rd, struct chat_event *out,
                                     struct err *e);

#endif
