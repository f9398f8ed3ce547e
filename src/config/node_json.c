/* config/node_json.c - JSON text into a tree; see config/node.h.
 *
 * Depth is bounded by json_parse() (LIMIT_JSON_DEPTH), so plain recursion is fine. */
#include <stdio.h>

#include "config/node_priv.h"
#include "json/json.h"

static bool convert(const struct node_tree *tree, json_val *v, const struct node_entry *entry,
                    struct node_item **out);

static bool convert_entries(const struct node_tree *tree, json_val *v, struct node_item *item)
{
    size_t n = json_count(v), i = 0;
    struct node_entry *entries = arena_array(tree->arena, n, sizeof *entries);
    const struct node_entry **index = arena_array(tree->arena, n, sizeof(struct node_entry *));
    if (!entries || !index)
        return false;
    struct json_iter it = json_iter_of(v);
    struct span key = SPAN("");
    json_val *val;
    while (i < n && json_next(&it, &key, &val)) {
        struct node_item *value;
        entries[i] = (struct node_entry){
            .key = item->kind == NODE_MAP ? key : SPAN(""), .index = i, .parent = item};
        index[i] = &entries[i];
        if (!convert(tree, val, &entries[i], &value))
            return false;
        entries[i++].value = value;
    }
    item->entries = index;
    item->n_entries = i;
    return true;
}

/* False only when memory runs out. */
static bool convert(const struct node_tree *tree, json_val *v, const struct node_entry *entry,
                    struct node_item **out)
{
    struct node_item *item = arena_alloc(tree->arena, sizeof *item);
    if (!item)
        return false;
    *item = (struct node_item){.tree = tree, .entry = entry, .kind = NODE_SCALAR};
    *out = item;
    if (json_is_str(v)) {
        item->style = NODE_TEXT;
        item->text = json_str(v);
    } else if (json_is_num(v)) {
        item->style = NODE_NUMBER;
        item->text = json_num_text(v);
    } else if (json_is_bool(v)) {
        item->style = NODE_BOOL;
        item->text = json_true(v) ? SPAN("true") : SPAN("false");
    } else if (json_is_obj(v) || json_is_arr(v)) {
        item->kind = json_is_obj(v) ? NODE_MAP : NODE_LIST;
        return convert_entries(tree, v, item);
    } else {
        item->kind = NODE_NULL;
    }
    return true;
}

bool node_from_json(struct arena *a, struct span text, const char *prefix, struct node *out,
                    struct err *e)
{
    json_val *root;
    if (!json_parse(a, text, &root, e)) {
        if (e && e->cls == ERR_INPUT)
            snprintf(e->param, sizeof e->param, "%s", prefix);
        return false;
    }
    struct node_tree *tree = arena_alloc(a, sizeof *tree);
    struct span name = arena_dup(a, span_of(prefix));
    struct node_item *item;
    if (!tree || !name.p)
        return err_set(e, ERR_NOMEM, "out of memory while reading %s", prefix);
    *tree = (struct node_tree){.arena = a, .name = name, .json = true};
    if (!convert(tree, root, NULL, &item))
        return err_set(e, ERR_NOMEM, "out of memory while reading %s", prefix);
    *out = (struct node){item, NULL};
    return true;
}
