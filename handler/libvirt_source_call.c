/* libvirt's part at the source: the one call that migrates, its job's statistics and what they call for.
 * See libvirt_source_int.h. Parameters and flags: virDomainMigrateToURI3 in libvirt's reference. */
#include "handler/libvirt_source_int.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "handler/libvirt_xml.h"

/* From these on libvirt passes QEMU's avail-switchover-bandwidth on. */
#define LV_SWITCHOVER_LIBVIRT 11001000
#define LV_SWITCHOVER_QEMU    8002000
#define LV_NO_SPEED_LIMIT_MIB (INT64_MAX >> 20) /* the most that it takes */

struct lv_call {
    atomic_int users; /* its thread, and the source */
    const struct libvirt_api *api;
    virConnectPtr conn; /* own references: it may outlive the source */
    virDomainPtr dom;
    virTypedParameterPtr params;
    int params_len;
    unsigned flags;
    char uri[64 + RELAY_PATH_SIZE];
    struct lv_source *waiting; /* guarded by mu; NULL: nobody waits any more */
    pthread_mutex_t mu;
    bool ended;
    int rc;
    struct err err;
};

static int fill(struct lv_source *s, struct lv_call *c, bool resume, struct err *err);
static int add_xml(struct lv_source *s, struct lv_call *c, int *max, struct err *err);
static void *run_call(void *ctx);
static void unref(struct lv_call *c);
static bool read_job(struct lv_source *s, struct lv_job *ret);
static void act(struct lv_source *s, enum lv_todo todo, enum mig_cause cause,
                const struct err *why);
static void start_post_copy(struct lv_source *s);

int
lv_call_start(struct lv_source *s, bool resume, struct err *err)
{
    struct lv_call *c = xcalloc(1, sizeof *c);
    pthread_t thread;
    int rc;

    pthread_mutex_init(&c->mu, NULL);
    c->api = s->api;
    atomic_init(&c->users, 1);
    rc = fill(s, c, resume, err);
    if (rc == 0) {
        c->waiting = s;
        c->conn = s->conn;
        c->dom = s->dom;
        s->api->virConnectRef(c->conn);
        s->api->virDomainRef(c->dom);
        atomic_store(&c->users, 2);
        rc = -pthread_create(&thread, NULL, run_call, c);
        if (rc == 0) {
            pthread_detach(thread);
            s->call = c;
            return 0;
        }
        atomic_store(&c->users, 1);
        err_set(err, rc, "no thread for libvirt's migration: %s", strerror(-rc));
    }
    unref(c);
    return rc;
}

static unsigned
flags_of(const struct lv_source *s, bool resume)
{
    unsigned f = VIR_MIGRATE_LIVE | VIR_MIGRATE_PEER2PEER | VIR_MIGRATE_PERSIST_DEST |
                 VIR_MIGRATE_UNDEFINE_SOURCE | VIR_MIGRATE_UNSAFE;

    /* libvirt takes no PAUSED with post-copy: the gate asks for it, where it does not come to that. */
    f |= s->cfg.policy.allow_post_copy ? VIR_MIGRATE_POSTCOPY : VIR_MIGRATE_PAUSED;
    if (resume)
        return f | VIR_MIGRATE_POSTCOPY | VIR_MIGRATE_POSTCOPY_RESUME;
    if (s->cfg.policy.allow_auto_converge)
        f |= VIR_MIGRATE_AUTO_CONVERGE;
    if (s->parallel)
        f |= VIR_MIGRATE_PARALLEL;
    if (s->disk_copy)
        f |= VIR_MIGRATE_NON_SHARED_INC;
    return f;
}

/* QEMU keeps to the relay's limit by itself, so that little waits in the relay and the switchover is decided
 * by what the link gives. In whole MiB, rounded up: the relay enforces. Several channels do not keep to it
 * together, and get none. 0: no limit. */
static uint64_t
speed_mib(const struct lv_source *s, uint64_t limit)
{
    return s->parallel ? 0 : (limit + (1u << 20) - 1) >> 20;
}

