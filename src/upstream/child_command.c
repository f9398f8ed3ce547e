/* upstream/child_command.c - what a local provider runs: its settings copied from the snapshot, the
 * arguments with their placeholders filled in, the environment, the port and the key of one run.
 *
 * The environment is made from nothing: PATH, HOME, LANG, LC_ALL, TMPDIR and FUSOR_LOCAL_KEY, so
 * that no provider's key is inherited; `command: [env, NAME=value, ...]` adds to it. The key is
 * never an argument, since those are everybody's to read. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"
#include "upstream/child_priv.h"

#define KEY_BYTES  16
#define KEY_PREFIX "child-"
#define KEY_SUFFIX ".key"
/* Where runtime/setup.sh puts things. */
#define RUNTIME_PYTHON "venv/bin/python"
#define RUNTIME_SERVER "serve.py"
#define RUNTIME_MODEL  "model.gguf"

static bool no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "out of memory");
}

/* --- settings --------------------------------------------------------------------------------- */

bool child_spec_copy(struct arena *a, const struct config_provider *p, struct child_spec *out,
                     struct err *e)
{
    const struct config_local *l = &p->local;
    struct child_spec s = {.name = arena_dup(a, p->name),
                           .command = arena_array(a, l->n_command, sizeof *s.command),
                           .n_command = l->n_command,
                           .model_file = arena_dup(a, l->model_file),
                           .context = l->context,
                           .parallel = l->parallel,
                           .threads = l->threads};
    if (s.name.p == NULL || s.command == NULL || s.model_file.p == NULL)
        return no_memory(e);
    for (size_t i = 0; i < s.n_command; i++)
        if ((s.command[i] = arena_dup(a, l->command[i])).p == NULL)
            return no_memory(e);
    *out = s;
    return true;
}

bool child_spec_same(const struct child_spec *s, const struct config_provider *p)
{
    const struct config_local *l = &p->local;
    if (p->kind != PROVIDER_LOCAL || !span_eq(s->name, p->name) || s->n_command != l->n_command ||
        !span_eq(s->model_file, l->model_file) || s->context != l->context ||
        s->parallel != l->parallel || s->threads != l->threads)
        return false;
    for (size_t i = 0; i < s->n_command; i++)
        if (!span_eq(s->command[i], l->command[i]))
            return false;
    return true;
}

/* --- port and key ----------------------------------------------------------------------------- */

/* Free a moment ago: should somebody else take it first, the start fails and the next one has
 * another. */
static bool pick_port(int *out, struct err *e)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set(e, ERR_SYS, "cannot make a socket: %s", strerror(errno));
    bool ok = bind(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
              getsockname(fd, (struct sockaddr *)&a, &n) == 0;
    if (!ok)
        err_set(e, ERR_SYS, "cannot find a free port on 127.0.0.1: %s", strerror(errno));
    (void)close(fd);
    if (ok)
        *out = ntohs(a.sin_port);
    return ok;
}

static void make_key(char out[static KEY_BYTES * 2 + 1])
{
    unsigned char raw[KEY_BYTES];
    rng_secure(raw, sizeof raw);
    for (size_t i = 0; i < sizeof raw; i++)
        snprintf(out + 2 * i, 3, "%02x", raw[i]);
    explicit_bzero(raw, sizeof raw);
}

static bool write_key_file(struct child_command *c, const char *dir, struct err *e)
{
    char name[17];
    rng_token(name, 16);
    int n = snprintf(c->key_file, sizeof c->key_file, "%s/" KEY_PREFIX "%s" KEY_SUFFIX, dir, name);
    if (n < 0 || (size_t)n >= sizeof c->key_file) {
        c->key_file[0] = '\0';
        return err_set(e, ERR_CONFIG, "state_dir: the path is too long for {key_file}");
    }
    int fd = open(c->key_file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        err_set(e, ERR_SYS, "cannot write the key file %s: %s", c->key_file, strerror(errno));
        c->key_file[0] = '\0';
        return false;
    }
    /* With a line end: servers read such files line by line. */
    bool ok = dprintf(fd, "%s\n", c->key) > 0;
    if (!ok)
        err_set(e, ERR_SYS, "cannot write the key file %s: %s", c->key_file, strerror(errno));
    (void)close(fd);
    return ok;
}

