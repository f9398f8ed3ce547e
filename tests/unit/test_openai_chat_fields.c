/* tests/unit/test_openai_chat_fields.c - the fields that clients of OpenRouter and Mistral send to
 * the Chat Completions route: which of them are carried, kept, or refused with what to do instead;
 * and what a request of another dialect becomes for an upstream of this one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "chat_log.h"
#include "json/json.h"

#define MSG      "\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define SENT_MSG "\"messages\":[{\"content\":\"hi\",\"role\":\"user\"}],\"model\":\"up\""
#define ONE(msg) "{\"model\":\"m\",\"messages\":[" msg "]}"

static const struct {
    const char *in, *param, *says;
} wrong[] = {
    {"{" MSG ",\"reasoning\":\"high\"}", "reasoning", "object"},
    {"{" MSG ",\"reasoning\":{\"effort\":3}}", "reasoning.effort", "string"},
    {"{" MSG ",\"reasoning\":{\"effort\":\"\"}}", "reasoning.effort", "empty"},
    {"{" MSG ",\"reasoning\":{\"max_tokens\":0}}", "reasoning.max_tokens", "1 or more"},
    {"{" MSG ",\"reasoning\":{\"enabled\":1}}", "reasoning.enabled", "true"},
    {"{" MSG ",\"reasoning\":{\"exclude\":\"no\"}}", "reasoning.exclude", "true"},
    {"{" MSG ",\"reasoning\":{\"depth\":1}}", "reasoning.depth", "leave"},
    {"{" MSG ",\"reasoning\":{\"effort\":\"low\",\"max_tokens\":9}}", "reasoning.max_tokens",
     "one of them"},
    {"{" MSG ",\"reasoning_effort\":\"low\",\"reasoning\":{\"max_tokens\":9}}",
     "reasoning.max_tokens", "one of them"},
    {"{" MSG ",\"reasoning\":{\"effort\":\"low\",\"enabled\":false}}", "reasoning.enabled",
     "reasoning_effort"},
    {"{" MSG ",\"reasoning\":{\"effort\":\"low\"},\"reasoning_effort\":\"high\"}",
     "reasoning_effort", "differs"},
    {"{" MSG ",\"models\":\"a\"}", "models", "list"},
    {"{" MSG ",\"models\":[\"a\",\"\"]}", "models[1]", "name of a model"},
    {"{" MSG ",\"models\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\","
     "\"12\",\"13\",\"14\",\"15\",\"16\",\"17\"]}",
     "models", "16"},
    {"{\"models\":[],\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", "model", "missing"},
    {"{" MSG ",\"provider\":\"mistral\"}", "provider", "object"},
    {"{" MSG ",\"session_id\":\"\"}", "session_id", "empty"},
    {"{" MSG ",\"prompt_cache_key\":7}", "prompt_cache_key", "string"},
    {"{" MSG ",\"transforms\":[\"middle-out\"]}", "transforms", "shorten"},
    {"{" MSG ",\"route\":\"sort\"}", "route", "leave it out"},
    {"{" MSG ",\"plugins\":{}}", "plugins", "list"},
    {"{" MSG ",\"plugins\":[\"web\"]}", "plugins[0]", "object"},
    {"{" MSG ",\"plugins\":[{\"enabled\":false}]}", "plugins[0].id", "missing"},
    {"{" MSG ",\"plugins\":[{\"id\":\"x\",\"enabled\":false},{\"id\":\"web\"}]}", "plugins[1].id",
     "as a tool"},
    {"{" MSG ",\"usage\":true}", "usage", "object"},
    {"{" MSG ",\"safe_prompt\":1}", "safe_prompt", "true"},
    {"{" MSG ",\"top_k\":1.5}", "top_k", "whole"},
    {"{" MSG ",\"top_k\":-2}", "top_k", "whole"},
    {"{" MSG ",\"random_seed\":\"a\"}", "random_seed", "whole"},
    {"{" MSG ",\"random_seed\":1,\"seed\":2}", "seed", "differs"},
    {"{" MSG ",\"verbosity\":1}", "verbosity", "string"},
    {ONE("{\"role\":\"user\",\"content\":[{\"type\":\"document_url\"}]}"),
     "messages[0].content[0].document_url", "missing"},
    {ONE("{\"role\":\"user\",\"content\":[{\"type\":\"document_url\",\"document_url\":"
         "\"file:///etc/passwd\"}]}"),
     "messages[0].content[0].document_url", "http"},
    {ONE("{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file_id\":7}]}"),
     "messages[0].content[0].file_id", "string"},
    {ONE("{\"role\":\"assistant\",\"content\":[],\"prefix\":false}"), "messages[0].content",
     "missing"},
    {ONE("{\"role\":\"user\",\"content\":[{\"type\":\"thinking\",\"thinking\":[]}]}"),
     "messages[0].content[0].type", "assistant"},
};

static void test_wrong(void **state)
{
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        AUTO(arena) a = arena_new(0);
        struct chat_request r;
        struct err e = {0};
        bool ok = dialect_openai_chat.read_request(a, span_of(wrong[i].in), &r, &e);
        if (ok || strcmp(e.param, wrong[i].param) != 0 || !strstr(e.msg, wrong[i].says))
            fail_msg("%s: %s, param %s, %s", wrong[i].in, ok ? "taken" : "refused", e.param, e.msg);
        assert_int_equal(e.status, 400);
    }
}

/* What an upstream of this dialect gets, in canonical form. */
static const struct {
    const char *name, *in, *want;
} sent[] = {
    {"what asks for nothing",
     "{" MSG ",\"transforms\":[],\"route\":\"fallback\",\"plugins\":[{\"id\":\"web\",\"enabled\":"
     "false}],\"usage\":{\"include\":true},\"safe_prompt\":false,\"prompt_mode\":null}",
     "{" SENT_MSG "}"},
    {"what is for our routing",
     "{" MSG ",\"models\":[\"b\",\"c\"],\"provider\":{\"order\":[\"x\"]},\"session_id\":\"s\"}",
     "{" SENT_MSG "}"},
    {"models alone",
     "{\"models\":[\"a\",\"b\"],\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
     "{" SENT_MSG "}"},
    {"sampling", "{" MSG ",\"top_k\":40,\"verbosity\":\"low\",\"random_seed\":7,\"seed\":7}",
     "{" SENT_MSG ",\"seed\":7,\"top_k\":40,\"verbosity\":\"low\"}"},
    {"an effort is the common word",
     "{" MSG ",\"reasoning\":{\"effort\":\"high\",\"exclude\":true,\"summary\":\"auto\"}}",
     "{" SENT_MSG ",\"reasoning_effort\":\"high\"}"},
    {"both say the same",
     "{" MSG ",\"reasoning\":{\"effort\":\"low\",\"enabled\":true},\"reasoning_effort\":\"low\"}",
     "{" SENT_MSG ",\"reasoning_effort\":\"low\"}"},
    {"switched on", "{" MSG ",\"reasoning\":{\"enabled\":true}}",
     "{" SENT_MSG ",\"reasoning_effort\":\"medium\"}"},
    {"switched off", "{" MSG ",\"reasoning\":{\"enabled\":false}}",
     "{" SENT_MSG ",\"reasoning_effort\":\"none\"}"},
    {"a budget", "{" MSG ",\"reasoning\":{\"max_tokens\":2000,\"enabled\":true,\"effort\":null}}",
     "{" SENT_MSG ",\"reasoning\":{\"max_tokens\":2000}}"},
    {"Mistral's own",
     "{" MSG ",\"safe_prompt\":true,\"prompt_mode\":\"reasoning\",\"guardrails\":[],"
     "\"prediction\":{\"type\":\"content\",\"content\":\"x\"},\"prompt_cache_key\":\"k\"}",
     "{\"guardrails\":[]," SENT_MSG ",\"prediction\":{\"content\":\"x\",\"type\":\"content\"},"
     "\"prompt_cache_key\":\"k\",\"prompt_mode\":\"reasoning\",\"safe_prompt\":true}"},
    {"Mistral's parts",
     ONE("{\"role\":\"user\",\"content\":[{\"type\":\"document_url\",\"document_url\":"
         "\"https://x/"
         "a.pdf\",\"document_name\":\"a\"},{\"type\":\"file\",\"file_id\":\"f\"},{"
         "\"type\":\"input_audio\",\"input_audio\":\"AA\"},{\"type\":\"reference\","
         "\"reference_ids\":[1]}]}"),
     "{\"messages\":[{\"content\":[{\"document_name\":\"a\",\"document_url\":\"https://x/"
     "a.pdf\",\"type\":\"document_url\"},{\"file_id\":\"f\",\"type\":\"file\"},{\"input_audio\":"
     "\"AA\",\"type\":\"input_audio\"},{\"reference_ids\":[1],\"type\":\"reference\"}],"
     "\"role\":\"user\"}],\"model\":\"up\"}"},
    {"Mistral's messages",
     ONE("{\"role\":\"system\",\"content\":[{\"type\":\"thinking\",\"thinking\":[]},{\"type\":"
         "\"text\",\"text\":\"t\"}]},{\"role\":\"assistant\",\"content\":[],\"prefix\":false,"
         "\"tool_calls\":[{\"id\":\"D681PevKs\",\"function\":{\"name\":\"f\",\"arguments\":{}},"
         "\"index\":0}]},{\"role\":\"assistant\",\"content\":\"x\",\"prefix\":true}"),
     "{\"messages\":[{\"content\":[{\"thinking\":[],\"type\":\"thinking\"},{\"text\":\"t\","
     "\"type\":\"text\"}],\"role\":\"system\"},{\"content\":null,\"role\":\"assistant\","
     "\"tool_calls\":[{\"function\":{\"arguments\":\"{}\",\"name\":\"f\"},\"id\":\"D681PevKs\","
     "\"type\":\"function\"}]},{\"content\":\"x\",\"prefix\":true,\"role\":\"assistant\"}],"
     "\"model\":\"up\"}"},
};

