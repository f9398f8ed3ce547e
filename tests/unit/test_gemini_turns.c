/* tests/unit/test_gemini_turns.c - tool calls and their results on their way to Gemini: all results
 * of a turn in one content and in the order of the calls, ids, arguments, signatures; a chain of
 * twelve steps; what does not fit together, by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gemini_sent.h"

static const struct sent_case pass[] = {
    {"a call before Gemini 3", G2,
     MSG(USER "," CALLS(FN("f", "{\\\"a\\\":1}", "c1")) "," RESULT("c1", "42")),
     "{\"contents\":[" HI
     ",{\"parts\":[{\"functionCall\":{\"args\":{\"a\":1},\"name\":\"f\"}}],\"role\":"
     "\"model\"},{\"parts\":[{\"functionResponse\":{\"name\":\"f\",\"response\":{\"result\":\"42\"}"
     "}}],"
     "\"role\":\"user\"}]}",
     ""},
    {"a call of another model", G3,
     MSG(USER "," CALLS(FN("f", "{}", "c1")) "," RESULT("c1", "{\\\"b\\\": 2}")),
     "{\"contents\":[" HI
     ",{\"parts\":[{\"functionCall\":{\"args\":{},\"id\":\"c1\",\"name\":\"f\"}" SKIP
     "}],\"role\":\"model\"},{\"parts\":[{\"functionResponse\":{\"id\":\"c1\",\"name\":\"f\","
     "\"response\":{"
     "\"b\":2}}}],\"role\":\"user\"}]}",
     ""},
    {"results out of order, text behind", G3,
     MSG(USER
         "," CALLS(FN("f", "{}", "c1") "," FN("g", "", "c2") "," FN("f", "null", "c3")) "," RESULT(
             "c3", "3") "," RESULT("c1", "1") ",{\"role\":\"system\",\"content\":"
                                              "\"s\"}," RESULT("c2", "[2]") "," USER),
     "{\"contents\":[" HI
     ",{\"parts\":[{\"functionCall\":{\"args\":{},\"id\":\"c1\",\"name\":\"f\"}" SKIP
     "},{\"functionCall\":{\"args\":{},\"id\":\"c2\",\"name\":\"g\"}},{\"functionCall\":{\"args\":{"
     "},"
     "\"id\":\"c3\",\"name\":\"f\"}}],\"role\":\"model\"},{\"parts\":[{\"functionResponse\":{"
     "\"id\":\"c1\","
     "\"name\":\"f\",\"response\":{\"result\":\"1\"}}},{\"functionResponse\":{\"id\":\"c2\","
     "\"name\":\"g\","
     "\"response\":{\"result\":\"[2]\"}}},{\"functionResponse\":{\"id\":\"c3\",\"name\":\"f\","
     "\"response\":{"
     "\"result\":\"3\"}}},{\"text\":\"s\"},{\"text\":\"hi\"}],\"role\":\"user\"}]}",
     ""},
    {"one id for two calls", G2,
     MSG(CALLS(FN("f", "{}", "c") "," FN("g", "{}", "c")) "," RESULT("c", "1") "," RESULT("c",
                                                                                          "2")),
     "{\"contents\":[{\"parts\":[{\"functionCall\":{\"args\":{},\"name\":\"f\"}},{\"functionCall\":"
     "{"
     "\"args\":{},\"name\":\"g\"}}],\"role\":\"model\"},{\"parts\":[{\"functionResponse\":{"
     "\"name\":\"f\","
     "\"response\":{\"result\":\"1\"}}},{\"functionResponse\":{\"name\":\"g\",\"response\":{"
     "\"result\":\"2\""
     "}}}],\"role\":\"user\"}]}",
     ""},
    {"two messages with calls", G3,
     MSG(CALLS(FN("f", "{}", "a")) "," CALLS(FN("g", "{}", "b")) "," RESULT("b", "2") "," RESULT(
         "a", "1")),
     "{\"contents\":[{\"parts\":[{\"functionCall\":{\"args\":{},\"id\":\"a\",\"name\":\"f\"}" SKIP
     "},{\"functionCall\":{\"args\":{},\"id\":\"b\",\"name\":\"g\"}}],\"role\":\"model\"},{"
     "\"parts\":[{"
     "\"functionResponse\":{\"id\":\"a\",\"name\":\"f\",\"response\":{\"result\":\"1\"}}},{"
     "\"functionResponse\":{\"id\":\"b\",\"name\":\"g\",\"response\":{\"result\":\"2\"}}}],"
     "\"role\":\"user\"}"
     "]}",
     ""},
    {"arguments in a string, long numbers in a result", G2,
     MSG(CALLS(FN("f", "\\\"{\\\\\\\"a\\\\\\\":1}\\\"", "c")) "," RESULT(
         "c", "{\\\"id\\\":1234567890123456789}")),
     "{\"contents\":[{\"parts\":[{\"functionCall\":{\"args\":{\"a\":1},\"name\":\"f\"}}],\"role\":"
     "\"model\"},"
     "{\"parts\":[{\"functionResponse\":{\"name\":\"f\",\"response\":{\"result\":\"{\\\"id\\\":"
     "1234567890123456789}\"}}}],\"role\":\"user\"}]}",
     ""},
    {"an image in a result", G3,
     MSG(CALLS(
         FN("f", "{}",
            "c")) ",{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":[{\"type\":\"text\","
                  "\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"},{\"type\":\"image_url\","
                  "\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}}]}"),
     "{\"contents\":[{\"parts\":[{\"functionCall\":{\"args\":{},\"id\":\"c\",\"name\":\"f\"}" SKIP
     "}],\"role\":\"model\"},{\"parts\":[{\"functionResponse\":{\"id\":\"c\",\"name\":\"f\","
     "\"parts\":[{"
     "\"inlineData\":{\"data\":\"AAAA\",\"mimeType\":\"image/"
     "png\"}}],\"response\":{\"result\":\"a\\nb\"}}}],"
     "\"role\":\"user\"}]}",
     ""},

    /* signatures */
    {"a signature on the call", G3,
     MSG("{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":"
         "{\"name\":"
         "\"f\",\"arguments\":\"{}\"},\"extra_content\":{\"google\":{\"thought_signature\":\"S\"}}}"
         "," FN("g", "{}", "b") "]}," RESULT("a", "1") "," RESULT("b", "2")),
     "{\"contents\":[{\"parts\":[{\"functionCall\":{\"args\":{},\"id\":\"a\",\"name\":\"f\"},"
     "\"thoughtSignature\":\"S\"},{\"functionCall\":{\"args\":{},\"id\":\"b\",\"name\":\"g\"}}],"
     "\"role\":"
     "\"model\"},{\"parts\":[{\"functionResponse\":{\"id\":\"a\",\"name\":\"f\",\"response\":{"
     "\"result\":"
     "\"1\"}}},{\"functionResponse\":{\"id\":\"b\",\"name\":\"g\",\"response\":{\"result\":\"2\"}}}"
     "],\"role\":"
     "\"user\"}]}",
     ""},
    {"a signature beside the call", G2,
     MSG("{\"role\":\"assistant\",\"reasoning_details\":[{\"type\":\"reasoning.encrypted\","
         "\"data\":\"S\","
         "\"format\":\"google-gemini-v1\",\"id\":\"a\"}],\"tool_calls\":[" FN(
             "f", "{}", "a") "]}," RESULT("a", "1")),
     "{\"contents\":[{\"parts\":[{\"functionCall\":{\"args\":{},\"name\":\"f\"},"
     "\"thoughtSignature\":\"S\"}],"
     "\"role\":\"model\"},{\"parts\":[{\"functionResponse\":{\"name\":\"f\",\"response\":{"
     "\"result\":\"1\"}}}"
     "],\"role\":\"user\"}]}",
     ""},
    {"signatures of thoughts and text", G3,
     MSG(USER ",{\"role\":\"assistant\",\"content\":\"x\",\"reasoning_details\":[{\"type\":"
              "\"reasoning.text\","
              "\"text\":\"h\",\"signature\":\"S1\",\"format\":\"google-gemini-v1\"},{\"type\":"
              "\"reasoning.encrypted\",\"data\":\"S2\",\"format\":\"google-gemini-v1\",\"id\":"
              "\"text\"}]}," USER),
     "{\"contents\":[" HI
     ",{\"parts\":[{\"text\":\"h\",\"thought\":true,\"thoughtSignature\":\"S1\"},{"
     "\"text\":\"x\",\"thoughtSignature\":\"S2\"}],\"role\":\"model\"}," HI "]}",
     ""},
    {"thoughts joined to the signature of the text", G3,
     MSG(USER ",{\"role\":\"assistant\",\"content\":\"x\",\"reasoning_details\":[{\"type\":"
              "\"reasoning.text\","
              "\"text\":\"h\",\"id\":\"gemini-thought\",\"format\":\"google-gemini-v1\"},{\"type\":"
              "\"reasoning.text\",\"signature\":\"S\",\"id\":\"gemini-text\",\"format\":"
              "\"google-gemini-v1\"}]}," USER),
     "{\"contents\":[" HI
     ",{\"parts\":[{\"text\":\"x\",\"thoughtSignature\":\"S\"}],\"role\":\"model\"}," HI "]}",
     ""},
    {"reasoning of others", G3,
     MSG(USER ",{\"role\":\"assistant\",\"content\":\"x\",\"reasoning_details\":[{\"type\":"
              "\"reasoning.text\","
              "\"text\":\"h\",\"signature\":\"S\",\"format\":\"anthropic-claude-v1\"},{\"type\":"
              "\"reasoning.encrypted\",\"data\":\"T\"}]},{\"role\":\"assistant\",\"content\":\"y\","
              "\"reasoning_content\":\"h\"}"),
     "{\"contents\":[" HI ",{\"parts\":[{\"text\":\"x\"},{\"text\":\"y\"}],\"role\":\"model\"}]}",
     "messages.reasoning "},
};

