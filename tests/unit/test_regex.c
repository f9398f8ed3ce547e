/* tests/unit/test_regex.c - what patterns match, which are refused and how, and what they cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "json/regex.h"

static enum regex_answer find(const struct regex *r, struct span text, int64_t *steps)
{
    void *scratch = mem_alloc(regex_scratch_bytes(r));
    assert_non_null(scratch);
    enum regex_answer answer = regex_find(r, text, scratch, steps);
    mem_free(scratch);
    return answer;
}

/* yes and no: texts, one a line. */
static const struct {
    const char *pattern, *yes, *no;
} cases[] = {
    {"", "\na", NULL},
    {"a", "a\nba\nab", "\nb\nA"},
    {"^abc$", "abc", "abcd\nxabc\nab"},
    {"^(?:a|b|)c$", "ac\nbc\nc", "abc\nd"},
    {"^a|b$", "ax\nxb", "xa\nbx"},
    {"^(a|bc)+$", "a\nbc\nabc\nbcbca", "\nb\nab"},
    {"^a*b+c?$", "b\naab\nbbc", "a\nbcc"},
    {"^a*?b+?c??$", "b\naab\nbbc", "a\nbcc"},
    {"^a{3}$", "aaa", "aa\naaaa"},
    {"^a{2,}$", "aa\naaaaa", "a\n"},
    {"^a{0,2}$", "\na\naa", "aaa"},
    {"^a{2,4}b$", "aab\naaaab", "ab\naaaaab"},
    {"^(ab{1,2}){2}$", "abab\nabbab", "ab\nababb1"},
    {"^a{0}b$", "b", "ab"},
    {"^(a{0,1}){2,3}$", "\na\naaa", "aaaa"},
    {"^(a*)*$", "\naaa", "b"},
    {"^(a|b*)*c$", "c\nababc", "abd"},
    {"^(|a)+b$", "b\naab", "c"},
    {"^(){5,}x(){2}$", "x", "xx"},
    {"^a{,2}$", "a{,2}", "aa"},
    {"^{x}]$", "{x}]", "x"},
    {"^a{1$", "a{1", "a"},
    {"^.$", "a\n\xC3\xA9\n\xF0\x9F\x90\xB2\n\xC2\x85", "\nab\n\r\n\xE2\x80\xA8\n\xE2\x80\xA9"},
    {"^[abc]$", "a\nc", "d\n"},
    {"^[^abc]$", "d\n\xC3\xA9", "a\n"},
    {"^[a-cx-z]$", "b\ny", "d\n-"},
    {"^[-a]$", "-\na", "b"},
    {"^[a-]$", "-\na", "b"},
    {"^[\\w-.]+$", "a-.b", "a b\n/"},
    {"^[a\\-z]$", "a\n-\nz", "b"},
    {"^[\\]\\\\]$", "]\n\\", "["},
    {"^[[]$", "[", "]"},
    {"^[]$", NULL, "\na"},
    {"^[^]$", "a", ""},
    {"^[\\d\\s]$", "1\n ", "a"},
    {"^[^\\d\\s]$", "a", "1\n "},
    {"^[\\D]$", "a", "1"},
    {"^[\\S\\s]$", "a\n ", ""},
    {"^[\\b]$", "\b", "b"},
    {"^[\\u0041-\\u0043]$", "B", "D"},
    {"^[\xC3\xA0-\xC3\xBF]$", "\xC3\xA9", "e"},
    {"^\\d\\D\\w\\W\\s\\S$", "1ab- x", "11b- x"},
    {"^\\w$", "a\n_\n9", "\xC3\xA9\n-"},
    {"^\\s$", " \n\t\n\v\n\f\n\xC2\xA0\n\xE2\x80\x83\n\xEF\xBB\xBF", "\x01\n\xE2\x80\x93"},
    {"^\\S$", "\xE2\x80\x93", "\xC2\xA0\n\xEF\xBB\xBF"},
    {"^\\t\\v\\f\\r$", "\t\v\f\r", "tvfr"},
    {"^\\x41\\u0042\\u{43}\\u{1F432}\\ud83d\\udc32$", "ABC\xF0\x9F\x90\xB2\xF0\x9F\x90\xB2", "ABC"},
    {"^\\cA\\ca$", "\x01\x01", "cAca"},
    {"^\\.\\*\\/\\-\\@\\_\\{$", ".*/-@_{", "a"},
    {"\\bfoo\\b", "foo\na foo.\nfoo-bar", "xfoo\nfood\nfoo_"},
    {"\\Bo\\B", "food", "o\nfo\nox"},
    {"^(?<year>\\d{4})-(\\d\\d)$", "2024-01", "24-01"},
    {"^\\p{L}+$", "abc\n\xC3\xA9t\xC3\xA9\n\xE4\xB8\xAD", "a1\n"},
    {"^\\p{Lu}\\p{Ll}$", "Ab\n\xC3\x89\xC3\xA9\n\xC4\x80\xC4\x81", "ab\nAB"},
    {"^\\P{Lu}$", "a\n1", "A"},
    {"^[\\p{Lu}\\d]$", "A\n1\n\xC4\x80", "a\n\xC4\x81"},
    {"^[^\\p{Lu}\\d]$", "a\n\xC4\x81", "A\n1"},
    {"^\\p{General_Category=Decimal_Number}\\p{gc=Nd}$", "12\n\xE0\xA7\xAA\xE0\xA7\xA8", "ab"},
    {"^\\p{Any}$", "a\n\xF0\x9F\x90\xB2", ""},
    {"^\xF0\x9F\x90\xB2*$", "\n\xF0\x9F\x90\xB2\xF0\x9F\x90\xB2", "\xF0\x9F\x90\x89"},
    {"^[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\\.[a-zA-Z]{2,}$", "a.b@c.de", "a@b\na@b.c\n@b.cd"},
    {"^#([0-9a-fA-F]{3}){1,2}$", "#fff\n#a0b1c2", "#ff\n#ffff"},
};

