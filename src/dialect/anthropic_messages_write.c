/* dialect/anthropic_messages_write.c - events -> the stream of a Messages client; a collected
 * answer -> one body.
 *
 * Blocks follow each other and never overlap, so each tool call is held until it is whole and goes
 * out as one block: start with an empty input, one piece, stop. Client libraries need an `event:`
 * line on every event, message_stop, and message_delta.usage.output_tokens. Nothing goes out before
 * the first piece of content, so that an early failure can still have a status of its own; what was
 * used by then is in message_start, the whole in message_delta. Reasoning without a signature goes
 * out with an empty one: libraries want the member, and an upstream is not sent it again. */
#include "base/limits.h"
#include "base/mem.h"
#include "dialect/anthropic_priv.h"
#include "dialect/wire_calls.h"

enum block { BLOCK_NONE, BLOCK_TEXT, BLOCK_THINKING };

struct dialect_writer {
    struct buf id, model;
    struct buf usage; /* the last usage object, rendered */
    struct chat_usage so_far;
    struct json_scratch scratch;
    struct wire_calls calls;
    enum block block; /* what is open */
    size_t index;     /* of the next block */
    bool begun, ended, members, refused;
};

/* --- making one ------------------------------------------------------------------------------- */

struct dialect_writer *ant_writer_new(const struct dialect_reply *r)
{
    struct dialect_writer *w = mem_zalloc(sizeof *w);
    if (!w)
        return NULL;
    w->members = r->members;
    buf_init(&w->id, KIB(64));
    buf_init(&w->model, KIB(64));
    buf_init(&w->usage, LIMIT_EVENT_BYTES);
    json_scratch_init(&w->scratch);
    if (buf_add(&w->id, r->id, NULL) && buf_add(&w->model, r->model, NULL))
        return w;
    ant_writer_free(w);
    return NULL;
}

void ant_writer_free(struct dialect_writer *w)
{
    if (!w)
        return;
    wire_calls_done(&w->calls);
    buf_done(&w->id);
    buf_done(&w->model);
    buf_done(&w->usage);
    json_scratch_done(&w->scratch);
    mem_free(w);
}

/* --- frames ----------------------------------------------------------------------------------- */

/* The message up to its content: in message_start and as a whole body. */
static void write_head(struct json_w *j, struct span id, struct span model)
{
    json_w_obj(j);
    wire_str(j, "id", id);
    wire_str(j, "type", SPAN("message"));
    wire_str(j, "role", SPAN("assistant"));
    wire_str(j, "model", model);
    json_w_key(j, "content");
    json_w_arr(j);
}

static bool begin(struct dialect_writer *w, struct buf *out, struct err *e)
{
    struct json_w j;
    if (w->begun)
        return true;
    if (!buf_add(out, SPAN("event: message_start\ndata: {\"type\":\"message_start\",\"message\":"),
                 e))
        return false;
    json_w_init(&j, out, e);
    write_head(&j, buf_span(&w->id), buf_span(&w->model));
    json_w_arr_end(&j);
    json_w_key(&j, "stop_reason");
    json_w_null(&j);
    json_w_key(&j, "stop_sequence");
    json_w_null(&j);
    json_w_key(&j, "usage");
    ant_write_usage(&j, &w->so_far, NULL, true);
    json_w_obj_end(&j);
    w->begun = true;
    return json_w_end(&j) && buf_add(out, SPAN("}\n\n"), e);
}

/* Up to the value of the block. */
static bool open_start(struct dialect_writer *w, struct buf *out, struct err *e)
{
    return buf_addf(out, e,
                    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":"
                    "%zu,\"content_block\":",
                    w->index);
}

/* Up to the value of the piece; index counts from the block that is open. */
static bool open_delta(struct dialect_writer *w, struct span piece, struct buf *out, struct err *e)
{
    return buf_addf(out, e,
                    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":"
                    "%zu,\"delta\":{\"type\":\"",
                    w->index) &&
           buf_add(out, piece, e);
}

static bool stop_block(struct dialect_writer *w, struct buf *out, struct err *e)
{
    return buf_addf(out, e,
                    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":"
                    "%zu}\n\n",
                    w->index++);
}

static bool close_open(struct dialect_writer *w, struct buf *out, struct err *e)
{
    if (w->block == BLOCK_NONE)
        return true;
    w->block = BLOCK_NONE;
    return stop_block(w, out, e);
}

