/* test_child.c - local model servers as their users see them: leases, failures, restarts, idle
 * stop, changed settings. What becomes of processes is in test_child_guard.c. */
#include "child_rig.h"

/* --- ready ------------------------------------------------------------------------------------ */

static void test_ready(void **state)
{
    struct rig r;
    struct use a, b;
    rig_open(&r, "command: [@]");
    assert_int_equal(rig_state(&r), CHILD_STOPPED);
    use_begin(&a, &r);
    PUMP(r.l, rig_state(&r) == CHILD_STARTING);
    use_wait(&a, &r);
    assert_int_equal(rig_state(&r), CHILD_READY);
    assert_int_equal(strspn(a.at.key, "0123456789abcdef"), 32);
    assert_int_equal(strlen(a.at.key), 32);
    assert_int_equal(get(a.at.port, "/v1/models", a.at.key), 200);
    assert_int_equal(get(a.at.port, "/v1/models", NULL), 401);
    /* the second has the same at once */
    use_begin(&b, &r);
    use_wait(&b, &r);
    assert_int_equal(b.at.port, a.at.port);
    assert_string_equal(b.at.key, a.at.key);
    use_end(&a, &r, false);
    use_end(&b, &r, false);
    assert_int_equal(child_state_of(r.pool, SPAN("nobody")), CHILD_STOPPED);
    rig_close(&r);
}

/* Loading: 503 to /health is not ready. */
static void test_slow_start(void **state)
{
    struct rig r;
    struct use u;
    rig_open(&r, "command: [@, load=300]");
    int64_t begin = clock_mono_us();
    use_begin(&u, &r);
    use_wait(&u, &r);
    assert_true(clock_mono_us() - begin >= 300000);
    use_end(&u, &r, false);
    rig_close(&r);
}

static bool file_has(const char *path, const char *text)
{
    static char all[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, all, sizeof all - 1);
    if (fd >= 0)
        close(fd);
    for (ssize_t i = 0; i < n; i++)
        if (all[i] == '\0')
            all[i] = ' ';
    all[n > 0 ? n : 0] = '\0';
    return strstr(all, text) != NULL;
}

static bool cmdline_has(pid_t pid, const char *text)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    return file_has(path, text);
}

/* The key is in no command line; no provider's key is in the environment. */
static void test_secrets(void **state)
{
    struct rig r;
    struct use u;
    pid_t pid = 0;
    rig_open(&r, "command: [@, pid=%/pid, env=%/env, \"say={context}/{parallel}/{x}/{port\"], "
                 "context: 2048, parallel: 3");
    use_begin(&u, &r);
    use_wait(&u, &r);
    assert_int_equal(read_pids(in_dir(&r, "pid"), &pid, 1), 1);
    for (pid_t p = pid; p != getpid(); p = parent_of(p)) {
        assert_true(p > 1);
        assert_true(cmdline_has(p, "say=6144/3/{x}/{port "));
        assert_false(cmdline_has(p, u.at.key));
    }
    const char *env = in_dir(&r, "env");
    char key[64];
    snprintf(key, sizeof key, "FUSOR_LOCAL_KEY=%s", u.at.key);
    assert_true(file_has(env, key));
    assert_true(file_has(env, "PATH="));
    assert_true(file_has(env, "LANG=C.UTF-8"));
    assert_false(file_has(env, "OPENAI"));
    assert_false(file_has(env, "must-not"));
    assert_false(file_has(env, "USER="));
    use_end(&u, &r, false);
    rig_close(&r);
}

static size_t key_files(struct rig *r, char *out, size_t cap)
{
    size_t n = 0;
    DIR *d = opendir(r->dir);
    const struct dirent *one;
    while ((one = readdir(d)) != NULL)
        if (span_ends(span_of(one->d_name), SPAN(".key"))) {
            snprintf(out, cap, "%s", in_dir(r, one->d_name));
            n++;
        }
    closedir(d);
    return n;
}

