/* Moves one guest from here to there: the two ends of a live migration. Blocking calls that run
 * their own threads; drover-handler runs each in a thread of its own. Nothing here knows about
 * objects, names or the controller; durable decisions go through hooks, because only the handler
 * has a journal.
 *
 * Switchover is a two-phase commit (never two running copies, never a lost one; docs/protocol.md
 * has the whole table):
 *   source: pause, last round, state  -> FINISH
 *   target: all received, state loaded, hooks.prepared() made durable -> PREPARED
 *   source: hooks.commit() made durable; from now on the source never resumes by itself -> COMMIT
 *   target: hooks.committed() made durable; resume -> RUNNING
 *   source: outcome MOVED; the handler ends its copy and reports.
 * Before hooks.commit() returned 0 any trouble ends as FAILED with the guest running at the source.
 * After it, trouble ends as UNKNOWN with the guest paused; mig_source_resolve is then called until
 * it is known. */
#ifndef MIGRATE_ENGINE_H
#define MIGRATE_ENGINE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "migrate/guest.h"
#include "migrate/tls.h"

struct share;

#define MIG_UID_SIZE      64
#define MIG_ESTIMATE_SIZE 256
#define MIG_ADDR_SIZE     72 /* "[v6%scope]:port" */

struct mig_ident { /* must be equal on both sides, or the connection is refused */
    char vmi_uid[MIG_UID_SIZE];
    char migration_uid[MIG_UID_SIZE];
    uint64_t generation; /* the one that the target will run at */
};

struct mig_limits { /* all 0 = none */
    uint64_t bandwidth_bytes_per_s;
    uint64_t completion_timeout_us; /* whole migration, from the first byte to the switchover */
    uint64_t progress_timeout_us;   /* remaining bytes have not reached a new minimum for so long */
    uint64_t max_downtime_us;       /* budget for the switchover; 0 = 300 ms */
    uint64_t delta_cache_bytes; /* memory for versions that were sent, at the source; 0 = as much
                                       as the guest has, at most 256 MiB */
};

/* How the bytes of a page travel. */
enum mig_encoding {
    MIG_ENC_AUTO, /* chosen batch by batch, by what it costs and saves (migrate/codec.h) */
    MIG_ENC_RAW,
    MIG_ENC_ZERO,
    MIG_ENC_DELTA, /* against the version that was sent last */
    MIG_ENC_LZ4,
    MIG_ENC_ZSTD,
    MIG_ENC_COUNT
};

/* What carries the data channels. The control connection is TCP always. */
enum mig_transport {
    MIG_TRANSPORT_AUTO, /* RDMA where both ends have it, the network is trusted, and the policy asks
                           for no encoding that works on the processor anyway; else TCP */
    MIG_TRANSPORT_RDMA, /* RDMA where it can be had; else TCP */
    MIG_TRANSPORT_TCP
};
const char *mig_transport_name(enum mig_transport t); /* "auto", "rdma", "tcp" */

/* What the policy lets the migration do. All zero: plain pre-copy, encodings automatic. */
struct mig_policy {
    bool allow_auto_converge;   /* writers, then the whole guest, may be slowed down */
    bool allow_post_copy;       /* the target may run before all memory is there */
    bool allow_disruption;      /* the guest may be paused for longer than max_downtime_us */
    bool post_copy_at_once;     /* pure post-copy: no pre-copy round; needs allow_post_copy */
    bool verify_full;           /* both ends digest all memory at the switchover and compare */
    enum mig_encoding encoding; /* AUTO, or what is fixed (never ZERO) */
    uint32_t weight;            /* of this migration in shares of a link; 0 = 1 */
    enum mig_transport transport;
};

/* Over which of its two addresses an end's connections go now; NONE: there are none, because none was
 * made yet or because they were lost and are tried again. */
enum mig_link { MIG_LINK_NONE, MIG_LINK_MAIN, MIG_LINK_FALLBACK };

enum mig_mode { MIG_MODE_PRECOPY, MIG_MODE_POSTCOPY, MIG_MODE_PAUSED };

/* One entry of the decision log: what was decided and why, with its numbers, as a sentence. */
#define MIG_DECISION_TEXT 320
struct mig_decision {
    uint64_t at_us; /* since stats.started_us (0 before) */
    uint32_t round;
    char text[MIG_DECISION_TEXT];
};

/* What the guest stood still for, by phase, in microseconds of this side's clock. 0 = not measured
 * here (the source knows stop, scan, pages, state; the target load, commit, resume). */
struct mig_downtime {
    uint64_t stop_us, scan_us, pages_us, state_us; /* source */
    uint64_t load_us, commit_us, resume_us;        /* target; commit: each end its own record */
};

