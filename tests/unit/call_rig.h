/* call_rig.h - for tests of sources: a question, and a sink that checks the order of events, writes
 * them down (chat_log.h) and pauses or cancels at the nth of them. */
#ifndef FUSOR_TESTS_CALL_RIG_H
#define FUSOR_TESTS_CALL_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define log_event chat_log_event /* the program's log has a function of that name */
#include "chat_log.h"
#undef log_event

#include "base/buf.h"
#include "base/text.h"
#include "chat/chat.h"

/* --- a request of one user message
 * ------------------------------------------------------------------ */

struct question {
    struct chat_request request;
    struct chat_message message;
    struct chat_part part;
};

static inline void question_set(struct question *q, const char *text)
{
    q->part = (struct chat_part){.kind = CHAT_PART_TEXT, .text = span_of(text)};
    q->message = (struct chat_message){.role = CHAT_USER, .parts = &q->part, .n_parts = 1};
    q->request = (struct chat_request){.dialect = SPAN("openai_chat"),
                                       .model = SPAN("m1"),
                                       .messages = &q->message,
                                       .n_messages = 1,
                                       .parallel_tool_calls = -1,
                                       .format_strict = -1,
                                       .max_tokens = -1,
                                       .n = 1,
                                       .logprobs = -1,
                                       .top_logprobs = -1};
}

/* --- a sink
 * ------------------------------------------------------------------------------------------ */

struct caller {
    struct chat_sink sink;
    struct chat_call *call; /* NULL when it is over */
    struct buf log;
    int last_kind;
    unsigned events;
    bool started, finished, failed, cancelled, reported; /* reported: a fusion's report came */
    char ignored[64];                                    /* "a, b" of START */
    struct err e;
    struct chat_usage usage; /* the last told, or what cancelling said */
    /* what to do inside the nth event (1: the first), 0: nothing */
    unsigned pause_at, cancel_at;
    void (*on_last)(struct caller *c); /* inside the last event */
    void *ctx;
};

static inline bool caller_over(const struct caller *c)
{
    return c->finished || c->failed || c->cancelled;
}

static inline void caller_cancel(struct caller *c)
{
    assert_non_null(c->call);
    c->usage = (struct chat_usage){.input = -7};
    chat_cancel(TAKE(c->call), &c->usage);
    assert_int_not_equal(c->usage.input, -7);
    c->cancelled = true;
}

static inline void caller_event(struct chat_sink *s, const struct chat_event *ev)
{
    struct caller *c = CONTAINER_OF(s, struct caller, sink);
    assert_false(caller_over(c));
    assert_non_null(c->call); /* never from inside chat_start() */
    bool start = ev->kind == CHAT_EV_START;
    bool anytime = ev->kind == CHAT_EV_ERROR || ev->kind == CHAT_EV_USAGE;
    assert_false(start && c->started);
    assert_true(start || anytime || c->started);
    c->started = c->started || start;
    c->events++;
    assert_true(text_is_utf8(ev->text)); /* no piece ends within a letter */
    chat_log_event(&c->log, ev, &c->last_kind);
    if (ev->kind == CHAT_EV_USAGE) {
        c->usage = ev->usage;
        c->reported = c->reported || ev->report;
    }
    for (size_t i = 0, at = 0; i < ev->n_ignored && at < sizeof c->ignored; i++)
        at += (size_t)snprintf(c->ignored + at, sizeof c->ignored - at, "%s%.*s", i ? ", " : "",
                               SPAN_ARG(ev->ignored[i]));
    c->finished = ev->kind == CHAT_EV_FINISH;
    c->failed = ev->kind == CHAT_EV_ERROR;
    if (c->failed)
        c->e = *ev->err;
    if (c->finished || c->failed) {
        c->call = NULL;
        if (c->on_last != NULL)
            c->on_last(c);
    } else if (c->events == c->pause_at) {
        chat_pause(c->call);
    } else if (c->events == c->cancel_at) {
        caller_cancel(c);
    }
}

static inline void caller_init(struct caller *c)
{
    *c = (struct caller){.sink.on_event = caller_event, .last_kind = -1};
    buf_init(&c->log, MIB(4));
}

static inline void caller_done(struct caller *c)
{
    buf_done(&c->log);
}

/* False: the source did not even begin, see ->e. */
static inline bool caller_start_with(struct caller *c, struct chat_source *s,
                                     const struct question *q, const struct chat_start_opts *o)
{
    struct buf log = c->log;
    buf_clear(&log);
    *c = (struct caller){.sink.on_event = caller_event,
                         .last_kind = -1,
                         .log = log,
                         .pause_at = c->pause_at,
                         .cancel_at = c->cancel_at,
                         .on_last = c->on_last,
                         .ctx = c->ctx};
    c->call = chat_start(s, &q->request, o, &c->sink, &c->e);
    return c->call != NULL;
}

static inline bool caller_start(struct caller *c, struct chat_source *s, const struct question *q)
{
    return caller_start_with(
        c, s, q, &(struct chat_start_opts){.request_id = SPAN("req_1"), .role = "call"});
}

/* The log, terminated. */
static inline const char *caller_log(struct caller *c)
{
    assert_true(buf_add_char(&c->log, '\0', NULL));
    c->log.n--;
    return buf_span(&c->log).p;
}

/* A log without the ids that a run makes up: "start:*,model". */
static inline void caller_expect(struct caller *c, const char *want)
{
    struct span got = span_of(caller_log(c)), wanted = span_of(want);
    if (span_starts(got, SPAN("start:")) && span_starts(wanted, SPAN("start:*"))) {
        got = span_from(got, span_find(got, ","));
        wanted = span_from(wanted, span_find(wanted, ","));
    }
    if (!span_eq(got, wanted))
        fail_msg("got  %s\n       want %s\n       (%s)", caller_log(c), want, c->e.msg);
}

#endif
