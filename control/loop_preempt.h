/* Preemption at run time: a VM that fits nowhere is promised a node, and VMs of lower priority leave it.
 * The plan is sched/preempt.h's; how the victims leave is control/loop_evict.h's. Part of a pass
 * (control/loop_core.h).
 *
 * The promise and the victims stand on the VMI (ANN_NOMINATED, ANN_VICTIMS) before anything is done, so that
 * a controller that dies goes on with the same plan. A VM has one promise at a time. It is given up when the
 * VM fits elsewhere or goes, or when it would not help any more. */
#ifndef CONTROL_LOOP_PREEMPT_H
#define CONTROL_LOOP_PREEMPT_H

#include "control/loop_core.h"
#include "control/loop_place.h"

/* Takes notice of what the VMI has been promised. waits: it wants a node. */
void loop_preempt_note(struct loops *l, const struct vmi *v, bool waits);
/* Places a VM that wants a node: where it was promised one, else as any other; room that was promised to
 * others of its priority or a higher one is not there for it. When it fits nowhere, others may have to go. */
struct loop_placed loop_preempt_place(struct loops *l, const struct vmi *v, int64_t priority);
/* The pass has looked for victims often enough. */
bool loop_preempt_busy(const struct loops *l);
/* After all of them: keeps the room of every promise from what is decided later in the pass, and sends the
 * victims away. */
void loop_preempt_pass(struct loops *l);
/* In the write that gives the VMI its node. */
void loop_preempt_clear(struct tree *vmi);

void loop_preempt_free(void *promise); /* of l->promises */

#endif