static bool open_block(struct dialect_writer *w, enum block block, struct buf *out, struct err *e)
{
    if (w->block == block)
        return true;
    if (!begin(w, out, e) || !close_open(w, out, e) || !open_start(w, out, e))
        return false;
    w->block = block;
    return buf_add(out,
                   block == BLOCK_TEXT
                       ? SPAN("{\"type\":\"text\",\"text\":\"\"}}\n\n")
                       : SPAN("{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n"),
                   e);
}

static bool send_text(struct dialect_writer *w, struct span text, struct buf *out, struct err *e)
{
    return text.n == 0 || (open_block(w, BLOCK_TEXT, out, e) &&
                           open_delta(w, SPAN("text_delta\",\"text\":"), out, e) &&
                           json_write_str(out, text, e) && buf_add(out, SPAN("}}\n\n"), e));
}

static bool send_redacted(struct dialect_writer *w, const struct chat_event *ev, struct buf *out,
                          struct err *e)
{
    struct json_w j;
    if (!begin(w, out, e) || !close_open(w, out, e) || !open_start(w, out, e))
        return false;
    json_w_init(&j, out, e);
    json_w_obj(&j);
    wire_str(&j, "type", SPAN("redacted_thinking"));
    json_w_key(&j, "data");
    ant_write_signature(&j, ev->signature, ev->format);
    json_w_obj_end(&j);
    return json_w_end(&j) && buf_add(out, SPAN("}\n\n"), e) && stop_block(w, out, e);
}

static bool send_thinking(struct dialect_writer *w, const struct chat_event *ev, struct buf *out,
                          struct err *e)
{
    struct json_w j;
    if (ev->signature.n > 0 && ev->text.n == 0 && w->block != BLOCK_THINKING && !ev->signs_text)
        return send_redacted(w, ev, out, e);
    if (ev->text.n > 0 && !(open_block(w, BLOCK_THINKING, out, e) &&
                            open_delta(w, SPAN("thinking_delta\",\"thinking\":"), out, e) &&
                            json_write_str(out, ev->text, e) && buf_add(out, SPAN("}}\n\n"), e)))
        return false;
    if (ev->signature.n == 0)
        return true;
    if (!open_block(w, BLOCK_THINKING, out, e) ||
        !open_delta(w, SPAN("signature_delta\",\"signature\":"), out, e))
        return false;
    json_w_init(&j, out, e);
    ant_write_signature(&j, ev->signature, ev->format);
    return json_w_end(&j) && buf_add(out, SPAN("}}\n\n"), e) && close_open(w, out, e);
}

/* --- tool calls ------------------------------------------------------------------------------- */

/* Whether a call may go out: truncated arguments are never released. */
static bool releasable(bool whole, struct span name, enum chat_finish finish)
{
    return name.n > 0 && (whole || finish == CHAT_FINISH_TOOL_CALLS);
}

static bool send_call(struct dialect_writer *w, size_t index, struct buf *out, struct err *e)
{
    struct wire_call *t = &w->calls.at[index];
    char made[WIRE_CALL_ID_BYTES];
    struct json_w j;
    struct buf input;
    if (!begin(w, out, e) || !close_open(w, out, e) || !open_start(w, out, e))
        return false;
    json_w_init(&j, out, e);
    json_w_obj(&j);
    wire_str(&j, "type", SPAN("tool_use"));
    wire_str(&j, "id", wire_call_id(buf_span(&t->id), buf_span(&w->id), index, made));
    wire_str(&j, "name", buf_span(&t->name));
    wire_raw(&j, "input", SPAN("{}"));
    json_w_obj_end(&j);
    if (!json_w_end(&j) || !buf_add(out, SPAN("}\n\n"), e) ||
        !open_delta(w, SPAN("input_json_delta\",\"partial_json\":"), out, e))
        return false;
    buf_init(&input, LIMIT_OUT_MAX_BYTES * 3);
    json_w_init(&j, &input, e);
    bool ok = ant_write_input(&j, &w->scratch, buf_span(&t->arguments), e) && json_w_end(&j) &&
              json_write_str(out, buf_span(&input), e);
    buf_done(&input);
    t->sent = true;
    return ok && buf_add(out, SPAN("}}\n\n"), e) && stop_block(w, out, e);
}

