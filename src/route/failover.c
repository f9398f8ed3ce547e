/* route/failover.c - see route/failover.h. One call holds at most one inner call; START and USAGE
 * of a try wait until its first content, so that a client never sees two beginnings. */
#include "route/failover.h"

#include "base/mem.h"
#include "route/health.h"
#include "route/pool.h"

/* Longer ids are nobody's. */
#define ID_BYTES 256

struct failover {
    struct chat_call call;
    struct chat_sink sink;
    const struct failover_source *source;
    struct route *route;
    const struct chat_request *request;
    struct chat_start_opts opts;
    struct chat_sink *client;
    struct chat_call *inner; /* NULL between two tries */
    size_t at;               /* target that runs */
    bool paused, delivered, has_start;
    bool *gone; /* set when the client cancels below a call of it; NULL: none is under way */
    struct chat_event start; /* held: its spans stand in ids */
    char ids[2][ID_BYTES];
    struct chat_usage used, spent; /* of this try; of those before */
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

static void add(struct chat_usage *sum, const struct chat_usage *u)
{
    sum->input += u->input;
    sum->cached += u->cached;
    sum->cache_write += u->cache_write;
    sum->output += u->output;
    sum->reasoning += u->reasoning;
    sum->cost_nusd = sum->cost_nusd < 0 || u->cost_nusd < 0 ? -1 : sum->cost_nusd + u->cost_nusd;
    sum->estimated = sum->estimated || u->estimated;
}

/* --- trying
 * ---------------------------------------------------------------------------------------- */

static bool try_at(struct failover *f, size_t at, struct err *e)
{
    const struct failover_target *t = &f->source->targets[at];
    struct chat_start_opts o = f->opts;
    o.spare = f->opts.spare || at + 1 < f->source->n;
    o.rules = t->rules ? t->rules : f->opts.rules;
    f->at = at;
    f->has_start = f->has_usage = false;
    f->report = NULL;
    f->inner = chat_start(t->source, f->request, &o, &f->sink, e);
    if (f->inner && f->paused)
        chat_pause(f->inner);
    return f->inner != NULL;
}

static bool may_go_on(const struct failover *f, const struct err *err)
{
    if (f->delivered || f->at + 1 >= f->source->n)
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
        if (try_at(f, f->at + 1, &e))
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

static void hold_start(struct failover *f, const struct chat_event *ev)
{
    f->start = *ev; /* the list of what was ignored lives as long as the try */
    f->start.id = keep(f->ids[0], ev->id);
    f->start.model = keep(f->ids[1], ev->model);
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
    mem_free(f);
    client->on_event(client, last);
}

static void on_error(struct failover *f, const struct err *err)
{
    struct err e = *err; /* stands in what ends now */
    struct chat_event last = {.kind = CHAT_EV_ERROR, .err = &e};
    f->inner = NULL;
    if (f->has_usage && !f->delivered) {
        add(&f->spent, &f->used);
        f->has_usage = false;
    }
    if (go_on(f, &e))
        return;
    bool spent = f->spent.input > 0 || f->spent.output > 0 || f->spent.cost_nusd != 0;
    struct chat_event usage = {.kind = CHAT_EV_USAGE, .usage = f->spent};
    if (f->delivered || !spent || tell(f, &usage))
        end(f, &last);
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
        if (f->delivered && !tell_usage(f))
            return;
        return;
    case CHAT_EV_MEMBER:
        if (!tell(f, ev))
            return;
        return;
    case CHAT_EV_TEXT:
    case CHAT_EV_REASONING:
    case CHAT_EV_REFUSAL:
    case CHAT_EV_TOOL:
        if (deliver(f) && !tell(f, ev))
            return;
        return;
    case CHAT_EV_FINISH:
        if (deliver(f) && tell_usage(f))
            end(f, ev);
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
    struct chat_usage used = {0};
    if (f->inner)
        chat_cancel(f->inner, &used);
    add(&used, &f->spent);
    if (out)
        *out = used;
    if (f->gone)
        *f->gone = true;
    mem_free(f);
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
    f->opts = *o;
    if (o->deadline_us == 0 && fs->total_us > 0)
        f->opts.deadline_us = loop_now_us(route_loop(f->route)) + fs->total_us;
    f->client = sink;
    route_pool_first_try(route_pool_of(f->route));
    if (try_at(f, 0, &why) || go_on(f, &why))
        return &f->call;
    mem_free(f);
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
