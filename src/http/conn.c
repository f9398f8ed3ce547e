/* http/conn.c - a server's connection: bytes in, requests to the handler, and the end of it.
 *
 * In order of life: accept, events, parsing, requests, errors, settling, timers, close. Every event
 * ends in settle(), which sends, tells and then sets interest and timer at one place (update). */
#include <unistd.h>

#include "base/mem.h"
#include "http/server_priv.h"

enum { LINGER_US = 2000000, MAX_ROUNDS = 4 };
#define LINGER_BYTES LIMIT_CHAT_BODY_BYTES

static void on_event(struct sock *s, int events);
static void on_timer(struct loop_timer *t);
static void on_task(struct loop_task *t);
static void settle(struct conn *c);

/* --- accept ----------------------------------------------------------------------------------- */
static void on_closed(struct sock *s)
{
    mem_free(CONTAINER_OF(s, struct conn, sock));
}

void conn_to(struct conn *c, enum conn_state state)
{
    c->state = state;
    c->since_us = c->read_us = loop_now_us(c->server->loop);
}

void conn_new(struct http_server *s, const struct listener *l, int fd)
{
    struct err e;
    struct conn *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        close(fd); /* all that can be done */
        return;
    }
    if (!sock_open(&c->sock, s->loop, fd, on_event, on_closed, &e)) {
        mem_free(c);
        return;
    }
    c->server = s;
    c->local = l->local;
    loop_timer_init(&c->timer, s->loop, on_timer);
    loop_task_init(&c->task, on_task);
    buf_init(&c->kept, LIMIT_PIPELINE_BYTES);
    /* http_write() holds its own limit; a whole answer may be larger than that. */
    buf_init(&c->out, LIMIT_OUT_MAX_BYTES + 2 * LIMIT_ANSWER_BYTES);
    list_push(&s->conns, &c->node);
    s->n_conns++;
    conn_to(c, CONN_IDLE);
    if (l->tls != NULL && !sock_start_tls(&c->sock, l->tls, NULL, &e))
        conn_close(c);
    settle(c);
}

/* --- the end ---------------------------------------------------------------------------------- */
void conn_close(struct conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    conn_to(c, CONN_CLOSED);
    loop_timer_stop(&c->timer);
    loop_undefer(&c->task);
    sock_close(&c->sock);
    buf_done(&c->kept);
    buf_done(&c->out);
    list_remove(&c->node);
    server_conn_gone(c->server);
}

void conn_lost(struct conn *c)
{
    struct http_server *s = c->server;
    struct http_exchange *x = TAKE(c->x);
    conn_close(c);
    if (x == NULL)
        return;
    x->gone = true;
    if (x->on_close != NULL)
        x->on_close(x->owner);
    exchange_free(s, x);
}

/* --- reading ---------------------------------------------------------------------------------- */
static bool wants_read(const struct conn *c)
{
    if (c->fin)
        return false;
    switch (c->state) {
    case CONN_IDLE:
    case CONN_HEAD:
    case CONN_BODY:
    case CONN_SKIP:
    case CONN_LINGER:
        return true;
    case CONN_WAIT:
        return c->kept.n < LIMIT_PIPELINE_BYTES;
    case CONN_CLOSING:
    case CONN_CLOSED:
        return false;
    }
    return false;
}

/* The client will send no more. Whether it still listens is the configuration's belief. */
static void on_fin(struct conn *c)
{
    c->fin = true;
    switch (c->state) {
    case CONN_IDLE: /* what waits is still sent */
        conn_to(c, CONN_CLOSING);
        break;
    case CONN_WAIT:
        if (!c->server->config.half_close_keep)
            conn_lost(c);
        break;
    case CONN_HEAD: /* half a request: answers to those before it are still sent */
        conn_finish(c->x);
        break;
    case CONN_SKIP:
        conn_to(c, CONN_CLOSING);
        break;
    case CONN_BODY:
    case CONN_LINGER:
        conn_lost(c);
        break;
    case CONN_CLOSING:
    case CONN_CLOSED:
        break;
    }
}

