/* json/schema_value.c - numbers by their exact decimal value, equality of values and a hash that
 * goes with it. Nothing is rounded: 0.1 + 0.2 is never asked for, and 9007199254740993 is not its
 * neighbour. */
#include "json/schema_priv.h"

/* --- numbers ---------------------------------------------------------------------------------- */

static char digit(const struct schema_number *a, size_t i)
{
    return json_digit(&a->d, a->first + i);
}

/* An exponent beyond JSON_EXP_MAX is cut off there: numbers that large are told from all others,
 * but not from each other. */
struct schema_number schema_number_of(json_val *v)
{
    struct schema_number a = {.d = json_decimal_of(json_num_text(v))};
    size_t n = a.d.whole.n + a.d.frac.n;
    while (a.first < n && json_digit(&a.d, a.first) == '0')
        a.first++;
    if (a.first == n) {
        a.zero = true;
        return a;
    }
    while (json_digit(&a.d, n - 1) == '0')
        n--;
    a.n = n - a.first;
    a.neg = a.d.neg;
    a.point = (int64_t)a.d.whole.n - (int64_t)a.first + a.d.exp;
    return a;
}

static int cmp_size(const struct schema_number *a, const struct schema_number *b)
{
    if (a->point != b->point)
        return a->point < b->point ? -1 : 1;
    for (size_t i = 0; i < a->n && i < b->n; i++)
        if (digit(a, i) != digit(b, i))
            return digit(a, i) < digit(b, i) ? -1 : 1;
    return (a->n > b->n) - (a->n < b->n);
}

static int sign(const struct schema_number *a)
{
    return a->zero ? 0 : a->neg ? -1 : 1;
}

int schema_number_cmp(const struct schema_number *a, const struct schema_number *b)
{
    if (sign(a) != sign(b))
        return sign(a) < sign(b) ? -1 : 1;
    if (a->zero)
        return 0;
    return a->neg ? cmp_size(b, a) : cmp_size(a, b);
}

/* The power of ten that the last digit stands for. */
static int64_t last_place(const struct schema_number *a)
{
    return a->point - (int64_t)a->n;
}

bool schema_number_whole(const struct schema_number *a)
{
    return a->zero || last_place(a) >= 0;
}

static uint64_t mul_mod(uint64_t a, uint64_t b, uint64_t m)
{
    return (uint64_t)((unsigned __int128)a * b % m);
}

/* a is A * 10^p and by is B * 10^q, neither A nor B ends in a zero. For p < q, by divides a only if
 * 10 divides A, which it does not; else B has to divide A * 10^(p - q). */
bool schema_number_divides(const struct schema_number *by, const struct schema_number *a)
{
    if (a->zero)
        return true;
    int64_t shift = last_place(a) - last_place(by);
    if (shift < 0)
        return false;
    uint64_t m = 0, rest = 0, power;
    for (size_t i = 0; i < by->n; i++)
        m = m * 10 + (uint64_t)(digit(by, i) - '0');
    for (size_t i = 0; i < a->n; i++)
        rest = (uint64_t)(((unsigned __int128)rest * 10 + (unsigned)(digit(a, i) - '0')) % m);
    for (power = 10 % m; shift > 0; shift >>= 1, power = mul_mod(power, power, m))
        if (shift & 1)
            rest = mul_mod(rest, power, m);
    return rest % m == 0;
}

/* --- equality --------------------------------------------------------------------------------- */

static bool equal_arrays(json_val *a, json_val *b, int64_t *steps)
{
    struct json_iter i = json_iter_of(a), k = json_iter_of(b);
    json_val *x, *y;
    while (json_next(&i, NULL, &x) && json_next(&k, NULL, &y))
        if (!schema_equal(x, y, steps))
            return false;
    return true;
}

/* Usually both have the same order; else each key is looked for, which costs a step per member. */
static bool equal_objects(json_val *a, json_val *b, int64_t *steps)
{
    struct json_iter i = json_iter_of(a), k = json_iter_of(b);
    struct span key, other;
    json_val *x, *y;
    while (json_next(&i, &key, &x)) {
        if (json_next(&k, &other, &y) && !span_eq(key, other)) {
            *steps -= (int64_t)json_count(b);
            y = *steps > 0 ? json_get_span(b, key) : NULL;
        }
        if (!y || !schema_equal(x, y, steps))
            return false;
    }
    return true;
}

static bool equal_numbers(json_val *a, json_val *b)
{
    struct span x = json_num_text(a), y = json_num_text(b);
    if (span_eq(x, y))
        return true;
    struct schema_number m = schema_number_of(a), n = schema_number_of(b);
    return schema_number_cmp(&m, &n) == 0;
}

/* As deep as the parser lets in. Out of steps: not equal. */
bool schema_equal(json_val *a, json_val *b, int64_t *steps)
{
    if ((*steps)-- <= 0 || yyjson_get_type(a) != yyjson_get_type(b) ||
        json_count(a) != json_count(b))
        return false;
    if (json_is_obj(a))
        return equal_objects(a, b, steps);
    if (json_is_arr(a))
        return equal_arrays(a, b, steps);
    if (json_is_str(a))
        return span_eq(json_str(a), json_str(b));
    if (json_is_num(a))
        return equal_numbers(a, b);
    return json_true(a) == json_true(b);
}

/* --- hash ------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    return span_hash(span_make(&b, sizeof b), a);
}

static uint64_t hash_number(json_val *v)
{
    struct schema_number a = schema_number_of(v);
    if (a.zero)
        return mix(TYPE_NUMBER, 0);
    uint64_t h = mix(TYPE_NUMBER + a.neg, (uint64_t)a.point);
    for (size_t i = 0; i < a.n; i++)
        h = (h ^ (unsigned char)digit(&a, i)) * UINT64_C(0x100000001B3);
    return mix(h, a.n);
}

uint64_t schema_hash(json_val *v, int64_t *steps)
{
    struct json_iter it = json_iter_of(v);
    struct span key;
    json_val *child;
    uint64_t h = json_count(v);
    (*steps)--;
    if (json_is_str(v))
        return span_hash(json_str(v), TYPE_STRING);
    if (json_is_num(v))
        return hash_number(v);
    if (json_is_bool(v) || json_is_null(v))
        return mix(TYPE_BOOLEAN, json_is_null(v) ? 2 : json_true(v));
    while (json_next(&it, &key, &child))
        if (json_is_obj(v)) /* in any order */
            h += mix(span_hash(key, TYPE_OBJECT), schema_hash(child, steps));
        else
            h = mix(h, schema_hash(child, steps));
    return mix(h, json_is_obj(v) ? TYPE_OBJECT : TYPE_ARRAY);
}

/* --- sorting ---------------------------------------------------------------------------------- */

static void sift(struct schema_hashed *h, size_t i, size_t n)
{
    struct schema_hashed x = h[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && h[child].hash < h[child + 1].hash)
            child++;
        if (x.hash >= h[child].hash)
            break;
        h[i] = h[child];
    }
    h[i] = x;
}

/* Heapsort, as in json_keys.c. */
void schema_sort(struct schema_hashed *h, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(h, i, n);
    while (n > 1) {
        struct schema_hashed last = h[--n];
        h[n] = h[0];
        h[0] = last;
        sift(h, 0, n);
    }
}
