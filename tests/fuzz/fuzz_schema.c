/* tests/fuzz/fuzz_schema.c - a schema and a value from one input, with a NUL between them: refused
 * with a place, or compiled; then the value is valid or not, twice the same, and not by the order
 * of its members. Without a NUL the input is both. A pattern is tried on the input too. */
#include <stdint.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "json/regex.h"
#include "json/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void check_error(const struct err *e)
{
    check(e->cls == ERR_INPUT || e->cls == ERR_LIMIT);
    check(e->msg[0] != '\0' && text_is_utf8(span_of(e->msg)) && text_is_utf8(span_of(e->param)));
}

static bool valid(const struct schema *s, json_val *v, bool *gave_up)
{
    struct err e = {0};
    bool ok = schema_check(s, v, &e);
    *gave_up = !ok && e.cls == ERR_LIMIT;
    if (!ok)
        check_error(&e);
    return ok;
}

/* Equal values are valid alike: the canonical form sorts members and writes numbers anew. */
static void both_ways(struct arena *a, const struct schema *s, json_val *v)
{
    struct buf b;
    json_val *again = NULL;
    bool up, up_again;
    buf_init(&b, MIB(64));
    check(json_canonical(&b, v, NULL) && json_parse(a, buf_span(&b), &again, NULL));
    bool ok = valid(s, v, &up), ok_again = valid(s, again, &up_again);
    check(ok == ok_again || up || up_again);
    buf_done(&b);
}

static void compile(struct arena *a, json_val *schema, json_val *v)
{
    for (int formats = 0; formats < 2; formats++) {
        struct schema_opts o = {.prefix = "schema", .formats = formats};
        struct err e = {0};
        const struct schema *s = schema_new(a, schema, &o, &e);
        if (!s) {
            check_error(&e);
            check(span_starts(span_of(e.param), SPAN("schema")));
        } else if (v) {
            both_ways(a, s, v);
        }
    }
    struct err e = {0};
    if (!schema_strict_check(schema, "schema", &e))
        check_error(&e);
}

static void match(struct arena *a, struct span pattern, struct span text)
{
    struct err e = {0};
    const struct regex *r = regex_new(a, pattern, &e);
    if (!r) {
        check_error(&e);
        return;
    }
    if (!text_is_utf8(text))
        return;
    void *scratch = mem_alloc(regex_scratch_bytes(r));
    int64_t steps = 1000000;
    check(scratch != NULL);
    (void)(regex_find(r, text, scratch, &steps) == REGEX_YES);
    mem_free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_make(data, size);
    const void *nul = size > 0 ? memchr(data, 0, size) : NULL;
    size_t n = nul ? (size_t)((const uint8_t *)nul - data) : size;
    struct span first = span_upto(in, n), second = nul ? span_from(in, n + 1) : in;
    AUTO(arena) a = arena_new(0);
    json_val *schema, *v = NULL;
    check(a != NULL);
    if (!json_parse(a, second, &v, NULL))
        v = NULL;
    if (json_parse(a, first, &schema, NULL))
        compile(a, schema, v);
    match(a, first, second);
    return 0;
}
