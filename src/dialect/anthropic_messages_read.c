/* dialect/anthropic_messages_read.c - an upstream's events, or its one body, -> events.
 *
 * Lenient on purpose: it reads what Anthropic and those who speak like it send. A message_start
 * that comes again is no second answer: where it stands in the middle of one (a proxy that tried
 * again) the blocks that were open are given up, a call among them stays open. Blocks of tools that
 * Anthropic runs itself are passed over; so are citations. Strict in one thing: an answer without a
 * stop_reason has been cut. */
#include "base/limits.h"
#include "base/mem.h"
#include "dialect/anthropic_priv.h"

/* Events that are no JSON and are skipped before the stream is given up. */
#define MAX_SKIPPED  3
#define MAX_OPEN     64 /* blocks that are open at once: real servers have one */
#define MAX_CALLS    512
#define NAME_BYTES   KIB(1)
#define REPORT_BYTES MIB(4)

enum state {
    ST_OPEN,   /* events come */
    ST_ENDED,  /* FINISH is queued or out; what comes now is ignored */
    ST_FAILED, /* err is set; it comes behind the queued events */
};

enum block_kind { BLOCK_TEXT, BLOCK_THINKING, BLOCK_CALL, BLOCK_OTHER };

struct block {
    int64_t index;
    enum block_kind kind;
    size_t call; /* BLOCK_CALL: its number */
};

struct call {
    struct buf whole; /* arguments that stood in the block's start: they count if no pieces come */
    size_t n_args;    /* bytes of pieces so far */
    bool closed;      /* its block has ended */
    bool done;        /* its last event is out */
    struct wire_track track;
};

struct dialect_reader {
    enum state state;
    struct json_scratch scratch; /* the current event: what goes out borrows from it */
    struct wire_queue queue;
    struct block open[MAX_OPEN];
    size_t n_open;
    struct call *calls;
    size_t n_calls;
    struct buf stop;     /* stop_sequence */
    struct arena *arena; /* reports; made when the first comes */
    bool started, delivered, has_finish, has_usage;
    enum chat_finish finish;
    struct chat_usage usage;
    const struct chat_fusion_report *report;
    unsigned skipped; /* events that were no JSON */
    struct err err;
};

struct dialect_reader *ant_reader_new(void)
{
    struct dialect_reader *rd = mem_zalloc(sizeof *rd);
    if (!rd)
        return NULL;
    json_scratch_init(&rd->scratch);
    buf_init(&rd->stop, LIMIT_EVENT_BYTES);
    rd->usage.cost_nusd = -1;
    return rd;
}

void ant_reader_free(struct dialect_reader *rd)
{
    if (!rd)
        return;
    json_scratch_done(&rd->scratch);
    wire_queue_done(&rd->queue);
    for (size_t i = 0; i < rd->n_calls; i++)
        buf_done(&rd->calls[i].whole);
    mem_free(rd->calls);
    buf_done(&rd->stop);
    arena_free(rd->arena);
    mem_free(rd);
}

/* The error comes out behind the events that are queued already. Always false. */
static bool fail(struct dialect_reader *rd, const struct err *err)
{
    rd->err = *err;
    if (rd->err.sent < SENT_REFUSED) /* an upstream has answered: bytes went out */
        rd->err.sent = SENT_MAYBE;
    if (rd->delivered)
        rd->err.sent = SENT_DELIVERED;
    rd->state = ST_FAILED;
    return false;
}

/* --- pieces ----------------------------------------------------------------------------------- */

static bool push_text(struct dialect_reader *rd, enum chat_event_kind kind, struct span text,
                      struct err *e)
{
    if (text.n == 0)
        return true;
    struct wire_pending *p = wire_push(&rd->queue, kind, e);
    if (!p)
        return false;
    p->ev.text = text;
    rd->delivered = true;
    return true;
}

/* text and signature may both be empty. Our own signatures say in front whose they are. */
static bool push_thinking(struct dialect_reader *rd, struct span text, struct span signature,
                          bool redacted, struct err *e)
{
    if (text.n == 0 && signature.n == 0)
        return true;
    struct wire_pending *p = wire_push(&rd->queue, CHAT_EV_REASONING, e);
    if (!p)
        return false;
    p->ev.text = text;
    ant_read_signature(signature, &p->ev.signature, &p->ev.format);
    p->ev.signs_text = signature.n > 0 && !redacted;
    rd->delivered = true;
    return true;
}

