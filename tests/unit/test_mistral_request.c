/* tests/unit/test_mistral_request.c - what Mistral gets for requests that came by Chat Completions
 * or by another dialect: each field, the order of messages, ids of calls; what is refused and what
 * is left out and listed; running out of memory at each allocation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "dialect/dialect.h"
#include "json/json.h"

#define HI             "{\"role\":\"user\",\"content\":\"hi\"}"
#define SENT_HI        "{\"content\":\"hi\",\"role\":\"user\"}"
#define MSG            "\"model\":\"m\",\"messages\":[" HI "]"
#define SENT_MSG       "\"messages\":[" SENT_HI "],\"model\":\"up\""
#define ALL(list)      "{\"model\":\"m\",\"messages\":[" list "]}"
#define SENT_ALL(list) "{\"messages\":[" list "],\"model\":\"up\"}"
#define TOOL           "{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"
#define SENT_TOOL                                                                                  \
    "{\"function\":{\"name\":\"f\",\"parameters\":{\"properties\":{},\"type\":\"object\"}},"       \
    "\"type\":\"function\"}"
#define PART(part)      ALL("{\"role\":\"user\",\"content\":[" part "]}")
#define SENT_PART(part) SENT_ALL("{\"content\":[" part "],\"role\":\"user\"}")
#define CALL(id)                                                                                   \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}"
#define SENT_CALL(id)                                                                              \
    "{\"function\":{\"arguments\":\"{}\",\"name\":\"f\"},\"id\":\"" id "\",\"type\":\"function\"}"
#define CALLS(list)      "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" list "]}"
#define SENT_CALLS(list) "{\"content\":\"\",\"role\":\"assistant\",\"tool_calls\":[" list "]}"
#define RESULT(id)       "{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"r\"}"
#define SENT_RESULT(id)  "{\"content\":\"r\",\"role\":\"tool\",\"tool_call_id\":\"" id "\"}"
#define BRIDGE           "{\"content\":\"OK.\",\"role\":\"assistant\"}"
#define A9               "abcdefghi"
#define B9               "ABCDEFG12"

/* In, what is sent in canonical form, and the notes, one behind the other. */
static const struct {
    const char *name, *in, *want, *notes;
} sent[] = {
    {"plain", "{" MSG "}", "{" SENT_MSG "}", ""},
    {"sampling",
     "{" MSG ",\"max_completion_tokens\":9,\"seed\":7.0,\"temperature\":1.50,\"top_p\":0.9,"
     "\"presence_penalty\":1,\"frequency_penalty\":-1,\"stop\":\"x\"}",
     "{\"frequency_penalty\":-1,\"max_tokens\":9," SENT_MSG
     ",\"presence_penalty\":1,\"random_seed\":7,\"stop\":[\"x\"],\"temperature\":1.5,\"top_p\":0."
     "9}",
     ""},
    {"hints stay behind",
     "{" MSG ",\"user\":\"u\",\"store\":true,\"stream_options\":{\"x\":1,\"include_usage\":true},"
     "\"service_tier\":\"flex\",\"metadata\":{\"k\":1},\"verbosity\":\"medium\"}",
     "{"
     "\"messages\":[" SENT_HI "],\"metadata\":{\"k\":1},\"model\":\"up\"}",
     "verbosity store stream_options.x service_tier user "},
    {"Mistral's own fields",
     "{" MSG ",\"safe_prompt\":true,\"prompt_mode\":\"reasoning\",\"guardrails\":[],"
     "\"prediction\":{\"type\":\"content\",\"content\":\"x\"},\"prompt_cache_key\":\"k\","
     "\"service_tier\":\"standard_only\"}",
     "{\"guardrails\":[]," SENT_MSG ",\"prediction\":{\"content\":\"x\",\"type\":\"content\"},"
     "\"prompt_cache_key\":\"k\",\"prompt_mode\":\"reasoning\",\"safe_prompt\":true,"
     "\"service_tier\":\"standard_only\"}",
     ""},
    {"effort none", "{" MSG ",\"reasoning_effort\":\"none\"}",
     "{" SENT_MSG ",\"reasoning_effort\":\"none\"}", ""},
    {"effort minimal", "{" MSG ",\"reasoning_effort\":\"minimal\"}",
     "{" SENT_MSG ",\"reasoning_effort\":\"none\"}", "reasoning_effort "},
    {"effort medium", "{" MSG ",\"reasoning_effort\":\"medium\"}",
     "{" SENT_MSG ",\"reasoning_effort\":\"high\"}", "reasoning_effort "},
    {"effort high", "{" MSG ",\"reasoning_effort\":\"high\"}",
     "{" SENT_MSG ",\"reasoning_effort\":\"high\"}", ""},
    {"a budget", "{" MSG ",\"reasoning\":{\"max_tokens\":9,\"summary\":\"auto\"}}",
     "{" SENT_MSG ",\"reasoning_effort\":\"high\"}", "reasoning.max_tokens reasoning.summary "},
    {"tools",
     "{" MSG ",\"tools\":[" TOOL ",{\"type\":\"function\",\"cache_control\":{\"type\":"
     "\"ephemeral\"},\"function\":{\"name\":\"g\",\"description\":\"d\",\"strict\":true,"
     "\"parameters\":{\"type\":\"object\"}}},{\"type\":\"web_search\"}],\"tool_choice\":"
     "\"required\",\"parallel_tool_calls\":false}",
     "{" SENT_MSG ",\"parallel_tool_calls\":false,\"tool_choice\":\"any\",\"tools\":[" SENT_TOOL
     ",{\"function\":{\"description\":\"d\",\"name\":\"g\",\"parameters\":{\"type\":\"object\"},"
     "\"strict\":true},\"type\":\"function\"},{\"type\":\"web_search\"}]}",
     "cache_control "},
    {"a named tool", "{" MSG ",\"tools\":[" TOOL "],\"tool_choice\":" TOOL "}",
     "{" SENT_MSG ",\"tool_choice\":{\"function\":{\"name\":\"f\"},\"type\":\"function\"},"
     "\"tools\":[" SENT_TOOL "]}",
     ""},
    {"a choice without tools says nothing",
     "{" MSG ",\"tool_choice\":\"auto\",\"parallel_tool_calls\":true}", "{" SENT_MSG "}", ""},
    {"a format",
     "{" MSG ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
     "\"strict\":true,\"schema\":{}}}}",
     "{" SENT_MSG ",\"response_format\":{\"json_schema\":{\"name\":\"n\",\"schema\":{},"
     "\"strict\":true},\"type\":\"json_schema\"}}",
     ""},

    /* parts */
    {"text in parts",
     PART("{\"type\":\"text\",\"text\":\"hi\",\"cache_control\":{\"type\":"
          "\"ephemeral\",\"ttl\":\"1h\"}}"),
     SENT_ALL(SENT_HI), "cache_control "},
    {"images",
     PART("{\"type\":\"text\",\"text\":\"t\"},{\"type\":\"image_url\",\"image_url\":{\"url\":"
          "\"https://x\",\"detail\":\"low\"}},{\"type\":\"image_url\",\"image_url\":\"data:image/"
          "png;base64,AA\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://y\","
          "\"detail\":\"original\"}}"),
     SENT_PART("{\"text\":\"t\",\"type\":\"text\"},{\"image_url\":{\"detail\":\"low\",\"url\":"
               "\"https://x\"},\"type\":\"image_url\"},{\"image_url\":{\"url\":\"data:image/"
               "png;base64,AA\"},\"type\":\"image_url\"},{\"image_url\":{\"url\":\"https://y\"},"
               "\"type\":\"image_url\"}"),
     "image_url.detail "},
    {"documents",
     PART("{\"type\":\"file\",\"file\":{\"file_data\":\"data:application/pdf;base64,AA\","
          "\"filename\":\"a.pdf\"}},{\"type\":\"document_url\",\"document_url\":\"https://x\","
          "\"document_name\":\"n\"},{\"type\":\"file\",\"file_id\":"
          "\"00000000-1111-2222-aAaA-444444444444\"}"),
     SENT_PART("{\"document_name\":\"a.pdf\",\"document_url\":\"data:application/pdf;base64,AA\","
               "\"type\":\"document_url\"},{\"document_name\":\"n\",\"document_url\":\"https://x\","
               "\"type\":\"document_url\"},{\"file_id\":\"00000000-1111-2222-aAaA-444444444444\","
               "\"type\":\"file\"}"),
     ""},
    {"audio and a reference",
     PART("{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AA\",\"format\":\"wav\"}},{"
          "\"type\":\"input_audio\",\"input_audio\":\"https://x\"},{\"type\":\"reference\","
          "\"reference_ids\":[1]}"),
     SENT_PART("{\"input_audio\":\"AA\",\"type\":\"input_audio\"},{\"input_audio\":\"https://x\","
               "\"type\":\"input_audio\"},{\"reference_ids\":[1],\"type\":\"reference\"}"),
     ""},
    {"a system prompt that shows how to think",
     ALL("{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":"
         "\"thinking\",\"thinking\":[],\"closed\":true}]}," HI),
     SENT_ALL("{\"content\":[{\"text\":\"a\",\"type\":\"text\"},{\"closed\":true,\"thinking\":[],"
              "\"type\":\"thinking\"}],\"role\":\"system\"}," SENT_HI),
     ""},

    /* reasoning */
    {"thinking goes back as it came",
     ALL("{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":"
         "\"text\",\"text\":\"h\"},{\"type\":\"reference\",\"reference_ids\":[1]}],\"signature\":"
         "\"s\"},{\"type\":\"text\",\"text\":\"a\"}]}," HI),
     SENT_ALL("{\"content\":[{\"signature\":\"s\",\"thinking\":[{\"text\":\"h\",\"type\":"
              "\"text\"},{\"reference_ids\":[1],\"type\":\"reference\"}],\"type\":\"thinking\"},{"
              "\"text\":\"a\",\"type\":\"text\"}],\"role\":\"assistant\"}," SENT_HI),
     ""},
    {"thinking that clients know as reasoning",
     ALL("{\"role\":\"assistant\",\"content\":\"a\",\"reasoning\":\"h\"},{\"role\":\"assistant\","
         "\"content\":\"b\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"i\","
         "\"signature\":\"s\",\"format\":\"mistral-thinking-v1\"}]}," HI),
     SENT_ALL("{\"content\":[{\"closed\":true,\"thinking\":[{\"text\":\"h\",\"type\":\"text\"}],"
              "\"type\":\"thinking\"},{\"text\":\"a\",\"type\":\"text\"}],\"role\":\"assistant\"},"
              "{\"content\":[{\"closed\":true,\"signature\":\"s\",\"thinking\":[{\"text\":\"i\","
              "\"type\":\"text\"}],\"type\":\"thinking\"},{\"text\":\"b\",\"type\":\"text\"}],"
              "\"role\":\"assistant\"}," SENT_HI),
     ""},
    {"others' reasoning stays behind",
     ALL("{\"role\":\"assistant\",\"content\":\"a\",\"reasoning_details\":[{\"type\":\"reasoning."
         "text\",\"text\":\"h\",\"signature\":\"s\",\"format\":\"anthropic-claude-v1\"},{\"type\":"
         "\"reasoning.encrypted\",\"data\":\"d\"}]}," HI),
     SENT_ALL("{\"content\":\"a\",\"role\":\"assistant\"}," SENT_HI), "messages.reasoning "},

    /* roles */
    {"developer, names, consecutive system messages",
     ALL("{\"role\":\"developer\",\"content\":\"d\"},{\"role\":\"system\",\"content\":\"s\"},{"
         "\"role\":\"user\",\"content\":\"hi\",\"name\":\"n\"}"),
     SENT_ALL("{\"content\":\"d\",\"role\":\"system\"},{\"content\":\"s\",\"role\":\"system\"}"
              "," SENT_HI),
     "messages.name "},
    {"a system message behind an answer",
     ALL(HI ",{\"role\":\"assistant\",\"content\":\"a\"},{\"role\":\"system\",\"content\":\"s\"},"
            "{\"role\":\"system\",\"content\":\"t\"}"),
     SENT_ALL(SENT_HI ",{\"content\":\"a\",\"role\":\"assistant\"},{\"content\":\"s\",\"role\":"
                      "\"user\"},{\"content\":\"t\",\"role\":\"system\"}"),
     "messages.role "},
    {"an empty answer is none",
     ALL(HI ",{\"role\":\"assistant\",\"content\":\"\",\"prefix\":false}," HI),
     SENT_ALL(SENT_HI "," SENT_HI), ""},
    {"a refusal is what it said",
     ALL("{\"role\":\"assistant\",\"content\":null,\"refusal\":\"no\"}," HI),
     SENT_ALL("{\"content\":\"no\",\"role\":\"assistant\"}," SENT_HI), ""},
    {"a prefix",
     ALL(HI ",{\"role\":\"assistant\",\"content\":\"a\",\"prefix\":true,\"annotations\":[]}"),
     SENT_ALL(SENT_HI ",{\"content\":\"a\",\"prefix\":true,\"role\":\"assistant\"}"),
     "annotations "},

    /* calls */
    {"own ids stay, a user behind a result",
     ALL(HI "," CALLS(CALL(A9) "," CALL(B9)) "," RESULT(B9) "," RESULT(A9) "," HI),
     SENT_ALL(SENT_HI "," SENT_CALLS(SENT_CALL(A9) "," SENT_CALL(B9)) "," SENT_RESULT(
         B9) "," SENT_RESULT(A9) "," BRIDGE "," SENT_HI),
     ""},
    {"a system message behind a result",
     ALL(CALLS(CALL(A9)) "," RESULT(A9) ",{\"role\":\"system\",\"content\":\"s\"}"),
     SENT_ALL(SENT_CALLS(SENT_CALL(A9)) "," SENT_RESULT(
         A9) "," BRIDGE ",{\"content\":\"s\",\"role\":\"user\"}"),
     "messages.role "},
    {"an empty answer between a call and its result",
     ALL(CALLS(CALL(A9)) ",{\"role\":\"assistant\",\"content\":\"\"}," RESULT(A9)),
     SENT_ALL(SENT_CALLS(SENT_CALL(A9)) "," SENT_RESULT(A9)), ""},
    {"an id that is used again",
     ALL(CALLS(CALL(A9)) "," RESULT(A9) "," CALLS(CALL(A9)) "," RESULT(A9)),
     SENT_ALL(SENT_CALLS(SENT_CALL(A9)) "," SENT_RESULT(A9) "," SENT_CALLS(
         SENT_CALL(A9)) "," SENT_RESULT(A9)),
     ""},
    {"text beside a call, a named result",
     ALL("{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[{\"id\":\"" A9
         "\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}},\"extra_content\":{\"google\":{"
         "\"thought_signature\":\"s\"}}}]},{\"role\":\"tool\",\"tool_call_id\":\"" A9
         "\",\"name\":\"f\",\"content\":[{\"type\":\"text\",\"text\":\"r\"}]}"),
     SENT_ALL("{\"content\":\"x\",\"role\":\"assistant\",\"tool_calls\":[{\"function\":{"
              "\"arguments\":\"{\\\"a\\\":1}\",\"name\":\"f\"},\"id\":\"" A9
              "\",\"type\":\"function\"}]},{\"content\":\"r\",\"name\":\"f\",\"role\":\"tool\","
              "\"tool_call_id\":\"" A9 "\"}"),
     "messages.reasoning "},
};

