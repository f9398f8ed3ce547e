/* upstream/recorded.c - recorded answers as a source: the text comes in a few pieces, one a turn of
 * the loop, so that sinks meet what they meet with a provider. It books like any other call, so an
 * evaluation shows in the ledger what was asked. Not here: the file (recording.c). */
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "json/json.h"
#include "ledger/price.h"
#include "upstream/upstream_priv.h"

#define PIECES          4
#define MIN_PIECE_BYTES 64

enum recorded_state {
    RECORDED_BOOKING,  /* the ticket is out */
    RECORDED_SPEAKING, /* step is deferred unless paused */
    RECORDED_ENDED,    /* told, failed or cancelled: step frees */
};

struct recorded_call {
    struct chat_call call;
    struct upstream_node node;
    struct upstream *upstream;
    struct chat_sink *sink;
    const struct config_model *model;
    struct gate_intent intent;
    struct gate_ticket ticket;
    struct loop_task step;
    enum recorded_state state;
    bool paused, started, booked;
    struct err err;   /* cls ERR_NONE: text is good */
    struct span text; /* what is still to be said; borrowed from the recording */
    size_t piece_bytes, said_bytes;
    int64_t input_tokens;
    int64_t start_us, first_us, start_wall_ms;
};

static struct loop *loop_of(const struct recorded_call *c)
{
    return c->upstream->env.loop;
}

static void step_later(struct recorded_call *c)
{
    loop_defer(loop_of(c), &c->step);
}

static struct chat_usage usage_of(const struct recorded_call *c)
{
    struct chat_usage u = {.input = c->started ? c->input_tokens : 0,
                           .output = (int64_t)(c->said_bytes + 3) / 4,
                           .estimated = true};
    u.cost_nusd = price_cost_nusd(&c->model->price, &u);
    return u;
}

static void settle(struct recorded_call *c, const char *outcome)
{
    if (!c->booked)
        return;
    c->booked = false;
    int64_t total_us = loop_now_us(loop_of(c)) - c->start_us;
    struct chat_usage u = usage_of(c);
    gate_settle(c->upstream->env.gate, &c->intent, &u, outcome, false, c->start_wall_ms,
                c->first_us > 0 ? c->first_us - c->start_us : -1, total_us);
}

/* The one way to the end: what is left is memory. */
static void to_ended(struct recorded_call *c, const char *outcome)
{
    settle(c, outcome);
    c->state = RECORDED_ENDED;
    c->sink = NULL;
    step_later(c);
}

static void fail(struct recorded_call *c, const struct err *err)
{
    struct chat_sink *sink = c->sink;
    to_ended(c, err_class_name(err->cls));
    sink->on_event(sink, &(struct chat_event){.kind = CHAT_EV_ERROR, .err = err});
}

/* --- life: start, booking, speaking, end
 * ------------------------------------------------------------ */

static void finish(struct recorded_call *c)
{
    struct chat_sink *sink = c->sink;
    struct chat_usage u = usage_of(c);
    settle(c, "ok");
    sink->on_event(sink, &(struct chat_event){.kind = CHAT_EV_USAGE, .usage = u});
    if (c->state == RECORDED_ENDED)
        return;
    to_ended(c, "ok");
    sink->on_event(sink, &(struct chat_event){.kind = CHAT_EV_FINISH, .finish = CHAT_FINISH_STOP});
}

static void say_piece(struct recorded_call *c)
{
    struct span piece = text_upto(c->text, c->piece_bytes);
    if (piece.n == 0) /* broken UTF-8: no prefix is whole */
        piece = c->text;
    c->text = span_from(c->text, piece.n);
    c->said_bytes += piece.n;
    if (c->first_us == 0)
        c->first_us = loop_now_us(loop_of(c));
    c->sink->on_event(c->sink, &(struct chat_event){.kind = CHAT_EV_TEXT, .text = piece});
}

static void speak(struct recorded_call *c)
{
    if (c->err.cls != ERR_NONE) {
        fail(c, &c->err);
        return;
    }
    if (!c->started) {
        c->started = true;
        c->sink->on_event(c->sink, &(struct chat_event){.kind = CHAT_EV_START,
                                                        .id = span_of(c->intent.id),
                                                        .model = c->model->id});
    } else if (c->text.n > 0) {
        say_piece(c);
    } else {
        finish(c);
    }
    if (c->state == RECORDED_SPEAKING && !c->paused)
        step_later(c);
}

static void on_step(struct loop_task *t)
{
    struct recorded_call *c = CONTAINER_OF(t, struct recorded_call, step);
    if (c->state == RECORDED_SPEAKING) {
        if (!c->paused)
            speak(c);
        return;
    }
    list_remove(&c->node.node);
    mem_free(c);
}

