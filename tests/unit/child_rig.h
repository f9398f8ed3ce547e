/* tests/unit/child_rig.h - a pool of children on a loop that the test turns, and the server that
 * they run: the test program itself, started with --fake, so that a run takes milliseconds. The
 * program is its own guard too, as fusor is. */
#ifndef FUSOR_TESTS_CHILD_RIG_H
#define FUSOR_TESTS_CHILD_RIG_H

#include "http_util.h"

#include <dirent.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <limits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "config/config.h"
#include "upstream/child.h"

/* --- the server ------------------------------------------------------------------------------- */

struct fake {
    int port, listener;
    const char *key;
    bool refuse, silent;
    int64_t loaded_us; /* /health says 503 until then */
    int context;       /* told in /v1/models, 0: not */
};

static inline void append_line(const char *path, const char *line)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || dprintf(fd, "%s\n", line) < 0)
        _exit(99);
    close(fd);
}

static inline void append_pid(const char *path)
{
    char line[32];
    snprintf(line, sizeof line, "%d", (int)getpid());
    append_line(path, line);
}

static inline void fake_reply(int fd, int status, const char *body)
{
    dprintf(fd, "HTTP/1.1 %d X\r\ncontent-length: %zu\r\nconnection: close\r\n\r\n%s", status,
            strlen(body), body);
}

static inline void fake_answer(struct fake *f, int fd, const char *request)
{
    char bearer[256], models[128];
    snprintf(bearer, sizeof bearer, "uthorization: Bearer %s\r\n", f->key ? f->key : "");
    snprintf(models, sizeof models, "{\"data\":[{\"id\":\"m\",\"meta\":{\"n_ctx\":%d}}]}",
             f->context);
    bool may = !f->refuse && f->key != NULL && strstr(request, bearer) != NULL;
    if (strstr(request, "GET /crash") == request)
        _exit(3);
    if (strstr(request, "GET /silent") == request)
        f->silent = true;
    if (strstr(request, "GET /deaf") == request) {
        close(f->listener);
        f->listener = -1;
    }
    if (f->silent)
        poll(NULL, 0, 60000);
    else if (strstr(request, "GET /health") == request)
        fake_reply(fd, clock_mono_us() < f->loaded_us ? 503 : 200, "{}");
    else
        fake_reply(fd, may ? 200 : 401, may ? models : "{\"error\":{}}");
}

static inline void fake_serve(struct fake *f)
{
    while (f->listener >= 0) {
        char request[4096];
        size_t n = 0;
        int fd = accept(f->listener, NULL, NULL);
        while (n < sizeof request - 1) {
            ssize_t got = read(fd, request + n, sizeof request - 1 - n);
            if (got <= 0)
                break;
            n += (size_t)got;
            request[n] = '\0';
            if (strstr(request, "\r\n\r\n") != NULL) {
                fake_answer(f, fd, request);
                break;
            }
        }
        close(fd);
    }
    for (;;)
        pause();
}

static inline void fake_dump_env(const char *path)
{
    for (char **v = environ; *v != NULL; v++)
        append_line(path, *v);
}

static inline void fake_word(struct fake *f, const char *word)
{
    static char key[128];
    int64_t n = 0;
    struct span value = span_of(word), name;
    (void)span_cut(&value, '=', &name);
    bool number = span_to_i64(value, &n);
    if (span_eq(name, SPAN("pid")))
        append_pid(value.p);
    else if (span_eq(name, SPAN("env")))
        fake_dump_env(value.p);
    else if (span_eq(name, SPAN("say")))
        dprintf(2, "%s\n", value.p);
    else if (span_eq(name, SPAN("die")) && number)
        _exit((int)n);
    else if (span_eq(name, SPAN("signal")) && number)
        raise((int)n);
    else if (span_eq(name, SPAN("sleep")) && number)
        poll(NULL, 0, (int)n);
    else if (span_eq(name, SPAN("load")) && number)
        f->loaded_us = clock_mono_us() + n * 1000;
    else if (span_eq(name, SPAN("context")) && number)
        f->context = (int)n;
    else if (span_eq(name, SPAN("refuse")))
        f->refuse = true;
    else if (span_eq(name, SPAN("stubborn")))
        (void)signal(SIGTERM, SIG_IGN);
    else if (span_eq(name, SPAN("once")) && access(value.p, F_OK) != 0)
        append_pid(value.p);
    else if (span_eq(name, SPAN("once")))
        _exit(4); /* the second run fails */
    else if (span_eq(name, SPAN("daemon"))) {
        if (fork() > 0)
            _exit(0);
        setsid();
        if (fork() > 0)
            _exit(0);
    } else if (span_eq(name, SPAN("keyfile"))) {
        int fd = open(value.p, O_RDONLY | O_CLOEXEC);
        ssize_t got = fd < 0 ? -1 : read(fd, key, sizeof key - 1);
        key[got > 0 ? got - 1 : 0] = '\0'; /* without the line end */
        f->key = key;
    } else
        _exit(98);
}

