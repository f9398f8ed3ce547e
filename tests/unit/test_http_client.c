/* test_http_client.c - the client on a real loop: against scripted sockets, our own server, and TLS
 * with certificates made on the spot. */
#include "client_rig.h"

#include <sys/un.h>

static void test_origins(void **state)
{
    static const struct {
        const char *url, *host, *authority, *base, *path;
        int port;
        bool tls, ok;
    } c[] = {
        {"https://api.x.com/v1", "api.x.com", "api.x.com", "/v1", "", 443, true, true},
        {"http://1.2.3.4:8000/v1/", "1.2.3.4", "1.2.3.4:8000", "/v1", "", 8000, false, true},
        {"HTTP://h", "h", "h", "", "", 80, false, true},
        {"https://[::1]:8443", "::1", "[::1]:8443", "", "", 8443, true, true},
        {"https://[::1]/", "::1", "[::1]", "", "", 443, true, true},
        {"unix:/run/a.sock", "", "localhost", "", "/run/a.sock", 0, false, true},
        {"unix:/run/a.sock:/v1/", "", "localhost", "/v1", "/run/a.sock", 0, false, true},
        {"ftp://h", .ok = false},
        {"https://u:p@h/", .ok = false},
        {"https://h/?a=b", .ok = false},
        {"https://h/#a", .ok = false},
        {"https://h:0/", .ok = false},
        {"https://h:99999/", .ok = false},
        {"https://h:x/", .ok = false},
        {"https://", .ok = false},
        {"https://a b/", .ok = false},
        {"https://a\r\nb/", .ok = false},
        {"https://[::1", .ok = false},
        {"unix:a.sock", .ok = false},
        {"", .ok = false},
    };
    for (size_t i = 0; i < COUNT_OF(c); i++) {
        struct http_origin o;
        struct err e;
        if (http_origin_parse(span_of(c[i].url), &o, &e) != c[i].ok)
            fail_msg("%s", c[i].url);
        if (!c[i].ok) {
            assert_int_equal(e.cls, ERR_CONFIG);
            continue;
        }
        assert_string_equal(o.host, c[i].host);
        assert_string_equal(o.authority, c[i].authority);
        assert_string_equal(o.base, c[i].base);
        assert_string_equal(o.unix_path, c[i].path);
        assert_int_equal(o.port, c[i].port);
        assert_int_equal(o.tls, c[i].tls);
    }
}

static void test_request_bytes(void **state)
{
    struct net n;
    char want[400];
    net_open(&n);
    struct http_header h[] = {{SPAN("authorization"), SPAN("Bearer k")}};
    struct http_call_spec spec = spec_of(&n);
    spec.headers = h;
    spec.n_headers = 1;
    int fd = begin(&n, &spec);
    snprintf(want, sizeof want,
             "POST /v1/chat HTTP/1.1\r\nhost: 127.0.0.1:%d\r\naccept-encoding: identity\r\n"
             "authorization: Bearer k\r\ncontent-length: 7\r\n\r\n{\"a\":1}",
             n.port);
    assert_true(span_eq(buf_span(&n.in), span_of(want)));
    raw_send(fd, SPAN(OK200 "content-length: 2\r\n\r\nhi"));
    PUMP(n.l, over(&n));
    assert_int_equal(n.log.n_ends, 1);
    assert_true(n.log.times.start_us > 0 && n.log.times.start_us <= n.log.times.connected_us &&
                n.log.times.connected_us <= n.log.times.sent_us &&
                n.log.times.sent_us <= n.log.times.first_byte_us);
    close(fd);
    /* what would split the head is refused */
    struct err e;
    h[0].value = SPAN("a\r\nb: c");
    assert_null(http_call_start(n.c, &spec, &ops, &n.log, &e));
    spec.n_headers = 0;
    spec.target = SPAN("/a b");
    assert_null(http_call_start(n.c, &spec, &ops, &n.log, &e));
    net_close(&n);
}

