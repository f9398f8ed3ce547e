/* tests/fuzz/fuzz_gemini_stream.c - any lines as Gemini's chunks: events keep their order, calls
 * are whole and of JSON, and what a client gets of them reads back to the same answer. */
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
    struct dialect_writer *w;
    struct buf *out;
    struct chat_collect c;
    bool failed, used;
};

static void check_call(const struct run *r, const struct chat_event *ev)
{
    AUTO(arena) a = arena_new(0);
    struct err e;
    json_val *v;
    check(a != NULL && ev->index < 512 && ev->index == r->c.n_tools);
    check(ev->tool_done && ev->tool_id.n > 0 && ev->tool_name.n > 0);
    /* Arguments that came whole are passed on as they came, whatever keys they repeat. */
    check(json_parse(a, ev->arguments, &v, &e) ? json_is_obj(v)
                                               : span_starts(ev->arguments, SPAN("{")));
}

static void take(struct run *r, const struct chat_event *ev)
{
    struct err e = {0};
    check(!r->c.ended);
    r->used = r->used || (ev->kind == CHAT_EV_USAGE && !r->c.started);
    check(ev->kind == CHAT_EV_USAGE || r->c.started == (ev->kind != CHAT_EV_START));
    if (ev->kind == CHAT_EV_TOOL)
        check_call(r, ev);
    check(chat_collect_event(&r->c, ev, &e));
    check(dialect_openai_chat.write_event(r->w, ev, r->out, &e));
}

static void run(struct run *r, struct span text)
{
    struct dialect_reader *rd = dialect_gemini.reader_new();
    struct chat_event ev;
    struct span line = {0};
    struct err e = {0};
    bool more = true;
    check(rd != NULL);
    chat_collect_init(&r->c, MIB(64));
    while (more && !r->failed) {
        more = span_cut(&text, '\n', &line);
        if (more)
            r->failed = !dialect_gemini.reader_feed(rd, (struct span){0}, line, &e);
        else
            dialect_gemini.reader_eof(rd);
        enum dialect_status s;
        while ((s = dialect_gemini.reader_next(rd, &ev, &e)) == DIALECT_EVENT)
            take(r, &ev);
        r->failed = r->failed || s == DIALECT_FAIL;
    }
    check(r->failed ? e.cls != ERR_NONE && e.status >= 400 && e.sent != SENT_NO : r->c.ended);
    dialect_gemini.reader_free(rd);
}

/* What was written for a client, read again. */
static void read_again(const struct run *r)
{
    struct dialect_reader *rd = dialect_openai_chat.reader_new();
    struct chat_collect c;
    struct chat_event ev;
    struct span text = buf_span(r->out), line;
    struct err e;
    check(rd != NULL);
    chat_collect_init(&c, MIB(64));
    while (span_cut(&text, '\n', &line)) {
        line = span_starts(line, SPAN("data: ")) ? span_from(line, 6) : line;
        check(dialect_openai_chat.reader_feed(rd, (struct span){0}, line, &e));
        while (dialect_openai_chat.reader_next(rd, &ev, &e) == DIALECT_EVENT)
            check(chat_collect_event(&c, &ev, &e));
    }
    check(c.ended && span_eq(buf_span(&c.text), buf_span(&r->c.text)));
    check(span_eq(buf_span(&c.reasoning), buf_span(&r->c.reasoning)));
    check(c.n_tools == r->c.n_tools);
    for (size_t i = 0; i < c.n_tools; i++)
        check(span_eq(buf_span(&c.tools[i].arguments), buf_span(&r->c.tools[i].arguments)));
    chat_collect_done(&c);
    dialect_openai_chat.reader_free(rd);
}

/* The same bytes as one body, and as the body of an error. */
static void as_body(struct span in)
{
    struct dialect_reader *rd = dialect_gemini.reader_new();
    struct chat_event ev;
    struct err e = {0};
    check(rd != NULL);
    bool ok = dialect_gemini.reader_body(rd, in, &e);
    enum chat_event_kind last = CHAT_EV_START;
    enum dialect_status s;
    while ((s = dialect_gemini.reader_next(rd, &ev, &e)) == DIALECT_EVENT)
        last = ev.kind;
    check(ok ? s == DIALECT_MORE && last == CHAT_EV_FINISH : s == DIALECT_FAIL);
    dialect_gemini.reader_free(rd);
    dialect_gemini.read_error(400 + (int)(in.n % 130), in, -1, &e);
    check(e.cls != ERR_NONE && e.status >= 400 && e.code != NULL && e.sent != SENT_NO);
    check(e.retry_after_ms >= -1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dialect_reply reply = {.id = SPAN("i"), .model = SPAN("m"), .created = 1};
    struct buf out;
    struct run r = {.out = &out};
    buf_init(&out, MIB(256));
    r.w = dialect_openai_chat.writer_new(&reply);
    check(r.w != NULL);
    run(&r, span_make(data, size));
    if (!r.failed)
        read_again(&r);
    chat_collect_done(&r.c);
    dialect_openai_chat.writer_free(r.w);
    buf_done(&out);
    as_body(span_make(data, size));
    return 0;
}
