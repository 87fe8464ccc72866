/* Small seeded generator (splitmix64 seeding xoshiro256**): same seed, same numbers, everywhere.
 * Not for secrets: rng_secret is. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_u64(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n); /* 0..n-1 without bias; n > 0 */
uint64_t rng_mix(uint64_t x);                  /* splitmix64's finaliser: a stateless hash */
int rng_secret(void *buf, size_t size);        /* getrandom; 0 or -errno */
void rng_uuid(char out[37]);                   /* random version-4 UUID as text, from rng_secret */

#endif
