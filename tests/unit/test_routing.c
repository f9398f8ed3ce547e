/* test_routing.c - who is asked first: health, order of targets, a request's wishes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "config/config.h"
#include "route/health.h"
#include "route/order.h"
#include "route/prefs.h"

#define S INT64_C(1000000)

static const struct health_limits limits = {3, 10 * S};

static struct err failure(enum err_class cls, int upstream_status, int64_t retry_ms)
{
    struct err e = {0};
    err_set(&e, cls, "x");
    e.upstream_status = upstream_status;
    e.retry_after_ms = retry_ms;
    return e;
}

static enum health_word ask(struct breaker *b, struct credential *c, int64_t now)
{
    int64_t wait;
    return health_ask(b, c, now, &wait);
}

/* --- health
 * ----------------------------------------------------------------------------------------- */

static void test_breaker(void **state)
{
    struct breaker b = {0};
    struct credential c = {0};
    struct err e = failure(ERR_TIMEOUT, 0, -1);
    for (int i = 0; i < 2; i++)
        health_failed(&b, &c, &limits, &e, S, false);
    assert_int_equal(ask(&b, &c, S), HEALTH_UP);
    health_ok(&b, &c, false); /* in a row means in a row */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask(&b, &c, S), HEALTH_UP);
        health_failed(&b, &c, &limits, &e, S, false);
    }
    assert_int_equal(ask(&b, &c, S + 10 * S - 1), HEALTH_DOWN);
    /* one probe at a time; what it finds counts for all */
    assert_int_equal(ask(&b, &c, 11 * S), HEALTH_PROBE);
    assert_int_equal(ask(&b, &c, 11 * S), HEALTH_DOWN);
    health_failed(&b, &c, &limits, &e, 11 * S, true);
    assert_int_equal(ask(&b, &c, 11 * S + 20 * S - 1), HEALTH_DOWN); /* twice as long */
    assert_int_equal(ask(&b, &c, 31 * S), HEALTH_PROBE);
    health_nothing(&b, true); /* cancelled: the next one finds out */
    assert_int_equal(ask(&b, &c, 31 * S), HEALTH_PROBE);
    health_ok(&b, &c, true);
    assert_int_equal(ask(&b, &c, 31 * S), HEALTH_UP);
    assert_int_equal(health_look(&b, &c, 31 * S), HEALTH_UP);
}

static void test_the_pause_is_bounded(void **state)
{
    struct breaker b = {0};
    struct credential c = {0};
    struct err e = failure(ERR_CONNECT, 0, -1);
    int64_t now = S;
    for (int i = 0; i < 100; i++) {
        bool probe = ask(&b, &c, now) == HEALTH_PROBE;
        assert_int_equal(probe, i >= 3);
        health_failed(&b, &c, &limits, &e, now, probe);
        now += 300 * S;
    }
    assert_int_equal(health_look(&b, &c, now), HEALTH_PROBE);
}

/* Calls that began before the breaker opened, or that had nobody else to ask, end at any time. */
static void test_only_the_probe_ends_it(void **state)
{
    struct breaker b = {0};
    struct credential c = {0};
    struct err timeout = failure(ERR_TIMEOUT, 0, -1), wrong = failure(ERR_INPUT, 400, -1),
               late = failure(ERR_BUSY, 429, 0);
    for (int i = 0; i < 3; i++)
        health_failed(&b, &c, &limits, &timeout, S, false);
    assert_int_equal(ask(&b, &c, 11 * S), HEALTH_PROBE);
    health_failed(&b, &c, &limits, &timeout, 11 * S, false);
    health_failed(&b, &c, &limits, &wrong, 11 * S, false);
    health_failed(&b, &c, &limits, &late, 11 * S, false);
    health_nothing(&b, false);
    assert_int_equal(ask(&b, &c, 11 * S), HEALTH_DOWN);          /* it is still under way */
    assert_int_equal(health_look(&b, &c, 11 * S), HEALTH_PROBE); /* nor is it opened again */
    health_failed(&b, &c, &limits, &timeout, 12 * S, true);
    assert_int_equal(ask(&b, &c, 12 * S + 20 * S - 1), HEALTH_DOWN); /* twice as long, no more */
    assert_int_equal(ask(&b, &c, 32 * S), HEALTH_PROBE);
    /* a success closes it, whoever has it; the probe is nobody else's all the same */
    health_ok(&b, &c, false);
    assert_int_equal(ask(&b, &c, 32 * S), HEALTH_UP);
    for (int i = 0; i < 3; i++)
        health_failed(&b, &c, &limits, &timeout, 33 * S, false);
    assert_int_equal(ask(&b, &c, 43 * S), HEALTH_DOWN);
    health_nothing(&b, true);
    assert_int_equal(ask(&b, &c, 43 * S), HEALTH_PROBE);
}

