/* upstream/local.c - a local model's attempt: holds a child from before its booking to its end, and
 * calls it as a provider on loopback. Supervision is child.c's. */
#include <stdio.h>

#include "base/mem.h"
#include "upstream/attempt.h"

/* --- the lease's callbacks, in order of life
 * ------------------------------------------------------- */

static void on_ready(struct child_lease *l, const struct child_address *at, const struct err *err)
{
    struct attempt_local *local = CONTAINER_OF(l, struct attempt_local, lease);
    struct attempt *a = local->owner;
    if (err != NULL) {
        attempt_fail(a, err);
        return;
    }
    char url[64];
    int n = snprintf(url, sizeof url, "http://127.0.0.1:%d/v1", at->port);
    struct err e = {0};
    if (!http_origin_parse(span_make(url, n > 0 ? (size_t)n : 0), &local->origin, &e)) {
        attempt_fail(a, &e);
        return;
    }
    snprintf(local->bearer, sizeof local->bearer, "Bearer %s", at->key);
    attempt_book(a);
}

static void on_gone(struct child_lease *l)
{
    struct attempt_local *local = CONTAINER_OF(l, struct attempt_local, lease);
    local->out = local->returning = false;
    attempt_recycle_later(local->owner);
}

/* --- what attempt.c calls
 * --------------------------------------------------------------------------- */

bool attempt_local_init(struct attempt *a, struct err *e)
{
    if (a->upstream->env.children == NULL)
        return err_set(e, ERR_UNAVAILABLE, "%.*s: local models do not run in this process",
                       SPAN_ARG(a->provider->config->name));
    if (a->local == NULL)
        a->local = mem_zalloc(sizeof *a->local);
    if (a->local == NULL)
        return err_set(e, ERR_NOMEM, "no memory for a local call");
    *a->local = (struct attempt_local){.owner = a};
    return true;
}

void attempt_local_acquire(struct attempt *a)
{
    struct attempt_local *local = a->local;
    local->lease.loop = a->upstream->env.loop;
    local->lease.on_ready = on_ready;
    local->lease.on_gone = on_gone;
    local->out = true;
    child_acquire(a->upstream->env.children, a->provider->config, &local->lease);
}

void attempt_local_release(struct attempt *a, bool failed)
{
    struct attempt_local *local = a->local;
    if (!local->out || local->returning)
        return;
    local->returning = true;
    child_release(&local->lease, failed);
}
