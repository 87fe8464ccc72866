/* One domain behind hv.h's operations; see libvirt_guest.h. What libvirt's events and answers mean is in
 * libvirt_guest_state.c, how one is made in libvirt_start.c. */
#include "handler/libvirt_guest.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "handler/libvirt_console.h"
#include "handler/libvirt_domxml.h"
#include "handler/libvirt_guest_int.h"
#include "handler/libvirt_sockets.h"
#include "handler/libvirt_stats.h"
#include "handler/libvirt_xml.h"
#include "handler/limits.h"
#include "handler/mover.h"

#define LOOKS 5 /* at a domain whose events overtake the answers */

static const struct hv_ops guest_ops;

static void on_event(void *ctx, virDomainPtr dom, const struct libvirt_event *ev);
static void save(struct lv_guest *g);
static void destroy_guest(void *ctx);

static struct lv_guest *
of(const struct hv_guest *g)
{
    return (struct lv_guest *)(uintptr_t)g;
}

struct lv_guest *
lv_guest_new(struct lv_driver *d, const char *dir, const struct lv_record *r)
{
    struct lv_guest *g = xcalloc(1, sizeof(*g));

    g->head.ops = &guest_ops;
    g->head.mover = &mover_relay;
    g->api = d->api;
    g->d = d;
    g->dir = xstrdup(dir);
    g->full_name = xasprintf("%s/%s", r->namespace_, r->name);
    g->rec = *r;
    lv_uuid_parse(r->uuid, g->uuid);
    pthread_mutex_init(&g->record_mu, NULL);
    pthread_mutex_init(&g->mu, NULL);
    g->state = r->incoming ? HV_INCOMING : r->exit.kind != HV_EXIT_NONE ? HV_ENDED : HV_UNKNOWN;
    libvirt_subscribe(d->lv, g->uuid, on_event, g);
    return g;
}

/* --- how it is --- */

static const char *
op_uid(const struct hv_guest *g)
{
    return of(g)->rec.uid;
}

static const char *
op_name(const struct hv_guest *g)
{
    return of(g)->full_name;
}

static uint64_t
op_memory_bytes(const struct hv_guest *g)
{
    return of(g)->rec.memory_bytes;
}

static void
op_now(struct hv_guest *hg, struct hv_now *ret)
{
    struct lv_guest *g = of(hg);

    pthread_mutex_lock(&g->mu);
    *ret = (struct hv_now){
        .state = g->state, .pause = g->pause, .agent_connected = g->agent, .resets = g->resets};
    if (g->lost && g->state != HV_ENDED)
        ret->state = HV_UNKNOWN;
    if (ret->state != HV_PAUSED)
        ret->pause = HV_PAUSE_NONE;
    pthread_mutex_unlock(&g->mu);
}

static void
op_exit_reason(struct hv_guest *hg, struct hv_exit *ret)
{
    struct lv_guest *g = of(hg);

    pthread_mutex_lock(&g->mu);
    *ret = (struct hv_exit){.kind = HV_EXIT_NONE, .text = "it runs"};
    if (g->state == HV_ENDED)
        *ret = g->rec.exit;
    pthread_mutex_unlock(&g->mu);
}

/* On libvirt's threads; a look after a reconnect is a keeper's, which may block. */
static void
on_event(void *ctx, virDomainPtr dom, const struct libvirt_event *ev)
{
    struct lv_guest *g = ctx;
    bool write = false;

    (void)dom;
    if (ev->kind == LIBVIRT_EVENT_RESYNC) {
        (void)lv_guest_look(g, NULL); /* not there again: the next one comes */
        return;
    }
    if (ev->kind == LIBVIRT_EVENT_ITERATION || ev->kind == LIBVIRT_EVENT_JOB ||
        ev->kind == LIBVIRT_EVENT_IO_ERROR) /* a pause that follows is an event of its own */
        return;
    pthread_mutex_lock(&g->mu);
    write = lv_guest_event_locked(g, ev);
    pthread_mutex_unlock(&g->mu);
    if (write) /* before anybody acts on it */
        save(g);
    lv_guest_changed(g);
}

static void
save(struct lv_guest *g)
{
    struct lv_record r;
    bool removed;

    pthread_mutex_lock(&g->record_mu);
    pthread_mutex_lock(&g->mu);
    r = g->rec;
    removed = g->removed;
    pthread_mutex_unlock(&g->mu);
    if (!removed) /* one that cannot be written is known all the same while we live */
        (void)lv_record_write(g->dir, &r, NULL);
    pthread_mutex_unlock(&g->record_mu);
}

