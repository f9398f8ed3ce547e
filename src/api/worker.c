/* api/worker.c - one worker: its loop, its HTTP server and client, and the lane of the snapshot in
 * force. Its own thread, but for worker_init(), worker_stop() and worker_done(). */
#include "api/app_priv.h"

#include "base/mem.h"

struct lane *lane_ref(struct lane *l)
{
    l->refs++;
    return l;
}

void lane_free(struct lane *l)
{
    if (!l || --l->refs > 0)
        return;
    list_push(&l->worker->dead_lanes, &l->node);
    loop_defer(l->worker->loop, &l->worker->bury);
}

static void on_bury(struct loop_task *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, bury);
    struct list *n;
    while ((n = list_pop(&w->dead_lanes)) != NULL) {
        struct lane *l = LIST_ENTRY(n, struct lane, node);
        route_free(l->route);
        upstream_free(l->upstream);
        snapshot_free(l->snapshot);
        mem_free(l);
    }
}

/* --- what a fusion asks of its worker
 * ------------------------------------------------------------------ */

static uint64_t lane_random(void *ctx)
{
    uint64_t n;
    (void)ctx;
    rng_secure(&n, sizeof n); /* fences are made of it */
    return n;
}

static void lane_fusion_id(void *ctx, char out[32])
{
    struct lane *l = ctx;
    char token[25];
    rng_name(&l->worker->names, token, 24);
    (void)snprintf(out, 32, "fus_%s", token);
}

static bool lane_check(void *ctx, const struct recipe *merged, struct err *e)
{
    const struct lane *l = ctx;
    return config_recipe_check(l->snapshot->config, merged, e);
}

const struct fusion_env *worker_fusion_env(struct worker *w)
{
    return &w->lane->fusion_env;
}

static struct lane *lane_new(struct worker *w, struct snapshot *s, struct err *e)
{
    struct lane *l = mem_zalloc(sizeof *l);
    if (!l)
        return err_set(e, ERR_NOMEM, "out of memory"), NULL;
    l->refs = 1;
    list_init(&l->node);
    l->worker = w;
    l->snapshot = snapshot_ref(s);
    struct upstream_env ue = {w->loop, w->http, w->gate, w->app->children, w->app->log};
    l->upstream = upstream_new(&ue, s->upstreams, e);
    if (l->upstream) {
        struct route_env re = {w->loop, w->app->routes, l->upstream, s->config};
        l->route = route_new(&re);
        if (!l->route)
            (void)err_set(e, ERR_NOMEM, "out of memory");
    }
    if (!l->route) {
        lane_free(l);
        return NULL;
    }
    l->fusion_env = (struct fusion_env){.loop = w->loop,
                                        .resolve = lane_resolve,
                                        .ctx = l,
                                        .random = lane_random,
                                        .fusion_id = lane_fusion_id,
                                        .check = lane_check};
    return l;
}

bool worker_adopt(struct worker *w, struct snapshot *s, struct err *e)
{
    struct lane *l = lane_new(w, s, e);
    if (!l)
        return false;
    if (w->lane) {
        lane_free(w->lane);
        http_client_forget(w->http);
    }
    if (w->server)
        http_server_set_tls(w->server, s->tls);
    w->lane = l;
    return true;
}

/* --- posts from the control loop
 * ------------------------------------------------------------------------- */

static void on_reload(struct loop_task *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, on_reload);
    AUTO(snapshot) s = TAKE(w->next);
    struct err e = {0};
    if (!worker_adopt(w, s, &e))
        log_err(w->app->log, LOG_ERROR, "reload_failed_on_worker", SPAN(""), &e);
    loop_post(w->app->control, &w->reloaded);
}

static void on_idle(void *arg)
{
    struct worker *w = arg;
    loop_post(w->app->control, &w->drained);
}

static void on_drain(struct loop_task *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, on_drain);
    http_server_drain(w->server, on_idle, w);
    loop_post(w->app->control, &w->deaf);
}

static void on_cut(struct loop_task *t)
{
    api_chat_cut(CONTAINER_OF(t, struct worker, on_cut));
}

static void on_stop(struct loop_task *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, on_stop);
    http_server_free(w->server); /* open exchanges are told, their calls cancelled and booked */
    w->server = NULL;
    loop_stop(w->loop);
}

static struct metric *requests(struct worker *w, const char *outcome)
{
    struct buf b;
    buf_init(&b, KIB(1));
    struct metric *m = NULL;
    if (metric_label(&b, "outcome", span_of(outcome), NULL))
        m = metric_get(w->app->metrics, "fusor_requests_total", "Client requests by outcome",
                       METRIC_COUNTER, buf_span(&b));
    buf_done(&b);
    return m;
}

static void worker_metrics(struct worker *w)
{
    struct metrics *m = w->app->metrics;
    w->metrics.ok = requests(w, "ok");
    w->metrics.client_error = requests(w, "client_error");
    w->metrics.server_error = requests(w, "server_error");
    w->metrics.left = requests(w, "client_left");
    w->metrics.seconds = metric_get(m, "fusor_request_seconds", "Duration of client requests",
                                    METRIC_SECONDS, SPAN(""));
    w->metrics.fusions =
        metric_get(m, "fusor_fusions_total", "Fused requests", METRIC_COUNTER, SPAN(""));
}

bool worker_init(struct worker *w, struct app *a, struct loop *loop, struct err *e)
{
    rng_init_secure(&w->names);
    buf_init(&w->out, LIMIT_OUT_MAX_BYTES);
    list_init(&w->replies);
    list_init(&w->dead_lanes);
    loop_task_init(&w->bury, on_bury);
    w->app = a;
    w->own_loop = loop == NULL;
    w->loop = loop ? loop : loop_new(e);
    if (!w->loop)
        return false;
    loop_task_init(&w->on_reload, on_reload);
    loop_task_init(&w->on_drain, on_drain);
    loop_task_init(&w->on_cut, on_cut);
    loop_task_init(&w->on_stop, on_stop);
    worker_metrics(w);
    w->http = http_client_new(w->loop, 256, (int64_t)50 * 1000 * 1000, e);
    if (!w->http)
        return false;
    w->gate = gate_new(w->loop, a->store);
    if (!w->gate)
        return err_set(e, ERR_NOMEM, "out of memory");
    return true;
}

void worker_stop(struct worker *w)
{
    if (w->running) {
        loop_post(w->loop, &w->on_stop);
        (void)pthread_join(w->thread, NULL);
        w->running = false;
    }
    http_server_free(w->server);
    lane_free(w->lane);
    loop_undefer(&w->bury);
    on_bury(&w->bury);
    http_client_free(w->http);
    gate_free(w->gate);
    snapshot_free(w->next);
}

void worker_done(struct worker *w)
{
    if (w->loop)
        (void)loop_step(
            w->loop); /* replies that nobody waits for: their memory is all that is left */
    if (w->own_loop)
        loop_free(w->loop);
    buf_done(&w->out);
}
