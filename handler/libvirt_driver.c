/* The libvirt driver of hv.h: which guests there are. See libvirt_guest.h. */
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <string.h>

#include "base/fs.h"
#include "handler/libvirt_domxml.h"
#include "handler/libvirt_guest_int.h"
#include "handler/libvirt_sockets.h"
#include "handler/libvirt_xml.h"
#include "handler/limits.h"

static const struct hv_driver_ops ops;

static void on_changed(void *ctx, bool up);
static void on_posted(void *ctx);
static int adopt(struct lv_driver *d, const char *only, struct err *err);
static int adopt_one(struct lv_driver *d, virDomainPtr dom, const char *only, struct err *err);

static struct lv_driver *
of(struct hv_driver *d)
{
    return (struct lv_driver *)d;
}

int
lv_driver_new(const struct lv_driver_config *cfg, struct hv_driver **ret, struct err *err)
{
    struct lv_driver *d = xcalloc(1, sizeof(*d));
    const struct libvirt_config lc = {cfg->uri, on_changed, d};
    int rc;

    d->head.ops = &ops;
    d->state_dir = xstrdup(cfg->state_dir);
    d->images = cfg->images ? xstrdup(cfg->images) : xasprintf("%s/images", cfg->state_dir);
    d->vm_bridge = cfg->vm_bridge ? xstrdup(cfg->vm_bridge) : NULL;
    d->loop = cfg->loop;
    d->changed = cfg->changed;
    d->ctx = cfg->ctx;
    pthread_mutex_init(&d->cpus_mu, NULL);
    pthread_mutex_init(&d->watch_mu, NULL);
    d->api = libvirt_api(err);
    rc = d->api ? libvirt_new(&lc, &d->lv, err) : -ENOTSUP;
    if (rc != 0) {
        d->head.ops->free(&d->head);
        return rc;
    }
    *ret = &d->head;
    return 0;
}

/* On libvirt's thread. */
static void
on_changed(void *ctx, bool up)
{
    struct lv_driver *d = ctx;

    pthread_mutex_lock(&d->watch_mu);
    d->up = up;
    d->up_changed = true;
    lv_driver_post_locked(d);
    pthread_mutex_unlock(&d->watch_mu);
}

void
lv_driver_post_locked(struct lv_driver *d)
{
    if (!d->posted)
        loop_post(d->loop, on_posted, d);
    d->posted = true;
}

static void
on_posted(void *ctx)
{
    struct lv_driver *d = ctx;
    struct lv_guest *g;
    bool tell, up;

    pthread_mutex_lock(&d->watch_mu);
    d->posted = false;
    tell = d->up_changed;
    up = d->up;
    d->up_changed = false;
    pthread_mutex_unlock(&d->watch_mu);
    if (tell && d->changed)
        d->changed(d->ctx, up);
    do { /* a watcher may free any guest: from the start again */
        void (*fn)(void *) = NULL;
        void *fn_ctx = NULL;

        pthread_mutex_lock(&d->watch_mu);
        for (g = d->watched; g && !g->changed; g = g->next_watched)
            ;
        if (g) {
            g->changed = false;
            fn = g->fn;
            fn_ctx = g->ctx;
        }
        pthread_mutex_unlock(&d->watch_mu);
        if (fn)
            fn(fn_ctx);
    } while (g);
}

static void
driver_free(struct hv_driver *hd)
{
    struct lv_driver *d = of(hd);

    libvirt_free(d->lv);
    pthread_mutex_destroy(&d->cpus_mu);
    pthread_mutex_destroy(&d->watch_mu);
    free(d->state_dir);
    free(d->images);
    free(d->vm_bridge);
    free(d);
}

static int
driver_ready(struct hv_driver *d, struct err *err)
{
    return libvirt_ready(of(d)->lv, err);
}

static int
driver_start(struct hv_driver *d, const struct hv_want *w, struct hv_guest **ret,
             struct hv_refusal *why, struct err *err)
{
    return lv_start(of(d), w, ret, why, err);
}

/* With what libvirt says of it, when libvirt is there. */
static int
open_dir(struct lv_driver *d, const char *uid, struct hv_guest **ret, struct err *err)
{
    AUTO_FREE char *dir = xasprintf("%s/guests/%s", d->state_dir, uid);
    struct lv_record r;
    struct lv_guest *g;
    int rc = lv_record_read(dir, &r, err);

    if (rc == 0 && strcmp(r.uid, uid) != 0)
        rc = err_set(err, -EINVAL, "%s: is of the guest %s", dir, r.uid);
    if (rc != 0)
        return rc;
    g = lv_guest_new(d, dir, &r);
    if (lv_guest_look(g, NULL) != 0) {
        pthread_mutex_lock(&g->mu);
        g->lost = true;
        pthread_mutex_unlock(&g->mu);
    }
    *ret = &g->head;
    return 0;
}

static int
driver_open(struct hv_driver *hd, const char *uid, struct hv_guest **ret, struct err *err)
{
    struct lv_driver *d = of(hd);
    int rc = lv_record_check_uid(uid, err);

    if (rc == 0)
        rc = open_dir(d, uid, ret, err);
    if (rc != -ENOENT)
        return rc;
    rc = adopt(d, uid, err);
    if (rc == 0)
        rc = open_dir(d, uid, ret, err);
    return rc == -ENOENT ? err_set(err, rc, "there is no guest %s", uid) : rc;
}

