/* tests/unit/test_node.c - YAML and JSON as one tree: kinds, places, numbers, units, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "config/node.h"

static struct node yaml(struct arena *a, const char *text)
{
    struct err e = {0};
    struct node n = {NULL, NULL};
    if (!node_from_yaml(a, span_of(text), "t.yaml", &n, &e))
        fail_msg("%s", e.msg);
    return n;
}

static struct node json(struct arena *a, const char *text)
{
    struct err e = {0};
    struct node n = {NULL, NULL};
    if (!node_from_json(a, span_of(text), "fusion", &n, &e))
        fail_msg("%s", e.msg);
    return n;
}

static void assert_span(struct span got, const char *want)
{
    if (!span_eq(got, span_of(want)))
        fail_msg("'%.*s' is not '%s'", SPAN_ARG(got), want);
}

static void walks_both(void **state)
{
    const char *texts[] = {"a: 1\nb: [x, {c: yes}]\nd: ~\n",
                           "{\"a\":1,\"b\":[\"x\",{\"c\":\"yes\"}],"
                           "\"d\":null}"};
    for (size_t i = 0; i < 2; i++) {
        AUTO(arena) a = arena_new(0);
        struct node n = i == 0 ? yaml(a, texts[i]) : json(a, texts[i]);
        struct err e = {0};
        struct span key, text = {NULL, 0};
        int64_t number = 0;
        assert_int_equal(node_kind_of(n), NODE_MAP);
        assert_int_equal(node_count(n), 3);
        struct node b = node_at(n, 1, &key);
        assert_span(key, "b");
        assert_int_equal(node_kind_of(b), NODE_LIST);
        assert_true(node_str(node_get(node_at(b, 1, NULL), "c"), &text, &e));
        assert_span(text, "yes");
        assert_true(node_i64(node_get(n, "a"), 0, 9, &number, &e));
        assert_int_equal(number, 1);
        assert_int_equal(node_kind_of(node_get(n, "d")), NODE_NULL);
        assert_int_equal(node_kind_of(node_get(n, "e")), NODE_ABSENT);
        assert_int_equal(node_count(node_get(n, "e")), 0);
        assert_true(node_i64(node_get(n, "e"), 0, 9, &number, &e));
        assert_int_equal(number, 1);
    }
}

static void yaml_forms(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct node n =
        yaml(a, "# comment\n\"q\": '5'\nlit: |\n  one\n  two\nbase: &b {x: 1}\nuse: *b\n"
                "u: \"\\u00e4\"\nnull: 3\n");
    struct err e = {0};
    struct span text = {NULL, 0};
    int64_t number = 0;
    assert_true(node_str(node_get(n, "lit"), &text, &e));
    assert_span(text, "one\ntwo\n");
    assert_true(node_i64(node_get(node_get(n, "use"), "x"), 0, 9, &number, &e));
    assert_int_equal(number, 1);
    assert_true(node_str(node_get(n, "u"), &text, &e));
    assert_span(text, "\xC3\xA4");
    assert_int_equal(node_kind_of(node_get(n, "null")), NODE_SCALAR);
    assert_false(node_i64(node_get(n, "q"), 0, 9, &number, &e));
    assert_string_equal(e.msg, "t.yaml:2:6: q: must be a whole number from 0 to 9, not '5'");
    assert_int_equal(node_count(yaml(a, "")), 0);
    assert_int_equal(node_kind_of(yaml(a, "# nothing\n")), NODE_MAP);
}

static void bad_yaml(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"a: 1\nb: 2\na: 3\n", "t.yaml:3:1: duplicate key 'a'"},
        {"a: {b: 1, b: 2}\n", "t.yaml:1:11: duplicate key 'b'"},
        {"a: !x 3\n", "t.yaml:1:4: tags (!...) have no meaning here; write the value without"},
        {"a: &x [*x]\n", "t.yaml:1:9: '*x' stands within what it names"},
        {"a: *y\n", "t.yaml:1:5: no anchor named 'y' stands before this"},
        {"a: 1\n---\nb: 2\n", "t.yaml:2:1: a second document ('---') is not read"},
        {"? [a]\n: 1\n", "t.yaml:1:3: a key must be plain text"},
        {"a: \"\\xq\"\n", "t.yaml:1:5: double-quoted scalar has invalid hex escape"},
        {"a: \xFF\n", "t.yaml:1:1: the file is not UTF-8"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        struct err e = {0};
        struct node n;
        assert_false(node_from_yaml(a, span_of(cases[i].text), "t.yaml", &n, &e));
        assert_int_equal(e.cls, ERR_CONFIG);
        assert_string_equal(e.msg, cases[i].want);
    }
}

static void bad_yaml_large(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct err e = {0};
    struct node n;
    char *text = mem_alloc(LIMIT_CONFIG_BYTES + 1);
    memset(text, ' ', LIMIT_CONFIG_BYTES + 1);
    assert_false(node_from_yaml(a, span_make(text, LIMIT_CONFIG_BYTES + 1), "t", &n, &e));
    assert_string_equal(e.msg, "t:1:1: the file is larger than 4 MiB");
    memset(text, '[', 500);
    assert_false(node_from_yaml(a, span_make(text, 500), "t", &n, &e));
    assert_int_equal(e.cls, ERR_CONFIG);
    text[1] = '\0';
    assert_false(node_from_yaml(a, span_make(text, 3), "t", &n, &e));
    assert_string_equal(e.msg, "t:1:1: the file holds a NUL character; it is not text");
    mem_free(text);
}

static void bad_json(void **state)
{
    static const struct {
        const char *text, *param;
    } cases[] = {{"{\"a\":1,\"a\":2}", "fusion"}, {"{", "fusion"}, {"{} x", "fusion"}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        struct err e = {0};
        struct node n;
        assert_false(node_from_json(a, span_of(cases[i].text), "fusion", &n, &e));
        assert_int_equal(e.cls, ERR_INPUT);
        assert_string_equal(e.param, cases[i].param);
    }
}

/* What a read of `v` says: "" when it succeeds. */
static const char *try_read(const char *type, struct node n, int64_t *out, struct err *e)
{
    static const char *const words[] = {"keep", "leave"};
    struct span text;
    bool flag = false, ok = false;
    double f = 0;
    int word = 0;
    *e = (struct err){0};
    if (strcmp(type, "str") == 0)
        ok = node_str(n, &text, e);
    else if (strcmp(type, "bool") == 0)
        ok = node_bool(n, &flag, e);
    else if (strcmp(type, "i64") == 0)
        ok = node_i64(n, 1, 16, out, e);
    else if (strcmp(type, "f64") == 0)
        ok = node_f64(n, 0, 2, &f, e);
    else if (strcmp(type, "duration") == 0)
        ok = node_duration(n, 1000000, out, e);
    else if (strcmp(type, "nusd") == 0)
        ok = node_nusd(n, out, e);
    else if (strcmp(type, "word") == 0)
        ok = node_word(n, words, 2, &word, e);
    else if (strcmp(type, "only") == 0)
        ok = node_only(n, words, 2, e);
    return ok ? "" : e->msg;
}

