/* dialect/openai_responses_read_item.c - items of an upstream's answer, put together from the
 * events below them.
 *
 * The book sends everything up to four times: in deltas, in the part's .done, in output_item.done
 * and in response.completed. Servers leave out any of these. So each part is remembered by one bit:
 * what comes later counts only when nothing came of it before. Calls are numbered here, from 0, in
 * the order in which they begin. Items of tools that the upstream runs are none of ours. */
#include "base/limits.h"
#include "base/mem.h"
#include "dialect/responses_read.h"

#define MAX_ITEMS  1024
#define MAX_CALLS  512
#define NAME_BYTES KIB(1)

/* --- finding ---------------------------------------------------------------------------------- */

static enum resp_read_kind kind_of(struct span type)
{
    return span_eq(type, SPAN("message"))         ? READ_MESSAGE
           : span_eq(type, SPAN("reasoning"))     ? READ_REASONING
           : span_eq(type, SPAN("function_call")) ? READ_CALL
                                                  : READ_OTHER;
}

static struct resp_read_item *by_index(struct dialect_reader *rd, int64_t index)
{
    if (rd->last < rd->n_items && rd->items[rd->last].index == index)
        return &rd->items[rd->last];
    for (size_t i = rd->n_items; i-- > 0;)
        if (rd->items[i].index == index) {
            rd->last = i;
            return &rd->items[i];
        }
    return NULL;
}

static struct resp_read_item *by_id(struct dialect_reader *rd, struct span id)
{
    for (size_t i = rd->n_items; id.n > 0 && i-- > 0;)
        if (span_eq(buf_span(&rd->items[i].id), span_upto(id, NAME_BYTES)))
            return &rd->items[i];
    return NULL;
}

static struct resp_read_item *new_item(struct dialect_reader *rd, enum resp_read_kind kind,
                                       int64_t index, struct span id, struct err *e)
{
    if (rd->n_items == MAX_ITEMS) {
        err_set(e, ERR_UPSTREAM, "the upstream sent more than %d items", MAX_ITEMS);
        return NULL;
    }
    if (rd->n_items == rd->cap_items) {
        size_t cap = rd->cap_items > 0 ? 2 * rd->cap_items : 8;
        struct resp_read_item *items = mem_realloc(rd->items, cap * sizeof *items);
        if (!items) {
            wire_no_memory(e);
            return NULL;
        }
        rd->items = items;
        rd->cap_items = cap;
    }
    struct resp_read_item *it = &rd->items[rd->n_items];
    *it = (struct resp_read_item){.kind = kind, .index = index};
    buf_init(&it->id, NAME_BYTES);
    buf_init(&it->call_id, NAME_BYTES);
    buf_init(&it->name, NAME_BYTES);
    buf_init(&it->held, LIMIT_EVENT_BYTES);
    rd->n_items++;
    return buf_add(&it->id, span_upto(id, NAME_BYTES), e) ? it : NULL;
}

void resp_free_items(struct dialect_reader *rd)
{
    for (size_t i = 0; i < rd->n_items; i++) {
        buf_done(&rd->items[i].id);
        buf_done(&rd->items[i].call_id);
        buf_done(&rd->items[i].name);
        buf_done(&rd->items[i].held);
    }
    mem_free(rd->items);
    rd->items = NULL;
    rd->n_items = rd->cap_items = 0;
}

static int64_t index_of(json_val *v, const char *key)
{
    int64_t n;
    return json_i64(json_get(v, key), &n) && n >= 0 ? n : -1;
}

/* The item that an event is about: one that nobody announced begins with it. */
static struct resp_read_item *item_of(struct dialect_reader *rd, json_val *v,
                                      enum resp_read_kind kind, struct err *e)
{
    int64_t index = index_of(v, "output_index");
    struct span id = json_str(json_get(v, "item_id"));
    struct resp_read_item *it = index >= 0 ? by_index(rd, index) : by_id(rd, id);
    if (!it && index < 0 && id.n == 0 && rd->n_items > 0)
        it = &rd->items[rd->n_items - 1];
    return it ? it : new_item(rd, kind, index, id, e);
}

/* --- pieces of text --------------------------------------------------------------------------- */

static bool push_text(struct dialect_reader *rd, enum chat_event_kind kind, struct span text,
                      struct span id, struct err *e)
{
    struct chat_event *ev = resp_push(rd, kind, e);
    if (!ev)
        return false;
    ev->text = text;
    ev->id = id;
    rd->delivered = true;
    return true;
}

static uint64_t part_bit(int64_t index)
{
    return UINT64_C(1) << (index < 0 ? 0 : index > 63 ? 63 : index);
}

