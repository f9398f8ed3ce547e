/* upstream/attempt_http.c - what comes back to an attempt: head, stream or whole body, end, error.
 * The bytes become events by http/sse.h and the dialect's reader; here they are counted, timed and
 * handed to the sink. After every event the sink may have cancelled: a false answer leads out at
 * once. */
#include <stdio.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/text.h"
#include "ledger/price.h"
#include "upstream/attempt.h"
#include "upstream/retry_after.h"

/* Of an error's body no more is read, and it is not waited for any longer. */
#define ERROR_BODY_BYTES KIB(64)
#define ERROR_BODY_US    INT64_C(3000000)
/* Bytes that may follow a complete answer before its connection is given up. */
#define DRAIN_BYTES KIB(64)
/* Bytes of a key that are looked for in messages; "sk-proj-" has as many. */
#define KEY_HEAD_BYTES 8

/* --- events
 * --------------------------------------------------------------------------------------- */

static struct span provider_name(const struct attempt *a)
{
    return a->provider->config->name;
}

/* Some providers repeat the key they were sent. Its beginning is enough to know it by, since a
 * message may have been cut in its middle; what stands behind goes with it. */
static void hide_secret(struct err *e, struct span secret)
{
    struct span head = span_upto(secret, KEY_HEAD_BYTES);
    size_t at = span_index(span_of(e->msg), head);
    if (e->msg[at] != '\0')
        snprintf(e->msg + at, sizeof e->msg - at, "[...]");
    at = span_index(span_of(e->param), head);
    if (e->param[at] != '\0')
        e->param[0] = '\0';
}

/* A proxy may do so too, with what it was sent: the field in base64, of which these bytes make the
 * beginning. */
static void hide_proxy_auth(struct err *e, struct span auth)
{
    static const struct span scheme = SPAN_INIT("Basic ");
    struct buf b;
    buf_init(&b, 32);
    if (http_basic(&b, span_upto(auth, KEY_HEAD_BYTES / 4 * 3), NULL))
        hide_secret(e, span_from(buf_span(&b), scheme.n));
    else
        e->msg[0] = e->param[0] = '\0'; /* no memory to look for it */
    if (b.mem != NULL)
        explicit_bzero(b.mem, b.cap);
    buf_done(&b);
}

static void hide_key(const struct attempt *a, struct err *e)
{
    const struct config_provider *c = a->provider->config;
    if (c->key != NULL)
        hide_secret(e, secret_reveal(c->key));
    if (c->proxy_auth != NULL)
        hide_proxy_auth(e, secret_reveal(c->proxy_auth));
}

/* An error on the way of an answer, in the provider's name. */
static void fail_named(struct attempt *a, const struct err *err)
{
    struct err e = *err;
    hide_key(a, &e);
    err_prefix(&e, "%.*s", SPAN_ARG(provider_name(a)));
    attempt_fail(a, &e);
}

/* An answer over one of our limits is the upstream's fault, not the client's. What the upstream
 * itself has said has its status, and stays. */
static void blame_upstream(struct err *e)
{
    if (e->cls != ERR_LIMIT || e->upstream_status != 0)
        return;
    struct err why = *e;
    err_set(e, ERR_UPSTREAM, "the answer is too large: %s", why.msg);
    err_with_code(e, "upstream_too_large");
    e->sent = why.sent;
}

static void fail_answer(struct attempt *a, const struct err *err)
{
    struct err e = *err;
    blame_upstream(&e);
    if (e.sent == SENT_NO)
        e.sent = SENT_MAYBE; /* readers do not know about connections */
    if (e.upstream_status == 0)
        e.upstream_status = a->status;
    fail_named(a, &e);
}

static void fail_cut(struct attempt *a)
{
    struct err e = {0};
    err_set(&e, ERR_CUT, "the answer ended before its end");
    fail_answer(a, &e);
}

