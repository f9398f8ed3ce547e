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
#include "dialect/responses_priv.h"

#define MAX_ITEMS 4096
#define MAX_SEEN  (4 * LIMIT_PANEL)
#define NONE      SIZE_MAX

/* A call of a fusion that was told of. */
struct seen {
    char label[16];
    bool judge, ended;
};

struct dialect_writer {
    struct dialect_reply reply;
    struct chat_collect c; /* all that was said so far */
    struct buf echo;       /* what the object says back, rendered */
    struct buf delta;      /* a delta of the open part up to its sequence number, rendered */
    struct resp_item *items;
    size_t n, cap;
    size_t open;           /* the item that text or reasoning goes on with */
    bool delta_refusal;    /* delta is one of a refusal */
    size_t call_item[512]; /* item of a call; chat_collect lets no more calls pass */
    size_t fusion;         /* item of the fusion's progress */
    struct seen seen[MAX_SEEN];
    size_t n_seen;
    int64_t sequence;
    bool created, ended;
};

struct dialect_writer *resp_writer_new(const struct dialect_reply *r)
{
    struct dialect_writer *w = mem_zalloc(sizeof *w);
    struct json_w j;
    if (!w)
        return NULL;
    w->reply = *r;
    w->open = w->fusion = NONE;
    for (size_t i = 0; i < COUNT_OF(w->call_item); i++)
        w->call_item[i] = NONE;
    chat_collect_init(&w->c, LIMIT_ANSWER_BYTES);
    buf_init(&w->echo, LIMIT_CHAT_BODY_BYTES);
    buf_init(&w->delta, KIB(1));
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
    mem_free(w->items);
    mem_free(w);
}

/* --- events of the stream --------------------------------------------------------------------- */

/* An event being written: its object is open. */
struct event {
    struct dialect_writer *w;
    struct buf *out;
    struct json_w j;
    struct err *e;
};

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

static bool open_event(struct event *v, const char *type)
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

static bool close_event(struct event *v)
{
    json_w_obj_end(&v->j);
    return json_w_end(&v->j) && buf_add(v->out, SPAN("\n\n"), v->e);
}

/* Below an item, and below its part when `part` names the index. */
static bool open_at(struct event *v, const char *type, size_t item, const char *part, int64_t index)
{
    if (!open_event(v, type))
        return false;
    key_cstr(&v->j, "item_id", v->w->items[item].id);
    key_i64(&v->j, "output_index", (int64_t)item);
    if (part)
        key_i64(&v->j, part, index);
    return true;
}

static bool send_item(struct event *v, const char *type, size_t item)
{
    if (!open_event(v, type))
        return false;
    key_i64(&v->j, "output_index", (int64_t)item);
    json_w_key(&v->j, "item");
    resp_write_item(&v->j, &v->w->c, &v->w->items[item]);
    return close_event(v);
}

static bool send_object(struct event *v, const char *type, const struct resp_end *end,
                        bool with_usage, size_t n_items)
{
    struct dialect_writer *w = v->w;
    if (!open_event(v, type))
        return false;
    json_w_key(&v->j, "response");
    resp_write_object(&v->j, &w->reply, end, buf_span(&w->echo), with_usage ? &w->c : NULL,
                      w->items, n_items);
    return close_event(v);
}

static bool send_created(struct event *v)
{
    static const struct resp_end begun = {"in_progress", NULL, NULL};
    if (v->w->created)
        return true;
    v->w->created = true;
    return send_object(v, "response.created", &begun, false, 0) &&
           send_object(v, "response.in_progress", &begun, false, 0);
}

static bool add_item(struct event *v, enum resp_kind kind, size_t index, size_t *out)
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

/* The bytes of the deltas of one part that are the same in each. */
static bool render_delta(struct event *v, const char *type, size_t item, const char *part,
                         int64_t index)
{
    struct dialect_writer *w = v->w;
    struct json_w j;
    buf_clear(&w->delta);
    if (!buf_addf(&w->delta, v->e, "event: %s\ndata: ", type))
        return false;
    json_w_init(&j, &w->delta, v->e);
    json_w_obj(&j);
    key_cstr(&j, "type", type);
    key_cstr(&j, "item_id", w->items[item].id);
    key_i64(&j, "output_index", (int64_t)item);
    if (part)
        key_i64(&j, part, index);
    return json_w_end(&j) && buf_add(&w->delta, SPAN(",\"sequence_number\":"), v->e);
}

