/* json/schema_uri.c - a reference against its base: RFC 3986 section 5.2, without fragments. */
#include "json/schema_priv.h"

struct uri {
    struct span scheme, authority, path, query; /* p NULL: not there; path is always */
};

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* How long the scheme is at the front of s; 0: there is none. */
static size_t scheme_of(struct span s)
{
    size_t n = span_find(s, ":/?");
    if (n == 0 || n == s.n || s.p[n] != ':' || !is_alpha(s.p[0]))
        return 0;
    for (size_t i = 1; i < n; i++) {
        char c = s.p[i];
        if (!is_alpha(c) && !(c >= '0' && c <= '9') && c != '+' && c != '-' && c != '.')
            return 0;
    }
    return n;
}

static struct uri take_apart(struct span s)
{
    struct uri u = {0};
    size_t n = scheme_of(s);
    if (n > 0) {
        u.scheme = span_upto(s, n);
        s = span_from(s, n + 1);
    }
    if (span_starts(s, SPAN("//"))) {
        s = span_from(s, 2);
        u.authority = span_upto(s, span_find(s, "/?"));
        s = span_from(s, u.authority.n);
    }
    u.path = span_upto(s, span_find(s, "?"));
    if (u.path.n < s.n)
        u.query = span_from(s, u.path.n + 1);
    return u;
}

/* Section 5.2.4 over p[0..n), in place; the new length. Output never passes input. */
static size_t remove_dots(char *p, size_t n)
{
    struct span in = {p, n};
    size_t out = 0;
    while (in.n > 0) {
        if (span_starts(in, SPAN("../"))) {
            in = span_from(in, 3);
        } else if (span_starts(in, SPAN("./"))) {
            in = span_from(in, 2);
        } else if (span_starts(in, SPAN("/./"))) {
            in = span_from(in, 2);
        } else if (span_eq(in, SPAN("/."))) {
            in = SPAN("/");
        } else if (span_starts(in, SPAN("/../")) || span_eq(in, SPAN("/.."))) {
            in = in.n > 3 ? span_from(in, 3) : SPAN("/");
            while (out > 0 && p[--out] != '/')
                continue;
        } else if (span_eq(in, SPAN(".")) || span_eq(in, SPAN(".."))) {
            break;
        } else {
            size_t len = 1 + span_find(span_from(in, 1), "/");
            memmove(p + out, in.p, len);
            out += len;
            in = span_from(in, len);
        }
    }
    return out;
}

struct builder {
    char *p;
    size_t n;
};

static void put(struct builder *b, struct span s)
{
    if (s.n > 0)
        memcpy(b->p + b->n, s.p, s.n);
    b->n += s.n;
}

/* The base's path up to its last slash. */
static struct span folder(const struct uri *base)
{
    size_t slash = span_rindex(base->path, SPAN("/"));
    if (base->authority.p && base->path.n == 0)
        return SPAN("/");
    return slash == base->path.n ? SPAN("") : span_upto(base->path, slash + 1);
}

struct span schema_uri_resolve(struct arena *a, struct span base_text, struct span ref_text)
{
    struct uri base = take_apart(base_text), ref = take_apart(ref_text);
    struct builder b = {arena_alloc(a, base_text.n + ref_text.n + 8), 0};
    if (!b.p)
        return (struct span){NULL, 0};
    bool own = ref.scheme.p != NULL, host = own || ref.authority.p;
    struct span scheme = own ? ref.scheme : base.scheme;
    struct span authority = host ? ref.authority : base.authority;
    bool same = !host && ref.path.n == 0;
    struct span query = same && !ref.query.p ? base.query : ref.query;
    put(&b, scheme);
    put(&b, scheme.p ? SPAN(":") : SPAN(""));
    put(&b, authority.p ? SPAN("//") : SPAN(""));
    put(&b, authority);
    size_t from = b.n;
    if (!host && ref.path.n > 0 && ref.path.p[0] != '/')
        put(&b, folder(&base));
    put(&b, same ? base.path : ref.path);
    if (!same)
        b.n = from + remove_dots(b.p + from, b.n - from);
    put(&b, query.p ? SPAN("?") : SPAN(""));
    put(&b, query);
    return (struct span){b.p, b.n};
}
