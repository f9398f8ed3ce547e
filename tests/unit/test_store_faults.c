/* The store on a bad disk: a failed write or fsync ends the ledger and is never tried again; the
 * archive drops rows, counts them and recovers. A VFS of our own stands between SQLite and the file
 * system, counts the fsyncs and fails on command. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"
#include "disk_rig.h"
#include "store/store.h"

/* --- helpers
 * -------------------------------------------------------------------------------------- */

struct bench {
    char dir[64];
    struct store *store;
    struct loop *loop;
};

static int set_up(void **state)
{
    struct bench *b = mem_zalloc(sizeof *b);
    if (b == NULL)
        return -1;
    memcpy(b->dir, "/tmp/fusor-store-XXXXXX", 24);
    struct err e;
    *state = b;
    if (mkdtemp(b->dir) == NULL)
        return -1;
    disk_fails(NULL, false, false);
    b->store = store_open(b->dir, &e);
    b->loop = loop_new(&e);
    return b->store != NULL && b->loop != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"ledger.db", "ledger.db-wal", "archive.db",
                                        "archive.db-wal", "lock"};
    struct bench *b = *state;
    char path[128];
    store_close(b->store);
    loop_free(b->loop);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", b->dir, names[i]);
        unlink(path);
    }
    rmdir(b->dir);
    mem_free(b);
    return 0;
}

static void reopen(struct bench *b)
{
    struct err e = {0};
    store_close(b->store);
    b->store = store_open(b->dir, &e);
    if (b->store == NULL)
        fail_msg("%s", e.msg);
}

struct answer {
    struct store_reply reply;
    bool done;
    struct err err;
};

static void on_answer(struct store_reply *r, const struct err *err)
{
    struct answer *a = CONTAINER_OF(r, struct answer, reply);
    assert_false(a->done);
    a->done = true;
    a->err = err != NULL ? *err : (struct err){0};
    loop_stop(r->loop);
}

static struct store_call call_row(const char *id)
{
    return (struct store_call){.id = span_of(id), .outcome = SPAN("ok"), .cost_nusd = 3};
}

/* The class of what the caller hears, by return value or by reply. */
static enum err_class add(struct bench *b, const char *id)
{
    struct answer a = {.reply = {.loop = b->loop, .on_reply = on_answer}};
    struct store_call c = call_row(id);
    struct err e;
    if (!store_add_call(b->store, &c, &a.reply, &e)) {
        assert_int_equal(e.cls, ERR_UNAVAILABLE);
        assert_true(strlen(e.msg) > 0);
        return e.cls;
    }
    loop_run(b->loop);
    assert_true(a.done);
    return a.err.cls;
}

struct sums {
    struct store_totals t;
    enum err_class cls;
};

static void on_sums(struct store_reply *r, const struct err *err)
{
    CONTAINER_OF(r, struct sums, t.reply)->cls = err != NULL ? err->cls : ERR_NONE;
    loop_stop(r->loop);
}

static enum err_class totals(struct bench *b, struct store_totals *out)
{
    struct sums s = {.t.reply = {.loop = b->loop, .on_reply = on_sums}};
    store_get_totals(b->store, &s.t);
    loop_run(b->loop);
    *out = s.t;
    return s.cls;
}

static void add_requests(struct bench *b, int n)
{
    struct store_request r = {.id = SPAN("req"), .route = SPAN("/v1/chat/completions")};
    for (int i = 0; i < n; i++)
        store_add_request(b->store, &r);
}

/* Waits until the archive has dropped `n` rows and says so. */
static struct store_health wait_dropped(struct bench *b, uint64_t n)
{
    struct store_health h = {0};
    for (int i = 0; i < 5000 && h.archive_dropped < n; i++) {
        usleep(1000);
        store_health_of(b->store, &h);
    }
    assert_int_equal(h.archive_dropped, n);
    return h;
}

static void check_broken(struct bench *b, const char *why)
{
    struct store_health h;
    struct store_totals t;
    store_health_of(b->store, &h);
    assert_false(h.ledger_ok);
    assert_non_null(strstr(h.message, "ledger.db"));
    assert_non_null(strstr(h.message, why));
    assert_non_null(strstr(h.message, "restart"));
    struct store_call c = call_row("later");
    struct err e;
    assert_false(
        store_add_call(b->store, &c, NULL, &e)); /* at once, without a turn of the thread */
    assert_int_equal(e.cls, ERR_UNAVAILABLE);
    assert_int_equal(totals(b, &t), ERR_UNAVAILABLE);
}

/* --- the ledger
 * ----------------------------------------------------------------------------------- */

static void test_failed_fsync(void **state)
{
    struct bench *b = *state;
    struct store_totals t;
    assert_int_equal(add(b, "before"), ERR_NONE);
    disk_fails("ledger.db", true, false);
    assert_int_equal(add(b, "lost"), ERR_UNAVAILABLE);
    assert_int_equal(atomic_load(&disk.syncs), 1);
    /* The disk is well again, and still nothing is written or synced: not now, not at the end. */
    atomic_store(&disk.fail_sync, false);
    check_broken(b, "disk I/O error");
    store_close(TAKE(b->store));
    assert_int_equal(atomic_load(&disk.syncs), 1);
    disk_fails(NULL, false, false);
    reopen(b);
    assert_int_equal(totals(b, &t), ERR_NONE);
    assert_true(t.calls >= 1 && t.calls <= 2); /* "lost" may be there: nobody was told that it is */
    assert_int_equal(add(b, "after"), ERR_NONE);
}

