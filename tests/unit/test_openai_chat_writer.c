/* tests/unit/test_openai_chat_writer.c - events against the bytes a client gets, in both shapes of
 * a stream and as one body; what every frame must be; usage with its fusion; errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "chat_log.h"
#include "json/json.h"

#define EV(k, ...)                                                                                 \
    {                                                                                              \
        .kind = CHAT_EV_##k, __VA_ARGS__                                                           \
    }
#define START      EV(START, .id = SPAN_INIT("up"), .model = SPAN_INIT("up/m"))
#define TEXT(s)    EV(TEXT, .text = SPAN_INIT(s))
#define END(f)     EV(FINISH, .finish = CHAT_FINISH_##f)
#define USAGE      EV(USAGE, .usage = {.input = 3, .output = 2, .cost_nusd = -1})
#define MAX_EVENTS 12

/* Heads and tails of frames are cut out: what is left are deltas, and what stands beside choices.
 */
#define HEAD                                                                                       \
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"    \
    "\"model\":\"recipe\",\"choices\":["
#define USAGE_TEXT                                                                                 \
    "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5,"                   \
    "\"prompt_tokens_details\":{\"cached_tokens\":0},\"completion_tokens_details\":{"              \
    "\"reasoning_tokens\":0},\"cost\":null}"
#define C(delta) HEAD "{\"index\":0,\"delta\":" delta ",\"finish_reason\":null}]}\n\n"
#define CU(delta)                                                                                  \
    HEAD "{\"index\":0,\"delta\":" delta ",\"finish_reason\":null}],\"usage\":null}\n\n"
#define ROLE      "{\"role\":\"assistant\",\"content\":\"\"}"
#define FIN(word) HEAD "{\"index\":0,\"delta\":{},\"finish_reason\":\"" word "\"}]"
#define DONE      "data: [DONE]\n\n"

