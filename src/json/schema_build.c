/* json/schema_build.c - rules of the keywords that hold subschemas. Those that mean something
 * together become one rule. The unevaluated ones come last: they ask what the others have looked
 * at. */
#include "json/schema_priv.h"

static bool child(struct schema_compiler *c, struct schema_draft *d, json_val *v,
                  const struct schema_node **out)
{
    return schema_compile(c, v, d->resource, out);
}

/* A keyword whose value is one schema; absent: *out is not set. */
static bool child_of(struct schema_compiler *c, struct schema_draft *d, enum schema_keyword kw,
                     const struct schema_node **out)
{
    return !d->kw[kw] || child(c, d, d->kw[kw], out);
}

static bool need_object(struct schema_compiler *c, json_val *v)
{
    return !v || json_is_obj(v) || schema_bad(c, v, "must be an object of schemas");
}

static bool child_list(struct schema_compiler *c, struct schema_draft *d, json_val *v,
                       const struct schema_node ***out)
{
    struct json_iter it = json_iter_of(v);
    json_val *one;
    size_t n = 0;
    if (!json_is_arr(v) || json_count(v) == 0)
        return schema_bad(c, v, "must be an array of schemas, with one at least");
    const struct schema_node **nodes = arena_array(c->a, json_count(v), sizeof *nodes);
    if (!nodes)
        return schema_no_memory(c);
    while (json_next(&it, NULL, &one))
        if (!child(c, d, one, &nodes[n++]))
            return false;
    *out = nodes;
    return true;
}

/* --- definitions and references --------------------------------------------------------------- */

static bool add_defs(struct schema_compiler *c, struct schema_draft *d, json_val *v)
{
    struct json_iter it = json_iter_of(v);
    json_val *one;
    const struct schema_node *node;
    if (!need_object(c, v))
        return false;
    while (v && json_next(&it, NULL, &one))
        if (!child(c, d, one, &node))
            return false;
    return true;
}

static bool add_ref(struct schema_compiler *c, struct schema_draft *d, enum schema_keyword kw)
{
    if (!d->kw[kw])
        return true;
    struct schema_pending *p = arena_alloc(c->a, sizeof *p);
    if (!p)
        return schema_no_memory(c);
    *p = (struct schema_pending){.next = c->pending,
                                 .rule =
                                     schema_rule_add(d, kw == KW_REF ? RULE_REF : RULE_DYNAMIC_REF),
                                 .base = d->resource,
                                 .at = d->kw[kw]};
    c->pending = p;
    return true;
}

/* --- arrays ----------------------------------------------------------------------------------- */

static bool add_items(struct schema_compiler *c, struct schema_draft *d)
{
    json_val *prefix = d->kw[KW_PREFIX_ITEMS], *rest = d->kw[KW_ITEMS];
    if (!prefix && !rest)
        return true;
    if (json_is_arr(rest))
        return schema_bad(c, rest,
                          "\"items\" must be one schema; its array form of older drafts is "
                          "\"prefixItems\"");
    struct schema_items *items = &schema_rule_add(d, RULE_ITEMS)->items;
    if (prefix && !child_list(c, d, prefix, &items->prefix))
        return false;
    items->n = json_count(prefix);
    return child_of(c, d, KW_ITEMS, &items->rest);
}

static bool add_contains(struct schema_compiler *c, struct schema_draft *d)
{
    struct schema_contains k = {.min = 1, .max = INT64_MAX};
    if ((d->kw[KW_MIN_CONTAINS] && !schema_count_of(c, d->kw[KW_MIN_CONTAINS], &k.min)) ||
        (d->kw[KW_MAX_CONTAINS] && !schema_count_of(c, d->kw[KW_MAX_CONTAINS], &k.max)) ||
        !child_of(c, d, KW_CONTAINS, &k.node))
        return false;
    if (k.node)
        schema_rule_add(d, RULE_CONTAINS)->contains = k;
    return true;
}

/* --- objects ---------------------------------------------------------------------------------- */

/* Names of properties and of required ones, sorted; the value tells which: a schema is no string.
 */
static struct json_member *named_members(struct schema_compiler *c, const struct schema_draft *d,
                                         size_t *out_n)
{
    json_val *props = d->kw[KW_PROPERTIES], *required = d->kw[KW_REQUIRED], *one;
    size_t n = 0, room = json_count(props) + json_count(required);
    struct json_member *m = arena_array(c->a, room, sizeof *m);
    struct json_iter it = json_iter_of(props);
    if (!m)
        return NULL;
    while (json_next(&it, &m[n].key, &m[n].val) && ++n < json_count(props))
        continue;
    it = json_iter_of(required);
    while (json_next(&it, NULL, &one))
        m[n++] = (struct json_member){json_str(one), one};
    json_sort_members(m, n);
    *out_n = n;
    return m;
}

static bool is_inside(json_val *outer, json_val *v)
{
    return outer && v > outer && v < unsafe_yyjson_get_next(outer);
}

