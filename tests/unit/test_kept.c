/* tests/unit/test_kept.c - reasoning that is kept by tool call: what is written of an answer, which
 * requests lack it, how it comes back, and what upstreams then get. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "chat/collect.h"
#include "dialect/kept.h"

#define EV(k, ...)                                                                                 \
    {                                                                                              \
        .kind = CHAT_EV_##k, __VA_ARGS__                                                           \
    }

/* A thought, a redacted one, one that nobody signed; a call with an id that every client takes, one
 * without, and one with the id of the first. */
static const struct chat_event answer[] = {
    EV(REASONING, .text = SPAN_INIT("thought \"\xc3\xa9\""), .signature = SPAN_INIT("S+/=="),
       .format = SPAN_INIT("anthropic-claude-v1"), .id = SPAN_INIT("b1"), .signs_text = true),
    EV(REASONING, .signature = SPAN_INIT("R"), .format = SPAN_INIT("anthropic-claude-v1")),
    EV(REASONING, .text = SPAN_INIT("unsigned"), .id = SPAN_INIT("b3")),
    EV(TEXT, .text = SPAN_INIT("let me")),
    EV(TOOL, .tool_id = SPAN_INIT("c1"), .tool_name = SPAN_INIT("f"),
       .arguments = SPAN_INIT("{\"secret\":1}"), .tool_done = true),
    EV(TOOL, .index = 1, .tool_id = SPAN_INIT("not for every client"), .tool_name = SPAN_INIT("g"),
       .signature = SPAN_INIT("G"), .tool_done = true),
    EV(TOOL, .index = 2, .tool_id = SPAN_INIT("c1"), .tool_name = SPAN_INIT("f"),
       .tool_done = true),
};

static void collect(struct chat_collect *c, const struct chat_event *events, size_t n)
{
    struct err e;
    chat_collect_init(c, KIB(64));
    for (size_t i = 0; i < n; i++)
        assert_true(chat_collect_event(c, &events[i], &e));
}

static struct span write_one(struct arena *a, const struct chat_collect *c, size_t call)
{
    struct err e = {0};
    struct buf b;
    buf_init(&b, KEPT_BYTES);
    assert_true(kept_write(c, call, &b, &e));
    struct span s = arena_dup(a, buf_span(&b));
    buf_done(&b);
    return s;
}

static void check(struct span got, const char *want)
{
    if (!span_eq(got, span_of(want)))
        fail_msg("%.*s\n!= %s", SPAN_ARG(got), want);
}

/* --- of an answer ----------------------------------------------------------------------------- */

static void test_write(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct chat_collect c;
    char made[3][KEPT_ID_BYTES];
    collect(&c, answer, COUNT_OF(answer));
    assert_true(kept_wanted(&c));
#define BLOCKS                                                                                     \
    "\"blocks\":[{\"text\":\"thought \\\"\xc3\xa9\\\"\",\"signature\":\"S+/==\",\"format\":"       \
    "\"anthropic-claude-v1\",\"id\":\"b1\",\"signs_text\":true},{\"text\":\"\",\"signature\":"     \
    "\"R\",\"format\":\"anthropic-claude-v1\",\"id\":\"\",\"signs_text\":false}]}"
    check(write_one(a, &c, 0), "{\"name\":\"f\",\"signature\":\"\"," BLOCKS);
    check(write_one(a, &c, 1), "{\"name\":\"g\",\"signature\":\"G\"," BLOCKS);
    check(kept_call_id(&c, 0, SPAN("msg_1"), made[0]), "c1");
    struct span id = kept_call_id(&c, 1, SPAN("msg_1"), made[1]);
    assert_int_equal(id.n, 9);
    assert_false(span_eq(id, kept_call_id(&c, 1, SPAN("msg_2"), made[0])));
    assert_int_equal(kept_call_id(&c, 2, SPAN("msg_1"), made[2]).n, 9);
    chat_collect_done(&c);
    (void)state;
}

