/* dialect/openai_chat_message.c - a client's messages, their parts and reasoning -> chat_message.
 *
 * A member that only this dialect knows keeps its part whole in ->raw beside the fields, so that an
 * upstream of this dialect gets what was sent and others can say what they cannot carry. */
#include "base/text.h"
#include "dialect/openai_chat_priv.h"

/* A message being built: parts has room for all that the message can hold. */
struct msg {
    struct arena *a;
    const struct wire_path *at;
    struct chat_message *m;
    struct chat_part *parts;
    size_t n;
    struct err *e;
};

static struct chat_part *push(struct msg *b, enum chat_part_kind kind)
{
    struct chat_part *p = &b->parts[b->n++];
    *p = (struct chat_part){.kind = kind};
    return p;
}

/* Keeps the part whole when it has more members than the `known` ones we read. */
static bool keep_unknown(struct msg *b, json_val *v, size_t known, struct chat_part *p)
{
    return json_count(v) == known || json_raw(b->a, v, &p->raw, b->e);
}

static size_t present(json_val *v, const char *key)
{
    return json_get(v, key) != NULL;
}

/* A mark of the prompt cache; what more it says ("ttl") is a hint too. */
static bool read_mark(struct msg *b, json_val *v, struct chat_part *p)
{
    json_val *mark = json_get(v, "cache_control");
    p->cache_mark = json_is_obj(mark);
    return json_count(mark) < 2 || json_raw(b->a, mark, &p->cache, b->e);
}

/* "data:image/png;base64,...." -> "image/png" */
static struct span media_type_of(struct span url)
{
    if (!span_starts(url, SPAN("data:")))
        return (struct span){0};
    struct span rest = span_from(url, 5);
    return span_upto(rest, span_find(rest, ";,"));
}

/* --- parts of the content --------------------------------------------------------------------- */

static bool read_text(struct msg *b, const struct wire_path *at, json_val *v)
{
    struct chat_part *p = push(b, CHAT_PART_TEXT);
    return read_mark(b, v, p) && wire_get_str(v, "text", true, at, &p->text, b->e) &&
           keep_unknown(b, v, 2 + present(v, "cache_control"), p);
}

static bool read_image(struct msg *b, const struct wire_path *at, json_val *v)
{
    struct wire_path below = {at, "image_url", 0};
    json_val *image = wire_get(v, "image_url");
    struct chat_part *p = push(b, CHAT_PART_IMAGE);
    size_t inner = 0;
    if (json_is_str(image)) { /* Mistral's short form */
        p->url = json_str(image);
    } else if (json_is_obj(image)) {
        if (!wire_get_str(image, "url", true, &below, &p->url, b->e) ||
            !wire_get_str(image, "detail", false, &below, &p->detail, b->e))
            return false;
        inner = json_count(image) - 1 - present(image, "detail");
    } else {
        return wire_bad(&below, b->e, "must be an object with a url");
    }
    if (!span_starts(p->url, SPAN("data:")) && !span_starts(p->url, SPAN("https://")) &&
        !span_starts(p->url, SPAN("http://")))
        return wire_bad_key(&below, "url", b->e, "must be an http, https or data: URL");
    p->media_type = media_type_of(p->url);
    return read_mark(b, v, p) &&
           keep_unknown(b, v, inner > 0 ? 0 : 2 + present(v, "cache_control"), p);
}

static bool read_audio(struct msg *b, const struct wire_path *at, json_val *v)
{
    struct wire_path below = {at, "input_audio", 0};
    json_val *audio = wire_get(v, "input_audio");
    struct chat_part *p = push(b, CHAT_PART_AUDIO);
    if (json_is_str(audio)) { /* Mistral's: base64 or a URL, and no word on the format */
        p->url = json_str(audio);
        return json_raw(b->a, v, &p->raw, b->e);
    }
    if (!json_is_obj(audio))
        return wire_bad(&below, b->e, "must be an object with data and format");
    return wire_get_str(audio, "data", true, &below, &p->url, b->e) &&
           wire_get_str(audio, "format", true, &below, &p->media_type, b->e) &&
           keep_unknown(b, v, json_count(audio) > 2 ? 0 : 2, p);
}

