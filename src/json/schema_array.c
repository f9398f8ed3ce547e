/* json/schema_array.c - what a schema says about the items of an array. */
#include "base/mem.h"
#include "json/schema_priv.h"

static bool fail_extra(struct schema_run *r, json_val *item)
{
    static const struct schema_rule extra = {.kind = RULE_NO_ITEM};
    r->level++;
    schema_fail(r, &extra, item, NULL);
    r->level--;
    return false;
}

static bool check_items(struct schema_run *r, const struct schema_rule *rule, json_val *v,
                        const struct schema_marks *m)
{
    const struct schema_items *items = &rule->items;
    struct json_iter it = json_iter_of(v);
    json_val *item;
    for (size_t i = 0; json_next(&it, NULL, &item); i++) {
        const struct schema_node *n = i < items->n ? items->prefix[i] : items->rest;
        if (!n)
            return true; /* what comes behind the prefix has not been looked at */
        if (!schema_charge(r, 1))
            return false;
        if (i >= items->n && n->kind == NODE_NOTHING)
            return fail_extra(r, item);
        if (!schema_eval_child(r, n, item))
            return false;
        schema_mark(r, m, i);
    }
    return true;
}

static bool check_contains(struct schema_run *r, const struct schema_rule *rule, json_val *v,
                           const struct schema_marks *m)
{
    const struct schema_contains *k = &rule->contains;
    struct json_iter it = json_iter_of(v);
    json_val *item;
    int64_t found = 0;
    r->quiet++;
    for (size_t i = 0; json_next(&it, NULL, &item) && schema_charge(r, 1); i++) {
        if (!schema_eval_child(r, k->node, item))
            continue;
        schema_mark(r, m, i);
        if (++found >= k->min && !m && k->max == INT64_MAX)
            break;
    }
    r->quiet--;
    return (found >= k->min && found <= k->max) || schema_fail(r, rule, v, NULL);
}

/* Up to that many items are compared in pairs, more by their hashes. */
#define PAIRS_MAX 8

static bool unique_pairs(struct schema_run *r, json_val *v, json_val **twin)
{
    struct json_iter i = json_iter_of(v);
    json_val *a, *b;
    while (json_next(&i, NULL, &a)) {
        struct json_iter k = i;
        while (json_next(&k, NULL, &b))
            if (schema_equal(a, b, &r->steps)) {
                *twin = b;
                return false;
            }
    }
    return true;
}

static bool unique_sorted(struct schema_run *r, size_t n, json_val **twin)
{
    const struct schema_hashed *h = r->hashed;
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n && h[k].hash == h[i].hash; k++)
            if (!schema_charge(r, 1) || schema_equal(h[i].val, h[k].val, &r->steps)) {
                *twin = h[k].val > h[i].val ? h[k].val : h[i].val;
                return false;
            }
    return true;
}

static bool hash_items(struct schema_run *r, json_val *v, size_t n)
{
    struct json_iter it = json_iter_of(v);
    json_val *item;
    if (n > r->cap_hashed) {
        mem_free(r->hashed);
        r->hashed = mem_alloc(n * sizeof *r->hashed);
        r->cap_hashed = r->hashed ? n : 0;
        if (!r->hashed) {
            r->no_memory = r->stopped = true;
            return false;
        }
    }
    for (size_t i = 0; json_next(&it, NULL, &item); i++)
        r->hashed[i] = (struct schema_hashed){schema_hash(item, &r->steps), item};
    schema_sort(r->hashed, n);
    return schema_charge(r, n);
}

static bool check_unique(struct schema_run *r, const struct schema_rule *rule, json_val *v)
{
    size_t n = json_count(v);
    json_val *twin = NULL;
    if (n <= PAIRS_MAX ? unique_pairs(r, v, &twin)
                       : hash_items(r, v, n) && unique_sorted(r, n, &twin))
        return true;
    return schema_fail(r, rule, v, twin);
}

static bool check_others(struct schema_run *r, const struct schema_rule *rule, json_val *v,
                         const struct schema_marks *m)
{
    struct json_iter it = json_iter_of(v);
    json_val *item;
    for (size_t i = 0; json_next(&it, NULL, &item); i++) {
        if (!schema_charge(r, 1))
            return false;
        if (schema_marked(r, m, i))
            continue;
        if (rule->node->kind == NODE_NOTHING)
            return fail_extra(r, item);
        if (!schema_eval_child(r, rule->node, item))
            return false;
    }
    schema_mark_all(r, m);
    return true;
}

bool schema_check_array(struct schema_run *r, const struct schema_rule *rule, json_val *v,
                        const struct schema_marks *m)
{
    int64_t n = (int64_t)json_count(v);
    switch ((unsigned)rule->kind) {
    case RULE_MAX_ITEMS:
        return n <= rule->limit || schema_fail(r, rule, v, NULL);
    case RULE_MIN_ITEMS:
        return n >= rule->limit || schema_fail(r, rule, v, NULL);
    case RULE_UNIQUE:
        return check_unique(r, rule, v);
    case RULE_ITEMS:
        return check_items(r, rule, v, m);
    case RULE_CONTAINS:
        return check_contains(r, rule, v, m);
    default: /* RULE_OTHER_ITEMS: the caller picks those about arrays */
        return check_others(r, rule, v, m);
    }
}
