/* http/sock.h - one non-blocking byte stream: a socket, optionally TLS over it; private to http/.
 *
 * Lives here: readiness by uv_poll, reads and writes straight from and into the caller's memory,
 * closing at once. Not here: connections and their states, buffers, timers. The owner embeds a
 * struct sock and sets what it is interested in at one place of its own. */
#ifndef FUSOR_HTTP_SOCK_H
#define FUSOR_HTTP_SOCK_H

#include <uv.h>

#include "base/err.h"
#include "loop/loop.h"

struct iovec;
struct ssl_st;
struct tls;

enum sock_io { SOCK_OK = 0, SOCK_AGAIN, SOCK_EOF, SOCK_FAIL };

/* Interests, and what happened. */
enum { SOCK_READ = 1, SOCK_WRITE = 2, SOCK_LEFT = 4, SOCK_BROKEN = 8 };

struct sock {
    uv_poll_t poll;
    int fd;                /* -1: closed */
    int interest;          /* what the owner wants */
    int watched;           /* what libuv was told, UV_READABLE... */
    bool read_wants_write; /* TLS: a read waits for the socket to be writable */
    bool write_wants_read;
    bool ready;         /* TLS: the handshake is over */
    struct ssl_st *ssl; /* NULL: plain */
    struct tls *tls;
    void (*on_event)(struct sock *s, int events);
    void (*on_closed)(struct sock *s);
};

/* Takes fd (also on failure, where it is closed and s stays closed). on_event runs on the loop;
 * on_closed once after sock_close(), and only then may the memory go. */
MUST_USE bool sock_open(struct sock *s, struct loop *l, int fd,
                        void (*on_event)(struct sock *s, int events),
                        void (*on_closed)(struct sock *s), struct err *e);
/* TLS from the next byte on; host NULL: as the server. */
MUST_USE bool sock_start_tls(struct sock *s, struct tls *t, const char *host, struct err *e);
/* The client's handshake: SOCK_OK when it is over. */
MUST_USE enum sock_io sock_handshake(struct sock *s, struct err *e);
/* SOCK_READ, SOCK_WRITE and SOCK_LEFT (the peer's FIN, told also while not reading) in any
 * combination; a broken connection is always told unless interest is 0. */
void sock_watch(struct sock *s, int interest);
/* One read of at most cap bytes. SOCK_FAIL sets *e (ERR_CUT). */
MUST_USE enum sock_io sock_read(struct sock *s, char *to, size_t cap, size_t *out_n, struct err *e);
/* TLS holds decrypted bytes that no event will announce: a read with a small cap left them. */
bool sock_pending(const struct sock *s);
/* One write; *out_n may be less than offered. */
MUST_USE enum sock_io sock_write(struct sock *s, const struct iovec *iov, int n_iov, size_t *out_n,
                                 struct err *e);
/* No more bytes from us: FIN (TLS: close_notify before it). */
void sock_shutdown(struct sock *s);
/* Closes the descriptor before it returns; unread bytes make that an RST. Twice is fine. */
void sock_close(struct sock *s);
bool sock_is_open(const struct sock *s);

#endif
