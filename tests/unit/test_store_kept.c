/* What the archive keeps for later requests: values come back, expire, are removed, belong to
 * somebody, are bounded; an archive of the version before is brought up; a bad disk stops nobody.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/store.h"

/* --- helpers ---------------------------------------------------------------------------------- */

struct place {
    char dir[64], archive[96];
    struct store *s;
    struct loop *loop;
};

static void open_store(struct place *p, const char *dir)
{
    struct err e = {0};
    p->s = store_open(dir, &e);
    if (p->s == NULL)
        fail_msg("%s", e.msg);
}

static int set_up(void **state)
{
    struct err e;
    struct place *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return -1;
    snprintf(p->dir, sizeof p->dir, "/tmp/fusor-kept-XXXXXX");
    if (mkdtemp(p->dir) == NULL)
        return -1;
    snprintf(p->archive, sizeof p->archive, "%s/archive.db", p->dir);
    p->loop = loop_new(&e);
    *state = p;
    return p->loop != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"ledger.db", "ledger.db-wal", "archive.db",
                                        "archive.db-wal", "lock"};
    struct place *p = *state;
    char path[128];
    store_close(p->s);
    loop_free(p->loop);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", p->dir, names[i]);
        unlink(path);
    }
    rmdir(p->dir);
    mem_free(p);
    return 0;
}

static struct store_keep value_of(const char *key, struct span value)
{
    int64_t now = clock_wall_ms();
    return (struct store_keep){.kind = SPAN("response"),
                               .key = span_of(key),
                               .owner = SPAN("anna"),
                               .created_ms = now,
                               .expires_ms = now + 60000,
                               .value = value};
}

static void keep(struct place *p, const struct store_keep *k)
{
    struct err e = {0};
    if (!store_keep(p->s, k, &e))
        fail_msg("%s", e.msg);
}

struct asked {
    struct store_kept k;
    struct span values[8];
    enum err_class cls;
    bool done;
};

static void on_reply(struct store_reply *r, const struct err *err)
{
    struct asked *a = CONTAINER_OF(r, struct asked, k.reply);
    assert_false(a->done);
    a->done = true;
    a->cls = err != NULL ? err->cls : ERR_NONE;
    loop_stop(r->loop);
}

static void ask_init(struct place *p, struct asked *a, const struct span *keys, size_t n)
{
    *a = (struct asked){.k = {.reply = {.loop = p->loop, .on_reply = on_reply},
                              .kind = SPAN("response"),
                              .owner = SPAN("anna"),
                              .keys = keys,
                              .n_keys = n}};
    a->k.values = a->values;
}

/* Asks for one key and checks what comes; want NULL: nothing. */
static void check_owned(struct place *p, const char *owner, const char *key, const char *want)
{
    struct asked a;
    struct span keys[] = {span_of(key)};
    ask_init(p, &a, keys, 1);
    a.k.owner = span_of(owner);
    store_kept_get(p->s, &a.k);
    loop_run(p->loop);
    assert_int_equal(a.cls, ERR_NONE);
    assert_int_equal(a.k.n_found, want != NULL);
    if (want != NULL && !span_eq(a.values[0], span_of(want)))
        fail_msg("%s: %.*s", key, SPAN_ARG(a.values[0]));
    assert_true(want != NULL || a.values[0].p == NULL);
    store_kept_done(&a.k);
}

static void check(struct place *p, const char *key, const char *want)
{
    check_owned(p, "anna", key, want);
}

static size_t remove_one(struct place *p, const char *owner, const char *key)
{
    struct asked a;
    struct span keys[] = {span_of(key)};
    ask_init(p, &a, keys, 1);
    a.k.owner = span_of(owner);
    store_kept_remove(p->s, &a.k);
    loop_run(p->loop);
    assert_int_equal(a.cls, ERR_NONE);
    assert_null(a.values[0].p);
    return a.k.n_found;
}

/* One number out of the file, which nobody has open. */
static int64_t number(struct place *p, const char *sql)
{
    sqlite3 *h;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_open(p->archive, &h), SQLITE_OK);
    if (sqlite3_prepare_v2(h, sql, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(h));
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(h);
    return n;
}

