/* config/recipe.c - see config/recipe.h.
 *
 * Reads the fields of a fusion and checks what they say by themselves; whether the models that they
 * name exist is for config/config_recipes.c. docs/fusion.md has the table of fields. */
#include "config/recipe.h"

#include <regex.h>
#include <stdio.h>

#include "config/recipe_priv.h"

#define MS_US             1000
#define MAX_OUTPUT_TOKENS 10000000
#define MAX_WEIGHT        1000.0
/* Longer regular expressions are programs. */
#define MAX_REGEX_BYTES 512

static const char *const fields[] = {
    "mode",       "panel",        "judge", "criteria", "quorum",         "grace_ms",
    "timeout_ms", "max_cost_usd", "seed",  "answer",   "stream_members", "policy",
};

/* What later versions bring: named, so that nobody looks for a spelling mistake. `false` says "not
 * wanted" and is fine. */
static const char *const later_fields[] = {
    "hedge",      "rounds",  "final", "tools",  "tool_turns", "analysis",
    "provenance", "prewarm", "trace", "fields", "debate",
};

static const char *const member_fields[] = {
    "model", "samples", "temperature", "max_tokens", "weight", "system", "aspect", "seed",
};
static const char *const later_member_fields[] = {"reasoning", "tools", "stop", "top_p"};

void recipe_init(struct recipe *r)
{
    *r = (struct recipe){.mode = FUSION_MERGE,
                         .grace_us = -1,
                         .max_cost_nusd = -1,
                         .seed = -1,
                         .answer = FUSION_ANSWER_AUTO};
}

size_t recipe_members(const struct recipe *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_panel; i++)
        n += (size_t)r->panel[i].samples;
    return n;
}

const char *fusion_mode_name(enum fusion_mode m)
{
    switch (m) {
    case FUSION_MERGE:
        return "merge";
    case FUSION_BEST_OF:
        return "best_of";
    case FUSION_VOTE:
        return "vote";
    }
    return "";
}

const char *fusion_answer_name(enum fusion_answer a)
{
    static const char *const names[] = {"auto", "choice", "number", "boolean",
                                        "json", "text",   "regex"};
    return names[a];
}

/* --- fields of later versions ---------------------------------------------------------------- */

static bool is_false(struct node n)
{
    bool value = true;
    return node_bool(n, &value, NULL) && !value;
}

bool node_only_now(struct node n, const char *const *now, size_t n_now, const char *const *later,
                   size_t n_later, struct err *e)
{
    const char *known[64];
    size_t n_known = 0;
    if (!node_is_map(n, e))
        return false;
    for (size_t i = 0; i < n_later; i++) {
        struct node field = node_get(n, later[i]);
        if (!node_skip(field) && !is_false(field))
            return node_fail(field, e, "this field comes with a later version");
    }
    for (size_t i = 0; i < n_now + n_later && n_known < COUNT_OF(known); i++)
        known[n_known++] = i < n_now ? now[i] : later[i - n_now];
    return node_only(n, known, n_known, e);
}

/* --- panel ----------------------------------------------------------------------------------- */

static bool read_name(struct node n, struct span *out, struct err *e)
{
    struct span name = {NULL, 0};
    if (!node_str(n, &name, e))
        return false;
    if (name.n == 0)
        return node_fail(n, e, "must name a model");
    *out = name;
    return true;
}

static bool read_temperature(struct node n, struct span *out, struct err *e)
{
    double value = 0;
    if (node_skip(n))
        return true;
    return node_f64(n, 0, 2, &value, e) && node_number_text(n, "a number", out, e);
}

static bool read_weight(struct node n, double *out, struct err *e)
{
    double weight = *out;
    if (!node_f64(n, 0, MAX_WEIGHT, &weight, e))
        return false;
    if (!(weight > 0))
        return node_fail(n, e, "must be larger than 0; leave the member out instead");
    *out = weight;
    return true;
}

