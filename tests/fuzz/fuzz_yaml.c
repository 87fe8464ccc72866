/* Any bytes as YAML: read, written and read again (the same tree), checked as an object, decoded into every
 * typed struct; an object that is valid stays valid and unchanged when it is checked again. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
static void check_document(struct tree *doc);
static void check_round_trip(const struct tree *doc);
static void decode_all(const struct tree *doc, struct arena *a);
static void must(bool holds, const char *what, const struct tree *doc);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_TREE struct tree *docs = NULL;
    struct err err;

    if (tree_from_yaml("fuzz", (const char *)data, size, &docs, &err) != 0)
        return 0;
    for (size_t i = 0; i < tree_len(docs) && i < 16; i++)
        check_document(tree_at(docs, i));
    return 0;
}

static void
check_document(struct tree *doc)
{
    struct arena *a = arena_new();
    struct field_errors errs = {.arena = a}, again = {.arena = a};
    struct warnings warn = {.arena = a};
    struct err err;
    unsigned flags = VALIDATE_CREATE | VALIDATE_STATUS | VALIDATE_OFFLINE;

    check_round_trip(doc);
    decode_all(doc, a);
    if (object_validate(doc, flags, &errs, &warn) != 0) {
        must(errs.len > 0, "refused without a reason", doc);
        field_errors_text(&errs, "fuzz", doc, &err);
    } else {
        AUTO_TREE struct tree *copy = tree_copy(doc);

        must(object_kind(doc), "valid, but of no kind", doc);
        must(object_validate(doc, flags, &again, NULL) == 0, "valid only once", doc);
        must(tree_equal(doc, copy), "changed when checked again", doc);
        must(object_validate_update(doc, copy, &again) == 0, "may not be updated to itself", doc);
        check_round_trip(doc);
    }
    decode_all(doc, a);
    arena_free(a);
}

static void
check_round_trip(const struct tree *doc)
{
    AUTO_SB struct sb text = SB_INIT;
    AUTO_TREE struct tree *docs = NULL;
    struct err err;

    tree_to_yaml(doc, &text);
    if (tree_from_yaml("again", sb_str(&text), text.len, &docs, &err) != 0) {
        /* quotes make it longer, and deep maps of long keys wider, than a reader takes */
        must(err.code == -E2BIG, err_msg(&err), doc);
        return;
    }
    must(tree_len(docs) == 1 && tree_equal(doc, tree_at(docs, 0)), "not the same when read again",
         doc);
}

static void
decode_all(const struct tree *doc, struct arena *a)
{
    vm_decode(doc, a);
    vmi_decode(doc, a);
    vmim_decode(doc, a);
    hco_decode(doc, a);
    kubevirt_decode(doc, a);
    policy_decode(doc, a);
    nad_decode(doc, a);
    maintenance_decode(doc, a);
    node_decode(doc, a);
    namespace_decode(doc, a);
    pvc_decode(doc, a);
    pod_decode(doc, a);
    meta_decode(doc, a);
}

static void
must(bool holds, const char *what, const struct tree *doc)
{
    AUTO_SB struct sb text = SB_INIT;

    if (holds)
        return;
    tree_to_yaml(doc, &text);
    fprintf(stderr, "%s:\n%s\n", what, sb_str(&text));
    abort();
}
