/* http/line.c - a client connection: the request out, the answer in, for one call after another. */
#include <errno.h>
#include <netinet/in.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mem.h"
#include "http/client_priv.h"

static void on_event(struct sock *s, int events);

static void on_closed(struct sock *s)
{
    struct line *ln = CONTAINER_OF(s, struct line, sock);
    head_done(&ln->head);
    mem_free(ln);
}

/* --- opening ---------------------------------------------------------------------------------- */
static int connect_failed(int fd, int sys, struct err *e)
{
    if (fd >= 0)
        close(fd);
    err_set(e, ERR_CONNECT, "http: cannot connect: %s", strerror(sys));
    if (e != NULL)
        e->sys = sys;
    return -1;
}

static int open_socket(const struct sockaddr *a, socklen_t len, struct err *e)
{
    int fd = socket(a->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return connect_failed(fd, errno, e);
    if (connect(fd, a, len) != 0 && errno != EINPROGRESS)
        return connect_failed(fd, errno, e);
    return fd;
}

struct line *line_new(struct http_client *c, struct pool *p, const struct sockaddr *a,
                      socklen_t len, struct err *e)
{
    int fd = open_socket(a, len, e);
    if (fd < 0)
        return NULL;
    struct line *ln = mem_zalloc(sizeof *ln);
    if (ln == NULL) {
        close(fd);
        err_set(e, ERR_NOMEM, "http: no memory for a connection");
        return NULL;
    }
    if (!sock_open(&ln->sock, c->loop, fd, on_event, on_closed, e)) {
        mem_free(ln);
        return NULL;
    }
    ln->client = c;
    ln->pool = p;
    p->n_lines++;
    list_init(&ln->pool_node);
    list_init(&ln->idle_node);
    head_init(&ln->head);
    buf_init(&ln->left, CLIENT_READ_BYTES);
    return ln;
}

void line_begin(struct line *ln)
{
    head_clear(&ln->head, KEEP_REQUEST_BYTES);
    parse_init(&ln->parse, PARSE_RESPONSE, ln->call->no_body, &ln->head);
    buf_clear(&ln->left);
    ln->send_broken = ln->blocked = ln->eof = false;
}

/* --- the request ------------------------------------------------------------------------------ */
static size_t request_bytes(const struct http_call *call)
{
    return call->request.n + call->body.n;
}

static bool all_sent(const struct http_call *call)
{
    return call->sent == request_bytes(call);
}

void line_send(struct line *ln)
{
    struct http_call *call = ln->call;
    while (!all_sent(call) && !ln->blocked && !ln->send_broken) {
        struct span head = span_from(buf_span(&call->request), call->sent);
        size_t of_body = call->sent > call->request.n ? call->sent - call->request.n : 0;
        struct span body = span_from(call->body, of_body);
        struct iovec iov[2] = {{(void *)(uintptr_t)head.p, head.n},
                               {(void *)(uintptr_t)body.p, body.n}};
        size_t n = 0;
        struct err e;
        switch (sock_write(&ln->sock, iov, 2, &n, &e)) {
        case SOCK_OK:
            call->sent += n;
            if (n < head.n + body.n && ln->sock.ssl == NULL)
                ln->blocked = true;
            break;
        case SOCK_AGAIN:
            ln->blocked = true;
            break;
        case SOCK_EOF:
        case SOCK_FAIL: /* the answer may say why: reading goes on */
            ln->send_broken = true;
            break;
        }
    }
    if (all_sent(call) && call->times.sent_us == 0)
        call->times.sent_us = loop_now_us(ln->client->loop);
}

/* --- the answer ------------------------------------------------------------------------------- */
/* May the line carry another call? Only when nothing about its framing is in doubt. */
static bool reusable(const struct line *ln, struct span rest)
{
    return ln->head.keep_alive && !ln->parse.until_close && rest.n == 0 && !ln->send_broken &&
           all_sent(ln->call) && !ln->eof;
}

static void finish(struct line *ln, struct span rest)
{
    struct http_call *call = ln->call;
    bool keep = reusable(ln, rest);
    call->line = NULL;
    ln->call = NULL;
    if (keep)
        pool_put(ln);
    else
        line_close(ln);
    call_on_end(call);
}

/* Tells what the bytes hold; stops when the call is paused or over. Returns what was not used. */
static struct span tell(struct line *ln, struct span in)
{
    struct http_call *call = ln->call;
    while (ln->call == call && call != NULL && !call->paused) {
        struct span body;
        struct err e;
        switch (parse_next(&ln->parse, &in, &body, &e)) {
        case PARSE_MORE:
            return in;
        case PARSE_HEAD:
            call_on_head(call);
            break;
        case PARSE_BODY:
            call_on_body(call, body);
            break;
        case PARSE_END:
            finish(ln, in);
            return in;
        case PARSE_FAIL:
            call_fail(call, &e);
            return in;
        }
    }
    return in;
}

/* The parser holds a recorded piece across a pause: it points into the read buffer, which others
 * use next. tell() never leaves one, because a pause is looked at only after the piece was handed
 * out. */
static void keep_rest(struct line *ln, struct span rest)
{
    struct err e;
    if (ln->call != NULL && rest.n > 0 && !buf_add(&ln->left, rest, &e))
        call_fail(ln->call, &e);
}

static void on_eof(struct line *ln)
{
    struct err e;
    ln->eof = true;
    if (parse_eof(&ln->parse, &e) == PARSE_END)
        finish(ln, SPAN(""));
    else
        call_line_lost(ln->call, &e);
}

static void read_some(struct line *ln)
{
    if (ln->left.n > 0)
        return; /* older bytes wait for line_resume() */
    for (int i = 0; i < LIMIT_READS_PER_TURN && ln->call != NULL && !ln->call->paused; i++) {
        struct http_call *call = ln->call;
        size_t n = 0;
        struct err e;
        switch (sock_read(&ln->sock, ln->client->rbuf, CLIENT_READ_BYTES, &n, &e)) {
        case SOCK_OK:
            call->read_us = loop_now_us(ln->client->loop);
            if (call->times.first_byte_us == 0)
                call->times.first_byte_us = call->read_us;
            keep_rest(ln, tell(ln, span_make(ln->client->rbuf, n)));
            break;
        case SOCK_AGAIN:
            return;
        case SOCK_EOF:
            on_eof(ln);
            return;
        case SOCK_FAIL:
            call_line_lost(call, &e);
            return;
        }
        /* A short read has emptied the socket: spare the call that would only say so. */
        if (n < CLIENT_READ_BYTES && ln->sock.ssl == NULL)
            return;
    }
}

void line_resume(struct line *ln)
{
    struct http_call *call = ln->call;
    struct span in = buf_span(&ln->left);
    size_t before = in.n;
    /* Also with nothing left over: the parser may owe the end of the message. */
    in = tell(ln, in);
    if (ln->call != call)
        return; /* over, and `left` is gone with it */
    buf_eat(&ln->left, before - in.n);
    if (ln->left.n == 0)
        buf_done(&ln->left);
    line_update(ln);
}

/* --- events ----------------------------------------------------------------------------------- */
static void on_event(struct sock *s, int events)
{
    struct line *ln = CONTAINER_OF(s, struct line, sock);
    struct http_call *call = ln->call;
    if (call == NULL) { /* idle: the peer has closed, or speaks unasked */
        line_close(ln);
        return;
    }
    if (call->state != CALL_OPEN) {
        call_connecting(call);
        return;
    }
    if (events & SOCK_WRITE) {
        ln->blocked = false;
        line_send(ln);
    }
    if (events & SOCK_READ)
        read_some(ln);
    if ((events & SOCK_BROKEN) && ln->call == call && call->state == CALL_OPEN && !call->paused) {
        /* in error, and no read has said so */
        struct err e;
        err_set(&e, ERR_CUT, "http: the connection was reset");
        call_line_lost(call, &e);
    }
    if (sock_is_open(&ln->sock))
        line_update(ln);
}

void line_update(struct line *ln)
{
    struct http_call *call = ln->call;
    int want = 0;
    if (call == NULL || (call->state == CALL_OPEN && !call->paused))
        want = SOCK_READ;
    else if (call->state == CALL_CONNECT)
        want = SOCK_WRITE;
    else if (call->state == CALL_TUNNEL)
        want = SOCK_READ | (ln->blocked ? SOCK_WRITE : 0);
    else if (call->state == CALL_TLS && !ln->sock.read_wants_write)
        want = SOCK_READ;
    if (call != NULL && call->state == CALL_OPEN && ln->blocked && !ln->send_broken)
        want |= SOCK_WRITE;
    sock_watch(&ln->sock, want);
    if (call != NULL)
        call_arm(call);
}
