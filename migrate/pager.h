/* Page faults of an incoming guest, served from outside: a userfaultfd of the guest's process,
 * registered MISSING and MINOR over memory that has not arrived. MISSING alone would let a page that
 * is being written be seen half; MINOR alone would let a page that never came be filled with zeros by
 * the kernel. With both, every first touch stops until this process has said what is there, and a
 * page is shown (UFFDIO_CONTINUE) only behind its received bit. Linux 5.13; poisoning 6.6.
 *
 * All offsets are bytes into a region, multiples of the page size. Any thread, but for new and
 * free. */
#ifndef MIGRATE_PAGER_H
#define MIGRATE_PAGER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "migrate/guest.h"

struct pager;

struct pager_fault {
    uint32_t region;
    uint64_t offset;
};

/* Whether this kernel can do it (once a process): 0, or -ENOTSUP with what is missing. */
int pager_probe(struct err *err);
/* Whether lost pages can be poisoned. */
bool pager_can_poison(void);

/* kept: takes over what an earlier process of ours registered, and makes the guest raise again the
 * faults that it had read. Regions are copied. */
int pager_new(const struct guest *g, const struct guest_region *regions, unsigned regions_len,
              bool kept, struct pager **ret, struct err *err);
/* Closes our descriptor. With unregister, all memory becomes ordinary again, whoever still waits goes
 * on, and the guest is told to close its copy; without, its threads wait on for the next process. */
void pager_free(struct pager *p, bool unregister);

int pager_register(struct pager *p, uint32_t region, uint64_t offset, uint64_t bytes,
                   struct err *err);
/* For poll. */
int pager_fd(const struct pager *p);
/* Up to max faults that nobody has read yet; 0 = none now; -errno. Never blocks. */
int pager_read(struct pager *p, struct pager_fault *ret, int max, struct err *err);

/* Shows what the memory file holds there, and wakes who waits for it. Pages that are shown already
 * are passed over. -ENOENT: a page of it is a hole; -ESRCH: the guest's process is gone. */
int pager_show(struct pager *p, uint32_t region, uint64_t offset, uint64_t bytes, struct err *err);
/* The same with zeros where the file has a hole. */
int pager_zero(struct pager *p, uint32_t region, uint64_t offset, uint64_t bytes, struct err *err);
/* Whoever touches it gets a memory error (SIGBUS, in a VM a machine check) instead of content.
 * -ENOTSUP. */
int pager_poison(struct pager *p, uint32_t region, uint64_t offset, uint64_t bytes,
                 struct err *err);

#endif
