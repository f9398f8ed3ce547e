/* tests/fuzz/fuzz_gemini_request.c - any bytes as the body of a client of OpenAI's chat, whose
 * request goes to Gemini: refused with a field, or what goes out is JSON with contents. */
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

/* Roles are of the two, each content has parts, and each of these one kind of data. */
static void check_contents(json_val *contents)
{
    struct span key;
    json_val *c, *p;
    check(json_is_arr(contents) && json_count(contents) > 0);
    for (struct json_iter it = json_iter_of(contents); json_next(&it, &key, &c);) {
        struct span role = json_str(json_get(c, "role"));
        check(span_eq(role, SPAN("user")) || span_eq(role, SPAN("model")));
        check(json_count(json_get(c, "parts")) > 0);
        for (struct json_iter in = json_iter_of(json_get(c, "parts")); json_next(&in, &key, &p);)
            check((json_get(p, "text") != NULL) + (json_get(p, "inlineData") != NULL) +
                      (json_get(p, "fileData") != NULL) + (json_get(p, "functionCall") != NULL) +
                      (json_get(p, "functionResponse") != NULL) ==
                  1);
    }
}

static void send(const struct chat_request *r, struct span model)
{
    struct dialect_target t = {.model = model, .dialect = SPAN("gemini")};
    struct dialect_notes notes = {0};
    struct json_scratch scratch; /* arguments pass as they came: their keys may repeat */
    struct buf out;
    struct err e = {0};
    json_val *root;
    buf_init(&out, MIB(64));
    json_scratch_init(&scratch);
    if (dialect_gemini.write_request(r, &t, &out, &notes, &e)) {
        check(json_parse_scratch(&scratch, buf_span(&out), &root, &e));
        check_contents(json_get(root, "contents"));
    } else {
        check(e.cls == ERR_INPUT && e.status == 400 && e.msg[0] != '\0' && out.n == 0);
    }
    check(dialect_gemini.write_path(&t, &out, &e));
    json_scratch_done(&scratch);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chat_request r;
    struct err e = {0};
    AUTO(arena) a = arena_new(0);
    check(a != NULL);
    if (!read_dropped(&dialect_openai_chat, a, span_make(data, size), &r, &e))
        return 0;
    send(&r, SPAN("gemini-3-flash-preview"));
    send(&r, SPAN("gemini-2.5-flash"));
    send(&r, SPAN("gemma-3"));
    return 0;
}
