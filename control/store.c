/* The store's core: queue, groups of writes, and what happens when a group is durable. At most one
 * group is with the back end; what comes meanwhile waits unevaluated and becomes the next group, so
 * a failed commit leaves nothing to undo. See store.h. */
#include "control/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/store_impl.h"

static struct store_op *op_new(enum store_op_type type, enum kind kind, const struct store_opts *o,
                               store_done done, void *ctx);
static void op_free(struct store_op *op);
static void enqueue(struct store *st, struct store_op *op);
static void arm(struct store *st);
static void on_timer(void *ctx);
static void form_batch(struct store *st);
static char *overlay_key(enum kind kind, const char *key);
static void apply(struct store *st, const struct store_op *op);
static int check_target(struct store_op *op, const char *ns, const char *name);

/* --- reading --- */
const struct tree *
store_get(struct store *st, enum kind kind, const char *ns, const char *name)
{
    const struct store_object *o = store_find(st, kind, ns, name);

    return o ? o->tree : NULL;
}

const struct store_object *
store_find(struct store *st, enum kind kind, const char *ns, const char *name)
{
    AUTO_FREE char *key = store_key(ns, name);

    return store_index_get(&st->index[kind], key);
}

struct list_adapter {
    bool (*fn)(void *ctx, const struct tree *obj);
    void *ctx;
};

static bool
list_one(void *ctx, const struct store_object *o)
{
    const struct list_adapter *a = ctx;

    return a->fn(a->ctx, o->tree);
}

void
store_list(struct store *st, enum kind kind, const char *ns,
           bool (*fn)(void *ctx, const struct tree *obj), void *ctx)
{
    store_each(st, kind, ns, list_one, &(struct list_adapter){fn, ctx});
}

void
store_each(struct store *st, enum kind kind, const char *ns,
           bool (*fn)(void *ctx, const struct store_object *o), void *ctx)
{
    const struct store_index *ix = &st->index[kind];
    AUTO_FREE char *prefix = ns && *ns ? xasprintf("%s/", ns) : xstrdup("");
    size_t len = strlen(prefix);

    for (size_t i = len ? store_index_lower(ix, prefix) : 0; i < ix->len; i++)
        if (strncmp(ix->items[i]->key, prefix, len) != 0 || !fn(ctx, ix->items[i]))
            break;
}

size_t
store_count(struct store *st, enum kind kind)
{
    return st->index[kind].len;
}

uint64_t
store_rv(const struct store *st)
{
    return st->rv;
}

uint64_t
store_object_rv(const struct tree *obj)
{
    const char *s = tree_find_string(obj, "", "metadata", "resourceVersion", NULL);

    return *s >= '0' && *s <= '9' ? strtoull(s, NULL, 10) : 0;
}

/* --- objects --- */
struct store_object *
store_object_new(enum kind kind, struct tree *tree, uint64_t rv)
{
    struct store_object *o = xcalloc(1, sizeof(*o));
    struct sb json = SB_INIT;

    tree_set(tree_ensure_map(tree, "metadata"), "resourceVersion",
             tree_stringf("%llu", (unsigned long long)rv));
    tree_to_json(tree, 0, &json);
    *o = (struct store_object){
        .refs = 1,
        .kind = kind,
        .rv = rv,
        .tree = tree,
        .json_len = json.len,
        .key = store_key(object_namespace(tree), object_name(tree)),
    };
    o->json = sb_steal(&json);
    return o;
}

const struct store_object *
store_object_ref(const struct store_object *o)
{
    ((struct store_object *)(uintptr_t)o)->refs++;
    return o;
}

void
store_object_unref(const struct store_object *object)
{
    struct store_object *o = (struct store_object *)(uintptr_t)object;

    if (!o || --o->refs > 0)
        return;
    tree_free(o->tree);
    free(o->json);
    free(o->key);
    free(o);
}

const struct tree *
store_object_tree(const struct store_object *o)
{
    return o->tree;
}

const char *
store_object_json(const struct store_object *o, size_t *ret_len)
{
    *ret_len = o->json_len;
    return o->json;
}

enum kind
store_object_kind(const struct store_object *o)
{
    return o->kind;
}

const char *
store_object_key(const struct store_object *o)
{
    return o->key;
}

/* --- writing --- */
void
store_create(struct store *st, struct tree *obj, store_done done, void *ctx)
{
    store_create_opts(st, obj, &(struct store_opts){0}, done, ctx);
}

