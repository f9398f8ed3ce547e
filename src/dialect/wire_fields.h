/* dialect/wire_fields.h - the top level of a client's request, driven by a table that says for each
 * field what it is; and what no field of chat_request holds (extras), both ways. */
#ifndef FUSOR_DIALECT_WIRE_FIELDS_H
#define FUSOR_DIALECT_WIRE_FIELDS_H

#include <stddef.h>

#include "dialect/wire.h"

/* A request being read. */
struct wire_in {
    struct arena *a;
    struct chat_request *r;
    struct chat_extra *extras; /* room for every member that may become one */
    size_t n_extras, cap_extras;
    bool think; /* reasoning is switched on, and that is all that is said */
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

#define WIRE_AT(member) offsetof(struct chat_request, member)

/* Reads all members of the body; a null is an absent field everywhere: that is how client libraries
 * send an unset option. A name that is not in the table is an extra. */
MUST_USE bool wire_read_fields(struct wire_in *in, json_val *root, const struct wire_field *fields,
                               size_t n);
/* "must be WANT, not a number"; always false. */
bool wire_bad_type(struct wire_in *in, const char *key, json_val *v, const char *want);
/* In room for in->cap_extras. name lives as long as the arena. */
MUST_USE bool wire_add_extra(struct wire_in *in, struct span name, json_val *v, bool hint);
/* The members of object v that are not among `known` (a list that NULL ends), each named
 * "prefix.name". Nulls do not count. */
MUST_USE bool wire_add_inner(struct wire_in *in, const char *prefix, json_val *v,
                             const char *const *known, bool hint);
/* Fields that all dialects read alike. */
MUST_USE bool wire_read_model(struct wire_in *in, json_val *v);
MUST_USE bool wire_read_stream(struct wire_in *in, json_val *v);

/* The name as errors say it, "..." behind a long one; borrowed from out. */
#define WIRE_SHOWN_BYTES 64
struct span wire_shown_name(const struct chat_extra *x, char out[static WIRE_SHOWN_BYTES]);
/* Fields unknown to us into the open object, of a request or of the message at `at`: to an upstream
 * of the same dialect as they are; else hints are listed and others are an error. Names with a dot
 * stood inside an object that the dialect writes itself. Those under the names of `inner` (a list
 * that NULL ends, or NULL) it writes there by wire_write_inner(); other hints are listed. */
MUST_USE bool wire_write_extras(struct json_w *w, const struct chat_extra *extras, size_t n,
                                const struct wire_path *at, bool same, const char *const *inner,
                                struct dialect_notes *notes, struct err *e);
/* The extras "prefix.name" into the open object, as `name`. */
void wire_write_inner(struct json_w *w, const struct chat_extra *extras, size_t n,
                      struct span prefix);
/* Whether there is such an extra. */
bool wire_has_inner(const struct chat_extra *extras, size_t n, struct span prefix);

#endif
