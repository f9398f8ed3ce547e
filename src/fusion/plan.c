/* fusion/plan.c - from a recipe and a request to the calls of one fusion: who, with what caps,
 * under which blind label. What it costs at most is plan_bound.c's. Nothing is dispatched here. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/rng.h"
#include "fusion/plan_priv.h"

/* A drawn seed must survive the JSON that reports it. */
#define SEED_MASK ((1ull << 53) - 1)

static bool no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "no memory for a plan");
}

bool plan_note(struct plan *p, struct arena *a, struct err *e, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (p->n_notes == COUNT_OF(p->notes))
        return true;
    p->notes[p->n_notes] = arena_dup(a, span_of(text));
    return p->notes[p->n_notes++].p || no_memory(e);
}

bool plan_judge_writes(const struct plan *p)
{
    return p->recipe.mode == FUSION_MERGE && (p->n_members > 1 || p->recipe.judge_from_request);
}

bool plan_judge_decides(const struct plan *p)
{
    return p->n_members > 1 &&
           (p->recipe.mode == FUSION_BEST_OF || (p->recipe.mode == FUSION_VOTE && p->n_judges > 0));
}

/* --- what no recipe can take -------------------------------------------------------------------
 */

static bool check_request(const struct chat_request *r, const struct recipe *recipe, struct err *e)
{
    struct span model = recipe->panel[0].model;
    if (r->n > 1)
        return err_field(e, "n",
                         "a recipe gives one answer: leave n out, or call a model such as "
                         "'%.*s'",
                         SPAN_ARG(model));
    if (r->logprobs == 1 || r->top_logprobs > 0)
        return err_field(e, "logprobs",
                         "a fused answer has no logprobs: leave them out, or call a "
                         "model such as '%.*s'",
                         SPAN_ARG(model));
    if (r->audio_out)
        return err_field(e, "modalities", "may not hold \"audio\": a recipe answers in text");
    if (r->n_tools > 0)
        return err_field(e, "tools",
                         "tools through a recipe come with the full fusion of a later "
                         "version: call a model such as '%.*s'",
                         SPAN_ARG(model));
    if (r->format == CHAT_FORMAT_JSON || r->format == CHAT_FORMAT_SCHEMA)
        return err_field(e, "response_format",
                         "structured output through a recipe comes with the full fusion of a later "
                         "version: call a model such as '%.*s'",
                         SPAN_ARG(model));
    return true;
}

static bool merge_request(struct plan *p, struct arena *a, const struct fusion_env *env,
                          const struct recipe *base, const struct chat_request *r, struct err *e)
{
    struct node n;
    p->recipe = *base;
    if (r->fusion.p &&
        (!node_from_json(a, r->fusion, "fusion", &n, e) || !recipe_read(n, true, &p->recipe, e) ||
         (env->check && !env->check(env->ctx, &p->recipe, e))))
        return false;
    if (p->recipe.n_panel == 0)
        return err_field(e, "fusion.panel", "the fusion has no panel: name its models");
    return true;
}

/* --- models ------------------------------------------------------------------------------------
 */

static const struct fusion_model *find_model(const struct plan *p, struct arena *a,
                                             const struct fusion_env *env, struct span name,
                                             struct err *e)
{
    struct fusion_model *m = arena_alloc(a, sizeof *m);
    if (!m) {
        no_memory(e);
        return NULL;
    }
    return env->resolve(env->ctx, a, name, p->rules, m, e) ? m : NULL;
}

static const struct fusion_model *known_model(const struct plan *p, struct span name)
{
    for (size_t i = 0; i < p->n_members; i++)
        if (span_eq(p->members[i].spec->model, name))
            return p->members[i].model;
    return NULL;
}

static unsigned next_sample(const struct plan *p, const struct fusion_model *m)
{
    unsigned n = 0;
    for (size_t i = 0; i < p->n_members; i++)
        n += span_eq(p->members[i].model->name, m->name);
    return n;
}

