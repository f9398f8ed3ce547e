/* cli/doctor_recipes.c - recipes: can enough of those that they name be asked, can their cost be
 * kept? See cli/doctor.h. What is wrong with a provider itself, doctor_models.c has said. */
#include "cli/doctor.h"

/* Calls fn with each model that a recipe asks, those of its recipes included, until it returns
 * true. */
static bool any_model(const struct config *c, const struct recipe *r,
                      bool (*fn)(void *ctx, const struct config_model *m), void *ctx)
{
    for (size_t i = 0; i < r->n_panel + r->n_judges; i++) {
        struct span name = i < r->n_panel ? r->panel[i].model : r->judges[i - r->n_panel];
        struct config_model implied;
        const struct recipe *inner = config_recipe_find(c, name);
        const struct config_model *m = inner ? NULL : config_model_find(c, name, &implied);
        if ((inner && any_model(c, inner, fn, ctx)) || (m && fn(ctx, m)))
            return true;
    }
    return false;
}

static bool is_of(void *ctx, const struct config_model *m)
{
    return m->provider == ctx;
}

bool doctor_recipe_needs(const struct config *c, const struct config_provider *p)
{
    for (size_t i = 0; i < c->n_recipes; i++)
        if (any_model(c, &c->recipes[i], is_of, (void *)p))
            return true;
    return false;
}

/* --- can it be asked? ------------------------------------------------------------------------- */

static size_t usable_members(const struct doctor *d, const struct recipe *r);

static bool usable(const struct doctor *d, struct span name)
{
    struct config_model implied;
    const struct recipe *r = config_recipe_find(d->config, name);
    if (r)
        return (int64_t)usable_members(d, r) >= recipe_quorum(r, recipe_members(r));
    const struct config_model *m = config_model_find(d->config, name, &implied);
    return m && d->providers[m->provider - d->config->providers].usable;
}

static size_t usable_members(const struct doctor *d, const struct recipe *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_panel; i++)
        if (usable(d, r->panel[i].model))
            n += (size_t)r->panel[i].samples;
    return n;
}

static size_t usable_judges(const struct doctor *d, const struct recipe *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_judges; i++)
        n += usable(d, r->judges[i]);
    return n;
}

static void check_panel(struct doctor *d, const char *name, const struct recipe *r)
{
    size_t members = recipe_members(r), able = usable_members(d, r), judges = usable_judges(d, r);
    int64_t quorum = recipe_quorum(r, members);
    bool whole = able == members && judges == r->n_judges;
    enum doctor_status s = (int64_t)able < quorum ? DOCTOR_BAD : whole ? DOCTOR_OK : DOCTOR_WARN;
    if (d->offline && s == DOCTOR_OK)
        return; /* most providers were not asked */
    if (r->n_judges > 0)
        doctor_add(d, s, name, "%zu of %zu members and %zu of %zu judges can be asked; quorum %lld",
                   able, members, judges, r->n_judges, (long long)quorum);
    else
        doctor_add(d, s, name, "%zu of %zu members can be asked; quorum %lld", able, members,
                   (long long)quorum);
    if (s != DOCTOR_OK)
        doctor_fix(d, "put right the providers above, or take them out of `%.*s`",
                   SPAN_ARG(r->name));
}

/* --- cost ------------------------------------------------------------------------------------- */

static bool find_unpriced(void *ctx, const struct config_model *m)
{
    bool unpriced = !m->price.known || m->price.output < 0;
    if (unpriced)
        *(struct span *)ctx = m->name;
    return unpriced;
}

static void check_cap(struct doctor *d, const char *name, const struct recipe *r)
{
    struct span model;
    if (r->max_cost_nusd < 0 || !any_model(d->config, r, find_unpriced, &model))
        return;
    doctor_add(d, DOCTOR_BAD, name,
               "`max_cost_usd` refuses every request: the price of %.*s is unknown",
               SPAN_ARG(model));
    doctor_fix(d, "give it a `price: {input: ..., output: ...}` (USD per million tokens; `free` if "
                  "it is)");
}

/* --- all -------------------------------------------------------------------------------------- */

struct look {
    struct doctor *d;
    const char *name;
    struct span seen[LIMIT_LEAF_CALLS];
    size_t n_seen;
};

/* Listed models have had their line. */
static bool check_implied(void *ctx, const struct config_model *m)
{
    struct look *l = ctx;
    for (size_t i = 0; i < l->n_seen; i++)
        if (span_eq(l->seen[i], m->name))
            return false;
    if (!m->implied || l->n_seen == COUNT_OF(l->seen))
        return false;
    l->seen[l->n_seen++] = m->name;
    doctor_model(l->d, l->name, m);
    return false;
}

void doctor_recipes(struct doctor *d)
{
    const struct config *c = d->config;
    for (size_t i = 0; d->providers && i < c->n_recipes; i++) {
        const struct recipe *r = &c->recipes[i];
        struct look l = {.d = d, .name = doctor_name(d, "recipe", r->name)};
        check_panel(d, l.name, r);
        check_cap(d, l.name, r);
        (void)any_model(c, r, check_implied, &l);
    }
}
