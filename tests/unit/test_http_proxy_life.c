/* test_http_proxy_life.c - calls through a proxy: timers, cancel in every phase, pause, which
 * connections are kept for whom, lack of memory. */
#include "proxy_rig.h"

/* --- timers, cancel
 * ------------------------------------------------------------------------------- */
static void test_timeouts(void **state)
{
    static const struct {
        struct http_timeouts t;
        const char *said, *msg;
    } c[] = {
        {{.connect_us = 50000}, "", "CONNECT was not answered in time"},
        {{.connect_us = 50000}, "HTTP/1.1 200 OK\r\na: b", "CONNECT was not answered in time"},
        {{.total_us = 50000}, "", "the total time is over"},
        {{.connect_us = 50000},
         "HTTP/1.1 200 OK\r\n\r\n",
         TARGET ":8443 through the proxy 127.0.0.1:"},
    };
    for (size_t i = 0; i < COUNT_OF(c); i++) {
        struct rig r;
        rig_open(&r);
        r.spec.timeouts = c[i].t;
        int64_t t = clock_mono_us();
        ask(&r);
        raw_send(r.c.fd, span_of(c[i].said));
        expect_error(&r, ERR_TIMEOUT, c[i].msg);
        assert_true(clock_mono_us() - t >= 49000);
        bool of_proxy = strncmp(r.n.log.e.msg, "proxy 127.0.0.1:", 16) == 0;
        assert_int_equal(of_proxy, i < 3);
        rig_close(&r);
    }
}

static void test_cancel_in_every_phase(void **state)
{
    enum { BEFORE, RESOLVING, ASKED, SHAKING, OPEN, PHASES };
    for (int phase = 0; phase < PHASES; phase++) {
        struct rig r;
        rig_open(&r);
        if (phase <= RESOLVING) {
            if (phase == RESOLVING)
                set_proxy(&r, "http://another-name.invalid:3128");
            start(&r.n, &r.spec);
            if (phase == RESOLVING)
                loop_step(r.n.l);
            http_call_cancel(r.n.log.call);
            pump_for(r.n.l, 5);
            assert_int_equal(accept_now(&r), -1);
            rig_close(&r);
            continue;
        }
        ask(&r);
        buf_clear(&r.n.in);
        if (phase == SHAKING) {
            raw_send(r.c.fd, SPAN("HTTP/1.1 200 OK\r\n\r\n"));
            PUMP(r.n.l, hello_came(&r));
        } else if (phase == OPEN) {
            char *mb = mem_zalloc(MIB(8)); /* so much that it cannot be over */
            r.spec.body = span_make(mb, MIB(8));
            http_call_cancel(r.n.log.call);
            hang_up(&r);
            ask(&r);
            let_through(&r);
            PUMP(r.n.l, (carry(&r.c), http_call_times_of(r.n.log.call)->connected_us > 0));
            http_call_cancel(r.n.log.call);
            mem_free(mb);
        }
        if (phase != OPEN)
            http_call_cancel(r.n.log.call);
        /* closed before another turn of the loop */
        for (int64_t end = clock_mono_us() + 1000000; !raw_read(r.c.fd, &r.n.in);)
            assert_true(clock_mono_us() < end);
        pump_for(r.n.l, 3);
        assert_int_equal(r.n.log.n_ends + r.n.log.n_errors, 0);
        rig_close(&r);
    }
}

/* A pause before the answer does not stop the way. */
static void test_pause_on_the_way(void **state)
{
    struct rig r;
    rig_open(&r);
    log_clear(&r.n.log);
    start(&r.n, &r.spec);
    http_call_pause(r.n.log.call);
    r.c.fd = accept_one(&r.n);
    PUMP(r.n.l, (raw_read(r.c.fd, &r.n.in), has(&r.n.in, "\r\n\r\n")));
    let_through(&r);
    PUMP(r.n.l, (carry(&r.c), http_call_times_of(r.n.log.call)->sent_us > 0));
    for (int i = 0; i < 20; i++) {
        carry(&r.c);
        pump_for(r.n.l, 1);
    }
    assert_false(over(&r.n));
    http_call_resume(r.n.log.call);
    expect_echo(&r);
    rig_close(&r);
}

/* --- pools
 * ------------------------------------------------------------------------------------------ */
/* Whether the call went over a connection that was there; its answer keeps it. */
static bool reuses(struct rig *r, int *fds, size_t *n_fds)
{
    log_clear(&r->n.log);
    start(&r->n, &r->spec);
    int64_t end = clock_mono_us() + 5000000;
    for (size_t before = *n_fds;;) {
        loop_step(r->n.l);
        int fd = accept_now(r);
        if (fd >= 0)
            fds[(*n_fds)++] = fd;
        for (size_t i = 0; i < *n_fds; i++) {
            buf_clear(&r->n.in);
            raw_read(fds[i], &r->n.in);
            if (!has(&r->n.in, "{\"a\":1}"))
                continue;
            raw_send(fds[i], SPAN(OK200 "content-length: 0\r\n\r\n"));
            PUMP(r->n.l, over(&r->n));
            assert_int_equal(r->n.log.n_ends, 1);
            assert_int_equal(r->n.log.times.reused, *n_fds == before);
            return *n_fds == before;
        }
        assert_true(clock_mono_us() < end);
    }
}