static void on_content(struct attempt *a, const struct chat_event *ev)
{
    if (a->first_us == 0)
        a->first_us = loop_now_us(a->upstream->env.loop);
    a->out_bytes += (int64_t)(ev->text.n + ev->arguments.n + ev->tool_name.n);
}

static bool on_usage(struct attempt *a, struct chat_event *ev)
{
    if (ev->usage.cost_nusd < 0)
        ev->usage.cost_nusd = price_cost_nusd(&a->model->price, &ev->usage);
    a->usage = ev->usage;
    a->has_usage = a->usage_told = true;
    return attempt_emit(a, ev);
}

/* An answer has begun, even when the dialect's reader has no word for it. */
static bool tell_start(struct attempt *a, const struct chat_event *ev)
{
    if (a->started || ev->kind == CHAT_EV_ERROR)
        return true;
    a->started = true;
    if (ev->kind == CHAT_EV_START)
        return true;
    return attempt_emit(a, &(struct chat_event){.kind = CHAT_EV_START,
                                                .id = span_of(a->intent.id),
                                                .model = a->model->id,
                                                .ignored = a->notes.ignored,
                                                .n_ignored = a->notes.n});
}

static bool emit_piece(struct attempt *a, struct span text, bool reasoning)
{
    enum chat_event_kind kind = reasoning ? CHAT_EV_REASONING : CHAT_EV_TEXT;
    return attempt_emit(a, &(struct chat_event){.kind = kind, .text = text});
}

/* Reasoning that stands in the text between tags is no text. */
static bool emit_text(struct attempt *a, const struct chat_event *ev)
{
    struct span text = ev->text, piece;
    bool reasoning;
    if (a->think.state == THINK_OVER)
        return attempt_emit(a, ev);
    while (think_next(&a->think, &text, &piece, &reasoning))
        if (!emit_piece(a, piece, reasoning))
            return false;
    return true;
}

/* Before what comes behind the text. */
static bool end_text(struct attempt *a)
{
    struct span piece;
    bool reasoning;
    return a->think.state == THINK_OVER || !think_end(&a->think, &piece, &reasoning) ||
           emit_piece(a, piece, reasoning);
}

/* False: the answer is over, one way or the other. */
static bool on_reader_event(struct attempt *a, struct chat_event *ev)
{
    if (!tell_start(a, ev))
        return false;
    switch (ev->kind) {
    case CHAT_EV_TEXT:
        on_content(a, ev);
        return emit_text(a, ev);
    case CHAT_EV_REFUSAL:
    case CHAT_EV_TOOL:
        on_content(a, ev);
        return end_text(a) && attempt_emit(a, ev);
    case CHAT_EV_REASONING:
        on_content(a, ev);
        return attempt_emit(a, ev);
    case CHAT_EV_START:
        ev->ignored = a->notes.ignored;
        ev->n_ignored = a->notes.n;
        return attempt_emit(a, ev);
    case CHAT_EV_MEMBER:
        return attempt_emit(a, ev);
    case CHAT_EV_USAGE:
        return on_usage(a, ev);
    case CHAT_EV_FINISH:
        if (end_text(a))
            attempt_finish(a, ev);
        return false;
    case CHAT_EV_ERROR:
        fail_answer(a, ev->err);
        return false;
    }
    return false;
}

/* All events the reader has now. False: the answer is over. lost: what became of the connection,
 * said instead of the reader's word that there was no end; NULL while it lives. */
static bool drain_reader(struct attempt *a, const struct err *lost)
{
    struct chat_event ev;
    struct err e;
    for (;;) {
        switch (a->dialect->reader_next(a->reader, &ev, &e)) {
        case DIALECT_MORE:
            return true;
        case DIALECT_EVENT:
            if (!on_reader_event(a, &ev))
                return false;
            break;
        case DIALECT_FAIL:
            fail_answer(a, lost != NULL && e.cls == ERR_CUT ? lost : &e);
            return false;
        }
    }
}

