/* What a handler must still know after it was killed: one small file a VM, replaced atomically and
 * fsynced (base/fs.h), in STATE/vms/UID.json. It records the role and the decisions of the
 * switchover's two-phase commit (docs/protocol.md, "Switchover and crashes"). Functions block on
 * the disk and may be called from any thread, for one VM by one thread at a time. */
#ifndef HANDLER_JOURNAL_H
#define HANDLER_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "handler/hv.h"

/* X(ID, "name", "what is true when this is on disk") */
#define JOURNAL_STATES(X)                                                                         \
    X(STARTING, "starting", "a guest was asked for; it may or may not be there")                  \
    X(RUNNING, "running", "the guest here is the VM, at this generation")                         \
    X(COMMITTED, "committed", "the source gave the VM away; the guest here must not run again")   \
    X(MOVED, "moved", "the target runs it and the copy here was ended, but that is not reported") \
    X(INCOMING, "incoming", "a guest that is being filled; nobody depends on it")                 \
    X(PREPARED, "prepared", "the incoming guest is complete; the source decides")                 \
    X(NEVER, "never", "the source was told that this generation will never run here")             \
    X(ENDED, "ended", "the guest ended by itself, but that is not reported yet")

enum journal_state {
#define X(id, name, text) JOURNAL_##id,
    JOURNAL_STATES(X)
#undef X
        JOURNAL_STATE_COUNT
};

#define JOURNAL_UID_SIZE  64
#define JOURNAL_NAME_SIZE 256

struct journal {
    char uid[JOURNAL_UID_SIZE];
    char namespace_[JOURNAL_NAME_SIZE];
    char name[JOURNAL_NAME_SIZE];
    char cluster[JOURNAL_UID_SIZE]; /* uid of the kube-system namespace: whose VM this is */
    enum journal_state state;
    enum hv_kind hypervisor;              /* of the guest here; not in old files: native */
    uint64_t generation;                  /* of the guest here */
    char migration_uid[JOURNAL_UID_SIZE]; /* "" outside of a migration */
    char reason[256];                     /* for ENDED: why; for others "" */
    bool
        post_copy; /* COMMITTED: the target runs before all memory is there; this copy has the rest */
};

/* Where the target of a post-copy keeps what has arrived; the file is there until all has. Freed by
 * the caller. */
char *journal_postcopy_path(const char *state_dir, const char *uid);

const char *journal_state_name(enum journal_state s);
int journal_write(const char *state_dir, const struct journal *j, struct err *err);
int journal_remove(const char *state_dir, const char *uid, struct err *err);
/* Calls fn for each journal that is there; a file that cannot be read is an error that names it
 * (nothing is guessed about a VM). Stops at fn's first non-zero value and returns it. */
int journal_load_all(const char *state_dir, int (*fn)(void *ctx, const struct journal *j),
                     void *ctx, struct err *err);

#endif
