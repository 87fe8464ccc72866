/* The migration coordinator: which phase one migration is in, what must happen next, and why it
 * waits. Pure: what is stored and what is seen go in, actions come out; control/loop_migration*.c
 * performs them. Nothing is remembered between two steps but the phase and its stamps, which are
 * stored with the object, so a controller that restarts carries on from what it reads. Phases,
 * edges and timeouts: docs/states.md (printed from COORD_PHASES), docs/protocol.md,
 * KubeVirt's migration controller. Who may run at the same time: migrate/coord_queue.h. */
#ifndef MIGRATE_COORD_H
#define MIGRATE_COORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define COORD_UNSCHEDULABLE_S 300 /* no node fits the target */
#define COORD_PENDING_S       900 /* any other reason to have no target yet */
#define COORD_HANDOFF_S       120 /* the hand-off cannot be written */
#define COORD_PREPARE_S       120 /* the target handler does not announce an address */
#define COORD_START_S         120 /* the source handler does not claim the start */
#define COORD_CLEANUP_S       120 /* the target handler does not say that its side is clean */
#define COORD_COMPLETE_S      300 /* the source handler does not say that its copy is gone */
#define COORD_ABORT_SLACK_S   120 /* beyond the completion timeout, before an abort is asked for */

#define COORD_EDGE(id) (1u << COORD_##id)

/* X(ID, name, deadline in seconds (0 = none of the coordinator's), legal next phases, sentence) */
#define COORD_PHASES(X)                                                                          \
    X(UNSET, "", 0, COORD_EDGE(PENDING) | COORD_EDGE(FAILED),                                    \
      "Created by a user or a drain; left in the first pass that sees it.")                      \
    X(PENDING, "Pending", COORD_PENDING_S, COORD_EDGE(SCHEDULING) | COORD_EDGE(FAILED),          \
      "Waits for a free slot, for its backoff, or for its VM to run; only the last counts "      \
      "against the deadline.")                                                                   \
    X(SCHEDULING, "Scheduling", COORD_PENDING_S, COORD_EDGE(SCHEDULED) | COORD_EDGE(FAILED),     \
      "A target node is looked for; holds no slot while none fits (300 s then, 900 s for any "   \
      "other reason).")                                                                          \
    X(SCHEDULED, "Scheduled", COORD_HANDOFF_S, COORD_EDGE(PREPARING) | COORD_EDGE(FAILED),       \
      "The target is chosen and room is reserved there; holds a slot from here on.")             \
    X(PREPARING, "PreparingTarget", COORD_PREPARE_S, COORD_EDGE(READY) | COORD_EDGE(FAILED),     \
      "Handed to the handlers; the target makes the incoming guest.")                            \
    X(READY, "TargetReady", COORD_START_S, COORD_EDGE(RUNNING) | COORD_EDGE(FAILED),             \
      "The target listens and has announced its address; the source has not claimed the start.") \
    X(RUNNING, "Running", 0, COORD_EDGE(SUCCEEDED) | COORD_EDGE(FAILED),                         \
      "The source moves memory; it alone decides until the target runs. Its own completion and " \
      "progress timeouts bound it; past twice the completion timeout an abort is asked for.")    \
    X(SUCCEEDED, "Succeeded", 0, 0, "The VM runs at the target and the source's copy is gone.")  \
    X(FAILED, "Failed", 0, 0, "The VM stays where it was; failureReason says why.")

enum coord_phase {
#define X(id, name, deadline, next, text) COORD_##id,
    COORD_PHASES(X)
#undef X
        COORD_PHASE_COUNT
};

const char *coord_phase_name(enum coord_phase p); /* "" for UNSET */
/* 0, or -EINVAL for a name that is not a phase; NULL counts as "". */
int coord_phase_parse(const char *name, enum coord_phase *ret, struct err *err);
unsigned coord_phase_next(enum coord_phase p); /* mask of 1u << phase */
int64_t coord_phase_deadline_s(enum coord_phase p);
const char *coord_phase_text(enum coord_phase p);
bool coord_phase_final(enum coord_phase p);
/* Scheduled to Running: counts against the limits. */
bool coord_phase_holds_slot(enum coord_phase p);

