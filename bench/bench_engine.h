/* The engine against raw TCP, in one run on one machine. */
#ifndef BENCH_BENCH_ENGINE_H
#define BENCH_BENCH_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct bench_engine_options {
    uint64_t bytes;    /* of guest memory, all of it random */
    unsigned repeat;   /* of each kind of run, alternated */
    unsigned channels; /* of the engine; 0 = its own choice */
    bool json;
};

/* Prints a table or JSON. 0; -ERANGE when what must hold did not; -EPERM or -ENOTSUP when this
 * machine cannot; other -errno. */
int bench_engine(const struct bench_engine_options *o, struct err *err);

#endif