static bool
in_post_copy(int state, int reason)
{
    return state == VIR_DOMAIN_RUNNING
               ? reason == VIR_DOMAIN_RUNNING_POSTCOPY ||
                     reason == VIR_DOMAIN_RUNNING_POSTCOPY_FAILED
               : state == VIR_DOMAIN_PAUSED && (reason == VIR_DOMAIN_PAUSED_POSTCOPY ||
                                                reason == VIR_DOMAIN_PAUSED_POSTCOPY_FAILED);
}

int
lv_guest_look(struct lv_guest *g, struct err *err)
{
    virConnectPtr c = NULL;
    bool write = false;
    int rc = 0;

    for (int i = 0; i < LOOKS; i++) {
        AUTO_FREE char *xml = NULL;
        int state = VIR_DOMAIN_NOSTATE, reason = 0;
        struct lv_domxml d = {0};
        struct arena *a = arena_new();
        virDomainPtr dom = NULL;
        unsigned seq;

        pthread_mutex_lock(&g->mu);
        seq = g->seq;
        d.agent_connected = g->agent;
        pthread_mutex_unlock(&g->mu);
        rc = lv_guest_domain(g, &c, &dom, err);
        if (rc == 0) {
            if (g->api->virDomainGetState(dom, &state, &reason, 0) != 0)
                rc = libvirt_error(err, g->rec.domain);
            else if (in_post_copy(state, reason))
                ; /* libvirt 11 gives no XML before all memory is there */
            else if (!(xml = g->api->virDomainGetXMLDesc(dom, 0)))
                rc = libvirt_error(err, g->rec.domain);
            else
                (void)lv_domxml_read(xml, &d, a, NULL);
            g->api->virDomainFree(dom);
            g->api->virConnectClose(c);
        }
        arena_free(a);
        if (rc != 0 && rc != -ESRCH)
            return rc;
        pthread_mutex_lock(&g->mu);
        if (g->seq == seq) {
            write = lv_guest_seen_locked(g, rc == -ESRCH, state, reason, d.agent_connected);
            pthread_mutex_unlock(&g->mu);
            break;
        }
        pthread_mutex_unlock(&g->mu);
    }
    if (write)
        save(g);
    lv_guest_changed(g);
    return 0;
}

int
lv_guest_domain(struct lv_guest *g, virConnectPtr *ret_c, virDomainPtr *ret_d, struct err *err)
{
    virConnectPtr c = libvirt_get(g->d->lv, err);
    virDomainPtr d;
    int rc;

    if (!c)
        return -ENOTCONN;
    d = g->api->virDomainLookupByUUID(c, g->uuid);
    if (!d) {
        rc = libvirt_error(err, g->rec.domain);
        g->api->virConnectClose(c);
        return rc;
    }
    *ret_c = c;
    *ret_d = d;
    return 0;
}

/* --- watching: the driver's one post to the loop serves all its guests --- */

void
lv_guest_changed(struct lv_guest *g)
{
    pthread_mutex_lock(&g->d->watch_mu);
    g->changed = true;
    if (g->fn)
        lv_driver_post_locked(g->d);
    pthread_mutex_unlock(&g->d->watch_mu);
}

static void
op_unwatch(struct hv_guest *hg)
{
    struct lv_guest *g = of(hg);

    pthread_mutex_lock(&g->d->watch_mu);
    for (struct lv_guest **p = &g->d->watched; *p; p = &(*p)->next_watched)
        if (*p == g) {
            *p = g->next_watched;
            break;
        }
    g->fn = NULL;
    pthread_mutex_unlock(&g->d->watch_mu);
}

static void
op_watch(struct hv_guest *hg, struct loop *l, void (*fn)(void *ctx), void *ctx)
{
    struct lv_guest *g = of(hg);

    assert(l == g->d->loop);
    (void)l;
    op_unwatch(hg);
    pthread_mutex_lock(&g->d->watch_mu);
    g->fn = fn;
    g->ctx = ctx;
    g->changed = true; /* what happened before counts */
    g->next_watched = g->d->watched;
    g->d->watched = g;
    lv_driver_post_locked(g->d);
    pthread_mutex_unlock(&g->d->watch_mu);
}

/* --- what is done to it --- */

/* After a call that failed: it may have been because the domain has ended. */
static int
failed(struct lv_guest *g, const char *what, struct err *err)
{
    int rc = libvirt_error(err, what);
    struct hv_now now;

    if (rc == -ENOTCONN || lv_guest_look(g, NULL) != 0)
        return rc;
    op_now(&g->head, &now);
    return now.state == HV_ENDED || now.state == HV_INCOMING
               ? err_set(err, -ESRCH, "guest %s does not run", g->full_name)
               : rc;
}

