/* dialect/openai_chat_error.c - the error object, both ways.
 *
 * An upstream's refusal becomes an error of ours: class by status, our words, and a short visible
 * excerpt of its message. A refused credential is our operator's business: the client must not take
 * it for its own, and the message may hold a part of the key, so none of it passes. */
#include "base/limits.h"
#include "base/text.h"
#include "dialect/openai_chat_priv.h"

/* Bytes of an upstream's message that a client gets to see. */
#define EXCERPT_BYTES 200

/* --- writing ---------------------------------------------------------------------------------- */

static void w_str(struct json_w *w, const char *key, const char *s)
{
    json_w_key(w, key);
    json_w_cstr(w, s && *s ? s : NULL);
}

void oai_write_error_object(struct json_w *w, const struct err *err, bool in_stream)
{
    json_w_obj(w);
    json_w_key(w, "message");
    json_w_cstr(w, err->msg);
    w_str(w, "type", err_type(err->cls));
    w_str(w, "param", err->param);
    w_str(w, "code", err->code);
    if (in_stream) {
        json_w_key(w, "status");
        json_w_i64(w, err->status);
        json_w_key(w, "retry_after");
        if (err->retry_after_ms < 0)
            json_w_null(w);
        else
            json_w_i64(w, (err->retry_after_ms + 999) / 1000);
    }
    json_w_obj_end(w);
}

static void write_error(struct json_w *w, const struct err *err, bool in_stream)
{
    json_w_obj(w);
    json_w_key(w, "error");
    oai_write_error_object(w, err, in_stream);
    json_w_obj_end(w);
}

bool oai_write_error(const struct err *err, struct buf *out, struct err *e)
{
    size_t from = out->n;
    struct json_w w;
    json_w_init(&w, out, e);
    write_error(&w, err, false);
    if (json_w_end(&w))
        return true;
    buf_cut(out, from);
    return false;
}

