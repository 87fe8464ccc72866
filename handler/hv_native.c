/* The native driver of hv.h: a thin layer over native_guest.h. Whether a guest is paused is known
 * from what was done to it here; after a restart of the handler it counts as running until somebody
 * asks it to pause or to go on, which both are fine with a guest that does so already. */
#include "handler/hv_native.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "api/names.h"
#include "api/object.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/fs.h"
#include "handler/limits.h"
#include "handler/mover.h"

#define STAT_UTIME 14 /* fields of /proc/PID/stat, proc(5) */
#define STAT_STIME 15
#define STAT_RSS   24
#define STAT_BYTES 4096

struct hv_native {
    struct hv_guest head;
    struct native_guest *g;
    _Atomic int state; /* enum hv_state, while it lives */
    struct loop *l;    /* the watcher's */
    struct loop_fd *end;
    void (*fn)(void *ctx);
    void *ctx;
};

struct native_driver {
    struct hv_driver head;
    const char *state_dir, *program;
};

static const struct hv_ops guest_ops;

static struct hv_native *
of(const struct hv_guest *g)
{
    return (struct hv_native *)(uintptr_t)g;
}

static struct hv_guest *
wrap(struct native_guest *g, enum hv_state state)
{
    struct hv_native *n = xcalloc(1, sizeof *n);

    n->head.ops = &guest_ops;
    n->head.mover = &mover_engine;
    n->g = g;
    atomic_store(&n->state, (int)state);
    return &n->head;
}

struct native_guest *
hv_native(struct hv_guest *g)
{
    return g && g->ops == &guest_ops ? of(g)->g : NULL;
}

void
hv_native_arrived(struct hv_guest *g)
{
    atomic_store(&of(g)->state, native_held(of(g)->g) ? HV_PAUSED : HV_RUNNING);
}

/* --- one guest --- */

static const char *
op_uid(const struct hv_guest *g)
{
    return native_uid(of(g)->g);
}

static const char *
op_name(const struct hv_guest *g)
{
    return native_name(of(g)->g);
}

static uint64_t
op_memory_bytes(const struct hv_guest *g)
{
    return native_memory_bytes(of(g)->g);
}

static void
op_now(struct hv_guest *g, struct hv_now *ret)
{
    struct hv_native *n = of(g);

    *ret = (struct hv_now){.state = HV_ENDED};
    if (native_alive(n->g))
        ret->state = (enum hv_state)atomic_load(&n->state);
    if (ret->state == HV_PAUSED)
        ret->pause = HV_PAUSE_USER;
}

static void
op_exit_reason(struct hv_guest *g, struct hv_exit *ret)
{
    static const enum hv_exit_kind kinds[] = {
        [NATIVE_EXIT_NONE] = HV_EXIT_NONE,     [NATIVE_EXIT_QUIT] = HV_EXIT_QUIT,
        [NATIVE_EXIT_FAILED] = HV_EXIT_FAILED, [NATIVE_EXIT_CRASHED] = HV_EXIT_CRASHED,
        [NATIVE_EXIT_KILLED] = HV_EXIT_KILLED,
    };
    struct native_exit x;

    native_exit_reason(of(g)->g, &x);
    ret->kind = kinds[x.kind];
    snprintf(ret->text, sizeof ret->text, "%s", x.text);
}

static void
op_unwatch(struct hv_guest *g)
{
    struct hv_native *n = of(g);

    loop_fd_del(n->end);
    n->end = NULL;
}

static void
on_end(void *ctx, int fd, int events)
{
    struct hv_native *n = ctx;

    (void)fd;
    (void)events;
    op_unwatch(&n->head); /* readable for ever: said once */
    n->fn(n->ctx);
}

static void
op_watch(struct hv_guest *g, struct loop *l, void (*fn)(void *ctx), void *ctx)
{
    struct hv_native *n = of(g);

    op_unwatch(g);
    n->fn = fn;
    n->ctx = ctx;
    if (native_pidfd(n->g) >= 0)
        n->end = loop_fd_add(l, native_pidfd(n->g), LOOP_READ, on_end, n);
}

static int
op_pause(struct hv_guest *g, struct err *err)
{
    struct hv_native *n = of(g);
    struct guest port = native_guest(n->g);
    int rc;

    native_hold(n->g, true);
    rc = port.ops->pause(port.impl, err);
    if (rc == 0)
        atomic_store(&n->state, HV_PAUSED);
    else
        native_hold(n->g, false);
    return rc;
}

