/* tests/unit/test_anthropic_messages_request.c - bodies of Messages clients that are right, wrong
 * and odd; what becomes of them for an upstream of the same dialect and of another; the question of
 * tokens; running out of memory at each allocation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "dialect/dialect.h"
#include "json/json.h"
#include "quoted.h"

#define ASK       "'model':'m','max_tokens':9,'messages':[{'role':'user','content':'hi'}]"
#define USER(c)   "{'role':'user','content':" c "}"
#define ASSIST(c) "{'role':'assistant','content':" c "}"
#define M(list)   "{'model':'m','max_tokens':9,'messages':[" list "]}"
#define TOOL(n)   "{'name':'" n "','input_schema':{'type':'object'}}"

static struct buf text;

static const struct {
    const char *name, *in, *param;
} wrong[] = {
    {"not an object", "[1]", ""},
    {"not JSON", "{", ""},
    {"twice the same name", "{" ASK ",'model':'x'}", "model"},
    {"no model", "{'max_tokens':9,'messages':[" USER("'hi'") "]}", "model"},
    {"model empty", "{'model':'','max_tokens':9}", "model"},
    {"no max_tokens", "{'model':'m','messages':[" USER("'hi'") "]}", "max_tokens"},
    {"max_tokens null", "{'model':'m','max_tokens':null,'messages':[" USER("'hi'") "]}",
     "max_tokens"},
    {"max_tokens zero", "{'model':'m','max_tokens':0}", "max_tokens"},
    {"max_tokens half", "{'model':'m','max_tokens':1.5}", "max_tokens"},
    {"no messages", "{'model':'m','max_tokens':9}", "messages"},
    {"messages string", "{'model':'m','max_tokens':9,'messages':'hi'}", "messages"},
    {"messages empty", M(""), "messages"},
    {"message string", M("'hi'"), "messages[0]"},
    {"no role", M("{'content':'hi'}"), "messages[0].role"},
    {"role tool", M("{'role':'tool','content':'hi'}"), "messages[0].role"},
    {"role developer", M("{'role':'developer','content':'hi'}"), "messages[0].role"},
    {"no content", M("{'role':'user'}"), "messages[0].content"},
    {"content number", M(USER("1")), "messages[0].content"},
    {"content empty", M(USER("[]")), "messages[0].content"},
    {"block string", M(USER("['x']")), "messages[0].content[0]"},
    {"block without type", M(USER("'a'") "," USER("[{'type':'text','text':'a'},{'text':'b'}]")),
     "messages[1].content[1].type"},
    {"text missing", M(USER("[{'type':'text'}]")), "messages[0].content[0].text"},
    {"image without source", M(USER("[{'type':'image'}]")), "messages[0].content[0].source"},
    {"image of text", M(USER("[{'type':'image','source':{'type':'text','data':'x'}}]")),
     "messages[0].content[0].source.type"},
    {"image without data",
     M(USER("[{'type':'image','source':{'type':'base64','media_type':'image/png'}}]")),
     "messages[0].content[0].source.data"},
    {"image with a broken type",
     M(USER("[{'type':'image','source':{'type':'base64','media_type':'a;b','data':'x'}}]")),
     "messages[0].content[0].source.media_type"},
    {"image from a file",
     M(USER("[{'type':'image','source':{'type':'url','url':'file:///etc/passwd'}}]")),
     "messages[0].content[0].source.url"},
    {"document without file id", M(USER("[{'type':'document','source':{'type':'file'}}]")),
     "messages[0].content[0].source.file_id"},
    {"thinking of a user", M(USER("[{'type':'thinking','thinking':'x','signature':'y'}]")),
     "messages[0].content[0].type"},
    {"call of a user", M(USER("[{'type':'tool_use','id':'c','name':'f','input':{}}]")),
     "messages[0].content[0].type"},
    {"call without id", M(ASSIST("[{'type':'tool_use','name':'f','input':{}}]")),
     "messages[0].content[0].id"},
    {"call with a bad name", M(ASSIST("[{'type':'tool_use','id':'c','name':'f g','input':{}}]")),
     "messages[0].content[0].name"},
    {"call with a string", M(ASSIST("[{'type':'tool_use','id':'c','name':'f','input':'{}'}]")),
     "messages[0].content[0].input"},
    {"result without id", M(USER("[{'type':'tool_result','content':'x'}]")),
     "messages[0].content[0].tool_use_id"},
    {"result of a number", M(USER("[{'type':'tool_result','tool_use_id':'c','content':1}]")),
     "messages[0].content[0].content"},
    {"result with a bad block",
     M(USER("[{'type':'tool_result','tool_use_id':'c','content':[{'type':'text'}]}]")),
     "messages[0].content[0].content[0].text"},
    {"is_error", M(USER("[{'type':'tool_result','tool_use_id':'c','is_error':'yes'}]")),
     "messages[0].content[0].is_error"},
    {"system number", "{" ASK ",'system':1}", "system"},
    {"system image", "{" ASK ",'system':[{'type':'search_result'}]}", "system[0].type"},
    {"temperature", "{" ASK ",'temperature':1.01}", "temperature"},
    {"top_p", "{" ASK ",'top_p':2}", "top_p"},
    {"top_k", "{" ASK ",'top_k':1.5}", "top_k"},
    {"stop_sequences", "{" ASK ",'stop_sequences':'x'}", "stop_sequences"},
    {"stop_sequences of numbers", "{" ASK ",'stop_sequences':['a',1]}", "stop_sequences[1]"},
    {"stream", "{" ASK ",'stream':1}", "stream"},
    {"metadata", "{" ASK ",'metadata':1}", "metadata"},
    {"user_id", "{" ASK ",'metadata':{'user_id':1}}", "metadata.user_id"},
    {"thinking bare", "{" ASK ",'thinking':true}", "thinking"},
    {"thinking of a kind", "{" ASK ",'thinking':{'type':'hard'}}", "thinking.type"},
    {"thinking without budget", "{" ASK ",'thinking':{'type':'enabled'}}",
     "thinking.budget_tokens"},
    {"effort", "{" ASK ",'output_config':{'effort':1}}", "output_config.effort"},
    {"format", "{" ASK ",'output_config':{'format':{'type':'xml'}}}", "output_config.format.type"},
    {"format without schema", "{" ASK ",'output_format':{'type':'json_schema'}}",
     "output_format.schema"},
    {"tools object", "{" ASK ",'tools':{}}", "tools"},
    {"tool nameless", "{" ASK ",'tools':[{'input_schema':{}}]}", "tools[0].name"},
    {"tool bad name", "{" ASK ",'tools':[" TOOL("f") "," TOOL("g.h") "]}", "tools[1].name"},
    {"tool without schema", "{" ASK ",'tools':[{'name':'f'}]}", "tools[0].input_schema"},
    {"tool strict", "{" ASK ",'tools':[{'name':'f','input_schema':{},'strict':1}]}",
     "tools[0].strict"},
    {"choice string", "{" ASK ",'tools':[" TOOL("f") "],'tool_choice':'auto'}", "tool_choice"},
    {"choice required", "{" ASK ",'tools':[" TOOL("f") "],'tool_choice':{'type':'required'}}",
     "tool_choice.type"},
    {"choice nameless", "{" ASK ",'tools':[" TOOL("f") "],'tool_choice':{'type':'tool'}}",
     "tool_choice.name"},
    {"choice unknown", "{" ASK ",'tools':[" TOOL("f") "],'tool_choice':{'type':'tool','name':'g'}}",
     "tool_choice.name"},
    {"choice without tools", "{" ASK ",'tool_choice':{'type':'any'}}", "tool_choice"},
    {"parallel",
     "{" ASK ",'tools':[" TOOL("f") "],'tool_choice':{'type':'auto',"
                                    "'disable_parallel_tool_use':1}}",
     "tool_choice.disable_parallel_tool_use"},
    {"fusion", "{" ASK ",'fusion':true}", "fusion"},
};

static void test_wrong(void **state)
{
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        AUTO(arena) a = arena_new(0);
        struct chat_request r = {.n_messages = 77};
        struct err e = {0};
        bool ok = dialect_anthropic_messages.read_request(a, quoted(&text, wrong[i].in), &r, &e);
        if (ok || strcmp(e.param, wrong[i].param) != 0)
            fail_msg("%s: %s, param %s, %s", wrong[i].name, ok ? "taken" : "refused", e.param,
                     e.msg);
        assert_int_equal(e.cls, ERR_INPUT);
        assert_int_equal(e.status, 400);
        assert_int_equal(r.n_messages, 77);
    }
}

/* What an upstream of this dialect gets: canonical, without the fields that always stand. */
static const struct {
    const char *name, *in, *want;
} pass[] = {
    {"plain", "{" ASK "}", "'messages':[{'content':[{'text':'hi','type':'text'}],'role':'user'}]"},
    {"numbers as written",
     "{" ASK ",'temperature':0.70,'top_p':1,'top_k':40,'stop_sequences':['a','b']}",
     "'messages':[{'content':[{'text':'hi','type':'text'}],'role':'user'}],'stop_sequences':['a',"
     "'b'],'temperature':0.7,'top_k':40,'top_p':1"},
    {"system string", "{" ASK ",'system':'be brief'}",
     "'messages':[{'content':[{'text':'hi','type':'text'}],'role':'user'}],'system':[{'text':"
     "'be brief','type':'text'}]"},
    {"system blocks",
     "{" ASK ",'system':[{'type':'text','text':'a'},{'type':'text','text':'b','cache_control':{"
     "'type':'ephemeral','ttl':'1h'}}]}",
     "'messages':[{'content':[{'text':'hi','type':'text'}],'role':'user'}],'system':[{'text':'a',"
     "'type':'text'},{'cache_control':{'ttl':'1h','type':'ephemeral'},'text':'b','type':'text'}]"},
    {"system in the middle",
     M(USER("'a'") ",{'role':'system','content':'b'}," ASSIST("'c'") "," USER("'d'")),
     "'messages':[{'content':[{'text':'a','type':'text'}],'role':'user'},{'content':[{'text':'b',"
     "'type':'text'}],'role':'system'},{'content':[{'text':'c','type':'text'}],'role':"
     "'assistant'},{'content':[{'text':'d','type':'text'}],'role':'user'}]"},
    {"images and documents",
     M(USER("[{'type':'image','source':{'type':'base64','media_type':'image/png','data':'AA=='}},"
            "{'type':'image','source':{'type':'url','url':'https://x/y'},'cache_control':{'type':"
            "'ephemeral'}},{'type':'image','source':{'type':'file','file_id':'file_1'}},{'type':"
            "'document','source':{'type':'base64','media_type':'application/pdf','data':'BB'},"
            "'title':'t'},{'type':'document','source':{'type':'text','media_type':'text/plain',"
            "'data':'words'},'citations':{'enabled':false},'context':null},{'type':'document',"
            "'source':{'type':'url','url':'https://x/z'},'context':'c'},{'type':'document',"
            "'source':{'type':'content','content':'x'}}]")),
     "'messages':[{'content':[{'source':{'data':'AA==','media_type':'image/png','type':'base64'},"
     "'type':'image'},{'cache_control':{'type':'ephemeral'},'source':{'type':'url','url':"
     "'https://x/y'},'type':'image'},{'source':{'file_id':'file_1','type':'file'},'type':'image'},"
     "{'source':{'data':'BB','media_type':'application/pdf','type':'base64'},'title':'t','type':"
     "'document'},{'source':{'data':'words','media_type':'text/plain','type':'text'},'type':"
     "'document'},{'context':'c','source':{'type':'url','url':'https://x/z'},'type':'document'},{"
     "'source':{'content':'x','type':'content'},'type':'document'}],'role':'user'}]"},
    {"a chain of calls",
     M(USER("'a'") "," ASSIST(
         "[{'type':'thinking','thinking':'h','signature':'S'},{'type':'redacted_"
         "thinking','data':"
         "'R'},{'type':'text','text':'t'},{'type':'tool_use','id':'c:1','name':'"
         "f','input':{'x':"
         "1.50},'caller':{'type':'direct'}},{'type':'tool_use','id':'d','name':'"
         "g','input':{}}]") "," USER("[{'type':'tool_result','tool_use_id':'d','"
                                     "content':[{'type':'text','text':'r'},{"
                                     "'type':'image','source':{'type':'url','url'"
                                     ":'https://x/y'}}],'is_error':true},{"
                                     "'type':'tool_result','tool_use_id':'c:1','"
                                     "cache_control':{'type':'ephemeral'}},{"
                                     "'type':'text','text':'go on'}]")),
     "'messages':[{'content':[{'text':'a','type':'text'}],'role':'user'},{'content':[{'signature':"
     "'S','thinking':'h','type':'thinking'},{'data':'R','type':'redacted_thinking'},{'text':'t',"
     "'type':'text'},{'id':'c:1','input':{'x':1.5},'name':'f','type':'tool_use'},{'id':'d',"
     "'input':{},'name':'g','type':'tool_use'}],'role':'assistant'},{'content':[{'content':[{"
     "'text':'r','type':'text'},{'source':{'type':'url','url':'https://x/y'},'type':'image'}],"
     "'is_error':true,'tool_use_id':'d','type':'tool_result'},{'cache_control':{'type':"
     "'ephemeral'},'tool_use_id':'c:1','type':'tool_result'},{'text':'go on','type':'text'}],"
     "'role':'user'}],'tool_choice':{'type':'none'},'tools':[{'input_schema':{'type':'object'},"
     "'name':'f'},{'input_schema':{'type':'object'},'name':'g'}]"},
    {"blocks of the server",
     M(USER("'a'") "," ASSIST(
         "[{'type':'server_tool_use','id':'s','name':'web_search','input':{}"
         "},{'type':'web_search_tool_result','tool_use_id':'s','content':[]}]")),
     "'messages':[{'content':[{'text':'a','type':'text'}],'role':'user'},{'content':[{'id':'s',"
     "'input':{},'name':'web_search','type':'server_tool_use'},{'content':[],'tool_use_id':'s',"
     "'type':'web_search_tool_result'}],'role':'assistant'}]"},
    {"tools",
     "{" ASK ",'tools':[{'name':'f','description':'d','input_schema':{'type':'object'},'strict':"
     "true,'cache_control':{'type':'ephemeral'},'eager_input_streaming':true},{'type':'custom',"
     "'name':'g','input_schema':{},'defer_loading':true},{'type':'web_search_20250305','name':"
     "'web_search'}],'tool_choice':{'type':'any','disable_parallel_tool_use':true}}",
     "'messages':[{'content':[{'text':'hi','type':'text'}],'role':'user'}],'tool_choice':{"
     "'disable_parallel_tool_use':true,'type':'any'},'tools':[{'cache_control':{'type':"
     "'ephemeral'},'description':'d','input_schema':{'type':'object'},'name':'f','strict':true},{"
     "'defer_loading':true,'input_schema':{},'name':'g','type':'custom'},{'name':'web_search',"
     "'type':'web_search_20250305'}]"},
    {"output_config",
     "{" ASK ",'output_config':{'effort':'low','format':{'type':'json_schema','schema':{'type':"
     "'object'}},'task_budget':{'x':1}}}",
     "'messages':[{'content':[{'text':'hi','type':'text'}],'role':'user'}],'output_config':{"
     "'effort':'low','format':{'schema':{'type':'object'},'type':'json_schema'},'task_budget':{"
     "'x':1}}"},
    {"output_format is its old name",
     "{" ASK ",'output_format':{'type':'json_schema','schema':{}}}",
     "'messages':[{'content':[{'text':'hi','type':'text'}],'role':'user'}],'output_config':{"
     "'format':{'schema':{},'type':'json_schema'}}"},
    {"hints and extras",
     "{" ASK ",'metadata':{'user_id':'u','x':1},'service_tier':'auto','container':'c','odd':[1]}",
     "'container':'c','messages':[{'content':[{'text':'hi','type':'text'}],'role':'user'}],"
     "'metadata':{'user_id':'u','x':1},'odd':[1],'service_tier':'auto'"},
    {"thinking", "{" ASK ",'thinking':{'type':'adaptive','display':'omitted'}}",
     "'messages':[{'content':[{'text':'hi','type':'text'}],'role':'user'}],'thinking':{'display':"
     "'omitted','type':'adaptive'}"},
    {"no thinking", "{" ASK ",'thinking':{'type':'disabled'},'output_config':{'effort':'low'}}",
     "'messages':[{'content':[{'text':'hi','type':'text'}],'role':'user'}],'output_config':{"
     "'effort':'low'},'thinking':{'type':'disabled'}"},
    {"empty blocks are left out",
     M(USER("[{'type':'text','text':' '},{'type':'text','text':'a'}]")),
     "'messages':[{'content':[{'text':'a','type':'text'}],'role':'user'}]"},
};

