/* api/archive.c - see api/archive.h. A question outlives the request that asked it when the archive
 * is slow: its memory is its own, and goes when both the asker and the archive are done with it. */
#include "api/archive.h"

struct archive_ask {
    struct store_kept kept;
    struct arena *arena; /* of all this, itself included */
    struct loop_timer patience;
    archive_answer *on_answer;
    void *owner;
    bool asked; /* the archive has it, and its reply is to come */
    bool freed; /* nobody waits for it */
};

static void end(struct archive_ask *q)
{
    struct arena *a = q->arena;
    store_kept_done(&q->kept);
    arena_free(a);
}

static void on_reply(struct store_reply *r, const struct err *err)
{
    struct archive_ask *q = CONTAINER_OF(r, struct archive_ask, kept.reply);
    q->asked = false;
    if (q->freed) {
        end(q);
        return;
    }
    loop_timer_stop(&q->patience);
    q->on_answer(q->owner, q, err);
}

static void on_patience(struct loop_timer *t)
{
    struct archive_ask *q = CONTAINER_OF(t, struct archive_ask, patience);
    struct err e;
    (void)err_set(&e, ERR_UNAVAILABLE, "the archive does not answer; ask again later");
    (void)err_with_code(&e, "archive_unavailable");
    q->on_answer(q->owner, q, &e);
}

static bool copy_keys(struct archive_ask *q, const struct span *keys, size_t n)
{
    struct span *own = arena_array(q->arena, n, sizeof *own);
    q->kept.values = arena_array(q->arena, n, sizeof *q->kept.values);
    if (!own || !q->kept.values)
        return false;
    for (size_t i = 0; i < n; i++) {
        own[i] = arena_dup(q->arena, keys[i]);
        if (!own[i].p)
            return false;
    }
    q->kept.keys = own;
    q->kept.n_keys = n;
    return true;
}

struct archive_ask *archive_ask_new(struct worker *w, enum archive_verb verb, struct span kind,
                                    const struct span *keys, size_t n, int64_t patience_us,
                                    archive_answer *on_answer, void *owner, struct err *e)
{
    AUTO(arena) a = arena_new(0);
    struct archive_ask *q = a ? arena_alloc(a, sizeof *q) : NULL;
    if (q) {
        q->arena = a;
        q->kept.reply = (struct store_reply){.loop = w->loop, .on_reply = on_reply};
        q->kept.kind = arena_dup(a, kind);
        q->on_answer = on_answer;
        q->owner = owner;
        loop_timer_init(&q->patience, w->loop, on_patience);
    }
    if (!q || !q->kept.kind.p || !copy_keys(q, keys, n) ||
        !loop_timer_start(&q->patience, patience_us))
        return err_set(e, ERR_NOMEM, "out of memory"), NULL;
    q->asked = true;
    (void)TAKE(a);
    if (verb == ARCHIVE_GET)
        store_kept_get(w->app->store, &q->kept);
    else
        store_kept_remove(w->app->store, &q->kept);
    return q;
}

void archive_ask_free(struct archive_ask *q)
{
    if (!q)
        return;
    loop_timer_stop(&q->patience);
    q->freed = true;
    if (!q->asked)
        end(q);
}

const struct span *archive_values(const struct archive_ask *q)
{
    return q->kept.values;
}

const struct span *archive_keys(const struct archive_ask *q, size_t *out_n)
{
    *out_n = q->kept.n_keys;
    return q->kept.keys;
}

size_t archive_found(const struct archive_ask *q)
{
    return q->kept.n_found;
}
