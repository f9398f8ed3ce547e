/* cli/ask_args.c - see cli/ask_args.h. */
#include "cli/ask_args.h"

#include <unistd.h>

#include "base/limits.h"

static bool read_stdin(struct buf *b, struct err *e)
{
    char chunk[16384];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, stdin)) > 0)
        if (!buf_add(b, span_make(chunk, n), e)) {
            err_prefix(e, "the prompt on stdin");
            return false;
        }
    return ferror(stdin) == 0 || err_set(e, ERR_SYS, "cannot read the prompt from stdin");
}

/* One line end is the pipe's, not the prompt's. */
static struct span without_line_end(struct span s)
{
    return s.n > 0 && s.p[s.n - 1] == '\n' ? span_upto(s, s.n - 1) : s;
}

static int take_prompt(const struct cli_command *c, struct ask_args *a, const char *arg)
{
    struct err e = {0};
    if (!arg && isatty(STDIN_FILENO))
        return cli_usage(c, "the prompt is missing");
    if (arg && strcmp(arg, "-") != 0) {
        a->options.prompt = span_of(arg);
    } else {
        if (!read_stdin(&a->stdin_text, &e))
            return cli_fail(&e);
        a->options.prompt = without_line_end(buf_span(&a->stdin_text));
    }
    if (span_trim(a->options.prompt).n == 0)
        return cli_usage(c, "the prompt is empty");
    return -1;
}

int ask_args_parse(const struct cli_command *c, int argc, char **argv, struct ask_args *out)
{
    struct ask_options *o = &out->options;
    const char *rest[1] = {NULL};
    size_t n_rest;
    *out = (struct ask_args){0};
    buf_init(&out->stdin_text, LIMIT_CHAT_BODY_BYTES);
    const struct cli_option options[] = {
        {"--config", 'c', &o->config, NULL},
        {"--model", 'm', &o->model, NULL},
        {"--mode", 0, &o->mode, NULL},
        {"--panel", 0, &o->panel, NULL},
        {"--judge", 0, &o->judge, NULL},
        {"--criteria", 0, &o->criteria, NULL},
        {"--max-cost", 0, &o->max_cost, NULL},
        {"--system", 0, &o->system, NULL},
        {"--max-tokens", 0, &o->max_tokens, NULL},
        {"--temperature", 0, &o->temperature, NULL},
        {"--json", 0, NULL, &out->json},
        {"--raw", 0, NULL, &out->raw},
        {"--trace", 0, NULL, &out->trace},
    };
    /* --raw and --trace are about an answer: the last two, which a plan does not have */
    size_t n = c == &cli_ask ? COUNT_OF(options) : COUNT_OF(options) - 2;
    int rc = cli_parse(c, argc, argv, options, n, rest, 1, &n_rest);
    return rc >= 0 ? rc : take_prompt(c, out, rest[0]);
}

void ask_args_done(struct ask_args *a)
{
    buf_done(&a->stdin_text);
}
