/* tests/unit/test_anthropic_messages_recorded.c - recorded answers of Anthropic, which lie beside
 * the checkout and not in it (FUSOR_SHARED, or ../shared): each reads to sane events, whole and
 * cut, and what we write of it reads back the same. Without the recordings this test says so and
 * passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>

#define CHAT_LOG_DIALECT dialect_anthropic_messages
#include "base/clock.h"
#include "chat_log.h"

#ifndef FUSOR_SOURCE_ROOT
#define FUSOR_SOURCE_ROOT "."
#endif

/* Positions at which each recording is cut. */
#define CUTS 40

/* What must come of the recordings that are known. */
static const struct {
    const char *file;
    size_t n_tools, min_text, n_blocks;
    enum chat_finish finish;
    int64_t input, cached, output;
} known[] = {
    {"anthropic-text.json", 0, 80, 0, CHAT_FINISH_STOP, 12, 0, 29},
    {"anthropic-clear-thinking.1.chunks.txt", 0, 10, 1, CHAT_FINISH_STOP, 69, 0, 53},
    {"anthropic-code-execution-20260120-prompt-cache.1.chunks.txt", 0, 50, 0, CHAT_FINISH_STOP,
     9632, 6289, 198},
    {"anthropic-fallback.chunks.txt", 0, 60, 0, CHAT_FINISH_STOP, 412, 0, 264},
    {"anthropic-json-tool.2.chunks.txt", 1, 20, 0, CHAT_FINISH_TOOL_CALLS, 849, 0, 47},
    {"anthropic-json-tool.1.json", 1, 0, 0, CHAT_FINISH_TOOL_CALLS, 1151, 0, 87},
    {"anthropic-mcp.1.chunks.txt", 0, 100, 0, CHAT_FINISH_STOP, 1250, 0, 83},
    {"anthropic-memory-20250818.1.json", 1, 0, 0, CHAT_FINISH_TOOL_CALLS, 1614, 0, 69},
    {"anthropic-message-delta-input-tokens.chunks.txt", 0, 4, 0, CHAT_FINISH_STOP, 61, 0, 2},
    {"anthropic-refusal.json", 0, 0, 0, CHAT_FINISH_REFUSAL, 18, 0, 5},
    {"anthropic-refusal-no-details.json", 0, 0, 0, CHAT_FINISH_REFUSAL, 18, 0, 5},
    {"duplicate-message-start.chunks.txt", 0, 13, 0, CHAT_FINISH_STOP, 17, 0, 227},
    /* The first call was given up in its middle: it is there, and never whole. */
    {"spliced-message-start.chunks.txt", 2, 0, 2, CHAT_FINISH_STOP, 17, 0, 65},
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
            c->n_blocks != known[i].n_blocks || c->finish != known[i].finish ||
            c->usage.input != known[i].input || c->usage.cached != known[i].cached ||
            c->usage.output != known[i].output)
            fail_msg("%s: %zu calls, text %zu, blocks %zu, %s, %lld in, %lld cached, %lld out",
                     file, c->n_tools, c->text.n, c->n_blocks, chat_finish_name(c->finish),
                     (long long)c->usage.input, (long long)c->usage.cached,
                     (long long)c->usage.output);
    }
}

static bool is_spliced(const char *file)
{
    return strstr(file, "spliced") != NULL;
}

static void check_sane(const char *file, const struct chat_collect *c)
{
    if (!c->started || !c->ended || c->failed || !c->has_usage || c->usage.input <= 0)
        fail_msg("%s: started %d, ended %d, failed %d, usage %d", file, c->started, c->ended,
                 c->failed, c->has_usage);
    assert_true(c->usage.reasoning <= c->usage.output);
    for (size_t i = 0; i < c->n_tools; i++) {
        struct span args = buf_span(&c->tools[i].arguments);
        if (is_spliced(file) && i == 0) {
            assert_false(c->tools[i].whole);
            continue;
        }
        assert_true(c->tools[i].whole && c->tools[i].name.n > 0 && c->tools[i].id.n > 0);
        assert_true(span_starts(args, SPAN("{")) && span_ends(args, SPAN("}")));
    }
    for (size_t i = 0; i < c->n_blocks; i++)
        assert_true(c->blocks[i].signature.n > 0 &&
                    span_eq(buf_span(&c->blocks[i].format), CHAT_SIGNED_ANTHROPIC));
}

static void same_buf(const char *file, const char *what, const struct buf *a, const struct buf *b)
{
    if (!span_eq(buf_span(a), buf_span(b)))
        fail_msg("%s: %s is not the same when read again", file, what);
}

static void check_same(const char *file, const struct chat_collect *a, const struct chat_collect *b)
{
    size_t first = is_spliced(file); /* what was never whole was not sent */
    same_buf(file, "reasoning", &a->reasoning, &b->reasoning);
    if (a->refusal.n > 0)
        same_buf(file, "refusal", &a->refusal, &b->text);
    else
        same_buf(file, "text", &a->text, &b->text);
    assert_int_equal(a->n_tools, b->n_tools + first);
    for (size_t i = first; i < a->n_tools; i++) {
        same_buf(file, "id", &a->tools[i].id, &b->tools[i - first].id);
        same_buf(file, "name", &a->tools[i].name, &b->tools[i - first].name);
        same_buf(file, "arguments", &a->tools[i].arguments, &b->tools[i - first].arguments);
    }
    assert_int_equal(a->n_blocks, b->n_blocks);
    for (size_t i = 0; i < a->n_blocks; i++)
        same_buf(file, "signature", &a->blocks[i].signature, &b->blocks[i].signature);
    assert_int_equal(first ? CHAT_FINISH_TOOL_CALLS : a->finish, b->finish);
    assert_memory_equal(&a->usage, &b->usage, sizeof a->usage);
}

