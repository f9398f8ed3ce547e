/* tests/fuzz/fuzz_pass.c - any bytes as a request that passes: refused, or what goes out is the
 * same JSON but for its model. And as an upstream's answer to one: refused, or what a client gets
 * is made of whole frames of JSON, with an end that is none or the right one. */
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

static struct span without_model(struct arena *a, struct span text, struct span *out_model)
{
    struct buf b;
    struct err e;
    json_val *root, *v;
    struct span key;
    buf_init(&b, MIB(64));
    check(json_parse(a, text, &root, &e));
    *out_model = json_str(json_get(root, "model"));
    for (struct json_iter it = json_iter_of(root); json_next(&it, &key, &v);)
        check(json_write_str(&b, key, &e) &&
              (span_eq(key, SPAN("model")) || json_write_val(&b, v, &e)));
    struct span all = arena_dup(a, buf_span(&b));
    buf_done(&b);
    return all;
}

static void request(const struct dialect *d, struct span in)
{
    struct dialect_target target = {.model = SPAN("up\"\\\n")};
    struct dialect_notes notes = {0};
    struct chat_request r;
    struct buf out;
    struct err e = {0};
    struct span before, after;
    AUTO(arena) a = arena_new(0);
    check(a != NULL);
    if (!d->read_request(a, in, &r, &e)) {
        check(e.cls == ERR_INPUT || e.cls == ERR_LIMIT);
        return;
    }
    check(r.pass && r.pass->input_bytes >= 0 && r.model.n > 0);
    buf_init(&out, MIB(64));
    check(d->write_request(&r, &target, &out, &notes, &e));
    struct span was = without_model(a, in, &before), is = without_model(a, buf_span(&out), &after);
    check(span_eq(before, r.model) && span_eq(after, target.model) && span_eq(was, is));
    buf_done(&out);
}

static void check_frames(struct span s, bool whole)
{
    bool done = false;
    while (s.n > 0) {
        AUTO(arena) a = arena_new(0);
        size_t n = span_index(s, SPAN("\n\n"));
        struct span frame = span_upto(s, n);
        json_val *v;
        struct err e;
        check(!done && n < s.n && span_starts(s, SPAN("data: ")));
        s = span_from(s, n + 2);
        frame = span_from(frame, 6);
        done = span_eq(frame, SPAN("[DONE]"));
        check(done || json_parse(a, frame, &v, &e) || strstr(e.msg, "duplicate"));
    }
    check(done == whole);
}

static void stream(struct span text)
{
    const struct dialect *d = &dialect_completions;
    struct dialect_reader *rd = d->reader_new();
    struct dialect_writer *w = d->writer_new(NULL);
    struct chat_event ev;
    struct span line = {0};
    struct err e = {0};
    struct buf out;
    bool more = true, failed = false, ended = false;
    buf_init(&out, MIB(64));
    check(rd != NULL && w != NULL);
    while (more && !failed) {
        enum dialect_status s;
        more = span_cut(&text, '\n', &line);
        line = span_starts(line, SPAN("data: ")) ? span_from(line, 6) : line;
        if (more)
            failed = !d->reader_feed(rd, (struct span){0}, line, &e);
        else
            d->reader_eof(rd);
        while ((s = d->reader_next(rd, &ev, &e)) == DIALECT_EVENT) {
            check(!ended && (ev.kind != CHAT_EV_TEXT || ev.raw.p));
            ended = ev.kind == CHAT_EV_FINISH;
            check(d->write_event(w, &ev, &out, &e));
        }
        failed = failed || s == DIALECT_FAIL;
    }
    check(failed ? e.cls != ERR_NONE && !ended : ended);
    check_frames(buf_span(&out), ended);
    d->reader_free(rd);
    d->writer_free(w);
    buf_done(&out);
}

static void body(struct span in)
{
    struct dialect_reader *rd = dialect_embeddings.reader_new();
    struct chat_event ev = {0};
    struct err e = {0};
    check(rd != NULL);
    bool ok = dialect_embeddings.reader_body(rd, in, &e);
    enum chat_event_kind last = CHAT_EV_START;
    enum dialect_status s;
    while ((s = dialect_embeddings.reader_next(rd, &ev, &e)) == DIALECT_EVENT) {
        check(ev.kind != CHAT_EV_TEXT || span_eq(ev.raw, span_trim(in)));
        last = ev.kind;
    }
    check(ok ? s == DIALECT_MORE && last == CHAT_EV_FINISH : s == DIALECT_FAIL);
    dialect_embeddings.reader_free(rd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_make(data, size);
    request(&dialect_embeddings, in);
    request(&dialect_completions, in);
    stream(in);
    body(in);
    return 0;
}
