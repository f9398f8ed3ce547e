/* upstream/attempt.c - a provider over HTTP as a source: life of an attempt from its booking to its
 * settling. Callbacks stand in the order of life: start, lease, book, send, end, recycle. What
 * comes back is read in attempt_http.c; who is tried next is route's business. */
#include "upstream/attempt.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "ledger/price.h"

#define MAX_IDLE_ATTEMPTS 64
#define KEEP_BUFFER_BYTES KIB(256)
/* How long a connection may take to end a body whose answer is complete, before it is closed. */
#define DRAIN_US INT64_C(250000)

/* --- states
 * --------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    unsigned may; /* bit set of the states it may go to */
} states[ATTEMPT_STATES] = {
#define TO(s) (1u << ATTEMPT_##s)
    [ATTEMPT_IDLE] = {"idle", TO(LEASING) | TO(BOOKING) | TO(SENDING)},
    [ATTEMPT_LEASING] = {"leasing", TO(BOOKING) | TO(SENDING) | TO(TELLING) | TO(ENDED)},
    [ATTEMPT_BOOKING] = {"booking", TO(SENDING) | TO(TELLING) | TO(ENDED)},
    [ATTEMPT_SENDING] = {"sending", TO(STREAMING) | TO(COLLECTING) | TO(TELLING) | TO(ENDED)},
    [ATTEMPT_STREAMING] = {"streaming", TO(TELLING) | TO(ENDED)},
    [ATTEMPT_COLLECTING] = {"collecting", TO(TELLING) | TO(ENDED)},
    [ATTEMPT_TELLING] = {"telling", TO(DRAINING) | TO(ENDED)},
    [ATTEMPT_DRAINING] = {"draining", TO(ENDED)},
    [ATTEMPT_ENDED] = {"ended", TO(IDLE)},
#undef TO
};

static void trace(const struct attempt *a, enum attempt_state to)
{
    if (a->upstream == NULL || !log_on(a->upstream->env.log, LOG_DEBUG))
        return;
    LOG_EVENT(a->upstream->env.log, LOG_DEBUG, "upstream_attempt",
              LOG_S("id", span_of(a->intent.id)), LOG_S("from", span_of(states[a->state].name)),
              LOG_S("to", span_of(states[to].name)));
}

static void drop_http(struct attempt *a)
{
    if (a->http != NULL)
        http_call_cancel(TAKE(a->http));
}

/* What an attempt holds beyond memory goes on entering ENDED, whatever the way. */
static void on_enter_ended(struct attempt *a)
{
    drop_http(a);
    loop_timer_stop(&a->timer);
    gate_withdraw(&a->ticket);
    if (a->local != NULL)
        attempt_local_release(a, false);
    attempt_recycle_later(a);
}

void attempt_to(struct attempt *a, enum attempt_state to)
{
    assert((states[a->state].may & (1u << to)) != 0);
    trace(a, to);
    a->state = to;
    if (to == ATTEMPT_ENDED)
        on_enter_ended(a);
}

bool attempt_emit(struct attempt *a, const struct chat_event *ev)
{
    a->sink->on_event(a->sink, ev);
    return a->state != ATTEMPT_ENDED;
}

/* --- booking the end
 * -------------------------------------------------------------------------------- */

static struct loop *loop_of(const struct attempt *a)
{
    return a->upstream->env.loop;
}

/* The upstream's numbers, or ours. sent: the upstream has the request. */
static void fill_usage(struct attempt *a, bool sent)
{
    struct chat_usage *u = &a->usage;
    if (!a->has_usage) {
        *u = (struct chat_usage){.estimated = sent, .cost_nusd = sent ? -1 : 0};
        if (sent) {
            u->input = (a->in_bytes + 3) / 4;
            u->output = (a->out_bytes + 3) / 4;
        }
    }
    if (u->cost_nusd < 0)
        u->cost_nusd = price_cost_nusd(&a->model->price, u);
}

/* Of an answer that did not come to its end the upstream's numbers may be those of its beginning:
 * more output than they say has been seen. */