static void check_body(const char *name, const struct chat_request *r, const char *want,
                       struct dialect_notes *notes)
{
    static const struct dialect_target target = {
        .model = SPAN_INIT("up"), .dialect = SPAN_INIT("openai_chat"), .unary = true};
    AUTO(arena) a = arena_new(0);
    struct buf out, canonical;
    struct err e = {0};
    json_val *v;
    buf_init(&out, MIB(1));
    buf_init(&canonical, MIB(1));
    if (!dialect_openai_chat.write_request(r, &target, &out, notes, &e))
        fail_msg("%s: %s", name, e.msg);
    assert_true(json_parse(a, buf_span(&out), &v, &e) && json_canonical(&canonical, v, &e));
    if (!span_eq(buf_span(&canonical), span_of(want)))
        fail_msg("%s:\n got %.*s\nwant %s", name, SPAN_ARG(buf_span(&canonical)), want);
    buf_done(&out);
    buf_done(&canonical);
}

static void test_sent(void **state)
{
    for (size_t i = 0; i < COUNT_OF(sent); i++) {
        AUTO(arena) a = arena_new(0);
        struct dialect_notes notes = {0};
        struct chat_request r;
        struct err e = {0};
        if (!dialect_openai_chat.read_request(a, span_of(sent[i].in), &r, &e))
            fail_msg("%s: %s", sent[i].name, e.msg);
        check_body(sent[i].name, &r, sent[i].want, &notes);
    }
}

