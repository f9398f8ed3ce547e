/* observe/latency.c - see observe/latency.h. Counters only ever move by atomic additions, fading
 * included, so that no sample is lost and no lock is taken; a reader sees some recent state. */
#include "observe/latency.h"

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

/* Bucket i holds times in (edge(i-1), edge(i)], edge(i) = 1 ms * 2^(i/8); the first also holds all
 * that is faster. 162 / 8 doublings end at 20.8 minutes; the last also holds all that is slower. */
enum { PER_DOUBLING = 8, BUCKETS = 163, FADE_AT = 4096 };
#define FIRST_EDGE_US 1000.0

struct latency {
    atomic_uint_fast64_t count;
    atomic_flag fading; /* one thread halves at a time */
    atomic_uint_fast64_t bucket[BUCKETS];
};

struct latency *latency_new(void)
{
    struct latency *l = mem_zalloc(sizeof *l);
    if (l != NULL)
        atomic_flag_clear(&l->fading);
    return l;
}

void latency_free(struct latency *l)
{
    mem_free(l);
}

static double edge_us(size_t i)
{
    return FIRST_EDGE_US * exp2((double)i / PER_DOUBLING);
}

static size_t bucket_of(int64_t us)
{
    if ((double)us <= FIRST_EDGE_US)
        return 0;
    double i = ceil(log2((double)us / FIRST_EDGE_US) * PER_DOUBLING);
    return i < BUCKETS ? (size_t)i : BUCKETS - 1;
}

static uint64_t load(const atomic_uint_fast64_t *n)
{
    return atomic_load_explicit(n, memory_order_relaxed);
}

static void fade(struct latency *l)
{
    if (atomic_flag_test_and_set_explicit(&l->fading, memory_order_acquire))
        return;
    uint64_t gone = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        uint64_t half = load(&l->bucket[i]) / 2;
        atomic_fetch_sub_explicit(&l->bucket[i], half, memory_order_relaxed);
        gone += half;
    }
    atomic_fetch_sub_explicit(&l->count, gone, memory_order_relaxed);
    atomic_flag_clear_explicit(&l->fading, memory_order_release);
}

void latency_record(struct latency *l, int64_t us)
{
    atomic_fetch_add_explicit(&l->bucket[bucket_of(us)], 1, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&l->count, 1, memory_order_relaxed) >= FADE_AT)
        fade(l);
}

uint64_t latency_count(const struct latency *l)
{
    return load(&l->count);
}

/* The buckets are summed, not ->count read: between two relaxed additions they may differ. */
static uint64_t total_of(const struct latency *l)
{
    uint64_t n = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        n += load(&l->bucket[i]);
    return n;
}

int64_t latency_quantile_us(const struct latency *l, double q)
{
    uint64_t total = total_of(l), seen = 0;
    if (total == 0)
        return 0;
    double rank = fmax(1.0, ceil(fmin(fmax(q, 0.0), 1.0) * (double)total));
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += load(&l->bucket[i]);
        if ((double)seen >= rank)
            return (int64_t)edge_us(i);
    }
    return (int64_t)edge_us(BUCKETS - 1);
}

/* Samples done by `us`, taken to lie evenly within their bucket. */
static double done_by(const struct latency *l, int64_t us)
{
    if (us <= 0)
        return 0;
    size_t last = bucket_of(us);
    double n = 0;
    for (size_t i = 0; i < last; i++)
        n += (double)load(&l->bucket[i]);
    double low = last > 0 ? edge_us(last - 1) : 0, high = edge_us(last);
    return n + (double)load(&l->bucket[last]) * fmin(((double)us - low) / (high - low), 1.0);
}

double latency_within(const struct latency *l, int64_t elapsed_us, int64_t window_us)
{
    double total = (double)total_of(l);
    if (total <= 0)
        return -1;
    double before = done_by(l, elapsed_us), left = total - before;
    /* Less than one part in 1e9 of a sample is rounding, not a sample. */
    if (left < 1e-9)
        return 0;
    int64_t until = elapsed_us > INT64_MAX - window_us ? INT64_MAX : elapsed_us + window_us;
    return fmin(fmax((done_by(l, until) - before) / left, 0.0), 1.0);
}
