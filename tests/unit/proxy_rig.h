/* proxy_rig.h - for tests of calls through an HTTP proxy, which the test plays itself: it is asked,
 * it answers, it carries bytes to our own server with TLS. The origin's name exists nowhere: a call
 * that works was resolved by the proxy. */
#ifndef FUSOR_TESTS_PROXY_RIG_H
#define FUSOR_TESTS_PROXY_RIG_H

#include "client_rig.h"

#include "base/secret.h"

#define TARGET "target.invalid"

/* One connection through the proxy: what came from the client goes on to the origin and back. */
struct carrier {
    int fd, out;
    struct buf up, down; /* not yet written */
};

struct rig {
    struct net n; /* n.o is the origin; n.lfd is the proxy's socket */
    struct http_origin proxy;
    struct http_server *server; /* the origin's, with TLS */
    int server_fd, server_port;
    struct tls *server_tls, *knows, *knows_not;
    struct http_call_spec spec;
    struct carrier c;
};

static char cert_file[64], key_file[64];

static inline int make_files(void **state)
{
    snprintf(cert_file, sizeof cert_file, "/tmp/fusor-proxy-cert-%d.pem", (int)getpid());
    snprintf(key_file, sizeof key_file, "/tmp/fusor-proxy-key-%d.pem", (int)getpid());
    make_cert(cert_file, key_file, "DNS:" TARGET);
    return 0;
}

static inline int drop_files(void **state)
{
    unlink(cert_file);
    unlink(key_file);
    return 0;
}

static inline void set_origin(struct rig *r, const char *url)
{
    struct err e;
    assert_true(http_origin_parse(span_of(url), &r->n.o, &e));
}

static inline void set_proxy(struct rig *r, const char *url)
{
    struct err e;
    assert_true(http_origin_parse(span_of(url), &r->proxy, &e));
}

static inline void rig_open(struct rig *r)
{
    struct err e;
    char url[64];
    memset(r, 0, sizeof *r);
    net_open(&r->n);
    r->server_fd = http_listen_tcp("127.0.0.1", 0, &r->server_port, &e);
    r->server_tls = tls_server_new(cert_file, key_file, &e);
    r->knows = tls_client_new(cert_file, &e);
    r->knows_not = tls_client_new(NULL, &e);
    r->server = http_server_new(r->n.l, &echo_handler, NULL, &echo_config, &e);
    assert_true(http_server_listen(r->server, r->server_fd, r->server_tls, false, &e));
    snprintf(url, sizeof url, "http://127.0.0.1:%d", r->n.port);
    set_proxy(r, url);
    set_origin(r, "https://" TARGET ":8443/v1");
    r->spec = spec_of(&r->n);
    r->spec.tls = r->knows;
    r->spec.proxy = &r->proxy;
    r->c.fd = r->c.out = -1;
    buf_init(&r->c.up, MIB(16));
    buf_init(&r->c.down, MIB(16));
}

static inline void hang_up(struct rig *r)
{
    if (r->c.fd >= 0)
        close(r->c.fd);
    if (r->c.out >= 0)
        close(r->c.out);
    r->c.fd = r->c.out = -1;
    buf_clear(&r->c.up);
    buf_clear(&r->c.down);
    buf_clear(&r->n.in);
}

static inline void rig_close(struct rig *r)
{
    hang_up(r);
    http_server_free(r->server);
    close(r->server_fd);
    buf_done(&r->c.up);
    buf_done(&r->c.down);
    tls_free(r->server_tls);
    tls_free(r->knows);
    tls_free(r->knows_not);
    net_close(&r->n);
}

static inline bool move(int from, int to, struct buf *b)
{
    struct err e;
    char tmp[65536];
    ssize_t n = b->n == 0 ? recv(from, tmp, sizeof tmp, 0) : -1;
    if (n > 0)
        assert_true(buf_add(b, span_make(tmp, (size_t)n), &e));
    ssize_t sent = b->n > 0 ? send(to, buf_span(b).p, b->n, MSG_NOSIGNAL) : 0;
    if (sent > 0)
        buf_eat(b, (size_t)sent);
    return n == 0;
}

/* False at either end's end. */
static inline bool carry(struct carrier *c)
{
    if (c->out < 0)
        return true;
    bool up_ended = move(c->fd, c->out, &c->up); /* both are moved, whichever has ended */
    bool down_ended = move(c->out, c->fd, &c->down);
    return !up_ended && !down_ended;
}

/* A call that the proxy has been asked the way for. */
static inline void ask(struct rig *r)
{
    log_clear(&r->n.log);
    start(&r->n, &r->spec);
    r->c.fd = accept_one(&r->n);
    PUMP(r->n.l, (raw_read(r->c.fd, &r->n.in), has(&r->n.in, "\r\n\r\n")));
}

static inline void let_through(struct rig *r)
{
    r->c.out = raw_connect(r->server_port);
    raw_send(r->c.fd, SPAN("HTTP/1.1 200 Connection established\r\n\r\n"));
}

/* TLS has begun: the first byte of a handshake record. */
static inline bool hello_came(struct rig *r)
{
    raw_read(r->c.fd, &r->n.in);
    return r->n.in.n > 0 && buf_span(&r->n.in).p[0] == 0x16;
}

static inline void expect_error(struct rig *r, enum err_class cls, const char *msg)
{
    PUMP(r->n.l, (carry(&r->c), over(&r->n)));
    const struct err *e = &r->n.log.e;
    if (r->n.log.n_errors != 1 || e->cls != cls || e->sent != SENT_NO ||
        strstr(e->msg, msg) == NULL)
        fail_msg("want %s (%s), got %s (%s), sent %d", msg, err_class_name(cls), e->msg,
                 err_class_name(e->cls), e->sent);
}

static inline int accept_now(struct rig *r)
{
    return accept4(r->n.lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static inline void expect_echo(struct rig *r)
{
    PUMP(r->n.l, (carry(&r->c), over(&r->n)));
    if (r->n.log.n_ends != 1)
        fail_msg("%s", r->n.log.e.msg);
    assert_true(span_eq(buf_span(&r->n.log.body), r->spec.body));
}

#endif
