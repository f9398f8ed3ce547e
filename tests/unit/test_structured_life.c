/* tests/unit/test_structured_life.c - a client of a structured answer that leaves, sleeps, or frees
 * its memory inside of an event; memory that runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "structured_rig.h"

/* In each event and between them: no event follows, and what it cost is what was billed. */
static void test_cancel_anywhere(void **state)
{
    for (int mode = 0; mode < 3; mode++) {
        for (size_t at = 1; at < 12; at++) {
            struct desk *d = desk_new(mode == 1 ? STRUCTURED_NATIVE : STRUCTURED_PROMPT,
                                      mode == 0 ? "{\"a\":\"one\"}" : "{\"a\":1}");
            d->req.stream = true;
            d->model->scripts[0].reasoning = SPAN("hm");
            if (mode == 2)
                d->model->scripts[0].tool = SPAN("look");
            then(d, "{\"a\":1}");
            d->cancel_at = at;
            run(d);
            /* a sink may not cancel in the last event: the lab would say so */
            size_t last = strcspn(d->log, "FE");
            assert_true(d->log[last] == '\0' ? d->gone : d->ended);
            if (d->gone)
                assert_int_equal(d->cancelled.cost_nusd, d->model->billed_nusd);
            desk_done(d);
            if (at == last)
                break;
        }
    }
}

struct leave {
    struct loop_timer timer;
    struct desk *d;
};

static void on_leave(struct loop_timer *t)
{
    struct desk *d = CONTAINER_OF(t, struct leave, timer)->d;
    if (d->call) {
        d->gone = true;
        chat_cancel(d->call, &d->cancelled);
        forget(d);
    }
}

static void test_cancel_at_any_time(void **state)
{
    for (int64_t us = 0; us < 30000; us += 500) {
        struct desk *d = desk_new(STRUCTURED_PROMPT, "{\"a\":\"one\"}");
        struct leave leave = {.d = d};
        then(d, "{\"a\":1}");
        loop_timer_init(&leave.timer, d->lab.loop, on_leave);
        assert_true(loop_timer_start(&leave.timer, us));
        run(d);
        loop_timer_stop(&leave.timer);
        assert_true(d->gone != d->ended);
        if (d->gone)
            assert_int_equal(d->cancelled.cost_nusd, d->model->billed_nusd);
        desk_done(d);
    }
}

/* A pause reaches the call that runs, and the one after it. */
static void test_pause_and_resume(void **state)
{
    struct desk *d = desk_new(STRUCTURED_NATIVE, "{\"a\": 12345678}");
    d->req.stream = true;
    d->pause_at = 2;
    run(d);
    assert_string_equal(d->log, "St");
    assert_int_equal(d->model->pauses, 1);
    chat_resume(d->call);
    loop_run(d->lab.loop);
    check(d, "StttuF", "{\"a\": 12345678}");
    desk_done(d);

    d = desk_new(STRUCTURED_PROMPT, "no");
    then(d, "{\"a\":1}");
    d->pause_at = 1;
    run(d);
    assert_string_equal(d->log, "S");
    chat_resume(d->call);
    loop_run(d->lab.loop);
    check(d, "StuF", "{\"a\":1}");
    assert_int_equal(d->model->pauses, d->model->resumes);
    desk_done(d);
}

static void test_out_of_memory(void **state)
{
    for (int mode = 0; mode < 2; mode++) {
        for (unsigned long n = 1;; n++) {
            struct desk *d =
                desk_new(mode ? STRUCTURED_NATIVE : STRUCTURED_PROMPT, "{\"a\":\"one\"}");
            d->req.stream = mode == 1;
            then(d, "{\"a\":1}");
            if (mode == 1)
                d->model->scripts[0] = d->model->scripts[1];
            mem_fail_at(n);
            bool began = start(d);
            if (began)
                loop_run(d->lab.loop);
            bool failed = mem_failed();
            mem_fail_at(0);
            if (!began)
                assert_int_equal(d->err.cls, ERR_NOMEM);
            else
                assert_true(d->ended);
            bool done = !failed;
            if (done)
                assert_true(span_eq(buf_span(&d->got.text), SPAN("{\"a\":1}")));
            desk_done(d);
            if (done)
                break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancel_anywhere),
        cmocka_unit_test(test_cancel_at_any_time),
        cmocka_unit_test(test_pause_and_resume),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
