/* tests/unit/test_responses_reader.c - what upstreams of Responses send, by the book and not,
 * against the log of events it must give; errors in streams and bodies; memory that runs out.
 * Recorded streams: test_responses_recorded.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "chat_log.h"

#define D          dialect_openai_responses
#define EV(t, f)   "{\"type\":\"" t "\"" f "}\n"
#define RESP(rest) ",\"response\":{\"id\":\"i\",\"model\":\"m\"" rest "}"
#define BEGIN      EV("response.created", RESP("")) EV("response.in_progress", RESP(""))
#define U(in, out) ",\"usage\":{\"input_tokens\":" in ",\"output_tokens\":" out "}"
#define DONE       EV("response.completed", RESP(""))
#define AT(o, i)   ",\"output_index\":" o ",\"item_id\":\"" i "\""
#define TEXT(o, t)                                                                                 \
    EV("response.output_text.delta", AT(o, "m") ",\"content_index\":0,\"delta\":\"" t "\"")
#define ITEM(t, o, f) EV("response.output_item." t, ",\"output_index\":" o ",\"item\":{" f "}")
#define MSG(t)                                                                                     \
    "\"type\":\"message\",\"id\":\"m\",\"content\":[{\"type\":\"output_text\",\"text\":\"" t "\"}" \
    "]"
#define CALL(id, name, args)                                                                       \
    "\"type\":\"function_call\",\"id\":\"f" id "\",\"call_id\":\"c" id "\",\"name\":\"" name       \
    "\",\"arguments\":\"" args "\""
#define ARGS(o, t) EV("response.function_call_arguments.delta", AT(o, "f") ",\"delta\":\"" t "\"")

static const struct {
    const char *name, *in, *want;
} streams[] = {
    {"by the book",
     BEGIN ITEM("added", "0", "\"type\":\"message\",\"id\":\"m\",\"content\":[]")
         EV("response.content_part.added",
            AT("0", "m") ",\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"\"}")
             TEXT("0", "Hel") TEXT("0", "lo") EV("response.output_text.done",
                                                 AT("0", "m") ",\"content_index\":0,\"text\":"
                                                              "\"Hello\"")
                 EV("response.content_part.done",
                    AT("0", "m") ",\"content_index\":0,\"part\":{\"type\":\"output_text\","
                                 "\"text\":\"Hello\"}") ITEM("done", "0", MSG("Hello"))
                     EV("response.completed", RESP(",\"output\":[{" MSG("Hello") "}]" U("3", "2"))),
     "start:i,m;text:Hello;usage:3/0/2/0$-1;finish:stop"},
    {"type in the event alone is not needed", BEGIN TEXT("0", "a") DONE "[DONE]\n",
     "start:i,m;text:a;finish:stop"},
    {"only .done of the text",
     BEGIN EV("response.output_text.done", AT("0", "m") ",\"content_index\":0,\"text\":\"a\"") DONE,
     "start:i,m;text:a;finish:stop"},
    {"only the part",
     BEGIN EV(
         "response.content_part.done",
         AT("0", "m") ",\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"a\"}")
         DONE,
     "start:i,m;text:a;finish:stop"},
    {"only the item", BEGIN ITEM("done", "0", MSG("a")) DONE, "start:i,m;text:a;finish:stop"},
    {"only the end",
     BEGIN EV("response.completed", RESP(",\"output\":[{" MSG("a") "}]" U("1", "2"))),
     "start:i,m;text:a;usage:1/0/2/0$-1;finish:stop"},
    {"the end alone", EV("response.completed", RESP(",\"output\":[{" MSG("a") "}]")),
     "start:i,m;text:a;finish:stop"},
    {"other ids at the end",
     BEGIN TEXT("0", "a")
         EV("response.completed",
            RESP(",\"output\":[{\"type\":\"message\",\"id\":\"other\",\"content\":[{\"type\":"
                 "\"output_text\",\"text\":\"a\"}]}]")),
     "start:i,m;text:a;finish:stop"},
    {"a call that only the end has",
     BEGIN TEXT("0", "a")
         EV("response.completed", RESP(",\"output\":[{" MSG("a") "},{" CALL("1", "f", "{}") "}]")),
     "start:i,m;text:a;tool:(0 c1 f )(0   {})(0    .);finish:tool_calls"},
    {"two parts, one of them by its end",
     BEGIN TEXT("0", "a")
         ITEM("done", "0",
              "\"type\":\"message\",\"id\":\"m\",\"content\":[{\"type\":\"output_text\",\"text\":"
              "\"a\"},{\"type\":\"output_text\",\"text\":\"b\"},{\"type\":\"refusal\",\"refusal\":"
              "\"no\"},{\"type\":\"odd\"}]") DONE,
     "start:i,m;text:ab;refusal:no;finish:stop"},
    {"two messages are two paragraphs", BEGIN TEXT("0", "a") TEXT("1", "b") TEXT("1", "c") DONE,
     "start:i,m;text:a\n\nbc;finish:stop"},
    {"unless they are already", BEGIN TEXT("0", "a") TEXT("1", "\\nb") DONE,
     "start:i,m;text:a\nb;finish:stop"},
    {"by id alone",
     BEGIN EV("response.output_text.delta", ",\"item_id\":\"m\",\"delta\":\"a\"")
         EV("response.output_text.done", ",\"item_id\":\"m\",\"text\":\"a\"") DONE,
     "start:i,m;text:a;finish:stop"},
    {"without any place",
     BEGIN EV("response.output_text.delta", ",\"delta\":\"a\"")
         EV("response.output_text.done", ",\"text\":\"a\"") DONE,
     "start:i,m;text:a;finish:stop"},
    {"no beginning", TEXT("0", "a") DONE, "start:,;text:a;finish:stop"},
    {"refusal",
     BEGIN EV("response.refusal.delta", AT("0", "m") ",\"content_index\":0,\"delta\":\"no\"")
         EV("response.refusal.done", AT("0", "m") ",\"content_index\":0,\"refusal\":\"no\"") DONE,
     "start:i,m;refusal:no;finish:refusal"},
    {"nothing said", BEGIN DONE, "start:i,m;finish:stop"},
    {"after the end", BEGIN TEXT("0", "a") DONE TEXT("0", "b") "x\n",
     "start:i,m;text:a;finish:stop"},

    /* the ends */
    {"length",
     BEGIN TEXT("0", "a")
         EV("response.incomplete",
            RESP(",\"incomplete_details\":{\"reason\":\"max_output_tokens\"}" U("1", "2"))),
     "start:i,m;text:a;usage:1/0/2/0$-1;finish:length"},
    {"filter",
     BEGIN EV("response.incomplete",
              RESP(",\"incomplete_details\":{\"reason\":\"content_filter\"}")),
     "start:i,m;finish:content_filter"},
    {"cut short, no reason", BEGIN EV("response.incomplete", RESP("")), "start:i,m;finish:length"},
    {"cut", BEGIN TEXT("0", "a"), "start:i,m;text:a;fail:cut,upstream_cut,3"},
    {"cut before content", BEGIN, "start:i,m;fail:cut,upstream_cut,2"},
    {"cut with [DONE]", BEGIN TEXT("0", "a") "[DONE]\n",
     "start:i,m;text:a;fail:cut,upstream_cut,3"},
    {"nothing at all", "", "fail:cut,upstream_cut,2"},
    {"cancelled", BEGIN EV("response.cancelled", RESP("")),
     "start:i,m;fail:upstream,upstream_error,2"},
    {"failed",
     BEGIN EV("response.failed",
              RESP(",\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"x\"}")),
     "start:i,m;fail:busy,rate_limit_exceeded,1"},
    {"failed after content, with usage",
     BEGIN TEXT("0", "a")
         EV("response.failed",
            RESP(",\"error\":{\"code\":\"server_error\",\"message\":\"x\"}" U("1", "2"))),
     "start:i,m;text:a;usage:1/0/2/0$-1;fail:upstream,upstream_error,3"},
    {"failed, no word", BEGIN EV("response.failed", RESP(",\"error\":null")),
     "start:i,m;fail:upstream,upstream_error,2"},
    {"error by the book",
     EV("error", ",\"code\":\"rate_limit_exceeded\",\"message\":\"x\",\"param\":null"),
     "fail:busy,rate_limit_exceeded,1"},
    {"error as it is sent",
     BEGIN EV("error", ",\"error\":{\"type\":\"insufficient_quota\",\"code\":"
                       "\"insufficient_quota\",\"message\":\"x\",\"param\":null}")
         EV("response.failed", RESP("")),
     "start:i,m;fail:budget,upstream_credit,1"},
    {"too long", EV("error", ",\"code\":\"context_length_exceeded\",\"message\":\"x\""),
     "fail:input,context_length_exceeded,1"},
    {"error of a gateway", "{\"error\":{\"message\":\"x\",\"code\":503}}\n",
     "fail:unavailable,upstream_overloaded,1"},
    {"our own",
     EV("error", ",\"code\":\"upstream_auth\",\"error\":{\"message\":\"x\",\"type\":"
                 "\"server_error\",\"param\":null,\"code\":\"upstream_auth\",\"status\":"
                 "502,\"retry_after\":3}"),
     "fail:upstream,upstream_auth,2"},

    /* usage */
    {"details",
     BEGIN EV("response.completed",
              RESP(",\"usage\":{\"input_tokens\":9,\"input_tokens_details\":{\"cached_tokens\":4},"
                   "\"output_tokens\":5,\"output_tokens_details\":{\"reasoning_tokens\":2},"
                   "\"total_tokens\":14,\"cost\":0.5}")),
     "start:i,m;usage:9/4/5/2$500000000;finish:stop"},

    /* reasoning */
    {"summary",
     BEGIN ITEM("added", "0", "\"type\":\"reasoning\",\"id\":\"rs\",\"encrypted_content\":\"half\"")
         EV("response.reasoning_summary_part.added", AT("0", "rs") ",\"summary_index\":0")
             EV("response.reasoning_summary_text.delta",
                AT("0", "rs") ",\"summary_index\":0,\"delta\":\"h\"")
                 EV("response.reasoning_summary_text.delta",
                    AT("0", "rs") ",\"summary_index\":0,\"delta\":\"m\"")
                     EV("response.reasoning_summary_text.done",
                        AT("0", "rs") ",\"summary_index\":0,\"text\":\"hm\"")
                         EV("response.reasoning_summary_part.done",
                            AT("0", "rs") ",\"summary_index\":0,\"part\":{\"type\":"
                                          "\"summary_text\",\"text\":\"hm\"}")
                             EV("response.reasoning_summary_text.delta",
                                AT("0", "rs") ",\"summary_index\":1,\"delta\":\"so\"")
                                 ITEM("done", "0",
                                      "\"type\":\"reasoning\",\"id\":\"rs\",\"summary\":[{\"text\":"
                                      "\"hm\"},{\"text\":\"so\"}],\"encrypted_content\":\"E\"")
                                     TEXT("1", "a") DONE,
     "start:i,m;think:hm\n\nso[E];text:a;finish:stop"},
    {"only the item",
     BEGIN ITEM("done", "0",
                "\"type\":\"reasoning\",\"id\":\"rs\",\"summary\":[{\"text\":\"h\"},{\"text\":"
                "\"m\"}],\"encrypted_content\":null") DONE,
     "start:i,m;think:h\n\nm;finish:stop"},
    {"no word of it, but sealed",
     BEGIN ITEM("done", "0",
                "\"type\":\"reasoning\",\"id\":\"rs\",\"summary\":[],\"encrypted_content\":\"E\"")
         DONE,
     "start:i,m;think:[E];finish:stop"},
    {"nothing of it",
     BEGIN ITEM("done", "0", "\"type\":\"reasoning\",\"id\":\"rs\",\"summary\":[]") DONE,
     "start:i,m;finish:stop"},
    {"the thought itself",
     BEGIN EV("response.reasoning_text.delta", AT("0", "rs") ",\"content_index\":0,\"delta\":\"h\"")
         EV("response.reasoning_text.done", AT("0", "rs") ",\"content_index\":0,\"text\":\"h\"")
             EV("response.content_part.done",
                AT("0", "rs") ",\"content_index\":0,\"part\":{\"type\":\"reasoning_text\",\"text\":"
                              "\"h\"}")
                 ITEM("done", "0",
                      "\"type\":\"reasoning\",\"id\":\"rs\",\"summary\":[{\"text\":\"short\"}],"
                      "\"content\":[{\"type\":\"reasoning_text\",\"text\":\"h\"}]") DONE,
     "start:i,m;think:h;finish:stop"},
    {"the open form's words",
     BEGIN EV("response.reasoning.delta", AT("0", "rs") ",\"content_index\":0,\"delta\":\"h\"")
         EV("response.reasoning.done", AT("0", "rs") ",\"content_index\":0,\"text\":\"h\"") DONE,
     "start:i,m;think:h;finish:stop"},
    {"sealed by us",
     BEGIN ITEM("done", "0",
                "\"type\":\"reasoning\",\"id\":\"rs\",\"summary\":[{\"text\":\"h\"}],"
                "\"encrypted_content\":\"fusor1:anthropic-claude-v1::SIG\"") DONE,
     "start:i,m;think:h[SIG];finish:stop"},

    /* calls */
    {"a call by the book",
     BEGIN ITEM("added", "0", CALL("1", "f", "")) ARGS("0", "{\\\"a\\\"") ARGS("0", ":1}")
         EV("response.function_call_arguments.done",
            AT("0", "f1") ",\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"")
             ITEM("done", "0", CALL("1", "f", "{\\\"a\\\":1}")) DONE,
     "start:i,m;tool:(0 c1 f )(0   {\"a\")(0   :1})(0    .);finish:tool_calls"},
    {"only .done of the arguments",
     BEGIN ITEM("added", "0", CALL("1", "f", ""))
         EV("response.function_call_arguments.done", AT("0", "f1") ",\"arguments\":\"{}\"") DONE,
     "start:i,m;tool:(0 c1 f )(0   {})(0    .);finish:tool_calls"},
    {"only the item",
     BEGIN ITEM("done", "0", CALL("1", "f", "{}")) ITEM("done", "1", CALL("2", "g", "[]")) DONE,
     "start:i,m;tool:(0 c1 f )(0   {})(0    .)(1 c2 g )(1   [])(1    .);finish:tool_calls"},
    {"whole when it is announced, and again",
     BEGIN ITEM("added", "0", CALL("1", "f", "{}")) ITEM("done", "0", CALL("1", "f", "{}")) DONE,
     "start:i,m;tool:(0 c1 f )(0   {})(0    .);finish:tool_calls"},
    {"not announced, named at its end",
     BEGIN ARGS("0", "{") ARGS("0", "}") EV("response.function_call_arguments.done",
                                            AT("0", "f1") ",\"name\":\"f\",\"arguments\":\"{}\"")
         DONE,
     "start:i,m;tool:(0  f {})(0    .);finish:tool_calls"},
    {"interleaved",
     BEGIN ITEM("added", "0", CALL("1", "f", "")) ITEM("added", "1", CALL("2", "g", ""))
         ARGS("0", "{") ARGS("1", "[") ARGS("0", "}") ARGS("1", "]") DONE,
     "start:i,m;tool:(0 c1 f )(1 c2 g )(0   {)(1   [)(0   })(1   ])(0    .)(1    .);"
     "finish:tool_calls"},
    {"no arguments", BEGIN ITEM("done", "0", CALL("1", "f", "")) DONE,
     "start:i,m;tool:(0 c1 f )(0   {} .);finish:tool_calls"},
    {"arguments as an object",
     BEGIN ITEM("done", "0",
                "\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":{\"x\": "
                "[1.50]}") DONE,
     "start:i,m;tool:(0 c f )(0   {\"x\":[1.50]})(0    .);finish:tool_calls"},
    {"a call that a limit has cut",
     BEGIN ITEM("added", "0", CALL("1", "f", "")) ARGS("0", "{\\\"a")
         ITEM("done", "0", CALL("1", "f", "{\\\"a") ",\"status\":\"incomplete\"")
             EV("response.incomplete", RESP("")),
     "start:i,m;tool:(0 c1 f )(0   {\"a);finish:length"},
    {"the same, and the item says it is whole",
     BEGIN ITEM("added", "0", CALL("1", "f", "")) ARGS("0", "{\\\"a")
         ITEM("done", "0", CALL("1", "f", "{\\\"a") ",\"status\":\"completed\"")
             EV("response.incomplete", RESP("")),
     "start:i,m;tool:(0 c1 f )(0   {\"a);finish:length"},
    {"one whole, one cut",
     BEGIN ITEM("done", "0", CALL("1", "f", "{}")) ITEM("added", "1", CALL("2", "g", ""))
         ARGS("1", "{") EV("response.incomplete", RESP("")),
     "start:i,m;tool:(0 c1 f )(0   {})(0    .)(1 c2 g )(1   {);finish:length"},
    {"a call whose item says in_progress to the end",
     BEGIN ITEM("done", "0", CALL("1", "f", "{}") ",\"status\":\"in_progress\"") DONE,
     "start:i,m;tool:(0 c1 f )(0   {})(0    .);finish:tool_calls"},
    {"a call that nobody names", BEGIN ARGS("0", "{}") DONE, "start:i,m;finish:stop"},

    /* what is none of ours */
    {"tools of the upstream's",
     BEGIN ITEM("added", "0", "\"type\":\"web_search_call\",\"id\":\"ws\"")
         EV("response.web_search_call.searching", AT("0", "ws"))
             EV("response.mcp_call_arguments.delta", AT("0", "ws") ",\"delta\":\"{\"")
                 ITEM("done", "0", "\"type\":\"web_search_call\",\"id\":\"ws\"") TEXT("1", "a")
                     EV("response.output_text.annotation.added", AT("1", "m") ",\"annotation\":{}")
                         DONE,
     "start:i,m;text:a;finish:stop"},
    {"text below what is no message",
     BEGIN ITEM("added", "0", "\"type\":\"odd\",\"id\":\"o\"") TEXT("0", "x") DONE,
     "start:i,m;finish:stop"},
    {"unknown events", BEGIN EV("response.new_thing", ",\"x\":1") "{}\n" TEXT("0", "a") DONE,
     "start:i,m;text:a;finish:stop"},
    {"keep-alives", ": ka\n\n \n" BEGIN TEXT("0", "a") "\n" DONE, "start:i,m;text:a;finish:stop"},
    {"three broken events", "x\n{\n" BEGIN TEXT("0", "a") "[1]\n" DONE,
     "start:i,m;text:a;finish:stop"},
    {"four broken events", "x\n{\n" BEGIN TEXT("0", "a") "1\ny\n" DONE,
     "start:i,m;text:a;fail:upstream,upstream_error,3"},
    {"odd types",
     EV("response.created", ",\"response\":7") EV("response.output_item.added", ",\"item\":[]")
         EV("response.output_text.delta", ",\"output_index\":-1,\"delta\":{}") EV(
             "response.output_item.done", ",\"output_index\":1e30,\"item\":null")
             EV("response.completed", ",\"response\":{\"output\":{\"x\":1},\"usage\":[],\"id\":3}"),
     "start:,;finish:stop"},
    {"another fusor's members",
     EV("response.fusion_call.panel.added",
        ",\"member\":{\"label\":\"A\",\"model\":\"p/m\",\"status\":\"started\"}")
         BEGIN TEXT("0", "a") DONE,
     "member:A=started;start:i,m;text:a;finish:stop"},
};

static void test_streams(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        struct buf log;
        buf_init(&log, MIB(1));
        feed_lines_of(&D, span_of(streams[i].in), &log, NULL);
        if (!span_eq(buf_span(&log), span_of(streams[i].want)))
            fail_msg("%s:\n got %.*s\nwant %s", streams[i].name, SPAN_ARG(buf_span(&log)),
                     streams[i].want);
        buf_done(&log);
    }
}

