/* route/route.c - see route/route.h. A routed call asks whether its model may be called (region,
 * health), holds a slot of its queue while its upstream call runs, and records how it ended. */
#include "route/route.h"

#include "base/mem.h"
#include "ledger/gate.h"
#include "route/pool.h"

struct route {
    struct route_env env;
    struct map *entries; /* model name -> route_entry, so that the pool's lock is asked once */
    struct list free;    /* ended calls, kept for reuse */
};

enum call_state {
    CALL_QUEUED,  /* waiter is in the queue, or its slot is on the way; inner is NULL */
    CALL_RUNNING, /* holds a slot; inner is alive */
};

struct route_source {
    struct chat_source source;
    struct upstream_source upstream;
    struct route *route;
    struct route_entry *entry;
};

struct route_call {
    struct chat_call call;
    struct chat_sink sink; /* what the upstream talks to */
    struct list node;      /* in route->free */
    enum call_state state;
    struct route *route;
    struct route_source *source; /* the caller's: gone once it has cancelled */
    struct route_entry *entry;
    const struct chat_request *request;
    struct chat_start_opts opts;
    struct chat_sink *client;
    struct chat_call *inner;
    struct slots_waiter waiter;
    struct loop_timer timer;    /* queued: gives up */
    bool paused, probe;         /* probe: of its breaker, which its end ends */
    int64_t start_us, first_us; /* first_us 0: no content so far */
    int64_t total_us;           /* that the model's calls have; 0: without end */
    struct chat_usage used;     /* the last that the upstream said: counted at the end */
};

static void call_release(struct route_call *c)
{
    loop_timer_stop(&c->timer);
    list_push(&c->route->free, &c->node);
}

static void count_usage(struct route_entry *en, const struct chat_usage *u)
{
    metric_add(en->input, u->input);
    metric_add(en->output, u->output);
    if (u->cost_nusd > 0)
        metric_add(en->cost_nusd, u->cost_nusd);
}

/* Answers shorter than that say little about how fast a model writes. */
#define PACE_TOKENS 16

static void note_ok(struct route_call *c)
{
    struct route_entry *en = c->entry;
    int64_t now = loop_now_us(c->route->env.loop), took = now - c->start_us;
    latency_record(en->latency, took);
    if (c->first_us > 0 && c->used.output >= PACE_TOKENS)
        latency_record(en->pace, (now - c->first_us) * 1000 / c->used.output);
    metric_observe_us(en->seconds, took);
    metric_add(en->ok, 1);
    health_ok(&en->breaker, en->credential, c->probe);
    metric_set(en->up, 1);
}

/* The caller's time was up before that which the model's own calls have: a client that is in a
 * hurry says nothing about the upstream. */
static bool was_hurried(const struct route_call *c, const struct err *err, int64_t now)
{
    return err->cls == ERR_TIMEOUT && c->opts.deadline_us > 0 && now >= c->opts.deadline_us &&
           (c->total_us == 0 || now - c->start_us < c->total_us);
}

static void note_failed(struct route_call *c, const struct err *err)
{
    struct route_entry *en = c->entry;
    struct health_limits limits = route_pool_limits(c->route->env.pool);
    int64_t now = loop_now_us(c->route->env.loop);
    metric_add(en->failed, 1);
    if (was_hurried(c, err, now) || gate_refused(err))
        health_nothing(&en->breaker, c->probe);
    else
        health_failed(&en->breaker, en->credential, &limits, err, now, c->probe);
    metric_set(en->up, health_look(&en->breaker, en->credential, now) == HEALTH_UP);
}

static void on_upstream(struct chat_sink *s, const struct chat_event *ev)
{
    struct route_call *c = CONTAINER_OF(s, struct route_call, sink);
    struct route_entry *en = c->entry;
    struct chat_sink *client = c->client;
    struct chat_event named;
    switch (ev->kind) {
    case CHAT_EV_USAGE:
        c->used = ev->usage;
        break;
    case CHAT_EV_FINISH:
        note_ok(c);
        break;
    case CHAT_EV_ERROR:
        note_failed(c, ev->err);
        break;
    case CHAT_EV_TEXT:
    case CHAT_EV_REASONING:
    case CHAT_EV_REFUSAL:
    case CHAT_EV_TOOL:
        if (c->first_us == 0)
            c->first_us = loop_now_us(c->route->env.loop);
        break;
    case CHAT_EV_START:
        named = *ev;
        named.target = c->source->upstream.model->name;
        ev = &named;
        break;
    case CHAT_EV_MEMBER:
        break;
    }
    if (ev->kind == CHAT_EV_FINISH || ev->kind == CHAT_EV_ERROR) {
        count_usage(en, &c->used);
        slots_give(en->slots);
        call_release(c); /* the client may free everything in the next line */
    }
    client->on_event(client, ev);
}