static const struct {
    const char *in, *param, *says;
} wrong[] = {
    {"{" MSG ",\"temperature\":1.6}", "temperature", "1.5"},
    {"{" MSG ",\"seed\":-1}", "seed", "0 or more"},
    {"{" MSG ",\"top_k\":5}", "top_k", "leave it out"},
    {"{" MSG ",\"verbosity\":\"low\"}", "verbosity", "leave it out"},
    {"{" MSG ",\"reasoning_effort\":\"wild\"}", "reasoning_effort", "none or high"},
    {"{" MSG ",\"logit_bias\":{}}", "logit_bias", "leave it out"},
    {"{" MSG ",\"web_search_options\":{}}", "web_search_options", "leave it out"},
    {"{" MSG ",\"tools\":[" TOOL "],\"tool_choice\":{\"type\":\"allowed_tools\"}}", "tool_choice",
     "leave it out"},
    {"{" MSG ",\"tools\":[{\"type\":\"openrouter:web_search\"}]}", "tools[0]", "kind"},
    {"{" MSG ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"x\":1}}]}",
     "tools[0].x", "not known"},
    {"{" MSG ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\"}}}",
     "response_format.json_schema.schema", "missing"},
    {PART("{\"type\":\"video_url\"}"), "messages[0].content[0]", "kind"},
    {PART("{\"type\":\"text\",\"text\":\"t\"},{\"type\":\"text\",\"text\":\"t\",\"x\":1}"),
     "messages[0].content[1].x", "not known"},
    {PART("{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x\",\"format\":\"png\"}}"),
     "messages[0].content[0].format", "not known"},
    {PART("{\"type\":\"file\",\"file\":{\"file_id\":\"file-abc\"}}"), "messages[0].content[0]",
     "UUID"},
    {PART("{\"type\":\"file\",\"file\":{\"file_data\":\"AAAA\"}}"), "messages[0].content[0]",
     "data: URL"},
    {ALL("{\"role\":\"system\",\"content\":[{\"type\":\"image_url\",\"image_url\":\"https://"
         "x\"}]}"),
     "messages[0].content[0]", "must be text"},
    {ALL("{\"role\":\"user\",\"content\":\"x\",\"prefix\":true}"), "messages[0].prefix",
     "last one"},
    {ALL("{\"role\":\"assistant\",\"content\":\"x\",\"prefix\":true}," HI), "messages[0].prefix",
     "last one"},
    {ALL("{\"role\":\"assistant\",\"content\":\"\",\"x\":1}," HI), "messages[0].x", "leave it out"},
    {ALL(HI ",{\"role\":\"assistant\",\"content\":\"x\"}"), "messages[1].role", "prefix"},
    {ALL("{\"role\":\"assistant\",\"content\":\"\"}"), "messages", "hold nothing"},
    {ALL(RESULT("x")), "messages[0].tool_call_id", "answers no call"},
    {ALL(CALLS(CALL("x")) "," HI), "messages[0].tool_calls", "1 results too few"},
    {ALL(HI "," CALLS(CALL("x") "," CALL("y")) "," RESULT("x")), "messages[1].tool_calls",
     "1 results too few"},
    {ALL(CALLS(CALL("x")) "," RESULT("x") "," RESULT("x")), "messages[2].tool_call_id",
     "has its result"},
    {ALL(CALLS(CALL("x")) "," RESULT("x") "," CALLS(CALL("y")) "," RESULT("x")),
     "messages[3].tool_call_id", "answers no call"},
    {ALL(CALLS(CALL("x") "," CALL("x"))), "messages[0].tool_calls", "twice"},
};

