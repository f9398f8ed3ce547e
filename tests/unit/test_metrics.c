/* Prometheus text: exact output, escaping, sharing, memory failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "observe/metrics.h"

static void check_text(struct metrics *m, const char *want)
{
    struct buf out;
    struct err e;
    buf_init(&out, (size_t)1 << 20);
    assert_true(metrics_write(m, &out, &e) && buf_add_char(&out, '\0', &e));
    assert_string_equal(buf_span(&out).p, want);
    buf_done(&out);
}

static void test_counters_and_gauges(void **state)
{
    AUTO(metrics) m = metrics_new();
    check_text(m, "");
    struct metric *ok =
        metric_get(m, "fusor_calls_total", "Calls.", METRIC_COUNTER, SPAN("outcome=\"ok\""));
    struct metric *bad =
        metric_get(m, "fusor_calls_total", "Calls.", METRIC_COUNTER, SPAN("outcome=\"bad\""));
    struct metric *open = metric_get(m, "fusor_open", "Open.", METRIC_GAUGE, SPAN(""));
    assert_ptr_equal(
        ok, metric_get(m, "fusor_calls_total", "Calls.", METRIC_COUNTER, SPAN("outcome=\"ok\"")));
    assert_ptr_not_equal(ok, bad);
    metric_add(ok, 2);
    metric_add(ok, 3);
    metric_add(bad, 1);
    metric_set(open, 7);
    metric_add(open, -9);
    metric_observe_us(ok, 5); /* no histogram: ignored */
    assert_int_equal(metric_value(ok), 5);
    check_text(m, "# HELP fusor_calls_total Calls.\n# TYPE fusor_calls_total counter\n"
                  "fusor_calls_total{outcome=\"ok\"} 5\nfusor_calls_total{outcome=\"bad\"} 1\n"
                  "# HELP fusor_open Open.\n# TYPE fusor_open gauge\nfusor_open -2\n");
    metric_add(NULL, 1);
    metric_set(NULL, 1);
    metric_observe_us(NULL, 1);
    assert_int_equal(metric_value(NULL), 0);
    metrics_free(NULL);
}

static void check_histogram(struct span labels, const char *const *want, size_t n)
{
    AUTO(metrics) m = metrics_new();
    struct buf out;
    struct err e;
    struct metric *x = metric_get(m, "t", "Time.", METRIC_SECONDS, labels);
    static const int64_t times[] = {0, 50, 51, 1000, 1001, 2000000, INT64_C(700000000)};
    for (size_t i = 0; i < COUNT_OF(times); i++)
        metric_observe_us(x, times[i]);
    buf_init(&out, (size_t)1 << 20);
    assert_true(metrics_write(m, &out, &e) && buf_add_char(&out, '\0', &e));
    for (size_t i = 0; i < n; i++)
        assert_non_null(strstr(buf_span(&out).p, want[i]));
    buf_done(&out);
}

static void test_histogram(void **state)
{
    static const char *const plain[] = {"# TYPE t histogram\n",
                                        "\nt_bucket{le=\"5e-05\"} 2\n",
                                        "\nt_bucket{le=\"0.0001\"} 3\n",
                                        "\nt_bucket{le=\"0.001\"} 4\n",
                                        "\nt_bucket{le=\"0.0025\"} 5\n",
                                        "\nt_bucket{le=\"1\"} 5\n",
                                        "\nt_bucket{le=\"2.5\"} 6\n",
                                        "\nt_bucket{le=\"600\"} 6\n",
                                        "\nt_bucket{le=\"+Inf\"} 7\n",
                                        "\nt_sum 702.002102\n",
                                        "\nt_count 7\n"};
    static const char *const labelled[] = {
        "\nt_bucket{model=\"a\",le=\"0.001\"} 4\n", "\nt_bucket{model=\"a\",le=\"+Inf\"} 7\n",
        "\nt_sum{model=\"a\"} 702.002102\n", "\nt_count{model=\"a\"} 7\n"};
    check_histogram(SPAN(""), plain, COUNT_OF(plain));
    check_histogram(SPAN("model=\"a\""), labelled, COUNT_OF(labelled));
}

static void test_labels(void **state)
{
    struct buf b;
    struct err e;
    buf_init(&b, 64);
    assert_true(metric_label(&b, "model", SPAN("a\"b\\c\nd"), &e));
    assert_true(metric_label(&b, "ok", SPAN(""), &e));
    assert_true(span_eq(buf_span(&b), SPAN("model=\"a\\\"b\\\\c\\nd\",ok=\"\"")));
    size_t before = b.n;
    char longer[80];
    memset(longer, 'x', sizeof longer);
    assert_false(metric_label(&b, "big", span_make(longer, sizeof longer), &e));
    assert_int_equal(e.cls, ERR_LIMIT);
    assert_int_equal(b.n, before); /* as it was */
    buf_done(&b);
}

static void *count_up(void *arg)
{
    for (int i = 0; i < 10000; i++) {
        struct metric *x =
            metric_get(arg, "n", "N.", METRIC_COUNTER, i % 2 ? SPAN("") : SPAN("a=\"b\""));
        metric_add(x, 1);
    }
    return NULL;
}

static void test_threads(void **state)
{
    AUTO(metrics) m = metrics_new();
    pthread_t th[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&th[i], NULL, count_up, m), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(th[i], NULL);
    assert_int_equal(metric_value(metric_get(m, "n", "N.", METRIC_COUNTER, SPAN(""))), 20000);
    assert_int_equal(metric_value(metric_get(m, "n", "N.", METRIC_COUNTER, SPAN("a=\"b\""))),
                     20000);
}

static void test_out_of_memory(void **state)
{
    unsigned long n = 0;
    for (bool done = false; !done;) {
        struct buf out;
        struct err e = {0};
        buf_init(&out, (size_t)1 << 20);
        mem_fail_at(++n);
        AUTO(metrics) m = metrics_new();
        struct metric *x = m ? metric_get(m, "n", "N.", METRIC_SECONDS, SPAN("a=\"b\"")) : NULL;
        metric_observe_us(x, 5);
        bool ok = x != NULL && metrics_write(m, &out, &e);
        assert_int_equal(ok, !mem_failed());
        if (!ok)
            assert_int_equal(out.n, 0);
        done = !mem_failed();
        mem_fail_at(0);
        buf_done(&out);
    }
    assert_true(n > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counters_and_gauges),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
