/* Relay migrations: what the two handlers say to each other beside libvirt's own protocol, and when.
 * Files: libvirt_source*.c, libvirt_target*.c, libvirt_gate.c (in libvirt's connection), libvirt_watch.c (job
 * statistics -> struct mig_stats, and the decisions; pure), proto/relay_msg.c (messages, validated).
 *
 *   1 source: CHECK {domain's <cpu>, memory, disks, flags}   target: CompareHypervisorCPU, disks made,
 *     -> READY {guest directory, host name} | REFUSED {reason}
 *   2 source: virDomainMigrateToURI3(P2P | LIVE | PERSIST_DEST | UNDEFINE_SOURCE | PAUSED ...) with
 *     dconnuri qemu+unix:///system?socket=RPC and URI unix://DATA, DEST_XML relocated. PAUSED: the domain
 *     at the target does not run before both handlers have made the outcome durable (rule 1).
 *   3 the target's libvirt answers Finish: the domain there is whole and paused. The gate (libvirt_gate.h) holds
 *     that answer: source FINISH -> target hooks.prepared() -> PREPARED -> source hooks.commit(); then libvirtd
 *     gets it, and ends the guest here, while COMMIT -> target hooks.committed(), virDomainResume -> RUNNING.
 *   4 libvirt fails: the domain runs at the source as before (looked at, and resumed if it is paused by us);
 *     ABORT -> target removes what is there.
 * With post-copy allowed libvirt takes no PAUSED: the gate sets it in Finish where it ends as pre-copy; before a
 * switch to post-copy both handlers have recorded it, and COMMIT goes with Finish. A post-copy that broke (both
 * paused: post-copy failed) is resumed by VIR_MIGRATE_POSTCOPY_RESUME over a new relay until it is whole. Why,
 * and what that leaves open: docs/decisions/0008-relay-commit.md.
 */
#ifndef HANDLER_LIBVIRT_MOVER_H
#define HANDLER_LIBVIRT_MOVER_H

#include "handler/mover.h"

/* The directory of the sockets, the same on every host: made. 0 or -errno. Any thread. */
int lv_make_dir(struct err *err);

#endif
