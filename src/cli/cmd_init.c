/* cli/cmd_init.c - fusor init: asks for provider keys, tries each, writes key files and fusor.yaml.
 *
 * Nothing is on the disk before the last key is settled. A key is never printed and never an
 * argument; it stands in a secret, and in a file of its own. */
#include <unistd.h>

#include "base/limits.h"
#include "cli/cli.h"
#include "cli/init_files.h"
#include "cli/probe.h"
#include "cli/prompt.h"
#include "dialect/dialect.h"

/* In the order in which people are asked, and in which lines are read from a pipe. */
static const struct {
    const char *name, *title;
} asked[] = {
    {"openai", "OpenAI"}, {"anthropic", "Anthropic"},   {"mistral", "Mistral"},
    {"gemini", "Gemini"}, {"openrouter", "OpenRouter"},
};
#define N COUNT_OF(asked)

struct entry {
    const struct config_usual *usual;
    const char *title;
    char base_url[512];
    struct secret *key; /* NULL: skipped */
    bool from_env;
    char ref[PATH_MAX + 8]; /* "file:/..." or "env:..." */
};

struct init {
    struct entry entries[N];
    bool terminal, offline, bad;
    struct init_files files;
};

static void init_done(struct init *in)
{
    for (size_t i = 0; i < N; i++)
        secret_free(TAKE(in->entries[i].key));
    init_files_close(&in->files);
}

static const struct config_usual *usual_of(struct span name)
{
    for (size_t i = 0; config_usual(i); i++)
        if (span_eq(span_of(config_usual(i)->name), name))
            return config_usual(i);
    return NULL;
}

/* --- --base-url
 * -------------------------------------------------------------------------------------- */

static bool set_base_url(struct init *in, struct span name, struct span url, struct err *e)
{
    struct http_origin o;
    while (span_ends(url, SPAN("/")))
        url = span_upto(url, url.n - 1);
    if (!http_origin_parse(url, &o, e)) {
        e->cls = ERR_USAGE;
        return err_prefix(e, "--base-url");
    }
    for (size_t i = 0; i < N; i++) {
        struct entry *t = &in->entries[i];
        if (!span_eq(span_of(t->usual->name), name))
            continue;
        if (url.n >= sizeof t->base_url)
            return err_set(e, ERR_USAGE, "--base-url: the URL is too long");
        memcpy(t->base_url, url.p, url.n);
        t->base_url[url.n] = '\0';
        return true;
    }
    return err_set(
        e, ERR_USAGE,
        "--base-url takes PROVIDER=URL,...; \"%.*s\" is none of openai, anthropic, mistral, "
        "gemini, openrouter",
        SPAN_ARG(name));
}

static bool set_base_urls(struct init *in, const char *list, struct err *e)
{
    struct span left = span_of(list), one, name;
    for (size_t i = 0; i < N; i++) {
        struct entry *t = &in->entries[i];
        t->usual = usual_of(span_of(asked[i].name));
        t->title = asked[i].title;
        (void)snprintf(t->base_url, sizeof t->base_url, "%s", t->usual->base_url);
    }
    while (span_cut(&left, ',', &one))
        if (!span_cut(&one, '=', &name) || !set_base_url(in, span_trim(name), span_trim(one), e))
            return e->cls != ERR_NONE ? false
                                      : err_set(e, ERR_USAGE, "--base-url takes PROVIDER=URL,...");
    return true;
}

/* --- asking
 * ------------------------------------------------------------------------------------------ */

static bool is_key(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7F)
            return false;
    return s.n > 0;
}

/* What was typed becomes the entry's key. False with e clear: ask again. */
static bool take_line(struct entry *t, struct secret *env, struct span line, struct err *e)
{
    line = span_trim(line);
    secret_free(TAKE(t->key));
    t->from_env = line.n == 0 && env;
    if (t->from_env) {
        t->key = secret_ref(env);
        return true;
    }
    if (line.n == 0 || span_eq(line, SPAN("-")))
        return true;
    if (!is_key(line)) {
        (void)fprintf(stderr, "  that is no key: it has a space or another character that keys do "
                              "not have\n");
        return false;
    }
    t->key = secret_new(line);
    return t->key || err_set(e, ERR_NOMEM, "out of memory");
}

