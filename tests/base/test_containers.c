/* base: strings, arena, map, files, fault specs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/sb.h"
#include "base/strmap.h"

static void
test_err(void **state)
{
    struct err e = {0};

    (void)state;
    assert_int_equal(err_set(&e, -EINVAL, "x %d", 1), -EINVAL);
    assert_string_equal(err_msg(&e), "x 1");
    assert_int_equal(err_prefix(&e, -EIO, "file %s", "f"), -EINVAL);
    assert_string_equal(err_msg(&e), "file f: x 1");
    assert_int_equal(err_set(NULL, -EIO, "nobody reads this"), -EIO);
    e = (struct err){.code = -ENOENT};
    assert_string_equal(err_msg(&e), "No such file or directory");
}

static void
test_sb_and_arena(void **state)
{
    AUTO_SB struct sb sb = SB_INIT;
    struct arena *a = arena_new();

    (void)state;
    assert_string_equal(sb_str(&sb), "");
    for (int i = 0; i < 1000; i++)
        sb_printf(&sb, "%d,", i);
    assert_int_equal(sb.len, 3890);
    assert_int_equal(strlen(sb_str(&sb)), sb.len);
    for (size_t n = 0; n < 5000; n += 7) {
        char *p = arena_alloc(a, n);

        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, n);
    }
    assert_string_equal(arena_printf(a, "%s-%d", "a", 5), "a-5");
    assert_null(arena_strdup(a, NULL));
    arena_free(a);
}

/* The map against a plain array, over random puts and deletes: same content, insertion order. */
static void
test_strmap_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rng r;
        struct strmap *m = strmap_new();
        enum { KEYS = 200 };
        void *model[KEYS] = {0};
        size_t len = 0;

        rng_seed(&r, seed);
        for (int step = 0; step < 5000; step++) {
            size_t k = rng_below(&r, KEYS);
            char key[16];

            snprintf(key, sizeof key, "k%zu", k);
            if (rng_below(&r, 2)) {
                void *v = (void *)(uintptr_t)(step + 1);

                assert_ptr_equal(strmap_put(m, key, v), model[k]);
                len += model[k] == NULL;
                model[k] = v;
            } else {
                assert_ptr_equal(strmap_del(m, key), model[k]);
                len -= model[k] != NULL;
                model[k] = NULL;
            }
            assert_int_equal(strmap_len(m), len);
            assert_ptr_equal(strmap_get(m, key), model[k]);
        }

        size_t it = 0, seen = 0;
        const char *key;
        void *value;

        while (strmap_next(m, &it, &key, &value)) {
            assert_ptr_equal(model[atoi(key + 1)], value);
            seen++;
        }
        assert_int_equal(seen, len);
        strmap_free(m, NULL);
    }
}

static void
test_files(void **state)
{
    char dir[] = "/tmp/drover-test-XXXXXX", path[128], deep[160];
    AUTO_FREE char *buf = NULL;
    size_t len;
    struct err e = {0};

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/f", dir);
    assert_int_equal(fs_read_all(path, 10, &buf, &len, &e), -ENOENT);
    assert_non_null(strstr(err_msg(&e), path));
    assert_int_equal(fs_replace(path, "hello", 5, 0600, &e), 0);
    assert_int_equal(fs_replace(path, "other", 5, 0600, &e), 0);
    assert_int_equal(fs_read_all(path, 4, &buf, &len, &e), -EFBIG);
    assert_int_equal(fs_read_all(path, 5, &buf, &len, &e), 0);
    assert_string_equal(buf, "other");
    assert_int_equal(fs_mkdirs(path, 0700, &e), -ENOTDIR);
    snprintf(deep, sizeof deep, "%s/a/b/c", dir);
    assert_int_equal(fs_mkdirs(deep, 0700, &e), 0);
    assert_int_equal(fs_rmtree(dir, &e), 0);
    assert_int_equal(access(dir, F_OK), -1);
    assert_int_equal(fs_rmtree(dir, &e), 0);
    snprintf(deep, sizeof deep, "%s/missing/f", dir);
    assert_int_equal(fs_replace(deep, "x", 1, 0600, &e), -ENOENT);
}

static void
test_fault_specs(void **state)
{
    static const struct {
        const char *name, *spec;
        int rc;
    } rows[] = {
        {"plain", "src.round:log", 0},
        {"nth", "src.round@3:log,dst.stream:log", 0},
        {"no action", "src.round", -EINVAL},
        {"unknown action", "src.round:explode", -EINVAL},
        {"unknown point", "src.nowhere:kill", -EINVAL},
        {"nth zero", "src.round@0:kill", -EINVAL},
        {"nth is a word", "src.round@x:kill", -EINVAL},
        {"second is bad", "src.round:log,x:kill", -EINVAL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = {0};

        setenv("DROVER_FAULT", rows[i].spec, 1);
        if (fault_init(&e) != rows[i].rc)
            fail_msg("%s: %s", rows[i].name, err_msg(&e));
        if (rows[i].rc)
            assert_non_null(strstr(e.msg, "DROVER_FAULT"));
    }
    setenv("DROVER_FAULT", "xport.send.short@2:error", 1);
    assert_int_equal(fault_init(NULL), 0);
    assert_false(FAULT(XPORT_SEND_SHORT));
    assert_true(FAULT(XPORT_SEND_SHORT));
    assert_false(FAULT(XPORT_SEND_SHORT));
    unsetenv("DROVER_FAULT");
}

static void
test_rng(void **state)
{
    struct rng a, b;
    char u1[37], u2[37];

    (void)state;
    rng_seed(&a, 7);
    rng_seed(&b, 7);
    for (int i = 0; i < 100; i++) {
        uint64_t x = rng_below(&a, 10);

        assert_true(x < 10);
        assert_int_equal(x, rng_below(&b, 10));
    }
    rng_uuid(u1);
    rng_uuid(u2);
    assert_int_equal(strlen(u1), 36);
    assert_string_not_equal(u1, u2);
    assert_int_equal(u1[14], '4');
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err),          cmocka_unit_test(test_sb_and_arena),
        cmocka_unit_test(test_strmap_model), cmocka_unit_test(test_files),
        cmocka_unit_test(test_fault_specs),  cmocka_unit_test(test_rng),
    };

    return cmocka_run_group_tests_name("base.containers", tests, NULL, NULL);
}