/* The id is the one that each dialect's client gets, streamed or not. */
static void test_ids(void **state)
{
    static const struct dialect *const doors[] = {&dialect_openai_chat, &dialect_openai_responses,
                                                  &dialect_anthropic_messages};
    static const struct chat_event finish = EV(FINISH, .finish = CHAT_FINISH_TOOL_CALLS);
    static const struct chat_event start = EV(START, .id = SPAN_INIT("up"));
    struct chat_request r = {.max_tokens = -1, .parallel_tool_calls = -1};
    struct dialect_reply head = {.request = &r, .id = SPAN("answer_7"), .model = SPAN("m")};
    struct chat_collect c;
    struct err e;
    char made[KEPT_ID_BYTES], want[64];
    collect(&c, answer, COUNT_OF(answer) - 1);
    assert_true(chat_collect_event(&c, &finish, &e));
    struct span id = kept_call_id(&c, 1, head.id, made);
    snprintf(want, sizeof want, "\":\"%.*s\"", SPAN_ARG(id));
    for (size_t i = 0; i < COUNT_OF(doors); i++) {
        struct buf out;
        buf_init(&out, MIB(1));
        assert_true(doors[i]->write_unary(&head, &c, &out, &e));
        assert_true(span_index(buf_span(&out), span_of(want)) < out.n);
        buf_clear(&out);
        struct dialect_writer *w = doors[i]->writer_new(&head);
        assert_true(doors[i]->write_event(w, &start, &out, &e));
        for (size_t k = 0; k < COUNT_OF(answer) - 1; k++)
            assert_true(doors[i]->write_event(w, &answer[k], &out, &e));
        assert_true(doors[i]->write_event(w, &finish, &out, &e));
        doors[i]->writer_free(w);
        assert_true(span_index(buf_span(&out), span_of(want)) < out.n);
        buf_done(&out);
    }
    chat_collect_done(&c);
    (void)state;
}

static void test_not_wanted(void **state)
{
    struct chat_collect c;
    collect(&c, &answer[2], 3); /* nothing signed */
    assert_false(kept_wanted(&c));
    chat_collect_done(&c);
    collect(&c, answer, 4); /* no call */
    assert_false(kept_wanted(&c));
    chat_collect_done(&c);
    collect(&c, &answer[4], 2);
    assert_true(kept_wanted(&c));
    chat_collect_done(&c);
    (void)state;
}

/* --- requests --------------------------------------------------------------------------------- */

#define CALL(i, n)                                                                                 \
    {                                                                                              \
        .kind = CHAT_PART_TOOL_CALL, .id = SPAN_INIT(i), .name = SPAN_INIT(n)                      \
    }
#define THOUGHT(t, s, f)                                                                           \
    {                                                                                              \
        .kind = CHAT_PART_REASONING, .text = SPAN_INIT(t), .signature = SPAN_INIT(s),              \
        .format = SPAN_INIT(f)                                                                     \
    }

static const struct chat_part plain[] = {
    {.kind = CHAT_PART_TEXT, .text = SPAN_INIT("let me")}, CALL("c1", "f"), CALL("c2", "g")};
static const struct chat_part shown[] = {THOUGHT("unsigned", "", ""), CALL("c3", "f")};
static const struct chat_part whole[] = {THOUGHT("x", "S", "anthropic-claude-v1"), CALL("c4", "f")};
static const struct chat_part half[] = {THOUGHT("x", "S", "google-gemini-v1"), CALL("c5", "f")};
static const struct chat_part carried[] = {{.kind = CHAT_PART_TOOL_CALL,
                                            .id = SPAN_INIT("c6"),
                                            .name = SPAN_INIT("f"),
                                            .signature = SPAN_INIT("G"),
                                            .format = SPAN_INIT("google-gemini-v1")},
                                           CALL("c7", "f")};
static const struct chat_part nothing[] = {{.kind = CHAT_PART_TEXT, .text = SPAN_INIT("hi")}};

#define SAID(p)                                                                                    \
    {                                                                                              \
        .role = CHAT_ASSISTANT, .parts = (p), .n_parts = COUNT_OF(p)                               \
    }
static const struct chat_message talk[] = {
    {.role = CHAT_USER, .parts = nothing, .n_parts = 1},
    SAID(plain),
    SAID(shown),
    SAID(whole),
    SAID(half),
    SAID(carried),
    SAID(nothing),
    {.role = CHAT_TOOL, .tool_call_id = SPAN_INIT("c1"), .parts = nothing, .n_parts = 1},
};

