/* tests/unit/test_pass.c - embeddings, completions, fill in the middle: of a request only the model
 * is written anew, an answer goes back as it came, and what was cut never looks whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#define CHAT_LOG_DIALECT dialect_completions
#include "chat_log.h"
#include "json/json.h"
#include "quoted.h"

/* --- requests --------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const struct dialect *dialect;
    const char *in, *model, *out;
    int64_t input_bytes, max_tokens;
    bool stream;
} requests[] = {
    {"a text", &dialect_embeddings, "{'model':'m','input':'four'}", "m",
     "{'model':'up','input':'four'}", 4, 0, false},
    {"white space and odd names stay", &dialect_embeddings,
     " {\n 'input' : [ 'a', 'bc' ] ,\t'model'\n:  'm'  ,'encoding_format':'base64', 'x y':1.50 "
     "}\r\n",
     "m",
     " {\n 'input' : [ 'a', 'bc' ] ,\t'model'\n:  'up'  ,'encoding_format':'base64', 'x y':1.50 "
     "}\r\n",
     3, 0, false},
    {"tokens", &dialect_embeddings, "{'input':[[1,2,3],[4]],'model':'m'}", "m",
     "{'input':[[1,2,3],[4]],'model':'up'}", 16, 0, false},
    {"deeper is not counted", &dialect_embeddings, "{'input':[[['abc']]],'model':'m'}", "m",
     "{'input':[[['abc']]],'model':'up'}", 0, 0, false},
    {"a name with escapes", &dialect_completions, "{'mod\\u0065l':'a\\n\\u00e9','prompt':''}",
     "a\n\xc3\xa9", "{'mod\\u0065l':'up','prompt':''}", 0, -1, false},
    {"only the model", &dialect_fim, "{'model':'m'}", "m", "{'model':'up'}", 0, -1, false},
    {"a bound", &dialect_fim,
     "{'model':'m','prompt':'def f(','suffix':'return','max_tokens':9,'stream':true}", "m",
     "{'model':'up','prompt':'def f(','suffix':'return','max_tokens':9,'stream':true}", 12, 9,
     true},
    {"one answer is asked for", &dialect_completions,
     "{'model':'m','prompt':'a','max_tokens':9,'n':1,'best_of':null,'stream':false}", "m",
     "{'model':'up','prompt':'a','max_tokens':9,'n':1,'best_of':null,'stream':false}", 1, 9, false},
    {"several answers have no bound", &dialect_completions,
     "{'model':'m','prompt':'a','max_tokens':9,'n':2,'stream':null}", "m",
     "{'model':'up','prompt':'a','max_tokens':9,'n':2,'stream':null}", 1, -1, false},
    {"nor have several prompts", &dialect_completions,
     "{'model':'m','prompt':['a','b'],'max_tokens':9}", "m",
     "{'model':'up','prompt':['a','b'],'max_tokens':9}", 2, -1, false},
};

static void test_requests(void **state)
{
    struct buf in, want, out;
    buf_init(&in, KIB(4));
    buf_init(&want, KIB(4));
    buf_init(&out, KIB(4));
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        AUTO(arena) a = arena_new(0);
        struct dialect_target t = {.model = SPAN("up")};
        struct dialect_notes notes = {0};
        struct chat_request r;
        struct err e = {0};
        if (!requests[i].dialect->read_request(a, quoted(&in, requests[i].in), &r, &e))
            fail_msg("%s: %s", requests[i].name, e.msg);
        buf_clear(&out);
        assert_true(requests[i].dialect->write_request(&r, &t, &out, &notes, &e));
        if (!span_eq(buf_span(&out), quoted(&want, requests[i].out)))
            fail_msg("%s: %.*s", requests[i].name, SPAN_ARG(buf_span(&out)));
        assert_true(span_eq(r.model, span_of(requests[i].model)));
        assert_true(span_eq(r.dialect, span_of(requests[i].dialect->name)));
        assert_ptr_equal(dialect_find(r.dialect), requests[i].dialect);
        assert_int_equal(r.pass->input_bytes, requests[i].input_bytes);
        assert_int_equal(r.max_tokens, requests[i].max_tokens);
        assert_int_equal(r.stream, requests[i].stream);
        assert_int_equal(notes.n, 0);
    }
    buf_done(&in);
    buf_done(&want);
    buf_done(&out);
}

/* Brackets, quotes and members called "model" in places that are not its own. */
static void test_only_the_member(void **state)
{
    static const char before[] =
        "{\"a\":{\"model\":\"no\"},\"b\":[\"model\",\":\",{\"model\":\"no\"}"
        "],\"c\\\\\":\"\\\"}],{\\\\\",\"model\":";
    static const char behind[] = ",\"prompt\":\"}\\\\\\\",model:\"}";
    struct dialect_target t = {.model = SPAN("a\"b")};
    struct dialect_notes notes = {0};
    struct chat_request r;
    struct err e = {0};
    struct buf in, want, out;
    AUTO(arena) a = arena_new(0);
    buf_init(&in, KIB(4));
    buf_init(&want, KIB(4));
    buf_init(&out, KIB(4));
    assert_true(buf_addf(&in, &e, "%s\"m\"%s", before, behind));
    assert_true(buf_addf(&want, &e, "%s\"a\\\"b\"%s", before, behind));
    if (!dialect_completions.read_request(a, buf_span(&in), &r, &e))
        fail_msg("%s", e.msg);
    assert_true(dialect_completions.write_request(&r, &t, &out, &notes, &e));
    assert_true(span_eq(buf_span(&out), buf_span(&want)));
    /* a target without room: nothing half-written */
    struct buf small;
    buf_init(&small, in.n - 1);
    assert_false(dialect_completions.write_request(&r, &t, &small, &notes, &e));
    assert_int_equal(small.n, 0);
    buf_done(&small);
    buf_done(&in);
    buf_done(&want);
    buf_done(&out);
}

