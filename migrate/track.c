/* Dirty tracking with userfaultfd WP_ASYNC and PAGEMAP_SCAN; see track.h. */
#include "migrate/track.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/sb.h"
#include "migrate/engine.h"
#include "migrate/uffd_abi.h"

#define BUF_REGIONS 512 /* of one PAGEMAP_SCAN call: more calls when memory is more scattered */
#define FEATURES                                                   \
    (ABI_UFFD_FEATURE_WP_ASYNC | ABI_UFFD_FEATURE_WP_UNPOPULATED | \
     ABI_UFFD_FEATURE_WP_HUGETLBFS_SHMEM)

struct track {
    struct guest guest;
    struct guest_region regions[GUEST_MAX_REGIONS];
    unsigned regions_len;
    unsigned registered; /* of them */
    int uffd, pagemap;
};

struct track_buf {
    struct abi_page_region v[BUF_REGIONS];
};

static int probe(struct err *err);
static int open_uffd(struct track *t, struct err *err);
static int api(int uffd, struct err *err);
static int register_all(struct track *t, struct err *err);

int
mig_probe(struct err *err)
{
    return track_probe(err);
}

int
track_probe(struct err *err)
{
    static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
    static bool done;
    static struct err result;

    pthread_mutex_lock(&mu);
    if (!done)
        probe(&result);
    done = true;
    pthread_mutex_unlock(&mu);
    return result.code ? err_set(err, result.code, "%s", result.msg) : 0;
}

int
track_new(const struct guest *g, const struct guest_region *regions, unsigned regions_len,
          struct track **ret, struct err *err)
{
    struct track *t = xcalloc(1, sizeof *t);
    char path[64];
    int rc;

    t->guest = *g;
    t->regions_len = regions_len;
    t->uffd = t->pagemap = -1;
    memcpy(t->regions, regions, regions_len * sizeof *regions);
    rc = track_probe(err);
    if (rc != 0)
        goto out;
    snprintf(path, sizeof path, "/proc/%d/pagemap", (int)g->ops->pid(g->impl));
    t->pagemap = open(path, O_RDONLY | O_CLOEXEC);
    if (t->pagemap < 0) {
        rc = err_set(err, -errno, "%s: %s", path, strerror(errno));
        goto out;
    }
    rc = open_uffd(t, err);
    if (rc == 0)
        rc = register_all(t, err);
    if (rc == -EBUSY) { /* the userfaultfd of a daemon that was killed */
        close(t->uffd);
        t->uffd = -1;
        rc = g->ops->userfaultfd_close(g->impl, err);
        if (rc == 0)
            rc = open_uffd(t, err);
        if (rc == 0)
            rc = register_all(t, err);
    }
out:
    if (rc != 0) {
        track_free(t, NULL);
        return rc;
    }
    *ret = t;
    return 0;
}

int
track_free(struct track *t, struct err *err)
{
    int rc = 0;

    if (!t)
        return 0;
    for (unsigned i = 0; i < t->registered; i++) {
        struct uffdio_range r = {.start = t->regions[i].hva, .len = t->regions[i].size};

        if (ioctl(t->uffd, UFFDIO_UNREGISTER, &r) < 0 && errno != ESRCH)
            rc = err_set(err, -errno, "userfaultfd: unregister: %s", strerror(errno));
    }
    if (t->uffd >= 0) {
        close(t->uffd);

        int close_rc = t->guest.ops->userfaultfd_close(t->guest.impl, rc ? NULL : err);

        rc = rc ? rc : close_rc;
    }
    if (t->pagemap >= 0)
        close(t->pagemap);
    free(t);
    return rc;
}

struct track_buf *
track_buf_new(void)
{
    return xcalloc(1, sizeof(struct track_buf));
}

void
track_buf_free(struct track_buf *b)
{
    free(b);
}

int
track_scan(struct track *t, struct track_buf *b, unsigned region, uint64_t start, uint64_t end,
           bool arm, int (*fn)(void *ctx, const struct track_range *r), void *ctx, struct err *err)
{
    uint64_t hva = t->regions[region].hva;
    /* What is WRITTEN, and what is not PRESENT: an entry that is neither PRESENT nor a marker
     * (SWAPPED) says nothing; kernels differ in whether they call it WRITTEN. It is, for us. */
    struct abi_pm_scan_arg a = {
        .size = sizeof a,
        .flags = ABI_PM_SCAN_CHECK_WPASYNC | (arm ? ABI_PM_SCAN_WP_MATCHING : 0),
        .start = hva + start,
        .end = hva + end,
        .vec = (uintptr_t)b->v,
        .vec_len = BUF_REGIONS,
        .category_inverted = ABI_PAGE_IS_PRESENT,
        .category_anyof_mask = ABI_PAGE_IS_WRITTEN | ABI_PAGE_IS_PRESENT,
        .return_mask = ABI_PAGE_IS_WRITTEN | ABI_PAGE_IS_PRESENT | ABI_PAGE_IS_SWAPPED};

    while (a.start < a.end) {
        int n = ioctl(t->pagemap, ABI_PAGEMAP_SCAN, &a);

        if (n < 0) {
            if (errno == EINTR)
                continue;
            return err_set(err, -errno, "dirty tracking: scan of guest memory: %s",
                           strerror(errno));
        }
        for (int i = 0; i < n; i++) {
            uint64_t c = b->v[i].categories;
            struct track_range r = {.start = b->v[i].start - hva,
                                    .end = b->v[i].end - hva,
                                    .written = c & ABI_PAGE_IS_WRITTEN ||
                                               !(c & (ABI_PAGE_IS_PRESENT | ABI_PAGE_IS_SWAPPED)),
                                    .mapped = c & ABI_PAGE_IS_PRESENT};
            int rc = fn(ctx, &r);

            if (rc != 0)
                return rc;
        }
        if (a.walk_end <= a.start)
            return err_set(err, -EIO, "dirty tracking: the kernel's scan does not move on");
        a.start = a.walk_end;
    }
    return 0;
}