/* False: the answer is over. at_end: the bytes may hold half an event, which is a cut and not
 * nonsense of the upstream's. */
static bool feed_stream(struct attempt *a, struct span bytes, bool at_end)
{
    struct sse_event ev;
    struct err e; /* large: set where something fails, not per chunk */
    for (;;) {
        switch (sse_next(a->sse, &bytes, &ev, &e)) {
        case SSE_MORE:
            return true;
        case SSE_FAIL:
            fail_answer(a, &e);
            return false;
        case SSE_EVENT:
            if (!a->dialect->reader_feed(a->reader, ev.type, ev.data, &e)) {
                if (at_end)
                    fail_cut(a);
                else
                    fail_answer(a, &e);
                return false;
            }
            if (!drain_reader(a, NULL))
                return false;
            break;
        }
    }
}

/* --- head
 * ----------------------------------------------------------------------------------------- */

static struct span header(const struct http_header *h, size_t n, struct span name)
{
    for (size_t i = 0; i < n; i++)
        if (span_eq_nocase(h[i].name, name))
            return span_trim(h[i].value);
    return SPAN("");
}

enum media { MEDIA_STREAM, MEDIA_JSON, MEDIA_OTHER };

static enum media media_of(struct span content_type)
{
    struct span type = span_trim(span_upto(content_type, span_find(content_type, ";")));
    if (span_eq_nocase(type, SPAN("text/event-stream")))
        return MEDIA_STREAM;
    if (span_eq_nocase(type, SPAN("application/json")))
        return MEDIA_JSON;
    return MEDIA_OTHER;
}

static void begin_answer(struct attempt *a, enum media media)
{
    a->reader = a->dialect->reader_new();
    if (media == MEDIA_STREAM)
        a->sse = sse_new(LIMIT_EVENT_BYTES);
    if (a->reader == NULL || (media == MEDIA_STREAM && a->sse == NULL)) {
        struct err e = {0};
        err_set(&e, ERR_NOMEM, "no memory to read the answer");
        fail_answer(a, &e);
        return;
    }
    attempt_to(a, media == MEDIA_STREAM ? ATTEMPT_STREAMING : ATTEMPT_COLLECTING);
}

static void on_good_head(struct attempt *a, const struct http_header *h, size_t n)
{
    struct span type = header(h, n, SPAN("content-type"));
    enum media media = media_of(type);
    /* A chat's client does not see how it came; a pass goes back as it comes. */
    bool odd = a->pass && media != (a->stream ? MEDIA_STREAM : MEDIA_JSON);
    if (odd || media == MEDIA_OTHER)
        attempt_fail_code(a, "upstream_not_json",
                          "the answer is %.*s and not %s; "
                          "does base_url end with the API's version, as in /v1?",
                          SPAN_ARG(type.n > 0 ? span_upto(type, 60) : SPAN("of no type")),
                          a->pass ? "what was asked for" : "a chat completion");
    else
        begin_answer(a, media);
}

static void on_head(void *owner, int status, const struct http_header *h, size_t n)
{
    struct attempt *a = owner;
    a->status = status;
    if (status == 200) {
        on_good_head(a, h, n);
        return;
    }
    a->refused = true;
    a->retry_ms = retry_after_ms(h, n, clock_wall_ms());
    attempt_to(a, ATTEMPT_COLLECTING);
    if (!loop_timer_start(&a->timer, ERROR_BODY_US))
        attempt_reply_late(a);
}

/* --- a refusal
 * ------------------------------------------------------------------------------------ */

/* docs/architecture.md, "Faults": who says no has done no work; a gateway's 502 says nothing about
 * the server behind it, and neither does a 503 without a word. */
static enum err_sent sent_of(int status, bool has_body)
{
    if (status == 503 || status == 529)
        return has_body ? SENT_REFUSED : SENT_MAYBE;
    return status >= 500 || status == 408 || status < 300 ? SENT_MAYBE : SENT_REFUSED;
}

