/* test_think.c - reasoning between tags at the start of a text: taken out the same for any split of
 * the bytes, and nothing of the text is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/rng.h"
#include "chat/think.h"

static const struct {
    const char *in, *reasoning, *text;
} cases[] = {
    {"", "", ""},
    {"Hello", "", "Hello"},
    {" Hello", "", " Hello"},
    {"\n\n", "", "\n\n"},
    {"<think>why</think>because", "why", "because"},
    {"\n <think>\n why\n</think>\n\n because \n", "why\n", "because \n"},
    {"<think>\n\n</think>\n\nbecause", "", "because"},
    {"<think></think>because", "", "because"},
    {"<think>a < b </ c </thin d<</think>e", "a < b </ c </thin d<", "e"},
    {"<think>a</think>b<think>c</think>", "a", "b<think>c</think>"},
    {"<think>a</think></think>", "a", "</think>"},
    {"x<think>a</think>", "", "x<think>a</think>"},
    {"<thin", "", "<thin"},
    {"<think", "", "<think"},
    {"<thinking>a</thinking>", "", "<thinking>a</thinking>"},
    {"<<think>a</think>", "", "<<think>a</think>"},
    {"< think>", "", "< think>"},
    {"<think>cut in its middle", "cut in its middle", ""},
    {"<think>cut in its tag</thi", "cut in its tag</thi", ""},
    {"<think>", "", ""},
    {"                                 <think>a</think>b", "a", "b"},
    {"                                                  <think>a", "",
     "                                                  <think>a"},
};

static void take(struct buf *reasoning, struct buf *text, struct span piece, bool which)
{
    assert_true(piece.n > 0);
    assert_true(buf_add(which ? reasoning : text, piece, NULL));
}

/* step 0: pieces of random sizes. */
static void split(const char *in, size_t step, struct rng *r, struct buf *reasoning,
                  struct buf *text)
{
    struct think t = {0};
    struct span rest = span_of(in), piece;
    bool which;
    while (rest.n > 0) {
        size_t n = step > 0 ? step : 1 + (size_t)rng_below(r, 12);
        struct span chunk = span_upto(rest, n);
        rest = span_from(rest, n);
        while (think_next(&t, &chunk, &piece, &which))
            take(reasoning, text, piece, which);
        assert_int_equal(chunk.n, 0);
    }
    if (think_end(&t, &piece, &which))
        take(reasoning, text, piece, which);
}

static void test_any_split(void **state)
{
    struct rng r;
    struct buf reasoning, text;
    rng_init(&r, 7);
    buf_init(&reasoning, KIB(4));
    buf_init(&text, KIB(4));
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (size_t step = 0; step < 200; step++) {
            buf_clear(&reasoning);
            buf_clear(&text);
            split(cases[i].in, step < 100 ? step : 0, &r, &reasoning, &text);
            if (!span_eq(buf_span(&reasoning), span_of(cases[i].reasoning)) ||
                !span_eq(buf_span(&text), span_of(cases[i].text)))
                fail_msg("\"%s\" by %zu: reasoning \"%.*s\", text \"%.*s\"", cases[i].in, step,
                         SPAN_ARG(buf_span(&reasoning)), SPAN_ARG(buf_span(&text)));
        }
    buf_done(&reasoning);
    buf_done(&text);
}

/* Other content begins: what was held is out, and what looks like a tag behind it is text. */
static void test_ended_early(void **state)
{
    struct think t = {0};
    struct span text = SPAN(" <th"), piece;
    bool reasoning = true;
    assert_false(think_next(&t, &text, &piece, &reasoning));
    assert_true(think_end(&t, &piece, &reasoning));
    assert_true(!reasoning && span_eq(piece, SPAN(" <th")));
    assert_false(think_end(&t, &piece, &reasoning));
    text = SPAN("<think>");
    assert_true(think_next(&t, &text, &piece, &reasoning));
    assert_true(!reasoning && span_eq(piece, SPAN("<think>")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_split),
        cmocka_unit_test(test_ended_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
