/* cli/cmd_doctor.c - fusor doctor: its report, and the order of its checks. */
#include <errno.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/doctor.h"

/* --- the report ------------------------------------------------------------------------------- */

static const char *const words[DOCTOR_STATUSES] = {"ok", "warn", "bad"};
static const char *const colours[DOCTOR_STATUSES] = {"\033[32m", "\033[1;33m", "\033[1;31m"};

static void report_init(struct doctor *d)
{
    buf_init(&d->out_, MIB(64));
    buf_init(&d->fix_, KIB(64));
    buf_init(&d->line_, KIB(64));
    if (!d->json_)
        return;
    json_w_init(&d->w_, &d->out_, &d->err_);
    json_w_obj(&d->w_);
    json_w_key(&d->w_, "checks");
    json_w_arr(&d->w_);
}

/* Formatted, and its control characters made visible; good until the next one. */
static struct span line(struct doctor *d, const char *fmt, va_list ap)
{
    char text[KIB(8)];
    (void)vsnprintf(text, sizeof text, fmt, ap);
    buf_clear(&d->line_);
    (void)!text_visible(&d->line_, span_of(text), false, NULL);
    return buf_span(&d->line_);
}

static void end_check(struct doctor *d)
{
    if (!d->open_ || !d->json_)
        return;
    json_w_key(&d->w_, "fix");
    if (d->fix_.n > 0)
        json_w_str(&d->w_, buf_span(&d->fix_));
    else
        json_w_null(&d->w_);
    json_w_obj_end(&d->w_);
    buf_clear(&d->fix_);
    d->open_ = false;
}

void doctor_add(struct doctor *d, enum doctor_status s, const char *name, const char *fmt, ...)
{
    va_list ap;
    end_check(d);
    va_start(ap, fmt);
    struct span text = line(d, fmt, ap);
    va_end(ap);
    d->count_[s]++;
    d->open_ = true;
    if (d->json_) {
        json_w_obj(&d->w_);
        json_w_key(&d->w_, "name");
        json_w_cstr(&d->w_, name);
        json_w_key(&d->w_, "status");
        json_w_cstr(&d->w_, words[s]);
        json_w_key(&d->w_, "message");
        json_w_str(&d->w_, text);
        return;
    }
    bool colour = cli_colour(STDOUT_FILENO);
    (void)printf("%s%-4s%s  %s: %.*s\n", colour ? colours[s] : "", words[s],
                 colour ? "\033[0m" : "", name, SPAN_ARG(text));
}

void doctor_fix(struct doctor *d, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct span text = line(d, fmt, ap);
    va_end(ap);
    if (!d->json_) {
        (void)printf("      %.*s\n", SPAN_ARG(text));
        return;
    }
    if ((d->fix_.n > 0 && !buf_add_char(&d->fix_, '\n', &d->err_)) ||
        !buf_add(&d->fix_, text, &d->err_))
        d->w_.failed = true;
}

const char *doctor_name(struct doctor *d, const char *kind, struct span name)
{
    struct span s = arena_printf(d->arena, "%s %.*s", kind, SPAN_ARG(name));
    return s.p ? s.p : kind;
}

const char *doctor_word(struct doctor *d, struct span path)
{
    size_t cap = path.n * 4 + 3;
    char *out = arena_alloc(d->arena, cap);
    return out ? cli_quoted(path, out, cap) : "FILE";
}

static bool report_end(struct doctor *d)
{
    size_t ok = d->count_[DOCTOR_OK], warn = d->count_[DOCTOR_WARN], bad = d->count_[DOCTOR_BAD];
    end_check(d);
    if (!d->json_) {
        (void)printf("\n%zu ok, %zu warning%s, %zu problem%s\n", ok, warn, warn == 1 ? "" : "s",
                     bad, bad == 1 ? "" : "s");
        return true;
    }
    json_w_arr_end(&d->w_);
    json_w_key(&d->w_, "ok");
    json_w_i64(&d->w_, (int64_t)ok);
    json_w_key(&d->w_, "warnings");
    json_w_i64(&d->w_, (int64_t)warn);
    json_w_key(&d->w_, "problems");
    json_w_i64(&d->w_, (int64_t)bad);
    json_w_obj_end(&d->w_);
    if (!json_w_end(&d->w_))
        return false;
    (void)printf("%.*s\n", SPAN_ARG(buf_span(&d->out_)));
    return true;
}

