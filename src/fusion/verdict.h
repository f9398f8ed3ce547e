/* fusion/verdict.h - what a deciding judge says: {"scores": {"A": 0-10, ...}, "best": "A"}.
 *
 * Lives here: the schema that is asked for, reading the reply, telling a close call. Not here:
 * asking again, other judges (decide.c). */
#ifndef FUSOR_FUSION_VERDICT_H
#define FUSOR_FUSION_VERDICT_H

#include "base/arena.h"
#include "base/err.h"
#include "base/limits.h"

struct verdict {
    double scores[LIMIT_PANEL]; /* by position in `labels` */
    size_t best;                /* position in `labels` */
    bool close; /* another one is within 1 of the best: the other order is asked for */
};

/* JSON Schema for these labels (letters, n of them), in the arena. p NULL: no memory. */
struct span verdict_schema(struct arena *a, const char *labels, size_t n);
/* The first JSON object in the reply that is a verdict over exactly these labels: prose and code
 * fences around it are fine, text inside scores or unknown labels are not. ERR_UPSTREAM says what
 * is wrong, in words that a model can be asked again with; ERR_NOMEM. */
MUST_USE bool verdict_read(struct arena *a, struct span reply, const char *labels, size_t n,
                           struct verdict *out, struct err *e);

#endif