static bool begin_request(struct conn *c)
{
    c->x = exchange_new(c->server, c);
    if (c->x == NULL) {
        conn_lost(c);
        return false;
    }
    parse_init(&c->parse, PARSE_REQUEST, false, &c->x->head);
    conn_to(c, CONN_HEAD);
    return true;
}

/* No request can be made of what came: the handler words the error, the server sends it. */
static void refuse(struct conn *c, const struct err *why)
{
    struct http_exchange *x = c->x;
    c->linger = true;
    if (x == NULL || x->begun || why->cls == ERR_NOMEM) {
        conn_lost(c);
        return;
    }
    struct http_header h[HTTP_BAD_HEADERS];
    size_t n = 0;
    struct buf body;
    buf_init(&body, KIB(64));
    if (c->server->handler->on_bad_request != NULL)
        n = c->server->handler->on_bad_request(c->server->app, x, why, &body, h);
    if (c->x == x) {
        void *owner = x->owner;
        void (*on_close)(void *) = x->on_close;
        answer_error(x, why->status, h, n, buf_span(&body));
        x->gone = true;
        if (on_close != NULL)
            on_close(owner);
        conn_finish(x);
    }
    buf_done(&body);
}

static void refuse_with(struct conn *c, enum err_class cls, int status, const char *why)
{
    struct err e;
    err_set(&e, cls, "%s", why);
    e.status = status;
    refuse(c, &e);
}

/* RFC 9110, 10.1.1: the only expectation there is. */
static bool check_expect(struct conn *c)
{
    struct head *h = &c->x->head;
    if (h->http10)
        h->expects = false;
    for (size_t i = 0; h->expects && i < h->n_fields; i++) {
        struct http_header f = head_at(h, i);
        if (span_eq(f.name, SPAN("expect")) && !span_eq_nocase(f.value, SPAN("100-continue")))
            return false;
    }
    return true;
}

static void on_head(struct conn *c, bool more_here)
{
    struct http_server *s = c->server;
    struct http_exchange *x = c->x;
    struct err e;
    x->started_us = loop_now_us(s->loop);
    if (!check_expect(c)) {
        refuse_with(c, ERR_INPUT, 417, "an expectation other than 100-continue");
        return;
    }
    exchange_set_target(x);
    conn_to(c, CONN_BODY);
    size_t max = s->handler->on_head(s->app, x);
    if (c->x != x)
        return;
    x->body_max = max;
    if (x->head.length > max) {
        err_set(&e, ERR_LIMIT, "the request body is larger than %zu bytes", max);
        refuse(c, &e);
        return;
    }
    bool body_comes = x->head.chunked || x->head.length > 0;
    if (x->head.expects && body_comes && !more_here &&
        !buf_add(&c->out, SPAN("HTTP/1.1 100 Continue\r\n\r\n"), &e))
        c->doomed = true;
}

static void on_body(struct conn *c, struct span bytes)
{
    struct err e;
    if (c->state == CONN_BODY && !exchange_add_body(c->x, bytes, &e))
        refuse(c, &e);
}

static void on_message(struct conn *c)
{
    c->served = true;
    if (c->state == CONN_SKIP) {
        conn_to(c, CONN_IDLE);
        return;
    }
    conn_to(c, CONN_WAIT);
    c->server->handler->on_request(c->server->app, c->x);
}

/* Until the input is used up or the request at hand has to be answered first. */
static void parse_all(struct conn *c, struct span *in)
{
    for (;;) {
        if (c->state == CONN_IDLE && (in->n == 0 || !begin_request(c)))
            return;
        if (c->state != CONN_HEAD && c->state != CONN_BODY && c->state != CONN_SKIP)
            return;
        struct span body;
        struct err e;
        switch (parse_next(&c->parse, in, &body, &e)) {
        case PARSE_MORE:
            return;
        case PARSE_HEAD:
            on_head(c, in->n > 0);
            break;
        case PARSE_BODY:
            on_body(c, body);
            break;
        case PARSE_END:
            on_message(c);
            break;
        case PARSE_FAIL:
            refuse(c, &e);
            break;
        }
    }
}

