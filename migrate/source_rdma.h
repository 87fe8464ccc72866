/* Pages that go straight into the target's memory by RDMA WRITE: the source's part, in pre-copy.
 *
 * The target lets us write into windows: stripes that it has registered because we asked for them
 * (WINDOWS_WANTED). A worker asks ahead of what it sends, so that nobody waits: a page whose stripe has
 * no window yet, or gets none, travels in the stream. It gives windows back, the oldest first, when it
 * has as many as it may. See target_rdma.h, rdma_lane.h, docs/rdma.md. */
#ifndef MIGRATE_SOURCE_RDMA_H
#define MIGRATE_SOURCE_RDMA_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/control.h"

struct mig_source;
struct source_worker;
struct source_windows; /* of all stripes; s->windows */
struct source_placer;  /* a worker's own; w->placer */

/* The connections are there; nothing is placed unless they are lanes. Run thread. */
void source_rdma_open(struct mig_source *s);
/* They are gone, and no worker runs: all of our memory is unregistered. Run thread. */
void source_rdma_close(struct mig_source *s);
/* WINDOWS has come. 0, or trouble. Run thread. */
int source_rdma_on_windows(struct mig_source *s, const struct control_windows *m);
/* Whether a worker waits for a window, or has since this was asked last: what was sent meanwhile says
 * nothing of the link. Run thread. */
bool source_rdma_waited(struct mig_source *s);

/* Workers, each for itself. */
void source_rdma_begin(struct source_worker *w); /* a send phase */
/* It comes to this stripe of its own next: asks for windows of those behind it. 0 or -errno with
 * w->err. */
int source_rdma_ahead(struct source_worker *w, uint64_t stripe);
/* The batch's payload lies at `payload`, run after run, `encoded` in a buffer of its own. Raw runs that
 * have a window are written there (the device reads on when this returns) and become FRAME_PLACED; the
 * rest is left in b->iov, from [1] on, and b->iov_len and b->bytes say how much. 0 or -errno. */
int source_rdma_place(struct source_worker *w, uint8_t *payload);
/* The batch's frame was sent: the next one gets buffers that the device does not read. 0 or -errno. */
int source_rdma_next(struct source_worker *w, bool encoded);

#endif
