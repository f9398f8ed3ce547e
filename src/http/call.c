/* http/call.c - see http/client.h: one call from its request to its last callback.
 *
 * In order of life: start, begin, connect, answer, end, pause, timers. call->state is written by
 * call_to() alone. */
#include <errno.h>
#include <netinet/in.h>

#include "base/mem.h"
#include "http/client_priv.h"
#include "http/tls.h"

static void on_task(struct loop_task *t);
static void on_timer(struct loop_timer *t);
static void connect_next(struct http_call *call);

static void call_to(struct http_call *call, enum call_state state)
{
    call->state = state;
}

static int64_t now_of(const struct http_call *call)
{
    return loop_now_us(call->client->loop);
}

/* --- the request's bytes ---------------------------------------------------------------------- */
static bool is_clean(struct span s, bool spaces)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == 0x7f || c < 0x20 || (c == ' ' && !spaces))
            return false;
    }
    return true;
}

static bool check_spec(const struct http_call_spec *spec, struct err *e)
{
    if (spec->origin->tls && spec->tls == NULL)
        return err_set(e, ERR_STATE, "http: a call to %s without TLS", spec->origin->authority);
    if (spec->proxy != NULL &&
        (spec->origin->host[0] == '\0' || spec->proxy->host[0] == '\0' || spec->proxy->tls))
        return err_set(e, ERR_STATE, "http: no such proxy: a Unix socket, or TLS to it");
    if (!is_clean(spec->target, false))
        return err_set(e, ERR_INPUT, "http: a control character or space in the target");
    for (size_t i = 0; i < spec->n_headers; i++)
        if (!is_clean(spec->headers[i].name, false) || !is_clean(spec->headers[i].value, true))
            return err_set(e, ERR_INPUT, "http: a control character in the field %.*s",
                           SPAN_ARG(spec->headers[i].name));
    return true;
}

static bool has_body(const struct http_call_spec *spec)
{
    return spec->body.n > 0 || span_eq(span_of(spec->method), SPAN("POST")) ||
           span_eq(span_of(spec->method), SPAN("PUT"));
}

/* A proxy that is not tunnelled through reads the request itself: it is told the whole URL (RFC
 * 9112, 3.2.2), and who asks. */
static bool to_proxy(const struct http_call_spec *spec)
{
    return spec->proxy != NULL && !spec->origin->tls;
}

static bool write_request(struct http_call *call, const struct http_call_spec *spec, struct err *e)
{
    struct buf *b = &call->request;
    struct span base = span_of(spec->origin->base), authority = span_of(spec->origin->authority);
    bool whole = to_proxy(spec);
    bool ok = buf_add(b, span_of(spec->method), e) && buf_add_char(b, ' ', e) &&
              (!whole || (buf_add(b, SPAN("http://"), e) && buf_add(b, authority, e))) &&
              buf_add(b, base, e) && buf_add(b, spec->target, e) &&
              (base.n + spec->target.n > 0 || buf_add_char(b, '/', e)) &&
              buf_add(b, SPAN(" HTTP/1.1\r\nhost: "), e) && buf_add(b, authority, e) &&
              buf_add(b, SPAN("\r\naccept-encoding: identity\r\n"), e) &&
              (!whole || proxy_add_auth(b, spec->proxy_auth, e));
    for (size_t i = 0; ok && i < spec->n_headers; i++)
        ok = buf_add(b, spec->headers[i].name, e) && buf_add(b, SPAN(": "), e) &&
             buf_add(b, spec->headers[i].value, e) && buf_add(b, SPAN("\r\n"), e);
    if (ok && has_body(spec))
        ok = buf_addf(b, e, "content-length: %zu\r\n", spec->body.n);
    ok = ok && buf_add(b, SPAN("\r\n"), e);
    call->body = spec->body;
    if (ok && spec->origin->tls && spec->body.n <= JOIN_BYTES) {
        ok = buf_add(b, spec->body, e);
        call->body = (struct span){NULL, 0};
    }
    return ok;
}

