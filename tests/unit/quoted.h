/* tests/unit/quoted.h - JSON in tables of tests, written with ' for ". */
#ifndef FUSOR_TESTS_QUOTED_H
#define FUSOR_TESTS_QUOTED_H

#include <string.h>

#include "base/buf.h"

/* text with each ' as "; good until the next call on b, which the caller has made. */
static inline struct span quoted(struct buf *b, const char *text)
{
    buf_clear(b);
    if (!buf_add(b, span_of(text), NULL) || !buf_add_char(b, '\0', NULL))
        return (struct span){"", 0};
    char *p = b->mem + b->start;
    for (char *q = p; (q = strchr(q, '\'')) != NULL;)
        *q = '"';
    return (struct span){p, strlen(p)};
}

#endif
