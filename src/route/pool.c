/* route/pool.c - see route/pool.h. Entries are never removed, because every worker holds pointers
 * to them. Past LIMIT_MODEL_ENTRIES the models that no file lists share one entry per provider, and
 * so do absurdly long names, so that a client that makes names up cannot grow the pool. */
#include "route/pool.h"

#include <pthread.h>

#include "base/map.h"
#include "base/mem.h"

#define KEY_BYTES KIB(1)

/* What retries may take at once, in thousandths of one. */
#define RETRY_MILLI     1000
#define RETRY_MAX_MILLI (10 * RETRY_MILLI)

struct route_pool {
    pthread_mutex_t lock; /* guards entries and credentials */
    struct map *entries;
    struct map *credentials; /* provider -> struct named_credential */
    struct metrics *metrics;
    _Atomic int64_t breaker_failures, breaker_open_us;
    _Atomic int64_t retry_percent, retry_milli; /* what a request brings; what there is */
    struct metric *retries, *retries_refused;
};

struct named_credential {
    struct credential credential;
    char *name; /* owned */
};

struct route_pool *route_pool_new(struct metrics *metrics)
{
    struct route_pool *p = mem_zalloc(sizeof *p);
    if (!p)
        return NULL;
    p->metrics = metrics;
    p->entries = map_new();
    p->credentials = map_new();
    if (!p->entries || !p->credentials) {
        map_free(p->entries);
        map_free(p->credentials);
        mem_free(p);
        return NULL;
    }
    (void)pthread_mutex_init(&p->lock, NULL);
    p->retry_milli = RETRY_MAX_MILLI;
    if (metrics) {
        p->retries = metric_get(metrics, "fusor_retries_total", "Calls made again elsewhere",
                                METRIC_COUNTER, SPAN(""));
        p->retries_refused = metric_get(metrics, "fusor_retries_refused_total",
                                        "Calls not made again: retries had used up their share",
                                        METRIC_COUNTER, SPAN(""));
    }
    return p;
}

static void entry_free(struct route_entry *en)
{
    if (!en)
        return;
    slots_free(en->slots);
    latency_free(en->latency);
    latency_free(en->pace);
    mem_free(en->key);
    mem_free(en);
}

void route_pool_free(struct route_pool *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < map_count(p->entries); i++)
        entry_free(map_at(p->entries, i, NULL));
    for (size_t i = 0; i < map_count(p->credentials); i++) {
        struct named_credential *c = map_at(p->credentials, i, NULL);
        mem_free(c->name);
        mem_free(c);
    }
    map_free(p->credentials);
    map_free(p->entries);
    (void)pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

static struct metric *outcome(struct route_pool *p, struct span model, const char *word)
{
    struct buf b;
    buf_init(&b, KIB(4));
    bool ok =
        metric_label(&b, "model", model, NULL) && metric_label(&b, "outcome", span_of(word), NULL);
    struct metric *m =
        ok ? metric_get(p->metrics, "fusor_upstream_calls_total",
                        "Upstream calls by model and outcome", METRIC_COUNTER, buf_span(&b))
           : NULL;
    buf_done(&b);
    return m;
}

static struct metric *by_model(struct route_pool *p, struct span model, const char *name,
                               const char *help, enum metric_type type)
{
    struct buf b;
    buf_init(&b, KIB(4));
    bool ok = metric_label(&b, "model", model, NULL);
    struct metric *m = ok ? metric_get(p->metrics, name, help, type, buf_span(&b)) : NULL;
    buf_done(&b);
    return m;
}

static void entry_metrics(struct route_pool *p, struct route_entry *en)
{
    struct span model = span_of(en->key);
    en->ok = outcome(p, model, "ok");
    en->failed = outcome(p, model, "failed");
    en->cancelled = outcome(p, model, "cancelled");
    en->refused = outcome(p, model, "queue_full");
    en->input = by_model(p, model, "fusor_input_tokens_total", "Tokens sent", METRIC_COUNTER);
    en->output = by_model(p, model, "fusor_output_tokens_total", "Tokens received", METRIC_COUNTER);
    en->cost_nusd = by_model(p, model, "fusor_cost_nusd_total",
                             "Cost in nano-USD where the price is known", METRIC_COUNTER);
    en->seconds = by_model(p, model, "fusor_upstream_seconds", "Duration of whole upstream calls",
                           METRIC_SECONDS);
    en->up = by_model(p, model, "fusor_upstream_up", "1: asked, 0: passed over after failures",
                      METRIC_GAUGE);
    metric_set(en->up, 1);
}