static bool read_file(struct msg *b, const struct wire_path *at, json_val *v)
{
    struct wire_path below = {at, "file", 0};
    json_val *file = wire_get(v, "file");
    struct chat_part *p = push(b, CHAT_PART_DOCUMENT);
    if (!file && wire_get(v, "file_id")) /* Mistral's: a file of its own store */
        return wire_get_str(v, "file_id", true, at, &p->file_id, b->e) &&
               json_raw(b->a, v, &p->raw, b->e);
    if (!json_is_obj(file))
        return wire_bad(&below, b->e, "must be an object with file_id or file_data");
    if (!wire_get_str(file, "file_id", false, &below, &p->file_id, b->e) ||
        !wire_get_str(file, "file_data", false, &below, &p->url, b->e) ||
        !wire_get_str(file, "filename", false, &below, &p->file_name, b->e))
        return false;
    if (!p->file_id.p && !p->url.p)
        return wire_bad(&below, b->e, "must hold file_id or file_data");
    p->media_type = media_type_of(p->url);
    size_t known =
        present(file, "file_id") + present(file, "file_data") + present(file, "filename");
    return read_mark(b, v, p) &&
           keep_unknown(b, v, json_count(file) > known ? 0 : 2 + present(v, "cache_control"), p);
}

/* Mistral's way to give a document. */
static bool read_document_url(struct msg *b, const struct wire_path *at, json_val *v)
{
    struct chat_part *p = push(b, CHAT_PART_DOCUMENT);
    p->name = OAI_DOCUMENT_URL;
    if (!wire_get_str(v, "document_url", true, at, &p->url, b->e) ||
        !wire_get_str(v, "document_name", false, at, &p->file_name, b->e))
        return false;
    if (!span_starts(p->url, SPAN("data:")) && !span_starts(p->url, SPAN("https://")) &&
        !span_starts(p->url, SPAN("http://")))
        return wire_bad_key(at, "document_url", b->e, "must be an http, https or data: URL");
    p->media_type = media_type_of(p->url);
    return keep_unknown(b, v, 2 + present(v, "document_name"), p);
}

static bool read_refusal(struct msg *b, const struct wire_path *at, json_val *v)
{
    struct chat_part *p = push(b, CHAT_PART_REFUSAL);
    return wire_get_str(v, "refusal", true, at, &p->text, b->e);
}

/* Mistral's reasoning inside the content; it goes back as it came. */
static bool read_thinking(struct msg *b, const struct wire_path *at, json_val *v)
{
    json_val *list = wire_get(v, "thinking"), *item;
    struct chat_part *p = push(b, CHAT_PART_REASONING);
    struct span key;
    struct buf text;
    bool ok = true;
    p->name = OAI_THINKING;
    if (!json_is_arr(list))
        return wire_bad_key(at, "thinking", b->e, "must be a list of text parts");
    buf_init(&text, SIZE_MAX / 8);
    for (struct json_iter it = json_iter_of(list); ok && json_next(&it, &key, &item);)
        ok = buf_add(&text, json_str(json_get(item, "text")), b->e);
    p->text = arena_dup(b->a, buf_span(&text));
    buf_done(&text);
    if (!ok || !p->text.p)
        return wire_no_memory(b->e);
    if (!wire_get_str(v, "signature", false, at, &p->signature, b->e))
        return false;
    if (p->signature.n > 0)
        p->format = CHAT_SIGNED_MISTRAL;
    return json_raw(b->a, v, &p->raw, b->e);
}

/* A part that only this dialect knows. */
static bool read_raw(struct msg *b, struct span type, json_val *v)
{
    struct chat_part *p = push(b, CHAT_PART_RAW);
    p->name = type;
    return json_raw(b->a, v, &p->raw, b->e);
}

static bool read_part(struct msg *b, const struct wire_path *at, json_val *v)
{
    static const struct {
        struct span type;
        bool (*read)(struct msg *b, const struct wire_path *at, json_val *v);
        bool assistant_only;
    } types[] = {
        {SPAN_INIT("text"), read_text, false},
        {SPAN_INIT("image_url"), read_image, false},
        {SPAN_INIT("input_audio"), read_audio, false},
        {SPAN_INIT("file"), read_file, false},
        {SPAN_INIT("refusal"), read_refusal, true},
        {SPAN_INIT("thinking"), read_thinking, true},
        {SPAN_INIT("document_url"), read_document_url, false},
    };
    struct span type = {0};
    if (!json_is_obj(v))
        return wire_bad(at, b->e, "must be an object, not %s", json_type_name(v));
    if (!wire_get_str(v, "type", true, at, &type, b->e))
        return false;
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (!span_eq(types[i].type, type))
            continue;
        /* The system prompt of Mistral's reasoning models shows them how to think. */
        if (types[i].read == read_thinking && b->m->role == CHAT_SYSTEM)
            return read_raw(b, type, v);
        if (types[i].assistant_only && b->m->role != CHAT_ASSISTANT)
            return wire_bad_key(at, "type", b->e, "%s belongs to assistant messages",
                                types[i].type.p);
        return types[i].read(b, at, v);
    }
    if (type.n == 0)
        return wire_bad_key(at, "type", b->e, "is empty");
    return read_raw(b, type, v);
}

