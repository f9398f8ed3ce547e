/* dialect/openai_responses_write.c - events -> the stream of a Responses client.
 *
 * Each event of the stream says where it belongs: sequence_number on all, output_index and item_id
 * below an item, content_index or summary_index below a part. An item begins with output_item.added
 * and ends with output_item.done, which holds it whole; so does the last event hold the whole
 * answer, which is therefore collected here. Text and reasoning close what was open before them;
 * calls stay open beside each other until their arguments are whole. A call that a limit has cut is
 * never closed and stands in no answer: clients run what output_item.done brings, whatever its
 * status. Reasoning of every provider is sent as a summary, the form that clients show and send
 * back.
 *
 * Progress of a fusion, when it was asked for, are OpenRouter's response.fusion_call.* events below
 * an item of their own. */
#include <stdio.h>

#include "base/limits.h"
#include "base/mem.h"
#include "dialect/responses.h"
#include "dialect/responses_write.h"

#define MAX_ITEMS 4096

struct dialect_writer *resp_writer_new(const struct dialect_reply *r)
{
    struct dialect_writer *w = mem_zalloc(sizeof *w);
    struct json_w j;
    if (!w)
        return NULL;
    w->reply = *r;
    w->open = w->fusion = w->args_item = RESP_NONE;
    for (size_t i = 0; i < COUNT_OF(w->call_item); i++)
        w->call_item[i] = RESP_NONE;
    chat_collect_init(&w->c, LIMIT_ANSWER_BYTES);
    buf_init(&w->echo, LIMIT_CHAT_BODY_BYTES);
    buf_init(&w->delta, KIB(1));
    buf_init(&w->args, KIB(1));
    json_w_init(&j, &w->echo, NULL);
    resp_write_echo(&j, r->request);
    if (json_w_end(&j))
        return w;
    resp_writer_free(w);
    return NULL;
}

void resp_writer_free(struct dialect_writer *w)
{
    if (!w)
        return;
    chat_collect_done(&w->c);
    buf_done(&w->echo);
    buf_done(&w->delta);
    buf_done(&w->args);
    mem_free(w->items);
    mem_free(w);
}

/* --- events of the stream --------------------------------------------------------------------- */

static void key_cstr(struct json_w *j, const char *key, const char *s)
{
    json_w_key(j, key);
    json_w_cstr(j, s);
}

static void key_str(struct json_w *j, const char *key, struct span s)
{
    json_w_key(j, key);
    json_w_str(j, s);
}

static void key_i64(struct json_w *j, const char *key, int64_t v)
{
    json_w_key(j, key);
    json_w_i64(j, v);
}

bool resp_open_event(struct resp_event *v, const char *type)
{
    if (!buf_add(v->out, SPAN("event: "), v->e) || !buf_add(v->out, span_of(type), v->e) ||
        !buf_add(v->out, SPAN("\ndata: "), v->e))
        return false;
    json_w_init(&v->j, v->out, v->e);
    json_w_obj(&v->j);
    key_cstr(&v->j, "type", type);
    key_i64(&v->j, "sequence_number", v->w->sequence++);
    return true;
}

bool resp_close_event(struct resp_event *v)
{
    json_w_obj_end(&v->j);
    return json_w_end(&v->j) && buf_add(v->out, SPAN("\n\n"), v->e);
}

/* Below an item, and below its part when `part` names the index. */
bool resp_open_at(struct resp_event *v, const char *type, size_t item, const char *part,
                  int64_t index)
{
    if (!resp_open_event(v, type))
        return false;
    key_cstr(&v->j, "item_id", v->w->items[item].id);
    key_i64(&v->j, "output_index", (int64_t)item);
    if (part)
        key_i64(&v->j, part, index);
    return true;
}

