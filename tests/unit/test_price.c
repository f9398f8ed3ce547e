/* test_price.c - tokens to nano-USD: parts at their own price, one rounding up per call, what is
 * unknown stays unknown, what is huge saturates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger/price.h"

/* 1 USD per million tokens is 1,000 nano-USD per token. */
#define USD INT64_C(1000000000)

static const struct price dear = {
    .input = 2 * USD, .cached = USD / 2, .cache_write = 3 * USD, .output = 10 * USD, .known = true};
static const struct price plain = {
    .input = 2 * USD, .cached = -1, .cache_write = -1, .output = 10 * USD, .known = true};
static const struct price crumbs = {
    .input = 1, .cached = -1, .cache_write = -1, .output = 1, .known = true};
static const struct price free_of_charge = {.cached = -1, .cache_write = -1, .known = true};
/* Of embeddings: nobody says what an answer would cost. */
static const struct price reads = {
    .input = 2 * USD, .cached = -1, .cache_write = -1, .output = -1, .known = true};
static const struct price reads_freely = {
    .cached = -1, .cache_write = -1, .output = -1, .known = true};
static const struct price unknown = {-1, -1, -1, -1, false};
static const struct price top = {.input = INT64_MAX,
                                 .cached = INT64_MAX,
                                 .cache_write = INT64_MAX,
                                 .output = INT64_MAX,
                                 .known = true};
/* What long inputs cost, as providers have it: every part of the call, the answer too. */
static const struct price tiered = {
    .input = 2 * USD,
    .cached = USD / 5,
    .cache_write = -1,
    .output = 12 * USD,
    .known = true,
    .n_tiers = 2,
    .tiers = {{200, 4 * USD, 2 * USD / 5, -1, 18 * USD}, {1000, 5 * USD, -1, 6 * USD, 20 * USD}}};
/* Dearer below than above: nobody has that, but a file may say it. */
static const struct price falling = {.input = 9 * USD,
                                     .cached = -1,
                                     .cache_write = -1,
                                     .output = 9 * USD,
                                     .known = true,
                                     .n_tiers = 1,
                                     .tiers = {{100, USD, -1, -1, USD}}};
static const struct price free_until = {.known = true, .n_tiers = 1, .tiers = {{10, 0, 0, 0, 1}}};

struct cost_case {
    const char *name;
    const struct price *p;
    struct chat_usage u;
    int64_t want;
};

static void check_costs(const struct cost_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int64_t got = price_cost_nusd(cases[i].p, &cases[i].u);
        if (got != cases[i].want)
            fail_msg("%s: got %lld, want %lld", cases[i].name, (long long)got,
                     (long long)cases[i].want);
    }
}

static void test_cost(void **state)
{
    static const struct cost_case cases[] = {
        {"nothing used", &dear, {0}, 0},
        {"input and output", &dear, {.input = 1000, .output = 100}, 2000 * 1000 + 1000 * 1000},
        {"cached at its own price", &dear, {.input = 1000, .cached = 600}, 800 * 1000 + 300 * 1000},
        {"cached without a price of its own", &plain, {.input = 1000, .cached = 600}, 2000 * 1000},
        {"cache writes are dearer", &dear, {.input = 1000, .cache_write = 500}, 2500 * 1000},
        {"writes without a price of their own", &plain, {.input = 9, .cache_write = 9}, 18000},
        {"all parts",
         &dear,
         {.input = 10, .cached = 3, .cache_write = 2, .output = 1},
         5 * 2000 + 3 * 500 + 2 * 3000 + 10000},
        {"reasoning is a part of output", &dear, {.output = 10, .reasoning = 8}, 100 * 1000},
        {"parts larger than the whole", &dear, {.input = 10, .cached = 20}, 20 * 500},
        {"negative counts are none", &dear, {.input = 10, .cached = -5, .output = -7}, 20 * 1000},
        {"a crumb costs one", &crumbs, {.input = 1}, 1},
        {"rounded once, not per part", &crumbs, {.input = 1, .output = 1}, 1},
        {"a million crumbs cost one", &crumbs, {.input = 500000, .output = 500000}, 1},
        {"and one more costs two", &crumbs, {.input = 500000, .output = 500001}, 2},
        {"free", &free_of_charge, {.input = 1000, .cached = 7, .output = 1000}, 0},
        {"input only", &reads, {.input = 1000}, 2000 * 1000},
        {"input only, and an answer", &reads, {.input = 1000, .output = 1}, -1},
        {"input free, output unknown", &reads_freely, {.input = 9, .output = 1}, -1},
        {"unknown", &unknown, {.input = 1, .output = 1}, -1},
        {"unknown, nothing used", &unknown, {0}, -1},
        {"saturates", &top, {.input = INT64_MAX, .output = INT64_MAX}, INT64_MAX},
        {"saturates with parts",
         &top,
         {.input = INT64_MAX, .cached = INT64_MAX, .cache_write = INT64_MAX, .output = INT64_MAX},
         INT64_MAX},
        {"just below", &top, {.input = 1000000}, INT64_MAX},
        {"just fits", &top, {.input = 999999}, 9223362813482738953},
    };
    check_costs(cases, COUNT_OF(cases));
}

