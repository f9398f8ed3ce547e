/* dialect/openai_chat_priv.h - what the files of the OpenAI chat dialect share.
 *
 * openai_chat_request.c, _message.c and _tool.c read a client's request, _send.c and
 * _send_message.c write one for an upstream, _read.c and _calls.c read an upstream's answer,
 * _write.c writes one for a client, _usage.c is the usage object both ways, _error.c the error
 * object both ways. Nobody else includes this. */
#ifndef FUSOR_DIALECT_OPENAI_CHAT_PRIV_H
#define FUSOR_DIALECT_OPENAI_CHAT_PRIV_H

#include "dialect/wire.h"

#define OAI_NAME SPAN("openai_chat")
/* How a client sent a reasoning part: in chat_part.name. */
#define OAI_REASONING_DETAILS SPAN("reasoning_details")
#define OAI_REASONING         SPAN("reasoning")
#define OAI_THINKING          SPAN("thinking")

MUST_USE bool oai_read_messages(struct arena *a, json_val *v, struct chat_request *r,
                                struct err *e);
MUST_USE bool oai_read_tools(struct arena *a, json_val *v, struct chat_request *r, struct err *e);
/* *out_extra is set for the forms that no field of a request holds ("allowed_tools"). */
MUST_USE bool oai_read_tool_choice(json_val *v, struct chat_request *r, bool *out_extra,
                                   struct err *e);
/* Tells whether a tool choice makes sense beside the tools. */
MUST_USE bool oai_check_tool_choice(const struct chat_request *r, struct err *e);

bool oai_read_request(struct arena *a, struct span body, struct chat_request *out, struct err *e);
bool oai_write_request(const struct chat_request *r, const struct dialect_target *t,
                       struct buf *out, struct dialect_notes *notes, struct err *e);
MUST_USE bool oai_write_message(struct json_w *w, const struct chat_message *m, size_t index,
                                const struct dialect_target *t, bool same,
                                struct dialect_notes *notes, struct err *e);
/* Fields unknown to us into the open object, of a request or of the message at `at`. */
MUST_USE bool oai_write_extras(struct json_w *w, const struct chat_extra *extras, size_t n,
                               const struct wire_path *at, bool same, struct dialect_notes *notes,
                               struct err *e);

/* --- usage ------------------------------------------------------------------------------------ */

/* False when v holds no usage. Takes OpenAI's, DeepSeek's, xAI's and our own members. */
bool oai_read_usage(json_val *v, struct chat_usage *out);
/* The `fusion` member of our own usage into memory of the arena; NULL when it is none or memory
 * runs out. */
const struct chat_fusion_report *oai_read_report(struct arena *a, json_val *v);
/* One member of a progress frame. reason: room for its text; *out borrows from v and reason. */
bool oai_read_member(json_val *v, char *reason, size_t cap, struct chat_member *out);
/* The whole object. report may be NULL. */
void oai_write_usage(struct json_w *w, const struct chat_usage *u,
                     const struct chat_fusion_report *report);
/* The object of a progress frame. */
void oai_write_member(struct json_w *w, const struct chat_member *m);

/* --- errors ----------------------------------------------------------------------------------- */

bool oai_write_error(const struct err *err, struct buf *out, struct err *e);
/* The error of a stream that has begun: with code, status and retry_after. */
void oai_write_stream_error(struct json_w *w, const struct err *err);
void oai_read_error(int status, struct span body, int64_t retry_after_ms, struct err *out);
/* Whether a chunk with status 200 is an error, and what it means. delivered: content came before.
 */
bool oai_stream_error(json_val *chunk, bool error_event, bool delivered, struct err *out);

/* --- answers to clients ----------------------------------------------------------------------- */

struct dialect_writer *oai_writer_new(const struct dialect_reply *r);
void oai_writer_free(struct dialect_writer *w);
bool oai_write_event(struct dialect_writer *w, const struct chat_event *ev, struct buf *out,
                     struct err *e);
bool oai_write_unary(const struct dialect_reply *r, const struct chat_collect *c, struct buf *out,
                     struct err *e);

/* --- answers of upstreams --------------------------------------------------------------------- */

struct dialect_reader *oai_reader_new(void);
void oai_reader_free(struct dialect_reader *rd);
bool oai_reader_feed(struct dialect_reader *rd, struct span type, struct span data, struct err *e);
bool oai_reader_body(struct dialect_reader *rd, struct span body, struct err *e);
void oai_reader_eof(struct dialect_reader *rd);
enum dialect_status oai_reader_next(struct dialect_reader *rd, struct chat_event *out,
                                    struct err *e);

#endif
