/* cli/init_files.c - see cli/init_files.h. */
#include "cli/init_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "config/config.h"

/* Names for one provider's key: openai, openai-2, ... */
#define MAX_SAME 20

static bool too_long(struct err *e)
{
    return err_set(e, ERR_CONFIG, "the path of the configuration is too long");
}

/* --- where
 * ------------------------------------------------------------------------------------------- */

static bool fail_exists(const char *path, struct err *e)
{
    return err_set(e, ERR_CONFLICT,
                   "%s is there already, and init does not overwrite it: edit it, move it away, or "
                   "name another file with -c FILE",
                   path);
}

/* Where the file stands, into out. */
static const char *dir_of(const char *file, char out[static PATH_MAX])
{
    (void)snprintf(out, PATH_MAX, "%s", file);
    char *slash = strrchr(out, '/');
    slash[slash == out] = '\0';
    return out;
}

static bool fail_dir(const char *dir, struct err *e)
{
    return err_set(e, ERR_CONFIG, "cannot make the directory %s: %s", dir, strerror(errno));
}

/* The directory as an absolute path; *absent: only its last part has to be made. */
static bool find_dir(const char *dir, bool *absent, char out[static PATH_MAX], struct err *e)
{
    char above[PATH_MAX], real[PATH_MAX];
    *absent = false;
    if (realpath(dir, out))
        return true;
    if (errno != ENOENT)
        return err_set(e, ERR_CONFIG, "cannot use the directory %s: %s", dir, strerror(errno));
    int n = snprintf(above, sizeof above, "%s%s", dir[0] == '/' ? "" : "./", dir);
    if (n >= (int)sizeof above)
        return too_long(e);
    while (n > 1 && above[n - 1] == '/')
        above[--n] = '\0';
    char *last = strrchr(above, '/');
    *last++ = '\0';
    if (!realpath(last == above + 1 ? "/" : above, real) || access(real, W_OK | X_OK) != 0)
        return fail_dir(dir, e);
    *absent = true;
    return snprintf(out, PATH_MAX, "%s/%s", strcmp(real, "/") == 0 ? "" : real, last) < PATH_MAX ||
           too_long(e);
}

bool init_files_open(struct init_files *f, const char *path, struct err *e)
{
    char dir[PATH_MAX], real[PATH_MAX];
    const char *variable = getenv("FUSOR_CONFIG");
    *f = (struct init_files){0};
    if (!path)
        path = variable && *variable ? variable : "fusor.yaml";
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    int n =
        snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    if (n >= (int)sizeof dir)
        return too_long(e);
    if (!*base)
        return err_set(e, ERR_USAGE, "%s is a directory; name a file in it", path);
    if (!find_dir(dir, &f->absent, real, e))
        return false;
    const char *root = strcmp(real, "/") == 0 ? "" : real;
    if (snprintf(f->config, sizeof f->config, "%s/%s", root, base) >= (int)sizeof f->config ||
        snprintf(f->keys, sizeof f->keys, "%s/keys", root) >= (int)sizeof f->keys)
        return too_long(e);
    struct stat st;
    if (lstat(f->config, &st) == 0)
        return fail_exists(f->config, e);
    return f->absent || access(real, W_OK | X_OK) == 0 ||
           err_set(e, ERR_CONFIG, "cannot write in the directory %s: %s", real, strerror(errno));
}

static bool ignore_path(const struct init_files *f, char out[static PATH_MAX])
{
    return snprintf(out, PATH_MAX, "%s/.gitignore", f->keys) < PATH_MAX;
}

void init_files_close(struct init_files *f)
{
    char path[PATH_MAX];
    if (f->done)
        return;
    for (size_t i = 0; i < f->n_made; i++)
        (void)unlink(f->made[i]);
    f->n_made = 0;
    if (f->made_dir && ignore_path(f, path)) {
        (void)unlink(path);
        (void)rmdir(f->keys);
    }
    if (f->made_parent)
        (void)rmdir(dir_of(f->config, path));
    f->made_parent = f->made_dir = false;
}

/* --- writing
 * ----------------------------------------------------------------------------------------- */

/* Writes all, makes it last, closes. */
static bool write_fd(int fd, const char *path, struct span text, struct err *e)
{
    bool ok = true;
    while (ok && text.n > 0) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno == EINTR)
            continue;
        ok = n > 0;
        if (ok)
            text = span_from(text, (size_t)n);
    }
    ok = ok && fsync(fd) == 0;
    if (!ok)
        err_set(e, ERR_SYS, "cannot write %s: %s", path, strerror(errno));
    (void)close(fd);
    return ok;
}

