/* api/target.c - a client's model name as a source: a model, a recipe as a fusion, or an alias as
 * several of them; which regions its data may go to. Here, because only here models and fusions
 * meet. */
#include "api/app_priv.h"

#include "ledger/price.h"
#include "route/failover.h"
#include "route/order.h"
#include "route/prefs.h"
#include "route/structured.h"

/* One name on the way to a source. */
struct candidate {
    struct span name;
    struct route_target target;    /* of a model or a recipe */
    const struct chat_rule *rules; /* the asker's, and those of the alias it came by */
    struct order_target order;
    size_t rank; /* in the request's list of providers; SIZE_MAX: not named */
};

struct search {
    struct lane *lane;
    struct arena *arena;
    const struct chat_rule *rules;
    const struct chat_request *request; /* NULL: none */
    struct route_prefs prefs;
    struct candidate *all; /* room for ORDER_MAX: some kilobytes, on the stack, since in the arena
                            * they would stay as long as the answer */
    size_t n;
    enum config_sort sort;
    bool structured; /* the request asks for JSON */
    const struct schema *schema;
    struct err refused; /* why the last one was passed over */
};

static bool no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "out of memory");
}

static bool same_engine(const struct config_model *m)
{
    return m->provider->kind == PROVIDER_LOCAL && m->provider->local.n_command == 0;
}

/* --- rules
 * ----------------------------------------------------------------------------------------- */

bool worker_rule(struct arena *a, const struct config_policy *policy, const struct chat_rule *up,
                 const struct chat_rule **out, struct err *e)
{
    struct chat_rule *r;
    *out = up;
    if (!policy)
        return true;
    r = arena_alloc(a, sizeof *r);
    if (!r)
        return no_memory(e);
    *r = (struct chat_rule){up, policy->name, policy->regions, policy->n_regions};
    *out = r;
    return true;
}

/* --- names to candidates
 * ----------------------------------------------------------------------------- */

/* Input three times as dear as output is rare: what a usual call costs, for comparing only. What is
 * free is known to be (order.h: 0 is not). */
static int64_t usual_price(const struct config_model *m, bool writes)
{
    const struct price *p = &m->price;
    if (!p->known || (writes && p->output < 0))
        return 0;
    return p->input * 3 + (writes ? p->output : 0) + 1;
}

/* Only where they count: each is a walk over a sketch. */
static void add_figures(const struct search *s, struct order_target *o,
                        const struct route_target *t)
{
    const struct chat_request *r = s->request;
    if (!t->model)
        return;
    o->price_nusd = usual_price(t->model, !(r && r->pass && r->max_tokens == 0));
    o->latency_us = latency_quantile_us(t->latency, 0.5);
    o->pace_us = latency_quantile_us(t->pace, 0.5);
}

/* What passes as it came goes to one model. */
static bool takes(const struct search *s, const struct candidate *c, struct err *e)
{
    const struct chat_request *r = s->request;
    if (!r || !r->pass)
        return true;
    if (c->target.recipe)
        return err_field(e, "model", "\"%.*s\" is a recipe, which answers chats only: name a model",
                         SPAN_ARG(c->name));
    return !c->target.model || upstream_takes(c->target.model, r, e);
}

/* False only when the name leads nowhere, or memory runs out; who may not be asked is passed over.
 */
static bool add_name(struct search *s, struct span name, const struct chat_rule *rules,
                     double weight, bool fallback, struct err *e)
{
    struct candidate c = {.name = name, .rules = rules, .rank = SIZE_MAX};
    if (!route_resolve(s->lane->route, s->arena, name, &c.target, e))
        return false;
    const struct config_model *m = c.target.model;
    if (!takes(s, &c, &s->refused) || (m && !route_check_region(m, rules, &s->refused)))
        return true;
    if (!m && prefs_forbid(&s->prefs)) {
        (void)err_field(&s->refused, "provider",
                        "provider: what it forbids cannot be kept by the recipe \"%.*s\", whose "
                        "members stand in the configuration; use a policy, or name a model",
                        SPAN_ARG(span_upto(name, 64)));
        return true;
    }
    if (m && !prefs_allow(&s->prefs, m)) {
        (void)err_field(&s->refused, "provider", "provider: no upstream of this model fits it");
        return true;
    }
    if (s->n == ORDER_MAX)
        return err_field(e, "models", "models: names more than %d targets", ORDER_MAX);
    if (m)
        c.rank = prefs_rank(&s->prefs, m);
    c.order = (struct order_target){.weight = weight, .fallback = fallback, .down = c.target.down};
    s->all[s->n++] = c;
    return true;
}

