/* api/chat.c - chat completions, responses, messages, and what passes as it came (embeddings,
 * completions): a request into a source, its events into an answer, streamed or whole.
 *
 * What a request goes on from is loaded first (api/keep.h). Status and headers go out with the
 * first content or the first keep-alive, whichever is sooner; before that a failure is a real HTTP
 * status, after it the dialect's error event. The client's leaving cancels the call in every phase.
 * A slow client pauses only the stream that is relayed to it. */
#include "api/edge.h"

#include "base/clock.h"
#include "chat/collect.h"
#include "api/keep.h"
#include "dialect/responses.h"
#include "http/sse.h"

/* What the client has seen. */
enum reply_state {
    REPLY_WAITING,   /* nothing has been sent; load or call is alive */
    REPLY_STREAMING, /* head has been sent; load or call is alive */
    REPLY_ENDED,     /* both are gone; x may be gone */
};

struct chat_reply {
    struct list node; /* of worker->replies */
    struct chat_sink sink;
    struct api_request *rq;
    enum reply_state state;
    struct chat_request request;
    struct app_target target;
    const struct dialect *dialect;
    struct keep_load *load; /* the archive is asked: there is no call yet */
    struct chat_call *call;
    size_t first;     /* messages that were there before this request: those of earlier turns */
    const char *mode; /* of a recipe, else NULL */
    size_t n_members; /* of a recipe */
    struct dialect_reply head;
    struct dialect_writer *writer; /* streamed answers; NULL before the first byte */
    struct chat_collect collect;   /* whole answers; of streamed ones what is signed */
    bool gathers;                  /* streamed: it is collected */
    struct loop_timer keepalive;
    int64_t wrote_us; /* streamed: when the client last got bytes */
    bool watched;
    bool paused;
    struct chat_event held; /* streamed: a USAGE that came before any content */
    /* progress that a slow client has not taken yet: the latest state of each call */
    struct chat_member *late;
    size_t n_late;
};

#define MAX_LATE     (LIMIT_PANEL + 16)
#define MAX_POLICIES 8 /* of one request */

static void reply_free(struct chat_reply *r)
{
    r->state = REPLY_ENDED;
    list_remove(&r->node);
    loop_timer_stop(&r->keepalive);
    keep_load_free(TAKE(r->load));
    if (r->writer)
        r->dialect->writer_free(r->writer);
    r->writer = NULL;
    chat_collect_done(&r->collect);
}

/* --- what is kept of a finished answer: before its last byte goes out, for a client may come back
 * at once
 * ------------------------------------------------------------------------------------------------
 */

static void keep_streamed(struct chat_reply *r)
{
    if (r->dialect == &dialect_openai_responses)
        keep_answer(r->rq, &r->head, r->first, responses_collected(r->writer));
    else if (r->gathers)
        keep_answer(r->rq, &r->head, r->first, &r->collect);
}

/* --- ends: each is the last thing done with r
 * ------------------------------------------------------------- */

/* A limit that an answer has met is no fault of the client's: not a 413. */
static void blame_answer(struct err *e)
{
    if (e->cls != ERR_LIMIT)
        return;
    err_prefix(e, "the answer is too large to be passed on whole; ask for less, or stream it");
    (void)err_set(e, ERR_UPSTREAM, "%s", e->msg);
    err_with_code(e, "upstream_too_large");
    e->sent = SENT_DELIVERED;
}

static void fail_whole(struct chat_reply *r, const struct err *err)
{
    struct api_request *rq = r->rq;
    reply_free(r);
    api_reply_error(rq, err);
}

static void finish_whole(struct chat_reply *r)
{
    struct api_request *rq = r->rq;
    struct http_exchange *x = rq->x;
    struct worker *w = rq->worker;
    struct http_header h[API_MAX_HEADERS];
    struct err e = {0};
    int64_t now = clock_mono_us();
    buf_clear(&w->out);
    if (!r->dialect->write_unary(&r->head, &r->collect, &w->out, &e)) {
        blame_answer(&e);
        fail_whole(r, &e);
        return;
    }
    keep_answer(rq, &r->head, r->first, &r->collect);
    rq->overhead_us += clock_mono_us() - now;
    size_t n = api_headers(rq, "application/json", NULL, h);
    reply_free(r);
    api_request_end(rq, 200, "ok");
    http_reply(x, 200, h, n, buf_span(&w->out));
}

static void end_stream(struct chat_reply *r, int status, const char *word, bool whole)
{
    struct api_request *rq = r->rq;
    struct http_exchange *x = rq->x;
    reply_free(r);
    api_request_end(rq, status, word);
    if (whole)
        http_end(x);
    else
        http_abort(x);
}

