/* Calls to the controller: paths, bodies, errors as people read them. Where the controller is
 * stands in client_addr.c. Follows the Kubernetes REST conventions (API concepts, "Resource
 * URIs"). */
#include "cli/client.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/strmap.h"
#include "proto/rest.h"

#define ACCEPT_TABLE "application/json;as=Table;g=meta.k8s.io;v=v1, application/json"
#define WATCH_AGAIN_MS \
    500 /* between two tries to watch, so that a restarting server is not hammered */

struct client {
    struct rest *rest;
    char *url;
    const char *how;
    struct strmap *warned;
};

atomic_bool client_stop;

int
client_open(const char *server, struct client **ret, struct err *err)
{
    AUTO_FREE char *url = NULL;
    const char *how;
    struct client *c;
    struct rest *rest;
    int rc;

    rc = client_address(server, &url, &how, err);
    if (rc < 0)
        return rc;
    rest = rest_new(url, err);
    if (!rest)
        return err && err->code ? err_prefix(err, err->code, "%s", how) : -EINVAL;
    c = xcalloc(1, sizeof(*c));
    c->rest = rest;
    c->url = TAKE_PTR(url);
    c->how = how;
    c->warned = strmap_new();
    *ret = c;
    return 0;
}

void
client_free(struct client *c)
{
    if (!c)
        return;
    rest_free(c->rest);
    strmap_free(c->warned, NULL);
    free(c->url);
    free(c);
}

void
client_auto(struct client **c)
{
    client_free(*c);
}

const char *
client_url(const struct client *c)
{
    return c->url;
}

void
client_set_timeout(struct client *c, unsigned ms)
{
    rest_set_timeout(c->rest, ms);
}

static void
put_encoded(struct sb *out, const char *s)
{
    for (; *s; s++) {
        if (isalnum((unsigned char)*s) || strchr("-._~", *s))
            sb_putc(out, *s);
        else
            sb_printf(out, "%%%02X", (unsigned char)*s);
    }
}

void
client_path(const struct kind_info *ki, const char *ns, const char *name, const char *sub,
            struct sb *out)
{
    if (ki->group[0])
        sb_printf(out, "/apis/%s/%s", ki->group, ki->version);
    else
        sb_printf(out, "/api/%s", ki->version);
    if (ki->namespaced && ns && ns[0]) {
        sb_puts(out, "/namespaces/");
        put_encoded(out, ns);
    }
    sb_printf(out, "/%s", ki->plural);
    if (name) {
        sb_putc(out, '/');
        put_encoded(out, name);
    }
    if (sub)
        sb_printf(out, "/%s", sub);
}

static void
put_parameter(struct sb *out, char *mark, const char *key, const char *value)
{
    if (!value)
        return;
    sb_printf(out, "%c%s=", *mark, key);
    put_encoded(out, value);
    *mark = '&';
}

void
client_query(const char *labels, const char *fields, struct sb *out)
{
    char mark = '?';

    put_parameter(out, &mark, "labelSelector", labels);
    put_parameter(out, &mark, "fieldSelector", fields);
}

static void
show_warnings(struct client *c, const struct rest_reply *rp)
{
    for (size_t i = 0; i < rp->warnings_len; i++) {
        if (strmap_put(c->warned, rp->warnings[i], c))
            continue;
        fflush(stdout);
        fprintf(stderr, "Warning: %s\n", rp->warnings[i]);
    }
}

