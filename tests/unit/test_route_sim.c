/* tests/unit/test_route_sim.c - thousands of random schedules of several clients at once over
 * queues, health, failover and structured outputs, on virtual time; and what must hold in each.
 *
 * A schedule is a pure function of its seed. The models are scripts behind the real route: they
 * stand where its upstream would. Each client's memory goes with its last event or its cancel. The
 * failing seed is printed; FUSOR_SIM_SEED runs that one alone, FUSOR_SIM_RUNS sets how many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "route/failover.h"
#include "route/pool.h"
#include "route/structured.h"
#include "scripted_source.h"

#define RUNS    6000
#define MODELS  4
#define CLIENTS 6
#define SCHEMA  "{\"type\":\"object\",\"required\":[\"a\"]}"

struct sim;

struct guest {
    struct chat_sink sink;
    struct sim *sim;
    struct arena *arena; /* of the request: gone when it is over */
    struct chat_request request;
    struct failover_source failover;
    struct chat_call *call;
    struct loop_timer begin, leave, resume;
    struct chat_usage usage;
    char id[24], log[128];
    size_t events, cancel_at, pause_at;
    int64_t limit_us;
    bool started, content, over, gone, refused;
    size_t calls; /* of the route, one after the other */
};

/* Who has the probe of a model's breaker, and with which of his calls. */
struct prober {
    const struct guest *guest; /* NULL: nobody */
    size_t call;
};

struct sim {
    uint64_t seed;
    struct rng rng;
    struct lab lab;
    struct config *config;
    struct route_pool *pool;
    struct route *route;
    struct guest guests[CLIENTS];
    size_t n_guests;
    struct prober probers[MODELS];
    char outcome[CLIENTS * 160];
};

static struct sim *running; /* what stands behind the route has no other way to its scripts */

static uint64_t below(struct sim *s, uint64_t n)
{
    return rng_below(&s->rng, n);
}

static bool chance(struct sim *s, unsigned percent)
{
    return below(s, 100) < percent;
}

/* --- models --------------------------------------------------------------------------------------
 */

static const char *const model_names[MODELS] = {"m0", "m1", "m2", "m3"};

static void random_error(struct sim *s, struct script *out)
{
    static const struct {
        enum err_class cls;
        int status;
        enum err_sent sent;
    } kinds[] = {{ERR_CONNECT, 0, SENT_NO},         {ERR_BUSY, 429, SENT_REFUSED},
                 {ERR_UPSTREAM, 401, SENT_REFUSED}, {ERR_UNAVAILABLE, 503, SENT_REFUSED},
                 {ERR_UPSTREAM, 500, SENT_MAYBE},   {ERR_TIMEOUT, 0, SENT_MAYBE},
                 {ERR_CUT, 200, SENT_MAYBE},        {ERR_INPUT, 400, SENT_REFUSED},
                 {ERR_NOT_FOUND, 404, SENT_REFUSED}};
    size_t k = below(s, COUNT_OF(kinds));
    out->err = lab_error(kinds[k].cls, "made to fail");
    out->err.sent = kinds[k].sent;
    out->err.upstream_status = kinds[k].status;
    out->err.retry_after_ms = chance(s, 50) ? (int64_t)below(s, 2000) : -1;
}

