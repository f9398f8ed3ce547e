/* tests/unit/test_fusion_plan.c - the plan: what is refused, caps and notes, and that its bound
 * holds over every call that the machine makes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "fusion_rig.h"
#include "ledger/price.h"

static bool plan(struct rig *g, struct arena *a, struct fusion_plan *p, struct err *e)
{
    return fusion_plan_make(a, &g->lab.env, &g->lab.recipe, &g->req, NULL, p, e);
}

/* --- what a recipe cannot take -------------------------------------------------------------------
 */

static const struct chat_tool one_tool = {.name = SPAN_INIT("f"), .strict = -1};

static void with_n(struct chat_request *r)
{
    r->n = 2;
}
static void with_logprobs(struct chat_request *r)
{
    r->logprobs = 1;
}
static void with_audio(struct chat_request *r)
{
    r->audio_out = true;
}
static void with_tools(struct chat_request *r)
{
    r->tools = &one_tool;
    r->n_tools = 1;
}
static void with_json(struct chat_request *r)
{
    r->format = CHAT_FORMAT_JSON;
}
static void with_schema(struct chat_request *r)
{
    r->format = CHAT_FORMAT_SCHEMA;
}
static void with_unknown(struct chat_request *r)
{
    r->fusion = SPAN("{\"modus\": \"merge\"}");
}
static void with_debate(struct chat_request *r)
{
    r->fusion = SPAN("{\"mode\": \"debate\"}");
}
static void with_stranger(struct chat_request *r)
{
    r->fusion = SPAN("{\"panel\": [\"no/body\"]}");
}

