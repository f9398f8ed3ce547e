/* tests/unit/test_anthropic_messages_reader.c - what upstreams that speak Messages send, by the
 * book and not, against the log of events it must give; errors in streams and bodies; memory that
 * runs out. Recorded streams: test_anthropic_messages_recorded.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define CHAT_LOG_DIALECT dialect_anthropic_messages
#include "base/mem.h"
#include "chat_log.h"
#include "quoted.h"

#define START                                                                                      \
    "{'type':'message_start','message':{'id':'i','type':'message','role':'assistant','model':'m'," \
    "'content':[],'stop_reason':null,'usage':{'input_tokens':3,'output_tokens':1}}}\n"
#define BLOCK(i, fields)                                                                           \
    "{'type':'content_block_start','index':" i ",'content_block':{" fields "}}\n"
#define DELTA(i, fields) "{'type':'content_block_delta','index':" i ",'delta':{" fields "}}\n"
#define STOP(i)          "{'type':'content_block_stop','index':" i "}\n"
#define TEXT(i, s)                                                                                 \
    BLOCK(i, "'type':'text','text':''")                                                            \
    DELTA(i, "'type':'text_delta','text':'" s "'") STOP(i)
#define CALL(i, id, name) BLOCK(i, "'type':'tool_use','id':'" id "','name':'" name "','input':{}")
#define PIECE(i, s)       DELTA(i, "'type':'input_json_delta','partial_json':'" s "'")
#define END(reason)                                                                                \
    "{'type':'message_delta','delta':{'stop_reason':'" reason                                      \
    "','stop_sequence':null},'usage':{'output_tokens':2}}\n"
#define LAST  "{'type':'message_stop'}\n"
#define BEGUN "start:i,m;usage:3/0/1/0$-1;"
#define USED  ";usage:3/0/2/0$-1;"

static struct buf text;

static const struct {
    const char *name, *in, *want;
} streams[] = {
    {"by the book",
     START BLOCK("0", "'type':'text','text':''") "{'type':'ping'}\n" DELTA(
         "0", "'type':'text_delta','text':'Hel'") DELTA("0", "'type':'text_delta','text':'lo'")
         STOP("0") END("end_turn") LAST,
     BEGUN "text:Hello" USED "finish:stop"},
    {"no message_stop", START TEXT("0", "a") END("end_turn"), BEGUN "text:a" USED "finish:stop"},
    {"[DONE] behind it", START TEXT("0", "a") END("end_turn") LAST "[DONE]\n",
     BEGUN "text:a" USED "finish:stop"},
    {"data behind the end", START TEXT("0", "a") END("end_turn") LAST TEXT("1", "b") "x\n",
     BEGUN "text:a" USED "finish:stop"},
    {"cut", START BLOCK("0", "'type':'text','text':'a'"), BEGUN "text:a;fail:cut,upstream_cut,3"},
    {"cut before content", START, "start:i,m;usage:3/0/1/0$-1;fail:cut,upstream_cut,2"},
    {"message_stop without a reason", START TEXT("0", "a") LAST,
     BEGUN "text:a;fail:cut,upstream_cut,3"},
    {"nothing at all", "", "fail:cut,upstream_cut,2"},
    {"text in the start of its block", START BLOCK("0", "'type':'text','text':'a'") END("end_turn"),
     BEGUN "text:a" USED "finish:stop"},
    {"no starts", DELTA("0", "'type':'text_delta','text':'a'") END("end_turn"),
     "start:,;text:a;usage:0/0/2/0$-1;finish:stop"},
    {"limit", START TEXT("0", "a") END("max_tokens") LAST, BEGUN "text:a" USED "finish:length"},
    {"context full", START TEXT("0", "a") END("model_context_window_exceeded"),
     BEGUN "text:a" USED "finish:length"},
    {"paused", START TEXT("0", "a") END("pause_turn"), BEGUN "text:a" USED "finish:length"},
    {"a word nobody knows", START TEXT("0", "a") END("compaction"),
     BEGUN "text:a" USED "finish:stop"},
    {"refusal", START TEXT("0", "a") END("refusal") LAST, BEGUN "text:a" USED "finish:refusal"},
    {"refusal with a reason",
     START "{'type':'message_delta','delta':{'stop_reason':'refusal','stop_details':{'type':"
           "'refusal','explanation':'no'}},'usage':{'output_tokens':2}}\n" LAST,
     BEGUN "refusal:no" USED "finish:refusal"},

    /* thinking */
    {"thinking",
     START BLOCK("0", "'type':'thinking','thinking':'','signature':''")
         DELTA("0", "'type':'thinking_delta','thinking':'h'")
             DELTA("0", "'type':'thinking_delta','thinking':'m'")
                 DELTA("0", "'type':'thinking_delta','thinking':''")
                     DELTA("0", "'type':'signature_delta','signature':'S'") STOP("0")
                         BLOCK("1", "'type':'redacted_thinking','data':'R'") STOP("1")
                             TEXT("2", "a") END("end_turn") LAST,
     BEGUN "think:hm[S][R];text:a" USED "finish:stop"},
    {"a signature that is not Anthropic's",
     START BLOCK("0", "'type':'thinking','thinking':'h','signature':'google-gemini-v1:S'") STOP("0")
         END("end_turn"),
     BEGUN "think:h[S]" USED "finish:stop"},

    /* calls */
    {"a call",
     START TEXT("0", "a") CALL("1", "c", "f") PIECE("1", "") PIECE("1", "{\\'x\\'")
         PIECE("1", ":1}") STOP("1") END("tool_use") LAST,
     BEGUN "text:a;tool:(0 c f )(0   {\"x\")(0   :1})(0    .)" USED "finish:tool_calls"},
    {"two calls",
     START CALL("0", "c", "f") PIECE("0", "{}") STOP("0") CALL("1", "d", "g") PIECE("1", "{}")
         STOP("1") END("tool_use") LAST,
     BEGUN "tool:(0 c f )(0   {})(0    .)(1 d g )(1   {})(1    .)" USED "finish:tool_calls"},
    {"no arguments", START CALL("0", "c", "f") STOP("0") END("tool_use") LAST,
     BEGUN "tool:(0 c f )(0   {} .)" USED "finish:tool_calls"},
    {"arguments in the start of the block",
     START BLOCK("0", "'type':'tool_use','id':'c','name':'f','input':{'x': [1.50]}") PIECE("0", "")
         STOP("0") END("tool_use") LAST,
     BEGUN "tool:(0 c f )(0   {\"x\":[1.50]} .)" USED "finish:tool_calls"},
    {"arguments twice",
     START BLOCK("0", "'type':'tool_use','id':'c','name':'f','input':{'x':1}") PIECE("0", "{}")
         STOP("0") END("tool_use") LAST,
     BEGUN "tool:(0 c f )(0   {})(0    .)" USED "finish:tool_calls"},
    {"end_turn with a call", START CALL("0", "c", "f") PIECE("0", "{}") STOP("0") END("end_turn"),
     BEGUN "tool:(0 c f )(0   {})(0    .)" USED "finish:tool_calls"},
    {"tool_use without a call", START TEXT("0", "a") END("tool_use") LAST,
     BEGUN "text:a" USED "finish:stop"},
    {"a call that a limit has cut",
     START CALL("0", "c", "f") PIECE("0", "{}") STOP("0") CALL("1", "d", "g") PIECE("1", "{\\'x")
         STOP("1") END("max_tokens") LAST,
     BEGUN "tool:(0 c f )(0   {})(0    .)(1 d g )(1   {\"x)" USED "finish:length"},
    {"broken arguments that nothing has cut",
     START CALL("0", "c", "f") PIECE("0", "{\\'x") STOP("0") END("tool_use") LAST,
     BEGUN "tool:(0 c f )(0   {\"x)(0    .)" USED "finish:tool_calls"},
    {"a call without a name",
     START BLOCK("0", "'type':'tool_use','id':'c','input':{}") PIECE("0", "{}") STOP("0")
         TEXT("1", "a") END("end_turn"),
     BEGUN "text:a" USED "finish:stop"},
    {"blocks side by side",
     START CALL("0", "c", "f") CALL("1", "d", "g") PIECE("1", "{}") PIECE("0", "{ }") STOP("0")
         STOP("1") END("tool_use") LAST,
     BEGUN "tool:(0 c f )(1 d g )(1   {})(0   { })(0    .)(1    .)" USED "finish:tool_calls"},
    {"a second start", START START TEXT("0", "a") END("end_turn") LAST,
     BEGUN "usage:3/0/1/0$-1;text:a" USED "finish:stop"},
    {"a second start in a call",
     START CALL("0", "c", "f") PIECE("0", "{\\'x") START CALL("0", "d", "f") PIECE("0", "{}")
         STOP("0") END("tool_use") LAST,
     BEGUN "tool:(0 c f )(0   {\"x);usage:3/0/1/0$-1;tool:(1 d f )(1   {})(1    .)" USED
           "finish:stop"},

    /* what is passed over */
    {"tools of the server",
     START BLOCK("0", "'type':'server_tool_use','id':'s','name':'web_search','input':{}")
         PIECE("0", "{}") STOP("0") BLOCK("1", "'type':'web_search_tool_result','tool_use_id':'s',"
                                               "'content':[{'type':'text','text':'x'}]") STOP("1")
             BLOCK("2", "'type':'fallback','from':{},'to':{}") STOP("2") TEXT("3", "a")
                 DELTA("3", "'type':'citations_delta','citation':{}") END("end_turn") LAST,
     BEGUN "text:a" USED "finish:stop"},
    {"events nobody knows", START "{'type':'odd'}\n{}\n" TEXT("0", "a") END("end_turn"),
     BEGUN "text:a" USED "finish:stop"},
    {"odd types",
     START "{'type':'content_block_start','index':'x','content_block':7}\n"
           "{'type':'content_block_delta','index':0,'delta':[]}\n{'type':'content_block_stop'}\n"
           "{'type':'message_delta','delta':3,'usage':[]}\n" END("end_turn") LAST,
     "start:i,m;usage:3/0/1/0$-1;usage:3/0/2/0$-1;finish:stop"},
    {"three broken events", "x\n{\n" START TEXT("0", "a") "[1\n" END("end_turn"),
     BEGUN "text:a" USED "finish:stop"},
    {"four broken events", "x\n{\n" START TEXT("0", "a") "1\ny\n" END("end_turn"),
     BEGUN "text:a;fail:upstream,upstream_error,3"},

    /* usage */
    {"tokens of the cache are input",
     "{'type':'message_start','message':{'id':'i','model':'m','usage':{'input_tokens':2,"
     "'cache_creation_input_tokens':30,'cache_read_input_tokens':100,'output_tokens':1}}}\n" END(
         "end_turn"),
     "start:i,m;usage:132/100/1/0$-1;usage:132/100/2/0$-1;finish:stop"},
    {"input comes late",
     START "{'type':'message_delta','delta':{'stop_reason':'end_turn'},'usage':{'input_tokens':6,"
           "'cache_creation_input_tokens':10,'cache_read_input_tokens':20,'output_tokens':9,"
           "'output_tokens_details':{'thinking_tokens':4}}}\n",
     BEGUN "usage:36/20/9/4$-1;finish:stop"},
    {"odd numbers",
     START "{'type':'message_delta','delta':{'stop_reason':'end_turn'},'usage':{'input_tokens':-6,"
           "'cache_read_input_tokens':null,'output_tokens':99999999999999999999,'cost':0.5,"
           "'estimated':true}}\n",
     BEGUN "usage:3/0/1/0$500000000~;finish:stop"},

    /* errors inside a stream that began with 200 */
    {"overloaded", "{'type':'error','error':{'type':'overloaded_error','message':'Overloaded'}}\n",
     "fail:unavailable,upstream_overloaded,1"},
    {"overloaded in the middle",
     START TEXT("0", "a") "{'type':'error','error':{'type':'overloaded_error','message':'x'}}\n",
     BEGUN "text:a;fail:unavailable,upstream_overloaded,3"},
    {"rate limited", "{'type':'error','error':{'type':'rate_limit_error','message':'x'}}\n",
     "fail:busy,rate_limit_exceeded,1"},
    {"no credit", "{'type':'error','error':{'type':'billing_error','message':'x'}}\n",
     "fail:budget,upstream_credit,1"},
    {"broken", START "{'type':'error','error':{'type':'api_error','message':'x'}}\n",
     "start:i,m;usage:3/0/1/0$-1;fail:upstream,upstream_error,2"},
    {"an error without its object", "{'type':'error'}\n", "fail:upstream,upstream_error,2"},
    {"our own",
     "{'type':'error','error':{'type':'api_error','message':'x','code':'upstream_auth','status':"
     "502,'retry_after':3}}\n",
     "fail:upstream,upstream_auth,2"},
};

