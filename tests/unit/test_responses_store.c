/* tests/unit/test_responses_store.c - turns that are kept for previous_response_id: what is stored
 * reads back as it was asked and answered, chains are joined in order behind the instructions, and
 * the next upstream gets what it would have got from a client that sends all of it again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "chat_log.h"
#include "dialect/responses.h"
#include "json/json.h"

#define D dialect_openai_responses
#define EV(k, ...)                                                                                 \
    {                                                                                              \
        .kind = CHAT_EV_##k, __VA_ARGS__                                                           \
    }

static const struct chat_event answer[] = {
    EV(START, .id = SPAN_INIT("up")),
    EV(REASONING, .text = SPAN_INIT("h"), .id = SPAN_INIT("rs_up"), .signature = SPAN_INIT("E"),
       .format = SPAN_INIT("openai-responses-v1")),
    EV(REASONING, .text = SPAN_INIT("t"), .signature = SPAN_INIT("S"),
       .format = SPAN_INIT("anthropic-claude-v1")),
    EV(TEXT, .text = SPAN_INIT("let me")),
    EV(TOOL, .tool_id = SPAN_INIT("c1"), .tool_name = SPAN_INIT("f"), .arguments = SPAN_INIT("{}"),
       .signature = SPAN_INIT("T"), .tool_done = true),
    EV(USAGE, .usage = {.input = 3, .output = 2, .cost_nusd = -1}),
    EV(FINISH, .finish = CHAT_FINISH_TOOL_CALLS),
};

#define FIRST                                                                                      \
    "{\"model\":\"m\",\"instructions\":\"be\",\"input\":[{\"role\":\"user\",\"content\":[{"        \
    "\"type\":"                                                                                    \
    "\"input_text\",\"text\":\"q\"},{\"type\":\"input_image\",\"image_url\":\"https://x/i\"}]},{"  \
    "\"role\":\"assistant\",\"phase\":\"commentary\",\"content\":\"hm\"},{\"type\":\"reasoning\"," \
    "\"id\":\"rs_1\",\"summary\":[],\"encrypted_content\":\"fusor1:google-gemini-v1::G\"}]}"

static void collect(struct chat_collect *c)
{
    struct err e;
    chat_collect_init(c, KIB(64));
    for (size_t i = 0; i < COUNT_OF(answer); i++)
        assert_true(chat_collect_event(c, &answer[i], &e));
}

static struct dialect_reply reply_to(const struct chat_request *r, const char *id)
{
    return (struct dialect_reply){
        .request = r, .id = span_of(id), .model = SPAN("m"), .created = 1700000000};
}

static void test_turn(void **state)
{
    static const char input[] =
        "{\"input\":[{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
        "\"text\":\"q\"},{\"type\":\"input_image\",\"image_url\":\"https://x/"
        "i\",\"detail\":\"auto\"}]"
        "},{\"type\":\"message\",\"role\":\"assistant\",\"content\":\"hm\",\"phase\":"
        "\"commentary\"},{"
        "\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":\"fusor1:google-gemini-v1::"
        "G\"}],"
        "\"response\":{\"id\":\"resp_1\",\"object\":\"response\",";
    AUTO(arena) a = arena_new(0);
    struct responses_turn turn;
    struct chat_request r;
    struct chat_collect c;
    struct buf out;
    struct err e;
    collect(&c);
    buf_init(&out, KIB(64));
    assert_true(D.read_request(a, SPAN(FIRST), &r, &e));
    struct dialect_reply reply = reply_to(&r, "resp_1");
    assert_true(responses_write_turn(&reply, r.n_instructions, &c, &out, &e));
    if (!span_starts(buf_span(&out), SPAN(input)))
        fail_msg("got %.*s", SPAN_ARG(buf_span(&out)));
    assert_true(responses_read_turn(a, buf_span(&out), &turn, &e));
    assert_true(turn.n == 3 && turn.previous.p == NULL);
    const struct chat_message *m = turn.messages;
    assert_true(m[0].role == CHAT_USER && m[0].n_parts == 2);
    assert_true(m[1].role == CHAT_ASSISTANT && m[1].n_parts == 2 && m[1].n_extras == 1);
    assert_true(span_eq(m[1].parts[1].format, CHAT_SIGNED_GEMINI));
    const struct chat_part *p = m[2].parts;
    assert_true(m[2].role == CHAT_ASSISTANT && m[2].n_parts == 4);
    assert_true(span_eq(p[0].signature, SPAN("E")) && span_eq(p[0].id, SPAN("rs_up")));
    assert_true(span_eq(p[0].format, CHAT_SIGNED_OPENAI) && span_eq(p[0].text, SPAN("h")));
    assert_true(span_eq(p[1].signature, SPAN("S")) && span_eq(p[1].text, SPAN("t")));
    assert_true(span_eq(p[1].format, CHAT_SIGNED_ANTHROPIC));
    assert_true(p[2].kind == CHAT_PART_TEXT && span_eq(p[2].text, SPAN("let me")));
    assert_true(p[3].kind == CHAT_PART_TOOL_CALL && span_eq(p[3].id, SPAN("c1")));
    assert_true(span_eq(p[3].signature, SPAN("T")) && span_eq(p[3].format, CHAT_SIGNED_GEMINI));
    chat_collect_done(&c);
    buf_done(&out);
}

/* A request that goes on from two turns. */
static const char last[] = "{\"model\":\"m\",\"instructions\":\"now\",\"previous_response_id\":"
                           "\"resp_2\",\"input\":[{\"type\":"
                           "\"function_call_output\",\"call_id\":\"c1\",\"output\":\"2\"},{"
                           "\"role\":\"user\",\"content\":\"u\"}]"
                           "}";