/* Many calls that fail at once are one outage, not one for each. */
static void test_one_outage_opens_once(void **state)
{
    struct breaker b = {0};
    struct credential c = {0};
    struct err e = failure(ERR_CONNECT, 0, -1);
    for (int i = 0; i < 20; i++)
        health_failed(&b, &c, &limits, &e, S + i, false);
    assert_int_equal(ask(&b, &c, 11 * S), HEALTH_DOWN);
    assert_int_equal(ask(&b, &c, 11 * S + 20), HEALTH_PROBE);
}

static void test_extremes(void **state)
{
    static const struct health_limits long_ones = {1, INT64_MAX / 4};
    struct breaker b = {0};
    struct credential c = {0};
    struct err e = failure(ERR_CONNECT, 0, -1);
    b.opened = 40;
    health_failed(&b, &c, &long_ones, &e, S, false);
    assert_int_equal(ask(&b, &c, INT64_MAX / 4), HEALTH_DOWN);
    b = (struct breaker){0};
    e = failure(ERR_BUSY, 429, INT64_MAX / 2);
    health_failed(&b, &c, &limits, &e, S, false);
    assert_int_equal(ask(&b, &c, 86400 * S), HEALTH_REST);
    assert_int_equal(ask(&b, &c, 86402 * S), HEALTH_UP);
}

static void test_what_counts(void **state)
{
    static const struct {
        enum err_class cls;
        int upstream_status;
        enum health_word word;
    } cases[] = {
        {ERR_INPUT, 400, HEALTH_UP},         {ERR_LIMIT, 413, HEALTH_UP},
        {ERR_NOT_FOUND, 404, HEALTH_UP},     {ERR_UPSTREAM, 500, HEALTH_DOWN},
        {ERR_UPSTREAM, 401, HEALTH_DOWN},    {ERR_BUDGET, 402, HEALTH_DOWN},
        {ERR_UPSTREAM, 403, HEALTH_DOWN},    {ERR_CUT, 0, HEALTH_DOWN},
        {ERR_UNAVAILABLE, 503, HEALTH_DOWN}, {ERR_BUSY, 0, HEALTH_UP}, /* our own queue */
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct breaker b = {0};
        struct credential c = {0};
        struct err e = failure(cases[i].cls, cases[i].upstream_status, -1);
        for (int k = 0; k < 3; k++)
            health_failed(&b, &c, &limits, &e, S, false);
        if (ask(&b, &c, S) != cases[i].word)
            fail_msg("%s %d", err_class_name(cases[i].cls), cases[i].upstream_status);
    }
}

static void test_rest_and_shun(void **state)
{
    struct breaker b = {0}, other = {0};
    struct credential c = {0};
    int64_t wait = 0;
    struct err e = failure(ERR_BUSY, 429, 7000);
    health_failed(&b, &c, &limits, &e, S, false);
    assert_int_equal(health_ask(&b, &c, 2 * S, &wait), HEALTH_REST);
    assert_int_equal(wait, 6 * S);
    assert_int_equal(ask(&other, &c, 2 * S), HEALTH_UP); /* limits are per model */
    e = failure(ERR_BUSY, 429, 1000);
    health_failed(&b, &c, &limits, &e, 2 * S, false); /* a shorter one does not end the longer */
    assert_int_equal(ask(&b, &c, 8 * S - 1), HEALTH_REST);
    assert_int_equal(ask(&b, &c, 8 * S), HEALTH_UP);
    e = failure(ERR_UPSTREAM, 401, -1);
    health_failed(&b, &c, &limits, &e, 8 * S, false);
    assert_int_equal(ask(&other, &c, 8 * S), HEALTH_DOWN); /* the key is the provider's */
    health_ok(&other, &c, false);
    assert_int_equal(ask(&b, &c, 8 * S), HEALTH_UP);
    e = failure(ERR_FORBIDDEN, 403, -1); /* a guardrail is about one request */
    err_with_code(&e, "content_filter");
    health_failed(&b, &c, &limits, &e, 8 * S, false);
    assert_int_equal(ask(&b, &c, 8 * S), HEALTH_UP);
}

