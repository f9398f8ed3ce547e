/* store/store_schema.c - the tables of both files and the steps that made them. A step that was
 * released is never edited: the next change is a new step at the end. */
#include "store/store_priv.h"

#define COL(kind, row, field)                                                                      \
    {                                                                                              \
        kind, offsetof(struct row, field)                                                          \
    }

/* --- ledger.db
 * ------------------------------------------------------------------------------------ */

/* Rows are facts: the triggers keep even our own mistakes from changing one. */
static const char *const ledger_steps[] = {
    "CREATE TABLE call ("
    " seq INTEGER PRIMARY KEY,"
    " id TEXT NOT NULL UNIQUE,"
    " request_id TEXT NOT NULL,"
    " fusion_id TEXT NOT NULL,"
    " role TEXT NOT NULL,"
    " provider TEXT NOT NULL,"
    " model TEXT NOT NULL,"
    " upstream_model TEXT NOT NULL,"
    " host TEXT NOT NULL,"
    " region TEXT NOT NULL,"
    " time_ms INTEGER NOT NULL,"
    " input INTEGER NOT NULL,"
    " cached INTEGER NOT NULL,"
    " cache_write INTEGER NOT NULL,"
    " output INTEGER NOT NULL,"
    " reasoning INTEGER NOT NULL,"
    " cost_nusd INTEGER," /* NULL: unknown, which is not 0 */
    " estimated INTEGER NOT NULL,"
    " uncertain INTEGER NOT NULL,"
    " outcome TEXT NOT NULL,"
    " ttft_us INTEGER,"
    " total_us INTEGER"
    ") STRICT;"
    "CREATE INDEX call_time ON call (time_ms);"
    "CREATE TRIGGER call_no_update BEFORE UPDATE ON call"
    " BEGIN SELECT RAISE(ABORT, 'ledger rows are never changed'); END;"
    "CREATE TRIGGER call_no_delete BEFORE DELETE ON call"
    " BEGIN SELECT RAISE(ABORT, 'ledger rows are never deleted'); END;",
};

static const struct column call_cols[] = {
    COL(COL_TEXT, store_call, id),
    COL(COL_TEXT, store_call, request_id),
    COL(COL_TEXT, store_call, fusion_id),
    COL(COL_TEXT, store_call, role),
    COL(COL_TEXT, store_call, provider),
    COL(COL_TEXT, store_call, model),
    COL(COL_TEXT, store_call, upstream_model),
    COL(COL_TEXT, store_call, host),
    COL(COL_TEXT, store_call, region),
    COL(COL_I64, store_call, time_ms),
    COL(COL_I64, store_call, input),
    COL(COL_I64, store_call, cached),
    COL(COL_I64, store_call, cache_write),
    COL(COL_I64, store_call, output),
    COL(COL_I64, store_call, reasoning),
    COL(COL_I64_OR_NULL, store_call, cost_nusd),
    COL(COL_BOOL, store_call, estimated),
    COL(COL_BOOL, store_call, uncertain),
    COL(COL_TEXT, store_call, outcome),
    COL(COL_I64_OR_NULL, store_call, ttft_us),
    COL(COL_I64_OR_NULL, store_call, total_us),
};

static const struct table call_table = {
    .name = "call",
    .insert = "INSERT INTO call (id, request_id, fusion_id, role, provider, model, upstream_model,"
              " host, region, time_ms, input, cached, cache_write, output, reasoning, cost_nusd,"
              " estimated, uncertain, outcome, ttft_us, total_us)"
              " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    .row_bytes = sizeof(struct store_call),
    .cols = call_cols,
    .n_cols = COUNT_OF(call_cols),
};

const struct schema ledger_schema = {
    .file = "ledger.db",
    .synchronous = "FULL",
    .steps = ledger_steps,
    .n_steps = COUNT_OF(ledger_steps),
    .tables = {&call_table},
    .totals = "SELECT count(*), coalesce(sum(input), 0), coalesce(sum(output), 0),"
              " coalesce(sum(cost_nusd), 0), count(*) - count(cost_nusd) FROM call",
};

