/* Carries the streams of a migration that somebody else runs (libvirt and QEMU) between two hosts: unix
 * sockets here, connections of our own there, on the migration network alone, encrypted and
 * authenticated as the engine's are (conn.h, xport.h), under the migration's bandwidth limit. Knows
 * nothing of what it carries.
 *
 *   source                                        target
 *   libvirtd --connect--> RPC socket  ==TLS==>    connect --> libvirtd's own socket
 *   QEMU     --connect--> data socket ==TLS==>    connect --> QEMU's incoming socket (1 or N, in order)
 *   handler  <--------- control messages ------>  handler
 *
 * The target's sockets are connected in the order in which the source's were accepted, so that the
 * first is QEMU's main channel. Each stream is one connection and, here, two directions copied by one
 * thread: plaintext by splice(2), TLS through one buffer of RELAY_BUFFER. What waits inside of the relay
 * is bounded (pipes, socket buffers: RELAY_IN_FLIGHT a stream; a fraction of it under a limit), so that
 * QEMU's estimate of bandwidth is that of the network. A stream's end in one direction is passed on as
 * such; a broken one breaks its unix socket, and only its own.
 *
 * The bandwidth limit counts all data streams together (not RPC, not control), against a share_member:
 * within 3 % over any second, TLS or not, however many streams there are. */
#ifndef MIGRATE_RELAY_H
#define MIGRATE_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "migrate/engine.h"
#include "proto/relay_frame.h" /* enum relay_kind, RELAY_MAX_MESSAGE */

#define RELAY_BUFFER      (256u << 10)
#define RELAY_IN_FLIGHT   (2u << 20) /* bytes a stream, both ends and both processes' sockets, near */
#define RELAY_MAX_STREAMS 64         /* of one migration, both kinds */
#define RELAY_PATH_SIZE   108        /* sun_path */

struct relay_stats {                     /* since it was made */
    uint64_t sent_bytes, received_bytes; /* payload of data streams: source to target, and back */
    uint64_t rpc_bytes;                  /* both directions */
    uint64_t wire_bytes;                 /* all that was sent here, overhead of TLS not included */
    uint64_t rate_bytes_per_s;           /* of data sent, over the last second */
    uint64_t limit_bytes_per_s;          /* in force, 0 = none */
    uint64_t shaping_wait_us;
    uint64_t cpu_us;  /* of the relay's threads here */
    uint32_t streams; /* data streams that are open now */
    uint32_t opened;  /* in all */
    uint32_t path_mtu_bytes;
    bool encrypted;
    char suite[TLS_SUITE_SIZE];
};

/* --- source --- */
struct relay_source;
struct relay_source_config {
    struct mig_ident ident;
    char target_addr[MIG_ADDR_SIZE], fallback_addr[MIG_ADDR_SIZE]; /* as in mig_source_config */
    char local_ip[INET6_ADDRSTRLEN], bind_device[16];
    struct tls_ctx *tls; /* NULL: plaintext */
    char tls_peer[TLS_NODE_SIZE];
    char rpc_path[RELAY_PATH_SIZE], data_path[RELAY_PATH_SIZE]; /* sockets that it makes (0600), and
                                                                   removes; parents must be there */
    struct share *share;                                        /* or NULL */
    uint32_t weight;
    uint64_t bandwidth_bytes_per_s;
    uint64_t dead_peer_us; /* a peer that acknowledges nothing for so long: the connections break */
    uint32_t urgent_priority;
    uint8_t urgent_dscp; /* marks data streams after the first `bulk_streams` (post-copy preempt) */
    uint32_t bulk_streams; /* 0 = nothing is marked */
    /* On threads of the relay, which neither may free it. message: a control message came; one at a
     * time, and it may take its time: heartbeats go on. broken: a stream, or the control connection
     * (RELAY_CONTROL, once: the peer is gone, all streams break with it), broke; err says which and
     * why. Both may be called before relay_..._new has returned; none after relay_..._free has.
     * Streams that are cut do not call it. */
    void (*message)(void *ctx, const void *msg, size_t len);
    void (*broken)(void *ctx, enum relay_kind kind, const struct err *err);
    void *ctx;
};
/* Dials the control connection (blocks up to 5 s) and opens the two sockets. */
int relay_source_new(const struct relay_source_config *cfg, struct relay_source **ret,
                     enum mig_cause *ret_cause, struct err *err);
/* A control message to the target's handler: whole and in order, or an error. Any thread. */
int relay_source_send(struct relay_source *r, const void *msg, size_t len, struct err *err);
/* Ends the data and RPC streams (not control), and takes the two sockets away: what runs over them
 * fails at once, and nothing new begins. Any thread. */
void relay_source_cut(struct relay_source *r);
void relay_source_set_bandwidth(struct relay_source *r, uint64_t bytes_per_s);
void relay_source_stats(struct relay_source *r, struct relay_stats *ret);
void relay_source_free(struct relay_source *r); /* ends everything and joins its threads */

/* --- target --- */
struct relay_target;
struct relay_target_config {
    struct mig_ident ident; /* a connection of another is turned away */
    char listen_ip[INET6_ADDRSTRLEN], bind_device[16], fallback_listen_ip[INET6_ADDRSTRLEN];
    struct tls_ctx *tls;
    char tls_peer[TLS_NODE_SIZE];
    char rpc_path[RELAY_PATH_SIZE];  /* libvirtd's socket: connected for each RPC stream */
    char data_path[RELAY_PATH_SIZE]; /* QEMU's: connected for each data stream; waited for up to
                                        RELAY_CONNECT_US while it is not there */
    uint64_t dead_peer_us;
    uint32_t urgent_priority;
    uint8_t urgent_dscp;
    void (*message)(void *ctx, const void *msg, size_t len);
    void (*broken)(void *ctx, enum relay_kind kind, const struct err *err);
    void (*refused)(void *ctx, const char *why); /* as in mig_target_config */
    void *ctx;
};
#define RELAY_CONNECT_US 10000000u
/* Listens and accepts from now on. A control connection that comes later (the source's handler was
 * restarted, or goes on over a new relay) takes the place of the one before: its streams are cut. */
int relay_target_new(const struct relay_target_config *cfg, struct relay_target **ret,
                     struct err *err);
const char *relay_target_address(const struct relay_target *t);
const char *relay_target_fallback_address(const struct relay_target *t);
int relay_target_relisten(struct relay_target *t, const char *ip, const char *device,
                          const char *fallback_ip, struct err *err);
/* To the source's handler over the control connection that came last; -ENOTCONN: there is none. */
int relay_target_send(struct relay_target *t, const void *msg, size_t len, struct err *err);
/* RPC and data streams: there are none until the next control connection. */
void relay_target_cut(struct relay_target *t);
void relay_target_stats(struct relay_target *t, struct relay_stats *ret);
void relay_target_free(struct relay_target *t);

#endif
