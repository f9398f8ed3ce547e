/* dialect/gemini_send_config.c - what steers an answer: `generationConfig`.
 *
 * The format goes into responseMimeType and responseJsonSchema: `responseFormat`, which the
 * reference prefers since autumn 2026, promises fewer keywords ($ref and anyOf are not among them).
 * The number ranges are Gemini's own business, but for two: a seed has 31 bits there and any number
 * of them elsewhere, and five stop sequences are the most. */
#include "dialect/gemini_priv.h"

#define MAX_STOP 5

/* `generationConfig` is opened by its first member. */
struct config {
    struct gem_out *o;
    bool open;
};

static void key(struct config *c, const char *name)
{
    if (!c->open) {
        json_w_key(c->o->w, "generationConfig");
        json_w_obj(c->o->w);
    }
    c->open = true;
    json_w_key(c->o->w, name);
}

static void number(struct config *c, const char *name, struct span text)
{
    if (!text.p)
        return;
    key(c, name);
    json_w_raw(c->o->w, text);
}

/* Equal seeds stay equal, which is all that a seed promises. */
static void write_seed(struct config *c)
{
    int64_t n;
    struct span text = c->o->r->seed;
    if (!text.p)
        return;
    if (span_to_i64(text, &n) && n >= 0 && n <= INT32_MAX) {
        number(c, "seed", text);
        return;
    }
    key(c, "seed");
    json_w_i64(c->o->w, (int64_t)(span_hash(text, 0) & INT32_MAX));
}

static bool write_stop(struct config *c)
{
    const struct chat_request *r = c->o->r;
    if (r->n_stop == 0)
        return true;
    if (r->n_stop > MAX_STOP)
        return wire_bad_key(NULL, "stop", c->o->e,
                            "holds %zu strings, the upstream of this model takes %d", r->n_stop,
                            MAX_STOP);
    key(c, "stopSequences");
    json_w_arr(c->o->w);
    for (size_t i = 0; i < r->n_stop; i++)
        json_w_str(c->o->w, r->stop[i]);
    json_w_arr_end(c->o->w);
    return true;
}

/* Name and description are read by the model: in a schema they are its title and description. */
static bool write_format(struct config *c)
{
    static const struct wire_path format = {NULL, "response_format", 0};
    static const struct wire_path inner = {&format, "json_schema", 0};
    static const struct wire_path at = {&inner, "schema", 0};
    const struct chat_request *r = c->o->r;
    struct gem_schema schema = {
        .text = r->format_schema, .title = r->format_name, .description = r->format_description};
    if (r->format != CHAT_FORMAT_JSON && r->format != CHAT_FORMAT_SCHEMA)
        return true;
    key(c, "responseMimeType");
    json_w_str(c->o->w, SPAN("application/json"));
    if (r->format == CHAT_FORMAT_JSON || !r->format_schema.p)
        return true;
    key(c, "responseJsonSchema");
    return gem_write_schema(c->o, &schema, &at);
}

/* --- thinking --------------------------------------------------------------------------------- */

/* Google's own table for reasoning_effort (ai.google.dev/gemini-api/docs/openai), and the words
 * that have come since: for 3 and later a level, for 2.5 a budget. */
static const struct {
    struct span word;
    const char *level;
    int64_t budget;
} efforts[] = {
    {SPAN_INIT("none"), "minimal", 0},     {SPAN_INIT("minimal"), "minimal", 1024},
    {SPAN_INIT("low"), "low", 1024},       {SPAN_INIT("medium"), "medium", 8192},
    {SPAN_INIT("high"), "high", 24576},    {SPAN_INIT("xhigh"), "high", INT64_MAX},
    {SPAN_INIT("max"), "high", INT64_MAX},
};

/* Models that think at all of the levels but the least, or of the most. A level that a model does
 * not have is a 400 ("Thinking level MINIMAL is not supported for this model"). */
