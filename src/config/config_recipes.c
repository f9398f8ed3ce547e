/* config/config_recipes.c - the `fusions` of the file, and whether what a recipe names exists.
 *
 * A recipe may name models and other recipes. It is followed to the models at its end, so that a
 * cycle, more than LIMIT_FUSION_DEPTH levels or more than LIMIT_LEAF_CALLS calls are errors before
 * anything is sent. */
#include <stdio.h>

#include "base/text.h"
#include "config/config_priv.h"

/* What stands at the end of a name. */
struct tally {
    size_t levels, leaves;
};

struct walk {
    const struct config *c;
    const struct recipe *path[LIMIT_FUSION_DEPTH];
    size_t n_path;
    bool in_judges; /* where in path[0] the fault is */
    size_t index;
    char why[300];
};

static bool tally_recipe(struct walk *w, const struct recipe *r, struct tally *out);

static bool fail_missing(struct walk *w, struct span name)
{
    struct span near[1], shown = text_upto(name, 64);
    size_t n = config_near(w->c, name, near, 1);
    snprintf(w->why, sizeof w->why, "no model or recipe is named '%.*s'%s%.*s%s", SPAN_ARG(shown),
             n > 0 ? "; did you mean '" : "", n > 0 ? (int)near[0].n : 0, n > 0 ? near[0].p : "",
             n > 0 ? "'?" : "");
    return false;
}

static bool fail_cycle(struct walk *w, size_t from)
{
    size_t used = 0;
    if (w->n_path - from == 1) {
        snprintf(w->why, sizeof w->why, "the recipe '%.*s' names itself",
                 SPAN_ARG(w->path[from]->name));
        return false;
    }
    for (size_t i = from; i <= w->n_path; i++) {
        struct span name = w->path[i < w->n_path ? i : from]->name;
        int len = snprintf(w->why + used, sizeof w->why - used, "%s%.*s",
                           i == from ? "the recipes go in a circle: " : " -> ", SPAN_ARG(name));
        used += len > 0 ? (size_t)len : 0;
        used = used < sizeof w->why ? used : sizeof w->why - 1;
    }
    return false;
}

static bool tally_name(struct walk *w, struct span name, struct tally *out);

/* One of its targets runs at a time: the largest counts. Targets are models and recipes. */
static bool tally_alias(struct walk *w, const struct config_alias *a, struct tally *out)
{
    struct tally most = {0}, one;
    for (size_t i = 0; i < a->n_to + a->n_fallback; i++) {
        const struct config_target *t = i < a->n_to ? &a->to[i] : &a->fallback[i - a->n_to];
        if (!tally_name(w, t->name, &one))
            return false;
        most.levels = one.levels > most.levels ? one.levels : most.levels;
        most.leaves = one.leaves > most.leaves ? one.leaves : most.leaves;
    }
    *out = most;
    return true;
}

static bool tally_name(struct walk *w, struct span name, struct tally *out)
{
    struct config_model implied;
    const struct config_alias *alias = config_alias_find(w->c, name);
    if (alias)
        return tally_alias(w, alias, out);
    if (config_model_find(w->c, name, &implied)) {
        *out = (struct tally){.levels = 0, .leaves = 1};
        return true;
    }
    const struct recipe *r = config_recipe_find(w->c, name);
    if (!r)
        return fail_missing(w, name);
    for (size_t i = 0; i < w->n_path; i++)
        if (w->path[i]->name.n > 0 && span_eq(w->path[i]->name, name))
            return fail_cycle(w, i);
    if (w->n_path == LIMIT_FUSION_DEPTH) {
        snprintf(w->why, sizeof w->why, "recipe '%.*s' makes more than %d levels of recipes",
                 SPAN_ARG(name), LIMIT_FUSION_DEPTH);
        return false;
    }
    return tally_recipe(w, r, out);
}

static bool tally_recipe(struct walk *w, const struct recipe *r, struct tally *out)
{
    struct tally sum = {.levels = 0, .leaves = 0}, judge = {.levels = 0, .leaves = 0};
    bool top = w->n_path == 0;
    w->path[w->n_path++] = r;
    for (size_t i = 0; i < r->n_panel + r->n_judges; i++) {
        struct tally one;
        bool is_judge = i >= r->n_panel;
        size_t at = is_judge ? i - r->n_panel : i;
        if (top) {
            w->in_judges = is_judge;
            w->index = at;
        }
        if (!tally_name(w, is_judge ? r->judges[at] : r->panel[at].model, &one))
            return false;
        sum.levels = one.levels > sum.levels ? one.levels : sum.levels;
        if (!is_judge)
            sum.leaves += one.leaves * (size_t)r->panel[at].samples;
        else if (one.levels > 0 && one.leaves > judge.leaves)
            judge.leaves = one.leaves;
        if (sum.leaves + judge.leaves > LIMIT_LEAF_CALLS) {
            snprintf(w->why, sizeof w->why, "makes %zu calls with all recipes unfolded; at most %d",
                     sum.leaves + judge.leaves, LIMIT_LEAF_CALLS);
            return false;
        }
    }
    w->n_path--;
    *out = (struct tally){.levels = sum.levels + 1, .leaves = sum.leaves + judge.leaves};
    return true;
}

