/* tests/unit/test_fusion_canon.c - what counts as an answer, and when two are the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "fusion/canon.h"

enum {
    AUTO_ = FUSION_ANSWER_AUTO,
    CHOICE = FUSION_ANSWER_CHOICE,
    NUMBER = FUSION_ANSWER_NUMBER,
    BOOL_ = FUSION_ANSWER_BOOLEAN,
    JSON = FUSION_ANSWER_JSON,
    TEXT = FUSION_ANSWER_TEXT
};

static const struct {
    int kind;
    const char *reply, *want; /* want NULL: states none */
} cases[] = {
    /* choice */
    {CHOICE, "The answer is (F).\n", "c:F"},
    {CHOICE, "so the answer is F.", "c:F"},
    {CHOICE, "**Answer: C**", "c:C"},
    {CHOICE, "**Answer:** C", "c:C"},
    {CHOICE, "**Answer**: C", "c:C"},
    {CHOICE, "Answer: option D", "c:D"},
    {CHOICE, "The correct answer is **B**, because", "c:B"},
    {CHOICE, "The final answer is $\\boxed{B}$.", "c:B"},
    {CHOICE, "\\boxed{\\text{E}}", "c:E"},
    {CHOICE, "Thus \\(\\boxed{(G)}\\)", "c:G"},
    {CHOICE, "answer is: \"H\"", "c:H"},
    {CHOICE, "The answer is (a).", "c:A"},
    {CHOICE, "answer: b", "c:B"},
    {CHOICE, "Answer:\n\n(J)", "c:J"},
    {CHOICE, "Final answer = C", "c:C"},
    {CHOICE, "ANSWER IS (C)", NULL}, /* the verb is written small */
    {CHOICE, "The answer is (A). On reflection, the answer is (B).", "c:B"},
    {CHOICE, "The answer is (A).\n\nQuestion: next\nThe answer is (Cannot be determined).", NULL},
    {CHOICE, "B", "c:B"},
    {CHOICE, " (B) ", "c:B"},
    {CHOICE, "B) Paris", "c:B"},
    {CHOICE, "B. Paris", "c:B"},
    {CHOICE, "**B**", "c:B"},
    {CHOICE, "A cat sat", NULL},
    {CHOICE, "I think so", NULL},
    {CHOICE, "The answer is a matter of taste.", NULL},
    {CHOICE, "The answer is I think unclear", NULL},
    {CHOICE, "The answer is because", NULL},
    {CHOICE, "Long reasoning that goes on and on for more than sixty-four bytes in all.\n\n**D**",
     "c:D"},
    {CHOICE, "", NULL},
    {CHOICE, "answer", NULL},
    {CHOICE, "answer is", NULL},
    {CHOICE, "answer is (", NULL},
    {CHOICE, "\\boxed{", NULL},
    /* number */
    {NUMBER, "The answer is 42.", "n:42"},
    {NUMBER, "The answer is $1,234.50.", "n:1234.5"},
    {NUMBER, "Answer: 007", "n:7"},
    {NUMBER, "-0.0", "n:0"},
    {NUMBER,
     "\xE2\x88\x92"
     "3",
     "n:-3"},
    {NUMBER, "5e3", "n:5000"},
    {NUMBER, "1.5E-3", "n:0.0015"},
    {NUMBER, "0.000120", "n:0.00012"},
    {NUMBER, "100", "n:100"},
    {NUMBER, ".5", "n:0.5"},
    {NUMBER, "50%", "n:50%"},
    {NUMBER, "1/2", "n:1/2"},
    {NUMBER, "The answer is approximately 3.14 metres", "n:3.14"},
    {NUMBER, "\\boxed{42}", "n:42"},
    {NUMBER, "about \xE2\x82\xAC 12", "n:12"},
    {NUMBER, "2024-05-01", NULL},
    {NUMBER, "12:30", NULL},
    {NUMBER, "1.2.3", NULL},
    {NUMBER, "1,23", NULL},
    {NUMBER, "1e999", NULL},
    {NUMBER, "12345678901234567890123456789012345678901234567890", /* longer than any integer */
     "n:12345678901234567890123456789012345678901234567890"},
    {NUMBER, "none", NULL},
    {NUMBER, "First 3 apples, then 4 more, so that there are seven in the basket.\nTotal is\n7",
     "n:7"},
    /* boolean */
    {BOOL_, "Yes.", "b:true"},
    {BOOL_, "**No**, because", "b:false"},
    {BOOL_, "The answer is true", "b:true"},
    {BOOL_, "Answer: Incorrect", "b:false"},
    {BOOL_, "Nothing of the sort", NULL},
    {BOOL_, "Yes, it is, and there is much more to say about it than fits in sixty-four bytes.",
     "b:true"},
    /* JSON */
    {JSON, "{\"b\": 1.0, \"a\": [1, 2]}", "j:{\"a\":[1,2],\"b\":1}"},
    {JSON, "```json\n{\"a\": 1}\n```", "j:{\"a\":1}"},
    {JSON, "{\"a\": ", NULL},
    {JSON, "no object", NULL},
    /* text */
    {TEXT, "The answer is Paris.", "t:paris"},
    {TEXT, "  \"Paris\"  ", "t:paris"},
    {TEXT, "New\n  York", "t:new york"},
    {TEXT, "Answer: **The Hague**. It is in the west.", "t:the hague"},
    /* auto: what fits first */
    {AUTO_, "The answer is (C).", "c:C"},
    {AUTO_, "The answer is 42.", "n:42"},
    {AUTO_, "42", "n:42"},
    {AUTO_, "42 km", "n:42"},
    {AUTO_, "Yes", "b:true"},
    {AUTO_, "The answer is Paris.", "t:paris"},
    {AUTO_, "Paris", "t:paris"},
    {AUTO_, "[1, 2]", "j:[1,2]"},
    {AUTO_, "The answer is (None of the above).", "t:none of the above"},
    {AUTO_, "The answer is 42 of the many", "t:42 of the many"},
    {AUTO_,
     "A long text that is no short answer at all, and says nothing that could be counted in "
     "any way.",
     NULL},
    {AUTO_, "A long text that is no short answer at all, but it ends with a value.\n\n17", "n:17"},
    {AUTO_, "A long text that is no short answer at all, and it ends with mere words.\n\nGoodbye",
     NULL},
};

