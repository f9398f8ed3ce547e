/* tests/unit/test_catalogue.c - the built-in catalogue is sane, finds what it should and nothing
 * else, and a slip in its text is an error at its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "config/catalogue.h"

#define USD INT64_C(1000000000)
#define DAY 20261125

/* Models whose answers cost less than their input, on purpose. */
static const char *const cheap_answers[] = {""};

static const struct catalogue *open_on(struct arena *a, int64_t day)
{
    struct catalogue *c = NULL;
    struct err e = {0};
    if (!catalogue_open(a, day, &c, &e))
        fail_msg("%s", e.msg);
    return c;
}

/* --- the data -------------------------------------------------------------------------------- */

static void check_rates(struct span id, int64_t input, int64_t cached, int64_t write,
                        int64_t output)
{
    bool listed = false;
    for (size_t i = 0; i < COUNT_OF(cheap_answers); i++)
        listed |= span_eq(id, span_of(cheap_answers[i]));
    if (input <= 0 || output <= 0 || input > 1000 * USD || output > 5000 * USD)
        fail_msg("%.*s: no price of a model", SPAN_ARG(id));
    if (output < input && !listed)
        fail_msg("%.*s: answers cost less than input", SPAN_ARG(id));
    if (cached > input || cached == 0)
        fail_msg("%.*s: cached input costs more than input, or nothing", SPAN_ARG(id));
    if (write >= 0 && (write < input || write > 3 * input))
        fail_msg("%.*s: no price of a cache write", SPAN_ARG(id));
}

static void check_model(struct span family, const struct catalogue_model *m)
{
    const struct price *p = &m->price;
    assert_true(m->id.n > 0 && family.n > 0);
    if (m->context > 0 && m->max_output > m->context)
        fail_msg("%.*s: writes more than its window", SPAN_ARG(m->id));
    if (!p->known && m->context == 0)
        fail_msg("%.*s: nothing is known of it", SPAN_ARG(m->id));
    if (p->known)
        check_rates(m->id, p->input, p->cached, p->cache_write, p->output);
    else
        assert_true(p->n_tiers == 0 && p->input == -1);
    for (size_t i = 0; i < p->n_tiers; i++) {
        const struct price_tier *t = &p->tiers[i];
        check_rates(m->id, t->input, t->cached, t->cache_write, t->output);
        if (t->input < p->input || t->output < p->output || t->above_tok >= m->context)
            fail_msg("%.*s: a tier that cannot be", SPAN_ARG(m->id));
        /* What has a price of its own keeps one: else the fallback would be the tier's input. */
        if ((t->cached < 0) != (p->cached < 0) || (t->cache_write < 0) != (p->cache_write < 0))
            fail_msg("%.*s: a tier with other parts than the base", SPAN_ARG(m->id));
    }
    if (m->caps.efforts != 0)
        assert_int_equal(m->caps.can[CAP_REASONING], CAN_YES);
    if (m->caps.can[CAP_PARALLEL_TOOLS] == CAN_YES)
        assert_int_equal(m->caps.can[CAP_TOOLS], CAN_YES);
}

/* On any day: what is announced is sane too. That every group has a source and a date, and that no
 * name stands twice in a family, is asked for by the reader. */
static void is_sane(void **state)
{
    static const int64_t days[] = {DAY, 20261201, 20270101, 20991231};
    for (size_t d = 0; d < COUNT_OF(days); d++) {
        AUTO(arena) a = arena_new(0);
        const struct catalogue *c = open_on(a, days[d]);
        const struct catalogue_model *m;
        struct span family;
        size_t n = 0;
        for (; (m = catalogue_at(c, n, &family)); n++)
            check_model(family, m);
        assert_true(n > 30);
    }
}

/* --- finding --------------------------------------------------------------------------------- */

