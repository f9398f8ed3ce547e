/* tests/unit/test_span.c - spans: empty ones, NULL ones and ones with NULs inside most of all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/auto.h"
#include "base/span.h"

static const struct span none = {NULL, 0};

#define assert_span(s, lit) assert_true(span_eq((s), SPAN(lit)))

static int sign(int x)
{
    return (x > 0) - (x < 0);
}

static void test_make(void **state)
{
    static const struct span fixed = SPAN_INIT("a\0b");
    assert_int_equal(fixed.n, 3);
    assert_int_equal(span_of(NULL).n, 0);
    assert_int_equal(span_of("abc").n, 3);
    assert_span(span_make("abcd", 2), "ab");
}

static void test_compare(void **state)
{
    static const struct {
        struct span a, b;
        int order;
        bool nocase;
    } cases[] = {
        {SPAN_INIT("abc"), SPAN_INIT("abc"), 0, true},
        {SPAN_INIT("abc"), SPAN_INIT("abd"), -1, false},
        {SPAN_INIT("ab"), SPAN_INIT("abc"), -1, false},
        {SPAN_INIT("b"), SPAN_INIT("abc"), 1, false},
        {SPAN_INIT("\xFF"), SPAN_INIT("a"), 1, false},
        {SPAN_INIT("a\0x"), SPAN_INIT("a\0y"), -1, false},
        {SPAN_INIT("Content-TYPE"), SPAN_INIT("content-type"), -1, true},
        {SPAN_INIT("@"), SPAN_INIT("`"), -1, false},
        {SPAN_INIT("["), SPAN_INIT("{"), -1, false},
        {SPAN_INIT("\xC4"), SPAN_INIT("\xE4"), -1, false},
        {SPAN_INIT(""), {NULL, 0}, 0, true},
        {{NULL, 0}, SPAN_INIT("a"), -1, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(sign(span_cmp(cases[i].a, cases[i].b)), cases[i].order);
        assert_int_equal(sign(span_cmp(cases[i].b, cases[i].a)), -cases[i].order);
        assert_int_equal(span_eq(cases[i].a, cases[i].b), cases[i].order == 0);
        assert_int_equal(span_eq_nocase(cases[i].a, cases[i].b), cases[i].nocase);
        assert_int_equal(span_eq_nocase(cases[i].b, cases[i].a), cases[i].nocase);
    }
}

static void test_starts_and_ends(void **state)
{
    assert_true(span_starts(SPAN("abc"), SPAN("ab")));
    assert_true(span_starts(SPAN("abc"), SPAN("abc")));
    assert_true(span_starts(SPAN("abc"), none));
    assert_true(span_starts(none, none));
    assert_false(span_starts(SPAN("abc"), SPAN("b")));
    assert_false(span_starts(SPAN("ab"), SPAN("abc")));
    assert_true(span_ends(SPAN("abc"), SPAN("bc")));
    assert_true(span_ends(SPAN("abc"), SPAN("")));
    assert_true(span_ends(none, none));
    assert_false(span_ends(SPAN("abc"), SPAN("b")));
    assert_false(span_ends(SPAN("c"), SPAN("bc")));
}

static void test_parts(void **state)
{
    assert_span(span_from(SPAN("abc"), 0), "abc");
    assert_span(span_from(SPAN("abc"), 2), "c");
    assert_span(span_from(SPAN("abc"), 3), "");
    assert_span(span_from(SPAN("abc"), SIZE_MAX), "");
    struct span s = SPAN("abc");
    assert_ptr_equal(span_from(s, 9).p, s.p + 3);
    assert_span(span_from(none, 1), "");
    assert_span(span_upto(SPAN("abc"), 0), "");
    assert_span(span_upto(SPAN("abc"), 2), "ab");
    assert_span(span_upto(SPAN("abc"), SIZE_MAX), "abc");
    assert_span(span_upto(none, 1), "");
}

static void test_trim(void **state)
{
    static const struct {
        struct span in, want;
    } cases[] = {
        {SPAN_INIT(" \t\r\n a b \n"), SPAN_INIT("a b")},
        {SPAN_INIT("ab"), SPAN_INIT("ab")},
        {SPAN_INIT(" \t "), SPAN_INIT("")},
        {SPAN_INIT("\v\f"), SPAN_INIT("\v\f")},
        {SPAN_INIT("\0 "), SPAN_INIT("\0")},
        {{NULL, 0}, SPAN_INIT("")},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_true(span_eq(span_trim(cases[i].in), cases[i].want));
}

static void test_find(void **state)
{
    assert_int_equal(span_find(SPAN("ab\r\n"), "\r\n"), 2);
    assert_int_equal(span_find(SPAN("ab\n\r"), "\r\n"), 2);
    assert_int_equal(span_find(SPAN("\nab"), "\r\n"), 0);
    assert_int_equal(span_find(SPAN("ab"), "\r\n"), 2);
    assert_int_equal(span_find(SPAN("ab"), ""), 2);
    assert_int_equal(span_find(SPAN("a\0b"), "b"), 2);
    assert_int_equal(span_find(none, "x"), 0);
}

static void test_index(void **state)
{
    static const struct {
        struct span s, needle;
        size_t first, last;
    } cases[] = {
        {SPAN_INIT("abcabc"), SPAN_INIT("bc"), 1, 4},
        {SPAN_INIT("abcabc"), SPAN_INIT("abcabc"), 0, 0},
        {SPAN_INIT("abcabc"), SPAN_INIT("abcabcx"), 6, 6},
        {SPAN_INIT("abcabc"), SPAN_INIT("x"), 6, 6},
        {SPAN_INIT("abcabc"), SPAN_INIT(""), 0, 6},
        {SPAN_INIT("aaa"), SPAN_INIT("aa"), 0, 1},
        {SPAN_INIT("a\0b\0"), SPAN_INIT("\0"), 1, 3},
        {{NULL, 0}, SPAN_INIT("a"), 0, 0},
        {{NULL, 0}, {NULL, 0}, 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(span_index(cases[i].s, cases[i].needle), cases[i].first);
        assert_int_equal(span_rindex(cases[i].s, cases[i].needle), cases[i].last);
    }
}

static void test_cut(void **state)
{
    struct span s = SPAN("a,,bc"), head;
    assert_true(span_cut(&s, ',', &head));
    assert_span(head, "a");
    assert_true(span_cut(&s, ',', &head));
    assert_span(head, "");
    assert_true(span_cut(&s, ',', &head));
    assert_span(head, "bc");
    assert_span(s, "");
    assert_false(span_cut(&s, ',', &head));
    assert_span(head, "bc");
    s = SPAN("a,");
    assert_true(span_cut(&s, ',', &head));
    assert_span(head, "a");
    assert_false(span_cut(&s, ',', &head));
    s = none;
    assert_false(span_cut(&s, ',', &head));
}

static void test_to_i64(void **state)
{
    static const struct {
        struct span in;
        bool ok;
        int64_t want;
    } cases[] = {
        {SPAN_INIT("0"), true, 0},
        {SPAN_INIT("-0"), true, 0},
        {SPAN_INIT("007"), true, 7},
        {SPAN_INIT("-42"), true, -42},
        {SPAN_INIT("9223372036854775807"), true, INT64_MAX},
        {SPAN_INIT("-9223372036854775808"), true, INT64_MIN},
        {SPAN_INIT("9223372036854775808"), false, 0},
        {SPAN_INIT("-9223372036854775809"), false, 0},
        {SPAN_INIT("99999999999999999999"), false, 0},
        {SPAN_INIT(""), false, 0},
        {SPAN_INIT("-"), false, 0},
        {SPAN_INIT("--1"), false, 0},
        {SPAN_INIT("+1"), false, 0},
        {SPAN_INIT(" 1"), false, 0},
        {SPAN_INIT("1 "), false, 0},
        {SPAN_INIT("1.0"), false, 0},
        {SPAN_INIT("0x1"), false, 0},
        {SPAN_INIT("1\0"), false, 0},
        {{NULL, 0}, false, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t out = 77;
        assert_int_equal(span_to_i64(cases[i].in, &out), cases[i].ok);
        assert_true(out == (cases[i].ok ? cases[i].want : 77));
    }
}

static void test_hash(void **state)
{
    assert_true(span_hash(SPAN("abc"), 1) == span_hash(SPAN("abc"), 1));
    assert_true(span_hash(SPAN("abc"), 1) != span_hash(SPAN("abc"), 2));
    assert_true(span_hash(SPAN("abc"), 1) != span_hash(SPAN("abd"), 1));
    assert_true(span_hash(SPAN("a"), 1) != span_hash(SPAN("a\0"), 1));
    assert_true(span_hash(none, 3) == span_hash(SPAN(""), 3));
    /* The low bits choose a map's slot: 256 short keys must fill a good part of 256 slots. */
    bool seen[256] = {false};
    int filled = 0;
    for (int i = 0; i < 256; i++) {
        char c = (char)i;
        uint64_t slot = span_hash(span_make(&c, 1), 0) & 255;
        filled += !seen[slot];
        seen[slot] = true;
    }
    assert_true(filled > 128);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_make),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_starts_and_ends),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_index),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_to_i64),
        cmocka_unit_test(test_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
