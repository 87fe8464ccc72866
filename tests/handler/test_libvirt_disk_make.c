/* Volumes as files, for real: in a directory of the test's own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/sb.h"
#include "handler/libvirt_disk.h"
#include "handler/libvirt_disk_image.h"

#define MIB (1 << 20)

struct world {
    char top[64], guest[96], images[96], data[96];
    struct tree *vmi, *pvcs;
    struct lv_disks d;
    struct hv_refusal why;
    struct err err;
};

static bool
have_qemu_img(void)
{
    static int have = -1;

    if (have < 0)
        have = system("qemu-img --version >/dev/null 2>&1") == 0;
    if (!have)
        print_message("qemu-img is not installed: overlays are not tested\n");
    return have;
}

static int
set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));

    strcpy(w->top, "/tmp/drover-disks-XXXXXX");
    assert_non_null(mkdtemp(w->top));
    snprintf(w->guest, sizeof(w->guest), "%s/guest", w->top);
    snprintf(w->images, sizeof(w->images), "%s/images", w->top);
    snprintf(w->data, sizeof(w->data), "%s/data", w->top);
    assert_int_equal(mkdir(w->guest, 0700) | mkdir(w->images, 0700) | mkdir(w->data, 0700), 0);
    *state = w;
    return 0;
}

static int
tear_down(void **state)
{
    struct world *w = *state;

    lv_disks_done(&w->d);
    tree_free(w->vmi);
    tree_free(w->pvcs);
    fs_rmtree(w->top, NULL);
    free(w);
    return 0;
}

static struct tree *
yaml(const char *text)
{
    struct tree *docs = NULL, *t;
    struct err err = {0};

    if (tree_from_yaml("test", text, strlen(text), &docs, &err))
        fail_msg("%s in %s", err_msg(&err), text);
    t = tree_list_take(docs, 0);
    tree_free(docs);
    return t;
}

/* volumes: %s stands for the test's directory, up to four times. */
static void
plan(struct world *w, bool incoming, const char *volumes, const char *disks)
{
    AUTO_SB struct sb text = SB_INIT;
    const struct lv_disk_config c = {.dir = w->guest, .images = w->images};
    struct hv_want want = {.pvcs = w->pvcs, .incoming = incoming};

    sb_puts(&text, "{metadata: {name: db, namespace: shop}, spec: {volumes: [");
    for (const char *at = volumes, *p; at; at = p ? p + 1 : NULL) {
        p = strchr(at, '^'); /* the directory */
        sb_add(&text, at, p ? (size_t)(p - at) : strlen(at));
        if (p)
            sb_puts(&text, w->top);
    }
    sb_printf(&text, "], domain: {devices: {disks: [%s]}}}}", disks ? disks : "");
    lv_disks_done(&w->d);
    tree_free(w->vmi);
    want.vmi = w->vmi = yaml(sb_str(&text));
    if (lv_disks_plan(&c, &want, &w->d, &w->why))
        fail_msg("%s: %s", w->why.reason, w->why.text);
}

static int
make(struct world *w, bool incoming)
{
    int rc;

    w->why = (struct hv_refusal){0};
    w->err = (struct err){0};
    rc = lv_disks_check(&w->d, incoming, &w->why, &w->err);

    return rc ? rc : lv_disks_make(&w->d, &w->why, &w->err);
}

static void
must_make(struct world *w, bool incoming)
{
    if (make(w, incoming))
        fail_msg("%s: %s", w->why.reason, err_msg(&w->err));
}

static void
must_refuse(struct world *w, bool incoming, int code, const char *reason, const char *text)
{
    char host[128] = "";

    gethostname(host, sizeof(host) - 1);
    if (make(w, incoming) != code || strcmp(w->why.reason, reason) != 0 ||
        !strstr(w->why.text, text) || !strstr(w->why.text, host))
        fail_msg("%d %s: %s (wanted %s: %s)", w->err.code, w->why.reason, w->why.text, reason,
                 text);
    assert_string_equal(w->why.text, err_msg(&w->err));
}

static char *
in(const struct world *w, const char *path)
{
    return xasprintf("%s/%s", w->top, path);
}

