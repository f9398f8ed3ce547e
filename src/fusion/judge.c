/* fusion/judge.c - a judge's call: its slot, its input, and what happens when no judge helps. */
#include <stdio.h>

#include "fusion/run_priv.h"
#include "fusion/vote.h"

/* A verdict is short; a judge that talks longer than this is not heard out. */
#define VERDICT_BYTES KIB(256)

struct slot *judge_slot(struct fusion *f, const struct fusion_model *m, struct err *e)
{
    struct slot *s = arena_alloc(f->arena, sizeof *s);
    if (!s) {
        err_set(e, ERR_NOMEM, "no memory for a judge");
        return NULL;
    }
    size_t i = f->n_judge_calls;
    s->f = f;
    s->model = m;
    s->pub = &f->judge_calls[i];
    s->started_us = loop_now_us(f->env->loop);
    chat_collect_init(&s->got, VERDICT_BYTES);
    if (i == 0)
        snprintf(s->label, sizeof s->label, "judge");
    else
        snprintf(s->label, sizeof s->label, "judge-%zu", i + 1);
    *s->pub = (struct chat_member){
        .label = span_of(s->label), .model = m->name, .judge = true, .ttft_us = -1, .total_us = -1};
    f->judges[f->n_judge_calls++] = s;
    return s;
}

/* 64 bits for one request: nobody guesses them, and marks stay short for small models. */
static void draw_nonce(struct fusion *f, char out[17])
{
    snprintf(out, 17, "%016llx", (unsigned long long)f->env->random(f->env->ctx));
}

bool judge_input(struct fusion *f, const struct fusion_model *m, const size_t *members, size_t n,
                 bool writes, struct prompt_judge *out, struct err *e)
{
    struct prompt_answer *answers = arena_array(f->arena, n, sizeof *answers);
    int64_t fixed = prompt_judge_bytes(f->client, f->plan.recipe.criteria, n);
    struct prompt_judge j = {.client = f->client,
                             .criteria = f->plan.recipe.criteria,
                             .answers = answers,
                             .n = n,
                             .model = m->name,
                             .max_tokens = writes ? f->plan.judge_max_tokens : VERDICT_TOKENS,
                             .schema = m->json_schema};
    if (!answers)
        return err_set(e, ERR_NOMEM, "no memory for a judge");
    for (size_t i = 0; i < n; i++) {
        const struct plan_member *member = &f->plan.members[members[i]];
        answers[i] = (struct prompt_answer){.label = member->label,
                                            .text = slot_text(&f->slots[members[i]]),
                                            .aspect = member->spec->aspect,
                                            .cut = f->all_cut};
        fixed += (int64_t)member->spec->aspect.n;
    }
    if (!plan_answer_room(plan_judge_window(m), fixed, j.max_tokens, n, &j.room_bytes))
        return err_set(e, ERR_INPUT, "the conversation does not fit its window of %lld tokens",
                       (long long)plan_judge_window(m));
    draw_nonce(f, j.nonce);
    *out = j;
    return true;
}

bool judge_call(struct fusion *f, struct slot *s,
                void (*on_event)(struct chat_sink *k, const struct chat_event *ev), struct err *e)
{
    struct chat_start_opts o = fusion_call_opts(f, "judge", s->model);
    f->deadline_us = o.deadline_us;
    s->sink.on_event = on_event;
    s->call = chat_start(s->model->source, &s->req, &o, &s->sink, e);
    s->begun = s->call != NULL;
    if (!s->begun)
        return false;
    slot_show(s, true);
    return true;
}

void judge_degraded(struct fusion *f, const char *code, const struct fusion_model *m,
                    const char *why)
{
    if (f->degraded)
        return;
    f->degraded = code;
    f->degraded_why = arena_printf(f->arena, "judge %.*s: %s", SPAN_ARG(m->name), why);
    if (!f->degraded_why.p)
        f->degraded_why = SPAN("");
}

void judge_failed(struct fusion *f, struct slot *s, const struct err *err)
{
    struct err copy = *err;
    slot_fail(s, &copy);
    if (s->pub->total_us < 0)
        s->pub->total_us = loop_now_us(f->env->loop) - s->started_us;
    slot_missing_usage(s);
    judge_degraded(f, "judge_failed", s->model, copy.msg);
    slot_show(s, true);
}

void judge_stop(struct fusion *f, struct slot *s)
{
    struct err e;
    err_set(&e, ERR_TIMEOUT, "no answer within the time limit of the fusion");
    slot_cancel(s);
    judge_failed(f, s, &e);
}

void judge_fallback(struct fusion *f, const size_t *members, size_t n)
{
    struct span texts[LIMIT_PANEL];
    double mean = -1;
    for (size_t i = 0; i < n; i++)
        texts[i] = slot_text(&f->slots[members[i]]);
    size_t best = vote_most_alike(texts, n, &mean);
    if (f->agreement < 0)
        f->agreement = mean;
    deliver_winner(f, members[best]);
}
