/* upstream/child_process.c - one run of a command under a guard, seen from us: how it is started
 * from a threaded process, its three pipes, its last words, its end.
 *
 * The lifeline is the only hold on it: closing our end is the order to stop. The guard's report
 * pipe ends when all is over. What the command prints is kept in a small ring for the message of a
 * failed start, and goes nowhere else: it may hold prompts. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "upstream/child_priv.h"

#define RING_BYTES     4096
#define MAX_READS      32
#define MAX_TAIL_LINES 4
/* Above the descriptors that a guard has, so that none is overwritten while they are put in place.
 */
#define FIRST_FREE_FD 10

/* A pipe's reading end on the loop. Its memory is libuv's until its close callback. */
struct child_pipe {
    uv_poll_t poll;
    struct child_process *owner;
    int fd;
};

struct child_process {
    struct loop *loop;
    const struct child_process_ops *ops;
    void *owner;
    pid_t guard;                        /* 0: reaped */
    pid_t group;                        /* of the command; 0: not known yet */
    int life;                           /* -1: the order to stop is out */
    struct child_pipe *report, *output; /* NULL: closed */
    struct child_end end;
    size_t n_ring, at_ring; /* bytes kept; where the next one goes */
    char ring[RING_BYTES];
};

/* --- pipes ------------------------------------------------------------------------------------ */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void on_pipe_closed(uv_handle_t *h)
{
    mem_free(h->data);
}

static void pipe_close(struct child_pipe *p)
{
    if (p == NULL)
        return;
    p->owner = NULL;
    uv_poll_stop(&p->poll);
    close_fd(&p->fd);
    uv_close((uv_handle_t *)&p->poll, on_pipe_closed);
}

/* Takes *fd on success. */
static struct child_pipe *pipe_open(struct child_process *owner, int *fd, uv_poll_cb cb,
                                    struct err *e)
{
    struct child_pipe *p = mem_zalloc(sizeof *p);
    if (p == NULL) {
        err_set(e, ERR_NOMEM, "out of memory");
        return NULL;
    }
    int rc = uv_poll_init(loop_uv(owner->loop), &p->poll, *fd);
    if (rc != 0) {
        mem_free(p);
        errno = -rc;
        err_set(e, ERR_SYS, "cannot watch a pipe: %s", uv_strerror(rc));
        return NULL;
    }
    p->poll.data = p;
    p->owner = owner;
    p->fd = *fd;
    *fd = -1;
    if ((rc = uv_poll_start(&p->poll, UV_READABLE, cb)) == 0)
        return p;
    errno = -rc;
    err_set(e, ERR_SYS, "cannot watch a pipe: %s", uv_strerror(rc));
    pipe_close(p);
    return NULL;
}

/* out[0] to read, out[1] to write; none of them is inherited. */
static bool make_pipe(int out[2], struct err *e)
{
    int low[2];
    if (pipe2(low, O_CLOEXEC) != 0)
        return err_set(e, ERR_SYS, "cannot make a pipe: %s", strerror(errno));
    for (int i = 0; i < 2; i++)
        out[i] = fcntl(low[i], F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    bool ok = out[0] >= 0 && out[1] >= 0;
    if (!ok)
        err_set(e, ERR_SYS, "cannot make a pipe: %s", strerror(errno));
    (void)close(low[0]);
    (void)close(low[1]);
    return ok;
}

static bool no_block(int fd, struct err *e)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0)
        return true;
    return err_set(e, ERR_SYS, "cannot set up a pipe: %s", strerror(errno));
}

/* --- what it says ----------------------------------------------------------------------------- */

static void keep(struct child_process *p, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p->ring[p->at_ring] = text[i];
        p->at_ring = (p->at_ring + 1) % RING_BYTES;
    }
    p->n_ring = p->n_ring + n < RING_BYTES ? p->n_ring + n : RING_BYTES;
}