static void fill_partial(struct attempt *a, bool sent)
{
    struct chat_usage *u = &a->usage;
    int64_t seen = (a->out_bytes + 3) / 4;
    bool more = a->has_usage && sent && seen > u->output;
    fill_usage(a, sent);
    if (!more)
        return;
    u->output = seen;
    u->estimated = true;
    a->usage_told = false;
    int64_t cost = price_cost_nusd(&a->model->price, u);
    u->cost_nusd = cost > u->cost_nusd ? cost : u->cost_nusd;
}

static void settle(struct attempt *a, const char *outcome, bool uncertain)
{
    if (!a->booked)
        return;
    a->booked = false;
    gate_settle(a->upstream->env.gate, &a->intent, &a->usage, outcome, uncertain, a->start_wall_ms,
                a->first_us > 0 ? a->first_us - a->start_us : -1,
                loop_now_us(loop_of(a)) - a->start_us);
}

static bool tell_usage(struct attempt *a)
{
    if (a->usage_told)
        return true;
    a->usage_told = true;
    return attempt_emit(a, &(struct chat_event){.kind = CHAT_EV_USAGE, .usage = a->usage});
}

/* The sink's memory may go with its last event, and so may what it lent us: nothing of a but its
 * own memory is touched afterwards. */
static void tell_last(struct attempt *a, const struct chat_event *ev, enum attempt_state then)
{
    struct chat_sink *sink = TAKE(a->sink);
    attempt_to(a, then);
    sink->on_event(sink, ev);
}

void attempt_finish(struct attempt *a, const struct chat_event *finish)
{
    fill_usage(a, true);
    settle(a, "ok", false);
    attempt_to(a, ATTEMPT_TELLING);
    if (!tell_usage(a))
        return;
    bool drain = a->http != NULL && !a->paused && loop_timer_start(&a->timer, DRAIN_US);
    tell_last(a, finish, drain ? ATTEMPT_DRAINING : ATTEMPT_ENDED);
}

static bool was_refused(const struct err *e)
{
    return e->sent == SENT_NO || e->sent == SENT_REFUSED;
}

void attempt_fail(struct attempt *a, const struct err *err)
{
    struct err e = *err; /* may stand in what ends now */
    /* What is delivered is content: a comment or half a body is not. */
    if (a->first_us > 0)
        e.sent = SENT_DELIVERED;
    else if (e.sent == SENT_DELIVERED)
        e.sent = SENT_MAYBE;
    bool tell = a->booked || a->started;
    fill_partial(a, a->booked && !was_refused(&e));
    settle(a, err_class_name(e.cls), e.sent == SENT_MAYBE);
    attempt_to(a, ATTEMPT_TELLING);
    drop_http(a);
    if (a->local != NULL)
        attempt_local_release(a, e.cls == ERR_CONNECT || e.cls == ERR_CUT);
    if (tell && !tell_usage(a))
        return;
    tell_last(a, &(struct chat_event){.kind = CHAT_EV_ERROR, .err = &e}, ATTEMPT_ENDED);
}

void attempt_fail_code(struct attempt *a, const char *code, const char *fmt, ...)
{
    char text[300];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct err e = {0};
    err_set(&e, ERR_UPSTREAM, "%.*s: %s", SPAN_ARG(a->provider->config->name), text);
    err_with_code(&e, code);
    e.upstream_status = a->status;
    e.sent = SENT_MAYBE;
    attempt_fail(a, &e);
}

/* --- sending
 * -------------------------------------------------------------------------------------- */

static int64_t total_left_us(const struct attempt *a)
{
    int64_t total = a->model->timeouts.total_us;
    if (a->deadline_us == 0)
        return total;
    int64_t left = a->deadline_us - loop_now_us(loop_of(a));
    if (left < 1)
        left = 1; /* 0 would mean none */
    return total > 0 && total < left ? total : left;
}

#define MAX_HEADERS (5 + COUNT_OF(((struct dialect *)0)->headers))

