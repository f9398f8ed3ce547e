/* test_attempt.c - a provider over HTTP: whatever it answers becomes events with exactly one last
 * one, an error says how far the call had come, and every yes of the gate is settled. Cancel,
 * pause, reuse and memory: test_attempt_life.c. */
#include "attempt_rig.h"

#include <time.h>

/* --- the request
 * --------------------------------------------------------------------------------------- */

static void test_request(void **state)
{
    static const struct {
        const char *model;
        const char *has[8], *not [4];
    } cases[] = {
        {"m",
         {"POST /v1/chat/completions HTTP/1.1\r\n", "\r\nauthorization: Bearer " SECRET "\r\n",
          "\r\ncontent-type: application/json\r\n", "\r\naccept-encoding: identity\r\n",
          "\"model\":\"lab-id\"", "\"stream\":true", "\"include_usage\":true", "\"max_tokens\":9"},
         {"max_completion_tokens"}},
        {"odd",
         {"POST /chat/completions HTTP/1.1\r\n", "\"model\":\"odd\"", "\"stream\":true",
          "\"max_completion_tokens\":9"},
         {"authorization", "stream_options", "\"max_tokens\""}},
    };
    struct net *n = *state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        question_set(&n->q, "Hi there");
        n->q.request.max_tokens = 9;
        assert_true(net_start_with(n, cases[i].model, &(struct chat_start_opts){.role = "call"}));
        net_serve(n);
        for (size_t k = 0; k < COUNT_OF(cases[i].has) && cases[i].has[k] != NULL; k++)
            if (!has(&n->in, cases[i].has[k]))
                fail_msg("%s is missing in %.*s", cases[i].has[k], SPAN_ARG(buf_span(&n->in)));
        for (size_t k = 0; k < COUNT_OF(cases[i].not ) && cases[i].not [k] != NULL; k++)
            assert_false(has(&n->in, cases[i].not [k]));
        caller_cancel(&n->caller);
    }
}

/* --- good answers
 * -------------------------------------------------------------------------------------- */

static void test_good(void **state)
{
    static const struct {
        const char *name, *head, *body, *want;
        enum framing framing;
    } cases[] = {
        {"stream", STREAM_HEAD, WHOLE, WHOLE_LOG, BY_CHUNKS},
        {"stream by length", STREAM_HEAD, WHOLE, WHOLE_LOG, BY_LENGTH},
        {"stream by close", STREAM_HEAD, WHOLE, WHOLE_LOG, BY_CLOSE},
        {"type with a parameter", "200 OK\r\nContent-Type: Text/Event-Stream ; charset=utf-8",
         WHOLE, WHOLE_LOG, BY_CHUNKS},
        {"no usage told", STREAM_HEAD, D("Hello") F("length") DONE,
         "start:i,M;text:Hello;usage:2/0/2/0$6000~;finish:length", BY_CHUNKS},
        {"usage with a cost of its own", STREAM_HEAD,
         D("a") F("stop")
             CHUNK("", ",\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"cost\":0.5}"),
         "start:i,M;text:a;usage:3/0/2/0$500000000;finish:stop", BY_CHUNKS},
        {"no empty line at the end", STREAM_HEAD,
         D("a") "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}",
         "start:i,M;text:a;usage:2/0/1/0$4000~;finish:stop", BY_CHUNKS},
        {"cut after its finish", STREAM_HEAD, D("Hello") F("stop"),
         "start:i,M;text:Hello;usage:2/0/2/0$6000~;finish:stop", CUT},
        {"stalls after its finish", STREAM_HEAD, D("Hello") F("stop"),
         "start:i,M;text:Hello;usage:2/0/2/0$6000~;finish:stop", STALL},
        {"reset after its finish", STREAM_HEAD, D("Hello") F("stop"),
         "start:i,M;text:Hello;usage:2/0/2/0$6000~;finish:stop", RESET},
        {"whole body", JSON_HEAD, REPLY("Hello"), WHOLE_LOG, BY_LENGTH},
        {"whole body by close", JSON_HEAD "; charset=utf-8", REPLY("Hello"), WHOLE_LOG, BY_CLOSE},
        {"identity is no encoding", STREAM_HEAD "\r\ncontent-encoding: Identity", WHOLE, WHOLE_LOG,
         BY_CHUNKS},
        {"reasoning in the text", STREAM_HEAD,
         D("\\n<thi") D("nk>why") D(" so</th") D("ink>\\n") WHOLE,
         "start:i,M;think:why so;text:Hello;usage:3/0/2/0$7000;finish:stop", BY_CHUNKS},
        {"and a call behind half a tag", STREAM_HEAD,
         D("<th") CHUNK("{\"delta\":{\"refusal\":\"no\"}}", "") WHOLE,
         "start:i,M;text:<th;refusal:no;text:Hello;usage:3/0/2/0$7000;finish:stop", BY_CHUNKS},
        {"and nothing behind it", STREAM_HEAD, D("<th") F("stop") CHUNK("", USAGE("3", "2")),
         "start:i,M;usage:3/0/2/0$7000;text:<th;finish:stop", BY_CHUNKS},
        {"1xx first", "100 Continue\r\n\r\nHTTP/1.1 " STREAM_HEAD, WHOLE, WHOLE_LOG, BY_CHUNKS},
    };
    struct net *n = *state;
    for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
        size_t k = i / 2;
        net_exchange(n, "m", cases[k].head, cases[k].body, cases[k].framing, i % 2 ? 1 : 4096);
        if (!n->caller.finished)
            fail_msg("%s: %s", cases[k].name, n->caller.e.msg);
        caller_expect(&n->caller, cases[k].want);
        http_client_forget(n->http);
    }
}

