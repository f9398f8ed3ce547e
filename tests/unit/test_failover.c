/* test_failover.c - several sources as one, on scripted models: who is asked after whom, and when
 * not. */
#include "call_rig.h"

#include "route/failover.h"
#include "route/pool.h"
#include "scripted_source.h"

#define MAX_TARGETS 4

struct place {
    struct lab lab;
    struct config *config;
    struct route_pool *pool;
    struct route *route;
    struct failover_target targets[MAX_TARGETS];
    struct failover_source source;
    struct caller caller;
    struct question q;
};

static void open_place(struct place *p, const char *retries)
{
    struct err e = {0};
    *p = (struct place){0};
    lab_init(&p->lab, 1);
    p->config = config_parse(span_of(retries), "test", &e);
    p->pool = route_pool_new(NULL);
    assert_true(p->config && p->pool && route_pool_config(p->pool, p->config, &e));
    struct route_env env = {p->lab.loop, p->pool, NULL, p->config};
    p->route = route_new(&env);
    assert_non_null(p->route);
    caller_init(&p->caller);
    question_set(&p->q, "What?");
}

static void close_place(struct place *p)
{
    assert_int_equal(lab_running(&p->lab), 0);
    caller_done(&p->caller);
    route_free(p->route);
    route_pool_free(p->pool);
    config_free(p->config);
    lab_done(&p->lab);
}

static struct scripted *add(struct place *p, const char *name)
{
    struct scripted *m = lab_model(&p->lab, name, name, 10);
    p->targets[p->lab.n - 1] = (struct failover_target){.name = m->name, .source = &m->source};
    return m;
}

static void fail_with(struct scripted *m, enum err_class cls, enum err_sent sent, bool after_text)
{
    m->scripts[0].err = lab_error(cls, "no");
    m->scripts[0].err.sent = sent;
    if (after_text)
        return;
    m->scripts[0].text = SPAN("");
    m->scripts[0].usage = (struct chat_usage){0};
}

static bool start_as_it_is(struct place *p)
{
    struct chat_start_opts o = {.request_id = SPAN("req_1"), .role = "member", .depth = 1};
    return caller_start_with(&p->caller, &p->source.source, &p->q, &o);
}

static bool start(struct place *p)
{
    failover_source_init(&p->source, p->route, p->targets, p->lab.n);
    return start_as_it_is(p);
}

static void run(struct place *p)
{
    if (start(p))
        loop_run(p->lab.loop);
    else
        p->caller.failed = true;
}

/* --- what is tried again
 * -------------------------------------------------------------------------- */

static const struct {
    const char *name, *retries;
    enum err_class cls;
    enum err_sent sent;
    bool after_text, no_start, any_refusal, next;
} cases[] = {
    {"not sent", "", ERR_CONNECT, SENT_NO, .next = true},
    {"never begun", "", ERR_BUSY, SENT_NO, .no_start = true, .next = true},
    {"cannot carry a field", "", ERR_INPUT, SENT_NO, .no_start = true, .next = true},
    {"overloaded", "", ERR_BUSY, SENT_REFUSED, .next = true},
    {"the key is refused", "", ERR_UPSTREAM, SENT_REFUSED, .next = true},
    {"wrong for everybody", "", ERR_INPUT, SENT_REFUSED},
    {"a list of the client's own", "", ERR_INPUT, SENT_REFUSED, .any_refusal = true, .next = true},
    {"perhaps answered", "", ERR_TIMEOUT, SENT_MAYBE},
    {"perhaps answered, allowed", "retries: {ambiguous: true}\n", ERR_TIMEOUT, SENT_MAYBE,
     .next = true},
    {"delivered", "retries: {ambiguous: true}\n", ERR_CUT, SENT_DELIVERED, .after_text = true},
    /* the client's cap would not hold for another */
    {"over a cap on its cost", "", ERR_BUDGET, SENT_NO, .no_start = true},
    /* whatever the source says of it: a byte has gone out */
    {"delivered, but not said", "", ERR_CONNECT, SENT_NO, .after_text = true},
};

static void test_classes(void **state)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct place p;
        open_place(&p, cases[i].retries);
        struct scripted *first = add(&p, "first"), *second = add(&p, "second");
        fail_with(first, cases[i].cls, cases[i].sent, cases[i].after_text);
        first->scripts[0].no_start = cases[i].no_start;
        failover_source_init(&p.source, p.route, p.targets, 2);
        p.source.any_refusal = cases[i].any_refusal;
        if (start_as_it_is(&p))
            loop_run(p.lab.loop);
        if (second->starts != cases[i].next || p.caller.finished != cases[i].next)
            fail_msg("%s: %s", cases[i].name, caller_log(&p.caller));
        if (cases[i].next)
            caller_expect(&p.caller, "start:upstream-1,second;text:second;usage:10/0/5/0$15;"
                                     "finish:stop");
        close_place(&p);
    }
}