/* The lock is held. NULL: no memory. */
static struct credential *credential_of(struct route_pool *p, struct span provider)
{
    struct named_credential *c = map_get(p->credentials, provider);
    if (c)
        return &c->credential;
    c = mem_zalloc(sizeof *c);
    if (c && (c->name = mem_dup(provider.p, provider.n)) != NULL &&
        map_put(p->credentials, (struct span){c->name, provider.n}, c))
        return &c->credential;
    if (c)
        mem_free(c->name);
    mem_free(c);
    return NULL;
}

static struct route_entry *entry_new(struct route_pool *p, struct span key,
                                     const struct config_model *m)
{
    struct route_entry *en = mem_zalloc(sizeof *en);
    if (!en)
        return NULL;
    en->key = mem_dup(key.p, key.n);
    en->slots = slots_new(m->max_concurrency, m->max_queue);
    en->latency = latency_new();
    en->pace = latency_new();
    en->credential = credential_of(p, m->provider->name);
    if (!en->key || !en->slots || !en->latency || !en->pace || !en->credential ||
        !map_put(p->entries, (struct span){en->key, key.n}, en)) {
        entry_free(en);
        return NULL;
    }
    if (p->metrics)
        entry_metrics(p, en);
    return en;
}

static bool entry_key(struct buf *key, const struct config_model *m, struct span id)
{
    buf_clear(key);
    return buf_add(key, m->provider->name, NULL) && buf_add_char(key, '/', NULL) &&
           buf_add(key, id, NULL);
}

struct route_entry *route_pool_entry(struct route_pool *p, const struct config_model *m)
{
    struct buf key;
    buf_init(&key, KEY_BYTES);
    struct route_entry *en = NULL;
    (void)pthread_mutex_lock(&p->lock);
    bool own = entry_key(&key, m, m->id);
    if (own)
        en = map_get(p->entries, buf_span(&key));
    bool full = m->implied && map_count(p->entries) >= LIMIT_MODEL_ENTRIES;
    if (!en && (full || !own)) {
        own = entry_key(&key, m, SPAN("*"));
        if (own)
            en = map_get(p->entries, buf_span(&key));
    }
    if (!en && own)
        en = entry_new(p, buf_span(&key), m);
    (void)pthread_mutex_unlock(&p->lock);
    buf_done(&key);
    return en;
}

struct health_limits route_pool_limits(const struct route_pool *p)
{
    return (struct health_limits){atomic_load(&p->breaker_failures),
                                  atomic_load(&p->breaker_open_us)};
}

void route_pool_first_try(struct route_pool *p)
{
    int64_t have = atomic_load(&p->retry_milli), brings = atomic_load(&p->retry_percent) * 10;
    if (have < RETRY_MAX_MILLI && brings > 0)
        atomic_fetch_add(&p->retry_milli, brings);
}

bool route_pool_retry(struct route_pool *p)
{
    if (atomic_fetch_sub(&p->retry_milli, RETRY_MILLI) >= RETRY_MILLI) {
        metric_add(p->retries, 1);
        return true;
    }
    atomic_fetch_add(&p->retry_milli, RETRY_MILLI);
    metric_add(p->retries_refused, 1);
    return false;
}

void route_pool_health(struct route_pool *p, int64_t now_us,
                       void (*each)(void *owner, const struct route_health *h), void *owner)
{
    (void)pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < map_count(p->entries); i++) {
        const struct route_entry *en = map_at(p->entries, i, NULL);
        struct route_health h = {.model = span_of(en->key),
                                 .failures = atomic_load(&en->breaker.failures)};
        h.state = health_why(&en->breaker, en->credential, now_us, &h.wait_us);
        if (h.state)
            each(owner, &h);
    }
    (void)pthread_mutex_unlock(&p->lock);
}

/* A new configuration may bring new keys and other addresses: what the old ones did is not held
 * against them. */
static void forgive(struct route_pool *p)
{
    (void)pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < map_count(p->entries); i++) {
        struct route_entry *en = map_at(p->entries, i, NULL);
        health_forgive(&en->breaker);
        metric_set(en->up, 1);
    }
    for (size_t i = 0; i < map_count(p->credentials); i++) {
        struct named_credential *c = map_at(p->credentials, i, NULL);
        atomic_store(&c->credential.shun_until_us, 0);
    }
    (void)pthread_mutex_unlock(&p->lock);
}

bool route_pool_config(struct route_pool *p, const struct config *c, struct err *e)
{
    atomic_store(&p->breaker_failures, c->breaker_failures);
    atomic_store(&p->breaker_open_us, c->breaker_open_us);
    atomic_store(&p->retry_percent, c->retry_budget_percent);
    forgive(p);
    for (size_t i = 0; i < c->n_models; i++) {
        struct route_entry *en = route_pool_entry(p, &c->models[i]);
        if (!en)
            return err_set(e, ERR_NOMEM, "out of memory while reading the models");
        slots_limit(en->slots, c->models[i].max_concurrency, c->models[i].max_queue);
    }
    return true;
}
