/* tests/unit/test_openai_chat_request.c - bodies of clients that are right, wrong and odd; what
 * goes to an upstream for them; and running out of memory at each allocation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "dialect/dialect.h"
#include "json/json.h"

#define MSG        "\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define TOOL(name) "{\"type\":\"function\",\"function\":{\"name\":\"" name "\"}}"

/* What goes in between the model, the messages, and the end of the body. */
static const struct {
    const char *name, *in, *param;
} wrong[] = {
    {"not an object", "[1]", ""},
    {"not JSON", "{", ""},
    {"twice the same name", "{" MSG ",\"model\":\"x\"}", "model"},
    {"no model", "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", "model"},
    {"model null", "{\"model\":null,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
     "model"},
    {"model number", "{\"model\":1}", "model"},
    {"no messages", "{\"model\":\"m\"}", "messages"},
    {"messages object", "{\"model\":\"m\",\"messages\":{}}", "messages"},
    {"messages empty", "{\"model\":\"m\",\"messages\":[]}", "messages"},
    {"message string", "{\"model\":\"m\",\"messages\":[\"hi\"]}", "messages[0]"},
    {"no role", "{\"model\":\"m\",\"messages\":[{\"content\":\"hi\"}]}", "messages[0].role"},
    {"unknown role", "{\"model\":\"m\",\"messages\":[{\"role\":\"robot\",\"content\":\"hi\"}]}",
     "messages[0].role"},
    {"role function", "{\"model\":\"m\",\"messages\":[{\"role\":\"function\",\"content\":\"hi\"}]}",
     "messages[0].role"},
    {"no content", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}", "messages[0].content"},
    {"content null", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":null}]}",
     "messages[0].content"},
    {"content number", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":1}]}",
     "messages[0].content"},
    {"content empty list", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[]}]}",
     "messages[0].content"},
    {"part string", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[\"x\"]}]}",
     "messages[0].content[0]"},
    {"part without type",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\","
     "\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"text\":\"b\"}]}]}",
     "messages[1].content[1].type"},
    {"part type number",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":7}]}]}",
     "messages[0].content[0].type"},
    {"text missing",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
     "messages[0].content[0].text"},
    {"image without url",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
     "\"image_url\":{}}]}]}",
     "messages[0].content[0].image_url.url"},
    {"image from a file",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
     "\"image_url\":{\"url\":\"file:///etc/passwd\"}}]}]}",
     "messages[0].content[0].image_url.url"},
    {"audio without format",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\","
     "\"input_audio\":{\"data\":\"x\"}}]}]}",
     "messages[0].content[0].input_audio.format"},
    {"file empty",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{}"
     "}]}"
     "]}",
     "messages[0].content[0].file"},
    {"no tool_call_id", "{\"model\":\"m\",\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}",
     "messages[0].tool_call_id"},
    {"tool_call_id of a user",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"tool_call_id\":\"1\"}]"
     "}",
     "messages[0].tool_call_id"},
    {"empty assistant",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":null}]}",
     "messages[0].content"},
    {"tool_calls of a user",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"tool_calls\":[{}]}]}",
     "messages[0].tool_calls"},
    {"call without id",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{"
     "\"name\":"
     "\"f\",\"arguments\":\"{}\"}}]}]}",
     "messages[0].tool_calls[0].id"},
    {"call with a bad name",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\","
     "\"function\":{\"name\":\"f g\",\"arguments\":\"{}\"}}]}]}",
     "messages[0].tool_calls[0].function.name"},
    {"call without arguments",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\","
     "\"function\":{\"name\":\"f\"}}]}]}",
     "messages[0].tool_calls[0].function.arguments"},
    {"custom call",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\","
     "\"type\":"
     "\"custom\"}]}]}",
     "messages[0].tool_calls[0].type"},
    {"function_call",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"\",\"function_call\":{}}"
     "]}",
     "messages[0].function_call"},
    {"temperature high", "{" MSG ",\"temperature\":2.01}", "temperature"},
    {"temperature low", "{" MSG ",\"temperature\":-0.1}", "temperature"},
    {"temperature string", "{" MSG ",\"temperature\":\"1\"}", "temperature"},
    {"top_p", "{" MSG ",\"top_p\":1.5}", "top_p"},
    {"presence_penalty", "{" MSG ",\"presence_penalty\":3}", "presence_penalty"},
    {"frequency_penalty", "{" MSG ",\"frequency_penalty\":-2.5}", "frequency_penalty"},
    {"n zero", "{" MSG ",\"n\":0}", "n"},
    {"n two", "{" MSG ",\"n\":2}", "n"},
    {"n many", "{" MSG ",\"n\":129}", "n"},
    {"logprobs", "{" MSG ",\"logprobs\":true}", "logprobs"},
    {"top_logprobs", "{" MSG ",\"top_logprobs\":3}", "top_logprobs"},
    {"stop five", "{" MSG ",\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\"]}", "stop"},
    {"stop number", "{" MSG ",\"stop\":1}", "stop"},
    {"stop of numbers", "{" MSG ",\"stop\":[\"a\",1]}", "stop[1]"},
    {"max_tokens zero", "{" MSG ",\"max_tokens\":0}", "max_tokens"},
    {"max_tokens half", "{" MSG ",\"max_tokens\":1.5}", "max_tokens"},
    {"max_completion_tokens", "{" MSG ",\"max_completion_tokens\":-1}", "max_completion_tokens"},
    {"both differ", "{" MSG ",\"max_tokens\":1,\"max_completion_tokens\":2}",
     "max_completion_tokens"},
    {"seed", "{" MSG ",\"seed\":1.5}", "seed"},
    {"stream", "{" MSG ",\"stream\":1}", "stream"},
    {"stream_options", "{" MSG ",\"stream_options\":[]}", "stream_options"},
    {"include_usage", "{" MSG ",\"stream_options\":{\"include_usage\":1}}",
     "stream_options.include_usage"},
    {"response_format", "{" MSG ",\"response_format\":\"json\"}", "response_format"},
    {"response_format kind", "{" MSG ",\"response_format\":{\"type\":\"xml\"}}",
     "response_format.type"},
    {"response_format bare", "{" MSG ",\"response_format\":{\"type\":\"json_schema\"}}",
     "response_format.json_schema"},
    {"response_format nameless",
     "{" MSG ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{}}}}",
     "response_format.json_schema.name"},
    {"response_format schema",
     "{" MSG ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
     "\"schema\":1}}}",
     "response_format.json_schema.schema"},
    {"tools object", "{" MSG ",\"tools\":{}}", "tools"},
    {"tool nameless", "{" MSG ",\"tools\":[{\"type\":\"function\",\"function\":{}}]}",
     "tools[0].function.name"},
    {"tool bad name", "{" MSG ",\"tools\":[" TOOL("f") "," TOOL("g.h") "]}",
     "tools[1].function.name"},
    {"tool name empty", "{" MSG ",\"tools\":[" TOOL("") "]}", "tools[0].function.name"},
    {"tool name of 65",
     "{" MSG
     ",\"tools\":[" TOOL("12345678901234567890123456789012345678901234567890123456789012345") "]}",
     "tools[0].function.name"},
    {"tool custom", "{" MSG ",\"tools\":[{\"type\":\"custom\"}]}", "tools[0].type"},
    {"tool flat", "{" MSG ",\"tools\":[{\"type\":\"function\",\"name\":\"f\"}]}",
     "tools[0].function"},
    {"choice word", "{" MSG ",\"tools\":[" TOOL("f") "],\"tool_choice\":\"maybe\"}", "tool_choice"},
    {"choice unknown", "{" MSG ",\"tools\":[" TOOL("f") "],\"tool_choice\":" TOOL("g") "}",
     "tool_choice.function.name"},
    {"choice without tools", "{" MSG ",\"tool_choice\":\"required\"}", "tool_choice"},
    {"parallel", "{" MSG ",\"parallel_tool_calls\":\"yes\"}", "parallel_tool_calls"},
    {"functions", "{" MSG ",\"functions\":[]}", "functions"},
    {"function_call", "{" MSG ",\"function_call\":\"auto\"}", "function_call"},
    {"modalities", "{" MSG ",\"modalities\":[\"text\",\"smell\"]}", "modalities"},
    {"modalities of numbers", "{" MSG ",\"modalities\":[1]}", "modalities"},
    {"audio", "{" MSG ",\"audio\":{}}", "audio"},
    {"fusion", "{" MSG ",\"fusion\":true}", "fusion"},
    {"user", "{" MSG ",\"user\":1}", "user"},
    {"metadata", "{" MSG ",\"metadata\":1}", "metadata"},
    {"reasoning_effort", "{" MSG ",\"reasoning_effort\":1}", "reasoning_effort"},
};

