/* tests/unit/test_anthropic_messages_send.c - requests of other dialects to an upstream that speaks
 * Messages: turns, calls and their results, thinking by model, and what is left out, listed, or
 * refused. */
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

#define USER(c)       "{'role':'user','content':" c "}"
#define HI            "'messages':[" USER("'hi'") "]"
#define M(list)       "{'model':'m','messages':[" list "]}"
#define FN(n)         "{'type':'function','function':{'name':'" n "','parameters':{'type':'object'}}}"
#define CALL(id)      "{'id':'" id "','type':'function','function':{'name':'f','arguments':'{}'}}"
#define CALLS(list)   "{'role':'assistant','tool_calls':[" list "]}"
#define RESULT(id, c) "{'role':'tool','tool_call_id':'" id "','content':'" c "'}"
#define T(s)          "{'text':'" s "','type':'text'}"
#define U(list)       "{'content':[" list "],'role':'user'}"
#define A(list)       "{'content':[" list "],'role':'assistant'}"
#define USE(id)       "{'id':'" id "','input':{},'name':'f','type':'tool_use'}"
#define GOT(id, c)    "{'content':'" c "','tool_use_id':'" id "','type':'tool_result'}"
#define ASKED         "'messages':[" U(T("hi")) "]"

static struct buf text;

struct sent {
    const char *name, *in;
    const char *want;  /* canonical members that must be there, '|' between */
    const char *noted; /* ',' between, in order */
    const char *model; /* NULL: one that thinks by itself */
};

/* target: unary, so that no `stream` stands in it. */
static bool send(struct arena *a, struct span in, const char *model, struct buf *out,
                 struct dialect_notes *notes, struct err *e)
{
    struct dialect_target t = {.model = span_of(model ? model : "claude-opus-4-6"),
                               .dialect = SPAN("anthropic_messages"),
                               .unary = true};
    struct chat_request r;
    return dialect_openai_chat.read_request(a, in, &r, e) &&
           dialect_anthropic_messages.write_request(&r, &t, out, notes, e);
}

static void check(const struct sent *c)
{
    AUTO(arena) a = arena_new(0);
    struct dialect_notes notes = {0};
    struct buf out, canonical, noted, want;
    struct err e = {0};
    struct span member;
    json_val *v;
    buf_init(&out, MIB(1));
    buf_init(&canonical, MIB(1));
    buf_init(&noted, KIB(1));
    buf_init(&want, MIB(1));
    if (!send(a, quoted(&text, c->in), c->model, &out, &notes, &e))
        fail_msg("%s: %s %s", c->name, e.param, e.msg);
    assert_true(json_parse(a, buf_span(&out), &v, &e));
    assert_true(json_canonical(&canonical, v, &e));
    for (struct span rest = quoted(&want, c->want); span_cut(&rest, '|', &member);) {
        bool absent = member.n > 0 && member.p[0] == '!';
        member = span_from(member, absent);
        if ((span_index(buf_span(&canonical), member) < canonical.n) == absent)
            fail_msg("%s:\n got %.*s\nwant %.*s", c->name, SPAN_ARG(buf_span(&canonical)),
                     SPAN_ARG(member));
    }
    for (size_t i = 0; i < notes.n; i++)
        assert_true(buf_addf(&noted, &e, "%s%.*s", i ? "," : "", SPAN_ARG(notes.ignored[i])));
    if (!span_eq(buf_span(&noted), span_of(c->noted ? c->noted : "max_tokens")))
        fail_msg("%s: noted %.*s", c->name, SPAN_ARG(buf_span(&noted)));
    buf_done(&out);
    buf_done(&canonical);
    buf_done(&noted);
    buf_done(&want);
}

/* A limit is always sent, and always listed where nobody set it: those without `noted` have none.
 */
