/* tests/unit/test_responses_request.c - bodies of Responses clients that are right, wrong and odd;
 * what goes to an upstream for them and for clients of Chat Completions; running out of memory at
 * each allocation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "dialect/dialect.h"
#include "json/json.h"

#define D        dialect_openai_responses
#define MODEL    "\"model\":\"m\""
#define HI       MODEL ",\"input\":\"hi\""
#define IN(list) "{" MODEL ",\"input\":[" list "]}"
#define TOOL(n)  "{\"type\":\"function\",\"name\":\"" n "\"}"

static const struct {
    const char *name, *in, *param;
} wrong[] = {
    {"not an object", "[1]", ""},
    {"not JSON", "{", ""},
    {"twice the same name", "{" HI ",\"model\":\"x\"}", "model"},
    {"no model", "{\"input\":\"hi\"}", "model"},
    {"model null", "{\"model\":null,\"input\":\"hi\"}", "model"},
    {"no input", "{" MODEL "}", "input"},
    {"input null", "{" MODEL ",\"input\":null}", "input"},
    {"input number", "{" MODEL ",\"input\":1}", "input"},
    {"input empty", IN(""), "input"},
    {"only instructions", "{" MODEL ",\"instructions\":\"x\"}", "input"},
    {"instructions list", "{" HI ",\"instructions\":[]}", "instructions"},
    {"item string", IN("\"x\""), "input[0]"},
    {"item without type", IN("{\"content\":\"x\"}"), "input[0].role"},
    {"item type number", IN("{\"type\":1}"), "input[0].type"},
    {"item type empty", IN("{\"type\":\"\"}"), "input[0].type"},
    {"unknown role", IN("{\"role\":\"tool\",\"content\":\"x\"}"), "input[0].role"},
    {"no content", IN("{\"role\":\"user\"}"), "input[0].content"},
    {"content number", IN("{\"role\":\"user\",\"content\":1}"), "input[0].content"},
    {"content empty", IN("{\"role\":\"user\",\"content\":[]}"), "input[0].content"},
    {"part string", IN("{\"role\":\"user\",\"content\":[\"x\"]}"), "input[0].content[0]"},
    {"part without type",
     IN("{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":[{\"type\":"
        "\"input_text\",\"text\":\"a\"},{\"text\":\"b\"}]}"),
     "input[1].content[1].type"},
    {"text missing", IN("{\"role\":\"user\",\"content\":[{\"type\":\"input_text\"}]}"),
     "input[0].content[0].text"},
    {"output_text of a user",
     IN("{\"role\":\"user\",\"content\":[{\"type\":\"output_text\",\"text\":\"x\"}]}"),
     "input[0].content[0].type"},
    {"image without url", IN("{\"role\":\"user\",\"content\":[{\"type\":\"input_image\"}]}"),
     "input[0].content[0].image_url"},
    {"image from a file",
     IN("{\"role\":\"user\",\"content\":[{\"type\":\"input_image\",\"image_url\":\"file:///x\"}]}"),
     "input[0].content[0].image_url"},
    {"file empty", IN("{\"role\":\"user\",\"content\":[{\"type\":\"input_file\"}]}"),
     "input[0].content[0]"},
    {"file twice",
     IN("{\"role\":\"user\",\"content\":[{\"type\":\"input_file\",\"file_id\":\"f\",\"file_data\":"
        "\"data:x\"}]}"),
     "input[0].content[0]"},
    {"file url",
     IN("{\"role\":\"user\",\"content\":[{\"type\":\"input_file\",\"file_url\":\"x\"}]}"),
     "input[0].content[0].file_url"},
    {"file link as data",
     IN("{\"role\":\"user\",\"content\":[{\"type\":\"input_file\",\"file_data\":\"http://x\"}]}"),
     "input[0].content[0].file_data"},
    {"audio",
     IN("{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\",\"input_audio\":{"
        "\"data\":\"x\"}}]}"),
     "input[0].content[0].input_audio.format"},
    {"call without id", IN("{\"type\":\"function_call\",\"name\":\"f\",\"arguments\":\"{}\"}"),
     "input[0].call_id"},
    {"call with a bad name",
     IN("{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f g\",\"arguments\":\"{}\"}"),
     "input[0].name"},
    {"call without arguments", IN("{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\"}"),
     "input[0].arguments"},
    {"output without id", IN("{\"type\":\"function_call_output\",\"output\":\"x\"}"),
     "input[0].call_id"},
    {"output without output", IN("{\"type\":\"function_call_output\",\"call_id\":\"c\"}"),
     "input[0].output"},
    {"output number", IN("{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":1}"),
     "input[0].output"},
    {"reference", IN("{\"type\":\"item_reference\",\"id\":\"msg_1\"}"), "input[0]"},
    {"bare reference", IN("{\"id\":\"msg_1\"}"), "input[0]"},
    {"reasoning id", IN("{\"type\":\"reasoning\",\"id\":1,\"summary\":[]}"), "input[0].id"},
    {"temperature", "{" HI ",\"temperature\":2.01}", "temperature"},
    {"top_p", "{" HI ",\"top_p\":-1}", "top_p"},
    {"max_output_tokens", "{" HI ",\"max_output_tokens\":0}", "max_output_tokens"},
    {"top_logprobs", "{" HI ",\"top_logprobs\":2}", "top_logprobs"},
    {"stream", "{" HI ",\"stream\":1}", "stream"},
    {"store", "{" HI ",\"store\":\"no\"}", "store"},
    {"background", "{" HI ",\"background\":true}", "background"},
    {"conversation", "{" HI ",\"conversation\":\"conv_1\"}", "conversation"},
    {"previous", "{" HI ",\"previous_response_id\":\"\"}", "previous_response_id"},
    {"truncation", "{" HI ",\"truncation\":\"some\"}", "truncation"},
    {"stream_options", "{" HI ",\"stream_options\":[]}", "stream_options"},
    {"include", "{" HI ",\"include\":\"x\"}", "include"},
    {"include logprobs",
     "{" HI ",\"include\":[\"reasoning.encrypted_content\",\"message.output_text.logprobs\"]}",
     "include[1]"},
    {"models", "{" HI ",\"models\":[\"a\",\"\"]}", "models[1]"},
    {"provider", "{" HI ",\"provider\":1}", "provider"},
    {"fusion", "{" HI ",\"fusion\":true}", "fusion"},
    {"metadata", "{" HI ",\"metadata\":1}", "metadata"},
    {"text", "{" HI ",\"text\":\"json\"}", "text"},
    {"format", "{" HI ",\"text\":{\"format\":{\"type\":\"xml\"}}}", "text.format.type"},
    {"format nameless", "{" HI ",\"text\":{\"format\":{\"type\":\"json_schema\",\"schema\":{}}}}",
     "text.format.name"},
    {"format bare", "{" HI ",\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\"}}}",
     "text.format.schema"},
    {"reasoning", "{" HI ",\"reasoning\":\"low\"}", "reasoning"},
    {"effort", "{" HI ",\"reasoning\":{\"effort\":1}}", "reasoning.effort"},
    {"thinking tokens", "{" HI ",\"reasoning\":{\"max_tokens\":0}}", "reasoning.max_tokens"},
    {"a path as a name", "{" HI ",\"reasoning.context\":1}", "reasoning"},
    {"tools", "{" HI ",\"tools\":{}}", "tools"},
    {"tool nameless", "{" HI ",\"tools\":[{\"type\":\"function\"}]}", "tools[0].name"},
    {"tool nested", "{" HI ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}",
     "tools[0].name"},
    {"tool custom", "{" HI ",\"tools\":[" TOOL("f") ",{\"type\":\"custom\",\"name\":\"x\"}]}",
     "tools[1].type"},
    {"tool shell", "{" HI ",\"tools\":[{\"type\":\"local_shell\"}]}", "tools[0].type"},
    {"choice word", "{" HI ",\"tools\":[" TOOL("f") "],\"tool_choice\":\"maybe\"}", "tool_choice"},
    {"choice unknown", "{" HI ",\"tools\":[" TOOL("f") "],\"tool_choice\":" TOOL("g") "}",
     "tool_choice.name"},
    {"choice without tools", "{" HI ",\"tool_choice\":\"required\"}", "tool_choice"},
};

static void test_wrong(void **state)
{
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        AUTO(arena) a = arena_new(0);
        struct chat_request r = {.n_messages = 77};
        struct err e = {0};
        bool ok = D.read_request(a, span_of(wrong[i].in), &r, &e);
        if (ok || strcmp(e.param, wrong[i].param) != 0)
            fail_msg("%s: %s, param %s, %s", wrong[i].name, ok ? "taken" : "refused", e.param,
                     e.msg);
        assert_int_equal(e.cls, ERR_INPUT);
        assert_int_equal(e.status, 400);
        assert_int_equal(r.n_messages, 77);
    }
}

/* --- to an upstream of the same dialect ------------------------------------------------------- */

