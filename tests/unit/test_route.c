/* test_route.c - from a name to a source: what names mean, the queue before a model, what is
 * counted. The models are recordings on the simulated loop; a call that is to last is paused. */
#include "call_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "route/route.h"

#define CALLERS       6
#define ONE_AT_A_TIME "max_concurrency: 1, max_queue: 2"

struct place {
    char file[64];
    struct loop *l;
    struct metrics *metrics;
    struct route_pool *pool;
    struct arena *arena;
    struct store *store; /* NULL: nothing is kept */
    struct question q;
    struct worker {
        struct loop *l;
        struct config *config;
        struct gate *gate;
        struct upstream_shared *shared;
        struct upstream *upstream;
        struct route *route;
    } w;
    struct caller callers[CALLERS];
    char order[32]; /* who came to an end, in order */
};

static struct config *make_config(struct place *p, const char *fields)
{
    struct err e = {0};
    struct buf b;
    buf_init(&b, KIB(64));
    assert_true(buf_addf(&b, &e,
                         "providers:\n"
                         "  tape: {kind: recorded, file: %s, %s}\n"
                         "  lab: {kind: openai, base_url: \"http://127.0.0.1:9/v1\", price: free}\n"
                         "models:\n"
                         "  m1: {provider: tape}\n"
                         "  big-model: {provider: lab, id: big}\n"
                         "fusions:\n"
                         "  council: {panel: [m1, big-model]}\n"
                         "aliases: {pretty: m1}\n",
                         p->file, fields));
    struct config *c = config_parse(buf_span(&b), "test", &e);
    if (c == NULL)
        fail_msg("%s", e.msg);
    buf_done(&b);
    return c;
}

static void worker_open(struct worker *w, struct place *p, struct loop *l, const char *fields)
{
    struct err e = {0};
    *w = (struct worker){.l = l, .config = make_config(p, fields), .gate = gate_new(l, p->store)};
    w->shared = upstream_shared_new(w->config, &e);
    if (w->shared == NULL)
        fail_msg("%s", e.msg);
    struct upstream_env ue = {.loop = l, .gate = w->gate};
    w->upstream = upstream_new(&ue, w->shared, &e);
    struct route_env re = {l, p->pool, w->upstream, w->config};
    w->route = route_new(&re);
    assert_non_null(w->route);
    assert_true(route_pool_config(p->pool, w->config, &e));
}

static void worker_close(struct worker *w)
{
    struct gate_counts n = gate_counts_of(w->gate);
    route_free(w->route);
    upstream_free(w->upstream);
    if (gate_counts_of(w->gate).settled != n.yes)
        fail_msg("a call was not booked");
    upstream_shared_free(w->shared);
    gate_free(w->gate);
    config_free(w->config);
}

static void on_last(struct caller *c)
{
    struct place *p = c->ctx;
    char who[2] = {(char)('a' + (c - p->callers)), '\0'};
    strncat(p->order, who, sizeof p->order - 1 - strlen(p->order));
}

static int open_place(void **state)
{
    static const char tape[] =
        "{\"id\": 1, \"question\": \"What?\", \"outputs\": {\"m1\": \"This.\"}}\n";
    struct err e = {0};
    struct place *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return -1;
    snprintf(p->file, sizeof p->file, "/tmp/fusor-route-XXXXXX");
    int fd = mkstemp(p->file);
    if (write(fd, tape, sizeof tape - 1) != sizeof tape - 1)
        return -1;
    close(fd);
    p->l = loop_sim_new(&e);
    p->metrics = metrics_new();
    p->pool = route_pool_new(p->metrics);
    p->arena = arena_new(0);
    question_set(&p->q, "What?");
    for (size_t i = 0; i < CALLERS; i++) {
        caller_init(&p->callers[i]);
        p->callers[i].on_last = on_last;
        p->callers[i].ctx = p;
    }
    *state = p;
    return 0;
}

static int close_place(void **state)
{
    struct place *p = *state;
    for (size_t i = 0; i < CALLERS; i++)
        caller_done(&p->callers[i]);
    arena_free(p->arena);
    store_close(p->store);
    loop_free(p->l);
    route_pool_free(p->pool);
    metrics_free(p->metrics);
    unlink(p->file);
    mem_free(p);
    return 0;
}