static void queue_failed(struct route_call *c, const struct err *err)
{
    struct chat_sink *client = c->client;
    struct chat_event ev = {.kind = CHAT_EV_ERROR, .err = err};
    call_release(c);
    client->on_event(client, &ev);
}

static bool begin(struct route_call *c, struct err *e)
{
    struct chat_source *s = &c->source->upstream.source;
    c->start_us = loop_now_us(c->route->env.loop);
    c->inner = chat_start(s, c->request, &c->opts, &c->sink, e);
    if (!c->inner) {
        metric_add(c->entry->failed, 1);
        health_nothing(&c->entry->breaker, c->probe); /* it was never asked */
        slots_give(c->entry->slots);
        return false;
    }
    c->state = CALL_RUNNING;
    if (c->paused)
        chat_pause(c->inner);
    return true;
}

static void on_slot(struct slots_waiter *w)
{
    struct route_call *c = CONTAINER_OF(w, struct route_call, waiter);
    loop_timer_stop(&c->timer);
    struct err e = {0};
    if (!begin(c, &e))
        queue_failed(c, &e);
}

static void leave_queue(struct route_call *c)
{
    health_nothing(&c->entry->breaker, c->probe);
    slots_leave(c->entry->slots, &c->waiter);
    call_release(c);
}

static void on_queue_timeout(struct loop_timer *t)
{
    struct route_call *c = CONTAINER_OF(t, struct route_call, timer);
    struct chat_sink *client = c->client;
    struct span model = span_of(c->entry->key);
    struct err e = {0};
    (void)err_set(&e, ERR_TIMEOUT,
                  "the queue for %.*s did not move in time; raise max_concurrency or try again",
                  SPAN_ARG(model));
    metric_add(c->entry->failed, 1);
    leave_queue(c);
    struct chat_event ev = {.kind = CHAT_EV_ERROR, .err = &e};
    client->on_event(client, &ev);
}

static void call_cancel(struct chat_call *cc, struct chat_usage *out)
{
    struct route_call *c = CONTAINER_OF(cc, struct route_call, call);
    metric_add(c->entry->cancelled, 1);
    if (c->state == CALL_QUEUED) {
        if (out)
            *out = (struct chat_usage){0};
        leave_queue(c);
        return;
    }
    struct chat_usage used = {0};
    chat_cancel(c->inner, &used);
    health_nothing(&c->entry->breaker, c->probe);
    count_usage(c->entry, &used);
    if (out)
        *out = used;
    slots_give(c->entry->slots);
    call_release(c);
}

static void call_pause(struct chat_call *cc)
{
    struct route_call *c = CONTAINER_OF(cc, struct route_call, call);
    c->paused = true;
    if (c->state == CALL_RUNNING)
        chat_pause(c->inner);
}

static void call_resume(struct chat_call *cc)
{
    struct route_call *c = CONTAINER_OF(cc, struct route_call, call);
    c->paused = false;
    if (c->state == CALL_RUNNING)
        chat_resume(c->inner);
}

static const struct chat_call_ops call_ops = {call_cancel, call_pause, call_resume};

static struct route_call *call_new(struct route *r)
{
    struct list *n = list_pop(&r->free);
    if (n)
        return LIST_ENTRY(n, struct route_call, node);
    struct route_call *c = mem_zalloc(sizeof *c);
    if (!c)
        return NULL;
    c->call.ops = &call_ops;
    c->sink.on_event = on_upstream;
    c->route = r;
    list_init(&c->node);
    list_init(&c->waiter.node_);
    loop_timer_init(&c->timer, r->env.loop, on_queue_timeout);
    return c;
}

/* How long the call may wait: the time that its model's calls have, but not beyond the caller's
 * deadline. 0: without end. */
static int64_t patience_us(const struct route_call *c)
{
    int64_t total = c->source->upstream.model->timeouts.total_us;
    if (c->opts.deadline_us == 0)
        return total;
    int64_t left = c->opts.deadline_us - loop_now_us(c->route->env.loop);
    if (left < 1)
        left = 1;
    return total > 0 && total < left ? total : left;
}

