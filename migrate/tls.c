/* Certificates and what every connection made with them has in common; see tls.h. */
#include "migrate/tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/sb.h"
#include "migrate/tls_impl.h"

/* AES-128 first: with the processor's AES instructions it is the fastest that TLS 1.3 has. */
#define SUITES      "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"
#define MAX_DEPTH   4     /* of certificates between a node's and the CA */
#define MAX_CERTS   16384 /* bytes of a peer's chain: ours have about 1 KiB */
#define REKEY_BYTES (64ull << 30)

#ifndef TCP_ULP
#define TCP_ULP 31
#endif

static int load(struct tls_ctx *ctx, const struct tls_files *f, struct err *err);
static int check_own(struct tls_ctx *ctx, const struct tls_files *f, struct err *err);

int
tls_ctx_new(const struct tls_files *f, struct tls_ctx **ret, struct err *err)
{
    struct tls_ctx *ctx = xcalloc(1, sizeof *ctx);
    int rc;

    atomic_init(&ctx->refs, 1);
    ctx->rekey_bytes = REKEY_BYTES;
    ctx->kernel = tls_kernel_offers();
    ERR_clear_error();
    ctx->ssl = SSL_CTX_new(TLS_method());
    if (!ctx->ssl || !SSL_CTX_set_min_proto_version(ctx->ssl, TLS1_3_VERSION) ||
        !SSL_CTX_set_ciphersuites(ctx->ssl, SUITES) ||
        !SSL_CTX_set1_groups_list(ctx->ssl, "X25519:P-256"))
        rc = tls_err(err, -EIO, "TLS");
    else
        rc = load(ctx, f, err);
    if (rc == 0)
        rc = check_own(ctx, f, err);
    if (rc != 0) {
        tls_ctx_unref(ctx);
        return rc;
    }
    SSL_CTX_set_verify(ctx->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_verify_depth(ctx->ssl, MAX_DEPTH);
    SSL_CTX_set_max_cert_list(ctx->ssl, MAX_CERTS);
    /* Every connection proves itself: nothing is resumed. */
    SSL_CTX_set_session_cache_mode(ctx->ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx->ssl, 0);
    SSL_CTX_set_options(ctx->ssl, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
    /* Without AUTO_RETRY one call handles one record, so that a flood of empty ones has no hold. */
    SSL_CTX_clear_mode(ctx->ssl, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_mode(ctx->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    *ret = ctx;
    return 0;
}

struct tls_ctx *
tls_ctx_ref(struct tls_ctx *ctx)
{
    atomic_fetch_add(&ctx->refs, 1);
    return ctx;
}

void
tls_ctx_unref(struct tls_ctx *ctx)
{
    if (!ctx || atomic_fetch_sub(&ctx->refs, 1) > 1)
        return;
    SSL_CTX_free(ctx->ssl);
    free(ctx);
}

bool
tls_ctx_names(const struct tls_ctx *ctx, const char *node)
{
    return X509_check_host(ctx->cert, node, strlen(node),
                           X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT,
                           NULL) == 1;
}

int64_t
tls_ctx_left_s(const struct tls_ctx *ctx)
{
    int days = 0, seconds = 0;

    ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(ctx->cert));
    return (int64_t)days * 86400 + seconds;
}

void
tls_ctx_set_rekey(struct tls_ctx *ctx, uint64_t bytes)
{
    ctx->rekey_bytes = bytes;
}

void
tls_ctx_set_kernel(struct tls_ctx *ctx, bool on)
{
    ctx->kernel = on;
}

static bool kernel_offers;

static void
ask_kernel(void)
{
    AUTO_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    /* ENOENT: there is no such protocol; with it, that this socket is not connected. */
    kernel_offers =
        fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 4) < 0 && errno == ENOTCONN;
}

bool
tls_kernel_offers(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, ask_kernel);
    return kernel_offers;
}

int
tls_err(struct err *err, int rc, const char *fmt, ...)
{
    unsigned long code = ERR_get_error();
    const char *data = NULL;
    char what[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    for (unsigned long next = code; next; next = ERR_get_error_all(NULL, NULL, NULL, &data, NULL))
        code = next;

    const char *why = code ? ERR_reason_error_string(code) : NULL;

    return err_set(err, rc, "%s: %s", what, why ? why : strerror(-rc));
}

static int
load(struct tls_ctx *ctx, const struct tls_files *f, struct err *err)
{
    STACK_OF(X509_NAME) * names;

    if (!SSL_CTX_load_verify_file(ctx->ssl, f->ca))
        return tls_err(err, -EINVAL, "CA certificate %s", f->ca);
    names = SSL_load_client_CA_file(f->ca);
    if (!names)
        return tls_err(err, -EINVAL, "CA certificate %s", f->ca);
    SSL_CTX_set_client_CA_list(ctx->ssl, names);
    if (SSL_CTX_use_certificate_chain_file(ctx->ssl, f->cert) != 1)
        return tls_err(err, -EINVAL, "certificate %s", f->cert);
    if (SSL_CTX_use_PrivateKey_file(ctx->ssl, f->key, SSL_FILETYPE_PEM) != 1)
        return ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH
                   ? err_set(err, -EINVAL, "key %s is not that of %s", f->key, f->cert)
                   : tls_err(err, -EINVAL, "key %s", f->key);
    ctx->cert = SSL_CTX_get0_certificate(ctx->ssl);
    return 0;
}

/* What every peer would find is better said here, before a guest is touched. */
static int
check_own(struct tls_ctx *ctx, const struct tls_files *f, struct err *err)
{
    X509_STORE_CTX *v = X509_STORE_CTX_new();
    STACK_OF(X509) *chain = NULL;
    int rc = 0;

    SSL_CTX_get0_chain_certs(ctx->ssl, &chain);
    if (!v || !X509_STORE_CTX_init(v, SSL_CTX_get_cert_store(ctx->ssl), ctx->cert, chain))
        rc = tls_err(err, -EIO, "certificate %s", f->cert);
    else if (X509_verify_cert(v) != 1)
        rc = err_set(err, -EINVAL, "certificate %s (CA %s): %s", f->cert, f->ca,
                     X509_verify_cert_error_string(X509_STORE_CTX_get_error(v)));
    X509_STORE_CTX_free(v);
    return rc;
}
