/* upstream/child_priv.h - what the files of the child pool share, from the bottom up.
 *
 * child_guard.c: the guard, a process of its own. child_process.c: one run of a command under a
 * guard, seen from us. child_command.c: what is run, with which arguments and environment.
 * child_probe.c: does it answer? child.c: states, leases, restarts. */
#ifndef FUSOR_UPSTREAM_CHILD_PRIV_H
#define FUSOR_UPSTREAM_CHILD_PRIV_H

#include <pthread.h>

#include "base/arena.h"
#include "http/client.h"
#include "upstream/child.h"

/* From TERM to KILL. */
#define CHILD_GRACE_US INT64_C(2000000)

/* --- between a guard and us ----------------------------------------------------------------------
 */

/* The guard's descriptors: 0 is /dev/null, 1 and 2 are the command's output. Nobody writes to LIFE:
 * its end is our end, or our wish. REPORT carries guard_reports and ends with the guard. */
enum { GUARD_FD_LIFE = 3, GUARD_FD_REPORT = 4 };

enum guard_word {
    GUARD_STARTED = 1, /* value: pid of the command, and its process group */
    GUARD_NO_EXEC,     /* the command cannot be run; value: errno */
    GUARD_EXITED,      /* value: exit code */
    GUARD_SIGNALED     /* value: signal */
};

struct guard_report {
    int word, value;
};

/* --- one run of a command --------------------------------------------------------------------- */

struct child_process;

/* How a run ended. word 0: the guard itself was killed. */
struct child_end {
    int word, value; /* enum guard_word */
};

struct child_process_ops {
    /* All of its processes are gone. Not called after child_process_free(). */
    void (*on_end)(void *owner, const struct child_end *end);
};

/* owned. Starts argv under a guard with exactly that environment. ERR_SYS, ERR_NOMEM. */
MUST_USE struct child_process *child_process_new(struct loop *l, char *const *argv,
                                                 char *const *env,
                                                 const struct child_process_ops *ops, void *owner,
                                                 struct err *e);
/* TERM to all of its processes, KILL after CHILD_GRACE_US; on_end follows. Twice is once. */
void child_process_stop(struct child_process *p);
/* Blocks until all is gone, at most until the time on clock_mono_us(); no on_end. */
void child_process_wait(struct child_process *p, int64_t until_us);
/* What runs still is killed. May be called from on_end. */
void child_process_free(struct child_process *p);
AUTO_DEFINE(child_process)
/* The last lines of its output that fit, as one visible line; "" when it said nothing. */
void child_process_tail(struct child_process *p, char *out, size_t cap);

/* --- what is run ------------------------------------------------------------------------------ */

/* A provider's settings, copied: they outlive their snapshot. */
struct child_spec {
    struct span name;
    struct span *command; /* n_command 0: the embedded runtime */
    size_t n_command;
    struct span model_file;
    int64_t context, parallel, threads;
};
MUST_USE bool child_spec_copy(struct arena *a, const struct config_provider *p,
                              struct child_spec *out, struct err *e);
/* Would run the same. */
bool child_spec_same(const struct child_spec *s, const struct config_provider *p);

/* Arguments and environment of one run, in an arena, with its port and key. */
struct child_command {
    char **argv, **env;
    int port;
    char key[40];
    char key_file[512]; /* "": none was written */
};
/* Picks a free port and a key, writes the key file if an argument wants it. runtime_dir "" or
 * without its files, with a spec that needs it: ERR_CONFIG that says how to install it. */
MUST_USE bool child_command_make(struct child_command *c, struct arena *a,
                                 const struct child_spec *s, const char *runtime_dir,
                                 const char *key_dir, struct err *e);
/* Removes the key file, wipes the key. Fine on a zeroed one. */
void child_command_done(struct child_command *c);
/* Removes key files of an earlier process that was killed. */
void child_command_sweep(const char *key_dir);

/* --- is it ready? ----------------------------------------------------------------------------- */

enum child_answer {
    CHILD_ANSWERS,     /* ready */
    CHILD_ANSWERS_NO,  /* not yet: it loads, or it is no such server; ->text says what it said */
    CHILD_REFUSES_KEY, /* 401, 403 */
    CHILD_NOT_LISTENING,
    CHILD_SILENT /* connected, but no answer in time */
};

