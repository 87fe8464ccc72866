/* Changes of a host's networks, whole or not at all: journal first, then step by step, then read
 * back and compared; what fails goes back to how it was before. Synchronous, without a loop, in the
 * calling thread's network namespace; blocks. Which wants there are is handler/net_round.c's. */
#ifndef HANDLER_NET_APPLY_H
#define HANDLER_NET_APPLY_H

#include "handler/net_journal.h"
#include "netpolicy/net_plan.h"

/* What came of a change. */
struct net_applied {
    unsigned steps;              /* that were done */
    const char *reason;          /* NET_REASON_* when it failed */
    char ifname[NL_IFNAME_SIZE]; /* whose step failed; "" = none in particular */
};

/* Makes the host as the wants have it, from how it is; policies (borrowed) is what is then in
 * effect. trial: the way back stays in the journal (phase probing) until net_apply_confirm, if
 * anything was done. On an error all is as it was before, and the journal says so; when even that
 * failed, its phase is NET_BACK, and net_apply_back has to be called again. A journal of phase
 * applying, of a handler that was killed, is gone on from: the way back is that change's. */
int net_apply_change(const char *state_dir, struct net_journal *j, const struct net_wants *wants,
                     const struct ip *mgmt, const struct tree *policies, bool trial,
                     struct net_applied *ret, struct err *err);
int net_apply_confirm(const char *state_dir, struct net_journal *j, struct err *err);
/* Undoes the change that is under way. */
int net_apply_back(const char *state_dir, struct net_journal *j, struct err *err);
/* Everything goes back to how it was before drover, and the journal is removed. *ret_steps: how many
 * steps it took. -EBUSY while a handler runs with that directory. */
int net_apply_leave(const char *state_dir, unsigned *ret_steps, struct err *err);

#endif
