/* tests/unit/test_fusion_unfence.c - a judge's fences are taken out, whatever the split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fusion/unfence.h"
#include "fusion_rig.h"

#define CODE "ab4e0d1c2b3a4f5e"

static const struct {
    const char *name, *in, *out;
} cases[] = {
    {"nothing", "", ""},
    {"ordinary text", "Because of scattering.\n\n  It is [1] blue.\n",
     "Because of scattering.\n\n  It is [1] blue.\n"},
    {"fences around an answer", "[begin C " CODE "]\nblue\n[end C " CODE "]\n", "blue\n"},
    {"without the last line end", "[begin C " CODE "]\nblue\n[end C " CODE "]", "blue\n"},
    {"between lines", "one\n\n[begin A " CODE "]\ntwo\n[end A " CODE "]\n\nthree",
     "one\n\ntwo\n\nthree"},
    {"indented, blanks behind", "one\n  [begin A " CODE "] \t\n  two\n", "one\n  two\n"},
    {"carriage returns", "[begin A " CODE "]\r\ntwo\r\n[end A " CODE "]\r\n", "two\r\n"},
    {"two on a line", "[begin A " CODE "][end A " CODE "]\nx", "x"},
    {"text behind it", "[begin A " CODE "] blue", "blue"},
    {"text before it", "blue [end A " CODE "]\nsky", "blue \nsky"},
    {"text around it", "blue[end A " CODE "] sky", "blue sky"},
    {"whatever case", "[BEGIN c AB4E0D1C2B3A4F5E]\nblue", "blue"},
    {"other words between", "[begin draft A " CODE "]\n[end " CODE "]\nx", "x"},
    {"without its bracket", "[begin A " CODE "\nblue", "blue"},
    {"a blank before its bracket", "[begin A " CODE " ]\nblue", "blue"},
    {"the code alone", CODE "\nblue " CODE " sky", "blue  sky"},
    {"the code inside a word", "x" CODE "y", "xy"},
    {"the code twice", CODE CODE "z", "z"},
    {"the code begun before it", "abab4eab" CODE "z", "abab4eabz"},
    {"a mark begun before it", "[begin [begin A " CODE "]z", "[begin z"},
    {"a bracket before it", "[[end A " CODE "]z", "[z"},
    {"a far code", "[end of what is long ago " CODE "]z", "[end of what is long ago ]z"},
    {"another code", "[begin A ab4e0d1c2b3a4f5f]\nblue\n", "[begin A ab4e0d1c2b3a4f5f]\nblue\n"},
    {"other brackets", "[beginning] [end] [ends] [End of story",
     "[beginning] [end] [ends] [End of story"},
    {"a deep indent", "            " CODE "\nx", "            \nx"},
    {"blanks only", "   \n     \n ", "   \n     \n "},
    {"ends in what could begin one", "blue [begin A", "blue [begin A"},
    {"ends in a few hex digits", "blue ab4e0d1c2b3a", "blue ab4e0d1c2b3a"},
    {"ends inside a code", "blue\n[end A ab4e0d", "blue\n"},
    {"ends with an indent", "blue\n  ", "blue\n  "},
};

static size_t feed(struct unfence *u, struct span in, char *out, size_t at)
{
    struct span piece;
    while (unfence_next(u, &in, &piece)) {
        assert_true(piece.n > 0);
        memcpy(out + at, piece.p, piece.n);
        at += piece.n;
    }
    assert_int_equal(in.n, 0);
    return at;
}

static size_t end(struct unfence *u, char *out, size_t at)
{
    struct span rest = unfence_end(u);
    assert_true(rest.n <= UNFENCE_HELD);
    if (rest.n > 0)
        memcpy(out + at, rest.p, rest.n);
    return at + rest.n;
}

static void check(size_t i, const char *got, size_t n, const char *how, size_t cut)
{
    struct span want = span_of(cases[i].out);
    if (!span_eq(span_make(got, n), want))
        fail_msg("%s, %s %zu: got '%.*s', want '%.*s'", cases[i].name, how, cut, (int)n, got,
                 SPAN_ARG(want));
}

/* The bytes of a piece are laid where nothing else is, so that none is read twice. */
static void test_every_split(void **state)
{
    char out[512];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct span in = span_of(cases[i].in);
        struct unfence u;
        for (size_t a = 0; a <= in.n; a++)
            for (size_t b = a; b <= in.n; b++) {
                unfence_init(&u, CODE);
                size_t n = feed(&u, span_upto(in, a), out, 0);
                n = feed(&u, span_upto(span_from(in, a), b - a), out, n);
                n = feed(&u, span_from(in, b), out, n);
                check(i, out, end(&u, out, n), "cut at", a * 1000 + b);
            }
        for (size_t step = 1; step <= in.n; step++) {
            size_t n = 0;
            unfence_init(&u, CODE);
            for (size_t at = 0; at < in.n; at += step)
                n = feed(&u, span_upto(span_from(in, at), step), out, n);
            check(i, out, end(&u, out, n), "in pieces of", step);
        }
    }
}

