/* The target's windows: stripes of the incoming guest's memory that the source may write into by RDMA,
 * in pre-copy, registered when it asks for them (source_rdma.h) and no longer than until FINISH.
 *
 * Threads: the run thread takes what is wanted and given back; registrars, which block, register and
 * answer; the receivers ask what is registered. What is not in t->received is zero: a page that the
 * source wrote and never vouched for becomes zero again when its window is gone, and while it is there
 * no hole is punched into it, because the device would go on writing into the page that was.
 * See target_int.h, docs/rdma.md. */
#ifndef MIGRATE_TARGET_RDMA_H
#define MIGRATE_TARGET_RDMA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "proto/control.h"

struct mig_target;
struct target_windows; /* t->windows */

#define TARGET_WINDOW_BYTES (1ull << 30) /* unless configured */

/* What may be registered at once: configured, and within what this process may lock. 0: everything, it
 * costs nothing (on-demand paging). t->nic is set. */
uint64_t target_rdma_budget(const struct mig_target *t);

/* Connections are there; nothing happens unless they are lanes. 0, or trouble. Run thread. */
int target_rdma_open(struct mig_target *t);
/* Nothing is registered any more when this returns, and all that was never vouched for is zero. No
 * receiver of pre-copy runs. Idempotent. Run thread. */
void target_rdma_close(struct mig_target *t);
void target_rdma_free(struct mig_target *t);
/* WINDOWS_WANTED. 0, or trouble. Run thread. */
int target_rdma_on_wanted(struct mig_target *t, const struct control_windows *m);
/* All of a round is in: what was given back during it and never filled is given back to the kernel, too.
 * Run thread, while no receiver has anything to do. */
void target_rdma_round_done(struct mig_target *t);

/* Receivers, of stripes of theirs. May a frame say that its pages were placed? */
bool target_rdma_may_place(const struct mig_target *t, uint64_t stripe);
/* No hole may be punched; with t->write_mu held it stays so until that is released. */
bool target_rdma_pinned(const struct mig_target *t, uint64_t stripe);
/* It may have pages (zeros) that were never received. */
bool target_rdma_filled(const struct mig_target *t, uint64_t stripe);

void target_rdma_stats(struct mig_target *t, struct mig_stats *st);

#endif
