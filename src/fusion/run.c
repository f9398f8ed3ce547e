/* fusion/run.c - the state machine of one fusion: states, the timer, the panel's end.
 *
 * Everything enters here through four doors: an event of a call (member.c, decide.c, write.c), the
 * timer, and the client's pause, resume and cancel (fusion.c). fusion_to() alone writes the state.
 */
#include "fusion/run_priv.h"
#include "fusion/vote.h"

/* Grace "auto": a straggler is waited for while this is its chance to arrive in the next window,
 * and never longer than the maximum (docs/fusion.md, "Quorum and grace"). */
#define GRACE_CHANCE    0.15
#define GRACE_WINDOW_US 250000
#define GRACE_MAX_US    5000000
#define GRACE_SAMPLES   20
/* Without samples: a part of the time the quorum took; below the minimum an abort saves nothing. */
#define GRACE_PART   4
#define GRACE_MIN_US 20000

#define MOVE(s) (1u << (s))
static const unsigned moves[FUSION_STATES] = {
    [FUSION_NEW] = MOVE(FUSION_PANEL) | MOVE(FUSION_ENDED),
    [FUSION_PANEL] = MOVE(FUSION_GRACE) | MOVE(FUSION_DECIDING) | MOVE(FUSION_WRITING) |
                     MOVE(FUSION_DELIVERING) | MOVE(FUSION_ENDED),
    [FUSION_GRACE] =
        MOVE(FUSION_DECIDING) | MOVE(FUSION_WRITING) | MOVE(FUSION_DELIVERING) | MOVE(FUSION_ENDED),
    [FUSION_DECIDING] = MOVE(FUSION_DELIVERING) | MOVE(FUSION_ENDED),
    [FUSION_WRITING] = MOVE(FUSION_RELAYING) | MOVE(FUSION_DELIVERING) | MOVE(FUSION_ENDED),
    [FUSION_RELAYING] = MOVE(FUSION_DELIVERING) | MOVE(FUSION_ENDED),
    [FUSION_DELIVERING] = MOVE(FUSION_ENDED),
    [FUSION_ENDED] = 0,
};

void fusion_to(struct fusion *f, enum fusion_state s)
{
    if (f->state == s)
        return;
    if (!(moves[f->state] & MOVE(s)))
        abort(); /* a bug of ours: going on could deliver two answers */
    f->state = s;
    if (s == FUSION_GRACE)
        f->quorum_us = loop_now_us(f->env->loop);
    if (s == FUSION_DELIVERING || s == FUSION_ENDED)
        loop_timer_stop(&f->timer);
    if (s == FUSION_ENDED)
        loop_undefer(&f->kick);
}

void fusion_arm(struct fusion *f, int64_t at_us)
{
    struct err e;
    if (f->state == FUSION_ENDED)
        return;
    if (at_us == 0) {
        loop_timer_stop(&f->timer);
        return;
    }
    if (loop_timer_start(&f->timer, at_us - loop_now_us(f->env->loop)))
        return;
    err_set(&e, ERR_NOMEM, "no memory for a timer");
    fusion_stop_all(f);
    deliver_error(f, &e);
}

void fusion_kick(struct fusion *f)
{
    loop_defer(f->env->loop, &f->kick);
}

int64_t fusion_deadline(const struct fusion *f)
{
    int64_t own = f->plan.recipe.timeout_us, limit = f->opts.deadline_us;
    if (own > 0)
        own += loop_now_us(f->env->loop);
    return own > 0 && (limit == 0 || own < limit) ? own : limit;
}

/* A recipe inside a recipe books under the id that the client gets to see. */
struct chat_start_opts fusion_call_opts(const struct fusion *f, const char *role,
                                        const struct fusion_model *m)
{
    bool exact = f->opts.fields == CHAT_FIELDS_EXACT; /* else a member without top_k beats none */
    return (struct chat_start_opts){.request_id = f->opts.request_id,
                                    .fusion_id = f->opts.fusion_id.n > 0 ? f->opts.fusion_id
                                                                         : span_of(f->id),
                                    .deadline_us = fusion_deadline(f),
                                    .depth = f->opts.depth + 1,
                                    .role = role,
                                    .fields = exact ? CHAT_FIELDS_EXACT : CHAT_FIELDS_LENIENT,
                                    .rules = m->rules};
}

