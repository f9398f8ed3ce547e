/* store/store_worker.c - a thread that owns one connection, and the queue in front of it.
 *
 * Group commit: the thread takes all that is queued at once and writes it in one transaction; what
 * comes in meanwhile is the next group. So one fsync carries many rows under load and a single row
 * waits for nobody. The lock is held for pointer moves and counters only, never across SQLite. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store/store_priv.h"

/* Rows a lossy queue holds; at some 400 bytes each, 26 MB. */
#define LOSSY_QUEUE_ROWS 65536

/* A row to insert, or totals to fill. */
struct op {
    struct op *next;
    struct store_reply *reply;        /* may be NULL */
    struct store_totals *totals;      /* NULL: insert row */
    bool refused;                     /* this row alone failed, reply->err_ says why */
    _Alignas(max_align_t) char row[]; /* the row's struct, then the text its spans point to */
};

struct worker {
    pthread_t thread;
    bool running;
    struct db *db; /* the thread's alone once it runs */
    const struct schema *schema;
    enum worker_kind kind;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;
    struct op *first, **last;
    size_t queued;
    bool stop;
    bool failed; /* the last write failed; a strict worker stays so */
    struct worker_stats stats;
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
static void finish(struct op *ops, const struct err *err)
{
    while (ops != NULL) {
        struct op *op = ops;
        ops = op->next;
        struct store_reply *r = op->reply;
        bool refused = op->refused;
        mem_free(op);
        if (r != NULL)
            reply_post(r, err != NULL ? err : refused ? &r->err_ : NULL);
    }
}

/* --- the thread
 * ----------------------------------------------------------------------------------- */

/* Waits; NULL: stopped and nothing left. */
static struct op *take_all(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->first == NULL && !w->stop)
        pthread_cond_wait(&w->wake, &w->lock);
    struct op *ops = w->first;
    w->first = NULL;
    w->last = &w->first;
    w->queued = 0;
    pthread_mutex_unlock(&w->lock);
    return ops;
}

/* Of one group. */
struct tally {
    uint64_t rows, refused;
};

static bool run_op(struct worker *w, struct op *op, struct tally *tally, struct err *e)
{
    if (op->totals != NULL)
        return db_totals(w->db, op->totals, e);
    struct err row_err;
    tally->rows++;
    if (db_insert(w->db, op->row, &row_err))
        return true;
    if (row_err.cls == ERR_CONFLICT) {
        op->refused = true;
        tally->refused++;
        if (op->reply != NULL)
            op->reply->err_ = row_err;
        return true;
    }
    *e = row_err;
    return false;
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
    w->stats.dropped += w->kind == WORKER_LOSSY ? tally->refused : 0;
    w->stats.commits += tally->rows > 0;
    pthread_mutex_unlock(&w->lock);
}

static void drop_group(struct worker *w, const struct op *ops)
{
    uint64_t n = 0;
    for (const struct op *op = ops; op != NULL; op = op->next)
        n += op->totals == NULL;
    pthread_mutex_lock(&w->lock);
    w->stats.dropped += n;
    pthread_mutex_unlock(&w->lock);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct op *ops;
    struct err e;
    bool broken = false; /* strict only: e says why, and nothing is written any more */
    while ((ops = take_all(w)) != NULL) {
        struct tally tally = {0};
        bool ok = !broken && commit_group(w, ops, &tally, &e);
        if (ok) {
            note_success(w, &tally);
            finish(ops, NULL);
            ok = db_checkpoint(w->db, &e);
            ops = NULL;
        }
        if (!ok && !broken) {
            note_failure(w, &e);
            broken = w->kind == WORKER_STRICT;
        }
        if (w->kind == WORKER_LOSSY)
            drop_group(w, ops);
        finish(ops, &e);
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
    w->schema = schema;
    w->kind = kind;
    w->last = &w->first;
    w->stats.ok = true;
    pthread_mutex_init(&w->lock, NULL); /* on Linux these two cannot fail */
    pthread_cond_init(&w->wake, NULL);
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

/* A copy of the row whose text lies behind it, as long as the op. */
static struct op *op_new(const struct table *table, const void *row)
{
    size_t text = 0;
    struct span s;
    for (size_t i = 0; i < table->n_cols; i++) {
        if (table->cols[i].kind != COL_TEXT)
            continue;
        memcpy(&s, (const char *)row + table->cols[i].at, sizeof s);
        text += s.n;
    }
    struct op *op = mem_alloc(sizeof *op + table->row_bytes + text);
    if (op == NULL)
        return NULL;
    *op = (struct op){0};
    memcpy(op->row, row, table->row_bytes);
    char *to = op->row + table->row_bytes;
    for (size_t i = 0; i < table->n_cols; i++) {
        if (table->cols[i].kind != COL_TEXT)
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

/* Takes op, also on failure. */
static bool queue(struct worker *w, struct op *op, struct err *e)
{
    bool refused, full;
    char why[sizeof w->stats.message];
    pthread_mutex_lock(&w->lock);
    refused = w->kind == WORKER_STRICT && w->failed;
    full = w->kind == WORKER_LOSSY && w->queued >= LOSSY_QUEUE_ROWS;
    if (refused) {
        memcpy(why, w->stats.message, sizeof why);
    } else if (full) {
        w->stats.dropped++;
    } else {
        *w->last = op;
        w->last = &op->next;
        w->queued++;
        pthread_cond_signal(&w->wake);
    }
    pthread_mutex_unlock(&w->lock);
    if (!refused && !full)
        return true;
    mem_free(op);
    if (refused)
        return err_set(e, ERR_UNAVAILABLE, "%s", why);
    return err_set(e, ERR_BUSY, "%s: the queue is full", w->schema->file);
}

static bool no_memory(struct worker *w, struct err *e)
{
    if (w->kind == WORKER_LOSSY) {
        pthread_mutex_lock(&w->lock);
        w->stats.dropped++;
        pthread_mutex_unlock(&w->lock);
    }
    return err_set(e, ERR_NOMEM, "%s: out of memory", w->schema->file);
}

bool worker_insert(struct worker *w, const void *row, struct store_reply *reply, struct err *e)
{
    struct op *op = op_new(w->schema->table, row);
    if (op == NULL)
        return no_memory(w, e);
    op->reply = reply;
    return queue(w, op, e);
}

bool worker_totals(struct worker *w, struct store_totals *t, struct err *e)
{
    struct op *op = mem_zalloc(sizeof *op);
    if (op == NULL)
        return err_set(e, ERR_NOMEM, "%s: out of memory", w->schema->file);
    op->totals = t;
    op->reply = &t->reply;
    return queue(w, op, e);
}

void worker_stats_of(struct worker *w, struct worker_stats *out)
{
    pthread_mutex_lock(&w->lock);
    *out = w->stats;
    pthread_mutex_unlock(&w->lock);
}
