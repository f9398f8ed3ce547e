/* dialect/mistral_send.c - chat_request -> a body for Mistral, in one pass and by its schema.
 *
 * What each field becomes:
 *   model, messages, tools, stop, max_tokens, top_p, penalties, parallel_tool_calls: as they are
 *   seed -> random_seed, tool_choice required -> any, role developer -> system, an audio part's
 *     object -> a string, a file's data or URL -> document_url, tool call ids -> nine characters
 *   temperature above 1.5, a negative seed, top_k, n, logprobs, audio out: refused by name
 *   reasoning_effort: none or high, the only ones there are; a budget alone is high
 *   user, stream_options, store, a service tier of OpenAI's, reasoning's summary: left out, listed
 *   what only Mistral has (safe_prompt, prompt_mode, prediction, guardrails, prompt_cache_key,
 *     standard_only, metadata, prefix): passed on when it came by Chat Completions
 *   any other field: refused by name, because Mistral would */
#include "base/text.h"
#include "dialect/mistral_priv.h"

static bool refuse(struct mistral_out *o, const char *field, const char *why)
{
    return wire_bad_key(NULL, field, o->e, "%s", why);
}

/* --- sampling --------------------------------------------------------------------------------- */

static bool write_seed(struct mistral_out *o)
{
    json_val *v;
    int64_t n;
    if (!o->r->seed.p)
        return true;
    if (!json_parse_scratch(&o->scratch, o->r->seed, &v, o->e))
        return false;
    if (!json_i64(v, &n) || n < 0)
        return refuse(o, "seed", "must be a whole number of 0 or more: Mistral takes no other");
    json_w_key(o->w, "random_seed");
    json_w_i64(o->w, n);
    return true;
}

static bool write_temperature(struct mistral_out *o)
{
    json_val *v;
    double x;
    if (!o->r->temperature.p)
        return true;
    if (!json_parse_scratch(&o->scratch, o->r->temperature, &v, o->e))
        return false;
    if (!json_f64(v, &x) || x < 0 || x > 1.5)
        return refuse(o, "temperature", "must be a number from 0 to 1.5: Mistral takes no other");
    wire_raw(o->w, "temperature", o->r->temperature);
    return true;
}

/* The live API knows two words and refuses the others (code 3051). A hint of how much to think is
 * followed as far as it goes, and listed where it is not followed to the letter. */
static bool write_effort(struct mistral_out *o)
{
    static const struct {
        struct span word;
        bool high;
    } words[] = {
        {SPAN_INIT("none"), false},  {SPAN_INIT("minimal"), false}, {SPAN_INIT("low"), true},
        {SPAN_INIT("medium"), true}, {SPAN_INIT("high"), true},     {SPAN_INIT("xhigh"), true},
        {SPAN_INIT("max"), true},
    };
    const struct chat_request *r = o->r;
    struct span word = r->reasoning_effort;
    if (r->reasoning_tokens > 0) {
        wire_note(o->notes, SPAN("reasoning.max_tokens"));
        word = word.p ? word : SPAN("high");
    }
    if (r->reasoning_summary.p)
        wire_note(o->notes, SPAN("reasoning.summary"));
    if (!word.p)
        return true;
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (!span_eq(words[i].word, word))
            continue;
        struct span sent = words[i].high ? SPAN("high") : SPAN("none");
        if (!span_eq(sent, word))
            wire_note(o->notes, SPAN("reasoning_effort"));
        wire_str(o->w, "reasoning_effort", sent);
        return true;
    }
    return refuse(o, "reasoning_effort", "must be none or high: Mistral takes no other");
}

static bool write_sampling(struct mistral_out *o)
{
    const struct chat_request *r = o->r;
    if (r->max_tokens >= 0) {
        json_w_key(o->w, "max_tokens");
        json_w_i64(o->w, r->max_tokens);
    }
    wire_raw(o->w, "top_p", r->top_p);
    wire_raw(o->w, "presence_penalty", r->presence_penalty);
    wire_raw(o->w, "frequency_penalty", r->frequency_penalty);
    oai_write_stop(o->w, r);
    return write_temperature(o) && write_seed(o) && write_effort(o);
}

/* --- tools and format ------------------------------------------------------------------------- */

/* Tools that run at Mistral; who asks for them by these names means Mistral's. */
static bool is_builtin(struct span type)
{
    static const char *const types[] = {"web_search",       "web_search_premium",
                                        "code_interpreter", "image_generation",
                                        "document_library", "connector"};
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (span_eq(type, span_of(types[i])))
            return true;
    return false;
}

