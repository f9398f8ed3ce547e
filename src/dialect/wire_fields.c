/* dialect/wire_fields.c - see dialect/wire_fields.h. */
#include "dialect/wire_fields.h"

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
    void *at = (char *)in->r + f->at;
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
        *(struct span *)at = json_str(v);
        return true;
    case OBJECT:
        if (!json_is_obj(v))
            return wire_bad_type(in, f->name.p, v, "an object");
        return json_raw(in->a, v, at, in->e);
    case KEEP:
        return wire_add_extra(in, f->name, v, f->cls == HINT);
    case REFUSE:
        return wire_bad_key(NULL, f->name.p, in->e, "%s", f->why);
    }
    return true;
}

bool wire_read_fields(struct wire_in *in, json_val *root, const struct wire_field *fields,
                      size_t n_fields)
{
    struct span key;
    json_val *v;
    for (struct json_iter it = json_iter_of(root); json_next(&it, &key, &v);) {
        size_t i = 0;
        if (json_is_null(v))
            continue;
        while (i < n_fields && !span_eq(fields[i].name, key))
            i++;
        if (i < n_fields ? !read_field(in, &fields[i], v) : !wire_add_extra(in, key, v, false))
            return false;
    }
    return true;
}