static bool send_delta(struct event *v, struct span text, bool logprobs)
{
    struct dialect_writer *w = v->w;
    if (!buf_add(v->out, buf_span(&w->delta), v->e))
        return false;
    json_w_init(&v->j, v->out, v->e);
    json_w_i64(&v->j, w->sequence++);
    return json_w_end(&v->j) && buf_add(v->out, SPAN(",\"delta\":"), v->e) &&
           json_write_str(v->out, text, v->e) &&
           buf_add(v->out, logprobs ? SPAN(",\"logprobs\":[]}\n\n") : SPAN("}\n\n"), v->e);
}

/* --- messages --------------------------------------------------------------------------------- */

static bool close_part(struct event *v, size_t item, bool refusal)
{
    struct resp_item *it = &v->w->items[item];
    const struct buf *all = refusal ? &v->w->c.refusal : &v->w->c.text;
    struct span text = span_upto(span_from(buf_span(all), refusal ? it->refusal : it->text),
                                 refusal ? it->refusal_n : it->text_n);
    int64_t index = refusal ? it->refusal_part : it->text_part;
    if (!open_at(v, refusal ? "response.refusal.done" : "response.output_text.done", item,
                 "content_index", index))
        return false;
    key_str(&v->j, refusal ? "refusal" : "text", text);
    if (!refusal) {
        json_w_key(&v->j, "logprobs");
        json_w_raw(&v->j, SPAN("[]"));
    }
    if (!close_event(v) || !open_at(v, "response.content_part.done", item, "content_index", index))
        return false;
    json_w_key(&v->j, "part");
    resp_write_part(&v->j, refusal, text);
    return close_event(v);
}

static bool close_message(struct event *v, size_t item)
{
    for (int i = 0; i < 2; i++) {
        if (v->w->items[item].text_part == i && !close_part(v, item, false))
            return false;
        if (v->w->items[item].refusal_part == i && !close_part(v, item, true))
            return false;
    }
    return true;
}

static bool open_part(struct event *v, size_t item, bool refusal)
{
    struct resp_item *it = &v->w->items[item];
    int8_t index = it->text_part >= 0 || it->refusal_part >= 0;
    if (refusal)
        it->refusal_part = index;
    else
        it->text_part = index;
    if (!open_at(v, "response.content_part.added", item, "content_index", index))
        return false;
    json_w_key(&v->j, "part");
    resp_write_part(&v->j, refusal, (struct span){"", 0});
    return close_event(v);
}

/* --- reasoning -------------------------------------------------------------------------------- */

static bool close_reasoning(struct event *v, size_t item)
{
    static const char index[] = "summary_index";
    struct resp_item *it = &v->w->items[item];
    struct span text = span_upto(span_from(buf_span(&v->w->c.reasoning), it->text), it->text_n);
    if (it->text_n == 0)
        return true;
    if (!open_at(v, "response.reasoning_summary_text.done", item, index, 0))
        return false;
    key_str(&v->j, "text", text);
    if (!close_event(v) || !open_at(v, "response.reasoning_summary_part.done", item, index, 0))
        return false;
    json_w_key(&v->j, "part");
    json_w_obj(&v->j);
    key_cstr(&v->j, "type", "summary_text");
    key_str(&v->j, "text", text);
    json_w_obj_end(&v->j);
    return close_event(v);
}

static bool open_summary(struct event *v, size_t item)
{
    if (!open_at(v, "response.reasoning_summary_part.added", item, "summary_index", 0))
        return false;
    json_w_key(&v->j, "part");
    json_w_raw(&v->j, SPAN("{\"type\":\"summary_text\",\"text\":\"\"}"));
    return close_event(v) &&
           render_delta(v, "response.reasoning_summary_text.delta", item, "summary_index", 0);
}

/* --- the open item ---------------------------------------------------------------------------- */

static bool close_open(struct event *v, const char *status)
{
    struct dialect_writer *w = v->w;
    size_t item = w->open;
    if (item == NONE)
        return true;
    w->open = NONE;
    w->items[item].status = status;
    bool ok =
        w->items[item].kind == RESP_MESSAGE ? close_message(v, item) : close_reasoning(v, item);
    w->items[item].done = true;
    return ok && send_item(v, "response.output_item.done", item);
}

