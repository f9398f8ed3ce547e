/* tests/unit/test_responses_recorded.c - recorded answers of OpenAI's Responses, which lie beside
 * the checkout and not in it (FUSOR_SHARED, or ../shared): each reads to sane events, cut anywhere
 * it never ends well, and what we write of it reads back the same. Without the recordings this test
 * says so and passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>

#include "base/clock.h"
#include "chat_log.h"
#include "dialect/responses.h"

#ifndef FUSOR_SOURCE_ROOT
#define FUSOR_SOURCE_ROOT "."
#endif

#define D dialect_openai_responses

/* What must come of the recordings that are known. */
static const struct {
    const char *file;
    size_t n_tools, n_signed, min_text, min_reasoning;
    enum chat_finish finish;
    int64_t input, output;
} known[] = {
    {"openai-apply-patch-tool.1.chunks.txt", 0, 0, 0, 0, CHAT_FINISH_STOP, 642, 67},
    {"openai-file-search-tool.1.chunks.txt", 0, 0, 300, 0, CHAT_FINISH_STOP, 3737, 621},
    {"openai-file-search-tool.1.json", 0, 0, 300, 0, CHAT_FINISH_STOP, 3700, 741},
    {"openai-mcp-tool.1.chunks.txt", 0, 0, 1264, 0, CHAT_FINISH_STOP, 11791, 963},
    {"openai-reasoning-encrypted-content.1.chunks.txt#0", 1, 1, 0, 100, CHAT_FINISH_TOOL_CALLS, 134,
     28},
    {"openai-reasoning-encrypted-content.1.chunks.txt#1", 1, 0, 0, 0, CHAT_FINISH_TOOL_CALLS, 221,
     26},
    {"openai-reasoning-encrypted-content.1.chunks.txt#3", 0, 0, 28, 0, CHAT_FINISH_STOP, 299, 12},
    {"openai-reasoning-encrypted-content.1.json", 0, 1, 50, 0, CHAT_FINISH_STOP, 865, 163},
    {"openai-tool-search.1.chunks.txt", 1, 0, 0, 0, CHAT_FINISH_TOOL_CALLS, 640, 46},
    {"openai-web-search-tool.1.chunks.txt", 0, 0, 3000, 0, CHAT_FINISH_STOP, 31073, 4416},
    {"openai-tool-search.1.json", 1, 0, 0, 0, CHAT_FINISH_TOOL_CALLS, 640, 46},
    {"openai-web-search-tool.1.json", 0, 0, 1000, 0, CHAT_FINISH_STOP, 19681, 3773},
    {"openai-phase.1.json", 0, 0, 1000, 0, CHAT_FINISH_STOP, 7243, 423},
    {"parallel-tool-call-wrapper.1.json", 1, 0, 0, 0, CHAT_FINISH_TOOL_CALLS, 34, 28},
    {"programmatic-tool-calling.2.chunks.txt", 1, 0, 0, 0, CHAT_FINISH_TOOL_CALLS, 0, 0},
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
    size_t n_signed = 0;
    for (size_t i = 0; i < c->n_blocks; i++)
        n_signed += c->blocks[i].signature.n > 0;
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (strcmp(known[i].file, file) != 0)
            continue;
        bool usage = c->usage.input == known[i].input && c->usage.output == known[i].output;
        if (c->n_tools != known[i].n_tools || n_signed != known[i].n_signed ||
            c->text.n < known[i].min_text || c->reasoning.n < known[i].min_reasoning ||
            c->finish != known[i].finish || !usage)
            fail_msg("%s: %zu calls, %zu signed, text %zu, reasoning %zu, %s, %lld in, %lld out",
                     file, c->n_tools, n_signed, c->text.n, c->reasoning.n,
                     chat_finish_name(c->finish), (long long)c->usage.input,
                     (long long)c->usage.output);
    }
}

static void check_sane(const char *file, const struct chat_collect *c)
{
    if (!c->started || !c->ended || c->failed || !c->has_usage)
        fail_msg("%s: started %d, ended %d, failed %d, usage %d", file, c->started, c->ended,
                 c->failed, c->has_usage);
    assert_true(c->usage.reasoning <= c->usage.output);
    for (size_t i = 0; i < c->n_tools; i++) {
        struct span args = buf_span(&c->tools[i].arguments);
        assert_true(c->tools[i].whole && c->tools[i].name.n > 0 && c->tools[i].id.n > 0);
        assert_true(span_starts(args, SPAN("{")) && span_ends(args, SPAN("}")));
    }
    for (size_t i = 0; i < c->n_blocks; i++)
        assert_true(c->blocks[i].signature.n == 0 ||
                    span_starts(buf_span(&c->blocks[i].id), SPAN("rs_")));
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
    assert_true(a->n_tools == b->n_tools && a->n_blocks == b->n_blocks);
    for (size_t i = 0; i < a->n_tools; i++) {
        same_buf(file, "id", &a->tools[i].id, &b->tools[i].id);
        same_buf(file, "name", &a->tools[i].name, &b->tools[i].name);
        same_buf(file, "arguments", &a->tools[i].arguments, &b->tools[i].arguments);
    }
    for (size_t i = 0; i < a->n_blocks; i++) {
        same_buf(file, "signature", &a->blocks[i].signature, &b->blocks[i].signature);
        same_buf(file, "format", &a->blocks[i].format, &b->blocks[i].format);
        same_buf(file, "block", &a->blocks[i].id, &b->blocks[i].id);
    }
    assert_int_equal(a->finish, b->finish);
    assert_true(a->usage.input == b->usage.input && a->usage.cached == b->usage.cached);
    assert_true(a->usage.output == b->usage.output && a->usage.reasoning == b->usage.reasoning);
    assert_true(a->usage.cost_nusd == b->usage.cost_nusd);
}