static void
put(const struct world *w, const char *path, const char *data, off_t size)
{
    AUTO_FREE char *p = in(w, path);
    AUTO_FREE char *dir = xstrndup(p, (size_t)(strrchr(p, '/') - p));

    assert_int_equal(fs_mkdirs(dir, 0700, NULL), 0);
    assert_int_equal(fs_replace(p, data, strlen(data), 0600, NULL), 0);
    assert_int_equal(truncate(p, size), 0);
}

static off_t
size_of(const struct world *w, const char *path)
{
    AUTO_FREE char *p = in(w, path);
    struct stat st;

    return stat(p, &st) ? -1 : st.st_size;
}

static mode_t
mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

/* One value of what qemu-img says about an image. */
static void
info_is(const char *path, const char *key, const char *want)
{
    AUTO_FREE char *cmd = xasprintf("qemu-img info --output=json '%s'", path);
    FILE *f = popen(cmd, "r");
    char buf[8192] = "";
    AUTO_TREE struct tree *t = NULL;
    AUTO_SB struct sb got = SB_INIT;
    size_t n = fread(buf, 1, sizeof(buf) - 1, f);

    assert_int_equal(pclose(f), 0);
    assert_int_equal(tree_from_json(buf, n, &t, NULL), 0);
    if (tree_get(t, key))
        tree_to_json(tree_get(t, key), 0, &got);
    assert_string_equal(sb_str(&got), want);
}

static void
test_empty_disk(void **state)
{
    struct world *w = *state;

    plan(w, false, "{name: tmp, emptyDisk: {capacity: 1048577}}", NULL);
    must_make(w, false);
    assert_int_equal(size_of(w, "guest/tmp.img"), 2 * MIB);
    must_make(w, false); /* again, after a start that was cut off */
    lv_disks_remove(&w->d);
    assert_int_equal(size_of(w, "guest/tmp.img"), -1);
    lv_disks_remove(&w->d);
}

static void
test_host_disk_that_we_make_is_the_users(void **state)
{
    struct world *w = *state;

    plan(w, false,
         "{name: a, hostDisk: {path: ^/data/new/a.img, type: DiskOrCreate, capacity: 3Mi}}", NULL);
    must_make(w, false);
    assert_int_equal(size_of(w, "data/new/a.img"), 3 * MIB);
    lv_disks_remove(&w->d);
    assert_int_equal(size_of(w, "data/new/a.img"), 3 * MIB);
    /* another start takes it as it is */
    plan(w, false,
         "{name: a, hostDisk: {path: ^/data/new/a.img, type: DiskOrCreate, capacity: 9Mi}}", NULL);
    must_make(w, false);
    assert_int_equal(size_of(w, "data/new/a.img"), 3 * MIB);
}

static void
test_claim(void **state)
{
    struct world *w = *state;
    AUTO_FREE char *pvcs = xasprintf(
        "[{metadata: {name: c, namespace: shop, annotations: {drover.io/path: %s/data/c}}, spec: "
        "{accessModes: [ReadWriteMany], resources: {requests: {storage: 2Mi}}}}]",
        w->top);
    AUTO_FREE char *dir = in(w, "data/c");
    AUTO_FREE char *disk = in(w, "data/c/disk.img");

    w->pvcs = yaml(pvcs);
    plan(w, false, "{name: a, persistentVolumeClaim: {claimName: c}}", NULL);
    must_refuse(w, false, -ENOENT, "VolumeNotFound", "/data/c is not there");
    assert_int_equal(mkdir(dir, 0700), 0);
    plan(w, true, "{name: a, persistentVolumeClaim: {claimName: c}}", NULL);
    must_refuse(w, true, -ENOENT, "VolumeNotFound", "/data/c/disk.img is not there");
    plan(w, false, "{name: a, persistentVolumeClaim: {claimName: c}}", NULL);
    must_make(w, false);
    assert_string_equal(w->d.items[0].path, disk);
    assert_int_equal(size_of(w, "data/c/disk.img"), 2 * MIB);
    plan(w, true, "{name: a, persistentVolumeClaim: {claimName: c}}", NULL);
    must_make(w, true);
    lv_disks_remove(&w->d);
    assert_int_equal(size_of(w, "data/c/disk.img"), 2 * MIB);
}

