/* tests/unit/test_schema.c - what a schema refuses and where, what is said of a value that does not
 * match, formats, numbers, limits, memory. The meaning of each keyword is in test_schema_suite.c,
 * the subset of `strict` in test_schema_strict.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "json/schema.h"

static const struct schema_opts opts = {.prefix = "response_format.json_schema.schema",
                                        .formats = true};

static json_val *parse(struct arena *a, const char *text)
{
    struct err e = {0};
    json_val *v = NULL;
    if (!json_parse(a, span_of(text), &v, &e))
        fail_msg("%s: %s", text, e.msg);
    return v;
}

static const struct schema *compile(struct arena *a, const char *text)
{
    struct err e = {0};
    const struct schema *s = schema_new(a, parse(a, text), &opts, &e);
    if (!s)
        fail_msg("%s: %s", text, e.msg);
    return s;
}

/* --- schemas that are refused ----------------------------------------------------------------- */

static const struct {
    const char *schema, *param, *msg; /* param: behind the prefix */
} refused[] = {
    {"1", "", "must be an object or a boolean, not a number"},
    {"{\"nullable\":true}", ".nullable", "the keyword \"nullable\" is not supported"},
    {"{\"properties\":{\"a\":{\"nullable\":true}}}", ".properties.a.nullable", "nullable"},
    {"{\"dependencies\":{}}", ".dependencies", "dependencies"},
    {"{\"additionalItems\":false}", ".additionalItems", "additionalItems"},
    {"{\"$recursiveRef\":\"#\"}", ".$recursiveRef", "$recursiveRef"},
    {"{\"items\":[{}]}", ".items", "its array form of older drafts is \"prefixItems\""},
    {"{\"anyOf\":[{},{\"type\":\"int\"}]}", ".anyOf[1].type", "must be the name of a type"},
    {"{\"type\":[\"string\",\"x\"]}", ".type[1]", "not the name of a type"},
    {"{\"type\":[]}", ".type", "must be the name of a type"},
    {"{\"enum\":1}", ".enum", "must be an array"},
    {"{\"exclusiveMaximum\":true}", ".exclusiveMaximum", "must be a number"},
    {"{\"maximum\":\"1\"}", ".maximum", "must be a number"},
    {"{\"maximum\":1e99999999999999999999}", ".maximum", "exponent"},
    {"{\"multipleOf\":0}", ".multipleOf", "above 0"},
    {"{\"multipleOf\":-1}", ".multipleOf", "above 0"},
    {"{\"multipleOf\":1.234567890123456789}", ".multipleOf", "more than 18 digits"},
    {"{\"maxLength\":-1}", ".maxLength", "not negative"},
    {"{\"maxLength\":1.5}", ".maxLength", "whole number"},
    {"{\"minContains\":\"1\"}", ".minContains", "whole number"},
    {"{\"pattern\":1}", ".pattern", "must be a string"},
    {"{\"pattern\":\"(?=a)b\"}", ".pattern", "unsupported pattern: a lookahead"},
    {"{\"patternProperties\":{\"(a)\\\\1\":{}}}", ".patternProperties.(a)\\1",
     "unsupported pattern: a backreference"},
    {"{\"format\":1}", ".format", "must be a string"},
    {"{\"uniqueItems\":1}", ".uniqueItems", "true or false"},
    {"{\"required\":\"a\"}", ".required", "array of strings"},
    {"{\"required\":[\"a\",1]}", ".required[1]", "must be a string"},
    {"{\"dependentRequired\":{\"a\":\"b\"}}", ".dependentRequired.a", "array of strings"},
    {"{\"dependentRequired\":[]}", ".dependentRequired", "must be an object"},
    {"{\"dependentSchemas\":{\"a\":1}}", ".dependentSchemas.a", "object or a boolean"},
    {"{\"properties\":[]}", ".properties", "object of schemas"},
    {"{\"properties\":{\"a\":1}}", ".properties.a", "object or a boolean"},
    {"{\"properties\":{\"a\":\"b\"}}", ".properties.a", "object or a boolean"},
    {"{\"allOf\":[]}", ".allOf", "one at least"},
    {"{\"oneOf\":{}}", ".oneOf", "array of schemas"},
    {"{\"prefixItems\":[1]}", ".prefixItems[0]", "object or a boolean"},
    {"{\"then\":1}", ".then", "object or a boolean"},
    {"{\"$defs\":{\"a\":{\"x\":1}}}", ".$defs.a.x", "keyword \"x\""},
    {"{\"$schema\":\"https://example.com/mine\"}", ".$schema", "only JSON Schema 2020-12"},
    {"{\"$ref\":\"https://example.com/other\"}", ".$ref", "another document"},
    {"{\"$ref\":\"other.json#/x\"}", ".$ref", "another document"},
    {"{\"$ref\":\"#/$defs/a\"}", ".$ref", "leads to no schema"},
    {"{\"$ref\":\"#a\"}", ".$ref", "leads to no schema"},
    {"{\"$ref\":1}", ".$ref", "a reference must be a string"},
    {"{\"enum\":[{}],\"$ref\":\"#/enum/0\"}", ".$ref", "leads to no schema"},
    {"{\"$ref\":\"#\"}", "", "refers to itself without end"},
    {"{\"$defs\":{\"a\":{\"$ref\":\"#/$defs/b\"},\"b\":{\"anyOf\":[{},{\"$ref\":\"#/$defs/a\"}]}}}",
     ".$defs.a", "refers to itself without end"},
    {"{\"$id\":\"a#b\"}", ".$id", "must not have a fragment"},
    {"{\"$id\":1}", ".$id", "must be a string"},
    {"{\"items\":{\"$id\":\"/a\"},\"contains\":{\"$id\":\"/b/../a\"}}", ".contains.$id",
     "another schema already"},
    {"{\"$anchor\":\"1\"}", ".$anchor", "an anchor is a letter"},
    {"{\"$anchor\":\"a\",\"items\":{\"$anchor\":\"a\"}}", ".items.$anchor", "stands twice"},
};