static void test_streams(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        struct buf log;
        buf_init(&log, MIB(1));
        feed_lines(quoted(&text, streams[i].in), &log, NULL);
        if (!span_eq(buf_span(&log), span_of(streams[i].want)))
            fail_msg("%s:\n got %.*s\nwant %s", streams[i].name, SPAN_ARG(buf_span(&log)),
                     streams[i].want);
        buf_done(&log);
    }
}

/* What the log does not show. */
static void test_details(void **state)
{
    struct chat_collect c;
    chat_collect_init(&c, MIB(1));
    feed_lines(
        quoted(&text,
               "{'type':'message_start','message':{'id':'i','model':'m','usage':{'input_tokens':2,"
               "'cache_creation_input_tokens':30,'cache_read_input_tokens':100}}}\n" BLOCK(
                   "0", "'type':'thinking','thinking':'','signature':''")
                   DELTA("0", "'type':'signature_delta','signature':'S'") STOP("0")
                       BLOCK("1", "'type':'redacted_thinking','data':'google-gemini-v1:R'")
                           STOP("1") "{'type':'message_delta','delta':{'stop_reason':"
                                     "'stop_sequence','stop_sequence':'END'},'usage':{}}\n" LAST),
        NULL, &c);
    assert_true(c.ended && !c.failed && c.finish == CHAT_FINISH_STOP);
    assert_true(span_eq(buf_span(&c.stop_sequence), SPAN("END")));
    assert_true(c.usage.input == 132 && c.usage.cached == 100 && c.usage.cache_write == 30);
    assert_int_equal(c.n_blocks, 2);
    assert_true(c.blocks[0].signs_text && c.blocks[0].n == 0);
    assert_true(span_eq(buf_span(&c.blocks[0].format), CHAT_SIGNED_ANTHROPIC));
    assert_false(c.blocks[1].signs_text);
    assert_true(span_eq(buf_span(&c.blocks[1].format), CHAT_SIGNED_GEMINI));
    assert_true(span_eq(buf_span(&c.blocks[1].signature), SPAN("R")));
    chat_collect_done(&c);
}

