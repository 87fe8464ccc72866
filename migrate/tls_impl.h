/* What tls*.c share. */
#ifndef MIGRATE_TLS_IMPL_H
#define MIGRATE_TLS_IMPL_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "migrate/tls.h"

struct tls_ctx {
    SSL_CTX *ssl;
    X509 *cert; /* our own */
    atomic_int refs;
    uint64_t rekey_bytes;
    bool kernel; /* its encryption is asked for */
};

/* Says what OpenSSL's queue of errors of this thread holds, as "prefix: why". Returns rc. */
int tls_err(struct err *err, int rc, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
