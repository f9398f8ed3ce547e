/* upstream/child_guard.c - the guard: a small process between fusor and a local model's server, run
 * as `fusor --guard COMMAND...`, so that nothing of the server outlives fusor, however that ends.
 *
 * It is the reaper of all descendants of the command (PR_SET_CHILD_SUBREAPER): a process whose
 * parent dies becomes the guard's child, so walking up from any of them leads here, double forks
 * and new sessions included. When its lifeline ends (fusor closed it, or died) or a TERM comes, all
 * of them get TERM, and after CHILD_GRACE_US KILL until waitpid() says that none is left.
 * Descriptors: child_priv.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "upstream/child_priv.h"

/* How often the rest is killed again: each death may hand new children to the guard. */
#define KILL_AGAIN_MS 20
/* Nested deeper than this is not a process tree. */
#define MAX_DEPTH 256

struct guard {
    pid_t command;
    int signals;   /* signalfd */
    bool stopping; /* TERM is out */
    int64_t kill_at_us;
    struct guard_report end; /* of the command; word 0: it runs */
};

static void report(int word, int value)
{
    const struct guard_report r = {word, value};
    ssize_t n = write(GUARD_FD_REPORT, &r, sizeof r);
    (void)n; /* fusor may be gone */
}

/* --- all descendants -------------------------------------------------------------------------- */

/* From /proc/PID/stat: "pid (name) S ppid ...", where the name may hold anything. 0: no such
 * process. */
static pid_t parent_of(pid_t pid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    char *end = strrchr(text, ')');
    int parent = 0;
    if (end == NULL || sscanf(end + 1, " %*c %d", &parent) != 1)
        return 0;
    return parent;
}

static bool is_descendant(pid_t pid, pid_t self)
{
    for (int depth = 0; pid > 1 && depth < MAX_DEPTH; depth++) {
        pid = parent_of(pid);
        if (pid == self)
            return true;
    }
    return false;
}

static void send_signal(int fd, pid_t pid, int sig)
{
    if (fd >= 0)
        (void)syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0);
    else
        (void)kill(pid, sig);
}

/* The descriptor is opened before the look at the parents: the number cannot come to mean another
 * process between the two. A stopped process dies of its TERM only when it goes on. */
static void signal_if_ours(pid_t pid, pid_t self, int sig)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0 && errno != ENOSYS)
        return;
    if (is_descendant(pid, self)) {
        send_signal(fd, pid, sig);
        if (sig == SIGTERM)
            send_signal(fd, pid, SIGCONT);
    }
    if (fd >= 0)
        close(fd);
}

/* The command's group first: it needs no /proc, and its number is the command's as long as that has
 * not been reaped. */
static void signal_all(const struct guard *g, int sig)
{
    pid_t self = getpid();
    if (g->end.word == 0)
        (void)kill(-g->command, sig);
    DIR *proc = opendir("/proc");
    if (proc == NULL)
        return;
    const struct dirent *d;
    while ((d = readdir(proc)) != NULL) {
        int64_t pid;
        if (span_to_i64(span_of(d->d_name), &pid) && pid != self)
            signal_if_ours((pid_t)pid, self, sig);
    }
    closedir(proc);
}

/* --- the command ------------------------------------------------------------------------------ */

static _Noreturn void run_command(char **argv)
{
    sigset_t none;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* should somebody kill the guard */
    (void)setpgid(0, 0);                    /* here and in the guard: whoever comes first */
    (void)signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(argv[0], argv);
    report(GUARD_NO_EXEC, errno);
    _exit(127);
}

/* Only 0 to 2, LIFE and REPORT stay open, and only 0 to 2 reach the command. */
static bool set_up(struct guard *g)
{
    sigset_t set;
    (void)close_range(GUARD_FD_REPORT + 1, ~0U, 0);
    if (fcntl(GUARD_FD_LIFE, F_SETFD, FD_CLOEXEC) != 0 ||
        fcntl(GUARD_FD_REPORT, F_SETFD, FD_CLOEXEC) != 0)
        return false;
    (void)prctl(PR_SET_NAME, "fusor-guard");
    (void)signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    return sigprocmask(SIG_BLOCK, &set, NULL) == 0 &&
           (g->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) >= 0 &&
           prctl(PR_SET_CHILD_SUBREAPER, 1) == 0;
}

/* --- events ----------------------------------------------------------------------------------- */

static void stop(struct guard *g)
{
    if (g->stopping)
        return;
    g->stopping = true;
    g->kill_at_us = clock_mono_us() + CHILD_GRACE_US;
    signal_all(g, SIGTERM);
}

/* False when no descendant is left. A command that ends well and leaves others has put itself into
 * the background: they are the server. */
static bool reap(struct guard *g)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid == 0)
            return true;
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid < 0)
            return false;
        if (pid != g->command)
            continue;
        if (WIFEXITED(status))
            g->end = (struct guard_report){GUARD_EXITED, WEXITSTATUS(status)};
        else
            g->end = (struct guard_report){GUARD_SIGNALED, WTERMSIG(status)};
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            stop(g);
    }
}

static void read_signals(struct guard *g)
{
    struct signalfd_siginfo info;
    while (read(g->signals, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo != SIGCHLD)
            stop(g);
}

static int wait_ms(const struct guard *g)
{
    if (!g->stopping)
        return -1;
    int64_t left = g->kill_at_us - clock_mono_us();
    return left > 0 ? (int)(left / 1000) + 1 : KILL_AGAIN_MS;
}

static void watch(struct guard *g)
{
    do {
        struct pollfd fds[2] = {{.fd = g->signals, .events = POLLIN},
                                {.fd = g->stopping ? -1 : GUARD_FD_LIFE, .events = POLLIN}};
        (void)poll(fds, COUNT_OF(fds), wait_ms(g));
        if (fds[1].revents != 0)
            stop(g);
        read_signals(g);
        if (g->stopping && clock_mono_us() >= g->kill_at_us)
            signal_all(g, SIGKILL);
    } while (reap(g));
}

_Noreturn void child_guard_main(int argc, char **argv)
{
    struct guard g = {0};
    if (argc < 3 || !set_up(&g)) {
        (void)fprintf(stderr, "fusor: --guard is what fusor starts local models with\n");
        _exit(2);
    }
    g.command = fork();
    if (g.command == 0)
        run_command(argv + 2);
    if (g.command < 0) {
        report(GUARD_NO_EXEC, errno);
        _exit(1);
    }
    (void)setpgid(g.command, g.command);
    report(GUARD_STARTED, g.command);
    watch(&g);
    report(g.end.word, g.end.value);
    _exit(0);
}
