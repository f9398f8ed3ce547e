/* config/config_priv.h - the snapshot while it is being made, shared by the parts of config/. */
#ifndef FUSOR_CONFIG_CONFIG_PRIV_H
#define FUSOR_CONFIG_CONFIG_PRIV_H

#include <stdatomic.h>

#include "base/map.h"
#include "config/catalogue.h"
#include "config/config.h"
#include "config/recipe_priv.h"

#define SECOND_US         1000000LL
#define CONFIG_MAX_TOKENS (1LL << 31)
/* The fields of a price that is a map. */
#define CONFIG_RATE_KEYS "input", "output", "cached_input", "cache_write", "tiers"

struct snapshot {
    struct config c; /* first: what callers hold */
    atomic_uint refs;
    struct arena *arena;
    /* name -> entry; models also under "provider/name" and "provider/id" */
    struct map *providers, *models, *recipes, *aliases;
    struct catalogue *catalogue; /* NULL: no provider is one that it may know */
};

static inline struct snapshot *snapshot_of(const struct config *c)
{
    return CONTAINER_OF((struct config *)c, struct snapshot, c);
}

/* config_read.c: fields of the file but providers, models, fusions. */
MUST_USE bool config_read_edge(struct snapshot *s, struct node root, struct err *e);
/* A scalar or a list of them as an array in the arena, each checked by `check` (may be NULL). */
MUST_USE bool config_read_list(struct snapshot *s, struct node n,
                               bool (*check)(struct node n, struct span text, struct err *e),
                               const struct span **out, size_t *out_n, struct err *e);
/* [A-Za-z0-9._:-]{1,64}, and '/' between such names when `slashes`. */
MUST_USE bool config_check_name(struct node n, struct span name, bool slashes, struct err *e);
/* Reads "env:NAME" and the like; a literal is refused without being repeated. */
MUST_USE bool config_read_key(struct node n, struct snapshot *s, struct span *out_ref,
                              struct secret **out, struct err *e);

/* config_providers.c */
/* "api.example.com" of "https://api.example.com:8443/v1"; empty for a Unix socket. */
struct span config_url_host(struct span url);
MUST_USE bool config_read_providers(struct snapshot *s, struct node n, struct err *e);
MUST_USE bool config_read_timeouts(struct node n, struct timeouts *out, struct err *e);
/* catalogue.yaml as it stands. */
extern const unsigned char catalogue_yaml[];
extern const size_t catalogue_yaml_n;
/* config_price.c */
MUST_USE bool config_read_price(struct node n, bool *out_has, struct price *out, struct err *e);
/* Of a map that may have other fields too. */
MUST_USE bool config_read_rates(struct node n, struct price *out, struct err *e);
/* Times factor / 10^9, each part rounded up. */
void config_scale_price(struct price *p, int64_t factor);
/* Sets what the map names; the rest stays. */
MUST_USE bool config_read_caps(struct node n, struct config_caps *caps, struct err *e);
/* The same of a map that may have other fields too. */
MUST_USE bool config_read_can(struct node n, struct config_caps *caps, struct err *e);
/* config_models.c. The models of n, then those of `more` (defaults) that n does not name. */
MUST_USE bool config_read_models(struct snapshot *s, struct node n, struct node more,
                                 struct err *e);
/* config_aliases.c */
MUST_USE bool config_read_policies(struct snapshot *s, struct node n, struct err *e);
/* `policy: NAME`; absent leaves *out. */
MUST_USE bool config_read_policy_name(struct snapshot *s, struct node n,
                                      const struct config_policy **out, struct err *e);
/* config_near() without aliases, which no alias may name. */
size_t config_near_target(const struct config *c, struct span name, struct span *out, size_t max);
/* Their names alone, and, when models and recipes are known, the rest. */
MUST_USE bool config_read_alias_names(struct snapshot *s, struct node n, struct err *e);
MUST_USE bool config_read_aliases(struct snapshot *s, struct node n, struct err *e);
MUST_USE bool config_read_retries(struct snapshot *s, struct node root, struct err *e);
/* config_recipes.c */
MUST_USE bool config_read_recipes(struct snapshot *s, struct node n, struct err *e);
/* What they name exists; after the aliases. */
MUST_USE bool config_check_recipes(struct snapshot *s, struct node n, struct err *e);

/* defaults.c: YAML text of the providers and models that stand in for a file that names none, and
 * of the recipe "fusion" for a file without (nothing written when no model is listed). */
MUST_USE bool defaults_providers(struct buf *out, struct err *e);
MUST_USE bool defaults_fusion(const struct config *c, struct buf *out, struct err *e);
const char *config_kind_name(enum provider_kind kind);

#endif
