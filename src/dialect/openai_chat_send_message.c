/* dialect/openai_chat_send_message.c - chat_message -> a message of an upstream's body. */
#include "dialect/openai_chat_priv.h"
#include "dialect/wire_fields.h"

/* One message on its way out. same: the request came in this dialect, so parts go as they came. */
struct out {
    struct json_w *w;
    const struct chat_message *m;
    struct wire_path at;
    bool same, omit_reasoning;
    struct dialect_notes *notes;
    struct err *e;
};

static bool is_thinking(const struct chat_part *p)
{
    return p->kind == CHAT_PART_REASONING && span_eq(p->name, OAI_THINKING);
}

/* What stands in `content`. A lone refusal has a member of its own, so has reasoning. */
static bool is_content(const struct out *o, const struct chat_part *p, size_t n_refusals)
{
    switch (p->kind) {
    case CHAT_PART_TEXT:
    case CHAT_PART_IMAGE:
    case CHAT_PART_DOCUMENT:
    case CHAT_PART_AUDIO:
    case CHAT_PART_RAW:
        return true;
    case CHAT_PART_REFUSAL:
        return n_refusals > 1;
    case CHAT_PART_REASONING:
        return is_thinking(p) && o->same && !o->omit_reasoning;
    case CHAT_PART_TOOL_CALL:
        break;
    }
    return false;
}

static size_t count_kind(const struct chat_message *m, enum chat_part_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_parts; i++)
        n += m->parts[i].kind == kind;
    return n;
}

static bool part_bad(const struct out *o, const struct chat_part *p, const char *why)
{
    struct wire_path list = {&o->at, "content", 0};
    struct wire_path at = {&list, NULL, (size_t)(p - o->m->parts)};
    return wire_bad(&at, o->e, "%s", why);
}

static bool write_image(const struct out *o, const struct chat_part *p)
{
    struct json_w *w = o->w;
    if (!p->url.p)
        return part_bad(o, p, "is an image by file id: the upstream of this model takes URLs only");
    json_w_key(w, "image_url");
    json_w_obj(w);
    wire_str(w, "url", p->url);
    wire_str(w, "detail", p->detail);
    json_w_obj_end(w);
    return true;
}

static bool write_document(const struct out *o, const struct chat_part *p)
{
    struct json_w *w = o->w;
    if (o->same && span_eq(p->name, OAI_DOCUMENT_URL)) {
        wire_str(w, "document_url", p->url);
        wire_str(w, "document_name", p->file_name);
        return true;
    }
    if (!p->file_id.p && !o->same && !span_starts(p->url, SPAN("data:")))
        return part_bad(o, p,
                        "is a document by URL: the upstream of this model takes data or a "
                        "file id only");
    json_w_key(w, "file");
    json_w_obj(w);
    wire_str(w, "file_id", p->file_id);
    wire_str(w, "file_data", p->url);
    wire_str(w, "filename", p->file_name);
    json_w_obj_end(w);
    return true;
}

static void write_audio(struct json_w *w, const struct chat_part *p)
{
    json_w_key(w, "input_audio");
    json_w_obj(w);
    wire_str(w, "data", p->url);
    wire_str(w, "format", p->media_type);
    json_w_obj_end(w);
}

/* A document that is plain text goes as text: there is no part for it. */
static bool is_text(const struct chat_part *p)
{
    return p->kind == CHAT_PART_TEXT ||
           (p->kind == CHAT_PART_DOCUMENT && !p->url.p && !p->file_id.p && p->text.p);
}

static const char *type_of(const struct out *o, const struct chat_part *p)
{
    static const char *const types[] = {
        [CHAT_PART_TEXT] = "text",       [CHAT_PART_IMAGE] = "image_url",
        [CHAT_PART_DOCUMENT] = "file",   [CHAT_PART_AUDIO] = "input_audio",
        [CHAT_PART_REFUSAL] = "refusal",
    };
    if (is_text(p))
        return "text";
    if (p->kind == CHAT_PART_DOCUMENT && o->same && span_eq(p->name, OAI_DOCUMENT_URL))
        return "document_url";
    return types[p->kind];
}