static bool add_panel(struct plan *p, struct arena *a, const struct fusion_env *env,
                      const struct chat_request *r, struct err *e)
{
    for (size_t i = 0; i < p->recipe.n_panel; i++) {
        const struct recipe_member *spec = &p->recipe.panel[i];
        const struct fusion_model *m = known_model(p, spec->model);
        if (!m && !(m = find_model(p, a, env, spec->model, e)))
            return false;
        int64_t cap = spec->max_tokens >= 0 ? spec->max_tokens : r->max_tokens;
        if (cap < 0 && p->recipe.max_cost_nusd >= 0 && m->default_max_tokens > 0) {
            cap = m->default_max_tokens;
            if (!plan_note(p, a, e, "max_tokens %lld sent to %.*s because a cost cap is set",
                           (long long)cap, SPAN_ARG(m->name)))
                return false;
        }
        for (int64_t s = 0; s < spec->samples && p->n_members < LIMIT_PANEL; s++) {
            p->members[p->n_members] = (struct plan_member){
                .spec = spec, .model = m, .sample = next_sample(p, m), .max_tokens = cap};
            p->n_members++;
        }
    }
    return true;
}

static bool add_judges(struct plan *p, struct arena *a, const struct fusion_env *env,
                       const struct chat_request *r, struct err *e)
{
    for (size_t i = 0; i < p->recipe.n_judges; i++) {
        const struct fusion_model *m = known_model(p, p->recipe.judges[i]);
        if (!m && !(m = find_model(p, a, env, p->recipe.judges[i], e)))
            return false;
        p->judges[p->n_judges++] = m;
    }
    p->judge_max_tokens = r->max_tokens;
    if (r->max_tokens >= 0 || p->recipe.max_cost_nusd < 0 || !plan_judge_writes(p))
        return true;
    const struct fusion_model *first = p->n_judges > 0 ? p->judges[0] : p->members[0].model;
    p->judge_max_tokens = first->default_max_tokens > 0 ? first->default_max_tokens : -1;
    return p->judge_max_tokens < 0 ||
           plan_note(p, a, e, "max_tokens %lld sent to the judge because a cost cap is set",
                     (long long)p->judge_max_tokens);
}

/* At most two levels of recipes and LIMIT_LEAF_CALLS calls of models in all panels together. */
static bool check_nesting(const struct plan *p, unsigned depth, struct err *e)
{
    unsigned leaves = 0;
    if (depth >= LIMIT_FUSION_DEPTH)
        return err_field(e, "model", "recipe '%.*s' stands inside recipes more than %d levels deep",
                         SPAN_ARG(p->recipe.name), LIMIT_FUSION_DEPTH);
    for (size_t i = 0; i < p->n_members; i++)
        leaves += p->members[i].model->leaf_calls > 1 ? p->members[i].model->leaf_calls : 1;
    for (size_t i = 0; i < p->n_judges; i++)
        leaves += p->judges[i]->leaf_calls > 1 ? p->judges[i]->leaf_calls : 0;
    if (leaves > LIMIT_LEAF_CALLS)
        return err_field(e, "model",
                         "the recipes inside this one make %u calls in all; at most %d "
                         "can run",
                         leaves, LIMIT_LEAF_CALLS);
    return true;
}

/* --- warnings ----------------------------------------------------------------------------------
 */

/* The maker's word in a model's name: "openai/gpt-5" and "gpt-4o" are both "gpt". */
static struct span family_of(struct span name)
{
    size_t slash = span_rindex(name, SPAN("/")), n = 0;
    struct span s = slash < name.n ? span_from(name, slash + 1) : name;
    while (n < s.n && isalpha((unsigned char)s.p[n]))
        n++;
    return span_upto(s, n);
}

static bool warn_judge(struct plan *p, struct arena *a, const struct fusion_model *judge,
                       struct err *e)
{
    struct span family = family_of(judge->name);
    for (size_t i = 0; i < p->n_members; i++)
        if (span_eq(p->members[i].model->name, judge->name))
            return plan_note(p, a, e,
                             "the judge %.*s is also a member: it may favour its own answer",
                             SPAN_ARG(judge->name));
    for (size_t i = 0; i < p->n_members && family.n > 0; i++)
        if (span_eq_nocase(family_of(p->members[i].model->name), family))
            return plan_note(p, a, e,
                             "the judge %.*s and the member %.*s are of one family: it may "
                             "favour its answer",
                             SPAN_ARG(judge->name), SPAN_ARG(p->members[i].model->name));
    return true;
}

