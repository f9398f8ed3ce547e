/* dialect/kept.c - see dialect/kept.h. */
#include "dialect/kept.h"

#include "base/map.h"
#include "dialect/wire.h"

_Static_assert(WIRE_CALL_ID_BYTES <= KEPT_ID_BYTES, "made ids fit");

/* --- from an answer --------------------------------------------------------------------------- */

bool kept_wanted(const struct chat_collect *c)
{
    bool any = false;
    for (size_t i = 0; i < c->n_blocks; i++)
        any = any || c->blocks[i].signature.n > 0;
    for (size_t i = 0; i < c->n_tools; i++)
        any = any || c->tools[i].signature.n > 0;
    return any && c->n_tools > 0;
}

struct span kept_call_id(const struct chat_collect *c, size_t call, struct span answer_id,
                         char made[static KEPT_ID_BYTES])
{
    struct span id = buf_span(&c->tools[call].id);
    /* As in Responses: an id that another call has already is as good as none. */
    for (size_t i = 0; id.n > 0 && i < call; i++)
        if (span_eq(buf_span(&c->tools[i].id), id))
            id = (struct span){"", 0};
    return wire_call_id(id, answer_id, call, made);
}

static void write_block(struct json_w *w, const struct chat_collect *c,
                        const struct chat_collected_block *b)
{
    json_w_obj(w);
    wire_str(w, "text", chat_collected_text(c, b));
    wire_str(w, "signature", buf_span(&b->signature));
    wire_str(w, "format", buf_span(&b->format));
    wire_str(w, "id", buf_span(&b->id));
    json_w_key(w, "signs_text");
    json_w_bool(w, b->signs_text);
    json_w_obj_end(w);
}

bool kept_write(const struct chat_collect *c, size_t call, struct buf *out, struct err *e)
{
    const struct chat_collected_tool *t = &c->tools[call];
    size_t from = out->n;
    struct json_w w;
    json_w_init(&w, out, e);
    json_w_obj(&w);
    wire_str(&w, "name", buf_span(&t->name));
    wire_str(&w, "signature", buf_span(&t->signature));
    json_w_key(&w, "blocks");
    json_w_arr(&w);
    for (size_t i = 0; i < c->n_blocks; i++)
        if (c->blocks[i].signature.n > 0)
            write_block(&w, c, &c->blocks[i]);
    json_w_arr_end(&w);
    json_w_obj_end(&w);
    if (json_w_end(&w))
        return true;
    buf_cut(out, from);
    return false;
}

/* --- what a request lacks --------------------------------------------------------------------- */

static bool is_signed(const struct chat_part *p, enum chat_part_kind kind)
{
    return p->kind == kind && p->signature.n > 0;
}

/* Gemini alone signs calls, beside thoughts and text: of its signatures that of the call is the one
 * that must come back. */
static bool is_missing(const struct chat_message *m)
{
    bool calls = false, whole = false;
    if (m->role != CHAT_ASSISTANT)
        return false;
    for (size_t i = 0; i < m->n_parts; i++) {
        const struct chat_part *p = &m->parts[i];
        calls = calls || p->kind == CHAT_PART_TOOL_CALL;
        whole = whole || is_signed(p, CHAT_PART_TOOL_CALL) ||
                (is_signed(p, CHAT_PART_REASONING) && !span_eq(p->format, CHAT_SIGNED_GEMINI));
    }
    return calls && !whole;
}

size_t kept_missing(const struct chat_request *r, struct span *ids, size_t max)
{
    size_t n = 0;
    for (size_t i = r->n_messages; n < max && i-- > 0;) {
        const struct chat_message *m = &r->messages[i];
        if (!is_missing(m))
            continue;
        for (size_t k = 0; n < max && k < m->n_parts; k++)
            if (m->parts[k].kind == CHAT_PART_TOOL_CALL && m->parts[k].id.n > 0)
                ids[n++] = m->parts[k].id;
    }
    return n;
}

