/* upstream/child_run.c - one child over all its runs: start, ready, doubt, end, backoff. Callbacks
 * stand in the order of life; each ends with child_update(), which alone decides what is next. */
#include <assert.h>

#include "base/mem.h"
#include "upstream/child_priv.h"

#define BACKOFF_FIRST_US INT64_C(500000)
#define BACKOFF_MAX_US   INT64_C(30000000)
/* A lease waits for the next start when it is this near, else it is told why there is none. */
#define BACKOFF_WAIT_US INT64_C(1000000)
/* Ready for that long: what comes next is no repetition of what was before. */
#define STEADY_US INT64_C(30000000)
/* While it starts: a sixteenth of the time so far, within these. */
#define PROBE_MIN_US INT64_C(20000)
#define PROBE_MAX_US INT64_C(500000)
/* Of a ready child in doubt: that many looks without a good answer, this far apart. */
#define MAX_MISSES     3
#define PROBE_DOUBT_US INT64_C(1000000)

/* --- states ----------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum child_state shown;
    unsigned may;
} runs[RUN_STATES] = {
#define TO(s) (1u << RUN_##s)
    [RUN_OFF] = {"off", CHILD_STOPPED, TO(STARTING) | TO(BACKOFF)},
    [RUN_STARTING] = {"starting", CHILD_STARTING, TO(READY) | TO(ENDING) | TO(BACKOFF)},
    [RUN_READY] = {"ready", CHILD_READY, TO(ENDING) | TO(BACKOFF)},
    [RUN_ENDING] = {"ending", CHILD_STOPPED, TO(OFF) | TO(BACKOFF)},
    [RUN_BACKOFF] = {"backoff", CHILD_BACKOFF, TO(OFF)},
#undef TO
};

static void run_to(struct child *c, enum child_run to)
{
    assert((runs[c->run].may & (1u << to)) != 0);
    LOG_EVENT(c->pool->log, LOG_DEBUG, "local_state", LOG_S("provider", c->spec.name),
              LOG_S("from", span_of(runs[c->run].name)), LOG_S("to", span_of(runs[to].name)));
    c->run = to;
    loop_timer_stop(&c->timer);
    loop_timer_stop(&c->probe_timer);
    child_probe_stop(&c->probe);
    c->doubted = false;
    c->misses = 0;
    (void)pthread_mutex_lock(&c->pool->lock);
    c->shown = runs[to].shown;
    (void)pthread_mutex_unlock(&c->pool->lock);
}

static int64_t now_us(const struct child *c)
{
    return loop_now_us(c->pool->control);
}

static struct child_lease *first_of(struct list *leases)
{
    return list_empty(leases) ? NULL : LIST_ENTRY(leases->next, struct child_lease, node_);
}

static void fail_waiting(struct child *c, const struct err *err, int64_t retry_after_us)
{
    struct child_lease *l;
    while ((l = first_of(&c->waiting)) != NULL)
        child_lease_fail(l, err, retry_after_us < 0 ? -1 : (retry_after_us + 999) / 1000);
}

/* --- its end ---------------------------------------------------------------------------------- */

/* What a run had goes. Leases that held it hold nothing any more; their calls find out by
 * themselves. */
static void end_run(struct child *c)
{
    struct child_lease *l;
    while ((l = first_of(&c->held)) != NULL) {
        list_remove(&l->node_);
        l->child_ = NULL;
    }
    child_process_free(TAKE(c->process));
    child_command_done(&c->command);
    arena_free(TAKE(c->run_arena));
}

static int64_t backoff_us(const struct child *c)
{
    int64_t us = BACKOFF_FIRST_US;
    for (unsigned i = 1; i < c->failures && us < BACKOFF_MAX_US; i++)
        us *= 2;
    return us < BACKOFF_MAX_US ? us : BACKOFF_MAX_US;
}

static void back_off(struct child *c)
{
    run_to(c, RUN_BACKOFF);
    bool armed = loop_timer_start(&c->timer, backoff_us(c));
    if (!armed || backoff_us(c) > BACKOFF_WAIT_US)
        fail_waiting(c, &c->last, backoff_us(c));
    if (!armed)
        run_to(c, RUN_OFF);
}

