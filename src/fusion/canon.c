/* fusion/canon.c - see canon.h. The reply is read from its end: models restate the question, work
 * through examples and change their mind, so the last statement counts. */
#include "fusion/canon.h"

#include <regex.h>

#include "base/buf.h"
#include "base/limits.h"
#include "fusion/canon_value.h"
#include "json/json.h"

/* A stated answer is looked at this far; a line that is taken as an answer may be this long. */
#define STATEMENT_BYTES 256
#define LINE_BYTES      48
/* A regex runs over the end of a reply only, and at most that many matches are stepped over. */
#define REGEX_BYTES   KIB(64)
#define REGEX_MATCHES 1000

struct canon {
    enum fusion_answer kind;
    regex_t regex;
};

static void free_regex(void *arg)
{
    regfree(arg);
}

const struct canon *canon_new(struct arena *a, enum fusion_answer kind, struct span regex,
                              struct err *e)
{
    struct canon *c = arena_alloc(a, sizeof *c);
    struct span text = arena_dup(a, regex);
    if (!c || !text.p) {
        err_set(e, ERR_NOMEM, "no memory for the answer's rules");
        return NULL;
    }
    c->kind = kind;
    if (kind != FUSION_ANSWER_REGEX)
        return c;
    if (regcomp(&c->regex, text.p, REG_EXTENDED) != 0) {
        err_field(e, "fusion.answer", "'%.*s' is no POSIX extended regular expression",
                  SPAN_ARG(regex));
        return NULL;
    }
    if (!arena_defer(a, free_regex, &c->regex)) {
        regfree(&c->regex);
        err_set(e, ERR_NOMEM, "no memory for the answer's rules");
        return NULL;
    }
    return c;
}

/* --- one statement as a value ------------------------------------------------------------------
 */

static bool give(struct arena *a, char cls, struct span value, struct span *out, struct err *e)
{
    struct span s = arena_printf(a, "%c:%.*s", cls, SPAN_ARG(value));
    if (!s.p)
        return err_set(e, ERR_NOMEM, "no memory for an answer");
    *out = s;
    return true;
}

struct value {
    char cls; /* 0: none */
    char text[CANON_REPLY_BYTES + 1];
    size_t n;
};

static bool read_choice(struct span s, bool alone, struct value *v)
{
    if (!canon_choice(s, alone, v->text))
        return false;
    v->cls = 'c';
    v->n = 1;
    return true;
}

static size_t words_of(struct span s)
{
    size_t words = 0;
    bool inside = false;
    for (size_t i = 0; i < s.n; i++) {
        bool letter = (unsigned char)s.p[i] > ' ' && !strchr(")]}.*$,_", s.p[i]);
        words += letter && !inside;
        inside = letter;
    }
    return words;
}

/* units: at most that many words may follow (a unit), or it was no number but a sentence. */
static bool read_number(struct span s, size_t units, struct value *v)
{
    struct span rest;
    char text[128];
    if (!canon_number(s, text, &rest))
        return false;
    if (words_of(span_upto(rest, span_find(rest, "\n"))) > units)
        return false;
    v->cls = 'n';
    v->n = strlen(text);
    memcpy(v->text, text, v->n);
    return true;
}

static bool read_boolean(struct span s, struct value *v)
{
    bool is;
    if (!canon_boolean(s, &is))
        return false;
    v->cls = 'b';
    v->n = is ? 4 : 5;
    memcpy(v->text, is ? "true" : "false", v->n);
    return true;
}

static bool read_text(struct span s, bool sentence, size_t max, struct value *v)
{
    if (!canon_text(s, sentence, v->text, max, &v->n))
        return false;
    v->cls = 't';
    return true;
}

/* `stated`: s stands behind "the answer is"; else s is a short reply or its last line. */
static bool read_value(enum fusion_answer kind, struct span s, bool stated, struct value *v)
{
    switch (kind) {
    case FUSION_ANSWER_CHOICE:
        return read_choice(s, !stated, v);
    case FUSION_ANSWER_NUMBER:
        return read_number(s, SIZE_MAX, v);
    case FUSION_ANSWER_BOOLEAN:
        return read_boolean(s, v);
    case FUSION_ANSWER_TEXT:
        return read_text(s, stated, CANON_REPLY_BYTES, v);
    case FUSION_ANSWER_AUTO:
        return read_choice(s, !stated, v) || read_number(s, 2, v) || read_boolean(s, v) ||
               read_text(s, stated, CANON_STATED_BYTES, v);
    case FUSION_ANSWER_JSON:
    case FUSION_ANSWER_REGEX:
        break;
    }
    return false;
}

/* --- finding the last statement ----------------------------------------------------------------
 */

/* Behind "answer": ":", "=", "is", "would be", "should be". Empty p when it states nothing. */
static struct span behind_answer(struct span s)
{
    static const struct span verbs[] = {SPAN_INIT("is"), SPAN_INIT("would be"),
                                        SPAN_INIT("should be"), SPAN_INIT("must be")};
    while (s.n > 0 && s.p[0] != '\0' && strchr(" *_`\t", s.p[0]))
        s = span_from(s, 1);
    if (s.n > 0 && (s.p[0] == ':' || s.p[0] == '='))
        return span_from(s, 1);
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        if (span_starts(s, verbs[i]) && s.n > verbs[i].n && strchr(" :*\t\n=", s.p[verbs[i].n]))
            return span_from(s, verbs[i].n);
    return (struct span){NULL, 0};
}