static void test_refused(void **state)
{
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        AUTO(arena) a = arena_new(0);
        struct err e = {0};
        char param[128];
        snprintf(param, sizeof param, "%s%s", opts.prefix, refused[i].param);
        if (schema_new(a, parse(a, refused[i].schema), &opts, &e))
            fail_msg("%s was taken", refused[i].schema);
        if (e.cls != ERR_INPUT || !strstr(e.msg, refused[i].msg) || strcmp(e.param, param) != 0)
            fail_msg("%s: %s (%s)", refused[i].schema, e.msg, e.param);
    }
}

static void test_place_without_prefix_and_long(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct schema_opts none = {0};
    struct err e = {0};
    assert_null(schema_new(a, parse(a, "{\"items\":{\"nope\":1}}"), &none, &e));
    assert_string_equal(e.param, "items.nope");
    assert_null(schema_new(a, parse(a, "7"), &none, &e));
    assert_string_equal(e.param, "");
    struct buf b;
    buf_init(&b, KIB(64));
    for (int i = 0; i < 20; i++)
        assert_true(buf_addf(&b, NULL, "{\"properties\":{\"a_property_with_a_long_name\":"));
    assert_true(buf_addf(&b, NULL, "{\"nope\\n\":1}"));
    for (int i = 0; i < 40; i++)
        assert_true(buf_add_char(&b, '}', NULL));
    assert_true(buf_add_char(&b, '\0', NULL));
    assert_null(schema_new(a, parse(a, b.mem), &opts, &e));
    assert_true(strlen(e.param) < sizeof e.param && strlen(e.msg) < sizeof e.msg);
    assert_non_null(strstr(e.msg, "nope\\x0A"));
    buf_done(&b);
}

static void test_taken_as_annotations(void **state)
{
    AUTO(arena) a = arena_new(0);
    const struct schema *s = compile(
        a,
        "{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\"title\":1,\"description\":[],"
        "\"default\":1,\"examples\":1,\"deprecated\":1,\"readOnly\":1,\"writeOnly\":1,"
        "\"$comment\":1,\"x-anything\":{\"type\":\"no\"},\"contentEncoding\":\"base64\","
        "\"contentMediaType\":\"a/b\",\"contentSchema\":{\"nope\":1},\"format\":\"uri\","
        "\"propertyOrdering\":[],\"definitions\":{\"a\":{\"type\":\"string\"}},"
        "\"properties\":{\"a\":{\"$ref\":\"#/definitions/a\"}}}");
    struct err e = {0};
    assert_true(schema_check(s, parse(a, "{\"a\":\"x\"}"), &e));
    assert_false(schema_check(s, parse(a, "{\"a\":1}"), &e));
}

