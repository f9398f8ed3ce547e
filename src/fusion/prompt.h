/* fusion/prompt.h - what members and judges are asked: requests built from the client's.
 *
 * Lives here: the layout [instructions][conversation][fences and answers], fences, trimming of
 * answers, the one place that decides what a judge sees. Not here: who is asked when (run.c),
 * limits of tokens (plan.c). The conversation comes before everything that differs between two
 * requests, so a judge's prefix is the longest possible; a nonce stands only behind it. Model names
 * never enter. */
#ifndef FUSOR_FUSION_PROMPT_H
#define FUSOR_FUSION_PROMPT_H

#include "chat/chat.h"
#include "config/recipe.h"

/* A candidate answer as a judge may see it. */
struct prompt_answer {
    char label;         /* 'A', ... */
    struct span text;   /* as the member wrote it */
    struct span aspect; /* what it is said to be strong at; may be empty */
    bool cut;           /* its end is missing */
};

struct prompt_judge {
    const struct chat_request *client;   /* the client's request */
    struct span criteria;                /* of the recipe; may be empty */
    const struct prompt_answer *answers; /* in the order they are shown */
    size_t n;
    char nonce[17];     /* per call, hex: what makes a fence a fence */
    size_t room_bytes;  /* for all answers together; 0: no limit */
    struct span model;  /* who is asked */
    int64_t max_tokens; /* -1: none */
    bool schema;        /* deciding: the engine enforces the schema */
};

/* A member's own copy: model, caps, temperature, seed and system suffix over the client's request.
 */
MUST_USE bool prompt_member(struct arena *a, const struct chat_request *client,
                            const struct recipe_member *m, unsigned sample, struct span model,
                            int64_t max_tokens, struct chat_request *out, struct err *e);
/* Deciding: conversation and answers are data, the reply is a verdict (verdict.h). */
MUST_USE bool prompt_decide(struct arena *a, const struct prompt_judge *j, struct chat_request *out,
                            struct err *e);
/* Writing: the client's system prompt rules, the reply is the answer. */
MUST_USE bool prompt_write(struct arena *a, const struct prompt_judge *j, struct chat_request *out,
                           struct err *e);
/* Asks once more after an unusable verdict. `asked` must outlive the call. */
MUST_USE bool prompt_repair(struct arena *a, const struct chat_request *asked, struct span reply,
                            const char *why, struct chat_request *out, struct err *e);

/* Bytes of a judge's input beside the answers: conversation, instructions, fences of n answers. */
int64_t prompt_judge_bytes(const struct chat_request *client, struct span criteria, size_t n);
/* A repair adds at most that many bytes, beside the reply itself. */
#define PROMPT_REPAIR_BYTES 512
/* How much of an unusable verdict is shown again. */
#define PROMPT_REPLY_BYTES 2048

#endif