static bool add_properties(struct schema_compiler *c, struct schema_draft *d,
                           struct schema_object *o)
{
    size_t n = 0;
    struct json_member *m = named_members(c, d, &n);
    struct schema_property *props = arena_array(c->a, n, sizeof *props);
    if (!m || !props)
        return schema_no_memory(c);
    for (size_t i = 0; i < n; i++) {
        struct schema_property *p = o->n > 0 ? &props[o->n - 1] : NULL;
        if (!p || !span_eq(p->name, m[i].key)) {
            p = &props[o->n++];
            p->name = m[i].key;
        }
        if (is_inside(d->kw[KW_REQUIRED], m[i].val)) {
            o->n_required += !p->required;
            p->required = true;
        } else if (!child(c, d, m[i].val, &p->node)) {
            return false;
        }
    }
    o->props = props;
    o->required = o->n_required > 0 ? d->kw[KW_REQUIRED] : NULL;
    return true;
}

static bool add_pattern_properties(struct schema_compiler *c, struct schema_draft *d,
                                   struct schema_object *o)
{
    struct json_iter it = json_iter_of(d->kw[KW_PATTERN_PROPERTIES]);
    size_t n = json_count(d->kw[KW_PATTERN_PROPERTIES]);
    struct schema_pattern_property *p = arena_array(c->a, n, sizeof *p);
    struct span key;
    json_val *val;
    if (!p)
        return schema_no_memory(c);
    o->patterns = p;
    for (; json_next(&it, &key, &val); p++, o->n_patterns++)
        if (!schema_add_pattern(c, key, val, &p->pattern) || !child(c, d, val, &p->node))
            return false;
    return true;
}

static bool add_members(struct schema_compiler *c, struct schema_draft *d)
{
    json_val **kw = d->kw;
    if (!kw[KW_PROPERTIES] && !kw[KW_PATTERN_PROPERTIES] && !kw[KW_ADDITIONAL_PROPERTIES] &&
        !kw[KW_REQUIRED])
        return true;
    if (!need_object(c, kw[KW_PROPERTIES]) || !need_object(c, kw[KW_PATTERN_PROPERTIES]) ||
        (kw[KW_REQUIRED] && !schema_strings(c, kw[KW_REQUIRED])))
        return false;
    struct schema_object *o = arena_alloc(c->a, sizeof *o);
    if (!o)
        return schema_no_memory(c);
    schema_rule_add(d, RULE_MEMBERS)->object = o;
    return add_properties(c, d, o) && add_pattern_properties(c, d, o) &&
           child_of(c, d, KW_ADDITIONAL_PROPERTIES, &o->additional);
}

static bool add_when_present(struct schema_compiler *c, struct schema_draft *d)
{
    struct json_iter it = json_iter_of(d->kw[KW_DEPENDENT_SCHEMAS]);
    struct schema_when w = {0};
    json_val *val;
    if (!need_object(c, d->kw[KW_DEPENDENT_SCHEMAS]))
        return false;
    while (json_next(&it, &w.name, &val)) {
        struct schema_rule *r = schema_rule_add(d, RULE_WHEN_PRESENT);
        if (!child(c, d, val, &w.node))
            return false;
        r->when = w;
    }
    return true;
}

/* --- logic ------------------------------------------------------------------------------------ */

static bool add_list(struct schema_compiler *c, struct schema_draft *d, enum schema_keyword kw,
                     enum schema_rule_kind kind)
{
    if (!d->kw[kw])
        return true;
    struct schema_rule *r = schema_rule_add(d, kind);
    r->n_nodes = json_count(d->kw[kw]);
    return child_list(c, d, d->kw[kw], &r->nodes);
}

static bool add_one(struct schema_compiler *c, struct schema_draft *d, enum schema_keyword kw,
                    enum schema_rule_kind kind)
{
    return !d->kw[kw] || child_of(c, d, kw, &schema_rule_add(d, kind)->node);
}

/* then and else without if say nothing, but must be schemas. */
static bool add_if(struct schema_compiler *c, struct schema_draft *d)
{
    struct schema_cond k = {0};
    if (!child_of(c, d, KW_IF, &k.test) || !child_of(c, d, KW_THEN, &k.yes) ||
        !child_of(c, d, KW_ELSE, &k.no))
        return false;
    if (k.test)
        schema_rule_add(d, RULE_IF)->cond = k;
    return true;
}

bool schema_add_applicators(struct schema_compiler *c, struct schema_draft *d)
{
    return add_defs(c, d, d->kw[KW_DEFS]) && add_defs(c, d, d->kw[KW_DEFINITIONS]) &&
           add_items(c, d) && add_contains(c, d) && add_members(c, d) &&
           add_one(c, d, KW_PROPERTY_NAMES, RULE_NAMES) && add_when_present(c, d) &&
           add_ref(c, d, KW_REF) && add_ref(c, d, KW_DYNAMIC_REF) &&
           add_list(c, d, KW_ALL_OF, RULE_ALL) && add_list(c, d, KW_ANY_OF, RULE_ANY) &&
           add_list(c, d, KW_ONE_OF, RULE_ONE) && add_one(c, d, KW_NOT, RULE_NOT) && add_if(c, d) &&
           add_one(c, d, KW_UNEVALUATED_ITEMS, RULE_OTHER_ITEMS) &&
           add_one(c, d, KW_UNEVALUATED_PROPERTIES, RULE_OTHER_MEMBERS);
}
