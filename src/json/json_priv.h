/* json/json_priv.h - shared by the files of json/: sorted members, number text, duplicate
 * keys, places of values. */
#ifndef FUSOR_JSON_JSON_PRIV_H
#define FUSOR_JSON_JSON_PRIV_H

#include "json/json.h"

struct json_member {
    struct span key;
    json_val *val;
};

/* By the bytes of the key; equal keys in document order. O(n log n), in place. */
void json_sort_members(struct json_member *m, size_t n);

/* Looks for two equal keys in any object of the flat array of n values; ERR_INPUT names key and
 * path. */
MUST_USE bool json_check_keys(json_val *root, size_t n, struct err *e);

/* "messages[2].content" of target, which is a value below root, cut when it does not fit; "" for
 * the root. */
void json_path_of(json_val *root, const json_val *target, char *out, size_t cap);

/* A number as it was written, taken apart: [-]whole[.frac][e exp]. */
struct json_decimal {
    bool neg;
    bool exp_fits; /* else exp is cut off at +-JSON_EXP_MAX */
    struct span whole, frac;
    int64_t exp;
};
#define JSON_EXP_MAX INT64_C(1000000000000000)

/* text is a number that the parser took. */
struct json_decimal json_decimal_of(struct span text);
/* Digit i of whole and frac joined. */
static inline char json_digit(const struct json_decimal *d, size_t i)
{
    return i < d->whole.n ? d->whole.p[i] : d->frac.p[i - d->whole.n];
}

#endif
