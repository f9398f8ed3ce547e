/* config/config.c - see config/config.h.
 *
 * Lives here: finding and reading the file, the order in which its parts are read, the life of a
 * snapshot. The parts are in config_read.c (the server itself), config_providers.c,
 * config_models.c, config_aliases.c, config_recipes.c, defaults.c (no file) and config_show.c (back
 * to YAML). */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/config_priv.h"

/* --- life of a snapshot ---------------------------------------------------------------------- */

static void snapshot_free(struct snapshot *s)
{
    if (!s)
        return;
    map_free(s->aliases);
    map_free(s->recipes);
    map_free(s->models);
    map_free(s->providers);
    arena_free(s->arena);
    mem_free(s);
}
AUTO_DEFINE(snapshot)

static struct snapshot *snapshot_new(struct err *e)
{
    AUTO(snapshot) s = mem_zalloc(sizeof *s);
    if (s) {
        atomic_init(&s->refs, 1);
        s->arena = arena_new(0);
        s->providers = map_new();
        s->models = map_new();
        s->recipes = map_new();
        s->aliases = map_new();
    }
    if (!s || !s->arena || !s->providers || !s->models || !s->recipes || !s->aliases) {
        err_set(e, ERR_NOMEM, "out of memory while reading the configuration");
        return NULL;
    }
    return TAKE(s);
}

struct config *config_ref(struct config *c)
{
    if (c)
        atomic_fetch_add_explicit(&snapshot_of(c)->refs, 1, memory_order_relaxed);
    return c;
}

void config_free(struct config *c)
{
    if (c && atomic_fetch_sub_explicit(&snapshot_of(c)->refs, 1, memory_order_acq_rel) == 1)
        snapshot_free(snapshot_of(c));
}

/* --- from text ------------------------------------------------------------------------------- */

/* Providers and models for a file that names no provider. */
static bool default_providers(struct snapshot *s, struct node *out, struct err *e)
{
    struct buf text;
    buf_init(&text, KIB(16));
    bool ok = defaults_providers(&text, e) &&
              node_from_yaml(s->arena, buf_span(&text), "(defaults)", out, e);
    buf_done(&text);
    return ok;
}

static bool build(struct snapshot *s, struct span text, const char *name, struct err *e)
{
    struct node root, defaults = {NULL, NULL};
    s->c.source = arena_dup(s->arena, span_of(name));
    if (!s->c.source.p)
        return err_set(e, ERR_NOMEM, "out of memory while reading the configuration");
    if (!node_from_yaml(s->arena, text, name, &root, e) || !node_is_map(root, e) ||
        !config_read_edge(s, root, e))
        return false;
    struct node providers = node_get(root, "providers");
    if (node_kind_of(providers) == NODE_ABSENT) {
        if (!default_providers(s, &defaults, e))
            return false;
        providers = node_get(defaults, "providers");
    }
    struct node aliases = node_get(root, "aliases");
    return config_read_policies(s, node_get(root, "policies"), e) &&
           config_read_retries(s, root, e) && config_read_providers(s, providers, e) &&
           config_read_models(s, node_get(root, "models"), node_get(defaults, "models"), e) &&
           config_read_alias_names(s, aliases, e) &&
           config_read_recipes(s, node_get(root, "fusions"), e) &&
           config_read_aliases(s, aliases, e) &&
           config_check_recipes(s, node_get(root, "fusions"), e);
}

struct config *config_parse(struct span text, const char *name, struct err *e)
{
    AUTO(snapshot) s = snapshot_new(e);
    if (!s || !build(s, text, name, e))
        return NULL;
    return &TAKE(s)->c;
}

/* --- from a file ----------------------------------------------------------------------------- */

/* The whole file into b. errno stays set on failure; E2BIG when it does not fit. */
static bool read_fd(int fd, struct buf *b, struct err *e)
{
    for (;;) {
        char *room;
        if (!buf_room(b, KIB(16), &room, e))
            return false;
        ssize_t got = read(fd, room, KIB(16));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set(e, ERR_SYS, "%s", strerror(errno));
        if (got == 0)
            return true;
        buf_grew(b, (size_t)got);
    }
}

static struct config *load_fd(int fd, const char *path, struct err *e)
{
    struct buf text;
    struct err why = {0};
    struct config *c = NULL;
    /* What is over the limit by less than one read is refused by node_from_yaml(). */
    buf_init(&text, LIMIT_CONFIG_BYTES + KIB(32));
    if (read_fd(fd, &text, &why))
        c = config_parse(buf_span(&text), path, e);
    else if (why.cls == ERR_LIMIT)
        err_set(e, ERR_CONFIG, "%s: the file is larger than 4 MiB", path);
    else
        err_set(e, why.cls == ERR_NOMEM ? ERR_NOMEM : ERR_CONFIG, "%s: cannot be read: %s", path,
                why.msg);
    buf_done(&text);
    return c;
}

/* NULL without an error when optional and there is no such file. */
static struct config *load_path(const char *path, bool optional, bool *out_found, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    *out_found = fd >= 0 || !optional || (errno != ENOENT && errno != ENOTDIR);
    if (fd < 0) {
        if (*out_found)
            err_set(e, ERR_CONFIG, "%s: cannot be opened: %s", path, strerror(errno));
        return NULL;
    }
    struct config *c = load_fd(fd, path, e);
    close(fd);
    return c;
}

/* The i-th place where a file is looked for; false behind the last. Empty: skip it. */
static bool usual_path(size_t i, char *out, size_t cap)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int n = 0;
    out[0] = '\0';
    switch (i) {
    case 0:
        n = snprintf(out, cap, "fusor.yaml");
        break;
    case 1:
        if (xdg && xdg[0] == '/')
            n = snprintf(out, cap, "%s/fusor/fusor.yaml", xdg);
        break;
    case 2:
        if (home && home[0] == '/')
            n = snprintf(out, cap, "%s/.config/fusor/fusor.yaml", home);
        break;
    default:
        return false;
    }
    if (n < 0 || (size_t)n >= cap)
        out[0] = '\0';
    return true;
}

struct config *config_load(const char *path, struct err *e)
{
    char usual[4096];
    const char *variable = getenv("FUSOR_CONFIG");
    bool found = false;
    if (!path && variable && variable[0])
        path = variable;
    if (path)
        return load_path(path, false, &found, e);
    for (size_t i = 0; usual_path(i, usual, sizeof usual); i++) {
        struct config *c = usual[0] ? load_path(usual, true, &found, e) : NULL;
        if (c || found)
            return c;
    }
    return config_parse(SPAN(""), "(defaults)", e);
}
