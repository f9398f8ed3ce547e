/* upstream/retry_after.h - when an upstream wants to be asked again. Sources: RFC 9110
 * section 10.2.3; `retry-after-ms` is what OpenAI and Azure send beside it. */
#ifndef FUSOR_UPSTREAM_RETRY_AFTER_H
#define FUSOR_UPSTREAM_RETRY_AFTER_H

#include "http/client.h"

/* Milliseconds from now_wall_ms (unix); -1 when no field says it. Never more than a day, never less
 * than 0: an upstream's clock or typing error must not shut it out for ever. */
int64_t retry_after_ms(const struct http_header *h, size_t n, int64_t now_wall_ms);

#endif