static bool read_content(struct msg *b, json_val *v)
{
    struct wire_path at = {b->at, "content", 0};
    struct span key;
    json_val *item;
    if (json_is_str(v)) {
        push(b, CHAT_PART_TEXT)->text = json_str(v);
        return true;
    }
    if (!json_is_arr(v))
        return wire_bad(&at, b->e, "must be a string or a list of parts, not %s",
                        json_type_name(v));
    if (json_count(v) == 0 && b->m->role != CHAT_ASSISTANT) /* whose calls may be all it has */
        return wire_bad(&at, b->e, "is an empty list: send at least one part, or a string");
    struct wire_path below = {&at, NULL, 0};
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &item); below.index++)
        if (!read_part(b, &below, item))
            return false;
    return true;
}

/* --- tool calls of an assistant --------------------------------------------------------------- */

static bool read_arguments(struct msg *b, const struct wire_path *at, json_val *v,
                           struct chat_part *p)
{
    if (json_is_str(v))
        p->arguments = json_str(v);
    else if (json_is_obj(v)) /* Mistral's client libraries */
        return json_raw(b->a, v, &p->arguments, b->e);
    else
        return wire_bad_key(at, "arguments", b->e, "must be a string of JSON");
    return true;
}

static bool read_call(struct msg *b, const struct wire_path *at, json_val *v)
{
    struct wire_path below = {at, "function", 0};
    struct span type = SPAN("function");
    json_val *f = wire_get(v, "function"), *more = json_get(v, "extra_content");
    struct chat_part *p = push(b, CHAT_PART_TOOL_CALL);
    if (!json_is_obj(v))
        return wire_bad(at, b->e, "must be an object, not %s", json_type_name(v));
    if (!wire_get_str(v, "id", true, at, &p->id, b->e) ||
        !wire_get_str(v, "type", false, at, &type, b->e))
        return false;
    if (!span_eq(type, SPAN("function")))
        return wire_bad_key(at, "type", b->e, "must be function: other kinds are not supported");
    if (p->id.n == 0)
        return wire_bad_key(at, "id", b->e, "is empty");
    if (!json_is_obj(f))
        return wire_bad(&below, b->e, "must be an object with name and arguments");
    if (!wire_get_str(f, "name", true, &below, &p->name, b->e) ||
        !read_arguments(b, &below, wire_get(f, "arguments"), p))
        return false;
    if (!wire_is_name(p->name))
        return wire_bad_key(&below, "name", b->e, "must match ^[a-zA-Z0-9_-]{1,64}$");
    /* Gemini's compatible surface: a thought signature that must come back with the call. */
    p->signature = json_str(json_get(json_get(more, "google"), "thought_signature"));
    if (p->signature.p)
        p->format = CHAT_SIGNED_GEMINI;
    size_t known = 2 + present(v, "type") + present(v, "index") + (p->signature.p != NULL);
    return keep_unknown(b, v, json_count(f) > 2 ? 0 : known, p);
}

static bool read_calls(struct msg *b, json_val *v)
{
    struct wire_path at = {b->at, "tool_calls", 0}, below = {&at, NULL, 0};
    struct span key;
    json_val *item;
    if (!json_is_arr(v))
        return wire_bad(&at, b->e, "must be a list, not %s", json_type_name(v));
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &item); below.index++)
        if (!read_call(b, &below, item))
            return false;
    return true;
}

/* --- reasoning of an assistant ---------------------------------------------------------------- */

static bool is_detail_text(json_val *v)
{
    return span_eq(json_str(json_get(v, "type")), SPAN("reasoning.text"));
}

static bool is_signed(json_val *v)
{
    return json_str(json_get(v, "signature")).n > 0;
}

/* Clients that put a stream together by joining lists send the pieces of one block one by one:
 * n pieces from it on, of which only the last may be signed, become one part again. */
static bool join_details(struct msg *b, struct json_iter it, size_t n)
{
    struct chat_part *p = push(b, CHAT_PART_REASONING);
    struct span key;
    struct buf text;
    json_val *v = NULL;
    bool ok = true;
    p->name = OAI_REASONING_DETAILS;
    buf_init(&text, SIZE_MAX / 8);
    for (size_t i = 0; ok && i < n && json_next(&it, &key, &v); i++)
        ok = buf_add(&text, json_str(json_get(v, "text")), b->e);
    p->text = arena_dup(b->a, buf_span(&text));
    buf_done(&text);
    p->signature = json_str(json_get(v, "signature"));
    p->signs_text = p->signature.n > 0;
    p->format = json_str(json_get(v, "format"));
    p->id = json_str(json_get(v, "id"));
    if (!ok || !p->text.p)
        return wire_no_memory(b->e);
    return n > 1 || json_raw(b->a, v, &p->raw, b->e);
}

