/* The priority of a VMI that waits for a node. Part of a pass (control/loop_core.h). */
#ifndef CONTROL_LOOP_PRIORITY_H
#define CONTROL_LOOP_PRIORITY_H

#include "control/loop_core.h"

int64_t loop_priority_of(struct loops *l, const struct vmi *v);
/* False: its class does not exist, and so it is not placed. Condition Synchronized and an event say so, as
 * KubeVirt does when Kubernetes refuses the VM's Pod; they are taken back when the class is there. */
bool loop_priority_known(struct loops *l, const struct vmi *v);

#endif