static void cancel_call(struct chat_reply *r)
{
    if (r->call)
        chat_cancel(r->call, &r->rq->outcome.usage);
}

/* For the books; nothing of it goes out. ERR_LIMIT is about an answer here, not about what the
 * client sent. */
static int given_up_status(enum err_class cls)
{
    return cls == ERR_LIMIT ? 500 : err_status(cls);
}

/* The client has left; or the connection could not take the answer. */
static void on_left(void *owner)
{
    struct chat_reply *r = owner;
    if (r->state == REPLY_ENDED)
        return;
    cancel_call(r);
    struct api_request *rq = r->rq;
    enum err_class cls = http_given_up(rq->x);
    reply_free(r);
    if (cls == ERR_NONE)
        api_request_end(rq, 499, "left");
    else
        api_request_end(rq, given_up_status(cls), err_class_name(cls));
}

/* --- streaming
 * ------------------------------------------------------------------------------------------------
 */

static int64_t keepalive_us(const struct chat_reply *r)
{
    return r->rq->lane->snapshot->config->keepalive_us;
}

static void begin_stream(struct chat_reply *r)
{
    struct http_header h[API_MAX_HEADERS];
    size_t n = api_headers(r->rq, "text/event-stream; charset=utf-8", NULL, h);
    h[n++] = (struct http_header){SPAN("cache-control"), SPAN("no-cache")};
    http_begin(r->rq->x, 200, h, n);
    r->state = REPLY_STREAMING;
    r->wrote_us = loop_now_us(r->rq->worker->loop);
    /* Without memory for a timer the stream goes on without keep-alive. */
    if (!loop_timer_armed(&r->keepalive) && !loop_timer_start(&r->keepalive, keepalive_us(r)))
        return;
}

/* The writer's bytes of one event to the client. False when it cannot be written: give_up(). */
static bool send_event(struct chat_reply *r, const struct chat_event *ev, struct err *e)
{
    struct buf *out = &r->rq->worker->out;
    buf_clear(out);
    if (!r->writer) {
        r->writer = r->dialect->writer_new(&r->head);
        struct chat_event start = {.kind = CHAT_EV_START};
        if (!r->writer)
            return err_set(e, ERR_NOMEM, "out of memory");
        if (!r->dialect->write_event(r->writer, &start, out, e))
            return false;
    }
    if (!r->dialect->write_event(r->writer, ev, out, e))
        return false;
    if (ev->kind == CHAT_EV_FINISH)
        keep_streamed(r);
    if (out->n == 0)
        return true;
    r->wrote_us = loop_now_us(r->rq->worker->loop);
    if (!http_write(r->rq->x, buf_span(out)) && !r->paused) {
        r->paused = true;
        if (ev->kind != CHAT_EV_FINISH && ev->kind != CHAT_EV_ERROR)
            chat_pause(r->call);
    }
    return true;
}

/* Progress for a client that does not keep up: one entry per call, its latest state. */
static void keep_late(struct chat_reply *r, const struct chat_member *m)
{
    if (!r->late)
        r->late = arena_array(http_arena(r->rq->x), MAX_LATE, sizeof *r->late);
    if (!r->late)
        return;
    size_t i = 0;
    while (i < r->n_late && !span_eq(r->late[i].label, m->label))
        i++;
    if (i == MAX_LATE)
        return;
    r->late[i] = *m;
    if (i == r->n_late)
        r->n_late++;
}

static bool send_late(struct chat_reply *r, struct err *e)
{
    size_t n = r->n_late;
    r->n_late = 0;
    for (size_t i = 0; i < n; i++) {
        struct chat_event ev = {.kind = CHAT_EV_MEMBER, .member = &r->late[i]};
        if (!send_event(r, &ev, e))
            return false;
    }
    return true;
}

/* Our own failure in the middle (no memory, an answer over its limit): the call is stopped and the
 * client sees a cut stream. */
static void give_up(struct chat_reply *r, bool call_alive, const struct err *err)
{
    if (call_alive)
        cancel_call(r);
    log_err(r->rq->worker->app->log, LOG_WARN, "request_failed", r->rq->id, err);
    end_stream(r, given_up_status(err->cls), err_class_name(err->cls), false);
}

static void on_drained(void *owner)
{
    struct chat_reply *r = owner;
    if (r->state != REPLY_STREAMING || !r->paused)
        return;
    struct err e;
    r->paused = false;
    if (!send_late(r, &e))
        give_up(r, true, &e);
    else if (!r->paused)
        chat_resume(r->call);
}