static const struct dialect_target target = {
    .model = SPAN_INIT("up"), .dialect = SPAN_INIT("mistral"), .unary = true};

static void canonical_of(struct span json, struct buf *out)
{
    AUTO(arena) a = arena_new(0);
    struct err e = {0};
    json_val *v;
    buf_clear(out);
    if (!json_parse(a, json, &v, &e) || !json_canonical(out, v, &e))
        fail_msg("%s in %.*s", e.msg, SPAN_ARG(json));
}

static void check(const char *name, const struct chat_request *r, const char *want,
                  const char *want_notes)
{
    struct dialect_notes notes = {0};
    struct buf out, text;
    struct err e = {0};
    buf_init(&out, MIB(1));
    buf_init(&text, MIB(1));
    if (!dialect_mistral.write_request(r, &target, &out, &notes, &e))
        fail_msg("%s: %s", name, e.msg);
    canonical_of(buf_span(&out), &text);
    if (want && !span_eq(buf_span(&text), span_of(want)))
        fail_msg("%s:\n got %.*s\nwant %s", name, SPAN_ARG(buf_span(&text)), want);
    buf_clear(&text);
    for (size_t i = 0; i < notes.n; i++)
        assert_true(buf_addf(&text, &e, "%.*s ", SPAN_ARG(notes.ignored[i])));
    if (!span_eq(buf_span(&text), span_of(want_notes)))
        fail_msg("%s: noted %.*s, want %s", name, SPAN_ARG(buf_span(&text)), want_notes);
    buf_done(&out);
    buf_done(&text);
}