static void check_lines(const char *pattern, const struct regex *r, const char *lines, bool want)
{
    struct span rest = span_of(lines);
    if (!lines)
        return;
    for (;;) {
        size_t n = span_find(rest, "\n");
        int64_t steps = LIMIT_SCHEMA_STEPS;
        struct span text = span_upto(rest, n);
        if ((find(r, text, &steps) == REGEX_YES) != want)
            fail_msg("/%s/ on \"%.*s\": not %d", pattern, SPAN_ARG(text), want);
        if (n == rest.n)
            return;
        rest = span_from(rest, n + 1);
    }
}

static void test_matches(void **state)
{
    AUTO(arena) a = arena_new(0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = {0};
        const struct regex *r = regex_new(a, span_of(cases[i].pattern), &e);
        if (!r)
            fail_msg("/%s/: %s", cases[i].pattern, e.msg);
        check_lines(cases[i].pattern, r, cases[i].yes, true);
        check_lines(cases[i].pattern, r, cases[i].no, false);
    }
}

static void test_line_ends_are_text(void **state)
{
    AUTO(arena) a = arena_new(0);
    int64_t steps = 1000;
    const struct regex *end = regex_new(a, SPAN("^abc$"), NULL);
    const struct regex *dot = regex_new(a, SPAN("a.b"), NULL);
    const struct regex *nul = regex_new(a, SPAN("^a\\0b$"), NULL);
    assert_true(end && dot && nul);
    assert_int_equal(find(end, SPAN("abc\n"), &steps), REGEX_NO);
    assert_int_equal(find(end, SPAN("x\nabc"), &steps), REGEX_NO);
    assert_int_equal(find(dot, SPAN("a\nb"), &steps), REGEX_NO);
    assert_int_equal(find(nul, SPAN("a\0b"), &steps), REGEX_YES);
}

