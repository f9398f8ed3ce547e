/* fusion/fusion.c - a recipe as a source: how a fusion begins, and what its client may do to it. */
#include "fusion/fusion.h"

#include <stdio.h>

#include "fusion/run_priv.h"
#include "fusion/vote.h"

/* --- the client's side -------------------------------------------------------------------------
 */

static void on_cancel(struct chat_call *c, struct chat_usage *out)
{
    struct fusion *f = CONTAINER_OF(c, struct fusion, call);
    bool over = f->state == FUSION_ENDED;
    if (!over) {
        fusion_to(f, FUSION_ENDED);
        fusion_stop_all(f);
    }
    if (out)
        *out = report_usage(f);
    if (over)
        return;
    /* Below a callback of ours stand frames of a source that lives in our arena. */
    if (f->on_stack > 0)
        loop_defer(f->env->loop, &f->freed);
    else
        fusion_free(f);
}

/* Only what is being relayed feels a slow client. */
static void on_pause(struct chat_call *c)
{
    struct fusion *f = CONTAINER_OF(c, struct fusion, call);
    if (f->paused || f->state == FUSION_ENDED)
        return;
    f->paused = true;
    if (f->state == FUSION_RELAYING && f->judges[f->n_judge_calls - 1]->call)
        chat_pause(f->judges[f->n_judge_calls - 1]->call);
}

static void on_resume(struct chat_call *c)
{
    struct fusion *f = CONTAINER_OF(c, struct fusion, call);
    if (!f->paused || f->state == FUSION_ENDED)
        return;
    f->paused = false;
    if (f->state == FUSION_RELAYING && f->judges[f->n_judge_calls - 1]->call)
        chat_resume(f->judges[f->n_judge_calls - 1]->call);
    fusion_kick(f);
}

static const struct chat_call_ops call_ops = {on_cancel, on_pause, on_resume};

/* --- beginning ---------------------------------------------------------------------------------
 */

static bool over_budget(const struct plan *p, struct err *e)
{
    return err_set(
        e, ERR_BUDGET,
        "this fusion can cost up to %lld.%09lld USD, more than max_cost_usd (%lld.%09lld): "
        "lower max_tokens, take fewer or cheaper models, or raise the cap",
        (long long)(p->pub.worst_nusd / 1000000000), (long long)(p->pub.worst_nusd % 1000000000),
        (long long)(p->pub.max_cost_nusd / 1000000000),
        (long long)(p->pub.max_cost_nusd % 1000000000));
}

static bool make_slots(struct fusion *f, struct err *e)
{
    size_t n = f->plan.n_members;
    f->members = arena_array(f->arena, n, sizeof *f->members);
    f->judge_calls = arena_array(f->arena, MAX_JUDGE_CALLS, sizeof *f->judge_calls);
    f->slots = arena_array(f->arena, n, sizeof *f->slots);
    if (!f->members || !f->judge_calls || !f->slots)
        return err_set(e, ERR_NOMEM, "no memory for a fusion");
    if (f->plan.recipe.mode != FUSION_VOTE)
        return true;
    f->ballots = arena_array(f->arena, n, sizeof *f->ballots);
    if (!f->ballots)
        return err_set(e, ERR_NOMEM, "no memory for a fusion");
    for (size_t i = 0; i < n; i++)
        f->ballots[i] = (struct ballot){.weight = f->plan.members[i].spec->weight, .pending = true};
    f->canon = canon_new(f->arena, f->plan.recipe.answer, f->plan.recipe.answer_regex, e);
    return f->canon != NULL;
}

static bool begin_panel(struct fusion *f, struct err *e)
{
    f->started_us = loop_now_us(f->env->loop);
    f->deadline_us = fusion_deadline(f);
    for (size_t i = 0; i < f->plan.n_members; i++)
        if (!member_start(f, i, e))
            return false;
    if (f->live == 0) {
        fusion_failure(f, e);
        return false;
    }
    if (f->deadline_us > 0 && !loop_timer_start(&f->timer, f->deadline_us - f->started_us))
        return err_set(e, ERR_NOMEM, "no memory for a timer");
    fusion_to(f, FUSION_PANEL);
    if (f->progress)
        fusion_kick(f);
    return true;
}

static struct fusion *new_fusion(const struct fusion_source *s, const struct chat_request *r,
                                 const struct chat_start_opts *o, struct chat_sink *sink,
                                 struct err *e)
{
    struct arena *a = arena_new(0);
    struct fusion *f = a ? arena_alloc(a, sizeof *f) : NULL;
    if (!f) {
        arena_free(a);
        err_set(e, ERR_NOMEM, "no memory for a fusion");
        return NULL;
    }
    f->call.ops = &call_ops;
    f->arena = a;
    f->env = s->env;
    f->sink = sink;
    f->client = r;
    f->opts = *o;
    f->agreement = -1;
    f->degraded_why = SPAN("");
    f->env->fusion_id(f->env->ctx, f->id);
    fusion_prepare(f);
    return f;
}

static struct chat_call *start(struct chat_source *source, const struct chat_request *r,
                               const struct chat_start_opts *o, struct chat_sink *sink,
                               struct err *e)
{
    const struct fusion_source *s = CONTAINER_OF(source, struct fusion_source, source);
    struct fusion *f = new_fusion(s, r, o, sink, e);
    if (!f)
        return NULL;
    bool ok = plan_build(f->arena, f->env, s->recipe, r, o->rules, o->depth, &f->plan, e);
    if (ok && !f->plan.pub.fits)
        ok = over_budget(&f->plan, e);
    if (ok) {
        f->progress = o->progress || f->plan.recipe.stream_members;
        ok = make_slots(f, e) && begin_panel(f, e);
    }
    if (ok)
        return &f->call;
    if (f->slots)
        fusion_stop_all(f);
    fusion_free(f);
    return NULL;
}

static const struct chat_source_ops source_ops = {start};

void fusion_source_init(struct fusion_source *s, const struct fusion_env *env,
                        const struct recipe *recipe)
{
    *s = (struct fusion_source){.source.ops = &source_ops, .env = env, .recipe = recipe};
}
