/* The store in good times: rows, group commit, replies, lock, schema, kill -9. Faults of the disk
 * are in test_store_faults.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/store.h"

/* --- helpers
 * -------------------------------------------------------------------------------------- */

/* A directory of its own for each test. */
struct place {
    char dir[64], path[128];
};

static const char *in(struct place *p, const char *name)
{
    char path[sizeof p->path]; /* the null check of the sanitizer makes gcc suspect p->path */
    snprintf(path, sizeof path, "%s/%s", p->dir, name);
    return memcpy(p->path, path, sizeof path);
}

static int make_place(void **state)
{
    struct place *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return -1;
    snprintf(p->dir, sizeof p->dir, "/tmp/fusor-store-XXXXXX");
    *state = p;
    return mkdtemp(p->dir) != NULL ? 0 : -1;
}

static int remove_place(void **state)
{
    static const char *const names[] = {"ledger.db",      "ledger.db-wal", "archive.db",
                                        "archive.db-wal", "lock",          "ledger.db-journal"};
    struct place *p = *state;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        unlink(in(p, names[i]));
    rmdir(p->dir);
    mem_free(p);
    return 0;
}

static struct store *must_open(const char *dir)
{
    struct err e = {0};
    struct store *s = store_open(dir, &e);
    if (s == NULL)
        fail_msg("%s", e.msg);
    return s;
}

static struct store_call call_row(const char *id)
{
    return (struct store_call){.id = span_of(id),
                               .request_id = SPAN("req_1"),
                               .role = SPAN("member"),
                               .provider = SPAN("mistral"),
                               .model = SPAN("mistral/small"),
                               .upstream_model = SPAN("mistral-small-latest"),
                               .host = SPAN("api.eu.mistral.ai"),
                               .region = SPAN("eu"),
                               .outcome = SPAN("ok"),
                               .time_ms = 1700000000000,
                               .input = 100,
                               .output = 20,
                               .cost_nusd = 7,
                               .ttft_us = -1,
                               .total_us = 5};
}

static struct store_request request_row(const char *id)
{
    return (struct store_request){.id = span_of(id),
                                  .route = SPAN("/v1/chat/completions"),
                                  .model = SPAN("council"),
                                  .mode = SPAN("merge"),
                                  .outcome = SPAN("ok"),
                                  .status = 200,
                                  .cost_nusd = 7};
}

/* A reply that stops its loop when `left` of them have come. */
struct waiting {
    struct store_reply reply;
    int *left, seen;
    pthread_t thread;
    enum err_class cls;
    char msg[400];
};

static void on_reply(struct store_reply *r, const struct err *err)
{
    struct waiting *w = CONTAINER_OF(r, struct waiting, reply);
    w->seen++;
    w->thread = pthread_self();
    w->cls = err != NULL ? err->cls : ERR_NONE;
    if (err != NULL)
        snprintf(w->msg, sizeof w->msg, "%s", err->msg);
    if (--*w->left == 0)
        loop_stop(r->loop);
}

/* Adds one call and waits for its reply. */
static enum err_class add_and_wait(struct store *s, const struct store_call *c)
{
    struct err e = {0};
    int left = 1;
    AUTO(loop) l = loop_new(&e);
    struct waiting w = {.reply = {.loop = l, .on_reply = on_reply}, .left = &left};
    assert_true(store_add_call(s, c, &w.reply, &e));
    loop_run(l);
    assert_int_equal(w.seen, 1);
    return w.cls;
}

struct totals_wait {
    struct store_totals t;
    enum err_class cls;
};

static void on_totals(struct store_reply *r, const struct err *err)
{
    struct totals_wait *w = CONTAINER_OF(r, struct totals_wait, t.reply);
    w->cls = err != NULL ? err->cls : ERR_NONE;
    loop_stop(r->loop);
}

static struct store_totals totals_of(struct store *s)
{
    struct err e = {0};
    AUTO(loop) l = loop_new(&e);
    struct totals_wait w = {.t.reply = {.loop = l, .on_reply = on_totals}};
    store_get_totals(s, &w.t);
    loop_run(l);
    assert_int_equal(w.cls, ERR_NONE);
    return w.t;
}