bool resp_send_item(struct resp_event *v, const char *type, size_t item)
{
    if (!resp_open_event(v, type))
        return false;
    key_i64(&v->j, "output_index", (int64_t)item);
    json_w_key(&v->j, "item");
    resp_write_item(&v->j, &v->w->c, &v->w->items[item]);
    return resp_close_event(v);
}

static bool send_object(struct resp_event *v, const char *type, const struct resp_end *end,
                        bool with_usage, size_t n_items)
{
    struct dialect_writer *w = v->w;
    if (!resp_open_event(v, type))
        return false;
    json_w_key(&v->j, "response");
    resp_write_object(&v->j, &w->reply, end, buf_span(&w->echo), with_usage ? &w->c : NULL,
                      w->items, n_items);
    return resp_close_event(v);
}

static bool send_created(struct resp_event *v)
{
    static const struct resp_end begun = {"in_progress", NULL, NULL};
    if (v->w->created)
        return true;
    v->w->created = true;
    return send_object(v, "response.created", &begun, false, 0) &&
           send_object(v, "response.in_progress", &begun, false, 0);
}

bool resp_add_item(struct resp_event *v, enum resp_kind kind, size_t index, size_t *out)
{
    struct dialect_writer *w = v->w;
    if (w->n == MAX_ITEMS)
        return err_set(v->e, ERR_LIMIT, "the answer has more than %d items", MAX_ITEMS);
    if (w->n == w->cap) {
        size_t cap = w->cap > 0 ? 2 * w->cap : 8;
        struct resp_item *items = mem_realloc(w->items, cap * sizeof *items);
        if (!items)
            return wire_no_memory(v->e);
        w->items = items;
        w->cap = cap;
    }
    w->items[w->n] = (struct resp_item){
        .kind = kind, .index = index, .text_part = -1, .refusal_part = -1, .status = "in_progress"};
    resp_item_id(&w->items[w->n], w->reply.id, w->n);
    *out = w->n++;
    return true;
}

/* The bytes of the deltas of one part, or of one call's arguments, that are the same in each: into
 * `to`, one of the writer's two. */
static bool render_delta(struct resp_event *v, struct buf *to, const char *type, size_t item,
                         const char *part, int64_t index)
{
    struct json_w j;
    buf_clear(to);
    if (!buf_addf(to, v->e, "event: %s\ndata: ", type))
        return false;
    json_w_init(&j, to, v->e);
    json_w_obj(&j);
    key_cstr(&j, "type", type);
    key_cstr(&j, "item_id", v->w->items[item].id);
    key_i64(&j, "output_index", (int64_t)item);
    if (part)
        key_i64(&j, part, index);
    return json_w_end(&j) && buf_add(to, SPAN(",\"sequence_number\":"), v->e);
}

static bool send_delta(struct resp_event *v, const struct buf *head, struct span text,
                       bool logprobs)
{
    if (!buf_add(v->out, buf_span(head), v->e))
        return false;
    json_w_init(&v->j, v->out, v->e);
    json_w_i64(&v->j, v->w->sequence++);
    return json_w_end(&v->j) && buf_add(v->out, SPAN(",\"delta\":"), v->e) &&
           json_write_str(v->out, text, v->e) &&
           buf_add(v->out, logprobs ? SPAN(",\"logprobs\":[]}\n\n") : SPAN("}\n\n"), v->e);
}

/* --- messages --------------------------------------------------------------------------------- */

static bool close_part(struct resp_event *v, size_t item, bool refusal)
{
    struct resp_item *it = &v->w->items[item];
    const struct buf *all = refusal ? &v->w->c.refusal : &v->w->c.text;
    struct span text = span_upto(span_from(buf_span(all), refusal ? it->refusal : it->text),
                                 refusal ? it->refusal_n : it->text_n);
    int64_t index = refusal ? it->refusal_part : it->text_part;
    if (!resp_open_at(v, refusal ? "response.refusal.done" : "response.output_text.done", item,
                      "content_index", index))
        return false;
    key_str(&v->j, refusal ? "refusal" : "text", text);
    if (!refusal) {
        json_w_key(&v->j, "logprobs");
        json_w_raw(&v->j, SPAN("[]"));
    }
    if (!resp_close_event(v) ||
        !resp_open_at(v, "response.content_part.done", item, "content_index", index))
        return false;
    json_w_key(&v->j, "part");
    resp_write_part(&v->j, refusal, text);
    return resp_close_event(v);
}

