/* tests/unit/test_openai_chat_reader.c - what upstreams send, by the book and not, against the log
 * of events it must give; errors in streams and bodies; our own frames; memory that runs out.
 * Recorded streams of providers: test_openai_chat_recorded.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "chat_log.h"

#define CHUNK(choices, rest) "{\"id\":\"i\",\"model\":\"m\",\"choices\":[" choices "]" rest "}\n"
#define D(delta)             CHUNK("{\"index\":0,\"delta\":{" delta "},\"finish_reason\":null}", "")
#define F(reason)            CHUNK("{\"index\":0,\"delta\":{},\"finish_reason\":\"" reason "\"}", "")
#define U(in, out)           "\"usage\":{\"prompt_tokens\":" in ",\"completion_tokens\":" out "}"
#define CALL(fields)         D("\"tool_calls\":[{" fields "}]")
#define DONE                 "[DONE]\n"

static const struct {
    const char *name, *in, *want;
} streams[] = {
    {"by the book",
     D("\"role\":\"assistant\",\"content\":\"\"") D("\"content\":\"Hel\"") D("\"content\":\"lo\"")
         F("stop") CHUNK("", "," U("3", "2")) DONE,
     "start:i,m;text:Hello;usage:3/0/2/0$-1;finish:stop"},
    {"usage with the finish",
     D("\"content\":\"a\"") CHUNK("{\"delta\":{},\"finish_reason\":\"stop\"}", "," U("3", "2"))
         DONE,
     "start:i,m;text:a;usage:3/0/2/0$-1;finish:stop"},
    {"usage all the way, twice at the end",
     CHUNK("{\"delta\":{\"content\":\"a\"}}", "," U("3", "1")) F("length")
         CHUNK("", "," U("3", "2")) CHUNK("", "," U("3", "2")) DONE,
     "start:i,m;text:a;usage:3/0/1/0$-1;usage:3/0/2/0$-1;finish:length"},
    {"no usage", D("\"content\":\"a\"") F("stop") DONE, "start:i,m;text:a;finish:stop"},
    {"no [DONE]", D("\"content\":\"a\"") F("stop"), "start:i,m;text:a;finish:stop"},
    {"data after [DONE]", D("\"content\":\"a\"") F("stop") DONE D("\"content\":\"b\"") "x\n" DONE,
     "start:i,m;text:a;finish:stop"},
    {"cut", D("\"content\":\"a\""), "start:i,m;text:a;fail:cut,upstream_cut,3"},
    {"cut before content", D("\"role\":\"assistant\""), "start:i,m;fail:cut,upstream_cut,2"},
    {"cut with [DONE]", D("\"content\":\"a\"") DONE, "start:i,m;text:a;fail:cut,upstream_cut,3"},
    {"nothing at all", "", "fail:cut,upstream_cut,2"},
    {"empty chunk first",
     CHUNK("", ",\"prompt_filter_results\":[]") D("\"content\":\"a\"") F("stop"),
     "start:i,m;text:a;finish:stop"},
    {"other choices are not ours",
     CHUNK("{\"index\":1,\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"},{\"index\":0,"
           "\"delta\":{\"content\":\"a\"}}",
           "") CHUNK("{\"index\":2,\"delta\":{\"content\":\"y\"}}", "") F("stop"),
     "start:i,m;text:a;finish:stop"},
    {"reasoning_content",
     D("\"reasoning_content\":\"h\",\"content\":null") D("\"reasoning\":\"m\"")
         D("\"content\":\"a\",\"reasoning_content\":null") F("stop"),
     "start:i,m;think:hm;text:a;finish:stop"},
    {"both names are one", D("\"reasoning_content\":\"h\",\"reasoning\":\"h\"") F("stop"),
     "start:i,m;think:h;finish:stop"},
    {"details with signature",
     D("\"reasoning\":\"h\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"h\"}]")
         D("\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"\",\"signature\":\"S\"}"
           "]") D("\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\"E\"}]")
             F("stop"),
     "start:i,m;think:h[S][E];finish:stop"},
    {"details alone",
     D("\"reasoning_details\":[{\"type\":\"reasoning.summary\",\"summary\":\"s\"}]") F("stop"),
     "start:i,m;think:s;finish:stop"},
    {"Mistral's thinking",
     D("\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"h\"},{"
       "\"type\":"
       "\"text\",\"text\":\"m\"}]}]") D("\"content\":[{\"type\":\"text\",\"text\":\"a\"}]")
         D("\"content\":\"b\"") F("stop"),
     "start:i,m;think:hm;text:ab;finish:stop"},
    {"refusal", D("\"refusal\":\"I \"") D("\"refusal\":\"won't\"") F("stop"),
     "start:i,m;refusal:I won't;finish:refusal"},
    {"model_length", D("\"content\":\"a\"") F("model_length"), "start:i,m;text:a;finish:length"},
    {"unknown finish", D("\"content\":\"a\"") F("eos"), "start:i,m;text:a;finish:stop"},
    {"empty finish", CHUNK("{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"\"}", ""),
     "start:i,m;text:a;fail:cut,upstream_cut,3"},
    {"finish error", D("\"content\":\"a\"") F("error"),
     "start:i,m;text:a;fail:upstream,upstream_error,3"},
    {"finish tool_calls without a call", D("\"content\":\"a\"") F("tool_calls"),
     "start:i,m;text:a;finish:stop"},

    /* usage */
    {"details of usage",
     F("stop") CHUNK("", ",\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,"
                         "\"prompt_tokens_details\":{\"cached_tokens\":4},"
                         "\"completion_tokens_details\":{\"reasoning_tokens\":2},\"cost\":0.00123}")
         DONE,
     "start:i,m;usage:9/4/5/2$1230000;finish:stop"},
    {"DeepSeek's cache",
     F("stop") CHUNK("", ",\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,"
                         "\"prompt_cache_hit_tokens\":3,\"cost\":1.5e-8}") DONE,
     "start:i,m;usage:9/3/5/0$15;finish:stop"},
    {"xAI's reasoning beside the output",
     F("stop")
         CHUNK("", ",\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,\"total_tokens\":16,"
                   "\"completion_tokens_details\":{\"reasoning_tokens\":2}}") DONE,
     "start:i,m;usage:9/0/7/2$-1;finish:stop"},
    {"odd numbers",
     F("stop") CHUNK("", ",\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":"
                         "99999999999999999999,\"cost\":\"1\",\"estimated\":true}") DONE,
     "start:i,m;usage:0/0/0/0$-1~;finish:stop"},
    {"x_groq", CHUNK("{\"delta\":{},\"finish_reason\":\"stop\"}", ",\"x_groq\":{" U("1", "2") "}"),
     "start:i,m;usage:1/0/2/0$-1;finish:stop"},

    /* tool calls */
    {"calls by the book",
     CALL("\"index\":0,\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
          "\"arguments\":"
          "\"\"}") CALL("\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\"\"}")
         CALL("\"index\":0,\"function\":{\"arguments\":\":1}\"}")
             CALL("\"index\":1,\"id\":\"c2\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}")
                 F("tool_calls") DONE,
     "start:i,m;tool:(0 c1 f )(0   {\"a\")(0   :1})(1 c2 g {})(0    .)(1    .);finish:tool_calls"},
    {"finish stop",
     CALL("\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}") F("stop"),
     "start:i,m;tool:(0 c f {})(0    .);finish:tool_calls"},
    {"without index, whole",
     D("\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"id\":"
       "\"b\","
       "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]") F("tool_calls"),
     "start:i,m;tool:(0 a f {})(1 b f {})(0    .)(1    .);finish:tool_calls"},
    {"without index and id, whole",
     D("\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"function\":{"
       "\"name\":"
       "\"f\",\"arguments\":\"{}\"}},{\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]")
         F("stop"),
     "start:i,m;tool:(0  f {})(1  f {})(2  g {})(0    .)(1    .)(2    .);finish:tool_calls"},
    {"without index, in fragments",
     CALL("\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}")
         CALL("\"function\":{\"arguments\":\"}\"}")
             CALL("\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"[\"}")
                 CALL("\"function\":{\"arguments\":\"]\"}") F("tool_calls"),
     "start:i,m;tool:(0 a f {)(0   })(1 b g [)(1   ])(0    .)(1    .);finish:tool_calls"},
    {"all index 0",
     CALL("\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}")
         CALL("\"index\":0,\"id\":\"b\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}")
             F("tool_calls"),
     "start:i,m;tool:(0 a f {})(1 b f {})(0    .)(1    .);finish:tool_calls"},
    {"index -1",
     CALL("\"index\":-1,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}") CALL(
         "\"index\":-1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}") F("stop"),
     "start:i,m;tool:(0 a f {})(1 b g {})(0    .)(1    .);finish:tool_calls"},
    {"names repeated and empty",
     CALL("\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}")
         CALL("\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}") CALL(
             "\"index\":0,\"id\":null,\"function\":{\"name\":\"\",\"arguments\":\"}\"}") F("stop"),
     "start:i,m;tool:(0 a f )(0   {)(0   })(0    .);finish:tool_calls"},
    {"a new id on each fragment",
     CALL("\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}") CALL(
         "\"index\":0,\"id\":\"b\",\"function\":{\"name\":null,\"arguments\":\"}\"}") F("stop"),
     "start:i,m;tool:(0 a f {)(0   })(0    .);finish:tool_calls"},
    {"name and id late",
     CALL("\"index\":0,\"function\":{\"arguments\":\"{\\\"a\"}")
         CALL("\"index\":0,\"function\":{\"arguments\":\"\\\":\"}")
             CALL("\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"1\"}")
                 CALL("\"index\":0,\"id\":\"c\",\"function\":{\"arguments\":\"}\"}") F("stop"),
     "start:i,m;tool:(0  f {\"a\":1)(0 c  })(0    .);finish:tool_calls"},
    {"interleaved",
     CALL("\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\"}")
         CALL("\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\"}")
             CALL("\"index\":0,\"function\":{\"arguments\":\"{}\"}")
                 CALL("\"index\":1,\"function\":{\"arguments\":\"[]\"}") F("stop"),
     "start:i,m;tool:(0 a f )(1 b g )(0   {})(1   [])(0    .)(1    .);finish:tool_calls"},
    {"arguments as objects",
     D("\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":{\"x\": [1.50, "
       "\"y\"]}}}"
       ",{\"id\":\"null\",\"function\":{\"name\":\"g\",\"arguments\":{}}}]") F("stop"),
     "start:i,m;tool:(0 a f {\"x\":[1.50,\"y\"]})(1  g {})(0    .)(1    .);finish:tool_calls"},
    {"no arguments", CALL("\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\"}") F("stop"),
     "start:i,m;tool:(0 a f )(0   {} .);finish:tool_calls"},
    {"no calls", D("\"content\":\"a\",\"tool_calls\":[]") D("\"tool_calls\":null") F("stop"),
     "start:i,m;text:a;finish:stop"},
    {"content and calls in one",
     D("\"content\":\"a\",\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\","
       "\"arguments\":\"{}\"}}]") F("tool_calls"),
     "start:i,m;text:a;tool:(0 c f {})(0    .);finish:tool_calls"},
    {"calls cut by the limit",
     D("\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{"
       "\\\"}\\\""
       ":1}\"}},{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{\\\"}\"}}]")
         F("length"),
     "start:i,m;tool:(0 a f {\"}\":1})(1 b g {\"})(0    .);finish:length"},
    {"a signature on the call",
     CALL("\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"},\"extra_content\":{"
          "\"google\":"
          "{\"thought_signature\":\"S\"}}") F("stop"),
     "start:i,m;tool:(0 a f {})(0    .);finish:tool_calls"},

    /* chunks that are no chunks */
    {"keep-alives", ": ka\n\n \n" D("\"content\":\"a\"") "\n" F("stop"),
     "start:i,m;text:a;finish:stop"},
    {"three broken chunks", "x\n{\n" D("\"content\":\"a\"") "[1\n" F("stop"),
     "start:i,m;text:a;finish:stop"},
    {"four broken chunks", "x\n{\n" D("\"content\":\"a\"") "1\ny\n" F("stop"),
     "start:i,m;text:a;fail:upstream,upstream_error,3"},
    {"objects of another kind", "{\"type\":\"ping\"}\n{}\n" D("\"content\":\"a\"") F("stop"),
     "start:i,m;text:a;finish:stop"},
    {"odd types",
     CHUNK("1,{\"delta\":7,\"finish_reason\":3},null", ",\"usage\":[]") D(
         "\"content\":3,\"tool_calls\":[1,{}],\"reasoning_details\":[1],\"refusal\":{}") F("stop"),
     "start:i,m;finish:stop"},

    /* errors inside a stream that began with 200 */
    {"rate limited", "{\"error\":{\"message\":\"slow\",\"code\":429}}\n",
     "fail:busy,rate_limit_exceeded,1"},
    {"error after content",
     D("\"content\":\"a\"") "{\"error\":{\"message\":\"x\",\"code\":502}}\n" DONE,
     "start:i,m;text:a;fail:upstream,upstream_error,3"},
    {"error by type", "{\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\n",
     "fail:unavailable,upstream_overloaded,1"},
    {"error as string", "{\"error\":\"model runner crashed\"}\n", "fail:upstream,upstream_error,2"},
    {"flat error",
     "{\"object\":\"error\",\"message\":\"bad\",\"type\":\"BadRequestError\",\"code\":400}\n",
     "fail:input,invalid_request,1"},
    {"OpenRouter's",
     CHUNK("{\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}",
           ",\"error\":{\"code\":503,\"message\":\"x\"}"),
     "fail:unavailable,upstream_overloaded,1"},
    {"too long", "{\"error\":{\"code\":\"context_length_exceeded\",\"message\":\"x\"}}\n",
     "fail:input,context_length_exceeded,1"},
    {"our own",
     "{\"error\":{\"message\":\"x\",\"type\":\"server_error\",\"param\":null,\"code\":"
     "\"upstream_auth\",\"status\":502,\"retry_after\":3}}\n",
     "fail:upstream,upstream_auth,2"},
    {"error null",
     CHUNK("{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}", ",\"error\":null"),
     "start:i,m;text:a;finish:stop"},
};

