/* api/ops.c - what operators ask: health, readiness, metrics; and the admin routes of the socket.
 */
#include "api/edge.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "json/json.h"

void api_healthz(struct api_request *rq)
{
    api_reply_json(rq, 200, SPAN("{\"status\":\"ok\"}\n"));
}

void api_readyz(struct api_request *rq)
{
    struct app *a = rq->worker->app;
    struct store_health h;
    store_health_of(a->store, &h);
    struct err e = {0};
    if (atomic_load(&a->draining))
        (void)err_set(&e, ERR_UNAVAILABLE, "draining: this process is about to end");
    else if (!h.ledger_ok)
        (void)err_set(&e, ERR_UNAVAILABLE, "the ledger cannot be written: %s", h.message);
    if (e.cls != ERR_NONE)
        api_reply_error(rq, &e);
    else
        api_reply_json(rq, 200, SPAN("{\"status\":\"ready\"}\n"));
}

static void reply_text(struct api_request *rq, struct span body)
{
    struct http_header h[API_MAX_HEADERS];
    struct http_exchange *x = rq->x;
    rq->overhead_us = clock_mono_us() - rq->start_us;
    size_t n = api_headers(rq, "text/plain; version=0.0.4; charset=utf-8", NULL, h);
    api_request_end(rq, 200, "ok");
    http_reply(x, 200, h, n, body);
}

void api_metrics(struct api_request *rq)
{
    struct app *a = rq->worker->app;
    struct err e = {0};
    struct buf b;
    buf_init(&b, MIB(16));
    if (metrics_write(a->metrics, &b, &e))
        reply_text(rq, buf_span(&b));
    else
        api_reply_error(rq, &e);
    buf_done(&b);
}

void api_admin_config(struct api_request *rq)
{
    struct err e = {0};
    struct buf b;
    buf_init(&b, LIMIT_CONFIG_BYTES * 2);
    if (config_show(rq->lane->snapshot->config, &b, &e))
        reply_text(rq, buf_span(&b));
    else
        api_reply_error(rq, &e);
    buf_done(&b);
}

/* --- state: for `fusor doctor`
 * ---------------------------------------------------------------------------- */

static const char *child_word(enum child_state s)
{
    switch (s) {
    case CHILD_STOPPED:
        return "stopped";
    case CHILD_STARTING:
        return "starting";
    case CHILD_READY:
        return "ready";
    case CHILD_BACKOFF:
        return "failing";
    }
    return "";
}

static void write_providers(struct json_w *w, struct app *a, const struct config *c)
{
    json_w_key(w, "providers");
    json_w_arr(w);
    for (size_t i = 0; i < c->n_providers; i++) {
        const struct config_provider *p = &c->providers[i];
        json_w_obj(w);
        json_w_key(w, "name");
        json_w_str(w, p->name);
        if (p->kind == PROVIDER_LOCAL) {
            json_w_key(w, "state");
            json_w_cstr(w, child_word(child_state_of(a->children, p->name)));
        }
        json_w_obj_end(w);
    }
    json_w_arr_end(w);
}

static void write_one_health(void *owner, const struct route_health *h)
{
    struct json_w *w = owner;
    json_w_obj(w);
    json_w_key(w, "model");
    json_w_str(w, h->model);
    json_w_key(w, "state");
    json_w_cstr(w, h->state);
    json_w_key(w, "failures");
    json_w_i64(w, h->failures);
    json_w_key(w, "wait_s");
    json_w_i64(w, (h->wait_us + 999999) / 1000000);
    json_w_obj_end(w);
}

static void write_health(struct json_w *w, const struct worker *worker)
{
    json_w_key(w, "health");
    json_w_arr(w);
    route_pool_health(worker->app->routes, loop_now_us(worker->loop), write_one_health, w);
    json_w_arr_end(w);
}

struct state_wait {
    struct store_totals totals;
    struct api_request *rq;
    bool left; /* the client has gone: only our own memory is left to free */
};

static void state_left(void *owner)
{
    struct state_wait *s = owner;
    api_request_end(s->rq, 499, "left");
    s->left = true;
}

