/* loop/loop_priv.h - what the two halves of the loop share: loop.c owns timers, tasks and posts,
 * loop_uv.c the libuv handles that drive them. A simulated loop is a loop without `real`. */
#ifndef FUSOR_LOOP_LOOP_PRIV_H
#define FUSOR_LOOP_LOOP_PRIV_H

#include <pthread.h>
#include <stddef.h>

#include "loop/loop.h"

struct loop_real; /* the libuv side, loop_uv.c */

struct loop {
    struct loop_real *real; /* NULL: simulated */
    bool stop;              /* simulation only; libuv keeps its own flag */
    bool fresh;             /* now_us was read since the last poll (real loops) */
    int64_t now_us;
    struct loop_timer **heap; /* binary heap by (at_us, seq); heap[0] is unused */
    size_t n_timers, cap_timers;
    uint64_t seq;         /* of the next timer */
    struct list deferred; /* loop_task, loop's thread only */
    pthread_mutex_t lock; /* guards posted; held for pointer moves only */
    struct list posted;   /* loop_task */
};

/* The earliest armed timer or NULL. */
struct loop_timer *loop_first_timer(const struct loop *l);
/* Fires what is due and was armed before the call: a timer that re-arms with 0 waits a turn. */
void loop_fire_due(struct loop *l);
/* Run what was queued when the call began; what the tasks queue waits. */
void loop_run_deferred(struct loop *l);
void loop_run_posted(struct loop *l);

MUST_USE struct loop_real *loop_real_new(struct loop *l, struct err *e);
/* Closes all handles, waits for requests in flight (their callbacks run). */
void loop_real_free(struct loop_real *r);
void loop_real_run(struct loop_real *r);
void loop_real_step(struct loop_real *r);
void loop_real_stop(struct loop_real *r);
/* Any thread. */
void loop_real_wake(struct loop_real *r);
struct uv_loop_s *loop_real_uv(struct loop_real *r);

#endif