/* Each answer cut in two at every byte. */
static void test_answers_in_every_split(void **state)
{
    static const struct {
        const char *in, *body;
        int status;
        bool close, head;
    } c[] = {
        {OK200 "content-length: 5\r\n\r\nhello", "hello", 200, false, false},
        {OK200 "transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "hello", 200,
         false, false},
        {OK200 "\r\nhello", "hello", 200, true, false},
        {"HTTP/1.1 100 Continue\r\n\r\n" OK200 "content-length: 1\r\n\r\n!", "!", 200, false,
         false},
        {"HTTP/1.1 204 No Content\r\n\r\n", "", 204, false, false},
        {"HTTP/1.1 429 Slow\r\ncontent-length: 0\r\n\r\n", "", 429, false, false},
        {"HTTP/1.0 200 OK\r\n\r\nold", "old", 200, true, false},
        {OK200 "content-length: 500\r\n\r\n", "", 200, false, true},
    };
    struct net n;
    net_open(&n);
    for (size_t i = 0; i < COUNT_OF(c); i++) {
        int fd = -1;
        for (size_t cut = 0; cut < strlen(c[i].in); cut++) {
            struct http_call_spec spec = spec_of(&n);
            spec.method = c[i].head ? "HEAD" : "POST";
            log_clear(&n.log);
            buf_clear(&n.in);
            start(&n, &spec);
            if (fd < 0)
                fd = accept_one(&n);
            PUMP(n.l, (raw_read(fd, &n.in), has(&n.in, "{\"a\":1}")));
            raw_send(fd, span_upto(span_of(c[i].in), cut));
            loop_step(n.l);
            loop_step(n.l);
            raw_send(fd, span_from(span_of(c[i].in), cut));
            if (c[i].close) {
                close(fd);
                fd = -1;
            }
            PUMP(n.l, over(&n));
            if (n.log.n_ends != 1 || !span_eq(buf_span(&n.log.body), span_of(c[i].body)))
                fail_msg("answer %zu cut at %zu: %s", i, cut, n.log.e.msg);
            assert_int_equal(n.log.status, c[i].status);
            assert_int_equal(n.log.n_heads, 1);
        }
        close(fd);
        pump_for(n.l, 3);
    }
    net_close(&n);
}

static void test_bad_answers(void **state)
{
    static const struct {
        const char *in;
        enum err_class cls;
        enum err_sent sent;
    } c[] = {
        {"", ERR_CUT, SENT_MAYBE},
        {"HTTP/1.1 2", ERR_CUT, SENT_MAYBE},
        {OK200 "content-length: 9\r\n\r\n", ERR_CUT, SENT_MAYBE},
        {OK200 "content-length: 9\r\n\r\nabc", ERR_CUT, SENT_DELIVERED},
        {OK200 "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", ERR_CUT, SENT_DELIVERED},
        {OK200 "transfer-encoding: chunked\r\n\r\nzz", ERR_UPSTREAM, SENT_MAYBE},
        {"<html>captive</html>", ERR_UPSTREAM, SENT_MAYBE},
        {"HTTP/2.0 200 OK\r\n\r\n", ERR_UPSTREAM, SENT_MAYBE},
        {OK200 "content-encoding: gzip\r\ncontent-length: 1\r\n\r\nx", ERR_UPSTREAM, SENT_MAYBE},
        {OK200 "content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", ERR_UPSTREAM, SENT_MAYBE},
        {OK200 "content-length: 2000\r\n\r\n"
               "0123456789012345678901234567890123456789012345678901234567890123456789",
         ERR_LIMIT, SENT_DELIVERED},
    };
    for (int rst = 0; rst < 2; rst++)
        for (size_t i = 0; i < COUNT_OF(c); i++) {
            struct net n;
            net_open(&n);
            struct http_call_spec spec = spec_of(&n);
            spec.max_body = 64;
            int fd = begin(&n, &spec);
            raw_send(fd, span_of(c[i].in));
            pump_for(n.l, 2);
            if (rst)
                raw_reset(fd);
            else
                close(fd);
            PUMP(n.l, over(&n));
            if (n.log.n_errors != 1 || n.log.e.cls != c[i].cls || n.log.e.sent != c[i].sent)
                fail_msg("answer %zu rst %d: class %s sent %d: %s", i, rst,
                         err_class_name(n.log.e.cls), n.log.e.sent, n.log.e.msg);
            net_close(&n);
        }
}

