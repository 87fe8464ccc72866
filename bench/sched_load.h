/* What the scheduler's rows ask for: sequences of VMs, each sequence of one kind of question. Those
 * of all kinds but the cold ones come from SCHED_LOAD_CLASSES classes in turn: VMs of one class
 * differ in their names only. */
#ifndef BENCH_SCHED_LOAD_H
#define BENCH_SCHED_LOAD_H

#include "bench/sched_world.h"

#define SCHED_LOAD_CLASSES 10

enum sched_load {
    SCHED_LOAD_COLD,      /* requests, selector, taint: each asks for what none has asked for */
    SCHED_LOAD_WARM,      /* the same from ten classes */
    SCHED_LOAD_ANTI,      /* required anti-affinity to its own application, by hostname */
    SCHED_LOAD_SPREAD,    /* hard spread of its application over zones, skew 1 */
    SCHED_LOAD_PREFERRED, /* preferred affinity to its own application, by hostname and by zone */
    SCHED_LOAD_NONE,      /* cold, and fits nowhere: too large, the wrong disk, the taint */
    SCHED_LOADS
};

/* len VMs, from place `from` of the sequence on; in the arena. No two of a sequence have one name. */
struct vmi *sched_load_make(enum sched_load load, size_t from, size_t len, struct arena *a);
/* One VM of the basic kind as a user writes it, in YAML. */
extern const char sched_load_yaml[];

#endif
