/* test_gate.c - the ledger's gate: a yes comes once and later, a question can be taken back, each
 * end becomes a row as it was settled, and a ledger that has lost a row refuses what costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "ledger/gate.h"

static const struct config_provider lab = {.name = SPAN_INIT("lab"), .region = SPAN_INIT("us")};
static const struct config_model paid = {.name = SPAN_INIT("big"),
                                         .id = SPAN_INIT("big-2026"),
                                         .provider = &lab,
                                         .region = SPAN_INIT("eu"), /* its own counts */
                                         .price = {1000, -1, -1, 1000, true}};
static const struct config_model gratis = {.name = SPAN_INIT("small"),
                                           .id = SPAN_INIT("small-1"),
                                           .provider = &lab,
                                           .price = {0, -1, -1, 0, true}};
static const struct config_model unpriced = {.name = SPAN_INIT("odd"),
                                             .id = SPAN_INIT("odd"),
                                             .provider = &lab,
                                             .price = {-1, -1, -1, -1, false}};

static struct gate_intent intent_of(const struct config_model *m)
{
    return (struct gate_intent){.request_id = SPAN("req_1"),
                                .role = "member",
                                .model = m,
                                .host = SPAN("lab.example"),
                                .bound_nusd = -1};
}

/* --- a question
 * ----------------------------------------------------------------------------------- */

struct question {
    struct gate_ticket ticket;
    struct gate *gate;
    unsigned yes, no;
    struct err e;
    bool settle; /* inside the answer */
    struct gate_intent intent;
};

static void settle_one(struct gate *g, const struct gate_intent *i, const char *outcome)
{
    struct chat_usage u = {.input = 10,
                           .cached = 4,
                           .cache_write = 1,
                           .output = 5,
                           .reasoning = 2,
                           .cost_nusd = 15,
                           .estimated = true};
    gate_settle(g, i, &u, outcome, true, 1700000000123, 20, 30);
}

static void on_answer(struct gate_ticket *t, const struct err *err)
{
    struct question *q = CONTAINER_OF(t, struct question, ticket);
    gate_withdraw(t); /* fine: it was answered */
    if (err != NULL) {
        q->no++;
        q->e = *err;
        return;
    }
    q->yes++;
    if (q->settle)
        settle_one(q->gate, &q->intent, "ok");
}

static void ask(struct question *q, struct gate *g, const struct config_model *m)
{
    *q = (struct question){.gate = g, .intent = intent_of(m), .ticket.on_answer = on_answer};
    gate_ask(g, &q->intent, &q->ticket);
}

static void check_counts(const struct gate *g, uint64_t yes, uint64_t settled, uint64_t lost)
{
    struct gate_counts c = gate_counts_of(g);
    assert_int_equal(c.yes, yes);
    assert_int_equal(c.settled, settled);
    assert_int_equal(c.lost, lost);
}

/* --- without a store
 * -------------------------------------------------------------------------------- */

static void test_pass(void **state)
{
    struct err e = {0};
    AUTO(loop) l = loop_sim_new(&e);
    AUTO(gate) g = gate_new(l, NULL);
    struct gate_intent i = intent_of(&gratis), other = intent_of(&gratis), costs = intent_of(&paid),
                       odd = intent_of(&unpriced);
    assert_true(gate_pass(g, &i));
    assert_true(gate_pass(g, &other));
    assert_memory_equal(i.id, "call_", 5);
    assert_int_equal(strlen(i.id), 25);
    assert_string_not_equal(i.id, other.id);
    assert_false(gate_pass(g, &costs));
    assert_false(gate_pass(g, &odd));
    check_counts(g, 2, 0, 0);
    settle_one(g, &i, "ok");
    settle_one(g, &other, "cancelled");
    check_counts(g, 2, 2, 0);
}

