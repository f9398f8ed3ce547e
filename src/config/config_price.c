/* config/config_price.c - prices and capabilities as values of a file: read, scaled, named. The
 * file's `price` and `capabilities` and the catalogue's groups are read by the same code. */
#include "config/config_priv.h"

#define BILLION 1000000000LL

/* --- prices ---------------------------------------------------------------------------------- */

static const char *const rate_keys[] = {"input", "output", "cached_input", "cache_write"};

static bool read_rates(struct node n, struct price_tier *t, struct err *e)
{
    t->input = t->cached = t->cache_write = t->output = -1;
    if (!node_nusd(node_get(n, rate_keys[0]), &t->input, e) ||
        !node_nusd(node_get(n, rate_keys[1]), &t->output, e) ||
        !node_nusd(node_get(n, rate_keys[2]), &t->cached, e) ||
        !node_nusd(node_get(n, rate_keys[3]), &t->cache_write, e))
        return false;
    if (t->input < 0)
        return node_fail(n, e,
                         "needs 'input' (and 'output' for what writes), in USD per million tokens");
    return true;
}

static bool read_tiers(struct node n, struct price *p, struct err *e)
{
    const char *keys[COUNT_OF(rate_keys) + 1] = {"above"};
    memcpy(&keys[1], rate_keys, sizeof rate_keys);
    if (node_skip(n))
        return true;
    if (node_kind_of(n) != NODE_LIST || node_count(n) > PRICE_TIERS)
        return node_fail(n, e, "must be a list of at most %d prices: [{above: 200000, ...}]",
                         PRICE_TIERS);
    for (size_t i = 0; i < node_count(n); i++) {
        struct node one = node_at(n, i, NULL);
        struct price_tier t = {.above_tok = i > 0 ? p->tiers[i - 1].above_tok : 0};
        int64_t before = t.above_tok;
        if (!node_only(one, keys, COUNT_OF(keys), e) || !read_rates(one, &t, e) ||
            !node_i64(node_get(one, "above"), 1, CONFIG_MAX_TOKENS, &t.above_tok, e))
            return false;
        if (t.above_tok <= before)
            return node_fail(one, e,
                             "needs 'above', a number of tokens larger than the one before");
        p->tiers[p->n_tiers++] = t;
    }
    return true;
}

bool config_read_rates(struct node n, struct price *out, struct err *e)
{
    struct price_tier base = {0};
    struct price p = {.known = true};
    if (!read_rates(n, &base, e) || !read_tiers(node_get(n, "tiers"), &p, e))
        return false;
    p.input = base.input;
    p.cached = base.cached;
    p.cache_write = base.cache_write;
    p.output = base.output;
    *out = p;
    return true;
}

bool config_read_price(struct node n, bool *out_has, struct price *out, struct err *e)
{
    static const char *const keys[] = {CONFIG_RATE_KEYS};
    static const char *const words[] = {"free"};
    int word;
    if (node_skip(n))
        return true;
    if (node_kind_of(n) == NODE_MAP) {
        if (!node_only(n, keys, COUNT_OF(keys), e) || !config_read_rates(n, out, e))
            return false;
    } else if (node_word(n, words, 1, &word, NULL)) {
        *out = (struct price){.known = true};
    } else {
        return node_fail_type(n, "'free' or {input: ..., output: ...} in USD per million tokens",
                              e);
    }
    *out_has = true;
    return true;
}

/* What is unknown stays so. */
static int64_t scale(int64_t nusd, int64_t factor)
{
    if (nusd <= 0)
        return nusd;
    /* Whole billions and the rest apart, so that the products stay in 64 bits: exact. */
    int64_t whole, part, sum;
    if (__builtin_mul_overflow(nusd / BILLION, factor, &whole) ||
        __builtin_mul_overflow(nusd % BILLION, factor, &part) ||
        __builtin_add_overflow(part, BILLION - 1, &part) ||
        __builtin_add_overflow(whole, part / BILLION, &sum))
        return INT64_MAX;
    return sum;
}

void config_scale_price(struct price *p, int64_t factor)
{
    p->input = scale(p->input, factor);
    p->cached = scale(p->cached, factor);
    p->cache_write = scale(p->cache_write, factor);
    p->output = scale(p->output, factor);
    for (size_t i = 0; i < p->n_tiers; i++) {
        struct price_tier *t = &p->tiers[i];
        t->input = scale(t->input, factor);
        t->cached = scale(t->cached, factor);
        t->cache_write = scale(t->cache_write, factor);
        t->output = scale(t->output, factor);
    }
}

/* --- capabilities ---------------------------------------------------------------------------- */

static const char *const cap_names[CONFIG_CAPS] = {
    [CAP_TOOLS] = "tools",         [CAP_PARALLEL_TOOLS] = "parallel_tools",
    [CAP_IMAGES] = "images",       [CAP_DOCUMENTS] = "documents",
    [CAP_AUDIO] = "audio",         [CAP_STRUCTURED_OUTPUTS] = "structured_outputs",
    [CAP_REASONING] = "reasoning", [CAP_SAMPLING] = "sampling",
};

/* Weakest first; those of OpenAI's, Anthropic's, Google's and Mistral's APIs together. */
static const char *const effort_names[] = {"none", "minimal", "low", "medium",
                                           "high", "xhigh",   "max"};

const char *config_cap_name(enum config_cap cap)
{
    return cap_names[cap];
}

const char *config_effort_name(unsigned i)
{
    return i < COUNT_OF(effort_names) ? effort_names[i] : NULL;
}

static bool read_efforts(struct node n, unsigned *out, struct err *e)
{
    unsigned efforts = 0;
    if (node_skip(n))
        return true;
    if (node_kind_of(n) != NODE_LIST)
        return node_fail(n, e, "must be a list such as [low, medium, high]");
    for (size_t i = 0; i < node_count(n); i++) {
        int word;
        if (!node_word(node_at(n, i, NULL), effort_names, COUNT_OF(effort_names), &word, e))
            return false;
        efforts |= 1U << word;
    }
    *out = efforts;
    return true;
}

bool config_read_can(struct node n, struct config_caps *caps, struct err *e)
{
    for (size_t i = 0; i < CONFIG_CAPS; i++) {
        struct node one = node_get(n, cap_names[i]);
        bool can = false;
        if (!node_bool(one, &can, e))
            return false;
        if (!node_skip(one))
            caps->can[i] = can ? CAN_YES : CAN_NO;
    }
    return read_efforts(node_get(n, "efforts"), &caps->efforts, e);
}

bool config_read_caps(struct node n, struct config_caps *caps, struct err *e)
{
    const char *keys[CONFIG_CAPS + 1];
    memcpy(keys, cap_names, sizeof cap_names);
    keys[CONFIG_CAPS] = "efforts";
    return node_only(n, keys, COUNT_OF(keys), e) && config_read_can(n, caps, e);
}