static struct route_target resolve_in(struct place *p, struct worker *w, struct span name)
{
    struct err e = {0};
    struct route_target t = {0};
    if (!route_resolve(w->route, p->arena, name, &t, &e))
        fail_msg("%s", e.msg);
    assert_true((t.recipe != NULL) != (t.model != NULL));
    assert_true((t.source != NULL) == (t.model != NULL));
    return t;
}

static struct route_target resolve(struct place *p, const char *name)
{
    return resolve_in(p, &p->w, span_of(name));
}

/* As the pool names its metrics. */
static int64_t count(struct place *p, const char *model, const char *outcome)
{
    char labels[128];
    snprintf(labels, sizeof labels, "model=\"%s\",outcome=\"%s\"", model, outcome);
    return metric_value(metric_get(p->metrics, "fusor_upstream_calls_total",
                                   "Upstream calls by model and outcome", METRIC_COUNTER,
                                   span_of(labels)));
}

static void check_counts(struct place *p, int ok, int failed, int cancelled, int full)
{
    assert_int_equal(count(p, "tape/m1", "ok"), ok);
    assert_int_equal(count(p, "tape/m1", "failed"), failed);
    assert_int_equal(count(p, "tape/m1", "cancelled"), cancelled);
    assert_int_equal(count(p, "tape/m1", "queue_full"), full);
}

static void on_bell(struct loop_timer *t)
{
    loop_stop(t->loop);
}

/* A second of a loop: all that needs no waiting, and no time-out. */
static void run_loop(struct loop *l)
{
    struct loop_timer bell;
    loop_timer_init(&bell, l, on_bell);
    assert_true(loop_timer_start(&bell, 1000000));
    loop_run(l);
}

static void run(struct place *p)
{
    run_loop(p->l);
}

static struct caller *start_on(struct place *p, char who, struct chat_source *s)
{
    struct caller *c = &p->callers[who - 'a'];
    if (!caller_start(c, s, &p->q))
        fail_msg("%s", c->e.msg);
    return c;
}

static struct caller *start(struct place *p, char who)
{
    return start_on(p, who, resolve(p, "m1").source);
}

/* One that holds the slot until it is resumed. */
static struct caller *start_paused(struct place *p, char who)
{
    p->callers[who - 'a'].pause_at = 1;
    struct caller *c = start(p, who);
    while (!c->started && loop_step(p->l))
        continue;
    return c;
}

#define ALL "start:*,m1;text:This.;usage:2/0/2/0$0~;finish:stop"

/* --- names
 * ------------------------------------------------------------------------------------------ */

static void test_names(void **state)
{
    struct place *p = *state;
    worker_open(&p->w, p, p->l, ONE_AT_A_TIME);
    struct route_target listed = resolve(p, "m1"), long_name = resolve(p, "tape/m1"),
                        by_id = resolve(p, "lab/big"), by_name = resolve(p, "big-model"),
                        implied = resolve(p, "lab/Other/Model-1"), recipe = resolve(p, "council");
    assert_ptr_equal(listed.model, long_name.model);
    assert_ptr_equal(listed.latency, long_name.latency);
    assert_ptr_equal(by_id.latency, by_name.latency); /* one queue, whatever it is called */
    assert_false(by_name.model->implied);
    assert_true(implied.model->implied);
    assert_true(span_eq(implied.model->id, SPAN("Other/Model-1")));
    assert_ptr_not_equal(implied.latency, by_id.latency);
    assert_ptr_equal(resolve(p, "lab/Other/Model-1").latency, implied.latency);
    assert_true(span_eq(recipe.recipe->name, SPAN("council")));
    assert_null(recipe.latency);
    worker_close(&p->w);
}