static struct call *new_call(struct dialect_reader *rd, struct err *e)
{
    if (rd->n_calls == MAX_CALLS) {
        err_set(e, ERR_UPSTREAM, "the upstream sent more than %d tool calls", MAX_CALLS);
        return NULL;
    }
    struct call *calls = mem_realloc(rd->calls, (rd->n_calls + 1) * sizeof *calls);
    if (!calls) {
        wire_no_memory(e);
        return NULL;
    }
    rd->calls = calls;
    struct call *c = &calls[rd->n_calls++];
    *c = (struct call){0};
    buf_init(&c->whole, LIMIT_EVENT_BYTES);
    return c;
}

/* A call without a name is none; *out_is tells. */
static bool start_call(struct dialect_reader *rd, json_val *v, bool *out_is, struct err *e)
{
    struct span name = json_str(json_get(v, "name"));
    json_val *input = json_get(v, "input");
    *out_is = name.n > 0;
    if (name.n == 0)
        return true;
    struct call *c = new_call(rd, e);
    if (!c || (json_count(input) > 0 && json_is_obj(input) && !json_write_val(&c->whole, input, e)))
        return false;
    struct wire_pending *p = wire_push(&rd->queue, CHAT_EV_TOOL, e);
    if (!p)
        return false;
    p->ev.index = rd->n_calls - 1;
    p->ev.tool_id = span_upto(json_str(json_get(v, "id")), NAME_BYTES);
    p->ev.tool_name = span_upto(name, NAME_BYTES);
    rd->delivered = true;
    return true;
}

static bool push_piece(struct dialect_reader *rd, size_t index, struct span piece, struct err *e)
{
    struct call *c = &rd->calls[index];
    if (piece.n == 0)
        return true;
    struct wire_pending *p = wire_push(&rd->queue, CHAT_EV_TOOL, e);
    if (!p)
        return false;
    p->ev.index = index;
    p->ev.arguments = piece;
    c->n_args += piece.n;
    wire_track_feed(&c->track, piece);
    return true;
}

static bool push_done(struct dialect_reader *rd, size_t index, struct err *e)
{
    struct call *c = &rd->calls[index];
    struct wire_pending *p = wire_push(&rd->queue, CHAT_EV_TOOL, e);
    if (!p)
        return false;
    c->done = true;
    p->ev.index = index;
    p->ev.tool_done = true;
    if (c->n_args ==
        0) /* a tool without parameters: clients parse the arguments, and "" is no JSON */
        p->ev.arguments = c->whole.n > 0 ? buf_span(&c->whole) : SPAN("{}");
    return true;
}

/* --- blocks ----------------------------------------------------------------------------------- */

static struct block *find_block(struct dialect_reader *rd, int64_t index)
{
    for (size_t i = rd->n_open; i-- > 0;)
        if (rd->open[i].index == index)
            return &rd->open[i];
    return NULL;
}

static int64_t index_of(json_val *event)
{
    int64_t index;
    return json_i64(json_get(event, "index"), &index) ? index : 0;
}

static bool open_block(struct dialect_reader *rd, json_val *event, struct err *e)
{
    json_val *v = json_get(event, "content_block");
    struct span type = json_str(json_get(v, "type"));
    struct block b = {.index = index_of(event), .kind = BLOCK_OTHER};
    struct block *at = find_block(rd, b.index);
    bool is = true;
    if (!at && rd->n_open == MAX_OPEN)
        return err_set(e, ERR_UPSTREAM, "the upstream has more than %d blocks open", MAX_OPEN);
    if (span_eq(type, SPAN("text"))) {
        b.kind = BLOCK_TEXT;
        if (!push_text(rd, CHAT_EV_TEXT, json_str(json_get(v, "text")), e))
            return false;
    } else if (span_eq(type, SPAN("thinking"))) {
        b.kind = BLOCK_THINKING;
        if (!push_thinking(rd, json_str(json_get(v, "thinking")),
                           json_str(json_get(v, "signature")), false, e))
            return false;
    } else if (span_eq(type, SPAN("redacted_thinking"))) {
        if (!push_thinking(rd, (struct span){0}, json_str(json_get(v, "data")), true, e))
            return false;
    } else if (span_eq(type, SPAN("tool_use"))) {
        if (!start_call(rd, v, &is, e))
            return false;
        b.kind = is ? BLOCK_CALL : BLOCK_OTHER;
        b.call = rd->n_calls - is;
    }
    if (at)
        *at = b;
    else
        rd->open[rd->n_open++] = b;
    return true;
}

