/* http/exchange.c - see http/server.h, "the request". Exchanges are reused: a keep-alive connection
 * under load allocates nothing but the arena's first block and the body. */
#include "http/server_priv.h"

#include "base/mem.h"

struct http_exchange *exchange_new(struct http_server *s, struct conn *c)
{
    struct arena *arena = arena_new(0);
    if (arena == NULL)
        return NULL;
    struct list *n = list_pop(&s->free_exchanges);
    struct http_exchange *x;
    if (n != NULL) {
        s->n_free--;
        x = LIST_ENTRY(n, struct http_exchange, node);
    } else {
        x = mem_zalloc(sizeof *x);
        if (x == NULL) {
            arena_free(arena);
            return NULL;
        }
        head_init(&x->head);
        list_init(&x->node);
    }
    x->arena = arena;
    x->conn = c;
    return x;
}

static void destroy(struct http_exchange *x)
{
    head_done(&x->head);
    mem_free(x);
}

void exchange_free(struct http_server *s, struct http_exchange *x)
{
    arena_free(TAKE(x->arena));
    mem_free(TAKE(x->body));
    head_clear(&x->head, KEEP_HEAD_BYTES);
    x->conn = NULL;
    x->path = x->query = (struct span){NULL, 0};
    x->body_n = x->body_cap = x->body_max = 0;
    x->started_us = 0;
    x->owner = NULL;
    x->on_close = x->on_drain = NULL;
    x->begun = x->chunked = x->no_body = x->told_full = x->gone = false;
    if (s->n_free == KEEP_EXCHANGES) {
        destroy(x);
        return;
    }
    list_push(&s->free_exchanges, &x->node);
    s->n_free++;
}

void exchange_drop_pool(struct http_server *s)
{
    for (struct list *n; (n = list_pop(&s->free_exchanges)) != NULL;)
        destroy(LIST_ENTRY(n, struct http_exchange, node));
    s->n_free = 0;
}

void exchange_set_target(struct http_exchange *x)
{
    struct span t = head_target(&x->head);
    if (t.p[0] != '/' && t.p[0] != '*' && x->head.method != HTTP_CONNECT) {
        /* absolute form: the parser has seen to it that the host is ours */
        t = span_from(t, span_index(t, SPAN("://")) + 3);
        t = span_from(t, span_find(t, "/?"));
    }
    size_t q = span_find(t, "?");
    x->path = q > 0 ? span_upto(t, q) : SPAN("/");
    x->query = span_from(t, q + 1);
}

/* Grows to what content-length promises, but a megabyte at first: a promise costs the client
 * nothing. */
static size_t next_cap(const struct http_exchange *x, size_t need)
{
    size_t cap = x->body_cap > 0 ? x->body_cap * 2 : KIB(4);
    if (x->head.has_length && x->head.length <= MIB(1))
        cap = x->head.length;
    if (x->head.has_length && cap > x->head.length)
        cap = x->head.length;
    return cap < need ? need : cap;
}

bool exchange_add_body(struct http_exchange *x, struct span bytes, struct err *e)
{
    if (bytes.n > x->body_max - x->body_n)
        return err_set(e, ERR_LIMIT, "the request body is larger than %zu bytes", x->body_max);
    if (x->body_n + bytes.n > x->body_cap) {
        size_t cap = next_cap(x, x->body_n + bytes.n);
        char *body = mem_realloc(x->body, cap);
        if (body == NULL)
            return err_set(e, ERR_NOMEM, "no memory for the request body");
        x->body = body;
        x->body_cap = cap;
    }
    memcpy(x->body + x->body_n, bytes.p, bytes.n);
    x->body_n += bytes.n;
    return true;
}

/* --- getters ---------------------------------------------------------------------------------- */
enum http_method http_method_of(const struct http_exchange *x)
{
    switch ((llhttp_method_t)x->head.method) {
    case HTTP_GET:
        return HTTP_METHOD_GET;
    case HTTP_HEAD:
        return HTTP_METHOD_HEAD;
    case HTTP_POST:
        return HTTP_METHOD_POST;
    case HTTP_PUT:
        return HTTP_METHOD_PUT;
    case HTTP_DELETE:
        return HTTP_METHOD_DELETE;
    case HTTP_PATCH:
        return HTTP_METHOD_PATCH;
    case HTTP_OPTIONS:
        return HTTP_METHOD_OPTIONS;
    default: /* llhttp knows 40 more, RTSP's included */
        return HTTP_METHOD_OTHER;
    }
}

struct span http_method_name(const struct http_exchange *x)
{
    return head_method(&x->head);
}

struct span http_path(const struct http_exchange *x)
{
    return x->path;
}

struct span http_query(const struct http_exchange *x)
{
    return x->query;
}

struct span http_header_of(const struct http_exchange *x, const char *lower_name)
{
    return head_get(&x->head, span_of(lower_name));
}

size_t http_header_count(const struct http_exchange *x)
{
    return x->head.n_fields;
}

struct http_header http_header_at(const struct http_exchange *x, size_t i)
{
    return head_at(&x->head, i);
}

struct span http_body(const struct http_exchange *x)
{
    return (struct span){x->body != NULL ? x->body : "", x->body_n};
}

void http_drop_body(struct http_exchange *x)
{
    mem_free(TAKE(x->body));
    x->body_n = x->body_cap = 0;
}

struct arena *http_arena(struct http_exchange *x)
{
    return x->arena;
}

bool http_is_local(const struct http_exchange *x)
{
    return x->conn->local;
}

int64_t http_started_us(const struct http_exchange *x)
{
    return x->started_us;
}

void http_watch(struct http_exchange *x, void *owner, void (*on_close)(void *owner),
                void (*on_drain)(void *owner))
{
    x->owner = owner;
    x->on_close = on_close;
    x->on_drain = on_drain;
}
