/* One job at a time: gather, label, compare with the Node; see node_labels.h. */
#include "handler/node_labels.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "api/names.h"
#include "api/object.h"
#include "base/log.h"
#include "handler/kvm_caps.h"
#include "handler/libvirt_caps.h"
#include "handler/limits.h"

struct node_labels {
    struct loop *l;
    struct work *w;
    struct node_labels_config cfg;
    node_labels_fn fn;
    void *ctx;
    struct libvirt *lv;      /* NULL: it is not asked, or not there: */
    struct err no_libvirt;   /* why */
    struct tree *node, *hco; /* as last seen; NULL: not yet, or there is none */
    bool cluster_seen, busy, again;
    struct loop_timer *timer;
    char said[ERR_MSG_SIZE]; /* the last thing that was logged as a problem: not said twice */
};

struct turn { /* of the worker until it is done */
    struct node_labels *n;
    struct tree *node, *hco; /* copies */
    struct arena *a;
    struct err trouble; /* why libvirt or the files could not be used; code 0: they could */
    struct labeller_output out;
    struct tree *patch;
    const char *obsolete_model;
};

static void on_libvirt(void *ctx, bool up);
static void on_timer(void *ctx);
static void on_host_changed(void *ctx);
static void run_turn(void *ctx);
static void gather(struct turn *t, struct labeller_input *in);
static struct tree *make_patch(const struct turn *t, const struct node *node);
static bool is_own(const struct node_labels *n, const char *key);
static const char *value_of(const struct node *node, const char *key);
static void turn_done(void *ctx);
static void say(struct node_labels *n, const char *event, const char *text);

struct node_labels *
node_labels_new(struct loop *l, struct work *w, const struct node_labels_config *cfg,
                node_labels_fn fn, void *ctx)
{
    struct node_labels *n = xcalloc(1, sizeof(*n));

    n->l = l;
    n->w = w;
    n->cfg = *cfg;
    n->fn = fn;
    n->ctx = ctx;
    if (cfg->libvirt_uri && !cfg->files.domcapabilities) {
        const struct libvirt_config lv = {cfg->libvirt_uri, on_libvirt, n};

        libvirt_new(&lv, &n->lv, &n->no_libvirt);
    }
    return n;
}

void
node_labels_free(struct node_labels *n)
{
    if (!n)
        return;
    libvirt_free(n->lv);
    loop_timer_del(n->timer);
    tree_free(n->node);
    tree_free(n->hco);
    free(n);
}

void
node_labels_node(struct node_labels *n, const struct tree *node)
{
    bool first = !n->node;

    tree_free(n->node);
    n->node = tree_copy(node);
    if (first && n->cluster_seen)
        node_labels_turn(n);
}

void
node_labels_cluster(struct node_labels *n, const struct tree *hco)
{
    const struct tree *now = tree_find(hco, "spec", "obsoleteCPUs", NULL);
    bool changed =
        !n->cluster_seen || !tree_equal(now, tree_find(n->hco, "spec", "obsoleteCPUs", NULL));

    n->cluster_seen = true;
    if (!changed)
        return;
    tree_free(n->hco);
    n->hco = hco ? tree_copy(hco) : NULL;
    if (n->node)
        node_labels_turn(n);
}

void
node_labels_turn(struct node_labels *n)
{
    struct turn *t;

    if (n->busy) {
        n->again = true;
        return;
    }
    loop_timer_del(n->timer);
    n->timer = NULL;
    n->busy = true;
    n->again = false;
    t = xcalloc(1, sizeof(*t));
    t->n = n;
    t->node = tree_copy(n->node);
    t->hco = n->hco ? tree_copy(n->hco) : NULL;
    t->a = arena_new();
    work_run(n->w, run_turn, turn_done, t);
}

/* On libvirt's thread. It came, and may be another version than before, or went. */
static void
on_libvirt(void *ctx, bool up)
{
    struct node_labels *n = ctx;

    (void)up;
    loop_post(n->l, on_host_changed, n);
}

static void
on_host_changed(void *ctx)
{
    struct node_labels *n = ctx;

    if (n->node && n->cluster_seen)
        node_labels_turn(n);
}

static void
on_timer(void *ctx)
{
    struct node_labels *n = ctx;

    n->timer = NULL;
    node_labels_turn(n);
}

