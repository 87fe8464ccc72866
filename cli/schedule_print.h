/* The answer of `drover schedule` for people: where each VM goes, what its nodes scored, why others
 * do not do. At most 80 columns as long as names are short. */
#ifndef CLI_SCHEDULE_PRINT_H
#define CLI_SCHEDULE_PRINT_H

#include "base/sb.h"
#include "sched/preempt.h"

struct schedule_answer {
    const char *ns, *name;
    const char *source; /* of a migration, or NULL */
    struct place_result *result;
    struct preempt_result preemption; /* asked for when it fits nowhere */
};

void schedule_print(const struct schedule_answer *answers, size_t len, struct sb *out);

#endif
