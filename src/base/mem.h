/* base/mem.h - the only door to malloc: out of memory is a value, and every allocation can be made
 * to fail in turn (make torture).
 *
 * Thread safe. The failure countdown is process wide and meant for single-threaded tests. */
#ifndef FUSOR_BASE_MEM_H
#define FUSOR_BASE_MEM_H

#include <stddef.h>

#include "base/auto.h"

/* owned, freed by mem_free(); NULL when memory runs out. n == 0 gives a valid pointer. */
MUST_USE void *mem_alloc(size_t n);
/* The same, zeroed. */
MUST_USE void *mem_zalloc(size_t n);
/* Keeps p valid on failure. */
MUST_USE void *mem_realloc(void *p, size_t n);
void mem_free(void *p);
/* owned copy with a NUL after it. */
MUST_USE char *mem_dup(const void *p, size_t n);

/* What is freed stays for the next allocation instead of going back to the system: up to so many
 * bytes at the end of each thread's heap, blocks of less than so many. Without it a request of a
 * megabyte may touch all its pages anew. For the whole process; nothing where the C library has no
 * such setting. */
void mem_keep_freed(size_t heap_bytes, size_t block_bytes);

/* Tests: the n-th allocation from now on fails (once); 0 switches off. */
void mem_fail_at(unsigned long n);
/* Tests: true when the armed failure has happened. */
int mem_failed(void);

#endif