static const struct {
    const char *name;
    bool openai_shape;
    struct chat_event events[MAX_EVENTS];
    size_t n;
    const char *want;
} streams[] = {
    {"text",
     false,
     {START, TEXT("Hi"), TEXT(""), TEXT("\"\n"), USAGE, END(STOP)},
     6,
     C(ROLE) C("{\"content\":\"Hi\"}") C("{\"content\":\"\\\"\\n\"}") FIN("stop") "," USAGE_TEXT
                                                                                  "}\n\n" DONE},
    {"text, OpenAI's shape",
     true,
     {START, TEXT("Hi"), USAGE, END(LENGTH)},
     4,
     CU(ROLE) CU("{\"content\":\"Hi\"}") FIN("length") ",\"usage\":null}\n\n" HEAD "]," USAGE_TEXT
                                                       "}\n\n" DONE},
    {"no start, no usage",
     false,
     {TEXT("Hi"), END(STOP)},
     2,
     C(ROLE) C("{\"content\":\"Hi\"}") FIN("stop") "}\n\n" DONE},
    {"nothing", false, {START, END(STOP)}, 2, C(ROLE) FIN("stop") "}\n\n" DONE},
    {"nothing yet", false, {START, USAGE}, 2, ""},
    {"nothing after the end",
     false,
     {START, END(STOP), TEXT("x"), END(STOP)},
     4,
     C(ROLE) FIN("stop") "}\n\n" DONE},
    {"calls, each whole and one",
     false,
     {START,
      EV(TOOL, .index = 0, .tool_id = SPAN_INIT("call_1"), .tool_name = SPAN_INIT("f"),
         .arguments = SPAN_INIT("{\"a\"")),
      EV(TOOL, .index = 1, .tool_id = SPAN_INIT("abc"), .tool_name = SPAN_INIT("g"),
         .arguments = SPAN_INIT("{}")),
      EV(TOOL, .index = 0, .arguments = SPAN_INIT(":1}")), EV(TOOL, .index = 0, .tool_done = true),
      EV(TOOL, .index = 1, .tool_done = true), END(STOP)},
     7,
     C(ROLE)
         C("{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{"
           "\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}}]}")
             C("{\"tool_calls\":[{\"index\":1,\"id\":\"abc\",\"type\":\"function\",\"function\":{"
               "\"name\":"
               "\"g\",\"arguments\":\"{}\"}}]}") FIN("tool_calls") "}\n\n" DONE},
    {"calls, OpenAI's shape",
     true,
     {START,
      EV(TOOL, .index = 0, .tool_id = SPAN_INIT("c"), .tool_name = SPAN_INIT("f"),
         .arguments = SPAN_INIT("{")),
      EV(TOOL, .index = 0, .arguments = SPAN_INIT("}")), EV(TOOL, .index = 0, .tool_done = true),
      END(TOOL_CALLS)},
     5,
     CU(ROLE) CU("{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":\"function\",\"function\":{"
                 "\"name\":\"f\",\"arguments\":\"{\"}}]}")
         CU("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"}\"}}]}")
             FIN("tool_calls") ",\"usage\":null}\n\n" DONE},
    {"a late name, OpenAI's shape",
     true,
     {EV(TOOL, .arguments = SPAN_INIT("{")),
      EV(TOOL, .tool_name = SPAN_INIT("f"), .tool_id = SPAN_INIT("c"), .arguments = SPAN_INIT("}")),
      EV(TOOL, .tool_done = true), END(STOP)},
     4,
     CU(ROLE) CU("{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":\"function\",\"function\":{"
                 "\"name\":\"f\",\"arguments\":\"{}\"}}]}")
         FIN("tool_calls") ",\"usage\":null}\n\n" DONE},
    {"a truncated call is never released",
     false,
     {START, TEXT("x"),
      EV(TOOL, .index = 0, .tool_id = SPAN_INIT("c"), .tool_name = SPAN_INIT("f"),
         .arguments = SPAN_INIT("{\"a")),
      END(LENGTH)},
     4,
     C(ROLE) C("{\"content\":\"x\"}") FIN("length") "}\n\n" DONE},
    {"nor behind an error",
     false,
     {START, EV(TOOL, .index = 0, .tool_id = SPAN_INIT("c"), .tool_name = SPAN_INIT("f"),
                .arguments = SPAN_INIT("{\"a"))},
     2,
     ""},
    {"a source that does not say done",
     false,
     {EV(TOOL, .index = 0, .tool_id = SPAN_INIT("c"), .tool_name = SPAN_INIT("f"),
         .arguments = SPAN_INIT("{}")),
      END(TOOL_CALLS)},
     2,
     C(ROLE) C(
         "{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":"
         "\"f\",\"arguments\":\"{}\"}}]}") FIN("tool_calls") "}\n\n" DONE},
    {"finish tool_calls without a call",
     false,
     {TEXT("x"), END(TOOL_CALLS)},
     2,
     C(ROLE) C("{\"content\":\"x\"}") FIN("stop") "}\n\n" DONE},
    {"reasoning",
     false,
     {START, EV(REASONING, .text = SPAN_INIT("h")), EV(REASONING, .signature = SPAN_INIT("S")),
      EV(REASONING, .signature = SPAN_INIT("E")), TEXT("a"), END(STOP)},
     6,
     C(ROLE) C("{\"reasoning\":\"h\",\"reasoning_content\":\"h\",\"reasoning_details\":[{\"type\":"
               "\"reasoning.text\",\"text\":\"h\",\"index\":0}]}")
         C("{\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"\",\"signature\":\"S\","
           "\"index\":0}]}") C("{\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":"
                               "\"E\",\"index\":1}]}") C("{\"content\":\"a\"}")
             FIN("stop") "}\n\n" DONE},
    {"refusal",
     false,
     {START, EV(REFUSAL, .text = SPAN_INIT("no")), END(REFUSAL)},
     3,
     C(ROLE) C("{\"refusal\":\"no\"}") FIN("stop") "}\n\n" DONE},
    {"refusal without words",
     false,
     {START, END(REFUSAL)},
     2,
     C(ROLE) FIN("content_filter") "}\n\n" DONE},
};

static const struct dialect_reply reply = {
    .id = SPAN_INIT("chatcmpl-1"), .model = SPAN_INIT("recipe"), .created = 1700000000};

static struct dialect_writer *writer(bool openai_shape, bool members)
{
    struct dialect_reply r = reply;
    r.stream_usage = openai_shape;
    r.members = members;
    struct dialect_writer *w = dialect_openai_chat.writer_new(&r);
    assert_non_null(w);
    return w;
}

