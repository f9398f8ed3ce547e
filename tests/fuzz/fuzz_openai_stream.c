/* tests/fuzz/fuzz_openai_stream.c - any lines as an upstream's chunks: events keep their order,
 * what a client gets is made of whole frames of JSON, and reads back to the same answer. */
#include <stdint.h>

#include "base/limits.h"
#include "dialect/dialect.h"
#include "json/json.h"

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
    check(chat_collect_event(&r->c, ev, &e));
    if (r->w)
        check(dialect_openai_chat.write_event(r->w, ev, r->out, &e));
}

static void run(struct run *r, struct span text)
{
    struct dialect_reader *rd = dialect_openai_chat.reader_new();
    struct chat_event ev;
    struct span line = {0};
    struct err e = {0};
    bool more = true;
    check(rd != NULL);
    chat_collect_init(&r->c, MIB(64));
    while (more && !r->failed) {
        more = span_cut(&text, '\n', &line);
        line = span_starts(line, SPAN("data: ")) ? span_from(line, 6) : line;
        if (more)
            r->failed = !dialect_openai_chat.reader_feed(rd, (struct span){0}, line, &e);
        else
            dialect_openai_chat.reader_eof(rd);
        enum dialect_status s;
        while ((s = dialect_openai_chat.reader_next(rd, &ev, &e)) == DIALECT_EVENT)
            take(r, &ev);
        r->failed = r->failed || s == DIALECT_FAIL;
    }
    check(r->failed ? e.cls != ERR_NONE && e.status >= 400 : r->c.ended);
    dialect_openai_chat.reader_free(rd);
}

static void check_frames(struct span s)
{
    while (s.n > 0) {
        AUTO(arena) a = arena_new(0);
        size_t n = span_index(s, SPAN("\n\n"));
        struct span frame = span_upto(s, n);
        struct err e;
        json_val *v;
        check(n < s.n && span_starts(s, SPAN("data: ")));
        s = span_from(s, n + 2);
        frame = span_from(frame, 6);
        check(span_eq(frame, SPAN("[DONE]")) ? s.n == 0 : json_parse(a, frame, &v, &e));
    }
}

static void check_same(const struct chat_collect *a, const struct chat_collect *b)
{
    check(span_eq(buf_span(&a->text), buf_span(&b->text)));
    check(span_eq(buf_span(&a->reasoning), buf_span(&b->reasoning)));
    check(span_eq(buf_span(&a->refusal), buf_span(&b->refusal)));
    check(a->has_usage == b->has_usage);
    check(!a->has_usage ||
          (a->usage.input == b->usage.input && a->usage.output == b->usage.output &&
           a->usage.cost_nusd == b->usage.cost_nusd));
    size_t whole = 0;
    for (size_t i = 0; i < a->n_tools; i++)
        if (a->tools[i].whole) {
            check(whole < b->n_tools);
            check(span_eq(buf_span(&a->tools[i].name), buf_span(&b->tools[whole].name)));
            check(span_eq(buf_span(&a->tools[i].arguments), buf_span(&b->tools[whole].arguments)));
            whole++;
        }
    check(whole == b->n_tools);
}

static void both(struct span in, bool openai_shape)
{
    struct dialect_reply reply = {.id = SPAN("i"),
                                  .model = SPAN("m"),
                                  .created = 1,
                                  .stream_usage = openai_shape,
                                  .members = true};
    struct buf out;
    struct run first = {.out = &out}, again = {.out = NULL};
    buf_init(&out, MIB(256));
    first.w = dialect_openai_chat.writer_new(&reply);
    check(first.w != NULL);
    run(&first, in);
    check_frames(buf_span(&out));
    if (!first.failed) {
        run(&again, buf_span(&out));
        check(!again.failed);
        if (!openai_shape)
            check_same(&first.c, &again.c);
        chat_collect_done(&again.c);
    }
    chat_collect_done(&first.c);
    dialect_openai_chat.writer_free(first.w);
    buf_done(&out);
}

/* The same bytes as one body, and as the body of an error. */
static void as_body(struct span in)
{
    struct dialect_reader *rd = dialect_openai_chat.reader_new();
    struct chat_event ev;
    struct err e = {0};
    check(rd != NULL);
    bool ok = dialect_openai_chat.reader_body(rd, in, &e);
    enum chat_event_kind last = CHAT_EV_START;
    enum dialect_status s;
    while ((s = dialect_openai_chat.reader_next(rd, &ev, &e)) == DIALECT_EVENT)
        last = ev.kind;
    check(ok ? s == DIALECT_MORE && last == CHAT_EV_FINISH : s == DIALECT_FAIL);
    dialect_openai_chat.reader_free(rd);
    dialect_openai_chat.read_error(400 + (int)(in.n % 130), in, -1, &e);
    check(e.cls != ERR_NONE && e.status >= 400 && e.code != NULL && e.sent != SENT_NO);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_make(data, size);
    both(in, false);
    both(in, true);
    as_body(in);
    return 0;
}
