/* store/store_worker.c - a thread that owns one connection, and the queue in front of it.
 *
 * Group commit: the thread takes all that is queued at once and writes it in one transaction; what
 * comes in meanwhile is the next group. A row that somebody waits for is written at once; rows that
 * nobody waits for gather for some milliseconds, so that under load one fsync and two switches of
 * threads carry many of them. Queueing takes no lock: rows are pushed on a stack, which the thread
 * takes whole and turns over; the lock is for its sleep, for counters and for what to say. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/store_priv.h"

/* Rows a lossy queue holds; at some 400 bytes each, 26 MB. Together they are not larger than
 * LIMIT_KEPT_QUEUE_BYTES. */
#define LOSSY_QUEUE_ROWS 65536
/* How long rows without a waiter gather, and how many are enough. A killed process loses no more
 * than that of the ends of calls (their intents will be waited for). */
#define STRICT_GATHER_NS (2 * 1000 * 1000)
#define LOSSY_GATHER_NS  (20 * 1000 * 1000)
#define GATHER_ROWS      512

/* What has expired is looked for when the thread begins, and then at most so often, behind what
 * else it does. */
#define EXPIRE_EVERY_US ((int64_t)60 * 1000 * 1000)

enum op_kind { OP_INSERT, OP_TOTALS, OP_KEPT_GET, OP_KEPT_REMOVE };

struct op {
    struct op *next;
    struct store_reply *reply; /* may be NULL */
    enum op_kind kind;
    union {
        size_t table; /* OP_INSERT: where row goes */
        struct store_totals *totals;
        struct store_kept *kept;
    };
    size_t bytes;                     /* of the op itself */
    bool refused;                     /* this op alone failed, reply->err_ says why */
    bool answered;                    /* it needs no commit */
    _Alignas(max_align_t) char row[]; /* the row's struct, then the text its spans point to */
};

struct worker {
    pthread_t thread;
    bool running;
    struct db *db; /* the thread's alone once it runs */
    const struct schema *schema;
    enum worker_kind kind;

    struct op *_Atomic top; /* the queue, last one first */
    _Atomic size_t queued;
    _Atomic size_t bytes;     /* of all ops that are not done */
    _Atomic bool urgent;      /* somebody waits for a row of the queue */
    _Atomic bool failed;      /* the last write failed; a strict worker stays so */
    _Atomic uint64_t dropped; /* rows of a lossy worker */

    pthread_mutex_t lock; /* guards all below, and the thread's sleep */
    pthread_cond_t wake;
    bool stop;
    struct worker_stats stats; /* ->dropped is above */

    /* the thread's alone */
    int64_t expire_us; /* clock_mono_us() when to look again for what has expired */
    bool expire_more;  /* not all of it is gone */
};

/* --- replies
 * -------------------------------------------------------------------------------------- */

static void on_reply_task(struct loop_task *t)
{
    struct store_reply *r = CONTAINER_OF(t, struct store_reply, task_);
    r->on_reply(r, r->failed_ ? &r->err_ : NULL);
}

void reply_post(struct store_reply *r, const struct err *err)
{
    r->failed_ = err != NULL;
    if (err != NULL && err != &r->err_)
        r->err_ = *err;
    loop_task_init(&r->task_, on_reply_task);
    loop_post(r->loop, &r->task_);
}

/* Replies in order of the queue. err NULL: all but the refused ones are committed. */
static void finish(struct worker *w, struct op *ops, const struct err *err)
{
    while (ops != NULL) {
        struct op *op = ops;
        ops = op->next;
        struct store_reply *r = op->reply;
        bool refused = op->refused, answered = op->answered;
        w->bytes -= op->bytes;
        mem_free(op);
        if (r != NULL)
            reply_post(r, err != NULL && !answered ? err : refused ? &r->err_ : NULL);
    }
}

/* --- the thread
 * ----------------------------------------------------------------------------------- */

