/* dialect/wire_fields.c - see dialect/wire_fields.h. */
#include "dialect/wire_fields.h"

#include "base/text.h"

bool wire_bad_type(struct wire_in *in, const char *key, json_val *v, const char *want)
{
    return wire_bad_key(NULL, key, in->e, "must be %s, not %s", want, json_type_name(v));
}

bool wire_add_extra(struct wire_in *in, struct span name, json_val *v, bool hint)
{
    if (!in->extras) {
        in->extras = arena_array(in->a, in->cap_extras, sizeof *in->extras);
        if (!in->extras)
            return wire_no_memory(in->e);
    }
    struct chat_extra *x = &in->extras[in->n_extras];
    *x = (struct chat_extra){.name = name, .hint = hint};
    if (!json_raw(in->a, v, &x->json, in->e))
        return false;
    in->n_extras++;
    return true;
}

static bool is_known(struct span name, const char *const *known)
{
    for (; *known; known++)
        if (span_eq(name, span_of(*known)))
            return true;
    return false;
}

bool wire_add_inner(struct wire_in *in, const char *prefix, json_val *v, const char *const *known,
                    bool hint)
{
    struct span key;
    json_val *x;
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);) {
        if (json_is_null(x) || is_known(key, known))
            continue;
        struct span name = arena_printf(in->a, "%s.%.*s", prefix, SPAN_ARG(key));
        if (!name.p)
            return wire_no_memory(in->e);
        if (!wire_add_extra(in, name, x, hint))
            return false;
    }
    return true;
}

bool wire_read_model(struct wire_in *in, json_val *v)
{
    if (!json_is_str(v) || json_str(v).n == 0)
        return wire_bad_key(NULL, "model", in->e, "must be the name of a model (GET /v1/models)");
    in->r->model = json_str(v);
    return true;
}

bool wire_read_stream(struct wire_in *in, json_val *v)
{
    if (!json_is_bool(v))
        return wire_bad_type(in, "stream", v, "true or false");
    in->r->stream = json_true(v);
    return true;
}

static const struct wire_field *find_field(const struct wire_field *fields, size_t n,
                                           struct span name)
{
    for (size_t i = 0; i < n; i++)
        if (span_eq(fields[i].name, name))
            return &fields[i];
    return NULL;
}

static bool read_number(struct wire_in *in, const struct wire_field *f, json_val *v)
{
    double x;
    if (!json_f64(v, &x) || x < f->min || x > f->max)
        return wire_bad_key(NULL, f->name.p, in->e, "must be a number from %g to %g", f->min,
                            f->max);
    *(struct span *)(void *)((char *)in->r + f->at) = json_num_text(v);
    return true;
}

static bool read_field(struct wire_in *in, const struct wire_field *f, json_val *v)
{
    char *at = (char *)in->r + f->at;
    switch (f->how) {
    case OWN:
        return f->read(in, v);
    case NUMBER:
        return read_number(in, f, v);
    case FLAG:
        if (!json_is_bool(v))
            return wire_bad_type(in, f->name.p, v, "true or false");
        *(int8_t *)at = json_true(v);
        return true;
    case STRING:
        if (!json_is_str(v))
            return wire_bad_type(in, f->name.p, v, "a string");
        *(struct span *)(void *)at = json_str(v);
        return true;
    case OBJECT:
        return json_is_obj(v) ? json_raw(in->a, v, (struct span *)(void *)at, in->e)
                              : wire_bad_type(in, f->name.p, v, "an object");
    case KEEP:
        return wire_add_extra(in, f->name, v, f->cls == HINT);
    case REFUSE:
        return wire_bad_key(NULL, f->name.p, in->e, "%s", f->why);
    }
    return true;
}

bool wire_read_fields(struct wire_in *in, json_val *root, const struct wire_field *fields, size_t n)
{
    struct span key;
    json_val *v;
    for (struct json_iter it = json_iter_of(root); json_next(&it, &key, &v);) {
        const struct wire_field *f = json_is_null(v) ? NULL : find_field(fields, n, key);
        if (f ? !read_field(in, f, v) : !json_is_null(v) && !wire_add_extra(in, key, v, false))
            return false;
    }
    return true;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* A key that is no C string. */
static void write_key(struct json_w *w, struct span name)
{
    json_w_str(w, name);
    w->failed = w->failed || !buf_add_char(w->b, ':', w->e);
    w->comma = false;
}

static bool stood_in(const struct chat_extra *x, struct span prefix)
{
    return x->name.n > prefix.n + 1 && span_starts(x->name, prefix) && x->name.p[prefix.n] == '.';
}

static bool is_inner(const struct chat_extra *x, const char *const *inner)
{
    for (; inner && *inner; inner++)
        if (stood_in(x, span_of(*inner)))
            return true;
    return false;
}

struct span wire_shown_name(const struct chat_extra *x, char out[static WIRE_SHOWN_BYTES])
{
    text_visible_cstr(out, WIRE_SHOWN_BYTES, x->name);
    return span_of(out);
}

bool wire_write_extras(struct json_w *w, const struct chat_extra *extras, size_t n,
                       const struct wire_path *at, bool same, const char *const *inner,
                       struct dialect_notes *notes, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        const struct chat_extra *x = &extras[i];
        bool dotted = span_find(x->name, ".") < x->name.n;
        if (same && is_inner(x, inner))
            continue;
        if (x->hint && (!same || dotted)) {
            wire_note(notes, x->name);
            continue;
        }
        if (!same) {
            char name[WIRE_SHOWN_BYTES];
            return wire_bad_key(at, wire_shown_name(x, name).p, e,
                                "is a field that the upstream of this model does not "
                                "know: leave it out");
        }
        write_key(w, x->name);
        json_w_raw(w, x->json);
    }
    return true;
}

void wire_write_inner(struct json_w *w, const struct chat_extra *extras, size_t n,
                      struct span prefix)
{
    for (size_t i = 0; i < n; i++)
        if (stood_in(&extras[i], prefix)) {
            write_key(w, span_from(extras[i].name, prefix.n + 1));
            json_w_raw(w, extras[i].json);
        }
}

bool wire_has_inner(const struct chat_extra *extras, size_t n, struct span prefix)
{
    for (size_t i = 0; i < n; i++)
        if (stood_in(&extras[i], prefix))
            return true;
    return false;
}
