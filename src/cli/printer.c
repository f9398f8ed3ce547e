/* cli/printer.c - see cli/printer.h. On a terminal the members' lines are drawn again in place
 * until the answer begins; in a pipe each change of state is one plain line. */
#include "cli/printer.h"

#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/member_table.h"
#include "dialect/dialect.h"

struct printer {
    struct chat_sink sink;
    struct printer_options o;
    struct loop *loop;
    void (*done)(void *ctx);
    void *ctx;
    struct arena *arena; /* copies of labels and models */
    struct chat_collect collect;
    struct chat_member rows[MEMBER_ROWS];
    size_t n_rows, drawn; /* drawn: lines on the terminal that the next draw goes over */
    int64_t drawn_us, start_us;
    bool live, answering, open_line; /* open_line: stdout stands behind text without LF */
    struct buf out;
    struct err kept; /* why ->collect does not hold all; ERR_NONE: it does */
};

static void on_event(struct chat_sink *s, const struct chat_event *ev);

struct printer *printer_new(const struct printer_options *o, struct loop *l,
                            void (*done)(void *ctx), void *ctx)
{
    AUTO(printer) p = mem_zalloc(sizeof *p);
    if (!p)
        return NULL;
    p->sink.on_event = on_event;
    p->o = *o;
    p->loop = l;
    p->done = done;
    p->ctx = ctx;
    p->live = isatty(2);
    p->start_us = loop_now_us(l);
    buf_init(&p->out, LIMIT_ANSWER_BYTES * 4);
    chat_collect_init(&p->collect, LIMIT_ANSWER_BYTES);
    p->arena = arena_new(0);
    return p->arena ? TAKE(p) : NULL;
}

void printer_free(struct printer *p)
{
    if (!p)
        return;
    chat_collect_done(&p->collect);
    buf_done(&p->out);
    arena_free(p->arena);
    mem_free(p);
}

struct chat_sink *printer_sink(struct printer *p)
{
    return &p->sink;
}

const struct err *printer_error(const struct printer *p)
{
    return &p->collect.err;
}

/* --- progress
 * -------------------------------------------------------------------------------------------------
 */

/* The row of a call; its spans are copied, because those of an event are on loan. */
static struct chat_member *row_of(struct printer *p, const struct chat_member *m)
{
    for (size_t i = 0; i < p->n_rows; i++)
        if (span_eq(p->rows[i].label, m->label))
            return &p->rows[i];
    if (p->n_rows == MEMBER_ROWS)
        return NULL;
    struct chat_member *row = &p->rows[p->n_rows];
    row->label = arena_dup(p->arena, m->label);
    row->model = arena_dup(p->arena, m->model);
    row->state = CHAT_MEMBER_WAITING;
    if (!row->label.p || !row->model.p)
        return NULL;
    p->n_rows++;
    return row;
}

static void copy_state(struct printer *p, struct chat_member *row, const struct chat_member *m)
{
    struct span label = row->label, model = row->model, detail = row->detail;
    if (m->detail.n > 0 && !span_eq(detail, m->detail))
        detail = arena_dup(p->arena, m->detail);
    *row = *m;
    row->label = label;
    row->model = model;
    row->detail = detail;
    if (m->reason)
        row->reason = arena_dup(p->arena, span_of(m->reason)).p;
}

static void draw_live(struct printer *p, bool now)
{
    int64_t t = loop_now_us(p->loop);
    if (!now && t - p->drawn_us < 100000)
        return;
    p->drawn_us = t;
    if (p->drawn > 0)
        (void)fprintf(stderr, "\033[%zuA", p->drawn);
    for (size_t i = 0; i < p->n_rows; i++) {
        char line[200];
        member_line(&p->rows[i], line, sizeof line);
        (void)fprintf(stderr, "\r\033[K%s\n", line);
    }
    p->drawn = p->n_rows;
    (void)fflush(stderr);
}

static void on_member(struct printer *p, const struct chat_member *m)
{
    struct chat_member *row = row_of(p, m);
    if (!row)
        return;
    bool changed = row->state != m->state;
    copy_state(p, row, m);
    if (p->answering)
        return; /* lines in the middle of the answer would tear it */
    if (p->live) {
        draw_live(p, changed);
    } else if (changed) {
        char line[200];
        member_line(row, line, sizeof line);
        (void)fprintf(stderr, "%s\n", line);
    }
}

/* --- the answer
 * -----------------------------------------------------------------------------------------------------
 */

