/* dialect/gemini_send_part.c - one message -> parts of a content.
 *
 * Files go as inlineData (base64 that the client sent) or as fileData (an address that Google
 * fetches). Signatures: ai.google.dev/gemini-api/docs/thought-signatures says that a signature goes
 * back in the part it came in, that Gemini 3 refuses (400) a step of the current turn whose first
 * functionCall has none, and that a call which another model made is given
 * "skip_thought_signature_validator" instead. Which calls are of the current turn is Google's to
 * know: the first call of every content gets it. A signature that came with text comes back to us
 * as a block of reasoning without text, whose place is that text (gemini_read.c). */
#include "base/map.h"
#include "dialect/gemini_priv.h"

#define NO_SIGNATURE "skip_thought_signature_validator"
/* Where ids of Google's Files API live. */
#define FILES_URL "https://generativelanguage.googleapis.com/v1beta/"

static const struct wire_path messages = {NULL, "messages", 0};

/* The message that is written. */
struct msg {
    struct gem_out *o;
    const struct chat_message *m;
    struct wire_path at;
    enum gem_role role;
    size_t text_end;                   /* behind the last part with text; 0: none */
    const struct chat_part *signature; /* of the text, NULL: none */
    /* Call id -> call, and call id -> the block of reasoning that has its signature; NULL where
     * there is no such block. */
    struct map *calls, *signatures;
};

static void member(struct json_w *w, const char *key, struct span s)
{
    json_w_key(w, key);
    json_w_str(w, s);
}

static bool part_bad(const struct msg *b, const struct chat_part *p, const char *why)
{
    struct wire_path list = {&b->at, p->kind == CHAT_PART_TOOL_CALL ? "tool_calls" : "content", 0};
    size_t index = 0;
    for (const struct chat_part *q = b->m->parts; q < p; q++)
        index += (q->kind == CHAT_PART_TOOL_CALL) == (p->kind == CHAT_PART_TOOL_CALL);
    struct wire_path at = {&list, NULL, index};
    return wire_bad(&at, b->o->e, "%s", why);
}

void gem_write_text(struct gem_out *o, enum gem_role role, struct span text)
{
    if (text.n == 0) /* a part without data is a 400 */
        return;
    gem_content(o, role);
    json_w_obj(o->w);
    member(o->w, "text", text);
    json_w_obj_end(o->w);
}

/* --- files ------------------------------------------------------------------------------------ */

/* "data:image/png;base64,AAAA" */
struct data_url {
    struct span type, data;
    bool base64;
};

static struct data_url cut_data_url(struct span url)
{
    struct data_url d = {0};
    struct span rest = span_from(url, 5);
    size_t comma = span_find(rest, ",");
    struct span head = span_upto(rest, comma);
    d.type = span_upto(head, span_find(head, ";"));
    d.base64 = comma < rest.n && span_ends(head, SPAN(";base64"));
    d.data = span_from(rest, comma + 1);
    return d;
}

/* What Gemini must be told of an address: it does not look. p NULL: unknown, and left to it. */
static struct span type_of_name(struct span name)
{
    static const struct {
        struct span end, type;
    } types[] = {
        {SPAN_INIT(".png"), SPAN_INIT("image/png")},
        {SPAN_INIT(".jpg"), SPAN_INIT("image/jpeg")},
        {SPAN_INIT(".jpeg"), SPAN_INIT("image/jpeg")},
        {SPAN_INIT(".webp"), SPAN_INIT("image/webp")},
        {SPAN_INIT(".heic"), SPAN_INIT("image/heic")},
        {SPAN_INIT(".heif"), SPAN_INIT("image/heif")},
        {SPAN_INIT(".gif"), SPAN_INIT("image/gif")},
        {SPAN_INIT(".pdf"), SPAN_INIT("application/pdf")},
        {SPAN_INIT(".txt"), SPAN_INIT("text/plain")},
        {SPAN_INIT(".md"), SPAN_INIT("text/markdown")},
        {SPAN_INIT(".html"), SPAN_INIT("text/html")},
        {SPAN_INIT(".csv"), SPAN_INIT("text/csv")},
        {SPAN_INIT(".json"), SPAN_INIT("application/json")},
    };
    name = span_upto(name, span_find(name, "?#"));
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (name.n >= types[i].end.n &&
            span_eq_nocase(span_from(name, name.n - types[i].end.n), types[i].end))
            return types[i].type;
    return (struct span){0};
}