static void check_stream(const char *name, struct span in, const char *want)
{
    struct buf log;
    buf_init(&log, MIB(1));
    feed_lines(in, &log, NULL);
    if (!span_eq(buf_span(&log), span_of(want)))
        fail_msg("%s:\n got %.*s\nwant %s", name, SPAN_ARG(buf_span(&log)), want);
    buf_done(&log);
}

static void test_streams(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++)
        check_stream(streams[i].name, span_of(streams[i].in), streams[i].want);
}

#define BODY(message, rest)                                                                        \
    "{\"id\":\"i\",\"model\":\"m\",\"choices\":[{\"message\":{" message "}" rest "}]"

static const struct {
    const char *name, *in, *want;
} bodies[] = {
    {"plain", BODY("\"content\":\"a\"", ",\"finish_reason\":\"stop\"") "," U("1", "2") "}",
     "start:i,m;text:a;usage:1/0/2/0$-1;finish:stop"},
    {"no finish_reason", BODY("\"content\":\"a\"", "") "}", "start:i,m;text:a;finish:stop"},
    {"calls",
     BODY("\"content\":null,\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"f\","
          "\"arguments\":\"{}\"}}]",
          ",\"finish_reason\":\"stop\"") "}",
     "start:i,m;tool:(0 c f {})(0    .);finish:tool_calls"},
    {"thinking",
     BODY("\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"h\"}"
          "]},{\"type\":\"text\",\"text\":\"a\"}]",
          "") "}",
     "start:i,m;think:h;text:a;finish:stop"},
    {"error with 200", "{\"error\":{\"code\":429,\"message\":\"x\"}}",
     "fail:busy,rate_limit_exceeded,1"},
    {"no choices", "{\"choices\":[]}", "fail:upstream,upstream_error,2"},
    {"not JSON", "<html>", "fail:upstream,upstream_error,2"},
    {"a list", "[]", "fail:upstream,upstream_error,2"},
    {"empty", "", "fail:upstream,upstream_error,2"},
};

