/* Client-side apply as kubectl does it: the last applied manifest is remembered in an annotation,
 * and what is sent is a three-way merge patch of that, the new manifest and the live object. Both
 * programs write the annotation alike, so that kubectl apply and drover apply take turns on one
 * object without undoing each other. Follows kubectl's pkg/cmd/apply and apimachinery's
 * jsonmergepatch. */
#ifndef CLI_CLIENT_APPLY_H
#define CLI_CLIENT_APPLY_H

#include "api/tree.h"
#include "base/err.h"
#include "cli/client.h"

#define APPLY_ANNOTATION "kubectl.kubernetes.io/last-applied-configuration"

enum apply_result { APPLY_CREATED, APPLY_CONFIGURED, APPLY_UNCHANGED };
const char *apply_result_name(enum apply_result r); /* "created", ... */

/* The object that apply wants: the manifest with the annotation that describes it. Pure; the
 * caller's. */
struct tree *apply_modified(const struct tree *manifest);
/* The patch that makes `modified` of `current`: sets what differs, deletes what the last applied
 * manifest had and the new one has not. NULL when there is nothing to do. Pure; the caller's. */
struct tree *apply_patch(const struct tree *modified, const struct tree *current);
/* Creates or patches. manifest is checked (api/object.h) and has its namespace; dry_run: looks, but
 * sends no change. */
int apply_object(struct client *c, const struct tree *manifest, bool dry_run,
                 enum apply_result *ret, struct err *err);

#endif
