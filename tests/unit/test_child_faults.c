/* test_child_faults.c - local model servers that do not start, crash, or no longer answer, as their
 * users see it; and lack of memory. */
#include "child_rig.h"

/* --- starts that fail ------------------------------------------------------------------------- */

static const struct failing {
    const char *name, *fields;
    enum err_class cls;
    const char *has[4];
} failing[] = {
    {"exit",
     "command: [@, \"say=first line\", \"say=no such\\x1b[1mmodel\", die=7]",
     ERR_UNAVAILABLE,
     {"lab: its server ended with exit code 7 before it was ready", "first line | no such",
      "\\x1B"}},
    {"quiet",
     "command: [@, die=0]",
     ERR_UNAVAILABLE,
     {"lab: its server ended with exit code 0 before it was ready"}},
    {"signal",
     "command: [@, signal=9]",
     ERR_UNAVAILABLE,
     {"lab: its server was ended by signal 9 (Killed) before it was ready"}},
    {"no program",
     "command: [/nowhere/llama-server, \"{port}\"]",
     ERR_CONFIG,
     {"lab: cannot run \"/nowhere/llama-server\": No such file or directory"}},
    {"not in PATH",
     "command: [no-such-llama-server, \"{port}\"]",
     ERR_CONFIG,
     {"lab: cannot run \"no-such-llama-server\": No such file or directory"}},
    {"not executable", "command: [/etc/passwd, \"{port}\"]", ERR_CONFIG, {"Permission denied"}},
    {"timeout",
     "command: [@, load=60000, \"say=half way\"], start_timeout: 300ms",
     ERR_UNAVAILABLE,
     {"lab: its server was not ready after 300 ms (start_timeout)", "503 to GET /health",
      "half way"}},
    {"not listening",
     "command: [@, sleep=60000], start_timeout: 200ms",
     ERR_UNAVAILABLE,
     {"not ready after 200 ms"}},
    {"key refused",
     "command: [@, refuse]",
     ERR_CONFIG,
     {"lab: its server refuses its key", "401", "{key_file}", "$FUSOR_LOCAL_KEY"}},
    {"no model",
     "command: [@, \"{model}\"]",
     ERR_CONFIG,
     {"lab: the command has {model}", "'model'"}},
    {"not installed",
     "context: 512",
     ERR_CONFIG,
     {"lab: the embedded model runtime is not installed", "make demo", "runtime/setup.sh"}},
};

static void test_start_fails(void **state)
{
    for (size_t i = 0; i < COUNT_OF(failing); i++) {
        const struct failing *f = &failing[i];
        struct rig r;
        struct use u[3];
        rig_open(&r, f->fields);
        for (size_t k = 0; k < COUNT_OF(u); k++)
            use_begin(&u[k], &r);
        for (size_t k = 0; k < COUNT_OF(u); k++) {
            PUMP(r.l, u[k].ready + u[k].failed > 0);
            if (u[k].ready || u[k].e.cls != f->cls)
                fail_msg("%s: %s", f->name, u[k].e.msg);
            for (size_t h = 0; h < COUNT_OF(f->has) && f->has[h] != NULL; h++)
                if (strstr(u[k].e.msg, f->has[h]) == NULL)
                    fail_msg("%s: no \"%s\" in: %s", f->name, f->has[h], u[k].e.msg);
            assert_int_equal(u[k].e.sent, SENT_NO);
            use_end(&u[k], &r, false);
        }
        rig_close(&r);
    }
}

/* Long and many lines: the last ones that fit. */
static void test_last_words(void **state)
{
    struct rig r;
    struct use u;
    rig_open(&r,
             "command: [sh, -c, 'i=0; while [ $i -lt 3000 ]; do echo \"line $i of a long log\"; "
             "i=$((i+1)); done; echo the end >&2; exit 9', \"{port}\"]");
    use_begin(&u, &r);
    PUMP(r.l, u.failed > 0);
    assert_non_null(strstr(u.e.msg, "exit code 9"));
    assert_non_null(strstr(u.e.msg, "line 2999 of a long log | the end"));
    assert_null(strstr(u.e.msg, "line 2990"));
    use_end(&u, &r, false);
    rig_close(&r);
}

/* --- restarts --------------------------------------------------------------------------------- */

/* A crash is over soon: who comes waits for the next start. */
static void test_restart_after_crash(void **state)
{
    struct rig r;
    struct use a, b;
    rig_open(&r, "command: [@]");
    use_begin(&a, &r);
    use_wait(&a, &r);
    assert_int_equal(get(a.at.port, "/crash", a.at.key), -1);
    PUMP(r.l, rig_state(&r) == CHILD_BACKOFF);
    int64_t begin = clock_mono_us();
    use_begin(&b, &r);
    use_wait(&b, &r);
    assert_true(clock_mono_us() - begin >= 400000);
    assert_string_not_equal(a.at.key, b.at.key);
    assert_int_equal(get(b.at.port, "/v1/models", b.at.key), 200);
    use_end(&a, &r, true); /* of the run before: no reason to doubt this one */
    assert_int_equal(rig_state(&r), CHILD_READY);
    use_end(&b, &r, false);
    rig_close(&r);
}