static bool write_part(const struct out *o, const struct chat_part *p)
{
    struct json_w *w = o->w;
    bool ok = true;
    if (p->raw.p && !o->same)
        return part_bad(o, p,
                        "is of a kind, or has members, that the upstream of this model does "
                        "not know");
    if (p->raw.p) {
        json_w_raw(w, p->raw);
        return true;
    }
    json_w_obj(w);
    json_w_key(w, "type");
    json_w_cstr(w, type_of(o, p));
    if (is_text(p) || p->kind == CHAT_PART_REFUSAL)
        wire_str(w, type_of(o, p), p->text.p ? p->text : SPAN(""));
    else if (p->kind == CHAT_PART_IMAGE)
        ok = write_image(o, p);
    else if (p->kind == CHAT_PART_DOCUMENT)
        ok = write_document(o, p);
    else
        write_audio(w, p);
    if (p->cache_mark && o->same) {
        json_w_key(w, "cache_control");
        json_w_raw(w, p->cache.p ? p->cache : SPAN("{\"type\":\"ephemeral\"}"));
    } else if (p->cache_mark) {
        wire_note(o->notes, SPAN("cache_control"));
    }
    json_w_obj_end(w);
    return ok;
}

/* One plain text goes as a string: servers that know no parts take it too. */
static bool write_content(const struct out *o)
{
    const struct chat_message *m = o->m;
    struct json_w *w = o->w;
    const struct chat_part *first = NULL;
    size_t n = 0, refusals = count_kind(m, CHAT_PART_REFUSAL);
    bool ok = true;
    for (size_t i = 0; i < m->n_parts; i++)
        if (is_content(o, &m->parts[i], refusals) && n++ == 0)
            first = &m->parts[i];
    json_w_key(w, "content");
    if (n == 0) {
        if (m->role == CHAT_ASSISTANT)
            json_w_null(w);
        else
            json_w_str(w, SPAN(""));
        return true;
    }
    if (n == 1 && first->kind == CHAT_PART_TEXT && !first->raw.p &&
        !(first->cache_mark && o->same)) {
        json_w_str(w, first->text);
        if (first->cache_mark)
            wire_note(o->notes, SPAN("cache_control"));
        return true;
    }
    json_w_arr(w);
    for (size_t i = 0; ok && i < m->n_parts; i++)
        if (is_content(o, &m->parts[i], refusals))
            ok = write_part(o, &m->parts[i]);
    json_w_arr_end(w);
    return ok;
}

static void write_call(const struct out *o, const struct chat_part *p)
{
    struct json_w *w = o->w;
    if (p->raw.p && o->same) {
        json_w_raw(w, p->raw);
        return;
    }
    if (p->raw.p) /* what names and arguments say is carried all the same */
        wire_note(o->notes, SPAN("messages.tool_calls"));
    if (p->signature.n > 0 && !o->same && !p->kept)
        wire_note(o->notes, SPAN("messages.reasoning"));
    json_w_obj(w);
    wire_str(w, "id", p->id);
    wire_str(w, "type", SPAN("function"));
    json_w_key(w, "function");
    json_w_obj(w);
    wire_str(w, "name", p->name);
    wire_str(w, "arguments", p->arguments.n > 0 ? p->arguments : SPAN("{}"));
    json_w_obj_end(w);
    if (p->signature.n > 0 && o->same && !p->kept) {
        json_w_key(w, "extra_content");
        json_w_obj(w);
        json_w_key(w, "google");
        json_w_obj(w);
        wire_str(w, "thought_signature", p->signature);
        json_w_obj_end(w);
        json_w_obj_end(w);
    }
    json_w_obj_end(w);
}

static void write_calls(const struct out *o)
{
    if (count_kind(o->m, CHAT_PART_TOOL_CALL) == 0)
        return;
    json_w_key(o->w, "tool_calls");
    json_w_arr(o->w);
    for (size_t i = 0; i < o->m->n_parts; i++)
        if (o->m->parts[i].kind == CHAT_PART_TOOL_CALL)
            write_call(o, &o->m->parts[i]);
    json_w_arr_end(o->w);
}

/* --- reasoning -------------------------------------------------------------------------------- */

/* A signature makes it a detail; so does having come as one. Details are for upstreams of this
 * dialect: another dialect's signature would be refused by who did not sign it. */