static void test_keep_alive_and_stale(void **state)
{
    struct net n;
    net_open(&n);
    struct http_call_spec spec = spec_of(&n);
    int fd = begin(&n, &spec);
    raw_send(fd, SPAN(OK200 "content-length: 0\r\n\r\n"));
    PUMP(n.l, over(&n));
    assert_false(n.log.times.reused);
    log_clear(&n.log);
    buf_clear(&n.in);
    start(&n, &spec);
    PUMP(n.l, (raw_read(fd, &n.in), has(&n.in, "{\"a\":1}")));
    raw_send(fd, SPAN(OK200 "content-length: 0\r\n\r\n"));
    PUMP(n.l, over(&n));
    assert_true(n.log.times.reused);

    /* the peer closes in the moment of use: once more on a fresh connection, nobody notices; nor
     * when it does so behind the request's last byte */
    for (int way = 0; way < 4; way++) {
        log_clear(&n.log);
        buf_clear(&n.in);
        start(&n, &spec);
        if (way >= 2)
            PUMP(n.l, (raw_read(fd, &n.in), has(&n.in, "{\"a\":1}")));
        buf_clear(&n.in);
        if (way % 2)
            raw_reset(fd);
        else
            close(fd);
        fd = accept_one(&n);
        PUMP(n.l, (raw_read(fd, &n.in), has(&n.in, "{\"a\":1}")));
        raw_send(fd, SPAN(OK200 "content-length: 2\r\n\r\nok"));
        PUMP(n.l, over(&n));
        assert_int_equal(n.log.n_ends, 1);
        assert_false(n.log.times.reused);
        assert_true(span_eq(buf_span(&n.log.body), SPAN("ok")));
    }
    /* after a byte of the answer it is a cut */
    log_clear(&n.log);
    buf_clear(&n.in);
    start(&n, &spec);
    PUMP(n.l, (raw_read(fd, &n.in), has(&n.in, "{\"a\":1}")));
    raw_send(fd, SPAN("H"));
    pump_for(n.l, 2);
    close(fd);
    PUMP(n.l, over(&n));
    assert_int_equal(n.log.e.cls, ERR_CUT);

    /* an idle connection that the peer closes is dropped at once */
    log_clear(&n.log);
    buf_clear(&n.in);
    fd = begin(&n, &spec);
    raw_send(fd, SPAN(OK200 "content-length: 0\r\n\r\n"));
    PUMP(n.l, over(&n));
    close(fd);
    pump_for(n.l, 3);
    log_clear(&n.log);
    buf_clear(&n.in);
    fd = begin(&n, &spec);
    raw_send(fd, SPAN(OK200 "connection: close\r\ncontent-length: 0\r\n\r\n"));
    PUMP(n.l, over(&n));
    assert_false(n.log.times.reused);
    PUMP(n.l, raw_read(fd, &n.in));
    close(fd);
    /* bytes behind the answer: its framing is in doubt, no reuse */
    log_clear(&n.log);
    buf_clear(&n.in);
    fd = begin(&n, &spec);
    raw_send(fd, SPAN(OK200 "content-length: 0\r\n\r\nHTTP/1.1 200 Smuggled\r\n"));
    PUMP(n.l, over(&n));
    PUMP(n.l, raw_read(fd, &n.in));
    close(fd);
    net_close(&n);
}

