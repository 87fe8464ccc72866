/* A VM's life on one host, on virtual time: the handler's own reconcile with hypervisors, workers and an
 * API that are fakes. Which hypervisor it gets, starts that are refused, pause, the grace period, ends
 * of all kinds, and a hypervisor that is away. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "base/fs.h"
#include "base/sb.h"
#include "handler/handler.h"
#include "handler/limits.h"

#define UID     "u-1"
#define ME      "n1"
#define SECONDS 1000000u
#define STARTED INT64_C(1767225600) /* wall clock of loop_sim_new, unix time */

/* --- a hypervisor --- */

struct dom { /* what there is, whoever holds handles of it */
    bool there;
    enum hv_kind kind;
    struct hv_now now;
    struct hv_exit exit;
    unsigned shut_downs, looks;
    bool obeys; /* powers off when it is asked to */
};

struct fake_guest {
    struct hv_guest head;
    void (*fn)(void *ctx);
    void *ctx;
};

struct fake_driver {
    struct hv_driver head;
    bool up;
    int refuse_rc;
    struct hv_refusal refuse;
    unsigned starts;
    size_t pvcs, pvs, nads; /* that the last start was given */
};

/* --- the world --- */

struct informer {
    struct tree *objects;
};
struct writer {
    int unused;
};
struct work {
    int unused;
};

static struct {
    struct handler h;
    struct fake_driver drivers[HV_KIND_COUNT];
    struct dom dom;
    struct fake_guest *handle;
    struct tree *vmi;
    uint64_t version;
    struct informer objects[8]; /* vmis, pvcs, pvs, nads, vmims */
    char dir[64];
    bool slow; /* workers take half a second */
} w;

static void
tell(void)
{
    if (w.handle && w.handle->fn)
        w.handle->fn(w.handle->ctx);
}

static const char *
fake_uid(const struct hv_guest *g)
{
    (void)g;
    return UID;
}

static const char *
fake_name(const struct hv_guest *g)
{
    (void)g;
    return "shop/db";
}

static uint64_t
fake_memory(const struct hv_guest *g)
{
    (void)g;
    return 64 << 20;
}

static void
fake_now(struct hv_guest *g, struct hv_now *ret)
{
    *ret = w.dom.now;
    if (!w.dom.there)
        *ret = (struct hv_now){.state = HV_ENDED};
    if (!w.drivers[g->ops->kind].up)
        ret->state = HV_UNKNOWN;
}

static void
fake_exit(struct hv_guest *g, struct hv_exit *ret)
{
    (void)g;
    *ret = w.dom.exit;
}

static void
fake_watch(struct hv_guest *g, struct loop *l, void (*fn)(void *ctx), void *ctx)
{
    struct fake_guest *f = (struct fake_guest *)g;

    (void)l;
    f->fn = fn;
    f->ctx = ctx;
}

static void
fake_unwatch(struct hv_guest *g)
{
    ((struct fake_guest *)g)->fn = NULL;
}

static int
answers(const struct hv_guest *g, struct err *err)
{
    if (!w.drivers[g->ops->kind].up)
        return err_set(err, -ENOTCONN, "nobody answers");
    return w.dom.there && w.dom.now.state != HV_ENDED ? 0 : err_set(err, -ESRCH, "it has ended");
}

static int
fake_pause(struct hv_guest *g, struct err *err)
{
    int rc = answers(g, err);

    if (rc == 0 && w.dom.now.state == HV_RUNNING) {
        w.dom.now.state = HV_PAUSED;
        w.dom.now.pause = HV_PAUSE_USER;
    }
    return rc;
}

static int
fake_resume(struct hv_guest *g, struct err *err)
{
    int rc = answers(g, err);

    if (rc == 0) {
        w.dom.now.state = HV_RUNNING;
        w.dom.now.pause = HV_PAUSE_NONE;
    }
    return rc;
}

static void
ends(enum hv_exit_kind kind, const char *text)
{
    w.dom.now.state = HV_ENDED;
    w.dom.exit.kind = kind;
    snprintf(w.dom.exit.text, sizeof w.dom.exit.text, "%s", text);
}

static int
fake_shut_down(struct hv_guest *g, struct err *err)
{
    int rc = answers(g, err);

    if (g->ops->kind == HV_NATIVE)
        return err_set(err, -ENOTSUP, "nobody to ask");
    w.dom.shut_downs++;
    if (rc == 0 && w.dom.obeys)
        ends(HV_EXIT_QUIT, "powered off");
    return rc;
}

