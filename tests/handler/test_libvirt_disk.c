/* Volumes of a manifest as files of a host: the decisions, without a file. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/sb.h"
#include "handler/libvirt_disk.h"
#include "handler/libvirt_disk_seed.h"

#define PVC(name, spec)       \
    "{metadata: {name: " name \
    ", namespace: shop}, spec: {resources: {requests: {storage: 1Gi}}, " spec "}}"
#define PV(name, spec) "{metadata: {name: " name "}, spec: {" spec "}}"
#define RWX            "accessModes: [ReadWriteMany]"
#define RWO            "accessModes: [ReadWriteOnce]"
#define CLAIM          "persistentVolumeClaim: {claimName: c}"

struct world {
    struct tree *vmi, *pvcs, *pvs;
    struct hv_want want;
    struct lv_disks disks;
    struct hv_refusal why;
};

static struct tree *
yaml(const char *text)
{
    struct tree *docs = NULL, *t;
    struct err err = {0};

    if (tree_from_yaml("test", text, strlen(text), &docs, &err))
        fail_msg("%s in %s", err_msg(&err), text);
    t = tree_len(docs) ? tree_list_take(docs, 0) : NULL;
    tree_free(docs);
    return t;
}

static int
plan(struct world *w, const char *volume, const char *disk, const char *pvcs, const char *pvs,
     const char *more, bool incoming)
{
    AUTO_FREE char *text = xasprintf(
        "{metadata: {name: db, namespace: shop, uid: u1}, spec: {volumes: [{name: d, %s}], domain: "
        "{devices: {disks: [{name: d%s%s}]}%s}}}",
        volume, disk ? ", " : "", disk ? disk : "", more ? more : "");
    AUTO_FREE char *claims = xasprintf("[%s]", pvcs ? pvcs : "");
    AUTO_FREE char *volumes = xasprintf("[%s]", pvs ? pvs : "");
    const struct lv_disk_config c = {.dir = "/state/guests/u1", .images = "/images"};

    *w = (struct world){.vmi = yaml(text), .pvcs = yaml(claims), .pvs = yaml(volumes)};
    w->want = (struct hv_want){.vmi = w->vmi, .pvcs = w->pvcs, .pvs = w->pvs, .incoming = incoming};
    return lv_disks_plan(&c, &w->want, &w->disks, &w->why);
}

static void
done(struct world *w)
{
    lv_disks_done(&w->disks);
    tree_free(w->vmi);
    tree_free(w->pvcs);
    tree_free(w->pvs);
}

static void
same(const char *got, const char *want, const char *row, const char *what)
{
    if ((got == NULL) != (want == NULL) || (got && strcmp(got, want) != 0))
        fail_msg("%s: %s is %s, not %s", row, what, got ? got : "NULL", want ? want : "NULL");
}

static void
test_plan(void **state)
{
    static const struct {
        const char *name, *volume, *disk, *pvcs, *pvs;
        const char *path, *format, *backing, *backing_format;
        uint64_t bytes;
        bool read_only, ours, shared, create;
        enum lv_disk_find find;
    } rows[] = {
        {.name = "claim on a hostPath volume",
         .volume = CLAIM,
         .pvcs = PVC("c", RWX ", volumeName: v"),
         .pvs = PV("other", "hostPath: {path: /no}") ", " PV("v", "hostPath: {path: /srv/c}"),
         .path = "/srv/c",
         .format = "raw",
         .bytes = 1 << 30,
         .shared = true,
         .create = true,
         .find = LV_FIND_CLAIM},
        {.name = "claim on a local volume in block mode",
         .volume = CLAIM,
         .pvcs = PVC("c", RWO ", volumeMode: Block, volumeName: v"),
         .pvs = PV("v", "local: {path: /dev/vg/c}"),
         .path = "/dev/vg/c",
         .format = "raw",
         .bytes = 1 << 30},
        {.name = "bound from the volume's side",
         .volume = CLAIM,
         .pvcs = PVC("c", RWX),
         .pvs = PV("v", "claimRef: {name: c, namespace: shop}, local: {path: /l}"),
         .path = "/l",
         .format = "raw",
         .bytes = 1 << 30,
         .shared = true,
         .create = true,
         .find = LV_FIND_CLAIM},
        {.name = "nfs, mounted where the volume's annotation says",
         .volume = CLAIM,
         .pvcs = PVC("c", RWX ", volumeName: v"),
         .pvs =
             "{metadata: {name: v, annotations: {drover.io/path: /mnt/nfs}}, spec: {nfs: {server: "
             "s, path: /e}}}",
         .path = "/mnt/nfs",
         .format = "raw",
         .bytes = 1 << 30,
         .shared = true,
         .create = true,
         .find = LV_FIND_CLAIM},
        {.name = "no volume: the claim's annotation; a format by annotation",
         .volume = CLAIM,
         .pvcs = "{metadata: {name: c, namespace: shop, annotations: {drover.io/path: /x/d.img, "
                 "drover.io/format: qcow2}}, spec: {" RWX "}}",
         .path = "/x/d.img",
         .format = "qcow2",
         .shared = true,
         .find = LV_FIND_CLAIM},
        {.name = "qcow2 by its name",
         .volume = CLAIM,
         .pvcs = PVC("c", RWX ", volumeName: v"),
         .pvs = PV("v", "local: {path: /x/d.qcow2}"),
         .path = "/x/d.qcow2",
         .format = "qcow2",
         .bytes = 1 << 30,
         .shared = true,
         .create = true,
         .find = LV_FIND_CLAIM},
        {.name = "read-only on many hosts",
         .volume = CLAIM,
         .pvcs = PVC("c", "accessModes: [ReadOnlyMany], volumeMode: Block, volumeName: v"),
         .pvs = PV("v", "local: {path: /dev/x}"),
         .path = "/dev/x",
         .format = "raw",
         .bytes = 1 << 30,
         .read_only = true,
         .shared = true},
        {.name = "a data volume's claim, as a CD-ROM",
         .volume = "dataVolume: {name: c}",
         .disk = "cdrom: {bus: sata}",
         .pvcs = PVC("c", RWX ", volumeMode: Block, volumeName: v"),
         .pvs = PV("v", "local: {path: /dev/x}"),
         .path = "/dev/x",
         .format = "raw",
         .bytes = 1 << 30,
         .read_only = true,
         .shared = true},
        {.name = "ephemeral over a claim",
         .volume = "ephemeral: {persistentVolumeClaim: {claimName: c}}",
         .pvcs = PVC("c", RWX ", volumeName: v"),
         .pvs = PV("v", "local: {path: /l}"),
         .path = "/state/guests/u1/d.qcow2",
         .format = "qcow2",
         .backing = "/l",
         .backing_format = "raw",
         .ours = true,
         .find = LV_FIND_CLAIM},
        {.name = "host disk",
         .volume = "hostDisk: {path: /d/x.img, type: Disk, shared: true}",
         .path = "/d/x.img",
         .format = "raw",
         .shared = true},
        {.name = "host disk, made when missing; sizes are whole MiB",
         .volume = "hostDisk: {path: /d/x.qcow2, type: DiskOrCreate, capacity: 1500k}",
         .path = "/d/x.qcow2",
         .format = "qcow2",
         .bytes = 2 << 20,
         .create = true},
        {.name = "container disk",
         .volume = "containerDisk: {image: 'quay.io/x/fedora:39'}",
         .path = "/state/guests/u1/d.qcow2",
         .format = "qcow2",
         .backing = "/images/quay.io/x/fedora:39",
         .backing_format = "raw",
         .ours = true,
         .find = LV_FIND_IMAGE},
        {.name = "container disk as a CD-ROM needs no overlay",
         .volume = "containerDisk: {image: 'iso@sha256:00'}",
         .disk = "cdrom: {bus: sata}",
         .path = "/images/iso@sha256:00",
         .format = "raw",
         .read_only = true,
         .shared = true,
         .find = LV_FIND_IMAGE},
        {.name = "empty disk",
         .volume = "emptyDisk: {capacity: 2Gi}",
         .path = "/state/guests/u1/d.img",
         .format = "raw",
         .bytes = UINT64_C(2) << 30,
         .ours = true},
        {.name = "cloud-init",
         .volume = "cloudInitNoCloud: {userData: x}",
         .path = "/state/guests/u1/d.iso",
         .format = "raw",
         .ours = true,
         .shared = true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *n = rows[i].name;
        const struct lv_disk *d;
        struct world w;

        if (plan(&w, rows[i].volume, rows[i].disk, rows[i].pvcs, rows[i].pvs, NULL, false))
            fail_msg("%s: %s: %s", n, w.why.reason, w.why.text);
        assert_int_equal(w.disks.len, 1);
        d = &w.disks.items[0];
        same(d->name, "d", n, "name");
        same(d->path, rows[i].path, n, "path");
        same(d->format, rows[i].format, n, "format");
        same(d->backing, rows[i].backing, n, "backing");
        same(d->backing_format, rows[i].backing_format, n, "backing_format");
        if (d->bytes != rows[i].bytes || d->read_only != rows[i].read_only ||
            d->ours != rows[i].ours || d->shared != rows[i].shared || d->create != rows[i].create ||
            d->find != rows[i].find)
            fail_msg("%s: bytes %llu read_only %d ours %d shared %d create %d find %d", n,
                     (unsigned long long)d->bytes, d->read_only, d->ours, d->shared, d->create,
                     d->find);
        done(&w);
    }
}

static void
test_refused(void **state)
{
    static const struct {
        const char *volume, *pvcs, *pvs, *more;
        const char *reason, *text; /* a part of it */
        bool incoming;
    } rows[] = {
        {CLAIM, NULL, NULL, NULL, "FailedPvcNotFound", "no PersistentVolumeClaim shop/c", false},
        {CLAIM, "{metadata: {name: c, namespace: other}, spec: {" RWX "}}", NULL, NULL,
         "FailedPvcNotFound", "shop/c", false},
        {CLAIM, PVC("c", RWX), NULL, NULL, "InvalidVolume", "is not bound", false},
        {CLAIM, PVC("c", RWX ", volumeName: v"),
         PV("v", "claimRef: {name: c, namespace: other}, local: {path: /x}"), NULL, "InvalidVolume",
         "is not bound", false},
        {CLAIM, PVC("c", RWX ", volumeName: v"), PV("v", "csi: {driver: x}"), NULL, "InvalidVolume",
         "without a path on hosts", false},
        {CLAIM, PVC("c", RWX ", volumeName: v"), PV("v", "local: {path: x/y}"), NULL,
         "InvalidVolume", "'x/y': want an absolute path", false},
        {CLAIM, PVC("c", RWX ", volumeName: v"), PV("v", "local: {path: /x/../y}"), NULL,
         "InvalidVolume", "without '..'", false},
        {CLAIM,
         "{metadata: {name: c, namespace: shop, annotations: {drover.io/path: /x, "
         "drover.io/format: "
         "vmdk}}, spec: {" RWX "}}",
         NULL, NULL, "InvalidVolume", "'vmdk' of claim shop/c: want raw or qcow2", false},
        {CLAIM, PVC("c", RWO ", volumeName: v"), PV("v", "local: {path: /x}"), NULL,
         "DisksNotLiveMigratable", "claim c is not shared", true},
        {"hostDisk: {path: /x, type: Disk}", NULL, NULL, NULL, "DisksNotLiveMigratable",
         "hostDisk /x is not shared", true},
        {"hostDisk: {path: x, type: Disk}", NULL, NULL, NULL, "InvalidVolume", "hostDisk.path 'x'",
         false},
        {"hostDisk: {path: /x/.., type: Disk}", NULL, NULL, NULL, "InvalidVolume", "'/x/..'",
         false},
        {"hostDisk: {path: /x, type: Dir}", NULL, NULL, NULL, "InvalidVolume",
         "'Dir': want Disk or DiskOrCreate", false},
        {"hostDisk: {path: /x, type: DiskOrCreate}", NULL, NULL, NULL, "InvalidVolume",
         "wants a capacity", false},
        {"hostDisk: {path: /x, type: DiskOrCreate, capacity: 0}", NULL, NULL, NULL, "InvalidVolume",
         "hostDisk.capacity 0: want 1 to", false},
        {"emptyDisk: {capacity: 1Zi}", NULL, NULL, NULL, "InvalidVolume",
         "emptyDisk.capacity '1Zi'", false},
        {"emptyDisk: {}", NULL, NULL, NULL, "InvalidVolume", "emptyDisk.capacity ''", false},
        {"emptyDisk: {capacity: -1Gi}", NULL, NULL, NULL, "InvalidVolume", "-1Gi: want 1 to",
         false},
        {"emptyDisk: {capacity: 5Ei}", NULL, NULL, NULL, "InvalidVolume", "5Ei: want 1 to", false},
        {"containerDisk: {image: '../etc/passwd'}", NULL, NULL, NULL, "InvalidVolume",
         "no part of it may be empty or begin with '.'", false},
        {"containerDisk: {image: 'a/../../b'}", NULL, NULL, NULL, "InvalidVolume", "begin with '.'",
         false},
        {"containerDisk: {image: /etc/passwd}", NULL, NULL, NULL, "InvalidVolume", "may be empty",
         false},
        {"containerDisk: {image: 'a b'}", NULL, NULL, NULL, "InvalidVolume",
         "want a reference such as", false},
        {"containerDisk: {image: ''}", NULL, NULL, NULL, "InvalidVolume", "want a reference",
         false},
        {"containerDisk: {image: a, path: /x/../../y}", NULL, NULL, NULL, "InvalidVolume",
         "containerDisk.path '/x/../../y'", false},
        {"containerDisk: {image: a, path: ..}", NULL, NULL, NULL, "InvalidVolume",
         "'..': want a path", false},
        {"configMap: {name: x}", NULL, NULL, NULL, "VolumeSourceNotSupported",
         "volume d: configMap is not supported", false},
        {"secret: {secretName: x}", NULL, NULL, NULL, "VolumeSourceNotSupported", "d: secret",
         false},
        {"sysprep: {}", NULL, NULL, NULL, "VolumeSourceNotSupported", "d: sysprep", false},
        {"serviceAccount: {}", NULL, NULL, NULL, "VolumeSourceNotSupported", "serviceAccount",
         false},
        {"downwardAPI: {}", NULL, NULL, NULL, "VolumeSourceNotSupported", "downwardAPI", false},
        {"emptyDisk: {capacity: 1Gi}", NULL, NULL,
         ", firmware: {kernelBoot: {container: {image: k}}}", "UnsupportedField", "kernelPath",
         false},
        {"emptyDisk: {capacity: 1Gi}", NULL, NULL, ", firmware: {kernelBoot: {kernelArgs: x}}",
         "UnsupportedField", "want container.image", false},
        {"emptyDisk: {capacity: 1Gi}", NULL, NULL,
         ", firmware: {kernelBoot: {container: {image: ../k, kernelPath: /k}}}", "InvalidVolume",
         "kernelBoot.container.image '../k'", false},
        {"emptyDisk: {capacity: 1Gi}", NULL, NULL,
         ", firmware: {kernelBoot: {container: {image: k, kernelPath: /../k}}}", "InvalidVolume",
         "kernelPath '/../k'", false},
        {"emptyDisk: {capacity: 1Gi}}, {name: e, hostDisk: {path: /state/guests/u1/d.img, type: "
         "Disk}",
         NULL, NULL, NULL, "InvalidVolume", "volumes d and e are the same file", false},
        {"emptyDisk: {capacity: 1Gi}}, {name: ../e, emptyDisk: {capacity: 1Gi}", NULL, NULL, NULL,
         "InvalidVolume", "volume name '../e'", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w;

        if (plan(&w, rows[i].volume, NULL, rows[i].pvcs, rows[i].pvs, rows[i].more,
                 rows[i].incoming) != -EINVAL)
            fail_msg("%s %s: not refused", rows[i].volume, rows[i].more ? rows[i].more : "");
        if (strcmp(w.why.reason, rows[i].reason) != 0 || !strstr(w.why.text, rows[i].text))
            fail_msg("%s: %s: %s", rows[i].volume, w.why.reason, w.why.text);
        assert_null(w.disks.items);
        done(&w);
    }
}

