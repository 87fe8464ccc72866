/* Asking a VM's handler to record which pages the guest writes: drover.io/trace-request on the VMI,
 * drover.io/trace-result from its handler (docs/protocol.md). Used by `drover trace record` and
 * `drover migrate --dry-run`. */
#ifndef CLI_CLIENT_TRACE_H
#define CLI_CLIENT_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/client.h"

struct trace_result {
    bool ok;
    char node[128], path[512], text[256]; /* where the file lies; why it could not be done */
    int64_t ms, intervals;
    int64_t memory_bytes, present_bytes, written_bytes;
    int64_t set_bytes, dirty_bytes_per_s;
};

/* Records for ms milliseconds and waits for the answer, timeout_us at most beyond that. -ETIMEDOUT;
 * -ENOENT: no such VM, or it ended meanwhile; -EINTR. That it could not be recorded is an answer:
 * 0, with ok false and a text. */
int trace_ask(struct client *c, const char *ns, const char *name, int64_t ms, int64_t timeout_us,
              struct trace_result *ret, struct err *err);

#endif
