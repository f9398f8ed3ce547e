/* route/pool.h - what all workers share about one model of one provider. Private to route/. */
#ifndef FUSOR_ROUTE_POOL_H
#define FUSOR_ROUTE_POOL_H

#include "route/route.h"
#include "route/slots.h"

struct route_entry {
    char *key; /* owned: "provider/id" */
    struct slots *slots;
    struct latency *latency;
    struct metric *ok, *failed, *cancelled, *refused, *input, *output, *cost_nusd, *seconds;
};

/* The entry of a model, made on first use (takes a lock then; keep the pointer). NULL: no memory. */
MUST_USE struct route_entry *route_pool_entry(struct route_pool *p, const struct config_model *m);

#endif
