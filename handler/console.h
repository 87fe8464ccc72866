/* One session of a guest's serial console: connects to the controller, which has asked for it
 * (docs/console.md), and passes bytes between the two until either end goes. A thread a session, with
 * one buffer each way: who does not read is not read for. */
#ifndef HANDLER_CONSOLE_H
#define HANDLER_CONSOLE_H

#include "base/err.h"
#include "base/loop.h"

struct console;

/* url, path: of the controller's end, copied. fd: the guest's end, taken. done: on the loop's
 * thread, once, with why it ended (code 0: an end went, as ends do; -ENOENT: the session was over
 * before we came); the session is freed after it. */
struct console *console_start(struct loop *l, const char *url, const char *path, int fd,
                              void (*done)(void *ctx, const struct err *why), void *ctx);
/* Ends it soon; done is still called. Loop thread. */
void console_stop(struct console *c);

#endif