static const struct dialect_target same = {.model = SPAN_INIT("claude-opus-4-6"),
                                           .dialect = SPAN_INIT("anthropic_messages"),
                                           .unary = true};

static bool send(struct arena *a, struct span in, const struct dialect_target *t, struct buf *out,
                 struct dialect_notes *notes, struct err *e)
{
    struct chat_request r;
    return dialect_anthropic_messages.read_request(a, in, &r, e) &&
           dialect_anthropic_messages.write_request(&r, t, out, notes, e);
}

/* The canonical body without model and max_tokens. */
static void check_sent(const char *name, struct span in, const char *want)
{
    AUTO(arena) a = arena_new(0);
    struct dialect_notes notes = {0};
    struct buf out, canonical, whole;
    struct err e = {0};
    json_val *v;
    buf_init(&out, MIB(1));
    buf_init(&canonical, MIB(1));
    buf_init(&whole, MIB(1));
    if (!send(a, in, &same, &out, &notes, &e))
        fail_msg("%s: %s %s", name, e.param, e.msg);
    assert_true(json_parse(a, buf_span(&out), &v, &e));
    assert_true(json_canonical(&canonical, v, &e));
    struct span rest = buf_span(&canonical);
    static const char *const always[] = {"\"max_tokens\":9,", "\"model\":\"claude-opus-4-6\""};
    for (size_t i = 0; i < 2; i++) {
        size_t at = span_index(rest, span_of(always[i]));
        assert_true(at < rest.n);
        assert_true(buf_add(&whole, span_upto(rest, at), &e));
        rest = span_from(rest, at + strlen(always[i]));
    }
    assert_true(buf_add(&whole, rest, &e));
    /* The comma that stood before the model may now stand before the end or beside another. */
    struct span got = buf_span(&whole);
    char flat[8192];
    size_t n = 0;
    for (size_t i = 1; i + 1 < got.n && n < sizeof flat; i++)
        if (!(got.p[i] == ',' && (got.p[i + 1] == ',' || i + 2 == got.n)))
            flat[n++] = got.p[i];
    if (!span_eq(span_make(flat, n), quoted(&text, want)))
        fail_msg("%s:\n got %.*s\nwant %s", name, (int)n, flat, want);
    assert_int_equal(notes.n, 0);
    buf_done(&whole);
    buf_done(&out);
    buf_done(&canonical);
}

