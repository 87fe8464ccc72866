/* Whole manifests, as people write them (the fuzzer's seeds): the API takes them without a word, and each
 * becomes a domain, or the refusal that its author would expect. And docs/vm-manifests.md, by which they write
 * them, tells of every field what the table says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/object.h"
#include "handler/libvirt_xml_fields.h"
#include "tests/handler/xml_rig.h"

#define EXAMPLES "tests/fuzz/corpus/domain_xml/"

static void
with_swtpm(struct lv_xml_config *c)
{
    c->swtpm = true;
}

static void
emulated(struct lv_xml_config *c)
{
    c->swtpm = true;
    c->kvm = false;
}

static void
with_cpus(struct lv_xml_config *c)
{
    static const char *const cpus[] = {"2", "3"};

    c->cpuset = cpus;
    c->cpuset_len = 2;
    c->emulator_cpuset = "1";
}

static const struct {
    const char *file, *refusal; /* NULL: a domain, with: */
    struct {
        const char *path, *value;
    } want[8];
    void (*change)(struct lv_xml_config *c);
} rows[] = {
    {.file = "fedora.yaml",
     .want = {{"vcpu", "2"},
              {"memory", "1048576"},
              {"cpu@mode", "host-model"},
              {"devices/disk[0]/target@dev", "vda"},
              {"devices/disk[0]/backingStore/source@file", "/images/root"},
              {"devices/disk[1]/target@dev", "vdb"},
              {"devices/interface@type", "user"},
              {"devices/rng@model", "virtio"}}},
    {.file = "windows.yaml",
     .want = {{"uuid", "5d307ca9-b3ef-428c-8861-06e72d69f223"},
              {"features/hyperv/stimer/direct@state", "on"},
              {"clock/timer[0]@name", "hpet"},
              {"os/loader@secure", "yes"},
              {"devices/disk[1]@device", "cdrom"},
              {"devices/interface/source@bridge", "br-lan"},
              {"devices/interface/model@type", "e1000e"},
              {"devices/tpm@model", "tpm-crb"}},
     .change = with_swtpm},
    {.file = "windows.yaml", .refusal = "spec.domain.devices.tpm: this host has no swtpm"},
    {.file = "windows.yaml",
     .refusal = "spec.domain.features.hyperv: needs KVM, and guests are emulated on this host",
     .change = emulated},
    {.file = "dpdk.yaml",
     .want = {{"memoryBacking/hugepages/page@size", "1048576"},
              {"cpu@mode", "host-passthrough"},
              {"cputune/vcpupin[1]@cpuset", "3"},
              {"cputune/emulatorpin@cpuset", "1"},
              {"devices/disk@type", "block"},
              {"devices/disk/driver@queues", "2"},
              {"devices/interface/driver@queues", "2"},
              {"devices/memballoon@model", "none"}},
     .change = with_cpus},
    {.file = "dpdk.yaml",
     .refusal = "spec.domain.cpu.dedicatedCpuPlacement: this host has given 0 CPUs to 2 vCPUs"},
    {.file = "sriov.yaml",
     .refusal = "spec.domain.devices.interfaces[0].sriov: a virtual function stays on its host",
     .change = with_cpus},
    {.file = "gpu.yaml", .refusal = "spec.domain.devices.gpus: devices of the host"},
    {.file = "kernel.yaml",
     .want = {{"os/kernel", "/images/testguest.elf"},
              {"os/cmdline", "ws=32 rate=4"},
              {"devices/graphics@", NULL},
              {"devices/interface@", NULL},
              {"devices/memballoon@model", "none"},
              {"devices/serial/log@file", "/g/console.log"}}},
};

static char *
slurp(const char *path)
{
    FILE *f = fopen(path, "re");
    struct sb text = SB_INIT;
    char buf[4096];
    size_t n;

    if (!f)
        fail_msg("%s is not there: tests run in the repository's root", path);
    while ((n = fread(buf, 1, sizeof buf, f)) > 0)
        sb_add(&text, buf, n);
    fclose(f);
    return sb_steal(&text);
}

static void
api_takes(const char *file, const char *text)
{
    struct arena *a = arena_new();
    struct field_errors errs = {.arena = a};
    struct warnings warn = {.arena = a};
    AUTO_TREE struct tree *docs = NULL;
    struct err err;

    assert_int_equal(tree_from_yaml(file, text, strlen(text), &docs, &err), 0);
    for (size_t i = 0; i < tree_len(docs); i++)
        if (object_validate(tree_at(docs, i), VALIDATE_CREATE, &errs, &warn) != 0)
            fail_msg("%s: %s: %s", file, errs.items[0].path, errs.items[0].message);
    if (warn.list.len > 0)
        fail_msg("%s: %s", file, warn.list.items[0]);
    arena_free(a);
}

static void
examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_FREE char *path = xasprintf(EXAMPLES "%s", rows[i].file);
        AUTO_FREE char *text = slurp(path);
        struct xml_rig r = {.config = xml_rig_config()};

        api_takes(rows[i].file, text);
        if (rows[i].change)
            rows[i].change(&r.config);
        xml_rig_run(&r, text);
        if (!rows[i].refusal != (r.rc == 0) ||
            (rows[i].refusal && strncmp(r.why.text, rows[i].refusal, strlen(rows[i].refusal)) != 0))
            fail_msg("%s: %s; want %s", rows[i].file, r.rc == 0 ? sb_str(&r.xml) : r.why.text,
                     rows[i].refusal ? rows[i].refusal : "a domain");
        for (size_t k = 0; k < 8 && rows[i].want[k].path; k++) {
            const char *got = xml_rig_at(&r, rows[i].want[k].path), *want = rows[i].want[k].value;

            if (!got != !want || (got && strcmp(got, want) != 0))
                fail_msg("%s: %s: %s, want %s\n%s", rows[i].file, rows[i].want[k].path,
                         got ? got : "nothing", want ? want : "nothing", sb_str(&r.xml));
        }
        xml_rig_done(&r);
    }
}

/* A row of the page's tables: "| `field` | fate | ...", the field without "spec." before it. */
static void
documented(void **state)
{
    static const char *const fates[] = {[LV_FIELD_MADE] = "made",
                                        [LV_FIELD_CLUSTER] = "the cluster's",
                                        [LV_FIELD_REFUSED] = "refused"};
    AUTO_FREE char *page = slurp("docs/vm-manifests.md");
    const struct lv_xml_field *f;
    size_t len;

    (void)state;
    f = lv_xml_field_table(&len);
    for (size_t i = 0; i < len; i++) {
        if (f[i].fate == LV_FIELD_INTO)
            continue;
        AUTO_FREE char *want =
            xasprintf("\n| `%s` | %s |", f[i].path + strlen("spec."), fates[f[i].fate]);

        if (!strstr(page, want))
            fail_msg("docs/vm-manifests.md has no row%s", want);
    }
    for (const char *row = page; (row = strstr(row, "\n| `")); row++) {
        AUTO_FREE char *name = xstrndup(row + 4, strcspn(row + 4, "`"));
        AUTO_FREE char *path = xasprintf("spec.%s", name);

        if (!lv_xml_field_find(path))
            fail_msg("docs/vm-manifests.md tells of %s, which is unknown", path);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(examples), cmocka_unit_test(documented)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
