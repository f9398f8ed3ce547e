/* http/server.h - HTTP/1.1 server: connections, requests in order, answers whole or streamed.
 *
 * Lives here: listening, keep-alive, pipelining (one request at a time, the next waits unparsed),
 * chunked bodies both ways, Expect: 100-continue, TLS, head and body limits, slow-client timers,
 * back-pressure, drain, and noticing that the client has left. Not here: routes, methods, auth,
 * JSON (api/). Parser: llhttp with the five guards (docs/architecture.md, "HTTP"). Sources: RFC
 * 9110, 9112.
 *
 * All of a server's objects belong to its loop's thread. Handlers are called from the loop, never
 * from inside a function of this page; an exchange stays valid until on_close or until its handler
 * has ended it (http_reply, http_end, http_abort), whichever is first. */
#ifndef FUSOR_HTTP_SERVER_H
#define FUSOR_HTTP_SERVER_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"
#include "loop/loop.h"

struct buf;
struct tls;
struct http_server;
struct http_exchange; /* one request and its answer */

struct http_header {
    struct span name, value;
};

enum http_method {
    HTTP_METHOD_GET,
    HTTP_METHOD_HEAD,
    HTTP_METHOD_POST,
    HTTP_METHOD_PUT,
    HTTP_METHOD_DELETE,
    HTTP_METHOD_PATCH,
    HTTP_METHOD_OPTIONS,
    HTTP_METHOD_OTHER
};

#define HTTP_BAD_HEADERS 13

struct http_handler {
    /* The head is whole, no body byte was read. Returns how large a body may be (bytes); the
     * handler may also answer now (http_reply): the body is skipped or the connection closed. */
    size_t (*on_head)(void *app, struct http_exchange *x);
    /* Head and body are whole: answer now or later. */
    void (*on_request)(void *app, struct http_exchange *x);
    /* The client's bytes were broken or too large before a request could be made of them: fill
     * `body` (already initialised) with an error body in the right dialect and h with its headers,
     * and return how many; the server adds connection: close. x has a path only when on_head has
     * seen it; of its headers those that came. e->status is 400, 408 (head or body too slow), 413,
     * 414, 417 or 431. When the handler has already called http_watch(), its on_close follows. */
    size_t (*on_bad_request)(void *app, struct http_exchange *x, const struct err *e,
                             struct buf *body, struct http_header h[static HTTP_BAD_HEADERS]);
};

struct http_server_config {
    int64_t head_timeout_us;  /* whole head, from its first byte */
    int64_t idle_timeout_us;  /* keep-alive connection without a request */
    int64_t body_timeout_us;  /* between two reads of a body */
    int64_t write_timeout_us; /* client takes no byte of what is waiting */
    bool half_close_keep;     /* FIN from the client does not mean that it left */
    size_t max_connections;   /* per server; further ones are accepted and closed with 503 */
};

/* owned. The handler's callbacks get `app`. */
MUST_USE struct http_server *http_server_new(struct loop *l, const struct http_handler *h,
                                             void *app, const struct http_server_config *c,
                                             struct err *e);
/* Accepts on an open listening socket (shared by all workers, borrowed; stays open). tls may be
 * NULL; the reference is taken. local: the 0600 Unix socket (http_is_local() is true on its
 * exchanges). May be called several times. */
MUST_USE bool http_server_listen(struct http_server *s, int fd, struct tls *tls, bool local,
                                 struct err *e);
/* For new connections from now on; NULL keeps plain sockets plain. */
void http_server_set_tls(struct http_server *s, struct tls *tls);
/* Accepts what is queued, stops listening, ends keep-alive (connection: close on each answer);
 * on_idle runs once when no connection is left. */
void http_server_drain(struct http_server *s, void (*on_idle)(void *arg), void *arg);
/* Closes all at once (each open exchange gets its on_close) and frees. Not from a callback. */
void http_server_free(struct http_server *s);
size_t http_server_connections(const struct http_server *s);

/* Opens a listening TCP socket (close-on-exec, SO_REUSEADDR, non-blocking), address "127.0.0.1",
 * "::1"; port 0 picks one (*out_port). An address in use: ERR_CONFIG naming the holder's pid and
 * program when /proc tells. -1 on failure. */
MUST_USE int http_listen_tcp(const char *address, int port, int *out_port, struct err *e);
/* The same for a Unix socket, mode 0600; a stale socket file is replaced, a live one is ERR_CONFIG.
 */
MUST_USE int http_listen_unix(const char *path, struct err *e);

/* --- the request ------------------------------------------------------------------------------ */
enum http_method http_method_of(const struct http_exchange *x);
struct span http_method_name(const struct http_exchange *x);
struct span http_path(const struct http_exchange *x);  /* percent-encoded as sent, without query */
struct span http_query(const struct http_exchange *x); /* after '?', may be empty */
/* First field of that name (lower case); p NULL when absent. */
struct span http_header_of(const struct http_exchange *x, const char *lower_name);
/* Names are lower-cased. */
size_t http_header_count(const struct http_exchange *x);
struct http_header http_header_at(const struct http_exchange *x, size_t i);
struct span http_body(const struct http_exchange *x); /* whole; good while x lives, or till: */
void http_drop_body(struct http_exchange *x);         /* frees it, from on_request on: empty then */
struct arena *http_arena(struct http_exchange *x);    /* freed with x; never NULL */
bool http_is_local(const struct http_exchange *x);    /* came over the Unix socket */
int64_t http_started_us(const struct http_exchange *x); /* loop time of the head's last byte */

/* --- the answer ------------------------------------------------------------------------------- */
/* The handler's own pointer, and what is told when the client leaves or the answer cannot be sent:
 * on_close runs at most once, from the loop, only while the answer has not been ended; after it x
 * is gone. on_drain: unsent bytes fell below LIMIT_OUT_LOW_BYTES after http_write() said "full". */
void http_watch(struct http_exchange *x, void *owner, void (*on_close)(void *owner),
                void (*on_drain)(void *owner));
/* A whole answer: content-length is added; x is gone when this returns. Out of memory closes the
 * connection. HEAD gets no body. */
void http_reply(struct http_exchange *x, int status, const struct http_header *h, size_t n_headers,
                struct span body);
/* Starts a streamed answer (chunked; HTTP/1.0 clients: until close). Nothing is sent before the
 * first write or the end of this turn, so head and first bytes go out together. */
void http_begin(struct http_exchange *x, int status, const struct http_header *h, size_t n_headers);
/* Queues bytes (copied once into the connection's reused buffer); writes of one turn go out as one
 * chunk and one syscall. Returns false when more than LIMIT_OUT_HIGH_BYTES wait: stop until
 * on_drain. Over LIMIT_OUT_MAX_BYTES the connection is closed (on_close). */
bool http_write(struct http_exchange *x, struct span bytes);
/* Why a streamed answer is given up, also within on_close: ERR_LIMIT (more than LIMIT_OUT_MAX_BYTES
 * unsent), ERR_NOMEM; ERR_NONE: it is not, or because the client has left. */
enum err_class http_given_up(const struct http_exchange *x);
bool http_begun(const struct http_exchange *x);
/* Ends a streamed answer cleanly; x is gone. */
void http_end(struct http_exchange *x);
/* Sends what waits, then closes the connection without the final chunk, so that the client sees a
 * cut answer; x is gone. */
void http_abort(struct http_exchange *x);

/* Status text ("Not Found"); "" for unknown. */
const char *http_status_text(int status);

#endif
