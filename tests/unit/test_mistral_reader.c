/* tests/unit/test_mistral_reader.c - what Mistral answers: recorded streams, which lie beside the
 * checkout and not in it (FUSOR_SHARED, or ../shared), read through the event stream's parser with
 * the bytes cut at every place; reasoning; the errors that only Mistral words so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "chat_log.h"
#include "http/sse.h"

#ifndef FUSOR_SOURCE_ROOT
#define FUSOR_SOURCE_ROOT "."
#endif

static const struct dialect *const mistral = &dialect_mistral;

/* Chunks, one a line, as an event stream with its end. */
static void frame(struct span chunks, struct buf *out)
{
    struct span line;
    struct err e;
    buf_clear(out);
    while (span_cut(&chunks, '\n', &line))
        if (line.n > 0)
            assert_true(buf_addf(out, &e, "data: %.*s\r\n\r\n", SPAN_ARG(line)));
    assert_true(buf_add(out, SPAN(": x\n\ndata: [DONE]\n\n"), &e));
}

/* False when the reader has failed: nothing is fed then, as by a call. */
static bool feed(struct sse *s, struct dialect_reader *rd, struct span in, struct buf *log,
                 int *last)
{
    struct sse_event ev;
    struct err e;
    bool ok = true;
    while (ok && sse_next(s, &in, &ev, &e) == SSE_EVENT) {
        ok = mistral->reader_feed(rd, ev.type, ev.data, &e);
        ok = drain(rd, log, last, NULL) && ok;
    }
    return ok;
}

static void read_cut(struct span stream, size_t cut, struct buf *log)
{
    AUTO(sse) s = sse_new(MIB(1));
    struct dialect_reader *rd = mistral->reader_new();
    int last = -1;
    buf_clear(log);
    assert_true(s && rd);
    if (feed(s, rd, span_upto(stream, cut), log, &last) &&
        feed(s, rd, span_from(stream, cut), log, &last)) {
        mistral->reader_eof(rd);
        drain(rd, log, &last, NULL);
    }
    mistral->reader_free(rd);
}

