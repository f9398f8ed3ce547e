/* fusion/write.c - the written answer: the judge's text goes to the client as it comes, without the
 * fences that a small model copies from its material (unfence.h).
 *
 * Until the first byte has gone out a judge that fails is replaced by the next one, and at last by
 * a member's answer; after it a failure is an error, never a second answer and never a fake end. */
#include "fusion/run_priv.h"

static void write_next(struct fusion *f);

static struct slot *slot_now(const struct fusion *f)
{
    return f->judges[f->n_judge_calls - 1];
}

/* --- relaying ----------------------------------------------------------------------------------
 */

/* The first piece that matters: from now on this judge's answer is the answer. */
static bool begin(struct fusion *f, struct slot *s)
{
    if (f->state == FUSION_RELAYING)
        return true;
    fusion_to(f, FUSION_RELAYING);
    if (f->paused && s->call) /* all it said may have been held back until its end */
        chat_pause(s->call);
    return deliver_begin(f);
}

static bool send_lead(struct fusion *f)
{
    struct span lead = span_make(f->lead, f->n_lead);
    f->n_lead = 0;
    return lead.n == 0 || fusion_emit(f, &(struct chat_event){.kind = CHAT_EV_TEXT, .text = lead});
}

/* White space alone is no answer: it is held back until a word follows, as far as it is short.
 * False when the client cancelled. */
static bool send_text(struct fusion *f, struct slot *s, struct span text)
{
    if (!f->sent_text && span_trim(text).n == 0 && text.n <= sizeof f->lead - f->n_lead) {
        if (text.n > 0)
            memcpy(f->lead + f->n_lead, text.p, text.n);
        f->n_lead += text.n;
        return true;
    }
    if (!begin(f, s) || !send_lead(f))
        return false;
    f->sent_text = true;
    return fusion_emit(f, &(struct chat_event){.kind = CHAT_EV_TEXT, .text = text});
}

/* A piece of reasoning or of a refusal, like ev. False when the client cancelled. */
static bool send_other(struct fusion *f, struct slot *s, const struct chat_event *ev,
                       struct span text, struct span signature)
{
    struct chat_event out = {
        .kind = ev->kind, .text = text, .signature = signature, .format = ev->format, .id = ev->id};
    return begin(f, s) && fusion_emit(f, &out);
}

/* The reasoning is over, or its block: what was held back of it. like: of that block, or NULL. */
static bool end_reasoning(struct fusion *f, struct slot *s, const struct chat_event *like)
{
    struct span rest = unfence_end(&f->unfence_reasoning);
    struct chat_event ev = {.kind = CHAT_EV_REASONING};
    return rest.n == 0 || send_other(f, s, like ? like : &ev, rest, SPAN(""));
}

static void relay_text(struct fusion *f, struct slot *s, const struct chat_event *ev)
{
    struct span in = ev->text, out;
    if (!end_reasoning(f, s, NULL))
        return;
    while (unfence_next(&f->unfence_text, &in, &out))
        if (!send_text(f, s, out))
            return;
    if (f->sent_text)
        slot_show(s, false);
}

static void relay_reasoning(struct fusion *f, struct slot *s, const struct chat_event *ev)
{
    struct unfence *u = &f->unfence_reasoning;
    struct span in = ev->text, out;
    while (unfence_next(u, &in, &out))
        if (!send_other(f, s, ev, out, SPAN("")))
            return;
    if (ev->signature.n == 0)
        return;
    if (!end_reasoning(f, s, ev))
        return;
    /* What was signed is not what went out: nobody would take that signature back. */
    bool altered = u->found;
    u->found = false;
    if (!altered && !send_other(f, s, ev, SPAN(""), ev->signature))
        return; /* cancelled: the caller sees the state */
}

static void relay_refusal(struct fusion *f, struct slot *s, const struct chat_event *ev)
{
    struct span in = ev->text, out;
    s->refused = true;
    /* A judge that refuses outright has not answered; another may. */
    if (!f->sent_text)
        return;
    while (unfence_next(&f->unfence_refusal, &in, &out))
        if (!send_other(f, s, ev, out, SPAN("")))
            return;
}

/* The judge has ended: what was held back of its words. False when the client cancelled. */
static bool relay_rest(struct fusion *f, struct slot *s)
{
    struct span text = unfence_end(&f->unfence_text), refusal = unfence_end(&f->unfence_refusal);
    struct chat_event ev = {.kind = CHAT_EV_REFUSAL};
    return end_reasoning(f, s, NULL) && (text.n == 0 || send_text(f, s, text)) &&
           (refusal.n == 0 || send_other(f, s, &ev, refusal, SPAN("")));
}

/* --- the end of the judge's call ---------------------------------------------------------------
 */

static enum chat_finish finish_of(const struct fusion *f, enum chat_finish finish)
{
    if (f->all_cut)
        return CHAT_FINISH_LENGTH;
    return finish == CHAT_FINISH_TOOL_CALLS ? CHAT_FINISH_STOP : finish;
}

