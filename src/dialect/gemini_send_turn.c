/* dialect/gemini_send_turn.c - the messages in order -> `contents`.
 *
 * Contents have the roles user and model; what follows in the same role goes into the same one.
 * After a content with functionCalls Gemini wants one content that holds a functionResponse for
 * each of them, no more and no fewer ("the number of function response parts is equal to the number
 * of function call parts"), in their order. So the results of a turn are gathered first, by call
 * id, and written in the order of the calls; one that is missing, or that answers nothing, is an
 * error that names it: Gemini would refuse the request as a whole, in its own words. */
#include "base/map.h"
#include "base/mem.h"
#include "dialect/gemini_priv.h"

static const struct wire_path messages = {NULL, "messages", 0};

void gem_content(struct gem_out *o, enum gem_role role)
{
    struct json_w *w = o->w;
    if (o->role == role)
        return;
    if (o->role != GEM_NOBODY) {
        json_w_arr_end(w);
        json_w_obj_end(w);
    }
    o->role = role;
    o->content_has_call = false;
    if (role == GEM_NOBODY)
        return;
    json_w_obj(w);
    json_w_key(w, "role");
    json_w_cstr(w, role == GEM_USER ? "user" : "model");
    json_w_key(w, "parts");
    json_w_arr(w);
}

static bool is_system(const struct chat_message *m)
{
    return m->role == CHAT_SYSTEM || m->role == CHAT_DEVELOPER;
}

static bool has_calls(const struct chat_message *m)
{
    for (size_t i = 0; i < m->n_parts; i++)
        if (m->parts[i].kind == CHAT_PART_TOOL_CALL)
            return true;
    return false;
}

/* --- the results of one turn ------------------------------------------------------------------ */

/* A tool message; those with the same call id stand in a chain: some servers have given two calls
 * of a turn one id, and then the first result answers the first call. */
struct result {
    size_t message;
    bool taken;
    struct result *next, *last; /* last: of the chain, in its first */
};

struct turn {
    struct gem_out *o;
    size_t calls_from, calls_end; /* the messages that hold the calls */
    size_t from, end;             /* tool and system messages behind them */
    struct result *results;
    size_t n;
    struct map *by_id; /* first result of each id that is not taken, or the last one taken */
};

static bool gather(struct turn *t)
{
    for (size_t i = t->from; i < t->end; i++) {
        const struct chat_message *m = &t->o->r->messages[i];
        if (m->role != CHAT_TOOL)
            continue;
        struct result *r = &t->results[t->n++];
        struct result *first = map_get(t->by_id, m->tool_call_id);
        *r = (struct result){.message = i, .last = r};
        if (first) {
            first->last->next = r;
            first->last = r;
        } else if (!map_put(t->by_id, m->tool_call_id, r)) {
            return wire_no_memory(t->o->e);
        }
    }
    return true;
}

static bool answer_call(struct turn *t, size_t message, size_t part)
{
    const struct chat_part *call = &t->o->r->messages[message].parts[part];
    struct result *r = map_get(t->by_id, call->id);
    if (!r || r->taken) {
        struct wire_path at = {&messages, NULL, message};
        return wire_bad_key(
            &at, "tool_calls", t->o->e,
            "holds a call without a result: each call needs a tool message with its "
            "id, right behind");
    }
    r->taken = true;
    if (r->next && !map_put(t->by_id, call->id, r->next))
        return wire_no_memory(t->o->e);
    return gem_write_result(t->o, r->message, call);
}

static bool answer_calls(struct turn *t)
{
    for (size_t i = t->calls_from; i < t->calls_end; i++) {
        const struct chat_message *m = &t->o->r->messages[i];
        for (size_t j = 0; j < m->n_parts; j++)
            if (m->parts[j].kind == CHAT_PART_TOOL_CALL && !answer_call(t, i, j))
                return false;
    }
    for (size_t i = 0; i < t->n; i++) {
        struct wire_path at = {&messages, NULL, t->results[i].message};
        if (!t->results[i].taken)
            return wire_bad_key(&at, "tool_call_id", t->o->e,
                                "is of no call in the assistant message before it");
    }
    return true;
}

/* Instructions between a call and its results have no place there: they come behind. */
static bool write_instructions(struct turn *t)
{
    for (size_t i = t->from; i < t->end; i++)
        if (is_system(&t->o->r->messages[i]) && !gem_write_message(t->o, i))
            return false;
    return true;
}

static bool write_results(struct turn *t)
{
    bool ok;
    t->results = mem_alloc((t->end - t->from) * sizeof *t->results);
    t->by_id = map_new();
    if (t->results && t->by_id)
        ok = gather(t) && answer_calls(t) && write_instructions(t);
    else
        ok = wire_no_memory(t->o->e);
    map_free(t->by_id);
    mem_free(t->results);
    return ok;
}

/* --- all messages ----------------------------------------------------------------------------- */

/* The messages from i on that belong to the calls before them. */
static size_t end_of_results(const struct chat_request *r, size_t i)
{
    while (i < r->n_messages && (r->messages[i].role == CHAT_TOOL || is_system(&r->messages[i])))
        i++;
    return i;
}

bool gem_write_contents(struct gem_out *o, size_t first)
{
    const struct chat_request *r = o->r;
    struct turn t = {.o = o};
    bool asked = false; /* the calls of messages calls_from .. calls_end wait for results */
    json_w_key(o->w, "contents");
    json_w_arr(o->w);
    for (size_t i = first; i < r->n_messages; i++) {
        const struct chat_message *m = &r->messages[i];
        if (m->role == CHAT_TOOL || (asked && m->role != CHAT_ASSISTANT)) {
            t = (struct turn){.o = o,
                              .calls_from = asked ? t.calls_from : 0,
                              .calls_end = asked ? t.calls_end : 0,
                              .from = i,
                              .end = end_of_results(r, i)};
            if (!write_results(&t))
                return false;
            asked = false;
            i = t.end - 1; /* at least one message: calls without any result are an error */
            continue;
        }
        if (!gem_write_message(o, i))
            return false;
        if (m->role != CHAT_ASSISTANT || !has_calls(m))
            continue;
        t.calls_from = asked ? t.calls_from : i;
        t.calls_end = i + 1;
        asked = true;
    }
    t.from = t.end = r->n_messages;
    t.n = 0;
    if (asked && !write_results(&t))
        return false;
    bool empty = o->role == GEM_NOBODY;
    gem_content(o, GEM_NOBODY);
    json_w_arr_end(o->w);
    return !empty || o->w->failed ||
           wire_bad(&messages, o->e, "hold nothing that can be sent: no text, no file, no call");
}
