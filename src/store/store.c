/* store/store.c - see store/store.h. Two workers, one per file, behind one lock on the directory.
 */
#include "store/store.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "store/store_priv.h"

struct store {
    int lock_fd; /* -1: in memory */
    struct worker *ledger, *archive;
};

static struct worker *open_worker(const char *dir, const struct schema *schema,
                                  enum worker_kind kind, struct err *e)
{
    char path[PATH_MAX];
    if (dir[0] == '\0') {
        struct db *db = db_open(":memory:", schema, e);
        return db != NULL ? worker_new(db, schema, kind, e) : NULL;
    }
    int n = snprintf(path, sizeof path, "%s/%s", dir, schema->file);
    if (n < 0 || (size_t)n >= sizeof path) {
        err_set(e, ERR_CONFIG, "state directory: the path is too long");
        return NULL;
    }
    if (!dir_private_file(path, e))
        return NULL;
    struct db *db = db_open(path, schema, e);
    return db != NULL ? worker_new(db, schema, kind, e) : NULL;
}

struct store *store_open(const char *dir, struct err *e)
{
    AUTO(store) s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        err_set(e, ERR_NOMEM, "store: out of memory");
        return NULL;
    }
    s->lock_fd = -1;
    if (dir[0] != '\0' && !dir_lock(dir, &s->lock_fd, e))
        return NULL;
    s->ledger = open_worker(dir, &ledger_schema, WORKER_STRICT, e);
    if (s->ledger == NULL)
        return NULL;
    s->archive = open_worker(dir, &archive_schema, WORKER_LOSSY, e);
    return s->archive != NULL ? TAKE(s) : NULL;
}

/* The lock goes last: the next holder must find closed files. */
void store_close(struct store *s)
{
    if (s == NULL)
        return;
    worker_free(s->ledger);
    worker_free(s->archive);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    mem_free(s);
}

bool store_add_call(struct store *s, const struct store_call *c, struct store_reply *reply,
                    struct err *e)
{
    return worker_insert(s->ledger, c, reply, e);
}

void store_add_request(struct store *s, const struct store_request *r)
{
    /* A row that could not be queued has been counted: that is all that can be done for it. */
    if (!worker_insert(s->archive, r, NULL, NULL))
        return;
}

bool store_keep(struct store *s, const struct store_keep *k, struct err *e)
{
    if (k->value.n > LIMIT_KEPT_BYTES)
        return err_set(e, ERR_LIMIT, "%.*s: larger than %zu MiB", SPAN_ARG(k->kind),
                       LIMIT_KEPT_BYTES >> 20);
    return worker_keep(s->archive, k, e);
}

static void ask_kept(struct store *s, struct store_kept *k, bool remove)
{
    struct err e;
    k->n_found = 0;
    for (size_t i = 0; i < k->n_keys; i++)
        k->values[i] = (struct span){0};
    if (!worker_kept(s->archive, k, remove, &e))
        reply_post(&k->reply, &e);
}

void store_kept_get(struct store *s, struct store_kept *k)
{
    ask_kept(s, k, false);
}

void store_kept_remove(struct store *s, struct store_kept *k)
{
    ask_kept(s, k, true);
}

void store_kept_done(struct store_kept *k)
{
    for (size_t i = 0; i < k->n_keys; i++) {
        mem_free((char *)(uintptr_t)k->values[i].p); /* our own copy */
        k->values[i] = (struct span){0};
    }
}

void store_get_totals(struct store *s, struct store_totals *t)
{
    struct err e;
    if (!worker_totals(s->ledger, t, &e))
        reply_post(&t->reply, &e);
}

bool store_ledger_ok(const struct store *s)
{
    return worker_ok(s->ledger);
}

void store_health_of(struct store *s, struct store_health *out)
{
    struct worker_stats ledger, archive;
    worker_stats_of(s->ledger, &ledger);
    worker_stats_of(s->archive, &archive);
    *out = (struct store_health){.ledger_ok = ledger.ok,
                                 .archive_ok = archive.ok,
                                 .archive_dropped = archive.dropped,
                                 .ledger_rows = ledger.rows,
                                 .ledger_commits = ledger.commits};
    const char *said = ledger.message[0] != '\0' ? ledger.message : archive.message;
    snprintf(out->message, sizeof out->message, "%s", said);
}