/* One call, its warnings shown, its refusal turned into an error, its JSON decoded into *ret. */
static int
call(struct client *c, const char *method, const char *path, const char *accept,
     const char *content_type, const struct tree *body, struct tree **ret, struct err *err)
{
    CLEANUP(rest_reply_done) struct rest_reply rp = {0};
    AUTO_SB struct sb json = SB_INIT;
    int rc;

    if (body)
        tree_to_json(body, 0, &json);
    rc = rest_call(c->rest, method, path, accept, body ? content_type : NULL,
                   body ? sb_str(&json) : NULL, json.len, &rp, err);
    if (rc == -ECONNREFUSED)
        return err_set(err, rc, "no controller answers at %s (%s)", c->url, c->how);
    if (rc < 0)
        return err_prefix(err, rc, "the controller at %s (%s)", c->url, c->how);
    show_warnings(c, &rp);
    if (rp.status < 200 || rp.status > 299)
        return rest_reply_err(&rp, err);
    if (!ret)
        return 0;
    rc = tree_from_json(rp.body, rp.len, ret, err);
    return rc < 0 ? err_prefix(err, rc, "answer of %s to %s %s", c->url, method, path) : 0;
}

int
client_get_path(struct client *c, const char *path, bool as_table, struct tree **ret,
                struct err *err)
{
    return call(c, "GET", path, as_table ? ACCEPT_TABLE : NULL, NULL, NULL, ret, err);
}

int
client_get(struct client *c, const struct kind_info *ki, const char *ns, const char *name,
           struct tree **ret, struct err *err)
{
    AUTO_SB struct sb path = SB_INIT;

    client_path(ki, ns, name, NULL, &path);
    return call(c, "GET", sb_str(&path), NULL, NULL, NULL, ret, err);
}

int
client_list(struct client *c, const struct kind_info *ki, const char *ns, const char *labels,
            struct tree **ret, struct err *err)
{
    AUTO_SB struct sb path = SB_INIT;

    client_path(ki, ns, NULL, NULL, &path);
    client_query(labels, NULL, &path);
    return call(c, "GET", sb_str(&path), NULL, NULL, NULL, ret, err);
}

int
client_create(struct client *c, const struct kind_info *ki, const char *ns, const struct tree *obj,
              struct tree **ret, struct err *err)
{
    AUTO_SB struct sb path = SB_INIT;

    client_path(ki, ns, NULL, NULL, &path);
    return call(c, "POST", sb_str(&path), NULL, REST_JSON, obj, ret, err);
}

int
client_patch(struct client *c, const struct kind_info *ki, const char *ns, const char *name,
             const char *sub, const struct tree *patch, struct tree **ret, struct err *err)
{
    AUTO_SB struct sb path = SB_INIT;

    client_path(ki, ns, name, sub, &path);
    return call(c, "PATCH", sb_str(&path), NULL, REST_MERGE_PATCH, patch, ret, err);
}

int
client_delete(struct client *c, const struct kind_info *ki, const char *ns, const char *name,
              struct tree **ret, struct err *err)
{
    AUTO_SB struct sb path = SB_INIT;

    client_path(ki, ns, name, NULL, &path);
    return call(c, "DELETE", sb_str(&path), NULL, NULL, NULL, ret, err);
}

void
client_action_path(const char *ns, const char *plural, const char *name, const char *action,
                   struct sb *out)
{
    sb_puts(out, "/apis/subresources.kubevirt.io/v1/namespaces/");
    put_encoded(out, ns);
    sb_printf(out, "/%s/", plural);
    put_encoded(out, name);
    sb_printf(out, "/%s", action);
}

int
client_action(struct client *c, const char *ns, const char *plural, const char *name,
              const char *action, const struct tree *body, struct err *err)
{
    AUTO_SB struct sb path = SB_INIT;

    client_action_path(ns, plural, name, action, &path);
    return call(c, "PUT", sb_str(&path), NULL, REST_JSON, body, NULL, err);
}

/* --- watching --- */

struct watching {
    client_event_fn fn;
    void *ctx;
    char *version;  /* the newest resourceVersion seen */
    bool gone;      /* the server no longer has the version that was asked for */
    struct err err; /* why on_line ended it */
    int fn_rc;      /* fn ended it, and has said why itself */
};

