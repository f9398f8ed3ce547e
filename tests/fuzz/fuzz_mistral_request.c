/* tests/fuzz/fuzz_mistral_request.c - any bytes as a client's body, for Mistral: refused with a
 * reason, or what goes out is JSON of members that its schema knows, with ids that it takes and
 * roles in the order it takes. Its answers are read as those of fuzz_openai_stream.c. */
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

static bool is_among(struct span key, const char *const *names)
{
    for (; *names; names++)
        if (span_eq(key, span_of(*names)))
            return true;
    return false;
}

static void check_members(json_val *v, const char *const *names)
{
    struct span key;
    json_val *x;
    check(json_is_obj(v));
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);)
        check(is_among(key, names));
}

static void check_id(json_val *v)
{
    struct span id = json_str(v);
    check(id.n == 9);
    for (size_t i = 0; i < id.n; i++)
        check((id.p[i] >= '0' && id.p[i] <= '9') || (id.p[i] >= 'a' && id.p[i] <= 'z') ||
              (id.p[i] >= 'A' && id.p[i] <= 'Z'));
}

/* Calls that wait for a result, of one message. */
static size_t check_calls(json_val *list)
{
    static const char *const members[] = {"id", "type", "function", NULL};
    static const char *const inner[] = {"name", "arguments", NULL};
    struct span key;
    json_val *v;
    for (struct json_iter it = json_iter_of(list); json_next(&it, &key, &v);) {
        check_members(v, members);
        check_members(json_get(v, "function"), inner);
        check_id(json_get(v, "id"));
    }
    return json_count(list);
}

static void check_messages(json_val *list)
{
    static const char *const plain[] = {"role", "content", NULL};
    static const char *const assistant[] = {"role", "content", "tool_calls", "prefix", NULL};
    static const char *const tool[] = {"role", "content", "tool_call_id", "name", NULL};
    struct span key, last = {0};
    json_val *m = NULL;
    size_t open = 0;
    check(json_count(list) > 0);
    for (struct json_iter it = json_iter_of(list); json_next(&it, &key, &m);) {
        struct span role = json_str(json_get(m, "role"));
        bool is_tool = span_eq(role, SPAN("tool"));
        bool is_assistant = span_eq(role, SPAN("assistant"));
        check_members(m, is_tool ? tool : is_assistant ? assistant : plain);
        check(is_tool == (open > 0));
        check(is_tool || is_assistant || !span_eq(last, SPAN("tool")));
        check(!span_eq(role, SPAN("system")) || !span_eq(last, SPAN("assistant")));
        if (is_tool)
            check_id(json_get(m, "tool_call_id"));
        open = is_tool ? open - 1 : check_calls(json_get(m, "tool_calls"));
        last = role;
    }
    check(open == 0);
    check(!span_eq(last, SPAN("assistant")) || json_true(json_get(m, "prefix")));
}

static void check_body(struct arena *a, struct span body)
{
    static const char *const members[] = {"model",
                                          "messages",
                                          "tools",
                                          "tool_choice",
                                          "temperature",
                                          "top_p",
                                          "max_tokens",
                                          "stream",
                                          "stop",
                                          "random_seed",
                                          "metadata",
                                          "response_format",
                                          "prediction",
                                          "presence_penalty",
                                          "frequency_penalty",
                                          "prompt_mode",
                                          "reasoning_effort",
                                          "parallel_tool_calls",
                                          "guardrails",
                                          "prompt_cache_key",
                                          "service_tier",
                                          "safe_prompt",
                                          NULL};
    struct err e;
    json_val *v;
    check(json_parse(a, body, &v, &e));
    check_members(v, members);
    check_messages(json_get(v, "messages"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dialect_target target = {.model = SPAN("up"), .dialect = SPAN("mistral")};
    struct dialect_notes notes = {0};
    struct chat_request r;
    struct buf out;
    struct err e = {0};
    AUTO(arena) a = arena_new(0);
    check(a != NULL);
    if (!read_dropped(&dialect_openai_chat, a, span_make(data, size), &r, &e))
        return 0;
    buf_init(&out, MIB(64));
    if (dialect_mistral.write_request(&r, &target, &out, &notes, &e))
        check_body(a, buf_span(&out));
    else
        check(e.cls == ERR_INPUT && e.status == 400 && e.param[0] != '\0' && out.n == 0);
    r.dialect = SPAN("another"); /* nothing in it is Mistral's own then */
    buf_clear(&out);
    if (dialect_mistral.write_request(&r, &target, &out, &notes, &e))
        check_body(a, buf_span(&out));
    else
        check(e.cls == ERR_INPUT && e.status == 400 && out.n == 0);
    dialect_mistral.read_error(400 + (int)(size % 130), span_make(data, size), -1, &e);
    check(e.cls != ERR_NONE && e.status >= 400 && e.code != NULL);
    buf_done(&out);
    return 0;
}