static void test_idle_and_forget(void **state)
{
    struct net n;
    struct err e;
    net_open(&n);
    http_client_free(n.c);
    n.c = http_client_new(n.l, 4, 50000, &e);
    struct http_call_spec spec = spec_of(&n);
    int fd = begin(&n, &spec);
    raw_send(fd, SPAN(OK200 "content-length: 0\r\n\r\n"));
    PUMP(n.l, over(&n));
    int64_t t = clock_mono_us();
    PUMP(n.l, raw_read(fd, &n.in));
    assert_true(clock_mono_us() - t > 40000);
    close(fd);
    log_clear(&n.log);
    buf_clear(&n.in);
    fd = begin(&n, &spec);
    raw_send(fd, SPAN(OK200 "content-length: 0\r\n\r\n"));
    PUMP(n.l, over(&n));
    http_client_forget(n.c);
    poll(NULL, 0, 1);
    assert_true(raw_read(fd, &n.in));
    close(fd);
    net_close(&n);
}

static void test_timeouts(void **state)
{
    static const struct {
        struct http_timeouts t;
        const char *in;
        enum err_sent sent;
        const char *msg;
    } c[] = {
        {{.first_byte_us = 50000}, "", SENT_MAYBE, "first byte"},
        {{.idle_us = 50000}, OK200 "content-length: 9\r\n\r\nabc", SENT_DELIVERED, "further byte"},
        {{.total_us = 50000}, "", SENT_MAYBE, "total"},
        {{.total_us = 50000, .idle_us = 9000000},
         OK200 "content-length: 9\r\n\r\nabc",
         SENT_DELIVERED,
         "total"},
    };
    for (size_t i = 0; i < COUNT_OF(c); i++) {
        struct net n;
        net_open(&n);
        struct http_call_spec spec = spec_of(&n);
        spec.timeouts = c[i].t;
        int64_t t = clock_mono_us();
        int fd = begin(&n, &spec);
        raw_send(fd, span_of(c[i].in));
        PUMP(n.l, over(&n));
        assert_true(clock_mono_us() - t >= 49000);
        assert_int_equal(n.log.e.cls, ERR_TIMEOUT);
        assert_int_equal(n.log.e.sent, c[i].sent);
        assert_non_null(strstr(n.log.e.msg, c[i].msg));
        PUMP(n.l, raw_read(fd, &n.in));
        close(fd);
        net_close(&n);
    }
    /* TLS that never answers counts as connecting: nothing was sent */
    struct net n;
    struct err e;
    net_open(&n);
    AUTO(tls) t = tls_client_new(NULL, &e);
    struct http_call_spec spec = spec_of(&n);
    n.o.tls = true;
    spec.tls = t;
    spec.timeouts.connect_us = 50000;
    start(&n, &spec);
    PUMP(n.l, over(&n));
    assert_int_equal(n.log.e.cls, ERR_TIMEOUT);
    assert_int_equal(n.log.e.sent, SENT_NO);
    net_close(&n);
}

static void test_connect_fails(void **state)
{
    static const char *const urls[] = {
        "http://127.0.0.1:1",          "http://[::1]:1",      "unix:/nowhere/at/all.sock",
        "http://no-such-host.invalid", "https://127.0.0.1:1",
    };
    struct net n;
    struct err e;
    net_open(&n);
    AUTO(tls) t = tls_client_new(NULL, &e);
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        struct http_origin o;
        assert_true(http_origin_parse(span_of(urls[i]), &o, &e));
        struct http_call_spec spec = spec_of(&n);
        spec.origin = &o;
        spec.tls = t;
        log_clear(&n.log);
        start(&n, &spec);
        assert_int_equal(n.log.n_errors, 0);
        PUMP(n.l, over(&n));
        if (n.log.e.cls != ERR_CONNECT || n.log.e.sent != SENT_NO)
            fail_msg("%s: %s", urls[i], n.log.e.msg);
    }
    net_close(&n);
}