static void test_sent(void **state)
{
    for (size_t i = 0; i < COUNT_OF(sent); i++) {
        AUTO(arena) a = arena_new(0);
        struct chat_request r;
        struct err e = {0};
        if (!dialect_openai_chat.read_request(a, span_of(sent[i].in), &r, &e))
            fail_msg("%s: %s", sent[i].name, e.msg);
        check(sent[i].name, &r, sent[i].want, sent[i].notes);
    }
}

static void test_wrong(void **state)
{
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        AUTO(arena) a = arena_new(0);
        struct chat_request r;
        struct buf out;
        struct err e = {0};
        buf_init(&out, MIB(1));
        assert_true(buf_add(&out, SPAN("kept"), &e));
        if (!dialect_openai_chat.read_request(a, span_of(wrong[i].in), &r, &e))
            fail_msg("%s: %s", wrong[i].in, e.msg);
        bool ok = dialect_mistral.write_request(&r, &target, &out, NULL, &e);
        if (ok || strcmp(e.param, wrong[i].param) != 0 || !strstr(e.msg, wrong[i].says))
            fail_msg("%s: %s, param %s, %s", wrong[i].in, ok ? "taken" : "refused", e.param, e.msg);
        assert_int_equal(e.status, 400);
        assert_true(span_eq(buf_span(&out), SPAN("kept")));
        buf_done(&out);
    }
}