/* What all strict clients want of every frame of the default shape. */
static void check_frames(const char *name, struct span s, bool openai_shape)
{
    while (s.n > 0) {
        AUTO(arena) a = arena_new(0);
        size_t n = span_index(s, SPAN("\n\n"));
        struct span data = span_from(span_upto(s, n), 6);
        struct err e;
        json_val *v;
        assert_true(n < s.n && span_starts(s, SPAN("data: ")));
        s = span_from(s, n + 2);
        if (span_eq(data, SPAN("[DONE]"))) {
            assert_int_equal(s.n, 0);
            return;
        }
        if (!json_parse(a, data, &v, &e))
            fail_msg("%s: %s: %.*s", name, e.msg, SPAN_ARG(data));
        if (json_get(v, "error"))
            continue;
        json_val *choices = json_get(v, "choices"), *first = json_iter_of(choices).at;
        assert_true(json_is_arr(choices) && json_is_str(json_get(v, "id")));
        assert_true(json_is_num(json_get(v, "created")) && json_is_str(json_get(v, "model")));
        assert_true(openai_shape || json_count(choices) == 1);
        assert_true(openai_shape || !json_is_null(json_get(v, "usage")));
        assert_true(!openai_shape || json_get(v, "usage"));
        assert_true(!first || (json_get(first, "finish_reason") && json_get(first, "delta")));
    }
}

static void test_streams(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        struct dialect_writer *w = writer(streams[i].openai_shape, false);
        struct buf out;
        struct err e;
        buf_init(&out, KIB(64));
        for (size_t k = 0; k < streams[i].n; k++)
            assert_true(dialect_openai_chat.write_event(w, &streams[i].events[k], &out, &e));
        if (!span_eq(buf_span(&out), span_of(streams[i].want)))
            fail_msg("%s:\n got %.*s\nwant %s", streams[i].name, SPAN_ARG(buf_span(&out)),
                     streams[i].want);
        check_frames(streams[i].name, buf_span(&out), streams[i].openai_shape);
        buf_done(&out);
        dialect_openai_chat.writer_free(w);
    }
}

static bool is_nine(struct span id)
{
    for (size_t i = 0; i < id.n; i++)
        if (!((id.p[i] >= '0' && id.p[i] <= '9') || (id.p[i] >= 'a' && id.p[i] <= 'z') ||
              (id.p[i] >= 'A' && id.p[i] <= 'Z')))
            return false;
    return id.n == 9;
}

/* Ids that are missing, unfit or there twice are made anew: nine letters and digits, each its own,
 * and the same in a stream and in a body. */
static void test_ids(void **state)
{
    static const struct chat_event events[] = {
        START,
        EV(TOOL, .index = 0, .tool_name = SPAN_INIT("f"), .arguments = SPAN_INIT("{}"),
           .tool_done = true),
        EV(TOOL, .index = 1, .tool_id = SPAN_INIT("call:x/1"), .tool_name = SPAN_INIT("f"),
           .arguments = SPAN_INIT("{}"), .tool_done = true),
        EV(TOOL, .index = 2, .tool_id = SPAN_INIT("same"), .tool_name = SPAN_INIT("f"),
           .arguments = SPAN_INIT("{}"), .tool_done = true),
        EV(TOOL, .index = 3, .tool_id = SPAN_INIT("same"), .tool_name = SPAN_INIT("f"),
           .arguments = SPAN_INIT("{}"), .tool_done = true),
        END(TOOL_CALLS),
    };
    struct dialect_writer *w = writer(false, false);
    struct chat_collect c, again, from_body;
    struct buf out, body;
    struct err e;
    buf_init(&out, KIB(64));
    buf_init(&body, KIB(64));
    chat_collect_init(&c, KIB(64));
    chat_collect_init(&again, KIB(64));
    chat_collect_init(&from_body, KIB(64));
    for (size_t k = 0; k < COUNT_OF(events); k++) {
        assert_true(dialect_openai_chat.write_event(w, &events[k], &out, &e));
        assert_true(chat_collect_event(&c, &events[k], &e));
    }
    feed_lines(buf_span(&out), NULL, &again);
    assert_true(dialect_openai_chat.write_unary(&reply, &c, &body, &e));
    struct dialect_reader *rd = dialect_openai_chat.reader_new();
    assert_true(dialect_openai_chat.reader_body(rd, buf_span(&body), &e));
    assert_true(drain(rd, NULL, NULL, &from_body));
    assert_true(again.n_tools == 4 && from_body.n_tools == 4);
    for (size_t i = 0; i < 4; i++) {
        struct span id = buf_span(&again.tools[i].id);
        assert_true(i == 2 ? span_eq(id, SPAN("same")) : is_nine(id));
        for (size_t k = 0; k < i; k++)
            assert_false(span_eq(id, buf_span(&again.tools[k].id)));
        assert_true(span_eq(id, buf_span(&from_body.tools[i].id)));
    }
    dialect_openai_chat.reader_free(rd);
    dialect_openai_chat.writer_free(w);
    chat_collect_done(&c);
    chat_collect_done(&again);
    chat_collect_done(&from_body);
    buf_done(&out);
    buf_done(&body);
}