/* The lock is held, a row is queued. */
static void gather(struct worker *w)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += w->kind == WORKER_STRICT ? STRICT_GATHER_NS : LOSSY_GATHER_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    int late = 0;
    while (!w->urgent && !w->stop && w->queued < GATHER_ROWS && late == 0)
        late = pthread_cond_timedwait(&w->wake, &w->lock, &until);
}

static struct op *in_order(struct op *top)
{
    struct op *first = NULL;
    while (top != NULL) {
        struct op *next = top->next;
        top->next = first;
        first = top;
        top = next;
    }
    return first;
}

/* Waits. False: stopped, and nothing is left. A row that comes between the last three lines is
 * taken too, or finds the queue empty and wakes us again, perhaps for nothing. */
static bool take_all(struct worker *w, struct op **out)
{
    pthread_mutex_lock(&w->lock);
    while (w->queued == 0 && !w->stop)
        pthread_cond_wait(&w->wake, &w->lock);
    if (w->queued > 0)
        gather(w);
    bool stop = w->stop;
    pthread_mutex_unlock(&w->lock);
    w->urgent = false;
    w->queued = 0;
    *out = in_order(atomic_exchange(&w->top, NULL));
    return *out != NULL || !stop;
}

/* Of one group. */
struct tally {
    uint64_t rows, refused;
};

/* This op alone has failed. */
static bool refuse_op(struct op *op, const struct err *why)
{
    op->refused = true;
    if (op->reply != NULL)
        op->reply->err_ = *why;
    return true;
}

static bool run_insert(struct worker *w, struct op *op, struct tally *tally, struct err *e)
{
    struct err row_err;
    tally->rows++;
    if (db_insert(w->db, op->table, op->row, &row_err))
        return true;
    if (row_err.cls == ERR_CONFLICT) {
        tally->refused++;
        return refuse_op(op, &row_err);
    }
    *e = row_err;
    return false;
}

static bool run_get(struct worker *w, struct op *op, struct err *e)
{
    struct err why;
    if (db_kept_get(w->db, op->kept, clock_wall_ms(), &why)) {
        op->answered = true;
        return true;
    }
    if (why.cls == ERR_LIMIT || why.cls == ERR_NOMEM)
        return refuse_op(op, &why);
    *e = why;
    return false;
}

static bool run_op(struct worker *w, struct op *op, struct tally *tally, struct err *e)
{
    switch (op->kind) {
    case OP_INSERT:
        return run_insert(w, op, tally, e);
    case OP_TOTALS:
        return db_totals(w->db, op->totals, e);
    case OP_KEPT_GET:
        return run_get(w, op, e);
    case OP_KEPT_REMOVE:
        return db_kept_remove(w->db, op->kept, clock_wall_ms(), e);
    }
    return true;
}

static bool commit_group(struct worker *w, struct op *ops, struct tally *tally, struct err *e)
{
    bool ok = db_begin(w->db, e);
    for (struct op *op = ops; ok && op != NULL; op = op->next)
        ok = run_op(w, op, tally, e);
    ok = ok && db_commit(w->db, e);
    if (!ok)
        db_rollback(w->db);
    return ok;
}

/* For a person, and for every later caller. */
static void note_failure(struct worker *w, struct err *e)
{
    struct err said = *e;
    if (w->kind == WORKER_STRICT)
        err_set(&said, ERR_UNAVAILABLE, "%s; calls are refused until fusor is restarted", e->msg);
    pthread_mutex_lock(&w->lock);
    w->failed = true;
    w->stats.ok = false;
    snprintf(w->stats.message, sizeof w->stats.message, "%.*s", (int)sizeof w->stats.message - 1,
             said.msg);
    pthread_mutex_unlock(&w->lock);
    *e = said;
}

static void note_success(struct worker *w, const struct tally *tally)
{
    pthread_mutex_lock(&w->lock);
    w->failed = false;
    w->stats.ok = true;
    w->stats.rows += tally->rows - tally->refused;
    w->stats.commits += tally->rows > 0;
    pthread_mutex_unlock(&w->lock);
    if (w->kind == WORKER_LOSSY)
        w->dropped += tally->refused;
}

