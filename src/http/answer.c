/* http/answer.c - see http/server.h, "the answer". Everything is written into the connection's one
 * out buffer; a chunk stays open until the buffer is sent, so that the writes of a turn become one
 * chunk. */
#include <sys/uio.h>

#include "http/server_priv.h"

enum { DIRECT_BYTES = 16384 }; /* larger bodies are offered to the socket before they are copied */

/* --- sending ---------------------------------------------------------------------------------- */
static void seal_chunk(struct conn *c)
{
    if (!c->chunk_open)
        return;
    c->chunk_open = false;
    char *at = c->out.mem + c->out.start + c->chunk_at;
    size_t n = c->out.n - c->chunk_at - CHUNK_PREFIX;
    for (int i = 7; i >= 0; i--, n >>= 4)
        at[i] = "0123456789abcdef"[n & 15];
    /* cannot fail: http_write() has made room for CHUNK_TAIL */
    struct err e;
    if (!buf_add(&c->out, SPAN("\r\n"), &e))
        c->doomed = true;
}

/* The socket took n of what was offered. */
static void took(struct conn *c, size_t n, size_t offered)
{
    c->write_us = loop_now_us(c->server->loop);
    if (n < offered && c->sock.ssl == NULL)
        c->blocked = true;
}

static void block(struct conn *c)
{
    c->blocked = true;
    c->write_us = loop_now_us(c->server->loop);
}

bool conn_flush(struct conn *c)
{
    if (c->out.n == 0 || c->blocked)
        return true;
    seal_chunk(c);
    while (c->out.n > 0 && !c->blocked) {
        struct span s = buf_span(&c->out);
        struct iovec iov = {.iov_base = (void *)(uintptr_t)s.p, .iov_len = s.n};
        size_t n = 0;
        struct err e;
        switch (sock_write(&c->sock, &iov, 1, &n, &e)) {
        case SOCK_OK:
            buf_eat(&c->out, n);
            took(c, n, s.n);
            break;
        case SOCK_AGAIN:
            block(c);
            break;
        case SOCK_EOF:
        case SOCK_FAIL:
            return false;
        }
    }
    if (c->out.n == 0 && c->out.cap > (c->x != NULL ? KEEP_OUT_BYTES : IDLE_OUT_BYTES))
        buf_done(&c->out);
    return true;
}

/* Offers what waits and the body behind it at once, without copying the body first. Adds what is
 * left of it. */
static bool send_direct(struct conn *c, struct span body, struct err *e)
{
    struct span s = buf_span(&c->out);
    struct iovec iov[2] = {{(void *)(uintptr_t)s.p, s.n}, {(void *)(uintptr_t)body.p, body.n}};
    size_t n = 0;
    switch (sock_write(&c->sock, iov, 2, &n, e)) {
    case SOCK_OK:
        took(c, n, s.n + body.n);
        break;
    case SOCK_AGAIN:
        block(c);
        break;
    case SOCK_EOF:
    case SOCK_FAIL:
        return false;
    }
    buf_eat(&c->out, n);
    return n < s.n ? buf_add(&c->out, body, e) : buf_add(&c->out, span_from(body, n - s.n), e);
}

/* --- heads ------------------------------------------------------------------------------------ */
static char *put(char *at, struct span s)
{
    memcpy(at, s.p, s.n);
    return at + s.n;
}

/* A control character would let a value start a line of its own. */
static char *put_clean(char *at, struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        *at++ = (c < 0x20 && c != '\t') || c == 0x7f ? ' ' : (char)c;
    }
    return at;
}

static bool is_ours(struct span name)
{
    return span_eq_nocase(name, SPAN("connection")) ||
           span_eq_nocase(name, SPAN("content-length")) ||
           span_eq_nocase(name, SPAN("transfer-encoding"));
}

static char *put_fields(struct conn *c, char *at, const struct http_header *h, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (is_ours(h[i].name)) {
            if (h[i].name.n == 10 && span_eq_nocase(h[i].value, SPAN("close")))
                c->close_after = true;
            continue;
        }
        at = put_clean(at, h[i].name);
        at = put(at, SPAN(": "));
        at = put_clean(at, h[i].value);
        at = put(at, SPAN("\r\n"));
    }
    return at;
}

/* Whether the connection can go on behind this answer. */
static bool must_close(const struct http_exchange *x)
{
    const struct conn *c = x->conn;
    if (!x->head.keep_alive || c->server->draining || c->fin || c->state == CONN_HEAD)
        return true;
    if (c->state != CONN_BODY)
        return false;
    /* Answered before the body was read: skip it only when it is small and surely comes. */
    return x->head.chunked || x->head.expects ||
           (x->head.has_length && x->head.length - x->body_n > SKIP_BYTES);
}

static bool no_content(int status)
{
    return status == 204 || status == 304 || status / 100 == 1;
}

