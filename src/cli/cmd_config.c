/* cli/cmd_config.c - fusor config check|show */
#include <errno.h>
#include <unistd.h>

#include "base/limits.h"
#include "cli/cli.h"

static bool read_stdin(struct buf *b, struct err *e)
{
    for (;;) {
        char *room;
        if (!buf_room(b, 4096, &room, e))
            return false;
        ssize_t n = read(0, room, 4096);
        if (n < 0)
            return err_set(e, ERR_SYS, "cannot read standard input: %s", strerror(errno));
        if (n == 0)
            return true;
        buf_grew(b, (size_t)n);
    }
}

static struct config *load(const char *file, struct err *e)
{
    if (!file || strcmp(file, "-") != 0)
        return config_load(file, e);
    struct buf b;
    buf_init(&b, LIMIT_CONFIG_BYTES);
    struct config *c = read_stdin(&b, e) ? config_parse(buf_span(&b), "(stdin)", e) : NULL;
    buf_done(&b);
    return c;
}

static int check(const char *file)
{
    struct err e = {0};
    AUTO(config) c = load(file, &e);
    if (!c)
        return cli_fail(&e);
    (void)printf("%.*s is right: %zu provider%s, %zu model%s, %zu recipe%s\n", SPAN_ARG(c->source),
                 c->n_providers, c->n_providers == 1 ? "" : "s", c->n_models,
                 c->n_models == 1 ? "" : "s", c->n_recipes, c->n_recipes == 1 ? "" : "s");
    return EXIT_DONE;
}

/* The configuration in force: a running server's, else the file's. */
static int show(const char *file)
{
    struct err e = {0};
    struct cli_server s = {0};
    struct buf b;
    buf_init(&b, LIMIT_CONFIG_BYTES * 2);
    AUTO(config) c = load(file, &e);
    bool ok = c != NULL;
    if (ok && cli_find_server(c, &s, &e) && !s.remote)
        ok = cli_call(&s, "/admin/config", SPAN(""), &b, &e);
    else if (ok)
        ok = e.cls == ERR_NONE && config_show(c, &b, &e);
    cli_server_done(&s);
    if (ok)
        (void)fwrite(b.mem + b.start, 1, b.n, stdout);
    buf_done(&b);
    return ok ? EXIT_DONE : cli_fail(&e);
}

static int run(int argc, char **argv)
{
    const char *file = NULL, *rest[2];
    size_t n_rest;
    const struct cli_option options[] = {{"--config", 'c', &file, NULL}};
    int rc = cli_parse(&cli_config, argc, argv, options, COUNT_OF(options), rest, 2, &n_rest);
    if (rc >= 0)
        return rc;
    if (n_rest == 2)
        file = rest[1];
    if (n_rest > 0 && strcmp(rest[0], "check") == 0)
        return check(file);
    if (n_rest > 0 && strcmp(rest[0], "show") == 0)
        return show(file);
    return cli_usage(&cli_config, "say `check` or `show`");
}

const struct cli_command cli_config = {
    "config", "check the configuration, or show the one in force",
    "usage: fusor config check [FILE|-]\n"
    "       fusor config show [-c FILE]\n\n"
    "check reads the whole file and names the first mistake with line and column; exit code 3 "
    "when\n"
    "there is one. show prints the configuration in force, defaults included and secrets as\n"
    "references: a running server's, else the file's.\n\n"
    "example:\n"
    "  fusor config check fusor.yaml && fusor reload\n",
    run};