static const struct dialect_reply reply = {
    .id = SPAN_INIT("resp_1"), .model = SPAN_INIT("m"), .created = 1};

/* Reader -> writer -> reader, event by event as a call would; what the writer has collected is what
 * came.
 */
static void round_trip(const char *file, struct span rest, const struct chat_collect *want)
{
    struct dialect_writer *w = D.writer_new(&reply);
    struct dialect_reader *rd = D.reader_new();
    struct chat_collect again;
    struct chat_event ev;
    struct span line;
    struct err e;
    buf_clear(&out);
    chat_collect_init(&again, MIB(4));
    while (span_cut(&rest, '\n', &line)) {
        assert_true(D.reader_feed(rd, (struct span){0}, line, &e));
        while (D.reader_next(rd, &ev, &e) == DIALECT_EVENT)
            assert_true(D.write_event(w, &ev, &out, &e));
    }
    check_same(file, want, responses_collected(w));
    feed_lines_of(&D, buf_span(&out), NULL, &again);
    check_same(file, want, &again);
    chat_collect_done(&again);
    D.reader_free(rd);
    D.writer_free(w);
}

static void round_trip_body(const char *file, const struct chat_collect *want)
{
    struct dialect_reader *rd = D.reader_new();
    struct chat_collect again;
    struct err e;
    buf_clear(&out);
    chat_collect_init(&again, MIB(4));
    assert_true(D.write_unary(&reply, want, &out, &e));
    assert_true(D.reader_body(rd, buf_span(&out), &e));
    assert_true(drain_of(&D, rd, NULL, NULL, &again));
    check_same(file, want, &again);
    chat_collect_done(&again);
    D.reader_free(rd);
}

/* Cut at any byte it fails, and what came before is a beginning of the whole. */
static void check_cuts(const char *file, struct span s, const struct chat_collect *want)
{
    size_t last = span_index(s, SPAN("\"response.completed\""));
    size_t step = s.n < 4000 ? 1 : s.n / 40;
    for (size_t n = 0; n < last; n += step) {
        struct chat_collect c;
        chat_collect_init(&c, MIB(4));
        feed_lines_of(&D, span_upto(s, n), NULL, &c);
        if (c.ended || !span_starts(buf_span(&want->text), buf_span(&c.text)) ||
            !span_starts(buf_span(&want->reasoning), buf_span(&c.reasoning)))
            fail_msg("%s cut at %zu", file, n);
        chat_collect_done(&c);
    }
}

static void check_stream(const char *file, struct span s)
{
    struct chat_collect c;
    chat_collect_init(&c, MIB(4));
    feed_lines_of(&D, s, NULL, &c);
    check_sane(file, &c);
    check_known(file, &c);
    check_cuts(file, s, &c);
    round_trip(file, s, &c);
    round_trip_body(file, &c);
    chat_collect_done(&c);
}

/* A recording may hold several answers, one after the other. */
static void check_streams(const char *file)
{
    static const char begin[] = "\"type\":\"response.created\"";
    struct span rest = buf_span(&text);
    for (int i = 0; rest.n > 0; i++) {
        char name[300];
        size_t next = 1 + span_index(span_from(rest, 2), SPAN(begin));
        bool more = next + 1 < rest.n;
        snprintf(name, sizeof name, i > 0 || more ? "%s#%d" : "%s", file, i);
        check_stream(name, more ? span_upto(rest, next) : rest);
        rest = more ? span_from(rest, next) : span_from(rest, rest.n);
    }
}

static void check_body(const char *file)
{
    struct dialect_reader *rd = D.reader_new();
    struct chat_collect c;
    struct err e;
    chat_collect_init(&c, MIB(4));
    if (!D.reader_body(rd, buf_span(&text), &e))
        fail_msg("%s: %s", file, e.msg);
    assert_true(drain_of(&D, rd, NULL, NULL, &c));
    check_sane(file, &c);
    check_known(file, &c);
    round_trip_body(file, &c);
    D.reader_free(rd);
    chat_collect_done(&c);
}

static void check_error(const char *file)
{
    struct buf log;
    struct err e = {0};
    buf_init(&log, KIB(64));
    if (span_ends(span_of(file), SPAN(".json"))) {
        D.read_error(429, buf_span(&text), -1, &e);
        assert_true(e.cls == ERR_BUDGET || e.cls == ERR_BUSY);
    } else {
        feed_lines_of(&D, buf_span(&text), &log, NULL);
        assert_true(span_starts(buf_span(&log), SPAN("start:resp_")));
        assert_true(span_ends(buf_span(&log), SPAN(";fail:budget,upstream_credit,1")));
    }
    buf_done(&log);
}

static void check_file(const char *file)
{
    if (span_index(span_of(file), SPAN("error")) < strlen(file))
        check_error(file);
    else if (span_ends(span_of(file), SPAN(".chunks.txt")))
        check_streams(file);
    else
        check_body(file);
}

static void test_recordings(void **state)
{
    const char *shared = getenv("FUSOR_SHARED");
    size_t n = 0, bytes = 0;
    int64_t from = clock_mono_us();
    char path[1200];
    snprintf(path, sizeof path, "%s/data/provider-streams/openai/responses",
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