static bool store_and_join(struct arena *a, struct chat_request *r, size_t *first, struct err *e)
{
    static const char second[] =
        "{\"model\":\"m\",\"previous_response_id\":\"resp_1\",\"input\":[{\"type\":"
        "\"function_call_output\",\"call_id\":\"c1\",\"output\":\"1\"}]}";
    struct responses_turn turns[2];
    struct chat_request q[2];
    struct chat_collect c;
    struct buf out;
    const char *const in[] = {FIRST, second}, *const ids[] = {"resp_1", "resp_2"};
    bool ok = true;
    chat_collect_init(&c, KIB(64));
    for (size_t i = 0; ok && i < COUNT_OF(answer); i++)
        ok = chat_collect_event(&c, &answer[i], e);
    buf_init(&out, KIB(64));
    for (size_t i = 0; ok && i < 2; i++) {
        struct dialect_reply reply = reply_to(&q[i], ids[i]);
        buf_clear(&out);
        ok = D.read_request(a, span_of(in[i]), &q[i], e) &&
             responses_write_turn(&reply, q[i].n_instructions, &c, &out, e) &&
             responses_read_turn(a, buf_span(&out), &turns[1 - i], e);
    }
    ok = ok && D.read_request(a, span_of(last), r, e) && responses_join(a, turns, 2, r, first, e);
    if (ok) {
        assert_true(turns[1].previous.p == NULL);
        assert_true(span_eq(turns[0].previous, SPAN("resp_1")));
    }
    chat_collect_done(&c);
    buf_done(&out);
    return ok;
}

static void test_chain(void **state)
{
    static const enum chat_role roles[] = {CHAT_SYSTEM,    CHAT_USER, CHAT_ASSISTANT,
                                           CHAT_ASSISTANT, CHAT_TOOL, CHAT_ASSISTANT,
                                           CHAT_TOOL,      CHAT_USER};
    AUTO(arena) a = arena_new(0);
    struct dialect_target chat = {.model = SPAN("up"), .dialect = SPAN("openai_chat")};
    struct dialect_notes notes = {0};
    struct chat_request r;
    struct buf out;
    struct err e;
    size_t first = 0;
    assert_true(store_and_join(a, &r, &first, &e));
    assert_true(r.n_messages == COUNT_OF(roles) && r.n_instructions == 1 && first == 6);
    for (size_t i = 0; i < COUNT_OF(roles); i++)
        assert_int_equal(r.messages[i].role, roles[i]);
    assert_true(span_eq(r.messages[0].parts[0].text, SPAN("now")));
    buf_init(&out, KIB(64));
    /* Only this turn's own messages are kept of it. */
    struct chat_collect c;
    collect(&c);
    struct dialect_reply reply = reply_to(&r, "resp_3");
    assert_true(responses_write_turn(&reply, first, &c, &out, &e));
    assert_true(
        span_starts(buf_span(&out),
                    SPAN("{\"input\":[{\"type\":\"function_call_output\",\"call_id\":\"c1\","
                         "\"output\":\"2\"},{\"type\":\"message\",\"role\":\"user\",\"content\":"
                         "\"u\"}],\"response\":{\"id\":\"resp_3\"")));
    assert_true(span_index(buf_span(&out), SPAN("\"previous_response_id\":\"resp_2\"")) < out.n);
    /* And the whole goes to any upstream. */
    buf_clear(&out);
    assert_true(dialect_openai_chat.write_request(&r, &chat, &out, &notes, &e));
    /* but the signed thinking, which only its maker takes */
    assert_true(span_index(buf_span(&out), SPAN("anthropic-claude-v1")) == out.n);
    assert_true(notes.n == 2 && span_eq(notes.ignored[0], SPAN("messages.reasoning")) &&
                span_eq(notes.ignored[1], SPAN("phase")));
    chat_collect_done(&c);
    buf_done(&out);
}