static const struct {
    const char *pattern, *msg;
} refused[] = {
    {"(a)\\1", "a backreference, which is not supported, at character 5"},
    {"(?<n>a)\\k<n>", "a backreference"},
    {"\xC3\xA9(?=a)", "a lookahead or lookbehind, which is not supported, at character 3"},
    {"(?!a)", "a lookahead or lookbehind"},
    {"(?<=a)", "a lookahead or lookbehind"},
    {"(?<!a)", "a lookahead or lookbehind"},
    {"(?i)a", "a group of a kind that is not supported"},
    {"(?P<n>a)", "a group of a kind that is not supported"},
    {"(?>a)", "a group of a kind that is not supported"},
    {"(?<n", "a group whose name does not end"},
    {"(a", "a group without its closing parenthesis"},
    {"a)", "a closing parenthesis without its group"},
    {"[a", "a class without its closing bracket"},
    {"[\\", "a backslash with nothing behind it"},
    {"[z-a]", "ends before it begins"},
    {"a**", "a quantifier with nothing to repeat"},
    {"a++", "a quantifier with nothing to repeat"},
    {"|*", "a quantifier with nothing to repeat"},
    {"^*", "a quantifier behind an assertion"},
    {"\\b+", "a quantifier behind an assertion"},
    {"a{3,2}", "out of order"},
    {"a{1000000}", "too large"},
    {"a{99999999999999999999}", "too large"},
    {"(a{1000}){1000}", "too large"},
    {"((((a{9}){9}){9}){9}){9}", "too large"},
    {"\\", "a backslash with nothing behind it"},
    {"\\a", "an escape that is not known"},
    {"\\Z", "an escape that is not known"},
    {"\\01", "an octal escape"},
    {"\\x4", "too few hexadecimal digits"},
    {"\\u12", "too few hexadecimal digits"},
    {"\\u{110000}", "no character"},
    {"\\u{}", "no character"},
    {"\\c1", "\\c without a letter"},
    {"\\p{Script=Greek}", "a Unicode property that is not supported"},
    {"\\pL", "\\p without a property in braces"},
    {"\\p{L", "\\p without a property in braces"},
    {"\xFF", "not UTF-8"},
};

static void test_refused(void **state)
{
    AUTO(arena) a = arena_new(0);
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct err e = {0};
        if (regex_new(a, span_of(refused[i].pattern), &e))
            fail_msg("/%s/ was taken", refused[i].pattern);
        if (e.cls != ERR_INPUT || !strstr(e.msg, refused[i].msg))
            fail_msg("/%s/: %s", refused[i].pattern, e.msg);
    }
}

static void test_depth_and_length(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct err e = {0};
    struct buf b;
    buf_init(&b, MIB(1));
    for (int i = 0; i < 2000; i++)
        assert_true(buf_add_char(&b, '(', NULL));
    assert_null(regex_new(a, buf_span(&b), &e));
    assert_non_null(strstr(e.msg, "too many groups"));
    buf_clear(&b);
    for (size_t i = 0; i <= LIMIT_PATTERN_BYTES; i++)
        assert_true(buf_add_char(&b, 'a', NULL));
    assert_null(regex_new(a, buf_span(&b), &e));
    assert_non_null(strstr(e.msg, "longer than"));
    buf_clear(&b);
    assert_true(buf_add_char(&b, '[', NULL));
    for (int c = 0; c < 1200; c++)
        assert_true(buf_addf(&b, NULL, "\\u%04x", 0x4000 + 2 * c));
    assert_true(buf_add_char(&b, ']', NULL));
    assert_null(regex_new(a, span_upto(buf_span(&b), LIMIT_PATTERN_BYTES), &e));
    assert_non_null(strstr(e.msg, "too many ranges"));
    buf_done(&b);
}