static bool add_warnings(struct plan *p, struct arena *a, struct err *e)
{
    if (plan_judge_writes(p) || plan_judge_decides(p)) {
        if (p->n_judges == 0 && !warn_judge(p, a, p->members[0].model, e))
            return false;
        for (size_t i = 0; i < p->n_judges; i++)
            if (!warn_judge(p, a, p->judges[i], e))
                return false;
    }
    for (size_t i = 0; i < p->n_members; i++)
        if (p->members[i].model->bills_on && p->members[i].sample == 0 && p->n_members > 1 &&
            !plan_note(p, a, e, "aborting %.*s saves nothing: its provider bills on",
                       SPAN_ARG(p->members[i].model->name)))
            return false;
    return true;
}

/* --- the whole ---------------------------------------------------------------------------------
 */

/* Labels come from the seed and the panel alone: neither the order in the recipe nor that of
 * arrival shows in them. */
static void set_labels(struct plan *p, uint64_t seed)
{
    unsigned order[LIMIT_PANEL];
    struct rng rng;
    uint64_t mix = seed;
    for (size_t i = 0; i < p->n_members; i++)
        mix = span_hash(p->members[i].model->name, mix);
    rng_init(&rng, mix);
    rng_permutation(&rng, p->n_members, order);
    for (size_t i = 0; i < p->n_members; i++)
        p->members[i].label = (char)('A' + order[i]);
}

/* A recipe's policy holds for every call that it makes, beside the caller's. */
static bool add_rule(struct plan *p, struct arena *a, const struct recipe *base,
                     const struct chat_rule *rules, struct err *e)
{
    struct chat_rule *r;
    p->rules = rules;
    if (!base->policy)
        return true;
    r = arena_alloc(a, sizeof *r);
    if (!r)
        return no_memory(e);
    *r = (struct chat_rule){rules, base->policy->name, base->policy->regions,
                            base->policy->n_regions};
    p->rules = r;
    return true;
}

bool plan_build(struct arena *a, const struct fusion_env *env, const struct recipe *base,
                const struct chat_request *r, const struct chat_rule *rules, unsigned depth,
                struct plan *out, struct err *e)
{
    struct plan *p = out;
    *p = (struct plan){0};
    if (!add_rule(p, a, base, rules, e) || !merge_request(p, a, env, base, r, e) ||
        !check_request(r, &p->recipe, e) || !add_panel(p, a, env, r, e) ||
        !add_judges(p, a, env, r, e) || !check_nesting(p, depth, e))
        return false;
    p->quorum = recipe_quorum(&p->recipe, p->n_members);
    uint64_t seed =
        p->recipe.seed >= 0 ? (uint64_t)p->recipe.seed : env->random(env->ctx) & SEED_MASK;
    set_labels(p, seed);
    p->pub = (struct fusion_plan){.mode = fusion_mode_name(p->recipe.mode),
                                  .quorum = p->quorum,
                                  .max_cost_nusd = p->recipe.max_cost_nusd,
                                  .seed = seed};
    if (!add_warnings(p, a, e) || !plan_bound(p, a, r, e))
        return false;
    p->pub.warnings = p->notes;
    p->pub.n_warnings = p->n_notes;
    return true;
}

bool fusion_plan_make(struct arena *a, const struct fusion_env *env, const struct recipe *base,
                      const struct chat_request *r, const struct chat_rule *rules,
                      struct fusion_plan *out, struct err *e)
{
    struct plan *p = arena_alloc(a, sizeof *p);
    if (!p)
        return no_memory(e);
    if (!plan_build(a, env, base, r, rules, 0, p, e))
        return false;
    *out = p->pub;
    return true;
}