/* What is known of the bandwidth before it begins, for QEMU's decision to switch over. */
static int
add_bandwidth(struct lv_source *s, struct lv_call *c, int *max)
{
    uint64_t known = s->bandwidth ? s->bandwidth : s->cfg.link_estimate_bytes_per_s;
    unsigned long lib, hypervisor;
    int rc = 0;

    s->speed_mib = speed_mib(s, s->bandwidth);
    if (s->speed_mib > 0)
        rc = s->api->virTypedParamsAddULLong(&c->params, &c->params_len, max,
                                             VIR_MIGRATE_PARAM_BANDWIDTH, s->speed_mib);
    libvirt_versions(s->lv, &lib, &hypervisor);
    if (rc == 0 && lib >= LV_SWITCHOVER_LIBVIRT && hypervisor >= LV_SWITCHOVER_QEMU &&
        known >> 20 > 0)
        rc = s->api->virTypedParamsAddULLong(&c->params, &c->params_len, max,
                                             "bandwidth.avail.switchover", known >> 20);
    return rc;
}

static int
fill(struct lv_source *s, struct lv_call *c, bool resume, struct err *err)
{
    char path[RELAY_PATH_SIZE], uri[16 + RELAY_PATH_SIZE];
    const struct libvirt_api *a = s->api;
    uint64_t mib;
    int max = 0, rc;

    c->flags = flags_of(s, resume);
    lv_link_path(s, ".gate", path);
    snprintf(c->uri, sizeof c->uri, "qemu+unix:///system?socket=%s", path);
    lv_link_path(s, ".sock", path);
    snprintf(uri, sizeof uri, "unix://%s", path);
    rc = a->virTypedParamsAddString(&c->params, &c->params_len, &max, VIR_MIGRATE_PARAM_URI, uri);
    if (rc == 0 && s->parallel && !resume)
        rc = a->virTypedParamsAddInt(&c->params, &c->params_len, &max,
                                     VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS,
                                     (int)mig_channels(s->cfg.channels));
    if (rc == 0 && !resume)
        rc = add_bandwidth(s, c, &max);
    /* QEMU holds post-copy back by itself, or not at all: the relay does it for both. */
    mib = s->bandwidth >> 20;
    if (rc == 0 && (c->flags & VIR_MIGRATE_POSTCOPY) && mib > 0)
        rc = a->virTypedParamsAddULLong(&c->params, &c->params_len, &max,
                                        VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY, mib + mib / 8 + 1);
    if (rc == 0 && s->disk_copy && !resume) {
        char disks[RELAY_MSG_MAX_DISKS][16];
        size_t n = lv_guest_disks_to_copy(s->g, disks, RELAY_MSG_MAX_DISKS);

        for (size_t i = 0; rc == 0 && i < n; i++)
            rc = a->virTypedParamsAddString(&c->params, &c->params_len, &max,
                                            VIR_MIGRATE_PARAM_MIGRATE_DISKS, disks[i]);
        lv_link_path(s, ".disk", path);
        snprintf(uri, sizeof uri, "unix://%s", path);
        if (rc == 0)
            rc = a->virTypedParamsAddString(&c->params, &c->params_len, &max,
                                            VIR_MIGRATE_PARAM_DISKS_URI, uri);
    }
    if (rc < 0)
        return libvirt_error(err, "parameters of the migration");
    return resume ? 0 : add_xml(s, c, &max, err);
}

/* The domain as it is to be at the target: with the target's directory in place of this one's. */
static int
add_xml(struct lv_source *s, struct lv_call *c, int *max, struct err *err)
{
    static const struct {
        const char *param;
        unsigned flags;
    } all[] = {
        {VIR_MIGRATE_PARAM_DEST_XML, VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_MIGRATABLE},
        {VIR_MIGRATE_PARAM_PERSIST_XML, VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_INACTIVE},
    };

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        AUTO_FREE char *xml = s->api->virDomainGetXMLDesc(s->dom, all[i].flags);
        AUTO_SB struct sb there = SB_INIT;

        if (!xml)
            return libvirt_error(err, "the domain's XML");
        lv_xml_relocate(xml, lv_guest_dir(s->g), s->peer.directory, &there);
        if (s->api->virTypedParamsAddString(&c->params, &c->params_len, max, all[i].param,
                                            sb_str(&there)) < 0)
            return libvirt_error(err, all[i].param);
    }
    return 0;
}

