/* One connection, kept; see libvirt_conn.h. Two kinds of thread: libvirt's event loop (one for the
 * process, as libvirt has one loop a process; it never ends) and one keeper for each connection, which
 * opens it, tells of it, and opens it again. The keeper is a thread of its own because virConnectOpen has
 * no deadline: a stopped libvirtd accepts the connection and says nothing until it goes on. */
#include "handler/libvirt_conn.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/sb.h"
#include "handler/libvirt_events.h"
#include "handler/limits.h"

struct libvirt {
    /* constant after start */
    const struct libvirt_api *api;
    char *uri;
    void (*changed)(void *ctx, bool up);
    void *ctx;
    struct lv_events *events;

    pthread_mutex_t mu;
    pthread_cond_t cond; /* anything below has changed; CLOCK_MONOTONIC */
    /* guarded by mu */
    unsigned refs;   /* owner, keeper */
    bool stop, kept; /* kept: the keeper is at work, or hangs in libvirt */
    virConnectPtr conn;
    bool broken;                   /* conn was closed by the other side, or does not answer */
    bool opening;                  /* virConnectOpen is under way */
    uint64_t opening_since;        /* us */
    char why[512];                 /* there is none */
    unsigned long version, driver; /* of libvirt and of the hypervisor, as last seen */
};

static int event_loop_start(const struct libvirt_api *api, struct err *err);
static void *event_loop(void *api);
static void *keeper(void *ctx);
static virConnectPtr opened(struct libvirt *lv);
static void keep_until_broken(struct libvirt *lv);
static void on_close(virConnectPtr conn, int reason, void *ctx);
static int ready_locked(struct libvirt *lv, struct err *err);
static void nap_locked(struct libvirt *lv, uint64_t us);
static int wait_locked(struct libvirt *lv, uint64_t until_us);
static void unref(struct libvirt *lv);

int
libvirt_new(const struct libvirt_config *cfg, struct libvirt **ret, struct err *err)
{
    const struct libvirt_api *api = libvirt_api(err);
    pthread_condattr_t attr;
    struct libvirt *lv;
    pthread_t thread;
    int rc;

    if (!api)
        return -ENOTSUP;
    rc = event_loop_start(api, err);
    if (rc != 0)
        return rc;
    lv = xcalloc(1, sizeof(*lv));
    lv->api = api;
    lv->uri = xstrdup(cfg->uri);
    lv->changed = cfg->changed;
    lv->ctx = cfg->ctx;
    lv->events = lv_events_new(api);
    pthread_mutex_init(&lv->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&lv->cond, &attr);
    pthread_condattr_destroy(&attr);
    snprintf(lv->why, sizeof lv->why, "%s: not connected yet", lv->uri);
    lv->refs = 2;
    lv->kept = true;
    rc = -pthread_create(&thread, NULL, keeper, lv);
    if (rc != 0) {
        lv->refs = 1; /* there is no keeper */
        unref(lv);
        return err_set(err, rc, "libvirt's thread: %s", strerror(-rc));
    }
    pthread_detach(thread);
    *ret = lv;
    return 0;
}

void
libvirt_free(struct libvirt *lv)
{
    uint64_t until = clock_mono_us() + LIBVIRT_STOP_US;

    if (!lv)
        return;
    pthread_mutex_lock(&lv->mu);
    lv->stop = true;
    pthread_cond_broadcast(&lv->cond);
    /* One that hangs in virConnectOpen is left to itself: it ends when libvirt answers. */
    while (lv->kept && (!lv->opening || clock_mono_us() < until))
        wait_locked(lv, lv->opening ? until : clock_mono_us() + LIBVIRT_STOP_US);
    pthread_mutex_unlock(&lv->mu);
    unref(lv);
}

virConnectPtr
libvirt_get(struct libvirt *lv, struct err *err)
{
    virConnectPtr c = NULL;

    pthread_mutex_lock(&lv->mu);
    if (ready_locked(lv, err) == 0 && lv->api->virConnectRef(lv->conn) == 0)
        c = lv->conn;
    pthread_mutex_unlock(&lv->mu);
    return c;
}

int
libvirt_ready(struct libvirt *lv, struct err *err)
{
    int rc;

    pthread_mutex_lock(&lv->mu);
    rc = ready_locked(lv, err);
    pthread_mutex_unlock(&lv->mu);
    return rc;
}

static int
ready_locked(struct libvirt *lv, struct err *err)
{
    if (lv->conn && !lv->broken)
        return 0;
    if (lv->opening && clock_mono_us() - lv->opening_since > LIBVIRT_RETRY_MAX_US)
        return err_set(err, -ENOTCONN, "%s: libvirtd takes the connection, but does not answer",
                       lv->uri);
    return err_set(err, -ENOTCONN, "%s", lv->why);
}

virConnectPtr
libvirt_wait(struct libvirt *lv, uint64_t timeout_us, struct err *err)
{
    uint64_t until = clock_mono_us() + timeout_us;

    pthread_mutex_lock(&lv->mu);
    while (!lv->stop && ready_locked(lv, NULL) != 0 && wait_locked(lv, until) == 0)
        ;
    pthread_mutex_unlock(&lv->mu);
    return libvirt_get(lv, err);
}

