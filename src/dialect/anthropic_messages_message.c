/* dialect/anthropic_messages_message.c - a client's `system` and messages -> chat_message.
 *
 * The system prompt becomes the first message. Tool results stand inside user messages here and are
 * messages of their own in chat_request: they come out in order, before what else the user said. A
 * member that only this dialect knows keeps its block whole in ->raw beside the fields. */
#include "base/text.h"
#include "dialect/anthropic_priv.h"

/* Blocks being read: parts has room for all of them. */
struct blocks {
    struct arena *a;
    enum chat_role role;
    struct chat_part *parts;
    size_t n;
    struct err *e;
};

static struct chat_part *push(struct blocks *b, enum chat_part_kind kind)
{
    struct chat_part *p = &b->parts[b->n++];
    *p = (struct chat_part){.kind = kind};
    return p;
}

static size_t present(json_val *v, const char *key)
{
    return json_get(v, key) != NULL;
}

/* Members that say nothing: client libraries write them into blocks that they send back. */
static size_t idle(json_val *v, const char *key)
{
    json_val *x = json_get(v, key);
    bool off = json_is_obj(x) && json_is_bool(json_get(x, "enabled")) &&
               !json_true(json_get(x, "enabled"));
    return x && (json_is_null(x) || off || (json_is_arr(x) && json_count(x) == 0));
}

/* Keeps the block whole when it has more members than the `known` ones we read. */
static bool keep_unknown(struct blocks *b, json_val *v, size_t known, struct chat_part *p)
{
    return json_count(v) == known || json_raw(b->a, v, &p->raw, b->e);
}

bool ant_read_mark(struct arena *a, json_val *v, bool *out_mark, struct span *out_cache,
                   struct err *e)
{
    json_val *mark = json_get(v, "cache_control");
    *out_mark = json_is_obj(mark);
    return json_count(mark) < 2 || json_raw(a, mark, out_cache, e);
}

static bool read_mark(struct blocks *b, json_val *v, struct chat_part *p)
{
    return ant_read_mark(b->a, v, &p->cache_mark, &p->cache, b->e);
}

/* --- signatures ------------------------------------------------------------------------------- */

bool ant_write_signature(struct json_w *w, struct span signature, struct span format)
{
    struct buf whole;
    if (signature.n == 0 || span_eq(format, CHAT_SIGNED_ANTHROPIC)) {
        json_w_str(w, signature);
        return !w->failed;
    }
    buf_init(&whole, SIZE_MAX / 8);
    bool ok = buf_add(&whole, format, w->e) && buf_add_char(&whole, ':', w->e) &&
              buf_add(&whole, signature, w->e);
    if (ok)
        json_w_str(w, buf_span(&whole));
    buf_done(&whole);
    w->failed = w->failed || !ok;
    return !w->failed;
}

/* Anthropic's own are base64 and have no ':'. */
void ant_read_signature(struct span s, struct span *out_signature, struct span *out_format)
{
    size_t colon = span_find(span_upto(s, 64), ":");
    bool foreign = colon < s.n && colon < 64;
    *out_signature = foreign ? span_from(s, colon + 1) : s;
    *out_format = foreign ? span_upto(s, colon) : CHAT_SIGNED_ANTHROPIC;
    if (s.n == 0)
        *out_format = (struct span){0};
}

/* --- blocks ----------------------------------------------------------------------------------- */

static bool read_text(struct blocks *b, const struct wire_path *at, json_val *v)
{
    struct chat_part *p = push(b, CHAT_PART_TEXT);
    return wire_get_str(v, "text", true, at, &p->text, b->e) && read_mark(b, v, p) &&
           keep_unknown(b, v, 2 + present(v, "cache_control") + idle(v, "citations"), p);
}

