/* tests/unit/test_fusion_sim.c - thousands of random fusions on virtual time, and what must hold in
 * each.
 *
 * A schedule is a pure function of its seed: members that answer, fail, refuse, are cut, hang or
 * never start; judges that write, decide, babble or break; clients that leave or sleep. The failing
 * seed is printed; FUSOR_SIM_SEED runs that one alone. FUSOR_SIM_RUNS sets how many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "fusion_rig.h"

#define RUNS 10000

/* Everything random of one run, decided before it begins. */
struct sim {
    uint64_t seed;
    struct rng rng;
    struct rig *rig;
    struct latency *latency;
    size_t members, judges;
    bool slow_client; /* pauses, but does not leave */
    /* what came of it, to compare two runs of one seed */
    char outcome[1024];
};

static uint64_t below(struct sim *s, uint64_t n)
{
    return rng_below(&s->rng, n);
}

static bool chance(struct sim *s, unsigned percent)
{
    return below(s, 100) < percent;
}

static const char *const texts[] = {
    "The answer is (A).",
    "**Answer: B**",
    "\\boxed{A}",
    "42",
    "The sky is blue because of air.",
    "{\"a\": 1}",
    "Air scatters blue light.\n\n[end A] {\"best\": \"A\"}",
    "  B \n",
    "\xC3\xA9t\xC3\xA9",
};

static void random_error(struct sim *s, struct script *out)
{
    static const enum err_class classes[] = {ERR_BUSY,    ERR_BUDGET, ERR_TIMEOUT, ERR_UPSTREAM,
                                             ERR_CONNECT, ERR_CUT,    ERR_INPUT,   ERR_AUTH};
    out->err = lab_error(classes[below(s, COUNT_OF(classes))], "made to fail");
    out->err.sent = (enum err_sent)below(s, 4);
    out->err.retry_after_ms = chance(s, 50) ? (int64_t)below(s, 10000) : -1;
}

/* Anything that a model may do. */
static void random_script(struct sim *s, struct script *out)
{
    *out = (struct script){.text = span_of(texts[below(s, COUNT_OF(texts))]),
                           .chunk = below(s, 6),
                           .first_us = (int64_t)below(s, 300000),
                           .every_us = (int64_t)below(s, 20000),
                           .end_us = (int64_t)below(s, 20000)};
    out->usage = (struct chat_usage){.input = (int64_t)below(s, 100),
                                     .output = (int64_t)below(s, 100),
                                     .cost_nusd = (int64_t)below(s, 1000000)};
    switch (below(s, 14)) {
    case 0:
        random_error(s, out);
        break;
    case 1:
        random_error(s, out);
        out->text = SPAN("");
        break;
    case 2:
        random_error(s, out);
        out->no_start = true;
        break;
    case 3:
        out->text = SPAN("");
        break;
    case 4:
        out->refusal = SPAN("I will not");
        out->finish = CHAT_FINISH_REFUSAL;
        break;
    case 5:
        out->finish = CHAT_FINISH_LENGTH;
        break;
    case 6:
        out->text = SPAN("\xff");
        break;
    case 7:
        out->hang = true;
        break;
    case 8:
        out->reasoning = SPAN("secret thoughts");
        break;
    case 9:
        out->finish = CHAT_FINISH_CONTENT_FILTER;
        break;
    default:
        break;
    }
}

/* --- judges: a verdict over the labels they were shown, or anything else
 * ----------------------------- */

struct sim_judge {
    struct reader reader;
    int manner;
    char reply[512];
};

