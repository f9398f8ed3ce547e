/* tests/fuzz/fuzz_http_head.c - any bytes as a request, as a response and as a response without a
 * body (to HEAD, to CONNECT): the same in every split. */
#include <stdint.h>

#include "http_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    http_log_splits(PARSE_REQUEST, false, span_make(data, size));
    http_log_splits(PARSE_RESPONSE, false, span_make(data, size));
    http_log_splits(PARSE_RESPONSE, true, span_make(data, size));
    return 0;
}