/* The name of an event counts where its data has none, and makes it an error whatever that says. */
static void test_event_names(void **state)
{
    struct dialect_reader *rd = dialect_anthropic_messages.reader_new();
    struct err e = {0};
    struct buf log;
    int last = -1;
    buf_init(&log, KIB(1));
    assert_true(dialect_anthropic_messages.reader_feed(rd, SPAN("ping"), SPAN("x"), &e));
    assert_true(dialect_anthropic_messages.reader_feed(
        rd, SPAN("content_block_delta"),
        SPAN("{\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}"), &e));
    assert_true(drain(rd, &log, &last, NULL));
    assert_true(dialect_anthropic_messages.reader_feed(
        rd, SPAN("error"), SPAN("{\"message\":\"x\",\"type\":\"overloaded_error\"}"), &e));
    assert_false(drain(rd, &log, &last, NULL));
    assert_true(
        span_eq(buf_span(&log), SPAN("start:,;text:a;fail:unavailable,upstream_overloaded,3")));
    buf_done(&log);
    dialect_anthropic_messages.reader_free(rd);
}

#define BODY(content, reason)                                                                      \
    "{'id':'i','type':'message','model':'m','content':[" content "],'stop_reason':'" reason        \
    "','usage':{'input_tokens':3,'output_tokens':2}}"