/* --- messages --------------------------------------------------------------------------------- */

static const struct {
    const char *schema, *value, *msg;
} messages[] = {
    {"false", "1", "at the root: no value is allowed here"},
    {"{\"type\":\"string\"}", "17", "at the root: expected a string, found 17"},
    {"{\"type\":[\"object\",\"null\"]}", "[1,2]",
     "at the root: expected an object or null, found an array of 2 items"},
    {"{\"type\":\"integer\"}", "1.5", "at the root: expected an integer, found 1.5"},
    {"{\"type\":\"null\"}", "{\"a\":1}", "at the root: expected null, found an object of 1 member"},
    {"{\"properties\":{\"a/b\":{\"items\":{\"type\":\"boolean\"}}}}", "{\"a/b\":[true,\"x\"]}",
     "at /a~1b/1: expected a boolean, found \"x\""},
    {"{\"enum\":[\"a\",1,null]}", "\"b\"",
     "at the root: expected one of \"a\", 1, null, found \"b\""},
    {"{\"const\":true}", "false", "at the root: expected true, found false"},
    {"{\"const\":[1]}", "[2]",
     "at the root: expected an array of 1 item, found an array of 1 item"},
    {"{\"multipleOf\":0.01}", "1.005",
     "at the root: expected a number that is a multiple of 0.01, found 1.005"},
    {"{\"maximum\":-1.5e3}", "0", "at the root: expected a number of at most -1.5e3, found 0"},
    {"{\"exclusiveMinimum\":0}", "0", "at the root: expected a number above 0, found 0"},
    {"{\"minLength\":3}", "\"\xC3\xA9\xC3\xA9\"",
     "at the root: expected at least 3 characters, found 2"},
    {"{\"pattern\":\"^a\"}", "\"b\"",
     "at the root: expected a string that matches ^a, found \"b\""},
    {"{\"format\":\"date\"}", "\"2024-02-30\"",
     "at the root: expected a date as in 2024-01-31, found \"2024-02-30\""},
    {"{\"maxItems\":1}", "[1,2]", "at the root: expected at most 1 items, found 2"},
    {"{\"minProperties\":1}", "{}", "at the root: expected at least 1 properties, found 0"},
    {"{\"uniqueItems\":true}", "[1,\"a\",1.0]",
     "at the root: expected items that differ, found twice 1.0"},
    {"{\"contains\":{\"const\":1}}", "[]",
     "at the root: expected at least 1 item(s) that match `contains`"},
    {"{\"contains\":{\"const\":1},\"maxContains\":2}", "[1,1,1]",
     "at the root: expected 1 to 2 items that match `contains`"},
    {"{\"required\":[\"a\",\"b\",\"c\"]}", "{\"b\":1}",
     "at the root: missing required: \"a\", \"c\""},
    {"{\"items\":{\"required\":[\"a\"]}}", "[{\"b\":1}]", "at /0: missing required: \"a\""},
    {"{\"dependentRequired\":{\"a\":[\"b\"]}}", "{\"a\":1}",
     "at the root: missing \"b\", which is required with \"a\""},
    {"{\"propertyNames\":{\"maxLength\":1}}", "{\"ab\":1}",
     "at the root: the property name \"ab\" is not one that is allowed"},
    {"{\"additionalProperties\":false}", "{\"a\":1}", "at /a: a property that is not allowed"},
    {"{\"unevaluatedProperties\":false}", "{\"a\":1}", "at /a: a property that is not allowed"},
    {"{\"prefixItems\":[true],\"items\":false}", "[1,2]", "at /1: an item that is not allowed"},
    {"{\"unevaluatedItems\":false}", "[1]", "at /0: an item that is not allowed"},
    {"{\"not\":{\"type\":\"null\"}}", "null",
     "at the root: expected a value that does not match `not`, found null"},
    {"{\"anyOf\":[false]}", "1",
     "at the root: none of the 1 alternatives of `anyOf` matches; the nearest fails at the root: "
     "no "
     "value is allowed here"},
    {"{\"properties\":{\"x\":{\"anyOf\":[{\"type\":\"null\"},{\"properties\":{\"y\":{\"type\":"
     "\"string\"}}}]}}}",
     "{\"x\":{\"y\":1}}",
     "at /x: none of the 2 alternatives of `anyOf` matches; the nearest fails at /x/y: expected a "
     "string, found 1"},
    {"{\"oneOf\":[true,true]}", "1", "at the root: more than one alternative of `oneOf` matches"},
    {"{\"anyOf\":[{\"oneOf\":[{\"const\":1},{\"items\":{\"const\":2}}]},{\"const\":3}]}", "[4]",
     "at the root: none of the 2 alternatives of `anyOf` matches; the nearest fails at /0: "
     "expected "
     "2, found 4"},
};