static void finds(void **state)
{
    static const struct {
        const char *family, *host, *id;
        int64_t context, input, output;
    } cases[] = {
        {"", "api.mistral.ai", "mistral-medium-latest", 262144, 1500000000, 7500000000},
        {"", "api.mistral.ai", "mistral-medium-3", 262144, 1500000000, 7500000000},
        {"", "api.mistral.ai", "mistral-medium-3-5", 262144, 1500000000, 7500000000},
        {"", "api.eu.mistral.ai", "mistral-medium-latest", 262144, 1650000000, 8250000000},
        {"", "API.US.Mistral.ai", "mistral-medium-latest", 262144, 1650000000, 8250000000},
        {"mistral", "api.eu.mistral.ai", "mistral-medium-latest", 262144, 1650000000, 8250000000},
        {"", "api.openai.com", "gpt-5.5", 1050000, 5 * USD, 30 * USD},
        {"", "eu.api.openai.com", "gpt-5.5", 1050000, 5500000000, 33 * USD},
        {"", "api.anthropic.com", "claude-opus-4-8", 1000000, 5 * USD, 25 * USD},
        {"", "generativelanguage.googleapis.com", "gemini-3.1-pro-preview", 1048576, 2 * USD,
         12 * USD},
        {"", "generativelanguage.googleapis.com", "models/gemini-3.1-pro-preview", 1048576, 2 * USD,
         12 * USD},
        /* Somebody else's bill: the window is the model's, the price is not known. */
        {"mistral", "llm.example.com", "mistral-medium-latest", 262144, -1, -1},
        {"mistral", "api.openai.com", "mistral-medium-latest", 262144, -1, -1},
        {"mistral", "", "mistral-medium-latest", 262144, -1, -1},
        {"", "api.mistral.ai", "mistral-large-4", 1048576, -1, -1},
        /* Not in it. */
        {"", "openrouter.ai", "mistral-medium-latest", 0, 0, 0},
        {"", "", "gpt-5.5", 0, 0, 0},
        {"", "api.mistral.ai", "gpt-5.5", 0, 0, 0},
        {"", "api.openai.com", "gpt-5.5-of-tomorrow", 0, 0, 0},
        {"", "api.openai.com", "models/gpt-5.5", 0, 0, 0},
        {"", "api.openai.com.example.com", "gpt-5.5", 0, 0, 0},
        {"elsewhere", "api.openai.com", "gpt-5.5", 0, 0, 0},
    };
    AUTO(arena) a = arena_new(0);
    const struct catalogue *c = open_on(a, DAY);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct catalogue_model m = {.context = -1};
        bool found = catalogue_find(c, span_of(cases[i].family), span_of(cases[i].host),
                                    span_of(cases[i].id), &m);
        if (found != (cases[i].context > 0))
            fail_msg("%s at %s: found %d", cases[i].id, cases[i].host, found);
        if (!found)
            continue;
        if (m.context != cases[i].context || m.price.input != cases[i].input ||
            m.price.output != cases[i].output || m.price.known != (cases[i].input >= 0))
            fail_msg("%s at %s: %lld, %lld and %lld", cases[i].id, cases[i].host,
                     (long long)m.context, (long long)m.price.input, (long long)m.price.output);
    }
    struct catalogue_model m;
    assert_false(catalogue_find(NULL, SPAN("openai"), SPAN("api.openai.com"), SPAN("gpt-5.5"), &m));
    assert_null(catalogue_host_find(NULL, SPAN("api.openai.com")));
    assert_true(catalogue_host_find(c, SPAN("api.mistral.ai"))->bills_on);
    assert_false(catalogue_host_find(c, SPAN("api.openai.com"))->bills_on);
}

static void today_is_a_day(void **state)
{
    time_t now = time(NULL);
    struct tm day;
    char text[16];
    assert_non_null(gmtime_r(&now, &day));
    strftime(text, sizeof text, "%Y%m%d", &day);
    assert_int_equal(catalogue_today(), strtoll(text, NULL, 10));
}

/* --- in a configuration ---------------------------------------------------------------------- */

#define KNOWN                                                                                      \
    "providers:\n"                                                                                 \
    "  m: {kind: openai, base_url: 'https://api.mistral.ai/v1'}\n"                                 \
    "  eu: {kind: openai, base_url: 'https://api.eu.mistral.ai:443/v1', cancel: stops}\n"          \
    "  flat: {kind: openai, base_url: 'https://api.mistral.ai/v1', region: fr, price: free}\n"     \
    "  or: {kind: openai, base_url: 'https://openrouter.ai/api/v1'}\n"                             \
    "  own: {kind: openai, base_url: 'unix:/run/api.mistral.ai:/v1'}\n"                            \
    "  m2: {kind: openai, base_url: 'https://API.MISTRAL.AI/v1'}\n"

static struct config *parse(const char *text)
{
    struct err e = {0};
    setenv("HOME", "/home/u", 1);
    struct config *c = config_parse(span_of(text), "f.yaml", &e);
    if (!c)
        fail_msg("%s", e.msg);
    return c;
}