static int
set_paused(struct hv_guest *hg, bool paused, struct err *err)
{
    struct lv_guest *g = of(hg);
    virConnectPtr c = NULL;
    virDomainPtr d = NULL;
    int state = 0, reason = 0, rc = lv_guest_domain(g, &c, &d, err);

    if (rc != 0)
        return rc;
    if (g->api->virDomainGetState(d, &state, &reason, 0) != 0)
        rc = libvirt_error(err, "state");
    else if (paused && state != VIR_DOMAIN_PAUSED && g->api->virDomainSuspend(d) != 0)
        rc = failed(g, "pause", err);
    else if (!paused && state != VIR_DOMAIN_RUNNING && g->api->virDomainResume(d) != 0)
        rc = failed(g, "resume", err);
    g->api->virDomainFree(d);
    g->api->virConnectClose(c);
    return rc == 0 ? lv_guest_look(g, err) : rc;
}

static int
op_pause(struct hv_guest *g, struct err *err)
{
    return set_paused(g, true, err);
}

static int
op_resume(struct hv_guest *g, struct err *err)
{
    return set_paused(g, false, err);
}

static int
op_shut_down(struct hv_guest *hg, struct err *err)
{
    struct lv_guest *g = of(hg);
    struct hv_now now;
    virConnectPtr c = NULL;
    virDomainPtr d = NULL;
    int rc = lv_guest_domain(g, &c, &d, err);

    if (rc != 0)
        return rc;
    op_now(hg, &now);
    /* An agent that does not do it leaves the button. */
    if ((!now.agent_connected ||
         g->api->virDomainShutdownFlags(d, VIR_DOMAIN_SHUTDOWN_GUEST_AGENT) != 0) &&
        g->api->virDomainShutdownFlags(d, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN) != 0)
        rc = failed(g, "shutdown", err);
    g->api->virDomainFree(d);
    g->api->virConnectClose(c);
    return rc;
}

static int
op_reset(struct hv_guest *hg, struct err *err)
{
    struct lv_guest *g = of(hg);
    virConnectPtr c = NULL;
    virDomainPtr d = NULL;
    int rc = lv_guest_domain(g, &c, &d, err);

    if (rc != 0)
        return rc;
    if (g->api->virDomainReset(d, 0) != 0)
        rc = failed(g, "reset", err);
    g->api->virDomainFree(d);
    g->api->virConnectClose(c);
    return rc;
}

static int
op_stats(struct hv_guest *hg, struct hv_stats *ret, struct err *err)
{
    struct lv_guest *g = of(hg);
    virDomainStatsRecordPtr *records = NULL;
    virConnectPtr c = NULL;
    virDomainPtr d = NULL;
    int n, rc = lv_guest_domain(g, &c, &d, err);

    if (rc != 0)
        return rc;
    /* NOWAIT: without those that a job under way (a migration) withholds */
    n = g->api->virDomainListGetStats((virDomainPtr[]){d, NULL}, LV_STATS_GROUPS, &records,
                                      VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);
    if (n < 0)
        rc = failed(g, "statistics", err);
    else if (n == 0)
        rc = err_set(err, -ESRCH, "guest %s does not run", g->full_name);
    else
        lv_stats_of(g->api, records[0]->params, records[0]->nparams, ret);
    if (n >= 0)
        g->api->virDomainStatsRecordListFree(records);
    g->api->virDomainFree(d);
    g->api->virConnectClose(c);
    return rc;
}

static int
op_console(struct hv_guest *hg, int *ret_fd, struct err *err)
{
    AUTO_FREE char *path = xasprintf("%s/console.sock", of(hg)->dir);

    return lv_console_open(path, ret_fd, err);
}

/* --- its end --- */