/* The body is there anyway: of a long list of tokens nothing else is kept. */
static void test_long_ones(void **state)
{
    struct chat_request r;
    struct err e = {0};
    struct buf in;
    AUTO(arena) a = arena_new(0);
    buf_init(&in, MIB(2));
    assert_true(buf_add(&in, SPAN("{\"model\":\"m\",\"input\":[1"), &e));
    for (size_t i = 0; i < 100000; i++)
        assert_true(buf_add(&in, SPAN(",12345"), &e));
    assert_true(buf_add(&in, SPAN("]}"), &e));
    assert_true(dialect_embeddings.read_request(a, buf_span(&in), &r, &e));
    assert_int_equal(r.pass->input_bytes, 4 * 100001);
    assert_ptr_equal(r.pass->head.p, buf_span(&in).p);
    assert_true(arena_used(a) < KIB(1));
    buf_done(&in);
}

/* What a server that embeds images may fetch; texts may say what they like. */
static void test_urls(void **state)
{
    static const struct {
        const char *in;
        bool names;
    } cases[] = {
        {"{'model':'m','input':'http://a'}", false},
        {"{'model':'m','input':['http://a',['https://b']],'suffix':'x://'}", false},
        {"{'model':'m','input':[{'text':'http://a'}],'metadata':{'site':'http://a'}}", false},
        {"{'model':'m','input':[{'image_url':'data:image/png;base64,AA=='}]}", false},
        {"{'model':'m','input':[{'image':'http://a'}]}", true},
        {"{'model':'m','messages':[{'role':'user','content':[{'type':'image_url','image_url':"
         "{'url':'http://a'}}]}]}",
         true},
        {"{'model':'m','messages':[{'content':'http://a'}]}", false},
        {"{'model':'m','input':'','image':'file:///a'}", true},
    };
    struct buf in;
    buf_init(&in, KIB(4));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        struct chat_request r;
        assert_true(dialect_embeddings.read_request(a, quoted(&in, cases[i].in), &r, NULL));
        if (r.pass->names_url != cases[i].names)
            fail_msg("%s", cases[i].in);
    }
    buf_done(&in);
}

