/* dialect/gemini_error.c - Google's error object -> an error of ours.
 *
 * {"error": {"code": 429, "message": "...", "status": "RESOURCE_EXHAUSTED", "details": [...]}},
 * alone or as the only item of a list (how streamGenerateContent without alt=sse says it). The
 * class goes by the status word (google.rpc.Code), since a proxy may change the number; how long to
 * wait stands in a detail and not in a header (google.rpc.RetryInfo). What each means to callers:
 * ai.google.dev/gemini-api/docs/troubleshooting. */
#include "base/limits.h"
#include "dialect/gemini_priv.h"

static const struct {
    struct span word;
    int status;
} words[] = {
    {SPAN_INIT("INVALID_ARGUMENT"), 400},
    {SPAN_INIT("OUT_OF_RANGE"), 400},
    /* "Free tier not available in your country", "location is not supported": nothing that our
     * client can mend, so no 400. */
    {SPAN_INIT("FAILED_PRECONDITION"), 412},
    {SPAN_INIT("UNAUTHENTICATED"), 401},
    {SPAN_INIT("PERMISSION_DENIED"), 403},
    {SPAN_INIT("NOT_FOUND"), 404},
    {SPAN_INIT("ABORTED"), 409},
    {SPAN_INIT("RESOURCE_EXHAUSTED"), 429},
    {SPAN_INIT("CANCELLED"), 499},
    {SPAN_INIT("UNKNOWN"), 500},
    {SPAN_INIT("INTERNAL"), 500},
    {SPAN_INIT("DATA_LOSS"), 500},
    {SPAN_INIT("UNIMPLEMENTED"), 501},
    {SPAN_INIT("UNAVAILABLE"), 503},
    {SPAN_INIT("DEADLINE_EXCEEDED"), 504},
};

static json_val *error_of(json_val *root)
{
    if (json_is_arr(root))
        root = json_iter_of(root).at;
    json_val *err = json_get(root, "error");
    return json_is_obj(err) ? err : NULL;
}

/* The detail of a type; its name is a URL whose last part counts. */
static json_val *detail_of(json_val *err, struct span type)
{
    json_val *list = json_get(err, "details"), *d;
    struct span key;
    for (struct json_iter it = json_iter_of(json_is_arr(list) ? list : NULL);
         json_next(&it, &key, &d);)
        if (span_ends(json_str(json_get(d, "@type")), type))
            return d;
    return NULL;
}

/* "34.4s" -> 34400, rounded up; -1: no such text. */
static int64_t duration_ms(struct span s)
{
    int64_t whole = 0, ms = 0, unit = 100;
    struct span head;
    if (s.n < 2 || !span_ends(s, SPAN("s")))
        return -1;
    s = span_upto(s, s.n - 1);
    span_cut(&s, '.', &head);
    if (!span_to_i64(head, &whole) || whole < 0 || whole > 1000000)
        return -1;
    for (size_t i = 0; i < s.n; i++, unit /= 10) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return -1;
        ms += unit > 0 ? (s.p[i] - '0') * unit : 0;
        if (unit == 0 && s.p[i] > '0') {
            ms++;
            break;
        }
    }
    return whole * 1000 + ms;
}

/* A wrong key is an INVALID_ARGUMENT here. */
static bool is_bad_key(json_val *err, struct span message)
{
    struct span reason = json_str(json_get(detail_of(err, SPAN("google.rpc.ErrorInfo")), "reason"));
    return span_starts(reason, SPAN("API_KEY_")) ||
           span_starts(message, SPAN("API key not valid")) ||
           span_starts(message, SPAN("API key expired")) ||
           span_starts(message, SPAN("API Key not found"));
}

/* status: the answer's, 0: unknown. */
static void judge(json_val *err, int status, struct err *out)
{
    struct wire_said said = {.message = json_str(json_get(err, "message"))};
    struct span word = json_str(json_get(err, "status"));
    int64_t code = 0, wait;
    int means = status;
    if (!json_i64(json_get(err, "code"), &code) || code < 400 || code > 599)
        code = 0;
    if (means == 0)
        means = code > 0 ? (int)code : 500;
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (span_eq(words[i].word, word))
            means = words[i].status;
    if (means == 400 && is_bad_key(err, said.message))
        means = 401;
    wire_refused(means, &said, out);
    if (means == 404 && out->cls == ERR_NOT_FOUND)
        err_with_code(out, "model_not_found");
    out->upstream_status = status > 0 ? status : means;
    wait =
        duration_ms(json_str(json_get(detail_of(err, SPAN("google.rpc.RetryInfo")), "retryDelay")));
    if (wait >= 0)
        out->retry_after_ms = wait;
}

void gem_read_error(int status, struct span body, int64_t retry_after_ms, struct err *out)
{
    struct json_scratch scratch;
    json_val *root = NULL;
    json_scratch_init(&scratch);
    if (body.n == 0 || body.n > LIMIT_SMALL_BODY_BYTES ||
        !json_parse_scratch(&scratch, body, &root, NULL))
        root = NULL;
    judge(error_of(root), status, out);
    if (retry_after_ms >= 0)
        out->retry_after_ms = retry_after_ms;
    json_scratch_done(&scratch);
}

bool gem_stream_error(json_val *chunk, bool delivered, struct err *out)
{
    json_val *err = error_of(chunk);
    if (!err)
        return false;
    judge(err, 0, out);
    if (delivered)
        out->sent = SENT_DELIVERED;
    return true;
}