static void test_refusals(void **state)
{
    static const struct {
        void (*change)(struct chat_request *r);
        enum err_class cls;
        const char *param;
    } cases[] = {
        {with_n, ERR_INPUT, "n"},
        {with_logprobs, ERR_INPUT, "logprobs"},
        {with_audio, ERR_INPUT, "modalities"},
        {with_tools, ERR_INPUT, "tools"},
        {with_json, ERR_INPUT, "response_format"},
        {with_schema, ERR_INPUT, "response_format"},
        {with_unknown, ERR_INPUT, "fusion.modus"},
        {with_debate, ERR_INPUT, "fusion.mode"},
        {with_stranger, ERR_NOT_FOUND, ""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rig *g = rig_new();
        AUTO(arena) a = arena_new(0);
        struct fusion_plan p;
        struct err e = {0};
        lab_member(&g->lab, "x/a", "alpha", 10);
        cases[i].change(&g->req);
        assert_false(plan(g, a, &p, &e));
        assert_int_equal(e.cls, cases[i].cls);
        assert_string_equal(e.param, cases[i].param);
        assert_false(rig_run(g)); /* start says the same, and nothing is called */
        assert_int_equal(g->client.err.cls, cases[i].cls);
        assert_int_equal(g->lab.models[0].starts, 0);
        rig_done(g);
    }
}

/* --- caps ----------------------------------------------------------------------------------------
 */

static void test_max_tokens_and_defaults(void **state)
{
    struct rig *g = rig_new();
    AUTO(arena) a = arena_new(0);
    struct fusion_plan p;
    struct err e = {0};
    lab_member(&g->lab, "x/a", "alpha", 10);
    lab_member(&g->lab, "x/b", "beta", 10);
    g->lab.recipe.panel[1].max_tokens = 50;
    assert_true(plan(g, a, &p, &e));
    assert_int_equal(p.members[0].max_tokens, -1);
    assert_int_equal(p.members[1].max_tokens, 50);
    assert_int_equal(p.worst_nusd, -1); /* a member without a cap, in a window of unknown size */
    assert_true(p.fits);
    g->req.max_tokens = 100;
    assert_true(plan(g, a, &p, &e));
    assert_int_equal(p.members[0].max_tokens, 100);
    assert_int_equal(p.members[1].max_tokens, 50);
    assert_int_equal(p.judges[0].max_tokens, 100);
    g->req.max_tokens = -1;
    g->lab.recipe.max_cost_nusd = 1000000000;
    assert_true(plan(g, a, &p, &e));
    assert_int_equal(p.members[0].max_tokens, 8192); /* sent upstream, and said */
    assert_true(p.worst_nusd > 0 && p.fits);
    bool said = false;
    for (size_t i = 0; i < p.n_warnings; i++)
        said = said || span_index(p.warnings[i], SPAN("8192")) < p.warnings[i].n;
    assert_true(said);
    g->lab.recipe.max_cost_nusd = 100;
    assert_true(plan(g, a, &p, &e));
    assert_false(p.fits);
    assert_false(rig_run(g));
    assert_int_equal(g->client.err.cls, ERR_BUDGET);
    assert_int_equal(g->client.err.status, 402);
    assert_non_null(strstr(g->client.err.msg, "0.000000100"));
    rig_done(g);
}

static void test_unknown_price_under_a_cap(void **state)
{
    struct rig *g = rig_new();
    AUTO(arena) a = arena_new(0);
    struct fusion_plan p;
    struct err e = {0};
    lab_member(&g->lab, "x/a", "alpha", 10);
    lab_member(&g->lab, "x/dear", "beta", 10)->price = (struct price){-1, -1, -1, -1, false};
    assert_true(plan(g, a, &p, &e));
    assert_int_equal(p.worst_nusd, -1);
    g->lab.recipe.max_cost_nusd = 1000000000;
    assert_false(plan(g, a, &p, &e));
    assert_int_equal(e.cls, ERR_BUDGET);
    assert_non_null(strstr(e.msg, "x/dear"));
    rig_done(g);
}

/* The bound knows what a long input costs: its answer too. And what a model cannot write is not
 * reckoned with. */
static void test_sizes_of_input(void **state)
{
    struct rig *g = rig_new();
    AUTO(arena) a = arena_new(0);
    struct fusion_plan p;
    struct err e = {0};
    struct scripted *m = lab_member(&g->lab, "x/a", "alpha", 10);
    lab_judge(&g->lab, "y/j", "ok", 10)->price = (struct price){.known = true};
    m->max_output = 70;
    assert_true(plan(g, a, &p, &e));
    int64_t input = p.members[0].input_bound_tok;
    assert_true(input > 1);
    assert_int_equal(p.worst_nusd, input + 70);
    m->price.n_tiers = 1;
    m->price.tiers[0] = (struct price_tier){input, 2000000, -1, -1, 3000000};
    assert_true(plan(g, a, &p, &e));
    assert_int_equal(p.worst_nusd, input + 70);
    m->price.tiers[0].above_tok = input - 1;
    assert_true(plan(g, a, &p, &e));
    assert_int_equal(p.worst_nusd, 2 * input + 3 * 70);
    g->req.max_tokens = 7;
    assert_true(plan(g, a, &p, &e));
    assert_int_equal(p.worst_nusd, 2 * input + 3 * 7);
    rig_done(g);
}

static void test_warnings(void **state)
{
    static const struct {
        const char *member, *judge;
        bool bills_on;
        const char *want; /* NULL: none */
    } cases[] = {
        {"x/alpha-1", "y/beta-2", false, NULL},
        {"x/alpha-1", "x/alpha-1", false, "also a member"},
        {"x/gpt-4o", "y/gpt-5", false, "one family"},
        {"x/alpha-1", NULL, false, "also a member"},
        {"x/alpha-1", "y/beta-2", true, "bills on"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rig *g = rig_new();
        AUTO(arena) a = arena_new(0);
        struct fusion_plan p;
        struct err e = {0};
        lab_member(&g->lab, cases[i].member, "a", 10)->bills_on = cases[i].bills_on;
        lab_member(&g->lab, "z/other", "b", 10);
        if (cases[i].judge)
            lab_judge(&g->lab, cases[i].judge, "c", 10);
        assert_true(plan(g, a, &p, &e));
        assert_int_equal(p.n_warnings, cases[i].want ? 1 : 0);
        if (cases[i].want)
            assert_true(span_index(p.warnings[0], span_of(cases[i].want)) < p.warnings[0].n);
        rig_done(g);
    }
}

/* --- windows -------------------------------------------------------------------------------------
 */

static void test_context(void **state)
{
    static char text[60001];
    memset(text, 'x', 60000);
    static const struct {
        int64_t member, judge;
        bool fits;
    } cases[] = {{0, 0, true}, {1000, 0, false}, {0, 1000, false}, {100000, 100000, true}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rig *g = rig_new();
        g->req = ask(text);
        lab_member(&g->lab, "x/a", "alpha", 10)->context = cases[i].member;
        lab_member(&g->lab, "x/b", "beta", 10)->context = cases[i].member;
        lab_judge(&g->lab, "y/j", "ok", 10)->context = cases[i].judge;
        assert_int_equal(rig_run(g), cases[i].fits);
        if (!cases[i].fits) {
            assert_string_equal(g->client.err.code, "context_length_exceeded");
            assert_int_equal(g->client.err.status, 400);
            assert_int_equal(g->lab.models[0].starts, 0);
        }
        rig_done(g);
    }
}

static void test_answers_are_trimmed_to_the_judges_window(void **state)
{
    static char text[60001];
    memset(text, 'x', 60000);
    struct rig *g = rig_new();
    lab_member(&g->lab, "x/a", text, 10);
    lab_member(&g->lab, "x/b", "beta", 10);
    struct scripted *j = lab_judge(&g->lab, "y/j", "ok", 10);
    j->context = 4096;
    assert_true(rig_run(g));
    rig_check_text(g, "ok");
    struct span p = scripted_prompt(j);
    assert_true(p.n < 4096 * 3 && p.n > 4096);
    assert_true(span_index(p, SPAN("bytes left out")) < p.n);
    rig_done(g);
}

/* --- the bound -----------------------------------------------------------------------------------
 */

/* Worst things that judges can do, in every mode: no run costs more than its plan said, and no run
 * makes more judge calls than the plan lists. Every call uses its cap to the last token. */
static void spend_all(struct scripted *m, const struct chat_request *r, struct script *out)
{
    int64_t input = chat_input_bytes(r) + (int64_t)r->n_messages * 16;
    out->usage = (struct chat_usage){.input = input, .output = r->max_tokens};
    out->usage.cost_nusd = price_cost_nusd(&m->price, &out->usage);
}

enum bad { BAD_FAILS, BAD_GARBLES, BAD_CONTRADICTS, BAD_KINDS };

static void bad_judge(struct scripted *m, const struct chat_request *r, struct script *out)
{
    struct reader reader = {.by_place = true, .close = true};
    static char reply[1024];
    reader_read(&reader, scripted_prompt(m));
    switch ((enum bad)(intptr_t)m->ctx) {
    case BAD_FAILS:
        out->err = lab_error(ERR_UPSTREAM, "broken");
        break;
    case BAD_GARBLES:
    case BAD_KINDS:
        out->text = SPAN("the best is the one that I like");
        break;
    case BAD_CONTRADICTS: {
        size_t at = (size_t)snprintf(reply, sizeof reply, "{\"scores\":{");
        for (size_t i = 0; i < reader.n; i++)
            at += (size_t)snprintf(reply + at, sizeof reply - at, "%s\"%c\":5", i ? "," : "",
                                   reader.label[i]);
        snprintf(reply + at, sizeof reply - at, "},\"best\":\"%c\"}", reader.label[0]);
        out->text = span_of(reply);
        break;
    }
    }
    spend_all(m, r, out);
}

static void one_bound(enum fusion_mode mode, size_t judges, enum bad bad, size_t *out_calls)
{
    static const char *const names[] = {"y/j1", "y/j2", "y/j3", "y/j4"};
    struct rig *g = rig_new();
    AUTO(arena) a = arena_new(0);
    struct fusion_plan p;
    struct err e = {0};
    g->lab.recipe.mode = mode;
    g->req.max_tokens = 40;
    g->lab.recipe.panel[0].max_tokens = 30;
    for (size_t i = 0; i < 3; i++)
        lab_member(&g->lab,
                   i == 0   ? "x/a"
                   : i == 1 ? "x/b"
                            : "x/c",
                   i == 0   ? "1"
                   : i == 1 ? "2"
                            : "3",
                   10)
            ->answer = spend_all;
    for (size_t i = 0; i < judges; i++) {
        struct scripted *j = lab_judge(&g->lab, names[i], "", 10);
        j->answer = bad_judge;
        j->ctx = (void *)(intptr_t)bad;
    }
    assert_true(plan(g, a, &p, &e));
    assert_true(p.worst_nusd > 0);
    assert_true(rig_run(g));
    assert_true(g->client.ended);
    rig_check_costs(g);
    assert_true(g->client.usage.cost_nusd <= p.worst_nusd);
    assert_true(g->client.report.n_judges <= p.n_judges);
    assert_int_equal(g->client.report.planned_nusd, p.worst_nusd);
    *out_calls = g->client.report.n_judges;
    rig_done(g);
}

static void test_no_run_costs_more_than_its_plan(void **state)
{
    static const enum fusion_mode modes[] = {FUSION_MERGE, FUSION_BEST_OF, FUSION_VOTE};
    for (size_t m = 0; m < COUNT_OF(modes); m++)
        for (size_t judges = 0; judges <= 4; judges++)
            for (int bad = 0; bad < BAD_KINDS; bad++) {
                size_t calls;
                one_bound(modes[m], judges, (enum bad)bad, &calls);
                if (modes[m] != FUSION_MERGE && judges > 0)
                    assert_int_equal(calls, bad == BAD_FAILS ? judges : 2 * judges);
            }
}

/* --- as JSON -------------------------------------------------------------------------------------
 */

static void test_plan_as_json(void **state)
{
    struct rig *g = rig_new();
    AUTO(arena) a = arena_new(0);
    struct fusion_plan p;
    struct err e = {0};
    struct buf b;
    g->req.max_tokens = 10;
    lab_member(&g->lab, "x/a", "alpha", 10);
    lab_member(&g->lab, "x/b", "beta", 10)->price = (struct price){-1, -1, -1, -1, false};
    lab_judge(&g->lab, "y/j", "ok", 10);
    assert_true(plan(g, a, &p, &e));
    buf_init(&b, KIB(64));
    assert_true(fusion_plan_write(&p, &b, &e));
    struct span s = buf_span(&b);
    static const char *const want[] = {"\"mode\":\"merge\"",
                                       "\"members\":[{\"label\":\"",
                                       "\"model\":\"x/a\"",
                                       "\"max_tokens\":10",
                                       "\"worst_cost_usd\":null",
                                       "\"judge\":[{\"label\":\"judge\",\"model\":\"y/j\"",
                                       "\"fits\":true",
                                       "\"shrunk\":[]",
                                       "\"warnings\":[]",
                                       "\"seed\":7",
                                       "\"quorum\":2",
                                       "\"expected_ms\":null",
                                       "\"expected_cost_usd\":null"};
    for (size_t i = 0; i < COUNT_OF(want); i++)
        if (span_index(s, span_of(want[i])) == s.n)
            fail_msg("no %s in %.*s", want[i], SPAN_ARG(s));
    buf_done(&b);
    rig_done(g);
}

static void test_drawn_seeds_can_be_given_back(void **state)
{
    struct rig *g = rig_new();
    AUTO(arena) a = arena_new(0);
    struct fusion_plan p, q;
    struct err e = {0};
    for (int i = 0; i < 5; i++) {
        char name[8];
        snprintf(name, sizeof name, "x/%d", i);
        struct span s = arena_dup(a, span_of(name));
        lab_member(&g->lab, s.p, "alpha", 10);
    }
    g->lab.recipe.seed = -1;
    assert_true(plan(g, a, &p, &e));
    g->lab.recipe.seed = (int64_t)p.seed;
    assert_true(plan(g, a, &q, &e));
    assert_true(p.seed == q.seed && p.seed < (1ull << 53));
    for (size_t i = 0; i < 5; i++)
        assert_true(span_eq(p.members[i].label, q.members[i].label));
    rig_done(g);
}

static void test_small_arenas(void **state)
{
    bool whole = false;
    for (size_t max = 16; !whole; max += 16) {
        struct rig *g = rig_new();
        AUTO(arena) a = arena_new(max);
        struct fusion_plan p;
        struct err e = {0};
        g->req.fusion = SPAN("{\"mode\": \"best_of\", \"max_cost_usd\": 1}");
        lab_member(&g->lab, "x/gpt-1", "alpha", 10)->bills_on = true;
        lab_member(&g->lab, "x/b", "beta", 10);
        lab_judge(&g->lab, "y/gpt-2", "ok", 10);
        whole = plan(g, a, &p, &e);
        assert_true(whole || e.cls == ERR_NOMEM);
        assert_true(max < MIB(1));
        rig_done(g);
    }
}

/* Each judge of a decision: the verdict, its repair (which shows the verdict again), the other
 * order. */
static void test_every_judge_call_is_listed(void **state)
{
    struct rig *g = rig_new();
    AUTO(arena) a = arena_new(0);
    struct fusion_plan p;
    struct err e = {0};
    g->lab.recipe.mode = FUSION_BEST_OF;
    g->req.max_tokens = 10;
    lab_member(&g->lab, "x/a", "alpha", 10);
    lab_member(&g->lab, "x/b", "beta", 10);
    assert_true(plan(g, a, &p, &e));
    assert_int_equal(p.n_judges, 3); /* a member judges */
    lab_judge(&g->lab, "y/j1", "ok", 10);
    lab_judge(&g->lab, "y/j2", "ok", 10);
    assert_true(plan(g, a, &p, &e));
    assert_int_equal(p.n_judges, 6);
    assert_true(p.judges[1].input_bound_tok >=
                p.judges[0].input_bound_tok + p.judges[0].max_tokens);
    assert_int_equal(p.judges[2].input_bound_tok, p.judges[0].input_bound_tok);
    g->lab.recipe.mode = FUSION_MERGE;
    assert_true(plan(g, a, &p, &e));
    assert_int_equal(p.n_judges, 2);
    g->lab.recipe.n_judges = 0;
    g->lab.recipe.mode = FUSION_VOTE;
    assert_true(plan(g, a, &p, &e));
    assert_int_equal(p.n_judges, 0);
    rig_done(g);
}

static void test_a_recipe_needs_a_panel(void **state)
{
    struct rig *g = rig_new();
    assert_false(rig_run(g));
    assert_string_equal(g->client.err.param, "fusion.panel");
    rig_done(g);
}

static void test_images_under_a_cap(void **state)
{
    for (int capped = 0; capped < 2; capped++) {
        struct rig *g = rig_new();
        AUTO(arena) a = arena_new(0);
        struct fusion_plan p;
        struct err e = {0};
        struct chat_part image = {.kind = CHAT_PART_IMAGE, .url = SPAN("data:x")};
        struct chat_message m = {.role = CHAT_USER, .parts = &image, .n_parts = 1};
        g->req.messages = &m;
        g->req.max_tokens = 10;
        lab_member(&g->lab, "x/a", "alpha", 10);
        g->lab.recipe.max_cost_nusd = capped ? 1000000000 : -1;
        assert_int_equal(plan(g, a, &p, &e), !capped);
        if (capped)
            assert_int_equal(e.cls, ERR_BUDGET);
        else
            assert_int_equal(p.worst_nusd, -1);
        g->lab.models[0].price = (struct price){0, 0, 0, 0, true};
        assert_true(plan(g, a, &p, &e)); /* what is free costs nothing, whatever it reads */
        assert_int_equal(p.worst_nusd, 0);
        rig_done(g);
    }
}

static void test_expected_time_and_cost(void **state)
{
    struct rig *g = rig_new();
    AUTO(arena) a = arena_new(0);
    AUTO(latency) l = latency_new();
    struct fusion_plan p;
    struct err e = {0};
    for (int i = 0; i < 30; i++)
        latency_record(l, 1000000);
    lab_member(&g->lab, "x/a", "alpha", 10)->latency = l;
    lab_member(&g->lab, "x/b", "beta", 10)->latency = l;
    lab_judge(&g->lab, "y/j", "ok", 10)->latency = l;
    assert_true(plan(g, a, &p, &e));
    assert_true(p.expected_us >= 2000000 && p.expected_us < 2400000);
    assert_true(p.expected_nusd > 0);
    g->lab.recipe.mode = FUSION_VOTE;
    assert_true(plan(g, a, &p, &e));
    assert_true(p.expected_us >= 1000000 && p.expected_us < 1200000);
    rig_done(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_max_tokens_and_defaults),
        cmocka_unit_test(test_unknown_price_under_a_cap),
        cmocka_unit_test(test_sizes_of_input),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_answers_are_trimmed_to_the_judges_window),
        cmocka_unit_test(test_no_run_costs_more_than_its_plan),
        cmocka_unit_test(test_plan_as_json),
        cmocka_unit_test(test_drawn_seeds_can_be_given_back),
        cmocka_unit_test(test_small_arenas),
        cmocka_unit_test(test_every_judge_call_is_listed),
        cmocka_unit_test(test_a_recipe_needs_a_panel),
        cmocka_unit_test(test_images_under_a_cap),
        cmocka_unit_test(test_expected_time_and_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