static void test_messages(void **state)
{
    for (size_t i = 0; i < COUNT_OF(messages); i++) {
        AUTO(arena) a = arena_new(0);
        struct err e = {0};
        const struct schema *s = compile(a, messages[i].schema);
        if (schema_check(s, parse(a, messages[i].value), &e))
            fail_msg("%s took %s", messages[i].schema, messages[i].value);
        if (e.cls != ERR_INPUT || strcmp(e.code, "schema_violation") != 0)
            fail_msg("%s: %s", messages[i].schema, e.code);
        assert_string_equal(e.msg, messages[i].msg);
    }
}

/* What a failed branch said is forgotten when another one matches. */
static void test_failures_of_branches_are_forgotten(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct err e = {0};
    const struct schema *s = compile(
        a, "{\"properties\":{\"a\":{\"anyOf\":[{\"items\":{\"items\":{\"type\":\"null\"}}},true]},"
           "\"b\":{\"type\":\"null\"}}}");
    assert_false(schema_check(s, parse(a, "{\"a\":[[1]],\"b\":2}"), &e));
    assert_string_equal(e.msg, "at /b: expected null, found 2");
}

static void test_messages_are_short_and_visible(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct err e = {0};
    struct buf b;
    buf_init(&b, KIB(64));
    assert_true(buf_add(&b, SPAN("{\"\\u001b[31m\\u202ek"), NULL));
    for (int i = 0; i < 500; i++)
        assert_true(buf_add(&b, SPAN("\xC3\xA9"), NULL));
    assert_true(buf_add(&b, SPAN("\":{\"~\":\"\\u0000\\u001b"), NULL));
    for (int i = 0; i < 500; i++)
        assert_true(buf_add(&b, SPAN("\xF0\x9F\x90\xB2"), NULL));
    assert_true(buf_add(&b, SPAN("\"}}\0"), NULL));
    const struct schema *s =
        compile(a, "{\"additionalProperties\":{\"additionalProperties\":{\"type\":\"null\"}}}");
    assert_false(schema_check(s, parse(a, b.mem), &e));
    assert_true(strlen(e.msg) < 300 && text_is_utf8(span_of(e.msg)));
    assert_null(strchr(e.msg, 0x1b));
    assert_null(strstr(e.msg, "\xE2\x80\xAE"));
    assert_non_null(strstr(e.msg, "/~0: expected null, found"));
    buf_done(&b);
}

/* --- formats ---------------------------------------------------------------------------------- */