static void order_end(struct child *c, bool failed)
{
    c->failed = failed;
    run_to(c, RUN_ENDING);
    child_process_stop(c->process);
}

/* The start or the run has failed; *err says why. Who waits for a start that failed is told; who
 * comes to a server that has just crashed waits for the next one. */
static void went_down(struct child *c, const struct err *err)
{
    bool starting = c->run != RUN_READY;
    if (!starting && now_us(c) - c->ready_us >= STEADY_US)
        c->failures = 0;
    c->failures++;
    c->last = *err;
    log_err(c->pool->log, LOG_WARN, starting ? "local_start_failed" : "local_crashed", SPAN(""),
            err);
    if (starting)
        fail_waiting(c, err, backoff_us(c));
}

static void end_failed(struct child *c, const struct err *err)
{
    went_down(c, err);
    order_end(c, true);
}

/* Without a timer nobody would look after it. */
static void end_for_lack_of_memory(struct child *c)
{
    struct err e;
    err_set(&e, ERR_NOMEM, "%.*s: out of memory", SPAN_ARG(c->spec.name));
    end_failed(c, &e);
}

static void probe_in(struct child *c, int64_t after_us)
{
    if (!loop_timer_start(&c->probe_timer, after_us))
        end_for_lack_of_memory(c);
}

/* How it ended, for a person. */
static void describe_end(struct child *c, const struct child_end *end, struct err *out)
{
    char tail[240] = "";
    bool starting = c->run == RUN_STARTING;
    const char *when = starting ? " before it was ready" : "";
    if (starting) /* later it may have printed prompts */
        child_process_tail(c->process, tail, sizeof tail);
    const char *sep = tail[0] != '\0' ? ": " : "";
    if (end->word == GUARD_NO_EXEC)
        err_set(out, ERR_CONFIG, "%.*s: cannot run \"%s\": %s", SPAN_ARG(c->spec.name),
                c->command.argv[0], strerror(end->value));
    else if (end->word == GUARD_EXITED)
        err_set(out, ERR_UNAVAILABLE, "%.*s: its server ended with exit code %d%s%s%s",
                SPAN_ARG(c->spec.name), end->value, when, sep, tail);
    else if (end->word == GUARD_SIGNALED)
        err_set(out, ERR_UNAVAILABLE, "%.*s: its server was ended by signal %d (%s)%s%s%s",
                SPAN_ARG(c->spec.name), end->value, strsignal(end->value), when, sep, tail);
    else
        err_set(out, ERR_UNAVAILABLE, "%.*s: its server was killed%s%s%s", SPAN_ARG(c->spec.name),
                when, sep, tail);
}

static void on_end(void *owner, const struct child_end *end)
{
    struct child *c = owner;
    struct err e = {0};
    bool back = c->failed;
    if (c->run != RUN_ENDING) {
        describe_end(c, end, &e);
        went_down(c, &e);
        back = true;
    } else {
        LOG_EVENT(c->pool->log, LOG_INFO, "local_stopped", LOG_S("provider", c->spec.name));
    }
    end_run(c);
    if (back) {
        back_off(c);
    } else {
        c->failures = 0;
        run_to(c, RUN_OFF);
    }
    child_update(c);
}

static const struct child_process_ops process_ops = {on_end};

/* --- its start -------------------------------------------------------------------------------- */

static bool launch(struct child *c, struct err *e)
{
    c->run_arena = arena_new(0);
    if (c->run_arena == NULL)
        return err_set(e, ERR_NOMEM, "out of memory");
    if (!child_command_make(&c->command, c->run_arena, &c->spec, c->pool->runtime_dir,
                            c->pool->key_dir, e))
        return false;
    c->process =
        child_process_new(c->pool->control, c->command.argv, c->command.env, &process_ops, c, e);
    return c->process != NULL;
}

