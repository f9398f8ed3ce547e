/* route/order.h - which of several targets is asked first. Pure. Private to route/ and api/. */
#ifndef FUSOR_ROUTE_ORDER_H
#define FUSOR_ROUTE_ORDER_H

#include "config/config.h"

#define ORDER_MAX 32

struct order_target {
    double weight;                           /* 0: behind those that have one */
    bool fallback;                           /* behind all that are none, as written */
    bool down;                               /* behind all that are not */
    int64_t price_nusd, latency_us, pace_us; /* lower is better; below 1: not known */
};

/* Writes the order of t[0..n), n <= ORDER_MAX, best first. CONFIG_SORT_NONE: drawn by weight,
 * always the same for the same `draw`; else by that figure, those without one last. */
void order_targets(const struct order_target *t, size_t n, enum config_sort sort, uint64_t draw,
                   unsigned *out);

#endif
