/* tests/unit/test_gemini_reader.c - what Gemini sends, by the book and not, against the log of
 * events it must give; calls in pieces; blocked prompts; errors; memory that runs out. Recorded
 * streams: test_gemini_recorded.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "chat_log.h"

#define HEAD        "\"modelVersion\":\"m\",\"responseId\":\"i\""
#define CHUNK(rest) "{" rest "," HEAD "}\n"
#define P(parts)                                                                                   \
    "\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[" parts "]},\"index\":0}]"
#define PF(parts, reason)                                                                          \
    "\"candidates\":[{\"content\":{\"parts\":[" parts "]},\"finishReason\":\"" reason "\"}]"
#define TEXT(s)      "{\"text\":\"" s "\"}"
#define THOUGHT(s)   "{\"text\":\"" s "\",\"thought\":true}"
#define CALL(fields) "{\"functionCall\":{" fields "}}"
#define END(reason)  CHUNK(PF("", reason))
#define U(in, out)                                                                                 \
    "\"usageMetadata\":{\"promptTokenCount\":" in ",\"candidatesTokenCount\":" out "}"
#define PIECE(path, rest) "{\"jsonPath\":\"" path "\"" rest "}"
#define PIECES(list)      CHUNK(P(CALL("\"partialArgs\":[" list "],\"willContinue\":true")))
#define BEGIN             CHUNK(P(CALL("\"name\":\"f\",\"willContinue\":true,\"id\":\"a\"")))
#define DONE_CALL         CHUNK(P(CALL("")))
#define FINE(args)        "start:i,m;tool:(0 a f " args " .);finish:tool_calls"
#define NONSENSE          "start:i,m;fail:upstream,upstream_error,2"

static const struct {
    const char *name, *in, *want;
} streams[] = {
    {"by the book",
     CHUNK(P(TEXT("Hel")) "," U("3", "1")) CHUNK(PF(TEXT("lo"), "STOP") "," U("3", "2")),
     "start:i,m;text:Hel;usage:3/0/1/0$-1;text:lo;usage:3/0/2/0$-1;finish:stop"},
    {"no usage", CHUNK(P(TEXT("a"))) END("STOP"), "start:i,m;text:a;finish:stop"},
    {"usage without counts",
     CHUNK(P(TEXT("a")) ",\"usageMetadata\":{\"trafficType\":\"X\"}") END("STOP"),
     "start:i,m;text:a;finish:stop"},
    {"usage after the finish", CHUNK(PF(TEXT("a"), "STOP")) CHUNK(U("3", "2")),
     "start:i,m;text:a;usage:3/0/2/0$-1;finish:stop"},
    {"finish on every chunk", CHUNK(PF(TEXT("a"), "STOP")) CHUNK(PF(TEXT("b"), "STOP")),
     "start:i,m;text:ab;finish:stop"},
    {"all of usage",
     CHUNK(PF(TEXT("a"), "STOP") ",\"usageMetadata\":{\"promptTokenCount\":55,"
                                 "\"candidatesTokenCount\":51,\"totalTokenCount\":251,"
                                 "\"toolUsePromptTokenCount\":89,\"thoughtsTokenCount\":56,"
                                 "\"cachedContentTokenCount\":40}"),
     "start:i,m;text:a;usage:144/40/107/56$-1;finish:stop"},
    {"odd usage",
     CHUNK(PF(TEXT("a"), "STOP") ",\"usageMetadata\":{\"promptTokenCount\":-3,"
                                 "\"candidatesTokenCount\":\"x\",\"thoughtsTokenCount\":2,"
                                 "\"cachedContentTokenCount\":99999999999999999999}"),
     "start:i,m;text:a;usage:0/0/2/2$-1;finish:stop"},
    {"cut", CHUNK(P(TEXT("a"))), "start:i,m;text:a;fail:cut,upstream_cut,3"},
    {"cut before content", CHUNK(P("")), "start:i,m;fail:cut,upstream_cut,2"},
    {"nothing at all", "", "fail:cut,upstream_cut,2"},
    {"no finish but [DONE]", CHUNK(P(TEXT("a"))) "[DONE]\n",
     "start:i,m;text:a;fail:cut,upstream_cut,3"},
    {"unspecified finish", CHUNK(PF(TEXT("a"), "FINISH_REASON_UNSPECIFIED")),
     "start:i,m;text:a;fail:cut,upstream_cut,3"},
    {"no candidates first", "{\"usageMetadata\":{}}\n" CHUNK(P(TEXT("a"))) END("STOP"),
     "start:i,m;text:a;finish:stop"},
    {"other candidates are not ours",
     "{\"candidates\":[{\"index\":1,\"content\":{\"parts\":[" TEXT(
         "x") "]},\"finishReason\":\"STOP\"},"
              "{\"content\":{\"parts\":[" TEXT("a") "]}}]," HEAD "}\n" END("STOP"),
     "start:i,m;text:a;finish:stop"},
    {"lists of chunks",
     "[{" P(TEXT("a")) "," HEAD "},{" P(TEXT("b")) "}]\n[{" PF("", "STOP") "}]\n",
     "start:i,m;text:ab;finish:stop"},

    /* reasons */
    {"length", CHUNK(PF(TEXT("a"), "MAX_TOKENS")), "start:i,m;text:a;finish:length"},
    {"safety", CHUNK(PF(TEXT("a"), "SAFETY")), "start:i,m;text:a;finish:content_filter"},
    {"recitation", END("RECITATION"), "start:i,m;finish:content_filter"},
    {"blocklist", END("BLOCKLIST"), "start:i,m;finish:content_filter"},
    {"prohibited", END("PROHIBITED_CONTENT"), "start:i,m;finish:content_filter"},
    {"spii", END("SPII"), "start:i,m;finish:content_filter"},
    {"malformed call", CHUNK(PF(TEXT("a"), "MALFORMED_FUNCTION_CALL")),
     "start:i,m;text:a;fail:upstream,upstream_error,3"},
    {"unexpected call", END("UNEXPECTED_TOOL_CALL"), NONSENSE},
    {"other", END("OTHER"), NONSENSE},
    {"a reason to come", END("SOMETHING"), NONSENSE},
    {"blocked",
     "{\"promptFeedback\":{\"blockReason\":\"PROHIBITED_CONTENT\"},\"usageMetadata\":{"
     "\"promptTokenCount\":9}," HEAD "}\n",
     "usage:9/0/0/0$-1;fail:input,content_filter,1"},
    {"not blocked", CHUNK(PF(TEXT("a"), "STOP") ",\"promptFeedback\":{\"safetyRatings\":[]}"),
     "start:i,m;text:a;finish:stop"},

    /* thoughts and signatures */
    {"thoughts", CHUNK(P(THOUGHT("h"))) CHUNK(P(THOUGHT("m"))) CHUNK(PF(TEXT("a"), "STOP")),
     "start:i,m;think:hm;text:a;finish:stop"},
    {"a signature on text", CHUNK(PF("{\"text\":\"a\",\"thoughtSignature\":\"S\"}", "STOP")),
     "start:i,m;text:a;think:[S];finish:stop"},
    {"a signature behind text",
     CHUNK(P(TEXT("a"))) CHUNK(PF("{\"text\":\"\",\"thoughtSignature\":\"S\"}", "STOP")),
     "start:i,m;text:a;think:[S];finish:stop"},
    {"a signature on a thought",
     CHUNK(PF("{\"text\":\"h\",\"thought\":true,\"thoughtSignature\":\"S\"}," TEXT("a"), "STOP")),
     "start:i,m;think:h[S];text:a;finish:stop"},
    {"an image", CHUNK(P("{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"AA\"}}")),
     NONSENSE},
    {"code that Google ran",
     CHUNK(PF("{\"executableCode\":{\"code\":\"x\"}},{\"codeExecutionResult\":{}}," TEXT("a"),
              "STOP")),
     "start:i,m;text:a;finish:stop"},

    /* whole calls */
    {"a call",
     CHUNK(P(CALL("\"id\":\"a\",\"name\":\"f\",\"args\":{\"x\": [1.50, \"y\"]}"))) END("STOP"),
     "start:i,m;tool:(0 a f {\"x\":[1.50,\"y\"]} .);finish:tool_calls"},
    {"no arguments", CHUNK(P(CALL("\"id\":\"a\",\"name\":\"f\""))) END("STOP"), FINE("{}")},
    {"null arguments", CHUNK(P(CALL("\"id\":\"a\",\"name\":\"f\",\"args\":null"))) END("STOP"),
     FINE("{}")},
    {"parallel calls, text before",
     CHUNK(PF(TEXT("t") "," CALL("\"id\":\"a\",\"name\":\"f\",\"args\":{}") "," CALL(
                  "\"id\":\"b\",\"name\":\"f\",\"args\":{}"),
              "STOP")),
     "start:i,m;text:t;tool:(0 a f {} .)(1 b f {} .);finish:tool_calls"},
    {"calls and the limit",
     CHUNK(PF(CALL("\"id\":\"a\",\"name\":\"f\",\"args\":{}"), "MAX_TOKENS")), FINE("{}")},
    {"finish of a copy",
     CHUNK(PF(CALL("\"id\":\"a\",\"name\":\"f\",\"args\":{}"), "FUNCTION_CALL")), FINE("{}")},
    {"odd arguments", CHUNK(P(CALL("\"name\":\"f\",\"args\":[1]"))), NONSENSE},
    {"arguments twice", CHUNK(P(CALL("\"name\":\"f\",\"args\":{\"a\":1},\"willContinue\":true"))),
     NONSENSE},
    {"a call without a name", CHUNK(P(CALL("\"args\":{\"a\":1}"))), NONSENSE},

    /* calls in pieces */
    {"strings in pieces",
     BEGIN PIECES(PIECE("$.a", ",\"stringValue\":\"x\\\"\",\"willContinue\":true"))
         PIECES(PIECE("$.a", ",\"stringValue\":\"y\\n\",\"willContinue\":true"))
             PIECES(PIECE("$.a", ",\"stringValue\":\"\""))
                 PIECES(PIECE("$.b", ",\"stringValue\":\"z\"")) DONE_CALL END("STOP"),
     FINE("{\"a\":\"x\\\"y\\n\",\"b\":\"z\"}")},
    {"nested",
     BEGIN PIECES(PIECE("$.r.i[0].n", ",\"numberValue\":1.50") "," PIECE(
         "$.r.i[0].m", ",\"boolValue\":true")) PIECES(PIECE("$.r.i[1].n", ",\"nullValue\":null"))
         PIECES(PIECE("$.r.s[0]", ",\"stringValue\":\"q\""))
             PIECES(PIECE("$.r.s[1]", ",\"stringValue\":\"w\""))
                 PIECES(PIECE("$.l", ",\"numberValue\":-2")) DONE_CALL END("STOP"),
     FINE("{\"r\":{\"i\":[{\"n\":1.50,\"m\":true},{\"n\":null}],\"s\":[\"q\",\"w\"]},\"l\":-2}")},
    {"lists in lists",
     BEGIN PIECES(PIECE("$.a[0][0]", ",\"numberValue\":1") "," PIECE(
         "$.a[0][1]", ",\"numberValue\":2") "," PIECE("$.a[1][0]", ",\"numberValue\":3"))
         DONE_CALL END("STOP"),
     FINE("{\"a\":[[1,2],[3]]}")},
    {"quoted names",
     BEGIN PIECES(PIECE("$['a.b']", ",\"numberValue\":1") "," PIECE(
         "$['it\\\\'s']", ",\"numberValue\":2") "," PIECE("$[\\\"q\\\\\\\"]\\\"]",
                                                          ",\"numberValue\":3"))
         DONE_CALL END("STOP"),
     FINE("{\"a.b\":1,\"it's\":2,\"q\\\"]\":3}")},
    {"nothing came", BEGIN DONE_CALL END("STOP"), FINE("{}")},
    {"steps without a piece",
     BEGIN PIECES("") PIECES(PIECE("$.a", ",\"numberValue\":1")) PIECES("") DONE_CALL END("STOP"),
     FINE("{\"a\":1}")},
    {"no end of the call",
     BEGIN CHUNK(P(CALL("\"partialArgs\":[" PIECE("$.a", ",\"numberValue\":1") "]"))) END("STOP"),
     FINE("{\"a\":1}")},
    {"no end at all",
     BEGIN PIECES(PIECE("$.a", ",\"stringValue\":\"x\",\"willContinue\":true")) END("STOP"),
     FINE("{\"a\":\"x\"}")},
    {"the next call is the end",
     BEGIN PIECES(PIECE("$.a", ",\"numberValue\":1")) CHUNK(P(CALL("\"id\":\"b\",\"name\":\"g\"")))
         END("STOP"),
     "start:i,m;tool:(0 a f {\"a\":1} .)(1 b g {} .);finish:tool_calls"},
    {"end and beginning in one chunk",
     BEGIN CHUNK(P(CALL("") "," CALL("\"id\":\"b\",\"name\":\"g\",\"willContinue\":true") "," CALL(
         ""))) END("STOP"),
     "start:i,m;tool:(0 a f {} .)(1 b g {} .);finish:tool_calls"},
    {"an end of nothing", CHUNK(P(TEXT("a"))) DONE_CALL END("STOP"),
     "start:i,m;text:a;finish:stop"},
    {"cut by the limit", BEGIN PIECES(PIECE("$.a", ",\"numberValue\":1")) END("MAX_TOKENS"),
     "start:i,m;finish:length"},
    {"a structure as one value",
     BEGIN PIECES(PIECE("$.a", ",\"structValue\":{\"b\":[1,{}]}")) DONE_CALL END("STOP"),
     FINE("{\"a\":{\"b\":[1,{}]}}")},
    {"pieces of no call", PIECES(PIECE("$.a", ",\"numberValue\":1")), NONSENSE},
    {"no path", BEGIN PIECES("{\"numberValue\":1}"), NONSENSE},
    {"a list as arguments", BEGIN PIECES(PIECE("$[0]", ",\"numberValue\":1")), NONSENSE},
    {"an index left out", BEGIN PIECES(PIECE("$.a[1]", ",\"numberValue\":1")), NONSENSE},
    {"an index back",
     BEGIN PIECES(PIECE("$.a[0]", ",\"numberValue\":1") "," PIECE("$.a[0]", ",\"numberValue\":1")),
     NONSENSE},
    {"inside of a value",
     BEGIN PIECES(PIECE("$.a", ",\"numberValue\":1") "," PIECE("$.a.b", ",\"numberValue\":1")),
     NONSENSE},
    {"a list and an object",
     BEGIN PIECES(PIECE("$.a[0]", ",\"numberValue\":1") "," PIECE("$.a.b", ",\"numberValue\":1")),
     NONSENSE},
    {"a key twice",
     BEGIN PIECES(PIECE("$.a.x", ",\"numberValue\":1") "," PIECE(
         "$.b", ",\"numberValue\":1") "," PIECE("$.a.y", ",\"numberValue\":1")) DONE_CALL,
     NONSENSE},
    {"bad paths", BEGIN PIECES(PIECE("$.a[x]", ",\"numberValue\":1")), NONSENSE},
    {"an open bracket", BEGIN PIECES(PIECE("$.a[", ",\"numberValue\":1")), NONSENSE},
    {"an open quote", BEGIN PIECES(PIECE("$['a", ",\"numberValue\":1")), NONSENSE},
    {"an empty step", BEGIN PIECES(PIECE("$..a", ",\"numberValue\":1")), NONSENSE},
    {"a huge index", BEGIN PIECES(PIECE("$.a[99999999999999999999]", ",\"numberValue\":1")),
     NONSENSE},

    /* chunks that are no chunks */
    {"three broken chunks", "x\n{\n" CHUNK(P(TEXT("a"))) "1\n" END("STOP"),
     "start:i,m;text:a;finish:stop"},
    {"four broken chunks", "x\n{\n" CHUNK(P(TEXT("a"))) "1\ny\n" END("STOP"),
     "start:i,m;text:a;fail:upstream,upstream_error,3"},
    {"odd types",
     CHUNK("\"candidates\":[1,{\"content\":7,\"finishReason\":3}],\"usageMetadata\":[]")
         CHUNK(P("1,{},{\"text\":4,\"thoughtSignature\":{}},{\"functionCall\":1}")) END("STOP"),
     "start:i,m;finish:stop"},

    /* errors inside a stream that began with 200 */
    {"overloaded",
     "{\"error\":{\"code\":503,\"message\":\"The model is "
     "overloaded.\",\"status\":\"UNAVAILABLE\"}}\n",
     "fail:unavailable,upstream_overloaded,1"},
    {"error after content",
     CHUNK(P(TEXT("a"))) "{\"error\":{\"code\":500,\"message\":\"x\",\"status\":\"INTERNAL\"}}\n",
     "start:i,m;text:a;fail:upstream,upstream_error,3"},
    {"error in a list", "[{\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\"}}]\n",
     "fail:busy,rate_limit_exceeded,1"},
    {"error later in a list", "[{" P(TEXT("a")) "," HEAD "},{\"error\":{\"code\":429}}]\n",
     "start:i,m;text:a;fail:busy,rate_limit_exceeded,3"},
};