/* A base64 source as a data: URL, the one form in which requests carry bytes. */
static bool read_base64(struct blocks *b, const struct wire_path *at, json_val *source,
                        struct chat_part *p)
{
    struct span data = {0};
    if (!wire_get_str(source, "media_type", true, at, &p->media_type, b->e) ||
        !wire_get_str(source, "data", true, at, &data, b->e))
        return false;
    if (p->media_type.n > 64 || span_find(p->media_type, ",; \t\r\n") < p->media_type.n)
        return wire_bad_key(at, "media_type", b->e, "must be a media type like image/png");
    size_t n = p->media_type.n + data.n + 13;
    char *url = arena_alloc(b->a, n);
    if (!url)
        return wire_no_memory(b->e);
    memcpy(url, "data:", 5);
    memcpy(url + 5, p->media_type.p, p->media_type.n);
    memcpy(url + 5 + p->media_type.n, ";base64,", 8);
    if (data.n > 0)
        memcpy(url + 13 + p->media_type.n, data.p, data.n);
    p->url = (struct span){url, n};
    return true;
}

static bool read_url(struct blocks *b, const struct wire_path *at, json_val *source,
                     struct chat_part *p)
{
    if (!wire_get_str(source, "url", true, at, &p->url, b->e))
        return false;
    return span_starts(p->url, SPAN("https://")) || span_starts(p->url, SPAN("http://")) ||
           wire_bad_key(at, "url", b->e, "must be an http or https URL");
}

static bool read_file(struct blocks *b, const struct wire_path *at, json_val *source,
                      struct chat_part *p)
{
    return wire_get_str(source, "file_id", true, at, &p->file_id, b->e);
}

static bool read_plain(struct blocks *b, const struct wire_path *at, json_val *source,
                       struct chat_part *p)
{
    return wire_get_str(source, "data", true, at, &p->text, b->e) &&
           wire_get_str(source, "media_type", true, at, &p->media_type, b->e);
}

/* out_other: a kind of source that only this dialect has; NULL where there are none. */
static bool read_source(struct blocks *b, const struct wire_path *at, json_val *v,
                        struct chat_part *p, bool *out_other)
{
    static const struct {
        struct span type;
        bool (*read)(struct blocks *b, const struct wire_path *at, json_val *source,
                     struct chat_part *p);
        bool document_only;
    } types[] = {
        {SPAN_INIT("base64"), read_base64, false},
        {SPAN_INIT("url"), read_url, false},
        {SPAN_INIT("file"), read_file, false},
        {SPAN_INIT("text"), read_plain, true},
    };
    struct wire_path below = {at, "source", 0};
    json_val *source = wire_get(v, "source");
    struct span type = {0};
    if (!json_is_obj(source))
        return wire_bad(&below, b->e, "must be an object with a type");
    if (!wire_get_str(source, "type", true, &below, &type, b->e))
        return false;
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (span_eq(types[i].type, type) && (out_other || !types[i].document_only))
            return types[i].read(b, &below, source, p);
    if (!out_other)
        return wire_bad_key(&below, "type", b->e, "must be base64, url or file");
    *out_other = true;
    return true;
}

static bool read_image(struct blocks *b, const struct wire_path *at, json_val *v)
{
    struct chat_part *p = push(b, CHAT_PART_IMAGE);
    return read_source(b, at, v, p, NULL) && read_mark(b, v, p) &&
           keep_unknown(b, v, 2 + present(v, "cache_control"), p);
}

static bool read_document(struct blocks *b, const struct wire_path *at, json_val *v)
{
    struct chat_part *p = push(b, CHAT_PART_DOCUMENT);
    bool other = false;
    if (!read_source(b, at, v, p, &other) ||
        !wire_get_str(v, "title", false, at, &p->file_name, b->e) || !read_mark(b, v, p))
        return false;
    if (other) { /* its content are blocks */
        p->kind = CHAT_PART_RAW;
        p->name = SPAN("document");
        return json_raw(b->a, v, &p->raw, b->e);
    }
    size_t known = 2 + present(v, "cache_control") + present(v, "title") + idle(v, "citations") +
                   idle(v, "context");
    return keep_unknown(b, v, known, p);
}