static size_t headers_of(const struct attempt *a, struct http_header out[static MAX_HEADERS])
{
    const struct dialect *d = a->provider->dialect;
    size_t n = 0;
    out[n++] = (struct http_header){SPAN("content-type"), SPAN("application/json")};
    out[n++] = (struct http_header){SPAN("accept"), a->stream ? SPAN("text/event-stream")
                                                              : SPAN("application/json")};
    out[n++] = (struct http_header){SPAN("accept-encoding"), SPAN("identity")};
    out[n++] = (struct http_header){SPAN("user-agent"), SPAN("fusor/" FUSOR_VERSION)};
    for (size_t i = 0; i < COUNT_OF(d->headers) && d->headers[i].name; i++)
        out[n++] = (struct http_header){span_of(d->headers[i].name), span_of(d->headers[i].value)};
    struct span key = a->local ? span_of(a->local->bearer) : secret_reveal(a->provider->key);
    if (key.n > 0)
        out[n++] = (struct http_header){span_of(d->key_header), key};
    return n;
}

static bool start_http(struct attempt *a, struct err *e)
{
    if (a->upstream->env.http == NULL)
        return err_set(e, ERR_STATE, "no HTTP client on this loop");
    const struct timeouts *t = &a->model->timeouts;
    const struct up_provider *p = a->provider;
    struct http_header headers[MAX_HEADERS];
    struct http_call_spec spec = {
        .origin = a->local != NULL ? &a->local->origin : &p->origin,
        .tls = p->tls,
        .proxy = p->proxy.host[0] != '\0' ? &p->proxy : NULL,
        .proxy_auth = p->config->proxy_auth,
        .method = "POST",
        .target = buf_span(&a->path),
        .headers = headers,
        .n_headers = headers_of(a, headers),
        .body = buf_span(&a->body),
        .timeouts = {t->connect_us, t->first_byte_us, t->idle_us, total_left_us(a)},
    };
    a->http = http_call_start(a->upstream->env.http, &spec, &attempt_http_ops, a, e);
    if (a->http == NULL)
        return false;
    if (a->paused)
        http_call_pause(a->http);
    return true;
}

/* The attempt has its yes. Called from start() too (free calls), where no event may come: a failure
 * to begin is left in *e. */
static bool send_request(struct attempt *a, struct err *e)
{
    a->booked = true;
    a->start_us = loop_now_us(loop_of(a));
    a->start_wall_ms = clock_wall_ms();
    loop_timer_stop(&a->timer);
    attempt_to(a, ATTEMPT_SENDING);
    return start_http(a, e);
}

static void on_answer(struct gate_ticket *t, const struct err *err)
{
    struct attempt *a = CONTAINER_OF(t, struct attempt, ticket);
    struct err e = {0};
    if (err != NULL)
        attempt_fail(a, err);
    else if (!send_request(a, &e))
        attempt_fail(a, &e);
}

void attempt_book(struct attempt *a)
{
    struct err e = {0};
    if (!gate_pass(a->upstream->env.gate, &a->intent)) {
        attempt_to(a, ATTEMPT_BOOKING);
        gate_ask(a->upstream->env.gate, &a->intent, &a->ticket);
    } else if (!send_request(a, &e)) {
        attempt_fail(a, &e);
    }
}

/* --- timers
 * --------------------------------------------------------------------------------------- */

static bool time_is_up(const struct attempt *a, struct err *e)
{
    return err_set(e, ERR_TIMEOUT, "%.*s: the time for this call ran out before it was sent",
                   SPAN_ARG(a->provider->config->name));
}

static void on_timer(struct loop_timer *t)
{
    struct attempt *a = CONTAINER_OF(t, struct attempt, timer);
    if (a->state == ATTEMPT_DRAINING) {
        attempt_to(a, ATTEMPT_ENDED);
    } else if (a->state == ATTEMPT_COLLECTING) {
        attempt_reply_late(a);
    } else {
        struct err e = {0};
        time_is_up(a, &e);
        attempt_fail(a, &e);
    }
}