static void test_bodies(void **state)
{
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct dialect_reader *rd = dialect_openai_chat.reader_new();
        struct buf log;
        struct err e = {0};
        int last = -1;
        buf_init(&log, MIB(1));
        bool ok = dialect_openai_chat.reader_body(rd, span_of(bodies[i].in), &e);
        assert_true(ok == (strstr(bodies[i].want, "fail") == NULL));
        assert_true(drain(rd, &log, &last, NULL) == ok);
        if (!span_eq(buf_span(&log), span_of(bodies[i].want)))
            fail_msg("%s:\n got %.*s\nwant %s", bodies[i].name, SPAN_ARG(buf_span(&log)),
                     bodies[i].want);
        buf_done(&log);
        dialect_openai_chat.reader_free(rd);
    }
}

/* --- errors before a stream ------------------------------------------------------------------- */

static const struct {
    int status;
    const char *body;
    int want;
    const char *code, *param, *in_msg, *not_in_msg;
    enum err_sent sent;
} refusals[] = {
    {400,
     "{\"error\":{\"message\":\"Unsupported "
     "parameter\",\"type\":\"invalid_request_error\",\"param\":"
     "\"max_tokens\",\"code\":\"unsupported_parameter\"}}",
     400, "unsupported_parameter", "max_tokens", "Unsupported parameter", NULL, SENT_REFUSED},
    {400, "{\"error\":{\"message\":\"This model's maximum context length is 8192 tokens\"}}", 400,
     "context_length_exceeded", "", "8192", NULL, SENT_REFUSED},
    {400, "{\"error\":{\"code\":400,\"type\":\"exceed_context_size_error\",\"message\":\"x\"}}",
     400, "context_length_exceeded", "", "x", NULL, SENT_REFUSED},
    {401, "{\"error\":{\"message\":\"Incorrect API key provided: sk-abcd1234\"}}", 502,
     "upstream_auth", "", "credential", "sk-", SENT_REFUSED},
    {403, "{\"message\":\"key sk-1 has no access\"}", 502, "upstream_auth", "", "credential", "sk-",
     SENT_REFUSED},
    {402, "{\"error\":{\"message\":\"Insufficient credits\"}}", 402, "upstream_credit", "",
     "Insufficient", NULL, SENT_REFUSED},
    {404, "{\"error\":{\"message\":\"no such model\",\"code\":\"model_not_found\"}}", 404,
     "model_not_found", "", "no such model", NULL, SENT_REFUSED},
    {408, "", 504, "timeout", "", "408", NULL, SENT_MAYBE},
    {413, "too large", 413, "too_large", "", "413", "too large:", SENT_REFUSED},
    {422,
     "{\"object\":\"error\",\"message\":{\"detail\":[{\"type\":\"extra_forbidden\",\"loc\":["
     "\"body\","
     "\"seed\"],\"msg\":\"Extra inputs are not "
     "permitted\",\"input\":1}]},\"type\":\"x\",\"code\":null}",
     422, "invalid_request", "seed", "Extra inputs are not permitted", NULL, SENT_REFUSED},
    {422, "{\"detail\":[{\"loc\":[\"body\",\"messages\",0,\"role\"],\"msg\":\"bad\"}]}", 422,
     "invalid_request", "role", "bad", NULL, SENT_REFUSED},
    {400,
     "{\"object\":\"error\",\"message\":\"Tool call id was X\",\"type\":\"invalid_function_call\","
     "\"param\":null,\"code\":\"3280\",\"raw_status_code\":400}",
     400, "invalid_request", "", "Tool call id", NULL, SENT_REFUSED},
    {429, "{\"error\":{\"message\":\"slow down\"}}", 429, "rate_limit_exceeded", "", "slow down",
     NULL, SENT_REFUSED},
    {429, "{\"error\":{\"message\":\"quota\",\"code\":\"insufficient_quota\"}}", 402,
     "upstream_credit", "", "quota", NULL, SENT_REFUSED},
    {500, "<html>oops</html>", 502, "upstream_error", "", "500", "html", SENT_MAYBE},
    {502, "", 502, "upstream_error", "", "502", NULL, SENT_MAYBE},
    {503, "{\"error\":\"loading model\"}", 503, "upstream_overloaded", "", "loading model", NULL,
     SENT_REFUSED},
    {504, "", 504, "timeout", "", "504", NULL, SENT_MAYBE},
    {529, "", 503, "upstream_overloaded", "", "529", NULL, SENT_REFUSED},
    {418, "{\"error\":{\"message\":\"a\\u0007\\u001b[31m\"}}", 502, "upstream_error", "", "\\x07",
     "\x1b", SENT_REFUSED},
    {500, "[{\"error\":{\"message\":\"listed\",\"code\":500}}]", 502, "upstream_error", "",
     "listed", NULL, SENT_MAYBE},
    {302, "", 502, "upstream_error", "", "302", NULL, SENT_MAYBE},
};