/* The signature of a call has no place here; it is kept by the call's id. */
static bool on_tool(struct dialect_writer *w, const struct chat_event *ev, struct buf *out,
                    struct err *e)
{
    struct wire_call *t = wire_calls_note(&w->calls, ev, e);
    if (!t || t->sent)
        return t != NULL;
    if (!buf_add(&t->arguments, ev->arguments, e))
        return false;
    return !t->whole || t->name.n == 0 || send_call(w, ev->index, out, e);
}

/* --- the end ---------------------------------------------------------------------------------- */

static const char *reason_of(enum chat_finish finish, bool any_call, bool refused, bool sequence)
{
    if (any_call)
        return "tool_use"; /* whatever the upstream said: agents end early otherwise */
    switch (finish) {
    case CHAT_FINISH_LENGTH:
        return "max_tokens";
    case CHAT_FINISH_CONTENT_FILTER:
    case CHAT_FINISH_REFUSAL:
        return "refusal";
    case CHAT_FINISH_STOP:
    case CHAT_FINISH_TOOL_CALLS:
        break;
    }
    return refused ? "refusal" : sequence ? "stop_sequence" : "end_turn";
}

static void write_stop(struct json_w *j, const char *reason, struct span sequence)
{
    json_w_key(j, "stop_reason");
    json_w_cstr(j, reason);
    json_w_key(j, "stop_sequence");
    if (strcmp(reason, "stop_sequence") == 0)
        json_w_str(j, sequence);
    else
        json_w_null(j);
}

