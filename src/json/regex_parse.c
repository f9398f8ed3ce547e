/* json/regex_parse.c - a pattern's text to a tree. Every construct of ECMA-262 is either taken with
 * its meaning or refused by name: a pattern that means something else here than at its writer would
 * let through what it was to stop. */
#include "base/limits.h"
#include "json/regex_priv.h"

#define MAX_DEPTH  64   /* groups in groups */
#define MAX_RANGES 1024 /* of one class */
#define MAX_COUNT  100000

/* A class while it is read: one at a time. */
struct charset {
    struct re_range ranges[MAX_RANGES];
    size_t n;
    uint32_t categories;
};

struct parser {
    struct arena *a;
    struct span all, rest;
    struct err *e;
    unsigned depth;
    struct charset set;
};

/* What an escape or one character of a class stands for: one character, a set of them, or neither.
 */
struct atom {
    bool is_set;
    uint32_t c;
    struct span_ranges ranges;
    uint32_t categories;
};

static bool fail(struct parser *p, const char *why)
{
    struct span before = span_upto(p->all, p->all.n - p->rest.n);
    size_t at = 0;
    for (size_t i = 0; i < before.n; i++)
        at += ((unsigned char)before.p[i] & 0xC0) != 0x80;
    return err_set(p->e, ERR_INPUT, "%s at character %zu of the pattern", why, at);
}

static bool no_memory(struct parser *p)
{
    return err_set(p->e, ERR_NOMEM, "out of memory for a pattern");
}

static bool at(const struct parser *p, const char *text)
{
    return span_starts(p->rest, span_of(text));
}

static bool take(struct parser *p, const char *text)
{
    if (!at(p, text))
        return false;
    p->rest = span_from(p->rest, strlen(text));
    return true;
}

static uint32_t take_char(struct parser *p)
{
    size_t n;
    uint32_t c = re_decode(p->rest, &n);
    p->rest = span_from(p->rest, n);
    return c;
}