void fusion_stop_all(struct fusion *f)
{
    for (size_t i = 0; i < f->plan.n_members; i++)
        if (f->slots[i].call) {
            slot_cancel(&f->slots[i]);
            f->slots[i].pub->state = CHAT_MEMBER_ABANDONED;
            f->slots[i].pub->reason = "cancelled";
            f->live--;
        }
    if (f->n_judge_calls > 0) {
        struct slot *s = f->judges[f->n_judge_calls - 1];
        if (s->call) {
            slot_cancel(s);
            s->pub->state = CHAT_MEMBER_ABANDONED;
            s->pub->reason = "cancelled";
        }
    }
}

/* --- the panel has ended -----------------------------------------------------------------------
 */

static void find_candidates(struct fusion *f)
{
    for (size_t i = 0; i < f->plan.n_members; i++)
        if (f->members[i].state == CHAT_MEMBER_OK)
            f->candidates[f->n_candidates++] = i;
    if (f->n_candidates > 0)
        return;
    for (size_t i = 0; i < f->plan.n_members; i++) {
        const struct chat_member *m = &f->members[i];
        if (m->state == CHAT_MEMBER_UNUSED && m->reason && strcmp(m->reason, "cut") == 0 &&
            span_trim(slot_text(&f->slots[i])).n > 0)
            f->candidates[f->n_candidates++] = i;
    }
    f->all_cut = f->n_candidates > 0;
}

/* Named judges in their order; else the first member that has an answer to show for itself. */
static void find_judges(struct fusion *f)
{
    if (f->plan.n_judges > 0) {
        f->judge_list = f->plan.judges;
        f->n_judge_list = f->plan.n_judges;
        return;
    }
    f->default_judge[0] = f->plan.members[f->candidates[0]].model;
    f->judge_list = f->default_judge;
    f->n_judge_list = 1;
}

/* Cut answers have not cast a ballot: nothing of them was usable. */
static void count_cut(struct fusion *f)
{
    struct err e;
    for (size_t i = 0; f->all_cut && i < f->n_candidates; i++) {
        struct ballot *b = &f->ballots[f->candidates[i]];
        b->weight = f->plan.members[f->candidates[i]].spec->weight;
        if (!canon_read(f->canon, f->arena, slot_text(&f->slots[f->candidates[i]]), &b->answer, &e))
            b->answer = (struct span){NULL, 0};
    }
}

static void take_vote(struct fusion *f)
{
    struct vote_result r;
    count_cut(f);
    vote_count(f->ballots, f->plan.n_members, &r);
    f->agreement = r.share;
    if (r.n_tied == 1) {
        deliver_winner(f, r.winner);
    } else if (r.n_tied == 0) { /* nobody stated an answer that can be counted */
        f->agreement = -1;
        if (f->plan.n_judges > 0) {
            decide_start(f, f->candidates, f->n_candidates);
            return;
        }
        f->degraded = "nothing_to_count";
        f->degraded_why = SPAN("no reply states an answer that can be counted; the first of the "
                               "panel goes out");
        deliver_winner(f, f->candidates[0]);
    } else if (f->plan.n_judges > 0) {
        decide_start(f, r.tied, r.n_tied);
    } else {
        deliver_winner(f, r.tied[0]);
    }
}

static void panel_over(struct fusion *f)
{
    const struct recipe *r = &f->plan.recipe;
    find_candidates(f);
    if (f->n_candidates == 0) {
        deliver_nothing(f);
        return;
    }
    find_judges(f);
    if (f->n_candidates == 1 && !(r->mode == FUSION_MERGE && r->judge_from_request)) {
        deliver_winner(f, f->candidates[0]);
        return;
    }
    switch (r->mode) {
    case FUSION_MERGE:
        write_start(f);
        break;
    case FUSION_BEST_OF:
        decide_start(f, f->candidates, f->n_candidates);
        break;
    case FUSION_VOTE:
        take_vote(f);
        break;
    }
}

/* --- quorum and grace --------------------------------------------------------------------------
 */

/* Until when that straggler is waited for, as far as can be said now; not after `now`: no longer.
 */
static int64_t worth_until(const struct fusion *f, const struct slot *s, int64_t now)
{
    int64_t grace = f->plan.recipe.grace_us, last = f->quorum_us + GRACE_MAX_US;
    const struct latency *l = s->model->latency;
    if (grace >= 0)
        return f->quorum_us + grace;
    if (l && latency_count(l) >= GRACE_SAMPLES) {
        double chance = latency_within(l, now - s->started_us, GRACE_WINDOW_US);
        int64_t next = now + GRACE_WINDOW_US;
        return chance < GRACE_CHANCE ? now : next < last ? next : last;
    }
    int64_t part = (f->quorum_us - f->started_us) / GRACE_PART;
    part = part < GRACE_MIN_US ? GRACE_MIN_US : part > GRACE_MAX_US ? GRACE_MAX_US : part;
    return f->quorum_us + part;
}