static void test_unknown_names(void **state)
{
    static const struct {
        const char *name, *says, *not ;
    } cases[] = {
        {"big-modle", "\"big-modle\" does not exist. Did you mean: big-model?", "council"},
        {"counci", "Did you mean: council?", "big-model"},
        {"prety", "Did you mean: pretty?", "council"},
        {"nothing-like-it", "GET /v1/models lists what there is.", "Did you mean"},
        {"", "\"\" does not exist", "Did you mean"},
        {"nolab/big", "does not exist", "\n"},
        {"tape/m7", "does not exist", "\n"},
        {"lab/", "does not exist", "\n"},
        {"lab/a b", "does not exist", "\n"},
        {"a\x1b[31mb\n", "\"a\\x1B[31mb\\x0A\"", "\n"},
    };
    struct place *p = *state;
    worker_open(&p->w, p, p->l, ONE_AT_A_TIME);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = {0};
        struct route_target t = {0};
        assert_false(route_resolve(p->w.route, p->arena, span_of(cases[i].name), &t, &e));
        assert_int_equal(e.cls, ERR_NOT_FOUND);
        assert_int_equal(e.status, 404);
        assert_string_equal(e.code, "model_not_found");
        assert_string_equal(e.param, "model");
        if (strstr(e.msg, cases[i].says) == NULL || strstr(e.msg, cases[i].not ) != NULL)
            fail_msg("%s: %s", cases[i].name, e.msg);
    }
    assert_false(route_resolve(p->w.route, p->arena, SPAN("x"), &(struct route_target){0}, NULL));
    worker_close(&p->w);
}

/* A client that makes names up gets answers, but no room: past the limit, and for absurd lengths,
 * the names of a provider share one queue. */
static void test_made_up_names(void **state)
{
    struct place *p = *state;
    char *name = arena_alloc(p->arena, KIB(20));
    worker_open(&p->w, p, p->l, ONE_AT_A_TIME);
    memset(name, 'x', KIB(20));
    memcpy(name, "lab/", 4);
    struct route_target first = resolve_in(p, &p->w, span_make(name, KIB(20)));
    name[KIB(20) - 1] = 'y';
    struct route_target second = resolve_in(p, &p->w, span_make(name, KIB(20)));
    assert_ptr_equal(first.latency, second.latency);
    struct route_target last = {0};
    for (size_t i = 0; i < LIMIT_MODEL_ENTRIES + 10; i++)
        last = resolve_in(p, &p->w, arena_printf(p->arena, "lab/m%zu", i));
    assert_ptr_equal(last.latency, first.latency);
    assert_ptr_not_equal(resolve(p, "lab/m1").latency, first.latency);
    assert_ptr_not_equal(resolve(p, "m1").latency, first.latency);
    worker_close(&p->w);
}

/* --- the queue
 * ---------------------------------------------------------------------------------------- */

static void test_queue(void **state)
{
    struct place *p = *state;
    worker_open(&p->w, p, p->l, ONE_AT_A_TIME);
    struct caller *a = start_paused(p, 'a');
    start(p, 'b');
    start(p, 'c');
    struct caller *d = &p->callers[3];
    assert_false(caller_start(d, resolve(p, "m1").source, &p->q));
    assert_int_equal(d->e.cls, ERR_BUSY);
    assert_int_equal(d->e.status, 429);
    assert_int_equal(d->e.retry_after_ms, 1000);
    assert_string_equal(d->e.code, "queue_full");
    assert_non_null(strstr(d->e.msg, "tape/m1"));
    run(p);
    assert_string_equal(p->order, "");
    chat_resume(a->call);
    run(p);
    assert_string_equal(p->order, "abc");
    for (char who = 'a'; who <= 'c'; who++)
        caller_expect(&p->callers[who - 'a'], ALL);
    check_counts(p, 3, 0, 0, 1);
    assert_int_equal(latency_count(resolve(p, "m1").latency), 3);
    assert_int_equal(metric_value(metric_get(p->metrics, "fusor_input_tokens_total", "Tokens sent",
                                             METRIC_COUNTER, SPAN("model=\"tape/m1\""))),
                     6);
    assert_int_equal(
        metric_value(metric_get(p->metrics, "fusor_output_tokens_total", "Tokens received",
                                METRIC_COUNTER, SPAN("model=\"tape/m1\""))),
        6);
    worker_close(&p->w);
}

/* The end of a call may begin the next one with the same memory. */
static void again(struct caller *c)
{
    struct place *p = c->ctx;
    on_last(c);
    if (strlen(p->order) < 3)
        start(p, (char)('a' + strlen(p->order)));
}

