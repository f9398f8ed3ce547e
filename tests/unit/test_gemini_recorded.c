/* tests/unit/test_gemini_recorded.c - recorded answers of Gemini, which lie beside the checkout and
 * not in it (FUSOR_SHARED, or ../shared): each reads to what it holds, cut at any byte to a part of
 * it or an error, and written for a client it reads back the same. Without the recordings this test
 * says so and passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "chat_log.h"

#ifndef FUSOR_SOURCE_ROOT
#define FUSOR_SOURCE_ROOT "."
#endif

static const struct {
    const char *file;
    size_t n_tools, text, reasoning_tokens;
    enum chat_finish finish;
    int64_t input, output;
    const char *name, *args; /* of the first call; args: how they begin */
    bool call_signed, text_signed;
} known[] = {
    {"google-text.chunks.txt", 0, 55, 185, CHAT_FINISH_STOP, 9, 208, .text_signed = true},
    {"google-text.json", 0, 78, 244, CHAT_FINISH_STOP, 9, 272, .text_signed = true},
    {"google-reasoning-gemini3.chunks.txt", 0, 55, 302, CHAT_FINISH_STOP, 9, 325,
     .text_signed = true},
    {"google-reasoning-gemini3.json", 0, 79, 258, CHAT_FINISH_STOP, 9, 287, .text_signed = true},
    {"google-reasoning.json", 0, 79, 282, CHAT_FINISH_STOP, 9, 311, .text_signed = true},
    {"google-tool-call-gemini3.chunks.txt", 1, 0, 804, CHAT_FINISH_TOOL_CALLS, 29, 819, "weather",
     "{\"location\":\"San Francisco\"}", .call_signed = true},
    {"google-stream-tool-call-arguments.chunks.txt", 2, 0, 132, CHAT_FINISH_TOOL_CALLS, 26, 155,
     "getWeather", "{\"location\":\"Boston\"}", .call_signed = true},
    {"google-stream-tool-call-array-arguments-missing-terminal-function-call.chunks.txt", 1, 0, 121,
     CHAT_FINISH_TOOL_CALLS, 54, 195, "writeItems",
     "{\"operations\":[{\"action\":\"add\",\"description\":\"Fresh red apple\",\"itemid\":"
     "\"apple_001\",\"price\":0.5},{\"action\":\"add\",\"description\":\"Ripe yellow banana\","
     "\"itemid\":\"banana_001\",\"price\":0.3}]}",
     .call_signed = true},
    {"google-vertex-stream-tool-call-arguments-nested.1.chunks.txt", 1, 0, 1026,
     CHAT_FINISH_TOOL_CALLS, 31, 1710, "cookRecipe",
     "{\"recipe\":{\"ingredients\":[{\"amount\":\"16 oz\",\"name\":\"Lasagna "
     "noodles\"},{\"amount\":"
     "\"1 lb\",\"name\":\"Ground beef\"},",
     .call_signed = true},
};

static struct buf text, out;

static bool read_file(const char *name)
{
    const char *shared = getenv("FUSOR_SHARED");
    char path[1200], *p;
    snprintf(path, sizeof path, "%s/data/provider-streams/google/%s",
             shared ? shared : FUSOR_SOURCE_ROOT "/../shared", name);
    FILE *f = fopen(path, "re");
    buf_clear(&text);
    if (!f)
        return false;
    for (size_t n = 1; n > 0 && buf_room(&text, KIB(64), &p, NULL);) {
        n = fread(p, 1, KIB(64), f);
        buf_grew(&text, n);
    }
    fclose(f);
    return true;
}

static bool is_stream(const char *file)
{
    return span_ends(span_of(file), SPAN(".chunks.txt"));
}

static void read_answer(const char *file, struct chat_collect *c)
{
    chat_collect_init(c, MIB(4));
    if (is_stream(file)) {
        feed_lines_of(&dialect_gemini, buf_span(&text), NULL, c);
        return;
    }
    struct dialect_reader *rd = dialect_gemini.reader_new();
    struct err e;
    if (!dialect_gemini.reader_body(rd, buf_span(&text), &e))
        fail_msg("%s: %s", file, e.msg);
    assert_true(drain_of(&dialect_gemini, rd, NULL, NULL, c));
    dialect_gemini.reader_free(rd);
}