/* --- order
 * --------------------------------------------------------------------------------------------- */

static void test_order_by_figure(void **state)
{
    static const struct order_target t[] = {
        {.weight = 1, .price_nusd = 30, .latency_us = 5, .pace_us = 0},
        {.weight = 1, .price_nusd = 10, .latency_us = 9, .pace_us = 20},
        {.weight = 1, .price_nusd = 0, .latency_us = 7, .pace_us = 10},
        {.fallback = true, .price_nusd = 1, .latency_us = 1, .pace_us = 1},
    };
    static const unsigned want[][4] = {{1, 0, 2, 3}, {0, 2, 1, 3}, {2, 1, 0, 3}};
    unsigned out[4];
    for (int sort = CONFIG_SORT_PRICE; sort <= CONFIG_SORT_THROUGHPUT; sort++) {
        order_targets(t, 4, (enum config_sort)sort, 1, out);
        assert_memory_equal(out, want[sort - CONFIG_SORT_PRICE], sizeof out);
    }
}

static void test_order_by_weight(void **state)
{
    static const struct order_target t[] = {
        {.weight = 3}, {.weight = 1}, {.weight = 0}, {.fallback = true}, {.fallback = true}};
    int first[5] = {0};
    unsigned out[5], again[5];
    for (uint64_t draw = 0; draw < 4000; draw++) {
        order_targets(t, 5, CONFIG_SORT_NONE, draw, out);
        order_targets(t, 5, CONFIG_SORT_NONE, draw, again);
        assert_memory_equal(out, again, sizeof out); /* one conversation, one upstream */
        first[out[0]]++;
        assert_int_equal(out[2], 2);
        assert_true(out[3] == 3 && out[4] == 4); /* as written */
    }
    assert_true(first[0] > 2850 && first[0] < 3150 && first[0] + first[1] == 4000);
}

static void test_order_of_the_down(void **state)
{
    static const struct order_target t[] = {
        {.weight = 1, .down = true}, {.weight = 0.001}, {.fallback = true}};
    unsigned out[3];
    order_targets(t, 3, CONFIG_SORT_NONE, 5, out);
    assert_true(out[0] == 1 && out[1] == 2 && out[2] == 0);
}

/* --- wishes
 * -------------------------------------------------------------------------------------------- */

static const struct {
    const char *json, *error; /* error NULL: fine */
} wishes[] = {
    {"{}", NULL},
    {"{\"order\":[\"a\",\"b\"],\"allow_fallbacks\":false,\"sort\":\"price\"}", NULL},
    {"{\"sort\":{\"by\":\"latency\",\"partition\":\"none\"},\"require_parameters\":true}", NULL},
    {"{\"data_collection\":\"allow\",\"zdr\":false,\"preferred_min_throughput\":50}", NULL},
    {"{\"ordr\":[\"a\"]}", "provider.ordr"},
    {"{\"order\":\"a\"}", "provider.order"},
    {"{\"sort\":\"speed\"}", "provider.sort"},
    {"{\"sort\":{\"by\":\"price\",\"thn\":1}}", "provider.sort.thn"},
    {"{\"zdr\":true}", "provider.zdr"},
    {"{\"quantizations\":[\"fp8\"]}", "provider.quantizations"},
    {"{\"data_collection\":\"deny\"}", "provider.data_collection"},
    {"{\"max_price\":{\"prompt\":-1}}", "provider.max_price.prompt"},
    {"[1]", "provider"},
};

static void test_wishes(void **state)
{
    for (size_t i = 0; i < COUNT_OF(wishes); i++) {
        AUTO(arena) a = arena_new(0);
        struct route_prefs p;
        struct err e = {0};
        bool ok = prefs_read(a, span_of(wishes[i].json), &p, &e);
        if (ok != (wishes[i].error == NULL) || (!ok && strcmp(e.param, wishes[i].error) != 0))
            fail_msg("%s: %s (%s)", wishes[i].json, e.msg, e.param);
    }
}

