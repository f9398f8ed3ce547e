/* tests/unit/test_openai_chat_recorded.c - recorded answers of real providers, which lie beside the
 * checkout and not in it (FUSOR_SHARED, or ../shared): each reads to sane events, and what we write
 * of it reads back the same. Without the recordings this test says so and passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>

#include "base/clock.h"
#include "chat_log.h"

#ifndef FUSOR_SOURCE_ROOT
#define FUSOR_SOURCE_ROOT "."
#endif

static const char *const folders[] = {
    "openai/chat", "openai-compatible/chat", "openai-compatible", "mistral",
    "groq",        "deepseek/chat"};

/* What must come of the recordings that are known. */
static const struct {
    const char *file;
    size_t n_tools, min_text, min_reasoning;
    enum chat_finish finish;
    int64_t input, output;
} known[] = {
    {"openai-text.chunks.txt", 0, 1000, 0, CHAT_FINISH_STOP, 16, 300},
    {"azure-model-router.1.chunks.txt", 0, 5, 0, CHAT_FINISH_STOP, 15, 78},
    {"mistral-text.chunks.txt", 0, 30, 0, CHAT_FINISH_STOP, 13, 8},
    {"mistral-incremental-tool-call.chunks.txt", 1, 0, 0, CHAT_FINISH_TOOL_CALLS, 171, 14},
    {"groq-text.chunks.txt", 0, 2000, 0, CHAT_FINISH_STOP, 45, 662},
    {"groq-reasoning.chunks.txt", 0, 300, 2000, CHAT_FINISH_STOP, 17, 1107},
    {"deepseek-text.chunks.txt", 0, 1000, 0, CHAT_FINISH_LENGTH, 13, 400},
    {"deepseek-reasoning.chunks.txt", 0, 10, 300, CHAT_FINISH_STOP, 18, 219},
    {"deepseek-tool-call.chunks.txt", 1, 0, 100, CHAT_FINISH_TOOL_CALLS, 339, 83},
    {"xai-tool-call.chunks.txt", 1, 0, 500, CHAT_FINISH_TOOL_CALLS, 307, 253},
    {"xai-tool-call.json", 1, 0, 500, CHAT_FINISH_TOOL_CALLS, 307, 281},
    {"groq-tool-call.json", 1, 0, 0, CHAT_FINISH_TOOL_CALLS, 218, 15},
    {"mistral-text.json", 0, 1000, 0, CHAT_FINISH_STOP, 13, 434},
};

static struct buf text, out;

static bool read_file(const char *path)
{
    FILE *f = fopen(path, "re");
    char *p;
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

static void check_known(const char *file, const struct chat_collect *c)
{
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (strcmp(known[i].file, file) != 0)
            continue;
        if (c->n_tools != known[i].n_tools || c->text.n < known[i].min_text ||
            c->reasoning.n < known[i].min_reasoning || c->finish != known[i].finish ||
            c->usage.input != known[i].input || c->usage.output != known[i].output)
            fail_msg("%s: %zu calls, text %zu, reasoning %zu, %s, %lld in, %lld out", file,
                     c->n_tools, c->text.n, c->reasoning.n, chat_finish_name(c->finish),
                     (long long)c->usage.input, (long long)c->usage.output);
    }
}

static void check_sane(const char *file, const struct chat_collect *c)
{
    if (!c->started || !c->ended || c->failed || !c->has_usage || c->usage.input <= 0)
        fail_msg("%s: started %d, ended %d, failed %d, usage %d", file, c->started, c->ended,
                 c->failed, c->has_usage);
    assert_true(c->text.n > 0 || c->n_tools > 0);
    assert_true(c->usage.reasoning <= c->usage.output);
    for (size_t i = 0; i < c->n_tools; i++) {
        struct span args = buf_span(&c->tools[i].arguments);
        assert_true(c->tools[i].whole && c->tools[i].name.n > 0 && c->tools[i].id.n > 0);
        assert_true(span_starts(args, SPAN("{")) && span_ends(args, SPAN("}")));
    }
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
    same_buf(file, "refusal", &a->refusal, &b->refusal);
    assert_int_equal(a->n_tools, b->n_tools);
    for (size_t i = 0; i < a->n_tools; i++) {
        same_buf(file, "id", &a->tools[i].id, &b->tools[i].id);
        same_buf(file, "name", &a->tools[i].name, &b->tools[i].name);
        same_buf(file, "arguments", &a->tools[i].arguments, &b->tools[i].arguments);
    }
    assert_int_equal(a->finish, b->finish);
    /* Member by member: the padding of a struct is anything. */
    assert_true(a->usage.input == b->usage.input && a->usage.cached == b->usage.cached);
    assert_true(a->usage.output == b->usage.output && a->usage.reasoning == b->usage.reasoning);
    assert_true(a->usage.cache_write == b->usage.cache_write);
    assert_true(a->usage.cost_nusd == b->usage.cost_nusd);
    assert_true(a->usage.estimated == b->usage.estimated);
}