static bool read_thinking(struct blocks *b, const struct wire_path *at, json_val *v)
{
    struct chat_part *p = push(b, CHAT_PART_REASONING);
    struct span signature = {0};
    if (!wire_get_str(v, "thinking", true, at, &p->text, b->e) ||
        !wire_get_str(v, "signature", false, at, &signature, b->e))
        return false;
    ant_read_signature(signature, &p->signature, &p->format);
    p->signs_text = true;
    return true;
}

static bool read_redacted(struct blocks *b, const struct wire_path *at, json_val *v)
{
    struct chat_part *p = push(b, CHAT_PART_REASONING);
    struct span data = {0};
    if (!wire_get_str(v, "data", true, at, &data, b->e))
        return false;
    p->text = SPAN("");
    ant_read_signature(data, &p->signature, &p->format);
    return true;
}

static bool read_call(struct blocks *b, const struct wire_path *at, json_val *v)
{
    struct chat_part *p = push(b, CHAT_PART_TOOL_CALL);
    json_val *input = wire_get(v, "input"), *caller = json_get(v, "caller");
    if (!wire_get_str(v, "id", true, at, &p->id, b->e) ||
        !wire_get_str(v, "name", true, at, &p->name, b->e) || !read_mark(b, v, p))
        return false;
    if (p->id.n == 0)
        return wire_bad_key(at, "id", b->e, "is empty");
    if (!ant_is_tool_name(p->name))
        return wire_bad_key(at, "name", b->e, "must match ^[a-zA-Z0-9_-]{1,128}$");
    if (!json_is_obj(input))
        return wire_bad_key(at, "input", b->e, "must be an object, not %s", json_type_name(input));
    /* "direct": the model itself, not a program of its. */
    size_t direct =
        json_is_null(caller) || span_eq(json_str(json_get(caller, "type")), SPAN("direct"));
    return json_raw(b->a, input, &p->arguments, b->e) &&
           keep_unknown(b, v, 4 + present(v, "cache_control") + (caller && direct), p);
}

static bool read_block(struct blocks *b, const struct wire_path *at, json_val *v)
{
    static const struct {
        struct span type;
        bool (*read)(struct blocks *b, const struct wire_path *at, json_val *v);
        bool assistant_only;
    } types[] = {
        {SPAN_INIT("text"), read_text, false},
        {SPAN_INIT("image"), read_image, false},
        {SPAN_INIT("document"), read_document, false},
        {SPAN_INIT("thinking"), read_thinking, true},
        {SPAN_INIT("redacted_thinking"), read_redacted, true},
        {SPAN_INIT("tool_use"), read_call, true},
    };
    struct span type = {0};
    if (!json_is_obj(v))
        return wire_bad(at, b->e, "must be an object, not %s", json_type_name(v));
    if (!wire_get_str(v, "type", true, at, &type, b->e))
        return false;
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (!span_eq(types[i].type, type))
            continue;
        if (types[i].assistant_only && b->role != CHAT_ASSISTANT)
            return wire_bad_key(at, "type", b->e, "%s belongs to assistant messages",
                                types[i].type.p);
        return types[i].read(b, at, v);
    }
    if (type.n == 0)
        return wire_bad_key(at, "type", b->e, "is empty");
    if (b->role == CHAT_SYSTEM)
        return wire_bad_key(at, "type", b->e, "must be text");
    struct chat_part *p = push(b, CHAT_PART_RAW);
    p->name = type;
    return json_raw(b->a, v, &p->raw, b->e);
}

static bool is_result(json_val *block)
{
    return span_eq(json_str(json_get(block, "type")), SPAN("tool_result"));
}

static size_t count_results(json_val *content)
{
    struct span key;
    json_val *block;
    size_t n = 0;
    struct json_iter it = json_iter_of(json_is_arr(content) ? content : NULL);
    while (json_next(&it, &key, &block))
        n += is_result(block);
    return n;
}