static bool read_other_detail(struct msg *b, json_val *v)
{
    struct chat_part *p = push(b, CHAT_PART_REASONING);
    p->name = OAI_REASONING_DETAILS;
    p->text = json_str(json_get(v, "summary"));
    p->signature = json_str(json_get(v, "data"));
    p->format = json_str(json_get(v, "format"));
    p->id = json_str(json_get(v, "id"));
    return json_raw(b->a, v, &p->raw, b->e);
}

static bool read_details(struct msg *b, json_val *list)
{
    struct wire_path at = {b->at, "reasoning_details", 0};
    struct json_iter it = json_iter_of(list);
    struct span key;
    json_val *v;
    if (!json_is_arr(list))
        return wire_bad(&at, b->e, "must be a list, not %s", json_type_name(list));
    for (struct json_iter from = it; json_next(&it, &key, &v); from = it) {
        size_t n = 1;
        if (!json_is_obj(v))
            return wire_bad(&at, b->e, "must hold objects");
        if (!is_detail_text(v)) {
            if (!read_other_detail(b, v))
                return false;
            continue;
        }
        for (struct json_iter ahead = it;
             !is_signed(v) && json_next(&ahead, &key, &v) && is_detail_text(v); n++)
            it = ahead;
        if (!join_details(b, from, n))
            return false;
    }
    return true;
}

/* reasoning_details wins: it says what the two strings say, and carries the signatures. A signature
 * whose text came only in the string gets it from there. */
static bool read_reasoning(struct msg *b, json_val *v)
{
    struct span long_name = {0}, short_name = {0};
    json_val *details = wire_get(v, "reasoning_details");
    size_t first = b->n;
    if (!wire_get_str(v, "reasoning_content", false, b->at, &long_name, b->e) ||
        !wire_get_str(v, "reasoning", false, b->at, &short_name, b->e) ||
        (details && !read_details(b, details)))
        return false;
    struct span text = long_name.n > 0 ? long_name : short_name;
    if (b->n == first && text.n > 0) {
        struct chat_part *p = push(b, CHAT_PART_REASONING);
        p->text = text;
        p->name = long_name.n > 0 ? (struct span){0} : OAI_REASONING;
    }
    if (b->n == first + 1 && b->parts[first].text.n == 0 && text.n > 0 &&
        is_detail_text(json_iter_of(details).at)) {
        b->parts[first].text = text;
        b->parts[first].raw = (struct span){0};
    }
    return true;
}

/* --- one message ------------------------------------------------------------------------------ */

static bool read_role(struct msg *b, json_val *v)
{
    static const enum chat_role roles[] = {CHAT_SYSTEM, CHAT_DEVELOPER, CHAT_USER, CHAT_ASSISTANT,
                                           CHAT_TOOL};
    struct span role = {0};
    char shown[48];
    if (!wire_get_str(v, "role", true, b->at, &role, b->e))
        return false;
    for (size_t i = 0; i < COUNT_OF(roles); i++)
        if (span_eq(role, span_of(chat_role_name(roles[i])))) {
            b->m->role = roles[i];
            return true;
        }
    if (span_eq(role, SPAN("function")))
        return wire_bad_key(b->at, "role", b->e,
                            "function is the old form: use tool with tool_call_id");
    text_visible_cstr(shown, sizeof shown, role);
    return wire_bad_key(b->at, "role", b->e,
                        "must be system, developer, user, assistant or tool, not \"%s\"", shown);
}

/* Members that have a place of their own; others of a message are extras. */
static const struct {
    struct span name;
    enum { ANY, ASSISTANT, TOOL } whose;
} known[] = {
    {SPAN_INIT("role"), ANY},
    {SPAN_INIT("content"), ANY},
    {SPAN_INIT("name"), ANY},
    {SPAN_INIT("tool_call_id"), TOOL},
    {SPAN_INIT("tool_calls"), ASSISTANT},
    {SPAN_INIT("refusal"), ASSISTANT},
    {SPAN_INIT("reasoning_content"), ASSISTANT},
    {SPAN_INIT("reasoning"), ASSISTANT},
    {SPAN_INIT("reasoning_details"), ASSISTANT},
};

