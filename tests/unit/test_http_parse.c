/* test_http_parse.c - what is let in and what is refused, fed whole, cut in two at every byte, and
 * byte by byte: the verdict and the event log must be the same each time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/parse.h"

struct run {
    struct parse p;
    struct head h;
    struct buf log;
    struct err e;
    enum parse_status st;
};

static void run_init(struct run *r, enum parse_kind kind, bool no_body)
{
    memset(r, 0, sizeof *r);
    head_init(&r->h);
    parse_init(&r->p, kind, no_body, &r->h);
    buf_init(&r->log, 1 << 20);
}

static void run_done(struct run *r)
{
    head_done(&r->h);
    buf_done(&r->log);
}

/* Log: "<method target|status> name=value ... /body." and "$" at the end of each message; a next
 * message is begun when bytes follow. */
static void run_feed(struct run *r, struct span in)
{
    struct span body;
    for (;;) {
        r->st = parse_next(&r->p, &in, &body, &r->e);
        if (r->st == PARSE_MORE || r->st == PARSE_FAIL)
            return;
        if (r->st == PARSE_HEAD) {
            if (r->p.kind == PARSE_REQUEST)
                assert_true(buf_addf(&r->log, &r->e, "%.*s %.*s", SPAN_ARG(head_method(&r->h)),
                                     SPAN_ARG(head_target(&r->h))));
            else
                assert_true(buf_addf(&r->log, &r->e, "%d", r->h.status));
            for (size_t i = 0; i < r->h.n_fields; i++) {
                struct http_header f = head_at(&r->h, i);
                if (!span_eq(f.name, SPAN("host")))
                    assert_true(buf_addf(&r->log, &r->e, " %.*s=%.*s", SPAN_ARG(f.name),
                                         SPAN_ARG(f.value)));
            }
            assert_true(buf_addf(&r->log, &r->e, "%s/", r->h.keep_alive ? "" : " close"));
        }
        if (r->st == PARSE_BODY)
            assert_true(buf_add(&r->log, body, &r->e));
        if (r->st == PARSE_END) {
            assert_true(buf_add_char(&r->log, '$', &r->e));
            if (in.n == 0)
                return;
            head_clear(&r->h, 0);
            parse_init(&r->p, r->p.kind, r->p.no_body, &r->h);
        }
    }
}

struct expected {
    const char *name;
    struct span in;
    const char *log; /* NULL: refused */
};

static void check(const struct expected *c, struct run *r, const char *how)
{
    if (c->log == NULL && r->st != PARSE_FAIL)
        fail_msg("%s (%s): let in, log '%.*s'", c->name, how, SPAN_ARG(buf_span(&r->log)));
    if (c->log != NULL && r->st == PARSE_FAIL)
        fail_msg("%s (%s): refused: %s", c->name, how, r->e.msg);
    if (c->log != NULL && !span_eq(buf_span(&r->log), span_of(c->log)))
        fail_msg("%s (%s): log '%.*s'", c->name, how, SPAN_ARG(buf_span(&r->log)));
    run_done(r);
}

static void check_all(const struct expected *cases, size_t n, enum parse_kind kind, bool no_body)
{
    for (size_t i = 0; i < n; i++) {
        const struct expected *c = &cases[i];
        struct run r;
        run_init(&r, kind, no_body);
        run_feed(&r, c->in);
        check(c, &r, "whole");
        for (size_t cut = 1; cut < c->in.n; cut++) {
            run_init(&r, kind, no_body);
            run_feed(&r, span_upto(c->in, cut));
            if (r.st != PARSE_FAIL && r.st != PARSE_END)
                run_feed(&r, span_from(c->in, cut));
            else if (r.st == PARSE_END) {
                head_clear(&r.h, 0);
                parse_init(&r.p, kind, no_body, &r.h);
                run_feed(&r, span_from(c->in, cut));
            }
            check(c, &r, "cut in two");
        }
        run_init(&r, kind, no_body);
        for (size_t at = 0; at < c->in.n && r.st != PARSE_FAIL; at++) {
            if (r.st == PARSE_END) {
                head_clear(&r.h, 0);
                parse_init(&r.p, kind, no_body, &r.h);
            }
            run_feed(&r, span_make(c->in.p + at, 1));
        }
        check(c, &r, "byte by byte");
    }
}

