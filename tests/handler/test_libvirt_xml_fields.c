/* Field by field: what becomes of it in the domain, and that nothing is dropped without a word. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/strmap.h"
#include "handler/libvirt_xml_fields.h"
#include "tests/handler/xml_rows.h"

static void
made(void **state)
{
    (void)state;
    for (size_t i = 0; i < xml_rows_len; i++) {
        const struct xml_row *row = &xml_rows[i];
        struct xml_rig r = {0};

        xml_row_run(row, &r);
        if (r.rc != 0)
            fail_msg("%s: refused: %s: %s", row->name, r.why.reason, r.why.text);
        assert_non_null(row->want[0].path);
        for (size_t k = 0; k < XML_ROW_WANTS && row->want[k].path; k++) {
            const char *got = xml_rig_at(&r, row->want[k].path), *want = row->want[k].value;

            if (!got != !want || (got && strcmp(got, want) != 0))
                fail_msg("%s: %s: %s, want %s\n%s", row->name, row->want[k].path,
                         got ? got : "nothing", want ? want : "nothing", sb_str(&r.xml));
        }
        xml_rig_done(&r);
    }
}

#include "tests/handler/xml_refused.h"

static void
refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused_rows); i++) {
        const struct refused_row *row = &refused_rows[i];
        AUTO_FREE char *yaml =
            xasprintf("%s%s%s", XML_ROW_HEAD, row->spec, row->nads ? row->nads : "\n");
        struct xml_rig r = {.config = xml_rig_config()};

        if (row->emulated)
            r.config.kvm = false, r.config.odd_memory = true;
        xml_rig_run(&r, yaml);
        if (r.rc == 0)
            fail_msg("%s: taken:\n%s", row->spec, sb_str(&r.xml));
        if (strncmp(r.why.text, row->text, strlen(row->text)) != 0 ||
            strcmp(r.why.reason, row->reason) != 0)
            fail_msg("%s: %s: %s; want %s: %s", row->spec, r.why.reason, r.why.text, row->reason,
                     row->text);
        assert_int_equal(r.rc, strcmp(row->reason, "UnsupportedField") == 0 ? -ENOTSUP : -EINVAL);
        xml_rig_done(&r);
    }
}

/* Notes the paths of all that is in t. */
static void
note(struct strmap *seen, const struct tree *t, const char *path)
{
    strmap_put(seen, path, seen);
    for (size_t i = 0; i < tree_len(t); i++) {
        AUTO_FREE char *below = tree_type(t) == TREE_LIST
                                    ? xasprintf("%s[]", path)
                                    : xasprintf("%s.%s", path, tree_key_at(t, i));

        note(seen, tree_at(t, i), below);
    }
}

static void
note_spec(struct strmap *seen, const char *spec)
{
    AUTO_FREE char *yaml = xasprintf("%s%s\n", XML_ROW_HEAD, spec);
    AUTO_TREE struct tree *docs = NULL;
    struct err err;

    if (tree_from_yaml("row", yaml, strlen(yaml), &docs, &err) != 0)
        fail_msg("%s", err.msg);
    note(seen, tree_get(tree_at(docs, 0), "spec"), "spec");
}

/* No field is said to be made, or refused, without a row that shows it. */
static void
no_field_without_a_row(void **state)
{
    struct strmap *taken = strmap_new(), *not_taken = strmap_new();
    const struct lv_xml_field *f;
    size_t len;

    (void)state;
    for (size_t i = 0; i < xml_rows_len; i++)
        note_spec(taken, xml_rows[i].spec);
    for (size_t i = 0; i < ARRAY_LEN(refused_rows); i++)
        note_spec(not_taken, refused_rows[i].spec);
    f = lv_xml_field_table(&len);
    for (size_t i = 0; i < len; i++) {
        const char *why = f[i].why;

        if (f[i].fate == LV_FIELD_MADE && !strmap_get(taken, f[i].path))
            fail_msg("%s is said to be made, and no row has it", f[i].path);
        if (f[i].fate == LV_FIELD_REFUSED && !strmap_get(not_taken, f[i].path))
            fail_msg("%s is said to be refused, and no row has it", f[i].path);
        assert_int_equal(f[i].fate == LV_FIELD_REFUSED, why != NULL);
        assert_ptr_equal(lv_xml_field_find(f[i].path), &f[i]); /* once */
    }
    strmap_free(taken, NULL);
    strmap_free(not_taken, NULL);
}