void
store_create_opts(struct store *st, struct tree *obj, const struct store_opts *o, store_done done,
                  void *ctx)
{
    const struct kind_info *ki = object_kind(obj);
    struct store_op *op = op_new(OP_CREATE, ki ? ki->kind : KIND_NONE, o, done, ctx);

    op->tree = obj;
    if (ki && !*object_name(obj) && *tree_find_string(obj, "", "metadata", "generateName", NULL))
        op->rc = check_target(op, object_namespace(obj), "generated");
    else
        op->rc = check_target(op, object_namespace(obj), object_name(obj));
    if (op->rc == 0 && *object_name(obj))
        op->key = store_key(object_namespace(obj), object_name(obj));
    enqueue(st, op);
}

void
store_update(struct store *st, struct tree *obj, store_done done, void *ctx)
{
    const struct kind_info *ki = object_kind(obj);
    struct store_op *op =
        op_new(OP_UPDATE, ki ? ki->kind : KIND_NONE, &(struct store_opts){0}, done, ctx);

    op->tree = obj;
    op->rc = check_target(op, object_namespace(obj), object_name(obj));
    op->key = store_key(object_namespace(obj), object_name(obj));
    enqueue(st, op);
}

void
store_patch(struct store *st, enum kind kind, const char *ns, const char *name, uint64_t rv,
            struct tree *patch, store_done done, void *ctx)
{
    struct store_op *op = op_new(OP_PATCH, kind, &(struct store_opts){.rv = rv}, done, ctx);

    op->tree = patch;
    op->key = store_key(ns, name);
    enqueue(st, op);
}

void
store_mutate(struct store *st, enum kind kind, const char *ns, const char *name, uint64_t rv,
             store_mutate_fn fn, store_done done, void *ctx)
{
    store_mutate_opts(st, kind, ns, name, &(struct store_opts){.rv = rv}, fn, done, ctx);
}

void
store_mutate_opts(struct store *st, enum kind kind, const char *ns, const char *name,
                  const struct store_opts *o, store_mutate_fn fn, store_done done, void *ctx)
{
    struct store_op *op = op_new(OP_MUTATE, kind, o, done, ctx);

    op->fn = fn;
    op->key = store_key(ns, name);
    enqueue(st, op);
}

void
store_delete(struct store *st, enum kind kind, const char *ns, const char *name, const char *uid,
             uint64_t rv, store_done done, void *ctx)
{
    store_delete_opts(st, kind, ns, name, &(struct store_opts){.uid = uid, .rv = rv}, done, ctx);
}

void
store_delete_opts(struct store *st, enum kind kind, const char *ns, const char *name,
                  const struct store_opts *o, store_done done, void *ctx)
{
    struct store_op *op = op_new(OP_DELETE, kind, o, done, ctx);

    op->key = store_key(ns, name);
    enqueue(st, op);
}

static struct store_op *
op_new(enum store_op_type type, enum kind kind, const struct store_opts *o, store_done done,
       void *ctx)
{
    struct store_op *op = xcalloc(1, sizeof(*op));

    op->type = type;
    op->kind = kind;
    op->uid = o->uid && *o->uid ? xstrdup(o->uid) : NULL;
    op->rv = o->rv;
    op->dry_run = o->dry_run;
    op->check = o->check;
    op->done = done;
    op->ctx = ctx;
    return op;
}

static void
op_free(struct store_op *op)
{
    free(op->key);
    free(op->uid);
    tree_free(op->tree);
    store_object_unref(op->old_obj);
    store_object_unref(op->obj);
    free(op);
}

/* Whether an object of this kind can have such a name and namespace. */
static int
check_target(struct store_op *op, const char *ns, const char *name)
{
    const struct kind_info *ki = kind_info(op->kind);

    if (op->kind == KIND_NONE || !ki || !ki->stored)
        return err_set(&op->err, -EINVAL, "apiVersion and kind do not name a kind that is stored");
    if (!*name)
        return err_set(&op->err, -EINVAL, "%s: metadata.name: want a name", ki->name);
    if (ki->namespaced && !*ns)
        return err_set(&op->err, -EINVAL, "%s %s: metadata.namespace: want a namespace", ki->name,
                       name);
    if (!ki->namespaced && *ns)
        return err_set(&op->err, -EINVAL, "%s %s: metadata.namespace: the kind has none", ki->name,
                       name);
    if (strchr(name, '/') || strchr(ns, '/'))
        return err_set(&op->err, -EINVAL, "%s %s: '/' is not allowed in a name", ki->name, name);
    return 0;
}

