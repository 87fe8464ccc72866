/* See certs.h. */
#include "tests/migrate/certs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "migrate/tls_pki.h"

#define NODES 8

static char root[] = "/tmp/drover-certs-XXXXXX";
static pid_t owner;
static struct {
    char node[32];
    struct tls_ctx *ctx;
} nodes[NODES];

static void
need(int rc, const struct err *err)
{
    if (rc == 0)
        return;
    fprintf(stderr, "# certificates: %s\n", err_msg(err));
    abort();
}

static void
clean(void)
{
    if (getpid() != owner)
        return;
    for (int i = 0; i < NODES; i++)
        tls_ctx_unref(nodes[i].ctx);
    fs_rmtree(root, NULL);
}

const char *
certs_path(const char *name)
{
    static char paths[16][128];
    static unsigned next;
    struct err err = {0};
    char *path = paths[next++ % ARRAY_LEN(paths)];

    if (!owner) {
        if (!mkdtemp(root))
            abort();
        owner = getpid();
        atexit(clean);
    }
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    need(fs_mkdirs(path, 0755, &err), &err);
    return path;
}

const char *
certs_make(const char *ca, const char *node, int days)
{
    struct err err = {0};
    const char *ca_dir = certs_path(ca);
    char name[64];
    const char *dir;
    int rc = tls_pki_ca(ca_dir, &err);

    if (rc != -EEXIST)
        need(rc, &err);
    snprintf(name, sizeof name, "%s-%s-%d", ca, node, days);
    dir = certs_path(name);
    need(tls_pki_node(ca_dir, node, dir, days, &err), &err);
    return dir;
}

struct tls_ctx *
certs_load(const char *dir)
{
    char ca[160], cert[160], key[160];
    struct tls_files f = {ca, cert, key};
    struct tls_ctx *ctx = NULL;
    struct err err = {0};

    snprintf(ca, sizeof ca, "%s/ca.crt", dir);
    snprintf(cert, sizeof cert, "%s/tls.crt", dir);
    snprintf(key, sizeof key, "%s/tls.key", dir);
    need(tls_ctx_new(&f, &ctx, &err), &err);
    return ctx;
}

struct tls_ctx *
certs_node(const char *node)
{
    int i = 0;

    while (i < NODES - 1 && nodes[i].ctx && strcmp(nodes[i].node, node) != 0)
        i++;
    if (!nodes[i].ctx) {
        snprintf(nodes[i].node, sizeof nodes[i].node, "%s", node);
        nodes[i].ctx = certs_load(certs_make("ca", node, 10));
    }
    return nodes[i].ctx;
}