static void start(struct child *c)
{
    struct err e = {0};
    c->probe.text[0] = '\0';
    c->probe.context = 0;
    if (launch(c, &e)) {
        LOG_EVENT(c->pool->log, LOG_INFO, "local_starting", LOG_S("provider", c->spec.name),
                  LOG_I("port", c->command.port));
        run_to(c, RUN_STARTING);
        c->started_us = now_us(c);
        if (loop_timer_start(&c->timer, c->start_timeout_us))
            probe_in(c, PROBE_MIN_US);
        else
            end_for_lack_of_memory(c);
        return;
    }
    err_prefix(&e, "%.*s", SPAN_ARG(c->spec.name));
    end_run(c);
    /* Nothing has run. What is missing is looked for again by the next lease. */
    if (e.cls == ERR_CONFIG) {
        fail_waiting(c, &e, -1);
        return;
    }
    went_down(c, &e);
    back_off(c);
}

static void on_start_timeout(struct child *c)
{
    char tail[200];
    struct err e = {0};
    child_process_tail(c->process, tail, sizeof tail);
    err_set(&e, ERR_UNAVAILABLE,
            "%.*s: its server was not ready after %lld ms (start_timeout)%s%s%s%s",
            SPAN_ARG(c->spec.name), (long long)(c->start_timeout_us / 1000),
            c->probe.text[0] != '\0' ? "; " : "", c->probe.text, tail[0] != '\0' ? ": " : "", tail);
    end_failed(c, &e);
}

/* --- ready, and in doubt ---------------------------------------------------------------------- */

static void on_ready(struct child *c)
{
    c->ready_us = now_us(c);
    LOG_EVENT(c->pool->log, LOG_INFO, "local_ready", LOG_S("provider", c->spec.name),
              LOG_I("start_ms", (c->ready_us - c->started_us) / 1000));
    if (c->probe.context > 0 && c->probe.context < c->spec.context)
        LOG_EVENT(c->pool->log, LOG_WARN, "local_context_smaller", LOG_S("provider", c->spec.name),
                  LOG_I("wanted", c->spec.context), LOG_I("has", c->probe.context));
    run_to(c, RUN_READY);
}

static void on_probe_while_starting(struct child *c, enum child_answer a)
{
    struct err e = {0};
    if (a == CHILD_ANSWERS) {
        on_ready(c);
    } else if (a == CHILD_REFUSES_KEY) {
        err_set(
            &e, ERR_CONFIG,
            "%.*s: its server refuses its key: %s; give it {key_file}, or $FUSOR_LOCAL_KEY, which "
            "is in its environment",
            SPAN_ARG(c->spec.name), c->probe.text);
        end_failed(c, &e);
    } else {
        int64_t wait = (now_us(c) - c->started_us) / 16;
        probe_in(c, wait < PROBE_MIN_US ? PROBE_MIN_US : wait < PROBE_MAX_US ? wait : PROBE_MAX_US);
    }
}

/* Not listening is dead. No answer may be one that is busy: as long as others hold the child, they
 * know better. */
static void on_probe_in_doubt(struct child *c, enum child_answer a)
{
    struct err e = {0};
    if (a != CHILD_ANSWERS && a != CHILD_NOT_LISTENING && ++c->misses < MAX_MISSES) {
        probe_in(c, PROBE_DOUBT_US);
    } else if (a == CHILD_ANSWERS || (a != CHILD_NOT_LISTENING && !list_empty(&c->held))) {
        c->doubted = false;
        c->misses = 0;
    } else {
        err_set(&e, ERR_UNAVAILABLE, "%.*s: its server does not answer any more: %s",
                SPAN_ARG(c->spec.name), c->probe.text);
        end_failed(c, &e);
    }
}

static void on_probe(struct child_probe *p, enum child_answer a)
{
    struct child *c = CONTAINER_OF(p, struct child, probe);
    if (c->run == RUN_STARTING)
        on_probe_while_starting(c, a);
    else if (c->run == RUN_READY && c->doubted)
        on_probe_in_doubt(c, a);
    child_update(c);
}