/* Reader -> writer -> reader, in both shapes, event by event as a call would. */
static void round_trip(const char *file, const struct chat_collect *want, bool openai_shape)
{
    struct dialect_reply reply = {
        .id = SPAN("chatcmpl-1"), .model = SPAN("m"), .created = 1, .stream_usage = openai_shape};
    struct dialect_reader *rd = dialect_openai_chat.reader_new();
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
            assert_true(dialect_openai_chat.reader_feed(rd, (struct span){0}, line, &e));
        else
            dialect_openai_chat.reader_eof(rd);
        while (dialect_openai_chat.reader_next(rd, &ev, &e) == DIALECT_EVENT)
            assert_true(dialect_openai_chat.write_event(w, &ev, &out, &e));
    }
    assert_true(span_ends(buf_span(&out), SPAN("data: [DONE]\n\n")));
    feed_lines(buf_span(&out), NULL, &again);
    check_same(file, want, &again);
    chat_collect_done(&again);
    dialect_openai_chat.reader_free(rd);
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

static void check_file(const char *file)
{
    struct chat_collect c;
    chat_collect_init(&c, MIB(4));
    if (span_ends(span_of(file), SPAN(".chunks.txt"))) {
        feed_lines(buf_span(&text), NULL, &c);
        check_sane(file, &c);
        round_trip(file, &c, false);
        round_trip(file, &c, true);
    } else {
        struct dialect_reader *rd = dialect_openai_chat.reader_new();
        struct err e;
        if (!dialect_openai_chat.reader_body(rd, buf_span(&text), &e))
            fail_msg("%s: %s", file, e.msg);
        assert_true(drain(rd, NULL, NULL, &c));
        check_sane(file, &c);
        dialect_openai_chat.reader_free(rd);
    }
    check_known(file, &c);
    round_trip_body(file, &c);
    chat_collect_done(&c);
}

static bool wanted(const char *file)
{
    struct span s = span_of(file);
    return (span_ends(s, SPAN(".chunks.txt")) || span_ends(s, SPAN(".json"))) &&
           span_index(s, SPAN("error")) == s.n;
}

static void test_recordings(void **state)
{
    const char *shared = getenv("FUSOR_SHARED");
    size_t n = 0, bytes = 0;
    int64_t from = clock_mono_us();
    char path[1200];
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        snprintf(path, sizeof path, "%s/data/provider-streams/%s",
                 shared ? shared : FUSOR_SOURCE_ROOT "/../shared", folders[i]);
        DIR *d = opendir(path);
        size_t len = strlen(path);
        for (struct dirent *f; d && (f = readdir(d));) {
            if (!wanted(f->d_name))
                continue;
            snprintf(path + len, sizeof path - len, "/%s", f->d_name);
            assert_true(read_file(path));
            check_file(f->d_name);
            n++;
            bytes += text.n;
        }
        if (d)
            closedir(d);
    }
    buf_done(&text);
    buf_done(&out);
    if (n == 0)
        print_message("skipped: no recordings (set FUSOR_SHARED to the folder that holds data/)\n");
    else
        print_message("%zu recordings, %zu bytes, %lld us\n", n, bytes,
                      (long long)(clock_mono_us() - from));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recordings)};
    buf_init(&text, MIB(4));
    buf_init(&out, MIB(16));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
