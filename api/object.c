/* What is done with whole objects: check and default them, say what is wrong, and the small things
 * that everybody asks of a tree that is an object. Decoding is in object_decode.c. */
#include "api/object.h"

#include <errno.h>
#include <string.h>

#include "api/limits.h"
#include "api/names.h"
#include "api/schema.h"
#include "api/tree_priv.h"

#define WARNINGS_MAX 200

static const struct kind_info *find_kind(struct check *c, const struct tree *obj);
static void suggest_version(struct sb *out, const char *kind);
static void fill_defaults(struct check *c, struct tree *obj);
static void check_size(struct check *c, const struct tree *obj);
static void check_same(struct check *c, const struct tree *old_obj, const struct tree *new_obj,
                       const char *const *keys, const char *why);
static void check_pvc_update(struct check *c, const struct tree *old_obj,
                             const struct tree *new_obj);
static void check_policy_update(struct check *c, const struct tree *old_obj,
                                const struct tree *new_obj);
static bool set_text(struct tree *map, const char *key, const char *value);

int
object_validate(struct tree *obj, unsigned flags, struct field_errors *errs, struct warnings *warn)
{
    struct check c = {.flags = flags, .errs = errs, .warn = warn};

    if (tree_type(obj) != TREE_MAP) {
        check_type(&c, obj, "want an object with apiVersion and kind");
        return -EINVAL;
    }
    c.kind = find_kind(&c, obj);
    if (!c.kind)
        return -EINVAL;
    object_convert(&c, obj);
    fill_defaults(&c, obj);
    schema_check(schema_of(c.kind->kind), &c, obj);
    check_size(&c, obj);
    return errs->len > 0 ? -EINVAL : 0;
}

int
object_validate_update(const struct tree *old_obj, const struct tree *new_obj,
                       struct field_errors *errs)
{
    struct check c = {.errs = errs, .kind = object_kind(new_obj)};
    enum kind kind = c.kind ? c.kind->kind : KIND_NONE;

    check_same(&c, old_obj, new_obj, (const char *const[]){"kind", NULL}, "field is immutable");
    check_same(&c, old_obj, new_obj, (const char *const[]){"metadata", "name", NULL},
               "field is immutable");
    check_same(&c, old_obj, new_obj, (const char *const[]){"metadata", "namespace", NULL},
               "field is immutable");
    if (*object_uid(new_obj))
        check_same(&c, old_obj, new_obj, (const char *const[]){"metadata", "uid", NULL},
                   "field is immutable");
    if (kind == KIND_VMIM)
        check_same(&c, old_obj, new_obj, (const char *const[]){"spec", NULL},
                   "update of Migration object's spec is restricted");
    if (kind == KIND_VMI)
        check_same(&c, old_obj, new_obj, (const char *const[]){"spec", NULL},
                   "update of VMI object is restricted");
    if (kind == KIND_MAINTENANCE)
        check_same(&c, old_obj, new_obj, (const char *const[]){"spec", "nodeName", NULL},
                   "updating spec.NodeName isn't allowed");
    if (kind == KIND_PRIORITY) {
        check_same(&c, old_obj, new_obj, (const char *const[]){"value", NULL},
                   "may not be changed in an update.");
        check_policy_update(&c, old_obj, new_obj);
    }
    if (kind == KIND_PVC)
        check_pvc_update(&c, old_obj, new_obj);
    return errs->len > 0 ? -EINVAL : 0;
}

void
field_errors_text(const struct field_errors *e, const char *file, const struct tree *obj,
                  struct err *err)
{
    if (e->len == 0)
        return;
    const struct field_error *first = &e->items[0];
    AUTO_SB struct sb sb = SB_INIT;

    object_place_text(file, first->pos, obj, &sb);
    if (*first->path && strcmp(first->type, "UnknownField") != 0)
        sb_printf(&sb, "%s: ", first->path);
    sb_puts(&sb, first->message);
    if (e->len > 1)
        sb_printf(&sb, " (and %zu more)", e->len - 1);
    tree_one_line(sb.buf);
    err_set(err, -EINVAL, "%s", sb_str(&sb));
}

void
object_place_text(const char *file, struct tree_pos pos, const struct tree *obj, struct sb *out)
{
    const char *kind = tree_get_string(tree_get(obj, "kind"), "");

    if (file && pos.line > 0)
        sb_printf(out, "%s:%u:%u: ", file, pos.line, pos.column);
    else if (file)
        sb_printf(out, "%s: ", file);
    if (!*kind)
        return;
    sb_printf(out, "%.80s", kind);
    if (*object_name(obj)) {
        const char *ns = object_namespace(obj);

        sb_printf(out, " %.80s%s%.80s", ns, *ns ? "/" : "", object_name(obj));
    }
    sb_puts(out, ": ");
}

void
warnings_add(struct warnings *w, const char *text)
{
    if (!w || w->list.len > WARNINGS_MAX)
        return;
    if (!w->list.items)
        w->list.items = arena_calloc(w->arena, WARNINGS_MAX + 1, sizeof *w->list.items);
    w->list.items[w->list.len] =
        w->list.len == WARNINGS_MAX ? "and more warnings" : arena_strdup(w->arena, text);
    w->list.len++;
}

