/* api/keep.c - see api/keep.h. */
#include "api/keep.h"

#include "api/archive.h"
#include "base/clock.h"
#include "base/mem.h"
#include "dialect/kept.h"
#include "dialect/responses.h"

/* Turns of one conversation. */
#define MAX_TURNS 256
/* How long the archive may take: for what a request cannot do without, and for what it can. */
#define NEED_US ((int64_t)5 * 1000 * 1000)
#define LIKE_US ((int64_t)500 * 1000)

struct keep_load {
    struct api_request *rq;
    struct chat_request *r;
    struct archive_ask *ask;
    keep_done *on_done;
    void *owner;
    /* turns */
    struct responses_turn *turns; /* in the exchange's arena; newest first */
    size_t n, bytes;
    size_t *out_first;
};

static struct keep_load *load_new(struct api_request *rq, struct chat_request *r,
                                  keep_done *on_done, void *owner, struct err *e)
{
    struct keep_load *l = mem_zalloc(sizeof *l);
    if (!l)
        return err_set(e, ERR_NOMEM, "out of memory"), NULL;
    l->rq = rq;
    l->r = r;
    l->on_done = on_done;
    l->owner = owner;
    return l;
}

void keep_load_free(struct keep_load *l)
{
    if (!l)
        return;
    archive_ask_free(l->ask);
    mem_free(l);
}

static void load_end(struct keep_load *l, const struct err *err)
{
    keep_done *on_done = l->on_done;
    void *owner = l->owner;
    keep_load_free(l);
    on_done(owner, err);
}

/* --- turns
 * ----------------------------------------------------------------------------------------- */

bool keep_not_found(struct span id, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "no response is kept under the id \"%.*s\"",
                   SPAN_ARG(span_upto(id, 80)));
}

static bool previous_not_found(const struct keep_load *l, struct span id, struct err *e)
{
    struct span shown = span_upto(id, 80);
    if (l->n == 0)
        err_field(e, "previous_response_id", "Previous response with id '%.*s' not found.",
                  SPAN_ARG(shown));
    else
        err_field(e, "previous_response_id",
                  "Previous response with id '%.*s' not found: the conversation that "
                  "'%.*s' goes on from is not kept any more.",
                  SPAN_ARG(shown), SPAN_ARG(span_upto(l->r->previous_id, 80)));
    return err_with_code(e, "previous_response_not_found");
}

static bool too_long(struct err *e)
{
    err_field(e, "previous_response_id",
              "the conversation is longer than %d turns or %zu MiB; start a new one", MAX_TURNS,
              LIMIT_CHAT_BODY_BYTES >> 20);
    return err_with_code(e, "conversation_too_long");
}

/* One turn into the list; *out_next: the one before it, p NULL: none. */
static bool add_turn(struct keep_load *l, struct span id, struct span stored, struct span *out_next,
                     struct err *e)
{
    struct arena *a = http_arena(l->rq->x);
    if (!stored.p)
        return previous_not_found(l, id, e);
    l->bytes += stored.n;
    if (l->n == MAX_TURNS || l->bytes > LIMIT_CHAT_BODY_BYTES)
        return too_long(e);
    if (!responses_read_turn(a, stored, &l->turns[l->n], e))
        return false;
    *out_next = l->turns[l->n++].previous;
    return true;
}

static void on_turn(void *owner, struct archive_ask *q, const struct err *err);

static bool ask_turn(struct keep_load *l, struct span id, struct err *e)
{
    l->ask = archive_ask_new(l->rq->worker, ARCHIVE_GET, ARCHIVE_RESPONSE, &id, 1, NEED_US, on_turn,
                             l, e);
    return l->ask != NULL;
}

static void on_turn(void *owner, struct archive_ask *q, const struct err *err)
{
    struct keep_load *l = owner;
    struct err e = {0};
    size_t n;
    struct span next = {0};
    bool ok = false;
    if (err)
        (void)err_set(&e, ERR_UNAVAILABLE, "what is kept cannot be read now; ask again later");
    else
        ok = add_turn(l, archive_keys(q, &n)[0], archive_values(q)[0], &next, &e);
    if (err)
        (void)err_with_code(&e, "archive_unavailable");
    archive_ask_free(q);
    l->ask = NULL;
    if (ok && next.p) {
        if (ask_turn(l, next, &e))
            return;
        ok = false;
    }
    ok = ok && responses_join(http_arena(l->rq->x), l->turns, l->n, l->r, l->out_first, &e);
    load_end(l, ok ? NULL : &e);
}

