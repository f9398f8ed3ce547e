/* tests/unit/test_loop.c - the event loop, real and simulated. Cases that hold for both kinds run
 * on both. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <uv.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "loop/loop.h"

static struct loop *make_loop(bool sim)
{
    struct err e = {0};
    struct loop *l = sim ? loop_sim_new(&e) : loop_new(&e);
    assert_non_null(l);
    return l;
}

/* --- a log of what ran, in order -------------------------------------------------------------- */

struct log {
    char text[256];
    size_t n;
};

static void log_char(struct log *g, char c)
{
    assert_true(g->n + 1 < sizeof g->text);
    g->text[g->n++] = c;
    g->text[g->n] = '\0';
}

struct named_timer {
    struct loop_timer t;
    struct log *log;
    char name;
    int again;                /* re-arms this often with 0 */
    struct named_timer *kill; /* stops this one */
    bool stop;
};

static void on_named_timer(struct loop_timer *t)
{
    struct named_timer *n = CONTAINER_OF(t, struct named_timer, t);
    assert_false(loop_timer_armed(t));
    assert_true(loop_now_us(t->loop) >= t->at_us);
    log_char(n->log, n->name);
    if (n->kill != NULL)
        loop_timer_stop(&n->kill->t);
    if (n->again-- > 0)
        assert_true(loop_timer_start(t, 0));
    if (n->stop)
        loop_stop(t->loop);
}

struct named_task {
    struct loop_task t;
    struct loop *loop;
    struct log *log;
    char name;
    struct named_task *then, *kill;
    int again;
    bool stop;
};

static void on_named_task(struct loop_task *t)
{
    struct named_task *n = CONTAINER_OF(t, struct named_task, t);
    log_char(n->log, n->name);
    if (n->then != NULL)
        loop_defer(n->loop, &n->then->t);
    if (n->kill != NULL)
        loop_undefer(&n->kill->t);
    if (n->again-- > 0)
        loop_defer(n->loop, t);
    if (n->stop)
        loop_stop(n->loop);
}

static struct named_task task(struct loop *l, struct log *g, char name)
{
    struct named_task n = {.loop = l, .log = g, .name = name};
    n.t.fn = on_named_task;
    return n;
}

/* --- timers ----------------------------------------------------------------------------------- */

static void timers_fire_in_order(bool sim)
{
    AUTO(loop) l = make_loop(sim);
    static const int64_t after_ms[] = {5, 1, 3, 1, 9, 0, -7, 5};
    struct log g = {0};
    struct named_timer t[COUNT_OF(after_ms)];
    int64_t start = loop_now_us(l);
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        t[i] = (struct named_timer){.log = &g, .name = (char)('a' + i)};
        loop_timer_init(&t[i].t, l, on_named_timer);
        assert_false(loop_timer_armed(&t[i].t));
        assert_true(loop_timer_start(&t[i].t, after_ms[i] * 1000));
        assert_true(loop_timer_armed(&t[i].t));
    }
    assert_int_equal(g.n, 0);
    t[4].stop = true;
    loop_run(l);
    assert_string_equal(g.text, "fgbdcahe");
    assert_true(loop_now_us(l) >= start + 9000);
    if (sim)
        assert_int_equal(loop_now_us(l), start + 9000);
}

static void timers_stop_and_restart(bool sim)
{
    AUTO(loop) l = make_loop(sim);
    struct log g = {0};
    struct named_timer t[5];
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        t[i] = (struct named_timer){.log = &g, .name = (char)('a' + i)};
        loop_timer_init(&t[i].t, l, on_named_timer);
        loop_timer_stop(&t[i].t);
        assert_true(loop_timer_start(&t[i].t, (int64_t)(i + 1) * 1000));
    }
    assert_true(loop_timer_start(&t[0].t, 20000)); /* later than all */
    loop_timer_stop(&t[2].t);
    loop_timer_stop(&t[2].t);
    t[1].kill = &t[3]; /* stopped by a callback before its time */
    t[4].again = 2;
    t[0].stop = true;
    loop_run(l);
    assert_string_equal(g.text, "beeea");
}

