/* Named network namespaces, compatible with `ip netns`: a bind mount under /run/netns each. Needs
 * CAP_SYS_ADMIN. All functions block briefly. */
#ifndef NETPOLICY_NETNS_H
#define NETPOLICY_NETNS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "netpolicy/limits.h"

/* Makes a namespace with its loopback up. The calling thread stays where it is. -EEXIST when the
 * name is taken. */
int netns_add(const char *name, struct err *err);
/* Takes the name away; the kernel ends the namespace and all interfaces in it when its last process
 * and descriptor are gone. -ENOENT when there is none. */
int netns_del(const char *name, struct err *err);
/* Descriptor (the caller's) or -errno; -ENOENT when there is none. */
int netns_open(const char *name, struct err *err);
/* Moves the calling thread into the namespace. */
int netns_enter(int fd, struct err *err);
/* Runs fn in a thread of its own inside the namespace, waits for it and returns what it
 * returned. */
int netns_call(int fd, int (*fn)(void *ctx, struct err *err), void *ctx, struct err *err);
/* True when the process (of any user) is in the namespace. False also when it is gone. */
bool netns_has_process(int fd, pid_t pid);

#endif
