/* {"doc": ..., "patch": [...]}: RFC 6902 on any document. It applies or says why, and a patch never
 * makes a document larger than the limits allow. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/limits.h"
#include "control/api_jsonpatch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_TREE struct tree *in = NULL, *doc = NULL;
    AUTO_SB struct sb out = SB_INIT;
    struct err err = {0};
    int rc;

    if (tree_from_json((const char *)data, size, &in, NULL) != 0 || tree_type(in) != TREE_MAP)
        return 0;
    doc = tree_take(in, "doc");
    if (!doc)
        return 0;
    rc = api_jsonpatch_apply(&doc, tree_get(in, "patch"), &err);
    if (rc != 0 && !*err.msg)
        abort();
    tree_to_json(doc, 0, &out);
    return 0;
}
