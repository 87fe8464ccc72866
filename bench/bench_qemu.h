/* QEMU processes that stand still (-S) and migrate to one another by QEMU's own means. Blocks; one
 * thread; inside a house. */
#ifndef BENCH_BENCH_QEMU_H
#define BENCH_BENCH_QEMU_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/bench_sides.h"

#define BENCH_MAX_QEMU 4

struct bench_qemu_case {
    const char *program;
    uint64_t bytes;
    unsigned multifd; /* channels; 0 = plain */
    bool prealloc;    /* of both sides' memory */
    const char *file; /* the source's memory: of that size, shared */
};

struct bench_qemu_result {
    double total_s, downtime_s; /* as QEMU itself says */
    uint64_t transferred_bytes;
    char accel[16]; /* "kvm", or what it fell back to */
};

/* One migration from a QEMU at the near side to one at the far side. */
int bench_qemu_move(const struct bench_sides *s, const struct bench_qemu_case *c,
                    struct bench_qemu_result *ret, struct err *err);
/* Starts and ends it: "10.0.2". */
int bench_qemu_version(const char *program, char *ret, size_t size, struct err *err);
/* Programs that are there: build/qemu-backports beside the programs' folder
 * (tools/qemu-backports.sh makes it), and the one in $PATH. Each is the caller's (free). */
size_t bench_qemu_find(char *ret[BENCH_MAX_QEMU]);

#endif
