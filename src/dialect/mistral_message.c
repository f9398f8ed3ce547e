/* dialect/mistral_message.c - messages of a request to Mistral: its parts, its order of roles.
 *
 * Mistral takes a user's turn only behind an assistant's, system messages only at the start or
 * behind a user's, and an assistant's last only as a prefix. Where a client's order is another, the
 * copy that goes out is mended as far as nothing is lost by it; the client's own messages are never
 * touched. */
#include "base/text.h"
#include "dialect/mistral_priv.h"

/* What an assistant says between a tool's result and a user who does not wait for its answer. */
#define BRIDGE SPAN("{\"role\":\"assistant\",\"content\":\"OK.\"}")

static const struct wire_path at_messages = {NULL, "messages", 0};

/* The message that is being written. */
struct place {
    struct mistral_out *o;
    const struct chat_message *m;
    struct wire_path at;
    enum chat_role role; /* as Mistral sees it */
};

static bool part_bad(const struct place *p, const struct chat_part *part, const char *why)
{
    struct wire_path list = {&p->at, "content", 0};
    struct wire_path at = {&list, NULL, (size_t)(part - p->m->parts)};
    return wire_bad(&at, p->o->e, "%s", why);
}

/* --- members of what came by Chat Completions ------------------------------------------------- */

/* By kind of part, a tool's under that of a call: what we read at the top and one level below. */
static const struct members {
    const char *top[6], *inner[6]; /* each ends with NULL */
} members[] = {
    [CHAT_PART_TEXT] = {{"type", "text"}, {NULL}},
    [CHAT_PART_IMAGE] = {{"type", "image_url"}, {"url", "detail"}},
    [CHAT_PART_DOCUMENT] = {{"type", "file", "file_id", "document_url", "document_name"},
                            {"file_id", "file_data", "filename"}},
    [CHAT_PART_AUDIO] = {{"type", "input_audio"}, {"data", "format"}},
    [CHAT_PART_REFUSAL] = {{"type", "refusal"}, {NULL}},
    [CHAT_PART_TOOL_CALL] = {{"type", "function"}, {"name", "description", "parameters", "strict"}},
};

static bool is_among(const char *const *names, struct span name)
{
    for (; *names; names++)
        if (span_eq(name, span_of(*names)))
            return true;
    return false;
}

static bool check_member(struct mistral_out *o, const struct wire_path *at,
                         const char *const *names, struct span key, json_val *v)
{
    char shown[48];
    if (is_among(names, key) || json_is_null(v))
        return true;
    text_visible_cstr(shown, sizeof shown, key);
    if (!span_eq(key, SPAN("cache_control")))
        return wire_bad_key(at, shown, o->e,
                            "is not known to Mistral, which refuses it: leave it out");
    wire_note(o->notes, SPAN("cache_control"));
    return true;
}

bool mistral_check_members(struct mistral_out *o, const struct wire_path *at,
                           enum chat_part_kind kind, struct span raw)
{
    const struct members *known = &members[kind];
    struct span key, inner;
    json_val *v, *x, *y;
    if (!json_parse_scratch(&o->scratch, raw, &v, o->e))
        return false;
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);) {
        if (!check_member(o, at, known->top, key, x))
            return false;
        bool object = json_is_obj(x) && is_among(known->top, key);
        for (struct json_iter in = json_iter_of(object ? x : NULL); json_next(&in, &inner, &y);)
            if (!check_member(o, at, known->inner, inner, y))
                return false;
    }
    return true;
}

/* A part with more members than we read: what is in it decides whether it may go. */
static bool check_part(const struct place *p, const struct chat_part *part)
{
    struct wire_path list = {&p->at, "content", 0};
    struct wire_path at = {&list, NULL, (size_t)(part - p->m->parts)};
    if (part->cache_mark)
        wire_note(p->o->notes, SPAN("cache_control"));
    if (!part->raw.p)
        return true;
    if (!p->o->same)
        return part_bad(p, part, "has members that Mistral does not know");
    return mistral_check_members(p->o, &at, part->kind, part->raw);
}

/* --- parts ------------------------------------------------------------------------------------ */

static struct span text_of(const struct chat_part *part)
{
    return part->text.p ? part->text : SPAN("");
}

static void open_part(struct json_w *w, const char *type)
{
    json_w_obj(w);
    json_w_key(w, "type");
    json_w_cstr(w, type);
}

