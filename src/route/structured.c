/* route/structured.c - see route/structured.h.
 *
 *   HOLDING -> (repair) HOLDING -> ENDED
 *   HOLDING -> RELAYING -> ENDED        a tool call or a refusal came: nothing is checked any more
 *   RELAYING -> ENDED                   streamed and native from the start
 *
 * The state lies in the caller's arena and may be gone after the last event, after a cancel, and so
 * after any event in which the sink cancels: then nothing of it is touched. */
#include "route/structured.h"

#include "base/limits.h"
#include "chat/collect.h"
#include "ledger/price.h"
#include "route/structured_priv.h"

enum call_state { CALL_HOLDING, CALL_RELAYING };

/* An event that the sink has: what tells that it has cancelled, and then owns what it still reads.
 */
struct emission {
    bool gone;
    struct chat_collect got, first;
};

struct structured_call {
    struct chat_call call;
    struct chat_sink sink; /* what the upstream talks to */
    struct chat_source *upstream;
    struct arena *arena;
    struct chat_sink *client;
    struct chat_call *inner;     /* NULL: over */
    const struct schema *schema; /* NULL: any JSON */
    bool object;                 /* it must be an object: json_object */
    struct chat_request sent;
    struct chat_start_opts opts;
    enum call_state state;
    bool checked; /* neither a tool call nor a refusal has come */
    bool repairing, started, paused;
    struct chat_collect got;   /* RELAYING: text only, to be checked */
    struct chat_collect first; /* of the call before the repair */
    struct chat_usage used;    /* of the call that runs */
    bool has_used, usage_due;  /* due: it has not gone out */
    struct chat_usage before;  /* of the call before it */
    const struct chat_fusion_report *report;
    struct err why;            /* the first answer is invalid */
    struct emission *emission; /* NULL: the sink has no event */
};

bool structured_wanted(const struct chat_request *r)
{
    return r->format == CHAT_FORMAT_JSON || r->format == CHAT_FORMAT_SCHEMA;
}

static bool holds(enum structured_mode mode, const struct chat_request *r)
{
    return mode == STRUCTURED_PROMPT || !r->stream;
}

/* --- the schema ------------------------------------------------------------------------------- */

/* Where the client's dialect has the schema. */
static const char *place_of(struct span dialect)
{
    if (span_eq(dialect, SPAN("openai_responses")))
        return "text.format.schema";
    if (span_eq(dialect, SPAN("anthropic_messages")))
        return "output_config.format.schema";
    return "response_format.json_schema.schema";
}

static bool read_schema(struct arena *a, const struct chat_request *r, json_val **out,
                        struct err *e)
{
    const char *at = place_of(r->dialect);
    if (json_parse(a, r->format_schema, out, e))
        return true;
    if (e && e->cls == ERR_INPUT)
        err_field(e, at, "%s is %s", at, e->msg);
    return false;
}

bool structured_schema(struct arena *a, const struct chat_request *r, const struct schema **out,
                       struct err *e)
{
    struct schema_opts o = {.prefix = place_of(r->dialect), .formats = true};
    json_val *root;
    if (r->format != CHAT_FORMAT_SCHEMA || !r->format_schema.p) {
        *out = NULL;
        return true;
    }
    if (!read_schema(a, r, &root, e))
        return false;
    const struct schema *s = schema_new(a, root, &o, e);
    if (!s || (r->format_strict == 1 && !schema_strict_check(root, o.prefix, e)))
        return false;
    *out = s;
    return true;
}

/* json_object makes the answer an object, so it may only go with a schema that wants one. */
static bool wants_object(const struct chat_request *r)
{
    AUTO(arena) a = arena_new(0);
    json_val *root;
    if (r->format == CHAT_FORMAT_JSON)
        return true;
    return a && r->format_schema.p && json_parse(a, r->format_schema, &root, NULL) &&
           span_eq(json_str(json_get(root, "type")), SPAN("object"));
}

