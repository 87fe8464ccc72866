/* The networks' part of a pass: addresses of the migration network (loop_network.c) and the
 * enactments of NodeNetworkConfigurationPolicies (loop_enactment.c). Both look only when something
 * that they decide on has changed (loop_network_note). */
#ifndef CONTROL_LOOP_NETWORK_H
#define CONTROL_LOOP_NETWORK_H

#include "control/loop_core.h"

struct loop_network {
    bool addresses_dirty, enactments_dirty;
    bool set;   /* the settings named a network when they were looked at last */
    char *said; /* the last refusal that became an Event; NULL: none */
};

struct loop_network *loop_network_new(void);
void loop_network_free(struct loop_network *n); /* NULL is fine */
/* A change in the store, of any kind. */
void loop_network_note(struct loops *l, const struct store_event *ev);
#endif
