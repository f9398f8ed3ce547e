/* json/schema_keyword.c - rules of the keywords that hold no subschema. Each is checked for the
 * type that 2020-12 gives it: what older drafts put there (a boolean exclusiveMaximum, ...) is
 * refused. */
#include "base/text.h"
#include "json/schema_priv.h"

/* --- type, enum, const ------------------------------------------------------------------------ */

static unsigned type_of(struct span name)
{
    static const struct {
        const char *name;
        enum schema_type type;
    } types[] = {{"null", TYPE_NULL},      {"boolean", TYPE_BOOLEAN}, {"object", TYPE_OBJECT},
                 {"array", TYPE_ARRAY},    {"number", TYPE_NUMBER},   {"string", TYPE_STRING},
                 {"integer", TYPE_INTEGER}};
    for (size_t i = 0; name.p && i < COUNT_OF(types); i++)
        if (span_eq(name, span_of(types[i].name)))
            return types[i].type;
    return 0;
}

static bool add_type(struct schema_compiler *c, struct schema_draft *d, json_val *v)
{
    struct json_iter it = json_iter_of(v);
    json_val *one;
    unsigned types = type_of(json_str(v));
    while (json_is_arr(v) && json_next(&it, NULL, &one)) {
        unsigned type = type_of(json_str(one));
        if (type == 0)
            return schema_bad(c, one, "not the name of a type");
        types |= type;
    }
    if (types == 0)
        return schema_bad(c, v, "\"type\" must be the name of a type or an array of such names");
    schema_rule_add(d, RULE_TYPE)->types = types;
    return true;
}

static bool is_container(json_val *v)
{
    return json_is_obj(v) || json_is_arr(v);
}

/* n values from `first` on. */
static bool add_values(struct schema_compiler *c, struct schema_draft *d, json_val *first, size_t n,
                       json_val *shown)
{
    struct schema_hashed *h = arena_array(c->a, n, sizeof *h);
    struct schema_rule *r = schema_rule_add(d, RULE_ENUM);
    if (!h)
        return schema_no_memory(c);
    for (size_t i = 0; i < n; i++, first = unsafe_yyjson_get_next(first)) {
        h[i] = (struct schema_hashed){schema_hash(first, &c->steps), first};
        r->containers = r->containers || is_container(first);
    }
    schema_sort(h, n);
    r->values = h;
    r->n_values = n;
    r->shown = shown;
    return true;
}

static bool add_enum(struct schema_compiler *c, struct schema_draft *d, json_val *v)
{
    if (!json_is_arr(v))
        return schema_bad(c, v, "\"enum\" must be an array");
    return add_values(c, d, v + 1, json_count(v), v);
}

/* --- numbers and counts ----------------------------------------------------------------------- */

static bool add_number(struct schema_compiler *c, struct schema_draft *d, json_val *v,
                       enum schema_rule_kind kind)
{
    if (!json_is_num(v))
        return schema_bad(c, v, "must be a number");
    struct schema_number n = schema_number_of(v);
    if (!n.d.exp_fits)
        return schema_bad(c, v, "the exponent is too large");
    if (kind == RULE_MULTIPLE && (n.zero || n.neg))
        return schema_bad(c, v, "\"multipleOf\" must be above 0");
    if (kind == RULE_MULTIPLE && n.n > SCHEMA_DIVISOR_DIGITS)
        return schema_bad(c, v, "\"multipleOf\" with more than %d digits is not supported",
                          SCHEMA_DIVISOR_DIGITS);
    schema_rule_add(d, kind)->number = n;
    return true;
}

bool schema_count_of(struct schema_compiler *c, json_val *v, int64_t *out)
{
    struct schema_number n = {0};
    if (json_is_num(v))
        n = schema_number_of(v);
    if (!json_is_num(v) || !schema_number_whole(&n) || (n.neg && !n.zero))
        return schema_bad(c, v, "must be a whole number that is not negative");
    if (!json_i64(v, out))
        *out = INT64_MAX;
    return true;
}

static bool add_count(struct schema_compiler *c, struct schema_draft *d, json_val *v,
                      enum schema_rule_kind kind)
{
    int64_t n;
    if (!schema_count_of(c, v, &n))
        return false;
    schema_rule_add(d, kind)->limit = n;
    return true;
}

/* --- strings ---------------------------------------------------------------------------------- */