/* Some servers leave out the start of a block: text is text all the same. */
static bool read_delta(struct dialect_reader *rd, json_val *event, struct err *e)
{
    json_val *v = json_get(event, "delta");
    struct span type = json_str(json_get(v, "type"));
    const struct block *b = find_block(rd, index_of(event));
    if (b && b->kind == BLOCK_OTHER)
        return true;
    if (span_eq(type, SPAN("text_delta")))
        return push_text(rd, CHAT_EV_TEXT, json_str(json_get(v, "text")), e);
    if (span_eq(type, SPAN("thinking_delta")))
        return push_thinking(rd, json_str(json_get(v, "thinking")), (struct span){0}, false, e);
    if (span_eq(type, SPAN("signature_delta")))
        return push_thinking(rd, (struct span){0}, json_str(json_get(v, "signature")), false, e);
    if (span_eq(type, SPAN("input_json_delta")) && b && b->kind == BLOCK_CALL)
        return push_piece(rd, b->call, json_str(json_get(v, "partial_json")), e);
    return true;
}

/* Arguments that are no whole JSON wait for the end, which says whether a limit has cut them. */
static bool close_block(struct dialect_reader *rd, json_val *event, struct err *e)
{
    struct block *b = find_block(rd, index_of(event));
    if (!b)
        return true;
    struct block closed = *b;
    *b = rd->open[--rd->n_open];
    if (closed.kind != BLOCK_CALL)
        return true;
    struct call *c = &rd->calls[closed.call];
    c->closed = true;
    return (c->n_args > 0 && !c->track.whole) || push_done(rd, closed.call, e);
}

/* --- the end ---------------------------------------------------------------------------------- */

/* pause_turn: the work of Anthropic's own tools goes on if it is asked to; who gets the answer from
 * us cannot ask, so for him it is not whole. */
static const struct {
    struct span word;
    enum chat_finish finish;
} finishes[] = {
    {SPAN_INIT("end_turn"), CHAT_FINISH_STOP},
    {SPAN_INIT("stop_sequence"), CHAT_FINISH_STOP},
    {SPAN_INIT("max_tokens"), CHAT_FINISH_LENGTH},
    {SPAN_INIT("model_context_window_exceeded"), CHAT_FINISH_LENGTH},
    {SPAN_INIT("pause_turn"), CHAT_FINISH_LENGTH},
    {SPAN_INIT("tool_use"), CHAT_FINISH_TOOL_CALLS},
    {SPAN_INIT("refusal"), CHAT_FINISH_REFUSAL},
};

/* The members of a message_delta's `delta`, or of a whole message. Words that nobody has heard of
 * yet count as "end_turn": the answer did end. */
static bool read_stop(struct dialect_reader *rd, json_val *v, struct err *e)
{
    struct span word = json_str(json_get(v, "stop_reason"));
    struct span sequence = json_str(json_get(v, "stop_sequence"));
    if (word.n == 0)
        return true;
    rd->has_finish = true;
    rd->finish = CHAT_FINISH_STOP;
    for (size_t i = 0; i < COUNT_OF(finishes); i++)
        if (span_eq(finishes[i].word, word))
            rd->finish = finishes[i].finish;
    buf_clear(&rd->stop);
    if (!buf_add(&rd->stop, sequence, e))
        return false;
    if (rd->finish != CHAT_FINISH_REFUSAL || rd->delivered)
        return true;
    struct span why = json_str(json_get(json_get(v, "stop_details"), "explanation"));
    return push_text(rd, CHAT_EV_REFUSAL, why, e);
}

static bool push_usage(struct dialect_reader *rd, struct err *e)
{
    struct wire_pending *p = wire_push(&rd->queue, CHAT_EV_USAGE, e);
    if (!p)
        return false;
    p->ev.usage = rd->usage;
    p->ev.report = rd->report;
    return true;
}

