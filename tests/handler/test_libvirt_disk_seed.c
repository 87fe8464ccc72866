/* Cloud-init data, and its image read back. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/sb.h"
#include "handler/libvirt_disk_seed.h"

#define VMI(more) "{metadata: {name: db, namespace: shop, uid: u1}, spec: {" more "}}"

/* The clock that libarchive looks at. */
static time_t now = 1700000000;

time_t
time(time_t *t)
{
    if (t)
        *t = now;
    return now;
}

static struct tree *
yaml(const char *text)
{
    struct tree *docs = NULL, *t;

    assert_int_equal(tree_from_yaml("test", text, strlen(text), &docs, NULL), 0);
    t = tree_list_take(docs, 0);
    tree_free(docs);
    return t;
}

static struct lv_seed *
seed(const char *vmi_text, const char *source_text, bool drive)
{
    AUTO_TREE struct tree *vmi = yaml(vmi_text);
    AUTO_TREE struct tree *source = yaml(source_text);
    struct hv_refusal why = {0};
    struct lv_seed *s = NULL;

    if (lv_seed_new(vmi, "seed", source, drive, &s, &why))
        fail_msg("%s: %s", why.reason, why.text);
    return s;
}

static const struct lv_seed_file *
file(const struct lv_seed *s, const char *path)
{
    for (size_t i = 0; i < s->len; i++)
        if (strcmp(s->files[i].path, path) == 0)
            return &s->files[i];
    return NULL;
}

static void
file_is(const struct lv_seed *s, const char *path, const char *want, size_t len)
{
    const struct lv_seed_file *f = file(s, path);

    assert_non_null(f);
    assert_int_equal(f->len, len);
    assert_memory_equal(f->data, want, len);
}

static void
test_data(void **state)
{
    static const struct {
        const char *name, *vmi, *source, *meta, *user, *network;
        bool drive;
    } rows[] = {
        {"plain text", VMI(""), "{userData: '#cloud-config'}",
         "{\"instance-id\":\"db.shop\",\"local-hostname\":\"db\"}\n", "#cloud-config", NULL, false},
        {"base64, with line ends and padding", VMI(""), "{userDataBase64: \"aGVs\\nbG8=\\n\"}",
         "{\"instance-id\":\"db.shop\",\"local-hostname\":\"db\"}\n", "hello", NULL, false},
        {"plain text wins", VMI(""), "{userData: a, userDataBase64: '!'}",
         "{\"instance-id\":\"db.shop\",\"local-hostname\":\"db\"}\n", "a", NULL, false},
        {"network data alone", VMI("domain: {firmware: {uuid: 5-6}}"),
         "{networkDataBase64: 'bmV0dw=='}", "{\"instance-id\":\"5-6\",\"local-hostname\":\"db\"}\n",
         "", "netw", false},
        {"the host's name up to its first dot", VMI("hostname: web.example.org"), "{userData: a}",
         "{\"instance-id\":\"db.shop\",\"local-hostname\":\"web\"}\n", "a", NULL, false},
        {"config drive", VMI(""), "{userData: a, networkData: n}",
         "{\"instance_id\":\"db.shop\",\"local_hostname\":\"db\",\"hostname\":\"db\",\"uuid\":"
         "\"db.shop\"}\n",
         "a", "n", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool drive = rows[i].drive;
        struct lv_seed *s = seed(rows[i].vmi, rows[i].source, drive);

        assert_string_equal(s->label, drive ? "config-2" : "cidata");
        file_is(s, drive ? "openstack/latest/meta_data.json" : "meta-data", rows[i].meta,
                strlen(rows[i].meta));
        file_is(s, drive ? "openstack/latest/user_data" : "user-data", rows[i].user,
                strlen(rows[i].user));
        if (rows[i].network)
            file_is(s, drive ? "openstack/latest/network_data.json" : "network-config",
                    rows[i].network, strlen(rows[i].network));
        assert_int_equal(s->len, rows[i].network ? 3 : 2);
        lv_seed_free(s);
    }
}

static void
test_refused(void **state)
{
    static const struct {
        const char *source, *reason, *text;
    } rows[] = {
        {"{}", "InvalidVolume", "cloud-init without data"},
        {"{userData: ''}", "InvalidVolume", "cloud-init without data"},
        {"{secretRef: {name: s}}", "UnsupportedField",
         "seed: secretRef: there are no Secrets here"},
        {"{userData: a, networkDataSecretRef: {name: s}}", "UnsupportedField",
         "networkDataSecretRef: there are no Secrets here: want networkData or networkDataBase64"},
        {"{userData: a, vendorData: b}", "UnsupportedField", "vendorData is not supported"},
        {"{userDataBase64: 'a'}", "InvalidVolume", "userDataBase64 is not base64"},
        {"{userDataBase64: 'aGVsbG8'}", "InvalidVolume", "is not base64"},
        {"{userDataBase64: 'aGVs=bG8'}", "InvalidVolume", "is not base64"},
        {"{userDataBase64: 'aG=='}", NULL, NULL},
        {"{userDataBase64: 'a==='}", "InvalidVolume", "is not base64"},
        {"{userDataBase64: 'aGVsbG8===='}", "InvalidVolume", "is not base64"},
        {"{userDataBase64: '===='}", "InvalidVolume", "is not base64"},
        {"{networkDataBase64: 'aG_s'}", "InvalidVolume", "networkDataBase64 is not base64"},
    };
    AUTO_TREE struct tree *vmi = yaml(VMI(""));

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_TREE struct tree *source = yaml(rows[i].source);
        struct hv_refusal why = {0};
        struct lv_seed *s = NULL;
        int rc = lv_seed_new(vmi, "seed", source, false, &s, &why);

        if (rc != (rows[i].reason ? -EINVAL : 0) ||
            (rc && (strcmp(why.reason, rows[i].reason) != 0 || !strstr(why.text, rows[i].text))))
            fail_msg("%s: %d %s: %s", rows[i].source, rc, why.reason, why.text);
        lv_seed_free(s);
    }
}