/* EXE --fake PORT WORD[=VALUE]... */
static inline _Noreturn void fake_main(int argc, char **argv)
{
    int64_t port = 0;
    struct fake f = {.key = getenv("FUSOR_LOCAL_KEY"), .listener = -1};
    struct sockaddr_in a = {.sin_family = AF_INET};
    int on = 1;
    if (argc < 3 || !span_to_i64(span_of(argv[2]), &port))
        _exit(97);
    for (int i = 3; i < argc; i++)
        fake_word(&f, argv[i]);
    a.sin_port = htons((uint16_t)port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    f.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(f.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(f.listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(f.listener, 16) != 0)
        _exit(96);
    fake_serve(&f);
    _exit(0);
}

/* Before cmocka: what the program is when it is not the test. */
static inline void child_rig_main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--guard") == 0)
        child_guard_main(argc, argv);
    if (argc > 1 && strcmp(argv[1], "--fake") == 0)
        fake_main(argc, argv);
    (void)signal(SIGPIPE, SIG_IGN); /* as fusor does */
    (void)setenv("OPENAI_API_KEY", "sk-must-not-be-inherited", 1);
    (void)setenv("LANG", "C.UTF-8", 1);
}

/* --- a pool ----------------------------------------------------------------------------------- */

struct rig {
    char dir[64], exe[PATH_MAX];
    struct loop *l;
    struct child_pool *pool;
    struct config *config;
};

static inline const char *in_dir(struct rig *r, const char *name)
{
    static char paths[8][400];
    static unsigned at;
    char *path = paths[at++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", r->dir, name);
    return path;
}

/* fields: the provider's, where @ is the program, `--fake {port}` included ($@ is the shell's own),
 * and % the directory. */
static inline struct config *make_config(struct rig *r, const char *fields)
{
    struct err e = {0};
    struct buf b;
    buf_init(&b, MIB(1));
    assert_true(buf_addf(&b, &e, "providers:\n  lab: {kind: local, "));
    for (const char *c = fields; *c != '\0'; c++) {
        if (*c == '@' && c[-1] != '$')
            assert_true(buf_addf(&b, &e, "%s, --fake, \"{port}\"", r->exe));
        else if (*c == '%')
            assert_true(buf_add(&b, span_of(r->dir), &e));
        else
            assert_true(buf_add_char(&b, *c, &e));
    }
    assert_true(buf_addf(&b, &e, "}\nmodels:\n  m: {provider: lab}\n"));
    struct config *c = config_parse(buf_span(&b), "test", &e);
    if (c == NULL)
        fail_msg("%s\n%.*s", e.msg, SPAN_ARG(buf_span(&b)));
    buf_done(&b);
    return c;
}

static inline void rig_open_at(struct rig *r, const char *fields, const char *runtime)
{
    struct err e = {0};
    const char *tmp = getenv("TMPDIR");
    memset(r, 0, sizeof *r);
    snprintf(r->dir, sizeof r->dir, "%s/fusor-child-XXXXXX",
             tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    assert_non_null(mkdtemp(r->dir));
    ssize_t n = readlink("/proc/self/exe", r->exe, sizeof r->exe - 1);
    assert_true(n > 0);
    r->config = make_config(r, fields);
    r->l = loop_new(&e);
    assert_non_null(r->l);
    r->pool = child_pool_new(r->l, NULL, runtime, r->dir, &e);
    if (r->pool == NULL)
        fail_msg("%s", e.msg);
    child_pool_config(r->pool, r->config);
}

static inline void rig_open(struct rig *r, const char *fields)
{
    rig_open_at(r, fields, "");
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    return remove(path);
}

static inline void rig_close(struct rig *r)
{
    child_pool_free(r->pool);
    loop_free(r->l);
    config_free(r->config);
    nftw(r->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline const struct config_provider *lab(const struct config *c)
{
    const struct config_provider *p = config_provider_find(c, SPAN("lab"));
    assert_non_null(p);
    return p;
}

static inline enum child_state rig_state(struct rig *r)
{
    return child_state_of(r->pool, SPAN("lab"));
}

/* --- a lease ---------------------------------------------------------------------------------- */

struct use {
    struct child_lease lease;
    unsigned ready, failed, gone;
    struct child_address at;
    struct err e;
    bool release_at_once;
};

static inline void use_ready(struct child_lease *l, const struct child_address *a,
                             const struct err *err)
{
    struct use *u = CONTAINER_OF(l, struct use, lease);
    assert_true((a == NULL) != (err == NULL));
    assert_int_equal(u->ready + u->failed + u->gone, 0);
    if (a != NULL)
        u->at = *a;
    else
        u->e = *err;
    u->ready += a != NULL;
    u->failed += err != NULL;
    if (u->release_at_once)
        child_release(l, false);
}

static inline void use_gone(struct child_lease *l)
{
    struct use *u = CONTAINER_OF(l, struct use, lease);
    assert_int_equal(u->gone, 0);
    u->gone++;
}

static inline void use_begin_of(struct use *u, struct rig *r, const struct config *c)
{
    memset(u, 0, sizeof *u);
    u->lease.loop = r->l;
    u->lease.on_ready = use_ready;
    u->lease.on_gone = use_gone;
    child_acquire(r->pool, lab(c), &u->lease);
}

static inline void use_begin(struct use *u, struct rig *r)
{
    use_begin_of(u, r, r->config);
}

static inline void use_wait(struct use *u, struct rig *r)
{
    PUMP(r->l, u->ready + u->failed > 0);
    if (u->failed)
        fail_msg("%s", u->e.msg);
}

static inline void use_end(struct use *u, struct rig *r, bool failed)
{
    child_release(&u->lease, failed);
    PUMP(r->l, u->gone > 0);
}

/* --- looking at processes --------------------------------------------------------------------- */

/* Running or stopped, not a zombie. */
static inline bool alive(pid_t pid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *end = strrchr(text, ')');
    return end != NULL && end[1] == ' ' && end[2] != 'Z' && end[2] != 'X';
}

/* Pids written line by line; how many there are. */
static inline size_t read_pids(const char *path, pid_t *out, size_t max)
{
    char text[4096];
    size_t n = 0;
    int64_t pid;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text);
    if (fd >= 0)
        close(fd);
    struct span rest = span_make(text, got > 0 ? (size_t)got : 0), line;
    while (n < max && span_cut(&rest, '\n', &line))
        if (span_to_i64(line, &pid))
            out[n++] = (pid_t)pid;
    return n;
}

static inline size_t count_alive(const char *path)
{
    pid_t pids[64];
    size_t n = read_pids(path, pids, COUNT_OF(pids)), live = 0;
    for (size_t i = 0; i < n; i++)
        live += alive(pids[i]);
    return live;
}

static inline pid_t parent_of(pid_t pid)
{
    char path[64], text[512];
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *end = strrchr(text, ')');
    if (end != NULL)
        (void)sscanf(end + 1, " %*c %d", &parent);
    return parent;
}

/* The status of GET path with the key (NULL: none); -1 when there is no answer. */
static inline int get(int port, const char *path, const char *key)
{
    char text[512];
    int status = -1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) {
        dprintf(fd, "GET %s HTTP/1.1\r\nhost: x\r\n%s%s%s\r\n", path,
                key ? "Authorization: Bearer " : "", key ? key : "", key ? "\r\n" : "");
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n = poll(&p, 1, 3000) > 0 ? read(fd, text, sizeof text - 1) : 0;
        text[n > 0 ? n : 0] = '\0';
        (void)sscanf(text, "HTTP/1.1 %d", &status);
    }
    close(fd);
    return status;
}

#endif
