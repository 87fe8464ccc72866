/* The labeller: what libvirt says of a host, as the labels that KubeVirt's node-labeller publishes. Pure:
 * texts in, labels out; reads no file and asks no libvirt. Called by drover-handler and `drover
 * labels`. Follows KubeVirt's pkg/virt-handler/node-labeller and the OpenShift Virtualization 4.15 documents
 * where the two differ (obsoleteCPUs, minCPUModel; docs/labels.md). */
#ifndef SCHED_LABELLER_H
#define SCHED_LABELLER_H

#include "api/types.h"
#include "base/arena.h"
#include "base/err.h"

struct labeller_model { /* one model of libvirt's CPU map: its own features and its parent's */
    const char *name;
    struct str_list features;
};

struct labeller_input {           /* texts, borrowed; NULL: not there */
    const char *domcapabilities;  /* virConnectGetDomainCapabilities, XML */
    const char *capabilities;     /* virConnectGetCapabilities, XML: TSC, machine types */
    const char *supported_features; /* the expanded host model (`virsh hypervisor-cpu-baseline
                                       --features`), XML; without it the domain capabilities' own */
    const struct labeller_model *models; /* of the CPU map; for minCPUModel */
    size_t models_len;
    const struct hco *hco;   /* obsoleteCPUs; or NULL */
    const struct node *node; /* as it is, or NULL: nothing is removed */
    bool kvm_device, has_hyperv_features;
    struct str_list hyperv_features; /* base time vpindex ..., from KVM */
    bool has_realtime, realtime;     /* kernel.sched_rt_runtime_us is -1 */
};

struct labeller_output {
    struct kv_list labels;   /* sorted by key; all that the labeller stands for */
    struct str_list removed; /* keys of the node's labels that are the labeller's and no longer true; sorted */
    bool skipped; /* the node has node-labeller.kubevirt.io/skip-node: nothing is to be changed */
};

/* 0, or -EINVAL: a text is not the XML that it should be; err says which, where and why. Everything
 * is in the arena. */
int labeller_run(const struct labeller_input *in, struct labeller_output *ret, struct arena *a,
                 struct err *err);
/* A file of libvirt's CPU map (x86_*.xml; x86_features.xml is passed over) into *models. The same. */
int labeller_read_map(const char *xml, struct labeller_model **models, size_t *len, struct arena *a,
                      struct err *err);
/* Is the label key one that the labeller sets and takes away? */
bool labeller_owns(const char *key);

#endif
