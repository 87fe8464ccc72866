/* libvirt's CPU map: which features a named model has. See labeller.h and labeller_int.h. */
#include <errno.h>
#include <string.h>

#include "sched/labeller_int.h"
#include "sched/labeller_xml.h"

static void add_models(const struct xml_element *parent, struct labeller_models *models,
                       struct arena *a);
static void add_model(const struct xml_element *e, struct labeller_models *models, struct arena *a);
static const struct labeller_model *find(const struct labeller_models *models, const char *name);

int
labeller_read_map(const struct labeller_text *text, struct labeller_models *models, struct arena *a,
                  struct err *err)
{
    struct xml_element *root;
    int rc = xml_parse(text, "cpus", &root, a, err);

    if (rc != 0)
        return rc;
    add_models(root, models, a);
    /* one file for all architectures, as libvirt had it before 4.10 */
    for (const struct xml_element *e = xml_child(root, "arch"); e; e = xml_again(e))
        if (strcmp(xml_attr(e, "name"), "x86") == 0)
            add_models(e, models, a);
    if (models->len > LABELLER_MAX_MODELS)
        return err_set(err, -EINVAL, "%s:%zu:%zu: more than %d models in the CPU map", text->name,
                       root->line, root->column, LABELLER_MAX_MODELS);
    return 0;
}

bool
labeller_map_features(const struct labeller_models *models, const char *name, struct strmap *set,
                      const char **ret_missing)
{
    const struct labeller_model *m = find(models, name);

    if (!m)
        return false;
    for (int depth = 0; m && depth < LABELLER_MAX_PARENTS; depth++) {
        const char *parent = m->parent;

        for (size_t i = 0; i < m->features.len; i++)
            strmap_put(set, m->features.items[i], set);
        m = parent ? find(models, parent) : NULL;
        if (parent && (!m || depth + 1 == LABELLER_MAX_PARENTS))
            *ret_missing = parent;
    }
    return true;
}

static void
add_models(const struct xml_element *parent, struct labeller_models *models, struct arena *a)
{
    for (const struct xml_element *e = xml_child(parent, "model"); e; e = xml_again(e))
        if (*xml_attr(e, "name"))
            add_model(e, models, a);
}

static void
add_model(const struct xml_element *e, struct labeller_models *models, struct arena *a)
{
    struct labeller_model m = {.name = xml_attr(e, "name")};
    const struct xml_element *parent = xml_child(e, "model");
    size_t len = 0;

    if (parent && *xml_attr(parent, "name"))
        m.parent = xml_attr(parent, "name");
    for (const struct xml_element *f = xml_child(e, "feature"); f; f = xml_again(f))
        len++;
    m.features.items = arena_calloc(a, len, sizeof(*m.features.items));
    for (const struct xml_element *f = xml_child(e, "feature"); f; f = xml_again(f)) {
        /* what libvirt put in or took out later is not part of what every such host has */
        if (*xml_attr(f, "name") && strcmp(xml_attr(f, "added"), "yes") != 0 &&
            strcmp(xml_attr(f, "removed"), "yes") != 0)
            m.features.items[m.features.len++] = xml_attr(f, "name");
    }
    if (models->len == models->cap) {
        size_t cap = models->cap > 0 ? 2 * models->cap : 64;
        struct labeller_model *items = arena_calloc(a, cap, sizeof(*items));

        if (models->len > 0)
            memcpy(items, models->items, models->len * sizeof(*items));
        models->items = items;
        models->cap = cap;
    }
    models->items[models->len++] = m;
}

static const struct labeller_model *
find(const struct labeller_models *models, const char *name)
{
    for (size_t i = 0; i < models->len; i++)
        if (strcmp(models->items[i].name, name) == 0)
            return &models->items[i];
    return NULL;
}
