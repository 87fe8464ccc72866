/* The source's inside, shared by source*.c only.
 *
 * Threads: the caller of mig_source_run (the run thread) owns the control connection, the rounds
 * and the switchover; one worker a channel owns its data socket and its stripes. The run thread
 * starts a phase (count or send) in all workers at once and waits for all of them, while it serves
 * the control connection and watches the clocks; between phases no worker touches the bitmaps. */
#ifndef MIGRATE_SOURCE_INT_H
#define MIGRATE_SOURCE_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "migrate/share.h"
#include "migrate/conn.h"
#include "migrate/converge.h"
#include "migrate/ctl.h"
#include "migrate/engine.h"
#include "migrate/plan.h"
#include "migrate/present.h"
#include "migrate/source_encode.h"
#include "migrate/source_rdma.h"
#include "migrate/switch.h"
#include "migrate/track.h"
#include "proto/frame.h"
#include "proto/layout.h"

#define SOURCE_DIAL_US 5000000 /* for connecting to the target */
#define SOURCE_DATA_USER_US \
    10000000 /* TCP_USER_TIMEOUT of data channels: a full target is slow, not dead */
#define SOURCE_TICK_US      50000    /* clocks are looked at so often */
#define SOURCE_PROGRESS_US  500000   /* progress() at least so often */
#define SOURCE_ANSWER_US    30000000 /* for ROUND_DONE once everything was handed to the sockets */
#define SOURCE_REASON_US    300000   /* a broken channel waits so long for the peer's own words */
#define SOURCE_RECONNECT_US 30000000 /* a cut connection is tried again for so long */
#define SOURCE_REDIAL_US    100000   /* between two tries */
#define SOURCE_REPAIRS      3        /* extra rounds, paused, for batches with a bad checksum */
#define SOURCE_LANES_US     4000000  /* for all queue pairs of a connection to be set up */
#define SOURCE_CHANNELS_MAX 4        /* when chosen automatically */
/* The head, and pieces of the payload with a page between each two that was placed. */
#define SOURCE_BATCH_IOV (FRAME_MAX_RAW_PAGES / 2 + 2)
/* Runs of a batch before it is encoded: encoding may make a run of each page. */
#define SOURCE_BATCH_RUNS (FRAME_MAX_RUNS - FRAME_MAX_RAW_PAGES)

enum source_phase {
    SOURCE_COUNT,
    SOURCE_SEND,
    SOURCE_ARM,
    SOURCE_PROBE,
    SOURCE_DIGEST,
    SOURCE_PUSH
};

struct source_batch {
    struct frame_run runs[FRAME_MAX_RUNS];
    uint32_t runs_len, raw_pages, zero_pages, max_raw_pages;
    uint64_t resent[FRAME_MAX_RAW_PAGES / 64]; /* of the raw pages: those that were sent before */
    uint64_t bytes;                            /* of the payload, without what was placed */
    uint64_t sums[FRAME_MAX_RAW_PAGES];
    uint8_t *pages; /* the raw pages, one behind the other, as they were read */
    uint8_t head[FRAME_MAX_HEAD];
    struct iovec iov[SOURCE_BATCH_IOV];
    int iov_len;
};

struct lane;
struct nic;

struct source_worker {
    /* constant after start */
    struct mig_source *s;
    uint32_t index;
    struct conn *conn; /* NULL = not connected */
    pthread_t thread;
    bool started;
    /* owned by the worker's thread during a phase, by nobody between */
    struct track_buf *scan;
    struct present present[GUEST_MAX_REGIONS];
    uint64_t empty_until[GUEST_MAX_REGIONS]; /* no data before this offset when round 1 looked */
    struct source_batch batch;
    struct source_encode *encode;          /* or NULL: raw */
    struct source_placer *placer;          /* or NULL: nothing is placed */
    uint64_t seq, probed_pages, probed_us; /* us: summed over the pages */
    uint64_t next_stripe;                  /* of the first round: what it has not come to */
    uint64_t seen_phase;                   /* begun before the thread was */
    struct control_totals base;            /* sent over earlier connections */
    uint64_t paced;                        /* the rate that the kernel was told to pace for */
    struct err err;                        /* why its phase failed */
    enum mig_cause cause;
    /* read by others at any time */
    _Atomic uint64_t sent_bytes, batches, raw_pages, zero_pages, absent_pages, placed_pages;
    _Atomic uint64_t enc_pages[MIG_ENC_COUNT], enc_bytes[MIG_ENC_COUNT];
    _Atomic uint64_t done_pages; /* of this round */
    _Atomic uint64_t cpu_us;
    _Atomic uint64_t held_us; /* waited for bandwidth */
};

