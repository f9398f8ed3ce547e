/* dialect/gemini_priv.h - what the files of the Gemini dialect share.
 *
 * send.c writes a request, send_turn.c its contents turn by turn, send_part.c one part of it,
 * send_config.c the generation config, schema.c schemas as Gemini takes them; read.c and args.c
 * read an answer, error.c an error. Nobody else includes this. */
#ifndef FUSOR_DIALECT_GEMINI_PRIV_H
#define FUSOR_DIALECT_GEMINI_PRIV_H

#include "dialect/wire_fields.h"

/* --- models: what differs from one generation to the next goes by the name -------------------- */

struct gem_model {
    struct span name; /* without "models/" in front; borrowed */
    int major, minor; /* "gemini-2.5-pro": 2, 5; "gemini-flash-latest": 3, 0; unknown: 0, 0 */
    bool pro, lite;
};
struct gem_model gem_model_of(struct span id);
/* Thoughts can be asked for and steered: by a budget of tokens (2.5), by a level (3 and later). */
bool gem_has_budget(const struct gem_model *m);
bool gem_has_level(const struct gem_model *m);
/* Calls have ids, and functionResponse may hold parts; before, ids are refused. */
bool gem_has_call_ids(const struct gem_model *m);
/* The first call of each step must be signed. */
bool gem_wants_signatures(const struct gem_model *m);

/* --- requests --------------------------------------------------------------------------------- */

enum gem_role { GEM_NOBODY, GEM_USER, GEM_MODEL };

/* A request on its way out. */
struct gem_out {
    struct json_w *w;
    const struct chat_request *r;
    struct gem_model model;
    enum gem_role role;          /* whose content is open */
    bool content_has_call;       /* the open content holds a functionCall */
    struct json_scratch scratch; /* arguments, results and schemas, one at a time */
    struct dialect_notes *notes;
    struct err *e;
};

bool gem_write_path(const struct dialect_target *t, struct buf *out, struct err *e);
bool gem_write_request(const struct chat_request *r, const struct dialect_target *t,
                       struct buf *out, struct dialect_notes *notes, struct err *e);
/* The member `contents`: all messages from the first on. */
MUST_USE bool gem_write_contents(struct gem_out *o, size_t first);
/* Opens a content of that role unless it is open, or closes the open one (GEM_NOBODY). */
void gem_content(struct gem_out *o, enum gem_role role);

/* A message of a user or of the assistant: its parts into a content of that role. */
MUST_USE bool gem_write_message(struct gem_out *o, size_t message);
/* {"text": ...}; nothing for an empty text. */
void gem_write_text(struct gem_out *o, enum gem_role role, struct span text);
/* One functionResponse: the result that message m is, of the call. */
MUST_USE bool gem_write_result(struct gem_out *o, size_t message, const struct chat_part *call);

/* The member `generationConfig`. */
MUST_USE bool gem_write_config(struct gem_out *o);
/* A value of JSON Schema as Gemini reads it. at: for errors. What it does not enforce is listed. */
struct gem_schema {
    struct span text;               /* JSON text of an object */
    bool object;                    /* the root is an object even if it does not say so */
    struct span title, description; /* for a root that has none; p NULL: none */
};
MUST_USE bool gem_write_schema(struct gem_out *o, const struct gem_schema *s,
                               const struct wire_path *at);

/* --- answers ---------------------------------------------------------------------------------- */

struct dialect_reader *gem_reader_new(void);
void gem_reader_free(struct dialect_reader *rd);
bool gem_reader_feed(struct dialect_reader *rd, struct span type, struct span data, struct err *e);
bool gem_reader_body(struct dialect_reader *rd, struct span body, struct err *e);
void gem_reader_eof(struct dialect_reader *rd);
enum dialect_status gem_reader_next(struct dialect_reader *rd, struct chat_event *out,
                                    struct err *e);

/* Ids of blocks of reasoning: thoughts, and the signature of the answer's text. Clients that join
 * what came in pieces may join the two; the id of the last piece then says what the signature is
 * of. */
#define GEM_THOUGHT_BLOCK SPAN("gemini-thought")
#define GEM_TEXT_BLOCK    SPAN("gemini-text")

/* Arguments of a call put together from pieces that name their place by a JSON path. */
struct gem_args {
    struct buf text; /* the JSON so far, its containers still open */
    struct buf path; /* of the last value */
    struct buf piece;
    bool in_string; /* the last value is a string that goes on: its closing quote is missing */
};
void gem_args_init(struct gem_args *a);
void gem_args_done(struct gem_args *a);
void gem_args_clear(struct gem_args *a);
/* One of `partialArgs`. False: *e says what is wrong with it. */
MUST_USE bool gem_args_add(struct gem_args *a, json_val *piece, struct err *e);
/* Closes what is open: a->text is a whole object, without duplicate keys, "{}" if nothing came. */
MUST_USE bool gem_args_end(struct gem_args *a, struct err *e);

void gem_read_error(int status, struct span body, int64_t retry_after_ms, struct err *out);
/* Whether a chunk with status 200 is an error, and what it means. delivered: content came before.
 */
bool gem_stream_error(json_val *chunk, bool delivered, struct err *out);

#endif
