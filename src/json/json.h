/* json/json.h - reading foreign JSON safely, on yyjson.
 *
 * Lives here: strict parsing with our limits (depth, duplicate keys, UTF-8, one value, no trailing
 * bytes), typed access with errors that name the path, values as text. Numbers are kept as the text
 * that came in (YYJSON_READ_NUMBER_AS_RAW), so what is forwarded is what was sent. Not here:
 * meaning of any field (dialect/, config/). Values are borrowed from their document. */
#ifndef FUSOR_JSON_JSON_H
#define FUSOR_JSON_JSON_H

#include <string.h>
#include <yyjson.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

typedef yyjson_val json_val; /* the library's own value; opaque to callers */

/* Parses one whole JSON text into memory that lives as long as the arena; one allocation, in
 * proportion to the values that are in the text. Depth over LIMIT_JSON_DEPTH, broken syntax,
 * invalid UTF-8, lone surrogates, trailing bytes: ERR_INPUT "not valid JSON at byte 17: ..." (from
 * 0; put what was parsed before it with err_prefix()). Duplicate keys are refused in every object:
 * e->param is the path, "messages[2].role". */
MUST_USE bool json_parse(struct arena *a, struct span text, json_val **out, struct err *e);

/* Memory for parsing one small document after another without allocating: an upstream's chunks. */
struct json_scratch {
    void *mem;
    size_t cap;
};
void json_scratch_init(struct json_scratch *s);
void json_scratch_done(struct json_scratch *s);
/* Like json_parse(), good until the next call on s. For provider streams: duplicate keys are not
 * looked for (the first one counts). */
MUST_USE bool json_parse_scratch(struct json_scratch *s, struct span text, json_val **out,
                                 struct err *e);

/* --- access; every getter takes NULL and answers "absent" ------------------------------------- */

/* NULL when v is no object or has no such key. key is a C string literal. Here, so that its length
 * is known when it is compiled: readers of streams do this a dozen times per token. */
static inline json_val *json_get(json_val *v, const char *key)
{
    return yyjson_obj_getn(v, key, strlen(key));
}
json_val *json_get_span(json_val *v, struct span key);
bool json_is_null(json_val *v);
bool json_is_obj(json_val *v);
bool json_is_arr(json_val *v);
bool json_is_str(json_val *v);
bool json_is_num(json_val *v);
bool json_is_bool(json_val *v);
/* "string", "number", "object", ...: for messages. */
const char *json_type_name(json_val *v);
size_t json_count(json_val *v); /* members of an object or array, else 0 */
/* Empty span (p not NULL) for "" and p NULL when v is no string. */
struct span json_str(json_val *v);
bool json_true(json_val *v); /* exactly true */
/* The number as it was written; p NULL when v is no number. */
struct span json_num_text(json_val *v);
/* True and *out set when v is a number without fraction that fits (1e3 and 5.0 count). */
MUST_USE bool json_i64(json_val *v, int64_t *out);
MUST_USE bool json_f64(json_val *v, double *out); /* finite */

struct json_iter {
    json_val *at;
    size_t left;
    bool obj;
};
/* Walks an array or object in order: struct json_iter it = json_iter_of(v);
 * while (json_next(&it, &key, &val)) ...   (key is empty for arrays, may be NULL) */
struct json_iter json_iter_of(json_val *v);
bool json_next(struct json_iter *it, struct span *out_key, json_val **out_val);

/* Where the value of the i-th member stands in the text of an object, which a parser of this page
 * has taken: for what is sent on as it came but for one value. */
struct span json_member_text(struct span object, size_t i);

/* --- writing ---------------------------------------------------------------------------------- */

/* The value as minified JSON, appended; b is as before on failure (so with the next three). */
MUST_USE bool json_write_val(struct buf *b, json_val *v, struct err *e);
/* The same as a span in the arena. */
MUST_USE bool json_raw(struct arena *a, json_val *v, struct span *out, struct err *e);
/* Canonical form (RFC 8785 in spirit: keys sorted by bytes, numbers by exact decimal value, no
 * spaces): equal meaning, equal bytes. */
MUST_USE bool json_canonical(struct buf *b, json_val *v, struct err *e);
/* "text" with quotes and escapes; invalid UTF-8 becomes U+FFFD, so the output is always valid. */
MUST_USE bool json_write_str(struct buf *b, struct span s, struct err *e);

/* A writer that puts the commas in. Methods after a failure do nothing; the first failure stands in
 * ->failed and is returned by json_w_end(). */
struct json_w {
    struct buf *b;
    struct err *e;
    bool comma, failed;
};
void json_w_init(struct json_w *w, struct buf *b, struct err *e);
void json_w_obj(struct json_w *w);     /* { */
void json_w_obj_end(struct json_w *w); /* } */
void json_w_arr(struct json_w *w);
void json_w_arr_end(struct json_w *w);
void json_w_key(struct json_w *w, const char *key);
void json_w_str(struct json_w *w, struct span s);
void json_w_cstr(struct json_w *w, const char *s); /* NULL writes null */
void json_w_i64(struct json_w *w, int64_t v);
void json_w_f64(struct json_w *w, double v); /* shortest that reads back; non-finite writes null */
void json_w_bool(struct json_w *w, bool v);
void json_w_null(struct json_w *w);
void json_w_raw(struct json_w *w, struct span json); /* already JSON */
/* Nano-USD as a decimal number of USD without rounding: 1230000 -> 0.00123. */
void json_w_nusd(struct json_w *w, int64_t nusd);
MUST_USE bool json_w_end(struct json_w *w); /* false when anything failed */

#endif
