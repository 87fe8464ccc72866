/* Error texts for people; see err.h. */
#include "base/err.h"

#include <stdarg.h>
#include <string.h>

int
err_set(struct err *err, int code, const char *fmt, ...)
{
    if (err) {
        va_list ap;

        va_start(ap, fmt);
        vsnprintf(err->msg, sizeof err->msg, fmt, ap);
        va_end(ap);
        err->code = code;
    }
    return code;
}

int
err_prefix(struct err *err, int code, const char *fmt, ...)
{
    if (!err)
        return code;

    char old[ERR_MSG_SIZE], prefix[ERR_MSG_SIZE / 2];
    va_list ap;

    if (err->code == 0)
        err->code = code;
    snprintf(old, sizeof old, "%s", err_msg(err));
    va_start(ap, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, ap);
    va_end(ap);

    size_t n = strlen(prefix);

    memcpy(err->msg, prefix, n);
    snprintf(err->msg + n, sizeof err->msg - n, ": %s", old);
    return err->code;
}

const char *
err_msg(const struct err *err)
{
    if (err->msg[0])
        return err->msg;
    return err->code ? strerror(-err->code) : "no error";
}