/* The event's name counts where the data has none. */
static void test_event_names(void **state)
{
    struct dialect_reader *rd = D.reader_new();
    struct buf log;
    int last = -1;
    buf_init(&log, KIB(4));
    assert_true(
        D.reader_feed(rd, SPAN("response.output_text.delta"), SPAN("{\"delta\":\"a\"}"), NULL));
    assert_true(drain_of(&D, rd, &log, &last, NULL));
    assert_true(D.reader_feed(rd, SPAN("ping"), SPAN("{}"), NULL));
    assert_true(D.reader_feed(rd, SPAN("error"), SPAN("{\"message\":\"x\",\"code\":429}"), NULL));
    assert_false(drain_of(&D, rd, &log, &last, NULL));
    assert_true(span_eq(buf_span(&log), SPAN("start:,;text:a;fail:busy,rate_limit_exceeded,3")));
    D.reader_free(rd);
    buf_done(&log);
}

#define BODY(output, rest)                                                                         \
    "{\"id\":\"i\",\"model\":\"m\",\"error\":null,\"output\":[" output "]" rest "}"

static const struct {
    const char *name, *in, *want;
} bodies[] = {
    {"plain", BODY("{" MSG("a") "}", ",\"status\":\"completed\"" U("1", "2")),
     "start:i,m;text:a;usage:1/0/2/0$-1;finish:stop"},
    {"no status", BODY("{" MSG("a") "}", ""), "start:i,m;text:a;finish:stop"},
    {"all kinds",
     BODY("{\"type\":\"reasoning\",\"id\":\"rs\",\"summary\":[{\"text\":\"h\"}],"
          "\"encrypted_content\":\"E\"},{\"type\":\"web_search_call\"},{" MSG("a") "},{" CALL(
              "1", "f", "{}") "}",
          ",\"status\":\"completed\""),
     "start:i,m;think:h[E];text:a;tool:(0 c1 f )(0   {})(0    .);finish:tool_calls"},
    {"incomplete",
     BODY("{" MSG("a") "},{" CALL("1", "f", "{") ",\"status\":\"incomplete\"}",
          ",\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"max_output_tokens\"}"),
     "start:i,m;text:a;tool:(0 c1 f )(0   {);finish:length"},
    {"failed",
     "{\"id\":\"i\",\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"x\"},"
     "\"output\":[]}",
     "fail:upstream,upstream_error,2"},
    {"in the background", BODY("", ",\"status\":\"queued\""), "fail:upstream,upstream_error,2"},
    {"error with 200", "{\"error\":{\"code\":429,\"message\":\"x\"}}",
     "fail:busy,rate_limit_exceeded,1"},
    {"no output", "{\"id\":\"x\"}", "fail:upstream,upstream_error,2"},
    {"not JSON", "<html>", "fail:upstream,upstream_error,2"},
    {"a list", "[]", "fail:upstream,upstream_error,2"},
    {"empty", "", "fail:upstream,upstream_error,2"},
};