static void drop_group(struct worker *w, const struct op *ops)
{
    uint64_t n = 0;
    for (const struct op *op = ops; op != NULL; op = op->next)
        n += op->kind == OP_INSERT;
    w->dropped += n;
}

static bool is_idle(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    bool stop = w->stop;
    pthread_mutex_unlock(&w->lock);
    return !stop && w->queued == 0;
}

/* In pieces, and others come first. */
static void expire(struct worker *w)
{
    struct err e;
    int64_t now = clock_mono_us();
    if (w->schema->kept_expire == NULL || w->failed || (!w->expire_more && now < w->expire_us))
        return;
    w->expire_us = now + EXPIRE_EVERY_US;
    do {
        if (!db_kept_expire(w->db, clock_wall_ms(), &w->expire_more, &e) ||
            !db_checkpoint(w->db, &e))
            note_failure(w, &e);
    } while (w->expire_more && !w->failed && is_idle(w));
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct op *ops;
    struct err e;
    bool broken = false; /* strict only: e says why, and nothing is written any more */
    expire(w);
    while (take_all(w, &ops)) {
        struct tally tally = {0};
        if (ops == NULL)
            continue;
        bool ok = !broken && commit_group(w, ops, &tally, &e);
        if (ok) {
            note_success(w, &tally);
            finish(w, ops, NULL);
            ok = db_checkpoint(w->db, &e);
            ops = NULL;
        }
        if (!ok && !broken) {
            note_failure(w, &e);
            broken = w->kind == WORKER_STRICT;
        }
        if (w->kind == WORKER_LOSSY)
            drop_group(w, ops);
        finish(w, ops, &e);
        expire(w);
    }
    return NULL;
}

/* --- life
 * ----------------------------------------------------------------------------------------- */

/* Signals belong to the main thread. */
static bool start_thread(struct worker *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    w->running = pthread_create(&w->thread, NULL, worker_main, w) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return w->running;
}

struct worker *worker_new(struct db *db, const struct schema *schema, enum worker_kind kind,
                          struct err *e)
{
    struct worker *w = mem_zalloc(sizeof *w);
    if (w == NULL) {
        db_close(db, true);
        err_set(e, ERR_NOMEM, "store: out of memory");
        return NULL;
    }
    w->db = db;
    w->expire_us = clock_mono_us();
    w->schema = schema;
    w->kind = kind;
    w->stats.ok = true;
    pthread_condattr_t monotonic; /* on Linux none of these can fail */
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (start_thread(w))
        return w;
    worker_free(w);
    err_set(e, ERR_NOMEM, "store: cannot start a thread");
    return NULL;
}

void worker_free(struct worker *w)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    if (w->running)
        pthread_join(w->thread, NULL);
    /* After a failed write no fsync is tried again: the WAL is left to the next start. */
    db_close(w->db, !w->failed);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}

/* --- queueing
 * ------------------------------------------------------------------------------------- */

static bool is_span(const struct column *col)
{
    return col->kind == COL_TEXT || col->kind == COL_BLOB;
}

static struct op *op_new(enum op_kind kind, size_t bytes, struct store_reply *reply)
{
    struct op *op = mem_alloc(sizeof *op + bytes);
    if (op != NULL)
        *op = (struct op){.kind = kind, .bytes = sizeof *op + bytes, .reply = reply};
    return op;
}

