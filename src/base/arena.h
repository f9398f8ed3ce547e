/* base/arena.h - memory that is freed all at once: one per request, one per connection.
 *
 * Blocks grow geometrically from a first block; nothing is freed singly. Cleanups run in reverse
 * order at arena_free(). Streamed bytes never enter an arena. One thread at a time. */
#ifndef FUSOR_BASE_ARENA_H
#define FUSOR_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#include "base/auto.h"
#include "base/span.h"

struct arena;

/* owned; max: total bytes it may hand out, 0 for LIMIT_ARENA_BYTES. NULL when memory runs out. */
MUST_USE struct arena *arena_new(size_t max);
void arena_free(struct arena *a);
AUTO_DEFINE(arena)
/* Aligned for anything, zeroed; good until arena_free(). NULL: out of memory or over max. */
MUST_USE void *arena_alloc(struct arena *a, size_t n);
/* n elements of size bytes, zeroed; checks the product. */
MUST_USE void *arena_array(struct arena *a, size_t n, size_t size);
/* A copy with a NUL after it (not counted). .p is NULL when memory runs out. */
MUST_USE struct span arena_dup(struct arena *a, struct span s);
/* .p is NULL when memory runs out. */
MUST_USE struct span arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* fn(arg) runs at arena_free(). False when memory runs out (fn has not run). */
MUST_USE bool arena_defer(struct arena *a, void (*fn)(void *arg), void *arg);
/* Bytes handed out so far, each piece rounded up to the alignment of max_align_t. */
size_t arena_used(const struct arena *a);

#endif