static void random_script(struct sim *s, struct script *out)
{
    static const char *const texts[] = {"{\"a\": 1}", "```json\n{\"a\": 2}\n```", "words", "[1",
                                        "{\"b\": 1}"};
    *out = (struct script){.text = span_of(texts[below(s, COUNT_OF(texts))]),
                           .chunk = below(s, 6),
                           .first_us = (int64_t)below(s, 300000),
                           .every_us = (int64_t)below(s, 20000),
                           .end_us = (int64_t)below(s, 20000),
                           .n_ignored = below(s, 3),
                           .early_usage = chance(s, 30)};
    out->usage = (struct chat_usage){.input = (int64_t)below(s, 100),
                                     .output = (int64_t)below(s, 100),
                                     .cost_nusd = (int64_t)below(s, 1000000)};
    switch (below(s, 12)) {
    case 0:
    case 1:
    case 2:
        random_error(s, out);
        out->text = SPAN("");
        break;
    case 3:
        random_error(s, out); /* behind its text */
        break;
    case 4:
        random_error(s, out);
        out->err.sent = SENT_NO;
        out->no_start = true;
        break;
    case 5:
        out->text = SPAN("");
        break;
    case 6:
        out->refusal = SPAN("I will not");
        break;
    case 7:
        out->tool = SPAN("look_up");
        break;
    case 8:
        out->reasoning = SPAN("thoughts");
        break;
    case 9:
        out->finish = CHAT_FINISH_LENGTH;
        break;
    default:
        break;
    }
}

static struct guest *guest_of(struct sim *s, struct span id)
{
    for (size_t i = 0; i < s->n_guests; i++)
        if (span_eq(span_of(s->guests[i].id), id))
            return &s->guests[i];
    fail_msg("a call of nobody's");
    return NULL;
}

/* Where the upstream's source would start. */
static struct chat_call *scripted_start(struct chat_source *source, const struct chat_request *r,
                                        const struct chat_start_opts *o, struct chat_sink *sink,
                                        struct err *e)
{
    const struct upstream_source *u = CONTAINER_OF(source, struct upstream_source, source);
    struct sim *s = running;
    const struct guest *g = guest_of(s, o->request_id);
    size_t live = 0;
    assert_false(g->over);
    assert_false(g->content); /* nobody is asked again once a word has gone out */
    for (size_t i = 0; i < s->n_guests; i++)
        live += s->guests[i].started && !s->guests[i].over;
    for (size_t i = 0; i < MODELS; i++)
        if (span_eq(u->model->id, s->lab.models[i].name)) {
            struct chat_call *c = chat_start(&s->lab.models[i].source, r, o, sink, e);
            assert_true(lab_running(&s->lab) <= live); /* one call at a time for each client */
            return c;
        }
    fail_msg("no such model");
    return NULL;
}

/* What a source of the route begins with (route/route.c). */
struct front {
    struct chat_source source;
    struct upstream_source upstream;
};

static struct route_entry *entry_of(struct sim *s, size_t i)
{
    struct config_model implied;
    const struct config_model *m = config_model_find(s->config, span_of(model_names[i]), &implied);
    struct route_entry *en = route_pool_entry(s->pool, m);
    assert_non_null(en);
    return en;
}

/* Stands in front of the route's source, and sees who takes the probe. */
struct watched {
    struct chat_source source, *route;
    struct sim *sim;
    struct guest *guest;
    size_t model;
};

static struct chat_call *watched_start(struct chat_source *source, const struct chat_request *r,
                                       const struct chat_start_opts *o, struct chat_sink *sink,
                                       struct err *e)
{
    struct watched *w = CONTAINER_OF(source, struct watched, source);
    struct breaker *b = &entry_of(w->sim, w->model)->breaker;
    size_t call = ++w->guest->calls; /* the call before is over */
    bool before = atomic_load(&b->probing);
    struct chat_call *c = chat_start(w->route, r, o, sink, e);
    if (!before && atomic_load(&b->probing))
        w->sim->probers[w->model] = (struct prober){w->guest, call};
    return c;
}

/* A probe lasts as long as the call that has it, whatever becomes of others. */
static void check_probes(struct sim *s)
{
    for (size_t i = 0; i < MODELS; i++) {
        struct prober *p = &s->probers[i];
        bool under_way = p->guest && !p->guest->over && p->guest->calls == p->call;
        assert_int_equal(atomic_load(&entry_of(s, i)->breaker.probing), under_way);
        if (!under_way)
            *p = (struct prober){0};
    }
}