/* yes and no: texts, one a line. */
static const struct {
    const char *format, *yes, *no;
} formats[] = {
    {"date-time",
     "1963-06-19T08:30:06.283185Z\n2024-02-29t00:00:00z\n1990-12-31T15:59:60-08:00\n"
     "1998-12-31T23:59:60.123Z\n2024-01-01T00:00:00+23:59",
     "\n2024-01-01\n2024-01-01 00:00:00Z\n2024-01-01T00:00:00\n2023-02-29T00:00:00Z\n"
     "2024-01-01T24:00:00Z\n2024-01-01T00:60:00Z\n1998-12-31T23:58:60Z\n1998-12-31T22:59:60Z\n"
     "2024-01-01T00:00:00+24:00\n2024-01-01T00:00:00.Z\n2024-1-1T00:00:00Z\n2024-13-01T00:00:00Z\n"
     "2024-01-01T00:00:00Zx\n2024-01-01T00:00:00+0100"},
    {"date", "2024-02-29\n2000-02-29\n0000-01-01",
     "\n1900-02-29\n2024-00-01\n2024-04-31\n24-01-01\n"
     "2024-01-01Z\n2024-1-01\n2024-01-32"},
    {"time", "08:30:06Z\n23:59:60Z\n23:59:59.999+01:30\n01:29:60+01:30\n15:59:60-08:00",
     "\n08:30:06\n8:30:06Z\n23:59:60+00:01\n24:00:00Z\n08:30Z\n08:30:06 Z\n08:30:06+1:00"},
    {"duration", "P4DT12H30M5S\nP1Y\nPT36H\nP1Y2M3D\nPT1S\nP3W\nP1YT1M",
     "\nP\nPT\nP1\n1D\nP1D2H\nP2D1Y\nP1Y2D\nPT1H2S\nP1WT1H\nP1Y3W\nP1.5D\nPT0.5S\np1d\nP-1D\nP1S"},
    {"email",
     "a@b\njoe.bloggs@example.com\n\"joe bloggs\"@example.com\n\"a\\\"b\"@c\n"
     "te~st@example.com\na@[127.0.0.1]\na@[IPv6:::1]\na+b=c@d-e.f",
     "\na\n@b\na@\n.a@b\na.@b\na..b@c\na b@c\na@b@c\na@-b\na@[127.0.0.300]\na@[IPv6:::x]\na@[::1]\n"
     "\"a\"b\"@c\n\"a@b\na@b.\na@b_c"},
    {"hostname", "a\nwww.example.com\nxn--4gbwdl.xn--wgbh1c\na-b.c\n1.2\nA.B",
     "\n.\na.\n.a\na..b\n-a\na-\na_b\na b\nab--cd\nxn--\n\xC3\xA9.com\n"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    {"ipv4", "0.0.0.0\n255.255.255.255\n192.168.0.1",
     "\n1.2.3\n1.2.3.4.5\n256.1.1.1\n1.2.3.01\n00.1.1.1\n1.2.3.4 \n1..2.3\n0x7f.0.0.1\n1.2.3.4/8\n"
     "\xE0\xA7\xA7.0.0.1"},
    {"ipv6",
     "::\n::1\n1::\n1:2:3:4:5:6:7:8\n1::8\n::ffff:1.2.3.4\n1:2:3:4:5:6:1.2.3.4\n"
     "abcd:EF01::\n1:2:3:4:5:6:7::\n::2:3:4:5:6:7:8\n64:ff9b::1.2.3.4",
     "\n:\n:::\n1\n1:2:3:4:5:6:7\n1:2:3:4:5:6:7:8:9\n1::2::3\n12345::\n:1:2:3:4:5:6:7:8\n"
     "1:2:3:4:5:6:7:\n::g\n::1%eth0\n1:2:3:4:5:6:7:1.2.3.4\n1.2.3.4::\n::1.2.3\n::1.2.3.4:5\n"
     "1:2:3:4::5:6:7:8\n::1/64\n1::1:2:3:4:5:6:7:8 "},
    {"uuid", "2EB8AA08-AA98-11EA-B4AA-73B441D16380\n00000000-0000-0000-0000-000000000000",
     "\n2eb8aa08-aa98-11ea-b4aa-73b441d1638\n2eb8aa08aa9811eab4aa73b441d16380\n"
     "2eb8aa08-aa98-11ea-b4aa-73b441d1638x\n2eb8aa0-8aa98-11ea-b4aa-73b441d16380\n"
     "2eb8aa08-aa98-11ea-b4aa-73b441d163800"},
    {"uri", "\nnot a uri", NULL}, /* an annotation */
};

static void check_format(const char *format, const char *lines, bool want)
{
    AUTO(arena) a = arena_new(0);
    struct buf text;
    char schema[64];
    struct span rest = span_of(lines);
    buf_init(&text, KIB(1));
    snprintf(schema, sizeof schema, "{\"format\":\"%s\"}", format);
    const struct schema *s = compile(a, schema);
    for (bool more = lines != NULL; more;) {
        size_t n = span_find(rest, "\n");
        struct err e = {0};
        buf_clear(&text);
        assert_true(json_write_str(&text, span_upto(rest, n), NULL) &&
                    buf_add_char(&text, '\0', NULL));
        if (schema_check(s, parse(a, text.mem), &e) != want)
            fail_msg("%s: %s: not %d", format, text.mem, want);
        more = n < rest.n;
        rest = span_from(rest, n + 1);
    }
    buf_done(&text);
}

static void test_formats(void **state)
{
    for (size_t i = 0; i < COUNT_OF(formats); i++) {
        check_format(formats[i].format, formats[i].yes, true);
        check_format(formats[i].format, formats[i].no, false);
    }
}

/* --- numbers ---------------------------------------------------------------------------------- */

static const struct {
    const char *schema, *value;
    bool valid;
} numbers[] = {
    {"{\"multipleOf\":0.01}", "4.35", true}, /* not so in doubles */
    {"{\"multipleOf\":0.1}", "0.30000000000000004", false},
    {"{\"multipleOf\":0.1}", "0.3", true},
    {"{\"multipleOf\":1e-400}", "1", true},
    {"{\"multipleOf\":1e400}", "1", false},
    {"{\"multipleOf\":1e400}", "3e400", true},
    {"{\"multipleOf\":3}", "1e100000000000", false},
    {"{\"multipleOf\":8}", "1e100000000000", true},
    {"{\"multipleOf\":7}", "700000000000000000000000000000000000007", true},
    {"{\"multipleOf\":7}", "700000000000000000000000000000000000008", false},
    {"{\"multipleOf\":999999999999999989}", "999999999999999978000000000000000121", true},
    {"{\"multipleOf\":2}", "0", true},
    {"{\"multipleOf\":2}", "-0.0", true},
    {"{\"multipleOf\":2}", "-4", true},
    {"{\"maximum\":9007199254740992}", "9007199254740993", false},
    {"{\"maximum\":9007199254740993}", "9007199254740993", true},
    {"{\"exclusiveMaximum\":1e400}", "9.99e399", true},
    {"{\"exclusiveMaximum\":1e400}", "1e400", false},
    {"{\"maximum\":1}", "1e99999999999999999999", false},
    {"{\"minimum\":-1}", "-1e99999999999999999999", false},
    {"{\"minimum\":-1}", "1e-99999999999999999999", true},
    {"{\"minimum\":-0.5}", "-0.50", true},
    {"{\"minimum\":-0.5}", "-0.51", false},
    {"{\"exclusiveMinimum\":0}", "-0", false},
    {"{\"const\":1}", "1.0", true},
    {"{\"const\":100}", "1e2", true},
    {"{\"const\":0}", "-0e5", true},
    {"{\"const\":9007199254740993}", "9007199254740992", false},
    {"{\"const\":1}", "true", false},
    {"{\"const\":\"1\"}", "1", false},
    {"{\"type\":\"integer\"}", "1.0", true},
    {"{\"type\":\"integer\"}", "1e400", true},
    {"{\"type\":\"integer\"}", "10e-1", true},
    {"{\"type\":\"integer\"}", "1e-1", false},
    {"{\"type\":\"integer\"}", "0e-5", true},
    {"{\"maxLength\":2.0}", "\"ab\"", true},
    {"{\"maxLength\":1e40}", "\"ab\"", true},
    {"{\"minItems\":1e40}", "[]", false},
    {"{\"uniqueItems\":true}", "[1,2,3,4,5,6,7,8,9,10,1e1]", false},
    {"{\"uniqueItems\":true}", "[1,2,3,4,5,6,7,8,9,10,\"1\",[1],{\"1\":1},true,null,false]", true},
    {"{\"uniqueItems\":true}",
     "[0,1,2,3,4,5,6,7,8,{\"a\":[1,{}],\"b\":2},{\"b\":2.0,\"a\":[1.0,{}]}]", false},
    {"{\"enum\":[{\"a\":1,\"b\":[2]},\"x\"]}", "{\"b\":[2.0],\"a\":1e0}", true},
    {"{\"enum\":[{\"a\":1,\"b\":[2]},\"x\"]}", "{\"b\":[2.0],\"c\":1}", false},
};

static void test_numbers(void **state)
{
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        AUTO(arena) a = arena_new(0);
        struct err e = {0};
        bool valid = schema_check(compile(a, numbers[i].schema), parse(a, numbers[i].value), &e);
        if (valid != numbers[i].valid)
            fail_msg("%s: %s: %d %s", numbers[i].schema, numbers[i].value, valid, e.msg);
    }
}

