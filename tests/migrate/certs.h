/* Certificates of a CA that lives as long as the test program. */
#ifndef TESTS_MIGRATE_CERTS_H
#define TESTS_MIGRATE_CERTS_H

#include "migrate/tls.h"

/* A folder below a temporary one, which goes with the program; made when it is not there. */
const char *certs_path(const char *name);
/* ca.crt, tls.crt and tls.key of the node, from the CA of this name, good for `days`: their
 * folder. */
const char *certs_make(const char *ca, const char *node, int days);
/* Loaded from a folder. */
struct tls_ctx *certs_load(const char *dir);
/* A node's of the usual CA; made once, never freed. */
struct tls_ctx *certs_node(const char *node);

#endif
