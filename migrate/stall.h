/* Stall detector: has the work that remains reached a new minimum lately? In the first round every
 * byte sent is one. Later, what remains is what is left of the round plus what is expected to have
 * been dirtied since it began, so the sawtooth of rounds does not count as progress. Pure, with the
 * time passed in. */
#ifndef MIGRATE_STALL_H
#define MIGRATE_STALL_H

#include <stdint.h>

struct stall {
    uint64_t best_bytes, since_us;
};

void stall_init(struct stall *s, uint64_t now_us);
void stall_note(struct stall *s, uint32_t round, uint64_t remaining_bytes, uint64_t now_us);
/* A new series begins: the first number behind the first round, or after the guest was slowed. */
void stall_restart(struct stall *s, uint64_t remaining_bytes, uint64_t now_us);
uint64_t stall_for_us(const struct stall *s, uint64_t now_us);

#endif
