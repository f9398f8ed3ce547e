/* tests/fuzz/fuzz_responses_request.c - any bytes as a body of a Responses client: refused with a
 * reason, or what goes to an upstream is JSON, is taken again, and then no longer changes; and the
 * turn can be kept and read back. */
#include <stdint.h>

#include "base/limits.h"
#include "dialect/responses.h"
#include "json/json.h"
#include "dropped.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void send(struct arena *a, struct span in, struct buf *out, struct dialect_notes *notes)
{
    struct dialect_target same = {.model = SPAN("up"), .dialect = SPAN("openai_responses")};
    struct chat_request r;
    struct err e = {0};
    buf_clear(out);
    check(read_dropped(&dialect_openai_responses, a, in, &r, &e));
    check(dialect_openai_responses.write_request(&r, &same, out, notes, &e));
}

/* Another dialect's upstream: written, or refused with a name. */
static void send_other(const struct chat_request *r, struct buf *out)
{
    struct dialect_target other = {.dialect = SPAN("openai_chat"), .unary = true};
    struct dialect_notes notes = {0};
    struct err e = {0};
    buf_clear(out);
    bool ok = dialect_openai_chat.write_request(r, &other, out, &notes, &e);
    check(ok || (e.cls == ERR_INPUT && e.msg[0] != '\0' && out->n == 0));
}

static void keep(struct arena *a, struct chat_request *r, struct buf *out)
{
    struct dialect_reply reply = {.request = r, .id = SPAN("resp_1"), .model = SPAN("m")};
    struct responses_turn turn;
    struct chat_collect c;
    struct err e = {0};
    size_t first, n = r->n_messages;
    json_val *v;
    chat_collect_init(&c, KIB(4));
    buf_clear(out);
    check(responses_write_turn(&reply, r->n_instructions, &c, out, &e));
    check(json_parse(a, buf_span(out), &v, &e));
    check(responses_read_turn(a, buf_span(out), &turn, &e));
    check(responses_join(a, &turn, 1, r, &first, &e) && r->n_messages == n + turn.n);
    chat_collect_done(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dialect_notes notes = {0};
    struct chat_request r;
    struct buf once, twice;
    struct err e = {0};
    json_val *v;
    AUTO(arena) a = arena_new(0);
    check(a != NULL);
    if (!read_dropped(&dialect_openai_responses, a, span_make(data, size), &r, &e)) {
        check(e.cls == ERR_INPUT && e.status == 400 && e.msg[0] != '\0');
        return 0;
    }
    check(r.n_messages > r.n_instructions && r.model.n > 0 && chat_input_bytes(&r) >= 0);
    buf_init(&once, MIB(64));
    buf_init(&twice, MIB(64));
    send_other(&r, &once);
    send(a, span_make(data, size), &once, &notes);
    check(json_parse(a, buf_span(&once), &v, &e));
    if (json_count(json_get(v, "input")) > 0) { /* else it was nothing but thoughts of others */
        send(a, buf_span(&once), &twice, NULL);
        /* Without the thoughts between them two messages may be one. */
        check(notes.n > 0 || span_eq(buf_span(&once), buf_span(&twice)));
    }
    keep(a, &r, &once);
    buf_done(&once);
    buf_done(&twice);
    return 0;
}
