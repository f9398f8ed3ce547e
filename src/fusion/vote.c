/* fusion/vote.c - see vote.h. Panels are small (LIMIT_PANEL), so classes are found pair by pair. */
#include "fusion/vote.h"

#include <ctype.h>

#include "base/mem.h"

/* Weights are decimal fractions: sums that differ by less are the same. */
#define WEIGHT_EPSILON 1e-9
#define MAX_WORDS      1024

/* Index of the first ballot with the same answer. */
static size_t class_of(const struct ballot *b, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (!b[j].pending && b[j].answer.p && span_eq(b[j].answer, b[i].answer))
            return j;
    return i;
}

/* Weight per class, at the index of its first ballot; returns the weight of all that are in. */
static double weigh(const struct ballot *b, size_t n, double *weight)
{
    double all = 0;
    for (size_t i = 0; i < n; i++) {
        weight[i] = 0;
        if (b[i].pending)
            continue;
        all += b[i].weight;
        if (b[i].answer.p)
            weight[class_of(b, i)] += b[i].weight;
    }
    return all;
}

void vote_count(const struct ballot *b, size_t n, struct vote_result *out)
{
    double weight[LIMIT_PANEL], most = 0;
    struct vote_result r = {0};
    double all = weigh(b, n, weight);
    for (size_t i = 0; i < n; i++) {
        r.n_classes += weight[i] > 0;
        if (weight[i] > most + WEIGHT_EPSILON) {
            most = weight[i];
            r.winner = i;
        }
    }
    for (size_t i = 0; i < n && most > 0; i++)
        if (weight[i] > most - WEIGHT_EPSILON)
            r.tied[r.n_tied++] = i;
    r.share = all > 0 ? most / all : 0;
    *out = r;
}

bool vote_decided(const struct ballot *b, size_t n)
{
    double weight[LIMIT_PANEL], open = 0;
    struct vote_result r;
    vote_count(b, n, &r);
    weigh(b, n, weight);
    for (size_t i = 0; i < n; i++) {
        if (!b[i].pending)
            continue;
        open += b[i].weight;
        /* One that comes before the winner in the panel could agree with it: its text would go out.
         */
        if (i < r.winner)
            return false;
    }
    if (r.n_tied != 1)
        return open == 0;
    for (size_t i = 0; i < n; i++)
        if (i != r.winner && weight[i] + open > weight[r.winner] - WEIGHT_EPSILON)
            return false;
    return weight[r.winner] > open + WEIGHT_EPSILON;
}

/* --- likeness of texts -------------------------------------------------------------------------
 */

struct words {
    uint64_t hash[MAX_WORDS];
    size_t n;
};

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

static void read_words(struct span s, struct words *w)
{
    size_t i = 0, k = 0;
    w->n = 0;
    while (i < s.n && w->n < MAX_WORDS) {
        uint64_t h = 0xcbf29ce484222325u;
        size_t start = i;
        for (; i < s.n && is_word(s.p[i]); i++)
            h = (h ^ (uint64_t)tolower((unsigned char)s.p[i])) * 0x100000001b3u;
        if (i > start)
            w->hash[w->n++] = h;
        else
            i++;
    }
    qsort(w->hash, w->n, sizeof w->hash[0], by_value);
    for (size_t j = 0; j < w->n; j++)
        if (k == 0 || w->hash[j] != w->hash[k - 1])
            w->hash[k++] = w->hash[j];
    w->n = k;
}

static double alike(const struct words *a, const struct words *b)
{
    size_t i = 0, j = 0, both = 0;
    while (i < a->n && j < b->n) {
        uint64_t x = a->hash[i], y = b->hash[j];
        both += x == y;
        i += x <= y;
        j += y <= x;
    }
    size_t either = a->n + b->n - both;
    return either > 0 ? (double)both / (double)either : 1;
}

size_t vote_most_alike(const struct span *texts, size_t n, double *out_mean)
{
    double sum[LIMIT_PANEL] = {0}, all = 0;
    size_t best = 0;
    struct words *w = n > 1 ? mem_alloc(n * sizeof *w) : NULL;
    if (out_mean)
        *out_mean = n > 1 ? -1 : 1;
    if (!w)
        return 0;
    for (size_t i = 0; i < n; i++)
        read_words(texts[i], &w[i]);
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++) {
            double s = alike(&w[i], &w[j]);
            sum[i] += s;
            sum[j] += s;
            all += s;
        }
    for (size_t i = 1; i < n; i++)
        if (sum[i] > sum[best] + WEIGHT_EPSILON)
            best = i;
    if (out_mean)
        *out_mean = all / ((double)n * (double)(n - 1) / 2);
    mem_free(w);
    return best;
}
