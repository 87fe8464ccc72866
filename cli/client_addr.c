/* Where the controller is: the rules of CLI.md, in one place, so that every verb and every error message
 * agree. */
#include "cli/client.h"

#include <errno.h>
#include <string.h>

static int
check_url(const char *url, const char *how, struct err *err)
{
    if ((strncmp(url, "unix:/", 6) == 0 && url[6]) ||
        (strncmp(url, "http://", 7) == 0 && url[7] && url[7] != '/'))
        return 0;
    return err_set(err, -EINVAL, "%s \"%s\": want http://HOST:PORT or unix:/PATH", how, url);
}

int
client_address(const char *server, char **ret_url, const char **ret_how, struct err *err)
{
    const char *env = getenv("DROVER_SERVER");
    const char *url = CLIENT_DEFAULT_URL;
    const char *how = "the default, as there is no --server and no $DROVER_SERVER";
    int rc;

    if (server) {
        url = server;
        how = "--server";
    } else if (env && env[0]) {
        url = env;
        how = "$DROVER_SERVER";
    }
    rc = check_url(url, how, err);
    if (rc < 0)
        return rc;
    *ret_url = xstrdup(url);
    *ret_how = how;
    return 0;
}