void oai_write_stream_error(struct json_w *w, const struct err *err)
{
    write_error(w, err, true);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* What an error body says, in whatever shape; spans borrow from the document. */
struct said {
    struct span message, code, type, param;
    int64_t status; /* number in `code` or `status`, 0: none */
};

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

static struct said read_said(json_val *root)
{
    struct said s = {0};
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

/* Case is folded by hand: messages are short. */
static bool mentions(struct span text, const char *word)
{
    size_t n = strlen(word);
    text = span_upto(text, 1024);
    for (size_t i = 0; i + n <= text.n; i++)
        if (span_eq_nocase(span_upto(span_from(text, i), n), span_of(word)))
            return true;
    return false;
}

static bool is_context_length(const struct said *s)
{
    static const char *const words[] = {
        "maximum context length", "context length exceeded",       "context window",
        "prompt is too long",     "exceeds the available context",
    };
    if (span_eq(s->code, SPAN("context_length_exceeded")) ||
        span_eq(s->type, SPAN("exceed_context_size_error")))
        return true;
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (mentions(s->message, words[i]))
            return true;
    return false;
}

static bool says(const struct said *s, const char *word)
{
    return span_eq(s->code, span_of(word)) || span_eq(s->type, span_of(word));
}

/* Codes that keep their name on the way through; all else gets the code of its class. */
static const char *known_code(const struct said *s)
{
    static const char *const codes[] = {
        "model_not_found",   "content_filter",        "content_policy_violation",
        "unsupported_value", "unsupported_parameter", "invalid_image_url",
        "budget_exceeded",   "upstream_error",        "upstream_auth",
        "upstream_credit",   "upstream_cut",          "upstream_overloaded",
        "timeout",           "unavailable",           "rate_limit_exceeded",
    };
    for (size_t i = 0; i < COUNT_OF(codes); i++)
        if (says(s, codes[i]))
            return codes[i];
    return NULL;
}

struct verdict {
    int from; /* the upstream's status */
    enum err_class cls;
    enum err_sent sent;
    int status;       /* for the client; 0: the class's own */
    const char *code; /* NULL: a code that keeps its name, else the class's own */
    const char *words;
    bool silent; /* no excerpt */
};

#define AUTH_WORDS                                                                                 \
    "the provider refused its credential: check the key that is configured for this provider"

static const struct verdict verdicts[] = {
    {400, ERR_INPUT, SENT_REFUSED, 0, NULL, "the upstream refused the request", false},
    {401, ERR_UPSTREAM, SENT_REFUSED, 0, "upstream_auth", AUTH_WORDS, true},
    {402, ERR_BUDGET, SENT_REFUSED, 0, "upstream_credit", "the provider's account has no credit",
     false},
    {403, ERR_UPSTREAM, SENT_REFUSED, 0, "upstream_auth", AUTH_WORDS, true},
    {404, ERR_NOT_FOUND, SENT_REFUSED, 0, NULL, "the upstream does not know this model or path",
     false},
    {408, ERR_TIMEOUT, SENT_MAYBE, 0, NULL, "the upstream gave up waiting", false},
    {413, ERR_LIMIT, SENT_REFUSED, 0, NULL, "the request is too large for the upstream", false},
    {422, ERR_INPUT, SENT_REFUSED, 422, NULL, "the upstream refused a field of the request", false},
    {429, ERR_BUSY, SENT_REFUSED, 0, NULL, "the upstream is rate limiting", false},
    {503, ERR_UNAVAILABLE, SENT_REFUSED, 0, "upstream_overloaded", "the upstream is overloaded",
     false},
    {504, ERR_TIMEOUT, SENT_MAYBE, 0, NULL, "the upstream timed out", false},
    {529, ERR_UNAVAILABLE, SENT_REFUSED, 0, "upstream_overloaded", "the upstream is overloaded",
     false},
};

static struct verdict judge_status(int status, const struct said *s)
{
    struct verdict v = {status, ERR_UPSTREAM, SENT_MAYBE, 0, NULL, "the upstream failed", false};
    if (status >= 400 && status < 500)
        v.sent = SENT_REFUSED;
    /* OpenAI says 429 here too, but waiting does not help. */
    if (says(s, "insufficient_quota") || says(s, "billing_hard_limit_reached"))
        status = status == 429 ? 402 : status;
    for (size_t i = 0; i < COUNT_OF(verdicts); i++)
        if (verdicts[i].from == status)
            v = verdicts[i];
    if (says(s, "budget_exceeded")) { /* a fusor upstream of us */
        v.code = NULL;
        v.words = "the upstream refused it by a budget";
    }
    if (!v.code && v.cls != ERR_BUSY && v.cls != ERR_TIMEOUT && v.cls != ERR_LIMIT)
        v.code = known_code(s);
    if ((status == 400 || status == 413 || status == 422) && is_context_length(s)) {
        v = verdicts[0];
        v.code = "context_length_exceeded";
        v.words = "the request is longer than the model's context";
    }
    return v;
}

static void fill(int status, const struct said *s, struct err *out)
{
    struct verdict v = judge_status(status, s);
    char text[EXCERPT_BYTES + 1], param[sizeof out->param];
    text_visible_cstr(text, sizeof text, s->message);
    text_visible_cstr(param, sizeof param, s->param);
    if (s->message.n > 0 && !v.silent)
        err_set(out, v.cls, "%s (status %d): %s", v.words, status, text);
    else
        err_set(out, v.cls, "%s (status %d)", v.words, status);
    if (v.cls == ERR_INPUT)
        memcpy(out->param, param, sizeof param);
    out->sent = v.sent;
    out->upstream_status = status;
    if (v.status)
        out->status = v.status;
    if (v.code)
        err_with_code(out, v.code);
}

void oai_read_error(int status, struct span body, int64_t retry_after_ms, struct err *out)
{
    struct json_scratch scratch;
    struct said s = {0};
    json_val *root = NULL;
    json_scratch_init(&scratch);
    if (body.n > 0 && body.n <= LIMIT_SMALL_BODY_BYTES &&
        json_parse_scratch(&scratch, body, &root, NULL))
        s = read_said(root);
    fill(status, &s, out);
    out->retry_after_ms = retry_after_ms;
    json_scratch_done(&scratch);
}

/* Words that stand for a status where an error in a stream has no number. */
static int status_of_words(const struct said *s)
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
        if (says(s, words[i].word))
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
    struct said s = read_said(chunk);
    fill(s.status ? (int)s.status : status_of_words(&s), &s, out);
    if (json_i64(after, &seconds) && seconds >= 0 && seconds < 1000000)
        out->retry_after_ms = seconds * 1000;
    if (delivered)
        out->sent = SENT_DELIVERED;
    return true;
}
