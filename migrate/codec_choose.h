/* Which encoding the next batch of a worker takes: pure, on numbers that are passed in. For each
 * encoding the time that one more page costs is estimated,
 *
 *     max(encode time, encoded bytes * time a byte takes on this worker's share of the link)
 *         + a quarter of the encode time
 *
 * (sockets buffer, so encoding and sending overlap; the quarter is the price of the processor), and
 * the cheapest taken, if it is cheaper than raw by a fifth. When a worker that sends raw pages hardly
 * ever waits for the link, the processor is the bottleneck and they stay raw; so they do when a raw page
 * costs less than four times what encoding one does. A page that is in the cache is tried as a
 * delta first.
 *
 * Encode times and ratios are moving averages of what was measured; a time counts for more where the
 * worker waits for a processor before it runs. An encoding that is not in use
 * is tried on a few pages now and then, because data changes: after 100 ms, and while it is not
 * worth it after twice as long each time, up to 3.2 s. docs/encodings.md. */
#ifndef MIGRATE_CODEC_CHOOSE_H
#define MIGRATE_CODEC_CHOOSE_H

#include <stdbool.h>
#include <stdint.h>

#include "migrate/engine.h"

#define CODEC_TRY_PAGES 16u /* of a trial */

struct codec_measure {
    bool known;
    uint32_t ns_per_page, permille; /* of the raw size */
    uint64_t next_us, every_us;     /* when it is tried again */
};

struct codec_choose {
    enum mig_encoding fixed;
    bool allowed[MIG_ENC_COUNT]; /* the target takes them */
    struct codec_measure of[MIG_ENC_COUNT];
    /* the link, as this worker has it */
    uint64_t window_bytes, window_ns, window_send_ns;
    bool window_encoded, link_known;
    uint64_t link_ns_per_mib;
    uint32_t wait_permille; /* of its time it waits for the link */
    /* how long running takes, processors being shared: 1000 = they are free */
    uint32_t stretch_permille;
};

struct codec_plan {
    enum mig_encoding group; /* of pages that are no delta: RAW, LZ4 or ZSTD */
    enum mig_encoding trial; /* try this one on the first CODEC_TRY_PAGES pages; 0 (AUTO) = none */
    uint32_t delta_budget; /* a page in the cache is a delta if that takes at most so many bytes */
    uint32_t keep_one_in;  /* pages that were sent before enter the cache: all (1), one in so many
                                (to notice when deltas become worth it), or none (0) */
};

/* fixed: AUTO, or what the policy says. allowed: by enum mig_encoding; RAW and ZERO always are. */
void codec_choose_init(struct codec_choose *c, enum mig_encoding fixed,
                       const bool allowed[MIG_ENC_COUNT]);
/* A batch of so many bytes was sent, encoded or raw; since the one before ns have passed, send_ns of
 * them in waiting for the bandwidth limit and in sending. True when a window is full: then
 * codec_choose_window is due. */
bool codec_choose_sent(struct codec_choose *c, uint64_t bytes, uint64_t ns, uint64_t send_ns,
                       bool encoded);
/* In the window that is full the worker ran for ran_ns, and waited for a processor for delayed_ns. */
void codec_choose_window(struct codec_choose *c, uint64_t ran_ns, uint64_t delayed_ns);
/* So many pages were encoded to so many bytes (not fewer pages than bytes: raw) in ns. */
void codec_choose_encoded(struct codec_choose *c, enum mig_encoding e, uint32_t pages,
                          uint64_t bytes, uint64_t ns, uint64_t now_us);
/* limit_bytes_per_s: this worker's share of the bandwidth limit; 0 = none. */
struct codec_plan codec_choose_next(const struct codec_choose *c, uint64_t limit_bytes_per_s,
                                    uint64_t now_us);

#endif
