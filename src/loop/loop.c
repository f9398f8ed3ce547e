/* loop/loop.c - see loop/loop.h. Timers, tasks and posts, the same for both kinds of loop; the
 * simulated loop itself; libuv is in loop_uv.c. */
#include "loop/loop_priv.h"

#include "base/clock.h"
#include "base/mem.h"

/* Virtual time starts here, so that a time of 0 still means "never". */
#define SIM_START_US 1000000

/* --- life ------------------------------------------------------------------------------------- */

static struct loop *new_common(struct err *e)
{
    struct loop *l = mem_zalloc(sizeof *l);
    if (l == NULL) {
        err_set(e, ERR_NOMEM, "loop: out of memory");
        return NULL;
    }
    if (pthread_mutex_init(&l->lock, NULL) != 0) {
        mem_free(l);
        err_set(e, ERR_NOMEM, "loop: no mutex");
        return NULL;
    }
    l->seq = 1;
    list_init(&l->deferred);
    list_init(&l->posted);
    return l;
}

struct loop *loop_new(struct err *e)
{
    AUTO(loop) l = new_common(e);
    if (l == NULL)
        return NULL;
    l->real = loop_real_new(l, e);
    return l->real != NULL ? TAKE(l) : NULL;
}

struct loop *loop_sim_new(struct err *e)
{
    struct loop *l = new_common(e);
    if (l != NULL)
        l->now_us = SIM_START_US;
    return l;
}

/* Unlinks what is still queued, so that its owner may stop or undefer it after the loop is gone. */
static void drop_all(struct list *tasks)
{
    while (list_pop(tasks) != NULL)
        continue;
}

void loop_free(struct loop *l)
{
    if (l == NULL)
        return;
    /* First libuv: close callbacks of others may still stop timers or defer. */
    loop_real_free(l->real);
    for (size_t i = 1; i <= l->n_timers; i++)
        l->heap[i]->pos = 0;
    drop_all(&l->deferred);
    drop_all(&l->posted);
    pthread_mutex_destroy(&l->lock);
    mem_free(l->heap);
    mem_free(l);
}

/* --- time ------------------------------------------------------------------------------------- */

int64_t loop_now_us(const struct loop *l)
{
    if (l->real != NULL && !l->fresh) {
        /* Read at the first question after a poll: libuv has no hook between waking up and the
         * first I/O callback, and a time from before the sleep would make timers fire early. The
         * cache does not change what the loop is, hence the cast. */
        struct loop *cache = (struct loop *)l;
        cache->now_us = clock_mono_us();
        cache->fresh = true;
    }
    return l->now_us;
}

/* --- timers ----------------------------------------------------------------------------------- */

