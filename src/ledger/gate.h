/* ledger/gate.h - no upstream byte before the ledger's yes, and every attempt is booked once.
 *
 * An upstream attempt asks the gate before it sends and reports its end. Until keys and budgets
 * exist the gate says yes at the end of the turn and writes a row per ended attempt; with them the
 * yes comes from a commit. Calls that cost nothing do not wait (gate_pass). One gate per worker.
 *
 * An attempt either asks and waits, or passes; each yes is settled exactly once. */
#ifndef FUSOR_LEDGER_GATE_H
#define FUSOR_LEDGER_GATE_H

#include "base/err.h"
#include "chat/chat.h"
#include "config/config.h"
#include "loop/loop.h"
#include "store/store.h"

struct gate;

/* What is about to be sent. Spans must live until it is settled. */
struct gate_intent {
    char id[32];                       /* "call_..." set by gate_ask() */
    struct span request_id, fusion_id; /* fusion_id: empty when there is none */
    const char *role;                  /* static */
    const struct config_model *model;
    struct span host;
    int64_t bound_nusd; /* upper bound, -1 unknown */
};

struct gate_ticket {
    /* From the loop, once: err NULL is yes. Set by the caller. */
    void (*on_answer)(struct gate_ticket *t, const struct err *err);
    struct loop_task task_; /* private */
    struct gate *gate_;
};

/* owned. store may be NULL (nothing is kept). */
MUST_USE struct gate *gate_new(struct loop *l, struct store *store);
void gate_free(struct gate *g);
AUTO_DEFINE(gate)
/* True when the call is free on purpose: the id is set, that is its yes, send at once. False:
 * gate_ask(). */
MUST_USE bool gate_pass(struct gate *g, struct gate_intent *i);
/* A ledger that has lost a row or its disk refuses paid calls until restart (ERR_UNAVAILABLE). */
void gate_ask(struct gate *g, struct gate_intent *i, struct gate_ticket *t);
/* Whether that is the gate's no: then no upstream was asked, and none is to blame. */
bool gate_refused(const struct err *err);
/* Takes a question back; fine when it was answered. */
void gate_withdraw(struct gate_ticket *t);
/* Books the end of an attempt that got its yes. outcome is static ("ok", "cancelled", an error
 * class). */
void gate_settle(struct gate *g, const struct gate_intent *i, const struct chat_usage *u,
                 const char *outcome, bool uncertain, int64_t start_wall_ms, int64_t ttft_us,
                 int64_t total_us);

/* How many attempts got their yes and how many were settled: equal when none is under way. */
struct gate_counts {
    uint64_t yes, settled, lost; /* lost: the store did not take the row */
};
struct gate_counts gate_counts_of(const struct gate *g);

#endif
