/* Any bytes as JSON: read, written and read again (the same tree), checked and decoded; of two values in a
 * list the second is a patch of the first, and the merge patch between them leads from one to the other. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
static void check_round_trip(const struct tree *t);
static void check_object(const struct tree *t);
static void check_patches(const struct tree *from, const struct tree *to);
static void drop_nulls(struct tree *t);
static void must(bool holds, const char *what, const struct tree *t);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_TREE struct tree *t = NULL;
    struct err err;

    if (tree_from_json((const char *)data, size, &t, &err) != 0)
        return 0;
    check_round_trip(t);
    check_object(t);
    if (tree_type(t) == TREE_LIST && tree_len(t) == 2)
        check_patches(tree_at(t, 0), tree_at(t, 1));
    return 0;
}

static void
check_round_trip(const struct tree *t)
{
    AUTO_TREE struct tree *again = NULL;

    for (int indent = 0; indent <= 2; indent += 2) {
        AUTO_SB struct sb text = SB_INIT;

        tree_to_json(t, indent, &text);
        tree_free(TAKE_PTR(again));
        must(tree_from_json(sb_str(&text), text.len, &again, NULL) == 0, "cannot be read again", t);
        must(tree_equal(t, again), "not the same when read again", t);
    }
}

static void
check_object(const struct tree *t)
{
    AUTO_TREE struct tree *obj = tree_copy(t);
    struct arena *a = arena_new();
    struct field_errors errs = {.arena = a};
    struct warnings warn = {.arena = a};

    vmi_decode(obj, a);
    node_decode(obj, a);
    if (object_validate(obj, VALIDATE_CREATE | VALIDATE_STATUS, &errs, &warn) == 0) {
        vm_decode(obj, a);
        vmi_decode(obj, a);
        vmim_decode(obj, a);
        hco_decode(obj, a);
        pod_decode(obj, a);
        if (object_kind(obj)->kind == KIND_VM)
            tree_free(vmi_from_vm(obj));
        object_set_condition(obj, "Ready", "True", "Fuzzed", "", 0);
    }
    arena_free(a);
}

static void
check_patches(const struct tree *from, const struct tree *to)
{
    AUTO_TREE struct tree *target = tree_copy(from);
    AUTO_TREE struct tree *plain = tree_copy(to);
    struct err err;

    if (tree_type(from) != TREE_MAP || tree_type(to) != TREE_MAP)
        return;
    (void)tree_strategic_patch(target, to, &err);
    check_round_trip(target);
    tree_free(target);
    target = tree_copy(from);
    tree_merge_patch(target, to);
    check_round_trip(target);
    /* null in a map cannot be asked for by a merge patch, so it is left out of both */
    tree_free(target);
    target = tree_copy(from);
    drop_nulls(target);
    drop_nulls(plain);
    AUTO_TREE struct tree *diff = tree_merge_diff(target, plain);

    must(!diff == tree_equal(target, plain),
         "a difference where there is none, or none where there is", plain);
    if (diff)
        tree_merge_patch(target, diff);
    must(tree_equal(target, plain), "the patch does not lead there", plain);
}

static void
drop_nulls(struct tree *t)
{
    for (size_t i = tree_len(t); i-- > 0;) {
        if (tree_type(t) == TREE_MAP && tree_type(tree_at(t, i)) == TREE_NULL)
            tree_del(t, tree_key_at(t, i));
        else if (tree_type(t) == TREE_MAP)
            drop_nulls(tree_at(t, i));
    }
}

static void
must(bool holds, const char *what, const struct tree *t)
{
    AUTO_SB struct sb text = SB_INIT;

    if (holds)
        return;
    tree_to_json(t, 1, &text);
    fprintf(stderr, "%s:\n%s\n", what, sb_str(&text));
    abort();
}
