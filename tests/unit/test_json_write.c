/* tests/unit/test_json_write.c - strings, values, canonical form, the writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <math.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "json/json.h"

static json_val *parse(struct arena *a, struct span text)
{
    struct err e = {0};
    json_val *v = NULL;
    if (!json_parse(a, text, &v, &e))
        fail_msg("%.*s: %s", SPAN_ARG(text), e.msg);
    return v;
}

static void assert_buf(const struct buf *b, const char *want)
{
    struct span got = buf_span(b);
    if (!span_eq(got, span_of(want)))
        fail_msg("\n got: %.*s\nwant: %s", SPAN_ARG(got), want);
}

/* --- strings ---------------------------------------------------------------------------------- */

static const struct {
    struct span in, out;
} strings[] = {
    {SPAN_INIT(""), SPAN_INIT("\"\"")},
    {SPAN_INIT("a"), SPAN_INIT("\"a\"")},
    {SPAN_INIT("\"\\/"), SPAN_INIT("\"\\\"\\\\/\"")},
    {SPAN_INIT("\b\t\n\f\r"), SPAN_INIT("\"\\b\\t\\n\\f\\r\"")},
    {SPAN_INIT("\0\x01\x1f\x7f"), SPAN_INIT("\"\\u0000\\u0001\\u001f\x7f\"")},
    {SPAN_INIT("12345678\n12345678\n"), SPAN_INIT("\"12345678\\n12345678\\n\"")},
    {SPAN_INIT("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"),
     SPAN_INIT("\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"")},
    {SPAN_INIT("\xE2\x80\xA8"), SPAN_INIT("\"\xE2\x80\xA8\"")},
    {SPAN_INIT("a\xff"), SPAN_INIT("\"a\xEF\xBF\xBD\"")},
    {SPAN_INIT("\xC3"), SPAN_INIT("\"\xEF\xBF\xBD\"")},
    {SPAN_INIT("\xC3\""), SPAN_INIT("\"\xEF\xBF\xBD\\\"\"")},
    {SPAN_INIT("\xE2\x82"), SPAN_INIT("\"\xEF\xBF\xBD\"")},
    {SPAN_INIT("\xE2\x82x"), SPAN_INIT("\"\xEF\xBF\xBDx\"")},
    {SPAN_INIT("\xF0\x9F\x98"), SPAN_INIT("\"\xEF\xBF\xBD\"")},
    {SPAN_INIT("\xC0\x80"), SPAN_INIT("\"\xEF\xBF\xBD\xEF\xBF\xBD\"")},
    {SPAN_INIT("\xED\xA0\x80"), SPAN_INIT("\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"")},
    {SPAN_INIT("\xF4\x90\x80\x80"),
     SPAN_INIT("\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"")},
    {SPAN_INIT("\x80"), SPAN_INIT("\"\xEF\xBF\xBD\"")},
};

static void test_strings(void **state)
{
    struct err e = {0};
    for (size_t i = 0; i < COUNT_OF(strings); i++) {
        struct buf b;
        buf_init(&b, 256);
        assert_true(json_write_str(&b, strings[i].in, &e));
        if (!span_eq(buf_span(&b), strings[i].out))
            fail_msg("%zu: %.*s", i, SPAN_ARG(buf_span(&b)));
        buf_done(&b);
    }
}

/* Every byte at every place of a text that spans several machine words, in memory that ends there.
 */
static void test_string_bytes_in_place(void **state)
{
    enum { N = 19 };
    struct err e = {0};
    struct buf b;
    buf_init(&b, 256);
    for (size_t at = 0; at < N; at++) {
        for (unsigned c = 0; c < 256; c++) {
            AUTO(arena) a = arena_new(0);
            char *text = mem_alloc(N);
            assert_non_null(text);
            memset(text, 'x', N);
            text[at] = (char)c;
            buf_clear(&b);
            assert_true(json_write_str(&b, span_make(text, N), &e));
            assert_true(text_is_utf8(buf_span(&b)));
            struct span back = json_str(parse(a, buf_span(&b)));
            assert_true(c >= 0x80 || span_eq(back, span_make(text, N)));
            assert_int_equal(back.n, c < 0x80 ? N : N + 2);
            mem_free(text);
        }
    }
    buf_done(&b);
}

/* Random bytes are always made valid; valid text always comes back as it was. */
static void test_strings_random(void **state)
{
    static const char *const pieces[] = {"a",    "\xC3\xA9",    "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
                                         "\"",   "\\",          "\n",           "longer plain text",
                                         "\x01", "\xE4\xBD\xA0"};
    struct rng r;
    struct err e = {0};
    struct buf in, out;
    rng_init(&r, 3);
    buf_init(&in, KIB(4));
    buf_init(&out, KIB(64));
    for (int i = 0; i < 3000; i++) {
        AUTO(arena) a = arena_new(0);
        bool valid = i % 2 == 0;
        buf_clear(&in);
        buf_clear(&out);
        for (uint64_t n = rng_below(&r, 20); n > 0; n--)
            assert_true(valid ? buf_add(&in, span_of(pieces[rng_below(&r, COUNT_OF(pieces))]), &e)
                              : buf_add_char(&in, (char)rng_u64(&r), &e));
        assert_true(json_write_str(&out, buf_span(&in), &e));
        assert_true(text_is_utf8(buf_span(&out)));
        json_val *v = parse(a, buf_span(&out));
        assert_true(!valid || span_eq(json_str(v), buf_span(&in)));
    }
    buf_done(&in);
    buf_done(&out);
}

/* Over the limit nothing is left behind. */
static void test_string_limit(void **state)
{
    struct err e = {0};
    struct buf b;
    buf_init(&b, 10);
    assert_true(buf_add(&b, SPAN("ab"), &e));
    assert_false(json_write_str(&b, SPAN("1234567"), &e));
    assert_int_equal(e.cls, ERR_LIMIT);
    assert_buf(&b, "ab");
    assert_false(json_write_str(&b, SPAN("\n\n\n\n"), &e));
    assert_buf(&b, "ab");
    assert_true(json_write_str(&b, SPAN("\n\n\n"), &e));
    assert_buf(&b, "ab\"\\n\\n\\n\"");
    buf_done(&b);
}

/* --- values ----------------------------------------------------------------------------------- */

static const struct {
    const char *in, *out, *canonical; /* NULL: the same as in */
} values[] = {
    {"null", NULL, NULL},
    {"\"\"", NULL, NULL},
    {"{}", NULL, NULL},
    {"[]", NULL, NULL},
    {"[[],{},[{}]]", NULL, NULL},
    {" [ 1 , 2 ] ", "[1,2]", "[1,2]"},
    {"{\"b\":1.0,\"a\":2}", NULL, "{\"a\":2,\"b\":1}"},
    {"{ \"a\" : 2 , \"b\" : 1 }", "{\"a\":2,\"b\":1}", "{\"a\":2,\"b\":1}"},
    {"{\"b\":{\"z\":[{\"y\":1,\"x\":2}],\"a\":true},\"\":null,\"B\":false}", NULL,
     "{\"\":null,\"B\":false,\"b\":{\"a\":true,\"z\":[{\"x\":2,\"y\":1}]}}"},
    {"{\"ab\":1,\"a\":2,\"\\u00e9\":3,\"z\":4}", "{\"ab\":1,\"a\":2,\"\xC3\xA9\":3,\"z\":4}",
     "{\"a\":2,\"ab\":1,\"z\":4,\"\xC3\xA9\":3}"},
    {"\"\\u0041\\/\\u001F\\u000a\"", "\"A/\\u001f\\n\"", "\"A/\\u001f\\n\""},
    {"[1.50,1e400,-0.0,1E5]", NULL, NULL}, /* verbatim; canonical form below */
};

static void test_values(void **state)
{
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        AUTO(arena) a = arena_new(0);
        struct err e = {0};
        struct buf b;
        buf_init(&b, KIB(4));
        json_val *v = parse(a, span_of(values[i].in));
        const char *out = values[i].out != NULL ? values[i].out : values[i].in;
        assert_true(json_write_val(&b, v, &e));
        assert_buf(&b, out);
        struct span raw;
        assert_true(json_raw(a, v, &raw, &e));
        assert_true(span_eq(raw, span_of(out)));
        if (strstr(values[i].in, "1e400") == NULL) {
            buf_clear(&b);
            assert_true(json_canonical(&b, v, &e));
            assert_buf(&b, values[i].canonical != NULL ? values[i].canonical : values[i].in);
        }
        buf_done(&b);
    }
}

/* A value from the middle of a document is written alone. */
static void test_inner_values(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct err e = {0};
    json_val *v = parse(a, SPAN("{\"a\":[1,{\"b\":[2,3]}],\"c\":{\"d\":\"e\"},\"f\":4}"));
    struct span raw;
    assert_true(json_raw(a, json_get(v, "a"), &raw, &e));
    assert_true(span_eq(raw, SPAN("[1,{\"b\":[2,3]}]")));
    assert_true(json_raw(a, json_get(v, "c"), &raw, &e));
    assert_true(span_eq(raw, SPAN("{\"d\":\"e\"}")));
    assert_true(json_raw(a, json_get(v, "f"), &raw, &e));
    assert_true(span_eq(raw, SPAN("4")));
    assert_false(json_raw(a, NULL, &raw, &e));
    assert_int_equal(e.cls, ERR_STATE);
    struct buf b;
    buf_init(&b, 20);
    assert_true(buf_add_char(&b, '>', &e));
    assert_false(json_write_val(&b, v, &e));
    assert_buf(&b, ">");
    assert_false(json_canonical(&b, v, &e));
    assert_buf(&b, ">");
    assert_int_equal(e.cls, ERR_LIMIT);
    assert_false(json_canonical(&b, NULL, &e));
    buf_done(&b);
}

/* The same meaning gives the same bytes; RFC 8785 has the notation. */
static const struct {
    const char *in, *out;
} canonical_numbers[] = {
    {"0", "0"},
    {"-0", "0"},
    {"0.000", "0"},
    {"-0e99999999999999999999", "0"},
    {"1", "1"},
    {"1.0", "1"},
    {"10e-1", "1"},
    {"0.1e1", "1"},
    {"-1.50", "-1.5"},
    {"100", "100"},
    {"1e2", "100"},
    {"1.2e2", "120"},
    {"12.34", "12.34"},
    {"1234e-2", "12.34"},
    {"0.5", "0.5"},
    {"5e-1", "0.5"},
    {"0.000001", "0.000001"},
    {"1e-6", "0.000001"},
    {"1.25e-6", "0.00000125"},
    {"0.0000001", "1e-7"},
    {"1.25e-7", "1.25e-7"},
    {"1e20", "100000000000000000000"},
    {"100000000000000000000", "100000000000000000000"},
    {"1e21", "1e+21"},
    {"1000000000000000000000", "1e+21"},
    {"-12.5e30", "-1.25e+31"},
    {"1e400", "1e+400"},
    {"9007199254740993", "9007199254740993"},
    {"9007199254740992", "9007199254740992"},
    {"1e99999999999999999999", "1e99999999999999999999"},
};

static void test_canonical_numbers(void **state)
{
    for (size_t i = 0; i < COUNT_OF(canonical_numbers); i++) {
        AUTO(arena) a = arena_new(0);
        struct err e = {0};
        struct buf b;
        buf_init(&b, KIB(1));
        assert_true(json_canonical(&b, parse(a, span_of(canonical_numbers[i].in)), &e));
        assert_buf(&b, canonical_numbers[i].out);
        /* what comes out is canonical already */
        json_val *again = parse(a, arena_dup(a, buf_span(&b)));
        buf_clear(&b);
        assert_true(json_canonical(&b, again, &e));
        assert_buf(&b, canonical_numbers[i].out);
        buf_done(&b);
    }
}

/* Many members, given in two orders. */
static void test_canonical_order(void **state)
{
    enum { N = 500 };
    AUTO(arena) a = arena_new(0);
    struct err e = {0};
    struct rng r;
    struct span canon[2];
    rng_init(&r, 11);
    for (int round = 0; round < 2; round++) {
        unsigned order[N];
        struct buf b;
        struct json_w w;
        buf_init(&b, MIB(1));
        rng_permutation(&r, N, order);
        json_w_init(&w, &b, &e);
        json_w_obj(&w);
        for (int i = 0; i < N; i++) {
            char key[16];
            snprintf(key, sizeof key, "k%u", order[i] % 2 ? order[i] : order[i] * 1000);
            json_w_key(&w, key);
            json_w_i64(&w, order[i]);
        }
        json_w_obj_end(&w);
        assert_true(json_w_end(&w));
        json_val *v = parse(a, buf_span(&b));
        buf_clear(&b);
        assert_true(json_canonical(&b, v, &e));
        canon[round] = arena_dup(a, buf_span(&b));
        buf_done(&b);
    }
    assert_true(span_eq(canon[0], canon[1]));
    struct json_iter it = json_iter_of(parse(a, canon[0]));
    struct span last = SPAN(""), key;
    size_t n = 0;
    for (; json_next(&it, &key, NULL); n++) {
        assert_true(span_cmp(last, key) < 0);
        last = key;
    }
    assert_int_equal(n, N);
}

/* --- the writer ------------------------------------------------------------------------------- */

static void test_writer(void **state)
{
    struct err e = {0};
    struct buf b;
    struct json_w w;
    buf_init(&b, KIB(1));
    json_w_init(&w, &b, &e);
    json_w_obj(&w);
    json_w_key(&w, "a\"");
    json_w_str(&w, SPAN("x\n"));
    json_w_key(&w, "b");
    json_w_arr(&w);
    json_w_i64(&w, 1);
    json_w_arr(&w);
    json_w_arr_end(&w);
    json_w_obj(&w);
    json_w_obj_end(&w);
    json_w_null(&w);
    json_w_bool(&w, true);
    json_w_bool(&w, false);
    json_w_cstr(&w, NULL);
    json_w_cstr(&w, "c");
    json_w_raw(&w, SPAN("{\"r\":1}"));
    json_w_f64(&w, 0.1);
    json_w_arr_end(&w);
    json_w_key(&w, "c");
    json_w_obj(&w);
    json_w_key(&w, "d");
    json_w_nusd(&w, 1230000);
    json_w_obj_end(&w);
    json_w_key(&w, "e");
    json_w_f64(&w, NAN);
    json_w_obj_end(&w);
    assert_true(json_w_end(&w));
    assert_buf(&b, "{\"a\\\"\":\"x\\n\",\"b\":[1,[],{},null,true,false,null,\"c\",{\"r\":1},0.1],"
                   "\"c\":{\"d\":0.00123},\"e\":null}");
    buf_done(&b);
}

static void test_writer_integers(void **state)
{
    static const struct {
        int64_t v;
        const char *i64, *nusd;
    } cases[] = {
        {0, "0", "0"},
        {1, "1", "0.000000001"},
        {-1, "-1", "-0.000000001"},
        {10, "10", "0.00000001"},
        {1230000, "1230000", "0.00123"},
        {-1230000, "-1230000", "-0.00123"},
        {999999999, "999999999", "0.999999999"},
        {1000000000, "1000000000", "1"},
        {-1000000000, "-1000000000", "-1"},
        {1500000000, "1500000000", "1.5"},
        {100000000000, "100000000000", "100"},
        {1000000001, "1000000001", "1.000000001"},
        {INT64_MAX, "9223372036854775807", "9223372036.854775807"},
        {INT64_MIN, "-9223372036854775808", "-9223372036.854775808"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = {0};
        struct buf b;
        struct json_w w;
        buf_init(&b, KIB(1));
        json_w_init(&w, &b, &e);
        json_w_i64(&w, cases[i].v);
        assert_buf(&b, cases[i].i64);
        buf_clear(&b);
        json_w_init(&w, &b, &e);
        json_w_nusd(&w, cases[i].v);
        assert_buf(&b, cases[i].nusd);
        assert_true(json_w_end(&w));
        buf_done(&b);
    }
}

static void test_writer_doubles(void **state)
{
    struct rng r;
    struct err e = {0};
    rng_init(&r, 5);
    for (int i = 0; i < 5000; i++) {
        static const double some[] = {0,
                                      1,
                                      -1,
                                      0.1,
                                      1e21,
                                      1e-7,
                                      1.7976931348623157e308,
                                      5e-324,
                                      1e300,
                                      1.0 / 3,
                                      123456789.125,
                                      -0.30000000000000004};
        double v, back;
        uint64_t bits = rng_u64(&r);
        memcpy(&v, &bits, sizeof v);
        if ((size_t)i < COUNT_OF(some))
            v = some[i];
        AUTO(arena) a = arena_new(0);
        struct buf b;
        struct json_w w;
        buf_init(&b, KIB(1));
        json_w_init(&w, &b, &e);
        json_w_f64(&w, v);
        assert_true(json_w_end(&w));
        json_val *read = parse(a, buf_span(&b));
        if (isfinite(v))
            assert_true(json_f64(read, &back) && back == v);
        else
            assert_true(json_is_null(read));
        assert_true(b.n <= 25);
        buf_done(&b);
    }
}

/* The first failure stays; nothing is added afterwards. */
static void test_writer_failure(void **state)
{
    struct err e = {0};
    struct buf b;
    struct json_w w;
    buf_init(&b, 8);
    json_w_init(&w, &b, &e);
    json_w_arr(&w);
    json_w_cstr(&w, "0123456789");
    assert_true(w.failed);
    size_t n = b.n;
    json_w_i64(&w, 1);
    json_w_key(&w, "k");
    json_w_f64(&w, 1);
    json_w_nusd(&w, 1);
    json_w_arr_end(&w);
    assert_int_equal(b.n, n);
    assert_false(json_w_end(&w));
    assert_int_equal(e.cls, ERR_LIMIT);
    buf_done(&b);

    unsigned long fail = 0;
    for (bool done = false; !done;) {
        e = (struct err){0};
        buf_init(&b, KIB(64));
        mem_fail_at(++fail);
        json_w_init(&w, &b, &e);
        json_w_arr(&w);
        for (int i = 0; i < 1000; i++)
            json_w_f64(&w, i / 3.0);
        json_w_arr_end(&w);
        bool ok = json_w_end(&w);
        assert_int_equal(ok, !mem_failed());
        assert_true(ok || e.cls == ERR_NOMEM);
        done = !mem_failed();
        mem_fail_at(0);
        buf_done(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_string_bytes_in_place),
        cmocka_unit_test(test_strings_random),
        cmocka_unit_test(test_string_limit),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_inner_values),
        cmocka_unit_test(test_canonical_numbers),
        cmocka_unit_test(test_canonical_order),
        cmocka_unit_test(test_writer),
        cmocka_unit_test(test_writer_integers),
        cmocka_unit_test(test_writer_doubles),
        cmocka_unit_test(test_writer_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
