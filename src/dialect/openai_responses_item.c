/* dialect/openai_responses_item.c - a client's input items -> chat_message.
 *
 * Items are flat, messages are not: what the assistant did in one turn (reasoning, a message,
 * calls) comes as items one after another and becomes one message, as every other dialect has it.
 * Ids and states of items name what was seen before and mean nothing to a model; they are not kept,
 * but for the id of reasoning, to which its signature is bound. Items of tools that OpenAI runs are
 * kept whole, for an upstream of this dialect. */
#include "base/text.h"
#include "dialect/responses_priv.h"

/* The list being built. Parts of all messages lie in one array, those of a message together. */
struct items {
    struct arena *a;
    struct chat_message *list;
    struct chat_part *parts;
    size_t n, n_parts;
    bool turn;    /* the last message is the assistant's turn, and more may join it */
    bool spoken;  /* it has a message item */
    bool calling; /* it has calls */
    struct err *e;
};

static struct chat_part *push(struct items *b, enum chat_part_kind kind)
{
    struct chat_part *p = &b->parts[b->n_parts++];
    *p = (struct chat_part){.kind = kind};
    b->list[b->n - 1].n_parts++;
    return p;
}

static struct chat_message *open_message(struct items *b, enum chat_role role)
{
    struct chat_message *m = &b->list[b->n++];
    *m = (struct chat_message){.role = role, .parts = b->parts + b->n_parts};
    b->turn = b->spoken = b->calling = false;
    return m;
}

/* The assistant's turn: the one that is open, or a new one. */
static void open_turn(struct items *b)
{
    if (!b->turn)
        open_message(b, CHAT_ASSISTANT);
    b->turn = true;
}

/* Whether every member of v is one of the names; a null is no member. */
static bool knows(json_val *v, const char *const *names, size_t n)
{
    struct span key;
    json_val *x;
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);) {
        size_t i = 0;
        while (i < n && !span_eq(span_of(names[i]), key))
            i++;
        if (i == n && !json_is_null(x))
            return false;
    }
    return true;
}

#define KNOWS(v, ...)                                                                              \
    knows((v), (const char *const[]){__VA_ARGS__}, COUNT_OF(((const char *const[]){__VA_ARGS__})))

/* --- parts ------------------------------------------------------------------------------------ */

/* "data:image/png;base64,...." -> "image/png" */
static struct span media_type_of(struct span url)
{
    if (!span_starts(url, SPAN("data:")))
        return (struct span){0};
    struct span rest = span_from(url, 5);
    return span_upto(rest, span_find(rest, ";,"));
}

static bool is_url(struct span s, bool with_data)
{
    return span_starts(s, SPAN("https://")) || span_starts(s, SPAN("http://")) ||
           (with_data && span_starts(s, SPAN("data:")));
}

static bool read_text(struct items *b, const struct wire_path *at, json_val *v)
{
    json_val *mark = json_get(v, "prompt_cache_breakpoint");
    struct chat_part *p = push(b, CHAT_PART_TEXT);
    p->cache_mark = json_is_obj(mark);
    return wire_get_str(v, "text", true, at, &p->text, b->e) &&
           /* Annotations and logprobs came with an answer: nobody means anything by them here. */
           ((KNOWS(v, "type", "text", "annotations", "logprobs", "prompt_cache_breakpoint") &&
             json_count(mark) <= 1) ||
            json_raw(b->a, v, &p->raw, b->e));
}

static bool read_image(struct items *b, const struct wire_path *at, json_val *v)
{
    json_val *mark = json_get(v, "prompt_cache_breakpoint");
    struct chat_part *p = push(b, CHAT_PART_IMAGE);
    if (!wire_get_str(v, "image_url", false, at, &p->url, b->e) ||
        !wire_get_str(v, "file_id", false, at, &p->file_id, b->e) ||
        !wire_get_str(v, "detail", false, at, &p->detail, b->e))
        return false;
    if (!p->url.p && !p->file_id.p)
        return wire_bad_key(at, "image_url", b->e, "is missing, and so is file_id");
    if (p->url.p && !is_url(p->url, true))
        return wire_bad_key(at, "image_url", b->e, "must be an http, https or data: URL");
    p->media_type = media_type_of(p->url);
    p->cache_mark = json_is_obj(mark);
    return (KNOWS(v, "type", "image_url", "file_id", "detail", "prompt_cache_breakpoint") &&
            json_count(mark) <= 1) ||
           json_raw(b->a, v, &p->raw, b->e);
}