static int
fake_stats(struct hv_guest *g, struct hv_stats *ret, struct err *err)
{
    int rc = answers(g, err);

    w.dom.looks++;
    if (rc == 0)
        *ret = (struct hv_stats){.has_cpu = true, .cpu_ns = 1500000000, .available_bytes = 4096};
    return rc;
}

static int
fake_remove(struct hv_guest *g, struct err *err)
{
    if (!w.drivers[g->ops->kind].up)
        return err_set(err, -ENOTCONN, "nobody answers");
    w.dom.there = false;
    return 0;
}

static void
fake_free(struct hv_guest *g)
{
    if (w.handle == (struct fake_guest *)g)
        w.handle = NULL;
    free(g);
}

#define FAKE_GUEST(k)                                                                            \
    {                                                                                            \
        .kind = (k), .uid = fake_uid, .name = fake_name, .memory_bytes = fake_memory,            \
        .now = fake_now, .exit_reason = fake_exit, .watch = fake_watch, .unwatch = fake_unwatch, \
        .pause = fake_pause, .resume = fake_resume, .shut_down = fake_shut_down,                 \
        .stats = fake_stats, .remove = fake_remove, .free = fake_free                            \
    }
static const struct hv_ops guest_ops[] = {FAKE_GUEST(HV_NATIVE), FAKE_GUEST(HV_LIBVIRT)};

static struct hv_guest *
handle(void)
{
    w.handle = xcalloc(1, sizeof *w.handle);
    w.handle->head.ops = &guest_ops[w.dom.kind];
    return &w.handle->head;
}

static int
fake_start(struct hv_driver *d, const struct hv_want *want, struct hv_guest **ret,
           struct hv_refusal *why, struct err *err)
{
    struct fake_driver *f = (struct fake_driver *)d;

    f->starts++;
    f->pvcs = tree_len(want->pvcs);
    f->pvs = tree_len(want->pvs);
    f->nads = tree_len(want->nads);
    if (f->refuse_rc) {
        *why = f->refuse;
        return err_set(err, f->refuse_rc, "as the driver says");
    }
    if (w.dom.there)
        return err_set(err, -EEXIST, "there is one");
    w.dom = (struct dom){.there = true, .kind = d->ops->kind, .now = {.state = HV_RUNNING}};
    *ret = handle();
    return 0;
}

static int
fake_open(struct hv_driver *d, const char *uid, struct hv_guest **ret, struct err *err)
{
    (void)uid;
    if (!w.dom.there || w.dom.kind != d->ops->kind)
        return err_set(err, -ENOENT, "none");
    *ret = handle();
    return 0;
}

static int
fake_find(struct hv_driver *d, struct hv_guest ***ret, size_t *ret_len, struct err *err)
{
    if (!((struct fake_driver *)d)->up)
        return err_set(err, -ENOTCONN, "nobody answers");
    *ret = xcalloc(1, sizeof(struct hv_guest *));
    *ret_len = 0;
    if (w.dom.there && w.dom.kind == d->ops->kind)
        (*ret)[(*ret_len)++] = handle();
    return 0;
}

static int
fake_ready(struct hv_driver *d, struct err *err)
{
    return ((struct fake_driver *)d)->up ? 0 : err_set(err, -ENOTCONN, "nobody answers");
}

static const struct hv_driver_ops driver_ops[] = {
    {HV_NATIVE, fake_start, fake_open, fake_find, fake_ready, NULL},
    {HV_LIBVIRT, fake_start, fake_open, fake_find, fake_ready, NULL},
};

/* --- workers: at once, and done in a turn of its own --- */

struct work_item {
    void (*done)(void *ctx);
    void *ctx;
};

static void
work_ended(void *ctx)
{
    struct work_item i = *(struct work_item *)ctx;

    free(ctx);
    i.done(i.ctx);
}

void
work_run(struct work *k, void (*fn)(void *ctx), void (*done)(void *ctx), void *ctx)
{
    struct work_item *i = xcalloc(1, sizeof *i);

    (void)k;
    *i = (struct work_item){done, ctx};
    fn(ctx);
    if (w.slow)
        loop_timer_add(w.h.l, SECONDS / 2, work_ended, i);
    else
        loop_post(w.h.l, work_ended, i);
}

struct work *
work_new(struct loop *l, unsigned threads)
{
    (void)l;
    (void)threads;
    return NULL;
}

void
work_free(struct work *k)
{
    (void)k;
}

/* --- informers --- */

struct informer *
informer_new(struct loop *l, const char *url, const char *path, const struct informer_events *ev,
             struct err *err)
{
    (void)l;
    (void)url;
    (void)path;
    (void)ev;
    (void)err;
    return NULL;
}

