/* config/node_yaml.c - YAML text into a tree, on libfyaml's event parser; see config/node.h.
 *
 * Events rather than libfyaml's own document: they carry the place of every map and key, need no
 * recursion, and leave the meaning of aliases and duplicate keys to us. An alias shares the item it
 * names, so no file can grow by repeating itself. */
#include <libfyaml.h>
#include <stdio.h>

#include "base/limits.h"
#include "base/map.h"
#include "base/text.h"
#include "config/node_priv.h"

struct frame { /* a map or list that is still open */
    struct node_item *item;
    struct map *keys; /* of a map: those seen, to find duplicates; value: its entry */
    struct node_entry *first, *last;
    struct node_entry *key; /* of a map: waits for its value */
};

struct yaml {
    struct fy_diag *diag;
    struct fy_parser *parser;
    struct map *anchors;
    struct node_tree *tree;
    struct node_item *root;
    struct frame frames[LIMIT_JSON_DEPTH];
    size_t n_frames, n_documents;
    int line, column; /* of the last token that had a place */
    struct err *e;
};

static bool fail(struct yaml *y, const char *fmt, const char *arg)
{
    char text[200];
    snprintf(text, sizeof text, fmt, arg);
    struct span name = text_upto(y->tree->name, 160);
    return err_set(y->e, ERR_CONFIG, "%.*s:%d:%d: %s", SPAN_ARG(name), y->line, y->column, text);
}

static bool fail_memory(struct yaml *y)
{
    return err_set(y->e, ERR_NOMEM, "out of memory while reading %.*s", SPAN_ARG(y->tree->name));
}

static void note_place(struct yaml *y, struct fy_token *token)
{
    const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;
    if (!mark)
        return;
    y->line = mark->line + 1;
    y->column = mark->column + 1;
}

/* A copy in the arena; p NULL when memory runs out. */
static struct span token_text(struct yaml *y, struct fy_token *token)
{
    size_t n = 0;
    const char *p = token ? fy_token_get_text(token, &n) : "";
    return p ? arena_dup(y->tree->arena, span_make(p, n)) : (struct span){NULL, 0};
}

static struct node_item *new_item(struct yaml *y, enum node_kind kind)
{
    struct node_item *item = arena_alloc(y->tree->arena, sizeof *item);
    if (item)
        *item =
            (struct node_item){.tree = y->tree, .kind = kind, .line = y->line, .column = y->column};
    return item;
}

/* --- placing values -------------------------------------------------------------------------- */

static struct node_entry *append(struct yaml *y, struct frame *f)
{
    struct node_entry *entry = arena_alloc(y->tree->arena, sizeof *entry);
    if (!entry)
        return NULL;
    *entry = (struct node_entry){
        .index = f->item->n_entries++, .line = y->line, .column = y->column, .parent = f->item};
    if (f->last)
        f->last->next = entry;
    else
        f->first = entry;
    f->last = entry;
    return entry;
}

static bool add_key(struct yaml *y, struct frame *f, const struct node_item *item)
{
    if (item->kind != NODE_SCALAR)
        return fail(y, "a key must be plain text%s", "");
    char shown[64];
    text_visible_cstr(shown, sizeof shown, item->text);
    if (map_get(f->keys, item->text))
        return fail(y, "duplicate key '%s'", shown);
    struct node_entry *entry = append(y, f);
    if (!entry || !map_put(f->keys, item->text, entry))
        return fail_memory(y);
    entry->key = item->text;
    f->key = entry;
    return true;
}

/* Puts a value (or a key) where the parser stands. */
static bool place(struct yaml *y, struct node_item *item)
{
    if (y->n_frames == 0) {
        y->root = item;
        return true;
    }
    struct frame *f = &y->frames[y->n_frames - 1];
    if (f->item->kind == NODE_MAP && !f->key)
        return add_key(y, f, item);
    struct node_entry *entry = f->item->kind == NODE_MAP ? f->key : append(y, f);
    if (!entry)
        return fail_memory(y);
    f->key = NULL;
    entry->value = item;
    if (!item->entry)
        item->entry = entry;
    return true;
}

