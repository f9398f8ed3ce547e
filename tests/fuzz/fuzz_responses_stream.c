/* tests/fuzz/fuzz_responses_stream.c - any lines as the events of an upstream of Responses: events
 * keep their order, what a client gets is made of whole numbered frames of JSON, and reads back to
 * the same answer. */
#include <stdint.h>

#include "base/limits.h"
#include "dialect/dialect.h"
#include "json/json.h"

#define D dialect_openai_responses

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

struct run {
    struct dialect_writer *w; /* NULL: only collected */
    struct buf *out;
    struct chat_collect c;
    bool failed;
    size_t n_tools;
};

static void take(struct run *r, const struct chat_event *ev)
{
    struct err e = {0};
    check(!r->c.ended);
    check(ev->kind == CHAT_EV_MEMBER || r->c.started == (ev->kind != CHAT_EV_START));
    if (ev->kind == CHAT_EV_TOOL) {
        check(ev->index < 512);
        check(ev->index < r->n_tools || ev->tool_name.n > 0);
        r->n_tools = ev->index < r->n_tools ? r->n_tools : ev->index + 1;
    }
    /* More blocks or items than an answer may have end it. */
    bool ok = chat_collect_event(&r->c, ev, &e) && (!r->w || D.write_event(r->w, ev, r->out, &e));
    check(ok || e.cls == ERR_LIMIT);
    r->failed = r->failed || !ok;
}

static void run(struct run *r, struct span text)
{
    struct dialect_reader *rd = D.reader_new();
    struct chat_event ev;
    struct span line = {0};
    struct err e = {0};
    bool more = true;
    check(rd != NULL);
    chat_collect_init(&r->c, MIB(64));
    while (more && !r->failed) {
        more = span_cut(&text, '\n', &line);
        if (more && span_starts(line, SPAN("event: ")))
            continue;
        line = span_starts(line, SPAN("data: ")) ? span_from(line, 6) : line;
        if (more)
            r->failed = !D.reader_feed(rd, (struct span){0}, line, &e);
        else
            D.reader_eof(rd);
        enum dialect_status s = DIALECT_MORE;
        while (!r->failed && (s = D.reader_next(rd, &ev, &e)) == DIALECT_EVENT)
            take(r, &ev);
        r->failed = r->failed || s == DIALECT_FAIL;
    }
    check(r->failed || r->c.ended);
    D.reader_free(rd);
}

static void check_frames(struct span s)
{
    for (int64_t n = 0, sequence; s.n > 0; n++) {
        AUTO(arena) a = arena_new(0);
        size_t end = span_index(s, SPAN("\n\n"));
        struct span frame = span_upto(s, end), line = {0};
        struct err e;
        json_val *v = NULL;
        check(end < s.n && span_cut(&frame, '\n', &line) && span_starts(line, SPAN("event: ")));
        s = span_from(s, end + 2);
        check(span_starts(frame, SPAN("data: ")) && json_parse(a, span_from(frame, 6), &v, &e));
        check(span_eq(json_str(json_get(v, "type")), span_from(line, 7)));
        check(json_i64(json_get(v, "sequence_number"), &sequence) && sequence == n);
    }
}

/* Line breaks come between messages and parts: they do not count. */
static bool alike(struct span a, struct span b)
{
    for (;;) {
        while (a.n > 0 && a.p[0] == '\n')
            a = span_from(a, 1);
        while (b.n > 0 && b.p[0] == '\n')
            b = span_from(b, 1);
        if (a.n == 0 || b.n == 0)
            return a.n == b.n;
        if (a.p[0] != b.p[0])
            return false;
        a = span_from(a, 1);
        b = span_from(b, 1);
    }
}

static size_t next_whole(const struct chat_collect *c, size_t i)
{
    while (i < c->n_tools && !c->tools[i].whole)
        i++;
    return i;
}

static void check_same(const struct chat_collect *a, const struct chat_collect *b)
{
    check(alike(buf_span(&a->text), buf_span(&b->text)));
    check(alike(buf_span(&a->reasoning), buf_span(&b->reasoning)));
    check(span_eq(buf_span(&a->refusal), buf_span(&b->refusal)));
    check(!a->has_usage ||
          (a->usage.input == b->usage.input && a->usage.output == b->usage.output &&
           a->usage.cost_nusd == b->usage.cost_nusd));
    size_t i = next_whole(a, 0), k = next_whole(b, 0);
    for (; i < a->n_tools && k < b->n_tools; i = next_whole(a, i + 1), k = next_whole(b, k + 1)) {
        check(span_eq(buf_span(&a->tools[i].name), buf_span(&b->tools[k].name)));
        check(span_eq(buf_span(&a->tools[i].arguments), buf_span(&b->tools[k].arguments)));
    }
    check(i == a->n_tools && k == b->n_tools);
}

static void both(struct span in)
{
    struct dialect_reply reply = {
        .id = SPAN("resp_i"), .model = SPAN("m"), .created = 1, .members = true};
    struct buf out;
    struct run first = {.out = &out}, again = {.out = NULL};
    buf_init(&out, MIB(256));
    first.w = D.writer_new(&reply);
    check(first.w != NULL);
    run(&first, in);
    check_frames(buf_span(&out));
    if (!first.failed) {
        run(&again, buf_span(&out));
        check(!again.failed);
        check_same(&first.c, &again.c);
        chat_collect_done(&again.c);
    }
    chat_collect_done(&first.c);
    D.writer_free(first.w);
    buf_done(&out);
}

/* The same bytes as one body. */
static void as_body(struct span in)
{
    struct dialect_reader *rd = D.reader_new();
    struct chat_event ev;
    struct err e = {0};
    check(rd != NULL);
    bool ok = D.reader_body(rd, in, &e);
    enum chat_event_kind last = CHAT_EV_START;
    enum dialect_status s;
    while ((s = D.reader_next(rd, &ev, &e)) == DIALECT_EVENT)
        last = ev.kind;
    check(ok ? s == DIALECT_MORE && last == CHAT_EV_FINISH : s == DIALECT_FAIL);
    D.reader_free(rd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_make(data, size);
    both(in);
    as_body(in);
    return 0;
}