void
informer_free(struct informer *i)
{
    tree_free(i->objects);
}

bool
informer_synced(const struct informer *i)
{
    (void)i;
    return true;
}

const struct tree *
informer_get(const struct informer *i, const char *ns, const char *name)
{
    for (size_t n = 0; n < tree_len(i->objects); n++) {
        const struct tree *o = tree_at(i->objects, n);

        if (strcmp(object_namespace(o), ns) == 0 && strcmp(object_name(o), name) == 0)
            return o;
    }
    return NULL;
}

const struct tree *
informer_get_uid(const struct informer *i, const char *uid)
{
    (void)i;
    (void)uid;
    return NULL;
}

const struct tree *
informer_first(const struct informer *i)
{
    return tree_at(i->objects, 0);
}

const struct tree *
informer_next(const struct informer *i, size_t *it)
{
    return *it < tree_len(i->objects) ? tree_at(i->objects, (*it)++) : NULL;
}

static void
put_object(struct informer *i, const char *json)
{
    struct tree *t;

    assert_int_equal(tree_from_json(json, strlen(json), &t, NULL), 0);
    if (!i->objects)
        i->objects = tree_list();
    tree_append(i->objects, t);
}

/* --- the API: one object, and patches of it --- */

struct answer {
    writer_fn fn;
    void *ctx;
    int status;
    struct tree *body;
};

static void
answer(void *ctx)
{
    struct answer *a = ctx;

    a->fn(a->ctx, a->status, a->body, "");
    tree_free(a->body);
    free(a);
}

static void
changed(void)
{
    tree_set_path(w.vmi, tree_stringf("%llu", (unsigned long long)++w.version), "metadata",
                  "resourceVersion", NULL);
    vm_object_changed(&w.h, w.vmi, false);
}

void
writer_send(struct writer *k, const char *key, const char *method, const char *path,
            const char *content_type, const struct tree *body, writer_fn fn, void *ctx)
{
    struct answer *a = xcalloc(1, sizeof *a);
    const char *at = tree_find_string(body, NULL, "metadata", "resourceVersion", NULL);

    (void)k;
    (void)key;
    (void)path;
    (void)content_type;
    assert_string_equal(method, "PATCH");
    *a = (struct answer){fn, ctx, 200, NULL};
    if (at && strcmp(at, tree_find_string(w.vmi, "", "metadata", "resourceVersion", NULL)) != 0) {
        a->status = 409;
    } else {
        tree_merge_patch(w.vmi, body);
        tree_set_path(w.vmi, tree_stringf("%llu", (unsigned long long)++w.version), "metadata",
                      "resourceVersion", NULL);
        a->body = tree_copy(w.vmi);
    }
    loop_post(w.h.l, answer, a);
}

struct writer *
writer_new(struct loop *l, const char *url, struct err *err)
{
    (void)l;
    (void)url;
    (void)err;
    return NULL;
}

size_t
writer_queued(struct writer *k)
{
    (void)k;
    return 0;
}

void
writer_free(struct writer *k)
{
    (void)k;
}

/* --- the rig --- */

static void
handler_begin(void)
{
    struct handler *h = &w.h;

    *h = (struct handler){
        .cfg = {.node_name = ME, .state_dir = w.dir},
        .l = h->l ? h->l : loop_sim_new(7),
        .vms = strmap_new(),
        .cluster = "c",
        .net = {.state = MIGNET_NONE, .ip = "198.18.0.1"},
        .vmis = &w.objects[0],
        .pvcs = &w.objects[1],
        .pvs = &w.objects[2],
        .nads = &w.objects[3],
        .vmims = &w.objects[4],
    };
    for (int k = 0; k < HV_KIND_COUNT; k++)
        h->drivers[k] = &w.drivers[k].head;
    h->started_us = loop_now_us(h->l);
    assert_int_equal(vm_load_all(h, NULL), 0);
}

static void
handler_end(void)
{
    vm_free_all(&w.h);
    strmap_free(w.h.vms, NULL);
    loop_timer_del(w.h.retry);
}