static void on_keepalive(struct loop_timer *t)
{
    struct chat_reply *r = CONTAINER_OF(t, struct chat_reply, keepalive);
    int64_t now = loop_now_us(r->rq->worker->loop), every = keepalive_us(r);
    if (r->state == REPLY_WAITING) {
        begin_stream(r);
        r->wrote_us = now - every;
    }
    if (now - r->wrote_us >= every) {
        r->wrote_us = now;
        if (!r->paused)
            (void)http_write(r->rq->x, SSE_KEEPALIVE);
    }
    if (!loop_timer_start(&r->keepalive, r->wrote_us + every - now))
        return; /* no memory: the stream goes on without */
}

static void stream_event(struct chat_reply *r, const struct chat_event *ev)
{
    bool last = ev->kind == CHAT_EV_FINISH || ev->kind == CHAT_EV_ERROR;
    if (ev->kind == CHAT_EV_START)
        return; /* the writer begins with the first content */
    if (ev->kind == CHAT_EV_USAGE && !r->writer) {
        r->held = *ev; /* an error may follow, and that must still be a real status */
        return;
    }
    if (ev->kind == CHAT_EV_USAGE)
        r->held = (struct chat_event){0}; /* a later one counts */
    if (ev->kind == CHAT_EV_MEMBER && (!r->head.members || r->paused)) {
        if (r->head.members)
            keep_late(r, ev->member);
        return;
    }
    if (ev->kind == CHAT_EV_ERROR && r->state == REPLY_WAITING) {
        fail_whole(r, ev->err);
        return;
    }
    if (r->state == REPLY_WAITING)
        begin_stream(r);
    if (r->gathers)
        r->gathers = keep_gather(&r->collect, ev);
    struct err e; /* large: set where something fails, not per event */
    bool held = ev->kind == CHAT_EV_FINISH && r->held.kind == CHAT_EV_USAGE;
    if ((held && !send_event(r, &r->held, &e)) || !send_event(r, ev, &e)) {
        give_up(r, !last, &e);
        return;
    }
    if (ev->kind == CHAT_EV_FINISH)
        end_stream(r, 200, "ok", true);
    else if (ev->kind == CHAT_EV_ERROR)
        end_stream(r, ev->err->status, err_class_name(ev->err->cls), true);
}

/* There is no call, or no more. */
static void fail(struct chat_reply *r, const struct err *err)
{
    if (r->state == REPLY_STREAMING)
        stream_event(r, &(struct chat_event){.kind = CHAT_EV_ERROR, .err = err});
    else
        fail_whole(r, err);
}

/* --- whole answers
 * ---------------------------------------------------------------------------------------------- */

static void whole_event(struct chat_reply *r, const struct chat_event *ev)
{
    struct err e; /* large: set where something fails, not per event */
    if (ev->kind == CHAT_EV_ERROR) {
        fail_whole(r, ev->err);
        return;
    }
    if (!chat_collect_event(&r->collect, ev, &e)) {
        if (ev->kind != CHAT_EV_FINISH)
            cancel_call(r);
        blame_answer(&e);
        fail_whole(r, &e);
        return;
    }
    if (ev->kind == CHAT_EV_FINISH)
        finish_whole(r);
}

/* For the header x-fusor-ignored. */
static void note_ignored(struct chat_reply *r, const struct chat_event *ev)
{
    struct api_request *rq = r->rq;
    for (size_t i = 0; i < ev->n_ignored; i++) {
        struct span all = arena_printf(http_arena(rq->x), "%.*s%s%.*s", SPAN_ARG(rq->ignored),
                                       i > 0 ? ", " : "", SPAN_ARG(ev->ignored[i]));
        if (all.p)
            rq->ignored = all;
    }
}

static void note_event(struct chat_reply *r, const struct chat_event *ev)
{
    struct api_outcome *o = &r->rq->outcome;
    if (ev->kind == CHAT_EV_USAGE) {
        o->usage = ev->usage;
        if (ev->report) {
            o->mode = ev->report->mode;
            o->fused = true;
            o->calls = (int64_t)(ev->report->n_members + ev->report->n_judges);
        }
    }
    if (ev->kind == CHAT_EV_START) {
        note_ignored(r, ev);
        if (!span_eq(ev->target, r->request.model))
            r->rq->target = ev->target;
    }
    bool content = ev->kind == CHAT_EV_TEXT || ev->kind == CHAT_EV_TOOL ||
                   ev->kind == CHAT_EV_REASONING || ev->kind == CHAT_EV_REFUSAL;
    if (content && o->ttft_us < 0)
        o->ttft_us = clock_mono_us() - r->rq->start_us;
}

