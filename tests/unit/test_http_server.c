/* test_http_server.c - the server on a real loop against raw sockets: framing, order, limits,
 * timers, leaving clients, drain. */
#include "http_util.h"

#include <sys/stat.h>

struct web {
    struct loop *l;
    struct http_server *s;
    int fd, port;
    size_t cap; /* what on_head allows */
    struct http_exchange *held[8];
    struct http_exchange *asked; /* on_close: why it is given up */
    enum err_class given_up;
    size_t n_held, n_requests, n_closed, n_drained, n_bad;
    bool hold, idle;
    int early; /* status to answer from on_head */
    char order[64];
};

static size_t on_head(void *app, struct http_exchange *x)
{
    struct web *w = app;
    int early = w->early;
    if (early != 0)
        http_reply(x, early, NULL, 0, SPAN("early"));
    return w->cap;
}

static void on_close(void *owner)
{
    struct web *w = owner;
    w->n_closed++;
    if (w->asked)
        w->given_up = http_given_up(w->asked);
}

static void on_drain(void *owner)
{
    struct web *w = owner;
    w->n_drained++;
}

static void on_request(void *app, struct http_exchange *x)
{
    struct web *w = app;
    w->n_requests++;
    http_watch(x, w, on_close, on_drain);
    if (w->hold) {
        w->held[w->n_held++] = x;
        return;
    }
    struct span answer =
        arena_printf(http_arena(x), "[%.*s %.*s?%.*s %.*s]", SPAN_ARG(http_method_name(x)),
                     SPAN_ARG(http_path(x)), SPAN_ARG(http_query(x)), SPAN_ARG(http_body(x)));
    struct http_header h = {SPAN("x-a"), SPAN("b\r\nevil: c")};
    http_reply(x, 200, &h, 1, answer);
}

static size_t on_bad_request(void *app, struct http_exchange *x, const struct err *e,
                             struct buf *body, struct http_header h[static HTTP_BAD_HEADERS])
{
    struct web *w = app;
    struct err ignored;
    struct span path = http_path(x);
    w->n_bad++;
    assert_true(buf_addf(body, &ignored, "{\"bad\":%d}", e->status));
    h[0] = (struct http_header){SPAN("x-path"), path.p ? path : SPAN("none")};
    h[1] = (struct http_header){SPAN("x-b"), http_header_of(x, "b")};
    return 2;
}

static const struct http_handler handler = {on_head, on_request, on_bad_request};

static struct http_server_config config(void)
{
    return (struct http_server_config){.head_timeout_us = 10000000,
                                       .idle_timeout_us = 10000000,
                                       .body_timeout_us = 10000000,
                                       .write_timeout_us = 10000000,
                                       .max_connections = 100};
}

static void web_open(struct web *w, const struct http_server_config *c)
{
    struct err e;
    *w = (struct web){.cap = 1 << 20};
    w->l = loop_new(&e);
    assert_non_null(w->l);
    w->s = http_server_new(w->l, &handler, w, c, &e);
    assert_non_null(w->s);
    w->fd = http_listen_tcp("127.0.0.1", 0, &w->port, &e);
    assert_true(w->fd >= 0);
    assert_true(http_server_listen(w->s, w->fd, NULL, false, &e));
}

