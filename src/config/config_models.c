/* config/config_models.c - the `models` of the file, and how names find them; see config/config.h.
 *
 * A listed model is found by its name, and by "provider/name" and "provider/id"; any other
 * "provider/id" of a hosted provider is implied. */
#include "base/text.h"
#include "config/config_priv.h"

#define MAX_CONCURRENCY    100000
#define DEFAULT_MAX_TOKENS 8192

static const char *const fields[] = {
    "provider",           "id",       "context",      "max_output",
    "default_max_tokens", "price",    "capabilities", "max_concurrency",
    "max_queue",          "timeouts", "region",       "policy",
};
static const char *const later[] = {"allowance", "reasoning", "aliases", "fallback"};

static bool fail_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "out of memory while reading the configuration");
}

/* --- reading --------------------------------------------------------------------------------- */

/* "lab/qwen3" may be listed, to give it settings, by provider lab only. */
static bool check_name(struct snapshot *s, struct node n, struct span name,
                       const struct config_provider *p, struct span *out_id, struct err *e)
{
    struct span rest = name, head;
    if (!config_check_name(n, name, true, e))
        return false;
    if (span_eq(name, SPAN("auto")))
        return node_fail(n, e, "this name is kept for a mode of a later version");
    *out_id = name;
    if (span_find(name, "/") == name.n || !span_cut(&rest, '/', &head))
        return true;
    const struct config_provider *named = map_get(s->providers, head);
    if (named && named != p)
        return node_fail(n, e, "begins with the name of provider '%.*s' but belongs to '%.*s'",
                         SPAN_ARG(head), SPAN_ARG(p->name));
    if (named)
        *out_id = rest;
    return true;
}

static bool read_provider(struct snapshot *s, struct node n, const struct config_provider **out,
                          struct err *e)
{
    struct node field = node_get(n, "provider");
    struct span name = {NULL, 0};
    if (node_skip(field))
        return node_fail(n, e, "needs 'provider'");
    if (!node_str(field, &name, e))
        return false;
    *out = map_get(s->providers, name);
    return *out || node_fail(field, e, "no provider named '%.*s'", SPAN_ARG(text_upto(name, 64)));
}

static struct config_model model_of(const struct config_provider *p)
{
    return (struct config_model){.provider = p,
                                 .region = p->region,
                                 .context = p->kind == PROVIDER_LOCAL ? p->local.context : 0,
                                 .default_max_tokens = DEFAULT_MAX_TOKENS,
                                 .price = p->price,
                                 .max_concurrency = p->max_concurrency,
                                 .max_queue = p->max_queue,
                                 .timeouts = p->timeouts};
}

/* The family of a provider whose kind says it; of the others the host does. */
static struct span family_of(const struct config_provider *p)
{
    switch (p->kind) {
    case PROVIDER_ANTHROPIC:
        return SPAN("anthropic");
    case PROVIDER_GEMINI:
        return SPAN("gemini");
    case PROVIDER_MISTRAL:
        return SPAN("mistral");
    case PROVIDER_OPENAI:
    case PROVIDER_LOCAL:
    case PROVIDER_RECORDED:
        break;
    }
    return SPAN("");
}

/* What the catalogue knows of the model with this id; what the file says is read over it. */
static void fill_known(const struct snapshot *s, struct config_model *m)
{
    const struct config_provider *p = m->provider;
    struct catalogue_model known;
    if (!catalogue_find(s->catalogue, family_of(p), config_url_host(p->base_url), m->id, &known))
        return;
    m->context = known.context;
    m->max_output = known.max_output;
    m->caps = known.caps;
    m->retires = known.retires;
    if (!p->has_price)
        m->price = known.price;
}

/* Where nothing says how long an answer may be, it is not asked to be longer than it can. */
static void bound_default(struct config_model *m)
{
    if (m->max_output > 0 && m->default_max_tokens > m->max_output)
        m->default_max_tokens = m->max_output;
}

static bool read_tokens(struct node n, struct config_model *m, struct err *e)
{
    struct node wanted = node_get(n, "default_max_tokens");
    if (!node_i64(node_get(n, "context"), 128, CONFIG_MAX_TOKENS, &m->context, e) ||
        !node_i64(node_get(n, "max_output"), 1, CONFIG_MAX_TOKENS, &m->max_output, e))
        return false;
    bound_default(m);
    return node_i64(wanted, 1, CONFIG_MAX_TOKENS, &m->default_max_tokens, e);
}

static bool read_id(struct node n, struct span *out, struct err *e)
{
    if (!node_str(n, out, e))
        return false;
    if (out->n == 0 || out->n > 256)
        return node_fail(n, e, "must have 1 to 256 characters");
    for (size_t i = 0; i < out->n; i++)
        if ((unsigned char)out->p[i] < 0x20 || out->p[i] == 0x7F)
            return node_fail(n, e, "must not hold control characters");
    return true;
}

