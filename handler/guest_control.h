/* The control socket of a native guest: listens in the guest's directory, serves up to
 * GUEST_MAX_CLIENTS handlers' requests (guest_wire.h) on one thread, and never lets one client's
 * silence, garbage or death touch the guest or another client. */
#ifndef HANDLER_GUEST_CONTROL_H
#define HANDLER_GUEST_CONTROL_H

#include "base/err.h"
#include "handler/guest_machine.h"

/* Makes and binds DIR/control, mode 0600. The descriptor, the caller's, or -errno. */
int guest_control_listen(int dir_fd, struct err *err);

/* Serves until it is asked to quit (0), a signal comes out of signal_fd (its number), or it cannot
 * go on
 * (-errno). All descriptors are borrowed. */
int guest_control_run(struct guest_machine *m, int listen_fd, int signal_fd, struct err *err);

#endif