/* A request that came by another dialect: nothing of it is taken for Mistral's own. */
static void test_other_dialect(void **state)
{
    static const struct chat_part answer[] = {
        {.kind = CHAT_PART_REASONING, .text = SPAN_INIT("plain")},
        {.kind = CHAT_PART_REASONING,
         .text = SPAN_INIT("signed"),
         .signature = SPAN_INIT("S"),
         .format = SPAN_INIT("anthropic-claude-v1")},
        {.kind = CHAT_PART_TOOL_CALL, .id = SPAN_INIT(A9), .name = SPAN_INIT("f")},
    };
    static const struct chat_part result[] = {
        {.kind = CHAT_PART_TEXT, .text = SPAN_INIT("broke"), .cache_mark = true}};
    static const struct chat_part question[] = {
        {.kind = CHAT_PART_DOCUMENT, .text = SPAN_INIT("log")}};
    static const struct chat_message messages[] = {
        {.role = CHAT_ASSISTANT, .parts = answer, .n_parts = 3},
        {.role = CHAT_TOOL,
         .tool_call_id = SPAN_INIT(A9),
         .tool_failed = true,
         .parts = result,
         .n_parts = 1},
        {.role = CHAT_USER, .parts = question, .n_parts = 1}};
    static const struct chat_extra extras[] = {
        {.name = SPAN_INIT("prompt_cache_key"), .json = SPAN_INIT("\"k\""), .hint = true}};
    struct chat_request r = {.dialect = SPAN("anthropic_messages"),
                             .model = SPAN("m"),
                             .messages = messages,
                             .n_messages = 3,
                             .max_tokens = 9,
                             .parallel_tool_calls = -1,
                             .n = 1,
                             .metadata = SPAN("{}"),
                             .extras = extras,
                             .n_extras = 1};
    check("anthropic", &r,
          "{\"max_tokens\":9,\"messages\":[" SENT_CALLS(
              SENT_CALL(A9)) ",{\"content\":\"broke\","
                             "\"role\":\"tool\",\"tool_call_id\":\"" A9 "\"}," BRIDGE
                             ",{\"content\":[{\"text\":"
                             "\"log\",\"type\":\"text\"}],\"role\":\"user\"}],\"model\":\"up\"}",
          "messages.reasoning messages.is_error cache_control prompt_cache_key metadata ");
    struct buf out;
    struct err e = {0};
    buf_init(&out, KIB(4));
    const struct chat_extra unknown = {.name = SPAN("safe_prompt"), .json = SPAN("true")};
    r.extras = &unknown;
    assert_false(dialect_mistral.write_request(&r, &target, &out, NULL, &e));
    assert_string_equal(e.param, "safe_prompt");
    r.n_extras = 0;
    r.logprobs = 1;
    assert_false(dialect_mistral.write_request(&r, &target, &out, NULL, &e));
    assert_string_equal(e.param, "logprobs");
    r.logprobs = 0;
    r.n = 2;
    assert_false(dialect_mistral.write_request(&r, &target, &out, NULL, &e));
    assert_string_equal(e.param, "n");
    buf_done(&out);
}