static void ask_on(struct loop *l)
{
    AUTO(gate) g = gate_new(l, NULL);
    struct question q[3];
    for (size_t i = 0; i < COUNT_OF(q); i++) {
        ask(&q[i], g, i == 0 ? &paid : i == 1 ? &unpriced : &gratis);
        q[i].settle = i == 1;
    }
    assert_int_equal(q[0].yes, 0); /* never from inside gate_ask() */
    check_counts(g, 0, 0, 0);
    for (int i = 0; i < 3; i++)
        (void)loop_step(l);
    for (size_t i = 0; i < COUNT_OF(q); i++) {
        assert_int_equal(q[i].yes, 1);
        assert_int_equal(q[i].no, 0);
    }
    check_counts(g, 3, 1, 0);
    settle_one(g, &q[0].intent, "timeout");
    settle_one(g, &q[2].intent, "ok");
    check_counts(g, 3, 3, 0);
}

static void test_ask_simulated(void **state)
{
    struct err e = {0};
    AUTO(loop) l = loop_sim_new(&e);
    ask_on(l);
}

static void test_ask_real(void **state)
{
    struct err e = {0};
    AUTO(loop) l = loop_new(&e);
    ask_on(l);
}

static void test_withdraw(void **state)
{
    struct err e = {0};
    AUTO(loop) l = loop_sim_new(&e);
    AUTO(gate) g = gate_new(l, NULL);
    struct question kept, back;
    struct gate_ticket never = {.on_answer = on_answer};
    ask(&back, g, &paid);
    ask(&kept, g, &paid);
    gate_withdraw(&back.ticket);
    gate_withdraw(&back.ticket); /* twice is once */
    gate_withdraw(&never);       /* was never asked */
    while (loop_step(l))
        continue;
    assert_int_equal(back.yes + back.no, 0);
    assert_int_equal(kept.yes, 1);
    check_counts(g, 1, 0, 0);
    gate_withdraw(&kept.ticket);
    check_counts(g, 1, 0, 0);
    ask(&back, g, &paid); /* the same memory may ask again */
    while (loop_step(l))
        continue;
    assert_int_equal(back.yes, 1);
}

/* --- with a store
 * ------------------------------------------------------------------------------------ */

struct place {
    char dir[64], path[128];
};

static int make_place(void **state)
{
    struct place *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return -1;
    snprintf(p->dir, sizeof p->dir, "/tmp/fusor-gate-XXXXXX");
    *state = p;
    if (mkdtemp(p->dir) == NULL)
        return -1;
    char path[sizeof p->path];
    snprintf(path, sizeof path, "%s/ledger.db", p->dir);
    memcpy(p->path, path, sizeof path);
    return 0;
}

static int remove_place(void **state)
{
    static const char *const names[] = {
        "ledger.db",      "ledger.db-wal",  "ledger.db-shm",     "archive.db",
        "archive.db-wal", "archive.db-shm", "ledger.db-journal", "lock"};
    struct place *p = *state;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[sizeof p->path];
        snprintf(path, sizeof path, "%s/%s", p->dir, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(p->dir), 0);
    mem_free(p);
    return 0;
}

