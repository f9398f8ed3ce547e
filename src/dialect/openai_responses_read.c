/* dialect/openai_responses_read.c - an upstream's events, or its one body, -> events of ours.
 *
 * Reads what OpenAI, Azure, xAI, OpenRouter, vLLM, llama.cpp, LM Studio and other servers of the
 * open form (openresponses.org) send, and our own frames. Events that nobody has heard of are
 * passed over. Strict in one thing: an answer without a last event has been cut. Pieces and items
 * are put together in openai_responses_read_item.c. */
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "dialect/responses_read.h"

/* Events that are no JSON and are skipped before the stream is given up. */
#define MAX_SKIPPED  3
#define REPORT_BYTES MIB(4)

struct dialect_reader *resp_reader_new(void)
{
    struct dialect_reader *rd = mem_zalloc(sizeof *rd);
    if (rd)
        json_scratch_init(&rd->scratch);
    return rd;
}

void resp_reader_free(struct dialect_reader *rd)
{
    if (!rd)
        return;
    json_scratch_done(&rd->scratch);
    resp_free_items(rd);
    mem_free(rd->queue);
    arena_free(rd->arena);
    mem_free(rd);
}

struct chat_event *resp_push(struct dialect_reader *rd, enum chat_event_kind kind, struct err *e)
{
    if (rd->n == rd->cap) {
        size_t cap = rd->cap > 0 ? 2 * rd->cap : 8;
        struct chat_event *queue = mem_realloc(rd->queue, cap * sizeof *queue);
        if (!queue) {
            err_set(e, ERR_NOMEM, "no memory for the answer's events");
            return NULL;
        }
        rd->queue = queue;
        rd->cap = cap;
    }
    struct chat_event *ev = &rd->queue[rd->n++];
    *ev = (struct chat_event){.kind = kind};
    return ev;
}

/* The error comes out behind the events that are queued already. Always false. */
static bool fail(struct dialect_reader *rd, const struct err *err)
{
    rd->err = *err;
    if (rd->err.sent < SENT_REFUSED) /* an upstream has answered: bytes went out */
        rd->err.sent = SENT_MAYBE;
    if (rd->delivered)
        rd->err.sent = SENT_DELIVERED;
    rd->state = READ_FAILED;
    return false;
}

static bool ensure_start(struct dialect_reader *rd, json_val *response, struct err *e)
{
    if (rd->started)
        return true;
    struct chat_event *ev = resp_push(rd, CHAT_EV_START, e);
    if (!ev)
        return false;
    ev->id = json_str(json_get(response, "id"));
    ev->model = json_str(json_get(response, "model"));
    rd->started = true;
    return true;
}

/* --- the end ---------------------------------------------------------------------------------- */

enum how { ENDED_WELL, ENDED_SHORT, ENDED_BADLY };

static enum chat_finish finish_of(json_val *response, enum how how)
{
    struct span reason = json_str(json_get(json_get(response, "incomplete_details"), "reason"));
    if (how == ENDED_WELL)
        return CHAT_FINISH_STOP;
    return span_eq(reason, SPAN("content_filter")) ? CHAT_FINISH_CONTENT_FILTER
                                                   : CHAT_FINISH_LENGTH;
}

static bool push_usage(struct dialect_reader *rd, json_val *v, struct err *e)
{
    struct chat_usage usage;
    if (!oai_read_usage(v, &usage))
        return true;
    json_val *fusion = json_get(v, "fusion");
    if (fusion && !rd->arena && !(rd->arena = arena_new(REPORT_BYTES)))
        return err_set(e, ERR_NOMEM, "no memory for the fusion's report");
    struct chat_event *ev = resp_push(rd, CHAT_EV_USAGE, e);
    if (!ev)
        return false;
    ev->usage = usage;
    ev->report = fusion ? wire_read_report(rd->arena, fusion) : NULL;
    return true;
}

