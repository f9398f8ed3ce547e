/* tests/unit/test_structured.c - answers that were asked for as JSON, on scripted models: what is
 * delivered, repaired, refused; streams, tool calls, usage. Cancelling, pausing and memory are in
 * test_structured_life.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "route/structured_priv.h"
#include "structured_rig.h"

/* --- the prompt way --------------------------------------------------------------------------- */

static void test_prompt_valid_at_once(void **state)
{
    struct desk *d = desk_new(STRUCTURED_PROMPT, "{\"a\": 1}");
    d->req.stream = true;
    d->req.format_description = SPAN("a count");
    run(d);
    check(d, "StuF", "{\"a\": 1}");
    check_asked(d, "[system] Answer with one JSON value " RULES
                   " It must be valid against this JSON Schema (a count):\n" SCHEMA
                   "\n[user] How many?\n");
    assert_int_equal(d->model->last.format, CHAT_FORMAT_UNSET);
    assert_null(d->model->last.format_schema.p);
    assert_int_equal(d->got.usage.cost_nusd, 15);
    desk_done(d);
}

static void test_prompt_fences(void **state)
{
    static const struct {
        const char *said, *out;
    } cases[] = {
        {"```json\n{\"a\":1}\n```", "{\"a\":1}"},
        {"  \n```\n{\"a\":1}\n```  \n", "{\"a\":1}"},
        {"```json\n{\"a\":1}```", "{\"a\":1}"},
        {"Here it is:\n\n```json\n{\"a\":1}\n```\nI hope it helps.", "{\"a\":1}"},
        {"\n {\"a\":1} \n", "{\"a\":1}"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct desk *d = desk_new(STRUCTURED_PROMPT, cases[i].said);
        run(d);
        check(d, "StuF", cases[i].out);
        desk_done(d);
    }
}

static void test_strip(void **state)
{
    static const struct {
        const char *said, *out;
    } cases[] = {
        {"", ""},
        {" 1 ", "1"},
        {"```", "```"},
        {"```json", "```json"},
        {"``````", "``````"},
        {"```\n```", "```\n```"},
        {"```\n1", "```\n1"},
        {"```\n1\n```\n```\n2\n```", "```\n1\n```\n```\n2\n```"},
        {"{\"a\":\"```\"}", "{\"a\":\"```\"}"},
        {"```json\n{\"a\":\"```x```\"}\n```", "{\"a\":\"```x```\"}"},
        {"[\"```\\n1\\n```\"]", "[\"```\\n1\\n```\"]"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct span got = structured_strip(span_of(cases[i].said));
        if (!span_eq(got, span_of(cases[i].out)))
            fail_msg("%s: %.*s", cases[i].said, SPAN_ARG(got));
    }
}

static void test_prompt_repaired(void **state)
{
    struct desk *d = desk_new(STRUCTURED_PROMPT, "{\"a\":\"one\"}");
    d->req.stream = true;
    then(d, "```json\n{\"a\":1}\n```");
    d->model->scripts[1].usage =
        (struct chat_usage){.input = 30, .output = 7, .reasoning = 2, .cost_nusd = 50};
    run(d);
    check(d, "StuF", "{\"a\":1}");
    check_asked(d, "[system] Answer with one JSON value " RULES
                   " It must be valid against this JSON Schema:\n" SCHEMA
                   "\n[user] How many?\n[assistant] {\"a\":\"one\"}\n[user] That answer cannot be "
                   "used: at /a: expected an integer, found \"one\"\nAnswer again with the whole "
                   "corrected JSON value " RULES "\n");
    assert_int_equal(d->model->starts, 2);
    assert_int_equal(d->got.usage.input, 40);
    assert_int_equal(d->got.usage.output, 12);
    assert_int_equal(d->got.usage.reasoning, 2);
    assert_int_equal(d->got.usage.cost_nusd, 65);
    assert_false(d->got.usage.estimated);
    desk_done(d);
}

static void test_prompt_invalid_twice(void **state)
{
    static const struct {
        const char *first, *second, *msg;
    } cases[] = {
        {"{\"a\":\"one\"}", "{\"a\":\"two\"}", "nor is its repair: at /a: expected an integer"},
        {"I cannot", "Really", "nor is its repair: not valid JSON at byte 0"},
        {"", "{}", "nor is its repair: at the root: missing required: \"a\""},
        {"{\"a\":1,\"a\":2}", "", "nor is its repair: the answer is empty"},
        {"[1]", "{\"a\":1}{\"a\":1}", "unexpected content"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct desk *d = desk_new(STRUCTURED_PROMPT, cases[i].first);
        then(d, cases[i].second);
        run(d);
        check(d, "SuE", "");
        check_invalid(d, cases[i].msg);
        assert_int_equal(d->model->starts, 2);
        assert_int_equal(d->got.usage.cost_nusd, 30);
        desk_done(d);
    }
}

/* An empty turn of the assistant is not sent back. */
static void test_empty_answer_is_asked_for_again(void **state)
{
    struct desk *d = desk_new(STRUCTURED_PROMPT, " \n");
    then(d, "{\"a\":1}");
    run(d);
    check(d, "StuF", "{\"a\":1}");
    assert_int_equal(d->model->last.n_messages, 3);
    desk_done(d);
}

static void test_where_the_words_stand(void **state)
{
    struct desk *d = desk_new(STRUCTURED_PROMPT, "{\"a\":1}");
    struct chat_part part[2] = {
        {.kind = CHAT_PART_TEXT, .text = SPAN("Be \0brief.")},
        {.kind = CHAT_PART_TEXT, .text = SPAN("Count."), .cache_mark = true}};
    struct chat_message m[3] = {{.role = CHAT_SYSTEM, .parts = &part[1], .n_parts = 1},
                                {.role = CHAT_DEVELOPER, .parts = part, .n_parts = 1},
                                d->req.messages[0]};
    struct chat_request r = d->req, out;
    struct err e;
    r.messages = m;
    r.n_messages = 3;
    r.format = CHAT_FORMAT_JSON;
    r.format_schema.p = NULL;
    assert_true(structured_prompt(d->arena, &r, true, &out, &e));
    assert_int_equal(out.n_messages, 3);
    assert_int_equal(out.messages[1].n_parts, 1);
    assert_true(span_eq(out.messages[1].parts[0].text,
                        SPAN("Be \0brief.\n\nAnswer with one JSON object " RULES)));
    assert_int_equal(out.format, CHAT_FORMAT_JSON);
    /* a mark for the cache keeps its part */
    r.n_messages = 1;
    assert_true(structured_prompt(d->arena, &r, true, &out, &e));
    assert_int_equal(out.messages[0].n_parts, 2);
    assert_true(out.messages[0].parts[0].cache_mark && !out.messages[0].parts[1].cache_mark);
    assert_int_equal(part[1].text.n, 6);
    run(d);
    desk_done(d);
}

static void test_json_object_where_it_helps(void **state)
{
    static const struct {
        const char *schema;
        enum chat_format sent;
    } cases[] = {{SCHEMA, CHAT_FORMAT_JSON}, {"{\"enum\":[{\"a\":1}]}", CHAT_FORMAT_UNSET}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct desk *d = desk_new(STRUCTURED_PROMPT, "{\"a\":1}");
        d->source.json_object = true;
        d->req.format_schema = span_of(cases[i].schema);
        run(d);
        check(d, "StuF", "{\"a\":1}");
        assert_int_equal(d->model->last.format, cases[i].sent);
        desk_done(d);
    }
}

/* --- json_object: syntax only ----------------------------------------------------------------- */

static void test_json_object(void **state)
{
    static const struct {
        const char *first, *second, *log;
    } cases[] = {
        {"{\"b\":[]}", "", "StuF"},
        {"{\"b\":}", "{}", "StuF"},
        {"[1]", "{}", "StuF"},
        {"[1]", "2", "SuE"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct desk *d = desk_new(STRUCTURED_PROMPT, cases[i].first);
        d->req.format = CHAT_FORMAT_JSON;
        d->req.format_schema.p = NULL;
        then(d, cases[i].second);
        run(d);
        assert_string_equal(d->log, cases[i].log);
        if (d->log[1] == 'u')
            check_invalid(d, "the answer is a number and not an object");
        desk_done(d);
    }
}

/* --- native ----------------------------------------------------------------------------------- */

static void test_native_stream_is_relayed(void **state)
{
    struct desk *d = desk_new(STRUCTURED_NATIVE, " {\"a\": 12345678}");
    d->req.stream = true;
    d->model->scripts[0].reasoning = SPAN("hm");
    run(d);
    check(d, "SrtttuF", " {\"a\": 12345678}");
    assert_int_equal(d->model->last.format, CHAT_FORMAT_SCHEMA);
    check_asked(d, "[user] How many?\n");
    desk_done(d);
}

static void test_native_stream_that_is_invalid(void **state)
{
    static const char *const said[] = {"{\"a\":1.5}", "```json\n{\"a\":1}\n```", "{\"a\":1",
                                       "{\"a\":1,\"b\":2}", ""};
    for (size_t i = 0; i < COUNT_OF(said); i++) {
        struct desk *d = desk_new(STRUCTURED_NATIVE, said[i]);
        d->req.stream = true;
        d->model->scripts[0].chunk = 0;
        run(d);
        check(d, said[i][0] ? "StuE" : "SuE", said[i]);
        check_invalid(d, "the answer is not what was asked for: ");
        assert_int_equal(d->model->starts, 1);
        desk_done(d);
    }
}

/* Nothing has gone out, so it can be asked for again. */
static void test_native_whole_is_repaired(void **state)
{
    struct desk *d = desk_new(STRUCTURED_NATIVE, "no");
    then(d, "{\"a\":1}");
    run(d);
    check(d, "StuF", "{\"a\":1}");
    assert_int_equal(d->model->last.format, CHAT_FORMAT_SCHEMA);
    assert_int_equal(d->model->last.n_messages, 3);
    desk_done(d);
}

/* --- other ends ------------------------------------------------------------------------------- */

static void test_tool_calls_pass(void **state)
{
    for (int mode = 0; mode < 4; mode++) {
        struct desk *d = desk_new(mode & 1 ? STRUCTURED_PROMPT : STRUCTURED_NATIVE, "I look.");
        d->req.stream = (mode & 2) != 0;
        d->model->scripts[0].tool = SPAN("look");
        d->model->scripts[0].reasoning = SPAN("hm");
        d->model->scripts[0].finish = CHAT_FINISH_TOOL_CALLS;
        run(d);
        check(d, "SrtTuF", "I look.");
        assert_int_equal(d->got.n_tools, 1);
        assert_int_equal(d->got.finish, CHAT_FINISH_TOOL_CALLS);
        desk_done(d);
    }
}

/* The repair is asked for without tools. */
static void test_repair_has_no_tools(void **state)
{
    struct desk *d = desk_new(STRUCTURED_PROMPT, "no");
    static const struct chat_tool tool = {.name = SPAN_INIT("look"), .strict = -1};
    d->req.tools = &tool;
    d->req.n_tools = 1;
    then(d, "{\"a\":1}");
    run(d);
    assert_int_equal(d->model->last.tool_choice, CHAT_CHOICE_NONE);
    assert_int_equal(d->model->last.n_tools, 1);
    desk_done(d);
}

static void test_refusals_pass(void **state)
{
    for (int mode = 0; mode < 2; mode++) {
        struct desk *d = desk_new(mode ? STRUCTURED_PROMPT : STRUCTURED_NATIVE, "");
        d->model->scripts[0].refusal = SPAN("I will not.");
        d->model->scripts[0].finish = CHAT_FINISH_REFUSAL;
        run(d);
        check(d, "SfuF", "");
        assert_true(span_eq(buf_span(&d->got.refusal), SPAN("I will not.")));
        desk_done(d);
    }
}

static void test_cut_answers_say_so(void **state)
{
    for (int mode = 0; mode < 2; mode++) {
        struct desk *d = desk_new(mode ? STRUCTURED_PROMPT : STRUCTURED_NATIVE, "{\"a\"");
        d->req.stream = true;
        d->model->scripts[0].finish = CHAT_FINISH_LENGTH;
        run(d);
        check(d, "StuF", "{\"a\"");
        assert_int_equal(d->got.finish, CHAT_FINISH_LENGTH);
        assert_int_equal(d->model->starts, 1);
        desk_done(d);
    }
}

static void test_upstream_errors(void **state)
{
    struct desk *d = desk_new(STRUCTURED_PROMPT, "{\"a");
    d->model->scripts[0].err = lab_error(ERR_BUSY, "too many requests");
    run(d);
    check(d, "SuE", "");
    assert_int_equal(d->err.cls, ERR_BUSY); /* as it came: others may be tried */
    assert_int_equal(d->err.sent, SENT_MAYBE);
    desk_done(d);

    d = desk_new(STRUCTURED_PROMPT, "no");
    then(d, "{\"a");
    d->model->scripts[1].err = lab_error(ERR_BUSY, "too many requests");
    d->model->scripts[1].no_usage = true;
    run(d);
    check(d, "SuE", "");
    check_invalid(d, "its repair failed: not valid JSON at byte 0");
    assert_non_null(strstr(d->err.msg, "too many requests"));
    assert_int_equal(d->got.usage.cost_nusd, -1); /* nobody said what the repair cost */
    assert_true(d->got.usage.estimated);
    desk_done(d);

    d = desk_new(STRUCTURED_PROMPT, "no");
    then(d, "");
    d->model->scripts[1].err = lab_error(ERR_TIMEOUT, "the queue did not move");
    d->model->scripts[1].err.sent = SENT_NO;
    d->model->scripts[1].no_usage = true;
    run(d);
    check_invalid(d, "its repair failed");
    assert_int_equal(d->got.usage.cost_nusd, 15); /* the repair was never sent */
    desk_done(d);

    d = desk_new(STRUCTURED_PROMPT, "no");
    then(d, "");
    d->model->scripts[1].no_start = true;
    d->model->scripts[1].err = lab_error(ERR_BUSY, "too many requests");
    run(d);
    check(d, "SuE", "");
    check_invalid(d, "could not be asked for again: not valid JSON");
    assert_int_equal(d->got.usage.cost_nusd, 15);
    desk_done(d);
}

static void test_long_answers_are_refused(void **state)
{
    for (int mode = 0; mode < 2; mode++) {
        char *text = mem_alloc(LIMIT_STRUCTURED_BYTES + 2);
        assert_non_null(text);
        memset(text, ' ', LIMIT_STRUCTURED_BYTES + 1);
        text[LIMIT_STRUCTURED_BYTES + 1] = '\0';
        struct desk *d = desk_new(mode ? STRUCTURED_PROMPT : STRUCTURED_NATIVE, text);
        chat_collect_done(&d->got);
        chat_collect_init(&d->got, 2 * LIMIT_STRUCTURED_BYTES);
        d->req.stream = true;
        d->model->scripts[0].chunk = MIB(1);
        run(d);
        assert_string_equal(d->log, mode ? "SuE" : "SttttuE");
        check_invalid(d, "longer than 4194304 bytes");
        assert_int_equal(d->model->cancelled, 1);
        desk_done(d);
        mem_free(text);
    }
}

/* --- refused before anything is sent ---------------------------------------------------------- */

static void test_refused_at_start(void **state)
{
    static const struct {
        const char *dialect, *schema;
        int strict;
        const char *param, *msg;
    } cases[] = {
        {"openai_chat", "{\"nullable\":true}", -1, "response_format.json_schema.schema.nullable",
         "not supported"},
        {"openai_responses", "{\"nullable\":true}", -1, "text.format.schema.nullable",
         "not supported"},
        {"anthropic_messages", "{\"nullable\":true}", 0, "output_config.format.schema.nullable",
         "not supported"},
        {"openai_chat", "{\"type\":\"object\"}", 1, "response_format.json_schema.schema", "strict"},
        {"openai_chat", "{", -1, "response_format.json_schema.schema", "not valid JSON"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct desk *d = desk_new(STRUCTURED_PROMPT, "");
        d->req.dialect = span_of(cases[i].dialect);
        d->req.format_schema = span_of(cases[i].schema);
        d->req.format_strict = (int8_t)cases[i].strict;
        assert_false(start(d));
        assert_int_equal(d->err.cls, ERR_INPUT);
        assert_string_equal(d->err.param, cases[i].param);
        assert_non_null(strstr(d->err.msg, cases[i].msg));
        assert_int_equal(d->model->starts, 0);
        desk_done(d);
    }
}

static void test_compiled_before(void **state)
{
    struct desk *d = desk_new(STRUCTURED_PROMPT, "{\"a\":1}");
    d->req.format_strict = 1;
    assert_true(structured_schema(d->arena, &d->req, &d->source.schema, &d->err));
    assert_non_null(d->source.schema);
    run(d);
    check(d, "StuF", "{\"a\":1}");
    desk_done(d);
}

static void test_others_are_left_alone(void **state)
{
    struct desk *d = desk_new(STRUCTURED_PROMPT, "no JSON");
    d->req.format = CHAT_FORMAT_TEXT;
    assert_false(structured_wanted(&d->req));
    d->model->scripts[0].chunk = 0;
    run(d);
    check(d, "StuF", "no JSON");
    check_asked(d, "[user] How many?\n");
    desk_done(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prompt_valid_at_once),
        cmocka_unit_test(test_prompt_fences),
        cmocka_unit_test(test_strip),
        cmocka_unit_test(test_prompt_repaired),
        cmocka_unit_test(test_prompt_invalid_twice),
        cmocka_unit_test(test_empty_answer_is_asked_for_again),
        cmocka_unit_test(test_where_the_words_stand),
        cmocka_unit_test(test_json_object_where_it_helps),
        cmocka_unit_test(test_json_object),
        cmocka_unit_test(test_native_stream_is_relayed),
        cmocka_unit_test(test_native_stream_that_is_invalid),
        cmocka_unit_test(test_native_whole_is_repaired),
        cmocka_unit_test(test_tool_calls_pass),
        cmocka_unit_test(test_repair_has_no_tools),
        cmocka_unit_test(test_refusals_pass),
        cmocka_unit_test(test_cut_answers_say_so),
        cmocka_unit_test(test_upstream_errors),
        cmocka_unit_test(test_long_answers_are_refused),
        cmocka_unit_test(test_refused_at_start),
        cmocka_unit_test(test_compiled_before),
        cmocka_unit_test(test_others_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
