/* json/schema_priv.h - what the files of the validator share: a compiled schema is a graph of nodes
 * (one per subschema), a node is a list of rules (one per keyword, or per keywords that work
 * together).
 *
 * schema.c compiles a document to nodes with the help of schema_keyword.c (scalars) and
 * schema_build.c (what holds subschemas); schema_ref.c connects the references; schema_check.c runs
 * nodes over a value, schema_object.c and schema_array.c those of containers; schema_message.c says
 * what failed. */
#ifndef FUSOR_JSON_SCHEMA_PRIV_H
#define FUSOR_JSON_SCHEMA_PRIV_H

#include "base/limits.h"
#include "json/json_priv.h"
#include "json/regex.h"
#include "json/schema.h"

/* --- numbers and values (schema_value.c) ------------------------------------------------------ */

/* A number by its exact decimal value: 0.DIGITS * 10^point, without zeros at either end. */
struct schema_number {
    bool zero, neg;
    struct json_decimal d;
    size_t first, n; /* the digits that count, in d */
    int64_t point;
};
struct schema_number schema_number_of(json_val *v); /* v is a number */
/* <0, 0, >0 */
int schema_number_cmp(const struct schema_number *a, const struct schema_number *b);
bool schema_number_whole(const struct schema_number *a);
/* by has at most SCHEMA_DIVISOR_DIGITS digits that count and is above 0. */
bool schema_number_divides(const struct schema_number *by, const struct schema_number *a);
#define SCHEMA_DIVISOR_DIGITS 18

/* Equal meaning: numbers by value, objects without order. Takes its steps off *steps. */
bool schema_equal(json_val *a, json_val *b, int64_t *steps);
/* Equal values have equal hashes. */
uint64_t schema_hash(json_val *v, int64_t *steps);

struct schema_hashed {
    uint64_t hash;
    json_val *val;
};
/* By hash, in place, O(n log n). */
void schema_sort(struct schema_hashed *h, size_t n);

/* --- formats (schema_format.c) ---------------------------------------------------------------- */

struct schema_format {
    const char *name, *what; /* what: for messages */
    bool (*check)(struct span s);
};
/* NULL: not one that is asserted. */
const struct schema_format *schema_format_find(struct span name);

/* --- nodes and rules -------------------------------------------------------------------------- */

enum schema_rule_kind {
    RULE_TYPE,     /* types */
    RULE_ENUM,     /* values: also const */
    RULE_MULTIPLE, /* number; so the next four */
    RULE_MAXIMUM,
    RULE_BELOW, /* exclusiveMaximum */
    RULE_MINIMUM,
    RULE_ABOVE,      /* exclusiveMinimum */
    RULE_MAX_LENGTH, /* limit; so the next one */
    RULE_MIN_LENGTH,
    RULE_PATTERN,   /* pattern */
    RULE_FORMAT,    /* format */
    RULE_MAX_ITEMS, /* limit; so the next three */
    RULE_MIN_ITEMS,
    RULE_MAX_MEMBERS,
    RULE_MIN_MEMBERS,
    RULE_UNIQUE,
    RULE_REQUIRES,     /* requires: dependentRequired, one per property */
    RULE_ITEMS,        /* items: prefixItems, items */
    RULE_CONTAINS,     /* contains, with minContains and maxContains */
    RULE_MEMBERS,      /* object: properties, patternProperties, additionalProperties, required */
    RULE_NAMES,        /* node: propertyNames */
    RULE_WHEN_PRESENT, /* when: dependentSchemas, one per property */
    RULE_REF,          /* node */
    RULE_DYNAMIC_REF,  /* dynamic */
    RULE_ALL,          /* nodes; so the next two */
    RULE_ANY,
    RULE_ONE,
    RULE_NOT,           /* node */
    RULE_IF,            /* cond */
    RULE_OTHER_ITEMS,   /* node: unevaluatedItems */
    RULE_OTHER_MEMBERS, /* node: unevaluatedProperties */
    /* of no schema, for messages */
    RULE_NOTHING,   /* the schema false */
    RULE_NO_MEMBER, /* additionalProperties or unevaluatedProperties: false */
    RULE_NO_ITEM,   /* items or unevaluatedItems: false */
    RULE_ONLY_ONE,  /* oneOf, and several match */
};

enum schema_type {
    TYPE_NULL = 1,
    TYPE_BOOLEAN = 2,
    TYPE_OBJECT = 4,
    TYPE_ARRAY = 8,
    TYPE_NUMBER = 16,
    TYPE_STRING = 32,
    TYPE_INTEGER = 64
};

struct schema_node;

