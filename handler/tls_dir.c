/* This node's certificates; see tls_dir.h. */
#include "handler/tls_dir.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/sb.h"

enum { CA, CERT, KEY, FILES };

struct tls_dir {
    char *dir, *node; /* dir NULL: none */
    char *paths[FILES];
    struct stat seen[FILES]; /* of the files that were tried last */
    struct tls_ctx *ctx;     /* the last that could be used; NULL = none yet */
    struct err why;          /* what was tried last could not be used */
};

static int load(struct tls_dir *d, struct tls_ctx **ret, struct err *err);

struct tls_dir *
tls_dir_new(const char *dir, const char *node)
{
    static const char *const names[FILES] = {"ca.crt", "tls.crt", "tls.key"};
    struct tls_dir *d = xcalloc(1, sizeof *d);

    d->dir = dir ? xstrdup(dir) : NULL;
    d->node = xstrdup(node);
    for (int i = 0; dir && i < FILES; i++)
        d->paths[i] = xasprintf("%s/%s", dir, names[i]);
    return d;
}

void
tls_dir_free(struct tls_dir *d)
{
    if (!d)
        return;
    tls_ctx_unref(d->ctx);
    for (int i = 0; i < FILES; i++)
        free(d->paths[i]);
    free(d->dir);
    free(d->node);
    free(d);
}

static bool
same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int
tls_dir_get(struct tls_dir *d, struct tls_ctx **ret, struct err *err)
{
    struct stat now[FILES];
    struct tls_ctx *ctx;
    bool same = true;

    if (!d->dir)
        return err_set(err, -ENOENT,
                       "this handler has no certificates (--tls-dir), and plaintext was not chosen "
                       "(disableTLS for the cluster, --insecure-plaintext for the node)");
    for (int i = 0; i < FILES; i++) {
        if (stat(d->paths[i], &now[i]) != 0)
            memset(&now[i], 0, sizeof now[i]);
        same = same && same_file(&now[i], &d->seen[i]);
    }
    if (!same || (!d->ctx && !d->why.code)) {
        bool first = !d->ctx;

        memcpy(d->seen, now, sizeof now);
        d->why = (struct err){0};
        if (load(d, &ctx, &d->why) == 0) {
            tls_ctx_unref(d->ctx);
            d->ctx = ctx;
            log_info("tls.loaded", LS("dir", d->dir), LI("days_left", tls_ctx_left_s(ctx) / 86400),
                     LS("by", tls_kernel_offers() ? "kernel" : "OpenSSL"), LI("again", !first));
        } else {
            log_warn("tls.unusable", LS("dir", d->dir), LS("error", err_msg(&d->why)));
        }
    }
    if (!d->ctx) {
        if (err)
            *err = d->why;
        return d->why.code;
    }
    if (tls_ctx_left_s(d->ctx) <= 0)
        return err_set(err, -EKEYEXPIRED, "certificate %s has expired", d->paths[CERT]);
    *ret = tls_ctx_ref(d->ctx);
    return 0;
}

static int
load(struct tls_dir *d, struct tls_ctx **ret, struct err *err)
{
    struct tls_files f = {.ca = d->paths[CA], .cert = d->paths[CERT], .key = d->paths[KEY]};
    int rc = tls_ctx_new(&f, ret, err);

    if (rc == 0 && !tls_ctx_names(*ret, d->node)) {
        tls_ctx_unref(*ret);
        rc = err_set(err, -EACCES,
                     "certificate %s does not name this node: want the dNSName '%s' in its "
                     "subjectAltName",
                     d->paths[CERT], d->node);
    }
    return rc;
}