static bool finish_up(struct dialect_reader *rd, json_val *response, enum how how, struct err *e)
{
    enum chat_finish finish = finish_of(response, how);
    bool any, cut;
    if (!ensure_start(rd, response, e) || !resp_read_output(rd, json_get(response, "output"), e) ||
        !resp_end_calls(rd, finish != CHAT_FINISH_STOP, &any, &cut, e) ||
        !push_usage(rd, json_get(response, "usage"), e))
        return false;
    struct chat_event *ev = resp_push(rd, CHAT_EV_FINISH, e);
    if (!ev)
        return false;
    if (any && !cut)
        finish = CHAT_FINISH_TOOL_CALLS;
    else if (finish == CHAT_FINISH_STOP && rd->refused && !rd->texted)
        finish = CHAT_FINISH_REFUSAL;
    ev->finish = finish;
    rd->state = READ_ENDED;
    return true;
}

/* Always false, with *e set. What was used goes out before it. */
static bool fail_with(struct dialect_reader *rd, json_val *response, struct err *e)
{
    struct err why = {0};
    if (rd->started && !push_usage(rd, json_get(response, "usage"), &why)) {
        *e = why;
        return false;
    }
    wire_stream_error(response, true, rd->delivered, e);
    return false;
}

static bool end_by(struct dialect_reader *rd, json_val *response, struct span status, struct err *e)
{
    char shown[32];
    if (span_eq(status, SPAN("completed")))
        return finish_up(rd, response, ENDED_WELL, e);
    if (span_eq(status, SPAN("incomplete")))
        return finish_up(rd, response, ENDED_SHORT, e);
    if (span_eq(status, SPAN("failed")))
        return fail_with(rd, response, e);
    text_visible_cstr(shown, sizeof shown, status);
    return err_set(e, ERR_UPSTREAM, "the upstream broke off its answer (status %s)", shown);
}

/* --- one event -------------------------------------------------------------------------------- */

static bool on_begin(struct dialect_reader *rd, json_val *v, struct err *e)
{
    return ensure_start(rd, json_get(v, "response"), e);
}

static bool on_completed(struct dialect_reader *rd, json_val *v, struct err *e)
{
    return end_by(rd, json_get(v, "response"), SPAN("completed"), e);
}

static bool on_incomplete(struct dialect_reader *rd, json_val *v, struct err *e)
{
    return end_by(rd, json_get(v, "response"), SPAN("incomplete"), e);
}

static bool on_failed(struct dialect_reader *rd, json_val *v, struct err *e)
{
    return end_by(rd, json_get(v, "response"), SPAN("failed"), e);
}

static bool on_cancelled(struct dialect_reader *rd, json_val *v, struct err *e)
{
    return end_by(rd, json_get(v, "response"), SPAN("cancelled"), e);
}

static bool on_error(struct dialect_reader *rd, json_val *v, struct err *e)
{
    wire_stream_error(v, true, rd->delivered, e);
    return false;
}

/* Those of a token first: each event is looked for from the top. */
static const struct {
    struct span type;
    bool (*on)(struct dialect_reader *rd, json_val *v, struct err *e);
    bool ends;
} handlers[] = {
    {SPAN_INIT("response.output_text.delta"), resp_on_text},
    {SPAN_INIT("response.reasoning_summary_text.delta"), resp_on_summary},
    {SPAN_INIT("response.reasoning_text.delta"), resp_on_thought},
    {SPAN_INIT("response.function_call_arguments.delta"), resp_on_arguments},
    {SPAN_INIT("response.refusal.delta"), resp_on_refusal},
    {SPAN_INIT("response.reasoning.delta"), resp_on_thought}, /* openresponses.org */
    {SPAN_INIT("response.created"), on_begin},
    {SPAN_INIT("response.queued"), on_begin},
    {SPAN_INIT("response.in_progress"), on_begin},
    {SPAN_INIT("response.output_item.added"), resp_on_added},
    {SPAN_INIT("response.output_item.done"), resp_on_item_done},
    {SPAN_INIT("response.content_part.done"), resp_on_part_done},
    {SPAN_INIT("response.output_text.done"), resp_on_text_done},
    {SPAN_INIT("response.refusal.done"), resp_on_refusal_done},
    {SPAN_INIT("response.reasoning_summary_text.done"), resp_on_summary_done},
    {SPAN_INIT("response.reasoning_summary_part.done"), resp_on_summary_part_done},
    {SPAN_INIT("response.reasoning_text.done"), resp_on_thought_done},
    {SPAN_INIT("response.reasoning.done"), resp_on_thought_done},
    {SPAN_INIT("response.function_call_arguments.done"), resp_on_arguments_done},
    {SPAN_INIT("response.completed"), on_completed, true},
    {SPAN_INIT("response.incomplete"), on_incomplete, true},
    {SPAN_INIT("response.failed"), on_failed, true},
    {SPAN_INIT("response.cancelled"), on_cancelled, true},
    {SPAN_INIT("error"), on_error, true},
};