static bool write_tool(struct mistral_out *o, size_t i)
{
    const struct chat_tool *tool = &o->r->tools[i];
    struct wire_path list = {NULL, "tools", 0}, at = {&list, NULL, i};
    if (tool->raw.p && (!o->same || !is_builtin(tool->name)))
        return wire_bad(&at, o->e, "is of a kind that Mistral does not know");
    if (tool->raw.p) {
        json_w_raw(o->w, tool->raw);
        return true;
    }
    if (tool->whole.p && !o->same)
        return wire_bad(&at, o->e, "has members that Mistral does not know");
    if (tool->whole.p && !mistral_check_members(o, &at, CHAT_PART_TOOL_CALL, tool->whole))
        return false;
    if (!wire_is_name(tool->name))
        return wire_bad_key(&at, "name", o->e, "must match ^[a-zA-Z0-9_-]{1,64}$");
    oai_write_function(o->w, tool,
                       tool->parameters.p ? tool->parameters
                                          : SPAN("{\"type\":\"object\",\"properties\":{}}"));
    return true;
}

static bool write_tools(struct mistral_out *o)
{
    if (o->r->n_tools == 0)
        return true;
    json_w_key(o->w, "tools");
    json_w_arr(o->w);
    for (size_t i = 0; i < o->r->n_tools; i++)
        if (!write_tool(o, i))
            return false;
    json_w_arr_end(o->w);
    oai_write_choice(o->w, o->r, "any");
    if (o->r->parallel_tool_calls >= 0) {
        json_w_key(o->w, "parallel_tool_calls");
        json_w_bool(o->w, o->r->parallel_tool_calls != 0);
    }
    return true;
}

static bool write_format(struct mistral_out *o)
{
    if (o->r->format == CHAT_FORMAT_SCHEMA && !o->r->format_schema.p)
        return refuse(o, "response_format.json_schema.schema",
                      "is missing, and Mistral demands it: send a JSON Schema object");
    oai_write_format(o->w, o->r);
    return true;
}

/* --- the rest --------------------------------------------------------------------------------- */

static bool check_meaning(struct mistral_out *o)
{
    static const char unknown[] = "is not known to Mistral: leave it out, or ask another model";
    const struct chat_request *r = o->r;
    if (r->n > 1)
        return refuse(o, "n", "above 1 is not supported: send the request several times");
    if (r->logprobs > 0)
        return refuse(o, "logprobs", unknown);
    if (r->top_logprobs > 0)
        return refuse(o, "top_logprobs", unknown);
    if (r->top_k.p)
        return refuse(o, "top_k", unknown);
    if (r->audio_out)
        return refuse(o, "modalities", "ask for audio, which Mistral does not answer with");
    if (r->verbosity.p && !span_eq(r->verbosity, SPAN("medium")))
        return refuse(o, "verbosity", unknown);
    if (r->verbosity.p)
        wire_note(o->notes, SPAN("verbosity"));
    return true;
}

/* Fields that are Mistral's own, of a request that came by Chat Completions. */
static const char *own_field(const struct chat_extra *x)
{
    static const char *const names[] = {"safe_prompt", "prompt_mode", "prediction", "guardrails",
                                        "prompt_cache_key"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (span_eq(x->name, span_of(names[i])))
            return names[i];
    /* The other values are OpenAI's, or say what holds anyway ("auto"). */
    bool tier = span_eq(x->name, SPAN("service_tier"));
    return tier && span_eq(x->json, SPAN("\"standard_only\"")) ? "service_tier" : NULL;
}

static bool write_extras(struct mistral_out *o)
{
    for (size_t i = 0; i < o->r->n_extras; i++) {
        const struct chat_extra *x = &o->r->extras[i];
        const char *own = o->same ? own_field(x) : NULL;
        if (own)
            wire_raw(o->w, own, x->json);
        else if (!wire_write_extras(o->w, x, 1, NULL, false, NULL, o->notes, o->e))
            return false;
    }
    return true;
}

static void write_hints(struct mistral_out *o)
{
    if (o->r->user.p)
        wire_note(o->notes, SPAN("user"));
    if (o->r->metadata.p && !o->same)
        wire_note(o->notes, SPAN("metadata"));
    else
        wire_raw(o->w, "metadata", o->r->metadata);
}

static bool write_body(struct mistral_out *o, const struct dialect_target *t)
{
    json_w_obj(o->w);
    wire_str(o->w, "model", t->model.p ? t->model : o->r->model);
    if (!check_meaning(o) || !mistral_write_messages(o) || !write_tools(o) || !write_format(o) ||
        !write_sampling(o) || !write_extras(o))
        return false;
    write_hints(o);
    if (!t->unary) {
        json_w_key(o->w, "stream");
        json_w_bool(o->w, true);
    }
    json_w_obj_end(o->w);
    return json_w_end(o->w);
}

bool mistral_write_request(const struct chat_request *r, const struct dialect_target *t,
                           struct buf *out, struct dialect_notes *notes, struct err *e)
{
    size_t from = out->n;
    struct json_w w;
    struct mistral_out o = {.w = &w,
                            .r = r,
                            .same = span_eq(r->dialect, OAI_NAME),
                            .omit_reasoning = t->omit_reasoning,
                            .notes = notes,
                            .e = e};
    json_w_init(&w, out, e);
    json_scratch_init(&o.scratch);
    bool ok = mistral_calls_init(&o.calls, r, e) && write_body(&o, t);
    mistral_calls_done(&o.calls);
    json_scratch_done(&o.scratch);
    if (!ok)
        buf_cut(out, from);
    return ok;
}
