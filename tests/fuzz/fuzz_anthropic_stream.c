/* tests/fuzz/fuzz_anthropic_stream.c - any lines as the events of an upstream that speaks Messages:
 * events keep their order, what a client gets is made of named events in the order that client
 * libraries want, and reads back to the same answer. */
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
    check(r->c.started == (ev->kind != CHAT_EV_START));
    if (ev->kind == CHAT_EV_TOOL) {
        check(ev->index < 512);
        check(ev->index < r->n_tools || ev->tool_name.n > 0);
        r->n_tools = ev->index < r->n_tools ? r->n_tools : ev->index + 1;
    }
    check(chat_collect_event(&r->c, ev, &e) || e.cls == ERR_LIMIT);
    if (r->w)
        check(dialect_anthropic_messages.write_event(r->w, ev, r->out, &e));
}

static void run(struct run *r, struct span text)
{
    struct dialect_reader *rd = dialect_anthropic_messages.reader_new();
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
            r->failed = !dialect_anthropic_messages.reader_feed(rd, (struct span){0}, line, &e);
        else
            dialect_anthropic_messages.reader_eof(rd);
        enum dialect_status s;
        while ((s = dialect_anthropic_messages.reader_next(rd, &ev, &e)) == DIALECT_EVENT)
            take(r, &ev);
        r->failed = r->failed || s == DIALECT_FAIL;
    }
    check(r->failed ? e.cls != ERR_NONE && e.status >= 400 : r->c.ended);
    dialect_anthropic_messages.reader_free(rd);
}

static void check_frame(struct span type, json_val *v, size_t n, bool *open, size_t *next)
{
    int64_t index;
    check(span_eq(json_str(json_get(v, "type")), type));
    check((n == 0) == span_eq(type, SPAN("message_start")));
    if (!span_starts(type, SPAN("content_block_")))
        return;
    check(json_i64(json_get(v, "index"), &index) && (size_t)index == *next);
    check(*open != span_eq(type, SPAN("content_block_start")));
    *open = !span_eq(type, SPAN("content_block_stop"));
    *next += !*open;
}

static void check_frames(struct span s, bool whole)
{
    bool open = false;
    size_t next = 0;
    for (size_t n = 0; s.n > 0; n++) {
        AUTO(arena) a = arena_new(0);
        size_t end = span_index(s, SPAN("\n\n")), line = span_find(s, "\n");
        struct err e;
        json_val *v = NULL;
        check(end < s.n && line < end && span_starts(s, SPAN("event: ")));
        struct span data = span_from(span_upto(s, end), line + 1);
        check(span_starts(data, SPAN("data: ")) && json_parse(a, span_from(data, 6), &v, &e));
        check_frame(span_from(span_upto(s, line), 7), v, n, &open, &next);
        s = span_from(s, end + 2);
    }
    check(!whole || !open);
}

/* Text that refuses comes back as text; a call that was never whole does not come back. */
static void check_same(const struct chat_collect *a, const struct chat_collect *b)
{
    size_t whole = 0;
    check(a->text.n + a->refusal.n == b->text.n);
    check(a->refusal.n > 0 || span_eq(buf_span(&a->text), buf_span(&b->text)));
    check(span_eq(buf_span(&a->reasoning), buf_span(&b->reasoning)));
    check(!a->has_usage ||
          (a->usage.output == b->usage.output && a->usage.cost_nusd == b->usage.cost_nusd));
    for (size_t i = 0; i < a->n_tools; i++)
        whole += a->tools[i].whole;
    check(whole == b->n_tools);
}

static void both(struct span in)
{
    struct dialect_reply reply = {.id = SPAN("msg_i"), .model = SPAN("m"), .members = true};
    struct buf out;
    struct err e;
    struct run first = {.out = &out}, again = {.out = NULL};
    buf_init(&out, MIB(256));
    first.w = dialect_anthropic_messages.writer_new(&reply);
    check(first.w != NULL);
    run(&first, in);
    check_frames(buf_span(&out), !first.failed);
    if (!first.failed) {
        run(&again, buf_span(&out));
        check(!again.failed);
        check_same(&first.c, &again.c);
        chat_collect_done(&again.c);
        buf_clear(&out);
        check(dialect_anthropic_messages.write_unary(&reply, &first.c, &out, &e));
        AUTO(arena) a = arena_new(0);
        json_val *v;
        check(json_parse(a, buf_span(&out), &v, &e));
    }
    chat_collect_done(&first.c);
    dialect_anthropic_messages.writer_free(first.w);
    buf_done(&out);
}

/* The same bytes as one body, and as the body of an error. */
static void as_body(struct span in)
{
    struct dialect_reader *rd = dialect_anthropic_messages.reader_new();
    struct chat_event ev;
    struct err e = {0};
    check(rd != NULL);
    bool ok = dialect_anthropic_messages.reader_body(rd, in, &e);
    enum chat_event_kind last = CHAT_EV_START;
    enum dialect_status s;
    while ((s = dialect_anthropic_messages.reader_next(rd, &ev, &e)) == DIALECT_EVENT)
        last = ev.kind;
    check(ok ? s == DIALECT_MORE && last == CHAT_EV_FINISH : s == DIALECT_FAIL);
    dialect_anthropic_messages.reader_free(rd);
    dialect_anthropic_messages.read_error(400 + (int)(in.n % 130), in, -1, &e);
    check(e.cls != ERR_NONE && e.status >= 400 && e.code != NULL && e.sent != SENT_NO);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_make(data, size);
    both(in);
    as_body(in);
    return 0;
}
