/* base/arena.c - see base/arena.h.
 *
 * Blocks come zeroed and are never reused, so a piece needs no clearing of its own. A piece that is
 * larger than the next block gets a block to itself, placed behind the current one, which goes on
 * being filled. Under AddressSanitizer what was not handed out is poisoned, so that writing past a
 * piece is found here as it would be with malloc. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

#ifdef __has_feature
#define HAS_ASAN __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#endif
#if HAS_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#define ALIGN             alignof(max_align_t)
#define FIRST_BLOCK_BYTES KIB(4)
/* Beyond this blocks grow no more: it bounds what the last one wastes. */
#define LAST_BLOCK_BYTES MIB(1)

struct block {
    struct block *next;
    size_t used, cap; /* of bytes[] */
    alignas(max_align_t) char bytes[];
};

struct cleanup {
    struct cleanup *next;
    void (*fn)(void *arg);
    void *arg;
};

struct arena {
    struct block *blocks; /* the first is being filled */
    struct cleanup *cleanups;
    size_t used, max;
    size_t next_bytes; /* size of the next block */
};

struct arena *arena_new(size_t max)
{
    struct arena *a = mem_zalloc(sizeof *a);
    if (!a)
        return NULL;
    /* The bound keeps the rounding in arena_alloc() from overflowing. */
    a->max = max == 0 ? LIMIT_ARENA_BYTES : max < SIZE_MAX / 8 ? max : SIZE_MAX / 8;
    a->next_bytes = FIRST_BLOCK_BYTES - sizeof(struct block);
    return a;
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    while (a->cleanups) {
        struct cleanup *c = a->cleanups;
        a->cleanups = c->next;
        c->fn(c->arg);
    }
    while (a->blocks) {
        struct block *b = a->blocks;
        a->blocks = b->next;
        mem_free(b);
    }
    mem_free(a);
}

/* A block with room for n bytes, linked in; NULL when memory runs out. */
static struct block *add_block(struct arena *a, size_t n)
{
    bool alone = n > a->next_bytes;
    size_t cap = alone ? n : a->next_bytes;
    struct block *b = mem_zalloc(sizeof *b + cap);
    if (!b)
        return NULL;
    b->cap = cap;
    ASAN_POISON_MEMORY_REGION(b->bytes, cap);
    struct block **at = alone && a->blocks ? &a->blocks->next : &a->blocks;
    b->next = *at;
    *at = b;
    if (!alone && a->next_bytes < LAST_BLOCK_BYTES)
        a->next_bytes = 2 * (a->next_bytes + sizeof *b) - sizeof *b;
    return b;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > a->max)
        return NULL;
    size_t size = n > 0 ? (n + ALIGN - 1) / ALIGN * ALIGN : ALIGN;
    if (size > a->max - a->used)
        return NULL;
    struct block *b = a->blocks;
    if (!b || size > b->cap - b->used)
        b = add_block(a, size);
    if (!b)
        return NULL;
    char *p = b->bytes + b->used;
    ASAN_UNPOISON_MEMORY_REGION(p, n);
    b->used += size;
    a->used += size;
    return p;
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
    size_t total;
    return __builtin_mul_overflow(n, size, &total) ? NULL : arena_alloc(a, total);
}

struct span arena_dup(struct arena *a, struct span s)
{
    char *p = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;
    if (!p)
        return (struct span){NULL, 0};
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    return (struct span){p, s.n};
}

/* Short texts are formatted once and copied; long ones are formatted twice. */
struct span arena_printf(struct arena *a, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (len < 0)
        return (struct span){NULL, 0};
    size_t n = (size_t)len;
    if (n < sizeof text)
        return arena_dup(a, span_make(text, n));
    char *p = arena_alloc(a, n + 1);
    if (!p)
        return (struct span){NULL, 0};
    va_start(args, fmt);
    vsnprintf(p, n + 1, fmt, args);
    va_end(args);
    return (struct span){p, n};
}

bool arena_defer(struct arena *a, void (*fn)(void *arg), void *arg)
{
    struct cleanup *c = arena_alloc(a, sizeof *c);
    if (!c)
        return false;
    *c = (struct cleanup){a->cleanups, fn, arg};
    a->cleanups = c;
    return true;
}

size_t arena_used(const struct arena *a)
{
    return a->used;
}
