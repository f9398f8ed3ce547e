/* fusion/vote.h - the weighted majority of canonical answers, and how alike texts are. Pure. */
#ifndef FUSOR_FUSION_VOTE_H
#define FUSOR_FUSION_VOTE_H

#include "base/auto.h"
#include "base/limits.h"
#include "base/span.h"

struct ballot {
    struct span answer; /* canonical form; p NULL: states none, votes for nothing */
    double weight;      /* > 0 */
    bool pending;       /* not in yet: answer does not count */
};

struct vote_result {
    size_t n_classes;         /* different answers */
    size_t winner;            /* index of the ballot that wins: the first of its class */
    double share;             /* of the winner's class in the weight of all ballots that are in */
    size_t tied[LIMIT_PANEL]; /* first ballot of each class that has the most weight */
    size_t n_tied;            /* 1: a clear winner; 0: nobody stated an answer */
};

/* Ballots in panel order, at most LIMIT_PANEL. A tie goes to the first of the panel. */
void vote_count(const struct ballot *b, size_t n, struct vote_result *out);
/* True when no pending ballot can change the winner or whose text goes out. */
bool vote_decided(const struct ballot *b, size_t n);

/* Which text has most in common with the others: mean Jaccard similarity of their sets of words
 * (the first 1,024 of each); the first among equals. *out_mean (may be NULL): mean over all pairs.
 * Without memory: 0 and -1. n >= 1. */
size_t vote_most_alike(const struct span *texts, size_t n, double *out_mean);

#endif
