/* Names of disks inside a domain. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/cleanup.h"
#include "handler/libvirt_target_name.h"

static void
test_letters(void **state)
{
    static const struct {
        const char *bus;
        size_t index;
        const char *want;
    } rows[] = {
        {"virtio", 0, "vda"},   {"virtio", 25, "vdz"},      {"virtio", 26, "vdaa"},
        {"sata", 27, "sdab"},   {"scsi", 701, "sdzz"},      {"usb", 702, "sdaaa"},
        {"virtio", 1, "vdb"},   {"sata", 0, "sda"},         {"virtio", 51, "vdaz"},
        {"virtio", 52, "vdba"}, {"virtio", 18277, "vdzzz"}, {"virtio", 18278, "vdaaaa"},
    };
    char got[LV_TARGET_NAME_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        lv_target_name(rows[i].bus, rows[i].index, got);
        assert_string_equal(got, rows[i].want);
    }
    lv_target_name("virtio", SIZE_MAX, got); /* stays in its buffer */
    assert_true(strlen(got) < sizeof(got));
}

static void
test_each_prefix_counts_for_itself(void **state)
{
    static const char text[] =
        "[{\"name\":\"a\",\"disk\":{\"bus\":\"virtio\"}},{\"name\":\"b\",\"cdrom\":{\"bus\":"
        "\"sata\"}},"
        "{\"name\":\"c\"},{\"name\":\"d\",\"disk\":{\"bus\":\"virtio\"}},{\"name\":\"e\",\"lun\":"
        "{\"bus\":\"scsi\"}},{\"name\":\"f\",\"disk\":{}}]";
    static const char *const want[] = {"vda", "sda", "sdb", "vdb", "sdc", "sdd"};
    AUTO_TREE struct tree *disks = NULL;
    char got[LV_TARGET_NAME_SIZE];

    (void)state;
    assert_int_equal(tree_from_json(text, sizeof(text) - 1, &disks, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        lv_target_of_disk(disks, i, got);
        assert_string_equal(got, want[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_letters),
        cmocka_unit_test(test_each_prefix_counts_for_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
