/* base/secret.c - see base/secret.h.
 *
 * Messages name the reference (a variable, a path), never a byte of a value. A reference that does
 * not look like one may itself be a pasted key, so it is not shown either.
 *
 * The list of what was read from the environment is a global on purpose: the environment is one per
 * process, and reading it destroys it. */
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"

struct secret {
    atomic_uint refs;
    size_t n;
    char bytes[];
};

/* A variable read and overwritten; never freed. */
struct remembered {
    struct remembered *next;
    struct secret *secret; /* one reference */
    char name[];
};

static pthread_mutex_t env_lock = PTHREAD_MUTEX_INITIALIZER;
static struct remembered *env_list;

struct secret *secret_new(struct span value)
{
    struct secret *s = value.n < LIMIT_ARENA_BYTES ? mem_alloc(sizeof *s + value.n) : NULL;
    if (!s)
        return NULL;
    atomic_init(&s->refs, 1);
    s->n = value.n;
    if (value.n > 0)
        memcpy(s->bytes, value.p, value.n);
    return s;
}

struct secret *secret_ref(struct secret *s)
{
    if (s)
        atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void secret_free(struct secret *s)
{
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    explicit_bzero(s->bytes, s->n);
    mem_free(s);
}

struct span secret_reveal(const struct secret *s)
{
    return s ? span_make(s->bytes, s->n) : (struct span){"", 0};
}

/* A secret of what was read. Control characters are refused: the value becomes a header field,
 * where a line end would begin another field. */
static struct secret *from_text(struct span value, const char *where, struct err *e)
{
    value = span_trim(value);
    if (value.n == 0) {
        err_set(e, ERR_CONFIG, "%s: the secret is empty", where);
        return NULL;
    }
    for (size_t i = 0; i < value.n; i++) {
        if ((unsigned char)value.p[i] < 0x20 || value.p[i] == 0x7F) {
            err_set(e, ERR_CONFIG,
                    "%s: the secret has a line end or another control character "
                    "inside; store one value only",
                    where);
            return NULL;
        }
    }
    struct secret *s = secret_new(value);
    if (!s)
        err_set(e, ERR_NOMEM, "%s: no memory for the secret", where);
    return s;
}

static struct remembered *recall(const char *name)
{
    struct remembered *r = env_list;
    while (r && strcmp(r->name, name) != 0)
        r = r->next;
    return r;
}

/* Reads the variable, remembers it and wipes it; NULL (and the variable untouched) on failure. */
static struct secret *read_env(const char *name, char *value, struct err *e)
{
    AUTO(secret) s = from_text(span_of(value), name, e);
    if (!s)
        return NULL;
    struct remembered *r = recall(name);
    if (!r) {
        size_t n = strlen(name);
        r = mem_zalloc(sizeof *r + n + 1);
        if (!r) {
            err_set(e, ERR_NOMEM, "%s: no memory for the secret", name);
            return NULL;
        }
        memcpy(r->name, name, n + 1);
        r->next = env_list;
        env_list = r;
    }
    secret_free(r->secret);
    r->secret = secret_ref(s);
    explicit_bzero(value, strlen(value));
    return TAKE(s);
}

static bool is_variable(struct span name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
              (c >= '0' && c <= '9' && i > 0)))
            return false;
    }
    return name.n > 0;
}

static struct secret *load_env(const char *name, struct err *e)
{
    if (!is_variable(span_of(name))) {
        err_set(e, ERR_CONFIG,
                "what follows env: is not the name of a variable "
                "(letters, digits and underscores)");
        return NULL;
    }
    struct secret *s = NULL;
    pthread_mutex_lock(&env_lock);
    char *value = getenv(name);
    struct remembered *r = recall(name);
    if (value && (*value || !r))
        s = read_env(name, value, e);
    else if (r)
        s = secret_ref(r->secret);
    else
        err_set(e, ERR_CONFIG, "the environment variable %s is not set", name);
    pthread_mutex_unlock(&env_lock);
    return s;
}

/* Bytes read into out, at most cap; -1 with errno set. */
static ssize_t read_file(const char *path, char *out, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -1;
    size_t n = 0;
    ssize_t got = 1;
    while (n < cap && got != 0) {
        got = read(fd, out + n, cap - n);
        if (got < 0 && errno != EINTR)
            break;
        n += got > 0 ? (size_t)got : 0;
    }
    int sys = errno;
    close(fd);
    errno = sys;
    return got < 0 ? -1 : (ssize_t)n;
}

static struct secret *load_file(const char *path, struct err *e)
{
    char bytes[LIMIT_SECRET_BYTES + 1];
    struct secret *s = NULL;
    ssize_t n = read_file(path, bytes, sizeof bytes);
    if (n < 0)
        err_set(e, ERR_CONFIG, "cannot read the secret file %s: %s", path, strerror(errno));
    else if (n > (ssize_t)LIMIT_SECRET_BYTES)
        err_set(e, ERR_CONFIG, "the secret file %s is larger than %zu bytes", path,
                LIMIT_SECRET_BYTES);
    else
        s = from_text(span_make(bytes, (size_t)n), path, e);
    explicit_bzero(bytes, sizeof bytes);
    return s;
}

static struct secret *load_cred(const char *name, struct err *e)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    char path[4096];
    if (!*name || *name == '.' || strchr(name, '/')) {
        err_set(e, ERR_CONFIG, "what follows cred: is not the name of a credential");
        return NULL;
    }
    if (!folder || !*folder) {
        err_set(e, ERR_CONFIG,
                "credential %s: CREDENTIALS_DIRECTORY is not set; start the program "
                "by systemd with LoadCredential=%s:...",
                name, name);
        return NULL;
    }
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path) {
        err_set(e, ERR_CONFIG, "credential %s: the path is too long", name);
        return NULL;
    }
    return load_file(path, e);
}

static const struct {
    struct span scheme;
    struct secret *(*load)(const char *name, struct err *e);
} schemes[] = {
    {SPAN_INIT("env:"), load_env},
    {SPAN_INIT("file:"), load_file},
    {SPAN_INIT("cred:"), load_cred},
};

struct secret *secret_load(struct span ref, struct err *e)
{
    for (size_t i = 0; i < COUNT_OF(schemes); i++) {
        struct span scheme = schemes[i].scheme;
        char name[4096];
        if (!span_starts(ref, scheme))
            continue;
        ref = span_from(ref, scheme.n);
        if (ref.n == 0 || ref.n >= sizeof name || memchr(ref.p, '\0', ref.n)) {
            err_set(e, ERR_CONFIG, "a secret needs a name or path after %s", scheme.p);
            return NULL;
        }
        memcpy(name, ref.p, ref.n);
        name[ref.n] = '\0';
        return schemes[i].load(name, e);
    }
    err_set(e, ERR_CONFIG,
            "a secret is given as env:NAME, file:PATH or cred:NAME, never as itself");
    return NULL;
}
