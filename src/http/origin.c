/* http/origin.c - see http/client.h: a base URL taken apart. */
#include "http/client.h"

static bool bad_url(struct err *e, struct span url, const char *why)
{
    return err_set(e, ERR_CONFIG, "the URL '%.*s' %s", (int)(url.n < 200 ? url.n : 200), url.p,
                   why);
}

static bool copy(char *to, size_t cap, struct span s)
{
    if (s.n >= cap)
        return false;
    memcpy(to, s.p, s.n);
    to[s.n] = '\0';
    return true;
}

static bool is_clean(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f)
            return false;
    return true;
}

/* "host", "host:port", "[v6]", "[v6]:port" */
static bool parse_authority(struct span url, struct span a, struct http_origin *o, struct err *e)
{
    struct span host = a, port = {NULL, 0};
    if (a.n > 0 && a.p[0] == '[') {
        size_t end = span_find(a, "]");
        if (end == a.n)
            return bad_url(e, url, "has a [ without ]");
        host = span_upto(span_from(a, 1), end - 1);
        struct span rest = span_from(a, end + 1);
        if (rest.n > 0 && rest.p[0] != ':')
            return bad_url(e, url, "has something behind ]");
        port = span_from(rest, 1);
    } else if (span_find(a, ":") < a.n) {
        host = span_upto(a, span_find(a, ":"));
        port = span_from(a, host.n + 1);
    }
    int64_t number = o->tls ? 443 : 80;
    if (port.n > 0 && (!span_to_i64(port, &number) || number < 1 || number > 65535))
        return bad_url(e, url, "has no valid port");
    if (host.n == 0 || !copy(o->host, sizeof o->host, host))
        return bad_url(e, url, "has no valid host");
    o->port = (int)number;
    bool v6 = strchr(o->host, ':') != NULL;
    bool usual = number == (o->tls ? 443 : 80);
    int n = usual ? snprintf(o->authority, sizeof o->authority, v6 ? "[%s]" : "%s", o->host)
                  : snprintf(o->authority, sizeof o->authority, v6 ? "[%s]:%d" : "%s:%d", o->host,
                             o->port);
    return (n > 0 && (size_t)n < sizeof o->authority) || bad_url(e, url, "has too long a host");
}

static bool parse_unix(struct span url, struct span rest, struct http_origin *o, struct err *e)
{
    size_t colon = span_find(rest, ":");
    struct span base = span_from(rest, colon + 1);
    while (base.n > 0 && base.p[base.n - 1] == '/')
        base.n--;
    if (colon == 0 || rest.p[0] != '/')
        return bad_url(e, url, "needs an absolute path behind unix:");
    if (base.n > 0 && base.p[0] != '/')
        return bad_url(e, url, "has a base that does not begin with a slash");
    if (!copy(o->unix_path, sizeof o->unix_path, span_upto(rest, colon)) ||
        !copy(o->base, sizeof o->base, base))
        return bad_url(e, url, "is too long");
    copy(o->authority, sizeof o->authority, SPAN("localhost"));
    return true;
}

static bool parse_http(struct span url, struct span rest, struct http_origin *o, struct err *e)
{
    size_t slash = span_find(rest, "/");
    struct span authority = span_upto(rest, slash), base = span_from(rest, slash);
    while (base.n > 0 && base.p[base.n - 1] == '/')
        base.n--;
    if (span_find(authority, "@") < authority.n) /* not repeated: a password may stand there */
        return err_set(e, ERR_CONFIG, "the URL holds a user name; credentials belong in `key`");
    if (!copy(o->base, sizeof o->base, base))
        return bad_url(e, url, "is too long");
    return parse_authority(url, authority, o, e);
}

bool http_origin_parse(struct span url, struct http_origin *out, struct err *e)
{
    struct http_origin o = {0};
    bool ok;
    if (!is_clean(url))
        return bad_url(e, url, "holds a space, a control or a non-ASCII character");
    if (span_find(url, "?#") < url.n)
        return bad_url(e, url, "holds a query or a fragment");
    if (span_starts(url, SPAN("unix:"))) {
        ok = parse_unix(url, span_from(url, 5), &o, e);
    } else if (span_eq_nocase(span_upto(url, 7), SPAN("http://"))) {
        ok = parse_http(url, span_from(url, 7), &o, e);
    } else if (span_eq_nocase(span_upto(url, 8), SPAN("https://"))) {
        o.tls = true;
        ok = parse_http(url, span_from(url, 8), &o, e);
    } else {
        ok = bad_url(e, url, "begins with none of https://, http://, unix:");
    }
    if (!ok)
        return false;
    o.key = span_hash(span_of(o.authority), o.tls ? 2 : 1);
    o.key = span_hash(span_of(o.unix_path), o.key);
    *out = o;
    return true;
}
