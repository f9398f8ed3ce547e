/* dialect/anthropic_messages_send_turn.c - chat messages -> the turns of an upstream's body.
 *
 * Messages of one side that follow each other become one turn; all results of a turn's calls stand
 * first in the user turn after it, and each call has exactly one: what does not fit together is
 * refused here with its place, for the upstream's words would name places that the client does not
 * know. A system message in the middle of a conversation goes as text of the user between <system>
 * marks, and is listed (messages.role); only a client of this dialect gets it through as it is, for
 * only newer models take it, and not everywhere. */
#include "base/map.h"
#include "base/text.h"
#include "dialect/anthropic_priv.h"

enum side { SIDE_USER, SIDE_ASSISTANT, SIDE_SYSTEM };

static enum side side_of(const struct ant_out *o, const struct chat_message *m)
{
    switch (m->role) {
    case CHAT_ASSISTANT:
        return SIDE_ASSISTANT;
    case CHAT_SYSTEM:
    case CHAT_DEVELOPER:
        return o->same ? SIDE_SYSTEM : SIDE_USER;
    case CHAT_USER:
    case CHAT_TOOL:
        break;
    }
    return SIDE_USER;
}

static bool is_system(const struct chat_message *m)
{
    return m->role == CHAT_SYSTEM || m->role == CHAT_DEVELOPER;
}

/* --- calls and their results ------------------------------------------------------------------ */

/* Calls of the last assistant turn by id, until the user turn that answers them. */
struct pairs {
    struct map *open;
    size_t n_answered;
};

static char answered; /* stands in the map in place of a call that has its result */

static bool message_bad(const struct ant_out *o, size_t index, const char *key, const char *why,
                        struct span id)
{
    static const struct wire_path messages = {NULL, "messages", 0};
    struct wire_path at = {&messages, NULL, index};
    char shown[72];
    text_visible_cstr(shown, sizeof shown, id);
    return wire_bad_key(&at, key, o->e, why, shown);
}

static bool note_calls(struct ant_out *o, struct pairs *p, size_t index)
{
    const struct chat_message *m = &o->r->messages[index];
    for (size_t i = 0; i < m->n_parts; i++) {
        const struct chat_part *call = &m->parts[i];
        if (call->kind != CHAT_PART_TOOL_CALL)
            continue;
        if (!p->open && !(p->open = map_new()))
            return wire_no_memory(o->e);
        if (map_get(p->open, call->id))
            return message_bad(o, index, "tool_calls", "has two calls with the id \"%s\"",
                               call->id);
        if (!map_put(p->open, call->id, (void *)(uintptr_t)call))
            return wire_no_memory(o->e);
    }
    return true;
}

static bool note_result(struct ant_out *o, struct pairs *p, size_t index)
{
    struct span id = o->r->messages[index].tool_call_id;
    void *call = map_get(p->open, id);
    if (!call)
        return message_bad(o, index, "tool_call_id",
                           "\"%s\" answers no call of the assistant message before it", id);
    if (call == &answered)
        return message_bad(o, index, "tool_call_id", "\"%s\" is answered twice", id);
    if (!map_put(p->open, id, &answered))
        return wire_no_memory(o->e);
    p->n_answered++;
    return true;
}

/* All calls have their results before anything else is said. next: what comes instead. */
static bool check_answered(struct ant_out *o, struct pairs *p, size_t next)
{
    struct span id = {0};
    size_t n = p->open ? map_count(p->open) : 0;
    if (n > p->n_answered) {
        for (size_t i = 0; i < n && map_at(p->open, i, &id) == &answered; i++)
            ;
        return message_bad(o, next - 1, "tool_calls",
                           "holds or follows the call \"%s\", which has no result behind it", id);
    }
    map_free(p->open);
    *p = (struct pairs){0};
    return true;
}

/* --- one turn --------------------------------------------------------------------------------- */

static bool has_blocks(const struct ant_out *o, const struct chat_message *m)
{
    for (size_t i = 0; i < m->n_parts; i++)
        if (ant_is_written(o, &m->parts[i]))
            return true;
    return false;
}

/* A result says something even when it is empty. */
static bool has_content(const struct ant_out *o, const struct chat_message *m)
{
    return m->role == CHAT_TOOL || has_blocks(o, m);
}

static bool write_result(struct ant_out *o, size_t index)
{
    const struct chat_message *m = &o->r->messages[index];
    struct json_w *w = o->w;
    const struct chat_part *only = m->parts, *marked = NULL;
    bool any = has_blocks(o, m);
    json_w_obj(w);
    wire_str(w, "type", SPAN("tool_result"));
    json_w_key(w, "tool_use_id");
    if (o->same)
        json_w_str(w, m->tool_call_id);
    else
        ant_write_call_id(w, m->tool_call_id);
    if (m->n_parts == 1 && only->kind == CHAT_PART_TEXT && any && !only->raw.p) {
        wire_str(w, "content", only->text);
    } else if (any) {
        json_w_key(w, "content");
        json_w_arr(w);
        for (size_t i = 0; i < m->n_parts; i++)
            if (!ant_write_part(o, index, &m->parts[i]))
                return false;
        json_w_arr_end(w);
    }
    if (m->tool_failed) {
        json_w_key(w, "is_error");
        json_w_bool(w, true);
    }
    for (size_t i = 0; i < m->n_parts; i++)
        if (m->parts[i].cache_mark)
            marked = &m->parts[i];
    if (marked)
        ant_write_mark(o, marked->cache);
    static const struct wire_path messages = {NULL, "messages", 0};
    struct wire_path at = {&messages, NULL, index};
    if (!wire_write_extras(w, m->extras, m->n_extras, &at, o->same, NULL, o->notes, o->e))
        return false;
    json_w_obj_end(w);
    return true;
}

