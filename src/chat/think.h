/* chat/think.h - reasoning that a model has written at the start of its text, between <think> and
 * </think>, taken out of it. Servers of reasoning models do so themselves when they are told to
 * (vLLM: --reasoning-parser); many are not.
 *
 * Pure, without memory of its own: what is held back (white space, the beginning of a tag) is at
 * most THINK_HELD_BYTES. Any split of the text gives the same text and reasoning. */
#ifndef FUSOR_CHAT_THINK_H
#define FUSOR_CHAT_THINK_H

#include <stdbool.h>

#include "base/span.h"

#define THINK_HELD_BYTES 40

enum think_state {
    THINK_BEFORE = 0, /* white space, and the tag's beginning */
    THINK_OPENED,     /* behind the tag: white space does not count */
    THINK_INSIDE,
    THINK_CLOSED, /* behind the closing tag: white space does not count */
    THINK_OVER    /* text, to the end */
};

/* Zeroed: an answer begins. */
struct think {
    enum think_state state;
    char held[THINK_HELD_BYTES];
    size_t n_held;
    bool out; /* held went out as a piece: it is empty with the next call */
};

/* The next piece of *text, which is moved on; call it until it is false. *reasoning says which of
 * the two it is. *piece borrows from *text or from t, until the next call. */
bool think_next(struct think *t, struct span *text, struct span *piece, bool *reasoning);
/* The text has ended, or other content begins: what is held back, if anything; text from there on
 * is text. */
bool think_end(struct think *t, struct span *piece, bool *reasoning);

#endif
