/* dialect/openai_chat_write.c - events -> the stream of chunks a client reads; a collected answer
 * -> one body.
 *
 * The default stream is the one shape that the official clients of OpenAI, Mistral, Vercel and
 * LangChain all read: role, content, each tool call as one whole delta, a last chunk with
 * finish_reason and usage, [DONE]; never "usage": null, never empty choices. A client that sent
 * stream_options.include_usage gets OpenAI's own shape: argument pieces as they come, "usage": null
 * on every chunk and a last one with empty choices. All that is the same in every chunk is rendered
 * once. Nothing goes out before the first piece of content, so that an early failure can still have
 * a status of its own. */
#include "base/limits.h"
#include "base/mem.h"
#include "dialect/openai_chat_priv.h"
#include "dialect/wire_calls.h"

struct dialect_writer {
    struct buf head;  /* `data: {"id":...,"choices":[{"index":0,"delta":` */
    struct buf usage; /* the last usage object, rendered */
    struct buf id;    /* the answer's id: seed of tool ids */
    struct wire_calls calls;
    size_t block; /* number of the current reasoning block */
    bool openai_shape, members;
    bool role_sent, ended;
    bool refused, text_in_block;
    bool hidden; /* the client does not want to see reasoning */
};

/* --- making one ------------------------------------------------------------------------------- */

/* Opens a chunk or a body up to its choices. */
static void write_start(struct json_w *w, const struct dialect_reply *r, const char *object)
{
    json_w_obj(w);
    json_w_key(w, "id");
    json_w_str(w, r->id);
    json_w_key(w, "object");
    json_w_cstr(w, object);
    json_w_key(w, "created");
    json_w_i64(w, r->created);
    json_w_key(w, "model");
    json_w_str(w, r->model);
    json_w_key(w, "choices");
}

struct dialect_writer *oai_writer_new(const struct dialect_reply *r)
{
    struct dialect_writer *w = mem_zalloc(sizeof *w);
    struct json_w j;
    if (!w)
        return NULL;
    w->openai_shape = r->stream_usage;
    w->members = r->members;
    w->hidden = r->request && r->request->reasoning_hidden;
    buf_init(&w->head, KIB(64));
    buf_init(&w->usage, LIMIT_EVENT_BYTES);
    buf_init(&w->id, KIB(64));
    json_w_init(&j, &w->head, NULL);
    bool ok = buf_add(&w->id, r->id, NULL) && buf_add(&w->head, SPAN("data: "), NULL);
    write_start(&j, r, "chat.completion.chunk");
    ok = ok && json_w_end(&j) && buf_add(&w->head, SPAN("[{\"index\":0,\"delta\":"), NULL);
    if (ok)
        return w;
    oai_writer_free(w);
    return NULL;
}

void oai_writer_free(struct dialect_writer *w)
{
    if (!w)
        return;
    wire_calls_done(&w->calls);
    buf_done(&w->head);
    buf_done(&w->usage);
    buf_done(&w->id);
    mem_free(w);
}

/* --- frames ----------------------------------------------------------------------------------- */

static bool open_chunk(struct dialect_writer *w, struct buf *out, struct err *e)
{
    return buf_add(out, buf_span(&w->head), e);
}

/* Closes a chunk after its delta; finish NULL: not the end. */
static bool close_chunk(struct dialect_writer *w, const char *finish, struct buf *out,
                        struct err *e)
{
    if (!finish)
        return buf_add(out,
                       w->openai_shape ? SPAN(",\"finish_reason\":null}],\"usage\":null}\n\n")
                                       : SPAN(",\"finish_reason\":null}]}\n\n"),
                       e);
    return buf_add(out, SPAN(",\"finish_reason\":\""), e) && buf_add(out, span_of(finish), e) &&
           buf_add(out, SPAN("\"}]"), e);
}

