/* test_api.c - the whole program: opened and freed in place, served on a thread; who is let in at
 * the edge, clients that leave, reloads that fail, and how it ends. What answers look like to
 * clients is tested from outside (tests/e2e). */
#include "api_rig.h"

#include <uv.h>

#include "api/app_priv.h" /* lanes */

/* --- in place
 * -------------------------------------------------------------------------------------------- */

static void test_open_and_free(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    struct app_target t;
    AUTO(arena) arena = arena_new(0);
    struct app *a = open_app(p, false);
    assert_true(
        worker_resolve(app_worker(a), arena, &(struct app_ask){.name = SPAN("m1")}, &t, &e));
    assert_null(t.recipe);
    assert_true(
        worker_resolve(app_worker(a), arena, &(struct app_ask){.name = SPAN("council")}, &t, &e));
    assert_non_null(t.recipe);
    assert_false(
        worker_resolve(app_worker(a), arena, &(struct app_ask){.name = SPAN("counsil")}, &t, &e));
    assert_non_null(strstr(e.msg, "council"));
    /* The state directory is ours alone. */
    assert_null(app_open(&(struct app_options){p->file, false, -1}, &e));
    assert_int_equal(e.cls, ERR_CONFLICT);
    app_free(a);
    app_free(open_app(p, false));
    app_free(open_app(p, true)); /* never served */
    app_free(NULL);
}

static void test_open_fails(void **state)
{
    static const struct {
        const char *more, *models, *says;
    } cases[] = {
        {"colour: red\n", "", "colour"},
        {"", "  m1: {provider: none}\n", "m1"},
        {"tls: {cert: /nowhere, key: /nowhere}\n", "", "/nowhere"},
        {"", "", "tape.jsonl"},
    };
    struct place *p = *state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = {0};
        write_config(p, cases[i].more, cases[i].models);
        if (i + 1 == COUNT_OF(cases))
            write_text(p->tape, "nonsense\n");
        assert_null(app_open(&(struct app_options){p->file, true, -1}, &e));
        assert_int_equal(e.cls, ERR_CONFIG);
        if (strstr(e.msg, cases[i].says) == NULL)
            fail_msg("%s: %s", cases[i].says, e.msg);
    }
    struct err e = {0};
    assert_null(app_open(&(struct app_options){"/nowhere/fusor.yaml", true, -1}, &e));
    assert_int_equal(e.cls, ERR_CONFIG);
}

struct caller {
    struct chat_sink sink;
    struct chat_call *call;
    bool over;
};

static void on_event(struct chat_sink *s, const struct chat_event *ev)
{
    struct caller *c = CONTAINER_OF(s, struct caller, sink);
    c->over = ev->kind == CHAT_EV_FINISH || ev->kind == CHAT_EV_ERROR;
}

/* Calls are cancelled after any number of turns, and what their cancelling leaves behind is freed
 * with the rest at once. */
static void test_free_after_cancel(void **state)
{
    struct place *p = *state;
    static const char *const names[] = {"m1", "council", "lab", "lab", "lab"};
    struct chat_part part = {.kind = CHAT_PART_TEXT, .text = SPAN("What?")};
    struct chat_message m = {.role = CHAT_USER, .parts = &part, .n_parts = 1};
    struct chat_request r = {.dialect = SPAN("openai_chat"),
                             .messages = &m,
                             .n_messages = 1,
                             .parallel_tool_calls = -1,
                             .format_strict = -1,
                             .max_tokens = -1,
                             .n = 1,
                             .logprobs = -1,
                             .top_logprobs = -1};
    for (int turns = 0; turns < 6; turns++) {
        struct app *a = open_app(p, false);
        AUTO(arena) arena = arena_new(0);
        struct caller callers[COUNT_OF(names)] = {0};
        for (size_t i = 0; i < COUNT_OF(names); i++) {
            struct err e = {0};
            struct app_target t;
            struct chat_start_opts o = {.role = "call"};
            callers[i].sink.on_event = on_event;
            assert_true(worker_resolve(app_worker(a), arena,
                                       &(struct app_ask){.name = span_of(names[i])}, &t, &e));
            callers[i].call = chat_start(t.source, &r, &o, &callers[i].sink, &e);
            if (callers[i].call == NULL)
                fail_msg("%s", e.msg);
        }
        for (int i = 0; i < turns; i++)
            (void)loop_step(app_loop(a));
        for (size_t i = 0; i < COUNT_OF(names); i++)
            if (!callers[i].over)
                chat_cancel(callers[i].call, NULL);
        app_free(a);
    }
}

