/* http/tls.h - TLS contexts on OpenSSL: one for the server, one per way of verifying an upstream.
 *
 * Immutable and reference counted; a reload makes a new one. Thread safe. TLS 1.2 and later. */
#ifndef FUSOR_HTTP_TLS_H
#define FUSOR_HTTP_TLS_H

#include "base/auto.h"
#include "base/err.h"
#include "base/span.h"

struct tls;

/* owned; PEM files. The message names the file and what OpenSSL says. */
MUST_USE struct tls *tls_server_new(const char *cert_file, const char *key_file, struct err *e);
/* owned; verifies chain and host name, ca_file NULL: the system's. */
MUST_USE struct tls *tls_client_new(const char *ca_file, struct err *e);
/* From when until when the server's certificate holds, Unix seconds. False for a client's. */
bool tls_validity(const struct tls *t, int64_t *out_from_s, int64_t *out_until_s);
struct tls *tls_ref(struct tls *t);
void tls_free(struct tls *t);
AUTO_DEFINE(tls)

#endif
