/* chat/think.c - see chat/think.h. */
#include "chat/think.h"

#include <string.h>

static const struct span opening = SPAN_INIT("<think>"), closing = SPAN_INIT("</think>");

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void skip_space(struct span *s)
{
    while (s->n > 0 && is_space(s->p[0]))
        *s = span_from(*s, 1);
}

static bool give(struct span out, struct span *piece)
{
    *piece = out;
    return out.n > 0;
}

/* What is held goes out; it stays where it is until the next call. */
static bool give_held(struct think *t, struct span *piece)
{
    t->out = true;
    return give(span_make(t->held, t->n_held), piece);
}

static void take_back(struct think *t)
{
    if (t->out)
        t->n_held = 0;
    t->out = false;
}

/* Byte after byte, since this is the beginning only: true when it is decided. */
static bool look_for_opening(struct think *t, struct span *text)
{
    while (text->n > 0) {
        size_t space = 0;
        while (space < t->n_held && is_space(t->held[space]))
            space++;
        size_t at = t->n_held - space;
        char c = text->p[0];
        bool fits = at == 0 && is_space(c) && t->n_held < THINK_HELD_BYTES - opening.n;
        if (!fits && c != opening.p[at]) {
            t->state = THINK_OVER;
            return true;
        }
        t->held[t->n_held++] = c;
        *text = span_from(*text, 1);
        if (!fits && at + 1 == opening.n) {
            t->state = THINK_OPENED;
            t->n_held = 0;
            return true;
        }
    }
    return false;
}

/* How much of the closing tag stands at the end of s. */
static size_t half_tag(struct span s)
{
    size_t n = s.n < closing.n - 1 ? s.n : closing.n - 1;
    while (n > 0 && memcmp(s.p + s.n - n, closing.p, n) != 0)
        n--;
    return n;
}

/* The held beginning of the closing tag goes on with text, or it was none. False: not yet known. */
static bool go_on(struct think *t, struct span *text, struct span *piece)
{
    while (text->n > 0 && t->n_held < closing.n && text->p[0] == closing.p[t->n_held]) {
        t->held[t->n_held++] = text->p[0];
        *text = span_from(*text, 1);
    }
    if (t->n_held == closing.n) {
        t->state = THINK_CLOSED;
        t->n_held = 0;
        return false;
    }
    return text->n > 0 && give_held(t, piece);
}

/* One piece of reasoning up to the closing tag, or to what may become one. */
static bool inside(struct think *t, struct span *text, struct span *piece)
{
    if (t->n_held > 0)
        return go_on(t, text, piece);
    struct span all = *text;
    size_t at = span_index(all, closing), half = 0;
    if (at < all.n) {
        t->state = THINK_CLOSED;
        *text = span_from(all, at + closing.n);
    } else {
        half = half_tag(all);
        at = all.n - half;
        memcpy(t->held, all.p + at, half);
        t->n_held = half;
        *text = span_from(all, all.n);
    }
    return give(span_upto(all, at), piece);
}

bool think_next(struct think *t, struct span *text, struct span *piece, bool *reasoning)
{
    take_back(t);
    while (text->n > 0) {
        *reasoning = false;
        switch (t->state) {
        case THINK_BEFORE:
            if (look_for_opening(t, text) && t->state == THINK_OVER && give_held(t, piece))
                return true;
            break;
        case THINK_OPENED:
        case THINK_CLOSED:
            skip_space(text);
            if (text->n > 0)
                t->state = t->state == THINK_OPENED ? THINK_INSIDE : THINK_OVER;
            break;
        case THINK_INSIDE:
            *reasoning = true;
            if (inside(t, text, piece))
                return true;
            break;
        case THINK_OVER: {
            struct span all = *text;
            *text = span_from(all, all.n);
            return give(all, piece);
        }
        }
    }
    return false;
}

bool think_end(struct think *t, struct span *piece, bool *reasoning)
{
    take_back(t);
    *reasoning = t->state == THINK_INSIDE;
    t->state = THINK_OVER;
    return give_held(t, piece);
}
