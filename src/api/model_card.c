/* api/model_card.c - one entry of the list of models: what OpenAI's clients need, with the fields
 * that clients of OpenRouter (window, price, parameters) and of Mistral (capabilities) look for.
 *
 * What is not known is null or absent, never a guess. A recipe has what all its members have: the
 * least window, the capabilities that every one of them is known to have; its price is null, as it
 * depends on the plan (POST /v1/fusions/plan says it). Sources: OpenAI API reference "Models";
 * OpenRouter API reference "List available models"; Mistral's OpenAPI, BaseModelCard. */
#include "api/model_card.h"

struct card {
    struct span id, owner;
    const struct config_model *model; /* NULL: a recipe */
    struct config_traits has;
};

/* --- parts of an entry ------------------------------------------------------------------------ */

static void field_str(struct json_w *w, const char *key, struct span s)
{
    json_w_key(w, key);
    json_w_str(w, s);
}

static void field_count(struct json_w *w, const char *key, int64_t n)
{
    json_w_key(w, key);
    if (n > 0)
        json_w_i64(w, n);
    else
        json_w_null(w);
}

/* Nano-USD per million tokens as USD per token, exactly: fifteen decimals without trailing zeros.
 */
static void field_per_token(struct json_w *w, const char *key, int64_t nusd)
{
    char text[40];
    if (nusd < 0)
        return;
    snprintf(text, sizeof text, "%lld.%015lld", (long long)(nusd / 1000000000000000),
             (long long)(nusd % 1000000000000000));
    size_t n = strlen(text);
    while (text[n - 1] == '0')
        n--;
    if (text[n - 1] == '.')
        n--;
    field_str(w, key, span_make(text, n));
}

static void write_rates(struct json_w *w, int64_t input, int64_t cached, int64_t cache_write,
                        int64_t output)
{
    field_per_token(w, "prompt", input);
    field_per_token(w, "completion", output);
    field_per_token(w, "input_cache_read", cached);
    field_per_token(w, "input_cache_write", cache_write);
}

static void write_pricing(struct json_w *w, const struct price *p)
{
    json_w_key(w, "pricing");
    if (!p || !p->known) {
        json_w_null(w);
        return;
    }
    json_w_obj(w);
    write_rates(w, p->input, p->cached, p->cache_write, p->output);
    if (p->n_tiers > 0) {
        json_w_key(w, "overrides");
        json_w_arr(w);
        for (size_t i = 0; i < p->n_tiers; i++) {
            const struct price_tier *t = &p->tiers[i];
            json_w_obj(w);
            json_w_key(w, "min_prompt_tokens");
            json_w_i64(w, t->above_tok + 1);
            write_rates(w, t->input, t->cached, t->cache_write, t->output);
            json_w_obj_end(w);
        }
        json_w_arr_end(w);
    }
    json_w_obj_end(w);
}

static void write_architecture(struct json_w *w, const struct config_caps *caps)
{
    static const struct {
        enum config_cap cap;
        const char *word;
    } kinds[] = {{CAP_IMAGES, "image"}, {CAP_DOCUMENTS, "file"}, {CAP_AUDIO, "audio"}};
    char modality[40] = "text";
    json_w_key(w, "architecture");
    json_w_obj(w);
    json_w_key(w, "input_modalities");
    json_w_arr(w);
    json_w_cstr(w, "text");
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (caps->can[kinds[i].cap] != CAN_YES)
            continue;
        size_t n = strlen(modality);
        snprintf(modality + n, sizeof modality - n, "+%s", kinds[i].word);
        json_w_cstr(w, kinds[i].word);
    }
    json_w_arr_end(w);
    json_w_key(w, "output_modalities");
    json_w_arr(w);
    json_w_cstr(w, "text");
    json_w_arr_end(w);
    size_t n = strlen(modality);
    snprintf(modality + n, sizeof modality - n, "->text");
    json_w_key(w, "modality");
    json_w_cstr(w, modality);
    json_w_obj_end(w);
}

/* Every model takes these; sampling only those not known to refuse it; the rest where it is known.
 */
static void write_parameters(struct json_w *w, const struct config_caps *caps)
{
    static const struct {
        enum config_cap cap;
        const char *words[3];
    } known[] = {{CAP_TOOLS, {"tools", "tool_choice"}},
                 {CAP_PARALLEL_TOOLS, {"parallel_tool_calls"}},
                 {CAP_STRUCTURED_OUTPUTS, {"response_format", "structured_outputs"}},
                 {CAP_REASONING, {"reasoning", "include_reasoning"}}};
    json_w_key(w, "supported_parameters");
    json_w_arr(w);
    json_w_cstr(w, "max_tokens");
    json_w_cstr(w, "stop");
    if (caps->can[CAP_SAMPLING] != CAN_NO) {
        json_w_cstr(w, "temperature");
        json_w_cstr(w, "top_p");
    }
    for (size_t i = 0; i < COUNT_OF(known); i++)
        for (size_t k = 0; known[i].words[k] && caps->can[known[i].cap] == CAN_YES; k++)
            json_w_cstr(w, known[i].words[k]);
    if (caps->efforts != 0)
        json_w_cstr(w, "reasoning_effort");
    json_w_arr_end(w);
}

