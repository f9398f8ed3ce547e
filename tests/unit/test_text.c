/* tests/unit/test_text.c - UTF-8 at its edges, visible controls, near names, columns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"

static const struct {
    struct span s;
    bool ok;
} utf8[] = {
    {{NULL, 0}, true},
    {SPAN_INIT("plain, and longer than eight bytes"), true},
    {SPAN_INIT("\0"), true},
    {SPAN_INIT("\x7F"), true},
    {SPAN_INIT("\xC2\x80"), true},
    {SPAN_INIT("\xDF\xBF"), true},
    {SPAN_INIT("\xE0\xA0\x80"), true},
    {SPAN_INIT("\xED\x9F\xBF"), true},
    {SPAN_INIT("\xEE\x80\x80"), true},
    {SPAN_INIT("\xEF\xBF\xBF"), true},
    {SPAN_INIT("\xF0\x90\x80\x80"), true},
    {SPAN_INIT("\xF4\x8F\xBF\xBF"), true},
    {SPAN_INIT("12345678\xE2\x82\xAC"
               "12345678\xE2\x82\xAC"),
     true},
    {SPAN_INIT("\x80"), false},
    {SPAN_INIT("\xBF"), false},
    {SPAN_INIT("\xC0\x80"), false},
    {SPAN_INIT("\xC1\xBF"), false},
    {SPAN_INIT("\xC2"), false},
    {SPAN_INIT("\xC2\x41"), false},
    {SPAN_INIT("\xC2\xC2"), false},
    {SPAN_INIT("\xE0\x9F\xBF"), false},
    {SPAN_INIT("\xE0\x80\x80"), false},
    {SPAN_INIT("\xED\xA0\x80"), false},
    {SPAN_INIT("\xED\xBF\xBF"), false},
    {SPAN_INIT("\xE2\x82"), false},
    {SPAN_INIT("\xE2\x82\x41"), false},
    {SPAN_INIT("\xE2\x82\xC0"), false},
    {SPAN_INIT("\xF0\x8F\xBF\xBF"), false},
    {SPAN_INIT("\xF4\x90\x80\x80"), false},
    {SPAN_INIT("\xF5\x80\x80\x80"), false},
    {SPAN_INIT("\xF0\x90\x80"), false},
    {SPAN_INIT("\xF8\x88\x80\x80\x80"), false},
    {SPAN_INIT("\xFE"), false},
    {SPAN_INIT("\xFF"), false},
    {SPAN_INIT("12345678\xFF"), false},
    {SPAN_INIT("1234567\xFF"
               "12345678"),
     false},
};

static void test_is_utf8(void **state)
{
    for (size_t i = 0; i < COUNT_OF(utf8); i++) {
        assert_int_equal(text_is_utf8(utf8[i].s), utf8[i].ok);
        /* In memory of exactly its size, so that reading beyond the end is seen. */
        char *p = mem_dup(utf8[i].s.p, utf8[i].s.n);
        p = mem_realloc(p, utf8[i].s.n);
        assert_non_null(p);
        assert_int_equal(text_is_utf8(span_make(p, utf8[i].s.n)), utf8[i].ok);
        mem_free(p);
    }
}