static void test_bad_requests(void **state)
{
    static const struct {
        const struct dialect *dialect;
        const char *in, *param, *says;
    } cases[] = {
        {&dialect_embeddings, "", "", "empty"},
        {&dialect_embeddings, "[]", "", "object"},
        {&dialect_embeddings, "{'input':'a'}", "model", "missing"},
        {&dialect_embeddings, "{'input':'a','model':''}", "model", "name"},
        {&dialect_embeddings, "{'input':'a','model':null}", "model", "name"},
        {&dialect_embeddings, "{'input':'a','model':'m','stream':true}", "stream", "whole"},
        {&dialect_completions, "{'model':'m','stream':'yes'}", "stream", "true or false"},
        {&dialect_completions, "{'model':'m','model':'m'}", "model", "duplicate"},
        {&dialect_completions, "{'model':'m','a':{'b':1,'b':2}}", "a.b", "duplicate"},
        {&dialect_fim, "{'model':'m'} x", "", "byte 14"},
    };
    struct buf in;
    buf_init(&in, KIB(4));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        struct chat_request r;
        struct err e = {0};
        assert_false(cases[i].dialect->read_request(a, quoted(&in, cases[i].in), &r, &e));
        assert_int_equal(e.status, 400);
        if (strcmp(e.param, cases[i].param) != 0 || !strstr(e.msg, cases[i].says))
            fail_msg("%s: (%s) %s", cases[i].in, e.param, e.msg);
    }
    buf_done(&in);
}

/* --- streams ---------------------------------------------------------------------------------- */

#define T(text) "{\"choices\":[{\"index\":0,\"text\":\"" text "\",\"finish_reason\":null}]}"
#define F       "{\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}"
#define U       "{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}"
#define TWO(a, b)                                                                                  \
    "{\"choices\":[{\"index\":0,\"text\":\"" a "\"},{\"index\":1,\"text\":\"" b "\"}]}"
#define F1         "{\"choices\":[{\"index\":1,\"finish_reason\":\"length\"}]}"
#define DELTA(txt) "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" txt "\"}}]}"

static const struct {
    const char *name, *in, *want;
} streams[] = {
    {"by the book", T("a") "\n" T("b") "\n" F "\n[DONE]\n",
     "text:a<" T("a") ">b<" T("b") "><" F ">;finish:stop"},
    {"with usage", T("a") "\n" F "\n" U "\n[DONE]\n",
     "text:a<" T("a") "><" F "><" U ">;usage:3/0/2/0$-1;finish:stop"},
    {"Mistral's", DELTA("a") "\n" F "\n[DONE]\n", "text:a<" DELTA("a") "><" F ">;finish:stop"},
    {"no [DONE]", T("a") "\n" F "\n", "text:a<" T("a") "><" F ">;finish:stop"},
    {"several texts", TWO("a", "b") "\n" F "\n" F1 "\n",
     "text:ab<" TWO("a", "b") "><" F "><" F1 ">;finish:stop"},
    {"one of them without an end", TWO("a", "b") "\n" F "\n",
     "text:ab<" TWO("a", "b") "><" F ">;fail:cut,upstream_cut,0"},
    {"but [DONE]", TWO("a", "b") "\n" F "\n[DONE]\n",
     "text:ab<" TWO("a", "b") "><" F ">;finish:stop"},
    {"behind [DONE]", F "\n[DONE]\n" T("a") "\nx\n", "text:<" F ">;finish:stop"},
    {"cut", T("a") "\n", "text:a<" T("a") ">;fail:cut,upstream_cut,0"},
    {"[DONE] without an end", T("a") "\n[DONE]\n", "text:a<" T("a") ">;fail:cut,upstream_cut,0"},
    {"nothing", "", "fail:cut,upstream_cut,0"},
    {"no JSON", T("a") "\n{\"choices\":\n", "text:a<" T("a") ">;fail:upstream,upstream_error,0"},
    {"no object", "[1]\n", "fail:upstream,upstream_error,0"},
    {"an error", T("a") "\n{\"error\":{\"message\":\"no\",\"code\":429}}\n",
     "text:a<" T("a") ">;fail:busy,rate_limit_exceeded,3"},
    {"odd types",
     "{\"choices\":[1,null,{\"index\":\"x\",\"text\":[],\"delta\":7,\"finish_reason\":1},"
     "{\"finish_reason\":\"stop\"}],\"usage\":[]}\n",
     "text:<{\"choices\":[1,null,{\"index\":\"x\",\"text\":[],\"delta\":7,\"finish_reason\":1},"
     "{\"finish_reason\":\"stop\"}],\"usage\":[]}>;finish:stop"},
};