static void on_probe_timer(struct loop_timer *t)
{
    struct child *c = CONTAINER_OF(t, struct child, probe_timer);
    struct err e = {0};
    http_client_forget(c->pool->http); /* addresses of earlier runs */
    if (!child_probe_start(&c->probe, c->command.port, c->command.key, &e))
        probe_in(c, PROBE_MAX_US);
    child_update(c);
}

void child_doubt(struct child *c)
{
    if (c->run != RUN_READY || c->doubted)
        return;
    c->doubted = true;
    probe_in(c, 0);
}

/* --- leases ----------------------------------------------------------------------------------- */

void child_join(struct child *c, struct child_lease *l)
{
    list_push(&c->waiting, &l->node_);
    if (c->run != RUN_BACKOFF)
        return;
    int64_t left = c->timer.at_us - now_us(c);
    if (loop_timer_armed(&c->timer) && left > BACKOFF_WAIT_US)
        child_lease_fail(l, &c->last, (left + 999) / 1000);
    else if (!loop_timer_armed(&c->timer))
        run_to(c, RUN_OFF);
}

static void give_all(struct child *c)
{
    struct child_lease *l;
    while (!c->doubted && (l = first_of(&c->waiting)) != NULL) {
        list_remove(&l->node_);
        list_push(&c->held, &l->node_);
        child_lease_give(l, &c->command);
    }
}

static void update_ready(struct child *c)
{
    give_all(c);
    if (!list_empty(&c->held) || !list_empty(&c->waiting))
        loop_timer_stop(&c->timer);
    else if (c->retired)
        order_end(c, false);
    else if (c->idle_stop_us > 0 && !loop_timer_armed(&c->timer))
        (void)!loop_timer_start(&c->timer, c->idle_stop_us); /* the next lease's end tries again */
}

static void forget(struct child *c)
{
    (void)pthread_mutex_lock(&c->pool->lock);
    list_remove(&c->node);
    (void)pthread_mutex_unlock(&c->pool->lock);
    child_free(c);
}

void child_update(struct child *c)
{
    if (c->run == RUN_OFF && !list_empty(&c->waiting))
        start(c);
    bool wanted = !list_empty(&c->waiting) || !list_empty(&c->held) || !c->retired;
    switch (c->run) {
    case RUN_OFF:
    case RUN_BACKOFF:
        if (!wanted)
            forget(c);
        break;
    case RUN_STARTING:
        if (!wanted)
            order_end(c, false);
        break;
    case RUN_READY:
        update_ready(c);
        break;
    case RUN_ENDING:
    case RUN_STATES:
        break;
    }
}

static void on_timer(struct loop_timer *t)
{
    struct child *c = CONTAINER_OF(t, struct child, timer);
    if (c->run == RUN_STARTING)
        on_start_timeout(c);
    else if (c->run == RUN_READY)
        order_end(c, false);
    else if (c->run == RUN_BACKOFF)
        run_to(c, RUN_OFF);
    child_update(c);
}

/* --- memory ----------------------------------------------------------------------------------- */

struct child *child_new(struct child_pool *pool, const struct config_provider *p, struct err *e)
{
    struct child *c = mem_zalloc(sizeof *c);
    if (c == NULL)
        return err_set(e, ERR_NOMEM, "out of memory"), NULL;
    c->pool = pool;
    list_init(&c->node);
    list_init(&c->waiting);
    list_init(&c->held);
    loop_timer_init(&c->timer, pool->control, on_timer);
    loop_timer_init(&c->probe_timer, pool->control, on_probe_timer);
    child_probe_init(&c->probe, pool->control, pool->http, on_probe);
    c->idle_stop_us = p->local.idle_stop_us;
    c->start_timeout_us = p->local.start_timeout_us;
    c->arena = arena_new(0);
    if (c->arena == NULL)
        err_set(e, ERR_NOMEM, "out of memory");
    else if (child_spec_copy(c->arena, p, &c->spec, e))
        return c;
    child_free(c);
    return NULL;
}

void child_free(struct child *c)
{
    if (c == NULL)
        return;
    loop_timer_stop(&c->timer);
    loop_timer_stop(&c->probe_timer);
    child_probe_stop(&c->probe);
    end_run(c);
    arena_free(c->arena);
    mem_free(c);
}