static void read_output(struct child_process *p)
{
    char text[4096];
    for (int i = 0; i < MAX_READS && p->output != NULL; i++) {
        ssize_t n = read(p->output->fd, text, sizeof text);
        if (n > 0) {
            keep(p, text, (size_t)n);
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            pipe_close(TAKE(p->output));
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

/* The whole lines at the end that fit into cap together; a last line that is longer is cut. */
static struct span last_lines(struct span all, size_t cap)
{
    all = span_trim(all);
    size_t from = all.n;
    for (int lines = 0; lines < MAX_TAIL_LINES && from > 0; lines++) {
        struct span before = span_trim(span_upto(all, from));
        size_t lf = span_rindex(before, SPAN("\n"));
        size_t start = lf < before.n ? lf + 1 : 0;
        if (lines > 0 && all.n - start > cap)
            break;
        from = start > 0 ? start - 1 : 0;
        if (start == 0)
            break;
    }
    return span_trim(span_from(all, from));
}

void child_process_tail(struct child_process *p, char *out, size_t cap)
{
    char flat[RING_BYTES], line[RING_BYTES];
    size_t n = 0;
    out[0] = '\0';
    read_output(p);
    size_t first = p->n_ring < RING_BYTES ? 0 : p->at_ring;
    for (size_t i = 0; i < p->n_ring; i++)
        flat[i] = p->ring[(first + i) % RING_BYTES];
    /* A quarter is left for control characters that grow as they become visible. */
    struct span rest = last_lines(span_make(flat, p->n_ring), cap - cap / 4), one;
    while (span_cut(&rest, '\n', &one)) {
        one = span_trim(one);
        if (one.n == 0)
            continue;
        n += (size_t)snprintf(line + n, sizeof line - n, "%s%.*s", n > 0 ? " | " : "",
                              SPAN_ARG(one));
        if (n >= sizeof line)
            n = sizeof line - 1;
    }
    text_visible_cstr(out, cap, span_make(line, n));
}

/* --- its end ---------------------------------------------------------------------------------- */

static void reap(struct child_process *p)
{
    if (p->guard == 0)
        return;
    /* It has nothing left to do, or is to be gone. Somebody else's KILL leaves no report: what was
     * in its charge is killed here as far as it is known. */
    (void)kill(p->guard, SIGKILL);
    if (p->end.word == 0 && p->group > 0)
        (void)kill(-p->group, SIGKILL);
    while (waitpid(p->guard, NULL, 0) < 0 && errno == EINTR)
        continue;
    p->guard = 0;
}

/* True when the pipe has ended: the guard is gone. */
static bool read_report(struct child_process *p)
{
    for (;;) {
        struct guard_report r;
        ssize_t n = read(p->report->fd, &r, sizeof r);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n != (ssize_t)sizeof r)
            return true;
        if (r.word == GUARD_STARTED)
            p->group = r.value;
        else if (p->end.word != GUARD_NO_EXEC) /* followed by the exit of the fork that failed */
            p->end = (struct child_end){r.word, r.value};
    }
}

static void on_report(uv_poll_t *h, int status, int events)
{
    struct child_pipe *pipe = h->data;
    struct child_process *p = pipe->owner;
    if (p == NULL || !read_report(p))
        return;
    pipe_close(TAKE(p->report));
    reap(p);
    close_fd(&p->life);
    p->ops->on_end(p->owner, &p->end);
}

static void on_output(uv_poll_t *h, int status, int events)
{
    struct child_pipe *pipe = h->data;
    if (pipe->owner != NULL)
        read_output(pipe->owner);
}

void child_process_stop(struct child_process *p)
{
    close_fd(&p->life);
}

void child_process_wait(struct child_process *p, int64_t until_us)
{
    while (p->report != NULL) {
        int64_t left = until_us - clock_mono_us();
        struct pollfd fd = {.fd = p->report->fd, .events = POLLIN};
        if (left <= 0)
            return;
        if (poll(&fd, 1, (int)(left / 1000) + 1) > 0 && read_report(p)) {
            pipe_close(TAKE(p->report));
            reap(p);
        }
        read_output(p); /* a full pipe would keep it from ending */
    }
}

void child_process_free(struct child_process *p)
{
    if (p == NULL)
        return;
    close_fd(&p->life);
    reap(p);
    pipe_close(p->report);
    pipe_close(p->output);
    mem_free(p);
}

/* --- its start -------------------------------------------------------------------------------- */

/* posix_spawn() is safe beside threads: nothing of ours runs in the child before the guard's
 * main(). What we ignore (PIPE) and block would be inherited, hence the defaults. */
static int set_attributes(posix_spawnattr_t *attr)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigemptyset(&all);
    static const int inherited[] = {SIGPIPE, SIGINT,  SIGTERM, SIGHUP,
                                    SIGQUIT, SIGCHLD, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < COUNT_OF(inherited); i++)
        sigaddset(&all, inherited[i]);
    int rc = posix_spawnattr_setsigmask(attr, &none);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(attr, &all);
    if (rc == 0)
        rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                POSIX_SPAWN_SETSID);
    return rc;
}