static void write_inline(struct json_w *w, struct span type, struct span data)
{
    json_w_obj(w);
    json_w_key(w, "inlineData");
    json_w_obj(w);
    member(w, "mimeType", type);
    member(w, "data", data);
    json_w_obj_end(w);
    json_w_obj_end(w);
}

static void write_file_uri(const struct msg *b, const struct chat_part *p, struct span base,
                           struct span uri)
{
    struct json_w *w = b->o->w;
    struct span type = p->media_type;
    struct buf whole;
    if (type.n == 0)
        type = type_of_name(p->file_name);
    if (type.n == 0)
        type = type_of_name(uri);
    gem_content(b->o, b->role);
    json_w_obj(w);
    json_w_key(w, "fileData");
    json_w_obj(w);
    if (type.n > 0)
        member(w, "mimeType", type);
    buf_init(&whole, base.n + uri.n + 1);
    w->failed = w->failed || !buf_add(&whole, base, w->e) || !buf_add(&whole, uri, w->e);
    member(w, "fileUri", buf_span(&whole));
    buf_done(&whole);
    json_w_obj_end(w);
    json_w_obj_end(w);
}

/* Finds what can go inline. False: *why is set. */
static bool inline_data(const struct chat_part *p, struct span *type, struct span *data,
                        const char **why)
{
    struct data_url d = cut_data_url(p->url);
    *type = p->media_type.n > 0 ? p->media_type : d.type;
    if (type->n == 0)
        *type = type_of_name(p->file_name);
    *data = d.data;
    *why = !d.base64      ? "holds data that is not base64"
           : type->n == 0 ? "does not say what type its data is of"
                          : NULL;
    return !*why;
}

static bool write_file(const struct msg *b, const struct chat_part *p)
{
    struct span type, data, id = p->file_id;
    const char *why;
    if (p->detail.p && !span_eq(p->detail, SPAN("auto")))
        wire_note(b->o->notes, SPAN("messages.detail"));
    if (p->file_name.p)
        wire_note(b->o->notes, SPAN("messages.filename"));
    if (span_starts(p->url, SPAN("data:"))) {
        if (!inline_data(p, &type, &data, &why))
            return part_bad(b, p, why);
        gem_content(b->o, b->role);
        write_inline(b->o->w, type, data);
    } else if (p->url.n > 0) {
        write_file_uri(b, p, SPAN(""), p->url);
    } else if (span_starts(id, SPAN("files/"))) {
        write_file_uri(b, p, SPAN(FILES_URL), id);
    } else if (span_starts(id, SPAN("https://")) || span_starts(id, SPAN("gs://"))) {
        write_file_uri(b, p, SPAN(""), id);
    } else if (id.n > 0) {
        return part_bad(b, p, "is a file of another provider: send its data, or a URL");
    } else {
        gem_write_text(b->o, b->role, p->text); /* a plain text document */
    }
    return true;
}

/* The data has no "data:" in front and the type no "audio/" where they come from OpenAI's part. */
static bool write_audio(const struct msg *b, const struct chat_part *p)
{
    char type[64] = "audio/";
    if (span_starts(p->url, SPAN("data:")) || p->media_type.n == 0 ||
        span_find(p->media_type, "/") < p->media_type.n)
        return write_file(b, p);
    if (p->media_type.n > sizeof type - 6)
        return part_bad(b, p, "is audio of an unknown type");
    memcpy(type + 6, p->media_type.p, p->media_type.n);
    gem_content(b->o, b->role);
    write_inline(b->o->w, (struct span){type, 6 + p->media_type.n}, p->url);
    return true;
}

/* --- calls and their results ------------------------------------------------------------------ */

/* The text if it is a JSON object; else p NULL. unwrap: null counts as an empty one. */
static struct span object_in(struct gem_out *o, struct span text, bool unwrap, bool *no_memory)
{
    json_val *v;
    struct err why;
    text = span_trim(text);
    if (!json_parse_scratch(&o->scratch, text, &v, &why)) {
        *no_memory = why.cls == ERR_NOMEM;
        return (struct span){0};
    }
    if (json_is_obj(v))
        return text;
    if (unwrap && json_is_null(v))
        return SPAN("{}");
    return (struct span){0};
}

