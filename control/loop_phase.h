/* Phases of a VirtualMachineInstance and of a NodeMaintenance: which follow which, and the
 * functions that alone change them in a tree. The migration's own are migrate/coord.h's. Written
 * into docs/states.md by tests/control/test_loop_states.c. */
#ifndef CONTROL_LOOP_PHASE_H
#define CONTROL_LOOP_PHASE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/tree.h"
#include "base/err.h"

#define VMI_EDGE(id) (1u << VMI_##id)

/* X(ID, name, legal next phases, sentence) */
#define VMI_PHASES(X)                                                                     \
    X(UNSET, "", VMI_EDGE(PENDING), "Created by a user; not looked at yet.")              \
    X(PENDING, "Pending", VMI_EDGE(SCHEDULING) | VMI_EDGE(SCHEDULED) | VMI_EDGE(FAILED),  \
      "Created by the controller from its VirtualMachine; not placed yet.")               \
    X(SCHEDULING, "Scheduling", VMI_EDGE(SCHEDULED) | VMI_EDGE(FAILED),                   \
      "No node fits; tried again when something changes.")                                \
    X(SCHEDULED, "Scheduled", VMI_EDGE(RUNNING) | VMI_EDGE(SUCCEEDED) | VMI_EDGE(FAILED), \
      "A node is chosen; its handler makes the guest.")                                   \
    X(RUNNING, "Running", VMI_EDGE(SUCCEEDED) | VMI_EDGE(FAILED),                         \
      "The guest runs on status.nodeName; its handler says so.")                          \
    X(SUCCEEDED, "Succeeded", 0, "The guest has ended by itself or was stopped.")         \
    X(FAILED, "Failed", 0,                                                                \
      "The guest could not be made, has crashed, or its node was deleted (NodeDeleted).")

enum vmi_phase {
#define X(id, name, next, text) VMI_##id,
    VMI_PHASES(X)
#undef X
        VMI_PHASE_COUNT
};

const char *vmi_phase_name(enum vmi_phase p);
const char *vmi_phase_text(enum vmi_phase p);
unsigned vmi_phase_next(enum vmi_phase p);
/* VMI_PHASE_COUNT for a name that is none of them; NULL counts as "". */
enum vmi_phase vmi_phase_parse(const char *name);
bool vmi_phase_final(enum vmi_phase p);
/* Changes status.phase and stamps phaseTransitionTimestamps. -EINVAL when the edge is not legal. */
int vmi_phase_set(struct tree *vmi, enum vmi_phase to, int64_t now_us, struct err *err);

#define DRAIN_EDGE(id) (1u << DRAIN_##id)

#define DRAIN_PHASES(X)                                                       \
    X(UNSET, "", DRAIN_EDGE(RUNNING) | DRAIN_EDGE(FAILED),                    \
      "Created by a user; not looked at yet.")                                \
    X(RUNNING, "Running", DRAIN_EDGE(SUCCEEDED) | DRAIN_EDGE(FAILED),         \
      "The node is cordoned and its VMs leave; lastError names what blocks.") \
    X(SUCCEEDED, "Succeeded", DRAIN_EDGE(RUNNING) | DRAIN_EDGE(FAILED),       \
      "No VM is left on the node.")                                           \
    X(FAILED, "Failed", DRAIN_EDGE(RUNNING),                                  \
      "There is no such node, or another NodeMaintenance has it.")

enum drain_phase {
#define X(id, name, next, text) DRAIN_##id,
    DRAIN_PHASES(X)
#undef X
        DRAIN_PHASE_COUNT
};

const char *drain_phase_name(enum drain_phase p);
const char *drain_phase_text(enum drain_phase p);
unsigned drain_phase_next(enum drain_phase p);
int drain_phase_set(struct tree *maintenance, enum drain_phase to, struct err *err);

/* Appends {phase, phaseTransitionTimestamp} to obj's status.phaseTransitionTimestamps, once a
 * phase. micro: with a fraction. */
void phase_stamp(struct tree *obj, const char *phase, int64_t now_us, bool micro);
/* When the phase was entered; 0 = not known. */
int64_t phase_stamp_us(const struct tree *obj, const char *phase);

#endif
