/* api/reply.c - see api/reply.h.
 *
 * Status and headers go out with the first content or the first keep-alive, whichever is sooner;
 * before that a failure is a real HTTP status, after it the dialect's error event. The client's
 * leaving cancels the call in every phase. A slow client pauses only the stream that is relayed to
 * it. */
#include "api/reply.h"

#include "base/clock.h"
#include "dialect/responses.h"
#include "http/sse.h"

#define MAX_LATE (LIMIT_PANEL + 16)

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

void reply_cancel_call(struct chat_reply *r)
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
    reply_cancel_call(r);
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
        reply_cancel_call(r);
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

void reply_fail(struct chat_reply *r, const struct err *err)
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
            reply_cancel_call(r);
        blame_answer(&e);
        fail_whole(r, &e);
        return;
    }
    if (ev->kind == CHAT_EV_FINISH)
        finish_whole(r);
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
        api_note_ignored(r->rq, ev->ignored, ev->n_ignored);
        if (ev->target.n > 0) { /* a model answers, behind a recipe perhaps */
            o->mode = NULL;
            o->calls = 1;
        }
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

/* --- from and to chat.c
 * ---------------------------------------------------------------------------------------- */

struct chat_reply *reply_new(struct api_request *rq)
{
    struct chat_reply *r = arena_alloc(http_arena(rq->x), sizeof *r);
    if (!r)
        return NULL;
    r->sink.on_event = on_event;
    r->rq = rq;
    list_init(&r->node);
    r->dialect = rq->route->dialect;
    loop_timer_init(&r->keepalive, rq->worker->loop, on_keepalive);
    chat_collect_init(&r->collect, LIMIT_ANSWER_BYTES);
    return r;
}

bool reply_watch(struct chat_reply *r, struct err *e)
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

void api_chat_cut(struct worker *w)
{
    struct list *n;
    struct err e = {0};
    (void)err_set(&e, ERR_UNAVAILABLE, "the server is shutting down; ask again");
    while ((n = list_pop(&w->replies)) != NULL) {
        struct chat_reply *r = LIST_ENTRY(n, struct chat_reply, node);
        reply_cancel_call(r);
        reply_fail(r, &e);
    }
}
