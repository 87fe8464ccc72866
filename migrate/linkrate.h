/* How fast the link takes bytes, as a distribution: the newest samples of at least 20 ms each, and
 * percentiles of them. Pure. */
#ifndef MIGRATE_LINKRATE_H
#define MIGRATE_LINKRATE_H

#include <stdint.h>

#define LINKRATE_SAMPLES     32
#define LINKRATE_LOW_PERCENT 10 /* of the samples are below what can be relied on */

struct linkrate {
    uint64_t samples[LINKRATE_SAMPLES]; /* bytes a second */
    uint32_t len, at;
    uint64_t piece_bytes, piece_us; /* not yet enough for a sample */
    uint64_t guess;                 /* bytes a second before there is any sample; 0 = none */
    uint64_t limit;                 /* nothing is ever faster; 0 = none */
};

/* Bytes were handed to the sockets without a break for us microseconds. Pieces that are short or small
 * are put together, also with time in which nothing was handed over: batches on a slow link come seldom,
 * and a link that is cut has no rate. */
void linkrate_note(struct linkrate *l, uint64_t bytes, uint64_t us);
/* The same, and now all that was handed over has arrived: the time that buffers took to drain
 * counts with the bytes that were in them. What is too short or too small for a sample, with what
 * came before it, measures latency and is forgotten, unless nothing else is known or the link was
 * thought slower than that. */
void linkrate_end(struct linkrate *l, uint64_t bytes, uint64_t us);
/* The connection is another one: what was known is no more than a guess. */
void linkrate_again(struct linkrate *l);
/* The rate below which percent of the samples lie; from the guess, then, while there is none. 0 =
 * nothing is known. */
uint64_t linkrate_percentile(const struct linkrate *l, unsigned percent);

#endif