static void
test_container_disk(void **state)
{
    static const char volume[] = "{name: root, containerDisk: {image: 'quay.io/os:1'}}";
    struct world *w = *state;
    AUTO_FREE char *overlay = in(w, "guest/root.qcow2");
    AUTO_FREE char *image = in(w, "images/quay.io/os:1.raw");
    AUTO_FREE char *quoted = xasprintf("\"%s\"", image);

    plan(w, false, volume, NULL);
    must_refuse(w, false, -ENOENT, "VolumeNotFound", "os:1.qcow2, ");
    put(w, "images/quay.io/os:1.raw", "boot", 5 * MIB);
    if (!have_qemu_img())
        skip();
    must_make(w, false);
    assert_string_equal(w->d.items[0].backing, image);
    assert_string_equal(w->d.items[0].backing_format, "raw");
    info_is(overlay, "format", "\"qcow2\"");
    assert_int_equal(mode_of(overlay), 0600);
    info_is(overlay, "virtual-size", "5242880");
    info_is(overlay, "backing-filename", quoted);
    info_is(overlay, "backing-filename-format", "\"raw\"");
    lv_disks_remove(&w->d);
    assert_int_equal(size_of(w, "guest/root.qcow2"), -1);
    assert_int_equal(size_of(w, "images/quay.io/os:1.raw"), 5 * MIB);
    /* at a migration's target the same, and empty */
    plan(w, true, volume, NULL);
    must_make(w, true);
    info_is(overlay, "virtual-size", "5242880");
    assert_true(size_of(w, "guest/root.qcow2") < MIB);
}

static void
test_container_disk_in_a_directory(void **state)
{
    struct world *w = *state;
    AUTO_FREE char *link = in(w, "images/dir/out");

    put(w, "images/dir/disk/root.img", "x", MIB);
    plan(w, false, "{name: cd, containerDisk: {image: dir}}", "{name: cd, cdrom: {}}");
    must_make(w, false);
    assert_non_null(strstr(w->d.items[0].path, "/images/dir/disk/root.img"));
    lv_disks_remove(&w->d); /* none of it is ours */
    assert_int_equal(size_of(w, "images/dir/disk/root.img"), MIB);
    put(w, "images/dir/disk/second.img", "x", MIB);
    plan(w, false, "{name: cd, containerDisk: {image: dir}}", "{name: cd, cdrom: {}}");
    must_refuse(w, false, -EINVAL, "InvalidVolume", "holds 2 files");
    plan(w, false, "{name: cd, containerDisk: {image: dir, path: /disk/second.img}}",
         "{name: cd, cdrom: {}}");
    must_make(w, false);
    assert_int_equal(symlink("/etc/passwd", link), 0);
    plan(w, false, "{name: cd, containerDisk: {image: dir, path: out}}", "{name: cd, cdrom: {}}");
    must_refuse(w, false, -EINVAL, "InvalidVolume", "leads out of its image");
}

/* A qcow2 image from elsewhere that names a file of this host would show it to the guest. */
static void
test_image_with_a_backing_file(void **state)
{
    struct world *w = *state;
    AUTO_FREE char *base = in(w, "images/base.raw");
    AUTO_FREE char *evil = in(w, "images/evil.qcow2");
    AUTO_FREE char *bare = in(w, "images/bare");
    AUTO_FREE char *found = NULL;
    const char *format = NULL;
    struct err err = {0};

    put(w, "images/base.raw", "secret", MIB);
    put(w, "images/fake.qcow2", "QFI", MIB);
    plan(w, false, "{name: a, containerDisk: {image: fake}}", NULL);
    must_refuse(w, false, -EINVAL, "InvalidVolume", "is no qcow2 image");
    if (!have_qemu_img())
        skip();
    assert_int_equal(lv_image_create(evil, "qcow2", base, "raw", 0, &err), 0);
    plan(w, false, "{name: a, containerDisk: {image: evil}}", NULL);
    must_refuse(w, false, -EINVAL, "InvalidVolume", "refers to another file");
    /* without a suffix: by its first bytes */
    assert_int_equal(rename(evil, bare), 0);
    plan(w, false, "{name: a, containerDisk: {image: bare}}", NULL);
    must_refuse(w, false, -EINVAL, "InvalidVolume", "refers to another file");
    assert_int_equal(lv_image_create(bare, "qcow2", NULL, NULL, MIB, &err), 0);
    assert_int_equal(lv_image_find(bare, NULL, &found, &format, &err), 0);
    assert_string_equal(format, "qcow2");
}

