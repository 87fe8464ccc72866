/* The labeller: what libvirt says of a host, as the labels that KubeVirt's node-labeller publishes. Pure:
 * texts in, labels out; reads no file and asks no libvirt. Called by drover-handler and `drover
 * labels`. Follows KubeVirt's pkg/virt-handler/node-labeller, and the OpenShift Virtualization 4.15
 * documents where the two differ (obsoleteCPUs, minCPUModel); docs/labels.md has every label. The one
 * header of sched/ that the handler includes (docs/decisions/0006): labeller*.c and cpu_base.c use
 * nothing else of this folder. */
#ifndef SCHED_LABELLER_H
#define SCHED_LABELLER_H

#include "api/types.h"
#include "base/arena.h"
#include "base/err.h"

/* Limits on XML that comes from outside; more is an error. */
#define LABELLER_MAX_BYTES     (4u << 20) /* one text */
#define LABELLER_MAX_DEPTH     32         /* elements within elements */
#define LABELLER_MAX_ELEMENTS  50000      /* in one text */
#define LABELLER_MAX_MAP_FILES 1000       /* files of a CPU map */
#define LABELLER_MAX_MODELS    2000       /* of a CPU map */
#define LABELLER_MAX_PARENTS   16         /* models within models of a CPU map */

#define LABELLER_CPU_MAP "/usr/share/libvirt/cpu_map" /* where libvirt installs it */

struct labeller_text {
    const char *name; /* begins errors: a file's path, or what it is */
    const char *xml;  /* NULL: not there */
};

struct labeller_model {        /* one model of libvirt's CPU map */
    const char *name, *parent; /* parent: the model that it builds on, or NULL */
    struct str_list features;  /* its own, without those that libvirt added or removed later */
};

struct labeller_models {
    struct labeller_model *items;
    size_t len, cap;
};

struct labeller_input { /* all borrowed */
    /* virConnectGetDomainCapabilities. Without it nothing is known of CPUs and machines: only the
     * labels of KVM and of the kernel are made, and only they are taken away. */
    struct labeller_text domcapabilities;
    struct labeller_text capabilities; /* virConnectGetCapabilities: TSC, machine types */
    /* The expanded host model (`virsh hypervisor-cpu-baseline --features`); without it, features come
     * from the host model and the CPU map. */
    struct labeller_text supported_features;
    struct labeller_models models; /* of the CPU map; len 0: none */
    const struct hco *hco;         /* obsoleteCPUs; or NULL */
    const struct node *node;       /* as it is, or NULL: nothing is removed */
    struct str_list hyperv;        /* Hyper-V features of KVM: base time vpindex ... */
    bool realtime;                 /* kernel.sched_rt_runtime_us is -1 */
};

struct labeller_output {
    struct kv_list labels; /* sorted by key; all that the labeller stands for */
    struct str_list
        removed; /* keys of the node's labels that are the labeller's and not in labels; sorted */
    struct str_list notes;      /* a sentence each: what was odd, and what followed from it */
    const char *obsolete_model; /* the host's model, when it is an obsolete one; or NULL */
    bool skipped; /* the node's annotation says so: no labels, nothing is to be changed */
};

/* 0, or -EINVAL: a text is not the XML that it should be; err is one line that begins with
 * NAME:LINE:COLUMN. Everything is in the arena. */
int labeller_run(const struct labeller_input *in, struct labeller_output *ret, struct arena *a,
                 struct err *err);
/* Adds the models of a file of libvirt's CPU map (cpu_map/x86_*.xml; those without models add none). The same. */
int labeller_read_map(const struct labeller_text *text, struct labeller_models *models,
                      struct arena *a, struct err *err);
/* The host model of domain capabilities as the <cpu> that virConnectBaselineHypervisorCPU takes, to be
 * expanded into supported_features. NULL: there is none, or the text is none. */
const char *labeller_host_cpu(const struct labeller_text *domcapabilities, struct arena *a);
/* Is the label key one that the labeller sets and takes away? */
bool labeller_owns(const char *key);

#endif
