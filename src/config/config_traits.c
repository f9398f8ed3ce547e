/* config/config_traits.c - what a recipe as a whole may be asked for; see config/config.h. */
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
static void narrow_to(struct config_traits *t, const struct config *c, const struct recipe *r,
                      unsigned depth)
{
    for (size_t i = 0; i < r->n_panel; i++) {
        struct config_model implied = {0};
        const struct recipe *inner = config_recipe_find(c, r->panel[i].model);
        const struct config_model *m = config_model_find(c, r->panel[i].model, &implied);
        if (inner && depth < LIMIT_FUSION_DEPTH)
            narrow_to(t, c, inner, depth + 1);
        else
            narrow(t, !inner && m ? m : &implied);
    }
}

struct config_traits config_recipe_traits(const struct config *c, const struct recipe *r)
{
    struct config_traits t = {.context = INT64_MAX, .max_output = INT64_MAX, .caps.efforts = ~0U};
    for (size_t i = 0; i < CONFIG_CAPS; i++)
        t.caps.can[i] = CAN_YES;
    narrow_to(&t, c, r, 1);
    return t;
}