static void
test_users_files(void **state)
{
    struct world *w = *state;
    AUTO_FREE char *dir = in(w, "data/dir");
    AUTO_FREE char *fifo = in(w, "data/fifo");

    plan(w, false, "{name: a, hostDisk: {path: ^/data/none, type: Disk}}", NULL);
    must_refuse(w, false, -ENOENT, "VolumeNotFound", "volume a: ");
    plan(w, true,
         "{name: a, hostDisk: {path: ^/data/none, type: DiskOrCreate, capacity: 1Mi, shared: "
         "true}}",
         NULL);
    must_refuse(w, true, -ENOENT, "VolumeNotFound", "/data/none is not there");
    assert_int_equal(size_of(w, "data/none"), -1);
    assert_int_equal(mkdir(dir, 0700), 0);
    plan(w, false, "{name: a, hostDisk: {path: ^/data/dir, type: Disk}}", NULL);
    must_refuse(w, false, -EINVAL, "InvalidVolume", "is a directory");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    plan(w, false, "{name: a, hostDisk: {path: ^/data/fifo, type: Disk}}", NULL);
    must_refuse(w, false, -EINVAL, "InvalidVolume", "is no disk");
    put(w, "data/empty", "", 0);
    plan(w, false, "{name: a, hostDisk: {path: ^/data/empty, type: Disk}}", NULL);
    must_refuse(w, false, -EINVAL, "InvalidVolume", "is empty");
}

/* The first disks are made when the last one turns out to be bad: nothing of ours stays. */
static void
test_errors_leave_nothing(void **state)
{
    struct world *w = *state;
    AUTO_FREE char *blocked = in(w, "guest/b.img");

    plan(
        w, false,
        "{name: a, emptyDisk: {capacity: 1Mi}}, {name: s, cloudInitNoCloud: {userData: x}}, {name: "
        "b, emptyDisk: {capacity: 1Mi}}",
        NULL);
    assert_int_equal(mkdir(blocked, 0700), 0);
    assert_int_not_equal(make(w, false), 0);
    assert_string_equal(w->why.reason, ""); /* not the manifest's fault */
    assert_non_null(strstr(err_msg(&w->err), "volume b"));
    assert_int_equal(size_of(w, "guest/a.img"), -1);
    assert_int_equal(size_of(w, "guest/s.iso"), -1);
}

static void
test_no_room(void **state)
{
    struct world *w = *state;
    AUTO_FREE char *volumes = NULL;
    struct statvfs fs;
    unsigned long long room;

    assert_int_equal(statvfs(w->guest, &fs), 0);
    room = (unsigned long long)fs.f_bavail * fs.f_frsize;
    /* each of them fits, and both do not */
    volumes = xasprintf("{name: a, emptyDisk: {capacity: %llu}}, {name: b, hostDisk: {path: "
                        "^/data/b, type: DiskOrCreate, capacity: %llu}}",
                        room / 5 * 3, room / 5 * 3);
    plan(w, false, volumes, NULL);
    must_refuse(w, false, -ENOSPC, "NotEnoughSpace", "has room for");
    assert_int_equal(size_of(w, "guest/a.img"), -1);
    assert_int_equal(size_of(w, "data/b"), -1);
}