#define H    "Host: a\r\n"
#define POST "POST /x HTTP/1.1\r\n" H
#define REQ(name, text, log)                                                                       \
    {                                                                                              \
        name, SPAN_INIT(text), log                                                                 \
    }

static const struct expected requests[] = {
    REQ("plain", "GET /a?b=c HTTP/1.1\r\n" H "X-Y:  v \r\n\r\n", "GET /a?b=c x-y=v/$"),
    REQ("pipelined", "GET /1 HTTP/1.1\r\n" H "\r\nGET /2 HTTP/1.1\r\n" H "\r\n",
        "GET /1/$GET /2/$"),
    REQ("counted body", POST "Content-Length: 5\r\n\r\nhello", "POST /x content-length=5/hello$"),
    REQ("chunked body",
        POST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;a=b\r\n!\r\n0\r\n\r\n",
        "POST /x transfer-encoding=chunked/hello!$"),
    REQ("chunked, leading zeros",
        POST "Transfer-Encoding: Chunked\r\n\r\n00000001\r\na\r\n0\r\n\r\n",
        "POST /x transfer-encoding=Chunked/a$"),
    REQ("trailer is dropped", POST "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n",
        "POST /x transfer-encoding=chunked/a$"),
    REQ("chunked then next",
        POST "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n",
        "POST /x transfer-encoding=chunked/a$GET //$"),
    REQ("1.0 closes", "GET / HTTP/1.0\r\n\r\n", "GET / close/$"),
    REQ("1.0 keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET / connection=keep-alive/$"),
    REQ("close", "GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
        "GET / connection=close close/$"),
    REQ("upgrade is ignored",
        POST "Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 1\r\n\r\nxGET / HTTP/1.1\r\n" H
             "\r\n",
        "POST /x upgrade=h2c connection=Upgrade content-length=1/x$GET //$"),
    REQ("upgrade without body",
        "GET / HTTP/1.1\r\n" H "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "GET / upgrade=websocket connection=Upgrade/$"),
    REQ("connect", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "CONNECT a:443/$"),
    REQ("empty value", "GET / HTTP/1.1\r\n" H "X:\r\nY: \r\n\r\n", "GET / x= y=/$"),
    REQ("high bytes in a value", "GET / HTTP/1.1\r\n" H "X: \xC3\xA9\r\n\r\n",
        "GET / x=\xC3\xA9/$"),
    REQ("absolute form", "GET http://a/p HTTP/1.1\r\n" H "\r\n", "GET http://a/p/$"),
    REQ("options star", "OPTIONS * HTTP/1.1\r\n" H "\r\n", "OPTIONS */$"),
    REQ("empty line first", "\r\nGET / HTTP/1.1\r\n" H "\r\n", "GET //$"),
    REQ("two spaces before the target", "GET  / HTTP/1.1\r\n" H "\r\n", "GET //$"),
    REQ("host with port", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET //$"),

    REQ("CL and TE", POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", NULL),
    REQ("TE and CL", POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", NULL),
    REQ("two CL, same", POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\na", NULL),
    REQ("two CL, different", POST "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", NULL),
    REQ("CL list", POST "Content-Length: 1, 1\r\n\r\na", NULL),
    REQ("CL signed", POST "Content-Length: +1\r\n\r\na", NULL),
    REQ("CL negative", POST "Content-Length: -1\r\n\r\na", NULL),
    REQ("CL hex", POST "Content-Length: 0x1\r\n\r\na", NULL),
    REQ("CL empty", POST "Content-Length: \r\n\r\n", NULL),
    REQ("CL with a space inside", POST "Content-Length: 1 1\r\n\r\na", NULL),
    REQ("CL overflow", POST "Content-Length: 18446744073709551617\r\n\r\na", NULL),
    REQ("CL name with space", POST "Content-Length : 1\r\n\r\na", NULL),
    REQ("TE identity", POST "Transfer-Encoding: identity\r\n\r\n", NULL),
    REQ("TE gzip, chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", NULL),
    REQ("TE chunked, gzip", POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", NULL),
    REQ("TE twice chunked", POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", NULL),
    REQ("TE twice",
        POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", NULL),
    REQ("TE xchunked", POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", NULL),
    REQ("TE with VT",
        POST "Transfer-Encoding: \x0b"
             "chunked\r\n\r\n0\r\n\r\n",
        NULL),
    REQ("TE name with space", POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", NULL),
    REQ("TE on 1.0", "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", NULL),
    REQ("TE empty", POST "Transfer-Encoding:\r\n\r\n", NULL),
    REQ("chunk size 0x", POST "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", NULL),
    REQ("chunk size sign", POST "Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n", NULL),
    REQ("chunk size minus", POST "Transfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n", NULL),
    REQ("chunk size underscore", POST "Transfer-Encoding: chunked\r\n\r\n1_0\r\na\r\n0\r\n\r\n",
        NULL),
    REQ("chunk size space", POST "Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n", NULL),
    REQ("chunk size leading space", POST "Transfer-Encoding: chunked\r\n\r\n 1\r\na\r\n0\r\n\r\n",
        NULL),
    REQ("chunk size empty", POST "Transfer-Encoding: chunked\r\n\r\n\r\na\r\n0\r\n\r\n", NULL),
    REQ("chunk size overflow",
        POST "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n0\r\n\r\n", NULL),
    REQ("chunk bare LF", POST "Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n", NULL),
    REQ("chunk data bare LF", POST "Transfer-Encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n", NULL),
    REQ("chunk data too long", POST "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", NULL),
    REQ("chunk extension bare LF", POST "Transfer-Encoding: chunked\r\n\r\n1;a\na\r\n0\r\n\r\n",
        NULL),
    REQ("two Hosts", "GET / HTTP/1.1\r\n" H H "\r\n", NULL),
    REQ("two Hosts, 1.0", "GET / HTTP/1.0\r\n" H H "\r\n", NULL),
    REQ("no Host", "GET / HTTP/1.1\r\nX: y\r\n\r\n", NULL),
    REQ("empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", NULL),
    REQ("Host with slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", NULL),
    REQ("Host with user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", NULL),
    REQ("Host with space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", NULL),
    REQ("absolute form of another host", "GET http://b/ HTTP/1.1\r\n" H "\r\n", NULL),
    REQ("other scheme", "GET ftp://a/ HTTP/1.1\r\n" H "\r\n", NULL),
    REQ("fragment", "GET /a#b HTTP/1.1\r\n" H "\r\n", NULL),
    REQ("star for GET", "GET * HTTP/1.1\r\n" H "\r\n", NULL),
    REQ("space before colon", "GET / HTTP/1.1\r\n" H "X : y\r\n\r\n", NULL),
    REQ("space before name", "GET / HTTP/1.1\r\n X: y\r\n" H "\r\n", NULL),
    REQ("folded line", "GET / HTTP/1.1\r\n" H "X: y\r\n z\r\n\r\n", NULL),
    REQ("folded line, tab", "GET / HTTP/1.1\r\n" H "X: y\r\n\tz\r\n\r\n", NULL),
    REQ("no colon", "GET / HTTP/1.1\r\n" H "X\r\n\r\n", NULL),
    REQ("no name", "GET / HTTP/1.1\r\n" H ": y\r\n\r\n", NULL),
    REQ("name with a bracket", "GET / HTTP/1.1\r\n" H "X[]: y\r\n\r\n", NULL),
    REQ("NUL in a value", "GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n", NULL),
    REQ("NUL in a name", "GET / HTTP/1.1\r\n" H "X\0: a\r\n\r\n", NULL),
    REQ("control in a value",
        "GET / HTTP/1.1\r\n" H "X: a\x01"
        "b\r\n\r\n",
        NULL),
    REQ("DEL in a value",
        "GET / HTTP/1.1\r\n" H "X: a\x7f"
        "b\r\n\r\n",
        NULL),
    REQ("bare CR in a value", "GET / HTTP/1.1\r\n" H "X: a\rb\r\n\r\n", NULL),
    REQ("bare LF line end", "GET / HTTP/1.1\n" H "\r\n", NULL),
    REQ("bare LF field end", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", NULL),
    REQ("bare LF head end", "GET / HTTP/1.1\r\n" H "\n", NULL),
    REQ("bare CR head end", "GET / HTTP/1.1\r\n" H "\r\rX", NULL),
    REQ("CR X behind the head", POST "Content-Length: 1\r\n\rX\r\na", NULL),
    REQ("HTTP/0.9", "GET /\r\n\r\n", NULL),
    REQ("HTTP/0.9 version", "GET / HTTP/0.9\r\n" H "\r\n", NULL),
    REQ("HTTP/2.0", "GET / HTTP/2.0\r\n" H "\r\n", NULL),
    REQ("HTTP/1.2", "GET / HTTP/1.2\r\n" H "\r\n", NULL),
    REQ("HTTP/1.10", "GET / HTTP/1.10\r\n" H "\r\n", NULL),
    REQ("lower-case http", "GET / http/1.1\r\n" H "\r\n", NULL),
    REQ("no version, bare LF", "GET /x\nHost: a\n\n", NULL),
    REQ("tab in the line", "GET\t/ HTTP/1.1\r\n" H "\r\n", NULL),
    REQ("unknown method", "BREW / HTTP/1.1\r\n" H "\r\n", NULL),
    REQ("lower-case method", "get / HTTP/1.1\r\n" H "\r\n", NULL),
    REQ("TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", NULL),
    REQ("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NULL),
};

static void test_requests(void **state)
{
    check_all(requests, COUNT_OF(requests), PARSE_REQUEST, false);
}

#define OK200 "HTTP/1.1 200 OK\r\n"
static const struct expected responses[] = {
    REQ("counted", OK200 "Content-Length: 2\r\n\r\nhi", "200 content-length=2/hi$"),
    REQ("chunked", OK200 "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n",
        "200 transfer-encoding=chunked/hi!$"),
    REQ("no reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "200 content-length=0/$"),
    REQ("interim heads",
        "HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 103 Early\r\nLink: z\r\n\r\n" OK200
        "Content-Length: 1\r\n\r\na",
        "200 content-length=1/a$"),
    REQ("until close", OK200 "\r\nabc", "200 close/abc"),
    REQ("1.0 until close", "HTTP/1.0 200 OK\r\n\r\nabc", "200 close/abc"),
    REQ("204", "HTTP/1.1 204 No Content\r\n\r\n", "204/$"),
    REQ("304 with length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        "304 content-length=5/$"),
    REQ("429", "HTTP/1.1 429 Too Many\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n",
        "429 retry-after=3 content-length=0/$"),
    REQ("switching protocols", "HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        NULL),
    REQ("CL and TE", OK200 "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        NULL),
    REQ("TE gzip", OK200 "Transfer-Encoding: gzip\r\n\r\nabc", NULL),
    REQ("TE on 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", NULL),
    REQ("two CL", OK200 "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc", NULL),
    REQ("html", "<html><body>captive portal</body></html>", NULL),
    REQ("HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", NULL),
    REQ("status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", NULL),
    REQ("chunk size junk", OK200 "Transfer-Encoding: chunked\r\n\r\nzz\r\n", NULL),
};
static const struct expected to_head[] = {
    REQ("HEAD", OK200 "Content-Length: 9\r\n\r\n", "200 content-length=9/$"),
    REQ("HEAD, chunked", OK200 "Transfer-Encoding: chunked\r\n\r\n",
        "200 transfer-encoding=chunked/$"),
    REQ("HEAD after 100", "HTTP/1.1 100 C\r\n\r\n" OK200 "Content-Length: 9\r\n\r\n",
        "200 content-length=9/$"),
};

static void test_responses(void **state)
{
    check_all(responses, COUNT_OF(responses), PARSE_RESPONSE, false);
    check_all(to_head, COUNT_OF(to_head), PARSE_RESPONSE, true);
}

static void test_end_of_connection(void **state)
{
    static const struct {
        const char *in;
        enum parse_status want;
    } c[] = {
        {"", PARSE_FAIL},
        {"HTTP/1.1 200", PARSE_FAIL},
        {OK200 "\r\n", PARSE_END},
        {OK200 "\r\nabc", PARSE_END},
        {OK200 "Content-Length: 5\r\n\r\nabc", PARSE_FAIL},
        {OK200 "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n", PARSE_FAIL},
        {"HTTP/1.1 100 Continue\r\n\r\n", PARSE_FAIL},
    };
    for (size_t i = 0; i < COUNT_OF(c); i++) {
        struct run r;
        run_init(&r, PARSE_RESPONSE, false);
        run_feed(&r, span_of(c[i].in));
        assert_int_equal(r.st, PARSE_MORE);
        assert_int_equal(parse_eof(&r.p, &r.e), c[i].want);
        if (c[i].want == PARSE_FAIL)
            assert_int_equal(r.e.cls, ERR_CUT);
        run_done(&r);
    }
}

static void add_times(struct buf *b, const char *s, size_t n)
{
    struct err e;
    for (size_t i = 0; i < n; i++)
        assert_true(buf_add(b, span_of(s), &e));
}

/* start, then n times unit, then the end: status 0 means let in. */
static void test_limits(void **state)
{
    static const struct {
        const char *start, *unit;
        size_t n;
        const char *end;
        int status;
    } c[] = {
        {"GET / HTTP/1.1\r\n" H, "A: b\r\n", 99, "\r\n", 0},
        {"GET / HTTP/1.1\r\n" H, "A: b\r\n", 100, "\r\n", 431},
        {"GET / HTTP/1.1\r\n" H "X: ", "0123456789abcdef", 2045, "\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\n" H "X: ", "0123456789abcdef", 2048, "\r\n\r\n", 431},
        {"GET /", "0123456789abcdef", 511, " HTTP/1.1\r\n" H "\r\n", 0},
        {"GET /", "0123456789abcdef", 512, " HTTP/1.1\r\n" H "\r\n", 414},
        {"", "\r\n", 20000, "GET / HTTP/1.1\r\n" H "\r\n", 431},
        {POST "Transfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n", 20000, "0\r\n\r\n", 0},
        {POST "Transfer-Encoding: chunked\r\n\r\n", "1;aaaaaaaaaaaaaaaaaaaaaaaaa=b\r\na\r\n", 20000,
         "0\r\n\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", "T: 0123456789abcdef\r\n", 3000,
         "\r\n", 400},
    };
    for (size_t i = 0; i < COUNT_OF(c); i++)
        for (size_t step = 1; step < 70000; step = step * 40 + 1) {
            struct buf in;
            buf_init(&in, 2 << 20);
            add_times(&in, c[i].start, 1);
            add_times(&in, c[i].unit, c[i].n);
            add_times(&in, c[i].end, 1);
            struct run r;
            run_init(&r, PARSE_REQUEST, false);
            struct span rest = buf_span(&in);
            for (; rest.n > 0 && r.st != PARSE_FAIL; rest = span_from(rest, step))
                run_feed(&r, span_upto(rest, step));
            if (r.st != (c[i].status == 0 ? PARSE_END : PARSE_FAIL))
                fail_msg("case %zu in steps of %zu: %s", i, step, r.e.msg);
            if (c[i].status != 0)
                assert_int_equal(r.e.status, c[i].status);
            run_done(&r);
            buf_done(&in);
        }
}

static void test_out_of_memory(void **state)
{
    struct run r;
    run_init(&r, PARSE_REQUEST, false);
    mem_fail_at(1);
    run_feed(&r, SPAN("GET / HTTP/1.1\r\n" H "\r\n"));
    mem_fail_at(0);
    assert_int_equal(r.st, PARSE_FAIL);
    assert_int_equal(r.e.cls, ERR_NOMEM);
    run_feed(&r, SPAN("GET / HTTP/1.1\r\n"));
    assert_int_equal(r.e.cls, ERR_STATE);
    run_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),          cmocka_unit_test(test_responses),
        cmocka_unit_test(test_end_of_connection), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
