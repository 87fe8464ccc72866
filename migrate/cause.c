/* Why a migration failed, in one sentence each: the status' failureReason. */
#include "migrate/engine.h"

#include "base/cleanup.h"

const char *
mig_cause_text(enum mig_cause c)
{
    static const char *const texts[] = {
        [MIG_CAUSE_NONE] = "no failure",
        [MIG_CAUSE_CANCELLED] = "the migration was cancelled",
        [MIG_CAUSE_COMPLETION_TIMEOUT] = ("the migration did not complete within its time limit "
                                          "(completionTimeoutPerGiB)"),
        [MIG_CAUSE_PROGRESS_TIMEOUT] = "the migration made no progress (progressTimeout)",
        [MIG_CAUSE_CONNECT] = "the target could not be reached",
        [MIG_CAUSE_PEER] = "the target or the connection to it was lost",
        [MIG_CAUSE_PROTOCOL] = "the other end broke the migration protocol",
        [MIG_CAUSE_GUEST] = "the guest could not be migrated",
        [MIG_CAUSE_LOCAL] = "this end failed",
    };

    if ((unsigned)c >= ARRAY_LEN(texts))
        return "unknown cause";
    return texts[c];
}

const char *
mig_transport_name(enum mig_transport t)
{
    static const char *const names[] = {"auto", "rdma", "tcp"};

    return (unsigned)t < ARRAY_LEN(names) ? names[t] : "?";
}