static const struct sent turns[] = {
    {"plain", "{'model':'m'," HI "}", "'max_tokens':8192|" ASKED "|!'system'|!'thinking'", NULL,
     NULL},
    {"limit", "{'model':'m','max_completion_tokens':5," HI "}", "'max_tokens':5", "", NULL},
    {"system and developer lead",
     M("{'role':'system','content':'a'},{'role':'developer','content':'b'}," USER("'hi'")),
     "'system':[" T("a") "," T("b") "]|" ASKED, NULL, NULL},
    {"system in the middle", M(USER("'a'") ",{'role':'developer','content':'b'}," USER("'c'")),
     "[" U(T("a") "," T("<system>\\nb\\n</system>") "," T("c")) "]", "max_tokens,messages.role",
     NULL},
    {"nothing but system", M("{'role':'system','content':'a'}"),
     "[" U(T("<system>\\na\\n</system>")) "]|!'system':", "max_tokens,messages.role", NULL},
    {"one side twice",
     M(USER("'a'") "," USER("'b'") ",{'role':'assistant','content':'c'},{'role':'assistant',"
                                   "'content':'d'}," USER("'e'")),
     "[" U(T("a") "," T("b")) "," A(T("c") "," T("d")) "," U(T("e")) "]", NULL, NULL},
    {"empty text is left out",
     M(USER("'a'") ",{'role':'assistant','content':' '}," USER("[{'type':'text','text':''},{"
                                                               "'type':'text','text':'b'}]")),
     "[" U(T("a")) "," U(T("b")) "]", NULL, NULL},
    {"an answer first", M("{'role':'assistant','content':'a'}," USER("'b'")),
     "[{'content':'(The conversation begins with an answer of yours.)','role':'user'}," A(
         T("a")) "," U(T("b")) "]",
     "max_tokens,messages.role", NULL},
    {"a refusal", M(USER("'a'") ",{'role':'assistant','refusal':'no'}," USER("'b'")), A(T("no")),
     NULL, NULL},
    {"names", M("{'role':'user','name':'Ann','content':'a'}"), "[" U(T("a")) "]",
     "max_tokens,messages.name", NULL},

    /* calls */
    {"results come first, in one turn",
     M(USER("'a'") "," CALLS(CALL("c") "," CALL("d")) "," USER("'x'") "," RESULT(
         "d", "2") "," RESULT("c", "1")),
     "[" U(T("a")) "," A(USE("c") "," USE("d")) "," U(
         GOT("d", "2") "," GOT("c", "1") "," T("x")) "]|'tool_choice':{'type':'none'},'tools':[{'"
                                                     "input_schema':{'type':'object'},'name':'f'}]",
     NULL, NULL},
    {"a chain",
     M(USER("'a'") "," CALLS(CALL("c")) "," RESULT("c", "1") "," CALLS(CALL("d")) "," RESULT("d",
                                                                                             "2")),
     "[" U(T("a")) "," A(USE("c")) "," U(GOT("c", "1")) "," A(USE("d")) "," U(GOT("d", "2")) "]",
     NULL, NULL},
    {"ids in letters that are taken",
     M(USER("'a'") "," CALLS(CALL("call:1|x")) "," RESULT("call:1|x", "1")),
     "'tool_use_id':'toolu_|'id':'toolu_|!call:1", NULL, NULL},
    {"arguments that are no object",
     M(USER("'a'") ",{'role':'assistant','tool_calls':[{'id':'c','type':'function','function':{"
                   "'name':'f','arguments':'{broken'}}]}," RESULT("c", "1")),
     "'input':{'arguments':'{broken'}", NULL, NULL},
    {"an empty result", M(USER("'a'") "," CALLS(CALL("c")) "," RESULT("c", "")),
     "{'tool_use_id':'c','type':'tool_result'}", NULL, NULL},

    /* parts */
    {"images",
     M(USER("[{'type':'image_url','image_url':{'url':'data:image/png;base64,AA','detail':'low'}},"
            "{'type':'image_url','image_url':{'url':'https://x/y'}}]")),
     "{'source':{'data':'AA','media_type':'image/png','type':'base64'},'type':'image'}|{'source':{"
     "'type':'url','url':'https://x/y'},'type':'image'}",
     "max_tokens,image_url.detail", NULL},
    {"a document",
     M(USER("[{'type':'file','file':{'file_data':'data:application/pdf;base64,BB','filename':"
            "'x.pdf'}}]")),
     "{'source':{'data':'BB','media_type':'application/pdf','type':'base64'},'title':'x.pdf',"
     "'type':'document'}",
     NULL, NULL},
    {"five cache marks",
     M("{'role':'system','content':[{'type':'text','text':'s','cache_control':{'type':'ephemeral'"
       "}}]}," USER("[{'type':'text','text':'1','cache_control':{'type':'ephemeral'}},{'type':"
                    "'text','text':'2','cache_control':{'type':'ephemeral'}},{'type':'text','text'"
                    ":'3','cache_control':{'type':'ephemeral','ttl':'1h'}},{'type':'text','text':"
                    "'4','cache_control':{'type':'ephemeral'}}]")),
     "'system':[{'text':'s','type':'text'}]|{'cache_control':{'type':'ephemeral'},'text':'1',"
     "'type':'text'}|{'cache_control':{'ttl':'1h','type':'ephemeral'},'text':'3'",
     "max_tokens,cache_control", NULL},

    /* reasoning of earlier turns */
    {"Anthropic's own goes back",
     M(USER("'a'") ",{'role':'assistant','content':'b','reasoning_details':[{'type':"
                   "'reasoning.text','text':'h','signature':'S','format':'anthropic-claude-v1'},{"
                   "'type':'reasoning.text','text':'','signature':'E','format':"
                   "'anthropic-claude-v1'},{'type':'reasoning.encrypted','data':'R','format':"
                   "'anthropic-claude-v1'}]}," USER("'c'")),
     "{'signature':'S','thinking':'h','type':'thinking'},{'signature':'E','thinking':'','type':"
     "'thinking'},{'data':'R','type':'redacted_thinking'},{'text':'b'",
     NULL, NULL},
    {"that of others, and without a signature, does not",
     M(USER("'a'") ",{'role':'assistant','content':'b','reasoning_details':[{'type':"
                   "'reasoning.text','text':'h','signature':'S','format':'google-gemini-v1'},{"
                   "'type':'reasoning.text','text':'x'}]},{'role':'assistant','content':'c',"
                   "'reasoning_content':'y'}," USER("'d'")),
     A(T("b") "," T("c")), "max_tokens,messages.reasoning", NULL},
};

