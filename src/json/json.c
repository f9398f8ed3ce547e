/* json/json.c - see json/json.h: typed access to values. Parsing is in json_parse.c, writing in
 * json_write.c and json_canonical.c. A number is a yyjson "raw" value: its text, with a NUL behind
 * it in the document's copy of the input. */
#include "json/json.h"

#include <math.h>

#include "json/json_priv.h"

json_val *json_get_span(json_val *v, struct span key)
{
    return key.p != NULL ? yyjson_obj_getn(v, key.p, key.n) : NULL;
}

bool json_is_null(json_val *v)
{
    return yyjson_is_null(v);
}

bool json_is_obj(json_val *v)
{
    return yyjson_is_obj(v);
}

bool json_is_arr(json_val *v)
{
    return yyjson_is_arr(v);
}

bool json_is_str(json_val *v)
{
    return yyjson_is_str(v);
}

bool json_is_num(json_val *v)
{
    return yyjson_is_raw(v);
}

bool json_is_bool(json_val *v)
{
    return yyjson_is_bool(v);
}

const char *json_type_name(json_val *v)
{
    switch (yyjson_get_type(v)) {
    case YYJSON_TYPE_RAW:
        return "number";
    case YYJSON_TYPE_NULL:
        return "null";
    case YYJSON_TYPE_BOOL:
        return "boolean";
    case YYJSON_TYPE_STR:
        return "string";
    case YYJSON_TYPE_ARR:
        return "array";
    case YYJSON_TYPE_OBJ:
        return "object";
    default: /* a plain number, by the types of the library, not of an enum of ours */
        return "absent";
    }
}

size_t json_count(json_val *v)
{
    return yyjson_is_ctn(v) ? unsafe_yyjson_get_len(v) : 0;
}

struct span json_str(json_val *v)
{
    if (!yyjson_is_str(v))
        return (struct span){NULL, 0};
    return (struct span){unsafe_yyjson_get_str(v), unsafe_yyjson_get_len(v)};
}

bool json_true(json_val *v)
{
    return yyjson_is_true(v);
}

/* --- numbers ---------------------------------------------------------------------------------- */

struct span json_num_text(json_val *v)
{
    if (!yyjson_is_raw(v))
        return (struct span){NULL, 0};
    return (struct span){unsafe_yyjson_get_raw(v), unsafe_yyjson_get_len(v)};
}

static size_t digits_at(struct span s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n;
}

struct json_decimal json_decimal_of(struct span text)
{
    struct json_decimal d = {.neg = text.p[0] == '-', .exp_fits = true};
    text = span_from(text, d.neg);
    d.whole = span_upto(text, digits_at(text));
    text = span_from(text, d.whole.n);
    if (span_starts(text, SPAN("."))) {
        text = span_from(text, 1);
        d.frac = span_upto(text, digits_at(text));
        text = span_from(text, d.frac.n);
    }
    text = span_from(text, 1); /* e */
    bool neg = span_starts(text, SPAN("-"));
    if (neg || span_starts(text, SPAN("+")))
        text = span_from(text, 1);
    for (size_t i = 0; i < text.n; i++) {
        d.exp = d.exp * 10 + (text.p[i] - '0');
        if (d.exp > JSON_EXP_MAX) {
            d.exp = JSON_EXP_MAX;
            d.exp_fits = false;
        }
    }
    d.exp = neg ? -d.exp : d.exp;
    return d;
}

/* What a stream has in each of its chunks: "index":0. JSON has no leading zeros to care for. */
static bool is_small(struct span text, int64_t *out)
{
    int64_t acc = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (i == 18 || text.p[i] < '0' || text.p[i] > '9')
            return false;
        acc = 10 * acc + (text.p[i] - '0');
    }
    *out = acc;
    return true;
}

bool json_i64(json_val *v, int64_t *out)
{
    struct span text = json_num_text(v);
    if (text.p == NULL)
        return false;
    if (is_small(text, out))
        return true;
    struct json_decimal d = json_decimal_of(text);
    int64_t n = (int64_t)(d.whole.n + d.frac.n), point = (int64_t)d.whole.n + d.exp;
    int64_t acc = 0; /* counted downwards, because INT64_MIN has no positive twin */
    for (int64_t i = 0; i < n; i++) {
        int digit = json_digit(&d, (size_t)i) - '0';
        if (i >= point && digit != 0)
            return false;
        if (i < point &&
            (__builtin_mul_overflow(acc, 10, &acc) || __builtin_sub_overflow(acc, digit, &acc)))
            return false;
    }
    for (int64_t i = n; i < point && acc != 0; i++)
        if (__builtin_mul_overflow(acc, 10, &acc))
            return false;
    if (!d.neg && __builtin_sub_overflow((int64_t)0, acc, &acc))
        return false;
    *out = acc;
    return true;
}

/* The library's reader rounds correctly and, unlike strtod(), never asks the locale for its point.
 */
bool json_f64(json_val *v, double *out)
{
    struct span text = json_num_text(v);
    yyjson_val num;
    if (text.p == NULL || yyjson_read_number(text.p, &num, 0, NULL, NULL) == NULL)
        return false;
    double f = yyjson_get_num(&num);
    if (!isfinite(f))
        return false;
    *out = f;
    return true;
}

/* --- walking ---------------------------------------------------------------------------------- */

struct json_iter json_iter_of(json_val *v)
{
    size_t n = json_count(v);
    return (struct json_iter){.at = n > 0 ? v + 1 : NULL, .left = n, .obj = yyjson_is_obj(v)};
}

bool json_next(struct json_iter *it, struct span *out_key, json_val **out_val)
{
    if (it->left == 0)
        return false;
    it->left--;
    json_val *val = it->obj ? it->at + 1 : it->at;
    if (out_key != NULL)
        *out_key = it->obj ? json_str(it->at) : (struct span){"", 0};
    if (out_val != NULL)
        *out_val = val;
    it->at = unsafe_yyjson_get_next(val);
    return true;
}