static int
op_resume(struct hv_guest *g, struct err *err)
{
    struct hv_native *n = of(g);
    struct guest port = native_guest(n->g);
    int rc;

    native_hold(n->g, false);
    /* Tracking that an earlier handler left behind is dropped, too: it would cost the guest faults. */
    rc = port.ops->userfaultfd_close(port.impl, err);
    if (rc == 0)
        rc = port.ops->resume(port.impl, err);
    if (rc == 0)
        atomic_store(&n->state, HV_RUNNING);
    return rc;
}

static int
op_shut_down(struct hv_guest *g, struct err *err)
{
    (void)g;
    return err_set(err, -ENOTSUP, "a native guest has no system that could be asked to power off");
}

/* A number of its stat line; 0 when it is not there. */
static uint64_t
stat_field(const char *line, int want)
{
    const char *s = strrchr(line, ')'); /* ends field 2, which may contain anything */

    for (int field = 2; s && field < want; field++) {
        s = strchr(s, ' ');
        s = s ? s + 1 : NULL;
    }
    return s ? strtoull(s, NULL, 10) : 0;
}

static int
op_stats(struct hv_guest *g, struct hv_stats *ret, struct err *err)
{
    struct hv_native *n = of(g);
    uint64_t ticks = (uint64_t)sysconf(_SC_CLK_TCK);
    AUTO_FREE char *line = NULL;
    struct native_status st;
    char path[64];
    size_t len;
    int rc = native_status(n->g, &st, err);

    if (rc != 0)
        return rc;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)native_pid(n->g));
    if (st.state == NATIVE_ENDED || fs_read_all(path, STAT_BYTES, &line, &len, NULL) != 0)
        return err_set(err, -ESRCH, "guest %s has ended", native_uid(n->g));
    *ret = (struct hv_stats){
        .has_cpu = true,
        .has_memory = true,
        .cpu_ns = (stat_field(line, STAT_UTIME) + stat_field(line, STAT_STIME)) *
                  (UINT64_C(1000000000) / ticks),
        .vcpus = st.vcpus,
        .memory_bytes = st.memory_bytes,
        .memory_rss_bytes = stat_field(line, STAT_RSS) * (uint64_t)sysconf(_SC_PAGESIZE),
        .balloon_bytes = st.memory_bytes,
        .available_bytes = st.memory_bytes,
    };
    return 0;
}

static int
op_remove(struct hv_guest *g, struct err *err)
{
    return native_remove(of(g)->g, err);
}

static void
op_free(struct hv_guest *g)
{
    op_unwatch(g);
    native_free(of(g)->g);
    free(of(g));
}

static const struct hv_ops guest_ops = {
    .kind = HV_NATIVE,
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
    .stats = op_stats,
    .remove = op_remove,
    .free = op_free,
};

/* --- the driver --- */

static int
refuse(struct hv_refusal *why, struct err *err)
{
    snprintf(why->reason, sizeof why->reason, "UnsupportedField");
    snprintf(why->text, sizeof why->text, "%s", err_msg(err));
    return -EINVAL;
}

/* Memory, CPUs and workload of a manifest as the native guest wants them. Texts are borrowed from v. */
static int
config_of(const struct native_driver *d, const struct vmi *v, struct native_config *ret,
          struct err *err)
{
    const struct vmi_domain *domain = &v->spec.domain;
    const struct kv_list *ann = &v->meta.annotations;
    struct quantity memory = domain->guest_memory, rate = {0}, set = {0}, fill = {0};
    int64_t cores = domain->cpu.cores > 0 ? domain->cpu.cores : 1;
    int64_t sockets = domain->cpu.sockets > 0 ? domain->cpu.sockets : 1;
    int64_t threads = domain->cpu.threads > 0 ? domain->cpu.threads : 1;
    const char *texts[] = {ANN_WORKLOAD_RATE, ANN_WORKLOAD_SET, ANN_WORKLOAD_FILL};
    struct quantity *into[] = {&rate, &set, &fill};

