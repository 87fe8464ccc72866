/* The machine that is measured on: what it is, and whether something else uses it. Linux's /proc. */
#ifndef BENCH_BENCH_MACHINE_H
#define BENCH_BENCH_MACHINE_H

#include <stdint.h>

struct bench_machine {
    char cpu[96], kernel[96];
    unsigned cores; /* that this process may use */
    uint64_t memory_bytes, available_bytes;
    double load;             /* of one minute, at the start */
    double pressure_percent; /* time in which something waited for a CPU, 10 s; NAN = unknown */
};

void bench_machine_read(struct bench_machine *ret);
/* How busy the CPUs are while this process sleeps for ms, in percent of all of them. */
double bench_machine_busy(unsigned ms);
/* CPU time that all of it has used so far, the kernel's own threads included, in seconds. */
double bench_machine_cpu_s(void);
uint64_t bench_machine_available(void); /* bytes of memory that a program may take */

/* Touches and gives back so much memory. A page that a virtual machine has never used, or has given
 * back to its host, costs ten times as much as another: without this, that is all that would be
 * measured. */
void bench_machine_touch(uint64_t bytes);

#endif
