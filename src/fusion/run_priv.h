/* fusion/run_priv.h - one running fusion: the state machine and what its files share.
 *
 *   NEW -> PANEL -> GRACE -> DECIDING ----+-> DELIVERING -> ENDED
 *                         -> WRITING -> RELAYING -------> ENDED
 *
 * run.c owns the states, the timer and the panel's end; member.c the panel's calls; decide.c
 * verdicts; write.c the written answer; deliver.c everything that goes to the client; report.c the
 * figures. The fusion has one arena, which holds it, its sources and its prompts; answers are in
 * their collectors. */
#ifndef FUSOR_FUSION_RUN_PRIV_H
#define FUSOR_FUSION_RUN_PRIV_H

#include "chat/collect.h"
#include "fusion/canon.h"
#include "fusion/plan_priv.h"
#include "fusion/prompt.h"
#include "fusion/unfence.h"
#include "fusion/verdict.h"
#include "fusion/vote.h"

#define MAX_JUDGE_CALLS (4 * VERDICT_CALLS)
/* Fields left out that are listed, of all calls together; more end in "...". */
#define MAX_IGNORED 64

enum fusion_state {
    FUSION_NEW,        /* members are being started; no event may go out yet */
    FUSION_PANEL,      /* members run; timer: the panel's time limit */
    FUSION_GRACE,      /* the quorum is there, others run; timer: next look at them */
    FUSION_DECIDING,   /* judge runs: its verdict is collected; timer: the call's time limit */
    FUSION_WRITING,    /* judge runs: nothing has gone out; timer: the call's time limit */
    FUSION_RELAYING,   /* judge runs: its text goes out as it comes; timer: as above */
    FUSION_DELIVERING, /* winner is set, nobody runs; waits only while the client is paused */
    FUSION_ENDED, /* the last event went out, or it was cancelled; memory goes after this turn */
    FUSION_STATES
};

struct fusion;

/* One call: a member or a judge. */
struct slot {
    struct chat_sink sink;
    struct fusion *f;
    struct chat_call *call;  /* NULL: not begun, or over */
    struct chat_member *pub; /* in ->members or ->judge_calls of the fusion */
    struct chat_collect got; /* text of members and verdicts; usage and error of all */
    struct chat_request req;
    const struct fusion_model *model;
    int64_t started_us;
    int64_t shown_us; /* when progress last went out */
    bool dirty;       /* progress has not gone out yet */
    bool begun;       /* start() gave a call */
    bool refused;     /* the answer is a refusal */
    char label[12];
    struct span *ignored; /* fields that its upstream was not sent, "B: user" */
    size_t n_ignored;
};

/* How the present verdict came to be asked for. */
enum verdict_step { STEP_FIRST, STEP_OTHER_ORDER };

struct decision {
    size_t judge; /* index into the judges; beyond the last: none is left */
    enum verdict_step step;
    bool repaired;               /* this judge was asked again once */
    struct verdict first;        /* STEP_OTHER_ORDER: what it said to the first order */
    size_t members[LIMIT_PANEL]; /* who is judged, in panel order */
    size_t order[LIMIT_PANEL];   /* the same by label: how they are shown first */
    size_t n;
    struct chat_request asked; /* the last request, for a repair */
};

struct fusion {
    struct chat_call call; /* what the client holds */
    struct arena *arena;   /* holds this struct too */
    const struct fusion_env *env;
    struct chat_sink *sink;
    const struct chat_request *client;
    struct chat_start_opts opts;
    struct plan plan;
    enum fusion_state state;
    struct loop_timer timer;
    struct loop_task freed; /* ENDED: gives everything back */
    struct loop_task kick;  /* what may not happen inside start() or resume() */
    unsigned on_stack;      /* callbacks of ours that have not returned */
    int64_t started_us, quorum_us;
    int64_t deadline_us; /* of the calls that run now; 0: none */

    struct slot *slots; /* plan.n_members */
    struct chat_member *members;
    struct ballot *ballots; /* vote only */
    const struct canon *canon;
    size_t live;   /* members running */
    size_t usable; /* members with a usable answer */

    /* Since the panel ended: what can go out, in panel order. */
    size_t candidates[LIMIT_PANEL];
    size_t n_candidates;
    bool all_cut;  /* no answer was whole: the finish is `length` */
    size_t winner; /* DELIVERING: member index */