/* On failure the call has been released. */
static bool enqueue(struct route_call *c, struct err *e)
{
    struct route_entry *en = c->entry;
    int64_t limit_us = patience_us(c);
    switch (slots_take(en->slots, &c->waiter)) {
    case SLOTS_TAKEN:
        if (begin(c, e))
            return true;
        call_release(c);
        return false;
    case SLOTS_WAIT:
        if (limit_us == 0 || loop_timer_start(&c->timer, limit_us))
            return true;
        leave_queue(c);
        return err_set(e, ERR_NOMEM, "out of memory");
    case SLOTS_FULL:
        break;
    }
    metric_add(en->refused, 1);
    health_nothing(&en->breaker, c->probe);
    call_release(c);
    struct span key = span_of(en->key);
    (void)err_set(e, ERR_BUSY, "the queue for %.*s is full; try again in a second", SPAN_ARG(key));
    e->retry_after_ms = 1000;
    return err_with_code(e, "queue_full");
}

static bool resting(const struct route_entry *en, int64_t wait_us, struct err *e)
{
    struct span key = span_of(en->key), provider = span_upto(key, span_find(key, "/"));
    int64_t s = (wait_us + 999999) / 1000000;
    (void)err_set(
        e, ERR_BUSY,
        "%.*s is over its rate limit and has asked to be left alone for %lld more second%s",
        SPAN_ARG(provider), (long long)s, s == 1 ? "" : "s");
    if (e)
        e->retry_after_ms = (wait_us + 999) / 1000;
    return err_with_code(e, "rate_limit_exceeded");
}

/* False: it is not to be asked now. */
static bool check_health(const struct route_source *rs, const struct chat_start_opts *o,
                         bool *out_probe, struct err *e)
{
    struct route_entry *en = rs->entry;
    int64_t now = loop_now_us(rs->route->env.loop), wait_us = 0;
    enum health_word word = health_ask(&en->breaker, en->credential, now, &wait_us);
    *out_probe = word == HEALTH_PROBE;
    switch (word) {
    case HEALTH_UP:
    case HEALTH_PROBE:
        return true;
    case HEALTH_DOWN:
        if (!o->spare)
            return true; /* the last one is always tried */
        (void)err_set(e, ERR_UNAVAILABLE, "%s has failed several times just now", en->key);
        return err_with_code(e, HEALTH_DOWN_CODE);
    case HEALTH_REST:
        return resting(en, wait_us, e);
    }
    return true;
}

bool route_check_region(const struct config_model *m, const struct chat_rule *rules, struct err *e)
{
    const struct chat_rule *rule = chat_rule_against(rules, m->region);
    if (!rule)
        return true;
    if (m->region.n > 0)
        (void)err_set(e, ERR_FORBIDDEN,
                      "%.*s is in the region %.*s, which the policy %.*s does not allow",
                      SPAN_ARG(m->name), SPAN_ARG(m->region), SPAN_ARG(rule->name));
    else
        (void)err_set(
            e, ERR_FORBIDDEN,
            "nobody has said in which region %.*s is, and the policy %.*s asks for one: set "
            "'region' at its provider",
            SPAN_ARG(m->name), SPAN_ARG(rule->name));
    return err_with_code(e, "region_not_allowed");
}

/* No tokeniser makes fewer tokens of a usual text than one of eight bytes: what is beyond that is
 * refused here, in our words, and not after it has travelled. */
#define TOKEN_BYTES_AT_MOST 8

static bool check_window(const struct config_model *m, const struct chat_request *r, struct err *e)
{
    int64_t least = chat_input_bytes(r) / TOKEN_BYTES_AT_MOST;
    if (m->context == 0 || least <= m->context)
        return true;
    (void)err_set(e, ERR_INPUT,
                  "the conversation has at least %lld tokens, and the window of %.*s holds %lld",
                  (long long)least, SPAN_ARG(m->name), (long long)m->context);
    return err_with_code(e, "context_length_exceeded");
}

