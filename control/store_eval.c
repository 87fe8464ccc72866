/* What a write means: looks at the newest version of its object and computes the next one, with the
 * rules of Kubernetes' API conventions for metadata (uid, generation, deletionTimestamp,
 * finalizers, preconditions). Changes nothing in the store but the counter. See store_impl.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/quantity.h"
#include "control/store_impl.h"

/* "virtualmachines.kubevirt.io", "nodes" */
#define RES_FMT      "%s%s%s"
#define RES_ARGS(ki) (ki)->plural, *(ki)->group ? "." : "", (ki)->group

#define MODIFIED_TEXT \
    "the object has been modified; please apply your changes to the latest version and try again"

static int eval_create(struct store *st, struct store_op *op);
static int eval_change(struct store *st, struct store_op *op);
static int eval_delete(struct store *st, struct store_op *op);
static int next_tree(struct store_op *op, struct tree *t);
static int check_preconditions(struct store_op *op, const struct store_object *old);
static void keep_server_fields(const struct store_object *old, struct tree *t);
static bool spec_differs(const struct tree *a, const struct tree *b);
static bool has_generation(enum kind kind);
static int generate_name(struct store *st, struct store_op *op, const char *base);
static void make_uid(struct store *st, char out[37]);
static int accept_version(struct store *st, struct store_op *op, const struct store_object *old,
                          struct tree *t, enum store_event_type type);

void
store_eval(struct store *st, struct store_op *op)
{
    if (op->rc) /* refused when it was queued */
        return;
    switch (op->type) {
    case OP_CREATE:
        op->rc = eval_create(st, op);
        break;
    case OP_DELETE:
        op->rc = eval_delete(st, op);
        break;
    case OP_UPDATE:
    case OP_PATCH:
    case OP_MUTATE:
        op->rc = eval_change(st, op);
        break;
    }
    if (op->rc && !op->err.code)
        err_set(&op->err, op->rc, "%s", strerror(-op->rc));
}

static int
eval_create(struct store *st, struct store_op *op)
{
    struct tree *t = op->tree;

    if (op->check) {
        int rc = op->check(op->ctx, t);

        if (rc)
            return rc;
    }

    struct tree *meta = tree_ensure_map(t, "metadata");
    const struct kind_info *ki = kind_info(op->kind);

    if (!op->key) {
        int rc = generate_name(st, op, tree_get_string(tree_get(meta, "generateName"), ""));

        if (rc)
            return rc;
    }
    if (store_newest(st, op->kind, op->key))
        return err_set(&op->err, -EEXIST, RES_FMT " \"%s\" already exists", RES_ARGS(ki),
                       object_name(t));

    char uid[37], now[32];

    make_uid(st, uid);
    time_format(loop_wall_us(st->loop), false, now, sizeof(now));
    tree_set(meta, "uid", tree_string(uid));
    tree_set(meta, "creationTimestamp", tree_string(now));
    tree_del(meta, "deletionTimestamp");
    tree_del(meta, "deletionGracePeriodSeconds");
    tree_del(meta, "selfLink");
    tree_del(meta, "managedFields");
    if (has_generation(op->kind))
        tree_set(meta, "generation", tree_int(1));
    else
        tree_del(meta, "generation");
    return accept_version(st, op, NULL, TAKE_PTR(op->tree), STORE_ADDED);
}

/* update, patch, mutate */
static int
eval_change(struct store *st, struct store_op *op)
{
    const struct store_object *old = store_newest(st, op->kind, op->key);
    int rc = check_preconditions(op, old);

    if (rc)
        return rc;

    AUTO_TREE struct tree *t = op->type == OP_UPDATE ? TAKE_PTR(op->tree) : tree_copy(old->tree);

    rc = next_tree(op, t);
    if (rc < 0)
        return rc;
    if (rc == 0) {
        op->obj = store_object_ref(old);
        return 0;
    }

    struct tree *meta = tree_ensure_map(t, "metadata");

    keep_server_fields(old, t);
    if (tree_equal(old->tree, t)) {
        op->obj = store_object_ref(old);
        return 0;
    }
    if (has_generation(op->kind) && spec_differs(old->tree, t))
        tree_set(
            meta, "generation",
            tree_int(tree_get_int(tree_find(old->tree, "metadata", "generation", NULL), 0) + 1));

    bool gone = tree_get(meta, "deletionTimestamp") && tree_len(tree_get(meta, "finalizers")) == 0;

    return accept_version(st, op, old, TAKE_PTR(t), gone ? STORE_DELETED : STORE_MODIFIED);
}

/* Lets the writer change t. 1: compare and store, 0: leave the object as it is, or -errno. */
static int
next_tree(struct store_op *op, struct tree *t)
{
    if (op->type == OP_PATCH)
        tree_merge_patch(t, op->tree);
    if (op->type == OP_MUTATE)
        return op->fn(op->ctx, t);
    return 1;
}

static int
eval_delete(struct store *st, struct store_op *op)
{
    const struct store_object *old = store_newest(st, op->kind, op->key);
    int rc = check_preconditions(op, old);

    if (rc)
        return rc;

    const struct tree *old_meta = tree_get(old->tree, "metadata");
    AUTO_TREE struct tree *t = NULL;

    if (tree_len(tree_get(old_meta, "finalizers")) == 0)
        return accept_version(st, op, old, tree_copy(old->tree), STORE_DELETED);
    if (tree_get(old_meta, "deletionTimestamp")) {
        op->obj = store_object_ref(old);
        return 0;
    }
    t = tree_copy(old->tree);

    struct tree *meta = tree_ensure_map(t, "metadata");
    char now[32];

    time_format(loop_wall_us(st->loop), false, now, sizeof(now));
    tree_set(meta, "deletionTimestamp", tree_string(now));
    tree_set(meta, "deletionGracePeriodSeconds", tree_int(0));
    if (has_generation(op->kind))
        tree_set(meta, "generation", tree_int(tree_get_int(tree_get(meta, "generation"), 0) + 1));
    return accept_version(st, op, old, TAKE_PTR(t), STORE_MODIFIED);
}