static void test_bodies(void **state)
{
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct dialect_reader *rd = D.reader_new();
        struct buf log;
        struct err e = {0};
        int last = -1;
        buf_init(&log, MIB(1));
        bool ok = D.reader_body(rd, span_of(bodies[i].in), &e);
        bool more = drain_of(&D, rd, &log, &last, NULL);
        if (ok != more || !span_eq(buf_span(&log), span_of(bodies[i].want)))
            fail_msg("%s:\n got %.*s\nwant %s", bodies[i].name, SPAN_ARG(buf_span(&log)),
                     bodies[i].want);
        buf_done(&log);
        D.reader_free(rd);
    }
}

/* A report of another fusor comes through. */
static void test_report(void **state)
{
    static const char in[] =
        EV("response.completed",
           RESP(",\"usage\":{\"input_tokens\":1,\"output_tokens\":2,\"cost\":0.5,\"fusion\":{"
                "\"members\":[{\"label\":\"A\",\"status\":\"ok\"}],\"judge\":[],\"mode\":\"merge\","
                "\"degraded\":null,\"agreement\":null,\"planned_cost\":1.0,\"fusion_id\":\"fus_1\","
                "\"seed\":7}}"));
    struct dialect_reader *rd = D.reader_new();
    struct chat_event ev;
    const struct chat_fusion_report *r = NULL;
    assert_true(D.reader_feed(rd, (struct span){0}, SPAN(in), NULL));
    while (D.reader_next(rd, &ev, NULL) == DIALECT_EVENT)
        if (ev.kind == CHAT_EV_USAGE)
            r = ev.report;
    assert_non_null(r);
    assert_true(span_eq(r->id, SPAN("fus_1")) && r->n_members == 1 && r->seed == 7);
    D.reader_free(rd);
}