static const char *
mac_of(const char *uid, const char *nic, char ret[18])
{
    AUTO_FREE char *yaml = xasprintf(
        "kind: VirtualMachineInstance\nmetadata: {namespace: ns, name: vm, uid: %s}\nspec: "
        "{domain: "
        "{memory: {guest: 64Mi}, devices: {interfaces: [{name: %s, masquerade: {}}]}}, networks: "
        "[{name: %s, pod: {}}]}\n",
        uid, nic, nic);
    struct xml_rig r = {0};

    xml_rig_run(&r, yaml);
    assert_int_equal(r.rc, 0);
    memcpy(ret, xml_rig_at(&r, "devices/interface/mac@address"), 18);
    xml_rig_done(&r);
    return ret;
}

static void
mac_stays(void **state)
{
    char a[18], b[18];

    (void)state;
    assert_string_equal(mac_of("u1", "x", a), mac_of("u1", "x", b));
    assert_string_not_equal(mac_of("u1", "x", a), mac_of("u1", "y", b));
    assert_string_not_equal(mac_of("u1", "x", a), mac_of("u2", "x", b));
    assert_int_equal(strncmp(a, "02:", 3), 0);
}

static void
uuid_of_any_uid(void **state)
{
    static const char *const uids[] = {"x", "y", "not-a-uuid"};
    char first[37] = "";

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(uids); i++) {
        AUTO_FREE char *yaml =
            xasprintf("kind: VirtualMachineInstance\nmetadata: {namespace: ns, name: vm, uid: %s}\n"
                      "spec: {domain: {memory: {guest: 64Mi}}}\n",
                      uids[i]);
        struct xml_rig r = {0};
        const char *uuid;

        xml_rig_run(&r, yaml);
        uuid = xml_rig_at(&r, "uuid");
        assert_int_equal(strlen(uuid), 36);
        assert_int_equal(uuid[14], '8');
        assert_non_null(strchr("89ab", uuid[19]));
        assert_string_not_equal(uuid, first);
        memcpy(first, uuid, 37);
        xml_rig_done(&r);
    }
}

/* Its CPUs are chosen at the source, and come with its domain. */
static void
incoming_needs_no_cpus(void **state)
{
    static const char yaml[] = XML_ROW_HEAD "{domain: {memory: {guest: 64Mi}, cpu: {cores: 2, "
                                            "dedicatedCpuPlacement: true}}}\n";
    struct xml_rig r = {.want.incoming = true};

    (void)state;
    xml_rig_run(&r, yaml);
    assert_int_equal(r.rc, 0);
    assert_string_equal(xml_rig_at(&r, "vcpu"), "2");
    xml_rig_done(&r);
}

static void
counts_vcpus(void **state)
{
    static const struct {
        const char *domain;
        unsigned want;
    } rows[] = {{"{}", 1},
                {"{cpu: {sockets: 2, cores: 3, threads: 2}}", 12},
                {"{resources: {requests: {cpu: 500m}}}", 1},
                {"{resources: {requests: {cpu: \"2\"}, limits: {cpu: 2500m}}}", 3},
                {"{cpu: {model: x}, resources: {limits: {cpu: 4}}}", 4},
                {"{cpu: {cores: 2}, resources: {limits: {cpu: 4}}}", 2},
                {"{cpu: {cores: 0}}", 0},
                {"{cpu: {cores: 99999}}", 0}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_FREE char *yaml = xasprintf("spec: {domain: %s}\n", rows[i].domain);
        AUTO_TREE struct tree *docs = NULL;
        struct hv_refusal why = {0};

        assert_int_equal(tree_from_yaml("row", yaml, strlen(yaml), &docs, NULL), 0);
        if (lv_xml_vcpu_count(tree_at(docs, 0), &why) != rows[i].want)
            fail_msg("%s: want %u", rows[i].domain, rows[i].want);
        assert_int_equal(rows[i].want == 0, *why.text != '\0');
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made),
        cmocka_unit_test(refused),
        cmocka_unit_test(no_field_without_a_row),
        cmocka_unit_test(incoming_needs_no_cpus),
        cmocka_unit_test(counts_vcpus),
        cmocka_unit_test(mac_stays),
        cmocka_unit_test(uuid_of_any_uid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
