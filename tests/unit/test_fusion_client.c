/* tests/unit/test_fusion_client.c - a client that leaves, sleeps, or watches; memory that runs out.
 * Numbers after "trap" are those of docs/fusion.md, "Traps". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "fusion_rig.h"

/* --- the client
 * -------------------------------------------------------------------------------------- */

static void test_trap_15_a_client_that_leaves_aborts_all(void **state)
{
    for (int64_t ms = 0; ms < 200; ms += 5) {
        struct rig *g = rig_new();
        lab_member(&g->lab, "x/a", "alpha", 60);
        lab_member(&g->lab, "x/b", "beta", 80);
        lab_member(&g->lab, "x/c", "gamma", 100);
        struct scripted *j = lab_judge(&g->lab, "y/j", "some words of the judge", 40);
        j->scripts[0].chunk = 2;
        j->scripts[0].every_us = 5000;
        client_leave_after(&g->client, ms * 1000);
        assert_true(rig_run(g));
        assert_true(g->client.gone || g->client.ended);
        if (g->client.gone) {
            int64_t billed = 0;
            for (size_t i = 0; i < g->lab.n; i++)
                billed += g->lab.models[i].billed_nusd;
            assert_int_equal(g->client.usage.cost_nusd, billed);
        }
        rig_done(g);
    }
}

static void test_cancel_inside_any_event(void **state)
{
    for (size_t at = 1; at < 40; at++) {
        struct rig *g = rig_new();
        lab_member(&g->lab, "x/a", "alpha", 60);
        lab_member(&g->lab, "x/b", "beta", 80);
        struct scripted *j = lab_judge(&g->lab, "y/j", "words of the judge", 40);
        j->scripts[0].chunk = 2;
        g->client.cancel_at = at;
        assert_true(rig_run(g));
        assert_true(g->client.gone != g->client.ended);
        rig_done(g);
    }
}

static void test_trap_26_a_slow_client_changes_nothing(void **state)
{
    char log[2][4096] = {"", ""};
    for (int slow = 0; slow < 2; slow++) {
        for (size_t at = 1; at < (slow ? 25 : 2); at++) {
            struct rig *g = rig_new();
            struct scripted *m[3] = {lab_member(&g->lab, "x/a", "alpha", 60),
                                     lab_member(&g->lab, "x/b", "beta", 80),
                                     lab_member(&g->lab, "x/c", "gamma", 9000)};
            struct scripted *j = lab_judge(&g->lab, "y/j", "words of the judge", 40);
            j->scripts[0].chunk = 4;
            j->scripts[0].every_us = 1000;
            if (slow) {
                g->client.pause_at = at;
                g->client.pause_us = 7000000;
            }
            assert_true(rig_run(g));
            rig_check_text(g, "words of the judge");
            for (size_t i = 0; i < 3; i++)
                assert_int_equal(m[i]->pauses, 0);
            assert_int_equal(j->pauses, j->resumes);
            snprintf(log[slow], sizeof log[0], "%.*s %s %s %d", SPAN_ARG(scripted_prompt(j)),
                     chat_member_state_name(rig_state(g, 2)), g->client.report.members[2].reason,
                     (int)g->client.usage.cost_nusd);
            assert_string_equal(log[slow], log[0]);
            rig_done(g);
        }
    }
}

static void test_winner_waits_for_a_paused_client(void **state)
{
    struct rig *g = rig_new();
    g->lab.recipe.mode = FUSION_VOTE;
    lab_member(&g->lab, "x/a", "42", 60);
    lab_member(&g->lab, "x/b", "42", 80);
    g->client.pause_at = 1; /* at the first progress */
    g->client.pause_us = 3000000;
    assert_true(rig_run(g));
    rig_check_text(g, "42");
    assert_true(g->client.first_us - g->client.began_us >= 3000000);
    assert_true(g->client.report.members[1].total_us < 100000);
    rig_done(g);
}

static void test_progress_is_coalesced(void **state)
{
    struct rig *g = rig_new();
    g->lab.recipe.mode = FUSION_VOTE;
    static char text[4001];
    memset(text, 'x', 4000);
    struct scripted *a = lab_member(&g->lab, "x/a", text, 10);
    a->scripts[0].chunk = 1;
    a->scripts[0].every_us = 1000; /* four seconds of single bytes */
    assert_true(rig_run(g));
    rig_check_text(g, text);
    assert_true(g->client.members > 30 && g->client.members < 60);
    rig_done(g);
}

/* --- memory
 * ------------------------------------------------------------------------------------------ */

/* One fusion whose n-th allocation fails; false when it did not come so far. An answer or an error,
 * never a crash, a leak or a call that runs on. */
static bool one_failure(enum fusion_mode mode, const char *text, unsigned long n)
{
    struct rig *g = rig_new();
    g->lab.recipe.mode = mode;
    lab_member(&g->lab, "x/a", text, 60);
    lab_member(&g->lab, "x/b", text + 1, 80)->scripts[0].finish = CHAT_FINISH_LENGTH;
    lab_member(&g->lab, "x/c", text, 90)->scripts[0].chunk = 999;
    lab_judge(&g->lab, "y/j", "{\"scores\":{\"A\":1,\"B\":9,\"C\":9},\"best\":\"B\"}", 40);
    g->req.fusion = SPAN("{\"quorum\": 2, \"timeout_ms\": 500}");
    mem_fail_at(n);
    bool began = client_run(&g->client, &g->req);
    bool failed = mem_failed();
    mem_fail_at(0);
    assert_true(began ? g->client.ended : g->client.err.cls == ERR_NOMEM);
    rig_done(g);
    return failed;
}

static void test_out_of_memory_anywhere(void **state)
{
    static const enum fusion_mode modes[] = {FUSION_MERGE, FUSION_BEST_OF, FUSION_VOTE};
    static char large[40001];
    memset(large, '7', 40000);
    for (size_t m = 0; m < COUNT_OF(modes); m++)
        for (unsigned long n = 1; one_failure(modes[m], "42", n); n++)
            assert_true(n < 1000);
    for (size_t m = 0; m < COUNT_OF(modes); m++)
        for (unsigned long n = 1; one_failure(modes[m], large, n); n++)
            assert_true(n < 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trap_15_a_client_that_leaves_aborts_all),
        cmocka_unit_test(test_cancel_inside_any_event),
        cmocka_unit_test(test_trap_26_a_slow_client_changes_nothing),
        cmocka_unit_test(test_winner_waits_for_a_paused_client),
        cmocka_unit_test(test_progress_is_coalesced),
        cmocka_unit_test(test_out_of_memory_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
