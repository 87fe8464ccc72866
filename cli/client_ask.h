/* A question to a VM's handler, by annotation: a request on the VMI, and the result that the handler writes
 * there (docs/protocol.md). Used by client_trace.c and client_verify.c. */
#ifndef CLI_CLIENT_ASK_H
#define CLI_CLIENT_ASK_H

#include "cli/client.h"

#define CLIENT_ASK_SIZE 64 /* of a request's name */

/* A name that nobody else's request has. */
void client_ask_name(char name[CLIENT_ASK_SIZE]);
/* Writes the annotation. */
int client_ask(struct client *c, const char *ns, const char *name, const char *annotation,
               const char *text, struct err *err);
/* Waits for the result whose "request" is the given one: *ret, the caller's. -ETIMEDOUT (late: what
 * to say then); -ENOENT: no such VM, or it ended meanwhile; -EINTR. */
int client_ask_wait(struct client *c, const char *ns, const char *name, const char *annotation,
                    const char *request, int64_t timeout_us, const char *late, struct tree **ret,
                    struct err *err);

#endif