/* length < 0: streamed. `room` more bytes will follow at once. */
static bool put_head(struct http_exchange *x, int status, const struct http_header *h,
                     size_t n_headers, int64_t length, size_t room)
{
    struct conn *c = x->conn;
    struct span text = span_of(http_status_text(status)), date = server_date(c->server);
    size_t need = 128 + text.n + date.n + room;
    for (size_t i = 0; i < n_headers; i++)
        need += h[i].name.n + h[i].value.n + 4;
    char *start, *at;
    struct err e;
    if (!buf_room(&c->out, need, &start, &e))
        return false;
    if (must_close(x))
        c->close_after = true;
    at = start + snprintf(start, 32, "HTTP/1.1 %d ", status);
    at = put(at, text);
    at = put(at, SPAN("\r\n"));
    at = put_fields(c, at, h, n_headers);
    at = put(at, date);
    if (length >= 0 && !no_content(status))
        at += snprintf(at, 48, "content-length: %lld\r\n", (long long)length);
    if (length < 0 && x->chunked)
        at = put(at, SPAN("transfer-encoding: chunked\r\n"));
    if (length < 0 && !x->chunked && !no_content(status))
        c->close_after = true;
    if (c->close_after)
        at = put(at, SPAN("connection: close\r\n"));
    else if (x->head.http10)
        at = put(at, SPAN("connection: keep-alive\r\n"));
    at = put(at, SPAN("\r\n"));
    buf_grew(&c->out, (size_t)(at - start));
    return true;
}

/* --- whole ------------------------------------------------------------------------------------ */
static bool is_head(const struct http_exchange *x)
{
    return x->head.method == HTTP_HEAD;
}

static bool put_whole(struct http_exchange *x, int status, const struct http_header *h,
                      size_t n_headers, struct span body)
{
    struct conn *c = x->conn;
    struct err e;
    bool with_body = !is_head(x) && !no_content(status);
    bool direct = with_body && body.n >= DIRECT_BYTES && !c->blocked;
    size_t room = with_body && !direct ? body.n : 0;
    if (!put_head(x, status, h, n_headers, (int64_t)body.n, room))
        return false;
    if (!with_body)
        return true;
    return direct ? send_direct(c, body, &e) : buf_add(&c->out, body, &e);
}

void http_reply(struct http_exchange *x, int status, const struct http_header *h, size_t n_headers,
                struct span body)
{
    if (x->gone)
        return;
    struct conn *c = x->conn;
    if (x->begun || !put_whole(x, status, h, n_headers, body))
        c->doomed = true;
    conn_finish(x);
    conn_poke(c);
}

void answer_error(struct http_exchange *x, int status, const struct http_header *h,
                  size_t n_headers, struct span body)
{
    x->conn->close_after = true;
    if (!put_whole(x, status, h, n_headers, body))
        x->conn->doomed = true;
}

/* --- streamed --------------------------------------------------------------------------------- */
void http_begin(struct http_exchange *x, int status, const struct http_header *h, size_t n_headers)
{
    if (x->gone || x->begun)
        return;
    struct conn *c = x->conn;
    x->begun = true;
    x->no_body = is_head(x) || no_content(status);
    x->chunked = !x->head.http10 && !no_content(status);
    if (!put_head(x, status, h, n_headers, -1, IDLE_OUT_BYTES))
        c->doomed = true;
    conn_poke(c);
}

bool http_begun(const struct http_exchange *x)
{
    return x->begun;
}

static bool add_streamed(struct http_exchange *x, struct span bytes, struct err *e)
{
    struct conn *c = x->conn;
    char *at;
    if (bytes.n > LIMIT_OUT_MAX_BYTES || c->out.n > LIMIT_OUT_MAX_BYTES - bytes.n)
        return err_set(e, ERR_LIMIT, "more than %zu bytes are unsent", LIMIT_OUT_MAX_BYTES);
    if (!x->chunked)
        return buf_add(&c->out, bytes, e);
    if (!buf_room(&c->out, CHUNK_PREFIX + bytes.n + CHUNK_TAIL, &at, e))
        return false;
    if (!c->chunk_open) {
        c->chunk_open = true;
        c->chunk_at = c->out.n;
        memcpy(at, "00000000\r\n", CHUNK_PREFIX);
        buf_grew(&c->out, CHUNK_PREFIX);
    }
    return buf_add(&c->out, bytes, e);
}

bool http_write(struct http_exchange *x, struct span bytes)
{
    if (x->gone || !x->begun || x->conn->doomed)
        return false;
    if (x->no_body || bytes.n == 0)
        return true;
    struct conn *c = x->conn;
    struct err e; /* large: set where something fails */
    if (!add_streamed(x, bytes, &e)) {
        c->doomed = true;
        c->given_up = e.cls;
    } else if (c->out.n > LIMIT_OUT_HIGH_BYTES && !conn_flush(c)) {
        c->doomed = true;
    }
    conn_poke(c);
    if (c->doomed)
        return false;
    x->told_full = c->out.n > LIMIT_OUT_HIGH_BYTES;
    return !x->told_full;
}

enum err_class http_given_up(const struct http_exchange *x)
{
    return x->conn->given_up;
}

void http_end(struct http_exchange *x)
{
    if (x->gone)
        return;
    struct conn *c = x->conn;
    struct err e;
    seal_chunk(c);
    if (!x->begun || (x->chunked && !x->no_body && !buf_add(&c->out, SPAN("0\r\n\r\n"), &e)))
        c->doomed = true;
    conn_finish(x);
    conn_poke(c);
}

void http_abort(struct http_exchange *x)
{
    if (x->gone)
        return;
    struct conn *c = x->conn;
    seal_chunk(c);
    c->close_after = true;
    conn_finish(x);
    conn_poke(c);
}
