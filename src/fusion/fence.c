/* fusion/fence.c - untrusted text between fences: an answer as a judge sees it.
 *
 * A fence is a line that carries a nonce nobody but this request knows. Whatever in an answer could
 * pass for a fence, or for a role mark of a chat template, is broken up by one blank; the answer
 * that goes to the client is never touched. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"
#include "fusion/prompt_priv.h"

/* What is kept of an answer however little room there is, and what stands for the rest. */
#define MIN_ROOM_BYTES 96
#define MARKER_BYTES   64
/* Fence lines, label, aspect's words. */
#define FENCE_BYTES 320
/* Longest role mark of a chat template: <|start_header_id|>. */
#define MAX_ROLE_MARK 32

void pen_put(struct pen *w, struct span s)
{
    if (s.n > w->cap - w->n) {
        w->full = true;
        return;
    }
    if (s.n > 0)
        memcpy(w->p + w->n, s.p, s.n);
    w->n += s.n;
}

void pen_f(struct pen *w, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(w->p + w->n, w->cap - w->n, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= w->cap - w->n)
        w->full = true;
    else
        w->n += (size_t)n;
}

/* "[begin A " or "[end A]", in whatever case. */
static bool is_fence(struct span s)
{
    struct span word = span_upto(s, 7);
    size_t at = span_eq_nocase(word, SPAN("[begin "))               ? 7
                : span_eq_nocase(span_upto(word, 5), SPAN("[end ")) ? 5
                                                                    : s.n;
    return at + 1 < s.n && isalpha((unsigned char)s.p[at]) &&
           (s.p[at + 1] == ' ' || s.p[at + 1] == ']');
}

/* <|im_end|> and its like: engines read them as tokens wherever they stand. */
static bool is_role_mark(struct span s)
{
    if (!span_starts(s, SPAN("<|")))
        return false;
    for (size_t i = 2; i < s.n && i < MAX_ROLE_MARK; i++) {
        if (s.p[i] == '|')
            return i > 2 && i + 1 < s.n && s.p[i + 1] == '>';
        if (!isalnum((unsigned char)s.p[i]) && s.p[i] != '_')
            return false;
    }
    return false;
}

static size_t find_from(struct span s, size_t from, char c)
{
    const char *hit = from < s.n ? memchr(s.p + from, c, s.n - from) : NULL;
    return hit ? (size_t)(hit - s.p) : s.n;
}

static void put_safe(struct pen *w, struct span s)
{
    size_t done = 0, fence = find_from(s, 0, '['), mark = find_from(s, 0, '<');
    while (fence < s.n || mark < s.n) {
        size_t at = fence < mark ? fence : mark;
        struct span here = span_from(s, at);
        bool unsafe = fence < mark ? is_fence(here) : is_role_mark(here);
        if (unsafe) {
            pen_put(w, span_upto(span_from(s, done), at + 1 - done));
            pen_put(w, SPAN(" "));
            done = at + 1;
        }
        if (fence < mark)
            fence = find_from(s, at + 1, '[');
        else
            mark = find_from(s, at + 1, '<');
    }
    pen_put(w, span_from(s, done));
}

static void put_answer(struct pen *w, struct span s, struct span nonce)
{
    size_t at;
    while ((at = span_index(s, nonce)) < s.n) {
        put_safe(w, span_upto(s, at));
        pen_put(w, SPAN("[code]")); /* not nothing: two halves must not make a whole */
        s = span_from(s, at + nonce.n);
    }
    put_safe(w, s);
}

/* The end of s, at most n bytes, beginning with a whole character. */
static struct span tail_of(struct span s, size_t n)
{
    struct span t = span_from(s, s.n > n ? s.n - n : 0);
    while (t.n > 0 && ((unsigned char)t.p[0] & 0xC0) == 0x80)
        t = span_from(t, 1);
    return t;
}

void fence_answer(struct pen *w, const struct prompt_answer *an, struct span nonce, size_t room)
{
    pen_f(w, "[begin %c %.*s]\n", an->label, SPAN_ARG(nonce));
    if (room > 0 && an->text.n > room) {
        size_t body = room > 2 * MARKER_BYTES ? room - MARKER_BYTES : room;
        struct span head = text_upto(an->text, body - body / 3), tail = tail_of(an->text, body / 3);
        put_answer(w, head, nonce);
        pen_f(w, "\n[... %zu bytes left out ...]\n", an->text.n - head.n - tail.n);
        put_answer(w, tail, nonce);
    } else {
        put_answer(w, an->text, nonce);
    }
    if (an->cut)
        pen_put(w, SPAN("\n[... the rest is missing ...]"));
    pen_f(w, "\n[end %c %.*s]\n\n", an->label, SPAN_ARG(nonce));
}

size_t fence_bytes(const struct prompt_answer *an)
{
    return an->text.n + an->text.n / 3 + an->aspect.n + FENCE_BYTES;
}

void fence_share(const struct prompt_answer *answers, size_t n, size_t room_bytes, size_t *out)
{
    size_t left = room_bytes, open = n;
    for (size_t i = 0; i < n; i++)
        out[i] = 0;
    if (room_bytes == 0)
        return;
    /* Answers shorter than an equal share leave the rest to the longer ones; panels are small. */
    for (bool again = true; again && open > 0;) {
        again = false;
        size_t share = left / open;
        for (size_t i = 0; i < n; i++)
            if (out[i] == 0 && answers[i].text.n <= share) {
                out[i] = answers[i].text.n > 0 ? answers[i].text.n : 1;
                left -= answers[i].text.n;
                open--;
                again = true;
            }
    }
    for (size_t i = 0; i < n; i++)
        if (out[i] == 0) {
            out[i] = left / open;
            out[i] = out[i] > MIN_ROOM_BYTES ? out[i] : MIN_ROOM_BYTES;
        }
}