static bool read_key(const struct init *in, struct entry *t, bool *eof, struct err *e)
{
    char question[200], line[LIMIT_SECRET_BYTES + 1], ref[80];
    (void)snprintf(ref, sizeof ref, "env:%s", t->usual->variable);
    AUTO(secret) env = secret_load(span_of(ref), NULL);
    if (env)
        (void)snprintf(question, sizeof question,
                       "%s key (Enter takes $%s, which is set; - skips): ", t->title,
                       t->usual->variable);
    else
        (void)snprintf(question, sizeof question, "%s key (Enter skips): ", t->title);
    for (;;) {
        enum prompt_end end = PROMPT_EOF;
        line[0] = '\0';
        if (!*eof)
            end = prompt_line(question, true, line, sizeof line, e);
        *eof = *eof || end == PROMPT_EOF;
        bool ok = end != PROMPT_FAIL && take_line(t, env, span_of(line), e);
        explicit_bzero(line, sizeof line);
        if (ok || end == PROMPT_FAIL || e->cls != ERR_NONE)
            return ok;
        if (!in->terminal)
            return err_set(e, ERR_INPUT, "what stdin has for %s is no key", t->title);
    }
}

/* --- trying
 * ------------------------------------------------------------------------------------------ */

static bool call_provider(struct entry *t, struct probe *out, struct err *e)
{
    struct buf path, body, answer;
    buf_init(&path, KIB(4));
    buf_init(&body, KIB(4));
    buf_init(&answer, PROBE_BODY_BYTES);
    bool ok = probe_chat(t->usual, &path, &body, e);
    if (ok) {
        struct fetch f = {.url = span_of(t->base_url),
                          .path = buf_span(&path),
                          .body = buf_span(&body),
                          .key = t->key,
                          .dialect = dialect_find(span_of(t->usual->dialect)),
                          .timeouts = {.connect_us = 5000000, .total_us = 30000000},
                          .out = &answer};
        fetch_all(&f, 1);
        probe_read(&f, out);
    }
    buf_done(&answer);
    buf_done(&body);
    buf_done(&path);
    return ok;
}

static bool yes(const char *question)
{
    char line[16];
    struct err e = {0};
    return prompt_line(question, false, line, sizeof line, &e) == PROMPT_LINE &&
           (line[0] == 'y' || line[0] == 'Y');
}

/* False with e clear: the key is not to be kept. */
static bool try_key(struct init *in, struct entry *t, struct err *e)
{
    struct probe p;
    if (!t->key)
        return true;
    if (in->offline) {
        (void)fprintf(stderr, "  %s: not tried\n", t->title);
        return true;
    }
    if (in->terminal)
        (void)fprintf(stderr, "  asking %s for one token ...\n", t->usual->id);
    if (!call_provider(t, &p, e))
        return false;
    switch (p.word) {
    case PROBE_OK:
        (void)fprintf(stderr, "  %s: ok, %s %s\n", t->title, t->usual->id, p.text);
        return true;
    case PROBE_ODD:
        (void)fprintf(stderr, "  %s: the key is not refused, but: %s\n", t->title, p.text);
        return true;
    case PROBE_BAD_KEY:
    case PROBE_UNREACHED:
        break;
    }
    (void)fprintf(stderr, "  %s: %s\n", t->title, p.text);
    return in->terminal && yes("  Keep the key all the same? [y/N] ");
}

static bool ask_all(struct init *in, struct err *e)
{
    bool eof = false;
    if (in->terminal)
        (void)fprintf(stderr, "Writes %s. Keys are not shown as you type.\n\n", in->files.config);
    for (size_t i = 0; i < N; i++) {
        struct entry *t = &in->entries[i];
        for (;;) {
            if (!read_key(in, t, &eof, e))
                return false;
            if (try_key(in, t, e))
                break;
            if (e->cls != ERR_NONE)
                return false;
            secret_free(TAKE(t->key));
            if (!in->terminal || eof) {
                in->bad = in->bad || !in->terminal;
                break;
            }
        }
    }
    return !in->bad ||
           err_set(e, ERR_AUTH,
                   "nothing was written: leave out the keys that do not work, or skip the "
                   "calls with --offline");
}

/* --- writing
 * ----------------------------------------------------------------------------------------- */

#define HEAD                                                                                       \
    "# Written by `fusor init`. Every field: docs/configuration.md. After a change: `fusor "       \
    "config\n"                                                                                     \
    "# check`, then `fusor reload`. Besides the models below, PROVIDER/MODEL-ID always works, "    \
    "and\n"                                                                                        \
    "# the recipe `fusion` asks one model of each provider and has the strongest merge the "       \
    "answers\n"                                                                                    \
    "# (`fusor config show` prints it).\n\n"                                                       \
    "listen: 127.0.0.1:8420\n"