static void yaml_types(void **state)
{
    static const struct {
        const char *type, *value, *want;
    } cases[] = {
        {"str", "[a]", "t:1:1: v: must be text, not a list"},
        {"str", "", "t:1:1: v: has no value; it must be text"},
        {"str", "\"a\\0b\"", "t:1:4: v: must not hold a NUL character"},
        {"str", "5", ""},
        {"bool", "true", ""},
        {"bool", "yes", "t:1:4: v: must be true or false, not 'yes'"},
        {"bool", "'true'", "t:1:4: v: must be true or false, not 'true'"},
        {"i64", "16", ""},
        {"i64", "1e1", ""},
        {"i64", "17", "t:1:4: v: must be a whole number from 1 to 16, not '17'"},
        {"i64", "1.5", "t:1:4: v: must be a whole number from 1 to 16, not '1.5'"},
        {"i64", "0x4", "t:1:4: v: must be a whole number from 1 to 16, not '0x4'"},
        {"i64", "{a: 1}", "t:1:1: v: must be a whole number from 1 to 16, not a map"},
        {"f64", "0.7", ""},
        {"f64", "2.1", "t:1:4: v: must be a number from 0 to 2, not '2.1'"},
        {"f64", "nan", "t:1:4: v: must be a number from 0 to 2, not 'nan'"},
        {"f64", "'1'", "t:1:4: v: must be a number from 0 to 2, not '1'"},
        {"duration", "3 s",
         "t:1:4: v: must be a duration such as 250ms, 3s, 15m, 2h or 7d, not '3 s'"},
        {"duration", "-3s",
         "t:1:4: v: must be a duration such as 250ms, 3s, 15m, 2h or 7d, not '-3s'"},
        {"duration", "20000d", "t:1:4: v: must be a duration of at most ten years, not '20000d'"},
        {"duration", "0.0001ms",
         "t:1:4: v: must be a duration of whole microseconds, not "
         "'0.0001ms'"},
        {"nusd", "x", "t:1:4: v: must be an amount in USD such as 0.05, not 'x'"},
        {"nusd", "-1", "t:1:4: v: must be an amount of 0 or more, not '-1'"},
        {"nusd", "0.0000000001",
         "t:1:4: v: has more than nine decimals; the smallest amount is 0.000000001"},
        {"nusd", "1e10", "t:1:4: v: is larger than any amount that can be booked (9.2e9)"},
        {"word", "leave", ""},
        {"word", "Leave", "t:1:4: v: must be keep or leave, not 'Leave'"},
        {"only", "{keep: 1}", ""},
        {"only", "{kep: 1}", "t:1:5: unknown field 'kep'; did you mean 'keep'?"},
        {"only", "{zzzzzz: 1}", "t:1:5: unknown field 'zzzzzz'"},
        {"only", "x", "t:1:4: v: must be a map of fields, not 'x'"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        char text[128];
        struct err e = {0};
        struct node n = {NULL, NULL};
        int64_t out;
        snprintf(text, sizeof text, "v: %s\n", cases[i].value);
        assert_true(node_from_yaml(a, span_of(text), "t", &n, &e));
        assert_string_equal(try_read(cases[i].type, node_get(n, "v"), &out, &e), cases[i].want);
    }
}

static void json_types(void **state)
{
    static const struct {
        const char *type, *value, *want, *param;
    } cases[] = {
        {"str", "5", "fusion.v[0]: must be text, not '5'", "fusion.v[0]"},
        {"str", "null", "", ""},
        {"bool", "\"true\"", "fusion.v[0]: must be true or false, not 'true'", "fusion.v[0]"},
        {"i64", "\"5\"", "fusion.v[0]: must be a whole number from 1 to 16, not '5'",
         "fusion.v[0]"},
        {"i64", "5.0", "", ""},
        {"word", "true", "fusion.v[0]: must be keep or leave, not 'true'", "fusion.v[0]"},
        {"only", "{\"keap\": 1}", "fusion.v[0].keap: unknown field 'keap'; did you mean 'keep'?",
         "fusion.v[0].keap"},
        {"nusd", "5e-05", "", ""},
        {"duration", "true",
         "fusion.v[0]: must be a duration such as 250ms, 3s, 15m, 2h or 7d, not 'true'",
         "fusion.v[0]"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        char text[128];
        struct err e = {0};
        int64_t out;
        snprintf(text, sizeof text, "{\"v\": [%s]}", cases[i].value);
        struct node n = node_at(node_get(json(a, text), "v"), 0, NULL);
        assert_string_equal(try_read(cases[i].type, n, &out, &e), cases[i].want);
        assert_string_equal(e.param, cases[i].param);
        assert_int_equal(e.cls, cases[i].want[0] ? ERR_INPUT : ERR_NONE);
    }
}

static void exact_values(void **state)
{
    static const struct {
        const char *type, *value;
        int64_t want;
    } cases[] = {
        {"nusd", "0.05", 50000000},
        {"nusd", "1.50", 1500000000},
        {"nusd", "0.1", 100000000},
        {"nusd", "5e-05", 50000},
        {"nusd", "2E3", 2000000000000},
        {"nusd", "0.000000001", 1},
        {"nusd", "0.1000000000000", 100000000},
        {"nusd", "9223372036.854775807", INT64_MAX},
        {"nusd", "0e999", 0},
        {"duration", "250ms", 250000},
        {"duration", "3s", 3000000},
        {"duration", "1.5m", 90000000},
        {"duration", "2h", 7200000000},
        {"duration", "7d", 604800000000},
        {"duration", "4", 4000000},
        {"duration", "0.5ms", 500},
        {"duration", "0", 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        char text[128];
        struct err e = {0};
        int64_t out = -1;
        snprintf(text, sizeof text, "v: %s\n", cases[i].value);
        assert_string_equal(try_read(cases[i].type, node_get(yaml(a, text), "v"), &out, &e), "");
        assert_int_equal(out, cases[i].want);
    }
}

static void aliases_do_not_grow(void **state)
{
    AUTO(arena) a = arena_new(MIB(1));
    char text[2048];
    int n = snprintf(text, sizeof text, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 30; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "a%d: &a%d [*a%d,*a%d,*a%d]\n", i, i,
                      i - 1, i - 1, i - 1);
    assert_int_equal(node_count(yaml(a, text)), 30);
}

static void survives_no_memory(void **state)
{
    const char *text = "a: {b: [1, &x 2, *x]}\n";
    bool done = false;
    for (unsigned long at = 1; !done; at++) {
        struct err e = {0};
        struct node n;
        mem_fail_at(at);
        AUTO(arena) a = arena_new(0);
        bool ok = a && node_from_yaml(a, span_of(text), "t", &n, &e);
        done = !mem_failed();
        mem_fail_at(0);
        assert_int_equal(ok, done);
        if (a && !ok)
            assert_int_equal(e.cls, ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_both),
        cmocka_unit_test(yaml_forms),
        cmocka_unit_test(bad_yaml),
        cmocka_unit_test(bad_yaml_large),
        cmocka_unit_test(bad_json),
        cmocka_unit_test(yaml_types),
        cmocka_unit_test(json_types),
        cmocka_unit_test(exact_values),
        cmocka_unit_test(aliases_do_not_grow),
        cmocka_unit_test(survives_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
