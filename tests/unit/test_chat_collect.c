/* tests/unit/test_chat_collect.c - answers put together from events, the cap, and running out of
 * memory at each allocation; the small helpers of chat.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "chat/collect.h"

#define EV(k, ...)                                                                                 \
    {                                                                                              \
        .kind = CHAT_EV_##k, __VA_ARGS__                                                           \
    }

static const struct chat_event answer[] = {
    EV(START, .id = SPAN_INIT("id1"), .model = SPAN_INIT("m")),
    EV(REASONING, .text = SPAN_INIT("hm")),
    EV(REASONING, .text = SPAN_INIT("m"), .signature = SPAN_INIT("s1"),
       .format = SPAN_INIT("google-gemini-v1")),
    EV(REASONING, .signature = SPAN_INIT("signature2"), .id = SPAN_INIT("rs_2")),
    EV(TEXT, .text = SPAN_INIT("Hel")),
    EV(TEXT, .text = SPAN_INIT("lo")),
    EV(REFUSAL, .text = SPAN_INIT("no")),
    EV(TOOL, .index = 1, .tool_id = SPAN_INIT("b"), .tool_name = SPAN_INIT("g"),
       .arguments = SPAN_INIT("{}"), .tool_done = true),
    EV(TOOL, .index = 0, .tool_name = SPAN_INIT("f"), .arguments = SPAN_INIT("{\"a\"")),
    EV(TOOL, .index = 0, .tool_id = SPAN_INIT("a"), .arguments = SPAN_INIT(":1}")),
    EV(USAGE, .usage = {.input = 1, .output = 1}),
    EV(USAGE, .usage = {.input = 5, .output = 7, .cost_nusd = 9}),
    EV(FINISH, .finish = CHAT_FINISH_TOOL_CALLS),
};

static bool feed(struct chat_collect *c, struct err *e)
{
    for (size_t i = 0; i < COUNT_OF(answer); i++)
        if (!chat_collect_event(c, &answer[i], e))
            return false;
    return true;
}

static void holds(const struct buf *b, const char *want)
{
    assert_true(span_eq(buf_span(b), span_of(want)));
}

static void test_whole(void **state)
{
    struct chat_collect c;
    struct err e;
    chat_collect_init(&c, 1000);
    assert_true(feed(&c, &e));
    holds(&c.id, "id1");
    holds(&c.model, "m");
    holds(&c.reasoning, "hmm");
    assert_int_equal(c.n_blocks, 2);
    assert_true(span_eq(chat_collected_text(&c, &c.blocks[0]), SPAN("hmm")));
    holds(&c.blocks[0].signature, "s1");
    holds(&c.blocks[0].format, "google-gemini-v1");
    assert_int_equal(c.blocks[1].n, 0);
    holds(&c.blocks[1].signature, "signature2");
    holds(&c.blocks[1].id, "rs_2");
    holds(&c.text, "Hello");
    holds(&c.refusal, "no");
    assert_int_equal(c.n_tools, 2);
    holds(&c.tools[0].id, "a");
    holds(&c.tools[0].name, "f");
    holds(&c.tools[0].arguments, "{\"a\":1}");
    assert_false(c.tools[0].whole);
    assert_true(c.tools[1].whole);
    holds(&c.tools[1].id, "b");
    assert_true(c.has_usage && c.usage.output == 7 && c.usage.cost_nusd == 9);
    assert_true(c.started && c.ended && !c.failed && !c.over);
    assert_int_equal(c.finish, CHAT_FINISH_TOOL_CALLS);
    chat_collect_done(&c);
    chat_collect_done(&c);
}

/* Every cap: never more than cap bytes, text is a prefix, and characters are whole. */
static void test_cap(void **state)
{
    for (size_t cap = 1; cap < 12; cap++) {
        struct chat_collect c;
        struct err e;
        struct chat_event ev = EV(TEXT, .text = SPAN_INIT("h\xc3\xa9\xe2\x82\xac!"));
        chat_collect_init(&c, cap);
        bool first = chat_collect_event(&c, &ev, &e);
        assert_true(first == (cap >= 7));
        size_t want = cap < 3 ? 1 : cap < 6 ? 3 : cap < 7 ? 6 : 7;
        assert_int_equal(c.text.n, want);
        assert_true(c.over == !first);
        bool second = chat_collect_event(&c, &ev, &e);
        assert_false(second);
        assert_int_equal(e.cls, ERR_LIMIT);
        assert_true(c.over && c.used <= cap);
        ev = (struct chat_event)EV(FINISH, .finish = CHAT_FINISH_STOP);
        assert_true(chat_collect_event(&c, &ev, &e) && c.ended);
        chat_collect_done(&c);
    }
}