static void test_key_file(void **state)
{
    struct rig r;
    struct use u;
    struct err e;
    char path[400];
    struct stat st;
    rig_open(&r, "command: [env, -u, FUSOR_LOCAL_KEY, @, \"keyfile={key_file}\"]");
    assert_int_equal(key_files(&r, path, sizeof path), 0);
    use_begin(&u, &r);
    use_wait(&u, &r);
    assert_int_equal(key_files(&r, path, sizeof path), 1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_true(file_has(path, u.at.key));
    use_end(&u, &r, false);
    child_pool_free(r.pool);
    assert_int_equal(key_files(&r, path, sizeof path), 0);
    /* one that a killed process has left */
    append_line(in_dir(&r, "child-0123456789abcdef.key"), "old");
    append_line(in_dir(&r, "mine.key"), "kept");
    r.pool = child_pool_new(r.l, NULL, "", r.dir, &e);
    assert_non_null(r.pool);
    assert_int_equal(key_files(&r, path, sizeof path), 1);
    assert_true(file_has(path, "kept"));
    rig_close(&r);
}

/* --- stops ------------------------------------------------------------------------------------ */

static void test_idle_stop(void **state)
{
    struct rig r;
    struct use a, b;
    rig_open(&r, "command: [@, pid=%/pids], idle_stop: 300ms");
    use_begin(&a, &r);
    use_begin(&b, &r);
    use_wait(&a, &r);
    use_wait(&b, &r);
    use_end(&a, &r, false);
    pump_for(r.l, 500);
    assert_int_equal(rig_state(&r), CHILD_READY); /* b holds it */
    use_end(&b, &r, false);
    int64_t begin = clock_mono_us();
    PUMP(r.l, rig_state(&r) == CHILD_STOPPED);
    assert_true(clock_mono_us() - begin >= 250000);
    PUMP(r.l, count_alive(in_dir(&r, "pids")) == 0);
    /* and again, in the middle of its ending too */
    use_begin(&a, &r);
    use_wait(&a, &r);
    use_end(&a, &r, false);
    rig_close(&r);
}

static void test_config_change(void **state)
{
    struct rig r;
    struct use old, young, last;
    rig_open(&r, "command: [@, pid=%/old]");
    use_begin(&old, &r);
    use_wait(&old, &r);
    struct config *was = r.config;
    r.config = make_config(&r, "command: [@, pid=%/young]");
    child_pool_config(r.pool, r.config);
    /* the call that runs keeps its child; a new one gets the new child */
    use_begin(&young, &r);
    use_wait(&young, &r);
    assert_int_not_equal(old.at.port, young.at.port);
    assert_int_equal(get(old.at.port, "/v1/models", old.at.key), 200);
    use_end(&old, &r, false);
    PUMP(r.l, count_alive(in_dir(&r, "old")) == 0);
    assert_int_equal(count_alive(in_dir(&r, "young")), 1);
    assert_int_equal(rig_state(&r), CHILD_READY);
    /* a worker that is late asks for the old one once more */
    use_begin_of(&old, &r, was);
    use_wait(&old, &r);
    assert_int_equal(count_alive(in_dir(&r, "old")), 1);
    use_end(&old, &r, false);
    PUMP(r.l, count_alive(in_dir(&r, "old")) == 0);
    config_free(was);
    /* times alone are no other child */
    was = r.config;
    r.config = make_config(&r, "command: [@, pid=%/young], idle_stop: 200ms, start_timeout: 7s");
    child_pool_config(r.pool, r.config);
    use_begin(&last, &r);
    use_wait(&last, &r);
    assert_int_equal(last.at.port, young.at.port);
    use_end(&last, &r, false);
    use_end(&young, &r, false);
    PUMP(r.l, count_alive(in_dir(&r, "young")) == 0);
    config_free(was);
    rig_close(&r);
}

/* A provider that goes while its child starts, is ready, or rests from a failure. */
static void test_provider_removed(void **state)
{
    static const char *const fields[] = {"command: [@, pid=%/pids, load=200]",
                                         "command: [@, pid=%/pids]",
                                         "command: [@, pid=%/pids, die=1]"};
    struct err e;
    struct config *none = config_parse(SPAN("providers: {x: {kind: openai, base_url: "
                                            "\"http://h/v1\"}}\nmodels: {m: {provider: x}}"),
                                       "none", &e);
    assert_non_null(none);
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        struct rig r;
        struct use u;
        rig_open(&r, fields[i]);
        use_begin(&u, &r);
        if (i == 0)
            PUMP(r.l, rig_state(&r) == CHILD_STARTING);
        else
            PUMP(r.l, u.ready + u.failed > 0);
        child_pool_config(r.pool, none);
        PUMP(r.l, u.ready + u.failed > 0); /* it was promised */
        use_end(&u, &r, false);
        PUMP(r.l, rig_state(&r) == CHILD_STOPPED && count_alive(in_dir(&r, "pids")) == 0);
        rig_close(&r);
    }
    config_free(none);
}

/* --- releases --------------------------------------------------------------------------------- */