/* Where an event stands in history: an object's own version, or that of a Table. */
static const char *
event_version(const struct tree *obj)
{
    const char *v = tree_find_string(obj, NULL, "metadata", "resourceVersion", NULL);
    const struct tree *rows = tree_get(obj, "rows");

    if ((!v || !v[0]) && tree_len(rows))
        v = tree_find_string(tree_at(rows, 0), NULL, "object", "metadata", "resourceVersion", NULL);
    return v && v[0] ? v : NULL;
}

static int
on_line(void *ctx, const char *line, size_t len)
{
    struct watching *w = ctx;
    AUTO_TREE struct tree *event = NULL;
    const struct tree *obj;
    const char *type, *version;
    int rc;

    rc = tree_from_json(line, len, &event, &w->err);
    if (rc < 0)
        return rc;
    type = tree_find_string(event, "", "type", NULL);
    obj = tree_get(event, "object");
    version = event_version(obj);
    if (version) {
        free(w->version);
        w->version = xstrdup(version);
    }
    if (strcmp(type, "BOOKMARK") == 0)
        return 0;
    if (strcmp(type, "ERROR") == 0) {
        w->gone = tree_get_int(tree_get(obj, "code"), 0) == 410;
        if (w->gone)
            return 1;
        return err_set(&w->err, -EPROTO, "watch: %s",
                       tree_find_string(obj, "refused", "message", NULL));
    }
    w->fn_rc = w->fn(w->ctx, type, obj);
    return w->fn_rc;
}

int
client_watch(struct client *c, const char *path, const char *resource_version, bool as_table,
             client_event_fn fn, void *ctx, const atomic_bool *stop, struct err *err)
{
    struct watching w = {.fn = fn, .ctx = ctx};
    int rc = 0;

    if (resource_version && resource_version[0])
        w.version = xstrdup(resource_version);
    while (!atomic_load(stop)) {
        AUTO_SB struct sb full = SB_INIT;
        struct err ended = {0};
        int status = 0;

        sb_printf(&full, "%s%cwatch=true", path, strchr(path, '?') ? '&' : '?');
        if (w.version)
            sb_printf(&full, "&resourceVersion=%s", w.version);
        rc = rest_watch_as(c->rest, sb_str(&full), as_table ? ACCEPT_TABLE : NULL, on_line, &w,
                           stop, &status, &ended);
        if (status == 410 || w.gone) {
            /* too old: begin with what is there now, as the server then sends it first */
            w.gone = false;
            free(TAKE_PTR(w.version));
        } else if (rc != 0) {
            if (err && !w.fn_rc)
                *err = w.err.code ? w.err : ended;
            break;
        }
        client_sleep(WATCH_AGAIN_MS);
    }
    free(w.version);
    return atomic_load(stop) ? 0 : rc;
}

int
client_wait(struct client *c, const struct kind_info *ki, const char *ns, const char *name,
            int64_t timeout_us, client_wait_fn fn, void *ctx, struct err *err)
{
    uint64_t start_us = clock_mono_us();

    for (;;) {
        AUTO_TREE struct tree *obj = NULL;
        int rc = client_get(c, ki, ns, name, &obj, err);

        if (rc < 0 && rc != -ENOENT)
            return rc;
        rc = fn(ctx, obj);
        if (rc)
            return rc;
        if (timeout_us > 0 && clock_mono_us() - start_us >= (uint64_t)timeout_us)
            return err_set(err, -ETIMEDOUT, "timed out");
        if (!client_sleep(CLIENT_POLL_MS))
            return err_set(err, -EINTR, "interrupted");
    }
}

bool
client_sleep(unsigned ms)
{
    if (!atomic_load(&client_stop))
        poll(NULL, 0, (int)ms);
    return !atomic_load(&client_stop);
}

static void
on_signal(int signo)
{
    (void)signo;
    atomic_store(&client_stop, true);
}

void
client_catch_signals(void)
{
    struct sigaction sa = {.sa_handler = on_signal};

    /* no SA_RESTART: a sleep or read ends at once */
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
}