/* A string or a list of blocks; results of tools are left to read_results(). */
static bool read_content(struct blocks *b, const struct wire_path *at, json_val *v)
{
    struct span key;
    json_val *item;
    bool user = b->role == CHAT_USER;
    size_t room = json_is_str(v) ? 1 : json_count(v) - (user ? count_results(v) : 0);
    b->parts = arena_array(b->a, room, sizeof *b->parts);
    if (!b->parts)
        return wire_no_memory(b->e);
    if (json_is_str(v)) {
        push(b, CHAT_PART_TEXT)->text = json_str(v);
        return true;
    }
    if (!json_is_arr(v))
        return wire_bad(at, b->e, "must be a string or a list of blocks, not %s",
                        json_type_name(v));
    struct wire_path below = {at, NULL, 0};
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &item); below.index++)
        if (!(user && is_result(item)) && !read_block(b, &below, item))
            return false;
    return true;
}

/* --- messages --------------------------------------------------------------------------------- */

struct list {
    struct arena *a;
    struct chat_message *at;
    size_t n;
    struct err *e;
};

/* Members of the object that have no place: kept for an upstream of this dialect. */
static bool read_extras(struct list *l, json_val *v, const char *const *known, size_t n_known,
                        struct chat_message *m)
{
    struct chat_extra *extras = NULL;
    struct span key;
    json_val *x;
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);) {
        size_t i = 0;
        while (i < n_known && !span_eq(span_of(known[i]), key))
            i++;
        if (i < n_known || json_is_null(x))
            continue;
        if (!extras && !(extras = arena_array(l->a, json_count(v), sizeof *extras)))
            return wire_no_memory(l->e);
        struct chat_extra *to = &extras[m->n_extras];
        *to = (struct chat_extra){.name = key};
        if (!json_raw(l->a, x, &to->json, l->e))
            return false;
        m->n_extras++;
    }
    m->extras = extras;
    return true;
}

static void finish(struct chat_message *m, const struct blocks *b)
{
    m->parts = b->parts;
    m->n_parts = b->n;
}

static bool read_result(struct list *l, const struct wire_path *at, json_val *v)
{
    static const char *const known[] = {"type", "tool_use_id", "content", "is_error",
                                        "cache_control"};
    struct wire_path below = {at, "content", 0};
    struct chat_message *m = &l->at[l->n++];
    struct blocks b = {.a = l->a, .role = CHAT_TOOL, .e = l->e};
    json_val *content = wire_get(v, "content"), *failed = wire_get(v, "is_error");
    bool mark;
    struct span cache = {0};
    m->role = CHAT_TOOL;
    if (!wire_get_str(v, "tool_use_id", true, at, &m->tool_call_id, l->e) ||
        !ant_read_mark(l->a, v, &mark, &cache, l->e))
        return false;
    if (m->tool_call_id.n == 0)
        return wire_bad_key(at, "tool_use_id", l->e, "is empty");
    if (failed && !json_is_bool(failed))
        return wire_bad_key(at, "is_error", l->e, "must be true or false");
    m->tool_failed = json_true(failed);
    if (content && !read_content(&b, &below, content))
        return false;
    if (mark && b.n == 0 && !(b.parts = arena_array(l->a, 1, sizeof *b.parts)))
        return wire_no_memory(l->e);
    if (mark) { /* behind the result is behind its last block */
        struct chat_part *last = b.n > 0 ? &b.parts[b.n - 1] : push(&b, CHAT_PART_TEXT);
        last->cache_mark = true;
        last->cache = cache;
    }
    finish(m, &b);
    return read_extras(l, v, known, COUNT_OF(known), m);
}