#define KEEP "\"include\":[\"reasoning.encrypted_content\"],"
#define USER "\"input\":[{\"content\":\"hi\",\"role\":\"user\",\"type\":\"message\"}],"
#define END  "\"model\":\"up\",\"store\":false,\"stream\":true}"

/* Canonical form, so members stand in the order of their names. */
static const struct {
    const char *name, *in, *want;
} pass[] = {
    {"plain", "{" HI "}", "{" KEEP USER END},
    {"instructions", "{" HI ",\"instructions\":\"be\"}",
     "{" KEEP USER "\"instructions\":\"be\"," END},
    {"empty instructions", "{" HI ",\"instructions\":\"\"}", "{" KEEP USER END},
    {"what stays here",
     "{" HI ",\"store\":true,\"previous_response_id\":\"resp_1\",\"fusion\":{\"mode\":\"vote\"},"
     "\"models\":[\"a\"],\"provider\":{\"x\":1},\"session_id\":\"s\",\"include\":[\"reasoning."
     "encrypted_content\"],\"background\":false,\"truncation\":\"disabled\",\"top_logprobs\":0}",
     "{" KEEP USER END},
    {"settings",
     "{" HI ",\"temperature\":0.70,\"top_p\":1,\"max_output_tokens\":5,\"reasoning\":{\"effort\":"
     "\"low\",\"summary\":\"auto\",\"max_tokens\":9,\"context\":\"auto\"},\"text\":{\"verbosity\":"
     "\"low\",\"format\":{\"type\":\"json_object\"},\"new\":1},\"truncation\":\"auto\","
     "\"stream_options\":{\"include_obfuscation\":false}}",
     "{" KEEP USER "\"max_output_tokens\":5,\"model\":\"up\",\"reasoning\":{\"context\":\"auto\","
     "\"effort\":\"low\",\"max_tokens\":9,\"summary\":\"auto\"},\"store\":false,\"stream\":true,"
     "\"stream_options\":{\"include_obfuscation\":false},\"temperature\":0.7,\"text\":{\"format\":{"
     "\"type\":\"json_object\"},\"new\":1,\"verbosity\":\"low\"},\"top_p\":1,\"truncation\":"
     "\"auto\"}"},
    {"schema",
     "{" HI ",\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\",\"strict\":true,"
     "\"schema\":{\"type\":\"object\"},\"description\":\"d\"}}}",
     "{" KEEP USER "\"model\":\"up\",\"store\":false,\"stream\":true,\"text\":{\"format\":{"
     "\"description\":\"d\",\"name\":\"n\",\"schema\":{\"type\":\"object\"},\"strict\":true,"
     "\"type\":\"json_schema\"}}}"},
    {"hints and extras",
     "{" HI ",\"user\":\"u\",\"metadata\":{\"k\":\"v\"},\"safety_identifier\":\"s\","
     "\"prompt_cache_key\":\"k\",\"service_tier\":\"flex\",\"max_tool_calls\":3,\"odd\":[null],"
     "\"client_metadata\":{},\"temperature\":null,\"tools\":null}",
     "{\"client_metadata\":{}," KEEP USER "\"max_tool_calls\":3,\"metadata\":{\"k\":\"v\"},"
     "\"model\":\"up\",\"odd\":[null],\"prompt_cache_key\":\"k\",\"safety_identifier\":\"s\","
     "\"service_tier\":\"flex\",\"store\":false,\"stream\":true,\"user\":\"u\"}"},
    {"tools",
     "{" HI ",\"tools\":[" TOOL(
         "f") ",{\"type\":\"function\",\"name\":\"g\",\"description\":\"d\","
              "\"parameters\":{\"type\":\"object\"},\"strict\":false},{\"type\":\"web_search\","
              "\"x\":1},{"
              "\"type\":\"function\",\"name\":\"h\",\"defer_loading\":true}],\"tool_choice\":" TOOL(
                  "g") ",\"parallel_tool_calls\":false}",
     "{" KEEP USER "\"model\":\"up\",\"parallel_tool_calls\":false,\"store\":false,\"stream\":true,"
     "\"tool_choice\":{\"name\":\"g\",\"type\":\"function\"},\"tools\":[{\"name\":\"f\","
     "\"parameters\":{\"properties\":{},\"type\":\"object\"},\"type\":\"function\"},{"
     "\"description\":\"d\",\"name\":\"g\",\"parameters\":{\"type\":\"object\"},\"strict\":false,"
     "\"type\":\"function\"},{\"type\":\"web_search\",\"x\":1},{\"defer_loading\":true,\"name\":"
     "\"h\",\"type\":\"function\"}]}"},
    {"choice among tools",
     "{" HI ",\"tools\":[" TOOL("f") "],\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":"
                                     "\"auto\",\"tools\":[]}}",
     "{" KEEP USER "\"model\":\"up\",\"store\":false,\"stream\":true,\"tool_choice\":{\"mode\":"
     "\"auto\",\"tools\":[],\"type\":\"allowed_tools\"},\"tools\":[{\"name\":\"f\",\"parameters\":{"
     "\"properties\":{},\"type\":\"object\"},\"type\":\"function\"}]}"},
};

