/* tests/unit/test_fusion_run.c - the panel: what is usable, quorum, grace, faults, order.
 * Numbers after "trap" are those of docs/fusion.md, "Traps". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "fusion_rig.h"

/* --- usable or not -------------------------------------------------------------------------------
 */

static void test_trap_5_unusable_answers_do_not_count(void **state)
{
    static const struct {
        const char *reason;
        struct script script;
    } cases[] = {
        {"empty", {.text = SPAN_INIT("")}},
        {"empty", {.text = SPAN_INIT(" \n\t ")}},
        {"empty", {.reasoning = SPAN_INIT("only thoughts")}},
        {"refused", {.refusal = SPAN_INIT("I cannot help")}},
        {"refused", {.text = SPAN_INIT("half"), .finish = CHAT_FINISH_CONTENT_FILTER}},
        {"cut", {.text = SPAN_INIT("half an"), .finish = CHAT_FINISH_LENGTH}},
        {"cut", {.text = SPAN_INIT(""), .finish = CHAT_FINISH_LENGTH}},
        {"tool_calls", {.text = SPAN_INIT("x"), .finish = CHAT_FINISH_TOOL_CALLS}},
        {"garbled", {.text = SPAN_INIT("\xff\xfe broken")}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rig *g = rig_new();
        g->lab.recipe.mode = FUSION_BEST_OF;
        struct scripted *a = lab_member(&g->lab, "x/a", "", 10);
        a->scripts[0] = cases[i].script;
        lab_member(&g->lab, "x/b", "good", 500);
        assert_true(rig_run(g));
        rig_check_text(g, "good");
        assert_int_equal(rig_state(g, 0), CHAT_MEMBER_UNUSED);
        assert_string_equal(g->client.report.members[0].reason, cases[i].reason);
        rig_done(g);
    }
}

static void test_trap_25_small_max_tokens_still_answers(void **state)
{
    static const enum fusion_mode modes[] = {FUSION_MERGE, FUSION_BEST_OF, FUSION_VOTE};
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        struct rig *g = rig_new();
        g->lab.recipe.mode = modes[i];
        g->req.max_tokens = 100;
        struct scripted *m[2] = {lab_member(&g->lab, "x/a", "The answer is 4, bec", 10),
                                 lab_member(&g->lab, "x/b", "The answer is 4, as", 20)};
        static struct reader r;
        r = (struct reader){.wants = "bec"};
        if (modes[i] == FUSION_MERGE)
            lab_judge(&g->lab, "y/j", "merged", 10);
        else if (modes[i] == FUSION_BEST_OF)
            rig_fair_judge(g, "y/j", &r);
        for (size_t k = 0; k < 2; k++)
            m[k]->scripts[0].finish = CHAT_FINISH_LENGTH;
        assert_true(rig_run(g));
        rig_check_text(g, modes[i] == FUSION_MERGE ? "merged" : "The answer is 4, bec");
        assert_int_equal(g->client.finish, CHAT_FINISH_LENGTH);
        assert_int_equal(m[0]->last.max_tokens, 100);
        rig_done(g);
    }
}

static void test_one_cut_answer_goes_out_as_it_is(void **state)
{
    struct rig *g = rig_new();
    struct scripted *a = lab_member(&g->lab, "x/a", "half an", 10);
    a->scripts[0].finish = CHAT_FINISH_LENGTH;
    lab_member(&g->lab, "x/b", "", 20);
    assert_true(rig_run(g));
    rig_check_text(g, "half an");
    assert_int_equal(g->client.finish, CHAT_FINISH_LENGTH);
    rig_done(g);
}

static void test_all_refused_is_a_refusal(void **state)
{
    struct rig *g = rig_new();
    lab_member(&g->lab, "x/a", "", 30)->scripts[0].refusal = SPAN("first of the panel");
    lab_member(&g->lab, "x/b", "", 10)->scripts[0].refusal = SPAN("first to arrive");
    script_error(lab_member(&g->lab, "x/c", "", 10), ERR_UPSTREAM, "broken");
    assert_true(rig_run(g));
    assert_true(g->client.ended && !g->client.failed);
    assert_true(span_eq(buf_span(&g->client.refusal), SPAN("first of the panel")));
    assert_int_equal(g->client.finish, CHAT_FINISH_REFUSAL);
    rig_check_costs(g);
    rig_done(g);
}