static void test_release_in_every_state(void **state)
{
    struct rig r;
    struct use u[8];
    rig_open(&r, "command: [@]");
    use_begin(&u[0], &r); /* before the pool has looked */
    child_release(&u[0].lease, false);
    PUMP(r.l, u[0].gone);
    assert_int_equal(u[0].ready + u[0].failed, 0);
    assert_int_equal(rig_state(&r), CHILD_STOPPED); /* nothing was started for it */
    use_begin(&u[1], &r);
    use_begin(&u[2], &r);
    u[2].release_at_once = true; /* in its callback */
    PUMP(r.l, rig_state(&r) == CHILD_STARTING);
    child_release(&u[1].lease, true); /* waiting */
    PUMP(r.l, u[1].gone && u[2].gone);
    assert_int_equal(u[1].ready + u[1].failed, 0);
    assert_int_equal(u[2].ready, 1);
    /* told, but the news is still on its way: the pool's task runs before the lease's */
    use_begin(&u[3], &r);
    loop_step(r.l);
    child_release(&u[3].lease, false);
    PUMP(r.l, u[3].gone);
    rig_close(&r);
}

static void test_release_while_failing(void **state)
{
    struct rig r;
    struct use u[3];
    rig_open(&r, "command: [@, die=1]");
    use_begin(&u[0], &r);
    PUMP(r.l, u[0].failed);
    assert_int_equal(rig_state(&r), CHILD_BACKOFF);
    use_begin(&u[1], &r); /* waits for the next try */
    pump_for(r.l, 50);
    assert_int_equal(u[1].failed, 0);
    use_end(&u[1], &r, true);
    use_end(&u[0], &r, true); /* after its error */
    assert_int_equal(u[1].ready + u[1].failed, 0);
    rig_close(&r);
}

/* The pool ends before its leases have come back: released ones do so now, the others never. */
static void test_free_with_leases(void **state)
{
    struct rig r;
    struct use u[5];
    rig_open(&r, "command: [@]");
    use_begin(&u[0], &r);
    use_begin(&u[1], &r);
    use_wait(&u[0], &r);
    use_wait(&u[1], &r);
    use_begin(&u[2], &r); /* in the inbox */
    use_begin(&u[3], &r);
    child_release(&u[0].lease, false);
    child_release(&u[3].lease, true);
    child_pool_free(r.pool);
    r.pool = NULL;
    assert_int_equal(u[0].gone, 1);
    assert_int_equal(u[1].gone, 0);
    assert_int_equal(u[2].gone, 0);
    assert_int_equal(u[3].gone, 1);
    rig_close(&r); /* what was posted has gone with them: the sanitizer watches */
}

/* --- from threads ----------------------------------------------------------------------------- */

struct user {
    pthread_t thread;
    struct rig *r;
    struct use u[4];
    atomic_uint done;
};

static void *use_from_thread(void *arg)
{
    struct user *me = arg;
    struct err e;
    struct loop *l = loop_new(&e);
    assert_non_null(l);
    for (int round = 0; round < 40; round++) {
        for (size_t i = 0; i < COUNT_OF(me->u); i++) {
            struct use *u = &me->u[i];
            *u = (struct use){.lease = {.loop = l, .on_ready = use_ready, .on_gone = use_gone},
                              .release_at_once = (round + (int)i) % 3 == 0};
            child_acquire(me->r->pool, lab(me->r->config), &u->lease);
        }
        for (size_t i = 0; i < COUNT_OF(me->u); i++) {
            struct use *u = &me->u[i];
            if (round % 2 == 0 && !u->release_at_once)
                PUMP(l, u->ready + u->failed > 0);
            if (!u->release_at_once)
                child_release(&u->lease, false);
            PUMP(l, u->gone > 0);
        }
    }
    loop_free(l);
    atomic_store(&me->done, 1);
    return NULL;
}

static void test_threads(void **state)
{
    struct rig r;
    struct user users[3];
    rig_open(&r, "command: [@, pid=%/pids]");
    memset(users, 0, sizeof users);
    for (size_t i = 0; i < COUNT_OF(users); i++) {
        users[i].r = &r;
        assert_int_equal(pthread_create(&users[i].thread, NULL, use_from_thread, &users[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(users); i++) {
        PUMP(r.l, atomic_load(&users[i].done));
        pthread_join(users[i].thread, NULL);
    }
    pid_t pids[4];
    assert_int_equal(read_pids(in_dir(&r, "pids"), pids, 4), 1);
    rig_close(&r);
}

int main(int argc, char **argv)
{
    child_rig_main(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready),
        cmocka_unit_test(test_slow_start),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_key_file),
        cmocka_unit_test(test_idle_stop),
        cmocka_unit_test(test_config_change),
        cmocka_unit_test(test_provider_removed),
        cmocka_unit_test(test_release_in_every_state),
        cmocka_unit_test(test_release_while_failing),
        cmocka_unit_test(test_free_with_leases),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