struct schema_pattern {
    const struct regex *regex;
    struct span text;
};
struct schema_items {
    const struct schema_node **prefix; /* n */
    size_t n;
    const struct schema_node *rest; /* NULL: anything */
};
struct schema_contains {
    const struct schema_node *node;
    int64_t min, max;
};
struct schema_property {
    struct span name;
    const struct schema_node *node; /* NULL: only required */
    bool required;
};
struct schema_pattern_property {
    struct schema_pattern pattern;
    const struct schema_node *node;
};
struct schema_object {
    const struct schema_property *props; /* by name */
    size_t n, n_required;
    json_val *required; /* the array, for messages; NULL: none */
    const struct schema_pattern_property *patterns;
    size_t n_patterns;
    const struct schema_node *additional; /* NULL: anything */
};
struct schema_requires {
    struct span name;
    json_val *names; /* array of strings */
};
struct schema_when {
    struct span name;
    const struct schema_node *node;
};
struct schema_dynamic {
    struct span anchor;
    const struct schema_node *node; /* when nothing outside has the anchor */
};
struct schema_cond {
    const struct schema_node *test, *yes, *no; /* the last two may be NULL */
};

struct schema_rule {
    enum schema_rule_kind kind;
    union {
        unsigned types;
        struct {
            const struct schema_hashed *values; /* by hash */
            size_t n_values;
            bool containers; /* one of them is an object or an array */
            json_val *shown; /* the keyword's value */
        };
        struct schema_number number;
        int64_t limit;
        struct schema_pattern pattern;
        const struct schema_format *format;
        struct schema_requires requires;
        struct schema_items items;
        struct schema_contains contains;
        const struct schema_object *object;
        const struct schema_node *node;
        struct schema_when when;
        struct schema_dynamic dynamic;
        struct {
            const struct schema_node **nodes;
            size_t n_nodes;
        };
        struct schema_cond cond;
    };
};

enum schema_node_kind { NODE_RULES, NODE_ANYTHING, NODE_NOTHING };

struct schema_node {
    enum schema_node_kind kind;
    bool collects;      /* has an unevaluated keyword: what the others looked at must be known */
    unsigned char seen; /* while circles are looked for */
    const struct schema_rule *rules;
    size_t n_rules;
    const struct schema_resource *resource;
    json_val *at;
};

/* A schema with a URI of its own: the root, and each with an $id. */
struct schema_resource {
    struct schema_resource *next;
    struct span uri; /* absolute, without fragment */
    json_val *root;
    struct schema_anchor *anchors;
};
struct schema_anchor {
    struct schema_anchor *next;
    struct span name;
    bool dynamic;
    json_val *at;
    const struct schema_node *node;
};

struct schema {
    json_val *root_val;
    const struct schema_node *root;
    size_t scratch_bytes; /* that the largest pattern needs */
};

/* --- compiling -------------------------------------------------------------------------------- */

/* A reference that waits until all nodes are there. */
struct schema_pending {
    struct schema_pending *next;
    struct schema_rule *rule;
    const struct schema_resource *base;
    json_val *at; /* the keyword's value */
};

struct schema_compiler {
    struct arena *a;
    struct schema *schema;
    const struct schema_opts *opts;
    struct err *e;
    json_val *root;
    struct schema_node **nodes; /* by place in the document; NULL: no schema stands there */
    size_t n_values;
    struct schema_resource *resources;
    struct schema_pending *pending;
    size_t n_named; /* resources and anchors */
    size_t n_insts; /* of all patterns */
    int64_t steps;
};

enum schema_keyword {
    KW_SCHEMA,
    KW_ID,
    KW_ANCHOR,
    KW_DYNAMIC_ANCHOR,
    KW_REF,
    KW_DYNAMIC_REF,
    KW_DEFS,
    KW_DEFINITIONS,
    KW_TYPE,
    KW_ENUM,
    KW_CONST,
    KW_MULTIPLE_OF,
    KW_MAXIMUM,
    KW_EXCLUSIVE_MAXIMUM,
    KW_MINIMUM,
    KW_EXCLUSIVE_MINIMUM,
    KW_MAX_LENGTH,
    KW_MIN_LENGTH,
    KW_PATTERN,
    KW_FORMAT,
    KW_MAX_ITEMS,
    KW_MIN_ITEMS,
    KW_UNIQUE_ITEMS,
    KW_PREFIX_ITEMS,
    KW_ITEMS,
    KW_CONTAINS,
    KW_MIN_CONTAINS,
    KW_MAX_CONTAINS,
    KW_MAX_PROPERTIES,
    KW_MIN_PROPERTIES,
    KW_REQUIRED,
    KW_DEPENDENT_REQUIRED,
    KW_PROPERTIES,
    KW_PATTERN_PROPERTIES,
    KW_ADDITIONAL_PROPERTIES,
    KW_PROPERTY_NAMES,
    KW_DEPENDENT_SCHEMAS,
    KW_ALL_OF,
    KW_ANY_OF,
    KW_ONE_OF,
    KW_NOT,
    KW_IF,
    KW_THEN,
    KW_ELSE,
    KW_UNEVALUATED_ITEMS,
    KW_UNEVALUATED_PROPERTIES,
    KW_NOTE, /* an annotation: no effect on what is valid */
    KW_UNKNOWN,
    KW_COUNT = KW_NOTE
};
enum schema_keyword schema_keyword_find(struct span name);

