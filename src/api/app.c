/* api/app.c - see api/app.h: opening and closing, snapshots, reload. Control thread only, but for
 * what says otherwise. */
#include "api/app_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

struct snapshot *snapshot_load(const char *path, struct err *e)
{
    struct snapshot *s = mem_zalloc(sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "out of memory"), NULL;
    atomic_store(&s->refs, 1);
    s->config = config_load(path, e);
    bool ok = s->config != NULL;
    if (ok) {
        s->upstreams = upstream_shared_new(s->config, e);
        ok = s->upstreams != NULL;
    }
    if (ok && s->config->tls_cert.n > 0) {
        s->tls = tls_server_new(s->config->tls_cert.p, s->config->tls_key.p, e);
        ok = s->tls != NULL;
    }
    if (ok)
        return s;
    snapshot_free(s);
    return NULL;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void snapshot_free(struct snapshot *s)
{
    if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
        return;
    tls_free(s->tls);
    upstream_shared_free(s->upstreams);
    config_free(s->config);
    mem_free(s);
}

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The directory that stands `up` above the one of this program. The link is free of "..", so that
 * cutting its text is enough. */
static bool above_program(size_t up, char out[static PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = '\0';
    for (size_t i = 0; i <= up; i++) {
        char *slash = strrchr(out, '/');
        if (slash)
            *slash = '\0';
    }
    return n > 0;
}

bool app_runtime_place(size_t i, char *out, size_t cap)
{
    /* installed: PREFIX/bin/fusor and PREFIX/lib/fusor; built: build/src/cli/fusor and .runtime */
    static const struct {
        size_t up;
        const char *name;
    } places[] = {{1, "lib/fusor"}, {3, ".runtime"}};
    const char *env = getenv("FUSOR_RUNTIME");
    char dir[PATH_MAX];
    if (env && *env)
        return i == 0 && snprintf(out, cap, "%s", env) < (int)cap;
    return i < COUNT_OF(places) && above_program(places[i].up, dir) &&
           snprintf(out, cap, "%s/%s", dir, places[i].name) < (int)cap;
}

bool app_runtime_dir(char *out, size_t cap)
{
    for (size_t i = 0; app_runtime_place(i, out, cap); i++)
        if (is_dir(out))
            return true;
    return false;
}

bool app_socket_path(const struct config *c, char *out, size_t cap)
{
    return snprintf(out, cap, "%.*s/fusor.sock", SPAN_ARG(c->state_dir)) < (int)cap;
}

static bool open_shared(struct app *a, struct err *e)
{
    char runtime[PATH_MAX] = "", keys[PATH_MAX];
    struct span dir = a->snapshot->config->state_dir;
    a->store = store_open(dir.p, e);
    if (!a->store)
        return false;
    a->metrics = metrics_new();
    a->routes = route_pool_new(a->metrics);
    if (!a->metrics || !a->routes)
        return err_set(e, ERR_NOMEM, "out of memory");
    (void)app_runtime_dir(runtime, sizeof runtime);
    if (snprintf(keys, sizeof keys, "%.*s/local", SPAN_ARG(dir)) >= (int)sizeof keys)
        return err_set(e, ERR_CONFIG, "state_dir: the path is too long");
    if (mkdir(keys, 0700) != 0 && errno != EEXIST)
        return err_set(e, ERR_SYS, "cannot make the directory %s: %s", keys, strerror(errno));
    a->children = child_pool_new(a->control, a->log, runtime, keys, e);
    if (!a->children)
        return false;
    child_pool_config(a->children, a->snapshot->config);
    return route_pool_config(a->routes, a->snapshot->config, e);
}

static bool open_workers(struct app *a, bool serve, struct err *e)
{
    int64_t n = 1;
    if (serve) {
        n = a->snapshot->config->workers;
        if (n <= 0)
            n = sysconf(_SC_NPROCESSORS_ONLN);
        n = n < 1 ? 1 : n > LIMIT_WORKERS ? LIMIT_WORKERS : n;
    }
    for (int64_t i = 0; i < n; i++) {
        struct worker *w = &a->workers[i];
        a->n_workers++; /* counted first, so that a half-made one is ended too */
        if (!worker_init(w, a, serve ? NULL : a->control, e) || !worker_adopt(w, a->snapshot, e))
            return false;
    }
    return true;
}

/* A server's log goes where the configuration says; of a command, where the command says. */
static bool open_log(struct app *a, int fd, struct err *e)
{
    struct span file = a->snapshot->config->log_file;
    if (fd < 0)
        return true;
    if (file.n > 0) {
        a->log_fd = open(file.p, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (a->log_fd < 0)
            return err_set(e, ERR_CONFIG, "log: cannot open %.*s: %s", SPAN_ARG(file),
                           strerror(errno));
        fd = a->log_fd;
    }
    a->log = log_new(fd, getenv("FUSOR_LOG"));
    return a->log || err_set(e, ERR_NOMEM, "out of memory");
}

struct app *app_open(const struct app_options *o, struct err *e)
{
    AUTO(app) a = mem_zalloc(sizeof *a);
    if (!a)
        return err_set(e, ERR_NOMEM, "out of memory"), NULL;
    a->listen_fd = a->socket_fd = a->log_fd = -1;
    a->started_wall_ms = clock_wall_ms();
    list_init(&a->reload_waiters);
    if (o->config_path) {
        a->config_path = mem_dup(o->config_path, strlen(o->config_path));
        if (!a->config_path)
            return err_set(e, ERR_NOMEM, "out of memory"), NULL;
    }
    a->snapshot = snapshot_load(a->config_path, e);
    if (!a->snapshot)
        return NULL;
    a->control = loop_new(e);
    if (!a->control)
        return NULL;
    if (!open_log(a, o->log_fd, e) || !open_shared(a, e) || !open_workers(a, o->serve, e))
        return NULL;
    return TAKE(a);
}

static void tell_waiters(struct app *a, const struct err *err)
{
    struct list *n;
    while ((n = list_pop(&a->reload_waiters))) {
        struct reload_wait *w = LIST_ENTRY(n, struct reload_wait, node);
        w->failed = err != NULL;
        if (err)
            w->err = *err;
        loop_post(w->loop, &w->back);
    }
}

/* Who still waits for a reload is told by a post to its worker's loop, as always. */
static void end_reloads(struct app *a)
{
    struct err e = {0};
    (void)err_set(&e, ERR_UNAVAILABLE, "the server is shutting down");
    (void)loop_step(a->control); /* requests on their way */
    tell_waiters(a, &e);
}

void app_free(struct app *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->n_workers; i++)
        worker_stop(&a->workers[i]);
    if (a->state == APP_ENDED)
        end_reloads(a);
    child_pool_free(a->children);
    store_close(a->store);
    for (size_t i = 0; i < a->n_workers; i++)
        worker_done(&a->workers[i]);
    loop_free(a->control);
    mem_free(a->signals);
    snapshot_free(a->snapshot);
    route_pool_free(a->routes);
    metrics_free(a->metrics);
    log_free(a->log);
    if (a->log_fd >= 0)
        (void)close(a->log_fd);
    if (a->listen_fd >= 0)
        (void)close(a->listen_fd);
    if (a->socket_fd >= 0)
        (void)close(a->socket_fd);
    if (a->socket_path[0])
        (void)unlink(a->socket_path);
    mem_free(a->config_path);
    mem_free(a);
}

struct worker *app_worker(struct app *a)
{
    return &a->workers[0];
}

struct loop *app_loop(struct app *a)
{
    return a->control;
}

const struct config *app_config(const struct app *a)
{
    return a->snapshot->config;
}

/* --- reload
 * ------------------------------------------------------------------------------------------ */

static void on_reloaded(struct loop_task *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, reloaded);
    struct app *a = w->app;
    if (--a->reload_acks_left > 0)
        return;
    tell_waiters(a, NULL);
    if (!a->reload_again)
        return;
    a->reload_again = false;
    struct err e = {0};
    if (!app_reload(a, &e))
        log_err(a->log, LOG_ERROR, "reload_failed", SPAN(""), &e);
}

/* What a running process cannot change: it would need the sockets or the store to be opened anew.
 */
static bool same_place(const struct app *a, struct config *now, struct err *e)
{
    const struct config *was = a->snapshot->config;
    bool same_port = now->listen.port == a->listen_port || now->listen.port == was->listen.port;
    if (strcmp(was->listen.address, now->listen.address) != 0 || !same_port)
        return err_set(e, ERR_CONFIG, "listen cannot change while running; restart fusor");
    if (!span_eq(was->state_dir, now->state_dir))
        return err_set(e, ERR_CONFIG, "state_dir cannot change while running; restart fusor");
    if ((was->tls_cert.n > 0) != (now->tls_cert.n > 0))
        return err_set(e, ERR_CONFIG,
                       "tls cannot be switched on or off while running; restart fusor");
    if (!span_eq(was->log_file, now->log_file))
        return err_set(e, ERR_CONFIG, "log cannot change while running; restart fusor");
    if (was->workers != now->workers)
        return err_set(e, ERR_CONFIG, "workers cannot change while running; restart fusor");
    if (was->half_close_keep != now->half_close_keep)
        return err_set(e, ERR_CONFIG, "half_close cannot change while running; restart fusor");
    now->listen.port = was->listen.port; /* the real one, where 0 was asked */
    return true;
}

bool app_reload(struct app *a, struct err *e)
{
    if (a->state == APP_ENDED)
        return err_set(e, ERR_UNAVAILABLE, "the server is shutting down");
    if (a->reload_acks_left > 0) {
        a->reload_again = true;
        return true;
    }
    AUTO(snapshot) s = snapshot_load(a->config_path, e);
    if (!s || !same_place(a, s->config, e) || !route_pool_config(a->routes, s->config, e))
        return false;
    child_pool_config(a->children, s->config);
    snapshot_free(a->snapshot);
    a->snapshot = TAKE(s);
    a->reload_acks_left = a->n_workers;
    for (size_t i = 0; i < a->n_workers; i++) {
        struct worker *w = &a->workers[i];
        w->next = snapshot_ref(a->snapshot);
        loop_task_init(&w->reloaded, on_reloaded);
        loop_post(w->loop, &w->on_reload);
    }
    LOG_EVENT(a->log, LOG_INFO, "reloaded", LOG_S("file", a->snapshot->config->source));
    return true;
}

static void on_reload_wanted(struct loop_task *t)
{
    struct reload_wait *w = CONTAINER_OF(t, struct reload_wait, to_control);
    struct app *a = w->app;
    struct err e = {0};
    list_push(&a->reload_waiters, &w->node);
    if (app_reload(a, &e))
        return;
    log_err(a->log, LOG_ERROR, "reload_failed", SPAN(""), &e);
    tell_waiters(a, &e);
}

static void on_wait_back(struct loop_task *t)
{
    struct reload_wait *w = CONTAINER_OF(t, struct reload_wait, back);
    w->on_done(w);
}

void app_reload_post(struct app *a, struct reload_wait *w)
{
    w->app = a;
    list_init(&w->node);
    loop_task_init(&w->to_control, on_reload_wanted);
    loop_task_init(&w->back, on_wait_back);
    loop_post(a->control, &w->to_control);
}