static void
test_kernel_boot(void **state)
{
    struct world w;

    (void)state;
    assert_int_equal(
        plan(&w, "emptyDisk: {capacity: 1Gi}", NULL, NULL, NULL,
             ", firmware: {kernelBoot: {kernelArgs: 'console=ttyS0', container: {image: "
             "'r/k:1', kernelPath: /boot/vmlinuz, initrdPath: boot/initrd}}}",
             false),
        0);
    assert_string_equal(w.disks.boot.kernel, "/images/r/k:1/boot/vmlinuz");
    assert_string_equal(w.disks.boot.initrd, "/images/r/k:1/boot/initrd");
    assert_string_equal(w.disks.boot.args, "console=ttyS0");
    done(&w);
}

/* What the hosts do not share, by the names that the domain gives: cloud-init is made anew instead. */
static void
test_to_copy(void **state)
{
    AUTO_TREE struct tree *vmi = yaml(
        "{metadata: {name: db, namespace: shop}, spec: {volumes: [{name: seed, cloudInitNoCloud: "
        "{userData: x}}, {name: root, containerDisk: {image: i}}, {name: cd, containerDisk: "
        "{image: "
        "j}}, {name: tmp, emptyDisk: {capacity: 1Mi}}, {name: nfs, hostDisk: {path: /h, type: "
        "Disk, "
        "shared: true}}], domain: {devices: {disks: [{name: cd, cdrom: {bus: sata}}, {name: root, "
        "disk: {bus: virtio}}, {name: seed, disk: {bus: virtio}}, {name: nfs, disk: {bus: "
        "virtio}}, "
        "{name: tmp, disk: {bus: scsi}}]}}}}");
    const struct lv_disk_config c = {.dir = "/g", .images = "/i"};
    const struct hv_want want = {.vmi = vmi, .incoming = true};
    struct lv_disks d = {0};
    char names[4][16];

    (void)state;
    assert_int_equal(lv_disks_plan(&c, &want, &d, NULL), 0);
    assert_int_equal(lv_disks_to_copy(&d, vmi, names, 4), 2);
    assert_string_equal(names[0], "vda");
    assert_string_equal(names[1], "sdb");
    assert_int_equal(lv_disks_to_copy(&d, vmi, names, 1), 1);
    lv_disks_done(&d);
    lv_disks_done(&d); /* zeroed is fine */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_kernel_boot),
        cmocka_unit_test(test_to_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