static void test_refusals(void **state)
{
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        struct err e = {0};
        dialect_openai_chat.read_error(refusals[i].status, span_of(refusals[i].body), 1500, &e);
        if (e.status != refusals[i].want || strcmp(e.code, refusals[i].code) != 0 ||
            strcmp(e.param, refusals[i].param) != 0 || e.sent != refusals[i].sent)
            fail_msg("case %zu: %d %s %s %d: %s", i, e.status, e.code, e.param, e.sent, e.msg);
        assert_int_equal(e.upstream_status, refusals[i].status);
        assert_int_equal(e.retry_after_ms, 1500);
        assert_non_null(strstr(e.msg, refusals[i].in_msg));
        assert_true(!refusals[i].not_in_msg || !strstr(e.msg, refusals[i].not_in_msg));
    }
}

static void test_long_message_is_cut(void **state)
{
    struct err e = {0};
    char body[4000];
    int n = snprintf(body, sizeof body, "{\"error\":{\"message\":\"%03000d\"}}", 0);
    dialect_openai_chat.read_error(400, span_make(body, (size_t)n), -1, &e);
    assert_true(strlen(e.msg) < 280);
    assert_int_equal(e.retry_after_ms, -1);
}

/* --- our own frames --------------------------------------------------------------------------- */

