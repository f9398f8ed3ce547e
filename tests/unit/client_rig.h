/* client_rig.h - for tests of the HTTP client: a client on a real loop, a listening socket whose
 * answers the test writes, a log of what the call was told, and our own server that echoes. */
#ifndef FUSOR_TESTS_CLIENT_RIG_H
#define FUSOR_TESTS_CLIENT_RIG_H

#include "http_util.h"

struct log {
    int status;
    size_t n_heads, n_ends, n_errors;
    struct buf body;
    struct err e;
    struct http_call *call;    /* for what a callback does to its own call */
    bool pause, cancel, again; /* in on_head: pause; in on_body: cancel */
    struct http_call_times times;
};

static inline void log_head(void *owner, int status, const struct http_header *h, size_t n)
{
    struct log *l = owner;
    l->status = status;
    l->n_heads++;
    if (l->pause)
        http_call_pause(l->call);
}

static inline void log_body(void *owner, struct span bytes)
{
    struct log *l = owner;
    struct err e;
    assert_true(buf_add(&l->body, bytes, &e));
    if (l->cancel)
        http_call_cancel(l->call);
    else if (l->pause)
        http_call_pause(l->call);
}

static inline void log_end(void *owner)
{
    struct log *l = owner;
    l->n_ends++;
    l->times = *http_call_times_of(l->call);
    http_call_cancel(l->call); /* harmless */
}

static inline void log_error(void *owner, const struct err *e)
{
    struct log *l = owner;
    l->n_errors++;
    l->e = *e;
    l->times = *http_call_times_of(l->call);
}

static const struct http_call_ops ops = {log_head, log_body, log_end, log_error};

struct net {
    struct loop *l;
    struct http_client *c;
    struct http_origin o;
    int lfd, port; /* the scripted server listens here */
    struct buf in; /* what it has read */
    struct log log;
};

static inline void net_open(struct net *n)
{
    struct err e;
    char url[64];
    memset(n, 0, sizeof *n);
    n->l = loop_new(&e);
    assert_non_null(n->l);
    n->c = http_client_new(n->l, 4, 10000000, &e);
    assert_non_null(n->c);
    n->lfd = http_listen_tcp("127.0.0.1", 0, &n->port, &e);
    assert_true(n->lfd >= 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1", n->port);
    assert_true(http_origin_parse(span_of(url), &n->o, &e));
    buf_init(&n->in, MIB(64));
    buf_init(&n->log.body, MIB(64));
}

static inline void net_close(struct net *n)
{
    http_client_free(n->c);
    loop_step(n->l);
    loop_free(n->l);
    buf_done(&n->in);
    buf_done(&n->log.body);
    close(n->lfd);
}

static inline void log_clear(struct log *l)
{
    struct buf b = l->body;
    buf_clear(&b);
    memset(l, 0, sizeof *l);
    l->body = b;
}

static inline struct http_call_spec spec_of(struct net *n)
{
    return (struct http_call_spec){
        .origin = &n->o, .method = "POST", .target = SPAN("/chat"), .body = SPAN("{\"a\":1}")};
}

static inline void start(struct net *n, const struct http_call_spec *spec)
{
    struct err e;
    n->log.call = http_call_start(n->c, spec, &ops, &n->log, &e);
    assert_non_null(n->log.call);
}

static inline int accept_one(struct net *n)
{
    int fd = -1;
    PUMP(n->l, fd >= 0 || (fd = accept4(n->lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
    return fd;
}

/* A call whose whole request has reached the scripted server. */
static inline int begin(struct net *n, const struct http_call_spec *spec)
{
    start(n, spec);
    int fd = accept_one(n);
    PUMP(n->l, (raw_read(fd, &n->in), has(&n->in, "{\"a\":1}")));
    return fd;
}

static inline bool over(const struct net *n)
{
    return n->log.n_ends + n->log.n_errors > 0;
}

#define OK200 "HTTP/1.1 200 OK\r\n"

/* --- our own server as the other end -----------------------------------------------------------
 */
static inline size_t echo_head(void *app, struct http_exchange *x)
{
    return MIB(16);
}

static inline void echo(void *app, struct http_exchange *x)
{
    http_reply(x, 200, NULL, 0, http_is_local(x) ? SPAN("local") : http_body(x));
}

static const struct http_handler echo_handler = {echo_head, echo, NULL};
static const struct http_server_config echo_config = {.idle_timeout_us = 5000000};

static inline void call_ok(struct net *n, const struct http_call_spec *spec, struct span want)
{
    log_clear(&n->log);
    start(n, spec);
    PUMP(n->l, over(n));
    if (n->log.n_ends != 1)
        fail_msg("%s", n->log.e.msg);
    assert_true(span_eq(buf_span(&n->log.body), want));
}

#endif