/* --- shorthands --- */

const char *
object_name(const struct tree *obj)
{
    return tree_find_string(obj, "", "metadata", "name", NULL);
}

const char *
object_namespace(const struct tree *obj)
{
    return tree_find_string(obj, "", "metadata", "namespace", NULL);
}

const char *
object_uid(const struct tree *obj)
{
    return tree_find_string(obj, "", "metadata", "uid", NULL);
}

const struct kind_info *
object_kind(const struct tree *obj)
{
    return kind_by_gvk(tree_get_string(tree_get(obj, "apiVersion"), ""),
                       tree_get_string(tree_get(obj, "kind"), ""));
}

const char *
object_label(const struct tree *obj, const char *key)
{
    return tree_find_string(obj, NULL, "metadata", "labels", key, NULL);
}

const char *
object_annotation(const struct tree *obj, const char *key)
{
    return tree_find_string(obj, NULL, "metadata", "annotations", key, NULL);
}

struct tree *
object_annotation_json(const struct tree *obj, const char *key)
{
    const char *json = object_annotation(obj, key);
    struct tree *t = NULL;

    return json && tree_from_json(json, strlen(json), &t, NULL) == 0 ? t : NULL;
}

const struct tree *
object_condition(const struct tree *obj, const char *type)
{
    const struct tree *list = tree_find(obj, "status", "conditions", NULL);

    for (size_t i = 0; i < tree_len(list); i++)
        if (strcmp(tree_find_string(tree_at(list, i), "", "type", NULL), type) == 0)
            return tree_at(list, i);
    return NULL;
}

bool
object_set_condition(struct tree *obj, const char *type, const char *status, const char *reason,
                     const char *message, int64_t now_us)
{
    struct tree *parent = tree_ensure_map(obj, "status");
    struct tree *list = tree_get(parent, "conditions"), *cond = NULL;
    char now[32];
    bool changed = false;

    if (tree_type(list) != TREE_LIST) {
        list = tree_list();
        tree_set(parent, "conditions", list);
    }
    for (size_t i = 0; i < tree_len(list) && !cond; i++)
        if (strcmp(tree_get_string(tree_get(tree_at(list, i), "type"), ""), type) == 0)
            cond = tree_at(list, i);
    if (!cond) {
        cond = tree_map();
        tree_set(cond, "type", tree_string(type));
        tree_append(list, cond);
    }
    if (set_text(cond, "status", status)) {
        time_format(now_us, false, now, sizeof now);
        set_text(cond, "lastTransitionTime", now);
        changed = true;
    }
    changed |= set_text(cond, "reason", reason);
    changed |= set_text(cond, "message", message);
    return changed;
}

struct tree *
vmi_from_vm(const struct tree *vm)
{
    const struct tree *template = tree_find(vm, "spec", "template", NULL);
    const struct tree *spec = tree_get(template, "spec");
    struct tree *vmi = tree_map(), *meta = tree_map(), *owner = tree_map(), *owners = tree_list();

    tree_set(vmi, "apiVersion", tree_string("kubevirt.io/v1"));
    tree_set(vmi, "kind", tree_string("VirtualMachineInstance"));
    tree_set(vmi, "metadata", meta);
    tree_set(meta, "name", tree_string(object_name(vm)));
    tree_set(meta, "namespace", tree_string(object_namespace(vm)));
    for (size_t i = 0; i < 2; i++) {
        const char *key = i == 0 ? "labels" : "annotations";
        const struct tree *map = tree_find(template, "metadata", key, NULL);

        if (tree_type(map) == TREE_MAP)
            tree_set(meta, key, tree_copy(map));
    }
    tree_set(owner, "apiVersion", tree_string("kubevirt.io/v1"));
    tree_set(owner, "kind", tree_string("VirtualMachine"));
    tree_set(owner, "name", tree_string(object_name(vm)));
    tree_set(owner, "uid", tree_string(object_uid(vm)));
    tree_set(owner, "controller", tree_bool(true));
    tree_set(owner, "blockOwnerDeletion", tree_bool(true));
    tree_append(owners, owner);
    tree_set(meta, "ownerReferences", owners);
    tree_set(vmi, "spec", tree_type(spec) == TREE_MAP ? tree_copy(spec) : tree_map());
    return vmi;
}

/* --- inside --- */

static const struct kind_info *
find_kind(struct check *c, const struct tree *obj)
{
    const struct tree *version = tree_get(obj, "apiVersion"), *kind = tree_get(obj, "kind");
    bool missing = false;

    for (size_t i = 0; i < 2; i++) {
        const char *key = i == 0 ? "apiVersion" : "kind";
        const struct tree *v = tree_get(obj, key);
        struct path p;

        check_enter(c, &p, key);
        if (v && tree_type(v) != TREE_STRING && tree_type(v) != TREE_NULL)
            check_type(c, v, "want a string");
        else if (!*tree_get_string(v, ""))
            check_required(c, tree_pos(v ? v : obj), NULL);
        missing |= !*tree_get_string(v, "");
        check_leave(c);
    }
    if (missing)
        return NULL;
    const struct kind_info *info =
        kind_by_gvk(tree_get_string(version, ""), tree_get_string(kind, ""));

    if (!info) {
        AUTO_SB struct sb sb = SB_INIT;

        sb_printf(&sb, "no matches for kind \"%.80s\" in version \"%.80s\"",
                  tree_get_string(kind, ""), tree_get_string(version, ""));
        suggest_version(&sb, tree_get_string(kind, ""));
        check_unknown_kind(c, tree_pos(version), sb_str(&sb));
    }
    return info;
}

