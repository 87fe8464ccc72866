/* v1 Events of the loops: what happened to an object, for people. The same text about the same
 * object is one Event that counts up. Old ones are deleted by the store's user that owns
 * EVENT_TTL_S. */
#ifndef CONTROL_LOOP_EVENT_H
#define CONTROL_LOOP_EVENT_H

#include "control/loop_core.h"

enum loop_event_type { EVENT_NORMAL, EVENT_WARNING };

/* Queues the Event; losing one in a crash is harmless. */
void loop_event(struct loops *l, enum kind kind, const struct meta *about,
                enum loop_event_type type, const char *reason, const char *fmt, ...)
    PRINTF_LIKE(6, 7);
void loop_event_done(struct loops *l);

#endif