/* whole: the text of the part, which counts only when no piece of it came. */
static bool say(struct dialect_reader *rd, struct resp_read_item *it, enum chat_event_kind kind,
                int64_t part, struct span text, bool whole, struct err *e)
{
    uint64_t bit = part_bit(part);
    if (text.n == 0 || it->kind != READ_MESSAGE || (whole ? (it->parts & bit) != 0 : it->done))
        return true;
    /* A comment, then the answer: two messages of one answer are two paragraphs. */
    bool begins = kind == CHAT_EV_TEXT && !it->said && rd->texted && text.p[0] != '\n';
    if (begins && !push_text(rd, kind, SPAN("\n\n"), (struct span){0}, e))
        return false;
    it->parts |= bit;
    it->said = true;
    rd->texted = rd->texted || kind == CHAT_EV_TEXT;
    rd->refused = rd->refused || kind == CHAT_EV_REFUSAL;
    return push_text(rd, kind, text, (struct span){0}, e);
}

/* raw: the thought itself. A server that sends it and its summary means one block: the form that
 * comes first counts. */
static bool think(struct dialect_reader *rd, struct resp_read_item *it, bool raw, int64_t part,
                  struct span text, bool whole, struct err *e)
{
    uint64_t bit = part_bit(part);
    if (text.n == 0 || it->kind != READ_REASONING || (it->said && it->raw != raw) ||
        (whole ? (it->parts & bit) != 0 : it->done))
        return true;
    if (it->said && (it->parts & bit) == 0 &&
        !push_text(rd, CHAT_EV_REASONING, SPAN("\n\n"), buf_span(&it->id), e))
        return false;
    it->parts |= bit;
    it->said = true;
    it->raw = raw;
    return push_text(rd, CHAT_EV_REASONING, text, buf_span(&it->id), e);
}

static bool on_say(struct dialect_reader *rd, json_val *v, enum chat_event_kind kind,
                   const char *key, bool whole, struct err *e)
{
    struct resp_read_item *it = item_of(rd, v, READ_MESSAGE, e);
    return it &&
           say(rd, it, kind, index_of(v, "content_index"), json_str(json_get(v, key)), whole, e);
}

static bool on_think(struct dialect_reader *rd, json_val *v, bool raw, const char *key, bool whole,
                     struct err *e)
{
    struct resp_read_item *it = item_of(rd, v, READ_REASONING, e);
    return it && think(rd, it, raw, index_of(v, raw ? "content_index" : "summary_index"),
                       json_str(json_get(v, key)), whole, e);
}

bool resp_on_text(struct dialect_reader *rd, json_val *v, struct err *e)
{
    return on_say(rd, v, CHAT_EV_TEXT, "delta", false, e);
}

bool resp_on_text_done(struct dialect_reader *rd, json_val *v, struct err *e)
{
    return on_say(rd, v, CHAT_EV_TEXT, "text", true, e);
}

bool resp_on_refusal(struct dialect_reader *rd, json_val *v, struct err *e)
{
    return on_say(rd, v, CHAT_EV_REFUSAL, "delta", false, e);
}

bool resp_on_refusal_done(struct dialect_reader *rd, json_val *v, struct err *e)
{
    return on_say(rd, v, CHAT_EV_REFUSAL, "refusal", true, e);
}

bool resp_on_summary(struct dialect_reader *rd, json_val *v, struct err *e)
{
    return on_think(rd, v, false, "delta", false, e);
}

bool resp_on_summary_done(struct dialect_reader *rd, json_val *v, struct err *e)
{
    return on_think(rd, v, false, "text", true, e);
}

bool resp_on_thought(struct dialect_reader *rd, json_val *v, struct err *e)
{
    return on_think(rd, v, true, "delta", false, e);
}

bool resp_on_thought_done(struct dialect_reader *rd, json_val *v, struct err *e)
{
    return on_think(rd, v, true, "text", true, e);
}

bool resp_on_summary_part_done(struct dialect_reader *rd, json_val *v, struct err *e)
{
    struct resp_read_item *it = item_of(rd, v, READ_REASONING, e);
    return it && think(rd, it, false, index_of(v, "summary_index"),
                       json_str(json_get(json_get(v, "part"), "text")), true, e);
}

/* A part of a message, whole, as it stands in `content`. */
static bool say_part(struct dialect_reader *rd, struct resp_read_item *it, int64_t index,
                     json_val *part, struct err *e)
{
    struct span type = json_str(json_get(part, "type"));
    if (span_eq(type, SPAN("refusal")))
        return say(rd, it, CHAT_EV_REFUSAL, index, json_str(json_get(part, "refusal")), true, e);
    if (span_eq(type, SPAN("output_text")) || span_eq(type, SPAN("text")))
        return say(rd, it, CHAT_EV_TEXT, index, json_str(json_get(part, "text")), true, e);
    return true;
}

