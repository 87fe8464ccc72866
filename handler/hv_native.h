/* Native guests (native_guest.h) behind the port of hv.h. Only what they alone can do (verify, trace,
 * their own clock's downtime) goes past the port, through hv_native. */
#ifndef HANDLER_HV_NATIVE_H
#define HANDLER_HV_NATIVE_H

#include "handler/hv.h"
#include "handler/native_guest.h"

/* Both texts are borrowed for its life; program: as in struct native_config. Ready while the program is there. */
struct hv_driver *hv_native_driver(const char *state_dir, const char *program);
/* The native guest behind g, borrowed; NULL when g is NULL or of another kind. */
struct native_guest *hv_native(struct hv_guest *g);
/* A migration has brought it: it is no incoming guest any more. */
void hv_native_arrived(struct hv_guest *g);

#endif
