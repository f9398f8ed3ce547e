/* tests/unit/test_buf.c - the bounded buffer: limits, running out of memory, and a long life. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"

static void assert_holds(const struct buf *b, struct span want)
{
    assert_true(span_eq(buf_span(b), want));
}

static void test_add(void **state)
{
    struct buf b;
    struct err e;
    buf_init(&b, 100);
    assert_holds(&b, SPAN(""));
    assert_true(buf_add(&b, SPAN(""), &e));
    assert_true(buf_add(&b, (struct span){NULL, 0}, &e));
    assert_true(buf_add(&b, SPAN("a\0b"), &e));
    assert_true(buf_add_char(&b, '-', &e));
    assert_true(buf_addf(&b, &e, "%d%s", 42, "!"));
    assert_true(buf_addf(&b, &e, "%s", ""));
    assert_holds(&b, SPAN("a\0b-42!"));
    buf_clear(&b);
    assert_holds(&b, SPAN(""));
    assert_true(buf_add(&b, SPAN("x"), &e));
    assert_holds(&b, SPAN("x"));
    buf_done(&b);
    buf_done(&b);
}

/* Every limit from one byte up is exact for each way of adding, and going over changes nothing. */
static void test_limit_is_exact(void **state)
{
    static const size_t maxima[] = {1, 2, 255, 256, 257, 511, 1000};
    char text[1024];
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < COUNT_OF(maxima); i++) {
        size_t max = maxima[i];
        for (int way = 0; way < 3; way++) {
            struct buf b;
            struct err e = {0};
            char *p;
            buf_init(&b, max);
            assert_true(buf_add(&b, span_make(text, max - 1), &e));
            assert_false(buf_add(&b, span_make(text, 2), &e));
            assert_int_equal(e.cls, ERR_LIMIT);
            assert_false(buf_addf(&b, &e, "%s", "ab"));
            assert_false(buf_room(&b, 2, &p, &e));
            assert_int_equal(buf_span(&b).n, max - 1);
            if (way == 0)
                assert_true(buf_add_char(&b, 'y', &e));
            else if (way == 1)
                assert_true(buf_addf(&b, &e, "%c", 'y'));
            else
                assert_true(buf_add(&b, SPAN("y"), &e));
            assert_false(buf_add_char(&b, 'z', &e));
            assert_false(buf_add(&b, span_make(text, SIZE_MAX), &e));
            assert_true(buf_addf(&b, &e, "%s", ""));
            assert_int_equal(buf_span(&b).n, max);
            assert_int_equal(buf_span(&b).p[max - 1], 'y');
            buf_eat(&b, 1);
            assert_true(buf_add_char(&b, 'z', &e));
            assert_false(buf_add_char(&b, 'z', &e));
            buf_done(&b);
        }
    }
}

static void test_huge_limit(void **state)
{
    struct buf b;
    struct err e = {0};
    char *p;
    buf_init(&b, SIZE_MAX);
    assert_true(buf_add(&b, SPAN("abc"), &e));
    assert_false(buf_room(&b, SIZE_MAX, &p, &e));
    assert_int_equal(e.cls, ERR_LIMIT);
    assert_holds(&b, SPAN("abc"));
    buf_done(&b);
}

static void test_room(void **state)
{
    struct buf b;
    struct err e = {0};
    char *p = NULL;
    buf_init(&b, 1000);
    assert_true(buf_room(&b, 0, &p, &e));
    assert_non_null(p);
    assert_true(buf_room(&b, 1000, &p, &e));
    memset(p, 'r', 1000);
    buf_grew(&b, 0);
    assert_holds(&b, SPAN(""));
    buf_grew(&b, 1000);
    assert_int_equal(buf_span(&b).n, 1000);
    buf_done(&b);
}

