/* config/defaults.c - what holds without a file: the usual providers, and the recipe "fusion".
 *
 * Everything is written as YAML text and read like a file, so there is one way to build a
 * configuration, and `fusor config show` prints what one could have written. The table is what a
 * maintainer updates when providers bring new models; their windows and prices stand in
 * catalogue.yaml.
 */
#include "config/config_priv.h"

struct known_provider {
    const char *name, *variable, *base_url, *fields; /* fields: more of them, from ", " on */
    const char *model, *id, *model_fields;
};

/* Strongest first: the first one with a key judges. */
static const struct known_provider known[] = {
    {"anthropic", "ANTHROPIC_API_KEY", "https://api.anthropic.com/v1", "", "claude-opus-4-8",
     "claude-opus-4-8", ""},
    {"openai", "OPENAI_API_KEY", "https://api.openai.com/v1",
     ", max_tokens_field: max_completion_tokens", "gpt-5.5", "gpt-5.5", ""},
    {"gemini", "GEMINI_API_KEY", "https://generativelanguage.googleapis.com/v1beta/openai", "",
     "gemini-3.1-pro-preview", "gemini-3.1-pro-preview", ""},
    {"mistral", "MISTRAL_API_KEY", "https://api.mistral.ai/v1", ", stream_options: omit",
     "mistral-medium-latest", "mistral-medium-latest", ""},
    {"openrouter", "OPENROUTER_API_KEY", "https://openrouter.ai/api/v1", "", "openrouter-auto",
     "openrouter/auto", ""},
};

/* The three answers of one small model differ by temperature and seed; short ones keep the demo
 * quick on two cores. */
static const char *const self_temperatures[] = {"0.2", "0.5", "0.7"};
#define SELF_MAX_TOKENS 160

/* --- kinds of a later version ---------------------------------------------------------------- */

static const struct {
    struct span kind;
    const char *hint;
} later_kinds[] = {
    {SPAN_INIT("anthropic"), "kind: openai with base_url: https://api.anthropic.com/v1"},
    {SPAN_INIT("gemini"),
     "kind: openai with base_url: https://generativelanguage.googleapis.com/v1beta/openai"},
    {SPAN_INIT("mistral"),
     "kind: openai with base_url: https://api.mistral.ai/v1 and stream_options: omit"},
};

const char *defaults_kind_hint(struct span kind)
{
    for (size_t i = 0; i < COUNT_OF(later_kinds); i++)
        if (span_eq(later_kinds[i].kind, kind))
            return later_kinds[i].hint;
    return NULL;
}

/* --- providers ------------------------------------------------------------------------------- */

/* Asked through secret_load(), as a variable that was read once is empty from then on. */
static bool has_key(const struct known_provider *k)
{
    char ref[64];
    snprintf(ref, sizeof ref, "env:%s", k->variable);
    AUTO(secret) key = secret_load(span_of(ref), NULL);
    return key;
}

bool defaults_providers(struct buf *out, struct err *e)
{
    bool ok = buf_addf(out, e, "providers:\n  local: {kind: local}\n");
    bool keyed[COUNT_OF(known)];
    for (size_t i = 0; ok && i < COUNT_OF(known); i++) {
        const struct known_provider *k = &known[i];
        keyed[i] = has_key(k);
        if (keyed[i])
            ok = buf_addf(out, e, "  %s: {kind: openai, base_url: \"%s\", key: \"env:%s\"%s}\n",
                          k->name, k->base_url, k->variable, k->fields);
    }
    ok = ok && buf_addf(out, e, "models:\n  smollm2: {provider: local}\n");
    for (size_t i = 0; ok && i < COUNT_OF(known); i++) {
        const struct known_provider *k = &known[i];
        if (keyed[i])
            ok = buf_addf(out, e, "  %s: {provider: %s, id: %s%s}\n", k->model, k->name, k->id,
                          k->model_fields);
    }
    return ok;
}

/* --- the recipe "fusion" --------------------------------------------------------------------- */

