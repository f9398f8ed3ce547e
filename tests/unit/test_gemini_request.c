/* tests/unit/test_gemini_request.c - requests of OpenAI's clients, as Gemini's upstream gets them:
 * contents, files, tools and their schemas, what steers the answer; what cannot be said, by name;
 * the path. Turns of tool calls: test_gemini_turns.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gemini_sent.h"

static const struct sent_case pass[] = {
    {"plain", G3, MSG(USER), "{\"contents\":[" HI "]}", ""},
    {"leading instructions", G3,
     MSG("{\"role\":\"system\",\"content\":\"a\"},{\"role\":\"developer\",\"content\":[{\"type\":"
         "\"text\","
         "\"text\":\"b\"},{\"type\":\"text\",\"text\":\"\"}]}," USER),
     "{\"contents\":[" HI
     "],\"systemInstruction\":{\"parts\":[{\"text\":\"a\"},{\"text\":\"b\"}]}}",
     ""},
    {"later instructions", G3,
     MSG(USER ",{\"role\":\"assistant\",\"content\":\"x\"},{\"role\":\"developer\",\"content\":"
              "\"a\"}," USER),
     "{\"contents\":[" HI
     ",{\"parts\":[{\"text\":\"x\"}],\"role\":\"model\"},{\"parts\":[{\"text\":\"a\"},"
     "{\"text\":\"hi\"}],\"role\":\"user\"}]}",
     ""},
    {"nothing but instructions", G3, MSG("{\"role\":\"system\",\"content\":\"a\"}"),
     "{\"contents\":[{\"parts\":[{\"text\":\"a\"}],\"role\":\"user\"}]}", ""},
    {"same role twice, names, empty text", G3,
     MSG(USER ",{\"role\":\"user\",\"name\":\"Bo\",\"content\":\"yo\"},{\"role\":\"assistant\","
              "\"content\":"
              "\"\"},{\"role\":\"assistant\",\"content\":null,\"refusal\":\"no\"}"),
     "{\"contents\":[{\"parts\":[{\"text\":\"hi\"},{\"text\":\"yo\"}],\"role\":\"user\"},{"
     "\"parts\":[{"
     "\"text\":\"no\"}],\"role\":\"model\"}]}",
     "messages.name "},
    {"images", G3,
     MSG("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:"
         "image/"
         "png;base64,AAAA\",\"detail\":\"high\"}},{\"type\":\"image_url\",\"image_url\":{\"url\":"
         "\"https:"
         "//x.de/a.JPG?q=1\"}},{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x.de/"
         "a\"}}]}"),
     "{\"contents\":[{\"parts\":[{\"inlineData\":{\"data\":\"AAAA\",\"mimeType\":\"image/png\"}},{"
     "\"fileData\":{\"fileUri\":\"https://x.de/a.JPG?q=1\",\"mimeType\":\"image/"
     "jpeg\"}},{\"fileData\":{"
     "\"fileUri\":\"https://x.de/a\"}}],\"role\":\"user\"}]}",
     "messages.detail "},
    {"documents and audio", G3,
     MSG("{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{\"file_data\":\"data:"
         "application/"
         "pdf;base64,AAAA\",\"filename\":\"a.pdf\"}},{\"type\":\"file\",\"file\":{\"file_id\":"
         "\"files/"
         "abc\"}},{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"BBBB\",\"format\":\"wav\"}}"
         "]}"),
     "{\"contents\":[{\"parts\":[{\"inlineData\":{\"data\":\"AAAA\",\"mimeType\":\"application/"
     "pdf\"}},{"
     "\"fileData\":{\"fileUri\":\"https://generativelanguage.googleapis.com/v1beta/files/abc\"}},{"
     "\"inlineData\":{\"data\":\"BBBB\",\"mimeType\":\"audio/wav\"}}],\"role\":\"user\"}]}",
     "messages.filename "},
    {"cache marks", G3,
     MSG("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\",\"cache_control\":{"
         "\"type\":"
         "\"ephemeral\"}}]}"),
     "{\"contents\":[" HI "]}", "cache_control "},

    /* tools */
    {"no parameters, named choice", G3,
     MSG(USER) ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":"
               "\"d\"}}],"
               "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}},\"parallel_"
               "tool_calls\":true",
     "{\"contents\":[" HI
     "],\"toolConfig\":{\"functionCallingConfig\":{\"allowedFunctionNames\":[\"f\"],"
     "\"mode\":\"ANY\"}},\"tools\":[{\"functionDeclarations\":[{\"description\":\"d\",\"name\":"
     "\"f\"}]}]}",
     ""},
    {"choice auto", G3, MSG(USER) "," TOOL("{\"type\":\"object\"}") ",\"tool_choice\":\"auto\"",
     "{\"contents\":[" HI
     "],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"AUTO\"}}," TOOLS_OUT(
         "{\"type\":\"object\"}") "}",
     ""},
    {"choice none", G3,
     MSG(USER) "," TOOL(
         "{\"type\":\"object\"}") ",\"tool_choice\":\"none\",\"parallel_tool_calls\":false",
     "{\"contents\":[" HI
     "],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"NONE\"}}," TOOLS_OUT(
         "{\"type\":\"object\"}") "}",
     ""},
    {"choice required", G3,
     MSG(USER) "," TOOL("{\"type\":\"object\"}") ",\"tool_choice\":\"required\"",
     "{\"contents\":[" HI
     "],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"ANY\"}}," TOOLS_OUT(
         "{\"type\":\"object\"}") "}",
     ""},
    {"strict", G3,
     MSG(USER) ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"strict\":true}}]",
     "{\"contents\":[" HI
     "],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"VALIDATED\"}},\"tools\":[{"
     "\"functionDeclarations\":[{\"name\":\"f\"}]}]}",
     ""},
    {"parallel calls off", G3, MSG(USER) "," TOOL("{}") ",\"parallel_tool_calls\":false",
     "{\"contents\":[" HI "]," TOOLS_OUT("{\"type\":\"object\"}") "}", "parallel_tool_calls "},
    {"no tools", G3, MSG(USER) ",\"tools\":[],\"parallel_tool_calls\":false",
     "{\"contents\":[" HI "]}", ""},
    {"an empty schema", G3, MSG(USER) "," TOOL("{}"),
     "{\"contents\":[" HI "]," TOOLS_OUT("{\"type\":\"object\"}") "}", ""},
    {"schemas as Gemini reads them", G3,
     MSG(USER) "," TOOL(
         "{\"$schema\":\"x\",\"type\":\"object\",\"additionalProperties\":false,\"required\":["
         "\"a\"],"
         "\"properties\":{\"a\":{\"const\":\"x\"},\"b\":{\"const\":true},\"const\":{\"type\":["
         "\"string\","
         "\"null\"]},\"c\":{\"$ref\":\"#/definitions/D\",\"description\":\"d\"},\"d\":{\"$ref\":"
         "\"#/definitions/D\"},\"e\":{\"allOf\":[{\"$ref\":\"#/definitions/"
         "D\"}],\"title\":\"t\"},\"f\":{"
         "\"type\":\"array\",\"items\":{\"const\":1}},\"g\":{\"anyOf\":[{\"const\":\"y\"},{"
         "\"type\":"
         "\"null\"}]},\"h\":{\"type\":\"string\",\"pattern\":\"^a\",\"minLength\":1},\"i\":{"
         "\"allOf\":[{},{}"
         "]}},\"definitions\":{\"D\":{\"type\":\"object\",\"properties\":{\"x\":{\"$ref\":\"#/"
         "definitions/D\""
         "}}}}}"),
     "{\"contents\":[" HI "]," TOOLS_OUT(
         "{\"$defs\":{\"D\":{\"properties\":{\"x\":{\"$ref\":\"#/$defs/D\"}},\"type\":\"object\"}},"
         "\"additionalProperties\":false,\"properties\":{\"a\":{\"enum\":[\"x\"]},\"b\":{\"const\":"
         "true},"
         "\"c\":{\"anyOf\":[{\"$ref\":\"#/$defs/"
         "D\"}],\"description\":\"d\"},\"const\":{\"type\":[\"string\","
         "\"null\"]},\"d\":{\"$ref\":\"#/$defs/D\"},\"e\":{\"anyOf\":[{\"$ref\":\"#/$defs/"
         "D\"}],\"title\":"
         "\"t\"},\"f\":{\"items\":{\"enum\":[1]},\"type\":\"array\"},\"g\":{\"anyOf\":[{\"enum\":["
         "\"y\"]},{"
         "\"type\":\"null\"}]},\"h\":{\"minLength\":1,\"pattern\":\"^a\",\"type\":\"string\"},"
         "\"i\":{\"allOf\":"
         "[{},{}]}},\"required\":[\"a\"],\"type\":\"object\"}") "}",
     "const pattern minLength allOf "},
    {"a reference as the root", G3,
     MSG(USER) "," TOOL("{\"$ref\":\"#/$defs/D\",\"$defs\":{\"D\":{\"type\":\"object\"}}}"),
     "{\"contents\":[" HI
     "]," TOOLS_OUT("{\"$defs\":{\"D\":{\"type\":\"object\"}},\"anyOf\":[{\"$ref\":"
                    "\"#/$defs/D\"}],\"type\":\"object\"}") "}",
     ""},

    /* what steers the answer */
    {"numbers as written", G3,
     MSG(USER) ",\"temperature\":0.70,\"top_p\":1e-1,\"max_tokens\":9,\"presence_penalty\":0,"
               "\"frequency_penalty\":-1.5,\"seed\":7,\"stop\":[\"a\",\"b\"]",
     "{\"contents\":[" HI "],\"generationConfig\":{\"frequencyPenalty\":-1.5,\"maxOutputTokens\":9,"
     "\"presencePenalty\":0,\"seed\":7,\"stopSequences\":[\"a\",\"b\"],\"temperature\":0.7,"
     "\"topP\":0.1}}",
     ""},
    {"a long seed", G3, MSG(USER) ",\"seed\":12345678901234",
     "{\"contents\":[" HI "],\"generationConfig\":{\"seed\":249767701}}", ""},
    {"json mode", G3, MSG(USER) ",\"response_format\":{\"type\":\"json_object\"}",
     "{\"contents\":[" HI "],\"generationConfig\":{\"responseMimeType\":\"application/json\"}}",
     ""},
    {"text mode", G3, MSG(USER) ",\"response_format\":{\"type\":\"text\"}",
     "{\"contents\":[" HI "]}", ""},
    {"a schema", G3,
     MSG(USER) ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
               "\"description\":"
               "\"d\",\"strict\":true,\"schema\":{\"type\":\"object\",\"title\":\"mine\"}}}",
     "{\"contents\":[" HI
     "],\"generationConfig\":{\"responseJsonSchema\":{\"description\":\"d\",\"title\":"
     "\"mine\",\"type\":\"object\"},\"responseMimeType\":\"application/json\"}}",
     ""},
    {"hints", G3, MSG(USER) ",\"user\":\"u\",\"metadata\":{},\"store\":true,\"stream\":true",
     "{\"contents\":[" HI "]}", "store user metadata "},
};

