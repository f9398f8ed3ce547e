/* dialect/openai_responses_send_item.c - chat_message -> items, for an upstream and for what we
 * keep of a turn.
 *
 * A message of the assistant becomes several items in the order of its parts; text and what stands
 * beside it become one message item as long as nothing else comes between. One plain text goes as a
 * string: servers that know few kinds of parts take it too. */
#include "dialect/responses_priv.h"

static void member(struct json_w *w, const char *key, struct span s)
{
    if (!s.p)
        return;
    json_w_key(w, key);
    json_w_str(w, s);
}

static void flag(struct json_w *w, const char *key, const char *json)
{
    json_w_key(w, key);
    json_w_raw(w, span_of(json));
}

/* One message on its way out. */
struct out {
    struct resp_send *s;
    struct json_w *w;
    const struct chat_message *m;
    struct wire_path at;
};

static bool part_bad(const struct out *o, const struct chat_part *p, const char *why)
{
    struct wire_path list = {&o->at, "content", 0};
    struct wire_path at = {&list, NULL, (size_t)(p - o->m->parts)};
    return wire_bad(&at, o->s->e, "%s", why);
}

/* Raw JSON of a part or item; only an upstream of the same dialect takes it. */
static bool write_raw(const struct out *o, const struct chat_part *p)
{
    if (!o->s->same)
        return part_bad(
            o, p, "is of a kind, or has members, that the upstream of this model does not know");
    json_w_raw(o->w, p->raw);
    return true;
}

/* --- parts of the content --------------------------------------------------------------------- */

static bool is_content(const struct chat_part *p)
{
    switch (p->kind) {
    case CHAT_PART_TEXT:
    case CHAT_PART_IMAGE:
    case CHAT_PART_DOCUMENT:
    case CHAT_PART_AUDIO:
    case CHAT_PART_REFUSAL:
        return true;
    case CHAT_PART_RAW:
        return !span_eq(p->detail, RESP_ITEM);
    case CHAT_PART_REASONING:
    case CHAT_PART_TOOL_CALL:
        break;
    }
    return false;
}

static void write_text(const struct out *o, struct span text)
{
    bool spoken = o->m->role == CHAT_ASSISTANT;
    member(o->w, "type", spoken ? SPAN("output_text") : SPAN("input_text"));
    member(o->w, "text", text.p ? text : SPAN(""));
    if (spoken)
        flag(o->w, "annotations", "[]");
}

/* Plain text as a document has no place of its own here: the model reads it as text. */
static void write_document(const struct out *o, const struct chat_part *p)
{
    bool link = span_starts(p->url, SPAN("https://")) || span_starts(p->url, SPAN("http://"));
    if (!p->url.p && !p->file_id.p) {
        write_text(o, p->text);
        if (p->file_name.p)
            wire_note(o->s->notes, SPAN("messages.title"));
        return;
    }
    member(o->w, "type", SPAN("input_file"));
    if (p->file_id.p)
        member(o->w, "file_id", p->file_id);
    else
        member(o->w, link ? "file_url" : "file_data", p->url);
    member(o->w, "filename", p->file_name);
}

static void write_audio(struct json_w *w, const struct chat_part *p)
{
    member(w, "type", SPAN("input_audio"));
    json_w_key(w, "input_audio");
    json_w_obj(w);
    member(w, "data", p->url);
    member(w, "format", p->media_type);
    json_w_obj_end(w);
}

static bool write_part(const struct out *o, const struct chat_part *p)
{
    struct json_w *w = o->w;
    if (p->raw.p)
        return write_raw(o, p);
    json_w_obj(w);
    if (p->kind == CHAT_PART_TEXT) {
        write_text(o, p->text);
    } else if (p->kind == CHAT_PART_IMAGE) {
        member(w, "type", SPAN("input_image"));
        member(w, "image_url", p->url);
        member(w, "file_id", p->file_id);
        member(w, "detail", p->detail.p ? p->detail : SPAN("auto"));
    } else if (p->kind == CHAT_PART_DOCUMENT) {
        write_document(o, p);
    } else if (p->kind == CHAT_PART_AUDIO) {
        write_audio(w, p);
    } else {
        member(w, "type", SPAN("refusal"));
        member(w, "refusal", p->text.p ? p->text : SPAN(""));
    }
    if (p->cache_mark && o->s->same)
        flag(w, "prompt_cache_breakpoint", "{\"mode\":\"explicit\"}");
    else if (p->cache_mark)
        wire_note(o->s->notes, SPAN("cache_control"));
    json_w_obj_end(w);
    return true;
}

/* The n parts from p on, behind `key`. */
static bool write_content(const struct out *o, const char *key, const struct chat_part *p, size_t n)
{
    struct json_w *w = o->w;
    bool ok = true;
    json_w_key(w, key);
    if (n == 0) {
        json_w_str(w, SPAN(""));
        return true;
    }
    if (n == 1 && p->kind == CHAT_PART_TEXT && !p->raw.p && !(p->cache_mark && o->s->same)) {
        json_w_str(w, p->text.p ? p->text : SPAN(""));
        if (p->cache_mark)
            wire_note(o->s->notes, SPAN("cache_control"));
        return true;
    }
    json_w_arr(w);
    for (size_t i = 0; ok && i < n; i++)
        ok = write_part(o, &p[i]);
    json_w_arr_end(w);
    return ok;
}

