/* route/pool.h - what all workers share about one model of one provider. Private to route/. */
#ifndef FUSOR_ROUTE_POOL_H
#define FUSOR_ROUTE_POOL_H

#include "route/health.h"
#include "route/route.h"
#include "route/slots.h"

struct route_entry {
    char *key; /* owned: "provider/id" */
    struct slots *slots;
    struct latency *latency;
    struct latency *pace; /* microseconds for a thousand tokens of an answer */
    struct breaker breaker;
    struct credential *credential; /* of the provider */
    struct metric *ok, *failed, *cancelled, *refused, *input, *output, *cost_nusd, *seconds;
    struct metric *up; /* 1: asked, 0: passed over */
};

/* What a worker's route was made of. */
struct route_pool *route_pool_of(const struct route *r);
struct loop *route_loop(const struct route *r);
bool route_retries_ambiguous(const struct route *r);

/* The entry of a model, made on first use (takes a lock then; keep the pointer). NULL: no memory.
 */
MUST_USE struct route_entry *route_pool_entry(struct route_pool *p, const struct config_model *m);

struct health_limits route_pool_limits(const struct route_pool *p);
/* A request that could be tried elsewhere begins: it brings its share of a retry. */
void route_pool_first_try(struct route_pool *p);
/* A try beyond a request's first: false when such requests have not brought enough. */
MUST_USE bool route_pool_retry(struct route_pool *p);

#endif