static bool close_message(struct resp_event *v, size_t item)
{
    for (int i = 0; i < 2; i++) {
        if (v->w->items[item].text_part == i && !close_part(v, item, false))
            return false;
        if (v->w->items[item].refusal_part == i && !close_part(v, item, true))
            return false;
    }
    return true;
}

static bool open_part(struct resp_event *v, size_t item, bool refusal)
{
    struct resp_item *it = &v->w->items[item];
    int8_t index = it->text_part >= 0 || it->refusal_part >= 0;
    if (refusal)
        it->refusal_part = index;
    else
        it->text_part = index;
    if (!resp_open_at(v, "response.content_part.added", item, "content_index", index))
        return false;
    json_w_key(&v->j, "part");
    resp_write_part(&v->j, refusal, (struct span){"", 0});
    return resp_close_event(v);
}

/* --- reasoning -------------------------------------------------------------------------------- */

static bool close_reasoning(struct resp_event *v, size_t item)
{
    static const char index[] = "summary_index";
    struct resp_item *it = &v->w->items[item];
    struct span text = span_upto(span_from(buf_span(&v->w->c.reasoning), it->text), it->text_n);
    if (it->text_n == 0)
        return true;
    if (!resp_open_at(v, "response.reasoning_summary_text.done", item, index, 0))
        return false;
    key_str(&v->j, "text", text);
    if (!resp_close_event(v) ||
        !resp_open_at(v, "response.reasoning_summary_part.done", item, index, 0))
        return false;
    json_w_key(&v->j, "part");
    json_w_obj(&v->j);
    key_cstr(&v->j, "type", "summary_text");
    key_str(&v->j, "text", text);
    json_w_obj_end(&v->j);
    return resp_close_event(v);
}

static bool open_summary(struct resp_event *v, size_t item)
{
    if (!resp_open_at(v, "response.reasoning_summary_part.added", item, "summary_index", 0))
        return false;
    json_w_key(&v->j, "part");
    json_w_raw(&v->j, SPAN("{\"type\":\"summary_text\",\"text\":\"\"}"));
    return resp_close_event(v) &&
           render_delta(v, &v->w->delta, "response.reasoning_summary_text.delta", item,
                        "summary_index", 0);
}

/* --- the open item ---------------------------------------------------------------------------- */

static bool close_open(struct resp_event *v, const char *status)
{
    struct dialect_writer *w = v->w;
    size_t item = w->open;
    if (item == RESP_NONE)
        return true;
    w->open = RESP_NONE;
    w->items[item].status = status;
    bool ok =
        w->items[item].kind == RESP_MESSAGE ? close_message(v, item) : close_reasoning(v, item);
    w->items[item].done = true;
    return ok && resp_send_item(v, "response.output_item.done", item);
}

static bool open_item(struct resp_event *v, enum resp_kind kind, size_t index)
{
    size_t item;
    if (!close_open(v, "completed") || !resp_add_item(v, kind, index, &item))
        return false;
    v->w->open = item;
    return true;
}

static bool open_message(struct resp_event *v)
{
    return open_item(v, RESP_MESSAGE, 0) &&
           resp_send_item(v, "response.output_item.added", v->w->open);
}

