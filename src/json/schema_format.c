/* json/schema_format.c - the formats that are checked. Grammar only: no name is looked up. Sources:
 * RFC 3339 (date-time, time, date; durations in its appendix A), RFC 5321 4.1.2 (email, in ASCII),
 * RFC 1123 2.1 and RFC 1035 2.3.4 (hostname), RFC 2673 3.2 (ipv4), RFC 4291 2.2 (ipv6), RFC 4122 3
 * (uuid). */
#include "json/schema_priv.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* --- time ------------------------------------------------------------------------------------- */

/* Exactly n digits at the front of *s. */
static bool take_digits(struct span *s, size_t n, int *out)
{
    int v = 0;
    if (s->n < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!is_digit(s->p[i]))
            return false;
        v = v * 10 + (s->p[i] - '0');
    }
    *s = span_from(*s, n);
    *out = v;
    return true;
}

static bool take_char(struct span *s, const char *any_of)
{
    if (s->n == 0 || s->p[0] == '\0' || !strchr(any_of, s->p[0]))
        return false;
    *s = span_from(*s, 1);
    return true;
}

static bool take_date(struct span *s)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int y, m, d;
    if (!take_digits(s, 4, &y) || !take_char(s, "-") || !take_digits(s, 2, &m) ||
        !take_char(s, "-") || !take_digits(s, 2, &d) || m < 1 || m > 12)
        return false;
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return d >= 1 && d <= days[m - 1] + (m == 2 && leap);
}

/* Z or +hh:mm, in minutes. */
static bool take_offset(struct span *s, int *out)
{
    int h, m;
    *out = 0;
    if (take_char(s, "Zz"))
        return true;
    bool west = span_starts(*s, SPAN("-"));
    if (!take_char(s, "+-") || !take_digits(s, 2, &h) || !take_char(s, ":") ||
        !take_digits(s, 2, &m) || h > 23 || m > 59)
        return false;
    *out = (west ? -1 : 1) * (h * 60 + m);
    return true;
}

/* A leap second is the last one of a day in UTC. */
static bool take_time(struct span *s)
{
    int h, m, sec, offset;
    if (!take_digits(s, 2, &h) || !take_char(s, ":") || !take_digits(s, 2, &m) ||
        !take_char(s, ":") || !take_digits(s, 2, &sec))
        return false;
    if (take_char(s, ".")) {
        int fraction;
        if (!take_digits(s, 1, &fraction))
            return false;
        while (take_digits(s, 1, &fraction))
            continue;
    }
    if (!take_offset(s, &offset) || h > 23 || m > 59 || sec > 60)
        return false;
    int utc = (h * 60 + m - offset + 2 * 1440) % 1440;
    return sec < 60 || utc == 23 * 60 + 59;
}

static bool is_date(struct span s)
{
    return take_date(&s) && s.n == 0;
}

static bool is_time(struct span s)
{
    return take_time(&s) && s.n == 0;
}

static bool is_date_time(struct span s)
{
    return take_date(&s) && take_char(&s, "Tt") && take_time(&s) && s.n == 0;
}

/* Numbers with units in the order of `units`, none left out between two that are there unless
 * `gaps`; at least one. */
static bool take_units(struct span *s, const char *units, bool gaps)
{
    bool any = false;
    for (const char *u = units; s->n > 0 && is_digit(s->p[0]); u++) {
        size_t n = 0;
        while (n < s->n && is_digit(s->p[n]))
            n++;
        const char *found = n < s->n && s->p[n] != '\0' ? strchr(u, s->p[n]) : NULL;
        if (!found || (any && !gaps && found != u))
            return false;
        u = found;
        *s = span_from(*s, n + 1);
        any = true;
    }
    return any;
}

/* P1Y2M3DT4H5M6S or P7W; a unit between two that are there may not be left out. */
static bool is_duration(struct span s)
{
    if (!take_char(&s, "P"))
        return false;
    struct span weeks = s;
    if (take_units(&weeks, "W", false) && weeks.n == 0)
        return true;
    bool date = span_starts(s, SPAN("T")) || take_units(&s, "YMD", false);
    if (!date)
        return false;
    return s.n == 0 || (take_char(&s, "T") && take_units(&s, "HMS", false) && s.n == 0);
}

/* --- addresses -------------------------------------------------------------------------------- */

static bool is_ipv4(struct span s)
{
    for (int part = 0; part < 4; part++) {
        size_t n = 0;
        int v = 0;
        if (part > 0 && !take_char(&s, "."))
            return false;
        while (n < s.n && n < 3 && is_digit(s.p[n]))
            v = v * 10 + (s.p[n++] - '0');
        if (n == 0 || v > 255 || (n > 1 && s.p[0] == '0'))
            return false;
        s = span_from(s, n);
    }
    return s.n == 0;
}

