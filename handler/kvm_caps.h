/* What the kernel says of this host, for the labeller: KVM's Hyper-V features and unlimited realtime
 * scheduling. */
#ifndef HANDLER_KVM_CAPS_H
#define HANDLER_KVM_CAPS_H

#include <stdbool.h>

#include "api/types.h"
#include "base/arena.h"

/* base time vpindex tlbflush ipi synic synic2 frequencies reset runtime synictimer reenlightenment:
 * those that KVM offers here; none without /dev/kvm, and on other architectures than x86. */
struct str_list kvm_caps_hyperv(struct arena *a);
/* kernel.sched_rt_runtime_us is -1. */
bool kvm_caps_realtime(void);

/* /dev/kvm is there and lets itself be opened. */
bool kvm_caps_usable(void);

#endif