/* Free calls do not wait for the gate; unknown prices stay unknown. */
static void test_prices(void **state)
{
    struct net *n = *state;
    net_exchange(n, "free", STREAM_HEAD, WHOLE, BY_CHUNKS, 4096);
    caller_expect(&n->caller, "start:i,M;text:Hello;usage:3/0/2/0$0;finish:stop");
    net_exchange(n, "odd", STREAM_HEAD, WHOLE, BY_CHUNKS, 4096);
    caller_expect(&n->caller, "start:i,M;text:Hello;usage:3/0/2/0$-1;finish:stop");
    net_exchange(n, "odd", STREAM_HEAD, D("Hello") F("stop"), BY_CHUNKS, 4096);
    caller_expect(&n->caller, "start:i,M;text:Hello;usage:2/0/2/0$-1~;finish:stop");
}

/* --- refusals
 * ------------------------------------------------------------------------------------------- */

static void check_error(struct net *n, const char *name, enum err_class cls, const char *code,
                        enum err_sent sent)
{
    const struct err *e = &n->caller.e;
    if (!n->caller.failed || e->cls != cls || e->sent != sent || strcmp(e->code, code) != 0)
        fail_msg("%s: %s, %s, %d: %s", name, err_class_name(e->cls), e->code, e->sent, e->msg);
    if (strstr(e->msg, SECRET) != NULL || strstr(e->msg, "0123456789") != NULL)
        fail_msg("%s: the key is shown: %s", name, e->msg);
}