/* --- archive.db
 * ----------------------------------------------------------------------------------- */

/* id is not unique: a client may send the same x-request-id twice. */
static const char *const archive_steps[] = {
    "CREATE TABLE request ("
    " seq INTEGER PRIMARY KEY,"
    " id TEXT NOT NULL,"
    " route TEXT NOT NULL,"
    " model TEXT NOT NULL,"
    " mode TEXT NOT NULL,"
    " outcome TEXT NOT NULL,"
    " time_ms INTEGER NOT NULL,"
    " status INTEGER NOT NULL,"
    " ttft_us INTEGER,"
    " total_us INTEGER,"
    " overhead_us INTEGER,"
    " input INTEGER NOT NULL,"
    " output INTEGER NOT NULL,"
    " cost_nusd INTEGER,"
    " calls INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX request_time ON request (time_ms);"
    "CREATE INDEX request_id ON request (id);",

    "CREATE TABLE kept ("
    " kind TEXT NOT NULL,"
    " key TEXT NOT NULL,"
    " owner TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL,"
    " expires_ms INTEGER NOT NULL,"
    " value BLOB NOT NULL,"
    " PRIMARY KEY (kind, key)"
    ") STRICT;"
    "CREATE INDEX kept_expires ON kept (expires_ms);",
};

static const struct column request_cols[] = {
    COL(COL_TEXT, store_request, id),
    COL(COL_TEXT, store_request, route),
    COL(COL_TEXT, store_request, model),
    COL(COL_TEXT, store_request, mode),
    COL(COL_TEXT, store_request, outcome),
    COL(COL_I64, store_request, time_ms),
    COL(COL_I64, store_request, status),
    COL(COL_I64_OR_NULL, store_request, ttft_us),
    COL(COL_I64_OR_NULL, store_request, total_us),
    COL(COL_I64_OR_NULL, store_request, overhead_us),
    COL(COL_I64, store_request, input),
    COL(COL_I64, store_request, output),
    COL(COL_I64_OR_NULL, store_request, cost_nusd),
    COL(COL_I64, store_request, calls),
};

static const struct table request_table = {
    .name = "request",
    .insert = "INSERT INTO request (id, route, model, mode, outcome, time_ms, status, ttft_us,"
              " total_us, overhead_us, input, output, cost_nusd, calls)"
              " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    .row_bytes = sizeof(struct store_request),
    .cols = request_cols,
    .n_cols = COUNT_OF(request_cols),
};

static const struct column kept_cols[] = {
    COL(COL_TEXT, store_keep, kind),      COL(COL_TEXT, store_keep, key),
    COL(COL_TEXT, store_keep, owner),     COL(COL_I64, store_keep, created_ms),
    COL(COL_I64, store_keep, expires_ms), COL(COL_BLOB, store_keep, value),
};

static const struct table kept_table = {
    .name = "kept",
    .insert = "INSERT INTO kept (kind, key, owner, created_ms, expires_ms, value)"
              " VALUES (?,?,?,?,?,?) ON CONFLICT (kind, key) DO UPDATE SET"
              " created_ms = excluded.created_ms, expires_ms = excluded.expires_ms,"
              " value = excluded.value WHERE kept.owner = excluded.owner",
    .row_bytes = sizeof(struct store_keep),
    .cols = kept_cols,
    .n_cols = COUNT_OF(kept_cols),
};

const struct schema archive_schema = {
    .file = "archive.db",
    .synchronous = "NORMAL",
    .steps = archive_steps,
    .n_steps = COUNT_OF(archive_steps),
    .tables = {&request_table, &kept_table},
    .kept_get = "SELECT value FROM kept"
                " WHERE kind = ?1 AND key = ?2 AND owner = ?3 AND expires_ms > ?4",
    .kept_remove = "DELETE FROM kept"
                   " WHERE kind = ?1 AND key = ?2 AND owner = ?3 AND expires_ms > ?4",
    .kept_expire = "DELETE FROM kept WHERE rowid IN"
                   " (SELECT rowid FROM kept WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2)",
};
