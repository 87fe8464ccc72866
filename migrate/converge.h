/* The convergence controller: when to switch over, when to slow the guest down, when to go on by
 * post-copy, to pause, or to give up; and what it will all cost. Pure arithmetic on what probes and
 * rounds measured, on virtual time: no clock, no randomness but the seed. The engine's source
 * (source_round.c), the simulator (simulate.c) and the tests drive the same code.
 *
 * The model (wws.h, linkrate.h) predicts what a round leaves; judge() in converge.c is the rule;
 * converge_predict.c plays the rule some dozens of times on models drawn from what is likely, which
 * gives the percentiles. docs/convergence.md tells all of it in prose.
 *
 * Times are microseconds since the first byte (at_us) or durations; bytes without a word are of
 * guest memory, wire bytes are what was sent for them. */
#ifndef MIGRATE_CONVERGE_H
#define MIGRATE_CONVERGE_H

#include <stdbool.h>
#include <stdint.h>

#include "migrate/engine.h"
#include "migrate/linkrate.h"
#include "migrate/stall.h"
#include "migrate/wws.h"

#define CONVERGE_DOWNTIME_US 300000  /* default budget */
#define CONVERGE_FIXED_US    5000    /* guess: pause, save, send, load, record, resume */
#define CONVERGE_SLOW_LINK   1250000 /* bytes a second, while nothing at all is known: 10 Mb/s */

enum converge_decision {
    CONVERGE_ROUND,    /* another round while the guest runs */
    CONVERGE_SWITCH,   /* pause and finish, within the budget */
    CONVERGE_THROTTLE, /* slow the guest down, then another round */
    CONVERGE_POSTCOPY, /* let it run at the target before all is there */
    CONVERGE_PAUSE,    /* pause and finish, beyond the budget */
    CONVERGE_ABORT,    /* give up: the completion timeout */
    CONVERGE_DECISIONS
};
const char *converge_decision_name(enum converge_decision d); /* "round", "switchover", ... */

struct converge_config {
    uint64_t total_bytes; /* guest memory */
    struct mig_limits limits;
    struct mig_policy policy;
    bool can_throttle, can_post_copy; /* whether guest and engine can, whatever the policy allows */
    uint64_t seed;
    /* Learnt from earlier migrations of this process; 0 = not known. */
    uint64_t rtt_us, scan_us; /* measured before the start */
    uint64_t fixed_us;        /* downtime without scan, exchanges and pages */
    uint64_t bytes_per_s;     /* the link */
};

/* What a round measured. */
struct converge_round {
    uint32_t round;
    uint64_t at_us;            /* when it ended, the count included */
    uint64_t took_us;          /* from its begin to its confirmation */
    uint64_t count_us, rtt_us; /* the scan of all memory after it; one exchange */
    uint64_t dirty_bytes;      /* that it was there for (of the first: present memory) */
    uint64_t wire_bytes;       /* that it sent */
    uint64_t remaining_bytes;  /* dirty now */
};

struct converge_prediction {
    bool known;
    enum converge_decision end; /* SWITCH, POSTCOPY, PAUSE or ABORT: how most of them end */
    unsigned throttle_percent;  /* the most that the median needs */
    uint32_t rounds_p50, rounds_p90;
    uint64_t bytes_p50, bytes_p90; /* on the wire, in all */
    uint64_t total_p50_us, total_p90_us;
    uint64_t downtime_p50_us, downtime_p90_us;
};

struct converge_verdict {
    enum converge_decision decision;
    unsigned throttle_percent; /* with THROTTLE, and while it lasts */
    bool writers_only;
    uint64_t downtime_us;     /* if the guest were paused now */
    uint64_t downtime_low_us; /* the same at the low percentile of bandwidth */
    char why[MIG_DECISION_TEXT];
};

/* What the rule remembers from round to round; its own. */
struct converge_state {
    uint32_t round;
    double at_us;
    double remaining, last_remaining; /* < 0 = none */
    double best;                      /* lowest remaining while within the budget */
    uint32_t within, hopeless;        /* rounds in a row */
    unsigned percent;                 /* of throttling */
    bool writers_only;
    bool throttle_spent; /* it was tried to the end and did not help */
};

struct converge {
    struct converge_config cfg;
    struct linkrate link;
    struct wws wws;
    struct converge_state st;
    double effective; /* wire bytes a dirty byte, of the later rounds; of the first: `first` */
    double first;
    double overhead_us; /* of a round: exchanges and scan */
    double scan_us, rtt_us;
    double exchange_us; /* what a round takes beside its bytes and the scan, as measured */
    double present_bytes;
    double wire_bytes, sending_us; /* of the rounds so far */
    struct converge_prediction prediction;
};

/* cfg is copied. */
void converge_init(struct converge *c, const struct converge_config *cfg);
/* Wire bytes went out without a break for us. */
void converge_sample(struct converge *c, uint64_t wire_bytes, uint64_t us);
/* The last of a round, to its confirmation. */
void converge_sample_end(struct converge *c, uint64_t wire_bytes, uint64_t us);
/* The connection was lost and made again, maybe over another link. */
void converge_relinked(struct converge *c);
/* The link's limit is another now; 0 = none. */
void converge_set_limit(struct converge *c, uint64_t bytes_per_s);
/* Before the first round: all memory was armed at once, and guest_us later dirty_bytes were
 * dirty. */
void converge_probe(struct converge *c, uint64_t guest_us, uint64_t dirty_bytes);
/* Before the first byte: so much memory has content. Predicts, as far as that is possible; the
 * sentence goes to why (MIG_DECISION_TEXT bytes). */
void converge_start(struct converge *c, uint64_t present_bytes, char *why);
/* During a round, left_bytes of which are still to be sent: predicts again. */
void converge_refresh(struct converge *c, uint64_t at_us, uint64_t round_us, uint64_t left_bytes);
/* After a round: takes it in, decides, predicts. */
void converge_next(struct converge *c, const struct converge_round *in,
                   struct converge_verdict *ret);
/* The throttling that was decided on did not come about: it is not tried again. */
void converge_throttle_failed(struct converge *c);
/* What the prediction says, as a sentence of MIG_DECISION_TEXT bytes. */
void converge_say(const struct converge *c, char *text);

uint64_t converge_low_rate(const struct converge *c); /* p10; 0 = not known */
/* Of all rounds so far together; 0 = not known. */
uint64_t converge_mean_rate(const struct converge *c);
/* The downtime if the guest were paused now with so much left, at a percentile of bandwidth. */
uint64_t converge_downtime_us(const struct converge *c, uint64_t remaining_bytes, unsigned percent);

#endif
