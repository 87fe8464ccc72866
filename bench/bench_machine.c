/* See bench_machine.h. */
#include "bench/bench_machine.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* The rest of the first line of path that begins with key, without ": \t"; "" when there is none. */
static void
find_line(const char *path, const char *key, char *ret, size_t size)
{
    AUTO_FILE FILE *f = fopen(path, "re");
    char line[512];

    ret[0] = '\0';
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, strlen(key)) == 0) {
            const char *v = line + strlen(key);

            v += strspn(v, ": \t");
            snprintf(ret, size, "%.*s", (int)strcspn(v, "\n"), v);
            return;
        }
    }
}

static uint64_t
meminfo_bytes(const char *key)
{
    char v[64];

    find_line("/proc/meminfo", key, v, sizeof v);
    return strtoull(v, NULL, 10) << 10;
}

uint64_t
bench_machine_available(void)
{
    return meminfo_bytes("MemAvailable");
}

void
bench_machine_read(struct bench_machine *ret)
{
    struct utsname u;
    cpu_set_t set;
    char v[256];
    const char *avg;

    *ret = (struct bench_machine){.pressure_percent = NAN};
    find_line("/proc/cpuinfo", "model name", v, sizeof v);
    snprintf(ret->cpu, sizeof ret->cpu, "%.95s", v[0] ? v : "unknown CPU");
    uname(&u);
    snprintf(ret->kernel, sizeof ret->kernel, "%s %s", u.sysname, u.release);
    CPU_ZERO(&set);
    ret->cores = sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
    ret->memory_bytes = meminfo_bytes("MemTotal");
    ret->available_bytes = bench_machine_available();
    find_line("/proc/loadavg", "", v, sizeof v);
    ret->load = strtod(v, NULL);
    find_line("/proc/pressure/cpu", "some", v, sizeof v);
    avg = strstr(v, "avg10=");
    if (avg)
        ret->pressure_percent = strtod(avg + strlen("avg10="), NULL);
}

static void
cpu_ticks(uint64_t *busy, uint64_t *all)
{
    char v[512], *p = v;

    find_line("/proc/stat", "cpu ", v, sizeof v);
    *busy = *all = 0;
    for (int i = 0; i < 8 && *p; i++) { /* user nice system idle iowait irq softirq steal */
        uint64_t n = strtoull(p, &p, 10);

        *all += n;
        if (i != 3 && i != 4)
            *busy += n;
    }
}

double
bench_machine_busy(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    uint64_t busy, all, busy_end, all_end;

    cpu_ticks(&busy, &all);
    nanosleep(&t, NULL);
    cpu_ticks(&busy_end, &all_end);
    return all_end > all ? 100.0 * (double)(busy_end - busy) / (double)(all_end - all) : 0;
}

double
bench_machine_cpu_s(void)
{
    uint64_t busy, all;

    cpu_ticks(&busy, &all);
    return (double)busy / (double)sysconf(_SC_CLK_TCK);
}

void
bench_machine_touch(uint64_t bytes)
{
    uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return;
    (void)madvise(p, bytes, MADV_HUGEPAGE); /* fewer faults; the same host memory */
    if (madvise(p, bytes, MADV_POPULATE_WRITE) != 0) {
        for (uint64_t i = 0; i < bytes; i += 4096)
            ((volatile uint8_t *)p)[i] = 1;
    }
    munmap(p, bytes);
}
