/* The clocks; see clock.h. */
#include "base/clock.h"

#include <time.h>

static uint64_t read_ns(clockid_t clock);

uint64_t
clock_mono_us(void)
{
    return clock_mono_ns() / 1000;
}

uint64_t
clock_mono_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t
clock_thread_ns(void)
{
    return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

int64_t
clock_wall_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static uint64_t
read_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
