/* store/store.h - what is kept: ledger.db (money) and archive.db (everything else), SQLite in WAL.
 *
 * A thread of its own per file is the only one that touches it; callers post operations and get
 * their reply posted back to their loop. Operations that wait together share one commit (group
 * commit). ledger.db: synchronous FULL; after a failed write it refuses until restart. archive.db:
 * synchronous NORMAL; bounded queue, a slow or broken archive drops rows, counts them and never
 * stops a call. A lock file in the state directory keeps a second process out. */
#ifndef FUSOR_STORE_STORE_H
#define FUSOR_STORE_STORE_H

#include "base/err.h"
#include "base/span.h"
#include "loop/loop.h"

struct store;

/* owned. Makes the directory (0700) and files (0600), takes the lock (ERR_CONFLICT with the
 * holder's pid when another process has it), brings both schemas to this version. dir "" keeps both
 * in memory and takes no lock. Blocking: call it before the loops run. */
MUST_USE struct store *store_open(const char *dir, struct err *e);
/* Whether store_open() could use the directory, without making or changing anything: it is ours and
 * can be written, or the nearest one above it that is there (*out_have, of PATH_MAX) can. Else
 * ERR_CONFIG or ERR_SYS as there. For doctor. */
MUST_USE bool store_dir_check(const char *dir, char *out_have, struct err *e);
/* True when a process has the directory; *out_pid 0: it has not said which. */
bool store_dir_is_held(const char *dir, long *out_pid);
/* Writes all that is queued, closes, lets the lock go. Blocking. Replies still out are posted
 * before it returns: their loops must live on to run them. NULL is fine. */
void store_close(struct store *s);
static inline void store_free(struct store *s)
{
    store_close(s);
}
AUTO_DEFINE(store)

/* A reply: on_reply runs on `loop`'s thread, exactly once, with err NULL when it is committed. The
 * reply must live until then; result fields are filled by the operation. */
struct store_reply {
    struct loop *loop;
    void (*on_reply)(struct store_reply *r, const struct err *err);
    struct loop_task task_;
    struct err err_;
    bool failed_;
};

/* One upstream call that has ended (or will never be known): a row of ledger.db, never updated. */
struct store_call {
    struct span id;                    /* "call_..." unique */
    struct span request_id, fusion_id; /* fusion_id may be empty */
    struct span role;                  /* "call", "pass", "member", "judge" */
    struct span provider, model, upstream_model, host, region;
    int64_t time_ms; /* start, unix */
    int64_t input, cached, cache_write, output, reasoning;
    int64_t cost_nusd; /* -1 unknown: kept as NULL */
    bool estimated, uncertain;
    struct span outcome;       /* "ok", "error class", "cancelled" */
    int64_t ttft_us, total_us; /* -1 */
};
/* Copies what it needs. reply may be NULL. False, and then no reply comes: ERR_NOMEM, or
 * ERR_UNAVAILABLE when the ledger has failed. A reply with ERR_CONFLICT: the id exists already. */
MUST_USE bool store_add_call(struct store *s, const struct store_call *c, struct store_reply *reply,
                             struct err *e);

/* One client request: a row of archive.db. */
struct store_request {
    struct span id, route, model, mode, outcome;
    int64_t time_ms, status, ttft_us, total_us, overhead_us;
    int64_t input, output, cost_nusd, calls;
};
/* Never fails; a full queue drops the row and counts it. */
void store_add_request(struct store *s, const struct store_request *r);

/* Sums over all calls of the ledger, those queued before included. Always replies, also when memory
 * runs out or the ledger has failed. */
struct store_totals {
    struct store_reply reply;
    int64_t calls, input, output, cost_nusd, unknown_cost_calls;
};
void store_get_totals(struct store *s, struct store_totals *t);

/* --- values that are kept for later requests, in archive.db
 * -------------------------------------------------------------- */

/* A value under its kind and key, until it expires. A second one with the same kind, key and owner
 * takes its place; of another owner's, nothing is seen and nothing changed. */
struct store_keep {
    struct span kind, key, owner; /* owner: may be empty */
    struct span value;            /* any bytes, LIMIT_KEPT_BYTES at most */
    int64_t created_ms, expires_ms;
};
/* Copies all and does not wait. False: ERR_LIMIT (too large), ERR_BUSY (too many wait), ERR_NOMEM;
 * what is queued and cannot be written is dropped and counted. */
MUST_USE bool store_keep(struct store *s, const struct store_keep *k, struct err *e);

/* A question for values, or their removal. It, its keys and its array live until the reply. */
struct store_kept {
    struct store_reply reply;
    struct span kind, owner;
    const struct span *keys;
    size_t n_keys;
    struct span *values; /* one for each key; p NULL: there is none (removal: all stay so) */
    size_t n_found;
};
/* Both always reply: a value that has been queued before is found. ERR_LIMIT: the values are more
 * than LIMIT_KEPT_REPLY_BYTES together. After a reply with an error there are no values. */
void store_kept_get(struct store *s, struct store_kept *k);
void store_kept_remove(struct store *s, struct store_kept *k);
/* Frees the values that a reply has brought. */
void store_kept_done(struct store_kept *k);

/* State of the store, any thread. */
struct store_health {
    bool ledger_ok, archive_ok;
    uint64_t archive_dropped;
    uint64_t ledger_rows, ledger_commits;
    char message[200]; /* last failure, "" if none */
};
void store_health_of(struct store *s, struct store_health *out);
/* Whether the ledger can be written, as far as is known; without a lock, for each call. */
bool store_ledger_ok(const struct store *s);

#endif