/* A timer that re-arms itself with 0 must let I/O, tasks and later timers through. */
static void timers_do_not_starve(bool sim)
{
    AUTO(loop) l = make_loop(sim);
    struct log g = {0};
    struct named_timer a = {.log = &g, .name = 'a', .again = 3}, b = {.log = &g, .name = 'b'};
    struct named_task c = task(l, &g, 'c');
    loop_timer_init(&a.t, l, on_named_timer);
    loop_timer_init(&b.t, l, on_named_timer);
    loop_task_init(&c.t, on_named_task);
    assert_true(loop_timer_start(&a.t, 0));
    assert_true(loop_timer_start(&b.t, 0));
    loop_defer(l, &c.t);
    while (g.n < 6)
        loop_step(l);
    assert_string_equal(g.text, "cabaaa");
}

/* The heap against a plain search, over random starts and stops; virtual time makes it exact. */
static void test_timers_random(void **state)
{
    enum { N = 200, ROUNDS = 4000 };
    AUTO(loop) l = make_loop(true);
    struct log g = {0};
    struct rng r;
    rng_init(&r, 7);
    static struct named_timer t[N];
    for (size_t i = 0; i < N; i++) {
        t[i] = (struct named_timer){.log = &g, .name = 'x'};
        loop_timer_init(&t[i].t, l, on_named_timer);
    }
    for (int round = 0; round < ROUNDS; round++) {
        struct named_timer *any = &t[rng_below(&r, N)];
        switch (rng_below(&r, 4)) {
        case 0:
            loop_timer_stop(&any->t);
            break;
        case 1: {
            struct loop_timer *first = NULL;
            for (size_t i = 0; i < N; i++)
                if (loop_timer_armed(&t[i].t) &&
                    (first == NULL || t[i].t.at_us < first->at_us ||
                     (t[i].t.at_us == first->at_us && t[i].t.seq < first->seq)))
                    first = &t[i].t;
            g.n = 0;
            assert_int_equal(loop_step(l), first != NULL);
            assert_int_equal(g.n, first != NULL);
            if (first != NULL) {
                assert_false(loop_timer_armed(first));
                assert_int_equal(loop_now_us(l), first->at_us);
            }
            break;
        }
        default:
            assert_true(loop_timer_start(&any->t, (int64_t)rng_below(&r, 50)));
        }
    }
}

static void test_timer_far_future(void **state)
{
    AUTO(loop) l = make_loop(false);
    struct log g = {0};
    struct named_timer far = {.log = &g, .name = 'f'},
                       near = {.log = &g, .name = 'n', .stop = true};
    loop_timer_init(&far.t, l, on_named_timer);
    loop_timer_init(&near.t, l, on_named_timer);
    assert_true(loop_timer_start(&far.t, INT64_MAX));
    loop_step(l);
    assert_true(loop_timer_start(&near.t, 1500));
    loop_run(l);
    assert_string_equal(g.text, "n");
}

/* On the real clock: never early, measured from outside of the loop. */
struct timed {
    struct loop_timer t;
    int64_t due_us, worst_late_us;
    int left;
};

static void on_timed(struct loop_timer *t)
{
    struct timed *x = CONTAINER_OF(t, struct timed, t);
    int64_t now = clock_mono_us();
    assert_true(now >= x->due_us);
    if (now - x->due_us > x->worst_late_us)
        x->worst_late_us = now - x->due_us;
    if (--x->left == 0) {
        loop_stop(t->loop);
        return;
    }
    int64_t after = 300 + x->left * 37;
    x->due_us = loop_now_us(t->loop) + after;
    assert_true(loop_timer_start(t, after));
}

static void test_timers_never_early(void **state)
{
    AUTO(loop) l = make_loop(false);
    struct timed x = {.left = 60};
    loop_timer_init(&x.t, l, on_timed);
    x.due_us = clock_mono_us();
    assert_true(loop_timer_start(&x.t, 0));
    loop_run(l);
    assert_true(x.worst_late_us < 2000000); /* generous: a loaded machine */
}

/* The time seen by an I/O callback is from after the sleep. */
struct io_case {
    uv_async_t async;
    struct loop *loop;
    int64_t sent_us;
};

