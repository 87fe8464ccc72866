/* Every domain that is made is one that libvirt takes: its schema and its parser, by test:///default; with
 * LIBVIRT_XML_URI=qemu:///system QEMU's driver as well, down to the command line that it would run
 * (tests/system/test_libvirt_xml.sh starts such a libvirtd). Skipped where there is no libvirt. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "tests/handler/xml_rows.h"

#define CALLS(X)                   \
    X(virConnectOpen)              \
    X(virConnectClose)             \
    X(virConnectDomainXMLToNative) \
    X(virDomainDefineXMLFlags)     \
    X(virDomainUndefineFlags)      \
    X(virDomainGetXMLDesc)         \
    X(virDomainFree)               \
    X(virSetErrorFunc)             \
    X(virGetLastErrorMessage)

static struct {
#define POINTER(name) __typeof__(name) *name;
    CALLS(POINTER)
} lib;
static virConnectPtr conn;
static bool qemu;

static void
quiet(void *ctx, virErrorPtr error)
{
    (void)ctx;
    (void)error;
}

static int
connect_libvirt(void **state)
{
    const char *uri = getenv("LIBVIRT_XML_URI");
    void *so = dlopen("libvirt.so.0", RTLD_NOW | RTLD_LOCAL);

    (void)state;
    if (!so)
        return 0;
#define RESOLVE(name)                       \
    *(void **)&lib.name = dlsym(so, #name); \
    if (!lib.name)                          \
        return -1;
    CALLS(RESOLVE)
    lib.virSetErrorFunc(NULL, quiet);
    qemu = uri != NULL;
    conn = lib.virConnectOpen(uri ? uri : "test:///default");
    return conn ? 0 : -1;
}

static int
leave(void **state)
{
    (void)state;
    if (conn)
        lib.virConnectClose(conn);
    return 0;
}

/* The test driver knows one type of domain, of one architecture. */
static void
for_test_driver(const char *xml, struct sb *out)
{
    static const char *const swaps[][2] = {{"type='kvm'", "type='test'"},
                                           {"type='qemu'", "type='test'"},
                                           {"arch='x86_64'", "arch='i686'"}};

    while (*xml) {
        size_t i = 0;

        while (i < ARRAY_LEN(swaps) && strncmp(xml, swaps[i][0], strlen(swaps[i][0])) != 0)
            i++;
        if (i < ARRAY_LEN(swaps)) {
            sb_puts(out, swaps[i][1]);
            xml += strlen(swaps[i][0]);
        } else {
            sb_putc(out, *xml++);
        }
    }
}

static void
try_row(const struct xml_row *row, const char *xml)
{
    virDomainPtr d = lib.virDomainDefineXMLFlags(conn, xml, VIR_DOMAIN_DEFINE_VALIDATE);
    struct lv_xml_ident id;

    if (!d)
        fail_msg("%s: %s\n%s", row->name, lib.virGetLastErrorMessage(), xml);
    AUTO_FREE char *back = lib.virDomainGetXMLDesc(d, VIR_DOMAIN_XML_SECURE);

    assert_non_null(back);
    assert_true(lv_xml_ident(back, &id)); /* libvirt kept it */
    assert_string_equal(id.uid, XML_ROW_UID);
    if (lib.virDomainUndefineFlags(d, qemu ? VIR_DOMAIN_UNDEFINE_NVRAM : 0) != 0)
        fail_msg("%s: undefine: %s", row->name, lib.virGetLastErrorMessage());
    lib.virDomainFree(d);
    if (!qemu)
        return;
    AUTO_FREE char *command = lib.virConnectDomainXMLToNative(conn, "qemu-argv", xml, 0);

    if (!command)
        fail_msg("%s: no command line: %s\n%s", row->name, lib.virGetLastErrorMessage(), xml);
    assert_non_null(strstr(command, "memory-backend-memfd"));
}

static void
taken_by_libvirt(void **state)
{
    (void)state;
    if (!conn) {
        print_message("no libvirt on this host\n");
        skip();
    }
    bool has_firmware = access("/usr/share/qemu/firmware", F_OK) == 0;

    for (size_t i = 0; i < xml_rows_len; i++) {
        AUTO_SB struct sb swapped = SB_INIT;
        struct xml_rig r = {0};

        xml_row_run(&xml_rows[i], &r);
        assert_int_equal(r.rc, 0);
        if (qemu && !has_firmware && strstr(sb_str(&r.xml), "firmware='efi'")) {
            print_message("not tried, package ovmf is not there: %s\n", xml_rows[i].name);
            xml_rig_done(&r);
            continue;
        }
        if (qemu && xml_rows[i].host) {
            xml_rig_done(&r);
            continue;
        }
        if (qemu)
            sb_puts(&swapped, sb_str(&r.xml));
        else
            for_test_driver(sb_str(&r.xml), &swapped);
        try_row(&xml_rows[i], sb_str(&swapped));
        xml_rig_done(&r);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(taken_by_libvirt)};

    return cmocka_run_group_tests(tests, connect_libvirt, leave);
}
