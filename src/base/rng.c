/* base/rng.c - see base/rng.h. xoshiro256** 1.0 and splitmix64 as published (prng.di.unimi.it). */
#include "base/rng.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void rng_init(struct rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        r->s[i] = splitmix64(&seed);
}

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t result = rotl(r->s[1] * 5, 7) * 9;
    uint64_t t = r->s[1] << 17;
    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= t;
    r->s[3] = rotl(r->s[3], 45);
    return result;
}

/* Numbers below 2^64 mod n are drawn again: what is left is a whole multiple of n. */
uint64_t rng_below(struct rng *r, uint64_t n)
{
    assert(n > 0);
    uint64_t least = (0 - n) % n;
    uint64_t x = rng_u64(r);
    while (x < least)
        x = rng_u64(r);
    return x % n;
}

double rng_unit(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

void rng_permutation(struct rng *r, size_t n, unsigned *out)
{
    for (size_t i = 0; i < n; i++) {
        size_t j = (size_t)rng_below(r, i + 1);
        out[i] = out[j];
        out[j] = (unsigned)i;
    }
}

void rng_init_secure(struct rng *r)
{
    uint64_t seed;
    rng_secure(&seed, sizeof seed);
    rng_init(r, seed);
}

void rng_secure(void *out, size_t n)
{
    for (char *p = out; n > 0;) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            abort();
        p += got;
        n -= (size_t)got;
    }
}

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

void rng_name(struct rng *r, char *out, size_t n)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % 8 == 0)
            bits = rng_u64(r);
        out[i] = letters[(bits & 0xFF) * 62 >> 8];
        bits >>= 8;
    }
    out[n] = '\0';
}

/* Bytes from 248 up are drawn again: 248 is the largest multiple of 62 that fits. */
void rng_token(char *out, size_t n)
{
    unsigned char bytes[64];
    size_t left = 0;
    for (size_t i = 0; i < n;) {
        if (left == 0) {
            rng_secure(bytes, sizeof bytes);
            left = sizeof bytes;
        }
        unsigned char b = bytes[--left];
        if (b < 248)
            out[i++] = letters[b % 62];
    }
    out[n] = '\0';
    explicit_bzero(bytes, sizeof bytes);
}
