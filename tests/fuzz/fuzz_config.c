/* tests/fuzz/fuzz_config.c - any bytes as a file and as a request's `fusion`: refused with a
 * message, or read, shown and read again as the same configuration. */
#include <stdint.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 loses a buffer on some broken texts; the leak sanitizer is for our own frames. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml.so";
}

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void as_file(struct span text)
{
    struct err e = {0};
    struct buf first, second;
    AUTO(config) c = config_parse(text, "fuzz.yaml", &e);
    check(c || (e.cls != ERR_NONE && e.msg[0]));
    if (!c)
        return;
    buf_init(&first, MIB(64));
    buf_init(&second, MIB(64));
    check(config_show(c, &first, &e));
    AUTO(config) again = config_parse(buf_span(&first), "fuzz.yaml", &e);
    check(again && config_show(again, &second, &e));
    check(span_eq(buf_span(&first), buf_span(&second)));
    buf_done(&first);
    buf_done(&second);
}

static void as_request(struct span text)
{
    struct err e = {0};
    struct node n;
    struct recipe r;
    AUTO(arena) a = arena_new(0);
    recipe_init(&r);
    if (!a || !node_from_json(a, text, "fusion", &n, &e) || !recipe_read(n, true, &r, &e)) {
        check(e.cls == ERR_INPUT);
        return;
    }
    check(recipe_members(&r) <= LIMIT_PANEL && r.quorum <= LIMIT_PANEL);
    check(r.answer != FUSION_ANSWER_REGEX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    setenv("HOME", "/home/fuzz", 0);
    setenv("FUZZ_KEY", "secret", 1);
    as_file(span_make(data, size));
    as_request(span_make(data, size));
    return 0;
}