static int
by_uid(const void *a, const void *b)
{
    struct hv_guest *const *x = a, *const *y = b;

    return strcmp((*x)->ops->uid(*x), (*y)->ops->uid(*y));
}

/* Only where there is something to ask it: a host without libvirtd is not held up. */
static void
wait_for_libvirt(struct lv_driver *d, const char *guests)
{
    AUTO_FREE char *pattern = xasprintf("%s/*/%s", guests, LV_RECORD_FILE);
    virConnectPtr c = NULL;
    glob_t found;

    if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
        return;
    globfree(&found);
    c = libvirt_wait(d->lv, LIBVIRT_FIND_WAIT_US, NULL);
    if (c)
        d->api->virConnectClose(c);
}

static int
driver_find(struct hv_driver *hd, struct hv_guest ***ret, size_t *ret_len, struct err *err)
{
    struct lv_driver *d = of(hd);
    AUTO_FREE char *path = xasprintf("%s/guests", d->state_dir);
    struct hv_guest **list = NULL;
    const struct dirent *e;
    size_t len = 0;
    DIR *dir;
    int rc;

    lv_sockets_sweep(LV_MIGRATE_DIR); /* of this handler's life before */
    wait_for_libvirt(d, path);
    rc = adopt(d, NULL, err);
    if (rc != 0 && rc != -ENOTCONN)
        return rc;
    rc = 0;
    dir = opendir(path);
    if (!dir && errno != ENOENT)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    while (dir && rc == 0 && (e = readdir(dir))) {
        struct hv_guest *g = NULL;

        if (lv_record_check_uid(e->d_name, NULL) != 0)
            continue;
        rc = open_dir(d, e->d_name, &g, err);
        if (rc == -ENOENT)
            rc = 0;
        if (!g)
            continue;
        list = xreallocarray(list, len + 1, sizeof(struct hv_guest *));
        list[len++] = g;
    }
    if (dir)
        closedir(dir);
    if (rc != 0) {
        while (len > 0) {
            len--;
            list[len]->ops->free(list[len]);
        }
        free(list);
        return rc;
    }
    if (len > 0)
        qsort(list, len, sizeof(struct hv_guest *), by_uid);
    *ret = list;
    *ret_len = len;
    return 0;
}

/* Domains that say in their metadata that they are ours, and whose files are where ours would be, but
 * whose directory says nothing (it was lost): it is written again. only: one uid, or NULL. */
static int
adopt(struct lv_driver *d, const char *only, struct err *err)
{
    virConnectPtr c = libvirt_get(d->lv, err);
    virDomainPtr *list = NULL;
    int n, rc = 0;

    if (!c)
        return -ENOTCONN;
    n = d->api->virConnectListAllDomains(c, &list, 0);
    if (n < 0)
        rc = libvirt_error(err, "list of domains");
    for (int i = 0; i < n; i++) {
        if (rc == 0)
            rc = adopt_one(d, list[i], only, err);
        d->api->virDomainFree(list[i]);
    }
    free(list);
    d->api->virConnectClose(c);
    return rc;
}

static int
adopt_one(struct lv_driver *d, virDomainPtr dom, const char *only, struct err *err)
{
    AUTO_FREE char *xml = d->api->virDomainGetXMLDesc(dom, VIR_DOMAIN_XML_INACTIVE);
    AUTO_FREE char *dir = NULL, *within = NULL;
    struct arena *a;
    struct lv_xml_ident id;
    struct lv_record r = {0};
    struct lv_domxml x;
    int rc;

    if (!xml) { /* one that is gone meanwhile is none of ours */
        rc = libvirt_error(err, "domain");
        return rc == -ESRCH ? 0 : rc;
    }
    if (!lv_xml_ident(xml, &id) || lv_record_check_uid(id.uid, NULL) != 0 ||
        (only && strcmp(only, id.uid) != 0))
        return 0;
    dir = xasprintf("%s/guests/%s", d->state_dir, id.uid);
    within = xasprintf("'%s/", dir);
    if (!strstr(xml, within) || lv_record_read(dir, &r, NULL) != -ENOENT)
        return 0;
    snprintf(r.uid, sizeof r.uid, "%s", id.uid);
    snprintf(r.namespace_, sizeof r.namespace_, "%s", id.namespace_);
    snprintf(r.name, sizeof r.name, "%s", id.name);
    snprintf(r.domain, sizeof r.domain, "%s", d->api->virDomainGetName(dom));
    a = arena_new();
    rc = lv_domxml_read(xml, &x, a, err);
    if (rc == 0) {
        snprintf(r.uuid, sizeof r.uuid, "%s", x.uuid);
        r.memory_bytes = x.memory_bytes;
        rc = fs_mkdirs(dir, 0711, err);
    }
    arena_free(a);
    return rc == 0 ? lv_record_write(dir, &r, err) : rc;
}

static const struct hv_driver_ops ops = {
    .kind = HV_LIBVIRT,
    .start = driver_start,
    .open = driver_open,
    .find = driver_find,
    .ready = driver_ready,
    .free = driver_free,
};
