/* fusion/deliver.c - everything that goes to the client: the winner's bytes, a refusal, or an error
 * with the reason of every member; and the figures just before the last event. */
#include <stdio.h>

#include "fusion/run_priv.h"

bool fusion_emit(struct fusion *f, const struct chat_event *ev)
{
    f->sink->on_event(f->sink, ev);
    return f->state != FUSION_ENDED;
}

static void list_ignored(const struct slot *s, struct chat_event *start,
                         struct span out[static MAX_IGNORED])
{
    for (size_t i = 0; i < s->n_ignored; i++) {
        if (start->n_ignored == MAX_IGNORED) {
            out[MAX_IGNORED - 1] = SPAN("...");
            return;
        }
        out[start->n_ignored++] = s->ignored[i];
    }
}

bool deliver_begin(struct fusion *f)
{
    struct span ignored[MAX_IGNORED];
    struct chat_event start = {
        .kind = CHAT_EV_START, .id = span_of(f->id), .model = f->client->model, .ignored = ignored};
    if (f->sent_start)
        return true;
    f->sent_start = true;
    for (size_t i = 0; i < f->plan.n_members; i++)
        list_ignored(&f->slots[i], &start, ignored);
    for (size_t i = 0; i < f->n_judge_calls; i++)
        list_ignored(f->judges[i], &start, ignored);
    return fusion_emit(f, &start);
}

/* The last event. The state goes first: a sink that cancels inside it cancels nothing. */
static void last_event(struct fusion *f, const struct chat_event *ev)
{
    struct chat_event usage = {.kind = CHAT_EV_USAGE, .report = &f->report};
    report_make(f);
    usage.usage = report_usage(f);
    if (!fusion_emit(f, &usage))
        return;
    fusion_to(f, FUSION_ENDED);
    loop_defer(f->env->loop, &f->freed);
    f->sink->on_event(f->sink, ev);
}

void deliver_end(struct fusion *f, enum chat_finish finish)
{
    last_event(f, &(struct chat_event){.kind = CHAT_EV_FINISH, .finish = finish});
}

void deliver_error(struct fusion *f, const struct err *err)
{
    struct err e = *err;
    if (f->sent_start)
        e.sent = SENT_DELIVERED;
    last_event(f, &(struct chat_event){.kind = CHAT_EV_ERROR, .err = &e});
}

void deliver_winner(struct fusion *f, size_t member)
{
    f->winner = member;
    fusion_to(f, FUSION_DELIVERING);
    if (!f->paused)
        deliver_now(f);
}

void deliver_now(struct fusion *f)
{
    struct span text = slot_text(&f->slots[f->winner]);
    if (!deliver_begin(f) ||
        !fusion_emit(f, &(struct chat_event){.kind = CHAT_EV_TEXT, .text = text}))
        return;
    deliver_end(f, f->all_cut ? CHAT_FINISH_LENGTH : CHAT_FINISH_STOP);
}

/* --- nothing to deliver ------------------------------------------------------------------------
 */

static const char *reason_of(const struct chat_member *m)
{
    return m->reason ? m->reason : "no answer";
}

/* The first refusal when every member that answered refused; else NULL. */
static const struct slot *common_refusal(const struct fusion *f)
{
    const struct slot *first = NULL;
    for (size_t i = 0; i < f->plan.n_members; i++) {
        const struct slot *s = &f->slots[i];
        if (s->refused && !first)
            first = s;
        if (!s->refused && s->pub->state == CHAT_MEMBER_UNUSED)
            return NULL;
    }
    return first;
}

static void deliver_refusal(struct fusion *f, const struct slot *s)
{
    struct span refusal = buf_span(&s->got.refusal), text = slot_text(s);
    if (!deliver_begin(f))
        return;
    if (text.n > 0 && !fusion_emit(f, &(struct chat_event){.kind = CHAT_EV_TEXT, .text = text}))
        return;
    if (refusal.n > 0 &&
        !fusion_emit(f, &(struct chat_event){.kind = CHAT_EV_REFUSAL, .text = refusal}))
        return;
    deliver_end(f, s->got.finish == CHAT_FINISH_CONTENT_FILTER ? CHAT_FINISH_CONTENT_FILTER
                                                               : CHAT_FINISH_REFUSAL);
}

/* "A local/x: timeout; B ...", each cut so that all fit. */
static void write_reasons(const struct fusion *f, char *out, size_t cap)
{
    size_t n = f->plan.n_members, at = 0, each = cap / (n > 0 ? n : 1);
    out[0] = '\0';
    for (size_t i = 0; i < n && at + 1 < cap; i++) {
        const struct chat_member *m = &f->members[i];
        char one[400];
        size_t room = each < sizeof one ? each : sizeof one;
        int len = snprintf(one, room, "%s%.*s: %s", i > 0 ? "; " : "", SPAN_ARG(m->model),
                           m->detail.n > 0 ? m->detail.p : reason_of(m));
        size_t keep = len < 0 ? 0 : (size_t)len < room ? (size_t)len : room - 1;
        if (keep > cap - at - 1)
            keep = cap - at - 1;
        memcpy(out + at, one, keep);
        at += keep;
        out[at] = '\0';
    }
}

/* The class that all members failed with, else ERR_UPSTREAM. */
static enum err_class common_class(const struct fusion *f)
{
    enum err_class cls = ERR_NONE;
    for (size_t i = 0; i < f->plan.n_members; i++) {
        const struct slot *s = &f->slots[i];
        if (s->pub->state != CHAT_MEMBER_FAILED)
            return ERR_UPSTREAM;
        if (cls != ERR_NONE && cls != s->got.err.cls)
            return ERR_UPSTREAM;
        cls = s->got.err.cls;
    }
    return cls == ERR_BUSY || cls == ERR_BUDGET || cls == ERR_TIMEOUT ? cls : ERR_UPSTREAM;
}

/* The code that all members failed with, else NULL. */
static const char *common_code(const struct fusion *f)
{
    const char *code = f->slots[0].got.failed ? f->slots[0].got.err.code : NULL;
    for (size_t i = 1; i < f->plan.n_members && code; i++) {
        const struct slot *s = &f->slots[i];
        if (!s->got.failed || !s->got.err.code || strcmp(s->got.err.code, code) != 0)
            code = NULL;
    }
    return code;
}

void fusion_failure(const struct fusion *f, struct err *out)
{
    char reasons[340];
    const char *code = common_code(f);
    enum err_class cls = common_class(f);
    bool too_long = code && strcmp(code, "context_length_exceeded") == 0;
    write_reasons(f, reasons, sizeof reasons);
    err_set(out, too_long ? ERR_INPUT : cls, "no member of the panel answered: %s", reasons);
    if (code)
        err_with_code(out, code);
    for (size_t i = 0; i < f->plan.n_members; i++) {
        const struct err *m = &f->slots[i].got.err;
        int64_t after = m->retry_after_ms;
        bool had = f->slots[i].got.failed;
        if (!had || m->sent > out->sent)
            out->sent = had ? m->sent : SENT_MAYBE;
        if (cls == ERR_BUSY && after >= 0 &&
            (out->retry_after_ms < 0 || after < out->retry_after_ms))
            out->retry_after_ms = after;
    }
    /* Nothing reached our client, whatever came back to us. */
    if (out->sent == SENT_DELIVERED)
        out->sent = SENT_MAYBE;
}

void deliver_nothing(struct fusion *f)
{
    const struct slot *refusal = common_refusal(f);
    struct err e = {0};
    if (refusal) {
        deliver_refusal(f, refusal);
        return;
    }
    fusion_failure(f, &e);
    deliver_error(f, &e);
}