static void test_wrong(void **state)
{
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        AUTO(arena) a = arena_new(0);
        struct chat_request r = {.n_messages = 77};
        struct err e = {0};
        bool ok = dialect_openai_chat.read_request(a, span_of(wrong[i].in), &r, &e);
        if (ok || strcmp(e.param, wrong[i].param) != 0)
            fail_msg("%s: %s, param %s, %s", wrong[i].name, ok ? "taken" : "refused", e.param,
                     e.msg);
        assert_int_equal(e.cls, ERR_INPUT);
        assert_int_equal(e.status, 400);
        assert_int_equal(r.n_messages, 77);
        if (!strcmp(wrong[i].name, "functions"))
            assert_non_null(strstr(e.msg, "tools"));
    }
}

/* What an upstream of this dialect gets: canonical form, behind the fields that always stand. */
static const struct {
    const char *name, *in, *want;
} pass[] = {
    {"plain", "{" MSG "}", "{\"messages\":[{\"content\":\"hi\",\"role\":\"user\"}]}"},
    {"numbers as written",
     "{" MSG ",\"temperature\":0.70,\"top_p\":1,\"seed\":42,"
     "\"presence_penalty\":-1,\"frequency_penalty\":0.5,\"max_tokens\":5,\"n\":1}",
     "{\"frequency_penalty\":0.5,\"max_tokens\":5,\"messages\":[{\"content\":\"hi\",\"role\":"
     "\"user\"}"
     "],\"presence_penalty\":-1,\"seed\":42,\"temperature\":0.7,\"top_p\":1}"},
    {"both limits alike", "{" MSG ",\"max_completion_tokens\":5,\"max_tokens\":5}",
     "{\"max_tokens\":5,\"messages\":[{\"content\":\"hi\",\"role\":\"user\"}]}"},
    {"nulls are absent",
     "{" MSG ",\"temperature\":null,\"stop\":null,\"tools\":null,\"user\":null,"
     "\"response_format\":null,\"functions\":null,\"logit_bias\":null,\"seed\":null}",
     "{\"messages\":[{\"content\":\"hi\",\"role\":\"user\"}]}"},
    {"fusion stays", "{" MSG ",\"fusion\":{\"mode\":\"vote\"}}",
     "{\"messages\":[{\"content\":\"hi\",\"role\":\"user\"}]}"},
    {"extras and hints",
     "{" MSG ",\"top_k\":40,\"logit_bias\":{\"1\":-1},\"store\":false,\"user\":"
     "\"u\",\"metadata\":{\"k\":\"v\"},\"stream\":true,\"stream_options\":{\"include_obfuscation\":"
     "false},\"odd\\\"name\":[null]}",
     "{\"logit_bias\":{\"1\":-1},\"messages\":[{\"content\":\"hi\",\"role\":\"user\"}],"
     "\"metadata\":"
     "{\"k\":\"v\"},\"odd\\\"name\":[null],\"store\":false,\"top_k\":40,\"user\":\"u\"}"},
    {"stop string", "{" MSG ",\"stop\":\"x\"}",
     "{\"messages\":[{\"content\":\"hi\",\"role\":\"user\"}],\"stop\":[\"x\"]}"},
    {"stop list", "{" MSG ",\"stop\":[\"x\",\"\\u0000\"]}",
     "{\"messages\":[{\"content\":\"hi\",\"role\":\"user\"}],\"stop\":[\"x\",\"\\u0000\"]}"},
    {"formats",
     "{" MSG ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
     "\"n\",\"strict\":true,\"schema\":{\"type\":\"object\"},\"description\":\"d\"}}}",
     "{\"messages\":[{\"content\":\"hi\",\"role\":\"user\"}],\"response_format\":{\"json_schema\":{"
     "\"description\":\"d\",\"name\":\"n\",\"schema\":{\"type\":\"object\"},\"strict\":true},"
     "\"type\":"
     "\"json_schema\"}}"},
    {"json mode",
     "{" MSG ",\"response_format\":{\"type\":\"json_object\"},\"reasoning_effort\":"
     "\"low\"}",
     "{\"messages\":[{\"content\":\"hi\",\"role\":\"user\"}],\"reasoning_effort\":\"low\","
     "\"response_format\":{\"type\":\"json_object\"}}"},
    {"tools",
     "{" MSG ",\"tools\":[" TOOL("f") ",{\"type\":\"function\",\"function\":{\"name\":\"g\","
                                      "\"description\":\"d\",\"parameters\":{\"type\":\"object\"},"
                                      "\"strict\":false}},{\"type\":"
                                      "\"web_search\",\"x\":1},{\"type\":\"function\",\"function\":"
                                      "{\"name\":\"h\"},\"cache_control\":{"
                                      "\"type\":\"ephemeral\"}}],\"tool_choice\":" TOOL(
                                          "g") ",\"parallel_tool_calls\":false}",
     "{\"messages\":[{\"content\":\"hi\",\"role\":\"user\"}],\"parallel_tool_calls\":false,"
     "\"tool_choice\":{\"function\":{\"name\":\"g\"},\"type\":\"function\"},\"tools\":[{"
     "\"function\":{"
     "\"name\":\"f\"},\"type\":\"function\"},{\"function\":{\"description\":\"d\",\"name\":\"g\","
     "\"parameters\":{\"type\":\"object\"},\"strict\":false},\"type\":\"function\"},{\"type\":"
     "\"web_search\",\"x\":1},{\"cache_control\":{\"type\":\"ephemeral\"},\"function\":{\"name\":"
     "\"h\"}"
     ",\"type\":\"function\"}]}"},
    {"choice any", "{" MSG ",\"tools\":[" TOOL("f") "],\"tool_choice\":\"any\"}",
     "{\"messages\":[{\"content\":\"hi\",\"role\":\"user\"}],\"tool_choice\":\"required\","
     "\"tools\":[{"
     "\"function\":{\"name\":\"f\"},\"type\":\"function\"}]}"},
    {"choice of allowed tools",
     "{" MSG ",\"tools\":[" TOOL(
         "f") "],\"tool_choice\":{\"type\":"
              "\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\",\"tools\":[]}}}",
     "{\"messages\":[{\"content\":\"hi\",\"role\":\"user\"}],\"tool_choice\":{\"allowed_tools\":{"
     "\"mode\":\"auto\",\"tools\":[]},\"type\":\"allowed_tools\"},\"tools\":[{\"function\":{"
     "\"name\":"
     "\"f\"},\"type\":\"function\"}]}"},
    {"choice without tools says nothing",
     "{" MSG ",\"tools\":[],\"tool_choice\":\"auto\",\"parallel_tool_calls\":true}",
     "{\"messages\":[{\"content\":\"hi\",\"role\":\"user\"}]}"},
};

