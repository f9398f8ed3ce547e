/* store/store_dir.c - the state directory: made 0700, ours alone, held by one process at a time.
 *
 * The lock is flock() on a file that is never removed: it goes with the last descriptor of the
 * process that took it, SIGKILL included, so a stale lock cannot exist. The pid in it is for the
 * message only. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store_priv.h"

/* The directory and what is missing above it, all 0700. */
static bool make_dirs(const char *dir, struct err *e)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s", dir);
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(e, ERR_CONFIG, "state directory: the path is too long");
    for (char *p = path + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char kept = *p;
        *p = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return err_set(e, ERR_SYS, "state directory: cannot make %s: %s", path,
                           strerror(errno));
        if (kept == '\0')
            return true;
        *p = kept;
    }
}

static bool check_owner(const char *dir, const struct stat *st, struct err *e)
{
    if (st->st_uid != geteuid())
        return err_set(e, ERR_CONFIG,
                       "state directory %s belongs to user %ld, fusor runs as user %ld: choose "
                       "another with $XDG_STATE_HOME, or run as its owner",
                       dir, (long)st->st_uid, (long)geteuid());
    return true;
}

static bool check_dir(const char *dir, int fd, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_set(e, ERR_SYS, "state directory %s: %s", dir, strerror(errno));
    if (!check_owner(dir, &st, e))
        return false;
    if ((st.st_mode & 0077) != 0 && fchmod(fd, 0700) != 0)
        return err_set(e, ERR_SYS, "state directory %s: cannot make it private: %s", dir,
                       strerror(errno));
    return true;
}

static long holder_of(int fd)
{
    char text[32];
    ssize_t n = pread(fd, text, sizeof text, 0);
    int64_t pid = 0;
    if (n <= 0 || !span_to_i64(span_trim(span_make(text, (size_t)n)), &pid))
        return 0;
    return (long)pid;
}

static bool take_lock(const char *dir, int fd, struct err *e)
{
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return err_set(e, ERR_SYS, "state directory %s: cannot lock it: %s", dir,
                           strerror(errno));
        return err_set(e, ERR_CONFLICT,
                       "state directory %s is in use by process %ld: stop that one, or set "
                       "another directory with $XDG_STATE_HOME",
                       dir, holder_of(fd));
    }
    char text[32];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (fchmod(fd, 0600) != 0 || ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n)
        return err_set(e, ERR_SYS, "state directory %s: cannot write its lock file: %s", dir,
                       strerror(errno));
    return true;
}

static bool lock_in(const char *dir, int dir_fd, int *out_fd, struct err *e)
{
    if (!check_dir(dir, dir_fd, e))
        return false;
    int fd = openat(dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(e, ERR_SYS, "state directory %s: cannot open its lock file: %s", dir,
                       strerror(errno));
    if (!take_lock(dir, fd, e)) {
        close(fd);
        return false;
    }
    *out_fd = fd;
    return true;
}

bool dir_lock(const char *dir, int *out_fd, struct err *e)
{
    if (!make_dirs(dir, e))
        return false;
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return err_set(e, ERR_SYS, "state directory %s: %s", dir, strerror(errno));
    bool ok = lock_in(dir, dir_fd, out_fd, e);
    close(dir_fd);
    return ok;
}

/* SQLite gives its WAL the mode of the database, so this covers both. Closing is safe only because
 * the database is not open yet: POSIX locks go with any close of the file. */
bool dir_private_file(const char *path, struct err *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(e, ERR_SYS, "store: cannot open %s: %s", path, strerror(errno));
    bool ok = fchmod(fd, 0600) == 0 ||
              err_set(e, ERR_SYS, "store: cannot make %s private: %s", path, strerror(errno));
    close(fd);
    return ok;
}

/* --- looking only ----------------------------------------------------------------------------- */

/* Cuts the last part of a path; false when there is none. */
static bool cut_last(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash == NULL || strcmp(path, "/") == 0)
        return false;
    slash[slash == path] = '\0';
    return true;
}

bool store_dir_check(const char *dir, char *out_have, struct err *e)
{
    char have[PATH_MAX];
    struct stat st;
    int n = snprintf(have, sizeof have, "%s", dir);
    if (n < 0 || (size_t)n >= sizeof have)
        return err_set(e, ERR_CONFIG, "state directory: the path is too long");
    while (stat(have, &st) != 0)
        if (errno != ENOENT || !cut_last(have))
            return err_set(e, ERR_SYS, "state directory %s: %s", dir, strerror(errno));
    bool whole = strcmp(have, dir) == 0;
    if (!S_ISDIR(st.st_mode))
        return err_set(e, ERR_SYS, "state directory %s: %s is no directory", dir, have);
    if (whole && !check_owner(dir, &st, e))
        return false;
    if (access(have, W_OK | X_OK) != 0)
        return err_set(e, ERR_SYS, "state directory %s: cannot write in %s: %s", dir, have,
                       strerror(errno));
    memcpy(out_have, have, sizeof have);
    return true;
}

/* The lock is shared for a moment: who starts just then is told so and has to start again. */
bool store_dir_is_held(const char *dir, long *out_pid)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/lock", dir);
    int fd = n > 0 && (size_t)n < sizeof path
                 ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
                 : -1;
    if (fd < 0)
        return false;
    bool held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (held)
        *out_pid = holder_of(fd);
    close(fd);
    return held;
}
