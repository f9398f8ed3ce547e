/* test_attempt_pass.c - what is no chat, through the same attempt: the request as its client wrote
 * it, the answer as the upstream wrote it, and books as for any other call. */
#include "attempt_rig.h"

#define PROMPT "{\"model\":\"m1\",\"prompt\":\"Hi there\",\"max_tokens\":9}"
#define STREAM "{\"model\":\"m1\",\"prompt\":\"Hi there\",\"stream\":true}"
#define INPUT  "{\"input\":[\"Hi\",\" there\"],\"model\":\"m1\"}"
#define VECTOR "{\"data\":[{\"embedding\":[0.5]}]"
#define SAYS   "{\"choices\":[{\"text\":\"Hello\",\"finish_reason\":null}]}"
#define ENDS   "{\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}"
#define EV(s)  "data: " s "\n\n"
#define START  "start:*,lab-id;"

static bool pass_start(struct net *n, struct arena *a, const struct dialect *d, const char *model,
                       const char *body)
{
    struct err e = {0};
    n->q = (struct question){0};
    if (!d->read_request(a, span_of(body), &n->q.request, &e))
        fail_msg("%s", e.msg);
    return net_start_with(n, model, &(struct chat_start_opts){.role = "pass"});
}

static void pass_exchange(struct net *n, const struct dialect *d, const char *asks,
                          const char *head, const char *body, enum framing f, size_t piece)
{
    AUTO(arena) a = arena_new(0);
    if (!pass_start(n, a, d, "m", asks))
        fail_msg("%s", n->caller.e.msg);
    net_serve(n);
    net_answer(n, head, body, f);
    net_send(n, piece);
    net_finish(n, f);
    net_wait(n);
}

static void test_request(void **state)
{
    static const struct {
        const struct dialect *dialect;
        const char *body, *has[4];
    } cases[] = {
        {&dialect_embeddings,
         INPUT,
         {"POST /v1/embeddings HTTP/1.1\r\n", "\r\nauthorization: Bearer " SECRET "\r\n",
          "\r\naccept: application/json\r\n",
          "\r\n\r\n{\"input\":[\"Hi\",\" there\"],\"model\":\"lab-id\"}"}},
        {&dialect_completions,
         STREAM,
         {"POST /v1/completions HTTP/1.1\r\n", "\r\naccept: text/event-stream\r\n",
          "\r\n\r\n{\"model\":\"lab-id\",\"prompt\":\"Hi there\",\"stream\":true}"}},
        {&dialect_fim,
         PROMPT,
         {"POST /v1/fim/completions HTTP/1.1\r\n", "\r\ncontent-type: application/json\r\n"}},
    };
    struct net *n = *state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        assert_true(pass_start(n, a, cases[i].dialect, "m", cases[i].body));
        net_serve(n);
        for (size_t k = 0; k < COUNT_OF(cases[i].has) && cases[i].has[k] != NULL; k++)
            if (!has(&n->in, cases[i].has[k]))
                fail_msg("%s is missing in %.*s", cases[i].has[k], SPAN_ARG(buf_span(&n->in)));
        caller_cancel(&n->caller);
        /* it may have been worked on: what was sent is reckoned */
        assert_int_equal(n->caller.usage.input, 2);
        assert_true(n->caller.usage.estimated);
    }
}

