/* Post-copy's side of userfaultfd; see pager.h. Documentation/admin-guide/mm/userfaultfd.rst. */
#include "migrate/pager.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sb.h"
#include "migrate/engine.h"
#include "migrate/uffd_abi.h"
#include "proto/limits.h"

#define NEEDED  (ABI_UFFD_FEATURE_MISSING_SHMEM | ABI_UFFD_FEATURE_MINOR_SHMEM)
#define AT_ONCE 64 /* events of one read */

struct pager {
    struct guest guest;
    struct guest_region regions[GUEST_MAX_REGIONS];
    unsigned regions_len;
    int fd;
};

static struct {
    pthread_mutex_t mu;
    bool done, poison;
    struct err result;
} probed = {.mu = PTHREAD_MUTEX_INITIALIZER};

static int probe(struct err *err);
static int install(struct pager *p, uint32_t region, uint64_t offset, uint64_t bytes,
                   unsigned long cmd, struct err *err);
static int one(struct pager *p, unsigned long cmd, uint64_t start, uint64_t len, int64_t *ret_done);

int
mig_probe_post_copy(struct err *err)
{
    return pager_probe(err);
}

int
pager_probe(struct err *err)
{
    struct err result;

    pthread_mutex_lock(&probed.mu);
    if (!probed.done)
        probe(&probed.result);
    probed.done = true;
    result = probed.result;
    pthread_mutex_unlock(&probed.mu);
    return result.code ? err_set(err, result.code, "%s", result.msg) : 0;
}

bool
pager_can_poison(void)
{
    return pager_probe(NULL) == 0 && probed.poison;
}

int
pager_new(const struct guest *g, const struct guest_region *regions, unsigned regions_len,
          bool kept, struct pager **ret, struct err *err)
{
    struct uffdio_api a = {.api = UFFD_API, .features = NEEDED};
    struct pager *p;
    int fd = -1, rc = pager_probe(err);

    if (rc != 0)
        return rc;
    if (kept && !g->ops->userfaultfd_kept)
        return err_set(err, -ENOTSUP, "this guest does not keep its userfaultfd");
    rc =
        kept ? g->ops->userfaultfd_kept(g->impl, &fd, err) : g->ops->userfaultfd(g->impl, &fd, err);
    if (rc != 0)
        return rc;
    a.features |= probed.poison ? ABI_UFFD_FEATURE_POISON : 0;
    if (!kept && ioctl(fd, UFFDIO_API, &a) < 0) {
        rc = err_set(err, -errno, "userfaultfd: %s", strerror(errno));
        close(fd);
        return rc;
    }
    p = xcalloc(1, sizeof *p);
    p->guest = *g;
    p->fd = fd;
    p->regions_len = regions_len;
    memcpy(p->regions, regions, regions_len * sizeof *regions);
    for (unsigned i = 0; kept && i < regions_len; i++) {
        struct uffdio_range r = {.start = regions[i].hva, .len = regions[i].size};

        (void)ioctl(fd, UFFDIO_WAKE, &r);
    }
    *ret = p;
    return 0;
}

void
pager_free(struct pager *p, bool unregister)
{
    if (!p)
        return;
    for (unsigned i = 0; unregister && i < p->regions_len; i++) {
        struct uffdio_range r = {.start = p->regions[i].hva, .len = p->regions[i].size};

        (void)ioctl(p->fd, UFFDIO_UNREGISTER, &r); /* fails only where the guest is gone */
    }
    close(p->fd);
    if (unregister)
        (void)p->guest.ops->userfaultfd_close(p->guest.impl, NULL);
    free(p);
}

int
pager_register(struct pager *p, uint32_t region, uint64_t offset, uint64_t bytes, struct err *err)
{
    struct uffdio_register r = {.range = {.start = p->regions[region].hva + offset, .len = bytes},
                                .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR};

    if (ioctl(p->fd, UFFDIO_REGISTER, &r) < 0)
        return err_set(err, -errno, "userfaultfd: register guest memory at %#llx: %s",
                       (unsigned long long)r.range.start, strerror(errno));
    return 0;
}

int
pager_fd(const struct pager *p)
{
    return p->fd;
}