static void test_carried(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct chat_request r;
    struct err e;
    struct span in =
        SPAN("{" MSG ",\"models\":[\"b\",\"c\"],\"provider\":{\"order\":[\"x\"]},\"session_id\":"
             "\"s\",\"prompt_cache_key\":\"k\",\"reasoning\":{\"max_tokens\":2000,\"exclude\":true,"
             "\"summary\":\"auto\"},\"top_k\":40,\"verbosity\":\"low\"}");
    assert_true(dialect_openai_chat.read_request(a, in, &r, &e));
    assert_true(r.n_fallbacks == 2 && span_eq(r.fallbacks[1], SPAN("c")));
    assert_true(span_eq(r.routing, SPAN("{\"order\":[\"x\"]}")));
    assert_true(span_eq(r.session, SPAN("s")) && r.reasoning_tokens == 2000 && r.reasoning_hidden);
    assert_true(span_eq(r.reasoning_summary, SPAN("auto")) && span_eq(r.top_k, SPAN("40")));
    assert_true(span_eq(r.verbosity, SPAN("low")));
    assert_true(r.n_extras == 1 && r.extras[0].hint);
    in = SPAN("{\"prompt_cache_key\":\"k\",\"models\":[\"a\",\"b\"],\"messages\":[{\"role\":"
              "\"user\",\"content\":\"hi\"}]}");
    assert_true(dialect_openai_chat.read_request(a, in, &r, &e));
    assert_true(span_eq(r.session, SPAN("k")) && span_eq(r.model, SPAN("a")));
    assert_true(r.n_fallbacks == 1 && span_eq(r.fallbacks[0], SPAN("b")));
    in = SPAN(ONE("{\"role\":\"user\",\"content\":[{\"type\":\"document_url\",\"document_url\":"
                  "\"data:application/pdf;base64,AA\"}]}"));
    assert_true(dialect_openai_chat.read_request(a, in, &r, &e));
    const struct chat_part *p = r.messages[0].parts;
    assert_true(p->kind == CHAT_PART_DOCUMENT && !p->raw.p);
    assert_true(span_eq(p->media_type, SPAN("application/pdf")));
}