/* What a try has used is not lost, whether another one answers or none. */
static void test_usage_adds_up(void **state)
{
    for (int both = 0; both < 2; both++) {
        struct place p;
        open_place(&p, "retries: {ambiguous: true}\n");
        struct scripted *first = add(&p, "first"), *second = add(&p, "second");
        fail_with(first, ERR_TIMEOUT, SENT_MAYBE, false);
        first->scripts[0].usage =
            (struct chat_usage){.input = 7, .cost_nusd = 70, .estimated = true};
        if (both) {
            fail_with(second, ERR_TIMEOUT, SENT_MAYBE, false);
            second->scripts[0].usage = (struct chat_usage){.input = 3, .cost_nusd = 30};
        }
        run(&p);
        caller_expect(&p.caller, both ? "usage:10/0/0/0$100~;error:timeout"
                                      : "start:upstream-1,second;text:second;"
                                        "usage:17/0/5/0$85~;finish:stop");
        close_place(&p);
    }
}

static void test_all_fail(void **state)
{
    struct place p;
    open_place(&p, "");
    fail_with(add(&p, "a"), ERR_CONNECT, SENT_NO, false);
    fail_with(add(&p, "b"), ERR_CONNECT, SENT_NO, false);
    struct scripted *last = add(&p, "c");
    fail_with(last, ERR_BUSY, SENT_REFUSED, false);
    run(&p);
    assert_int_equal(last->starts, 1);
    assert_true(p.caller.failed);
    assert_int_equal(p.caller.e.cls, ERR_BUSY); /* the last one's reason */
    close_place(&p);
    open_place(&p, "");
    for (int i = 0; i < 2; i++) {
        struct scripted *m = add(&p, i ? "b" : "a");
        fail_with(m, i ? ERR_UNAVAILABLE : ERR_BUSY, SENT_NO, false);
        m->scripts[0].no_start = true;
    }
    assert_false(start(&p));
    assert_int_equal(p.caller.e.cls, ERR_UNAVAILABLE);
    close_place(&p);
}

/* What came before the content is not lost when the answer breaks off behind it. */
static void test_cut_after_early_usage(void **state)
{
    struct place p;
    open_place(&p, "");
    struct scripted *first = add(&p, "first");
    (void)add(&p, "second");
    fail_with(first, ERR_CUT, SENT_DELIVERED, true);
    first->scripts[0].early_usage = true;
    run(&p);
    caller_expect(&p.caller, "start:upstream-1,first;text:first;usage:10/0/5/0$15;"
                             "error:upstream_cut");
    close_place(&p);
}

static void test_report_of_a_failed_fusion(void **state)
{
    struct place p;
    open_place(&p, "");
    struct scripted *m = lab_member(&p.lab, "member", "", 10);
    fail_with(m, ERR_UPSTREAM, SENT_MAYBE, false);
    m->scripts[0].usage = (struct chat_usage){.input = 3, .cost_nusd = 30};
    struct scripted *other = lab_model(&p.lab, "other", "other", 10);
    p.targets[0] = (struct failover_target){.source = &p.lab.source.source};
    p.targets[1] = (struct failover_target){.source = &other->source};
    failover_source_init(&p.source, p.route, p.targets, 2);
    assert_true(start_as_it_is(&p));
    loop_run(p.lab.loop);
    assert_true(p.caller.failed && p.caller.reported);
    assert_int_equal(p.caller.usage.cost_nusd, 30);
    assert_int_equal(other->starts, 0);
    close_place(&p);
}

/* START waits for the first content; what it was told with was lent for its own call. */
static void test_ignored_fields_are_kept(void **state)
{
    for (size_t n = 0; n < 4; n++) {
        struct place p;
        open_place(&p, "");
        struct scripted *first = add(&p, "first"), *second = add(&p, "second");
        fail_with(first, ERR_BUSY, SENT_REFUSED, false);
        first->scripts[0].n_ignored = 4;
        second->scripts[0].n_ignored = n;
        run(&p);
        assert_string_equal(p.caller.ignored, n == 0   ? ""
                                              : n == 1 ? "hint-0"
                                              : n == 2 ? "hint-0, hint-1"
                                                       : "hint-0, hint-1, hint-2");
        close_place(&p);
    }
}

/* "Never the last one": who was passed over is asked when nobody else can be. */
static void test_who_was_down_is_asked_last(void **state)
{
    for (int dead = 0; dead < 2; dead++) {
        struct place p;
        open_place(&p, "");
        struct scripted *down = add(&p, "down"), *small = add(&p, "small");
        fail_with(small, ERR_INPUT, SENT_NO, false);
        small->scripts[0].no_start = true;
        down->scripts[1] = down->scripts[0];
        down->n_scripts = 2;
        fail_with(down, ERR_UNAVAILABLE, SENT_NO, false);
        down->scripts[0].no_start = true;
        err_with_code(&down->scripts[0].err, "upstream_down");
        if (dead)
            down->scripts[1] = down->scripts[0];
        run(&p);
        assert_int_equal(down->starts, 2);
        assert_int_equal(small->starts, 1);
        assert_true(dead ? p.caller.failed : p.caller.finished);
        close_place(&p);
    }
}

