/* Subscriptions by uuid; see libvirt_events.h. Subscribers are called without the lock, so that one may
 * subscribe in its callback; who unsubscribes waits for the calls under way, and so may not do it there. */
#include "handler/libvirt_events.h"

#include <pthread.h>
#include <string.h>

#include "base/sb.h"

struct sub {
    unsigned char uuid[VIR_UUID_BUFLEN];
    libvirt_event_fn fn;
    void *ctx;
    unsigned calls; /* under way, or about to be */
    bool dead;
    void (*done)(void *ctx); /* when dead: said once calls is 0 */
};

#define REGISTRATIONS 6

struct lv_events {
    const struct libvirt_api *api;
    pthread_mutex_t mu;
    pthread_cond_t idle; /* a call has ended */
    unsigned refs;       /* all below: guarded by mu */
    struct sub **subs;
    size_t len, cap;
    int ids[REGISTRATIONS]; /* of the attached connection; -1 = not there */
};

static void tell(struct lv_events *e, const unsigned char *uuid, virDomainPtr dom,
                 const struct libvirt_event *ev);
static void tell_of(struct lv_events *e, virDomainPtr dom, const struct libvirt_event *ev);
static void unref(void *opaque);
static struct sub *find_locked(struct lv_events *e, const unsigned char *uuid, libvirt_event_fn fn,
                               const void *ctx);
static void drop_locked(struct lv_events *e, struct sub *s);

struct lv_events *
lv_events_new(const struct libvirt_api *api)
{
    struct lv_events *e = xcalloc(1, sizeof(*e));

    e->api = api;
    e->refs = 1;
    pthread_mutex_init(&e->mu, NULL);
    pthread_cond_init(&e->idle, NULL);
    for (size_t i = 0; i < REGISTRATIONS; i++)
        e->ids[i] = -1;
    return e;
}

void
lv_events_unref(struct lv_events *e)
{
    bool last;

    pthread_mutex_lock(&e->mu);
    last = --e->refs == 0;
    pthread_mutex_unlock(&e->mu);
    if (!last)
        return;
    for (size_t i = 0; i < e->len; i++)
        free(e->subs[i]);
    free(e->subs);
    pthread_cond_destroy(&e->idle);
    pthread_mutex_destroy(&e->mu);
    free(e);
}

void
lv_events_subscribe(struct lv_events *e, const unsigned char *uuid, libvirt_event_fn fn, void *ctx)
{
    struct sub *s = xcalloc(1, sizeof(*s));

    memcpy(s->uuid, uuid, sizeof(s->uuid));
    s->fn = fn;
    s->ctx = ctx;
    pthread_mutex_lock(&e->mu);
    if (e->len == e->cap) {
        e->cap = e->cap ? e->cap * 2 : 16;
        e->subs = xreallocarray(e->subs, e->cap, sizeof(struct sub *));
    }
    e->subs[e->len++] = s;
    pthread_mutex_unlock(&e->mu);
}

void
lv_events_unsubscribe(struct lv_events *e, const unsigned char *uuid, libvirt_event_fn fn,
                      void *ctx)
{
    struct sub *s;

    pthread_mutex_lock(&e->mu);
    s = find_locked(e, uuid, fn, ctx);
    if (s) {
        s->dead = true;
        s->calls++; /* ours: it is not dropped before we know that we are the last */
        while (s->calls > 1)
            pthread_cond_wait(&e->idle, &e->mu);
        s->calls = 0;
        drop_locked(e, s);
    }
    pthread_mutex_unlock(&e->mu);
}

void
lv_events_unsubscribe_later(struct lv_events *e, const unsigned char *uuid, libvirt_event_fn fn,
                            void *ctx, void (*done)(void *ctx))
{
    struct sub *s;
    bool now = true;

    pthread_mutex_lock(&e->mu);
    s = find_locked(e, uuid, fn, ctx);
    if (s) {
        s->dead = true;
        now = s->calls == 0;
        if (now)
            drop_locked(e, s);
        else
            s->done = done;
    }
    pthread_mutex_unlock(&e->mu);
    if (now)
        done(ctx);
}

void
lv_events_tell_all(struct lv_events *e, enum libvirt_event_kind kind)
{
    const struct libvirt_event ev = {.kind = kind};

    tell(e, NULL, NULL, &ev);
}

/* --- what libvirt calls, on its thread --- */

static int
on_lifecycle(virConnectPtr conn, virDomainPtr dom, int event, int detail, void *opaque)
{
    (void)conn;
    tell_of(
        opaque, dom,
        &(struct libvirt_event){.kind = LIBVIRT_EVENT_LIFECYCLE, .event = event, .detail = detail});
    return 0;
}

static void
on_reboot(virConnectPtr conn, virDomainPtr dom, void *opaque)
{
    (void)conn;
    tell_of(opaque, dom, &(struct libvirt_event){.kind = LIBVIRT_EVENT_REBOOT});
}

