/* See xml_rig.h. */
#include "tests/handler/xml_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/object.h"
#include "sched/labeller_xml.h"

static void make_disks(struct xml_rig *r);
static const struct xml_element *step(const struct xml_element *e, const char *name, size_t len,
                                      size_t index);

struct lv_xml_config
xml_rig_config(void)
{
    return (struct lv_xml_config){.dir = "/g", .name = "ns_vm", .kvm = true};
}

void
xml_rig_run(struct xml_rig *r, const char *yaml)
{
    struct tree *nads = tree_list();
    struct err err;

    r->arena = arena_new();
    if (!r->config.dir)
        r->config = xml_rig_config();
    if (tree_from_yaml("test", yaml, strlen(yaml), &r->docs, &err) != 0)
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < tree_len(r->docs); i++) {
        struct tree *doc = tree_at(r->docs, i);

        if (strcmp(tree_find_string(doc, "", "kind", NULL), "VirtualMachineInstance") == 0)
            r->want.vmi = doc;
        else
            tree_append(nads, tree_copy(doc));
    }
    assert_non_null(r->want.vmi);
    r->want.nads = nads;
    make_disks(r);
    r->rc = lv_xml_domain(&r->config, &r->want, &r->disks, &r->xml, &r->why);
    tree_free(nads);
    if (r->rc != 0) {
        assert_int_equal(r->xml.len, 0);
        return;
    }
    struct labeller_text text = {"domain", sb_str(&r->xml)};
    struct xml_element *root;

    if (xml_parse(&text, "domain", &root, r->arena, &err) != 0)
        fail_msg("%s\n%s", err.msg, sb_str(&r->xml));
    r->root = root;
}

void
xml_rig_done(struct xml_rig *r)
{
    sb_done(&r->xml);
    tree_free(r->docs);
    arena_free(r->arena);
    *r = (struct xml_rig){0};
}

const char *
xml_rig_at(const struct xml_rig *r, const char *path)
{
    const struct xml_element *e = r->root;

    for (;;) {
        size_t len = strcspn(path, "/@["), index = 0;
        const char *rest = path + len;

        if (*rest == '[') {
            index = strtoul(rest + 1, NULL, 10);
            rest = strchr(rest, ']') + 1;
        }
        if (len > 0)
            e = step(e, path, len, index);
        if (!e)
            return NULL;
        if (*rest == '\0')
            return e->text;
        path = rest + 1;
        if (*rest == '/')
            continue;
        if (!*path)
            return "";
        for (size_t i = 0; i < e->attrs.len; i++)
            if (strcmp(e->attrs.items[i].key, path) == 0)
                return e->attrs.items[i].value;
        return NULL;
    }
}

static const struct xml_element *
step(const struct xml_element *e, const char *name, size_t len, size_t index)
{
    for (e = e->first; e; e = e->next)
        if (strlen(e->name) == len && strncmp(e->name, name, len) == 0 && index-- == 0)
            return e;
    return NULL;
}

/* What lv_disks_plan gives, without its rules. */
static void
make_disks(struct xml_rig *r)
{
    const struct tree *volumes = tree_find(r->want.vmi, "spec", "volumes", NULL);
    const struct tree *boot =
        tree_find(r->want.vmi, "spec", "domain", "firmware", "kernelBoot", NULL);

    r->disks.items = arena_calloc(r->arena, tree_len(volumes) + 1, sizeof(*r->disks.items));
    for (size_t i = 0; i < tree_len(volumes); i++) {
        const struct tree *v = tree_at(volumes, i);
        struct lv_disk *d = &r->disks.items[r->disks.len++];
        const char *claim = tree_find_string(v, "", "persistentVolumeClaim", "claimName", NULL);

        d->name = arena_strdup(r->arena, tree_find_string(v, "", "name", NULL));
        d->path = arena_printf(r->arena, "/disks/%s", d->name);
        d->format = "raw";
        d->read_only =
            tree_get_bool(tree_find(v, "persistentVolumeClaim", "readOnly", NULL), false);
        d->block = strncmp(claim, "block-", 6) == 0;
        if (tree_get(v, "hostDisk"))
            d->path = arena_strdup(r->arena, tree_find_string(v, "", "hostDisk", "path", NULL));
        if (tree_get(v, "containerDisk"))
            d->backing = arena_printf(r->arena, "/images/%s", d->name), d->backing_format = "raw";
        if (tree_get(v, "containerDisk") || tree_get(v, "emptyDisk"))
            d->ours = true, d->format = "qcow2",
            d->path = arena_printf(r->arena, "/g/%s.qcow2", d->name);
    }
    if (!boot)
        return;
    if (tree_find(boot, "container", "kernelPath", NULL))
        r->disks.boot.kernel = arena_printf(
            r->arena, "/images%s", tree_find_string(boot, "", "container", "kernelPath", NULL));
    if (tree_find(boot, "container", "initrdPath", NULL))
        r->disks.boot.initrd = arena_printf(
            r->arena, "/images%s", tree_find_string(boot, "", "container", "initrdPath", NULL));
    r->disks.boot.args = arena_strdup(r->arena, tree_find_string(boot, NULL, "kernelArgs", NULL));
}