/* The last request of an old lane ends inside an event of its source: the lane may not take the
 * source with it there and then. */
struct last_one {
    struct chat_sink sink;
    struct lane *lane;
    bool over;
};

static void on_last_event(struct chat_sink *s, const struct chat_event *ev)
{
    struct last_one *c = CONTAINER_OF(s, struct last_one, sink);
    if (ev->kind != CHAT_EV_FINISH && ev->kind != CHAT_EV_ERROR)
        return;
    c->over = true;
    lane_free(c->lane);
}

static void test_the_last_request_of_an_old_lane(void **state)
{
    struct place *p = *state;
    static const char *const names[] = {"m1", "council"};
    struct chat_part part = {.kind = CHAT_PART_TEXT, .text = SPAN("What?")};
    struct chat_message m = {.role = CHAT_USER, .parts = &part, .n_parts = 1};
    struct chat_request r = {.dialect = SPAN("openai_chat"),
                             .model = SPAN("x"),
                             .messages = &m,
                             .n_messages = 1,
                             .parallel_tool_calls = -1,
                             .format_strict = -1,
                             .max_tokens = -1,
                             .n = 1,
                             .logprobs = -1,
                             .top_logprobs = -1};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct app *a = open_app(p, false);
        struct worker *w = app_worker(a);
        struct last_one c = {.sink.on_event = on_last_event, .lane = lane_ref(w->lane)};
        struct chat_start_opts o = {.role = "call"};
        struct app_target t;
        struct err e = {0};
        AUTO(arena) arena = arena_new(0);
        assert_true(worker_resolve(w, arena, &(struct app_ask){.name = span_of(names[i])}, &t, &e));
        assert_non_null(chat_start(t.source, &r, &o, &c.sink, &e));
        assert_true(worker_adopt(w, a->snapshot, &e));
        assert_ptr_not_equal(w->lane, c.lane);
        while (!c.over)
            (void)loop_step(app_loop(a));
        app_free(a);
    }
}

/* Whether the log comes to hold it. */
static bool logged(struct place *p, const char *text)
{
    char name[96], line[2048];
    snprintf(name, sizeof name, "%s/log", p->dir);
    for (int i = 0; i < 1000; i++) {
        FILE *f = fopen(name, "r");
        bool found = false;
        while (f && !found && fgets(line, sizeof line, f))
            found = strstr(line, text) != NULL;
        if (f)
            fclose(f);
        if (found)
            return true;
        usleep(5000);
    }
    return false;
}

/* --- the edge
 * --------------------------------------------------------------------------------------------- */