/* --- start and end of the struct -------------------------------------------------------------- */
static struct http_call *call_new(struct http_client *c)
{
    struct list *n = list_pop(&c->free_calls);
    struct http_call *call;
    if (n != NULL) {
        c->n_free_calls--;
        call = LIST_ENTRY(n, struct http_call, node);
        struct buf request = call->request;
        memset(call, 0, sizeof *call);
        call->request = request;
    } else {
        call = mem_zalloc(sizeof *call);
        if (call == NULL)
            return NULL;
        buf_init(&call->request, LIMIT_HEAD_BYTES + JOIN_BYTES);
    }
    call->client = c;
    list_init(&call->waiter);
    list_init(&call->node);
    loop_timer_init(&call->timer, c->loop, on_timer);
    loop_task_init(&call->task, on_task);
    list_push(&c->calls, &call->node);
    return call;
}

/* Nothing of the call may come after this. The request held a provider's key: it is wiped. */
static void call_free(struct http_call *call)
{
    struct http_client *c = call->client;
    loop_timer_stop(&call->timer);
    loop_undefer(&call->task);
    list_remove(&call->waiter);
    list_remove(&call->node);
    addresses_free(TAKE(call->addresses));
    tls_free(TAKE(call->tls));
    if (call->request.mem != NULL)
        explicit_bzero(call->request.mem, call->request.cap);
    buf_clear(&call->request);
    if (call->request.cap > KEEP_REQUEST_BYTES)
        buf_done(&call->request);
    if (c->n_free_calls < KEEP_CALLS) {
        list_push(&c->free_calls, &call->node);
        c->n_free_calls++;
        return;
    }
    buf_done(&call->request);
    mem_free(call);
}

static void drop_line(struct http_call *call)
{
    struct line *ln = TAKE(call->line);
    if (ln != NULL)
        line_close(ln);
}

struct http_call *http_call_start(struct http_client *c, const struct http_call_spec *spec,
                                  const struct http_call_ops *ops, void *owner, struct err *e)
{
    if (!check_spec(spec, e))
        return NULL;
    struct pool *pool = pool_of(c, spec);
    struct http_call *call = pool != NULL ? call_new(c) : NULL;
    if (call == NULL) {
        err_set(e, ERR_NOMEM, "http: no memory for a call");
        return NULL;
    }
    if (!write_request(call, spec, e)) {
        call_free(call);
        return NULL;
    }
    call->ops = ops;
    call->owner = owner;
    call->origin = spec->origin;
    call->proxy = spec->proxy;
    call->tls = tls_ref(pool->tls);
    call->pool = pool;
    call->timeouts = spec->timeouts;
    call->max_body = spec->max_body > 0 ? spec->max_body : LIMIT_ANSWER_BYTES;
    call->no_body = strcmp(spec->method, "HEAD") == 0;
    call->times.start_us = loop_now_us(c->loop);
    call_to(call, CALL_NEW);
    loop_defer(c->loop, &call->task);
    return call;
}

/* --- begin ------------------------------------------------------------------------------------ */
static void open_line(struct http_call *call)
{
    struct line *ln = call->line;
    call_to(call, CALL_OPEN);
    call->send_us = call->times.connected_us = call->paused_us = now_of(call);
    call->sent = 0;
    line_begin(ln);
    line_send(ln);
    line_update(ln);
}

/* Puts before the message which hop it is about. */
static void name_hop(const struct http_call *call, struct err *e)
{
    const struct http_origin *o = call->origin, *proxy = call->proxy;
    if (proxy == NULL)
        err_prefix(e, "%s", o->host[0] != '\0' ? o->authority : o->unix_path);
    else if (call->state < CALL_TLS)
        err_prefix(e, "proxy %s", proxy->authority);
    else
        err_prefix(e, "%s through the proxy %s", o->authority, proxy->authority);
}

