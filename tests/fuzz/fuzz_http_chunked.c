/* tests/fuzz/fuzz_http_chunked.c - any bytes as the chunked body of a request and of a response. */
#include <stdint.h>

#include "http_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void behind(enum parse_kind kind, struct span head, struct span body)
{
    struct buf in;
    struct err e;
    buf_init(&in, MIB(64));
    http_log_check(buf_add(&in, head, &e) && buf_add(&in, body, &e));
    http_log_splits(kind, false, buf_span(&in));
    buf_done(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span body = span_make(data, size);
    behind(PARSE_REQUEST, SPAN("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"),
           body);
    behind(PARSE_RESPONSE, SPAN("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), body);
    return 0;
}