static void test_refused(void **state)
{
#define SAYS "{\"error\":{\"message\":\"because\",\"code\":\"x\"}}"
    static const struct {
        const char *head, *body, *code;
        enum err_class cls;
        enum err_sent sent;
        int status;
    } cases[] = {
        {"400 Bad", SAYS, "invalid_request", ERR_INPUT, SENT_REFUSED, 400},
        {"401 Who", SAYS, "upstream_auth", ERR_UPSTREAM, SENT_REFUSED, 502},
        {"402 Pay", SAYS, "upstream_credit", ERR_BUDGET, SENT_REFUSED, 402},
        {"403 No", SAYS, "upstream_auth", ERR_UPSTREAM, SENT_REFUSED, 502},
        {"404 Where", SAYS, "not_found", ERR_NOT_FOUND, SENT_REFUSED, 404},
        {"408 Slow", SAYS, "timeout", ERR_TIMEOUT, SENT_MAYBE, 504},
        {"413 Large", SAYS, "too_large", ERR_LIMIT, SENT_REFUSED, 413},
        {"429 Later", SAYS, "rate_limit_exceeded", ERR_BUSY, SENT_REFUSED, 429},
        {"429 Later", "", "rate_limit_exceeded", ERR_BUSY, SENT_REFUSED, 429},
        {"500 Oops", SAYS, "upstream_error", ERR_UPSTREAM, SENT_MAYBE, 502},
        {"502 Gate", "<html>Bad gateway</html>", "upstream_error", ERR_UPSTREAM, SENT_MAYBE, 502},
        {"503 Full", SAYS, "upstream_overloaded", ERR_UNAVAILABLE, SENT_REFUSED, 503},
        {"503 Full", "", "upstream_overloaded", ERR_UNAVAILABLE, SENT_MAYBE, 503},
        {"504 Slow", SAYS, "timeout", ERR_TIMEOUT, SENT_MAYBE, 504},
        {"529 Full", SAYS, "upstream_overloaded", ERR_UNAVAILABLE, SENT_REFUSED, 503},
        {"302 There\r\nlocation: /x", "", "upstream_error", ERR_UPSTREAM, SENT_REFUSED, 502},
        {"201 Made", REPLY("x"), "upstream_error", ERR_UPSTREAM, SENT_MAYBE, 502},
    };
    static const enum framing framings[] = {BY_LENGTH, BY_CHUNKS, BY_CLOSE, CUT, RESET, STALL};
    struct net *n = *state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        /* A refusal is one, also when its body breaks off or does not end. */
        size_t framings_n = i == 7 ? COUNT_OF(framings) : 1;
        for (size_t k = 0; k < framings_n; k++) {
            bool maybe = cases[i].sent == SENT_MAYBE;
            net_exchange(n, "m", cases[i].head, cases[i].body, framings[k], 4096);
            check_error(n, cases[i].head, cases[i].cls, cases[i].code, cases[i].sent);
            assert_int_equal(n->caller.e.status, cases[i].status);
            assert_memory_equal(n->caller.e.msg, "lab: ", 5);
            assert_int_equal(n->caller.e.upstream_status / 100, cases[i].head[0] - '0');
            assert_int_equal(n->caller.usage.input, maybe ? 2 : 0);
            assert_int_equal(n->caller.usage.cost_nusd, maybe ? 2000 : 0);
            assert_int_equal(n->caller.usage.estimated, maybe);
        }
    }
}

