/* Manifests that are to be sent: read, checked with the server's own rules before anything is sent,
 * and kept as they were written (api/object.h's manifests_load gives them defaulted and converted,
 * which is what the offline verbs want, but not what apply should remember). Blocks on files and
 * standard input. */
#ifndef CLI_CLIENT_MANIFEST_H
#define CLI_CLIENT_MANIFEST_H

#include "api/object.h"
#include "api/tree.h"
#include "base/err.h"

/* paths: files, folders (*.yaml, *.yml, *.json in byte order), or "-". The objects get the
 * namespace `ns` where they are namespaced and name none; one that names another is an error
 * when ns_given. Errors are one line, "FILE:L:C: ...". *ret is a TREE_LIST in input order, the
 * caller's. */
int client_manifests_load(const char *const *paths, size_t len, const char *ns, bool ns_given,
                          struct tree **ret, struct err *err);

#endif
