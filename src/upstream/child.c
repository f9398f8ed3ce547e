/* upstream/child.c - see upstream/child.h: the pool, and leases between threads. What a child does
 * is in child_run.c.
 *
 * A lease is shared by its user's thread and the control thread under the pool's lock: news for the
 * pool go through ->inbox and one posted task, news for the user through the lease's own task. Both
 * tasks say only "look": what is to be done stands in the flags, so that nothing is queued twice.
 */
#include "upstream/child.h"

#include "base/clock.h"
#include "base/mem.h"
#include "upstream/child_priv.h"

enum {
    LEASE_NEW = 1,   /* acquired; the pool has not looked */
    LEASE_INBOX = 2, /* in ->inbox */
    LEASE_RELEASED = 4,
    LEASE_DOUBTS = 8,  /* released with failed */
    LEASE_TOLD = 16,   /* ->address_ or ->err_ is set, on_ready is due */
    LEASE_FAILED = 32, /* it is ->err_ */
    LEASE_GONE = 64,   /* the pool has done with it, on_gone is due */
    LEASE_POSTED = 128 /* ->to_loop_ is queued */
};

static void lock(struct child_pool *p)
{
    (void)pthread_mutex_lock(&p->lock);
}

static void unlock(struct child_pool *p)
{
    (void)pthread_mutex_unlock(&p->lock);
}

/* --- the user's side -------------------------------------------------------------------------- */

static void on_news(struct loop_task *t)
{
    struct child_lease *l = CONTAINER_OF(t, struct child_lease, to_loop_);
    struct child_pool *p = l->pool_;
    lock(p);
    unsigned f = l->flags_;
    l->flags_ &= ~(unsigned)(LEASE_POSTED | LEASE_TOLD);
    if (f & LEASE_GONE)
        list_remove(&l->all_);
    unlock(p);
    if (f & LEASE_GONE) {
        explicit_bzero(&l->address_, sizeof l->address_);
        l->on_gone(l);
    } else if ((f & LEASE_TOLD) && !(f & LEASE_RELEASED)) {
        l->on_ready(l, f & LEASE_FAILED ? NULL : &l->address_, f & LEASE_FAILED ? &l->err_ : NULL);
    }
}

/* Under the lock. */
static void tell_pool(struct child_lease *l, unsigned flags)
{
    struct child_pool *p = l->pool_;
    l->flags_ |= flags;
    if (!(l->flags_ & LEASE_INBOX)) {
        l->flags_ |= LEASE_INBOX;
        list_push(&p->inbox, &l->inbox_);
    }
    if (!p->look_posted) {
        p->look_posted = true;
        loop_post(p->control, &p->look);
    }
}

void child_acquire(struct child_pool *p, const struct config_provider *provider,
                   struct child_lease *l)
{
    l->pool_ = p;
    l->provider_ = provider;
    l->child_ = NULL;
    l->flags_ = 0;
    l->err_ = (struct err){0};
    list_init(&l->node_);
    list_init(&l->inbox_);
    loop_task_init(&l->to_loop_, on_news);
    lock(p);
    list_push(&p->all, &l->all_);
    tell_pool(l, LEASE_NEW);
    unlock(p);
}

void child_release(struct child_lease *l, bool failed)
{
    struct child_pool *p = l->pool_;
    lock(p);
    if (!(l->flags_ & LEASE_RELEASED))
        tell_pool(l, failed ? LEASE_RELEASED | LEASE_DOUBTS : LEASE_RELEASED);
    unlock(p);
}

/* --- the pool's side -------------------------------------------------------------------------- */

static void tell_user(struct child_lease *l, unsigned flags)
{
    struct child_pool *p = l->pool_;
    lock(p);
    bool posted = (l->flags_ & LEASE_POSTED) != 0;
    l->flags_ |= flags | LEASE_POSTED;
    if (!posted)
        loop_post(l->loop, &l->to_loop_);
    unlock(p);
}

void child_lease_give(struct child_lease *l, const struct child_command *c)
{
    l->address_.port = c->port;
    memcpy(l->address_.key, c->key, sizeof l->address_.key);
    tell_user(l, LEASE_TOLD);
}

void child_lease_fail(struct child_lease *l, const struct err *err, int64_t retry_after_ms)
{
    list_remove(&l->node_);
    l->child_ = NULL;
    l->err_ = *err;
    l->err_.retry_after_ms = retry_after_ms;
    tell_user(l, LEASE_TOLD | LEASE_FAILED);
}

/* The child that runs what the provider wants; another one of the same name is an older setting's.
 */
static struct child *find(struct child_pool *p, const struct config_provider *provider)
{
    for (struct list *n = p->children.next; n != &p->children; n = n->next) {
        struct child *c = LIST_ENTRY(n, struct child, node);
        if (child_spec_same(&c->spec, provider))
            return c;
    }
    return NULL;
}

static const struct config_provider *wanted(const struct child_pool *p, const struct child *c)
{
    const struct config_provider *now = config_provider_find(p->config, c->spec.name);
    return now != NULL && child_spec_same(&c->spec, now) ? now : NULL;
}

/* Under the lock: child_release() must wait while the provider is read, which may go with it. */
static struct child *find_or_add(struct child_pool *p, const struct config_provider *provider,
                                 struct err *e)
{
    struct child *c = find(p, provider);
    if (c != NULL)
        return c;
    c = child_new(p, provider, e);
    if (c == NULL)
        return NULL;
    /* A worker that has not adopted the new snapshot yet may ask for what the old one had. */
    c->retired = p->config != NULL && wanted(p, c) == NULL;
    list_push(&p->children, &c->node);
    return c;
}

