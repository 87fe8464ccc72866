/* Records which pages a running guest writes, interval by interval, through the tracker (track.h):
 * the guest runs on, each page costs it one write fault an interval. See trace.h for the format. */
#ifndef MIGRATE_TRACE_RECORD_H
#define MIGRATE_TRACE_RECORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "migrate/guest.h"

#define TRACE_RECORD_MIN_US 100000
#define TRACE_RECORD_MAX_US (600ull * 1000000)

struct trace_recorded {
    uint64_t us; /* how long it recorded: less than asked when stopped or full */
    uint32_t intervals;
    uint64_t memory_bytes, present_bytes;
    uint64_t written_bytes;                /* distinct */
    uint64_t set_bytes, dirty_bytes_per_s; /* as fitted (wws.h); 0 = it writes nothing */
};

/* Records for us microseconds (TRACE_RECORD_MIN_US to _MAX_US) into the file path, which is made
 * anew, mode 0600, and is whole or not there at all. Blocks for that long; ends early, with what
 * there is, once *stop is true. The guest must not be migrated meanwhile: both would want its
 * userfaultfd. Any thread. -EINVAL, -ENOTSUP (track.h), or what the file system says. */
int trace_record(const struct guest *g, uint64_t us, const char *path, const atomic_bool *stop,
                 struct trace_recorded *ret, struct err *err);

#endif
