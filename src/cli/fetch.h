/* cli/fetch.h - blocking HTTP calls, several at once: to a running server, and to providers for
 * what `init` and `doctor` want to know. Not here: what an answer means (probe.h, server.c). */
#ifndef FUSOR_CLI_FETCH_H
#define FUSOR_CLI_FETCH_H

#include "base/buf.h"
#include "base/secret.h"
#include "http/client.h"

struct dialect;
struct tls;

struct fetch {
    struct span url;               /* base URL */
    struct span path;              /* behind it: "/models" */
    bool whole_path;               /* path stands alone, without the path of the URL */
    struct span body;              /* empty: GET; else POST of JSON */
    const struct secret *key;      /* NULL: none */
    const struct dialect *dialect; /* says where the key goes; NULL: a bearer token */
    const char *ca_file;           /* NULL: the system's */
    struct span proxy;             /* "http://host:port"; empty: none */
    struct secret *proxy_auth;     /* "user:password"; NULL: none */
    struct http_timeouts timeouts;
    struct buf *out; /* the answer's body is added */
    /* the answer */
    int status; /* 0: none, or not a whole one; then err says why */
    struct err err;
    int64_t took_us;
    /* private */
    struct fetch_run *run_;
    struct http_origin origin_, proxy_;
    struct tls *tls_;
    int head_;
    int64_t start_us_;
};

/* Runs all of them side by side and returns when each has ended. Blocking. */
void fetch_all(struct fetch *f, size_t n);

#endif
