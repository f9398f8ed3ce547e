/* upstream/child.h - local model servers: started on first use, watched, stopped, never orphaned.
 *
 * One pool per process, run by the control loop; workers reach it by posts. A child runs under a
 * small guard process of ours (own process group, holds a pipe to us, kills the whole group when
 * the pipe closes), so that a SIGKILL of fusor leaves no orphan, wrapper scripts included. It is
 * bound to loopback with a random key that travels in the environment or a 0600 file, never argv;
 * it inherits no secret. Readiness: GET /health or /v1/models answers 200. Restarts back off 0.5 s
 * .. 30 s. */
#ifndef FUSOR_UPSTREAM_CHILD_H
#define FUSOR_UPSTREAM_CHILD_H

#include "base/err.h"
#include "config/config.h"
#include "loop/loop.h"
#include "observe/log.h"

struct child_pool;

/* owned. control: the loop that supervises (its thread calls all but the lease functions).
 * runtime_dir: where the embedded runtime is ("" = not installed: ERR_CONFIG tells how). key_dir:
 * 0700, for key files; those that a killed process left there are removed. log may be NULL. */
MUST_USE struct child_pool *child_pool_new(struct loop *control, struct log *log,
                                           const char *runtime_dir, const char *key_dir,
                                           struct err *e);
/* Ends all children (TERM, then KILL after 2 s) and waits for them. Blocking. Who has leases must
 * have ended: those released but not yet back get their on_gone here, on the calling thread, others
 * none. */
void child_pool_free(struct child_pool *p);
AUTO_DEFINE(child_pool)
/* Tells the pool of a new snapshot (a reference is kept): children of providers that changed or
 * went are stopped when no lease holds them; until then a changed provider may have an old and a
 * new child. New values of idle_stop and start_timeout alone hold for the child that runs. */
void child_pool_config(struct child_pool *p, struct config *c);

/* Address of a ready child. */
struct child_address {
    int port;
    char key[40];
};
/* A use of a child: holds it awake. Any thread; the callback comes on `loop`'s thread, once, unless
 * child_release() came first. The struct must live until on_gone ran.
 *
 * err: ERR_CONFIG (the command cannot be run, the runtime is not installed, the server refuses its
 * key) or ERR_UNAVAILABLE (it ended while starting, or was not ready in time), with the reason and
 * the server's last words. All that wait for a start that fails are told. After a failure the next
 * start is 0.5 s away, then twice as long each time, up to 30 s: a lease that comes meanwhile waits
 * when that is at most a second, else it is told the last reason at once, with ->retry_after_ms. */
struct child_lease {
    struct loop *loop;
    void (*on_ready)(struct child_lease *l, const struct child_address *a, const struct err *err);
    void (*on_gone)(struct child_lease *l); /* after child_release(): the struct is yours again */
    /* private */
    struct child_pool *pool_;
    const struct config_provider *provider_;
    struct child *child_;
    struct list all_, inbox_, node_;
    struct loop_task to_loop_;
    struct child_address address_;
    struct err err_;
    unsigned flags_;
};
/* provider is borrowed until on_ready or child_release(). */
void child_acquire(struct child_pool *p, const struct config_provider *provider,
                   struct child_lease *l);
/* Ends a use in any state; on_gone follows (by a post). failed: the child did not answer as it
 * should: it is probed now, and restarted when it is dead. */
void child_release(struct child_lease *l, bool failed);

/* What can be known without a start: that the program is found and may be run, and that the files
 * which it is given are there. ERR_CONFIG says what is missing. runtime_dir as above. For doctor.
 */
MUST_USE bool child_check(const struct config_provider *p, const char *runtime_dir, struct err *e);
/* For doctor and /readyz. */
enum child_state { CHILD_STOPPED, CHILD_STARTING, CHILD_READY, CHILD_BACKOFF };
enum child_state child_state_of(struct child_pool *p, struct span provider); /* any thread */

/* The guard: what `fusor` runs as when its argv[1] is "--guard". Never returns. */
_Noreturn void child_guard_main(int argc, char **argv);

#endif