static void test_streams(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        struct buf log;
        buf_init(&log, MIB(1));
        feed_lines_of(&dialect_gemini, span_of(streams[i].in), &log, NULL);
        if (!span_eq(buf_span(&log), span_of(streams[i].want)))
            fail_msg("%s:\n got %.*s\nwant %s", streams[i].name, SPAN_ARG(buf_span(&log)),
                     streams[i].want);
        buf_done(&log);
    }
}

static const struct {
    const char *name, *in, *want;
} bodies[] = {
    {"plain", CHUNK(PF(TEXT("a"), "STOP") "," U("1", "2")),
     "start:i,m;text:a;usage:1/0/2/0$-1;finish:stop"},
    {"no finishReason", CHUNK(P(TEXT("a"))), "start:i,m;text:a;finish:stop"},
    {"a list", "[{" P(TEXT("a")) "," HEAD "},{" PF(TEXT("b"), "STOP") "}]",
     "start:i,m;text:ab;finish:stop"},
    {"call", CHUNK(PF(CALL("\"id\":\"a\",\"name\":\"f\",\"args\":{}"), "STOP")), FINE("{}")},
    {"blocked", "{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}", "fail:input,content_filter,1"},
    {"error with 200", "{\"error\":{\"code\":429,\"message\":\"x\"}}",
     "fail:busy,rate_limit_exceeded,1"},
    {"no candidates", "{\"candidates\":[]}", "fail:upstream,upstream_error,2"},
    {"not JSON", "<html>", "fail:upstream,upstream_error,2"},
    {"an empty list", "[]", "fail:upstream,upstream_error,2"},
    {"a number", "1", "fail:upstream,upstream_error,2"},
    {"empty", "", "fail:upstream,upstream_error,2"},
};