/* Bytes that came while a request was being answered. */
static void parse_kept(struct conn *c)
{
    if (c->kept.n == 0 || c->state != CONN_IDLE)
        return;
    struct span in = buf_span(&c->kept);
    size_t before = in.n;
    parse_all(c, &in);
    if (c->state == CONN_CLOSED)
        return;
    buf_eat(&c->kept, before - in.n);
    if (c->kept.n == 0)
        buf_done(&c->kept);
}

static void feed(struct conn *c, struct span in)
{
    struct err e;
    c->read_us = loop_now_us(c->server->loop);
    if (c->state == CONN_LINGER) {
        c->lingered += in.n;
        if (c->lingered > LINGER_BYTES)
            conn_close(c);
        return;
    }
    parse_all(c, &in);
    if (c->state == CONN_WAIT && in.n > 0 && !buf_add(&c->kept, in, &e))
        conn_lost(c);
}

static void read_some(struct conn *c)
{
    parse_kept(c); /* older than what is about to be read */
    for (int i = 0; i < LIMIT_READS_PER_TURN && wants_read(c); i++) {
        size_t cap = c->state == CONN_WAIT ? LIMIT_PIPELINE_BYTES - c->kept.n : READ_BYTES;
        size_t n = 0;
        struct err e;
        switch (sock_read(&c->sock, c->server->rbuf, cap, &n, &e)) {
        case SOCK_OK:
            feed(c, span_make(c->server->rbuf, n));
            break;
        case SOCK_AGAIN:
            return;
        case SOCK_EOF:
            on_fin(c);
            return;
        case SOCK_FAIL:
            conn_lost(c);
            return;
        }
        /* A short read has emptied the socket: spare the call that would only say so. */
        if (n < cap && c->sock.ssl == NULL)
            return;
    }
}

static void on_event(struct sock *s, int events)
{
    struct conn *c = CONTAINER_OF(s, struct conn, sock);
    c->busy = true;
    if (events & SOCK_WRITE)
        c->blocked = false;
    if (events & SOCK_READ)
        read_some(c);
    if ((events & SOCK_LEFT) && !c->fin && c->state != CONN_CLOSED)
        on_fin(c);
    if ((events & SOCK_BROKEN) && c->state != CONN_CLOSED)
        conn_lost(c);
    settle(c);
}

/* --- settling --------------------------------------------------------------------------------- */
void conn_finish(struct http_exchange *x)
{
    struct conn *c = x->conn;
    c->x = NULL;
    exchange_free(c->server, x);
    switch (c->state) {
    case CONN_HEAD:
        c->linger = true;
        conn_to(c, CONN_CLOSING);
        break;
    case CONN_BODY:
        c->linger = c->close_after;
        conn_to(c, c->close_after ? CONN_CLOSING : CONN_SKIP);
        break;
    case CONN_WAIT:
        conn_to(c, c->close_after ? CONN_CLOSING : CONN_IDLE);
        break;
    case CONN_IDLE:
    case CONN_SKIP:
    case CONN_CLOSING:
    case CONN_LINGER:
    case CONN_CLOSED:
        break;
    }
}

void conn_poke(struct conn *c)
{
    if (c->busy)
        c->again = true;
    else if (c->state != CONN_CLOSED)
        loop_defer(c->server->loop, &c->task);
}

static void on_task(struct loop_task *t)
{
    struct conn *c = CONTAINER_OF(t, struct conn, task);
    c->busy = true;
    /* Draining: a request that has already arrived is answered, not cut off. */
    bool last_look = c->server->draining && c->state == CONN_IDLE && c->kept.n == 0;
    if (last_look || sock_pending(&c->sock))
        read_some(c);
    settle(c);
}

static void tell_drained(struct conn *c)
{
    struct http_exchange *x = c->x;
    if (x == NULL || !x->told_full || c->out.n > LIMIT_OUT_LOW_BYTES)
        return;
    x->told_full = false;
    if (x->on_drain != NULL)
        x->on_drain(x->owner);
}

