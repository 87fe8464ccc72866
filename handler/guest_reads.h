/* What a read of the native guest must find: for each position of a zipf stream's schedule, the
 * position that last wrote the same value. That depends on the schedule alone, so a thread of its
 * own works it out while the guest runs already (after a migration, too: reads go unchecked for a
 * moment, nothing waits). */
#ifndef HANDLER_GUEST_READS_H
#define HANDLER_GUEST_READS_H

#include <stdbool.h>
#include <stdint.h>

#include "handler/guest_workload.h"

struct guest_reads;

/* Copies cfg. When there is no memory or thread for it reads stay unchecked. */
struct guest_reads *guest_reads_new(const struct guest_config *cfg);
void guest_reads_free(struct guest_reads *r);
/* The content key that the k-th step of stream number sn (= s) of the vCPU, a read, must find;
 * false when it is not known yet, or when nothing has been written there (reading would make the
 * page present). Any thread. */
bool guest_reads_key(struct guest_reads *r, unsigned vcpu, unsigned sn,
                     const struct guest_stream *s, uint64_t k, uint64_t *ret_key);

#endif
