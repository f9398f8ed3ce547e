/* http/tls_priv.h - what the socket layer needs of a TLS context; private to http/. */
#ifndef FUSOR_HTTP_TLS_PRIV_H
#define FUSOR_HTTP_TLS_PRIV_H

/* OpenSSL has a type of the name of one of our error classes: it gets another one here. */
#define ERR_STATE openssl_err_state
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#undef ERR_STATE

#include "http/tls.h"

/* owned; a session over fd (not owned). host: name or address to verify, NULL on the server's side.
 * NULL on failure. */
MUST_USE SSL *tls_session_new(struct tls *t, int fd, const char *host, struct err *e);
/* Writes what OpenSSL says (a verification failure first) behind `what`. Always false. */
bool tls_error(struct err *e, enum err_class cls, const char *what, const SSL *ssl);

#endif