#define MIG_FAULT_BUCKETS 24 /* [i]: faults answered in less than 2^i microseconds, not 2^(i-1) */

struct mig_stats {  /* one consistent copy by mig_source_stats / mig_target_stats, at any time */
    uint32_t round; /* 1 = first pass; 0 = not started */
    uint64_t total_bytes;     /* guest memory size */
    uint64_t remaining_bytes; /* of this round and what is known dirty */
    uint64_t sent_bytes;      /* on the wire, all channels, headers included */
    uint64_t raw_pages;       /* sent with their content, in whatever encoding */
    uint64_t zero_pages, absent_pages;
    uint64_t again_pages; /* asked for again: written while being sent, or damaged on the way */
    uint64_t transfer_bytes_per_s, dirty_bytes_per_s; /* smoothed, of the last round */
    uint64_t limit_bytes_per_s; /* in force: own limit or share, the smaller; 0 = none */
    uint64_t started_us, paused_us, finished_us; /* monotonic; 0 = not yet */
    uint64_t downtime_us;                        /* source: pause to RUNNING heard; target: 0 */
    uint64_t predicted_downtime_us;
    uint64_t cpu_us; /* user + system of the engine's threads on this side */
    uint32_t channels;
    bool encrypted; /* TLS on every channel, all the time: never again once RDMA was used */
    char suite[TLS_SUITE_SIZE]; /* of the control connection, and of channels over TCP: "TLS 1.3,
                                   TLS_AES_128_GCM_SHA256"; "" = they are not encrypted */
    enum mig_mode mode;
    uint32_t reconnects; /* connections that were lost and made again */
    enum mig_link link;
    enum mig_transport transport; /* in use: RDMA or TCP; AUTO = no connection yet */
    char transport_why
        [MIG_ESTIMATE_SIZE]; /* source: why TCP, where RDMA was wanted or could have been;
                                              "" = nothing to say */
    char rdma_device[64];    /* "" = none in use */
    uint64_t placed_pages;   /* written straight into the target's memory by RDMA */
    uint64_t registered_bytes, registered_peak_bytes; /* guest memory that is registered, pinned */
    uint64_t read_faults;                             /* of `faults`: answered by an RDMA READ */
    uint32_t path_mtu_bytes;  /* the largest packet that the path takes whole; 0 = not known */
    uint32_t segment_bytes;   /* of it for us: what one TCP segment carries */
    uint64_t shaping_wait_us; /* source: how long workers have waited for bandwidth, all together */
    uint64_t enc_pages[MIG_ENC_COUNT],
        enc_bytes[MIG_ENC_COUNT]; /* payload on the wire, by encoding */
    struct mig_downtime downtime;
    uint64_t predicted_total_p50_us, predicted_total_p90_us;
    uint64_t predicted_downtime_p90_us;    /* predicted_downtime_us is the P50 */
    uint32_t throttle_percent;             /* of the guest's writers now */
    uint64_t throttle_us;                  /* time with any */
    uint64_t write_faults, write_fault_us; /* caused by tracking; the time is an estimate */
    uint64_t postcopy_us;                  /* from resume at the target until the last page */
    uint64_t faults, fault_us[MIG_FAULT_BUCKETS]; /* post-copy, target */
    uint64_t missing_bytes;                       /* post-copy: not there yet */
};

enum mig_outcome {
    MIG_MOVED,   /* target runs; source copy is paused and may be ended */
    MIG_FAILED,  /* nothing moved; the guest runs at the source as before (err says why) */
    MIG_UNKNOWN, /* committed, but not known whether the target runs; source copy is paused */
};

/* Why it FAILED, for the status: distinct causes that users tell apart. */
enum mig_cause {
    MIG_CAUSE_NONE,
    MIG_CAUSE_CANCELLED,
    MIG_CAUSE_COMPLETION_TIMEOUT,
    MIG_CAUSE_PROGRESS_TIMEOUT,
    MIG_CAUSE_CONNECT,
    MIG_CAUSE_PEER,
    MIG_CAUSE_PROTOCOL,
    MIG_CAUSE_GUEST,
    MIG_CAUSE_LOCAL
};
const char *mig_cause_text(enum mig_cause c); /* one sentence for the status' failureReason */

/* Whether this kernel can track a guest's memory from outside (needed at the source): tried once a
 * process. 0, or -ENOTSUP with a text that names what is missing. Say it at start, rather than at
 * the first migration. */
int mig_probe(struct err *err);

/* Whether this kernel can run a target in post-copy (needed there): tried once a process. 0, or
 * -ENOTSUP. A target that cannot says so in the handshake, and pre-copy is what is left. */
