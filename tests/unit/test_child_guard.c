/* test_child_guard.c - what becomes of a local model's processes: nothing outlives fusor, however
 * it and they end; and what they start with. */
#include "child_rig.h"

/* --- a process that owns a pool, to be killed ------------------------------------------------- */

/* EXE --owner FIELDS DIR: has a ready child, says so in DIR/up, goes on until it is killed. */
static _Noreturn void owner_main(char **argv)
{
    struct rig r;
    struct use u;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* should the test fail */
    (void)setenv("TMPDIR", argv[3], 1);
    rig_open(&r, argv[2]);
    use_begin(&u, &r);
    use_wait(&u, &r);
    char up[400];
    snprintf(up, sizeof up, "%s/up", argv[3]);
    append_pid(up);
    for (;;)
        pump_for(r.l, 1000);
}

static const struct family {
    const char *name, *fields; /* $: the directory of the test */
    size_t processes;
    bool slow; /* needs its KILL */
} families[] = {
    {"plain", "command: [@, pid=$/pids]", 1, false},
    {"shell",
     "command: [sh, -c, 'echo $$ >>$/pids; sleep 600 & echo $! >>$/pids; \"$@\" & wait', "
     "sh, @, pid=$/pids]",
     3, false},
    {"session of its own",
     "command: [sh, -c, 'echo $$ >>$/pids; setsid sh -c \"echo \\$\\$ >>$/pids; "
     "sleep 600 & echo \\$! >>$/pids; wait\" & exec \"$@\"', sh, @]",
     3, false},
    {"daemon", "command: [@, daemon, pid=$/pids]", 1, false},
    {"daemon of a shell",
     "command: [sh, -c, '\"$@\"; (sleep 600 & echo $! >>$/pids) & exit 0', sh, @, "
     "daemon, pid=$/pids]",
     2, false},
    {"stopped",
     "command: [sh, -c, 'sleep 600 & echo $! >>$/pids; kill -STOP $!; exec \"$@\"', sh, @, "
     "pid=$/pids]",
     2, false},
    {"stubborn", "command: [@, stubborn, pid=$/pids]", 1, true},
    {"stubborn daemon", "command: [@, stubborn, daemon, pid=$/pids]", 1, true},
    {"stubborn below a shell", "command: [sh, -c, '\"$@\" & wait', sh, @, stubborn, pid=$/pids]", 1,
     true},
};

struct owner {
    char dir[64], pids[400], up[400], fields[1024];
    pid_t pid, guard;
};

static void start_owner(struct owner *o, const struct family *f, const char *exe)
{
    size_t n = 0;
    snprintf(o->dir, sizeof o->dir, "/tmp/fusor-owner-XXXXXX");
    assert_non_null(mkdtemp(o->dir));
    snprintf(o->pids, sizeof o->pids, "%.60s/pids", o->dir);
    snprintf(o->up, sizeof o->up, "%.60s/up", o->dir);
    for (const char *c = f->fields; *c != '\0'; c++) {
        bool dir = c[0] == '$' && c[1] == '/';
        n += (size_t)snprintf(o->fields + n, sizeof o->fields - n, dir ? "%s" : "%.1s",
                              dir ? o->dir : c);
    }
    o->pid = fork();
    if (o->pid == 0) {
        execl(exe, exe, "--owner", o->fields, o->dir, (char *)NULL);
        _exit(1);
    }
}

static void wait_until_up(struct owner *o, const struct family *f)
{
    pid_t pids[16];
    int64_t end = clock_mono_us() + PUMP_MAX_US;
    while (access(o->up, F_OK) != 0 || read_pids(o->pids, pids, 16) < f->processes) {
        if (clock_mono_us() > end)
            fail_msg("%s: did not come up", f->name);
        poll(NULL, 0, 5);
    }
    assert_int_equal(count_alive(o->pids), f->processes);
    /* whoever started them: all roads lead to the guard */
    pid_t p = pids[0];
    while (p > 1 && parent_of(p) != o->pid)
        p = parent_of(p);
    if (p <= 1)
        fail_msg("%s: has left the tree", f->name);
    o->guard = p;
    assert_true(alive(o->guard));
}

