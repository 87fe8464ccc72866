/* This node's certificates: whether migrations are encrypted here, with what, and if they cannot
 * be, why. Loop thread. */
#ifndef HANDLER_TLS_DIR_H
#define HANDLER_TLS_DIR_H

#include <stdbool.h>

#include "base/err.h"
#include "migrate/tls.h"

struct tls_dir;

/* dir: holds ca.crt, tls.crt and tls.key (as a Kubernetes secret of type kubernetes.io/tls does,
 * mounted); NULL: none. Reads nothing yet. */
struct tls_dir *tls_dir_new(const char *dir, const char *node);
void tls_dir_free(struct tls_dir *d); /* NULL is fine */

/* The newest certificates: the files are read again when they have changed since; ones that cannot
 * be used do not take the place of ones that can. *ret is the caller's reference. -ENOENT: there is
 * no dir; -errno: why not. */
int tls_dir_get(struct tls_dir *d, struct tls_ctx **ret, struct err *err);

#endif