static const struct sent fields[] = {
    {"tools",
     "{'model':'m','tools':[{'type':'function','function':{'name':'f','description':'d','strict':"
     "true}},{'type':'function','function':{'name':'g','parameters':{}}},{'type':'function',"
     "'function':{'name':'h','parameters':{'properties':{}},'strict':false}}],'tool_choice':"
     "'auto','parallel_tool_calls':false," HI "}",
     "'tools':[{'description':'d','input_schema':{'type':'object'},'name':'f','strict':true},{"
     "'input_schema':{'type':'object'},'name':'g'},{'input_schema':{'properties':{},'type':"
     "'object'},'name':'h'}]|'tool_choice':{'disable_parallel_tool_use':true,'type':'auto'}",
     NULL, NULL},
    {"one call at a time", "{'model':'m','tools':[" FN("f") "],'parallel_tool_calls':false," HI "}",
     "'tool_choice':{'disable_parallel_tool_use':true,'type':'auto'}", NULL, NULL},
    {"required", "{'model':'m','tools':[" FN("f") "],'tool_choice':'required'," HI "}",
     "'tool_choice':{'type':'any'}|!'thinking'", NULL, NULL},
    {"named",
     "{'model':'m','tools':[" FN(
         "f") "],'tool_choice':{'type':'function','function':{'name':'f'}}," HI "}",
     "'tool_choice':{'name':'f','type':'tool'}", NULL, NULL},
    {"none",
     "{'model':'m','tools':[" FN("f") "],'tool_choice':'none','parallel_tool_calls':false," HI "}",
     "'tool_choice':{'type':'none'}", NULL, NULL},
    {"sampling", "{'model':'m','temperature':0.5,'top_p':1,'stop':'x'," HI "}",
     "'temperature':0.5|'stop_sequences':['x']|!'top_p'", NULL, NULL},
    {"top_p alone", "{'model':'m','top_p':1," HI "}", "'top_p':1", NULL, NULL},
    {"zeros",
     "{'model':'m','presence_penalty':0,'frequency_penalty':0.0,'n':1,'logprobs':false," HI "}",
     "!penalty|!logprobs", NULL, NULL},
    {"hints",
     "{'model':'m','seed':1,'user':'u','metadata':{'x':'y'},'store':true,'service_tier':'flex'," HI
     "}",
     "'metadata':{'user_id':'u'}|!seed", "max_tokens,seed,metadata,store,service_tier", NULL},
    {"schema",
     "{'model':'m','response_format':{'type':'json_schema','json_schema':{'name':'n','schema':{"
     "'type':'object'},'strict':true}}," HI "}",
     "'output_config':{'format':{'schema':{'type':'object'},'type':'json_schema'}}", NULL, NULL},
    {"JSON",
     "{'model':'m','response_format':{'type':'json_object'},'messages':[{'role':'system','content':"
     "'s'}," USER("'hi'") "]}",
     "'system':[{'text':'s','type':'text'},{'text':'Answer with one JSON object|!output_config",
     "max_tokens,response_format", NULL},
    {"text", "{'model':'m','response_format':{'type':'text'}," HI "}", "!output_config|!system",
     NULL, NULL},
};