static bool add_alias(struct search *s, const struct config_alias *a, bool fallback, struct err *e)
{
    const struct chat_rule *rules;
    if (!worker_rule(s->arena, a->policy, s->rules, &rules, e))
        return false;
    if (!fallback && a->sort != CONFIG_SORT_NONE)
        s->sort = a->sort;
    for (size_t i = 0; i < a->n_to; i++)
        if (!add_name(s, a->to[i].name, rules, a->to[i].weight, fallback, e))
            return false;
    for (size_t i = 0; i < a->n_fallback; i++)
        if (!add_name(s, a->fallback[i].name, rules, 0, true, e))
            return false;
    return true;
}

static bool add_any(struct search *s, struct span name, bool fallback, struct err *e)
{
    const struct config_alias *alias = config_alias_find(s->lane->snapshot->config, name);
    return alias ? add_alias(s, alias, fallback, e) : add_name(s, name, s->rules, 1, fallback, e);
}

/* --- candidates to a source
 * ---------------------------------------------------------------------------- */

/* Anthropic's API has no JSON mode without a schema. */
static enum config_structured way_of(const struct search *s, const struct config_model *m)
{
    bool none = m->caps.can[CAP_STRUCTURED_OUTPUTS] == CAN_NO ||
                (m->provider->kind == PROVIDER_ANTHROPIC && !s->schema);
    return none ? CONFIG_STRUCTURED_PROMPT : m->provider->structured;
}

static struct chat_source *checked(struct search *s, const struct candidate *c)
{
    enum config_structured way = way_of(s, c->target.model);
    struct structured_source *ss = arena_alloc(s->arena, sizeof *ss);
    if (!ss)
        return NULL;
    structured_source_init(ss, s->arena, c->target.source,
                           way == CONFIG_STRUCTURED_NATIVE ? STRUCTURED_NATIVE : STRUCTURED_PROMPT,
                           way == CONFIG_STRUCTURED_JSON_OBJECT);
    ss->schema = s->schema;
    return &ss->source;
}

static struct chat_source *source_of(struct search *s, const struct candidate *c)
{
    if (c->target.model)
        return s->structured ? checked(s, c) : c->target.source;
    struct fusion_source *f = arena_alloc(s->arena, sizeof *f);
    if (!f)
        return NULL;
    fusion_source_init(f, &s->lane->fusion_env, c->target.recipe);
    return &f->source;
}

/* The providers that the request lists come first, in its order. */
static void rank(const struct search *s, unsigned *order)
{
    for (size_t i = 1; i < s->n; i++)
        for (size_t k = i; k > 0 && s->all[order[k]].rank < s->all[order[k - 1]].rank; k--) {
            unsigned swap = order[k];
            order[k] = order[k - 1];
            order[k - 1] = swap;
        }
}

static void put_in_order(const struct search *s, uint64_t with, unsigned *out)
{
    struct order_target targets[ORDER_MAX];
    enum config_sort sort = s->prefs.has_sort ? s->prefs.sort : s->sort;
    for (size_t i = 0; i < s->n; i++) {
        targets[i] = s->all[i].order;
        if (s->n > 1 && sort != CONFIG_SORT_NONE)
            add_figures(s, &targets[i], &s->all[i].target);
    }
    order_targets(targets, s->n, sort, with, out);
    rank(s, out);
}

/* Who signs what a model thought, and wants it back. */
static bool model_signs(const struct config_model *m)
{
    static const char *const dialects[] = {"anthropic_messages", "gemini", "openai_responses"};
    for (size_t i = 0; m->provider->dialect && i < COUNT_OF(dialects); i++)
        if (strcmp(m->provider->dialect, dialects[i]) == 0)
            return true;
    return false;
}

