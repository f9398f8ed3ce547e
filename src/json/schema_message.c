/* json/schema_message.c - why a value is not valid, for a person and for a model that is to repair
 * it: "at /items/2/price: expected a number of at least 0, found -1". Values are foreign: what is
 * shown of them is short, and err_set() makes it visible. */
#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"
#include "json/schema_priv.h"

struct line {
    char text[360];
    size_t n;
};

static void put(struct line *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void put(struct line *l, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(l->text + l->n, sizeof l->text - l->n, fmt, args);
    va_end(args);
    if (n > 0)
        l->n += (size_t)n < sizeof l->text - l->n ? (size_t)n : sizeof l->text - l->n - 1;
}

/* At most max bytes of foreign text. */
static void put_some(struct line *l, struct span s, size_t max)
{
    struct span shown = text_upto(s, max);
    put(l, "%.*s%s", SPAN_ARG(shown), shown.n < s.n ? "..." : "");
}

/* --- places ----------------------------------------------------------------------------------- */

#define POINTER_BYTES 110

static void put_token(struct line *l, struct span key)
{
    struct span shown = text_upto(key, 40);
    for (size_t i = 0; i < shown.n; i++) {
        if (shown.p[i] == '~' || shown.p[i] == '/')
            put(l, "~%c", shown.p[i] == '~' ? '0' : '1');
        else if (shown.p[i] != '\0')
            put(l, "%c", shown.p[i]);
    }
    put(l, "%s", shown.n < key.n ? "..." : "");
}

/* As json_path_of(), but a JSON pointer. */
static void put_pointer(struct line *l, json_val *root, const json_val *target)
{
    size_t from = l->n;
    if (root == target)
        put(l, "the root");
    for (json_val *v = root; v != target;) {
        struct json_iter it = json_iter_of(v);
        struct span key;
        json_val *child = NULL;
        size_t i = 0;
        while (json_next(&it, &key, &child) && unsafe_yyjson_get_next(child) <= target)
            i++;
        if (l->n - from > POINTER_BYTES) {
            put(l, "/...");
            return;
        }
        put(l, "/");
        if (json_is_obj(v))
            put_token(l, key);
        else
            put(l, "%zu", i);
        v = child;
    }
}

/* --- values ----------------------------------------------------------------------------------- */

static void put_value(struct line *l, json_val *v)
{
    size_t n = json_count(v);
    if (json_is_obj(v)) {
        put(l, "an object of %zu member%s", n, n == 1 ? "" : "s");
    } else if (json_is_arr(v)) {
        put(l, "an array of %zu item%s", n, n == 1 ? "" : "s");
    } else if (json_is_str(v)) {
        put(l, "\"");
        put_some(l, json_str(v), 40);
        put(l, "\"");
    } else if (json_is_num(v)) {
        put_some(l, json_num_text(v), 40);
    } else {
        put(l, json_is_null(v) ? "null" : json_true(v) ? "true" : "false");
    }
}

static void put_types(struct line *l, unsigned types)
{
    static const struct {
        enum schema_type type;
        const char *name;
    } names[] = {{TYPE_OBJECT, "an object"},   {TYPE_ARRAY, "an array"},
                 {TYPE_STRING, "a string"},    {TYPE_NUMBER, "a number"},
                 {TYPE_INTEGER, "an integer"}, {TYPE_BOOLEAN, "a boolean"},
                 {TYPE_NULL, "null"}};
    const char *between = "";
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if ((types & names[i].type) != 0) {
            put(l, "%s%s", between, names[i].name);
            between = " or ";
        }
}

/* The values of enum as far as there is room. */
static void put_choices(struct line *l, const struct schema_rule *rule)
{
    json_val *v = rule->shown, *one;
    struct json_iter it = json_iter_of(v);
    size_t from = l->n, i = 0;
    if (rule->n_values == 1 && rule->values[0].val == v) {
        put_value(l, v);
        return;
    }
    put(l, json_count(v) > 1 ? "one of " : "");
    while (json_next(&it, NULL, &one)) {
        put(l, i++ > 0 ? ", " : "");
        if (l->n - from > 120) {
            put(l, "...");
            return;
        }
        put_value(l, one);
    }
}

static void put_missing(struct line *l, const struct schema_object *o, json_val *v)
{
    struct json_iter it = json_iter_of(o->required);
    json_val *name;
    size_t from = l->n, n = 0;
    while (json_next(&it, NULL, &name) && l->n - from < 80) {
        if (json_get_span(v, json_str(name)))
            continue;
        put(l, n++ > 0 ? ", \"" : "\"");
        put_some(l, json_str(name), 40);
        put(l, "\"");
    }
}

/* --- rules ------------------------------------------------------------------------------------ */

static void put_bound(struct line *l, const char *what, const struct schema_rule *rule, json_val *v)
{
    const struct json_decimal *d = &rule->number.d;
    put(l, "expected a number %s %s", what, d->neg ? "-" : "");
    put_some(l, d->whole, 30);
    if (d->frac.n > 0) {
        put(l, ".");
        put_some(l, d->frac, 20);
    }
    if (d->exp != 0)
        put(l, "e%lld", (long long)d->exp);
    put(l, ", found ");
    put_value(l, v);
}

static void put_limit(struct line *l, const char *at, const struct schema_rule *rule,
                      const char *what, size_t found)
{
    put(l, "expected at %s %lld %s, found %zu", at, (long long)rule->limit, what, found);
}

static size_t code_points(struct span s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

static void put_contains(struct line *l, const struct schema_contains *k)
{
    if (k->max == INT64_MAX)
        put(l, "expected at least %lld item(s) that match `contains`", (long long)k->min);
    else
        put(l, "expected %lld to %lld items that match `contains`", (long long)k->min,
            (long long)k->max);
}

static void put_name(struct line *l, const char *before, struct span name, const char *after)
{
    put(l, "%s\"", before);
    put_some(l, name, 40);
    put(l, "\"%s", after);
}

/* Rules of scalars. */
static void put_scalar_rule(struct line *l, const struct schema_rule *rule, json_val *v)
{
    switch ((unsigned)rule->kind) {
    case RULE_MULTIPLE:
        put_bound(l, "that is a multiple of", rule, v);
        return;
    case RULE_MAXIMUM:
        put_bound(l, "of at most", rule, v);
        return;
    case RULE_BELOW:
        put_bound(l, "below", rule, v);
        return;
    case RULE_MINIMUM:
        put_bound(l, "of at least", rule, v);
        return;
    case RULE_ABOVE:
        put_bound(l, "above", rule, v);
        return;
    case RULE_MAX_LENGTH:
        put_limit(l, "most", rule, "characters", code_points(json_str(v)));
        return;
    case RULE_MIN_LENGTH:
        put_limit(l, "least", rule, "characters", code_points(json_str(v)));
        return;
    case RULE_PATTERN:
        put(l, "expected a string that matches ");
        put_some(l, rule->pattern.text, 80);
        break;
    case RULE_FORMAT:
        put(l, "expected %s", rule->format->what);
        break;
    case RULE_TYPE:
        put(l, "expected ");
        put_types(l, rule->types);
        break;
    default: /* RULE_ENUM: the caller picks these */
        put(l, "expected ");
        put_choices(l, rule);
        break;
    }
    put(l, ", found ");
    put_value(l, v);
}

static void put_rule(struct line *l, const struct schema_rule *rule, json_val *v, json_val *extra)
{
    size_t n = json_count(v);
    switch ((unsigned)rule->kind) {
    case RULE_MAX_ITEMS:
        put_limit(l, "most", rule, "items", n);
        return;
    case RULE_MIN_ITEMS:
        put_limit(l, "least", rule, "items", n);
        return;
    case RULE_MAX_MEMBERS:
        put_limit(l, "most", rule, "properties", n);
        return;
    case RULE_MIN_MEMBERS:
        put_limit(l, "least", rule, "properties", n);
        return;
    case RULE_UNIQUE:
        put(l, "expected items that differ, found twice ");
        put_value(l, extra);
        return;
    case RULE_CONTAINS:
        put_contains(l, &rule->contains);
        return;
    case RULE_MEMBERS:
        put(l, "missing required: ");
        put_missing(l, rule->object, v);
        return;
    case RULE_REQUIRES:
        put_name(l, "missing ", json_str(extra), ", which is required with ");
        put_name(l, "", rule->requires.name, "");
        return;
    case RULE_NAMES:
        put_name(l, "the property name ", json_str(extra), " is not one that is allowed");
        return;
    case RULE_NO_MEMBER:
        put(l, "a property that is not allowed");
        return;
    case RULE_NO_ITEM:
        put(l, "an item that is not allowed");
        return;
    case RULE_NOTHING:
        put(l, "no value is allowed here");
        return;
    case RULE_NOT:
        put(l, "expected a value that does not match `not`, found ");
        put_value(l, v);
        return;
    case RULE_ANY:
    case RULE_ONE:
        put(l, "none of the alternatives matches");
        return;
    case RULE_ONLY_ONE:
        put(l, "more than one alternative of `oneOf` matches");
        return;
    default: /* the rest are about scalars */
        put_scalar_rule(l, rule, v);
    }
}

void schema_say(const struct schema_failure *f, json_val *root, struct err *e)
{
    struct line l = {.n = 0};
    put(&l, "at ");
    if (f->branch) {
        put_pointer(&l, root, f->branch_at);
        put(&l, ": none of the %zu alternatives of `%s` matches; the nearest fails at ",
            f->branch->n_nodes, f->branch->kind == RULE_ANY ? "anyOf" : "oneOf");
    }
    put_pointer(&l, root, f->at);
    put(&l, ": ");
    put_rule(&l, f->rule, f->at, f->extra);
    err_set(e, ERR_INPUT, "%s", l.text);
    err_with_code(e, "schema_violation");
}
