/* The target's inside, shared by target*.c only.
 *
 * Threads: the caller of mig_target_run (the run thread) listens, owns the control connection and
 * the switchover; one receiver a data channel takes frames, checks them and writes their pages into
 * the guest's memory file. */
#ifndef MIGRATE_TARGET_INT_H
#define MIGRATE_TARGET_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "migrate/conn.h"
#include "migrate/ctl.h"
#include "migrate/engine.h"
#include "migrate/switch.h"
#include "migrate/target_rdma.h"
#include "proto/control.h"
#include "proto/frame.h"
#include "proto/layout.h"

#define TARGET_IDLE_US      30000000
#define TARGET_HANDSHAKE_US 2000000  /* for a connection to show what it is */
#define TARGET_PENDING      64       /* connections that have not yet shown it */
#define TARGET_ATTACH_US    10000000 /* for the data channels, once HELLO was accepted */
#define TARGET_TICK_US      50000
#define TARGET_REASON_US    300000 /* a broken channel waits so long for the source's own words */
#define TARGET_DATA_USER_US 10000000

struct target_chan {
    /* constant after start */
    struct mig_target *t;
    uint32_t index;
    struct conn *conn; /* NULL = not attached */
    pthread_t thread;
    bool started;
    /* owned by the receiver's thread */
    uint64_t seq;
    uint32_t round; /* that its next frame must bear */
    bool lowered;   /* its thread gives way to who serves faults */
    uint8_t *buf;   /* payload of one batch */
    uint8_t *out;   /* what of it was decoded; made when the first comes */
    struct codec_lz *lz;
    const uint8_t *data[FRAME_MAX_RUNS]; /* where the pages of each run of the batch are */
    uint8_t head[FRAME_MAX_HEAD];
    struct frame_run runs[FRAME_MAX_RUNS];
    bool good[FRAME_MAX_RAW_PAGES];
    bool direct[FRAME_MAX_RUNS]; /* the run was received in place */
    struct iovec iov[FRAME_MAX_RUNS];
    /* guarded by t->mu */
    uint32_t ended_round;
    bool waiting; /* holds a frame of a round that has not begun */
    struct control_totals totals;
    /* read by others at any time */
    _Atomic uint64_t received_bytes, cpu_us;
};

struct lane;
struct nic;
struct target_post;
struct target_reads;

struct mig_target {
    /* owned by the caller of mig_target_relisten */
    char address[MIG_ADDR_SIZE];
    char fallback_address[MIG_ADDR_SIZE];
    /* constant after new */
    struct mig_target_config cfg;
    int wake_fd;
    struct guest_region regions[GUEST_MAX_REGIONS];
    uint32_t regions_len;
    /* owned by the run thread; constant while receivers run */
    int listen_fd, fallback_fd; /* fallback_fd: -1 = none */
    struct switch_target sw;
    struct layout layout;
    struct ctl *ctl;          /* set and unset under mu */
    bool asked, asked_commit; /* the control connection began with QUESTION: answer with ANSWER */
    uint32_t channels;        /* these three set under mu */
    uint32_t chans_len;       /* with the urgent one, the last, where there is one */
    struct target_chan *chans;
    uint32_t epoch; /* of the connections, as the source counts them; 0 = none yet */
    bool urgent;    /* post-copy is possible */
    bool has_token;
    uint8_t token[CONTROL_TOKEN_SIZE];
    uint32_t kinds; /* of runs that may come: FRAME_KIND_BITs */
    /* Data channels over RDMA (target_lanes.c). */
    bool lanes;             /* they are, or are to be */
    bool rdma_used;         /* once were: memory came in the clear */
    struct nic *nic;        /* of the present connection; NULL: there is none, or it has gone */
    struct lane *read_lane; /* READs of post-copy go here; NULL = none */
    uint8_t rdma_token[CONTROL_TOKEN_SIZE];
    bool lost;      /* the first trouble was that, and nothing else */
    struct err err; /* first trouble */
    enum control_error_code code;
    /* owned by the run thread */
    uint32_t round; /* begun */
    bool round_paused, round_ended, round_done;
    bool bad_left;         /* the last ROUND_DONE asked for pages again */
    uint64_t chan_lost_us; /* when a channel was found lost; 0 = none */
    struct control_round_end round_end;
    uint8_t *state;
    uint64_t state_have, state_room;
    struct control_finish finish;
    struct target_verify *verify; /* of a full verification, or NULL */
    uint64_t *lacking;            /* post-copy: MISSING's pages, and how far they were said */
    uint64_t lacking_next, lacking_pages;
    bool lacking_whole;
    struct target_post *post; /* from FINISH on; set under mu */
    uint64_t run_cpu_base_us;