const char *
libvirt_uri(const struct libvirt *lv)
{
    return lv->uri;
}

void
libvirt_versions(struct libvirt *lv, unsigned long *ret_libvirt, unsigned long *ret_hypervisor)
{
    pthread_mutex_lock(&lv->mu);
    *ret_libvirt = lv->version;
    *ret_hypervisor = lv->driver;
    pthread_mutex_unlock(&lv->mu);
}

void
libvirt_subscribe(struct libvirt *lv, const unsigned char uuid[VIR_UUID_BUFLEN],
                  libvirt_event_fn fn, void *ctx)
{
    lv_events_subscribe(lv->events, uuid, fn, ctx);
}

void
libvirt_unsubscribe(struct libvirt *lv, const unsigned char uuid[VIR_UUID_BUFLEN],
                    libvirt_event_fn fn, void *ctx)
{
    lv_events_unsubscribe(lv->events, uuid, fn, ctx);
}

void
libvirt_unsubscribe_later(struct libvirt *lv, const unsigned char uuid[VIR_UUID_BUFLEN],
                          libvirt_event_fn fn, void *ctx, void (*done)(void *ctx))
{
    lv_events_unsubscribe_later(lv->events, uuid, fn, ctx, done);
}

int
libvirt_error(struct err *err, const char *what)
{
    const struct libvirt_api *api = libvirt_api(err);
    const virError *e = api ? api->virGetLastError() : NULL;
    char text[512];
    int rc = -EIO;

    if (!api)
        return -ENOTSUP;
    if (!e)
        return err_set(err, rc, "%s: libvirt does not say why", what);
    snprintf(text, sizeof text, "%s", e->message ? e->message : "unknown error");
    for (char *c = text; *c; c++)
        if (*c == '\n' || *c == '\r')
            *c = c[1] ? ' ' : '\0';
    switch (e->code) {
    case VIR_ERR_NO_DOMAIN:
        rc = -ESRCH;
        break;
    case VIR_ERR_INTERNAL_ERROR: /* "client socket is closed", "keepalive timeout" are such */
    case VIR_ERR_SYSTEM_ERROR:   /* "End of file while reading data" */
    case VIR_ERR_RPC:
        rc = e->domain == VIR_FROM_RPC ? -ENOTCONN : -EIO;
        break;
    case VIR_ERR_NO_CONNECT:
    case VIR_ERR_INVALID_CONN:
        rc = -ENOTCONN;
        break;
    case VIR_ERR_OPERATION_ABORTED:
        rc = -ECANCELED;
        break;
    case VIR_ERR_OPERATION_TIMEOUT:
        rc = -ETIMEDOUT;
        break;
    case VIR_ERR_NO_SUPPORT:
    case VIR_ERR_OPERATION_UNSUPPORTED:
    case VIR_ERR_CONFIG_UNSUPPORTED:
    case VIR_ERR_ARGUMENT_UNSUPPORTED:
        rc = -ENOTSUP;
        break;
    default:
        break;
    }
    return err_set(err, rc, "%s: %s", what, text);
}

/* --- libvirt's event loop --- */

static pthread_mutex_t loop_mu = PTHREAD_MUTEX_INITIALIZER;
static bool loop_runs; /* guarded by loop_mu */

/* Once a process, before the first connection: libvirt_new. */
static int
event_loop_start(const struct libvirt_api *api, struct err *err)
{
    pthread_t thread;
    int rc = 0;

    pthread_mutex_lock(&loop_mu);
    if (!loop_runs && api->virEventRegisterDefaultImpl() != 0)
        rc = libvirt_error(err, "libvirt's event loop");
    if (!loop_runs && rc == 0) {
        union {
            const struct libvirt_api *in;
            void *out;
        } arg = {api};

        rc = -pthread_create(&thread, NULL, event_loop, arg.out);
        if (rc == 0) {
            loop_runs = true;
            pthread_detach(thread);
        } else {
            err_set(err, rc, "libvirt's event loop: %s", strerror(-rc));
        }
    }
    pthread_mutex_unlock(&loop_mu);
    return rc;
}

static void *
event_loop(void *arg)
{
    const struct libvirt_api *api = arg;

    while (api->virEventRunDefaultImpl() == 0)
        ;
    return NULL;
}

/* --- the keeper --- */

