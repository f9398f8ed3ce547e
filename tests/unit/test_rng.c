/* tests/unit/test_rng.c - known answers for the seeded generator, sanity for the kernel's.
 *
 * Known answers: splitmix64 of 1234567 (rosettacode.org, "Pseudo-random numbers/Splitmix64") and
 * xoshiro256** from state 1, 2, 3, 4 (the test of the Rust crate rand_xoshiro, made with the
 * reference implementation). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/auto.h"
#include "base/rng.h"
#include "base/span.h"

static void test_known_answers(void **state)
{
    static const uint64_t seeded[] = {UINT64_C(6457827717110365317), UINT64_C(3203168211198807973),
                                      UINT64_C(9817491932198370423), UINT64_C(4593380528125082431)};
    static const uint64_t want[] = {
        11520,
        0,
        1509978240,
        UINT64_C(1215971899390074240),
        UINT64_C(1216172134540287360),
        UINT64_C(607988272756665600),
        UINT64_C(16172922978634559625),
        UINT64_C(8476171486693032832),
        UINT64_C(10595114339597558777),
        UINT64_C(2904607092377533576),
    };
    struct rng r;
    rng_init(&r, 1234567);
    assert_memory_equal(r.s, seeded, sizeof seeded);
    r = (struct rng){{1, 2, 3, 4}};
    for (size_t i = 0; i < COUNT_OF(want); i++)
        assert_true(rng_u64(&r) == want[i]);
    rng_init(&r, 0);
    assert_true(rng_u64(&r) == UINT64_C(0x99ec5f36cb75f2b4));
    rng_init(&r, UINT64_MAX);
    assert_true(rng_u64(&r) == UINT64_C(0x8f5520d52a7ead08));
}

static void test_same_seed_same_numbers(void **state)
{
    struct rng a, b, c;
    rng_init(&a, 5);
    rng_init(&b, 5);
    rng_init(&c, 6);
    int differ = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t x = rng_u64(&a);
        assert_true(x == rng_u64(&b));
        differ += x != rng_u64(&c);
    }
    assert_int_equal(differ, 100);
}

/* Chi-squared over n cells, 1000 draws to a cell; the bound is far beyond chance for up to 100
 * cells (mean n - 1, standard deviation sqrt(2n)), and the seed is fixed. */
static void assert_uniform(const unsigned *counts, size_t n)
{
    double chi2 = 0;
    for (size_t i = 0; i < n; i++)
        chi2 += (counts[i] - 1000.0) * (counts[i] - 1000.0) / 1000.0;
    assert_true(chi2 < (double)n + 80);
}

static void test_below_is_uniform(void **state)
{
    static const uint64_t sizes[] = {1, 2, 3, 7, 64, 100};
    struct rng r;
    rng_init(&r, 99);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        unsigned counts[100] = {0};
        for (uint64_t k = 0; k < sizes[i] * 1000; k++) {
            uint64_t x = rng_below(&r, sizes[i]);
            assert_true(x < sizes[i]);
            counts[x]++;
        }
        assert_uniform(counts, sizes[i]);
    }
    /* Where a plain remainder would favour the lower half two to one. */
    uint64_t n = UINT64_MAX / 4 * 3;
    unsigned low = 0;
    for (int k = 0; k < 30000; k++) {
        uint64_t x = rng_below(&r, n);
        assert_true(x < n);
        low += x < n / 3;
    }
    assert_in_range(low, 9500, 10500);
}

static void test_unit_interval(void **state)
{
    struct rng r;
    unsigned counts[100] = {0};
    rng_init(&r, 3);
    for (int i = 0; i < 100000; i++) {
        double x = rng_unit(&r);
        assert_true(x >= 0 && x < 1);
        counts[(int)(x * 100)]++;
    }
    assert_uniform(counts, 100);
    r = (struct rng){{0, UINT64_C(0), 0, 0}};
    assert_true(rng_unit(&r) == 0);
}

static void test_permutations_are_fair(void **state)
{
    struct rng r;
    unsigned counts[27] = {0}, p[200];
    rng_init(&r, 11);
    for (int i = 0; i < 6000; i++) {
        rng_permutation(&r, 3, p);
        assert_int_equal((1 << p[0]) | (1 << p[1]) | (1 << p[2]), 7);
        counts[p[0] * 9 + p[1] * 3 + p[2]]++;
    }
    static const int all[] = {5, 7, 11, 15, 19, 21}; /* 012 021 102 120 201 210 in base 3 */
    unsigned six[6];
    for (size_t i = 0; i < COUNT_OF(all); i++)
        six[i] = counts[all[i]];
    assert_uniform(six, 6);
    bool seen[200] = {false};
    rng_permutation(&r, 200, p);
    for (int i = 0; i < 200; i++) {
        assert_true(p[i] < 200 && !seen[p[i]]);
        seen[p[i]] = true;
    }
    p[0] = 77;
    rng_permutation(&r, 0, p);
    assert_int_equal(p[0], 77);
    rng_permutation(&r, 1, p);
    assert_int_equal(p[0], 0);
}

static void test_secure(void **state)
{
    unsigned char a[600] = {0}, b[600] = {0};
    rng_secure(a, 0);
    assert_int_equal(a[0], 0);
    rng_secure(a, sizeof a - 1);
    rng_secure(b, sizeof b - 1);
    assert_memory_not_equal(a, b, 32);
    assert_int_equal(a[sizeof a - 1], 0);
    unsigned set = 0;
    for (size_t i = 0; i < sizeof a; i++)
        set += (unsigned)__builtin_popcount(a[i]);
    assert_in_range(set, 2000, 2800); /* 2400 +- 35 for fair bits */
}

static void test_token(void **state)
{
    static char t[62001];
    memset(t, '#', sizeof t);
    rng_token(t, 0);
    assert_int_equal(t[0], '\0');
    assert_int_equal(t[1], '#');
    rng_token(t, sizeof t - 1);
    assert_int_equal(strlen(t), sizeof t - 1);
    unsigned counts[256] = {0};
    for (size_t i = 0; t[i]; i++)
        counts[(unsigned char)t[i]]++;
    unsigned kinds = 0;
    for (int c = 0; c < 256; c++) {
        bool letter = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        assert_true(letter || counts[c] == 0);
        kinds += counts[c] > 0;
    }
    assert_int_equal(kinds, 62);
    /* A plain remainder of a byte would favour A to H by a fifth; 8000 +- 83 are fair. */
    unsigned first = 0;
    for (int c = 'A'; c <= 'H'; c++)
        first += counts[c];
    assert_in_range(first, 7400, 8600);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_same_seed_same_numbers),
        cmocka_unit_test(test_below_is_uniform),
        cmocka_unit_test(test_unit_interval),
        cmocka_unit_test(test_permutations_are_fair),
        cmocka_unit_test(test_secure),
        cmocka_unit_test(test_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