/* The piece is the end of what was collected. */
static bool on_text(struct resp_event *v, struct span text, bool refusal)
{
    struct dialect_writer *w = v->w;
    bool fresh = w->open == RESP_NONE || w->items[w->open].kind != RESP_MESSAGE;
    if (text.n == 0 || (fresh && !open_message(v)))
        return text.n == 0;
    struct resp_item *it = &w->items[w->open];
    if ((refusal ? it->refusal_part : it->text_part) < 0) {
        if (refusal)
            it->refusal = w->c.refusal.n - text.n;
        else
            it->text = w->c.text.n - text.n;
        if (!open_part(v, w->open, refusal))
            return false;
        fresh = true;
    }
    if ((fresh || w->delta_refusal != refusal) &&
        !render_delta(v, &w->delta,
                      refusal ? "response.refusal.delta" : "response.output_text.delta", w->open,
                      "content_index", refusal ? it->refusal_part : it->text_part))
        return false;
    w->delta_refusal = refusal;
    if (refusal)
        it->refusal_n += text.n;
    else
        it->text_n += text.n;
    return send_delta(v, &w->delta, text, !refusal);
}

static bool id_is_taken(const struct dialect_writer *w, struct span id)
{
    for (size_t i = 0; i < w->n; i++)
        if (span_eq(span_of(w->items[i].id), id))
            return true;
    return false;
}

static bool on_reasoning(struct resp_event *v, const struct chat_event *ev)
{
    struct dialect_writer *w = v->w;
    size_t block = w->c.n_blocks - 1;
    if (ev->text.n == 0 && ev->signature.n == 0)
        return true;
    if (w->open == RESP_NONE || w->items[w->open].kind != RESP_REASONING ||
        w->items[w->open].index != block) {
        struct span own = buf_span(&w->c.blocks[block].id);
        if (!open_item(v, RESP_REASONING, block))
            return false;
        if (!id_is_taken(w, own))
            resp_reasoning_id(&w->items[w->open], own);
        if (!resp_send_item(v, "response.output_item.added", w->open))
            return false;
        w->items[w->open].text = w->c.reasoning.n - ev->text.n;
    }
    struct resp_item *it = &w->items[w->open];
    if (ev->text.n > 0) {
        if (it->text_n == 0 && !open_summary(v, w->open))
            return false;
        it->text_n += ev->text.n;
        if (!send_delta(v, &w->delta, ev->text, false))
            return false;
    }
    return ev->signature.n == 0 || close_open(v, "completed");
}

/* --- calls ------------------------------------------------------------------------------------ */

static bool send_arguments(struct resp_event *v, size_t item, struct span piece)
{
    struct dialect_writer *w = v->w;
    if (piece.n == 0)
        return true;
    if (w->args_item != item) {
        w->args_item = RESP_NONE; /* should it fail half way */
        if (!render_delta(v, &w->args, "response.function_call_arguments.delta", item, NULL, 0))
            return false;
        w->args_item = item;
    }
    return send_delta(v, &w->args, piece, false);
}

static bool close_call(struct resp_event *v, size_t item)
{
    struct resp_item *it = &v->w->items[item];
    const struct chat_collected_tool *t = &v->w->c.tools[it->index];
    if (it->done)
        return true;
    if (!resp_open_at(v, "response.function_call_arguments.done", item, NULL, 0))
        return false;
    key_str(&v->j, "name", buf_span(&t->name));
    key_str(&v->j, "arguments", buf_span(&t->arguments));
    it->status = "completed";
    it->done = true;
    return resp_close_event(v) && resp_send_item(v, "response.output_item.done", item);
}

static bool on_tool(struct resp_event *v, const struct chat_event *ev)
{
    struct dialect_writer *w = v->w;
    const struct chat_collected_tool *t = &w->c.tools[ev->index];
    size_t *item = &w->call_item[ev->index];
    struct span piece = ev->arguments;
    if (t->name.n == 0 || (*item != RESP_NONE && w->items[*item].done))
        return true;
    if (*item == RESP_NONE) {
        if (!close_open(v, "completed") || !resp_add_item(v, RESP_CALL, ev->index, item))
            return false;
        resp_call_id(&w->c, ev->index, w->reply.id, w->items[*item].call_id);
        if (!resp_send_item(v, "response.output_item.added", *item))
            return false;
        piece = buf_span(&t->arguments);
    }
    return send_arguments(v, *item, piece) && (!t->whole || close_call(v, *item));
}

