/* config/recipe_priv.h - what the readers of config/ share. */
#ifndef FUSOR_CONFIG_RECIPE_PRIV_H
#define FUSOR_CONFIG_RECIPE_PRIV_H

#include "config/node_priv.h"
#include "config/recipe.h"

/* Seeds survive a trip through a double (JSON of other programs), with sample indexes added. */
#define MAX_SEED ((1LL << 53) - 1 - LIMIT_PANEL)

/* node_only() that refuses, with a message of its own, the fields of a later version unless they
 * are `false`. */
bool node_only_now(struct node n, const char *const *now, size_t n_now, const char *const *later,
                   size_t n_later, struct err *e);
const char *fusion_answer_name(enum fusion_answer a);

#endif
