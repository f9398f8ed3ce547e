/* fusion/canon.h - an answer in comparable form: what `vote` counts.
 *
 * Lives here: finding the last stated answer in a reply ("The answer is (C).", "**Answer: C**",
 * "\boxed{C}", or a short reply as a whole) and bringing it to one spelling. Not here: counting
 * (vote.h). The form is a class letter and the value: "c:C", "n:42", "b:true", "j:{...}",
 * "t:paris". */
#ifndef FUSOR_FUSION_CANON_H
#define FUSOR_FUSION_CANON_H

#include "base/arena.h"
#include "base/err.h"
#include "config/recipe.h"

struct canon;

/* Rules of one fusion, in the arena (a compiled regex is freed with it). regex counts only for
 * FUSION_ANSWER_REGEX; a broken one: ERR_INPUT. */
MUST_USE const struct canon *canon_new(struct arena *a, enum fusion_answer kind, struct span regex,
                                       struct err *e);
/* out: in the arena; p NULL when the reply states no answer of that kind. False: ERR_NOMEM. */
MUST_USE bool canon_read(const struct canon *c, struct arena *a, struct span reply,
                         struct span *out, struct err *e);

#endif