static void on_acquired(struct child_pool *p, struct child_lease *l)
{
    struct err e = {0};
    struct child *c = NULL;
    lock(p);
    bool released = (l->flags_ & LEASE_RELEASED) != 0; /* meanwhile: it is in the inbox again */
    if (!released)
        c = find_or_add(p, l->provider_, &e);
    unlock(p);
    if (released)
        return;
    if (c == NULL) {
        child_lease_fail(l, &e, -1);
        return;
    }
    l->child_ = c;
    child_join(c, l);
    child_update(c);
}

/* l's memory is its user's from the middle on. */
static void on_released(struct child_lease *l, bool doubts)
{
    struct child *c = l->child_;
    list_remove(&l->node_);
    l->child_ = NULL;
    tell_user(l, LEASE_GONE);
    if (c == NULL)
        return;
    if (doubts)
        child_doubt(c);
    child_update(c);
}

static struct child_lease *take_news(struct child_pool *p, unsigned *out_flags)
{
    struct child_lease *l = NULL;
    lock(p);
    struct list *n = list_pop(&p->inbox);
    if (n != NULL) {
        l = LIST_ENTRY(n, struct child_lease, inbox_);
        *out_flags = l->flags_;
        l->flags_ &= ~(unsigned)(LEASE_NEW | LEASE_INBOX);
    }
    unlock(p);
    return l;
}

static void on_look(struct loop_task *t)
{
    struct child_pool *p = CONTAINER_OF(t, struct child_pool, look);
    struct child_lease *l;
    unsigned flags = 0;
    lock(p);
    p->look_posted = false;
    unlock(p);
    while ((l = take_news(p, &flags)) != NULL) {
        if (flags & LEASE_RELEASED)
            on_released(l, (flags & LEASE_DOUBTS) != 0);
        else if (flags & LEASE_NEW)
            on_acquired(p, l);
    }
}

/* --- life ------------------------------------------------------------------------------------- */

struct child_pool *child_pool_new(struct loop *control, struct log *log, const char *runtime_dir,
                                  const char *key_dir, struct err *e)
{
    struct child_pool *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return err_set(e, ERR_NOMEM, "out of memory"), NULL;
    p->control = control;
    p->log = log;
    list_init(&p->children);
    list_init(&p->all);
    list_init(&p->inbox);
    loop_task_init(&p->look, on_look);
    if (pthread_mutex_init(&p->lock, NULL) != 0) {
        mem_free(p);
        return err_set(e, ERR_NOMEM, "out of memory"), NULL;
    }
    p->runtime_dir = mem_dup(runtime_dir, strlen(runtime_dir));
    p->key_dir = mem_dup(key_dir, strlen(key_dir));
    /* No idle connections: a simple server may answer one connection at a time. */
    p->http = http_client_new(control, 0, 0, e);
    if (p->runtime_dir == NULL || p->key_dir == NULL || p->http == NULL) {
        if (p->http != NULL)
            err_set(e, ERR_NOMEM, "out of memory");
        child_pool_free(p);
        return NULL;
    }
    child_command_sweep(key_dir);
    return p;
}

/* All at once, so that the patience is for all together. */
static void end_children(struct child_pool *p)
{
    int64_t until = clock_mono_us() + CHILD_GRACE_US * 3 / 2;
    for (struct list *n = p->children.next; n != &p->children; n = n->next) {
        struct child *c = LIST_ENTRY(n, struct child, node);
        if (c->process != NULL)
            child_process_stop(c->process);
    }
    struct list *n;
    while ((n = list_pop(&p->children)) != NULL) {
        struct child *c = LIST_ENTRY(n, struct child, node);
        if (c->process != NULL)
            child_process_wait(c->process, until);
        child_free(c);
    }
}

/* Their tasks may stand in the control loop's queue; a user's own loop has dropped them when it
 * ended. */
static void return_leases(struct child_pool *p)
{
    struct list *n;
    while ((n = list_pop(&p->all)) != NULL) {
        struct child_lease *l = LIST_ENTRY(n, struct child_lease, all_);
        if (!list_empty(&l->to_loop_.node))
            loop_unpost(l->loop, &l->to_loop_);
        if (l->flags_ & LEASE_RELEASED)
            l->on_gone(l);
    }
}

void child_pool_free(struct child_pool *p)
{
    if (p == NULL)
        return;
    end_children(p);
    loop_unpost(p->control, &p->look);
    return_leases(p);
    http_client_free(p->http);
    config_free(p->config);
    (void)pthread_mutex_destroy(&p->lock);
    mem_free(p->runtime_dir);
    mem_free(p->key_dir);
    mem_free(p);
}

void child_pool_config(struct child_pool *p, struct config *c)
{
    struct config *old = p->config;
    p->config = config_ref(c);
    config_free(old);
    for (struct list *n = p->children.next, *next; n != &p->children; n = next) {
        struct child *child = LIST_ENTRY(n, struct child, node);
        const struct config_provider *now = wanted(p, child);
        next = n->next;
        lock(p);
        child->retired = now == NULL;
        unlock(p);
        if (now != NULL) {
            child->idle_stop_us = now->local.idle_stop_us;
            child->start_timeout_us = now->local.start_timeout_us;
            if (child->run == RUN_READY)
                loop_timer_stop(&child->timer); /* child_update() arms it anew */
        }
        child_update(child);
    }
}

enum child_state child_state_of(struct child_pool *p, struct span provider)
{
    enum child_state shown = CHILD_STOPPED;
    lock(p);
    for (struct list *n = p->children.next; n != &p->children; n = n->next) {
        const struct child *c = LIST_ENTRY(n, struct child, node);
        if (span_eq(c->spec.name, provider) && (!c->retired || shown == CHILD_STOPPED))
            shown = c->shown;
    }
    unlock(p);
    return shown;
}
