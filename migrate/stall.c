/* Stall detector; see stall.h. */
#include "migrate/stall.h"

#define MARGIN 64 /* a new minimum is one that is lower by at least 1/64 */

void
stall_init(struct stall *s, uint64_t now_us)
{
    stall_restart(s, UINT64_MAX, now_us);
}

void
stall_note(struct stall *s, uint32_t round, uint64_t remaining_bytes, uint64_t now_us)
{
    uint64_t margin = round <= 1 ? 0 : s->best_bytes / MARGIN;

    if (remaining_bytes < s->best_bytes - margin) {
        s->best_bytes = remaining_bytes;
        s->since_us = now_us;
    }
}

void
stall_restart(struct stall *s, uint64_t remaining_bytes, uint64_t now_us)
{
    s->best_bytes = remaining_bytes;
    s->since_us = now_us;
}

uint64_t
stall_for_us(const struct stall *s, uint64_t now_us)
{
    return now_us > s->since_us ? now_us - s->since_us : 0;
}