static bool open_item(struct event *v, enum resp_kind kind, size_t index)
{
    size_t item;
    if (!close_open(v, "completed") || !add_item(v, kind, index, &item))
        return false;
    v->w->open = item;
    return true;
}

static bool open_message(struct event *v)
{
    return open_item(v, RESP_MESSAGE, 0) && send_item(v, "response.output_item.added", v->w->open);
}

/* The piece is the end of what was collected. */
static bool on_text(struct event *v, struct span text, bool refusal)
{
    struct dialect_writer *w = v->w;
    bool fresh = w->open == NONE || w->items[w->open].kind != RESP_MESSAGE;
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
        !render_delta(v, refusal ? "response.refusal.delta" : "response.output_text.delta", w->open,
                      "content_index", refusal ? it->refusal_part : it->text_part))
        return false;
    w->delta_refusal = refusal;
    if (refusal)
        it->refusal_n += text.n;
    else
        it->text_n += text.n;
    return send_delta(v, text, !refusal);
}

static bool id_is_taken(const struct dialect_writer *w, struct span id)
{
    for (size_t i = 0; i < w->n; i++)
        if (span_eq(span_of(w->items[i].id), id))
            return true;
    return false;
}

static bool on_reasoning(struct event *v, const struct chat_event *ev)
{
    struct dialect_writer *w = v->w;
    size_t block = w->c.n_blocks - 1;
    if (ev->text.n == 0 && ev->signature.n == 0)
        return true;
    if (w->open == NONE || w->items[w->open].kind != RESP_REASONING ||
        w->items[w->open].index != block) {
        struct span own = buf_span(&w->c.blocks[block].id);
        if (!open_item(v, RESP_REASONING, block))
            return false;
        if (!id_is_taken(w, own))
            resp_reasoning_id(&w->items[w->open], own);
        if (!send_item(v, "response.output_item.added", w->open))
            return false;
        w->items[w->open].text = w->c.reasoning.n - ev->text.n;
    }
    struct resp_item *it = &w->items[w->open];
    if (ev->text.n > 0) {
        if (it->text_n == 0 && !open_summary(v, w->open))
            return false;
        it->text_n += ev->text.n;
        if (!send_delta(v, ev->text, false))
            return false;
    }
    return ev->signature.n == 0 || close_open(v, "completed");
}

/* --- calls ------------------------------------------------------------------------------------ */

static bool send_arguments(struct event *v, size_t item, struct span piece)
{
    if (piece.n == 0)
        return true;
    if (!open_at(v, "response.function_call_arguments.delta", item, NULL, 0))
        return false;
    key_str(&v->j, "delta", piece);
    return close_event(v);
}

static bool close_call(struct event *v, size_t item)
{
    struct resp_item *it = &v->w->items[item];
    const struct chat_collected_tool *t = &v->w->c.tools[it->index];
    if (it->done)
        return true;
    if (!open_at(v, "response.function_call_arguments.done", item, NULL, 0))
        return false;
    key_str(&v->j, "name", buf_span(&t->name));
    key_str(&v->j, "arguments", buf_span(&t->arguments));
    it->status = "completed";
    it->done = true;
    return close_event(v) && send_item(v, "response.output_item.done", item);
}

static bool on_tool(struct event *v, const struct chat_event *ev)
{
    struct dialect_writer *w = v->w;
    const struct chat_collected_tool *t = &w->c.tools[ev->index];
    size_t *item = &w->call_item[ev->index];
    struct span piece = ev->arguments;
    if (t->name.n == 0 || (*item != NONE && w->items[*item].done))
        return true;
    if (*item == NONE) {
        if (!close_open(v, "completed") || !add_item(v, RESP_CALL, ev->index, item))
            return false;
        resp_call_id(&w->c, ev->index, w->reply.id, w->items[*item].call_id);
        if (!send_item(v, "response.output_item.added", *item))
            return false;
        piece = buf_span(&t->arguments);
    }
    return send_arguments(v, *item, piece) && (!t->whole || close_call(v, *item));
}

/* --- progress of a fusion --------------------------------------------------------------------- */

