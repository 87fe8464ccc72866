/* Where the controller is: the rules of CLI.md, in one place, so that every verb and every error
 * message agree. */
#include "cli/client.h"

#include <errno.h>
#include <string.h>

#include "cli/dev_cluster.h"

static int
check_url(const char *url, const char *how, struct err *err)
{
    if ((strncmp(url, "unix:/", 6) == 0 && url[6]) ||
        (strncmp(url, "http://", 7) == 0 && url[7] && url[7] != '/'))
        return 0;
    return err_set(err, -EINVAL, "%s \"%s\": want http://HOST:PORT or unix:/PATH", how, url);
}

/* The socket of the dev cluster in the usual place, while its controller lives. The caller's. */
static char *
dev_url(void)
{
    AUTO_DEV_CLUSTER struct dev_cluster *c = NULL;

    if (dev_cluster_open(NULL, &c, NULL) < 0 || !dev_proc_alive(&c->controller))
        return NULL;
    return xstrdup(c->url);
}

int
client_address(const char *server, char **ret_url, const char **ret_how, struct err *err)
{
    const char *env = getenv("DROVER_SERVER");
    const char *url = CLIENT_DEFAULT_URL;
    const char *how =
        "the default: no --server, no $DROVER_SERVER, and no dev cluster runs in " DEV_DIR_DEFAULT;
    AUTO_FREE char *dev = NULL;
    int rc;

    if (server) {
        url = server;
        how = "--server";
    } else if (env && env[0]) {
        url = env;
        how = "$DROVER_SERVER";
    } else if ((dev = dev_url())) {
        url = dev;
        how = "the dev cluster in " DEV_DIR_DEFAULT;
    }
    rc = check_url(url, how, err);
    if (rc < 0)
        return rc;
    *ret_url = xstrdup(url);
    *ret_how = how;
    return 0;
}
