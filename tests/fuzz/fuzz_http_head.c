/* tests/fuzz/fuzz_http_head.c - any bytes as a request and as a response: the same in every split.
 */
#include <stdint.h>

#include "http_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    http_log_splits(PARSE_REQUEST, span_make(data, size));
    http_log_splits(PARSE_RESPONSE, span_make(data, size));
    return 0;
}
