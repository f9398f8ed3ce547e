/* tests/unit/test_recipe.c - the fields of a fusion, from the file and from a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/recipe.h"

static bool read_json(struct arena *a, const char *text, struct recipe *r, struct err *e)
{
    struct node n;
    *e = (struct err){0};
    return node_from_json(a, span_of(text), "fusion", &n, e) && recipe_read(n, true, r, e);
}

static bool read_yaml(struct arena *a, const char *text, struct recipe *r, struct err *e)
{
    struct node n;
    *e = (struct err){0};
    return node_from_yaml(a, span_of(text), "f.yaml", &n, e) && recipe_read(n, false, r, e);
}

static void assert_span(struct span got, const char *want)
{
    if (!span_eq(got, span_of(want)))
        fail_msg("'%.*s' is not '%s'", SPAN_ARG(got), want);
}

static void has_defaults(void **state)
{
    struct recipe r;
    recipe_init(&r);
    assert_int_equal(r.mode, FUSION_MERGE);
    assert_int_equal(recipe_members(&r), 0);
    assert_int_equal(r.grace_us, -1);
    assert_int_equal(r.max_cost_nusd, -1);
    assert_int_equal(r.seed, -1);
    assert_int_equal(r.quorum, 0);
    assert_false(r.judge_from_request);
}

static void reads_every_field(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct recipe r;
    struct err e;
    recipe_init(&r);
    bool ok = read_yaml(a,
                        "mode: best-of\n"
                        "panel: [one, {model: lab/two, samples: 2, temperature: 0.70, weight: 1.5, "
                        "max_tokens: 100, system: Be brief., aspect: facts, seed: 4}]\n"
                        "judge: [three, one]\ncriteria: short\nquorum: 2\ngrace_ms: 250\n"
                        "timeout_ms: 60000\nmax_cost_usd: 0.05\nseed: 7\n"
                        "answer: {regex: 'x=([0-9]+)'}\nstream_members: true\n",
                        &r, &e);
    assert_string_equal(e.msg, "");
    assert_true(ok);
    assert_int_equal(r.mode, FUSION_BEST_OF);
    assert_int_equal(r.n_panel, 2);
    assert_int_equal(recipe_members(&r), 3);
    assert_span(r.panel[0].model, "one");
    assert_null(r.panel[0].temperature.p);
    assert_int_equal(r.panel[0].max_tokens, -1);
    assert_span(r.panel[1].model, "lab/two");
    assert_span(r.panel[1].temperature, "0.70");
    assert_true(r.panel[1].weight > 1.49 && r.panel[1].weight < 1.51);
    assert_int_equal(r.panel[1].max_tokens, 100);
    assert_span(r.panel[1].system, "Be brief.");
    assert_span(r.panel[1].aspect, "facts");
    assert_int_equal(r.panel[1].seed, 4);
    assert_int_equal(r.n_judges, 2);
    assert_span(r.judges[0], "three");
    assert_false(r.judge_from_request);
    assert_span(r.criteria, "short");
    assert_int_equal(r.quorum, 2);
    assert_int_equal(r.grace_us, 250000);
    assert_int_equal(r.timeout_us, 60000000);
    assert_int_equal(r.max_cost_nusd, 50000000);
    assert_int_equal(r.seed, 7);
    assert_int_equal(r.answer, FUSION_ANSWER_REGEX);
    assert_span(r.answer_regex, "x=([0-9]+)");
    assert_true(r.stream_members);
}

static void merges_over(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct recipe r;
    struct err e;
    recipe_init(&r);
    assert_true(read_yaml(a, "panel: [a, b, c]\njudge: j\nquorum: 2\ngrace_ms: 10\n", &r, &e));
    assert_true(read_json(a,
                          "{\"mode\":\"vote\",\"grace_ms\":\"auto\",\"answer\":\"choice\","
                          "\"judge\":null,\"analysis\":false,\"hedge\":null,\"max_cost_usd\":1e-3}",
                          &r, &e));
    assert_int_equal(r.mode, FUSION_VOTE);
    assert_int_equal(r.n_panel, 3);
    assert_int_equal(r.quorum, 2);
    assert_int_equal(r.grace_us, -1);
    assert_int_equal(r.answer, FUSION_ANSWER_CHOICE);
    assert_int_equal(r.max_cost_nusd, 1000000);
    assert_false(r.judge_from_request);
    assert_true(read_json(a, "{\"judge\":\"k\",\"panel\":[\"a\",{\"model\":\"b\",\"samples\":2}]}",
                          &r, &e));
    assert_true(r.judge_from_request);
    assert_span(r.judges[0], "k");
    assert_int_equal(recipe_members(&r), 3);
    assert_string_equal(fusion_mode_name(r.mode), "vote");
}

static void refuses_in_requests(void **state)
{
    static const struct {
        const char *text, *param, *msg;
    } cases[] = {
        {"{\"panle\":[]}", "fusion.panle",
         "fusion.panle: unknown field 'panle'; did you mean 'panel'?"},
        {"[1]", "fusion", "fusion: must be a map of fields, not a list"},
        {"{\"panel\":[]}", "fusion.panel", "fusion.panel: must have 1 to 16 members, not 0"},
        {"{\"panel\":\"a\"}", "fusion.panel", "fusion.panel: must be a list of 1 to 16 members"},
        {"{\"panel\":[\"a\",{\"model\":5}]}", "fusion.panel[1].model",
         "fusion.panel[1].model: must be text, not '5'"},
        {"{\"panel\":[\"\"]}", "fusion.panel[0]", "fusion.panel[0]: must name a model"},
        {"{\"panel\":[null]}", "fusion.panel[0]", "fusion.panel[0]: must name a model"},
        {"{\"panel\":[{\"samples\":2}]}", "fusion.panel[0]",
         "fusion.panel[0]: a member needs 'model'"},
        {"{\"panel\":[{\"model\":\"a\",\"samples\":9},{\"model\":\"b\",\"samples\":8}]}",
         "fusion.panel", "fusion.panel: makes 17 members with all samples; at most 16 can run"},
        {"{\"panel\":[{\"model\":\"a\",\"temperature\":2.5}]}", "fusion.panel[0].temperature",
         "fusion.panel[0].temperature: must be a number from 0 to 2, not '2.5'"},
        {"{\"panel\":[{\"model\":\"a\",\"weight\":0}]}", "fusion.panel[0].weight",
         "fusion.panel[0].weight: must be larger than 0; leave the member out instead"},
        {"{\"panel\":[{\"model\":\"a\",\"reasoning\":{}}]}", "fusion.panel[0].reasoning",
         "fusion.panel[0].reasoning: this field comes with a later version"},
        {"{\"mode\":\"debate\"}", "fusion.mode",
         "fusion.mode: 'debate' comes with the full fusion of a later version; use merge, best_of "
         "or vote"},
        {"{\"mode\":\"mix\"}", "fusion.mode",
         "fusion.mode: must be merge, best_of or vote, not 'mix'"},
        {"{\"hedge\":{\"after\":\"p95\"}}", "fusion.hedge",
         "fusion.hedge: this field comes with a later version"},
        {"{\"tools\":\"judge\"}", "fusion.tools",
         "fusion.tools: this field comes with a later version"},
        {"{\"judge\":[]}", "fusion.judge", "fusion.judge: must name 1 to 4 models, not 0"},
        {"{\"judge\":[\"a\",7]}", "fusion.judge[1]", "fusion.judge[1]: must be text, not '7'"},
        {"{\"quorum\":3,\"panel\":[\"a\",\"b\"]}", "fusion.quorum",
         "fusion.quorum: 3 is more than the 2 members of the panel"},
        {"{\"quorum\":0}", "fusion.quorum",
         "fusion.quorum: must be a whole number from 1 to 16, not '0'"},
        {"{\"grace_ms\":\"soon\"}", "fusion.grace_ms",
         "fusion.grace_ms: must be a duration such as 250ms, 3s, 15m, 2h or 7d, not 'soon'"},
        {"{\"max_cost_usd\":\"0.05\"}", "fusion.max_cost_usd",
         "fusion.max_cost_usd: must be an amount in USD such as 0.05, not '0.05'"},
        {"{\"seed\":9007199254740993}", "fusion.seed",
         "fusion.seed: must be a whole number from 0 to 9007199254740975, not "
         "'9007199254740993'"},
        {"{\"answer\":\"essay\"}", "fusion.answer",
         "fusion.answer: must be auto, choice, number, boolean, json or text, not 'essay'"},
        {"{\"answer\":{\"regex\":\"a\"}}", "fusion.answer",
         "fusion.answer: a regex can only stand in a recipe of the configuration file"},
        {"{\"stream_members\":1}", "fusion.stream_members",
         "fusion.stream_members: must be true or false, not '1'"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        struct recipe r, before;
        struct err e;
        recipe_init(&r);
        before = r;
        assert_false(read_json(a, cases[i].text, &r, &e));
        assert_string_equal(e.msg, cases[i].msg);
        assert_string_equal(e.param, cases[i].param);
        assert_int_equal(e.cls, ERR_INPUT);
        assert_memory_equal(&r, &before, sizeof r);
    }
}

static void refuses_in_files(void **state)
{
    static const struct {
        const char *text, *msg;
    } cases[] = {
        {"panel:\n  - a\n  - {model: b, sample: 2}\n",
         "f.yaml:3:16: unknown field 'sample'; did you mean 'samples'?"},
        {"panel: [a]\nanswer: {regex: '('}\n",
         "f.yaml:2:17: regex: is no POSIX extended regular expression: Unmatched ( or \\("},
        {"panel: [a]\nanswer: {}\n", "f.yaml:2:1: answer: needs 'regex'"},
        {"panel: [a]\nanswer: {regex: ''}\n", "f.yaml:2:17: regex: must have 1 to 512 characters"},
        {"judge:\n", "f.yaml:1:1: judge: has no value; it must be text"},
        {"rounds: 2\n", "f.yaml:1:9: rounds: this field comes with a later version"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        struct recipe r;
        struct err e;
        recipe_init(&r);
        assert_false(read_yaml(a, cases[i].text, &r, &e));
        assert_string_equal(e.msg, cases[i].msg);
        assert_int_equal(e.cls, ERR_CONFIG);
    }
}

/* The quorum of a recipe is never clamped to a smaller panel of the request. */
static void keeps_the_quorum(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct recipe r;
    struct err e;
    recipe_init(&r);
    assert_true(read_yaml(a, "panel: [a, b, c]\nquorum: 3\n", &r, &e));
    assert_false(read_json(a, "{\"panel\":[\"a\",\"b\"]}", &r, &e));
    assert_string_equal(e.msg, "fusion.panel: has 2 members, but the recipe's quorum is 3; set "
                               "'quorum' too");
    assert_true(read_json(a, "{\"panel\":[\"a\",\"b\"],\"quorum\":2}", &r, &e));
    assert_int_equal(r.quorum, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_defaults),     cmocka_unit_test(reads_every_field),
        cmocka_unit_test(merges_over),      cmocka_unit_test(refuses_in_requests),
        cmocka_unit_test(refuses_in_files), cmocka_unit_test(keeps_the_quorum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