/* It ended without a word. What it thought may have gone out: then no other judge begins anew, but
 * a member's answer can still follow. */
static void wrote_nothing(struct fusion *f, struct slot *s)
{
    struct err e;
    err_set(&e, ERR_UPSTREAM, s->refused ? "it refused" : "its answer is empty");
    s->pub->state = CHAT_MEMBER_UNUSED;
    s->pub->reason = s->refused ? "refused" : "empty";
    judge_degraded(f, s->refused ? "judge_refused" : "judge_empty", s->model, e.msg);
    slot_show(s, true);
    if (f->state == FUSION_ENDED)
        return;
    if (f->state == FUSION_RELAYING)
        judge_fallback(f, f->candidates, f->n_candidates);
    else
        write_next(f);
}

static void judge_broke(struct fusion *f, struct slot *s, const struct err *err)
{
    struct err e = *err;
    if (f->state == FUSION_RELAYING && !relay_rest(f, s))
        return;
    judge_failed(f, s, err);
    if (f->state == FUSION_ENDED)
        return;
    if (f->state == FUSION_WRITING) {
        write_next(f);
        return;
    }
    err_prefix(&e, "the judge %.*s broke off", SPAN_ARG(s->model->name));
    deliver_error(f, &e);
}

static void judge_finished(struct fusion *f, struct slot *s, const struct chat_event *ev)
{
    slot_end(s);
    if (!relay_rest(f, s))
        return;
    if (!f->sent_text) {
        wrote_nothing(f, s);
        return;
    }
    s->pub->state = CHAT_MEMBER_OK;
    slot_show(s, true);
    if (f->state != FUSION_ENDED)
        deliver_end(f, finish_of(f, ev->finish));
}

static void on_event(struct chat_sink *k, const struct chat_event *ev)
{
    struct slot *s = CONTAINER_OF(k, struct slot, sink);
    struct fusion *f = s->f;
    struct err unknown;
    fusion_enter(f);
    slot_note(s, ev);
    if (s->call) {
        switch (ev->kind) {
        case CHAT_EV_TEXT:
            relay_text(f, s, ev);
            break;
        case CHAT_EV_REASONING:
            relay_reasoning(f, s, ev);
            break;
        case CHAT_EV_REFUSAL:
            relay_refusal(f, s, ev);
            break;
        case CHAT_EV_FINISH:
            judge_finished(f, s, ev);
            break;
        case CHAT_EV_ERROR:
            s->got.failed = true;
            err_set(&unknown, ERR_UPSTREAM, "failed without a reason");
            s->got.err = ev->err ? *ev->err : unknown;
            slot_end(s);
            judge_broke(f, s, &s->got.err);
            break;
        case CHAT_EV_START:
        case CHAT_EV_TOOL: /* it has no tools: what it calls exists nowhere */
        case CHAT_EV_MEMBER:
        case CHAT_EV_USAGE:
            break;
        }
    }
    fusion_leave(f);
}

/* --- asking ------------------------------------------------------------------------------------
 */

/* The drafts in the order of their labels. */
static size_t by_label(const struct fusion *f, size_t *out)
{
    size_t n = 0;
    for (char label = 'A'; label < 'A' + LIMIT_PANEL; label++)
        for (size_t i = 0; i < f->n_candidates; i++)
            if (f->plan.members[f->candidates[i]].label == label)
                out[n++] = f->candidates[i];
    return n;
}

/* False when that judge cannot be asked: *e says why. */
static bool ask(struct fusion *f, const struct fusion_model *m, struct err *e)
{
    struct prompt_judge j;
    struct chat_request req;
    size_t members[LIMIT_PANEL], n = by_label(f, members);
    if (!judge_input(f, m, members, n, true, &j, e) || !prompt_write(f->arena, &j, &req, e)) {
        judge_degraded(f, "judge_failed", m, e->msg);
        return false;
    }
    struct slot *s = judge_slot(f, m, e);
    if (!s)
        return false;
    s->req = req;
    f->n_lead = 0;
    unfence_init(&f->unfence_text, j.nonce);
    f->unfence_reasoning = f->unfence_refusal = f->unfence_text;
    if (judge_call(f, s, on_event, e))
        return true;
    judge_failed(f, s, e);
    return false;
}

static void write_next(struct fusion *f)
{
    while (f->state == FUSION_WRITING && f->writer < f->n_judge_list) {
        struct err e = {0};
        if (ask(f, f->judge_list[f->writer++], &e)) {
            fusion_arm(f, f->deadline_us);
            return;
        }
    }
    if (f->state == FUSION_WRITING)
        judge_fallback(f, f->candidates, f->n_candidates);
}

void write_start(struct fusion *f)
{
    fusion_to(f, FUSION_WRITING);
    write_next(f);
}

void write_timeout(struct fusion *f)
{
    struct slot *s = slot_now(f);
    struct err e;
    err_set(&e, ERR_TIMEOUT, "no whole answer within the time limit of the fusion");
    slot_cancel(s);
    judge_broke(f, s, &e);
}