/* --- the end ---------------------------------------------------------------------------------- */

static bool close_calls(struct resp_event *v, enum chat_finish finish)
{
    struct dialect_writer *w = v->w;
    for (size_t i = 0; i < w->c.n_tools; i++)
        if (w->call_item[i] != RESP_NONE && resp_releasable(&w->c, i, finish) &&
            !close_call(v, w->call_item[i]))
            return false;
    return true;
}

static bool on_finish(struct resp_event *v, enum chat_finish finish)
{
    struct dialect_writer *w = v->w;
    bool any = false, cut = false;
    for (size_t i = 0; i < w->c.n_tools; i++) {
        bool whole = resp_releasable(&w->c, i, finish);
        any = any || whole;
        cut = cut || !whole;
    }
    /* Pieces of a truncated call have gone out: the answer must say that it was cut. */
    struct resp_end end = resp_end_of(&w->c, finish, any && !(cut && finish == CHAT_FINISH_LENGTH));
    w->ended = true;
    if (w->n == 0 || (w->n == 1 && w->fusion != RESP_NONE)) { /* nothing was said */
        if (!open_message(v) || !open_part(v, w->open, false))
            return false;
    }
    char type[32];
    snprintf(type, sizeof type, "response.%s", end.status);
    return close_open(v, end.status) && close_calls(v, finish) && resp_close_fusion(v) &&
           send_object(v, type, &end, true, w->n);
}

/* `error` in both of its forms: the book's members, and the object that the API really sends. */
static bool on_error(struct resp_event *v, const struct err *err)
{
    struct resp_end end = {"failed", NULL, err};
    v->w->ended = true;
    if (!resp_open_event(v, "error"))
        return false;
    key_cstr(&v->j, "code", err->code);
    key_cstr(&v->j, "message", err->msg);
    key_cstr(&v->j, "param", err->param[0] ? err->param : NULL);
    json_w_key(&v->j, "error");
    oai_write_error_object(&v->j, err, true);
    return resp_close_event(v) && send_object(v, "response.failed", &end, v->w->c.has_usage, 0);
}

static bool write_event(struct resp_event *v, const struct chat_event *ev)
{
    switch (ev->kind) {
    case CHAT_EV_START:
    case CHAT_EV_USAGE:
        return true;
    case CHAT_EV_TEXT:
        return on_text(v, ev->text, false);
    case CHAT_EV_REFUSAL:
        return on_text(v, ev->text, true);
    case CHAT_EV_REASONING:
        return on_reasoning(v, ev);
    case CHAT_EV_TOOL:
        return on_tool(v, ev);
    case CHAT_EV_MEMBER:
        return resp_on_member(v, ev->member);
    case CHAT_EV_FINISH:
        return on_finish(v, ev->finish);
    case CHAT_EV_ERROR:
        return on_error(v, ev->err);
    }
    return true;
}

bool resp_write_event(struct dialect_writer *w, const struct chat_event *ev, struct buf *out,
                      struct err *e)
{
    struct resp_event v = {.w = w, .out = out, .e = e};
    size_t from = out->n;
    if (w->ended || (ev->kind == CHAT_EV_MEMBER && !w->reply.members))
        return true;
    if (chat_collect_event(&w->c, ev, e) && (ev->kind == CHAT_EV_USAGE || send_created(&v)) &&
        write_event(&v, ev))
        return true;
    buf_cut(out, from); /* no half frame */
    return false;
}

const struct chat_collect *responses_collected(const struct dialect_writer *w)
{
    return &w->c;
}
