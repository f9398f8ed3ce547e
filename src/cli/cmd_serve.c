/* cli/cmd_serve.c - fusor serve */
#include "cli/cli.h"

static int run(int argc, char **argv)
{
    const char *file = NULL, *rest[1];
    size_t n_rest;
    const struct cli_option options[] = {{"--config", 'c', &file, NULL}};
    int rc = cli_parse(&cli_serve, argc, argv, options, COUNT_OF(options), rest, 0, &n_rest);
    if (rc >= 0)
        return rc;
    struct err e = {0};
    struct app_options o = {.config_path = file, .serve = true, .log_fd = 2};
    AUTO(app) a = app_open(&o, &e);
    if (!a || !app_serve(a, &e))
        return cli_fail(&e);
    return EXIT_DONE;
}

const struct cli_command cli_serve = {
    "serve", "answer requests: POST /v1/chat/completions and the rest of the API",
    "usage: fusor serve [-c FILE]\n\n"
    "Serves the API of the configuration until SIGTERM or Ctrl-C, which let running requests end\n"
    "(`drain`); a second one ends at once. SIGHUP or `fusor reload` reads the file again.\n\n"
    "  -c, --config FILE  configuration (else $FUSOR_CONFIG, ./fusor.yaml, "
    "~/.config/fusor/fusor.yaml)\n\n"
    "environment: FUSOR_LOG=debug|info|warn|error; provider keys as the configuration names "
    "them\n\n"
    "example:\n"
    "  fusor serve &\n"
    "  curl -s http://127.0.0.1:8420/v1/chat/completions -H 'content-type: application/json' \\\n"
    "    -d '{\"model\": \"fusion\", \"messages\": [{\"role\": \"user\", \"content\": "
    "\"Hello\"}]}'\n",
    run};
