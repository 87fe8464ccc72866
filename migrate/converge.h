/* When to switch over, and whether a migration still gets anywhere. Pure arithmetic on what the
 * rounds measured, with the time passed in; the source asks it after every round. The reasoning is
 * in docs/engine.md. */
#ifndef MIGRATE_CONVERGE_H
#define MIGRATE_CONVERGE_H

#include <stdbool.h>
#include <stdint.h>

#define CONVERGE_DOWNTIME_US 300000 /* default budget */
#define CONVERGE_STATE_US    5000 /* guess: pause, save, send, load, resume */
#define CONVERGE_SAMPLES     32

enum converge_decision {
    CONVERGE_ROUND, /* another round while the guest runs */
    CONVERGE_SWITCH /* pause and finish */
};

/* What a round left behind. */
struct converge_input {
    uint32_t round;
    uint64_t remaining_bytes; /* dirty now */
    uint64_t rtt_us, scan_us; /* of one exchange; of the last scan of all memory */
};

struct converge {
    uint64_t max_downtime_us;
    /* measured rates of sending, bytes a second: newest CONVERGE_SAMPLES */
    uint64_t samples[CONVERGE_SAMPLES];
    uint32_t samples_len, samples_at;
    uint64_t piece_bytes, piece_us; /* not yet enough for a sample */
    /* what earlier rounds said */
    uint64_t last_remaining; /* UINT64_MAX = none */
    uint32_t within;         /* rounds in a row that were within the budget */
    uint64_t predicted_us;   /* of the last question */
};

void converge_init(struct converge *c, uint64_t max_downtime_us); /* 0 = default */
/* Pages were sent without a break: bytes in us microseconds. Short pieces are put together. */
void converge_sample(struct converge *c, uint64_t bytes, uint64_t us);
/* A low estimate of bandwidth, from the lower fifth of the samples; 0 = not known. */
uint64_t converge_low_rate(const struct converge *c);
uint64_t converge_predict_us(const struct converge *c, const struct converge_input *in);
enum converge_decision converge_next(struct converge *c, const struct converge_input *in);

/* Stall detector: has the work that remains reached a new minimum lately? In the first round every
 * byte sent is one. Later, what remains is what is left of the round plus what is expected to have
 * been dirtied since it began, so the sawtooth of rounds does not count as progress. */
struct stall {
    uint64_t best_bytes, since_us;
};

void stall_init(struct stall *s, uint64_t now_us);
void stall_note(struct stall *s, uint32_t round, uint64_t remaining_bytes, uint64_t now_us);
/* A new series begins: the first number behind the first round. */
void stall_restart(struct stall *s, uint64_t remaining_bytes, uint64_t now_us);
uint64_t stall_for_us(const struct stall *s, uint64_t now_us);

#endif