static void *
run_call(void *ctx)
{
    struct lv_call *c = ctx;
    int rc = c->api->virDomainMigrateToURI3(c->dom, c->uri, c->params, (unsigned)c->params_len,
                                            c->flags);

    pthread_mutex_lock(&c->mu);
    c->rc = rc < 0 ? libvirt_error(&c->err, "libvirt") : 0;
    c->ended = true;
    if (c->waiting) {
        pthread_mutex_lock(&c->waiting->mu);
        pthread_cond_broadcast(&c->waiting->cond);
        pthread_mutex_unlock(&c->waiting->mu);
    }
    pthread_mutex_unlock(&c->mu);
    unref(c);
    return NULL;
}

bool
lv_call_ended(struct lv_source *s, int *ret_rc, struct err *err)
{
    struct lv_call *c = s->call;
    bool ended;

    pthread_mutex_lock(&c->mu);
    ended = c->ended;
    if (ended) {
        *ret_rc = c->rc;
        *err = c->err;
    }
    pthread_mutex_unlock(&c->mu);
    return ended;
}

void
lv_call_let_go(struct lv_source *s)
{
    struct lv_call *c = s->call;

    if (!c)
        return;
    s->call = NULL;
    pthread_mutex_lock(&c->mu);
    c->waiting = NULL;
    pthread_mutex_unlock(&c->mu);
    unref(c);
}

static void
unref(struct lv_call *c)
{
    if (atomic_fetch_sub(&c->users, 1) != 1)
        return;
    c->api->virTypedParamsFree(c->params, c->params_len);
    if (c->dom)
        c->api->virDomainFree(c->dom);
    if (c->conn)
        c->api->virConnectClose(c->conn);
    pthread_mutex_destroy(&c->mu);
    free(c);
}

/* --- its job --- */

/* The limit in force has changed: by a user, or by others who share the link. */
static void
follow_limit(struct lv_source *s, uint64_t limit)
{
    uint64_t mib = speed_mib(s, limit);
    struct err err = {0};

    if (mib == s->speed_mib || s->post_copy)
        return;
    s->speed_mib = mib;
    if (s->api->virDomainMigrateSetMaxSpeed(s->dom, mib ? mib : LV_NO_SPEED_LIMIT_MIB, 0) < 0) {
        libvirt_error(&err, "libvirt does not take the limit of bandwidth");
        lv_source_say(s, err_msg(&err));
    }
}

void
lv_call_watch(struct lv_source *s, uint64_t now_us)
{
    enum mig_cause cause = MIG_CAUSE_NONE;
    char say[MIG_DECISION_TEXT] = "";
    enum lv_todo todo = LV_GO_ON;
    struct lv_job job = {0};
    struct err why = {0};
    struct mig_stats st;
    uint64_t limit;
    bool known = read_job(s, &job);

    lv_link_stats(s);
    pthread_mutex_lock(&s->mu);
    st = s->stats;
    limit = st.limit_bytes_per_s;
    pthread_mutex_unlock(&s->mu);
    if (limit != s->limit) {
        s->limit = limit;
        lv_watch_limit(&s->watch, limit);
        follow_limit(s, limit);
    }
    if (!known)
        return;
    todo = lv_watch_step(&s->watch, &job, st.sent_bytes, now_us, &st, say, &cause, &why);
    pthread_mutex_lock(&s->mu);
    { /* what the watch says, and nothing that others have written meanwhile */
        struct mig_stats *to = &s->stats;

        to->round = st.round;
        to->total_bytes = st.total_bytes ? st.total_bytes : to->total_bytes;
        to->remaining_bytes = st.remaining_bytes;
        to->missing_bytes = st.missing_bytes;
        to->raw_pages = st.raw_pages;
        to->zero_pages = st.zero_pages;
        to->transfer_bytes_per_s = st.transfer_bytes_per_s;
        to->dirty_bytes_per_s = st.dirty_bytes_per_s;
        to->throttle_percent = st.throttle_percent;
        to->predicted_downtime_us = st.predicted_downtime_us;
        to->predicted_downtime_p90_us = st.predicted_downtime_p90_us;
        to->predicted_total_p50_us = st.predicted_total_p50_us;
        to->predicted_total_p90_us = st.predicted_total_p90_us;
    }
    st = s->stats;
    pthread_mutex_unlock(&s->mu);
    if (say[0])
        lv_source_say(s, say);
    if (s->cfg.progress)
        s->cfg.progress(s->cfg.ctx, &st);
    act(s, todo, cause, &why);
}