bool config_recipe_check(const struct config *c, const struct recipe *r, struct err *e)
{
    struct walk w = {.c = c};
    struct tally sum;
    char param[64];
    if (tally_recipe(&w, r, &sum))
        return true;
    if (!w.in_judges)
        snprintf(param, sizeof param, "fusion.panel[%zu]", w.index);
    else if (r->n_judges == 1)
        snprintf(param, sizeof param, "fusion.judge");
    else
        snprintf(param, sizeof param, "fusion.judge[%zu]", w.index);
    return err_field(e, param, "%s: %s", param, w.why);
}

/* --- reading --------------------------------------------------------------------------------- */

static struct node blamed(struct node n, const struct walk *w)
{
    struct node list = node_get(n, w->in_judges ? "judge" : "panel");
    if (node_kind_of(list) != NODE_LIST)
        return list;
    struct node one = node_at(list, w->index, NULL);
    struct node model = node_get(one, "model");
    return node_kind_of(model) == NODE_ABSENT ? one : model;
}

static bool check_names(const struct config *c, struct node n, const struct recipe *r,
                        struct err *e)
{
    struct walk w = {.c = c};
    struct tally sum;
    return tally_recipe(&w, r, &sum) || node_fail(blamed(n, &w), e, "%s", w.why);
}

static bool read_recipe(struct snapshot *s, struct node n, struct span name, struct recipe *r,
                        struct err *e)
{
    if (!config_check_name(n, name, false, e))
        return false;
    if (span_eq(name, SPAN("auto")))
        return node_fail(n, e, "this name is kept for a mode of a later version");
    if (map_get(s->models, name))
        return node_fail(n, e, "is also the name of a model; choose another");
    if (node_skip(n) || node_kind_of(n) != NODE_MAP)
        return node_fail_type(n, "a map of fields", e);
    recipe_init(r);
    r->name = name;
    if (!recipe_read(n, false, r, e) ||
        !config_read_policy_name(s, node_get(n, "policy"), &r->policy, e))
        return false;
    return r->n_panel > 0 ||
           node_fail(n, e, "needs 'panel', a list of 1 to %d members", LIMIT_PANEL);
}

/* The recipe "fusion" for a file that has none; an absent node when no model is listed. */
static bool default_recipe(struct snapshot *s, struct node *out, struct err *e)
{
    struct buf text;
    buf_init(&text, KIB(16));
    struct node root = {NULL, NULL};
    bool ok = defaults_fusion(&s->c, &text, e);
    if (ok && buf_span(&text).n > 0)
        ok = node_from_yaml(s->arena, buf_span(&text), "(default recipe)", &root, e);
    buf_done(&text);
    if (ok)
        *out = node_get(root, "fusion");
    return ok;
}

bool config_read_recipes(struct snapshot *s, struct node n, struct err *e)
{
    struct node extra = {NULL, NULL};
    if (!node_is_map(n, e))
        return false;
    if (node_kind_of(node_get(n, "fusion")) == NODE_ABSENT && !default_recipe(s, &extra, e))
        return false;
    size_t in_file = node_count(n), count = in_file + (node_kind_of(extra) == NODE_MAP);
    struct recipe *recipes = arena_array(s->arena, count, sizeof *recipes);
    if (!recipes)
        return err_set(e, ERR_NOMEM, "out of memory while reading the configuration");
    for (size_t i = 0; i < count; i++) {
        struct span name = SPAN("fusion");
        struct node one = i < in_file ? node_at(n, i, &name) : extra;
        if (!read_recipe(s, one, name, &recipes[i], e))
            return false;
        if (!map_put(s->recipes, name, &recipes[i]))
            return err_set(e, ERR_NOMEM, "out of memory while reading the configuration");
    }
    s->c.recipes = recipes;
    s->c.n_recipes = count;
    return true;
}

bool config_check_recipes(struct snapshot *s, struct node n, struct err *e)
{
    for (size_t i = 0; i < s->c.n_recipes; i++) {
        struct node one = i < node_count(n) ? node_at(n, i, NULL) : (struct node){NULL, NULL};
        if (!check_names(&s->c, one, &s->c.recipes[i], e))
            return false;
    }
    return true;
}