static void test_bodies(void **state)
{
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct dialect_reader *rd = dialect_gemini.reader_new();
        struct buf log;
        struct err e = {0};
        int last = -1;
        buf_init(&log, MIB(1));
        bool ok = dialect_gemini.reader_body(rd, span_of(bodies[i].in), &e);
        assert_true(ok == (strstr(bodies[i].want, "fail") == NULL));
        assert_true(drain_of(&dialect_gemini, rd, &log, &last, NULL) == ok);
        if (!span_eq(buf_span(&log), span_of(bodies[i].want)))
            fail_msg("%s:\n got %.*s\nwant %s", bodies[i].name, SPAN_ARG(buf_span(&log)),
                     bodies[i].want);
        buf_done(&log);
        dialect_gemini.reader_free(rd);
    }
}

/* --- what a log does not show ----------------------------------------------------------------- */

static void collect(const char *in, struct chat_collect *c)
{
    chat_collect_init(c, MIB(1));
    feed_lines_of(&dialect_gemini, span_of(in), NULL, c);
    assert_true(c->ended && !c->failed);
}

/* Made ids are the same each time, and no two of an answer are alike. */
static void test_made_ids(void **state)
{
    static const char in[] = CHUNK(P(CALL("\"name\":\"f\"") "," CALL("\"name\":\"f\"") "," CALL(
        "\"id\":\"x y\",\"name\":\"f\"") "," CALL("\"id\":\"x y\",\"name\":\"f\""))) END("STOP");
    struct chat_collect a, b;
    collect(in, &a);
    collect(in, &b);
    assert_int_equal(a.n_tools, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_true(span_eq(buf_span(&a.tools[i].id), buf_span(&b.tools[i].id)));
        assert_true(i == 2 || a.tools[i].id.n == 9);
        for (size_t k = 0; k < i; k++)
            assert_false(span_eq(buf_span(&a.tools[i].id), buf_span(&a.tools[k].id)));
    }
    assert_true(span_eq(buf_span(&a.tools[2].id), SPAN("x y")));
    chat_collect_done(&a);
    chat_collect_done(&b);
}

