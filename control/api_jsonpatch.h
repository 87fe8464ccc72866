/* RFC 6902 JSON Patch with RFC 6901 pointers, on trees. Pure. Called by api_change.c. */
#ifndef CONTROL_API_JSONPATCH_H
#define CONTROL_API_JSONPATCH_H

#include "api/tree.h"

#define JSONPATCH_MAX_OPS 1000

/* Applies a list of operations to *doc, which may be replaced as a whole. 0, or -EINVAL with the
 * operation that did not apply ("operation 3, test /spec/x: ..."); *doc is then half changed. */
int api_jsonpatch_apply(struct tree **doc, const struct tree *patch, struct err *err);

#endif