static void test_errors(void **state)
{
    struct err err, e;
    struct buf out;
    struct dialect_writer *w = writer(false, false);
    buf_init(&out, KIB(64));
    err_field(&err, "messages[0].role", "bad");
    assert_true(dialect_openai_chat.write_error(&err, &out, &e));
    assert_true(span_eq(buf_span(&out),
                        SPAN("{\"error\":{\"message\":\"bad\",\"type\":\"invalid_request_error\","
                             "\"param\":\"messages[0].role\",\"code\":\"invalid_request\"}}")));
    buf_clear(&out);
    err_set(&err, ERR_BUSY, "full");
    err.retry_after_ms = 1200;
    assert_true(dialect_openai_chat.write_error(&err, &out, &e));
    assert_true(span_eq(buf_span(&out),
                        SPAN("{\"error\":{\"message\":\"full\",\"type\":\"rate_limit_error\","
                             "\"param\":null,\"code\":\"rate_limit_exceeded\"}}")));
    buf_clear(&out);
    struct chat_event events[] = {START, TEXT("a"), EV(ERROR, .err = &err), TEXT("b"), END(STOP)};
    for (size_t i = 0; i < COUNT_OF(events); i++)
        assert_true(dialect_openai_chat.write_event(w, &events[i], &out, &e));
    assert_true(span_ends(
        buf_span(&out), SPAN("data: {\"error\":{\"message\":\"full\",\"type\":\"rate_limit_error\","
                             "\"param\":null,\"code\":\"rate_limit_exceeded\",\"status\":429,"
                             "\"retry_after\":2}}\n\n")));
    check_frames("error", buf_span(&out), false);
    dialect_openai_chat.writer_free(w);
    buf_done(&out);
}

static const struct chat_member members[] = {
    {.label = SPAN_INIT("A"),
     .model = SPAN_INIT("p/m"),
     .sample = 1,
     .state = CHAT_MEMBER_OK,
     .usage = {.input = 10, .cached = 4, .output = 5, .reasoning = 2, .cost_nusd = 1230000},
     .ttft_us = 1500,
     .total_us = 2000000,
     .bytes = 20},
    {.label = SPAN_INIT("B"),
     .model = SPAN_INIT("q/n"),
     .state = CHAT_MEMBER_ABANDONED,
     .usage = {.cost_nusd = -1, .estimated = true},
     .ttft_us = -1,
     .total_us = -1,
     .reason = "quorum",
     .detail = SPAN_INIT("not waited for")},
};
static const struct chat_member judges[] = {
    {.label = SPAN_INIT("judge"),
     .model = SPAN_INIT("p/m"),
     .judge = true,
     .state = CHAT_MEMBER_OK,
     .usage = {.cost_nusd = 1},
     .ttft_us = 0,
     .total_us = 1000},
};
static const struct span notes[] = {SPAN_INIT("left out: seed")};
static const struct chat_fusion_report report = {
    .id = SPAN_INIT("fus_9"),
    .mode = "merge",
    .agreement = 0.67,
    .planned_nusd = 2000000000,
    .seed = 7,
    .members = members,
    .n_members = 2,
    .judges = judges,
    .n_judges = 1,
    .latency_ratio_slowest = 1.25,
    .latency_ratio_best = -1,
    .notes = notes,
    .n_notes = 1,
};

