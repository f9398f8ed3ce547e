/* dialect/anthropic_messages_model.c - how an answer is thought about: what the request says, in
 * the words that the upstream's model takes.
 *
 * Until Claude 4.5 thinking has a budget of tokens; 4.6 decides by itself and is told how hard to
 * try (output_config.effort); from 4.7 on a budget is refused, and so are temperature, top_p and
 * top_k; the 5 family thinks unless it is told not to, and some of it cannot be told. Sources:
 * platform.claude.com/docs, "Thinking", "Effort", and the migration guides of Opus 4.7, Opus 5.5
 * and Sonnet 5.5. Models of other makers behind this API take a budget or ignore it. */
#include "dialect/anthropic_priv.h"

#define MIN_BUDGET 1024

/* "claude-opus-4-6", "claude-3-7-sonnet-20250219", "anthropic.claude-sonnet-4.5-v1:0" -> 46, 37,
 * 45; -1: no number. A number of more than two digits is a date. */
static int version_of(struct span id)
{
    int parts[2] = {0, 0}, n = 0;
    id = span_from(id, span_index(id, SPAN("claude")));
    for (size_t i = 0; i < id.n && n < 2; i++) {
        size_t digits = 0;
        while (i + digits < id.n && id.p[i + digits] >= '0' && id.p[i + digits] <= '9')
            digits++;
        bool alone = i > 0 && span_find(span_upto(span_from(id, i - 1), 1), "-.@_ ") == 0;
        if (digits > 0 && digits < 3 && alone)
            parts[n++] = digits == 1 ? id.p[i] - '0' : 10 * (id.p[i] - '0') + (id.p[i + 1] - '0');
        else if (n == 1)
            break; /* the minor number stands right behind the major one */
        i += digits > 0 ? digits : 0;
    }
    return n == 0 ? -1 : 10 * parts[0] + (parts[1] > 9 ? 9 : parts[1]);
}

static bool has(struct span id, const char *word)
{
    return span_index(id, span_of(word)) < id.n;
}

struct ant_model ant_model_of(struct span id)
{
    bool claude = has(id, "claude"), above = has(id, "fable") || has(id, "mythos");
    int v = claude ? version_of(id) : -1;
    if (!claude)
        return (struct ant_model){.budget = true};
    if (v < 0)
        v = 50; /* "claude-opus-latest": what is current */
    return (struct ant_model){
        .adaptive = v >= 46 || above,
        .budget = v <= 46 && !above,
        .by_default = v >= 50 || above,
        .always = above || (v >= 55 && has(id, "opus")),
        .between = v >= 55 && has(id, "sonnet"),
        .effort = v >= 46 || above || (v == 45 && has(id, "opus")),
        .xhigh = v >= 47 || above,
        .no_sampling = v >= 47 || above,
    };
}

/* Per cent of max_tokens, as OpenRouter reckons it; a word that nobody has heard of yet is
 * "medium". */
static int64_t share_of(struct span effort)
{
    static const struct {
        struct span word;
        int share;
    } shares[] = {
        {SPAN_INIT("minimal"), 10}, {SPAN_INIT("low"), 20},   {SPAN_INIT("medium"), 50},
        {SPAN_INIT("high"), 80},    {SPAN_INIT("xhigh"), 95}, {SPAN_INIT("max"), 95},
    };
    for (size_t i = 0; i < COUNT_OF(shares); i++)
        if (span_eq(shares[i].word, effort))
            return shares[i].share;
    return 50;
}

static struct span level_of(struct span effort, bool xhigh)
{
    static const struct span levels[] = {SPAN_INIT("low"), SPAN_INIT("medium"), SPAN_INIT("high"),
                                         SPAN_INIT("max")};
    if (span_eq(effort, SPAN("minimal")))
        return SPAN("low");
    if (span_eq(effort, SPAN("xhigh")))
        return xhigh ? SPAN("xhigh") : SPAN("high");
    for (size_t i = 0; i < COUNT_OF(levels); i++)
        if (span_eq(levels[i], effort))
            return levels[i];
    return (struct span){0};
}

/* What is decided about one request. */
struct deciding {
    const struct chat_request *r;
    struct ant_model model;
    int64_t max_tokens;
    bool forced;      /* a tool must be called: no model thinks before that */
    struct span name; /* of the field, for notes */
    struct ant_plan *plan;
    struct dialect_notes *notes;
};

static void note(struct deciding *d)
{
    wire_note(d->notes, d->name);
}

/* No thinking; asked: the client said so. */
static void think_not(struct deciding *d, bool asked)
{
    struct ant_plan *p = d->plan;
    if (!d->model.by_default) {
        p->thinking = ANT_UNSAID;
    } else if (d->model.between) {
        p->thinking = ANT_BETWEEN;
    } else if (!d->model.always) {
        p->thinking = ANT_DISABLED;
    } else if (asked) { /* as little as there is */
        p->effort = SPAN("low");
        note(d);
    }
    /* The 5 family does not take thinking off at the highest levels. */
    bool high = span_eq(p->effort, SPAN("xhigh")) || span_eq(p->effort, SPAN("max"));
    if (high && p->thinking != ANT_UNSAID)
        p->effort = SPAN("high");
}