#define HARD(effort)       "{'model':'m','reasoning_effort':'" effort "'," HI "}"
#define LIMITED(effort, n) "{'model':'m','reasoning_effort':'" effort "','max_tokens':" n "," HI "}"

static const struct sent thinking[] = {
    {"a budget", HARD("medium"), "'thinking':{'budget_tokens':4096,'type':'enabled'}", NULL,
     "claude-sonnet-4-5-20250929"},
    {"a small one", HARD("minimal"), "'thinking':{'budget_tokens':1024,'type':'enabled'}", NULL,
     "claude-3-7-sonnet-20250219"},
    {"a large one", LIMITED("high", "20000"), "'budget_tokens':16000", "",
     "claude-opus-4-20250514"},
    {"no room for one", LIMITED("high", "1024"), "!'thinking'", "reasoning_effort",
     "claude-haiku-4-5"},
    {"just room for one", LIMITED("low", "1025"), "'budget_tokens':1024", "", "claude-haiku-4-5"},
    {"by itself", HARD("high"),
     "'thinking':{'display':'summarized','type':'adaptive'}|'output_config':{'effort':'high'}",
     NULL, "claude-opus-4-6"},
    {"no such level", HARD("xhigh"), "'effort':'high'", NULL, "claude-sonnet-4-6"},
    {"that level", HARD("xhigh"), "'effort':'xhigh'", NULL, "claude-opus-4-7"},
    {"minimal is low", HARD("minimal"), "'effort':'low'|'type':'adaptive'", NULL,
     "claude-sonnet-5"},
    {"a word nobody knows", HARD("very"), "!effort|'type':'adaptive'", NULL, "claude-opus-4-6"},
    {"none, where it is off", HARD("none"), "!'thinking'", NULL, "claude-opus-4-8"},
    {"none, where it is on", HARD("none"), "'thinking':{'type':'disabled'}", NULL, "claude-opus-5"},
    {"none, in another word", HARD("none"), "'thinking':{'type':'between_tools'}", NULL,
     "claude-sonnet-5-5"},
    {"none, where it is always on", HARD("none"), "!'thinking'|'effort':'low'",
     "max_tokens,reasoning_effort", "claude-opus-5-5"},
    {"unsaid", "{'model':'m'," HI "}", "!'thinking'|!effort", NULL, "claude-opus-5-5"},
    {"a platform's name", HARD("low"), "'budget_tokens':1638", NULL,
     "us.anthropic.claude-sonnet-4-5-20250929-v1:0"},
    {"another's spelling", HARD("low"), "'type':'adaptive'", NULL, "anthropic/claude-opus-4.6"},
    {"no number", HARD("low"), "'type':'adaptive'", NULL, "claude-opus-latest"},
    {"not Claude", HARD("low"), "'budget_tokens':1638", NULL, "kimi-k2"},
    {"forced calls are not thought about",
     "{'model':'m','reasoning_effort':'high','tools':[" FN("f") "],'tool_choice':'required'," HI
                                                                "}",
     "!'thinking'|!effort", "max_tokens,reasoning_effort", "claude-opus-4-6"},
    {"nor where it is on", "{'model':'m','tools':[" FN("f") "],'tool_choice':'required'," HI "}",
     "'thinking':{'type':'disabled'}", NULL, "claude-opus-5"},
    {"no temperature while it thinks",
     "{'model':'m','reasoning_effort':'high','temperature':0.5,'top_p':1," HI "}",
     "!temperature|!top_p|'thinking'", "max_tokens,temperature", "claude-sonnet-4-5"},
    {"1 is what it stands at", "{'model':'m','reasoning_effort':'high','temperature':1.0," HI "}",
     "!temperature", NULL, "claude-sonnet-4-5"},
    {"newer ones never take it", "{'model':'m','temperature':0,'top_p':0.9," HI "}",
     "!temperature|!top_p|!'thinking'", "max_tokens,temperature,top_p", "claude-opus-4-7"},
};