static void test_fusion_usage(void **state)
{
    static const char want[] =
        "{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15,\"prompt_tokens_"
        "details\":{"
        "\"cached_tokens\":4},\"completion_tokens_details\":{\"reasoning_tokens\":2},\"cost\":0."
        "001230001,"
        "\"estimated\":true,\"fusion\":{\"members\":[{\"label\":\"A\",\"model\":\"p/"
        "m\",\"sample\":1,"
        "\"status\":\"ok\",\"input\":10,\"cached\":4,\"output\":5,\"reasoning\":2,\"cost\":0.00123,"
        "\"estimated\":false,\"bytes\":20,\"ttft_ms\":1,\"total_ms\":2000},{\"label\":\"B\","
        "\"model\":"
        "\"q/n\",\"sample\":0,\"status\":\"abandoned\",\"input\":0,\"cached\":0,\"output\":0,"
        "\"reasoning\":0,\"cost\":null,\"estimated\":true,\"bytes\":0,\"ttft_ms\":null,\"total_"
        "ms\":null,"
        "\"reason\":\"quorum\",\"detail\":\"not waited "
        "for\"}],\"judge\":[{\"label\":\"judge\",\"model\":"
        "\"p/"
        "m\",\"sample\":0,\"status\":\"ok\",\"input\":0,\"cached\":0,\"output\":0,\"reasoning\":0,"
        "\"cost\":0.000000001,\"estimated\":false,\"bytes\":0,\"ttft_ms\":0,\"total_ms\":1}],"
        "\"mode\":"
        "\"merge\",\"degraded\":null,\"agreement\":0.67,\"planned_cost\":2,\"fusion_id\":\"fus_9\","
        "\"seed\":7,\"latency_ratio\":{\"slowest\":1.25,\"best\":null},\"notes\":[\"left out: "
        "seed\"]}}";
    struct chat_event events[] = {START, EV(MEMBER, .member = &members[1]), TEXT("a"),
                                  EV(USAGE,
                                     .usage = {.input = 10,
                                               .cached = 4,
                                               .output = 5,
                                               .reasoning = 2,
                                               .cost_nusd = 1230001,
                                               .estimated = true},
                                     .report = &report),
                                  END(STOP)};
    for (int progress = 0; progress < 2; progress++) {
        struct dialect_writer *w = writer(false, progress);
        struct buf out, log;
        struct err e;
        buf_init(&out, KIB(64));
        buf_init(&log, KIB(64));
        for (size_t i = 0; i < COUNT_OF(events); i++)
            assert_true(dialect_openai_chat.write_event(w, &events[i], &out, &e));
        check_frames("fusion", buf_span(&out), false);
        size_t at = span_index(buf_span(&out), SPAN("\"usage\":"));
        struct span got = span_upto(span_from(buf_span(&out), at + 8), strlen(want));
        if (!span_eq(got, span_of(want)))
            fail_msg("got %.*s", SPAN_ARG(buf_span(&out)));
        feed_lines(buf_span(&out), &log, NULL);
        const char *text =
            progress ? "member:B=abandoned;start:chatcmpl-1,recipe;text:a;"
                       "usage:10/4/5/2$1230001~;finish:stop"
                     : "start:chatcmpl-1,recipe;text:a;usage:10/4/5/2$1230001~;finish:stop";
        if (!span_eq(buf_span(&log), span_of(text)))
            fail_msg("got %.*s", SPAN_ARG(buf_span(&log)));
        dialect_openai_chat.writer_free(w);
        buf_done(&out);
        buf_done(&log);
    }
}

static const struct {
    const char *name;
    struct chat_event events[MAX_EVENTS];
    size_t n;
    const char *message, *finish;
} bodies[] = {
    {"text",
     {START, TEXT("Hi"), USAGE, END(STOP)},
     4,
     "{\"role\":\"assistant\",\"content\":\"Hi\",\"refusal\":null}",
     "stop"},
    {"empty",
     {START, USAGE, END(STOP)},
     3,
     "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}",
     "stop"},
    {"refusal",
     {START, EV(REFUSAL, .text = SPAN_INIT("no")), USAGE, END(REFUSAL)},
     4,
     "{\"role\":\"assistant\",\"content\":null,\"refusal\":\"no\"}",
     "stop"},
    {"calls",
     {START,
      EV(TOOL, .tool_id = SPAN_INIT("c"), .tool_name = SPAN_INIT("f"), .arguments = SPAN_INIT("{}"),
         .tool_done = true),
      USAGE, END(STOP)},
     4,
     "{\"role\":\"assistant\",\"content\":null,\"refusal\":null,\"tool_calls\":[{\"id\":\"c\","
     "\"type\":"
     "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}",
     "tool_calls"},
    {"cut call",
     {START, TEXT("a"),
      EV(TOOL, .tool_id = SPAN_INIT("c"), .tool_name = SPAN_INIT("f"), .arguments = SPAN_INIT("{")),
      USAGE, END(LENGTH)},
     5,
     "{\"role\":\"assistant\",\"content\":\"a\",\"refusal\":null}",
     "length"},
    {"reasoning",
     {START, EV(REASONING, .text = SPAN_INIT("h"), .signature = SPAN_INIT("S")), TEXT("a"), USAGE,
      END(STOP)},
     5,
     "{\"role\":\"assistant\",\"content\":\"a\",\"refusal\":null,\"reasoning\":\"h\","
     "\"reasoning_content\":\"h\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":"
     "\"h\","
     "\"signature\":\"S\",\"index\":0}]}",
     "stop"},
};

