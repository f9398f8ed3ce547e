/* tests/fuzz/fuzz_json.c - any bytes: refused, or read, written and read again as the same value.
 */
#include <stdint.h>

#include "base/limits.h"
#include "base/text.h"
#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

/* Every getter on every value; integers and doubles agree. */
static void touch(json_val *v)
{
    int64_t i;
    double f;
    struct json_iter it = json_iter_of(v);
    struct span key;
    json_val *child;
    size_t n = 0;
    if (json_i64(v, &i))
        check(json_f64(v, &f) && f == (double)i);
    for (; json_next(&it, &key, &child); n++) {
        check(!json_is_obj(v) || json_get_span(v, key) == child);
        touch(child); /* bounded by the depth that the parser lets in */
    }
    check(n == json_count(v));
}

static void text_of(json_val *v, struct buf *b, bool canonical)
{
    struct err e = {0};
    buf_clear(b);
    check(canonical ? json_canonical(b, v, &e) : json_write_val(b, v, &e));
    check(text_is_utf8(buf_span(b)));
}

/* v's text, read again, has v's canonical form; and the canonical form is a fixed point. */
static void round_trip(struct arena *a, json_val *v)
{
    struct err e = {0};
    struct buf text, canon, again;
    json_val *w;
    buf_init(&text, MIB(64));
    buf_init(&canon, MIB(64));
    buf_init(&again, MIB(64));
    text_of(v, &text, false);
    text_of(v, &canon, true);
    check(json_parse(a, buf_span(&text), &w, &e));
    text_of(w, &again, false);
    check(span_eq(buf_span(&again), buf_span(&text)));
    text_of(w, &again, true);
    check(span_eq(buf_span(&again), buf_span(&canon)));
    check(json_parse(a, buf_span(&canon), &w, &e));
    text_of(w, &again, true);
    check(span_eq(buf_span(&again), buf_span(&canon)));
    buf_done(&text);
    buf_done(&canon);
    buf_done(&again);
}

/* Any bytes as a string: the output is JSON, and well-formed text comes back unchanged. */
static void as_string(struct arena *a, struct span in)
{
    struct err e = {0};
    struct buf b;
    json_val *v;
    buf_init(&b, MIB(64));
    check(json_write_str(&b, in, &e));
    check(json_parse(a, buf_span(&b), &v, &e));
    check(!text_is_utf8(in) || span_eq(json_str(v), in));
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_make(data, size);
    struct err e = {0};
    struct json_scratch s;
    json_val *v = NULL, *w = NULL;
    AUTO(arena) a = arena_new(0);
    check(a != NULL);
    json_scratch_init(&s);
    bool strict = json_parse(a, in, &v, &e);
    check(strict || (v == NULL && e.cls == ERR_INPUT && e.msg[0] != '\0'));
    bool loose = json_parse_scratch(&s, in, &w, &e);
    check(loose || !strict);
    if (strict) {
        touch(v);
        round_trip(a, v);
    }
    if (loose) { /* may hold duplicate keys: written and sorted all the same */
        struct buf b;
        buf_init(&b, MIB(64));
        text_of(w, &b, false);
        text_of(w, &b, true);
        buf_done(&b);
    }
    as_string(a, in);
    json_scratch_done(&s);
    return 0;
}