static void test_pass(void **state)
{
    struct buf in;
    buf_init(&in, MIB(1));
    for (size_t i = 0; i < COUNT_OF(pass); i++)
        check_sent(pass[i].name, quoted(&in, pass[i].in), pass[i].want);
    buf_done(&in);
}

static void test_fields(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct chat_request r;
    struct err e;
    struct span in = quoted(
        &text,
        "{" ASK ",'stream':true,'system':'s','fusion':{'quorum':2},'metadata':{'user_id':'u'},"
        "'top_k':5,'thinking':{'type':'enabled','budget_tokens':2048},'output_config':{'effort':"
        "'max'},'tools':[" TOOL("f") "],'tool_choice':{'type':'tool','name':'f',"
                                     "'disable_parallel_tool_use':false}}");
    assert_true(dialect_anthropic_messages.read_request(a, in, &r, &e));
    assert_true(span_eq(r.dialect, SPAN("anthropic_messages")) && span_eq(r.model, SPAN("m")));
    assert_true(r.stream && !r.stream_usage && r.n == 1 && r.max_tokens == 9 && r.logprobs == -1);
    assert_true(r.n_messages == 2 && r.messages[0].role == CHAT_SYSTEM);
    assert_true(span_eq(r.fusion, SPAN("{\"quorum\":2}")) && span_eq(r.user, SPAN("u")));
    assert_true(span_eq(r.top_k, SPAN("5")) && r.reasoning_tokens == 2048 && r.n_extras == 0);
    assert_true(span_eq(r.reasoning_effort, SPAN("max")) && r.parallel_tool_calls == 1);
    assert_true(r.tool_choice == CHAT_CHOICE_NAMED && span_eq(r.tool_choice_name, SPAN("f")));
    in = quoted(&text, "{" ASK ",'thinking':{'type':'disabled'},'output_config':{'effort':'low'}}");
    assert_true(dialect_anthropic_messages.read_request(a, in, &r, &e));
    assert_true(span_eq(r.reasoning_effort, SPAN("none")));
    assert_true(r.n_extras == 1 && r.extras[0].hint);
}