static bool note_anchor(struct yaml *y, struct fy_token *anchor, struct node_item *item)
{
    if (!anchor)
        return true;
    struct span name = token_text(y, anchor);
    if (!name.p || !map_put(y->anchors, name, item))
        return fail_memory(y);
    return true;
}

/* --- events ---------------------------------------------------------------------------------- */

static bool is_null(struct span s)
{
    return s.n == 0 || span_eq(s, SPAN("~")) || span_eq(s, SPAN("null"));
}

static bool fail_tag(struct yaml *y, struct fy_token *tag)
{
    note_place(y, tag);
    return fail(y, "tags (!...) have no meaning here; write the value without%s", "");
}

static bool on_scalar(struct yaml *y, const struct fy_event_scalar_data *d)
{
    if (d->tag)
        return fail_tag(y, d->tag);
    note_place(y, d->value);
    enum fy_scalar_style style = d->value ? fy_token_scalar_style(d->value) : FYSS_PLAIN;
    /* The library's mark stands behind the quote. */
    if ((style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED) && y->column > 1)
        y->column--;
    struct node_item *item = new_item(y, NODE_SCALAR);
    struct span text = token_text(y, d->value);
    if (!item || !text.p)
        return fail_memory(y);
    bool plain = style == FYSS_PLAIN;
    struct frame *f = y->n_frames > 0 ? &y->frames[y->n_frames - 1] : NULL;
    bool is_key = f && f->item->kind == NODE_MAP && !f->key;
    item->style = plain ? NODE_PLAIN : NODE_TEXT;
    item->kind = plain && !is_key && is_null(text) ? NODE_NULL : NODE_SCALAR;
    item->text = text;
    return note_anchor(y, d->anchor, item) && place(y, item);
}

static bool on_start(struct yaml *y, enum node_kind kind, struct fy_token *token,
                     struct fy_token *anchor, struct fy_token *tag)
{
    if (tag)
        return fail_tag(y, tag);
    note_place(y, token);
    struct node_item *item = new_item(y, kind);
    if (!item)
        return fail_memory(y);
    if (!note_anchor(y, anchor, item) || !place(y, item))
        return false;
    if (y->n_frames == COUNT_OF(y->frames))
        return fail(y, "nested too deeply%s", "");
    struct frame f = {.item = item, .keys = kind == NODE_MAP ? map_new() : NULL};
    if (kind == NODE_MAP && !f.keys)
        return fail_memory(y);
    y->frames[y->n_frames++] = f;
    return true;
}

static bool on_end(struct yaml *y)
{
    if (y->n_frames == 0)
        return fail(y, "unexpected end of a map or list%s", "");
    struct frame *f = &y->frames[--y->n_frames];
    map_free(f->keys);
    const struct node_entry **index =
        arena_array(y->tree->arena, f->item->n_entries, sizeof(struct node_entry *));
    if (!index)
        return fail_memory(y);
    size_t i = 0;
    for (struct node_entry *entry = f->first; entry; entry = entry->next)
        index[i++] = entry;
    f->item->entries = index;
    return true;
}

static bool on_alias(struct yaml *y, struct fy_token *token)
{
    note_place(y, token);
    struct span name = token_text(y, token);
    if (!name.p)
        return fail_memory(y);
    char shown[64];
    text_visible_cstr(shown, sizeof shown, name);
    struct node_item *item = map_get(y->anchors, name);
    if (!item)
        return fail(y, "no anchor named '%s' stands before this", shown);
    for (size_t i = 0; i < y->n_frames; i++)
        if (y->frames[i].item == item)
            return fail(y, "'*%s' stands within what it names", shown);
    return place(y, item);
}

