/* test_sse.c - every case is cut at every byte: where a packet ends must never show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/sse.h"

static const struct {
    const char *name, *in, *want;
} cases[] = {
    {"type is per event", "event: x\nevent: y\ndata: 1\n\ndata: 2\n\n", "y|1;|2;"},
    {"data lines joined", "data: a\r\ndata:b\r\n\r\n", "|a\nb;"},
    {"lone CR ends", "data: a\r\rdata: b\r\r", "|a;|b;"},
    {"comment, no data", ": ping\n\nevent: x\n\ndata\n\n", "|;"},
    {"mark at start only",
     "\xEF\xBB\xBF"
     "data: a\n\n\xEF\xBB\xBF"
     "data: b\n\n",
     "|a;"},
    {"cut off at the end", "data: a\n", ""},
    {"keep-alive between events", "data: a\n\n: ka\ndata: b\n\n: ka\n", "|a;|b;"},
    {"keep-alive inside an event", "data: a\n\nevent: x\n: ka\ndata: b\n\n", "|a;x|b;"},
    {"id and retry are dropped", "id: 7\nretry: 9\ndata: a\n\nid: 8\ndata: b\n\n", "|a;|b;"},
    {"CRLF events", "data: a\r\n\r\nevent: e\r\ndata: b\r\n\r\n", "|a;e|b;"},
    {"one space only is cut", "data:  a\n\ndata:   b\n\n", "| a;|  b;"},
    {"colon in the value", "data: {\"a\":\"b:c\"}\n\ndata: d:e\n\n", "|{\"a\":\"b:c\"};|d:e;"},
    {"empty data", "data: a\n\ndata:\n\ndata: \n\n", "|a;|;|;"},
    {"empty type", "data: a\n\nevent:\ndata: b\n\n", "|a;|b;"},
    {"unknown fields", "data: a\n\ndatax: 1\nDATA: 2\n data: 3\n\ndata: b\n\n", "|a;|b;"},
    {"mixed line ends", "data: a\n\r\ndata: b\r\n\ndata: c\r\n\rdata: d\n\n", "|a;|b;|c;|d;"},
    {"three data lines late", "data: a\n\ndata: 1\ndata: 2\ndata\n\n", "|a;|1\n2\n;"},
    {"type without data goes", "data: a\n\nevent: x\n\ndata: b\n\n", "|a;|b;"},
    {"done mark", "data: {}\n\ndata: [DONE]\n\n", "|{};|[DONE];"},
    {"only line ends", "\n\r\n\r\r\n\n", ""},
};

static enum sse_status feed(struct sse *s, struct span in, struct buf *out, struct err *e)
{
    struct sse_event ev;
    enum sse_status st;
    while ((st = sse_next(s, &in, &ev, e)) == SSE_EVENT) {
        assert_true(buf_add(out, ev.type, e));
        assert_true(buf_add_char(out, '|', e));
        assert_true(buf_add(out, ev.data, e));
        assert_true(buf_add_char(out, ';', e));
    }
    if (st == SSE_MORE)
        assert_int_equal(in.n, 0);
    return st;
}

static void expect(const char *name, struct buf *out, const char *want)
{
    if (!span_eq(buf_span(out), span_of(want)))
        fail_msg("%s: got '%.*s'", name, SPAN_ARG(buf_span(out)));
    buf_done(out);
}

static void test_cut_at_every_byte(void **state)
{
    struct err e = {0};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct span in = span_of(cases[i].in);
        for (size_t cut = 0; cut <= in.n; cut++) {
            AUTO(sse) s = sse_new(64);
            struct buf out;
            buf_init(&out, 256);
            assert_int_equal(feed(s, span_upto(in, cut), &out, &e), SSE_MORE);
            assert_int_equal(feed(s, span_from(in, cut), &out, &e), SSE_MORE);
            expect(cases[i].name, &out, cases[i].want);
        }
        AUTO(sse) s = sse_new(64);
        struct buf out;
        buf_init(&out, 256);
        for (size_t at = 0; at < in.n; at++)
            assert_int_equal(feed(s, span_make(in.p + at, 1), &out, &e), SSE_MORE);
        expect(cases[i].name, &out, cases[i].want);
    }
}

/* The input lies against a page that may not be read. */
static void test_reads_nothing_behind(void **state)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *mem = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(mem, MAP_FAILED);
    assert_int_equal(mprotect(mem + page, page, PROT_NONE), 0);
    struct err e = {0};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct span in = span_of(cases[i].in);
        char *at = mem + page - in.n;
        memcpy(at, in.p, in.n);
        AUTO(sse) s = sse_new(64);
        struct buf out;
        buf_init(&out, 256);
        assert_int_equal(feed(s, span_make(at, in.n), &out, &e), SSE_MORE);
        expect(cases[i].name, &out, cases[i].want);
    }
    munmap(mem, 2 * page);
}

