/* tests/unit/test_fusion_vote.c - weighted majorities, ties, early decisions, likeness of texts;
 * and the verdicts of judges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "fusion/verdict.h"
#include "fusion/vote.h"

/* "A B - ?": answers in panel order; '-' states none, '?' is still running. */
static size_t ballots_of(const char *answers, const double *weights, struct ballot *out)
{
    size_t n = 0;
    for (const char *p = answers; *p; p++) {
        if (*p == ' ')
            continue;
        out[n] = (struct ballot){.weight = weights ? weights[n] : 1, .pending = *p == '?'};
        if (*p != '-' && *p != '?')
            out[n].answer = span_make(p, 1);
        n++;
    }
    return n;
}

static void test_count(void **state)
{
    static const struct {
        const char *answers;
        double weights[5];
        size_t winner, n_tied, n_classes;
        double share;
    } cases[] = {
        {"A A B", {1, 1, 1}, 0, 1, 2, 2.0 / 3},   {"B A A", {1, 1, 1}, 1, 1, 2, 2.0 / 3},
        {"B A C", {1, 1, 1}, 0, 3, 3, 1.0 / 3},   {"A B A B", {1, 1, 1, 1}, 0, 2, 2, 0.5},
        {"A B B", {2, 1, 1}, 0, 2, 2, 0.5},       {"A B B", {2.5, 1, 1}, 0, 1, 2, 2.5 / 4.5},
        {"A B B", {0.3, 0.1, 0.2}, 0, 2, 2, 0.5}, /* 0.1 + 0.2 is 0.3 here */
        {"- - A", {1, 1, 1}, 2, 1, 1, 1.0 / 3},   {"- -", {1, 1}, 0, 0, 0, 0},
        {"? A ?", {1, 1, 1}, 1, 1, 1, 1},         {"A", {1}, 0, 1, 1, 1},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct ballot b[LIMIT_PANEL];
        struct vote_result r;
        size_t n = ballots_of(cases[i].answers, cases[i].weights, b);
        vote_count(b, n, &r);
        assert_int_equal(r.winner, cases[i].winner);
        assert_int_equal(r.n_tied, cases[i].n_tied);
        assert_int_equal(r.n_classes, cases[i].n_classes);
        assert_float_equal(r.share, cases[i].share, 1e-9);
    }
}

/* Decided means: whatever the others say, the same text goes out. Checked against all outcomes. */
static bool same_whatever(const struct ballot *b, size_t n, size_t at, size_t winner)
{
    static const char *const says[] = {"A", "B", "C", "D", NULL};
    struct ballot next[LIMIT_PANEL];
    struct vote_result r;
    while (at < n && !b[at].pending)
        at++;
    if (at == n) {
        vote_count(b, n, &r);
        return r.n_tied == 1 && r.winner == winner;
    }
    memcpy(next, b, n * sizeof *b);
    next[at].pending = false;
    for (size_t i = 0; i < COUNT_OF(says); i++) {
        next[at].answer = says[i] ? span_of(says[i]) : (struct span){NULL, 0};
        if (!same_whatever(next, n, at + 1, winner))
            return false;
    }
    return true;
}

static void test_decided(void **state)
{
    struct rng rng;
    rng_init(&rng, 3);
    unsigned decided = 0;
    for (int round = 0; round < 3000; round++) {
        struct ballot b[LIMIT_PANEL] = {{{0}}};
        struct vote_result r;
        size_t n = 1 + rng_below(&rng, 5);
        for (size_t i = 0; i < n; i++) {
            uint64_t say = rng_below(&rng, 6);
            b[i].weight = (double)(1 + rng_below(&rng, 3)) / 2;
            b[i].pending = say > 3;
            if (say < 3)
                b[i].answer = span_make("ABC" + say, 1);
        }
        vote_count(b, n, &r);
        bool pending = false;
        for (size_t i = 0; i < n; i++)
            pending = pending || b[i].pending;
        if (!pending)
            continue;
        bool want = r.n_tied == 1 && same_whatever(b, n, 0, r.winner);
        bool got = vote_decided(b, n);
        if (got)
            assert_true(want); /* never too early */
        decided += got;
    }
    assert_true(decided > 50);
}

