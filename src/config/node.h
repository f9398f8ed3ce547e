/* config/node.h - one way to read a tree of settings, from YAML or from JSON.
 *
 * The configuration file (libfyaml) and a request's `fusion` object (yyjson) become the same tree
 * and are read by the same code, so a field means the same in both. Errors name file:line:column,
 * or the field's path. Nodes are small values; they and their text live as long as the arena they
 * were read into. A tree never changes: any thread may read it. */
#ifndef FUSOR_CONFIG_NODE_H
#define FUSOR_CONFIG_NODE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"

enum node_kind { NODE_ABSENT, NODE_NULL, NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node_item;  /* a value of the tree */
struct node_entry; /* where it stands in the map or list around it */
struct node {
    const struct node_item *item; /* NULL: absent */
    const struct node_entry *entry;
};

/* Reads YAML text; `name` stands in errors ("fusor.yaml"). The tree lives in the arena. Empty text
 * is an empty map. Duplicate keys, tags, anchors that loop, a second document, nesting over
 * LIMIT_JSON_DEPTH, over LIMIT_CONFIG_BYTES: ERR_CONFIG with line and column. */
MUST_USE bool node_from_yaml(struct arena *a, struct span text, const char *name, struct node *out,
                             struct err *e);
/* Reads JSON text; `prefix` is the path in errors ("fusion"). Errors are ERR_INPUT with ->param. */
MUST_USE bool node_from_json(struct arena *a, struct span text, const char *prefix,
                             struct node *out, struct err *e);

/* A JSON null counts as NODE_ABSENT for the typed reads below; a YAML one is an error there. */
enum node_kind node_kind_of(struct node n);
/* Elements of a list, entries of a map, else 0. */
size_t node_count(struct node n);
/* i-th element of a list, or entry of a map (out_key may be NULL). Constant time. */
struct node node_at(struct node n, size_t i, struct span *out_key);
/* Entry of a map; NODE_ABSENT when there is none. */
struct node node_get(struct node n, const char *key);

/* Typed reads: an absent node leaves *out alone and is fine; a wrong type or range is an error at
 * the node's place. Quoted YAML is text, never a number or a boolean. */
MUST_USE bool node_str(struct node n, struct span *out, struct err *e); /* never holds a NUL */
MUST_USE bool node_bool(struct node n, bool *out, struct err *e);
MUST_USE bool node_i64(struct node n, int64_t min, int64_t max, int64_t *out, struct err *e);
MUST_USE bool node_f64(struct node n, double min, double max, double *out, struct err *e);
/* "250ms", "3s", "1.5m", "2h", "7d", or a bare number of `unit_us`: microseconds, exactly, at most
 * ten years. */
MUST_USE bool node_duration(struct node n, int64_t unit_us, int64_t *out_us, struct err *e);
/* A decimal number of USD, exactly: nano-USD. Not negative, at most nine decimals. */
MUST_USE bool node_nusd(struct node n, int64_t *out_nusd, struct err *e);
/* One of the words; *out is its index; the error lists them. */
MUST_USE bool node_word(struct node n, const char *const *words, size_t n_words, int *out,
                        struct err *e);
/* It is a map (absent is fine). */
MUST_USE bool node_is_map(struct node n, struct err *e);
/* It is a map and every key is in the list; else the error names the key and the nearest known one.
 */
MUST_USE bool node_only(struct node n, const char *const *keys, size_t n_keys, struct err *e);
/* An error at the node's place. Always false. */
bool node_fail(struct node n, struct err *e, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