static void write_efforts(struct json_w *w, unsigned efforts)
{
    if (efforts == 0)
        return;
    json_w_key(w, "reasoning");
    json_w_obj(w);
    json_w_key(w, "supported_efforts");
    json_w_arr(w);
    for (unsigned i = 0; config_effort_name(i); i++)
        if (efforts & 1U << i)
            json_w_cstr(w, config_effort_name(i));
    json_w_arr_end(w);
    json_w_obj_end(w);
}

/* Mistral's words. What is unknown is left out, which its clients read as false. */
static void write_capabilities(struct json_w *w, const struct config_caps *caps)
{
    static const struct {
        enum config_cap cap;
        const char *word;
    } words[] = {{CAP_TOOLS, "function_calling"},
                 {CAP_IMAGES, "vision"},
                 {CAP_AUDIO, "audio"},
                 {CAP_REASONING, "reasoning"}};
    json_w_key(w, "capabilities");
    json_w_obj(w);
    json_w_key(w, "completion_chat");
    json_w_bool(w, true);
    json_w_key(w, "completion_fim");
    json_w_bool(w, false);
    json_w_key(w, "fine_tuning");
    json_w_bool(w, false);
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (caps->can[words[i].cap] != CAN_UNKNOWN) {
            json_w_key(w, words[i].word);
            json_w_bool(w, caps->can[words[i].cap] == CAN_YES);
        }
    json_w_obj_end(w);
}

/* The other names that find a listed model: "provider/name" and "provider/id". */
static void write_aliases(struct json_w *w, const struct config *c, const struct config_model *m)
{
    char name[512];
    size_t n_parts = !m || m->implied ? 0 : span_eq(m->id, m->name) ? 1 : 2;
    json_w_key(w, "aliases");
    json_w_arr(w);
    /* A name with its provider in it needs no second one. */
    for (size_t i = n_parts > 0 && span_find(m->name, "/") < m->name.n; i < n_parts; i++) {
        struct span last = i == 0 ? m->name : m->id;
        int n =
            snprintf(name, sizeof name, "%.*s/%.*s", SPAN_ARG(m->provider->name), SPAN_ARG(last));
        struct span alias = span_make(name, n > 0 && (size_t)n < sizeof name ? (size_t)n : 0);
        if (!span_eq(alias, m->name) && config_model_find(c, alias, NULL) == m)
            json_w_str(w, alias);
    }
    json_w_arr_end(w);
}

static void write_end_of_life(struct json_w *w, struct span retires)
{
    char time[40];
    if (retires.n == 0)
        return;
    field_str(w, "shutdown_date", retires);
    field_str(w, "expiration_date", retires);
    snprintf(time, sizeof time, "%.*sT00:00:00Z", SPAN_ARG(retires));
    json_w_key(w, "deprecation");
    json_w_cstr(w, time);
}

/* --- the whole -------------------------------------------------------------------------------- */

static void write_card(struct json_w *w, const struct config *c, const struct card *card,
                       int64_t created)
{
    json_w_obj(w);
    field_str(w, "id", card->id);
    json_w_key(w, "object");
    json_w_cstr(w, "model");
    json_w_key(w, "created");
    json_w_i64(w, created);
    field_str(w, "owned_by", card->owner);
    field_str(w, "name", card->id);
    json_w_key(w, "type");
    json_w_cstr(w, "base");
    field_count(w, "context_length", card->has.context);
    if (card->has.context > 0)
        field_count(w, "max_context_length", card->has.context);
    write_architecture(w, &card->has.caps);
    write_pricing(w, card->model ? &card->model->price : NULL);
    json_w_key(w, "top_provider");
    json_w_obj(w);
    field_count(w, "context_length", card->has.context);
    field_count(w, "max_completion_tokens", card->has.max_output);
    json_w_obj_end(w);
    write_parameters(w, &card->has.caps);
    write_efforts(w, card->has.caps.efforts);
    write_capabilities(w, &card->has.caps);
    write_aliases(w, c, card->model);
    if (card->model)
        write_end_of_life(w, card->model->retires);
    json_w_obj_end(w);
}

void api_write_model(struct json_w *w, const struct config *c, const struct config_model *m,
                     int64_t created)
{
    struct card card = {.id = m->name,
                        .owner = m->provider->name,
                        .model = m,
                        .has = {m->context, m->max_output, m->caps}};
    write_card(w, c, &card, created);
}

void api_write_named(struct json_w *w, const struct config *c, struct span name, int64_t created)
{
    struct card card = {.id = name, .owner = SPAN("fusor"), .has = config_traits_of(c, name)};
    write_card(w, c, &card, created);
}