/* --- the budget of all retries
 * ------------------------------------------------------------------------ */

static void test_budget(void **state)
{
    struct place p;
    open_place(&p, "retries: {budget_percent: 10}\n");
    struct scripted *first = add(&p, "first"), *second = add(&p, "second");
    fail_with(first, ERR_BUSY, SENT_REFUSED, false);
    for (int i = 0; i < 200; i++)
        run(&p);
    /* ten at once, then one in ten */
    if (second->starts < 27 || second->starts > 31)
        fail_msg("%zu retries", second->starts);
    first->scripts[0].err.sent = SENT_NO; /* costs nobody anything */
    size_t before = second->starts;
    for (int i = 0; i < 50; i++)
        run(&p);
    assert_int_equal(second->starts, before + 50);
    close_place(&p);
}

/* --- the client's side
 * -------------------------------------------------------------------------------- */

static void test_cancel_and_pause(void **state)
{
    for (unsigned at = 1; at <= 4; at++)
        for (int pause = 0; pause < 2; pause++) {
            struct place p;
            open_place(&p, "");
            fail_with(add(&p, "first"), ERR_CONNECT, SENT_NO, false);
            struct scripted *second = add(&p, "second");
            second->scripts[0].chunk = 3;
            second->scripts[0].every_us = 1000;
            p.caller.cancel_at = pause ? 0 : at;
            p.caller.pause_at = pause ? at : 0;
            assert_true(start(&p));
            loop_run(p.lab.loop);
            if (pause && !caller_over(&p.caller)) {
                chat_resume(p.caller.call);
                loop_run(p.lab.loop);
            }
            /* start, two pieces, usage; then it is over */
            assert_true(pause ? p.caller.finished : p.caller.cancelled);
            assert_int_equal(second->cancelled, pause ? 0 : 1);
            assert_true(pause || p.caller.usage.input >= 0);
            close_place(&p);
        }
}

static void test_cancel_between(void **state)
{
    struct place p;
    open_place(&p, "");
    struct scripted *first = add(&p, "first");
    first->scripts[0].hang = true;
    (void)add(&p, "second");
    assert_true(start(&p));
    caller_cancel(&p.caller);
    assert_int_equal(first->cancelled, 1);
    close_place(&p);
}

/* The inner call is gone while its last event is told, and so may the client be. */
static void test_cancel_in_the_last_event(void **state)
{
    for (unsigned at = 1; at <= 2; at++)
        for (int pause = 0; pause < 2; pause++) {
            struct place p;
            open_place(&p, "");
            struct scripted *first = add(&p, "first");
            (void)add(&p, "second");
            first->scripts[0].text = SPAN("");
            p.caller.cancel_at = pause ? 0 : at;
            p.caller.pause_at = pause ? at : 0;
            run(&p);
            assert_true(pause ? p.caller.finished : p.caller.cancelled);
            assert_int_equal(p.caller.usage.cost_nusd, 15);
            assert_int_equal(first->cancelled + first->pauses, 0);
            close_place(&p);
        }
}

/* When the time for all of it is over, nobody else is bothered. */
static void test_no_try_behind_the_deadline(void **state)
{
    struct place p;
    open_place(&p, "retries: {ambiguous: true}\n");
    struct scripted *first = add(&p, "first"), *second = add(&p, "second");
    fail_with(first, ERR_TIMEOUT, SENT_MAYBE, false);
    failover_source_init(&p.source, p.route, p.targets, 2);
    p.source.total_us = 5000;
    assert_true(start_as_it_is(&p));
    loop_run(p.lab.loop);
    assert_true(p.caller.failed);
    assert_int_equal(second->starts, 0);
    close_place(&p);
}

/* One time limit holds for all tries together. */
static void test_deadline(void **state)
{
    struct place p;
    open_place(&p, "");
    struct scripted *first = add(&p, "first"), *second = add(&p, "second");
    fail_with(first, ERR_CONNECT, SENT_NO, false);
    int64_t began = loop_now_us(p.lab.loop);
    failover_source_init(&p.source, p.route, p.targets, 2);
    p.source.total_us = 5000000;
    assert_true(start_as_it_is(&p));
    loop_run(p.lab.loop);
    assert_true(p.caller.finished);
    assert_int_equal(first->deadline_us, began + 5000000);
    assert_int_equal(second->deadline_us, began + 5000000);
    close_place(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_usage_adds_up),
        cmocka_unit_test(test_all_fail),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_cancel_and_pause),
        cmocka_unit_test(test_cancel_between),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_cut_after_early_usage),
        cmocka_unit_test(test_report_of_a_failed_fusion),
        cmocka_unit_test(test_ignored_fields_are_kept),
        cmocka_unit_test(test_who_was_down_is_asked_last),
        cmocka_unit_test(test_cancel_in_the_last_event),
        cmocka_unit_test(test_no_try_behind_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
