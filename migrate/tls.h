/* TLS 1.3 with certificates on both sides, for the connections of a migration. OpenSSL stays in
 * migrate/tls*; everybody else uses conn.h.
 *
 * Whom a certificate names: the node, as a dNSName in subjectAltName (RFC 6125: no wildcard, the
 * subject's common name does not count). What is verified, at both ends: the chain up to the CA of
 * the file, the dates, the purpose (client or server), and that the name is that of the node that
 * this very migration comes from or goes to. */
#ifndef MIGRATE_TLS_H
#define MIGRATE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define TLS_NODE_SIZE  254 /* with the NUL: a DNS name */
#define TLS_SUITE_SIZE 48  /* with the NUL: "TLS 1.3, TLS_AES_128_GCM_SHA256" */

/* --- certificates: constant after new, any thread --- */
struct tls_ctx;

struct tls_files { /* paths of PEM files */
    const char *ca, *cert, *key;
};

/* Loads and checks them: that the key is the certificate's, and that the certificate is valid now
 * and comes from the CA. *ret has one reference. Reads files. Errors name the file. */
int tls_ctx_new(const struct tls_files *f, struct tls_ctx **ret, struct err *err);
struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx);
void tls_ctx_unref(struct tls_ctx *ctx); /* NULL is fine */
/* Whether our own certificate names this node: else every peer would turn it away. */
bool tls_ctx_names(const struct tls_ctx *ctx, const char *node);
/* Seconds until our own certificate ends; negative when it has. */
int64_t tls_ctx_left_s(const struct tls_ctx *ctx);

/* A key encrypts at most about so many bytes, then the next one is used. For tests: the default of
 * 64 GiB keeps far below what RFC 8446, 5.5 allows AES-GCM. Before the first connection. */
void tls_ctx_set_rekey(struct tls_ctx *ctx, uint64_t bytes);

/* Whether the kernel is asked to encrypt; by default where it can. Where it then does not, OpenSSL
 * encrypts. Before the first connection. */
void tls_ctx_set_kernel(struct tls_ctx *ctx, bool on);

/* Whether this kernel can encrypt TCP by itself (tried once a process). */
bool tls_kernel_offers(void);

/* --- one connection: one thread sends, one (the same or another) receives --- */
struct tls;

/* fd is borrowed and becomes non-blocking. peer: the node that the other end must be. */
int tls_new(struct tls_ctx *ctx, int fd, bool accepts, const char *peer, struct tls **ret,
            struct err *err);
void tls_free(struct tls *t); /* NULL is fine; says nothing to the peer */

/* 1: the peer is who it must be; 0: not there yet, call again when tls_events come; -errno: it is
 * not (-EACCES: its certificate or ours; -EPROTO: no TLS). Never blocks. */
int tls_handshake(struct tls *t, struct err *err);
short tls_events(struct tls *t); /* for poll, during the handshake */

/* As conn_send_some, into records that may stay here until tls_flush: 0 when all are with the
 * kernel, -EAGAIN, other -errno. */
ssize_t tls_send_some(struct tls *t, const void *buf, size_t len, struct err *err);
int tls_flush(struct tls *t, struct err *err);
/* As conn_recv_some. A stream that ends without the peer's word that it ends is -ECONNRESET. */
ssize_t tls_recv_some(struct tls *t, void *buf, size_t len, struct err *err);
bool tls_pending(struct tls *t);
/* Whether the peer has sent anything that was not received yet. Any thread. */
bool tls_readable(struct tls *t);
/* Whether what should have been a handshake began like a control frame in the clear. */
bool tls_met_plaintext(struct tls *t);
/* Tells the peer that nothing more comes, if that goes at once. */
void tls_bye(struct tls *t);

/* "TLS 1.3, TLS_AES_128_GCM_SHA256", and ", kernel" where that encrypts. After the handshake. */
void tls_suite(struct tls *t, char ret[TLS_SUITE_SIZE]);

#endif