static void test_names(void **state)
{
    struct net n;
    struct err e;
    char url[64];
    net_open(&n);
    snprintf(url, sizeof url, "http://localhost:%d/v1", n.port);
    assert_true(http_origin_parse(span_of(url), &n.o, &e));
    struct http_call_spec spec = spec_of(&n);
    for (int i = 0; i < 2;
         i++) { /* the second comes from the cache; ::1 is refused first, if tried */
        log_clear(&n.log);
        buf_clear(&n.in);
        int fd = begin(&n, &spec);
        raw_send(fd, SPAN(OK200 "connection: close\r\ncontent-length: 0\r\n\r\n"));
        PUMP(n.l, over(&n));
        assert_int_equal(n.log.n_ends, 1);
        close(fd);
    }
    /* dropped while the look-up is running */
    snprintf(url, sizeof url, "http://other-name.invalid");
    assert_true(http_origin_parse(span_of(url), &n.o, &e));
    start(&n, &spec);
    loop_step(n.l);
    http_call_cancel(n.log.call);
    start(&n, &spec);
    loop_step(n.l);
    net_close(&n);
}

static void test_cancel_closes(void **state)
{
    enum { BEFORE, WAITING, STREAMING, IN_CALLBACK, PHASES };
    for (int phase = 0; phase < PHASES; phase++) {
        struct net n;
        net_open(&n);
        struct http_call_spec spec = spec_of(&n);
        if (phase == BEFORE) {
            start(&n, &spec);
            http_call_cancel(n.log.call);
            pump_for(n.l, 5);
            assert_int_equal(accept4(n.lfd, NULL, NULL, SOCK_NONBLOCK), -1);
            net_close(&n);
            continue;
        }
        int fd = begin(&n, &spec);
        if (phase >= STREAMING) {
            n.log.cancel = phase == IN_CALLBACK;
            raw_send(fd, SPAN(OK200 "transfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n"));
            PUMP(n.l, n.log.body.n > 0);
        }
        if (phase != IN_CALLBACK)
            http_call_cancel(n.log.call);
        /* without another turn of the loop */
        int64_t t = clock_mono_us();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 1000), 1);
        assert_true(raw_read(fd, &n.in));
        assert_true(clock_mono_us() - t < 100000);
        pump_for(n.l, 3);
        assert_int_equal(n.log.n_ends + n.log.n_errors, 0);
        if (phase == IN_CALLBACK)
            assert_true(span_eq(buf_span(&n.log.body), SPAN("a")));
        close(fd);
        net_close(&n);
    }
}

static void test_pause(void **state)
{
    struct net n;
    net_open(&n);
    struct http_call_spec spec = spec_of(&n);
    spec.timeouts = (struct http_timeouts){.first_byte_us = 80000, .idle_us = 80000};
    n.log.pause = true;
    int fd = begin(&n, &spec);
    raw_send(fd, SPAN(OK200
                      "transfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"));
    PUMP(n.l, n.log.n_heads == 1);
    for (size_t i = 0; i <= 3; i++) { /* each callback pauses: one piece per resume */
        pump_for(n.l, i == 0 ? 120 : 3);
        assert_int_equal(n.log.body.n, i);
        assert_false(over(&n));
        http_call_resume(n.log.call);
        assert_int_equal(n.log.body.n, i);
        if (i < 3)
            PUMP(n.l, n.log.body.n == i + 1);
    }
    PUMP(n.l, over(&n));
    assert_int_equal(n.log.n_ends, 1);
    /* nothing left over but the end */
    log_clear(&n.log);
    buf_clear(&n.in);
    n.log.pause = true;
    start(&n, &spec);
    PUMP(n.l, (raw_read(fd, &n.in), has(&n.in, "{\"a\":1}")));
    raw_send(fd, SPAN(OK200 "content-length: 0\r\n\r\n"));
    PUMP(n.l, n.log.n_heads == 1);
    pump_for(n.l, 3);
    assert_false(over(&n));
    http_call_resume(n.log.call);
    PUMP(n.l, n.log.n_ends == 1);
    /* paused, the peer ends: told after resume, with all its bytes before it */
    log_clear(&n.log);
    buf_clear(&n.in);
    n.log.pause = true;
    start(&n, &spec);
    PUMP(n.l, (raw_read(fd, &n.in), has(&n.in, "{\"a\":1}")));
    raw_send(fd, SPAN(OK200 "content-length: 9\r\n\r\n"));
    PUMP(n.l, n.log.n_heads == 1);
    raw_send(fd, SPAN("abc"));
    close(fd);
    pump_for(n.l, 20);
    assert_false(over(&n));
    n.log.pause = false;
    http_call_resume(n.log.call);
    PUMP(n.l, over(&n));
    assert_int_equal(n.log.e.cls, ERR_CUT);
    assert_true(span_eq(buf_span(&n.log.body), SPAN("abc")));
    net_close(&n);
}