static void *
keeper(void *ctx)
{
    struct libvirt *lv = ctx;
    uint64_t delay = LIBVIRT_RETRY_MIN_US;
    virConnectPtr c;

    pthread_mutex_lock(&lv->mu);
    while (!lv->stop) {
        lv->opening = true;
        lv->opening_since = clock_mono_us();
        pthread_mutex_unlock(&lv->mu);
        c = opened(lv);
        pthread_mutex_lock(&lv->mu);
        lv->opening = false;
        if (!c) {
            nap_locked(lv, delay);
            delay = delay * 2 < LIBVIRT_RETRY_MAX_US ? delay * 2 : LIBVIRT_RETRY_MAX_US;
            continue;
        }
        if (!lv->stop) {
            lv->conn = c;
            delay = LIBVIRT_RETRY_MIN_US;
            keep_until_broken(lv);
            lv->conn = NULL;
        }
        pthread_mutex_unlock(&lv->mu);
        lv_events_detach(lv->events, c);
        lv->api->virConnectUnregisterCloseCallback(c, on_close);
        lv->api->virConnectClose(c);
        pthread_mutex_lock(&lv->mu);
        /* One that breaks at once, again and again, is not asked without a pause. */
        nap_locked(lv, LIBVIRT_RETRY_MIN_US);
    }
    lv->kept = false;
    pthread_cond_broadcast(&lv->cond);
    pthread_mutex_unlock(&lv->mu);
    unref(lv);
    return NULL;
}

/* A connection with everything that belongs to it, which may be broken again; NULL with why. */
static virConnectPtr
opened(struct libvirt *lv)
{
    unsigned long version = 0, driver = 0;
    virConnectPtr c = lv->api->virConnectOpen(lv->uri);
    struct err why = {0};

    if (!c) {
        libvirt_error(&why, lv->uri);
        pthread_mutex_lock(&lv->mu);
        snprintf(lv->why, sizeof lv->why, "%s", err_msg(&why));
        pthread_mutex_unlock(&lv->mu);
        return NULL;
    }
    /* First of all: from here on no call hangs. Drivers within this process (test:///) have none. */
    lv->api->virConnectSetKeepAlive(c, LIBVIRT_KEEPALIVE_S, LIBVIRT_KEEPALIVE_COUNT);
    pthread_mutex_lock(&lv->mu);
    lv->broken = false;
    pthread_mutex_unlock(&lv->mu);
    /* Unregistering waits for a call that is under way. No free function: drivers within this process
     * take the callback and forget it. */
    lv->api->virConnectRegisterCloseCallback(c, on_close, lv, NULL);
    lv_events_attach(lv->events, c);
    lv->api->virConnectGetLibVersion(c, &version);
    lv->api->virConnectGetVersion(c, &driver);
    pthread_mutex_lock(&lv->mu);
    lv->version = version;
    lv->driver = driver;
    /* One that broke before its close callback was there is never told of. */
    if (lv->api->virConnectIsAlive(c) != 1 && !lv->broken) {
        lv->broken = true;
        snprintf(lv->why, sizeof lv->why, "%s: libvirtd has closed the connection", lv->uri);
    }
    pthread_mutex_unlock(&lv->mu);
    return c;
}

/* Tells everybody that it is there, and that it is gone. With mu, which it leaves meanwhile. */
static void
keep_until_broken(struct libvirt *lv)
{
    pthread_cond_broadcast(&lv->cond);
    pthread_mutex_unlock(&lv->mu);
    lv_events_tell_all(lv->events, LIBVIRT_EVENT_RESYNC);
    if (lv->changed)
        lv->changed(lv->ctx, true);
    pthread_mutex_lock(&lv->mu);
    while (!lv->stop && !lv->broken)
        pthread_cond_wait(&lv->cond, &lv->mu);
    if (lv->stop)
        return;
    pthread_mutex_unlock(&lv->mu);
    lv_events_tell_all(lv->events, LIBVIRT_EVENT_LOST);
    if (lv->changed)
        lv->changed(lv->ctx, false);
    pthread_mutex_lock(&lv->mu);
}

/* On libvirt's thread. */
static void
on_close(virConnectPtr conn, int reason, void *ctx)
{
    struct libvirt *lv = ctx;

    (void)conn;
    pthread_mutex_lock(&lv->mu);
    lv->broken = true;
    snprintf(lv->why, sizeof lv->why, "%s: %s", lv->uri,
             reason == VIR_CONNECT_CLOSE_REASON_KEEPALIVE ? "libvirtd does not answer"
                                                          : "libvirtd has closed the connection");
    pthread_cond_broadcast(&lv->cond);
    pthread_mutex_unlock(&lv->mu);
}

/* Until stop, at most us long. */
static void
nap_locked(struct libvirt *lv, uint64_t us)
{
    uint64_t until = clock_mono_us() + us;

    while (!lv->stop && wait_locked(lv, until) == 0)
        ;
}

/* -ETIMEDOUT once it is until_us. */
static int
wait_locked(struct libvirt *lv, uint64_t until_us)
{
    struct timespec ts = {.tv_sec = (time_t)(until_us / 1000000),
                          .tv_nsec = (long)(until_us % 1000000 * 1000)};

    return -pthread_cond_timedwait(&lv->cond, &lv->mu, &ts);
}

static void
unref(struct libvirt *lv)
{
    bool last;

    pthread_mutex_lock(&lv->mu);
    last = --lv->refs == 0;
    pthread_mutex_unlock(&lv->mu);
    if (!last)
        return;
    lv_events_unref(lv->events);
    free(lv->uri);
    pthread_cond_destroy(&lv->cond);
    pthread_mutex_destroy(&lv->mu);
    free(lv);
}
