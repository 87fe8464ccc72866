/* Fault points: named places where a test makes this process fail. Armed through the environment:
 *   DROVER_FAULT=name[@n[+]]:action[,name[@n[+]]:action...]
 * n: the n-th time the point is reached (1, the default, is the first); n+: then and ever after.
 * Actions: kill (SIGKILL to
 * itself), error (the point reports true and the caller fails as if the call had), stop (SIGSTOP to
 * itself), log (only counts). All names stand in base/faults.def with one sentence each; an unknown
 * name in DROVER_FAULT ends the process at start with a clear error. With DROVER_FAULT_LOG=FILE,
 * each point writes its name to FILE the first time it is reached (a test proves that all are).
 * Thread-safe. Costs one load when nothing is armed. */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include <stdbool.h>

#include "base/err.h"

enum fault_point {
#define X(id, name, text) FAULT_##id,
#include "base/faults.def"
#undef X
    FAULT_COUNT
};

/* Reads DROVER_FAULT and DROVER_FAULT_LOG. Call once, first thing in main. */
int fault_init(struct err *err);
extern bool fault_armed;
bool fault_hit(enum fault_point p);
/* For tests, while no other thread runs. fault_arm: one NAME[@N[+]]:ACTION more; -EINVAL. fault_clear:
 * nothing is armed, every count is 0, nobody watches. fault_watch: fn is called at each point that
 * is reached, on the thread that reached it, before what is armed there (acts) is done. */
int fault_arm(const char *spec, struct err *err);
void fault_clear(void);
void fault_watch(void (*fn)(enum fault_point p, bool acts));
const char *fault_name(enum fault_point p);
const char *fault_text(enum fault_point p);

/* True when the caller shall act as if the operation failed. */
#define FAULT(id) (__builtin_expect(fault_armed, 0) && fault_hit(FAULT_##id))

#endif