struct source_reads;

/* The urgent channel: a thread that answers what the target's guest waits for. */
struct source_urgent {
    struct mig_source *s;
    struct conn *conn;
    pthread_t thread;
    bool started;
    struct source_post_batch *batch;
    uint64_t seq;
    struct err err;
    _Atomic uint64_t sent_bytes;
};

struct mig_source {
    /* constant after setup */
    struct mig_source_config cfg;
    struct guest_region regions[GUEST_MAX_REGIONS];
    struct layout layout;
    struct track *track;
    struct ctl *ctl; /* set and unset under mu */
    struct share_member share;
    uint32_t channels;
    uint64_t capabilities; /* CONTROL_CAP bits that both ends have */
    struct source_worker *workers;
    int wake_fd; /* eventfd: a phase ended, or cancel */
    uint64_t rtt_us;

    /* bitmaps of all pages: owned by the workers during a phase (each its stripes), else by the run
     * thread */
    size_t words;
    uint64_t *dirty;       /* found by the last count */
    uint64_t *sent;        /* the target has content other than zero */
    uint64_t *again;       /* the target asked for them: bad checksum, or another digest */
    uint64_t *digests;     /* by stripe, of a full verification; NULL before */
    uint64_t *unconfirmed; /* sent in the round that runs: not known to have arrived */

    /* The connections, which can be lost and made again (source_link.c). Owned by the run thread. */
    uint32_t epoch; /* of the present ones; 0 = none yet */
    uint8_t token[CONTROL_TOKEN_SIZE];
    bool around;    /* they are dialled at the fallback address */
    bool lost;      /* the first trouble was that they are gone */
    bool mark_said; /* that the urgent channel could not be marked */
    int refused;    /* enum control_error_code of the last refusal */
    struct source_urgent urgent;

    /* Data channels over RDMA (source_lanes.c). Owned by the run thread; constant while there are
     * workers. */
    bool lanes;                     /* they are: then there is a nic */
    struct nic *nic;                /* of the present connection, from the offer on */
    struct lane *read_lane;         /* carries the target's READs in post-copy; NULL = none */
    uint64_t window_bytes;          /* of Accept.rdma, when it is them */
    struct source_windows *windows; /* source_rdma.c */
    _Atomic uint64_t open_window_bytes, peak_window_bytes;
    bool rdma_answered; /* ACCEPT had one: */
    struct control_rdma rdma_answer;
    uint32_t rdma_failures; /* in this migration */
    bool rdma_used;         /* likewise: memory went in the clear */
    char rdma_failure[ERR_MSG_SIZE], rdma_why[CONTROL_TEXT_SIZE];

    /* post-copy (source_post.c) */
    uint8_t *heat;     /* one number a stripe: rounds in which it was dirty */
    uint64_t *lacking; /* said by the target that came back */
    uint64_t lacking_next;
    bool lacking_whole, complete; /* all of it was heard; COMPLETE was */
    uint64_t missing_pages;       /* said in FINISH */
    struct plan plan;             /* guarded by plan_mu */
    bool planned;
    pthread_mutex_t plan_mu;
    pthread_cond_t plan_cv;     /* no request is open any more */
    uint32_t open_requests;     /* guarded by plan_mu */
    uint64_t fault_seen_us;     /* guarded by plan_mu */
    struct source_reads *reads; /* what the target may READ; owned by the run thread */