static void close_when_sent(struct conn *c)
{
    bool over = c->fin || (c->server->draining && c->served);
    if (c->state == CONN_IDLE && c->kept.n == 0 && over)
        conn_to(c, CONN_CLOSING);
    if (c->state != CONN_CLOSING || c->out.n > 0)
        return;
    if (!c->linger || c->fin) {
        conn_close(c);
        return;
    }
    sock_shutdown(&c->sock);
    conn_to(c, CONN_LINGER);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static int64_t after(int64_t from_us, int64_t timeout_us)
{
    return timeout_us > 0 ? from_us + timeout_us : 0;
}

/* 0: none */
static int64_t deadline(const struct conn *c)
{
    const struct http_server_config *cfg = &c->server->config;
    int64_t at = 0;
    switch (c->state) {
    case CONN_IDLE:
        /* A draining server waits for first requests, but not for ever. */
        at = after(c->since_us, c->server->draining ? cfg->head_timeout_us : cfg->idle_timeout_us);
        break;
    case CONN_HEAD:
        at = after(c->since_us, cfg->head_timeout_us);
        break;
    case CONN_BODY:
    case CONN_SKIP:
        at = after(c->read_us, cfg->body_timeout_us);
        break;
    case CONN_LINGER:
        at = after(c->since_us, LINGER_US);
        break;
    case CONN_WAIT:
    case CONN_CLOSING:
    case CONN_CLOSED:
        break;
    }
    return c->blocked ? earlier(at, after(c->write_us, cfg->write_timeout_us)) : at;
}

static void update(struct conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    int want = SOCK_BROKEN;
    if (wants_read(c))
        want |= SOCK_READ;
    else if (c->state == CONN_WAIT && !c->fin)
        want |= SOCK_LEFT;
    if (c->blocked && c->out.n > 0)
        want |= SOCK_WRITE;
    sock_watch(&c->sock, want);
    if ((want & SOCK_READ) && sock_pending(&c->sock))
        loop_defer(c->server->loop, &c->task);
    /* The timer moves only when it would ring too late: mostly deadlines move back, and a ring that
     * comes too early just sets it again. */
    int64_t at = deadline(c);
    if (at == 0 || (loop_timer_armed(&c->timer) && c->timer.at_us <= at))
        return;
    if (!loop_timer_start(&c->timer, at - loop_now_us(c->server->loop)))
        conn_lost(c);
}

static void settle(struct conn *c)
{
    c->busy = true;
    for (int round = 0; c->state != CONN_CLOSED; round++) {
        c->again = false;
        if (!c->doomed)
            parse_kept(c);
        if (c->state == CONN_CLOSED)
            break;
        if (c->doomed || !conn_flush(c)) {
            conn_lost(c);
            break;
        }
        tell_drained(c);
        if (!c->again)
            break;
        if (round == MAX_ROUNDS) {
            loop_defer(c->server->loop, &c->task);
            break;
        }
    }
    if (c->state != CONN_CLOSED)
        close_when_sent(c);
    update(c);
    c->busy = false;
}

void conn_drain(struct conn *c)
{
    if (c->state == CONN_IDLE && !c->busy)
        loop_defer(c->server->loop, &c->task);
}

/* --- timers ----------------------------------------------------------------------------------- */
static void on_timer(struct loop_timer *t)
{
    struct conn *c = CONTAINER_OF(t, struct conn, timer);
    int64_t now = loop_now_us(c->server->loop), at = deadline(c);
    c->busy = true;
    if (at != 0 && at <= now) {
        bool stalled = c->blocked && after(c->write_us, c->server->config.write_timeout_us) == at;
        if (stalled)
            conn_lost(c);
        else if (c->state == CONN_HEAD)
            refuse_with(c, ERR_TIMEOUT, 408, "the request head did not come in time");
        else if (c->state == CONN_BODY)
            refuse_with(c, ERR_TIMEOUT, 408, "the request body did not come in time");
        else
            conn_lost(c);
    }
    settle(c);
}
