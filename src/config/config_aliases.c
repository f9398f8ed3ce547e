/* config/config_aliases.c - the `policies` and `aliases` of the file, and what may be tried again.
 *
 * A policy says to which regions data may go; an alias is a name that stands for other names, with
 * weights and a fallback list. An alias names models and recipes, never another alias; recipes may
 * name aliases (config_recipes.c follows them). */
#include "base/text.h"
#include "config/config_priv.h"

#define MAX_TARGETS 16
#define MAX_WEIGHT  1000000.0

static bool no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "out of memory while reading the configuration");
}

/* --- policies ----------------------------------------------------------------------------------
 */

static bool check_region(struct node n, struct span region, struct err *e)
{
    return config_check_name(n, region, false, e);
}

static bool read_policy(struct snapshot *s, struct node n, struct span name,
                        struct config_policy *p, struct err *e)
{
    static const char *const fields[] = {"regions"};
    *p = (struct config_policy){.name = name};
    if (!config_check_name(n, name, false, e))
        return false;
    if (node_skip(n) || node_kind_of(n) != NODE_MAP)
        return node_fail_type(n, "a map of fields", e);
    if (!node_only(n, fields, COUNT_OF(fields), e) ||
        !config_read_list(s, node_get(n, "regions"), check_region, &p->regions, &p->n_regions, e))
        return false;
    return p->n_regions > 0 ||
           node_fail(n, e, "needs 'regions', a list such as [eu, on-prem, local]");
}

bool config_read_policies(struct snapshot *s, struct node n, struct err *e)
{
    if (!node_is_map(n, e))
        return false;
    size_t count = node_count(n);
    struct config_policy *policies = arena_array(s->arena, count, sizeof *policies);
    if (!policies)
        return no_memory(e);
    for (size_t i = 0; i < count; i++) {
        struct span name;
        struct node one = node_at(n, i, &name);
        if (!read_policy(s, one, name, &policies[i], e))
            return false;
    }
    s->c.policies = policies;
    s->c.n_policies = count;
    return true;
}

const struct config_policy *config_policy_find(const struct config *c, struct span name)
{
    for (size_t i = 0; i < c->n_policies; i++)
        if (span_eq(c->policies[i].name, name))
            return &c->policies[i];
    return NULL;
}

bool config_read_policy_name(struct snapshot *s, struct node n, const struct config_policy **out,
                             struct err *e)
{
    struct span name = {NULL, 0};
    if (node_skip(n))
        return true;
    if (!node_str(n, &name, e))
        return false;
    *out = config_policy_find(&s->c, name);
    return *out || node_fail(n, e, "no policy is named '%.*s'", SPAN_ARG(text_upto(name, 64)));
}

/* --- aliases -----------------------------------------------------------------------------------
 */

static bool check_target(struct snapshot *s, struct node n, struct span name, struct err *e)
{
    struct config_model implied;
    struct span shown = text_upto(name, 64), near[1];
    if (config_recipe_find(&s->c, name) || config_model_find(&s->c, name, &implied))
        return true;
    if (map_get(s->aliases, name))
        return node_fail(n, e, "'%.*s' is an alias; an alias names models and recipes",
                         SPAN_ARG(shown));
    if (config_near_target(&s->c, name, near, 1) == 0)
        return node_fail(n, e, "no model or recipe is named '%.*s'", SPAN_ARG(shown));
    return node_fail(n, e, "no model or recipe is named '%.*s'; did you mean '%.*s'?",
                     SPAN_ARG(shown), SPAN_ARG(near[0]));
}

static bool read_target(struct snapshot *s, struct node n, struct config_target *t, struct err *e)
{
    static const char *const fields[] = {"model", "weight"};
    struct node model = n;
    *t = (struct config_target){.weight = 1};
    if (node_kind_of(n) == NODE_MAP) {
        if (!node_only(n, fields, COUNT_OF(fields), e) ||
            !node_f64(node_get(n, "weight"), 0, MAX_WEIGHT, &t->weight, e))
            return false;
        model = node_get(n, "model");
        if (node_skip(model))
            return node_fail(n, e, "needs 'model'");
    }
    return node_str(model, &t->name, e) && check_target(s, model, t->name, e);
}

static bool read_targets(struct snapshot *s, struct node n, const struct config_target **out,
                         size_t *out_n, struct err *e)
{
    bool list = node_kind_of(n) == NODE_LIST;
    size_t count = node_skip(n) ? 0 : list ? node_count(n) : 1;
    if (count > MAX_TARGETS)
        return node_fail(n, e, "names %zu models; at most %d", count, MAX_TARGETS);
    struct config_target *targets = arena_array(s->arena, count, sizeof *targets);
    if (!targets)
        return no_memory(e);
    for (size_t i = 0; i < count; i++)
        if (!read_target(s, list ? node_at(n, i, NULL) : n, &targets[i], e))
            return false;
    *out = targets;
    *out_n = count;
    return true;
}