/* Nothing is no argument; a string that holds an object is taken for the object. Else it is an
 * error: `args` holds an object and nothing besides. */
static bool write_args(const struct msg *b, const struct chat_part *p)
{
    struct gem_out *o = b->o;
    bool no_memory = false;
    struct buf inner;
    json_val *v;
    struct span text = span_trim(p->arguments).n > 0 ? p->arguments : SPAN("{}");
    struct span object = object_in(o, text, true, &no_memory);
    json_w_key(o->w, "args");
    if (object.p) {
        json_w_raw(o->w, object);
        return true;
    }
    buf_init(&inner, text.n + 1);
    bool ok = !no_memory;
    if (ok && json_parse_scratch(&o->scratch, text, &v, NULL) && json_is_str(v)) {
        ok = buf_add(&inner, json_str(v), NULL);
        no_memory = !ok;
        object = ok ? object_in(o, buf_span(&inner), true, &no_memory) : object;
    }
    if (object.p)
        json_w_raw(o->w, object);
    buf_done(&inner);
    if (no_memory)
        return wire_no_memory(o->e);
    return object.p || part_bad(b, p, "has arguments that are not a JSON object");
}

/* A signature that Gemini gave, or that came in the place for Gemini's. */
static struct span signature_of(const struct msg *b, const struct chat_part *p)
{
    bool ours = !p->format.p || span_eq(p->format, CHAT_SIGNED_GEMINI);
    if (p->signature.n > 0 && ours)
        return p->signature;
    const struct chat_part *block = map_get(b->signatures, p->id);
    return block ? block->signature : (struct span){0};
}

static bool write_call(const struct msg *b, const struct chat_part *p)
{
    struct gem_out *o = b->o;
    struct json_w *w = o->w;
    struct span signature = signature_of(b, p);
    if (p->raw.p)
        return part_bad(b, p, "has members that the upstream of this model does not know");
    gem_content(o, GEM_MODEL);
    if (signature.n == 0 && !o->content_has_call && gem_wants_signatures(&o->model))
        signature = SPAN(NO_SIGNATURE);
    json_w_obj(w);
    json_w_key(w, "functionCall");
    json_w_obj(w);
    if (gem_has_call_ids(&o->model) && p->id.n > 0)
        member(w, "id", p->id);
    member(w, "name", p->name);
    if (!write_args(b, p))
        return false;
    json_w_obj_end(w);
    if (signature.n > 0)
        member(w, "thoughtSignature", signature);
    json_w_obj_end(w);
    o->content_has_call = true;
    return true;
}

/* Numbers become doubles there. An object with one that is longer than a double holds goes as text.
 */
static bool has_long_number(struct span s)
{
    size_t digits = 0;
    bool in_string = false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\' && in_string)
            i++;
        else if (s.p[i] == '"')
            in_string = !in_string;
        digits = !in_string && s.p[i] >= '0' && s.p[i] <= '9' ? digits + 1 : 0;
        if (digits > 15)
            return true;
    }
    return false;
}

/* An object is the response itself; other text stands in "result"; what a failed tool said in
 * "error", which Gemini knows. */
static bool write_response(struct gem_out *o, const struct chat_message *m, struct span text)
{
    struct json_w *w = o->w;
    bool no_memory = false;
    struct span object = object_in(o, text, false, &no_memory);
    if (no_memory)
        return wire_no_memory(o->e);
    if (object.p && has_long_number(object))
        object.p = NULL;
    json_w_key(w, "response");
    if (object.p && !m->tool_failed) {
        json_w_raw(w, object);
        return true;
    }
    json_w_obj(w);
    json_w_key(w, m->tool_failed ? "error" : "result");
    if (object.p)
        json_w_raw(w, object);
    else
        json_w_str(w, text);
    json_w_obj_end(w);
    return true;
}

