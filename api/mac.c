/* See mac.h. */
#include "api/mac.h"

#include <stdint.h>
#include <stdio.h>

#include "base/rng.h"

void
mac_of_interface(const char *uid, const char *name, char ret[MAC_SIZE])
{
    uint64_t h = 0;

    for (const char *p = uid; *p; p++)
        h = rng_mix(h ^ (unsigned char)*p);
    for (const char *p = name; *p; p++)
        h = rng_mix(h ^ (unsigned char)*p);
    snprintf(ret, MAC_SIZE, "02:%02x:%02x:%02x:%02x:%02x", (unsigned)(h >> 8) & 0xff,
             (unsigned)(h >> 16) & 0xff, (unsigned)(h >> 24) & 0xff, (unsigned)(h >> 32) & 0xff,
             (unsigned)(h >> 40) & 0xff);
}
