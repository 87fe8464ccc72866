/* The frame of a domain: what every guest has, its identity, and domains that are there already. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/handler/xml_rig.h"

#define UID  "0b2f1c3e-93d4-4d0c-9d2a-1f6a3c5b7d11"
#define HEAD "kind: VirtualMachineInstance\nmetadata: {namespace: ns, name: vm, uid: " UID "}\n"

static const char small[] = HEAD
    "spec:\n"
    "  domain:\n"
    "    cpu: {cores: 2}\n"
    "    memory: {guest: 64Mi}\n"
    "    firmware:\n"
    "      kernelBoot: {kernelArgs: \"fill=1 it's <&>\", container: {image: i, kernelPath: /k}}\n"
    "    devices:\n"
    "      disks: [{name: root, disk: {bus: virtio}}]\n"
    "      interfaces: [{name: default, masquerade: {}}]\n"
    "  networks: [{name: default, pod: {}}]\n"
    "  volumes: [{name: root, emptyDisk: {capacity: 1Gi}}]\n";

static void
every_guest(void **state)
{
    static const struct {
        const char *path, *want;
    } rows[] = {
        {"@type", "kvm"},
        {"name", "ns_vm"},
        {"uuid", UID},
        {"metadata/drover:vmi@uid", UID},
        {"memory", "65536"},
        {"memory@unit", "KiB"},
        {"memoryBacking/source@type", "memfd"},
        {"memoryBacking/access@mode", "shared"},
        {"memoryBacking/hugepages@", NULL},
        {"vcpu", "2"},
        {"cpu@mode", "host-model"},
        {"cpu/topology@cores", "2"},
        {"cpu/topology@sockets", "1"},
        {"os/type", "hvm"},
        {"os/type@machine", "q35"},
        {"os/kernel", "/images/k"},
        {"os/cmdline", "fill=1 it's <&>"},
        {"features/acpi@", ""},
        {"on_crash", "destroy"},
        {"on_reboot", "restart"},
        {"devices/disk/source@file", "/g/root.qcow2"},
        {"devices/disk/target@dev", "vda"},
        {"devices/disk/driver@cache", "none"},
        {"devices/interface@type", "user"},
        {"devices/interface/model@type", "virtio"},
        {"devices/serial@type", "unix"},
        {"devices/serial/source@path", "/g/console.sock"},
        {"devices/serial/log@file", "/g/console.log"},
        {"devices/channel/target@name", "org.qemu.guest_agent.0"},
        {"devices/memballoon@model", "virtio"},
        {"devices/graphics/listen@socket", "/g/vnc.sock"},
        {"devices/rng@", NULL},
        {"devices/controller@model", "none"},
        {"qemu:commandline@", NULL},
    };
    struct xml_rig r = {0};

    (void)state;
    xml_rig_run(&r, small);
    assert_int_equal(r.rc, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *got = xml_rig_at(&r, rows[i].path);

        if (!got != !rows[i].want || (got && strcmp(got, rows[i].want) != 0))
            fail_msg("%s: %s, want %s\n%s", rows[i].path, got ? got : "nothing",
                     rows[i].want ? rows[i].want : "nothing", sb_str(&r.xml));
    }
    xml_rig_done(&r);
}

static void
known_again(void **state)
{
    struct xml_rig r = {0};
    struct lv_xml_ident id;

    (void)state;
    xml_rig_run(&r, small);
    assert_true(lv_xml_ident(sb_str(&r.xml), &id));
    assert_string_equal(id.uid, UID);
    assert_string_equal(id.namespace_, "ns");
    assert_string_equal(id.name, "vm");
    xml_rig_done(&r);
}

static void
nobody_elses(void **state)
{
    static const char *const xmls[] = {
        "",
        "<domain",
        "<domain/>",
        "<domain><metadata/></domain>",
        "<domain><metadata><vmi namespace='a' name='b' uid='c'/></metadata></domain>",
        "<domain><metadata><d:vmi xmlns:d='" LV_METADATA_NS
        "' name='b' uid='c'/></metadata></domain>",
        "<domain><metadata><d:vmi xmlns:d='" LV_METADATA_NS
        "' namespace='a' name='b' uid=''/></metadata></domain>",
        "<domain><metadata><x><d:vmi xmlns:d='" LV_METADATA_NS
        "' namespace='a' name='b' uid='c'/></x></metadata></domain>",
        "<domain><d:vmi xmlns:d='" LV_METADATA_NS "' namespace='a' name='b' uid='c'/></domain>",
        "<!DOCTYPE x [<!ENTITY e 'c'>]><domain><metadata><d:vmi xmlns:d='" LV_METADATA_NS
        "' namespace='a' name='b' uid='&e;'/></metadata></domain>",
        "<domain><metadata><d:vmi xmlns:d='" LV_METADATA_NS "' namespace='a' name='b' "
        "uid='0123456789012345678901234567890123456789012345678901234567890"
        "123456789'/></metadata></domain>",
    };
    struct lv_xml_ident id;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(xmls); i++)
        if (lv_xml_ident(xmls[i], &id))
            fail_msg("taken for ours: %s", xmls[i]);
}

static void
cpu_of_a_domain(void **state)
{
    static const struct {
        const char *xml, *want;
    } rows[] = {
        {"<domain><cpu mode='custom'><model>Haswell</model></cpu></domain>",
         "<cpu mode='custom'><model>Haswell</model></cpu>"},
        {"<domain><name>x</name><cpu mode='host-passthrough'/></domain>",
         "<cpu mode='host-passthrough'/>"},
        {"<domain><x><cpu/></x></domain>", NULL},
        {"<domain><cpu></domain>", NULL},
        {"<domain/>", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_FREE char *got = lv_xml_cpu(rows[i].xml);

        if (!got != !rows[i].want || (got && strcmp(got, rows[i].want) != 0))
            fail_msg("%s: %s", rows[i].xml, got ? got : "nothing");
    }
}

static void
another_host(void **state)
{
    static const struct {
        const char *xml, *want;
    } rows[] = {
        {"<a path='/s/g/1/x'/><b>/s/g/1/y</b>", "<a path='/t&amp;/x'/><b>/t&amp;/y</b>"},
        {"<a path=\"/s/g/1/x\"/>", "<a path=\"/t&amp;/x\"/>"},
        {"<a path='/s/g/10/x'/>", "<a path='/s/g/10/x'/>"}, /* another guest's */
        {"<a path='/r/s/g/1/x'/>", "<a path='/r/s/g/1/x'/>"},
        {"/s/g/1/x", "/s/g/1/x"},
        {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_SB struct sb got = SB_INIT;

        lv_xml_relocate(rows[i].xml, "/s/g/1", "/t&", &got);
        assert_string_equal(sb_str(&got), rows[i].want);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_guest),  cmocka_unit_test(known_again),
        cmocka_unit_test(nobody_elses), cmocka_unit_test(cpu_of_a_domain),
        cmocka_unit_test(another_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
