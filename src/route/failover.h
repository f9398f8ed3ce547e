/* route/failover.h - several sources as one: the next is asked when one fails before it has said
 * anything.
 *
 * Nothing is asked twice once a byte of content has come, and what may have been answered only when
 * the configuration allows it. Retries of all requests together have a budget, to which each call
 * of such a source brings its share: what can go nowhere else brings none. What failed tries have
 * used is added to the usage of the answer. Not here: which sources, in which order
 * (route/order.h). */
#ifndef FUSOR_ROUTE_FAILOVER_H
#define FUSOR_ROUTE_FAILOVER_H

#include "route/route.h"

struct failover_target {
    struct span name; /* for messages */
    struct chat_source *source;
    const struct chat_rule *rules; /* all that hold for it, the caller's among them; NULL: none */
};

/* Plain storage of the caller; it and the targets must outlive its calls. */
struct failover_source {
    struct chat_source source;
    struct route *route;
    const struct failover_target *targets;
    size_t n;
    int64_t total_us; /* for all tries together, where the caller has no deadline; 0: none */
    bool any_refusal; /* also after what others take for the client's fault (OpenRouter's `models`)
                       */
};
/* n > 0. */
void failover_source_init(struct failover_source *s, struct route *r,
                          const struct failover_target *targets, size_t n);

#endif
