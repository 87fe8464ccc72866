/* How much went past in any window of a second, and whether this machine had time to send it. */
#ifndef TESTS_MIGRATE_METER_H
#define TESTS_MIGRATE_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METER_WINDOW_US 1000000

struct meter_sample {
    uint64_t at_us, bytes; /* in all, until then */
};

/* The most and the least of all windows of a second, in thousandths of the limit. */
void meter_windows(const struct meter_sample *s, size_t n, uint64_t limit, uint64_t *ret_most,
                   uint64_t *ret_least);

/* Whether others have left the cores to us since meter_begin: else a limit may not be reached.
 * Whether it is kept does not depend on that. Says so. */
void meter_begin(void);
bool meter_was_quiet(void);
/* Whether cores were free in the last ten seconds: what takes both of them for seconds says nothing
 * else. */
bool meter_cores_are_free(void);

#endif
