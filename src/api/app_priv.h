/* api/app_priv.h - what the files of api/ share.
 *
 * app: the process (control thread). snapshot: one loaded configuration and what all workers share
 * of it. worker: one thread. lane: what one worker holds of one snapshot; requests keep the lane
 * they began with, and the last one to leave an old lane frees it. */
#ifndef FUSOR_API_APP_PRIV_H
#define FUSOR_API_APP_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "api/app.h"
#include "base/limits.h"
#include "base/rng.h"
#include "http/server.h"
#include "http/tls.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "store/store.h"
#include "upstream/child.h"

struct snapshot {
    _Atomic int refs;
    struct config *config;
    struct upstream_shared *upstreams;
    struct tls *tls; /* NULL: plain */
};
MUST_USE struct snapshot *snapshot_load(const char *path, struct err *e);
struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_free(struct snapshot *s); /* drops one reference */
AUTO_DEFINE(snapshot)

struct lane {
    struct list node; /* of worker->dead_lanes */
    struct worker *worker;
    struct snapshot *snapshot;
    struct upstream *upstream;
    struct route *route;
    struct fusion_env fusion_env;
    unsigned refs;
};
struct lane *lane_ref(struct lane *l);
/* Drops one reference. The last one may be dropped inside an event of a source that the lane holds:
 * it goes between turns. */
void lane_free(struct lane *l);
/* target.c: fusion_env's resolve(). */
MUST_USE bool lane_resolve(void *ctx, struct arena *a, struct span name,
                           const struct chat_rule *rules, struct fusion_model *out, struct err *e);
/* The rules of a policy (NULL: none) on top of others. */
MUST_USE bool worker_rule(struct arena *a, const struct config_policy *policy,
                          const struct chat_rule *up, const struct chat_rule **out, struct err *e);

struct request_metrics {
    struct metric *ok, *client_error, *server_error, *left, *seconds, *fusions;
};

struct worker {
    struct app *app;
    struct loop *loop;
    bool own_loop; /* false: runs on the control loop */
    struct http_server *server;
    struct http_client *http;
    struct gate *gate;
    struct lane *lane;
    struct list dead_lanes;
    struct loop_task bury;
    struct request_metrics metrics;
    struct log_quota strangers; /* lines about requests that needed no key */
    struct buf out;             /* bytes of one event on their way to a connection */
    struct rng names;           /* of requests and answers */
    struct list replies;        /* of api/reply.c: calls under way */
    pthread_t thread;
    bool running;
    /* posts from the control loop; `next` is theirs while `busy` */
    struct loop_task on_reload, on_drain, on_cut, on_stop;
    struct loop_task reloaded, deaf, drained; /* posts back; deaf: accepts no more */
    struct snapshot *next;
};
/* loop NULL: makes its own. */
MUST_USE bool worker_init(struct worker *w, struct app *a, struct loop *loop, struct err *e);
/* Ends its thread and all that uses the process's parts; then, when those have ended too and posted
 * their last, its loop. */
void worker_stop(struct worker *w);
void worker_done(struct worker *w);
/* Makes a lane of the snapshot the current one. */
MUST_USE bool worker_adopt(struct worker *w, struct snapshot *s, struct err *e);

enum app_state { APP_OPEN, APP_SERVING, APP_DRAINING, APP_ENDED };

/* A reload asked for by an admin request on some worker. */
struct reload_wait {
    struct list node;
    struct loop *loop;
    struct loop_task to_control, back;
    struct app *app;
    void (*on_done)(struct reload_wait *w);
    struct err err;
    bool failed;
};

struct app {
    enum app_state state;
    char *config_path; /* owned; NULL: the usual places */
    struct loop *control;
    struct app_signals *signals; /* owned; of api/serve.c, on the control loop */
    struct log *log;
    struct metrics *metrics;
    struct store *store;
    struct route_pool *routes;
    struct child_pool *children;
    struct snapshot *snapshot;
    struct worker workers[LIMIT_WORKERS];
    size_t n_workers;
    _Atomic bool draining;
    int64_t started_wall_ms;
    /* reload: one at a time */
    size_t reload_acks_left;
    bool reload_again;
    struct list reload_waiters;
    /* drain */
    size_t drain_left, deaf_left;
    struct loop_timer drain_timer;
    bool cut;                         /* the time is up: what still ran has been told */
    int listen_fd, socket_fd, log_fd; /* log_fd: of the file we opened, else -1 */
    int listen_port;                  /* as configured: 0 is any */
    char socket_path[108];
};

/* Control thread: loads the file again and hands the new snapshot to all workers. False: the old
 * one stays in force and *e says why. */
MUST_USE bool app_reload(struct app *a, struct err *e);
/* Any thread: the same, w->on_done on w->loop when every worker has it (or when it failed). */
void app_reload_post(struct app *a, struct reload_wait *w);
/* Control thread, serving: stops accepting; ends app_serve() when all is answered or time is up. */
void app_drain(struct app *a);

/* Worker's thread: ends all chat answers with an error that their clients see (api/reply.c). */
void api_chat_cut(struct worker *w);

/* The http handler of every worker (api/edge.c). */
extern const struct http_handler api_http_handler;

#endif
