/* dialect/gemini_args.c - the arguments of a call that come in pieces -> one JSON object.
 *
 * Gemini can stream the arguments of a call: each of `partialArgs` names a place by a JSON path
 * ("$.items[0].name") and has a value for it, a string with willContinue going on with the next
 * piece of the same path. The pieces come in the order of the text, so the JSON is written as they
 * come: from one path to the next, the containers that both are in stay open, the others are closed
 * and opened. A place that is not behind the one before it (an index that does not follow, a key
 * that is there already) is nonsense of the upstream's. */
#include "base/limits.h"
#include "dialect/gemini_priv.h"

#define PATH_BYTES KIB(4)
#define MAX_STEPS  (LIMIT_JSON_DEPTH - 2)

void gem_args_init(struct gem_args *a)
{
    *a = (struct gem_args){0};
    buf_init(&a->text, LIMIT_EVENT_BYTES);
    buf_init(&a->path, PATH_BYTES);
    buf_init(&a->piece, LIMIT_EVENT_BYTES);
}

void gem_args_done(struct gem_args *a)
{
    buf_done(&a->text);
    buf_done(&a->path);
    buf_done(&a->piece);
}

void gem_args_clear(struct gem_args *a)
{
    buf_clear(&a->text);
    buf_clear(&a->path);
    buf_clear(&a->piece);
    a->in_string = false;
}

/* --- paths ------------------------------------------------------------------------------------ */

struct step {
    bool is_index;
    int64_t index;
    struct span name; /* as it stands in the path: escapes and all when it was quoted */
    bool quoted;
};

struct path {
    struct step steps[MAX_STEPS];
    size_t n;
};

static bool add_step(struct path *p, struct step s)
{
    if (p->n == MAX_STEPS)
        return false;
    p->steps[p->n++] = s;
    return true;
}

/* [0], ['name'] or ["name"], without the first bracket; eaten from *s. */
static bool read_bracket(struct path *p, struct span *s)
{
    struct step step = {.is_index = true};
    char quote = s->n > 0 ? s->p[0] : '\0';
    size_t n;
    if (quote != '\'' && quote != '"') {
        n = span_find(*s, "]");
        if (n == s->n || n > 9 || !span_to_i64(span_upto(*s, n), &step.index) || step.index < 0)
            return false;
        *s = span_from(*s, n + 1);
        return add_step(p, step);
    }
    for (n = 1; n < s->n && s->p[n] != quote; n++)
        n += s->p[n] == '\\';
    if (n + 1 >= s->n || s->p[n + 1] != ']')
        return false;
    step = (struct step){.name = span_from(span_upto(*s, n), 1), .quoted = true};
    *s = span_from(*s, n + 2);
    return add_step(p, step);
}

/* RFC 9535 as far as one place can be named by it. */
static bool read_path(struct span s, struct path *out)
{
    out->n = 0;
    if (s.n == 0 || s.p[0] != '$')
        return false;
    for (s = span_from(s, 1); s.n > 0;) {
        char c = s.p[0];
        s = span_from(s, 1);
        if (c == '[') {
            if (!read_bracket(out, &s))
                return false;
            continue;
        }
        size_t n = span_find(s, ".[");
        if (c != '.' || n == 0 || !add_step(out, (struct step){.name = span_upto(s, n)}))
            return false;
        s = span_from(s, n);
    }
    return out->n > 0 && !out->steps[0].is_index; /* arguments are an object */
}