static void test_signatures(void **state)
{
    struct chat_collect c;
    collect(
        CHUNK(P(THOUGHT("h"))) CHUNK(P("{\"functionCall\":{\"name\":\"f\",\"willContinue\":true},"
                                       "\"thoughtSignature\":\"S1\"}"))
            DONE_CALL CHUNK(P("{\"functionCall\":{\"name\":\"g\"},\"thoughtSignature\":\"S2\"}"))
                CHUNK(P(CALL("\"name\":\"h\"")))
                    CHUNK(PF("{\"text\":\"\",\"thoughtSignature\":\"S3\"}", "STOP")),
        &c);
    assert_int_equal(c.n_tools, 3);
    assert_true(span_eq(buf_span(&c.tools[0].signature), SPAN("S1")));
    assert_true(span_eq(buf_span(&c.tools[1].signature), SPAN("S2")));
    assert_int_equal(c.tools[2].signature.n, 0);
    assert_int_equal(c.n_blocks, 2); /* the thoughts do not take the signature of the text */
    assert_int_equal(c.blocks[0].signature.n, 0);
    assert_true(span_eq(buf_span(&c.blocks[1].signature), SPAN("S3")));
    assert_true(span_eq(buf_span(&c.blocks[1].format), CHAT_SIGNED_GEMINI));
    chat_collect_done(&c);
}