static bool read_file(struct items *b, const struct wire_path *at, json_val *v)
{
    json_val *mark = json_get(v, "prompt_cache_breakpoint");
    struct chat_part *p = push(b, CHAT_PART_DOCUMENT);
    struct span data = {0}, url = {0};
    if (!wire_get_str(v, "file_id", false, at, &p->file_id, b->e) ||
        !wire_get_str(v, "file_data", false, at, &data, b->e) ||
        !wire_get_str(v, "file_url", false, at, &url, b->e) ||
        !wire_get_str(v, "filename", false, at, &p->file_name, b->e))
        return false;
    if ((p->file_id.p != NULL) + (data.p != NULL) + (url.p != NULL) != 1)
        return wire_bad(at, b->e, "must hold one of file_id, file_data and file_url");
    if (url.p && !is_url(url, false))
        return wire_bad_key(at, "file_url", b->e, "must be an http or https URL");
    if (data.p && is_url(data, false))
        return wire_bad_key(at, "file_data", b->e, "must be a data: URL; a link goes in file_url");
    p->url = data.p ? data : url;
    p->media_type = media_type_of(p->url);
    p->cache_mark = json_is_obj(mark);
    return (KNOWS(v, "type", "file_id", "file_data", "file_url", "filename",
                  "prompt_cache_breakpoint") &&
            json_count(mark) <= 1) ||
           json_raw(b->a, v, &p->raw, b->e);
}

static bool read_audio(struct items *b, const struct wire_path *at, json_val *v)
{
    struct wire_path below = {at, "input_audio", 0};
    json_val *audio = wire_get(v, "input_audio");
    struct chat_part *p = push(b, CHAT_PART_AUDIO);
    if (!json_is_obj(audio))
        return wire_bad(&below, b->e, "must be an object with data and format");
    return wire_get_str(audio, "data", true, &below, &p->url, b->e) &&
           wire_get_str(audio, "format", true, &below, &p->media_type, b->e) &&
           ((KNOWS(v, "type", "input_audio") && KNOWS(audio, "data", "format")) ||
            json_raw(b->a, v, &p->raw, b->e));
}

static bool read_refusal(struct items *b, const struct wire_path *at, json_val *v)
{
    return wire_get_str(v, "refusal", true, at, &push(b, CHAT_PART_REFUSAL)->text, b->e);
}

static bool read_part(struct items *b, enum chat_role role, const struct wire_path *at, json_val *v)
{
    static const struct {
        struct span type;
        bool (*read)(struct items *b, const struct wire_path *at, json_val *v);
        bool assistant_only;
    } types[] = {
        {SPAN_INIT("input_text"), read_text, false}, {SPAN_INIT("output_text"), read_text, true},
        {SPAN_INIT("text"), read_text, false},       {SPAN_INIT("input_image"), read_image, false},
        {SPAN_INIT("input_file"), read_file, false}, {SPAN_INIT("input_audio"), read_audio, false},
        {SPAN_INIT("refusal"), read_refusal, true},
    };
    struct span type = {0};
    if (!json_is_obj(v))
        return wire_bad(at, b->e, "must be an object, not %s", json_type_name(v));
    if (!wire_get_str(v, "type", true, at, &type, b->e))
        return false;
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (!span_eq(types[i].type, type))
            continue;
        if (types[i].assistant_only && role != CHAT_ASSISTANT)
            return wire_bad_key(at, "type", b->e, "%s belongs to assistant messages",
                                types[i].type.p);
        return types[i].read(b, at, v);
    }
    if (type.n == 0)
        return wire_bad_key(at, "type", b->e, "is empty");
    struct chat_part *p = push(b, CHAT_PART_RAW);
    p->name = type;
    return json_raw(b->a, v, &p->raw, b->e);
}

/* A string, or a list of parts; key: where it stands. */
static bool read_content(struct items *b, enum chat_role role, const struct wire_path *item,
                         const char *key, json_val *v)
{
    struct wire_path at = {item, key, 0}, below = {&at, NULL, 0};
    struct span name;
    json_val *part;
    if (json_is_str(v)) {
        push(b, CHAT_PART_TEXT)->text = json_str(v);
        return true;
    }
    if (!v)
        return wire_bad(&at, b->e, "is missing");
    if (!json_is_arr(v))
        return wire_bad(&at, b->e, "must be a string or a list of parts, not %s",
                        json_type_name(v));
    if (json_count(v) == 0 && role != CHAT_ASSISTANT)
        return wire_bad(&at, b->e, "is an empty list: send at least one part, or a string");
    if (json_count(v) == 0) /* an answer that said nothing, sent back */
        push(b, CHAT_PART_TEXT)->text = SPAN("");
    for (struct json_iter it = json_iter_of(v); json_next(&it, &name, &part); below.index++)
        if (!read_part(b, role, &below, part))
            return false;
    return true;
}

/* --- items ------------------------------------------------------------------------------------ */

