/* cli/prompt.c - see cli/prompt.h.
 *
 * While the echo is off, signals come through a descriptor: a handler would need a global, and
 * could not tell when the terminal is ours again after a stop (Ctrl-Z). */
#include "cli/prompt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

struct hidden {
    struct termios was;
    sigset_t watched, was_blocked;
    int signals;
};

static bool echo_off(const struct hidden *h)
{
    struct termios t = h->was;
    t.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    return tcsetattr(STDIN_FILENO, TCSAFLUSH, &t) == 0;
}

static void hide_end(struct hidden *h)
{
    (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &h->was);
    if (h->signals >= 0)
        (void)close(h->signals);
    h->signals = -1;
    (void)sigprocmask(SIG_SETMASK, &h->was_blocked, NULL);
}

static bool hide(struct hidden *h, struct err *e)
{
    static const int watched[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    sigemptyset(&h->watched);
    for (size_t i = 0; i < COUNT_OF(watched); i++)
        sigaddset(&h->watched, watched[i]);
    if (tcgetattr(STDIN_FILENO, &h->was) != 0)
        return err_set(e, ERR_SYS, "cannot ask the terminal: %s", strerror(errno));
    h->signals = signalfd(-1, &h->watched, SFD_CLOEXEC);
    if (h->signals < 0)
        return err_set(e, ERR_SYS, "cannot watch signals: %s", strerror(errno));
    (void)sigprocmask(SIG_BLOCK, &h->watched, &h->was_blocked);
    if (echo_off(h))
        return true;
    err_set(e, ERR_SYS, "cannot switch the terminal's echo off: %s", strerror(errno));
    hide_end(h);
    return false;
}

/* The signal does what it does to any program, on a terminal that is as it was. Returns when it did
 * not end this one: after a stop, or when it is ignored. */
static bool on_signal(struct hidden *h, const char *question, struct err *e)
{
    struct signalfd_siginfo info;
    if (read(h->signals, &info, sizeof info) != (ssize_t)sizeof info)
        return true;
    (void)fputs("\n", stderr);
    hide_end(h);
    (void)raise((int)info.ssi_signo);
    if (!hide(h, e))
        return false;
    (void)fputs(question, stderr);
    return true;
}

/* Until there is something to read on stdin. */
static bool wait_for_input(struct hidden *h, const char *question, struct err *e)
{
    struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                           {.fd = h->signals, .events = POLLIN}};
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return err_set(e, ERR_SYS, "cannot wait for the terminal: %s", strerror(errno));
        if (!(fds[1].revents & POLLIN)) {
            if (fds[0].revents)
                return true;
            continue;
        }
        if (!on_signal(h, question, e))
            return false;
        fds[1].fd = h->signals; /* and what was typed is gone: a read now would wait, deaf */
    }
}

static enum prompt_end read_line(struct hidden *h, const char *question, char *out, size_t cap,
                                 struct err *e)
{
    size_t n = 0;
    bool fits = true;
    char c = 0;
    for (;;) {
        if (h && !wait_for_input(h, question, e))
            return PROMPT_FAIL;
        ssize_t got = read(STDIN_FILENO, &c, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set(e, ERR_SYS, "cannot read stdin: %s", strerror(errno)), PROMPT_FAIL;
        if (got == 0 || c == '\n')
            break;
        fits = n + 1 < cap;
        if (fits)
            out[n++] = c;
    }
    out[n] = '\0';
    if (!fits)
        return err_set(e, ERR_LIMIT, "the line is longer than %zu bytes", cap - 1), PROMPT_FAIL;
    return n == 0 && c != '\n' ? PROMPT_EOF : PROMPT_LINE;
}

enum prompt_end prompt_line(const char *question, bool secret, char *out, size_t cap, struct err *e)
{
    struct hidden h = {.signals = -1};
    out[0] = '\0';
    if (!isatty(STDIN_FILENO))
        return read_line(NULL, question, out, cap, e);
    if (secret && !hide(&h, e))
        return PROMPT_FAIL;
    (void)fputs(question, stderr);
    enum prompt_end end = read_line(secret ? &h : NULL, question, out, cap, e);
    if (secret)
        hide_end(&h);
    if (secret || end == PROMPT_EOF)
        (void)fputs("\n", stderr);
    return end;
}
