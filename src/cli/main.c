/* cli/main.c - the program's door: which command, and what all commands do first. */
#include <signal.h>
#include <sys/resource.h>

#include "cli/cli.h"
#include "upstream/child.h"

static const struct cli_command *const commands[] = {
    &cli_serve, &cli_ask, &cli_plan, &cli_models, &cli_config, &cli_reload, &cli_init, &cli_doctor,
};

static int help(FILE *f)
{
    (void)fprintf(f,
                  "fusor %s: one API for every LLM, and one answer from several of them\n\n"
                  "usage: fusor COMMAND [OPTIONS]\n\n",
                  FUSOR_VERSION);
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        (void)fprintf(f, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
    (void)fprintf(f, "\n`fusor COMMAND --help` has the options and an example. -c FILE names the "
                     "configuration\nfor any command.\n\nexample:\n  fusor ask \"What causes the "
                     "seasons? Two sentences.\"\n");
    return EXIT_DONE;
}

/* Keys live in memory: no core file may take them to a disk. A closed pipe is an error of write(2),
 * not a death. */
static void protect(void)
{
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--guard") == 0)
        child_guard_main(argc, argv);
    protect();
    if (argc < 2) {
        (void)help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0)
        return help(stdout);
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("fusor %s\n", FUSOR_VERSION);
        return EXIT_DONE;
    }
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (strcmp(argv[1], commands[i]->name) == 0)
            return commands[i]->run(argc - 1, argv + 1);
    (void)fprintf(stderr, "fusor: there is no command `%s`; `fusor --help` lists them\n", argv[1]);
    return EXIT_USAGE;
}