/* A recipe may have anybody in its panel. */
static bool any_signs(const struct search *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (!s->all[i].target.model || model_signs(s->all[i].target.model))
            return true;
    return false;
}

static bool make_source(struct search *s, const unsigned *order, size_t n, struct app_target *out,
                        struct err *e)
{
    struct failover_target *targets = arena_array(s->arena, n, sizeof *targets);
    struct failover_source *f = arena_alloc(s->arena, sizeof *f);
    if (!targets || !f)
        return no_memory(e);
    for (size_t i = 0; i < n; i++) {
        const struct candidate *c = &s->all[order[i]];
        targets[i] = (struct failover_target){c->name, source_of(s, c), c->rules};
        if (!targets[i].source)
            return no_memory(e);
    }
    failover_source_init(f, s->lane->route, targets, n);
    const struct config_model *first = s->all[order[0]].target.model;
    f->total_us = first ? first->timeouts.total_us : 0;
    out->source = n > 1 ? &f->source : targets[0].source;
    out->rules = targets[0].rules;
    out->failover = n > 1 ? f : NULL;
    out->wants_signed = any_signs(s);
    return true;
}

static bool none_left(const struct search *s, struct span name, struct err *e)
{
    if (s->refused.cls != ERR_NONE) {
        *e = s->refused;
        return false;
    }
    return err_set(e, ERR_NOT_FOUND, "the model \"%.*s\" has no target", SPAN_ARG(name));
}

/* --- a client's request
 * ---------------------------------------------------------------------------------- */

/* The turns of one conversation go to one upstream, whose cache of the prompt then helps: its first
 * words are its mark where the client names no session. */
static uint64_t draw(const struct search *s, const struct chat_request *r)
{
    uint64_t h = 0;
    if (r && r->session.n > 0)
        return span_hash(r->session, 1);
    for (size_t i = 0; r && i < r->n_messages; i++) {
        const struct chat_message *m = &r->messages[i];
        for (size_t k = 0; k < m->n_parts; k++)
            h = span_hash(span_upto(m->parts[k].text, KIB(4)), h + 1);
        if (m->role == CHAT_USER)
            return h;
    }
    return rng_u64(&s->lane->worker->names);
}

static bool request_rules(struct search *s, const struct app_ask *ask, struct err *e)
{
    for (size_t i = 0; i < ask->n_policies; i++) {
        struct span name = ask->policies[i];
        const struct config_policy *p = config_policy_find(s->lane->snapshot->config, name);
        if (!p) {
            (void)err_field(e, "x-fusor-policy", "x-fusor-policy: no policy is named \"%.*s\"",
                            SPAN_ARG(span_upto(name, 64)));
            return err_with_code(e, "unknown_policy");
        }
        if (!worker_rule(s->arena, p, s->rules, &s->rules, e))
            return false;
    }
    return true;
}

/* What is wrong with a schema is said before anything is sent. */
static bool read_schema(struct search *s, const struct chat_request *r, struct err *e)
{
    s->structured = r && structured_wanted(r);
    return !s->structured || structured_schema(s->arena, r, &s->schema, e);
}

static bool add_fallbacks(struct search *s, const struct chat_request *r, struct err *e)
{
    for (size_t i = 0; r && i < r->n_fallbacks; i++)
        if (!span_eq(r->fallbacks[i], r->model) && !add_any(s, r->fallbacks[i], true, e))
            return false;
    return true;
}

static bool say_ignored(const struct search *s, struct app_target *out, struct err *e)
{
    size_t n = s->prefs.n_ignored;
    struct span *names = n > 0 ? arena_array(s->arena, n, sizeof *names) : NULL;
    if (n > 0 && !names)
        return no_memory(e);
    for (size_t i = 0; i < n; i++)
        names[i] = s->prefs.ignored[i];
    out->ignored = names;
    out->n_ignored = n;
    return true;
}

