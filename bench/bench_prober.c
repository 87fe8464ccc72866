/* See bench_prober.h. */
#include "bench/bench_prober.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/sb.h"
#include "migrate/uffd_abi.h"
#include "proto/sum.h"

#define PAGE        4096u
#define MAX_SAMPLES (1u << 20)

int
bench_prober_init(struct bench_prober *g, uint64_t bytes, struct err *err)
{
    struct guest_region *r = &g->region;
    void *hva = MAP_FAILED;

    *g = (struct bench_prober){.region = {.size = bytes, .page_bytes = PAGE}, .uffd = -1};
    r->memfd = memfd_create("bench-prober", MFD_CLOEXEC);
    if (r->memfd < 0 || ftruncate(r->memfd, (off_t)bytes) < 0)
        return err_set(err, -errno, "memory of %llu bytes: %s", (unsigned long long)bytes,
                       strerror(errno));
    r->map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->memfd, 0);
    if (r->map != MAP_FAILED)
        hva = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->memfd, 0);
    else
        r->map = NULL;
    if (hva == MAP_FAILED)
        return err_set(err, -errno, "mmap: %s", strerror(errno));
    r->hva = (uintptr_t)hva;
    return 0;
}

void
bench_prober_done(struct bench_prober *g)
{
    struct guest_region *r = &g->region;

    bench_prober_stop(g);
    bench_samples_done(&g->fault_us);
    if (r->map)
        munmap(r->map, r->size);
    if (r->hva)
        munmap((void *)(uintptr_t)r->hva, r->size);
    if (r->memfd >= 0)
        close(r->memfd);
    if (g->uffd >= 0)
        close(g->uffd);
}

void
bench_prober_fill(struct bench_prober *g, uint64_t seed)
{
    uint64_t *p = (uint64_t *)(void *)g->region.map;
    volatile uint8_t *hva = (uint8_t *)(uintptr_t)g->region.hva;
    struct rng rng;

    rng_seed(&rng, seed);
    for (uint64_t i = 0; i < g->region.size / 8; i++)
        p[i] = rng_u64(&rng);
    for (uint64_t i = 0; i < g->region.size; i += PAGE)
        hva[i] = hva[i]; /* cppcheck-suppress selfAssignment ; a write fault is what is wanted */
}

uint64_t
bench_prober_sum(const struct bench_prober *g)
{
    return sum_bytes(g->region.map, g->region.size, 0);
}

static double
now_us(void)
{
    return (double)clock_mono_ns() / 1e3;
}

/* Touches what is missing. A page that came between the look and the touch counts as well: it was
 * missing to the guest. */
static void *
probe_main(void *arg)
{
    struct bench_prober *g = arg;
    const volatile uint8_t *hva = (const uint8_t *)(uintptr_t)g->region.hva;
    struct rng rng;

    rng_seed(&rng, 1);
    while (!atomic_load(&g->stop) && g->fault_us.len < MAX_SAMPLES) {
        uint64_t at = rng_below(&rng, g->region.size / PAGE) * PAGE;
        unsigned char there = 0;
        double began;

        if (mincore(g->region.map + at, PAGE, &there) < 0 || (there & 1))
            continue;
        began = now_us();
        (void)hva[at];
        bench_samples_add(&g->fault_us, now_us() - began);
    }
    return NULL;
}

void
bench_prober_stop(struct bench_prober *g)
{
    if (!g->running)
        return;
    atomic_store(&g->stop, true);
    pthread_join(g->thread, NULL);
    g->running = false;
}

static int
op_regions(void *impl, struct guest_region *out, struct err *err)
{
    (void)err;
    *out = ((struct bench_prober *)impl)->region;
    return 1;
}

static pid_t
op_pid(void *impl)
{
    (void)impl;
    return getpid();
}

static int
op_userfaultfd(void *impl, int *ret_fd, struct err *err)
{
    struct bench_prober *g = impl;

    g->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | ABI_UFFD_USER_MODE_ONLY);
    *ret_fd = g->uffd < 0 ? -1 : fcntl(g->uffd, F_DUPFD_CLOEXEC, 0);
    return *ret_fd < 0 ? err_set(err, -errno, "userfaultfd: %s", strerror(errno)) : 0;
}

static int
op_userfaultfd_close(void *impl, struct err *err)
{
    struct bench_prober *g = impl;

    (void)err;
    if (g->uffd >= 0)
        close(g->uffd);
    g->uffd = -1;
    return 0;
}

static int
op_nothing(void *impl, struct err *err)
{
    (void)impl, (void)err;
    return 0;
}

static int
op_resume(void *impl, struct err *err)
{
    struct bench_prober *g = impl;
    int rc;

    if (g->running)
        return 0;
    rc = pthread_create(&g->thread, NULL, probe_main, g);
    if (rc != 0)
        return err_set(err, -rc, "thread: %s", strerror(rc));
    g->running = true;
    return 0;
}

static int
op_save(void *impl, void **ret_buf, size_t *ret_len, struct err *err)
{
    (void)impl, (void)err;
    *ret_len = 64;
    *ret_buf = xcalloc(1, *ret_len);
    return 0;
}

static int
op_load(void *impl, const void *buf, size_t len, struct err *err)
{
    (void)impl, (void)buf, (void)len, (void)err;
    return 0;
}

struct guest
bench_prober_port(struct bench_prober *g)
{
    static const struct guest_ops ops = {.regions = op_regions,
                                         .pid = op_pid,
                                         .userfaultfd = op_userfaultfd,
                                         .userfaultfd_close = op_userfaultfd_close,
                                         .pause = op_nothing,
                                         .resume = op_resume,
                                         .save_state = op_save,
                                         .load_state = op_load};

    return (struct guest){.ops = &ops, .impl = g};
}