static void send_to(const struct dialect *d, const char *in, const struct dialect_target *t,
                    struct buf *canonical, struct dialect_notes *notes)
{
    AUTO(arena) a = arena_new(0);
    struct chat_request r;
    struct err e = {0};
    struct buf out;
    json_val *v;
    buf_init(&out, MIB(1));
    if (!d->read_request(a, span_of(in), &r, &e) || !D.write_request(&r, t, &out, notes, &e))
        fail_msg("%s\n%s: %s", in, e.param, e.msg);
    assert_true(json_parse(a, buf_span(&out), &v, &e));
    buf_clear(canonical);
    assert_true(json_canonical(canonical, v, &e));
    buf_done(&out);
}

static const struct dialect_target same = {.model = SPAN_INIT("up"),
                                           .dialect = SPAN_INIT("openai_responses")};

static void check_sent(const char *name, const struct buf *got, const char *want)
{
    if (!span_eq(buf_span(got), span_of(want)))
        fail_msg("%s:\n got %.*s\nwant %s", name, SPAN_ARG(buf_span(got)), want);
}

static void test_pass(void **state)
{
    struct buf out;
    buf_init(&out, MIB(1));
    for (size_t i = 0; i < COUNT_OF(pass); i++) {
        struct dialect_notes notes = {0};
        send_to(&D, pass[i].in, &same, &out, &notes);
        check_sent(pass[i].name, &out, pass[i].want);
        assert_int_equal(notes.n, 0);
    }
    buf_done(&out);
}

