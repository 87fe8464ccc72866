/* Relay migrations: what the two handlers say to each other beside libvirt's own protocol, and when.
 * Files: libvirt_source.c (virDomainMigrateToURI3 and its watch), libvirt_target.c, libvirt_watch.c (job
 * statistics -> struct mig_stats, and the decisions; pure), proto/relay*.c (messages, validated).
 *
 *   1 source: CHECK {domain's <cpu>, memory, disks, flags}   target: CompareHypervisorCPU, disks made,
 *     -> READY {guest directory, host name} | REFUSED {reason}
 *   2 source: virDomainMigrateToURI3(P2P | LIVE | PERSIST_DEST | UNDEFINE_SOURCE | PAUSED ...) with
 *     dconnuri qemu+unix:///system?socket=RPC and URI unix://DATA, DEST_XML relocated. PAUSED: the domain
 *     at the target does not run before both handlers have made the outcome durable (rule 1).
 *   3 libvirt returns 0 (the source's domain is gone, the target's is whole and paused):
 *     source FINISH -> target hooks.prepared() -> PREPARED -> source hooks.commit() -> COMMIT -> target
 *     hooks.committed(), virDomainResume -> RUNNING. To shorten the stop, libvirt's answer to its own Finish
 *     call may be held in the RPC relay until commit() is durable, and COMMIT be sent as it is let through.
 *   4 libvirt fails: the domain runs at the source as before (looked at, and resumed if it is paused by us);
 *     ABORT -> target removes what is there.
 * With post-copy allowed libvirt takes no PAUSED: the target's domain runs as soon as libvirt says so; what
 * that leaves open is in docs/libvirt.md. A post-copy that broke (both paused: post-copy failed) is resumed
 * by VIR_MIGRATE_POSTCOPY_RESUME over a new relay until it is whole. */
#ifndef HANDLER_LIBVIRT_MOVER_H
#define HANDLER_LIBVIRT_MOVER_H

#include "handler/mover.h"

/* The directory of the sockets, the same on every host: made. 0 or -errno. Any thread. */
int lv_make_dir(struct err *err);

#endif
