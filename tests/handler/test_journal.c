/* handler: the journal's files survive being cut at any point, and damage is named, never guessed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/sb.h"
#include "handler/journal.h"

static char dir[64];

static int
setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/drover-journal-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    return fs_rmtree(dir, NULL);
}

struct seen {
    size_t n;
    struct journal last;
};

static int
collect(void *ctx, const struct journal *j)
{
    struct seen *s = ctx;

    s->n++;
    s->last = *j;
    return 0;
}

static void
put(const char *name, const char *text)
{
    AUTO_FREE char *path = xasprintf("%s/vms/%s", dir, name);

    AUTO_FREE char *vms = xasprintf("%s/vms", dir);

    assert_int_equal(fs_mkdirs(vms, 0700, NULL), 0);
    assert_int_equal(fs_replace(path, text, strlen(text), 0600, NULL), 0);
}

static void
test_round_trip(void **state)
{
    struct journal j = {.uid = "u-1",
                        .namespace_ = "shop",
                        .name = "db",
                        .cluster = "c",
                        .generation = 7,
                        .migration_uid = "m",
                        .reason = "because \"quoted\""};
    struct seen s = {0};
    struct err err = {0};

    (void)state;
    assert_int_equal(journal_load_all(dir, collect, &s, &err), 0);
    assert_int_equal(s.n, 0);
    for (int st = 0; st < JOURNAL_STATE_COUNT; st++) {
        j.state = (enum journal_state)st;
        j.hypervisor = (enum hv_kind)(st % HV_KIND_COUNT);
        assert_int_equal(journal_write(dir, &j, &err), 0);
        s = (struct seen){0};
        assert_int_equal(journal_load_all(dir, collect, &s, &err), 0);
        assert_int_equal(s.n, 1);
        assert_memory_equal(&s.last, &j, sizeof j);
    }
    /* A crash between writing and renaming leaves a .tmp: the old content counts. */
    put("u-1.json.tmp", "{\"uid\":");
    s = (struct seen){0};
    assert_int_equal(journal_load_all(dir, collect, &s, &err), 0);
    assert_int_equal(s.n, 1);
    assert_int_equal(journal_remove(dir, "u-1", &err), 0);
    assert_int_equal(journal_remove(dir, "u-1", &err), 0);
    s = (struct seen){0};
    assert_int_equal(journal_load_all(dir, collect, &s, &err), 0);
    assert_int_equal(s.n, 0);
}

static void
test_damage(void **state)
{
    static const struct {
        const char *name, *text, *says;
    } rows[] = {
        {"empty", "", "u.json"},
        {"cut", "{\"uid\":\"u\",\"names", "u.json"},
        {"no uid", "{\"namespace\":\"n\",\"name\":\"v\",\"state\":\"running\",\"generation\":1}",
         "uid"},
        {"no name", "{\"uid\":\"u\",\"namespace\":\"n\",\"state\":\"running\",\"generation\":1}",
         "name"},
        {"unknown state",
         "{\"uid\":\"u\",\"namespace\":\"n\",\"name\":\"v\",\"state\":\"dancing\",\"generation\":"
         "1}",
         "dancing"},
        {"no generation",
         "{\"uid\":\"u\",\"namespace\":\"n\",\"name\":\"v\",\"state\":\"running\"}", "generation"},
        {"negative generation",
         "{\"uid\":\"u\",\"namespace\":\"n\",\"name\":\"v\",\"state\":\"running\",\"generation\":-"
         "1}",
         "generation"},
        {"unknown hypervisor",
         "{\"uid\":\"u\",\"namespace\":\"n\",\"name\":\"v\",\"state\":\"running\",\"generation\":1,"
         "\"hypervisor\":\"xen\"}",
         "xen"},
        {"a list", "[]", "uid"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct seen s = {0};
        struct err err = {0};

        put("u.json", rows[i].text);
        if (journal_load_all(dir, collect, &s, &err) == 0 || s.n != 0)
            fail_msg("%s: was taken", rows[i].name);
        if (!strstr(err_msg(&err), rows[i].says))
            fail_msg("%s: %s", rows[i].name, err_msg(&err));
    }
}

/* Files of before there was a choice are of native guests. */
static void
test_old(void **state)
{
    struct seen s = {0};
    struct err err = {0};

    (void)state;
    put("u.json", "{\"uid\":\"u\",\"namespace\":\"n\",\"name\":\"v\",\"state\":\"running\","
                  "\"generation\":1}");
    assert_int_equal(journal_load_all(dir, collect, &s, &err), 0);
    assert_int_equal(s.n, 1);
    assert_int_equal(s.last.hypervisor, HV_NATIVE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_old),
    };

    return cmocka_run_group_tests_name("handler.journal", tests, setup, teardown);
}