/* --- errors before a stream ------------------------------------------------------------------- */

#define ERROR(code, status, message, more)                                                         \
    "{\"error\":{\"code\":" code ",\"message\":\"" message "\",\"status\":\"" status "\"" more "}" \
    "}"
#define DETAIL(type, field)                                                                        \
    ",\"details\":[1,{\"@type\":\"type.googleapis.com/google.rpc.QuotaFailure\"},{\"@type\":"      \
    "\"type.googleapis.com/google.rpc." type "\"," field "}]"

static const struct {
    int status;
    int64_t header_ms;
    const char *body;
    int want;
    const char *code;
    int64_t retry_ms;
    const char *in_msg, *not_in_msg;
    enum err_sent sent;
} refusals[] = {
    {400, -1, ERROR("400", "INVALID_ARGUMENT", "Thinking level MINIMAL is not supported", ""), 400,
     "invalid_request", -1, "Thinking level", NULL, SENT_REFUSED},
    {400, -1,
     ERROR(
         "400", "INVALID_ARGUMENT",
         "The input token count (1054016) exceeds the maximum number of tokens allowed (1048576).",
         ""),
     400, "context_length_exceeded", -1, "1048576", NULL, SENT_REFUSED},
    {400, -1,
     ERROR("400", "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", ""), 502,
     "upstream_auth", -1, "credential", "Please", SENT_REFUSED},
    {400, -1,
     ERROR("400", "INVALID_ARGUMENT", "no", DETAIL("ErrorInfo", "\"reason\":\"API_KEY_INVALID\"")),
     502, "upstream_auth", -1, "credential", NULL, SENT_REFUSED},
    {400, -1, ERROR("400", "FAILED_PRECONDITION", "User location is not supported", ""), 502,
     "upstream_error", -1, "User location", NULL, SENT_REFUSED},
    {401, -1, ERROR("401", "UNAUTHENTICATED", "key abc", ""), 502, "upstream_auth", -1,
     "credential", "abc", SENT_REFUSED},
    {403, -1, ERROR("403", "PERMISSION_DENIED", "key abc", ""), 502, "upstream_auth", -1,
     "credential", "abc", SENT_REFUSED},
    {404, -1, ERROR("404", "NOT_FOUND", "models/x is not found", ""), 404, "model_not_found", -1,
     "models/x", NULL, SENT_REFUSED},
    {429, -1,
     ERROR("429", "RESOURCE_EXHAUSTED", "quota", DETAIL("RetryInfo", "\"retryDelay\":\"34.4s\"")),
     429, "rate_limit_exceeded", 34400, "quota", NULL, SENT_REFUSED},
    {429, 1500,
     ERROR("429", "RESOURCE_EXHAUSTED", "quota", DETAIL("RetryInfo", "\"retryDelay\":\"34.4s\"")),
     429, "rate_limit_exceeded", 1500, "quota", NULL, SENT_REFUSED},
    {429, -1,
     ERROR("429", "RESOURCE_EXHAUSTED", "quota", DETAIL("RetryInfo", "\"retryDelay\":\"2.0004s\"")),
     429, "rate_limit_exceeded", 2001, "quota", NULL, SENT_REFUSED},
    {429, -1,
     ERROR("429", "RESOURCE_EXHAUSTED", "quota", DETAIL("RetryInfo", "\"retryDelay\":\"-1x2s\"")),
     429, "rate_limit_exceeded", -1, "quota", NULL, SENT_REFUSED},
    {500, -1, "[" ERROR("503", "UNAVAILABLE", "overloaded", "") "]", 503, "upstream_overloaded", -1,
     "overloaded", NULL, SENT_REFUSED},
    {500, -1, ERROR("500", "INTERNAL", "oops", ""), 502, "upstream_error", -1, "oops", NULL,
     SENT_MAYBE},
    {504, -1, ERROR("504", "DEADLINE_EXCEEDED", "slow", ""), 504, "timeout", -1, "slow", NULL,
     SENT_MAYBE},
    {503, 2000, "<html>busy</html>", 503, "upstream_overloaded", 2000, "503", "html", SENT_REFUSED},
    {500, -1, "", 502, "upstream_error", -1, "500", NULL, SENT_MAYBE},
    {400, -1, "{\"error\":[1]}", 400, "invalid_request", -1, "400", NULL, SENT_REFUSED},
    {418, -1, ERROR("418", "X", "a\\u0007\\u001b[31m", ""), 502, "upstream_error", -1, "\\x07",
     "\x1b", SENT_REFUSED},
};