static const char *date_in(int seconds)
{
    static char text[64];
    time_t t = time(NULL) + seconds;
    struct tm tm;
    strftime(text, sizeof text, "retry-after: %a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm));
    return text;
}

static void test_retry_after(void **state)
{
    static const struct {
        const char *field; /* NULL: a date */
        int64_t want_ms, slack_ms;
    } cases[] = {
        {"x: y", -1, 0},
        {"retry-after: 7", 7000, 0},
        {"Retry-After:  0 ", 0, 0},
        {"retry-after: 1.5", 2000, 0},
        {"retry-after-ms: 1500", 1500, 0},
        {"retry-after: 9\r\nretry-after-ms: 1500", 1500, 0},
        {"retry-after: 9\r\nretry-after-ms: soon", 9000, 0},
        {"retry-after-ms: 12.3", 13, 0},
        {"retry-after: 99999999", 86400000, 0},
        {"retry-after: 9223372036854775807", 86400000, 0},
        {"retry-after: 99999999999999999999", -1, 0},
        {"retry-after: -5", -1, 0},
        {"retry-after: 5s", -1, 0},
        {"retry-after: 1.5.2", -1, 0},
        {"retry-after:", -1, 0},
        {"retry-after: Sun, 06 Nov 1994 08:49:37 GMT", 0, 0},
        {"retry-after: Sunday, 06-Nov-94 08:49:37 GMT", -1, 0},
        {"retry-after: Sun, 06 Nov 1994 08:49:37 GMT+1", -1, 0},
        {NULL, 100000, 2000},
    };
    struct net *n = *state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char head[200];
        snprintf(head, sizeof head, "429 Later\r\n%s",
                 cases[i].field ? cases[i].field : date_in(100));
        net_exchange(n, "m", head, "{}", BY_LENGTH, 4096);
        check_error(n, head, ERR_BUSY, "rate_limit_exceeded", SENT_REFUSED);
        int64_t got = n->caller.e.retry_after_ms;
        if (got > cases[i].want_ms || got < cases[i].want_ms - cases[i].slack_ms)
            fail_msg("%s: %lld", head, (long long)got);
    }
}

/* A provider that repeats the key in its message does not make us repeat it. */
static void test_key_in_message(void **state)
{
#define ECHOES "{\"error\":{\"message\":\"Bearer " SECRET " is odd\",\"param\":\"" SECRET "\"}}"
    static const char far[] =
        "{\"error\":{\"message\":\"................................................................"
        ".........................................................................................."
        "......"
        ".......................... " SECRET "\"}}";
    static const char *const heads[] = {"400 Bad", "401 Who", "429 Later", "500 Oops"};
    struct net *n = *state;
    for (size_t i = 0; i < COUNT_OF(heads) * 2; i++) {
        net_exchange(n, "m", heads[i / 2], i % 2 ? far : ECHOES, BY_LENGTH, 4096);
        assert_true(n->caller.failed);
        if (strstr(n->caller.e.msg, "sk-test-") != NULL ||
            strstr(n->caller.e.param, "sk-test-") != NULL)
            fail_msg("%s: %s", n->caller.e.param, n->caller.e.msg);
    }
    net_exchange(n, "m", STREAM_HEAD, "data: " ECHOES "\n\n", BY_CHUNKS, 4096);
    assert_true(n->caller.failed);
    assert_null(strstr(n->caller.e.msg, "sk-test-"));
}

/* --- broken answers
 * --------------------------------------------------------------------------------------- */

