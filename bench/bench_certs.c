/* See bench_certs.h. */
#include "bench/bench_certs.h"

#include <errno.h>

#include "base/fs.h"
#include "base/sb.h"
#include "bench/bench_house.h"
#include "migrate/tls.h"
#include "migrate/tls_pki.h"

#define DIR BENCH_HOUSE_DIR "/certs"

int
bench_certs_make(struct err *err)
{
    static const char *const sides[] = {BENCH_CERTS_NEAR, BENCH_CERTS_FAR};
    int rc = tls_pki_ca(DIR, err);

    if (rc == -EEXIST)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(sides) && rc == 0; i++) {
        AUTO_FREE char *out = xasprintf(DIR "/%s", sides[i]);

        rc = fs_mkdirs(out, 0700, err);
        if (rc == 0)
            rc = tls_pki_node(DIR, sides[i], out, 1, err);
    }
    return rc;
}

int
bench_certs_load(const char *side, struct tls_ctx **ret, struct err *err)
{
    AUTO_FREE char *ca = xasprintf(DIR "/%s/ca.crt", side);
    AUTO_FREE char *cert = xasprintf(DIR "/%s/tls.crt", side);
    AUTO_FREE char *key = xasprintf(DIR "/%s/tls.key", side);
    const struct tls_files files = {.ca = ca, .cert = cert, .key = key};

    return tls_ctx_new(&files, ret, err);
}
