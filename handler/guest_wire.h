/* What crosses the control socket of a native guest: SOCK_SEQPACKET, one request and one reply a
 * message, fixed structs in the host's byte order (both ends are on one host). Handlers are
 * replaced while guests run, so numbers are never reused, structs only grow at their end, and a
 * reader fills up what an older peer did not send with zeros. docs/native-guest.md describes each
 * operation. */
#ifndef HANDLER_GUEST_WIRE_H
#define HANDLER_GUEST_WIRE_H

#include <stdint.h>

#include "handler/guest_limits.h"

#define GUEST_WIRE_MAGIC   0x74736764u /* "dgst" */
#define GUEST_WIRE_VERSION 1u
#define GUEST_WIRE_TEXT    1000u                          /* of an error reply */
#define GUEST_WIRE_MAX     (GUEST_MAX_STATE_BYTES + 256u) /* largest message */

enum guest_wire_op {
    GUEST_WIRE_STATUS = 1,      /* -> struct guest_wire_status */
    GUEST_WIRE_MEMORY = 2,      /* -> struct guest_wire_memory, with the memfd */
    GUEST_WIRE_USERFAULTFD = 3, /* -> nothing, with the descriptor */
    GUEST_WIRE_USERFAULTFD_CLOSE =
        4, /* -> nothing; from here on all answer so unless said otherwise */
    GUEST_WIRE_PAUSE = 5,
    GUEST_WIRE_RESUME = 6,
    GUEST_WIRE_SAVE = 7,      /* -> the state's bytes */
    GUEST_WIRE_LOAD = 8,      /* the state's bytes -> nothing */
    GUEST_WIRE_VERIFY = 9,    /* -> struct guest_wire_verify */
    GUEST_WIRE_SET_RATE = 10, /* arg: bytes a second */
    GUEST_WIRE_QUIT = 11,
    GUEST_WIRE_USERFAULTFD_KEPT = 12, /* -> nothing, with the descriptor of an earlier handler */
    GUEST_WIRE_THROTTLE =
        13 /* arg: percent (0-99), bit 8: writers only; ends with the connection */
};

#define GUEST_THROTTLE_WRITERS 0x100u

struct guest_wire_request { /* followed by len bytes */
    uint32_t magic;
    uint16_t version, op;
    uint64_t arg;
    uint32_t len, reserved;
};

struct guest_wire_reply { /* followed by len bytes: the answer, or with error < 0 a text */
    uint32_t magic;
    uint16_t version, op;
    int32_t error; /* 0 or -errno */
    uint32_t len;
};

enum guest_wire_state { GUEST_STATE_INCOMING = 1, GUEST_STATE_PAUSED = 2, GUEST_STATE_RUNNING = 3 };

#define GUEST_STATUS_VERIFYING      1u
#define GUEST_STATUS_PAUSING        2u
#define GUEST_STATUS_DOWNTIME_KNOWN 4u

struct guest_wire_status {
    uint32_t state, flags;
    uint64_t memory_bytes, rate_bytes_per_s, set_bytes, fill_bytes, zero_bytes;
    uint64_t steps, written_bytes, checked_reads, read_mismatches;
    uint64_t resumes, downtime_us, last_gap_us;
    uint32_t vcpus, reserved;
    char workload[16];                           /* NUL-terminated */
    uint32_t throttle_percent, throttle_writers; /* now; writers: only they */
    uint64_t throttled_us; /* that vCPUs slept for it, all together, in this process */
};

struct guest_wire_memory {
    uint64_t hva, size;
    uint32_t page_bytes, reserved;
};

struct guest_wire_verify {
    uint32_t ok, reserved;
    uint64_t pages, present_pages, bad_pages, read_mismatches, steps;
    char text[512]; /* NUL-terminated */
};

#endif