int
lv_guest_wipe(struct libvirt *lv, const struct lv_record *r, struct err *err)
{
    const struct libvirt_api *api = libvirt_api(err);
    virConnectPtr c = libvirt_get(lv, err);
    struct lv_xml_ident id = {0};
    AUTO_FREE char *xml = NULL;
    virDomainPtr d;
    int rc = 0;

    if (!c)
        return -ENOTCONN;
    d = api->virDomainLookupByUUIDString(c, r->uuid);
    xml = d ? api->virDomainGetXMLDesc(d, VIR_DOMAIN_XML_INACTIVE) : NULL;
    if (!d)
        rc = libvirt_error(err, r->domain);
    else if (!xml)
        rc = libvirt_error(err, r->domain);
    else if (!lv_xml_ident(xml, &id) || strcmp(id.uid, r->uid) != 0)
        rc = -ESRCH; /* somebody else's with our uuid: not ours to end */
    else if (api->virDomainDestroy(d) != 0 && api->virGetLastError()->code != VIR_ERR_NO_DOMAIN &&
             api->virGetLastError()->code != VIR_ERR_OPERATION_INVALID) /* it does not run */
        rc = libvirt_error(err, r->domain);
    if (rc == 0 &&
        api->virDomainUndefineFlags(
            d, VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
                   VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | VIR_DOMAIN_UNDEFINE_NVRAM) != 0 &&
        api->virGetLastError()->code != VIR_ERR_OPERATION_INVALID) /* transient: gone by now */
        rc = libvirt_error(err, r->domain);
    if (d)
        api->virDomainFree(d);
    api->virConnectClose(c);
    return rc == -ESRCH ? 0 : rc;
}

static int
op_remove(struct hv_guest *hg, struct err *err)
{
    struct lv_guest *g = of(hg);
    int rc;

    pthread_mutex_lock(&g->record_mu); /* one that is being written would outlive its directory */
    pthread_mutex_lock(&g->mu);
    g->removed = true;
    pthread_mutex_unlock(&g->mu);
    pthread_mutex_unlock(&g->record_mu);
    rc = lv_guest_wipe(g->d->lv, &g->rec, err);
    if (rc == 0)
        rc = fs_rmtree(g->dir, err);
    if (rc != 0)
        return rc;
    lv_sockets_sweep(LV_MIGRATE_DIR); /* of a QEMU that was waiting for a migration */
    pthread_mutex_lock(&g->mu);
    g->rec.incoming = g->lost = false;
    g->state = HV_ENDED;
    pthread_mutex_unlock(&g->mu);
    lv_guest_changed(g);
    return 0;
}

static void
op_free(struct hv_guest *hg)
{
    struct lv_guest *g = of(hg);

    op_unwatch(hg);
    libvirt_unsubscribe_later(g->d->lv, g->uuid, on_event, g, destroy_guest);
}

static void
destroy_guest(void *ctx)
{
    struct lv_guest *g = ctx;

    pthread_mutex_destroy(&g->mu);
    pthread_mutex_destroy(&g->record_mu);
    free(g->dir);
    free(g->full_name);
    free(g);
}

static const struct hv_ops guest_ops = {
    .kind = HV_LIBVIRT,
    .uid = op_uid,
    .name = op_name,
    .memory_bytes = op_memory_bytes,
    .now = op_now,
    .exit_reason = op_exit_reason,
    .watch = op_watch,
    .unwatch = op_unwatch,
    .pause = op_pause,
    .resume = op_resume,
    .shut_down = op_shut_down,
    .reset = op_reset,
    .stats = op_stats,
    .remove = op_remove,
    .free = op_free,
    .console = op_console,
};

/* --- for migrations --- */

struct libvirt *
lv_guest_conn(struct lv_guest *g)
{
    return g->d->lv;
}

const unsigned char *
lv_guest_uuid(const struct lv_guest *g)
{
    return g->uuid;
}

const char *
lv_guest_dir(const struct lv_guest *g)
{
    return g->dir;
}

const char *
lv_guest_domain_name(const struct lv_guest *g)
{
    return g->rec.domain;
}

size_t
lv_guest_disks_to_copy(const struct lv_guest *g, char (*ret)[16], size_t max)
{
    size_t n = g->rec.copies_len < max ? g->rec.copies_len : max;

    for (size_t i = 0; i < n; i++)
        memcpy(ret[i], g->rec.copies[i], sizeof(ret[i]));
    return n;
}

void
lv_guest_migrating(struct lv_guest *g, bool on)
{
    bool ended = false;

    pthread_mutex_lock(&g->mu);
    g->migrating = on;
    if (!on && g->moved) {
        lv_exit_of_event(VIR_DOMAIN_EVENT_STOPPED_MIGRATED, false, &g->rec.exit);
        g->state = HV_ENDED;
        g->moved = false;
        ended = true;
    }
    pthread_mutex_unlock(&g->mu);
    if (ended)
        save(g);
    lv_guest_changed(g);
}

void
lv_guest_arrived(struct lv_guest *g)
{
    pthread_mutex_lock(&g->mu);
    g->rec.incoming = false;
    if (g->state == HV_INCOMING) {
        g->state = HV_PAUSED;
        g->pause = HV_PAUSE_MIGRATION;
    }
    pthread_mutex_unlock(&g->mu);
    save(g);
    (void)lv_guest_look(g, NULL);
}
