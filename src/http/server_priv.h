/* http/server_priv.h - the server's insides, shared by server.c (listening, drain), conn.c (a
 * connection's input and life), exchange.c (a request) and answer.c (its answer). */
#ifndef FUSOR_HTTP_SERVER_PRIV_H
#define FUSOR_HTTP_SERVER_PRIV_H

#include "base/buf.h"
#include "base/limits.h"
#include "base/list.h"
#include "http/parse.h"
#include "http/server.h"
#include "http/sock.h"

enum {
    READ_BYTES = 65536,     /* the read buffer that all connections of a server share */
    KEEP_EXCHANGES = 64,    /* exchanges kept for reuse */
    KEEP_HEAD_BYTES = 4096, /* of their head storage */
    KEEP_OUT_BYTES = 8192,  /* of an open stream's out buffer */
    IDLE_OUT_BYTES = 2048,  /* of an idle connection's out buffer */
    SKIP_BYTES = 65536,     /* a body not asked for is read and forgotten up to this size */
    CHUNK_PREFIX = 10,      /* "0000012c\r\n", written when the chunk's size is known */
    CHUNK_TAIL = 7          /* "\r\n" and "0\r\n\r\n" */
};

struct listener {
    uv_poll_t poll;
    struct list node;
    struct http_server *server; /* NULL once closed */
    struct tls *tls;
    struct loop_timer retry; /* out of descriptors: look again later */
    int fd;                  /* borrowed */
    bool local;
};

struct http_server {
    struct loop *loop;
    const struct http_handler *handler;
    void *app;
    struct http_server_config config;
    struct list listeners, conns, free_exchanges;
    size_t n_conns, n_free;
    bool draining;
    void (*on_idle)(void *arg);
    void *on_idle_arg;
    struct loop_task idle_task;
    int64_t date_s;
    char date[40]; /* "date: ...\r\n" of date_s */
    char *rbuf;    /* READ_BYTES, lent to one connection at a time */
};

/* The input's side of a connection. x is there in HEAD, BODY and WAIT. */
enum conn_state {
    CONN_IDLE,    /* between requests */
    CONN_HEAD,    /* a head is being read, unseen by the handler */
    CONN_BODY,    /* the handler has seen the head; the body is read into x */
    CONN_WAIT,    /* the request is whole; x is the handler's until it ends it */
    CONN_SKIP,    /* answered early: the rest of the body is read and forgotten */
    CONN_CLOSING, /* what waits is sent, then the connection is closed */
    CONN_LINGER,  /* FIN sent; reads and forgets, so that no RST overtakes the answer */
    CONN_CLOSED   /* waits for libuv to let go of the handle */
};

struct conn {
    struct sock sock;
    struct http_server *server;
    struct list node;
    struct loop_timer timer; /* lazily: armed at or before the deadline */
    struct loop_task task;
    enum conn_state state;
    struct parse parse;
    struct http_exchange *x;
    struct buf kept;  /* bytes of pipelined requests */
    struct buf out;   /* unsent bytes */
    size_t chunk_at;  /* where in out the open chunk begins, if chunk_open */
    size_t lingered;  /* bytes forgotten */
    int64_t since_us; /* when the state was entered */
    int64_t read_us;  /* last read */
    int64_t write_us; /* last byte taken by the client, or when waiting began */
    bool local, served, chunk_open;
    bool busy;               /* inside an event: what the handler asks for is done at its end */
    bool again;              /* asked for while busy */
    bool blocked;            /* the socket takes no more for now */
    bool fin;                /* the client has ended its side */
    bool close_after;        /* the answer says connection: close */
    bool linger;             /* unread bytes may come: close gently */
    bool doomed;             /* cannot go on, found outside an event */
    enum err_class given_up; /* doomed by a streamed answer: see http_given_up() */
};

struct http_exchange {
    struct conn *conn;
    struct list node; /* in free_exchanges */
    struct head head;
    struct arena *arena;
    struct span path, query;
    char *body;
    size_t body_n, body_cap, body_max;
    int64_t started_us;
    void *owner;
    void (*on_close)(void *owner);
    void (*on_drain)(void *owner);
    bool begun, chunked, no_body, told_full;
    bool gone; /* on_close is running */
};

/* --- conn.c ----------------------------------------------------------------------------------- */
/* Takes fd. */
void conn_new(struct http_server *s, const struct listener *l, int fd);
/* Closes without telling anybody. */
void conn_close(struct conn *c);
/* Closes and tells x's watcher. On the loop only. */
void conn_lost(struct conn *c);
/* The draining server: closes now what has nothing to answer. */
void conn_drain(struct conn *c);
/* Something has changed from outside an event: look at it at the end of this turn. */
void conn_poke(struct conn *c);
void conn_to(struct conn *c, enum conn_state state);
/* Ends x: frees it and says what its connection does next. */
void conn_finish(struct http_exchange *x);

/* --- answer.c --------------------------------------------------------------------------------- */
/* Sends what waits; false when the connection is broken. */
bool conn_flush(struct conn *c);
/* An answer to what is no request: connection: close. */
void answer_error(struct http_exchange *x, int status, const struct http_header *h,
                  size_t n_headers, struct span body);

/* --- exchange.c ------------------------------------------------------------------------------- */
MUST_USE struct http_exchange *exchange_new(struct http_server *s, struct conn *c);
void exchange_free(struct http_server *s, struct http_exchange *x);
void exchange_drop_pool(struct http_server *s);
/* After the head: path and query. */
void exchange_set_target(struct http_exchange *x);
MUST_USE bool exchange_add_body(struct http_exchange *x, struct span bytes, struct err *e);

/* --- server.c --------------------------------------------------------------------------------- */
/* A connection is gone: the last one ends a drain. */
void server_conn_gone(struct http_server *s);
struct span server_date(struct http_server *s);

#endif