/* "Hi there" are 2 tokens as we reckon: 1,000 nano-USD each, 2,000 for those of an answer. */
static void test_good(void **state)
{
    static const struct {
        const char *name;
        const struct dialect *dialect;
        const char *asks, *head, *body, *want;
        enum framing framing;
    } cases[] = {
        {"vectors", &dialect_embeddings, INPUT, JSON_HEAD "; charset=utf-8",
         VECTOR ",\"usage\":{\"prompt_tokens\":5,\"total_tokens\":5}}",
         START "text:<" VECTOR ",\"usage\":{\"prompt_tokens\":5,\"total_tokens\":5}}>;"
               "usage:5/0/0/0$5000;finish:stop",
         BY_LENGTH},
        {"vectors without usage", &dialect_embeddings, INPUT, JSON_HEAD, VECTOR "}",
         START "text:<" VECTOR "}>;usage:2/0/0/0$2000~;finish:stop", BY_CHUNKS},
        {"a text", &dialect_completions, PROMPT, JSON_HEAD, SAYS,
         START "text:Hello<" SAYS ">;usage:2/0/2/0$6000~;finish:stop", BY_LENGTH},
        {"a stream", &dialect_completions, STREAM, STREAM_HEAD,
         ": a comment\n\n" EV(SAYS) EV(ENDS) EV("[DONE]"),
         START "text:Hello<" SAYS "><" ENDS ">;usage:2/0/2/0$6000~;finish:stop", BY_CHUNKS},
        {"cut behind its end", &dialect_completions, STREAM, STREAM_HEAD, EV(SAYS) EV(ENDS),
         START "text:Hello<" SAYS "><" ENDS ">;usage:2/0/2/0$6000~;finish:stop", CUT},
    };
    struct net *n = *state;
    for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
        size_t k = i / 2;
        pass_exchange(n, cases[k].dialect, cases[k].asks, cases[k].head, cases[k].body,
                      cases[k].framing, i % 2 ? 1 : 4096);
        if (!n->caller.finished)
            fail_msg("%s: %s", cases[k].name, n->caller.e.msg);
        caller_expect(&n->caller, cases[k].want);
        http_client_forget(n->http);
    }
}

static void test_bad(void **state)
{
    static const struct {
        const char *name, *asks, *head, *body;
        enum framing framing;
        const char *code, *says;
        enum err_sent sent;
    } cases[] = {
        {"refused", PROMPT, "429 Later\r\nretry-after: 7",
         "{\"error\":{\"message\":\"slow down\"}}", BY_LENGTH, "rate_limit_exceeded", "slow down",
         SENT_REFUSED},
        {"the key in it", PROMPT, "400 No", "{\"error\":{\"message\":\"key " SECRET "\"}}",
         BY_LENGTH, "invalid_request", "[...]", SENT_REFUSED},
        {"failed", PROMPT, "500 Oops", "<secret>", BY_LENGTH, "upstream_error", "status 500",
         SENT_MAYBE},
        {"no JSON", PROMPT, JSON_HEAD, "{\"choices\":", BY_LENGTH, "upstream_error", "JSON",
         SENT_MAYBE},
        {"a page", PROMPT, "200 OK\r\ncontent-type: text/html", "<h1>", BY_LENGTH,
         "upstream_not_json", "text/html", SENT_MAYBE},
        {"a stream that was not asked for", PROMPT, STREAM_HEAD, EV(SAYS) EV(ENDS), BY_CHUNKS,
         "upstream_not_json", "text/event-stream", SENT_MAYBE},
        {"no stream where it was", STREAM, JSON_HEAD, SAYS, BY_LENGTH, "upstream_not_json",
         "application/json", SENT_MAYBE},
        {"cut before a word", STREAM, STREAM_HEAD, ": x\n\n", CUT, "upstream_cut", "", SENT_MAYBE},
        {"cut", STREAM, STREAM_HEAD, EV(SAYS), CUT, "upstream_cut", "", SENT_DELIVERED},
        {"cut within an event", STREAM, STREAM_HEAD, EV(SAYS) "data: {\"cho", BY_CHUNKS,
         "upstream_cut", "", SENT_DELIVERED},
        {"stalls", STREAM, STREAM_HEAD, EV(SAYS), STALL, "timeout", "", SENT_DELIVERED},
        {"a body that is cut", PROMPT, JSON_HEAD, SAYS, CUT, "upstream_cut", "", SENT_MAYBE},
    };
    struct net *n = *state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        pass_exchange(n, &dialect_completions, cases[i].asks, cases[i].head, cases[i].body,
                      cases[i].framing, 4096);
        const struct err *e = &n->caller.e;
        if (!n->caller.failed || strcmp(e->code, cases[i].code) != 0 ||
            !strstr(e->msg, cases[i].says) || e->sent != cases[i].sent)
            fail_msg("%s: %s, %d: %s", cases[i].name, e->code, e->sent, e->msg);
        assert_null(strstr(e->msg, "secret"));
        assert_null(strstr(e->msg, SECRET));
        http_client_forget(n->http);
    }
}

