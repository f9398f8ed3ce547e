/* json/schema.c - see json/schema.h: compiles a schema's document. Every value that stands where a
 * subschema may stand becomes a node; then the references are connected (schema_ref.c). */
#include "json/schema.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"
#include "json/schema_priv.h"

/* --- keywords --------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum schema_keyword kw;
} keywords[] = {
    {"type", KW_TYPE},
    {"properties", KW_PROPERTIES},
    {"required", KW_REQUIRED},
    {"additionalProperties", KW_ADDITIONAL_PROPERTIES},
    {"description", KW_NOTE},
    {"title", KW_NOTE},
    {"items", KW_ITEMS},
    {"enum", KW_ENUM},
    {"const", KW_CONST},
    {"anyOf", KW_ANY_OF},
    {"allOf", KW_ALL_OF},
    {"oneOf", KW_ONE_OF},
    {"not", KW_NOT},
    {"if", KW_IF},
    {"then", KW_THEN},
    {"else", KW_ELSE},
    {"$schema", KW_SCHEMA},
    {"$id", KW_ID},
    {"$anchor", KW_ANCHOR},
    {"$dynamicAnchor", KW_DYNAMIC_ANCHOR},
    {"$ref", KW_REF},
    {"$dynamicRef", KW_DYNAMIC_REF},
    {"$defs", KW_DEFS},
    {"definitions", KW_DEFINITIONS}, /* its name before 2019-09 */
    {"multipleOf", KW_MULTIPLE_OF},
    {"maximum", KW_MAXIMUM},
    {"exclusiveMaximum", KW_EXCLUSIVE_MAXIMUM},
    {"minimum", KW_MINIMUM},
    {"exclusiveMinimum", KW_EXCLUSIVE_MINIMUM},
    {"maxLength", KW_MAX_LENGTH},
    {"minLength", KW_MIN_LENGTH},
    {"pattern", KW_PATTERN},
    {"format", KW_FORMAT},
    {"maxItems", KW_MAX_ITEMS},
    {"minItems", KW_MIN_ITEMS},
    {"uniqueItems", KW_UNIQUE_ITEMS},
    {"prefixItems", KW_PREFIX_ITEMS},
    {"contains", KW_CONTAINS},
    {"minContains", KW_MIN_CONTAINS},
    {"maxContains", KW_MAX_CONTAINS},
    {"maxProperties", KW_MAX_PROPERTIES},
    {"minProperties", KW_MIN_PROPERTIES},
    {"dependentRequired", KW_DEPENDENT_REQUIRED},
    {"patternProperties", KW_PATTERN_PROPERTIES},
    {"propertyNames", KW_PROPERTY_NAMES},
    {"dependentSchemas", KW_DEPENDENT_SCHEMAS},
    {"unevaluatedItems", KW_UNEVALUATED_ITEMS},
    {"unevaluatedProperties", KW_UNEVALUATED_PROPERTIES},
    /* annotations of 2020-12 */
    {"$comment", KW_NOTE},
    {"$vocabulary", KW_NOTE}, /* of meta-schemas: to be ignored elsewhere */
    {"default", KW_NOTE},
    {"deprecated", KW_NOTE},
    {"readOnly", KW_NOTE},
    {"writeOnly", KW_NOTE},
    {"examples", KW_NOTE},
    {"contentEncoding", KW_NOTE},
    {"contentMediaType", KW_NOTE},
    {"contentSchema", KW_NOTE},
    /* of generators of schemas, without meaning for what is valid */
    {"example", KW_NOTE},
    {"markdownDescription", KW_NOTE},
    {"enumNames", KW_NOTE},
    {"enumDescriptions", KW_NOTE},
    {"propertyOrdering", KW_NOTE},
};

enum schema_keyword schema_keyword_find(struct span name)
{
    for (size_t i = 0; i < COUNT_OF(keywords); i++)
        if (span_eq(name, span_of(keywords[i].name)))
            return keywords[i].kw;
    return span_starts(name, SPAN("x-")) ? KW_NOTE : KW_UNKNOWN;
}

/* --- errors ----------------------------------------------------------------------------------- */

bool schema_bad(struct schema_compiler *c, json_val *at, const char *fmt, ...)
{
    char place[512], why[256];
    const char *prefix = c->opts->prefix ? c->opts->prefix : "";
    size_t n = (size_t)snprintf(place, 128, "%s", prefix);
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    n = n < 127 ? n : 127;
    place[n] = '.';
    json_path_of(c->root, at, place + n + 1, sizeof place - n - 1);
    if (place[n + 1] == '\0' || place[n + 1] == '[') /* the root; an item has no dot before it */
        memmove(place + n, place + n + 1, strlen(place + n + 1) + 1);
    else if (n == 0)
        memmove(place, place + 1, strlen(place));
    struct span shown = text_upto(span_of(place), 100);
    return err_field(c->e, place, "%s (at %.*s%s)", why, SPAN_ARG(shown),
                     shown.n < strlen(place) ? "..."
                     : shown.n == 0          ? "the schema's root"
                                             : "");
}

bool schema_no_memory(struct schema_compiler *c)
{
    return err_set(c->e, ERR_NOMEM, "out of memory for a JSON schema");
}

/* --- one subschema ---------------------------------------------------------------------------- */

struct schema_rule *schema_rule_add(struct schema_draft *d, enum schema_rule_kind kind)
{
    struct schema_rule *r = &d->rules[d->n++];
    r->kind = kind;
    return r;
}

