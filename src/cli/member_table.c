/* cli/member_table.c - see cli/member_table.h. */
#include "cli/member_table.h"

#include "base/arena.h"
#include "base/text.h"
#include "cli/cli.h"

void member_line(const struct chat_member *m, char *out, size_t cap)
{
    char model[64], took[32];
    text_visible_cstr(model, sizeof model, m->model);
    int n = snprintf(out, cap, "%-8.*s %-24s %-10s", SPAN_ARG(m->label), model,
                     chat_member_state_name(m->state));
    if (n < 0 || (size_t)n >= cap)
        return;
    size_t at = (size_t)n;
    if (m->state == CHAT_MEMBER_STREAMING)
        (void)snprintf(out + at, cap - at, " %llu bytes", (unsigned long long)m->bytes);
    else if (m->total_us >= 0)
        (void)snprintf(out + at, cap - at, " %s%s%s", cli_ms(m->total_us, took, sizeof took),
                       m->reason ? "  " : "", m->reason ? m->reason : "");
}

#define COLUMNS 8

static const char *tokens(struct arena *a, int64_t n, bool estimated)
{
    return arena_printf(a, "%s%lld", estimated ? "~" : "", (long long)n).p;
}

static void fill_row(struct arena *a, const char **row, const struct chat_member *m)
{
    char text[40];
    row[0] = arena_dup(a, m->label).p;
    row[1] = arena_dup(a, m->model).p;
    row[2] = chat_member_state_name(m->state);
    row[3] = tokens(a, m->usage.input, m->usage.estimated);
    row[4] = tokens(a, m->usage.output, m->usage.estimated);
    row[5] = arena_dup(a, span_of(cli_ms(m->ttft_us, text, sizeof text))).p;
    row[6] = arena_dup(a, span_of(cli_ms(m->total_us, text, sizeof text))).p;
    row[7] = arena_dup(a, span_of(cli_usd(m->usage.cost_nusd, text, sizeof text))).p;
}

static void fill_total(struct arena *a, const char **row, const struct member_total *t)
{
    char text[40];
    row[0] = "all";
    row[1] = row[2] = row[5] = "";
    row[3] = tokens(a, t->usage.input, t->usage.estimated);
    row[4] = tokens(a, t->usage.output, t->usage.estimated);
    row[6] = arena_dup(a, span_of(cli_ms(t->total_us, text, sizeof text))).p;
    row[7] = arena_dup(a, span_of(cli_usd(t->usage.cost_nusd, text, sizeof text))).p;
}

static void print_reasons(FILE *f, const struct chat_member *m, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char detail[240];
        if (!m[i].reason)
            continue;
        text_visible_cstr(detail, sizeof detail, m[i].detail);
        (void)fprintf(f, "%.*s: %s%s%s\n", SPAN_ARG(m[i].label), m[i].reason, detail[0] ? ": " : "",
                      detail);
    }
}

void member_table(FILE *f, const struct chat_fusion_report *r, const struct member_total *total,
                  bool why)
{
    static const char *const head[COLUMNS] = {"LABEL",      "MODEL", "STATE", "TOKENS IN",
                                              "TOKENS OUT", "FIRST", "TOTAL", "COST"};
    AUTO(arena) a = arena_new(0);
    size_t rows = 2 + r->n_members + r->n_judges;
    const char **cells = a ? arena_array(a, rows * COLUMNS, sizeof *cells) : NULL;
    if (!cells)
        return;
    memcpy(cells, head, sizeof head);
    const char **row = cells + COLUMNS;
    for (size_t i = 0; i < r->n_members; i++, row += COLUMNS)
        fill_row(a, row, &r->members[i]);
    for (size_t i = 0; i < r->n_judges; i++, row += COLUMNS)
        fill_row(a, row, &r->judges[i]);
    fill_total(a, row, total);
    for (size_t i = 0; i < rows * COLUMNS; i++)
        if (!cells[i])
            return;
    cli_table(f, cells, COLUMNS, rows);
    if (!why)
        return;
    print_reasons(f, r->members, r->n_members);
    print_reasons(f, r->judges, r->n_judges);
}

void member_total(FILE *f, struct span model, const struct member_total *t)
{
    char name[64], took[32], usd[40];
    text_visible_cstr(name, sizeof name, model);
    (void)fprintf(f, "%s: %s%lld tokens in, %lld out, %s, %s\n", name,
                  t->usage.estimated ? "about " : "", (long long)t->usage.input,
                  (long long)t->usage.output, cli_ms(t->total_us, took, sizeof took),
                  cli_usd(t->usage.cost_nusd, usd, sizeof usd));
}