/* The same for one message. */
static const struct {
    const char *name, *in, *want;
} messages[] = {
    {"developer", "{\"role\":\"developer\",\"content\":\"d\",\"name\":\"n\"}",
     "{\"content\":\"d\",\"name\":\"n\",\"role\":\"developer\"}"},
    {"NUL and broken lines", "{\"role\":\"system\",\"content\":\"a\\u0000b\\n\"}",
     "{\"content\":\"a\\u0000b\\n\",\"role\":\"system\"}"},
    {"one text part", "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"t\"}]}",
     "{\"content\":\"t\",\"role\":\"user\"}"},
    {"empty text", "{\"role\":\"user\",\"content\":\"\"}", "{\"content\":\"\",\"role\":\"user\"}"},
    {"parts",
     "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"t\",\"cache_control\":{"
     "\"type\":"
     "\"ephemeral\"}},{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/"
     "y.png\",\"detail\":"
     "\"low\"}},{\"type\":\"image_url\",\"image_url\":\"data:image/png;base64,AA==\"},{\"type\":"
     "\"input_audio\",\"input_audio\":{\"data\":\"AA\",\"format\":\"wav\"}},{\"type\":\"file\","
     "\"file\":{\"file_data\":\"data:application/"
     "pdf;base64,AA==\",\"filename\":\"a.pdf\"}},{\"type\":"
     "\"video_url\",\"video_url\":{\"url\":\"https://x\"}}]}",
     "{\"content\":[{\"cache_control\":{\"type\":\"ephemeral\"},\"text\":\"t\",\"type\":\"text\"},{"
     "\"image_url\":{\"detail\":\"low\",\"url\":\"https://x/y.png\"},\"type\":\"image_url\"},{"
     "\"image_url\":{\"url\":\"data:image/"
     "png;base64,AA==\"},\"type\":\"image_url\"},{\"input_audio\":{"
     "\"data\":\"AA\",\"format\":\"wav\"},\"type\":\"input_audio\"},{\"file\":{\"file_data\":"
     "\"data:application/pdf;base64,AA==\",\"filename\":\"a.pdf\"},\"type\":\"file\"},{\"type\":"
     "\"video_url\",\"video_url\":{\"url\":\"https://x\"}}],\"role\":\"user\"}"},
    {"unknown members of parts",
     "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"t\",\"x\":1},{\"type\":"
     "\"image_url\",\"image_url\":{\"url\":\"http://"
     "h\",\"y\":2}},{\"type\":\"text\",\"text\":\"u\","
     "\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}}]}",
     "{\"content\":[{\"text\":\"t\",\"type\":\"text\",\"x\":1},{\"image_url\":{\"url\":\"http://"
     "h\","
     "\"y\":2},\"type\":\"image_url\"},{\"cache_control\":{\"ttl\":\"1h\",\"type\":\"ephemeral\"},"
     "\"text\":\"u\",\"type\":\"text\"}],\"role\":\"user\"}"},
    {"calls",
     "{\"role\":\"assistant\",\"content\":null,\"refusal\":null,\"annotations\":[],\"tool_calls\":["
     "{"
     "\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": "
     "1}\"}"
     "},{\"id\":\"c2\",\"index\":1,\"function\":{\"name\":\"g\",\"arguments\":{\"b\":2}}},{\"id\":"
     "\"c3\","
     "\"type\":\"function\",\"function\":{\"name\":\"h\",\"arguments\":\"\"},\"extra_content\":{"
     "\"google\":{\"thought_signature\":\"sig\"}}}]}",
     "{\"annotations\":[],\"content\":null,\"role\":\"assistant\",\"tool_calls\":[{\"function\":{"
     "\"arguments\":\"{\\\"a\\\": 1}\",\"name\":\"f\"},\"id\":\"c1\",\"type\":\"function\"},{"
     "\"function\":{\"arguments\":\"{\\\"b\\\":2}\",\"name\":\"g\"},\"id\":\"c2\",\"type\":"
     "\"function\""
     "},{\"extra_content\":{\"google\":{\"thought_signature\":\"sig\"}},\"function\":{"
     "\"arguments\":"
     "\"{}\",\"name\":\"h\"},\"id\":\"c3\",\"type\":\"function\"}]}"},
    {"call with unknown members",
     "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":{"
     "\"name\":\"f\",\"arguments\":\"{}\"},\"x\":1}]}",
     "{\"content\":null,\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"arguments\":\"{}\","
     "\"name\":\"f\"},\"id\":\"c\",\"type\":\"function\",\"x\":1}]}"},
    {"tool result", "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"42\"}",
     "{\"content\":\"42\",\"role\":\"tool\",\"tool_call_id\":\"c1\"}"},
    {"refusal", "{\"role\":\"assistant\",\"content\":null,\"refusal\":\"no\"}",
     "{\"content\":null,\"refusal\":\"no\",\"role\":\"assistant\"}"},
    {"refusal part",
     "{\"role\":\"assistant\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"no\"}]}",
     "{\"content\":null,\"refusal\":\"no\",\"role\":\"assistant\"}"},
    {"extras",
     "{\"role\":\"assistant\",\"content\":\"x\",\"prefix\":true,\"audio\":{\"id\":\"a\"}}",
     "{\"audio\":{\"id\":\"a\"},\"content\":\"x\",\"prefix\":true,\"role\":\"assistant\"}"},
    {"reasoning_content", "{\"role\":\"assistant\",\"content\":\"x\",\"reasoning_content\":\"r\"}",
     "{\"content\":\"x\",\"reasoning_content\":\"r\",\"role\":\"assistant\"}"},
    {"reasoning", "{\"role\":\"assistant\",\"content\":\"x\",\"reasoning\":\"r\"}",
     "{\"content\":\"x\",\"reasoning\":\"r\",\"role\":\"assistant\"}"},
    {"all three names are one",
     "{\"role\":\"assistant\",\"content\":\"x\",\"reasoning\":\"r\",\"reasoning_content\":\"r\","
     "\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"r\",\"signature\":\"s\","
     "\"format\""
     ":\"f\"}]}",
     "{\"content\":\"x\",\"reasoning_details\":[{\"format\":\"f\",\"signature\":\"s\",\"text\":"
     "\"r\","
     "\"type\":\"reasoning.text\"}],\"role\":\"assistant\"}"},
    {"pieces of a block are joined",
     "{\"role\":\"assistant\",\"content\":\"x\",\"reasoning_details\":[{\"type\":\"reasoning."
     "text\","
     "\"text\":\"a\"},{\"type\":\"reasoning.text\",\"text\":\"b\"},{\"type\":\"reasoning.text\","
     "\"text\":\"\",\"signature\":\"s\"},{\"type\":\"reasoning.text\",\"text\":\"c\"},{\"type\":"
     "\"reasoning.encrypted\",\"data\":\"d\",\"id\":\"i\"}]}",
     "{\"content\":\"x\",\"reasoning_details\":[{\"signature\":\"s\",\"text\":\"ab\",\"type\":"
     "\"reasoning.text\"},{\"text\":\"c\",\"type\":\"reasoning.text\"},{\"data\":\"d\",\"id\":"
     "\"i\","
     "\"type\":\"reasoning.encrypted\"}],\"role\":\"assistant\"}"},
    {"a signature takes its text from the string",
     "{\"role\":\"assistant\",\"content\":\"x\",\"reasoning\":\"r\",\"reasoning_details\":[{"
     "\"type\":"
     "\"reasoning.text\",\"signature\":\"s\"}]}",
     "{\"content\":\"x\",\"reasoning_details\":[{\"signature\":\"s\",\"text\":\"r\",\"type\":"
     "\"reasoning.text\"}],\"role\":\"assistant\"}"},
    {"thinking part",
     "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\","
     "\"text\":\"r\"}]},{\"type\":\"text\",\"text\":\"x\"}]}",
     "{\"content\":[{\"thinking\":[{\"text\":\"r\",\"type\":\"text\"}],\"type\":\"thinking\"},{"
     "\"text\":\"x\",\"type\":\"text\"}],\"role\":\"assistant\"}"},
};

static const struct dialect_target same = {
    .model = SPAN_INIT("up"), .dialect = SPAN_INIT("openai_chat"), .unary = true};

static bool send(struct arena *a, struct span in, const struct dialect_target *t, struct buf *out,
                 struct dialect_notes *notes, struct err *e)
{
    struct chat_request r;
    return dialect_openai_chat.read_request(a, in, &r, e) &&
           dialect_openai_chat.write_request(&r, t, out, notes, e);
}

static void check_sent(const char *name, struct span in, const char *want)
{
    AUTO(arena) a = arena_new(0);
    struct dialect_notes notes = {0};
    struct buf out, canonical;
    struct err e = {0};
    json_val *v;
    buf_init(&out, MIB(1));
    buf_init(&canonical, MIB(1));
    if (!send(a, in, &same, &out, &notes, &e))
        fail_msg("%s: %s %s", name, e.param, e.msg);
    assert_true(json_parse(a, buf_span(&out), &v, &e));
    assert_true(json_canonical(&canonical, v, &e));
    struct span got = buf_span(&canonical);
    struct span model = SPAN("\"model\":\"up\"");
    size_t at = span_index(got, model);
    assert_true(at < got.n);
    /* The model stands in every body: it is cut out with the comma beside it. */
    struct buf cut;
    buf_init(&cut, MIB(1));
    struct span tail = span_from(got, at + model.n);
    bool comma = tail.n > 0 && tail.p[0] == ',';
    assert_true(buf_add(&cut, span_upto(got, comma ? at : at - 1), &e) &&
                buf_add(&cut, span_from(tail, comma), &e));
    if (!span_eq(buf_span(&cut), span_of(want)))
        fail_msg("%s:\n got %.*s\nwant %s", name, SPAN_ARG(buf_span(&cut)), want);
    buf_done(&cut);
    buf_done(&out);
    buf_done(&canonical);
}

static void test_pass(void **state)
{
    for (size_t i = 0; i < COUNT_OF(pass); i++)
        check_sent(pass[i].name, span_of(pass[i].in), pass[i].want);
}

static void test_messages(void **state)
{
    for (size_t i = 0; i < COUNT_OF(messages); i++) {
        char in[2000], want[2000];
        snprintf(in, sizeof in, "{\"model\":\"m\",\"messages\":[%s]}", messages[i].in);
        snprintf(want, sizeof want, "{\"messages\":[%s]}", messages[i].want);
        check_sent(messages[i].name, span_of(in), want);
    }
}

static void test_fields(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct chat_request r;
    struct err e;
    struct span in = SPAN(
        "{" MSG
        ",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"fusion\":{\"quorum\":2}"
        ",\"random_seed\":7,\"user\":\"u\",\"max_completion_tokens\":1e2,\"min_p\":1}");
    assert_true(dialect_openai_chat.read_request(a, in, &r, &e));
    assert_true(span_eq(r.dialect, SPAN("openai_chat")) && span_eq(r.model, SPAN("m")));
    assert_true(r.stream && r.stream_usage && r.n == 1 && r.max_tokens == 100);
    assert_true(span_eq(r.fusion, SPAN("{\"quorum\":2}")) && span_eq(r.seed, SPAN("7")));
    assert_true(r.parallel_tool_calls == -1 && r.logprobs == -1 && r.top_logprobs == -1);
    assert_true(r.n_extras == 1 && !r.extras[0].hint && span_eq(r.extras[0].name, SPAN("min_p")));
    assert_null(r.temperature.p);
    in = SPAN("{" MSG ",\"stream_options\":{\"include_usage\":true}}");
    assert_true(dialect_openai_chat.read_request(a, in, &r, &e));
    assert_false(r.stream_usage); /* there is no stream */
    in = SPAN(
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
        "\"image_url\":{\"url\":\"data:image/png;base64,AA\"}}]}]}");
    assert_true(dialect_openai_chat.read_request(a, in, &r, &e));
    assert_true(span_eq(r.messages[0].parts[0].media_type, SPAN("image/png")));
}

/* Whoever answers refuses it: an upstream, a recipe. */
static void test_audio_is_refused_by_who_answers(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct chat_request r;
    struct dialect_notes notes = {0};
    struct buf out;
    struct err e = {0};
    buf_init(&out, MIB(1));
    struct span in = SPAN("{" MSG ",\"modalities\":[\"text\",\"audio\"]}");
    assert_true(dialect_openai_chat.read_request(a, in, &r, &e));
    assert_true(r.audio_out);
    assert_false(dialect_openai_chat.write_request(&r, &same, &out, &notes, &e));
    assert_true(e.cls == ERR_INPUT && strcmp(e.param, "modalities") == 0 && out.n == 0);
    in = SPAN("{" MSG ",\"modalities\":[\"text\"]}");
    assert_true(dialect_openai_chat.read_request(a, in, &r, &e));
    assert_false(r.audio_out);
    buf_done(&out);
}

static void test_stream_flags(void **state)
{
    static const struct {
        struct dialect_target target;
        const char *has, *has_not;
    } cases[] = {
        {{.model = SPAN_INIT("up")},
         "\"stream\":true,\"stream_options\":{\"include_usage\":true}",
         "?"},
        {{.model = SPAN_INIT("up"), .omit_stream_options = true},
         "\"stream\":true",
         "stream_options"},
        {{.model = SPAN_INIT("up"), .unary = true}, "\"model\":\"up\"", "stream"},
        {{.max_completion_tokens = true}, "\"max_completion_tokens\":9", "\"max_tokens\""},
        {{.model = SPAN_INIT("up")}, "\"max_tokens\":9", "max_completion_tokens"},
        {{.omit_reasoning = true}, "\"content\":\"x\"", "reasoning"},
        {{.model = SPAN_INIT("")}, "reasoning_content\":\"r\"", "?"},
    };
    struct span in =
        SPAN("{\"model\":\"m\",\"max_tokens\":9,\"stream\":false,\"messages\":[{\"role\":"
             "\"assistant\",\"content\":\"x\",\"reasoning_content\":\"r\"}]}");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        struct dialect_notes notes = {0};
        struct buf out;
        struct err e;
        buf_init(&out, KIB(4));
        assert_true(send(a, in, &cases[i].target, &out, &notes, &e));
        assert_true(buf_add_char(&out, '\0', &e));
        assert_non_null(strstr(out.mem, cases[i].has));
        assert_null(strstr(out.mem, cases[i].has_not));
        assert_int_equal(notes.n, cases[i].target.omit_reasoning);
        buf_done(&out);
    }
}

