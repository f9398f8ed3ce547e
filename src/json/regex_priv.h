/* json/regex_priv.h - shared by the files of the regular expressions: the tree that the parser
 * makes, the program that comes of it, sets of characters. */
#ifndef FUSOR_JSON_REGEX_PRIV_H
#define FUSOR_JSON_REGEX_PRIV_H

#include "json/regex.h"

/* Unicode's general categories; tools/regex_categories.py has the same order. */
enum re_category {
    RE_LU,
    RE_LL,
    RE_LT,
    RE_LM,
    RE_LO,
    RE_MN,
    RE_MC,
    RE_ME,
    RE_ND,
    RE_NL,
    RE_NO,
    RE_PC,
    RE_PD,
    RE_PS,
    RE_PE,
    RE_PI,
    RE_PF,
    RE_PO,
    RE_SM,
    RE_SC,
    RE_SK,
    RE_SO,
    RE_ZS,
    RE_ZL,
    RE_ZP,
    RE_CC,
    RE_CF,
    RE_CS,
    RE_CO,
    RE_CN,
    RE_UPPER_FIRST, /* in the table only: upper and lower case in turn */
    RE_LOWER_FIRST
};
#define RE_ALL_CATEGORIES ((UINT32_C(1) << (RE_CN + 1)) - 1)
#define RE_LAST_CHAR      UINT32_C(0x10FFFF)

extern const uint32_t re_category_runs[];
extern const size_t re_n_category_runs;

/* What \p{name} stands for, as a mask of categories; false when it is no general category. */
bool re_property(struct span name, uint32_t *out_mask);

struct re_range {
    uint32_t lo, hi;
};

/* Ranges are sorted and do not touch; ascii is the answer for each ASCII character. */
struct re_set {
    const struct re_range *ranges;
    size_t n;
    uint32_t categories; /* mask: a character of one of them is in too */
    bool negated;
    uint64_t ascii[2];
};

/* Of a set whose ranges are done, before it is used. */
void re_set_ready(struct re_set *s);
bool re_set_has(const struct re_set *s, uint32_t c);
bool re_is_word(uint32_t c); /* \w */

/* The well-known classes; ranges are static. kind: one of d D w W s S . */
struct span_ranges {
    const struct re_range *p;
    size_t n;
};
struct span_ranges re_class(char kind);

enum re_assertion { RE_BEGIN, RE_END, RE_WORD_EDGE, RE_NO_WORD_EDGE };

enum re_kind {
    RE_EMPTY,
    RE_CHAR,   /* c */
    RE_SET,    /* set */
    RE_ASSERT, /* assertion */
    RE_CAT,    /* children in a row */
    RE_ALT,    /* one of the children */
    RE_REPEAT  /* the child, min to max times */
};
#define RE_NO_MAX UINT32_MAX

struct re_node {
    enum re_kind kind;
    uint32_t c, min, max;
    enum re_assertion assertion;
    const struct re_set *set;
    struct re_node *child, *next; /* next: of the same parent */
};

/* Depth of the tree is bounded. NULL: *e is set. */
MUST_USE struct re_node *re_parse(struct arena *a, struct span pattern, struct err *e);

/* The first code point of s, which is UTF-8 and not empty; *n its bytes. */
static inline uint32_t re_decode(struct span s, size_t *n)
{
    const unsigned char *p = (const unsigned char *)s.p;
    if (p[0] < 0x80)
        return *n = 1, p[0];
    size_t len = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    uint32_t c = p[0] & (0xFFu >> (len + 1));
    if (len > s.n)
        len = s.n; /* not UTF-8: never beyond the end */
    for (size_t i = 1; i < len; i++)
        c = c << 6 | (p[i] & 0x3Fu);
    return *n = len, c;
}

#endif
