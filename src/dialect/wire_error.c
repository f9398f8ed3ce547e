/* dialect/wire_error.c - what an upstream said when it refused -> an error of ours, in all
 * dialects.
 *
 * Class by status, our words, and a short visible excerpt of its message. A refused credential is
 * our operator's business: the client must not take it for its own, and the message may hold a part
 * of the key, so none of it passes. */
#include "base/text.h"
#include "dialect/wire.h"

/* Bytes of an upstream's message that a client gets to see. */
#define EXCERPT_BYTES 200

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

static bool is_context_length(const struct wire_said *s)
{
    static const char *const words[] = {
        "maximum context length",
        "context length exceeded",
        "context window",
        "prompt is too long",
        "exceeds the available context",
        "exceeds the maximum number of tokens",
    };
    if (span_eq(s->code, SPAN("context_length_exceeded")) ||
        span_eq(s->type, SPAN("exceed_context_size_error")))
        return true;
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (mentions(s->message, words[i]))
            return true;
    return false;
}

bool wire_says(const struct wire_said *s, const char *word)
{
    return span_eq(s->code, span_of(word)) || span_eq(s->type, span_of(word));
}

/* Codes that keep their name on the way through; all else gets the code of its class. */
static const char *known_code(const struct wire_said *s)
{
    static const char *const codes[] = {
        "model_not_found",   "content_filter",        "content_policy_violation",
        "unsupported_value", "unsupported_parameter", "invalid_image_url",
        "budget_exceeded",   "upstream_error",        "upstream_auth",
        "upstream_credit",   "upstream_cut",          "upstream_overloaded",
        "timeout",           "unavailable",           "rate_limit_exceeded",
    };
    for (size_t i = 0; i < COUNT_OF(codes); i++)
        if (wire_says(s, codes[i]))
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

static struct verdict judge_status(int status, const struct wire_said *s)
{
    struct verdict v = {status, ERR_UPSTREAM, SENT_MAYBE, 0, NULL, "the upstream failed", false};
    if (status >= 400 && status < 500)
        v.sent = SENT_REFUSED;
    /* OpenAI says 429 here too, but waiting does not help. */
    if (wire_says(s, "insufficient_quota") || wire_says(s, "billing_hard_limit_reached"))
        status = status == 429 ? 402 : status;
    for (size_t i = 0; i < COUNT_OF(verdicts); i++)
        if (verdicts[i].from == status)
            v = verdicts[i];
    if (wire_says(s, "budget_exceeded")) { /* a fusor upstream of us */
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

void wire_refused(int status, const struct wire_said *s, struct err *out)
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
