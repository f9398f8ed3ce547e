/* base/clock.h - monotonic time for durations, wall time for dates. Both thread safe. */
#ifndef FUSOR_BASE_CLOCK_H
#define FUSOR_BASE_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC in microseconds; modules that must be simulated ask loop_now_us() instead. */
int64_t clock_mono_us(void);
/* Unix time in milliseconds. */
int64_t clock_wall_ms(void);

#endif