static bool send_role(struct dialect_writer *w, struct buf *out, struct err *e)
{
    if (w->role_sent)
        return true;
    w->role_sent = true;
    return open_chunk(w, out, e) &&
           buf_add(out, SPAN("{\"role\":\"assistant\",\"content\":\"\"}"), e) &&
           close_chunk(w, NULL, out, e);
}

static bool send_text(struct dialect_writer *w, struct span key, struct span text, struct buf *out,
                      struct err *e)
{
    return text.n == 0 || (send_role(w, out, e) && open_chunk(w, out, e) && buf_add(out, key, e) &&
                           json_write_str(out, text, e) && buf_add_char(out, '}', e) &&
                           close_chunk(w, NULL, out, e));
}

/* One piece of OpenRouter's list; those of one index make up one block. */
struct detail {
    struct span text, signature, format, id;
    size_t index;
    bool redacted;
};

static void write_detail(struct json_w *j, const struct detail *d)
{
    json_w_obj(j);
    json_w_key(j, "type");
    json_w_cstr(j, d->redacted ? "reasoning.encrypted" : "reasoning.text");
    if (!d->redacted) {
        json_w_key(j, "text");
        json_w_str(j, d->text);
    }
    if (d->signature.n > 0) {
        json_w_key(j, d->redacted ? "data" : "signature");
        json_w_str(j, d->signature);
    }
    if (d->id.n > 0) {
        json_w_key(j, "id");
        json_w_str(j, d->id);
    }
    if (d->format.n > 0) {
        json_w_key(j, "format");
        json_w_str(j, d->format);
    }
    json_w_key(j, "index");
    json_w_i64(j, (int64_t)d->index);
    json_w_obj_end(j);
}

/* Both strings that clients look for. */
static void write_reasoning_text(struct json_w *j, struct span text)
{
    if (text.n == 0)
        return;
    json_w_key(j, "reasoning");
    json_w_str(j, text);
    json_w_key(j, "reasoning_content");
    json_w_str(j, text);
}

/* The strings, and the list: only so a client can send a signed block back as it was. */
static bool send_reasoning(struct dialect_writer *w, const struct chat_event *ev, struct buf *out,
                           struct err *e)
{
    struct json_w j;
    bool shown = ev->text.n > 0 || w->text_in_block || ev->signs_text;
    struct detail d = {ev->text, ev->signature, ev->format,
                       ev->id,   w->block,      ev->signature.n > 0 && !shown};
    if (ev->text.n == 0 && ev->signature.n == 0)
        return true;
    if (!send_role(w, out, e) || !open_chunk(w, out, e))
        return false;
    json_w_init(&j, out, e);
    json_w_obj(&j);
    write_reasoning_text(&j, ev->text);
    json_w_key(&j, "reasoning_details");
    json_w_arr(&j);
    write_detail(&j, &d);
    json_w_arr_end(&j);
    json_w_obj_end(&j);
    w->text_in_block = ev->signature.n == 0;
    w->block += ev->signature.n > 0;
    return json_w_end(&j) && close_chunk(w, NULL, out, e);
}

/* --- tool calls ------------------------------------------------------------------------------- */

struct call {
    struct span id, name, arguments, signature;
};

/* index < 0: in a whole body, where calls have none. */
static void write_call(struct json_w *j, int64_t index, const struct call *c)
{
    json_w_obj(j);
    if (index >= 0) {
        json_w_key(j, "index");
        json_w_i64(j, index);
    }
    json_w_key(j, "id");
    json_w_str(j, c->id);
    json_w_key(j, "type");
    json_w_cstr(j, "function");
    json_w_key(j, "function");
    json_w_obj(j);
    json_w_key(j, "name");
    json_w_str(j, c->name);
    json_w_key(j, "arguments");
    json_w_str(j, c->arguments);
    json_w_obj_end(j);
    if (c->signature.n > 0) {
        json_w_key(j, "extra_content");
        json_w_obj(j);
        json_w_key(j, "google");
        json_w_obj(j);
        json_w_key(j, "thought_signature");
        json_w_str(j, c->signature);
        json_w_obj_end(j);
        json_w_obj_end(j);
    }
    json_w_obj_end(j);
}

