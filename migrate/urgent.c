/* See urgent.h. sched(7). */
#include "migrate/urgent.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#define NICE_URGENT (-15)
#define NICE_BULK   5

void
urgent_raise(void)
{
    const struct sched_param p = {.sched_priority = 1};

    if (pthread_setschedparam(pthread_self(), SCHED_RR, &p) != 0)
        (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE_URGENT);
}

void
urgent_lower(void)
{
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE_BULK);
}