/* A copy of the row whose text lies behind it, as long as the op. */
static struct op *insert_new(const struct schema *schema, size_t which, const void *row,
                             struct store_reply *reply)
{
    const struct table *table = schema->tables[which];
    size_t text = 0;
    struct span s;
    for (size_t i = 0; i < table->n_cols; i++) {
        if (!is_span(&table->cols[i]))
            continue;
        memcpy(&s, (const char *)row + table->cols[i].at, sizeof s);
        text += s.n;
    }
    struct op *op = op_new(OP_INSERT, table->row_bytes + text, reply);
    if (op == NULL)
        return NULL;
    op->table = which;
    memcpy(op->row, row, table->row_bytes);
    char *to = op->row + table->row_bytes;
    for (size_t i = 0; i < table->n_cols; i++) {
        if (!is_span(&table->cols[i]))
            continue;
        char *field = op->row + table->cols[i].at;
        memcpy(&s, field, sizeof s);
        if (s.n > 0)
            memcpy(to, s.p, s.n);
        s.p = to;
        to += s.n;
        memcpy(field, &s, sizeof s);
    }
    return op;
}

static bool refuse(struct worker *w, struct err *e)
{
    pthread_mutex_lock(&w->lock);
    err_set(e, ERR_UNAVAILABLE, "%s", w->stats.message);
    pthread_mutex_unlock(&w->lock);
    return false;
}

static void push(struct worker *w, struct op *op)
{
    bool waited = op->reply != NULL; /* op is the thread's as soon as it is on the stack */
    w->bytes += op->bytes;
    op->next = w->top;
    while (!atomic_compare_exchange_weak(&w->top, &op->next, op))
        continue;
    bool wake = waited && !atomic_exchange(&w->urgent, true);
    size_t before = atomic_fetch_add(&w->queued, 1);
    if (!wake && before != 0 && before != GATHER_ROWS - 1)
        return;
    pthread_mutex_lock(&w->lock); /* it sleeps, or is about to look */
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

/* Takes op, also on failure. */
static bool queue(struct worker *w, struct op *op, struct err *e)
{
    bool refused = w->kind == WORKER_STRICT && w->failed;
    bool full = w->kind == WORKER_LOSSY &&
                (w->queued >= LOSSY_QUEUE_ROWS || w->bytes + op->bytes > LIMIT_KEPT_QUEUE_BYTES);
    if (!refused && !full) {
        push(w, op);
        return true;
    }
    w->dropped += !refused && op->kind == OP_INSERT;
    mem_free(op);
    if (refused)
        return refuse(w, e);
    return err_set(e, ERR_BUSY, "%s: the queue is full", w->schema->file);
}

static bool no_memory(struct worker *w, struct err *e)
{
    if (w->kind == WORKER_LOSSY)
        w->dropped++;
    return err_set(e, ERR_NOMEM, "%s: out of memory", w->schema->file);
}

bool worker_insert(struct worker *w, const void *row, struct store_reply *reply, struct err *e)
{
    struct op *op = insert_new(w->schema, 0, row, reply);
    return op != NULL ? queue(w, op, e) : no_memory(w, e);
}

bool worker_keep(struct worker *w, const struct store_keep *k, struct err *e)
{
    struct op *op = insert_new(w->schema, ARCHIVE_KEPT, k, NULL);
    return op != NULL ? queue(w, op, e) : no_memory(w, e);
}

bool worker_kept(struct worker *w, struct store_kept *k, bool remove, struct err *e)
{
    struct op *op = op_new(remove ? OP_KEPT_REMOVE : OP_KEPT_GET, 0, &k->reply);
    if (op == NULL)
        return err_set(e, ERR_NOMEM, "%s: out of memory", w->schema->file);
    op->kept = k;
    return queue(w, op, e);
}

bool worker_totals(struct worker *w, struct store_totals *t, struct err *e)
{
    struct op *op = op_new(OP_TOTALS, 0, &t->reply);
    if (op == NULL)
        return err_set(e, ERR_NOMEM, "%s: out of memory", w->schema->file);
    op->totals = t;
    return queue(w, op, e);
}

void worker_stats_of(struct worker *w, struct worker_stats *out)
{
    pthread_mutex_lock(&w->lock);
    *out = w->stats;
    pthread_mutex_unlock(&w->lock);
    out->dropped = w->dropped;
}

bool worker_ok(const struct worker *w)
{
    return !w->failed;
}
