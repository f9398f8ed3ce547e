/* dialect/wire.h - what the files of all dialects share: places in a request for error messages, members
 * of JSON objects, names that clients take, the list of what was left out. Private to dialect/. */
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

/* --- tool call ids ------------------------------------------------------------------------------ */

/* Letters and digits, as many as Mistral's clients demand of an id. */
#define WIRE_CALL_ID_BYTES 9
/* The id that a client sees: the upstream's when every client sends it back unharmed, else one made of
 * the answer's id and the number of the call, in `made`. */
struct span wire_call_id(struct span id, struct span answer_id, size_t index,
                         char made[static WIRE_CALL_ID_BYTES]);

/* Where the arguments of a call stand as JSON: a value is whole when its last bracket closes. Zeroed at
 * the start. */
struct wire_track {
    unsigned depth;
    bool in_string, escaped, whole;
};
void wire_track_feed(struct wire_track *t, struct span piece);

/* --- what was left out --------------------------------------------------------------------------- */

/* Lists a field that was left out; once. notes may be NULL. */
void wire_note(struct dialect_notes *notes, struct span name);

#endif
