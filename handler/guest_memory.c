/* The native guest's memory; see guest_memory.h. Kernel documents: memfd_create(2), lseek(2),
 * Documentation/admin-guide/mm/userfaultfd.rst. */
#include "handler/guest_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/sb.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

int
guest_memory_init(struct guest_memory *m, uint64_t size, struct err *err)
{
    AUTO_FD int fd = memfd_create("drover-guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *map;

    if (fd < 0)
        return err_set(err, -errno, "cannot make the guest's memory: memfd_create: %s",
                       strerror(errno));
    if (ftruncate(fd, (off_t)size) < 0)
        return err_set(err, -errno, "cannot make %" PRIu64 " bytes of guest memory: %s", size,
                       strerror(errno));
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return err_set(err, -errno, "cannot seal the guest's memory: %s", strerror(errno));
    map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (map == MAP_FAILED)
        return err_set(err, -errno, "cannot map %" PRIu64 " bytes of guest memory: %s", size,
                       strerror(errno));
    (void)madvise(map, size, MADV_DONTDUMP); /* a core file without it is of more use */
    /* A migration may bring huge pages. Here they are mapped page by page, or the first write to one
     * while a migration out of here looks for what is written would count for all of it. */
    (void)madvise(map, size, MADV_NOHUGEPAGE);
    *m = (struct guest_memory){.fd = take_fd(&fd), .map = map, .size = size};
    return 0;
}

void
guest_memory_done(struct guest_memory *m)
{
    if (m->map)
        munmap(m->map, m->size);
    if (m->fd >= 0)
        close(m->fd);
    *m = (struct guest_memory){.fd = -1};
}

struct filler {
    pthread_t thread;
    const struct guest_memory *mem;
    const struct guest_config *cfg;
    uint64_t first, last; /* pages */
};

static void *
fill_pages(void *arg)
{
    const struct filler *f = arg;

    for (uint64_t page = f->first; page < f->last; page++) {
        uint8_t *p = f->mem->map + page * GUEST_PAGE_BYTES;
        uint64_t key;

        if (guest_initial_key(f->cfg, page, &key))
            guest_content_write(key, 0, (uint64_t *)(void *)p, GUEST_PAGE_WORDS);
        else
            memset(p, 0, GUEST_PAGE_BYTES);
    }
    return NULL;
}

int
guest_memory_fill(struct guest_memory *m, const struct guest_config *cfg, struct err *err)
{
    uint64_t pages = (cfg->fill_bytes + cfg->zero_bytes) / GUEST_PAGE_BYTES;
    AUTO_FREE struct filler *f = xcalloc(cfg->vcpus, sizeof(*f));
    uint32_t started = 0;
    int r = 0;

    for (; started < cfg->vcpus && r == 0; started++) {
        f[started] = (struct filler){.mem = m,
                                     .cfg = cfg,
                                     .first = pages * started / cfg->vcpus,
                                     .last = pages * (started + 1) / cfg->vcpus};
        r = pthread_create(&f[started].thread, NULL, fill_pages, &f[started]);
    }
    if (r != 0)
        started--;
    while (started > 0)
        pthread_join(f[--started].thread, NULL);
    return r == 0 ? 0 : err_set(err, -r, "cannot start a thread to fill memory: %s", strerror(r));
}

int
guest_memory_next_present(int fd, uint64_t size, uint64_t from, uint64_t *ret_start,
                          uint64_t *ret_end)
{
    off_t start = lseek(fd, (off_t)from, SEEK_DATA), end;

    if (start < 0 && errno != ENXIO)
        return -errno;
    if (start < 0 || (uint64_t)start >= size) {
        *ret_start = *ret_end = size;
        return 0;
    }
    end = lseek(fd, start, SEEK_HOLE);
    if (end < 0)
        return -errno;
    *ret_start = (uint64_t)start / GUEST_PAGE_BYTES * GUEST_PAGE_BYTES;
    *ret_end = ((uint64_t)end + GUEST_PAGE_BYTES - 1) / GUEST_PAGE_BYTES * GUEST_PAGE_BYTES;
    return 0;
}

int
guest_memory_userfaultfd(struct err *err)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    AUTO_FD int dev = -1;

    if (fd >= 0 || errno != EPERM)
        return fd >= 0 ? fd : err_set(err, -errno, "userfaultfd: %s", strerror(errno));
    dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (dev >= 0)
        fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    return fd >= 0 ? fd : err_set(err, -errno, "userfaultfd: %s", strerror(errno));
}