static void test_missing(void **state)
{
    struct chat_request r = {.messages = talk, .n_messages = COUNT_OF(talk)};
    struct span ids[8];
    static const char *const want[] = {"c5", "c3", "c1", "c2"};
    assert_int_equal(kept_missing(&r, ids, COUNT_OF(ids)), COUNT_OF(want));
    for (size_t i = 0; i < COUNT_OF(want); i++)
        check(ids[i], want[i]);
    assert_int_equal(kept_missing(&r, ids, 2), 2);
    r.n_messages = 1;
    assert_int_equal(kept_missing(&r, ids, COUNT_OF(ids)), 0);
    (void)state;
}

static void check_part(const struct chat_part *p, enum chat_part_kind kind, const char *text,
                       const char *signature)
{
    assert_int_equal(p->kind, kind);
    check(kind == CHAT_PART_TOOL_CALL ? p->id : p->text, text);
    check(p->signature, signature);
    assert_int_equal(p->kept, signature[0] != '\0');
}

/* Blocks stand in front, in their order, once; a call gets its own; the rest is as it was. */
static void test_restore(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct err e = {0};
    struct chat_collect c;
    struct chat_request r = {.messages = talk, .n_messages = COUNT_OF(talk)};
    collect(&c, answer, COUNT_OF(answer));
    struct span ids[] = {SPAN("c5"), SPAN("c3"), SPAN("c1"), SPAN("c2"), SPAN("c6")};
    struct span first = write_one(a, &c, 0), second = write_one(a, &c, 1);
    struct span values[] = {{NULL, 0}, first, first, second, first};
    assert_true(kept_restore(a, ids, values, COUNT_OF(ids), &r, &e));
    const struct chat_message *m = &r.messages[1];
    assert_int_equal(m->n_parts, 5);
    check_part(&m->parts[0], CHAT_PART_REASONING, "thought \"\xc3\xa9\"", "S+/==");
    assert_true(m->parts[0].signs_text);
    check(m->parts[0].format, "anthropic-claude-v1");
    check(m->parts[0].id, "b1");
    check_part(&m->parts[1], CHAT_PART_REASONING, "", "R");
    assert_false(m->parts[1].signs_text);
    check_part(&m->parts[2], CHAT_PART_TEXT, "let me", "");
    check_part(&m->parts[3], CHAT_PART_TOOL_CALL, "c1", "");
    check_part(&m->parts[4], CHAT_PART_TOOL_CALL, "c2", "G");
    check(m->parts[4].format, "google-gemini-v1");
    /* what came without a signature gives way to what has one */
    assert_int_equal(r.messages[2].n_parts, 3);
    check_part(&r.messages[2].parts[1], CHAT_PART_REASONING, "", "R");
    /* nothing was found, or nothing was missing */
    for (size_t i = 3; i < COUNT_OF(talk); i++)
        assert_ptr_equal(r.messages[i].parts, talk[i].parts);
    assert_ptr_equal(talk[1].parts, plain);
    chat_collect_done(&c);
    (void)state;
}

/* Only the call was signed: what the client shows of the thoughts stays. */
static void test_restore_call_alone(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct err e = {0};
    struct chat_request r = {.messages = &talk[2], .n_messages = 1};
    struct span id = SPAN("c3"), value = SPAN("{\"name\":\"f\",\"signature\":\"G\"}");
    assert_true(kept_restore(a, &id, &value, 1, &r, &e));
    assert_int_equal(r.messages[0].n_parts, 2);
    check_part(&r.messages[0].parts[0], CHAT_PART_REASONING, "unsigned", "");
    check_part(&r.messages[0].parts[1], CHAT_PART_TOOL_CALL, "c3", "G");
    (void)state;
}