static bool on_event(struct yaml *y, const struct fy_event *ev)
{
    switch (ev->type) {
    case FYET_DOCUMENT_START:
        note_place(y, ev->document_start.document_start);
        return ++y->n_documents == 1 || fail(y, "a second document ('---') is not read%s", "");
    case FYET_SCALAR:
        return on_scalar(y, &ev->scalar);
    case FYET_MAPPING_START:
        return on_start(y, NODE_MAP, ev->mapping_start.mapping_start, ev->mapping_start.anchor,
                        ev->mapping_start.tag);
    case FYET_SEQUENCE_START:
        return on_start(y, NODE_LIST, ev->sequence_start.sequence_start, ev->sequence_start.anchor,
                        ev->sequence_start.tag);
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        return on_end(y);
    case FYET_ALIAS:
        return on_alias(y, ev->alias.anchor);
    case FYET_NONE:
    case FYET_STREAM_START:
    case FYET_STREAM_END:
    case FYET_DOCUMENT_END:
        break;
    }
    return true;
}

/* --- the whole text -------------------------------------------------------------------------- */

static bool fail_syntax(struct yaml *y)
{
    void *iter = NULL;
    struct fy_diag_error *first = fy_diag_errors_iterate(y->diag, &iter);
    if (!first)
        return fail(y, "this is not YAML%s", "");
    if (first->line > 0) {
        y->line = first->line;
        y->column = first->column > 0 ? first->column : 1;
    }
    return fail(y, "%s", first->msg ? first->msg : "this is not YAML");
}

static bool read_all(struct yaml *y, struct span text)
{
    struct fy_diag_cfg diag_cfg;
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    diag_cfg.colorize = false;
    y->diag = fy_diag_create(&diag_cfg);
    if (!y->diag)
        return fail_memory(y);
    fy_diag_set_collect_errors(y->diag, true);
    struct fy_parse_cfg cfg = {
        .flags = FYPCF_QUIET | FYPCF_JSON_NONE | FYPCF_SLOPPY_FLOW_INDENTATION, .diag = y->diag};
    y->parser = fy_parser_create(&cfg);
    if (!y->parser || fy_parser_set_string(y->parser, text.p, text.n) != 0)
        return fail_memory(y);
    struct fy_event *ev;
    bool ok = true;
    while (ok && (ev = fy_parser_parse(y->parser))) {
        ok = on_event(y, ev);
        fy_parser_event_free(y->parser, ev);
    }
    if (ok && fy_parser_get_stream_error(y->parser))
        return fail_syntax(y);
    return ok;
}

static void yaml_done(struct yaml *y)
{
    while (y->n_frames > 0)
        map_free(y->frames[--y->n_frames].keys);
    map_free(y->anchors);
    if (y->parser)
        fy_parser_destroy(y->parser);
    if (y->diag)
        fy_diag_destroy(y->diag);
}

/* Checks that need no parser: what libfyaml would report less clearly, or not at all. */
static bool check_text(struct yaml *y, struct span text)
{
    if (text.n > LIMIT_CONFIG_BYTES)
        return fail(y, "the file is larger than 4 MiB%s", "");
    if (span_index(text, span_make("", 1)) < text.n)
        return fail(y, "the file holds a NUL character; it is not text%s", "");
    if (!text_is_utf8(text))
        return fail(y, "the file is not UTF-8%s", "");
    return true;
}

bool node_from_yaml(struct arena *a, struct span text, const char *name, struct node *out,
                    struct err *e)
{
    struct node_tree *tree = arena_alloc(a, sizeof *tree);
    struct span label = arena_dup(a, span_of(name));
    if (!tree || !label.p)
        return err_set(e, ERR_NOMEM, "out of memory while reading %s", name);
    *tree = (struct node_tree){.arena = a, .name = label};
    struct yaml y = {.tree = tree, .line = 1, .column = 1, .e = e, .anchors = map_new()};
    bool ok =
        y.anchors ? check_text(&y, text) && (text.n == 0 || read_all(&y, text)) : fail_memory(&y);
    if (ok && (!y.root || y.root->kind == NODE_NULL)) {
        y.root = new_item(&y, NODE_MAP);
        ok = y.root || fail_memory(&y);
    }
    yaml_done(&y);
    if (ok)
        *out = (struct node){y.root, NULL};
    return ok;
}