static struct re_node *node(struct parser *p, enum re_kind kind)
{
    struct re_node *n = arena_alloc(p->a, sizeof *n);
    if (!n)
        return no_memory(p), NULL;
    n->kind = kind;
    return n;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* --- escapes: behind the backslash ------------------------------------------------------------ */

/* Exactly n hexadecimal digits. */
static bool hex(struct parser *p, size_t n, uint32_t *out)
{
    uint32_t c = 0;
    for (size_t i = 0; i < n; i++) {
        int d = i < p->rest.n ? digit_of(p->rest.p[i]) : -1;
        if (d < 0)
            return fail(p, "an escape with too few hexadecimal digits");
        c = c << 4 | (uint32_t)d;
    }
    p->rest = span_from(p->rest, n);
    *out = c;
    return true;
}

/* u{1f600}, u0041, and two of the latter for one character beyond U+FFFF. */
static bool unicode(struct parser *p, uint32_t *out)
{
    uint32_t c = 0, low = 0;
    if (take(p, "{")) {
        size_t n = span_find(p->rest, "}");
        if (n == 0 || n > 6 || n == p->rest.n || !hex(p, n, &c) || c > RE_LAST_CHAR)
            return fail(p, "an escape \\u{...} that is no character");
        p->rest = span_from(p->rest, 1);
        *out = c;
        return true;
    }
    if (!hex(p, 4, &c))
        return false;
    if (c >= 0xD800 && c < 0xDC00 && at(p, "\\u") && !at(p, "\\u{")) {
        struct span back = p->rest;
        p->rest = span_from(p->rest, 2);
        if (!hex(p, 4, &low))
            return false;
        if (low >= 0xDC00 && low < 0xE000)
            c = 0x10000 + ((c - 0xD800) << 10 | (low - 0xDC00));
        else
            p->rest = back;
    }
    *out = c;
    return true;
}

/* p{Lu}, P{Lu} */
static bool property(struct parser *p, bool negated, struct atom *out)
{
    size_t n;
    uint32_t mask;
    if (!take(p, "{") || (n = span_find(p->rest, "}")) == p->rest.n)
        return fail(p, "\\p without a property in braces");
    if (!re_property(span_upto(p->rest, n), &mask))
        return fail(p, "a Unicode property that is not supported (only general categories are)");
    p->rest = span_from(p->rest, n + 1);
    *out = (struct atom){.is_set = true, .categories = negated ? RE_ALL_CATEGORIES & ~mask : mask};
    return true;
}

static bool control(struct parser *p, uint32_t *out)
{
    char c = p->rest.n > 0 ? (char)(p->rest.p[0] | 0x20) : '\0';
    if (c < 'a' || c > 'z')
        return fail(p, "\\c without a letter");
    *out = take_char(p) & 31;
    return true;
}

/* A character that stands for itself: what is no letter and no digit. */
static bool identity(struct parser *p, uint32_t c, uint32_t *out)
{
    if (c >= 0x80 || re_is_word(c))
        if (c != '_')
            return fail(p, "an escape that is not known");
    *out = c;
    return true;
}

static bool zero(struct parser *p, uint32_t *out)
{
    if (p->rest.n > 0 && p->rest.p[0] >= '0' && p->rest.p[0] <= '9')
        return fail(p, "an octal escape, which is not supported,");
    *out = 0;
    return true;
}

/* In and outside of classes alike; assertions and \b have been dealt with. */
static bool escape(struct parser *p, struct atom *out)
{
    if (p->rest.n == 0)
        return fail(p, "a backslash with nothing behind it");
    *out = (struct atom){0};
    uint32_t c = take_char(p);
    if (c < 0x80 && re_class((char)c).p && c != '.') {
        *out = (struct atom){.is_set = true, .ranges = re_class((char)c)};
        return true;
    }
    static const char letters[] = "tnvfr", meant[] = "\t\n\v\f\r";
    const char *simple = c > 0 && c < 0x80 ? strchr(letters, (int)c) : NULL;
    if (simple) {
        out->c = (unsigned char)meant[simple - letters];
        return true;
    }
    if (c >= '1' && c <= '9')
        return fail(p, "a backreference, which is not supported,");
    switch (c) {
    case 'k':
        return fail(p, "a backreference, which is not supported,");
    case '0':
        return zero(p, &out->c);
    case 'c':
        return control(p, &out->c);
    case 'x':
        return hex(p, 2, &out->c);
    case 'u':
        return unicode(p, &out->c);
    case 'p':
    case 'P':
        return property(p, c == 'P', out);
    default: /* a character, not an enum of ours */
        return identity(p, c, &out->c);
    }
}

/* --- classes: behind the opening bracket ------------------------------------------------------ */

static struct charset *new_set(struct parser *p)
{
    p->set.n = p->set.categories = 0;
    return &p->set;
}

/* Keeps them sorted and apart: what touches becomes one. */
static bool add_range(struct parser *p, struct charset *k, struct re_range r)
{
    size_t from = 0, to;
    while (from < k->n && r.lo > 0 && k->ranges[from].hi < r.lo - 1)
        from++;
    for (to = from; to < k->n && k->ranges[to].lo <= r.hi + 1; to++) {
        r.lo = k->ranges[to].lo < r.lo ? k->ranges[to].lo : r.lo;
        r.hi = k->ranges[to].hi > r.hi ? k->ranges[to].hi : r.hi;
    }
    if (k->n + 1 - (to - from) > MAX_RANGES)
        return fail(p, "a class with too many ranges");
    memmove(&k->ranges[from + 1], &k->ranges[to], (k->n - to) * sizeof r);
    k->ranges[from] = r;
    k->n = k->n + 1 - (to - from);
    return true;
}

static bool class_atom(struct parser *p, struct atom *out)
{
    if (p->rest.n == 0)
        return fail(p, "a class without its closing bracket");
    *out = (struct atom){0};
    if (!take(p, "\\")) {
        out->c = take_char(p);
        return true;
    }
    if (take(p, "b")) {
        out->c = '\b';
        return true;
    }
    return escape(p, out);
}

static bool add_atom(struct parser *p, struct charset *k, const struct atom *a)
{
    if (!a->is_set)
        return add_range(p, k, (struct re_range){a->c, a->c});
    k->categories |= a->categories;
    for (size_t i = 0; i < a->ranges.n; i++)
        if (!add_range(p, k, a->ranges.p[i]))
            return false;
    return true;
}

static bool class_item(struct parser *p, struct charset *k)
{
    struct atom from, to;
    if (!class_atom(p, &from))
        return false;
    if (!at(p, "-") || at(p, "-]"))
        return add_atom(p, k, &from);
    p->rest = span_from(p->rest, 1);
    if (!class_atom(p, &to))
        return false;
    if (from.is_set || to.is_set) /* [\w-.]: no range, three members (annex B) */
        return add_atom(p, k, &from) && add_atom(p, k, &to) &&
               add_range(p, k, (struct re_range){'-', '-'});
    if (from.c > to.c)
        return fail(p, "a range in a class that ends before it begins");
    return add_range(p, k, (struct re_range){from.c, to.c});
}

static struct re_node *set_node(struct parser *p, const struct charset *k, bool negated)
{
    struct re_node *n = node(p, RE_SET);
    struct re_set *s = arena_alloc(p->a, sizeof *s);
    struct re_range *ranges = arena_array(p->a, k->n, sizeof *ranges);
    if (!n || !s || !ranges)
        return no_memory(p), NULL;
    memcpy(ranges, k->ranges, k->n * sizeof *ranges);
    *s = (struct re_set){
        .ranges = ranges, .n = k->n, .categories = k->categories, .negated = negated};
    re_set_ready(s);
    n->set = s;
    return n;
}

static struct re_node *bracket(struct parser *p)
{
    struct charset *k = new_set(p);
    bool negated = take(p, "^");
    while (!take(p, "]"))
        if (!class_item(p, k))
            return NULL;
    return set_node(p, k, negated);
}

/* --- terms ------------------------------------------------------------------------------------ */

static struct re_node *alternatives(struct parser *p);

static struct re_node *assertion(struct parser *p, enum re_assertion what)
{
    struct re_node *n = node(p, RE_ASSERT);
    if (n)
        n->assertion = what;
    return n;
}

static struct re_node *character(struct parser *p, uint32_t c)
{
    struct re_node *n = node(p, RE_CHAR);
    if (n)
        n->c = c;
    return n;
}

static struct re_node *atom_node(struct parser *p, const struct atom *a)
{
    if (!a->is_set)
        return character(p, a->c);
    struct charset *k = new_set(p);
    return add_atom(p, k, a) ? set_node(p, k, false) : NULL;
}

/* What stands behind "(?" of a group that is no plain one; true: it was taken. */
static bool group_kind(struct parser *p)
{
    if (take(p, ":"))
        return true;
    if (at(p, "=") || at(p, "!") || at(p, "<=") || at(p, "<!"))
        return fail(p, "a lookahead or lookbehind, which is not supported,");
    if (!at(p, "<"))
        return fail(p, "a group of a kind that is not supported");
    size_t n = span_find(p->rest, ">");
    if (n == p->rest.n || n == 1)
        return fail(p, "a group whose name does not end");
    p->rest = span_from(p->rest, n + 1);
    return true;
}

static struct re_node *group(struct parser *p)
{
    if (take(p, "?") && !group_kind(p))
        return NULL;
    if (++p->depth > MAX_DEPTH)
        return fail(p, "too many groups in groups"), NULL;
    struct re_node *n = alternatives(p);
    p->depth--;
    if (!n)
        return NULL;
    if (!take(p, ")"))
        return fail(p, "a group without its closing parenthesis"), NULL;
    return n;
}

static struct re_node *single(struct parser *p)
{
    struct atom a;
    if (take(p, "("))
        return group(p);
    if (take(p, "["))
        return bracket(p);
    if (take(p, "^"))
        return assertion(p, RE_BEGIN);
    if (take(p, "$"))
        return assertion(p, RE_END);
    if (take(p, "\\b"))
        return assertion(p, RE_WORD_EDGE);
    if (take(p, "\\B"))
        return assertion(p, RE_NO_WORD_EDGE);
    if (take(p, "."))
        return atom_node(p, &(struct atom){.is_set = true, .ranges = re_class('.')});
    if (take(p, "\\"))
        return escape(p, &a) ? atom_node(p, &a) : NULL;
    if (at(p, "*") || at(p, "+") || at(p, "?"))
        return fail(p, "a quantifier with nothing to repeat"), NULL;
    return character(p, take_char(p));
}

static bool count(struct span *s, uint32_t *out)
{
    uint32_t n = 0;
    if (s->n == 0 || s->p[0] < '0' || s->p[0] > '9')
        return false;
    for (; s->n > 0 && s->p[0] >= '0' && s->p[0] <= '9'; *s = span_from(*s, 1))
        if (n <= MAX_COUNT)
            n = n * 10 + (uint32_t)(s->p[0] - '0');
    *out = n;
    return true;
}

/* {2}, {2,}, {2,5}; anything else that begins with a brace is text (annex B). */
static bool counted(struct parser *p, uint32_t *min, uint32_t *max)
{
    struct span s = p->rest;
    if (!span_starts(s, SPAN("{")))
        return false;
    s = span_from(s, 1);
    if (!count(&s, min))
        return false;
    *max = *min;
    if (span_starts(s, SPAN(","))) {
        s = span_from(s, 1);
        if (!count(&s, max))
            *max = RE_NO_MAX;
    }
    if (!span_starts(s, SPAN("}")))
        return false;
    p->rest = span_from(s, 1);
    return true;
}

static bool quantifier(struct parser *p, uint32_t *min, uint32_t *max)
{
    *min = at(p, "+");
    *max = at(p, "?") ? 1 : RE_NO_MAX;
    if (!take(p, "*") && !take(p, "+") && !take(p, "?") && !counted(p, min, max))
        return false;
    (void)take(p, "?"); /* lazy: says which match is preferred, not whether there is one */
    return true;
}

static struct re_node *term(struct parser *p)
{
    struct re_node *one = single(p);
    uint32_t min, max;
    if (!one || !quantifier(p, &min, &max))
        return one;
    if (one->kind == RE_ASSERT)
        return fail(p, "a quantifier behind an assertion"), NULL;
    if (max < min)
        return fail(p, "a quantifier whose numbers are out of order"), NULL;
    if (min > MAX_COUNT || (max != RE_NO_MAX && max > MAX_COUNT))
        return fail(p, "a repetition that is too large"), NULL;
    struct re_node *n = node(p, RE_REPEAT);
    if (!n)
        return NULL;
    n->min = min;
    n->max = max;
    n->child = one;
    return n;
}

static struct re_node *sequence(struct parser *p)
{
    struct re_node *n = node(p, RE_CAT);
    struct re_node **end = n ? &n->child : NULL;
    while (n && p->rest.n > 0 && !at(p, "|") && !at(p, ")")) {
        *end = term(p);
        if (!*end)
            return NULL;
        end = &(*end)->next;
    }
    return n;
}

static struct re_node *alternatives(struct parser *p)
{
    struct re_node *first = sequence(p);
    if (!first || !at(p, "|"))
        return first;
    struct re_node *n = node(p, RE_ALT), *last = first;
    if (!n)
        return NULL;
    n->child = first;
    while (take(p, "|")) {
        last->next = sequence(p);
        if (!last->next)
            return NULL;
        last = last->next;
    }
    return n;
}

struct re_node *re_parse(struct arena *a, struct span pattern, struct err *e)
{
    struct parser p;
    p.a = a;
    p.all = p.rest = pattern;
    p.e = e;
    p.depth = 0;
    struct re_node *n = alternatives(&p);
    if (n && p.rest.n > 0)
        return fail(&p, "a closing parenthesis without its group"), NULL;
    return n;
}