static struct chat_call *route_start(struct chat_source *s, const struct chat_request *r,
                                     const struct chat_start_opts *o, struct chat_sink *sink,
                                     struct err *e)
{
    struct route_source *rs = CONTAINER_OF(s, struct route_source, source);
    bool probe = false;
    /* Here, where every call passes, whatever it is for: members, judges, fallbacks. */
    if (!route_check_region(rs->upstream.model, o->rules, e) ||
        !check_window(rs->upstream.model, r, e) || !check_health(rs, o, &probe, e))
        return NULL;
    struct route_call *c = call_new(rs->route);
    if (!c) {
        health_nothing(&rs->entry->breaker, probe);
        return err_set(e, ERR_NOMEM, "out of memory"), NULL;
    }
    c->state = CALL_QUEUED;
    c->source = rs;
    c->entry = rs->entry;
    c->request = r;
    c->opts = *o;
    c->client = sink;
    c->inner = NULL;
    c->paused = false;
    c->probe = probe;
    c->used = (struct chat_usage){0};
    c->first_us = 0;
    c->total_us = rs->upstream.model->timeouts.total_us;
    c->waiter.loop = rs->route->env.loop;
    c->waiter.on_slot = on_slot;
    return enqueue(c, e) ? &c->call : NULL;
}

static const struct chat_source_ops source_ops = {route_start};

struct route *route_new(const struct route_env *env)
{
    struct route *r = mem_zalloc(sizeof *r);
    if (!r)
        return NULL;
    r->env = *env;
    list_init(&r->free);
    r->entries = map_new();
    if (!r->entries) {
        mem_free(r);
        return NULL;
    }
    return r;
}

void route_free(struct route *r)
{
    if (!r)
        return;
    for (struct list *n = list_pop(&r->free); n; n = list_pop(&r->free))
        mem_free(LIST_ENTRY(n, struct route_call, node));
    map_free(r->entries);
    mem_free(r);
}

static bool not_found(struct route *r, struct span name, struct err *e)
{
    struct span near[3];
    size_t n = config_near(r->env.config, name, near, COUNT_OF(near));
    char list[256] = "";
    for (size_t i = 0; i < n; i++) {
        size_t at = strlen(list);
        (void)snprintf(list + at, sizeof list - at, "%s%.*s",
                       i ? ", " : " Did you mean: ", SPAN_ARG(near[i]));
    }
    struct span shown = span_upto(name, 120);
    (void)err_set(e, ERR_NOT_FOUND, "the model \"%.*s\" does not exist.%s%s", SPAN_ARG(shown), list,
                  n ? "?" : " GET /v1/models lists what there is.");
    if (e)
        (void)snprintf(e->param, sizeof e->param, "model");
    return err_with_code(e, "model_not_found");
}

/* Listed models are remembered per worker; implied ones ("provider/id") are asked of the pool,
 * which bounds how many a client can make up. */
static struct route_entry *entry_of(struct route *r, const struct config_model *m)
{
    if (m->implied)
        return route_pool_entry(r->env.pool, m);
    struct route_entry *en = map_get(r->entries, m->name);
    if (en)
        return en;
    en = route_pool_entry(r->env.pool, m);
    if (en && !map_put(r->entries, m->name, en))
        return NULL;
    return en;
}

bool route_resolve(struct route *r, struct arena *a, struct span name, struct route_target *out,
                   struct err *e)
{
    const struct config_alias *alias = config_alias_find(r->env.config, name);
    if (alias) {
        *out = (struct route_target){.alias = alias};
        return true;
    }
    const struct recipe *recipe = config_recipe_find(r->env.config, name);
    if (recipe) {
        *out = (struct route_target){.recipe = recipe};
        return true;
    }
    struct config_model *implied = arena_alloc(a, sizeof *implied);
    struct route_source *rs = arena_alloc(a, sizeof *rs);
    if (!implied || !rs)
        return err_set(e, ERR_NOMEM, "out of memory");
    const struct config_model *m = config_model_find(r->env.config, name, implied);
    if (!m)
        return not_found(r, name, e);
    struct route_entry *en = entry_of(r, m);
    if (!en)
        return err_set(e, ERR_NOMEM, "out of memory");
    rs->source.ops = &source_ops;
    rs->route = r;
    rs->entry = en;
    upstream_source_init(&rs->upstream, r->env.upstream, m);
    enum health_word word = health_look(&en->breaker, en->credential, loop_now_us(r->env.loop));
    *out = (struct route_target){.model = m,
                                 .source = &rs->source,
                                 .latency = en->latency,
                                 .pace = en->pace,
                                 .down = word == HEALTH_DOWN || word == HEALTH_REST};
    return true;
}

struct route_pool *route_pool_of(const struct route *r)
{
    return r->env.pool;
}

struct loop *route_loop(const struct route *r)
{
    return r->env.loop;
}

bool route_retries_ambiguous(const struct route *r)
{
    return r->env.config->retry_ambiguous;
}
