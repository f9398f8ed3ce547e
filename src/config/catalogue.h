/* config/catalogue.h - what is known of the models of OpenAI, Anthropic, Google and Mistral:
 * windows, prices, what they can do, and where they are served.
 *
 * The data is src/config/catalogue.yaml, which stands in the program and is read when a
 * configuration with a hosted provider is loaded; docs/catalogue.md says how it is kept. What it
 * does not say is unknown, never guessed. Values live in the arena and do not change: any thread
 * may read them. */
#ifndef FUSOR_CONFIG_CATALOGUE_H
#define FUSOR_CONFIG_CATALOGUE_H

#include "config/config.h"

struct catalogue;

/* A place where a provider serves its models. */
struct catalogue_host {
    struct span family; /* "mistral" */
    struct span region; /* where its data stays; empty: not said */
    int64_t factor;     /* of the list prices, in billionths: 1,000,000,000 is 1 */
    bool bills_on;      /* a closed connection does not stop the bill */
};

struct catalogue_model {
    struct span id; /* the one that it is listed by */
    const struct span *aliases;
    size_t n_aliases;
    int64_t context, max_output; /* 0: unknown */
    struct price price;          /* list price; of catalogue_find(): of that host */
    struct config_caps caps;
    struct span retires; /* "2026-08-31"; empty: not announced */
};

/* The built-in catalogue as it holds on a day (20261125): announced prices count from theirs. Its
 * errors are those of memory, as a test reads the same text. */
MUST_USE bool catalogue_open(struct arena *a, int64_t day, struct catalogue **out, struct err *e);
/* From text; `name` stands in errors (ERR_CONFIG with line and column). */
MUST_USE bool catalogue_parse(struct arena *a, struct span text, const char *name, int64_t day,
                              struct catalogue **out, struct err *e);
/* Today in UTC as such a day. */
int64_t catalogue_today(void);

/* NULL when it is none of the providers' own ("openrouter.ai" bills by itself). c may be NULL. */
const struct catalogue_host *catalogue_host_find(const struct catalogue *c, struct span host);
/* What is known of the model `id` (or an alias) of a family served at `host`. family empty: that of
 * the host. At a host that is not in the catalogue the price is unknown. False when the catalogue
 * has no such model; c may be NULL. */
MUST_USE bool catalogue_find(const struct catalogue *c, struct span family, struct span host,
                             struct span id, struct catalogue_model *out);
/* The i-th model and its family; NULL behind the last. */
const struct catalogue_model *catalogue_at(const struct catalogue *c, size_t i,
                                           struct span *out_family);

#endif