static bool write_all(struct init *in, struct err *e)
{
    struct config_use use[N];
    size_t n = 0;
    for (size_t i = 0; i < N; i++) {
        struct entry *t = &in->entries[i];
        char path[PATH_MAX];
        if (!t->key)
            continue;
        if (t->from_env)
            (void)snprintf(t->ref, sizeof t->ref, "env:%s", t->usual->variable);
        else if (init_files_key(&in->files, t->usual->name, t->key, path, e))
            (void)snprintf(t->ref, sizeof t->ref, "file:%s", path);
        else
            return false;
        use[n++] = (struct config_use){t->usual, t->base_url, span_of(t->ref)};
    }
    struct buf b;
    buf_init(&b, LIMIT_CONFIG_BYTES);
    bool ok = buf_add(&b, SPAN(HEAD), e) && config_write_usual(use, n, &b, e) &&
              init_files_config(&in->files, buf_span(&b), e);
    buf_done(&b);
    return ok;
}

static void say_next(const struct init *in, const char *path)
{
    size_t n = 0;
    char word[PATH_MAX * 2], flag[PATH_MAX * 2 + 8] = "";
    for (size_t i = 0; i < N; i++)
        n += in->entries[i].key != NULL;
    if (path)
        (void)snprintf(flag, sizeof flag, " -c %s", cli_quoted(span_of(path), word, sizeof word));
    (void)printf("wrote %s: the local model and %zu provider%s\n", in->files.config, n,
                 n == 1 ? "" : "s");
    for (size_t i = 0; i < N; i++)
        if (in->entries[i].key)
            (void)printf("  %-10s key in %s\n", in->entries[i].usual->name, in->entries[i].ref);
    (void)printf("\nnext:\n  fusor doctor%s       checks all of it\n"
                 "  fusor ask%s \"Hello\"  asks the recipe `fusion`\n"
                 "  fusor serve%s        serves the API at http://127.0.0.1:8420/v1\n",
                 flag, flag, flag);
}

static int init(struct init *in, const char *path, const char *urls)
{
    struct err e = {0};
    in->terminal = isatty(STDIN_FILENO);
    if (!set_base_urls(in, urls, &e) || !init_files_open(&in->files, path, &e) ||
        !ask_all(in, &e) || !write_all(in, &e))
        return cli_fail(&e);
    say_next(in, path);
    return EXIT_DONE;
}

static int run(int argc, char **argv)
{
    const char *file = NULL, *urls = NULL, *rest[1];
    struct init in = {0};
    size_t n_rest;
    const struct cli_option options[] = {{"--config", 'c', &file, NULL},
                                         {"--base-url", 0, &urls, NULL},
                                         {"--offline", 0, NULL, &in.offline}};
    int rc = cli_parse(&cli_init, argc, argv, options, COUNT_OF(options), rest, 0, &n_rest);
    if (rc >= 0)
        return rc;
    rc = init(&in, file, urls);
    init_done(&in);
    return rc;
}

const struct cli_command cli_init = {
    "init", "ask for provider keys and write fusor.yaml",
    "usage: fusor init [--base-url PROVIDER=URL,...] [--offline] [-c FILE]\n\n"
    "Asks for the keys of OpenAI, Anthropic, Mistral, Gemini and OpenRouter, in this order and "
    "without\n"
    "showing them; Enter skips one. Where the usual variable is set (OPENAI_API_KEY, ...), Enter "
    "takes\n"
    "it by reference, and - skips. Each key is tried with a call of one token. Without a terminal, "
    "one\n"
    "line each is read from stdin, and a key that does not work ends it with exit code 1.\n\n"
    "A typed key is kept in a file of its own (0600), in the directory `keys` next to the\n"
    "configuration, which refers to it. An existing configuration is never overwritten (exit code "
    "3).\n\n"
    "  -c, --config FILE   what to write (else $FUSOR_CONFIG, ./fusor.yaml)\n"
    "      --base-url P=U  another address of a provider: a proxy, a region; with the version\n"
    "      --offline       do not try the keys\n\n"
    "example:\n"
    "  fusor init --base-url mistral=https://api.eu.mistral.ai/v1\n",
    run};
