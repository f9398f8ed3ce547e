/* config/config_read.c - the fields of the file that are about the server itself: where it listens,
 * whom it lets in, how long it waits. docs/configuration.md has the table. */
#include <arpa/inet.h>
#include <stdlib.h>

#include "config/config_priv.h"

#define NAME_BYTES 64
/* Proxies on the way close a silent connection after a minute; beyond an hour it is a mistake. */
#define MAX_KEEPALIVE_US (3600 * SECOND_US)

static const char *const fields[] = {
    "listen",          "tls",        "hosts",     "cors_origins", "insecure",
    "trusted_proxies", "key",        "workers",   "drain",        "keepalive",
    "keepalive_after", "half_close", "state_dir", "log",          "store",
    "limits_store",    "providers",  "models",    "fusions",      "aliases",
    "policies",        "retries",    "breaker",   "responses",    "retain",
};
static const char *const later[] = {
    "digest", "trace", "verdicts", "keys", "otlp",
};

/* --- shared readers -------------------------------------------------------------------------- */

static bool is_name_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == ':' || c == '-';
}

bool config_check_name(struct node n, struct span name, bool slashes, struct err *e)
{
    const char *also = slashes ? "; '/' only between such names" : "";
    bool ok = name.n > 0 && name.n <= NAME_BYTES * (slashes ? 4 : 1);
    char before = '/';
    for (size_t i = 0; ok && i < name.n; i++) {
        bool slash = slashes && name.p[i] == '/' && before != '/';
        ok = slash || is_name_char(name.p[i]);
        before = name.p[i];
    }
    if (ok && before != '/')
        return true;
    return node_fail(n, e, "is no usable name: use 1 to 64 of A-Z a-z 0-9 . _ : -%s", also);
}

bool config_read_list(struct snapshot *s, struct node n,
                      bool (*check)(struct node n, struct span text, struct err *e),
                      const struct span **out, size_t *out_n, struct err *e)
{
    if (node_skip(n))
        return true;
    bool list = node_kind_of(n) == NODE_LIST;
    size_t count = list ? node_count(n) : 1;
    struct span *texts = arena_array(s->arena, count, sizeof *texts);
    if (!texts)
        return err_set(e, ERR_NOMEM, "out of memory while reading the configuration");
    for (size_t i = 0; i < count; i++) {
        struct node one = list ? node_at(n, i, NULL) : n;
        if (!node_str(one, &texts[i], e) || (check && !check(one, texts[i], e)))
            return false;
    }
    *out = texts;
    *out_n = count;
    return true;
}

static void drop_secret(void *arg)
{
    secret_free(arg);
}

bool config_read_key(struct node n, struct snapshot *s, struct span *out_ref, struct secret **out,
                     struct err *e)
{
    struct span ref = {NULL, 0};
    struct err why = {0};
    if (node_skip(n))
        return true;
    if (!node_str(n, &ref, e))
        return false;
    AUTO(secret) key = secret_load(ref, &why);
    if (!key && why.cls != ERR_CONFIG) {
        if (e)
            *e = why;
        return false;
    }
    if (!key)
        return node_fail(n, e, "%s", why.msg);
    if (!arena_defer(s->arena, drop_secret, key))
        return err_set(e, ERR_NOMEM, "out of memory while reading the configuration");
    *out_ref = ref;
    *out = TAKE(key);
    return true;
}

/* A field of which this version knows one value. */
static bool only_value(struct node root, const char *key, const char *value, struct err *e)
{
    struct node n = node_get(root, key);
    struct span text = span_of(value);
    if (!node_str(n, &text, e))
        return false;
    return span_eq(text, span_of(value)) ||
           node_fail(n, e, "'%s' is the only value so far; others come with a later version",
                     value);
}

/* --- listen ---------------------------------------------------------------------------------- */

static bool parse_listen(struct span text, struct config_listen *out)
{
    struct config_listen l = {.port = 0};
    size_t colon = span_rindex(text, SPAN(":"));
    struct span host = span_upto(text, colon), port = span_from(text, colon + 1);
    int64_t number;
    unsigned char address[sizeof(struct in6_addr)];
    bool v6 = span_starts(host, SPAN("[")) && span_ends(host, SPAN("]"));
    if (colon == text.n || !span_to_i64(port, &number) || number < 0 || number > 65535)
        return false;
    if (v6)
        host = span_from(span_upto(host, host.n - 1), 1);
    if (span_eq(host, SPAN("localhost")))
        host = SPAN("127.0.0.1");
    if (host.n >= sizeof l.address)
        return false;
    memcpy(l.address, host.p, host.n);
    if (inet_pton(v6 ? AF_INET6 : AF_INET, l.address, address) != 1)
        return false;
    l.port = (int)number;
    *out = l;
    return true;
}