static void check_known(size_t i, const struct chat_collect *c)
{
    const char *file = known[i].file;
    if (!c->started || !c->ended || c->failed || !c->has_usage || c->model.n == 0 || c->id.n == 0)
        fail_msg("%s: started %d, ended %d, failed %d, usage %d", file, c->started, c->ended,
                 c->failed, c->has_usage);
    if (c->n_tools != known[i].n_tools || c->text.n != known[i].text ||
        c->usage.reasoning != (int64_t)known[i].reasoning_tokens || c->finish != known[i].finish ||
        c->usage.input != known[i].input || c->usage.output != known[i].output)
        fail_msg("%s: %zu calls, text %zu, %lld thought, %s, %lld in, %lld out", file, c->n_tools,
                 c->text.n, (long long)c->usage.reasoning, chat_finish_name(c->finish),
                 (long long)c->usage.input, (long long)c->usage.output);
    assert_true((c->n_blocks == 1 && c->blocks[0].signature.n > 90) == known[i].text_signed);
    for (size_t k = 0; k < c->n_tools; k++) {
        assert_true(c->tools[k].whole && c->tools[k].id.n > 0);
        assert_true(span_eq(buf_span(&c->tools[k].name), span_of(known[i].name)));
    }
    if (c->n_tools == 0)
        return;
    assert_true((c->tools[0].signature.n > 90) == known[i].call_signed);
    if (!span_starts(buf_span(&c->tools[0].arguments), span_of(known[i].args)))
        fail_msg("%s: %.*s", file, SPAN_ARG(buf_span(&c->tools[0].arguments)));
}

static void same_buf(const char *file, const char *what, const struct buf *a, const struct buf *b)
{
    if (!span_eq(buf_span(a), buf_span(b)))
        fail_msg("%s: %s is not the same when read again", file, what);
}

static void check_same(const char *file, const struct chat_collect *a, const struct chat_collect *b)
{
    same_buf(file, "text", &a->text, &b->text);
    same_buf(file, "reasoning", &a->reasoning, &b->reasoning);
    assert_int_equal(a->n_blocks, b->n_blocks);
    for (size_t i = 0; i < a->n_blocks; i++) {
        same_buf(file, "signature", &a->blocks[i].signature, &b->blocks[i].signature);
        same_buf(file, "format", &a->blocks[i].format, &b->blocks[i].format);
    }
    assert_int_equal(a->n_tools, b->n_tools);
    for (size_t i = 0; i < a->n_tools; i++) {
        same_buf(file, "id", &a->tools[i].id, &b->tools[i].id);
        same_buf(file, "name", &a->tools[i].name, &b->tools[i].name);
        same_buf(file, "arguments", &a->tools[i].arguments, &b->tools[i].arguments);
        same_buf(file, "signature", &a->tools[i].signature, &b->tools[i].signature);
    }
    assert_int_equal(a->finish, b->finish);
    assert_int_equal(a->usage.input, b->usage.input);
    assert_int_equal(a->usage.output, b->usage.output);
    assert_int_equal(a->usage.cached, b->usage.cached);
    assert_int_equal(a->usage.reasoning, b->usage.reasoning);
}

