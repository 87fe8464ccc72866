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

#define MIG_UID_SIZE  64
#define MIG_ADDR_SIZE 72 /* "[v6%scope]:port" */

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
};

struct mig_stats {  /* one consistent copy by mig_source_stats / mig_target_stats, at any time */
    uint32_t round; /* 1 = first pass; 0 = not started */
    uint64_t total_bytes;     /* guest memory size */
    uint64_t remaining_bytes; /* of this round and what is known dirty */
    uint64_t sent_bytes;      /* on the wire, all channels, headers included */
    uint64_t raw_pages, zero_pages, absent_pages;
    uint64_t again_pages; /* asked for again: written while being sent, or damaged on the way */
    uint64_t transfer_bytes_per_s, dirty_bytes_per_s; /* smoothed, of the last round */
    uint64_t started_us, paused_us, finished_us;      /* monotonic; 0 = not yet */
    uint64_t downtime_us; /* source: pause to RUNNING heard; target: 0 */
    uint64_t predicted_downtime_us;
    uint64_t cpu_us; /* user + system of the engine's threads on this side */
    uint32_t channels;
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
    uint64_t dead_peer_us; /* a target that is silent for so long is dead; 0 = 2 s */
    /* Called on the engine's thread. commit: make "committed" durable; 0 or -errno (then it is
     * FAILED). */
    int (*commit)(void *ctx, struct err *err);
    /* After each round and at least every 500 ms; may be NULL. */
    void (*progress)(void *ctx, const struct mig_stats *st);
    void *ctx;
};

struct mig_source *mig_source_new(const struct mig_source_config *cfg); /* copies cfg */
/* Blocks until the outcome is known. err is set when it is not MOVED. */
enum mig_outcome mig_source_run(struct mig_source *s, enum mig_cause *ret_cause, struct err *err);
/* From any thread. True when the migration will not commit; false when it is too late. */
bool mig_source_cancel(struct mig_source *s);
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
    uint64_t idle_timeout_us; /* nothing came for so long: failed (not once PREPARED); 0 = 30 s */
    uint64_t dead_peer_us;    /* a source that is silent for so long is dead; 0 = 2 s */
    bool recovering; /* the guest was PREPARED (or COMMITTED) by an earlier handler: only answer
                                      the source's question */
    bool recovering_committed;
    int (*prepared)(void *ctx, struct err *err);  /* make durable; blocking */
    int (*committed)(void *ctx, struct err *err); /* make durable; the guest is resumed after it */
    /* Makes durable that this generation will never run here; called before the answer NEVER.
     * While recovering with guest.ops NULL the guest is gone, and NEVER is the answer. */
    int (*never)(void *ctx, struct err *err);
    void *ctx;
};

enum mig_target_outcome {
    MIG_TARGET_RUNNING, /* committed and resumed; the source was told unless it is gone */
    /* before PREPARED, or the guest was lost before it ran and hooks.never() is durable: what is
     * left of it is to be thrown away */
    MIG_TARGET_FAILED,
    MIG_TARGET_ABORTED, /* PREPARED, and then the source said ABORT */
    /* PREPARED, and the connection is gone: keep the guest, run again with `recovering` */
    MIG_TARGET_IN_DOUBT,
};

/* Opens the listening socket at once, so that the address can be announced. */
int mig_target_new(const struct mig_target_config *cfg, struct mig_target **ret, struct err *err);
const char *mig_target_address(const struct mig_target *t); /* "ip:port"; borrowed */
enum mig_target_outcome mig_target_run(struct mig_target *t, struct err *err);
/* From any thread: ends run() with FAILED / IN_DOUBT soon. */
void mig_target_stop(struct mig_target *t);
void mig_target_stats(struct mig_target *t, struct mig_stats *ret);
void mig_target_free(struct mig_target *t);

#endif