static void exec(struct place *p, const char *sql)
{
    sqlite3 *h;
    assert_int_equal(sqlite3_open(p->archive, &h), SQLITE_OK);
    if (sqlite3_exec(h, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(h));
    sqlite3_close(h);
}

static void close_store(struct place *p)
{
    store_close(p->s);
    p->s = NULL;
}

/* --- tests ------------------------------------------------------------------------------------ */

/* Any bytes come back, also after a restart; a second value takes the place of the first. */
static void test_comes_back(void **state)
{
    struct place *p = *state;
    struct store_keep a = value_of("a", SPAN("one")), b = value_of("b", SPAN("\0\xff two"));
    struct store_keep none = value_of("none", SPAN(""));
    open_store(p, p->dir);
    keep(p, &a);
    keep(p, &b);
    keep(p, &none);
    check(p, "a", "one");
    check(p, "nobody's", NULL);
    a.value = SPAN("another");
    keep(p, &a);
    check(p, "a", "another");
    close_store(p);
    open_store(p, p->dir);
    check(p, "a", "another");
    struct span keys[] = {SPAN("b"), SPAN("x"), SPAN("none"), SPAN("a")};
    struct asked q;
    ask_init(p, &q, keys, COUNT_OF(keys));
    store_kept_get(p->s, &q.k);
    loop_run(p->loop);
    assert_int_equal(q.k.n_found, 3);
    assert_true(span_eq(q.values[0], b.value));
    assert_null(q.values[1].p);
    assert_true(q.values[2].p != NULL && q.values[2].n == 0);
    assert_true(span_eq(q.values[3], a.value));
    store_kept_done(&q.k);
    assert_null(q.values[0].p);
}

static void test_owner_and_kind(void **state)
{
    struct place *p = *state;
    struct store_keep mine = value_of("a", SPAN("mine")), other = value_of("a", SPAN("other"));
    open_store(p, "");
    keep(p, &mine);
    check_owned(p, "berta", "a", NULL);
    assert_int_equal(remove_one(p, "berta", "a"), 0);
    other.owner = SPAN("berta");
    keep(p, &other); /* somebody else's key */
    check(p, "a", "mine");
    other.owner = SPAN("anna");
    other.kind = SPAN("reasoning");
    keep(p, &other);
    check(p, "a", "mine");
}

static void test_remove(void **state)
{
    struct place *p = *state;
    struct store_keep a = value_of("a", SPAN("a secret that was said once"));
    struct store_keep b = value_of("b", SPAN("stays"));
    open_store(p, p->dir);
    keep(p, &a);
    keep(p, &b);
    assert_int_equal(remove_one(p, "anna", "a"), 1);
    assert_int_equal(remove_one(p, "anna", "a"), 0);
    check(p, "a", NULL);
    check(p, "b", "stays");
    close_store(p);
    /* its bytes are gone too */
    char all[1 << 17];
    FILE *f = fopen(p->archive, "r");
    assert_non_null(f);
    size_t n = fread(all, 1, sizeof all, f);
    fclose(f);
    assert_true(n > 0 && n < sizeof all);
    assert_true(span_index(span_make(all, n), SPAN("said once")) == n);
    assert_true(span_index(span_make(all, n), SPAN("stays")) < n);
}

/* What has expired is not found, and is gone for good at the next start. */
static void test_expires(void **state)
{
    struct place *p = *state;
    enum { N = 100 }; /* more than go at once */
    open_store(p, p->dir);
    for (int i = 0; i < N; i++) {
        char key[16];
        snprintf(key, sizeof key, "old%d", i);
        struct store_keep old = value_of(key, SPAN("old"));
        old.expires_ms = clock_wall_ms();
        keep(p, &old);
    }
    struct store_keep fresh = value_of("fresh", SPAN("fresh")), soon = value_of("soon", SPAN("s"));
    keep(p, &fresh);
    soon.expires_ms = clock_wall_ms() + 300;
    keep(p, &soon);
    check(p, "old7", NULL);
    assert_int_equal(remove_one(p, "anna", "old7"), 0);
    check(p, "fresh", "fresh");
    usleep(400000);
    check(p, "soon", NULL);
    close_store(p);
    assert_int_equal(number(p, "SELECT count(*) FROM kept"), N + 2);
    open_store(p, p->dir);
    check(p, "fresh", "fresh");
    for (int i = 0; i < 100; i++) /* between questions it goes on */
        check(p, "old99", NULL);
    close_store(p);
    assert_int_equal(number(p, "SELECT count(*) FROM kept"), 1);
}

/* An archive of the first version gets the table and keeps its rows. */
static void test_old_schema(void **state)
{
    struct place *p = *state;
    struct store_request r = {.id = SPAN("req_1"), .route = SPAN("/v1/responses")};
    open_store(p, p->dir);
    store_add_request(p->s, &r);
    close_store(p);
    exec(p, "DROP TABLE kept; PRAGMA user_version = 1");
    open_store(p, p->dir);
    struct store_keep a = value_of("a", SPAN("one"));
    keep(p, &a);
    check(p, "a", "one");
    close_store(p);
    assert_int_equal(number(p, "PRAGMA user_version"), 2);
    assert_int_equal(number(p, "SELECT count(*) FROM request"), 1);
}

/* One value, all that wait, and all of one answer have a maximum. */
static void test_bounds(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    char *mem = mem_zalloc(LIMIT_KEPT_BYTES + 1);
    assert_non_null(mem);
    struct store_keep big = value_of("big", span_make(mem, LIMIT_KEPT_BYTES + 1));
    open_store(p, "");
    assert_false(store_keep(p->s, &big, &e));
    assert_int_equal(e.cls, ERR_LIMIT);
    big.value.n = LIMIT_KEPT_BYTES;
    struct span keys[] = {SPAN("big"), SPAN("big"), SPAN("big"), SPAN("big"), SPAN("big")};
    keep(p, &big);
    struct asked q;
    ask_init(p, &q, keys, COUNT_OF(keys));
    store_kept_get(p->s, &q.k);
    loop_run(p->loop);
    assert_int_equal(q.cls, ERR_LIMIT);
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        assert_null(q.values[i].p);
    ask_init(p, &q, keys, 4);
    store_kept_get(p->s, &q.k);
    loop_run(p->loop);
    assert_int_equal(q.cls, ERR_NONE);
    assert_int_equal(q.k.n_found, 4);
    store_kept_done(&q.k);
    bool busy = false;
    for (int i = 0; i < 200 && !busy; i++) /* faster than they are written */
        busy = !store_keep(p->s, &big, &e);
    assert_true(busy);
    assert_int_equal(e.cls, ERR_BUSY);
    struct store_health h;
    store_health_of(p->s, &h);
    assert_true(h.archive_dropped > 0);
    mem_free(mem);
}

/* A write that fails loses what it held, and only that: who asks is answered or told. */
static void test_broken_table(void **state)
{
    struct place *p = *state;
    struct store_keep good = value_of("good", SPAN("good")), bad = value_of("bad", SPAN("bad"));
    open_store(p, p->dir);
    close_store(p);
    exec(p, "CREATE TRIGGER no BEFORE INSERT ON kept WHEN NEW.key = 'bad'"
            " BEGIN SELECT RAISE(ROLLBACK, 'no'); END");
    open_store(p, p->dir);
    keep(p, &good);
    check(p, "good", "good");
    keep(p, &bad);
    struct store_health h = {0};
    for (int i = 0; i < 5000 && h.archive_dropped == 0; i++) {
        usleep(1000);
        store_health_of(p->s, &h);
    }
    assert_int_equal(h.archive_dropped, 1);
    check(p, "good", "good");
}

/* Each allocation of ours fails in turn. */
static void test_out_of_memory(void **state)
{
    struct place *p = *state;
    open_store(p, "");
    struct store_keep a = value_of("a", SPAN("one"));
    struct span keys[] = {SPAN("a")};
    for (unsigned long n = 1;; n++) {
        struct err e = {0};
        struct asked q;
        ask_init(p, &q, keys, 1);
        mem_fail_at(n);
        bool kept = store_keep(p->s, &a, &e);
        assert_true(kept || e.cls == ERR_NOMEM);
        store_kept_get(p->s, &q.k);
        loop_run(p->loop);
        assert_true(q.cls == ERR_NONE || q.cls == ERR_NOMEM);
        bool done = !mem_failed();
        mem_fail_at(0);
        store_kept_done(&q.k);
        if (done) {
            assert_true(n >= 3);
            return;
        }
    }
}

/* A reply that is still out when the store is closed comes all the same. */
static void test_close(void **state)
{
    struct place *p = *state;
    open_store(p, "");
    struct store_keep a = value_of("a", SPAN("one"));
    struct span keys[] = {SPAN("a")};
    struct asked q;
    ask_init(p, &q, keys, 1);
    keep(p, &a);
    store_kept_get(p->s, &q.k);
    close_store(p);
    loop_run(p->loop);
    assert_int_equal(q.k.n_found, 1);
    store_kept_done(&q.k);
}

#define AT_PLACE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        AT_PLACE(test_comes_back),   AT_PLACE(test_owner_and_kind), AT_PLACE(test_remove),
        AT_PLACE(test_expires),      AT_PLACE(test_old_schema),     AT_PLACE(test_bounds),
        AT_PLACE(test_broken_table), AT_PLACE(test_out_of_memory),  AT_PLACE(test_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