void child_command_done(struct child_command *c)
{
    if (c->key_file[0] != '\0')
        (void)unlink(c->key_file);
    c->key_file[0] = '\0';
    if (c->env != NULL)
        for (char **v = c->env; *v != NULL; v++)
            explicit_bzero(*v, strlen(*v));
    c->argv = c->env = NULL;
    explicit_bzero(c->key, sizeof c->key);
}

void child_command_sweep(const char *key_dir)
{
    DIR *dir = opendir(key_dir);
    if (dir == NULL)
        return;
    const struct dirent *d;
    while ((d = readdir(dir)) != NULL) {
        struct span name = span_of(d->d_name);
        if (span_starts(name, SPAN(KEY_PREFIX)) && span_ends(name, SPAN(KEY_SUFFIX)))
            (void)unlinkat(dirfd(dir), d->d_name, 0);
    }
    (void)closedir(dir);
}

/* --- arguments -------------------------------------------------------------------------------- */

struct placeholder {
    struct span name;
    struct span value; /* p NULL: the provider has none */
};

static bool has_placeholder(const struct child_spec *s, struct span name)
{
    for (size_t i = 0; i < s->n_command; i++)
        if (span_index(s->command[i], name) < s->command[i].n)
            return true;
    return false;
}

static bool check_model(const struct child_spec *s, struct err *e)
{
    if (s->model_file.n == 0 && has_placeholder(s, SPAN("{model}")))
        return err_set(e, ERR_CONFIG, "the command has {model}, but the provider sets no 'model'");
    return true;
}

/* The placeholder that `s` begins with, or NULL: other braces are the command's own. */
static const struct placeholder *placeholder_at(struct span s, const struct placeholder *all,
                                                size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (span_starts(s, all[i].name))
            return &all[i];
    return NULL;
}

/* `out` may be NULL, to measure. */
static size_t fill(struct span arg, const struct placeholder *all, size_t n, char *out)
{
    size_t len = 0;
    while (arg.n > 0) {
        const struct placeholder *h = placeholder_at(arg, all, n);
        struct span piece = h != NULL ? h->value : span_upto(arg, 1);
        if (out != NULL && piece.n > 0)
            memcpy(out + len, piece.p, piece.n);
        len += piece.n;
        arg = span_from(arg, h != NULL ? h->name.n : 1);
    }
    return len;
}

static bool fill_argv(struct child_command *c, struct arena *a, const struct child_spec *s,
                      struct err *e)
{
    struct span port = arena_printf(a, "%d", c->port);
    struct span context = arena_printf(a, "%lld", (long long)(s->context * s->parallel));
    struct span parallel = arena_printf(a, "%lld", (long long)s->parallel);
    const struct placeholder all[] = {
        {SPAN("{model}"), s->model_file},
        {SPAN("{port}"), port},
        {SPAN("{context}"), context},
        {SPAN("{parallel}"), parallel},
        {SPAN("{key_file}"), span_of(c->key_file)},
    };
    if (port.p == NULL || context.p == NULL || parallel.p == NULL)
        return no_memory(e);
    if (!check_model(s, e))
        return false;
    c->argv = arena_array(a, s->n_command + 1, sizeof *c->argv);
    if (c->argv == NULL)
        return no_memory(e);
    for (size_t i = 0; i < s->n_command; i++) {
        size_t n = fill(s->command[i], all, COUNT_OF(all), NULL);
        c->argv[i] = arena_alloc(a, n + 1);
        if (c->argv[i] == NULL)
            return no_memory(e);
        (void)fill(s->command[i], all, COUNT_OF(all), c->argv[i]);
    }
    return true;
}

/* --- the embedded runtime --------------------------------------------------------------------- */

static bool runtime_path(struct arena *a, const char *dir, const char *name, struct span *out,
                         struct err *e)
{
    *out = arena_printf(a, "%s/%s", dir, name);
    if (out->p == NULL)
        return no_memory(e);
    if (dir[0] != '\0' && access(out->p, R_OK) == 0)
        return true;
    if (dir[0] == '\0')
        return err_set(e, ERR_CONFIG, "the embedded model runtime is not installed");
    return err_set(e, ERR_CONFIG, "the embedded model runtime is not installed: there is no %s",
                   out->p);
}

static bool say_how_to_install(struct err *e)
{
    if (e == NULL || e->cls != ERR_CONFIG)
        return false;
    return err_set(e, ERR_CONFIG,
                   "%s; install it with `make demo` or `runtime/setup.sh .runtime`, or give the "
                   "provider a 'command'",
                   e->msg);
}