static const char *fit_level(const struct gem_model *m, const char *level)
{
    if (m->pro && strcmp(level, "minimal") == 0)
        return "low";
    if (m->pro && m->major == 3 && m->minor == 0 && strcmp(level, "medium") == 0)
        return "high";
    return level;
}

/* 2.5 Pro: 128 to 32768 and never off; Flash: 0 to 24576; Flash-Lite: 0, or 512 to 24576. */
static int64_t fit_budget(const struct gem_model *m, int64_t n)
{
    int64_t least = m->pro ? 128 : m->lite ? 512 : 1, most = m->pro ? 32768 : 24576;
    if (n == 0 && !m->pro)
        return 0;
    return n < least ? least : n > most ? most : n;
}

/* Index of the word in `efforts`; their number when it is none. */
static size_t find_effort(struct span word)
{
    size_t i = 0;
    while (i < COUNT_OF(efforts) && !span_eq_nocase(efforts[i].word, word))
        i++;
    return i;
}

static void write_thinking(struct config *c, const char *level, int64_t budget, bool shown)
{
    struct json_w *w = c->o->w;
    key(c, "thinkingConfig");
    json_w_obj(w);
    if (level) {
        json_w_key(w, "thinkingLevel");
        json_w_cstr(w, level);
    } else if (budget >= 0) {
        json_w_key(w, "thinkingBudget");
        json_w_i64(w, budget);
    }
    if (shown) {
        json_w_key(w, "includeThoughts");
        json_w_bool(w, true);
    }
    json_w_obj_end(w);
}

/* A budget says more than an effort; both in one request are a 400. Who asks for thinking wants to
 * see it; who asks for none, or for as little as can be, does not. */
static bool write_reasoning(struct config *c)
{
    const struct gem_model *m = &c->o->model;
    const struct chat_request *r = c->o->r;
    bool has_effort = r->reasoning_effort.p != NULL, levels = gem_has_level(m);
    bool none = span_eq_nocase(r->reasoning_effort, SPAN("none")) && r->reasoning_tokens <= 0;
    size_t i = find_effort(r->reasoning_effort);
    if (!has_effort && r->reasoning_tokens <= 0 && !r->reasoning_summary.p)
        return true;
    if (has_effort && i == COUNT_OF(efforts))
        return wire_bad_key(NULL, "reasoning_effort", c->o->e,
                            "must be none, minimal, low, medium, high, xhigh or max");
    if (!levels && !gem_has_budget(m)) { /* it does not think: nothing to steer */
        if (!none)
            wire_note(c->o->notes, SPAN("reasoning"));
        return true;
    }
    if (none && (levels || m->pro)) /* thinking cannot be switched off here: as little as can be */
        wire_note(c->o->notes, SPAN("reasoning_effort"));
    if (r->reasoning_tokens > 0)
        write_thinking(c, NULL, levels ? r->reasoning_tokens : fit_budget(m, r->reasoning_tokens),
                       true);
    else if (!has_effort)
        write_thinking(c, NULL, -1, true);
    else if (levels)
        write_thinking(c, fit_level(m, efforts[i].level), -1, !none);
    else
        write_thinking(c, NULL, fit_budget(m, efforts[i].budget), !none);
    return true;
}

bool gem_write_config(struct gem_out *o)
{
    const struct chat_request *r = o->r;
    struct config c = {.o = o};
    number(&c, "temperature", r->temperature);
    number(&c, "topP", r->top_p);
    number(&c, "topK", r->top_k);
    number(&c, "presencePenalty", r->presence_penalty);
    number(&c, "frequencyPenalty", r->frequency_penalty);
    write_seed(&c);
    if (r->max_tokens >= 0) {
        key(&c, "maxOutputTokens");
        json_w_i64(o->w, r->max_tokens);
    }
    if (!write_stop(&c) || !write_format(&c) || !write_reasoning(&c))
        return false;
    if (c.open)
        json_w_obj_end(o->w);
    return true;
}