static void test_failed_write(void **state)
{
    struct bench *b = *state;
    struct store_totals t;
    assert_int_equal(add(b, "before"), ERR_NONE);
    disk_fails("ledger.db", false, true);
    assert_int_equal(add(b, "lost"), ERR_UNAVAILABLE);
    disk_fails(NULL, false, false);
    check_broken(b, "full");
    add_requests(b, 3); /* the archive does not care */
    reopen(b);
    assert_int_equal(totals(b, &t), ERR_NONE);
    assert_int_equal(t.calls, 1);
    struct store_health h;
    store_health_of(b->store, &h);
    assert_true(h.ledger_ok);
    assert_string_equal(h.message, "");
}

/* A whole group fails together, and each of its callers hears of it once. */
static void test_failed_group(void **state)
{
    enum { N = 200 };
    struct bench *b = *state;
    struct answer *a = mem_zalloc(N * sizeof *a);
    assert_non_null(a);
    disk_fails("ledger.db", true, false);
    atomic_store(&disk.hold, true);
    for (int i = 0; i < N; i++) {
        char id[16];
        struct err e;
        snprintf(id, sizeof id, "c%d", i);
        struct store_call c = call_row(id);
        a[i].reply = (struct store_reply){.loop = b->loop, .on_reply = on_answer};
        assert_true(store_add_call(b->store, &c, &a[i].reply, &e));
    }
    atomic_store(&disk.hold, false);
    for (int i = 0; i < N; i++) {
        while (!a[i].done)
            loop_run(b->loop);
        assert_int_equal(a[i].err.cls, ERR_UNAVAILABLE);
    }
    assert_int_equal(atomic_load(&disk.syncs), 1);
    mem_free(a);
}

/* The checkpoint's fsync counts too: SQLite's automatic one would have hidden it. Rows acknowledged
 * before it are safe in the WAL. */
static void test_failed_checkpoint(void **state)
{
    struct bench *b = *state;
    int acked = 0;
    struct store_totals t;
    disk_fails("ledger.db-wal", false, false);
    assert_int_equal(add(b, "c"), ERR_NONE);
    assert_int_equal(atomic_load(&disk.syncs), 1); /* synchronous FULL: before the reply */
    acked++;
    disk_fails("ledger.db", true, false);
    atomic_store(&disk.spare_wal, true);
    for (enum err_class cls = ERR_NONE; cls == ERR_NONE && acked < 5000;) {
        char id[16];
        snprintf(id, sizeof id, "c%d", acked);
        cls = add(b, id);
        acked += cls == ERR_NONE;
    }
    assert_true(acked < 5000);
    assert_int_equal(atomic_load(&disk.syncs), 1);
    check_broken(b, "checkpoint");
    store_close(TAKE(b->store));
    assert_int_equal(atomic_load(&disk.syncs), 1);
    atomic_store(&disk.spare_wal, false);
    disk_fails(NULL, false, false);
    reopen(b);
    assert_int_equal(totals(b, &t), ERR_NONE);
    assert_int_equal(t.calls, acked);
}

static void test_file_size_limit(void **state)
{
    struct bench *b = *state;
    struct rlimit before, small = {0};
    void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 262144, .rlim_max = before.rlim_max};
    assert_int_equal(add(b, "first"), ERR_NONE);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum err_class cls = ERR_NONE;
    int acked = 1;
    for (int i = 0; i < 5000 && cls == ERR_NONE; i++, acked += cls == ERR_NONE) {
        char id[16];
        snprintf(id, sizeof id, "c%d", i);
        cls = add(b, id);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, old);
    assert_int_equal(cls, ERR_UNAVAILABLE);
    check_broken(b, "ledger.db");
    struct store_totals t;
    reopen(b);
    assert_int_equal(totals(b, &t), ERR_NONE);
    assert_true(t.calls == acked || t.calls == acked + 1);
}

/* --- the archive
 * ---------------------------------------------------------------------------------- */

static void test_archive_drops(void **state)
{
    struct bench *b = *state;
    disk_fails("archive.db", false, true);
    add_requests(b, 10);
    struct store_health h = wait_dropped(b, 10);
    assert_false(h.archive_ok);
    assert_true(h.ledger_ok);
    assert_non_null(strstr(h.message, "archive.db"));
    assert_int_equal(add(b, "money"), ERR_NONE); /* calls go on */
    disk_fails(NULL, false, false);
    add_requests(b, 5);
    for (int i = 0; i < 5000 && !h.archive_ok; i++) {
        usleep(1000);
        store_health_of(b->store, &h);
    }
    assert_true(h.archive_ok);
    assert_int_equal(h.archive_dropped, 10);
}

/* A disk that hangs: the queue fills, then rows are dropped; adding never waits. */
static void test_archive_is_bounded(void **state)
{
    struct bench *b = *state;
    disk_fails("archive.db", false, false);
    atomic_store(&disk.hold, true);
    add_requests(b, 1);
    usleep(50000); /* the thread has taken it and hangs */
    add_requests(b, 65536 + 100);
    assert_int_equal(add(b, "money"), ERR_NONE);
    wait_dropped(b, 100);
    atomic_store(&disk.hold, false);
}

#define FAULT(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FAULT(test_failed_fsync),       FAULT(test_failed_write),    FAULT(test_failed_group),
        FAULT(test_failed_checkpoint),  FAULT(test_file_size_limit), FAULT(test_archive_drops),
        FAULT(test_archive_is_bounded),
    };
    return cmocka_run_group_tests(tests, install_shim, NULL);
}
