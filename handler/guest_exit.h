/* Why a guest ended, kept in the file `exit` of its directory: written by the guest itself (also
 * from the handler of a fatal signal), read by the driver. One line, "KIND TEXT". */
#ifndef HANDLER_GUEST_EXIT_H
#define HANDLER_GUEST_EXIT_H

#include <stddef.h>

#define GUEST_EXIT_FILE    "exit"
#define GUEST_EXIT_QUIT    "quit"
#define GUEST_EXIT_FAILED  "failed"
#define GUEST_EXIT_CRASHED "crashed"

/* From now on a fatal signal leaves its name in the file before it ends the process. dir_fd is
 * borrowed for ever. */
void guest_exit_init(int dir_fd);
/* Only the first word is kept. */
void guest_exit_record(const char *kind, const char *text);

#endif