bool resp_on_part_done(struct dialect_reader *rd, json_val *v, struct err *e)
{
    json_val *part = json_get(v, "part");
    bool thought = span_eq(json_str(json_get(part, "type")), SPAN("reasoning_text"));
    struct resp_read_item *it = item_of(rd, v, thought ? READ_REASONING : READ_MESSAGE, e);
    int64_t index = index_of(v, "content_index");
    if (!it)
        return false;
    return thought ? think(rd, it, true, index, json_str(json_get(part, "text")), true, e)
                   : say_part(rd, it, index, part, e);
}

/* --- calls ------------------------------------------------------------------------------------ */

static bool keep(struct buf *b, struct span s, struct err *e)
{
    return b->n > 0 || buf_add(b, span_upto(s, NAME_BYTES), e);
}

static bool push_call(struct dialect_reader *rd, struct resp_read_item *it, struct span arguments,
                      struct err *e)
{
    struct chat_event *ev = resp_push(rd, CHAT_EV_TOOL, e);
    if (!ev)
        return false;
    ev->index = it->call;
    ev->arguments = arguments;
    if (!it->begun) {
        ev->tool_id = buf_span(&it->call_id);
        ev->tool_name = buf_span(&it->name);
        it->begun = true;
    }
    return true;
}

/* The first event of a call goes out when its name is known; what came before is held. */
static bool begin_call(struct dialect_reader *rd, struct resp_read_item *it, struct err *e)
{
    if (it->begun || it->name.n == 0)
        return true;
    if (rd->n_calls == MAX_CALLS)
        return err_set(e, ERR_UPSTREAM, "the upstream sent more than %d tool calls", MAX_CALLS);
    it->call = rd->n_calls++;
    return push_call(rd, it, buf_span(&it->held), e);
}

static bool add_arguments(struct dialect_reader *rd, struct resp_read_item *it, struct span piece,
                          struct err *e)
{
    if (piece.n == 0)
        return true;
    wire_track_feed(&it->track, piece);
    it->n_args += piece.n;
    rd->delivered = true;
    return it->begun ? push_call(rd, it, piece, e) : buf_add(&it->held, piece, e);
}

static bool end_call(struct dialect_reader *rd, struct resp_read_item *it, struct err *e)
{
    /* A tool without parameters: clients parse the arguments, and "" is no JSON. */
    if (!push_call(rd, it, it->n_args == 0 ? SPAN("{}") : (struct span){0}, e))
        return false;
    rd->queue[rd->n - 1].tool_done = true;
    it->ended = true;
    return true;
}

/* All arguments at once, when none came yet: as text, or as the object that it stands for. */
static bool add_whole(struct dialect_reader *rd, struct resp_read_item *it, json_val *v,
                      struct err *e)
{
    if (it->n_args > 0)
        return true;
    if (!json_is_obj(v))
        return add_arguments(rd, it, json_str(v), e);
    if (!json_write_val(&it->held, v, e))
        return false;
    it->n_args = it->held.n;
    it->track.whole = true;
    rd->delivered = true;
    return !it->begun || push_call(rd, it, buf_span(&it->held), e);
}

/* Name and id, and what came of the arguments when they are whole. */
static bool read_call(struct dialect_reader *rd, struct resp_read_item *it, json_val *item,
                      bool whole, struct err *e)
{
    return keep(&it->call_id, json_str(json_get(item, "call_id")), e) &&
           keep(&it->name, json_str(json_get(item, "name")), e) && begin_call(rd, it, e) &&
           (!whole || add_whole(rd, it, json_get(item, "arguments"), e));
}

bool resp_on_arguments(struct dialect_reader *rd, json_val *v, struct err *e)
{
    struct resp_read_item *it = item_of(rd, v, READ_CALL, e);
    if (!it || it->kind != READ_CALL || it->done)
        return it != NULL;
    return add_arguments(rd, it, json_str(json_get(v, "delta")), e);
}

/* It has the name too, which helps where no item was announced. */
bool resp_on_arguments_done(struct dialect_reader *rd, json_val *v, struct err *e)
{
    struct resp_read_item *it = item_of(rd, v, READ_CALL, e);
    if (!it || it->kind != READ_CALL || it->done)
        return it != NULL;
    return read_call(rd, it, v, true, e);
}

bool resp_end_calls(struct dialect_reader *rd, bool limited, bool *out_any, bool *out_cut,
                    struct err *e)
{
    *out_any = *out_cut = false;
    for (size_t i = 0; i < rd->n_items; i++) {
        struct resp_read_item *it = &rd->items[i];
        if (it->kind != READ_CALL)
            continue;
        bool cut = !it->begun || it->cut || (limited && !it->ended && !it->track.whole);
        *out_cut = *out_cut || cut;
        *out_any = *out_any || !cut;
        if (!cut && !it->ended && !end_call(rd, it, e))
            return false;
    }
    return true;
}