/* A streamed answer is kept as a whole one is. */
static void test_streamed(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct chat_request r;
    struct chat_collect c;
    struct buf out, one, two;
    struct err e;
    buf_init(&out, KIB(64));
    buf_init(&one, KIB(64));
    buf_init(&two, KIB(64));
    assert_true(D.read_request(a, SPAN(FIRST), &r, &e));
    struct dialect_reply reply = reply_to(&r, "resp_1");
    struct dialect_writer *w = D.writer_new(&reply);
    for (size_t i = 0; i < COUNT_OF(answer); i++)
        assert_true(D.write_event(w, &answer[i], &out, &e));
    collect(&c);
    assert_true(responses_write_turn(&reply, 1, &c, &one, &e));
    assert_true(responses_write_turn(&reply, 1, responses_collected(w), &two, &e));
    assert_true(span_eq(buf_span(&one), buf_span(&two)));
    D.writer_free(w);
    chat_collect_done(&c);
    buf_done(&out);
    buf_done(&one);
    buf_done(&two);
}

static void test_broken(void **state)
{
    static const char *const broken[] = {
        "",
        "{",
        "[]",
        "{\"input\":[]}",
        "{\"input\":{},\"response\":{\"output\":[]}}",
        "{\"input\":[],\"response\":{\"output\":[{\"type\":\"function_call\"}]}}",
        "{\"input\":[{\"id\":\"x\"}],\"response\":{\"output\":[]}}",
    };
    for (size_t i = 0; i < COUNT_OF(broken); i++) {
        AUTO(arena) a = arena_new(0);
        struct responses_turn turn = {.n = 7};
        struct err e = {0};
        assert_false(responses_read_turn(a, span_of(broken[i]), &turn, &e));
        assert_true(e.cls == ERR_STATE && turn.n == 7);
    }
    AUTO(arena) a = arena_new(0);
    struct responses_turn turn;
    struct err e;
    assert_true(
        responses_read_turn(a, SPAN("{\"input\":[],\"response\":{\"output\":[]}}"), &turn, &e));
    assert_true(turn.n == 0);
}

/* Nothing to join is nothing joined. */
static void test_no_turns(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct chat_request r;
    struct err e;
    size_t first = 9;
    assert_true(D.read_request(a, span_of(last), &r, &e));
    assert_true(responses_join(a, NULL, 0, &r, &first, &e));
    assert_true(first == 1 && r.n_messages == 3);
}

static void test_no_memory(void **state)
{
    bool failed = true;
    for (unsigned long n = 1; failed; n++) {
        struct arena *a = arena_new(0);
        struct chat_request r;
        struct err e = {0};
        size_t first;
        mem_fail_at(n);
        bool ok = store_and_join(a, &r, &first, &e);
        failed = mem_failed();
        mem_fail_at(0);
        assert_true(ok == !failed);
        assert_true(ok || e.cls == ERR_NOMEM);
        arena_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turn),     cmocka_unit_test(test_chain),
        cmocka_unit_test(test_streamed), cmocka_unit_test(test_broken),
        cmocka_unit_test(test_no_turns), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
