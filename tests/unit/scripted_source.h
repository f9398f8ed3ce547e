/* tests/unit/scripted_source.h - models that say what a script says, on the simulated loop; and a
 * sink that checks the order of events. What fusion tests are made of. */
#ifndef FUSOR_TESTS_SCRIPTED_SOURCE_H
#define FUSOR_TESTS_SCRIPTED_SOURCE_H

#include "base/rng.h"
#include "chat/collect.h"
#include "fusion/fusion.h"

/* --- a model -------------------------------------------------------------------------------------
 */

struct scripted;

/* One answer. Times are from the start of the call. */
struct script {
    struct span text, refusal, reasoning, signature; /* signature: of the reasoning */
    struct span tool; /* name of a call without arguments, behind the text; n 0: none */
    size_t chunk;     /* bytes per piece of text; 0: one piece */
    int64_t first_us; /* START and the first piece */
    int64_t every_us; /* between pieces */
    int64_t end_us;   /* from the last piece to the end */
    enum chat_finish finish;
    struct err err; /* cls set: ends with this error after its text */
    bool no_start;  /* start() itself fails with err */
    bool hang;      /* never ends */
    bool no_usage;
    bool early_usage; /* it comes before the text, and only there */
    size_t n_ignored; /* "hint-0", ... were not sent */
    struct chat_usage usage;
};

struct scripted {
    struct chat_source source;
    struct loop *loop;
    struct span name;
    struct price price;
    int64_t context, max_output;
    bool json_schema, bills_on;
    unsigned leaf_calls;
    struct latency *latency;
    struct chat_source *other; /* resolves to this source instead: a nested recipe */
    /* What the nth call says: scripts[n], the last one for all later calls. */
    struct script scripts[8];
    size_t n_scripts;
    /* Set: writes the script itself, from the request. */
    void (*answer)(struct scripted *m, const struct chat_request *r, struct script *out);
    void *ctx;
    /* what happened */
    size_t starts, ended, cancelled, pauses, resumes;
    int64_t deadline_us;      /* of the last call */
    int64_t billed_nusd;      /* of all calls that ended or were cancelled; -1: one was unknown */
    struct buf asked;         /* the last request: "[role] text\n" per message */
    struct chat_request last; /* borrowed from the fusion: for numbers only after its end */
    char fusion_id[32];       /* of the last call's start options */
};

/* --- an environment of models --------------------------------------------------------------------
 */

#define LAB_MODELS 24

struct lab {
    struct loop *loop;
    struct scripted models[LAB_MODELS];
    size_t n;
    struct rng rng;
    unsigned ids;
    struct fusion_env env;
    struct recipe recipe;
    struct fusion_source source;
};

void lab_init(struct lab *l, uint64_t seed);
void lab_done(struct lab *l);
/* A model that answers `text` after `after_ms`; 10 input and 5 output tokens, 15 nano-USD. */
struct scripted *lab_model(struct lab *l, const char *name, const char *text, int64_t after_ms);
/* The same, and a member of the recipe's panel. */
struct scripted *lab_member(struct lab *l, const char *name, const char *text, int64_t after_ms);
/* The same, and a judge of the recipe. */
struct scripted *lab_judge(struct lab *l, const char *name, const char *text, int64_t after_ms);
struct err lab_error(enum err_class cls, const char *msg);
size_t lab_running(const struct lab *l); /* calls begun and not over */

/* --- a client ------------------------------------------------------------------------------------
 */

struct client {
    struct chat_sink sink;
    struct lab *lab;
    struct chat_call *call;
    struct buf text, reasoning, refusal, log; /* log: S t r f m u F E */
    bool started, ended, failed, gone, paused;
    enum chat_finish finish;
    struct err err;
    struct chat_usage usage;
    size_t usages, members, signatures;
    int64_t began_us, ended_us, first_us;
    /* the last report, copied */
    struct buf ignored; /* "a, b" of START */
    struct chat_fusion_report report;
    struct chat_member rep_members[16], rep_judges[16];
    char labels[16]; /* blind labels of the members */
    char degraded_why[256];
    /* what the client does: at its nth event */
    size_t events, cancel_at, pause_at;
    int64_t pause_us;
    struct loop_timer resume, leave;
};

/* Starts the recipe with one user message, runs the loop until nothing is left. cancel_at, pause_at
 * and leave (by lab_leave_after) may be set between client_init() and client_run(). */
void client_init(struct client *c, struct lab *l);
/* False: start failed, see ->err. */
bool client_start(struct client *c, const struct chat_request *r);
bool client_run(struct client *c, const struct chat_request *r);
void client_leave_after(struct client *c, int64_t us);
void client_done(struct client *c);
struct span client_text(const struct client *c);

/* A request of one user message; storage is static: one at a time. */
struct chat_request ask(const char *question);

#endif
