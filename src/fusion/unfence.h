/* fusion/unfence.h - takes the fences of one call out of what its judge writes, as it streams.
 *
 * A small model copies the lines that its material stood between: "[begin C 7ab4...]". The code in
 * them was drawn for this call (fence.c), so nothing that carries it is part of an answer. Lives
 * here: finding the marks whatever the split of the bytes. Not here: what happens to an answer that
 * was marks only (write.c).
 *
 * A mark is "[begin " or "[end ", at most UNFENCE_GAP letters, digits and blanks, the code and a
 * "]", in whatever case; or the code alone. A line that holds nothing else goes with its blanks and
 * its end; of a line that says more, only the mark goes. Nothing is held back but what may still
 * become a mark: at most UNFENCE_HELD bytes. No allocation. */
#ifndef FUSOR_FUSION_UNFENCE_H
#define FUSOR_FUSION_UNFENCE_H

#include <stdbool.h>

#include "base/span.h"

#define UNFENCE_CODE   16 /* hex digits */
#define UNFENCE_GAP    12
#define UNFENCE_INDENT 8 /* blanks before a mark that are held back with it */
#define UNFENCE_HELD   (UNFENCE_INDENT + 7 + UNFENCE_GAP + UNFENCE_CODE)

struct unfence {
    char code[UNFENCE_CODE];
    char held[UNFENCE_HELD + 1]; /* [0, lent) is with the caller, the rest may become a mark */
    size_t n_held, lent;
    enum { UNFENCE_TEXT, UNFENCE_CLOSING, UNFENCE_BEHIND } at; /* CLOSING, BEHIND: after a mark */
    bool line_start; /* nothing of this line has gone out */
    bool found;      /* a mark was taken out; the caller may clear it */
};

void unfence_init(struct unfence *u, const char code[static UNFENCE_CODE]);
/* Eats bytes from the front of *in. True: *out may go out, borrowed until the next call; call
 * again. False: all is eaten. */
bool unfence_next(struct unfence *u, struct span *in, struct span *out);
/* The stream has ended: what was held back and is no mark, borrowed until the next call; may be
 * empty. A mark that ends inside its code is one. */
struct span unfence_end(struct unfence *u);

#endif