static void test_refusals(void **state)
{
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        struct err e = {0};
        dialect_gemini.read_error(refusals[i].status, span_of(refusals[i].body),
                                  refusals[i].header_ms, &e);
        if (e.status != refusals[i].want || strcmp(e.code, refusals[i].code) != 0 ||
            e.retry_after_ms != refusals[i].retry_ms || e.sent != refusals[i].sent)
            fail_msg("case %zu: %d %s %lld %d: %s", i, e.status, e.code,
                     (long long)e.retry_after_ms, e.sent, e.msg);
        assert_int_equal(e.upstream_status, refusals[i].status);
        assert_non_null(strstr(e.msg, refusals[i].in_msg));
        assert_true(!refusals[i].not_in_msg || !strstr(e.msg, refusals[i].not_in_msg));
        assert_true(strlen(e.msg) < 300);
    }
}

/* --- hostile input and memory ----------------------------------------------------------------- */

/* Each stream cut at every third byte: some end, never a crash. */
static void test_cut_anywhere(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++)
        for (size_t n = 0; n < strlen(streams[i].in); n += 3) {
            struct buf log;
            buf_init(&log, MIB(1));
            feed_lines_of(&dialect_gemini, span_make(streams[i].in, n), &log, NULL);
            assert_true(log.n > 0);
            buf_done(&log);
        }
}

