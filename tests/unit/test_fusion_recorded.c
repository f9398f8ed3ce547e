/* tests/unit/test_fusion_recorded.c - real answers of five models to 502 questions, through the
 * real fusion: `vote` over three of them beats the best of them.
 *
 * The recordings lie beside the checkout and not in it (FUSOR_SHARED, or ../shared). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "fusion/canon.h"
#include "fusion_rig.h"
#include "json/json.h"

#ifndef FUSOR_SOURCE_ROOT
#define FUSOR_SOURCE_ROOT "."
#endif

static const struct {
    const char *model;
    double accuracy; /* percent, as the recordings' README says */
} readers[] = {
    {"gemini-1.5-pro", 73.1},   {"llama-3.1-70b-instruct", 66.7}, {"deepseek-coder-v2", 65.3},
    {"gemini-1.5-flash", 64.3}, {"mixtral-8x7b-instruct", 44.8},
};
#define PANEL 3

struct question {
    struct span text, answer;
    struct span outputs[COUNT_OF(readers)];
};

/* The whole file in memory, and its lines parsed; NULL when it is not there. */
static struct question *load(struct arena *a, size_t *out_n)
{
    const char *shared = getenv("FUSOR_SHARED");
    char path[512];
    snprintf(path, sizeof path, "%s/data/mmlu-pro-recorded/recorded.jsonl",
             shared ? shared : FUSOR_SOURCE_ROOT "/../shared");
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    char *mem = arena_alloc(a, MIB(8));
    struct question *q = arena_array(a, 1000, sizeof *q);
    assert_true(mem && q);
    struct span rest = span_make(mem, fread(mem, 1, MIB(8), f)), line;
    fclose(f);
    size_t n = 0;
    while (span_cut(&rest, '\n', &line)) {
        json_val *v;
        struct err e;
        assert_true(n < 1000);
        assert_true(json_parse(a, line, &v, &e));
        q[n].text = json_str(json_get(v, "question"));
        q[n].answer = json_str(json_get(v, "answer"));
        for (size_t i = 0; i < COUNT_OF(readers); i++)
            q[n].outputs[i] =
                json_str(json_get_span(json_get(v, "outputs"), span_of(readers[i].model)));
        n++;
    }
    *out_n = n;
    return q;
}

/* The letter in a canonical choice. */
static bool is_right(struct span canonical, struct span answer)
{
    return canonical.n == 3 && canonical.p[0] == 'c' && answer.n == 1 &&
           canonical.p[2] == answer.p[0];
}

static struct span read_choice(struct arena *a, struct span text, enum fusion_answer kind)
{
    struct err e;
    struct span out;
    const struct canon *c = canon_new(a, kind, SPAN(""), &e);
    assert_non_null(c);
    assert_true(canon_read(c, a, text, &out, &e));
    return out;
}

static double alone(const struct question *q, size_t n, size_t model, enum fusion_answer kind)
{
    size_t right = 0;
    AUTO(arena) a = arena_new(0);
    for (size_t i = 0; i < n; i++)
        right += is_right(read_choice(a, q[i].outputs[model], kind), q[i].answer);
    return 100.0 * (double)right / (double)n;
}

/* One question through the fusion: the panel answers in some order, as its recordings. */
static bool fused_right(const struct question *q, size_t panel, uint64_t seed,
                        enum fusion_answer kind)
{
    struct rig *g = rig_new();
    struct rng rng;
    rng_init(&rng, seed);
    g->lab.recipe.mode = FUSION_VOTE;
    g->lab.recipe.answer = kind;
    g->lab.recipe.quorum = (int64_t)panel;
    g->lab.recipe.seed = (int64_t)seed;
    for (size_t m = 0; m < panel; m++) {
        struct scripted *s =
            lab_member(&g->lab, readers[m].model, "", (int64_t)rng_below(&rng, 900));
        s->scripts[0].text = q->outputs[m];
        s->scripts[0].chunk = 200;
    }
    assert_true(rig_run(g));
    assert_true(g->client.ended && !g->client.failed);
    AUTO(arena) a = arena_new(0);
    bool right = is_right(read_choice(a, client_text(&g->client), FUSION_ANSWER_CHOICE), q->answer);
    rig_done(g);
    return right;
}

static double fused(const struct question *q, size_t n, size_t panel, enum fusion_answer kind)
{
    size_t right = 0;
    for (size_t i = 0; i < n; i++)
        right += fused_right(&q[i], panel, i + 1, kind);
    return 100.0 * (double)right / (double)n;
}

static void test_vote_beats_the_best_of_the_panel(void **state)
{
    AUTO(arena) a = arena_new(0);
    size_t n = 0;
    struct question *q = load(a, &n);
    if (!q) {
        print_message("skipped: no recordings (set FUSOR_SHARED to the folder that holds data/)\n");
        return;
    }
    assert_int_equal(n, 502);
    double best = 0;
    for (size_t m = 0; m < COUNT_OF(readers); m++) {
        double got = alone(q, n, m, FUSION_ANSWER_CHOICE);
        print_message("%-24s %5.1f %%  (any kind of answer: %.1f)\n", readers[m].model, got,
                      alone(q, n, m, FUSION_ANSWER_AUTO));
        assert_true(got > readers[m].accuracy - 0.25 && got < readers[m].accuracy + 0.25);
        best = m < PANEL && got > best ? got : best;
    }
    double vote = fused(q, n, PANEL, FUSION_ANSWER_CHOICE);
    double automatic = fused(q, n, PANEL, FUSION_ANSWER_AUTO);
    print_message("vote of the first %d       %5.1f %%  (any kind of answer: %.1f), "
                  "the best of them alone %.1f %%\n",
                  PANEL, vote, automatic, best);
    assert_true(vote > best + 1);
    assert_true(automatic > best + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vote_beats_the_best_of_the_panel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