/* Makes t (taken) the op's result: a new version, within the size that an object may have. */
static int
accept_version(struct store *st, struct store_op *op, const struct store_object *old,
               struct tree *t, enum store_event_type type)
{
    const struct store_object *o = store_object_new(op->kind, t, st->next_rv + 1);

    if (o->json_len > API_MAX_OBJECT_BYTES && type != STORE_DELETED) {
        err_set(&op->err, -EFBIG, "the object would be %zu bytes of JSON: at most %u are allowed",
                o->json_len, API_MAX_OBJECT_BYTES);
        store_object_unref(o);
        return -EFBIG;
    }
    st->next_rv++;
    op->obj = o;
    op->old_obj = old ? store_object_ref(old) : NULL;
    op->event = type;
    op->changed = true;
    op->removed = type == STORE_DELETED;
    return 0;
}

static int
check_preconditions(struct store_op *op, const struct store_object *old)
{
    const struct kind_info *ki = kind_info(op->kind);
    const char *name = strrchr(op->key, '/') ? strrchr(op->key, '/') + 1 : op->key;
    const char *uid = op->uid;
    uint64_t rv = op->rv;

    if (!old)
        return err_set(&op->err, -ENOENT, RES_FMT " \"%s\" not found", RES_ARGS(ki), name);
    if (op->type == OP_UPDATE || op->type == OP_PATCH) {
        uint64_t own_rv = store_object_rv(op->tree);

        if (own_rv)
            rv = rv && rv != own_rv ? UINT64_MAX : own_rv;
        if (op->type == OP_UPDATE && !uid && *object_uid(op->tree))
            uid = object_uid(op->tree);
    }
    if (rv && rv != old->rv)
        return err_set(&op->err, -EAGAIN,
                       "Operation cannot be fulfilled on " RES_FMT " \"%s\": " MODIFIED_TEXT,
                       RES_ARGS(ki), name);
    if (uid && strcmp(uid, object_uid(old->tree)) != 0)
        return err_set(&op->err, -EAGAIN,
                       "Operation cannot be fulfilled on " RES_FMT
                       " \"%s\": Precondition failed: UID in precondition: %s, UID in object meta: "
                       "%s",
                       RES_ARGS(ki), name, uid, object_uid(old->tree));
    return 0;
}

/* Writes back what clients cannot change. */
static void
keep_server_fields(const struct store_object *old, struct tree *t)
{
    static const char *const fields[] = {
        "name",       "namespace",         "generateName",
        "uid",        "creationTimestamp", "deletionTimestamp",
        "generation", "resourceVersion",   "deletionGracePeriodSeconds",
    };
    const struct tree *from = tree_get(old->tree, "metadata");
    struct tree *to = tree_ensure_map(t, "metadata");

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const struct tree *v = tree_get(from, fields[i]);

        if (v)
            tree_set(to, fields[i], tree_copy(v));
        else
            tree_del(to, fields[i]);
    }
    tree_del(to, "selfLink");
    tree_del(to, "managedFields");
    tree_set(t, "apiVersion", tree_copy(tree_get(old->tree, "apiVersion")));
    tree_set(t, "kind", tree_copy(tree_get(old->tree, "kind")));
}

/* True when anything but metadata and status differs. */
static bool
spec_differs(const struct tree *a, const struct tree *b)
{
    const struct tree *sides[2] = {a, b};

    for (int s = 0; s < 2; s++) {
        for (size_t i = 0; i < tree_len(sides[s]); i++) {
            const char *key = tree_key_at(sides[s], i);

            if (strcmp(key, "metadata") == 0 || strcmp(key, "status") == 0)
                continue;
            if (!tree_equal(tree_get(a, key), tree_get(b, key)))
                return true;
        }
    }
    return false;
}

static bool
has_generation(enum kind kind)
{
    return *kind_info(kind)->group != '\0';
}

/* As upstream: the base, cut to 58 bytes, and five letters that make no words. */
static int
generate_name(struct store *st, struct store_op *op, const char *base)
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    struct tree *meta = tree_get(op->tree, "metadata");
    char suffix[6] = "", name[API_MAX_NAME_BYTES + 1];

    for (int tries = 0; tries < 8; tries++) {
        for (int i = 0; i < 5; i++)
            suffix[i] = alphabet[rng_below(&st->rng, sizeof(alphabet) - 1)];
        snprintf(name, sizeof(name), "%.58s%s", base, suffix);
        free(op->key);
        op->key = store_key(object_namespace(op->tree), name);
        if (!store_newest(st, op->kind, op->key)) {
            tree_set(meta, "name", tree_string(name));
            return 0;
        }
    }
    return err_set(&op->err, -EEXIST, "no free name was found for generateName \"%s\"", base);
}

static void
make_uid(struct store *st, char out[37])
{
    uint64_t a = rng_u64(&st->rng), b = rng_u64(&st->rng);

    snprintf(out, 37, "%08" PRIx64 "-%04" PRIx64 "-4%03" PRIx64 "-%04" PRIx64 "-%012" PRIx64,
             a >> 32, (a >> 16) & 0xffff, a & 0xfff, ((b >> 48) & 0x3fff) | 0x8000,
             b & 0xffffffffffff);
}