/* --- items ------------------------------------------------------------------------------------ */

static bool write_extras(const struct out *o)
{
    return wire_write_extras(o->w, o->m->extras, o->m->n_extras, &o->at, o->s->same, NULL,
                             o->s->notes, o->s->e);
}

static bool write_message(const struct out *o, const struct chat_part *p, size_t n, bool first)
{
    json_w_obj(o->w);
    member(o->w, "type", SPAN("message"));
    member(o->w, "role", span_of(chat_role_name(o->m->role)));
    bool ok = write_content(o, "content", p, n) && (!first || write_extras(o));
    json_w_obj_end(o->w);
    return ok;
}

static bool write_output(const struct out *o)
{
    const struct chat_message *m = o->m;
    for (size_t i = 0; i < m->n_parts; i++)
        if (!is_content(&m->parts[i]))
            return part_bad(o, &m->parts[i], "cannot stand in the result of a tool");
    json_w_obj(o->w);
    member(o->w, "type", SPAN("function_call_output"));
    member(o->w, "call_id", m->tool_call_id);
    bool ok = write_content(o, "output", m->parts, m->n_parts) && write_extras(o);
    json_w_obj_end(o->w);
    if (m->name.p)
        wire_note(o->s->notes, SPAN("messages.name")); /* the call says it too */
    if (m->tool_failed)
        wire_note(o->s->notes, SPAN("messages.is_error"));
    return ok;
}

static bool write_call(const struct out *o, const struct chat_part *p)
{
    struct json_w *w = o->w;
    if (p->raw.p)
        return write_raw(o, p);
    json_w_obj(w);
    member(w, "type", SPAN("function_call"));
    member(w, "call_id", p->id);
    member(w, "name", p->name);
    member(w, "arguments", p->arguments.n > 0 ? p->arguments : SPAN("{}"));
    if (p->signature.n > 0 && o->s->keep_reasoning) {
        json_w_key(w, "extra_content");
        json_w_obj(w);
        json_w_key(w, "google");
        json_w_obj(w);
        member(w, "thought_signature", p->signature);
        json_w_obj_end(w);
        json_w_obj_end(w);
    } else if (p->signature.n > 0) {
        wire_note(o->s->notes, SPAN("messages.reasoning"));
    }
    json_w_obj_end(w);
    return true;
}

/* An upstream takes back what it signed itself, under the id that it gave; it cannot use the
 * thoughts of others. */
static bool write_reasoning(const struct out *o, const struct chat_part *p)
{
    struct json_w *w = o->w;
    struct resp_block b = {.id = p->id, .signature = p->signature, .format = p->format};
    bool own = p->signature.n > 0 && span_eq(p->format, CHAT_SIGNED_OPENAI);
    if (!o->s->keep_reasoning && (!own || o->s->omit_reasoning)) {
        wire_note(o->s->notes, SPAN("messages.reasoning"));
        return true;
    }
    if (p->raw.p && o->s->same)
        return write_raw(o, p);
    json_w_obj(w);
    member(w, "type", SPAN("reasoning"));
    if (p->id.n > 0)
        member(w, "id", p->id);
    json_w_key(w, "summary");
    json_w_arr(w);
    if (p->text.n > 0) {
        json_w_obj(w);
        member(w, "type", SPAN("summary_text"));
        member(w, "text", p->text);
        json_w_obj_end(w);
    }
    json_w_arr_end(w);
    json_w_key(w, "encrypted_content");
    resp_write_sealed(w, &b, p->id);
    json_w_obj_end(w);
    return true;
}

static bool write_item(const struct out *o, const struct chat_part *p)
{
    if (p->kind == CHAT_PART_TOOL_CALL)
        return write_call(o, p);
    if (p->kind == CHAT_PART_REASONING)
        return write_reasoning(o, p);
    return write_raw(o, p);
}

/* Clients of chat write "" beside their calls; a message item without words is none. */
static bool says_nothing(const struct chat_message *m, const struct chat_part *p, size_t n)
{
    return n == 1 && m->n_parts > 1 && p->kind == CHAT_PART_TEXT && p->text.n == 0 && !p->raw.p;
}

bool resp_write_message(struct resp_send *s, const struct chat_message *m, size_t index)
{
    static const struct wire_path messages = {NULL, "messages", 0};
    struct out o = {s, s->w, m, {&messages, NULL, index}};
    size_t runs = 0;
    if (m->role == CHAT_TOOL)
        return write_output(&o);
    if (m->name.p)
        return wire_bad_key(
            &o.at, "name", s->e,
            "is a name, which the upstream of this model does not take: leave it out");
    for (size_t i = 0; i < m->n_parts;) {
        size_t n = 0;
        while (i + n < m->n_parts && is_content(&m->parts[i + n]))
            n++;
        bool none = n > 0 && says_nothing(m, &m->parts[i], n);
        if (!none && (n > 0 ? !write_message(&o, &m->parts[i], n, runs++ == 0)
                            : !write_item(&o, &m->parts[i])))
            return false;
        i += n > 0 ? n : 1;
    }
    /* Members that have no message to stand in: only those of other dialects can be such. */
    return runs > 0 || (m->n_parts > 0 && m->n_extras == 0) || write_message(&o, m->parts, 0, true);
}