static bool
read_job(struct lv_source *s, struct lv_job *ret)
{
    virTypedParameterPtr p = NULL;
    int type = 0, n = 0;
    const struct {
        const char *name;
        uint64_t *to;
    } fields[] = {
        {VIR_DOMAIN_JOB_MEMORY_TOTAL, &ret->memory_total},
        {VIR_DOMAIN_JOB_MEMORY_REMAINING, &ret->memory_remaining},
        {VIR_DOMAIN_JOB_MEMORY_PROCESSED, &ret->memory_processed},
        {VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE, &ret->dirty_pages_per_s},
        {VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE, &ret->page_size},
        {VIR_DOMAIN_JOB_MEMORY_ITERATION, &ret->iteration},
        {VIR_DOMAIN_JOB_MEMORY_NORMAL, &ret->normal_pages},
        {VIR_DOMAIN_JOB_MEMORY_CONSTANT, &ret->constant_pages},
        {VIR_DOMAIN_JOB_DOWNTIME, &ret->downtime_ms},
        {VIR_DOMAIN_JOB_DISK_TOTAL, &ret->disk_total},
        {VIR_DOMAIN_JOB_DISK_REMAINING, &ret->disk_remaining},
    };
    int throttle = 0;

    if (s->api->virDomainGetJobStats(s->dom, &type, &p, &n, 0) < 0)
        return false; /* the call's end says why */
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        unsigned long long v = 0;

        if (s->api->virTypedParamsGetULLong(p, n, fields[i].name, &v) == 1)
            *fields[i].to = v;
    }
    if (s->api->virTypedParamsGetInt(p, n, VIR_DOMAIN_JOB_AUTO_CONVERGE_THROTTLE, &throttle) == 1 &&
        throttle > 0 && throttle <= 100)
        ret->throttle_percent = (uint64_t)throttle;
    s->api->virTypedParamsFree(p, n);
    return type == VIR_DOMAIN_JOB_BOUNDED || type == VIR_DOMAIN_JOB_UNBOUNDED;
}

static void
act(struct lv_source *s, enum lv_todo todo, enum mig_cause cause, const struct err *why)
{
    struct err err = {0};

    switch (todo) {
    case LV_GO_ON:
        return;
    case LV_GIVE_UP:
        lv_source_trouble(s, cause, why->code, why);
        return;
    case LV_POST_COPY:
        start_post_copy(s);
        return;
    case LV_PAUSE:
        pthread_mutex_lock(&s->mu);
        s->stats.mode = MIG_MODE_PAUSED;
        s->paused_us = s->paused_us ? s->paused_us : clock_mono_us();
        pthread_mutex_unlock(&s->mu);
        if (s->api->virDomainSuspend(s->dom) == 0)
            return;
        libvirt_error(&err, "the guest cannot be paused");
        lv_source_say(s, err_msg(&err));
        lv_watch_failed(&s->watch, LV_PAUSE);
        return;
    }
}

/* Both handlers record it before the switch: after it the target's libvirt lets the guest run as soon as
 * it is asked to finish, and this one never lets it run again. */
static void
start_post_copy(struct lv_source *s)
{
    struct err err = {0};

    pthread_mutex_lock(&s->mu);
    s->post_copy = true;
    s->stats.mode = MIG_MODE_POSTCOPY;
    pthread_mutex_unlock(&s->mu);
    if (!s->committed) {
        enum mig_cause cause;
        int rc = lv_link_commit(s, &cause, &err);

        if (rc != 0) {
            lv_source_trouble(s, cause, rc, &err);
            return;
        }
    }
    if (s->api->virDomainMigrateStartPostCopy(s->dom, 0) == 0)
        return;
    /* It has just ended by itself, or cannot: it goes on as pre-copy, committed already. */
    libvirt_error(&err, "libvirt does not switch to post-copy");
    lv_source_say(s, err_msg(&err));
    lv_watch_failed(&s->watch, LV_POST_COPY);
    pthread_mutex_lock(&s->mu);
    s->post_copy = false;
    s->stats.mode = MIG_MODE_PRECOPY;
    pthread_mutex_unlock(&s->mu);
}
