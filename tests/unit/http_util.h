/* tests/unit/http_util.h - raw sockets and a loop in one thread: the loop is turned while a test
 * waits for something, so nothing depends on the scheduler. */
#ifndef FUSOR_TESTS_HTTP_UTIL_H
#define FUSOR_TESTS_HTTP_UTIL_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define ERR_STATE openssl_err_state /* OpenSSL's type of the name of our error class */
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#undef ERR_STATE

#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "http/client.h"
#include "http/server.h"
#include "http/tls.h"
#include "loop/loop.h"

#define PUMP_MAX_US 30000000

/* Turns the loop until cond holds; fails the test after half a minute. */
#define PUMP(l, cond)                                                                              \
    do {                                                                                           \
        int64_t end_ = clock_mono_us() + PUMP_MAX_US;                                              \
        while (!(cond)) {                                                                          \
            if (clock_mono_us() > end_)                                                            \
                fail_msg("never came: %s", #cond);                                                 \
            loop_step(l);                                                                          \
            if (!(cond))                                                                           \
                poll(NULL, 0, 1);                                                                  \
        }                                                                                          \
    } while (0)

static inline void pump_for(struct loop *l, int ms)
{
    for (int64_t end = clock_mono_us() + ms * 1000; clock_mono_us() < end; poll(NULL, 0, 1))
        loop_step(l);
}

static inline int raw_connect(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static inline void raw_send(int fd, struct span s)
{
    assert_int_equal(send(fd, s.p, s.n, MSG_NOSIGNAL), s.n);
}

/* Reads what is there; true at the peer's end (FIN or RST). */
static inline bool raw_read(int fd, struct buf *into)
{
    char tmp[65536];
    struct err e;
    for (;;) {
        ssize_t n = recv(fd, tmp, sizeof tmp, 0);
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n <= 0)
            return true;
        assert_true(buf_add(into, span_make(tmp, (size_t)n), &e));
    }
}

static inline bool has(const struct buf *b, const char *text)
{
    return span_index(buf_span(b), span_of(text)) < b->n;
}

/* Resets instead of closing. */
static inline void raw_reset(int fd)
{
    struct linger lg = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &lg, sizeof lg);
    close(fd);
}

/* A key and a certificate of its own, good for an hour: "DNS:localhost,IP:127.0.0.1". */
static inline void make_cert(const char *cert_file, const char *key_file, const char *san)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, name);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
    X509_add_ext(x, ext, -1);
    X509_EXTENSION_free(ext);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    FILE *f = fopen(cert_file, "w");
    PEM_write_X509(f, x);
    fclose(f);
    f = fopen(key_file, "w");
    PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    X509_free(x);
    EVP_PKEY_free(key);
}

#endif