static void test_stream(void **state)
{
    struct dialect_target streamed = {.model = SPAN("up"), .dialect = SPAN("mistral")};
    AUTO(arena) a = arena_new(0);
    struct chat_request r;
    struct buf out;
    struct err e;
    buf_init(&out, KIB(4));
    assert_true(dialect_openai_chat.read_request(a, SPAN("{" MSG "}"), &r, &e));
    assert_true(dialect_mistral.write_request(&r, &streamed, &out, NULL, &e));
    assert_true(span_ends(buf_span(&out), SPAN(",\"stream\":true}")));
    buf_done(&out);
}

/* Many calls, of ids that Mistral does not take: each gets its own, the same in call and result,
 * the same in the next request. */
static void one_round(struct buf *in, struct buf *out, size_t n)
{
    struct err e = {0};
    AUTO(arena) a = arena_new(0);
    struct chat_request r;
    buf_clear(in);
    buf_clear(out);
    assert_true(buf_add(in,
                        SPAN("{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\","
                             "\"tool_calls\":["),
                        &e));
    for (size_t i = 0; i < n; i++)
        assert_true(buf_addf(in, &e,
                             "%s{\"id\":\"call_%zu\",\"function\":{\"name\":\"f\","
                             "\"arguments\":\"\"}}",
                             i ? "," : "", i));
    assert_true(buf_add(in, SPAN("]}"), &e));
    for (size_t i = n; i-- > 0;)
        assert_true(buf_addf(in, &e,
                             ",{\"role\":\"tool\",\"tool_call_id\":\"call_%zu\","
                             "\"content\":\"\"}",
                             i));
    assert_true(buf_add(in, SPAN("]}"), &e));
    assert_true(dialect_openai_chat.read_request(a, buf_span(in), &r, &e));
    if (!dialect_mistral.write_request(&r, &target, out, NULL, &e))
        fail_msg("%s", e.msg);
}