static bool write_image(const struct place *p, const struct chat_part *part)
{
    struct json_w *w = p->o->w;
    bool known = span_eq(part->detail, SPAN("low")) || span_eq(part->detail, SPAN("auto")) ||
                 span_eq(part->detail, SPAN("high"));
    if (!part->url.p)
        return part_bad(p, part, "is an image by file id: Mistral takes URLs and data: URLs only");
    if (part->detail.p && !known)
        wire_note(p->o->notes, SPAN("image_url.detail"));
    open_part(w, "image_url");
    json_w_key(w, "image_url");
    json_w_obj(w);
    wire_str(w, "url", part->url);
    if (known)
        wire_str(w, "detail", part->detail);
    json_w_obj_end(w);
    json_w_obj_end(w);
    return true;
}

/* Mistral's ids of files are UUIDs; other providers' are of no use to it. */
static bool is_uuid(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (dash ? c != '-' : !hex)
            return false;
    }
    return s.n == 36;
}

static bool write_document(const struct place *p, const struct chat_part *part)
{
    struct json_w *w = p->o->w;
    if (part->url.p) {
        if (!span_starts(part->url, SPAN("data:")) && !span_starts(part->url, SPAN("https://")) &&
            !span_starts(part->url, SPAN("http://")))
            return part_bad(p, part, "must be a document by an http, https or data: URL");
        open_part(w, "document_url");
        wire_str(w, "document_url", part->url);
        wire_str(w, "document_name", part->file_name);
    } else if (part->file_id.p) {
        if (!is_uuid(part->file_id))
            return part_bad(p, part,
                            "is a document by file id, and not by one of Mistral's (a UUID): send "
                            "its data or URL");
        open_part(w, "file");
        wire_str(w, "file_id", part->file_id);
    } else {
        open_part(w, "text");
        wire_str(w, "text", text_of(part));
    }
    json_w_obj_end(w);
    return true;
}

static bool write_raw(const struct place *p, const struct chat_part *part)
{
    bool thinking = span_eq(part->name, SPAN("thinking")) && p->m->role == CHAT_SYSTEM;
    if (!p->o->same || !(thinking || span_eq(part->name, SPAN("reference"))))
        return part_bad(p, part, "is of a kind that Mistral does not know");
    json_w_raw(p->o->w, part->raw);
    return true;
}

/* Reasoning is replayed when Mistral wrote it, or nobody says who did. */
static bool is_thinking(const struct mistral_out *o, const struct chat_part *part)
{
    if (part->kind != CHAT_PART_REASONING || o->omit_reasoning)
        return false;
    if (span_eq(part->format, CHAT_SIGNED_MISTRAL))
        return true;
    bool unknown = part->format.n == 0 || span_eq(part->format, SPAN("unknown"));
    return o->same && unknown && part->signature.n == 0 &&
           (part->text.n > 0 || span_eq(part->name, OAI_THINKING));
}

static void write_thinking(struct json_w *w, const struct chat_part *part)
{
    if (part->raw.p && span_eq(part->name, OAI_THINKING)) {
        json_w_raw(w, part->raw);
        return;
    }
    open_part(w, "thinking");
    json_w_key(w, "thinking");
    json_w_arr(w);
    open_part(w, "text");
    wire_str(w, "text", text_of(part));
    json_w_obj_end(w);
    json_w_arr_end(w);
    if (part->signature.n > 0)
        wire_str(w, "signature", part->signature);
    json_w_key(w, "closed");
    json_w_bool(w, true);
    json_w_obj_end(w);
}

static bool write_part(const struct place *p, const struct chat_part *part)
{
    struct json_w *w = p->o->w;
    bool text = part->kind == CHAT_PART_TEXT || part->kind == CHAT_PART_REFUSAL;
    if (part->kind == CHAT_PART_RAW)
        return write_raw(p, part);
    if (part->kind == CHAT_PART_REASONING) {
        write_thinking(w, part);
        return true;
    }
    if (!check_part(p, part))
        return false;
    if (p->role == CHAT_SYSTEM && !text)
        return part_bad(p, part, "must be text: Mistral takes nothing else in a system message");
    if (part->kind == CHAT_PART_IMAGE)
        return write_image(p, part);
    if (part->kind == CHAT_PART_DOCUMENT)
        return write_document(p, part);
    open_part(w, text ? "text" : "input_audio");
    if (text)
        wire_str(w, "text", text_of(part));
    else /* the format is left to be found out: there is no member for it */
        wire_str(w, "input_audio", part->url);
    json_w_obj_end(w);
    return true;
}