static void
on_io_error(virConnectPtr conn, virDomainPtr dom, const char *path, const char *alias, int action,
            const char *reason, void *opaque)
{
    char text[512];

    (void)conn;
    snprintf(text, sizeof text, "%s (%s)%s%s", path && path[0] ? path : "a disk",
             alias ? alias : "?", reason && reason[0] ? ": " : "", reason ? reason : "");
    tell_of(
        opaque, dom,
        &(struct libvirt_event){.kind = LIBVIRT_EVENT_IO_ERROR, .detail = action, .text = text});
}

static void
on_agent(virConnectPtr conn, virDomainPtr dom, int state, int reason, void *opaque)
{
    (void)conn;
    (void)reason;
    tell_of(opaque, dom,
            &(struct libvirt_event){
                .kind = LIBVIRT_EVENT_AGENT,
                .detail = state == VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED});
}

static void
on_iteration(virConnectPtr conn, virDomainPtr dom, int iteration, void *opaque)
{
    (void)conn;
    tell_of(opaque, dom,
            &(struct libvirt_event){.kind = LIBVIRT_EVENT_ITERATION, .event = iteration});
}

static void
on_job(virConnectPtr conn, virDomainPtr dom, virTypedParameterPtr params, int nparams, void *opaque)
{
    (void)conn;
    tell_of(opaque, dom,
            &(struct libvirt_event){
                .kind = LIBVIRT_EVENT_JOB, .params = params, .params_len = nparams});
}

/* --- */

void
lv_events_attach(struct lv_events *e, virConnectPtr conn)
{
    static const struct {
        int id;
        virConnectDomainEventGenericCallback fn;
    } wanted[REGISTRATIONS] = {
        {VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle)},
        {VIR_DOMAIN_EVENT_ID_REBOOT, VIR_DOMAIN_EVENT_CALLBACK(on_reboot)},
        {VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, VIR_DOMAIN_EVENT_CALLBACK(on_io_error)},
        {VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_agent)},
        {VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, VIR_DOMAIN_EVENT_CALLBACK(on_iteration)},
        {VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, VIR_DOMAIN_EVENT_CALLBACK(on_job)},
    };

    for (size_t i = 0; i < REGISTRATIONS; i++) {
        pthread_mutex_lock(&e->mu);
        e->refs++; /* libvirt's, given back by unref when the last of its calls has ended */
        pthread_mutex_unlock(&e->mu);
        e->ids[i] = e->api->virConnectDomainEventRegisterAny(conn, NULL, wanted[i].id, wanted[i].fn,
                                                             e, unref);
        if (e->ids[i] < 0)
            lv_events_unref(e);
    }
}

void
lv_events_detach(struct lv_events *e, virConnectPtr conn)
{
    for (size_t i = 0; i < REGISTRATIONS; i++)
        if (e->ids[i] >= 0) {
            e->api->virConnectDomainEventDeregisterAny(conn, e->ids[i]);
            e->ids[i] = -1;
        }
}

static void
unref(void *opaque)
{
    lv_events_unref(opaque);
}

static void
tell_of(struct lv_events *e, virDomainPtr dom, const struct libvirt_event *ev)
{
    unsigned char uuid[VIR_UUID_BUFLEN];

    if (e->api->virDomainGetUUID(dom, uuid) == 0)
        tell(e, uuid, dom, ev);
}

/* uuid NULL: everybody. */
static void
tell(struct lv_events *e, const unsigned char *uuid, virDomainPtr dom,
     const struct libvirt_event *ev)
{
    AUTO_FREE struct sub **called = NULL;
    size_t len = 0;

    pthread_mutex_lock(&e->mu);
    called = xcalloc(e->len + 1, sizeof(struct sub *));
    for (size_t i = 0; i < e->len; i++)
        if (!e->subs[i]->dead && (!uuid || memcmp(e->subs[i]->uuid, uuid, VIR_UUID_BUFLEN) == 0)) {
            e->subs[i]->calls++; /* not dropped before its turn has come */
            called[len++] = e->subs[i];
        }
    for (size_t i = 0; i < len; i++) {
        struct sub *s = called[i];

        if (!s->dead) {
            pthread_mutex_unlock(&e->mu);
            s->fn(s->ctx, dom, ev);
            pthread_mutex_lock(&e->mu);
        }
        s->calls--;
        if (s->calls == 0 && s->done) {
            void (*done)(void *) = s->done;
            void *ctx = s->ctx;

            drop_locked(e, s);
            pthread_mutex_unlock(&e->mu);
            done(ctx);
            pthread_mutex_lock(&e->mu);
        }
        pthread_cond_broadcast(&e->idle);
    }
    pthread_mutex_unlock(&e->mu);
}

static struct sub *
find_locked(struct lv_events *e, const unsigned char *uuid, libvirt_event_fn fn, const void *ctx)
{
    for (size_t i = 0; i < e->len; i++)
        if (!e->subs[i]->dead && e->subs[i]->fn == fn && e->subs[i]->ctx == ctx &&
            memcmp(e->subs[i]->uuid, uuid, VIR_UUID_BUFLEN) == 0)
            return e->subs[i];
    return NULL;
}

static void
drop_locked(struct lv_events *e, struct sub *s)
{
    for (size_t i = 0; i < e->len; i++)
        if (e->subs[i] == s)
            e->subs[i] = e->subs[--e->len];
    free(s);
}
