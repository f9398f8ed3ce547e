/* ledger/price.h - from tokens to integer nano-USD: one rounding, up, per call. Pure. */
#ifndef FUSOR_LEDGER_PRICE_H
#define FUSOR_LEDGER_PRICE_H

#include "chat/chat.h"
#include "config/config.h"

/* Cost of a call, all of it at the price of its input's size. Cached input at its own price where
 * known, else at the input's; the same for cache writes. -1 when the price is unknown, or that of
 * an output that there is. Sums saturate at INT64_MAX. */
int64_t price_cost_nusd(const struct price *p, const struct chat_usage *u);
/* Upper bound of a call with at most that many tokens: input at the dearest of input and cache
 * prices, of the sizes of input that can come about. -1 when the price, that of an output that there
 * may be, or one of the counts (negative) is unknown. */
int64_t price_bound_nusd(const struct price *p, int64_t input_tokens, int64_t output_tokens);
/* *p becomes the dearest of both, figure by figure and whatever the input's size; unknown when one
 * is. */
void price_raise(struct price *p, const struct price *other);
/* Free on purpose: known, and nothing costs anything. */
bool price_is_free(const struct price *p);
/* a + b, where -1 (unknown) wins and sums saturate. */
int64_t nusd_add(int64_t a, int64_t b);

#endif