/* Ids and names of whose signature it is go with the events. */
static void test_blocks(void **state)
{
    static const char in[] = BEGIN EV("response.reasoning_summary_text.delta",
                                      AT("0", "rs_1") ",\"summary_index\":0,\"delta\":\"h\"")
        ITEM("done", "0", "\"type\":\"reasoning\",\"id\":\"rs_1\",\"encrypted_content\":\"E\"")
            ITEM("done", "1",
                 "\"type\":\"reasoning\",\"id\":\"rs_2\",\"summary\":[{\"text\":\"x\"}]")
                ITEM("done", "2",
                     "\"type\":\"reasoning\",\"id\":\"rs_3\",\"summary\":[{\"text\":\"y\"}],"
                     "\"encrypted_content\":\"fusor1:google-gemini-v1::S\"")
                    ITEM("done", "3",
                         "\"type\":\"reasoning\",\"id\":\"rs_4\",\"summary\":[{\"text\":"
                         "\"z\"}],\"encrypted_content\":\"fusor1:f:own:S\"") DONE;
    struct chat_collect c;
    chat_collect_init(&c, MIB(1));
    feed_lines_of(&D, SPAN(in), NULL, &c);
    assert_true(c.ended && c.n_blocks == 4);
    assert_true(span_eq(buf_span(&c.blocks[0].id), SPAN("rs_1")));
    assert_true(span_eq(buf_span(&c.blocks[0].format), CHAT_SIGNED_OPENAI));
    assert_true(span_eq(buf_span(&c.blocks[0].signature), SPAN("E")));
    assert_true(span_eq(buf_span(&c.blocks[1].id), SPAN("rs_2")) && c.blocks[1].signature.n == 0);
    assert_true(span_eq(chat_collected_text(&c, &c.blocks[2]), SPAN("y")));
    assert_true(span_eq(buf_span(&c.blocks[2].format), CHAT_SIGNED_GEMINI));
    assert_true(span_eq(buf_span(&c.blocks[2].signature), SPAN("S")));
    /* Bound to another id than its text: it stays packed, and nobody's. */
    assert_true(span_eq(buf_span(&c.blocks[3].signature), SPAN("fusor1:f:own:S")));
    assert_true(c.blocks[3].format.n == 0 && c.blocks[3].n == 1);
    chat_collect_done(&c);
}

