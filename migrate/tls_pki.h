/* Certificates for people without a PKI of their own: one CA, and a certificate for each node, in
 * the files that a handler reads (names as in Kubernetes' secrets of type kubernetes.io/tls). Keys
 * are ECDSA P-256; key files have mode 0600. All of it blocks on files. */
#ifndef MIGRATE_TLS_PKI_H
#define MIGRATE_TLS_PKI_H

#include "base/err.h"

#define TLS_PKI_CA_DAYS   3650
#define TLS_PKI_NODE_DAYS 365

/* Makes dir (if need be) and in it ca.crt and ca.key. -EEXIST when there is a CA already: a new one
 * would make every certificate of the old one worthless. */
int tls_pki_ca(const char *dir, struct err *err);
/* With the CA in ca_dir makes ca.crt, tls.crt and tls.key in out_dir: a certificate for both ends
 * of a connection, of the node of this name (a DNS name), good for `days` from now. What is there
 * is replaced, each file at once. */
int tls_pki_node(const char *ca_dir, const char *node, const char *out_dir, int days,
                 struct err *err);

#endif
