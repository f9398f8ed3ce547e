/* api/app.h - the whole program as one object: configuration, store, workers; served or used in
 * place.
 *
 * `fusor serve` opens it and serves; `fusor ask` and `fusor plan` open it without listening and run
 * one worker on their own thread. Nothing in the program is global: everything hangs on this
 * struct. */
#ifndef FUSOR_API_APP_H
#define FUSOR_API_APP_H

#include "base/arena.h"
#include "base/err.h"
#include "config/config.h"
#include "fusion/fusion.h"
#include "loop/loop.h"
#include "route/route.h"

struct app;
struct worker; /* one loop with its connections, pools and sources */

struct app_options {
    const char *config_path; /* NULL: the usual places */
    bool serve;              /* more workers, signals, the Unix socket */
    int log_fd;              /* -1: no log */
};

/* owned. Loads the configuration, opens the store (ERR_CONFLICT when another process has it), makes
 * the control loop and, unless serving, the one worker. Blocking. */
MUST_USE struct app *app_open(const struct app_options *o, struct err *e);
/* Ends children and workers, writes what is queued. Blocking. */
void app_free(struct app *a);
AUTO_DEFINE(app)
/* Listens, says so on stderr, and runs until SIGTERM or SIGINT has drained it. SIGHUP reloads. */
MUST_USE bool app_serve(struct app *a, struct err *e);

/* --- used in place (not serving)
 * -------------------------------------------------------------------- */
struct worker *app_worker(struct app *a);
struct loop *app_loop(struct app *a);
const struct config *app_config(const struct app *a);

struct app_ask {
    struct span name;                   /* a model, a recipe or an alias */
    const struct chat_request *request; /* its wishes about routing; NULL: none */
    const struct span *policies;        /* of the header x-fusor-policy: all of them hold */
    size_t n_policies;
};
/* What is asked, as a source. Lives in `arena` and as long as the worker's present snapshot. */
struct app_target {
    struct chat_source *source;
    const struct recipe *recipe;      /* the first target is a fusion; else NULL */
    const struct chat_rule *rules;    /* for chat_start_opts */
    enum chat_fields fields;          /* for them too */
    struct failover_source *failover; /* NULL: one target */
    bool wants_signed;                /* a target may want signed reasoning back */
    const struct span *ignored;       /* wishes about routing that have no effect */
    size_t n_ignored;
    struct span name;
};
/* ERR_NOT_FOUND "model_not_found"; ERR_FORBIDDEN "region_not_allowed" when no target is in a region
 * that the policies allow. */
MUST_USE bool worker_resolve(struct worker *w, struct arena *arena, const struct app_ask *ask,
                             struct app_target *out, struct err *e);
const struct fusion_env *worker_fusion_env(struct worker *w);

/* Where the embedded model runtime is: the first of the places that is a directory; false when
 * there is none. */
bool app_runtime_dir(char *out, size_t cap);
/* The i-th place where it is looked for: $FUSOR_RUNTIME alone when it is set, else
 * "PREFIX/lib/fusor", then ".runtime" beside the build. False behind the last. */
bool app_runtime_place(size_t i, char *out, size_t cap);
/* The state directory's socket, "DIR/fusor.sock". False when it does not fit. */
bool app_socket_path(const struct config *c, char *out, size_t cap);

#endif
