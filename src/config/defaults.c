/* config/defaults.c - what holds without a file: the usual providers, and the recipe "fusion".
 *
 * Everything is written as YAML text and read like a file, so there is one way to build a
 * configuration, and `fusor config show` prints what one could have written. The table is what a
 * maintainer updates when providers bring new models; their windows and prices stand in
 * catalogue.yaml.
 */
#include "config/config_priv.h"
#include "json/json.h"

static const struct config_usual known[] = {
    {.name = "anthropic",
     .variable = "ANTHROPIC_API_KEY",
     .kind = "anthropic",
     .dialect = "anthropic_messages",
     .base_url = "https://api.anthropic.com/v1",
     .model = "claude-opus-4-8",
     .id = "claude-opus-4-8"},
    {.name = "openai",
     .variable = "OPENAI_API_KEY",
     .kind = "openai",
     .dialect = "openai_chat",
     .base_url = "https://api.openai.com/v1",
     .max_completion_tokens = true,
     .model = "gpt-5.5",
     .id = "gpt-5.5"},
    {.name = "gemini",
     .variable = "GEMINI_API_KEY",
     .kind = "gemini",
     .dialect = "gemini",
     .base_url = "https://generativelanguage.googleapis.com/v1beta",
     .model = "gemini-3.1-pro-preview",
     .id = "gemini-3.1-pro-preview"},
    {.name = "mistral",
     .variable = "MISTRAL_API_KEY",
     .kind = "mistral",
     .dialect = "mistral",
     .base_url = "https://api.mistral.ai/v1",
     .model = "mistral-medium-latest",
     .id = "mistral-medium-latest"},
    {.name = "openrouter",
     .variable = "OPENROUTER_API_KEY",
     .kind = "openai",
     .dialect = "openai_chat",
     .base_url = "https://openrouter.ai/api/v1",
     .model = "openrouter-auto",
     .id = "openrouter/auto"},
};

const struct config_usual *config_usual(size_t i)
{
    return i < COUNT_OF(known) ? &known[i] : NULL;
}

/* The three answers of one small model differ by temperature and seed; short ones keep the demo
 * quick on two cores. */
static const char *const self_temperatures[] = {"0.2", "0.5", "0.7"};
#define SELF_MAX_TOKENS 160

/* --- providers ------------------------------------------------------------------------------- */

static bool write_provider(const struct config_use *u, struct buf *out, struct err *e)
{
    return buf_addf(out, e, "  %s: {kind: %s, base_url: ", u->usual->name, u->usual->kind) &&
           json_write_str(out, span_of(u->base_url ? u->base_url : u->usual->base_url), e) &&
           buf_add(out, SPAN(", key: "), e) && json_write_str(out, u->key_ref, e) &&
           buf_addf(out, e, "%s}\n",
                    u->usual->max_completion_tokens ? ", max_tokens_field: max_completion_tokens"
                                                    : "");
}

bool config_write_usual(const struct config_use *use, size_t n, struct buf *out, struct err *e)
{
    bool ok = buf_addf(out, e, "providers:\n  local: {kind: local}\n");
    for (size_t i = 0; ok && i < n; i++)
        ok = write_provider(&use[i], out, e);
    ok = ok && buf_addf(out, e, "models:\n  smollm2: {provider: local}\n");
    for (size_t i = 0; ok && i < n; i++) {
        const struct config_usual *k = use[i].usual;
        ok = buf_addf(out, e, "  %s: {provider: %s, id: %s}\n", k->model, k->name, k->id);
    }
    return ok;
}

bool defaults_providers(struct buf *out, struct err *e)
{
    struct config_use use[COUNT_OF(known)];
    char refs[COUNT_OF(known)][64];
    size_t n = 0;
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        /* Asked through secret_load(), as a variable that was read once is empty from then on. */
        snprintf(refs[i], sizeof refs[i], "env:%s", known[i].variable);
        AUTO(secret) key = secret_load(span_of(refs[i]), NULL);
        if (key)
            use[n++] = (struct config_use){.usual = &known[i], .key_ref = span_of(refs[i])};
    }
    return config_write_usual(use, n, out, e);
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

static const struct config_usual *known_of(const struct config_provider *p, size_t *out_rank)
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
    const struct config_usual *k = known_of(p, &rank);
    for (size_t i = 0; i < c->n_models; i++)
        if (c->models[i].provider == p)
            return write_name(out, cap, &c->models[i]);
    if (!k || !config_is_hosted(p))
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
