/* route/slots.c - see route/slots.h.
 *
 * `running` and `waiting` are a Dekker pair: a giver lowers running and then looks at waiting, a
 * taker raises waiting and then looks at running; both are sequentially consistent, so a free slot
 * and a waiter always meet. */
#include "route/slots.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"

struct slots {
    _Atomic int64_t running, waiting, max, max_queue;
    pthread_mutex_t lock; /* guards queue */
    struct list queue;
};

struct slots *slots_new(int64_t max, int64_t max_queue)
{
    struct slots *s = mem_zalloc(sizeof *s);
    if (!s)
        return NULL;
    atomic_store(&s->max, max);
    atomic_store(&s->max_queue, max_queue);
    (void)pthread_mutex_init(&s->lock, NULL);
    list_init(&s->queue);
    return s;
}

void slots_free(struct slots *s)
{
    if (!s)
        return;
    (void)pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

static bool try_take(struct slots *s)
{
    int64_t max = atomic_load(&s->max);
    int64_t n = atomic_load(&s->running);
    while (max == 0 || n < max)
        if (atomic_compare_exchange_weak(&s->running, &n, n + 1))
            return true;
    return false;
}

/* Hands free slots to the heads of the queue; the lock is held. */
static void grant_locked(struct slots *s)
{
    while (!list_empty(&s->queue) && try_take(s)) {
        struct list *n = list_pop(&s->queue);
        struct slots_waiter *w = LIST_ENTRY(n, struct slots_waiter, node_);
        atomic_fetch_sub(&s->waiting, 1);
        loop_post(w->loop, &w->task_);
    }
}

static void grant(struct slots *s)
{
    if (atomic_load(&s->waiting) == 0)
        return;
    (void)pthread_mutex_lock(&s->lock);
    grant_locked(s);
    (void)pthread_mutex_unlock(&s->lock);
}

void slots_limit(struct slots *s, int64_t max, int64_t max_queue)
{
    atomic_store(&s->max, max);
    atomic_store(&s->max_queue, max_queue);
    grant(s);
}

static void on_granted(struct loop_task *t)
{
    struct slots_waiter *w = CONTAINER_OF(t, struct slots_waiter, task_);
    w->on_slot(w);
}

enum slots_answer slots_take(struct slots *s, struct slots_waiter *w)
{
    if (atomic_load(&s->waiting) == 0 && try_take(s))
        return SLOTS_TAKEN;
    (void)pthread_mutex_lock(&s->lock);
    bool full = atomic_load(&s->waiting) >= atomic_load(&s->max_queue);
    if (!full) {
        loop_task_init(&w->task_, on_granted);
        list_push(&s->queue, &w->node_);
        atomic_fetch_add(&s->waiting, 1);
        grant_locked(s);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return full ? SLOTS_FULL : SLOTS_WAIT;
}

void slots_give(struct slots *s)
{
    atomic_fetch_sub(&s->running, 1);
    grant(s);
}

/* Who takes a waiter out of the queue posts under the same lock: not queued means posted. */
void slots_leave(struct slots *s, struct slots_waiter *w)
{
    (void)pthread_mutex_lock(&s->lock);
    bool queued = !list_empty(&w->node_); /* a popped node points to itself */
    if (queued) {
        list_remove(&w->node_);
        atomic_fetch_sub(&s->waiting, 1);
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (queued)
        return;
    loop_unpost(w->loop, &w->task_);
    slots_give(s);
}

int64_t slots_running(const struct slots *s)
{
    return atomic_load(&s->running);
}

int64_t slots_waiting(const struct slots *s)
{
    return atomic_load(&s->waiting);
}