static void test_ids(void **state)
{
    enum { N = 20000 };
    struct buf in, out, again;
    struct err e;
    json_val *v, *item;
    struct span key;
    AUTO(arena) a = arena_new(0);
    AUTO(map) seen = map_new();
    buf_init(&in, MIB(16));
    buf_init(&out, MIB(16));
    buf_init(&again, MIB(16));
    one_round(&in, &out, N);
    one_round(&in, &again, N);
    assert_true(span_eq(buf_span(&out), buf_span(&again)));
    assert_true(json_parse(a, buf_span(&out), &v, &e));
    struct json_iter messages = json_iter_of(json_get(v, "messages"));
    assert_true(json_next(&messages, &key, &item));
    for (struct json_iter it = json_iter_of(json_get(item, "tool_calls"));
         json_next(&it, &key, &v);) {
        struct span id = json_str(json_get(v, "id"));
        assert_true(id.n == 9 && span_find(id, "_-") == 9 && !map_get(seen, id));
        assert_true(map_put(seen, id, v));
    }
    assert_int_equal(map_count(seen), N);
    for (size_t i = N; json_next(&messages, &key, &item);) {
        struct span id;
        (void)map_at(seen, --i, &id);
        assert_true(span_eq(id, json_str(json_get(item, "tool_call_id"))));
    }
    buf_done(&in);
    buf_done(&out);
    buf_done(&again);
}

