/* From a manifest to a domain that runs, or (incoming) to a directory that waits for one; and back, when
 * something on the way fails. The record is written first: whatever happens to us after it, the guest is
 * found again. See libvirt_guest_int.h. */
#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "base/fs.h"
#include "handler/libvirt_domxml.h"
#include "handler/libvirt_guest_int.h"
#include "handler/libvirt_host.h"
#include "handler/libvirt_xml.h"
#include "handler/limits.h"

#define MAX_DEDICATED 512 /* vCPUs of one guest that are pinned */

struct start { /* of one guest, as far as it has got */
    struct lv_driver *d;
    const struct hv_want *w;
    virConnectPtr c;
    struct lv_record rec;
    char *dir;
    struct lv_disks disks;
    struct sb xml;
    bool made; /* the disks */
    bool cpus_locked;
    char *pins[MAX_DEDICATED], *emulator_pin;
    size_t pins_len;
};

static int make(struct start *s, struct hv_refusal *why, struct err *err);
static int describe(struct start *s, struct hv_refusal *why, struct err *err);
static int identify(struct start *s, struct hv_refusal *why, struct err *err);
static int pin(struct start *s, struct hv_refusal *why, struct err *err);
static int run(struct start *s, struct hv_refusal *why, struct err *err);
static int look_again(struct start *s, struct err *err);
static void undo(struct start *s);

int
lv_start(struct lv_driver *d, const struct hv_want *w, struct hv_guest **ret,
         struct hv_refusal *why, struct err *err)
{
    struct start s = {.d = d, .w = w, .rec.incoming = w->incoming};
    int rc = lv_record_check_uid(object_uid(w->vmi), err);

    if (rc != 0)
        return rc;
    snprintf(s.rec.uid, sizeof s.rec.uid, "%s", object_uid(w->vmi));
    snprintf(s.rec.namespace_, sizeof s.rec.namespace_, "%s", object_namespace(w->vmi));
    snprintf(s.rec.name, sizeof s.rec.name, "%s", object_name(w->vmi));
    snprintf(s.rec.domain, sizeof s.rec.domain, "%s_%s", s.rec.namespace_, s.rec.name);
    s.dir = xasprintf("%s/guests/%s", d->state_dir, s.rec.uid);
    rc = lv_record_read(s.dir, &(struct lv_record){0}, NULL);
    if (rc != -ENOENT) /* one that cannot be read is left for people to look at */
        rc = err_set(err, rc == 0 ? -EEXIST : rc, "%s: there is a guest of this uid", s.dir);
    else
        rc = make(&s, why, err);
    if (rc == 0) {
        struct lv_guest *g = lv_guest_new(d, s.dir, &s.rec);

        if (!w->incoming)
            (void)lv_guest_look(g, NULL); /* else after the reconnect */
        *ret = &g->head;
    }
    if (s.cpus_locked)
        pthread_mutex_unlock(&d->cpus_mu);
    if (s.c)
        d->api->virConnectClose(s.c);
    for (size_t i = 0; i < s.pins_len; i++)
        free(s.pins[i]);
    free(s.emulator_pin);
    lv_disks_done(&s.disks);
    sb_done(&s.xml);
    free(s.dir);
    return rc;
}

static int
make(struct start *s, struct hv_refusal *why, struct err *err)
{
    AUTO_FREE char *guests = xasprintf("%s/guests", s->d->state_dir);
    int rc;

    s->c = libvirt_get(s->d->lv, err);
    if (!s->c)
        return -ENOTCONN;
    rc = describe(s, why, err);
    if (rc == 0)
        rc = identify(s, why, err);
    if (rc != 0)
        return rc;
    /* QEMU passes through to its files here, which are its user's (libvirt sees to that). */
    rc = fs_rmtree(s->dir, err);
    if (rc == 0)
        rc = fs_mkdirs(guests, 0711, err);
    if (rc == 0)
        rc = fs_mkdirs(s->dir, 0711, err);
    if (rc == 0)
        rc = lv_record_write(s->dir, &s->rec, err);
    if (rc == 0) {
        rc = lv_disks_make(&s->disks, why, err);
        s->made = rc == 0;
    }
    if (rc == 0 && !s->w->incoming)
        rc = run(s, why, err);
    if (rc != 0 && rc != -EINPROGRESS)
        undo(s);
    return rc == -EINPROGRESS ? -ENOTCONN : rc;
}

