/* fusion/report.c - what a fusion did and cost: sums over every call it made, to the nano-USD. */
#include "fusion/run_priv.h"
#include "ledger/price.h"

static void add_usage(struct chat_usage *sum, const struct chat_member *m)
{
    const struct chat_usage *u = &m->usage;
    sum->input += u->input;
    sum->cached += u->cached;
    sum->cache_write += u->cache_write;
    sum->output += u->output;
    sum->reasoning += u->reasoning;
    sum->cost_nusd = nusd_add(sum->cost_nusd, u->cost_nusd);
    sum->estimated = sum->estimated || u->estimated;
}

struct chat_usage report_usage(const struct fusion *f)
{
    struct chat_usage sum = {0};
    for (size_t i = 0; i < f->plan.n_members; i++)
        add_usage(&sum, &f->members[i]);
    for (size_t i = 0; i < f->n_judge_calls; i++)
        add_usage(&sum, &f->judge_calls[i]);
    return sum;
}

static double ratio(int64_t ours, int64_t theirs)
{
    return theirs > 0 ? (double)ours / (double)theirs : -1;
}

void report_make(struct fusion *f)
{
    int64_t ours = loop_now_us(f->env->loop) - f->started_us, slowest = -1, best = -1;
    for (size_t i = 0; i < f->n_candidates; i++) {
        int64_t t = f->members[f->candidates[i]].total_us;
        slowest = t > slowest ? t : slowest;
        best = best < 0 || t < best ? t : best;
    }
    f->report = (struct chat_fusion_report){
        .id = span_of(f->id),
        .mode = f->plan.pub.mode,
        .degraded = f->degraded,
        .degraded_why = f->degraded_why,
        .agreement = f->agreement,
        .planned_nusd = f->plan.pub.worst_nusd,
        .seed = f->plan.pub.seed,
        .members = f->members,
        .judges = f->judge_calls,
        .n_members = f->plan.n_members,
        .n_judges = f->n_judge_calls,
        .latency_ratio_slowest = ratio(ours, slowest),
        .latency_ratio_best = ratio(ours, best),
        .notes = f->plan.notes,
        .n_notes = f->plan.n_notes,
    };
}