/* --- limits ----------------------------------------------------------------------------------- */

/* Gives up in bounded time, with an error of its own class. */
static void too_complex(struct arena *a, const char *schema, const char *value)
{
    struct err e = {0};
    const struct schema *s = compile(a, schema);
    int64_t before = clock_mono_us();
    assert_false(schema_check(s, parse(a, value), &e));
    if (e.cls != ERR_LIMIT || strcmp(e.code, "schema_too_complex") != 0)
        fail_msg("%.60s: %s", schema, e.msg);
    assert_true(clock_mono_us() - before < 20 * 1000000);
}

static void repeat(struct buf *b, const char *text, int n)
{
    for (int i = 0; i < n; i++)
        assert_true(buf_add(b, span_of(text), NULL));
}

static void test_exponential_schemas_end(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct buf schema, value;
    buf_init(&schema, MIB(1));
    buf_init(&value, MIB(1));
    /* each level asks the next one twice */
    assert_true(buf_add(&schema, SPAN("{\"$ref\":\"#/$defs/d0\",\"$defs\":{"), NULL));
    for (int i = 0; i < 40; i++)
        assert_true(
            buf_addf(&schema, NULL,
                     "\"d%d\":{\"anyOf\":[{\"$ref\":\"#/$defs/d%d\"},{\"$ref\":\"#/$defs/d%d\"}]},",
                     i, i + 1, i + 1));
    assert_true(buf_add(&schema, SPAN("\"d40\":false}}\0"), NULL));
    too_complex(a, schema.mem, "1");
    /* the same by way of the value */
    repeat(&value, "[", 50);
    repeat(&value, "]", 50);
    assert_true(buf_add_char(&value, '\0', NULL));
    too_complex(a,
                "{\"$defs\":{\"a\":{\"anyOf\":[{\"contains\":{\"$ref\":\"#/$defs/a\"}},{\"items\":{"
                "\"$ref\":\"#/$defs/a\"},\"minItems\":1}]}},\"$ref\":\"#/$defs/a\"}",
                value.mem);
    buf_done(&schema);
    buf_done(&value);
}

