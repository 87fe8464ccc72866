/* See store_fixture.h. */
#include "tests/control/store_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"

static void
must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "fixture: %s\n", what);
        abort();
    }
}

void
fixture_open(struct fixture *f, bool sqlite)
{
    struct err err = {0};

    *f = (struct fixture){0};
    if (!sqlite) {
        f->loop = loop_sim_new(1);
        f->st = store_open_mem(f->loop);
        return;
    }
    snprintf(f->dir, sizeof(f->dir), "/tmp/drover-store-XXXXXX");
    must(mkdtemp(f->dir) != NULL, "mkdtemp");
    snprintf(f->path, sizeof(f->path), "%s/store.db", f->dir);
    f->loop = loop_event_new();
    if (store_open_sqlite(f->loop, f->path, &f->st, &err) != 0)
        must(false, err_msg(&err));
}

void
fixture_reopen(struct fixture *f)
{
    struct err err = {0};

    store_free(f->st);
    if (store_open_sqlite(f->loop, f->path, &f->st, &err) != 0)
        must(false, err_msg(&err));
}

void
fixture_close(struct fixture *f)
{
    store_free(f->st);
    loop_free(f->loop);
    tree_free(f->obj);
    if (*f->dir)
        fs_rmtree(f->dir, NULL);
}

struct tree *
fixture_json(const char *text)
{
    struct tree *t = NULL;
    struct err err = {0};

    if (tree_from_json(text, strlen(text), &t, &err) != 0)
        must(false, err_msg(&err));
    return t;
}

struct tree *
fixture_object(enum kind kind, const char *ns, const char *name, const char *extra)
{
    const struct kind_info *k = kind_info(kind);
    char *text = xasprintf("{\"apiVersion\":\"%s%s%s\",\"kind\":\"%s\",\"metadata\":{"
                           "\"name\":\"%s\"%s%s%s}%s}",
                           k->group, *k->group ? "/" : "", k->version, k->name, name,
                           *ns ? ",\"namespace\":\"" : "", ns, *ns ? "\"" : "", extra);
    struct tree *t = fixture_json(text);

    free(text);
    return t;
}

void
fixture_done(void *ctx, const struct store_result *res)
{
    struct fixture *f = ctx;

    f->finished = true;
    f->rc = res->rc;
    f->changed = res->changed;
    f->removed = res->removed;
    snprintf(f->message, sizeof(f->message), "%s", res->rc ? err_msg(res->err) : "");
    tree_free(f->obj);
    f->obj = tree_copy(res->obj);
    loop_stop(f->loop);
}

void
fixture_wait(struct fixture *f)
{
    while (!f->finished)
        loop_run(f->loop);
    f->finished = false;
}

int
fixture_create(struct fixture *f, struct tree *obj)
{
    store_create(f->st, obj, fixture_done, f);
    fixture_wait(f);
    return f->rc;
}

int
fixture_update(struct fixture *f, struct tree *obj)
{
    store_update(f->st, obj, fixture_done, f);
    fixture_wait(f);
    return f->rc;
}

int
fixture_patch(struct fixture *f, enum kind kind, const char *ns, const char *name, uint64_t rv,
              const char *patch)
{
    store_patch(f->st, kind, ns, name, rv, fixture_json(patch), fixture_done, f);
    fixture_wait(f);
    return f->rc;
}

int
fixture_delete(struct fixture *f, enum kind kind, const char *ns, const char *name, const char *uid,
               uint64_t rv)
{
    store_delete(f->st, kind, ns, name, uid, rv, fixture_done, f);
    fixture_wait(f);
    return f->rc;
}

static bool
dump_one(void *ctx, const struct store_object *o)
{
    struct sb *out = ctx;
    size_t len;
    const char *json = store_object_json(o, &len);

    sb_printf(out, "%d %s %.*s\n", (int)store_object_kind(o), store_object_key(o), (int)len, json);
    return true;
}

char *
fixture_dump(struct store *st)
{
    struct sb out = SB_INIT;

    for (int k = KIND_NONE + 1; k < KIND_COUNT; k++)
        store_each(st, (enum kind)k, NULL, dump_one, &out);
    return sb_steal(&out);
}
