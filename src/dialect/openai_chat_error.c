/* dialect/openai_chat_error.c - the error object, both ways.
 *
 * Here is what its members mean; what becomes of them is the same for all dialects (wire_error.c).
 */
#include "base/limits.h"
#include "dialect/openai_chat_priv.h"

/* --- writing ---------------------------------------------------------------------------------- */

static void w_str(struct json_w *w, const char *key, const char *s)
{
    json_w_key(w, key);
    json_w_cstr(w, s && *s ? s : NULL);
}

static void write_four(struct json_w *w, const struct err *err)
{
    json_w_obj(w);
    json_w_key(w, "error");
    json_w_obj(w);
    json_w_key(w, "message");
    json_w_cstr(w, err->msg);
    w_str(w, "type", err_type(err->cls));
    w_str(w, "param", err->param);
    w_str(w, "code", err->code);
}

bool oai_write_error(const struct err *err, struct buf *out, struct err *e)
{
    size_t from = out->n;
    struct json_w w;
    json_w_init(&w, out, e);
    write_four(&w, err);
    json_w_obj_end(&w);
    json_w_obj_end(&w);
    if (json_w_end(&w))
        return true;
    buf_cut(out, from);
    return false;
}

void oai_write_stream_error(struct json_w *w, const struct err *err)
{
    write_four(w, err);
    json_w_key(w, "status");
    json_w_i64(w, err->status);
    json_w_key(w, "retry_after");
    if (err->retry_after_ms < 0)
        json_w_null(w);
    else
        json_w_i64(w, (err->retry_after_ms + 999) / 1000);
    json_w_obj_end(w);
    json_w_obj_end(w);
}

/* --- reading ---------------------------------------------------------------------------------- */

static json_val *first_of(json_val *v)
{
    return json_is_arr(v) ? json_iter_of(v).at : v;
}

/* FastAPI's and Mistral's lists: [{"loc": ["body","x"], "msg": "..."}]; also plain strings. */
static struct span detail_of(json_val *v)
{
    v = first_of(v);
    return json_is_str(v) ? json_str(v) : json_str(json_get(v, "msg"));
}

/* The last word of `loc` is the field at fault. */
static struct span loc_of(json_val *v)
{
    struct span key, last = {0};
    json_val *x;
    for (struct json_iter it = json_iter_of(json_get(first_of(v), "loc"));
         json_next(&it, &key, &x);)
        last = json_is_str(x) ? json_str(x) : last;
    return last;
}

static struct wire_said read_said(json_val *root)
{
    struct wire_said s = {0};
    root = first_of(root); /* Gemini's compatible surface wraps it in a list */
    json_val *err = json_get(root, "error");
    json_val *from = json_is_obj(err) ? err : root;
    json_val *message = json_get(from, "message"), *code = json_get(from, "code");
    json_val *detail =
        json_is_obj(message) ? json_get(message, "detail") : json_get(from, "detail");
    s.message = json_is_str(err)       ? json_str(err)
                : json_is_str(message) ? json_str(message)
                                       : detail_of(detail);
    s.code = json_str(code);
    s.type = json_str(json_get(from, "type"));
    s.param = json_str(json_get(from, "param"));
    if (s.param.n == 0)
        s.param = loc_of(detail);
    static const char *const numbers[] = {"status", "status_code", "raw_status_code", "code"};
    for (size_t i = 0; i < COUNT_OF(numbers) && s.status == 0; i++)
        if (!json_i64(json_get(from, numbers[i]), &s.status) &&
            !span_to_i64(json_str(json_get(from, numbers[i])), &s.status))
            s.status = 0;
    if (s.status < 400 || s.status > 599)
        s.status = 0; /* Mistral's own numbers, "3280" */
    return s;
}

void oai_read_error(int status, struct span body, int64_t retry_after_ms, struct err *out)
{
    struct json_scratch scratch;
    struct wire_said s = {0};
    json_val *root = NULL;
    json_scratch_init(&scratch);
    if (body.n > 0 && body.n <= LIMIT_SMALL_BODY_BYTES &&
        json_parse_scratch(&scratch, body, &root, NULL))
        s = read_said(root);
    wire_refused(status, &s, out);
    out->retry_after_ms = retry_after_ms;
    json_scratch_done(&scratch);
}

/* Words that stand for a status where an error in a stream has no number. */
static int status_of_words(const struct wire_said *s)
{
    static const struct {
        const char *word;
        int status;
    } words[] = {
        {"rate_limit_exceeded", 429},   {"rate_limit_error", 429}, {"insufficient_quota", 402},
        {"invalid_request_error", 400}, {"BadRequestError", 400},  {"context_length_exceeded", 400},
        {"authentication_error", 401},  {"invalid_api_key", 401},  {"permission_error", 403},
        {"not_found_error", 404},       {"overloaded_error", 503}, {"overloaded", 503},
        {"unavailable", 503},           {"timeout", 504},          {"timeout_error", 504},
    };
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (wire_says(s, words[i].word))
            return words[i].status;
    return 500;
}

bool oai_stream_error(json_val *chunk, bool error_event, bool delivered, struct err *out)
{
    json_val *err = json_get(chunk, "error"), *after = json_get(err, "retry_after");
    struct span object = json_str(json_get(chunk, "object"));
    bool is = error_event || (err && !json_is_null(err)) || span_eq(object, SPAN("error"));
    int64_t seconds;
    if (!is)
        return false;
    struct wire_said s = read_said(chunk);
    wire_refused(s.status ? (int)s.status : status_of_words(&s), &s, out);
    if (json_i64(after, &seconds) && seconds >= 0 && seconds < 1000000)
        out->retry_after_ms = seconds * 1000;
    if (delivered)
        out->sent = SENT_DELIVERED;
    return true;
}
