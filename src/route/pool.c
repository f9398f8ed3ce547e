/* route/pool.c - see route/pool.h. Entries are never removed, because every worker holds pointers to
 * them. Past LIMIT_MODEL_ENTRIES the models that no file lists share one entry per provider, and so do
 * absurdly long names, so that a client that makes names up cannot grow the pool. */
#include "route/pool.h"

#include <pthread.h>

#include "base/map.h"
#include "base/mem.h"

#define KEY_BYTES KIB(1)

struct route_pool {
    pthread_mutex_t lock; /* guards entries */
    struct map *entries;
    struct metrics *metrics;
};

struct route_pool *route_pool_new(struct metrics *metrics)
{
    struct route_pool *p = mem_zalloc(sizeof *p);
    if (!p)
        return NULL;
    p->metrics = metrics;
    p->entries = map_new();
    if (!p->entries) {
        mem_free(p);
        return NULL;
    }
    (void)pthread_mutex_init(&p->lock, NULL);
    return p;
}

static void entry_free(struct route_entry *en)
{
    if (!en)
        return;
    slots_free(en->slots);
    latency_free(en->latency);
    mem_free(en->key);
    mem_free(en);
}

void route_pool_free(struct route_pool *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < map_count(p->entries); i++)
        entry_free(map_at(p->entries, i, NULL));
    map_free(p->entries);
    (void)pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

static struct metric *outcome(struct route_pool *p, struct span model, const char *word)
{
    struct buf b;
    buf_init(&b, KIB(4));
    bool ok = metric_label(&b, "model", model, NULL) &&
              metric_label(&b, "outcome", span_of(word), NULL);
    struct metric *m = ok ? metric_get(p->metrics, "fusor_upstream_calls_total",
                                       "Upstream calls by model and outcome", METRIC_COUNTER,
                                       buf_span(&b))
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
    en->output = by_model(p, model, "fusor_output_tokens_total", "Tokens received",
                          METRIC_COUNTER);
    en->cost_nusd = by_model(p, model, "fusor_cost_nusd_total",
                             "Cost in nano-USD where the price is known", METRIC_COUNTER);
    en->seconds = by_model(p, model, "fusor_upstream_seconds", "Duration of whole upstream calls",
                           METRIC_SECONDS);
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
    if (!en->key || !en->slots || !en->latency ||
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

bool route_pool_config(struct route_pool *p, const struct config *c, struct err *e)
{
    for (size_t i = 0; i < c->n_models; i++) {
        struct route_entry *en = route_pool_entry(p, &c->models[i]);
        if (!en)
            return err_set(e, ERR_NOMEM, "out of memory while reading the models");
        slots_limit(en->slots, c->models[i].max_concurrency, c->models[i].max_queue);
    }
    return true;
}
