/* test_http_proxy.c - what is said to a proxy, tunnels, and proxies that say no or nonsense. */
#include "proxy_rig.h"

/* --- what is said to the proxy ------------------------------------------------------------------
 */
static void test_basic(void **state)
{
    static const struct {
        const char *in, *out;
    } c[] = {/* RFC 7617, 2; RFC 4648, 10 */
             {"Aladdin:open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
             {"", "Basic "},
             {"f", "Basic Zg=="},
             {"fo", "Basic Zm8="},
             {"foo", "Basic Zm9v"},
             {"foobar", "Basic Zm9vYmFy"},
             {"\xff\xfe\xfd\xc2\xa3", "Basic //79wqM="}};
    for (size_t i = 0; i < COUNT_OF(c); i++) {
        struct buf b;
        struct err e;
        buf_init(&b, 64);
        assert_true(http_basic(&b, span_of(c[i].in), &e));
        assert_true(span_eq(buf_span(&b), span_of(c[i].out)));
        buf_done(&b);
        buf_init(&b, 10);
        assert_int_equal(http_basic(&b, span_of(c[i].in), &e), strlen(c[i].out) <= 10);
        buf_done(&b);
    }
}

static void test_connect_bytes(void **state)
{
    static const struct {
        const char *url, *target;
    } c[] = {{"https://" TARGET ":8443/v1", TARGET ":8443"},
             {"https://" TARGET, TARGET ":443"},
             {"https://[2001:db8::1]/v1", "[2001:db8::1]:443"},
             {"https://192.0.2.1:1/v1", "192.0.2.1:1"}};
    struct rig r;
    char want[300];
    rig_open(&r);
    AUTO(secret) auth = secret_new(SPAN("u:p w"));
    for (size_t i = 0; i < COUNT_OF(c); i++)
        for (int with = 0; with < 2; with++) {
            set_origin(&r, c[i].url);
            r.spec.proxy_auth = with ? auth : NULL;
            ask(&r);
            pump_for(r.n.l, 2);
            raw_read(r.c.fd, &r.n.in);
            snprintf(want, sizeof want, "CONNECT %s HTTP/1.1\r\nhost: %s\r\n%s\r\n", c[i].target,
                     c[i].target, with ? "proxy-authorization: Basic dTpwIHc=\r\n" : "");
            assert_true(span_eq(buf_span(&r.n.in), span_of(want)));
            http_call_cancel(r.n.log.call);
            hang_up(&r);
        }
    rig_close(&r);
}

static void test_whole_url(void **state)
{
    static const struct {
        const char *url, *target, *line, *host;
    } c[] = {{"http://" TARGET ":8000/v1", "/chat?a=1", "http://" TARGET ":8000/v1/chat?a=1",
              TARGET ":8000"},
             {"http://" TARGET, "", "http://" TARGET "/", TARGET},
             {"http://[::1]:8000", "/x", "http://[::1]:8000/x", "[::1]:8000"}};
    struct rig r;
    char want[400];
    rig_open(&r);
    AUTO(secret) auth = secret_new(SPAN("u:p w"));
    for (size_t i = 0; i < COUNT_OF(c); i++)
        for (int with = 0; with < 2; with++) {
            set_origin(&r, c[i].url);
            r.spec.proxy_auth = with ? auth : NULL;
            r.spec.target = span_of(c[i].target);
            ask(&r);
            PUMP(r.n.l, (raw_read(r.c.fd, &r.n.in), has(&r.n.in, "{\"a\":1}")));
            snprintf(want, sizeof want,
                     "POST %s HTTP/1.1\r\nhost: %s\r\naccept-encoding: identity\r\n%s"
                     "content-length: 7\r\n\r\n{\"a\":1}",
                     c[i].line, c[i].host, with ? "proxy-authorization: Basic dTpwIHc=\r\n" : "");
            assert_true(span_eq(buf_span(&r.n.in), span_of(want)));
            raw_send(r.c.fd, SPAN(OK200 "content-length: 2\r\n\r\nok"));
            PUMP(r.n.l, over(&r.n));
            assert_true(span_eq(buf_span(&r.n.log.body), SPAN("ok")));
            http_client_forget(r.n.c);
            hang_up(&r);
        }
    rig_close(&r);
}

/* Its 407 is the proxy's word; any other status may as well be the origin's. */
static void test_whole_url_refused(void **state)
{
    struct rig r;
    rig_open(&r);
    set_origin(&r, "http://" TARGET "/v1");
    ask(&r);
    raw_send(r.c.fd, SPAN("HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n"));
    expect_error(&r, ERR_CONNECT, "asks for a user and a password (status 407)");
    assert_memory_equal(r.n.log.e.msg, "proxy 127.0.0.1:", 16);
    assert_int_equal(r.n.log.n_heads, 0);
    hang_up(&r);
    ask(&r);
    raw_send(r.c.fd, SPAN("HTTP/1.1 504 No\r\ncontent-length: 0\r\n\r\n"));
    PUMP(r.n.l, over(&r.n));
    assert_int_equal(r.n.log.status, 504);
    rig_close(&r);
}

/* --- the tunnel ---------------------------------------------------------------------------------
 */
static void test_tunnel(void **state)
{
    struct rig r;
    rig_open(&r);
    ask(&r);
    assert_int_equal(http_call_times_of(r.n.log.call)->connected_us, 0);
    let_through(&r);
    expect_echo(&r);
    assert_false(r.n.log.times.reused);
    /* again on the same one, with more than fits into any buffer */
    char *mb = mem_alloc(MIB(3));
    for (size_t i = 0; i < MIB(3); i++)
        mb[i] = (char)(i * 11 >> 3);
    r.spec.body = span_make(mb, MIB(3));
    log_clear(&r.n.log);
    start(&r.n, &r.spec);
    expect_echo(&r);
    assert_true(r.n.log.times.reused);
    assert_int_equal(accept_now(&r), -1);
    /* the proxy drops it in the moment of use: once more, through a new one */
    r.spec.body = SPAN("{\"a\":1}");
    log_clear(&r.n.log);
    start(&r.n, &r.spec);
    hang_up(&r);
    r.c.fd = accept_one(&r.n);
    PUMP(r.n.l, (raw_read(r.c.fd, &r.n.in), has(&r.n.in, "\r\n\r\n")));
    let_through(&r);
    expect_echo(&r);
    assert_false(r.n.log.times.reused);
    rig_close(&r);
    mem_free(mb);
}

/* TLS is with the origin: neither the proxy's word nor its name counts. */
static void test_whom_tls_is_with(void **state)
{
    struct rig r;
    rig_open(&r);
    r.spec.tls = r.knows_not;
    ask(&r);
    let_through(&r);
    expect_error(&r, ERR_CONNECT, "self-signed certificate");
    assert_memory_equal(r.n.log.e.msg, TARGET ":8443 through the proxy 127.0.0.1:",
                        strlen(TARGET ":8443 through the proxy 127.0.0.1:"));
    hang_up(&r);
    r.spec.tls = r.knows;
    set_origin(&r, "https://other.invalid/v1");
    ask(&r);
    let_through(&r);
    expect_error(&r, ERR_CONNECT, "mismatch");
    hang_up(&r);
    /* words of the proxy's own in the handshake */
    ask(&r);
    raw_send(r.c.fd, SPAN("HTTP/1.1 200 OK\r\n\r\n"));
    buf_clear(&r.n.in);
    PUMP(r.n.l, hello_came(&r));
    raw_send(r.c.fd, SPAN("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"));
    expect_error(&r, ERR_CONNECT, "other.invalid through the proxy 127.0.0.1:");
    hang_up(&r);
    ask(&r);
    raw_send(r.c.fd, SPAN("HTTP/1.1 200 OK\r\n\r\n"));
    PUMP(r.n.l, (pump_for(r.n.l, 2), true));
    hang_up(&r);
    expect_error(&r, ERR_CONNECT, "other.invalid through the proxy 127.0.0.1:");
    rig_close(&r);
}

static void test_answers_in_every_split(void **state)
{
    static const char *const good[] = {
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\nproxy-agent: x/1\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
        "HTTP/1.1 201 \r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    };
    struct rig r;
    rig_open(&r);
    for (size_t i = 0; i < COUNT_OF(good); i++)
        for (size_t cut = 1; cut <= strlen(good[i]); cut++) {
            struct span all = span_of(good[i]);
            ask(&r);
            buf_clear(&r.n.in);
            raw_send(r.c.fd, span_upto(all, cut));
            loop_step(r.n.l);
            loop_step(r.n.l);
            raw_read(r.c.fd, &r.n.in);
            if (cut < all.n)
                assert_int_equal(r.n.in.n, 0); /* nothing more before the answer is whole */
            raw_send(r.c.fd, span_from(all, cut));
            PUMP(r.n.l, hello_came(&r));
            http_call_cancel(r.n.log.call);
            hang_up(&r);
        }
    rig_close(&r);
}

/* --- the proxy says no, or nonsense ----------------------------------------------------------- */
#define FIELDS_20                                                                                  \
    "a: 1\r\na: 1\r\na: 1\r\na: 1\r\na: 1\r\na: 1\r\na: 1\r\na: 1\r\na: 1\r\na: 1\r\n"             \
    "a: 1\r\na: 1\r\na: 1\r\na: 1\r\na: 1\r\na: 1\r\na: 1\r\na: 1\r\na: 1\r\na: 1\r\n"

static const struct {
    const char *in, *msg;
    bool auth;
} refusals[] = {
    {"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\nbody",
     "it asks for a user and a password (status 407): give it `proxy_auth`", false},
    {"HTTP/1.1 407 \r\ncontent-length: 0\r\n\r\n", "does not accept the user and password", true},
    {"HTTP/1.1 403 Forbidden\r\ncontent-length: 3\r\n\r\nno!",
     "it refuses the way to target.invalid:8443 (status 403)", false},
    {"HTTP/1.1 301 Moved\r\nlocation: http://x/\r\n\r\n", "refuses the way", false},
    {"HTTP/1.1 502 Bad Gateway\r\n\r\n", "it cannot reach target.invalid:8443 (status 502)", false},
    {"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n", "is no HTTP proxy", false},
    {"SSH-2.0-OpenSSH_9\r\n", "is no HTTP proxy", false},
    {"<html>", "is no HTTP proxy", false},
    {"\x16\x03\x03\x05\x39\x02", "is no HTTP proxy", false},
    {"HTTP/2.0 200 OK\r\n\r\n", "is no HTTP proxy", false},
    {"HTTP/1.1 200 OK\r\na b\r\n\r\n", "is no HTTP proxy", false},
    {"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
     "is no HTTP proxy", false},
    {"HTTP/1.1 200 OK\r\n" FIELDS_20 FIELDS_20 FIELDS_20 FIELDS_20 FIELDS_20 "a: 1\r\n\r\n",
     "more than 100 header fields", false},
    {"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x03", "3 bytes of its own into the tunnel", false},
    {"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", "2 bytes of its own", false},
    {"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "bytes of its own", false},
};

static void test_refusals(void **state)
{
    struct rig r;
    rig_open(&r);
    AUTO(secret) auth = secret_new(SPAN("u:p"));
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        r.spec.proxy_auth = refusals[i].auth ? auth : NULL;
        ask(&r);
        raw_send(r.c.fd, span_of(refusals[i].in));
        expect_error(&r, ERR_CONNECT, refusals[i].msg);
        assert_memory_equal(r.n.log.e.msg, "proxy 127.0.0.1:", 16);
        assert_string_equal(r.n.log.e.code, "upstream_unreachable");
        assert_int_equal(r.n.log.e.upstream_status, 0);
        PUMP(r.n.l, raw_read(r.c.fd, &r.n.in)); /* the connection is given up */
        assert_int_equal(accept_now(&r), -1);
        hang_up(&r);
    }
    rig_close(&r);
}

static void test_endless_heads(void **state)
{
    static const char *const pieces[] = {"HTTP/1.1 100 Continue\r\n\r\n", "x", "\r\n"};
    struct rig r;
    rig_open(&r);
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        ask(&r);
        if (i == 1)
            raw_send(r.c.fd, SPAN("HTTP/1.1 200 OK\r\na: "));
        for (size_t sent = 0; sent < KIB(40) && !over(&r.n); sent += strlen(pieces[i]))
            send(r.c.fd, pieces[i], strlen(pieces[i]), MSG_NOSIGNAL | MSG_DONTWAIT);
        expect_error(&r, ERR_CONNECT, "larger than 32 KiB");
        hang_up(&r);
    }
    rig_close(&r);
}

static void test_proxy_ends(void **state)
{
    static const char *const said[] = {"", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\na: b\r\n"};
    for (int rst = 0; rst < 2; rst++)
        for (size_t i = 0; i < COUNT_OF(said); i++) {
            struct rig r;
            rig_open(&r);
            ask(&r);
            raw_send(r.c.fd, span_of(said[i]));
            pump_for(r.n.l, 2);
            if (rst)
                raw_reset(r.c.fd);
            else
                close(r.c.fd);
            r.c.fd = -1;
            expect_error(&r, ERR_CONNECT, rst ? "reset" : "before CONNECT was answered");
            assert_memory_equal(r.n.log.e.msg, "proxy 127.0.0.1:", 16);
            rig_close(&r);
        }
}

static void test_no_proxy_there(void **state)
{
    static const struct {
        const char *proxy, *msg;
    } c[] = {{"http://127.0.0.1:1", "proxy 127.0.0.1:1: http: cannot connect"},
             {"http://[::1]:1", "proxy [::1]:1: http: cannot connect"},
             {"http://no-such-proxy.invalid:3128",
              "proxy no-such-proxy.invalid:3128: http: cannot find the address of no-such-proxy"}};
    static const char *const origins[] = {"https://" TARGET "/v1", "http://" TARGET "/v1"};
    struct rig r;
    rig_open(&r);
    for (size_t i = 0; i < COUNT_OF(c) * 2; i++) {
        set_proxy(&r, c[i / 2].proxy);
        set_origin(&r, origins[i % 2]);
        log_clear(&r.n.log);
        start(&r.n, &r.spec);
        expect_error(&r, ERR_CONNECT, c[i / 2].msg);
    }
    rig_close(&r);
}

/* A proxy of several addresses: the next one is tried when a connection fails, not when it says no.
 */
static void test_proxy_by_name(void **state)
{
    struct rig r;
    char url[64];
    rig_open(&r);
    snprintf(url, sizeof url, "http://localhost:%d", r.n.port);
    set_proxy(&r, url);
    ask(&r);
    let_through(&r);
    expect_echo(&r);
    hang_up(&r);
    pump_for(r.n.l, 2);
    ask(&r);
    raw_send(r.c.fd, SPAN("HTTP/1.1 403 No\r\n\r\n"));
    expect_error(&r, ERR_CONNECT, "proxy localhost:");
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_basic),
        cmocka_unit_test(test_connect_bytes),
        cmocka_unit_test(test_whole_url),
        cmocka_unit_test(test_whole_url_refused),
        cmocka_unit_test(test_tunnel),
        cmocka_unit_test(test_whom_tls_is_with),
        cmocka_unit_test(test_answers_in_every_split),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_endless_heads),
        cmocka_unit_test(test_proxy_ends),
        cmocka_unit_test(test_no_proxy_there),
        cmocka_unit_test(test_proxy_by_name),
    };
    return cmocka_run_group_tests(tests, make_files, drop_files);
}