static void test_too_many_calls(void **state)
{
    struct chat_collect c;
    struct err e;
    struct chat_event ev = EV(TOOL, .index = SIZE_MAX, .tool_name = SPAN_INIT("f"));
    chat_collect_init(&c, 10);
    assert_false(chat_collect_event(&c, &ev, &e));
    assert_int_equal(e.cls, ERR_LIMIT);
    chat_collect_done(&c);
}

static void test_error_is_kept(void **state)
{
    struct chat_collect c;
    struct err e, why;
    err_set(&why, ERR_TIMEOUT, "slow");
    struct chat_event ev = EV(ERROR, .err = &why);
    chat_collect_init(&c, 10);
    assert_true(chat_collect_event(&c, &ev, &e));
    assert_true(c.failed && c.ended && c.err.cls == ERR_TIMEOUT);
    chat_collect_done(&c);
}

static void test_no_memory(void **state)
{
    bool failed = true;
    for (unsigned long n = 1; failed; n++) {
        struct chat_collect c;
        struct err e = {0};
        mem_fail_at(n);
        chat_collect_init(&c, 1000);
        bool ok = feed(&c, &e);
        failed = mem_failed();
        mem_fail_at(0);
        assert_true(ok == !failed);
        assert_true(ok || e.cls == ERR_NOMEM);
        chat_collect_done(&c);
    }
}

static void test_message_text(void **state)
{
    static const struct chat_part parts[] = {
        {.kind = CHAT_PART_REASONING, .text = SPAN_INIT("x")},
        {.kind = CHAT_PART_TEXT, .text = SPAN_INIT("")},
        {.kind = CHAT_PART_TEXT, .text = SPAN_INIT("a")},
        {.kind = CHAT_PART_IMAGE, .url = SPAN_INIT("data:")},
        {.kind = CHAT_PART_REFUSAL, .text = SPAN_INIT("b")},
    };
    static const struct {
        size_t from, n;
        const char *want;
    } cases[] = {{0, 1, ""}, {1, 1, ""}, {2, 1, "a"}, {1, 2, "\na"}, {0, 5, "\na\nb"}, {3, 2, "b"}};
    AUTO(arena) a = arena_new(0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct chat_message m = {.parts = parts + cases[i].from, .n_parts = cases[i].n};
        struct span got = chat_message_text(a, &m);
        assert_non_null(got.p);
        assert_true(span_eq(got, span_of(cases[i].want)));
    }
}

static void test_input_bytes(void **state)
{
    struct chat_part parts[] = {
        {.kind = CHAT_PART_TEXT, .text = SPAN("12345")},
        {.kind = CHAT_PART_IMAGE, .url = SPAN("data:0000")},
        {.kind = CHAT_PART_TOOL_CALL, .id = SPAN("1"), .name = SPAN("2"), .arguments = SPAN("{}")}};
    struct chat_message m = {.parts = parts, .n_parts = 3, .name = SPAN("n")};
    struct chat_tool tool = {.name = SPAN("f"), .parameters = SPAN("{}")};
    struct chat_request r = {.messages = &m,
                             .n_messages = 1,
                             .tools = &tool,
                             .n_tools = 1,
                             .format_schema = SPAN("{\"a\":1}")};
    assert_int_equal(chat_input_bytes(&r), 5 + 4 + 1 + 3 + 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),          cmocka_unit_test(test_cap),
        cmocka_unit_test(test_too_many_calls), cmocka_unit_test(test_error_is_kept),
        cmocka_unit_test(test_no_memory),      cmocka_unit_test(test_message_text),
        cmocka_unit_test(test_input_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