static bool read_listen(struct node n, struct config_listen *out, struct err *e)
{
    struct span text = {NULL, 0};
    if (!node_str(n, &text, e))
        return false;
    if (!text.p || parse_listen(text, out))
        return true;
    return node_fail(n, e, "must be an address and a port such as 127.0.0.1:8420 or [::1]:8420");
}

static bool is_loopback(const char *address)
{
    struct in6_addr v6;
    struct in_addr v4;
    if (inet_pton(AF_INET, address, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, address, &v6) != 1)
        return false;
    return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

/* What stands in the way of a stranger when others than this machine can connect. */
static bool check_exposure(struct node root, const struct config *c, struct err *e)
{
    struct node n = node_get(root, "listen");
    if (c->insecure || is_loopback(c->listen.address))
        return true;
    if (!c->api_key)
        return node_fail(n, e,
                         "%s is reachable from other machines and no key is asked for; add "
                         "'key: env:FUSOR_API_KEY', or listen on 127.0.0.1, or say "
                         "'insecure: true'",
                         c->listen.address);
    if (c->tls_cert.n == 0 && !c->trusted_proxies)
        return node_fail(n, e,
                         "%s is reachable from other machines and keys would travel in the "
                         "clear; add 'tls: {cert: ..., key: ...}', or 'trusted_proxies: "
                         "true' when TLS ends before fusor, or say 'insecure: true'",
                         c->listen.address);
    return true;
}

/* --- who may come in ------------------------------------------------------------------------- */

static bool check_host(struct node n, struct span host, struct err *e)
{
    bool ok = host.n > 0 && host.n <= 253;
    for (size_t i = 0; ok && i < host.n; i++)
        ok = is_name_char(host.p[i]) && host.p[i] != ':' && host.p[i] != '_';
    return ok || node_fail(n, e,
                           "must be a host name without scheme and port, such as "
                           "fusor.example.com");
}

static bool check_origin(struct node n, struct span origin, struct err *e)
{
    struct span rest = origin;
    if (span_starts(origin, SPAN("https://")))
        rest = span_from(origin, 8);
    else if (span_starts(origin, SPAN("http://")))
        rest = span_from(origin, 7);
    bool ok = rest.n > 0 && rest.n < origin.n && rest.n <= 300;
    for (size_t i = 0; ok && i < rest.n; i++)
        ok = is_name_char(rest.p[i]) || rest.p[i] == '[' || rest.p[i] == ']';
    return ok || node_fail(n, e,
                           "must be an origin such as https://app.example.com, without a "
                           "path and without '*'");
}

static bool read_tls(struct node n, struct config *c, struct err *e)
{
    static const char *const keys[] = {"cert", "key"};
    if (node_skip(n))
        return true;
    if (!node_only(n, keys, COUNT_OF(keys), e) || !node_str(node_get(n, "cert"), &c->tls_cert, e) ||
        !node_str(node_get(n, "key"), &c->tls_key, e))
        return false;
    if (c->tls_cert.n == 0 || c->tls_key.n == 0)
        return node_fail(n, e, "needs both 'cert' and 'key', the paths of PEM files");
    return true;
}

static bool read_proxies(struct node n, bool *out, struct err *e)
{
    if (node_kind_of(n) == NODE_LIST)
        return node_fail(n, e, "takes true or false; lists of addresses come with a later version");
    return node_bool(n, out, e);
}

/* --- times and places ------------------------------------------------------------------------ */

static bool read_keepalive(struct node n, int64_t *out_us, struct err *e)
{
    if (!node_duration(n, SECOND_US, out_us, e))
        return false;
    if (*out_us < SECOND_US || *out_us > MAX_KEEPALIVE_US)
        return node_fail(n, e, "must be from 1s to 1h");
    return true;
}

static bool read_half_close(struct node n, bool *out_keep, struct err *e)
{
    static const char *const words[] = {"leave", "keep"};
    int at = *out_keep;
    if (!node_word(n, words, COUNT_OF(words), &at, e))
        return false;
    *out_keep = at == 1;
    return true;
}

/* $XDG_STATE_HOME/fusor; the XDG rules ignore a relative one. */
static bool default_state_dir(struct snapshot *s, struct err *e)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (state && state[0] == '/')
        s->c.state_dir = arena_printf(s->arena, "%s/fusor", state);
    else if (home && home[0] == '/')
        s->c.state_dir = arena_printf(s->arena, "%s/.local/state/fusor", home);
    else
        return err_set(e, ERR_CONFIG,
                       "%.*s: neither HOME nor XDG_STATE_HOME is set; write "
                       "'state_dir: /var/lib/fusor'",
                       SPAN_ARG(s->c.source));
    return s->c.state_dir.p ||
           err_set(e, ERR_NOMEM, "out of memory while reading the configuration");
}