static void on_io(uv_async_t *h)
{
    struct io_case *x = h->data;
    assert_true(loop_now_us(x->loop) >= x->sent_us);
    assert_int_equal(loop_now_us(x->loop), loop_now_us(x->loop));
    uv_close((uv_handle_t *)h, NULL);
    loop_stop(x->loop);
}

static void *send_later(void *arg)
{
    struct io_case *x = arg;
    uv_sleep(5);
    x->sent_us = clock_mono_us();
    uv_async_send(&x->async);
    return NULL;
}

static void test_now_is_after_the_sleep(void **state)
{
    AUTO(loop) l = make_loop(false);
    struct io_case x = {.loop = l};
    assert_int_equal(uv_async_init(loop_uv(l), &x.async, on_io), 0);
    x.async.data = &x;
    (void)loop_now_us(l);
    pthread_t th;
    assert_int_equal(pthread_create(&th, NULL, send_later, &x), 0);
    loop_run(l);
    pthread_join(th, NULL);
}

/* --- tasks ------------------------------------------------------------------------------------ */

static void tasks_run_in_order(bool sim)
{
    AUTO(loop) l = make_loop(sim);
    struct log g = {0};
    struct named_task a = task(l, &g, 'a'), b = task(l, &g, 'b'), c = task(l, &g, 'c'),
                      d = task(l, &g, 'd');
    struct named_task *all[] = {&a, &b, &c, &d};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        loop_task_init(&all[i]->t, on_named_task);
    a.then = &d;
    a.kill = &c; /* takes back one that waits in the same batch */
    b.again = 1;
    d.stop = true;
    loop_defer(l, &a.t);
    loop_defer(l, &b.t);
    loop_defer(l, &a.t); /* twice is once */
    loop_defer(l, &c.t);
    assert_int_equal(g.n, 0);
    loop_run(l);
    assert_string_equal(g.text, "abdb");
    loop_undefer(&a.t); /* not queued: fine */
}

/* Each turn runs what was queued when it began, so a task that queues itself starves nobody; and
 * the loop does not sleep while it waits (the timer is an hour away). */
static void tasks_do_not_starve(bool sim)
{
    AUTO(loop) l = make_loop(sim);
    struct log g = {0};
    struct named_timer far = {.log = &g, .name = '!'};
    struct named_task a = task(l, &g, 'a'), p = task(l, &g, 'p');
    loop_task_init(&a.t, on_named_task);
    loop_task_init(&p.t, on_named_task);
    loop_timer_init(&far.t, l, on_named_timer);
    assert_true(loop_timer_start(&far.t, INT64_C(3600000000)));
    a.again = 50;
    p.stop = true;
    loop_defer(l, &a.t);
    loop_post(l, &p.t);
    loop_run(l);
    assert_true(g.n < 10);
    assert_non_null(strchr(g.text, 'p'));
    while (g.n < 52)
        loop_step(l);
    assert_null(strchr(g.text, '!'));
    assert_true(loop_timer_armed(&far.t));
}

/* A task that was deferred by a timer runs before the loop sleeps. */
struct deferring {
    struct loop_timer t;
    struct named_task *task;
};

static void on_deferring(struct loop_timer *t)
{
    loop_defer(t->loop, &CONTAINER_OF(t, struct deferring, t)->task->t);
}

static void task_from_timer(bool sim)
{
    AUTO(loop) l = make_loop(sim);
    struct log g = {0};
    struct named_task a = task(l, &g, 'a');
    loop_task_init(&a.t, on_named_task);
    a.stop = true;
    struct deferring d = {.task = &a};
    loop_timer_init(&d.t, l, on_deferring);
    assert_true(loop_timer_start(&d.t, 1000));
    loop_run(l);
    assert_string_equal(g.text, "a");
}

/* Once the tasks are done the loop sleeps again: an idle worker costs nothing. */
static void on_turn(uv_check_t *h)
{
    ++*(int *)h->data;
}