static void test_messages(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct chat_request r;
    struct err e;
    struct span in = quoted(
        &text,
        M(ASSIST(
            "[{'type':'thinking','thinking':'','signature':'S'},{'type':'redacted_thinking',"
            "'data':'google-gemini-v1:R'},{'type':'thinking','thinking':'u'},{'type':"
            "'tool_use','id':'c','name':'f','input':{}}]") "," USER("[{'type':'tool_result','tool_"
                                                                    "use_id':'c','content':'x','is_"
                                                                    "error':true,'odd':1},{"
                                                                    "'type':'tool_result','tool_"
                                                                    "use_id':'d','cache_control':{'"
                                                                    "type':'ephemeral','ttl':"
                                                                    "'1h'}}]") "," USER("[{'type':'"
                                                                                        "image','"
                                                                                        "source':{'"
                                                                                        "type':'"
                                                                                        "base64','"
                                                                                        "media_"
                                                                                        "type':"
                                                                                        "'image/"
                                                                                        "png','"
                                                                                        "data':'AA'"
                                                                                        "}},{'type'"
                                                                                        ":'search_"
                                                                                        "result'}"
                                                                                        "]")));
    assert_true(dialect_anthropic_messages.read_request(a, in, &r, &e));
    assert_int_equal(r.n_messages, 4);
    const struct chat_part *p = r.messages[0].parts;
    assert_true(p[0].signs_text && p[0].text.n == 0 && span_eq(p[0].format, CHAT_SIGNED_ANTHROPIC));
    assert_true(!p[1].signs_text && span_eq(p[1].signature, SPAN("R")));
    assert_true(span_eq(p[1].format, CHAT_SIGNED_GEMINI));
    assert_true(p[2].signature.n == 0 && !p[2].format.p);
    assert_true(p[3].kind == CHAT_PART_TOOL_CALL && span_eq(p[3].arguments, SPAN("{}")));
    const struct chat_message *m = &r.messages[1];
    assert_true(m->role == CHAT_TOOL && m->tool_failed && span_eq(m->tool_call_id, SPAN("c")));
    assert_true(m->n_parts == 1 && m->n_extras == 1);
    m = &r.messages[2];
    assert_true(m->role == CHAT_TOOL && !m->tool_failed && m->n_parts == 1);
    assert_true(m->parts[0].cache_mark && m->parts[0].cache.n > 0 && m->parts[0].text.n == 0);
    p = r.messages[3].parts;
    assert_true(span_eq(p[0].url, SPAN("data:image/png;base64,AA")) && !p[0].raw.p);
    assert_true(p[1].kind == CHAT_PART_RAW && span_eq(p[1].name, SPAN("search_result")));
}