static void test_sent(void **state)
{
    for (size_t i = 0; i < COUNT_OF(turns); i++)
        check(&turns[i]);
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        check(&fields[i]);
    for (size_t i = 0; i < COUNT_OF(thinking); i++)
        check(&thinking[i]);
}

static const struct {
    const char *name, *in, *param, *in_msg;
} wrong[] = {
    {"no text at all", M(USER("' '")), "messages", "answer"},
    {"audio", M(USER("[{'type':'input_audio','input_audio':{'data':'x','format':'wav'}}]")),
     "messages[0].content[0]", "audio"},
    {"a file id", M(USER("[{'type':'file','file':{'file_id':'file-1'}}]")),
     "messages[0].content[0]", "file id"},
    {"a document that is no PDF",
     M(USER("[{'type':'file','file':{'file_data':'data:text/csv;base64,AA'}}]")),
     "messages[0].content[0]", "PDF"},
    {"data without base64",
     M(USER("[{'type':'text','text':'a'},{'type':'image_url','image_url':{'url':'data:x,AA'}}]")),
     "messages[0].content[1]", "base64"},
    {"a part nobody knows", M(USER("[{'type':'odd'}]")), "messages[0].content[0]", "kind"},
    {"a member nobody knows", M("{'role':'user','content':'a','odd':1}"), "messages[0].odd", "odd"},
    {"a call without a result", M(USER("'a'") "," CALLS(CALL("c")) "," USER("'b'")),
     "messages[2].tool_calls", "\"c\""},
    {"a call at the end", M(USER("'a'") "," CALLS(CALL("c") "," CALL("d"))),
     "messages[1].tool_calls", "\"c\""},
    {"one of two results", M(USER("'a'") "," CALLS(CALL("c") "," CALL("d")) "," RESULT("c", "1")),
     "messages[2].tool_calls", "\"d\""},
    {"a result without a call", M(USER("'a'") "," RESULT("c", "1")), "messages[1].tool_call_id",
     "\"c\""},
    {"a result of an earlier turn",
     M(USER("'a'") "," CALLS(CALL("c")) "," RESULT("c", "1") "," CALLS(CALL("d")) "," RESULT(
         "c", "1") "," RESULT("d", "1")),
     "messages[4].tool_call_id", "\"c\""},
    {"two results for one call",
     M(USER("'a'") "," CALLS(CALL("c")) "," RESULT("c", "1") "," RESULT("c", "2")),
     "messages[3].tool_call_id", "twice"},
    {"two calls with one id",
     M(USER("'a'") "," CALLS(CALL("c") "," CALL("c")) "," RESULT("c", "1")),
     "messages[1].tool_calls", "two calls"},
    {"temperature", "{'model':'m','temperature':1.5," HI "}", "temperature", "0 to 1"},
    {"presence_penalty", "{'model':'m','presence_penalty':0.5," HI "}", "presence_penalty",
     "leave"},
    {"frequency_penalty", "{'model':'m','frequency_penalty':-1," HI "}", "frequency_penalty",
     "leave"},
    {"logit_bias", "{'model':'m','logit_bias':{}," HI "}", "logit_bias", "leave"},
    {"a tool of another kind", "{'model':'m','tools':[{'type':'web_search'}]," HI "}", "tools[0]",
     "kind"},
};

static void test_wrong(void **state)
{
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        AUTO(arena) a = arena_new(0);
        struct dialect_notes notes = {0};
        struct buf out;
        struct err e = {0};
        buf_init(&out, MIB(1));
        assert_true(buf_add(&out, SPAN("kept"), &e));
        bool ok = send(a, quoted(&text, wrong[i].in), NULL, &out, &notes, &e);
        if (ok || strcmp(e.param, wrong[i].param) != 0 || !strstr(e.msg, wrong[i].in_msg))
            fail_msg("%s: %s, param %s, %s", wrong[i].name, ok ? "taken" : "refused", e.param,
                     e.msg);
        assert_int_equal(e.status, 400);
        assert_true(span_eq(buf_span(&out), SPAN("kept")));
        buf_done(&out);
    }
}

