/* dialect/anthropic_messages_send_part.c - chat_part -> a block of an upstream's body. */
#include "base/limits.h"
#include "dialect/anthropic_priv.h"

static bool part_bad(struct ant_out *o, size_t index, const struct chat_part *p, const char *why)
{
    static const struct wire_path messages = {NULL, "messages", 0};
    struct wire_path message = {&messages, NULL, index}, list = {&message, "content", 0};
    struct wire_path at = {&list, NULL, (size_t)(p - o->r->messages[index].parts)};
    return wire_bad(&at, o->e, "%s", why);
}

/* Blocks of nothing but white space are refused. */
static bool is_blank(struct span s)
{
    return span_trim(s).n == 0;
}

/* Only its maker takes a signature back, and takes no thinking without one. */
static bool is_own_thinking(const struct chat_part *p)
{
    return p->signature.n > 0 && span_eq(p->format, CHAT_SIGNED_ANTHROPIC);
}

bool ant_is_written(const struct ant_out *o, const struct chat_part *p)
{
    switch (p->kind) {
    case CHAT_PART_TEXT:
    case CHAT_PART_REFUSAL:
        return !is_blank(p->text);
    case CHAT_PART_REASONING:
        return is_own_thinking(p);
    case CHAT_PART_IMAGE:
    case CHAT_PART_DOCUMENT:
    case CHAT_PART_AUDIO:
    case CHAT_PART_TOOL_CALL:
    case CHAT_PART_RAW:
        break;
    }
    return true;
}

void ant_write_mark(struct ant_out *o, struct span cache)
{
    if (o->skip_marks > 0) {
        o->skip_marks--;
        wire_note(o->notes, SPAN("cache_control"));
        return;
    }
    wire_raw(o->w, "cache_control", cache.p ? cache : SPAN("{\"type\":\"ephemeral\"}"));
}

/* "data:application/pdf;base64,JVBERi0..." */
static bool cut_data_url(struct span url, struct span *out_type, struct span *out_data)
{
    struct span rest = span_from(url, 5);
    size_t comma = span_find(span_upto(rest, 256), ",");
    struct span head = span_upto(rest, comma);
    if (!span_starts(url, SPAN("data:")) || comma >= rest.n || !span_ends(head, SPAN(";base64")))
        return false;
    *out_type = span_upto(head, span_find(head, ";"));
    *out_data = span_from(rest, comma + 1);
    return true;
}

static void write_base64(struct json_w *w, struct span type, struct span data)
{
    wire_str(w, "type", SPAN("base64"));
    wire_str(w, "media_type", type);
    wire_str(w, "data", data);
}

/* Opens and closes `source`. */
static bool write_source(struct ant_out *o, size_t index, const struct chat_part *p)
{
    struct json_w *w = o->w;
    struct span type, data;
    bool document = p->kind == CHAT_PART_DOCUMENT;
    if (p->file_id.p && !o->same)
        return part_bad(o, index, p,
                        "is a file id, which the upstream of this model does not know: send the "
                        "data or a URL");
    json_w_key(w, "source");
    json_w_obj(w);
    if (p->file_id.p) {
        wire_str(w, "type", SPAN("file"));
        wire_str(w, "file_id", p->file_id);
    } else if (document && p->text.p) {
        wire_str(w, "type", SPAN("text"));
        wire_str(w, "media_type", SPAN("text/plain"));
        wire_str(w, "data", p->text);
    } else if (span_starts(p->url, SPAN("http://")) || span_starts(p->url, SPAN("https://"))) {
        wire_str(w, "type", SPAN("url"));
        wire_str(w, "url", p->url);
    } else if (!cut_data_url(p->url, &type, &data)) {
        return part_bad(o, index, p, "is neither an http URL nor a data: URL in base64");
    } else if (document && !span_eq_nocase(type, SPAN("application/pdf")) && !o->same) {
        return part_bad(o, index, p,
                        "is a document that the upstream of this model does not read: it takes "
                        "PDF");
    } else {
        write_base64(w, type, data);
    }
    json_w_obj_end(w);
    return true;
}

static void write_thinking(struct json_w *w, const struct chat_part *p)
{
    bool redacted = p->text.n == 0 && !p->signs_text;
    wire_str(w, "type", redacted ? SPAN("redacted_thinking") : SPAN("thinking"));
    if (!redacted)
        wire_str(w, "thinking", p->text.p ? p->text : SPAN(""));
    wire_str(w, redacted ? "data" : "signature", p->signature);
}