static void test_what_has_no_effect(void **state)
{
    static const char *const want[] = {"provider.preferred_min_throughput",
                                       "provider.preferred_max_latency", "provider.sort.partition"};
    AUTO(arena) a = arena_new(0);
    struct route_prefs p;
    struct err e = {0};
    assert_true(prefs_read(a,
                           SPAN("{\"sort\":{\"by\":\"price\",\"partition\":\"none\"},"
                                "\"preferred_max_latency\":{\"p90\":3},"
                                "\"preferred_min_throughput\":50,\"zdr\":false}"),
                           &p, &e));
    assert_true(p.has_sort && p.sort == CONFIG_SORT_PRICE);
    assert_int_equal(p.n_ignored, COUNT_OF(want));
    for (size_t i = 0; i < COUNT_OF(want); i++)
        assert_true(span_eq(p.ignored[i], span_of(want[i])));
    assert_true(prefs_read(a,
                           SPAN("{\"sort\":\"price\",\"only\":[\"a\"],\"zdr\":null,"
                                "\"preferred_max_latency\":null}"),
                           &p, &e));
    assert_int_equal(p.n_ignored, 0);
}

static void test_who_fits(void **state)
{
    static const struct config_provider a = {.name = SPAN_INIT("a")}, b = {.name = SPAN_INIT("b")};
    const struct config_model dear = {.provider = &a, .price = {30, -1, -1, 90, true}};
    const struct config_model cheap = {.provider = &b, .price = {3, -1, -1, 9, true}};
    const struct config_model unknown = {.provider = &b, .price = {-1, -1, -1, -1, false}};
    const struct config_model reads = {.provider = &b, .price = {3, -1, -1, -1, true}};
    AUTO(arena) arena = arena_new(0);
    struct route_prefs p;
    struct err e = {0};
    assert_true(prefs_read(arena, SPAN("{\"max_price\":{\"prompt\":0.000000003}}"), &p, &e));
    assert_true(prefs_allow(&p, &cheap) && !prefs_allow(&p, &dear) && !prefs_allow(&p, &unknown));
    assert_true(prefs_allow(&p, &reads));
    assert_true(prefs_read(arena, SPAN("{\"max_price\":{\"completion\":1}}"), &p, &e));
    assert_true(prefs_allow(&p, &cheap) && !prefs_allow(&p, &reads));
    assert_true(prefs_read(arena, SPAN("{\"only\":[\"a\"],\"order\":[\"x\",\"a\"]}"), &p, &e));
    assert_true(prefs_allow(&p, &dear) && !prefs_allow(&p, &cheap));
    assert_int_equal(prefs_rank(&p, &dear), 1);
    assert_true(prefs_rank(&p, &cheap) == SIZE_MAX);
    assert_true(prefs_read(arena, SPAN("{\"ignore\":[\"a\"]}"), &p, &e));
    assert_true(prefs_allow(&p, &cheap) && !prefs_allow(&p, &dear));
}

/* In words, for `fusor doctor`. */
static void test_why(void **state)
{
    struct breaker b = {0};
    struct credential c = {0};
    int64_t wait = -1;
    struct err e = {0};
    assert_null(health_why(&b, &c, S, &wait));
    err_set(&e, ERR_TIMEOUT, "late");
    for (int i = 0; i < limits.failures; i++)
        health_failed(&b, &c, &limits, &e, S, false);
    assert_string_equal(health_why(&b, &c, 2 * S, &wait), "down");
    assert_int_equal(wait, 9 * S);
    assert_string_equal(health_why(&b, &c, 11 * S, &wait), "probed");
    assert_int_equal(wait, 0);
    err_set(&e, ERR_AUTH, "no");
    e.upstream_status = 401;
    health_failed(&b, &c, &limits, &e, 11 * S, true);
    assert_string_equal(health_why(&b, &c, 12 * S, &wait), "key_refused");
    assert_int_equal(wait, 59 * S);
    err_set(&e, ERR_BUSY, "slow down");
    e.upstream_status = 429;
    e.retry_after_ms = 5000;
    health_failed(&b, &c, &limits, &e, 12 * S, false);
    assert_string_equal(health_why(&b, &c, 12 * S, &wait), "resting");
    assert_int_equal(wait, 5 * S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_why),
        cmocka_unit_test(test_breaker),
        cmocka_unit_test(test_the_pause_is_bounded),
        cmocka_unit_test(test_only_the_probe_ends_it),
        cmocka_unit_test(test_what_counts),
        cmocka_unit_test(test_rest_and_shun),
        cmocka_unit_test(test_order_by_figure),
        cmocka_unit_test(test_order_by_weight),
        cmocka_unit_test(test_order_of_the_down),
        cmocka_unit_test(test_wishes),
        cmocka_unit_test(test_what_has_no_effect),
        cmocka_unit_test(test_who_fits),
        cmocka_unit_test(test_one_outage_opens_once),
        cmocka_unit_test(test_extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