    memset(ret, 0, sizeof *ret);
    for (size_t i = 0; !memory.set && i < domain->requests.len; i++)
        if (strcmp(domain->requests.items[i].name, "memory") == 0)
            memory = domain->requests.items[i].q;
    if (!memory.set || memory.units < 4096 || (uint64_t)memory.units > HANDLER_MAX_GUEST_BYTES)
        return err_set(err, -EINVAL, "guest memory: want 4Ki to 64Ti");
    if (cores > GUEST_MAX_VCPUS || sockets > GUEST_MAX_VCPUS || threads > GUEST_MAX_VCPUS ||
        cores * sockets * threads > GUEST_MAX_VCPUS)
        return err_set(err, -EINVAL, "cpu: cores * sockets * threads: at most %u",
                       (unsigned)GUEST_MAX_VCPUS);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const char *text = kv_get(ann, texts[i]);
        int rc = text ? quantity_parse(text, into[i], err) : 0;

        if (rc == 0 && into[i]->units < 0)
            rc = err_set(err, -EINVAL, "want 0 or more");
        if (rc != 0)
            return err_prefix(err, rc, "annotation %s", texts[i]);
    }
    ret->state_dir = d->state_dir;
    ret->program = d->program;
    ret->vmi_uid = v->meta.uid;
    ret->memory_bytes = ((uint64_t)memory.units + 4095) & ~4095ull;
    ret->vcpus = (unsigned)(cores * sockets * threads);
    ret->workload = kv_get(ann, ANN_WORKLOAD);
    ret->rate_bytes_per_s = (uint64_t)rate.units;
    ret->set_bytes = (uint64_t)set.units;
    ret->fill_bytes = (uint64_t)fill.units;
    return 0;
}

static int
driver_start(struct hv_driver *d, const struct hv_want *w, struct hv_guest **ret,
             struct hv_refusal *why, struct err *err)
{
    const struct native_driver *n = (struct native_driver *)d;
    struct arena *a = arena_new();
    const struct vmi *v = vmi_decode(w->vmi, a);
    AUTO_FREE char *name = xasprintf("%s/%s", v->meta.namespace_, v->meta.name);
    struct native_config c;
    struct native_guest *g;
    int rc = config_of(n, v, &c, err);

    if (rc != 0) {
        rc = refuse(why, err);
    } else {
        c.name = name;
        c.incoming = w->incoming;
        rc = native_spawn(&c, &g, err);
    }
    if (rc == 0) {
        native_hold(g, w->incoming && w->paused);
        *ret = wrap(g, w->incoming ? HV_INCOMING : HV_RUNNING);
    }
    arena_free(a);
    return rc;
}

static int
driver_open(struct hv_driver *d, const char *uid, struct hv_guest **ret, struct err *err)
{
    struct native_guest *g;
    struct native_status st;
    int rc = native_open(((struct native_driver *)d)->state_dir, uid, &g, err);

    if (rc != 0)
        return rc;
    if (native_status(g, &st, NULL) != 0)
        st.state = NATIVE_RUNNING;
    *ret = wrap(g, st.state == NATIVE_INCOMING ? HV_INCOMING
                   : st.state == NATIVE_PAUSED ? HV_PAUSED
                                               : HV_RUNNING);
    return 0;
}

static int
driver_find(struct hv_driver *d, struct hv_guest ***ret, size_t *ret_len, struct err *err)
{
    struct native_guest **list = NULL;
    size_t len = 0;
    int rc = native_find(((struct native_driver *)d)->state_dir, &list, &len, err);

    if (rc != 0)
        return rc;
    *ret = xcalloc(len + 1, sizeof(struct hv_guest *));
    *ret_len = len;
    for (size_t i = 0; i < len; i++)
        (*ret)[i] =
            wrap(list[i], HV_RUNNING); /* not asked: one that hangs would hold up the rest */
    free(list);
    return 0;
}

static int
driver_ready(struct hv_driver *d, struct err *err)
{
    return native_ready(((struct native_driver *)d)->program, err);
}

static void
driver_free(struct hv_driver *d)
{
    free(d);
}

struct hv_driver *
hv_native_driver(const char *state_dir, const char *program)
{
    static const struct hv_driver_ops ops = {
        .kind = HV_NATIVE,
        .start = driver_start,
        .open = driver_open,
        .find = driver_find,
        .ready = driver_ready,
        .free = driver_free,
    };
    struct native_driver *d = xcalloc(1, sizeof *d);

    d->head.ops = &ops;
    d->state_dir = state_dir;
    d->program = program;
    return &d->head;
}
