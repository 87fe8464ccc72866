/* The labeller's texts from files: what `virsh domcapabilities`, `virsh capabilities` and `virsh
 * hypervisor-cpu-baseline --features` print, and a folder of libvirt's CPU map. For `drover labels` and
 * for handlers that are given files; blocks. The rules themselves (labeller.h) read nothing. */
#ifndef SCHED_LABELLER_FILES_H
#define SCHED_LABELLER_FILES_H

#include "sched/labeller.h"

struct labeller_files {
    const char *domcapabilities, *capabilities,
        *supported_features; /* paths ("-": standard input) */
    const char *cpu_map;     /* a folder with x86_*.xml; any of the four may be NULL */
};

/* Fills the texts and models of in; they live in the arena. -errno; err begins with the path. */
int labeller_files_read(const struct labeller_files *f, struct labeller_input *in, struct arena *a,
                        struct err *err);
/* Only a CPU map. */
int labeller_files_map(const char *folder, struct labeller_models *models, struct arena *a,
                       struct err *err);

#endif
