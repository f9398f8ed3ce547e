/* test_write_call.c - a request for an upstream that cannot take all of it: refused by the field's
 * name, or, for a lenient caller, written without it and listed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "dialect/dialect.h"

#define MSG "\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

struct written {
    struct buf body;
    struct dialect_notes notes;
    size_t n_left;
    struct err e;
    bool ok;
};

static void write_in(struct written *w, const struct dialect *d, const struct chat_request *r,
                     bool lenient)
{
    struct dialect_target t = {.model = SPAN("up"),
                               .dialect = span_of(d->name),
                               .default_max_tokens = 9,
                               .lenient = lenient};
    *w = (struct written){0};
    buf_init(&w->body, MIB(1));
    w->ok = dialect_write_call(d, r, &t, &w->body, &w->notes, &w->n_left, &w->e);
}

static void expect_listed(const char *name, const struct written *w, const char *want)
{
    struct buf all;
    buf_init(&all, KIB(4));
    for (size_t i = 0; i < w->n_left; i++)
        assert_true(
            buf_addf(&all, NULL, "%s%.*s", i > 0 ? "," : "", SPAN_ARG(w->notes.ignored[i])));
    if (!span_eq(buf_span(&all), span_of(want)))
        fail_msg("%s: left out \"%.*s\", not \"%s\"", name, SPAN_ARG(buf_span(&all)), want);
    buf_done(&all);
}

static const struct {
    const char *body;
    const struct dialect *to;
    const char *refused; /* of a strict caller */
    const char *left;    /* NULL: a lenient one is refused too */
    const char *lacks;   /* what is not in the body then */
} cases[] = {
    {"{" MSG ",\"top_k\":5,\"temperature\":0.5}", &dialect_mistral, "top_k", "top_k", "top_k"},
    {"{" MSG ",\"temperature\":1.7}", &dialect_mistral, "temperature", "temperature",
     "temperature"},
    {"{" MSG ",\"seed\":-1}", &dialect_mistral, "seed", "seed", "random_seed"},
    {"{" MSG ",\"stop\":[\"x\"],\"top_k\":5,\"logit_bias\":{\"1\":2},\"min_p\":0.1}",
     &dialect_openai_responses, "stop", "stop,top_k,logit_bias,min_p", "min_p"},
    {"{" MSG ",\"presence_penalty\":1,\"frequency_penalty\":1,\"verbosity\":\"low\"}",
     &dialect_anthropic_messages, "presence_penalty",
     "presence_penalty,frequency_penalty,verbosity", "penalty"},
    {"{" MSG ",\"a\\u0001.b\":1,\"verbosity\":\"low\"}", &dialect_gemini, "verbosity",
     "verbosity,a\1.b", "verbosity"},
    {"{" MSG ",\"a-name-that-is-longer-than-what-an-error-has-room-for-0123456789\":1}",
     &dialect_gemini, "a-name-that-is-longer-than-what-an-error-has-room-for-012345...",
     "a-name-that-is-longer-than-what-an-error-has-room-for-0123456789", "longer"},
    {"{" MSG ",\"tools\":[{\"type\":\"file_search\"}],\"top_k\":1}", &dialect_mistral, "top_k",
     NULL, ""},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\",\"odd\":1}],"
     "\"odd\":1}",
     &dialect_gemini, "messages[0].odd", NULL, ""},
};

static void test_left_out(void **state)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        struct chat_request r;
        struct written w;
        struct err e = {0};
        if (!dialect_openai_chat.read_request(a, span_of(cases[i].body), &r, &e))
            fail_msg("%s: %s", cases[i].body, e.msg);
        struct chat_request before = r;
        write_in(&w, cases[i].to, &r, false);
        assert_true(!w.ok && w.n_left == 0 && w.body.n == 0);
        if (strcmp(w.e.param, cases[i].refused) != 0)
            fail_msg("%s: refused \"%s\"", cases[i].body, w.e.param);
        buf_done(&w.body);
        write_in(&w, cases[i].to, &r, true);
        assert_int_equal(w.ok, cases[i].left != NULL);
        if (w.ok) {
            expect_listed(cases[i].body, &w, cases[i].left);
            assert_int_equal(span_index(buf_span(&w.body), span_of(cases[i].lacks)), w.body.n);
            assert_true(span_index(buf_span(&w.body), SPAN("\"hi\"")) < w.body.n);
        }
        buf_done(&w.body);
        assert_memory_equal(&before, &r, sizeof r);
    }
}

/* More than can be listed is not left out. */
static void test_too_many(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct chat_request r;
    struct written w;
    struct buf b;
    buf_init(&b, KIB(4));
    assert_true(buf_add(&b, SPAN("{" MSG), NULL));
    for (int i = 0; i < 25; i++)
        assert_true(buf_addf(&b, NULL, ",\"x%d\":1", i));
    assert_true(buf_add(&b, SPAN("}"), NULL));
    assert_true(dialect_openai_chat.read_request(a, buf_span(&b), &r, NULL));
    write_in(&w, &dialect_gemini, &r, true);
    assert_false(w.ok);
    assert_string_equal(w.e.param, "x24");
    buf_done(&w.body);
    buf_done(&b);
}

static void test_betas(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct chat_request r;
    struct written w;
    struct span body = SPAN("{" MSG ",\"max_tokens\":5}");
    assert_true(dialect_anthropic_messages.read_request(a, body, &r, NULL));
    r.betas = SPAN("context-1m-2025-08-07");
    write_in(&w, &dialect_anthropic_messages, &r, false);
    assert_true(w.ok && w.notes.n == 0);
    assert_true(span_eq(dialect_betas(&dialect_anthropic_messages, &r), r.betas));
    buf_done(&w.body);
    write_in(&w, &dialect_mistral, &r, false);
    assert_true(w.ok && w.notes.n == 1 && w.n_left == 0);
    assert_true(span_eq(w.notes.ignored[0], SPAN("anthropic-beta")));
    assert_null(dialect_betas(&dialect_mistral, &r).p);
    buf_done(&w.body);
    assert_true(dialect_openai_chat.read_request(a, body, &r, NULL));
    r.betas = SPAN("context-1m-2025-08-07");
    assert_null(dialect_betas(&dialect_anthropic_messages, &r).p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_betas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