static void test_nothing_usable_is_an_error_with_reasons(void **state)
{
    static const struct {
        enum err_class a, b, want;
        int status;
    } cases[] = {
        {ERR_BUSY, ERR_BUSY, ERR_BUSY, 429},           {ERR_BUDGET, ERR_BUDGET, ERR_BUDGET, 402},
        {ERR_TIMEOUT, ERR_TIMEOUT, ERR_TIMEOUT, 504},  {ERR_BUSY, ERR_TIMEOUT, ERR_UPSTREAM, 502},
        {ERR_CONNECT, ERR_CONNECT, ERR_UPSTREAM, 502}, {ERR_AUTH, ERR_UPSTREAM, ERR_UPSTREAM, 502},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rig *g = rig_new();
        struct scripted *a = lab_member(&g->lab, "x/a", "", 10);
        struct scripted *b = lab_member(&g->lab, "x/b", "", 20);
        script_error(a, cases[i].a, "first reason");
        script_error(b, cases[i].b, "second reason");
        a->scripts[0].err.retry_after_ms = 9000;
        b->scripts[0].err.retry_after_ms = 4000;
        assert_true(rig_run(g));
        assert_true(g->client.failed && g->client.ended);
        assert_int_equal(g->client.err.cls, cases[i].want);
        assert_int_equal(g->client.err.status, cases[i].status);
        assert_int_equal(g->client.err.retry_after_ms, cases[i].want == ERR_BUSY ? 4000 : -1);
        assert_non_null(strstr(g->client.err.msg, "x/a: first reason"));
        assert_non_null(strstr(g->client.err.msg, "x/b: second reason"));
        assert_int_equal(g->client.usages, 1);
        rig_check_costs(g);
        rig_done(g);
    }
}

static void test_nothing_starts_is_an_error_of_start(void **state)
{
    struct rig *g = rig_new();
    for (int i = 0; i < 2; i++) {
        struct scripted *m = lab_member(&g->lab, i ? "x/b" : "x/a", "", 10);
        m->scripts[0] = (struct script){.no_start = true, .err = lab_error(ERR_BUSY, "full")};
    }
    assert_false(rig_run(g));
    assert_int_equal(g->client.err.cls, ERR_BUSY);
    assert_int_equal(g->client.log.n, 0);
    rig_done(g);
}

/* --- quorum and grace ----------------------------------------------------------------------------
 */

static void test_quorum_then_grace_then_abort(void **state)
{
    struct rig *g = rig_new();
    g->lab.recipe.mode = FUSION_VOTE;
    g->lab.recipe.grace_us = 50000;
    lab_member(&g->lab, "x/a", "The answer is (A).", 100);
    lab_member(&g->lab, "x/b", "The answer is (B).", 120);
    struct scripted *c = lab_member(&g->lab, "x/c", "The answer is (B).", 9000);
    c->scripts[0].hang = true;
    assert_true(rig_run(g));
    rig_check_text(g, "The answer is (A).");
    assert_int_equal(g->client.ended_us - g->client.began_us, 170000);
    assert_int_equal(c->cancelled, 1);
    assert_int_equal(rig_state(g, 2), CHAT_MEMBER_ABANDONED);
    assert_true(g->client.report.members[2].usage.estimated);
    rig_check_costs(g);
    rig_done(g);
}

static void test_grace_lets_a_late_answer_in(void **state)
{
    struct rig *g = rig_new();
    g->lab.recipe.mode = FUSION_VOTE;
    g->lab.recipe.grace_us = 50000;
    lab_member(&g->lab, "x/a", "The answer is (A).", 100);
    lab_member(&g->lab, "x/b", "The answer is (B).", 120);
    lab_member(&g->lab, "x/c", "The answer is (B).", 150);
    assert_true(rig_run(g));
    rig_check_text(g, "The answer is (B).");
    assert_int_equal(g->client.ended_us - g->client.began_us, 150000);
    rig_done(g);
}

/* A straggler without a history: a quarter of the time the quorum took. */
static void test_grace_auto_without_history(void **state)
{
    struct rig *g = rig_new();
    lab_member(&g->lab, "x/a", "alpha", 100);
    lab_member(&g->lab, "x/b", "beta", 200);
    struct scripted *c = lab_member(&g->lab, "x/c", "gamma", 9000);
    struct scripted *j = lab_judge(&g->lab, "y/j", "ok", 1);
    assert_true(rig_run(g));
    assert_int_equal(c->cancelled, 1);
    assert_int_equal(j->starts, 1);
    assert_int_equal(g->client.ended_us - g->client.began_us, 251000);
    rig_check_costs(g);
    rig_done(g);
}

