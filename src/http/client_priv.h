/* http/client_priv.h - the client's insides, shared by client.c (pool), resolve.c (names), call.c
 * (a call's life), proxy.c (the way through a proxy) and line.c (a connection's bytes). */
#ifndef FUSOR_HTTP_CLIENT_PRIV_H
#define FUSOR_HTTP_CLIENT_PRIV_H

#include <sys/socket.h>

#include "base/limits.h"
#include "base/list.h"
#include "http/client.h"
#include "http/parse.h"
#include "http/sock.h"

enum {
    ADDRESSES = 8, /* of one name that are tried */
    DNS_KEEP_US = 30000000,
    CLIENT_READ_BYTES = 65536,
    KEEP_CALLS = 64,           /* call structs kept for reuse */
    KEEP_REQUEST_BYTES = 8192, /* of their request buffer */
    JOIN_BYTES = 16384,        /* TLS: a body up to this size goes into one record with the head */
    TRY_NEXT_US = 250000       /* at least this long per address when others wait */
};

/* Addresses of one name, shared by the cache and the calls that are connecting. */
struct addresses {
    int refs;
    size_t n;
    struct sockaddr_storage a[ADDRESSES];
    socklen_t len[ADDRESSES];
};

struct pool {
    struct list node; /* in client->pools */
    struct list idle; /* of lines; the last is the freshest */
    size_t n_idle, n_lines;
    struct http_origin origin;
    struct tls *tls; /* a reference: its address is part of the key */
    bool proxied;
    struct http_origin proxy;  /* if proxied */
    struct secret *proxy_auth; /* a reference: a tunnel is for whom it was opened */
};

struct http_client {
    struct loop *loop;
    struct list pools, names, free_calls, calls;
    struct list idle; /* all idle lines, oldest first */
    size_t n_free_calls, max_idle;
    int64_t idle_us;
    struct loop_timer sweep;
    char *rbuf; /* CLIENT_READ_BYTES, lent to one line at a time */
};

/* A connection. */
struct line {
    struct sock sock;
    struct http_client *client;
    struct pool *pool;
    struct http_call *call; /* NULL: idle in the pool */
    struct list pool_node, idle_node;
    int64_t idle_since_us;
    struct parse parse;
    struct head head;
    struct buf left;  /* read but not told yet: the call was paused */
    struct buf hello; /* CALL_TUNNEL: what is left to send of CONNECT */
    bool send_broken; /* the request cannot be sent to its end; an answer may still come */
    bool used;        /* has carried a call before */
    bool blocked;     /* the socket takes no more for now */
    bool eof;         /* the peer has ended, told once `left` is used up */
};

enum call_state {
    CALL_NEW,     /* begins at the end of this turn */
    CALL_RESOLVE, /* waits for the name; no line */
    CALL_CONNECT, /* line is connecting to addresses[at] */
    CALL_TUNNEL,  /* line asks the proxy for the way to the origin */
    CALL_TLS,     /* line is shaking hands with the origin */
    CALL_OPEN,    /* the request is being sent, the answer read */
    CALL_OVER     /* its last callback is running or it is gone */
};

struct http_call {
    struct http_client *client;
    struct list node;   /* in client->calls or ->free_calls */
    struct list waiter; /* in a name's waiters */
    enum call_state state;
    const struct http_call_ops *ops;
    void *owner;
    const struct http_origin *origin, *proxy;
    struct tls *tls;
    struct pool *pool;
    struct line *line;
    struct addresses *addresses;
    size_t at;
    struct buf request; /* the head, or head and small body */
    struct span body;   /* what is not in request; borrowed */
    size_t sent;        /* bytes of request and body */
    size_t received;    /* decoded body bytes */
    struct http_timeouts timeouts;
    size_t max_body;
    struct http_call_times times;
    struct loop_timer timer; /* lazily: armed at or before the deadline */
    struct loop_task task;
    int64_t fresh_us;     /* when a new connection was asked for */
    int64_t try_until_us; /* this address's share of the connect time */
    int64_t read_us;      /* last read, or when reading went on */
    int64_t send_us;      /* when sending began, moved on by pauses */
    int64_t paused_us;    /* when pause began */
    struct err last;      /* why the previous address failed */
    bool no_body, paused, retried;
};

/* --- client.c --------------------------------------------------------------------------------- */
MUST_USE struct pool *pool_of(struct http_client *c, const struct http_call_spec *spec);
/* The freshest idle line, or NULL. */
struct line *pool_take(struct pool *p);
/* Keeps an idle line or closes it. */
void pool_put(struct line *ln);
/* Closes; call and pool are detached. */
void line_close(struct line *ln);

/* Whom a line of the call is connected to. */
static inline const struct http_origin *call_hop(const struct http_call *call)
{
    return call->proxy != NULL ? call->proxy : call->origin;
}

/* --- resolve.c -------------------------------------------------------------------------------- */
struct addresses *addresses_ref(struct addresses *a);
void addresses_free(struct addresses *a);
/* Sets call->addresses at once (true), or puts the call among the waiters of a name:
 * call_resolved() is called later. False with *e set when neither. */
enum resolve { RESOLVED, RESOLVING, RESOLVE_FAILED };
MUST_USE enum resolve resolve(struct http_call *call, struct err *e);
void resolve_drop(struct http_client *c);

/* --- line.c ----------------------------------------------------------------------------------- */
/* owned by the pool from now on; connecting to that address. NULL: *e set. */
MUST_USE struct line *line_new(struct http_client *c, struct pool *p, const struct sockaddr *a,
                               socklen_t len, struct err *e);
/* The line carries the call's request from its first byte. */
void line_begin(struct line *ln);
/* Sends what the socket takes; trouble shows in send_broken. */
void line_send(struct line *ln);
/* Tells what was left over by a pause, then goes on reading. */
void line_resume(struct line *ln);
/* Sets interest from state. Ends every event. */
void line_update(struct line *ln);

/* --- proxy.c ---------------------------------------------------------------------------------- */
enum proxy_step {
    PROXY_MORE,
    PROXY_OPEN,   /* the next byte is the origin's */
    PROXY_LOST,   /* *e: the connection has died */
    PROXY_REFUSED /* *e: the proxy has said no, or no sense */
};
/* Begins to ask for the way to the origin. */
MUST_USE bool proxy_begin(struct line *ln, struct err *e);
/* Sends and reads what can be. */
MUST_USE enum proxy_step proxy_go_on(struct line *ln, struct err *e);
/* Forgets what was asked. */
void proxy_end(struct line *ln);
/* What 407 means; always false. */
bool proxy_wants_auth(const struct http_call *call, struct err *e);
/* Adds the field with the call's credentials, if there are some. */
MUST_USE bool proxy_add_auth(struct buf *b, const struct secret *auth, struct err *e);

/* --- call.c ----------------------------------------------------------------------------------- */
void call_resolved(struct http_call *call, struct addresses *a, const struct err *why);
/* The socket's news before CALL_OPEN. */
void call_connecting(struct http_call *call);
void call_on_head(struct http_call *call);
void call_on_body(struct http_call *call, struct span bytes);
void call_on_end(struct http_call *call);
/* Ends with on_error; closes the line. */
void call_fail(struct http_call *call, const struct err *why);
/* The line has died under the call: once more on a fresh one, or the end. */
void call_line_lost(struct http_call *call, const struct err *why);
/* Sets the timer from the deadlines. */
void call_arm(struct http_call *call);

#endif
