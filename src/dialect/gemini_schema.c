/* dialect/gemini_schema.c - JSON Schema as Gemini reads it, for `parametersJsonSchema` and
 * `responseJsonSchema`.
 *
 * Chosen over the older `parameters` and `responseSchema`, which know a subset of OpenAPI 3.0 and
 * answer any other keyword with a 400: these two take JSON Schema itself, so the least is lost. Of
 * it $id, $defs, $ref, $anchor, type, format, title, description, enum (strings and numbers),
 * items, prefixItems, minItems, maxItems, minimum, maximum, anyOf, oneOf (as anyOf), properties,
 * additionalProperties, required and propertyOrdering are read, others ignored; beside a $ref only
 * names with a $ may stand (ai.google.dev/api/generate-content, GenerationConfig). So all is passed
 * on but for what has an equal in that list:
 *   const: "x"                        -> enum: ["x"]
 *   $ref beside other keywords        -> anyOf: [{$ref}] beside them
 *   allOf with one schema             -> anyOf
 *   definitions, #/definitions/...    -> $defs, #/$defs/...
 *   $schema                           -> nothing: it says which JSON Schema, and there is one
 * A keyword that constrains values and is not in the list is listed as left out. */
#include "base/limits.h"
#include "dialect/gemini_priv.h"

struct walk {
    struct gem_out *o;
    const struct gem_schema *root; /* NULL below the root */
    bool rename;                   /* definitions become $defs */
    unsigned depth;
};

static bool write_schema(struct walk k, json_val *v);

static void key_span(struct walk *k, struct span key)
{
    struct json_w *w = k->o->w;
    json_w_str(w, key);
    w->failed = w->failed || !buf_add_char(w->b, ':', w->e);
    w->comma = false;
}

/* Any value, in which no schema is. */
static void verbatim(struct walk *k, json_val *v)
{
    struct json_w *w = k->o->w;
    json_w_raw(w, SPAN("")); /* the comma before it */
    w->failed = w->failed || !json_write_val(w->b, v, w->e);
}

static bool each_member(struct walk k, json_val *v)
{
    struct span key;
    json_val *x;
    json_w_obj(k.o->w);
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);) {
        key_span(&k, key);
        if (!write_schema(k, x))
            return false;
    }
    json_w_obj_end(k.o->w);
    return true;
}

static bool each_item(struct walk k, json_val *v)
{
    struct span key;
    json_val *x;
    json_w_arr(k.o->w);
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);)
        if (!write_schema(k, x))
            return false;
    json_w_arr_end(k.o->w);
    return true;
}

/* Where schemas stand below a keyword. Not in the table: no schema, and Gemini reads it. */
static const struct {
    struct span name;
    enum { VALUE, SCHEMA, MAP, LIST } holds;
    bool ignored; /* by Gemini, and it constrains what is written */
} keywords[] = {
    {SPAN_INIT("properties"), MAP, false},
    {SPAN_INIT("$defs"), MAP, false},
    {SPAN_INIT("definitions"), MAP, false},
    {SPAN_INIT("items"), SCHEMA, false},
    {SPAN_INIT("additionalProperties"), SCHEMA, false},
    {SPAN_INIT("prefixItems"), LIST, false},
    {SPAN_INIT("anyOf"), LIST, false},
    {SPAN_INIT("oneOf"), LIST, false},
    {SPAN_INIT("allOf"), LIST, true},
    {SPAN_INIT("not"), SCHEMA, true},
    {SPAN_INIT("if"), SCHEMA, true},
    {SPAN_INIT("then"), SCHEMA, true},
    {SPAN_INIT("else"), SCHEMA, true},
    {SPAN_INIT("contains"), SCHEMA, true},
    {SPAN_INIT("propertyNames"), SCHEMA, true},
    {SPAN_INIT("patternProperties"), MAP, true},
    {SPAN_INIT("dependentSchemas"), MAP, true},
    {SPAN_INIT("dependentRequired"), VALUE, true},
    {SPAN_INIT("const"), VALUE, true},
    {SPAN_INIT("pattern"), VALUE, true},
    {SPAN_INIT("minLength"), VALUE, true},
    {SPAN_INIT("maxLength"), VALUE, true},
    {SPAN_INIT("exclusiveMinimum"), VALUE, true},
    {SPAN_INIT("exclusiveMaximum"), VALUE, true},
    {SPAN_INIT("multipleOf"), VALUE, true},
    {SPAN_INIT("uniqueItems"), VALUE, true},
    {SPAN_INIT("minProperties"), VALUE, true},
    {SPAN_INIT("maxProperties"), VALUE, true},
};