/* One migration. Times are wall-clock microseconds since 1970, because they are stored. */
struct coord {
    enum coord_phase phase;
    int64_t created_us;                  /* metadata.creationTimestamp */
    int64_t stamp_us[COORD_PHASE_COUNT]; /* when each phase was entered, 0 = never */
};

void coord_init(struct coord *m, int64_t created_us);
/* The only way to change a phase. -EINVAL names both phases when the edge is not in the table. */
int coord_set_phase(struct coord *m, enum coord_phase to, int64_t now_us, struct err *err);

enum coord_vmi {
    COORD_VMI_MISSING,
    COORD_VMI_FINAL,
    COORD_VMI_DELETING,
    COORD_VMI_NOT_RUNNING,
    COORD_VMI_RUNNING
};
enum coord_target {
    COORD_TARGET_UNKNOWN, /* nobody looked in this pass */
    COORD_TARGET_FOUND,
    COORD_TARGET_UNSCHEDULABLE, /* no node fits */
    COORD_TARGET_BLOCKED        /* it cannot be looked for: the network is missing, ... */
};

/* What is seen now. Strings are borrowed and may be NULL. */
struct coord_seen {
    bool cancel;         /* the migration object is being deleted */
    const char *refused; /* cannot be migrated at all: one sentence, or NULL */
    enum coord_vmi vmi;
    const char *vmi_phase; /* for the explanation */

    bool slot; /* coord_queue_admit said yes, or it holds one already */
    const char *wait_reason, *wait_message; /* why not */

    enum coord_target target;
    const char *target_reason, *target_message; /* why none */
    int64_t unschedulable_s, pending_s;         /* annotations on the migration; 0 = the defaults */

    /* status.migrationState of the VMI */
    bool mine;  /* it names this migration */
    bool other; /* it names another one */
    bool address, started, detected, completed, failed, abort_requested;
    const char *failure_reason;
    int64_t state_end_us; /* its endTimestamp, 0 = none */
    bool owner_changed;   /* status.nodeName is the target */
    bool memory_pending; /* post-copy: memory is still at the source, which must not end its copy */
    int64_t moved_us;    /* since when, 0 = not known */

    const char *source, *target_node;
    bool source_stale, target_stale; /* heartbeat too old, or no Node object */
    bool target_gone;                /* no Node object */
    bool source_gone;                /* likewise, and for longer than a heartbeat may be late */
    int64_t completion_timeout_s;    /* of this VM; 0 = none */
};

enum coord_action {
    COORD_STORE = 1 << 0,         /* the phase changed: store it and step again */
    COORD_FIND_TARGET = 1 << 1,   /* place, then step again with what came out */
    COORD_HAND_OFF = 1 << 2,      /* write migrationState, conditional on what was seen */
    COORD_FAIL_STATE = 1 << 3,    /* write migrationState.failed, conditional on what was seen */
    COORD_REQUEST_ABORT = 1 << 4, /* write migrationState.abortRequested, likewise */
    COORD_CHANGE_OWNER = 1 << 5,  /* status.nodeName := target, likewise */
    COORD_SOURCE_LOST = 1 << 6    /* tell the target that what it lacks will never come */
};

#define COORD_MESSAGE_SIZE 1024

struct coord_out {
    unsigned actions;                 /* of enum coord_action */
    bool waiting;                     /* reason and message say what for */
    const char *reason;               /* one CamelCase word, a literal or borrowed from `seen` */
    char message[COORD_MESSAGE_SIZE]; /* why it waits, or why it failed */
    int64_t wake_us; /* step again at this time even if nothing changes; 0 = no need */
};

/* Takes at most one edge. Never fails; a final phase gives no action. */
void coord_step(struct coord *m, const struct coord_seen *seen, int64_t now_us,
                struct coord_out *out);

#endif