bool schema_add_pattern(struct schema_compiler *c, struct span text, json_val *at,
                        struct schema_pattern *out)
{
    struct err why = {0};
    const struct regex *r = regex_new(c->a, text, &why);
    if (!r && why.cls == ERR_NOMEM)
        return schema_no_memory(c);
    if (!r)
        return schema_bad(c, at, "unsupported pattern: %s", why.msg);
    c->n_insts += regex_size(r);
    if (c->n_insts > LIMIT_SCHEMA_INSTS)
        return schema_bad(c, at, "the patterns of the schema are too large together");
    if (regex_scratch_bytes(r) > c->schema->scratch_bytes)
        c->schema->scratch_bytes = regex_scratch_bytes(r);
    *out = (struct schema_pattern){r, text};
    return true;
}

static bool add_pattern(struct schema_compiler *c, struct schema_draft *d, json_val *v)
{
    if (!json_is_str(v))
        return schema_bad(c, v, "\"pattern\" must be a string");
    struct schema_rule *r = schema_rule_add(d, RULE_PATTERN);
    return schema_add_pattern(c, json_str(v), v, &r->pattern);
}

static bool add_format(struct schema_compiler *c, struct schema_draft *d, json_val *v)
{
    if (!json_is_str(v))
        return schema_bad(c, v, "\"format\" must be a string");
    const struct schema_format *f = c->opts->formats ? schema_format_find(json_str(v)) : NULL;
    if (f)
        schema_rule_add(d, RULE_FORMAT)->format = f;
    return true;
}

/* --- arrays and objects ----------------------------------------------------------------------- */

static bool add_unique(struct schema_compiler *c, struct schema_draft *d, json_val *v)
{
    if (!json_is_bool(v))
        return schema_bad(c, v, "\"uniqueItems\" must be true or false");
    if (json_true(v))
        schema_rule_add(d, RULE_UNIQUE);
    return true;
}

bool schema_strings(struct schema_compiler *c, json_val *v)
{
    struct json_iter it = json_iter_of(v);
    json_val *one;
    if (!json_is_arr(v))
        return schema_bad(c, v, "must be an array of strings");
    while (json_next(&it, NULL, &one))
        if (!json_is_str(one))
            return schema_bad(c, one, "must be a string");
    return true;
}

static bool add_requires(struct schema_compiler *c, struct schema_draft *d, json_val *v)
{
    struct json_iter it = json_iter_of(v);
    struct schema_requires r;
    if (!json_is_obj(v))
        return schema_bad(c, v, "\"dependentRequired\" must be an object");
    while (json_next(&it, &r.name, &r.names)) {
        if (!schema_strings(c, r.names))
            return false;
        schema_rule_add(d, RULE_REQUIRES)->requires = r;
    }
    return true;
}

/* --- all -------------------------------------------------------------------------------------- */

bool schema_add_scalars(struct schema_compiler *c, struct schema_draft *d)
{
    static const struct {
        enum schema_keyword kw;
        enum schema_rule_kind kind;
        bool number;
    } plain[] = {
        {KW_MULTIPLE_OF, RULE_MULTIPLE, true},        {KW_MAXIMUM, RULE_MAXIMUM, true},
        {KW_EXCLUSIVE_MAXIMUM, RULE_BELOW, true},     {KW_MINIMUM, RULE_MINIMUM, true},
        {KW_EXCLUSIVE_MINIMUM, RULE_ABOVE, true},     {KW_MAX_LENGTH, RULE_MAX_LENGTH, false},
        {KW_MIN_LENGTH, RULE_MIN_LENGTH, false},      {KW_MAX_ITEMS, RULE_MAX_ITEMS, false},
        {KW_MIN_ITEMS, RULE_MIN_ITEMS, false},        {KW_MAX_PROPERTIES, RULE_MAX_MEMBERS, false},
        {KW_MIN_PROPERTIES, RULE_MIN_MEMBERS, false},
    };
    json_val **kw = d->kw;
    if ((kw[KW_TYPE] && !add_type(c, d, kw[KW_TYPE])) ||
        (kw[KW_ENUM] && !add_enum(c, d, kw[KW_ENUM])) ||
        (kw[KW_CONST] && !add_values(c, d, kw[KW_CONST], 1, kw[KW_CONST])))
        return false;
    for (size_t i = 0; i < COUNT_OF(plain); i++) {
        json_val *v = kw[plain[i].kw];
        if (v && !(plain[i].number ? add_number(c, d, v, plain[i].kind)
                                   : add_count(c, d, v, plain[i].kind)))
            return false;
    }
    return (!kw[KW_PATTERN] || add_pattern(c, d, kw[KW_PATTERN])) &&
           (!kw[KW_FORMAT] || add_format(c, d, kw[KW_FORMAT])) &&
           (!kw[KW_UNIQUE_ITEMS] || add_unique(c, d, kw[KW_UNIQUE_ITEMS])) &&
           (!kw[KW_DEPENDENT_REQUIRED] || add_requires(c, d, kw[KW_DEPENDENT_REQUIRED]));
}
