/* The vCPUs of a native guest: threads that walk the workload's schedule at a set rate, can be held
 * and released together, count what they do, check what they read, and note the time of each step
 * so that a gap in the guest's life can be told from inside. guest_machine owns them. */
#ifndef HANDLER_GUEST_VCPU_H
#define HANDLER_GUEST_VCPU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "handler/guest_state.h"

struct guest_vcpus;

/* Reasons to stand still; the vCPUs run when there is none. */
#define GUEST_HOLD_CLIENT 1u /* paused by request */
#define GUEST_HOLD_VERIFY 2u /* memory is being compared */
#define GUEST_HOLD_QUIT   4u

struct guest_counters {
    uint64_t steps, written_bytes, checked_reads, read_mismatches;
    uint64_t resumes;
    bool downtime_known;
    uint64_t downtime_us, last_gap_us;
    uint64_t throttled_us;    /* that the vCPUs slept, all together */
    char first_mismatch[256]; /* "" when there was none in this process */
};

/* Starts the threads, held for GUEST_HOLD_CLIENT, to go on from st. map is borrowed until _free.
 * loaded: st came from another process, so the gap until every vCPU has made a step is its
 * downtime. notify_fd: an eventfd (borrowed) that is written whenever the last vCPU has come to a
 * stand. */
int guest_vcpus_new(const struct guest_state *st, bool loaded, uint8_t *map, int notify_fd,
                    struct guest_vcpus **ret, struct err *err);
/* Ends the threads and frees all; false, and nothing is freed, when one does not come to a stand
 * within a second (it waits for a page that nobody brings): the process is then to end without it.
 * NULL is fine. */
bool guest_vcpus_free(struct guest_vcpus *c);

/* Any thread; do not wait. After a hold no vCPU writes once guest_vcpus_stopped is true. */
void guest_vcpus_hold(struct guest_vcpus *c, unsigned reason);
void guest_vcpus_release(struct guest_vcpus *c, unsigned reason);
unsigned guest_vcpus_holds(struct guest_vcpus *c);
bool guest_vcpus_stopped(struct guest_vcpus *c); /* held, and all stand still */

void guest_vcpus_set_rate(struct guest_vcpus *c, uint64_t bytes_per_s);
/* Any thread. The vCPUs (writers: only those that write) sleep percent (0-99) of their time, at the
 * end of each slice of 10 ms, and their clocks earn steps for the rest only. 0 lifts it at once. */
void guest_vcpus_throttle(struct guest_vcpus *c, unsigned percent, bool writers);
void guest_vcpus_counters(struct guest_vcpus *c, struct guest_counters *ret);
/* Only while stopped. */
void guest_vcpus_save(struct guest_vcpus *c, struct guest_state *ret);

#endif