int
pager_read(struct pager *p, struct pager_fault *ret, int max, struct err *err)
{
    struct uffd_msg msgs[AT_ONCE];
    int n = 0;
    ssize_t got = read(p->fd, msgs, sizeof msgs[0] * (size_t)(max < AT_ONCE ? max : AT_ONCE));

    if (got < 0)
        return errno == EAGAIN || errno == EINTR
                   ? 0
                   : err_set(err, -errno, "userfaultfd: read: %s", strerror(errno));
    for (size_t i = 0; i < (size_t)got / sizeof msgs[0]; i++) {
        uint64_t at = msgs[i].arg.pagefault.address;

        if (msgs[i].event != UFFD_EVENT_PAGEFAULT)
            continue;
        for (unsigned k = 0; k < p->regions_len; k++) {
            const struct guest_region *g = &p->regions[k];

            if (at >= g->hva && at - g->hva < g->size) {
                ret[n++] = (struct pager_fault){
                    .region = k, .offset = (at - g->hva) & ~(uint64_t)(LAYOUT_PAGE_BYTES - 1)};
                break;
            }
        }
    }
    return n;
}

int
pager_show(struct pager *p, uint32_t region, uint64_t offset, uint64_t bytes, struct err *err)
{
    return install(p, region, offset, bytes, UFFDIO_CONTINUE, err);
}

int
pager_zero(struct pager *p, uint32_t region, uint64_t offset, uint64_t bytes, struct err *err)
{
    return install(p, region, offset, bytes, UFFDIO_ZEROPAGE, err);
}

int
pager_poison(struct pager *p, uint32_t region, uint64_t offset, uint64_t bytes, struct err *err)
{
    if (!pager_can_poison())
        return err_set(err, -ENOTSUP,
                       "userfaultfd: this kernel cannot poison pages (UFFDIO_POISON: Linux 6.6)");
    return install(p, region, offset, bytes, ABI_UFFDIO_POISON, err);
}

/* Page by page only where the kernel stops: at one that is there already. */
static int
install(struct pager *p, uint32_t region, uint64_t offset, uint64_t bytes, unsigned long cmd,
        struct err *err)
{
    uint64_t start = p->regions[region].hva + offset;

    for (uint64_t at = 0; at < bytes;) {
        int64_t done = 0;
        int rc = one(p, cmd, start + at, bytes - at, &done);
        struct uffdio_range r = {.start = start + at, .len = LAYOUT_PAGE_BYTES};

        if (done > 0) {
            at += (uint64_t)done;
            continue;
        }
        if (rc == 0 || rc == -EAGAIN) /* its memory map is being changed */
            continue;
        if (rc == -EEXIST) { /* who came to wait for it meanwhile looks again */
            (void)ioctl(p->fd, UFFDIO_WAKE, &r);
            at += LAYOUT_PAGE_BYTES;
            continue;
        }
        if (rc == -EFAULT && cmd == UFFDIO_CONTINUE)
            return -ENOENT; /* the caller knows what a hole means */
        return err_set(err, rc, "userfaultfd: guest memory at %#llx: %s",
                       (unsigned long long)start + at, strerror(-rc));
    }
    return 0;
}

static int
one(struct pager *p, unsigned long cmd, uint64_t start, uint64_t len, int64_t *ret_done)
{
    union {
        struct uffdio_continue c;
        struct uffdio_zeropage z;
        struct abi_uffdio_poison p;
    } u = {.c = {.range = {.start = start, .len = len}}};
    int rc = ioctl(p->fd, cmd, &u) < 0 ? -errno : 0;

    *ret_done = cmd == UFFDIO_CONTINUE   ? u.c.mapped
                : cmd == UFFDIO_ZEROPAGE ? u.z.zeropage
                                         : u.p.updated;
    return rc;
}

static int
probe(struct err *err)
{
    struct uffdio_api a = {.api = UFFD_API};
    AUTO_FD int fd =
        (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | ABI_UFFD_USER_MODE_ONLY);

    if (fd < 0 || ioctl(fd, UFFDIO_API, &a) < 0)
        return err_set(err, -ENOTSUP, "userfaultfd: not available: %s", strerror(errno));
    if ((a.features & NEEDED) != NEEDED)
        return err_set(err, -ENOTSUP,
                       "userfaultfd: this kernel cannot stop at pages of shared memory that have "
                       "not arrived (MINOR_SHMEM: Linux 5.14)");
    probed.poison = a.features & ABI_UFFD_FEATURE_POISON;
    return 0;
}