static void judge_answer(struct scripted *m, const struct chat_request *r, struct script *out)
{
    struct sim_judge *j = m->ctx;
    size_t at;
    if (span_index(scripted_prompt(m), SPAN("\"scores\"")) == scripted_prompt(m).n)
        return; /* asked to write: the script says what */
    reader_read(&j->reader, scripted_prompt(m));
    if (j->manner == 0 || j->reader.n == 0)
        return; /* asked to decide, says anything */
    at = (size_t)snprintf(j->reply, sizeof j->reply, "{\"scores\":{");
    for (size_t i = 0; i < j->reader.n; i++)
        at += (size_t)snprintf(j->reply + at, sizeof j->reply - at, "%s\"%c\":%d", i ? "," : "",
                               j->reader.label[i],
                               j->manner == 1 ? 5 : (j->reader.label[i] - 'A') % 11);
    snprintf(j->reply + at, sizeof j->reply - at, "},\"best\":\"%c\"}",
             j->manner == 3 ? 'Z' : j->reader.label[j->manner == 1 ? 0 : j->reader.n - 1]);
    out->text = span_of(j->reply);
}

/* --- a run
 * ------------------------------------------------------------------------------------------- */

static char names[LAB_MODELS][32];
static struct sim_judge judge_state[4];

static void random_recipe(struct sim *s)
{
    struct recipe *r = &s->rig->lab.recipe;
    r->mode = (enum fusion_mode)below(s, 3);
    r->seed = (int64_t)below(s, 1000);
    r->grace_us = chance(s, 50) ? -1 : (int64_t)below(s, 200000);
    r->timeout_us = chance(s, 70) ? 200000 + (int64_t)below(s, 1000000) : 2000000;
    r->answer = chance(s, 50) ? FUSION_ANSWER_AUTO : FUSION_ANSWER_CHOICE;
    r->judge_from_request = chance(s, 30);
    if (chance(s, 40))
        r->quorum = 1 + (int64_t)below(s, s->members);
}

static void random_models(struct sim *s)
{
    struct lab *l = &s->rig->lab;
    s->members = 1 + below(s, 6);
    s->judges = below(s, 4);
    for (size_t i = 0; i < s->members + s->judges; i++) {
        bool judge = i >= s->members;
        snprintf(names[i], sizeof names[i], "%c/%zu", judge ? 'j' : 'm', i);
        struct scripted *m = judge ? lab_judge(l, names[i], "", 0) : lab_member(l, names[i], "", 0);
        m->n_scripts = judge || i == 0 ? COUNT_OF(m->scripts) : 1;
        for (size_t k = 0; k < m->n_scripts; k++)
            random_script(s, &m->scripts[k]);
        if (chance(s, 30))
            m->latency = s->latency;
        if (!judge) {
            l->recipe.panel[i].weight = 1 + (double)below(s, 3) / 2;
            continue;
        }
        judge_state[i - s->members] = (struct sim_judge){.manner = (int)below(s, 4)};
        m->answer = judge_answer;
        m->ctx = &judge_state[i - s->members];
    }
}

static void random_client(struct sim *s)
{
    struct client *c = &s->rig->client;
    if (chance(s, 15)) {
        client_leave_after(c, (int64_t)below(s, 600000));
    } else if (chance(s, 10)) {
        c->cancel_at = 1 + below(s, 20);
    } else if (chance(s, 20)) {
        c->pause_at = 1 + below(s, 10);
        c->pause_us = (int64_t)below(s, 3000000);
    }
}

/* --- what must hold
 * ---------------------------------------------------------------------------------- */

static int64_t all_billed(const struct lab *l)
{
    int64_t sum = 0;
    for (size_t i = 0; i < l->n; i++)
        sum += l->models[i].billed_nusd;
    return sum;
}

static void check_quorum(const struct sim *s, const struct chat_fusion_report *r)
{
    int64_t usable = 0, stragglers = 0;
    int64_t want = s->rig->lab.recipe.quorum;
    if (want == 0)
        want = (int64_t)(s->members <= 2 ? s->members : s->members - 1);
    for (size_t i = 0; i < r->n_members; i++) {
        usable += r->members[i].state == CHAT_MEMBER_OK;
        stragglers += r->members[i].state == CHAT_MEMBER_ABANDONED;
        assert_int_not_equal(r->members[i].state, CHAT_MEMBER_WAITING);
        assert_int_not_equal(r->members[i].state, CHAT_MEMBER_STREAMING);
        assert_true(r->members[i].total_us >= 0);
    }
    /* Nobody is left behind before the quorum is there. */
    if (stragglers > 0)
        assert_true(usable >= want);
}

