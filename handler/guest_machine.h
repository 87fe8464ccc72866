/* A native guest as a whole, without its socket: memory, vCPUs, life (incoming, paused, running),
 * device state, verify. Used by guest_control on one thread only; nothing here waits for the vCPUs:
 * what takes time is told through the eventfd. */
#ifndef HANDLER_GUEST_MACHINE_H
#define HANDLER_GUEST_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "handler/guest_wire.h"
#include "handler/guest_workload.h"

struct guest_machine;

/* An incoming guest uses cfg->memory_bytes only. Any other is filled (which takes its time) and set
 * running. cfg was checked. */
int guest_machine_new(const struct guest_config *cfg, bool incoming, struct guest_machine **ret,
                      struct err *err);
/* False, with nothing freed, when a vCPU cannot be brought to a stand. NULL is fine. */
bool guest_machine_free(struct guest_machine *m);
/* Readable when something may have come to its end: call guest_machine_poll. */
int guest_machine_eventfd(const struct guest_machine *m);
/* Starts a verify that waited for the vCPUs, or takes in one that is done. */
void guest_machine_poll(struct guest_machine *m);

void guest_machine_status(struct guest_machine *m, struct guest_wire_status *ret);
/* *ret_fd is borrowed. */
void guest_machine_memory(const struct guest_machine *m, struct guest_wire_memory *ret,
                          int *ret_fd);
/* Closes the one before and opens a new one; *ret_fd is borrowed. */
int guest_machine_userfaultfd(struct guest_machine *m, int *ret_fd, struct err *err);
/* The one that was opened last and is still kept (borrowed). -ENOENT. */
int guest_machine_userfaultfd_kept(struct guest_machine *m, int *ret_fd, struct err *err);
void guest_machine_userfaultfd_close(struct guest_machine *m);

/* Holds the vCPUs; done when guest_machine_paused. An incoming guest is paused always. */
void guest_machine_pause(struct guest_machine *m);
bool guest_machine_paused(struct guest_machine *m); /* by request, and no vCPU writes */
/* Cuts a verify short; done when guest_machine_verifying is false (at once without one). */
int guest_machine_resume(struct guest_machine *m, struct err *err);
bool guest_machine_running(struct guest_machine *m); /* nothing holds the vCPUs */

/* buf has GUEST_MAX_STATE_BYTES. -EBUSY unless paused, -EINVAL while incoming. */
int guest_machine_save(struct guest_machine *m, uint8_t *buf, size_t *ret_len, struct err *err);
int guest_machine_load(struct guest_machine *m, const void *buf, size_t len, struct err *err);
int guest_machine_set_rate(struct guest_machine *m, uint64_t bytes_per_s, struct err *err);
/* As guest_vcpus_throttle. -EINVAL: more than 99 percent; while incoming. */
int guest_machine_throttle(struct guest_machine *m, unsigned percent, bool writers,
                           struct err *err);

/* Begins to hold and compare; done when guest_machine_verifying is false, then the result is to be
 * taken. */
int guest_machine_verify(struct guest_machine *m, struct err *err);
bool guest_machine_verifying(const struct guest_machine *m);
void guest_machine_verify_cancel(struct guest_machine *m);
/* Of the verify that ended last: 0, -ECANCELED or another error. */
int guest_machine_verify_result(const struct guest_machine *m, struct guest_wire_verify *ret,
                                struct err *err);

#endif
