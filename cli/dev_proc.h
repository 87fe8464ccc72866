/* Processes of a dev cluster: started inside a network namespace (and, with libvirt, a host's mount and UTS
 * namespaces), known by pid and start time, and ended by exactly that. Knows nothing of clusters. Called by dev_cluster.c. See proc(5),
 * pidfd_open(2). */
#ifndef CLI_DEV_PROC_H
#define CLI_DEV_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct dev_process {
    pid_t pid;      /* 0: none */
    uint64_t start; /* clock ticks after boot: tells a reused pid apart */
};

struct dev_mount {
    const char *from, *to; /* both are there */
    const char *type;      /* a file system's, NULL: `from` is bound */
    bool read_only;
};

/* Mount and UTS namespaces to be made for a process. What is mounted outside later, or taken away, is so
 * inside too; not the other way round. */
struct dev_room {
    const char *hostname;
    const struct dev_mount *mounts; /* in this order */
    size_t mounts_len;
};

struct dev_spawn {
    char *const *argv;           /* argv[0] is the program's path */
    const char *const *env;      /* "NAME=VALUE" to add or replace, NULL-terminated; may be NULL */
    int netns_fd;                /* the namespace to start in */
    const char *log;             /* standard output and error are appended there */
    const struct dev_room *room; /* make these; or NULL */
    const struct dev_process *host; /* join the mount and UTS namespaces of this one; or NULL */
};

/* Starts a program in a session of its own, standard input /dev/null, working directory /. 0 when
 * it was executed; else the error says which program and why. Blocks until exec. */
int dev_proc_spawn(const struct dev_spawn *s, struct dev_process *ret, struct err *err);

/* True while this very process lives (a zombie does not). */
bool dev_proc_alive(const struct dev_process *p);
/* Sends signo to this very process. False when it is gone. */
bool dev_proc_signal(const struct dev_process *p, int signo);
/* Waits until it has ended (and reaps it when it is our child); true when it has. */
bool dev_proc_wait(const struct dev_process *p, unsigned timeout_ms);
/* SIGKILL, and waits (30 s: freeing much memory takes time). True when it is gone. */
bool dev_proc_kill(const struct dev_process *p);
/* The process that has this pid now; pid 0 when there is none. */
struct dev_process dev_proc_of(pid_t pid);
/* True when it lives in another mount namespace than we do; false when it cannot be told. */
bool dev_proc_apart(pid_t pid);
/* Name of the program file (without folder) that a process runs; false when it cannot be told. */
bool dev_proc_program(pid_t pid, char *buf, size_t size);

/* Calls fn for every process in a network namespace, this one left out. fn may end it. */
void dev_proc_each_in(int netns_fd, void (*fn)(void *ctx, const struct dev_process *p), void *ctx);

#endif
