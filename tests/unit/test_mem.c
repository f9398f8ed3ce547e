/* tests/unit/test_mem.c - the door to malloc, and the switch that makes it fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"

static void test_sizes(void **state)
{
    static const size_t sizes[] = {0, 1, 7, 4096, 1 << 20};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        char *p = mem_alloc(sizes[i]);
        char *z = mem_zalloc(sizes[i]);
        assert_non_null(p);
        assert_non_null(z);
        memset(p, 'x', sizes[i]);
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(z[k], 0);
        mem_free(p);
        mem_free(z);
    }
    mem_free(NULL);
}

static void test_impossible_sizes(void **state)
{
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2, PTRDIFF_MAX};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        assert_null(mem_alloc(sizes[i]));
        assert_null(mem_zalloc(sizes[i]));
        assert_null(mem_realloc(NULL, sizes[i]));
        assert_null(mem_dup("x", sizes[i]));
    }
}

static void test_realloc_keeps(void **state)
{
    char *p = mem_realloc(NULL, 3);
    assert_non_null(p);
    memcpy(p, "abc", 3);
    char *q = mem_realloc(p, 100000);
    assert_non_null(q);
    assert_memory_equal(q, "abc", 3);
    assert_null(mem_realloc(q, SIZE_MAX));
    assert_memory_equal(q, "abc", 3);
    p = mem_realloc(q, 0);
    assert_non_null(p);
    mem_free(p);
}

static void test_dup(void **state)
{
    char *p = mem_dup("a\0b", 3);
    assert_memory_equal(p, "a\0b\0", 4);
    mem_free(p);
    p = mem_dup(NULL, 0);
    assert_string_equal(p, "");
    mem_free(p);
}

static void test_fail_at(void **state)
{
    for (unsigned long at = 1; at <= 4; at++) {
        void *kept = mem_alloc(1);
        mem_fail_at(at);
        void *p[4];
        p[0] = mem_alloc(1);
        p[1] = mem_zalloc(1);
        p[2] = mem_realloc(kept, 2);
        assert_int_equal(mem_failed(), at < 4);
        p[3] = mem_dup("x", 1);
        for (unsigned long i = 0; i < 4; i++)
            assert_int_equal(p[i] == NULL, i + 1 == at);
        assert_true(mem_failed());
        void *after = mem_alloc(1);
        assert_non_null(after);
        mem_free(after);
        if (!p[2])
            mem_free(kept);
        for (size_t i = 0; i < 4; i++)
            mem_free(p[i]);
    }
    mem_fail_at(1);
    assert_false(mem_failed());
    mem_fail_at(0);
    void *p = mem_alloc(1);
    assert_non_null(p);
    assert_false(mem_failed());
    mem_free(p);
}

/* How much stays is the C library's business; that all goes on working is ours. */
static void test_keep_freed(void **state)
{
    static const size_t sizes[] = {1, MIB(1) - 1, MIB(1), MIB(3)};
    mem_keep_freed(MIB(2), MIB(1));
    for (size_t i = 0; i < 2 * COUNT_OF(sizes); i++) {
        size_t n = sizes[i % COUNT_OF(sizes)];
        char *p = mem_alloc(n);
        assert_non_null(p);
        memset(p, 'x', n);
        p = mem_realloc(p, 2 * n);
        assert_non_null(p);
        assert_true(p[0] == 'x' && p[n - 1] == 'x');
        mem_free(p);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),         cmocka_unit_test(test_impossible_sizes),
        cmocka_unit_test(test_realloc_keeps), cmocka_unit_test(test_dup),
        cmocka_unit_test(test_fail_at),       cmocka_unit_test(test_keep_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
