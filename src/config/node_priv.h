/* config/node_priv.h - the tree behind struct node, shared by its two readers. */
#ifndef FUSOR_CONFIG_NODE_PRIV_H
#define FUSOR_CONFIG_NODE_PRIV_H

#include "config/node.h"

/* PLAIN is a YAML scalar without quotes: what it is depends on who asks. */
enum node_style { NODE_PLAIN, NODE_TEXT, NODE_NUMBER, NODE_BOOL };

struct node_tree {
    struct arena *arena;
    struct span name; /* the file, or the prefix of paths; NUL terminated */
    bool json;
};

struct node_entry {
    struct node_entry *next; /* while a container of unknown length is being read */
    struct span key;         /* of a map; else empty */
    size_t index;
    int line, column; /* of the key, or of the list's element; from 1; YAML only */
    const struct node_item *parent;
    const struct node_item *value;
};

struct node_item {
    const struct node_tree *tree;
    const struct node_entry *entry; /* NULL: the root. With YAML aliases: the first place */
    enum node_kind kind;
    enum node_style style;
    int line, column;
    struct span text; /* of a scalar */
    const struct node_entry *const *entries;
    size_t n_entries;
};

/* `digits[.digits][e[+-]digits]` times 10^scale as a whole number. */
enum decimal { DECIMAL_OK, DECIMAL_NOT_A_NUMBER, DECIMAL_FRACTION, DECIMAL_TOO_LARGE };
enum decimal node_decimal(struct span s, int scale, int64_t *out);
/* True when the node is absent (or a JSON null) and the typed read is done. */
bool node_skip(struct node n);
/* The text of a scalar that may be a number; false with the error set when it cannot be one. */
bool node_number_text(struct node n, const char *want, struct span *out, struct err *e);
/* "must be WANT, not 'TEXT'" at the node's place. Always false. */
bool node_fail_type(struct node n, const char *want, struct err *e);

#endif