static void test_edge(void **state)
{
#define ORIGIN(o) "origin: " o "\r\n"
    static const struct {
        const char *method, *path, *fields, *body;
        int status;
        const char *has;
        bool local;
    } cases[] = {
        {"GET", "/healthz", "", NULL, 200, "\"ok\"", false},
        {"HEAD", "/healthz", "", NULL, 200, "content-length: ", false},
        {"GET", "/readyz", "", NULL, 200, "ready", false},
        {"GET", "/v1/models", "", NULL, 200, "\"council\"", false},
        {"GET", "/v1/models/m1", "", NULL, 200, "\"m1\"", false},
        {"GET", "/v1/models/lab%2Fother", "", NULL, 200, "\"lab/other\"", false},
        {"GET", "/v1/models/m9", "", NULL, 404, "model_not_found", false},
        {"GET", "/metrics", "", NULL, 200, "fusor_requests_total", false},
        {"GET", "/nothing", "", NULL, 404, "unknown_route", false},
        {"GET", "/v1/chat/completions", "", NULL, 405, "use POST", false},
        {"POST", "/healthz", JSON, "{}", 405, "use GET", false},
        {"POST", "/v1/chat/completions", "", "{}", 415, "application/json", false},
        {"POST", "/v1/chat/completions", "content-type: text/plain\r\n", "{}", 415, "", false},
        {"POST", "/v1/chat/completions", JSON, "{", 400, "\"error\"", false},
        {"POST", "/v1/chat/completions", "content-type: Application/JSON; charset=utf-8\r\n", "{}",
         400, "\"error\"", false},
        /* host names */
        {"GET", "/healthz", "host: evil.example\r\n", NULL, 403, "evil.example", false},
        {"GET", "/healthz", "host: evil.example:80\r\n", NULL, 403, "hosts", false},
        {"GET", "/healthz", "host: localhost:1234\r\n", NULL, 200, "", false},
        {"GET", "/healthz", "host: LOCALHOST\r\n", NULL, 200, "", false},
        {"GET", "/healthz", "host: [::1]:8420\r\n", NULL, 200, "", false},
        {"GET", "/healthz", "host: good.example:99\r\n", NULL, 200, "", false},
        {"GET", "/healthz", "host: localhost.evil.example\r\n", NULL, 403, "", false},
        {"GET", "/healthz", "host: evil.example\r\n", NULL, 200, "", true},
        /* pages of other origins */
        {"GET", "/healthz", ORIGIN("http://evil.example"), NULL, 403, "cors_origins", false},
        {"GET", "/healthz", ORIGIN("null"), NULL, 403, "", false},
        {"GET", "/healthz", ORIGIN("http://127.0.0.1"), NULL, 200, "", false},
        {"GET", "/healthz", ORIGIN("http://127.0.0.1:9"), NULL, 403, "", false},
        {"GET", "/healthz", "sec-fetch-site: cross-site\r\n", NULL, 403, "", false},
        {"GET", "/healthz", "sec-fetch-site: same-origin\r\n", NULL, 200, "", false},
        {"GET", "/healthz", ORIGIN("https://app.example") "sec-fetch-site: cross-site\r\n", NULL,
         200, "access-control-allow-origin: https://app.example\r\n", false},
        {"GET", "/healthz", ORIGIN("https://app.example.evil"), NULL, 403, "", false},
        /* what only the socket answers */
        {"GET", "/admin/state", "", NULL, 403, "Unix socket", false},
        {"GET", "/admin/config", "", NULL, 403, "Unix socket", false},
        {"POST", "/admin/reload", JSON, "{}", 403, "Unix socket", false},
        {"GET", "/admin/state", "", NULL, 200, "\"ledger_ok\":true", true},
        {"GET", "/admin/config", "", NULL, 200, "council", true},
    };
    struct place *p = *state;
    write_config(p, "hosts: [good.example]\ncors_origins: [\"https://app.example\"]\n", "");
    serve(p);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int status = talk(p, cases[i].local ? 0 : p->port, cases[i].method, cases[i].path,
                          cases[i].fields, cases[i].body);
        if (status != cases[i].status || !has(&p->reply, cases[i].has) ||
            !has(&p->reply, "x-request-id: "))
            fail_msg("%s %s %s: %.*s", cases[i].method, cases[i].path, cases[i].fields,
                     SPAN_ARG(buf_span(&p->reply)));
        if (status == 403)
            assert_false(has(&p->reply, "access-control"));
    }
}

/* What a browser asks before a listed page may send JSON. */
static void test_preflight(void **state)
{
#define WANTS "access-control-request-method: POST\r\n"
    static const struct {
        const char *fields;
        bool allowed;
    } cases[] = {
        {ORIGIN("https://app.example") WANTS, true},
        {ORIGIN("https://app.example") WANTS "sec-fetch-site: cross-site\r\n", true},
        {ORIGIN("https://evil.example") WANTS, false},
        {ORIGIN("http://127.0.0.1") WANTS, false}, /* its own pages do not ask */
        {ORIGIN("https://app.example"), false},
        {ORIGIN("https://app.example") WANTS "host: evil.example\r\n", false},
        {WANTS, false},
        {"", false},
    };
    struct place *p = *state;
    write_config(p, "cors_origins: [\"https://app.example\"]\n", "");
    serve(p);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int status = talk(p, p->port, "OPTIONS", "/v1/chat/completions", cases[i].fields, NULL);
        if (cases[i].allowed != (status == 200) ||
            (cases[i].allowed &&
             (!has(&p->reply, "access-control-allow-headers: content-type, ") ||
              !has(&p->reply, "access-control-allow-methods: GET, POST, DELETE\r\n") ||
              !has(&p->reply, "-origin: https://app.example\r\n"))))
            fail_msg("%s: %.*s", cases[i].fields, SPAN_ARG(buf_span(&p->reply)));
    }
}

