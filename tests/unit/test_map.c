/* tests/unit/test_map.c - the hash map: order, replacing, many keys, running out of memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/map.h"
#include "base/mem.h"

enum { MANY = 20000 };

static struct item {
    char name[16];
} items[MANY];

static struct span name_of(size_t i)
{
    snprintf(items[i].name, sizeof items[i].name, "key-%zu", i);
    return span_of(items[i].name);
}

static void test_empty(void **state)
{
    AUTO(map) m = map_new();
    assert_non_null(m);
    assert_int_equal(map_count(m), 0);
    assert_null(map_get(m, SPAN("a")));
    assert_null(map_get(NULL, SPAN("a")));
    assert_int_equal(map_count(NULL), 0);
    map_free(NULL);
}

static void test_put_get_replace(void **state)
{
    AUTO(map) m = map_new();
    int one = 1, two = 2, three = 3;
    assert_true(map_put(m, SPAN("a"), &one));
    assert_true(map_put(m, SPAN("a\0"), &two));
    assert_true(map_put(m, (struct span){NULL, 0}, &three));
    assert_ptr_equal(map_get(m, SPAN("a")), &one);
    assert_ptr_equal(map_get(m, SPAN("a\0")), &two);
    assert_ptr_equal(map_get(m, SPAN("")), &three);
    assert_null(map_get(m, SPAN("A")));
    /* The old key goes with the old value: only the new one may be looked at from now on. */
    char *key = mem_dup("b", 1);
    char *again = mem_dup("b", 1);
    assert_true(map_put(m, span_of(key), &one));
    assert_true(map_put(m, span_of(again), &two));
    mem_free(key);
    assert_ptr_equal(map_get(m, SPAN("b")), &two);
    assert_int_equal(map_count(m), 4);
    struct span k;
    assert_ptr_equal(map_at(m, 3, &k), &two);
    assert_ptr_equal(k.p, again);
    assert_ptr_equal(map_at(m, 0, NULL), &one);
    mem_free(again);
}

static void test_many_in_order(void **state)
{
    AUTO(map) m = map_new();
    for (size_t i = 0; i < MANY; i++) {
        assert_true(map_put(m, name_of(i), &items[i]));
        assert_int_equal(map_count(m), i + 1);
    }
    for (size_t i = 0; i < MANY; i++) {
        struct span key;
        assert_ptr_equal(map_at(m, i, &key), &items[i]);
        assert_true(span_eq(key, span_of(items[i].name)));
        char copy[16];
        memcpy(copy, items[i].name, sizeof copy);
        assert_ptr_equal(map_get(m, span_of(copy)), &items[i]);
    }
    assert_null(map_get(m, SPAN("key-20000")));
}

static bool fill(struct map *m)
{
    for (size_t i = 0; i < 100; i++)
        if (!map_put(m, name_of(i), &items[i]))
            return false;
    return true;
}

static void test_no_memory(void **state)
{
    bool done = false;
    for (unsigned long at = 1; !done; at++) {
        mem_fail_at(at);
        AUTO(map) m = map_new();
        done = m && fill(m);
        assert_int_equal(!done, mem_failed());
        mem_fail_at(0);
        size_t n = map_count(m);
        for (size_t i = 0; i < 100; i++)
            assert_ptr_equal(map_get(m, name_of(i)), i < n ? &items[i] : NULL);
        if (m && !done)
            assert_true(fill(m));
        assert_int_equal(map_count(m), m ? 100 : 0);
        assert_true(at < 30);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_put_get_replace),
        cmocka_unit_test(test_many_in_order),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