struct keep_load *keep_load_turns(struct api_request *rq, struct chat_request *r, size_t *out_first,
                                  keep_done *on_done, void *owner, struct err *e)
{
    struct keep_load *l = load_new(rq, r, on_done, owner, e);
    if (!l)
        return NULL;
    l->out_first = out_first;
    l->turns = arena_array(http_arena(rq->x), MAX_TURNS, sizeof *l->turns);
    if (!l->turns)
        (void)err_set(e, ERR_NOMEM, "out of memory");
    if (l->turns && ask_turn(l, r->previous_id, e))
        return l;
    keep_load_free(l);
    return NULL;
}

/* --- reasoning
 * ------------------------------------------------------------------------------------- */

static void on_reasoning(void *owner, struct archive_ask *q, const struct err *err)
{
    struct keep_load *l = owner;
    struct err e = {0};
    size_t n;
    const struct span *ids = archive_keys(q, &n);
    struct app *a = l->rq->worker->app;
    if (!err && archive_found(q) > 0 &&
        !kept_restore(http_arena(l->rq->x), ids, archive_values(q), n, l->r, &e))
        err = &e;
    if (err)
        log_err(a->log, LOG_WARN, "reasoning_not_found", l->rq->id, err);
    load_end(l, NULL);
}

struct keep_load *keep_load_reasoning(struct api_request *rq, struct chat_request *r,
                                      keep_done *on_done, void *owner)
{
    struct span ids[KEPT_CALLS];
    size_t n = 0;
    if (rq->lane->snapshot->config->retain_reasoning_us > 0)
        n = kept_missing(r, ids, KEPT_CALLS);
    struct keep_load *l = n > 0 ? load_new(rq, r, on_done, owner, NULL) : NULL;
    if (!l)
        return NULL;
    l->ask = archive_ask_new(rq->worker, ARCHIVE_GET, ARCHIVE_REASONING, ids, n, LIKE_US,
                             on_reasoning, l, NULL);
    if (l->ask)
        return l;
    keep_load_free(l);
    return NULL;
}

/* --- of an answer
 * ---------------------------------------------------------------------------------- */

static bool put(struct api_request *rq, struct span kind, struct span key, struct span value,
                int64_t for_us, struct err *e)
{
    int64_t now = clock_wall_ms();
    struct store_keep k = {.kind = kind,
                           .key = key,
                           .owner = SPAN(""), /* one key for all clients: they are one owner */
                           .value = value,
                           .created_ms = now,
                           .expires_ms = now + for_us / 1000};
    return store_keep(rq->worker->app->store, &k, e);
}

static void keep_turn(struct api_request *rq, const struct dialect_reply *head, size_t first,
                      const struct chat_collect *c)
{
    const struct config *conf = rq->lane->snapshot->config;
    struct err e = {0};
    struct buf turn;
    buf_init(&turn, LIMIT_KEPT_BYTES);
    if (!responses_write_turn(head, first, c, &turn, &e) ||
        !put(rq, ARCHIVE_RESPONSE, head->id, buf_span(&turn), conf->retain_responses_us, &e))
        log_err(rq->worker->app->log, LOG_WARN, "response_not_kept", rq->id, &e);
    buf_done(&turn);
}

static void keep_reasoning(struct api_request *rq, const struct dialect_reply *head,
                           const struct chat_collect *c)
{
    int64_t for_us = rq->lane->snapshot->config->retain_reasoning_us;
    struct err e = {0};
    struct buf value;
    if (for_us == 0 || !kept_wanted(c))
        return;
    buf_init(&value, KEPT_BYTES);
    bool ok = true;
    for (size_t i = 0; ok && i < c->n_tools; i++) {
        char made[KEPT_ID_BYTES];
        struct span id = kept_call_id(c, i, head->id, made);
        buf_clear(&value);
        ok = kept_write(c, i, &value, &e) &&
             put(rq, ARCHIVE_REASONING, id, buf_span(&value), for_us, &e);
    }
    if (!ok)
        log_err(rq->worker->app->log, LOG_WARN, "reasoning_not_kept", rq->id, &e);
    buf_done(&value);
}

void keep_answer(struct api_request *rq, const struct dialect_reply *head, size_t first,
                 const struct chat_collect *c)
{
    if (head->request->store)
        keep_turn(rq, head, first, c);
    keep_reasoning(rq, head, c);
}

void keep_gather_init(struct chat_collect *c)
{
    chat_collect_init(c, KEPT_BYTES);
}

bool keep_gather(struct chat_collect *c, const struct chat_event *ev)
{
    struct chat_event piece;
    bool begins = ev->kind == CHAT_EV_TOOL &&
                  (ev->tool_id.n > 0 || ev->tool_name.n > 0 || ev->signature.n > 0);
    if (!begins && ev->kind != CHAT_EV_REASONING)
        return true;
    piece = *ev;
    piece.arguments = (struct span){"", 0};
    if (chat_collect_event(c, &piece, NULL))
        return true;
    chat_collect_done(c);
    return false;
}