/* Items in, items out; and how many messages lie between. */
static const struct {
    const char *name, *in, *want;
    size_t messages;
} items[] = {
    {"roles",
     "{\"role\":\"developer\",\"content\":\"d\"},{\"type\":\"message\",\"role\":\"system\","
     "\"content\":[{\"type\":\"input_text\",\"text\":\"s\"}],\"id\":\"msg_1\",\"status\":"
     "\"completed\"}",
     "{\"content\":\"d\",\"role\":\"developer\",\"type\":\"message\"},{\"content\":\"s\",\"role\":"
     "\"system\",\"type\":\"message\"}",
     2},
    {"parts",
     "{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"t\","
     "\"prompt_cache_breakpoint\":{\"mode\":\"explicit\"}},{\"type\":\"input_image\",\"image_url\":"
     "\"https://x/i.png\"},{\"type\":\"input_image\",\"file_id\":\"f1\",\"detail\":\"low\"},{"
     "\"type\":\"input_file\",\"file_data\":\"data:application/pdf;base64,eA==\",\"filename\":"
     "\"a.pdf\"},{\"type\":\"input_file\",\"file_url\":\"https://x/a.pdf\"},{\"type\":"
     "\"input_file\",\"file_id\":\"f2\"},{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"x\","
     "\"format\":\"wav\"}},{\"type\":\"input_video\",\"video_url\":\"v\"}]}",
     "{\"content\":[{\"prompt_cache_breakpoint\":{\"mode\":\"explicit\"},\"text\":\"t\",\"type\":"
     "\"input_text\"},{\"detail\":\"auto\",\"image_url\":\"https://x/i.png\",\"type\":"
     "\"input_image\"},{\"detail\":\"low\",\"file_id\":\"f1\",\"type\":\"input_image\"},{"
     "\"file_data\":\"data:application/pdf;base64,eA==\",\"filename\":\"a.pdf\",\"type\":"
     "\"input_file\"},{\"file_url\":\"https://x/a.pdf\",\"type\":\"input_file\"},{\"file_id\":"
     "\"f2\",\"type\":\"input_file\"},{\"input_audio\":{\"data\":\"x\",\"format\":\"wav\"},"
     "\"type\":\"input_audio\"},{\"type\":\"input_video\",\"video_url\":\"v\"}],\"role\":\"user\","
     "\"type\":\"message\"}",
     1},
    {"a turn with tools is one message",
     "{\"role\":\"user\",\"content\":\"q\"},{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{"
     "\"type\":\"summary_text\",\"text\":\"h\"}],\"encrypted_content\":\"E\"},{\"type\":"
     "\"message\",\"role\":\"assistant\",\"id\":\"msg_1\",\"status\":\"completed\",\"content\":[{"
     "\"type\":\"output_text\",\"text\":\"let me\",\"annotations\":[],\"logprobs\":[]}]},{\"type\":"
     "\"function_call\",\"id\":\"fc_1\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{}\","
     "\"status\":\"completed\"},{\"type\":\"function_call\",\"call_id\":\"c2\",\"name\":\"g\","
     "\"arguments\":\"\"},{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"1\"},{"
     "\"type\":\"function_call_output\",\"call_id\":\"c2\",\"id\":\"x\",\"output\":[{\"type\":"
     "\"input_text\",\"text\":\"2\"},{\"type\":\"input_image\",\"image_url\":\"data:image/"
     "png;base64,eA==\"}]}",
     "{\"content\":\"q\",\"role\":\"user\",\"type\":\"message\"},{\"encrypted_content\":\"E\","
     "\"id\":\"rs_1\",\"summary\":[{\"text\":\"h\",\"type\":\"summary_text\"}],\"type\":"
     "\"reasoning\"},{\"content\":\"let me\",\"role\":\"assistant\",\"type\":\"message\"},{"
     "\"arguments\":\"{}\",\"call_id\":\"c1\",\"name\":\"f\",\"type\":\"function_call\"},{"
     "\"arguments\":\"{}\",\"call_id\":\"c2\",\"name\":\"g\",\"type\":\"function_call\"},{"
     "\"call_id\":\"c1\",\"output\":\"1\",\"type\":\"function_call_output\"},{\"call_id\":\"c2\","
     "\"output\":[{\"text\":\"2\",\"type\":\"input_text\"},{\"detail\":\"auto\",\"image_url\":"
     "\"data:image/png;base64,eA==\",\"type\":\"input_image\"}],\"type\":\"function_call_output\"}",
     4},
    {"results between calls",
     "{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{}\"},{"
     "\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"1\"},{\"type\":"
     "\"function_call\",\"call_id\":\"c2\",\"name\":\"f\",\"arguments\":\"{}\"},{\"type\":"
     "\"function_call_output\",\"call_id\":\"c2\",\"output\":\"2\"}",
     "{\"arguments\":\"{}\",\"call_id\":\"c1\",\"name\":\"f\",\"type\":\"function_call\"},{"
     "\"call_id\":\"c1\",\"output\":\"1\",\"type\":\"function_call_output\"},{\"arguments\":\"{}\","
     "\"call_id\":\"c2\",\"name\":\"f\",\"type\":\"function_call\"},{\"call_id\":\"c2\","
     "\"output\":\"2\",\"type\":\"function_call_output\"}",
     4},
    {"phases",
     "{\"role\":\"assistant\",\"phase\":\"commentary\",\"content\":\"a\"},{\"role\":\"assistant\","
     "\"phase\":\"final_answer\",\"content\":\"b\"}",
     "{\"content\":\"a\",\"phase\":\"commentary\",\"role\":\"assistant\",\"type\":\"message\"},{"
     "\"content\":\"b\",\"phase\":\"final_answer\",\"role\":\"assistant\",\"type\":\"message\"}",
     2},
    {"a word after a call that waits",
     "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"},{\"role\":"
     "\"assistant\",\"content\":\"a\"},{\"type\":\"function_call_output\",\"call_id\":\"c\","
     "\"output\":\"\"}",
     "{\"arguments\":\"{}\",\"call_id\":\"c\",\"name\":\"f\",\"type\":\"function_call\"},{"
     "\"content\":\"a\",\"role\":\"assistant\",\"type\":\"message\"},{\"call_id\":\"c\","
     "\"output\":\"\",\"type\":\"function_call_output\"}",
     2},
    {"no words beside a call",
     "{\"role\":\"assistant\",\"content\":\"\"},{\"type\":\"function_call\",\"call_id\":\"c\","
     "\"name\":\"f\",\"arguments\":\"{}\"},{\"type\":\"function_call_output\",\"call_id\":\"c\","
     "\"output\":\"1\"}",
     "{\"arguments\":\"{}\",\"call_id\":\"c\",\"name\":\"f\",\"type\":\"function_call\"},{"
     "\"call_id\":\"c\",\"output\":\"1\",\"type\":\"function_call_output\"}",
     2},
    {"a refusal, and nothing",
     "{\"role\":\"assistant\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"no\"}]},{\"role\":"
     "\"assistant\",\"content\":[]}",
     "{\"content\":[{\"refusal\":\"no\",\"type\":\"refusal\"}],\"role\":\"assistant\",\"type\":"
     "\"message\"},{\"content\":\"\",\"role\":\"assistant\",\"type\":\"message\"}",
     2},
    {"several summaries go as they came",
     "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":\"summary_text\",\"text\":"
     "\"a\"},{\"type\":\"summary_text\",\"text\":\"b\"}],\"encrypted_content\":\"E\",\"status\":"
     "\"completed\"},{\"role\":\"user\",\"content\":\"q\"}",
     "{\"encrypted_content\":\"E\",\"id\":\"rs_1\",\"status\":\"completed\",\"summary\":[{"
     "\"text\":\"a\",\"type\":\"summary_text\"},{\"text\":\"b\",\"type\":\"summary_text\"}],"
     "\"type\":\"reasoning\"},{\"content\":\"q\",\"role\":\"user\",\"type\":\"message\"}",
     2},
    {"a thought without its id",
     "{\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":\"E\"},{\"role\":\"user\","
     "\"content\":\"q\"}",
     "{\"encrypted_content\":\"E\",\"summary\":[],\"type\":\"reasoning\"},{\"content\":\"q\","
     "\"role\":\"user\",\"type\":\"message\"}",
     2},
    {"OpenAI's, packed under another id",
     "{\"type\":\"reasoning\",\"id\":\"rs_ours\",\"summary\":[{\"type\":\"summary_text\",\"text\":"
     "\"h\"}],\"encrypted_content\":\"fusor1:openai-responses-v1:rs_own:E:x\"},{\"role\":\"user\","
     "\"content\":\"q\"}",
     "{\"encrypted_content\":\"E:x\",\"id\":\"rs_own\",\"summary\":[{\"text\":\"h\",\"type\":"
     "\"summary_text\"}],\"type\":\"reasoning\"},{\"content\":\"q\",\"role\":\"user\",\"type\":"
     "\"message\"}",
     2},
    {"tools of OpenAI's",
     "{\"type\":\"web_search_call\",\"id\":\"ws\",\"status\":\"completed\"},{\"role\":"
     "\"assistant\","
     "\"content\":\"a\"},{\"type\":\"custom_tool_call\",\"call_id\":\"c\",\"name\":\"x\",\"input\":"
     "\"i\"},{\"type\":\"custom_tool_call_output\",\"call_id\":\"c\",\"output\":\"o\"},{\"role\":"
     "\"user\",\"content\":\"q\"}",
     "{\"id\":\"ws\",\"status\":\"completed\",\"type\":\"web_search_call\"},{\"content\":\"a\","
     "\"role\":\"assistant\",\"type\":\"message\"},{\"call_id\":\"c\",\"input\":\"i\",\"name\":"
     "\"x\",\"type\":\"custom_tool_call\"},{\"call_id\":\"c\",\"output\":\"o\",\"type\":"
     "\"custom_tool_call_output\"},{\"content\":\"q\",\"role\":\"user\",\"type\":\"message\"}",
     3},
    {"unknown members",
     "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\","
     "\"namespace\":\"n\",\"odd\":null},{\"type\":\"function_call_output\",\"call_id\":\"c\","
     "\"output\":\"o\",\"caller\":{\"x\":1}}",
     "{\"arguments\":\"{}\",\"call_id\":\"c\",\"name\":\"f\",\"namespace\":\"n\",\"odd\":null,"
     "\"type\":\"function_call\"},{\"call_id\":\"c\",\"caller\":{\"x\":1},\"output\":\"o\","
     "\"type\":"
     "\"function_call_output\"}",
     2},
};

