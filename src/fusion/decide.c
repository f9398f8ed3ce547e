/* fusion/decide.c - asking judges for a verdict until one holds.
 *
 * Per judge: one verdict; an unusable one is asked for once more; a close one is asked for in the
 * other order too. Disagreement with itself, failure or a second unusable verdict: the next judge.
 * None left: the answer most like the others, else the first of the panel. */
#include "fusion/run_priv.h"

static void next_judge(struct fusion *f);

static const struct fusion_model *judge_now(const struct fusion *f)
{
    return f->judge_list[f->decision.judge];
}

static struct slot *slot_now(const struct fusion *f)
{
    return f->judges[f->n_judge_calls - 1];
}

/* Labels and members in the order of the present step. */
static void shown_order(const struct fusion *f, size_t *members, char *labels)
{
    const struct decision *d = &f->decision;
    for (size_t i = 0; i < d->n; i++) {
        members[i] = d->order[d->step == STEP_FIRST ? i : d->n - 1 - i];
        labels[i] = f->plan.members[members[i]].label;
    }
}

static void on_event(struct chat_sink *k, const struct chat_event *ev);

/* Sends ->decision.asked to the present judge. */
static void ask(struct fusion *f)
{
    struct err e = {0};
    struct slot *s = judge_slot(f, judge_now(f), &e);
    if (!s) {
        deliver_error(f, &e);
        return;
    }
    s->req = f->decision.asked;
    if (judge_call(f, s, on_event, &e)) {
        fusion_arm(f, f->deadline_us);
        return;
    }
    judge_failed(f, s, &e);
    if (f->state != FUSION_ENDED)
        next_judge(f);
}

static void ask_order(struct fusion *f, enum verdict_step step)
{
    struct decision *d = &f->decision;
    struct prompt_judge j;
    struct err e = {0};
    size_t members[LIMIT_PANEL];
    char labels[LIMIT_PANEL];
    d->step = step;
    shown_order(f, members, labels);
    if (!judge_input(f, judge_now(f), members, d->n, false, &j, &e) ||
        !prompt_decide(f->arena, &j, &d->asked, &e)) {
        judge_degraded(f, "judge_failed", judge_now(f), e.msg);
        next_judge(f);
        return;
    }
    /* A seed that the user chose makes the whole fusion repeatable, as far as the judge's engine
     * is. */
    if (f->plan.recipe.seed >= 0)
        d->asked.seed = arena_printf(f->arena, "%lld", (long long)f->plan.recipe.seed);
    ask(f);
}

static void next_judge(struct fusion *f)
{
    struct decision *d = &f->decision;
    d->judge++;
    d->repaired = false;
    if (d->judge >= f->n_judge_list)
        judge_fallback(f, d->members, d->n);
    else
        ask_order(f, STEP_FIRST);
}

void decide_start(struct fusion *f, const size_t *members, size_t n)
{
    struct decision *d = &f->decision;
    *d = (struct decision){.n = n};
    for (size_t i = 0; i < n; i++) {
        size_t at = i;
        d->members[i] = members[i];
        /* by label: panels are small */
        for (;
             at > 0 && f->plan.members[d->order[at - 1]].label > f->plan.members[members[i]].label;
             at--)
            d->order[at] = d->order[at - 1];
        d->order[at] = members[i];
    }
    fusion_to(f, FUSION_DECIDING);
    ask_order(f, STEP_FIRST);
}

/* --- the verdict -------------------------------------------------------------------------------
 */

static void conflict(struct fusion *f)
{
    const struct decision *d = &f->decision;
    if (d->judge + 1 >= f->n_judge_list)
        judge_degraded(f, "judge_conflict", judge_now(f),
                       "its verdict changed with the order of the answers");
    next_judge(f);
}

static void use_verdict(struct fusion *f, const struct verdict *v)
{
    struct decision *d = &f->decision;
    size_t members[LIMIT_PANEL];
    char labels[LIMIT_PANEL];
    shown_order(f, members, labels);
    if (d->step == STEP_FIRST && v->close) {
        d->first = *v;
        ask_order(f, STEP_OTHER_ORDER);
        return;
    }
    if (d->step == STEP_OTHER_ORDER && members[v->best] != d->order[d->first.best]) {
        conflict(f);
        return;
    }
    deliver_winner(f, members[v->best]);
}

static void bad_verdict(struct fusion *f, struct slot *s, const struct err *why)
{
    struct decision *d = &f->decision;
    struct chat_request again;
    struct err e = {0};
    s->pub->state = CHAT_MEMBER_UNUSED;
    s->pub->reason = "invalid_verdict";
    slot_show(s, true);
    if (f->state == FUSION_ENDED)
        return;
    if (d->repaired) {
        judge_degraded(f, "invalid_verdict", judge_now(f), why->msg);
        next_judge(f);
        return;
    }
    d->repaired = true;
    if (!prompt_repair(f->arena, &d->asked, slot_text(s), why->msg, &again, &e)) {
        judge_degraded(f, "judge_failed", judge_now(f), e.msg);
        next_judge(f);
        return;
    }
    d->asked = again;
    ask(f);
}

static void judge_done(struct fusion *f, struct slot *s)
{
    struct verdict v;
    struct err e = {0};
    size_t members[LIMIT_PANEL];
    char labels[LIMIT_PANEL];
    if (s->got.failed) {
        judge_failed(f, s, &s->got.err);
        if (f->state != FUSION_ENDED)
            next_judge(f);
        return;
    }
    shown_order(f, members, labels);
    if (!verdict_read(f->arena, slot_text(s), labels, f->decision.n, &v, &e)) {
        bad_verdict(f, s, &e);
        return;
    }
    s->pub->state = CHAT_MEMBER_OK;
    slot_show(s, true);
    if (f->state != FUSION_ENDED)
        use_verdict(f, &v);
}

static void on_event(struct chat_sink *k, const struct chat_event *ev)
{
    struct slot *s = CONTAINER_OF(k, struct slot, sink);
    struct fusion *f = s->f;
    struct err e = {0};
    fusion_enter(f);
    slot_note(s, ev);
    if (s->call && ev->kind != CHAT_EV_REASONING && !chat_collect_event(&s->got, ev, &e)) {
        slot_cancel(s);
        judge_failed(f, s, &e);
        if (f->state != FUSION_ENDED)
            next_judge(f);
    } else if (s->call && s->got.ended) {
        slot_end(s);
        judge_done(f, s);
    }
    fusion_leave(f);
}

void decide_timeout(struct fusion *f)
{
    judge_stop(f, slot_now(f));
    if (f->state != FUSION_ENDED)
        next_judge(f);
}