    /* Held around writes to the memory files: the kernel lets one writer at a time into a file and
     * lets the others spin for it, which costs a quarter of a receiver's time; here they sleep. */
    pthread_mutex_t write_mu;
    /* one bit a page: it has content that came from the source. Owned by the receivers, each its
     * stripes */
    uint64_t *received;
    /* likewise: it came with a bad checksum in this round */
    uint64_t *bad;
    uint8_t *stripe_state;         /* likewise: what target_direct.c knows of each stripe */
    bool fresh[GUEST_MAX_REGIONS]; /* it had no page at all when the first came */
    _Atomic uint32_t huge_failures;
    struct target_windows *windows; /* target_rdma.c; set under mu */

    pthread_mutex_t mu;
    pthread_cond_t cv; /* a round began, or the receivers are to end */
    /* guarded by mu */
    uint32_t begun_round; /* frames of no later round get into the guest */
    bool closing;         /* receivers end */
    uint64_t bad_pages;   /* of this round */
    struct err chan_err;  /* first failure of a receiver */
    enum control_error_code chan_code;
    struct mig_stats stats;
    bool next_trusted;
    bool relisten; /* the run thread is to listen there from now on (target_accept.c) */
    int next_listen_fd, next_fallback_fd;
    uint64_t run_cpu_us, ctl_bytes;
    /* of earlier connections */
    struct control_totals old_totals;
    uint64_t old_bytes, old_cpu_us;
    uint64_t damage; /* ranges that were poisoned */

    atomic_bool stop;     /* asked to end */
    atomic_bool hopeless; /* mig_target_source_lost */
};

/* First trouble wins; returns rc. */
int target_trouble(struct mig_target *t, enum control_error_code code, int rc,
                   const struct err *why);

/* target_rounds.c */
/* Everything from the first connection to a valid FINISH: 0, or trouble. */
int target_receive(struct mig_target *t);
/* The next message of the source; meanwhile rounds are confirmed. 0, or trouble. */
int target_next(struct mig_target *t, struct control_msg *ret);
/* A message that is not due is ABORT, or the source broke the protocol. Returns -errno. */
int target_other_word(struct mig_target *t, const struct control_msg *m);
int target_protocol_error(struct mig_target *t, const char *what);

/* Trouble that is the loss of the connections and nothing else. Returns rc. */
int target_lost(struct mig_target *t, int rc, const struct err *why);
/* Drops all connections and ends the threads that use them; forgets trouble that was a loss. */
void target_unlink(struct mig_target *t);
/* Before anything was decided: waits for the source to come back. 0, or trouble. */
int target_relink(struct mig_target *t);

/* target_post.c: the memory of a guest that runs before it is there. Threads: fault readers; and the
 * receivers, for what arrives. */
/* From FINISH: holes where pages are missing, the userfaultfd over them, the readers. 0 or
 * -errno. */
int target_post_new(struct mig_target *t, struct err *err);
/* From the file that an earlier handler left: 1, 0 when there is none, -errno. Sets t->layout. */
int target_post_load(struct mig_target *t, struct err *err);
/* Stops the readers. all: memory is whole, the guest's faults are nobody's business any more. */
void target_post_free(struct mig_target *t, bool all);
uint64_t target_post_left(struct mig_target *t); /* pages */
/* A frame of FRAME_PAGES behind its header. Receivers' threads. */
int target_post_receive(struct target_chan *c, const struct frame_header *h, struct err *err,
                        enum control_error_code *ret_code);
/* The urgent channel is there (NULL: is not any more); open requests are made again. */
void target_post_attach(struct mig_target *t, struct conn *urgent);
int target_post_say_missing(struct mig_target *t, struct err *err);
int target_post_poison(struct mig_target *t, struct err *err);
/* The guest is about to run: faults are timed from here on. */
void target_post_stats(struct mig_target *t, struct mig_stats *st); /* mu held */
size_t target_post_damage(struct mig_target *t, struct mig_range *ret, size_t max);

bool target_post_has(const struct mig_target *t, uint64_t page);
/* A READ has brought them. Pages of one stripe. */
void target_post_read(struct mig_target *t, uint64_t page, uint32_t pages, const uint8_t *data);
/* Asks for them over the urgent channel. Pages of one stripe. */
void target_post_request(struct mig_target *t, uint64_t page, uint32_t pages);
/* A message of the source's, and what there is to say: the run thread, while a source is served. */
int target_post_windows(struct mig_target *t, const struct control_windows *m, struct err *err);
void target_post_tick(struct mig_target *t);

