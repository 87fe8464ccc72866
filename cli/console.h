/* The user's end of a VM's serial console: a WebSocket to the controller, and bytes between it and
 * the terminal. docs/console.md. */
#ifndef CLI_CONSOLE_H
#define CLI_CONSOLE_H

#include <stdbool.h>

#include "base/err.h"
#include "proto/websocket.h"

#define CONSOLE_ESCAPE 0x1d /* ^] */

struct console {
    int fd;
    struct ws_reader ws;
};

/* url: the controller's; path: of the console. 0 (then console_close), or -errno; *ret_status is the
 * HTTP status of a refusal, 0 when there was none. Blocking; a signal ends it with -EINTR. */
int console_connect(const char *url, const char *path, struct console *ret, int *ret_status,
                    struct err *err);
void console_close(struct console *c);

enum console_end {
    CONSOLE_LEFT,   /* the user did: the escape, a signal, the time, or nobody reads our output */
    CONSOLE_CLOSED, /* the other side did; reason says why */
    CONSOLE_MOVED   /* likewise: connecting again leads to where the VM is now */
};

/* Copies in to the console and the console to out until one of them ends; in's end alone is none,
 * but the end of what is sent. escape: in is a terminal: ^] ends it. for_us: end it after so long; 0:
 * never. reason: why, "" when there is none. */
enum console_end console_copy(struct console *c, int in, int out, bool escape, int64_t for_us,
                              char *reason, size_t size);

#endif
