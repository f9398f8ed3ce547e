/* tests/fuzz/fuzz_sse.c - any bytes as an event stream: the same events in every split, no event
 * over the limit, and what was read can be written and read again. */
#include <stdint.h>

#include "http/sse.h"

enum { MAX = 300 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void read_all(struct buf *log, struct span in, size_t step)
{
    AUTO(sse) s = sse_new(MAX);
    struct err e = {0};
    enum sse_status st = SSE_MORE;
    check(s != NULL);
    for (; in.n > 0 && st != SSE_FAIL; in = span_from(in, step)) {
        struct span piece = span_upto(in, step);
        struct sse_event ev;
        while ((st = sse_next(s, &piece, &ev, &e)) == SSE_EVENT) {
            check(ev.type.n <= MAX && ev.data.n < MAX);
            check(buf_add(log, ev.type, &e) && buf_add_char(log, '\0', &e) &&
                  buf_add(log, ev.data, &e) && buf_add_char(log, '\0', &e));
        }
        check(st == SSE_FAIL || piece.n == 0);
    }
    check(buf_addf(log, &e, "#%d", st));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = {1, 2, 7};
    struct span in = span_make(data, size);
    struct buf whole, cut;
    buf_init(&whole, (size_t)64 << 20);
    buf_init(&cut, (size_t)64 << 20);
    read_all(&whole, in, SIZE_MAX);
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        buf_clear(&cut);
        read_all(&cut, in, steps[i]);
        check(span_eq(buf_span(&whole), buf_span(&cut)));
    }
    buf_done(&whole);
    buf_done(&cut);
    return 0;
}
