/* http/tls.c - see http/tls.h. Contexts, sessions, and the BIO that sends without SIGPIPE. */
#include "http/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>

#include "base/mem.h"
#include "http/tls_priv.h"

struct tls {
    atomic_int refs;
    SSL_CTX *ctx;
    BIO_METHOD *bio;
    bool client;
};

/* --- a BIO over a socket: OpenSSL's own writes with write(2), which raises SIGPIPE ------------ */
static int bio_fd(BIO *b)
{
    return (int)(intptr_t)BIO_get_data(b);
}

static int bio_write(BIO *b, const char *p, int n)
{
    BIO_clear_retry_flags(b);
    ssize_t rc = send(bio_fd(b), p, (size_t)n, MSG_NOSIGNAL);
    if (rc < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(b);
    return (int)rc;
}

static int bio_read(BIO *b, char *p, int n)
{
    BIO_clear_retry_flags(b);
    ssize_t rc = recv(bio_fd(b), p, (size_t)n, 0);
    if (rc < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(b);
    return (int)rc;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "fusor socket");
    if (m != NULL) {
        BIO_meth_set_write(m, bio_write);
        BIO_meth_set_read(m, bio_read);
        BIO_meth_set_ctrl(m, bio_ctrl);
    }
    return m;
}

/* --- errors ----------------------------------------------------------------------------------- */
bool tls_error(struct err *e, enum err_class cls, const char *what, const SSL *ssl)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    long verify = ssl != NULL ? SSL_get_verify_result(ssl) : X509_V_OK;
    ERR_clear_error();
    if (verify != X509_V_OK)
        return err_set(e, cls, "%s: the certificate is not accepted: %s", what,
                       X509_verify_cert_error_string(verify));
    return err_set(e, cls, "%s: %s", what, reason != NULL ? reason : "TLS failure");
}

/* --- contexts --------------------------------------------------------------------------------- */
static struct tls *context_new(bool client, struct err *e)
{
    AUTO(tls) t = mem_zalloc(sizeof *t);
    if (t == NULL) {
        err_set(e, ERR_NOMEM, "tls: out of memory");
        return NULL;
    }
    atomic_init(&t->refs, 1);
    t->client = client;
    t->bio = bio_method();
    t->ctx = SSL_CTX_new(client ? TLS_client_method() : TLS_server_method());
    if (t->ctx == NULL || t->bio == NULL) {
        tls_error(e, ERR_NOMEM, "tls: no context", NULL);
        return NULL;
    }
    SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(t->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* A peer that ends without close_notify is told apart by the HTTP framing, not by an error. */
    SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                    SSL_OP_IGNORE_UNEXPECTED_EOF);
    return TAKE(t);
}

static int pick_http11(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                       const unsigned char *in, unsigned in_n, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *pick = NULL;
    int rc = SSL_select_next_proto(&pick, out_n, ours, sizeof ours - 1, in, in_n);
    *out = pick;
    return rc == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

struct tls *tls_server_new(const char *cert_file, const char *key_file, struct err *e)
{
    AUTO(tls) t = context_new(false, e);
    if (t == NULL)
        return NULL;
    char what[300];
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(t->ctx, cert_file) != 1) {
        snprintf(what, sizeof what, "tls: certificate file %s", cert_file);
        tls_error(e, ERR_CONFIG, what, NULL);
        return NULL;
    }
    if (SSL_CTX_use_PrivateKey_file(t->ctx, key_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(t->ctx) != 1) {
        snprintf(what, sizeof what, "tls: key file %s", key_file);
        tls_error(e, ERR_CONFIG, what, NULL);
        return NULL;
    }
    SSL_CTX_set_alpn_select_cb(t->ctx, pick_http11, NULL);
    SSL_CTX_set_session_id_context(t->ctx, (const unsigned char *)"fusor", 5);
    return TAKE(t);
}

struct tls *tls_client_new(const char *ca_file, struct err *e)
{
    AUTO(tls) t = context_new(true, e);
    if (t == NULL)
        return NULL;
    ERR_clear_error();
    int rc = ca_file != NULL ? SSL_CTX_load_verify_locations(t->ctx, ca_file, NULL)
                             : SSL_CTX_set_default_verify_paths(t->ctx);
    if (rc != 1) {
        char what[300];
        snprintf(what, sizeof what, "tls: CA file %s", ca_file != NULL ? ca_file : "of the system");
        tls_error(e, ERR_CONFIG, what, NULL);
        return NULL;
    }
    static const unsigned char protos[] = "\x08http/1.1";
    SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_set_alpn_protos(t->ctx, protos, sizeof protos - 1) != 0) {
        tls_error(e, ERR_NOMEM, "tls: no ALPN", NULL);
        return NULL;
    }
    return TAKE(t);
}

bool tls_validity(const struct tls *t, int64_t *out_from_s, int64_t *out_until_s)
{
    X509 *x = t->client ? NULL : SSL_CTX_get0_certificate(t->ctx);
    struct tm from, until;
    if (x == NULL || ASN1_TIME_to_tm(X509_get0_notBefore(x), &from) != 1 ||
        ASN1_TIME_to_tm(X509_get0_notAfter(x), &until) != 1)
        return false;
    *out_from_s = timegm(&from);
    *out_until_s = timegm(&until);
    return true;
}

struct tls *tls_ref(struct tls *t)
{
    if (t != NULL)
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void tls_free(struct tls *t)
{
    if (t == NULL || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(t->ctx);
    BIO_meth_free(t->bio);
    mem_free(t);
}

/* --- sessions --------------------------------------------------------------------------------- */
static bool is_address(const char *host)
{
    unsigned char raw[16];
    return inet_pton(AF_INET, host, raw) == 1 || inet_pton(AF_INET6, host, raw) == 1;
}

/* The name goes out as SNI (RFC 6066: names only, no addresses) and is what the certificate must
 * say. */
static bool expect_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (is_address(host))
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(ssl, host) == 1 && SSL_set1_host(ssl, host) == 1;
}

SSL *tls_session_new(struct tls *t, int fd, const char *host, struct err *e)
{
    ERR_clear_error();
    SSL *ssl = SSL_new(t->ctx);
    BIO *bio = ssl != NULL ? BIO_new(t->bio) : NULL;
    if (bio == NULL) {
        SSL_free(ssl);
        tls_error(e, ERR_NOMEM, "tls: no session", NULL);
        return NULL;
    }
    BIO_set_data(bio, (void *)(intptr_t)fd);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    if (!t->client) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    SSL_set_connect_state(ssl);
    if (!expect_host(ssl, host)) {
        SSL_free(ssl);
        tls_error(e, ERR_CONNECT, "tls: host name", NULL);
        return NULL;
    }
    return ssl;
}
