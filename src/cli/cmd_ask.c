/* cli/cmd_ask.c - fusor ask: one prompt, one answer on stdout, what it took on stderr. */
#include <signal.h>
#include <unistd.h>
#include <uv.h>

#include "cli/ask_args.h"
#include "cli/printer.h"

struct ask {
    struct session *session;
    struct printer *printer;
    struct chat_call *call; /* NULL after its last event */
    bool cancelled;
    uv_signal_t interrupt, terminate; /* on the session's loop, which closes them */
};

static void on_done(void *ctx)
{
    struct ask *a = ctx;
    a->call = NULL;
    loop_stop(session_loop(a->session));
}

static void on_signal(uv_signal_t *h, int signum)
{
    struct ask *a = h->data;
    struct chat_usage used = {.cost_nusd = -1};
    loop_stop(session_loop(a->session));
    if (!a->call)
        return;
    chat_cancel(a->call, &used);
    a->call = NULL;
    a->cancelled = true;
    printer_cancelled(a->printer, &used);
}

static bool watch(struct ask *a, uv_signal_t *h, int signum, struct err *e)
{
    h->data = a;
    int rc = uv_signal_init(loop_uv(session_loop(a->session)), h);
    if (rc == 0)
        rc = uv_signal_start_oneshot(h, on_signal, signum);
    return rc == 0 || err_set(e, ERR_SYS, "cannot watch signal %d: %s", signum, uv_strerror(rc));
}

static struct printer *open_printer(struct ask *a, const struct ask_args *args, struct err *e)
{
    const struct printer_options o = {.json = args->json,
                                      .raw = args->raw,
                                      .trace = args->trace,
                                      .recipe = session_is_recipe(a->session),
                                      .model = session_request(a->session)->model};
    a->printer = printer_new(&o, session_loop(a->session), on_done, a);
    if (!a->printer)
        (void)err_set(e, ERR_NOMEM, "out of memory");
    return a->printer;
}

static bool start(struct ask *a, const struct ask_args *args, struct err *e)
{
    a->session = session_open(&args->options, e);
    if (!a->session || !open_printer(a, args, e) || !watch(a, &a->interrupt, SIGINT, e) ||
        !watch(a, &a->terminate, SIGTERM, e))
        return false;
    a->call = session_start(a->session, printer_sink(a->printer), e);
    return a->call != NULL;
}

static int ask(const struct ask_args *args)
{
    struct ask a = {0};
    struct err e = {0};
    int rc = EXIT_DONE;
    if (!start(&a, args, &e)) {
        rc = cli_fail(&e);
    } else {
        loop_run(session_loop(a.session));
        if (a.cancelled)
            rc = EXIT_FAILED;
        else if (printer_error(a.printer)->cls != ERR_NONE)
            rc = cli_fail(printer_error(a.printer));
    }
    printer_free(a.printer);
    session_free(a.session);
    return rc;
}

static int run(int argc, char **argv)
{
    struct ask_args args;
    int rc = ask_args_parse(&cli_ask, argc, argv, &args);
    if (rc < 0 && args.raw && isatty(STDOUT_FILENO))
        rc = cli_usage(&cli_ask, "--raw is for a pipe or a file: raw bytes of a model can take a "
                                 "terminal over");
    if (rc < 0)
        rc = ask(&args);
    ask_args_done(&args);
    return rc;
}

const struct cli_command cli_ask = {
    "ask", "ask a model or a recipe and print the answer",
    "usage: fusor ask [OPTIONS] [PROMPT|-]\n\n"
    "Sends the prompt (of the command line, else of stdin) and prints the answer on stdout as it\n"
    "is written; progress and what each call used and cost on stderr. Uses the running server of\n"
    "this state directory, or $FUSOR_URL with $FUSOR_KEY, else does the work itself. Ctrl-C "
    "closes\n"
    "every upstream call and says what they cost.\n\n" ASK_ARGS_HELP "\noutput:\n"
    "      --json           one chat completion object instead of the text\n"
    "      --raw            bytes as the model wrote them (not on a terminal)\n"
    "      --trace          also seed, plan, reasons and notes\n\n"
    "exit code: 0 answered, 1 failed, 2 usage, 3 configuration, 4 refused by budget or policy\n\n"
    "example:\n"
    "  fusor ask --mode vote \"How many legs do three spiders have?\"\n",
    run};
