/* fusion/member.c - one call of a panel: its sink, what it said, whether that is usable, what it
 * used.
 *
 * A member is never paused, and its reasoning is never kept: it is not part of an answer. */
#include "base/text.h"
#include "fusion/run_priv.h"
#include "fusion/vote.h"
#include "ledger/price.h"

/* Progress by bytes goes out at most that often per call. */
#define SHOW_EVERY_US 100000

struct span slot_text(const struct slot *s)
{
    return buf_span(&s->got.text);
}

/* --- bookkeeping of any call -------------------------------------------------------------------
 */

static int64_t now_of(const struct slot *s)
{
    return loop_now_us(s->f->env->loop);
}

void slot_show(struct slot *s, bool force)
{
    struct fusion *f = s->f;
    int64_t now = now_of(s);
    if (!f->progress || f->state == FUSION_ENDED)
        return;
    if (f->state == FUSION_NEW || f->paused || (!force && now - s->shown_us < SHOW_EVERY_US)) {
        s->dirty = true;
        return;
    }
    s->dirty = false;
    s->shown_us = now;
    if (!fusion_emit(f, &(struct chat_event){.kind = CHAT_EV_MEMBER, .member = s->pub}))
        return; /* cancelled: the caller sees ->state */
}

static void first_piece(struct slot *s)
{
    if (s->pub->ttft_us >= 0)
        return;
    s->pub->ttft_us = now_of(s) - s->started_us;
    s->pub->state = CHAT_MEMBER_STREAMING;
    slot_show(s, true);
}

/* Without memory the list stays short: it is for a person. */
static void keep_ignored(struct slot *s, const struct chat_event *ev)
{
    struct arena *a = s->f->arena;
    size_t n = ev->n_ignored < MAX_IGNORED ? ev->n_ignored : MAX_IGNORED;
    if (n == 0 || s->ignored)
        return;
    s->ignored = arena_array(a, n, sizeof *s->ignored);
    for (size_t i = 0; s->ignored && i < n; i++) {
        struct span name = text_upto(ev->ignored[i], 64), label = s->pub->label;
        name = arena_printf(a, "%.*s: %.*s", SPAN_ARG(label), SPAN_ARG(name));
        if (name.p)
            s->ignored[s->n_ignored++] = name;
    }
}

void slot_note(struct slot *s, const struct chat_event *ev)
{
    switch (ev->kind) {
    case CHAT_EV_START:
        keep_ignored(s, ev);
        s->pub->state = CHAT_MEMBER_STARTED;
        slot_show(s, true);
        break;
    case CHAT_EV_TEXT:
        s->pub->bytes += ev->text.n;
        first_piece(s);
        break;
    case CHAT_EV_REASONING:
    case CHAT_EV_REFUSAL:
    case CHAT_EV_TOOL:
        first_piece(s);
        break;
    case CHAT_EV_USAGE:
        s->pub->usage = ev->usage;
        s->got.has_usage = true;
        break;
    case CHAT_EV_MEMBER:
    case CHAT_EV_FINISH:
    case CHAT_EV_ERROR:
        break;
    }
}

/* A call that ended without saying what it used: nothing if nothing was sent or it is free. */
void slot_missing_usage(struct slot *s)
{
    bool free = price_is_free(&s->model->price);
    bool unsent = !s->begun || (s->got.failed &&
                                (s->got.err.sent == SENT_NO || s->got.err.sent == SENT_REFUSED));
    if (s->got.has_usage)
        return;
    s->pub->usage = (struct chat_usage){.cost_nusd = free || unsent ? 0 : -1, .estimated = !unsent};
}

void slot_end(struct slot *s)
{
    s->call = NULL;
    s->pub->total_us = now_of(s) - s->started_us;
    slot_missing_usage(s);
}

void slot_fail(struct slot *s, const struct err *err)
{
    s->got.failed = true;
    s->got.err = *err;
    s->pub->state = CHAT_MEMBER_FAILED;
    s->pub->reason = err->cls == ERR_TIMEOUT ? "timeout" : err->code ? err->code : "failed";
    s->pub->detail = span_of(s->got.err.msg);
}

void slot_cancel(struct slot *s)
{
    struct chat_usage used = {.cost_nusd = -1, .estimated = true};
    struct chat_call *call = s->call;
    if (!call)
        return;
    s->call = NULL;
    /* The call knows whether it says numbers of its own, or of nothing that was sent. */
    chat_cancel(call, &used);
    s->pub->usage = used;
    s->got.has_usage = true;
    s->pub->total_us = now_of(s) - s->started_us;
}