static void test_streams(void **state)
{
    struct buf log;
    buf_init(&log, KIB(16));
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        buf_clear(&log);
        feed_lines(span_of(streams[i].in), &log, NULL);
        if (!span_eq(buf_span(&log), span_of(streams[i].want)))
            fail_msg("%s: %.*s", streams[i].name, SPAN_ARG(buf_span(&log)));
    }
    buf_done(&log);
}

static void test_event_types(void **state)
{
    struct dialect_reader *rd = dialect_completions.reader_new();
    struct chat_event ev;
    struct err e = {0};
    assert_true(dialect_completions.reader_feed(rd, SPAN("ping"), SPAN("{}"), &e));
    assert_int_equal(dialect_completions.reader_next(rd, &ev, &e), DIALECT_MORE);
    assert_true(
        dialect_completions.reader_feed(rd, SPAN("error"), SPAN("{\"message\":\"x\"}"), &e));
    assert_int_equal(dialect_completions.reader_next(rd, &ev, &e), DIALECT_FAIL);
    assert_non_null(strstr(e.msg, "x"));
    assert_false(dialect_completions.reader_feed(rd, SPAN(""), SPAN(F), &e));
    dialect_completions.reader_free(rd);
    dialect_completions.reader_free(NULL);
}

/* --- whole answers ---------------------------------------------------------------------------- */

#define VECTORS                                                                                    \
    "{\"data\":[{\"embedding\":[0.25,-1e-3]}],\"model\":\"up\",\"usage\":{\"prompt_tokens\":5,"    \
    "\"total_tokens\":5}}"
#define MESSAGE "{\"choices\":[{\"message\":{\"content\":\"abc\"},\"finish_reason\":\"stop\"}]}"

static void test_bodies(void **state)
{
    static const struct {
        const char *in, *want;
    } cases[] = {
        {VECTORS, "text:<" VECTORS ">;usage:5/0/0/0$-1;finish:stop"},
        {" " VECTORS "\n", "text:<" VECTORS ">;usage:5/0/0/0$-1;finish:stop"},
        {MESSAGE, "text:abc<" MESSAGE ">;finish:stop"},
        {"{}", "text:<{}>;finish:stop"},
        {"[]", "fail:upstream,upstream_error,0"},
        {"{\"a\"", "fail:upstream,upstream_error,0"},
        {"", "fail:upstream,upstream_error,0"},
        {"{\"error\":{\"message\":\"x\",\"code\":503}}", "fail:unavailable,upstream_overloaded,1"},
    };
    struct buf log;
    buf_init(&log, KIB(16));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct dialect_reader *rd = dialect_embeddings.reader_new();
        int last = -1;
        buf_clear(&log);
        bool ok = dialect_embeddings.reader_body(rd, span_of(cases[i].in), NULL);
        assert_int_equal(ok, drain(rd, &log, &last, NULL));
        if (!span_eq(buf_span(&log), span_of(cases[i].want)))
            fail_msg("%s: %.*s", cases[i].in, SPAN_ARG(buf_span(&log)));
        dialect_embeddings.reader_free(rd);
    }
    buf_done(&log);
}

/* --- to clients ------------------------------------------------------------------------------- */

static void write_all(struct dialect_writer *w, struct buf *out, const struct chat_event *ev,
                      size_t n)
{
    struct err e;
    for (size_t i = 0; i < n; i++)
        assert_true(dialect_completions.write_event(w, &ev[i], out, &e));
}

