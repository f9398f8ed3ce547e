/* fusion/canon_value.h - the values that an answer can state: letter, number, boolean, short text.
 *
 * Pure parsers over the text behind "the answer is"; canon.c decides where that is. Each returns
 * false when the text does not begin with such a value (white space and markup before it is
 * skipped). */
#ifndef FUSOR_FUSION_CANON_VALUE_H
#define FUSOR_FUSION_CANON_VALUE_H

#include "base/arena.h"
#include "base/err.h"

/* Longest canonical text of a stated answer, and of a whole reply taken as one. */
#define CANON_STATED_BYTES 64
#define CANON_REPLY_BYTES  200

/* "(C)", "**C**", "option C.", "$\boxed{C}$". alone: nothing but punctuation may follow, or "C)
 * text". */
bool canon_choice(struct span s, bool alone, char *out);
/* "1,234.50" -> "1234.5", "-0" -> "0", "5e3" -> "5000", "50%" -> "50%", "1/2" -> "1/2". Exact: no
 * rounding. *rest is what follows. out holds 128 bytes. */
bool canon_number(struct span s, char *out, struct span *rest);
/* yes, true, correct; no, false, incorrect. */
bool canon_boolean(struct span s, bool *out);
/* Lower case, white space collapsed, quotes, markup and punctuation at the ends gone, up to the end
 * of the sentence when `sentence`. Writes at most max bytes to out; false when empty or longer. */
bool canon_text(struct span s, bool sentence, char *out, size_t max, size_t *out_n);
/* Without the markup that may stand before a value: blanks, "*", "(", "\boxed{", "option".
 * *out_opened: a bracket was opened. */
struct span canon_skip_markup(struct span s, bool *out_opened);

#endif