/* Members that are in no list go with the message: of a phase or a name others need not know. */
static bool read_extras(struct items *b, json_val *v, const char *const *names, size_t n,
                        struct chat_message *m)
{
    struct chat_extra *extras = NULL;
    struct span key;
    json_val *x;
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);) {
        size_t i = 0;
        while (i < n && !span_eq(span_of(names[i]), key))
            i++;
        if (i < n || json_is_null(x))
            continue;
        if (!extras && !(extras = arena_array(b->a, json_count(v), sizeof *extras)))
            return wire_no_memory(b->e);
        struct chat_extra *to = &extras[m->n_extras];
        *to = (struct chat_extra){
            .name = key, .hint = span_eq(key, SPAN("phase")) || span_eq(key, SPAN("name"))};
        if (!json_raw(b->a, x, &to->json, b->e))
            return false;
        m->n_extras++;
        m->extras = extras;
    }
    return true;
}

static bool read_role(struct items *b, const struct wire_path *at, json_val *v, enum chat_role *out)
{
    static const enum chat_role roles[] = {CHAT_SYSTEM, CHAT_DEVELOPER, CHAT_USER, CHAT_ASSISTANT};
    struct span role = {0};
    char shown[48];
    if (!wire_get_str(v, "role", true, at, &role, b->e))
        return false;
    for (size_t i = 0; i < COUNT_OF(roles); i++)
        if (span_eq(role, span_of(chat_role_name(roles[i])))) {
            *out = roles[i];
            return true;
        }
    text_visible_cstr(shown, sizeof shown, role);
    return wire_bad_key(at, "role", b->e,
                        "must be system, developer, user or assistant, not \"%s\"", shown);
}

/* A second message of the assistant begins a new one, but for calls that still wait for their
 * results: between those and the results no other dialect takes a message. */
static bool read_message(struct items *b, const struct wire_path *at, json_val *v)
{
    static const char *const names[] = {"type", "role", "content", "id", "status"};
    enum chat_role role = CHAT_USER;
    if (!read_role(b, at, v, &role))
        return false;
    bool joins = b->turn && (!b->spoken || (b->calling && knows(v, names, COUNT_OF(names))));
    if (role != CHAT_ASSISTANT || !joins)
        open_message(b, role);
    b->turn = role == CHAT_ASSISTANT;
    b->spoken = true;
    return read_extras(b, v, names, COUNT_OF(names), &b->list[b->n - 1]) &&
           read_content(b, role, at, "content", wire_get(v, "content"));
}

static bool read_arguments(struct items *b, const struct wire_path *at, json_val *v,
                           struct chat_part *p)
{
    if (json_is_str(v))
        p->arguments = json_str(v);
    else if (json_is_obj(v))
        return json_raw(b->a, v, &p->arguments, b->e);
    else
        return wire_bad_key(at, "arguments", b->e, "must be a string of JSON");
    return true;
}

static bool read_call(struct items *b, const struct wire_path *at, json_val *v)
{
    json_val *google = json_get(json_get(v, "extra_content"), "google");
    open_turn(b);
    b->calling = true;
    struct chat_part *p = push(b, CHAT_PART_TOOL_CALL);
    if (!wire_get_str(v, "call_id", true, at, &p->id, b->e) ||
        !wire_get_str(v, "name", true, at, &p->name, b->e) ||
        !read_arguments(b, at, wire_get(v, "arguments"), p))
        return false;
    if (p->id.n == 0)
        return wire_bad_key(at, "call_id", b->e, "is empty");
    if (!wire_is_name(p->name))
        return wire_bad_key(at, "name", b->e, "must match ^[a-zA-Z0-9_-]{1,64}$");
    /* Ours, in the words of Gemini's compatible surface: a signature that goes back with the call.
     */
    p->signature = json_str(json_get(google, "thought_signature"));
    if (p->signature.p)
        p->format = CHAT_SIGNED_GEMINI;
    return KNOWS(v, "type", "id", "call_id", "name", "arguments", "status", "extra_content") ||
           json_raw(b->a, v, &p->raw, b->e);
}

static bool read_output(struct items *b, const struct wire_path *at, json_val *v)
{
    static const char *const names[] = {"type", "id", "call_id", "output", "status"};
    struct chat_message *m = open_message(b, CHAT_TOOL);
    if (!wire_get_str(v, "call_id", true, at, &m->tool_call_id, b->e))
        return false;
    if (m->tool_call_id.n == 0)
        return wire_bad_key(at, "call_id", b->e, "is empty: it says which call this answers");
    return read_extras(b, v, names, COUNT_OF(names), m) &&
           read_content(b, CHAT_TOOL, at, "output", wire_get(v, "output"));
}

