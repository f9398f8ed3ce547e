/* http/proxy.c - see http/client.h: the way to an https origin through an HTTP proxy: CONNECT and
 * the answer to it (RFC 9110, 9.3.6), and who asks (RFC 7617). The proxy is trusted with nothing
 * but to carry bytes: of its answer only the status counts, no word of it goes into a message, and
 * not one byte of it reaches TLS. */
#include <sys/uio.h>

#include "base/secret.h"
#include "http/client_priv.h"

/* --- credentials ------------------------------------------------------------------------------ */
/* RFC 4648, section 4. */
static void base64_of(struct span s, char out[static 4])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t v = 0;
    for (size_t i = 0; i < 3; i++)
        v = v << 8 | (i < s.n ? (unsigned char)s.p[i] : 0);
    for (size_t i = 0; i < 4; i++)
        out[i] = i <= s.n ? digits[v >> (18 - 6 * i) & 63] : '=';
}

bool http_basic(struct buf *out, struct span user_password, struct err *e)
{
    char four[4];
    bool ok = buf_add(out, SPAN("Basic "), e);
    for (; ok && user_password.n > 0; user_password = span_from(user_password, 3)) {
        base64_of(span_upto(user_password, 3), four);
        ok = buf_add(out, span_make(four, sizeof four), e);
    }
    return ok;
}

bool proxy_add_auth(struct buf *b, const struct secret *auth, struct err *e)
{
    return auth == NULL || (buf_add(b, SPAN("proxy-authorization: "), e) &&
                            http_basic(b, secret_reveal(auth), e) && buf_add(b, SPAN("\r\n"), e));
}

bool proxy_wants_auth(const struct http_call *call, struct err *e)
{
    return err_set(e, ERR_CONNECT,
                   call->pool->proxy_auth != NULL
                       ? "it does not accept the user and password of `proxy_auth` (status 407)"
                       : "it asks for a user and a password (status 407): give it `proxy_auth`");
}

/* --- CONNECT ---------------------------------------------------------------------------------- */
bool proxy_begin(struct line *ln, struct err *e)
{
    const struct http_origin *o = ln->call->origin;
    const struct secret *auth = ln->call->pool->proxy_auth;
    const char *form = strchr(o->host, ':') != NULL ? "[%s]:%d" : "%s:%d";
    char target[sizeof o->host + 16], *all;
    snprintf(target, sizeof target, form, o->host, o->port);
    buf_init(&ln->hello, LIMIT_HEAD_BYTES);
    /* Room for all at once: growing would leave copies of the credentials behind. */
    if (!buf_room(&ln->hello, 2 * strlen(target) + 2 * secret_reveal(auth).n + 128, &all, e) ||
        !buf_addf(&ln->hello, e, "CONNECT %s HTTP/1.1\r\nhost: %s\r\n", target, target) ||
        !proxy_add_auth(&ln->hello, auth, e) || !buf_add(&ln->hello, SPAN("\r\n"), e))
        return false;
    head_clear(&ln->head, KEEP_REQUEST_BYTES);
    /* An answer to CONNECT has no body that is of use: what follows a good one is the tunnel,
     * whatever lengths it names, and behind another one the connection ends. */
    parse_init(&ln->parse, PARSE_RESPONSE, true, &ln->head);
    ln->send_broken = ln->blocked = false;
    return true;
}

void proxy_end(struct line *ln)
{
    if (ln->hello.mem != NULL)
        explicit_bzero(ln->hello.mem, ln->hello.cap);
    buf_done(&ln->hello);
}

static void send_hello(struct line *ln)
{
    ln->blocked = false;
    while (ln->hello.n > 0 && !ln->blocked && !ln->send_broken) {
        struct span s = buf_span(&ln->hello);
        struct iovec iov = {(void *)(uintptr_t)s.p, s.n};
        size_t n = 0;
        struct err e;
        switch (sock_write(&ln->sock, &iov, 1, &n, &e)) {
        case SOCK_OK:
            buf_eat(&ln->hello, n);
            break;
        case SOCK_AGAIN:
            ln->blocked = true;
            break;
        case SOCK_EOF:
        case SOCK_FAIL: /* the answer may say why */
            ln->send_broken = true;
            break;
        }
    }
}

static bool check_status(const struct line *ln, struct err *e)
{
    const struct http_origin *o = ln->call->origin;
    int status = ln->head.status;
    if (status == 407)
        return proxy_wants_auth(ln->call, e);
    if (status >= 500)
        return err_set(e, ERR_CONNECT, "it cannot reach %s (status %d)", o->authority, status);
    if (status / 100 != 2)
        return err_set(e, ERR_CONNECT, "it refuses the way to %s (status %d)", o->authority,
                       status);
    return ln->hello.n == 0 || err_set(e, ERR_CONNECT, "it answered CONNECT before it had read it");
}

static enum proxy_step not_http(struct err *e)
{
    if (e->cls == ERR_NOMEM)
        return PROXY_REFUSED;
    struct err why = *e;
    err_set(e, ERR_CONNECT, "what answers CONNECT is no HTTP proxy: %s", why.msg);
    return PROXY_REFUSED;
}

/* Reads on until the answer's head is whole. */
static enum proxy_step read_answer(struct line *ln, struct span in, struct err *e)
{
    struct span body;
    for (;;) {
        switch (parse_next(&ln->parse, &in, &body, e)) {
        case PARSE_MORE:
            return PROXY_MORE;
        case PARSE_HEAD:
            if (!check_status(ln, e))
                return PROXY_REFUSED;
            break;
        case PARSE_BODY: /* the parser was told that there is none */
            err_set(e, ERR_STATE, "a body of its answer to CONNECT");
            return PROXY_REFUSED;
        case PARSE_END:
            if (in.n == 0)
                return PROXY_OPEN;
            /* A TLS server never speaks first: these bytes are the proxy's own. */
            err_set(e, ERR_CONNECT, "it sent %zu bytes of its own into the tunnel", in.n);
            return PROXY_REFUSED;
        case PARSE_FAIL:
            return not_http(e);
        }
    }
}

enum proxy_step proxy_go_on(struct line *ln, struct err *e)
{
    enum proxy_step step = PROXY_MORE;
    send_hello(ln);
    while (step == PROXY_MORE) { /* ends: a head is bounded */
        size_t n = 0;
        switch (sock_read(&ln->sock, ln->client->rbuf, CLIENT_READ_BYTES, &n, e)) {
        case SOCK_OK:
            step = read_answer(ln, span_make(ln->client->rbuf, n), e);
            break;
        case SOCK_AGAIN:
            return PROXY_MORE;
        case SOCK_EOF:
            err_set(e, ERR_CONNECT, "the connection was closed before CONNECT was answered");
            return PROXY_LOST;
        case SOCK_FAIL:
            return PROXY_LOST;
        }
    }
    return step;
}