/* To an upstream of OpenAI's kind: hints are listed, what changes the answer is refused by name. */
static void test_other_dialect(void **state)
{
    static const struct {
        const char *in, *param, *noted;
    } cases[] = {
        {"{" ASK "}", NULL, NULL},
        {"{" ASK ",'service_tier':'auto'}", NULL, "service_tier"},
        {"{" ASK ",'context_management':{'edits':[]}}", NULL, "context_management"},
        {"{" ASK ",'cache_control':{'type':'ephemeral'}}", NULL, "cache_control"},
        {"{" ASK ",'metadata':{'user_id':'u','x':1}}", NULL, "metadata.x"},
        {"{" ASK ",'mcp_servers':[]}", "mcp_servers", NULL},
        {"{" ASK ",'container':'c'}", "container", NULL},
        {"{" ASK ",'output_config':{'task_budget':1}}", "output_config.task_budget", NULL},
        {"{" ASK ",'tools':[{'type':'web_search_20250305','name':'w'}]}", "tools[0]", NULL},
        {"{" ASK ",'system':[{'type':'text','text':'a','cache_control':{'type':'ephemeral','ttl':"
         "'1h'}}]}",
         NULL, "cache_control"},
        {M(USER("'a'") "," ASSIST("[{'type':'text','text':'b','citations':null}]") "," USER("'c'")),
         NULL, NULL},
        {M(USER("[{'type':'search_result'}]")), "messages[0].content[0]", NULL},
    };
    struct dialect_target other = {.model = SPAN("up"), .dialect = SPAN("openai_chat")};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        struct dialect_notes notes = {0};
        struct chat_request r;
        struct buf out;
        struct err e = {0};
        buf_init(&out, KIB(4));
        assert_true(dialect_anthropic_messages.read_request(a, quoted(&text, cases[i].in), &r, &e));
        bool ok = dialect_openai_chat.write_request(&r, &other, &out, &notes, &e);
        if (ok != !cases[i].param || (!ok && strcmp(e.param, cases[i].param) != 0))
            fail_msg("case %zu: %s %s", i, e.param, e.msg);
        assert_int_equal(notes.n, cases[i].noted != NULL);
        assert_true(!cases[i].noted || span_eq(notes.ignored[0], span_of(cases[i].noted)));
        buf_done(&out);
    }
}