static bool send_call(struct dialect_writer *w, size_t index, struct span arguments,
                      struct buf *out, struct err *e)
{
    struct wire_call *t = &w->calls.at[index];
    char made[WIRE_CALL_ID_BYTES];
    struct call c = {.id = wire_call_id(buf_span(&t->id), buf_span(&w->id), index, made),
                     .name = buf_span(&t->name),
                     .arguments = arguments,
                     .signature = buf_span(&t->signature)};
    struct json_w j;
    if (!send_role(w, out, e) || !open_chunk(w, out, e) ||
        !buf_add(out, SPAN("{\"tool_calls\":["), e))
        return false;
    json_w_init(&j, out, e);
    write_call(&j, (int64_t)index, &c);
    t->sent = true;
    return json_w_end(&j) && buf_add(out, SPAN("]}"), e) && close_chunk(w, NULL, out, e);
}

static bool send_piece(struct dialect_writer *w, size_t index, struct span piece, struct buf *out,
                       struct err *e)
{
    return piece.n == 0 ||
           (open_chunk(w, out, e) &&
            buf_addf(out, e,
                     "{\"tool_calls\":[{\"index\":%zu,\"function\":{\"arguments\":", index) &&
            json_write_str(out, piece, e) && buf_add(out, SPAN("}}]}"), e) &&
            close_chunk(w, NULL, out, e));
}

static bool on_tool(struct dialect_writer *w, const struct chat_event *ev, struct buf *out,
                    struct err *e)
{
    struct wire_call *t = wire_calls_note(&w->calls, ev, e);
    if (!t)
        return false;
    if (t->sent)
        return !w->openai_shape || send_piece(w, ev->index, ev->arguments, out, e);
    if (!buf_add(&t->arguments, ev->arguments, e))
        return false;
    bool now = t->name.n > 0 && (w->openai_shape || t->whole);
    return !now || send_call(w, ev->index, buf_span(&t->arguments), out, e);
}

/* --- the end ---------------------------------------------------------------------------------- */

static const char *finish_of(enum chat_finish finish, bool any_call, bool refused)
{
    if (any_call)
        return "tool_calls"; /* whatever the upstream said: agents end early otherwise */
    if (finish == CHAT_FINISH_TOOL_CALLS || (finish == CHAT_FINISH_REFUSAL && refused))
        return "stop"; /* OpenAI's word where `refusal` says the rest */
    return chat_finish_name(finish);
}

/* Whether a call may go out: truncated arguments are never released. */
static bool releasable(bool whole, struct span name, enum chat_finish finish)
{
    return name.n > 0 && (whole || finish == CHAT_FINISH_TOOL_CALLS);
}

static bool send_usage_chunk(struct dialect_writer *w, struct buf *out, struct err *e)
{
    /* The head up to `"choices":`, and no choice. */
    struct span head =
        span_upto(buf_span(&w->head), w->head.n - SPAN("[{\"index\":0,\"delta\":").n);
    return w->usage.n == 0 ||
           (buf_add(out, head, e) && buf_add(out, SPAN("[],\"usage\":"), e) &&
            buf_add(out, buf_span(&w->usage), e) && buf_add(out, SPAN("}\n\n"), e));
}