/* reasoning_effort, by model: the thinkingConfig, and whether it is noted. */
static const struct {
    const char *model, *effort, *want;
    bool noted;
} efforts[] = {
    {G3, "none", "{\"thinkingLevel\":\"minimal\"}", true},
    {G3, "minimal", "{\"includeThoughts\":true,\"thinkingLevel\":\"minimal\"}", false},
    {G3, "low", "{\"includeThoughts\":true,\"thinkingLevel\":\"low\"}", false},
    {G3, "medium", "{\"includeThoughts\":true,\"thinkingLevel\":\"medium\"}", false},
    {G3, "xhigh", "{\"includeThoughts\":true,\"thinkingLevel\":\"high\"}", false},
    {"gemini-3-pro-preview", "medium", "{\"includeThoughts\":true,\"thinkingLevel\":\"high\"}",
     false},
    {"gemini-3.1-pro-preview", "medium", "{\"includeThoughts\":true,\"thinkingLevel\":\"medium\"}",
     false},
    {"gemini-3.1-pro-preview", "minimal", "{\"includeThoughts\":true,\"thinkingLevel\":\"low\"}",
     false},
    {"gemini-flash-latest", "low", "{\"includeThoughts\":true,\"thinkingLevel\":\"low\"}", false},
    {"models/gemini-4.2-flash", "low", "{\"includeThoughts\":true,\"thinkingLevel\":\"low\"}",
     false},
    {G2, "none", "{\"thinkingBudget\":0}", false},
    {G2, "low", "{\"includeThoughts\":true,\"thinkingBudget\":1024}", false},
    {G2, "medium", "{\"includeThoughts\":true,\"thinkingBudget\":8192}", false},
    {G2, "max", "{\"includeThoughts\":true,\"thinkingBudget\":24576}", false},
    {"gemini-2.5-pro", "none", "{\"thinkingBudget\":128}", true},
    {"gemini-2.5-pro", "max", "{\"includeThoughts\":true,\"thinkingBudget\":32768}", false},
    {"gemini-2.0-flash", "high", NULL, true},
    {"gemini-2.0-flash", "none", NULL, false},
    {"gemma-3-27b-it", "high", NULL, true},
};

