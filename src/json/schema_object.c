/* json/schema_object.c - what a schema says about the members of an object. */
#include "json/schema_priv.h"

static const struct schema_property *find(const struct schema_object *o, struct span name)
{
    size_t lo = 0, hi = o->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int order = span_cmp(name, o->props[mid].name);
        if (order == 0)
            return &o->props[mid];
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

static bool fail_extra(struct schema_run *r, json_val *val)
{
    static const struct schema_rule extra = {.kind = RULE_NO_MEMBER};
    r->level++;
    schema_fail(r, &extra, val, NULL);
    r->level--;
    return false;
}

/* One member against all that names it; *looked: something did. */
static bool check_member(struct schema_run *r, const struct schema_object *o,
                         const struct schema_property *p, struct span key, json_val *val,
                         bool *looked)
{
    *looked = p && p->node;
    if (*looked && !schema_eval_child(r, p->node, val))
        return false;
    for (size_t i = 0; i < o->n_patterns; i++) {
        if (!schema_matches(r, &o->patterns[i].pattern, key)) {
            if (r->stopped)
                return false;
            continue;
        }
        *looked = true;
        if (!schema_eval_child(r, o->patterns[i].node, val))
            return false;
    }
    if (*looked || !o->additional)
        return true;
    *looked = true;
    return o->additional->kind == NODE_NOTHING ? fail_extra(r, val)
                                               : schema_eval_child(r, o->additional, val);
}

static bool check_members(struct schema_run *r, const struct schema_rule *rule, json_val *v,
                          const struct schema_marks *m)
{
    const struct schema_object *o = rule->object;
    struct json_iter it = json_iter_of(v);
    struct span key;
    json_val *val;
    size_t required = 0;
    for (size_t i = 0; json_next(&it, &key, &val); i++) {
        const struct schema_property *p = find(o, key);
        bool looked;
        if (!schema_charge(r, 1) || !check_member(r, o, p, key, val, &looked))
            return false;
        required += p && p->required;
        if (looked)
            schema_mark(r, m, i);
    }
    return required == o->n_required || schema_fail(r, rule, v, NULL);
}

static bool check_requires(struct schema_run *r, const struct schema_rule *rule, json_val *v)
{
    struct json_iter it = json_iter_of(rule->requires.names);
    json_val *name;
    if (!schema_charge(r, json_count(v)))
        return false;
    if (!json_get_span(v, rule->requires.name))
        return true;
    while (json_next(&it, NULL, &name)) {
        if (!schema_charge(r, json_count(v)))
            return false;
        if (!json_get_span(v, json_str(name)))
            return schema_fail(r, rule, v, name);
    }
    return true;
}

/* A key is a value too: the library keeps it in front of its member. */
static bool check_names(struct schema_run *r, const struct schema_rule *rule, json_val *v)
{
    struct json_iter it = json_iter_of(v);
    json_val *val;
    while (json_next(&it, NULL, &val)) {
        r->quiet++;
        bool ok = schema_charge(r, 1) && schema_eval(r, rule->node, val - 1, NULL);
        r->quiet--;
        if (!ok)
            return schema_fail(r, rule, v, val - 1);
    }
    return true;
}

static bool check_when_present(struct schema_run *r, const struct schema_rule *rule, json_val *v,
                               const struct schema_marks *m)
{
    if (!schema_charge(r, json_count(v)))
        return false;
    return !json_get_span(v, rule->when.name) || schema_eval(r, rule->when.node, v, m);
}

static bool check_others(struct schema_run *r, const struct schema_rule *rule, json_val *v,
                         const struct schema_marks *m)
{
    struct json_iter it = json_iter_of(v);
    json_val *val;
    for (size_t i = 0; json_next(&it, NULL, &val); i++) {
        if (!schema_charge(r, 1))
            return false;
        if (schema_marked(r, m, i))
            continue;
        if (rule->node->kind == NODE_NOTHING)
            return fail_extra(r, val);
        if (!schema_eval_child(r, rule->node, val))
            return false;
    }
    schema_mark_all(r, m);
    return true;
}

bool schema_check_object(struct schema_run *r, const struct schema_rule *rule, json_val *v,
                         const struct schema_marks *m)
{
    int64_t n = (int64_t)json_count(v);
    switch ((unsigned)rule->kind) {
    case RULE_MAX_MEMBERS:
        return n <= rule->limit || schema_fail(r, rule, v, NULL);
    case RULE_MIN_MEMBERS:
        return n >= rule->limit || schema_fail(r, rule, v, NULL);
    case RULE_REQUIRES:
        return check_requires(r, rule, v);
    case RULE_MEMBERS:
        return check_members(r, rule, v, m);
    case RULE_NAMES:
        return check_names(r, rule, v);
    case RULE_WHEN_PRESENT:
        return check_when_present(r, rule, v, m);
    default: /* RULE_OTHER_MEMBERS: the caller picks those about objects */
        return check_others(r, rule, v, m);
    }
}