static bool read_member(struct node n, struct recipe_member *out, struct err *e)
{
    struct recipe_member m = {.samples = 1, .max_tokens = -1, .weight = 1, .seed = -1};
    if (node_kind_of(n) != NODE_MAP) {
        if (!read_name(n, &m.model, e))
            return false;
        *out = m;
        return m.model.p || node_fail(n, e, "must name a model");
    }
    if (!node_only_now(n, member_fields, COUNT_OF(member_fields), later_member_fields,
                       COUNT_OF(later_member_fields), e))
        return false;
    if (node_skip(node_get(n, "model")))
        return node_fail(n, e, "a member needs 'model'");
    bool ok = read_name(node_get(n, "model"), &m.model, e) &&
              node_i64(node_get(n, "samples"), 1, LIMIT_PANEL, &m.samples, e) &&
              read_temperature(node_get(n, "temperature"), &m.temperature, e) &&
              node_i64(node_get(n, "max_tokens"), 1, MAX_OUTPUT_TOKENS, &m.max_tokens, e) &&
              read_weight(node_get(n, "weight"), &m.weight, e) &&
              node_str(node_get(n, "system"), &m.system, e) &&
              node_str(node_get(n, "aspect"), &m.aspect, e) &&
              node_i64(node_get(n, "seed"), 0, MAX_SEED, &m.seed, e);
    if (ok)
        *out = m;
    return ok;
}

static bool read_panel(struct node n, struct recipe *r, struct err *e)
{
    if (node_skip(n))
        return true;
    size_t count = node_count(n);
    if (node_kind_of(n) != NODE_LIST)
        return node_fail(n, e, "must be a list of 1 to %d members", LIMIT_PANEL);
    if (count == 0 || count > LIMIT_PANEL)
        return node_fail(n, e, "must have 1 to %d members, not %zu", LIMIT_PANEL, count);
    r->n_panel = 0;
    for (size_t i = 0; i < count; i++)
        if (!read_member(node_at(n, i, NULL), &r->panel[r->n_panel++], e))
            return false;
    size_t members = recipe_members(r);
    if (members > LIMIT_PANEL)
        return node_fail(n, e, "makes %zu members with all samples; at most %d can run", members,
                         LIMIT_PANEL);
    return true;
}

/* --- the other fields ------------------------------------------------------------------------ */

static bool read_mode(struct node n, enum fusion_mode *out, struct err *e)
{
    static const char *const words[] = {"merge", "best_of", "vote", "best-of", "debate", "auto"};
    static const enum fusion_mode modes[] = {FUSION_MERGE, FUSION_BEST_OF, FUSION_VOTE,
                                             FUSION_BEST_OF};
    if (node_skip(n))
        return true;
    int at = 0;
    if (node_word(n, words, COUNT_OF(words), &at, NULL)) {
        if ((size_t)at >= COUNT_OF(modes))
            return node_fail(n, e,
                             "'%s' comes with the full fusion of a later version; "
                             "use merge, best_of or vote",
                             words[at]);
        *out = modes[at];
        return true;
    }
    return node_word(n, words, 3, &at, e);
}

static bool read_judges(struct node n, bool from_request, struct recipe *r, struct err *e)
{
    if (node_skip(n))
        return true;
    bool list = node_kind_of(n) == NODE_LIST;
    size_t count = list ? node_count(n) : 1;
    if (count == 0 || count > COUNT_OF(r->judges))
        return node_fail(n, e, "must name 1 to %zu models, not %zu", COUNT_OF(r->judges), count);
    for (size_t i = 0; i < count; i++) {
        struct node name = list ? node_at(n, i, NULL) : n;
        if (node_skip(name))
            return node_fail(name, e, "must name a model");
        if (!read_name(name, &r->judges[i], e))
            return false;
    }
    r->n_judges = count;
    r->judge_from_request = r->judge_from_request || from_request;
    return true;
}

static bool read_grace(struct node n, int64_t *out_us, struct err *e)
{
    static const char *const words[] = {"auto"};
    int word;
    if (node_kind_of(n) == NODE_SCALAR && node_word(n, words, 1, &word, NULL)) {
        *out_us = -1;
        return true;
    }
    return node_duration(n, MS_US, out_us, e);
}

