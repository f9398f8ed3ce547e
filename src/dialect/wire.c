/* dialect/wire.c - see dialect/wire.h. */
#include "dialect/wire.h"

#include <stdarg.h>
#include <stdio.h>

bool wire_is_name(struct span s)
{
    if (s.n == 0 || s.n > 64)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '-';
        if (!fine)
            return false;
    }
    return true;
}

bool wire_no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "no memory for the request");
}

/* Writes the path from the root down; cut when it does not fit. Paths are a few steps deep. */
static size_t render(const struct wire_path *at, char *out, size_t cap)
{
    if (!at)
        return 0;
    size_t n = render(at->up, out, cap);
    if (n >= cap)
        return cap;
    int more = at->key ? snprintf(out + n, cap - n, "%s%s", n > 0 ? "." : "", at->key)
                       : snprintf(out + n, cap - n, "[%zu]", at->index);
    return more < 0 ? n : n + (size_t)more;
}

static bool bad(const struct wire_path *at, struct err *e, const char *fmt, va_list args)
{
    char param[sizeof e->param] = "", text[256];
    render(at, param, sizeof param);
    vsnprintf(text, sizeof text, fmt, args);
    return err_field(e, param, "%s %s", param, text);
}

bool wire_bad(const struct wire_path *at, struct err *e, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    bad(at, e, fmt, args);
    va_end(args);
    return false;
}

bool wire_bad_key(const struct wire_path *at, const char *key, struct err *e, const char *fmt, ...)
{
    struct wire_path below = {at, key, 0};
    va_list args;
    va_start(args, fmt);
    bad(&below, e, fmt, args);
    va_end(args);
    return false;
}

json_val *wire_get(json_val *obj, const char *key)
{
    json_val *v = json_get(obj, key);
    return json_is_null(v) ? NULL : v;
}

bool wire_get_str(json_val *obj, const char *key, bool required, const struct wire_path *at,
                 struct span *out, struct err *e)
{
    json_val *v = wire_get(obj, key);
    if (!v)
        return !required || wire_bad_key(at, key, e, "is missing");
    if (!json_is_str(v))
        return wire_bad_key(at, key, e, "must be a string, not %s", json_type_name(v));
    *out = json_str(v);
    return true;
}

void wire_note(struct dialect_notes *notes, struct span name)
{
    if (!notes || notes->n == COUNT_OF(notes->ignored))
        return;
    for (size_t i = 0; i < notes->n; i++)
        if (span_eq(notes->ignored[i], name))
            return;
    notes->ignored[notes->n++] = name;
}

/* Made from the answer's id and the number of the call, so it is the same whenever it is asked for. */
static void make_id(struct span answer_id, size_t index, char out[static WIRE_CALL_ID_BYTES])
{
    static const char set[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint64_t h = span_hash(answer_id, index + 1);
    for (size_t i = 0; i < WIRE_CALL_ID_BYTES; i++, h /= 62)
        out[i] = set[h % 62];
}

struct span wire_call_id(struct span id, struct span answer_id, size_t index,
                         char made[static WIRE_CALL_ID_BYTES])
{
    if (wire_is_name(id))
        return id;
    make_id(answer_id, index, made);
    return (struct span){made, WIRE_CALL_ID_BYTES};
}

void wire_track_feed(struct wire_track *t, struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (t->in_string) {
            t->in_string = t->escaped || c != '"';
            t->escaped = !t->escaped && c == '\\';
        } else if (c == '"') {
            t->in_string = true;
        } else if (c == '{' || c == '[') {
            t->depth++;
        } else if ((c == '}' || c == ']') && t->depth > 0) {
            t->depth--;
            t->whole = t->depth == 0;
        }
    }
}