static void takes_the_catalogue(void **state)
{
    static const struct {
        const char *name;
        int64_t context, max_output, default_max_tokens, input, output;
        enum config_can images;
    } cases[] = {
        {"plain", 262144, 0, 8192, 1500000000, 7500000000, CAN_YES},
        {"m/mistral-medium-3", 262144, 0, 8192, 1500000000, 7500000000, CAN_YES},
        {"eu/mistral-medium-3", 262144, 0, 8192, 1650000000, 8250000000, CAN_YES},
        {"flat/mistral-medium-3", 262144, 0, 8192, 0, 0, CAN_YES},
        {"or/mistral-medium-3", 0, 0, 8192, -1, -1, CAN_UNKNOWN},
        {"own/mistral-medium-3", 0, 0, 8192, -1, -1, CAN_UNKNOWN},
        {"m/mistral-of-tomorrow", 0, 0, 8192, -1, -1, CAN_UNKNOWN},
        /* What the file says goes before, field by field. */
        {"windowed", 1000, 500, 500, 1500000000, 7500000000, CAN_YES},
        {"priced", 262144, 0, 8192, 1000000000, 2000000000, CAN_YES},
        {"blind", 262144, 0, 9000, 1500000000, 7500000000, CAN_NO},
    };
    AUTO(config)
    c = parse(KNOWN
              "models:\n"
              "  plain: {provider: m, id: mistral-medium-latest}\n"
              "  windowed: {provider: m2, id: mistral-medium-3, context: 1000, max_output: 500}\n"
              "  priced: {provider: m2, id: mistral-medium-3, price: {input: 1, output: 2}}\n"
              "  blind: {provider: m2, id: mistral-medium-3, capabilities: {images: false},\n"
              "    default_max_tokens: 9000}\n");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct config_model implied;
        const struct config_model *m = config_model_find(c, span_of(cases[i].name), &implied);
        if (!m || m->context != cases[i].context || m->max_output != cases[i].max_output ||
            m->default_max_tokens != cases[i].default_max_tokens ||
            m->price.input != cases[i].input || m->price.output != cases[i].output ||
            m->price.known != (cases[i].input >= 0) || m->caps.can[CAP_IMAGES] != cases[i].images)
            fail_msg("%s", cases[i].name);
    }
    /* A price of the file is the whole price, a capability of it is that one. */
    assert_int_equal(config_model_find(c, SPAN("priced"), NULL)->price.cached, -1);
    assert_int_equal(config_model_find(c, SPAN("blind"), NULL)->caps.can[CAP_TOOLS], CAN_YES);
    const struct config_provider *p = config_provider_find(c, SPAN("m"));
    assert_true(p->region.n == 0 && p->cancel_bills_on);
    p = config_provider_find(c, SPAN("eu"));
    assert_true(span_eq(p->region, SPAN("eu")) && !p->cancel_bills_on);
    assert_true(span_eq(config_provider_find(c, SPAN("flat"))->region, SPAN("fr")));
    assert_false(config_provider_find(c, SPAN("or"))->cancel_bills_on);
}

/* --- reading --------------------------------------------------------------------------------- */

#define NOTED "source: s, date: 2026-01-31"
#define HOSTS "f:\n  hosts: {" NOTED ", at: {h: {}, h.eu: {region: eu, factor: 1.000000001}}}\n"

static void reads_all_of_it(void **state)
{
    static const char text[] = HOSTS
        "  cancel: {closing: bills_on, " NOTED "}\n"
        "  models:\n"
        "    m:\n"
        "      aliases: [n, o]\n"
        "      window: {context: 1000, output: 100, " NOTED "}\n"
        "      price: {input: 1, output: 2.5, cached_input: 0, cache_write: 0.3,\n"
        "        tiers: [{above: 10, input: 2, output: 5}, {above: 20, input: 3, output: 6}],\n"
        "        next: {from: 2026-12-01, input: 4, output: 20}, " NOTED "}\n"
        "      can: {tools: true, audio: false, reasoning: true, efforts: [max, none], " NOTED "}\n"
        "      retires: {on: 2027-01-02, " NOTED "}\n"
        "    bare: {}\n";
    AUTO(arena) a = arena_new(0);
    struct catalogue *c = NULL;
    struct err e = {0};
    struct catalogue_model m;
    assert_true(catalogue_parse(a, SPAN(text), "c.yaml", 20261130, &c, &e));
    assert_true(catalogue_find(c, SPAN(""), SPAN("h.eu"), SPAN("o"), &m));
    assert_true(span_eq(m.id, SPAN("m")) && m.n_aliases == 2);
    assert_true(m.context == 1000 && m.max_output == 100);
    /* Times 1.000000001, up to the next nano-USD. */
    assert_int_equal(m.price.input, USD + 1);
    assert_int_equal(m.price.output, 2500000003);
    assert_int_equal(m.price.cached, 0);
    assert_int_equal(m.price.cache_write, 300000001);
    assert_int_equal(m.price.n_tiers, 2);
    assert_int_equal(m.price.tiers[0].above_tok, 10);
    assert_int_equal(m.price.tiers[1].output, 6 * USD + 6);
    assert_int_equal(m.price.tiers[1].cached, -1);
    assert_int_equal(m.caps.can[CAP_TOOLS], CAN_YES);
    assert_int_equal(m.caps.can[CAP_AUDIO], CAN_NO);
    assert_int_equal(m.caps.can[CAP_IMAGES], CAN_UNKNOWN);
    assert_int_equal(m.caps.efforts, 1U | 1U << 6);
    assert_true(span_eq(m.retires, SPAN("2027-01-02")));
    assert_true(span_eq(catalogue_host_find(c, SPAN("h.eu"))->region, SPAN("eu")));
    assert_true(catalogue_host_find(c, SPAN("h"))->bills_on);
    assert_true(catalogue_find(c, SPAN(""), SPAN("h"), SPAN("bare"), &m));
    assert_true(!m.price.known && m.context == 0 && m.caps.efforts == 0);
    /* On its day the announced price holds, all of it. */
    assert_true(catalogue_parse(a, SPAN(text), "c.yaml", 20261201, &c, &e));
    assert_true(catalogue_find(c, SPAN(""), SPAN("h"), SPAN("m"), &m));
    assert_true(m.price.input == 4 * USD && m.price.cached == -1 && m.price.n_tiers == 0);
}

