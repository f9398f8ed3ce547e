/* store/store_db.c - one SQLite connection in WAL mode: opening, migrations, the few statements.
 *
 * Checkpoints are ours, not SQLite's automatic ones: those hide a failed fsync, and a failed fsync
 * must not be tried again (the kernel may have dropped the pages it could not write). They also run
 * after the replies have gone out. One thread at a time. */
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "store/store_priv.h"

/* As SQLite's own default: 4 MB of WAL. */
#define CHECKPOINT_PAGES 1000

/* Of what has expired, removed at once: others wait no longer than that. */
#define EXPIRE_ROWS 32

enum stmt {
    STMT_BEGIN,
    STMT_COMMIT,
    STMT_ROLLBACK,
    STMT_TOTALS,
    STMT_KEPT_GET,
    STMT_KEPT_REMOVE,
    STMT_KEPT_EXPIRE,
    STMT_INSERT, /* one for each table */
    STMTS = STMT_INSERT + SCHEMA_TABLES
};

struct db {
    sqlite3 *h;
    const struct schema *schema;
    sqlite3_stmt *stmt[STMTS]; /* NULL: the schema has no such */
    int wal_pages;             /* after the last commit */
};

static bool fail(const struct db *db, const char *what, struct err *e)
{
    int sys = db->h != NULL ? sqlite3_system_errno(db->h) : 0;
    err_set(e, ERR_UNAVAILABLE, "%s: %s: %s%s%s", db->schema->file, what,
            db->h != NULL ? sqlite3_errmsg(db->h) : "out of memory", sys != 0 ? ": " : "",
            sys != 0 ? strerror(sys) : "");
    if (e != NULL)
        e->sys = sys;
    return false;
}

/* --- opening
 * -------------------------------------------------------------------------------------- */

static bool exec(struct db *db, const char *what, const char *sql, struct err *e)
{
    return sqlite3_exec(db->h, sql, NULL, NULL, NULL) == SQLITE_OK || fail(db, what, e);
}

static bool prepare(struct db *db, const char *sql, sqlite3_stmt **out, struct err *e)
{
    return sqlite3_prepare_v3(db->h, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) == SQLITE_OK ||
           fail(db, "cannot prepare", e);
}

