/* dialect/openai_chat_priv.h - what the files of the OpenAI chat dialect share.
 *
 * request.c, router.c, tool.c and message.c read a client's request, send.c and send_message.c
 * write one for an upstream, read.c and calls.c read an upstream's answer, write.c writes one for a
 * client, usage.c is the usage object both ways, error.c the error object both ways. Mistral's
 * dialect, a strict cousin, shares the readers of answers and what its requests have in common
 * with these; nobody else includes this. */
#ifndef FUSOR_DIALECT_OPENAI_CHAT_PRIV_H
#define FUSOR_DIALECT_OPENAI_CHAT_PRIV_H

#include "dialect/wire.h"

#define OAI_NAME SPAN("openai_chat")
/* How a client sent a reasoning part: in chat_part.name. */
#define OAI_REASONING_DETAILS SPAN("reasoning_details")
#define OAI_REASONING         SPAN("reasoning")
#define OAI_THINKING          SPAN("thinking")
/* And a document: Mistral's document_url, not OpenAI's file. */
#define OAI_DOCUMENT_URL SPAN("document_url")

MUST_USE bool oai_read_messages(struct arena *a, json_val *v, struct chat_request *r,
                                struct err *e);
MUST_USE bool oai_read_tools(struct arena *a, json_val *v, struct chat_request *r, struct err *e);
/* *out_extra is set for the forms that no field of a request holds ("allowed_tools"). */
MUST_USE bool oai_read_tool_choice(json_val *v, struct chat_request *r, bool *out_extra,
                                   struct err *e);
/* "auto", "none", "required": false when it is another word. */
MUST_USE bool oai_choice_of_name(struct span s, enum chat_tool_choice *out);
/* Tells whether a tool choice makes sense beside the tools. key: the member of tool_choice that
 * holds a name, for the message. */
MUST_USE bool oai_check_tool_choice(const struct chat_request *r, const char *key, struct err *e);
/* name, description, strict and schema of a json_schema format out of the object s at `at`. */
MUST_USE bool oai_read_schema(struct arena *a, json_val *s, const struct wire_path *at,
                              struct chat_request *r, struct err *e);

/* OpenRouter's fields. */
MUST_USE bool oai_read_models(struct arena *a, json_val *v, struct chat_request *r, struct err *e);
MUST_USE bool oai_read_routing(struct arena *a, json_val *v, struct chat_request *r, struct err *e);
/* *out_default is set when reasoning is only switched on. */
MUST_USE bool oai_read_reasoning(json_val *v, struct chat_request *r, bool *out_default,
                                 struct err *e);
/* How hard to think may be said in several fields, but only once. */
MUST_USE bool oai_set_effort(struct chat_request *r, const struct wire_path *at, const char *key,
                             struct span effort, struct err *e);
/* When all fields are read. */
MUST_USE bool oai_check_reasoning(struct chat_request *r, bool by_default, struct err *e);
/* True for the values that ask for nothing. */
MUST_USE bool oai_check_transforms(json_val *v, struct err *e);
MUST_USE bool oai_check_route(json_val *v, struct err *e);
MUST_USE bool oai_check_plugins(json_val *v, struct err *e);

bool oai_read_request(struct arena *a, struct span body, struct chat_request *out, struct err *e);
bool oai_write_request(const struct chat_request *r, const struct dialect_target *t,
                       struct buf *out, struct dialect_notes *notes, struct err *e);
MUST_USE bool oai_write_message(struct json_w *w, const struct chat_message *m, size_t index,
                                const struct dialect_target *t, bool same,
                                struct dialect_notes *notes, struct err *e);
void oai_write_format(struct json_w *w, const struct chat_request *r);
/* A function tool that has no `whole`; parameters: its schema, or what stands for none. */
void oai_write_function(struct json_w *w, const struct chat_tool *tool, struct span parameters);
/* required: the word for "some tool". */
void oai_write_choice(struct json_w *w, const struct chat_request *r, const char *required);
void oai_write_stop(struct json_w *w, const struct chat_request *r);

/* --- usage ------------------------------------------------------------------------------------ */

/* False when v holds no usage. Takes OpenAI's (of both its APIs), DeepSeek's, xAI's and our own
 * members. */
bool oai_read_usage(json_val *v, struct chat_usage *out);
/* The whole object. report may be NULL. */
void oai_write_usage(struct json_w *w, const struct chat_usage *u,
                     const struct chat_fusion_report *report);

/* --- errors ----------------------------------------------------------------------------------- */

bool oai_write_error(const struct err *err, struct buf *out, struct err *e);
/* What stands behind "error"; in_stream: with status and retry_after. */
void oai_write_error_object(struct json_w *w, const struct err *err, bool in_stream);
/* The error of a stream that has begun: with code, status and retry_after. */
void oai_write_stream_error(struct json_w *w, const struct err *err);

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
