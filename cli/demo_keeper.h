/* A process that outlives `drover demo` for the one case in which the demo cannot clean up by
 * itself: it was killed, or crashed. It waits for that and takes the cluster away. */
#ifndef CLI_DEMO_KEEPER_H
#define CLI_DEMO_KEEPER_H

#include <sys/types.h>

#include "base/err.h"

struct demo_keeper {
    pid_t pid; /* 0: none */
    int fd;    /* the demo's end of a pipe: closed by the kernel when the demo is gone */
};

/* Forks; call before there are threads. dir: of the cluster, which need not be there yet. */
int demo_keeper_start(struct demo_keeper *k, const char *dir, struct err *err);
/* The demo cleans up (or has): the keeper ends and does nothing. Fine when none was started. */
void demo_keeper_dismiss(struct demo_keeper *k);

#endif