/* --- groups --- */
static void
enqueue(struct store *st, struct store_op *op)
{
    *st->queue_tail = op;
    st->queue_tail = &op->next;
    arm(st);
}

static void
arm(struct store *st)
{
    if (st->queue && !st->timer && !st->in_flight && !st->closing)
        st->timer = loop_timer_add(st->loop, 0, on_timer, st);
}

static void
on_timer(void *ctx)
{
    struct store *st = ctx;

    st->timer = NULL;
    form_batch(st);
}

static void
form_batch(struct store *st)
{
    st->batch_len = st->writes_len = 0;
    st->overlay = strmap_new();
    while (st->queue && st->batch_len < STORE_BATCH_WRITES) {
        struct store_op *op = st->queue;

        if (op->check && st->writes_len > 0)
            break; /* it must see what is before it as committed */
        st->queue = op->next;
        if (!st->queue)
            st->queue_tail = &st->queue;
        store_eval(st, op);
        st->batch[st->batch_len++] = op;
        if (op->rc || !op->changed || op->dry_run)
            continue;
        st->writes[st->writes_len++] = (struct store_write){op->kind, op->removed, op->obj};

        AUTO_FREE char *key = overlay_key(op->kind, op->key);

        strmap_put(st->overlay, key, op);
    }
    strmap_free(st->overlay, NULL);
    st->overlay = NULL;
    st->in_flight = true;
    if (st->writes_len > 0)
        st->backend->commit(st->impl, st->writes, st->writes_len, st->next_rv);
    else
        store_committed(st, 0, NULL);
}

const struct store_object *
store_newest(struct store *st, enum kind kind, const char *key)
{
    AUTO_FREE char *k = overlay_key(kind, key);
    const struct store_op *op = strmap_get(st->overlay, k);

    if (op)
        return op->removed ? NULL : op->obj;
    return store_index_get(&st->index[kind], key);
}

static char *
overlay_key(enum kind kind, const char *key)
{
    return xasprintf("%d/%s", (int)kind, key);
}

void
store_committed(struct store *st, int rc, const struct err *err)
{
    size_t len = st->batch_len;

    for (size_t i = 0; i < len; i++) {
        struct store_op *op = st->batch[i];

        if (rc && op->rc == 0) {
            op->rc = rc;
            if (err)
                op->err = *err;
            else
                err_set(&op->err, rc, "%s", strerror(-rc));
        }
        if (op->rc == 0 && op->changed && !op->dry_run)
            apply(st, op);
        if (op->done && !st->closing)
            op->done(op->ctx, &(struct store_result){
                                  .rc = op->rc,
                                  .obj = op->rc == 0 && op->obj ? op->obj->tree : NULL,
                                  .changed = op->rc == 0 && op->changed,
                                  .removed = op->rc == 0 && op->removed,
                                  .err = &op->err,
                              });
        op_free(op);
    }
    st->batch_len = 0;
    st->in_flight = false;
    arm(st);
}

static void
apply(struct store *st, const struct store_op *op)
{
    struct store_index *ix = &st->index[op->kind];

    if (op->removed)
        store_index_del(ix, op->key);
    else
        store_index_put(ix, store_object_ref(op->obj));
    st->rv = op->obj->rv;
    if (!st->closing)
        store_events_publish(st, op);
}

/* --- opening and closing --- */
struct store *
store_new(struct loop *loop, const struct store_backend *backend, uint64_t seed)
{
    struct store *st = xcalloc(1, sizeof(*st));

    st->loop = loop;
    st->backend = backend;
    st->queue_tail = &st->queue;
    if (seed == 0 && rng_secret(&seed, sizeof(seed)) != 0)
        abort();
    rng_seed(&st->rng, seed);
    return st;
}

void
store_load(struct store *st, struct store_object *o)
{
    store_index_put(&st->index[o->kind], o);
    store_load_rv(st, o->rv);
}

void
store_load_rv(struct store *st, uint64_t rv)
{
    if (rv > st->rv)
        st->rv = st->next_rv = st->past_floor = rv;
}

void
store_free(struct store *st)
{
    if (!st)
        return;
    st->closing = true;
    loop_timer_del(TAKE_PTR(st->timer));
    if (st->in_flight)
        st->backend->wait(st->impl);
    while (st->queue) {
        struct store_op *op = st->queue;

        st->queue = op->next;
        op_free(op);
    }
    st->backend->close(st->impl);
    store_events_done(st);
    for (int k = 0; k < KIND_COUNT; k++)
        store_index_done(&st->index[k]);
    free(st);
}
