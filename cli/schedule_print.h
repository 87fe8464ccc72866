/* The answer of `drover schedule` for people: where each VM goes, what its nodes scored, why others
 * do not do. At most 80 columns as long as names are short. */
#ifndef CLI_SCHEDULE_PRINT_H
#define CLI_SCHEDULE_PRINT_H

#include "base/sb.h"
#include "sched/nearest.h"
#include "sched/preempt.h"

struct schedule_answer {
    const char *ns, *name;
    const char *source; /* of a migration, or NULL */
    const struct place_result *result;
    struct nearest nearest;           /* likewise */
    struct preempt_result preemption; /* asked for when it fits nowhere */
};

/* Answers one by one, so that none has to be kept: a thousand VMs on thousands of nodes have millions of
 * reasons. */
struct schedule_report;

struct schedule_report *schedule_report_new(void);
void schedule_report_free(struct schedule_report *r); /* NULL is fine */
void schedule_report_add(struct schedule_report *r, const struct schedule_answer *a); /* borrowed */
/* All of it: with more than one answer a summary first. */
void schedule_report_print(const struct schedule_report *r, struct sb *out);

#endif