static bool check_answer(const struct structured_call *c, struct span text, struct err *e)
{
    AUTO(arena) a = arena_new(0);
    json_val *v;
    if (!a)
        return err_set(e, ERR_NOMEM, "out of memory for a structured answer");
    if (text.n == 0)
        return err_set(e, ERR_INPUT, "the answer is empty");
    if (!json_parse(a, text, &v, e))
        return false;
    if (c->object && !json_is_obj(v))
        return err_set(e, ERR_INPUT, "the answer is %s %s and not an object",
                       json_is_arr(v) ? "an" : "a", json_type_name(v));
    return !c->schema || schema_check(c->schema, v, e);
}

/* --- to the client ---------------------------------------------------------------------------- */

/* False when the client cancelled: c may be gone. */
static bool emit(struct structured_call *c, const struct chat_event *ev)
{
    struct emission m; /* large: the rest is set when it is needed */
    m.gone = false;
    c->emission = &m;
    c->client->on_event(c->client, ev);
    if (m.gone) {
        chat_collect_done(&m.got);
        chat_collect_done(&m.first);
        return false;
    }
    c->emission = NULL;
    return true;
}

static void release(struct structured_call *c)
{
    chat_collect_done(&c->got);
    chat_collect_done(&c->first);
}

static struct chat_usage total(const struct structured_call *c)
{
    struct chat_usage sum = c->used;
    if (!c->repairing)
        return sum;
    if (!c->has_used)
        sum = (struct chat_usage){.cost_nusd = -1, .estimated = true};
    sum.input += c->before.input;
    sum.cached += c->before.cached;
    sum.cache_write += c->before.cache_write;
    sum.output += c->before.output;
    sum.reasoning += c->before.reasoning;
    sum.cost_nusd = nusd_add(sum.cost_nusd, c->before.cost_nusd);
    sum.estimated = sum.estimated || c->before.estimated;
    return sum;
}

static bool emit_usage(struct structured_call *c)
{
    if (!c->usage_due)
        return true;
    c->usage_due = false;
    return emit(
        c, &(struct chat_event){.kind = CHAT_EV_USAGE, .usage = total(c), .report = c->report});
}

static bool emit_reasoning(struct structured_call *c)
{
    for (size_t i = 0; i < c->got.n_blocks; i++) {
        const struct chat_collected_block *b = &c->got.blocks[i];
        struct chat_event ev = {.kind = CHAT_EV_REASONING,
                                .text = chat_collected_text(&c->got, b),
                                .id = buf_span(&b->id),
                                .signature = buf_span(&b->signature),
                                .format = buf_span(&b->format)};
        if (!emit(c, &ev))
            return false;
    }
    return true;
}

/* What was held back so far, with that text. */
static bool emit_held(struct structured_call *c, struct span text)
{
    return emit_reasoning(c) &&
           (text.n == 0 || emit(c, &(struct chat_event){.kind = CHAT_EV_TEXT, .text = text}));
}

/* --- ends: each is the last thing done with c ------------------------------------------------- */

static void end(struct structured_call *c, const struct chat_event *ev)
{
    struct chat_sink *client = c->client;
    if (!emit_usage(c))
        return;
    release(c);
    client->on_event(client, ev);
}

static void fail(struct structured_call *c, const struct err *err)
{
    struct err copy = *err;
    end(c, &(struct chat_event){.kind = CHAT_EV_ERROR, .err = &copy});
}

/* Work was done and paid for: nobody is to ask again by himself. */
static void fail_invalid(struct structured_call *c, const char *what, const char *why)
{
    struct err e;
    err_set(&e, ERR_UPSTREAM, "%s: %s", what, why);
    e.sent = SENT_DELIVERED;
    err_with_code(&e, "invalid_structured_output");
    fail(c, &e);
}

/* Our own failure in the middle of a call. */
static void give_up(struct structured_call *c, const struct err *err)
{
    struct err copy = *err;
    if (c->inner) {
        chat_cancel(c->inner, &c->used);
        c->has_used = c->usage_due = true;
        c->inner = NULL;
    }
    copy.sent = SENT_DELIVERED;
    fail(c, &copy);
}

/* --- the answer is there ---------------------------------------------------------------------- */

static bool start_inner(struct structured_call *c, struct err *e)
{
    c->inner = chat_start(c->upstream, &c->sent, &c->opts, &c->sink, e);
    if (c->inner && c->paused)
        chat_pause(c->inner);
    return c->inner != NULL;
}