/* Gemini's reader -> OpenAI's writer -> OpenAI's reader, event by event as a call would. */
static void round_trip(const char *file, const struct chat_collect *want)
{
    struct dialect_reply reply = {.id = SPAN("chatcmpl-1"), .model = SPAN("m"), .created = 1};
    struct dialect_reader *rd = dialect_gemini.reader_new();
    struct dialect_writer *w = dialect_openai_chat.writer_new(&reply);
    struct span rest = buf_span(&text), line;
    struct chat_collect again;
    struct chat_event ev;
    struct err e;
    bool more = true;
    buf_clear(&out);
    chat_collect_init(&again, MIB(4));
    while (more) {
        more = span_cut(&rest, '\n', &line);
        if (more)
            assert_true(dialect_gemini.reader_feed(rd, (struct span){0}, line, &e));
        else
            dialect_gemini.reader_eof(rd);
        while (dialect_gemini.reader_next(rd, &ev, &e) == DIALECT_EVENT)
            assert_true(dialect_openai_chat.write_event(w, &ev, &out, &e));
    }
    assert_true(span_ends(buf_span(&out), SPAN("data: [DONE]\n\n")));
    feed_lines(buf_span(&out), NULL, &again);
    check_same(file, want, &again);
    chat_collect_done(&again);
    dialect_gemini.reader_free(rd);
    dialect_openai_chat.writer_free(w);
}

static void round_trip_body(const char *file, const struct chat_collect *want)
{
    struct dialect_reply reply = {.id = SPAN("chatcmpl-1"), .model = SPAN("m"), .created = 1};
    struct dialect_reader *rd = dialect_openai_chat.reader_new();
    struct chat_collect again;
    struct err e;
    buf_clear(&out);
    chat_collect_init(&again, MIB(4));
    assert_true(dialect_openai_chat.write_unary(&reply, want, &out, &e));
    assert_true(dialect_openai_chat.reader_body(rd, buf_span(&out), &e));
    assert_true(drain(rd, NULL, NULL, &again));
    check_same(file, want, &again);
    chat_collect_done(&again);
    dialect_openai_chat.reader_free(rd);
}

/* The start of the bytes: no more than the whole says, and no end that was not said. */
static void cut(const char *file, size_t n, const struct chat_collect *whole)
{
    struct chat_collect c;
    chat_collect_init(&c, MIB(4));
    if (is_stream(file)) {
        feed_lines_of(&dialect_gemini, span_upto(buf_span(&text), n), NULL, &c);
    } else {
        struct dialect_reader *rd = dialect_gemini.reader_new();
        assert_false(dialect_gemini.reader_body(rd, span_upto(buf_span(&text), n), NULL));
        dialect_gemini.reader_free(rd);
    }
    assert_false(c.ended);
    assert_true(span_starts(buf_span(&whole->text), buf_span(&c.text)));
    assert_true(c.n_tools <= whole->n_tools);
    for (size_t i = 0; i < c.n_tools; i++)
        same_buf(file, "arguments", &c.tools[i].arguments, &whole->tools[i].arguments);
    chat_collect_done(&c);
}

static void test_recordings(void **state)
{
    size_t n = 0, cuts = 0;
    int64_t from = clock_mono_us();
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        struct chat_collect c;
        if (!read_file(known[i].file))
            continue;
        n++;
        read_answer(known[i].file, &c);
        check_known(i, &c);
        if (is_stream(known[i].file))
            round_trip(known[i].file, &c);
        round_trip_body(known[i].file, &c);
        /* The last chunk alone ends the answer: all cuts stand before its last brace. */
        size_t end = span_rindex(buf_span(&text), SPAN("}"));
        for (size_t at = 0; at < end; at += 1 + text.n / 400, cuts++)
            cut(known[i].file, at, &c);
        chat_collect_done(&c);
    }
    if (n == 0)
        print_message("skipped: no recordings (set FUSOR_SHARED to the folder that holds data/)\n");
    else
        print_message("%zu recordings, %zu cuts, %lld us\n", n, cuts,
                      (long long)(clock_mono_us() - from));
}

static void test_recorded_refusal(void **state)
{
    struct err e = {0};
    if (!read_file("google-429-retry-info.json"))
        return;
    dialect_gemini.read_error(429, buf_span(&text), -1, &e);
    assert_int_equal(e.cls, ERR_BUSY);
    assert_int_equal(e.retry_after_ms, 34400);
    assert_int_equal(e.sent, SENT_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recordings),
                                       cmocka_unit_test(test_recorded_refusal)};
    buf_init(&text, MIB(4));
    buf_init(&out, MIB(16));
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    buf_done(&text);
    buf_done(&out);
    return rc;
}
