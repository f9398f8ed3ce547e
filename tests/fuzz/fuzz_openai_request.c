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

/* Another dialect's upstream, with all that a server may lack: written, or refused with a name. */
static void send_other(const struct chat_request *r, struct buf *out)
{
    struct dialect_target other = {
        .dialect = SPAN("mistral"), .unary = true, .omit_reasoning = true};
    struct dialect_notes notes = {0};
    struct err e = {0};
    buf_clear(out);
    bool ok = dialect_openai_chat.write_request(r, &other, out, &notes, &e);
    check(ok || (e.cls == ERR_INPUT && e.msg[0] != '\0' && out->n == 0));
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
    send_other(&r, &once);
    send(a, span_make(data, size), &once);
    check(json_parse(a, buf_span(&once), &v, &e));
    send(a, buf_span(&once), &twice);
    check(span_eq(buf_span(&once), buf_span(&twice)));
    buf_done(&once);
    buf_done(&twice);
    return 0;
}