static bool read_regex(struct node n, bool from_request, struct recipe *r, struct err *e)
{
    static const char *const keys[] = {"regex"};
    struct span text = {NULL, 0};
    struct node field = node_get(n, "regex");
    if (!node_only(n, keys, 1, e))
        return false;
    /* Compiling one can take any amount of time and memory. */
    if (from_request)
        return node_fail(n, e, "a regex can only stand in a recipe of the configuration file");
    if (node_skip(field))
        return node_fail(n, e, "needs 'regex'");
    if (!node_str(field, &text, e))
        return false;
    if (text.n == 0 || text.n > MAX_REGEX_BYTES)
        return node_fail(field, e, "must have 1 to %d characters", MAX_REGEX_BYTES);
    char pattern[MAX_REGEX_BYTES + 1], why[128];
    snprintf(pattern, sizeof pattern, "%.*s", SPAN_ARG(text));
    regex_t compiled;
    int rc = regcomp(&compiled, pattern, REG_EXTENDED);
    if (rc != 0) {
        regerror(rc, &compiled, why, sizeof why);
        return node_fail(field, e, "is no POSIX extended regular expression: %s", why);
    }
    regfree(&compiled);
    r->answer = FUSION_ANSWER_REGEX;
    r->answer_regex = text;
    return true;
}

static bool read_answer(struct node n, bool from_request, struct recipe *r, struct err *e)
{
    static const char *const words[] = {"auto", "choice", "number", "boolean", "json", "text"};
    if (node_kind_of(n) == NODE_MAP)
        return read_regex(n, from_request, r, e);
    int at = (int)r->answer;
    if (!node_word(n, words, COUNT_OF(words), &at, e))
        return false;
    r->answer = (enum fusion_answer)at;
    return true;
}

/* A quorum is never clamped, so it has to fit the panel whichever of the two was set here. */
static bool check_quorum(struct node n, const struct recipe *r, struct err *e)
{
    size_t members = recipe_members(r);
    struct node quorum = node_get(n, "quorum");
    if (r->quorum <= (int64_t)members || r->n_panel == 0)
        return true;
    if (!node_skip(quorum))
        return node_fail(quorum, e, "%lld is more than the %zu members of the panel",
                         (long long)r->quorum, members);
    return node_fail(node_get(n, "panel"), e,
                     "has %zu members, but the recipe's quorum is %lld; set 'quorum' too", members,
                     (long long)r->quorum);
}

/* A request names its policy in a header, which holds for models too; the file's is read in
 * config_recipes.c. */
static bool check_policy(struct node n, bool from_request, struct err *e)
{
    return !from_request || node_skip(n) ||
           node_fail(n, e,
                     "is set in the configuration; a request names its own in the header "
                     "x-fusor-policy");
}

bool recipe_read(struct node n, bool from_request, struct recipe *r, struct err *e)
{
    if (node_skip(n))
        return true;
    if (!node_only_now(n, fields, COUNT_OF(fields), later_fields, COUNT_OF(later_fields), e))
        return false;
    struct recipe out = *r;
    bool ok = read_mode(node_get(n, "mode"), &out.mode, e) &&
              read_panel(node_get(n, "panel"), &out, e) &&
              read_judges(node_get(n, "judge"), from_request, &out, e) &&
              node_str(node_get(n, "criteria"), &out.criteria, e) &&
              node_i64(node_get(n, "quorum"), 1, LIMIT_PANEL, &out.quorum, e) &&
              read_grace(node_get(n, "grace_ms"), &out.grace_us, e) &&
              node_duration(node_get(n, "timeout_ms"), MS_US, &out.timeout_us, e) &&
              node_nusd(node_get(n, "max_cost_usd"), &out.max_cost_nusd, e) &&
              node_i64(node_get(n, "seed"), 0, MAX_SEED, &out.seed, e) &&
              read_answer(node_get(n, "answer"), from_request, &out, e) &&
              node_bool(node_get(n, "stream_members"), &out.stream_members, e) &&
              check_policy(node_get(n, "policy"), from_request, e) && check_quorum(n, &out, e);
    if (ok)
        *r = out;
    return ok;
}

int64_t recipe_quorum(const struct recipe *r, size_t n)
{
    return r->quorum > 0 ? r->quorum : (int64_t)(n <= 2 ? n : n - 1);
}
