/* What netpolicy says of a VM in the input: shared by `drover policy` and `drover simulate`. */
#ifndef CLI_OFFLINE_POLICY_H
#define CLI_OFFLINE_POLICY_H

#include "cli/offline.h"
#include "netpolicy/policy.h"

struct offline_policy {
    const struct vmi *vmi;
    const struct namespace_ *ns;
    const struct hco *hco;
    const struct kubevirt *kubevirt;
    int64_t memory_bytes, disk_bytes; /* disks that migrate with it */
    struct policy_decision decision;  /* lives as long as o */
};

/* Of the VM of --vm; without --vm, of one without labels in the namespace "default".
 * memory_bytes > 0 stands for the VM's own. EXIT_DONE, or EXIT_ERROR and one line was printed: no
 * such VM. */
int offline_policy(struct offline *o, int64_t memory_bytes, struct offline_policy *ret);

#endif