/* What goes out at once, before the next byte is there. */
static void test_only_what_may_be_a_mark_waits(void **state)
{
    static const struct {
        const char *in;
        size_t waits;
    } held[] = {
        {"Because of", 0},      {"the se", 0},          {"see [1", 0},
        {"see [", 1},           {"see [begin", 6},      {"see [begin A", 8},
        {"see [end of", 7},     {"see [end of it", 10}, {"see [end of all that is", 0},
        {"see [end.", 0},       {"see [end)", 0},       {"\n    ", 4},
        {"\n             ", 0}, {"see   ", 0},          {"sea", 1},
        {"see ab4", 3},         {"see ab5", 0},         {"see ab4ea", 1},
    };
    for (size_t i = 0; i < COUNT_OF(held); i++) {
        char out[64];
        struct unfence u;
        unfence_init(&u, CODE);
        size_t n = feed(&u, span_of(held[i].in), out, 0);
        if (strlen(held[i].in) - n != held[i].waits)
            fail_msg("'%s': %zu wait", held[i].in, strlen(held[i].in) - n);
        assert_int_equal(end(&u, out, n), strlen(held[i].in));
    }
}

static void test_one_piece_stays_one(void **state)
{
    struct unfence u;
    struct span in = SPAN("a sea [of] abalone, as abated"), piece;
    size_t n = in.n;
    unfence_init(&u, CODE);
    assert_true(unfence_next(&u, &in, &piece));
    assert_int_equal(piece.n, n);
    assert_false(unfence_next(&u, &in, &piece));
    assert_false(u.found);
}

static void test_after_its_end_it_begins_anew(void **state)
{
    struct unfence u;
    char out[64];
    unfence_init(&u, CODE);
    size_t n = feed(&u, SPAN("one ["), out, 0);
    n = end(&u, out, n);
    assert_false(u.found);
    n = feed(&u, SPAN("begin A " CODE "]\n"), out, n); /* the bracket has gone out */
    n = feed(&u, SPAN(" [end A " CODE "]\ntwo"), out, n);
    assert_true(u.found);
    assert_true(span_eq(span_make(out, end(&u, out, n)), SPAN("one [begin A ]\ntwo")));
}

/* Bytes drawn from those that marks are made of: whatever comes, the code does not go out, and one
 * byte at a time gives the same as all at once. */
static void test_drawn_bytes(void **state)
{
    static const char *const parts[] = {"[begin ", "[end ",        "A ", CODE, "]", "\n",   " ",
                                        "ab4e",    "0d1c2b3a4f5e", "[",  "be", "x", "\r\n", "  "};
    struct rng r;
    rng_init(&r, 11);
    for (int round = 0; round < 20000; round++) {
        char in[256], whole[256], bytes[256];
        size_t n = 0;
        struct unfence u;
        for (uint64_t k = rng_u64(&r) % 12; k > 0; k--) {
            const char *p = parts[rng_u64(&r) % COUNT_OF(parts)];
            memcpy(in + n, p, strlen(p));
            n += strlen(p);
        }
        unfence_init(&u, CODE);
        size_t a = end(&u, whole, feed(&u, span_make(in, n), whole, 0));
        unfence_init(&u, CODE);
        size_t b = 0;
        for (size_t i = 0; i < n; i++)
            b = feed(&u, span_make(in + i, 1), bytes, b);
        b = end(&u, bytes, b);
        assert_true(span_eq(span_make(whole, a), span_make(bytes, b)));
        if (span_index(span_make(in, n), SPAN(CODE)) == n)
            assert_true(a <= n);
        else
            assert_true(u.found);
    }
}

/* --- in a fusion -------------------------------------------------------------------------------
 */

/* What the judge says, "$" being the code of its own call. */
struct copier {
    const char *text, *reasoning;
    char said[512], thought[512];
};

static struct span with_code(char *out, const char *text, struct span code)
{
    size_t n = 0;
    for (; text && *text; text++) {
        struct span piece = *text == '$' ? code : span_make(text, 1);
        memcpy(out + n, piece.p, piece.n);
        n += piece.n;
    }
    return span_make(out, n);
}

static void copy_fences(struct scripted *m, const struct chat_request *r, struct script *out)
{
    struct copier *c = m->ctx;
    struct span code = rig_code(scripted_prompt(m));
    assert_int_equal(code.n, UNFENCE_CODE);
    out->text = with_code(c->said, c->text, code);
    out->reasoning = with_code(c->thought, c->reasoning, code);
}