    struct slot *judges[MAX_JUDGE_CALLS]; /* every judge call made, in order */
    struct chat_member *judge_calls;
    size_t n_judge_calls;
    const struct fusion_model *default_judge[1];
    const struct fusion_model *const *judge_list;
    size_t n_judge_list;
    struct decision decision;
    size_t writer; /* WRITING, RELAYING: index into judge_list */
    char lead[32]; /* white space before the written answer's first word */
    size_t n_lead;
    struct unfence unfence_text, unfence_reasoning, unfence_refusal; /* of the present writer */

    bool progress, paused, sent_start, sent_text;
    const char *degraded;
    struct span degraded_why;
    double agreement;
    char id[32];
    struct chat_fusion_report report;
};

/* run.c -------------------------------------------------------------------------------------------
 */
/* The only writer of ->state. */
void fusion_to(struct fusion *f, enum fusion_state s);
/* After any change of a member. */
void fusion_panel_changed(struct fusion *f);
/* The timer fires at that loop time (0: never). Without memory it ends the fusion with an error. */
void fusion_arm(struct fusion *f, int64_t at_us);
void fusion_kick(struct fusion *f);
/* Frames of ours below a callback: while any is there nothing is freed. */
static inline void fusion_enter(struct fusion *f)
{
    f->on_stack++;
}
static inline void fusion_leave(struct fusion *f)
{
    f->on_stack--;
}
/* What members and judges are started with. */
struct chat_start_opts fusion_call_opts(const struct fusion *f, const char *role,
                                        const struct fusion_model *m);
/* When a call that starts now must end: loop time, 0: no limit. */
int64_t fusion_deadline(const struct fusion *f);
/* Timer and tasks of a new fusion. */
void fusion_prepare(struct fusion *f);
void fusion_free(struct fusion *f);
/* Cancels every running call, without an event. */
void fusion_stop_all(struct fusion *f);

/* member.c ----------------------------------------------------------------------------------------
 */
MUST_USE bool member_start(struct fusion *f, size_t i, struct err *e);
/* Stops it where it stands and books what it used. */
void member_stop(struct fusion *f, struct slot *s, enum chat_member_state state,
                 const char *reason);
/* Bookkeeping that members and judges share: usage, times, failure. */
void slot_note(struct slot *s, const struct chat_event *ev);
void slot_end(struct slot *s);
void slot_fail(struct slot *s, const struct err *err);
void slot_cancel(struct slot *s);
void slot_missing_usage(struct slot *s);
/* Progress to the client, if it wants it; force: also when some went out just now. */
void slot_show(struct slot *s, bool force);
struct span slot_text(const struct slot *s);

/* decide.c, write.c -------------------------------------------------------------------------------
 */
/* Among members[0..n) (indexes): asks judges until one of them wins, then delivers. */
void decide_start(struct fusion *f, const size_t *members, size_t n);
void decide_timeout(struct fusion *f);
void write_start(struct fusion *f);
void write_timeout(struct fusion *f);
/* judge.c: a judge's call */
MUST_USE struct slot *judge_slot(struct fusion *f, const struct fusion_model *m, struct err *e);
MUST_USE bool judge_input(struct fusion *f, const struct fusion_model *m, const size_t *members,
                          size_t n, bool writes, struct prompt_judge *out, struct err *e);
/* Starts s->req at s's model; a failure to start is noted in the slot. */
MUST_USE bool judge_call(struct fusion *f, struct slot *s,
                         void (*on_event)(struct chat_sink *k, const struct chat_event *ev),
                         struct err *e);
/* The judge did not answer: noted, and said in the report. */
void judge_failed(struct fusion *f, struct slot *s, const struct err *err);
/* Ran into its time limit. */
void judge_stop(struct fusion *f, struct slot *s);
/* Without a verdict: the answer most like the others, else the first of the panel. */
void judge_fallback(struct fusion *f, const size_t *members, size_t n);
void judge_degraded(struct fusion *f, const char *code, const struct fusion_model *m,
                    const char *why);

/* deliver.c ---------------------------------------------------------------------------------------
 */
/* False when the client cancelled meanwhile: return at once. */
MUST_USE bool fusion_emit(struct fusion *f, const struct chat_event *ev);
MUST_USE bool deliver_begin(struct fusion *f); /* START, once */
void deliver_winner(struct fusion *f, size_t member);
void deliver_now(struct fusion *f); /* DELIVERING, not paused */
void deliver_end(struct fusion *f, enum chat_finish finish);
void deliver_error(struct fusion *f, const struct err *err);
/* No member has an answer: the first refusal, or an error with every member's reason. */
void deliver_nothing(struct fusion *f);
void fusion_failure(const struct fusion *f, struct err *out);

/* report.c ----------------------------------------------------------------------------------------
 */
struct chat_usage report_usage(const struct fusion *f);
void report_make(struct fusion *f);

#endif