static void test_upto(void **state)
{
    static const struct {
        struct span s;
        size_t n, want;
    } cases[] = {
        {SPAN_INIT("abc"), 0, 0},
        {SPAN_INIT("abc"), 2, 2},
        {SPAN_INIT("abc"), 3, 3},
        {SPAN_INIT("abc"), 99, 3},
        {{NULL, 0}, 5, 0},
        {SPAN_INIT("a\xC3\xA9z"), 1, 1},
        {SPAN_INIT("a\xC3\xA9z"), 2, 1},
        {SPAN_INIT("a\xC3\xA9z"), 3, 3},
        {SPAN_INIT("\xE2\x82\xACz"), 1, 0},
        {SPAN_INIT("\xE2\x82\xACz"), 2, 0},
        {SPAN_INIT("\xE2\x82\xACz"), 3, 3},
        {SPAN_INIT("a\xF0\x9F\x98\x80z"), 2, 1},
        {SPAN_INIT("a\xF0\x9F\x98\x80z"), 3, 1},
        {SPAN_INIT("a\xF0\x9F\x98\x80z"), 4, 1},
        {SPAN_INIT("a\xF0\x9F\x98\x80z"), 5, 5},
        {SPAN_INIT("\x80\x80\x80\x80\x80\x80"), 5, 5}, /* nothing whole to split */
        {SPAN_INIT("\xE2\x41z"), 1, 1},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(text_upto(cases[i].s, cases[i].n).n, cases[i].want);
    /* Any cut of whole text is whole text. */
    struct span s = SPAN("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z\xF0\x9F\x98\x80\xE2\x82\xAC");
    for (size_t n = 0; n <= s.n; n++) {
        struct span cut = text_upto(s, n);
        assert_true(text_is_utf8(cut) && cut.n <= n && cut.n + 3 >= n);
    }
}

static const struct {
    struct span in;
    const char *line, *lines;
} visible[] = {
    {{NULL, 0}, "", ""},
    {SPAN_INIT("plain \\x text"), "plain \\x text", "plain \\x text"},
    {SPAN_INIT("a\nb\tc\rd"), "a\\x0Ab\\x09c\\x0Dd", "a\nb\tc\\x0Dd"},
    {SPAN_INIT("\0\x1B[0m\x7F"), "\\x00\\x1B[0m\\x7F", "\\x00\\x1B[0m\\x7F"},
    {SPAN_INIT("\xC2\x80\xC2\x9F\xC2\xA0"), "\\u{0080}\\u{009F}\xC2\xA0",
     "\\u{0080}\\u{009F}\xC2\xA0"},
    {SPAN_INIT("\xD8\x9C\xE2\x80\x8E\xE2\x80\x8F"), "\\u{061C}\\u{200E}\\u{200F}",
     "\\u{061C}\\u{200E}\\u{200F}"},
    {SPAN_INIT("\xE2\x80\xA9\xE2\x80\xAA\xE2\x80\xAE\xE2\x80\xAF"),
     "\xE2\x80\xA9\\u{202A}\\u{202E}\xE2\x80\xAF", "\xE2\x80\xA9\\u{202A}\\u{202E}\xE2\x80\xAF"},
    {SPAN_INIT("\xE2\x81\xA6\xE2\x81\xA9"), "\\u{2066}\\u{2069}", "\\u{2066}\\u{2069}"},
    {SPAN_INIT("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"), "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80",
     "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"},
    {SPAN_INIT("\xFF\xC3(\xE2\x82\xED\xA0\x80"), "\\xFF\\xC3(\\xE2\\x82\\xED\\xA0\\x80",
     "\\xFF\\xC3(\\xE2\\x82\\xED\\xA0\\x80"},
};

static void test_visible(void **state)
{
    for (size_t i = 0; i < COUNT_OF(visible); i++) {
        struct buf b;
        struct err e;
        char out[100];
        buf_init(&b, 1000);
        assert_true(text_visible(&b, visible[i].in, false, &e));
        assert_true(span_eq(buf_span(&b), span_of(visible[i].line)));
        buf_clear(&b);
        assert_true(text_visible(&b, visible[i].in, true, &e));
        assert_true(span_eq(buf_span(&b), span_of(visible[i].lines)));
        text_visible_cstr(out, sizeof out, visible[i].in);
        assert_string_equal(out, visible[i].line);
        buf_done(&b);
    }
}

static void test_visible_fails_whole(void **state)
{
    struct buf b;
    struct err e = {0};
    buf_init(&b, 10);
    assert_true(buf_add(&b, SPAN("kept"), &e));
    assert_false(text_visible(&b, SPAN("ab\x01\x02"), false, &e));
    assert_int_equal(e.cls, ERR_LIMIT);
    assert_true(span_eq(buf_span(&b), SPAN("kept")));
    buf_done(&b);
}

static void test_visible_cstr_cuts(void **state)
{
    static const struct {
        size_t cap;
        const char *in, *want;
    } cases[] = {
        {1, "", ""},
        {1, "a", ""},
        {2, "a", "a"},
        {2, "ab", "."},
        {3, "abc", ".."},
        {4, "abc", "abc"},
        {4, "abcd", "..."},
        {5, "abcde", "a..."},
        {6, "abcde", "abcde"},
        {8, "ab\ncd", "ab..."},
        {9, "ab\ncd", "ab\\x0Acd"},
        {10, "ab\ncdef", "ab\\x0A..."},
        {6, "a\xC3\xA9xyz", "a..."},
        {7, "a\xC3\xA9xyz", "a\xC3\xA9xyz"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *out = mem_alloc(cases[i].cap);
        text_visible_cstr(out, cases[i].cap, span_of(cases[i].in));
        assert_string_equal(out, cases[i].want);
        mem_free(out);
    }
    char untouched = '#';
    text_visible_cstr(&untouched, 0, SPAN("abc"));
    assert_int_equal(untouched, '#');
}

static void test_distance(void **state)
{
    static const struct {
        const char *a, *b;
        unsigned cap, want;
    } cases[] = {
        {"", "", 3, 0},
        {"", "abc", 3, 3},
        {"", "abc", 2, 3},
        {"same", "same", 0, 0},
        {"same", "sane", 0, 1},
        {"kitten", "sitting", 5, 3},
        {"kitten", "sitting", 2, 3},
        {"gpt", "gtp", 3, 1},
        {"ab", "ba", 3, 1},
        {"ca", "abc", 5, 3},
        {"abcdef", "badcfe", 5, 3},
        {"mistral-small", "mistral-smal", 3, 1},
        {"max_tokens", "maxtokens", 3, 1},
        {"x", "abcdefgh", 2, 3},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct span a = span_of(cases[i].a), b = span_of(cases[i].b);
        assert_int_equal(text_distance(a, b, cases[i].cap), cases[i].want);
        assert_int_equal(text_distance(b, a, cases[i].cap), cases[i].want);
    }
    char x[65], y[65];
    memset(x, 'x', sizeof x);
    memset(y, 'y', sizeof y);
    assert_int_equal(text_distance(span_make(x, 64), span_make(y, 64), 100), 64);
    assert_int_equal(text_distance(span_make(x, 65), span_make(x, 65), 5), 6);
    assert_int_equal(text_distance(span_make(x, 1), span_make(x, 65), 5), 6);
}

static void test_near(void **state)
{
    static const char *const names[] = {"gpt-5.5-mini", "gpt-55", "gtp-5.5", "claude", "gpt-5.4"};
    static const struct {
        const char *name;
        size_t max;
        const char *want;
    } cases[] = {
        {"gpt-5.5", 16, "gpt-5.5-mini gpt-55 gtp-5.5 gpt-5.4 "}, /* ties as they were offered */
        {"gpt-5.5", 2, "gpt-5.5-mini gpt-55 "},
        {"gpt-5.5", 0, ""},
        {"claudee", 1000, "claude "},
        {"mistral-large", 16, ""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct text_near t;
        char got[200] = "";
        text_near_init(&t, span_of(cases[i].name), cases[i].max);
        for (size_t k = 0; k < COUNT_OF(names); k++)
            text_near_offer(&t, span_of(names[k]));
        for (size_t k = 0; k < t.n; k++) {
            size_t n = strlen(got);
            snprintf(got + n, sizeof got - n, "%.*s ", SPAN_ARG(t.best[k]));
        }
        assert_string_equal(got, cases[i].want);
    }
}

static void test_columns(void **state)
{
    static const struct {
        const char *s;
        size_t want;
    } cases[] = {
        {"", 0},
        {"abc", 3},
        {"\xC3\xA9", 1},                 /* e acute in one */
        {"e\xCC\x81", 1},                /* and in two */
        {"\xE4\xB8\xAD\xE6\x96\x87", 4}, /* CJK */
        {"\xEA\xB0\x80", 2},             /* Hangul */
        {"\xEF\xBC\xA1", 2},             /* full-width A */
        {"\xEF\xBD\xB1", 1},             /* half-width kana */
        {"\xF0\x9F\x98\x80", 2},         /* emoji */
        {"\xE2\x82\xAC", 1},             /* euro */
        {"\xE2\x94\x80", 1},             /* box drawing */
        {"a\xE2\x80\x8B"
         "b",
         2},                     /* zero-width space */
        {"\xF0\xA0\x80\x80", 2}, /* CJK beyond the first plane */
        {"\xF3\xA0\x84\x80", 0}, /* variation selector */
        {"\xFF", 1},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(text_columns(span_of(cases[i].s)), cases[i].want);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_utf8),
        cmocka_unit_test(test_upto),
        cmocka_unit_test(test_visible),
        cmocka_unit_test(test_visible_fails_whole),
        cmocka_unit_test(test_visible_cstr_cuts),
        cmocka_unit_test(test_distance),
        cmocka_unit_test(test_near),
        cmocka_unit_test(test_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