static const struct refused_case refused[] = {
    {"a tool of another kind", G3, MSG(USER) ",\"tools\":[{\"type\":\"web_search\"}]", "tools[0]"},
    {"a tool with unknown members", G3,
     MSG(USER) ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"x\":1}}]",
     "tools[0]"},
    {"allowed tools", G3,
     MSG(USER) "," TOOL(
         "{}") ",\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":\"auto\",\"tools\":[]}",
     "tool_choice"},
    {"an unknown effort", G3, MSG(USER) ",\"reasoning_effort\":\"huge\"", "reasoning_effort"},
    {"verbosity", G3, MSG(USER) ",\"verbosity\":\"low\"", "verbosity"},
    {"logit bias", G3, MSG(USER) ",\"logit_bias\":{}", "logit_bias"},
    {"unknown fields of a message", G3, MSG("{\"role\":\"user\",\"content\":\"a\",\"x\":1}"),
     "messages[0].x"},
    {"unknown fields of a system message", G3,
     MSG("{\"role\":\"system\",\"content\":\"a\",\"x\":1}," USER), "messages[0].x"},
    {"an unknown part", G3,
     MSG("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"odd\"}]}"),
     "messages[0].content[1]"},
    {"an image in a system message", G3,
     MSG("{\"role\":\"system\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"https:"
         "//a/\"}}]}," USER),
     "messages[0].content[0]"},
    {"data that is not base64", G3,
     MSG("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:"
         "image/svg,x\"}}]}"),
     "messages[0].content[0]"},
    {"data without a type", G3,
     MSG("{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{\"file_data\":\"data:;"
         "base64,AA\"}}]}"),
     "messages[0].content[0]"},
    {"a file of another provider", G3,
     MSG("{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{\"file_id\":\"file-abc\"}}]"
         "}"),
     "messages[0].content[0]"},
    {"nothing to say", G3, MSG("{\"role\":\"user\",\"content\":\"\"}"), "messages"},
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

/* Requests that no client of OpenAI's chat can make. */
static void write(struct arena *a, const struct chat_request *r, const char *model, struct buf *got,
                  struct dialect_notes *notes)
{
    struct dialect_target t = {.model = span_of(model), .dialect = SPAN("gemini")};
    struct buf out;
    struct err e = {0};
    buf_init(&out, MIB(1));
    buf_clear(got);
    if (!dialect_gemini.write_request(r, &t, &out, notes, &e))
        fail_msg("%s: %s", e.param, e.msg);
    canonical(a, buf_span(&out), got);
    buf_done(&out);
}

static const struct chat_part hi = {.kind = CHAT_PART_TEXT, .text = SPAN_INIT("hi")};
static const struct chat_message hi_message = {.role = CHAT_USER, .parts = &hi, .n_parts = 1};
static const struct chat_request plain = {.messages = &hi_message,
                                          .n_messages = 1,
                                          .max_tokens = -1,
                                          .parallel_tool_calls = -1,
                                          .format_strict = -1,
                                          .logprobs = -1,
                                          .top_logprobs = -1,
                                          .n = 1};

static void test_thinking(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct buf got;
    buf_init(&got, MIB(1));
    for (size_t i = 0; i < COUNT_OF(efforts); i++) {
        struct dialect_notes notes = {0};
        struct chat_request r = plain;
        char want[300];
        r.reasoning_effort = span_of(efforts[i].effort);
        write(a, &r, efforts[i].model, &got, &notes);
        snprintf(want, sizeof want, "{\"contents\":[" HI "]%s%s%s}",
                 efforts[i].want ? ",\"generationConfig\":{\"thinkingConfig\":" : "",
                 efforts[i].want ? efforts[i].want : "", efforts[i].want ? "}" : "");
        if (!span_eq(buf_span(&got), span_of(want)) || notes.n != efforts[i].noted)
            fail_msg("%s %s:\n got %.*s, %zu notes\nwant %s", efforts[i].model, efforts[i].effort,
                     SPAN_ARG(buf_span(&got)), notes.n, want);
    }
    static const struct {
        const char *model, *effort;
        int64_t tokens;
        const char *want;
    } budgets[] = {
        {G3, NULL, 4000, "\"thinkingConfig\":{\"includeThoughts\":true,\"thinkingBudget\":4000}"},
        {G2, "low", 31999, "\"thinkingBudget\":24576"},
        {"gemini-2.5-flash-lite", NULL, 10, "\"thinkingBudget\":512"},
        {"gemini-2.5-pro", NULL, 31999, "\"thinkingBudget\":31999"},
        {G2, NULL, 0, "\"thinkingConfig\":{\"includeThoughts\":true}"},
    };
    for (size_t i = 0; i < COUNT_OF(budgets); i++) {
        struct chat_request r = plain;
        r.reasoning_effort = span_of(budgets[i].effort);
        r.reasoning_tokens = budgets[i].tokens;
        r.reasoning_summary = SPAN("auto");
        write(a, &r, budgets[i].model, &got, NULL);
        if (span_index(buf_span(&got), span_of(budgets[i].want)) == got.n)
            fail_msg("%zu: %.*s", i, SPAN_ARG(buf_span(&got)));
    }
    buf_done(&got);
}

static void test_other_dialects(void **state)
{
    static const struct chat_part calls[] = {
        {.kind = CHAT_PART_TOOL_CALL,
         .id = SPAN_INIT("a"),
         .name = SPAN_INIT("f"),
         .arguments = SPAN_INIT("{}"),
         .signature = SPAN_INIT("S")}, /* whose signature is not said */
    };
    static const struct chat_part foreign = {.kind = CHAT_PART_TOOL_CALL,
                                             .id = SPAN_INIT("a"),
                                             .name = SPAN_INIT("f"),
                                             .signature = SPAN_INIT("S"),
                                             .format = SPAN_INIT("openai-responses-v1")};
    static const struct chat_part result = {.kind = CHAT_PART_TEXT, .text = SPAN_INIT("{\"x\":1}")};
    static const struct chat_part document = {.kind = CHAT_PART_DOCUMENT, .text = SPAN_INIT("doc")};
    AUTO(arena) a = arena_new(0);
    struct buf got;
    buf_init(&got, MIB(1));
    struct chat_message messages[] = {
        hi_message,
        {.role = CHAT_ASSISTANT, .parts = calls, .n_parts = 1},
        {.role = CHAT_TOOL,
         .tool_call_id = SPAN("a"),
         .tool_failed = true,
         .parts = &result,
         .n_parts = 1},
        {.role = CHAT_USER, .parts = &document, .n_parts = 1},
    };
    struct chat_request r = plain;
    r.messages = messages;
    r.n_messages = COUNT_OF(messages);
    r.top_k = SPAN("40");
    r.verbosity = SPAN("medium");
    write(a, &r, G2, &got, NULL);
    assert_true(span_eq(
        buf_span(&got),
        SPAN("{\"contents\":[" HI ",{\"parts\":[{\"functionCall\":{\"args\":{},\"name\":\"f\"},"
             "\"thoughtSignature\":\"S\"}],\"role\":\"model\"},{\"parts\":[{\"functionResponse\":{"
             "\"name\":"
             "\"f\",\"response\":{\"error\":{\"x\":1}}}},{\"text\":\"doc\"}],\"role\":\"user\"}],"
             "\"generationConfig\":{\"topK\":40}}")));
    messages[1].parts = &foreign;
    write(a, &r, G2, &got, NULL);
    assert_true(span_index(buf_span(&got), SPAN("thoughtSignature")) == got.n);
    buf_done(&got);
}

static void test_cannot(void **state)
{
    struct dialect_target t = {.model = SPAN(G3), .dialect = SPAN("gemini")};
    struct chat_request bad[4] = {plain, plain, plain, plain};
    static const char *const params[] = {"n", "logprobs", "modalities", "stop"};
    struct span stop[6] = {SPAN("a"), SPAN("b"), SPAN("c"), SPAN("d"), SPAN("e"), SPAN("f")};
    bad[0].n = 2;
    bad[1].logprobs = 1;
    bad[2].audio_out = true;
    bad[3].stop = stop;
    bad[3].n_stop = COUNT_OF(stop);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct buf out;
        struct err e = {0};
        buf_init(&out, KIB(4));
        assert_false(dialect_gemini.write_request(&bad[i], &t, &out, NULL, &e));
        assert_string_equal(e.param, params[i]);
        buf_done(&out);
    }
}