static int
setup(void **state)
{
    static const char vmi[] =
        "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstance\",\"metadata\":{"
        "\"namespace\":\"shop\",\"name\":\"db\",\"uid\":\"" UID "\",\"annotations\":{}},"
        "\"spec\":{\"domain\":{\"memory\":{\"guest\":\"64Mi\"},\"devices\":{}}},"
        "\"status\":{\"phase\":\"Scheduled\",\"nodeName\":\"" ME "\"}}";

    (void)state;
    memset(&w, 0, sizeof w);
    snprintf(w.dir, sizeof w.dir, "/tmp/drover-vm-XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    for (int k = 0; k < HV_KIND_COUNT; k++)
        w.drivers[k] = (struct fake_driver){.head.ops = &driver_ops[k], .up = true};
    assert_int_equal(tree_from_json(vmi, strlen(vmi), &w.vmi, NULL), 0);
    handler_begin();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    handler_end();
    loop_free(w.h.l);
    tree_free(w.vmi);
    for (size_t i = 0; i < ARRAY_LEN(w.objects); i++)
        tree_free(w.objects[i].objects);
    return fs_rmtree(w.dir, NULL);
}

static void
run(uint64_t us)
{
    loop_sim_run_until(w.h.l, loop_now_us(w.h.l) + us);
}

static void
annotate(const char *key, const char *value)
{
    tree_set_path(w.vmi, tree_string(value), "metadata", "annotations", key, NULL);
    changed();
}

static void
libvirt_is(bool up)
{
    w.drivers[HV_LIBVIRT].up = up;
    handler_hypervisor_changed(&w.h, HV_LIBVIRT, up);
    tell();
}

static struct vm_entry *
entry(void)
{
    return strmap_get(w.h.vms, UID);
}

static const char *
phase(void)
{
    return tree_find_string(w.vmi, "", "status", "phase", NULL);
}

/* "Status Reason: message", or "" without such a condition. */
static const char *
condition(const char *type)
{
    static char text[HV_TEXT_SIZE + 128];
    const struct tree *c = object_condition(w.vmi, type);

    text[0] = '\0';
    if (c)
        snprintf(text, sizeof text, "%s %s: %s", tree_find_string(c, "", "status", NULL),
                 tree_find_string(c, "", "reason", NULL), tree_find_string(c, "", "message", NULL));
    return text;
}

static void
delete_vmi(void)
{
    char now[40];

    time_format(loop_wall_us(w.h.l), false, now, sizeof now);
    tree_set_path(w.vmi, tree_string(now), "metadata", "deletionTimestamp", NULL);
    changed();
}

static void
start(void)
{
    changed();
    run(SECONDS);
    assert_string_equal(phase(), "Running");
}

/* --- which hypervisor --- */

static const struct choice {
    const char *name;
    const char *annotation, *workload;
    enum handler_hypervisor option;
    bool up;             /* libvirt answers */
    const char *runs_on; /* NULL: nothing is started */
    const char *says;    /* then: the condition */
} choices[] = {
    {"auto, libvirt answers", NULL, NULL, HANDLER_HV_AUTO, true, "libvirt", NULL},
    {"auto, it does not", NULL, NULL, HANDLER_HV_AUTO, false, "native", NULL},
    {"a workload is a native guest's", NULL, "mix", HANDLER_HV_AUTO, true, "native", NULL},
    {"... unless the VM says otherwise", "libvirt", "mix", HANDLER_HV_AUTO, true, "libvirt", NULL},
    {"asked for native", "native", NULL, HANDLER_HV_LIBVIRT, true, "native", NULL},
    {"the option native", NULL, NULL, HANDLER_HV_NATIVE, true, "native", NULL},
    {"the option libvirt", NULL, NULL, HANDLER_HV_LIBVIRT, true, "libvirt", NULL},
    {"the option libvirt, and it is away", NULL, NULL, HANDLER_HV_LIBVIRT, false, NULL,
     "False HypervisorNotReady: no libvirt guests on node n1 now: nobody answers"},
    {"asked for libvirt, and it is away", "libvirt", NULL, HANDLER_HV_AUTO, false, NULL,
     "False HypervisorNotReady: no libvirt guests on node n1 now: nobody answers"},
    {"an unknown word", "xen", NULL, HANDLER_HV_AUTO, true, NULL,
     "False InvalidAnnotation: annotation drover.io/hypervisor: \"xen\": want native or libvirt"},
};

static void
test_choice(void **state)
{
    const struct choice *c = *state;

    w.h.cfg.hypervisor = c->option;
    w.drivers[HV_LIBVIRT].up = c->up;
    if (c->annotation)
        annotate(ANN_HYPERVISOR, c->annotation);
    if (c->workload)
        annotate(ANN_WORKLOAD, c->workload);
    changed();
    run(5 * SECONDS);
    if (c->runs_on) {
        assert_string_equal(phase(), "Running");
        assert_string_equal(object_annotation(w.vmi, ANN_RUNS_ON), c->runs_on);
        assert_string_equal(hv_kind_name(entry()->j.hypervisor), c->runs_on);
        assert_string_equal(hv_kind_name(w.dom.kind), c->runs_on);
        assert_string_equal(condition("Synchronized"), "");
    } else {
        assert_false(w.dom.there);
        assert_string_equal(condition("Synchronized"), c->says);
    }
}

static void
test_choice_waits_for_libvirt(void **state)
{
    (void)state;
    w.drivers[HV_LIBVIRT].up = false;
    changed();
    run(SECONDS);
    assert_string_equal(phase(), "Scheduled"); /* it may answer yet */
    libvirt_is(true);
    run(SECONDS);
    assert_string_equal(object_annotation(w.vmi, ANN_RUNS_ON), "libvirt");
}

/* --- refused --- */

static void
test_refused_until_the_volume_is_there(void **state)
{
    struct fake_driver *d = &w.drivers[HV_LIBVIRT];
    unsigned starts;

    (void)state;
    d->refuse_rc = -ENOENT;
    d->refuse = (struct hv_refusal){"VolumeNotFound", "volume root: no claim db-root"};
    tree_set_path(w.vmi, tree_list(), "spec", "volumes", NULL);
    tree_append(tree_get(tree_get(w.vmi, "spec"), "volumes"), tree_map());
    tree_set_path(tree_at(tree_get(tree_get(w.vmi, "spec"), "volumes"), 0), tree_string("db-root"),
                  "persistentVolumeClaim", "claimName", NULL);
    tree_set_path(w.vmi, tree_list(), "spec", "networks", NULL);
    tree_append(tree_get(tree_get(w.vmi, "spec"), "networks"), tree_map());
    tree_set_path(tree_at(tree_get(tree_get(w.vmi, "spec"), "networks"), 0),
                  tree_string("net/vlan5"), "multus", "networkName", NULL);
    changed();
    run(SECONDS / 2);
    assert_string_equal(phase(), "Scheduled");
    assert_string_equal(condition("Synchronized"),
                        "False VolumeNotFound: volume root: no claim db-root");
    assert_false(entry()->has_journal);
    run(600 * SECONDS); /* tried again, and less and less often */
    assert_in_range(d->starts, 10, 20);
    assert_string_equal(phase(), "Scheduled");

    starts = d->starts;
    d->refuse_rc = 0;
    put_object(w.h.pvcs, "{\"metadata\":{\"namespace\":\"shop\",\"name\":\"db-root\"},"
                         "\"spec\":{\"volumeName\":\"pv-7\"}}");
    put_object(w.h.pvcs, "{\"metadata\":{\"namespace\":\"other\",\"name\":\"db-root\"}}");
    put_object(w.h.pvs, "{\"metadata\":{\"name\":\"pv-7\"}}");
    put_object(w.h.nads, "{\"metadata\":{\"namespace\":\"net\",\"name\":\"vlan5\"}}");
    vm_refused_again(&w.h);
    run(SECONDS / 2);
    assert_int_equal(d->starts, starts + 1);
    assert_int_equal(d->pvcs, 1);
    assert_int_equal(d->pvs, 1);
    assert_int_equal(d->nads, 1);
    assert_string_equal(phase(), "Running");
    assert_string_equal(condition("Synchronized"), "");
}

static void
test_refused_for_good(void **state)
{
    struct fake_driver *d = &w.drivers[HV_LIBVIRT];

    (void)state;
    d->refuse_rc = -ENOTSUP;
    d->refuse = (struct hv_refusal){"UnsupportedField", "spec.domain.devices.gpus: not made here"};
    changed();
    run(SECONDS);
    assert_string_equal(phase(), "Failed");
    assert_string_equal(condition("Synchronized"),
                        "False UnsupportedField: spec.domain.devices.gpus: not made here");
    vm_refused_again(&w.h);
    run(300 * SECONDS);
    assert_int_equal(d->starts, 1);
    assert_false(entry()->has_journal);
}

/* --- pause --- */

static void
test_pause(void **state)
{
    (void)state;
    start();
    annotate(ANN_PAUSE_REQUEST, "true");
    run(SECONDS);
    assert_int_equal(w.dom.now.state, HV_PAUSED);
    assert_string_equal(condition("Paused"), "True PausedByUser: VMI was paused by user");
    assert_string_equal(phase(), "Running");

    handler_end(); /* a new handler finds it so, and leaves it so */
    handler_begin();
    libvirt_is(true);
    changed();
    run(SECONDS);
    assert_int_equal(w.dom.now.state, HV_PAUSED);

    annotate(ANN_PAUSE_REQUEST, "false");
    run(SECONDS);
    assert_int_equal(w.dom.now.state, HV_RUNNING);
    assert_string_equal(condition("Paused"), "");
    assert_null(object_annotation(w.vmi, ANN_PAUSE_REQUEST));
}

static void
test_pause_of_others(void **state)
{
    static const struct {
        enum hv_pause why;
        const char *says;
    } rows[] = {
        {HV_PAUSE_USER, "True PausedByUser: VMI was paused by user"},
        {HV_PAUSE_IO_ERROR, "True PausedIOError: VMI was paused, low-level IO error detected"},
        {HV_PAUSE_OTHER, "True PausedByHypervisor: VMI was paused by its hypervisor"},
    };

    (void)state;
    start();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        w.dom.now = (struct hv_now){.state = HV_PAUSED, .pause = rows[i].why};
        tell();
        run(SECONDS);
        assert_string_equal(condition("Paused"), rows[i].says);
        annotate(ANN_PAUSE_REQUEST, "false"); /* unpause */
        run(SECONDS);
        assert_int_equal(w.dom.now.state, HV_RUNNING);
        assert_string_equal(condition("Paused"), "");
        assert_null(object_annotation(w.vmi, ANN_PAUSE_REQUEST));
    }
}

