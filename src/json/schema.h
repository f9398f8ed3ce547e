/* json/schema.h - JSON Schema, draft 2020-12: compiled once, then values are checked against it.
 *
 * Lives here: every keyword of the core, applicator, unevaluated and validation vocabularies. What
 * would not be enforced is refused when the schema is compiled, by name: unknown keywords (but not
 * annotations and names that begin with "x-"), references to other documents, patterns beyond
 * json/regex.h. The formats of `asserted` ones are checked (schema_opts), the others are
 * annotations, as are the content keywords. Schemas and values are foreign: recursion, steps and
 * memory are bounded (base/limits.h). Pure; a compiled schema is immutable. Sources:
 * draft-bhutton-json-schema-01, draft-bhutton-json-schema-validation-01; RFC 3986 for references,
 * RFC 6901 for pointers; formats: RFC 3339, 5321, 1123, 2673, 4291, 4122. */
#ifndef FUSOR_JSON_SCHEMA_H
#define FUSOR_JSON_SCHEMA_H

#include "json/json.h"

struct schema;

struct schema_opts {
    const char *prefix; /* of places in errors: "response_format.json_schema.schema"; NULL: "" */
    /* date-time, time, date, duration, email, hostname, ipv4, ipv6 and uuid are checked; else every
     * format is an annotation. */
    bool formats;
};

/* Lives in the arena; root (which has no duplicate keys) must live as long. NULL: ERR_INPUT with
 * the place in ->param ("PREFIX.properties.a.nullable") and what is wrong with it, or ERR_NOMEM. */
MUST_USE const struct schema *schema_new(struct arena *a, json_val *root,
                                         const struct schema_opts *o, struct err *e);

/* Is v, which has no duplicate keys, valid? ERR_INPUT: no; the message has the JSON pointer of a
 * place, what was expected and what was found, in visible characters. ERR_LIMIT with the code
 * "schema_too_complex": the check was given up. ERR_NOMEM. */
MUST_USE bool schema_check(const struct schema *s, json_val *v, struct err *e);

/* Is the schema in the subset that OpenAI takes for `strict: true`? ERR_INPUT with the place in
 * ->param. A root that is an object, additionalProperties false and every property required in each
 * object, no allOf, not, if, then, else, dependentRequired, dependentSchemas; at most 5000
 * properties, 10 levels of objects, 120000 characters of names and enum and const values, 1000 enum
 * values, 15000 characters of an enum of more than 250 strings. Source: OpenAI's guide "Structured
 * model outputs", "Supported schemas". */
MUST_USE bool schema_strict_check(json_val *root, const char *prefix, struct err *e);

#endif
