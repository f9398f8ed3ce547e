/* route/route.h - between a name and a source: model names, queues, health.
 *
 * Lives here: what a client's model name means, the FIFO queue per provider and model, latency
 * sketches and outcome counters, which all workers share. Not here: fusions (fusion/), wire
 * formats, policies of keys (ledger/). */
#ifndef FUSOR_ROUTE_ROUTE_H
#define FUSOR_ROUTE_ROUTE_H

#include "chat/chat.h"
#include "config/config.h"
#include "observe/latency.h"
#include "observe/metrics.h"
#include "upstream/upstream.h"

struct route_pool; /* process-wide: one entry per provider and model id, for the process's life */
struct route;      /* per worker and snapshot */

/* owned. metrics is borrowed; NULL: nothing is counted. */
MUST_USE struct route_pool *route_pool_new(struct metrics *metrics);
/* After every route that uses it has been freed. */
void route_pool_free(struct route_pool *p);
AUTO_DEFINE(route_pool)
/* Takes over queue limits of a snapshot; entries and their sketches stay. Any thread. */
MUST_USE bool route_pool_config(struct route_pool *p, const struct config *c, struct err *e);

/* A model that is not asked like others, and why: a word of health_why(). */
struct route_health {
    struct span model; /* "provider/id" */
    const char *state;
    int64_t failures, wait_us;
};
/* Each of them, in no order. now_us: loop time. Any thread; `each` runs under the pool's lock. */
void route_pool_health(struct route_pool *p, int64_t now_us,
                       void (*each)(void *owner, const struct route_health *h), void *owner);

struct route_env {
    struct loop *loop;
    struct route_pool *pool;
    struct upstream *upstream;
    const struct config *config;
};
/* owned; what env points to is borrowed. */
MUST_USE struct route *route_new(const struct route_env *env);
void route_free(struct route *r);
AUTO_DEFINE(route)

/* What a name stands for: exactly one of recipe, model and alias is set. */
struct route_target {
    const struct recipe *recipe;
    const struct config_model *model;
    const struct config_alias *alias;
    struct chat_source *source; /* of the model; else NULL */
    struct latency *latency;    /* of the model */
    struct latency *pace;       /* of the model: microseconds for a thousand tokens */
    bool down;                  /* the model: others first */
};
/* Source and implied model live in `a`. ERR_NOT_FOUND "model_not_found" with the nearest names. */
MUST_USE bool route_resolve(struct route *r, struct arena *a, struct span name,
                            struct route_target *out, struct err *e);

/* ERR_FORBIDDEN "region_not_allowed" when a rule forbids the model's region. */
MUST_USE bool route_check_region(const struct config_model *m, const struct chat_rule *rules,
                                 struct err *e);

#endif