/* --- back into the request -------------------------------------------------------------------- */

/* What was kept of one call. */
struct kept {
    struct span name, signature;
    const struct chat_part *blocks;
    size_t n;
};

static bool read_blocks(struct arena *a, json_val *v, struct kept *out)
{
    struct json_iter it = json_iter_of(v);
    struct chat_part *blocks = arena_array(a, json_count(v), sizeof *blocks);
    json_val *b;
    if (!blocks)
        return false;
    while (json_next(&it, NULL, &b)) {
        struct chat_part p = {.kind = CHAT_PART_REASONING,
                              .text = json_str(json_get(b, "text")),
                              .signature = json_str(json_get(b, "signature")),
                              .format = json_str(json_get(b, "format")),
                              .id = json_str(json_get(b, "id")),
                              .signs_text = json_true(json_get(b, "signs_text")),
                              .kept = true};
        if (p.signature.n > 0)
            blocks[out->n++] = p;
    }
    out->blocks = blocks;
    return true;
}

/* NULL: it cannot be read, or there is no memory. */
static struct kept *read_value(struct arena *a, struct span value)
{
    struct err why = {0};
    json_val *root;
    struct kept *k = arena_alloc(a, sizeof *k);
    if (!k || !json_parse(a, value, &root, &why))
        return NULL;
    k->name = json_str(json_get(root, "name"));
    k->signature = json_str(json_get(root, "signature"));
    return read_blocks(a, json_get(root, "blocks"), k) ? k : NULL;
}

static const struct kept *kept_of(const struct map *all, const struct chat_part *p)
{
    const struct kept *k = p->kind == CHAT_PART_TOOL_CALL ? map_get(all, p->id) : NULL;
    return k && span_eq(k->name, p->name) ? k : NULL;
}

/* Blocks go in front of all: what a model thought came before what it did. They take the place of
 * what has come without a signature. */
static bool restore(struct arena *a, const struct map *all, struct chat_message *m, struct err *e)
{
    const struct kept *from = NULL;
    size_t n = 0;
    for (size_t i = 0; !(from && from->n > 0) && i < m->n_parts; i++) {
        const struct kept *k = kept_of(all, &m->parts[i]);
        from = k ? k : from;
    }
    if (!from)
        return true;
    struct chat_part *parts = arena_array(a, from->n + m->n_parts, sizeof *parts);
    if (!parts)
        return wire_no_memory(e);
    for (; n < from->n; n++)
        parts[n] = from->blocks[n];
    for (size_t i = 0; i < m->n_parts; i++) {
        struct chat_part p = m->parts[i];
        const struct kept *k = kept_of(all, &p);
        if (k && k->signature.n > 0) {
            p.signature = k->signature;
            p.format = CHAT_SIGNED_GEMINI;
            p.kept = true;
        }
        if (p.kind != CHAT_PART_REASONING || from->n == 0)
            parts[n++] = p;
    }
    m->parts = parts;
    m->n_parts = n;
    return true;
}

static bool restore_all(struct arena *a, const struct map *all, struct chat_request *r,
                        struct err *e)
{
    struct chat_message *list = arena_array(a, r->n_messages, sizeof *list);
    if (!list)
        return wire_no_memory(e);
    for (size_t i = 0; i < r->n_messages; i++) {
        list[i] = r->messages[i];
        if (is_missing(&list[i]) && !restore(a, all, &list[i], e))
            return false;
    }
    r->messages = list;
    return true;
}

bool kept_restore(struct arena *a, const struct span *ids, const struct span *values, size_t n,
                  struct chat_request *r, struct err *e)
{
    AUTO(map) all = map_new();
    if (!all)
        return wire_no_memory(e);
    for (size_t i = 0; i < n; i++) {
        struct kept *k = values[i].p ? read_value(a, values[i]) : NULL;
        if (k && !map_put(all, ids[i], k))
            return wire_no_memory(e);
    }
    return map_count(all) == 0 || restore_all(a, all, r, e);
}