static void fail_resolve(struct http_call *call, const struct err *why)
{
    struct err e = *why;
    if (call->proxy != NULL) /* else it names the host */
        name_hop(call, &e);
    call_fail(call, &e);
}

static void begin_fresh(struct http_call *call)
{
    struct err e;
    call->times.reused = false;
    call->fresh_us = now_of(call);
    call_to(call, CALL_RESOLVE);
    call->at = 0;
    switch (resolve(call, &e)) {
    case RESOLVED:
        connect_next(call);
        break;
    case RESOLVING:
        call_arm(call);
        break;
    case RESOLVE_FAILED:
        fail_resolve(call, &e);
        break;
    }
}

static void on_task(struct loop_task *t)
{
    struct http_call *call = CONTAINER_OF(t, struct http_call, task);
    if (call->state == CALL_OPEN) { /* resumed */
        line_resume(call->line);
        return;
    }
    struct line *ln = pool_take(call->pool);
    if (ln == NULL) {
        begin_fresh(call);
        return;
    }
    call->line = ln;
    call->times.reused = true;
    ln->call = call;
    open_line(call);
}

void call_resolved(struct http_call *call, struct addresses *a, const struct err *why)
{
    if (a == NULL) {
        fail_resolve(call, why);
        return;
    }
    call->addresses = addresses_ref(a);
    connect_next(call);
}

/* --- connect ---------------------------------------------------------------------------------- */
static int64_t connect_deadline(const struct http_call *call)
{
    return call->timeouts.connect_us > 0 ? call->fresh_us + call->timeouts.connect_us : 0;
}

static void set_port(struct sockaddr_storage *a, int port)
{
    if (a->ss_family == AF_INET)
        ((struct sockaddr_in *)a)->sin_port = htons((uint16_t)port);
    if (a->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)a)->sin6_port = htons((uint16_t)port);
}

/* While others wait, an address that does not answer gets its share of the time, not all of it. */
static void share_time(struct http_call *call, size_t left)
{
    int64_t until = connect_deadline(call), now = now_of(call);
    int64_t share = until > 0 ? (until - now) / (int64_t)left : 0;
    call->try_until_us =
        left > 1 && until > 0 ? now + (share > TRY_NEXT_US ? share : TRY_NEXT_US) : 0;
}

/* Tries the addresses from call->at on until one is under way. */
static void connect_next(struct http_call *call)
{
    struct addresses *as = call->addresses;
    call_to(call, CALL_CONNECT);
    while (call->at < as->n) {
        size_t i = call->at++;
        struct sockaddr_storage a = as->a[i];
        set_port(&a, call_hop(call)->port);
        call->line =
            line_new(call->client, call->pool, (struct sockaddr *)&a, as->len[i], &call->last);
        if (call->line == NULL) {
            name_hop(call, &call->last);
            continue;
        }
        call->line->call = call;
        share_time(call, as->n - i);
        line_update(call->line);
        return;
    }
    struct err e = call->last;
    call_fail(call, &e);
}

static void try_failed(struct http_call *call)
{
    call->last.cls = ERR_CONNECT;
    call->last.status = err_status(ERR_CONNECT);
    call->last.code = "upstream_unreachable";
    name_hop(call, &call->last);
    drop_line(call);
    connect_next(call);
}

static void shake_hands(struct http_call *call)
{
    struct line *ln = call->line;
    switch (sock_handshake(&ln->sock, &call->last)) {
    case SOCK_OK:
        open_line(call);
        break;
    case SOCK_AGAIN:
        line_update(ln);
        break;
    case SOCK_EOF:
        err_set(&call->last, ERR_CONNECT, "the connection was closed during the TLS handshake");
        try_failed(call);
        break;
    case SOCK_FAIL:
        try_failed(call);
        break;
    }
}

static void start_tls(struct http_call *call)
{
    call_to(call, CALL_TLS);
    if (sock_start_tls(&call->line->sock, call->tls, call->origin->host, &call->last))
        shake_hands(call);
    else
        try_failed(call);
}