static void done(struct doctor *d)
{
    buf_done(&d->line_);
    buf_done(&d->fix_);
    buf_done(&d->out_);
    config_free(d->config);
    arena_free(d->arena);
}

/* --- the checks ------------------------------------------------------------------------------- */

static void fix_config(struct doctor *d)
{
    const char *variable = getenv("FUSOR_CONFIG"), *path = d->file;
    if (!path && variable && *variable)
        path = variable;
    const char *word = path ? doctor_word(d, span_of(path)) : "";
    if (path && access(path, F_OK) != 0 && errno == ENOENT)
        doctor_fix(d, "`fusor init -c %s` writes one; -c FILE or $FUSOR_CONFIG names another",
                   word);
    else
        doctor_fix(d, "put right what is named there, then: fusor config check%s%s",
                   path ? " " : "", word);
}

static void check_config(struct doctor *d)
{
    struct err e = {0};
    struct config *c = d->config = config_load(d->file, &e);
    if (!c) {
        doctor_add(d, DOCTOR_BAD, "configuration", "%s", e.msg);
        fix_config(d);
        return;
    }
    bool file = !span_eq(c->source, SPAN("(defaults)"));
    doctor_add(d, DOCTOR_OK, "configuration", "%.*s: %zu provider%s, %zu model%s, %zu recipe%s",
               SPAN_ARG(file ? c->source : SPAN("no file, so the defaults")), c->n_providers,
               c->n_providers == 1 ? "" : "s", c->n_models, c->n_models == 1 ? "" : "s",
               c->n_recipes, c->n_recipes == 1 ? "" : "s");
}

static void check_all(struct doctor *d)
{
    check_config(d);
    if (!d->config) {
        doctor_runtime(d);
        doctor_machine(d);
        return;
    }
    doctor_state_dir(d);
    doctor_server(d);
    doctor_listen(d);
    doctor_files(d);
    doctor_machine(d);
    doctor_providers(d);
    doctor_recipes(d);
}

static int run(int argc, char **argv)
{
    struct doctor d = {0};
    const char *rest[1];
    size_t n_rest;
    const struct cli_option options[] = {{"--config", 'c', &d.file, NULL},
                                         {"--json", 0, NULL, &d.json_},
                                         {"--offline", 0, NULL, &d.offline}};
    int rc = cli_parse(&cli_doctor, argc, argv, options, COUNT_OF(options), rest, 0, &n_rest);
    if (rc >= 0)
        return rc;
    d.arena = arena_new(0);
    report_init(&d);
    if (d.arena)
        check_all(&d);
    if (!d.arena || !report_end(&d))
        (void)err_set(&d.err_, ERR_NOMEM, "out of memory");
    rc = d.err_.cls != ERR_NONE     ? cli_fail(&d.err_)
         : !d.config                ? EXIT_CONFIG
         : d.count_[DOCTOR_BAD] > 0 ? EXIT_FAILED
                                    : EXIT_DONE;
    done(&d);
    return rc;
}

const struct cli_command cli_doctor = {
    "doctor", "find what is wrong and say how to put it right",
    "usage: fusor doctor [--json] [--offline] [-c FILE]\n\n"
    "Checks the configuration, the state directory, the running server if there is one, the "
    "address to\n"
    "listen on, certificates, key files, the embedded model runtime, every provider with its key, "
    "the\n"
    "models and the recipes. Changes nothing, and asks no model: a provider is asked for its list "
    "of\n"
    "models only. Each line is ok, warn or bad, with what to do below it.\n\n"
    "Exit code 0: no problem (there may be warnings); 1: at least one; 3: the configuration is "
    "wrong.\n\n"
    "  -c, --config FILE  configuration (else $FUSOR_CONFIG, ./fusor.yaml, "
    "~/.config/fusor/fusor.yaml)\n"
    "      --json         {\"checks\": [{\"name\", \"status\", \"message\", \"fix\"}], \"ok\": N,\n"
    "                     \"warnings\": N, \"problems\": N}; fix is null where there is nothing to "
    "do\n"
    "      --offline      do not call providers\n\n"
    "example:\n"
    "  fusor doctor\n",
    run};
