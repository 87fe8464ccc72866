/* How fast the link takes bytes, as a distribution: the newest samples of at least 20 ms each, and
 * percentiles of them. Pure. */
#ifndef MIGRATE_LINKRATE_H
#define MIGRATE_LINKRATE_H

#include <stdint.h>

#define LINKRATE_SAMPLES 32

struct linkrate {
    uint64_t samples[LINKRATE_SAMPLES]; /* bytes a second */
    uint32_t len, at;
    uint64_t piece_bytes, piece_us; /* not yet enough for a sample */
    uint64_t guess;                 /* bytes a second before there is any sample; 0 = none */
    uint64_t limit;                 /* nothing is ever faster; 0 = none */
};

/* Bytes were handed to the sockets without a break for us microseconds. Short pieces are put
 * together. */
void linkrate_note(struct linkrate *l, uint64_t bytes, uint64_t us);
/* The same, and now all that was handed over has arrived: the time that buffers took to drain
 * counts with the bytes that were in them. What is too short for a sample, with what came before
 * it, measures latency and is forgotten, unless nothing else is known. */
void linkrate_end(struct linkrate *l, uint64_t bytes, uint64_t us);
/* The rate below which percent of the samples lie; from the guess, then, while there is none. 0 =
 * nothing is known. */
uint64_t linkrate_percentile(const struct linkrate *l, unsigned percent);

#endif