static void write_state(struct json_w *w, struct state_wait *s)
{
    struct app *a = s->rq->worker->app;
    struct store_health h;
    store_health_of(a->store, &h);
    json_w_obj(w);
    json_w_key(w, "version");
    json_w_cstr(w, FUSOR_VERSION);
    json_w_key(w, "pid");
    json_w_i64(w, getpid());
    json_w_key(w, "address");
    json_w_cstr(w, s->rq->lane->snapshot->config->listen.address);
    json_w_key(w, "port");
    json_w_i64(w, s->rq->lane->snapshot->config->listen.port);
    json_w_key(w, "config");
    json_w_str(w, s->rq->lane->snapshot->config->source);
    json_w_key(w, "uptime_s");
    json_w_i64(w, (clock_wall_ms() - a->started_wall_ms) / 1000);
    json_w_key(w, "workers");
    json_w_i64(w, (int64_t)a->n_workers);
    json_w_key(w, "ledger_ok");
    json_w_bool(w, h.ledger_ok);
    json_w_key(w, "archive_ok");
    json_w_bool(w, h.archive_ok);
    json_w_key(w, "archive_dropped");
    json_w_i64(w, (int64_t)h.archive_dropped);
    json_w_key(w, "store_message");
    json_w_cstr(w, h.message);
    json_w_key(w, "calls");
    json_w_i64(w, s->totals.calls);
    json_w_key(w, "spent_usd");
    json_w_nusd(w, s->totals.cost_nusd);
    json_w_key(w, "calls_without_price");
    json_w_i64(w, s->totals.unknown_cost_calls);
    write_providers(w, a, s->rq->lane->snapshot->config);
    write_health(w, s->rq->worker);
    json_w_obj_end(w);
}

static void on_totals(struct store_reply *r, const struct err *err)
{
    struct state_wait *s = CONTAINER_OF(r, struct state_wait, totals.reply);
    struct err e = {0};
    struct buf b;
    struct json_w w;
    buf_init(&b, MIB(1));
    if (!s->left && err) {
        api_reply_error(s->rq, err);
    } else if (!s->left) {
        json_w_init(&w, &b, &e);
        write_state(&w, s);
        if (json_w_end(&w))
            api_reply_json(s->rq, 200, buf_span(&b));
        else
            api_reply_error(s->rq, &e);
    }
    buf_done(&b);
    mem_free(s);
}

void api_admin_state(struct api_request *rq)
{
    struct state_wait *s = mem_zalloc(sizeof *s);
    if (!s) {
        struct err e = {0};
        (void)err_set(&e, ERR_NOMEM, "out of memory");
        api_reply_error(rq, &e);
        return;
    }
    s->rq = rq;
    s->totals.reply.loop = rq->worker->loop;
    s->totals.reply.on_reply = on_totals;
    http_watch(rq->x, s, state_left, NULL);
    store_get_totals(rq->worker->app->store, &s->totals);
}

/* --- reload
 * ------------------------------------------------------------------------------------------------
 */

struct reload_request {
    struct reload_wait wait;
    struct api_request *rq;
    bool left;
};

static void reload_left(void *owner)
{
    struct reload_request *r = owner;
    api_request_end(r->rq, 499, "left");
    r->left = true;
}

static void reload_done(struct reload_wait *w)
{
    struct reload_request *r = CONTAINER_OF(w, struct reload_request, wait);
    if (!r->left && w->failed)
        api_reply_error(r->rq, &w->err);
    else if (!r->left)
        api_reply_json(r->rq, 200, SPAN("{\"status\":\"reloaded\"}\n"));
    mem_free(r);
}

void api_admin_reload(struct api_request *rq)
{
    struct reload_request *r = mem_zalloc(sizeof *r);
    if (!r) {
        struct err e = {0};
        (void)err_set(&e, ERR_NOMEM, "out of memory");
        api_reply_error(rq, &e);
        return;
    }
    r->rq = rq;
    r->wait.loop = rq->worker->loop;
    r->wait.on_done = reload_done;
    http_watch(rq->x, r, reload_left, NULL);
    app_reload_post(rq->worker->app, &r->wait);
}
