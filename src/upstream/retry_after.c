/* upstream/retry_after.c - see upstream/retry_after.h. */
#include "upstream/retry_after.h"

#include <time.h>

#define DAY_MS (INT64_C(24) * 3600 * 1000)

static int64_t clamp(int64_t ms)
{
    return ms < 0 ? 0 : ms > DAY_MS ? DAY_MS : ms;
}

/* A decimal number of units, rounded up to whole ones: some upstreams send "1.5". */
static bool whole_units(struct span s, int64_t *out)
{
    struct span whole;
    bool fraction = span_find(s, ".") < s.n;
    if (!span_cut(&s, '.', &whole) || !span_to_i64(whole, out) || *out < 0)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    if (fraction && *out < INT64_MAX)
        *out += 1;
    return true;
}

/* The preferred form of HTTP dates only ("Sun, 06 Nov 1994 08:49:37 GMT"): the two obsolete ones
 * have not been generated since 1999. The program never leaves the C locale for time. */
static bool date_ms(struct span s, int64_t *out)
{
    char text[40];
    if (s.n >= sizeof text)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    struct tm tm = {0};
    const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (end == NULL || *end != '\0')
        return false;
    *out = (int64_t)timegm(&tm) * 1000;
    return true;
}

static struct span field(const struct http_header *h, size_t n, struct span name)
{
    for (size_t i = 0; i < n; i++)
        if (span_eq_nocase(h[i].name, name))
            return span_trim(h[i].value);
    return SPAN("");
}

int64_t retry_after_ms(const struct http_header *h, size_t n, int64_t now_wall_ms)
{
    int64_t v;
    if (whole_units(field(h, n, SPAN("retry-after-ms")), &v))
        return clamp(v);
    struct span s = field(h, n, SPAN("retry-after"));
    if (whole_units(s, &v))
        return v > DAY_MS / 1000 ? DAY_MS : clamp(v * 1000);
    if (date_ms(s, &v))
        return clamp(v - now_wall_ms);
    return -1;
}