/* With a history: waited for while it is likely to come, dropped when it is not. */
static void test_grace_auto_with_history(void **state)
{
    for (int late = 0; late < 2; late++) {
        struct rig *g = rig_new();
        AUTO(latency) l = latency_new();
        for (int i = 0; i < 100; i++)
            latency_record(l, 900000 + i * 1000);
        lab_member(&g->lab, "x/a", "alpha", 100);
        lab_member(&g->lab, "x/b", "beta", late ? 1500 : 800);
        struct scripted *c = lab_member(&g->lab, "x/c", "gamma", late ? 5000 : 990);
        c->latency = l;
        lab_judge(&g->lab, "y/j", "ok", 1);
        assert_true(rig_run(g));
        rig_check_text(g, "ok");
        assert_int_equal(c->cancelled, late);
        assert_int_equal(g->client.ended_us - g->client.began_us, late ? 1501000 : 991000);
        rig_done(g);
    }
}

static void test_trap_4_the_users_quorum_is_not_clamped(void **state)
{
    struct rig *g = rig_new();
    g->lab.recipe.mode = FUSION_VOTE;
    g->lab.recipe.quorum = 1;
    g->lab.recipe.grace_us = 0;
    lab_member(&g->lab, "x/a", "The answer is (A).", 100);
    lab_member(&g->lab, "x/b", "The answer is (B).", 200);
    assert_true(rig_run(g));
    rig_check_text(g, "The answer is (A).");
    assert_int_equal(g->client.ended_us - g->client.began_us, 100000);
    rig_done(g);

    g = rig_new(); /* all three, though two would be the default */
    g->lab.recipe.mode = FUSION_VOTE;
    g->lab.recipe.quorum = 3;
    g->lab.recipe.grace_us = 0;
    lab_member(&g->lab, "x/a", "The answer is (A).", 100);
    lab_member(&g->lab, "x/b", "The answer is (A).", 200);
    lab_member(&g->lab, "x/c", "The answer is (A).", 5000);
    assert_true(rig_run(g));
    assert_int_equal(g->client.ended_us - g->client.began_us, 5000000);
    rig_done(g);
}

static void test_unusable_answers_do_not_make_a_quorum(void **state)
{
    struct rig *g = rig_new();
    g->lab.recipe.mode = FUSION_VOTE;
    g->lab.recipe.grace_us = 0;
    lab_member(&g->lab, "x/a", "", 100);
    lab_member(&g->lab, "x/b", "The answer is (B).", 200);
    lab_member(&g->lab, "x/c", "The answer is (C).", 300);
    assert_true(rig_run(g));
    assert_int_equal(rig_state(g, 2), CHAT_MEMBER_OK);
    rig_check_text(g, "The answer is (B).");
    rig_done(g);
}

static void test_timeout_uses_what_there_is(void **state)
{
    struct rig *g = rig_new();
    g->lab.recipe.timeout_us = 400000;
    lab_member(&g->lab, "x/a", "alpha", 100);
    lab_member(&g->lab, "x/b", "beta", 100)->scripts[0].hang = true;
    assert_true(rig_run(g));
    rig_check_text(g, "alpha");
    assert_int_equal(rig_state(g, 1), CHAT_MEMBER_FAILED);
    assert_string_equal(g->client.report.members[1].reason, "timeout");
    assert_int_equal(g->client.ended_us - g->client.began_us, 400000);
    rig_check_costs(g);
    rig_done(g);

    g = rig_new();
    g->lab.recipe.timeout_us = 400000;
    lab_member(&g->lab, "x/a", "alpha", 100)->scripts[0].hang = true;
    lab_member(&g->lab, "x/b", "beta", 100)->scripts[0].hang = true;
    assert_true(rig_run(g));
    assert_int_equal(g->client.err.status, 504);
    rig_done(g);
}

static void test_slow_judge_times_out(void **state)
{
    struct rig *g = rig_new();
    g->lab.recipe.timeout_us = 400000;
    lab_member(&g->lab, "x/a", "alpha", 100);
    lab_member(&g->lab, "x/b", "beta", 100);
    struct scripted *j = lab_judge(&g->lab, "y/j1", "", 9000);
    lab_judge(&g->lab, "y/j2", "second", 10);
    assert_true(rig_run(g));
    rig_check_text(g, "second");
    assert_int_equal(j->cancelled, 1);
    assert_int_equal(g->client.ended_us - g->client.began_us, 510000);
    rig_check_costs(g);
    rig_done(g);

    g = rig_new(); /* after its first byte: an error */
    g->lab.recipe.timeout_us = 400000;
    lab_member(&g->lab, "x/a", "alpha", 100);
    lab_member(&g->lab, "x/b", "beta", 100);
    lab_judge(&g->lab, "y/j1", "begins and", 10)->scripts[0].hang = true;
    assert_true(rig_run(g));
    assert_int_equal(g->client.err.status, 504);
    assert_int_equal(g->client.err.sent, SENT_DELIVERED);
    rig_check_costs(g);
    rig_done(g);
}

