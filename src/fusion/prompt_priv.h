/* fusion/prompt_priv.h - a pen that writes into one arena block of a size known beforehand. */
#ifndef FUSOR_FUSION_PROMPT_PRIV_H
#define FUSOR_FUSION_PROMPT_PRIV_H

#include "fusion/prompt.h"

struct pen {
    char *p;
    size_t n, cap;
    bool full; /* the size was reckoned wrong: a bug, never a cut prompt */
};

void pen_put(struct pen *w, struct span s);
void pen_f(struct pen *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* An answer between its fences, neutralised and trimmed to at most `room` bytes (0: whole). */
void fence_answer(struct pen *w, const struct prompt_answer *an, struct span nonce, size_t room);
/* Upper bound of what fence_answer() writes. */
size_t fence_bytes(const struct prompt_answer *an);
/* Shares room_bytes among the answers: short ones stay whole, long ones get equal parts. out[n]. */
void fence_share(const struct prompt_answer *answers, size_t n, size_t room_bytes, size_t *out);

#endif
