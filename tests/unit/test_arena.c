/* tests/unit/test_arena.c - arenas: alignment, zeroing, the limit, cleanups, out of memory. */
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"

static void test_aligned_zeroed_apart(void **state)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 100, 4000, 4096, 4097, 70000, 3, 2u << 20, 1};
    AUTO(arena) a = arena_new(0);
    unsigned char *pieces[COUNT_OF(sizes)];
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        pieces[i] = arena_alloc(a, sizes[i]);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % alignof(max_align_t), 0);
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(pieces[i][k], 0);
        memset(pieces[i], (int)i + 1, sizes[i]);
    }
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(pieces[i][k], i + 1);
    assert_ptr_not_equal(pieces[0], pieces[1]);
}

static void test_limit(void **state)
{
    AUTO(arena) a = arena_new(1024);
    assert_int_equal(arena_used(a), 0);
    assert_null(arena_alloc(a, 1025));
    assert_null(arena_alloc(a, SIZE_MAX));
    assert_null(arena_alloc(a, SIZE_MAX - 15));
    assert_int_equal(arena_used(a), 0);
    assert_non_null(arena_alloc(a, 1000));
    assert_int_equal(arena_used(a), 1008);
    assert_null(arena_alloc(a, 17));
    assert_non_null(arena_alloc(a, 0));
    assert_int_equal(arena_used(a), 1024);
    assert_null(arena_alloc(a, 1));
    assert_null(arena_alloc(a, 0));
    assert_null(arena_dup(a, SPAN("")).p);
    assert_null(arena_printf(a, "x").p);
    assert_false(arena_defer(a, mem_free, NULL));
    AUTO(arena) wide = arena_new(SIZE_MAX);
    assert_null(arena_alloc(wide, SIZE_MAX));
    assert_null(arena_alloc(wide, SIZE_MAX / 2));
    assert_null(arena_dup(wide, (struct span){"", SIZE_MAX}).p);
    AUTO(arena) usual = arena_new(0);
    assert_null(arena_alloc(usual, LIMIT_ARENA_BYTES + 1));
    assert_non_null(arena_alloc(usual, 1));
}

static void test_array(void **state)
{
    AUTO(arena) a = arena_new(0);
    int *numbers = arena_array(a, 10, sizeof *numbers);
    assert_non_null(numbers);
    for (int i = 0; i < 10; i++)
        assert_int_equal(numbers[i], 0);
    assert_non_null(arena_array(a, 0, 8));
    assert_non_null(arena_array(a, 8, 0));
    assert_null(arena_array(a, SIZE_MAX, 2));
    assert_null(arena_array(a, SIZE_MAX / 8 + 2, 8));
}

static void test_text(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct span s = arena_dup(a, SPAN("a\0b"));
    assert_int_equal(s.n, 3);
    assert_memory_equal(s.p, "a\0b\0", 4);
    s = arena_dup(a, (struct span){NULL, 0});
    assert_non_null(s.p);
    assert_string_equal(s.p, "");
    assert_string_equal(arena_printf(a, "%s-%d", "x", 7).p, "x-7");
    static const int widths[] = {1, 254, 255, 256, 257, 5000};
    for (size_t i = 0; i < COUNT_OF(widths); i++) {
        s = arena_printf(a, "%0*d", widths[i], 9);
        assert_int_equal(s.n, widths[i]);
        assert_int_equal(strlen(s.p), widths[i]);
        assert_int_equal(s.p[s.n - 1], '9');
    }
}

static char order[8];

static void note(void *arg)
{
    order[strlen(order)] = *(const char *)arg;
}

static void test_cleanups_run_in_reverse(void **state)
{
    memset(order, 0, sizeof order);
    struct arena *a = arena_new(0);
    /* The argument lies in the arena itself: cleanups run before any of it goes. */
    assert_true(arena_defer(a, note, (void *)arena_dup(a, SPAN("a")).p));
    assert_true(arena_defer(a, note, (void *)arena_dup(a, SPAN("b")).p));
    assert_true(arena_defer(a, note, (void *)arena_dup(a, SPAN("c")).p));
    assert_string_equal(order, "");
    arena_free(a);
    assert_string_equal(order, "cba");
    arena_free(NULL);
}

static void test_many_small(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct rng r;
    rng_init(&r, 7);
    unsigned char *last = NULL;
    for (unsigned i = 0; i < 50000; i++) {
        size_t n = (size_t)rng_below(&r, 200) + 1;
        unsigned char *p = arena_alloc(a, n);
        assert_non_null(p);
        assert_int_equal(p[0] | p[n - 1], 0);
        memset(p, 0xFF, n);
        last = p;
    }
    assert_non_null(last);
}

static bool use_all(struct arena *a)
{
    return arena_alloc(a, 10) && arena_dup(a, SPAN("text")).p && arena_alloc(a, 5000) &&
           arena_array(a, 1000, 100) && arena_printf(a, "%03000d", 1).p &&
           arena_defer(a, note, &order[7]);
}

static void test_no_memory(void **state)
{
    bool done = false;
    for (unsigned long at = 1; !done; at++) {
        memset(order, 0, sizeof order);
        mem_fail_at(at);
        struct arena *a = arena_new(0);
        done = a && use_all(a);
        assert_int_equal(!done, mem_failed());
        mem_fail_at(0);
        if (a && !done)
            assert_true(use_all(a)); /* still good after a failure */
        arena_free(a);
        assert_true(at < 20);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aligned_zeroed_apart),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_array),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_cleanups_run_in_reverse),
        cmocka_unit_test(test_many_small),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