static void test_likeness(void **state)
{
    static const struct {
        const char *texts[4];
        size_t want;
    } cases[] = {
        {{"one two three", "one two four", "nothing alike"}, 0},
        {{"nothing alike", "One, two: three!", "one two four"}, 1},
        {{"a", "b"}, 0},
        {{"", "x", "x"}, 1},
        {{"same", "same", "same"}, 0},
        {{"only"}, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct span texts[4];
        size_t n = 0;
        double mean;
        for (; n < 4 && cases[i].texts[n]; n++)
            texts[n] = span_of(cases[i].texts[n]);
        assert_int_equal(vote_most_alike(texts, n, &mean), cases[i].want);
        assert_true(mean >= 0 && mean <= 1);
    }
}

/* --- verdicts
 * -------------------------------------------------------------------------------------- */

static void test_verdicts(void **state)
{
    static const struct {
        const char *reply;
        int best; /* -1: not valid */
        bool close;
    } cases[] = {
        {"{\"scores\":{\"A\":9,\"B\":3},\"best\":\"A\"}", 0, false},
        {"{\"scores\":{\"A\":9,\"B\":8},\"best\":\"A\"}", 0, true},
        {"{\"scores\":{\"A\":9,\"B\":7.9},\"best\":\"A\"}", 0, false},
        {"{\"scores\":{\"A\":2,\"B\":9},\"best\":\"A\"}", 0, true}, /* contradicts itself */
        {"Here it is:\n```json\n{\"best\": \"B\", \"scores\": {\"B\": 10, \"A\": 0}}\n``` done", 1,
         false},
        {"{not json} {\"scores\":{\"A\":1,\"B\":5},\"best\":\"B\"}", 1, false},
        {"{\"thoughts\": \"hm\"} {\"scores\":{\"A\":1,\"B\":5},\"best\":\"B\"}", 1, false},
        {"{\"why\":\"a } brace\",\"scores\":{\"A\":1,\"B\":5},\"best\":\" B \"}", 1, false},
        {"{\"scores\":{\"A\":1},\"best\":\"A\"}", -1, false},
        {"{\"scores\":{\"A\":1,\"B\":2,\"C\":3},\"best\":\"A\"}", -1, false},
        {"{\"scores\":{\"A\":11,\"B\":2},\"best\":\"A\"}", -1, false},
        {"{\"scores\":{\"A\":-1,\"B\":2},\"best\":\"B\"}", -1, false},
        {"{\"scores\":{\"A\":\"9\",\"B\":2},\"best\":\"A\"}", -1, false},
        {"{\"scores\":{\"A\":9,\"B\":2},\"best\":\"C\"}", -1, false},
        {"{\"scores\":{\"A\":9,\"B\":2}}", -1, false},
        {"{\"scores\":[9,2],\"best\":\"A\"}", -1, false},
        {"{\"scores\":{\"A\":9,\"B\":2},\"best\":\"A\"", -1, false},
        {"A is best", -1, false},
        {"", -1, false},
        {"{{{{{{{{{{{{", -1, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        struct verdict v;
        struct err e = {0};
        bool ok = verdict_read(a, span_of(cases[i].reply), "AB", 2, &v, &e);
        if (ok != (cases[i].best >= 0))
            fail_msg("'%s': %s", cases[i].reply, e.msg);
        if (!ok) {
            assert_int_equal(e.cls, ERR_UPSTREAM);
            continue;
        }
        assert_int_equal(v.best, cases[i].best);
        assert_int_equal(v.close, cases[i].close);
    }
}

static void test_schema(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct span s = verdict_schema(a, "BD", 2);
    assert_true(span_eq(
        s,
        SPAN("{\"type\":\"object\",\"properties\":{\"scores\":{\"type\":\"object\",\"properties\":{"
             "\"B\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":10},"
             "\"D\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":10}},"
             "\"required\":[\"B\",\"D\"],\"additionalProperties\":false},"
             "\"best\":{\"type\":\"string\",\"enum\":[\"B\",\"D\"]}},"
             "\"required\":[\"scores\",\"best\"],\"additionalProperties\":false}")));
    assert_true(verdict_schema(a, "ABCDEFGHIJKLMNOP", 16).n > s.n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count),    cmocka_unit_test(test_decided),
        cmocka_unit_test(test_likeness), cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
