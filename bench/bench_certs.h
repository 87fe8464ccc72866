/* Certificates for the two sides, from a CA of their own that lives as long as the house. */
#ifndef BENCH_BENCH_CERTS_H
#define BENCH_BENCH_CERTS_H

#include "base/err.h"

#define BENCH_CERTS_NEAR "near"
#define BENCH_CERTS_FAR  "far"

struct tls_ctx;

/* Makes the CA and both certificates, unless they are there. */
int bench_certs_make(struct err *err);
/* One side's (BENCH_CERTS_...). *ret is the caller's (tls_ctx_unref). */
int bench_certs_load(const char *side, struct tls_ctx **ret, struct err *err);

#endif