static void web_close(struct web *w)
{
    http_server_free(w->s);
    loop_step(w->l);
    loop_free(w->l);
    close(w->fd);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST      "POST /p HTTP/1.1\r\nHost: a\r\n"

/* Sends `in` in pieces of `step` bytes (0: at once), reads until the server closes or `want` is
 * there. */
static void exchange(struct web *w, struct span in, size_t step, const char *want, struct buf *out)
{
    int fd = raw_connect(w->port);
    bool end = false;
    for (; in.n > 0 && !end; in = span_from(in, step ? step : in.n)) {
        ssize_t n = send(fd, in.p, step && step < in.n ? step : in.n, MSG_NOSIGNAL);
        if (step)
            loop_step(w->l);
        end = n < 0 || raw_read(fd, out);
    }
    PUMP(w->l, end || (end = raw_read(fd, out)) || has(out, want));
    if (!has(out, want))
        fail_msg("wanted '%s', got '%.*s'", want, SPAN_ARG(buf_span(out)));
    close(fd);
}

static void test_answers(void **state)
{
    static const struct {
        const char *in, *want, *not ;
    } c[] = {
        {GET("/a?b=c"), "content-length: 13\r\n\r\n[GET /a?b=c ]", "connection:"},
        {GET("/a"), "x-a: b  evil: c\r\n", "\nevil"},
        {"GET http://a/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "[GET /x?y ]", NULL},
        {"GET http://a?y HTTP/1.1\r\nHost: a\r\n\r\n", "[GET /?y ]", NULL},
        {"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "[GET /? ]", NULL},
        {GET("/1") GET("/2") GET("/3"), "[GET /3? ]", NULL},
        {POST "Content-Length: 5\r\n\r\nhello", "[POST /p? hello]", NULL},
        {POST "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
         "[POST /p? hello]", NULL},
        {"GET / HTTP/1.0\r\n\r\n", "connection: close\r\n\r\n[GET /? ]", NULL},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "connection: keep-alive\r\n", NULL},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "connection: close\r\n", NULL},
        {"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "[CONNECT a:1? ]", NULL},
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", "[GET /? ]",
         NULL},
        {"GET / HTTP/1.1\r\n\r\n", "{\"bad\":400}", NULL},
        {"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", "{\"bad\":417}", NULL},
        {POST "Content-Length: 2000000\r\n\r\n", "{\"bad\":413}", NULL},
        {POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         "HTTP/1.1 400 Bad Request\r\n", NULL},
        {POST "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "{\"bad\":400}", NULL},
        {GET("/1") "nonsense\r\n\r\n", "{\"bad\":400}", NULL},
        {"\x16\x03\x01hello", "{\"bad\":400}", NULL},
        /* its headers; a path when the handler has seen the head */
        {"GET / HTTP/1.1\r\nB: c\r\n\r\n", "\r\nx-path: none\r\nx-b: c\r\n", NULL},
        {"GET / HTTP/1.1\r\nB : c\r\n\r\n", "\r\nx-path: none\r\nx-b: \r\n", NULL},
        {"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", "\r\nx-path: none\r\n", NULL},
        {POST "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "\r\nx-path: /p\r\n", NULL},
        {POST "Content-Length: 2000000\r\n\r\n", "\r\nx-path: /p\r\n", NULL},
    };
    struct web w;
    struct http_server_config cfg = config();
    web_open(&w, &cfg);
    for (size_t i = 0; i < COUNT_OF(c); i++)
        for (size_t step = 0; step < 3; step++) {
            struct buf out;
            buf_init(&out, 1 << 20);
            exchange(&w, span_of(c[i].in), step, c[i].want, &out);
            if (c[i].not != NULL && has(&out, c[i].not ))
                fail_msg("case %zu: %.*s", i, SPAN_ARG(buf_span(&out)));
            buf_done(&out);
        }
    web_close(&w);
}

static void test_head_has_no_body(void **state)
{
    struct web w;
    struct http_server_config cfg = config();
    struct buf out;
    buf_init(&out, 1 << 20);
    web_open(&w, &cfg);
    exchange(&w, SPAN("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), 0, "content-length: 10\r\n\r\n", &out);
    assert_false(has(&out, "[HEAD"));
    buf_done(&out);
    web_close(&w);
}

static void test_expect_continue(void **state)
{
    struct web w;
    struct http_server_config cfg = config();
    struct buf out;
    buf_init(&out, 1 << 20);
    web_open(&w, &cfg);
    int fd = raw_connect(w.port);
    raw_send(fd, SPAN(POST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
    PUMP(w.l, (raw_read(fd, &out), has(&out, "HTTP/1.1 100 Continue\r\n\r\n")));
    raw_send(fd, SPAN("hi"));
    PUMP(w.l, (raw_read(fd, &out), has(&out, "[POST /p? hi]")));
    close(fd);
    w.early = 401;
    buf_clear(&out);
    fd = raw_connect(w.port);
    raw_send(fd, SPAN(POST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
    PUMP(w.l, raw_read(fd, &out));
    assert_true(has(&out, "HTTP/1.1 401 Unauthorized\r\n") && has(&out, "connection: close"));
    assert_false(has(&out, "100 Continue"));
    close(fd);
    buf_done(&out);
    web_close(&w);
}

/* An early answer: small bodies are skipped and the connection goes on, large ones end it. */
static void test_early_answer(void **state)
{
    struct web w;
    struct http_server_config cfg = config();
    struct buf out;
    buf_init(&out, 4 << 20);
    web_open(&w, &cfg);
    w.early = 404;
    exchange(&w,
             SPAN(POST "Content-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\nHost: a\r\nConnection: "
                       "close\r\n\r\n"),
             0, "connection: close", &out);
    const char *first = strstr(buf_span(&out).p, "404");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "404"));
    assert_int_equal(w.n_requests, 0);
    buf_clear(&out);
    /* the client sends all of a megabyte before it looks: the answer is still there */
    int fd = raw_connect(w.port);
    char *mb = mem_zalloc(1 << 20);
    raw_send(fd, SPAN(POST "Content-Length: 1048576\r\n\r\n"));
    size_t sent = 0;
    PUMP(w.l, ({
             ssize_t n = send(fd, mb + sent, (1 << 20) - sent, MSG_NOSIGNAL);
             sent += n > 0 ? (size_t)n : 0;
             sent == 1 << 20;
         }));
    PUMP(w.l, raw_read(fd, &out));
    assert_true(has(&out, "HTTP/1.1 404 Not Found\r\n") && has(&out, "connection: close"));
    close(fd);
    mem_free(mb);
    buf_done(&out);
    web_close(&w);
}

static void test_pipelined_answers_in_order(void **state)
{
    struct web w;
    struct http_server_config cfg = config();
    struct buf out;
    buf_init(&out, 1 << 20);
    web_open(&w, &cfg);
    w.hold = true;
    int fd = raw_connect(w.port);
    raw_send(fd, SPAN(GET("/1") GET("/2") GET("/3")));
    for (size_t i = 1; i <= 3; i++) {
        PUMP(w.l, w.n_held == i);
        pump_for(w.l, 5);
        assert_int_equal(w.n_held, i); /* one at a time */
        http_reply(w.held[i - 1], 200, NULL, 0,
                   i == 1   ? SPAN("<1>")
                   : i == 2 ? SPAN("<2>")
                            : SPAN("<3>"));
    }
    PUMP(w.l, (raw_read(fd, &out), has(&out, "<3>")));
    assert_true(strstr(out.mem, "<1>") < strstr(out.mem, "<2>"));
    close(fd);
    /* the answer and more bytes in one turn: what was kept is older than what is read */
    fd = raw_connect(w.port);
    raw_send(fd, SPAN(GET("/4") GET("/5")));
    PUMP(w.l, w.n_held == 4);
    raw_send(fd, SPAN(GET("/6")));
    http_reply(w.held[3], 200, NULL, 0, SPAN("<4>"));
    PUMP(w.l, w.n_held == 5);
    assert_true(span_eq(http_path(w.held[4]), SPAN("/5")));
    http_reply(w.held[4], 200, NULL, 0, SPAN("<5>"));
    PUMP(w.l, w.n_held == 6);
    assert_true(span_eq(http_path(w.held[5]), SPAN("/6")));
    close(fd);
    buf_done(&out);
    web_close(&w);
}

static void test_pipeline_is_bounded(void **state)
{
    struct web w;
    struct http_server_config cfg = config();
    web_open(&w, &cfg);
    w.hold = true;
    int fd = raw_connect(w.port);
    for (int i = 0; i < 3000; i++) {
        if (send(fd, GET("/0123456789"), sizeof GET("/0123456789") - 1, MSG_NOSIGNAL) < 0)
            assert_int_equal(errno, EAGAIN);
        loop_step(w.l);
    }
    assert_int_equal(w.n_held, 1);
    /* while reading is stopped the client's leaving is still seen */
    close(fd);
    PUMP(w.l, w.n_closed == 1);
    assert_int_equal(http_server_connections(w.s), 0);
    web_close(&w);
}

static void test_stream(void **state)
{
    static const struct http_header h[] = {
        {SPAN_INIT("content-type"), SPAN_INIT("text/event-stream")}};
    struct web w;
    struct http_server_config cfg = config();
    struct buf out;
    buf_init(&out, 1 << 20);
    web_open(&w, &cfg);
    w.hold = true;
    int fd = raw_connect(w.port);
    raw_send(fd, SPAN(GET("/1") GET("/2")));
    PUMP(w.l, w.n_held == 1);
    http_begin(w.held[0], 200, h, 1);
    assert_true(http_begun(w.held[0]));
    assert_true(http_write(w.held[0], SPAN("data: 1\n\n")));
    assert_true(http_write(w.held[0], SPAN("data: 2\n\n")));
    PUMP(w.l, (raw_read(fd, &out), has(&out, "\r\n\r\n00000012\r\ndata: 1\n\ndata: 2\n\n\r\n")));
    assert_true(http_write(w.held[0], SPAN("x")));
    http_end(w.held[0]);
    PUMP(w.l, (raw_read(fd, &out), has(&out, "00000001\r\nx\r\n0\r\n\r\n")));
    PUMP(w.l, w.n_held == 2); /* the connection goes on */
    buf_clear(&out);
    http_begin(w.held[1], 200, h, 1);
    assert_true(http_write(w.held[1], SPAN("y")));
    http_abort(w.held[1]);
    PUMP(w.l, raw_read(fd, &out));
    assert_true(has(&out, "00000001\r\ny\r\n"));
    assert_false(has(&out, "0\r\n\r\n0\r\n") || span_ends(buf_span(&out), SPAN("0\r\n\r\n")));
    close(fd);
    fd = raw_connect(w.port);
    raw_send(fd, SPAN("GET / HTTP/1.0\r\n\r\n"));
    PUMP(w.l, w.n_held == 3);
    buf_clear(&out);
    http_begin(w.held[2], 200, h, 1);
    assert_true(http_write(w.held[2], SPAN("plain")));
    http_end(w.held[2]);
    PUMP(w.l, raw_read(fd, &out));
    assert_true(span_ends(buf_span(&out), SPAN("connection: close\r\n\r\nplain")));
    close(fd);
    assert_int_equal(w.n_closed, 0);
    buf_done(&out);
    web_close(&w);
}

/* Fills the stream until the server says full; *out_sum counts what was accepted. */
static void fill(struct web *w, struct http_exchange *x, size_t *out_sum)
{
    static char block[16384];
    do {
        *out_sum += sizeof block;
        assert_true(*out_sum < MIB(30));
    } while (http_write(x, span_make(block, sizeof block)));
}

/* More than a connection may hold, no memory, a client that leaves: its owner can tell which. */
static void test_why_an_answer_is_given_up(void **state)
{
    static const enum err_class why[] = {ERR_LIMIT, ERR_NOMEM, ERR_NONE};
    char *large = mem_zalloc(LIMIT_OUT_MAX_BYTES + 1);
    for (size_t i = 0; i < COUNT_OF(why); i++) {
        struct web w;
        struct http_server_config cfg = config();
        web_open(&w, &cfg);
        w.hold = true;
        int fd = raw_connect(w.port);
        raw_send(fd, SPAN(GET("/1")));
        PUMP(w.l, w.n_held == 1);
        w.asked = w.held[0];
        w.given_up = ERR_CLASSES;
        http_begin(w.held[0], 200, NULL, 0);
        assert_int_equal(http_given_up(w.held[0]), ERR_NONE);
        if (why[i] == ERR_NONE) {
            raw_reset(fd);
        } else {
            size_t n = why[i] == ERR_LIMIT ? LIMIT_OUT_MAX_BYTES + 1 : MIB(1);
            mem_fail_at(why[i] == ERR_NOMEM);
            assert_false(http_write(w.held[0], span_make(large, n)));
            mem_fail_at(0);
            assert_int_equal(http_given_up(w.held[0]), why[i]);
        }
        PUMP(w.l, w.n_closed == 1);
        assert_int_equal(w.given_up, why[i]);
        if (why[i] != ERR_NONE)
            close(fd);
        web_close(&w);
    }
    mem_free(large);
}

static void test_back_pressure(void **state)
{
    struct web w;
    struct http_server_config cfg = config();
    struct buf out;
    buf_init(&out, MIB(40));
    web_open(&w, &cfg);
    w.hold = true;
    int fd = raw_connect(w.port);
    raw_send(fd, SPAN(GET("/1")));
    PUMP(w.l, w.n_held == 1);
    http_begin(w.held[0], 200, NULL, 0);
    size_t sum = 0;
    fill(&w, w.held[0], &sum);
    pump_for(w.l, 20);
    assert_int_equal(w.n_drained, 0);
    PUMP(w.l, (raw_read(fd, &out), w.n_drained == 1));
    fill(&w, w.held[0], &sum);
    PUMP(w.l, (raw_read(fd, &out), w.n_drained == 2));
    http_end(w.held[0]);
    PUMP(w.l, (raw_read(fd, &out), span_ends(buf_span(&out), SPAN("\r\n0\r\n\r\n"))));
    assert_true(out.n > sum);
    close(fd);
    buf_done(&out);
    web_close(&w);
}

/* Over the hard limit the connection goes, and the handler hears of it - later, from the loop. */
static void test_output_limit(void **state)
{
    struct web w;
    struct http_server_config cfg = config();
    web_open(&w, &cfg);
    w.hold = true;
    int fd = raw_connect(w.port);
    raw_send(fd, SPAN(GET("/1")));
    PUMP(w.l, w.n_held == 1);
    http_begin(w.held[0], 200, NULL, 0);
    char *mb = mem_zalloc(MIB(1));
    for (int i = 0; i < 60; i++)
        if (http_write(w.held[0], span_make(mb, MIB(1))))
            loop_step(w.l);
    mem_free(mb);
    assert_int_equal(w.n_closed, 0);
    PUMP(w.l, w.n_closed == 1);
    close(fd);
    web_close(&w);
}

/* In every phase, by FIN and by RST. */
static void test_client_leaves(void **state)
{
    static char block[65536];
    enum { WAITING, STREAMING, FULL, PIPELINED, IN_BODY, IN_HEAD, IDLE, PHASES };
    struct web w;
    struct http_server_config cfg = config();
    for (int phase = 0; phase < PHASES; phase++)
        for (int rst = 0; rst < 2; rst++) {
            web_open(&w, &cfg);
            w.hold = true;
            int fd = raw_connect(w.port);
            bool served = phase <= PIPELINED;
            raw_send(fd, phase == IN_HEAD     ? SPAN("GET / HT")
                         : phase == IN_BODY   ? SPAN(POST "Content-Length: 9\r\n\r\nabc")
                         : phase == PIPELINED ? SPAN(GET("/") GET("/"))
                         : phase == IDLE      ? SPAN("")
                                              : SPAN(GET("/")));
            if (served)
                PUMP(w.l, w.n_held == 1);
            else
                PUMP(w.l, http_server_connections(w.s) == 1);
            pump_for(w.l, 3);
            if (phase == STREAMING || phase == FULL) {
                http_begin(w.held[0], 200, NULL, 0);
                while (http_write(w.held[0], span_make(block, phase == FULL ? sizeof block : 1)) &&
                       phase == FULL)
                    loop_step(w.l);
                pump_for(w.l, 3);
            }
            int64_t left = clock_mono_us();
            if (rst)
                raw_reset(fd);
            else
                close(fd);
            PUMP(w.l, http_server_connections(w.s) == 0);
            assert_true(clock_mono_us() - left < 1000000);
            if (w.n_closed != (served ? 1 : 0))
                fail_msg("phase %d rst %d: on_close ran %zu times", phase, rst, w.n_closed);
            web_close(&w);
        }
}

static void test_half_close(void **state)
{
    struct web w;
    struct http_server_config cfg = config();
    struct buf out;
    buf_init(&out, 1 << 20);
    web_open(&w, &cfg);
    w.hold = true;
    int fd = raw_connect(w.port);
    raw_send(fd, SPAN(GET("/")));
    PUMP(w.l, w.n_held == 1);
    shutdown(fd, SHUT_WR);
    PUMP(w.l, w.n_closed == 1);
    close(fd);
    web_close(&w);

    cfg.half_close_keep = true;
    web_open(&w, &cfg);
    w.hold = true;
    fd = raw_connect(w.port);
    raw_send(fd, SPAN(GET("/")));
    shutdown(fd, SHUT_WR);
    PUMP(w.l, w.n_held == 1);
    pump_for(w.l, 20);
    assert_int_equal(w.n_closed, 0);
    http_reply(w.held[0], 200, NULL, 0, SPAN("kept"));
    PUMP(w.l, raw_read(fd, &out));
    assert_true(span_ends(buf_span(&out), SPAN("kept")));
    close(fd);
    /* a reset is leaving, whatever the setting */
    fd = raw_connect(w.port);
    raw_send(fd, SPAN(GET("/")));
    PUMP(w.l, w.n_held == 2);
    shutdown(fd, SHUT_WR);
    pump_for(w.l, 5);
    raw_reset(fd);
    PUMP(w.l, w.n_closed == 1);
    buf_done(&out);
    web_close(&w);

    /* an answer that is made at once reaches a client that has ended its side */
    cfg.half_close_keep = false;
    web_open(&w, &cfg);
    buf_init(&out, 1 << 20);
    fd = raw_connect(w.port);
    raw_send(fd, SPAN(GET("/1") GET("/2")));
    shutdown(fd, SHUT_WR);
    PUMP(w.l, raw_read(fd, &out));
    assert_true(has(&out, "[GET /1? ]") && has(&out, "[GET /2? ]"));
    close(fd);
    buf_done(&out);
    web_close(&w);
}

static void test_timers(void **state)
{
    static const struct {
        const char *in, *want;
    } c[] = {
        {"", ""},
        {"GET / HTTP/1.1\r\nHo", "{\"bad\":408}"},
        {POST "Content-Length: 9\r\n\r\nabc", "{\"bad\":408}"},
        {GET("/"), "[GET /? ]"}, /* idle after the answer */
    };
    struct web w;
    struct http_server_config cfg = {.head_timeout_us = 60000,
                                     .idle_timeout_us = 60000,
                                     .body_timeout_us = 60000,
                                     .write_timeout_us = 60000,
                                     .max_connections = 10};
    web_open(&w, &cfg);
    for (size_t i = 0; i < COUNT_OF(c); i++) {
        struct buf out;
        buf_init(&out, 1 << 20);
        int64_t t = clock_mono_us();
        int fd = raw_connect(w.port);
        raw_send(fd, span_of(c[i].in));
        PUMP(w.l, raw_read(fd, &out));
        t = clock_mono_us() - t;
        assert_true(t >= 55000);
        assert_true(out.n == 0 ? c[i].want[0] == '\0' : has(&out, c[i].want));
        close(fd);
        buf_done(&out);
    }
    /* a head that drips never ends in time, however lively it looks */
    int fd = raw_connect(w.port);
    struct buf out;
    buf_init(&out, 1 << 20);
    raw_send(fd, SPAN("GET / HTTP/1.1\r\nX: "));
    PUMP(w.l, send(fd, "a", 1, MSG_NOSIGNAL) < 0 || raw_read(fd, &out));
    close(fd);
    /* the client takes nothing: closed, the handler is told */
    w.hold = true;
    fd = raw_connect(w.port);
    raw_send(fd, SPAN(GET("/")));
    PUMP(w.l, w.n_held == 1);
    http_begin(w.held[0], 200, NULL, 0);
    size_t sum = 0;
    fill(&w, w.held[0], &sum);
    PUMP(w.l, w.n_closed == 1);
    close(fd);
    /* waiting for the handler has no timer */
    fd = raw_connect(w.port);
    raw_send(fd, SPAN(GET("/")));
    PUMP(w.l, w.n_held == 2);
    pump_for(w.l, 150);
    assert_int_equal(w.n_closed, 1);
    close(fd);
    PUMP(w.l, w.n_closed == 2);
    buf_done(&out);
    web_close(&w);
}

static void set_flag(void *arg)
{
    *(bool *)arg = true;
}

static void test_drain(void **state)
{
    struct web w;
    struct http_server_config cfg = config();
    struct buf out;
    buf_init(&out, 1 << 20);
    web_open(&w, &cfg);
    int idle = raw_connect(w.port);
    raw_send(idle, SPAN(GET("/")));
    PUMP(w.l, w.n_requests == 1);
    w.hold = true;
    int waiting = raw_connect(w.port);
    raw_send(waiting, SPAN(GET("/")));
    PUMP(w.l, w.n_held == 1);
    int queued = raw_connect(w.port); /* accepted by nobody yet */
    raw_send(queued, SPAN(GET("/")));
    http_server_drain(w.s, set_flag, &w.idle);
    PUMP(w.l, raw_read(idle, &out));
    PUMP(w.l, w.n_held == 2);
    assert_false(w.idle);
    http_reply(w.held[0], 200, NULL, 0, SPAN("one"));
    http_reply(w.held[1], 200, NULL, 0, SPAN("two"));
    buf_clear(&out);
    PUMP(w.l, raw_read(waiting, &out));
    PUMP(w.l, raw_read(queued, &out));
    assert_true(has(&out, "connection: close\r\n\r\none") &&
                has(&out, "connection: close\r\n\r\ntwo"));
    PUMP(w.l, w.idle);
    assert_int_equal(w.n_closed, 0);
    close(idle);
    close(waiting);
    close(queued);
    buf_done(&out);
    web_close(&w);
}

static void test_too_many_connections(void **state)
{
    struct web w;
    struct http_server_config cfg = config();
    struct buf out;
    buf_init(&out, 1 << 20);
    cfg.max_connections = 1;
    web_open(&w, &cfg);
    int one = raw_connect(w.port);
    PUMP(w.l, http_server_connections(w.s) == 1);
    int two = raw_connect(w.port);
    PUMP(w.l, raw_read(two, &out));
    assert_true(has(&out, "HTTP/1.1 503 "));
    close(one);
    close(two);
    buf_done(&out);
    web_close(&w);
}

static void test_big_bodies(void **state)
{
    struct web w;
    struct http_server_config cfg = config();
    struct buf out;
    buf_init(&out, MIB(8));
    web_open(&w, &cfg);
    w.cap = MIB(4);
    w.hold = true;
    char *body = mem_alloc(MIB(3));
    for (size_t i = 0; i < MIB(3); i++)
        body[i] = (char)(i * 7 >> 4);
    for (int chunked = 0; chunked < 2; chunked++) {
        w.n_held = 0;
        int fd = raw_connect(w.port);
        if (chunked)
            raw_send(fd, SPAN(POST "Transfer-Encoding: chunked\r\n\r\n300000\r\n"));
        else
            raw_send(fd, SPAN(POST "Content-Length: 3145728\r\n\r\n"));
        size_t sent = 0;
        PUMP(w.l, ({
                 ssize_t n = send(fd, body + sent, MIB(3) - sent, MSG_NOSIGNAL);
                 sent += n > 0 ? (size_t)n : 0;
                 sent == MIB(3);
             }));
        if (chunked)
            raw_send(fd, SPAN("\r\n0\r\n\r\n"));
        PUMP(w.l, w.n_held == 1);
        assert_true(span_eq(http_body(w.held[0]), span_make(body, MIB(3))));
        buf_clear(&out);
        http_reply(w.held[0], 200, NULL, 0, http_body(w.held[0]));
        PUMP(w.l, (raw_read(fd, &out), out.n > MIB(3)));
        assert_true(span_ends(buf_span(&out), span_make(body, MIB(3))));
        close(fd);
    }
    /* chunked beyond the cap */
    int fd = raw_connect(w.port);
    raw_send(fd, SPAN(POST "Transfer-Encoding: chunked\r\n\r\n500000\r\n"));
    buf_clear(&out);
    bool end = false;
    PUMP(w.l, (send(fd, body, KIB(64), MSG_NOSIGNAL), end = raw_read(fd, &out),
               end || has(&out, "{\"bad\":413}")));
    assert_true(has(&out, "413 Content Too Large"));
    close(fd);
    mem_free(body);
    buf_done(&out);
    web_close(&w);
}

/* A body that is dropped before its answer: nothing else of the request goes with it, and the
 * connection takes the next one. */
static void test_dropped_bodies(void **state)
{
    struct web w;
    struct http_server_config cfg = config();
    struct buf out;
    buf_init(&out, MIB(8));
    web_open(&w, &cfg);
    w.hold = true;
    int fd = raw_connect(w.port);
    char *body = mem_zalloc(KIB(600));
    for (size_t i = 0; i < 2; i++) {
        raw_send(fd, SPAN(POST "Content-Length: 614400\r\n\r\n"));
        size_t sent = 0;
        PUMP(w.l, ({
                 ssize_t n = send(fd, body + sent, KIB(600) - sent, MSG_NOSIGNAL);
                 sent += n > 0 ? (size_t)n : 0;
                 sent == KIB(600);
             }));
        PUMP(w.l, w.n_held == i + 1);
        struct http_exchange *x = w.held[i];
        assert_int_equal(http_body(x).n, KIB(600));
        http_drop_body(x);
        assert_int_equal(http_body(x).n, 0);
        assert_non_null(http_body(x).p);
        http_drop_body(x);
        assert_true(span_eq(http_path(x), SPAN("/p")));
        assert_true(span_eq(http_header_of(x, "content-length"), SPAN("614400")));
        buf_clear(&out);
        http_reply(x, 200, NULL, 0, SPAN("done"));
        PUMP(w.l, (raw_read(fd, &out), span_ends(buf_span(&out), SPAN("done"))));
        assert_false(has(&out, "connection: close"));
    }
    close(fd);
    mem_free(body);
    buf_done(&out);
    web_close(&w);
}

static void test_listening(void **state)
{
    struct err e;
    int port;
    int fd = http_listen_tcp("127.0.0.1", 0, &port, &e);
    assert_true(fd >= 0);
    assert_int_equal(http_listen_tcp("127.0.0.1", port, NULL, &e), -1);
    char want[64];
    snprintf(want, sizeof want, "pid %d (test_http_serve)", (int)getpid());
    assert_int_equal(e.cls, ERR_CONFIG);
    assert_non_null(strstr(e.msg, want));
    close(fd);
    assert_int_equal(http_listen_tcp("localhost", 1, NULL, &e), -1);
    assert_int_equal(http_listen_tcp("127.0.0.1", 70000, NULL, &e), -1);

    char path[64];
    struct stat st;
    snprintf(path, sizeof path, "/tmp/fusor-test-%d.sock", (int)getpid());
    fd = http_listen_unix(path, &e);
    assert_true(fd >= 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(http_listen_unix(path, &e), -1); /* alive */
    close(fd);
    fd = http_listen_unix(path, &e); /* left over */
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
}

/* Pipelined requests over TLS fill what is kept: what OpenSSL holds decrypted must not be
 * forgotten. */
static void test_tls_pipeline(void **state)
{
    enum { N = 6000 };
    static const struct span get = SPAN_INIT(GET("/0123456789"));
    char cert[64], key[64], *tmp = mem_alloc(65536);
    struct web w;
    struct err e;
    struct http_server_config cfg = config();
    web_open(&w, &cfg);
    snprintf(cert, sizeof cert, "/tmp/fusor-scert-%d.pem", (int)getpid());
    snprintf(key, sizeof key, "/tmp/fusor-skey-%d.pem", (int)getpid());
    make_cert(cert, key, "DNS:localhost");
    AUTO(tls) t = tls_server_new(cert, key, &e);
    int port, fd = http_listen_tcp("127.0.0.1", 0, &port, &e);
    assert_true(http_server_listen(w.s, fd, t, false, &e));
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL *ssl = SSL_new(ctx);
    int cfd = raw_connect(port);
    SSL_set_fd(ssl, cfd);
    PUMP(w.l, SSL_connect(ssl) == 1);
    struct buf all;
    buf_init(&all, MIB(4));
    for (int i = 0; i < N; i++)
        assert_true(buf_add(&all, get, &e));
    w.hold = true;
    size_t answers = 0;
    bool held_once = false;
    int64_t end = clock_mono_us() + PUMP_MAX_US;
    while ((answers < N - 200 || w.n_requests < N) && clock_mono_us() < end) {
        size_t n = 0;
        if (all.n > 0 && SSL_write_ex(ssl, all.mem + all.start, all.n, &n) == 1)
            buf_eat(&all, n);
        loop_step(w.l);
        if (!held_once && w.n_held == 1 && (n == 0 || all.n == 0)) { /* all is full: go on */
            held_once = true;
            w.hold = false;
            http_reply(w.held[0], 200, NULL, 0, SPAN("[GET"));
        }
        while (SSL_read_ex(ssl, tmp, 65536, &n) == 1)
            for (const char *p = tmp;
                 (p = memmem(p, (size_t)(tmp + n - p), "HTTP/1.1 200", 12)) != NULL; p++)
                answers++;
    }
    /* a status line may lie across two records: a few are not counted */
    if (!held_once || w.n_requests != N)
        fail_msg("held %d, %zu requests, %zu answers", held_once, w.n_requests, answers);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(cfd);
    close(fd);
    unlink(cert);
    unlink(key);
    buf_done(&all);
    mem_free(tmp);
    web_close(&w);
}

static void test_memory_runs_out(void **state)
{
    for (unsigned long n = 1; n < 60; n++) {
        struct web w;
        struct http_server_config cfg = config();
        struct buf out;
        buf_init(&out, 1 << 20);
        assert_true(buf_add(&out, SPAN(" "), NULL));
        web_open(&w, &cfg);
        int fd = raw_connect(w.port);
        char *warm;
        assert_true(buf_room(&out, 65536, &warm, NULL));
        raw_send(fd, SPAN(POST "Content-Length: 5\r\n\r\nhello"));
        mem_fail_at(n);
        bool end = false;
        PUMP(w.l, (end = raw_read(fd, &out)) || has(&out, "HTTP/1.1 "));
        bool hit = mem_failed();
        mem_fail_at(0);
        close(fd);
        buf_done(&out);
        web_close(&w);
        if (!hit)
            return;
    }
    fail_msg("the failures never end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_head_has_no_body),
        cmocka_unit_test(test_expect_continue),
        cmocka_unit_test(test_early_answer),
        cmocka_unit_test(test_pipelined_answers_in_order),
        cmocka_unit_test(test_pipeline_is_bounded),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_why_an_answer_is_given_up),
        cmocka_unit_test(test_back_pressure),
        cmocka_unit_test(test_output_limit),
        cmocka_unit_test(test_client_leaves),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_timers),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_too_many_connections),
        cmocka_unit_test(test_big_bodies),
        cmocka_unit_test(test_dropped_bodies),
        cmocka_unit_test(test_listening),
        cmocka_unit_test(test_tls_pipeline),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