static void on_event(struct chat_sink *s, const struct chat_event *ev)
{
    struct chat_reply *r = CONTAINER_OF(s, struct chat_reply, sink);
    note_event(r, ev);
    if (r->request.stream)
        stream_event(r, ev);
    else
        whole_event(r, ev);
}

/* --- start
 * -----------------------------------------------------------------------------------------------------------
 */

static bool auto_model(struct span name, struct err *e)
{
    if (!span_eq(name, SPAN("auto")))
        return true;
    return err_field(e, "model",
                     "the model `auto` comes with a later version; name a recipe such as `fusion`, "
                     "or a model");
}

static bool only_recipes_fuse(const struct chat_reply *r, struct err *e)
{
    if (!r->request.fusion.p || r->target.recipe)
        return true;
    return err_field(e, "fusion", "`fusion` settings go with a recipe; \"%.*s\" is a model",
                     SPAN_ARG(r->request.model));
}

/* What the recipe and the request say together, as far as it is for the wire and the books. The
 * fusion reads and checks the object itself. */
static bool read_recipe(struct chat_reply *r, struct err *e)
{
    if (!r->target.recipe)
        return true;
    struct recipe rec = *r->target.recipe;
    struct node n;
    if (r->request.fusion.p &&
        (!node_from_json(http_arena(r->rq->x), r->request.fusion, "fusion", &n, e) ||
         !recipe_read(n, true, &rec, e)))
        return false;
    r->head.members = rec.stream_members;
    r->mode = fusion_mode_name(rec.mode);
    r->n_members = recipe_members(&rec);
    return true;
}

/* All that are named hold, in one field or in several: whoever stands in front of us may add one to
 * the client's own. */
static bool read_policies(struct api_request *rq, struct app_ask *ask, struct err *e)
{
    size_t n = http_header_count(rq->x);
    struct span *names = NULL;
    for (size_t i = 0; i < n; i++) {
        struct http_header h = http_header_at(rq->x, i);
        struct span one = SPAN("");
        if (!span_eq_nocase(h.name, SPAN("x-fusor-policy")))
            continue;
        if (!names && !(names = arena_array(http_arena(rq->x), MAX_POLICIES, sizeof *names)))
            return err_set(e, ERR_NOMEM, "out of memory");
        do {
            if (ask->n_policies == MAX_POLICIES)
                return err_field(e, "x-fusor-policy", "x-fusor-policy: names more than %d policies",
                                 MAX_POLICIES);
            (void)span_cut(&h.value, ',', &one);
            names[ask->n_policies++] = span_trim(one);
        } while (h.value.n > 0);
    }
    ask->policies = names;
    return true;
}

bool api_resolve(struct api_request *rq, const struct chat_request *r, struct app_target *out,
                 struct err *e)
{
    struct app_ask ask = {.name = r->model, .request = r};
    return auto_model(r->model, e) && read_policies(rq, &ask, e) &&
           worker_resolve(rq->worker, http_arena(rq->x), &ask, out, e);
}

/* Where nothing may be kept, an answer is not, and says so; but a conversation cannot go on. */
static bool may_keep(struct chat_reply *r, struct err *e)
{
    r->request.store = r->request.store && r->rq->lane->snapshot->config->keep_responses;
    if (!r->request.previous_id.p || r->rq->lane->snapshot->config->keep_responses)
        return true;
    return err_field(e, "previous_response_id",
                     "previous_response_id: no responses are kept here; send the whole input, or "
                     "allow it in the configuration (`responses: {store: allow}`)");
}

static bool read_request(struct chat_reply *r, struct err *e)
{
    struct api_request *rq = r->rq;
    struct arena *a = http_arena(rq->x);
    if (!r->dialect->read_request(a, http_body(rq->x), &r->request, e))
        return false;
    /* No second copy of a chat while it is answered; of what passes the body is the only one. */
    if (!r->request.pass)
        http_drop_body(rq->x);
    if (!may_keep(r, e))
        return false;
    r->request.betas = http_header_of(rq->x, "anthropic-beta");
    r->first = r->request.n_instructions;
    char token[25];
    rng_name(&rq->worker->names, token, 24);
    rq->outcome.model = r->request.model;
    r->head.id = arena_printf(a, "%s%s", r->dialect->id_prefix, token);
    r->head.request = &r->request;
    r->head.model = r->request.model;
    r->head.created = clock_wall_ms() / 1000;
    r->head.stream_usage = r->request.stream_usage;
    return r->head.id.p || err_set(e, ERR_NOMEM, "out of memory");
}