/* The answer's canonical form, for the count; what is not usable weighs nothing. */
static void cast_ballot(struct fusion *f, const struct slot *s)
{
    struct err e;
    struct ballot *b;
    if (!f->ballots)
        return;
    b = &f->ballots[s - f->slots];
    b->pending = false;
    if (s->pub->state != CHAT_MEMBER_OK)
        b->weight = 0;
    else if (!canon_read(f->canon, f->arena, slot_text(s), &b->answer, &e))
        b->answer = (struct span){NULL, 0}; /* no memory: it votes for nothing */
}

void member_stop(struct fusion *f, struct slot *s, enum chat_member_state state, const char *reason)
{
    slot_cancel(s);
    f->live--;
    s->pub->state = state;
    s->pub->reason = reason;
    cast_ballot(f, s);
    slot_show(s, true);
}

/* --- usable or not -----------------------------------------------------------------------------
 */

static bool is_blank(struct span s)
{
    return span_trim(s).n == 0;
}

/* NULL when the answer is usable. */
static const char *flaw_of(struct slot *s)
{
    struct span text = slot_text(s);
    const struct chat_collect *got = &s->got;
    if (got->refusal.n > 0 || got->finish == CHAT_FINISH_REFUSAL ||
        got->finish == CHAT_FINISH_CONTENT_FILTER) {
        s->refused = true;
        return "refused";
    }
    if (is_blank(text))
        return got->n_tools > 0                    ? "tool_calls"
               : got->finish == CHAT_FINISH_LENGTH ? "cut"
                                                   : "empty";
    if (!text_is_utf8(text))
        return "garbled";
    if (got->over || got->finish == CHAT_FINISH_LENGTH)
        return "cut";
    return got->finish == CHAT_FINISH_TOOL_CALLS ? "tool_calls" : NULL;
}

static void settle(struct fusion *f, struct slot *s)
{
    const char *flaw = s->got.failed ? NULL : flaw_of(s);
    f->live--;
    if (s->got.failed) {
        slot_fail(s, &s->got.err);
    } else if (flaw) {
        s->pub->state = CHAT_MEMBER_UNUSED;
        s->pub->reason = flaw;
    } else {
        s->pub->state = CHAT_MEMBER_OK;
        f->usable++;
    }
    cast_ballot(f, s);
    slot_show(s, true);
}

/* --- the sink ----------------------------------------------------------------------------------
 */

/* The collector is full, or memory is: the member is ended here. */
static void overflow(struct fusion *f, struct slot *s, const struct err *err)
{
    slot_cancel(s);
    if (err->cls == ERR_LIMIT)
        s->got.finish = CHAT_FINISH_LENGTH;
    else
        slot_fail(s, err);
    settle(f, s);
}

static void on_event(struct chat_sink *k, const struct chat_event *ev)
{
    struct slot *s = CONTAINER_OF(k, struct slot, sink);
    struct fusion *f = s->f;
    struct err e; /* large: set where something fails, not per event */
    fusion_enter(f);
    slot_note(s, ev);
    if (s->call && ev->kind != CHAT_EV_REASONING && !chat_collect_event(&s->got, ev, &e))
        overflow(f, s, &e);
    else if (s->call && s->got.ended) {
        slot_end(s);
        settle(f, s);
    } else if (s->call && ev->kind == CHAT_EV_TEXT)
        slot_show(s, false);
    if (!s->call)
        fusion_panel_changed(f);
    fusion_leave(f);
}

static bool member_request(struct fusion *f, struct slot *s, const struct plan_member *m,
                           struct err *e)
{
    return prompt_member(f->arena, f->client, m->spec, m->sample, m->model->name, m->max_tokens,
                         &s->req, e);
}

bool member_start(struct fusion *f, size_t i, struct err *e)
{
    const struct plan_member *m = &f->plan.members[i];
    struct slot *s = &f->slots[i];
    struct chat_start_opts o = fusion_call_opts(f, "member", m->model);
    struct err failure = {0};
    *s = (struct slot){.f = f, .model = m->model, .pub = &f->members[i], .sink.on_event = on_event};
    s->started_us = loop_now_us(f->env->loop);
    s->shown_us = s->started_us - SHOW_EVERY_US;
    chat_collect_init(&s->got, LIMIT_MEMBER_BYTES);
    *s->pub = (struct chat_member){.label = span_make(&m->label, 1),
                                   .model = m->model->name,
                                   .sample = m->sample,
                                   .ttft_us = -1,
                                   .total_us = -1};
    s->dirty = true;
    if (!member_request(f, s, m, e))
        return false;
    s->call = chat_start(m->model->source, &s->req, &o, &s->sink, &failure);
    s->begun = s->call != NULL;
    if (s->begun) {
        f->live++;
        return true;
    }
    slot_fail(s, &failure);
    s->pub->total_us = 0;
    slot_missing_usage(s);
    cast_ballot(f, s);
    return true;
}
