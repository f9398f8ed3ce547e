/* cli/cli.h - what the commands share: the table of commands, options, exit codes, where to send a
 * request. One file per command (cmd_<name>.c). Main thread only. */
#ifndef FUSOR_CLI_CLI_H
#define FUSOR_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "api/app.h"
#include "base/err.h"
#include "base/span.h"
#include "http/client.h"

/* Exit codes that scripts rely on. */
enum cli_exit { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_CONFIG = 3, EXIT_REFUSED = 4 };

struct cli_command {
    const char *name, *summary;
    const char *usage;                 /* whole help text with an example */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns an exit code */
};

extern const struct cli_command cli_serve, cli_ask, cli_plan, cli_models, cli_config, cli_reload,
    cli_init, cli_doctor;

/* Says "fusor: message" on stderr and returns the exit code of the error's class. */
int cli_fail(const struct err *e);
/* Says what is wrong with the command line and how to get help: EXIT_USAGE. */
int cli_usage(const struct cli_command *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Prints the help text: EXIT_DONE. */
int cli_help(const struct cli_command *c);

/* --- options: long ones take "--name VALUE" or "--name=VALUE"; -c and -m are short for two
 * ------------ */
struct cli_option {
    const char *name;   /* "--config" */
    char letter;        /* 'c', or 0 */
    const char **value; /* set to the argument; NULL: a flag */
    bool *flag;         /* set to true; NULL: takes a value */
};
/* Reads the options out of argv; what is left (at most max) stands in rest. -1: go on; else return
 * that exit code (help was asked for, or the line is wrong). */
int cli_parse(const struct cli_command *c, int argc, char **argv, const struct cli_option *o,
              size_t n_options, const char **rest, size_t max_rest, size_t *n_rest);

/* --- a running server
 * ------------------------------------------------------------------------------------ */
struct cli_server {
    char url[512];      /* base URL with /v1: "unix:/…/fusor.sock:/v1" or $FUSOR_URL */
    struct secret *key; /* of $FUSOR_KEY; NULL: none */
    bool remote;        /* $FUSOR_URL, not the local socket */
};
/* True when $FUSOR_URL is set or a server answers on the state directory's socket. A wrong
 * $FUSOR_URL is an error: false with *e set. */
bool cli_find_server(const struct config *c, struct cli_server *out, struct err *e);
/* The one at the state directory's socket only. */
bool cli_find_local(const struct config *c, struct cli_server *out);
void cli_server_done(struct cli_server *s);
/* One blocking call to the server; path with /v1 or /admin. body empty: GET, else POST. The
 * answer's body is appended to out. An HTTP status >= 400 is an error made of its error object. */
MUST_USE bool cli_call(const struct cli_server *s, const char *path, struct span body,
                       struct buf *out, struct err *e);

/* --- the terminal
 * ------------------------------------------------------------------------------------------ */
bool cli_colour(int fd); /* a terminal, and no NO_COLOR */
/* Rows of text in columns, the widest cell decides; n_columns at most 8. Control characters are
 * made visible. first row is the head. */
void cli_table(FILE *f, const char *const *cells, size_t n_columns, size_t n_rows);
/* "$0.0012", "$0", "unknown" into out. */
const char *cli_usd(int64_t nusd, char *out, size_t cap);
/* "812 ms", "2.4 s", "-" into out. */
const char *cli_ms(int64_t us, char *out, size_t cap);
/* The text as one word of a shell, in quotes where it needs them, into out (4 * text.n + 3 hold
 * any). */
const char *cli_quoted(struct span text, char *out, size_t cap);

#endif