static struct span inside_braces(struct span s)
{
    size_t depth = 1;
    for (size_t i = 0; i < s.n; i++) {
        depth += s.p[i] == '{';
        depth -= s.p[i] == '}';
        if (depth == 0)
            return span_upto(s, i);
    }
    return s;
}

/* The text of the statement that begins at i, or p NULL when none does. */
static struct span statement_at(struct span reply, size_t i)
{
    struct span s = span_from(reply, i);
    if (s.p[0] == '\\' && span_starts(s, SPAN("\\boxed{")))
        return inside_braces(span_upto(span_from(s, 7), STATEMENT_BYTES));
    if ((s.p[0] == 'a' || s.p[0] == 'A') && s.n > 6 &&
        span_eq_nocase(span_upto(s, 6), SPAN("answer")))
        return span_upto(behind_answer(span_from(s, 6)), STATEMENT_BYTES);
    return (struct span){NULL, 0};
}

static bool is_conclusive(struct span statement)
{
    struct span s = span_trim(statement);
    return s.n > 0 && (s.p[0] == '(' || s.p[0] == '\\');
}

static bool find_stated(enum fusion_answer kind, struct span reply, struct value *v)
{
    for (size_t i = reply.n; i-- > 0;) {
        char c = reply.p[i];
        if (c != 'a' && c != 'A' && c != '\\')
            continue;
        struct span s = statement_at(reply, i);
        if (!s.p)
            continue;
        if (read_value(kind, s, true, v))
            return true;
        /* "The answer is (none of these)" takes back what was said before. */
        if (is_conclusive(s))
            return false;
    }
    return false;
}

static struct span last_line(struct span s)
{
    s = span_trim(s);
    for (size_t i = s.n; i-- > 0;)
        if (s.p[i] == '\n')
            return span_trim(span_from(s, i + 1));
    return s;
}

static bool find_unstated(enum fusion_answer kind, struct span reply, struct value *v)
{
    struct span whole = span_trim(reply), line = last_line(reply);
    if (kind == FUSION_ANSWER_BOOLEAN && read_boolean(whole, v))
        return true;
    if (whole.n <= (kind == FUSION_ANSWER_TEXT ? CANON_REPLY_BYTES : CANON_STATED_BYTES))
        return read_value(kind, whole, false, v);
    if (line.n > LINE_BYTES || kind == FUSION_ANSWER_TEXT)
        return false;
    /* A short last line counts only as a value: as text it may be any closing words. */
    return read_value(kind, line, false, v) && v->cls != 't';
}

/* --- JSON and regex ----------------------------------------------------------------------------
 */

static struct span json_body(struct span reply)
{
    struct span s = span_trim(reply);
    if (!span_starts(s, SPAN("```")))
        return s;
    s = span_from(s, span_find(s, "\n"));
    size_t end = span_rindex(s, SPAN("```"));
    return span_trim(span_upto(s, end));
}

static bool read_json(struct arena *a, struct span reply, struct span *out, struct err *e)
{
    struct span s = json_body(reply);
    struct err bad = {0};
    json_val *v;
    struct buf text;
    if (s.n == 0 || (s.p[0] != '{' && s.p[0] != '['))
        return true;
    if (!json_parse(a, s, &v, &bad))
        return bad.cls == ERR_NOMEM ? err_set(e, ERR_NOMEM, "%s", bad.msg) : true;
    buf_init(&text, LIMIT_MEMBER_BYTES * 2);
    bool ok = json_canonical(&text, v, e) && give(a, 'j', buf_span(&text), out, e);
    buf_done(&text);
    return ok;
}

/* The last match; group 1 when the pattern has one. */
static bool read_regex(const struct canon *c, struct arena *a, struct span reply, struct span *out,
                       struct err *e)
{
    struct span s = reply.n > REGEX_BYTES ? span_from(reply, reply.n - REGEX_BYTES) : reply;
    struct span hit = {NULL, 0};
    regmatch_t m[2];
    for (size_t i = 0; s.n > 0 && i < REGEX_MATCHES; i++) {
        m[0] = (regmatch_t){.rm_so = 0, .rm_eo = (regoff_t)s.n};
        if (regexec(&c->regex, s.p, 2, m, REG_STARTEND | (i > 0 ? REG_NOTBOL : 0)) != 0)
            break;
        regmatch_t g = c->regex.re_nsub > 0 && m[1].rm_so >= 0 ? m[1] : m[0];
        hit = span_make(s.p + g.rm_so, (size_t)(g.rm_eo - g.rm_so));
        s = span_from(s, (size_t)(m[0].rm_eo > 0 ? m[0].rm_eo : 1));
    }
    return hit.n == 0 || give(a, 'r', span_trim(hit), out, e);
}

bool canon_read(const struct canon *c, struct arena *a, struct span reply, struct span *out,
                struct err *e)
{
    struct value v = {0};
    struct span found = {NULL, 0};
    if (c->kind == FUSION_ANSWER_REGEX) {
        if (!read_regex(c, a, reply, &found, e))
            return false;
    } else if (c->kind == FUSION_ANSWER_JSON || c->kind == FUSION_ANSWER_AUTO) {
        if (!read_json(a, reply, &found, e))
            return false;
    }
    bool plain = c->kind != FUSION_ANSWER_REGEX && c->kind != FUSION_ANSWER_JSON;
    if (plain && !found.p && (find_stated(c->kind, reply, &v) || find_unstated(c->kind, reply, &v)))
        if (!give(a, v.cls, span_make(v.text, v.n), &found, e))
            return false;
    *out = found;
    return true;
}
