/* config/node.c - see config/node.h.
 *
 * Lives here: walking the tree, errors with their place, reads of text, booleans and words. Numbers
 * and units are in node_units.c, the two readers in node_yaml.c and node_json.c. */
#include "config/node.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/limits.h"
#include "base/text.h"
#include "config/node_priv.h"

/* Bytes of a value that are repeated in an error. */
#define QUOTE_BYTES 48

enum node_kind node_kind_of(struct node n)
{
    return n.item ? n.item->kind : NODE_ABSENT;
}

size_t node_count(struct node n)
{
    return n.item ? n.item->n_entries : 0;
}

struct node node_at(struct node n, size_t i, struct span *out_key)
{
    const struct node_entry *entry = n.item->entries[i];
    if (out_key)
        *out_key = entry->key;
    return (struct node){entry->value, entry};
}

struct node node_get(struct node n, const char *key)
{
    struct span want = span_of(key);
    for (size_t i = 0; node_kind_of(n) == NODE_MAP && i < node_count(n); i++)
        if (span_eq(n.item->entries[i]->key, want))
            return node_at(n, i, NULL);
    return (struct node){NULL, NULL};
}

/* --- errors ---------------------------------------------------------------------------------- */

/* Adds "prefix.panel[1].model" to b; what does not fit is left out. */
static bool add_path(struct buf *b, const struct node_item *item, struct err *e)
{
    const struct node_entry *chain[LIMIT_JSON_DEPTH + 2];
    size_t n = 0;
    for (const struct node_entry *at = item->entry; at && n < COUNT_OF(chain);
         at = at->parent->entry)
        chain[n++] = at;
    bool ok = buf_add(b, item->tree->name, e);
    while (ok && n-- > 0) {
        const struct node_entry *at = chain[n];
        if (at->parent->kind == NODE_MAP)
            ok = buf_add_char(b, '.', e) && buf_add(b, text_upto(at->key, 64), e);
        else
            ok = buf_addf(b, e, "[%zu]", at->index);
    }
    return ok;
}

/* `key` names a field of the map `item` that stands at entry; empty: the item itself. */
static bool fail_json(const struct node_item *item, struct span key, struct err *e,
                      const char *text)
{
    struct buf path;
    struct err ignored = {0};
    buf_init(&path, 1024);
    bool ok = add_path(&path, item, &ignored);
    if (ok && key.n > 0)
        ok = buf_add_char(&path, '.', &ignored) && buf_add(&path, text_upto(key, 64), &ignored);
    ok = buf_add_char(&path, '\0', &ignored) && ok;
    const char *name = ok ? buf_span(&path).p : "";
    err_field(e, name, "%s: %s", name, text);
    buf_done(&path);
    return false;
}

static bool fail_yaml(const struct node_tree *tree, int line, int column, struct span key,
                      struct err *e, const char *text)
{
    struct span name = text_upto(tree->name, 160), label = text_upto(key, 64);
    return err_set(e, ERR_CONFIG, "%.*s:%d:%d: %.*s%s%s", SPAN_ARG(name), line, column,
                   SPAN_ARG(label), label.n > 0 ? ": " : "", text);
}

/* A map or a list is blamed at its key, a scalar where it stands. */
static bool fail_at(struct node n, struct err *e, const char *text)
{
    if (!n.item)
        return err_set(e, ERR_CONFIG, "%s", text);
    if (n.item->tree->json)
        return fail_json(n.item, SPAN(""), e, text);
    bool at_key = n.entry && n.item->kind != NODE_SCALAR;
    return fail_yaml(n.item->tree, at_key ? n.entry->line : n.item->line,
                     at_key ? n.entry->column : n.item->column, n.entry ? n.entry->key : SPAN(""),
                     e, text);
}

bool node_fail(struct node n, struct err *e, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return fail_at(n, e, len < 0 ? fmt : text);
}

