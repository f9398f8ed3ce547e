/* config/config_traits.c - what a recipe or an alias as a whole may be asked for; see
 * config/config.h. */
#include "base/limits.h"
#include "config/config.h"

static int64_t least(int64_t a, int64_t b)
{
    return a <= 0 || b <= 0 ? 0 : a < b ? a : b;
}

static void narrow(struct config_traits *t, const struct config_model *m)
{
    t->context = least(t->context, m->context);
    t->max_output = least(t->max_output, m->max_output);
    t->caps.efforts &= m->caps.efforts;
    for (size_t i = 0; i < CONFIG_CAPS; i++) {
        enum config_can *can = &t->caps.can[i];
        if (*can == CAN_NO || m->caps.can[i] == CAN_NO)
            *can = CAN_NO;
        else if (m->caps.can[i] == CAN_UNKNOWN)
            *can = CAN_UNKNOWN;
    }
}

/* The configuration has no circles, and at most LIMIT_FUSION_DEPTH levels; the depth is only a
 * belt. */
static void narrow_to(struct config_traits *t, const struct config *c, struct span name,
                      unsigned depth)
{
    struct config_model implied = {0};
    const struct config_alias *alias = config_alias_find(c, name);
    const struct recipe *inner = config_recipe_find(c, name);
    if (alias && depth <= LIMIT_FUSION_DEPTH) {
        for (size_t i = 0; i < alias->n_to + alias->n_fallback; i++)
            narrow_to(t, c,
                      i < alias->n_to ? alias->to[i].name : alias->fallback[i - alias->n_to].name,
                      depth);
    } else if (inner && depth <= LIMIT_FUSION_DEPTH) {
        for (size_t i = 0; i < inner->n_panel; i++)
            narrow_to(t, c, inner->panel[i].model, depth + 1);
    } else {
        const struct config_model *m = config_model_find(c, name, &implied);
        narrow(t, m ? m : &implied);
    }
}

struct config_traits config_traits_of(const struct config *c, struct span name)
{
    struct config_traits t = {.context = INT64_MAX, .max_output = INT64_MAX, .caps.efforts = ~0U};
    for (size_t i = 0; i < CONFIG_CAPS; i++)
        t.caps.can[i] = CAN_YES;
    narrow_to(&t, c, name, 1);
    return t;
}