/* --- a message -------------------------------------------------------------------------------- */

static bool is_content(const struct mistral_out *o, const struct chat_part *part)
{
    if (part->kind == CHAT_PART_REASONING)
        return is_thinking(o, part);
    return part->kind != CHAT_PART_TOOL_CALL;
}

static size_t count_content(const struct place *p, const struct chat_part **out_first)
{
    size_t n = 0;
    for (size_t i = 0; i < p->m->n_parts; i++)
        if (is_content(p->o, &p->m->parts[i]) && n++ == 0)
            *out_first = &p->m->parts[i];
    return n;
}

static size_t count_calls(const struct chat_message *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_parts; i++)
        n += m->parts[i].kind == CHAT_PART_TOOL_CALL;
    return n;
}

static bool write_content(const struct place *p)
{
    struct json_w *w = p->o->w;
    const struct chat_part *first = NULL;
    size_t n = count_content(p, &first);
    json_w_key(w, "content");
    if (n == 0) {
        json_w_str(w, SPAN(""));
        return true;
    }
    if (n == 1 && (first->kind == CHAT_PART_TEXT || first->kind == CHAT_PART_REFUSAL)) {
        json_w_str(w, text_of(first));
        return check_part(p, first);
    }
    json_w_arr(w);
    for (size_t i = 0; i < p->m->n_parts; i++)
        if (is_content(p->o, &p->m->parts[i]) && !write_part(p, &p->m->parts[i]))
            return false;
    json_w_arr_end(w);
    return true;
}

static bool write_call(const struct place *p, const struct chat_part *part)
{
    struct json_w *w = p->o->w;
    struct wire_path list = {&p->at, "tool_calls", 0};
    struct span own;
    if (!wire_is_name(part->name))
        return wire_bad(&list, p->o->e,
                        "name a function in a way that Mistral does not take: it must match "
                        "^[a-zA-Z0-9_-]{1,64}$");
    if (!mistral_calls_make(&p->o->calls, p->at.index, part, &own, p->o->e))
        return false;
    if (part->raw.p)
        wire_note(p->o->notes, SPAN("messages.tool_calls"));
    if (part->signature.n > 0)
        wire_note(p->o->notes, SPAN("messages.reasoning"));
    json_w_obj(w);
    wire_str(w, "id", own);
    wire_str(w, "type", SPAN("function"));
    json_w_key(w, "function");
    json_w_obj(w);
    wire_str(w, "name", part->name);
    wire_str(w, "arguments", part->arguments.n > 0 ? part->arguments : SPAN("{}"));
    json_w_obj_end(w);
    json_w_obj_end(w);
    return true;
}

static bool write_calls(const struct place *p)
{
    if (count_calls(p->m) == 0)
        return true;
    json_w_key(p->o->w, "tool_calls");
    json_w_arr(p->o->w);
    for (size_t i = 0; i < p->m->n_parts; i++)
        if (p->m->parts[i].kind == CHAT_PART_TOOL_CALL && !write_call(p, &p->m->parts[i]))
            return false;
    json_w_arr_end(p->o->w);
    return true;
}

static bool is_prefix(const struct mistral_out *o, const struct chat_extra *x)
{
    return o->same && span_eq(x->name, SPAN("prefix"));
}

static bool has_prefix(const struct mistral_out *o, const struct chat_message *m)
{
    for (size_t i = 0; i < m->n_extras; i++)
        if (is_prefix(o, &m->extras[i]))
            return true;
    return false;
}

/* `prefix` is Mistral's own, for the last message. */
static bool write_extras(const struct place *p)
{
    for (size_t i = 0; i < p->m->n_extras; i++) {
        const struct chat_extra *x = &p->m->extras[i];
        if (!is_prefix(p->o, x)) {
            if (!wire_write_extras(p->o->w, x, 1, &p->at, false, NULL, p->o->notes, p->o->e))
                return false;
            continue;
        }
        if (p->role != CHAT_ASSISTANT || !span_eq(x->json, SPAN("true")) ||
            p->at.index + 1 != p->o->r->n_messages)
            return wire_bad_key(&p->at, "prefix", p->o->e,
                                "must be true, and in an assistant message that is the last one");
        json_w_key(p->o->w, "prefix");
        json_w_bool(p->o->w, true);
    }
    return true;
}