/* A migration leaves a guest that it brought paused with a reason of its own. */
static void
test_pause_over_a_migration(void **state)
{
    (void)state;
    start();
    annotate(ANN_PAUSE_REQUEST, "true");
    run(SECONDS);
    w.dom.now.pause = HV_PAUSE_MIGRATION;
    tell();
    run(SECONDS);
    assert_int_equal(w.dom.now.state, HV_PAUSED);
    assert_string_equal(condition("Paused"), "True PausedByUser: VMI was paused by user");
    annotate(ANN_PAUSE_REQUEST, "false");
    run(SECONDS);
    assert_int_equal(w.dom.now.state, HV_RUNNING);

    w.dom.now = (struct hv_now){.state = HV_PAUSED, .pause = HV_PAUSE_MIGRATION};
    tell(); /* nobody wants it so */
    run(SECONDS);
    assert_int_equal(w.dom.now.state, HV_RUNNING);
    assert_string_equal(condition("Paused"), "");
}

static void
test_agent(void **state)
{
    (void)state;
    start();
    assert_string_equal(condition("AgentConnected"), "");
    w.dom.now.agent_connected = true;
    tell();
    run(SECONDS);
    assert_string_equal(condition("AgentConnected"), "True : ");
    w.dom.now.agent_connected = false;
    tell();
    run(SECONDS);
    assert_string_equal(condition("AgentConnected"), "");
}