bool worker_resolve(struct worker *w, struct arena *arena, const struct app_ask *ask,
                    struct app_target *out, struct err *e)
{
    struct candidate all[ORDER_MAX];
    struct search s = {.lane = w->lane, .arena = arena, .request = ask->request, .all = all};
    unsigned order[ORDER_MAX];
    *out = (struct app_target){.name = ask->name};
    if (!prefs_read(arena, ask->request ? ask->request->routing : (struct span){0}, &s.prefs, e) ||
        !request_rules(&s, ask, e) || !read_schema(&s, ask->request, e) ||
        !add_any(&s, ask->name, false, e) || !add_fallbacks(&s, ask->request, e))
        return false;
    if (s.n == 0)
        return none_left(&s, ask->name, e);
    put_in_order(&s, s.n > 1 ? draw(&s, ask->request) : 0, order);
    size_t n = s.prefs.no_fallbacks ? 1 : s.n;
    out->recipe = s.all[order[0]].target.recipe;
    out->fields = s.prefs.exact ? CHAT_FIELDS_EXACT : CHAT_FIELDS_CONFIGURED;
    if (!say_ignored(&s, out, e) || !make_source(&s, order, n, out, e))
        return false;
    if (out->failover)
        out->failover->any_refusal = ask->request && ask->request->n_fallbacks > 0;
    return true;
}

/* --- a member or judge of a fusion
 * ------------------------------------------------------------------------- */

/* Of figures of which 0 says that they are not known: then neither is the largest. */
static int64_t largest(int64_t a, int64_t b)
{
    return a == 0 || b == 0 ? 0 : a > b ? a : b;
}

static void add_to_model(struct fusion_model *m, const struct candidate *c)
{
    const struct config_model *t = c->target.model;
    unsigned leaves =
        t ? 1 : (unsigned)(recipe_members(c->target.recipe) + c->target.recipe->n_judges);
    m->leaf_calls = leaves > m->leaf_calls ? leaves : m->leaf_calls;
    m->json_schema = m->json_schema && t && same_engine(t);
    m->context = largest(m->context, t ? t->context : 0);
    m->max_output = largest(m->max_output, t ? t->max_output : 0);
    if (!t) {
        m->price = (struct price){-1, -1, -1, -1, .known = false};
        return;
    }
    price_raise(&m->price, &t->price);
    m->bills_on = m->bills_on || t->provider->cancel_bills_on;
    if (m->least_context == 0 || (t->context > 0 && t->context < m->least_context))
        m->least_context = t->context;
    if (t->default_max_tokens > m->default_max_tokens)
        m->default_max_tokens = t->default_max_tokens;
}

bool lane_resolve(void *ctx, struct arena *a, struct span name, const struct chat_rule *rules,
                  struct fusion_model *out, struct err *e)
{
    struct lane *l = ctx;
    struct candidate all[ORDER_MAX];
    struct search s = {.lane = l, .arena = a, .rules = rules, .all = all};
    unsigned order[ORDER_MAX];
    struct app_target t = {0};
    if (!prefs_read(a, (struct span){0}, &s.prefs, e) || !add_any(&s, name, false, e))
        return false;
    if (s.n == 0)
        return none_left(&s, name, e);
    put_in_order(&s, rng_u64(&l->worker->names), order);
    const struct candidate *first = &s.all[order[0]];
    const struct config_model *m = first->target.model;
    if (!make_source(&s, order, s.n, &t, e))
        return false;
    *out = (struct fusion_model){.name = s.n > 1 || !m ? name : m->name,
                                 .source = t.source,
                                 .rules = t.rules,
                                 .latency = first->target.latency,
                                 .json_schema = true,
                                 .context = 1,
                                 .max_output = 1,
                                 .tries = l->snapshot->config->retry_ambiguous ? (unsigned)s.n : 1,
                                 .price = {0, 0, 0, 0, .known = true}};
    for (size_t i = 0; i < s.n; i++)
        add_to_model(out, &s.all[i]);
    if (s.n == 1 && m)
        out->price = m->price; /* with its tiers */
    return true;
}