static void test_write_stream(void **state)
{
    struct err why = {0};
    struct chat_event good[] = {
        {.kind = CHAT_EV_START},
        {.kind = CHAT_EV_TEXT, .text = SPAN("a"), .raw = SPAN("{\"a\":1}")},
        {.kind = CHAT_EV_TEXT, .raw = SPAN("{\"a\":\n\n 1}")},
        {.kind = CHAT_EV_USAGE},
        {.kind = CHAT_EV_FINISH},
        {.kind = CHAT_EV_TEXT, .raw = SPAN("{}")},
    };
    struct chat_event bad[] = {good[1], {.kind = CHAT_EV_ERROR, .err = &why}, good[4]};
    struct buf out;
    buf_init(&out, KIB(4));
    err_set(&why, ERR_CUT, "it broke");
    struct dialect_writer *w = dialect_completions.writer_new(NULL);
    write_all(w, &out, good, COUNT_OF(good));
    assert_true(span_eq(buf_span(&out), SPAN("data: {\"a\":1}\n\ndata: {\"a\":   1}\n\n"
                                             "data: [DONE]\n\n")));
    dialect_completions.writer_free(w);
    buf_clear(&out);
    w = dialect_completions.writer_new(NULL);
    write_all(w, &out, bad, COUNT_OF(bad));
    struct span s = buf_span(&out);
    assert_true(
        span_starts(s, SPAN("data: {\"a\":1}\n\ndata: {\"error\":{\"message\":\"it broke\"")));
    assert_true(span_ends(s, SPAN("}}\n\n")));
    assert_true(span_index(s, SPAN("DONE")) == s.n);
    dialect_completions.writer_free(w);
    buf_done(&out);
}

static void test_write_whole(void **state)
{
    struct chat_event ev[] = {
        {.kind = CHAT_EV_START},
        {.kind = CHAT_EV_TEXT, .text = SPAN("said"), .raw = SPAN(VECTORS)},
        {.kind = CHAT_EV_FINISH},
    };
    struct chat_collect c;
    struct buf out;
    struct err e;
    buf_init(&out, KIB(4));
    chat_collect_init(&c, KIB(4));
    for (size_t i = 0; i < COUNT_OF(ev); i++)
        assert_true(chat_collect_event(&c, &ev[i], &e));
    assert_true(dialect_embeddings.write_unary(NULL, &c, &out, &e));
    assert_true(span_eq(buf_span(&out), SPAN(VECTORS)));
    chat_collect_done(&c);
    buf_done(&out);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Each allocation fails in turn: an error or the same answer, and no half of it. */
static void test_out_of_memory(void **state)
{
    struct buf log;
    buf_init(&log, KIB(16));
    assert_true(buf_add(&log, SPAN(TWO("aa", "bb")), NULL)); /* its memory is there */
    bool failed = true;
    for (long n = 1; failed; n++) {
        struct err e = {0};
        struct chat_request r;
        AUTO(arena) a = arena_new(0);
        buf_clear(&log);
        int last = -1;
        mem_fail_at(n);
        bool ok = dialect_fim.read_request(a, SPAN("{\"model\":\"m\",\"prompt\":\"a\"}"), &r, &e);
        struct dialect_reader *rd = dialect_fim.reader_new();
        bool read = rd && dialect_fim.reader_body(rd, SPAN(TWO("aa", "bb")), &e) &&
                    drain(rd, &log, &last, NULL);
        dialect_fim.reader_free(rd);
        failed = mem_failed();
        mem_fail_at(0);
        assert_true(failed || (ok && read));
        assert_true(!rd || (ok && read) || e.cls == ERR_NOMEM);
        assert_true(!read || span_starts(buf_span(&log), SPAN("text:aabb<")));
    }
    buf_done(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),      cmocka_unit_test(test_urls),
        cmocka_unit_test(test_long_ones),     cmocka_unit_test(test_only_the_member),
        cmocka_unit_test(test_bad_requests),  cmocka_unit_test(test_streams),
        cmocka_unit_test(test_event_types),   cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_write_stream),  cmocka_unit_test(test_write_whole),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
