/* tests/unit/test_json.c - strict parsing, access, walking. Writing is in test_json_write.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <math.h>
#include <time.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "json/json.h"

static json_val *parse(struct arena *a, const char *text)
{
    struct err e = {0};
    json_val *v = NULL;
    if (!json_parse(a, span_of(text), &v, &e))
        fail_msg("%s: %s", text, e.msg);
    return v;
}

/* --- what is refused, and how ----------------------------------------------------------------- */

static const struct {
    const char *text, *msg; /* msg: a part of the message */
} refused[] = {
    {"", "at byte 0: it is empty"},
    {" \n", "at byte 0"},
    {"{", "at byte 1"},
    {"[", "at byte 1"},
    {"nul", "at byte"},
    {"nulll", "at byte 4"},
    {"True", "at byte 0"},
    {"[1,]", "at byte 2"},
    {"[,1]", "at byte 1"},
    {"{\"a\":1,}", "at byte 6"},
    {"{\"a\" 1}", "at byte 5"},
    {"{a:1}", "at byte 1"},
    {"{'a':1}", "at byte 1"},
    {"[1 2]", "at byte 3"},
    {"1 2", "at byte 2: unexpected content"},
    {"{} {}", "at byte 3: unexpected content"},
    {"{\"a\":1}x", "at byte 7: unexpected content"},
    {"12x", "at byte 2: unexpected content"},
    {"[1]]", "at byte 3: unexpected content"},
    {"01", "at byte 0"},
    {"-", "at byte 1"},
    {"+1", "at byte 0"},
    {".5", "at byte 0"},
    {"1.", "at byte"},
    {"1.e5", "at byte"},
    {"1e", "at byte"},
    {"1e+", "at byte"},
    {"0x10", "at byte 1"},
    {"NaN", "at byte 0"},
    {"Infinity", "at byte 0"},
    {"-Infinity", "at byte 1"},
    {"/* c */ 1", "at byte 0"},
    {"1 // c", "at byte 2"},
    {"\"a\nb\"", "at byte 2"},
    {"\"\t\"", "at byte 1"},
    {"\"\\x\"", "at byte"},
    {"\"\\u12g4\"", "at byte"},
    {"\"\\ud800\"", "at byte"},        /* lone high surrogate */
    {"\"\\ud800x\"", "at byte"},       /* */
    {"\"\\ud800\\u0041\"", "at byte"}, /* high without low */
    {"\"\\udc00\"", "at byte"},        /* lone low surrogate */
    {"\"\\ud800\\ud800\"", "at byte"}, /* two high ones */
    {"{\"\\udfff\":1}", "at byte"},    /* in a key */
    {"\"\xff\"", "at byte 1"},
    {"\"\xc0\x80\"", "at byte 1"},     /* overlong */
    {"\"\xed\xa0\x80\"", "at byte 1"}, /* surrogate */
    {"\"\xf4\x90\x80\x80\"", "at byte 1"},
    {"\"\xe2\x82\"", "at byte"}, /* cut off */
    {"\xEF\xBB\xBF{}", "byte order mark"},
    {"\"abc", "at byte 4"},
    {"\"abc\\", "at byte"},
    {"\"abc\\\"", "at byte 6"},
};

static void test_refused(void **state)
{
    struct json_scratch s;
    json_scratch_init(&s);
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        AUTO(arena) a = arena_new(0);
        struct err e = {0};
        json_val *v = (json_val *)&e;
        assert_false(json_parse(a, span_of(refused[i].text), &v, &e));
        assert_ptr_equal(v, &e);
        assert_int_equal(e.cls, ERR_INPUT);
        if (strstr(e.msg, "not valid JSON") == NULL || strstr(e.msg, refused[i].msg) == NULL)
            fail_msg("%s: %s", refused[i].text, e.msg);
        assert_false(json_parse_scratch(&s, span_of(refused[i].text), &v, &e));
        assert_int_equal(e.cls, ERR_INPUT);
    }
    json_scratch_done(&s);
}