static void ask_proxy(struct http_call *call)
{
    struct err e;
    switch (proxy_go_on(call->line, &e)) {
    case PROXY_MORE:
        line_update(call->line);
        break;
    case PROXY_OPEN:
        proxy_end(call->line);
        start_tls(call);
        break;
    case PROXY_LOST:
        call->last = e;
        try_failed(call);
        break;
    case PROXY_REFUSED: /* its other addresses would say the same */
        name_hop(call, &e);
        call_fail(call, &e);
        break;
    }
}

/* The connection to the origin or its proxy stands. */
static void connected(struct http_call *call)
{
    if (!call->origin->tls) {
        open_line(call);
    } else if (call->proxy == NULL) {
        start_tls(call);
    } else if (proxy_begin(call->line, &call->last)) {
        call_to(call, CALL_TUNNEL);
        ask_proxy(call);
    } else {
        try_failed(call);
    }
}

void call_connecting(struct http_call *call)
{
    struct line *ln = call->line;
    if (call->state == CALL_TUNNEL) {
        ask_proxy(call);
        return;
    }
    if (call->state == CALL_TLS) {
        shake_hands(call);
        return;
    }
    int sys = 0;
    socklen_t n = sizeof sys;
    if (getsockopt(ln->sock.fd, SOL_SOCKET, SO_ERROR, &sys, &n) != 0)
        sys = errno;
    if (sys != 0) {
        err_set(&call->last, ERR_CONNECT, "http: cannot connect: %s", strerror(sys));
        call->last.sys = sys;
        try_failed(call);
        return;
    }
    connected(call);
}

/* --- answer ----------------------------------------------------------------------------------- */
void call_on_head(struct http_call *call)
{
    struct head *h = &call->line->head;
    struct http_header fields[LIMIT_HEAD_FIELDS];
    struct span coding = head_get(h, SPAN("content-encoding"));
    struct err e;
    if (h->status == 407 && call->proxy != NULL && !call->origin->tls) {
        proxy_wants_auth(call, &e);
        err_prefix(&e, "proxy %s", call->proxy->authority);
        call->sent = 0; /* it has let nothing through */
        call_fail(call, &e);
        return;
    }
    /* Of an error the status counts, whatever its body is. */
    bool good = h->status >= 200 && h->status < 300;
    if (coding.n > 0 && !span_eq_nocase(coding, SPAN("identity")) && good && !call->no_body) {
        err_set(&e, ERR_UPSTREAM, "the answer is encoded as %.*s, which was not asked for",
                SPAN_ARG(span_upto(coding, 40)));
        err_with_code(&e, "upstream_encoded");
        call_fail(call, &e);
        return;
    }
    for (size_t i = 0; i < h->n_fields; i++)
        fields[i] = head_at(h, i);
    if (call->ops->on_head != NULL)
        call->ops->on_head(call->owner, h->status, fields, h->n_fields);
}

void call_on_body(struct http_call *call, struct span bytes)
{
    struct err e;
    call->received += bytes.n;
    if (call->received > call->max_body) {
        err_set(&e, ERR_LIMIT, "the answer is larger than %zu bytes", call->max_body);
        call_fail(call, &e);
        return;
    }
    if (call->ops->on_body != NULL)
        call->ops->on_body(call->owner, bytes);
}

/* --- end -------------------------------------------------------------------------------------- */
void call_on_end(struct http_call *call)
{
    call_to(call, CALL_OVER);
    if (call->ops->on_end != NULL)
        call->ops->on_end(call->owner);
    call_free(call);
}

static enum err_sent how_far(const struct http_call *call)
{
    if (call->received > 0)
        return SENT_DELIVERED;
    return call->sent > 0 ? SENT_MAYBE : SENT_NO;
}