#define TARGET_READ_PAGES 16u /* of one READ, at most */

/* target_rdma_read.c: missing pages by RDMA READ; a part of target_post.c, which owns one. */
struct target_reads *target_reads_new(struct mig_target *t);
void target_reads_free(struct target_reads *r);
/* lane NULL: there is none. What goes wrong is said in cfg.noted, and pages are asked for then. */
void target_reads_attach(struct target_reads *r, struct nic *nic, struct lane *lane);
/* No READ is open when this returns, and none is begun. Idempotent. */
void target_reads_detach(struct target_reads *r);
/* Begins to read pages of one stripe: how many, 0 = none can be read now. Any thread. */
uint32_t target_reads_ask(struct target_reads *r, uint64_t page, uint32_t pages);
/* Whether the guest walks through memory and has come to this page: what lies ahead is worth a READ. */
bool target_reads_walk(struct target_reads *r, uint64_t page);
int target_reads_windows(struct target_reads *r, const struct layout *l,
                         const struct control_windows *m, struct err *err);
void target_reads_tick(struct target_reads *r);

/* target_fill.c: the run thread in post-copy. */
enum switch_event target_fill(struct mig_target *t);
void target_say_complete(struct mig_target *t);
void target_answer_running(struct mig_target *t, struct ctl *ctl);

/* target_accept.c: serves the listening socket until there is a control connection (want_data: and
 * all data channels of it), the deadline passes (0 = none), or stop. Connections that are not the
 * source's are refused; listening goes on. Sets t->ctl (and with want_data t->chans, t->layout).
 * With want_data false only QUESTION is taken. */
int target_accept(struct mig_target *t, bool want_data, uint64_t deadline_us);
/* Whether a preamble belongs to the present connection and shows `token`. */
bool target_preamble_ok(const struct mig_target *t, const uint8_t buf[FRAME_PREAMBLE_SIZE],
                        const uint8_t token[CONTROL_TOKEN_SIZE], struct frame_preamble *ret);

/* target_lanes.c: data channels over RDMA, on the run thread. */
/* HELLO offers it: what ACCEPT says of it. around: it came to the fallback address. */
void target_lanes_offer(struct mig_target *t, bool around, struct control_rdma *ret);
int target_lanes_fd(const struct mig_target *t); /* for poll; -1 = no request comes */
/* Takes what came. Blocks for a second a lane at most, and only for who knows the token. */
void target_lanes_take(struct mig_target *t);
/* All channels stand: what carries them, for the figures. */
void target_lanes_say(struct mig_target *t);
/* Frees whatever is RDMA's of the connection, channels included, once no thread uses it any more.
 * Idempotent. */
void target_lanes_drop(struct mig_target *t);

/* target_recv.c */
int target_receivers_start(struct mig_target *t);
void target_receivers_stop(struct mig_target *t); /* shuts, joins; idempotent */
bool
target_receivers_idle(struct mig_target *t); /* no channel has anything behind the last round */
void target_round_begun(struct mig_target *t, uint32_t round);

/* target_direct.c: a batch's payload, each run to where it is best received: c->direct and c->buf,
 * where it is as if all of it had come there. */
void target_direct_init(struct mig_target *t);
int target_direct_receive(struct target_chan *c, const struct frame_header *h, struct err *err);
/* Pages of a run that was received in place have a bad sum: zeros again. */
void target_direct_bad(struct mig_target *t, const struct frame_run *r, uint32_t from,
                       uint32_t pages);

/* Makes the stripe, of which something may be there already, one huge page. False: it stays as it
 * is. Any thread. */
bool target_direct_huge(struct mig_target *t, uint64_t stripe);

/* Whether the stripe may have pages (zeros) that were never received: in a huge page, or made before
 * the first came. */
bool target_direct_filled(const struct mig_target *t, uint32_t region, uint64_t stripe);

/* target_decode.c: the pages of a batch that has been received: c->data by run, c->good by page. */
void target_decode(struct target_chan *c, const struct frame_header *h);
void target_decode_done(struct target_chan *c);

/* target_verify.c, run thread only. 0, or trouble. */
int target_on_digests(struct mig_target *t, const struct control_digests *d);
int target_verify_poll(struct mig_target *t); /* compares when both ends' digests are there */
bool target_verify_runs(const struct mig_target *t);
void target_verify_stop(struct mig_target *t); /* joins its threads; idempotent */
void target_verify_free(struct mig_target *t);

#endif