static void test_broken(void **state)
{
#define NONSENSE "data: nonsense\n\ndata: nonsense\n\n"
#define START    "start:i,M;"
#define COST     "usage:2/0/0/0$2000~;"
#define PART     START "text:Hel;usage:2/0/1/0$4000~;"
    static const struct {
        const char *name, *head, *body;
        enum framing framing;
        const char *want; /* without "error:" and the code */
        const char *code;
        enum err_class cls;
        enum err_sent sent;
    } cases[] = {
        {"closed at once", "", "", RAW, COST, "upstream_cut", ERR_CUT, SENT_MAYBE},
        {"cut in the head", "", "HTTP/1.1 200 OK\r\nconte", RAW, COST, "upstream_cut", ERR_CUT,
         SENT_MAYBE},
        {"not HTTP", "", "SSH-2.0-OpenSSH_9.2\r\n\r\n", RAW, COST, "upstream_error", ERR_UPSTREAM,
         SENT_MAYBE},
        {"reset in the head", STREAM_HEAD, "", RESET, COST, "upstream_cut", ERR_CUT, SENT_MAYBE},
        {"empty stream", STREAM_HEAD, "", BY_CHUNKS, COST, "upstream_cut", ERR_CUT, SENT_MAYBE},
        {"nothing but the end", STREAM_HEAD, DONE, BY_CHUNKS, COST, "upstream_cut", ERR_CUT,
         SENT_MAYBE},
        {"cut in the middle", STREAM_HEAD, D("Hel"), CUT, PART, "upstream_cut", ERR_CUT,
         SENT_DELIVERED},
        {"cut in an event", STREAM_HEAD, D("Hel") "data: {\"choices\":[{\"del", BY_CLOSE, PART,
         "upstream_cut", ERR_CUT, SENT_DELIVERED},
        {"reset in the middle", STREAM_HEAD, D("Hel"), RESET, PART, "upstream_cut", ERR_CUT,
         SENT_DELIVERED},
        {"stalls in the middle", STREAM_HEAD, D("Hel"), STALL, PART, "timeout", ERR_TIMEOUT,
         SENT_DELIVERED},
        /* an answer's first figures (Anthropic) are not what it came to */
        {"cut behind early figures", STREAM_HEAD,
         CHUNK("{\"delta\":{\"content\":\"Hel\"}}", USAGE("5", "1"))
             D("lo, this is more than one token of text."),
         CUT,
         START "text:Hel;usage:5/0/1/0$7000;text:lo, this is more than one token of text.;"
               "usage:5/0/11/0$27000~;",
         "upstream_cut", ERR_CUT, SENT_DELIVERED},
        {"stalls before content", STREAM_HEAD, ": hold on\n\n", STALL, COST, "timeout", ERR_TIMEOUT,
         SENT_MAYBE},
        {"nonsense in an event", STREAM_HEAD, D("Hel") NONSENSE NONSENSE, BY_CHUNKS, PART,
         "upstream_error", ERR_UPSTREAM, SENT_DELIVERED},
        {"nonsense first", STREAM_HEAD, NONSENSE NONSENSE, BY_CHUNKS, COST, "upstream_error",
         ERR_UPSTREAM, SENT_MAYBE},
        {"error in 200", STREAM_HEAD,
         "data: {\"error\":{\"message\":\"no\",\"code\":\"rate_limit_exceeded\"}}\n\n", BY_CHUNKS,
         "usage:0/0/0/0$0;", "rate_limit_exceeded", ERR_BUSY, SENT_REFUSED},
        {"one about its size", STREAM_HEAD,
         "data: {\"error\":{\"message\":\"no\",\"code\":413}}\n\n", BY_CHUNKS, "usage:0/0/0/0$0;",
         "too_large", ERR_LIMIT, SENT_REFUSED},
        {"error after content", STREAM_HEAD,
         D("Hel") "data: {\"error\":{\"message\":\"no\",\"code\":\"rate_limit_exceeded\"}}\n\n",
         BY_CHUNKS, PART, "rate_limit_exceeded", ERR_BUSY, SENT_DELIVERED},
        {"error as a whole body in 200", JSON_HEAD, "{\"error\":{\"message\":\"no\"}}", BY_LENGTH,
         COST, "upstream_error", ERR_UPSTREAM, SENT_MAYBE},
        {"half a body", JSON_HEAD, "{\"id\":\"i\",\"choices\":[", BY_LENGTH, COST, "upstream_error",
         ERR_UPSTREAM, SENT_MAYBE},
        {"body cut", JSON_HEAD, "{\"id\":\"i\",\"choices\":[", CUT, COST, "upstream_cut", ERR_CUT,
         SENT_MAYBE},
        {"body of something else", JSON_HEAD, "{\"hello\":1}", BY_LENGTH, COST, "upstream_error",
         ERR_UPSTREAM, SENT_MAYBE},
        {"empty body", JSON_HEAD, "", BY_LENGTH, COST, "upstream_error", ERR_UPSTREAM, SENT_MAYBE},
        {"a page", "200 OK\r\ncontent-type: text/html", "<html>Log in</html>", BY_LENGTH, COST,
         "upstream_not_json", ERR_UPSTREAM, SENT_MAYBE},
        {"no type", "200 OK", WHOLE, BY_LENGTH, COST, "upstream_not_json", ERR_UPSTREAM,
         SENT_MAYBE},
        {"encoded", STREAM_HEAD "\r\ncontent-encoding: gzip", "\x1f\x8b", BY_LENGTH, COST,
         "upstream_encoded", ERR_UPSTREAM, SENT_MAYBE},
        {"encoded refusal", "429 Later\r\ncontent-encoding: gzip\r\nretry-after: 3", "\x1f\x8b",
         BY_LENGTH, "usage:0/0/0/0$0;", "rate_limit_exceeded", ERR_BUSY, SENT_REFUSED},
    };
    struct net *n = *state;
    for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
        char want[200];
        size_t k = i / 2;
        net_exchange(n, "m", cases[k].head, cases[k].body, cases[k].framing, i % 2 ? 1 : 4096);
        check_error(n, cases[k].name, cases[k].cls, cases[k].code, cases[k].sent);
        assert_memory_equal(n->caller.e.msg, "lab: ", 5);
        snprintf(want, sizeof want, "%serror:%s", cases[k].want, cases[k].code);
        caller_expect(&n->caller, want);
    }
}