/* What is taken beside a beta header alone goes only where there is one. */
static void test_betas(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct chat_request r;
    struct err e;
    struct span in = quoted(&text, "{" ASK ",'context_management':{'edits':[]}}");
    assert_true(dialect_anthropic_messages.read_request(a, in, &r, &e));
    for (int with = 0; with < 2; with++) {
        struct dialect_notes notes = {0};
        struct buf out;
        buf_init(&out, KIB(4));
        r.betas = with ? SPAN("context-management-2025-06-27") : (struct span){0};
        assert_true(dialect_anthropic_messages.write_request(&r, &same, &out, &notes, &e));
        assert_true((span_index(buf_span(&out), SPAN("context_management")) < out.n) == with);
        assert_int_equal(notes.n, !with);
        buf_done(&out);
    }
}

static void test_count(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct chat_request r;
    struct err e;
    struct span in = quoted(&text, "{'model':'m','system':'s','messages':[" USER("'hi'") "]}");
    assert_false(dialect_anthropic_messages.read_request(a, in, &r, &e));
    assert_true(dialect_anthropic_messages.read_count(a, in, &r, &e));
    assert_true(r.n_messages == 2 && r.max_tokens == -1 && chat_input_bytes(&r) == 3);
    assert_false(dialect_anthropic_messages.read_count(a, SPAN("{\"model\":\"m\"}"), &r, &e));
    assert_string_equal(e.param, "messages");
}

