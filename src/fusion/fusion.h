/* fusion/fusion.h - a source made of sources: plan, panel, quorum and grace, judge, one answer.
 *
 * One state machine per fusion, driven by events and by a loop whose clock can be faked; members
 * and judges are chat_sources found by a resolver, so it runs on recordings and on scripts as on
 * providers. Contract: docs/fusion.md. Sources: docs/fusion.md, "Where the rules come from". */
#ifndef FUSOR_FUSION_FUSION_H
#define FUSOR_FUSION_FUSION_H

#include "chat/chat.h"
#include "config/config.h"
#include "loop/loop.h"
#include "observe/latency.h"

/* What the fusion needs to know of a model. */
struct fusion_model {
    struct span name;           /* canonical: "local/smollm2" or a listed name */
    struct chat_source *source; /* lives in the arena given to resolve() */
    struct price price;
    /* Of several upstreams behind one name: the largest, which bounds what a call costs. */
    int64_t context;       /* window in tokens, 0 unknown */
    int64_t max_output;    /* tokens of an answer at most, 0 unknown */
    int64_t least_context; /* the least known of their windows; 0: as context */
    int64_t default_max_tokens;
    unsigned tries;                /* calls that one of it can come to, each of them paid; 0: 1 */
    bool json_schema;              /* the engine enforces a JSON schema (grammar or native) */
    bool bills_on;                 /* a closed connection does not stop the bill */
    struct latency *latency;       /* process-wide sketch, may be NULL */
    unsigned leaf_calls;           /* 1, or of a nested recipe the calls it makes */
    const struct chat_rule *rules; /* where its data may go */
};

struct fusion_env {
    struct loop *loop;
    /* Name -> model; sources and spans are made in `a`. ERR_NOT_FOUND with near names,
     * ERR_FORBIDDEN when the rules allow none of its upstreams. */
    bool (*resolve)(void *ctx, struct arena *a, struct span name, const struct chat_rule *rules,
                    struct fusion_model *out, struct err *e);
    void *ctx;
    uint64_t (*random)(void *ctx); /* seeds and fences; simulated runs give their own */
    void (*fusion_id)(void *ctx, char out[32]);
    /* Whether a request's own recipe holds together: e->param names the member or judge that does
     * not. May be NULL: then a wrong name shows when it is resolved. */
    bool (*check)(void *ctx, const struct recipe *merged, struct err *e);
};

/* One call of the plan. */
struct fusion_plan_call {
    struct span label, model, aspect;
    unsigned sample;
    int64_t max_tokens;                  /* sent upstream; -1: none */
    int64_t input_bound_tok, worst_nusd; /* -1 unknown */
    double weight;
};

struct fusion_plan {
    const char *mode;
    struct fusion_plan_call *members, *judges; /* judges: every judge call that can happen */
    size_t n_members, n_judges;
    int64_t quorum;
    int64_t worst_nusd, expected_nusd; /* -1 unknown */
    int64_t expected_us;               /* -1 unknown */
    int64_t max_cost_nusd;             /* -1 none */
    bool fits;
    const struct span *warnings;
    size_t n_warnings;
    uint64_t seed;
};

/* Plans without dispatching. Merges r->fusion over the recipe. Values live in `a`. A request that
 * no fusion can take (n > 1, context too small, unknown model): an error. Over the cap is not an
 * error here: ->fits is false. */
MUST_USE bool fusion_plan_make(struct arena *a, const struct fusion_env *env,
                               const struct recipe *base, const struct chat_request *r,
                               const struct chat_rule *rules, struct fusion_plan *out,
                               struct err *e);
/* {mode, members: [...], judge: [...], worst_cost_usd, ...}: docs/api.md, "Plan". */
MUST_USE bool fusion_plan_write(const struct fusion_plan *p, struct buf *out, struct err *e);

/* A recipe as a source. Plain storage of the caller; must outlive its calls. Starting a fusion
 * whose plan does not fit its cap fails with ERR_BUDGET (402). CHAT_EV_MEMBER comes when the start
 * options ask for progress, or the recipe or the request says stream_members. */
struct fusion_source {
    struct chat_source source;
    const struct fusion_env *env;
    const struct recipe *recipe;
};
void fusion_source_init(struct fusion_source *s, const struct fusion_env *env,
                        const struct recipe *recipe);

#endif