static struct scripted *copying_judge(struct rig *g, struct copier *c)
{
    lab_member(&g->lab, "x/a", "alpha", 60);
    lab_member(&g->lab, "x/b", "beta", 80);
    struct scripted *j = lab_judge(&g->lab, "y/j", "", 40);
    j->answer = copy_fences;
    j->ctx = c;
    j->scripts[0].every_us = 1000;
    return j;
}

static void test_a_judge_that_copies_its_fences(void **state)
{
    struct copier c = {.text = "[begin A $]\nBecause of it.\n[end A $]\n",
                       .reasoning = "Draft [end A $] is good"};
    for (size_t chunk = 1; chunk < 80; chunk++)
        for (int paused = 0; paused < 2; paused++) {
            struct rig *g = rig_new();
            struct scripted *j = copying_judge(g, &c);
            j->scripts[0].chunk = chunk;
            j->scripts[0].signature = SPAN("sig");
            g->client.pause_at = paused ? 1 : 0;
            g->client.pause_us = 3000000;
            assert_true(rig_run(g));
            rig_check_text(g, "Because of it.\n");
            assert_true(span_eq(buf_span(&g->client.reasoning), SPAN("Draft  is good")));
            assert_int_equal(g->client.signatures, 0); /* it was of other words */
            assert_null(g->client.report.degraded);
            rig_check_costs(g);
            rig_done(g);
        }
}

static void test_signed_reasoning_is_left_alone(void **state)
{
    struct copier c = {.text = "Because.", .reasoning = "Draft [end A] is good ["};
    struct rig *g = rig_new();
    copying_judge(g, &c)->scripts[0].signature = SPAN("sig");
    assert_true(rig_run(g));
    rig_check_text(g, "Because.");
    assert_true(span_eq(buf_span(&g->client.reasoning), SPAN("Draft [end A] is good [")));
    assert_int_equal(g->client.signatures, 1);
    rig_done(g);
}

/* It has not said a word: the next judge is asked. */
static void test_fences_alone_are_no_answer(void **state)
{
    struct copier c = {.text = "[begin A $]\n\n  [end A $]\n"};
    for (size_t chunk = 1; chunk < 80; chunk++) {
        struct rig *g = rig_new();
        copying_judge(g, &c)->scripts[0].chunk = chunk;
        lab_judge(&g->lab, "y/k", "second judge", 10);
        assert_true(rig_run(g));
        rig_check_text(g, "second judge");
        assert_string_equal(g->client.report.degraded, "judge_empty");
        rig_done(g);
    }
}

static void test_what_was_held_back_goes_out_at_the_end(void **state)
{
    static const struct {
        const char *text, *want;
        bool breaks;
    } ends[] = {
        {"[", "[", false},
        {"x[begin A", "x[begin A", false},
        {"x[begin A", "x[begin A", true},
        {"x\n  ", "x\n  ", true},
    };
    for (size_t i = 0; i < COUNT_OF(ends); i++)
        for (size_t at = 0; at < 3; at++) {
            struct copier c = {.text = ends[i].text};
            struct rig *g = rig_new();
            struct scripted *j = copying_judge(g, &c);
            if (ends[i].breaks)
                j->scripts[0].err = lab_error(ERR_CUT, "connection lost");
            g->client.pause_at = at;
            g->client.pause_us = 3000000;
            assert_true(rig_run(g));
            assert_true(span_eq(client_text(&g->client), span_of(ends[i].want)));
            assert_true(g->client.ended && g->client.failed == ends[i].breaks);
            rig_done(g);
        }
}

static void test_a_client_that_leaves_inside_any_event(void **state)
{
    struct copier c = {.text = "  \nx[begin A $] y [be", .reasoning = "so [e"};
    for (size_t at = 1; at < 40; at++) {
        struct rig *g = rig_new();
        copying_judge(g, &c)->scripts[0].chunk = 3;
        g->client.cancel_at = at;
        assert_true(rig_run(g));
        assert_true(g->client.gone != g->client.ended);
        rig_done(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_split),
        cmocka_unit_test(test_only_what_may_be_a_mark_waits),
        cmocka_unit_test(test_one_piece_stays_one),
        cmocka_unit_test(test_after_its_end_it_begins_anew),
        cmocka_unit_test(test_drawn_bytes),
        cmocka_unit_test(test_a_judge_that_copies_its_fences),
        cmocka_unit_test(test_signed_reasoning_is_left_alone),
        cmocka_unit_test(test_fences_alone_are_no_answer),
        cmocka_unit_test(test_what_was_held_back_goes_out_at_the_end),
        cmocka_unit_test(test_a_client_that_leaves_inside_any_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