static void test_early_answer_to_big_body(void **state)
{
    struct net n;
    net_open(&n);
    struct http_call_spec spec = spec_of(&n);
    char *mb = mem_zalloc(MIB(8));
    spec.body = span_make(mb, MIB(8));
    start(&n, &spec);
    int fd = accept_one(&n);
    PUMP(n.l, (raw_read(fd, &n.in), n.in.n > 1000));
    raw_send(fd, SPAN("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno"));
    PUMP(n.l, over(&n));
    assert_int_equal(n.log.n_ends, 1);
    assert_int_equal(n.log.status, 413);
    close(fd);
    /* and a whole one */
    log_clear(&n.log);
    buf_clear(&n.in);
    start(&n, &spec);
    fd = accept_one(&n);
    PUMP(n.l, (raw_read(fd, &n.in), n.in.n > MIB(8)));
    raw_send(fd, SPAN(OK200 "content-length: 0\r\n\r\n"));
    PUMP(n.l, n.log.n_ends == 1);
    close(fd);
    mem_free(mb);
    net_close(&n);
}

/* --- against our own server, over TCP, a Unix socket and TLS ---------------------------------- */
static void test_unix_socket(void **state)
{
    struct net n;
    struct err e;
    char path[64], url[80];
    net_open(&n);
    snprintf(path, sizeof path, "/tmp/fusor-client-%d.sock", (int)getpid());
    snprintf(url, sizeof url, "unix:%s:/v1", path);
    assert_true(http_origin_parse(span_of(url), &n.o, &e));
    int fd = http_listen_unix(path, &e);
    assert_true(fd >= 0);
    struct http_server *s = http_server_new(n.l, &echo_handler, NULL, &echo_config, &e);
    assert_true(http_server_listen(s, fd, NULL, true, &e));
    struct http_call_spec spec = spec_of(&n);
    call_ok(&n, &spec, SPAN("local"));
    call_ok(&n, &spec, SPAN("local"));
    assert_true(n.log.times.reused);
    http_server_free(s);
    close(fd);
    unlink(path);
    net_close(&n);
}

