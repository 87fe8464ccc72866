/* A VirtualMachineInstance in, a domain out. What must hold whatever the bytes: no crash; XML that is well
 * formed, known again, and unchanged by a move within the same directory; or a refusal that says why, with
 * nothing written. The same manifest gives the same domain. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/object.h"
#include "handler/libvirt_xml.h"
#include "sched/labeller_xml.h"

#define DISKS_MAX 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
static void try_instance(const struct tree *vmi, const struct tree *nads, bool kvm);
static void add_disks(const struct tree *vmi, struct lv_disks *d);
static void check_xml(const struct tree *vmi, const char *xml);
static void must(bool holds, const char *what);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_TREE struct tree *docs = NULL;
    struct err err;

    /* what libvirt says is not to be trusted either */
    AUTO_FREE char *text = xstrndup((const char *)data, size);
    AUTO_SB struct sb moved = SB_INIT;
    struct lv_xml_ident id;

    free(lv_xml_cpu(text));
    lv_xml_ident(text, &id);
    lv_xml_relocate(text, "/a", "/b", &moved);
    if (tree_from_yaml("fuzz", (const char *)data, size, &docs, &err) != 0)
        return 0;
    for (size_t i = 0; i < tree_len(docs); i++) {
        try_instance(tree_at(docs, i), docs, i % 2 == 0);
        if (object_kind(tree_at(docs, i)))
            continue;
        /* a spec alone is an instance as well: fewer bytes for the fuzzer to get right */
        AUTO_TREE struct tree *vmi = tree_map();

        tree_set(vmi, "spec", tree_copy(tree_at(docs, i)));
        try_instance(vmi, docs, true);
    }
    return 0;
}

static void
try_instance(const struct tree *vmi, const struct tree *nads, bool kvm)
{
    static const char *const cpus[] = {"1", "2"};
    const struct lv_xml_config c = {.dir = "/g & co",
                                    .name = "ns_vm",
                                    .kvm = kvm,
                                    .odd_memory = !kvm,
                                    .swtpm = kvm,
                                    .vm_bridge = kvm ? "br0" : NULL,
                                    .cpuset = cpus,
                                    .cpuset_len = 2};
    const struct hv_want w = {.vmi = vmi, .nads = nads};
    struct lv_disk items[DISKS_MAX];
    struct lv_disks disks = {.items = items};
    AUTO_SB struct sb xml = SB_INIT, again = SB_INIT;
    struct hv_refusal why = {0}, why_again = {0};
    int rc;

    add_disks(vmi, &disks);
    rc = lv_xml_domain(&c, &w, &disks, &xml, &why);
    must(lv_xml_domain(&c, &w, &disks, &again, &why_again) == rc, "the same answer twice");
    must(strcmp(sb_str(&xml), sb_str(&again)) == 0, "the same XML twice");
    must(rc == 0 || (xml.len == 0 && *why.reason && *why.text), "refused without a word");
    must(strcmp(why.text, why_again.text) == 0, "the same reason twice");
    if (rc == 0)
        check_xml(vmi, sb_str(&xml));
}

/* What a plan could give, with names that are the instance's own. */
static void
add_disks(const struct tree *vmi, struct lv_disks *d)
{
    const struct tree *volumes = tree_find(vmi, "spec", "volumes", NULL);
    /* borrowed for the call; the struct's texts are its owner's elsewhere */
    union {
        const char *in;
        char *out;
    } name;

    for (size_t i = 0; i < tree_len(volumes) && i < DISKS_MAX; i++) {
        name.in = tree_find_string(tree_at(volumes, i), "", "name", NULL);
        d->items[d->len++] = (struct lv_disk){.name = name.out,
                                              .path = name.out,
                                              .format = i % 2 ? "qcow2" : "raw",
                                              .block = i % 3 == 2,
                                              .read_only = i % 5 == 4};
    }
}

static void
check_xml(const struct tree *vmi, const char *xml)
{
    const struct labeller_text text = {"domain", xml};
    struct arena *a = arena_new();
    struct xml_element *root;
    AUTO_SB struct sb moved = SB_INIT;
    struct lv_xml_ident id;
    struct err err;

    if (xml_parse(&text, "domain", &root, a, &err) != 0) {
        fprintf(stderr, "%s\n%s", err.msg, xml);
        must(false, "well formed");
    }
    must(strcmp(xml_attr(xml_child(xml_child(root, "memoryBacking"), "access"), "mode"),
                "shared") == 0,
         "memory is shared");
    if (*object_uid(vmi) && strlen(object_uid(vmi)) < sizeof id.uid && *object_name(vmi) &&
        strlen(object_name(vmi)) < sizeof id.name && *object_namespace(vmi) &&
        strlen(object_namespace(vmi)) < sizeof id.namespace_) {
        must(lv_xml_ident(xml, &id), "known again");
        must(strcmp(id.uid, object_uid(vmi)) == 0, "by its uid");
    }
    lv_xml_relocate(xml, "/g & co", "/g & co", &moved);
    must(strcmp(sb_str(&moved), xml) == 0, "a move to where it is");
    arena_free(a);
}

static void
must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}