static bool add_texts(struct items *b, json_val *list, struct span between, struct buf *text)
{
    struct span key;
    json_val *part;
    for (struct json_iter it = json_iter_of(json_is_arr(list) ? list : NULL);
         json_next(&it, &key, &part);) {
        struct span s = json_str(json_get(part, "text"));
        if (s.n > 0 && ((text->n > 0 && !buf_add(text, between, b->e)) || !buf_add(text, s, b->e)))
            return false;
    }
    return true;
}

/* One text as it stands, more are joined: what the model thought where the client has it, else the
 * summary. */
static bool read_thought(struct items *b, json_val *v, struct chat_part *p)
{
    json_val *content = wire_get(v, "content"), *summary = wire_get(v, "summary");
    json_val *list = json_count(content) > 0 ? content : summary;
    struct buf text;
    if (json_is_arr(list) && json_count(list) == 1) {
        p->text = json_str(json_get(json_iter_of(list).at, "text"));
        return true;
    }
    buf_init(&text, SIZE_MAX / 8);
    bool ok = add_texts(b, list, SPAN("\n\n"), &text);
    p->text = arena_dup(b->a, buf_span(&text));
    buf_done(&text);
    return (ok && p->text.p) || wire_no_memory(b->e);
}

static bool read_reasoning(struct items *b, const struct wire_path *at, json_val *v)
{
    struct span id = {0}, sealed = {0};
    struct resp_block block = {0};
    open_turn(b);
    struct chat_part *p = push(b, CHAT_PART_REASONING);
    if (!wire_get_str(v, "id", false, at, &id, b->e) ||
        !wire_get_str(v, "encrypted_content", false, at, &sealed, b->e) || !read_thought(b, v, p))
        return false;
    resp_unseal(sealed, id, &block);
    p->id = block.id;
    p->signature = block.signature;
    p->format = block.format;
    bool plain = json_count(json_get(v, "content")) == 0 && json_count(json_get(v, "summary")) <= 1;
    return !span_eq(p->signature, sealed) || plain || json_raw(b->a, v, &p->raw, b->e);
}

/* What the client's side of a tool of OpenAI's says is a turn of its own; what the model asked for
 * belongs to the assistant's. */
static bool read_raw_item(struct items *b, struct span type, json_val *v)
{
    if (span_ends(type, SPAN("_output")) || span_ends(type, SPAN("_response")))
        open_message(b, CHAT_USER);
    else
        open_turn(b);
    struct chat_part *p = push(b, CHAT_PART_RAW);
    p->name = type;
    p->detail = RESP_ITEM;
    return json_raw(b->a, v, &p->raw, b->e);
}

static bool read_item(struct items *b, const struct wire_path *at, json_val *v)
{
    struct span type = {0};
    if (!json_is_obj(v))
        return wire_bad(at, b->e, "must be an object, not %s", json_type_name(v));
    if (!wire_get_str(v, "type", false, at, &type, b->e))
        return false;
    if (!type.p && !json_get(v, "role") && json_get(v, "id"))
        type = SPAN("item_reference");
    if (!type.p || span_eq(type, SPAN("message")))
        return read_message(b, at, v);
    if (span_eq(type, SPAN("function_call")))
        return read_call(b, at, v);
    if (span_eq(type, SPAN("function_call_output")))
        return read_output(b, at, v);
    if (span_eq(type, SPAN("reasoning")))
        return read_reasoning(b, at, v);
    if (span_eq(type, SPAN("item_reference")))
        return wire_bad(
            at, b->e,
            "is an item_reference, which is not supported: send the item itself, or name "
            "its answer in previous_response_id");
    if (type.n == 0)
        return wire_bad_key(at, "type", b->e, "is empty");
    return read_raw_item(b, type, v);
}

bool resp_read_items(struct arena *a, json_val *list, const struct wire_path *at, size_t before,
                     struct chat_message **out, size_t *out_n, struct err *e)
{
    struct items b = {.a = a, .n = before, .e = e};
    struct wire_path below = {at, NULL, 0};
    struct span key;
    json_val *item;
    size_t parts = 0;
    for (struct json_iter it = json_iter_of(list); json_next(&it, &key, &item);)
        parts += 1 + json_count(json_get(item, "content")) + json_count(json_get(item, "output"));
    b.list = arena_array(a, before + json_count(list), sizeof *b.list);
    b.parts = arena_array(a, parts, sizeof *b.parts);
    if (!b.list || !b.parts)
        return wire_no_memory(e);
    for (struct json_iter it = json_iter_of(list); json_next(&it, &key, &item); below.index++)
        if (!read_item(&b, &below, item))
            return false;
    *out = b.list;
    *out_n = b.n;
    return true;
}