/* The value of a keyword. */
static bool write_below(struct walk k, struct span key, json_val *v)
{
    size_t i = 0;
    k.root = NULL;
    k.depth++;
    while (i < COUNT_OF(keywords) && !span_eq(keywords[i].name, key))
        i++;
    int holds = i < COUNT_OF(keywords) ? (int)keywords[i].holds : (int)VALUE;
    if (i < COUNT_OF(keywords) && keywords[i].ignored)
        wire_note(k.o->notes, keywords[i].name);
    if (json_is_obj(v) && holds == MAP)
        return each_member(k, v);
    if (json_is_arr(v) && (holds == LIST || holds == SCHEMA)) /* items: [...] of older drafts */
        return each_item(k, v);
    if (json_is_obj(v) && holds == SCHEMA)
        return write_schema(k, v);
    verbatim(&k, v);
    return true;
}

static void write_ref(struct walk *k, struct span ref)
{
    static const struct span old = SPAN_INIT("#/definitions/");
    struct json_w *w = k->o->w;
    struct buf renamed;
    json_w_key(w, "$ref");
    if (!k->rename || !span_starts(ref, old)) {
        json_w_str(w, ref);
        return;
    }
    buf_init(&renamed, ref.n + 1);
    w->failed = w->failed || !buf_add(&renamed, SPAN("#/$defs/"), w->e) ||
                !buf_add(&renamed, span_from(ref, old.n), w->e);
    json_w_str(w, buf_span(&renamed));
    buf_done(&renamed);
}

/* {"anyOf": [{"$ref": ...}]} without the braces around. */
static void write_wrapped_ref(struct walk *k, struct span ref)
{
    struct json_w *w = k->o->w;
    json_w_key(w, "anyOf");
    json_w_arr(w);
    json_w_obj(w);
    write_ref(k, ref);
    json_w_obj_end(w);
    json_w_arr_end(w);
}

/* Keywords that may not stand beside a $ref; with an anyOf among them there is no other place. */
static bool must_wrap(struct walk *k, json_val *v)
{
    struct span key;
    json_val *x;
    bool others = k->root && (k->root->object || k->root->title.p || k->root->description.p);
    if (json_get(v, "anyOf"))
        return false;
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);)
        others = others || key.n == 0 || key.p[0] != '$';
    return others;
}

static bool write_keyword(struct walk *k, json_val *v, struct span key, json_val *x)
{
    struct json_w *w = k->o->w;
    bool alone = !json_get(v, "anyOf");
    if (span_eq(key, SPAN("$schema")))
        return true;
    if (span_eq(key, SPAN("$ref")) && json_is_str(x)) {
        if (must_wrap(k, v))
            write_wrapped_ref(k, json_str(x));
        else
            write_ref(k, json_str(x));
        return true;
    }
    if (span_eq(key, SPAN("const")) && (json_is_str(x) || json_is_num(x)) && !json_get(v, "enum")) {
        json_w_key(w, "enum");
        json_w_arr(w);
        verbatim(k, x);
        json_w_arr_end(w);
        return true;
    }
    if (span_eq(key, SPAN("allOf")) && json_is_arr(x) && json_count(x) == 1 && alone &&
        !json_get(v, "$ref"))
        key = SPAN("anyOf");
    if (span_eq(key, SPAN("definitions")) && k->rename && k->root)
        key = SPAN("$defs");
    key_span(k, key);
    return write_below(*k, key, x);
}

static void write_root(struct walk *k, json_val *v)
{
    struct json_w *w = k->o->w;
    if (k->root->object && !json_get(v, "type")) {
        json_w_key(w, "type");
        json_w_str(w, SPAN("object"));
    }
    if (k->root->title.p && !json_get(v, "title")) {
        json_w_key(w, "title");
        json_w_str(w, k->root->title);
    }
    if (k->root->description.p && !json_get(v, "description")) {
        json_w_key(w, "description");
        json_w_str(w, k->root->description);
    }
}

static bool write_schema(struct walk k, json_val *v)
{
    struct span key;
    json_val *x;
    if (k.depth > LIMIT_JSON_DEPTH)
        return err_set(k.o->e, ERR_INPUT, "a schema is nested deeper than %d", LIMIT_JSON_DEPTH);
    if (!json_is_obj(v)) {
        verbatim(&k, v); /* true, false */
        return true;
    }
    json_w_obj(k.o->w);
    if (k.root)
        write_root(&k, v);
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);)
        if (!write_keyword(&k, v, key, x))
            return false;
    json_w_obj_end(k.o->w);
    return true;
}

bool gem_write_schema(struct gem_out *o, const struct gem_schema *s, const struct wire_path *at)
{
    json_val *root;
    struct err why;
    if (!json_parse_scratch(&o->scratch, s->text, &root, &why))
        return why.cls == ERR_NOMEM ? wire_no_memory(o->e)
                                    : wire_bad(at, o->e, "is no JSON Schema: %s", why.msg);
    if (!json_is_obj(root))
        return wire_bad(at, o->e, "must be an object, not %s", json_type_name(root));
    struct walk k = {
        .o = o, .root = s, .rename = json_get(root, "definitions") && !json_get(root, "$defs")};
    return write_schema(k, root);
}