/* The first column of the first row, as text cut to the array. */
static bool ask(struct db *db, const char *sql, char *out, size_t cap, struct err *e)
{
    sqlite3_stmt *stmt;
    if (!prepare(db, sql, &stmt, e))
        return false;
    bool ok = sqlite3_step(stmt) == SQLITE_ROW || fail(db, sql, e);
    if (ok)
        snprintf(out, cap, "%s", (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    return ok;
}

static int on_wal(void *arg, sqlite3 *h, const char *name, int pages)
{
    struct db *db = arg;
    db->wal_pages = pages;
    return SQLITE_OK;
}

static bool set_up(struct db *db, struct err *e)
{
    char text[64];
    /* Exclusive first: it also keeps the WAL's index in memory instead of in a shared file. */
    if (!ask(db, "PRAGMA locking_mode = EXCLUSIVE", text, sizeof text, e) ||
        !ask(db, "PRAGMA journal_mode = WAL", text, sizeof text, e))
        return false;
    if (strcmp(text, "wal") != 0 && strcmp(text, "memory") != 0)
        return err_set(e, ERR_CONFIG, "%s: this file system cannot hold a WAL (mode %s)",
                       db->schema->file, text);
    snprintf(text, sizeof text, "PRAGMA synchronous = %s", db->schema->synchronous);
    /* What was removed is overwritten: it may be the text of a conversation. */
    if (!exec(db, "cannot configure", "PRAGMA secure_delete = ON", e) ||
        !exec(db, "cannot configure", text, e) ||
        !exec(db, "cannot configure", "PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON", e))
        return false;
    sqlite3_wal_hook(db->h, on_wal, db); /* takes the place of the automatic checkpoint */
    return true;
}

static bool step_up(struct db *db, size_t from, struct err *e)
{
    char set[64];
    snprintf(set, sizeof set, "PRAGMA user_version = %zu; COMMIT", from + 1);
    if (exec(db, "cannot migrate", "BEGIN IMMEDIATE", e) &&
        exec(db, "cannot migrate", db->schema->steps[from], e) &&
        exec(db, "cannot migrate", set, e))
        return true;
    sqlite3_exec(db->h, "ROLLBACK", NULL, NULL, NULL);
    return err_prefix(e, "schema step %zu", from + 1);
}

static bool migrate(struct db *db, struct err *e)
{
    char text[32];
    int64_t have;
    if (!ask(db, "PRAGMA user_version", text, sizeof text, e))
        return false;
    size_t known = db->schema->n_steps;
    if (!span_to_i64(span_of(text), &have) || have < 0 || (size_t)have > known)
        return err_set(e, ERR_CONFIG,
                       "%s was written by a newer version of fusor (schema %s, this one knows up "
                       "to %zu): start that version, or restore a backup",
                       db->schema->file, text, known);
    for (size_t i = (size_t)have; i < known; i++)
        if (!step_up(db, i, e))
            return false;
    return true;
}

static bool prepare_all(struct db *db, struct err *e)
{
    const struct schema *s = db->schema;
    const char *sql[STMTS] = {
        [STMT_BEGIN] = "BEGIN IMMEDIATE",    [STMT_COMMIT] = "COMMIT",
        [STMT_ROLLBACK] = "ROLLBACK",        [STMT_TOTALS] = s->totals,
        [STMT_KEPT_GET] = s->kept_get,       [STMT_KEPT_REMOVE] = s->kept_remove,
        [STMT_KEPT_EXPIRE] = s->kept_expire,
    };
    for (size_t i = 0; i < SCHEMA_TABLES && s->tables[i] != NULL; i++)
        sql[STMT_INSERT + i] = s->tables[i]->insert;
    for (size_t i = 0; i < STMTS; i++)
        if (sql[i] != NULL && !prepare(db, sql[i], &db->stmt[i], e))
            return false;
    return true;
}

struct db *db_open(const char *path, const struct schema *schema, struct err *e)
{
    struct db *db = mem_zalloc(sizeof *db);
    if (db == NULL) {
        err_set(e, ERR_NOMEM, "store: out of memory");
        return NULL;
    }
    db->schema = schema;
    int rc = sqlite3_open_v2(
        path, &db->h, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    bool ok = rc == SQLITE_OK || fail(db, "cannot open", e);
    ok = ok && set_up(db, e) && migrate(db, e) && prepare_all(db, e);
    if (ok)
        return db;
    db_close(db, false);
    return NULL;
}

void db_close(struct db *db, bool clean)
{
    if (db == NULL)
        return;
    for (size_t i = 0; i < STMTS; i++)
        sqlite3_finalize(db->stmt[i]);
    if (!clean && db->h != NULL)
        sqlite3_db_config(db->h, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(db->h);
    mem_free(db);
}

/* --- transactions
 * --------------------------------------------------------------------------------- */

static bool run(struct db *db, enum stmt which, const char *what, struct err *e)
{
    bool ok = sqlite3_step(db->stmt[which]) == SQLITE_DONE || fail(db, what, e);
    sqlite3_reset(db->stmt[which]);
    return ok;
}

bool db_begin(struct db *db, struct err *e)
{
    return run(db, STMT_BEGIN, "cannot begin", e);
}

bool db_commit(struct db *db, struct err *e)
{
    return run(db, STMT_COMMIT, "cannot commit", e);
}

/* SQLite has rolled back by itself after some errors; that this one then fails means nothing. */
void db_rollback(struct db *db)
{
    if (!sqlite3_get_autocommit(db->h))
        (void)run(db, STMT_ROLLBACK, "cannot roll back", NULL);
}

static int bind_text(sqlite3_stmt *stmt, int at, struct span s)
{
    return sqlite3_bind_text64(stmt, at, s.n > 0 ? s.p : "", s.n, SQLITE_STATIC, SQLITE_UTF8);
}

static int bind(sqlite3_stmt *stmt, int at, const struct column *col, const char *row)
{
    const void *field = row + col->at;
    switch (col->kind) {
    case COL_TEXT:
    case COL_BLOB: {
        struct span s;
        memcpy(&s, field, sizeof s);
        if (col->kind == COL_BLOB)
            return sqlite3_bind_blob64(stmt, at, s.n > 0 ? s.p : "", s.n, SQLITE_STATIC);
        return bind_text(stmt, at, s);
    }
    case COL_I64:
    case COL_I64_OR_NULL: {
        int64_t v;
        memcpy(&v, field, sizeof v);
        if (col->kind == COL_I64_OR_NULL && v < 0)
            return sqlite3_bind_null(stmt, at);
        return sqlite3_bind_int64(stmt, at, v);
    }
    case COL_BOOL:
        return sqlite3_bind_int(stmt, at, *(const bool *)field);
    }
    return SQLITE_MISUSE;
}

bool db_insert(struct db *db, size_t which, const void *row, struct err *e)
{
    const struct table *table = db->schema->tables[which];
    sqlite3_stmt *stmt = db->stmt[STMT_INSERT + which];
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < table->n_cols; i++)
        rc = bind(stmt, (int)i + 1, &table->cols[i], row);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_CONSTRAINT)
        err_set(e, ERR_CONFLICT, "%s: %s", db->schema->file, sqlite3_errmsg(db->h));
    else if (rc != SQLITE_DONE)
        fail(db, "cannot write", e);
    sqlite3_reset(stmt);
    return rc == SQLITE_DONE;
}

bool db_totals(struct db *db, struct store_totals *t, struct err *e)
{
    sqlite3_stmt *stmt = db->stmt[STMT_TOTALS];
    bool ok = sqlite3_step(stmt) == SQLITE_ROW || fail(db, "cannot read", e);
    if (ok) {
        t->calls = sqlite3_column_int64(stmt, 0);
        t->input = sqlite3_column_int64(stmt, 1);
        t->output = sqlite3_column_int64(stmt, 2);
        t->cost_nusd = sqlite3_column_int64(stmt, 3);
        t->unknown_cost_calls = sqlite3_column_int64(stmt, 4);
    }
    sqlite3_reset(stmt);
    return ok;
}

/* --- what is kept
 * --------------------------------------------------------------------------------- */

static bool bind_kept(sqlite3_stmt *stmt, const struct store_kept *k, size_t i, int64_t now_ms)
{
    return bind_text(stmt, 1, k->kind) == SQLITE_OK &&
           bind_text(stmt, 2, k->keys[i]) == SQLITE_OK &&
           bind_text(stmt, 3, k->owner) == SQLITE_OK &&
           sqlite3_bind_int64(stmt, 4, now_ms) == SQLITE_OK;
}

/* The value of the row that the statement stands on. */
static bool copy_value(sqlite3_stmt *stmt, size_t *bytes, struct span *out, struct err *e)
{
    const void *value = sqlite3_column_blob(stmt, 0);
    size_t n = (size_t)sqlite3_column_bytes(stmt, 0);
    if (*bytes + n > LIMIT_KEPT_REPLY_BYTES)
        return err_set(e, ERR_LIMIT, "what is kept is larger than %zu MiB",
                       LIMIT_KEPT_REPLY_BYTES >> 20);
    char *copy = value != NULL || n == 0 ? mem_alloc(n) : NULL;
    if (copy == NULL)
        return err_set(e, ERR_NOMEM, "archive: out of memory");
    if (n > 0)
        memcpy(copy, value, n);
    *bytes += n;
    *out = (struct span){copy, n};
    return true;
}

bool db_kept_get(struct db *db, struct store_kept *k, int64_t now_ms, struct err *e)
{
    sqlite3_stmt *stmt = db->stmt[STMT_KEPT_GET];
    size_t bytes = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < k->n_keys; i++) {
        int rc = bind_kept(stmt, k, i, now_ms) ? sqlite3_step(stmt) : SQLITE_NOMEM;
        if (rc == SQLITE_ROW)
            ok = copy_value(stmt, &bytes, &k->values[i], e);
        else if (rc != SQLITE_DONE)
            ok = fail(db, "cannot read", e);
        k->n_found += rc == SQLITE_ROW;
        sqlite3_reset(stmt);
    }
    if (!ok)
        store_kept_done(k);
    return ok;
}

bool db_kept_remove(struct db *db, struct store_kept *k, int64_t now_ms, struct err *e)
{
    sqlite3_stmt *stmt = db->stmt[STMT_KEPT_REMOVE];
    bool ok = true;
    for (size_t i = 0; ok && i < k->n_keys; i++) {
        int rc = bind_kept(stmt, k, i, now_ms) ? sqlite3_step(stmt) : SQLITE_NOMEM;
        ok = rc == SQLITE_DONE || fail(db, "cannot write", e);
        k->n_found += ok ? (size_t)sqlite3_changes(db->h) : 0;
        sqlite3_reset(stmt);
    }
    return ok;
}

bool db_kept_expire(struct db *db, int64_t now_ms, bool *out_more, struct err *e)
{
    sqlite3_stmt *stmt = db->stmt[STMT_KEPT_EXPIRE];
    bool ok = sqlite3_bind_int64(stmt, 1, now_ms) == SQLITE_OK &&
              sqlite3_bind_int(stmt, 2, EXPIRE_ROWS) == SQLITE_OK &&
              run(db, STMT_KEPT_EXPIRE, "cannot remove what has expired", e);
    *out_more = ok && sqlite3_changes(db->h) == EXPIRE_ROWS;
    return ok;
}

bool db_checkpoint(struct db *db, struct err *e)
{
    if (db->wal_pages < CHECKPOINT_PAGES)
        return true;
    db->wal_pages = 0;
    return sqlite3_wal_checkpoint_v2(db->h, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) ==
               SQLITE_OK ||
           fail(db, "cannot checkpoint", e);
}