static void test_start_in_last_event(void **state)
{
    struct place *p = *state;
    worker_open(&p->w, p, p->l, ONE_AT_A_TIME);
    for (size_t i = 0; i < CALLERS; i++)
        p->callers[i].on_last = again;
    start(p, 'a');
    run(p);
    assert_string_equal(p->order, "abc");
    check_counts(p, 3, 0, 0, 0);
    worker_close(&p->w);
}

static void test_cancel_queued(void **state)
{
    struct place *p = *state;
    worker_open(&p->w, p, p->l, ONE_AT_A_TIME);
    struct caller *a = start_paused(p, 'a'), *b = start(p, 'b');
    start(p, 'c');
    caller_cancel(b);
    assert_int_equal(b->usage.input, 0);
    start(p, 'd'); /* its place is free */
    chat_resume(a->call);
    run(p);
    assert_string_equal(p->order, "acd");
    caller_expect(b, "");
    check_counts(p, 3, 0, 1, 0);
    worker_close(&p->w);
}

static void cancel_next(struct caller *c)
{
    struct place *p = c->ctx;
    on_last(c);
    caller_cancel(&p->callers[1]);
}

/* The slot is on its way to a call that is cancelled: it goes to the next, and nothing is left
 * behind when everything is freed before the loop has turned again. */
static void test_cancel_on_the_way(void **state)
{
    struct place *p = *state;
    worker_open(&p->w, p, p->l, ONE_AT_A_TIME);
    struct caller *a = start_paused(p, 'a'), *b;
    start(p, 'b');
    start(p, 'c');
    a->on_last = cancel_next; /* b's slot has been posted by then */
    chat_resume(a->call);
    run(p);
    assert_string_equal(p->order, "ac");
    check_counts(p, 2, 0, 1, 0);
    a = start_paused(p, 'a');
    b = start(p, 'b');
    run(p);
    caller_cancel(a);
    caller_cancel(b);
    worker_close(&p->w);
    check_counts(p, 2, 0, 3, 0);
}

static void test_cancel_running(void **state)
{
    struct place *p = *state;
    worker_open(&p->w, p, p->l, ONE_AT_A_TIME);
    p->callers[0].cancel_at = 2; /* inside the text */
    struct caller *a = start(p, 'a');
    start(p, 'b');
    run(p);
    assert_true(a->cancelled);
    assert_int_equal(a->usage.input, 2);
    assert_string_equal(p->order, "b");
    check_counts(p, 1, 0, 1, 0);
    worker_close(&p->w);
}

static void test_pause_queued(void **state)
{
    struct place *p = *state;
    worker_open(&p->w, p, p->l, ONE_AT_A_TIME);
    struct caller *a = start_paused(p, 'a'), *b = start(p, 'b');
    chat_pause(b->call);
    chat_resume(a->call);
    run(p);
    assert_string_equal(p->order, "a");
    chat_resume(b->call);
    run(p);
    assert_string_equal(p->order, "ab");
    worker_close(&p->w);
}

/* Waiting ends with the model's total time, or sooner at the caller's deadline. */
static void test_queue_timeout(void **state)
{
    static const struct {
        int64_t deadline_us, want_us;
    } cases[] = {{0, 5000000}, {2000000, 2000000}, {9000000, 5000000}, {-1, 1}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct place *p = *state;
        worker_open(&p->w, p, p->l, "max_concurrency: 1, max_queue: 2, timeouts: {total: 5s}");
        struct caller *a = start_paused(p, 'a'), *b = &p->callers[1], *c;
        int64_t began = loop_now_us(p->l), deadline = cases[i].deadline_us;
        struct chat_start_opts o = {.role = "call", .deadline_us = deadline ? began + deadline : 0};
        assert_true(caller_start_with(b, resolve(p, "m1").source, &p->q, &o));
        c = start(p, 'c');
        chat_pause(c->call);
        while (!b->failed && loop_step(p->l))
            continue;
        assert_int_equal(loop_now_us(p->l) - began, cases[i].want_us);
        assert_int_equal(b->e.cls, ERR_TIMEOUT);
        assert_int_equal(b->e.sent, SENT_NO);
        assert_non_null(strstr(b->e.msg, "tape/m1"));
        caller_cancel(a);
        if (!caller_over(c))
            caller_cancel(c);
        run(p);
        assert_int_equal(count(p, "tape/m1", "failed") + count(p, "tape/m1", "cancelled"),
                         3 * (int64_t)(i + 1));
        worker_close(&p->w);
    }
}