/* Asked once a handler's life, and not before somebody needs to know. */
static const char *
broken_feature(struct start *s)
{
    const char *broken;

    pthread_mutex_lock(&s->d->cpus_mu);
    if (!s->d->model_asked)
        s->d->broken_feature = lv_host_broken_feature(s->c);
    s->d->model_asked = true;
    broken = s->d->broken_feature;
    pthread_mutex_unlock(&s->d->cpus_mu);
    return broken;
}

/* The XML, with everything of this host that goes into it. */
static int
describe(struct start *s, struct hv_refusal *why, struct err *err)
{
    const struct lv_disk_config dc = {s->dir, s->d->images};
    struct lv_xml_config xc = {.dir = s->dir, .name = s->rec.domain, .vm_bridge = s->d->vm_bridge};
    struct lv_host host;
    int rc = lv_host_look(
        s->d->lv, s->c,
        tree_find_string(s->w->vmi, NULL, "metadata", "annotations", ANN_ACCELERATOR, NULL), &host,
        why);

    if (rc == 0 && host.kvm)
        xc.broken_feature = broken_feature(s); /* before pin, which keeps cpus_mu */
    if (rc == 0)
        rc = lv_disks_plan(&dc, s->w, &s->disks, why);
    if (rc == 0) /* the XML has what is found */
        rc = lv_disks_check(&s->disks, s->w->incoming, why, err);
    if (rc == 0)
        rc = pin(s, why, err);
    if (rc == 0) {
        xc.kvm = host.kvm;
        xc.odd_memory = host.odd_memory;
        xc.swtpm = host.swtpm;
        xc.cpuset = s->pins_len ? (const char *const *)s->pins : NULL;
        xc.cpuset_len = s->pins_len;
        xc.emulator_cpuset = s->emulator_pin;
        rc = lv_xml_domain(&xc, s->w, &s->disks, &s->xml, why);
    }
    if (rc != 0 && why->reason[0])
        err_set(err, rc, "%s", why->text);
    return rc;
}

/* dedicatedCpuPlacement: a host CPU for each vCPU, and one for the emulator when that is to be apart, else
 * it shares theirs. An incoming guest is pinned as it was at the source. */
static int
pin(struct start *s, struct hv_refusal *why, struct err *err)
{
    const struct tree *cpu = tree_find(s->w->vmi, "spec", "domain", "cpu", NULL);
    bool apart = tree_get_bool(tree_get(cpu, "isolateEmulatorThread"), false);
    unsigned cpus[MAX_DEDICATED + 1], n;
    AUTO_SB struct sb all = SB_INIT;
    int rc;

    if (!tree_get_bool(tree_get(cpu, "dedicatedCpuPlacement"), false) || s->w->incoming)
        return 0;
    n = lv_xml_vcpu_count(s->w->vmi, why);
    if (n == 0)
        return -EINVAL;
    if (n > MAX_DEDICATED) {
        snprintf(why->reason, sizeof why->reason, "NotEnoughDedicatedCPUs");
        snprintf(why->text, sizeof why->text,
                 "spec.domain.cpu: %u vCPUs: at most %d with dedicatedCpuPlacement", n,
                 MAX_DEDICATED);
        return -EINVAL;
    }
    pthread_mutex_lock(&s->d->cpus_mu);
    s->cpus_locked = true; /* until the domain runs, and others see what it has */
    rc = lv_host_cpus(s->c, (size_t)n + apart, cpus, why, err);
    if (rc != 0)
        return rc;
    for (int64_t i = 0; i < n; i++) {
        s->pins[s->pins_len++] = xasprintf("%u", cpus[i]);
        sb_printf(&all, "%s%u", i ? "," : "", cpus[i]);
    }
    s->emulator_pin = apart ? xasprintf("%u", cpus[n]) : sb_steal(&all);
    return 0;
}