static void test_no_answer(void **state)
{
    struct net *n = *state;
    net_start(n, "m");
    net_serve(n);
    net_wait(n); /* 300 ms for a first byte */
    check_error(n, "no first byte", ERR_TIMEOUT, "timeout", SENT_MAYBE);
    caller_expect(&n->caller, COST "error:timeout");
    assert_true(net_is_closed(n));
    net_start(n, "dead");
    net_wait(n);
    check_error(n, "nobody there", ERR_CONNECT, "upstream_unreachable", SENT_NO);
    caller_expect(&n->caller, "usage:0/0/0/0$0;error:upstream_unreachable");
    assert_memory_equal(n->caller.e.msg, "dead: ", 6);
}

/* The caller's deadline ends a call that is alive and well. */
static void test_deadline(void **state)
{
    struct net *n = *state;
    question_set(&n->q, "Hi there");
    struct chat_start_opts o = {.deadline_us = loop_now_us(n->l) + 150000};
    assert_true(net_start_with(n, "free", &o));
    net_serve(n);
    net_answer(n, STREAM_HEAD, D("Hel"), STALL);
    net_send(n, 4096);
    net_wait(n);
    check_error(n, "deadline", ERR_TIMEOUT, "timeout", SENT_DELIVERED);
    o.deadline_us = loop_now_us(n->l) - 1; /* passed already */
    assert_false(net_start_with(n, "m", &o));
    assert_int_equal(n->caller.e.cls, ERR_TIMEOUT);
    assert_int_equal(n->caller.e.sent, SENT_NO);
}

/* A ledger that has lost a row: not one byte goes out. */
static void test_gate_says_no(void **state)
{
    struct net *n = *state;
    struct gate_intent i = {.role = "call", .model = config_model_find(n->config, SPAN("m"), NULL)};
    struct chat_usage u = {0};
    mem_fail_at(1);
    gate_settle(n->gate, &i, &u, "ok", false, 0, -1, -1);
    mem_fail_at(0);
    net_start(n, "m");
    PUMP(n->l, caller_over(&n->caller));
    caller_expect(&n->caller, "error:ledger_failed");
    pump_for(n->l, 20);
    assert_int_equal(accept4(n->lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), -1);
    upstream_free(n->upstream);
    gate_free(n->gate); /* its counts are off by the lost row */
    n->upstream = NULL;
    n->gate = gate_new(n->l, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, net_open, net_close)
    const struct CMUnitTest tests[] = {
        TEST(test_request),     TEST(test_good),           TEST(test_prices), TEST(test_refused),
        TEST(test_retry_after), TEST(test_key_in_message), TEST(test_broken), TEST(test_no_answer),
        TEST(test_deadline),    TEST(test_gate_says_no),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