static void think_budget(struct deciding *d, int64_t budget)
{
    if (budget < MIN_BUDGET)
        budget = MIN_BUDGET;
    if (budget >= d->max_tokens) /* it is a part of max_tokens */
        budget = d->max_tokens - 1;
    if (budget < MIN_BUDGET) {
        note(d);
        think_not(d, false);
        return;
    }
    d->plan->thinking = ANT_BUDGET;
    d->plan->budget = budget;
    d->plan->on = true;
}

/* effort p NULL: unsaid; tokens 0: unsaid. */
static void think(struct deciding *d, struct span effort, int64_t tokens)
{
    if (d->forced && !d->model.always) {
        note(d);
        think_not(d, false);
        return;
    }
    if (!d->model.adaptive) {
        think_budget(d, tokens > 0 ? tokens : d->max_tokens * share_of(effort) / 100);
        return;
    }
    if (tokens > 0 && !effort.p)
        note(d);
    d->plan->thinking = ANT_ADAPTIVE;
    d->plan->effort = level_of(effort, d->model.xhigh);
    d->plan->on = true;
}

/* The request came in another dialect. */
static void plan_foreign(struct deciding *d)
{
    const struct chat_request *r = d->r;
    bool asked = r->reasoning_effort.p || r->reasoning_tokens > 0;
    d->name = r->reasoning_effort.p ? SPAN("reasoning_effort") : SPAN("reasoning_tokens");
    if (span_eq(r->reasoning_effort, SPAN("none"))) {
        think_not(d, true);
    } else if (asked) {
        think(d, r->reasoning_effort, r->reasoning_tokens);
        /* Newer models hide what they think unless they are asked. */
        if (d->plan->thinking == ANT_ADAPTIVE)
            d->plan->display = SPAN("summarized");
    } else if (d->forced) {
        think_not(d, false);
    }
}

/* Its effort: a plain word. */
static struct span effort_of(const struct chat_request *r)
{
    if (r->reasoning_effort.p && !span_eq(r->reasoning_effort, SPAN("none")))
        return r->reasoning_effort;
    for (size_t i = 0; i < r->n_extras; i++) {
        struct span json = r->extras[i].json;
        if (span_eq(r->extras[i].name, SPAN("output_config.effort")) && json.n > 2 &&
            span_find(json, "\\") == json.n)
            return span_upto(span_from(json, 1), json.n - 2);
    }
    return (struct span){0};
}

/* A literal: what was parsed does not live until it is written. */
static struct span display_of(json_val *own)
{
    struct span s = json_str(json_get(own, "display"));
    return span_eq(s, SPAN("summarized")) ? SPAN("summarized")
           : span_eq(s, SPAN("omitted"))  ? SPAN("omitted")
                                          : (struct span){0};
}

/* The client's own words, unless this model is known not to take them. */
static void plan_own(struct deciding *d, json_val *own)
{
    struct span type = json_str(json_get(own, "type"));
    struct ant_plan *p = d->plan;
    bool enabled = span_eq(type, SPAN("enabled")), adaptive = span_eq(type, SPAN("adaptive"));
    p->display = display_of(own);
    if (!enabled && !adaptive) {
        bool other = span_eq(type, SPAN("between_tools")) != d->model.between;
        p->thinking = ANT_AS_SENT;
        if (other || d->model.always)
            think_not(d, true);
    } else if (d->forced && !d->model.always) {
        note(d);
        think_not(d, false);
    } else if (enabled && d->model.budget) {
        think_budget(d, d->r->reasoning_tokens);
    } else if (d->model.adaptive) {
        p->thinking = adaptive ? ANT_AS_SENT : ANT_ADAPTIVE;
        p->on = true;
        if (enabled)
            note(d);
    } else {
        note(d);
        think_budget(d, d->max_tokens * share_of(p->effort) / 100);
    }
}

static void plan_same(struct deciding *d, json_val *own)
{
    struct ant_plan *p = d->plan;
    d->name = SPAN("thinking");
    if (own)
        plan_own(d, own);
    else if (d->forced)
        think_not(d, false);
    if (!d->model.effort && p->effort.p) {
        wire_note(d->notes, SPAN("output_config.effort"));
        p->effort = (struct span){0};
    }
}

bool ant_plan_thinking(const struct chat_request *r, struct span model_id, bool same,
                       int64_t max_tokens, struct ant_plan *out, struct json_scratch *scratch,
                       struct dialect_notes *notes, struct err *e)
{
    struct ant_plan plan = {0};
    struct deciding d = {.r = r,
                         .model = ant_model_of(model_id),
                         .max_tokens = max_tokens,
                         .forced = r->n_tools > 0 && (r->tool_choice == CHAT_CHOICE_NAMED ||
                                                      r->tool_choice == CHAT_CHOICE_REQUIRED),
                         .plan = &plan,
                         .notes = notes};
    json_val *own = NULL;
    if (same) {
        plan.effort = effort_of(r);
        if (r->thinking.p && !json_parse_scratch(scratch, r->thinking, &own, e))
            return false;
        plan_same(&d, own);
    } else {
        plan_foreign(&d);
    }
    *out = plan;
    return true;
}
