/* http/server.c - see http/server.h: the server itself, its listeners, drain. */
#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/server_priv.h"
#include "http/tls.h"

enum { ACCEPTS_PER_TURN = 16, ACCEPT_RETRY_US = 100000 };

/* --- life ------------------------------------------------------------------------------------- */
static void on_idle_task(struct loop_task *t)
{
    struct http_server *s = CONTAINER_OF(t, struct http_server, idle_task);
    void (*fn)(void *) = s->on_idle;
    s->on_idle = NULL;
    if (fn != NULL)
        fn(s->on_idle_arg);
}

struct http_server *http_server_new(struct loop *l, const struct http_handler *h, void *app,
                                    const struct http_server_config *c, struct err *e)
{
    struct http_server *s = mem_zalloc(sizeof *s);
    char *rbuf = mem_alloc(READ_BYTES);
    if (s == NULL || rbuf == NULL) {
        mem_free(s);
        mem_free(rbuf);
        err_set(e, ERR_NOMEM, "http: no memory for a server");
        return NULL;
    }
    s->loop = l;
    s->handler = h;
    s->app = app;
    s->config = *c;
    s->rbuf = rbuf;
    list_init(&s->listeners);
    list_init(&s->conns);
    list_init(&s->free_exchanges);
    loop_task_init(&s->idle_task, on_idle_task);
    return s;
}

static void on_listener_closed(uv_handle_t *h)
{
    mem_free(h->data);
}

static void listener_close(struct listener *l)
{
    list_remove(&l->node);
    loop_timer_stop(&l->retry);
    tls_free(TAKE(l->tls));
    uv_close((uv_handle_t *)&l->poll, on_listener_closed);
}

static void close_listeners(struct http_server *s)
{
    while (!list_empty(&s->listeners))
        listener_close(LIST_ENTRY(s->listeners.next, struct listener, node));
}

void http_server_free(struct http_server *s)
{
    if (s == NULL)
        return;
    s->on_idle = NULL;
    close_listeners(s);
    while (!list_empty(&s->conns))
        conn_lost(LIST_ENTRY(s->conns.next, struct conn, node));
    loop_undefer(&s->idle_task);
    exchange_drop_pool(s);
    mem_free(s->rbuf);
    mem_free(s);
}

size_t http_server_connections(const struct http_server *s)
{
    return s->n_conns;
}

struct span server_date(struct http_server *s)
{
    int64_t now_s = clock_wall_ms() / 1000;
    if (now_s != s->date_s) {
        time_t t = (time_t)now_s;
        struct tm tm;
        gmtime_r(&t, &tm);
        /* IMF-fixdate (RFC 9110, 5.6.7); the program never leaves the C locale's names of days */
        strftime(s->date, sizeof s->date, "date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        s->date_s = now_s;
    }
    return span_of(s->date);
}

/* --- accepting -------------------------------------------------------------------------------- */
static void turn_away(const struct listener *l, int fd)
{
    static const char busy[] = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n"
                               "retry-after: 1\r\nconnection: close\r\n\r\n";
    if (l->tls == NULL && send(fd, busy, sizeof busy - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        errno = 0; /* it is closed anyway */
    close(fd);
}

static void on_poll(uv_poll_t *h, int status, int events);

/* Out of descriptors the queue stays readable: look away for a while instead of spinning. */
static void look_away(struct listener *l)
{
    uv_poll_stop(&l->poll);
    if (!loop_timer_start(&l->retry, ACCEPT_RETRY_US))
        uv_poll_start(&l->poll, UV_READABLE, on_poll);
}

static void accept_some(struct listener *l, int most)
{
    struct http_server *s = l->server;
    for (int i = 0; i < most; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == ECONNABORTED || errno == EINTR || errno == EPROTO))
            continue;
        if (fd < 0) {
            if (errno != EAGAIN)
                look_away(l);
            return;
        }
        if (s->config.max_connections > 0 && s->n_conns >= s->config.max_connections)
            turn_away(l, fd);
        else
            conn_new(s, l, fd);
    }
}

static void on_retry(struct loop_timer *t)
{
    struct listener *l = CONTAINER_OF(t, struct listener, retry);
    uv_poll_start(&l->poll, UV_READABLE, on_poll);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct listener *l = h->data;
    if (status < 0)
        look_away(l);
    else
        accept_some(l, ACCEPTS_PER_TURN);
}

bool http_server_listen(struct http_server *s, int fd, struct tls *tls, bool local, struct err *e)
{
    struct listener *l = mem_zalloc(sizeof *l);
    if (l == NULL)
        return err_set(e, ERR_NOMEM, "http: no memory for a listener");
    int rc = uv_poll_init(loop_uv(s->loop), &l->poll, fd);
    if (rc != 0) {
        mem_free(l);
        return err_set(e, ERR_SYS, "http: cannot watch the listening socket: %s", uv_strerror(rc));
    }
    l->poll.data = l;
    l->server = s;
    l->tls = tls_ref(tls);
    l->fd = fd;
    l->local = local;
    loop_timer_init(&l->retry, s->loop, on_retry);
    list_push(&s->listeners, &l->node);
    uv_poll_start(&l->poll, UV_READABLE, on_poll);
    return true;
}

void http_server_set_tls(struct http_server *s, struct tls *tls)
{
    for (struct list *n = s->listeners.next; n != &s->listeners; n = n->next) {
        struct listener *l = LIST_ENTRY(n, struct listener, node);
        if (l->tls == NULL || tls == NULL)
            continue;
        tls_free(l->tls);
        l->tls = tls_ref(tls);
    }
}

/* --- drain ------------------------------------------------------------------------------------ */
void server_conn_gone(struct http_server *s)
{
    s->n_conns--;
    if (s->draining && s->n_conns == 0 && s->on_idle != NULL)
        loop_defer(s->loop, &s->idle_task);
}

void http_server_drain(struct http_server *s, void (*on_idle)(void *arg), void *arg)
{
    if (s->draining)
        return;
    for (struct list *n = s->listeners.next; n != &s->listeners; n = n->next)
        accept_some(LIST_ENTRY(n, struct listener, node), INT16_MAX);
    s->draining = true;
    s->on_idle = on_idle;
    s->on_idle_arg = arg;
    close_listeners(s);
    for (struct list *n = s->conns.next; n != &s->conns; n = n->next)
        conn_drain(LIST_ENTRY(n, struct conn, node));
    if (s->n_conns == 0 && on_idle != NULL)
        loop_defer(s->loop, &s->idle_task);
}
