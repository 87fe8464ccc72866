/* The device state of a native guest: its configuration, each vCPU's counters and the time of its
 * last step, as bytes for another host. Little-endian, versioned, with a checksum; what is decoded
 * comes from a peer and is checked in full. Pure; any thread. */
#ifndef HANDLER_GUEST_STATE_H
#define HANDLER_GUEST_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "handler/guest_workload.h"

struct guest_vcpu_state {
    uint64_t steps, written_bytes, checked_reads, read_mismatches;
    uint64_t last_mono_ns; /* of the last step; 0 = none yet */
    uint64_t last_real_ns;
};

struct guest_state {
    struct guest_config config;
    uint8_t boot_id[16];                            /* whose monotonic clock last_mono_ns is */
    struct guest_vcpu_state vcpus[GUEST_MAX_VCPUS]; /* config.vcpus of them */
};

/* Bytes written to buf, which has GUEST_MAX_STATE_BYTES. */
size_t guest_state_encode(const struct guest_state *st, uint8_t *buf);
/* -EINVAL (what, where, what is allowed) unless every field is in range and the configuration is
 * one that guest_config_check accepts, for a guest of memory_bytes. */
int guest_state_decode(const void *buf, size_t len, uint64_t memory_bytes, struct guest_state *ret,
                       struct err *err);

/* This host's boot id; all zeros when it cannot be read. */
void guest_state_boot_id(uint8_t ret[16]);

#endif
