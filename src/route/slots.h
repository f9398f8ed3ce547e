/* route/slots.h - how many calls may run at once, and who waits: a FIFO shared by all workers.
 *
 * Taking and giving back a free slot is one atomic operation; the lock is taken only when somebody
 * waits. A waiter is told by a post to its own loop. */
#ifndef FUSOR_ROUTE_SLOTS_H
#define FUSOR_ROUTE_SLOTS_H

#include <stdint.h>

#include "base/auto.h"
#include "base/list.h"
#include "loop/loop.h"

struct slots;

struct slots_waiter {
    struct loop *loop;
    void (*on_slot)(struct slots_waiter *w); /* a slot is yours: give it back with slots_give() */
    struct loop_task task_;
    struct list node_;
};

enum slots_answer { SLOTS_TAKEN, SLOTS_WAIT, SLOTS_FULL };

/* owned. max 0: no limit. */
MUST_USE struct slots *slots_new(int64_t max, int64_t max_queue);
void slots_free(struct slots *s);
/* Any thread. Running calls above a new, lower limit are left alone. */
void slots_limit(struct slots *s, int64_t max, int64_t max_queue);
/* SLOTS_TAKEN: go. SLOTS_WAIT: w->on_slot will come (w must live until it came or slots_leave()).
 * SLOTS_FULL: max_queue others wait already. */
MUST_USE enum slots_answer slots_take(struct slots *s, struct slots_waiter *w);
void slots_give(struct slots *s);
/* From w's own thread, before on_slot has come: it will not come. A slot that was on its way
 * already goes to the next. */
void slots_leave(struct slots *s, struct slots_waiter *w);
int64_t slots_running(const struct slots *s);
int64_t slots_waiting(const struct slots *s);

#endif