static void test_deep_schemas_end(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct err e = {0};
    struct buf schema;
    buf_init(&schema, MIB(1));
    assert_true(buf_add(&schema, SPAN("{\"$ref\":\"#/$defs/d0\",\"$defs\":{"), NULL));
    for (int i = 0; i < 2000; i++)
        assert_true(
            buf_addf(&schema, NULL, "\"d%d\":{\"$ref\":\"#/$defs/d%d\"},", 1999 - i, 2000 - i));
    assert_true(buf_add(&schema, SPAN("\"d2000\":true}}\0"), NULL));
    const struct schema *s = schema_new(a, parse(a, schema.mem), &opts, &e);
    assert_null(s);
    assert_non_null(strstr(e.msg, "references lead from one to the next"));
    /* a circle of dynamic references is found while it runs */
    too_complex(a, "{\"$dynamicAnchor\":\"a\",\"anyOf\":[{\"$dynamicRef\":\"#a\"}]}", "1");
    buf_done(&schema);
}

static void test_patterns_and_duplicates_are_charged(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct buf value;
    buf_init(&value, MIB(2));
    assert_true(buf_add_char(&value, '"', NULL));
    repeat(&value, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 4000);
    assert_true(buf_add(&value, SPAN("\"\0"), NULL));
    too_complex(a, "{\"pattern\":\"(a?){500}b\"}", value.mem);
    buf_done(&value);
}