static int
open_uffd(struct track *t, struct err *err)
{
    int rc = t->guest.ops->userfaultfd(t->guest.impl, &t->uffd, err);

    return rc ? rc : api(t->uffd, err);
}

static int
api(int uffd, struct err *err)
{
    struct uffdio_api a = {.api = UFFD_API, .features = FEATURES};

    if (ioctl(uffd, UFFDIO_API, &a) == 0)
        return 0;
    return err_set(err, errno == EINVAL ? -ENOTSUP : -errno,
                   "userfaultfd: this kernel has no asynchronous write protection of shared memory "
                   "(WP_ASYNC: Linux 6.7): %s",
                   strerror(errno));
}

static int
register_all(struct track *t, struct err *err)
{
    for (t->registered = 0; t->registered < t->regions_len; t->registered++) {
        const struct guest_region *g = &t->regions[t->registered];
        struct uffdio_register r = {.range = {.start = g->hva, .len = g->size},
                                    .mode = UFFDIO_REGISTER_MODE_WP};

        if (ioctl(t->uffd, UFFDIO_REGISTER, &r) < 0) {
            t->registered = 0; /* closing it unregisters the others */
            return err_set(err, -errno, "userfaultfd: register guest memory at %#llx: %s",
                           (unsigned long long)g->hva, strerror(errno));
        }
    }
    return 0;
}

/* One page of ours: register, arm, write, and see that the write is reported. */
static int
probe(struct err *err)
{
    AUTO_FD int memfd = memfd_create("drover-probe", MFD_CLOEXEC);
    AUTO_FD int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    AUTO_FD int uffd =
        (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | ABI_UFFD_USER_MODE_ONLY);
    const uint64_t page = 4096;
    struct abi_page_region out = {0};
    uint8_t *map;
    int n, rc;

    if (uffd < 0)
        return err_set(err, -ENOTSUP, "userfaultfd: not available: %s", strerror(errno));
    if (memfd < 0 || pagemap < 0 || ftruncate(memfd, (off_t)page) < 0)
        return err_set(err, -ENOTSUP, "dirty tracking: memfd or /proc/self/pagemap: %s",
                       strerror(errno));
    rc = api(uffd, err);
    if (rc != 0)
        return rc;
    map = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    if (map == MAP_FAILED)
        return err_set(err, -ENOTSUP, "dirty tracking: mmap: %s", strerror(errno));
    *(volatile uint8_t *)map = 1;

    struct uffdio_register r = {.range = {.start = (uintptr_t)map, .len = page},
                                .mode = UFFDIO_REGISTER_MODE_WP};
    struct abi_pm_scan_arg a = {.size = sizeof a,
                                .flags = ABI_PM_SCAN_WP_MATCHING | ABI_PM_SCAN_CHECK_WPASYNC,
                                .start = (uintptr_t)map,
                                .end = (uintptr_t)map + page,
                                .vec = (uintptr_t)&out,
                                .vec_len = 1,
                                .category_mask = ABI_PAGE_IS_WRITTEN,
                                .return_mask = ABI_PAGE_IS_WRITTEN};

    if (ioctl(uffd, UFFDIO_REGISTER, &r) < 0) {
        rc =
            err_set(err, -ENOTSUP, "userfaultfd: write protection of a memfd: %s", strerror(errno));
    } else if (ioctl(pagemap, ABI_PAGEMAP_SCAN, &a) < 0) {
        rc = err_set(err, -ENOTSUP, "PAGEMAP_SCAN: this kernel does not have it (Linux 6.7): %s",
                     strerror(errno));
    } else {
        a.flags = ABI_PM_SCAN_CHECK_WPASYNC;
        n = ioctl(pagemap, ABI_PAGEMAP_SCAN, &a);
        *(volatile uint8_t *)map = 2;
        if (n != 0 || ioctl(pagemap, ABI_PAGEMAP_SCAN, &a) != 1)
            rc = err_set(err, -ENOTSUP,
                         "PAGEMAP_SCAN: does not report writes to a write-protected page");
    }
    munmap(map, page);
    return rc;
}