/* Nothing is sent to who does not speak like the client. */
static void test_unsupported(void **state)
{
    static const char text[] =
        "providers:\n"
        "  a: {kind: anthropic, base_url: \"http://127.0.0.1:1/v1\"}\n"
        "  g: {kind: gemini, base_url: \"http://127.0.0.1:1/v1beta\"}\n"
        "  r: {kind: openai, api: responses, base_url: \"http://127.0.0.1:1/v1\"}\n"
        "  o: {kind: openai, base_url: \"http://127.0.0.1:1/v1\"}\n"
        "  m: {kind: mistral, base_url: \"http://127.0.0.1:1/v1\"}\n"
        "  l: {kind: local}\n"
        "models:\n  a: {provider: a}\n  g: {provider: g}\n  r: {provider: r}\n"
        "  o: {provider: o}\n  m: {provider: m}\n  l: {provider: l}\n";
    struct err e = {0};
    struct chat_pass pass = {0};
    struct chat_request r = {.dialect = SPAN("embeddings"), .pass = &pass};
    AUTO(config) c = config_parse(SPAN(text), "test", &e);
    if (c == NULL)
        fail_msg("%s", e.msg);
    for (size_t i = 0; i < c->n_models; i++) {
        const struct config_model *m = &c->models[i];
        bool takes = span_eq(m->name, SPAN("o")) || span_eq(m->name, SPAN("m")) ||
                     span_eq(m->name, SPAN("l"));
        assert_int_equal(upstream_takes(m, &r, &e), takes);
        assert_true(upstream_takes(m, &(struct chat_request){0}, &e));
    }
    assert_string_equal(e.code, "unsupported_by_upstream");
    assert_int_equal(e.status, 400);
    assert_string_equal(e.param, "model");
}

/* A server in our network is not sent what it would fetch from there for a client. */
static void test_urls(void **state)
{
    struct net *n = *state;
    AUTO(arena) a = arena_new(0);
    assert_false(pass_start(n, a, &dialect_embeddings, "m",
                            "{\"model\":\"m1\",\"input\":[{\"image_url\":\"http://10.0.0.1/\"}]}"));
    assert_int_equal(n->caller.e.status, 400);
    assert_non_null(strstr(n->caller.e.msg, "image_urls"));
}

/* Vectors are larger than any event of a stream, and room for them is not kept for chats. */
static void test_large(void **state)
{
    struct net *n = *state;
    AUTO(arena) a = arena_new(0);
    size_t size = LIMIT_EVENT_BYTES + KIB(64);
    char *body = mem_alloc(size + 16);
    assert_non_null(body);
    size_t at = (size_t)snprintf(body, size, "{\"data\":\"");
    memset(body + at, 'x', size - at);
    memcpy(body + size, "\"}", 3);
    buf_done(&n->caller.log);
    buf_init(&n->caller.log, MIB(64));
    assert_true(pass_start(n, a, &dialect_embeddings, "m", INPUT));
    net_serve(n);
    net_answer(n, JSON_HEAD, body, BY_LENGTH);
    net_send(n, MIB(1));
    net_wait(n);
    assert_true(n->caller.finished);
    net_start(n, "m");
    net_serve(n);
    net_answer(n, JSON_HEAD, body, BY_LENGTH);
    net_send(n, MIB(1));
    net_wait(n);
    assert_true(n->caller.failed);
    assert_string_equal(n->caller.e.code, "upstream_too_large");
    mem_free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_request, net_open, net_close),
        cmocka_unit_test_setup_teardown(test_good, net_open, net_close),
        cmocka_unit_test_setup_teardown(test_bad, net_open, net_close),
        cmocka_unit_test(test_unsupported),
        cmocka_unit_test_setup_teardown(test_urls, net_open, net_close),
        cmocka_unit_test_setup_teardown(test_large, net_open, net_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