/* One subschema while its rules are made. */
struct schema_draft {
    json_val *kw[KW_COUNT]; /* the keywords' values; NULL: not there */
    struct schema_node *node;
    struct schema_resource *resource;
    struct schema_rule *rules; /* has room for one per keyword, and for what extra_rules() counts */
    size_t n;
};
struct schema_rule *schema_rule_add(struct schema_draft *d, enum schema_rule_kind kind);

/* ERR_INPUT for the value at a place in the schema. Always false. */
bool schema_bad(struct schema_compiler *c, json_val *at, const char *fmt, ...) PRINTF_LIKE(3, 4);
bool schema_no_memory(struct schema_compiler *c); /* always false */
/* The node of a subschema, compiled now. */
MUST_USE bool schema_compile(struct schema_compiler *c, json_val *v, struct schema_resource *in,
                             const struct schema_node **out);
/* schema_keyword.c: rules of keywords that hold no subschema. */
MUST_USE bool schema_add_scalars(struct schema_compiler *c, struct schema_draft *d);
MUST_USE bool schema_add_pattern(struct schema_compiler *c, struct span text, json_val *at,
                                 struct schema_pattern *out);
MUST_USE bool schema_count_of(struct schema_compiler *c, json_val *v, int64_t *out);
MUST_USE bool schema_strings(struct schema_compiler *c, json_val *v); /* an array of strings? */
/* schema_build.c: rules of keywords that do. */
MUST_USE bool schema_add_applicators(struct schema_compiler *c, struct schema_draft *d);
/* schema_ref.c */
MUST_USE bool schema_add_resource(struct schema_compiler *c, json_val *at, json_val *id,
                                  struct schema_resource **io);
MUST_USE bool schema_add_anchor(struct schema_compiler *c, struct schema_resource *in, json_val *at,
                                json_val *name, bool dynamic);
MUST_USE bool schema_connect(struct schema_compiler *c);
/* schema_uri.c: resolves ref (which may have no fragment) against base, both without fragment; in
 * the arena. p NULL: no memory. */
struct span schema_uri_resolve(struct arena *a, struct span base, struct span ref);

/* --- checking --------------------------------------------------------------------------------- */

/* Which items or members of a value the keywords have looked at: bits in ->words of the run. */
struct schema_marks {
    size_t at, n; /* first word, bits */
};

/* The failure that is worth telling: the deepest. */
struct schema_failure {
    const struct schema_rule *rule; /* NULL: none */
    json_val *at, *extra;
    unsigned level;
    const struct schema_rule *branch; /* the anyOf or oneOf around it; NULL: none */
    json_val *branch_at;
};

struct schema_run {
    const struct schema *schema;
    int64_t steps;
    bool stopped, no_memory;
    unsigned depth; /* of nodes in nodes */
    unsigned level; /* in the value */
    unsigned quiet; /* inside of what may fail without a failure */
    struct schema_failure failure;
    const struct schema_resource
        *scope[LIMIT_SCHEMA_DEPTH + 1]; /* dynamic scope, outermost first */
    size_t n_scope;
    uint64_t *words;
    size_t n_words, cap_words;
    void *scratch;                /* for patterns; NULL: not needed yet */
    struct schema_hashed *hashed; /* for uniqueItems */
    size_t cap_hashed;
};

/* marks: NULL when nobody wants to know. */
bool schema_eval(struct schema_run *r, const struct schema_node *n, json_val *v,
                 const struct schema_marks *marks);
/* The same one level deeper in the value. */
bool schema_eval_child(struct schema_run *r, const struct schema_node *n, json_val *v);
/* False when the steps have run out. */
bool schema_charge(struct schema_run *r, size_t steps);
bool schema_fail(struct schema_run *r, const struct schema_rule *rule, json_val *at,
                 json_val *extra); /* always false */
bool schema_matches(struct schema_run *r, const struct schema_pattern *p, struct span text);
void schema_mark(struct schema_run *r, const struct schema_marks *m, size_t i);
void schema_mark_all(struct schema_run *r, const struct schema_marks *m);
bool schema_marked(const struct schema_run *r, const struct schema_marks *m, size_t i);
/* schema_array.c, schema_object.c: v is what the rule is about. */
bool schema_check_array(struct schema_run *r, const struct schema_rule *rule, json_val *v,
                        const struct schema_marks *m);
bool schema_check_object(struct schema_run *r, const struct schema_rule *rule, json_val *v,
                         const struct schema_marks *m);
/* schema_message.c: into e, for a value that is not valid. */
void schema_say(const struct schema_failure *f, json_val *root, struct err *e);

#endif