static void repair(struct structured_call *c)
{
    struct err e = {0};
    struct chat_request again;
    c->before = c->has_used ? c->used : (struct chat_usage){.cost_nusd = -1, .estimated = true};
    c->used = (struct chat_usage){0};
    c->has_used = false;
    c->report = NULL; /* was the first call's */
    c->repairing = true;
    c->opts.spare = false; /* an answer was paid for: nobody else is asked any more */
    c->first = c->got;
    chat_collect_init(&c->got, LIMIT_STRUCTURED_BYTES);
    if (structured_repair(c->arena, &c->sent, buf_span(&c->first.text), c->why.msg, &again, &e)) {
        c->sent = again;
        if (start_inner(c, &e))
            return;
    }
    c->has_used = true; /* it used nothing */
    fail_invalid(c, "the answer is not what was asked for, and could not be asked for again",
                 c->why.msg);
}

static void deliver(struct structured_call *c, struct span text, const struct chat_event *finish)
{
    if (emit_held(c, text))
        end(c, finish);
}

/* The answer is whole; nothing of it has gone out, or all. */
static void settle(struct structured_call *c, const struct chat_event *finish)
{
    bool holding = c->state == CALL_HOLDING;
    struct span text = buf_span(&c->got.text);
    struct err e = {0};
    text = holding ? structured_strip(text) : span_trim(text);
    if (check_answer(c, text, &e)) {
        deliver(c, holding ? text : (struct span){"", 0}, finish);
        return;
    }
    if (e.cls == ERR_NOMEM) {
        fail(c, &e);
    } else if (c->repairing) {
        fail_invalid(c, "the answer is not what was asked for, nor is its repair", e.msg);
    } else if (!holding || e.cls == ERR_LIMIT) {
        fail_invalid(c, "the answer is not what was asked for", e.msg);
    } else {
        c->why = e;
        repair(c);
    }
}

/* A cut answer is not asked for again: it would be cut again. Its finish says that it is not whole.
 */
static void on_finish(struct structured_call *c, const struct chat_event *ev)
{
    c->inner = NULL;
    bool whole = ev->finish == CHAT_FINISH_STOP || ev->finish == CHAT_FINISH_TOOL_CALLS;
    if (c->checked && whole)
        settle(c, ev);
    else if (c->state == CALL_HOLDING)
        deliver(c, buf_span(&c->got.text), ev);
    else
        end(c, ev);
}

static void on_error(struct structured_call *c, const struct err *err)
{
    c->inner = NULL;
    if (!c->repairing) {
        fail(c, err);
        return;
    }
    if (!c->has_used && (err->sent == SENT_NO || err->sent == SENT_REFUSED))
        c->has_used = true; /* nothing */
    char why[sizeof err->msg];
    snprintf(why, sizeof why, "%.180s (%.180s)", c->why.msg, err->msg);
    fail_invalid(c, "the answer is not what was asked for, and its repair failed", why);
}

/* --- events of the upstream ------------------------------------------------------------------- */

/* Keeps a piece of the answer. False: the call has ended with an error. */
static bool keep(struct structured_call *c, const struct chat_event *ev)
{
    struct err e;
    if (chat_collect_event(&c->got, ev, &e))
        return true;
    if (e.cls == ERR_LIMIT) {
        err_set(&e, ERR_UPSTREAM, "the answer is longer than %zu bytes and cannot be checked",
                LIMIT_STRUCTURED_BYTES);
        err_with_code(&e, "invalid_structured_output");
    }
    give_up(c, &e);
    return false;
}

/* A tool call or a refusal: an answer of its own, so what was held goes out and the rest follows.
 */
static void on_other_answer(struct structured_call *c, const struct chat_event *ev)
{
    c->checked = false;
    if (c->state == CALL_HOLDING) {
        c->state = CALL_RELAYING;
        if (!emit_held(c, buf_span(&c->got.text)))
            return;
    }
    emit(c, ev);
}

static void on_text(struct structured_call *c, const struct chat_event *ev)
{
    bool relaying = c->state == CALL_RELAYING;
    if (c->checked && (!relaying || ev->kind == CHAT_EV_TEXT) && !keep(c, ev))
        return;
    if (relaying)
        emit(c, ev);
}

