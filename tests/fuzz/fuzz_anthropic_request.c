/* tests/fuzz/fuzz_anthropic_request.c - any bytes as a Messages client's body: refused with a
 * reason, or what goes to an upstream of the same dialect is JSON, is taken again, and then no
 * longer changes; and an upstream of OpenAI's kind gets JSON or a refusal with a name. The same
 * bytes as an OpenAI client's body for an upstream that speaks Messages. */
#include <stdint.h>

#include "base/limits.h"
#include "dialect/dialect.h"
#include "json/json.h"
#include "dropped.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const models[] = {"claude-haiku-4-5", "claude-opus-4-6", "claude-opus-5",
                                     "claude-sonnet-5-5", "other"};

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void send(struct arena *a, struct span in, struct span model, struct buf *out)
{
    struct dialect_target same = {.model = model, .dialect = SPAN("anthropic_messages")};
    struct dialect_notes notes = {0};
    struct chat_request r;
    struct err e = {0};
    json_val *v;
    buf_clear(out);
    check(read_dropped(&dialect_anthropic_messages, a, in, &r, &e));
    if (!dialect_anthropic_messages.write_request(&r, &same, out, &notes, &e)) {
        check(e.cls == ERR_INPUT && e.msg[0] != '\0' && out->n == 0);
        return;
    }
    check(json_parse(a, buf_span(out), &v, &e));
}

static void same(struct arena *a, struct span in, struct span model)
{
    struct buf once, twice;
    buf_init(&once, MIB(64));
    buf_init(&twice, MIB(64));
    send(a, in, model, &once);
    if (once.n > 0) {
        send(a, buf_span(&once), model, &twice);
        check(span_eq(buf_span(&once), buf_span(&twice)));
    }
    buf_done(&once);
    buf_done(&twice);
}

/* Written, or refused with a name. */
static void other(struct arena *a, const struct dialect *from, const struct dialect *to,
                  struct span in, struct span model)
{
    struct dialect_target t = {.model = model, .dialect = span_of(to->name)};
    struct dialect_notes notes = {0};
    struct chat_request r;
    struct buf out;
    struct err e = {0};
    json_val *v;
    if (!read_dropped(from, a, in, &r, &e)) {
        check(e.cls == ERR_INPUT && e.status == 400 && e.msg[0] != '\0');
        return;
    }
    check(r.n_messages > 0 && r.model.n > 0 && chat_input_bytes(&r) >= 0);
    buf_init(&out, MIB(64));
    if (to->write_request(&r, &t, &out, &notes, &e))
        check(json_parse(a, buf_span(&out), &v, &e));
    else
        check(e.cls == ERR_INPUT && e.msg[0] != '\0' && out.n == 0);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_make(data, size), model = span_of(models[size % COUNT_OF(models)]);
    struct chat_request r;
    struct err e = {0};
    AUTO(arena) a = arena_new(0);
    check(a != NULL);
    other(a, &dialect_anthropic_messages, &dialect_openai_chat, in, model);
    other(a, &dialect_openai_chat, &dialect_anthropic_messages, in, model);
    if (read_dropped(&dialect_anthropic_messages, a, in, &r, &e)) {
        check(dialect_anthropic_messages.read_count(a, in, &r, &e));
        same(a, in, model);
    }
    return 0;
}
