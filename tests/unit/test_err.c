/* tests/unit/test_err.c - errors as values: what each class is, and messages fit for a terminal. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"

static void test_set(void **state)
{
    struct err e;
    memset(&e, 0x5A, sizeof e);
    errno = ENOENT;
    assert_false(err_set(&e, ERR_BUSY, "the queue of %s is full", "m1"));
    assert_int_equal(e.cls, ERR_BUSY);
    assert_int_equal(e.sent, SENT_NO);
    assert_int_equal(e.sys, 0);
    assert_int_equal(e.status, 429);
    assert_int_equal(e.upstream_status, 0);
    assert_true(e.retry_after_ms == -1);
    assert_string_equal(e.code, "rate_limit_exceeded");
    assert_string_equal(e.param, "");
    assert_string_equal(e.msg, "the queue of m1 is full");
    errno = ENOENT;
    assert_false(err_set(&e, ERR_SYS, "open failed"));
    assert_int_equal(e.sys, ENOENT);
    assert_false(err_set(NULL, ERR_SYS, "nobody asks"));
}

static void test_field_code_prefix(void **state)
{
    struct err e;
    assert_false(err_field(&e, "messages[2].content", "must be %s", "text"));
    assert_int_equal(e.cls, ERR_INPUT);
    assert_int_equal(e.status, 400);
    assert_string_equal(e.param, "messages[2].content");
    assert_false(err_with_code(&e, "bad_content"));
    assert_false(err_prefix(&e, "message %d", 2));
    assert_string_equal(e.code, "bad_content");
    assert_string_equal(e.msg, "message 2: must be text");
    assert_string_equal(e.param, "messages[2].content");
    assert_false(err_set(&e, ERR_UPSTREAM, "%s said: %s", e.param, e.msg));
    assert_string_equal(e.msg, "messages[2].content said: message 2: must be text");
    assert_string_equal(e.param, "");
    assert_false(err_field(NULL, "a", "b"));
    assert_false(err_with_code(NULL, "c"));
    assert_false(err_prefix(NULL, "d"));
    assert_false(err_field(&e, NULL, "no field"));
    assert_string_equal(e.param, "");
}

static void test_controls_are_visible(void **state)
{
    struct err e;
    err_field(&e, "a\nb", "%s", "x\r\n\033[31m\t\xFF\xC3\xA9");
    assert_string_equal(e.msg, "x\\x0D\\x0A\\x1B[31m\\x09\\xFF\xC3\xA9");
    assert_string_equal(e.param, "a\\x0Ab");
    err_prefix(&e, "p\n");
    assert_string_equal(e.msg, "p\\x0A: x\\x0D\\x0A\\x1B[31m\\x09\\xFF\xC3\xA9");
}

static void test_long_messages_are_cut(void **state)
{
    char text[1000];
    memset(text, 'm', sizeof text);
    struct err e;
    for (int n = 390; n < 420; n++) {
        err_set(&e, ERR_INPUT, "%.*s", n, text);
        size_t len = strlen(e.msg);
        assert_int_equal(len, n < (int)sizeof e.msg ? n : (int)sizeof e.msg - 1);
        assert_int_equal(span_ends(span_of(e.msg), SPAN("...")), n >= (int)sizeof e.msg);
        err_prefix(&e, "%.*s", n, "where");
        assert_true(span_starts(span_of(e.msg), SPAN("where: mmm")));
        err_prefix(&e, "%.*s", n, text);
        assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
        assert_true(span_ends(span_of(e.msg), SPAN("...")));
    }
    /* A cut never leaves a part of a character or of an escape. */
    for (int n = 380; n < 400; n++) {
        err_set(&e, ERR_INPUT, "%.*s\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\n\n\n\n", n, text);
        struct span s = span_of(e.msg);
        assert_true(s.n < sizeof e.msg);
        if (span_ends(s, SPAN("..."))) {
            s = span_upto(s, s.n - 3);
            assert_true(span_ends(s, SPAN("m")) || span_ends(s, SPAN("\xE2\x82\xAC")) ||
                        span_ends(s, SPAN("\\x0A")));
        }
    }
}

static void test_classes(void **state)
{
    static const struct {
        enum err_class cls;
        int status;
        const char *name, *type;
    } cases[] = {
        {ERR_INPUT, 400, "input", "invalid_request_error"},
        {ERR_AUTH, 401, "auth", "authentication_error"},
        {ERR_BUDGET, 402, "budget", "insufficient_quota"},
        {ERR_FORBIDDEN, 403, "forbidden", "permission_error"},
        {ERR_NOT_FOUND, 404, "not_found", "invalid_request_error"},
        {ERR_METHOD, 405, "method", "invalid_request_error"},
        {ERR_CONFLICT, 409, "conflict", "invalid_request_error"},
        {ERR_LIMIT, 413, "limit", "invalid_request_error"},
        {ERR_MEDIA, 415, "media", "invalid_request_error"},
        {ERR_BUSY, 429, "busy", "rate_limit_error"},
        {ERR_CANCELLED, 499, "cancelled", "invalid_request_error"},
        {ERR_STATE, 500, "state", "server_error"},
        {ERR_SYS, 500, "sys", "server_error"},
        {ERR_UPSTREAM, 502, "upstream", "server_error"},
        {ERR_CONNECT, 502, "connect", "server_error"},
        {ERR_CUT, 502, "cut", "server_error"},
        {ERR_NOMEM, 503, "nomem", "server_error"},
        {ERR_UNAVAILABLE, 503, "unavailable", "server_error"},
        {ERR_TIMEOUT, 504, "timeout", "server_error"},
        {ERR_CONFIG, 500, "config", "server_error"},
        {ERR_USAGE, 400, "usage", "invalid_request_error"},
    };
    assert_int_equal(COUNT_OF(cases), ERR_CLASSES - 1);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e;
        err_set(&e, cases[i].cls, "x");
        assert_int_equal(e.status, cases[i].status);
        assert_int_equal(err_status(cases[i].cls), cases[i].status);
        assert_string_equal(err_class_name(cases[i].cls), cases[i].name);
        assert_string_equal(err_type(cases[i].cls), cases[i].type);
        assert_true(e.code && *e.code);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_field_code_prefix),
        cmocka_unit_test(test_controls_are_visible),
        cmocka_unit_test(test_long_messages_are_cut),
        cmocka_unit_test(test_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