/* A request of another dialect: what this one has no word for is listed, never guessed. */
static void test_other_dialect(void **state)
{
    static const struct chat_part think[] = {
        {.kind = CHAT_PART_REASONING,
         .text = SPAN_INIT("signed"),
         .signature = SPAN_INIT("S"),
         .format = SPAN_INIT("anthropic-claude-v1")},
        {.kind = CHAT_PART_REASONING,
         .signature = SPAN_INIT("R"),
         .format = SPAN_INIT("anthropic-claude-v1")},
        {.kind = CHAT_PART_REASONING, .text = SPAN_INIT("plain")},
        {.kind = CHAT_PART_TOOL_CALL,
         .id = SPAN_INIT("c"),
         .name = SPAN_INIT("f"),
         .signature = SPAN_INIT("G"),
         .format = SPAN_INIT("google-gemini-v1")},
    };
    static const struct chat_part result[] = {
        {.kind = CHAT_PART_TEXT, .text = SPAN_INIT("broke")},
        {.kind = CHAT_PART_DOCUMENT, .text = SPAN_INIT("log"), .media_type = SPAN_INIT("t")}};
    static const struct chat_message messages[] = {
        {.role = CHAT_ASSISTANT, .parts = think, .n_parts = 4},
        {.role = CHAT_TOOL,
         .tool_call_id = SPAN_INIT("c"),
         .tool_failed = true,
         .parts = result,
         .n_parts = 2}};
    struct chat_request r = {.dialect = SPAN("anthropic_messages"),
                             .model = SPAN("m"),
                             .messages = messages,
                             .n_messages = 2,
                             .max_tokens = -1,
                             .parallel_tool_calls = -1,
                             .n = 1,
                             .top_k = SPAN("5"),
                             .reasoning_tokens = 1024,
                             .reasoning_summary = SPAN("auto")};
    struct dialect_notes notes = {0};
    check_body("anthropic", &r,
               "{\"messages\":[{\"content\":null,\"reasoning_content\":\"plain\",\"role\":"
               "\"assistant\",\"tool_calls\":[{\"function\":{\"arguments\":\"{}\",\"name\":\"f\"},"
               "\"id\":\"c\",\"type\":\"function\"}]},{\"content\":[{\"text\":\"broke\",\"type\":"
               "\"text\"},{\"text\":\"log\",\"type\":\"text\"}],\"role\":\"tool\",\"tool_call_id\":"
               "\"c\"}],\"model\":\"up\",\"top_k\":5}",
               &notes);
    static const char *const want[] = {"messages.reasoning", "messages.is_error",
                                       "reasoning.max_tokens", "reasoning.summary"};
    assert_int_equal(notes.n, COUNT_OF(want));
    for (size_t i = 0; i < COUNT_OF(want); i++)
        assert_true(span_eq(notes.ignored[i], span_of(want[i])));
}

/* A client that wants no reasoning gets none, in a stream and in one body. */
static void test_hidden(void **state)
{
    struct chat_request r = {.reasoning_hidden = true};
    struct dialect_reply reply = {.request = &r, .id = SPAN("i"), .model = SPAN("m"), .created = 1};
    const struct chat_event events[] = {
        {.kind = CHAT_EV_START},
        {.kind = CHAT_EV_REASONING, .text = SPAN("secret"), .signature = SPAN("sig")},
        {.kind = CHAT_EV_TEXT, .text = SPAN("open")},
        {.kind = CHAT_EV_FINISH}};
    struct dialect_writer *w = dialect_openai_chat.writer_new(&reply);
    struct chat_collect c;
    struct buf out;
    struct err e;
    buf_init(&out, KIB(64));
    chat_collect_init(&c, KIB(64));
    for (size_t i = 0; i < COUNT_OF(events); i++) {
        assert_true(dialect_openai_chat.write_event(w, &events[i], &out, &e));
        assert_true(chat_collect_event(&c, &events[i], &e));
    }
    assert_true(dialect_openai_chat.write_unary(&reply, &c, &out, &e));
    assert_true(span_index(buf_span(&out), SPAN("secret")) == out.n);
    assert_true(span_index(buf_span(&out), SPAN("sig")) == out.n);
    assert_true(span_index(buf_span(&out), SPAN("open")) < out.n);
    dialect_openai_chat.writer_free(w);
    chat_collect_done(&c);
    buf_done(&out);
}

static void test_no_memory(void **state)
{
    static const struct dialect_target target = {.dialect = SPAN_INIT("openai_chat")};
    for (size_t i = 0; i < COUNT_OF(sent); i++) {
        bool failed = true;
        for (unsigned long n = 1; failed; n++) {
            struct chat_request r;
            struct buf out;
            struct err e = {0};
            buf_init(&out, KIB(64));
            mem_fail_at(n);
            struct arena *a = arena_new(0);
            bool ok = a && dialect_openai_chat.read_request(a, span_of(sent[i].in), &r, &e) &&
                      dialect_openai_chat.write_request(&r, &target, &out, NULL, &e);
            failed = mem_failed();
            mem_fail_at(0);
            assert_true(ok == !failed);
            assert_true(ok || !a || e.cls == ERR_NOMEM);
            arena_free(a);
            buf_done(&out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong),   cmocka_unit_test(test_sent),
        cmocka_unit_test(test_carried), cmocka_unit_test(test_other_dialect),
        cmocka_unit_test(test_hidden),  cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
