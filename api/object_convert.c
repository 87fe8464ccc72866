/* Turns what is accepted, but not where or how it is stored, into what is: older apiVersions, and the
 * places where the documents print a VirtualMachine's placement rules (seeds-scheduling P14). Runs before
 * the check, and says in a warning what it did. */
#include "api/schema.h"

#include <string.h>

static void convert_version(struct check *c, struct tree *obj);
static void move_to_template(struct check *c, struct tree *spec, const char *key);

void
object_convert(struct check *c, struct tree *obj)
{
    static const char *const moved[] = {"nodeSelector", "affinity", "tolerations", "domain", NULL};
    struct tree *spec = tree_get(obj, "spec");
    struct path p;

    convert_version(c, obj);
    if (c->kind->kind != KIND_VM || tree_type(spec) != TREE_MAP)
        return;
    check_enter(c, &p, "spec");
    for (const char *const *key = moved; *key; key++)
        if (tree_get(spec, *key))
            move_to_template(c, spec, *key);
    check_leave(c);
}

static void
convert_version(struct check *c, struct tree *obj)
{
    const struct kind_info *k = c->kind;
    struct tree *old = tree_get(obj, "apiVersion");
    AUTO_FREE char *want = xasprintf("%s%s%s", k->group, *k->group ? "/" : "", k->version);

    if (strcmp(tree_get_string(old, ""), want) == 0)
        return;
    check_warn(c, "%s %s is an older version: it is taken as %s", tree_get_string(old, ""), k->name,
               want);
    struct tree *now = tree_string(want);

    tree_set_pos(now, tree_pos(old));
    tree_set(obj, "apiVersion", now);
}

static void
move_to_template(struct check *c, struct tree *spec, const char *key)
{
    struct tree *template = tree_get(spec, "template");
    struct tree *to = tree_get(template, "spec");
    const struct tree *there = tree_get(to, key);
    struct path p;

    if ((template && tree_type(template) != TREE_MAP) || (to && tree_type(to) != TREE_MAP))
        return; /* the check says what is wrong with them */
    check_enter(c, &p, key);
    if (there && !tree_equal(there, tree_get(spec, key))) {
        AUTO_FREE char *why =
            xasprintf("differs from spec.template.spec.%s: give it there only", key);

        check_forbidden(c, tree_pos(tree_get(spec, key)), why);
        tree_del(spec, key);
        check_leave(c);
        return;
    }
    check_warn(c, "is taken as spec.template.spec.%s, where it belongs", key);
    check_leave(c);
    struct tree *value = tree_take(spec, key);

    to = tree_ensure_map(tree_ensure_map(spec, "template"), "spec");
    tree_set(to, key, value);
}