/* A broken value, or one of another tool, is as good as none. */
static void test_restore_nothing(void **state)
{
    static const char *const bad[] = {
        "",
        "x",
        "[]",
        "{}",
        "{\"name\":\"f\"",
        "{\"name\":7,\"blocks\":7}",
        "{\"name\":\"f\",\"signature\":[],\"blocks\":[7,{},null,{\"text\":\"t\"}]}",
        "{\"name\":\"other\",\"signature\":\"S\",\"blocks\":[{\"text\":\"t\",\"signature\":"
        "\"S\"}]}",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        AUTO(arena) a = arena_new(0);
        struct err e = {0};
        struct chat_request r = {.messages = talk, .n_messages = COUNT_OF(talk)};
        struct span id = SPAN("c1"), value = span_of(bad[i]);
        assert_true(kept_restore(a, &id, &value, 1, &r, &e));
        assert_int_equal(r.messages[1].n_parts, 3);
        for (size_t k = 0; k < 3; k++)
            assert_int_equal(r.messages[1].parts[k].signature.n, 0);
    }
    (void)state;
}

/* --- upstreams -------------------------------------------------------------------------------- */

static bool sent(const struct dialect *d, const struct chat_request *r, const char *text)
{
    struct err e = {0};
    struct dialect_target t = {.model = SPAN("m"), .dialect = span_of(d->name)};
    struct buf out;
    t.default_max_tokens = 100;
    buf_init(&out, MIB(1));
    if (!d->write_request(r, &t, &out, NULL, &e))
        fail_msg("%s: %s", d->name, e.msg);
    bool there = span_index(buf_span(&out), span_of(text)) < out.n;
    buf_done(&out);
    return there;
}

/* A server that merely speaks the client's dialect knows nothing of these members. */
static void test_goes_to_the_signer_alone(void **state)
{
    static const char body[] =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":"
        "\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\","
        "\"tool_call_id\":\"c1\",\"content\":\"r\"}],\"tools\":[{\"type\":\"function\","
        "\"function\":{\"name\":\"f\"}}]}";
    AUTO(arena) a = arena_new(0);
    struct err e = {0};
    struct chat_request r;
    struct span id = SPAN("c1");
    struct span value = SPAN("{\"name\":\"f\",\"signature\":\"CALLSIGNED\",\"blocks\":[{\"text\":"
                             "\"t\",\"signature\":\"BLOCKSIGNED\",\"format\":"
                             "\"anthropic-claude-v1\",\"signs_text\":true}]}");
    assert_true(dialect_openai_chat.read_request(a, span_of(body), &r, &e));
    assert_int_equal(kept_missing(&r, &id, 1), 1);
    assert_true(kept_restore(a, &id, &value, 1, &r, &e));
    assert_true(sent(&dialect_anthropic_messages, &r, "BLOCKSIGNED"));
    assert_true(sent(&dialect_gemini, &r, "CALLSIGNED"));
    assert_false(sent(&dialect_gemini, &r, "BLOCKSIGNED"));
    assert_false(sent(&dialect_anthropic_messages, &r, "CALLSIGNED"));
    assert_false(sent(&dialect_openai_chat, &r, "SIGNED"));
    assert_false(sent(&dialect_openai_chat, &r, "reasoning"));
    assert_false(sent(&dialect_mistral, &r, "SIGNED"));
    (void)state;
}

/* Each allocation fails in turn. */
static void test_out_of_memory(void **state)
{
    struct chat_collect c;
    AUTO(arena) texts = arena_new(0);
    collect(&c, answer, COUNT_OF(answer));
    struct span value = write_one(texts, &c, 0), id = SPAN("c1");
    chat_collect_done(&c);
    for (unsigned long n = 1;; n++) {
        struct chat_request r = {.messages = talk, .n_messages = COUNT_OF(talk)};
        struct err e = {0};
        mem_fail_at(n);
        AUTO(arena) a = arena_new(0);
        if (a && !kept_restore(a, &id, &value, 1, &r, &e)) {
            assert_int_equal(e.cls, ERR_NOMEM);
            assert_ptr_equal(r.messages, talk);
        }
        bool done = !mem_failed();
        mem_fail_at(0);
        if (done)
            break;
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write),           cmocka_unit_test(test_ids),
        cmocka_unit_test(test_not_wanted),      cmocka_unit_test(test_missing),
        cmocka_unit_test(test_restore),         cmocka_unit_test(test_restore_call_alone),
        cmocka_unit_test(test_restore_nothing), cmocka_unit_test(test_goes_to_the_signer_alone),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
