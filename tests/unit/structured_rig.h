/* tests/unit/structured_rig.h - a scripted model, the structured source around it, and a client
 * that frees everything as soon as it may. */
#ifndef FUSOR_TESTS_STRUCTURED_RIG_H
#define FUSOR_TESTS_STRUCTURED_RIG_H

#include "base/limits.h"
#include "base/mem.h"
#include "route/structured.h"
#include "scripted_source.h"

#define SCHEMA                                                                                     \
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"],"     \
    "\"additionalProperties\":false}"

/* --- a model, the source around it, a client -------------------------------------------------- */

struct desk {
    struct lab lab;
    struct scripted *model;
    struct arena *arena;
    struct structured_source source;
    struct chat_request req;
    struct chat_sink sink;
    struct chat_call *call;
    struct chat_collect got;
    char log[256]; /* S t r f m u F E, and T for a tool call */
    size_t events, cancel_at, pause_at;
    bool ended, gone;
    struct chat_usage cancelled;
    struct err err;
};

/* The sink frees all that it can as soon as it may: nothing of it may be read afterwards. */
static inline void forget(struct desk *d)
{
    d->call = NULL;
    arena_free(d->arena);
    d->arena = NULL;
}

static inline void on_event(struct chat_sink *k, const struct chat_event *ev)
{
    struct desk *d = CONTAINER_OF(k, struct desk, sink);
    static const char names[] = "StrfTmuFE";
    struct err e;
    assert_non_null(d->call);
    assert_true(d->events < sizeof d->log - 1);
    d->log[d->events++] = names[ev->kind];
    if (d->events == d->cancel_at) {
        d->gone = true;
        chat_cancel(d->call, &d->cancelled);
        assert_true(chat_collect_event(&d->got, ev, &e)); /* still good to read */
        forget(d);
        return;
    }
    /* tests of memory faults fail one allocation; where it is ours, the second try works */
    if (!chat_collect_event(&d->got, ev, &e) && !chat_collect_event(&d->got, ev, &e))
        fail_msg("%s", e.msg);
    if (ev->kind == CHAT_EV_ERROR)
        d->err = *ev->err;
    if (ev->kind == CHAT_EV_FINISH || ev->kind == CHAT_EV_ERROR) {
        d->ended = true;
        forget(d);
    } else if (d->events == d->pause_at) {
        chat_pause(d->call);
    }
}

static inline struct desk *desk_new(enum structured_mode mode, const char *text)
{
    struct desk *d = mem_zalloc(sizeof *d);
    assert_non_null(d);
    lab_init(&d->lab, 1);
    d->model = lab_model(&d->lab, "x/m", text, 10);
    d->model->scripts[0].chunk = 7;
    d->model->scripts[0].every_us = 1000;
    d->arena = arena_new(0);
    assert_non_null(d->arena);
    structured_source_init(&d->source, d->arena, &d->model->source, mode, false);
    d->req = ask("How many?");
    d->req.format = CHAT_FORMAT_SCHEMA;
    d->req.format_name = SPAN("count");
    d->req.format_schema = SPAN(SCHEMA);
    d->sink.on_event = on_event;
    chat_collect_init(&d->got, MIB(1));
    return d;
}

/* What the second call says. */
static inline void then(struct desk *d, const char *text)
{
    d->model->scripts[1] = d->model->scripts[0];
    d->model->scripts[1].text = span_of(text);
    d->model->n_scripts = 2;
}

static inline bool start(struct desk *d)
{
    struct chat_start_opts o = {.role = "call", .depth = 1};
    d->call = chat_start(&d->source.source, &d->req, &o, &d->sink, &d->err);
    return d->call != NULL;
}

static inline void run(struct desk *d)
{
    if (!start(d))
        fail_msg("%s", d->err.msg);
    loop_run(d->lab.loop);
}

static inline void desk_done(struct desk *d)
{
    assert_int_equal(lab_running(&d->lab), 0);
    chat_collect_done(&d->got);
    arena_free(d->arena);
    lab_done(&d->lab);
    mem_free(d);
}

static inline void check(const struct desk *d, const char *log, const char *text)
{
    assert_string_equal(d->log, log);
    struct span got = buf_span(&d->got.text);
    if (!span_eq(got, span_of(text)))
        fail_msg("\"%.*s\", not \"%s\"", SPAN_ARG(got), text);
}

static inline void check_invalid(const struct desk *d, const char *msg)
{
    assert_int_equal(d->err.cls, ERR_UPSTREAM);
    assert_int_equal(d->err.status, 502);
    assert_int_equal(d->err.sent, SENT_DELIVERED);
    assert_string_equal(d->err.code, "invalid_structured_output");
    assert_non_null(strstr(d->err.msg, msg));
}

static inline void check_asked(const struct desk *d, const char *want)
{
    struct span asked = buf_span(&d->model->asked);
    if (!span_eq(asked, span_of(want)))
        fail_msg("asked:\n%.*s\nnot:\n%s", SPAN_ARG(asked), want);
}

#define RULES "and nothing else: no prose, no explanation, no code fence."

#endif
