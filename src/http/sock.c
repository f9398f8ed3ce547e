/* http/sock.c - see http/sock.h. */
#include "http/sock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "http/tls_priv.h"

/* libuv stops a handle whose socket is in error and says UV_EBADF. What can still be read is read
 * first: the kernel keeps bytes that came before an RST. */
static void on_poll(uv_poll_t *h, int status, int events)
{
    struct sock *s = h->data;
    int got = 0;
    if (status < 0) {
        s->watched = 0;
        got = SOCK_BROKEN | (s->interest & SOCK_READ);
    } else {
        got |= events & UV_READABLE ? SOCK_READ : 0;
        got |= events & UV_WRITABLE ? SOCK_WRITE : 0;
        got |= events & UV_DISCONNECT ? SOCK_LEFT : 0;
        got |= events & UV_PRIORITIZED ? SOCK_BROKEN : 0;
    }
    if (s->read_wants_write && (got & SOCK_WRITE))
        got |= SOCK_READ;
    if (s->write_wants_read && (got & SOCK_READ))
        got |= SOCK_WRITE;
    s->on_event(s, got);
}

static void on_handle_closed(uv_handle_t *h)
{
    struct sock *s = h->data;
    s->on_closed(s);
}

bool sock_open(struct sock *s, struct loop *l, int fd, void (*on_event)(struct sock *s, int events),
               void (*on_closed)(struct sock *s), struct err *e)
{
    *s = (struct sock){.fd = -1, .on_event = on_event, .on_closed = on_closed};
    int one = 1;
    /* Fails on a Unix socket, where it means nothing. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int rc = uv_poll_init(loop_uv(l), &s->poll, fd);
    if (rc != 0) {
        close(fd);
        return err_set(e, rc == UV_ENOMEM ? ERR_NOMEM : ERR_SYS, "http: cannot watch a socket: %s",
                       uv_strerror(rc));
    }
    s->poll.data = s;
    s->fd = fd;
    s->ready = true;
    return true;
}

bool sock_start_tls(struct sock *s, struct tls *t, const char *host, struct err *e)
{
    s->ssl = tls_session_new(t, s->fd, host, e);
    if (s->ssl == NULL)
        return false;
    s->tls = tls_ref(t); /* the BIO's methods live there */
    s->ready = false;
    return true;
}

/* --- interest --------------------------------------------------------------------------------- */
void sock_watch(struct sock *s, int interest)
{
    if (s->fd < 0)
        return;
    s->interest = interest;
    int want = 0;
    want |= interest & SOCK_READ || s->write_wants_read ? UV_READABLE : 0;
    want |= interest & SOCK_WRITE || s->read_wants_write ? UV_WRITABLE : 0;
    want |= interest & SOCK_LEFT ? UV_DISCONNECT : 0;
    /* epoll tells of errors unasked, but only about what it watches at all. */
    if (want == 0 && interest & SOCK_BROKEN)
        want = UV_PRIORITIZED;
    if (want == s->watched)
        return;
    if (want == 0)
        uv_poll_stop(&s->poll);
    else
        uv_poll_start(&s->poll, want, on_poll);
    s->watched = want;
}

/* --- bytes ------------------------------------------------------------------------------------ */
static enum sock_io failed(struct err *e, int sys, const char *what)
{
    err_set(e, ERR_CUT, "http: %s: %s", what, sys != 0 ? uv_strerror(-sys) : "connection lost");
    if (e != NULL)
        e->sys = sys;
    return SOCK_FAIL;
}