static void test_key(void **state)
{
#define BEARER(k) "authorization: Bearer " k "\r\n"
    static const struct {
        const char *path, *fields;
        int status;
        bool local;
    } cases[] = {
        {"/v1/models", "", 401, false},
        {"/v1/models", BEARER(CLIENT_KEY), 200, false},
        {"/v1/models", "authorization: bearer  " CLIENT_KEY " \r\n", 200, false},
        {"/v1/models", "x-api-key: " CLIENT_KEY "\r\n", 200, false},
        {"/v1/models", BEARER("x" CLIENT_KEY), 401, false},
        {"/v1/models", BEARER(CLIENT_KEY "x"), 401, false},
        {"/v1/models", BEARER("key-of-clients-012345678"), 401, false},
        {"/v1/models", BEARER("x") "x-api-key: " CLIENT_KEY "\r\n", 401, false},
        {"/v1/models", "authorization: Basic " CLIENT_KEY "\r\n", 401, false},
        {"/metrics", "", 401, false},
        {"/healthz", "", 200, false},
        {"/v1/models", "", 200, true},
    };
    struct place *p = *state;
    setenv("FUSOR_TEST_KEY", CLIENT_KEY, 1);
    write_config(p, "key: env:FUSOR_TEST_KEY\n", "");
    serve(p);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int status =
            talk(p, cases[i].local ? 0 : p->port, "GET", cases[i].path, cases[i].fields, NULL);
        if (status != cases[i].status || has(&p->reply, CLIENT_KEY))
            fail_msg("%s %s: %.*s", cases[i].path, cases[i].fields, SPAN_ARG(buf_span(&p->reply)));
    }
}

/* --- answers
 * -----------------------------------------------------------------------------------------------
 */

static void test_answers(void **state)
{
    struct place *p = *state;
    assert_int_equal(ask(p, "m1", "What?", false), 200);
    assert_true(has(&p->reply, "\"content\":\"This.\""));
    assert_int_equal(ask(p, "m1", "What?", true), 200);
    assert_true(has(&p->reply, "data: [DONE]\n\n"));
    assert_int_equal(ask(p, "council", "What?", false), 200);
    assert_true(has(&p->reply, "\"mode\":\"vote\""));
    /* An error before content is a status, streamed or not. */
    assert_int_equal(ask(p, "m1", "Never asked?", true), 404);
    assert_true(has(&p->reply, "recording_not_found"));
    assert_int_equal(ask(p, "m3", "What?", false), 404);
    assert_int_equal(ask(p, "auto", "What?", false), 400);
}

static void send_text(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* A provider's no is handed on, with what the client's SDK needs to know. */
static void test_refusals(void **state)
{
    static const struct {
        const char *head;
        int status;
        const char *has, *not ;
    } cases[] = {
        {"503 Full\r\nretry-after-ms: 1500", 503, "retry-after: 2\r\n", "x-should-retry"},
        {"500 Oops", 502, "x-should-retry: false\r\n", "retry-after"},
        {"500 Oops\r\nretry-after: 1", 502, "retry-after: 1\r\n", "x-should-retry"},
        {"401 Who", 502, "upstream_auth", "x-should-retry"},
    };
    struct place *p = *state;
    for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
        size_t k = i / 2;
        int fd = ask_and_hold(p, "lab", i % 2), up = upstream_accept(p);
        dprintf(up, "HTTP/1.1 %s\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
                cases[k].head);
        listen_to(p, fd, "}}");
        if (status_of(p) != cases[k].status || !has(&p->reply, cases[k].has) ||
            has(&p->reply, cases[k].not ))
            fail_msg("%s: %.*s", cases[k].head, SPAN_ARG(buf_span(&p->reply)));
        close(up);
        close(fd);
    }
}