static struct chat_source *resolve(struct sim *s, struct guest *g, size_t model)
{
    static const struct chat_source_ops ops = {scripted_start};
    struct route_target t;
    static const struct chat_source_ops watched_ops = {watched_start};
    struct watched *w = arena_alloc(g->arena, sizeof *w);
    struct err e = {0};
    assert_non_null(w);
    if (!route_resolve(s->route, g->arena, span_of(model_names[model]), &t, &e))
        fail_msg("%s", e.msg);
    struct front *f = CONTAINER_OF(t.source, struct front, source);
    assert_ptr_equal(f->upstream.model, t.model);
    f->upstream.source.ops = &ops;
    *w = (struct watched){{&watched_ops}, t.source, s, g, model};
    return &w->source;
}

/* --- clients -------------------------------------------------------------------------------------
 */

/* All that a client may free is gone: nothing of it may be read afterwards. */
static void forget(struct guest *g)
{
    g->call = NULL;
    g->over = true;
    loop_timer_stop(&g->leave);
    loop_timer_stop(&g->resume);
    arena_free(g->arena);
    g->arena = NULL;
    memset(&g->failover, 0x5a, sizeof g->failover);
    memset(&g->request, 0x5a, sizeof g->request);
}

static void leave(struct guest *g)
{
    g->gone = true;
    chat_cancel(TAKE(g->call), &g->usage);
    forget(g);
}

static void check_ignored(const struct chat_event *ev)
{
    char want[32];
    for (size_t i = 0; i < ev->n_ignored; i++) {
        snprintf(want, sizeof want, "hint-%zu", i);
        assert_true(span_eq(ev->ignored[i], span_of(want)));
    }
}

static void on_event(struct chat_sink *k, const struct chat_event *ev)
{
    struct guest *g = CONTAINER_OF(k, struct guest, sink);
    static const char names[] = "StrfTmuFE";
    assert_false(g->over);
    assert_non_null(g->call); /* not from inside start() */
    assert_true(g->events < sizeof g->log - 1);
    g->log[g->events++] = names[ev->kind];
    switch (ev->kind) {
    case CHAT_EV_START:
        assert_int_equal(g->events - 1, strcspn(g->log, "S")); /* once, first */
        check_ignored(ev);
        break;
    case CHAT_EV_TEXT:
    case CHAT_EV_REASONING:
    case CHAT_EV_REFUSAL:
    case CHAT_EV_TOOL:
        assert_int_equal(g->log[0], 'S');
        g->content = true;
        break;
    case CHAT_EV_USAGE:
        g->usage = ev->usage;
        break;
    case CHAT_EV_MEMBER:
        fail_msg("nobody is a member");
        break;
    case CHAT_EV_FINISH:
        assert_int_equal(g->log[0], 'S');
        forget(g);
        return;
    case CHAT_EV_ERROR:
        assert_true(ev->err->cls != ERR_NONE && ev->err->msg[0] != '\0');
        forget(g);
        return;
    }
    if (g->events == g->cancel_at)
        leave(g);
    else if (g->events == g->pause_at) {
        chat_pause(g->call);
        assert_true(loop_timer_start(&g->resume, 50000));
    }
}

static void on_leave(struct loop_timer *t)
{
    leave(CONTAINER_OF(t, struct guest, leave));
}

static void on_resume(struct loop_timer *t)
{
    struct guest *g = CONTAINER_OF(t, struct guest, resume);
    chat_resume(g->call);
}

static struct chat_source *target(struct guest *g, struct sim *s)
{
    struct chat_source *model = resolve(s, g, below(s, MODELS));
    struct structured_source *ss = arena_alloc(g->arena, sizeof *ss);
    assert_non_null(ss);
    if (g->request.format == CHAT_FORMAT_UNSET)
        return model;
    structured_source_init(ss, g->arena, model,
                           chance(s, 50) ? STRUCTURED_NATIVE : STRUCTURED_PROMPT, chance(s, 50));
    return &ss->source;
}