static bool same_step(const struct step *a, const struct step *b)
{
    return a->is_index == b->is_index &&
           (a->is_index ? a->index == b->index
                        : a->quoted == b->quoted && span_eq(a->name, b->name));
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool nonsense(struct err *e)
{
    return err_set(e, ERR_UPSTREAM, "the upstream sent arguments of a tool call in no order");
}

/* A quoted name is a JSON string in other quotes: \' is the one escape that JSON does not know. */
static bool add_quoted(struct buf *b, struct span name, struct err *e)
{
    bool ok = buf_add_char(b, '"', e);
    for (size_t i = 0; ok && i < name.n; i++) {
        bool escape = name.p[i] == '\\' && i + 1 < name.n;
        if (escape && name.p[i + 1] == '\'')
            ok = buf_add_char(b, name.p[++i], e);
        else if (escape)
            ok = buf_add(b, span_upto(span_from(name, i++), 2), e);
        else
            ok = (name.p[i] != '"' || buf_add_char(b, '\\', e)) && buf_add_char(b, name.p[i], e);
    }
    return ok && buf_add_char(b, '"', e);
}

static bool add_name(struct buf *b, const struct step *s, struct err *e)
{
    if (s->is_index)
        return true;
    return (s->quoted ? add_quoted(b, s->name, e) : json_write_str(b, s->name, e)) &&
           buf_add_char(b, ':', e);
}

static bool end_string(struct gem_args *a, struct err *e)
{
    bool ok = !a->in_string || buf_add_char(&a->text, '"', e);
    a->in_string = false;
    return ok;
}

/* Closes the containers of steps behind `keep`. */
static bool close_to(struct gem_args *a, const struct path *p, size_t keep, struct err *e)
{
    for (size_t i = p->n; i > keep; i--)
        if (!buf_add_char(&a->text, p->steps[i - 1].is_index ? ']' : '}', e))
            return false;
    return true;
}

/* Opens the containers of steps from `from` on, and names each place in them. */
static bool open_from(struct gem_args *a, const struct path *p, size_t from, struct err *e)
{
    for (size_t i = from; i < p->n; i++) {
        const struct step *s = &p->steps[i];
        if (s->is_index && s->index != 0)
            return nonsense(e);
        if (!buf_add_char(&a->text, s->is_index ? '[' : '{', e) || !add_name(&a->text, s, e))
            return false;
    }
    return true;
}

/* From the place of the last value to the next. */
static bool go_to(struct gem_args *a, const struct path *old, const struct path *new, struct err *e)
{
    size_t c = 0;
    if (old->n == 0)
        return open_from(a, new, 0, e);
    while (c < old->n && c < new->n &&same_step(&old->steps[c], &new->steps[c]))
        c++;
    if (c == old->n || c == new->n)
        return nonsense(e); /* the place has a value already, or is inside of one */
    const struct step *was = &old->steps[c], *is = &new->steps[c];
    if (was->is_index != is->is_index || (is->is_index && is->index != was->index + 1))
        return nonsense(e);
    return close_to(a, old, c + 1, e) && buf_add_char(&a->text, ',', e) &&
           add_name(&a->text, is, e) && open_from(a, new, c + 1, e);
}

/* A piece of a string, as JSON without the quotes. */
static bool add_piece(struct gem_args *a, struct span s, struct err *e)
{
    buf_clear(&a->piece);
    if (!json_write_str(&a->piece, s, e))
        return false;
    struct span quoted = buf_span(&a->piece);
    return buf_add(&a->text, span_from(span_upto(quoted, quoted.n - 1), 1), e);
}

static json_val *other_value(json_val *piece)
{
    static const char *const names[] = {"numberValue", "boolValue", "structValue", "listValue"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (json_get(piece, names[i]))
            return json_get(piece, names[i]);
    return NULL;
}

bool gem_args_add(struct gem_args *a, json_val *piece, struct err *e)
{
    struct span where = json_str(json_get(piece, "jsonPath"));
    json_val *string = json_get(piece, "stringValue"), *other = other_value(piece);
    struct path old, new;
    old.n = 0;
    if (where.n > PATH_BYTES || !read_path(where, &new))
        return nonsense(e);
    bool same = span_eq(where, buf_span(&a->path));
    if (!(same && a->in_string && json_is_str(string))) {
        if (a->path.n > 0 && !read_path(buf_span(&a->path), &old))
            return nonsense(e);
        if (!end_string(a, e) || !go_to(a, &old, &new, e))
            return false;
        if (json_is_str(string) && !buf_add_char(&a->text, '"', e))
            return false;
        a->in_string = json_is_str(string);
        buf_clear(&a->path);
        if (!buf_add(&a->path, where, e))
            return false;
    }
    if (!a->in_string) /* no value that we know: nullValue */
        return other ? json_write_val(&a->text, other, e) : buf_add(&a->text, SPAN("null"), e);
    return add_piece(a, json_str(string), e) &&
           (json_true(json_get(piece, "willContinue")) || end_string(a, e));
}

bool gem_args_end(struct gem_args *a, struct err *e)
{
    struct path last;
    struct err why;
    json_val *v;
    if (a->path.n == 0)
        return buf_add(&a->text, SPAN("{}"), e);
    if (!read_path(buf_span(&a->path), &last))
        return nonsense(e);
    if (!end_string(a, e) || !close_to(a, &last, 0, e))
        return false;
    /* A key that came twice shows only here. */
    AUTO(arena) arena = arena_new(0);
    if (!arena)
        return wire_no_memory(e);
    if (json_parse(arena, buf_span(&a->text), &v, &why))
        return true;
    return why.cls == ERR_NOMEM || why.cls == ERR_LIMIT ? wire_no_memory(e) : nonsense(e);
}