/* One number out of a file, read after the store has let go of it. */
static int64_t number_in(const char *path, const char *sql)
{
    sqlite3 *h;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_open_v2(path, &h, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(h, sql, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(h));
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(h);
    return n;
}

static int exec_in(const char *path, const char *sql)
{
    sqlite3 *h;
    assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
    int rc = sqlite3_exec(h, sql, NULL, NULL, NULL);
    sqlite3_close(h);
    return rc;
}

/* --- rows
 * ----------------------------------------------------------------------------------------- */

static void test_rows_survive(void **state)
{
    struct place *p = *state;
    struct store *s = must_open(p->dir);
    struct store_call known = call_row("call_1"), unknown = call_row("call_2");
    unknown.cost_nusd = -1;
    unknown.uncertain = true;
    unknown.model = SPAN("a 'quoted'; DROP TABLE call; -- \"name\"");
    assert_int_equal(add_and_wait(s, &known), ERR_NONE);
    assert_int_equal(add_and_wait(s, &unknown), ERR_NONE);
    struct store_request r = request_row("req_1");
    store_add_request(s, &r);
    store_add_request(s, &r); /* a client may send its id twice */
    store_close(s);

    s = must_open(p->dir);
    struct store_totals t = totals_of(s);
    assert_int_equal(t.calls, 2);
    assert_int_equal(t.input, 200);
    assert_int_equal(t.output, 40);
    assert_int_equal(t.cost_nusd, 7);
    assert_int_equal(t.unknown_cost_calls, 1);
    store_close(s);
    assert_int_equal(number_in(in(p, "archive.db"), "SELECT count(*) FROM request"), 2);
    static const struct {
        const char *sql;
        int64_t want;
    } cases[] = {
        {"SELECT count(*) FROM call WHERE cost_nusd IS NULL AND uncertain AND id = 'call_2'", 1},
        {"SELECT count(*) FROM call WHERE ttft_us IS NULL AND total_us = 5", 2},
        {"SELECT length(model) FROM call WHERE id = 'call_2'", 38},
        {"SELECT count(*) FROM call WHERE fusion_id = '' AND region = 'eu' AND role = 'member' AND"
         " host = 'api.eu.mistral.ai' AND outcome = 'ok' AND time_ms = 1700000000000",
         2},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(number_in(in(p, "ledger.db"), cases[i].sql), cases[i].want);
    assert_int_equal(exec_in(in(p, "ledger.db"), "UPDATE call SET cost_nusd = 0"),
                     SQLITE_CONSTRAINT);
    assert_int_equal(exec_in(in(p, "ledger.db"), "DELETE FROM call"), SQLITE_CONSTRAINT);
}

static void test_in_memory(void **state)
{
    AUTO(store) s = must_open(""), *other = must_open("");
    struct store_call c = call_row("call_1");
    assert_int_equal(add_and_wait(s, &c), ERR_NONE);
    assert_int_equal(totals_of(s).calls, 1);
    assert_int_equal(totals_of(other).calls, 0);
    store_close(TAKE(other));
}

/* A row that exists is refused alone; its neighbours in the same commit stay. */
static void test_double_id(void **state)
{
    struct err e = {0};
    int left = 3;
    AUTO(store) s = must_open("");
    AUTO(loop) l = loop_new(&e);
    struct waiting w[3];
    static const char *const ids[] = {"a", "a", "b"};
    for (size_t i = 0; i < 3; i++) {
        struct store_call c = call_row(ids[i]);
        w[i] = (struct waiting){.reply = {.loop = l, .on_reply = on_reply}, .left = &left};
        assert_true(store_add_call(s, &c, &w[i].reply, &e));
    }
    loop_run(l);
    assert_int_equal(w[0].cls, ERR_NONE);
    assert_int_equal(w[1].cls, ERR_CONFLICT);
    assert_int_equal(w[2].cls, ERR_NONE);
    assert_non_null(strstr(w[1].msg, "call.id"));
    assert_int_equal(totals_of(s).calls, 2);
    struct store_health h;
    store_health_of(s, &h);
    assert_true(h.ledger_ok && h.archive_ok);
    assert_int_equal(h.ledger_rows, 2);
    assert_string_equal(h.message, "");
}

/* --- threads
 * -------------------------------------------------------------------------------------- */

enum { THREADS = 4, ROWS = 2500 };

struct adder {
    struct store *store;
    struct loop *loop;
    int from, left;
    struct waiting w[ROWS];
};

static void *add_many(void *arg)
{
    struct adder *a = arg;
    struct err e = {0};
    for (int i = 0; i < ROWS; i++) {
        char id[32];
        snprintf(id, sizeof id, "call_%d", a->from + i);
        struct store_call c = call_row(id); /* the id does not outlive this turn */
        struct store_request r = request_row(id);
        a->w[i] =
            (struct waiting){.reply = {.loop = a->loop, .on_reply = on_reply}, .left = &a->left};
        assert_true(store_add_call(a->store, &c, &a->w[i].reply, &e));
        store_add_request(a->store, &r);
    }
    loop_run(a->loop);
    return NULL;
}

/* Four workers with a loop each: every row is there, every reply came once, on its own thread, and
 * commits were shared. */
static void test_four_threads(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    struct store *s = must_open(p->dir);
    struct adder *a[THREADS];
    pthread_t th[THREADS];
    int64_t began = clock_mono_us();
    for (int t = 0; t < THREADS; t++) {
        a[t] = mem_zalloc(sizeof *a[t]);
        assert_non_null(a[t]);
        a[t]->store = s;
        a[t]->loop = loop_new(&e);
        a[t]->from = t * ROWS;
        a[t]->left = ROWS;
        assert_int_equal(pthread_create(&th[t], NULL, add_many, a[t]), 0);
    }
    for (int t = 0; t < THREADS; t++)
        pthread_join(th[t], NULL);
    double took_s = (double)(clock_mono_us() - began) / 1e6;
    struct store_health h;
    store_health_of(s, &h);
    print_message("%d rows, %llu commits, %.0f rows/s\n", THREADS * ROWS,
                  (unsigned long long)h.ledger_commits, THREADS * ROWS / took_s);
    assert_int_equal(h.ledger_rows, THREADS * ROWS);
    assert_true(h.ledger_commits < THREADS * ROWS / 4);
    for (int t = 0; t < THREADS; t++) {
        for (int i = 0; i < ROWS; i++) {
            assert_int_equal(a[t]->w[i].seen, 1);
            assert_int_equal(a[t]->w[i].cls, ERR_NONE);
            assert_true(pthread_equal(a[t]->w[i].thread, th[t]));
        }
        loop_free(a[t]->loop);
        mem_free(a[t]);
    }
    assert_int_equal(totals_of(s).calls, THREADS * ROWS);
    store_close(s);
    assert_int_equal(number_in(in(p, "archive.db"), "SELECT count(DISTINCT id) FROM request"),
                     THREADS * ROWS);
}

/* Closing writes what is queued; the replies are there for a loop that still runs. */
static void test_close_drains(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    enum { N = 500 };
    int left = N;
    AUTO(loop) l = loop_new(&e);
    struct waiting *w = mem_zalloc(N * sizeof *w);
    assert_non_null(w);
    struct store *s = must_open(p->dir);
    for (int i = 0; i < N; i++) {
        char id[32];
        snprintf(id, sizeof id, "call_%d", i);
        struct store_call c = call_row(id);
        w[i] = (struct waiting){.reply = {.loop = l, .on_reply = on_reply}, .left = &left};
        assert_true(store_add_call(s, &c, &w[i].reply, &e));
    }
    store_close(s);
    loop_run(l);
    for (int i = 0; i < N; i++)
        assert_int_equal(w[i].seen, 1);
    mem_free(w);
    assert_int_equal(number_in(in(p, "ledger.db"), "SELECT count(*) FROM call"), N);
    assert_int_not_equal(access(in(p, "ledger.db-wal"), F_OK), 0);
}

/* --- kill
 * ----------------------------------------------------------------------------------------- */

struct acked {
    struct waiting w;
    int fd, i;
};

static void on_acked(struct store_reply *r, const struct err *err)
{
    struct acked *a = CONTAINER_OF(r, struct acked, w.reply);
    if (err != NULL || write(a->fd, &a->i, sizeof a->i) != sizeof a->i)
        _exit(1);
}

/* Adds rows for ever and writes the number of each acknowledged one into the pipe. */
static _Noreturn void add_until_killed(const char *dir, int fd)
{
    struct err e = {0};
    struct store *s = store_open(dir, &e);
    struct loop *l = loop_new(&e);
    enum { WINDOW = 64 };
    static struct acked a[1 << 16];
    if (s == NULL || l == NULL)
        _exit(1);
    for (int i = 0; i < (int)COUNT_OF(a); i++) {
        char id[32];
        snprintf(id, sizeof id, "call_%d", i);
        struct store_call c = call_row(id);
        a[i] = (struct acked){.w.reply = {.loop = l, .on_reply = on_acked}, .fd = fd, .i = i};
        if (!store_add_call(s, &c, &a[i].w.reply, &e))
            _exit(1);
        loop_step(l);
        if (i % WINDOW == 0)
            usleep(300);
    }
    for (;;)
        loop_step(l);
}

static void test_kill_loses_nothing(void **state)
{
    struct place *p = *state;
    int max = -1, total = 0;
    for (int round = 0; round < 3; round++) {
        int fds[2], i, n = 0;
        unlink(in(p, "ledger.db"));
        unlink(in(p, "ledger.db-wal"));
        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            add_until_killed(p->dir, fds[1]);
        close(fds[1]);
        max = -1;
        while (read(fds[0], &i, sizeof i) == sizeof i) {
            max = i > max ? i : max;
            if (++n == 300 * (round + 1))
                kill(pid, SIGKILL);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        close(fds[0]);

        struct store *s = must_open(p->dir);
        store_close(s);
        char sql[128];
        snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM call WHERE CAST(substr(id, 6) AS INTEGER) <= %d", max);
        assert_int_equal(number_in(in(p, "ledger.db"), sql), max + 1);
        assert_int_equal(
            number_in(in(p, "ledger.db"), "SELECT count(*) = count(DISTINCT id) FROM call"), 1);
        total += n;
    }
    assert_true(total >= 1800);
}

/* --- directory, lock, schema
 * ---------------------------------------------------------------------- */

static void test_modes(void **state)
{
    struct place *p = *state;
    struct stat st;
    assert_int_equal(chmod(p->dir, 0755), 0);
    mode_t before = umask(0);
    AUTO(store) s = must_open(p->dir);
    struct store_call c = call_row("a");
    assert_int_equal(add_and_wait(s, &c), ERR_NONE);
    umask(before);
    assert_int_equal(stat(p->dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    static const char *const files[] = {"ledger.db", "ledger.db-wal", "archive.db", "lock"};
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        assert_int_equal(stat(in(p, files[i]), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
    }
}

static void test_makes_parents(void **state)
{
    struct place *p = *state;
    struct stat st;
    char deep[128];
    snprintf(deep, sizeof deep, "%s/a/b/", p->dir);
    store_close(must_open(deep));
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    static const char *const names[] = {"a/b/lock", "a/b/ledger.db", "a/b/archive.db", "a/b", "a"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_int_equal(remove(in(p, names[i])), 0);
}

static void test_second_opener(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    char pid[32];
    AUTO(store) s = must_open(p->dir);
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_null(store_open(p->dir, &e));
    assert_int_equal(e.cls, ERR_CONFLICT);
    assert_non_null(strstr(e.msg, pid));
    assert_non_null(strstr(e.msg, p->dir));
    /* Nor can another program write beside us. */
    assert_int_not_equal(exec_in(in(p, "ledger.db"), "CREATE TABLE x (y)"), SQLITE_OK);
    store_close(TAKE(s));
    s = must_open(p->dir);
}

static void test_foreign_directory(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(p->dir, 12345, 12345), 0);
    assert_null(store_open(p->dir, &e));
    assert_int_equal(e.cls, ERR_CONFIG);
    assert_non_null(strstr(e.msg, "12345"));
    assert_int_not_equal(access(in(p, "lock"), F_OK), 0);
}

static void test_bad_directories(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    char path[5000];
    FILE *f = fopen(in(p, "lock"), "w");
    assert_non_null(f);
    fclose(f);
    assert_null(store_open(in(p, "lock"), &e)); /* a file */
    assert_int_equal(e.cls, ERR_SYS);
    assert_null(store_open(in(p, "lock/x"), &e));
    assert_int_equal(e.cls, ERR_SYS);
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_null(store_open(path, &e));
    assert_int_equal(e.cls, ERR_CONFIG);
}

static void test_newer_schema(void **state)
{
    static const char *const files[] = {"ledger.db", "archive.db"};
    struct place *p = *state;
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        struct err e = {0};
        store_close(must_open(p->dir));
        int64_t now = number_in(in(p, files[i]), "PRAGMA user_version");
        assert_int_equal(exec_in(in(p, files[i]), "PRAGMA user_version = 900"), SQLITE_OK);
        assert_null(store_open(p->dir, &e));
        assert_int_equal(e.cls, ERR_CONFIG);
        assert_non_null(strstr(e.msg, files[i]));
        assert_non_null(strstr(e.msg, "newer"));
        assert_non_null(strstr(e.msg, "900"));
        char back[64];
        snprintf(back, sizeof back, "PRAGMA user_version = %d", (int)now);
        assert_int_equal(exec_in(in(p, files[i]), back), SQLITE_OK);
    }
    store_close(must_open(p->dir));
}

static void test_not_a_database(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    FILE *f = fopen(in(p, "ledger.db"), "w");
    assert_non_null(f);
    for (int i = 0; i < 500; i++)
        fputs("this is not a database ", f);
    fclose(f);
    assert_null(store_open(p->dir, &e));
    assert_int_equal(e.cls, ERR_UNAVAILABLE);
    assert_non_null(strstr(e.msg, "ledger.db"));
}

/* Each allocation of ours fails in turn: open, add and totals say so, nothing leaks. */
static void test_out_of_memory(void **state)
{
    unsigned long n = 0;
    for (bool done = false; !done;) {
        struct err e = {0};
        struct store_call c = call_row("a");
        struct store_request r = request_row("r");
        mem_fail_at(++n);
        struct store *s = store_open("", &e);
        bool ok = s != NULL && store_add_call(s, &c, NULL, &e);
        if (ok) {
            store_add_request(s, &r);
            if (mem_failed()) {
                struct store_health h;
                store_health_of(s, &h);
                assert_int_equal(h.archive_dropped, 1);
            }
        } else {
            assert_int_equal(e.cls, ERR_NOMEM);
        }
        done = !mem_failed();
        mem_fail_at(0);
        store_close(s);
    }
    assert_true(n >= 7);
}

#define AT_PLACE(name) cmocka_unit_test_setup_teardown(name, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        AT_PLACE(test_rows_survive),
        cmocka_unit_test(test_in_memory),
        cmocka_unit_test(test_double_id),
        AT_PLACE(test_four_threads),
        AT_PLACE(test_close_drains),
        AT_PLACE(test_kill_loses_nothing),
        AT_PLACE(test_modes),
        AT_PLACE(test_makes_parents),
        AT_PLACE(test_second_opener),
        AT_PLACE(test_foreign_directory),
        AT_PLACE(test_bad_directories),
        AT_PLACE(test_newer_schema),
        AT_PLACE(test_not_a_database),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