static void on_begin(struct loop_timer *t)
{
    struct guest *g = CONTAINER_OF(t, struct guest, begin);
    struct sim *s = g->sim;
    struct chat_start_opts o = {.request_id = span_of(g->id), .role = "call", .depth = 1};
    struct err e = {0};
    size_t n = 1 + below(s, MODELS);
    struct failover_target *targets = arena_array(g->arena, n, sizeof *targets);
    assert_non_null(targets);
    for (size_t i = 0; i < n; i++)
        targets[i] = (struct failover_target){.source = target(g, s)};
    failover_source_init(&g->failover, s->route, targets, n);
    g->failover.any_refusal = chance(s, 20);
    if (g->limit_us > 0)
        o.deadline_us = loop_now_us(s->lab.loop) + g->limit_us;
    g->started = true;
    g->call = chat_start(&g->failover.source, &g->request, &o, &g->sink, &e);
    if (g->call)
        return;
    assert_int_not_equal(e.cls, ERR_NONE);
    assert_int_equal(g->events, 0);
    g->refused = true;
    forget(g);
}

static void random_guest(struct sim *s, struct guest *g, size_t i)
{
    *g = (struct guest){.sim = s, .sink.on_event = on_event, .arena = arena_new(0)};
    assert_non_null(g->arena);
    snprintf(g->id, sizeof g->id, "c%zu", i);
    g->request = ask("How many?");
    g->request.stream = chance(s, 50);
    if (chance(s, 50)) {
        g->request.format = CHAT_FORMAT_SCHEMA;
        g->request.format_schema = SPAN(SCHEMA);
    }
    g->limit_us = chance(s, 20) ? 1 + (int64_t)below(s, 400000) : 0;
    loop_timer_init(&g->begin, s->lab.loop, on_begin);
    loop_timer_init(&g->leave, s->lab.loop, on_leave);
    loop_timer_init(&g->resume, s->lab.loop, on_resume);
    if (chance(s, 20))
        g->cancel_at = 1 + below(s, 6);
    else if (chance(s, 30))
        g->pause_at = 1 + below(s, 4);
    assert_true(loop_timer_start(&g->begin, (int64_t)below(s, 2000000)));
}

/* Some leave at any time: armed here, as they may be over before. */
static void arm_leaving(struct sim *s)
{
    for (size_t i = 0; i < s->n_guests; i++) {
        struct guest *g = &s->guests[i];
        if (g->call && g->cancel_at == 0 && !loop_timer_armed(&g->leave) && chance(s, 2))
            assert_true(loop_timer_start(&g->leave, (int64_t)below(s, 200000)));
    }
}

/* --- a run ---------------------------------------------------------------------------------------
 */

static void open_sim(struct sim *s)
{
    struct err e = {0};
    struct buf text;
    buf_init(&text, KIB(8));
    assert_true(buf_addf(&text, &e,
                         "breaker: {failures: %d, open: 100ms}\n"
                         "retries: {ambiguous: %s, budget_percent: %d}\n"
                         "providers:\n",
                         1 + (int)below(s, 3), chance(s, 50) ? "true" : "false",
                         chance(s, 50) ? 100 : 10));
    for (int i = 0; i < 2; i++)
        assert_true(buf_addf(&text, &e,
                             "  p%d: {kind: openai, base_url: 'http://127.0.0.1:9/v1', "
                             "max_concurrency: %d, max_queue: %d, timeouts: {total: 2s}}\n",
                             i, 1 + (int)below(s, 3), (int)below(s, 3)));
    assert_true(buf_addf(&text, &e, "models:\n"));
    for (int i = 0; i < MODELS; i++)
        assert_true(buf_addf(&text, &e, "  m%d: {provider: p%d, id: m%d}\n", i, i / 2, i));
    s->config = config_parse(buf_span(&text), "test", &e);
    if (!s->config)
        fail_msg("%s", e.msg);
    buf_done(&text);
    s->pool = route_pool_new(NULL);
    assert_true(s->pool && route_pool_config(s->pool, s->config, &e));
    struct route_env env = {s->lab.loop, s->pool, NULL, s->config};
    s->route = route_new(&env);
    assert_non_null(s->route);
}

