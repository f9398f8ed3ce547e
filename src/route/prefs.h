/* route/prefs.h - what a request says about where it is to go: OpenRouter's `provider` object.
 * Private to route/ and api/. Source: openrouter.ai/docs, "Provider Routing". */
#ifndef FUSOR_ROUTE_PREFS_H
#define FUSOR_ROUTE_PREFS_H

#include "base/arena.h"
#include "config/config.h"

struct route_prefs {
    const struct span *order, *only, *ignore; /* names of providers */
    size_t n_order, n_only, n_ignore;
    bool no_fallbacks;
    bool exact; /* require_parameters: nobody is asked without a field */
    bool has_sort;
    enum config_sort sort;
    int64_t max_input_nusd, max_output_nusd; /* per million tokens; -1: none */
    struct span ignored[3];                  /* what it says without effect, "provider.sort.x" */
    size_t n_ignored;
};

/* text: the object as JSON; p NULL: none. What we cannot promise (zdr, quantizations, ...) and
 * unknown fields are errors that name the field. Values live in `a`. */
MUST_USE bool prefs_read(struct arena *a, struct span text, struct route_prefs *out, struct err *e);
/* Whether a model may be asked at all. */
bool prefs_allow(const struct route_prefs *p, const struct config_model *m);
/* Whether it forbids any model at all. */
bool prefs_forbid(const struct route_prefs *p);
/* Its place in `order`; SIZE_MAX: not named. */
size_t prefs_rank(const struct route_prefs *p, const struct config_model *m);

#endif