static void test_own_frames(void **state)
{
    static const char in[] = CHUNK(
        "{\"index\":0,\"delta\":{},\"finish_reason\":null}",
        ",\"fusion\":{\"member\":{\"label\":\"A\",\"model\":\"p/m\",\"judge\":false,\"sample\":1,"
        "\"status\":\"streaming\",\"bytes\":12,\"ttft_ms\":3,\"total_ms\":null,\"input\":5,"
        "\"output\":6,\"cost\":null,\"reason\":\"slow\",\"detail\":\"d\"}}") D("\"content\":\"a\"")
        F("stop") CHUNK(
            "", ",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"cost\":0.5,\"fusion\":{"
                "\"members\":[{\"label\":\"A\",\"model\":\"p/m\",\"status\":\"ok\",\"input\":5,"
                "\"cost\":0.25,\"ttft_ms\":7},{\"label\":\"B\",\"status\":\"failed\",\"reason\":"
                "\"timeout\",\"cost\":null}],\"judge\":[{\"label\":\"judge\",\"status\":\"ok\"}],"
                "\"mode\":\"merge\",\"degraded\":null,\"agreement\":0.67,\"planned_cost\":1.0,"
                "\"fusion_id\":\"fus_1\",\"seed\":18446744073709551615,\"latency_ratio\":{"
                "\"slowest\":1.1,\"best\":null},\"notes\":[\"n1\"]}}");
    struct dialect_reader *rd = dialect_openai_chat.reader_new();
    struct span text = span_of(in), line;
    struct chat_event ev;
    struct err e;
    const struct chat_fusion_report *r = NULL;
    bool seen = false;
    while (span_cut(&text, '\n', &line)) {
        assert_true(dialect_openai_chat.reader_feed(rd, (struct span){0}, line, &e));
        while (dialect_openai_chat.reader_next(rd, &ev, &e) == DIALECT_EVENT) {
            if (ev.kind != CHAT_EV_MEMBER)
                continue;
            seen = true;
            assert_true(span_eq(ev.member->label, SPAN("A")) && ev.member->sample == 1);
            assert_int_equal(ev.member->state, CHAT_MEMBER_STREAMING);
            assert_true(ev.member->bytes == 12 && ev.member->ttft_us == 3000);
            assert_true(ev.member->total_us == -1 && ev.member->usage.cost_nusd == -1);
            assert_string_equal(ev.member->reason, "slow");
        }
    }
    dialect_openai_chat.reader_eof(rd);
    while (dialect_openai_chat.reader_next(rd, &ev, &e) == DIALECT_EVENT)
        if (ev.kind == CHAT_EV_USAGE)
            r = ev.report;
    assert_true(seen);
    assert_non_null(r);
    assert_true(span_eq(r->id, SPAN("fus_1")) && !strcmp(r->mode, "merge") && !r->degraded);
    assert_true(r->n_members == 2 && r->n_judges == 1 && r->judges[0].judge);
    assert_true(r->members[0].usage.cost_nusd == 250000000 && r->members[0].ttft_us == 7000);
    assert_string_equal(r->members[1].reason, "timeout");
    assert_true(r->members[1].state == CHAT_MEMBER_FAILED && r->members[1].usage.cost_nusd == -1);
    assert_true(r->seed == UINT64_MAX && r->planned_nusd == 1000000000);
    assert_true(r->latency_ratio_slowest > 1 && r->latency_ratio_best < 0);
    assert_true(r->n_notes == 1 && span_eq(r->notes[0], SPAN("n1")));
    dialect_openai_chat.reader_free(rd);
}

