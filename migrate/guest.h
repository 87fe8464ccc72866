/* The port behind which a guest's memory is reached: the engine works on any guest that can do
 * this. Implemented by handler/native_* (drover-guest) and later by handler/libvirt_*. All calls
 * may block for a bounded time and may come from any thread of the engine, one at a time. */
#ifndef MIGRATE_GUEST_H
#define MIGRATE_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define GUEST_MAX_REGIONS 16

struct guest_region {
    uint64_t hva;        /* address in the guest's process */
    uint64_t size;       /* bytes, a multiple of page_bytes */
    uint32_t page_bytes; /* 4096 */
    int memfd;           /* borrowed */
    uint8_t *map;        /* our shared mapping of all of it, read-write; borrowed */
};

struct guest_ops {
    /* Fills in up to GUEST_MAX_REGIONS regions; the number, or -errno. Stable while the guest
     * lives. */
    int (*regions)(void *guest, struct guest_region *out, struct err *err);
    pid_t (*pid)(void *guest);
    /* A userfaultfd that was opened in the guest's process (O_NONBLOCK), given to the caller;
     * UFFDIO_API was not yet called. The guest keeps its own copy open so that its end is not
     * ours. */
    int (*userfaultfd)(void *guest, int *ret_fd, struct err *err);
    /* Tells the guest's process to close its copies: tracking is over. */
    int (*userfaultfd_close)(void *guest, struct err *err);
    /* The userfaultfd that an earlier handler opened and the guest still keeps, given again: -ENOENT
     * when there is none. NULL: not supported, and neither is going on after a restart in post-copy. */
    int (*userfaultfd_kept)(void *guest, int *ret_fd, struct err *err);
    /* Slows the guest down by percent (0 lifts it) of its time: only the virtual CPUs that write,
     * or all. NULL: not supported. Lifted by itself when the caller's connection ends. */
    int (*throttle)(void *guest, unsigned percent, bool writers_only, struct err *err);
    /* Stops and continues the virtual CPUs. pause returns when none of them writes any more. Both
     * do nothing when it is so already, and return -ESRCH when the guest's process is gone: the
     * target of a migration may then say that the guest never ran there. */
    int (*pause)(void *guest, struct err *err);
    int (*resume)(void *guest, struct err *err);
    /* Device state: what is not in the regions. save is called while paused; the buffer is the
     * caller's. */
    int (*save_state)(void *guest, void **ret_buf, size_t *ret_len, struct err *err);
    int (*load_state)(void *guest, const void *buf, size_t len, struct err *err);
};

struct guest {
    const struct guest_ops *ops;
    void *impl;
};

#endif