static void test_sleeps_when_idle(void **state)
{
    AUTO(loop) l = make_loop(false);
    struct log g = {0};
    int turns = 0;
    uv_check_t check;
    struct named_task a = task(l, &g, 'a');
    struct named_timer end = {.log = &g, .name = 'e', .stop = true};
    assert_int_equal(uv_check_init(loop_uv(l), &check), 0);
    check.data = &turns;
    uv_check_start(&check, on_turn);
    loop_task_init(&a.t, on_named_task);
    a.again = 5;
    loop_defer(l, &a.t);
    loop_timer_init(&end.t, l, on_named_timer);
    assert_true(loop_timer_start(&end.t, 40500));
    loop_run(l);
    assert_string_equal(g.text, "aaaaaae");
    assert_true(turns < 12);
    loop_free(TAKE(l)); /* while check lives */
}

/* A stop ends one run; the next one goes on. */
static void stop_ends_one_run(bool sim)
{
    AUTO(loop) l = make_loop(sim);
    struct log g = {0};
    struct named_task a = task(l, &g, 'a');
    loop_task_init(&a.t, on_named_task);
    a.stop = true;
    for (int i = 0; i < 3; i++) {
        loop_defer(l, &a.t);
        loop_run(l);
    }
    assert_string_equal(g.text, "aaa");
}

/* --- posts ------------------------------------------------------------------------------------ */

enum { POSTERS = 4, POSTS = 2000 };

struct posting {
    struct loop *loop;
    struct poster {
        struct posting *all;
        struct post {
            struct loop_task t;
            struct poster *from;
            int i;
        } posts[POSTS];
        int seen;
    } posters[POSTERS];
    int total; /* loop's thread only: the sanitizer would see a race if it were not */
};

static void on_post(struct loop_task *t)
{
    struct post *p = CONTAINER_OF(t, struct post, t);
    struct posting *all = p->from->all;
    assert_int_equal(p->i, p->from->seen); /* in order per thread */
    p->from->seen++;
    if (++all->total == POSTERS * POSTS)
        loop_stop(all->loop);
}

static void *poster_main(void *arg)
{
    struct poster *p = arg;
    for (int i = 0; i < POSTS; i++)
        loop_post(p->all->loop, &p->posts[i].t);
    return NULL;
}

static void posts_from_threads(bool sim)
{
    AUTO(loop) l = make_loop(sim);
    struct posting *all = mem_zalloc(sizeof *all);
    pthread_t th[POSTERS];
    assert_non_null(all);
    all->loop = l;
    for (int k = 0; k < POSTERS; k++) {
        struct poster *p = &all->posters[k];
        p->all = all;
        for (int i = 0; i < POSTS; i++) {
            loop_task_init(&p->posts[i].t, on_post);
            p->posts[i].from = p;
            p->posts[i].i = i;
        }
        assert_int_equal(pthread_create(&th[k], NULL, poster_main, p), 0);
    }
    while (all->total < POSTERS * POSTS)
        loop_run(l);
    for (int k = 0; k < POSTERS; k++)
        pthread_join(th[k], NULL);
    assert_false(sim && loop_step(l));
    mem_free(all);
}

static void post_taken_back(bool sim)
{
    AUTO(loop) l = make_loop(sim);
    struct log g = {0};
    struct named_task a = task(l, &g, 'a'), b = task(l, &g, 'b'), c = task(l, &g, 'c');
    loop_task_init(&a.t, on_named_task);
    loop_task_init(&b.t, on_named_task);
    loop_task_init(&c.t, on_named_task);
    c.stop = true;
    loop_unpost(l, &a.t); /* not queued: fine */
    loop_post(l, &a.t);
    loop_unpost(l, &a.t); /* the only one: the next post must wake the loop again */
    loop_post(l, &b.t);
    loop_post(l, &a.t);
    loop_post(l, &c.t);
    loop_unpost(l, &a.t);
    loop_run(l);
    assert_string_equal(g.text, "bc");
    loop_post(l, &a.t);
    loop_unpost(l, &a.t);
}

/* --- life ------------------------------------------------------------------------------------- */

static void free_drops_what_is_queued(bool sim)
{
    struct loop *l = make_loop(sim);
    struct log g = {0};
    struct named_timer t = {.log = &g, .name = 't'};
    struct named_task d = task(l, &g, 'd'), p = task(l, &g, 'p');
    loop_timer_init(&t.t, l, on_named_timer);
    loop_task_init(&d.t, on_named_task);
    loop_task_init(&p.t, on_named_task);
    assert_true(loop_timer_start(&t.t, 0));
    loop_defer(l, &d.t);
    loop_post(l, &p.t);
    loop_free(l);
    assert_int_equal(g.n, 0);
    assert_false(loop_timer_armed(&t.t));
    loop_timer_stop(&t.t);
    loop_undefer(&d.t);
    loop_free(NULL);
}