static int64_t number_in(const char *path, const char *sql)
{
    sqlite3 *h;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
    if (sqlite3_prepare_v2(h, sql, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(h));
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(h);
    return n;
}

static void test_row_as_settled(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    AUTO(store) s = store_open(p->dir, &e);
    AUTO(loop) l = loop_sim_new(&e);
    AUTO(gate) g = gate_new(l, s);
    struct gate_intent passes = intent_of(&gratis);
    struct question q;
    passes.fusion_id = SPAN("fus_7");
    assert_true(gate_pass(g, &passes));
    ask(&q, g, &paid);
    while (loop_step(l))
        continue;
    settle_one(g, &q.intent, "timeout");
    struct chat_usage none = {.cost_nusd = -1};
    gate_settle(g, &passes, &none, "cancelled", false, 1700000000000, -1, 7);
    check_counts(g, 2, 2, 0);
    store_close(TAKE(s));
    static const char *const one[] = {
        "id LIKE 'call_%' AND length(id) = 25 AND request_id = 'req_1' AND fusion_id = '' AND"
        " role = 'member' AND provider = 'lab' AND model = 'big' AND upstream_model = 'big-2026'"
        " AND host = 'lab.example' AND region = 'eu'",
        "model = 'big' AND time_ms = 1700000000123 AND input = 10 AND cached = 4 AND"
        " cache_write = 1 AND output = 5 AND reasoning = 2 AND cost_nusd = 15 AND estimated AND"
        " uncertain AND outcome = 'timeout' AND ttft_us = 20 AND total_us = 30",
        ("model = 'small' AND input = 0 AND cost_nusd IS NULL AND NOT estimated AND NOT uncertain"
         " AND fusion_id = 'fus_7' AND outcome = 'cancelled' AND ttft_us IS NULL AND total_us = 7"),
    };
    for (size_t i = 0; i < COUNT_OF(one); i++) {
        char sql[600];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM call WHERE %s", one[i]);
        if (number_in(p->path, sql) != 1)
            fail_msg("no such row: %s", one[i]);
    }
    assert_int_equal(number_in(p->path, "SELECT count(*) FROM call"), 2);
    assert_int_equal(number_in(p->path, "SELECT count(DISTINCT id) FROM call"), 2);
}

/* The disk takes no byte more from here on. */
static void fill_disk(rlim_t bytes)
{
    struct rlimit r;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static void check_refused(struct gate *g, struct loop *l, const char *word)
{
    struct question q;
    ask(&q, g, &paid);
    while (loop_step(l) && q.yes + q.no == 0)
        continue;
    assert_int_equal(q.yes, 0);
    assert_int_equal(q.no, 1);
    assert_int_equal(q.e.cls, ERR_UNAVAILABLE);
    assert_int_equal(q.e.sent, SENT_NO);
    assert_string_equal(q.e.code, "ledger_failed");
    if (strstr(q.e.msg, word) == NULL)
        fail_msg("\"%s\" is not in: %s", word, q.e.msg);
}

/* A row that reaches the store but not the disk: from then on paid calls are refused, free ones
 * pass. */
static void test_failed_disk(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    struct store_health h = {.ledger_ok = true};
    AUTO(store) s = store_open(p->dir, &e);
    AUTO(loop) l = loop_sim_new(&e);
    AUTO(gate) g = gate_new(l, s);
    struct gate_intent i = intent_of(&gratis);
    assert_true(gate_pass(g, &i));
    fill_disk(0);
    settle_one(g, &i, "ok");
    for (int64_t end = clock_mono_us() + 20000000; h.ledger_ok && clock_mono_us() < end;
         usleep(1000))
        store_health_of(s, &h);
    fill_disk(RLIM_INFINITY);
    assert_false(h.ledger_ok);
    check_refused(g, l, h.message);
    assert_true(gate_pass(g, &i));
    settle_one(g, &i, "ok"); /* the store refuses it */
    check_counts(g, 2, 2, 1);
    check_refused(g, l, "restart");
}

/* A row that memory did not suffice for is lost too, though the disk is well. */
static void test_lost_row(void **state)
{
    struct err e = {0};
    AUTO(store) s = store_open("", &e);
    AUTO(loop) l = loop_sim_new(&e);
    AUTO(gate) g = gate_new(l, s);
    struct question q;
    ask(&q, g, &paid);
    while (loop_step(l))
        continue;
    assert_int_equal(q.yes, 1);
    mem_fail_at(1);
    settle_one(g, &q.intent, "ok");
    assert_true(mem_failed());
    mem_fail_at(0);
    check_counts(g, 1, 1, 1);
    check_refused(g, l, "(a row was lost)");
}

static void test_out_of_memory(void **state)
{
    struct err e = {0};
    AUTO(loop) l = loop_sim_new(&e);
    mem_fail_at(1);
    assert_null(gate_new(l, NULL));
    mem_fail_at(0);
    gate_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pass),
        cmocka_unit_test(test_ask_simulated),
        cmocka_unit_test(test_ask_real),
        cmocka_unit_test(test_withdraw),
        cmocka_unit_test_setup_teardown(test_row_as_settled, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_failed_disk, make_place, remove_place),
        cmocka_unit_test(test_lost_row),
        cmocka_unit_test(test_out_of_memory),
    };
    (void)signal(SIGXFSZ, SIG_IGN); /* a full disk is an error of write() */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
