/* dialect/mistral_calls.c - tool calls and their results in a request to Mistral: ids of nine
 * letters and digits, and every call answered once, before anything else is said. The API refuses
 * both in words that do not help ("Not the same number of function calls and responses"), so what
 * is wrong is told here, with its place. */
#include "base/mem.h"
#include "base/text.h"
#include "dialect/mistral_priv.h"

/* Not the seed of ids that are made for clients: one may come back as the other's input. */
#define SALT UINT64_C(0x6d697374)

static const struct wire_path at_messages = {NULL, "messages", 0};

static bool is_own(struct span id)
{
    if (id.n != WIRE_CALL_ID_BYTES)
        return false;
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')))
            return false;
    }
    return true;
}

static struct span own_of(const struct mistral_call *k)
{
    return (struct span){k->own, sizeof k->own};
}

static bool add(struct mistral_calls *c, struct span id)
{
    if (map_get(c->by_id, id))
        return true;
    struct mistral_call *k = &c->list[c->n++];
    *k = (struct mistral_call){.id = id};
    if (is_own(id))
        memcpy(k->own, id.p, sizeof k->own);
    else
        for (uint64_t salt = SALT; salt == SALT || map_get(c->by_own, own_of(k)); salt++)
            wire_short_id(span_hash(id, salt), k->own);
    return map_put(c->by_id, k->id, k) && map_put(c->by_own, own_of(k), k);
}

/* Ids that stay come first, so that no made one takes their place. */
static bool add_all(struct mistral_calls *c, const struct chat_request *r, bool own)
{
    for (size_t i = 0; i < r->n_messages; i++)
        for (size_t k = 0; k < r->messages[i].n_parts; k++) {
            const struct chat_part *p = &r->messages[i].parts[k];
            if (p->kind == CHAT_PART_TOOL_CALL && is_own(p->id) == own && !add(c, p->id))
                return false;
        }
    return true;
}

static size_t count_calls(const struct chat_request *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_messages; i++)
        for (size_t k = 0; k < r->messages[i].n_parts; k++)
            n += r->messages[i].parts[k].kind == CHAT_PART_TOOL_CALL;
    return n;
}

bool mistral_calls_init(struct mistral_calls *c, const struct chat_request *r, struct err *e)
{
    size_t n = count_calls(r);
    *c = (struct mistral_calls){0};
    if (n == 0)
        return true;
    c->list = mem_alloc(n * sizeof *c->list);
    c->by_id = map_new();
    c->by_own = map_new();
    if (!c->list || !c->by_id || !c->by_own || !add_all(c, r, true) || !add_all(c, r, false))
        return wire_no_memory(e);
    return true;
}

void mistral_calls_done(struct mistral_calls *c)
{
    map_free(c->by_id);
    map_free(c->by_own);
    mem_free(c->list);
    *c = (struct mistral_calls){0};
}

bool mistral_calls_make(struct mistral_calls *c, size_t i, const struct chat_part *p,
                        struct span *out_own, struct err *e)
{
    struct mistral_call *k = map_get(c->by_id, p->id);
    struct wire_path at = {&at_messages, NULL, i};
    char shown[48];
    if (k->turn == i + 1) {
        text_visible_cstr(shown, sizeof shown, p->id);
        return wire_bad_key(&at, "tool_calls", e,
                            "hold the id \"%s\" twice: each call needs one of its own", shown);
    }
    k->turn = i + 1;
    k->open = true;
    c->turn = i + 1;
    c->n_open++;
    *out_own = own_of(k);
    return true;
}

bool mistral_calls_answer(struct mistral_calls *c, size_t i, struct span id, struct span *out_own,
                          struct err *e)
{
    struct mistral_call *k = map_get(c->by_id, id);
    struct wire_path at = {&at_messages, NULL, i};
    char shown[48];
    if (!k || !k->open || k->turn != c->turn) {
        text_visible_cstr(shown, sizeof shown, id);
        return wire_bad_key(&at, "tool_call_id", e,
                            "\"%s\" answers no call of the assistant message before it, or one "
                            "that has its result",
                            shown);
    }
    k->open = false;
    c->n_open--;
    *out_own = own_of(k);
    return true;
}

bool mistral_calls_check(const struct mistral_calls *c, struct err *e)
{
    struct wire_path at = {&at_messages, NULL, c->turn - 1};
    return c->n_open == 0 ||
           wire_bad_key(&at, "tool_calls", e,
                        "are followed by %zu results too few: send a message of role tool for each "
                        "call, before anything else",
                        c->n_open);
}
