/* A client of QEMU's machine protocol, as much of it as measuring needs: one command at a time,
 * events skipped. Blocks; one thread. */
#ifndef BENCH_BENCH_QMP_H
#define BENCH_BENCH_QMP_H

#include <stdint.h>

#include "api/tree.h"

struct bench_qmp;

/* Connects to a UNIX socket, waiting until it is there for at most timeout_us or until the process
 * of pidfd has ended, and takes the greeting. *ret is the caller's (bench_qmp_free). */
int bench_qmp_connect(const char *path, int pidfd, uint64_t timeout_us, struct bench_qmp **ret,
                      struct err *err);
void bench_qmp_free(struct bench_qmp *q); /* NULL is fine */
/* args is taken; NULL = none. ret may be NULL; else it is the answer, the caller's. -EIO with
 * QEMU's own words when it refuses. */
int bench_qmp_call(struct bench_qmp *q, const char *command, struct tree *args, struct tree **ret,
                   struct err *err);

#endif