static void test_path(void **state)
{
    static const struct {
        const char *model, *want;
        bool unary;
    } cases[] = {
        {G3, "/models/" G3 ":streamGenerateContent?alt=sse", false},
        {G3, "/models/" G3 ":generateContent", true},
        {"models/" G3, "/models/" G3 ":generateContent", true},
        {"../x?y#z", "/models/..%2Fx%3Fy%23z:generateContent", true},
        {"a:b\n\xC3\xA4", "/models/a%3Ab%0A%C3%A4:generateContent", true},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct dialect_target t = {.model = span_of(cases[i].model), .unary = cases[i].unary};
        struct buf out;
        struct err e;
        buf_init(&out, 256);
        assert_true(dialect_gemini.write_path(&t, &out, &e));
        assert_true(span_eq(buf_span(&out), span_of(cases[i].want)));
        buf_clear(&out);
        mem_fail_at(1);
        buf_done(&out);
        buf_init(&out, 256);
        assert_false(dialect_gemini.write_path(&t, &out, &e));
        mem_fail_at(0);
        assert_int_equal(out.n, 0);
        buf_done(&out);
    }
    struct dialect_target none = {.model = SPAN("models/")};
    struct buf out;
    struct err e = {0};
    buf_init(&out, 256);
    assert_false(dialect_gemini.write_path(&none, &out, &e));
    assert_int_equal(e.cls, ERR_CONFIG);
    assert_null(dialect_gemini.path);
    assert_ptr_equal(dialect_find(SPAN("gemini")), &dialect_gemini);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pass),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_thinking),  cmocka_unit_test(test_other_dialects),
        cmocka_unit_test(test_cannot),    cmocka_unit_test(test_path),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