/* Reader -> writer -> reader, event by event as a call would. */
static void round_trip(const char *file, const struct chat_collect *want)
{
    struct dialect_reply reply = {.id = SPAN("msg_1"), .model = SPAN("m"), .created = 1};
    struct dialect_reader *rd = dialect_anthropic_messages.reader_new();
    struct dialect_writer *w = dialect_anthropic_messages.writer_new(&reply);
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
            assert_true(dialect_anthropic_messages.reader_feed(rd, (struct span){0}, line, &e));
        else
            dialect_anthropic_messages.reader_eof(rd);
        while (dialect_anthropic_messages.reader_next(rd, &ev, &e) == DIALECT_EVENT)
            assert_true(dialect_anthropic_messages.write_event(w, &ev, &out, &e));
    }
    assert_true(span_ends(buf_span(&out), SPAN("data: {\"type\":\"message_stop\"}\n\n")));
    feed_lines(buf_span(&out), NULL, &again);
    check_same(file, want, &again);
    chat_collect_done(&again);
    dialect_anthropic_messages.reader_free(rd);
    dialect_anthropic_messages.writer_free(w);
}

static void round_trip_body(const char *file, const struct chat_collect *want)
{
    struct dialect_reply reply = {.id = SPAN("msg_1"), .model = SPAN("m"), .created = 1};
    struct dialect_reader *rd = dialect_anthropic_messages.reader_new();
    struct chat_collect again;
    struct err e;
    buf_clear(&out);
    chat_collect_init(&again, MIB(4));
    assert_true(dialect_anthropic_messages.write_unary(&reply, want, &out, &e));
    assert_true(dialect_anthropic_messages.reader_body(rd, buf_span(&out), &e));
    assert_true(drain(rd, NULL, NULL, &again));
    assert_int_equal(again.n_tools, want->n_tools - is_spliced(file));
    same_buf(file, "text of the body", want->refusal.n > 0 ? &want->refusal : &want->text,
             &again.text);
    same_buf(file, "reasoning of the body", &want->reasoning, &again.reasoning);
    assert_memory_equal(&want->usage, &again.usage, sizeof again.usage);
    chat_collect_done(&again);
    dialect_anthropic_messages.reader_free(rd);
}

/* A stream that ends early never says that it is finished, and what came is a front of the whole.
 */
static void check_cuts(const char *file, const struct chat_collect *want)
{
    size_t end = span_index(buf_span(&text), SPAN("{\"type\":\"message_delta\""));
    for (size_t i = 0; i < CUTS; i++) {
        struct chat_collect c;
        chat_collect_init(&c, MIB(4));
        feed_lines(span_upto(buf_span(&text), i * end / CUTS), NULL, &c);
        if (c.ended)
            fail_msg("%s: ended when cut at %zu", file, i * end / CUTS);
        assert_true(span_starts(buf_span(&want->text), buf_span(&c.text)));
        assert_true(span_starts(buf_span(&want->reasoning), buf_span(&c.reasoning)));
        chat_collect_done(&c);
    }
}

static void check_file(const char *file)
{
    struct chat_collect c;
    chat_collect_init(&c, MIB(4));
    if (span_ends(span_of(file), SPAN(".chunks.txt"))) {
        feed_lines(buf_span(&text), NULL, &c);
        check_sane(file, &c);
        check_cuts(file, &c);
        round_trip(file, &c);
    } else {
        struct dialect_reader *rd = dialect_anthropic_messages.reader_new();
        struct err e;
        if (!dialect_anthropic_messages.reader_body(rd, buf_span(&text), &e))
            fail_msg("%s: %s", file, e.msg);
        assert_true(drain(rd, NULL, NULL, &c));
        check_sane(file, &c);
        dialect_anthropic_messages.reader_free(rd);
    }
    check_known(file, &c);
    round_trip_body(file, &c);
    chat_collect_done(&c);
}

static void test_recordings(void **state)
{
    const char *shared = getenv("FUSOR_SHARED");
    size_t n = 0, bytes = 0;
    int64_t from = clock_mono_us();
    char path[1200];
    snprintf(path, sizeof path, "%s/data/provider-streams/anthropic",
             shared ? shared : FUSOR_SOURCE_ROOT "/../shared");
    DIR *d = opendir(path);
    size_t len = strlen(path);
    for (struct dirent *f; d && (f = readdir(d));) {
        struct span name = span_of(f->d_name);
        if (!span_ends(name, SPAN(".chunks.txt")) && !span_ends(name, SPAN(".json")))
            continue;
        snprintf(path + len, sizeof path - len, "/%s", f->d_name);
        assert_true(read_file(path));
        check_file(f->d_name);
        n++;
        bytes += text.n;
    }
    if (d)
        closedir(d);
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