struct child_probe {
    struct http_client *http;
    struct http_origin origin;
    struct http_call *call; /* NULL: none under way */
    struct loop_task next;  /* from /health to /v1/models: after the first call's last callback */
    void (*on_answer)(struct child_probe *p, enum child_answer a);
    bool models; /* the second question */
    int status;
    char bearer[48];
    char text[96]; /* what was answered, for people */
    struct buf body;
    int64_t context; /* tokens per slot as the server says; 0: it does not */
    struct loop *loop;
};
void child_probe_init(struct child_probe *p, struct loop *l, struct http_client *http,
                      void (*on_answer)(struct child_probe *p, enum child_answer a));
/* GET /health, then GET /v1/models with the key; one answer follows, never from inside. False when
 * it cannot begin. Not while one is under way. */
MUST_USE bool child_probe_start(struct child_probe *p, int port, const char *key, struct err *e);
bool child_probe_running(const struct child_probe *p);
/* No answer comes any more. */
void child_probe_stop(struct child_probe *p);

/* --- a child ---------------------------------------------------------------------------------- */

/* One writer: run_to(). Beside each state what exists in it. */
enum child_run {
    RUN_OFF = 0,  /* nothing; waiting leases start it */
    RUN_STARTING, /* process, command; probed until it answers; timer: start_timeout */
    RUN_READY,    /* process, command; leases in ->held; timer: idle_stop, when none is */
    RUN_ENDING,   /* process, command: the order to stop is out */
    RUN_BACKOFF,  /* nothing; timer: the next start */
    RUN_STATES
};

/* The server of a local provider, over all its runs. Control thread, but for what the pool's lock
 * guards. */
struct child {
    struct list node;       /* in pool->children; lock */
    enum child_state shown; /* lock */
    bool retired;           /* the snapshot has it no more; lock */
    struct child_pool *pool;
    struct arena *arena; /* of spec */
    struct child_spec spec;
    int64_t idle_stop_us, start_timeout_us;
    enum child_run run;
    struct child_process *process;
    struct arena *run_arena; /* of command */
    struct child_command command;
    struct child_probe probe;
    bool doubted;      /* READY: a lease failed; waiting ones stay so until a probe has answered */
    bool failed;       /* ENDING: BACKOFF follows */
    unsigned misses;   /* READY and doubted: probes without a good answer */
    unsigned failures; /* in a row: the backoff's exponent */
    int64_t started_us, ready_us;
    struct err last; /* why it is in BACKOFF */
    struct loop_timer timer, probe_timer;
    struct list waiting, held; /* child_lease.node_ */
};
/* owned; in RUN_OFF, not yet in the pool's list. */
MUST_USE struct child *child_new(struct child_pool *pool, const struct config_provider *p,
                                 struct err *e);
/* Its process, if there is one, must have been waited for. */
void child_free(struct child *c);
/* Does what state and leases call for: start, give, stop, forget. Ends every event; c may be gone.
 */
void child_update(struct child *c);
/* A lease joins ->waiting. child_update() follows. */
void child_join(struct child *c, struct child_lease *l);
/* Somebody got no proper answer. child_update() follows. */
void child_doubt(struct child *c);

/* --- the pool --------------------------------------------------------------------------------- */

struct child_pool {
    struct loop *control;
    struct log *log;
    struct http_client *http; /* for probes */
    char *runtime_dir, *key_dir;
    struct config *config; /* NULL: none told yet */
    pthread_mutex_t lock;
    struct list children; /* struct child; lock for changes and for other threads */
    struct list all;      /* child_lease.all_; lock */
    struct list inbox;    /* child_lease.inbox_: acquired or released; lock */
    bool look_posted;     /* lock */
    struct loop_task look;
};
/* Out of ->waiting: the lease has its answer. */
void child_lease_give(struct child_lease *l, const struct child_command *c);
void child_lease_fail(struct child_lease *l, const struct err *err, int64_t retry_after_ms);

#endif