#define SAID "start:i,m;"

static const struct {
    const char *name, *in, *want;
} bodies[] = {
    {"text", BODY("{'type':'text','text':'a'}", "end_turn"),
     SAID "text:a;usage:3/0/2/0$-1;finish:stop"},
    {"thinking",
     BODY("{'type':'thinking','thinking':'h','signature':'S'},{'type':'redacted_thinking','data':"
          "'R'},{'type':'text','text':'a'}",
          "end_turn"),
     SAID "think:h[S][R];text:a;usage:3/0/2/0$-1;finish:stop"},
    {"calls",
     BODY("{'type':'tool_use','id':'c','name':'f','input':{'x': 1}},{'type':'tool_use','id':'d',"
          "'name':'g','input':{}}",
          "tool_use"),
     SAID "tool:(0 c f )(0   {\"x\":1} .)(1 d g )(1   {} .);usage:3/0/2/0$-1;finish:tool_calls"},
    {"tools of the server", BODY("{'type':'server_tool_use','name':'f'},7", "end_turn"),
     SAID "usage:3/0/2/0$-1;finish:stop"},
    {"no reason", "{'content':[{'type':'text','text':'a'}]}", "start:,;text:a;finish:stop"},
    {"refused", "{'content':[],'stop_reason':'refusal','stop_details':{'explanation':'no'}}",
     "start:,;refusal:no;finish:refusal"},
    {"error with 200", "{'type':'error','error':{'type':'rate_limit_error','message':'x'}}",
     "fail:busy,rate_limit_exceeded,1"},
    {"no content", "{'type':'message'}", "fail:upstream,upstream_error,2"},
    {"not JSON", "<html>", "fail:upstream,upstream_error,2"},
    {"a list", "[]", "fail:upstream,upstream_error,2"},
    {"empty", "", "fail:upstream,upstream_error,2"},
};

