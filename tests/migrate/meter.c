/* See meter.h. */
#include "tests/migrate/meter.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"

void
meter_windows(const struct meter_sample *s, size_t n, uint64_t limit, uint64_t *ret_most,
              uint64_t *ret_least)
{
    *ret_most = 0;
    *ret_least = UINT64_MAX;
    for (size_t i = 0, j = 0; i < n; i++) {
        while (j < n && s[j].at_us < s[i].at_us + METER_WINDOW_US)
            j++;
        if (j == n)
            break;

        uint64_t us = s[j].at_us - s[i].at_us, bytes = s[j].bytes - s[i].bytes;
        uint64_t permille = (uint64_t)((unsigned __int128)bytes * 1000000000u / us / limit);

        *ret_most = permille > *ret_most ? permille : *ret_most;
        *ret_least = permille < *ret_least ? permille : *ret_least;
    }
}

/* Microseconds for which some task of this machine has waited for a core; 0 where the kernel does not
 * say. */
static uint64_t
cores_waited_for_us(void)
{
    AUTO_FILE FILE *f = fopen("/proc/pressure/cpu", "re");
    unsigned long long us = 0;

    if (!f || fscanf(f, "some avg10=%*s avg60=%*s avg300=%*s total=%llu", &us) != 1)
        return 0;
    return us;
}

static struct {
    uint64_t at_us, waited_us;
} quiet;

void
meter_begin(void)
{
    quiet.at_us = clock_mono_us();
    quiet.waited_us = cores_waited_for_us();
}

bool
meter_was_quiet(void)
{
    uint64_t waited = cores_waited_for_us() - quiet.waited_us, us = clock_mono_us() - quiet.at_us;

    if (waited * 10 > us)
        printf("# the machine is busy: that limits are reached is not checked\n");
    return waited * 10 <= us;
}

bool
meter_cores_are_free(void)
{
    AUTO_FILE FILE *f = fopen("/proc/pressure/cpu", "re");
    double avg10 = 0;

    return !f || fscanf(f, "some avg10=%lf", &avg10) != 1 || avg10 < 40;
}