    /* owned by the run thread; constant during a phase */
    uint32_t round;
    bool paused;
    struct switch_source sw;
    struct converge converge;
    struct stall stall;
    bool round_ended, round_done, prepared, running, never; /* what was said and heard */
    bool finish_said, commit_said;
    bool comparing, compared; /* digests were said, and the target's word on them heard */
    uint64_t differing;       /* stripes, of the last comparison */
    enum mig_cause cause;     /* first trouble */
    struct err err;
    uint64_t state_bytes, state_sum; /* of the device state that was sent */
    uint64_t round_pages, round_began_us, scan_us, dirty_rate;
    /* convergence: see source_converge.c */
    bool can_post_copy; /* the engine and the target can; set before source_converge_start */
    bool go_postcopy;   /* source_copy returned because post-copy is to go on */
    uint64_t present_bytes, probe_stride, refreshed_us;
    uint64_t wait_until_us; /* for SOURCE_WAIT_UNTIL */
    uint64_t long_pause_us; /* a pause beyond the budget may take so much longer */
    uint64_t throttled_us;  /* since when; 0 = not */
    uint64_t progress_us, tick_us, tick_bytes; /* of the last callback and the last sample */
    bool sampling;
    uint64_t again_pages;     /* that the target asked for again, in all */
    uint64_t run_cpu_base_us; /* CPU time of the caller's thread before this run */

    /* guarded by mu */
    pthread_mutex_t mu;
    pthread_cond_t cv; /* a phase began, or stop */
    enum source_phase phase;
    uint64_t phase_seq;
    uint32_t pending;             /* workers that are still in the phase */
    struct source_worker *failed; /* the first */
    bool cancel, committing, stop_serving;
    char redirect[MIG_ADDR_SIZE], redirect_fallback[MIG_ADDR_SIZE]; /* where the target listens */
    char own_ip[INET6_ADDRSTRLEN], own_device[16]; /* where the first of the two is dialled from */
    bool own_trusted;                              /* over a network that is */
    char network_why[MIG_DECISION_TEXT / 2];       /* what became of this node's network */
    struct mig_stats stats;
    uint64_t run_cpu_us, ctl_bytes; /* ctl_bytes: of a control connection that is closed */

    atomic_bool stop; /* workers end soon */
};

/* source_setup.c: everything before the first page. */
int source_setup(struct mig_source *s);
/* The handshake and all channels, once. 0, or trouble. */
int source_connect(struct mig_source *s);

/* source_lanes.c: data channels over RDMA. */
/* Before the target is dialled: whether HELLO shall offer RDMA. Blocks as nic_open does. */
bool source_lanes_offer(struct mig_source *s);
/* After ACCEPT: all lanes, or, where they were agreed on, the target is told that there will be none:
 * s->lanes says. 0, or trouble. */
int source_lanes_dial(struct mig_source *s);
/* The data channels stand: what carries them, for the figures and, where it is new, the log. */
void source_lanes_say(struct mig_source *s);
/* The connection is lost: where it had lanes, that counts against them. */
void source_lanes_lost(struct mig_source *s);
/* Frees whatever is RDMA's of the connection, once no thread uses it any more. Idempotent. */
void source_lanes_drop(struct mig_source *s);

/* source_link.c: connections that are lost and made again. */
/* Trouble that is the loss of the connection and nothing else. Returns rc. */
int source_lost(struct mig_source *s, int rc, const struct err *why);
/* Dials until it works, deadline_us has passed (0 = never) or the caller of the engine wants an end:
 * then trouble. Workers run afterwards. What was sent and not confirmed is to be sent again. */
int source_relink(struct mig_source *s, uint64_t deadline_us);
/* Marks what has data in the stripes from w->next_stripe on as to be sent, whatever the tracker says.
 * 0, or -errno with w->err. */
int source_not_reached(struct mig_source *s, struct source_worker *w);
/* Drops all connections and ends the threads that use them. */
void source_unlink(struct mig_source *s);

/* source_post.c: the source's part of post-copy. */
void source_heat(struct mig_source *s); /* after each count */
/* The guest is paused: MISSING, and the device state; the urgent channel is served from here on. */
int source_last_post(struct mig_source *s);
int source_push(struct source_worker *w); /* a phase */
/* Serves until COMPLETE, over the connections that there are: 0, or trouble. */
int source_serve(struct mig_source *s);
int source_on_missing(struct mig_source *s, const struct control_missing *m);
void source_urgent_stop(struct mig_source *s);

/* source_rdma_read.c: what the target may READ in post-copy. Run thread. */
/* The target runs, and s->plan says what it lacks: opens windows from here on, where there is a lane
 * for READs. What goes wrong is said in the decision log, and pages are asked for then. */
