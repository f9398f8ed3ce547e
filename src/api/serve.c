/* api/serve.c - serving: listening sockets, a thread per worker, signals, drain. */
#include <signal.h>
#include <unistd.h>
#include <uv.h>

#include "api/app_priv.h"
#include "base/limits.h"
#include "base/mem.h"

/* The signals' handles live on the control loop until app_free() has written everything: the
 * default would end the process before that. */
struct app_signals {
    struct app *app;
    uv_signal_t term, interrupt, hangup;
};

/* The time to drain is up: open answers end with an error that their clients see, and a client that
 * does not read even that is left alone after a second. */
static void cut(struct app *a)
{
    if (a->cut || !loop_timer_start(&a->drain_timer, 1000 * 1000)) {
        loop_stop(a->control);
        return;
    }
    a->cut = true;
    LOG_EVENT(a->log, LOG_WARN, "drain_cut", LOG_I("workers_left", (int64_t)a->drain_left));
    for (size_t i = 0; i < a->n_workers; i++)
        loop_post(a->workers[i].loop, &a->workers[i].on_cut);
}

static void on_signal(uv_signal_t *h, int signum)
{
    struct app *a = ((struct app_signals *)h->data)->app;
    struct err e = {0};
    if (a->state == APP_ENDED)
        return;
    if (signum != SIGHUP) {
        if (a->state == APP_DRAINING)
            cut(a); /* asked twice: now */
        else
            app_drain(a);
        return;
    }
    if (!app_reload(a, &e)) {
        log_err(a->log, LOG_ERROR, "reload_failed", SPAN(""), &e);
        (void)fprintf(stderr, "fusor: reload failed, the old configuration stays: %s\n", e.msg);
    }
}

static bool watch(uv_loop_t *loop, uv_signal_t *h, struct app_signals *s, int signum, struct err *e)
{
    int rc = uv_signal_init(loop, h);
    h->data = s;
    if (rc == 0)
        rc = uv_signal_start(h, on_signal, signum);
    if (rc != 0)
        return err_set(e, ERR_SYS, "cannot watch signal %d: %s", signum, uv_strerror(rc));
    return true;
}

static bool watch_signals(struct app *a, struct err *e)
{
    uv_loop_t *uv = loop_uv(a->control);
    struct app_signals *s = a->signals = mem_zalloc(sizeof *a->signals);
    if (!s)
        return err_set(e, ERR_NOMEM, "out of memory");
    s->app = a;
    return watch(uv, &s->term, s, SIGTERM, e) && watch(uv, &s->interrupt, s, SIGINT, e) &&
           watch(uv, &s->hangup, s, SIGHUP, e);
}

/* --- drain
 * --------------------------------------------------------------------------------------------------
 */

static void on_drained(struct loop_task *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, drained);
    if (--w->app->drain_left == 0)
        loop_stop(w->app->control);
}

static void on_drain_timeout(struct loop_timer *t)
{
    cut(CONTAINER_OF(t, struct app, drain_timer));
}

/* When no worker accepts any more nobody new may come: who connects then would wait for nothing. */
static void on_deaf(struct loop_task *t)
{
    struct app *a = CONTAINER_OF(t, struct worker, deaf)->app;
    if (--a->deaf_left > 0)
        return;
    (void)close(a->listen_fd);
    (void)close(a->socket_fd);
    a->listen_fd = a->socket_fd = -1;
    (void)unlink(a->socket_path);
    a->socket_path[0] = '\0';
}

void app_drain(struct app *a)
{
    a->state = APP_DRAINING;
    atomic_store(&a->draining, true);
    LOG_EVENT(a->log, LOG_INFO, "draining",
              LOG_I("limit_ms", a->snapshot->config->drain_us / 1000));
    loop_timer_init(&a->drain_timer, a->control, on_drain_timeout);
    if (!loop_timer_start(&a->drain_timer, a->snapshot->config->drain_us))
        loop_stop(a->control);
    a->drain_left = a->deaf_left = a->n_workers;
    for (size_t i = 0; i < a->n_workers; i++) {
        loop_task_init(&a->workers[i].deaf, on_deaf);
        loop_task_init(&a->workers[i].drained, on_drained);
        loop_post(a->workers[i].loop, &a->workers[i].on_drain);
    }
}

