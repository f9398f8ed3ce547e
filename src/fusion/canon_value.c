/* fusion/canon_value.c - see canon_value.h. Numbers stay decimal text all the way: two answers are
 * the same number when their digits are, whatever a double would make of them. */
#include "fusion/canon_value.h"

#include <ctype.h>
#include <stdio.h>

#include "base/auto.h"

/* Longer numbers are no answers. With these, any number takes less than 120 characters. */
#define MAX_DIGITS   50
#define MAX_EXPONENT 50
#define MAX_FRACTION 60

static bool is_alnum(char c)
{
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char at(struct span s, size_t i)
{
    return i < s.n ? s.p[i] : '\0';
}

static bool in_set(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static bool starts_nocase(struct span s, struct span word)
{
    return s.n >= word.n && span_eq_nocase(span_upto(s, word.n), word);
}

/* --- what stands before a value ----------------------------------------------------------------
 */

static const struct span commands[] = {
    SPAN_INIT("\\boxed{"),  SPAN_INIT("\\text{"), SPAN_INIT("\\textbf{"), SPAN_INIT("\\mathrm{"),
    SPAN_INIT("\\mathbf{"), SPAN_INIT("\\("),     SPAN_INIT("\\["),
};
static const struct span fillers[] = {
    SPAN_INIT("option "),     SPAN_INIT("choice "),     SPAN_INIT("letter "),
    SPAN_INIT("the option "), SPAN_INIT("the choice "), SPAN_INIT("the letter "),
};

static size_t markup_length(struct span s, bool *opened)
{
    if (in_set(s.p[0], " \t\r\n*_`$\"':"))
        return 1;
    if (in_set(s.p[0], "([{")) {
        *opened = true;
        return 1;
    }
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (span_starts(s, commands[i])) {
            *opened = true;
            return commands[i].n;
        }
    for (size_t i = 0; i < COUNT_OF(fillers); i++)
        if (starts_nocase(s, fillers[i]))
            return fillers[i].n;
    return 0;
}

struct span canon_skip_markup(struct span s, bool *out_opened)
{
    size_t n;
    *out_opened = false;
    while (s.n > 0 && (n = markup_length(s, out_opened)) > 0)
        s = span_from(s, n);
    return s;
}

/* --- choice ------------------------------------------------------------------------------------
 */

static bool only_closing(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!in_set(s.p[i], " \t\r\n*_`$\"')]}.\\,!"))
            return false;
    return true;
}

bool canon_choice(struct span s, bool alone, char *out)
{
    bool opened;
    s = canon_skip_markup(s, &opened);
    char c = at(s, 0), next = at(s, 1);
    if (!isalpha((unsigned char)c) || is_alnum(next) || next == '\'' || next == '-')
        return false;
    struct span rest = span_from(s, 1);
    bool ends = only_closing(rest);
    bool marked =
        next == ')' || next == ']' || next == '}' || next == '.' || next == ':' || next == '*';
    if (alone && !ends && !(marked && (opened || at(rest, 1) == ' ' || next == ')')))
        return false;
    /* A lower-case letter is an article or a variable unless it is clearly marked. */
    if (islower((unsigned char)c) && !(ends || (opened && marked)))
        return false;
    if (c == 'I' && next == ' ' && islower((unsigned char)at(s, 2)) && !opened)
        return false;
    *out = (char)toupper((unsigned char)c);
    return true;
}

/* --- number ------------------------------------------------------------------------------------
 */

struct decimal {
    bool negative;
    char digits[MAX_DIGITS]; /* without the point */
    size_t n;
    long point; /* value = 0.digits * 10^point */
};

static bool add_digit(struct decimal *d, char c, bool whole)
{
    if (d->n == 0 && c == '0') { /* leading zeros carry nothing but their place */
        if (!whole)
            d->point--;
        return true;
    }
    if (d->n == MAX_DIGITS)
        return false;
    d->digits[d->n++] = c;
    if (whole)
        d->point++;
    return true;
}

/* A comma between digits counts when exactly three digits stand behind it. */
static bool is_grouping(struct span s, size_t i)
{
    return at(s, i) == ',' && is_digit(at(s, i + 1)) && is_digit(at(s, i + 2)) &&
           is_digit(at(s, i + 3)) && !is_digit(at(s, i + 4));
}

static size_t read_digits(struct span s, struct decimal *d, bool *ok)
{
    size_t i = 0;
    bool any = false;
    for (; is_digit(at(s, i)) || (any && is_grouping(s, i)); i++) {
        any = true;
        if (s.p[i] != ',' && !add_digit(d, s.p[i], true))
            *ok = false;
    }
    if (at(s, i) == '.' && is_digit(at(s, i + 1)))
        for (i++; is_digit(at(s, i)); i++) {
            any = true;
            if (!add_digit(d, s.p[i], false))
                *ok = false;
        }
    *ok = *ok && any;
    return i;
}

static size_t read_exponent(struct span s, struct decimal *d)
{
    size_t i = 1;
    long e = 0;
    bool minus = at(s, 1) == '-';
    if ((at(s, 0) != 'e' && at(s, 0) != 'E') || s.n < 2)
        return 0;
    i += at(s, 1) == '-' || at(s, 1) == '+';
    if (!is_digit(at(s, i)))
        return 0;
    for (; is_digit(at(s, i)); i++)
        e = e > MAX_EXPONENT ? e : e * 10 + (s.p[i] - '0');
    d->point += minus ? -e : e;
    return i;
}

static bool write_decimal(struct decimal *d, char *out)
{
    while (d->n > 0 && d->digits[d->n - 1] == '0')
        d->n--;
    if (d->n == 0) {
        snprintf(out, 2, "0");
        return true;
    }
    if (d->point > MAX_EXPONENT || d->point < -MAX_EXPONENT)
        return false;
    size_t k = 0;
    if (d->negative)
        out[k++] = '-';
    if (d->point <= 0)
        out[k++] = '0';
    for (long i = 0; i < d->point; i++)
        out[k++] = i < (long)d->n ? d->digits[i] : '0';
    if (d->point < (long)d->n) {
        out[k++] = '.';
        for (long i = d->point; i < 0; i++)
            out[k++] = '0';
        for (long i = d->point > 0 ? d->point : 0; i < (long)d->n; i++)
            out[k++] = d->digits[i];
    }
    out[k] = '\0';
    return true;
}

static struct span skip_before_number(struct span s)
{
    static const struct span words[] = {
        SPAN_INIT("approximately "),
        SPAN_INIT("about "),
        SPAN_INIT("roughly "),
        SPAN_INIT("~"),
        SPAN_INIT("\xE2\x89\x88"),
        SPAN_INIT("\xE2\x82\xAC"),
        SPAN_INIT("\xC2\xA3"),
        SPAN_INIT("\\$"),
        SPAN_INIT("="),
    };
    bool opened, again = true;
    while (again) {
        again = false;
        s = canon_skip_markup(s, &opened);
        for (size_t i = 0; i < COUNT_OF(words); i++)
            if (starts_nocase(s, words[i])) {
                s = span_from(s, words[i].n);
                again = true;
            }
    }
    return s;
}

/* What may not stand right behind a number: then it was a date, a time, a version, a word. */
static bool breaks_number(struct span s)
{
    char c = at(s, 0), next = at(s, 1);
    return c == '_' || ((c == '-' || c == ':' || c == '.') && is_digit(next)) ||
           (c == ',' && is_digit(next));
}

bool canon_number(struct span s, char *out, struct span *rest)
{
    struct decimal d = {0}, below = {0};
    bool ok = true;
    char text[128] = "", under[128] = "";
    s = skip_before_number(s);
    if (at(s, 0) == '-' || at(s, 0) == '+') {
        d.negative = s.p[0] == '-';
        s = skip_before_number(span_from(s, 1));
    } else if (span_starts(s, SPAN("\xE2\x88\x92"))) { /* the minus sign of Unicode */
        d.negative = true;
        s = span_from(s, 3);
    }
    s = span_from(s, read_digits(s, &d, &ok));
    s = span_from(s, read_exponent(s, &d));
    if (!ok || breaks_number(s) || !write_decimal(&d, text))
        return false;
    if (at(s, 0) == '/' && is_digit(at(s, 1))) {
        s = span_from(s, 1);
        s = span_from(s, read_digits(s, &below, &ok));
        if (!ok || breaks_number(s) || at(s, 0) == '/' || !write_decimal(&below, under))
            return false;
        if (strlen(text) > MAX_FRACTION || strlen(under) > MAX_FRACTION)
            return false;
        snprintf(out, 128, "%.*s/%.*s", MAX_FRACTION, text, MAX_FRACTION, under);
    } else {
        bool percent = at(s, 0) == '%' || span_starts(s, SPAN("\\%"));
        snprintf(out, 128, "%.120s%s", text, percent ? "%" : "");
        s = percent ? span_from(s, s.p[0] == '%' ? 1 : 2) : s;
    }
    *rest = s;
    return true;
}

/* --- boolean and text --------------------------------------------------------------------------
 */

bool canon_boolean(struct span s, bool *out)
{
    static const struct {
        struct span word;
        bool value;
    } words[] = {
        {SPAN_INIT("yes"), true}, {SPAN_INIT("true"), true},   {SPAN_INIT("correct"), true},
        {SPAN_INIT("no"), false}, {SPAN_INIT("false"), false}, {SPAN_INIT("incorrect"), false},
    };
    bool opened;
    s = canon_skip_markup(s, &opened);
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (starts_nocase(s, words[i].word) && !is_alnum(at(s, words[i].word.n))) {
            *out = words[i].value;
            return true;
        }
    return false;
}

static bool is_edge(char c)
{
    return c == '\0' || in_set(c, " \t\r\n*_`$\"'()[]{}.,;:!?");
}

static struct span first_sentence(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\n')
            return span_upto(s, i);
        if ((s.p[i] == '.' || s.p[i] == ';') && at(s, i + 1) == ' ')
            return span_upto(s, i);
    }
    return s;
}

bool canon_text(struct span s, bool sentence, char *out, size_t max, size_t *out_n)
{
    bool opened;
    size_t k = 0;
    s = canon_skip_markup(s, &opened);
    if (sentence)
        s = first_sentence(s);
    while (s.n > 0 && is_edge(s.p[0]))
        s = span_from(s, 1);
    while (s.n > 0 && is_edge(s.p[s.n - 1]))
        s.n--;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
        if (blank && k > 0 && out[k - 1] == ' ')
            continue;
        if (k == max)
            return false;
        out[k++] = blank ? ' ' : (char)tolower((unsigned char)c);
    }
    *out_n = k;
    return k > 0;
}
