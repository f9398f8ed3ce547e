/* json/json_canonical.c - one text for each meaning: keys sorted by bytes, numbers by value.
 *
 * Follows RFC 8785, but numbers are exact decimals in the notation of ECMAScript instead of
 * doubles: 1.0, 1 and 10e-1 are equal, 9007199254740993 and 9007199254740992 are not. */
#include "base/limits.h"
#include "base/mem.h"
#include "json/json_priv.h"

/* Members of all objects that are open, innermost last: one growing array for the whole value. */
struct canon {
    struct buf *b;
    struct err *e;
    struct json_member *members;
    size_t n, cap;
};

/* --- numbers ---------------------------------------------------------------------------------- */

/* Digits [from, to), zeros beyond the last one that is there. */
static bool add_digits(struct buf *b, const struct json_decimal *d, int64_t from, int64_t to,
                       struct err *e)
{
    int64_t n = (int64_t)(d->whole.n + d->frac.n);
    for (int64_t i = from; i < to; i++)
        if (!buf_add_char(b, i < n ? json_digit(d, (size_t)i) : '0', e))
            return false;
    return true;
}

/* d.ddde+x */
static bool add_scientific(struct buf *b, const struct json_decimal *d, int64_t first, int64_t last,
                           int64_t exp, struct err *e)
{
    if (!add_digits(b, d, first, first + 1, e))
        return false;
    if (last > first && !(buf_add_char(b, '.', e) && add_digits(b, d, first + 1, last + 1, e)))
        return false;
    return buf_addf(b, e, "e%c%lld", exp < 0 ? '-' : '+', (long long)(exp < 0 ? -exp : exp));
}

/* The notation of ECMAScript's Number::toString: the value is 0.digits * 10^places. */
static bool write_number(struct buf *b, struct span text, struct err *e)
{
    struct json_decimal d = json_decimal_of(text);
    int64_t first = 0, last = (int64_t)(d.whole.n + d.frac.n) - 1;
    while (first <= last && json_digit(&d, (size_t)first) == '0')
        first++;
    if (first > last)
        return buf_add_char(b, '0', e); /* also -0 and 0e999 */
    if (!d.exp_fits)
        return buf_add(b, text, e); /* nobody's value; the same text is the same at least */
    while (json_digit(&d, (size_t)last) == '0')
        last--;
    int64_t point = (int64_t)d.whole.n + d.exp, places = point - first, digits = last - first + 1;
    if (d.neg && !buf_add_char(b, '-', e))
        return false;
    if (places > 21 || places <= -6)
        return add_scientific(b, &d, first, last, places - 1, e);
    if (places >= digits)
        return add_digits(b, &d, first, point, e);
    if (places > 0)
        return add_digits(b, &d, first, point, e) && buf_add_char(b, '.', e) &&
               add_digits(b, &d, point, last + 1, e);
    return buf_add(b, span_upto(SPAN("0.00000"), (size_t)(2 - places)), e) &&
           add_digits(b, &d, first, last + 1, e);
}

/* --- values ----------------------------------------------------------------------------------- */

static bool reserve_members(struct canon *c, size_t n)
{
    if (c->cap - c->n >= n)
        return true;
    size_t cap = c->cap > 0 ? c->cap : 32;
    while (cap - c->n < n)
        cap *= 2;
    void *p = mem_realloc(c->members, cap * sizeof *c->members);
    if (p == NULL)
        return err_set(c->e, ERR_NOMEM, "out of memory for a JSON object of %zu members", n);
    c->members = p;
    c->cap = cap;
    return true;
}

static bool write_any(struct canon *c, json_val *v, int depth);

static bool write_obj(struct canon *c, json_val *v, int depth)
{
    size_t count = json_count(v), from = c->n;
    if (count == 0)
        return buf_add(c->b, SPAN("{}"), c->e);
    if (!reserve_members(c, count) || !buf_add_char(c->b, '{', c->e))
        return false;
    struct json_iter it = json_iter_of(v);
    struct json_member m;
    while (json_next(&it, &m.key, &m.val))
        c->members[c->n++] = m;
    json_sort_members(c->members + from, count);
    for (size_t i = from; i < from + count; i++) {
        m = c->members[i]; /* the array may move below */
        if (i > from && !buf_add_char(c->b, ',', c->e))
            return false;
        if (!json_write_str(c->b, m.key, c->e) || !buf_add_char(c->b, ':', c->e) ||
            !write_any(c, m.val, depth))
            return false;
    }
    c->n = from;
    return buf_add_char(c->b, '}', c->e);
}

static bool write_arr(struct canon *c, json_val *v, int depth)
{
    struct json_iter it = json_iter_of(v);
    json_val *child;
    if (!buf_add_char(c->b, '[', c->e))
        return false;
    for (bool first = true; json_next(&it, NULL, &child); first = false)
        if ((!first && !buf_add_char(c->b, ',', c->e)) || !write_any(c, child, depth))
            return false;
    return buf_add_char(c->b, ']', c->e);
}

/* Recursion is bounded by what the parser lets in. */
static bool write_any(struct canon *c, json_val *v, int depth)
{
    if (depth > LIMIT_JSON_DEPTH)
        return err_set(c->e, ERR_STATE, "json: a value nested deeper than the parser allows");
    if (json_is_obj(v))
        return write_obj(c, v, depth + 1);
    if (json_is_arr(v))
        return write_arr(c, v, depth + 1);
    if (json_is_num(v))
        return write_number(c->b, json_num_text(v), c->e);
    return json_write_val(c->b, v, c->e);
}

bool json_canonical(struct buf *b, json_val *v, struct err *e)
{
    struct canon c = {.b = b, .e = e};
    size_t before = b->n;
    if (v == NULL)
        return err_set(e, ERR_STATE, "json: no value to write");
    bool ok = write_any(&c, v, 0);
    if (!ok)
        buf_cut(b, before);
    mem_free(c.members);
    return ok;
}