static int set_files(posix_spawn_file_actions_t *files, int life, int report, int output)
{
    int rc = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(files, output, 1);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(files, output, 2);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(files, life, GUARD_FD_LIFE);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(files, report, GUARD_FD_REPORT);
    return rc;
}

static char **guard_argv(char *const *argv, struct err *e)
{
    static char name[] = "fusor", flag[] = "--guard";
    size_t n = 0;
    while (argv[n] != NULL)
        n++;
    char **all = mem_zalloc((n + 3) * sizeof *all);
    if (all == NULL) {
        err_set(e, ERR_NOMEM, "out of memory");
        return NULL;
    }
    all[0] = name;
    all[1] = flag;
    for (size_t i = 0; i < n; i++)
        all[2 + i] = argv[i];
    return all;
}

/* The guard's ends of the pipes: life, report, output. */
static bool spawn(struct child_process *p, char *const *argv, char *const *env, const int fds[3],
                  struct err *e)
{
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t files;
    char **all = guard_argv(argv, e);
    if (all == NULL)
        return false;
    int rc = posix_spawnattr_init(&attr);
    if (rc == 0) {
        rc = posix_spawn_file_actions_init(&files);
        if (rc == 0) {
            rc = set_attributes(&attr);
            if (rc == 0)
                rc = set_files(&files, fds[0], fds[1], fds[2]);
            if (rc == 0)
                rc = posix_spawn(&p->guard, "/proc/self/exe", &files, &attr, all, env);
            posix_spawn_file_actions_destroy(&files);
        }
        posix_spawnattr_destroy(&attr);
    }
    mem_free(all);
    if (rc == 0)
        return true;
    p->guard = 0;
    errno = rc;
    return err_set(e, ERR_SYS, "cannot start a guard process: %s", strerror(rc));
}

static bool start(struct child_process *p, char *const *argv, char *const *env, int life[2],
                  int report[2], int output[2], struct err *e)
{
    if (!make_pipe(life, e) || !make_pipe(report, e) || !make_pipe(output, e) ||
        !no_block(report[0], e) || !no_block(output[0], e))
        return false;
    p->report = pipe_open(p, &report[0], on_report, e);
    if (p->report == NULL)
        return false;
    p->output = pipe_open(p, &output[0], on_output, e);
    if (p->output == NULL)
        return false;
    const int theirs[3] = {life[0], report[1], output[1]};
    if (!spawn(p, argv, env, theirs, e))
        return false;
    p->life = life[1];
    life[1] = -1;
    return true;
}

struct child_process *child_process_new(struct loop *l, char *const *argv, char *const *env,
                                        const struct child_process_ops *ops, void *owner,
                                        struct err *e)
{
    int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
    if (loop_uv(l) == NULL)
        return err_set(e, ERR_STATE, "a simulated loop starts no processes"), NULL;
    AUTO(child_process) p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return err_set(e, ERR_NOMEM, "out of memory"), NULL;
    p->loop = l;
    p->ops = ops;
    p->owner = owner;
    p->life = -1;
    bool ok = start(p, argv, env, pipes[0], pipes[1], pipes[2], e);
    for (size_t i = 0; i < COUNT_OF(pipes); i++) {
        close_fd(&pipes[i][0]);
        close_fd(&pipes[i][1]);
    }
    return ok ? TAKE(p) : NULL;
}
