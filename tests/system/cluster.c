/* See cluster.h. */
#include "tests/system/cluster.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "api/names.h"
#include "api/object.h"
#include "base/clock.h"
#include "base/fs.h"

#define POLL_MS 50

static struct sys *current;
static void
on_exit_down(void)
{
    if (current)
        sys_down(current);
}

static bool
can_unshare(void)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0)
        _exit(unshare(CLONE_NEWNET) == 0 ? 0 : 1);
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

void
sys_up(struct sys *s, size_t nodes)
{
    sys_up_with(s, nodes, NULL);
}

void
sys_up_with(struct sys *s, size_t nodes, const char *const *handler_args)
{
    sys_up_as(s, nodes, (struct dev_config){.handler_args = handler_args});
}

void
sys_up_as(struct sys *s, size_t nodes, struct dev_config cfg)
{
    struct err err = {0};
    const char *bin = getenv("DROVER_BIN");
    AUTO_FREE char *abs = realpath(bin ? bin : "bin", NULL);

    if (geteuid() != 0 || !can_unshare()) {
        printf("needs root and network namespaces\n");
        exit(SKIP_CODE);
    }
    if (!abs) {
        printf("needs the programs in bin/ (make)\n");
        exit(SKIP_CODE);
    }
    snprintf(s->dir, sizeof s->dir, "/tmp/drover-sys-XXXXXX");
    if (!mkdtemp(s->dir))
        exit(1);
    cfg.nodes_len = nodes;
    cfg.heartbeat = "500ms";
    cfg.dir = s->dir;
    cfg.bin_dir = abs;
    client_catch_signals();
    if (dev_cluster_up(&cfg, &s->c, &err) != 0 || client_open(s->c->url, &s->client, &err) != 0) {
        fprintf(stderr, "the cluster did not come up: %s\n", err_msg(&err));
        exit(1);
    }
    current = s;
    atexit(on_exit_down);
}

void
sys_down(struct sys *s)
{
    struct err err = {0};

    current = NULL;
    client_free(s->client);
    if (dev_cluster_down(s->c, &err) != 0)
        fprintf(stderr, "tearing down: %s\n", err_msg(&err));
    dev_cluster_free(s->c);
    fs_rmtree(s->dir, NULL);
}

static void
show_logs(struct sys *s)
{
    AUTO_FREE char *cmd =
        xasprintf("for f in %s/log/*.log; do echo \"--- $f\"; tail -n 25 $f; done >&2", s->dir);

    if (system(cmd) != 0)
        fprintf(stderr, "no logs\n");
}

void
sys_die(struct sys *s, const char *fmt, ...)
{
    va_list ap;

    fflush(stdout);
    fprintf(stderr, "FAIL: ");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    show_logs(s);
    exit(1);
}

void
sys_apply(struct sys *s, const char *yaml)
{
    AUTO_TREE struct tree *docs = NULL;
    struct err err = {0};

    if (tree_from_yaml("test", yaml, strlen(yaml), &docs, &err) != 0)
        sys_die(s, "%s", err_msg(&err));
    for (size_t i = 0; i < tree_len(docs); i++) {
        const struct tree *obj = tree_at(docs, i);

        if (client_create(s->client, object_kind(obj), object_namespace(obj), obj, NULL, &err) != 0)
            sys_die(s, "create %s: %s", object_name(obj), err_msg(&err));
    }
}

struct tree *
sys_get(struct sys *s, enum kind kind, const char *ns, const char *name)
{
    struct tree *t = NULL;
    struct err err = {0};

    return client_get(s->client, kind_info(kind), ns, name, &t, &err) == 0 ? t : NULL;
}

const char *
sys_phase(struct sys *s, enum kind kind, const char *ns, const char *name, char *buf, size_t size)
{
    AUTO_TREE struct tree *t = sys_get(s, kind, ns, name);

    snprintf(buf, size, "%s", tree_find_string(t, "", "status", "phase", NULL));
    return buf;
}

bool
sys_poll(unsigned seconds, bool (*fn)(void *ctx), void *ctx)
{
    uint64_t end = clock_mono_us() + (uint64_t)seconds * 1000000u;

    for (;;) {
        struct timespec t = {0, POLL_MS * 1000000L};

        if (fn(ctx))
            return true;
        if (clock_mono_us() >= end || client_stop)
            return false;
        nanosleep(&t, NULL);
    }
}

void
sys_wait(struct sys *s, unsigned seconds, const char *what, bool (*fn)(void *ctx), void *ctx)
{
    if (!sys_poll(seconds, fn, ctx))
        sys_die(s, "waited %u s in vain for: %s", seconds, what);
}

struct verdict {
    struct sys *s;
    const char *ns, *name, *request;
    bool ok;
    char *text;
    size_t size;
};

static bool
verdict_there(void *ctx)
{
    struct verdict *v = ctx;
    AUTO_TREE struct tree *vmi = sys_get(v->s, KIND_VMI, v->ns, v->name), *r = NULL;
    const char *json = vmi ? object_annotation(vmi, ANN_VERIFY_RESULT) : NULL;

    if (!json || tree_from_json(json, strlen(json), &r, NULL) != 0 ||
        strcmp(tree_find_string(r, "", "request", NULL), v->request) != 0)
        return false;
    v->ok = tree_get_bool(tree_get(r, "ok"), false);
    snprintf(v->text, v->size, "%s", json);
    return true;
}

bool
sys_verify(struct sys *s, const char *ns, const char *name, char *text, size_t size)
{
    static unsigned counter;
    AUTO_FREE char *request = xasprintf("sys-%u", ++counter);
    AUTO_TREE struct tree *patch = tree_map();
    struct verdict v = {s, ns, name, request, false, text, size};
    struct err err = {0};

    snprintf(text, size, "nobody answered");
    tree_set_path(patch, tree_string(request), "metadata", "annotations", ANN_VERIFY_REQUEST, NULL);
    if (client_patch(s->client, kind_info(KIND_VMI), ns, name, NULL, patch, NULL, &err) != 0) {
        snprintf(text, size, "%s", err_msg(&err));
        return false;
    }
    return sys_poll(30, verdict_there, &v) && v.ok;
}

static size_t
count_in(struct sys *s, const char *node, const char *sub, const char *suffix)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dev_cluster_node(s->c, node)->state_dir, sub);
    DIR *d = opendir(path);
    size_t n = 0, len = strlen(suffix);

    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.' && strlen(e->d_name) >= len &&
             strcmp(e->d_name + strlen(e->d_name) - len, suffix) == 0;
    if (d)
        closedir(d);
    return n;
}

size_t
sys_guests_on(struct sys *s, const char *node)
{
    return count_in(s, node, "guests", "");
}

size_t
sys_journals_on(struct sys *s, const char *node)
{
    return count_in(s, node, "vms", ".json");
}
