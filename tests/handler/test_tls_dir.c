/* A node's certificates: refused ones, and new ones without a restart. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/sb.h"
#include "handler/tls_dir.h"
#include "migrate/tls_pki.h"

static char root[] = "/tmp/drover-tls-dir-XXXXXX";

static char *
below(const char *name)
{
    return xasprintf("%s/%s", root, name);
}

static void
node(const char *ca, const char *name, const char *out, int days)
{
    AUTO_FREE char *ca_dir = below(ca);
    AUTO_FREE char *out_dir = below(out);
    struct err err = {0};

    if (tls_pki_ca(ca_dir, &err) != 0)
        assert_int_equal(err.code, -EEXIST);
    assert_int_equal(tls_pki_node(ca_dir, name, out_dir, days, &err), 0);
}

static int
get(struct tls_dir *d, int64_t *ret_days, struct err *err)
{
    struct tls_ctx *ctx;
    int rc = tls_dir_get(d, &ctx, err);

    if (rc == 0) {
        *ret_days = (tls_ctx_left_s(ctx) + 3600) / 86400;
        tls_ctx_unref(ctx);
    }
    return rc;
}

static void
test_none(void **state)
{
    struct tls_dir *d = tls_dir_new(NULL, "n1");
    struct err err = {0};
    int64_t days;

    (void)state;
    assert_int_equal(get(d, &days, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "--tls-dir"));
    assert_non_null(strstr(err.msg, "disableTLS"));
    tls_dir_free(d);
}

static void
test_another_node(void **state)
{
    AUTO_FREE char *dir = below("other");
    struct tls_dir *d = tls_dir_new(dir, "n1");
    struct err err = {0};
    int64_t days;

    (void)state;
    node("ca", "n2", "other", 10);
    assert_int_equal(get(d, &days, &err), -EACCES);
    assert_non_null(strstr(err.msg, "want the dNSName 'n1'"));
    assert_int_equal(get(d, &days, &err), -EACCES); /* again, without reading them again */
    tls_dir_free(d);
}

static void
test_rotation(void **state)
{
    AUTO_FREE char *dir = below("n1");
    AUTO_FREE char *key = below("n1/tls.key");
    AUTO_FREE char *cert = below("n1/tls.crt");
    struct tls_dir *d = tls_dir_new(dir, "n1");
    struct tls_ctx *old;
    struct err err = {0};
    int64_t days = 0;

    (void)state;
    assert_int_not_equal(get(d, &days, &err), 0); /* not there yet */
    node("ca", "n1", "n1", 10);
    assert_int_equal(get(d, &days, &err), 0);
    assert_int_equal(days, 10);
    assert_int_equal(tls_dir_get(d, &old, &err), 0);
    /* half of a rotation: the key is new, its certificate not there yet */
    node("ca", "n1", "half", 20);
    AUTO_FREE char *half_key = below("half/tls.key");
    AUTO_FREE char *half_cert = below("half/tls.crt");
    assert_int_equal(rename(half_key, key), 0);
    assert_int_equal(get(d, &days, &err), 0);
    assert_int_equal(days, 10);
    assert_int_equal(rename(half_cert, cert), 0);
    assert_int_equal(get(d, &days, &err), 0);
    assert_int_equal(days, 20);
    /* what began with the old ones keeps them */
    assert_int_equal((tls_ctx_left_s(old) + 3600) / 86400, 10);
    tls_ctx_unref(old);
    /* new ones of no use do not take the place of good ones, and gone ones neither */
    node("ca", "n1", "n1", -1);
    assert_int_equal(get(d, &days, &err), 0);
    assert_int_equal(days, 20);
    assert_int_equal(unlink(key), 0);
    assert_int_equal(get(d, &days, &err), 0);
    node("ca", "n1", "n1", 30);
    assert_int_equal(get(d, &days, &err), 0);
    assert_int_equal(days, 30);
    tls_dir_free(d);
}

static void
test_key_is_ours_alone(void **state)
{
    AUTO_FREE char *key = below("mode/tls.key");
    AUTO_FREE char *ca_key = below("ca/ca.key");
    struct stat st;

    (void)state;
    node("ca", "n1", "mode", 10);
    assert_int_equal(stat(key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(ca_key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_another_node),
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_key_is_ours_alone),
    };
    int failed;

    if (!mkdtemp(root))
        return 1;
    failed = cmocka_run_group_tests_name("certificates of a node", tests, NULL, NULL);
    fs_rmtree(root, NULL);
    return failed;
}