static void on_closed(uv_handle_t *h)
{
    *(int *)h->data = 1;
}

static void test_free_closes_foreign_handles(void **state)
{
    struct loop *l = make_loop(false);
    uv_timer_t closing, open;
    int closed = 0;
    assert_int_equal(uv_timer_init(loop_uv(l), &closing), 0);
    assert_int_equal(uv_timer_init(loop_uv(l), &open), 0);
    uv_timer_start(&open, NULL, 3600000, 0);
    closing.data = &closed;
    uv_close((uv_handle_t *)&closing, on_closed);
    loop_free(l);
    assert_int_equal(closed, 1);
}

static void on_work(uv_work_t *r)
{
    *(int *)r->data += 1;
}

static void on_worked(uv_work_t *r, int status)
{
    *(int *)r->data += status == 0 ? 10 : 0;
}

static void test_free_waits_for_requests(void **state)
{
    struct loop *l = make_loop(false);
    int done = 0;
    uv_work_t r = {.data = &done};
    assert_int_equal(uv_queue_work(loop_uv(l), &r, on_work, on_worked), 0);
    loop_free(l);
    assert_int_equal(done, 11);
    AUTO(loop) sim = make_loop(true);
    assert_null(loop_uv(sim));
}

static void out_of_memory(bool sim)
{
    unsigned long n = 0;
    for (bool done = false; !done;) {
        struct err e = {0};
        struct loop_timer t;
        mem_fail_at(++n);
        AUTO(loop) l = sim ? loop_sim_new(&e) : loop_new(&e);
        bool ok = l != NULL;
        if (!ok)
            assert_int_equal(e.cls, ERR_NOMEM);
        if (ok) {
            loop_timer_init(&t, l, on_deferring);
            ok = loop_timer_start(&t, 5);
            assert_int_equal(loop_timer_armed(&t), ok);
        }
        assert_int_equal(ok, !mem_failed());
        done = !mem_failed();
        mem_fail_at(0);
        loop_free(TAKE(l));
    }
    assert_true(n > 2);
}

#define BOTH(name)                                                                                 \
    static void name##_real(void **state)                                                          \
    {                                                                                              \
        name(false);                                                                               \
    }                                                                                              \
    static void name##_sim(void **state)                                                           \
    {                                                                                              \
        name(true);                                                                                \
    }
BOTH(timers_fire_in_order)
BOTH(timers_stop_and_restart)
BOTH(timers_do_not_starve)
BOTH(tasks_run_in_order)
BOTH(tasks_do_not_starve)
BOTH(task_from_timer)
BOTH(stop_ends_one_run)
BOTH(posts_from_threads)
BOTH(post_taken_back)
BOTH(free_drops_what_is_queued)
BOTH(out_of_memory)
#define BOTH_TESTS(name) cmocka_unit_test(name##_real), cmocka_unit_test(name##_sim)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TESTS(timers_fire_in_order),
        BOTH_TESTS(timers_stop_and_restart),
        BOTH_TESTS(timers_do_not_starve),
        cmocka_unit_test(test_timers_random),
        cmocka_unit_test(test_timer_far_future),
        cmocka_unit_test(test_timers_never_early),
        cmocka_unit_test(test_now_is_after_the_sleep),
        BOTH_TESTS(tasks_run_in_order),
        BOTH_TESTS(tasks_do_not_starve),
        BOTH_TESTS(task_from_timer),
        cmocka_unit_test(test_sleeps_when_idle),
        BOTH_TESTS(stop_ends_one_run),
        BOTH_TESTS(posts_from_threads),
        BOTH_TESTS(post_taken_back),
        cmocka_unit_test(test_free_waits_for_requests),
        BOTH_TESTS(free_drops_what_is_queued),
        cmocka_unit_test(test_free_closes_foreign_handles),
        BOTH_TESTS(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
