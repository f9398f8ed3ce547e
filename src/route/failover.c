/* route/failover.c - see route/failover.h. One call holds at most one inner call; START and USAGE
 * of a try wait until its first content, so that a client never sees two beginnings. */
#include "route/failover.h"

#include "base/mem.h"
#include "ledger/price.h"
#include "route/health.h"
#include "route/pool.h"

/* Longer ids are nobody's. */
#define ID_BYTES 256
/* Names of fields that are kept for START; dialects note no more. */
#define MAX_IGNORED 32

struct failover {
    struct chat_call call;
    struct chat_sink sink;
    const struct failover_source *source;
    struct route *route;
    const struct chat_request *request;
    struct chat_start_opts opts;
    struct chat_sink *client;
    struct chat_call *inner; /* NULL: between two tries, or its last event is being told */
    size_t at;               /* target that runs */
    size_t passed_over;      /* the first that was down and not asked; SIZE_MAX: none */
    bool paused, delivered, has_start, last; /* last: the one that was passed over is asked */
    bool *gone; /* set when the client cancels below a call of it; NULL: none is under way */
    struct chat_event start; /* held: its spans stand in ids and ignored */
    char ids[2][ID_BYTES];
    struct span *ignored;          /* owned, with the names behind it; NULL: none */
    struct chat_usage used, spent; /* of this try so far; of those before */
    const struct chat_fusion_report *report;
    bool has_usage;
};

static struct span keep(char *room, struct span s)
{
    s = span_upto(s, ID_BYTES);
    if (s.n > 0)
        memcpy(room, s.p, s.n);
    return (struct span){s.p ? room : NULL, s.n};
}

