/* One error, for a person to read: what, where, what is allowed. Lives on the caller's stack.
 * Functions return 0 or -errno and fill in `struct err *err` (which may be NULL). */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/cleanup.h"

#define ERR_MSG_SIZE 1024

struct err {
    int code; /* -errno of the last err_set, 0 when unset */
    char msg[ERR_MSG_SIZE];
};

/* Sets code and message and returns code (negative errno), so that `return err_set(err, -EINVAL,
 * "...")` works. err may be NULL. Long messages are cut at ERR_MSG_SIZE. Never blocks. */
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "prefix: " before the message that is there; returns err->code (or code when err is NULL).
 */
int err_prefix(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The message, or strerror(-code) when none was set; never NULL. Borrowed from err. */
const char *err_msg(const struct err *err);

#endif