static bool check_whose(struct msg *b, size_t i, json_val *x)
{
    bool fits = known[i].whose == ANY ||
                (known[i].whose == TOOL ? b->m->role == CHAT_TOOL : b->m->role == CHAT_ASSISTANT);
    bool empty = json_is_str(x) ? json_str(x).n == 0 : json_is_arr(x) && json_count(x) == 0;
    return fits || empty ||
           wire_bad_key(b->at, known[i].name.p, b->e, "belongs to messages of role %s",
                        known[i].whose == TOOL ? "tool" : "assistant");
}

static bool read_extras(struct msg *b, json_val *v)
{
    struct chat_extra *extras = NULL;
    struct span key;
    json_val *x;
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);) {
        size_t i = 0;
        while (i < COUNT_OF(known) && !span_eq(known[i].name, key))
            i++;
        if (json_is_null(x))
            continue;
        if (i < COUNT_OF(known)) {
            if (!check_whose(b, i, x))
                return false;
            continue;
        }
        /* Mistral's clients say of each message that it is none. */
        if (span_eq(key, SPAN("prefix")) && json_is_bool(x) && !json_true(x))
            continue;
        if (span_eq(key, SPAN("function_call")))
            return wire_bad_key(b->at, "function_call", b->e, "is the old form: use tool_calls");
        if (!extras && !(extras = arena_array(b->a, json_count(v), sizeof *extras)))
            return wire_no_memory(b->e);
        struct chat_extra *to = &extras[b->m->n_extras];
        /* Answers carry it; clients that send a whole answer back do not mean anything by it. */
        *to = (struct chat_extra){.name = key, .hint = span_eq(key, SPAN("annotations"))};
        if (!json_raw(b->a, x, &to->json, b->e))
            return false;
        b->m->n_extras++;
    }
    b->m->extras = extras;
    return true;
}

static bool read_assistant(struct msg *b, json_val *v)
{
    json_val *content = wire_get(v, "content"), *calls = wire_get(v, "tool_calls");
    struct span refusal = {0};
    if (!read_reasoning(b, v) || (content && !read_content(b, content)) ||
        !wire_get_str(v, "refusal", false, b->at, &refusal, b->e))
        return false;
    if (refusal.n > 0)
        push(b, CHAT_PART_REFUSAL)->text = refusal;
    if (calls && !read_calls(b, calls))
        return false;
    return b->n > 0 || b->m->n_extras > 0 ||
           wire_bad_key(b->at, "content", b->e, "is missing, and so are tool_calls");
}

static bool read_body(struct msg *b, json_val *v)
{
    json_val *content = wire_get(v, "content");
    if (b->m->role == CHAT_ASSISTANT)
        return read_assistant(b, v);
    if (b->m->role == CHAT_TOOL && b->m->tool_call_id.n == 0)
        return wire_bad_key(b->at, "tool_call_id", b->e,
                            "is missing: it says which call this answers");
    if (!content)
        return wire_bad_key(b->at, "content", b->e, "is missing");
    return read_content(b, content);
}

static bool read_message(struct arena *a, const struct wire_path *at, json_val *v,
                         struct chat_message *m, struct err *e)
{
    struct msg b = {.a = a, .at = at, .m = m, .e = e};
    if (!json_is_obj(v))
        return wire_bad(at, e, "must be an object, not %s", json_type_name(v));
    size_t room = 3 + json_count(json_get(v, "content")) + json_count(json_get(v, "tool_calls")) +
                  json_count(json_get(v, "reasoning_details"));
    b.parts = arena_array(a, room, sizeof *b.parts);
    if (!b.parts)
        return wire_no_memory(e);
    if (!read_role(&b, v) || !wire_get_str(v, "name", false, at, &m->name, e) ||
        !wire_get_str(v, "tool_call_id", false, at, &m->tool_call_id, e) || !read_extras(&b, v) ||
        !read_body(&b, v))
        return false;
    m->parts = b.parts;
    m->n_parts = b.n;
    return true;
}

bool oai_read_messages(struct arena *a, json_val *v, struct chat_request *r, struct err *e)
{
    struct wire_path at = {NULL, "messages", 0}, below = {&at, NULL, 0};
    struct span key;
    json_val *item;
    if (!json_is_arr(v))
        return wire_bad(&at, e, "must be a list, not %s", json_type_name(v));
    if (json_count(v) == 0)
        return wire_bad(&at, e, "is empty: send at least one message");
    struct chat_message *list = arena_array(a, json_count(v), sizeof *list);
    if (!list)
        return wire_no_memory(e);
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &item); below.index++)
        if (!read_message(a, &below, item, &list[below.index], e))
            return false;
    r->messages = list;
    r->n_messages = json_count(v);
    return true;
}