static void test_nul_bytes(void **state)
{
    AUTO(arena) a = arena_new(0);
    static const struct span texts[] = {SPAN_INIT("\"a\0b\""), SPAN_INIT("1\0"), SPAN_INIT("\0"),
                                        SPAN_INIT("[1]\0"), SPAN_INIT("{\"a\0\":1}")};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct err e = {0};
        json_val *v;
        assert_false(json_parse(a, texts[i], &v, &e));
        assert_int_equal(e.cls, ERR_INPUT);
    }
    json_val *v = parse(a, "[\"a\\u0000b\",{\"x\\u0000\":1,\"x\":2}]"); /* escaped, they are text */
    struct json_iter it = json_iter_of(v);
    assert_true(json_next(&it, NULL, &v));
    assert_true(span_eq(json_str(v), SPAN("a\0b")));
    assert_true(json_next(&it, NULL, &v));
    assert_true(span_eq(json_num_text(json_get(v, "x")), SPAN("2")));
    assert_true(span_eq(json_num_text(json_get_span(v, SPAN("x\0"))), SPAN("1")));
}

/* n opening brackets and as many closing ones, with a string of brackets inside, which do not
 * count. */
static struct span nested(struct arena *a, int n, bool objects)
{
    struct buf b;
    struct err e;
    buf_init(&b, MIB(8));
    for (int i = 0; i < n; i++)
        assert_true(buf_add(&b, objects ? SPAN("{\"[[\\\"{\\\\\":") : SPAN("["), &e));
    assert_true(buf_add(&b, SPAN("\"[[[[\\\\\""), &e));
    for (int i = 0; i < n; i++)
        assert_true(buf_add_char(&b, objects ? '}' : ']', &e));
    struct span text = arena_dup(a, buf_span(&b));
    buf_done(&b);
    return text;
}

static void test_depth(void **state)
{
    for (int kind = 0; kind < 2; kind++) {
        AUTO(arena) a = arena_new(0);
        struct err e = {0};
        json_val *v;
        struct json_scratch s;
        struct span at_limit = nested(a, LIMIT_JSON_DEPTH, kind != 0);
        struct span over = nested(a, LIMIT_JSON_DEPTH + 1, kind != 0);
        struct span far_over = nested(a, 500000, kind != 0);
        json_scratch_init(&s);
        assert_true(json_parse(a, at_limit, &v, &e));
        struct buf b;
        buf_init(&b, MIB(1));
        assert_true(json_write_val(&b, v, &e));
        assert_true(span_eq(buf_span(&b), at_limit));
        buf_clear(&b);
        assert_true(json_canonical(&b, v, &e));
        assert_true(span_eq(buf_span(&b), at_limit));
        buf_done(&b);
        assert_true(json_parse_scratch(&s, at_limit, &v, &e));
        assert_false(json_parse(a, over, &v, &e));
        assert_int_equal(e.cls, ERR_INPUT);
        assert_non_null(strstr(e.msg, "nested deeper than 64"));
        assert_false(json_parse(a, far_over, &v, &e));
        assert_false(json_parse_scratch(&s, over, &v, &e));
        assert_false(json_parse_scratch(&s, far_over, &v, &e));
        assert_non_null(strstr(e.msg, "nested deeper than 64"));
        json_scratch_done(&s);
    }
}

/* --- duplicate keys --------------------------------------------------------------------------- */

static const struct {
    const char *text, *param, *in;
} duplicates[] = {
    {"{\"a\":1,\"a\":2}", "a", "the outermost object"},
    {"{\"a\":1,\"\\u0061\":2}", "a", "the outermost object"},
    {"{\"\":1,\"b\":2,\"\":2}", "", "the outermost object"},
    {"{\"x\":{\"a\":1,\"b\":{},\"a\":[]}}", "x.a", "in x"},
    {"[0,{\"m\":[[],{\"k\":0,\"kk\":1,\"k\":2}]}]", "[1].m[1].k", "in [1].m[1]"},
    {"{\"messages\":[{},{},{\"role\":\"user\",\"content\":[{\"type\":\"a\",\"type\":\"b\"}]}]}",
     "messages[2].content[0].type", "in messages[2].content[0]"},
    {"{\"\\ud83d\\ude00\":1,\"\xF0\x9F\x98\x80\":2}", "\xF0\x9F\x98\x80", "the outermost"},
};