static bool on_finish(struct dialect_writer *w, const struct chat_event *ev, struct buf *out,
                      struct err *e)
{
    bool any = false;
    struct json_w j;
    for (size_t i = 0; i < w->calls.n; i++) {
        struct wire_call *t = &w->calls.at[i];
        if (!t->sent && releasable(t->whole, buf_span(&t->name), ev->finish) &&
            !send_call(w, i, out, e))
            return false;
        any = any || t->sent;
    }
    w->ended = true;
    if (!begin(w, out, e) || !close_open(w, out, e) ||
        !buf_add(out, SPAN("event: message_delta\ndata: "), e))
        return false;
    json_w_init(&j, out, e);
    json_w_obj(&j);
    wire_str(&j, "type", SPAN("message_delta"));
    json_w_key(&j, "delta");
    json_w_obj(&j);
    write_stop(&j, reason_of(ev->finish, any, w->refused, ev->stop_sequence.n > 0),
               ev->stop_sequence);
    json_w_obj_end(&j);
    json_w_key(&j, "usage");
    if (w->usage.n > 0)
        json_w_raw(&j, buf_span(&w->usage));
    else
        ant_write_usage(&j, &w->so_far, NULL, true);
    json_w_obj_end(&j);
    return json_w_end(&j) &&
           buf_add(out, SPAN("\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), e);
}

static bool on_error(struct dialect_writer *w, const struct err *err, struct buf *out,
                     struct err *e)
{
    struct json_w j;
    w->ended = true;
    if (!buf_add(out, SPAN("event: error\ndata: "), e))
        return false;
    json_w_init(&j, out, e);
    ant_write_stream_error(&j, err);
    return json_w_end(&j) && buf_add(out, SPAN("\n\n"), e);
}

static bool on_usage(struct dialect_writer *w, const struct chat_event *ev, struct err *e)
{
    struct json_w j;
    w->so_far = ev->usage;
    buf_clear(&w->usage);
    json_w_init(&j, &w->usage, e);
    ant_write_usage(&j, &ev->usage, ev->report, false);
    return json_w_end(&j);
}

/* A ping tells a client that waits for a fusion that there is life; more it cannot take. It may not
 * come before message_start, which libraries want first. */
static bool on_member(struct dialect_writer *w, struct buf *out, struct err *e)
{
    return !w->members || !w->begun ||
           buf_add(out, SPAN("event: ping\ndata: {\"type\":\"ping\"}\n\n"), e);
}

static bool write_event(struct dialect_writer *w, const struct chat_event *ev, struct buf *out,
                        struct err *e)
{
    switch (ev->kind) {
    case CHAT_EV_START:
        return true;
    case CHAT_EV_TEXT:
        return send_text(w, ev->text, out, e);
    case CHAT_EV_REASONING:
        return send_thinking(w, ev, out, e);
    case CHAT_EV_REFUSAL: /* words for the user, like any others */
        w->refused = true;
        return send_text(w, ev->text, out, e);
    case CHAT_EV_TOOL:
        return on_tool(w, ev, out, e);
    case CHAT_EV_MEMBER:
        return on_member(w, out, e);
    case CHAT_EV_USAGE:
        return on_usage(w, ev, e);
    case CHAT_EV_FINISH:
        return on_finish(w, ev, out, e);
    case CHAT_EV_ERROR:
        return on_error(w, ev->err, out, e);
    }
    return true;
}

bool ant_write_event(struct dialect_writer *w, const struct chat_event *ev, struct buf *out,
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

/* --- one body ---------------------------------------------------------------------------------
 *
 * With all members that Anthropic's schema of a Message requires, null where there is nothing to
 * say: some clients check it. */

static void unary_thinking(struct json_w *j, const struct chat_collect *c)
{
    for (size_t i = 0; i < c->n_blocks; i++) {
        const struct chat_collected_block *b = &c->blocks[i];
        bool redacted = b->n == 0 && !b->signs_text;
        json_w_obj(j);
        wire_str(j, "type", redacted ? SPAN("redacted_thinking") : SPAN("thinking"));
        if (!redacted)
            wire_str(j, "thinking", b->n > 0 ? chat_collected_text(c, b) : SPAN(""));
        json_w_key(j, redacted ? "data" : "signature");
        ant_write_signature(j, buf_span(&b->signature), buf_span(&b->format));
        json_w_obj_end(j);
    }
}

static void unary_text(struct json_w *j, const struct buf *text)
{
    if (text->n == 0)
        return;
    json_w_obj(j);
    wire_str(j, "type", SPAN("text"));
    wire_str(j, "text", buf_span(text));
    json_w_key(j, "citations"); /* null, which the schema allows as well, Vercel's client refuses */
    json_w_arr(j);
    json_w_arr_end(j);
    json_w_obj_end(j);
}

static bool unary_calls(struct json_w *j, const struct dialect_reply *r,
                        const struct chat_collect *c, size_t *out_n, struct err *e)
{
    struct json_scratch scratch;
    bool ok = true;
    json_scratch_init(&scratch);
    for (size_t i = 0; ok && i < c->n_tools; i++) {
        const struct chat_collected_tool *t = &c->tools[i];
        struct span id = buf_span(&t->id);
        char made[WIRE_CALL_ID_BYTES];
        if (!releasable(t->whole, buf_span(&t->name), c->finish))
            continue;
        for (size_t k = 0; k < i; k++)
            if (span_eq(buf_span(&c->tools[k].id), id))
                id = (struct span){"", 0};
        json_w_obj(j);
        wire_str(j, "type", SPAN("tool_use"));
        wire_str(j, "id", wire_call_id(id, r->id, i, made));
        wire_str(j, "name", buf_span(&t->name));
        json_w_key(j, "input");
        ok = ant_write_input(j, &scratch, buf_span(&t->arguments), e);
        json_w_key(j, "caller");
        json_w_obj(j);
        wire_str(j, "type", SPAN("direct"));
        json_w_obj_end(j);
        json_w_obj_end(j);
        ++*out_n;
    }
    json_scratch_done(&scratch);
    return ok;
}

bool ant_write_unary(const struct dialect_reply *r, const struct chat_collect *c, struct buf *out,
                     struct err *e)
{
    struct chat_usage none = {.cost_nusd = -1, .estimated = true};
    struct span sequence = buf_span(&c->stop_sequence);
    size_t from = out->n, calls = 0;
    struct json_w j;
    json_w_init(&j, out, e);
    write_head(&j, r->id, r->model);
    unary_thinking(&j, c);
    unary_text(&j, &c->text);
    unary_text(&j, &c->refusal);
    bool ok = unary_calls(&j, r, c, &calls, e);
    json_w_arr_end(&j);
    enum chat_finish finish = c->over && calls == 0 ? CHAT_FINISH_LENGTH : c->finish;
    write_stop(&j, reason_of(finish, calls > 0, c->refusal.n > 0, sequence.n > 0), sequence);
    ant_write_null(&j, "stop_details");
    ant_write_null(&j, "container");
    json_w_key(&j, "usage");
    ant_write_unary_usage(&j, c->has_usage ? &c->usage : &none, c->report);
    json_w_obj_end(&j);
    if (ok && json_w_end(&j))
        return true;
    buf_cut(out, from);
    return false;
}