static const struct refused_case refused[] = {
    {"arguments that are a list", G3, MSG(USER "," CALLS(FN("f", "[1]", "c")) "," RESULT("c", "1")),
     "messages[1].tool_calls[0]"},
    {"broken arguments", G3,
     MSG(USER "," CALLS(FN("f", "{}", "b") "," FN("f", "{\\\"a\\\":", "c")) "," RESULT(
         "b", "1") "," RESULT("c", "1")),
     "messages[1].tool_calls[1]"},
    {"a call with unknown members", G3,
     MSG("{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":"
         "{\"name\":"
         "\"f\",\"arguments\":\"{}\"},\"x\":1}]}," RESULT("c", "1")),
     "messages[0].tool_calls[0]"},
    {"a missing result", G3,
     MSG(CALLS(FN("f", "{}", "a") "," FN("f", "{}", "b")) "," RESULT("a", "1") "," USER),
     "messages[0].tool_calls"},
    {"no result at all", G3, MSG(CALLS(FN("f", "{}", "a")) "," USER), "messages[0].tool_calls"},
    {"calls at the end", G3, MSG(USER "," CALLS(FN("f", "{}", "a"))), "messages[1].tool_calls"},
    {"a result of nothing", G3, MSG(USER "," RESULT("a", "1")), "messages[1].tool_call_id"},
    {"a result twice", G3, MSG(CALLS(FN("f", "{}", "a")) "," RESULT("a", "1") "," RESULT("a", "1")),
     "messages[2].tool_call_id"},
    {"an image in a result before Gemini 3", G2,
     MSG(CALLS(FN("f", "{}",
                  "c")) ",{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":[{\"type\":"
                        "\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}}]}"),
     "messages[1].content[0]"},
    {"an address in a result", G3,
     MSG(CALLS(
         FN("f", "{}", "c")) ",{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":[{\"type\":"
                             "\"image_url\",\"image_url\":{\"url\":\"https://a/b.png\"}}]}"),
     "messages[1].content[0]"},
};

static void test_pass(void **state)
{
    check_sent(pass, COUNT_OF(pass));
}

static void test_refused(void **state)
{
    check_refused(refused, COUNT_OF(refused));
}

static void test_no_memory(void **state)
{
    check_no_memory(pass, COUNT_OF(pass));
}

/* --- twelve calls, one after the other -------------------------------------------------------- */

#define HOPS 12

/* A client's history of a chain: every third step has two calls, the first six steps are signed. */
static void write_chain(struct buf *in)
{
    struct err e;
    bool ok = buf_add(in, SPAN("\"messages\":[" USER), &e);
    for (int i = 0; ok && i < HOPS; i++) {
        ok = buf_addf(
            in, &e,
            ",{\"role\":\"assistant\",\"content\":\"step %d\",\"tool_calls\":[{\"id\":\"call_%d\","
            "\"type\":\"function\",\"function\":{\"name\":\"tool_%d\",\"arguments\":\"{\\\"at\\\": "
            "%d}\"}",
            i, i, i, i);
        if (i < 6)
            ok = ok &&
                 buf_addf(in, &e,
                          ",\"extra_content\":{\"google\":{\"thought_signature\":\"sig_%d\"}}", i);
        ok = ok && buf_add_char(in, '}', &e);
        if (i % 3 == 0)
            ok = ok && buf_addf(in, &e, "," FN("again", "{}", "more_%d"), i);
        ok = ok && buf_add(in, SPAN("]}"), &e);
        if (i % 3 == 0) /* comes first, but is the second call's */
            ok = ok && buf_addf(in, &e, "," RESULT("more_%d", "more of %d"), i, i);
        ok = ok && buf_addf(in, &e, "," RESULT("call_%d", "result of %d"), i, i);
    }
    assert_true(ok && buf_add_char(in, ']', &e));
}

static json_val *at(json_val *v, size_t index)
{
    struct json_iter it = json_iter_of(v);
    struct span key;
    json_val *x = NULL;
    for (size_t i = 0; i <= index; i++)
        assert_true(json_next(&it, &key, &x));
    return x;
}

static void check_str(json_val *v, const char *fmt, int i)
{
    char want[64];
    snprintf(want, sizeof want, fmt, i);
    if (!span_eq(json_str(v), span_of(want)))
        fail_msg("%.*s is not %s", SPAN_ARG(json_str(v)), want);
}

static void check_step(json_val *contents, int i, bool gemini3)
{
    json_val *model = at(contents, 1 + 2 * (size_t)i), *user = at(contents, 2 + 2 * (size_t)i);
    json_val *calls = json_get(model, "parts"), *results = json_get(user, "parts");
    size_t n = i % 3 == 0 ? 2 : 1;
    int64_t x;
    assert_true(span_eq(json_str(json_get(model, "role")), SPAN("model")));
    assert_true(span_eq(json_str(json_get(user, "role")), SPAN("user")));
    assert_true(json_count(calls) == n + 1 && json_count(results) == n);
    check_str(json_get(at(calls, 0), "text"), "step %d", i);
    json_val *part = at(calls, 1), *call = json_get(part, "functionCall");
    json_val *result = json_get(at(results, 0), "functionResponse");
    check_str(json_get(call, "name"), "tool_%d", i);
    check_str(json_get(result, "name"), "tool_%d", i);
    assert_true(json_i64(json_get(json_get(call, "args"), "at"), &x) && x == i);
    check_str(json_get(json_get(result, "response"), "result"), "result of %d", i);
    if (gemini3) {
        check_str(json_get(call, "id"), "call_%d", i);
        check_str(json_get(result, "id"), "call_%d", i);
    } else {
        assert_true(!json_get(call, "id") && !json_get(result, "id"));
    }
    if (i < 6)
        check_str(json_get(part, "thoughtSignature"), "sig_%d", i);
    else if (gemini3)
        check_str(json_get(part, "thoughtSignature"), "skip_thought_signature_validator", i);
    else
        assert_null(json_get(part, "thoughtSignature"));
    if (n == 1)
        return;
    assert_null(json_get(at(calls, 2), "thoughtSignature"));
    check_str(json_get(json_get(at(calls, 2), "functionCall"), "name"), "again", i);
    result = json_get(at(results, 1), "functionResponse");
    check_str(json_get(json_get(result, "response"), "result"), "more of %d", i);
}

static void test_chain(void **state)
{
    static const char *const models[] = {G2, G3};
    for (size_t m = 0; m < COUNT_OF(models); m++) {
        AUTO(arena) a = arena_new(0);
        struct dialect_notes notes = {0};
        struct buf in, out;
        struct err e = {0};
        json_val *root;
        buf_init(&in, MIB(1));
        buf_init(&out, MIB(1));
        write_chain(&in);
        assert_true(buf_add_char(&in, '\0', &e));
        if (!send(a, buf_span(&in).p, models[m], &out, &notes, &e))
            fail_msg("%s: %s", e.param, e.msg);
        assert_true(json_parse(a, buf_span(&out), &root, &e));
        json_val *contents = json_get(root, "contents");
        assert_int_equal(json_count(contents), 1 + 2 * HOPS);
        for (int i = 0; i < HOPS; i++)
            check_step(contents, i, m == 1);
        assert_int_equal(notes.n, 0);
        buf_done(&in);
        buf_done(&out);
    }
}

static const struct chat_part hi = {.kind = CHAT_PART_TEXT, .text = SPAN_INIT("hi")};

/* Twenty thousand calls in one turn, with their signatures beside them, results in reverse order.
 */
static void test_large(void **state)
{
    enum { N = 20000 };
    AUTO(arena) a = arena_new(0);
    struct chat_part *parts = arena_array(a, 2 * N, sizeof *parts);
    struct chat_message *messages = arena_array(a, N + 1, sizeof *messages);
    struct chat_request r = {.max_tokens = -1, .n = 1, .parallel_tool_calls = -1};
    struct dialect_target t = {.model = SPAN(G3), .dialect = SPAN("gemini")};
    struct buf out;
    struct err e = {0};
    assert_true(parts && messages);
    for (size_t i = 0; i < N; i++) {
        struct span id = arena_printf(a, "id%zu", i);
        parts[i] = (struct chat_part){.kind = CHAT_PART_REASONING,
                                      .id = id,
                                      .signature = SPAN("S"),
                                      .format = CHAT_SIGNED_GEMINI};
        parts[N + i] = (struct chat_part){
            .kind = CHAT_PART_TOOL_CALL, .id = id, .name = SPAN("f"), .arguments = SPAN("{}")};
        messages[N - i] = (struct chat_message){
            .role = CHAT_TOOL, .tool_call_id = id, .parts = &hi, .n_parts = 1};
    }
    messages[0] = (struct chat_message){.role = CHAT_ASSISTANT, .parts = parts, .n_parts = 2 * N};
    r.messages = messages;
    r.n_messages = N + 1;
    buf_init(&out, MIB(16));
    assert_true(dialect_gemini.write_request(&r, &t, &out, NULL, &e));
    assert_true(span_index(buf_span(&out), SPAN("id19999")) < out.n);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pass),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_chain),     cmocka_unit_test(test_large),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
