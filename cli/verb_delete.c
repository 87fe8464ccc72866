/* drover delete: by name, by selector, all of a kind, or what manifests name; waits until the
 * objects are gone unless told otherwise. Follows kubectl delete. */
#include "cli/verbs.h"

#include <errno.h>
#include <string.h>

#include "cli/client_manifest.h"
#include "cli/client_verb.h"
#include "cli/print.h"

static const struct options_def defs[] = {
    VERB_OPTION_FILES,
    VERB_OPTION_NAMESPACE,
    VERB_OPTION_SELECTOR,
    {.name = "all", .type = OPTIONS_BOOL, .help = "every object of that kind in the namespace"},
    {.name = "ignore-not-found",
     .type = OPTIONS_BOOL,
     .help = "a name that does not exist is no error"},
    {.name = "wait",
     .type = OPTIONS_BOOL,
     .help = "wait until the objects are gone; that is the default, --wait=false does not"},
    VERB_OPTION_TIMEOUT,
    VERB_OPTION_SERVER,
    {0},
};

static const struct options_program program = {
    .name = "drover delete",
    .usage = "TYPE NAME... | TYPE/NAME... | TYPE -l SELECTOR | -f FILE|DIR|- [OPTIONS]",
    .about = "Deletes objects and waits until they are gone.",
    .defs = defs,
    .max_args = 10000,
};

struct doomed {
    const struct kind_info *ki;
    char *namespace_, *name;
    char *uid; /* of what was deleted; NULL: nothing to wait for */
};

struct deletion {
    struct verb *v;
    struct doomed *items;
    size_t len;
};

static void
deletion_done(struct deletion *d)
{
    for (size_t i = 0; i < d->len; i++) {
        free(d->items[i].namespace_);
        free(d->items[i].name);
        free(d->items[i].uid);
    }
    free(d->items);
}

static void
doom(struct deletion *d, const struct kind_info *ki, const char *ns, const char *name)
{
    d->items = xreallocarray(d->items, d->len + 1, sizeof(d->items[0]));
    d->items[d->len++] = (struct doomed){
        .ki = ki,
        .namespace_ = xstrdup(ki->namespaced ? ns : ""),
        .name = xstrdup(name),
    };
}

static int
collect_manifests(struct deletion *d)
{
    struct verb *v = d->v;
    size_t len = options_count(v->options, "filename");
    AUTO_FREE const char **paths = xcalloc(len + 1, sizeof(*paths));
    AUTO_TREE struct tree *objects = NULL;
    int rc;

    for (size_t i = 0; i < len; i++)
        paths[i] = options_nth(v->options, "filename", i);
    rc = client_manifests_load(paths, len, v->namespace_, options_given(v->options, "namespace"),
                               &objects, &v->err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < tree_len(objects); i++) {
        const struct tree *obj = tree_at(objects, i);

        if (!object_name(obj)[0])
            return err_set(&v->err, -EINVAL, "%s with generateName: want a name to delete",
                           object_kind(obj)->name);
        doom(d, object_kind(obj), object_namespace(obj), object_name(obj));
    }
    return 0;
}

static int
collect_target(struct deletion *d, const struct verb_target *t)
{
    struct verb *v = d->v;
    const char *labels = options_string(v->options, "selector");
    bool all = options_bool(v->options, "all");
    AUTO_TREE struct tree *list = NULL;
    const struct tree *items;
    int rc;

    if (t->name && (labels || all))
        return err_set(&v->err, -EINVAL, "a name goes with neither -l nor --all");
    if (t->name) {
        doom(d, t->ki, v->namespace_, t->name);
        return 0;
    }
    if (!labels && !all)
        return err_set(&v->err, -EINVAL, "which %s: want a name, -l SELECTOR or --all",
                       t->ki->singular);
    rc = client_list(v->client, t->ki, v->namespace_, labels, &list, &v->err);
    if (rc < 0)
        return rc;
    items = tree_get(list, "items");
    for (size_t i = 0; i < tree_len(items); i++)
        doom(d, t->ki, object_namespace(tree_at(items, i)), object_name(tree_at(items, i)));
    return 0;
}

static int
collect(struct deletion *d)
{
    struct verb *v = d->v;
    CLEANUP(verb_targets_done) struct verb_targets targets = {0};
    int rc;

    if (options_given(v->options, "filename")) {
        if (v->args_len)
            return err_set(&v->err, -EINVAL, "-f goes without TYPE and NAME");
        return collect_manifests(d);
    }
    rc = verb_targets_parse(v->args, v->args_len, false, &targets, &v->err);
    for (size_t i = 0; rc == 0 && i < targets.len; i++)
        rc = collect_target(d, &targets.items[i]);
    return rc;
}

/* client_wait: 1 when the object is gone, or another one bears its name. */
static int
is_gone(void *ctx, const struct tree *obj)
{
    const struct doomed *t = ctx;

    return !obj || strcmp(object_uid(obj), t->uid) != 0;
}

static int
wait_gone(struct verb *v, struct doomed *t, int64_t timeout_us)
{
    int rc = client_wait(v->client, t->ki, t->namespace_, t->name, timeout_us, is_gone, t, &v->err);

    if (rc == -ETIMEDOUT)
        return verb_no(v, "%s \"%s\" is still there: something holds it (see its finalizers)",
                       t->ki->singular, t->name);
    return rc < 0 ? verb_error(v) : EXIT_DONE;
}

/* The answer is the object, when finalizers hold it, or a Status with its uid. */
static int
delete_one(struct verb *v, struct doomed *t)
{
    AUTO_TREE struct tree *answer = NULL;
    const char *uid;
    int rc = client_delete(v->client, t->ki, t->namespace_, t->name, &answer, &v->err);

    if (rc == -ENOENT && options_bool(v->options, "ignore-not-found"))
        return EXIT_DONE;
    if (rc < 0)
        return verb_error(v);
    uid = tree_find_string(answer, NULL, "metadata", "uid", NULL);
    if (!uid)
        uid = tree_find_string(answer, "", "details", "uid", NULL);
    t->uid = xstrdup(uid);
    printf("%s%s%s \"%s\" deleted\n", t->ki->singular, t->ki->group[0] ? "." : "", t->ki->group,
           t->name);
    fflush(stdout);
    return EXIT_DONE;
}

static bool
wants_wait(const struct verb *v)
{
    return !options_given(v->options, "wait") || options_bool(v->options, "wait");
}

int
verb_delete(int argc, char **argv)
{
    AUTO_VERB struct verb v = {0};
    CLEANUP(deletion_done) struct deletion d = {.v = &v};
    int64_t timeout_us;
    int exit_code;

    if (!verb_begin(&v, &program, argc, argv, &exit_code))
        return exit_code;
    if (verb_timeout_us(&v, 0, &timeout_us) < 0 || collect(&d) < 0)
        return verb_error(&v);
    client_catch_signals();
    exit_code = EXIT_DONE;
    for (size_t i = 0; i < d.len; i++) {
        if (delete_one(&v, &d.items[i]) != EXIT_DONE)
            exit_code = EXIT_ERROR;
    }
    for (size_t i = 0; i < d.len && wants_wait(&v); i++) {
        int rc = d.items[i].uid ? wait_gone(&v, &d.items[i], timeout_us) : EXIT_DONE;

        if (rc == EXIT_ERROR || exit_code == EXIT_DONE)
            exit_code = rc;
    }
    if (!d.len)
        fprintf(stderr, "No resources found\n");
    return exit_code;
}