static void test_duplicate_keys(void **state)
{
    for (size_t i = 0; i < COUNT_OF(duplicates); i++) {
        AUTO(arena) a = arena_new(0);
        struct err e = {0};
        json_val *v;
        assert_false(json_parse(a, span_of(duplicates[i].text), &v, &e));
        assert_int_equal(e.cls, ERR_INPUT);
        assert_string_equal(e.param, duplicates[i].param);
        assert_non_null(strstr(e.msg, "duplicate key"));
        assert_non_null(strstr(e.msg, duplicates[i].in));
    }
    AUTO(arena) a = arena_new(0);
    parse(a, "{\"a\":{\"a\":[{\"a\":1},{\"a\":1}]},\"b\":\"a\",\"c\":\"a\"}");
    parse(a, "{\"a\":1,\"A\":2,\"aa\":3,\"\":4,\"a \":5}");

    struct json_scratch s; /* streams: the first counts */
    struct err e = {0};
    json_val *v;
    json_scratch_init(&s);
    assert_true(json_parse_scratch(&s, SPAN("{\"a\":1,\"a\":2}"), &v, &e));
    assert_true(span_eq(json_num_text(json_get(v, "a")), SPAN("1")));
    json_scratch_done(&s);
}

/* An object of n members; the last key is that of member `twin` again, if that is not negative. */
static struct span large_object(struct arena *a, int n, int twin)
{
    struct buf b;
    struct err e;
    buf_init(&b, MIB(64));
    assert_true(buf_add(&b, SPAN("{\"in\":{"), &e));
    for (int i = 0; i < n; i++)
        assert_true(buf_addf(&b, &e, "\"%08x\":%d,", (unsigned)i * 2654435761u, i));
    if (twin >= 0)
        assert_true(buf_addf(&b, &e, "\"%08x\":0", (unsigned)twin * 2654435761u));
    else
        assert_true(buf_add(&b, SPAN("\"last\":0"), &e));
    assert_true(buf_add(&b, SPAN("}}"), &e));
    struct span text = arena_dup(a, buf_span(&b));
    buf_done(&b);
    return text;
}

static void test_duplicates_in_large_objects(void **state)
{
    static const int sizes[] = {1, 2, 15, 30, 31, 32, 33, 34, 63, 100, 2000};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        int n = sizes[i];
        AUTO(arena) a = arena_new(0);
        struct err e = {0};
        json_val *v;
        assert_true(json_parse(a, large_object(a, n, -1), &v, &e));
        assert_int_equal(json_count(json_get(v, "in")), n + 1);
        for (int twin = 0; twin < n; twin += 1 + n / 40) {
            char param[32];
            assert_false(json_parse(a, large_object(a, n, twin), &v, &e));
            snprintf(param, sizeof param, "in.%08x", (unsigned)twin * 2654435761u);
            assert_string_equal(e.param, param);
        }
    }
}

/* 200,000 keys are 20 billion pairs: a quadratic search would take minutes. */
static void test_large_object_is_not_quadratic(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct err e = {0};
    json_val *v;
    struct span text = large_object(a, 200000, -1);
    int64_t start = clock_mono_us();
    assert_true(json_parse(a, text, &v, &e));
    assert_true(clock_mono_us() - start < 10000000);
}

/* --- access ----------------------------------------------------------------------------------- */