/* Extras stay behind an upstream of another dialect: hints are listed, the rest is an error. */
static void test_other_dialect(void **state)
{
    static const struct {
        const char *in, *param, *noted;
    } cases[] = {
        {"{" MSG ",\"min_p\":0.1}", "min_p", NULL},
        {"{" MSG ",\"logit_bias\":{}}", "logit_bias", NULL},
        {"{" MSG ",\"service_tier\":\"flex\"}", NULL, "service_tier"},
        {"{" MSG ",\"metadata\":{}}", NULL, "metadata"},
        {"{" MSG ",\"stream_options\":{\"x\":1}}", NULL, "stream_options.x"},
        {"{" MSG ",\"tools\":[{\"type\":\"web_search\"}]}", "tools[0]", NULL},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"x\":1}]}",
         "messages[0].x", NULL},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
         "\"text\":"
         "\"a\"},{\"type\":\"odd\"}]}]}",
         "messages[0].content[1]", NULL},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
         "\"text\":"
         "\"a\",\"cache_control\":{\"type\":\"ephemeral\"}}]}]}",
         NULL, "cache_control"},
    };
    struct dialect_target other = {.model = SPAN("up"), .dialect = SPAN("mistral")};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        struct dialect_notes notes = {0};
        struct buf out;
        struct err e = {0};
        buf_init(&out, KIB(4));
        assert_true(buf_add(&out, SPAN("kept"), &e));
        bool ok = send(a, span_of(cases[i].in), &other, &out, &notes, &e);
        assert_true(ok == !cases[i].param);
        if (!ok) {
            assert_string_equal(e.param, cases[i].param);
            assert_int_equal(e.status, 400);
            assert_true(span_eq(buf_span(&out), SPAN("kept")));
        }
        assert_int_equal(notes.n, cases[i].noted != NULL);
        assert_true(!cases[i].noted || span_eq(notes.ignored[0], span_of(cases[i].noted)));
        buf_done(&out);
    }
}