/* The embedded runtime as a command like any other. */
static bool runtime_spec(struct arena *a, const struct child_spec *s, const char *dir,
                         struct child_spec *out, struct err *e)
{
    struct span python, server, model;
    if (!runtime_path(a, dir, RUNTIME_PYTHON, &python, e) ||
        !runtime_path(a, dir, RUNTIME_SERVER, &server, e))
        return false;
    if (s->model_file.n > 0)
        model = s->model_file;
    else if (!runtime_path(a, dir, RUNTIME_MODEL, &model, e))
        return false;
    struct span threads = arena_printf(a, "%lld", (long long)s->threads);
    const struct span words[] = {
        python,
        server,
        SPAN("--model"),
        SPAN("{model}"),
        SPAN("--port"),
        SPAN("{port}"),
        SPAN("--context"),
        SPAN("{context}"),
        SPAN("--parallel"),
        SPAN("{parallel}"),
        SPAN("--threads"),
        threads,
    };
    *out = *s;
    out->model_file = model;
    out->n_command = COUNT_OF(words);
    out->command = arena_array(a, COUNT_OF(words), sizeof *out->command);
    if (out->command == NULL || threads.p == NULL)
        return no_memory(e);
    memcpy(out->command, words, sizeof words);
    return true;
}

/* --- environment ------------------------------------------------------------------------------ */

static bool make_env(struct child_command *c, struct arena *a, struct err *e)
{
    static const char *const passed[] = {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR"};
    size_t n = 0;
    c->env = arena_array(a, COUNT_OF(passed) + 2, sizeof *c->env);
    if (c->env == NULL)
        return no_memory(e);
    struct span one = arena_printf(a, "FUSOR_LOCAL_KEY=%s", c->key);
    if (one.p == NULL)
        return no_memory(e);
    c->env[n++] = (char *)one.p;
    for (size_t i = 0; i < COUNT_OF(passed); i++) {
        const char *value = getenv(passed[i]);
        if (value == NULL)
            continue;
        one = arena_printf(a, "%s=%s", passed[i], value);
        if (one.p == NULL)
            return no_memory(e);
        c->env[n++] = (char *)one.p;
    }
    return true;
}

bool child_command_make(struct child_command *c, struct arena *a, const struct child_spec *s,
                        const char *runtime_dir, const char *key_dir, struct err *e)
{
    struct child_spec embedded;
    *c = (struct child_command){0};
    if (s->n_command == 0) {
        if (!runtime_spec(a, s, runtime_dir, &embedded, e))
            return say_how_to_install(e);
        s = &embedded;
    }
    make_key(c->key);
    if (pick_port(&c->port, e) && make_env(c, a, e) &&
        (!has_placeholder(s, SPAN("{key_file}")) || write_key_file(c, key_dir, e)) &&
        fill_argv(c, a, s, e))
        return true;
    child_command_done(c);
    return false;
}

/* --- looking only ----------------------------------------------------------------------------- */

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* As execvp() finds it. */
static bool check_program(struct span name, struct err *e)
{
    const char *path = getenv("PATH");
    struct span left = span_of(path != NULL ? path : "/bin:/usr/bin"), dir;
    char file[PATH_MAX];
    if (span_find(name, "/") < name.n)
        return is_program(name.p) ||
               err_set(e, ERR_CONFIG, "%s is no program that can be run", name.p);
    while (span_cut(&left, ':', &dir)) {
        int n = snprintf(file, sizeof file, "%.*s/%s", dir.n > 0 ? (int)dir.n : 1,
                         dir.n > 0 ? dir.p : ".", name.p);
        if (n > 0 && (size_t)n < sizeof file && is_program(file))
            return true;
    }
    return err_set(e, ERR_CONFIG, "the program %s is not found in PATH", name.p);
}

bool child_check(const struct config_provider *p, const char *runtime_dir, struct err *e)
{
    struct child_spec s, embedded;
    AUTO(arena) a = arena_new(0);
    if (a == NULL)
        return no_memory(e);
    if (!child_spec_copy(a, p, &s, e))
        return false;
    if (s.n_command == 0) {
        if (!runtime_spec(a, &s, runtime_dir, &embedded, e))
            return false;
        s = embedded;
    }
    if (!check_program(s.command[0], e) || !check_model(&s, e))
        return false;
    if (has_placeholder(&s, SPAN("{model}")) && access(s.model_file.p, R_OK) != 0)
        return err_set(e, ERR_CONFIG, "the model's file %s cannot be read: %s", s.model_file.p,
                       strerror(errno));
    return true;
}
