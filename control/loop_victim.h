/* Victims of a preemption (control/loop_preempt.h): VMs that have to leave a node for another. One that is
 * live-migratable, and fits elsewhere, is migrated; others are shut down. Part of a pass. */
#ifndef CONTROL_LOOP_VICTIM_H
#define CONTROL_LOOP_VICTIM_H

#include "control/loop_core.h"

struct preempt_result;

struct loop_victim {
    char *ns, *name, *uid;
    int64_t asked_us; /* since when it is asked to go; 0: it was not yet */
    bool shut_down;   /* its migration came to nothing */
};

/* The JSON of ANN_VICTIMS: [{"namespace", "name", "uid"}]. The caller's. */
struct tree *loop_victim_list(struct loops *l, const struct preempt_result *r);
/* The reverse; the caller's, each to be ended with loop_victim_done. */
struct loop_victim *loop_victim_read(const struct tree *list, size_t *ret_len);
void loop_victim_done(struct loop_victim *x);

/* It, as long as it has room on the node; NULL: it has left. */
const struct vmi *loop_victim_there(struct loops *l, const struct loop_victim *x, const char *node);
/* Once a pass, until it has left: `by` needs its room. */
void loop_victim_send_away(struct loops *l, struct loop_victim *x, const char *node,
                           const struct vmi *by);
/* It need not go any more: a migration that has not begun is taken back. */
void loop_victim_spare(struct loops *l, const struct loop_victim *x);

#endif
