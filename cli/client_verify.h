/* Asking a native guest to check its memory: drover.io/verify-request on the VMI,
 * drover.io/verify-result from its handler (docs/protocol.md). Used by `drover verify` and the
 * demo. */
#ifndef CLI_CLIENT_VERIFY_H
#define CLI_CLIENT_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/client_ask.h"

struct verify_result {
    char request[CLIENT_ASK_SIZE]; /* what was asked, so that only its answer counts */
    bool ok;
    int64_t pages, bad, steps;
    char text[256]; /* what the guest or its handler says about it */
};

/* Writes a fresh request; *ret is then given to verify_wait. */
int verify_ask(struct client *c, const char *ns, const char *name, struct verify_result *ret,
               struct err *err);
/* Waits for the answer. -ETIMEDOUT; -ENOENT when the VM ended meanwhile; -EINTR. That the memory is
 * damaged, or could not be checked, is an answer: 0, with ok false. */
int verify_wait(struct client *c, const char *ns, const char *name, int64_t timeout_us,
                struct verify_result *r, struct err *err);

#endif