static void test_items(void **state)
{
    struct buf in, out, want;
    buf_init(&in, MIB(1));
    buf_init(&out, MIB(1));
    buf_init(&want, MIB(1));
    for (size_t i = 0; i < COUNT_OF(items); i++) {
        AUTO(arena) a = arena_new(0);
        struct dialect_notes notes = {0};
        struct chat_request r;
        struct err e;
        buf_clear(&in);
        buf_clear(&want);
        assert_true(buf_addf(&in, &e, IN("%s"), items[i].in));
        assert_true(buf_addf(&want, &e, "{" KEEP "\"input\":[%s]," END, items[i].want));
        assert_true(buf_add_char(&in, '\0', &e) && buf_add_char(&want, '\0', &e));
        assert_true(D.read_request(a, span_of(buf_span(&in).p), &r, &e));
        if (r.n_messages != items[i].messages)
            fail_msg("%s: %zu messages", items[i].name, r.n_messages);
        send_to(&D, buf_span(&in).p, &same, &out, &notes);
        check_sent(items[i].name, &out, buf_span(&want).p);
        assert_int_equal(notes.n, 0);
    }
    buf_done(&in);
    buf_done(&out);
    buf_done(&want);
}

/* --- what chat_request holds ------------------------------------------------------------------ */

static void test_request(void **state)
{
    static const char in[] =
        "{" MODEL
        ",\"instructions\":\"be\",\"input\":\"hi\",\"max_output_tokens\":7,\"stream\":true,"
        "\"previous_response_id\":\"resp_1\",\"reasoning\":{\"effort\":\"high\",\"summary\":"
        "\"concise\",\"max_tokens\":99},\"text\":{\"verbosity\":\"low\"},\"prompt_cache_key\":"
        "\"k\","
        "\"models\":[\"a\",\"b\"],\"provider\":{\"order\":[]},\"fusion\":{\"mode\":\"vote\"}}";
    AUTO(arena) a = arena_new(0);
    struct chat_request r;
    struct err e;
    assert_true(D.read_request(a, span_of(in), &r, &e));
    assert_true(span_eq(r.dialect, SPAN("openai_responses")) && r.store && r.stream);
    assert_true(r.n_messages == 2 && r.n_instructions == 1 && r.max_tokens == 7);
    assert_int_equal(r.messages[0].role, CHAT_SYSTEM);
    assert_int_equal(r.messages[1].role, CHAT_USER);
    assert_true(span_eq(r.messages[0].parts[0].text, SPAN("be")));
    assert_true(span_eq(r.previous_id, SPAN("resp_1")) && span_eq(r.session, SPAN("k")));
    assert_true(span_eq(r.reasoning_effort, SPAN("high")) && r.reasoning_tokens == 99);
    assert_true(span_eq(r.reasoning_summary, SPAN("concise")));
    assert_true(span_eq(r.verbosity, SPAN("low")) &&
                span_eq(r.fusion, SPAN("{\"mode\":\"vote\"}")));
    assert_true(r.n_fallbacks == 2 && span_eq(r.fallbacks[1], SPAN("b")) && r.routing.n > 0);
    assert_true(D.read_request(a, SPAN("{" HI ",\"store\":false}"), &r, &e));
    assert_true(!r.store && !r.stream && r.n_messages == 1 && r.n_instructions == 0);
}