static bool earlier(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

static void place(struct loop *l, size_t pos, struct loop_timer *t)
{
    l->heap[pos] = t;
    t->pos = pos;
}

static void sift_up(struct loop *l, size_t pos, struct loop_timer *t)
{
    for (; pos > 1 && earlier(t, l->heap[pos / 2]); pos /= 2)
        place(l, pos, l->heap[pos / 2]);
    place(l, pos, t);
}

static void sift_down(struct loop *l, size_t pos, struct loop_timer *t)
{
    for (;;) {
        size_t child = pos * 2;
        if (child > l->n_timers)
            break;
        if (child < l->n_timers && earlier(l->heap[child + 1], l->heap[child]))
            child++;
        if (!earlier(l->heap[child], t))
            break;
        place(l, pos, l->heap[child]);
        pos = child;
    }
    place(l, pos, t);
}

/* t stands or shall stand at pos; finds where it belongs. */
static void settle(struct loop *l, size_t pos, struct loop_timer *t)
{
    if (pos > 1 && earlier(t, l->heap[pos / 2]))
        sift_up(l, pos, t);
    else
        sift_down(l, pos, t);
}

static bool grow_heap(struct loop *l)
{
    if (l->n_timers + 1 < l->cap_timers)
        return true;
    size_t cap = l->cap_timers == 0 ? 64 : l->cap_timers * 2;
    void *heap = mem_realloc(l->heap, cap * sizeof *l->heap);
    if (heap == NULL)
        return false;
    l->heap = heap;
    l->cap_timers = cap;
    return true;
}

struct loop_timer *loop_first_timer(const struct loop *l)
{
    return l->n_timers > 0 ? l->heap[1] : NULL;
}

void loop_timer_init(struct loop_timer *t, struct loop *l, void (*fn)(struct loop_timer *t))
{
    *t = (struct loop_timer){.fn = fn, .loop = l};
}

bool loop_timer_start(struct loop_timer *t, int64_t after_us)
{
    struct loop *l = t->loop;
    int64_t now = loop_now_us(l);
    if (t->pos == 0) {
        if (!grow_heap(l))
            return false;
        t->pos = ++l->n_timers;
    }
    if (after_us < 0)
        after_us = 0;
    t->at_us = after_us > INT64_MAX - now ? INT64_MAX : now + after_us;
    t->seq = l->seq++;
    settle(l, t->pos, t);
    return true;
}

void loop_timer_stop(struct loop_timer *t)
{
    if (t->pos == 0)
        return;
    struct loop *l = t->loop;
    struct loop_timer *last = l->heap[l->n_timers--];
    if (last != t)
        settle(l, t->pos, last);
    t->pos = 0;
}

bool loop_timer_armed(const struct loop_timer *t)
{
    return t->pos != 0;
}

/* Takes the timer out before its callback, which may start it again or free it. */
static void fire(struct loop_timer *t)
{
    loop_timer_stop(t);
    t->fn(t);
}

void loop_fire_due(struct loop *l)
{
    int64_t now = loop_now_us(l);
    uint64_t limit = l->seq;
    for (;;) {
        /* A timer armed by a callback is never before an older one that is due: its time is `now`
         * at the earliest, and its seq is greater. */
        struct loop_timer *t = loop_first_timer(l);
        if (t == NULL || t->at_us > now || t->seq >= limit)
            return;
        fire(t);
    }
}

/* --- tasks ------------------------------------------------------------------------------------ */

/* Moves all nodes of `from` to the empty list `to`. */
static void move_all(struct list *to, struct list *from)
{
    list_init(to);
    if (list_empty(from))
        return;
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    list_init(from);
}

/* Popped one by one, so that a task may take back those that wait behind it. */
static void run_batch(struct list *batch)
{
    struct list *node;
    while ((node = list_pop(batch)) != NULL) {
        struct loop_task *t = LIST_ENTRY(node, struct loop_task, node);
        t->fn(t);
    }
}

void loop_run_deferred(struct loop *l)
{
    struct list batch;
    move_all(&batch, &l->deferred);
    run_batch(&batch);
}

void loop_run_posted(struct loop *l)
{
    struct list batch;
    pthread_mutex_lock(&l->lock);
    move_all(&batch, &l->posted);
    pthread_mutex_unlock(&l->lock);
    run_batch(&batch);
}

void loop_task_init(struct loop_task *t, void (*fn)(struct loop_task *t))
{
    list_init(&t->node);
    t->fn = fn;
}

void loop_defer(struct loop *l, struct loop_task *t)
{
    if (list_empty(&t->node))
        list_push(&l->deferred, &t->node);
}

void loop_undefer(struct loop_task *t)
{
    list_remove(&t->node);
}

void loop_post(struct loop *l, struct loop_task *t)
{
    pthread_mutex_lock(&l->lock);
    bool first = list_empty(&l->posted);
    list_push(&l->posted, &t->node);
    pthread_mutex_unlock(&l->lock);
    /* One wake-up serves all that is posted before the loop looks. */
    if (first && l->real != NULL)
        loop_real_wake(l->real);
}

/* The node is in ->posted, or in a batch that only this thread touches. */
void loop_unpost(struct loop *l, struct loop_task *t)
{
    pthread_mutex_lock(&l->lock);
    list_remove(&t->node);
    pthread_mutex_unlock(&l->lock);
}

/* --- running ---------------------------------------------------------------------------------- */

static bool has_posted(struct loop *l)
{
    pthread_mutex_lock(&l->lock);
    bool some = !list_empty(&l->posted);
    pthread_mutex_unlock(&l->lock);
    return some;
}

static bool sim_step(struct loop *l)
{
    if (!list_empty(&l->deferred) || has_posted(l)) {
        loop_run_deferred(l);
        loop_run_posted(l);
        return true;
    }
    struct loop_timer *t = loop_first_timer(l);
    if (t == NULL)
        return false;
    if (t->at_us > l->now_us)
        l->now_us = t->at_us;
    fire(t);
    return true;
}

void loop_run(struct loop *l)
{
    if (l->real != NULL) {
        loop_real_run(l->real);
        return;
    }
    while (!l->stop && sim_step(l))
        continue;
    l->stop = false;
}

bool loop_step(struct loop *l)
{
    if (l->real != NULL) {
        loop_real_step(l->real);
        return true;
    }
    bool more = sim_step(l);
    l->stop = false; /* as libuv does: a stop ends the run it falls into, no later one */
    return more;
}

void loop_stop(struct loop *l)
{
    if (l->real != NULL)
        loop_real_stop(l->real);
    else
        l->stop = true;
}

struct uv_loop_s *loop_uv(struct loop *l)
{
    return l->real != NULL ? loop_real_uv(l->real) : NULL;
}