/* What makes others take exponential time costs a step or so per character and instruction. */
static void test_linear_time(void **state)
{
    static const char *const evil[] = {
        "^(a+)+$",  "^(a|a)*$",      "^(a|aa)+$",          "(x+x+)+y",
        "^(.*)*b$", "(a?){30}a{30}", "^(([a-z])+.)+[A-Z]$"};
    AUTO(arena) a = arena_new(0);
    char text[4001];
    memset(text, 'a', sizeof text);
    text[4000] = '!';
    for (size_t i = 0; i < COUNT_OF(evil); i++) {
        const struct regex *r = regex_new(a, span_of(evil[i]), NULL);
        assert_non_null(r);
        int64_t steps = INT64_MAX;
        (void)find(r, span_make(text, sizeof text), &steps);
        assert_true(INT64_MAX - steps <= (int64_t)((regex_size(r) + 2) * (sizeof text + 1)));
    }
}

static void test_stops_when_steps_run_out(void **state)
{
    AUTO(arena) a = arena_new(0);
    const struct regex *r = regex_new(a, SPAN("[ab]*c"), NULL);
    char text[1000];
    int64_t steps = 500;
    assert_non_null(r);
    memset(text, 'a', sizeof text);
    assert_int_equal(find(r, span_make(text, sizeof text), &steps), REGEX_STOPPED);
    assert_true(steps < 0);
}

/* Random patterns of a small alphabet against a plain backtracking matcher of the same subset. */
static const char *ref_term(const char *p)
{
    return p[1] == '*' || p[1] == '?' ? p + 2 : p + 1;
}

static bool ref_match(const char *p, const char *t)
{
    if (*p == '\0')
        return *t == '\0';
    bool one = *t != '\0' && (*p == '.' || *p == *t);
    const char *after = ref_term(p);
    if (p[1] == '*')
        return ref_match(after, t) || (one && ref_match(p, t + 1));
    if (p[1] == '?')
        return ref_match(after, t) || (one && ref_match(after, t + 1));
    return one && ref_match(after, t + 1);
}

static void test_against_backtracking(void **state)
{
    struct rng rng;
    rng_init(&rng, 7);
    AUTO(arena) a = arena_new(0);
    for (int i = 0; i < 3000; i++) {
        char pattern[16], text[8], whole[24];
        size_t n = 0, m = 0;
        for (size_t k = rng_u64(&rng) % 5; k > 0; k--) {
            pattern[n++] = "ab."[rng_u64(&rng) % 3];
            if (rng_u64(&rng) % 2)
                pattern[n++] = "*?"[rng_u64(&rng) % 2];
        }
        for (size_t k = rng_u64(&rng) % 7; k > 0; k--)
            text[m++] = "ab"[rng_u64(&rng) % 2];
        pattern[n] = text[m] = '\0';
        snprintf(whole, sizeof whole, "^%s$", pattern);
        const struct regex *r = regex_new(a, span_of(whole), NULL);
        int64_t steps = 100000;
        assert_non_null(r);
        if ((find(r, span_of(text), &steps) == REGEX_YES) != ref_match(pattern, text))
            fail_msg("/%s/ on \"%s\"", whole, text);
    }
}

static void test_out_of_memory(void **state)
{
    for (unsigned long n = 1;; n++) {
        struct err e = {0};
        mem_fail_at(n);
        AUTO(arena) a = arena_new(0);
        const struct regex *r = a ? regex_new(a, SPAN("^([a-z]{1,300}|\\p{L})*$"), &e) : NULL;
        bool failed = mem_failed();
        mem_fail_at(0);
        if (!failed) {
            assert_non_null(r);
            break;
        }
        assert_true(r || !a || e.cls == ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_line_ends_are_text),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_depth_and_length),
        cmocka_unit_test(test_linear_time),
        cmocka_unit_test(test_stops_when_steps_run_out),
        cmocka_unit_test(test_against_backtracking),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