/* 0.5 s, 1 s, 2 s: the third is too far to wait for. */
static void test_backoff(void **state)
{
    struct rig r;
    struct use u;
    int64_t at_us = 0;
    rig_open(&r, "command: [@, pid=%/pids, \"say=bad flag\", die=1]");
    for (int i = 0; i < 3; i++) {
        int64_t begin = clock_mono_us();
        use_begin(&u, &r);
        PUMP(r.l, u.failed > 0);
        assert_non_null(strstr(u.e.msg, "bad flag"));
        assert_int_equal(u.e.retry_after_ms, 500 << i);
        if (i > 0)
            assert_true(clock_mono_us() - begin >= (400000 << (i - 1)));
        use_end(&u, &r, false);
        at_us = clock_mono_us();
    }
    use_begin(&u, &r);
    PUMP(r.l, u.failed > 0);
    assert_true(clock_mono_us() - at_us < 500000);
    assert_int_equal(u.e.cls, ERR_UNAVAILABLE);
    assert_non_null(strstr(u.e.msg, "bad flag"));
    assert_in_range(u.e.retry_after_ms, 1000, 2000);
    use_end(&u, &r, false);
    pid_t pids[8];
    assert_int_equal(read_pids(in_dir(&r, "pids"), pids, 8), 3);
    rig_close(&r);
}

/* A runtime that is installed meanwhile is found by the next lease. */
static void test_missing_runtime_is_looked_for_again(void **state)
{
    struct rig r;
    struct use u;
    char venv[400];
    rig_open(&r, "context: 512");
    child_pool_free(r.pool);
    struct err e;
    r.pool = child_pool_new(r.l, NULL, in_dir(&r, "runtime"), r.dir, &e);
    use_begin(&u, &r);
    PUMP(r.l, u.failed > 0);
    assert_non_null(strstr(u.e.msg, "there is no "));
    assert_int_equal(u.e.retry_after_ms, -1);
    use_end(&u, &r, false);
    assert_int_equal(rig_state(&r), CHILD_STOPPED);
    snprintf(venv, sizeof venv, "%s", in_dir(&r, "runtime/venv/bin"));
    for (char *c = venv + strlen(r.dir) + 1; *c != '\0'; c++)
        if (*c == '/') {
            *c = '\0';
            mkdir(venv, 0700);
            *c = '/';
        }
    assert_int_equal(mkdir(venv, 0700), 0);
    append_line(in_dir(&r, "runtime/venv/bin/python"), "#!/bin/sh\necho \"$@\"; exit 5");
    assert_int_equal(chmod(in_dir(&r, "runtime/venv/bin/python"), 0700), 0);
    append_line(in_dir(&r, "runtime/serve.py"), "");
    append_line(in_dir(&r, "runtime/model.gguf"), "");
    use_begin(&u, &r);
    PUMP(r.l, u.failed > 0);
    assert_non_null(strstr(u.e.msg, "exit code 5"));
    assert_non_null(strstr(u.e.msg, "--context 2048 --parallel 4 --threads 0"));
    use_end(&u, &r, false);
    rig_close(&r);
}

/* --- doubt ------------------------------------------------------------------------------------ */

static void test_doubt_of_a_healthy_one(void **state)
{
    struct rig r;
    struct use a, b;
    rig_open(&r, "command: [@, pid=%/pids]");
    use_begin(&a, &r);
    use_wait(&a, &r);
    use_end(&a, &r, true);
    use_begin(&b, &r); /* waits for the probe */
    use_wait(&b, &r);
    assert_int_equal(a.at.port, b.at.port);
    use_end(&b, &r, false);
    pid_t pids[4];
    assert_int_equal(read_pids(in_dir(&r, "pids"), pids, 4), 1);
    rig_close(&r);
}

/* The process lives, but nobody listens: restarted. */
static void test_doubt_of_a_deaf_one(void **state)
{
    struct rig r;
    struct use a, b;
    rig_open(&r, "command: [@, pid=%/pids]");
    use_begin(&a, &r);
    use_wait(&a, &r);
    (void)get(a.at.port, "/deaf", a.at.key);
    child_release(&a.lease, true);
    use_begin(&b, &r);
    use_wait(&b, &r);
    assert_int_not_equal(a.at.port, b.at.port);
    assert_int_equal(count_alive(in_dir(&r, "pids")), 1);
    use_end(&b, &r, false);
    rig_close(&r);
}

/* --- lack of memory --------------------------------------------------------------------------- */

/* Whatever fails, the lease hears of it or is served, and all ends well. */
static void test_out_of_memory(void **state)
{
    bool failed = true;
    unsigned served = 0, told = 0;
    for (unsigned long n = 1; failed; n++) {
        struct rig r;
        struct use u;
        struct err e = {0};
        rig_open(&r, "command: [@, \"keyfile={key_file}\"]");
        child_pool_free(r.pool);
        mem_fail_at(n);
        r.pool = child_pool_new(r.l, NULL, "", r.dir, &e);
        if (r.pool != NULL) {
            use_begin(&u, &r);
            PUMP(r.l, u.ready + u.failed > 0);
            served += u.ready;
            told += u.failed && u.e.cls == ERR_NOMEM;
            use_end(&u, &r, true);
            pump_for(r.l, 5);
        } else {
            assert_int_equal(e.cls, ERR_NOMEM);
        }
        failed = mem_failed();
        mem_fail_at(0);
        rig_close(&r);
    }
    print_message("%u served, %u told\n", served, told);
    assert_true(served > 1 && told > 1);
}

int main(int argc, char **argv)
{
    child_rig_main(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_fails),
        cmocka_unit_test(test_last_words),
        cmocka_unit_test(test_restart_after_crash),
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_missing_runtime_is_looked_for_again),
        cmocka_unit_test(test_doubt_of_a_healthy_one),
        cmocka_unit_test(test_doubt_of_a_deaf_one),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
