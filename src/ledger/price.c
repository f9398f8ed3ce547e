/* ledger/price.c - see ledger/price.h. Products are summed in 128 bits and rounded once, up: a call
 * that costs anything never costs 0. */
#include "ledger/price.h"

#define TOKENS_PER_PRICE 1000000 /* prices are per million tokens */

/* The one typedef: ISO C has no such type, and gcc and clang accept this spelling under -pedantic.
 */
__extension__ typedef unsigned __int128 uint128;

static int64_t at_least_0(int64_t v)
{
    return v > 0 ? v : 0;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* An unknown price of a part falls back to the price of the whole. */
static int64_t price_or(int64_t price, int64_t fallback)
{
    return price >= 0 ? price : fallback;
}

static uint128 product(int64_t tokens, int64_t price)
{
    return (uint128)at_least_0(tokens) * (uint128)at_least_0(price);
}

/* sum: nano-USD times TOKENS_PER_PRICE. Four products of two int64 fit in 128 bits without a sign,
 * and leave room for the rounding. */
static int64_t round_up(uint128 sum)
{
    uint128 nusd = (sum + TOKENS_PER_PRICE - 1) / TOKENS_PER_PRICE;
    return nusd < INT64_MAX ? (int64_t)nusd : INT64_MAX;
}

/* The i-th price that holds for some input, 0: the one from the first token on. */
static struct price_tier rates_at(const struct price *p, size_t i)
{
    if (i > 0)
        return p->tiers[i - 1];
    return (struct price_tier){0, p->input, p->cached, p->cache_write, p->output};
}

int64_t price_cost_nusd(const struct price *p, const struct chat_usage *u)
{
    if (!p->known)
        return -1;
    int64_t cached = at_least_0(u->cached), cache_write = at_least_0(u->cache_write);
    /* An upstream that reports parts larger than the whole pays for its parts. */
    int64_t parts = cached > INT64_MAX - cache_write ? INT64_MAX : cached + cache_write;
    int64_t input = larger(at_least_0(u->input), parts);
    struct price_tier rates = rates_at(p, 0);
    for (size_t i = 0; i < p->n_tiers && input > p->tiers[i].above_tok; i++)
        rates = p->tiers[i];
    uint128 sum = product(input - parts, rates.input);
    sum += product(cached, price_or(rates.cached, rates.input));
    sum += product(cache_write, price_or(rates.cache_write, rates.input));
    sum += product(u->output, rates.output);
    return rates.output < 0 && u->output > 0 ? -1 : round_up(sum);
}

int64_t price_bound_nusd(const struct price *p, int64_t input_tokens, int64_t output_tokens)
{
    uint128 most = 0;
    if (!p->known || input_tokens < 0 || output_tokens < 0)
        return -1;
    for (size_t i = 0; i <= p->n_tiers; i++) {
        struct price_tier t = rates_at(p, i);
        if (i > 0 && input_tokens <= t.above_tok)
            break;
        if (t.output < 0 && output_tokens > 0)
            return -1;
        int64_t dearest = larger(t.input, larger(t.cached, t.cache_write));
        uint128 sum = product(input_tokens, dearest) + product(output_tokens, t.output);
        most = sum > most ? sum : most;
    }
    return round_up(most);
}

bool price_is_free(const struct price *p)
{
    for (size_t i = 0; i <= p->n_tiers; i++) {
        struct price_tier t = rates_at(p, i);
        if (t.input > 0 || t.output != 0 || t.cached > 0 || t.cache_write > 0)
            return false;
    }
    return p->known;
}

int64_t nusd_add(int64_t a, int64_t b)
{
    if (a < 0 || b < 0)
        return -1;
    return a > INT64_MAX - b ? INT64_MAX : a + b;
}

static int64_t dearer(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t dearer_known(int64_t a, int64_t b)
{
    return a < 0 || b < 0 ? -1 : dearer(a, b);
}

void price_raise(struct price *p, const struct price *other)
{
    if (!p->known || !other->known) {
        *p = (struct price){-1, -1, -1, -1, .known = false};
        return;
    }
    p->input = dearer(p->input, other->input);
    p->cached = dearer(p->cached, other->cached);
    p->cache_write = dearer(p->cache_write, other->cache_write);
    p->output = dearer_known(p->output, other->output);
    for (size_t i = 0; i < other->n_tiers; i++) {
        const struct price_tier *t = &other->tiers[i];
        p->input = dearer(p->input, t->input);
        p->cached = dearer(p->cached, t->cached);
        p->cache_write = dearer(p->cache_write, t->cache_write);
        p->output = dearer_known(p->output, t->output);
    }
}
