/* drover label, annotate, taint: small changes to metadata and to a node's taints. Follows
 * kubectl's verbs of these names: KEY=VALUE sets, KEY- removes, an existing value is changed only
 * with --overwrite. */
#include "cli/verbs.h"

#include <errno.h>
#include <string.h>

#include "api/selector.h"
#include "cli/client_verb.h"
#include "cli/print.h"

#define TAINT_TRIES 5

#define LABEL_OPTIONS                                                                        \
    VERB_OPTION_NAMESPACE, VERB_OPTION_SELECTOR,                                             \
        {.name = "all", .type = OPTIONS_BOOL, .help = "every object of that kind"},          \
        {.name = "overwrite", .type = OPTIONS_BOOL, .help = "change values that are there"}, \
        VERB_OPTION_SERVER,                                                                  \
    {                                                                                        \
        0                                                                                    \
    }

static const struct options_def defs[] = {LABEL_OPTIONS};

static const struct options_program label_program = {
    .name = "drover label",
    .usage = "TYPE NAME... | TYPE/NAME... KEY=VALUE... KEY-... [OPTIONS]",
    .about = "Sets labels (KEY=VALUE) and takes them away (KEY-).",
    .defs = defs,
    .min_args = 2,
    .max_args = 10000,
};

static const struct options_program annotate_program = {
    .name = "drover annotate",
    .usage = "TYPE NAME... | TYPE/NAME... KEY=VALUE... KEY-... [OPTIONS]",
    .about = "Sets annotations (KEY=VALUE) and takes them away (KEY-).",
    .defs = defs,
    .min_args = 2,
    .max_args = 10000,
};

static const struct options_program taint_program = {
    .name = "drover taint",
    .usage = "node NAME... KEY[=VALUE]:EFFECT... KEY[:EFFECT]-... [OPTIONS]",
    .about = "Sets taints on nodes and takes them away (with a minus at the end).\n"
             "EFFECT is NoSchedule, PreferNoSchedule or NoExecute.",
    .defs = defs,
    .min_args = 2,
    .max_args = 10000,
};

/* What a verb of this file does to one object that was fetched. 0 or -errno; *ret_said is a
 * literal. */
struct edit {
    struct verb *v;
    const char *const *pairs;
    size_t len;
    bool overwrite;
    const char *field; /* labels or annotations */
    const char *changed, *removed, *same;
};

typedef int (*edit_fn)(const struct edit *e, const struct kind_info *ki, const struct tree *obj,
                       const char **ret_said);

/* Calls fn for every object that was named or selected and says what came of it. */
static int
edit_each(const struct edit *e, const struct verb_targets *targets, edit_fn fn)
{
    struct verb *v = e->v;
    const char *labels = options_string(v->options, "selector");
    int exit_code = EXIT_DONE;

    for (size_t i = 0; i < targets->len; i++) {
        const struct verb_target *t = &targets->items[i];
        AUTO_TREE struct tree *found = tree_list();
        struct tree *got = NULL;
        int rc;

        if (t->name)
            rc = client_get(v->client, t->ki, v->namespace_, t->name, &got, &v->err);
        else
            rc = client_list(v->client, t->ki, v->namespace_, labels, &got, &v->err);
        if (rc == 0 && t->name)
            tree_append(found, TAKE_PTR(got));
        for (size_t j = 0; j < tree_len(tree_get(got, "items")); j++)
            tree_append(found, tree_copy(tree_at(tree_get(got, "items"), j)));
        tree_free(got);
        for (size_t j = 0; rc == 0 && j < tree_len(found); j++) {
            const struct tree *obj = tree_at(found, j);
            AUTO_SB struct sb name = SB_INIT;
            const char *said = "";

            rc = fn(e, t->ki, obj, &said);
            print_object_name(t->ki, object_name(obj), &name);
            if (rc == 0)
                printf("%s %s\n", sb_str(&name), said);
            else
                err_prefix(&v->err, rc, "%s", sb_str(&name));
        }
        if (rc < 0)
            exit_code = verb_error(v);
    }
    return exit_code;
}