int mig_probe_post_copy(struct err *err);

/* --- source --- */
struct mig_source;

struct mig_source_config {
    struct mig_ident ident;
    struct guest guest;
    char target_addr[MIG_ADDR_SIZE]; /* ip:port */
    char local_ip[INET6_ADDRSTRLEN]; /* dial only from here; "" = any (no dedicated network) */
    char bind_device[16];            /* SO_BINDTODEVICE, or "" */
    unsigned channels;               /* 0 = automatic, at least 2 */
    struct mig_limits limits;
    struct mig_policy policy;
    struct tls_ctx *tls;          /* NULL: plaintext. Borrowed (migrate/tls.h) */
    char tls_peer[TLS_NODE_SIZE]; /* node name that the target's certificate must bear */
    struct share *share;  /* the node's budget that this migration draws from, or NULL. Borrowed */
    bool network_trusted; /* declared so: what RDMA sends is neither encrypted nor authenticated */
    bool rdma_off;        /* none at this host, whatever the policy says */
    uint64_t rdma_window_bytes;        /* guest memory that is registered at once; 0 = 1 GiB */
    char fallback_addr[MIG_ADDR_SIZE]; /* tried, from any local address and through any device, when
                                          target_addr cannot be reached any more; "" */
    /* What somebody measured of the link, and what that was, for the log: counts until this process
     * has learnt better from a migration of its own. 0, "" = nothing. */
    uint64_t link_estimate_bytes_per_s;
    char link_estimate_from[MIG_ESTIMATE_SIZE];
    uint64_t reconnect_us; /* a cut connection is tried again for so long; 0 = 30 s */
    uint64_t dead_peer_us; /* a target that is silent for so long is dead; 0 = 2 s */
    uint32_t
        urgent_priority; /* SO_PRIORITY of the urgent channel (post-copy's answers); 0 = none */
    uint8_t urgent_dscp; /* likewise its DSCP, 0 to 63 (RFC 2474); 0 = none */
    /* An earlier handler committed a post-copy: ask the target, and serve what it lacks from the
     * paused guest's memory. */
    bool recovering;
    /* Called on the engine's thread. commit: make "committed" durable; 0 or -errno (then it is
     * FAILED). */
    int (*commit)(void *ctx, struct err *err);
    /* After each round and at least every 500 ms; may be NULL. */
    void (*progress)(void *ctx, const struct mig_stats *st);
    /* Every decision, on the engine's thread; may be NULL. */
    void (*decided)(void *ctx, const struct mig_decision *d);
    void *ctx;
};

/* How many data channels a migration has whose configuration says `want`: that many, at most
 * CONTROL_MAX_CHANNELS; 0 = one a core, 2 to 4. Any thread. */
uint32_t mig_channels(unsigned want);
struct mig_source *mig_source_new(const struct mig_source_config *cfg); /* copies cfg */
/* Blocks until the outcome is known. err is set when it is not MOVED. */
enum mig_outcome mig_source_run(struct mig_source *s, enum mig_cause *ret_cause, struct err *err);
/* From any thread. True when the migration will not commit; false when it is too late. */
bool mig_source_cancel(struct mig_source *s);
/* From any thread, in post-copy: ends run() with UNKNOWN soon (or as it would have ended). The target
 * waits, and a source with `recovering` goes on. */
void mig_source_stop(struct mig_source *s);
/* From any thread: the target listens there now (its handler was restarted, or its network is another
 * one). NULL: as before. */
void mig_source_redirect(struct mig_source *s, const char *addr, const char *fallback_addr);
/* From any thread: this node's network has changed. Connections that there are go on; those that are
 * made from now on come from local_ip and device, over a network that is declared trusted or not
 * (local_ip NULL: all three as before). why: what became of the network, in words, which the failure says when the target cannot be reached any more; "" = nothing
 * to say any more. */
void mig_source_rebind(struct mig_source *s, const char *local_ip, const char *device, bool trusted,
                       const char *why);
/* Any thread, while it runs; 0 = no limit of its own. Takes effect within 100 ms. */
void mig_source_set_bandwidth(struct mig_source *s, uint64_t bytes_per_s);
void mig_source_stats(struct mig_source *s, struct mig_stats *ret);
void mig_source_free(struct mig_source *s);

/* Asks the target what became of a committed migration, offering COMMIT again (cfg.guest is not
 * used). MOVED: it runs there. FAILED: it does not and, by its durable word, never will: resume
 * here. UNKNOWN: no answer (err). */
enum mig_outcome mig_source_resolve(const struct mig_source_config *cfg, struct err *err);