static void test_eat_and_cut(void **state)
{
    struct buf b;
    struct err e;
    buf_init(&b, 100);
    assert_true(buf_add(&b, SPAN("abcdef"), &e));
    buf_eat(&b, 0);
    buf_eat(&b, 2);
    assert_holds(&b, SPAN("cdef"));
    buf_cut(&b, 9);
    buf_cut(&b, 3);
    assert_holds(&b, SPAN("cde"));
    assert_true(buf_add(&b, SPAN("x"), &e));
    assert_holds(&b, SPAN("cdex"));
    buf_cut(&b, 0);
    assert_holds(&b, SPAN(""));
    assert_true(buf_add(&b, SPAN("yz"), &e));
    assert_holds(&b, SPAN("yz"));
    buf_eat(&b, SIZE_MAX);
    assert_holds(&b, SPAN(""));
    buf_eat(&b, 1);
    buf_done(&b);
}

static void test_long_format(void **state)
{
    struct buf b;
    struct err e;
    buf_init(&b, KIB(64));
    for (int width = 1; width < 5000; width += 37) {
        buf_clear(&b);
        assert_true(buf_add(&b, SPAN("head"), &e));
        assert_true(buf_addf(&b, &e, "%0*d", width, 7));
        struct span s = buf_span(&b);
        assert_int_equal(s.n, 4 + width);
        assert_int_equal(s.p[s.n - 1], '7');
        assert_true(span_starts(s, SPAN("head")));
    }
    buf_done(&b);
}

/* A random life of adding, eating and cutting against a plain model of it. */
static void test_random_life(void **state)
{
    enum { MAX = 700 };
    char model[MAX];
    size_t n = 0;
    struct buf b;
    struct err e;
    struct rng r;
    rng_init(&r, 1);
    buf_init(&b, MAX);
    for (int step = 0; step < 50000; step++) {
        size_t k = (size_t)rng_below(&r, step % 2 ? 300 : 30);
        char fill[300];
        memset(fill, 'a' + step % 26, sizeof fill);
        switch (rng_below(&r, 4)) {
        case 0:
        case 1:
            assert_int_equal(buf_add(&b, span_make(fill, k), &e), n + k <= MAX);
            if (n + k > MAX)
                break;
            memcpy(model + n, fill, k);
            n += k;
            break;
        case 2:
            buf_eat(&b, k);
            k = k < n ? k : n;
            memmove(model, model + k, n - k);
            n -= k;
            break;
        case 3:
            n = k % 7 == 0 && k < n ? k : n;
            buf_cut(&b, n);
            break;
        }
        assert_holds(&b, span_make(model, n));
        assert_true(b.cap <= MAX + 1);
    }
    buf_done(&b);
}

/* A stream that never holds much must not make the buffer grow. */
static void test_memory_is_reused(void **state)
{
    struct buf b;
    struct err e;
    buf_init(&b, MIB(64));
    for (int i = 0; i < 100000; i++) {
        assert_true(buf_add(&b, SPAN("0123456789abcdef0123456789abcdef"), &e));
        buf_eat(&b, i == 0 ? 31 : 32);
    }
    assert_int_equal(buf_span(&b).n, 1);
    assert_true(b.cap <= 1024);
    buf_done(&b);
}

static bool fill_up(struct buf *b, struct err *e)
{
    char *p;
    bool ok = buf_add(b, SPAN("abc"), e) && buf_addf(b, e, "%0300d", 1) && buf_room(b, 2000, &p, e);
    if (ok)
        *p = 'q';
    return ok && buf_add_char(b, 'd', e);
}

static void test_no_memory(void **state)
{
    bool done = false;
    for (unsigned long at = 1; !done; at++) {
        struct buf b;
        struct err e = {0};
        buf_init(&b, 100000);
        mem_fail_at(at);
        done = fill_up(&b, &e);
        assert_int_equal(!done, mem_failed());
        mem_fail_at(0);
        if (!done) {
            assert_int_equal(e.cls, ERR_NOMEM);
            size_t n = buf_span(&b).n;
            assert_true(n == 0 || n == 3 || n == 303);
            buf_clear(&b);
            assert_true(fill_up(&b, &e));
        }
        assert_int_equal(buf_span(&b).n, 304);
        buf_done(&b);
        assert_true(at < 10);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),         cmocka_unit_test(test_limit_is_exact),
        cmocka_unit_test(test_huge_limit),  cmocka_unit_test(test_room),
        cmocka_unit_test(test_eat_and_cut), cmocka_unit_test(test_long_format),
        cmocka_unit_test(test_random_life), cmocka_unit_test(test_memory_is_reused),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