static void test_bodies(void **state)
{
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct dialect_reader *rd = dialect_anthropic_messages.reader_new();
        struct buf log;
        struct err e = {0};
        int last = -1;
        buf_init(&log, MIB(1));
        bool ok = dialect_anthropic_messages.reader_body(rd, quoted(&text, bodies[i].in), &e);
        assert_true(ok == (strstr(bodies[i].want, "fail") == NULL));
        assert_true(drain(rd, &log, &last, NULL) == ok);
        if (!span_eq(buf_span(&log), span_of(bodies[i].want)))
            fail_msg("%s:\n got %.*s\nwant %s", bodies[i].name, SPAN_ARG(buf_span(&log)),
                     bodies[i].want);
        buf_done(&log);
        dialect_anthropic_messages.reader_free(rd);
    }
}

#define REFUSED(type, message)                                                                     \
    "{'type':'error','error':{'type':'" type "','message':'" message "'}}"

static const struct {
    int status;
    const char *body;
    int want;
    const char *code, *in_msg, *not_in_msg;
} refusals[] = {
    {400, REFUSED("invalid_request_error", "messages: roles must alternate"), 400,
     "invalid_request", "alternate", NULL},
    {400, REFUSED("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
     400, "context_length_exceeded", "210000", NULL},
    {400,
     REFUSED("invalid_request_error",
             "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"),
     400, "context_length_exceeded", "190000", NULL},
    {400, REFUSED("invalid_request_error", "Your credit balance is too low to access the API"), 402,
     "upstream_credit", "credit balance", NULL},
    {401, REFUSED("authentication_error", "invalid x-api-key sk-ant-1"), 502, "upstream_auth",
     "credential", "sk-ant"},
    {403, REFUSED("permission_error", "no"), 502, "upstream_auth", "credential", NULL},
    {404, REFUSED("not_found_error", "model: claude-9"), 404, "model_not_found", "claude-9", NULL},
    {404, REFUSED("not_found_error", "Not Found"), 404, "not_found", "Not Found", NULL},
    {413, REFUSED("request_too_large", "Request exceeds the maximum size"), 413, "too_large",
     "maximum size", NULL},
    {429, REFUSED("rate_limit_error", "slow down"), 429, "rate_limit_exceeded", "slow down", NULL},
    {500, REFUSED("api_error", "Internal server error"), 502, "upstream_error", "500", NULL},
    {504, REFUSED("timeout_error", "x"), 504, "timeout", "504", NULL},
    {529, REFUSED("overloaded_error", "Overloaded"), 503, "upstream_overloaded", "Overloaded",
     NULL},
};

static void test_refusals(void **state)
{
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        struct err e = {0};
        dialect_anthropic_messages.read_error(refusals[i].status, quoted(&text, refusals[i].body),
                                              1500, &e);
        if (e.status != refusals[i].want || strcmp(e.code, refusals[i].code) != 0)
            fail_msg("case %zu: %d %s: %s", i, e.status, e.code, e.msg);
        assert_int_equal(e.upstream_status, refusals[i].status);
        assert_int_equal(e.retry_after_ms, 1500);
        assert_non_null(strstr(e.msg, refusals[i].in_msg));
        assert_true(!refusals[i].not_in_msg || !strstr(e.msg, refusals[i].not_in_msg));
    }
}

