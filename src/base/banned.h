/* base/banned.h - included before every file: calls that have cost others dearly do not compile.
 *
 * Raw malloc is banned everywhere but base/mem.c, which is compiled with FUSOR_RAW_MALLOC. free()
 * stays, for what libraries hand over; our own memory goes back by mem_free().
 *
 * Two mechanisms, because other people's headers name these functions too (yyjson.h has a member
 * `malloc`, cmocka.h a function `_test_malloc`): text functions become macros that expand to a
 * function nobody declares, and only calls expand; the malloc family is declared again as
 * unavailable, since a macro would catch calls of such members as well. */
#ifndef FUSOR_BASE_BANNED_H
#define FUSOR_BASE_BANNED_H

#include <alloca.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#undef strcpy
#define strcpy(...) banned_strcpy_use_memcpy_or_buf_add()
#undef strcat
#define strcat(...) banned_strcat_use_buf_add()
#undef sprintf
#define sprintf(...) banned_sprintf_use_snprintf_or_buf_addf()
#undef vsprintf
#define vsprintf(...) banned_vsprintf_use_vsnprintf()
#undef gets
#define gets(...) banned_gets_use_fgets()
#undef strtok
#define strtok(...) banned_strtok_use_span_cut()
#undef atoi
#define atoi(...) banned_atoi_use_span_to_i64()
#undef atol
#define atol(...) banned_atol_use_span_to_i64()
#undef atof
#define atof(...) banned_atof_use_strtod()
#undef alloca
#define alloca(...) banned_alloca_use_an_arena()

#ifndef FUSOR_RAW_MALLOC
#if __has_attribute(unavailable)
#define BANNED_ALLOC __attribute__((unavailable("use base/mem.h or base/arena.h")))
#else /* gcc before 12 */
#define BANNED_ALLOC __attribute__((error("use base/mem.h or base/arena.h")))
#endif
void *malloc(size_t n) BANNED_ALLOC;
void *calloc(size_t n, size_t size) BANNED_ALLOC;
void *realloc(void *p, size_t n) BANNED_ALLOC;
void *reallocarray(void *p, size_t n, size_t size) BANNED_ALLOC;
char *strdup(const char *s) BANNED_ALLOC;
char *strndup(const char *s, size_t n) BANNED_ALLOC;
#undef BANNED_ALLOC
#endif

#endif
