/* route/order.c - see route/order.h. */
#include "route/order.h"

#include "base/rng.h"

static int64_t figure(const struct order_target *t, enum config_sort sort)
{
    int64_t f = sort == CONFIG_SORT_PRICE     ? t->price_nusd
                : sort == CONFIG_SORT_LATENCY ? t->latency_us
                                              : t->pace_us;
    return f > 0 ? f : INT64_MAX;
}

/* Stable: what is equal stays as it was. */
static void sort_by_figure(const struct order_target *t, unsigned *out, size_t n,
                           enum config_sort sort)
{
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k > 0 && figure(&t[out[k]], sort) < figure(&t[out[k - 1]], sort); k--) {
            unsigned swap = out[k];
            out[k] = out[k - 1];
            out[k - 1] = swap;
        }
}

/* One after the other, each by its weight among those left. */
static void draw_by_weight(const struct order_target *t, unsigned *out, size_t n, uint64_t draw)
{
    struct rng rng;
    rng_init(&rng, draw);
    for (size_t i = 0; i + 1 < n; i++) {
        double sum = 0;
        size_t pick = i;
        for (size_t k = i; k < n; k++)
            sum += t[out[k]].weight;
        double left = rng_unit(&rng) * sum;
        if (sum <= 0)
            return; /* only such as have no weight: as written */
        for (size_t k = i; k < n; k++) {
            if (t[out[k]].weight <= 0)
                continue;
            pick = k;
            left -= t[out[k]].weight;
            if (left < 0)
                break;
        }
        unsigned chosen = out[pick];
        for (; pick > i; pick--)
            out[pick] = out[pick - 1];
        out[i] = chosen;
    }
}

void order_targets(const struct order_target *t, size_t n, enum config_sort sort, uint64_t draw,
                   unsigned *out)
{
    unsigned order[ORDER_MAX];
    size_t first = 0, all = 0, kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!t[i].fallback)
            order[all++] = (unsigned)i;
    first = all;
    for (size_t i = 0; i < n; i++)
        if (t[i].fallback)
            order[all++] = (unsigned)i;
    if (sort == CONFIG_SORT_NONE)
        draw_by_weight(t, order, first, draw);
    else
        sort_by_figure(t, order, first, sort);
    for (int down = 0; down < 2; down++)
        for (size_t i = 0; i < n; i++)
            if (t[order[i]].down == (down == 1))
                out[kept++] = order[i];
}