/* Large on both sides, but not quadratic. */
static void test_large_and_fast(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct err e = {0};
    struct buf schema, value;
    buf_init(&schema, MIB(16));
    buf_init(&value, MIB(16));
    assert_true(buf_add(
        &schema, SPAN("{\"uniqueItems\":true,\"items\":{\"type\":\"object\",\"properties\":{"),
        NULL));
    for (int i = 0; i < 5000; i++)
        assert_true(buf_addf(&schema, NULL, "%s\"property-%d\":{\"type\":\"integer\"}",
                             i > 0 ? "," : "", i));
    assert_true(buf_add(&schema, SPAN("},\"required\":["), NULL));
    for (int i = 0; i < 5000; i++)
        assert_true(buf_addf(&schema, NULL, "%s\"property-%d\"", i > 0 ? "," : "", i));
    assert_true(buf_add(&schema, SPAN("],\"additionalProperties\":false}}\0"), NULL));
    for (int k = 0; k < 10; k++) {
        assert_true(buf_add(&value, k > 0 ? SPAN(",{") : SPAN("[{"), NULL));
        for (int i = 4999; i >= 0; i--)
            assert_true(
                buf_addf(&value, NULL, "\"property-%d\":%d%s", i, i + k, i > 0 ? "," : "}"));
    }
    assert_true(buf_add(&value, SPAN("]\0"), NULL));
    int64_t before = clock_mono_us();
    assert_true(schema_check(compile(a, schema.mem), parse(a, value.mem), &e));
    assert_true(clock_mono_us() - before < 5 * 1000000);
    buf_done(&schema);
    buf_done(&value);
}

static void test_too_many_values(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct err e = {0};
    struct buf schema;
    buf_init(&schema, MIB(4));
    repeat(&schema, "{\"enum\":[0", 1);
    repeat(&schema, ",1", LIMIT_SCHEMA_VALUES);
    repeat(&schema, "]}", 1);
    assert_true(buf_add_char(&schema, '\0', NULL));
    assert_null(schema_new(a, parse(a, schema.mem), &opts, &e));
    assert_non_null(strstr(e.msg, "more than 200000 values"));
    assert_string_equal(e.param, opts.prefix);
    buf_done(&schema);
}

/* Recursive in the schema, as deep as values can be. */
static void test_recursive_schema(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct err e = {0};
    struct buf value;
    buf_init(&value, KIB(4));
    const struct schema *s = compile(
        a, "{\"$defs\":{\"node\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},"
           "\"next\":{\"anyOf\":[{\"$ref\":\"#/$defs/node\"},{\"type\":\"null\"}]}},\"required\":["
           "\"v\",\"next\"],\"additionalProperties\":false}},\"$ref\":\"#/$defs/node\"}");
    repeat(&value, "{\"v\":1,\"next\":", 60);
    repeat(&value, "null", 1);
    repeat(&value, "}", 60);
    assert_true(buf_add_char(&value, '\0', NULL));
    assert_true(schema_check(s, parse(a, value.mem), &e));
    buf_done(&value);
}

static void test_out_of_memory(void **state)
{
    static const char text[] =
        "{\"$id\":\"a\",\"$defs\":{\"x\":{\"$anchor\":\"y\",\"pattern\":\"^[a-z]+$\"}},"
        "\"properties\":{\"a\":{\"$ref\":\"#y\"},\"b\":{\"enum\":[1,2]}},\"required\":[\"a\"],"
        "\"patternProperties\":{\"^z\":{\"uniqueItems\":true}},\"dependentSchemas\":{\"a\":{}},"
        "\"anyOf\":[{\"prefixItems\":[{}]},{\"if\":{},\"then\":{\"contains\":{}}}],"
        "\"unevaluatedProperties\":false}";
    static const char value[] = "{\"a\":\"abc\",\"b\":2,\"z\":[1,2,3,4,5,6,7,8,9,10]}";
    for (unsigned long n = 1;; n++) {
        struct err e = {0};
        AUTO(arena) in = arena_new(0);
        json_val *schema = parse(in, text), *v = parse(in, value);
        mem_fail_at(n);
        AUTO(arena) a = arena_new(0);
        const struct schema *s = a ? schema_new(a, schema, &opts, &e) : NULL;
        bool ok = s && schema_check(s, v, &e);
        bool failed = mem_failed();
        mem_fail_at(0);
        if (!failed) {
            assert_true(ok);
            break;
        }
        assert_true(ok || !a || e.cls == ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_place_without_prefix_and_long),
        cmocka_unit_test(test_taken_as_annotations),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_failures_of_branches_are_forgotten),
        cmocka_unit_test(test_messages_are_short_and_visible),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_exponential_schemas_end),
        cmocka_unit_test(test_deep_schemas_end),
        cmocka_unit_test(test_patterns_and_duplicates_are_charged),
        cmocka_unit_test(test_large_and_fast),
        cmocka_unit_test(test_too_many_values),
        cmocka_unit_test(test_recursive_schema),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
