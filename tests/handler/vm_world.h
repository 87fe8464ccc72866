/* One handler with one VM on virtual time: hypervisors, workers, informers and an API that are fakes. In
 * place of handler/{work,informer,writer}.c, whose names it defines: for one test program, which includes it
 * once. */
#ifndef TESTS_HANDLER_VM_WORLD_H
#define TESTS_HANDLER_VM_WORLD_H

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

#endif
