/* test_slots.c - the queue before a model: how many run, how many wait, in which order they get
 * their turn, and that nobody is forgotten when several threads take, give and leave at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "route/slots.h"

/* --- one thread
 * ----------------------------------------------------------------------------------- */

enum { WAITERS = 8 };

struct desk {
    struct loop *l;
    struct slots *s;
    char log[64]; /* whose turn came, in order */
    size_t n;
    struct guest {
        struct slots_waiter w;
        struct desk *desk;
    } guests[WAITERS];
};

static void on_slot(struct slots_waiter *w)
{
    struct guest *g = CONTAINER_OF(w, struct guest, w);
    g->desk->log[g->desk->n++] = (char)('a' + (g - g->desk->guests));
}

static void desk_open(struct desk *d, int64_t max, int64_t max_queue)
{
    struct err e = {0};
    *d = (struct desk){.l = loop_sim_new(&e), .s = slots_new(max, max_queue)};
    for (size_t i = 0; i < WAITERS; i++)
        d->guests[i] = (struct guest){.w = {.loop = d->l, .on_slot = on_slot}, .desk = d};
}

static void desk_close(struct desk *d)
{
    slots_free(d->s);
    loop_free(d->l);
}

static enum slots_answer take(struct desk *d, char who)
{
    return slots_take(d->s, &d->guests[who - 'a'].w);
}

static void leave(struct desk *d, char who)
{
    slots_leave(d->s, &d->guests[who - 'a'].w);
}

/* Runs what was posted; then these turns must have come so far. */
static void check_turns(struct desk *d, const char *want)
{
    while (loop_step(d->l))
        continue;
    assert_string_equal(d->log, want);
}

static void check_numbers(const struct desk *d, int64_t running, int64_t waiting)
{
    assert_int_equal(slots_running(d->s), running);
    assert_int_equal(slots_waiting(d->s), waiting);
}