static const struct {
    const char *name, *in, *want;
} streams[] = {
    {"a whole call, without index and type",
     "{\"id\":\"i\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
     "\"content\":\"\"},\"finish_reason\":null}]}\n"
     "{\"id\":\"i\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"id\":"
     "\"gSIMJiOkT\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}},{\"id\":"
     "\"Z81F2nJxT\",\"function\":{\"name\":\"f\",\"arguments\":{\"b\":2}}}]},\"finish_reason\":"
     "\"tool_calls\"}],\"usage\":{\"prompt_tokens\":9,\"total_tokens\":14,\"completion_tokens\":5,"
     "\"num_cached_tokens\":4}}\n",
     "start:i,m;tool:(0 gSIMJiOkT f {\"a\":1})(1 Z81F2nJxT f {\"b\":2})(0    .)(1    .);"
     "usage:9/4/5/0$-1;finish:tool_calls"},
    {"thinking, signed",
     "{\"id\":\"i\",\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":[{\"type\":\"thinking\","
     "\"thinking\":[{\"type\":\"text\",\"text\":\"h\"},{\"type\":\"reference\",\"reference_ids\":"
     "[1]}]}]}}]}\n"
     "{\"id\":\"i\",\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":[{\"type\":\"thinking\","
     "\"thinking\":[],\"signature\":\"S\",\"closed\":true},{\"type\":\"text\",\"text\":\"a\"},{"
     "\"type\":\"reference\",\"reference_ids\":[1]}]},\"finish_reason\":\"stop\"}]}\n",
     "start:i,m;think:h[S];text:a;finish:stop"},
    {"the context is full",
     "{\"id\":\"i\",\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":"
     "\"model_length\"}]}\n",
     "start:i,m;text:a;finish:length"},
    {"broken off",
     "{\"id\":\"i\",\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":"
     "\"error\"}]}\n",
     "start:i,m;text:a;fail:upstream,upstream_error,3"},
    {"an error in the stream",
     "{\"object\":\"error\",\"message\":\"Service tier capacity exceeded for this model.\","
     "\"type\":\"service_tier_capacity_exceeded\",\"param\":null,\"code\":\"3505\","
     "\"raw_status_code\":429}\n",
     "fail:busy,rate_limit_exceeded,1"},
};

static void test_streams(void **state)
{
    struct buf stream, log;
    buf_init(&stream, KIB(64));
    buf_init(&log, KIB(64));
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        frame(span_of(streams[i].in), &stream);
        for (size_t cut = 0; cut <= stream.n; cut++) {
            read_cut(buf_span(&stream), cut, &log);
            if (!span_eq(buf_span(&log), span_of(streams[i].want)))
                fail_msg("%s @%zu:\n got %.*s\nwant %s", streams[i].name, cut,
                         SPAN_ARG(buf_span(&log)), streams[i].want);
        }
    }
    buf_done(&stream);
    buf_done(&log);
}

static bool load(const char *name, struct buf *out)
{
    const char *shared = getenv("FUSOR_SHARED");
    char path[1200], *p;
    struct err e;
    snprintf(path, sizeof path, "%s/data/provider-streams/mistral/%s",
             shared ? shared : FUSOR_SOURCE_ROOT "/../shared", name);
    FILE *f = fopen(path, "re");
    buf_clear(out);
    if (!f)
        return false;
    assert_true(buf_room(out, KIB(64), &p, &e));
    buf_grew(out, fread(p, 1, KIB(64), f));
    fclose(f);
    return true;
}

static void test_recorded(void **state)
{
    static const struct {
        const char *file, *want;
    } files[] = {
        {"mistral-text.chunks.txt",
         "start:5319bd0299614c679a0068a4f2c8ffd0,mistral-small-latest;text:Hello, world! This is a "
         "test response.;usage:13/0/8/0$-1;finish:stop"},
        {"mistral-incremental-tool-call.chunks.txt",
         "start:735e434874a24f68a2390b3cab149242,zai-glm-5-2;tool:(0 chatcmpl-tool-"
         "9f149c74c42f265b webSearchTool )(0   {\"query\": \"current Berlin weather\"})(0    .);"
         "usage:171/128/14/0$-1;finish:tool_calls"},
    };
    struct buf text, stream, log;
    size_t n = 0;
    buf_init(&text, MIB(1));
    buf_init(&stream, MIB(1));
    buf_init(&log, KIB(64));
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        if (!load(files[i].file, &text))
            continue;
        n++;
        frame(buf_span(&text), &stream);
        for (size_t cut = 0; cut <= stream.n; cut++) {
            read_cut(buf_span(&stream), cut, &log);
            if (!span_eq(buf_span(&log), span_of(files[i].want)))
                fail_msg("%s @%zu: %.*s", files[i].file, cut, SPAN_ARG(buf_span(&log)));
        }
    }
    if (n == 0)
        print_message("skipped: no recordings (set FUSOR_SHARED to the folder that holds data/)\n");
    buf_done(&text);
    buf_done(&stream);
    buf_done(&log);
}

static const struct {
    int status, want_status;
    const char *body, *code, *param, *says;
} errors[] = {
    {400, 400,
     "{\"object\":\"error\",\"message\":\"Tool call id was X but must be a-z, A-Z, 0-9, with a "
     "length of 9.\",\"type\":\"invalid_function_call\",\"param\":null,\"code\":\"3280\","
     "\"raw_status_code\":400}",
     "invalid_request", "", "length of 9"},
    {400, 400,
     "{\"object\":\"error\",\"message\":\"Unexpected role 'user' after role 'tool'\",\"type\":"
     "\"invalid_request_message_order\",\"param\":null,\"code\":\"3230\"}",
     "invalid_request", "", "after role"},
    {400, 400,
     "{\"object\":\"error\",\"message\":\"Prompt contains 40000 tokens and 0 draft tokens, too "
     "large for model with 32768 maximum context length\",\"type\":"
     "\"invalid_request_prompt_too_long\",\"param\":null,\"code\":\"3051\"}",
     "context_length_exceeded", "", "40000"},
    {422, 422,
     "{\"object\":\"error\",\"message\":{\"detail\":[{\"type\":\"extra_forbidden\",\"loc\":["
     "\"body\",\"seed\"],\"msg\":\"Extra inputs are not permitted\",\"input\":1}]},\"type\":"
     "\"invalid_request_error\",\"param\":null,\"code\":null}",
     "invalid_request", "seed", "not permitted"},
    {422, 422,
     "{\"detail\":[{\"type\":\"extra_forbidden\",\"loc\":[\"body\",\"messages\",0,\"user\",\"name\""
     "],\"msg\":\"Extra inputs are not permitted\"}]}",
     "invalid_request", "name", "not permitted"},
    {401, 502, "{\"detail\":\"Unauthorized: key sk-1\"}", "upstream_auth", "", "credential"},
    {403, 502, "{\"message\":\"Forbidden\"}", "upstream_auth", "", "credential"},
    {403, 403,
     "{\"object\":\"error\",\"message\":\"Request blocked by Guardrails\",\"code\":\"1\"}",
     "content_filter", "", "guardrails"},
    {429, 429,
     "{\"object\":\"error\",\"message\":\"Requests rate limit exceeded\",\"code\":"
     "\"1300\"}",
     "rate_limit_exceeded", "", "rate limit"},
    {500, 502, "<html>", "upstream_error", "", "failed"},
};

static void test_errors(void **state)
{
    for (size_t i = 0; i < COUNT_OF(errors); i++) {
        struct err e = {0};
        mistral->read_error(errors[i].status, span_of(errors[i].body), 1500, &e);
        if (e.status != errors[i].want_status || strcmp(e.code, errors[i].code) != 0 ||
            strcmp(e.param, errors[i].param) != 0 || !strstr(e.msg, errors[i].says))
            fail_msg("%s: %d %s, param %s, %s", errors[i].body, e.status, e.code, e.param, e.msg);
        assert_null(strstr(e.msg, "sk-1"));
        assert_int_equal(e.upstream_status, errors[i].status);
        assert_int_equal(e.sent, errors[i].status < 500 ? SENT_REFUSED : SENT_MAYBE);
    }
}

static void test_table(void **state)
{
    assert_ptr_equal(dialect_find(SPAN("mistral")), mistral);
    assert_string_equal(mistral->path, "/chat/completions");
    assert_string_equal(mistral->key_header, "authorization");
    assert_null(mistral->read_request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_recorded),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