/* Groups of at most four hexadecimal digits between colons, the last one maybe an IPv4 address: how
 * many 16-bit pieces; -1 when broken. Empty text has none. */
static int count_pieces(struct span s)
{
    int pieces = 0;
    while (s.n > 0) {
        size_t n = 0;
        while (n < s.n && n < 5 && is_hex(s.p[n]))
            n++;
        if (n < s.n && s.p[n] == '.')
            return is_ipv4(s) ? pieces + 2 : -1;
        if (n == 0 || n > 4)
            return -1;
        pieces++;
        s = span_from(s, n);
        if (s.n > 0 && (!take_char(&s, ":") || s.n == 0))
            return -1;
    }
    return pieces;
}

static bool is_ipv6(struct span s)
{
    size_t gap = span_index(s, SPAN("::"));
    if (s.n > 45)
        return false;
    if (gap == s.n)
        return count_pieces(s) == 8;
    struct span head = span_upto(s, gap);
    int before = count_pieces(head), after = count_pieces(span_from(s, gap + 2));
    return before >= 0 && after >= 0 && before + after <= 7 && span_find(head, ".") == head.n;
}

/* Letters, digits and hyphens, the last not at the ends. Labels with "--" in third and fourth place
 * are kept for encodings, of which "xn--" is the only one. */
static bool is_label(struct span s)
{
    if (s.n == 0 || s.n > 63 || s.p[0] == '-' || s.p[s.n - 1] == '-')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && s.p[i] != '-')
            return false;
    if (s.n >= 4 && s.p[2] == '-' && s.p[3] == '-')
        return s.n > 4 && span_eq_nocase(span_upto(s, 4), SPAN("xn--"));
    return true;
}

static bool is_hostname(struct span s)
{
    if (s.n == 0 || s.n > 253)
        return false;
    for (;;) {
        size_t n = span_find(s, ".");
        if (!is_label(span_upto(s, n)))
            return false;
        if (n == s.n)
            return true;
        s = span_from(s, n + 1);
    }
}

/* Dot-separated words of the characters that RFC 5322 calls atext. */
static bool is_dot_string(struct span s)
{
    bool after_dot = true;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '.' ? after_dot : !is_alnum(c) && (c == '\0' || !strchr("!#$%&'*+-/=?^_`{|}~", c)))
            return false;
        after_dot = c == '.';
    }
    return s.n > 0 && !after_dot;
}

static bool is_quoted_string(struct span s)
{
    if (s.n < 2 || s.p[0] != '"' || s.p[s.n - 1] != '"')
        return false;
    for (size_t i = 1; i + 1 < s.n; i++) {
        if (s.p[i] == '\\' && i + 2 < s.n)
            i++;
        else if (s.p[i] == '"' || s.p[i] == '\\')
            return false;
        if (s.p[i] < ' ' || s.p[i] > '~')
            return false;
    }
    return true;
}

static bool is_email(struct span s)
{
    size_t at = span_rindex(s, SPAN("@"));
    if (at == s.n)
        return false;
    struct span local = span_upto(s, at), domain = span_from(s, at + 1);
    if (local.n > 64 || (!is_dot_string(local) && !is_quoted_string(local)))
        return false;
    if (!span_starts(domain, SPAN("[")))
        return is_hostname(domain);
    if (!span_ends(domain, SPAN("]")))
        return false;
    domain = span_upto(span_from(domain, 1), domain.n - 2);
    if (domain.n >= 5 && span_eq_nocase(span_upto(domain, 5), SPAN("IPv6:")))
        return is_ipv6(span_from(domain, 5));
    return is_ipv4(domain);
}

static bool is_uuid(struct span s)
{
    if (s.n != 36)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        if (hyphen ? s.p[i] != '-' : !is_hex(s.p[i]))
            return false;
    }
    return true;
}

static const struct schema_format formats[] = {
    {"date-time", "a date and time as in 2024-01-31T23:59:59Z", is_date_time},
    {"time", "a time with offset as in 23:59:59Z", is_time},
    {"date", "a date as in 2024-01-31", is_date},
    {"duration", "a duration as in P1DT12H", is_duration},
    {"email", "an email address", is_email},
    {"hostname", "a host name", is_hostname},
    {"ipv4", "an IPv4 address", is_ipv4},
    {"ipv6", "an IPv6 address", is_ipv6},
    {"uuid", "a UUID", is_uuid},
};

const struct schema_format *schema_format_find(struct span name)
{
    for (size_t i = 0; i < COUNT_OF(formats); i++)
        if (span_eq(name, span_of(formats[i].name)))
            return &formats[i];
    return NULL;
}