static const struct {
    const char *text, *msg;
} bad[] = {
    {"- f\n", "c.yaml:1:1: must be a map of fields, not a list"},
    {"f: {}\n", "c.yaml:1:1: f: needs 'hosts'"},
    {"f:\n  hosts: {source: s, at: {}}\n", "c.yaml:2:3: hosts: needs 'source' and 'date'"},
    {"f:\n  hosts: {date: 2026-01-01, at: {}}\n", "c.yaml:2:3: hosts: needs 'source' and 'date'"},
    {"f:\n  hosts: {source: s, date: 2026-13-01}\n",
     "c.yaml:2:28: date: must be a day such as 2026-11-25"},
    {"f:\n  hosts: {source: s, date: 26-1-1}\n",
     "c.yaml:2:28: date: must be a day such as 2026-11-25"},
    {"f:\n  hosts: {" NOTED ", at: {h: {factor: 10}}}\n",
     "c.yaml:2:45: h: needs a factor from 0.000000001 to 9"},
    {"f:\n  hosts: {" NOTED ", at: {h: {}}}\ng:\n  hosts: {" NOTED ", at: {H: {}}}\n",
     "c.yaml:4:45: H: stands here twice, or is one host too many"},
    {HOSTS "  models:\n    m: {contxt: 5}\n", "c.yaml:4:9: unknown field 'contxt'"},
    {HOSTS "  models:\n    m: {window: {context: 1000}}\n",
     "c.yaml:4:9: window: needs 'source' and 'date'"},
    {HOSTS "  models:\n    m: {price: {output: 1, " NOTED "}}\n",
     "c.yaml:4:9: price: needs 'input' (and 'output' for what writes), in USD per million tokens"},
    {HOSTS "  models:\n    m: {price: {input: 1, output: 1, " NOTED
           ", tiers: [{input: 1, output: 1}]}}\n",
     "c.yaml:4:75: needs 'above', a number of tokens larger than the one before"},
    {HOSTS "  models:\n    m: {can: {tools: 1, " NOTED "}}\n",
     "c.yaml:4:22: tools: must be true or false, not '1'"},
    {HOSTS "  models:\n    m: {aliases: [n, m]}\n", "c.yaml:4:22: 'm' names two models"},
    {HOSTS "  models:\n    m: {aliases: [n]}\n    n: {}\n", "c.yaml:5:5: n: 'n' names two models"},
    {HOSTS "  cancel: {closing: maybe, " NOTED "}\n",
     "c.yaml:3:21: closing: must be stops or bills_on, not 'maybe'"},
    {HOSTS "  models: {m: {retires: {on: soon, " NOTED "}}}\n",
     "c.yaml:3:30: on: must be a day such as 2026-11-25"},
};

static void refuses_with_the_place(void **state)
{
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        AUTO(arena) a = arena_new(0);
        struct catalogue *c = NULL;
        struct err e = {0};
        assert_false(catalogue_parse(a, span_of(bad[i].text), "c.yaml", DAY, &c, &e));
        assert_string_equal(e.msg, bad[i].msg);
        assert_int_equal(e.cls, ERR_CONFIG);
    }
}

static void survives_no_memory(void **state)
{
    bool done = false;
    for (unsigned long at = 1; !done; at++) {
        AUTO(arena) a = arena_new(0);
        struct catalogue *c = NULL;
        struct err e = {0};
        mem_fail_at(at);
        bool ok = catalogue_parse(a, SPAN(HOSTS "  models: {m: {aliases: [n]}}\n"), "c.yaml", DAY,
                                  &c, &e);
        done = !mem_failed();
        mem_fail_at(0);
        assert_int_equal(ok, done);
        assert_int_equal(e.cls, done ? ERR_NONE : ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_sane),
        cmocka_unit_test(finds),
        cmocka_unit_test(today_is_a_day),
        cmocka_unit_test(takes_the_catalogue),
        cmocka_unit_test(reads_all_of_it),
        cmocka_unit_test(refuses_with_the_place),
        cmocka_unit_test(survives_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