static void test_no_memory(void **state)
{
    for (size_t i = 0; i < COUNT_OF(pass); i++) {
        struct span in = quoted(&text, pass[i].in);
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
}

/* Every prefix of a long body is refused, none is read past its end (the copy has its own size). */
static void test_cut(void **state)
{
    for (size_t i = 5; i < 7; i++) {
        struct span in = quoted(&text, pass[i].in);
        for (size_t n = 0; n < in.n; n++) {
            AUTO(arena) a = arena_new(0);
            struct chat_request r;
            struct err e;
            char *copy = mem_dup(in.p, n);
            assert_non_null(copy);
            assert_false(dialect_anthropic_messages.read_request(a, span_make(copy, n), &r, &e));
            mem_free(copy);
        }
    }
}

/* A long conversation with a thousand calls: no more memory than three times its size, and in
 * order. */
static void test_large(void **state)
{
    struct buf in, out;
    struct err e;
    struct chat_request r;
    AUTO(arena) a = arena_new(0);
    buf_init(&in, MIB(4));
    buf_init(&out, MIB(4));
    assert_true(buf_add(&in, SPAN("{\"model\":\"m\",\"max_tokens\":9,\"messages\":["), &e));
    for (int i = 0; i < 1000; i++) {
        assert_true(buf_addf(&in, &e,
                             "%s{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":"
                             "\"c%d\",\"name\":\"f\",\"input\":{}}]},{\"role\":\"user\","
                             "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c%d\","
                             "\"content\":\"",
                             i ? "," : "", i, i));
        for (int k = 0; k < 20; k++)
            assert_true(buf_add(&in, SPAN("The quick brown fox jumps over the lazy dog.\\n "), &e));
        assert_true(buf_add(&in, SPAN("\"}]}"), &e));
    }
    assert_true(buf_add(&in, SPAN("]}"), &e));
    assert_true(dialect_anthropic_messages.read_request(a, buf_span(&in), &r, &e));
    assert_true(arena_used(a) < 3 * in.n && r.n_messages == 2000);
    assert_true(dialect_anthropic_messages.write_request(&r, &same, &out, NULL, &e));
    r.dialect = SPAN("openai_chat"); /* now calls and results are paired here */
    buf_clear(&out);
    assert_true(dialect_anthropic_messages.write_request(&r, &same, &out, NULL, &e));
    buf_done(&in);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong),         cmocka_unit_test(test_pass),
        cmocka_unit_test(test_fields),        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_other_dialect), cmocka_unit_test(test_betas),
        cmocka_unit_test(test_count),         cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_cut),           cmocka_unit_test(test_large),
    };
    buf_init(&text, MIB(1));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_done(&text);
    return failed;
}