static void test_whole_event_is_lent(void **state)
{
    struct err e = {0};
    struct sse_event ev;
    AUTO(sse) s = sse_new(64);
    struct span in = SPAN("data: first\n\nevent: x\ndata: second\n\n");
    const char *from = in.p, *to = in.p + in.n;
    assert_int_equal(sse_next(s, &in, &ev, &e), SSE_EVENT);
    assert_int_equal(sse_next(s, &in, &ev, &e), SSE_EVENT);
    assert_true(ev.data.p >= from && ev.data.p < to);
    assert_true(span_eq(ev.type, SPAN("x")));
    assert_int_equal(sse_next(s, &in, &ev, &e), SSE_MORE);
}

static void test_limits(void **state)
{
    static const struct {
        const char *in;
        bool ok;
    } lim[] = {
        {"data: 123456789\n\n", false},
        {"data: 12\n\n", true},
        {"data:1\ndata:2\ndata:3\ndata:4\n\n", true},
        {"data:1\ndata:2\ndata:3\ndata:4\ndata:5\n\n", false},
        {": 123456789\n", false},
    };
    for (size_t i = 0; i < COUNT_OF(lim); i++)
        for (int warm = 0; warm < 2; warm++) {
            struct err e = {0};
            struct sse_event ev;
            AUTO(sse) s = sse_new(8);
            if (warm) { /* the lending path comes after the first line */
                struct span first = SPAN("data:a\n\n");
                assert_int_equal(sse_next(s, &first, &ev, &e), SSE_EVENT);
            }
            struct span in = span_of(lim[i].in);
            enum sse_status st = sse_next(s, &in, &ev, &e);
            assert_int_equal(st, lim[i].ok ? SSE_EVENT : SSE_FAIL);
            if (lim[i].ok)
                continue;
            assert_int_equal(e.cls, ERR_LIMIT);
            assert_int_equal(sse_next(s, &in, &ev, &e), SSE_FAIL);
            assert_int_equal(e.cls, ERR_STATE);
        }
}

static void test_every_allocation_fails_once(void **state)
{
    for (unsigned long n = 1;; n++) {
        struct err e = {0};
        mem_fail_at(n);
        AUTO(sse) s = sse_new(1000);
        enum sse_status st = SSE_FAIL;
        e.cls = ERR_NOMEM;
        if (s != NULL) {
            struct span in = SPAN("event: x\ndata: a\ndata: b\n\n");
            struct sse_event ev;
            st = sse_next(s, &in, &ev, &e);
        }
        bool hit = mem_failed();
        mem_fail_at(0);
        assert_int_equal(st, hit ? SSE_FAIL : SSE_EVENT);
        assert_int_equal(e.cls, ERR_NOMEM);
        if (!hit)
            break;
    }
}

static void test_writing(void **state)
{
    struct err e = {0};
    struct buf out;
    buf_init(&out, 64);
    assert_true(sse_begin(&out, NULL, &e) && buf_add(&out, SPAN("{}"), &e) && sse_end(&out, &e));
    assert_true(sse_begin(&out, "ping", &e) && buf_add(&out, SPAN("1"), &e) && sse_end(&out, &e));
    assert_true(buf_add(&out, SSE_KEEPALIVE, &e));
    assert_true(span_eq(buf_span(&out), SPAN("data: {}\n\nevent: ping\ndata: 1\n\n: ka\n")));
    buf_done(&out);
    buf_init(&out, 10);
    assert_false(sse_begin(&out, "ping", &e));
    assert_int_equal(out.n, 0);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_reads_nothing_behind),
        cmocka_unit_test(test_whole_event_is_lent),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_every_allocation_fails_once),
        cmocka_unit_test(test_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