/* Reasoning that came packed has its signature, its id and the name of its maker again. */
static void test_sealed(void **state)
{
    static const char in[] = IN(
        "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":\"summary_text\",\"text\":"
        "\"h\"}],\"encrypted_content\":\"fusor1:anthropic-claude-v1::SIG\"},{\"type\":"
        "\"reasoning\",\"id\":\"rs_2\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"a\"},{"
        "\"type\":\"summary_text\",\"text\":\"b\"}]},{\"type\":\"function_call\",\"call_id\":\"c\","
        "\"name\":\"f\",\"arguments\":\"{}\",\"extra_content\":{\"google\":{"
        "\"thought_signature\":\"T\"}}}");
    AUTO(arena) a = arena_new(0);
    struct dialect_notes notes = {0};
    struct chat_request r;
    struct buf out;
    struct err e;
    assert_true(D.read_request(a, span_of(in), &r, &e));
    assert_true(r.n_messages == 1 && r.messages[0].n_parts == 3);
    const struct chat_part *p = r.messages[0].parts;
    assert_true(span_eq(p[0].signature, SPAN("SIG")) && span_eq(p[0].text, SPAN("h")));
    assert_true(span_eq(p[0].format, CHAT_SIGNED_ANTHROPIC) && p[0].id.n == 0);
    assert_true(span_eq(p[1].text, SPAN("a\n\nb")) && p[1].signature.n == 0);
    assert_true(span_eq(p[2].signature, SPAN("T")) && span_eq(p[2].format, CHAT_SIGNED_GEMINI));
    /* None of it is OpenAI's: it stays here, and that is said once. */
    buf_init(&out, MIB(1));
    assert_true(D.write_request(&r, &same, &out, &notes, &e));
    assert_true(notes.n == 1 && span_eq(notes.ignored[0], SPAN("messages.reasoning")));
    assert_int_equal(span_index(buf_span(&out), SPAN("SIG")), out.n);
    assert_int_equal(span_index(buf_span(&out), SPAN("reasoning\",\"id")), out.n);
    buf_done(&out);
}

/* --- from clients of Chat Completions --------------------------------------------------------- */

#define CHAT(messages, more) "{" MODEL ",\"messages\":[" messages "]" more "}"
#define CHAT_HI(more)        CHAT("{\"role\":\"user\",\"content\":\"hi\"}", more)

static const struct {
    const char *name, *in, *want, *note;
} chat[] = {
    {"system",
     CHAT("{\"role\":\"system\",\"content\":\"be\"},{\"role\":\"user\",\"content\":\"hi\"}", ""),
     "{" KEEP USER "\"instructions\":\"be\"," END, NULL},
    {"only a system", CHAT("{\"role\":\"system\",\"content\":\"be\"}", ""),
     "{" KEEP "\"input\":[{\"content\":\"be\",\"role\":\"system\",\"type\":\"message\"}]," END,
     NULL},
    {"settings",
     CHAT_HI(
         ",\"max_completion_tokens\":5,\"reasoning_effort\":\"low\",\"response_format\":{\"type\":"
         "\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{}}},\"presence_penalty\":0,"
         "\"frequency_penalty\":0.0"),
     "{" KEEP USER "\"max_output_tokens\":5,\"model\":\"up\",\"reasoning\":{\"effort\":\"low\"},"
     "\"store\":false,\"stream\":true,\"text\":{\"format\":{\"name\":\"n\",\"schema\":{},\"type\":"
     "\"json_schema\"}}}",
     NULL},
    {"tools are not strict unless they say so",
     CHAT_HI(",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":"
             "\"required\""),
     "{" KEEP USER "\"model\":\"up\",\"store\":false,\"stream\":true,\"tool_choice\":\"required\","
     "\"tools\":[{\"name\":\"f\",\"parameters\":{\"properties\":{},\"type\":\"object\"},\"strict\":"
     "false,\"type\":\"function\"}]}",
     NULL},
    {"a turn",
     CHAT("{\"role\":\"assistant\",\"content\":\"a\",\"reasoning_content\":\"h\",\"tool_calls\":[{"
          "\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}"
          ",{"
          "\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"o\"}",
          ""),
     "{" KEEP "\"input\":[{\"content\":\"a\",\"role\":\"assistant\",\"type\":\"message\"},{"
     "\"arguments\":\"{}\",\"call_id\":\"c\",\"name\":\"f\",\"type\":\"function_call\"},{\"call_"
     "id\":"
     "\"c\",\"output\":\"o\",\"type\":\"function_call_output\"}]," END,
     "messages.reasoning"},
    {"reasoning that OpenAI signed",
     CHAT("{\"role\":\"assistant\",\"content\":\"a\",\"reasoning_details\":[{\"type\":"
          "\"reasoning.encrypted\",\"data\":\"E\",\"id\":\"rs_1\",\"format\":\"openai-responses-"
          "v1\"}]"
          "},{\"role\":\"user\",\"content\":\"hi\"}",
          ""),
     "{" KEEP "\"input\":[{\"encrypted_content\":\"E\",\"id\":\"rs_1\",\"summary\":[],\"type\":"
     "\"reasoning\"},{\"content\":\"a\",\"role\":\"assistant\",\"type\":\"message\"},{\"content\":"
     "\"hi\",\"role\":\"user\",\"type\":\"message\"}]," END,
     NULL},
    {"files",
     CHAT("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
          "\"https://x/i\",\"detail\":\"low\"}},{\"type\":\"file\",\"file\":{\"file_data\":"
          "\"data:application/pdf;base64,eA==\",\"filename\":\"a\"}},{\"type\":\"input_audio\","
          "\"input_audio\":{\"data\":\"x\",\"format\":\"wav\"}}]}",
          ""),
     "{" KEEP "\"input\":[{\"content\":[{\"detail\":\"low\",\"image_url\":\"https://x/i\",\"type\":"
     "\"input_image\"},{\"file_data\":\"data:application/pdf;base64,eA==\",\"filename\":\"a\","
     "\"type\":\"input_file\"},{\"input_audio\":{\"data\":\"x\",\"format\":\"wav\"},\"type\":"
     "\"input_audio\"}],\"role\":\"user\",\"type\":\"message\"}]," END,
     NULL},
    {"seed promises nothing", CHAT_HI(",\"seed\":1"), "{" KEEP USER END, "seed"},
    {"hints", CHAT_HI(",\"store\":true,\"user\":\"u\""),
     "{" KEEP USER "\"model\":\"up\",\"store\":false,\"stream\":true,\"user\":\"u\"}", "store"},
    {"cache marks",
     CHAT("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\",\"cache_control\":{"
          "\"type\":\"ephemeral\"}}]}",
          ""),
     "{" KEEP USER END, "cache_control"},
};