/* A model that says its policy is one that the policy lets data go to. */
static bool read_region(struct snapshot *s, struct node n, struct config_model *m, struct err *e)
{
    const struct config_policy *policy = NULL;
    struct node region = node_get(n, "region");
    if (!node_str(region, &m->region, e) ||
        (m->region.n > 0 && !config_check_name(region, m->region, false, e)) ||
        !config_read_policy_name(s, node_get(n, "policy"), &policy, e))
        return false;
    for (size_t i = 0; policy && i < policy->n_regions; i++)
        if (span_eq(policy->regions[i], m->region))
            return true;
    return !policy || node_fail(node_get(n, "policy"), e,
                                "'%.*s' does not allow the region '%.*s' of this model",
                                SPAN_ARG(policy->name), SPAN_ARG(m->region));
}

static bool read_model(struct snapshot *s, struct node n, struct span name, struct config_model *m,
                       struct err *e)
{
    const struct config_provider *p = NULL; /* gcc does not see that failure leaves first */
    struct span id = {NULL, 0};
    bool has_price;
    if (node_skip(n) || node_kind_of(n) != NODE_MAP)
        return node_fail_type(n, "a map of fields", e);
    if (!node_only_now(n, fields, COUNT_OF(fields), later, COUNT_OF(later), e) ||
        !read_provider(s, n, &p, e) || !check_name(s, n, name, p, &id, e))
        return false;
    *m = model_of(p);
    m->name = name;
    m->id = id;
    if (!read_region(s, n, m, e) || !read_id(node_get(n, "id"), &m->id, e))
        return false;
    fill_known(s, m);
    return read_tokens(n, m, e) &&
           config_read_price(node_get(n, "price"), &has_price, &m->price, e) &&
           config_read_caps(node_get(n, "capabilities"), &m->caps, e) &&
           node_i64(node_get(n, "max_concurrency"), 0, MAX_CONCURRENCY, &m->max_concurrency, e) &&
           node_i64(node_get(n, "max_queue"), 0, MAX_CONCURRENCY, &m->max_queue, e) &&
           config_read_timeouts(node_get(n, "timeouts"), &m->timeouts, e);
}

static bool put_qualified(struct snapshot *s, struct config_model *m, struct span last)
{
    struct span key =
        arena_printf(s->arena, "%.*s/%.*s", SPAN_ARG(m->provider->name), SPAN_ARG(last));
    if (!key.p)
        return false;
    return map_get(s->models, key) || map_put(s->models, key, m);
}

/* A whole listed name goes before what "provider/id" would mean. */
static bool index_models(struct snapshot *s, struct config_model *models, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!map_put(s->models, models[i].name, &models[i]))
            return false;
    for (size_t i = 0; i < n; i++)
        if (!put_qualified(s, &models[i], models[i].name) ||
            !put_qualified(s, &models[i], models[i].id))
            return false;
    return true;
}

bool config_read_models(struct snapshot *s, struct node n, struct node more, struct err *e)
{
    if (!node_is_map(n, e))
        return false;
    size_t count = node_count(n), total = count + node_count(more);
    struct config_model *models = arena_array(s->arena, total, sizeof *models);
    if (!models)
        return fail_memory(e);
    size_t used = 0;
    for (size_t i = 0; i < total; i++) {
        struct span name;
        struct node one = i < count ? node_at(n, i, &name) : node_at(more, i - count, &name);
        bool hidden = false;
        for (size_t k = 0; i >= count && k < count && !hidden; k++)
            hidden = span_eq(models[k].name, name);
        if (!hidden && !read_model(s, one, name, &models[used++], e))
            return false;
    }
    s->c.models = models;
    s->c.n_models = used;
    return index_models(s, models, used) || fail_memory(e);
}

/* --- finding --------------------------------------------------------------------------------- */

const struct config_provider *config_provider_find(const struct config *c, struct span name)
{
    return map_get(snapshot_of(c)->providers, name);
}

const struct recipe *config_recipe_find(const struct config *c, struct span name)
{
    return map_get(snapshot_of(c)->recipes, name);
}

const struct config_model *config_model_find(const struct config *c, struct span name,
                                             struct config_model *implied)
{
    struct span id = name, head;
    const struct config_model *listed = map_get(snapshot_of(c)->models, name);
    if (listed || !span_cut(&id, '/', &head) || id.n == 0)
        return listed;
    const struct config_provider *p = config_provider_find(c, head);
    if (!p || !config_is_hosted(p) || !implied)
        return NULL;
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] <= ' ' || name.p[i] == 0x7F)
            return NULL;
    *implied = model_of(p);
    implied->name = name;
    implied->id = id;
    implied->implied = true;
    fill_known(snapshot_of(c), implied);
    bound_default(implied);
    return implied;
}

static size_t near_of(const struct config *c, size_t n_aliases, struct span name, struct span *out,
                      size_t max)
{
    struct text_near near;
    text_near_init(&near, name, max);
    for (size_t i = 0; i < c->n_models; i++)
        text_near_offer(&near, c->models[i].name);
    for (size_t i = 0; i < c->n_recipes; i++)
        text_near_offer(&near, c->recipes[i].name);
    for (size_t i = 0; i < n_aliases; i++)
        text_near_offer(&near, c->aliases[i].name);
    for (size_t i = 0; i < near.n; i++)
        out[i] = near.best[i];
    return near.n;
}

size_t config_near(const struct config *c, struct span name, struct span *out, size_t max)
{
    return near_of(c, c->n_aliases, name, out, max);
}

size_t config_near_target(const struct config *c, struct span name, struct span *out, size_t max)
{
    return near_of(c, 0, name, out, max);
}