/* --- order, seeds, samples
 * ------------------------------------------------------------------------ */

static void test_trap_22_labels_do_not_follow_arrival(void **state)
{
    char first[3] = "";
    for (int run = 0; run < 6; run++) {
        static const int delays[6][3] = {{1, 2, 3}, {1, 3, 2}, {2, 1, 3},
                                         {2, 3, 1}, {3, 1, 2}, {3, 2, 1}};
        struct rig *g = rig_new();
        lab_member(&g->lab, "x/a", "alpha", delays[run][0]);
        lab_member(&g->lab, "x/b", "beta", delays[run][1]);
        lab_member(&g->lab, "x/c", "gamma", delays[run][2]);
        struct scripted *j = lab_judge(&g->lab, "y/j", "ok", 1);
        assert_true(rig_run(g));
        struct span p = scripted_prompt(j);
        size_t at[3] = {span_index(p, SPAN("alpha")), span_index(p, SPAN("beta")),
                        span_index(p, SPAN("gamma"))};
        for (size_t i = 0; i < 3; i++) {
            char label = rig_label(g, i);
            if (run == 0)
                first[i] = label;
            assert_int_equal(label, first[i]);
        }
        /* shown in the order of the labels */
        for (size_t i = 0; i < 3; i++)
            for (size_t k = 0; k < 3; k++)
                assert_int_equal(at[i] < at[k], first[i] < first[k]);
        rig_done(g);
    }
}

static void test_labels_change_with_the_seed(void **state)
{
    unsigned seen = 0;
    for (int64_t seed = 0; seed < 64; seed++) {
        struct rig *g = rig_new();
        g->lab.recipe.seed = seed;
        lab_member(&g->lab, "x/a", "alpha", 1);
        lab_member(&g->lab, "x/b", "beta", 1);
        lab_member(&g->lab, "x/c", "gamma", 1);
        assert_true(rig_run(g));
        seen |= 1u << (rig_label(g, 0) - 'A');
        assert_int_equal(g->client.report.seed, seed);
        rig_done(g);
    }
    assert_int_equal(seen, 7);
}

static void test_trap_17_the_same_model_twice_keeps_two_samples(void **state)
{
    struct rig *g = rig_new();
    g->lab.recipe.mode = FUSION_VOTE;
    struct scripted *a = lab_member(&g->lab, "x/a", "42", 10);
    g->lab.recipe.panel[0].samples = 2;
    g->lab.recipe.panel[0].seed = 100;
    a->scripts[1] = a->scripts[0];
    a->n_scripts = 2;
    assert_true(rig_run(g));
    assert_int_equal(a->starts, 2);
    assert_int_equal(g->client.report.n_members, 2);
    assert_int_equal(g->client.report.members[0].sample, 0);
    assert_int_equal(g->client.report.members[1].sample, 1);
    rig_done(g);
}

static void test_trap_18_costs_add_up_with_the_unknown(void **state)
{
    struct rig *g = rig_new();
    g->lab.recipe.mode = FUSION_VOTE;
    lab_member(&g->lab, "x/a", "42", 10);
    struct scripted *b = lab_member(&g->lab, "x/b", "42", 10);
    b->scripts[0].usage.cost_nusd = -1;
    assert_true(rig_run(g));
    assert_int_equal(g->client.usage.cost_nusd, -1);
    assert_int_equal(g->client.usage.input, 20);
    rig_done(g);
}

/* --- what was not sent
 * ------------------------------------------------------------------------------ */

/* In the order of the panel, whoever was first; a member that was left behind too. */
static void test_fields_left_out_are_listed_by_label(void **state)
{
    struct rig *g = rig_new();
    g->req.fusion = SPAN("{\"quorum\": 2, \"grace_ms\": 50}");
    lab_member(&g->lab, "x/a", "alpha", 30)->scripts[0].n_ignored = 2;
    lab_member(&g->lab, "x/b", "beta", 20);
    struct scripted *c = lab_member(&g->lab, "x/c", "gamma", 10);
    c->scripts[0].n_ignored = 1;
    c->scripts[0].hang = true;
    lab_judge(&g->lab, "y/j", "judged", 10)->scripts[0].n_ignored = 1;
    assert_true(rig_run(g));
    rig_check_text(g, "judged");
    char want[128];
    snprintf(want, sizeof want, "%c: hint-0, %c: hint-1, %c: hint-0, judge: hint-0",
             rig_label(g, 0), rig_label(g, 0), rig_label(g, 2));
    assert_true(span_eq(buf_span(&g->client.ignored), span_of(want)));
    rig_done(g);
}