static void test_tls(void **state)
{
    static const struct {
        const char *host;
        bool known_ca;
        const char *error; /* NULL: works */
    } c[] = {
        {"localhost", true, NULL},
        {"127.0.0.1", true, NULL},
        {"localhost", false, "self-signed certificate"},
        {"127.0.0.2", true, "mismatch"},
    };
    char cert[64], key[64], url[80];
    struct net n;
    struct err e;
    net_open(&n);
    snprintf(cert, sizeof cert, "/tmp/fusor-cert-%d.pem", (int)getpid());
    snprintf(key, sizeof key, "/tmp/fusor-key-%d.pem", (int)getpid());
    make_cert(cert, key, "DNS:localhost,IP:127.0.0.1");
    AUTO(tls) server_tls = tls_server_new(cert, key, &e);
    AUTO(tls) knows = tls_client_new(cert, &e);
    AUTO(tls) knows_not = tls_client_new(NULL, &e);
    assert_non_null(server_tls);
    assert_non_null(knows);
    assert_null(tls_server_new("/nowhere.pem", key, &e));
    assert_non_null(strstr(e.msg, "/nowhere.pem"));
    assert_null(tls_client_new(key, &e));
    struct http_server *s = http_server_new(n.l, &echo_handler, NULL, &echo_config, &e);
    close(n.lfd);
    n.lfd = http_listen_tcp("0.0.0.0", 0, &n.port, &e);
    assert_true(http_server_listen(s, n.lfd, server_tls, false, &e));
    char *mb = mem_alloc(MIB(5));
    for (size_t i = 0; i < MIB(5); i++)
        mb[i] = (char)(i * 11 >> 3);
    for (size_t i = 0; i < COUNT_OF(c); i++) {
        snprintf(url, sizeof url, "https://%s:%d/v1", c[i].host, n.port);
        assert_true(http_origin_parse(span_of(url), &n.o, &e));
        struct http_call_spec spec = spec_of(&n);
        spec.tls = c[i].known_ca ? knows : knows_not;
        if (c[i].error == NULL) {
            call_ok(&n, &spec, spec.body);
            spec.body = span_make(mb, MIB(5));
            call_ok(&n, &spec, spec.body);
            assert_true(n.log.times.reused);
            continue;
        }
        log_clear(&n.log);
        start(&n, &spec);
        PUMP(n.l, over(&n));
        assert_int_equal(n.log.e.cls, ERR_CONNECT);
        assert_int_equal(n.log.e.sent, SENT_NO);
        if (strstr(n.log.e.msg, c[i].error) == NULL)
            fail_msg("%s", n.log.e.msg);
    }
    /* plain bytes at a TLS port */
    snprintf(url, sizeof url, "http://127.0.0.1:%d", n.port);
    assert_true(http_origin_parse(span_of(url), &n.o, &e));
    struct http_call_spec spec = spec_of(&n);
    log_clear(&n.log);
    start(&n, &spec);
    PUMP(n.l, over(&n));
    assert_int_equal(n.log.n_errors, 1);
    http_server_free(s);
    unlink(cert);
    unlink(key);
    mem_free(mb);
    net_close(&n);
}

static void test_memory_runs_out(void **state)
{
    for (unsigned long at = 1; at < 60; at++) {
        struct net n;
        struct err e;
        net_open(&n);
        struct http_server *s = http_server_new(n.l, &echo_handler, NULL, &echo_config, &e);
        assert_true(http_server_listen(s, n.lfd, NULL, false, &e));
        struct http_call_spec spec = spec_of(&n);
        char *warm;
        assert_true(buf_room(&n.log.body, 1000, &warm, &e));
        mem_fail_at(at);
        n.log.call = http_call_start(n.c, &spec, &ops, &n.log, &e);
        if (n.log.call == NULL)
            assert_int_equal(e.cls, ERR_NOMEM);
        else
            PUMP(n.l, over(&n));
        bool hit = mem_failed();
        mem_fail_at(0);
        if (!hit)
            assert_int_equal(n.log.n_ends, 1);
        http_server_free(s);
        net_close(&n);
        if (!hit)
            return;
    }
    fail_msg("the failures never end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_request_bytes),
        cmocka_unit_test(test_answers_in_every_split),
        cmocka_unit_test(test_bad_answers),
        cmocka_unit_test(test_keep_alive_and_stale),
        cmocka_unit_test(test_idle_and_forget),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_connect_fails),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_cancel_closes),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_early_answer_to_big_body),
        cmocka_unit_test(test_unix_socket),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