static int
check_targets(struct verb *v, const struct verb_targets *t)
{
    bool chosen = options_given(v->options, "selector") || options_bool(v->options, "all");

    for (size_t i = 0; i < t->len; i++) {
        if (t->items[i].name && chosen)
            return err_set(&v->err, -EINVAL, "a name goes with neither -l nor --all");
        if (!t->items[i].name && !chosen)
            return err_set(&v->err, -EINVAL, "which %s: want a name, -l SELECTOR or --all",
                           t->items[i].ki->singular);
    }
    if (t->used == v->args_len)
        return err_set(&v->err, -EINVAL, "what to change: want KEY=VALUE or KEY-");
    return 0;
}

/* Splits the arguments into objects and changes, and checks both. */
static int
begin(struct edit *e, struct verb_targets *targets)
{
    struct verb *v = e->v;
    int rc;

    rc = verb_targets_parse(v->args, v->args_len, true, targets, &v->err);
    if (rc == 0)
        rc = check_targets(v, targets);
    if (rc < 0)
        return rc;
    e->pairs = v->args + targets->used;
    e->len = v->args_len - targets->used;
    e->overwrite = options_bool(v->options, "overwrite");
    return 0;
}

/* --- label, annotate --- */

/* "KEY=VALUE" or "KEY-"; the parts are the caller's, *ret_value NULL for the latter. */
static int
split_pair(const char *text, bool label, char **ret_key, char **ret_value, struct err *err)
{
    const char *eq = strchr(text, '=');
    size_t len = strlen(text);
    AUTO_FREE char *key = NULL;
    int rc;

    if (!eq && (len < 2 || text[len - 1] != '-'))
        return err_set(err, -EINVAL, "\"%s\": want KEY=VALUE or KEY-", text);
    key = xstrndup(text, eq ? (size_t)(eq - text) : len - 1);
    rc = label_key_check(key, err);
    if (rc == 0 && eq && label)
        rc = label_value_check(eq + 1, err);
    if (rc < 0)
        return err_prefix(err, rc, "\"%s\"", text);
    *ret_key = TAKE_PTR(key);
    *ret_value = eq ? xstrdup(eq + 1) : NULL;
    return 0;
}

static int
edit_map(const struct edit *e, const struct kind_info *ki, const struct tree *obj,
         const char **ret_said)
{
    const struct tree *now = tree_find(obj, "metadata", e->field, NULL);
    AUTO_TREE struct tree *patch = tree_map();
    struct tree *change = tree_map();
    bool set = false;

    tree_set_path(patch, change, "metadata", e->field, NULL);
    for (size_t i = 0; i < e->len; i++) {
        AUTO_FREE char *key = NULL, *value = NULL;
        const char *old;
        int rc = split_pair(e->pairs[i], strcmp(e->field, "labels") == 0, &key, &value, &e->v->err);

        if (rc < 0)
            return rc;
        old = tree_get_string(tree_get(now, key), NULL);
        if (!value && old) {
            tree_set(change, key, tree_null());
        } else if (value && (!old || strcmp(old, value) != 0)) {
            if (old && !e->overwrite)
                return err_set(&e->v->err, -EEXIST, "\"%s\" is \"%s\" already: want --overwrite",
                               key, old);
            tree_set(change, key, tree_string(value));
            set = true;
        }
    }
    *ret_said = set ? e->changed : tree_len(change) ? e->removed : e->same;
    if (!tree_len(change))
        return 0;
    return client_patch(e->v->client, ki, object_namespace(obj), object_name(obj), NULL, patch,
                        NULL, &e->v->err);
}

