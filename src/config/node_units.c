/* config/node_units.c - numbers, durations and money of a tree; see config/node.h.
 *
 * Everything but node_f64() is exact: decimals are read as digits, never through a double. */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "config/node_priv.h"

/* No duration of ours is longer; keeps sums of a few of them far from overflow. */
#define MAX_DURATION_US (3652LL * 24 * 3600 * 1000000)

/* --- decimals -------------------------------------------------------------------------------- */

struct decimal_text {
    struct span whole, fraction;
    int exponent;
    bool negative;
};

static struct span digits(struct span *s)
{
    size_t n = 0;
    while (n < s->n && s->p[n] >= '0' && s->p[n] <= '9')
        n++;
    struct span got = span_upto(*s, n);
    *s = span_from(*s, n);
    return got;
}

static bool split(struct span s, struct decimal_text *out)
{
    struct decimal_text d = {.negative = s.n > 0 && s.p[0] == '-'};
    s = span_from(s, d.negative);
    d.whole = digits(&s);
    if (span_starts(s, SPAN("."))) {
        s = span_from(s, 1);
        d.fraction = digits(&s);
    }
    if (d.whole.n == 0 && d.fraction.n == 0)
        return false;
    if (s.n > 0 && (s.p[0] == 'e' || s.p[0] == 'E')) {
        bool minus = s.n > 1 && s.p[1] == '-';
        s = span_from(s, s.n > 1 && (minus || s.p[1] == '+') ? 2 : 1);
        struct span power = digits(&s);
        int64_t value;
        if (power.n == 0 || power.n > 4 || !span_to_i64(power, &value))
            return false;
        d.exponent = (int)(minus ? -value : value);
    }
    *out = d;
    return s.n == 0;
}

enum decimal node_decimal(struct span s, int scale, int64_t *out)
{
    struct decimal_text d;
    if (!split(s, &d))
        return DECIMAL_NOT_A_NUMBER;
    int64_t value = 0;
    size_t total = d.whole.n + d.fraction.n;
    /* Digit i stands for 10^place; those with place < 0 must be zeros. */
    int64_t place = (int64_t)d.whole.n - 1 + d.exponent + scale;
    bool fraction = false;
    for (size_t i = 0; i < total; i++, place--) {
        int digit = (i < d.whole.n ? d.whole.p[i] : d.fraction.p[i - d.whole.n]) - '0';
        if (place < 0)
            fraction |= digit != 0;
        else if (__builtin_mul_overflow(value, 10, &value) ||
                 __builtin_add_overflow(value, digit, &value))
            return DECIMAL_TOO_LARGE;
    }
    if (fraction)
        return DECIMAL_FRACTION;
    for (; place >= 0 && value != 0; place--)
        if (__builtin_mul_overflow(value, 10, &value))
            return DECIMAL_TOO_LARGE;
    *out = d.negative ? -value : value;
    return DECIMAL_OK;
}

/* --- typed reads ----------------------------------------------------------------------------- */

bool node_number_text(struct node n, const char *want, struct span *out, struct err *e)
{
    bool may = n.item->kind == NODE_SCALAR &&
               (n.item->style == NODE_NUMBER || n.item->style == NODE_PLAIN);
    if (!may)
        return node_fail_type(n, want, e);
    *out = n.item->text;
    return true;
}

bool node_i64(struct node n, int64_t min, int64_t max, int64_t *out, struct err *e)
{
    if (node_skip(n))
        return true;
    char want[96];
    if (max == INT64_MAX)
        snprintf(want, sizeof want, "a whole number from %lld on", (long long)min);
    else
        snprintf(want, sizeof want, "a whole number from %lld to %lld", (long long)min,
                 (long long)max);
    struct span text;
    int64_t value;
    if (!node_number_text(n, want, &text, e))
        return false;
    if (node_decimal(text, 0, &value) != DECIMAL_OK || value < min || value > max)
        return node_fail_type(n, want, e);
    *out = value;
    return true;
}

bool node_f64(struct node n, double min, double max, double *out, struct err *e)
{
    if (node_skip(n))
        return true;
    char want[96], copy[64];
    snprintf(want, sizeof want, "a number from %g to %g", min, max);
    struct span text;
    struct decimal_text d;
    if (!node_number_text(n, want, &text, e))
        return false;
    if (!split(text, &d) || text.n >= sizeof copy)
        return node_fail_type(n, want, e);
    snprintf(copy, sizeof copy, "%.*s", SPAN_ARG(text));
    double value = strtod(copy, NULL);
    if (!(value >= min && value <= max))
        return node_fail_type(n, want, e);
    *out = value;
    return true;
}

bool node_nusd(struct node n, int64_t *out_nusd, struct err *e)
{
    if (node_skip(n))
        return true;
    const char *want = "an amount in USD such as 0.05";
    struct span text;
    int64_t value;
    if (!node_number_text(n, want, &text, e))
        return false;
    switch (node_decimal(text, 9, &value)) {
    case DECIMAL_OK:
        break;
    case DECIMAL_NOT_A_NUMBER:
        return node_fail_type(n, want, e);
    case DECIMAL_FRACTION:
        return node_fail(n, e, "has more than nine decimals; the smallest amount is 0.000000001");
    case DECIMAL_TOO_LARGE:
        return node_fail(n, e, "is larger than any amount that can be booked (9.2e9)");
    }
    if (value < 0)
        return node_fail_type(n, "an amount of 0 or more", e);
    *out_nusd = value;
    return true;
}

static const struct {
    struct span suffix;
    int64_t unit_us;
} units[] = {
    /* "ms" stands before "m" and "s", which it ends in. */
    {SPAN_INIT("ms"), 1000},
    {SPAN_INIT("s"), 1000000},
    {SPAN_INIT("m"), 60 * 1000000LL},
    {SPAN_INIT("h"), 3600 * 1000000LL},
    {SPAN_INIT("d"), 86400 * 1000000LL},
};

bool node_duration(struct node n, int64_t unit_us, int64_t *out_us, struct err *e)
{
    if (node_skip(n))
        return true;
    const char *want = "a duration such as 250ms, 3s, 15m, 2h or 7d";
    if (n.item->kind != NODE_SCALAR || n.item->style == NODE_BOOL)
        return node_fail_type(n, want, e);
    struct span number = n.item->text;
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (span_ends(number, units[i].suffix)) {
            number = span_upto(number, number.n - units[i].suffix.n);
            unit_us = units[i].unit_us;
            break;
        }
    int64_t millionths, product;
    enum decimal got = node_decimal(number, 6, &millionths);
    if (got == DECIMAL_NOT_A_NUMBER || got == DECIMAL_FRACTION || millionths < 0)
        return node_fail_type(n, want, e);
    if (got == DECIMAL_TOO_LARGE || __builtin_mul_overflow(millionths, unit_us, &product) ||
        product / 1000000 > MAX_DURATION_US)
        return node_fail_type(n, "a duration of at most ten years", e);
    if (product % 1000000 != 0)
        return node_fail_type(n, "a duration of whole microseconds", e);
    *out_us = product / 1000000;
    return true;
}