static void on_usage(struct structured_call *c, const struct chat_event *ev)
{
    c->used = ev->usage;
    c->has_used = c->usage_due = true;
    c->report = ev->report;
    if (c->state == CALL_RELAYING)
        (void)emit_usage(c);
}

/* Of the first call only: the client's answer begins once. */
static void on_start(struct structured_call *c, const struct chat_event *ev)
{
    if (c->started)
        return;
    c->started = true;
    emit(c, ev);
}

static void on_upstream(struct chat_sink *s, const struct chat_event *ev)
{
    struct structured_call *c = CONTAINER_OF(s, struct structured_call, sink);
    switch (ev->kind) {
    case CHAT_EV_START:
        on_start(c, ev);
        return;
    case CHAT_EV_TEXT:
    case CHAT_EV_REASONING:
        on_text(c, ev);
        return;
    case CHAT_EV_REFUSAL:
    case CHAT_EV_TOOL:
        on_other_answer(c, ev);
        return;
    case CHAT_EV_MEMBER:
        emit(c, ev);
        return;
    case CHAT_EV_USAGE:
        on_usage(c, ev);
        return;
    case CHAT_EV_FINISH:
        on_finish(c, ev);
        return;
    case CHAT_EV_ERROR:
        on_error(c, ev->err);
        return;
    }
}

/* --- the call --------------------------------------------------------------------------------- */

static void on_cancel(struct chat_call *call, struct chat_usage *out)
{
    struct structured_call *c = CONTAINER_OF(call, struct structured_call, call);
    if (c->inner) {
        chat_cancel(c->inner, &c->used);
        c->has_used = true;
    }
    if (out)
        *out = total(c);
    if (c->emission)
        *c->emission = (struct emission){.gone = true, .got = c->got, .first = c->first};
    else
        release(c);
}

static void on_pause(struct chat_call *call)
{
    struct structured_call *c = CONTAINER_OF(call, struct structured_call, call);
    c->paused = true;
    if (c->inner)
        chat_pause(c->inner);
}

static void on_resume(struct chat_call *call)
{
    struct structured_call *c = CONTAINER_OF(call, struct structured_call, call);
    c->paused = false;
    if (c->inner)
        chat_resume(c->inner);
}

static const struct chat_call_ops call_ops = {on_cancel, on_pause, on_resume};

static bool prepare(struct structured_call *c, const struct structured_source *s,
                    const struct chat_request *r, struct err *e)
{
    c->schema = s->schema;
    if (!c->schema && !structured_schema(s->arena, r, &c->schema, e))
        return false;
    c->object = r->format == CHAT_FORMAT_JSON;
    c->sent = *r;
    return s->mode == STRUCTURED_NATIVE ||
           structured_prompt(s->arena, r, s->json_object && wants_object(r), &c->sent, e);
}

static struct chat_call *start(struct chat_source *source, const struct chat_request *r,
                               const struct chat_start_opts *o, struct chat_sink *sink,
                               struct err *e)
{
    struct structured_source *s = CONTAINER_OF(source, struct structured_source, source);
    if (!structured_wanted(r))
        return chat_start(s->inner, r, o, sink, e);
    struct structured_call *c = arena_alloc(s->arena, sizeof *c);
    if (!c) {
        err_set(e, ERR_NOMEM, "out of memory for a structured answer");
        return NULL;
    }
    *c = (struct structured_call){
        .call.ops = &call_ops,
        .sink.on_event = on_upstream,
        .upstream = s->inner,
        .arena = s->arena,
        .client = sink,
        .opts = *o,
        .state = holds(s->mode, r) ? CALL_HOLDING : CALL_RELAYING,
        .checked = true,
    };
    chat_collect_init(&c->got, LIMIT_STRUCTURED_BYTES);
    chat_collect_init(&c->first, LIMIT_STRUCTURED_BYTES);
    if (!prepare(c, s, r, e) || !start_inner(c, e)) {
        release(c);
        return NULL;
    }
    return &c->call;
}

static const struct chat_source_ops source_ops = {start};

void structured_source_init(struct structured_source *s, struct arena *a, struct chat_source *inner,
                            enum structured_mode mode, bool json_object)
{
    *s = (struct structured_source){.source.ops = &source_ops,
                                    .inner = inner,
                                    .arena = a,
                                    .mode = mode,
                                    .json_object = json_object};
}