/* Fields that only other dialects of ours set. */
static void test_vocabulary(void **state)
{
    static const struct chat_part part = {.kind = CHAT_PART_TEXT, .text = SPAN_INIT("hi")};
    static const struct chat_message message = {.role = CHAT_USER, .parts = &part, .n_parts = 1};
    static const struct {
        const char *name;
        struct chat_request r;
        const char *model, *want, *noted, *param;
    } cases[] = {
        {"a budget for one that has none",
         {.reasoning_tokens = 5000},
         "claude-opus-4-6",
         "\"thinking\":{\"type\":\"adaptive\",\"display\":\"summarized\"}",
         "reasoning_tokens",
         NULL},
        {"a budget",
         {.reasoning_tokens = 5000},
         "claude-haiku-4-5",
         "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":5000}",
         NULL,
         NULL},
        {"a budget beyond the limit",
         {.reasoning_tokens = 50000},
         "claude-haiku-4-5",
         "\"budget_tokens\":8999",
         NULL,
         NULL},
        {"top_k", {.top_k = SPAN_INIT("40")}, "claude-haiku-4-5", "\"top_k\":40", NULL, NULL},
        {"medium is unsaid", {.verbosity = SPAN_INIT("medium")}, "m", "\"messages\"", NULL, NULL},
        {"verbosity", {.verbosity = SPAN_INIT("low")}, "m", NULL, NULL, "verbosity"},
        {"logprobs", {.logprobs = 1}, "m", NULL, NULL, "logprobs"},
        {"n", {.n = 2}, "m", NULL, NULL, "n"},
        {"audio", {.audio_out = true}, "m", NULL, NULL, "audio"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct dialect_target t = {.model = span_of(cases[i].model),
                                   .dialect = SPAN("anthropic_messages"),
                                   .default_max_tokens = 9000};
        struct chat_request r = cases[i].r;
        struct dialect_notes notes = {0};
        struct buf out;
        struct err e = {0};
        buf_init(&out, KIB(4));
        r.dialect = SPAN("gemini");
        r.max_tokens = -1;
        r.parallel_tool_calls = -1;
        r.messages = &message;
        r.n_messages = 1;
        bool ok = dialect_anthropic_messages.write_request(&r, &t, &out, &notes, &e);
        if (ok == (cases[i].param != NULL) || (!ok && strcmp(e.param, cases[i].param) != 0))
            fail_msg("%s: %s %s", cases[i].name, e.param, e.msg);
        if (ok && span_index(buf_span(&out), span_of(cases[i].want)) == out.n)
            fail_msg("%s: %.*s", cases[i].name, SPAN_ARG(buf_span(&out)));
        if (ok) {
            assert_true(span_index(buf_span(&out), SPAN("\"max_tokens\":9000")) < out.n);
            assert_true(span_index(buf_span(&out), SPAN("\"stream\":true")) < out.n);
            assert_int_equal(notes.n, 1 + (cases[i].noted != NULL));
        }
        buf_done(&out);
    }
}