/* --- the end --- */

static void
test_powers_off_in_time(void **state)
{
    (void)state;
    start();
    w.dom.obeys = true;
    delete_vmi();
    run(SECONDS);
    assert_int_equal(w.dom.shut_downs, 1);
    tell();
    run(SECONDS);
    assert_false(w.dom.there);
    assert_string_equal(phase(), "Succeeded");
}

static void
test_grace(void **state)
{
    static const struct {
        const char *name;
        int64_t seconds; /* -1: the default */
        uint64_t lives_s, gone_s;
        unsigned asked;
    } rows[] = {
        {"the default", -1, 29, 31, 3},
        {"its own", 12, 11, 13, 2},
        {"none", 0, 0, 1, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t began;

        if (i > 0) {
            teardown(NULL);
            setup(NULL);
        }
        if (rows[i].seconds >= 0)
            tree_set_path(w.vmi, tree_int(rows[i].seconds), "spec", "terminationGracePeriodSeconds",
                          NULL);
        start();
        run(SECONDS - loop_wall_us(w.h.l) % SECONDS); /* deletionTimestamp has whole seconds */
        began = loop_now_us(w.h.l);
        delete_vmi();
        if (rows[i].lives_s) {
            run(rows[i].lives_s * SECONDS);
            assert_true(w.dom.there);
        }
        run(began + rows[i].gone_s * SECONDS - loop_now_us(w.h.l));
        assert_false(w.dom.there);
        assert_int_equal(w.dom.shut_downs, rows[i].asked);
        run(SECONDS);
        assert_string_equal(phase(), "Succeeded");
    }
}

/* A handler that is restarted in between does not begin to wait anew. */
static void
test_grace_over_a_restart(void **state)
{
    (void)state;
    start();
    delete_vmi();
    run(20 * SECONDS);
    handler_end();
    handler_begin();
    libvirt_is(true);
    changed();
    run(8 * SECONDS);
    assert_true(w.dom.there);
    run(4 * SECONDS);
    assert_false(w.dom.there);
}

static void
test_no_grace_without_ears(void **state)
{
    (void)state;
    annotate(ANN_WORKLOAD, "idle");
    start();
    delete_vmi();
    run(SECONDS);
    assert_false(w.dom.there);
    assert_string_equal(phase(), "Succeeded");
}

static const struct ending {
    const char *name;
    enum hv_exit_kind kind;
    bool vanishes; /* nothing of it is left: undefined behind our back */
    const char *phase, *reason;
} endings[] = {
    {"powers itself off", HV_EXIT_QUIT, false, "Succeeded", "it ended"},
    {"crashes", HV_EXIT_CRASHED, false, "Failed", "it ended"},
    {"fails", HV_EXIT_FAILED, false, "Failed", "it ended"},
    {"is destroyed", HV_EXIT_KILLED, false, "Failed", "it ended"},
    {"is undefined", HV_EXIT_KILLED, true, "Failed", "it ended"},
    {"is migrated by others", HV_EXIT_MIGRATED, false, "Failed", "it ended"},
};

static void
test_ending(void **state)
{
    const struct ending *r = *state;

    start();
    ends(r->kind, "it ended");
    w.dom.there = !r->vanishes;
    tell();
    run(SECONDS);
    assert_string_equal(phase(), r->phase);
    assert_string_equal(tree_find_string(w.vmi, "", "status", "reason", NULL), r->reason);
    assert_non_null(strstr(condition("Ready"), "False GuestNotRunning"));
    changed();
    run(SECONDS);
    assert_false(w.dom.there);
    assert_false(entry()->has_journal);
}

static void
test_reboot(void **state)
{
    (void)state;
    start();
    w.dom.now.resets++;
    tell();
    run(SECONDS);
    assert_string_equal(phase(), "Running");
    assert_int_equal(w.drivers[HV_LIBVIRT].starts, 1);
}

/* --- a hypervisor that is away --- */

static void
test_away(void **state)
{
    (void)state;
    start();
    libvirt_is(false);
    run(300 * SECONDS);
    assert_string_equal(phase(), "Running");
    assert_string_equal(condition("Ready"), "Unknown HypervisorNotReady: nobody answers");
    libvirt_is(true);
    run(SECONDS);
    assert_string_equal(condition("Ready"), "True : ");
    assert_true(w.dom.there);
}

/* The handler was started anew and libvirt is not there: whatever the objects say, nothing is done. */
static void
test_away_at_start(void **state)
{
    static const bool deleted[] = {false, true};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(deleted); i++) {
        if (i > 0) {
            teardown(NULL);
            setup(NULL);
        }
        start();
        handler_end();
        w.drivers[HV_LIBVIRT].up = false;
        handler_begin();
        if (deleted[i])
            delete_vmi();
        changed();
        run(300 * SECONDS);
        assert_string_equal(phase(), "Running");
        assert_string_equal(condition("Ready"), "Unknown HypervisorNotReady: nobody answers");
        assert_int_equal(entry()->j.state, JOURNAL_RUNNING);
        assert_true(w.dom.there);
        assert_null(entry()->guest);

        libvirt_is(true);
        run(SECONDS);
        if (deleted[i]) {
            assert_false(w.dom.there); /* its grace period is long over */
            continue;
        }
        assert_non_null(entry()->guest);
        assert_string_equal(condition("Ready"), "True : ");
        assert_int_equal(w.drivers[HV_LIBVIRT].starts, 1);
    }
}