/* --- target --- */
struct mig_target;

struct mig_target_config {
    struct mig_ident ident;
    struct guest guest;               /* an incoming guest: paused, memory never touched */
    char listen_ip[INET6_ADDRSTRLEN]; /* listens only here */
    char bind_device[16];
    char fallback_listen_ip[INET6_ADDRSTRLEN]; /* listens there, too; "" = no */
    struct tls_ctx *tls;                       /* NULL: plaintext. Borrowed */
    char tls_peer[TLS_NODE_SIZE]; /* node name that the source's certificate must bear */
    bool network_trusted;         /* as in mig_source_config: both ends must have been told */
    bool rdma_off;
    uint64_t rdma_window_bytes;
    char
        state_path[256]; /* post-copy: what has arrived is kept in this file, so that a handler that
                             is restarted goes on; "" = kept in memory */
    uint64_t idle_timeout_us; /* nothing came for so long: failed (not once PREPARED); 0 = 30 s */
    uint64_t dead_peer_us;    /* a source that is silent for so long is dead; 0 = 2 s */
    uint32_t urgent_priority; /* as in mig_source_config: post-copy's requests */
    uint8_t urgent_dscp;
    uint64_t reconnect_us; /* a source that was cut off is waited for so long; 0 = 30 s. In
                                 post-copy for ever */
    bool recovering; /* the guest was PREPARED (or COMMITTED) by an earlier handler: only answer
                                      the source's question */
    bool recovering_committed;
    int (*prepared)(void *ctx, struct err *err);  /* make durable; blocking */
    int (*committed)(void *ctx, struct err *err); /* make durable; the guest is resumed after it */
    /* Makes durable that this generation will never run here; called before the answer NEVER.
     * While recovering with guest.ops NULL the guest is gone, and NEVER is the answer. */
    int (*never)(void *ctx, struct err *err);
    /* A connection was turned away because of its certificate, or because one side encrypts and the
     * other does not; why. At most once a second, on the engine's thread; may be NULL. */
    void (*refused)(void *ctx, const char *why);
    /* Something that is worth a line of the log and no failure. On the engine's thread; may be
     * NULL. */
    void (*noted)(void *ctx, const char *text);
    /* Post-copy, on the engine's thread: the guest runs, and memory is still missing. May be NULL. */
    void (*running)(void *ctx);
    void *ctx;
};

enum mig_target_outcome {
    /* committed and resumed, and all memory is there (or, see mig_target_source_lost, poisoned); the
     * source was told unless it is gone */
    MIG_TARGET_RUNNING,
    /* before PREPARED, or the guest was lost before it ran and hooks.never() is durable: what is
     * left of it is to be thrown away */
    MIG_TARGET_FAILED,
    MIG_TARGET_ABORTED, /* PREPARED, and then the source said ABORT */
    /* PREPARED or, in post-copy, RUNNING without all of its memory, and the connection is gone or an
     * end was asked for: keep the guest, run again with `recovering` or `recovering_committed` */
    MIG_TARGET_IN_DOUBT,
};

/* Opens the listening socket at once, so that the address can be announced. */
int mig_target_new(const struct mig_target_config *cfg, struct mig_target **ret, struct err *err);
/* "ip:port"; borrowed, until mig_target_relisten. */
const char *mig_target_address(const struct mig_target *t);
const char *mig_target_fallback_address(const struct mig_target *t); /* likewise; "" = none */
enum mig_target_outcome mig_target_run(struct mig_target *t, struct err *err);
/* This node's network has changed: listens on this address and device instead, where the network is
 * declared trusted or not (fallback_ip: "" = on no other). Connections that there are go on; a source that was cut off is waited for here. On an error
 * all is as before. Any thread, but one at a time, which is also the one that asks for addresses. */
int mig_target_relisten(struct mig_target *t, const char *ip, const char *device, bool trusted,
                        const char *fallback_ip, struct err *err);
/* From any thread: ends run() with FAILED / IN_DOUBT soon. */
void mig_target_stop(struct mig_target *t);
/* From any thread, in post-copy: the source's memory is gone for good. What is missing is poisoned
 * (the guest gets a memory error where it touches it), run() ends with RUNNING, and
 * mig_target_damage says which ranges. */
void mig_target_source_lost(struct mig_target *t);
struct mig_range {
    uint32_t region;
    uint64_t offset, bytes;
};
/* Up to max ranges of poisoned memory; returns how many there are in all. */
size_t mig_target_damage(struct mig_target *t, struct mig_range *ret, size_t max);
void mig_target_stats(struct mig_target *t, struct mig_stats *ret);
void mig_target_free(struct mig_target *t);

#endif
