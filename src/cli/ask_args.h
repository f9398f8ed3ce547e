/* cli/ask_args.h - the command line that `ask` and `plan` share. Private to cli/. */
#ifndef FUSOR_CLI_ASK_ARGS_H
#define FUSOR_CLI_ASK_ARGS_H

#include "cli/session.h"

struct ask_args {
    struct ask_options options;
    bool json, raw, trace;
    struct buf stdin_text; /* what options.prompt points to when it came from stdin */
};

/* Reads flags and prompt. -1: go on; else return that exit code. ask_args_done() in both cases. */
int ask_args_parse(const struct cli_command *c, int argc, char **argv, struct ask_args *out);
void ask_args_done(struct ask_args *a);

#define ASK_ARGS_HELP                                                                              \
    "  -m, --model NAME     model or recipe (default: the recipe `fusion`)\n"                      \
    "      --system TEXT    system prompt\n"                                                       \
    "      --max-tokens N   longest answer\n"                                                      \
    "      --temperature T  as the models understand it\n"                                         \
    "  -c, --config FILE    configuration (else $FUSOR_CONFIG, ./fusor.yaml,\n"                    \
    "                       ~/.config/fusor/fusor.yaml)\n\n"                                       \
    "for a recipe:\n"                                                                              \
    "      --mode MODE      merge, best_of or vote\n"                                              \
    "      --panel A,B,...  the members instead of the recipe's\n"                                 \
    "      --judge A,B      judge, and who takes over when it fails\n"                             \
    "      --criteria TEXT  what makes an answer good\n"                                           \
    "      --max-cost USD   refuse when the worst case costs more (exit 4)\n"

#endif