static void test_limits(void **state)
{
    static const struct {
        int64_t max, max_queue;
        const char *want; /* of eight who ask: taken, waits, full */
    } cases[] = {
        {0, 0, "tttttttt"}, {0, 3, "tttttttt"}, {1, 0, "tfffffff"},
        {2, 3, "ttwwwfff"}, {1, 7, "twwwwwww"}, {8, 0, "tttttttt"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct desk d;
        char got[WAITERS + 1] = "";
        desk_open(&d, cases[i].max, cases[i].max_queue);
        for (size_t k = 0; k < WAITERS; k++)
            got[k] = "twf"[take(&d, (char)('a' + k))];
        assert_string_equal(got, cases[i].want);
        check_turns(&d, "");
        desk_close(&d);
    }
}

static void test_fifo(void **state)
{
    struct desk d;
    desk_open(&d, 1, 5);
    assert_int_equal(take(&d, 'a'), SLOTS_TAKEN);
    for (char who = 'b'; who <= 'f'; who++)
        assert_int_equal(take(&d, who), SLOTS_WAIT);
    assert_int_equal(take(&d, 'g'), SLOTS_FULL);
    check_numbers(&d, 1, 5);
    slots_give(d.s);
    assert_int_equal(d.n, 0); /* by a post, not from inside slots_give() */
    check_turns(&d, "b");
    assert_int_equal(take(&d, 'g'), SLOTS_WAIT); /* a place is free again, behind the others */
    leave(&d, 'd');
    check_numbers(&d, 1, 4);
    for (int i = 0; i < 4; i++)
        slots_give(d.s);
    check_turns(&d, "bcefg");
    check_numbers(&d, 1, 0);
    slots_give(d.s);
    check_numbers(&d, 0, 0);
    assert_int_equal(take(&d, 'a'), SLOTS_TAKEN);
    slots_give(d.s);
    desk_close(&d);
}

/* A free slot is not taken past those who wait. */
static void test_no_overtaking(void **state)
{
    struct desk d;
    desk_open(&d, 1, 4);
    assert_int_equal(take(&d, 'a'), SLOTS_TAKEN);
    assert_int_equal(take(&d, 'b'), SLOTS_WAIT);
    slots_give(d.s); /* b's from here on, though b does not know yet */
    assert_int_equal(take(&d, 'c'), SLOTS_WAIT);
    check_turns(&d, "b");
    slots_give(d.s);
    check_turns(&d, "bc");
    slots_give(d.s);
    desk_close(&d);
}

/* Who leaves while his slot is on its way passes it on, and is not called. */
static void test_leave_late(void **state)
{
    struct desk d;
    desk_open(&d, 1, 4);
    assert_int_equal(take(&d, 'a'), SLOTS_TAKEN);
    assert_int_equal(take(&d, 'b'), SLOTS_WAIT);
    assert_int_equal(take(&d, 'c'), SLOTS_WAIT);
    slots_give(d.s);
    leave(&d, 'b');
    check_numbers(&d, 1, 0);
    check_turns(&d, "c");
    slots_give(d.s);
    check_numbers(&d, 0, 0);
    assert_int_equal(take(&d, 'b'), SLOTS_TAKEN); /* the same memory again */
    assert_int_equal(take(&d, 'c'), SLOTS_WAIT);
    slots_give(d.s);
    leave(&d, 'c'); /* nobody waits: the slot is free */
    check_turns(&d, "c");
    check_numbers(&d, 0, 0);
    desk_close(&d);
}

static void test_new_limits(void **state)
{
    struct desk d;
    desk_open(&d, 1, 4);
    assert_int_equal(take(&d, 'a'), SLOTS_TAKEN);
    for (char who = 'b'; who <= 'e'; who++)
        assert_int_equal(take(&d, who), SLOTS_WAIT);
    slots_limit(d.s, 3, 4);
    check_turns(&d, "bc");
    check_numbers(&d, 3, 2);
    slots_limit(d.s, 1, 1); /* who runs goes on, who waits may stay */
    check_numbers(&d, 3, 2);
    assert_int_equal(take(&d, 'f'), SLOTS_FULL);
    slots_give(d.s);
    slots_give(d.s);
    check_turns(&d, "bc");
    slots_give(d.s);
    check_turns(&d, "bcd");
    slots_limit(d.s, 0, 0);
    check_turns(&d, "bcde");
    assert_int_equal(take(&d, 'f'), SLOTS_TAKEN);
    check_numbers(&d, 3, 0);
    desk_close(&d);
}

static void test_out_of_memory(void **state)
{
    mem_fail_at(1);
    assert_null(slots_new(1, 1));
    mem_fail_at(0);
    slots_free(NULL);
}

/* --- threads
 * -------------------------------------------------------------------------------------- */

enum { THREADS = 4, CALLS = 6, ROUNDS = 400, MAX = 3, MAX_QUEUE = 12 };

struct office {
    struct slots *s;
    atomic_int inside, most, taken, waited, full, left;
};

/* A caller that asks, waits or not, works for a few turns, gives back, and asks again. */
struct caller {
    struct slots_waiter w;
    struct loop_timer timer;
    struct clerk *clerk;
    int rounds;
    enum { OUTSIDE, WAITING, INSIDE } at;
};

struct clerk {
    struct office *o;
    struct loop *l;
    struct rng rng;
    int busy;
    struct caller callers[CALLS];
};

static void later(struct caller *c)
{
    assert_true(loop_timer_start(&c->timer, (int64_t)rng_below(&c->clerk->rng, 100)));
}

static void go_in(struct caller *c)
{
    struct office *o = c->clerk->o;
    int now = atomic_fetch_add(&o->inside, 1) + 1, most = atomic_load(&o->most);
    while (now > most && !atomic_compare_exchange_weak(&o->most, &most, now))
        continue;
    c->at = INSIDE;
    later(c);
}

static void caller_on_slot(struct slots_waiter *w)
{
    struct caller *c = CONTAINER_OF(w, struct caller, w);
    assert_int_equal(c->at, WAITING);
    loop_timer_stop(&c->timer);
    go_in(c);
}

static void ask(struct caller *c)
{
    struct office *o = c->clerk->o;
    if (c->rounds-- == 0) {
        if (--c->clerk->busy == 0)
            loop_stop(c->clerk->l);
        return;
    }
    switch (slots_take(o->s, &c->w)) {
    case SLOTS_TAKEN:
        atomic_fetch_add(&o->taken, 1);
        go_in(c);
        break;
    case SLOTS_WAIT:
        atomic_fetch_add(&o->waited, 1);
        c->at = WAITING;
        if (rng_below(&c->clerk->rng, 4) == 0) /* has little patience */
            later(c);
        break;
    case SLOTS_FULL:
        atomic_fetch_add(&o->full, 1);
        later(c);
        break;
    }
}

static void caller_on_timer(struct loop_timer *t)
{
    struct caller *c = CONTAINER_OF(t, struct caller, timer);
    struct office *o = c->clerk->o;
    if (c->at == INSIDE) {
        atomic_fetch_sub(&o->inside, 1);
        slots_give(o->s);
    } else if (c->at == WAITING) {
        atomic_fetch_add(&o->left, 1);
        slots_leave(o->s, &c->w);
    }
    c->at = OUTSIDE;
    ask(c);
}

static void *work(void *arg)
{
    struct clerk *k = arg;
    for (int i = 0; i < CALLS; i++)
        ask(&k->callers[i]);
    loop_run(k->l);
    return NULL;
}

static void test_threads(void **state)
{
    struct err e = {0};
    struct office o = {.s = slots_new(MAX, MAX_QUEUE)};
    struct clerk *clerks = mem_zalloc(THREADS * sizeof *clerks);
    pthread_t th[THREADS];
    assert_non_null(clerks);
    for (int t = 0; t < THREADS; t++) {
        struct clerk *k = &clerks[t];
        k->o = &o;
        k->l = loop_new(&e);
        k->busy = CALLS;
        rng_init(&k->rng, (uint64_t)t + 1);
        for (int i = 0; i < CALLS; i++) {
            k->callers[i] = (struct caller){
                .w = {.loop = k->l, .on_slot = caller_on_slot}, .clerk = k, .rounds = ROUNDS};
            loop_timer_init(&k->callers[i].timer, k->l, caller_on_timer);
        }
    }
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&th[t], NULL, work, &clerks[t]), 0);
    for (int t = 0; t < THREADS; t++)
        pthread_join(th[t], NULL);
    print_message("%d taken at once, %d waited, %d found it full, %d left\n", o.taken, o.waited,
                  o.full, o.left);
    assert_int_equal(slots_running(o.s), 0);
    assert_int_equal(slots_waiting(o.s), 0);
    assert_int_equal(o.inside, 0);
    assert_int_equal(o.most, MAX);
    assert_int_equal(o.taken + o.waited + o.full, THREADS * CALLS * ROUNDS);
    assert_true(o.waited > 0 && o.left > 0);
    for (int t = 0; t < THREADS; t++)
        loop_free(clerks[t].l);
    mem_free(clerks);
    slots_free(o.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),        cmocka_unit_test(test_fifo),
        cmocka_unit_test(test_no_overtaking), cmocka_unit_test(test_leave_late),
        cmocka_unit_test(test_new_limits),    cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