static void
suggest_version(struct sb *out, const char *kind)
{
    const struct kind_info *k = kind_by_word(kind);

    if (k)
        sb_printf(out, " (want apiVersion: %s%s%s, kind: %s)", k->group, *k->group ? "/" : "",
                  k->version, k->name);
}

/* What an API server or a client would fill in before the object is looked at. */
static void
fill_defaults(struct check *c, struct tree *obj)
{
    struct tree *meta = tree_get(obj, "metadata");
    const char *name = tree_get_string(tree_get(meta, "name"), "");

    if (tree_type(meta) != TREE_MAP)
        return;
    if ((c->flags & VALIDATE_OFFLINE) && c->kind->namespaced &&
        tree_type(tree_get(meta, "namespace")) == TREE_NULL)
        tree_set(meta, "namespace",
                 tree_string(c->kind->kind == KIND_HCO ? DEFAULT_HCO_NAMESPACE : "default"));
    if (c->kind->kind == KIND_PRIORITY && tree_type(tree_get(obj, "preemptionPolicy")) == TREE_NULL)
        tree_set(obj, "preemptionPolicy", tree_string("PreemptLowerPriority"));
    if (c->kind->kind == KIND_NAMESPACE && *name) {
        struct tree *labels = tree_get(meta, "labels");

        if (tree_type(labels) == TREE_NULL)
            labels = tree_ensure_map(meta, "labels");
        if (tree_type(labels) == TREE_MAP)
            tree_set(labels, "kubernetes.io/metadata.name", tree_string(name));
    }
}

static void
check_size(struct check *c, const struct tree *obj)
{
    struct tree_size size;

    tree_measure(obj, &size);
    if (size.bytes > API_MAX_OBJECT_BYTES)
        check_too_long(c, tree_pos(obj), API_MAX_OBJECT_BYTES);
}

/* What stands at the path of keys must be the same in both. */
static void
check_same(struct check *c, const struct tree *old_obj, const struct tree *new_obj,
           const char *const *keys, const char *why)
{
    struct path p[4];
    size_t depth = 0;

    for (; keys[depth]; depth++) {
        old_obj = tree_get(old_obj, keys[depth]);
        new_obj = tree_get(new_obj, keys[depth]);
        check_enter(c, &p[depth], keys[depth]);
    }
    if (!tree_equal(old_obj, new_obj))
        check_forbidden(c, tree_pos(new_obj), why);
    while (depth-- > 0)
        check_leave(c);
}

/* As upstream: a claim's spec is fixed but for its size and the volume that it gets. */
static void
check_pvc_update(struct check *c, const struct tree *old_obj, const struct tree *new_obj)
{
    static const char *const free_fields[] = {"resources", "volumeAttributesClassName", NULL};
    AUTO_TREE struct tree *was = tree_copy(tree_get(old_obj, "spec"));
    AUTO_TREE struct tree *is = tree_copy(tree_get(new_obj, "spec"));
    struct path p;

    for (const char *const *f = free_fields; *f; f++) {
        if (tree_type(was) == TREE_MAP)
            tree_del(was, *f);
        if (tree_type(is) == TREE_MAP)
            tree_del(is, *f);
    }
    if (!*tree_get_string(tree_get(was, "volumeName"), "") && tree_type(is) == TREE_MAP)
        tree_del(is, "volumeName");
    if (tree_equal(was, is))
        return;
    check_enter(c, &p, "spec");
    check_forbidden(c, tree_pos(tree_get(new_obj, "spec")),
                    "spec is immutable after creation except resources.requests and "
                    "volumeAttributesClassName for bound claims");
    check_leave(c);
}

/* A PriorityClass' preemptionPolicy stays; to leave it out means the default. */
static void
check_policy_update(struct check *c, const struct tree *old_obj, const struct tree *new_obj)
{
    static const char key[] = "preemptionPolicy", dflt[] = "PreemptLowerPriority";
    const struct tree *is = tree_get(new_obj, key);

    if (strcmp(tree_get_string(tree_get(old_obj, key), dflt), tree_get_string(is, dflt)) != 0)
        check_field_invalid(c, new_obj, key, "field is immutable");
}

/* NULL takes the key away. True when that changed anything. */
static bool
set_text(struct tree *map, const char *key, const char *value)
{
    const struct tree *old = tree_get(map, key);

    if (!value)
        return tree_del(map, key);
    if (old && strcmp(tree_get_string(old, ""), value) == 0 && tree_type(old) == TREE_STRING)
        return false;
    tree_set(map, key, tree_string(value));
    return true;
}
