/* tests/unit/test_schema_strict.c - what `strict: true` refuses, and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "json/schema.h"

static json_val *parse(struct arena *a, const char *text)
{
    struct err e = {0};
    json_val *v = NULL;
    if (!json_parse(a, span_of(text), &v, &e))
        fail_msg("%.200s: %s", text, e.msg);
    return v;
}

/* An object of one required property. */
#define OBJECT(name, schema)                                                                       \
    "{\"type\":\"object\",\"properties\":{\"" name "\":" schema "},\"required\":[\"" name          \
    "\"],\"additionalProperties\":false}"
#define EMPTY                                                                                      \
    "{\"type\":\"object\",\"properties\":{},\"required\":[],\"additionalProperties\":false}"

static const char *const taken[] = {
    EMPTY,
    "{\"type\":\"object\",\"additionalProperties\":false}",
    OBJECT("a", "{\"type\":[\"string\",\"null\"],\"pattern\":\"^a\",\"format\":\"date\"}"),
    OBJECT("a", "{\"type\":\"number\",\"multipleOf\":2,\"minimum\":1,\"exclusiveMaximum\":9}"),
    OBJECT("a", "{\"type\":\"array\",\"items\":" OBJECT("b", "{\"enum\":[1,\"x\",null]}") "}"),
    OBJECT("a", "{\"anyOf\":[" EMPTY ",{\"type\":\"null\"}]}"),
    OBJECT("next", "{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}"),
    "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/x\"}},\"required\":[\"a\"],"
    "\"additionalProperties\":false,\"$defs\":{\"x\":" EMPTY "}}",
    "{\"type\":\"object\",\"properties\":{\"b\":{},\"a\":{}},\"required\":[\"a\",\"b\"],"
    "\"additionalProperties\":false,\"description\":\"allOf\"}",
};

static const struct {
    const char *schema, *param, *msg;
} refused[] = {
    {"{}", "", "the root must have \"type\": \"object\""},
    {"true", "", "the root must have"},
    {"{\"type\":\"array\",\"items\":" EMPTY "}", "", "the root must have"},
    {"{\"type\":[\"object\",\"null\"]}", "", "the root must have"},
    {"{\"type\":\"object\",\"anyOf\":[{}],\"additionalProperties\":false}", "", "no \"anyOf\""},
    {"{\"type\":\"object\"}", "", "every object needs \"additionalProperties\": false"},
    {"{\"type\":\"object\",\"additionalProperties\":true}", "additionalProperties", "every object"},
    {"{\"type\":\"object\",\"additionalProperties\":{}}", "additionalProperties", "every object"},
    {OBJECT("a", "{\"properties\":{}}"), "properties.a", "every object needs"},
    {OBJECT("a", "{\"type\":[\"null\",\"object\"]}"), "properties.a", "every object needs"},
    {OBJECT("a", "{\"items\":{\"type\":\"object\"}}"), "properties.a.items", "every object needs"},
    {OBJECT("a", "{\"anyOf\":[{},{\"type\":\"object\"}]}"), "properties.a.anyOf[1]",
     "every object"},
    {"{\"type\":\"object\",\"additionalProperties\":false,\"$defs\":{\"x\":{\"type\":\"object\"}}}",
     "$defs.x", "every object needs"},
    {"{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}},\"required\":[\"a\"],"
     "\"additionalProperties\":false}",
     "properties.b", "every property must be in \"required\""},
    {"{\"type\":\"object\",\"properties\":{\"a\":{}},\"additionalProperties\":false}",
     "properties.a", "every property must be in \"required\""},
    {"{\"type\":\"object\",\"properties\":{\"b\":{}},\"required\":[\"a\",\"b\",\"c\"],"
     "\"additionalProperties\":false}",
     "required[0]", "\"required\" names no property"},
    {OBJECT("a", "{\"allOf\":[{}]}"), "properties.a.allOf", "\"allOf\" is not in the subset"},
    {OBJECT("a", "{\"not\":{}}"), "properties.a.not", "\"not\" is not in the subset"},
    {OBJECT("a", "{\"if\":{}}"), "properties.a.if", "\"if\" is not in the subset"},
    {OBJECT("a", "{\"then\":{}}"), "properties.a.then", "\"then\" is not in the subset"},
    {OBJECT("a", "{\"else\":{}}"), "properties.a.else", "\"else\" is not in the subset"},
    {OBJECT("a", "{\"dependentRequired\":{}}"), "properties.a.dependentRequired",
     "not in the subset"},
    {OBJECT("a", "{\"dependentSchemas\":{}}"), "properties.a.dependentSchemas",
     "not in the subset"},
};