static void test_too_many_calls(void **state)
{
    struct dialect_reader *rd = dialect_gemini.reader_new();
    struct span in = SPAN("{" P(CALL("\"name\":\"f\"")) "}");
    bool ok = true;
    int n = 0;
    for (; ok && n < 1000; n++)
        ok = dialect_gemini.reader_feed(rd, (struct span){0}, in, NULL) &&
             drain_of(&dialect_gemini, rd, NULL, NULL, NULL);
    assert_int_equal(n, 513);
    dialect_gemini.reader_free(rd);
}

/* A path that is deeper than arguments may be. */
static void test_deep(void **state)
{
    struct buf in, log;
    buf_init(&in, KIB(64));
    buf_init(&log, KIB(64));
    assert_true(buf_add(&in,
                        SPAN(BEGIN "{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{"
                                   "\"partialArgs\":[{\"numberValue\":1,\"jsonPath\":\"$.a"),
                        NULL));
    for (int i = 0; i < 2000; i++)
        assert_true(buf_add(&in, SPAN("[0]"), NULL));
    assert_true(buf_add(&in, SPAN("\"}]}}]}}]}\n"), NULL));
    feed_lines_of(&dialect_gemini, buf_span(&in), &log, NULL);
    assert_true(span_index(buf_span(&log), SPAN("fail:upstream")) < log.n);
    buf_done(&in);
    buf_done(&log);
}