/* A name that always finds the model, "provider/name". */
static struct span write_name(char *out, size_t cap, const struct config_model *m)
{
    struct span provider = m->provider->name;
    if (span_find(m->name, "/") < m->name.n)
        return m->name;
    int n = snprintf(out, cap, "%.*s/%.*s", SPAN_ARG(provider), SPAN_ARG(m->name));
    return span_make(out, n > 0 && (size_t)n < cap ? (size_t)n : 0);
}

static const struct known_provider *known_of(const struct config_provider *p, size_t *out_rank)
{
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (span_eq(p->name, span_of(known[i].name))) {
            *out_rank = i;
            return &known[i];
        }
    *out_rank = COUNT_OF(known);
    return NULL;
}

/* The provider's first listed model; else, for a usual provider, that of the table; else empty. */
static struct span current_model(const struct config *c, const struct config_provider *p, char *out,
                                 size_t cap)
{
    size_t rank;
    const struct known_provider *k = known_of(p, &rank);
    for (size_t i = 0; i < c->n_models; i++)
        if (c->models[i].provider == p)
            return write_name(out, cap, &c->models[i]);
    if (!k || p->kind != PROVIDER_OPENAI)
        return SPAN("");
    int n = snprintf(out, cap, "%s/%s", k->name, k->id);
    return span_make(out, n > 0 && (size_t)n < cap ? (size_t)n : 0);
}

struct candidates {
    struct span names[LIMIT_PANEL];
    char text[LIMIT_PANEL][512];
    size_t n, judge;
};

static void keyed_models(const struct config *c, struct candidates *out)
{
    size_t best = COUNT_OF(known) + 1;
    out->n = 0;
    out->judge = 0;
    for (size_t i = 0; i < c->n_providers && out->n < LIMIT_PANEL; i++) {
        const struct config_provider *p = &c->providers[i];
        size_t rank;
        if (!p->key)
            continue;
        struct span name = current_model(c, p, out->text[out->n], sizeof out->text[0]);
        if (name.n == 0)
            continue;
        known_of(p, &rank);
        if (rank < best) {
            best = rank;
            out->judge = out->n;
        }
        out->names[out->n++] = name;
    }
}

static bool write_self(struct buf *out, struct span name, const char *fields, struct err *e)
{
    bool ok = buf_addf(out, e, "fusion:\n  judge: \"%.*s\"\n  panel:\n", SPAN_ARG(name));
    for (size_t i = 0; ok && i < COUNT_OF(self_temperatures); i++)
        ok = buf_addf(out, e, "    - {model: \"%.*s\", temperature: %s, seed: %zu%s}\n",
                      SPAN_ARG(name), self_temperatures[i], i + 1, fields);
    return ok;
}

static bool write_local(const struct config *c, struct buf *out, struct err *e)
{
    char name[512], fields[64];
    const struct config_model *m = c->n_models > 0 ? &c->models[0] : NULL;
    for (size_t i = c->n_models; i-- > 0;)
        if (c->models[i].provider->kind == PROVIDER_LOCAL)
            m = &c->models[i];
    if (!m)
        return true;
    bool local = m->provider->kind == PROVIDER_LOCAL;
    snprintf(fields, sizeof fields, ", max_tokens: %d", SELF_MAX_TOKENS);
    return write_self(out, write_name(name, sizeof name, m), local ? fields : "", e);
}

bool defaults_fusion(const struct config *c, struct buf *out, struct err *e)
{
    struct candidates models;
    keyed_models(c, &models);
    if (models.n == 0)
        return write_local(c, out, e);
    struct span judge = models.names[models.judge];
    bool ok = buf_addf(out, e, "fusion:\n  judge: \"%.*s\"\n  panel:\n", SPAN_ARG(judge));
    /* A panel of one would only pass the answer on. */
    const char *fields = models.n == 1 ? ", samples: 3" : "";
    for (size_t i = 0; ok && i < models.n; i++)
        ok = buf_addf(out, e, "    - {model: \"%.*s\"%s}\n", SPAN_ARG(models.names[i]), fields);
    return ok;
}
