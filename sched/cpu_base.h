/* What a named CPU model has, for obsoleteCPUs.minCPUModel: its features carry no label of their own
 * and count as present on every node that a labeller has labelled (OpenShift Virtualization 4.15, CPU
 * feature labels). One table for who labels (labeller.c) and who places (cpu_rule.c), so that the two
 * never disagree. Facts of Intel's and AMD's models as libvirt's CPU map states them. */
#ifndef SCHED_CPU_BASE_H
#define SCHED_CPU_BASE_H

#include <stdbool.h>

#define CPU_BASE_DEFAULT "Penryn" /* minCPUModel where nobody says another */

/* Is the model one of the table? The suffix -IBRS is. */
bool cpu_base_known(const char *model);
/* Does the minimum model have the feature? Of NULL, "" and a model that is not in the table: Penryn's. */
bool cpu_base_has(const char *model, const char *feature);

#endif