static void random_models(struct sim *s)
{
    for (size_t i = 0; i < MODELS; i++) {
        struct scripted *m = lab_model(&s->lab, model_names[i], "", 0);
        m->n_scripts = COUNT_OF(m->scripts);
        for (size_t k = 0; k < m->n_scripts; k++)
            random_script(s, &m->scripts[k]);
    }
}

/* Whatever happened, nothing is held any more. */
static void check_entries(struct sim *s)
{
    for (size_t i = 0; i < MODELS; i++) {
        struct route_entry *en = entry_of(s, i);
        assert_int_equal(slots_running(en->slots), 0);
        assert_int_equal(slots_waiting(en->slots), 0);
        /* the longest that anybody was told to wait, and twice the longest pause */
        assert_true(atomic_load(&en->breaker.open_until_us) <=
                    loop_now_us(s->lab.loop) + 300000000);
    }
}

static void check_run(struct sim *s)
{
    int64_t billed = 0, told = 0;
    size_t at = 0;
    assert_int_equal(lab_running(&s->lab), 0);
    for (size_t i = 0; i < MODELS; i++)
        billed += s->lab.models[i].billed_nusd;
    for (size_t i = 0; i < s->n_guests; i++) {
        const struct guest *g = &s->guests[i];
        assert_true(g->started && g->over);
        assert_true(g->usage.cost_nusd >= 0);
        told += g->usage.cost_nusd;
        at += (size_t)snprintf(s->outcome + at, sizeof s->outcome - at, "%s%s%s$%lld ", g->log,
                               g->gone ? "x" : "", g->refused ? "-" : "",
                               (long long)g->usage.cost_nusd);
    }
    if (told != billed)
        fail_msg("told %lld, billed %lld: %s", (long long)told, (long long)billed, s->outcome);
    check_entries(s);
}

static void run_once(struct sim *s)
{
    running = s;
    rng_init(&s->rng, s->seed);
    lab_init(&s->lab, s->seed);
    open_sim(s);
    random_models(s);
    s->n_guests = 1 + below(s, CLIENTS);
    for (size_t i = 0; i < s->n_guests; i++)
        random_guest(s, &s->guests[i], i);
    while (loop_step(s->lab.loop)) {
        check_probes(s);
        arm_leaving(s);
    }
    check_run(s);
    route_free(s->route);
    route_pool_free(s->pool);
    config_free(s->config);
    lab_done(&s->lab);
}

static uint64_t env_number(const char *name, uint64_t otherwise)
{
    int64_t n;
    const char *text = getenv(name);
    return text && span_to_i64(span_of(text), &n) ? (uint64_t)n : otherwise;
}

static uint64_t seed_now; /* cmocka leaves a failing test by longjmp: the group's end prints it */

static void test_random_schedules(void **state)
{
    uint64_t only = env_number("FUSOR_SIM_SEED", 0), runs = env_number("FUSOR_SIM_RUNS", RUNS);
    for (uint64_t i = 1; i <= (only ? 1 : runs); i++) {
        static struct sim s, again;
        seed_now = only ? only : i;
        s = again = (struct sim){.seed = seed_now};
        run_once(&s);
        if (only)
            print_message("%s\n", s.outcome);
        if (seed_now % 8 != 0)
            continue;
        run_once(&again); /* the same seed, the same events, the same cost */
        assert_string_equal(s.outcome, again.outcome);
    }
    seed_now = 0;
}

static int after_test(void **state)
{
    if (seed_now != 0)
        print_message("failing seed: FUSOR_SIM_SEED=%llu\n", (unsigned long long)seed_now);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_random_schedules, after_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