static void look_at_stragglers(struct fusion *f)
{
    int64_t now = loop_now_us(f->env->loop), next = INT64_MAX;
    bool decided = f->ballots && vote_decided(f->ballots, f->plan.n_members);
    bool over = f->deadline_us > 0 && now >= f->deadline_us;
    for (size_t i = 0; i < f->plan.n_members && f->state == FUSION_GRACE; i++) {
        struct slot *s = &f->slots[i];
        if (!s->call)
            continue;
        int64_t until = worth_until(f, s, now);
        if (decided || over || until <= now)
            member_stop(f, s, CHAT_MEMBER_ABANDONED, decided ? "decided" : "straggler");
        else if (until < next)
            next = until;
    }
    if (f->state != FUSION_GRACE)
        return; /* the client left while progress went out */
    if (f->live == 0)
        panel_over(f);
    else
        fusion_arm(f, f->deadline_us > 0 && f->deadline_us < next ? f->deadline_us : next);
}

void fusion_panel_changed(struct fusion *f)
{
    if (f->state != FUSION_PANEL && f->state != FUSION_GRACE)
        return;
    if (f->live == 0) {
        panel_over(f);
        return;
    }
    if (f->state == FUSION_PANEL && (int64_t)f->usable >= f->plan.quorum)
        fusion_to(f, FUSION_GRACE);
    if (f->state == FUSION_GRACE)
        look_at_stragglers(f);
}

static void panel_timeout(struct fusion *f)
{
    struct err e;
    err_set(&e, ERR_TIMEOUT, "no whole answer within the time limit of the fusion");
    for (size_t i = 0; i < f->plan.n_members && f->state == FUSION_PANEL; i++) {
        struct slot *s = &f->slots[i];
        if (!s->call)
            continue;
        slot_fail(s, &e);
        member_stop(f, s, CHAT_MEMBER_FAILED, "timeout");
    }
    fusion_panel_changed(f);
}

/* --- timer, tasks, end of life -----------------------------------------------------------------
 */

static void on_timer(struct loop_timer *t)
{
    struct fusion *f = CONTAINER_OF(t, struct fusion, timer);
    fusion_enter(f);
    switch (f->state) {
    case FUSION_PANEL:
        panel_timeout(f);
        break;
    case FUSION_GRACE:
        look_at_stragglers(f);
        break;
    case FUSION_DECIDING:
        decide_timeout(f);
        break;
    case FUSION_WRITING:
    case FUSION_RELAYING:
        write_timeout(f);
        break;
    case FUSION_NEW:
    case FUSION_DELIVERING:
    case FUSION_ENDED:
    case FUSION_STATES:
        break;
    }
    fusion_leave(f);
}

static void show_dirty(struct fusion *f)
{
    for (size_t i = 0; i < f->plan.n_members && f->state != FUSION_ENDED; i++)
        if (f->slots[i].dirty)
            slot_show(&f->slots[i], true);
    for (size_t i = 0; i < f->n_judge_calls && f->state != FUSION_ENDED; i++)
        if (f->judges[i]->dirty)
            slot_show(f->judges[i], true);
}

static void on_kick(struct loop_task *t)
{
    struct fusion *f = CONTAINER_OF(t, struct fusion, kick);
    fusion_enter(f);
    if (!f->paused)
        show_dirty(f);
    if (f->state == FUSION_DELIVERING && !f->paused)
        deliver_now(f);
    fusion_leave(f);
}

static void on_freed(struct loop_task *t)
{
    fusion_free(CONTAINER_OF(t, struct fusion, freed));
}

void fusion_free(struct fusion *f)
{
    for (size_t i = 0; f->slots && i < f->plan.n_members; i++)
        if (f->slots[i].f)
            chat_collect_done(&f->slots[i].got);
    for (size_t i = 0; i < f->n_judge_calls; i++)
        chat_collect_done(&f->judges[i]->got);
    loop_timer_stop(&f->timer);
    loop_undefer(&f->kick);
    arena_free(f->arena);
}

void fusion_prepare(struct fusion *f)
{
    loop_timer_init(&f->timer, f->env->loop, on_timer);
    loop_task_init(&f->kick, on_kick);
    loop_task_init(&f->freed, on_freed);
}
