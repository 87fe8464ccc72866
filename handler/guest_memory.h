/* Memory of a native guest, inside its process: a sealed memfd mapped shared, its initial fill, the
 * walk over what is present, and the userfaultfd that can be opened here only. */
#ifndef HANDLER_GUEST_MEMORY_H
#define HANDLER_GUEST_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "handler/guest_workload.h"

struct guest_memory {
    int fd; /* -1 = none */
    uint8_t *map;
    uint64_t size;
};

/* Makes the memfd (size sealed) and maps it; touches nothing. */
int guest_memory_init(struct guest_memory *m, uint64_t size, struct err *err);
void guest_memory_done(struct guest_memory *m);
/* Writes the initial fill and the zero pages, with as many threads as the guest has vCPUs. */
int guest_memory_fill(struct guest_memory *m, const struct guest_config *cfg, struct err *err);

/* The first present extent that ends after `from`, cut off before from; whole pages, without
 * touching memory. Both ends are `size` when there is none. 0 or -errno. */
int guest_memory_next_present(int fd, uint64_t size, uint64_t from, uint64_t *ret_start,
                              uint64_t *ret_end);

/* A userfaultfd of this process, O_CLOEXEC | O_NONBLOCK: full where that is permitted (privilege,
 * sysctl or /dev/userfaultfd), else user-mode-only. The descriptor or -errno. */
int guest_memory_userfaultfd(struct err *err);

#endif