/* True also when it is there already: then *made is false. */
static bool make_file(const char *path, bool *made, int *out_fd, struct err *e)
{
    *out_fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    *made = *out_fd >= 0;
    if (*made || errno == EEXIST)
        return true;
    return err_set(e, ERR_SYS, "cannot write %s: %s", path, strerror(errno));
}

/* --- keys
 * -------------------------------------------------------------------------------------------- */

/* Beside the keys, so that no repository takes them up. */
static bool write_ignore(const struct init_files *f, struct err *e)
{
    char path[PATH_MAX];
    bool made;
    int fd;
    if (!ignore_path(f, path))
        return too_long(e);
    return make_file(path, &made, &fd, e) && (!made || write_fd(fd, path, SPAN("*\n"), e));
}

static bool make_parent(struct init_files *f, struct err *e)
{
    char dir[PATH_MAX];
    if (!f->absent)
        return true;
    f->absent = false;
    f->made_parent = mkdir(dir_of(f->config, dir), 0700) == 0;
    return f->made_parent || errno == EEXIST || fail_dir(dir, e);
}

static bool make_keys_dir(struct init_files *f, struct err *e)
{
    struct stat st;
    if (!make_parent(f, e))
        return false;
    if (mkdir(f->keys, 0700) == 0) {
        f->made_dir = true;
        return write_ignore(f, e);
    }
    if (errno != EEXIST)
        return err_set(e, ERR_SYS, "cannot make the directory %s: %s", f->keys, strerror(errno));
    if (lstat(f->keys, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & 0077) != 0)
        return err_set(e, ERR_CONFIG,
                       "%s is there already and others may read it: `chmod 700` it, or put the "
                       "configuration into another directory with -c FILE",
                       f->keys);
    return true;
}

static bool write_key(int fd, const char *path, const struct secret *key, struct err *e)
{
    char text[LIMIT_SECRET_BYTES + 2];
    int n = snprintf(text, sizeof text, "%.*s\n", SPAN_ARG(secret_reveal(key)));
    bool ok = write_fd(fd, path, span_make(text, (size_t)n), e);
    explicit_bzero(text, sizeof text);
    return ok;
}

static bool holds(const char *path, const struct secret *key)
{
    char ref[PATH_MAX + 8];
    (void)snprintf(ref, sizeof ref, "file:%s", path);
    AUTO(secret) s = secret_load(span_of(ref), NULL);
    return s && span_eq(secret_reveal(s), secret_reveal(key));
}

bool init_files_key(struct init_files *f, const char *name, const struct secret *key, char *out,
                    struct err *e)
{
    if (!make_keys_dir(f, e))
        return false;
    for (int i = 1; i <= MAX_SAME; i++) {
        char suffix[16] = "", path[PATH_MAX];
        bool made;
        int fd;
        if (i > 1)
            (void)snprintf(suffix, sizeof suffix, "-%d", i);
        if (snprintf(path, sizeof path, "%s/%s%s", f->keys, name, suffix) >= (int)sizeof path)
            return too_long(e);
        if (!make_file(path, &made, &fd, e))
            return false;
        if (!made && !holds(path, key))
            continue; /* another key, which another configuration may need */
        memcpy(out, path, sizeof path);
        if (!made)
            return true;
        memcpy(f->made[f->n_made++], path, sizeof path);
        return write_key(fd, path, key, e);
    }
    return err_set(e, ERR_CONFLICT, "%s holds %d other keys of %s: remove those of no use", f->keys,
                   MAX_SAME, name);
}

/* --- the configuration
 * ------------------------------------------------------------------------------- */

/* Never over a file that came into being meanwhile. */
static bool put_in_place(const char *temporary, const char *path, struct err *e)
{
    struct stat st;
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return true;
    bool plain = errno == EINVAL || errno == ENOSYS; /* a file system without the flag */
    if (errno == EEXIST || (plain && lstat(path, &st) == 0))
        return fail_exists(path, e);
    if (plain && rename(temporary, path) == 0)
        return true;
    return err_set(e, ERR_SYS, "cannot write %s: %s", path, strerror(errno));
}

static void sync_dir_of(const char *path)
{
    char dir[PATH_MAX];
    int fd = open(dir_of(path, dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    (void)close(fd);
}

bool init_files_config(struct init_files *f, struct span text, struct err *e)
{
    char temporary[PATH_MAX];
    AUTO(config) c = config_parse(text, f->config, e);
    if (!c || !make_parent(f, e))
        return false;
    if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", f->config) >= (int)sizeof temporary)
        return too_long(e);
    int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
    if (fd < 0)
        return err_set(e, ERR_SYS, "cannot write in the directory of %s: %s", f->config,
                       strerror(errno));
    f->done = write_fd(fd, temporary, text, e) && put_in_place(temporary, f->config, e);
    if (!f->done)
        (void)unlink(temporary);
    else
        sync_dir_of(f->config);
    return f->done;
}