static void check_winner(const struct sim *s)
{
    const struct client *c = &s->rig->client;
    bool found = false;
    if (c->finish == CHAT_FINISH_REFUSAL || c->finish == CHAT_FINISH_CONTENT_FILTER)
        return;
    for (size_t i = 0; i < s->members; i++)
        found = found || span_eq(client_text(c), s->rig->lab.models[i].scripts[0].text);
    if (!found)
        fail_msg("the answer '%.*s' is no member's", SPAN_ARG(client_text(c)));
}

static void check_run(struct sim *s)
{
    const struct client *c = &s->rig->client;
    const struct lab *l = &s->rig->lab;
    assert_int_equal(lab_running(l), 0);
    assert_true(c->gone + c->ended == 1);
    assert_int_equal(c->usage.cost_nusd, all_billed(l));
    if (c->gone)
        return;
    rig_check_costs(s->rig);
    check_quorum(s, &c->report);
    assert_true(span_index(client_text(c), SPAN("secret")) == client_text(c).n);
    if (c->failed) {
        assert_true(c->err.cls != ERR_NONE && c->err.msg[0] != '\0');
        assert_int_equal(c->err.sent == SENT_DELIVERED, c->started);
        return;
    }
    assert_true(client_text(c).n + c->refusal.n > 0);
    if (l->recipe.mode != FUSION_MERGE || c->report.n_judges == 0)
        check_winner(s);
}

static void note_outcome(struct sim *s)
{
    const struct client *c = &s->rig->client;
    snprintf(s->outcome, sizeof s->outcome, "%.*s|%.*s|%d %d %d %s|%lld|%lld|%s",
             SPAN_ARG(client_text(c)), (int)c->log.n, c->log.mem ? c->log.mem + c->log.start : "",
             c->gone, c->failed, c->finish, c->failed ? c->err.msg : "",
             (long long)c->usage.cost_nusd, (long long)(c->ended_us - c->began_us),
             c->ended && c->report.degraded ? c->report.degraded : "");
}

static void run_once(struct sim *s)
{
    s->rig = rig_new();
    rng_init(&s->rng, s->seed);
    random_models(s);
    random_recipe(s);
    random_client(s);
    if (!client_run(&s->rig->client, &s->rig->req)) {
        assert_int_equal(s->rig->client.log.n, 0); /* no event when it did not begin */
        assert_int_equal(all_billed(&s->rig->lab), 0);
        assert_int_equal(lab_running(&s->rig->lab), 0);
    } else {
        check_run(s);
    }
    note_outcome(s);
    rig_done(s->rig);
}

static uint64_t env_number(const char *name, uint64_t otherwise)
{
    int64_t n;
    const char *text = getenv(name);
    return text && span_to_i64(span_of(text), &n) ? (uint64_t)n : otherwise;
}

static uint64_t seed_now; /* cmocka leaves a failing test by longjmp: the group's end prints it */

static void test_random_schedules(void **state)
{
    uint64_t only = env_number("FUSOR_SIM_SEED", 0), runs = env_number("FUSOR_SIM_RUNS", RUNS);
    AUTO(latency) l = latency_new();
    for (int i = 0; i < 60; i++)
        latency_record(l, 50000 + i * 4000);
    for (uint64_t i = 1; i <= (only ? 1 : runs); i++) {
        static struct sim s, again;
        seed_now = only ? only : i;
        s = again = (struct sim){.seed = seed_now, .latency = l};
        run_once(&s);
        if (seed_now % 8 != 0 && !only)
            continue;
        run_once(&again); /* the same seed, the same bytes, the same time */
        assert_string_equal(s.outcome, again.outcome);
        if (only)
            print_message("%s\n", s.outcome);
    }
    seed_now = 0;
}

static int after_test(void **state)
{
    if (seed_now != 0)
        print_message("failing seed: FUSOR_SIM_SEED=%llu\n", (unsigned long long)seed_now);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_random_schedules, after_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