static void test_access(void **state)
{
    AUTO(arena) a = arena_new(0);
    json_val *v =
        parse(a, " { \"s\" : \"x\\ny\", \"e\":\"\", \"n\":null, \"t\":true, \"f\":false,\r\n"
                 "\"i\":-5, \"a\":[1,[2],{}], \"o\":{\"k\":\"v\"}, \"empty\":{} } ");
    assert_true(json_is_obj(v));
    assert_int_equal(json_count(v), 9);
    assert_true(span_eq(json_str(json_get(v, "s")), SPAN("x\ny")));
    assert_non_null(json_str(json_get(v, "e")).p);
    assert_int_equal(json_str(json_get(v, "e")).n, 0);
    assert_null(json_str(json_get(v, "i")).p);
    assert_null(json_str(NULL).p);
    assert_null(json_num_text(json_get(v, "s")).p);
    assert_true(json_is_null(json_get(v, "n")));
    assert_true(json_true(json_get(v, "t")));
    assert_false(json_true(json_get(v, "f")));
    assert_false(json_true(NULL));
    assert_true(json_is_bool(json_get(v, "f")));
    assert_true(json_is_num(json_get(v, "i")));
    assert_true(json_is_arr(json_get(v, "a")));
    assert_int_equal(json_count(json_get(v, "a")), 3);
    assert_true(span_eq(json_str(json_get_span(json_get(v, "o"), SPAN("k"))), SPAN("v")));
    assert_null(json_get(v, "missing"));
    assert_null(json_get(NULL, "x"));
    assert_null(json_get(json_get(v, "a"), "x"));
    assert_null(json_get_span(v, (struct span){NULL, 0}));
    static const struct {
        const char *key, *name;
    } types[] = {{"s", "string"}, {"n", "null"},   {"t", "boolean"},     {"i", "number"},
                 {"a", "array"},  {"o", "object"}, {"missing", "absent"}};
    for (size_t i = 0; i < COUNT_OF(types); i++)
        assert_string_equal(json_type_name(json_get(v, types[i].key)), types[i].name);
    bool (*const is[])(json_val *) = {json_is_null, json_is_obj, json_is_arr,
                                      json_is_str,  json_is_num, json_is_bool};
    for (size_t i = 0; i < COUNT_OF(is); i++)
        assert_false(is[i](NULL));
}

static void test_walk(void **state)
{
    AUTO(arena) a = arena_new(0);
    char seen[64] = "";
    size_t n = 0;
    struct span key;
    json_val *val;
    struct json_iter it = json_iter_of(parse(a, "{\"a\":[1,{\"x\":2}],\"b\":{\"y\":[]},\"c\":3}"));
    while (json_next(&it, &key, &val))
        n += (size_t)snprintf(seen + n, sizeof seen - n, "%.*s=%s;", SPAN_ARG(key),
                              json_type_name(val));
    assert_string_equal(seen, "a=array;b=object;c=number;");
    assert_false(json_next(&it, &key, &val));

    it = json_iter_of(parse(a, "[[],[[]],7]"));
    for (n = 0; json_next(&it, &key, &val); n++)
        assert_int_equal(key.n, 0);
    assert_int_equal(n, 3);
    it = json_iter_of(NULL);
    assert_false(json_next(&it, NULL, NULL));
    it = json_iter_of(parse(a, "5"));
    assert_false(json_next(&it, NULL, NULL));
    it = json_iter_of(parse(a, "{}"));
    assert_false(json_next(&it, NULL, NULL));
}

/* --- numbers ---------------------------------------------------------------------------------- */

#define NO_INT   INT64_C(-77)
#define NO_FLOAT (-77.0)

static const struct {
    const char *text;
    int64_t i;
    double f;
} numbers[] = {
    {"0", 0, 0},
    {"-0", 0, 0},
    {"-0.0", 0, 0},
    {"1", 1, 1},
    {"-1", -1, -1},
    {"5.0", 5, 5},
    {"5.000e0", 5, 5},
    {"1e3", 1000, 1000},
    {"1E+3", 1000, 1000},
    {"1.5e1", 15, 15},
    {"1500e-2", 15, 15},
    {"1500e-3", NO_INT, 1.5},
    {"0.1", NO_INT, 0.1},
    {"1e-1", NO_INT, 0.1},
    {"9223372036854775807", INT64_MAX, 9223372036854775807.0},
    {"9223372036854775808", NO_INT, 9223372036854775808.0},
    {"-9223372036854775808", INT64_MIN, -9223372036854775808.0},
    {"-9223372036854775809", NO_INT, -9223372036854775808.0},
    {"9223372036854775807.0", INT64_MAX, 9223372036854775807.0},
    {"9.223372036854775807e18", INT64_MAX, 9223372036854775807.0},
    {"9.223372036854775807e19", NO_INT, 92233720368547758070.0},
    {"123456789012345678901234567890", NO_INT, 123456789012345678901234567890.0},
    {"1e18", INT64_C(1000000000000000000), 1e18},
    {"1e19", NO_INT, 1e19},
    {"1e400", NO_INT, NO_FLOAT},
    {"-1e400", NO_INT, NO_FLOAT},
    {"1e-400", NO_INT, 0},
    {"1e99999999999999999999", NO_INT, NO_FLOAT},
    {"1e-99999999999999999999", NO_INT, 0},
    {"0e99999999999999999999", 0, 0},
    {"0.000000e-5", 0, 0},
    {"0.000001e6", 1, 1},
    {"179769313486231570000e288", NO_INT, 1.7976931348623157e308},
    {"2.2250738585072014e-308", NO_INT, 2.2250738585072014e-308},
    {"5e-324", NO_INT, 5e-324},
    {"0.30000000000000004", NO_INT, 0.30000000000000004},
};