/* --- two workers, a reload
 * ------------------------------------------------------------------------------ */

static void test_two_workers(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    struct worker other;
    AUTO(loop) l = loop_sim_new(&e);
    worker_open(&p->w, p, p->l, ONE_AT_A_TIME);
    worker_open(&other, p, l, ONE_AT_A_TIME);
    struct caller *a = start_paused(p, 'a');
    struct caller *b = start_on(p, 'b', resolve_in(p, &other, SPAN("m1")).source);
    run(p);
    run_loop(l);
    assert_false(b->started);
    chat_resume(a->call);
    run(p);
    assert_false(b->started); /* its own loop has not turned */
    run_loop(l);
    assert_string_equal(p->order, "ab");
    worker_close(&other);
    worker_close(&p->w);
}

static void test_new_limits(void **state)
{
    struct place *p = *state;
    struct worker next;
    worker_open(&p->w, p, p->l, ONE_AT_A_TIME);
    start_paused(p, 'a');
    start(p, 'b');
    run(p);
    assert_string_equal(p->order, "");
    worker_open(&next, p, p->l, "max_concurrency: 2, max_queue: 0");
    run(p);
    assert_string_equal(p->order, "b");
    caller_cancel(&p->callers[0]);
    worker_close(&next);
    worker_close(&p->w);
}

/* --- failures
 * ------------------------------------------------------------------------------------------- */

static void test_failures(void **state)
{
    struct place *p = *state;
    worker_open(&p->w, p, p->l, ONE_AT_A_TIME);
    struct question odd;
    question_set(&odd, "Never asked.");
    struct caller *a = &p->callers[0], *b;
    assert_true(caller_start(a, resolve(p, "m1").source, &odd));
    b = start(p, 'b');
    run(p);
    assert_true(a->failed);
    assert_string_equal(a->e.code, "recording_not_found");
    assert_true(b->finished);
    check_counts(p, 1, 1, 0, 0);
    /* This loop has no HTTP client: the call does not even begin, and its slot is free again. */
    for (int i = 0; i < 3; i++) {
        assert_false(caller_start(a, resolve(p, "big-model").source, &p->q));
        assert_int_equal(a->e.cls, ERR_STATE);
    }
    assert_int_equal(count(p, "lab/big", "failed"), 3);
    worker_close(&p->w);
}

/* Our own ledger's no is not the upstream's: it stays up, however often it comes. */
static void test_ledger_says_no(void **state)
{
    struct place *p = *state;
    p->store = store_open("", NULL);
    worker_open(&p->w, p, p->l, "price: {input: 1, output: 2}");
    struct gate_intent i = {.role = "call", .model = resolve(p, "big-model").model};
    assert_true(p->store && gate_pass(p->w.gate, &i));
    mem_fail_at(1);
    gate_settle(p->w.gate, &i, &(struct chat_usage){0}, "ok", false, 0, -1, -1); /* a row is lost */
    mem_fail_at(0);
    for (int k = 0; k < 20; k++) {
        struct caller *a = start(p, 'a');
        run(p);
        assert_string_equal(a->e.code, "ledger_failed");
        assert_false(resolve(p, "m1").down);
    }
    check_counts(p, 0, 20, 0, 0);
    worker_close(&p->w);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_place, close_place)
    const struct CMUnitTest tests[] = {
        TEST(test_names),
        TEST(test_unknown_names),
        TEST(test_made_up_names),
        TEST(test_queue),
        TEST(test_start_in_last_event),
        TEST(test_cancel_queued),
        TEST(test_cancel_on_the_way),
        TEST(test_cancel_running),
        TEST(test_pause_queued),
        TEST(test_queue_timeout),
        TEST(test_two_workers),
        TEST(test_new_limits),
        TEST(test_failures),
        TEST(test_ledger_says_no),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