/* --- hostile input and memory ----------------------------------------------------------------- */

static void test_cut_anywhere(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++)
        for (size_t n = 0; n < strlen(streams[i].in); n += 7) {
            struct buf log;
            buf_init(&log, MIB(1));
            feed_lines_of(&D, span_make(streams[i].in, n), &log, NULL);
            assert_true(log.n > 0);
            buf_done(&log);
        }
}

/* More items and calls than anybody means: an error, not memory. */
static void test_too_many(void **state)
{
    for (int calls = 0; calls < 2; calls++) {
        struct dialect_reader *rd = D.reader_new();
        struct err e = {0};
        char line[256];
        bool ok = true;
        int i = 0;
        for (; ok && i < 5000; i++) {
            snprintf(line, sizeof line,
                     "{\"type\":\"response.output_item.added\",\"output_index\":%d,\"item\":{"
                     "\"type\":\"%s\",\"name\":\"f\"}}",
                     i, calls ? "function_call" : "odd");
            struct chat_event ev;
            ok = D.reader_feed(rd, (struct span){0}, span_of(line), &e);
            enum dialect_status s;
            while ((s = D.reader_next(rd, &ev, &e)) == DIALECT_EVENT)
                continue;
            ok = ok && s == DIALECT_MORE;
        }
        assert_false(ok);
        assert_int_equal(e.cls, ERR_UPSTREAM);
        assert_int_equal(i, (calls ? 512 : 1024) + 1);
        D.reader_free(rd);
    }
}

