/* base/text.h - text for people: UTF-8 checks, visible control characters, near names. */
#ifndef FUSOR_BASE_TEXT_H
#define FUSOR_BASE_TEXT_H

#include "base/buf.h"
#include "base/span.h"

/* Whole and well-formed UTF-8 (no surrogates, no overlong forms). */
bool text_is_utf8(struct span s);
/* The longest prefix of at most n bytes that does not split a UTF-8 sequence. */
struct span text_upto(struct span s, size_t n);
/* Adds s with C0 and C1 controls, DEL, bidi controls and broken bytes made visible as \xNN or
 * \u{NNNN}; LF and TAB are kept when `multiline`. */
MUST_USE bool text_visible(struct buf *out, struct span s, bool multiline, struct err *e);
/* The same into a caller's array, cut with "..." when it does not fit; always NUL terminated
 * when cap > 0. */
void text_visible_cstr(char *out, size_t cap, struct span s);
/* Damerau-Levenshtein distance in bytes (a transposed pair counts once and is not edited again), at
 * most `cap`: cap + 1 beyond, and when a side is longer than 64 bytes. */
unsigned text_distance(struct span a, struct span b, unsigned cap);
/* The names nearest to one, for "did you mean": offer what there is. Borrows all names. */
#define TEXT_NEAR_MAX 16
struct text_near {
    struct span best[TEXT_NEAR_MAX]; /* n of them, nearest first; of equals the first offered */
    size_t n;
    /* private */
    struct span name_;
    unsigned distance_[TEXT_NEAR_MAX], cap_;
    size_t max_;
};
/* max: at most TEXT_NEAR_MAX. */
void text_near_init(struct text_near *t, struct span name, size_t max);
void text_near_offer(struct text_near *t, struct span have);
/* Columns that text takes on a terminal: as wcwidth(), from a table of our own, in any locale. */
size_t text_columns(struct span s);

#endif