static void test_from_chat(void **state)
{
    struct buf out;
    buf_init(&out, MIB(1));
    for (size_t i = 0; i < COUNT_OF(chat); i++) {
        struct dialect_notes notes = {0};
        send_to(&dialect_openai_chat, chat[i].in, &same, &out, &notes);
        check_sent(chat[i].name, &out, chat[i].want);
        if (notes.n != (chat[i].note != NULL) ||
            (chat[i].note && !span_eq(notes.ignored[0], span_of(chat[i].note))))
            fail_msg("%s: %zu notes, %.*s", chat[i].name, notes.n,
                     SPAN_ARG(notes.n > 0 ? notes.ignored[0] : SPAN("")));
    }
    buf_done(&out);
}

static const struct {
    const char *in, *param;
} refused[] = {
    {CHAT_HI(",\"stop\":[\"x\"]"), "stop"},
    {CHAT_HI(",\"presence_penalty\":0.5"), "presence_penalty"},
    {CHAT_HI(",\"frequency_penalty\":-1e-1"), "frequency_penalty"},
    {CHAT_HI(",\"logit_bias\":{\"1\":1}"), "logit_bias"},
    {CHAT_HI(",\"odd\":1"), "odd"},
    {CHAT_HI(",\"tools\":[{\"type\":\"web_search\"}]"), "tools[0]"},
    {CHAT("{\"role\":\"user\",\"content\":\"a\",\"name\":\"n\"}", ""), "messages[0].name"},
    {CHAT("{\"role\":\"user\",\"content\":[{\"type\":\"video_url\"}]}", ""),
     "messages[0].content[0]"},
    {CHAT("{\"role\":\"user\",\"content\":\"a\",\"odd\":1}", ""), "messages[0].odd"},
};

static void test_refused(void **state)
{
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        AUTO(arena) a = arena_new(0);
        struct chat_request r;
        struct err e = {0};
        struct buf out;
        buf_init(&out, MIB(1));
        assert_true(dialect_openai_chat.read_request(a, span_of(refused[i].in), &r, &e));
        bool ok = D.write_request(&r, &same, &out, NULL, &e);
        if (ok || strcmp(e.param, refused[i].param) != 0 || out.n != 0)
            fail_msg("%s: %s, param %s, %s", refused[i].in, ok ? "taken" : "refused", e.param,
                     e.msg);
        buf_done(&out);
    }
}

/* Towards Chat Completions: what only Responses has is a hint or an error, never lost. */
static const struct {
    const char *in, *param; /* param NULL: taken */
    size_t notes;
} to_chat[] = {
    {"{" HI "}", NULL, 0},
    {IN("{\"role\":\"assistant\",\"phase\":\"commentary\",\"content\":\"a\"},{\"role\":\"user\","
        "\"content\":\"b\"}"),
     NULL, 1},
    {"{" HI ",\"prompt_cache_key\":\"k\",\"service_tier\":\"flex\",\"stream_options\":{"
     "\"include_obfuscation\":true}}",
     NULL, 3},
    {"{" HI ",\"reasoning\":{\"context\":\"auto\"}}", "reasoning.context", 0},
    {"{" HI ",\"truncation\":\"auto\"}", "truncation", 0},
    {"{" HI ",\"prompt\":{\"id\":\"p\"}}", "prompt", 0},
    {"{" HI ",\"tools\":[{\"type\":\"web_search\"}]}", "tools[0]", 0},
    {IN("{\"type\":\"web_search_call\",\"id\":\"ws\"}"), "messages[0].content[0]", 0},
};