static void test_ways_do_not_mix(void **state)
{
    struct rig r;
    char origin[64], other_proxy[64];
    int fds[16];
    size_t n = 0;
    rig_open(&r);
    AUTO(secret) a = secret_new(SPAN("a:1"));
    AUTO(secret) same = secret_new(SPAN("a:1"));
    AUTO(secret) b = secret_new(SPAN("b:1"));
    snprintf(origin, sizeof origin, "http://127.0.0.1:%d/v1", r.n.port);
    snprintf(other_proxy, sizeof other_proxy, "http://localhost:%d", r.n.port);
    set_origin(&r, origin); /* the same socket plays proxy and origin */
    assert_false(reuses(&r, fds, &n));
    assert_true(reuses(&r, fds, &n));
    r.spec.proxy = NULL;
    assert_false(reuses(&r, fds, &n));
    assert_true(reuses(&r, fds, &n));
    r.spec.proxy = &r.proxy;
    r.spec.proxy_auth = a;
    assert_false(reuses(&r, fds, &n));
    r.spec.proxy_auth = same;
    assert_true(reuses(&r, fds, &n));
    r.spec.proxy_auth = b;
    assert_false(reuses(&r, fds, &n));
    r.spec.proxy_auth = NULL;
    assert_true(reuses(&r, fds, &n));
    set_proxy(&r, other_proxy);
    assert_false(reuses(&r, fds, &n));
    set_origin(&r, "http://" TARGET "/v1");
    assert_false(reuses(&r, fds, &n));
    set_origin(&r, origin);
    assert_true(reuses(&r, fds, &n));
    http_client_forget(r.n.c);
    assert_false(reuses(&r, fds, &n));
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
    rig_close(&r);
}

/* A kept tunnel is for its origin alone. */
static void test_tunnels_do_not_mix(void **state)
{
    struct rig r;
    rig_open(&r);
    ask(&r);
    let_through(&r);
    expect_echo(&r);
    set_origin(&r, "https://" TARGET ":9/v1");
    log_clear(&r.n.log);
    start(&r.n, &r.spec);
    int fd = accept_one(&r.n);
    PUMP(r.n.l, (raw_read(fd, &r.n.in), has(&r.n.in, "CONNECT " TARGET ":9 ")));
    http_call_cancel(r.n.log.call);
    close(fd);
    rig_close(&r);
}

static void test_no_such_proxies(void **state)
{
    static const struct {
        const char *origin, *proxy;
    } c[] = {{"unix:/run/a.sock", "http://127.0.0.1:3128"},
             {"http://" TARGET, "unix:/run/a.sock"},
             {"https://" TARGET, "https://127.0.0.1:3128"}};
    struct rig r;
    struct err e;
    rig_open(&r);
    for (size_t i = 0; i < COUNT_OF(c); i++) {
        set_origin(&r, c[i].origin);
        set_proxy(&r, c[i].proxy);
        assert_null(http_call_start(r.n.c, &r.spec, &ops, &r.n.log, &e));
        assert_int_equal(e.cls, ERR_STATE);
    }
    rig_close(&r);
}

static void serve_one(struct rig *r)
{
    if (r->c.fd < 0)
        r->c.fd = accept_now(r);
    else if (r->c.out >= 0 && !carry(&r->c))
        hang_up(r); /* the origin had no memory */
    else if (r->c.out < 0 && (raw_read(r->c.fd, &r->n.in), has(&r->n.in, "\r\n\r\n")))
        let_through(r);
}

static void test_memory_runs_out(void **state)
{
    for (unsigned long at = 1; at < 60; at++) {
        struct rig r;
        struct err e;
        char *warm;
        rig_open(&r);
        AUTO(secret) auth = secret_new(SPAN("u:p"));
        r.spec.proxy_auth = auth;
        assert_true(buf_room(&r.n.log.body, 1000, &warm, &e));
        assert_true(buf_room(&r.n.in, KIB(1), &warm, &e));
        assert_true(buf_room(&r.c.up, KIB(64), &warm, &e));
        assert_true(buf_room(&r.c.down, KIB(64), &warm, &e));
        mem_fail_at(at);
        r.n.log.call = http_call_start(r.n.c, &r.spec, &ops, &r.n.log, &e);
        if (r.n.log.call == NULL)
            assert_int_equal(e.cls, ERR_NOMEM);
        else
            PUMP(r.n.l, (serve_one(&r), over(&r.n)));
        bool hit = mem_failed();
        mem_fail_at(0);
        if (!hit)
            assert_int_equal(r.n.log.n_ends, 1);
        rig_close(&r);
        if (!hit)
            return;
    }
    fail_msg("the failures never end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timeouts),           cmocka_unit_test(test_cancel_in_every_phase),
        cmocka_unit_test(test_pause_on_the_way),   cmocka_unit_test(test_ways_do_not_mix),
        cmocka_unit_test(test_tunnels_do_not_mix), cmocka_unit_test(test_no_such_proxies),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, make_files, drop_files);
}
