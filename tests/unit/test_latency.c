/* Sketch of times: quantiles to within a bucket, conditional chances, fading, threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "observe/latency.h"

static struct latency *make(void)
{
    struct latency *l = latency_new();
    assert_non_null(l);
    return l;
}

static void test_empty(void **state)
{
    AUTO(latency) l = make();
    assert_int_equal(latency_count(l), 0);
    assert_int_equal(latency_quantile_us(l, 0.5), 0);
    assert_true(latency_within(l, 0, 1000) == -1);
    latency_free(NULL);
}

/* The answer is at or above the sample, and by one bucket (9.06 %) at most. */
static void test_one_sample(void **state)
{
    static const int64_t times[] = {1001, 1090, 1091, 5000, 123456, 1000000, 60000000, 1200000000};
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        AUTO(latency) l = make();
        latency_record(l, times[i]);
        for (int q = 0; q <= 10; q += 5) {
            int64_t got = latency_quantile_us(l, q / 10.0);
            assert_true((double)got >= (double)times[i] - 1);
            assert_true((double)got <= (double)times[i] * 1.0906);
        }
    }
}

static void test_ends(void **state)
{
    static const struct {
        int64_t us, want;
    } cases[] = {{-5, 1000}, {0, 1000}, {1, 1000}, {1000, 1000}, {INT64_MAX, 1246974023}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(latency) l = make();
        latency_record(l, cases[i].us);
        int64_t got = latency_quantile_us(l, 0.99);
        assert_true(llabs(got - cases[i].want) <= cases[i].want / 1000);
    }
}

static void test_quantiles(void **state)
{
    AUTO(latency) l = make();
    for (int i = 1; i <= 1000; i++)
        latency_record(l, i * 10000); /* 10 ms to 10 s, even */
    static const double qs[] = {0.01, 0.1, 0.5, 0.9, 0.99, 1.0};
    for (size_t i = 0; i < COUNT_OF(qs); i++) {
        double want = qs[i] * 1e7, got = (double)latency_quantile_us(l, qs[i]);
        assert_true(got >= want * 0.99 && got <= want * 1.10);
    }
    assert_int_equal(latency_quantile_us(l, -1), latency_quantile_us(l, 0));
    assert_int_equal(latency_quantile_us(l, 2), latency_quantile_us(l, 1));
}

static void test_within(void **state)
{
    AUTO(latency) l = make();
    for (int i = 1; i <= 1000; i++)
        latency_record(l, i * 1000); /* even on (0, 1 s] */
    static const struct {
        int64_t elapsed, window;
        double want;
    } cases[] = {{0, 500000, 0.5},  {0, 2000000, 1},        {500000, 250000, 0.5},
                 {500000, 0, 0},    {2000000, 1000, 0},     {900000, 50000, 0.5},
                 {0, INT64_MAX, 1}, {600000, INT64_MAX, 1}, {-5, 500000, 0.5}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        double got = latency_within(l, cases[i].elapsed, cases[i].window);
        assert_true(fabs(got - cases[i].want) < 0.07);
    }
}

static void test_fades(void **state)
{
    AUTO(latency) l = make();
    for (int i = 0; i < 4000; i++)
        latency_record(l, 10000);
    for (int i = 0; i < 12000; i++)
        latency_record(l, 1000000);
    assert_true(latency_count(l) <= 4097);
    assert_true(latency_quantile_us(l, 0.5) > 900000); /* the new outweighs the old */
    assert_true(latency_quantile_us(l, 0.01) < 12000); /* which is not forgotten yet */
}

static void *record_many(void *arg)
{
    for (int i = 0; i < 50000; i++)
        latency_record(arg, 1000 + i);
    return NULL;
}

static void test_threads(void **state)
{
    AUTO(latency) l = make();
    pthread_t th[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&th[i], NULL, record_many, l), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(th[i], NULL);
    assert_true(latency_count(l) > 1000 && latency_count(l) <= 4100);
    assert_true(latency_quantile_us(l, 1) <= 56000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),   cmocka_unit_test(test_one_sample),
        cmocka_unit_test(test_ends),    cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_within),  cmocka_unit_test(test_fades),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