static void test_to_chat(void **state)
{
    struct dialect_target t = {.model = SPAN("up"), .dialect = SPAN("openai_chat")};
    for (size_t i = 0; i < COUNT_OF(to_chat); i++) {
        AUTO(arena) a = arena_new(0);
        struct dialect_notes notes = {0};
        struct chat_request r;
        struct err e = {0};
        struct buf out;
        buf_init(&out, MIB(1));
        assert_true(D.read_request(a, span_of(to_chat[i].in), &r, &e));
        bool ok = dialect_openai_chat.write_request(&r, &t, &out, &notes, &e);
        if (ok != !to_chat[i].param || (!ok && strcmp(e.param, to_chat[i].param) != 0) ||
            (ok && notes.n != to_chat[i].notes))
            fail_msg("%s: %d, %zu notes, %s", to_chat[i].in, ok, notes.n, e.msg);
        buf_done(&out);
    }
}

/* OpenAI refuses to include what its models without thoughts do not have. */
static void test_include(void **state)
{
    static const struct {
        const char *model;
        bool omit, want;
    } models[] = {
        {"gpt-5.1", false, true},
        {"o3", false, true},
        {"gpt-4o-mini", false, false},
        {"openai/gpt-4.1", false, false},
        {"gpt-3.5-turbo", false, false},
        {"gpt-5-chat-latest", false, false},
        {"chatgpt-4o-latest", false, false},
        {"grok-4", false, true},
        {"grok-4", true, false},
    };
    for (size_t i = 0; i < COUNT_OF(models); i++) {
        struct dialect_target t = same;
        struct buf out;
        buf_init(&out, MIB(1));
        t.model = span_of(models[i].model);
        t.omit_reasoning = models[i].omit;
        t.unary = true;
        send_to(&D, "{" HI "}", &t, &out, NULL);
        bool got = span_index(buf_span(&out), SPAN("encrypted_content")) < out.n;
        if (got != models[i].want)
            fail_msg("%s: %d", models[i].model, got);
        assert_int_equal(span_index(buf_span(&out), SPAN("stream")), out.n);
        buf_done(&out);
    }
}

/* How many tokens to think with, where only an effort can be said. */
static void test_effort(void **state)
{
    static const struct {
        int64_t tokens;
        const char *want;
    } efforts[] = {{1, "low"}, {2048, "low"}, {8192, "medium"}, {8193, "high"}};
    for (size_t i = 0; i < COUNT_OF(efforts); i++) {
        AUTO(arena) a = arena_new(0);
        struct dialect_notes notes = {0};
        struct chat_request r;
        struct err e;
        struct buf out;
        char want[64];
        buf_init(&out, KIB(4));
        snprintf(want, sizeof want, "\"reasoning\":{\"effort\":\"%s\"}", efforts[i].want);
        assert_true(dialect_openai_chat.read_request(a, SPAN(CHAT_HI("")), &r, &e));
        r.reasoning_tokens = efforts[i].tokens;
        assert_true(D.write_request(&r, &same, &out, &notes, &e));
        assert_true(span_index(buf_span(&out), span_of(want)) < out.n && notes.n == 1);
        buf_done(&out);
    }
}

/* --- size and memory -------------------------------------------------------------------------- */

/* Many small items, and one large: memory and time stay in proportion. */
static void test_large(void **state)
{
    enum { N = 20000 };
    AUTO(arena) a = arena_new(0);
    struct buf in, out;
    struct chat_request r;
    struct err e;
    buf_init(&in, MIB(64));
    buf_init(&out, MIB(64));
    assert_true(buf_add(&in, SPAN("{" MODEL ",\"input\":["), &e));
    for (int i = 0; i < N; i++)
        assert_true(buf_addf(&in, &e,
                             "{\"type\":\"function_call\",\"call_id\":\"c%d\",\"name\":\"f\","
                             "\"arguments\":\"{}\"},{\"type\":\"function_call_output\",\"call_id\":"
                             "\"c%d\",\"output\":\"%0100d\"},",
                             i, i, i));
    assert_true(buf_add(&in, SPAN("{\"role\":\"user\",\"content\":\"q\"}]}"), &e));
    assert_true(D.read_request(a, buf_span(&in), &r, &e));
    assert_int_equal(r.n_messages, 2 * N + 1);
    assert_true(D.write_request(&r, &same, &out, NULL, &e));
    assert_true(arena_used(a) < 12 * in.n);
    buf_done(&in);
    buf_done(&out);
}

static bool read_and_send(const char *in, struct err *e)
{
    AUTO(arena) a = arena_new(0);
    struct chat_request r;
    struct buf out;
    if (!a)
        return err_set(e, ERR_NOMEM, "no arena");
    buf_init(&out, MIB(1));
    bool ok = D.read_request(a, span_of(in), &r, e) && D.write_request(&r, &same, &out, NULL, e);
    buf_done(&out);
    return ok;
}

static void no_memory_for(const char *in)
{
    bool failed = true;
    for (unsigned long n = 1; failed; n++) {
        struct err e = {0};
        mem_fail_at(n);
        bool ok = read_and_send(in, &e);
        failed = mem_failed();
        mem_fail_at(0);
        assert_true(ok == !failed);
        assert_true(ok || e.cls == ERR_NOMEM);
    }
}

static void test_no_memory(void **state)
{
    struct buf in;
    buf_init(&in, KIB(64));
    for (size_t i = 0; i < COUNT_OF(pass); i++)
        no_memory_for(pass[i].in);
    for (size_t i = 0; i < COUNT_OF(items); i++) {
        buf_clear(&in);
        assert_true(buf_addf(&in, NULL, IN("%s"), items[i].in) && buf_add_char(&in, '\0', NULL));
        no_memory_for(buf_span(&in).p);
    }
    buf_done(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong),   cmocka_unit_test(test_pass),
        cmocka_unit_test(test_items),   cmocka_unit_test(test_request),
        cmocka_unit_test(test_sealed),  cmocka_unit_test(test_from_chat),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_to_chat),
        cmocka_unit_test(test_include), cmocka_unit_test(test_effort),
        cmocka_unit_test(test_large),   cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
