/* Time. Control code takes `now_us` as a parameter (loop_now_us); only drivers call these. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_mono_us(void); /* CLOCK_MONOTONIC, microseconds */
uint64_t clock_mono_ns(void); /* the same, nanoseconds */
int64_t clock_wall_us(void);  /* CLOCK_REALTIME, microseconds since 1970 */
/* User and system time of the calling thread, nanoseconds. A system call: not for each page. */
uint64_t clock_thread_ns(void);

#endif