static bool read_results(struct list *l, const struct wire_path *at, json_val *content)
{
    struct wire_path list = {at, "content", 0}, below = {&list, NULL, 0};
    struct span key;
    json_val *item;
    struct json_iter it = json_iter_of(json_is_arr(content) ? content : NULL);
    for (; json_next(&it, &key, &item); below.index++)
        if (is_result(item) && !read_result(l, &below, item))
            return false;
    return true;
}

static bool read_role(struct list *l, const struct wire_path *at, json_val *v,
                      enum chat_role *out_role)
{
    static const enum chat_role roles[] = {CHAT_USER, CHAT_ASSISTANT, CHAT_SYSTEM};
    struct span role = {0};
    char shown[48];
    if (!wire_get_str(v, "role", true, at, &role, l->e))
        return false;
    for (size_t i = 0; i < COUNT_OF(roles); i++)
        if (span_eq(role, span_of(chat_role_name(roles[i])))) {
            *out_role = roles[i];
            return true;
        }
    text_visible_cstr(shown, sizeof shown, role);
    return wire_bad_key(at, "role", l->e, "must be user, assistant or system, not \"%s\"", shown);
}

static bool read_message(struct list *l, const struct wire_path *at, json_val *v)
{
    static const char *const known[] = {"role", "content"};
    struct wire_path below = {at, "content", 0};
    json_val *content = wire_get(v, "content");
    struct blocks b = {.a = l->a, .e = l->e};
    size_t before = l->n;
    if (!json_is_obj(v))
        return wire_bad(at, l->e, "must be an object, not %s", json_type_name(v));
    if (!read_role(l, at, v, &b.role))
        return false;
    if (!content)
        return wire_bad(&below, l->e, "is missing");
    if (json_is_arr(content) && json_count(content) == 0 && b.role != CHAT_ASSISTANT)
        return wire_bad(&below, l->e, "is an empty list: send at least one block, or a string");
    if ((b.role == CHAT_USER && !read_results(l, at, content)) ||
        !read_content(&b, &below, content))
        return false;
    if (b.n == 0 && l->n > before)
        return true; /* nothing but results */
    struct chat_message *m = &l->at[l->n++];
    m->role = b.role;
    finish(m, &b);
    return read_extras(l, v, known, COUNT_OF(known), m);
}

static bool read_system(struct list *l, json_val *v)
{
    static const struct wire_path at = {NULL, "system", 0};
    struct blocks b = {.a = l->a, .role = CHAT_SYSTEM, .e = l->e};
    if (!read_content(&b, &at, v))
        return false;
    if (b.n == 0)
        return true;
    struct chat_message *m = &l->at[l->n++];
    m->role = CHAT_SYSTEM;
    finish(m, &b);
    return true;
}

/* Messages that chat_request has for them: one for each result of a tool more. */
static size_t count_messages(json_val *messages)
{
    struct span key;
    json_val *m;
    size_t n = json_count(messages);
    for (struct json_iter it = json_iter_of(messages); json_next(&it, &key, &m);)
        n += count_results(json_get(m, "content"));
    return n;
}

bool ant_read_messages(struct arena *a, json_val *system, json_val *messages,
                       struct chat_request *r, struct err *e)
{
    struct wire_path at = {NULL, "messages", 0}, below = {&at, NULL, 0};
    struct list l = {.a = a, .e = e};
    struct span key;
    json_val *item;
    if (!messages)
        return wire_bad(&at, e, "is missing");
    if (!json_is_arr(messages))
        return wire_bad(&at, e, "must be a list, not %s", json_type_name(messages));
    if (json_count(messages) == 0)
        return wire_bad(&at, e, "is empty: send at least one message");
    l.at = arena_array(a, count_messages(messages) + 1, sizeof *l.at);
    if (!l.at)
        return wire_no_memory(e);
    if (system && !read_system(&l, system))
        return false;
    for (struct json_iter it = json_iter_of(messages); json_next(&it, &key, &item); below.index++)
        if (!read_message(&l, &below, item))
            return false;
    r->messages = l.at;
    r->n_messages = l.n;
    return true;
}
