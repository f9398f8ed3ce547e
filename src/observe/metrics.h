/* observe/metrics.h - counters, gauges and histograms for Prometheus (text format 0.0.4).
 *
 * metric_get() takes a lock and is for set-up or first use: keep the pointer. Adding is one relaxed
 * atomic. Metrics live until metrics_free(). */
#ifndef FUSOR_OBSERVE_METRICS_H
#define FUSOR_OBSERVE_METRICS_H

#include <stdint.h>

#include "base/auto.h"
#include "base/buf.h"
#include "base/err.h"

struct metrics;
struct metric;

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_SECONDS /* histogram over microseconds */ };

MUST_USE struct metrics *metrics_new(void); /* owned */
void metrics_free(struct metrics *m);
AUTO_DEFINE(metrics)
/* The metric of that name and labels (`model="a",outcome="ok"`, already escaped; see
 * metric_label()), made on first use. Same name = same type and help. NULL: no memory. */
struct metric *metric_get(struct metrics *m, const char *name, const char *help,
                          enum metric_type type, struct span labels);
/* Adds key="value" to a label list, escaped. */
MUST_USE bool metric_label(struct buf *labels, const char *key, struct span value, struct err *e);
void metric_add(struct metric *m, int64_t n); /* m may be NULL */
void metric_set(struct metric *m, int64_t v);
void metric_observe_us(struct metric *m, int64_t us);
int64_t metric_value(const struct metric *m);
MUST_USE bool metrics_write(struct metrics *m, struct buf *out, struct err *e);

#endif
