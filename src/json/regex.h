/* json/regex.h - regular expressions of ECMA-262 (as with its flag u) in time linear in the text.
 *
 * Lives here: what a schema's `pattern` may say and mean, as a yes or no about a text. Patterns and
 * texts are foreign: there is no backtracking (Thompson's simulation), programs have a maximum
 * size, and matching counts its steps. Not supported, refused by name: backreferences, lookahead
 * and lookbehind, modifiers, scripts and other properties than general categories. Case is always
 * significant, ^ and $ are the ends of the text, a dot is no line end. Immutable after regex_new().
 * Sources: ECMA-262 "RegExp (Regular Expression) Objects" with annex B's literal braces. */
#ifndef FUSOR_JSON_REGEX_H
#define FUSOR_JSON_REGEX_H

#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"

struct regex;

/* Lives in the arena; pattern must be UTF-8. NULL: ERR_INPUT "... at character 5 of the pattern"
 * (not understood, not supported, too large) or ERR_NOMEM. */
MUST_USE const struct regex *regex_new(struct arena *a, struct span pattern, struct err *e);
/* Instructions of its program: at most LIMIT_PATTERN_INSTS. */
size_t regex_size(const struct regex *r);
/* Bytes of scratch memory that regex_find() needs, aligned for uint32_t; nothing is kept in it. */
size_t regex_scratch_bytes(const struct regex *r);

enum regex_answer { REGEX_NO, REGEX_YES, REGEX_STOPPED };
/* Is the pattern somewhere in the text (UTF-8)? Takes its steps off *steps; REGEX_STOPPED when they
 * ran out. */
MUST_USE enum regex_answer regex_find(const struct regex *r, struct span text, void *scratch,
                                      int64_t *steps);

#endif
