/* A migration on virtual time: the controller that the engine uses (converge.h), driven by a model
 * of a guest and of a link instead of by real ones. For `drover simulate migration`, `drover
 * migrate --dry-run`, and tests. Pure: the same input gives the same answer.
 *
 * The guest: writes bytes_per_s at first, to a working set of set_bytes at random places (wws.h),
 * or as a recorded trace says. The link: bandwidth with noise, an exchange of rtt_us. What a round
 * costs beside its bytes: two exchanges and a scan. */
#ifndef MIGRATE_SIMULATE_H
#define MIGRATE_SIMULATE_H

#include "migrate/converge.h"

#define SIMULATE_STREAM_BYTES_PER_S 2250000000ull /* one stream takes no more: 18 Gb/s */
#define SIMULATE_MAX_ROUNDS         10000

struct simulate_config {
    uint64_t memory_bytes;
    uint64_t present_bytes; /* 0 = all of memory */
    uint64_t set_bytes, dirty_bytes_per_s;
    uint64_t bandwidth_bytes_per_s; /* of the link; > 0 */
    unsigned streams;               /* 0 = as many as it takes */
    struct mig_limits limits;
    struct mig_policy policy;
    uint64_t rtt_us, fixed_us; /* 0 = 200 us; CONVERGE_FIXED_US */
    unsigned noise_permille;   /* standard deviation of bandwidth and dirty bytes */
    uint64_t seed;
    bool no_probe;       /* the first prediction knows nothing of the guest's writing */
    struct trace *trace; /* borrowed; what is written, instead of set and rate; or NULL */
};

struct simulate_round {
    uint32_t round;
    uint64_t dirty_bytes; /* at its end */
    uint64_t sent_bytes, us;
    enum converge_decision decision; /* after it; of the last, paused round: SWITCH and final */
    bool final;
    char why[MIG_DECISION_TEXT];
};

struct simulate_result {
    bool succeeded;
    const char *limit; /* which ended it: "completionTimeoutPerGiB", "progressTimeout"; or NULL */
    char reason[MIG_DECISION_TEXT];
    enum mig_mode mode;
    uint64_t total_us, downtime_us, sent_bytes;
    unsigned throttle_percent;             /* the most */
    char start[MIG_DECISION_TEXT];         /* the first entry of the decision log */
    struct converge_prediction prediction; /* before the first byte */
    struct simulate_round *rounds;         /* the caller's: simulate_result_done */
    uint32_t rounds_len;
};

int simulate_run(const struct simulate_config *cfg, struct simulate_result *ret, struct err *err);
void simulate_result_done(struct simulate_result *r);

#endif