static void test_bodies(void **state)
{
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct chat_collect c;
        struct buf out;
        struct err e;
        char want[2000];
        chat_collect_init(&c, KIB(4));
        buf_init(&out, KIB(64));
        for (size_t k = 0; k < bodies[i].n; k++)
            assert_true(chat_collect_event(&c, &bodies[i].events[k], &e));
        assert_true(dialect_openai_chat.write_unary(&reply, &c, &out, &e));
        snprintf(want, sizeof want,
                 "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,"
                 "\"model\":"
                 "\"recipe\",\"choices\":[{\"index\":0,\"message\":%s,\"logprobs\":null,"
                 "\"finish_reason\":\"%s\"}]," USAGE_TEXT "}",
                 bodies[i].message, bodies[i].finish);
        if (!span_eq(buf_span(&out), span_of(want)))
            fail_msg("%s:\n got %.*s\nwant %s", bodies[i].name, SPAN_ARG(buf_span(&out)), want);
        chat_collect_done(&c);
        buf_done(&out);
    }
}

/* A buffer that is full gets no half frame, and so does one without memory. */
static void test_no_half_frames(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++)
        for (size_t max = 1; max < strlen(streams[i].want); max += 7) {
            struct dialect_writer *w = writer(streams[i].openai_shape, false);
            struct buf out;
            struct err e = {0};
            bool ok = true;
            buf_init(&out, max);
            for (size_t k = 0; ok && k < streams[i].n; k++)
                ok = dialect_openai_chat.write_event(w, &streams[i].events[k], &out, &e);
            assert_false(ok);
            assert_int_equal(e.cls, ERR_LIMIT);
            assert_true(out.n == 0 || span_ends(buf_span(&out), SPAN("\n\n")));
            assert_true(span_starts(span_of(streams[i].want), buf_span(&out)));
            dialect_openai_chat.writer_free(w);
            buf_done(&out);
        }
}

static void test_no_memory(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        bool failed = true;
        for (unsigned long n = 1; failed; n++) {
            struct buf out;
            struct err e = {0};
            buf_init(&out, KIB(64));
            mem_fail_at(n);
            struct dialect_writer *w = dialect_openai_chat.writer_new(&reply);
            bool ok = w != NULL;
            for (size_t k = 0; ok && k < streams[i].n; k++)
                ok = dialect_openai_chat.write_event(w, &streams[i].events[k], &out, &e);
            failed = mem_failed();
            mem_fail_at(0);
            assert_true(ok == !failed);
            assert_true(ok || !w || e.cls == ERR_NOMEM);
            dialect_openai_chat.writer_free(w);
            buf_done(&out);
        }
    }
}

static void test_no_allocation_once_warm(void **state)
{
    static const struct chat_event events[] = {TEXT("abc"), EV(REASONING, .text = SPAN_INIT("h")),
                                               EV(MEMBER, .member = &members[1]), USAGE};
    struct dialect_writer *w = writer(false, true);
    struct buf out;
    buf_init(&out, KIB(64));
    for (int i = 0; i < 1000; i++) {
        for (size_t k = 0; k < COUNT_OF(events); k++)
            assert_true(dialect_openai_chat.write_event(w, &events[k], &out, NULL));
        buf_clear(&out);
        if (i == 0)
            mem_fail_at(1);
    }
    assert_false(mem_failed());
    mem_fail_at(0);
    dialect_openai_chat.writer_free(w);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),   cmocka_unit_test(test_ids),
        cmocka_unit_test(test_errors),    cmocka_unit_test(test_fusion_usage),
        cmocka_unit_test(test_bodies),    cmocka_unit_test(test_no_half_frames),
        cmocka_unit_test(test_no_memory), cmocka_unit_test(test_no_allocation_once_warm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