static bool on_finish(struct dialect_writer *w, enum chat_finish finish, struct buf *out,
                      struct err *e)
{
    bool any = false, cut = false;
    for (size_t i = 0; i < w->calls.n; i++) {
        struct wire_call *t = &w->calls.at[i];
        bool release = releasable(t->whole, buf_span(&t->name), finish);
        if (!t->sent && release && !send_call(w, i, buf_span(&t->arguments), out, e))
            return false;
        any = any || t->sent;
        cut = cut || !release;
    }
    /* OpenAI's shape has let pieces of a truncated call pass: the word must say so. */
    bool calls = any && !(cut && w->openai_shape && finish == CHAT_FINISH_LENGTH);
    w->ended = true;
    if (!send_role(w, out, e) || !open_chunk(w, out, e) || !buf_add(out, SPAN("{}"), e) ||
        !close_chunk(w, finish_of(finish, calls, w->refused), out, e))
        return false;
    if (w->openai_shape)
        return buf_add(out, SPAN(",\"usage\":null}\n\n"), e) && send_usage_chunk(w, out, e) &&
               buf_add(out, SPAN("data: [DONE]\n\n"), e);
    return (w->usage.n == 0 ||
            (buf_add(out, SPAN(",\"usage\":"), e) && buf_add(out, buf_span(&w->usage), e))) &&
           buf_add(out, SPAN("}\n\ndata: [DONE]\n\n"), e);
}

static bool on_error(struct dialect_writer *w, const struct err *err, struct buf *out,
                     struct err *e)
{
    struct json_w j;
    w->ended = true;
    if (!buf_add(out, SPAN("data: "), e))
        return false;
    json_w_init(&j, out, e);
    oai_write_stream_error(&j, err);
    return json_w_end(&j) && buf_add(out, SPAN("\n\n"), e);
}

static bool on_usage(struct dialect_writer *w, const struct chat_event *ev, struct err *e)
{
    struct json_w j;
    buf_clear(&w->usage);
    json_w_init(&j, &w->usage, e);
    oai_write_usage(&j, &ev->usage, ev->report);
    return json_w_end(&j);
}

static bool on_member(struct dialect_writer *w, const struct chat_member *m, struct buf *out,
                      struct err *e)
{
    struct json_w j;
    if (!w->members || !m)
        return true;
    if (!open_chunk(w, out, e) ||
        !buf_add(out, SPAN("{},\"finish_reason\":null}],\"fusion\":{\"member\":"), e))
        return false;
    json_w_init(&j, out, e);
    wire_write_member(&j, m);
    return json_w_end(&j) &&
           buf_add(out, w->openai_shape ? SPAN("},\"usage\":null}\n\n") : SPAN("}}\n\n"), e);
}

static bool write_event(struct dialect_writer *w, const struct chat_event *ev, struct buf *out,
                        struct err *e)
{
    switch (ev->kind) {
    case CHAT_EV_START:
        return true;
    case CHAT_EV_TEXT:
        return send_text(w, SPAN("{\"content\":"), ev->text, out, e);
    case CHAT_EV_REASONING:
        return w->hidden || send_reasoning(w, ev, out, e);
    case CHAT_EV_REFUSAL:
        w->refused = true;
        return send_text(w, SPAN("{\"refusal\":"), ev->text, out, e);
    case CHAT_EV_TOOL:
        return on_tool(w, ev, out, e);
    case CHAT_EV_MEMBER:
        return on_member(w, ev->member, out, e);
    case CHAT_EV_USAGE:
        return on_usage(w, ev, e);
    case CHAT_EV_FINISH:
        return on_finish(w, ev->finish, out, e);
    case CHAT_EV_ERROR:
        return on_error(w, ev->err, out, e);
    }
    return true;
}

bool oai_write_event(struct dialect_writer *w, const struct chat_event *ev, struct buf *out,
                     struct err *e)
{
    size_t from = out->n;
    if (w->ended)
        return true;
    if (write_event(w, ev, out, e))
        return true;
    buf_cut(out, from); /* no half frame */
    return false;
}

/* --- one body --------------------------------------------------------------------------------- */

static bool unary_call(const struct chat_collect *c, size_t i)
{
    return releasable(c->tools[i].whole, buf_span(&c->tools[i].name), c->finish);
}