static bool any_weight(const struct config_alias *a)
{
    for (size_t i = 0; i < a->n_to; i++)
        if (a->to[i].weight > 0)
            return true;
    return false;
}

static bool read_alias(struct snapshot *s, struct node n, struct config_alias *a, struct err *e)
{
    static const char *const fields[] = {"to", "fallback", "sort", "policy"};
    static const char *const sorts[] = {"none", "price", "latency", "throughput"};
    struct node to = n;
    int sort = CONFIG_SORT_NONE;
    if (node_kind_of(n) == NODE_MAP) {
        if (!node_only(n, fields, COUNT_OF(fields), e) ||
            !read_targets(s, node_get(n, "fallback"), &a->fallback, &a->n_fallback, e) ||
            !node_word(node_get(n, "sort"), sorts, COUNT_OF(sorts), &sort, e) ||
            !config_read_policy_name(s, node_get(n, "policy"), &a->policy, e))
            return false;
        to = node_get(n, "to");
    }
    a->sort = (enum config_sort)sort;
    if (node_skip(to))
        return node_fail(n, e, "needs 'to', a model or recipe, or a list of them");
    if (!read_targets(s, to, &a->to, &a->n_to, e))
        return false;
    return any_weight(a) || node_fail(to, e, "needs a target with a weight above 0");
}

static bool check_alias_name(struct snapshot *s, struct node n, struct span name, struct err *e)
{
    if (!config_check_name(n, name, true, e))
        return false;
    if (span_eq(name, SPAN("auto")))
        return node_fail(n, e, "this name is kept for a mode of a later version");
    if (map_get(s->models, name) || map_get(s->recipes, name))
        return node_fail(n, e, "is also the name of a model or recipe; choose another");
    return true;
}

/* The names, before the recipes are read, which may use them. */
bool config_read_alias_names(struct snapshot *s, struct node n, struct err *e)
{
    if (!node_is_map(n, e))
        return false;
    size_t count = node_count(n);
    struct config_alias *aliases = arena_array(s->arena, count, sizeof *aliases);
    if (!aliases)
        return no_memory(e);
    for (size_t i = 0; i < count; i++) {
        struct span name;
        (void)node_at(n, i, &name);
        aliases[i] = (struct config_alias){.name = name};
        if (!map_put(s->aliases, name, &aliases[i]))
            return no_memory(e);
    }
    s->c.aliases = aliases;
    s->c.n_aliases = count;
    return true;
}

bool config_read_aliases(struct snapshot *s, struct node n, struct err *e)
{
    for (size_t i = 0; i < s->c.n_aliases; i++) {
        struct span name;
        struct node one = node_at(n, i, &name);
        struct config_alias *a = map_get(s->aliases, name);
        if (!check_alias_name(s, one, name, e) || !read_alias(s, one, a, e))
            return false;
    }
    return true;
}

const struct config_alias *config_alias_find(const struct config *c, struct span name)
{
    return map_get(snapshot_of(c)->aliases, name);
}

/* --- retries -----------------------------------------------------------------------------------
 */

bool config_read_retries(struct snapshot *s, struct node root, struct err *e)
{
    static const char *const retry_fields[] = {"ambiguous", "budget_percent"};
    static const char *const breaker_fields[] = {"failures", "open"};
    struct node retries = node_get(root, "retries"), breaker = node_get(root, "breaker");
    struct config *c = &s->c;
    c->retry_budget_percent = 10;
    c->breaker_failures = 5;
    c->breaker_open_us = 10 * SECOND_US;
    if (!node_only(retries, retry_fields, COUNT_OF(retry_fields), e) ||
        !node_only(breaker, breaker_fields, COUNT_OF(breaker_fields), e))
        return false;
    struct node open = node_get(breaker, "open");
    if (!node_bool(node_get(retries, "ambiguous"), &c->retry_ambiguous, e) ||
        !node_i64(node_get(retries, "budget_percent"), 0, 100, &c->retry_budget_percent, e) ||
        !node_i64(node_get(breaker, "failures"), 1, 1000, &c->breaker_failures, e) ||
        !node_duration(open, SECOND_US, &c->breaker_open_us, e))
        return false;
    return c->breaker_open_us > 0 || node_fail(open, e, "must be longer than 0");
}