static void
test_too_much(void **state)
{
    AUTO_TREE struct tree *vmi = yaml(VMI(""));
    AUTO_TREE struct tree *source = tree_map();
    AUTO_FREE char *text = xcalloc(1, (1 << 20) + 2);
    struct hv_refusal why = {0};
    struct lv_seed *s = NULL;

    (void)state;
    memset(text, 'x', 1 << 20);
    tree_set(source, "userData", tree_string(text));
    assert_int_equal(lv_seed_new(vmi, "seed", source, false, &s, &why), 0);
    lv_seed_free(s);
    text[1 << 20] = 'x';
    tree_set(source, "userData", tree_string(text));
    assert_int_equal(lv_seed_new(vmi, "seed", source, false, &s, &why), -EINVAL);
    assert_non_null(strstr(why.text, "1048577 bytes of cloud-init data"));
}

/* Whether the image holds the seed's files, by the names that one of its two name spaces gives. */
static void
check_image(const struct sb *image, const struct lv_seed *s, const char *options)
{
    struct archive *a = archive_read_new();
    struct archive_entry *e;
    size_t seen = 0;

    archive_read_support_format_iso9660(a);
    assert_int_equal(archive_read_set_options(a, options), ARCHIVE_OK);
    assert_int_equal(archive_read_open_memory(a, image->buf, image->len), ARCHIVE_OK);
    while (archive_read_next_header(a, &e) == ARCHIVE_OK) {
        const struct lv_seed_file *f = file(s, archive_entry_pathname(e));
        AUTO_FREE char *data = NULL;

        if (archive_entry_filetype(e) == AE_IFDIR)
            continue;
        if (!f)
            fail_msg("%s: %s is in the image", options, archive_entry_pathname(e));
        assert_int_equal(archive_entry_size(e), f->len);
        data = xcalloc(1, f->len + 1);
        assert_int_equal(archive_read_data(a, data, f->len), f->len);
        assert_memory_equal(data, f->data, f->len);
        seen++;
    }
    assert_int_equal(seen, s->len);
    archive_read_free(a);
}

static void
test_image(void **state)
{
    (void)state;
    for (int drive = 0; drive < 2; drive++) {
        /* gzip'd user data has zero bytes in it */
        struct lv_seed *s = seed(VMI(""), "{userDataBase64: 'AAECAwQ=', networkData: net}", drive);
        AUTO_SB struct sb image = SB_INIT;
        AUTO_SB struct sb again = SB_INIT;
        const char *label = drive ? "config-2  " : "cidata  ";
        struct err err = {0};

        if (lv_seed_image(s, &image, &err))
            fail_msg("%s", err_msg(&err));
        assert_int_equal(image.len % 4096, 0); /* for O_DIRECT on any disk */
        /* the primary volume descriptor: ECMA-119, section 8.4 */
        assert_memory_equal(image.buf + 0x8000, "\1CD001\1", 7);
        assert_memory_equal(image.buf + 0x8028, label, strlen(label));
        check_image(&image, s, "rockridge,!joliet");
        check_image(&image, s, "joliet,!rockridge");
        /* the target of a migration makes it later and elsewhere, and gets the same */
        now += 86400 * 400 + 3723;
        setenv("TZ", "<-0330>3:30", 1);
        tzset();
        assert_int_equal(lv_seed_image(s, &again, &err), 0);
        unsetenv("TZ");
        tzset();
        assert_int_equal(again.len, image.len);
        for (size_t i = 0; i < image.len; i++)
            if (image.buf[i] != again.buf[i])
                fail_msg("byte %zu differs", i);
        lv_seed_free(s);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_image),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