static void test_taken(void **state)
{
    AUTO(arena) a = arena_new(0);
    for (size_t i = 0; i < COUNT_OF(taken); i++) {
        struct err e = {0};
        if (!schema_strict_check(parse(a, taken[i]), NULL, &e))
            fail_msg("%s: %s", taken[i], e.msg);
    }
}

static void test_refused(void **state)
{
    AUTO(arena) a = arena_new(0);
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct err e = {0};
        if (schema_strict_check(parse(a, refused[i].schema), NULL, &e))
            fail_msg("%s was taken", refused[i].schema);
        if (e.cls != ERR_INPUT || !strstr(e.msg, refused[i].msg) ||
            strcmp(e.param, refused[i].param) != 0)
            fail_msg("%s: %s (%s)", refused[i].schema, e.msg, e.param);
    }
}

/* --- limits ----------------------------------------------------------------------------------- */

static bool check(struct buf *b, struct err *e)
{
    AUTO(arena) a = arena_new(0);
    assert_true(buf_add_char(b, '\0', NULL));
    bool ok = schema_strict_check(parse(a, b->mem), "p", e);
    buf_clear(b);
    return ok;
}

static void properties(struct buf *b, int n)
{
    assert_true(buf_add(
        b, SPAN("{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"), NULL));
    for (int i = 0; i < n; i++)
        assert_true(buf_addf(b, NULL, "%s\"p%d\":{}", i > 0 ? "," : "", i));
    assert_true(buf_add(b, SPAN("},\"required\":["), NULL));
    for (int i = 0; i < n; i++)
        assert_true(buf_addf(b, NULL, "%s\"p%d\"", i > 0 ? "," : "", i));
    assert_true(buf_add(b, SPAN("]}"), NULL));
}

static void levels(struct buf *b, int n)
{
    for (int i = 1; i < n; i++)
        assert_true(
            buf_add(b,
                    SPAN("{\"type\":\"object\",\"additionalProperties\":false,\"required\":["
                         "\"a\"],\"properties\":{\"a\":"),
                    NULL));
    assert_true(buf_add(b, SPAN(EMPTY), NULL));
    for (int i = 1; i < n; i++)
        assert_true(buf_add(b, SPAN("}}"), NULL));
}

/* n values of `chars` characters each. */
static void one_enum(struct buf *b, int n, int chars)
{
    assert_true(
        buf_add(b,
                SPAN("{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"a\"],"
                     "\"properties\":{\"a\":{\"enum\":["),
                NULL));
    for (int i = 0; i < n; i++)
        assert_true(buf_addf(b, NULL, "%s\"%0*d\"", i > 0 ? "," : "", chars, i));
    assert_true(buf_add(b, SPAN("]}}}"), NULL));
}

static void refuse(struct buf *b, const char *msg)
{
    struct err e = {0};
    assert_false(check(b, &e));
    if (!strstr(e.msg, msg))
        fail_msg("%s: %s", msg, e.msg);
}

static void test_limits(void **state)
{
    struct err e = {0};
    struct buf b;
    buf_init(&b, MIB(4));
    properties(&b, 5000);
    assert_true(check(&b, &e));
    properties(&b, 5001);
    refuse(&b, "more than 5000 properties (at p)");
    levels(&b, 10);
    assert_true(check(&b, &e));
    levels(&b, 11);
    refuse(&b, "more than 10 objects in objects");
    one_enum(&b, 1000, 15);
    assert_true(check(&b, &e));
    one_enum(&b, 1001, 4);
    refuse(&b, "more than 1000 enum values");
    one_enum(&b, 250, 400);
    assert_true(check(&b, &e));
    one_enum(&b, 251, 60);
    refuse(&b, "an enum of more than 250 values has more than 15000 characters");
    one_enum(&b, 250, 480);
    refuse(&b, "more than 120000 characters together");
    buf_done(&b);
}

static void test_out_of_memory(void **state)
{
    for (unsigned long n = 1;; n++) {
        struct err e = {0};
        AUTO(arena) a = arena_new(0);
        json_val *v = parse(a, OBJECT("a", EMPTY));
        mem_fail_at(n);
        bool ok = schema_strict_check(v, NULL, &e);
        bool failed = mem_failed();
        mem_fail_at(0);
        if (!failed) {
            assert_true(ok);
            break;
        }
        assert_true(!ok && e.cls == ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
