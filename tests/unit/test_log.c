/* Log lines: valid JSON whatever is logged, one write each, levels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "observe/log.h"

struct sink {
    int fd[2];
    char text[65536];
    size_t n;
};

static void sink_open(struct sink *s)
{
    s->n = 0;
    assert_int_equal(pipe(s->fd), 0);
}

/* All that was written; closes the pipe. */
static const char *sink_text(struct sink *s)
{
    close(s->fd[1]);
    ssize_t n;
    while ((n = read(s->fd[0], s->text + s->n, sizeof s->text - 1 - s->n)) > 0)
        s->n += (size_t)n;
    close(s->fd[0]);
    s->text[s->n] = '\0';
    return s->text;
}

/* Cuts the time stamp, which it checks the shape of. */
static const char *after_ts(const char *line)
{
    const char *shape = "{\"ts\":\"dddd-dd-ddTdd:dd:dd.dddZ\",";
    for (; *shape != '\0'; shape++, line++) {
        if (*shape == 'd')
            assert_true(*line >= '0' && *line <= '9');
        else
            assert_int_equal(*line, *shape);
    }
    return line;
}

static void test_values(void **state)
{
    static const struct {
        struct log_field f;
        const char *want;
    } cases[] = {
        {{.key = "s", .kind = LOG_STR, .str = SPAN_INIT("plain")}, "\"s\":\"plain\""},
        {{.key = "s", .kind = LOG_STR, .str = SPAN_INIT("")}, "\"s\":\"\""},
        {{.key = "s", .kind = LOG_STR, .str = SPAN_INIT("a\"b\\c\nd")},
         "\"s\":\"a\\\"b\\\\c\\nd\""},
        {{.key = "s", .kind = LOG_STR, .str = SPAN_INIT("\x1b[31m\t\x7f")},
         "\"s\":\"\\u001b[31m\\u0009\\u007f\""},
        {{.key = "s", .kind = LOG_STR, .str = SPAN_INIT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")},
         "\"s\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {{.key = "s", .kind = LOG_STR, .str = SPAN_INIT("\xc2\x9b\x33\x31m")},
         "\"s\":\"\\u009b31m\""},
        {{.key = "s", .kind = LOG_STR, .str = SPAN_INIT("bad\xff\xc3")},
         "\"s\":\"bad\\u00ff\\u00c3\""},
        {{.key = "s", .kind = LOG_STR, .str = SPAN_INIT("nul\0in")}, "\"s\":\"nul\\u0000in\""},
        {{.key = "i", .kind = LOG_I64, .i64 = INT64_MIN}, "\"i\":-9223372036854775808"},
        {{.key = "f", .kind = LOG_F64, .f64 = 0.25}, "\"f\":0.25"},
        {{.key = "f", .kind = LOG_F64, .f64 = (double)INFINITY}, "\"f\":null"},
        {{.key = "b", .kind = LOG_BOOL, .i64 = 1}, "\"b\":true"},
        {{.key = "b", .kind = LOG_BOOL, .i64 = 0}, "\"b\":false"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct sink s;
        char want[256];
        sink_open(&s);
        AUTO(log) l = log_new(s.fd[1], NULL);
        assert_non_null(l);
        log_event(l, LOG_INFO, "it.happened", &cases[i].f, 1);
        snprintf(want, sizeof want, "\"level\":\"info\",\"event\":\"it.happened\",%s}\n",
                 cases[i].want);
        assert_string_equal(after_ts(sink_text(&s)), want);
    }
}

static void test_levels(void **state)
{
    static const struct {
        const char *level;
        int lines;
    } cases[] = {{"debug", 4}, {"info", 3}, {"warn", 2}, {"error", 1}, {NULL, 3}, {"loud", 3}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct sink s;
        sink_open(&s);
        AUTO(log) l = log_new(s.fd[1], cases[i].level);
        for (int level = LOG_DEBUG; level <= LOG_ERROR; level++)
            LOG_EVENT(l, (enum log_level)level, "x", LOG_I("n", level));
        int lines = 0;
        for (const char *p = sink_text(&s); (p = strchr(p, '\n')) != NULL; p++)
            lines++;
        assert_int_equal(lines, cases[i].lines);
    }
    assert_false(log_on(NULL, LOG_ERROR));
    log_event(NULL, LOG_ERROR, "x", NULL, 0);
    log_free(NULL);
}

static void test_err(void **state)
{
    struct sink s;
    struct err e;
    sink_open(&s);
    AUTO(log) l = log_new(s.fd[1], NULL);
    err_set(&e, ERR_UPSTREAM, "mistral answered \"no\"");
    e.upstream_status = 502;
    log_err(l, LOG_WARN, "call.failed", SPAN("req_1"), &e);
    assert_string_equal(after_ts(sink_text(&s)),
                        "\"level\":\"warn\",\"event\":\"call.failed\",\"request_id\":\"req_1\","
                        "\"class\":\"upstream\",\"code\":\"upstream_error\","
                        "\"message\":\"mistral answered \\\"no\\\"\",\"upstream_status\":502}\n");
}

/* Whatever its size, a line ends with a closed string, a closed object and one newline. */
static void test_long_values(void **state)
{
    static const char *const units[] = {"a", "\"", "\x01", "\xe2\x82\xac", "\xff"};
    for (size_t u = 0; u < COUNT_OF(units); u++) {
        for (size_t fields = 1; fields <= 12; fields++) {
            struct sink s;
            struct log_field f[12];
            char value[3000];
            size_t unit = strlen(units[u]), n = 0;
            for (; n + unit <= sizeof value - fields; n += unit)
                memcpy(value + n, units[u], unit);
            for (size_t i = 0; i < fields; i++)
                f[i] = LOG_S("key", span_make(value, n));
            sink_open(&s);
            AUTO(log) l = log_new(s.fd[1], NULL);
            log_event(l, LOG_INFO, "long", f, fields);
            const char *text = sink_text(&s);
            assert_true(s.n > 2000 && s.n <= 8192);
            assert_memory_equal(text + s.n - 6, "...\"}\n", 6);
            assert_ptr_equal(strchr(text, '\n'), text + s.n - 1);
            assert_true(text_is_utf8(span_make(text, s.n)));
        }
    }
}

struct writer {
    struct log *log;
    char mark;
};

static void *write_lines(void *arg)
{
    struct writer *w = arg;
    char value[200];
    memset(value, w->mark, sizeof value);
    for (int i = 0; i < 50; i++)
        LOG_EVENT(w->log, LOG_INFO, "t", LOG_S("v", span_make(value, sizeof value)));
    return NULL;
}

static void test_threads(void **state)
{
    static struct sink s;
    pthread_t th[4];
    struct writer w[4];
    sink_open(&s);
    AUTO(log) l = log_new(s.fd[1], NULL);
    for (int i = 0; i < 4; i++) {
        w[i] = (struct writer){l, (char)('a' + i)};
        assert_int_equal(pthread_create(&th[i], NULL, write_lines, &w[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(th[i], NULL);
    const char *p = sink_text(&s);
    int lines = 0;
    for (; *p != '\0'; lines++) {
        const char *v = strstr(p, "\"v\":\"") + 5;
        for (int i = 1; i < 200; i++)
            assert_int_equal(v[i], v[0]);
        assert_memory_equal(v + 200, "\"}\n", 3);
        p = v + 203;
    }
    assert_int_equal(lines, 200);
}

static void test_terminal(void **state)
{
    struct sink s;
    struct log_field f[] = {LOG_S("model", SPAN("a\x1b[2J")), LOG_I("status", 502)};
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0)
        skip();
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    AUTO(log) l = log_new(slave, NULL);
    log_event(l, LOG_ERROR, "call.failed", f, COUNT_OF(f));
    s.n = (size_t)read(master, s.text, sizeof s.text - 1);
    s.text[s.n] = '\0';
    assert_string_equal(s.text, "error: call.failed model=a\\x1B[2J status=502\r\n");
    close(slave);
    close(master);
}

static void test_quota(void **state)
{
    struct log_quota q = {0};
    uint64_t hidden = 0;
    int64_t now = 5000000000;
    for (int i = 0; i < 100; i++)
        assert_int_equal(log_quota_take(&q, now, &hidden), i < LOG_QUOTA_BURST);
    assert_false(log_quota_take(&q, now + 999999, &hidden));
    assert_int_equal(hidden, 0);
    assert_true(log_quota_take(&q, now + 1000000, &hidden));
    assert_int_equal(hidden, 100 - LOG_QUOTA_BURST + 1);
    assert_false(log_quota_take(&q, now + 1000000, &hidden));
    now += 1000000;
    for (int i = 1; i <= 30; i++) /* ten a second: one of them is written */
        assert_int_equal(log_quota_take(&q, now + i * 100000, &hidden), i % 10 == 0);
    now += 3600 * INT64_C(1000000); /* not more for having been quiet */
    for (int i = 0; i < 100; i++)
        assert_int_equal(log_quota_take(&q, now, &hidden), i < LOG_QUOTA_BURST);
}

static void test_out_of_memory(void **state)
{
    mem_fail_at(1);
    assert_null(log_new(1, NULL));
    mem_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),  cmocka_unit_test(test_levels),
        cmocka_unit_test(test_err),     cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_terminal),
        cmocka_unit_test(test_quota),   cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