bool attempt_turned_down(const struct attempt *a)
{
    return a->refused && sent_of(a->status, a->reply.n > 0) == SENT_REFUSED;
}

static void fail_refused(struct attempt *a)
{
    struct span body = buf_span(&a->reply);
    struct err e = {0};
    a->provider->dialect->read_error(a->status, body, a->retry_ms, &e);
    e.upstream_status = a->status;
    if (a->retry_ms >= 0) /* else what the body says (Gemini), if anything */
        e.retry_after_ms = a->retry_ms;
    e.sent = sent_of(a->status, body.n > 0);
    fail_named(a, &e);
}

void attempt_reply_late(struct attempt *a)
{
    if (a->refused)
        fail_refused(a);
}

/* --- body and end
 * ----------------------------------------------------------------------------------- */

static void collect(struct attempt *a, struct span bytes)
{
    struct err e = {0};
    if (a->refused)
        bytes = span_upto(bytes, ERROR_BODY_BYTES - a->reply.n);
    if (!buf_add(&a->reply, bytes, &e))
        fail_answer(a, &e);
    else if (a->refused && a->reply.n >= ERROR_BODY_BYTES)
        fail_refused(a);
}

static void on_body(void *owner, struct span bytes)
{
    struct attempt *a = owner;
    if (a->state == ATTEMPT_STREAMING) {
        feed_stream(a, bytes, false);
    } else if (a->state == ATTEMPT_COLLECTING) {
        collect(a, bytes);
    } else if (a->state == ATTEMPT_DRAINING) {
        a->drained_bytes += bytes.n;
        if (a->drained_bytes > DRAIN_BYTES)
            attempt_to(a, ATTEMPT_ENDED);
    }
}

/* FINISH comes now if the reader has seen one. */
static void end_reader(struct attempt *a, const struct err *lost)
{
    a->dialect->reader_eof(a->reader);
    if (drain_reader(a, lost))
        fail_cut(a);
}

/* A stream may lack the empty line after its last event. */
static void end_stream(struct attempt *a)
{
    if (feed_stream(a, SPAN("\n\n"), true))
        end_reader(a, NULL);
}

static void end_reply(struct attempt *a)
{
    struct err e = {0};
    if (a->refused) {
        fail_refused(a);
        return;
    }
    if (!a->dialect->reader_body(a->reader, buf_span(&a->reply), &e)) {
        fail_answer(a, &e);
        return;
    }
    if (drain_reader(a, NULL))
        attempt_fail_code(a, "upstream_incomplete", "the answer has no end");
}

static void on_end(void *owner)
{
    struct attempt *a = owner;
    a->http = NULL; /* gone with this call */
    if (a->state == ATTEMPT_STREAMING)
        end_stream(a);
    else if (a->state == ATTEMPT_COLLECTING)
        end_reply(a);
    else if (a->state == ATTEMPT_DRAINING)
        attempt_to(a, ATTEMPT_ENDED);
}

static void on_error(void *owner, const struct err *e)
{
    struct attempt *a = owner;
    a->http = NULL;
    if (a->state == ATTEMPT_DRAINING) {
        attempt_to(a, ATTEMPT_ENDED);
        return;
    }
    /* A refusal whose body breaks off is still a refusal, and an answer that has said how it
     * finished is whole, whatever happened to the connection then. */
    struct err why = *e;
    blame_upstream(&why);
    if (a->state == ATTEMPT_COLLECTING && a->refused)
        fail_refused(a);
    else if (a->state == ATTEMPT_STREAMING && (e->cls == ERR_CUT || e->cls == ERR_TIMEOUT))
        end_reader(a, &why);
    else
        fail_named(a, &why);
}

const struct http_call_ops attempt_http_ops = {on_head, on_body, on_end, on_error};
