/* dialect/wire.h - what the files of all dialects share: places in a request for error messages,
 * members of JSON objects, names that clients take, the list of what was left out. Private to
 * dialect/. */
#ifndef FUSOR_DIALECT_WIRE_H
#define FUSOR_DIALECT_WIRE_H

#include "dialect/dialect.h"
#include "json/json.h"

/* ^[a-zA-Z0-9_-]{1,64}$: tool names, and tool call ids that every client sends back unharmed. */
bool wire_is_name(struct span s);
/* ERR_NOMEM; always false. */
bool wire_no_memory(struct err *e);

/* --- where in a request: rendered only when something is wrong -------------------------------- */

struct wire_path {
    const struct wire_path *up;
    const char *key; /* NULL: index counts */
    size_t index;
};
/* err_field() with the path as param: "messages[2].content[0].type". Always false. */
bool wire_bad(const struct wire_path *at, struct err *e, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same for the member `key` of the object at `at`. */
bool wire_bad_key(const struct wire_path *at, const char *key, struct err *e, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* A member that must be a string; absent or null leaves *out, unless it is required. */
MUST_USE bool wire_get_str(json_val *obj, const char *key, bool required,
                           const struct wire_path *at, struct span *out, struct err *e);
/* The value unless it is null. */
json_val *wire_get(json_val *obj, const char *key);

/* --- members of an object that is being written; nothing when p is NULL ----------------------- */

void wire_str(struct json_w *w, const char *key, struct span s);
void wire_raw(struct json_w *w, const char *key, struct span json); /* already JSON */

/* --- tool call ids ------------------------------------------------------------------------------ */

/* Letters and digits, as many as Mistral's clients demand of an id. */
#define WIRE_CALL_ID_BYTES 9
/* The id that a client sees: the upstream's when every client sends it back unharmed, else one made
 * of the answer's id and the number of the call, in `made`. */
struct span wire_call_id(struct span id, struct span answer_id, size_t index,
                         char made[static WIRE_CALL_ID_BYTES]);

/* As many letters and digits, made from a hash. */
void wire_short_id(uint64_t hash, char out[static WIRE_CALL_ID_BYTES]);

/* --- what was left out --------------------------------------------------------------------------- */

/* Lists a field that was left out; once. notes may be NULL. */
void wire_note(struct dialect_notes *notes, struct span name);
/* Fields unknown to us into the open object, of a request or of the message at `at`. same: the
 * upstream speaks the dialect that they came in; others get none of them: hints are listed,
 * anything else is an error. */
MUST_USE bool wire_write_extras(struct json_w *w, const struct chat_extra *extras, size_t n,
                                const struct wire_path *at, bool same, struct dialect_notes *notes,
                                struct err *e);

/* --- refusals of upstreams -------------------------------------------------------------------- */

/* What an error body says, in whatever shape; spans borrow from the document. */
struct wire_said {
    struct span message, code, type, param;
    int64_t status; /* number in `code` or `status`, 0: none */
};
/* Whether code or type is this word. */
bool wire_says(const struct wire_said *s, const char *word);
/* The refusal as an error of ours; status is the upstream's, or what its words amount to. */
void wire_refused(int status, const struct wire_said *s, struct err *out);

#endif
