/* A house for everything that a measurement starts: a process-id namespace, a mount namespace with
 * a file system in memory at BENCH_HOUSE_DIR, and so nothing that outlives it. However drover-bench
 * ends, SIGKILL included, the kernel ends every process in it (guests that detached themselves,
 * QEMU), and its files and network namespaces are gone with them. */
#ifndef BENCH_BENCH_HOUSE_H
#define BENCH_BENCH_HOUSE_H

#include "base/err.h"

#define BENCH_HOUSE_DIR "/dev/shm" /* in the house: a private, empty file system */

/* Runs body(ctx) in a process in a new house and waits for it. Its return value (0..255) comes back
 * in ret_status; 130 when SIGINT, SIGTERM or SIGHUP ended it. Call it before any thread was
 * started. -EPERM: not root. Blocks. */
int bench_house_run(int (*body)(void *ctx), void *ctx, int *ret_status, struct err *err);

/* The drover-guest beside this program. Asked in the house, where /proc/self/exe of a program that was
 * started in a chroot is a path that leads nowhere. */
const char *bench_house_guest_program(void);

#endif
