/* observe/latency.h - how long a model takes: a sketch of times, shared by all threads.
 *
 * Logarithmic buckets (8 per doubling, 1 ms to 20 min) of relaxed atomic counters: recording is one
 * add. Old samples fade: when the count passes 4,096 all counters are halved. Questions are
 * answered to within one bucket (9 %). */
#ifndef FUSOR_OBSERVE_LATENCY_H
#define FUSOR_OBSERVE_LATENCY_H

#include <stdint.h>

#include "base/auto.h"

struct latency;

MUST_USE struct latency *latency_new(void); /* owned; NULL: no memory */
void latency_free(struct latency *l);
AUTO_DEFINE(latency)
void latency_record(struct latency *l, int64_t us);
/* Samples seen (after fading). */
uint64_t latency_count(const struct latency *l);
/* Upper edge of the bucket that holds quantile q (0..1); 0 without samples. */
int64_t latency_quantile_us(const struct latency *l, double q);
/* P(done by elapsed + window | not done by elapsed); 0 when nothing is left beyond elapsed, -1
 * without samples. */
double latency_within(const struct latency *l, int64_t elapsed_us, int64_t window_us);

#endif
