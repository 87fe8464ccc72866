/* One migration as people look at it: what the VirtualMachineInstanceMigration's spec, status and
 * annotations (docs/protocol.md) say, in one flat struct. Pure. */
#ifndef CLI_CLIENT_MIGRATION_H
#define CLI_CLIENT_MIGRATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/tree.h"
#include "base/arena.h"
#include "base/sb.h"

struct migration_decision {
    const char *at, *text;
    int64_t round;
};

struct migration { /* strings are never NULL, "" when unknown; they live in the arena */
    const char *namespace_, *name, *uid, *vm, *phase;
    const char *source, *target, *address, *policy;
    const char *waiting;                      /* why it does not move yet */
    const char *failure;                      /* why it failed */
    int64_t created_us, started_us, ended_us; /* wall clock; 0 = not yet */
    bool final, failed, cancelling;

    bool has_progress; /* drover.io/migration-progress */
    int64_t round, total_bytes, remaining_bytes, sent_bytes;
    int64_t rate_bytes_per_s, dirty_bytes_per_s, predicted_downtime_ms, elapsed_ms;
    int64_t predicted_downtime_p90_ms, predicted_total_ms; /* 0 = nothing was predicted */
    int64_t limit_bytes_per_s;                             /* in force; 0 = none */
    int64_t throttle_percent, reconnects, missing_bytes;
    const char *mode;      /* PreCopy PostCopy Paused */
    const char *encodings; /* how its pages travelled: "raw 62%, lz4 30%, zero 8%" */
    const char *privacy;   /* in a word or three: "encrypted" "plaintext" "RDMA in the clear" */
    const char *transport, *transport_reason, *rdma_device; /* "tcp" "rdma"; why tcp; "rxe0" */
    int64_t placed_pages, registered_peak_bytes;

    bool has_result; /* drover.io/migration-result */
    const char *cause;
    const char *method; /* engine relay; "" = an older handler */
    int64_t result_rounds, result_sent_bytes, result_total_ms, result_channels;
    int64_t result_downtime_ms; /* -1 = not measured */
    int64_t raw_pages, zero_pages, absent_pages, again_pages;
    const char
        *encryption; /* "yes (TLS 1.3, ...)", "no (why)", "no: memory ... RDMA ..."; NULL = the
                               handler did not say */
    int64_t cpu_ms, throttle_ms, write_faults, write_fault_ms;
    const char *downtime_phases; /* "stop 0.1 ms, scan 0.2 ms, ...": of both ends */

    bool has_target; /* drover.io/target-result */
    int64_t target_cpu_ms, postcopy_ms, faults, fault_p50_us, fault_p99_us;
    int64_t read_faults; /* of the faults: by an RDMA READ */

    struct migration_decision *decisions; /* drover.io/migration-decisions */
    size_t decisions_len;

    /* drover.io/guest-result; with method relay, whose guests say nothing, QEMU's; -1 = unknown */
    int64_t guest_downtime_ms;
};

void migration_read(const struct tree *vmim, struct arena *a, struct migration *ret);
/* By age, then by VM: the order in which they are shown. */
void migration_sort(struct migration *m, size_t len);
/* 0..1000: how much of the guest's memory is at the target. */
int migration_permille(const struct migration *m);
/* Milliseconds until nothing would remain at the present rates; -1 when it is not known or,
 * because the guest writes as fast as it is sent or nothing goes through, not today. */
int64_t migration_eta_ms(const struct migration *m);

/* Numbers for people, appended: "412 ms", "1.4 s", "2m5s"; "1.2 GiB/s"; "3.1 MiB". */
void human_ms(struct sb *out, int64_t ms);
void human_bytes(struct sb *out, int64_t bytes);
void human_rate(struct sb *out, int64_t bytes_per_s);

#endif