static void test_numbers(void **state)
{
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        /* alone, at the end of an array, before a comma: the library ends raw numbers each time */
        static const char *const forms[] = {"%s", "[%s]", "[0,%s,1]", "[ %s ]"};
        for (size_t k = 0; k < COUNT_OF(forms); k++) {
            AUTO(arena) a = arena_new(0);
            char text[128];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(text, sizeof text, forms[k], numbers[i].text);
#pragma GCC diagnostic pop
            json_val *v = parse(a, text);
            struct json_iter it = json_iter_of(v);
            for (size_t skip = 0; skip < (k == 0 ? 0 : k == 2 ? 2 : 1); skip++)
                assert_true(json_next(&it, NULL, &v));
            assert_true(span_eq(json_num_text(v), span_of(numbers[i].text))); /* verbatim */
            int64_t n = NO_INT;
            double f = NO_FLOAT;
            if (json_i64(v, &n) != (numbers[i].i != NO_INT) || n != numbers[i].i)
                fail_msg("%s as integer: %" PRId64, text, n);
            if (json_f64(v, &f) != (numbers[i].f != NO_FLOAT) || f != numbers[i].f)
                fail_msg("%s as double: %.17g", text, f);
        }
    }
    int64_t n;
    double f;
    AUTO(arena) a = arena_new(0);
    assert_false(json_i64(NULL, &n));
    assert_false(json_f64(NULL, &f));
    assert_false(json_i64(parse(a, "\"5\""), &n));
    assert_false(json_f64(parse(a, "true"), &f));
}

/* --- robustness ------------------------------------------------------------------------------- */

static const char sample[] =
    "{\"model\":\"gpt\\u002d5\",\"messages\":[{\"role\":\"user\",\"content\":\"h\xC3\xA9 "
    "\\\"x\\\\\\\" "
    "\xF0\x9F\x98\x80 \\ud83d\\ude00\"}],\"t\":-0.5e-3,\"n\":[1,2.0,true,false,null,{}],\"s\":[]}";

/* Cut at every byte, in memory that ends right behind the cut: nothing but the whole is taken. */
static void test_cut_everywhere(void **state)
{
    struct json_scratch s;
    json_scratch_init(&s);
    for (size_t n = 0; n <= sizeof sample - 1; n++) {
        AUTO(arena) a = arena_new(0);
        struct err e = {0};
        json_val *v;
        char *copy = mem_alloc(n);
        assert_non_null(copy);
        if (n > 0)
            memcpy(copy, sample, n);
        bool whole = n == sizeof sample - 1;
        assert_int_equal(json_parse(a, span_make(copy, n), &v, &e), whole);
        assert_int_equal(json_parse_scratch(&s, span_make(copy, n), &v, &e), whole);
        mem_free(copy);
    }
    json_scratch_done(&s);
}

