/* tests/fuzz/fuzz_openai_request.c - any bytes as a client's body: refused with a reason, or what
 * goes to an upstream is JSON, is taken again, and then no longer changes. */
#include <stdint.h>

#include "base/limits.h"
#include "dialect/dialect.h"
#include "json/json.h"
#include "dropped.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void send(struct arena *a, struct span in, struct buf *out)
{
    struct dialect_target same = {.model = SPAN("up"), .dialect = SPAN("openai_chat")};
    struct dialect_notes notes = {0};
    struct chat_request r;
    struct err e = {0};
    buf_clear(out);
    check(read_dropped(&dialect_openai_chat, a, in, &r, &e));
    check(dialect_openai_chat.write_request(&r, &same, out, &notes, &e));
}

static void send_to(const struct dialect *d, struct dialect_target t, const struct chat_request *r,
                    struct buf *out)
{
    struct dialect_notes notes = {0};
    struct err e = {0};
    size_t n_left = 0;
    buf_clear(out);
    bool ok = dialect_write_call(d, r, &t, out, &notes, &n_left, &e);
    check(ok || (e.cls == ERR_INPUT && e.msg[0] != '\0' && out->n == 0));
    check(n_left <= notes.n && (n_left == 0 || t.lenient));
}

/* Other dialects' upstreams, with all that a server may lack: written, or refused with a name. */
static void send_others(const struct chat_request *r, struct buf *out)
{
    static const struct dialect *const others[] = {
        &dialect_mistral, &dialect_gemini, &dialect_anthropic_messages, &dialect_openai_responses};
    struct dialect_target t = {.dialect = SPAN("mistral"), .unary = true, .omit_reasoning = true};
    send_to(&dialect_openai_chat, t, r, out);
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        t = (struct dialect_target){.model = SPAN("up"), .dialect = span_of(others[i]->name)};
        send_to(others[i], t, r, out);
        t.lenient = true;
        send_to(others[i], t, r, out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chat_request r;
    struct buf once, twice;
    struct err e = {0};
    json_val *v;
    AUTO(arena) a = arena_new(0);
    check(a != NULL);
    if (!read_dropped(&dialect_openai_chat, a, span_make(data, size), &r, &e)) {
        check(e.cls == ERR_INPUT && e.status == 400 && e.msg[0] != '\0');
        return 0;
    }
    check(r.n_messages > 0 && r.model.n > 0 && chat_input_bytes(&r) >= 0);
    buf_init(&once, MIB(64));
    buf_init(&twice, MIB(64));
    send_others(&r, &once);
    send(a, span_make(data, size), &once);
    check(json_parse(a, buf_span(&once), &v, &e));
    send(a, buf_span(&once), &twice);
    check(span_eq(buf_span(&once), buf_span(&twice)));
    buf_done(&once);
    buf_done(&twice);
    return 0;
}
