/* What a VirtualMachineInstance's spec may hold when libvirt runs it: every field, and what becomes of it.
 * One table, so that nothing is dropped without a word: a field that is not in it is refused, and a test
 * sees to it that each that is made changes the domain. docs/vm-manifests.md tells people the same. */
#include "handler/libvirt_xml_fields.h"

#include <stdio.h>
#include <string.h>

#include "handler/libvirt_xml_int.h"

#define PATH_BYTES 512

static void walk(struct lv_xml *x, const struct tree *t, const char *shown, const char *plain);
static void walk_item(struct lv_xml *x, const struct tree *t, const char *shown, const char *plain);
static bool asks_for_nothing(const struct tree *t);
static void refuse_unknown(struct lv_xml *x, const char *shown, const char *parent);

/* "[]" stands for a list's items. REFUSED fields may be there as long as they ask for nothing (false, an
 * empty list, null). */
static const struct lv_xml_field fields[] = {
#define MADE(path)                \
    {                             \
        path, LV_FIELD_MADE, NULL \
    }
#define INTO(path)                \
    {                             \
        path, LV_FIELD_INTO, NULL \
    }
#define CLUSTER(path)                \
    {                                \
        path, LV_FIELD_CLUSTER, NULL \
    }
#define REFUSED(path, why)          \
    {                               \
        path, LV_FIELD_REFUSED, why \
    }
#include "handler/libvirt_xml_fields.def"
};

const struct lv_xml_field *
lv_xml_field_table(size_t *ret_len)
{
    *ret_len = ARRAY_LEN(fields);
    return fields;
}

const struct lv_xml_field *
lv_xml_field_find(const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (strcmp(fields[i].path, path) == 0)
            return &fields[i];
    return NULL;
}

void
lv_xml_fields(struct lv_xml *x)
{
    walk(x, x->spec, "spec", "spec");
}

/* shown is the path with the numbers of items, plain as the table has it. */
static void
walk(struct lv_xml *x, const struct tree *t, const char *shown, const char *plain)
{
    if (tree_type(t) == TREE_STRING && !xw_can_hold(tree_get_string(t, "")))
        lv_refuse(x, LV_INVALID, "%s: has control characters, or is no UTF-8", shown);
    for (size_t i = 0; i < tree_len(t) && x->rc == 0; i++) {
        char s[PATH_BYTES], p[PATH_BYTES];
        bool list = tree_type(t) == TREE_LIST;
        int n = list ? snprintf(s, sizeof s, "%s[%zu]", shown, i)
                     : snprintf(s, sizeof s, "%s.%s", shown, tree_key_at(t, i));
        int m = list ? snprintf(p, sizeof p, "%s[]", plain)
                     : snprintf(p, sizeof p, "%s.%s", plain, tree_key_at(t, i));

        if ((size_t)n >= sizeof s || (size_t)m >= sizeof p)
            refuse_unknown(x, shown, plain);
        else if (list)
            walk(x, tree_at(t, i), s, p);
        else
            walk_item(x, tree_at(t, i), s, p);
    }
}

static void
walk_item(struct lv_xml *x, const struct tree *t, const char *shown, const char *plain)
{
    const struct lv_xml_field *f = lv_xml_field_find(plain);

    if (tree_type(t) == TREE_NULL)
        return;
    if (!f) {
        const char *dot = strrchr(plain, '.');
        AUTO_FREE char *parent = xstrndup(plain, (size_t)(dot - plain));

        refuse_unknown(x, shown, parent);
    } else if (f->fate == LV_FIELD_REFUSED) {
        if (!asks_for_nothing(t))
            lv_refuse(x, LV_UNSUPPORTED, "%s: %s", shown, f->why);
    } else if (f->fate == LV_FIELD_INTO || f->fate == LV_FIELD_MADE) {
        walk(x, t, shown, plain);
    }
}

/* {} asks: upstream's way to say yes. */
static bool
asks_for_nothing(const struct tree *t)
{
    switch (tree_type(t)) {
    case TREE_BOOL:
        return !tree_get_bool(t, true);
    case TREE_LIST:
        return tree_len(t) == 0;
    case TREE_MAP:
        return !tree_get_bool(tree_get(t, "enabled"), true);
    case TREE_STRING:
        return !*tree_get_string(t, "");
    default:
        return false;
    }
}

/* Says what is known beside it. */
static void
refuse_unknown(struct lv_xml *x, const char *shown, const char *parent)
{
    AUTO_SB struct sb names = SB_INIT;
    size_t len = strlen(parent);

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const char *rest = fields[i].path + len;

        if (strncmp(fields[i].path, parent, len) == 0 && *rest == '.' && !strpbrk(rest + 1, ".[") &&
            fields[i].fate != LV_FIELD_REFUSED)
            sb_printf(&names, "%s%s", names.len ? ", " : "", rest + 1);
    }
    lv_refuse(x, LV_UNSUPPORTED, "%s: is not made here: allowed are %s", shown,
              names.len ? sb_str(&names) : "no fields");
}