/* A block device is the disk itself, for a claim in either mode; a directory is none in block mode. */
static void
test_block_device(void **state)
{
    struct world *w = *state;
    AUTO_FREE char *cmd = NULL, *pvcs = NULL;
    char dev[64] = "";
    FILE *f;

    put(w, "data/disk", "x", MIB);
    cmd = xasprintf("losetup -f --show '%s/data/disk' 2>/dev/null", w->top);
    f = popen(cmd, "r");
    if (!fgets(dev, sizeof(dev), f))
        dev[0] = '\0';
    pclose(f);
    dev[strcspn(dev, "\n")] = '\0';
    if (!*dev) {
        print_message("needs a loop device\n");
        skip();
    }
    for (int i = 0; i < 3; i++) {
        tree_free(w->pvcs);
        free(pvcs);
        pvcs =
            xasprintf("[{metadata: {name: c, namespace: shop, annotations: {drover.io/path: %s}}, "
                      "spec: {accessModes: [ReadWriteMany], volumeMode: %s}}]",
                      i == 2 ? w->data : dev, i == 0 ? "Filesystem" : "Block");
        w->pvcs = yaml(pvcs);
        plan(w, false, "{name: a, persistentVolumeClaim: {claimName: c}}", NULL);
        if (i == 2)
            break;
        must_make(w, false);
        assert_true(w->d.items[0].block);
        assert_string_equal(w->d.items[0].path, dev);
    }
    free(cmd);
    cmd = xasprintf("losetup -d %s", dev);
    assert_int_equal(system(cmd), 0);
    must_refuse(w, false, -EINVAL, "InvalidVolume", "is a directory");
}

/* Locks as QEMU takes them on an image that it writes to. */
static void
test_disk_in_use(void **state)
{
    struct world *w = *state;
    AUTO_FREE char *path = in(w, "data/a");
    struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};
    AUTO_FD int fd = -1;

    put(w, "data/a", "x", MIB);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
    plan(w, false, "{name: a, hostDisk: {path: ^/data/a, type: Disk}}", NULL);
    must_refuse(w, false, -EBUSY, "VolumeInUse", "in use by another VM");
    plan(w, false, "{name: a, hostDisk: {path: ^/data/a, type: Disk}}",
         "{name: a, disk: {bus: virtio}, shareable: true}");
    must_make(w, false);
    /* the source of a migration has it open */
    plan(w, true, "{name: a, hostDisk: {path: ^/data/a, type: Disk, shared: true}}", NULL);
    must_make(w, true);
    /* somebody who reads and wants no writers: another may read */
    l.l_start = 201;
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
    l.l_start = 101;
    l.l_type = F_UNLCK;
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
    plan(w, false, "{name: a, hostDisk: {path: ^/data/a, type: Disk}}", NULL);
    must_refuse(w, false, -EBUSY, "VolumeInUse", "in use by another VM");
    plan(w, false, "{name: a, hostDisk: {path: ^/data/a, type: Disk}}", "{name: a, cdrom: {}}");
    must_make(w, false);
}

static void
test_kernel_boot(void **state)
{
    struct world *w = *state;
    const struct lv_disk_config c = {.dir = w->guest, .images = w->images};
    struct hv_want want = {0};
    AUTO_FREE char *link = in(w, "images/k/initrd");

    w->vmi =
        yaml("{metadata: {name: db}, spec: {domain: {firmware: {kernelBoot: {container: {image: "
             "k, kernelPath: /kernel, initrdPath: /initrd}}}}}}");
    want.vmi = w->vmi;
    assert_int_equal(lv_disks_plan(&c, &want, &w->d, &w->why), 0);
    must_refuse(w, false, -ENOENT, "VolumeNotFound", "/images/k is not there");
    put(w, "images/k/kernel", "x", 4096);
    must_refuse(w, false, -ENOENT, "VolumeNotFound", "/images/k/initrd is not there");
    assert_int_equal(symlink("/etc/passwd", link), 0);
    must_refuse(w, false, -EINVAL, "InvalidVolume", "leads out of its image");
    assert_int_equal(unlink(link), 0);
    put(w, "images/k/initrd", "x", 4096);
    must_make(w, false);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_empty_disk),
        T(test_host_disk_that_we_make_is_the_users),
        T(test_claim),
        T(test_container_disk),
        T(test_container_disk_in_a_directory),
        T(test_image_with_a_backing_file),
        T(test_users_files),
        T(test_errors_leave_nothing),
        T(test_no_room),
        T(test_block_device),
        T(test_disk_in_use),
        T(test_kernel_boot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