static void test_no_memory(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        bool failed = true;
        for (unsigned long n = 1; failed; n++) {
            struct span text = span_of(streams[i].in), line;
            mem_fail_at(n);
            struct dialect_reader *rd = dialect_gemini.reader_new();
            bool ok = rd != NULL;
            while (ok && span_cut(&text, '\n', &line))
                ok = dialect_gemini.reader_feed(rd, (struct span){0}, line, NULL) &&
                     drain_of(&dialect_gemini, rd, NULL, NULL, NULL);
            if (ok)
                dialect_gemini.reader_eof(rd);
            failed = mem_failed();
            mem_fail_at(0);
            dialect_gemini.reader_free(rd);
        }
    }
}

/* Once warm, a chunk of text, or a piece of a call, takes no memory. */
static void test_no_allocation_once_warm(void **state)
{
    static const char begin[] = BEGIN;
    static const char *const chunks[] = {
        CHUNK(P(THOUGHT("abc")) "," U("1", "2")),
        CHUNK(P(TEXT("abc"))),
        PIECES(PIECE("$.a", ",\"stringValue\":\"abc\",\"willContinue\":true")),
    };
    struct dialect_reader *rd = dialect_gemini.reader_new();
    assert_true(dialect_gemini.reader_feed(rd, (struct span){0}, span_of(begin), NULL));
    for (int i = 0; i < 1100; i++) {
        if (i == 1000) /* the arguments are at 3000 bytes of 4096 */
            mem_fail_at(1);
        for (size_t k = 0; k < COUNT_OF(chunks); k++) {
            assert_true(dialect_gemini.reader_feed(rd, (struct span){0}, span_of(chunks[k]), NULL));
            assert_true(drain_of(&dialect_gemini, rd, NULL, NULL, NULL));
        }
    }
    assert_false(mem_failed());
    mem_fail_at(0);
    dialect_gemini.reader_free(rd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_made_ids),       cmocka_unit_test(test_signatures),
        cmocka_unit_test(test_refusals),       cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_too_many_calls), cmocka_unit_test(test_deep),
        cmocka_unit_test(test_no_memory),      cmocka_unit_test(test_no_allocation_once_warm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