static struct span read_one(struct arena *a, int kind, struct span reply, const char *regex)
{
    struct err e = {0};
    struct span out;
    const struct canon *c = canon_new(a, (enum fusion_answer)kind, span_of(regex), &e);
    assert_non_null(c);
    assert_true(canon_read(c, a, reply, &out, &e));
    return out;
}

static void test_answers(void **state)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        struct span got = read_one(a, cases[i].kind, span_of(cases[i].reply), "");
        bool same = cases[i].want ? got.p && span_eq(got, span_of(cases[i].want)) : got.p == NULL;
        if (!same)
            fail_msg("case %zu '%s': got '%.*s', want '%s'", i, cases[i].reply, SPAN_ARG(got),
                     cases[i].want ? cases[i].want : "(none)");
    }
}

/* Every reply cut at every byte, in memory of exactly that size, as every kind. */
static void test_cut_anywhere(void **state)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct span reply = span_of(cases[i].reply);
        AUTO(arena) a = arena_new(0);
        for (size_t n = 0; n <= reply.n; n++) {
            char *exact = mem_alloc(n > 0 ? n : 1);
            assert_non_null(exact);
            memcpy(exact, reply.p, n);
            for (int kind = AUTO_; kind <= TEXT; kind++)
                read_one(a, kind, span_make(exact, n), "");
            mem_free(exact);
        }
    }
}

static void test_regex(void **state)
{
    static const struct {
        const char *regex, *reply, *want;
    } rows[] = {
        {"#### *([0-9]+)", "#### 3\n#### 14", "r:14"},
        {"[A-Z]{3}-[0-9]+", "see ABC-1 and XYZ-22.", "r:XYZ-22"},
        {"^x", "x\nx", "r:x"},
        {"q*", "none", NULL},
        {"z", "none", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO(arena) a = arena_new(0);
        struct span got = read_one(a, FUSION_ANSWER_REGEX, span_of(rows[i].reply), rows[i].regex);
        assert_true(rows[i].want ? got.p && span_eq(got, span_of(rows[i].want)) : !got.p);
    }
    AUTO(arena) a = arena_new(0);
    struct err e = {0};
    assert_null(canon_new(a, FUSION_ANSWER_REGEX, SPAN("("), &e));
    assert_int_equal(e.cls, ERR_INPUT);
}

/* A reply full of half statements takes time in its length, not its square. */
static void test_long_reply(void **state)
{
    size_t n = MIB(4);
    char *text = mem_alloc(n);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        text[i] = "answer is ("[i % 11];
    AUTO(arena) a = arena_new(0);
    for (int kind = AUTO_; kind <= TEXT; kind++)
        read_one(a, kind, span_make(text, n), "");
    for (size_t i = 0; i < n; i++)
        text[i] = "answer is x "[i % 12];
    assert_null(read_one(a, NUMBER, span_make(text, n), "").p);
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_regex),
        cmocka_unit_test(test_long_reply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