/* Who asks for time gets it: the next is told at once, without a call. */
static void test_rate_limit(void **state)
{
    struct place *p = *state;
    int fd = ask_and_hold(p, "lab", false), up = upstream_accept(p);
    dprintf(up, "HTTP/1.1 429 Later\r\nretry-after: 7\r\ncontent-length: 2\r\nconnection: "
                "close\r\n\r\n{}");
    for (int i = 0; i < 3; i++) {
        listen_to(p, fd, "}}");
        assert_int_equal(status_of(p), 429);
        assert_true(has(&p->reply, "retry-after: 7\r\n") || has(&p->reply, "retry-after: 6\r\n"));
        assert_false(has(&p->reply, "x-should-retry"));
        close(fd);
        if (i < 2)
            fd = ask_and_hold(p, "lab", i % 2 == 0);
    }
    assert_true(has(&p->reply, "more second"));
    close(up);
}

/* A piece of reasoning goes out in three fields, so 12 MiB of it do not fit: a stream is cut, and
 * the log says why. With as much text a whole answer does not fit either: no fault of the client's.
 */
static void test_an_answer_that_does_not_fit(void **state)
{
    struct place *p = *state;
    static const char head[] =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        "data: {\"id\":\"i\",\"choices\":[{\"delta\":{\"reasoning_content\":\"";
    static const char middle[] =
        "\"}}]}\n\ndata: {\"id\":\"i\",\"choices\":[{\"delta\":{\"content\":\"";
    static const char tail[] = "\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    char *answer = mem_alloc(MIB(25)), *end = answer;
    end = mempcpy(end, head, sizeof head - 1);
    end = (char *)memset(end, 'r', MIB(12)) + MIB(12);
    end = mempcpy(end, middle, sizeof middle - 1);
    end = (char *)memset(end, 't', MIB(12)) + MIB(12);
    end = mempcpy(end, tail, sizeof tail - 1);
    size_t n = (size_t)(end - answer);
    for (int stream = 0; stream < 2; stream++) {
        int fd = ask_and_hold(p, "lab", stream), up = upstream_accept(p);
        for (size_t at = 0; at < n;) {
            ssize_t sent = send(up, answer + at, n - at, MSG_NOSIGNAL);
            if (sent <= 0)
                break; /* it has seen enough */
            at += (size_t)sent;
        }
        close(up);
        listen_to(p, fd, stream ? NULL : "}}");
        close(fd);
        if (stream) {
            assert_false(has(&p->reply, "[DONE]") || has(&p->reply, "\r\n0\r\n"));
            assert_true(logged(p, "\"outcome\":\"limit\""));
        } else {
            assert_int_equal(status_of(p), 502);
            assert_true(has(&p->reply, "upstream_too_large"));
        }
    }
    mem_free(answer);
}