/* A client of this dialect in the words of another model than it had in mind. */
static void test_own_thinking(void **state)
{
    static const struct {
        const char *thinking, *model, *want, *noted;
    } cases[] = {
        {"'thinking':{'type':'enabled','budget_tokens':2000}", "claude-haiku-4-5",
         "'thinking':{'type':'enabled','budget_tokens':2000}", NULL},
        {"'thinking':{'type':'enabled','budget_tokens':2000,'display':'omitted'}",
         "claude-opus-4-6",
         "'thinking':{'type':'enabled','budget_tokens':2000,'display':'omitted'}", NULL},
        {"'thinking':{'type':'enabled','budget_tokens':90000}", "claude-haiku-4-5",
         "'budget_tokens':3999", NULL},
        {"'thinking':{'type':'enabled','budget_tokens':2000}", "claude-opus-5-5",
         "'thinking':{'type':'adaptive'}", "thinking"},
        {"'thinking':{'type':'adaptive'}", "claude-opus-5-5", "'thinking':{'type':'adaptive'}",
         NULL},
        {"'thinking':{'type':'adaptive'},'output_config':{'effort':'high'}", "claude-haiku-4-5",
         "'thinking':{'type':'enabled','budget_tokens':3200}", "thinking,output_config.effort"},
        {"'thinking':{'type':'disabled'}", "claude-opus-5", "'thinking':{'type':'disabled'}", NULL},
        {"'thinking':{'type':'disabled'}", "claude-opus-5-5", "'effort':'low'", "thinking"},
        {"'thinking':{'type':'disabled'}", "claude-sonnet-5-5", "{'type':'between_tools'}", NULL},
        {"'thinking':{'type':'between_tools'}", "claude-sonnet-5-5", "{'type':'between_tools'}",
         NULL},
        {"'thinking':{'type':'between_tools'}", "claude-opus-5", "'thinking':{'type':'disabled'}",
         NULL},
        {"'thinking':{'type':'adaptive'},'tools':[{'name':'f','input_schema':{'type':'object'}}],"
         "'tool_choice':{'type':'any'}",
         "claude-opus-4-6", "'tool_choice':{'type':'any'}", "thinking"},
        {"'output_config':{'effort':'low'}", "claude-opus-4-5", "'output_config':{'effort':'low'}",
         NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        struct dialect_target t = {.model = span_of(cases[i].model),
                                   .dialect = SPAN("anthropic_messages")};
        struct dialect_notes notes = {0};
        struct chat_request r;
        struct buf out, want;
        struct err e = {0};
        char body[600], noted[100] = "";
        buf_init(&out, KIB(4));
        buf_init(&want, KIB(4));
        snprintf(body, sizeof body, "{'model':'m','max_tokens':4000," HI ",%s}", cases[i].thinking);
        if (!dialect_anthropic_messages.read_request(a, quoted(&text, body), &r, &e) ||
            !dialect_anthropic_messages.write_request(&r, &t, &out, &notes, &e))
            fail_msg("case %zu: %s", i, e.msg);
        if (span_index(buf_span(&out), quoted(&want, cases[i].want)) == out.n)
            fail_msg("case %zu: %.*s", i, SPAN_ARG(buf_span(&out)));
        for (size_t k = 0; k < notes.n; k++)
            snprintf(noted + strlen(noted), sizeof noted - strlen(noted), "%s%.*s", k ? "," : "",
                     SPAN_ARG(notes.ignored[k]));
        assert_string_equal(noted, cases[i].noted ? cases[i].noted : "");
        buf_done(&out);
        buf_done(&want);
    }
}

/* Arguments may be as deep as a body may be here, and no deeper: what is written can be read. */
static void test_deep_arguments(void **state)
{
    for (unsigned depth = 57; depth < 63; depth++) {
        AUTO(arena) a = arena_new(0);
        struct dialect_notes notes = {0};
        struct buf in, out;
        struct err e = {0};
        json_val *v;
        buf_init(&in, KIB(4));
        buf_init(&out, KIB(4));
        assert_true(buf_add(&in,
                            SPAN("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
                                 "\"a\"},{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\","
                                 "\"type\":\"function\",\"function\":{\"name\":\"f\","
                                 "\"arguments\":\""),
                            &e));
        for (unsigned i = 0; i < depth; i++)
            assert_true(buf_add(&in, SPAN("{\\\"x\\\":"), &e));
        assert_true(buf_add_char(&in, '1', &e));
        for (unsigned i = 0; i < depth; i++)
            assert_true(buf_add_char(&in, '}', &e));
        assert_true(buf_add(&in,
                            SPAN("\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":"
                                 "\"r\"}]}"),
                            &e));
        assert_true(send(a, buf_span(&in), NULL, &out, &notes, &e));
        assert_true(json_parse(a, buf_span(&out), &v, &e));
        bool wrapped = span_index(buf_span(&out), SPAN("{\"arguments\":\"{")) < out.n;
        assert_true(wrapped == (depth > 59));
        buf_done(&in);
        buf_done(&out);
    }
}

static void test_no_memory(void **state)
{
    for (size_t i = 0; i < COUNT_OF(turns); i++) {
        struct span in = quoted(&text, turns[i].in);
        bool failed = true;
        for (unsigned long n = 1; failed; n++) {
            struct buf out;
            struct err e = {0};
            buf_init(&out, KIB(64));
            mem_fail_at(n);
            struct arena *a = arena_new(0);
            bool ok = a && send(a, in, NULL, &out, NULL, &e);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sent),           cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_vocabulary),     cmocka_unit_test(test_own_thinking),
        cmocka_unit_test(test_deep_arguments), cmocka_unit_test(test_no_memory),
    };
    buf_init(&text, MIB(1));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_done(&text);
    return failed;
}