/* Images and documents inside a result: Gemini 3 takes their data beside the response. */
static bool write_result_files(const struct msg *b)
{
    struct json_w *w = b->o->w;
    bool open = false;
    for (size_t i = 0; i < b->m->n_parts; i++) {
        const struct chat_part *p = &b->m->parts[i];
        struct span type, data;
        const char *why =
            "is of a kind that a tool result of the upstream of this model cannot hold";
        if (p->kind == CHAT_PART_TEXT && !p->raw.p)
            continue;
        bool file = p->kind == CHAT_PART_IMAGE || p->kind == CHAT_PART_DOCUMENT;
        if (p->raw.p || !file || !gem_has_call_ids(&b->o->model))
            return part_bad(b, p, why);
        if (!span_starts(p->url, SPAN("data:")))
            return part_bad(b, p, "must be data and not an address: it stands in a tool result");
        if (!inline_data(p, &type, &data, &why))
            return part_bad(b, p, why);
        if (!open) {
            json_w_key(w, "parts");
            json_w_arr(w);
        }
        open = true;
        write_inline(w, type, data);
    }
    if (open)
        json_w_arr_end(w);
    return true;
}

/* All text of a message, joined by LF. Borrowed from the message when there is but one. */
static bool join_text(const struct chat_message *m, struct buf *joined, struct span *out,
                      struct err *e)
{
    const struct chat_part *only = NULL;
    size_t n = 0;
    *out = SPAN("");
    for (size_t i = 0; i < m->n_parts; i++)
        if (m->parts[i].kind == CHAT_PART_TEXT && n++ == 0)
            only = &m->parts[i];
    if (n == 1 && only->text.p)
        *out = only->text;
    if (n <= 1)
        return true;
    for (size_t i = 0; i < m->n_parts; i++) {
        if (m->parts[i].kind != CHAT_PART_TEXT)
            continue;
        if ((joined->n > 0 && !buf_add_char(joined, '\n', e)) ||
            !buf_add(joined, m->parts[i].text, e))
            return false;
    }
    *out = buf_span(joined);
    return true;
}

static void note_marks(const struct msg *b)
{
    for (size_t i = 0; i < b->m->n_parts; i++)
        if (b->m->parts[i].cache_mark)
            wire_note(b->o->notes, SPAN("cache_control"));
}

bool gem_write_result(struct gem_out *o, size_t message, const struct chat_part *call)
{
    const struct chat_message *m = &o->r->messages[message];
    struct msg b = {.o = o, .m = m, .at = {&messages, NULL, message}, .role = GEM_USER};
    struct json_w *w = o->w;
    struct buf joined;
    struct span text;
    note_marks(&b);
    if (!wire_write_extras(w, m->extras, m->n_extras, &b.at, false, NULL, o->notes, o->e))
        return false;
    gem_content(o, GEM_USER);
    json_w_obj(w);
    json_w_key(w, "functionResponse");
    json_w_obj(w);
    if (gem_has_call_ids(&o->model) && call->id.n > 0)
        member(w, "id", call->id);
    member(w, "name", call->name);
    buf_init(&joined, SIZE_MAX / 8);
    bool ok =
        join_text(m, &joined, &text, o->e) && write_response(o, m, text) && write_result_files(&b);
    buf_done(&joined);
    json_w_obj_end(w);
    json_w_obj_end(w);
    return ok;
}

/* --- a message -------------------------------------------------------------------------------- */

/* A text that takes the signature of the message's text, if it is the last. */
static void write_text(struct msg *b, const struct chat_part *p)
{
    struct json_w *w = b->o->w;
    bool last = (size_t)(p - b->m->parts) + 1 == b->text_end;
    if (!last || !b->signature) {
        gem_write_text(b->o, b->role, p->text);
        return;
    }
    gem_content(b->o, b->role);
    json_w_obj(w);
    member(w, "text", p->text);
    member(w, "thoughtSignature", b->signature->signature);
    json_w_obj_end(w);
}

/* Thoughts that Gemini signed go back as they came. A signature alone is one of text, or of a call
 * (see signature_of()). Whatever other reasoning there is, nobody wants back. */
static void write_reasoning(struct msg *b, const struct chat_part *p)
{
    struct json_w *w = b->o->w;
    bool signed_here = p->signature.n > 0 && span_eq(p->format, CHAT_SIGNED_GEMINI);
    if (p == b->signature) /* it goes with the text */
        return;
    if (signed_here && p->text.n > 0) {
        gem_content(b->o, b->role);
        json_w_obj(w);
        member(w, "text", p->text);
        json_w_key(w, "thought");
        json_w_bool(w, true);
        member(w, "thoughtSignature", p->signature);
        json_w_obj_end(w);
    } else if (!(signed_here && map_get(b->calls, p->id))) {
        wire_note(b->o->notes, SPAN("messages.reasoning"));
    }
}