bool node_fail_type(struct node n, const char *want, struct err *e)
{
    switch (node_kind_of(n)) {
    case NODE_NULL:
        return node_fail(n, e, "has no value; it must be %s", want);
    case NODE_LIST:
        return node_fail(n, e, "must be %s, not a list", want);
    case NODE_MAP:
        return node_fail(n, e, "must be %s, not a map", want);
    case NODE_ABSENT:
    case NODE_SCALAR:
        break;
    }
    struct span text = n.item ? text_upto(n.item->text, QUOTE_BYTES) : SPAN("");
    const char *cut = n.item && text.n < n.item->text.n ? "..." : "";
    return node_fail(n, e, "must be %s, not '%.*s%s'", want, SPAN_ARG(text), cut);
}

/* --- typed reads ----------------------------------------------------------------------------- */

bool node_skip(struct node n)
{
    enum node_kind kind = node_kind_of(n);
    return kind == NODE_ABSENT || (kind == NODE_NULL && n.item->tree->json);
}

bool node_str(struct node n, struct span *out, struct err *e)
{
    if (node_skip(n))
        return true;
    bool text =
        n.item->kind == NODE_SCALAR && (n.item->style == NODE_TEXT || n.item->style == NODE_PLAIN);
    if (!text)
        return node_fail_type(n, "text", e);
    if (span_index(n.item->text, span_make("", 1)) < n.item->text.n)
        return node_fail(n, e, "must not hold a NUL character");
    *out = n.item->text;
    return true;
}

bool node_bool(struct node n, bool *out, struct err *e)
{
    if (node_skip(n))
        return true;
    bool plain =
        n.item->kind == NODE_SCALAR && (n.item->style == NODE_BOOL || n.item->style == NODE_PLAIN);
    bool yes = plain && span_eq(n.item->text, SPAN("true"));
    if (!yes && !(plain && span_eq(n.item->text, SPAN("false"))))
        return node_fail_type(n, "true or false", e);
    *out = yes;
    return true;
}

bool node_word(struct node n, const char *const *words, size_t n_words, int *out, struct err *e)
{
    if (node_skip(n))
        return true;
    char list[256];
    size_t used = 0;
    for (size_t i = 0; i < n_words; i++) {
        bool scalar = n.item->kind == NODE_SCALAR && n.item->style != NODE_NUMBER;
        if (scalar && span_eq(n.item->text, span_of(words[i]))) {
            *out = (int)i;
            return true;
        }
        const char *between = i == 0 ? "" : i + 1 < n_words ? ", " : " or ";
        int len = snprintf(list + used, sizeof list - used, "%s%s", between, words[i]);
        if (len > 0 && (size_t)len < sizeof list - used)
            used += (size_t)len;
    }
    list[used] = '\0';
    return node_fail_type(n, list, e);
}

bool node_is_map(struct node n, struct err *e)
{
    if (node_skip(n) || n.item->kind == NODE_MAP)
        return true;
    return node_fail_type(n, "a map of fields", e);
}

/* The known key nearest to a mistyped one; NULL when none is near. */
static const char *nearest(struct span key, const char *const *keys, size_t n_keys)
{
    const char *best = NULL;
    unsigned best_distance = key.n < 4 ? 2 : 4;
    for (size_t i = 0; key.n <= 64 && i < n_keys; i++) {
        unsigned d = text_distance(key, span_of(keys[i]), 4);
        if (d < best_distance) {
            best_distance = d;
            best = keys[i];
        }
    }
    return best;
}

static bool fail_unknown(struct node n, const struct node_entry *entry, const char *near,
                         struct err *e)
{
    char text[160];
    struct span key = text_upto(entry->key, QUOTE_BYTES);
    snprintf(text, sizeof text, "unknown field '%.*s'%s%s%s", SPAN_ARG(key),
             near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    if (n.item->tree->json)
        return fail_json(n.item, entry->key, e, text);
    return fail_yaml(n.item->tree, entry->line, entry->column, SPAN(""), e, text);
}

bool node_only(struct node n, const char *const *keys, size_t n_keys, struct err *e)
{
    if (node_skip(n))
        return true;
    if (!node_is_map(n, e))
        return false;
    for (size_t i = 0; i < node_count(n); i++) {
        const struct node_entry *entry = n.item->entries[i];
        bool known = false;
        for (size_t k = 0; k < n_keys && !known; k++)
            known = span_eq(entry->key, span_of(keys[k]));
        if (!known)
            return fail_unknown(n, entry, nearest(entry->key, keys, n_keys), e);
    }
    return true;
}