/* Arguments stand in strings elsewhere, here they are a part of the body: five levels down, and all
 * that reads bodies has a limit. */
static bool is_deep(struct span json)
{
    struct wire_track t = {0};
    unsigned deepest = 0;
    for (size_t i = 0; i < json.n; i++) {
        wire_track_feed(&t, (struct span){json.p + i, 1});
        deepest = t.depth > deepest ? t.depth : deepest;
    }
    return deepest > LIMIT_JSON_DEPTH - 5;
}

bool ant_write_input(struct json_w *w, struct json_scratch *scratch, struct span arguments,
                     struct err *e)
{
    struct err why = {0};
    json_val *v = NULL;
    struct span text = span_trim(arguments);
    if (text.n == 0) {
        json_w_raw(w, SPAN("{}"));
        return true;
    }
    if (json_parse_scratch(scratch, text, &v, &why) && json_is_obj(v) && !is_deep(text)) {
        json_w_raw(w, text);
        return true;
    }
    if (why.cls == ERR_NOMEM) {
        if (e)
            *e = why;
        return false;
    }
    json_w_obj(w);
    wire_str(w, "arguments", arguments);
    json_w_obj_end(w);
    return true;
}

void ant_write_call_id(struct json_w *w, struct span id)
{
    char made[32];
    if (wire_is_name(id)) {
        json_w_str(w, id);
        return;
    }
    int n = snprintf(made, sizeof made, "toolu_%016llx", (unsigned long long)span_hash(id, 0));
    json_w_str(w, (struct span){made, (size_t)n});
}

static bool write_call(struct ant_out *o, const struct chat_part *p)
{
    struct json_w *w = o->w;
    wire_str(w, "type", SPAN("tool_use"));
    json_w_key(w, "id");
    if (o->same)
        json_w_str(w, p->id);
    else
        ant_write_call_id(w, p->id);
    wire_str(w, "name", p->name);
    json_w_key(w, "input");
    return ant_write_input(w, &o->scratch, p->arguments, o->e);
}

static bool write_inside(struct ant_out *o, size_t index, const struct chat_part *p)
{
    struct json_w *w = o->w;
    switch (p->kind) {
    case CHAT_PART_TEXT:
    case CHAT_PART_REFUSAL:
        wire_str(w, "type", SPAN("text"));
        wire_str(w, "text", p->text);
        return true;
    case CHAT_PART_IMAGE:
        wire_str(w, "type", SPAN("image"));
        if (p->detail.p && !span_eq(p->detail, SPAN("auto")))
            wire_note(o->notes, SPAN("image_url.detail"));
        return write_source(o, index, p);
    case CHAT_PART_DOCUMENT:
        wire_str(w, "type", SPAN("document"));
        wire_str(w, "title", p->file_name);
        return write_source(o, index, p);
    case CHAT_PART_AUDIO:
        return part_bad(o, index, p, "is audio, which the upstream of this model does not hear");
    case CHAT_PART_REASONING:
        write_thinking(w, p);
        return true;
    case CHAT_PART_TOOL_CALL:
        return write_call(o, p);
    case CHAT_PART_RAW:
        break;
    }
    return part_bad(o, index, p, "is of a kind that the upstream of this model does not know");
}

bool ant_write_part(struct ant_out *o, size_t index, const struct chat_part *p)
{
    bool in_result = o->r->messages[index].role == CHAT_TOOL; /* the mark stands on the result */
    if (!ant_is_written(o, p)) {
        if (p->kind == CHAT_PART_REASONING)
            wire_note(o->notes, SPAN("messages.reasoning"));
        return true;
    }
    if (p->raw.p && o->same) {
        json_w_raw(o->w, p->raw);
        return true;
    }
    /* Reasoning has nothing to lose with its wrapping, and a call keeps its arguments. */
    if (p->raw.p && p->kind != CHAT_PART_REASONING && p->kind != CHAT_PART_TOOL_CALL)
        return part_bad(o, index, p,
                        "is of a kind, or has members, that the upstream of this model does not "
                        "know");
    json_w_obj(o->w);
    if (!write_inside(o, index, p))
        return false;
    if (p->cache_mark && !in_result && p->kind != CHAT_PART_REASONING)
        ant_write_mark(o, p->cache);
    json_w_obj_end(o->w);
    return true;
}
