/* tests/unit/gemini_sent.h - for the tests of what is sent to Gemini: cases as members of a
 * client's body and what must become of them, and the tests that every table of such cases goes
 * through. */
#ifndef FUSOR_TESTS_GEMINI_SENT_H
#define FUSOR_TESTS_GEMINI_SENT_H

#include "base/limits.h"
#include "base/mem.h"
#include "dialect/dialect.h"
#include "json/json.h"

#define G2     "gemini-2.5-flash"
#define G3     "gemini-3-flash-preview"
#define USER   "{\"role\":\"user\",\"content\":\"hi\"}"
#define HI     "{\"parts\":[{\"text\":\"hi\"}],\"role\":\"user\"}"
#define MSG(m) "\"messages\":[" m "]"
#define FN(name, args, id)                                                                         \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name                      \
    "\",\"arguments\":\"" args "\"}}"
#define CALLS(list) "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" list "]}"
#define RESULT(id, content)                                                                        \
    "{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"" content "\"}"
#define SKIP ",\"thoughtSignature\":\"skip_thought_signature_validator\""
#define TOOL(schema)                                                                               \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":" schema "}}]"
#define TOOLS_OUT(schema)                                                                          \
    "\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"parametersJsonSchema\":" schema "}]}" \
    "]"

/* in: members of a client's body beside the model; want: Gemini's body in canonical form; noted:
 * what was left out, with a space behind each. */
struct sent_case {
    const char *name, *model, *in, *want, *noted;
};

/* A request that cannot be said: the field that is named. */
struct refused_case {
    const char *name, *model, *in, *param;
};

static inline bool send(struct arena *a, const char *in, const char *model, struct buf *out,
                        struct dialect_notes *notes, struct err *e)
{
    struct dialect_target t = {.model = span_of(model), .dialect = SPAN("gemini")};
    struct span body = arena_printf(a, "{\"model\":\"m\",%s}", in);
    struct chat_request r;
    return body.p != NULL && dialect_openai_chat.read_request(a, body, &r, e) &&
           dialect_gemini.write_request(&r, &t, out, notes, e);
}

static inline void canonical(struct arena *a, struct span in, struct buf *out)
{
    struct err e;
    json_val *v;
    if (!json_parse(a, in, &v, &e))
        fail_msg("%s\n%.*s", e.msg, SPAN_ARG(in));
    assert_true(json_canonical(out, v, &e));
}

static inline void check_notes(const char *name, const struct dialect_notes *notes,
                               const char *want)
{
    struct buf got;
    buf_init(&got, KIB(4));
    for (size_t i = 0; i < notes->n; i++)
        assert_true(buf_add(&got, notes->ignored[i], NULL) && buf_add_char(&got, ' ', NULL));
    if (!span_eq(buf_span(&got), span_of(want)))
        fail_msg("%s: noted %.*s, want %s", name, SPAN_ARG(buf_span(&got)), want);
    buf_done(&got);
}

static inline void check_sent(const struct sent_case *cases, size_t n_cases)
{
    for (size_t i = 0; i < n_cases; i++) {
        AUTO(arena) a = arena_new(0);
        struct dialect_notes notes = {0};
        struct buf out, got, want;
        struct err e = {0};
        buf_init(&out, MIB(1));
        buf_init(&got, MIB(1));
        buf_init(&want, MIB(1));
        if (!send(a, cases[i].in, cases[i].model, &out, &notes, &e))
            fail_msg("%s: %s %s", cases[i].name, e.param, e.msg);
        canonical(a, buf_span(&out), &got);
        canonical(a, span_of(cases[i].want), &want);
        if (!span_eq(buf_span(&got), buf_span(&want)))
            fail_msg("%s:\n got %.*s\nwant %.*s", cases[i].name, SPAN_ARG(buf_span(&got)),
                     SPAN_ARG(buf_span(&want)));
        check_notes(cases[i].name, &notes, cases[i].noted);
        buf_done(&out);
        buf_done(&got);
        buf_done(&want);
    }
}

static inline void check_refused(const struct refused_case *cases, size_t n_cases)
{
    for (size_t i = 0; i < n_cases; i++) {
        AUTO(arena) a = arena_new(0);
        struct dialect_notes notes = {0};
        struct buf out;
        struct err e = {0};
        buf_init(&out, MIB(1));
        assert_true(buf_add(&out, SPAN("kept"), &e));
        if (send(a, cases[i].in, cases[i].model, &out, &notes, &e))
            fail_msg("%s passed: %.*s", cases[i].name, SPAN_ARG(buf_span(&out)));
        if (e.status != 400 || strcmp(e.param, cases[i].param) != 0)
            fail_msg("%s: %d %s: %s", cases[i].name, e.status, e.param, e.msg);
        assert_true(span_eq(buf_span(&out), SPAN("kept")));
        buf_done(&out);
    }
}

/* Each allocation fails in turn. */
static inline void check_no_memory(const struct sent_case *cases, size_t n_cases)
{
    for (size_t i = 0; i < n_cases; i++) {
        bool failed = true;
        for (unsigned long n = 1; failed; n++) {
            struct dialect_notes notes = {0};
            struct buf out;
            struct err e = {0};
            buf_init(&out, KIB(64));
            mem_fail_at(n);
            struct arena *a = arena_new(0);
            bool ok = a && send(a, cases[i].in, cases[i].model, &out, &notes, &e);
            failed = mem_failed();
            mem_fail_at(0);
            assert_true(ok == !failed);
            if (!ok && a && e.cls != ERR_NOMEM && e.cls != ERR_NONE)
                fail_msg("%s: %lu: %s", cases[i].name, n, e.msg);
            assert_true(ok || out.n == 0);
            arena_free(a);
            buf_done(&out);
        }
    }
}

#endif