void call_fail(struct http_call *call, const struct err *why)
{
    struct err e = *why;
    e.sent = how_far(call);
    drop_line(call);
    call_to(call, CALL_OVER);
    if (call->ops->on_error != NULL)
        call->ops->on_error(call->owner, &e);
    call_free(call);
}

/* A kept connection may have been closed by the peer just when it was used: then no work was begun
 * there, as far as anybody can tell, and the request goes out once more. */
void call_line_lost(struct http_call *call, const struct err *why)
{
    bool stale = call->times.reused && call->times.first_byte_us == 0 && !call->retried;
    if (!stale) {
        call_fail(call, why);
        return;
    }
    drop_line(call);
    call->retried = true;
    call->sent = 0;
    call->times.sent_us = call->times.connected_us = 0;
    begin_fresh(call);
}

void http_call_cancel(struct http_call *call)
{
    if (call->state == CALL_OVER)
        return; /* from inside its last callback */
    drop_line(call);
    call_to(call, CALL_OVER);
    call_free(call);
}

/* --- pause ------------------------------------------------------------------------------------ */
void http_call_pause(struct http_call *call)
{
    if (call->paused || call->state == CALL_OVER)
        return;
    call->paused = true;
    call->paused_us = now_of(call);
    if (call->line != NULL)
        line_update(call->line);
}

void http_call_resume(struct http_call *call)
{
    if (!call->paused || call->state == CALL_OVER)
        return;
    call->paused = false;
    call->read_us = now_of(call);
    call->send_us += call->read_us - call->paused_us;
    if (call->state == CALL_OPEN)
        loop_defer(call->client->loop, &call->task);
}

const struct http_call_times *http_call_times_of(const struct http_call *call)
{
    return &call->times;
}

/* --- timers ----------------------------------------------------------------------------------- */
static void sooner(int64_t *at, const char **what, int64_t other, const char *other_what)
{
    if (other > 0 && (*at == 0 || other < *at)) {
        *at = other;
        *what = other_what;
    }
}

static int64_t next_deadline(const struct http_call *call, const char **what)
{
    const struct http_timeouts *t = &call->timeouts;
    int64_t at = 0;
    if (t->total_us > 0)
        sooner(&at, what, call->times.start_us + t->total_us, "the total time is over");
    if (call->state < CALL_OPEN) {
        sooner(&at, what, connect_deadline(call),
               call->state == CALL_TUNNEL ? "CONNECT was not answered in time"
                                          : "no connection in time");
        if (call->state >= CALL_CONNECT)
            sooner(&at, what, call->try_until_us, NULL);
    } else if (!call->paused && call->times.first_byte_us == 0) {
        if (t->first_byte_us > 0)
            sooner(&at, what, call->send_us + t->first_byte_us, "no first byte in time");
    } else if (!call->paused && t->idle_us > 0) {
        sooner(&at, what, call->read_us + t->idle_us, "no further byte in time");
    }
    return at;
}

/* The timer moves only when it would ring too late: deadlines mostly move back, and a ring that
 * comes too early just sets it again. */
void call_arm(struct http_call *call)
{
    const char *what;
    int64_t at = next_deadline(call, &what);
    if (at == 0 || (loop_timer_armed(&call->timer) && call->timer.at_us <= at))
        return;
    if (!loop_timer_start(&call->timer, at - now_of(call)))
        return; /* no memory: the next event tries again */
}

static void on_timer(struct loop_timer *t)
{
    struct http_call *call = CONTAINER_OF(t, struct http_call, timer);
    const char *what = NULL;
    int64_t at = next_deadline(call, &what);
    struct err e;
    if (at == 0 || at > now_of(call)) {
        call_arm(call);
        return;
    }
    if (what == NULL) { /* only this address has had its time */
        err_set(&call->last, ERR_CONNECT, "http: cannot connect: no answer");
        try_failed(call);
        return;
    }
    err_set(&e, ERR_TIMEOUT, "%s", what);
    name_hop(call, &e);
    call_fail(call, &e);
}
