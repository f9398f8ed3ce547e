/* json/json_keys.c - duplicate keys, and members in the order of their keys.
 *
 * A key given twice means different things to different readers (the first counts here, the last
 * there), which is how a filter is walked around; so we refuse it. Values lie in one flat array,
 * parents before children: the search needs no recursion. */
#include <stdio.h>

#include "base/mem.h"
#include "base/text.h"
#include "json/json_priv.h"

/* --- sorting ---------------------------------------------------------------------------------- */

static bool before(const struct json_member *a, const struct json_member *b)
{
    int order = span_cmp(a->key, b->key);
    return order != 0 ? order < 0 : a->val < b->val;
}

static void sift(struct json_member *m, size_t i, size_t n)
{
    struct json_member x = m[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(&m[child], &m[child + 1]))
            child++;
        if (!before(&x, &m[child]))
            break;
        m[i] = m[child];
    }
    m[i] = x;
}

/* Heapsort: no input makes it slow, and it needs no memory (qsort() takes some behind mem.h). */
void json_sort_members(struct json_member *m, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(m, i, n);
    while (n > 1) {
        struct json_member last = m[--n];
        m[n] = m[0];
        m[0] = last;
        sift(m, 0, n);
    }
}

/* --- where ------------------------------------------------------------------------------------ */

/* Each step goes to the child whose part of the flat array holds target. */
void json_path_of(json_val *root, const json_val *target, char *out, size_t cap)
{
    size_t n = 0;
    out[0] = '\0';
    for (json_val *v = root; v != target;) {
        struct json_iter it = json_iter_of(v);
        struct span key;
        json_val *child = NULL;
        size_t i = 0;
        while (json_next(&it, &key, &child) && unsafe_yyjson_get_next(child) <= target)
            i++;
        int len = json_is_obj(v) ? snprintf(out + n, cap - n, "%s%.*s", n > 0 ? "." : "",
                                            SPAN_ARG(text_upto(key, cap)))
                                 : snprintf(out + n, cap - n, "[%zu]", i);
        n += len > 0 ? (size_t)len : 0;
        if (n >= cap)
            return;
        v = child;
    }
}

static bool refuse(json_val *root, json_val *obj, struct span key, struct err *e)
{
    char in[80], param[96];
    struct span shown = text_upto(key, 64);
    json_path_of(root, obj, in, sizeof in);
    snprintf(param, sizeof param, "%s%s%.*s", in, in[0] != '\0' ? "." : "",
             SPAN_ARG(text_upto(key, 64)));
    return err_field(e, param, "duplicate key \"%.*s\" in %s", SPAN_ARG(shown),
                     in[0] != '\0' ? in : "the outermost object");
}

/* --- the search ------------------------------------------------------------------------------- */

/* Up to this many members are compared in pairs, more are sorted. */
#define PAIRS_MAX 32

/* A bit per key, of what differs cheaply: only keys that share one are compared. */
static uint64_t key_bit(struct span key)
{
    unsigned h = (unsigned)key.n * 5;
    if (key.n > 0)
        h += (unsigned char)key.p[0] * 7u + (unsigned char)key.p[key.n - 1] * 13u +
             (unsigned char)key.p[key.n / 2];
    return UINT64_C(1) << (h & 63);
}

static bool find_in_pairs(json_val *obj, struct span *out_key)
{
    struct span keys[PAIRS_MAX];
    uint64_t seen = 0;
    struct json_iter it = json_iter_of(obj);
    struct span key;
    for (size_t n = 0; json_next(&it, &key, NULL); n++) {
        uint64_t bit = key_bit(key);
        for (size_t i = 0; (seen & bit) != 0 && i < n; i++) {
            if (span_eq(keys[i], key)) {
                *out_key = key;
                return true;
            }
        }
        seen |= bit;
        keys[n] = key;
    }
    return false;
}

/* m holds all members. */
static bool find_sorted(json_val *obj, struct json_member *m, struct span *out_key)
{
    struct json_iter it = json_iter_of(obj);
    struct json_member next;
    size_t n = 0;
    while (json_next(&it, &next.key, &next.val))
        m[n++] = next;
    json_sort_members(m, n);
    for (size_t i = 1; i < n; i++) {
        if (span_eq(m[i - 1].key, m[i].key)) {
            *out_key = m[i].key;
            return true;
        }
    }
    return false;
}

static bool check_large(json_val *root, json_val *obj, struct err *e)
{
    size_t n = json_count(obj);
    struct json_member *m = mem_alloc(n * sizeof *m);
    if (m == NULL)
        return err_set(e, ERR_NOMEM, "out of memory for a JSON object of %zu members", n);
    struct span key;
    bool found = find_sorted(obj, m, &key);
    mem_free(m);
    return !found || refuse(root, obj, key, e);
}

bool json_check_keys(json_val *root, size_t n, struct err *e)
{
    for (json_val *v = root; v < root + n; v++) {
        size_t members = json_is_obj(v) ? json_count(v) : 0;
        struct span key;
        if (members > PAIRS_MAX) {
            if (!check_large(root, v, e))
                return false;
        } else if (members > 1 && find_in_pairs(v, &key)) {
            return refuse(root, v, key, e);
        }
    }
    return true;
}