/* A system message between others, for a model that knows none there. */
static bool write_system_text(struct ant_out *o, const struct chat_message *m)
{
    struct json_w *w = o->w;
    buf_clear(&o->text);
    for (size_t i = 0; i < m->n_parts; i++) {
        if (!ant_is_written(o, &m->parts[i]))
            continue;
        if (!buf_add(&o->text, o->text.n == 0 ? SPAN("<system>\n") : SPAN("\n"), o->e) ||
            !buf_add(&o->text, m->parts[i].text, o->e))
            return false;
    }
    if (!buf_add(&o->text, SPAN("\n</system>"), o->e))
        return false;
    wire_note(o->notes, SPAN("messages.role"));
    json_w_obj(w);
    wire_str(w, "type", SPAN("text"));
    wire_str(w, "text", buf_span(&o->text));
    json_w_obj_end(w);
    return true;
}

static bool write_rest(struct ant_out *o, size_t index)
{
    static const struct wire_path messages = {NULL, "messages", 0};
    const struct chat_message *m = &o->r->messages[index];
    struct wire_path at = {&messages, NULL, index};
    if (m->name.n > 0)
        wire_note(o->notes, SPAN("messages.name"));
    /* Those of a client of this dialect go behind the content. */
    if (!o->same &&
        !wire_write_extras(o->w, m->extras, m->n_extras, &at, false, NULL, o->notes, o->e))
        return false;
    if (is_system(m) && !o->same && has_content(o, m))
        return write_system_text(o, m);
    for (size_t i = 0; i < m->n_parts; i++)
        if (!ant_write_part(o, index, &m->parts[i]))
            return false;
    return true;
}

static bool write_content(struct ant_out *o, size_t from, size_t to)
{
    json_w_arr(o->w);
    for (size_t i = from; i < to; i++)
        if (o->r->messages[i].role == CHAT_TOOL && !write_result(o, i))
            return false;
    for (size_t i = from; i < to; i++)
        if (o->r->messages[i].role != CHAT_TOOL && !write_rest(o, i))
            return false;
    json_w_arr_end(o->w);
    return true;
}

static bool write_turn(struct ant_out *o, enum side side, size_t from, size_t to)
{
    static const char *const roles[] = {"user", "assistant", "system"};
    static const struct wire_path messages = {NULL, "messages", 0};
    json_w_obj(o->w);
    json_w_key(o->w, "role");
    json_w_cstr(o->w, roles[side]);
    json_w_key(o->w, "content");
    if (!write_content(o, from, to))
        return false;
    for (size_t i = from; i < to && o->same; i++) {
        struct wire_path at = {&messages, NULL, i};
        const struct chat_message *m = &o->r->messages[i];
        if (m->role != CHAT_TOOL &&
            !wire_write_extras(o->w, m->extras, m->n_extras, &at, true, NULL, o->notes, o->e))
            return false;
    }
    json_w_obj_end(o->w);
    return true;
}

/* --- all of them ------------------------------------------------------------------------------ */

static bool check_turn(struct ant_out *o, struct pairs *p, enum side side, size_t from, size_t to)
{
    if (side == SIDE_ASSISTANT) {
        if (!check_answered(o, p, from))
            return false;
        for (size_t i = from; i < to; i++)
            if (!note_calls(o, p, i))
                return false;
        return true;
    }
    for (size_t i = from; i < to; i++)
        if (o->r->messages[i].role == CHAT_TOOL && !note_result(o, p, i))
            return false;
    return check_answered(o, p, to);
}

/* A conversation begins with the user: one that does not gets a line before it. */
static void write_bridge(struct ant_out *o)
{
    wire_note(o->notes, SPAN("messages.role"));
    json_w_raw(o->w, SPAN("{\"role\":\"user\",\"content\":\"(The conversation begins with an "
                          "answer of yours.)\"}"));
}

static bool write_turns(struct ant_out *o, struct pairs *p, size_t *out_n)
{
    const struct chat_request *r = o->r;
    for (size_t i = o->n_leading, next; i < r->n_messages; i = next) {
        enum side side = side_of(o, &r->messages[i]);
        bool any = false;
        for (next = i; next < r->n_messages && side_of(o, &r->messages[next]) == side; next++)
            any = any || has_content(o, &r->messages[next]);
        /* A client of this dialect pairs its blocks itself, in ways that only the upstream knows.
         */
        if (!o->same && !check_turn(o, p, side, i, next))
            return false;
        if (!any)
            continue;
        if (*out_n == 0 && side == SIDE_ASSISTANT && !o->same)
            write_bridge(o);
        if (!write_turn(o, side, i, next))
            return false;
        ++*out_n;
    }
    return o->same || check_answered(o, p, r->n_messages);
}

bool ant_write_turns(struct ant_out *o)
{
    static const struct wire_path messages = {NULL, "messages", 0};
    struct pairs p = {0};
    size_t n = 0;
    json_w_key(o->w, "messages");
    json_w_arr(o->w);
    bool ok = write_turns(o, &p, &n);
    json_w_arr_end(o->w);
    map_free(p.open);
    return ok && (n > 0 || wire_bad(&messages, o->e, "hold nothing that the model could answer"));
}