/* --- hostile input and memory ----------------------------------------------------------------- */

/* Each stream cut at every byte: some end, never a crash, never a FINISH that was not said. */
static void test_cut_anywhere(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++)
        for (size_t n = 0; n < strlen(streams[i].in); n += 3) {
            struct buf log;
            buf_init(&log, MIB(1));
            feed_lines(span_make(streams[i].in, n), &log, NULL);
            assert_true(log.n > 0);
            buf_done(&log);
        }
}

static void test_no_memory(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        struct dialect_reader *rd;
        bool failed = true;
        for (unsigned long n = 1; failed; n++) {
            struct span text = span_of(streams[i].in), line;
            mem_fail_at(n);
            rd = dialect_openai_chat.reader_new();
            bool ok = rd != NULL;
            while (ok && span_cut(&text, '\n', &line))
                ok = dialect_openai_chat.reader_feed(rd, (struct span){0}, line, NULL) &&
                     drain(rd, NULL, NULL, NULL);
            if (ok)
                dialect_openai_chat.reader_eof(rd);
            failed = mem_failed();
            mem_fail_at(0);
            dialect_openai_chat.reader_free(rd);
        }
    }
}

/* Once warm, a chunk of text takes no memory: the first allocation to come would fail. */
static void test_no_allocation_once_warm(void **state)
{
    struct dialect_reader *rd = dialect_openai_chat.reader_new();
    struct span text =
        span_upto(span_of(D("\"content\":\"abc\"")), strlen(D("\"content\":\"abc\"")) - 1);
    assert_true(dialect_openai_chat.reader_feed(rd, (struct span){0}, text, NULL));
    assert_true(drain(rd, NULL, NULL, NULL));
    mem_fail_at(1);
    for (int i = 0; i < 1000; i++) {
        assert_true(dialect_openai_chat.reader_feed(rd, (struct span){0}, text, NULL));
        assert_true(drain(rd, NULL, NULL, NULL));
    }
    assert_false(mem_failed());
    mem_fail_at(0);
    dialect_openai_chat.reader_free(rd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),    cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_refusals),   cmocka_unit_test(test_long_message_is_cut),
        cmocka_unit_test(test_own_frames), cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_no_memory),  cmocka_unit_test(test_no_allocation_once_warm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