/* --- the caller's side
 * ------------------------------------------------------------------------------ */

/* Did the upstream get the request, and did it not refuse it? */
static bool was_sent(const struct attempt *a)
{
    if (attempt_turned_down(a))
        return false;
    return a->started || a->state == ATTEMPT_STREAMING ||
           (a->http != NULL && http_call_times_of(a->http)->sent_us > 0);
}

static void attempt_cancel(struct chat_call *call, struct chat_usage *out)
{
    struct attempt *a = CONTAINER_OF(call, struct attempt, call);
    bool sent = was_sent(a);
    drop_http(a); /* first: no byte more than needed is paid for */
    if (a->booked) {
        fill_partial(a, sent);
        /* Some providers go on generating, and bill, after the connection is closed. What they have
         * said of their usage so far (Gemini says it with every piece) is not the end of it. */
        bool bills_on = sent && a->provider->config->cancel_bills_on;
        if (bills_on && a->max_tokens > a->usage.output) {
            a->usage.output = a->max_tokens;
            a->usage.estimated = true;
            a->usage.cost_nusd = price_cost_nusd(&a->model->price, &a->usage);
        }
        settle(a, "cancelled", false);
    }
    if (out != NULL)
        *out = a->usage;
    a->sink = NULL;
    attempt_to(a, ATTEMPT_ENDED);
}

static void attempt_pause(struct chat_call *call)
{
    struct attempt *a = CONTAINER_OF(call, struct attempt, call);
    a->paused = true;
    if (a->http != NULL)
        http_call_pause(a->http);
}

static void attempt_resume(struct chat_call *call)
{
    struct attempt *a = CONTAINER_OF(call, struct attempt, call);
    a->paused = false;
    if (a->http != NULL)
        http_call_resume(a->http);
}

static const struct chat_call_ops call_ops = {attempt_cancel, attempt_pause, attempt_resume};

/* --- memory
 * --------------------------------------------------------------------------------------- */

static void attempt_free(struct attempt *a)
{
    sse_free(a->sse);
    if (a->reader != NULL)
        a->dialect->reader_free(a->reader);
    buf_done(&a->body);
    buf_done(&a->path);
    buf_done(&a->reply);
    if (a->local != NULL)
        explicit_bzero(a->local->bearer, sizeof a->local->bearer);
    mem_free(a->local);
    mem_free(a);
}

/* Buffers that one large request has blown up are not kept. */
static void reuse_buf(struct buf *b)
{
    if (b->cap > KEEP_BUFFER_BYTES)
        buf_done(b);
    else
        buf_clear(b);
}

static void on_recycle(struct loop_task *t)
{
    struct attempt *a = CONTAINER_OF(t, struct attempt, recycle);
    if (a->local != NULL && a->local->out)
        return; /* local.c comes back when the lease does */
    struct upstream *u = a->upstream;
    list_remove(&a->node.node);
    if (u == NULL || u->n_idle >= MAX_IDLE_ATTEMPTS) {
        attempt_free(a);
        return;
    }
    sse_free(TAKE(a->sse));
    if (a->reader != NULL)
        a->dialect->reader_free(TAKE(a->reader));
    reuse_buf(&a->body);
    buf_clear(&a->path);
    reuse_buf(&a->reply);
    attempt_to(a, ATTEMPT_IDLE);
    list_push(&u->idle, &a->node.node);
    u->n_idle++;
}

void attempt_recycle_later(struct attempt *a)
{
    if (a->upstream != NULL)
        loop_defer(loop_of(a), &a->recycle);
    else
        on_recycle(&a->recycle);
}

/* upstream_free(): what the pool of children still has comes back to a itself. */
static void drop(struct upstream_node *n)
{
    struct attempt *a = CONTAINER_OF(n, struct attempt, node);
    if (a->state == ATTEMPT_DRAINING)
        attempt_to(a, ATTEMPT_ENDED);
    else if (a->state != ATTEMPT_ENDED)
        attempt_cancel(&a->call, NULL);
    loop_undefer(&a->recycle);
    a->upstream = NULL;
    on_recycle(&a->recycle);
}

