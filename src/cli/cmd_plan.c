/* cli/cmd_plan.c - fusor plan: what a fusion would do and cost at most, without a call. */
#include "base/limits.h"
#include "cli/ask_args.h"
#include "json/json.h"

#define COLUMNS 4

static const char *text(struct arena *a, json_val *v)
{
    return arena_dup(a, json_str(v)).p;
}

/* "$0.0012" of a number of USD as it stands in the plan; null is unknown. */
static const char *usd(struct arena *a, json_val *v)
{
    struct span n = json_num_text(v);
    return n.p ? arena_printf(a, "$%.*s", SPAN_ARG(n)).p : "unknown";
}

static const char **fill(struct arena *a, const char **row, json_val *calls)
{
    struct json_iter it = json_iter_of(calls);
    json_val *call;
    for (; json_next(&it, NULL, &call); row += COLUMNS) {
        struct span tokens = json_num_text(json_get(call, "max_tokens"));
        row[0] = text(a, json_get(call, "label"));
        row[1] = text(a, json_get(call, "model"));
        row[2] = tokens.p ? arena_dup(a, tokens).p : "-";
        row[3] = usd(a, json_get(call, "worst_cost_usd"));
    }
    return row;
}

static bool print_calls(struct arena *a, json_val *plan)
{
    static const char *const head[COLUMNS] = {"LABEL", "MODEL", "MAX TOKENS", "COST AT MOST"};
    json_val *members = json_get(plan, "members"), *judges = json_get(plan, "judge");
    size_t rows = 1 + json_count(members) + json_count(judges);
    const char **cells = arena_array(a, rows * COLUMNS, sizeof *cells);
    if (!cells)
        return false;
    memcpy(cells, head, sizeof head);
    (void)fill(a, fill(a, cells + COLUMNS, members), judges);
    for (size_t i = 0; i < rows * COLUMNS; i++)
        if (!cells[i])
            return false;
    cli_table(stdout, cells, COLUMNS, rows);
    return true;
}

static void print_sum(struct arena *a, json_val *plan)
{
    json_val *ms = json_get(plan, "expected_ms");
    struct span cap = json_num_text(json_get(plan, "max_cost_usd"));
    (void)printf("\nmode %.*s, at most %s", SPAN_ARG(json_str(json_get(plan, "mode"))),
                 usd(a, json_get(plan, "worst_cost_usd")));
    if (json_is_num(json_get(plan, "expected_cost_usd")))
        (void)printf(", about %s expected", usd(a, json_get(plan, "expected_cost_usd")));
    if (json_is_num(ms))
        (void)printf(", about %.*s ms", SPAN_ARG(json_num_text(ms)));
    (void)printf("\n");
    if (!json_is_num(json_get(plan, "worst_cost_usd")))
        (void)printf("the most is unknown where a call has no token limit (--max-tokens sets one) "
                     "or no price\n");
    struct json_iter it = json_iter_of(json_get(plan, "warnings"));
    json_val *w;
    while (json_next(&it, NULL, &w))
        (void)fprintf(stderr, "warning: %.*s\n", SPAN_ARG(json_str(w)));
    if (!json_true(json_get(plan, "fits")))
        (void)fprintf(stderr,
                      "fusor: the worst case is over the limit of $%.*s: it would be "
                      "refused\n",
                      SPAN_ARG(cap));
}

static int print(struct arena *a, struct span json, bool as_json)
{
    struct err e = {0};
    json_val *plan;
    if (!json_parse(a, json, &plan, &e))
        return cli_fail(&e);
    if (as_json) {
        (void)printf("%.*s\n", SPAN_ARG(json));
    } else if (print_calls(a, plan)) {
        print_sum(a, plan);
    } else {
        (void)err_set(&e, ERR_NOMEM, "out of memory");
        return cli_fail(&e);
    }
    return json_true(json_get(plan, "fits")) ? EXIT_DONE : EXIT_REFUSED;
}

static int plan(const struct ask_args *args)
{
    struct err e = {0};
    struct buf out;
    AUTO(session) s = session_open(&args->options, &e);
    if (!s)
        return cli_fail(&e);
    buf_init(&out, LIMIT_ANSWER_BYTES);
    int rc = session_plan(s, &out, &e) ? print(session_arena(s), buf_span(&out), args->json)
                                       : cli_fail(&e);
    buf_done(&out);
    return rc;
}

static int run(int argc, char **argv)
{
    struct ask_args args;
    int rc = ask_args_parse(&cli_plan, argc, argv, &args);
    if (rc < 0)
        rc = plan(&args);
    ask_args_done(&args);
    return rc;
}

const struct cli_command cli_plan = {
    "plan", "say what a fusion would call and cost at most, without calling",
    "usage: fusor plan [OPTIONS] [PROMPT|-]\n\n"
    "Names every call that a recipe may make for the prompt, its token limit and the most it can\n"
    "cost at the configured prices. Calls nobody. Exit code 4 when the worst case is over\n"
    "--max-cost.\n\n" ASK_ARGS_HELP "\noutput:\n"
    "      --json           the plan as JSON\n\n"
    "example:\n"
    "  fusor plan --panel a/x,b/y --max-cost 0.02 \"Summarise the attached minutes\"\n",
    run};
