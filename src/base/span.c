/* base/span.c - see base/span.h. An empty span may have a NULL pointer, which memcmp() and pointer
 * arithmetic must not see: hence the checks for n == 0. */
#include "base/span.h"

#include <string.h>
#include <strings.h>

struct span span_of(const char *cstr)
{
    return (struct span){cstr, cstr ? strlen(cstr) : 0};
}

struct span span_make(const void *p, size_t n)
{
    return (struct span){p, n};
}

bool span_eq(struct span a, struct span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* Not strncasecmp(): that one stops at a NUL and follows the locale. */
bool span_eq_nocase(struct span a, struct span b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

int span_cmp(struct span a, struct span b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

bool span_starts(struct span s, struct span prefix)
{
    return s.n >= prefix.n && span_eq(span_upto(s, prefix.n), prefix);
}

bool span_ends(struct span s, struct span suffix)
{
    return s.n >= suffix.n && span_eq(span_from(s, s.n - suffix.n), suffix);
}

struct span span_from(struct span s, size_t n)
{
    if (n > s.n)
        n = s.n;
    return n == 0 ? s : (struct span){s.p + n, s.n - n};
}

struct span span_upto(struct span s, size_t n)
{
    return (struct span){s.p, n < s.n ? n : s.n};
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct span span_trim(struct span s)
{
    while (s.n > 0 && is_blank(s.p[0]))
        s = span_from(s, 1);
    while (s.n > 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* One memchr() per byte of the set, each shortening the span: sets are short ("\r\n") and memchr()
 * reads 32 bytes at a time. */
size_t span_find(struct span s, const char *set)
{
    for (; *set && s.n > 0; set++) {
        const char *hit = memchr(s.p, *set, s.n);
        if (hit)
            s.n = (size_t)(hit - s.p);
    }
    return s.n;
}

size_t span_index(struct span s, struct span needle)
{
    if (needle.n == 0)
        return 0;
    const char *hit = s.n >= needle.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
    return hit ? (size_t)(hit - s.p) : s.n;
}

size_t span_rindex(struct span s, struct span needle)
{
    for (size_t i = needle.n <= s.n ? s.n - needle.n + 1 : 0; i-- > 0;)
        if (span_starts(span_from(s, i), needle))
            return i;
    return s.n;
}

bool span_cut(struct span *s, char sep, struct span *head)
{
    if (s->n == 0)
        return false;
    const char *hit = memchr(s->p, sep, s->n);
    size_t n = hit ? (size_t)(hit - s->p) : s->n;
    *head = span_upto(*s, n);
    *s = span_from(*s, n + 1);
    return true;
}

bool span_to_i64(struct span s, int64_t *out)
{
    bool minus = s.n > 0 && s.p[0] == '-';
    int64_t value = 0;
    s = span_from(s, minus);
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        /* Built up on the negative side: that is where INT64_MIN fits. */
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, s.p[i] - '0', &value))
            return false;
    }
    if (!minus && value == INT64_MIN)
        return false;
    *out = minus ? value : -value;
    return true;
}

/* FNV-1a, then the finaliser of MurmurHash3: FNV alone leaves the low bits of short keys alike. */
uint64_t span_hash(struct span s, uint64_t seed)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ seed;
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * UINT64_C(0x100000001b3);
    h = (h ^ (h >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ (h >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ (h >> 33);
}
