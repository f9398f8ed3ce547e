/* loop/loop.h - one event loop per worker thread: timers, deferred tasks, posts from other threads;
 * and the same loop under a fake clock.
 *
 * The real loop runs on libuv; sockets (http/) reach it by loop_uv(). The simulated loop has no
 * sockets: time jumps to the next timer, order is decided by (time, sequence), so a run is a pure
 * function of its seed. All functions but loop_post() belong to the loop's own thread. Callbacks
 * are never called from inside the function that arms them. */
#ifndef FUSOR_LOOP_LOOP_H
#define FUSOR_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/list.h"

struct loop;
struct uv_loop_s;

MUST_USE struct loop *loop_new(struct err *e);     /* owned */
MUST_USE struct loop *loop_sim_new(struct err *e); /* owned; now starts at 1 s */
/* Timers, tasks and posts still queued are dropped and stand as not armed afterwards. Real loops:
 * open libuv handles are closed, close callbacks run, and libuv requests in flight are waited for
 * (their callbacks run). Threads that post must have finished. Not from a callback of this loop. */
void loop_free(struct loop *l);
AUTO_DEFINE(loop)
/* Runs until loop_stop(); simulated loops also until nothing is left to do. */
void loop_run(struct loop *l);
/* From the loop's thread; ends loop_run() after the current turn. */
void loop_stop(struct loop *l);
/* Simulation: runs deferred tasks and posts, else jumps to the next timer and fires it. False when
 * nothing is left to do. Real loops: one non-blocking turn; true. */
bool loop_step(struct loop *l);
/* Monotonic microseconds (CLOCK_MONOTONIC), read at the first question after each wake-up and kept
 * until the loop sleeps again; simulated: virtual. */
int64_t loop_now_us(const struct loop *l);
/* NULL for a simulated loop. */
struct uv_loop_s *loop_uv(struct loop *l);

/* --- timers: embedded, no allocation; stopping and restarting are O(log n) -------------------- */
struct loop_timer {
    void (*fn)(struct loop_timer *t);
    struct loop *loop;
    int64_t at_us;
    uint64_t seq;
    size_t pos; /* place in the heap, 0: not armed */
};
void loop_timer_init(struct loop_timer *t, struct loop *l, void (*fn)(struct loop_timer *t));
/* Arms or re-arms; after_us < 0 counts as 0. False when memory runs out. */
MUST_USE bool loop_timer_start(struct loop_timer *t, int64_t after_us);
/* Fine when not armed, also from inside its own callback. */
void loop_timer_stop(struct loop_timer *t);
bool loop_timer_armed(const struct loop_timer *t);

/* --- tasks: run later on the loop's thread, in order ------------------------------------------ */
struct loop_task {
    struct list node;
    void (*fn)(struct loop_task *t);
};
void loop_task_init(struct loop_task *t, void (*fn)(struct loop_task *t));
/* Same thread: runs at the end of this turn (before the loop sleeps). Twice is once. */
void loop_defer(struct loop *l, struct loop_task *t);
/* Takes a deferred (not a posted) task back; fine when it is not queued. */
void loop_undefer(struct loop_task *t);
/* Any thread: runs on l's thread in a later turn. The task stays the caller's and must live until
 * fn has run; it may not be queued twice. */
void loop_post(struct loop *l, struct loop_task *t);
/* From l's thread: takes a posted task back, so that its memory may go; fine when it is not
 * queued. Who else posts it must have ended. */
void loop_unpost(struct loop *l, struct loop_task *t);

#endif