static struct seen *find_seen(struct dialect_writer *w, const struct chat_member *m, bool *fresh)
{
    struct span label = span_upto(m->label, sizeof w->seen[0].label - 1);
    *fresh = false;
    for (size_t i = 0; i < w->n_seen; i++)
        if (span_eq(span_of(w->seen[i].label), label))
            return &w->seen[i];
    if (w->n_seen == MAX_SEEN)
        return NULL;
    struct seen *s = &w->seen[w->n_seen++];
    *s = (struct seen){.judge = m->judge};
    if (label.n > 0)
        memcpy(s->label, label.p, label.n);
    *fresh = true;
    return s;
}

static bool send_member(struct event *v, const char *type, const struct chat_member *m)
{
    if (!open_at(v, type, v->w->fusion, NULL, 0))
        return false;
    key_str(&v->j, "model", m->model);
    if (m->judge) {
        key_str(&v->j, "analyst_model", m->model);
        key_str(&v->j, "judge_model", m->model); /* its old name */
    }
    if (m->state == CHAT_MEMBER_FAILED || m->state == CHAT_MEMBER_ABANDONED)
        key_str(&v->j, "error", m->detail.n > 0 ? m->detail : span_of(m->reason));
    json_w_key(&v->j, "member");
    oai_write_member(&v->j, m);
    return close_event(v);
}

static bool open_fusion(struct event *v)
{
    struct dialect_writer *w = v->w;
    if (w->fusion != NONE)
        return true;
    return add_item(v, RESP_FUSION, 0, &w->fusion) &&
           send_item(v, "response.output_item.added", w->fusion) &&
           open_at(v, "response.fusion_call.in_progress", w->fusion, NULL, 0) && close_event(v);
}

static bool on_member(struct event *v, const struct chat_member *m)
{
    bool fresh, ended = m && m->state >= CHAT_MEMBER_OK;
    if (!m)
        return true;
    struct seen *s = find_seen(v->w, m, &fresh);
    if (!s || !open_fusion(v))
        return !s;
    if (fresh && !send_member(v,
                              m->judge ? "response.fusion_call.analysis.in_progress"
                                       : "response.fusion_call.panel.added",
                              m))
        return false;
    if (!ended || s->ended)
        return true;
    s->ended = true;
    if (m->judge)
        return send_member(v, "response.fusion_call.analysis.completed", m);
    bool failed = m->state == CHAT_MEMBER_FAILED || m->state == CHAT_MEMBER_ABANDONED;
    return send_member(
        v, failed ? "response.fusion_call.panel.failed" : "response.fusion_call.panel.completed",
        m);
}

static bool close_fusion(struct event *v)
{
    struct dialect_writer *w = v->w;
    if (w->fusion == NONE)
        return true;
    w->items[w->fusion].status = "completed";
    w->items[w->fusion].done = true;
    return open_at(v, "response.fusion_call.completed", w->fusion, NULL, 0) && close_event(v) &&
           send_item(v, "response.output_item.done", w->fusion);
}

/* --- the end ---------------------------------------------------------------------------------- */

static bool close_calls(struct event *v, enum chat_finish finish)
{
    struct dialect_writer *w = v->w;
    for (size_t i = 0; i < w->c.n_tools; i++)
        if (w->call_item[i] != NONE && resp_releasable(&w->c, i, finish) &&
            !close_call(v, w->call_item[i]))
            return false;
    return true;
}

static bool on_finish(struct event *v, enum chat_finish finish)
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
    if (w->n == 0 || (w->n == 1 && w->fusion != NONE)) { /* nothing was said */
        if (!open_message(v) || !open_part(v, w->open, false))
            return false;
    }
    char type[32];
    snprintf(type, sizeof type, "response.%s", end.status);
    return close_open(v, end.status) && close_calls(v, finish) && close_fusion(v) &&
           send_object(v, type, &end, true, w->n);
}

/* `error` in both of its forms: the book's members, and the object that the API really sends. */
static bool on_error(struct event *v, const struct err *err)
{
    struct resp_end end = {"failed", NULL, err};
    v->w->ended = true;
    if (!open_event(v, "error"))
        return false;
    key_cstr(&v->j, "code", err->code);
    key_cstr(&v->j, "message", err->msg);
    key_cstr(&v->j, "param", err->param[0] ? err->param : NULL);
    json_w_key(&v->j, "error");
    oai_write_error_object(&v->j, err, true);
    return close_event(v) && send_object(v, "response.failed", &end, v->w->c.has_usage, 0);
}

static bool write_event(struct event *v, const struct chat_event *ev)
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
        return on_member(v, ev->member);
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
    struct event v = {.w = w, .out = out, .e = e};
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