/* On a worker: nothing of n but its configuration and libvirt, which do not change. */
static void
run_turn(void *ctx)
{
    struct turn *t = ctx;
    struct labeller_input in = {0};
    const struct node *node = node_decode(t->node, t->a);
    struct err err = {0};
    const char *had;

    gather(t, &in);
    in.hco = t->hco ? hco_decode(t->hco, t->a) : NULL;
    in.node = node;
    if (labeller_run(&in, &t->out, t->a, &err) != 0) {
        t->trouble = err;
        return;
    }
    had = value_of(node, LABEL_OBSOLETE_HOST_MODEL);
    if (t->out.obsolete_model && (!had || strcmp(had, "true") != 0))
        t->obsolete_model = t->out.obsolete_model;
    t->patch = make_patch(t, node);
}

/* Without libvirt, only what the handler knows itself: then labels of CPUs and machines are neither
 * made nor taken away. */
static void
gather(struct turn *t, struct labeller_input *in)
{
    const struct node_labels_config *cfg = &t->n->cfg;
    struct libvirt_caps caps = {0};
    struct labeller_files files = cfg->files;
    struct stat st;
    int rc = 0;

    if (!files.domcapabilities && cfg->libvirt_uri) {
        if (t->n->lv) {
            rc = libvirt_caps_read(t->n->lv, &caps, t->a, &t->trouble);
        } else {
            t->trouble = t->n->no_libvirt;
            rc = t->trouble.code;
        }
        in->domcapabilities = (struct labeller_text){"domain capabilities", caps.domcapabilities};
        in->capabilities = (struct labeller_text){"capabilities", caps.capabilities};
        in->supported_features = (struct labeller_text){"baseline", caps.supported_features};
        if (!files.cpu_map && stat(LABELLER_CPU_MAP, &st) == 0)
            files.cpu_map = LABELLER_CPU_MAP;
        if (rc == 0 && files.cpu_map)
            rc = labeller_files_map(files.cpu_map, &in->models, t->a, &t->trouble);
    } else {
        rc = labeller_files_read(&files, in, t->a, &t->trouble);
    }
    if (rc != 0)
        *in = (struct labeller_input){0};
    in->hyperv = kvm_caps_hyperv(t->a);
    in->realtime = kvm_caps_realtime();
}

/* Only what differs: another label, or one too many, is somebody else's business. */
static struct tree *
make_patch(const struct turn *t, const struct node *node)
{
    struct tree *labels = tree_map(), *patch;

    for (size_t i = 0; i < t->out.labels.len; i++) {
        const struct kv *kv = &t->out.labels.items[i];
        const char *have = value_of(node, kv->key);

        if ((!have || strcmp(have, kv->value) != 0) && !is_own(t->n, kv->key))
            tree_set(labels, kv->key, tree_string(kv->value));
    }
    for (size_t i = 0; i < t->out.removed.len; i++)
        if (!is_own(t->n, t->out.removed.items[i]))
            tree_set(labels, t->out.removed.items[i], tree_null());
    if (tree_len(labels) == 0) {
        tree_free(labels);
        return NULL;
    }
    patch = tree_map();
    tree_set_path(patch, labels, "metadata", "labels", NULL);
    return patch;
}

static bool
is_own(const struct node_labels *n, const char *key)
{
    for (size_t i = 0; i < n->cfg.own.len; i++)
        if (strcmp(n->cfg.own.items[i].key, key) == 0)
            return true;
    return false;
}

static const char *
value_of(const struct node *node, const char *key)
{
    for (size_t i = 0; i < node->meta.labels.len; i++)
        if (strcmp(node->meta.labels.items[i].key, key) == 0)
            return node->meta.labels.items[i].value;
    return NULL;
}

static void
turn_done(void *ctx)
{
    struct turn *t = ctx;
    struct node_labels *n = t->n;
    struct node_labels_news news = {t->patch, t->obsolete_model};

    if (t->trouble.code == -ENOTSUP || t->trouble.code == -ENOTCONN)
        say(n, "labels.no_libvirt", err_msg(&t->trouble));
    else if (t->trouble.code != 0)
        say(n, "labels.unknown", err_msg(&t->trouble));
    else if (t->out.skipped)
        say(n, "labels.skipped", ANN_SKIP_LABELLER);
    else if (t->out.notes.len > 0)
        say(n, "labels.odd", t->out.notes.items[0]);
    else
        n->said[0] = '\0';
    n->busy = false;
    n->fn(n->ctx, &news);
    tree_free(t->node);
    tree_free(t->hco);
    arena_free(t->a);
    free(t);
    if (n->again)
        node_labels_turn(n);
    else
        n->timer = loop_timer_add(n->l, HANDLER_LABELS_US, on_timer, n);
}

static void
say(struct node_labels *n, const char *event, const char *text)
{
    if (strcmp(n->said, text) == 0)
        return;
    snprintf(n->said, sizeof n->said, "%s", text);
    if (strcmp(event, "labels.unknown") == 0)
        log_warn(event, LS("why", text));
    else
        log_info(event, LS("why", text));
}