/* --- items ------------------------------------------------------------------------------------ */

static bool finish_reasoning(struct dialect_reader *rd, struct resp_read_item *it, json_val *item,
                             struct err *e)
{
    static const char *const lists[] = {"summary", "content"};
    struct resp_block block = {0};
    struct span key, sealed = json_str(json_get(item, "encrypted_content"));
    json_val *part;
    for (size_t k = 0; k < COUNT_OF(lists); k++) {
        json_val *list = json_get(item, lists[k]);
        int64_t i = 0;
        for (struct json_iter in = json_iter_of(json_is_arr(list) ? list : NULL);
             json_next(&in, &key, &part); i++)
            if (!think(rd, it, k == 1, i, json_str(json_get(part, "text")), true, e))
                return false;
    }
    if (sealed.n == 0)
        return true;
    struct chat_event *ev = resp_push(rd, CHAT_EV_REASONING, e);
    if (!ev)
        return false;
    resp_unseal(sealed, buf_span(&it->id), &block);
    /* Text of the block has gone out under the item's id; a signature that is bound to another one
     * is of use only to who packed it. */
    if (it->said && block.id.n > 0 && !span_eq(block.id, buf_span(&it->id)))
        block = (struct resp_block){.id = buf_span(&it->id), .signature = sealed};
    ev->signature = block.signature;
    ev->format = block.format;
    ev->id = block.id;
    rd->delivered = true;
    return true;
}

static bool finish_message(struct dialect_reader *rd, struct resp_read_item *it, json_val *item,
                           struct err *e)
{
    json_val *list = json_get(item, "content"), *part;
    struct span key;
    int64_t i = 0;
    for (struct json_iter in = json_iter_of(json_is_arr(list) ? list : NULL);
         json_next(&in, &key, &part); i++)
        if (!say_part(rd, it, i, part, e))
            return false;
    return true;
}

/* Arguments that do not close are not whole, whatever the item says of itself; the end of the
 * answer tells what became of them. */
static bool finish_call(struct dialect_reader *rd, struct resp_read_item *it, json_val *item,
                        struct err *e)
{
    if (!read_call(rd, it, item, true, e))
        return false;
    it->cut = span_eq(json_str(json_get(item, "status")), SPAN("incomplete"));
    bool whole = it->begun && !it->cut && (it->track.whole || it->n_args == 0);
    return !whole || end_call(rd, it, e);
}

static bool finish_item(struct dialect_reader *rd, struct resp_read_item *it, json_val *item,
                        struct err *e)
{
    bool ok = true;
    if (it->done || kind_of(json_str(json_get(item, "type"))) != it->kind)
        return true;
    if (it->kind == READ_MESSAGE)
        ok = finish_message(rd, it, item, e);
    else if (it->kind == READ_REASONING)
        ok = finish_reasoning(rd, it, item, e);
    else if (it->kind == READ_CALL)
        ok = finish_call(rd, it, item, e);
    it->done = true;
    return ok;
}

/* Announces it when it has not been. index < 0: by its id alone. */
static struct resp_read_item *announced(struct dialect_reader *rd, json_val *item, int64_t index,
                                        struct err *e)
{
    struct span id = json_str(json_get(item, "id"));
    struct resp_read_item *it = index >= 0 ? by_index(rd, index) : by_id(rd, id);
    if (!it)
        it = new_item(rd, kind_of(json_str(json_get(item, "type"))), index, id, e);
    return it;
}

bool resp_on_added(struct dialect_reader *rd, json_val *v, struct err *e)
{
    json_val *item = json_get(v, "item");
    struct resp_read_item *it = announced(rd, item, index_of(v, "output_index"), e);
    if (!it || it->kind != READ_CALL)
        return it != NULL;
    return read_call(rd, it, item, false, e);
}

bool resp_on_item_done(struct dialect_reader *rd, json_val *v, struct err *e)
{
    json_val *item = json_get(v, "item");
    struct resp_read_item *it = announced(rd, item, index_of(v, "output_index"), e);
    return it && finish_item(rd, it, item, e);
}

/* Ids differ between the stream and its end on some servers (vLLM), places on others: an item is
 * the one of that id, else of that place. */
bool resp_read_output(struct dialect_reader *rd, json_val *list, struct err *e)
{
    struct span key;
    json_val *item;
    int64_t i = 0;
    for (struct json_iter in = json_iter_of(json_is_arr(list) ? list : NULL);
         json_next(&in, &key, &item); i++) {
        struct span id = json_str(json_get(item, "id"));
        struct resp_read_item *it = by_id(rd, id);
        if (!it)
            it = by_index(rd, i);
        if (!it)
            it = new_item(rd, kind_of(json_str(json_get(item, "type"))), i, id, e);
        if (!it || !finish_item(rd, it, item, e))
            return false;
    }
    return true;
}