static bool read_keywords(struct schema_compiler *c, struct schema_draft *d, json_val *v)
{
    struct json_iter it = json_iter_of(v);
    struct span key;
    json_val *val;
    while (json_next(&it, &key, &val)) {
        enum schema_keyword kw = schema_keyword_find(key);
        if (kw == KW_UNKNOWN)
            return schema_bad(c, val,
                              "the keyword \"%.*s\" is not supported: it would not be enforced",
                              SPAN_ARG(text_upto(key, 60)));
        if (kw != KW_NOTE)
            d->kw[kw] = val;
    }
    return true;
}

/* Older drafts are read as 2020-12: what means something else there is refused by name or by type.
 */
static bool check_dialect(struct schema_compiler *c, json_val *v)
{
    static const char *const known[] = {"https://json-schema.org/draft/2020-12/schema",
                                        "https://json-schema.org/draft/2019-09/schema",
                                        "http://json-schema.org/draft-07/schema",
                                        "http://json-schema.org/draft-06/schema",
                                        "http://json-schema.org/draft-04/schema",
                                        "http://json-schema.org/schema"};
    struct span uri = json_str(v);
    if (!v)
        return true;
    if (span_ends(uri, SPAN("#")))
        uri.n--;
    for (size_t i = 0; uri.p && i < COUNT_OF(known); i++) {
        struct span want = span_of(known[i]);
        if (span_starts(uri, SPAN("https:")) && span_starts(want, SPAN("http:"))
                ? span_eq(span_from(uri, 6), span_from(want, 5))
                : span_eq(uri, want))
            return true;
    }
    return schema_bad(c, v, "\"$schema\" is not supported: only JSON Schema 2020-12 is");
}

static bool add_names(struct schema_compiler *c, struct schema_draft *d, json_val *v)
{
    if (d->kw[KW_ID] && v != c->root && !schema_add_resource(c, v, d->kw[KW_ID], &d->resource))
        return false;
    d->node->resource = d->resource;
    if (d->kw[KW_ANCHOR] && !schema_add_anchor(c, d->resource, v, d->kw[KW_ANCHOR], false))
        return false;
    return !d->kw[KW_DYNAMIC_ANCHOR] ||
           schema_add_anchor(c, d->resource, v, d->kw[KW_DYNAMIC_ANCHOR], true);
}

/* Rules that stand for one member of a keyword's object: those keywords make one each. */
static size_t extra_rules(const struct schema_draft *d)
{
    return json_count(d->kw[KW_DEPENDENT_REQUIRED]) + json_count(d->kw[KW_DEPENDENT_SCHEMAS]);
}

static bool compile_object(struct schema_compiler *c, json_val *v, struct schema_resource *in,
                           struct schema_node *node)
{
    struct schema_draft d = {.node = node, .resource = in};
    if (!read_keywords(c, &d, v) || !check_dialect(c, d.kw[KW_SCHEMA]) || !add_names(c, &d, v))
        return false;
    d.rules = arena_array(c->a, json_count(v) + extra_rules(&d) + 1, sizeof *d.rules);
    if (!d.rules)
        return schema_no_memory(c);
    if (!schema_add_scalars(c, &d) || !schema_add_applicators(c, &d))
        return false;
    node->rules = d.rules;
    node->n_rules = d.n;
    node->collects = d.kw[KW_UNEVALUATED_ITEMS] || d.kw[KW_UNEVALUATED_PROPERTIES];
    node->kind = d.n > 0 ? NODE_RULES : NODE_ANYTHING;
    return true;
}

/* As deep as the parser lets in. */
bool schema_compile(struct schema_compiler *c, json_val *v, struct schema_resource *in,
                    const struct schema_node **out)
{
    if (!json_is_obj(v) && !json_is_bool(v))
        return schema_bad(c, v, "a schema must be an object or a boolean, not %s %s",
                          json_is_arr(v) ? "an" : "a", json_type_name(v));
    struct schema_node *node = arena_alloc(c->a, sizeof *node);
    if (!node)
        return schema_no_memory(c);
    *node = (struct schema_node){
        .kind = json_true(v) ? NODE_ANYTHING : NODE_NOTHING, .resource = in, .at = v};
    c->nodes[v - c->root] = node;
    *out = node;
    return json_is_bool(v) || compile_object(c, v, in, node);
}

/* --- public ----------------------------------------------------------------------------------- */

const struct schema *schema_new(struct arena *a, json_val *root, const struct schema_opts *o,
                                struct err *e)
{
    struct schema_compiler c = {.a = a,
                                .opts = o,
                                .e = e,
                                .root = root,
                                .n_values = (size_t)(unsafe_yyjson_get_next(root) - root),
                                .steps = LIMIT_SCHEMA_STEPS};
    struct schema_resource *in = NULL;
    if (c.n_values > LIMIT_SCHEMA_VALUES)
        return schema_bad(&c, root, "the schema has more than %zu values", LIMIT_SCHEMA_VALUES),
               NULL;
    c.schema = arena_alloc(a, sizeof *c.schema);
    c.nodes = arena_array(a, c.n_values, sizeof(struct schema_node *));
    if (!c.schema || !c.nodes)
        return schema_no_memory(&c), NULL;
    c.schema->root_val = root;
    if (!schema_add_resource(&c, root, json_get(root, "$id"), &in) ||
        !schema_compile(&c, root, in, &c.schema->root) || !schema_connect(&c))
        return NULL;
    return c.schema;
}