static bool read_usage(struct dialect_reader *rd, json_val *v, struct err *e)
{
    json_val *fusion = json_get(v, "fusion");
    if (!ant_read_usage(v, &rd->usage))
        return true;
    rd->has_usage = true;
    if (!fusion)
        return true;
    if (!rd->arena && !(rd->arena = arena_new(REPORT_BYTES)))
        return err_set(e, ERR_NOMEM, "no memory for the fusion's report");
    const struct chat_fusion_report *report = wire_read_report(rd->arena, fusion);
    rd->report = report ? report : rd->report;
    return true;
}

/* Calls that are still open were cut by a limit, or given up by a second start; unless a block has
 * ended with broken arguments and no limit explains it: then the call is what the model wanted. */
static bool end_calls(struct dialect_reader *rd, bool *out_any, bool *out_cut, struct err *e)
{
    bool limited = rd->finish != CHAT_FINISH_TOOL_CALLS && rd->finish != CHAT_FINISH_STOP;
    *out_any = *out_cut = false;
    for (size_t i = 0; i < rd->n_calls; i++) {
        struct call *c = &rd->calls[i];
        if (!c->done && c->closed && !limited && !push_done(rd, i, e))
            return false;
        *out_any = *out_any || c->done;
        *out_cut = *out_cut || !c->done;
    }
    return true;
}

static bool finish_up(struct dialect_reader *rd, struct err *e)
{
    bool any, cut;
    if (!rd->has_finish)
        return err_set(e, ERR_CUT, "the upstream's answer ended before its end");
    if (!end_calls(rd, &any, &cut, e) || (rd->has_usage && !push_usage(rd, e)))
        return false;
    struct wire_pending *p = wire_push(&rd->queue, CHAT_EV_FINISH, e);
    if (!p)
        return false;
    p->ev.finish = rd->finish;
    p->ev.stop_sequence = buf_span(&rd->stop);
    if (any && !cut)
        p->ev.finish = CHAT_FINISH_TOOL_CALLS;
    else if (rd->finish == CHAT_FINISH_TOOL_CALLS) /* who hears it releases what is open */
        p->ev.finish = CHAT_FINISH_STOP;
    rd->state = ST_ENDED;
    return true;
}

/* --- one event -------------------------------------------------------------------------------- */

static bool start(struct dialect_reader *rd, json_val *message, struct err *e)
{
    struct wire_pending *p;
    rd->n_open = 0;
    if (!rd->started) {
        if (!(p = wire_push(&rd->queue, CHAT_EV_START, e)))
            return false;
        p->ev.id = json_str(json_get(message, "id"));
        p->ev.model = json_str(json_get(message, "model"));
        rd->started = true;
    }
    return read_usage(rd, json_get(message, "usage"), e);
}

static bool read_event(struct dialect_reader *rd, struct span type, json_val *v, struct err *e)
{
    if (span_eq(type, SPAN("message_start")))
        return start(rd, json_get(v, "message"), e) && (!rd->has_usage || push_usage(rd, e));
    bool known = span_starts(type, SPAN("content_block_")) ||
                 span_eq(type, SPAN("message_delta")) || span_eq(type, SPAN("message_stop"));
    if (!known)
        return true;
    if (!rd->started && !start(rd, NULL, e))
        return false;
    if (span_eq(type, SPAN("content_block_delta")))
        return read_delta(rd, v, e);
    if (span_eq(type, SPAN("content_block_start")))
        return open_block(rd, v, e);
    if (span_eq(type, SPAN("content_block_stop")))
        return close_block(rd, v, e);
    if (span_eq(type, SPAN("message_stop")))
        return finish_up(rd, e);
    return !span_eq(type, SPAN("message_delta")) ||
           (read_usage(rd, json_get(v, "usage"), e) && read_stop(rd, json_get(v, "delta"), e));
}

static bool skip(struct dialect_reader *rd, struct err *e)
{
    struct err why;
    if (++rd->skipped <= MAX_SKIPPED)
        return true;
    err_set(&why, ERR_UPSTREAM, "the upstream's stream is not made of JSON objects");
    fail(rd, &why);
    if (e)
        *e = rd->err;
    return false;
}

