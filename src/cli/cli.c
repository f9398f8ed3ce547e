/* cli/cli.c - see cli/cli.h: options, messages, tables. */
#include "cli/cli.h"

#include <stdarg.h>
#include <unistd.h>

#include "base/text.h"

static int exit_code(enum err_class cls)
{
    switch (cls) {
    case ERR_USAGE:
        return EXIT_USAGE;
    case ERR_CONFIG:
    case ERR_CONFLICT:
        return EXIT_CONFIG;
    case ERR_BUDGET:
    case ERR_FORBIDDEN:
        return EXIT_REFUSED;
    default:
        return EXIT_FAILED;
    }
}

int cli_fail(const struct err *e)
{
    (void)fprintf(stderr, "fusor: %s\n", e->msg);
    return exit_code(e->cls);
}

int cli_usage(const struct cli_command *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fprintf(stderr, "fusor %s: ", c->name);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fprintf(stderr, "; see `fusor %s --help`\n", c->name);
    return EXIT_USAGE;
}

int cli_help(const struct cli_command *c)
{
    (void)fputs(c->usage, stdout);
    return EXIT_DONE;
}

static const struct cli_option *find(const struct cli_option *o, size_t n, const char *arg,
                                     const char **inline_value)
{
    const char *eq = strchr(arg, '=');
    size_t len = eq ? (size_t)(eq - arg) : strlen(arg);
    *inline_value = NULL;
    for (size_t i = 0; i < n; i++) {
        bool is_long = strlen(o[i].name) == len && strncmp(o[i].name, arg, len) == 0;
        if (is_long && eq)
            *inline_value = eq + 1;
        if (is_long || (o[i].letter && arg[1] == o[i].letter && arg[2] == '\0'))
            return &o[i];
    }
    return NULL;
}

int cli_parse(const struct cli_command *c, int argc, char **argv, const struct cli_option *o,
              size_t n_options, const char **rest, size_t max_rest, size_t *n_rest)
{
    bool plain = false; /* after "--" */
    *n_rest = 0;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i], *value;
        if (!plain && strcmp(arg, "--") == 0) {
            plain = true;
            continue;
        }
        if (plain || arg[0] != '-' || arg[1] == '\0') {
            if (*n_rest == max_rest)
                return cli_usage(c, "one argument too many: `%s`", arg);
            rest[(*n_rest)++] = arg;
            continue;
        }
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)
            return cli_help(c);
        const struct cli_option *opt = find(o, n_options, arg, &value);
        if (!opt)
            return cli_usage(c, "there is no option `%s`", arg);
        if (opt->flag) {
            if (value)
                return cli_usage(c, "%s takes no value", opt->name);
            *opt->flag = true;
            continue;
        }
        if (!value && i + 1 < argc)
            value = argv[++i];
        if (!value)
            return cli_usage(c, "%s needs a value", opt->name);
        *opt->value = value;
    }
    return -1;
}

bool cli_colour(int fd)
{
    const char *no = getenv("NO_COLOR");
    return isatty(fd) && !(no && *no);
}

#define MAX_CELL 240

static size_t shown_columns(const char *cell)
{
    char text[MAX_CELL];
    text_visible_cstr(text, sizeof text, span_of(cell));
    return text_columns(span_of(text));
}

void cli_table(FILE *f, const char *const *cells, size_t n_columns, size_t n_rows)
{
    size_t width[8] = {0};
    for (size_t i = 0; i < n_columns * n_rows; i++) {
        size_t w = shown_columns(cells[i]);
        if (w > width[i % n_columns])
            width[i % n_columns] = w;
    }
    bool colour = cli_colour(fileno(f));
    for (size_t r = 0; r < n_rows; r++) {
        if (r == 0 && colour)
            (void)fputs("\033[1m", f);
        for (size_t c = 0; c < n_columns; c++) {
            char text[MAX_CELL];
            text_visible_cstr(text, sizeof text, span_of(cells[r * n_columns + c]));
            size_t pad = c + 1 < n_columns ? width[c] - text_columns(span_of(text)) + 2 : 0;
            (void)fprintf(f, "%s%*s", text, (int)pad, "");
        }
        (void)fputs(r == 0 && colour ? "\033[0m\n" : "\n", f);
    }
}

const char *cli_usd(int64_t nusd, char *out, size_t cap)
{
    if (nusd < 0) {
        (void)snprintf(out, cap, "unknown");
        return out;
    }
    (void)snprintf(out, cap, "$%lld.%09lld", (long long)(nusd / 1000000000),
                   (long long)(nusd % 1000000000));
    size_t n = strlen(out);
    while (out[n - 1] == '0')
        out[--n] = '\0';
    if (out[n - 1] == '.')
        out[--n] = '\0';
    return out;
}

const char *cli_ms(int64_t us, char *out, size_t cap)
{
    if (us < 0)
        (void)snprintf(out, cap, "-");
    else if (us < 9999500)
        (void)snprintf(out, cap, "%lld ms", (long long)((us + 500) / 1000));
    else
        (void)snprintf(out, cap, "%.1f s", (double)us / 1e6);
    return out;
}

const char *cli_quoted(struct span text, char *out, size_t cap)
{
    static const struct span safe = SPAN_INIT("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                              "0123456789/._-+:=@%,");
    size_t n = 0;
    bool plain = text.n > 0;
    for (size_t i = 0; plain && i < text.n; i++)
        plain = memchr(safe.p, text.p[i], safe.n) != NULL;
    if (!plain)
        n = (size_t)snprintf(out, cap, "'");
    for (size_t i = 0; i < text.n && n + 6 <= cap; i++)
        n += (size_t)snprintf(out + n, cap - n, text.p[i] == '\'' ? "'\\''" : "%c", text.p[i]);
    (void)snprintf(out + n, cap - n, "%s", plain ? "" : "'");
    return out;
}
