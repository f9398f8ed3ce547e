/* dialect/wire_fields.h - the top level of a client's body, read by a table: for each field what it
 * is to others and how it is taken. Private to dialect/.
 *
 * The table of a dialect is the whole truth about its fields; a name that is not in it is an extra.
 * A null is an absent field everywhere: that is how client libraries send an unset option. */
#ifndef FUSOR_DIALECT_WIRE_FIELDS_H
#define FUSOR_DIALECT_WIRE_FIELDS_H

#include <stddef.h>

#include "dialect/wire.h"

/* A body being read. cap_extras: room for every member that may become an extra. */
struct wire_in {
    struct arena *a;
    struct chat_request *r;
    struct chat_extra *extras;
    size_t n_extras, cap_extras;
    struct err *e;
};

/* What a field is to others, see docs/api.md, "Fields". */
enum wire_class {
    CARRIED, /* in chat_request */
    HINT,    /* no effect on the answer */
    MEANING, /* changes the answer, only this dialect has it */
};

enum wire_how {
    OWN,    /* read() */
    NUMBER, /* number text at `at`, min..max */
    FLAG,   /* int8_t at `at` */
    STRING, /* span at `at` */
    OBJECT, /* the object's JSON text as a span at `at` */
    KEEP,   /* kept as it is, for an upstream of this dialect */
    REFUSE, /* 400 with `why` */
};

struct wire_field {
    struct span name;
    enum wire_class cls;
    enum wire_how how;
    size_t at;
    double min, max;
    bool (*read)(struct wire_in *in, json_val *v);
    const char *why;
};

/* For the `at` of a field. */
#define WIRE_AT(member) offsetof(struct chat_request, member)

/* Reads every member of the object; what is in no row becomes an extra. */
MUST_USE bool wire_read_fields(struct wire_in *in, json_val *root, const struct wire_field *fields,
                               size_t n_fields);
MUST_USE bool wire_add_extra(struct wire_in *in, struct span name, json_val *v, bool hint);
/* "KEY must be WANT, not TYPE"; always false. */
bool wire_bad_type(struct wire_in *in, const char *key, json_val *v, const char *want);

/* Fields that all dialects read alike. */
MUST_USE bool wire_read_model(struct wire_in *in, json_val *v);
MUST_USE bool wire_read_stream(struct wire_in *in, json_val *v);

#endif