/* Another fusor tells of its members. */
static bool on_member(struct dialect_reader *rd, json_val *v, struct err *e)
{
    json_val *member = json_get(v, "member");
    if (!member || !wire_read_member(member, rd->reason, sizeof rd->reason, &rd->member))
        return true;
    struct chat_event *ev = resp_push(rd, CHAT_EV_MEMBER, e);
    if (ev)
        ev->member = &rd->member;
    return ev != NULL;
}

static bool on_event(struct dialect_reader *rd, struct span type, json_val *v, struct err *e)
{
    for (size_t i = 0; i < COUNT_OF(handlers); i++)
        if (span_eq(handlers[i].type, type))
            return (handlers[i].ends || ensure_start(rd, json_get(v, "response"), e)) &&
                   handlers[i].on(rd, v, e);
    if (span_starts(type, SPAN("response.fusion_call.")))
        return on_member(rd, v, e);
    /* An error that does not say that it is one. */
    return type.n > 0 || !wire_stream_error(v, false, rd->delivered, e);
}

/* --- public ----------------------------------------------------------------------------------- */

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

bool resp_reader_feed(struct dialect_reader *rd, struct span type, struct span data, struct err *e)
{
    struct err why; /* large: set where something fails, not per event */
    json_val *v = NULL;
    rd->head = rd->n = 0;
    data = span_trim(data);
    if (rd->state == READ_ENDED || data.n == 0 || span_eq(type, SPAN("ping")))
        return true;
    if (rd->state == READ_FAILED) {
        if (e)
            *e = rd->err;
        return false;
    }
    if (span_eq(data, SPAN("[DONE]"))) {
        resp_reader_eof(rd);
        return true;
    }
    if (!json_parse_scratch(&rd->scratch, data, &v, &why))
        return why.cls == ERR_NOMEM ? settle(rd, false, &why) : skip(rd, e);
    if (!json_is_obj(v))
        return skip(rd, e);
    struct span own = json_str(json_get(v, "type"));
    return settle(rd, on_event(rd, own.n > 0 ? own : type, v, &why), &why);
}

bool resp_reader_body(struct dialect_reader *rd, struct span body, struct err *e)
{
    struct err why = {0};
    json_val *root = NULL;
    bool ok = json_parse_scratch(&rd->scratch, body, &root, &why);
    struct span status = json_str(json_get(root, "status"));
    rd->head = rd->n = 0;
    if (!ok && why.cls != ERR_NOMEM)
        err_set(&why, ERR_UPSTREAM, "the upstream's answer is not JSON");
    else if (ok && wire_stream_error(root, span_eq(status, SPAN("failed")), false, &why))
        ok = false;
    else if (ok && !json_is_arr(json_get(root, "output")))
        ok = err_set(&why, ERR_UPSTREAM, "the upstream's answer has no output");
    else if (ok)
        ok = end_by(rd, root, status.n > 0 ? status : SPAN("completed"), &why);
    if (ok)
        return true;
    fail(rd, &why);
    if (e)
        *e = rd->err;
    return false;
}

void resp_reader_eof(struct dialect_reader *rd)
{
    struct err why;
    if (rd->state != READ_OPEN)
        return;
    rd->head = rd->n = 0;
    err_set(&why, ERR_CUT, "the upstream's answer ended before its end");
    fail(rd, &why);
}

enum dialect_status resp_reader_next(struct dialect_reader *rd, struct chat_event *out,
                                     struct err *e)
{
    if (rd->head < rd->n) {
        *out = rd->queue[rd->head++];
        return DIALECT_EVENT;
    }
    if (rd->state != READ_FAILED)
        return DIALECT_MORE;
    if (e)
        *e = rd->err;
    return DIALECT_FAIL;
}