/* ... and when libvirt comes back without it, it is gone. */
static void
test_gone_at_start(void **state)
{
    (void)state;
    start();
    handler_end();
    w.drivers[HV_LIBVIRT].up = false;
    w.dom.there = false;
    handler_begin();
    changed();
    run(10 * SECONDS);
    assert_string_equal(phase(), "Running");
    libvirt_is(true);
    run(SECONDS);
    assert_string_equal(phase(), "Failed");
    assert_string_equal(tree_find_string(w.vmi, "", "status", "reason", NULL),
                        "the guest domain is gone");
}

/* libvirt ends the source's domain by itself: a handler that comes back after that does not know by its
 * journal. The target is asked; that the guest is dead is never concluded. */
static void
test_left_with_a_migration(void **state)
{
    static const char ms[] =
        "{\"migrationUid\":\"m-1\",\"sourceNode\":\"n1\",\"targetNode\":\"n2\","
        "\"targetNodeAddress\":\"198.18.0.2:49152\",\"startTimestamp\":\"2026-01-01T00:00:00Z\"}";
    struct tree *t;

    (void)state;
    start();
    handler_end();
    w.dom.there = false;
    handler_begin();
    assert_int_equal(tree_from_json(ms, strlen(ms), &t, NULL), 0);
    tree_set_path(w.vmi, t, "status", "migrationState", NULL);
    libvirt_is(true);
    changed();
    run(10 * SECONDS);
    assert_string_equal(phase(), "Running");
    assert_int_equal(entry()->j.state, JOURNAL_COMMITTED);
    assert_string_equal(entry()->j.migration_uid, "m-1");
}