/* What cannot be said of a message and changes nothing in it. */
static void note_hints(const struct place *p)
{
    const struct chat_message *m = p->m;
    if (m->name.p && (m->role != CHAT_TOOL || !wire_is_name(m->name)))
        wire_note(p->o->notes, SPAN("messages.name"));
    if (m->tool_failed) /* the result's text has to say it */
        wire_note(p->o->notes, SPAN("messages.is_error"));
    for (size_t i = 0; i < m->n_parts; i++)
        if (m->parts[i].kind == CHAT_PART_REASONING && !is_thinking(p->o, &m->parts[i]))
            wire_note(p->o->notes, SPAN("messages.reasoning"));
}

static bool write_message(const struct place *p)
{
    struct json_w *w = p->o->w;
    const struct chat_message *m = p->m;
    struct span own = {0};
    if (p->role == CHAT_TOOL &&
        !mistral_calls_answer(&p->o->calls, p->at.index, m->tool_call_id, &own, p->o->e))
        return false;
    if (p->role != CHAT_TOOL && !mistral_calls_check(&p->o->calls, p->o->e))
        return false;
    json_w_obj(w);
    json_w_key(w, "role");
    json_w_cstr(w, chat_role_name(p->role));
    if (p->role == CHAT_TOOL && wire_is_name(m->name))
        wire_str(w, "name", m->name);
    wire_str(w, "tool_call_id", own);
    if (!write_content(p) || !write_calls(p) || !write_extras(p))
        return false;
    json_w_obj_end(w);
    return true;
}

/* --- all of them ------------------------------------------------------------------------------ */

/* The role that Mistral is told; last: that of the message before. */
static enum chat_role role_of(struct mistral_out *o, const struct chat_message *m, bool any,
                              enum chat_role last)
{
    if (m->role != CHAT_SYSTEM && m->role != CHAT_DEVELOPER)
        return m->role;
    if (!any || last == CHAT_SYSTEM || last == CHAT_USER)
        return CHAT_SYSTEM;
    wire_note(o->notes, SPAN("messages.role")); /* no system message may follow an answer */
    return CHAT_USER;
}

/* An assistant's message with nothing in it, as an answer that was broken off leaves behind, is
 * refused; a prefix of nothing is none. */
static bool is_empty(const struct place *p)
{
    const struct chat_part *first = NULL;
    size_t n = count_content(p, &first);
    return p->role == CHAT_ASSISTANT && count_calls(p->m) == 0 &&
           p->m->n_extras == (size_t)has_prefix(p->o, p->m) &&
           (n == 0 || (n == 1 && first->kind == CHAT_PART_TEXT && first->text.n == 0));
}

static bool check_last(struct mistral_out *o, bool any, enum chat_role last)
{
    size_t i = o->r->n_messages - 1;
    struct wire_path at = {&at_messages, NULL, i};
    if (!any)
        return wire_bad(&at_messages, o->e, "hold nothing: send at least one user message");
    if (!mistral_calls_check(&o->calls, o->e))
        return false;
    return last != CHAT_ASSISTANT || has_prefix(o, &o->r->messages[i]) ||
           wire_bad_key(&at, "role", o->e,
                        "is assistant, and this is the last message: Mistral answers a user or a "
                        "tool, or goes on from an assistant message with \"prefix\": true");
}

bool mistral_write_messages(struct mistral_out *o)
{
    enum chat_role last = CHAT_SYSTEM;
    bool any = false;
    json_w_key(o->w, "messages");
    json_w_arr(o->w);
    for (size_t i = 0; i < o->r->n_messages; i++) {
        const struct chat_message *m = &o->r->messages[i];
        struct place p = {o, m, {&at_messages, NULL, i}, role_of(o, m, any, last)};
        note_hints(&p);
        if (is_empty(&p))
            continue;
        if (any && last == CHAT_TOOL && p.role == CHAT_USER && o->calls.n_open == 0)
            json_w_raw(o->w, BRIDGE);
        if (!write_message(&p))
            return false;
        last = p.role;
        any = true;
    }
    json_w_arr_end(o->w);
    return check_last(o, any, last);
}
