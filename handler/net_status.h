/* What the network agent says in objects: an enactment's status, with kubernetes-nmstate's types and
 * reasons of conditions. Pure. Called by handler/net.c. */
#ifndef HANDLER_NET_STATUS_H
#define HANDLER_NET_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include "api/tree.h"

enum net_status { NET_STATUS_PROGRESSING, NET_STATUS_AVAILABLE, NET_STATUS_FAILING };

/* {"conditions", "handledGeneration"}; reason and message count for FAILING. The caller's. */
struct tree *net_status_enactment(enum net_status s, const char *reason, const char *message,
                                  int64_t generation, int64_t wall_us);
/* Whether the enactment says that already, times aside. */
bool net_status_said(const struct tree *enactment, const struct tree *status);
/* Whether a condition of that type has that status. */
bool net_status_is(const struct tree *object, const char *type, const char *status);

#endif
