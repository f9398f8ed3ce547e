/* tests/fuzz/dropped.h - a client's body that is freed when it is read, as api/chat.c does: what the
 * request still has of it, the address sanitizer sees. */
#ifndef FUSOR_TESTS_DROPPED_H
#define FUSOR_TESTS_DROPPED_H

#include "base/mem.h"
#include "dialect/dialect.h"

static inline bool read_dropped(const struct dialect *d, struct arena *a, struct span in,
                                struct chat_request *out, struct err *e)
{
    char *body = mem_alloc(in.n);
    if (!body)
        abort();
    if (in.n > 0)
        memcpy(body, in.p, in.n);
    bool ok = d->read_request(a, span_make(body, in.n), out, e);
    mem_free(body);
    return ok;
}

#endif
