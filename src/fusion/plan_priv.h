/* fusion/plan_priv.h - a plan with what the machine needs to run it. */
#ifndef FUSOR_FUSION_PLAN_PRIV_H
#define FUSOR_FUSION_PLAN_PRIV_H

#include "fusion/fusion.h"

/* Tokens a verdict may take, and judge calls that one judge of the list can cost: the verdict, its
 * repair, the other order. */
#define VERDICT_TOKENS 1024
#define VERDICT_CALLS  3

struct plan_member {
    const struct recipe_member *spec;
    const struct fusion_model *model;
    unsigned sample;    /* counts the members of one model through the whole panel */
    int64_t max_tokens; /* sent upstream; -1: none */
    char label;
};

struct plan {
    struct fusion_plan pub;
    struct recipe recipe; /* request merged over the base */
    struct plan_member members[LIMIT_PANEL];
    size_t n_members;
    const struct fusion_model *judges[4]; /* named ones; none: the first usable member judges */
    size_t n_judges;
    int64_t quorum;
    int64_t judge_max_tokens; /* of a writing judge; -1: none */
    struct span notes[LIMIT_PANEL + 8];
    size_t n_notes;
    const struct chat_rule *rules; /* the caller's and the recipe's */
};

/* depth: fusions above this one. Errors as fusion_plan_make(). */
MUST_USE bool plan_build(struct arena *a, const struct fusion_env *env, const struct recipe *base,
                         const struct chat_request *r, const struct chat_rule *rules,
                         unsigned depth, struct plan *out, struct err *e);
/* Whether the judge may be called at all, and writes or decides. */
bool plan_judge_writes(const struct plan *p);
bool plan_judge_decides(const struct plan *p);
MUST_USE bool plan_note(struct plan *p, struct arena *a, struct err *e, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* plan_bound.c: fills calls and sums of ->pub; refuses what cannot fit a window, and an unknown
 * price under a cap. */
MUST_USE bool plan_bound(struct plan *p, struct arena *a, const struct chat_request *r,
                         struct err *e);
/* The window that what a judge reads has to fit into; 0: not known. */
int64_t plan_judge_window(const struct fusion_model *m);
/* Bytes that a judge with this window has for all answers together; 0: no limit. False: it cannot
 * even take the conversation. */
bool plan_answer_room(int64_t context, int64_t fixed_bytes, int64_t output_tok, size_t n,
                      size_t *out_bytes);

#endif