void upstream_free_idle(struct upstream *u)
{
    struct list *n;
    while ((n = list_pop(&u->idle)) != NULL)
        attempt_free(CONTAINER_OF(n, struct attempt, node.node));
    u->n_idle = 0;
}

static struct attempt *attempt_new(struct upstream *u)
{
    struct list *n = list_pop(&u->idle);
    if (n != NULL) {
        u->n_idle--;
        return CONTAINER_OF(n, struct attempt, node.node);
    }
    struct attempt *a = mem_zalloc(sizeof *a);
    if (a == NULL)
        return NULL;
    buf_init(&a->body, LIMIT_ANSWER_BYTES * 2);
    buf_init(&a->path, KIB(4));
    buf_init(&a->reply, LIMIT_EVENT_BYTES);
    list_init(&a->node.node);
    return a;
}

/* --- starting
 * ------------------------------------------------------------------------------------- */

/* Sets every field that a call uses; memory of an earlier call (buffers, local) stays. */
static void attempt_reset(struct attempt *a, struct upstream_source *s,
                          const struct chat_request *r, const struct chat_start_opts *o,
                          struct chat_sink *sink)
{
    struct attempt fresh = {
        .call.ops = &call_ops,
        .node.drop = drop,
        .upstream = s->upstream,
        .provider = upstream_provider_of(s->upstream, s->model),
        .model = s->model,
        .sink = sink,
        .pass = r->pass != NULL,
        .stream = r->pass == NULL || r->stream,
        .retry_ms = -1,
        .deadline_us = o->deadline_us,
        .max_tokens = r->max_tokens,
        .intent = {.request_id = o->request_id,
                   .fusion_id = o->fusion_id,
                   .role = o->role != NULL ? o->role : "call",
                   .model = s->model},
        .ticket.on_answer = on_answer,
        .body = a->body,
        .path = a->path,
        .reply = a->reply,
        .local = a->local,
        .in_bytes = r->pass != NULL ? r->pass->input_bytes : chat_input_bytes(r),
    };
    *a = fresh;
    a->reply.max = a->pass ? LIMIT_PASS_BYTES : LIMIT_EVENT_BYTES;
    list_init(&a->node.node);
    loop_timer_init(&a->timer, s->upstream->env.loop, on_timer);
    loop_task_init(&a->recycle, on_recycle);
}

static bool refuse_url(const struct attempt *a, const char *param, struct err *e)
{
    return err_field(e, param,
                     "%s names a URL, which %.*s would fetch from inside its network: send "
                     "the data itself, or set 'image_urls: pass' for that provider",
                     param, SPAN_ARG(a->provider->config->name));
}

/* What an engine in our network would have to fetch for the client from there. */
static bool check_urls(const struct attempt *a, const struct chat_request *r, struct err *e)
{
    char param[96];
    if (!a->provider->config->refuse_image_urls)
        return true;
    if (r->pass != NULL && r->pass->names_url)
        return refuse_url(a, "input", e);
    for (size_t i = 0; i < r->n_messages; i++)
        for (size_t k = 0; k < r->messages[i].n_parts; k++) {
            const struct chat_part *p = &r->messages[i].parts[k];
            bool fetched = p->kind == CHAT_PART_IMAGE || p->kind == CHAT_PART_DOCUMENT;
            if (!fetched || p->url.n == 0 || span_starts(p->url, SPAN("data:")))
                continue;
            (void)snprintf(param, sizeof param, "messages[%zu].content[%zu]", i, k);
            return refuse_url(a, param, e);
        }
    return true;
}

/* Room for about all of the body at once: a long one would be moved each time it doubles. */
static bool reserve_body(struct attempt *a, const struct chat_request *r, struct err *e)
{
    size_t text = (size_t)a->in_bytes, around = 64 * (r->n_messages + r->n_tools) + KIB(1);
    size_t about = text + text / 8 + around; /* an eighth: escapes */
    char *unused;
    if (r->pass != NULL || about > a->body.max)
        return true; /* written in one go; too long: refused there */
    return buf_room(&a->body, about, &unused, e);
}