static void test_killed_owner_leaves_no_orphan(void **state)
{
    enum { N = COUNT_OF(families) };
    struct owner o[N];
    char exe[PATH_MAX] = "";
    assert_true(readlink("/proc/self/exe", exe, sizeof exe - 1) > 0);
    memset(o, 0, sizeof o);
    for (size_t i = 0; i < N; i++)
        start_owner(&o[i], &families[i], exe);
    for (size_t i = 0; i < N; i++)
        wait_until_up(&o[i], &families[i]);
    int64_t begin = clock_mono_us();
    for (size_t i = 0; i < N; i++)
        assert_int_equal(kill(o[i].pid, SIGKILL), 0);
    for (int slow = 0; slow < 2; slow++)
        for (size_t i = 0; i < N; i++) {
            if (families[i].slow != slow)
                continue;
            while (count_alive(o[i].pids) > 0 || alive(o[i].guard)) {
                if (clock_mono_us() - begin > (slow ? 3500000 : 1900000))
                    fail_msg("%s: %zu processes live on, guard %d", families[i].name,
                             count_alive(o[i].pids), alive(o[i].guard));
                poll(NULL, 0, 5);
            }
        }
    assert_true(clock_mono_us() - begin >= 1900000); /* the stubborn had their two seconds */
    for (size_t i = 0; i < N; i++) {
        waitpid(o[i].pid, NULL, 0);
        nftw(o[i].dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    }
}

/* --- the pool's end --------------------------------------------------------------------------- */

static void test_free_ends_all(void **state)
{
    struct rig r;
    struct use u;
    pid_t pids[4];
    rig_open(&r, "command: [sh, -c, 'echo $$ >>%/pids; \"$@\" & wait', sh, @, pid=%/pids]");
    use_begin(&u, &r);
    use_wait(&u, &r);
    assert_int_equal(read_pids(in_dir(&r, "pids"), pids, 4), 2);
    int64_t begin = clock_mono_us();
    child_pool_free(r.pool);
    r.pool = NULL;
    assert_true(clock_mono_us() - begin < 1500000);
    assert_int_equal(count_alive(in_dir(&r, "pids")), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* the guard is reaped */
    rig_close(&r);
}

/* Two stubborn ones together take two seconds, not four; one is still starting. */
static void test_free_ends_the_stubborn(void **state)
{
    struct rig r;
    struct use a, b;
    rig_open(&r, "command: [@, stubborn, pid=%/pids]");
    use_begin(&a, &r);
    use_wait(&a, &r);
    struct config *other = make_config(&r, "command: [@, stubborn, pid=%/pids, sleep=60000]");
    use_begin_of(&b, &r, other);
    PUMP(r.l, count_alive(in_dir(&r, "pids")) == 2);
    int64_t begin = clock_mono_us();
    child_pool_free(r.pool);
    r.pool = NULL;
    assert_true(clock_mono_us() - begin < 2900000);
    assert_int_equal(count_alive(in_dir(&r, "pids")), 0);
    config_free(other);
    rig_close(&r);
}

/* --- somebody else's signals ------------------------------------------------------------------ */

static const struct hit {
    const char *name;
    int sig;
    bool guard; /* else the command */
} hits[] = {
    {"guard killed", SIGKILL, true},
    {"guard ended", SIGTERM, true},
    {"wrapper killed", SIGKILL, false},
};

static void test_hits(void **state)
{
    for (size_t i = 0; i < COUNT_OF(hits); i++) {
        struct rig r;
        struct use a, b;
        pid_t pids[4];
        rig_open(&r, "command: [sh, -c, 'echo $$ >>%/pids; \"$@\" & wait', sh, @, pid=%/pids]");
        use_begin(&a, &r);
        use_wait(&a, &r);
        assert_int_equal(read_pids(in_dir(&r, "pids"), pids, 4), 2);
        pid_t guard = parent_of(pids[0]);
        assert_int_equal(parent_of(guard), getpid());
        assert_int_equal(kill(hits[i].guard ? guard : pids[0], hits[i].sig), 0);
        PUMP(r.l, count_alive(in_dir(&r, "pids")) == 0);
        PUMP(r.l, rig_state(&r) == CHILD_BACKOFF);
        use_begin(&b, &r);
        use_wait(&b, &r);
        assert_int_equal(get(b.at.port, "/v1/models", b.at.key), 200);
        rig_close(&r);
    }
}

/* --- what they start with --------------------------------------------------------------------- */

static void read_text(const char *path, char *out, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, out, cap - 1);
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = '\0';
}

/* No descriptor, no ignored or blocked signal of ours gets through. */
static void test_nothing_is_inherited(void **state)
{
    struct rig r;
    struct use u;
    char text[4096];
    sigset_t usr1;
    int open_fd = open("/dev/null", O_RDONLY); /* not close-on-exec */
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    rig_open(&r, "command: [sh, -c, 'ls -1 /proc/self/fd >%/fds; grep ^Sig[BI] /proc/self/status "
                 ">%/sigs; readlink /proc/self/fd/0 >%/stdin; exec \"$@\"', sh, @]");
    use_begin(&u, &r);
    use_wait(&u, &r);
    read_text(in_dir(&r, "fds"), text, sizeof text);
    assert_string_equal(text, "0\n1\n2\n3\n"); /* 3 is the listing's own */
    read_text(in_dir(&r, "sigs"), text, sizeof text);
    unsigned long long blocked = 1, ignored = 1;
    assert_int_equal(sscanf(text, "SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2);
    assert_int_equal(blocked, 0);
    assert_int_equal(ignored & 0x7fffffff, 0); /* 32 and 33 are the C library's own */
    read_text(in_dir(&r, "stdin"), text, sizeof text);
    assert_string_equal(text, "/dev/null\n");
    use_end(&u, &r, false);
    rig_close(&r);
    sigprocmask(SIG_UNBLOCK, &usr1, NULL);
    close(open_fd);
}

/* What it prints never stops it, before it is ready and after. */
static void test_noisy(void **state)
{
    struct rig r;
    struct use u;
    rig_open(
        &r,
        "command: [sh, -c, 'yes | head -c 2000000; (sleep 0.2; yes | head -c 2000000; echo >%/done)"
        " & exec \"$@\"', sh, @]");
    use_begin(&u, &r);
    use_wait(&u, &r);
    PUMP(r.l, access(in_dir(&r, "done"), F_OK) == 0);
    use_end(&u, &r, false);
    rig_close(&r);
}

static void test_guard_alone(void **state)
{
    char exe[PATH_MAX] = "";
    int status;
    assert_true(readlink("/proc/self/exe", exe, sizeof exe - 1) > 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(2);
        execl(exe, exe, "--guard", (char *)NULL);
        _exit(1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
}

int main(int argc, char **argv)
{
    child_rig_main(argc, argv);
    if (argc == 4 && strcmp(argv[1], "--owner") == 0)
        owner_main(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_owner_leaves_no_orphan),
        cmocka_unit_test(test_free_ends_all),
        cmocka_unit_test(test_free_ends_the_stubborn),
        cmocka_unit_test(test_hits),
        cmocka_unit_test(test_nothing_is_inherited),
        cmocka_unit_test(test_noisy),
        cmocka_unit_test(test_guard_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
