/* cli/doctor.h - the report of `fusor doctor`, and its checks in groups. Private to cli/.
 *
 * A check adds one line that says what was looked at and how it is, and, when that is not well,
 * lines that tell what to do. Nothing is made or changed. Names of keys are shown, keys never. */
#ifndef FUSOR_CLI_DOCTOR_H
#define FUSOR_CLI_DOCTOR_H

#include "config/config.h"
#include "json/json.h"

enum doctor_status { DOCTOR_OK, DOCTOR_WARN, DOCTOR_BAD, DOCTOR_STATUSES };

struct doctor_provider {
    bool usable;   /* nothing is known against it */
    json_val *ids; /* what it lists, an array of {"id"}; NULL: unknown */
};

struct doctor {
    struct arena *arena;   /* until the end */
    struct config *config; /* NULL: it does not load */
    const char *file;      /* -c, may be NULL */
    bool offline;
    json_val
        *state; /* what a running server says of itself; NULL: none runs, or it does not answer */
    struct doctor_provider *providers; /* one per provider of the configuration */
    /* private to the report */
    size_t count_[DOCTOR_STATUSES];
    bool json_, open_;
    struct json_w w_;
    struct buf out_, fix_, line_;
    struct err err_;
};

/* One more line of the report: "warn  NAME: text". */
void doctor_add(struct doctor *d, enum doctor_status s, const char *name, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* What to do about the last one; each call is a line. */
void doctor_fix(struct doctor *d, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "provider mock"; in the arena. */
const char *doctor_name(struct doctor *d, const char *kind, struct span name);
/* A path as one word of a shell; in the arena. */
const char *doctor_word(struct doctor *d, struct span path);

/* A whole number, 0 when it is none. */
int64_t doctor_number(json_val *v);

/* --- groups of checks; all but doctor_runtime() and doctor_machine() need ->config ------------ */

void doctor_state_dir(struct doctor *d);
void doctor_server(struct doctor *d); /* sets ->state */
void doctor_listen(struct doctor *d); /* and TLS */
void doctor_files(struct doctor *d);
void doctor_machine(struct doctor *d);
/* The embedded runtime, when there is no configuration that says whether it is wanted. */
void doctor_runtime(struct doctor *d);
void doctor_providers(struct doctor *d); /* and their models; sets ->providers */
/* A warning when the provider has listed its models and this one is not among them. */
void doctor_model(struct doctor *d, const char *name, const struct config_model *m);
void doctor_recipes(struct doctor *d);
/* Whether a recipe asks this provider. */
bool doctor_recipe_needs(const struct config *c, const struct config_provider *p);

#endif
