/* base/mem.c - see base/mem.h. The one file that may call malloc (FUSOR_RAW_MALLOC, meson.build).
 *
 * The countdown is the one mutable global here: an allocator passed to every function would cost
 * each caller an argument, and only tests would ever pass another. */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static atomic_ulong countdown; /* allocations up to the one that fails; 0: off */
static atomic_bool has_failed;

/* Switched off, this is one relaxed load. Two threads may race for the last step; one of them then
 * wraps the countdown round, which only means that no further allocation fails soon. */
static bool must_fail(void)
{
    if (atomic_load_explicit(&countdown, memory_order_relaxed) == 0)
        return false;
    if (atomic_fetch_sub(&countdown, 1) != 1)
        return false;
    atomic_store(&has_failed, true);
    return true;
}

/* The bound keeps impossible sizes (a wrapped product) from sanitizers, which abort on them. */
static bool refused(size_t n)
{
    return n > PTRDIFF_MAX / 2 || must_fail();
}

void *mem_alloc(size_t n)
{
    return refused(n) ? NULL : malloc(n > 0 ? n : 1);
}

void *mem_zalloc(size_t n)
{
    return refused(n) ? NULL : calloc(1, n > 0 ? n : 1);
}

void *mem_realloc(void *p, size_t n)
{
    return refused(n) ? NULL : realloc(p, n > 0 ? n : 1);
}

void mem_free(void *p)
{
    free(p);
}

char *mem_dup(const void *p, size_t n)
{
    char *copy = n < SIZE_MAX ? mem_alloc(n + 1) : NULL;
    if (!copy)
        return NULL;
    if (n > 0)
        memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

void mem_keep_freed(size_t heap_bytes, size_t block_bytes)
{
#ifdef __GLIBC__
    /* Both: to set one keeps the library from raising the other by itself. */
    (void)mallopt(M_TRIM_THRESHOLD, (int)heap_bytes);
    (void)mallopt(M_MMAP_THRESHOLD, (int)block_bytes);
#endif
}

void mem_fail_at(unsigned long n)
{
    atomic_store(&has_failed, false);
    atomic_store(&countdown, n);
}

int mem_failed(void)
{
    return atomic_load(&has_failed);
}
