/* ledger/gate.c - see ledger/gate.h. A yes is an answer at the end of the turn; the end of an
 * attempt becomes a row in the store. */
#include "ledger/gate.h"

#include "base/mem.h"
#include "base/rng.h"
#include "ledger/price.h"

#define ID_TOKEN_CHARS 20

static const char refused_code[] = "ledger_failed";

struct gate {
    struct rng rng; /* names of calls */
    struct loop *loop;
    struct store *store; /* may be NULL */
    struct gate_counts counts;
};

struct gate *gate_new(struct loop *l, struct store *store)
{
    struct gate *g = mem_zalloc(sizeof *g);
    if (g == NULL)
        return NULL;
    rng_init_secure(&g->rng);
    g->loop = l;
    g->store = store;
    return g;
}

void gate_free(struct gate *g)
{
    mem_free(g);
}

/* --- asking
 * --------------------------------------------------------------------------------------- */

static void set_id(struct gate *g, struct gate_intent *i)
{
    static const char prefix[] = "call_";
    _Static_assert(sizeof prefix + ID_TOKEN_CHARS <= sizeof i->id, "the id fits");
    memcpy(i->id, prefix, sizeof prefix - 1);
    rng_name(&g->rng, i->id + sizeof prefix - 1, ID_TOKEN_CHARS);
}

static bool ledger_works(const struct gate *g, struct err *e)
{
    if (g->store == NULL || (g->counts.lost == 0 && store_ledger_ok(g->store)))
        return true;
    struct store_health health;
    store_health_of(g->store, &health);
    err_set(e, ERR_UNAVAILABLE,
            "the ledger cannot be written (%s): paid calls are refused until restart; check the "
            "disk of the state directory, then restart",
            health.message[0] != '\0' ? health.message : "a row was lost");
    return err_with_code(e, refused_code);
}

bool gate_refused(const struct err *err)
{
    return err->code && strcmp(err->code, refused_code) == 0;
}

/* The ledger is looked at here and not in gate_ask(), so that a question of the same turn cannot
 * overtake a failure. */
static void on_task(struct loop_task *task)
{
    struct gate_ticket *t = CONTAINER_OF(task, struct gate_ticket, task_);
    struct gate *g = t->gate_;
    struct err e = {0};
    bool yes = ledger_works(g, &e);
    t->gate_ = NULL;
    if (yes)
        g->counts.yes++;
    t->on_answer(t, yes ? NULL : &e);
}

bool gate_pass(struct gate *g, struct gate_intent *i)
{
    if (!price_is_free(&i->model->price))
        return false;
    set_id(g, i);
    g->counts.yes++;
    return true;
}

void gate_ask(struct gate *g, struct gate_intent *i, struct gate_ticket *t)
{
    set_id(g, i);
    t->gate_ = g;
    loop_task_init(&t->task_, on_task);
    loop_defer(g->loop, &t->task_);
}

void gate_withdraw(struct gate_ticket *t)
{
    if (t->gate_ == NULL)
        return;
    loop_undefer(&t->task_);
    t->gate_ = NULL;
}

/* --- booking
 * -------------------------------------------------------------------------------------- */

void gate_settle(struct gate *g, const struct gate_intent *i, const struct chat_usage *u,
                 const char *outcome, bool uncertain, int64_t start_wall_ms, int64_t ttft_us,
                 int64_t total_us)
{
    g->counts.settled++;
    if (g->store == NULL)
        return;
    const struct config_model *m = i->model;
    struct store_call row = {
        .id = span_of(i->id),
        .request_id = i->request_id,
        .fusion_id = i->fusion_id,
        .role = span_of(i->role),
        .provider = m->provider->name,
        .model = m->name,
        .upstream_model = m->id,
        .host = i->host,
        .region = m->region,
        .time_ms = start_wall_ms,
        .input = u->input,
        .cached = u->cached,
        .cache_write = u->cache_write,
        .output = u->output,
        .reasoning = u->reasoning,
        .cost_nusd = u->cost_nusd,
        .estimated = u->estimated,
        .uncertain = uncertain,
        .outcome = span_of(outcome),
        .ttft_us = ttft_us,
        .total_us = total_us,
    };
    if (!store_add_call(g->store, &row, NULL, NULL))
        g->counts.lost++;
}

struct gate_counts gate_counts_of(const struct gate *g)
{
    return g->counts;
}
