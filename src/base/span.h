/* base/span.h - a borrowed piece of text or bytes: pointer and length, no NUL promised.
 *
 * Network bytes hold NULs and are never copied to be measured. A span never owns; the comment at
 * its source says how long it is good. Everything here is pure and thread safe. */
#ifndef FUSOR_BASE_SPAN_H
#define FUSOR_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {
    const char *p;
    size_t n;
};

/* A span over a string literal. */
#define SPAN(lit) ((struct span){(lit), sizeof(lit) - 1})
/* For static initialisers. */
#define SPAN_INIT(lit)                                                                             \
    {                                                                                              \
        (lit), sizeof(lit) - 1                                                                     \
    }
/* For printf: printf("%.*s", SPAN_ARG(s)). */
#define SPAN_ARG(s) (int)(s).n, (s).p

/* cstr may be NULL: the empty span. */
struct span span_of(const char *cstr);
struct span span_make(const void *p, size_t n);
bool span_eq(struct span a, struct span b);
/* ASCII case only: header names, tokens. */
bool span_eq_nocase(struct span a, struct span b);
/* memcmp order, shorter first on a tie. */
int span_cmp(struct span a, struct span b);
bool span_starts(struct span s, struct span prefix);
bool span_ends(struct span s, struct span suffix);
/* Without the first n bytes; n beyond the end gives the empty span at the end. */
struct span span_from(struct span s, size_t n);
/* The first n bytes; n beyond the end gives all. */
struct span span_upto(struct span s, size_t n);
/* Without ASCII white space (space, tab, CR, LF) at both ends. */
struct span span_trim(struct span s);
/* Index of the first byte that is in the set (a C string); s.n when none is. */
size_t span_find(struct span s, const char *set);
/* Index of the first occurrence of the needle; s.n when absent. An empty needle is at 0. */
size_t span_index(struct span s, struct span needle);
/* Index of the last occurrence of the needle; s.n when absent. */
size_t span_rindex(struct span s, struct span needle);
/* Cuts at the first `sep`: *head is what stands before it, *s what stands after (empty when there
 * is no sep). False when *s was empty to begin with. */
bool span_cut(struct span *s, char sep, struct span *head);
/* A whole decimal integer, nothing else around it. False on anything else or overflow. */
bool span_to_i64(struct span s, int64_t *out);
/* 64-bit hash (FNV-1a with a final mix), for maps; not for secrets. */
uint64_t span_hash(struct span s, uint64_t seed);

#endif