static bool write_call(struct attempt *a, const struct chat_request *r, struct err *e)
{
    const struct config_provider *p = a->provider->config;
    struct dialect_target target = {.model = a->model->id,
                                    .dialect = span_of(a->dialect->name),
                                    .omit_stream_options = p->omit_stream_options,
                                    .max_completion_tokens = p->max_completion_tokens,
                                    .default_max_tokens = a->model->default_max_tokens};
    if (!reserve_body(a, r, e))
        return false;
    bool ok = a->dialect->path ? buf_add(&a->path, span_of(a->dialect->path), e)
                               : a->dialect->write_path(&target, &a->path, e);
    return ok && a->dialect->write_request(r, &target, &a->body, &a->notes, e);
}

/* A local model's attempt brings its lease; others drop one left from an earlier call. */
static bool set_local(struct attempt *a, struct err *e)
{
    if (a->provider->config->kind == PROVIDER_LOCAL)
        return attempt_local_init(a, e);
    mem_free(a->local);
    a->local = NULL;
    return true;
}

static bool prepare(struct attempt *a, const struct chat_request *r, struct err *e)
{
    if (a->provider == NULL)
        return err_set(e, ERR_STATE, "%.*s belongs to another configuration",
                       SPAN_ARG(a->model->name));
    if (a->deadline_us > 0 && a->deadline_us <= loop_now_us(loop_of(a)))
        return time_is_up(a, e);
    a->dialect = r->pass != NULL ? dialect_find(r->dialect) : a->provider->dialect;
    if (!upstream_takes(a->model, r, e) || !set_local(a, e) || !check_urls(a, r, e) ||
        !write_call(a, r, e))
        return false;
    int64_t out_tokens = r->max_tokens;
    if (out_tokens < 0 && r->pass == NULL && a->model->default_max_tokens > 0)
        out_tokens = a->model->default_max_tokens;
    a->intent.host = a->local != NULL ? SPAN("127.0.0.1") : span_of(a->provider->origin.host);
    a->intent.bound_nusd = price_bound_nusd(&a->model->price, a->in_bytes, out_tokens);
    int64_t left = total_left_us(a);
    if (left > 0 && !loop_timer_start(&a->timer, left))
        return err_set(e, ERR_NOMEM, "no memory for a timer");
    return true;
}

/* False: *e is set, nothing is under way, no event has come. */
static bool begin(struct attempt *a, struct err *e)
{
    if (a->local != NULL) {
        attempt_to(a, ATTEMPT_LEASING);
        attempt_local_acquire(a);
        return true;
    }
    if (!gate_pass(a->upstream->env.gate, &a->intent)) {
        attempt_to(a, ATTEMPT_BOOKING);
        gate_ask(a->upstream->env.gate, &a->intent, &a->ticket);
        return true;
    }
    if (send_request(a, e))
        return true;
    fill_usage(a, false);
    settle(a, err_class_name(e->cls), false);
    return false;
}

static struct chat_call *attempt_start(struct chat_source *source, const struct chat_request *r,
                                       const struct chat_start_opts *o, struct chat_sink *sink,
                                       struct err *e)
{
    struct upstream_source *s = CONTAINER_OF(source, struct upstream_source, source);
    struct upstream *u = s->upstream;
    struct attempt *a = attempt_new(u);
    if (a == NULL) {
        err_set(e, ERR_NOMEM, "no memory for an upstream call");
        return NULL;
    }
    attempt_reset(a, s, r, o, sink);
    struct err why = {0};
    if (!prepare(a, r, &why) || !begin(a, &why)) {
        loop_timer_stop(&a->timer);
        attempt_free(a);
        if (e != NULL)
            *e = why;
        return NULL;
    }
    list_push(&u->calls, &a->node.node);
    return &a->call;
}

const struct chat_source_ops upstream_http_ops = {attempt_start};