static bool find_target(struct chat_reply *r, struct err *e)
{
    return api_resolve(r->rq, &r->request, &r->target, e) && only_recipes_fuse(r, e) &&
           read_recipe(r, e);
}

/* From now on something is under way: the client may leave, or have to be kept alive. */
static bool watch(struct chat_reply *r, struct err *e)
{
    struct api_request *rq = r->rq;
    int64_t after_us = rq->lane->snapshot->config->keepalive_after_us;
    if (r->watched)
        return true;
    r->watched = true;
    list_push(&rq->worker->replies, &r->node);
    http_watch(rq->x, r, on_left, on_drained);
    return !r->request.stream || after_us == 0 || loop_timer_start(&r->keepalive, after_us) ||
           err_set(e, ERR_NOMEM, "out of memory");
}

static void start(struct chat_reply *r)
{
    struct api_request *rq = r->rq;
    struct err e = {0};
    struct chat_start_opts o = {.request_id = rq->id,
                                .role = r->request.pass ? "pass" : "call",
                                .rules = r->target.rules,
                                .progress = r->head.members && r->request.stream};
    bool keeps = rq->lane->snapshot->config->retain_reasoning_us > 0;
    bool collected = r->dialect == &dialect_openai_responses; /* its writer does */
    r->gathers = keeps && r->request.stream && r->request.n_tools > 0 && !collected;
    if (r->gathers)
        keep_gather_init(&r->collect);
    r->call = chat_start(r->target.source, &r->request, &o, &r->sink, &e);
    if (!r->call) {
        fail(r, &e);
        return;
    }
    /* until the fusion itself says more: its client may leave before that */
    rq->outcome.mode = r->mode;
    rq->outcome.calls = r->mode ? (int64_t)r->n_members : 1;
    rq->overhead_us = clock_mono_us() - rq->start_us;
    if (watch(r, &e))
        return;
    cancel_call(r);
    fail(r, &e);
}

/* Waits for `load`, which calls what comes next. */
static void wait_for(struct chat_reply *r, struct keep_load *load)
{
    struct err e = {0};
    r->load = load;
    if (!watch(r, &e))
        fail(r, &e);
}

static void on_reasoning(void *owner, const struct err *err)
{
    struct chat_reply *r = owner;
    (void)err; /* nobody waits for it in vain */
    r->load = NULL;
    start(r);
}

/* The conversation is whole. */
static void go_on(struct chat_reply *r)
{
    struct err e = {0};
    struct keep_load *load = NULL;
    if (!find_target(r, &e)) {
        fail(r, &e);
        return;
    }
    if (r->target.wants_signed)
        load = keep_load_reasoning(r->rq, &r->request, on_reasoning, r);
    if (load)
        wait_for(r, load);
    else
        start(r);
}

static void on_turns(void *owner, const struct err *err)
{
    struct chat_reply *r = owner;
    r->load = NULL;
    if (err)
        fail(r, err);
    else
        go_on(r);
}

void api_chat(struct api_request *rq)
{
    struct chat_reply *r = arena_alloc(http_arena(rq->x), sizeof *r);
    struct err e = {0};
    if (!r) {
        (void)err_set(&e, ERR_NOMEM, "out of memory");
        api_reply_error(rq, &e);
        return;
    }
    r->sink.on_event = on_event;
    r->rq = rq;
    list_init(&r->node);
    r->dialect = rq->route->dialect;
    loop_timer_init(&r->keepalive, rq->worker->loop, on_keepalive);
    chat_collect_init(&r->collect, LIMIT_ANSWER_BYTES);
    if (!read_request(r, &e)) {
        fail_whole(r, &e);
        return;
    }
    if (!r->request.previous_id.p) {
        go_on(r);
        return;
    }
    struct keep_load *load = keep_load_turns(rq, &r->request, &r->first, on_turns, r, &e);
    if (load)
        wait_for(r, load);
    else
        fail_whole(r, &e);
}

void api_chat_cut(struct worker *w)
{
    struct list *n;
    struct err e = {0};
    (void)err_set(&e, ERR_UNAVAILABLE, "the server is shutting down; ask again");
    while ((n = list_pop(&w->replies)) != NULL) {
        struct chat_reply *r = LIST_ENTRY(n, struct chat_reply, node);
        cancel_call(r);
        fail(r, &e);
    }
}
