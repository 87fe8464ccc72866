/* The domain that libvirt makes at the target of a relayed migration: whether it can come, what it is,
 * and its end. See libvirt_target_int.h. */
#include "handler/libvirt_target_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "handler/libvirt_cpu.h"

static uint64_t memory_available(void);
static enum lv_here here(int state, int reason);

void
lv_target_path(const struct lv_target *t, const char *suffix, char ret[RELAY_PATH_SIZE])
{
    snprintf(ret, RELAY_PATH_SIZE, LV_MIGRATE_DIR "/%s%s", t->cfg.ident.migration_uid, suffix);
}

void
lv_target_socket(struct libvirt *lv, char ret[RELAY_PATH_SIZE])
{
    static const char *const usual[] = {"/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock"};
    const char *at = strstr(libvirt_uri(lv), "socket=");

    if (at) {
        at += strlen("socket=");
        snprintf(ret, RELAY_PATH_SIZE, "%.*s", (int)strcspn(at, "&"), at);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
        snprintf(ret, RELAY_PATH_SIZE, "%s", usual[i]);
        if (access(ret, F_OK) == 0)
            return;
    }
}

static int
refuse(struct hv_refusal *why, struct err *err, const char *reason, const char *text)
{
    snprintf(why->reason, sizeof why->reason, "%s", reason);
    snprintf(why->text, sizeof why->text, "%s", text);
    return err_set(err, -EPERM, "%s: %s", reason, text);
}

int
lv_target_check(struct lv_target *t, const struct relay_msg *m, struct hv_refusal *why,
                struct err *err)
{
    struct lv_cpu_where where = {.virttype = m->virt_type[0] ? m->virt_type : NULL,
                                 .arch = m->arch[0] ? m->arch : NULL,
                                 .machine = m->machine[0] ? m->machine : NULL};
    uint64_t free_bytes = memory_available();
    char path[RELAY_PATH_SIZE], text[HV_TEXT_SIZE];
    int rc;

    lv_target_path(t, ".sock", path);
    if (strcmp(path, m->data_path) != 0) {
        snprintf(text, sizeof text,
                 "QEMU's socket is %s here and %s at the source: both must see it "
                 "under the same path",
                 path, m->data_path);
        return refuse(why, err, "DataPath", text);
    }
    if (free_bytes && free_bytes < m->memory_bytes) {
        snprintf(text, sizeof text, "%llu MiB of memory are free, the guest has %llu MiB",
                 (unsigned long long)free_bytes >> 20, (unsigned long long)m->memory_bytes >> 20);
        return refuse(why, err, "NotEnoughMemory", text);
    }
    rc = lv_cpu_compare(t->lv, m->cpu_xml, &where, why, err);
    if (rc == -ENOTSUP && why->reason[0])
        return err_set(err, -EPERM, "%s: %s", why->reason, why->text);
    if (rc != 0) {
        snprintf(text, sizeof text, "%.400s", err_msg(err));
        return refuse(why, err, "LibvirtNotReady", text);
    }
    return 0;
}

static uint64_t
memory_available(void)
{
    AUTO_FILE FILE *f = fopen("/proc/meminfo", "re");
    unsigned long long kib;
    char line[128];

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
            return kib << 10;
    return 0;
}

static virDomainPtr
find(struct lv_target *t, virConnectPtr *ret_conn, enum lv_here *ret, struct err *err)
{
    virConnectPtr conn = t->lv ? libvirt_wait(t->lv, LV_LOOK_US, err) : NULL;
    virDomainPtr dom;

    *ret = t->lv ? LV_HERE_NOT_KNOWN : LV_HERE_NONE;
    *ret_conn = conn;
    if (!conn)
        return NULL;
    dom = t->api->virDomainLookupByUUID(conn, lv_guest_uuid(t->g));
    if (!dom && libvirt_error(err, "the domain") == -ESRCH)
        *ret = LV_HERE_NONE;
    return dom;
}

static void
let_go(struct lv_target *t, virConnectPtr conn, virDomainPtr dom)
{
    if (dom)
        t->api->virDomainFree(dom);
    if (conn)
        t->api->virConnectClose(conn);
}

enum lv_here
lv_target_look(struct lv_target *t, struct err *err)
{
    int state = 0, reason = 0;
    enum lv_here ret;
    virConnectPtr conn;
    virDomainPtr dom = find(t, &conn, &ret, err);

    if (dom && t->api->virDomainGetState(dom, &state, &reason, 0) == 0)
        ret = here(state, reason);
    else if (dom && libvirt_error(err, "the domain") == -ESRCH)
        ret = LV_HERE_NONE;
    let_go(t, conn, dom);
    return ret;
}

static enum lv_here
here(int state, int reason)
{
    switch (state) {
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED:
        return reason == VIR_DOMAIN_RUNNING_POSTCOPY || reason == VIR_DOMAIN_RUNNING_POSTCOPY_FAILED
                   ? LV_HERE_PARTLY
                   : LV_HERE_RUNS;
    case VIR_DOMAIN_PAUSED:
        if (reason == VIR_DOMAIN_PAUSED_POSTCOPY || reason == VIR_DOMAIN_PAUSED_POSTCOPY_FAILED)
            return LV_HERE_PARTLY;
        return reason == VIR_DOMAIN_PAUSED_MIGRATION || reason == VIR_DOMAIN_PAUSED_STARTING_UP
                   ? LV_HERE_INCOMING
                   : LV_HERE_WHOLE;
    default:
        return LV_HERE_NONE;
    }
}

int
lv_target_resume(struct lv_target *t, struct err *err)
{
    enum lv_here what;
    virConnectPtr conn;
    virDomainPtr dom = find(t, &conn, &what, err);
    int rc = dom ? 0 : err_set(err, -ESRCH, "the domain is not there");

    if (dom && t->api->virDomainResume(dom) < 0) {
        rc = libvirt_error(err, "the guest cannot be resumed");
        if (lv_target_look(t, NULL) == LV_HERE_RUNS)
            rc = 0; /* it was already */
    }
    let_go(t, conn, dom);
    return rc;
}

int
lv_target_clean(struct lv_target *t, struct err *err)
{
    static const char *const sockets[] = {".sock", ".disk"};
    uint64_t until = clock_mono_us() + LV_CLEAN_US;
    char path[RELAY_PATH_SIZE];
    enum lv_here what;

    relay_target_cut(t->relay);
    if (t->disks)
        relay_target_cut(t->disks);
    do { /* libvirt ends it by itself when its connection breaks, or is told to */
        virConnectPtr conn;
        virDomainPtr dom = find(t, &conn, &what, err);

        if (dom) {
            (void)t->api->virDomainDestroy(dom);
            (void)t->api->virDomainUndefineFlags(dom, VIR_DOMAIN_UNDEFINE_MANAGED_SAVE |
                                                          VIR_DOMAIN_UNDEFINE_NVRAM);
        }
        let_go(t, conn, dom);
        if (what == LV_HERE_NONE && !dom)
            break;
        usleep(LV_LOOK_AGAIN_US);
    } while (clock_mono_us() < until);
    for (size_t i = 0; i < ARRAY_LEN(sockets); i++) {
        lv_target_path(t, sockets[i], path);
        (void)unlink(path);
    }
    if (what == LV_HERE_NONE)
        return 0;
    return err_set(err, -EBUSY, "the incoming domain does not go away");
}