/* An error from inside an event is told by reader_next(), behind what the event had said before. */
static bool settle(struct dialect_reader *rd, bool ok, const struct err *why)
{
    if (!ok)
        fail(rd, why);
    return true;
}

bool ant_reader_feed(struct dialect_reader *rd, struct span type, struct span data, struct err *e)
{
    struct err why; /* large: set where something fails, not per event */
    json_val *v = NULL;
    wire_queue_clear(&rd->queue);
    data = span_trim(data);
    if (rd->state == ST_ENDED || data.n == 0 || span_eq(type, SPAN("ping")))
        return true;
    if (rd->state == ST_FAILED) {
        if (e)
            *e = rd->err;
        return false;
    }
    if (span_eq(data, SPAN("[DONE]"))) /* of proxies; message_stop is the end */
        return true;
    if (!json_parse_scratch(&rd->scratch, data, &v, &why))
        return why.cls == ERR_NOMEM ? settle(rd, false, &why) : skip(rd, e);
    if (!json_is_obj(v))
        return skip(rd, e);
    struct span own = json_str(json_get(v, "type"));
    bool error = span_eq(type, SPAN("error")) || span_eq(own, SPAN("error"));
    if (wire_stream_error(v, error, rd->delivered, &why))
        return settle(rd, false, &why);
    type = own.n > 0 ? own : type;
    return settle(rd, read_event(rd, type, v, &why), &why);
}

/* --- one body --------------------------------------------------------------------------------- */

static bool whole_block(struct dialect_reader *rd, json_val *v, struct err *e)
{
    struct span type = json_str(json_get(v, "type"));
    bool is;
    if (span_eq(type, SPAN("text")))
        return push_text(rd, CHAT_EV_TEXT, json_str(json_get(v, "text")), e);
    if (span_eq(type, SPAN("thinking")))
        return push_thinking(rd, json_str(json_get(v, "thinking")),
                             json_str(json_get(v, "signature")), false, e);
    if (span_eq(type, SPAN("redacted_thinking")))
        return push_thinking(rd, (struct span){0}, json_str(json_get(v, "data")), true, e);
    if (!span_eq(type, SPAN("tool_use")))
        return true;
    return start_call(rd, v, &is, e) && (!is || push_done(rd, rd->n_calls - 1, e));
}

static bool read_whole(struct dialect_reader *rd, json_val *root, struct err *e)
{
    json_val *content = json_get(root, "content"), *v;
    struct span key;
    if (!json_is_arr(content))
        return err_set(e, ERR_UPSTREAM, "the upstream's answer has no content");
    if (!start(rd, root, e))
        return false;
    for (struct json_iter it = json_iter_of(content); json_next(&it, &key, &v);)
        if (!whole_block(rd, v, e))
            return false;
    rd->has_finish = true; /* the body is whole, so the answer is */
    return read_stop(rd, root, e) && finish_up(rd, e);
}

bool ant_reader_body(struct dialect_reader *rd, struct span body, struct err *e)
{
    struct err why = {0};
    json_val *root = NULL;
    bool ok = json_parse_scratch(&rd->scratch, body, &root, &why);
    wire_queue_clear(&rd->queue);
    if (!ok && why.cls != ERR_NOMEM)
        err_set(&why, ERR_UPSTREAM, "the upstream's answer is not JSON");
    else if (ok && wire_stream_error(root, span_eq(json_str(json_get(root, "type")), SPAN("error")),
                                     false, &why))
        ok = false;
    else if (ok)
        ok = read_whole(rd, root, &why);
    if (ok)
        return true;
    fail(rd, &why);
    if (e)
        *e = rd->err;
    return false;
}

/* A stream that ends behind its message_delta has said all that counts. */
void ant_reader_eof(struct dialect_reader *rd)
{
    struct err why = {0};
    if (rd->state != ST_OPEN)
        return;
    wire_queue_clear(&rd->queue);
    settle(rd, finish_up(rd, &why), &why);
}

enum dialect_status ant_reader_next(struct dialect_reader *rd, struct chat_event *out,
                                    struct err *e)
{
    if (wire_pop(&rd->queue, NULL, out))
        return DIALECT_EVENT;
    if (rd->state != ST_FAILED)
        return DIALECT_MORE;
    if (e)
        *e = rd->err;
    return DIALECT_FAIL;
}
