/* upstream/child.h - local model servers: started on first use, watched, stopped, never orphaned.
 *
 * One pool per process, run by the control loop; workers reach it by posts. A child runs under a small
 * guard process of ours (own process group, holds a pipe to us, kills the whole group when the pipe
 * closes), so that a SIGKILL of fusor leaves no orphan, wrapper scripts included. It is bound to loopback
 * with a random key that travels in the environment or a 0600 file, never argv; it inherits no secret.
 * Readiness: GET /health or /v1/models answers 200. Restarts back off 0.5 s .. 30 s. */
#ifndef FUSOR_UPSTREAM_CHILD_H
#define FUSOR_UPSTREAM_CHILD_H

#include "base/err.h"
#include "config/config.h"
#include "loop/loop.h"
#include "observe/log.h"

struct child_pool;

/* owned. control: the loop that supervises (its thread calls all but the lease functions). runtime_dir:
 * where the embedded runtime is ("" = not installed: ERR_CONFIG tells how). key_dir: 0700, for key files. */
MUST_USE struct child_pool *child_pool_new(struct loop *control, struct log *log,
                                           const char *runtime_dir, const char *key_dir,
                                           struct err *e);
/* Ends all children (TERM, then KILL after 2 s) and waits for them. Blocking. */
void child_pool_free(struct child_pool *p);
AUTO_DEFINE(child_pool)
/* Tells the pool of a new snapshot: children of providers that changed or went are stopped when idle. */
void child_pool_config(struct child_pool *p, struct config *c);

/* Address of a ready child. */
struct child_address {
    int port;
    char key[40];
};
/* A use of a child: holds it awake. Any thread; the callback comes on `loop`'s thread, once, unless
 * child_release() came first. The struct must live until child_release() returned false or on_gone ran. */
struct child_lease {
    struct loop *loop;
    void (*on_ready)(struct child_lease *l, const struct child_address *a, const struct err *err);
    void (*on_gone)(struct child_lease *l); /* after child_release(): the struct is yours again */
    /* private */
    struct child_pool *pool_;
    struct span provider_;
    const struct config_provider *config_;
    struct loop_task to_pool_, to_loop_;
    struct child_address address_;
    struct err err_;
    int state_;
    struct list node_;
};
void child_acquire(struct child_pool *p, const struct config_provider *provider,
                   struct child_lease *l);
/* Ends a use in any state; on_gone follows (by a post). failed: the child did not answer as it should:
 * probe it now. */
void child_release(struct child_lease *l, bool failed);

/* For doctor and /readyz: state of each local provider as text lines. */
enum child_state { CHILD_STOPPED, CHILD_STARTING, CHILD_READY, CHILD_BACKOFF };
enum child_state child_state_of(struct child_pool *p, struct span provider); /* any thread */

/* The guard: what `fusor` runs as when its argv[1] is "--guard". Never returns. */
_Noreturn void child_guard_main(int argc, char **argv);

#endif
