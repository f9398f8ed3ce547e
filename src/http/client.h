/* http/client.h - HTTP/1.1 client: calls over a pool of keep-alive connections, one per worker.
 *
 * Lives here: pool, DNS off the loop (cached), connect with all addresses, TLS with verification,
 * Unix sockets, a proxy, chunked and counted bodies, four timers, the stale-connection rule, cancel
 * that really closes. Not here: retries by policy, credentials, JSON (upstream/). Sources: RFC
 * 9110, 9112.
 *
 * One thread. Callbacks come from the loop, never from inside a function of this page, and never
 * after on_end, on_error or http_call_cancel(). Inside a callback http_call_cancel() and
 * http_call_pause() are allowed. */
#ifndef FUSOR_HTTP_CLIENT_H
#define FUSOR_HTTP_CLIENT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "http/server.h" /* struct http_header */
#include "loop/loop.h"

struct secret;
struct tls;
struct http_client; /* the pool */
struct http_call;   /* one request to an upstream and its answer */

/* Where to: parsed once from a base URL, kept by the caller as long as calls use it. */
struct http_origin {
    bool tls;
    char host[256]; /* name, IPv4 or IPv6 without brackets; "" for a Unix socket */
    char unix_path[108];
    char base[512];      /* path prefix without final slash: "/v1", or "" */
    char authority[272]; /* for the Host field: host[:port] */
    int port;
    uint64_t key; /* pool key, set by http_origin_parse() */
};
/* "https://host[:port][/base]", "http://...", "unix:/path/to.sock[:/base]". User info, query or
 * fragment: ERR_CONFIG. */
MUST_USE bool http_origin_parse(struct span url, struct http_origin *out, struct err *e);

struct http_timeouts {
    int64_t connect_us, first_byte_us, idle_us, total_us; /* 0: none */
};

struct http_call_spec {
    const struct http_origin *origin;
    struct tls *tls; /* needed when origin->tls; borrowed for the call */
    /* An HTTP proxy (no TLS to it, no Unix socket, ->base is not looked at), NULL: none; kept like
     * origin, which is then no Unix socket and whose name is the proxy's to resolve. https goes
     * through a tunnel (CONNECT), http is asked of the proxy by the whole URL. */
    const struct http_origin *proxy;
    struct secret
        *proxy_auth;    /* "user:password" for the proxy, NULL: none; borrowed for the call */
    const char *method; /* "GET", "POST" */
    struct span target; /* path behind origin->base, with query: "/chat/completions" */
    /* Extra; copied. host, accept-encoding, content-length and connection are ours. */
    const struct http_header *headers;
    size_t n_headers;
    struct span body; /* borrowed until the call's end */
    struct http_timeouts timeouts;
    size_t max_body; /* decoded bytes of the answer, 0: LIMIT_ANSWER_BYTES */
};

/* Times of a call, loop microseconds, 0 when it did not come so far. */
struct http_call_times {
    int64_t start_us, connected_us, sent_us, first_byte_us;
    bool reused; /* went over a pooled connection */
};

struct http_call_ops {
    /* Status line and fields; h is good during the call only. 1xx are skipped. */
    void (*on_head)(void *owner, int status, const struct http_header *h, size_t n);
    void (*on_body)(void *owner, struct span bytes); /* decoded; good during the call */
    void (*on_end)(void *owner);                     /* whole answer received */
    /* e->cls: ERR_CONNECT (SENT_NO), ERR_TIMEOUT, ERR_CUT, ERR_UPSTREAM (not HTTP), ERR_LIMIT,
     * ERR_NOMEM; e->sent says how far it came: SENT_NO also for what a proxy has not let through.
     * A failed connection's message names the hop: the proxy, or the origin. */
    void (*on_error)(void *owner, const struct err *e);
};

/* owned. Idle connections are kept for idle_us, at most max_idle per origin. */
MUST_USE struct http_client *http_client_new(struct loop *l, size_t max_idle, int64_t idle_us,
                                             struct err *e);
/* Running calls are dropped silently. Not from a callback of a call. */
void http_client_free(struct http_client *c);
/* Closes idle connections (after a reload). */
void http_client_forget(struct http_client *c);

/* Starts a call; NULL only when memory runs out or the spec is wrong (*e set). A request on a
 * reused connection that dies before its first response byte is sent once more on a fresh one, as
 * long as no timer has fired. */
MUST_USE struct http_call *http_call_start(struct http_client *c, const struct http_call_spec *spec,
                                           const struct http_call_ops *ops, void *owner,
                                           struct err *e);
/* Ends the call without a callback: the connection is closed now (before this returns, the FIN or
 * RST is out), unless the whole answer had been read. call is gone. */
void http_call_cancel(struct http_call *call);
/* Stops reading; idle and first-byte timers stand still meanwhile. */
void http_call_pause(struct http_call *call);
void http_call_resume(struct http_call *call);
const struct http_call_times *http_call_times_of(const struct http_call *call);

/* Adds the credentials "user:password" as a header field says them (RFC 7617): "Basic dTpw". */
MUST_USE bool http_basic(struct buf *out, struct span user_password, struct err *e);

#endif