static void test_no_memory(void **state)
{
    struct span in = span_of(pass[10].in);
    bool failed = true;
    for (unsigned long n = 1; failed; n++) {
        struct buf out;
        struct err e = {0};
        buf_init(&out, KIB(64));
        mem_fail_at(n);
        struct arena *a = arena_new(0);
        bool ok = a && send(a, in, &same, &out, NULL, &e);
        failed = mem_failed();
        mem_fail_at(0);
        assert_true(ok == !failed);
        assert_true(ok || !a || e.cls == ERR_NOMEM);
        assert_true(ok || out.n == 0);
        arena_free(a);
        buf_done(&out);
    }
}

/* Every prefix of a long body is refused, none is read past its end (the copy has its own size). */
static void test_cut(void **state)
{
    struct span in = span_of(messages[4].in);
    for (size_t n = 0; n < in.n; n++) {
        AUTO(arena) a = arena_new(0);
        struct chat_request r;
        struct err e;
        char *copy = mem_dup(in.p, n);
        assert_non_null(copy);
        assert_false(dialect_openai_chat.read_request(a, span_make(copy, n), &r, &e));
        mem_free(copy);
    }
}

static void test_large(void **state)
{
    struct buf in, out;
    struct err e;
    AUTO(arena) a = arena_new(0);
    buf_init(&in, MIB(4));
    buf_init(&out, MIB(4));
    assert_true(buf_add(&in, SPAN("{\"model\":\"m\",\"messages\":["), &e));
    for (int i = 0; i < 1000; i++) {
        assert_true(buf_addf(&in, &e, "%s{\"role\":\"user\",\"content\":\"", i ? "," : ""));
        for (int k = 0; k < 20; k++)
            assert_true(buf_add(&in, SPAN("The quick brown fox jumps over the lazy dog.\\n "), &e));
        assert_true(buf_add(&in, SPAN("\"}"), &e));
    }
    assert_true(buf_add(&in, SPAN("]}"), &e));
    assert_true(send(a, buf_span(&in), &same, &out, NULL, &e));
    assert_true(arena_used(a) < 3 * in.n);
    buf_done(&in);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_pass),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_audio_is_refused_by_who_answers),
        cmocka_unit_test(test_stream_flags),
        cmocka_unit_test(test_other_dialect),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