/* Must follow an SSL call that has not succeeded. */
static enum sock_io ssl_outcome(struct sock *s, int rc, bool reading, const char *what,
                                struct err *e)
{
    int sys = errno;
    switch (SSL_get_error(s->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        s->write_wants_read = !reading;
        return SOCK_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        s->read_wants_write = reading;
        return SOCK_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return SOCK_EOF;
    case SSL_ERROR_SYSCALL:
        s->ready = false; /* no close_notify on a broken session */
        return failed(e, sys, what);
    default:
        s->ready = false;
        tls_error(e, ERR_CUT, what, s->ssl);
        return SOCK_FAIL;
    }
}

enum sock_io sock_handshake(struct sock *s, struct err *e)
{
    ERR_clear_error();
    errno = 0;
    s->read_wants_write = s->write_wants_read = false;
    int rc = SSL_do_handshake(s->ssl);
    if (rc == 1) {
        s->ready = true;
        return SOCK_OK;
    }
    return ssl_outcome(s, rc, true, "TLS handshake", e);
}

static enum sock_io ssl_read(struct sock *s, char *to, size_t cap, size_t *out_n, struct err *e)
{
    ERR_clear_error();
    errno = 0;
    s->read_wants_write = false;
    int rc = SSL_read_ex(s->ssl, to, cap, out_n);
    if (rc == 1) {
        s->ready = true;
        return SOCK_OK;
    }
    return ssl_outcome(s, rc, true, "TLS read", e);
}

enum sock_io sock_read(struct sock *s, char *to, size_t cap, size_t *out_n, struct err *e)
{
    if (s->ssl != NULL)
        return ssl_read(s, to, cap, out_n, e);
    ssize_t rc;
    do {
        rc = recv(s->fd, to, cap, 0);
    } while (rc < 0 && errno == EINTR);
    if (rc > 0) {
        *out_n = (size_t)rc;
        return SOCK_OK;
    }
    if (rc == 0)
        return SOCK_EOF;
    return errno == EAGAIN ? SOCK_AGAIN : failed(e, errno, "read");
}

bool sock_pending(const struct sock *s)
{
    return s->ssl != NULL && SSL_pending(s->ssl) > 0;
}

static enum sock_io ssl_write(struct sock *s, const struct iovec *iov, int n_iov, size_t *out_n,
                              struct err *e)
{
    *out_n = 0;
    for (int i = 0; i < n_iov; i++) {
        size_t n = 0;
        if (iov[i].iov_len == 0)
            continue;
        ERR_clear_error();
        errno = 0;
        s->write_wants_read = false;
        int rc = SSL_write_ex(s->ssl, iov[i].iov_base, iov[i].iov_len, &n);
        if (rc != 1)
            return *out_n > 0 ? SOCK_OK : ssl_outcome(s, rc, false, "TLS write", e);
        s->ready = true;
        *out_n += n;
        if (n < iov[i].iov_len)
            return SOCK_OK;
    }
    return SOCK_OK;
}

enum sock_io sock_write(struct sock *s, const struct iovec *iov, int n_iov, size_t *out_n,
                        struct err *e)
{
    if (s->ssl != NULL)
        return ssl_write(s, iov, n_iov, out_n, e);
    /* sendmsg() does not change the pieces; its type just does not say so. */
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n_iov};
    ssize_t rc;
    do {
        rc = n_iov == 1 ? send(s->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                        : sendmsg(s->fd, &m, MSG_NOSIGNAL);
    } while (rc < 0 && errno == EINTR);
    if (rc >= 0) {
        *out_n = (size_t)rc;
        return SOCK_OK;
    }
    return errno == EAGAIN || errno == ENOBUFS ? SOCK_AGAIN : failed(e, errno, "write");
}

/* --- the end ---------------------------------------------------------------------------------- */
static void say_goodbye(struct sock *s)
{
    if (s->ssl != NULL && s->ready) {
        ERR_clear_error();
        SSL_shutdown(s->ssl); /* sends close_notify if the socket takes it; no answer is awaited */
        ERR_clear_error();
        s->ready = false;
    }
}

void sock_shutdown(struct sock *s)
{
    if (s->fd < 0)
        return;
    say_goodbye(s);
    shutdown(s->fd, SHUT_WR);
}

void sock_close(struct sock *s)
{
    if (s->fd < 0)
        return;
    say_goodbye(s);
    /* In this order: uv_close() takes the descriptor out of epoll, after that it may be closed. */
    uv_close((uv_handle_t *)&s->poll, on_handle_closed);
    close(s->fd);
    s->fd = -1;
    SSL_free(s->ssl);
    s->ssl = NULL;
    tls_free(TAKE(s->tls));
}

bool sock_is_open(const struct sock *s)
{
    return s->fd >= 0;
}