/* Any byte replaced by one that matters: no crash, and what is taken can be written and read. */
static void test_flipped_everywhere(void **state)
{
    static const char bytes[] = "{}[],:\"\\ 0-e.u\0\x80\xff";
    char text[sizeof sample];
    for (size_t i = 0; i < sizeof sample - 1; i++) {
        for (size_t k = 0; k < sizeof bytes - 1; k++) {
            AUTO(arena) a = arena_new(0);
            struct err e = {0};
            json_val *v, *again;
            struct span out;
            memcpy(text, sample, sizeof sample);
            text[i] = bytes[k];
            if (!json_parse(a, span_make(text, sizeof sample - 1), &v, &e))
                continue;
            assert_true(json_raw(a, v, &out, &e));
            assert_true(json_parse(a, out, &again, &e));
        }
    }
}

/* Where each member of an object stands in its text. */
static void test_member_text(void **state)
{
    static const char text[] = " { \"a\" : 1 ,\"b\":[{\"c\":\",}\"},2, 3],\"\\\"\" :\n\"x\\\\\" "
                               ", \"d\":{}, \"e\":null}\n";
    static const char *const want[] = {"1", "[{\"c\":\",}\"},2, 3]", "\"x\\\\\"", "{}", "null"};
    AUTO(arena) a = arena_new(0);
    (void)parse(a, text);
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        struct span got = json_member_text(span_of(text), i);
        if (!span_eq(got, span_of(want[i])))
            fail_msg("%zu: %.*s", i, SPAN_ARG(got));
    }
    assert_null(json_member_text(span_of(text), COUNT_OF(want)).p);
    assert_null(json_member_text(SPAN("{}"), 0).p);
}

static void test_scratch_reuse(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct json_scratch s;
    struct err e = {0};
    json_val *v;
    json_scratch_init(&s);
    json_scratch_done(&s);
    assert_true(json_parse_scratch(&s, SPAN(sample), &v, &e));
    mem_fail_at(1); /* warm: no allocation any more */
    for (int i = 0; i < 100; i++) {
        assert_true(json_parse_scratch(&s, SPAN(sample), &v, &e));
        assert_true(span_eq(json_str(json_get(v, "model")), SPAN("gpt-5")));
    }
    assert_false(mem_failed());
    mem_fail_at(0);
    struct span large = large_object(a, 50000, -1); /* grows, and shrinks again afterwards */
    assert_true(json_parse_scratch(&s, large, &v, &e));
    assert_true(s.cap > MIB(1));
    assert_true(json_parse_scratch(&s, SPAN("[1]"), &v, &e));
    assert_true(s.cap <= MIB(1));
    assert_int_equal(json_count(v), 1);
    json_scratch_done(&s);
}

static void test_out_of_memory(void **state)
{
    unsigned long n = 0;
    AUTO(arena) texts = arena_new(0);
    struct span large = large_object(texts, 300, -1);
    for (bool done = false; !done;) {
        struct err e = {0};
        struct json_scratch s;
        struct buf b;
        json_val *v = NULL;
        struct span raw;
        json_scratch_init(&s);
        buf_init(&b, MIB(1));
        mem_fail_at(++n);
        AUTO(arena) a = arena_new(0);
        bool ok = a != NULL && json_parse(a, large, &v, &e) && json_canonical(&b, v, &e) &&
                  json_write_val(&b, v, &e) && json_raw(a, v, &raw, &e) &&
                  json_parse_scratch(&s, large, &v, &e);
        assert_int_equal(ok, !mem_failed());
        if (!ok && a != NULL)
            assert_int_equal(e.cls, ERR_NOMEM);
        done = !mem_failed();
        mem_fail_at(0);
        buf_done(&b);
        json_scratch_done(&s);
    }
    assert_true(n > 6);
}

static void test_small_arena(void **state)
{
    AUTO(arena) a = arena_new(100);
    struct err e = {0};
    json_val *v;
    assert_false(json_parse(a, SPAN(sample), &v, &e));
    assert_int_equal(e.cls, ERR_NOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_nul_bytes),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_duplicate_keys),
        cmocka_unit_test(test_duplicates_in_large_objects),
        cmocka_unit_test(test_large_object_is_not_quadratic),
        cmocka_unit_test(test_access),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_cut_everywhere),
        cmocka_unit_test(test_flipped_everywhere),
        cmocka_unit_test(test_member_text),
        cmocka_unit_test(test_scratch_reuse),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_small_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