void source_reads_start(struct mig_source *s);
/* No peer reaches any of it when this returns. Idempotent. */
void source_reads_stop(struct mig_source *s);
void source_reads_tick(struct mig_source *s);
/* What the target has read, and what it will not read any more. 0, or trouble. */
int source_on_windows_wanted(struct mig_source *s, const struct control_windows *m);
void source_post_done(struct mig_source *s);
void source_teardown(struct mig_source *s);
/* One connection to the target as cfg wants it, the handshake of TLS done. *ret is the caller's. */
int source_dial(const struct mig_source_config *cfg, uint64_t user_timeout_us, int cancel_fd,
                struct conn **ret, uint64_t *ret_rtt_us, struct err *err);

/* source_worker.c */
int source_workers_start(struct mig_source *s);
void source_workers_stop(struct mig_source *s); /* shuts the channels, joins; idempotent */
void source_phase_begin(struct mig_source *s, enum source_phase phase);
void source_batch_empty(struct source_batch *b); /* what it held was sent, or never will be */
int source_count(struct source_worker *w); /* the phases, in source_scan.c and source_send.c */
int source_send(struct source_worker *w);

/* source_pace.c */
/* Waits until so many bytes may go out on the worker's channel. 0, or -ECANCELED: stopped. */
int source_hold_back(struct source_worker *w, uint64_t bytes);
/* The most that a batch should have at the bandwidth of this moment; at least one page, at most
 * max. */
uint64_t source_batch_bytes(struct source_worker *w, uint64_t max);
/* What the path of the connections takes, once they are made and now and then; says what is new. */
void source_look_at_path(struct mig_source *s);

/* source_wait.c */
enum source_wait {
    SOURCE_WAIT_WORKERS,
    SOURCE_WAIT_ROUND_DONE,
    SOURCE_WAIT_COMPARED,
    SOURCE_WAIT_PREPARED,
    SOURCE_WAIT_OUTCOME,
    SOURCE_WAIT_LACKING, /* the target has said what it lacks */
    SOURCE_WAIT_COMPLETE,
    SOURCE_WAIT_UNTIL /* s->wait_until_us */
};
/* First trouble wins: it becomes outcome and text. Returns rc. */
int source_trouble(struct mig_source *s, enum mig_cause cause, int rc, const struct err *why);
/* Serves the control connection and the clocks until it has come. 0, or trouble. */
int source_wait(struct mig_source *s, enum source_wait what);
/* Sends a control message. 0, or trouble: then in the target's own words, if it left any. */
int source_say(struct mig_source *s, struct control_msg *m);
/* Brings the figures up to date, and calls progress() when it is time. */
void source_tick(struct mig_source *s, uint64_t now);
void source_sum_stats(struct mig_source *s, struct mig_stats *st); /* mu held */

/* source_round.c */
/* Rounds while the guest runs, until it is time to switch over. */
int source_copy(struct mig_source *s);
/* How much is dirty now, what was asked for again included. */
int source_count_all(struct mig_source *s, uint64_t *ret_bytes);
/* The device state, on the control connection. */
struct source_state {
    uint64_t bytes, sum, us;
};
int source_send_state(struct mig_source *s, void *ctx); /* ctx: struct source_state */
/* The guest is paused: what is still dirty, and the device state. */
int source_last(struct mig_source *s, uint64_t *ret_state_bytes, uint64_t *ret_state_sum);

/* source_converge.c */
/* Probes, the first prediction. */
int source_converge_start(struct mig_source *s);
int source_probe(struct source_worker *w, bool arm); /* the phases ARM and PROBE */
/* Predicts again when it is time. left_bytes of the round are still to be sent. */
void source_converge_tick(struct mig_source *s, uint64_t now, uint64_t left_bytes);
/* After a round: decides, says why, slows the guest down. *ret_go_on: another round, else the
 * guest is to be paused or (s->go_postcopy) moved now. */
int source_decide(struct mig_source *s, const struct converge_round *in, bool *ret_go_on);
void source_unthrottle(struct mig_source *s);   /* idempotent */
void source_converge_end(struct mig_source *s); /* learns from what it was; mu not held */
/* An entry of the decision log. */
void source_log(struct mig_source *s, const char *text);

/* source_verify.c: both ends digest all memory, the target compares. *ret_pages: what differs, asked
 * for again. 0, or trouble. */
int source_verify(struct mig_source *s, uint64_t *ret_pages);
int source_digest(struct source_worker *w); /* its phase */

#endif