/* Where a made id is what another call is called by its client. */
static void test_collision(void **state)
{
    struct buf in, out;
    struct err e;
    AUTO(arena) a = arena_new(0);
    struct chat_request r;
    buf_init(&in, KIB(4));
    buf_init(&out, KIB(4));
    one_round(&in, &out, 1);
    size_t at = span_index(buf_span(&out), SPAN("\"id\":\""));
    char made[10] = "";
    memcpy(made, buf_span(&out).p + at + 6, 9);
    buf_clear(&in);
    buf_clear(&out);
    assert_true(buf_addf(
        &in, &e, ALL(CALLS(CALL("call_0") "," CALL("%s")) "," RESULT("call_0") "," RESULT("%s")),
        made, made));
    assert_true(dialect_openai_chat.read_request(a, buf_span(&in), &r, &e));
    assert_true(dialect_mistral.write_request(&r, &target, &out, NULL, &e));
    size_t n = 0;
    for (struct span s = buf_span(&out); (at = span_index(s, span_of(made))) < s.n; n++)
        s = span_from(s, at + 9);
    assert_int_equal(n, 2);
    buf_done(&in);
    buf_done(&out);
}

static void test_no_memory(void **state)
{
    struct span in =
        SPAN("{\"model\":\"m\",\"temperature\":1,\"tools\":[" TOOL "],\"messages\":[" CALLS(
            CALL("x") "," CALL(A9)) "," RESULT("x") "," RESULT(A9) "," HI "]}");
    bool failed = true;
    for (unsigned long n = 1; failed; n++) {
        AUTO(arena) a = arena_new(0);
        struct chat_request r;
        struct buf out;
        struct err e = {0};
        buf_init(&out, KIB(64));
        assert_true(dialect_openai_chat.read_request(a, in, &r, &e));
        mem_fail_at(n);
        bool ok = dialect_mistral.write_request(&r, &target, &out, NULL, &e);
        failed = mem_failed();
        mem_fail_at(0);
        assert_true(ok == !failed);
        assert_true(ok || (e.cls == ERR_NOMEM && out.n == 0));
        buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sent),          cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_other_dialect), cmocka_unit_test(test_stream),
        cmocka_unit_test(test_ids),           cmocka_unit_test(test_collision),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