/* --- figures --- */

static const char *
metrics(void)
{
    static struct sb out;

    sb_reset(&out);
    node_metrics_text(&w.h, &out);
    return sb_str(&out);
}

static void
test_figures(void **state)
{
    static const char cpu[] =
        "kubevirt_vmi_cpu_usage_seconds_total{node=\"n1\",namespace=\"shop\",name=\"db\"} 1.5\n";
    static const char available[] =
        "kubevirt_vmi_memory_available_bytes{node=\"n1\",namespace=\"shop\",name=\"db\"} 4096\n";
    static const char what[] = "drover_vmi_hypervisor{node=\"n1\",namespace=\"shop\",name=\"db\","
                               "hypervisor=\"libvirt\"} 1\n";

    (void)state;
    w.h.metrics = node_metrics_new();
    w.h.share = share_new();
    start();
    assert_non_null(strstr(metrics(), what));
    assert_null(strstr(metrics(), "kubevirt_vmi_cpu"));
    vm_stats_start(&w.h);
    run(HANDLER_STATS_US + 1);
    assert_non_null(strstr(metrics(), cpu));
    assert_non_null(strstr(metrics(), available));
    assert_null(strstr(metrics(), "kubevirt_vmi_storage")); /* not known is not 0 */

    libvirt_is(false); /* nobody is asked who does not answer, and old figures are no news */
    w.dom.looks = 0;
    run(3 * HANDLER_STATS_US);
    assert_int_equal(w.dom.looks, 0);
    assert_null(strstr(metrics(), "kubevirt_vmi_cpu"));
    libvirt_is(true);
    run(2 * HANDLER_STATS_US);
    assert_non_null(strstr(metrics(), cpu));

    ends(HV_EXIT_QUIT, "powered off");
    tell();
    run(SECONDS);
    changed();
    run(HANDLER_STATS_US + SECONDS);
    assert_null(strstr(metrics(), "kubevirt_vmi_"));
    vm_stats_stop(&w.h);
    share_free(w.h.share);
    node_metrics_free(w.h.metrics);
}

/* The guest goes while its figures are being taken: its handle lives until they have been. */
static void
test_figures_of_one_that_goes(void **state)
{
    (void)state;
    start();
    vm_stats_start(&w.h);
    loop_sim_run_until(w.h.l, loop_now_us(w.h.l) + HANDLER_STATS_US - 1);
    w.slow = true;
    run(2);
    assert_true(entry()->sampling);
    vm_drop_guest(entry());
    assert_non_null(w.handle);
    w.slow = false;
    run(SECONDS);
    assert_null(w.handle);
    vm_stats_stop(&w.h);
}

int
main(void)
{
    struct CMUnitTest tests[64] = {
        cmocka_unit_test_setup_teardown(test_choice_waits_for_libvirt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_until_the_volume_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_for_good, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pause, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pause_of_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pause_over_a_migration, setup, teardown),
        cmocka_unit_test_setup_teardown(test_agent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_powers_off_in_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_grace, setup, teardown),
        cmocka_unit_test_setup_teardown(test_grace_over_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_grace_without_ears, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reboot, setup, teardown),
        cmocka_unit_test_setup_teardown(test_away, setup, teardown),
        cmocka_unit_test_setup_teardown(test_away_at_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gone_at_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_figures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_figures_of_one_that_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_left_with_a_migration, setup, teardown),
    };
    size_t n = 0;

    while (tests[n].test_func)
        n++;
    for (size_t i = 0; i < ARRAY_LEN(choices); i++, n++) {
        tests[n] = (struct CMUnitTest)cmocka_unit_test_prestate_setup_teardown(
            test_choice, setup, teardown, (void *)(uintptr_t)&choices[i]);
        tests[n].name = choices[i].name;
    }
    for (size_t i = 0; i < ARRAY_LEN(endings); i++, n++) {
        tests[n] = (struct CMUnitTest)cmocka_unit_test_prestate_setup_teardown(
            test_ending, setup, teardown, (void *)(uintptr_t)&endings[i]);
        tests[n].name = endings[i].name;
    }
    return _cmocka_run_group_tests("a VM's life", tests, n, NULL, NULL);
}