static int64_t sum_of(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static void add(struct chat_usage *sum, const struct chat_usage *u)
{
    sum->input = sum_of(sum->input, u->input);
    sum->cached = sum_of(sum->cached, u->cached);
    sum->cache_write = sum_of(sum->cache_write, u->cache_write);
    sum->output = sum_of(sum->output, u->output);
    sum->reasoning = sum_of(sum->reasoning, u->reasoning);
    sum->cost_nusd = nusd_add(sum->cost_nusd, u->cost_nusd);
    sum->estimated = sum->estimated || u->estimated;
}

static void failover_free(struct failover *f)
{
    mem_free(f->ignored);
    mem_free(f);
}

/* --- trying
 * ---------------------------------------------------------------------------------------- */

static bool try_at(struct failover *f, size_t at, struct err *e)
{
    const struct failover_target *t = &f->source->targets[at];
    struct chat_start_opts o = f->opts;
    o.spare = f->opts.spare || (!f->last && at + 1 < f->source->n);
    o.rules = t->rules;
    f->at = at;
    f->has_start = f->has_usage = false;
    f->used = (struct chat_usage){0};
    f->report = NULL;
    f->inner = chat_start(t->source, f->request, &o, &f->sink, e);
    if (f->inner && f->paused)
        chat_pause(f->inner);
    if (!f->inner && !f->opts.spare && f->passed_over == SIZE_MAX && health_is_down(e))
        f->passed_over = at;
    return f->inner != NULL;
}

/* The target after the present one. Behind the last it is one that was passed over because it is
 * down: nobody else can be asked instead now. SIZE_MAX: none. */
static size_t next_of(const struct failover *f)
{
    if (f->last)
        return SIZE_MAX;
    return f->at + 1 < f->source->n ? f->at + 1 : f->passed_over;
}

static bool time_is_up(const struct failover *f)
{
    return f->opts.deadline_us > 0 && loop_now_us(route_loop(f->route)) >= f->opts.deadline_us;
}

static bool may_go_on(const struct failover *f, const struct err *err)
{
    if (next_of(f) == SIZE_MAX || time_is_up(f))
        return false;
    bool refusal = f->source->any_refusal && err->sent == SENT_REFUSED;
    if (!refusal && !health_retryable(err, route_retries_ambiguous(f->route)))
        return false;
    /* Nothing was sent: passing on costs nobody anything. */
    return err->sent == SENT_NO || route_pool_retry(route_pool_of(f->route));
}

/* The next targets, until one begins. False: *err is how the last of them failed. */
static bool go_on(struct failover *f, struct err *err)
{
    while (may_go_on(f, err)) {
        struct err e = {0};
        size_t next = next_of(f);
        f->last = next <= f->at;
        if (try_at(f, next, &e))
            return true;
        *err = e;
    }
    return false;
}

/* --- events
 * ---------------------------------------------------------------------------------------- */

/* False: the client has cancelled, and f is gone. */
static bool tell(struct failover *f, const struct chat_event *ev)
{
    bool gone = false;
    f->gone = &gone;
    f->client->on_event(f->client, ev);
    if (gone)
        return false;
    f->gone = NULL;
    return true;
}

/* An event's values are lent for its call. Without memory the list is empty: it is for a person. */
static void keep_ignored(struct failover *f, const struct chat_event *ev)
{
    size_t n = ev->n_ignored < MAX_IGNORED ? ev->n_ignored : MAX_IGNORED;
    mem_free(TAKE(f->ignored));
    f->start.ignored = NULL;
    f->start.n_ignored = 0;
    if (n == 0 || (f->ignored = mem_alloc(n * (sizeof *f->ignored + ID_BYTES))) == NULL)
        return;
    char *names = (char *)(f->ignored + n);
    for (size_t i = 0; i < n; i++)
        f->ignored[i] = keep(names + i * ID_BYTES, ev->ignored[i]);
    f->start.ignored = f->ignored;
    f->start.n_ignored = n;
}

static void hold_start(struct failover *f, const struct chat_event *ev)
{
    f->start = *ev;
    f->start.id = keep(f->ids[0], ev->id);
    f->start.model = keep(f->ids[1], ev->model);
    keep_ignored(f, ev);
    f->has_start = true;
}

static void hold_usage(struct failover *f, const struct chat_event *ev)
{
    f->used = ev->usage;
    f->report = ev->report;
    f->has_usage = true;
}

static bool tell_usage(struct failover *f)
{
    struct chat_event ev = {.kind = CHAT_EV_USAGE, .usage = f->used, .report = f->report};
    if (!f->has_usage)
        return true;
    f->has_usage = false;
    add(&ev.usage, &f->spent);
    return tell(f, &ev);
}

/* What was held goes out before the first content. False: the client has cancelled. */
static bool deliver(struct failover *f)
{
    if (f->delivered)
        return true;
    f->delivered = true;
    return !f->has_start || tell(f, &f->start);
}

static void end(struct failover *f, const struct chat_event *last)
{
    struct chat_sink *client = f->client;
    failover_free(f);
    client->on_event(client, last);
}

/* The answer had begun: nobody else is asked. */
static void on_cut(struct failover *f, const struct chat_event *last)
{
    if (tell_usage(f))
        end(f, last);
}

static void on_error(struct failover *f, const struct err *err)
{
    struct err e = *err; /* stands in what ends now */
    struct chat_event last = {.kind = CHAT_EV_ERROR, .err = &e};
    struct chat_event usage = {.kind = CHAT_EV_USAGE, .report = f->report};
    f->inner = NULL;
    if (f->delivered) {
        on_cut(f, &last);
        return;
    }
    add(&f->spent, &f->used);
    f->used = (struct chat_usage){0};
    if (go_on(f, &e))
        return;
    usage.usage = f->spent;
    bool spent = f->spent.input > 0 || f->spent.output > 0 || f->spent.cost_nusd != 0;
    if ((!spent && !usage.report) || tell(f, &usage))
        end(f, &last);
}

static void on_finish(struct failover *f, const struct chat_event *ev)
{
    f->inner = NULL;
    if (deliver(f) && tell_usage(f))
        end(f, ev);
}

static void on_event(struct chat_sink *s, const struct chat_event *ev)
{
    struct failover *f = CONTAINER_OF(s, struct failover, sink);
    switch (ev->kind) {
    case CHAT_EV_START:
        hold_start(f, ev);
        return;
    case CHAT_EV_USAGE:
        hold_usage(f, ev);
        if (f->delivered)
            (void)tell_usage(f);
        return;
    case CHAT_EV_MEMBER:
        (void)tell(f, ev);
        return;
    case CHAT_EV_TEXT:
    case CHAT_EV_REASONING:
    case CHAT_EV_REFUSAL:
    case CHAT_EV_TOOL:
        if (deliver(f))
            (void)tell(f, ev);
        return;
    case CHAT_EV_FINISH:
        on_finish(f, ev);
        return;
    case CHAT_EV_ERROR:
        on_error(f, ev->err);
        return;
    }
}

/* --- the client's side
 * ------------------------------------------------------------------------------ */

static void on_cancel(struct chat_call *c, struct chat_usage *out)
{
    struct failover *f = CONTAINER_OF(c, struct failover, call);
    if (f->inner)
        chat_cancel(f->inner, &f->used);
    add(&f->used, &f->spent);
    if (out)
        *out = f->used;
    if (f->gone)
        *f->gone = true;
    failover_free(f);
}

static void on_pause(struct chat_call *c)
{
    struct failover *f = CONTAINER_OF(c, struct failover, call);
    f->paused = true;
    if (f->inner)
        chat_pause(f->inner);
}

static void on_resume(struct chat_call *c)
{
    struct failover *f = CONTAINER_OF(c, struct failover, call);
    f->paused = false;
    if (f->inner)
        chat_resume(f->inner);
}

static const struct chat_call_ops call_ops = {on_cancel, on_pause, on_resume};

static struct chat_call *failover_start(struct chat_source *s, const struct chat_request *r,
                                        const struct chat_start_opts *o, struct chat_sink *sink,
                                        struct err *e)
{
    const struct failover_source *fs = CONTAINER_OF(s, struct failover_source, source);
    struct failover *f = mem_zalloc(sizeof *f);
    struct err why = {0};
    if (!f)
        return err_set(e, ERR_NOMEM, "no memory for a call"), NULL;
    f->call.ops = &call_ops;
    f->sink.on_event = on_event;
    f->source = fs;
    f->route = fs->route;
    f->request = r;
    f->passed_over = SIZE_MAX;
    f->opts = *o;
    if (o->deadline_us == 0 && fs->total_us > 0)
        f->opts.deadline_us = loop_now_us(route_loop(f->route)) + fs->total_us;
    f->client = sink;
    route_pool_first_try(route_pool_of(f->route));
    if (try_at(f, 0, &why) || go_on(f, &why))
        return &f->call;
    failover_free(f);
    if (e)
        *e = why;
    return NULL;
}

static const struct chat_source_ops source_ops = {failover_start};

void failover_source_init(struct failover_source *s, struct route *r,
                          const struct failover_target *targets, size_t n)
{
    *s =
        (struct failover_source){.source.ops = &source_ops, .route = r, .targets = targets, .n = n};
}