static void test_the_list_of_fields_left_out_is_bounded(void **state)
{
    struct rig *g = rig_new();
    static const char *const names[] = {"x/a", "x/b", "x/c", "x/d"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        lab_member(&g->lab, names[i], "text", 10)->scripts[0].n_ignored = 24;
    g->lab.recipe.mode = FUSION_VOTE;
    assert_true(rig_run(g));
    struct span all = buf_span(&g->client.ignored), one;
    size_t n = 0;
    assert_true(span_ends(all, SPAN(", ...")));
    while (span_cut(&all, ',', &one))
        n++;
    assert_int_equal(n, 64);
    rig_done(g);
}

/* --- recipes inside recipes
 * ------------------------------------------------------------------------- */

static void test_trap_19_nesting(void **state)
{
    struct rig *g = rig_new();
    static struct recipe inner;
    static struct fusion_source inner_source;
    recipe_init(&inner);
    inner.name = SPAN("inner");
    inner.mode = FUSION_VOTE;
    inner.panel[0] = (struct recipe_member){
        .model = SPAN("x/a"), .max_tokens = -1, .samples = 2, .weight = 1, .seed = -1};
    inner.n_panel = 1;
    fusion_source_init(&inner_source, &g->lab.env, &inner);
    g->lab.recipe.mode = FUSION_VOTE;
    struct scripted *a = lab_model(&g->lab, "x/a", "42", 10);
    struct scripted *n = lab_member(&g->lab, "inner", "", 0);
    n->other = &inner_source.source;
    n->leaf_calls = 2;
    lab_member(&g->lab, "x/b", "41", 10);
    g->lab.recipe.panel[0].weight = 2;
    assert_true(rig_run(g));
    rig_check_text(g, "42");
    assert_int_equal(g->client.usage.cost_nusd, 45);
    /* every call is booked under the id that the client sees */
    assert_int_equal(g->lab.ids, 2);
    assert_string_equal(a->fusion_id, "fus_1");
    rig_done(g);

    g = rig_new(); /* itself: refused at the third level, and that is a failed member */
    n = lab_member(&g->lab, "council", "", 0);
    n->other = &g->lab.source.source;
    assert_false(rig_run(g));
    assert_non_null(strstr(g->client.err.msg, "levels deep"));
    assert_int_equal(g->lab.ids, 3); /* two levels and the one that was refused */
    rig_done(g);

    g = rig_new();
    for (int i = 0; i < 3; i++)
        lab_member(&g->lab, i == 0 ? "r/0" : i == 1 ? "r/1" : "r/2", "", 0)->leaf_calls = 6;
    assert_false(rig_run(g));
    assert_int_equal(g->client.err.cls, ERR_INPUT);
    rig_done(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trap_5_unusable_answers_do_not_count),
        cmocka_unit_test(test_trap_25_small_max_tokens_still_answers),
        cmocka_unit_test(test_one_cut_answer_goes_out_as_it_is),
        cmocka_unit_test(test_all_refused_is_a_refusal),
        cmocka_unit_test(test_nothing_usable_is_an_error_with_reasons),
        cmocka_unit_test(test_nothing_starts_is_an_error_of_start),
        cmocka_unit_test(test_quorum_then_grace_then_abort),
        cmocka_unit_test(test_grace_lets_a_late_answer_in),
        cmocka_unit_test(test_grace_auto_without_history),
        cmocka_unit_test(test_grace_auto_with_history),
        cmocka_unit_test(test_trap_4_the_users_quorum_is_not_clamped),
        cmocka_unit_test(test_unusable_answers_do_not_make_a_quorum),
        cmocka_unit_test(test_timeout_uses_what_there_is),
        cmocka_unit_test(test_slow_judge_times_out),
        cmocka_unit_test(test_trap_22_labels_do_not_follow_arrival),
        cmocka_unit_test(test_labels_change_with_the_seed),
        cmocka_unit_test(test_trap_17_the_same_model_twice_keeps_two_samples),
        cmocka_unit_test(test_trap_18_costs_add_up_with_the_unknown),
        cmocka_unit_test(test_fields_left_out_are_listed_by_label),
        cmocka_unit_test(test_the_list_of_fields_left_out_is_bounded),
        cmocka_unit_test(test_trap_19_nesting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
