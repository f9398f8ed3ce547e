/* fusion/unfence.c - see fusion/unfence.h. What is held back is looked at anew with each byte: it
 * is short, and ordinary text is never held. */
#include "fusion/unfence.h"

#include <ctype.h>
#include <string.h>

#include "base/auto.h"

/* A "[begin C " at the very end that this much of the code follows was cut off in its code. */
#define CUT_CODE 4

enum hit { HIT_NO, HIT_PART, HIT_WHOLE };

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static char lower(char c)
{
    return (char)tolower((unsigned char)c);
}

/* --- what a mark is ----------------------------------------------------------------------------
 */

static enum hit match_code(const struct unfence *u, struct span s)
{
    for (size_t i = 0; i < UNFENCE_CODE; i++) {
        if (i == s.n)
            return HIT_PART;
        if (lower(s.p[i]) != u->code[i])
            return HIT_NO;
    }
    return HIT_WHOLE;
}

static enum hit match_word(struct span s, struct span word)
{
    size_t n = s.n < word.n ? s.n : word.n;
    if (!span_eq_nocase(span_upto(s, n), span_upto(word, n)))
        return HIT_NO;
    return n < word.n ? HIT_PART : HIT_WHOLE;
}

/* "[begin C <code>" */
static enum hit match_fence(const struct unfence *u, struct span s)
{
    static const struct span words[] = {SPAN_INIT("[begin "), SPAN_INIT("[end ")};
    for (size_t w = 0; w < COUNT_OF(words); w++) {
        enum hit hit = match_word(s, words[w]);
        if (hit == HIT_NO)
            continue;
        struct span rest = span_from(s, words[w].n);
        for (size_t i = 0; hit == HIT_WHOLE && i <= UNFENCE_GAP; i++) {
            enum hit code = match_code(u, span_from(rest, i));
            if (code != HIT_NO)
                return code;
            if (!isalnum((unsigned char)rest.p[i]) && !is_blank(rest.p[i]))
                return HIT_NO;
        }
        return hit == HIT_PART ? HIT_PART : HIT_NO;
    }
    return HIT_NO;
}

/* A mark at the front of s, which is not empty. */
static enum hit match(const struct unfence *u, bool line_start, struct span s)
{
    size_t indent = 0;
    while (line_start && indent < s.n && indent < UNFENCE_INDENT && is_blank(s.p[indent]))
        indent++;
    struct span rest = span_from(s, indent);
    enum hit hit = rest.n == 0 ? HIT_PART : match_code(u, rest);
    return hit == HIT_NO ? match_fence(u, rest) : hit;
}

/* How many bytes of s no mark can begin in; *line_start goes along. */
static size_t ordinary(const struct unfence *u, struct span s, bool *line_start)
{
    size_t i = 0;
    for (; i < s.n; i++) {
        char c = s.p[i];
        bool maybe = c == '[' || lower(c) == u->code[0] || (*line_start && is_blank(c));
        if (maybe && match(u, *line_start, span_from(s, i)) != HIT_NO)
            break;
        *line_start = c == '\n';
    }
    return i;
}

/* --- the stream --------------------------------------------------------------------------------
 */

static struct span held(const struct unfence *u)
{
    return span_make(u->held + u->lent, u->n_held - u->lent);
}

static void take_back(struct unfence *u)
{
    u->n_held -= u->lent;
    memmove(u->held, u->held + u->lent, u->n_held);
    u->lent = 0;
}

static struct span eat(struct span *in, size_t n)
{
    struct span front = span_upto(*in, n);
    *in = span_from(*in, n);
    return front;
}

/* After a mark: its bracket, then what is left of a line that holds nothing else. */
static void skip_behind(struct unfence *u, struct span *in)
{
    while (u->at != UNFENCE_TEXT && in->n > 0) {
        char c = in->p[0];
        bool bracket = u->at == UNFENCE_CLOSING && c == ']';
        bool blank = is_blank(c) && (u->at == UNFENCE_CLOSING || u->line_start);
        bool line_end = c == '\n' && u->line_start;
        if (bracket)
            u->at = UNFENCE_BEHIND;
        else if (!blank)
            u->at = UNFENCE_TEXT;
        if (bracket || blank || line_end)
            (void)eat(in, 1);
    }
}

/* Adds to what is held back until it is a mark or none. True: *out is none, and a part of it. */
static bool settle(struct unfence *u, struct span *in, struct span *out)
{
    for (;;) {
        u->lent = ordinary(u, held(u), &u->line_start);
        if (u->lent > 0) {
            *out = span_make(u->held, u->lent);
            return true;
        }
        if (match(u, u->line_start, held(u)) == HIT_WHOLE) { /* found with its last byte */
            u->at = memchr(u->held, '[', u->n_held) ? UNFENCE_CLOSING : UNFENCE_BEHIND;
            u->found = true;
            u->n_held = 0;
            return false;
        }
        if (in->n == 0)
            return false;
        u->held[u->n_held++] = eat(in, 1).p[0];
    }
}

void unfence_init(struct unfence *u, const char code[static UNFENCE_CODE])
{
    *u = (struct unfence){.line_start = true};
    memcpy(u->code, code, UNFENCE_CODE);
}

bool unfence_next(struct unfence *u, struct span *in, struct span *out)
{
    take_back(u);
    do {
        skip_behind(u, in);
        if (u->n_held == 0) {
            size_t n = ordinary(u, *in, &u->line_start);
            if (n > 0) {
                *out = eat(in, n);
                return true;
            }
            if (in->n == 0)
                return false;
            u->held[u->n_held++] = eat(in, 1).p[0];
        }
        if (settle(u, in, out))
            return true;
    } while (in->n > 0);
    return false;
}

struct span unfence_end(struct unfence *u)
{
    take_back(u);
    struct span s = held(u), code = span_make(u->code, CUT_CODE);
    /* As it is held it is the front of a mark. */
    bool cut = s.n > 0 && memchr(s.p, '[', s.n) && span_index(s, code) < s.n;
    u->found = u->found || cut;
    u->lent = u->n_held;
    u->at = UNFENCE_TEXT;
    u->line_start = true;
    return cut ? SPAN("") : s;
}
