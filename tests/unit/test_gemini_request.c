/* tests/unit/test_gemini_request.c - requests of OpenAI's clients, as Gemini's upstream gets them:
 * contents, turns, signatures, ids, schemas, what steers the answer; what cannot be said, by name;
 * the path; a chain of twelve tool calls; memory that runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "dialect/dialect.h"
#include "json/json.h"

#define G2     "gemini-2.5-flash"
#define G3     "gemini-3-flash-preview"
#define USER   "{\"role\":\"user\",\"content\":\"hi\"}"
#define HI     "{\"parts\":[{\"text\":\"hi\"}],\"role\":\"user\"}"
#define MSG(m) "\"messages\":[" m "]"
#define FN(name, args, id)                                                                         \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name                      \
    "\",\"arguments\":\"" args "\"}}"
#define CALLS(list) "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" list "]}"
#define RESULT(id, content)                                                                        \
    "{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"" content "\"}"
#define SKIP ",\"thoughtSignature\":\"skip_thought_signature_validator\""
#define TOOL(schema)                                                                               \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":" schema "}}]"
#define TOOLS_OUT(schema)                                                                          \
    "\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"parametersJsonSchema\":" schema "}]}" \
                                                                                             "]"

/* in: members of a client's body beside the model; want: Gemini's body in canonical form; noted:
 * what was left out, with a space behind each. */
static const struct {
    const char *name, *model, *in, *want, *noted;
} pass[] = {
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

    /* calls and results */
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
     MSG(USER "," CALLS(FN("f", "{}", "c1") "," FN("g", "", "c2") "," FN(
         "f", "null",
         "c3")) "," RESULT("c3", "3") "," RESULT("c1", "1") ",{\"role\":\"system\",\"content\":"
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
    {"reasoning of others", G3,
     MSG(USER ",{\"role\":\"assistant\",\"content\":\"x\",\"reasoning_details\":[{\"type\":"
              "\"reasoning.text\","
              "\"text\":\"h\",\"signature\":\"S\",\"format\":\"anthropic-claude-v1\"},{\"type\":"
              "\"reasoning.encrypted\",\"data\":\"T\"}]},{\"role\":\"assistant\",\"content\":\"y\","
              "\"reasoning_content\":\"h\"}"),
     "{\"contents\":[" HI ",{\"parts\":[{\"text\":\"x\"},{\"text\":\"y\"}],\"role\":\"model\"}]}",
     "messages.reasoning "},

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

/* Requests that cannot be said: the field that is named. */
static const struct {
    const char *name, *model, *in, *param;
} refused[] = {
    {"parallel calls off", G3, MSG(USER) "," TOOL("{}") ",\"parallel_tool_calls\":false",
     "parallel_tool_calls"},
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
    {"nothing to say", G3, MSG("{\"role\":\"user\",\"content\":\"\"}"), "messages"},
};

static bool send(struct arena *a, const char *in, const char *model, struct buf *out,
                 struct dialect_notes *notes, struct err *e)
{
    struct dialect_target t = {.model = span_of(model), .dialect = SPAN("gemini")};
    struct span body = arena_printf(a, "{\"model\":\"m\",%s}", in);
    struct chat_request r;
    return body.p != NULL && dialect_openai_chat.read_request(a, body, &r, e) &&
           dialect_gemini.write_request(&r, &t, out, notes, e);
}

static void canonical(struct arena *a, struct span in, struct buf *out)
{
    struct err e;
    json_val *v;
    if (!json_parse(a, in, &v, &e))
        fail_msg("%s\n%.*s", e.msg, SPAN_ARG(in));
    assert_true(json_canonical(out, v, &e));
}

static void check_notes(const char *name, const struct dialect_notes *notes, const char *want)
{
    struct buf got;
    buf_init(&got, KIB(4));
    for (size_t i = 0; i < notes->n; i++)
        assert_true(buf_add(&got, notes->ignored[i], NULL) && buf_add_char(&got, ' ', NULL));
    if (!span_eq(buf_span(&got), span_of(want)))
        fail_msg("%s: noted %.*s, want %s", name, SPAN_ARG(buf_span(&got)), want);
    buf_done(&got);
}

static void test_pass(void **state)
{
    for (size_t i = 0; i < COUNT_OF(pass); i++) {
        AUTO(arena) a = arena_new(0);
        struct dialect_notes notes = {0};
        struct buf out, got, want;
        struct err e = {0};
        buf_init(&out, MIB(1));
        buf_init(&got, MIB(1));
        buf_init(&want, MIB(1));
        if (!send(a, pass[i].in, pass[i].model, &out, &notes, &e))
            fail_msg("%s: %s %s", pass[i].name, e.param, e.msg);
        canonical(a, buf_span(&out), &got);
        canonical(a, span_of(pass[i].want), &want);
        if (!span_eq(buf_span(&got), buf_span(&want)))
            fail_msg("%s:\n got %.*s\nwant %.*s", pass[i].name, SPAN_ARG(buf_span(&got)),
                     SPAN_ARG(buf_span(&want)));
        check_notes(pass[i].name, &notes, pass[i].noted);
        buf_done(&out);
        buf_done(&got);
        buf_done(&want);
    }
}

static void test_refused(void **state)
{
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        AUTO(arena) a = arena_new(0);
        struct dialect_notes notes = {0};
        struct buf out;
        struct err e = {0};
        buf_init(&out, MIB(1));
        assert_true(buf_add(&out, SPAN("kept"), &e));
        if (send(a, refused[i].in, refused[i].model, &out, &notes, &e))
            fail_msg("%s passed: %.*s", refused[i].name, SPAN_ARG(buf_span(&out)));
        if (e.status != 400 || strcmp(e.param, refused[i].param) != 0)
            fail_msg("%s: %d %s: %s", refused[i].name, e.status, e.param, e.msg);
        assert_true(span_eq(buf_span(&out), SPAN("kept")));
        buf_done(&out);
    }
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

/* --- twelve calls, one after the other
 * ------------------------------------------------------------ */

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

/* --- hostile input and memory
 * --------------------------------------------------------------------- */

static void test_no_memory(void **state)
{
    for (size_t i = 0; i < COUNT_OF(pass); i++) {
        bool failed = true;
        for (unsigned long n = 1; failed; n++) {
            struct dialect_notes notes = {0};
            struct buf out;
            struct err e = {0};
            buf_init(&out, KIB(64));
            mem_fail_at(n);
            struct arena *a = arena_new(0);
            bool ok = a && send(a, pass[i].in, pass[i].model, &out, &notes, &e);
            failed = mem_failed();
            mem_fail_at(0);
            assert_true(ok == !failed);
            if (!ok && a && e.cls != ERR_NOMEM && e.cls != ERR_NONE)
                fail_msg("%s: %lu: %s", pass[i].name, n, e.msg);
            assert_true(ok || out.n == 0);
            arena_free(a);
            buf_done(&out);
        }
    }
}

/* Twenty thousand calls in one turn, with their signatures beside them, results in reverse order.
 */
static void test_large(void **state)
{
    enum { N = 20000 };
    AUTO(arena) a = arena_new(0);
    struct chat_part *parts = arena_array(a, 2 * N, sizeof *parts);
    struct chat_message *messages = arena_array(a, N + 1, sizeof *messages);
    struct chat_request r = plain;
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
        cmocka_unit_test(test_pass),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_thinking), cmocka_unit_test(test_other_dialects),
        cmocka_unit_test(test_path),     cmocka_unit_test(test_chain),
        cmocka_unit_test(test_large),    cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