static int
run_map(int argc, char **argv, const struct options_program *program, struct edit e)
{
    AUTO_VERB struct verb v = {0};
    CLEANUP(verb_targets_done) struct verb_targets targets = {0};
    int exit_code;

    e.v = &v;
    if (!verb_begin(&v, program, argc, argv, &exit_code))
        return exit_code;
    if (begin(&e, &targets) < 0)
        return verb_error(&v);
    for (size_t i = 0; i < e.len; i++) {
        AUTO_FREE char *key = NULL, *value = NULL;

        if (split_pair(e.pairs[i], strcmp(e.field, "labels") == 0, &key, &value, &v.err) < 0)
            return verb_error(&v);
    }
    return edit_each(&e, &targets, edit_map);
}

int
verb_label(int argc, char **argv)
{
    return run_map(argc, argv, &label_program,
                   (struct edit){.field = "labels",
                                 .changed = "labeled",
                                 .removed = "unlabeled",
                                 .same = "not labeled"});
}

int
verb_annotate(int argc, char **argv)
{
    return run_map(argc, argv, &annotate_program,
                   (struct edit){.field = "annotations",
                                 .changed = "annotated",
                                 .removed = "annotated",
                                 .same = "not annotated"});
}

/* --- taint --- */

struct taint_change {
    char *key, *value, *effect; /* effect NULL: all of that key */
    bool remove;
};

static void
taint_change_done(struct taint_change *t)
{
    free(t->key);
    free(t->value);
    free(t->effect);
}

static int
parse_taint(const char *text, struct taint_change *ret, struct err *err)
{
    static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute"};
    AUTO_FREE char *copy = xstrdup(text);
    size_t len = strlen(copy);
    char *colon, *eq;
    bool known = false;
    int rc;

    *ret = (struct taint_change){.remove = len && copy[len - 1] == '-'};
    if (ret->remove)
        copy[len - 1] = '\0';
    colon = strchr(copy, ':');
    if (colon)
        *colon = '\0';
    eq = strchr(copy, '=');
    if (eq)
        *eq = '\0';
    if (!colon && !ret->remove)
        return err_set(err, -EINVAL, "\"%s\": want KEY[=VALUE]:EFFECT or KEY[:EFFECT]-", text);
    for (size_t i = 0; colon && i < ARRAY_LEN(effects); i++)
        known |= strcmp(colon + 1, effects[i]) == 0;
    if (colon && !known)
        return err_set(err, -EINVAL,
                       "\"%s\": the effect is NoSchedule, PreferNoSchedule or NoExecute", text);
    rc = label_key_check(copy, err);
    if (rc == 0 && eq)
        rc = label_value_check(eq + 1, err);
    if (rc < 0)
        return err_prefix(err, rc, "\"%s\"", text);
    ret->key = xstrdup(copy);
    ret->value = eq ? xstrdup(eq + 1) : NULL;
    ret->effect = colon ? xstrdup(colon + 1) : NULL;
    return 0;
}

static bool
taint_is(const struct tree *taint, const struct taint_change *c)
{
    return strcmp(tree_find_string(taint, "", "key", NULL), c->key) == 0 &&
           (!c->effect || strcmp(tree_find_string(taint, "", "effect", NULL), c->effect) == 0);
}

