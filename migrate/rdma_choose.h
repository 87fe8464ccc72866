/* Whether the data channels of a connection may go over RDMA, and the sentence why not, for the
 * decision log and the status. Asked again whenever more is known: before a device is looked for,
 * before the target is asked, and when it has answered. Each end decides for itself. Pure; any
 * thread. */
#ifndef MIGRATE_RDMA_CHOOSE_H
#define MIGRATE_RDMA_CHOOSE_H

#include <stdbool.h>
#include <stdint.h>

#include "migrate/engine.h"
#include "proto/control.h"

#define CHOOSE_FAILURES 2 /* that RDMA may have in one migration: the last of them ends it */

enum choose {
    CHOOSE_TCP,  /* no, and `why`; "" = it was never a question */
    CHOOSE_LOOK, /* it depends on whether there is a device */
    CHOOSE_ASK,  /* this end would: the target is to be asked */
    CHOOSE_RDMA
};

struct choose_facts {
    enum mig_transport transport; /* the source's policy; a target leaves it RDMA */
    enum mig_encoding encoding;   /* likewise; RAW */
    bool trusted;                 /* this end was told that the network is */
    bool around;                  /* the connection is not on that network: a fallback address */
    uint32_t failures;            /* of RDMA in this migration: in setting it up, or later */
    const char *failure;          /* the last one's */
    bool looked;
    const char *no_device; /* once looked: why there is none, "" = there is one */
    bool answered;
    const struct control_rdma *answer; /* once answered: NULL = the target knows nothing of RDMA */
};

/* why is written in any case. */
enum choose choose_source(const struct choose_facts *f, char why[CONTROL_TEXT_SIZE]);
/* The target's, whose ASK is never: CHOOSE_RDMA when it may listen. */
enum choose choose_target(const struct choose_facts *f, char why[CONTROL_TEXT_SIZE]);

#endif