/* --- start
 * ----------------------------------------------------------------------------------------------------
 */

static struct http_server_config server_config(const struct config *c)
{
    const int64_t second = 1000 * 1000;
    return (struct http_server_config){.head_timeout_us = 10 * second,
                                       .idle_timeout_us = 75 * second,
                                       .body_timeout_us = 30 * second,
                                       .write_timeout_us = 60 * second,
                                       .half_close_keep = c->half_close_keep,
                                       .max_connections = 20000};
}

static bool open_sockets(struct app *a, struct err *e)
{
    struct config *c = a->snapshot->config;
    int port = 0;
    a->listen_fd = http_listen_tcp(c->listen.address, c->listen.port, &port, e);
    if (a->listen_fd < 0)
        return false;
    a->listen_port = c->listen.port;
    c->listen.port = port; /* a port 0 has become a real one: nobody else has the snapshot yet */
    if (!app_socket_path(c, a->socket_path, sizeof a->socket_path)) {
        a->socket_path[0] = '\0';
        return err_set(e, ERR_CONFIG, "state_dir: the path is too long for a Unix socket");
    }
    a->socket_fd = http_listen_unix(a->socket_path, e);
    if (a->socket_fd < 0)
        a->socket_path[0] = '\0'; /* not ours to remove */
    return a->socket_fd >= 0;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    loop_run(w->loop);
    return NULL;
}

static bool start_worker(struct app *a, struct worker *w, struct err *e)
{
    struct http_server_config sc = server_config(a->snapshot->config);
    w->server = http_server_new(w->loop, &api_http_handler, w, &sc, e);
    if (!w->server || !http_server_listen(w->server, a->listen_fd, a->snapshot->tls, false, e) ||
        !http_server_listen(w->server, a->socket_fd, NULL, true, e))
        return false;
    if (pthread_create(&w->thread, NULL, worker_main, w) != 0)
        return err_set(e, ERR_SYS, "cannot start a worker thread");
    w->running = true;
    return true;
}

static void say_hello(const struct app *a)
{
    const struct config *c = a->snapshot->config;
    bool v6 = strchr(c->listen.address, ':') != NULL;
    (void)fprintf(stderr,
                  "fusor %s listens on %s://%s%s%s:%d (%zu worker%s, configuration: %.*s)\n",
                  FUSOR_VERSION, a->snapshot->tls ? "https" : "http", v6 ? "[" : "",
                  c->listen.address, v6 ? "]" : "", c->listen.port, a->n_workers,
                  a->n_workers == 1 ? "" : "s", SPAN_ARG(c->source));
    if (c->insecure)
        (void)fprintf(stderr, "fusor: warning: `insecure: true`: keys and prompts may travel in "
                              "the clear, and anybody who reaches the port may spend\n");
    (void)fflush(stderr);
}

bool app_serve(struct app *a, struct err *e)
{
    (void)signal(SIGPIPE, SIG_IGN);
    mem_keep_freed(LIMIT_KEPT_HEAP_BYTES, LIMIT_KEPT_BLOCK_BYTES);
    if (!open_sockets(a, e))
        return false;
    bool ok = watch_signals(a, e);
    for (size_t i = 0; ok && i < a->n_workers; i++)
        ok = start_worker(a, &a->workers[i], e);
    if (ok) {
        a->state = APP_SERVING;
        say_hello(a);
        LOG_EVENT(a->log, LOG_INFO, "listening", LOG_I("port", a->snapshot->config->listen.port));
        loop_run(a->control);
    }
    a->state = APP_ENDED;
    return ok;
}
