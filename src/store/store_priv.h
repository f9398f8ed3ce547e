/* store/store_priv.h - the parts behind store/store.h, lowest first:
 *   store_dir.c     state directory and its lock
 *   store_db.c      one SQLite connection: opening, migrations, statements, checkpoints
 *   store_schema.c  the tables, their columns and the steps that made them
 *   store_worker.c  one thread with its queue, around one connection
 *   store.c         the public functions
 *
 * One connection per file, checkpoints by that connection only: SQLite 3.7.0 to 3.51.2 can lose
 * writes when two connections of one WAL file write or checkpoint at once (sqlite.org/wal.html,
 * "The WAL-reset bug"; Debian 12 has 3.40.1). locking_mode=EXCLUSIVE makes SQLite itself refuse a
 * second one. */
#ifndef FUSOR_STORE_STORE_PRIV_H
#define FUSOR_STORE_STORE_PRIV_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

/* --- store_dir.c
 * ---------------------------------------------------------------------------------- */

/* Makes and checks the directory, takes the lock. *out_fd holds the lock until it is closed. */
MUST_USE bool dir_lock(const char *dir, int *out_fd, struct err *e);
/* Makes the file with mode 0600 when it is missing, else sets its mode. */
MUST_USE bool dir_private_file(const char *path, struct err *e);

/* --- store_schema.c
 * ------------------------------------------------------------------------------- */

enum column_kind {
    COL_TEXT,        /* struct span */
    COL_I64,         /* int64_t */
    COL_I64_OR_NULL, /* int64_t, negative is NULL: unknown */
    COL_BOOL,        /* bool */
    COL_BLOB,        /* struct span, any bytes */
};
struct column {
    enum column_kind kind;
    size_t at; /* offset in the row's struct */
};
/* How one struct of store.h becomes one row; columns stand in the order of ?1, ?2, ... */
struct table {
    const char *name, *insert;
    size_t row_bytes;
    const struct column *cols;
    size_t n_cols;
};
#define SCHEMA_TABLES 2
/* What one file holds: steps[i] brings it from version i to i + 1; released steps never change. */
struct schema {
    const char *file; /* "ledger.db" */
    const char *synchronous;
    const char *const *steps;
    size_t n_steps;
    const struct table *tables[SCHEMA_TABLES]; /* NULL: no further one */
    const char *totals;                        /* a query, or NULL; so the next three */
    const char *kept_get, *kept_remove;        /* of kind, key, owner, time */
    const char *kept_expire;                   /* of time, how many at most */
};
enum archive_table { ARCHIVE_REQUEST, ARCHIVE_KEPT };
extern const struct schema ledger_schema, archive_schema;

/* --- store_db.c
 * ----------------------------------------------------------------------------------- */

struct db;

/* owned. path ":memory:" keeps it in memory. ERR_CONFIG: written by a newer version. */
MUST_USE struct db *db_open(const char *path, const struct schema *schema, struct err *e);
/* Clean: checkpoints and removes the WAL. Otherwise the files stay as they are, for the next start.
 */
void db_close(struct db *db, bool clean);
MUST_USE bool db_begin(struct db *db, struct err *e);
MUST_USE bool db_commit(struct db *db, struct err *e);
void db_rollback(struct db *db);
/* ERR_CONFLICT: a row with this key exists; the transaction goes on. Anything else ends it. table:
 * its place in the schema. */
MUST_USE bool db_insert(struct db *db, size_t table, const void *row, struct err *e);
MUST_USE bool db_totals(struct db *db, struct store_totals *t, struct err *e);
/* Fills k. ERR_NOMEM, ERR_LIMIT: the transaction goes on, and k has no values. */
MUST_USE bool db_kept_get(struct db *db, struct store_kept *k, int64_t now_ms, struct err *e);
MUST_USE bool db_kept_remove(struct db *db, struct store_kept *k, int64_t now_ms, struct err *e);
/* Removes some of what has expired; *out_more: there may be more of it. Outside a transaction. */
MUST_USE bool db_kept_expire(struct db *db, int64_t now_ms, bool *out_more, struct err *e);
/* Moves the WAL into the file once it is long enough. */
MUST_USE bool db_checkpoint(struct db *db, struct err *e);

/* --- store_worker.c
 * ------------------------------------------------------------------------------- */

struct worker;

enum worker_kind {
    WORKER_STRICT, /* refuses for ever after a failed write */
    WORKER_LOSSY,  /* bounded queue; drops rows, counts them, tries again with the next ones */
};
/* owned; takes db, also on failure. */
MUST_USE struct worker *worker_new(struct db *db, const struct schema *schema,
                                   enum worker_kind kind, struct err *e);
/* Writes what is queued, ends the thread, closes the file. NULL is fine. */
void worker_free(struct worker *w);
/* Copies row. reply may be NULL. False (nothing queued, no reply): ERR_NOMEM, ERR_UNAVAILABLE, and
 * for a lossy worker ERR_BUSY; a lossy worker counts it as dropped. */
MUST_USE bool worker_insert(struct worker *w, const void *row, struct store_reply *reply,
                            struct err *e);
/* Copies k; false as above. For the archive, as the next one. */
MUST_USE bool worker_keep(struct worker *w, const struct store_keep *k, struct err *e);
/* Fills k and replies; false as above. */
MUST_USE bool worker_kept(struct worker *w, struct store_kept *k, bool remove, struct err *e);
/* Fills t and replies; false as above. */
MUST_USE bool worker_totals(struct worker *w, struct store_totals *t, struct err *e);

struct worker_stats {
    bool ok;
    uint64_t rows, commits, dropped;
    char message[200];
};
void worker_stats_of(struct worker *w, struct worker_stats *out);
/* The last write did not fail. Any thread, without a lock. */
bool worker_ok(const struct worker *w);

/* Posts the reply to its loop; err NULL: committed. */
void reply_post(struct store_reply *r, const struct err *err);

#endif