static bool read_state_dir(struct snapshot *s, struct node n, struct err *e)
{
    struct span path = {NULL, 0};
    if (!node_str(n, &path, e))
        return false;
    if (!path.p)
        return default_state_dir(s, e);
    if (path.n == 0)
        return node_fail(n, e, "must be a path");
    const char *home = getenv("HOME");
    if (span_starts(path, SPAN("~/")) && home && home[0] == '/') {
        path = span_from(path, 1);
        path = arena_printf(s->arena, "%s%.*s", home, SPAN_ARG(path));
    }
    s->c.state_dir = path;
    return path.p || err_set(e, ERR_NOMEM, "out of memory while reading the configuration");
}

static bool read_log(struct node n, struct span *out, struct err *e)
{
    struct span path = SPAN("stderr");
    if (!node_str(n, &path, e))
        return false;
    if (path.n == 0)
        return node_fail(n, e, "must be 'stderr' or the path of a file");
    *out = span_eq(path, SPAN("stderr")) ? SPAN("") : path;
    return true;
}

/* --- what is kept of conversations ------------------------------------------------------------ */

static bool read_responses(struct node n, struct config *c, struct err *e)
{
    static const char *const keys[] = {"store"}, *const words[] = {"deny", "allow"};
    int at = c->keep_responses;
    if (!node_only(n, keys, COUNT_OF(keys), e) ||
        !node_word(node_get(n, "store"), words, COUNT_OF(words), &at, e))
        return false;
    c->keep_responses = at == 1;
    return true;
}

static bool read_retain(struct node n, struct config *c, struct err *e)
{
    static const char *const keys[] = {"responses", "reasoning"}, *const not_yet[] = {"traces",
                                                                                      "max_bytes"};
    struct node responses = node_get(n, "responses"), reasoning = node_get(n, "reasoning");
    if (!node_only_now(n, keys, COUNT_OF(keys), not_yet, COUNT_OF(not_yet), e) ||
        !node_duration(responses, SECOND_US, &c->retain_responses_us, e) ||
        !node_duration(reasoning, SECOND_US, &c->retain_reasoning_us, e))
        return false;
    if (c->retain_responses_us < SECOND_US)
        return node_fail(responses, e, "must be 1s or more; `responses: {store: deny}` keeps none");
    if (c->retain_reasoning_us != 0 && c->retain_reasoning_us < SECOND_US)
        return node_fail(reasoning, e, "must be 1s or more, or 0 to keep none");
    return true;
}

bool config_read_edge(struct snapshot *s, struct node root, struct err *e)
{
    struct config *c = &s->c;
    *c = (struct config){.source = c->source,
                         .listen = {.address = "127.0.0.1", .port = 8420},
                         .drain_us = 60 * SECOND_US,
                         .keepalive_us = 15 * SECOND_US,
                         .keepalive_after_us = 15 * SECOND_US,
                         .retain_responses_us = 30 * 86400 * SECOND_US,
                         .retain_reasoning_us = 3600 * SECOND_US};
    bool ok =
        node_only_now(root, fields, COUNT_OF(fields), later, COUNT_OF(later), e) &&
        only_value(root, "store", "sqlite", e) && only_value(root, "limits_store", "none", e) &&
        read_listen(node_get(root, "listen"), &c->listen, e) &&
        read_tls(node_get(root, "tls"), c, e) &&
        config_read_list(s, node_get(root, "hosts"), check_host, &c->hosts, &c->n_hosts, e) &&
        config_read_list(s, node_get(root, "cors_origins"), check_origin, &c->cors_origins,
                         &c->n_cors_origins, e) &&
        node_bool(node_get(root, "insecure"), &c->insecure, e) &&
        read_proxies(node_get(root, "trusted_proxies"), &c->trusted_proxies, e) &&
        config_read_key(node_get(root, "key"), s, &c->api_key_ref, &c->api_key, e) &&
        node_i64(node_get(root, "workers"), 0, LIMIT_WORKERS, &c->workers, e) &&
        node_duration(node_get(root, "drain"), SECOND_US, &c->drain_us, e) &&
        read_keepalive(node_get(root, "keepalive"), &c->keepalive_us, e) &&
        node_duration(node_get(root, "keepalive_after"), SECOND_US, &c->keepalive_after_us, e) &&
        read_half_close(node_get(root, "half_close"), &c->half_close_keep, e) &&
        read_state_dir(s, node_get(root, "state_dir"), e) &&
        read_log(node_get(root, "log"), &c->log_file, e) &&
        read_responses(node_get(root, "responses"), c, e) &&
        read_retain(node_get(root, "retain"), c, e);
    return ok && check_exposure(root, c, e);
}