/* Changes the list in place. *changed says whether anything was. */
static int
change_taints(const struct edit *e, struct tree *taints, const struct taint_change *c,
              bool *changed)
{
    struct tree *found = NULL, *t;
    size_t removed = 0;

    for (size_t i = tree_len(taints); i-- > 0;) {
        if (!taint_is(tree_at(taints, i), c))
            continue;
        found = tree_at(taints, i);
        if (c->remove) {
            tree_list_remove(taints, i);
            removed++;
        }
    }
    if (c->remove) {
        if (!removed)
            return err_set(&e->v->err, -ENOENT, "taint \"%s%s%s\" not found", c->key,
                           c->effect ? ":" : "", c->effect ? c->effect : "");
        *changed = true;
        return 0;
    }
    if (found && strcmp(tree_find_string(found, "", "value", NULL), c->value ? c->value : "") == 0)
        return 0;
    if (found && !e->overwrite)
        return err_set(&e->v->err, -EEXIST,
                       "taint \"%s:%s\" is there with value \"%s\": want --overwrite", c->key,
                       c->effect, tree_find_string(found, "", "value", NULL));
    *changed = true;
    t = found;
    if (!t) {
        t = tree_map();
        tree_set(t, "key", tree_string(c->key));
        tree_append(taints, t);
    }
    if (c->value)
        tree_set(t, "value", tree_string(c->value));
    else
        tree_del(t, "value");
    tree_set(t, "effect", tree_string(c->effect));
    return 0;
}

/* The list is replaced as a whole, so the patch names the version that it was made from. */
static int
patch_taints(const struct edit *e, const struct kind_info *ki, const struct tree *obj,
             bool *changed)
{
    const struct tree *now = tree_find(obj, "spec", "taints", NULL);
    AUTO_TREE struct tree *patch = tree_map();
    struct tree *taints = now && tree_type(now) == TREE_LIST ? tree_copy(now) : tree_list();

    tree_set_path(patch, taints, "spec", "taints", NULL);
    tree_set_path(patch,
                  tree_string(tree_find_string(obj, NULL, "metadata", "resourceVersion", NULL)),
                  "metadata", "resourceVersion", NULL);
    for (size_t i = 0; i < e->len; i++) {
        CLEANUP(taint_change_done) struct taint_change c = {0};
        int rc = parse_taint(e->pairs[i], &c, &e->v->err);

        if (rc == 0)
            rc = change_taints(e, taints, &c, changed);
        if (rc < 0)
            return rc;
    }
    if (!*changed)
        return 0;
    return client_patch(e->v->client, ki, NULL, object_name(obj), NULL, patch, NULL, &e->v->err);
}

static int
edit_taints(const struct edit *e, const struct kind_info *ki, const struct tree *obj,
            const char **ret_said)
{
    AUTO_TREE struct tree *fresh = NULL;
    bool changed = false;
    int rc = patch_taints(e, ki, obj, &changed);

    for (int i = 0; rc == -EAGAIN && i < TAINT_TRIES; i++) {
        tree_free(TAKE_PTR(fresh));
        rc = client_get(e->v->client, ki, NULL, object_name(obj), &fresh, &e->v->err);
        changed = false;
        if (rc == 0)
            rc = patch_taints(e, ki, fresh, &changed);
    }
    *ret_said = changed ? e->changed : e->same;
    for (size_t i = 0; changed && i < e->len; i++) {
        if (e->pairs[i][strlen(e->pairs[i]) - 1] != '-')
            return rc;
    }
    if (changed)
        *ret_said = e->removed;
    return rc;
}

int
verb_taint(int argc, char **argv)
{
    AUTO_VERB struct verb v = {0};
    CLEANUP(verb_targets_done) struct verb_targets targets = {0};
    struct edit e = {.v = &v, .changed = "tainted", .removed = "untainted", .same = "not changed"};
    int exit_code;

    if (!verb_begin(&v, &taint_program, argc, argv, &exit_code))
        return exit_code;
    if (begin(&e, &targets) < 0)
        return verb_error(&v);
    for (size_t i = 0; i < targets.len; i++) {
        if (targets.items[i].ki->kind != KIND_NODE)
            return verb_errorf(&v, "only nodes have taints, not \"%s\"",
                               targets.items[i].ki->singular);
    }
    for (size_t i = 0; i < e.len; i++) {
        CLEANUP(taint_change_done) struct taint_change c = {0};

        if (parse_taint(e.pairs[i], &c, &v.err) < 0)
            return verb_error(&v);
    }
    return edit_each(&e, &targets, edit_taints);
}
