/* See bench_guest.h. */
#include "bench/bench_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/rng.h"
#include "base/sb.h"
#include "migrate/uffd_abi.h"
#include "proto/sum.h"

#define PAGE 4096u

int
bench_guest_init(struct bench_guest *g, uint64_t bytes, struct err *err)
{
    struct guest_region *r = &g->region;
    void *hva = MAP_FAILED;

    *g = (struct bench_guest){.region = {.size = bytes, .page_bytes = PAGE}, .uffd = -1};
    r->memfd = memfd_create("bench-guest", MFD_CLOEXEC);
    if (r->memfd < 0 || ftruncate(r->memfd, (off_t)bytes) < 0)
        return err_set(err, -errno, "memory of %llu bytes: %s", (unsigned long long)bytes,
                       strerror(errno));
    r->map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->memfd, 0);
    if (r->map != MAP_FAILED)
        hva = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->memfd, 0);
    if (hva == MAP_FAILED)
        return err_set(err, -errno, "mmap: %s", strerror(errno));
    r->hva = (uintptr_t)hva;
    return 0;
}

void
bench_guest_done(struct bench_guest *g)
{
    struct guest_region *r = &g->region;

    munmap(r->map, r->size);
    munmap((void *)(uintptr_t)r->hva, r->size);
    close(r->memfd);
    if (g->uffd >= 0)
        close(g->uffd);
}

void
bench_guest_fill(struct bench_guest *g, uint64_t seed)
{
    struct rng rng;
    uint64_t *p = (uint64_t *)(void *)g->region.map;
    volatile uint8_t *hva = (uint8_t *)(uintptr_t)g->region.hva;

    rng_seed(&rng, seed);
    for (uint64_t i = 0; i < g->region.size / 8; i++)
        p[i] = rng_u64(&rng);
    for (uint64_t i = 0; i < g->region.size; i += PAGE)
        hva[i] = hva[i]; /* cppcheck-suppress selfAssignment ; a write fault is what is wanted */
}

void
bench_guest_allocate(struct bench_guest *g)
{
    volatile uint8_t *map = g->region.map;

    for (uint64_t i = 0; i < g->region.size; i += PAGE)
        map[i] = 0;
}

uint64_t
bench_guest_sum(const struct bench_guest *g)
{
    return sum_bytes(g->region.map, g->region.size, 0);
}

static int
op_regions(void *impl, struct guest_region *out, struct err *err)
{
    (void)err;
    *out = ((struct bench_guest *)impl)->region;
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
    struct bench_guest *g = impl;

    g->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | ABI_UFFD_USER_MODE_ONLY);
    *ret_fd = g->uffd < 0 ? -1 : fcntl(g->uffd, F_DUPFD_CLOEXEC, 0);
    return *ret_fd < 0 ? err_set(err, -errno, "userfaultfd: %s", strerror(errno)) : 0;
}

static int
op_userfaultfd_close(void *impl, struct err *err)
{
    struct bench_guest *g = impl;

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
bench_guest_port(struct bench_guest *g)
{
    static const struct guest_ops ops = {.regions = op_regions,
                                         .pid = op_pid,
                                         .userfaultfd = op_userfaultfd,
                                         .userfaultfd_close = op_userfaultfd_close,
                                         .pause = op_nothing,
                                         .resume = op_nothing,
                                         .save_state = op_save,
                                         .load_state = op_load};

    return (struct guest){.ops = &ops, .impl = g};
}