/* What the record says of it comes from the XML; and nobody has its uuid. */
static int
identify(struct start *s, struct hv_refusal *why, struct err *err)
{
    const struct libvirt_api *api = s->d->api;
    struct arena *a = arena_new();
    struct lv_xml_ident id = {0};
    AUTO_FREE char *other = NULL;
    unsigned char uuid[VIR_UUID_BUFLEN];
    struct lv_domxml x;
    virDomainPtr d;
    int rc = lv_domxml_read(sb_str(&s->xml), &x, a, err);

    if (rc == 0 && !lv_uuid_parse(x.uuid, uuid))
        rc = err_set(err, -EINVAL, "uuid \"%.64s\": want 32 hexadecimal digits", x.uuid);
    if (rc == 0) {
        snprintf(s->rec.uuid, sizeof s->rec.uuid, "%s", x.uuid);
        s->rec.memory_bytes = x.memory_bytes;
        s->rec.copies_len = lv_disks_to_copy(&s->disks, s->w->vmi, s->rec.copies, LV_MAX_COPIES);
    }
    arena_free(a);
    if (rc != 0)
        return rc;
    d = api->virDomainLookupByUUID(s->c, uuid);
    if (!d) {
        rc = libvirt_error(err, s->rec.domain);
        return rc == -ESRCH ? 0 : rc;
    }
    other = api->virDomainGetXMLDesc(d, VIR_DOMAIN_XML_INACTIVE);
    if (other && lv_xml_ident(other, &id) && strcmp(id.uid, s->rec.uid) == 0) {
        rc = err_set(err, -EEXIST, "domain %s is there", s->rec.domain);
    } else {
        snprintf(why->reason, sizeof why->reason, "DomainExists");
        snprintf(why->text, sizeof why->text,
                 "spec.domain.firmware.uuid: %s is the domain %.128s on this host", s->rec.uuid,
                 api->virDomainGetName(d));
        rc = err_set(err, -EINVAL, "%s", why->text);
    }
    api->virDomainFree(d);
    return rc;
}

/* -EINPROGRESS: the connection broke, and nothing is known of the domain. */
static int
run(struct start *s, struct hv_refusal *why, struct err *err)
{
    const struct libvirt_api *api = s->d->api;
    AUTO_FREE char *path = xasprintf("%s/domain.xml", s->dir);
    virDomainPtr d;
    int rc = fs_replace(path, sb_str(&s->xml), s->xml.len, 0600, err);

    if (rc != 0)
        return rc;
    d = api->virDomainDefineXMLFlags(s->c, sb_str(&s->xml), 0);
    if (!d) {
        rc = libvirt_error(err, "libvirt does not take the domain");
        if (rc != -ENOTCONN)
            (void)lv_refusal_of(api, "DomainRefused", why);
        return rc == -ENOTCONN ? look_again(s, err) : rc;
    }
    if (api->virDomainCreate(d) != 0) {
        rc = libvirt_error(err, "the domain does not start");
        if (rc != -ENOTCONN)
            (void)lv_refusal_of(api, "DomainStartFailed", why);
    }
    api->virDomainFree(d);
    return rc == -ENOTCONN ? look_again(s, err) : rc;
}

/* The connection broke while libvirt was at it: when it is back, the domain runs or does not. */
static int
look_again(struct start *s, struct err *err)
{
    const struct libvirt_api *api = s->d->api;
    int state = VIR_DOMAIN_NOSTATE, reason, rc = 0;
    virDomainPtr d;

    api->virConnectClose(s->c);
    s->c = libvirt_wait(s->d->lv, HANDLER_DOMAIN_START_US, err);
    if (!s->c)
        return -EINPROGRESS;
    d = api->virDomainLookupByUUIDString(s->c, s->rec.uuid);
    if (!d || api->virDomainGetState(d, &state, &reason, 0) != 0)
        rc = libvirt_error(err, s->rec.domain);
    else if (state != VIR_DOMAIN_RUNNING && state != VIR_DOMAIN_BLOCKED)
        rc = err_set(err, -EAGAIN, "libvirt went away while it started the domain");
    if (d)
        api->virDomainFree(d);
    return rc == -ENOTCONN ? -EINPROGRESS : rc;
}

static void
undo(struct start *s)
{
    if (lv_guest_wipe(s->d->lv, &s->rec, NULL) != 0 && s->made)
        return; /* the record stays, so that it is found and tried again */
    if (s->made)
        lv_disks_remove(&s->disks);
    (void)fs_rmtree(s->dir, NULL);
}