static void write_answer(struct printer *p, struct span text)
{
    if (p->o.json || text.n == 0)
        return;
    if (!p->answering) {
        if (p->live && p->n_rows > 0)
            draw_live(p, true);
        if (p->n_rows > 0)
            (void)fputc('\n', stderr);
        (void)fflush(stderr);
    }
    p->answering = true;
    buf_clear(&p->out);
    if (!p->o.raw && text_visible(&p->out, text, true, NULL))
        text = buf_span(&p->out);
    (void)fwrite(text.p, 1, text.n, stdout);
    (void)fflush(stdout);
    p->open_line = text.p[text.n - 1] != '\n';
}

static void end_line(struct printer *p)
{
    if (p->open_line && !p->o.raw)
        (void)fputc('\n', stdout);
    p->open_line = false;
    (void)fflush(stdout);
}

static void print_tools(const struct printer *p)
{
    for (size_t i = 0; i < p->collect.n_tools && !p->o.json; i++) {
        const struct chat_collected_tool *t = &p->collect.tools[i];
        (void)fprintf(stdout, "tool call: %.*s(%.*s)\n", SPAN_ARG(buf_span(&t->name)),
                      SPAN_ARG(buf_span(&t->arguments)));
    }
}

static void print_json(struct printer *p)
{
    struct dialect_reply head = {
        .id = buf_span(&p->collect.id), .model = p->o.model, .created = (int64_t)time(NULL)};
    struct err e = {0};
    buf_clear(&p->out);
    if (!dialect_openai_chat.write_unary(&head, &p->collect, &p->out, &e)) {
        (void)fprintf(stderr, "fusor: %s\n", e.msg);
        return;
    }
    (void)fprintf(stdout, "%.*s\n", SPAN_ARG(buf_span(&p->out)));
    if (p->kept.cls != ERR_NONE)
        (void)fprintf(stderr, "the object does not hold the whole answer: %s\n", p->kept.msg);
}

static void print_trace(const struct chat_fusion_report *r)
{
    (void)fprintf(stderr, "fusion %.*s, mode %s, seed %llu\n", SPAN_ARG(r->id), r->mode,
                  (unsigned long long)r->seed);
    char usd[40];
    (void)fprintf(stderr, "planned at most %s", cli_usd(r->planned_nusd, usd, sizeof usd));
    if (r->agreement >= 0)
        (void)fprintf(stderr, ", agreement %.2f", r->agreement);
    if (r->latency_ratio_slowest > 0)
        (void)fprintf(stderr, ", %.2f x the slowest member counted", r->latency_ratio_slowest);
    (void)fputc('\n', stderr);
    for (size_t i = 0; i < r->n_notes; i++)
        (void)fprintf(stderr, "note: %.*s\n", SPAN_ARG(r->notes[i]));
}

static void print_end(struct printer *p)
{
    const struct chat_fusion_report *r = p->collect.report;
    struct member_total total = {p->collect.usage, loop_now_us(p->loop) - p->start_us};
    end_line(p);
    print_tools(p);
    (void)fputc('\n', stderr);
    if (r) {
        member_table(stderr, r, &total, p->o.trace);
        if (r->degraded)
            (void)fprintf(stderr, "degraded (%s): %.*s\n", r->degraded, SPAN_ARG(r->degraded_why));
        if (p->o.trace)
            print_trace(r);
    } else {
        member_total(stderr, p->o.model, &total);
    }
    if (p->collect.finish == CHAT_FINISH_LENGTH && !p->collect.failed)
        (void)fprintf(stderr, "the answer was cut at its token limit\n");
}

void printer_cancelled(struct printer *p, const struct chat_usage *u)
{
    struct member_total total = {*u, loop_now_us(p->loop) - p->start_us};
    end_line(p);
    (void)fprintf(stderr, "\ncancelled; every upstream call has been closed\n");
    member_total(stderr, p->o.model, &total);
}

static void on_event(struct chat_sink *s, const struct chat_event *ev)
{
    struct printer *p = CONTAINER_OF(s, struct printer, sink);
    struct err e = {0};
    if (ev->kind == CHAT_EV_MEMBER) {
        on_member(p, ev->member);
        return;
    }
    if (!chat_collect_event(&p->collect, ev, &e) && p->kept.cls == ERR_NONE)
        p->kept = e; /* what is printed as it comes is whole; --json is not */
    if (ev->kind == CHAT_EV_TEXT || ev->kind == CHAT_EV_REFUSAL)
        write_answer(p, ev->text);
    if (ev->kind != CHAT_EV_FINISH && ev->kind != CHAT_EV_ERROR)
        return;
    if (ev->kind == CHAT_EV_FINISH || p->collect.has_usage)
        print_end(p);
    if (ev->kind == CHAT_EV_FINISH && p->o.json)
        print_json(p);
    p->done(p->ctx);
}
