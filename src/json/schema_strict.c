/* json/schema_strict.c - the subset of JSON Schema that `strict: true` promises: OpenAI's, with its
 * limits. Asked before schema_new() or after it; this file looks at the document only. Keywords
 * that OpenAI neither lists as supported nor as unsupported pass here: an upstream may refuse them.
 */
#include "base/text.h"
#include "json/schema_priv.h"

#define MAX_PROPERTIES 5000
#define MAX_LEVELS     10
#define MAX_NAME_CHARS 120000
#define MAX_ENUM       1000
#define LARGE_ENUM     250
#define MAX_ENUM_CHARS 15000

struct strict {
    struct schema_compiler c; /* for errors */
    size_t n_properties, n_enum, chars;
};

static size_t chars_of(struct span s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

static bool add_chars(struct strict *s, json_val *at, size_t n)
{
    s->chars += n;
    if (s->chars <= MAX_NAME_CHARS)
        return true;
    return schema_bad(&s->c, at,
                      "strict: names, enum and const values have more than %d characters together",
                      MAX_NAME_CHARS);
}

static bool check_enum(struct strict *s, json_val *v)
{
    struct json_iter it = json_iter_of(v);
    json_val *one;
    size_t chars = 0;
    s->n_enum += json_count(v);
    if (s->n_enum > MAX_ENUM)
        return schema_bad(&s->c, v, "strict: the schema has more than %d enum values", MAX_ENUM);
    while (json_next(&it, NULL, &one))
        chars += chars_of(json_str(one));
    if (json_count(v) > LARGE_ENUM && chars > MAX_ENUM_CHARS)
        return schema_bad(&s->c, v,
                          "strict: an enum of more than %d values has more than %d characters",
                          LARGE_ENUM, MAX_ENUM_CHARS);
    return add_chars(s, v, chars);
}

static bool has_type(json_val *schema, const char *name)
{
    json_val *type = json_get(schema, "type"), *one;
    struct json_iter it = json_iter_of(type);
    if (span_eq(json_str(type), span_of(name)))
        return true;
    while (json_is_arr(type) && json_next(&it, NULL, &one))
        if (span_eq(json_str(one), span_of(name)))
            return true;
    return false;
}

/* Each property is required, and nothing else is: two sorted lists are the same. */
static bool check_required(struct strict *s, json_val *schema)
{
    json_val *props = json_get(schema, "properties"), *required = json_get(schema, "required");
    size_t n = json_count(props), m = json_count(required), i = 0, k = 0;
    struct json_member *a = arena_array(s->c.a, n, sizeof *a);
    struct json_member *b = arena_array(s->c.a, m, sizeof *b);
    if (!a || !b)
        return schema_no_memory(&s->c);
    struct json_iter it = json_iter_of(props);
    for (; i < n && json_next(&it, &a[i].key, &a[i].val); i++)
        continue;
    it = json_iter_of(required);
    for (; k < m && json_next(&it, NULL, &b[k].val); k++)
        b[k].key = json_is_str(b[k].val) ? json_str(b[k].val) : SPAN("");
    json_sort_members(a, n);
    json_sort_members(b, m);
    for (i = k = 0; i < n; i++) {
        while (k < m && span_cmp(b[k].key, a[i].key) < 0)
            k++;
        if (k == m || !span_eq(b[k].key, a[i].key))
            return schema_bad(
                &s->c, a[i].val,
                "strict: every property must be in \"required\" (make it optional with "
                "a union with null)");
    }
    for (i = k = 0; k < m; k++) {
        while (i < n && span_cmp(a[i].key, b[k].key) < 0)
            i++;
        if (i == n || !span_eq(a[i].key, b[k].key))
            return schema_bad(&s->c, b[k].val, "strict: \"required\" names no property");
    }
    return true;
}

static bool check_object(struct strict *s, json_val *schema)
{
    json_val *props = json_get(schema, "properties");
    json_val *additional = json_get(schema, "additionalProperties");
    struct json_iter it = json_iter_of(props);
    struct span key;
    json_val *val;
    size_t chars = 0;
    if (!json_is_bool(additional) || json_true(additional))
        return schema_bad(&s->c, additional ? additional : schema,
                          "strict: every object needs \"additionalProperties\": false");
    s->n_properties += json_count(props);
    if (s->n_properties > MAX_PROPERTIES)
        return schema_bad(&s->c, schema, "strict: the schema has more than %d properties",
                          MAX_PROPERTIES);
    while (json_next(&it, &key, &val))
        chars += chars_of(key);
    return add_chars(s, schema, chars) && check_required(s, schema);
}

static bool check_schema(struct strict *s, json_val *schema, unsigned level);

/* v holds schemas: one, an array of them, or an object of them. */
static bool check_inside(struct strict *s, enum schema_keyword kw, json_val *v, unsigned level)
{
    struct json_iter it = json_iter_of(v);
    struct span key;
    json_val *one;
    size_t chars = 0;
    bool one_schema = kw == KW_ITEMS || kw == KW_ADDITIONAL_PROPERTIES || kw == KW_CONTAINS ||
                      kw == KW_PROPERTY_NAMES || kw == KW_UNEVALUATED_ITEMS ||
                      kw == KW_UNEVALUATED_PROPERTIES;
    bool list = kw == KW_ANY_OF || kw == KW_ONE_OF || kw == KW_PREFIX_ITEMS;
    bool defs = kw == KW_DEFS || kw == KW_DEFINITIONS;
    if (one_schema)
        return check_schema(s, v, level);
    if (!list && !defs && kw != KW_PROPERTIES && kw != KW_PATTERN_PROPERTIES)
        return true;
    while (json_next(&it, &key, &one)) {
        chars += defs ? chars_of(key) : 0;
        if (!check_schema(s, one, defs ? 0 : level))
            return false;
    }
    return add_chars(s, v, chars);
}

static bool check_keyword(struct strict *s, struct span name, json_val *v, unsigned level)
{
    enum schema_keyword kw = schema_keyword_find(name);
    switch ((unsigned)kw) {
    case KW_ALL_OF:
    case KW_NOT:
    case KW_IF:
    case KW_THEN:
    case KW_ELSE:
    case KW_DEPENDENT_REQUIRED:
    case KW_DEPENDENT_SCHEMAS:
        return schema_bad(&s->c, v, "strict: \"%.*s\" is not in the subset of strict schemas",
                          SPAN_ARG(name));
    case KW_ENUM:
        return check_enum(s, v);
    case KW_CONST:
        return add_chars(s, v, chars_of(json_str(v)));
    default: /* the others are about what they hold */
        return check_inside(s, kw, v, level);
    }
}

/* As deep as the parser lets in. level: of objects around this schema. */
static bool check_schema(struct strict *s, json_val *schema, unsigned level)
{
    struct json_iter it = json_iter_of(schema);
    struct span key;
    json_val *val;
    bool object = has_type(schema, "object") || json_get(schema, "properties");
    if (!json_is_obj(schema))
        return true; /* a boolean; anything else is refused by schema_new() */
    level += object;
    if (level > MAX_LEVELS)
        return schema_bad(&s->c, schema, "strict: more than %d objects in objects", MAX_LEVELS);
    if (object && !check_object(s, schema))
        return false;
    while (json_next(&it, &key, &val))
        if (!check_keyword(s, key, val, level))
            return false;
    return true;
}

bool schema_strict_check(json_val *root, const char *prefix, struct err *e)
{
    struct schema_opts o = {.prefix = prefix};
    AUTO(arena) a = arena_new(0);
    struct strict s = {.c = {.a = a, .opts = &o, .e = e, .root = root}};
    if (!a)
        return schema_no_memory(&s.c);
    if (!span_eq(json_str(json_get(root, "type")), SPAN("object")) || json_get(root, "anyOf"))
        return schema_bad(&s.c, root,
                          "strict: the root must have \"type\": \"object\" and no \"anyOf\"");
    return check_schema(&s, root, 0);
}