static void test_sizes(void **state)
{
    static const struct cost_case cases[] = {
        {"a size's own price begins above it",
         &tiered,
         {.input = 200, .output = 1},
         200 * 2000 + 12000},
        {"and holds for all of the call", &tiered, {.input = 201, .output = 1}, 201 * 4000 + 18000},
        {"cached input counts to the size",
         &tiered,
         {.input = 201, .cached = 200, .output = 1},
         4000 + 200 * 400 + 18000},
        {"parts of a size without their own price",
         &tiered,
         {.input = 300, .cache_write = 300},
         300 * 4000},
        {"the last size", &tiered, {.input = 1000, .output = 1}, 1000 * 4000 + 18000},
        {"above it",
         &tiered,
         {.input = 1001, .cached = 1, .cache_write = 1000, .output = 1},
         5000 + 1000 * 6000 + 20000},
        {"parts larger than the whole make the size",
         &tiered,
         {.input = 1, .cached = 201},
         201 * 400},
        {"output does not", &tiered, {.input = 1, .output = 5000}, 2000 + 5000 * 12000},
        {"a tier is rounded up once", &free_until, {.input = 11, .output = 1}, 1},
        {"free below it", &free_until, {.input = 10, .output = 1000000}, 0},
    };
    check_costs(cases, COUNT_OF(cases));
}

/* No call that stays within its counts costs more than its bound. */
static void test_bound(void **state)
{
    static const struct price *const prices[] = {&dear, &plain, &crumbs, &free_of_charge};
    for (size_t i = 0; i < COUNT_OF(prices); i++)
        for (int64_t in = 0; in <= 3; in++)
            for (int64_t cached = 0; cached <= in; cached++)
                for (int64_t out = 0; out <= 2; out++) {
                    struct chat_usage u = {
                        .input = in, .cached = cached, .cache_write = in - cached, .output = out};
                    assert_true(price_cost_nusd(prices[i], &u) <=
                                price_bound_nusd(prices[i], in, out));
                }
    /* Every size up to the bound, across the tiers. */
    static const struct price *const sized[] = {&tiered, &falling, &free_until};
    static const int64_t ins[] = {0, 1, 10, 11, 100, 101, 200, 201, 999, 1000, 1001, 5000};
    for (size_t i = 0; i < COUNT_OF(sized); i++)
        for (size_t most = 0; most < COUNT_OF(ins); most++)
            for (size_t in = 0; in <= most; in++)
                for (int64_t cached = 0; cached <= ins[in]; cached += 1 + ins[in] / 3) {
                    struct chat_usage u = {.input = ins[in],
                                           .cached = cached,
                                           .cache_write = ins[in] - cached,
                                           .output = 7};
                    assert_true(price_cost_nusd(sized[i], &u) <=
                                price_bound_nusd(sized[i], ins[most], 7));
                }
    assert_int_equal(price_bound_nusd(&tiered, 200, 1), 200 * 2000 + 12000);
    assert_int_equal(price_bound_nusd(&tiered, 201, 1), 201 * 4000 + 18000);
    assert_int_equal(price_bound_nusd(&tiered, 1001, 1), 1001 * 6000 + 20000);
    assert_int_equal(price_bound_nusd(&falling, 101, 1), 101 * 9000 + 9000);
    assert_int_equal(price_bound_nusd(&dear, 10, 10), 30000 + 100000);
    assert_int_equal(price_bound_nusd(&plain, 10, 10), 20000 + 100000);
    assert_int_equal(price_bound_nusd(&crumbs, 1, 0), 1);
    assert_int_equal(price_bound_nusd(&reads, 10, 0), 20000);
    assert_int_equal(price_bound_nusd(&reads, 10, 1), -1);
    assert_int_equal(price_bound_nusd(&unknown, 1, 1), -1);
    assert_int_equal(price_bound_nusd(&dear, -1, 1), -1);
    assert_int_equal(price_bound_nusd(&dear, 1, -1), -1);
    assert_int_equal(price_bound_nusd(&top, INT64_MAX, INT64_MAX), INT64_MAX);
}

static void test_is_free(void **state)
{
    struct price cached_costs = free_of_charge, writes_cost = free_of_charge;
    cached_costs.cached = 1;
    writes_cost.cache_write = 1;
    assert_true(price_is_free(&free_of_charge));
    assert_false(price_is_free(&unknown));
    assert_false(price_is_free(&reads_freely));
    assert_false(price_is_free(&crumbs));
    assert_false(price_is_free(&cached_costs));
    assert_false(price_is_free(&writes_cost));
    assert_false(price_is_free(&free_until));
}

static void test_raise(void **state)
{
    struct price p = free_of_charge;
    price_raise(&p, &tiered);
    price_raise(&p, &plain);
    assert_int_equal(price_bound_nusd(&p, 1, 1), 6000 + 20000);
    price_raise(&p, &reads); /* what one of them costs is not known, once it writes */
    price_raise(&p, &plain);
    assert_int_equal(price_bound_nusd(&p, 1, 0), 6000);
    assert_int_equal(price_bound_nusd(&p, 1, 1), -1);
    price_raise(&p, &unknown);
    assert_int_equal(price_bound_nusd(&p, 1, 0), -1);
}

static void test_add(void **state)
{
    assert_int_equal(nusd_add(1, 2), 3);
    assert_int_equal(nusd_add(-1, 2), -1);
    assert_int_equal(nusd_add(2, -1), -1);
    assert_int_equal(nusd_add(INT64_MAX, 0), INT64_MAX);
    assert_int_equal(nusd_add(INT64_MAX, 1), INT64_MAX);
    assert_int_equal(nusd_add(INT64_MAX, INT64_MAX), INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cost),    cmocka_unit_test(test_sizes), cmocka_unit_test(test_bound),
        cmocka_unit_test(test_is_free), cmocka_unit_test(test_raise), cmocka_unit_test(test_add),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
