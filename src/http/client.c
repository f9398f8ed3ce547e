/* http/client.c - see http/client.h: the client itself and its pools of idle connections. */
#include "base/mem.h"
#include "base/secret.h"
#include "http/client_priv.h"
#include "http/tls.h"

static void on_sweep(struct loop_timer *t);

struct http_client *http_client_new(struct loop *l, size_t max_idle, int64_t idle_us, struct err *e)
{
    struct http_client *c = mem_zalloc(sizeof *c);
    char *rbuf = mem_alloc(CLIENT_READ_BYTES);
    if (c == NULL || rbuf == NULL) {
        mem_free(c);
        mem_free(rbuf);
        err_set(e, ERR_NOMEM, "http: no memory for a client");
        return NULL;
    }
    c->loop = l;
    c->rbuf = rbuf;
    c->max_idle = max_idle;
    c->idle_us = idle_us;
    list_init(&c->pools);
    list_init(&c->names);
    list_init(&c->calls);
    list_init(&c->free_calls);
    list_init(&c->idle);
    loop_timer_init(&c->sweep, l, on_sweep);
    return c;
}

void http_client_free(struct http_client *c)
{
    if (c == NULL)
        return;
    while (!list_empty(&c->calls))
        http_call_cancel(LIST_ENTRY(c->calls.next, struct http_call, node));
    http_client_forget(c);
    resolve_drop(c);
    loop_timer_stop(&c->sweep);
    for (struct list *n; (n = list_pop(&c->free_calls)) != NULL;) {
        struct http_call *call = LIST_ENTRY(n, struct http_call, node);
        buf_done(&call->request);
        mem_free(call);
    }
    mem_free(c->rbuf);
    mem_free(c);
}

/* --- pools ------------------------------------------------------------------------------------ */
/* Equal hashes are not enough to send somebody's key there. */
static bool same_origin(const struct http_origin *a, const struct http_origin *b)
{
    return a->key == b->key && a->tls == b->tls && a->port == b->port &&
           strcmp(a->host, b->host) == 0 && strcmp(a->unix_path, b->unix_path) == 0;
}

static bool same_way(const struct pool *p, const struct http_call_spec *spec)
{
    if (p->proxied != (spec->proxy != NULL))
        return false;
    return !p->proxied || (same_origin(&p->proxy, spec->proxy) &&
                           span_eq(secret_reveal(p->proxy_auth), secret_reveal(spec->proxy_auth)));
}

struct pool *pool_of(struct http_client *c, const struct http_call_spec *spec)
{
    struct tls *tls = spec->origin->tls ? spec->tls : NULL;
    for (struct list *n = c->pools.next; n != &c->pools; n = n->next) {
        struct pool *p = LIST_ENTRY(n, struct pool, node);
        if (p->tls == tls && same_origin(&p->origin, spec->origin) && same_way(p, spec))
            return p;
    }
    struct pool *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return NULL;
    p->origin = *spec->origin;
    p->tls = tls_ref(tls);
    if (spec->proxy != NULL) {
        p->proxied = true;
        p->proxy = *spec->proxy;
        p->proxy_auth = secret_ref(spec->proxy_auth);
    }
    list_init(&p->idle);
    list_push(&c->pools, &p->node);
    return p;
}

static void take_out(struct line *ln)
{
    if (list_empty(&ln->pool_node))
        return;
    list_remove(&ln->pool_node);
    list_remove(&ln->idle_node);
    ln->pool->n_idle--;
}

struct line *pool_take(struct pool *p)
{
    if (list_empty(&p->idle))
        return NULL;
    struct line *ln = LIST_ENTRY(p->idle.prev, struct line, pool_node);
    take_out(ln);
    ln->used = true;
    return ln;
}

static void arm_sweep(struct http_client *c)
{
    if (list_empty(&c->idle) || loop_timer_armed(&c->sweep))
        return;
    struct line *oldest = LIST_ENTRY(c->idle.next, struct line, idle_node);
    int64_t wait = oldest->idle_since_us + c->idle_us - loop_now_us(c->loop);
    if (!loop_timer_start(&c->sweep, wait))
        line_close(oldest); /* without a timer nothing may stay */
}

void pool_put(struct line *ln)
{
    struct http_client *c = ln->client;
    struct pool *p = ln->pool;
    if (p->n_idle >= c->max_idle) {
        line_close(ln);
        return;
    }
    head_clear(&ln->head, KEEP_REQUEST_BYTES);
    buf_done(&ln->left);
    ln->idle_since_us = loop_now_us(c->loop);
    list_push(&p->idle, &ln->pool_node);
    list_push(&c->idle, &ln->idle_node);
    p->n_idle++;
    line_update(ln);
    arm_sweep(c);
}

void line_close(struct line *ln)
{
    if (!sock_is_open(&ln->sock))
        return;
    take_out(ln);
    ln->pool->n_lines--;
    ln->pool = NULL;
    ln->call = NULL;
    buf_done(&ln->left);
    proxy_end(ln);
    sock_close(&ln->sock);
}

static void on_sweep(struct loop_timer *t)
{
    struct http_client *c = CONTAINER_OF(t, struct http_client, sweep);
    int64_t now = loop_now_us(c->loop);
    while (!list_empty(&c->idle)) {
        struct line *oldest = LIST_ENTRY(c->idle.next, struct line, idle_node);
        if (oldest->idle_since_us + c->idle_us > now)
            break;
        line_close(oldest);
    }
    arm_sweep(c);
}

static bool pool_wanted(const struct http_client *c, const struct pool *p)
{
    if (p->n_lines > 0)
        return true;
    for (struct list *n = c->calls.next; n != &c->calls; n = n->next)
        if (LIST_ENTRY(n, struct http_call, node)->pool == p)
            return true;
    return false;
}

void http_client_forget(struct http_client *c)
{
    while (!list_empty(&c->idle))
        line_close(LIST_ENTRY(c->idle.next, struct line, idle_node));
    for (struct list *n = c->pools.next, *next; n != &c->pools; n = next) {
        struct pool *p = LIST_ENTRY(n, struct pool, node);
        next = n->next;
        if (pool_wanted(c, p))
            continue;
        list_remove(&p->node);
        tls_free(p->tls);
        secret_free(p->proxy_auth);
        mem_free(p);
    }
}
