/* tests/unit/fusion_rig.c - see fusion_rig.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fusion_rig.h"

#include "base/mem.h"

struct rig *rig_new(void)
{
    struct rig *g = mem_zalloc(sizeof *g);
    assert_non_null(g);
    lab_init(&g->lab, 1);
    g->lab.recipe.seed = 7;
    client_init(&g->client, &g->lab);
    g->req = ask("Why is the sky blue?");
    return g;
}

void rig_done(struct rig *g)
{
    assert_int_equal(lab_running(&g->lab), 0);
    client_done(&g->client);
    lab_done(&g->lab);
    mem_free(g);
}

bool rig_run(struct rig *g)
{
    return client_run(&g->client, &g->req);
}

void rig_check_text(const struct rig *g, const char *want)
{
    struct span got = client_text(&g->client);
    if (!span_eq(got, span_of(want)))
        fail_msg("got '%.*s', want '%s' (degraded %s: %s, error %s)", SPAN_ARG(got), want,
                 g->client.report.degraded ? g->client.report.degraded : "-",
                 g->client.degraded_why, g->client.err.msg);
    assert_true(g->client.ended && !g->client.failed);
}

void rig_check_costs(const struct rig *g)
{
    const struct chat_fusion_report *r = &g->client.report;
    int64_t sum = 0, billed = 0;
    for (size_t i = 0; i < r->n_members; i++)
        sum += r->members[i].usage.cost_nusd;
    for (size_t i = 0; i < r->n_judges; i++)
        sum += r->judges[i].usage.cost_nusd;
    for (size_t i = 0; i < g->lab.n; i++)
        billed += g->lab.models[i].billed_nusd;
    assert_int_equal(sum, g->client.usage.cost_nusd);
    assert_int_equal(sum, billed);
}

void script_error(struct scripted *m, enum err_class cls, const char *msg)
{
    m->scripts[0].err = lab_error(cls, msg);
    m->scripts[0].text = SPAN("");
}

char rig_label(const struct rig *g, size_t i)
{
    return g->client.labels[i];
}

enum chat_member_state rig_state(const struct rig *g, size_t i)
{
    return g->client.report.members[i].state;
}

/* --- a judge that prefers the answer with a given text: it reads the fences as it was told
 * --------- */

struct span scripted_prompt(const struct scripted *m)
{
    return buf_span(&m->asked);
}

struct span rig_code(struct span prompt)
{
    struct span word = SPAN("Lines with the code ");
    struct span s = span_from(prompt, span_rindex(prompt, word) + word.n);
    return span_upto(s, 16);
}

void reader_read(struct reader *r, struct span prompt)
{
    char open[64], close[64];
    struct span nonce = rig_code(prompt), rest = prompt;
    size_t out = 0;
    r->n = 0;
    r->best = 0;
    while (rest.n > 0) {
        struct span line = span_upto(rest, span_find(rest, "\n"));
        snprintf(open, sizeof open, " %.*s]", SPAN_ARG(nonce));
        if (span_starts(line, SPAN("[begin ")) && span_ends(line, span_of(open))) {
            char label = line.p[7];
            snprintf(close, sizeof close, "\n[end %c %.*s]", label, SPAN_ARG(nonce));
            size_t end = span_index(rest, span_of(close));
            assert_true(end < rest.n);
            struct span text = span_from(span_upto(rest, end), line.n + 1);
            r->label[r->n++] = label;
            if (r->wants && span_index(text, span_of(r->wants)) < text.n)
                r->best = label;
            rest = span_from(rest, end + strlen(close));
            continue;
        }
        size_t take = line.n < rest.n ? line.n + 1 : line.n;
        assert_true(out + take < sizeof r->outside_mem);
        memcpy(r->outside_mem + out, rest.p, take);
        out += take;
        rest = span_from(rest, take);
    }
    r->outside = span_make(r->outside_mem, out);
    if (r->by_place || r->best == 0)
        r->best = r->label[0];
}

static void write_verdict(struct reader *r, struct script *out)
{
    size_t at = (size_t)snprintf(r->reply, sizeof r->reply, "{\"scores\": {");
    for (size_t i = 0; i < r->n; i++)
        at += (size_t)snprintf(r->reply + at, sizeof r->reply - at, "%s\"%c\": %d",
                               i > 0 ? ", " : "", r->label[i],
                               r->label[i] == r->best ? 8
                               : r->close             ? 7
                                                      : 3);
    snprintf(r->reply + at, sizeof r->reply - at, "}, \"best\": \"%c\"}", r->best);
    out->text = span_of(r->reply);
}

static void fair_judge(struct scripted *m, const struct chat_request *r, struct script *out)
{
    struct reader *reader = m->ctx;
    reader_read(reader, scripted_prompt(m));
    write_verdict(reader, out);
}

struct scripted *rig_fair_judge(struct rig *g, const char *name, struct reader *reader)
{
    struct scripted *j = lab_judge(&g->lab, name, "", 40);
    j->answer = fair_judge;
    j->ctx = reader;
    return j;
}
