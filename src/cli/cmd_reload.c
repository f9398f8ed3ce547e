/* cli/cmd_reload.c - fusor reload */
#include "base/limits.h"
#include "cli/cli.h"

static int run(int argc, char **argv)
{
    const char *file = NULL, *rest[1];
    size_t n_rest;
    const struct cli_option options[] = {{"--config", 'c', &file, NULL}};
    int rc = cli_parse(&cli_reload, argc, argv, options, COUNT_OF(options), rest, 0, &n_rest);
    if (rc >= 0)
        return rc;
    struct err e = {0};
    struct cli_server s = {0};
    struct buf out;
    buf_init(&out, LIMIT_SMALL_BODY_BYTES);
    AUTO(config) c = config_load(file, &e);
    bool ok = c != NULL;
    if (ok && (!cli_find_server(c, &s, &e) || s.remote)) {
        ok = false;
        if (e.cls == ERR_NONE)
            (void)err_set(&e, ERR_UNAVAILABLE,
                          "no server runs on this machine with the state directory %.*s; start one "
                          "with `fusor serve`",
                          SPAN_ARG(c->state_dir));
    }
    ok = ok && cli_call(&s, "/admin/reload", SPAN("{}"), &out, &e);
    cli_server_done(&s);
    buf_done(&out);
    if (!ok)
        return cli_fail(&e);
    (void)printf("reloaded\n");
    return EXIT_DONE;
}

const struct cli_command cli_reload = {
    "reload", "let the running server read its configuration again",
    "usage: fusor reload [-c FILE]\n\n"
    "Tells the server of this state directory to read the file it was started with again. A file\n"
    "with a mistake changes nothing: the old configuration stays in force and the mistake is\n"
    "printed. Running requests end with the configuration they began with.\n\n"
    "example:\n"
    "  fusor config check && fusor reload\n",
    run};
