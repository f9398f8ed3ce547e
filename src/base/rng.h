/* base/rng.h - random numbers: seeded (xoshiro256**, Blackman and Vigna 2018, repeatable on every
 * machine) and from the kernel (getrandom) for keys, nonces and request ids. */
#ifndef FUSOR_BASE_RNG_H
#define FUSOR_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

/* The same seed gives the same numbers (state filled by splitmix64). */
void rng_init(struct rng *r, uint64_t seed);
/* Seeded by the kernel: another sequence in each process. */
void rng_init_secure(struct rng *r);
uint64_t rng_u64(struct rng *r);
/* Uniform in [0, n), no modulo bias; n > 0. */
uint64_t rng_below(struct rng *r, uint64_t n);
/* Uniform in [0, 1). */
double rng_unit(struct rng *r);
/* Fisher-Yates over the indexes 0..n-1 written to out. */
void rng_permutation(struct rng *r, size_t n, unsigned *out);

/* n characters of [A-Za-z0-9] and a NUL (out holds n + 1): names that must differ, not secrets. */
void rng_name(struct rng *r, char *out, size_t n);

/* Cryptographic bytes; aborts when the kernel has none (cannot happen after boot). */
void rng_secure(void *out, size_t n);
/* n characters of [A-Za-z0-9] and a NUL (out holds n + 1), from rng_secure(). */
void rng_token(char *out, size_t n);

#endif