static bool write_part(struct msg *b, const struct chat_part *p)
{
    bool foreign = p->raw.p && p->kind != CHAT_PART_REASONING && p->kind != CHAT_PART_TOOL_CALL;
    if (foreign || p->kind == CHAT_PART_RAW)
        return part_bad(b, p,
                        "is of a kind, or has members, that the upstream of this model does not "
                        "know");
    switch (p->kind) {
    case CHAT_PART_TEXT:
    case CHAT_PART_REFUSAL:
        write_text(b, p);
        return true;
    case CHAT_PART_IMAGE:
    case CHAT_PART_DOCUMENT:
        return write_file(b, p);
    case CHAT_PART_AUDIO:
        return write_audio(b, p);
    case CHAT_PART_REASONING:
        write_reasoning(b, p);
        return true;
    case CHAT_PART_TOOL_CALL:
        return write_call(b, p);
    case CHAT_PART_RAW:
        break;
    }
    return true;
}

/* A signature whose place is another part: without text, or with thoughts that a client joined it
 * to. */
static bool is_lone_signature(const struct chat_part *p)
{
    return p->kind == CHAT_PART_REASONING && p->signature.n > 0 &&
           span_eq(p->format, CHAT_SIGNED_GEMINI) &&
           (p->text.n == 0 || span_eq(p->id, GEM_TEXT_BLOCK));
}

/* OpenRouter keeps the signature of a call beside it: in an encrypted block of reasoning with the
 * id of the call. */
static bool find_call_signatures(struct msg *b)
{
    bool ok = true, any = false;
    for (size_t i = 0; i < b->m->n_parts; i++)
        any = any || (is_lone_signature(&b->m->parts[i]) && b->m->parts[i].id.n > 0);
    if (!any)
        return true;
    b->calls = map_new();
    b->signatures = map_new();
    ok = b->calls && b->signatures;
    for (size_t i = 0; ok && i < b->m->n_parts; i++) {
        const struct chat_part *p = &b->m->parts[i];
        /* The maps hold them as void *; nobody writes through it. */
        if (p->kind == CHAT_PART_TOOL_CALL && p->id.n > 0)
            ok = map_put(b->calls, p->id, (void *)(uintptr_t)p);
        else if (is_lone_signature(p) && p->id.n > 0)
            ok = map_put(b->signatures, p->id, (void *)(uintptr_t)p);
    }
    return ok || wire_no_memory(b->o->e);
}

/* The last text and the signature that goes with it. */
static void find_text_signature(struct msg *b)
{
    for (size_t i = 0; i < b->m->n_parts; i++) {
        const struct chat_part *p = &b->m->parts[i];
        bool text = p->kind == CHAT_PART_TEXT || p->kind == CHAT_PART_REFUSAL;
        if (text && p->text.n > 0)
            b->text_end = i + 1;
        if (is_lone_signature(p) && !map_get(b->calls, p->id))
            b->signature = p;
    }
    if (b->text_end == 0)
        b->signature = NULL;
}

static bool write_parts(struct msg *b)
{
    bool ok = true;
    if (b->role == GEM_MODEL) {
        ok = find_call_signatures(b);
        find_text_signature(b);
    }
    for (size_t i = 0; ok && i < b->m->n_parts; i++)
        ok = write_part(b, &b->m->parts[i]);
    map_free(b->calls);
    map_free(b->signatures);
    return ok;
}

bool gem_write_message(struct gem_out *o, size_t message)
{
    const struct chat_message *m = &o->r->messages[message];
    struct msg b = {.o = o,
                    .m = m,
                    .at = {&messages, NULL, message},
                    .role = m->role == CHAT_ASSISTANT ? GEM_MODEL : GEM_USER};
    if (m->name.p)
        wire_note(o->notes, SPAN("messages.name"));
    note_marks(&b);
    return wire_write_extras(o->w, m->extras, m->n_extras, &b.at, false, NULL, o->notes, o->e) &&
           write_parts(&b);
}