/* --- hostile input and memory ----------------------------------------------------------------- */

/* Each stream cut at every third byte: some end, never a crash, never a FINISH that was not said.
 */
static void test_cut_anywhere(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        struct span all = quoted(&text, streams[i].in);
        for (size_t n = 0; n < all.n; n += 3) {
            struct buf log;
            buf_init(&log, MIB(1));
            feed_lines(span_upto(all, n), &log, NULL);
            assert_true(log.n > 0);
            buf_done(&log);
        }
    }
}

static void test_many(void **state)
{
    struct dialect_reader *rd = dialect_anthropic_messages.reader_new();
    struct err e = {0};
    bool more = true;
    for (int i = 0; more && i < 100; i++) {
        char event[200];
        int n = snprintf(event, sizeof event,
                         "{\"type\":\"content_block_start\",\"index\":%d,\"content_block\":{"
                         "\"type\":\"text\"}}",
                         i);
        assert_true(dialect_anthropic_messages.reader_feed(rd, (struct span){0},
                                                           span_make(event, (size_t)n), &e));
        more = drain(rd, NULL, NULL, NULL);
        assert_true(more == (i < 64));
    }
    dialect_anthropic_messages.reader_free(rd);
}

static void test_no_memory(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        struct span all = quoted(&text, streams[i].in);
        bool failed = true;
        for (unsigned long n = 1; failed; n++) {
            struct span rest = all, line;
            mem_fail_at(n);
            struct dialect_reader *rd = dialect_anthropic_messages.reader_new();
            bool ok = rd != NULL;
            while (ok && span_cut(&rest, '\n', &line))
                ok = dialect_anthropic_messages.reader_feed(rd, (struct span){0}, line, NULL) &&
                     drain(rd, NULL, NULL, NULL);
            if (ok)
                dialect_anthropic_messages.reader_eof(rd);
            failed = mem_failed();
            mem_fail_at(0);
            dialect_anthropic_messages.reader_free(rd);
        }
    }
}

/* Once warm, a piece takes no memory: the first allocation to come would fail. */
static void test_no_allocation_once_warm(void **state)
{
    static const char *const events[] = {
        "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\","
        "\"text\":\"abc\"}}",
        "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\","
        "\"partial_json\":\"{}\"}}",
        "{\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"thinking_delta\","
        "\"thinking\":\"abc\"}}",
    };
    struct dialect_reader *rd = dialect_anthropic_messages.reader_new();
    struct span start = quoted(&text, CALL("1", "c", "f"));
    assert_true(dialect_anthropic_messages.reader_feed(rd, (struct span){0}, start, NULL));
    for (int i = 0; i < 1000; i++) {
        for (size_t k = 0; k < COUNT_OF(events); k++) {
            assert_true(dialect_anthropic_messages.reader_feed(rd, (struct span){0},
                                                               span_of(events[k]), NULL));
            assert_true(drain(rd, NULL, NULL, NULL));
        }
        if (i == 0)
            mem_fail_at(1);
    }
    assert_false(mem_failed());
    mem_fail_at(0);
    dialect_anthropic_messages.reader_free(rd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_details),
        cmocka_unit_test(test_event_names),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_no_allocation_once_warm),
    };
    buf_init(&text, MIB(1));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_done(&text);
    return failed;
}