static void test_no_memory(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        bool failed = true;
        for (unsigned long n = 1; failed; n++) {
            struct span text = span_of(streams[i].in), line;
            mem_fail_at(n);
            struct dialect_reader *rd = D.reader_new();
            bool ok = rd != NULL;
            while (ok && span_cut(&text, '\n', &line))
                ok = D.reader_feed(rd, (struct span){0}, line, NULL) &&
                     drain_of(&D, rd, NULL, NULL, NULL);
            if (ok)
                D.reader_eof(rd);
            failed = mem_failed();
            mem_fail_at(0);
            D.reader_free(rd);
        }
    }
}

/* Once warm, a delta takes no memory: the first allocation to come would fail. */
static void test_no_allocation_once_warm(void **state)
{
    static const char *const lines[] = {
        TEXT("0", "abc"),
        EV("response.reasoning_summary_text.delta",
           AT("1", "rs") ",\"summary_index\":0,\"delta\":\"h\""),
    };
    struct dialect_reader *rd = D.reader_new();
    for (int i = 0; i < 1000; i++) {
        for (size_t k = 0; k < COUNT_OF(lines); k++) {
            assert_true(D.reader_feed(rd, (struct span){0}, span_of(lines[k]), NULL));
            assert_true(drain_of(&D, rd, NULL, NULL, NULL));
        }
        if (i == 0)
            mem_fail_at(1);
    }
    assert_false(mem_failed());
    mem_fail_at(0);
    D.reader_free(rd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_event_names),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_no_allocation_once_warm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