static void unary_reasoning(struct json_w *j, const struct chat_collect *c)
{
    bool any = false;
    write_reasoning_text(j, buf_span(&c->reasoning));
    for (size_t i = 0; i < c->n_blocks; i++)
        any = any || c->blocks[i].signature.n > 0;
    if (!any)
        return;
    json_w_key(j, "reasoning_details");
    json_w_arr(j);
    for (size_t i = 0; i < c->n_blocks; i++) {
        const struct chat_collected_block *b = &c->blocks[i];
        struct detail d = {chat_collected_text(c, b),
                           buf_span(&b->signature),
                           buf_span(&b->format),
                           buf_span(&b->id),
                           i,
                           b->n == 0 && !b->signs_text};
        write_detail(j, &d);
    }
    json_w_arr_end(j);
}

static size_t unary_calls(struct json_w *j, const struct dialect_reply *r,
                          const struct chat_collect *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_tools; i++) {
        const struct chat_collected_tool *t = &c->tools[i];
        struct span id = buf_span(&t->id);
        char made[WIRE_CALL_ID_BYTES];
        if (!unary_call(c, i))
            continue;
        for (size_t k = 0; k < i; k++)
            if (span_eq(buf_span(&c->tools[k].id), id))
                id = (struct span){"", 0};
        struct call call = {.id = wire_call_id(id, r->id, i, made),
                            .name = buf_span(&t->name),
                            .arguments = buf_span(&t->arguments),
                            .signature = buf_span(&t->signature)};
        if (n++ == 0) {
            json_w_key(j, "tool_calls");
            json_w_arr(j);
        }
        write_call(j, -1, &call);
    }
    if (n > 0)
        json_w_arr_end(j);
    return n;
}

static size_t unary_message(struct json_w *j, const struct dialect_reply *r,
                            const struct chat_collect *c)
{
    size_t calls = 0;
    for (size_t i = 0; i < c->n_tools; i++)
        calls += unary_call(c, i);
    json_w_obj(j);
    json_w_key(j, "role");
    json_w_cstr(j, "assistant");
    json_w_key(j, "content");
    if (c->text.n == 0 && (calls > 0 || c->refusal.n > 0))
        json_w_null(j);
    else
        json_w_str(j, buf_span(&c->text));
    json_w_key(j, "refusal");
    if (c->refusal.n == 0)
        json_w_null(j);
    else
        json_w_str(j, buf_span(&c->refusal));
    if (!r->request || !r->request->reasoning_hidden)
        unary_reasoning(j, c);
    unary_calls(j, r, c);
    json_w_obj_end(j);
    return calls;
}

bool oai_write_unary(const struct dialect_reply *r, const struct chat_collect *c, struct buf *out,
                     struct err *e)
{
    /* A client's library may not do without usage: an answer whose end did not say counts as 0. */
    struct chat_usage none = {.cost_nusd = -1, .estimated = true};
    size_t from = out->n;
    struct json_w j;
    json_w_init(&j, out, e);
    write_start(&j, r, "chat.completion");
    json_w_arr(&j);
    json_w_obj(&j);
    json_w_key(&j, "index");
    json_w_i64(&j, 0);
    json_w_key(&j, "message");
    size_t calls = unary_message(&j, r, c);
    enum chat_finish finish = c->over && calls == 0 ? CHAT_FINISH_LENGTH : c->finish;
    json_w_key(&j, "logprobs");
    json_w_null(&j);
    json_w_key(&j, "finish_reason");
    json_w_cstr(&j, finish_of(finish, calls > 0, c->refusal.n > 0));
    json_w_obj_end(&j);
    json_w_arr_end(&j);
    json_w_key(&j, "usage");
    oai_write_usage(&j, c->has_usage ? &c->usage : &none, c->report);
    json_w_obj_end(&j);
    if (json_w_end(&j))
        return true;
    buf_cut(out, from);
    return false;
}