static void to_speaking(struct recorded_call *c)
{
    c->state = RECORDED_SPEAKING;
    c->booked = true;
    c->start_us = loop_now_us(loop_of(c));
    c->start_wall_ms = clock_wall_ms();
    step_later(c);
}

static void on_answer(struct gate_ticket *t, const struct err *err)
{
    struct recorded_call *c = CONTAINER_OF(t, struct recorded_call, ticket);
    if (err != NULL)
        fail(c, err);
    else
        to_speaking(c);
}

static void recorded_cancel(struct chat_call *call, struct chat_usage *out)
{
    struct recorded_call *c = CONTAINER_OF(call, struct recorded_call, call);
    gate_withdraw(&c->ticket);
    if (out != NULL)
        *out = usage_of(c);
    to_ended(c, "cancelled");
}

static void recorded_pause(struct chat_call *call)
{
    struct recorded_call *c = CONTAINER_OF(call, struct recorded_call, call);
    c->paused = true;
}

static void recorded_resume(struct chat_call *call)
{
    struct recorded_call *c = CONTAINER_OF(call, struct recorded_call, call);
    c->paused = false;
    if (c->state == RECORDED_SPEAKING)
        step_later(c);
}

static void drop(struct upstream_node *n)
{
    struct recorded_call *c = CONTAINER_OF(n, struct recorded_call, node);
    if (c->state != RECORDED_ENDED)
        recorded_cancel(&c->call, NULL);
    loop_undefer(&c->step);
    mem_free(c);
}

/* --- starting
 * ------------------------------------------------------------------------------------- */

/* metadata.id as text, a string or a number; p NULL when there is none. */
static bool metadata_id(struct arena *a, const struct chat_request *r, struct span *out,
                        struct err *e)
{
    json_val *root = NULL;
    *out = (struct span){NULL, 0};
    if (r->metadata.n == 0)
        return true;
    if (!json_parse(a, r->metadata, &root, e))
        return err_prefix(e, "metadata");
    json_val *id = json_get(root, "id");
    *out = json_is_num(id) ? json_num_text(id) : json_str(id);
    return true;
}

static struct span last_user_text(struct arena *a, const struct chat_request *r)
{
    for (size_t i = r->n_messages; i > 0; i--)
        if (r->messages[i - 1].role == CHAT_USER)
            return chat_message_text(a, &r->messages[i - 1]);
    return SPAN("");
}

static bool find_text(struct recorded_call *c, const struct recording *rec,
                      const struct chat_request *r, struct err *e)
{
    AUTO(arena) a = arena_new(0);
    struct span id, message;
    if (a == NULL)
        return err_set(e, ERR_NOMEM, "no memory to look into the recording");
    if (!metadata_id(a, r, &id, e))
        return false;
    message = last_user_text(a, r);
    if (message.p == NULL)
        return err_set(e, ERR_NOMEM, "no memory to look into the recording");
    return recording_find(rec, c->model->id, id, message, &c->text, e);
}

static const struct chat_call_ops call_ops = {recorded_cancel, recorded_pause, recorded_resume};

/* What is not found is an event, as a provider's 404 is: a fusion counts a lost member either way.
 */
static struct chat_call *recorded_start(struct chat_source *source, const struct chat_request *r,
                                        const struct chat_start_opts *o, struct chat_sink *sink,
                                        struct err *e)
{
    struct upstream_source *s = CONTAINER_OF(source, struct upstream_source, source);
    const struct up_provider *p = upstream_provider_of(s->upstream, s->model);
    struct recorded_call *c = p != NULL ? mem_zalloc(sizeof *c) : NULL;
    if (c == NULL) {
        err_set(e, p != NULL ? ERR_NOMEM : ERR_STATE, "recorded call: no memory or no provider");
        return NULL;
    }
    c->call.ops = &call_ops;
    c->upstream = s->upstream;
    c->model = s->model;
    c->sink = sink;
    c->input_tokens = (chat_input_bytes(r) + 3) / 4;
    c->node.drop = drop;
    loop_task_init(&c->step, on_step);
    if (find_text(c, p->recording, r, &c->err))
        c->err = (struct err){0};
    c->piece_bytes = c->text.n / PIECES + 1;
    if (c->piece_bytes < MIN_PIECE_BYTES)
        c->piece_bytes = MIN_PIECE_BYTES;
    c->intent = (struct gate_intent){.request_id = o->request_id,
                                     .fusion_id = o->fusion_id,
                                     .role = o->role != NULL ? o->role : "call",
                                     .model = s->model,
                                     .host = SPAN(""),
                                     .bound_nusd = -1};
    c->ticket.on_answer = on_answer;
    list_push(&s->upstream->calls, &c->node.node);
    if (gate_pass(s->upstream->env.gate, &c->intent))
        to_speaking(c);
    else
        gate_ask(s->upstream->env.gate, &c->intent, &c->ticket);
    return &c->call;
}

const struct chat_source_ops upstream_recorded_ops = {recorded_start};
