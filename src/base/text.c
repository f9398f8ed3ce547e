/* base/text.c - see base/text.h. Well-formed UTF-8 is what Unicode's table 3-7 says. */
#include "base/text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Length of the sequence at the start of s and its code point; 0 when it is broken or cut off.
 * Only the second byte has bounds of its own: they exclude overlong forms, surrogates and what lies
 * beyond U+10FFFF. */
static size_t decode(struct span s, uint32_t *out_cp)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (n == 0 || p[0] > 0xF4 || n > s.n)
        return 0;
    unsigned low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
    unsigned high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
    uint32_t cp = n == 1 ? p[0] : p[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if (p[i] < low || p[i] > high)
            return 0;
        cp = cp << 6 | (p[i] & 0x3Fu);
        low = 0x80;
        high = 0xBF;
    }
    *out_cp = cp;
    return n;
}

/* Length of the ASCII at the start of s, in whole steps of eight bytes: most text is ASCII. */
static size_t ascii_run(struct span s)
{
    size_t n = 0;
    for (; s.n - n >= 8; n += 8) {
        uint64_t eight;
        memcpy(&eight, s.p + n, 8);
        if (eight & UINT64_C(0x8080808080808080))
            break;
    }
    return n;
}

bool text_is_utf8(struct span s)
{
    uint32_t cp;
    while (s.n > 0) {
        size_t n = ascii_run(s);
        if (n == 0)
            n = decode(s, &cp);
        if (n == 0)
            return false;
        s = span_from(s, n);
    }
    return true;
}

struct span text_upto(struct span s, size_t n)
{
    if (n >= s.n)
        return s;
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        uint32_t cp;
        size_t len = decode(span_from(s, n - back), &cp);
        if (len > back)
            return span_upto(s, n - back);
        if (((unsigned char)s.p[n - back] & 0xC0) != 0x80)
            break; /* a byte that begins something which ends before the cut */
    }
    return span_upto(s, n);
}

static bool is_hidden(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7F && cp < 0xA0) || cp == 0x061C || cp == 0x200E || cp == 0x200F ||
           (cp >= 0x202A && cp <= 0x202E) || (cp >= 0x2066 && cp <= 0x2069);
}

/* Takes one sequence, or one broken byte, from the front of *s and gives what is
 * to be shown for it: the bytes themselves, or an escape written to mem. */
static struct span next_visible(struct span *s, bool multiline, char mem[16])
{
    uint32_t cp;
    struct span head = *s;
    size_t n = decode(*s, &cp);
    *s = span_from(*s, n > 0 ? n : 1);
    if (n > 0 && (!is_hidden(cp) || (multiline && (cp == '\n' || cp == '\t'))))
        return span_upto(head, n);
    int len = n > 1 ? snprintf(mem, 16, "\\u{%04X}", (unsigned)cp)
                    : snprintf(mem, 16, "\\x%02X", (unsigned)(unsigned char)head.p[0]);
    return span_make(mem, (size_t)len);
}

/* Length of the printable ASCII at the start of s: shown as it is. */
static size_t plain_run(struct span s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] >= 0x20 && s.p[n] < 0x7F)
        n++;
    return n;
}

bool text_visible(struct buf *out, struct span s, bool multiline, struct err *e)
{
    char mem[16];
    size_t before = buf_span(out).n;
    while (s.n > 0) {
        size_t n = plain_run(s);
        struct span piece = span_upto(s, n);
        if (n > 0)
            s = span_from(s, n);
        else
            piece = next_visible(&s, multiline, mem);
        if (!buf_add(out, piece, e)) {
            buf_cut(out, before);
            return false;
        }
    }
    return true;
}

void text_visible_cstr(char *out, size_t cap, struct span s)
{
    if (cap == 0)
        return;
    char mem[16];
    size_t dots = cap > 3 ? 3 : cap - 1;
    size_t n = 0, safe = 0; /* safe: the last end of a piece after which the dots still fit */
    while (s.n > 0) {
        struct span piece = next_visible(&s, false, mem);
        if (n + piece.n >= cap) {
            memcpy(out + safe, "...", dots);
            n = safe + dots;
            break;
        }
        memcpy(out + n, piece.p, piece.n);
        n += piece.n;
        if (n + dots < cap)
            safe = n;
    }
    out[n] = '\0';
}

#define DISTANCE_BYTES 64

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Three rows of the usual table. A transposed pair is not edited again ("optimal string
 * alignment"), which is enough to find a typing mistake. */
unsigned text_distance(struct span a, struct span b, unsigned cap)
{
    if (a.n > DISTANCE_BYTES || b.n > DISTANCE_BYTES)
        return cap + 1;
    unsigned rows[3][DISTANCE_BYTES + 1];
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b.n; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a.n; i++) {
        unsigned *unused = before;
        before = last;
        last = row;
        row = unused;
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b.n; j++) {
            row[j] =
                least(least(last[j], row[j - 1]) + 1, last[j - 1] + (a.p[i - 1] != b.p[j - 1]));
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
    }
    return row[b.n] > cap ? cap + 1 : row[b.n];
}

