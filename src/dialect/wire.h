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

/* Members of an object being written; a span whose p is NULL is left out. */
static inline void wire_str(struct json_w *w, const char *key, struct span s)
{
    if (!s.p)
        return;
    json_w_key(w, key);
    json_w_str(w, s);
}
static inline void wire_raw(struct json_w *w, const char *key, struct span json)
{
    if (!json.p)
        return;
    json_w_key(w, key);
    json_w_raw(w, json);
}

/* --- tool call ids ---------------------------------------------------------------------------- */

/* Letters and digits, as many as Mistral's clients demand of an id. */
#define WIRE_CALL_ID_BYTES 9
/* The id that a client sees: the upstream's when every client sends it back unharmed, else one made
 * of the answer's id and the number of the call, in `made`. */
struct span wire_call_id(struct span id, struct span answer_id, size_t index,
                         char made[static WIRE_CALL_ID_BYTES]);

/* As many letters and digits, made from a hash. */
void wire_short_id(uint64_t hash, char out[static WIRE_CALL_ID_BYTES]);

/* Where the arguments of a call stand as JSON: a value is whole when its last bracket closes. */
struct wire_track {
    unsigned depth;
    bool in_string, escaped, whole;
};
void wire_track_feed(struct wire_track *t, struct span piece);

/* --- what was left out ------------------------------------------------------------------------ */

/* Lists a field that was left out; once. notes may be NULL. */
void wire_note(struct dialect_notes *notes, struct span name);
/* --- events of a reader that wait for reader_next() ------------------------------------------- */

/* An event; where text came as no JSON string its arguments stand in a buffer that may move. */
struct wire_pending {
    struct chat_event ev;
    bool in_args; /* ev.arguments stand at off, n of the reader's buffer of arguments */
    size_t off, n;
};

struct wire_queue {
    struct wire_pending *at; /* owned array */
    size_t head, n, cap;
};
void wire_queue_done(struct wire_queue *q);
void wire_queue_clear(struct wire_queue *q);
/* Room for one more event, zeroed but for its kind; good until the next push. NULL when memory runs
 * out (*e set). */
struct wire_pending *wire_push(struct wire_queue *q, enum chat_event_kind kind, struct err *e);
/* The next event; false when there is none. args: the reader's buffer of arguments, if any. */
bool wire_pop(struct wire_queue *q, const struct buf *args, struct chat_event *out);

/* --- usage: what we add to every dialect's object --------------------------------------------- */

/* A count of tokens: absent, negative and broken numbers count as `otherwise`. */
int64_t wire_tokens(json_val *v, int64_t otherwise);
/* The members `cost` and `estimated`. */
void wire_read_spend(json_val *usage, struct chat_usage *u);
/* The member `fusion` into memory of the arena; NULL when it is none or memory runs out. */
const struct chat_fusion_report *wire_read_report(struct arena *a, json_val *v);
/* One member of a progress frame. reason: room for its text; *out borrows from v and reason. */
bool wire_read_member(json_val *v, char *reason, size_t cap, struct chat_member *out);
/* Those members into the open usage object. report may be NULL. */
void wire_write_spend(struct json_w *w, const struct chat_usage *u,
                      const struct chat_fusion_report *report);
/* The object of a progress frame. */
void wire_write_member(struct json_w *w, const struct chat_member *m);

/* --- errors of upstreams ---------------------------------------------------------------------- */

/* What an error body says, in whatever shape; spans borrow from the document. */
struct wire_said {
    struct span message, code, type, param;
    int64_t status; /* number in `code` or `status`, 0: none */
};
/* Whether code or type is this word. */
bool wire_says(const struct wire_said *s, const char *word);
/* The refusal as an error of ours; status is the upstream's, or what its words amount to. */
void wire_refused(int status, const struct wire_said *s, struct err *out);
/* dialect.read_error for any shape of error object. */
void wire_read_error(int status, struct span body, int64_t retry_after_ms, struct err *out);
/* Whether a chunk with status 200 is an error and which. delivered: content came before. */
bool wire_stream_error(json_val *chunk, bool error_event, bool delivered, struct err *out);

#endif