/* One allocation fails, of whatever thread: the error says so, or the connection ends. */
static void test_out_of_memory(void **state)
{
    struct place *p = *state;
    int said = 0;
    for (unsigned long n = 1; n <= 24; n++) {
        char reply[2048] = "";
        size_t at = 0;
        ssize_t got;
        int fd = dial(p, p->port);
        usleep(2000); /* it is accepted by then */
        mem_fail_at(n);
        dprintf(fd, "GET /nothing HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        while ((got = read(fd, reply + at, sizeof reply - 1 - at)) > 0)
            at += (size_t)got;
        mem_fail_at(0);
        close(fd);
        if (strstr(reply, " 503 ") == NULL)
            continue;
        said++;
        assert_non_null(strstr(reply, "content-type: application/json\r\n"));
        assert_non_null(strstr(reply, "\"code\":\"out_of_memory\""));
    }
    assert_true(said > 0);
}

/* --- clients that leave
 * ---------------------------------------------------------------------------------- */

static void expect_closed(int up)
{
    char tmp[64];
    struct pollfd pf = {.fd = up, .events = POLLIN};
    assert_int_equal(poll(&pf, 1, 20000), 1);
    assert_true(read(up, tmp, sizeof tmp) <= 0);
    close(up);
}

/* Before the head, after it and in the middle of the stream; by FIN and by RST: the provider's
 * connection is closed too. */
static void test_client_leaves(void **state)
{
    static const char *const sent[] = {
        "",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: wait\n\n",
        ("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
         "data: {\"id\":\"i\",\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n"),
    };
    struct place *p = *state;
    for (int i = 0; i < 12; i++) {
        bool stream = i % 2, reset = i / 2 % 2;
        int fd = ask_and_hold(p, "lab", stream), up = upstream_accept(p);
        send_text(up, sent[i / 4]);
        if (stream && i / 4 == 2)
            listen_to(p, fd, "Hel");
        else
            usleep(5000);
        if (reset)
            raw_reset(fd);
        else
            close(fd);
        expect_closed(up);
    }
    /* The upstream sees it first; the count follows on the worker's own thread. */
    bool counted = false;
    for (int i = 0; i < 2000 && !counted; i++) {
        assert_int_equal(talk(p, p->port, "GET", "/metrics", "", NULL), 200);
        counted = has(&p->reply, "fusor_requests_total{outcome=\"client_left\"} 12\n");
    }
    assert_true(counted);
    assert_true(has(&p->reply, "model=\"lab/lab\",outcome=\"cancelled\"} 12\n"));
}

/* Two run, one waits, the next is told to come again; a place in the queue is free when its client
 * leaves. */
static void test_queue(void **state)
{
    struct place *p = *state;
    int a = ask_and_hold(p, "lab", true), up_a = upstream_accept(p);
    int b = ask_and_hold(p, "lab", true), up_b = upstream_accept(p);
    int c = ask_and_hold(p, "lab", true);
    usleep(30000);
    assert_int_equal(ask(p, "lab", "What?", true), 429);
    assert_true(has(&p->reply, "queue_full") && has(&p->reply, "retry-after: 1\r\n"));
    close(c);
    usleep(30000);
    int d = ask_and_hold(p, "lab", true);
    usleep(30000);
    close(a);
    expect_closed(up_a);
    int up_d = upstream_accept(p);
    close(b);
    close(d);
    expect_closed(up_b);
    expect_closed(up_d);
}

/* --- reload
 * ------------------------------------------------------------------------------------------------
 */

static int reload(struct place *p)
{
    return talk(p, 0, "POST", "/admin/reload", JSON, "{}");
}

static void test_reload(void **state)
{
    static const struct {
        const char *more, *says;
    } bad[] = {
        {"colour: red\n", "colour"},
        {"tls: {cert: /nowhere, key: /nowhere}\n", "/nowhere"},
        {"  nonsense", "fusor.yaml:"},
    };
    struct place *p = *state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        write_config(p, bad[i].more, "  m4: {provider: tape}\n");
        assert_int_equal(reload(p), 500);
        if (!has(&p->reply, bad[i].says))
            fail_msg("%.*s", SPAN_ARG(buf_span(&p->reply)));
        kill(getpid(), SIGHUP); /* the same, said on stderr only */
        assert_int_equal(talk(p, p->port, "GET", "/v1/models/m4", "", NULL), 404);
        assert_int_equal(ask(p, "m1", "What?", false), 200);
    }
    /* What cannot change while it runs. */
    int port = p->port;
    p->port = free_port();
    write_config(p, "", "");
    p->port = port;
    assert_int_equal(reload(p), 500);
    assert_true(has(&p->reply, "listen cannot change"));
    /* A good one, with a call under way that keeps what it began with. */
    int fd = ask_and_hold(p, "lab", true), up = upstream_accept(p);
    write_config(p, "", "  m4: {provider: tape, id: m1}\n");
    for (int i = 0; i < 3; i++)
        assert_int_equal(reload(p), 200);
    assert_int_equal(ask(p, "m4", "What?", false), 200);
    send_text(up, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
                  "data: {\"id\":\"i\",\"choices\":[{\"delta\":{\"content\":\"Hel\"},"
                  "\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
    listen_to(p, fd, "[DONE]");
    assert_true(has(&p->reply, "Hel"));
    close(up);
    close(fd);
}

/* --- the end
 * -----------------------------------------------------------------------------------------------
 */

/* SIGTERM lets what runs finish; nobody new is taken; who was there already is told. */
static void test_drain(void **state)
{
    struct place *p = *state;
    int fd = ask_and_hold(p, "lab", false), up = upstream_accept(p), open = dial(p, p->port);
    kill(getpid(), SIGTERM);
    for (int i = 0, other; (other = dial(p, p->port)) >= 0; i++) {
        close(other);
        usleep(1000);
        assert_true(i < 10000);
    }
    dprintf(open, "GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    listen_to(p, open, NULL);
    assert_int_equal(status_of(p), 503);
    assert_true(has(&p->reply, "draining") && has(&p->reply, "connection: close"));
    close(open);
    send_text(up, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
                  "{\"choices\":[{\"message\":{\"content\":\"Late.\"},\"finish_reason\":"
                  "\"stop\"}]}");
    close(up);
    listen_to(p, fd, NULL);
    assert_int_equal(status_of(p), 200);
    assert_true(has(&p->reply, "Late.") && has(&p->reply, "connection: close"));
    close(fd);
    join(p);
    assert_true(p->served);
}

/* Asked twice: what runs is cut, its client told; queued calls end with it. */
static void test_cut(void **state)
{
    struct place *p = *state;
    int fd[3], up[2];
    for (int i = 0; i < 3; i++) {
        fd[i] = ask_and_hold(p, "lab", i == 1);
        if (i < 2)
            up[i] = upstream_accept(p);
    }
    usleep(30000);
    kill(getpid(), SIGTERM);
    usleep(30000);
    kill(getpid(), SIGTERM);
    for (int i = 0; i < 3; i++) {
        listen_to(p, fd[i], NULL);
        assert_int_equal(status_of(p), 503);
        assert_true(has(&p->reply, "shutting down"));
        close(fd[i]);
    }
    expect_closed(up[0]);
    expect_closed(up[1]);
    join(p);
}

static void ignore(uv_signal_t *h, int signum)
{
    (void)h;
    (void)signum;
}

/* Asked thrice: at once, with admin's questions on their way. */
static void test_at_once(void **state)
{
    struct place *p = *state;
    /* The last of the three may come when the app has let go of the signal, which then is ours. */
    uv_loop_t loop;
    uv_signal_t late;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(uv_signal_init(&loop, &late), 0);
    assert_int_equal(uv_signal_start(&late, ignore, SIGTERM), 0);
    for (int round = 0; round < 5; round++) {
        int fd[24];
        if (!p->serving)
            serve(p);
        for (int i = 0; i < 24; i++) {
            fd[i] = i % 3 ? dial(p, 0) : ask_and_hold(p, i % 2 ? "lab" : "council", true);
            if (i % 3 == 1)
                dprintf(fd[i], "GET /admin/state HTTP/1.1\r\nhost: x\r\n\r\n");
            else if (i % 3 == 2)
                dprintf(fd[i], "POST /admin/reload HTTP/1.1\r\nhost: x\r\n" JSON
                               "content-length: 2\r\n\r\n{}");
        }
        for (int i = 0; i < 3; i++) {
            kill(getpid(), SIGTERM);
            usleep(300);
        }
        join(p);
        for (int i = 0; i < 24; i++)
            close(fd[i]);
    }
    uv_close((uv_handle_t *)&late, NULL);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
#define TEST(name, open) cmocka_unit_test_setup_teardown(name, open, place_close)
    const struct CMUnitTest tests[] = {
        TEST(test_open_and_free, place_open),
        TEST(test_open_fails, place_open),
        TEST(test_free_after_cancel, place_open),
        TEST(test_the_last_request_of_an_old_lane, place_open),
        TEST(test_edge, place_open),
        TEST(test_preflight, place_open),
        TEST(test_key, place_open),
        TEST(test_answers, place_serve),
        TEST(test_refusals, place_serve),
        TEST(test_rate_limit, place_serve),
        TEST(test_an_answer_that_does_not_fit, place_serve),
        TEST(test_out_of_memory, place_serve),
        TEST(test_client_leaves, place_serve),
        TEST(test_queue, place_serve),
        TEST(test_reload, place_serve),
        TEST(test_drain, place_serve),
        TEST(test_cut, place_serve),
        TEST(test_at_once, place_serve),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