void text_near_init(struct text_near *t, struct span name, size_t max)
{
    *t = (struct text_near){.name_ = name,
                            .cap_ = name.n < 3    ? 0
                                    : name.n < 6  ? 2
                                    : name.n < 12 ? 3
                                                  : 4,
                            .max_ = max < TEXT_NEAR_MAX ? max : TEXT_NEAR_MAX};
}

/* One part in the other counts as near: "gpt-5" means "gpt-5.5". */
static unsigned near_distance(struct span a, struct span b, unsigned cap)
{
    struct span shorter = a.n < b.n ? a : b, longer = a.n < b.n ? b : a;
    if (shorter.n >= 3 && span_index(longer, shorter) < longer.n)
        return 1;
    return text_distance(a, b, cap);
}

void text_near_offer(struct text_near *t, struct span have)
{
    unsigned distance = near_distance(t->name_, have, t->cap_);
    size_t at = t->n;
    while (at > 0 && t->distance_[at - 1] > distance)
        at--;
    if (distance > t->cap_ || at >= t->max_)
        return;
    size_t last = t->n < t->max_ ? t->n++ : t->max_ - 1;
    for (; last > at; last--) {
        t->best[last] = t->best[last - 1];
        t->distance_[last] = t->distance_[last - 1];
    }
    t->best[at] = have;
    t->distance_[at] = distance;
}

/* Ranges that differ from one column, in order; blocks rather than single characters. A table of
 * our own because wcwidth() knows only the characters of the current locale, and servers often run
 * in "C". Sources: Unicode EastAsianWidth.txt (W and F), general categories Mn, Me and Cf. */
static const struct {
    uint32_t first, last;
    unsigned columns;
} widths[] = {
    {0x0000, 0x001F, 0},   {0x007F, 0x009F, 0},   {0x0300, 0x036F, 0},   {0x0483, 0x0489, 0},
    {0x0591, 0x05BD, 0},   {0x0610, 0x061A, 0},   {0x061C, 0x061C, 0},   {0x064B, 0x065F, 0},
    {0x06D6, 0x06DD, 0},   {0x093C, 0x093C, 0},   {0x094D, 0x094D, 0},   {0x0E31, 0x0E31, 0},
    {0x0E34, 0x0E3A, 0},   {0x0E47, 0x0E4E, 0},   {0x1100, 0x115F, 2},   {0x1160, 0x11FF, 0},
    {0x1AB0, 0x1AFF, 0},   {0x1DC0, 0x1DFF, 0},   {0x200B, 0x200F, 0},   {0x202A, 0x202E, 0},
    {0x2060, 0x206F, 0},   {0x20D0, 0x20FF, 0},   {0x231A, 0x231B, 2},   {0x23E9, 0x23EC, 2},
    {0x25FD, 0x25FE, 2},   {0x2614, 0x2615, 2},   {0x2648, 0x2653, 2},   {0x26AA, 0x26AB, 2},
    {0x2705, 0x2705, 2},   {0x270A, 0x270B, 2},   {0x2728, 0x2728, 2},   {0x274C, 0x274C, 2},
    {0x2753, 0x2755, 2},   {0x2B50, 0x2B50, 2},   {0x2B55, 0x2B55, 2},   {0x2E80, 0x303E, 2},
    {0x3041, 0xA4CF, 2},   {0xA960, 0xA97F, 2},   {0xAC00, 0xD7A3, 2},   {0xF900, 0xFAFF, 2},
    {0xFE00, 0xFE0F, 0},   {0xFE10, 0xFE19, 2},   {0xFE20, 0xFE2F, 0},   {0xFE30, 0xFE6F, 2},
    {0xFEFF, 0xFEFF, 0},   {0xFF01, 0xFF60, 2},   {0xFFE0, 0xFFE6, 2},   {0x1F300, 0x1F64F, 2},
    {0x1F680, 0x1F6FF, 2}, {0x1F900, 0x1F9FF, 2}, {0x1FA70, 0x1FAFF, 2}, {0x20000, 0x3FFFD, 2},
    {0xE0000, 0xE01EF, 0},
};

static unsigned columns_of(uint32_t cp)
{
    for (size_t i = 0; i < COUNT_OF(widths) && widths[i].first <= cp; i++)
        if (cp <= widths[i].last)
            return widths[i].columns;
    return 1;
}

/* A broken byte counts as one column: terminals show a replacement character for it. */
size_t text_columns(struct span s)
{
    size_t columns = 0;
    while (s.n > 0) {
        uint32_t cp = 0;
        size_t n = decode(s, &cp);
        columns += n > 0 ? columns_of(cp) : 1;
        s = span_from(s, n > 0 ? n : 1);
    }
    return columns;
}