static bool is_detail(const struct out *o, const struct chat_part *p)
{
    return p->kind == CHAT_PART_REASONING &&
           (span_eq(p->name, OAI_REASONING_DETAILS) || (p->signature.n > 0 && !is_thinking(p)));
}

static void write_detail(const struct out *o, const struct chat_part *p)
{
    struct json_w *w = o->w;
    if (p->raw.p && o->same) {
        json_w_raw(w, p->raw);
        return;
    }
    bool redacted = p->text.n == 0 && !p->signs_text;
    json_w_obj(w);
    wire_str(w, "type", redacted ? SPAN("reasoning.encrypted") : SPAN("reasoning.text"));
    if (!redacted)
        wire_str(w, "text", p->text);
    wire_str(w, redacted ? "data" : "signature", p->signature);
    wire_str(w, "id", p->id);
    wire_str(w, "format", p->format);
    json_w_obj_end(w);
}

/* All plain reasoning is one member: parts of it are joined. */
static bool write_plain_reasoning(const struct out *o)
{
    const struct chat_part *only = NULL;
    size_t n = 0;
    struct buf text;
    bool ok = true;
    for (size_t i = 0; i < o->m->n_parts; i++) {
        const struct chat_part *p = &o->m->parts[i];
        bool plain =
            p->kind == CHAT_PART_REASONING && !is_detail(o, p) && !(is_thinking(p) && o->same);
        if (plain && n++ == 0)
            only = p;
    }
    if (n == 0)
        return true;
    const char *key = span_eq(only->name, OAI_REASONING) ? "reasoning" : "reasoning_content";
    if (n == 1) {
        wire_str(o->w, key, only->text);
        return true;
    }
    buf_init(&text, SIZE_MAX / 8);
    for (const struct chat_part *p = only; ok && p < o->m->parts + o->m->n_parts; p++)
        if (p->kind == CHAT_PART_REASONING && !is_detail(o, p) && !(is_thinking(p) && o->same))
            ok = buf_add(&text, p->text, o->e);
    if (ok)
        wire_str(o->w, key, buf_span(&text));
    buf_done(&text);
    return ok;
}

static bool write_reasoning(const struct out *o)
{
    size_t details = 0;
    if (count_kind(o->m, CHAT_PART_REASONING) == 0)
        return true;
    if (o->omit_reasoning) {
        wire_note(o->notes, SPAN("messages.reasoning"));
        return true;
    }
    if (!write_plain_reasoning(o))
        return false;
    for (size_t i = 0; i < o->m->n_parts; i++) {
        if (!is_detail(o, &o->m->parts[i]) || o->m->parts[i].kept)
            continue;
        if (!o->same) {
            wire_note(o->notes, SPAN("messages.reasoning"));
            continue;
        }
        if (details++ == 0) {
            json_w_key(o->w, "reasoning_details");
            json_w_arr(o->w);
        }
        write_detail(o, &o->m->parts[i]);
    }
    if (details > 0)
        json_w_arr_end(o->w);
    return true;
}

bool oai_write_message(struct json_w *w, const struct chat_message *m, size_t index,
                       const struct dialect_target *t, bool same, struct dialect_notes *notes,
                       struct err *e)
{
    static const struct wire_path messages = {NULL, "messages", 0};
    struct out o = {w, m, {&messages, NULL, index}, same, t->omit_reasoning, notes, e};
    if (m->tool_failed) /* the result's text has to say it */
        wire_note(notes, SPAN("messages.is_error"));
    json_w_obj(w);
    json_w_key(w, "role");
    json_w_cstr(w, chat_role_name(m->role));
    wire_str(w, "name", m->name);
    wire_str(w, "tool_call_id", m->tool_call_id);
    if (!write_content(&o) || !write_reasoning(&o))
        return false;
    if (count_kind(m, CHAT_PART_REFUSAL) == 1)
        for (size_t i = 0; i < m->n_parts; i++)
            if (m->parts[i].kind == CHAT_PART_REFUSAL)
                wire_str(w, "refusal", m->parts[i].text);
    write_calls(&o);
    if (!wire_write_extras(w, m->extras, m->n_extras, &o.at, same, NULL, notes, e))
        return false;
    json_w_obj_end(w);
    return true;
}
