/* One TLS connection over a socket; see tls.h. OpenSSL's record layer runs on our own BIO: what it
 * writes is gathered here and handed to the kernel a few records at a time, and what it reads comes
 * the same way, because a system call a record costs more than the copy. Where the kernel encrypts,
 * OpenSSL writes to the socket itself. */
#include "migrate/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "base/sb.h"
#include "migrate/tls_impl.h"
#include "proto/control.h"
#include "proto/relay_frame.h"

#define RECORD_BYTES   16384
#define OUT_BYTES      (8 * (RECORD_BYTES + 256)) /* more records do not stay in the L2 cache */
#define IN_BYTES       65536
#define KEY_WORD_BYTES 1024  /* more than a KeyUpdate takes */
#define RECV_AT_ONCE   65536 /* bytes under one lock */
#define EMPTY_MAX      64    /* records without content in one call */
#define WORDS_FREE     16    /* messages after the handshake that need no bytes to excuse them */

struct tls {
    /* constant */
    int fd;
    bool accepts;
    char peer[TLS_NODE_SIZE];
    uint64_t rekey_bytes;
    /* guarded by mu: an SSL is not safe for two threads */
    pthread_mutex_t mu;
    SSL *ssl;
    uint8_t *out; /* records that the kernel has not taken yet: out[out_at .. out_len] */
    size_t out_at, out_len;
    uint8_t *in; /* what the kernel gave and OpenSSL has not taken yet: in[in_at .. in_len] */
    size_t in_at, in_len;
    bool again, eof; /* what the last read of the socket said */
    int io_errno;
    struct err why;   /* a call failed for good: the SSL must not be used again */
    bool established; /* the handshake is over */
    uint8_t first[4]; /* that the peer sent */
    unsigned first_len;
    bool unwritten; /* OpenSSL holds a record that did not fit into out */
    uint64_t received_bytes, key_bytes, words; /* words: messages after the handshake */
};

static BIO_METHOD *bio_method(void);
static void next_key(struct tls *t);
static int flush_locked(struct tls *t);
static ssize_t result(struct tls *t, int n, const char *doing, struct err *err);
static void explain(struct tls *t, const char *doing);
static void refused(struct tls *t);
static void on_message(int write_p, int version, int content_type, const void *buf, size_t len,
                       SSL *ssl, void *arg);

int
tls_new(struct tls_ctx *ctx, int fd, bool accepts, const char *peer, struct tls **ret,
        struct err *err)
{
    struct tls *t = xcalloc(1, sizeof *t);
    bool ok;

    ERR_clear_error();
    t->fd = fd;
    t->accepts = accepts;
    t->rekey_bytes = ctx->rekey_bytes;
    snprintf(t->peer, sizeof t->peer, "%s", peer);
    pthread_mutex_init(&t->mu, NULL);
    fs_set_nonblock(fd, true);
    t->ssl = SSL_new(ctx->ssl);
    ok = t->ssl && *peer && strlen(peer) < sizeof t->peer && SSL_set1_host(t->ssl, peer);
    if (ok && ctx->kernel) {
        SSL_set_options(t->ssl, SSL_OP_ENABLE_KTLS);
        ok = SSL_set_fd(t->ssl, fd);
    } else if (ok) {
        BIO *bio = BIO_new(bio_method());

        t->out = xmalloc(OUT_BYTES);
        t->in = xmalloc(IN_BYTES);
        ok = bio != NULL;
        if (ok) {
            BIO_set_data(bio, t);
            BIO_set_init(bio, 1);
            SSL_set_bio(t->ssl, bio, bio);
        }
    }
    if (!ok) {
        tls_free(t);
        return tls_err(err, -EINVAL, "TLS to node '%s'", peer);
    }
    SSL_set_hostflags(t->ssl, X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    SSL_set_msg_callback(t->ssl, on_message);
    SSL_set_msg_callback_arg(t->ssl, t);
    if (accepts)
        SSL_set_accept_state(t->ssl);
    else
        SSL_set_connect_state(t->ssl);
    *ret = t;
    return 0;
}

void
tls_free(struct tls *t)
{
    if (!t)
        return;
    SSL_free(t->ssl);
    pthread_mutex_destroy(&t->mu);
    free(t->out);
    free(t->in);
    free(t);
}

int
tls_handshake(struct tls *t, struct err *err)
{
    int rc;

    pthread_mutex_lock(&t->mu);
    ERR_clear_error();
    t->again = false;

    int n = t->why.code ? -1 : SSL_do_handshake(t->ssl);

    if (n == 1) {
        t->established = true;
        flush_locked(t); /* what is left goes before what is sent next */
        rc = 1;
    } else {
        ssize_t r = result(t, n, "TLS handshake", err);

        flush_locked(t);
        rc = r == -EAGAIN ? 0
             : r == 0     ? err_set(err, -ECONNRESET, "TLS handshake: the peer ended it")
                          : (int)r;
    }
    pthread_mutex_unlock(&t->mu);
    return rc;
}

short
tls_events(struct tls *t)
{
    short events;

    pthread_mutex_lock(&t->mu);
    events = t->out_len > 0 || SSL_want_write(t->ssl) ? POLLIN | POLLOUT : POLLIN;
    pthread_mutex_unlock(&t->mu);
    return events;
}

ssize_t
tls_send_some(struct tls *t, const void *buf, size_t len, struct err *err)
{
    const uint8_t *p = buf;
    size_t sent = 0;
    ssize_t rc = 0;

    pthread_mutex_lock(&t->mu);
    ERR_clear_error();
    if (t->key_bytes >= t->rekey_bytes)
        next_key(t);
    while (sent < len && rc == 0) {
        int n = t->why.code ? -1 : SSL_write(t->ssl, p + sent, (int)(len - sent));

        if (n > 0) {
            sent += (size_t)n;
            t->key_bytes += (size_t)n;
            t->unwritten = false;
        } else {
            rc = result(t, n, "send", err);
            t->unwritten = rc == -EAGAIN;
            rc = rc == 0 ? err_set(err, -EPIPE, "send: the peer closed the connection") : rc;
        }
    }
    pthread_mutex_unlock(&t->mu);
    return rc == 0 || (rc == -EAGAIN && sent > 0) ? (ssize_t)sent : rc;
}

/* Says that the next key comes. Only when that word fits at once: OpenSSL receives nothing while it
 * waits to get it out, and two ends that both wait so would wait for ever. mu held. */
static void
next_key(struct tls *t)
{
    if (t->why.code || t->unwritten || !t->out || OUT_BYTES - t->out_len < KEY_WORD_BYTES)
        return;
    if (SSL_key_update(t->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) && SSL_do_handshake(t->ssl) == 1)
        t->key_bytes = 0;
}

int
tls_flush(struct tls *t, struct err *err)
{
    int rc;

    pthread_mutex_lock(&t->mu);
    rc = flush_locked(t);
    pthread_mutex_unlock(&t->mu);
    return rc && rc != -EAGAIN ? err_set(err, rc, "send: %s", strerror(-rc)) : rc;
}

ssize_t
tls_recv_some(struct tls *t, void *buf, size_t len, struct err *err)
{
    uint8_t *p = buf;
    size_t got = 0;
    ssize_t rc = 0;

    if (len > RECV_AT_ONCE)
        len = RECV_AT_ONCE;
    pthread_mutex_lock(&t->mu);
    ERR_clear_error();
    for (int empty = 0; got < len && empty < EMPTY_MAX;) {
        t->again = false;

        int n = t->why.code ? -1 : SSL_read(t->ssl, p + got, (int)(len - got));

        if (n > 0) {
            got += (size_t)n;
            t->received_bytes += (size_t)n;
            continue;
        }
        rc = result(t, n, "receive", err);
        if (rc != -EAGAIN || t->again)
            break;
        empty++; /* a message of TLS's own */
    }
    if (t->words > WORDS_FREE + (t->received_bytes >> 30)) {
        got = 0;
        err_set(&t->why, -EPROTO, "receive: the peer changes its keys without end");
        rc = result(t, -1, "receive", err);
    }
    if (t->out_len > 0) /* an answer to such a message */
        flush_locked(t);
    pthread_mutex_unlock(&t->mu);
    if (got > 0)
        return (ssize_t)got; /* what went wrong behind it comes up again */
    return rc;
}

bool
tls_pending(struct tls *t)
{
    bool pending;

    pthread_mutex_lock(&t->mu);
    pending = !t->why.code && (SSL_pending(t->ssl) > 0 || t->in_at < t->in_len);
    pthread_mutex_unlock(&t->mu);
    return pending;
}

bool
tls_readable(struct tls *t)
{
    uint8_t b;
    bool some;

    pthread_mutex_lock(&t->mu);
    ERR_clear_error();
    t->again = false;

    int n = t->why.code ? -1 : SSL_peek(t->ssl, &b, 1);

    some = n > 0;
    if (!some)
        result(t, n, "receive", NULL);
    pthread_mutex_unlock(&t->mu);
    return some;
}

void
tls_bye(struct tls *t)
{
    pthread_mutex_lock(&t->mu);
    ERR_clear_error();
    if (!t->why.code && t->established)
        SSL_shutdown(t->ssl);
    flush_locked(t);
    pthread_mutex_unlock(&t->mu);
}

bool
tls_met_plaintext(struct tls *t)
{
    bool plain;

    pthread_mutex_lock(&t->mu);
    plain = t->first_len == sizeof t->first &&
            (control_is_frame(t->first) || relay_frame_is_hello(t->first));
    pthread_mutex_unlock(&t->mu);
    return plain;
}

void
tls_suite(struct tls *t, char ret[TLS_SUITE_SIZE])
{
    pthread_mutex_lock(&t->mu);
    snprintf(ret, TLS_SUITE_SIZE, "TLS 1.3, %s%s", SSL_get_cipher_name(t->ssl),
             BIO_get_ktls_send(SSL_get_wbio(t->ssl)) ? ", kernel" : "");
    pthread_mutex_unlock(&t->mu);
}

/* --- what went wrong --- */

/* Of a call that returned n <= 0: -EAGAIN, 0 when the peer has said that it is done, -errno. mu
 * held. */
static ssize_t
result(struct tls *t, int n, const char *doing, struct err *err)
{
    if (!t->why.code) {
        int what = SSL_get_error(t->ssl, n), error = errno;

        if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE) {
            t->again = t->again || !t->out; /* without a BIO of ours poll knows */
            return -EAGAIN;
        }
        if (what == SSL_ERROR_ZERO_RETURN)
            return 0;
        if (!t->out && what == SSL_ERROR_SYSCALL) {
            t->io_errno = error;
            t->eof = error == 0;
        }
        explain(t, doing);
    }
    if (err)
        *err = t->why;
    return t->why.code;
}

/* Keeps why the connection is of no use any more. mu held. */
static void
explain(struct tls *t, const char *doing)
{
    if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        t->eof = true;
    if (t->io_errno)
        err_set(&t->why, -t->io_errno, "%s: %s", doing, strerror(t->io_errno));
    else if (t->eof && t->established)
        err_set(&t->why, -ECONNRESET, "%s: the encrypted stream was cut short", doing);
    else if (t->eof)
        err_set(&t->why, -ECONNRESET, "%s: the peer closed the connection", doing);
    else if (!t->established && t->first_len > 0 &&
             (t->first[0] < SSL3_RT_CHANGE_CIPHER_SPEC || t->first[0] > SSL3_RT_APPLICATION_DATA))
        err_set(&t->why, -EPROTO,
                "%s: the peer does not speak TLS, and this side was not told to go without", doing);
    else
        refused(t);
}

/* One side turned the other away. mu held. */
static void
refused(struct tls *t)
{
    unsigned long code = ERR_peek_last_error();
    int reason = ERR_GET_REASON(code);
    long verify = SSL_get_verify_result(t->ssl);

    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        err_set(&t->why, -EACCES, "TLS: the certificate of node '%s' is not accepted: %s", t->peer,
                verify == X509_V_ERR_HOSTNAME_MISMATCH ? "it is another node's"
                                                       : X509_verify_cert_error_string(verify));
        return;
    }
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        err_set(&t->why, -EACCES, "TLS: the peer shows no certificate; that of node '%s' is due",
                t->peer);
        return;
    }
    switch (reason - SSL_AD_REASON_OFFSET) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case TLS13_AD_CERTIFICATE_REQUIRED:
        err_set(&t->why, -EACCES, "TLS: node '%s' does not accept our certificate: %s", t->peer,
                SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET));
        break;
    default:
        tls_err(&t->why, -EPROTO, "TLS");
    }
}

/* --- below OpenSSL --- */

static void
on_message(int write_p, int version, int content_type, const void *buf, size_t len, SSL *ssl,
           void *arg)
{
    struct tls *t = arg;

    (void)version, (void)buf, (void)len, (void)ssl;
    if (!write_p && content_type == SSL3_RT_HANDSHAKE && t->established)
        t->words++;
}

static int
flush_locked(struct tls *t)
{
    while (t->out_at < t->out_len) {
        ssize_t n = send(t->fd, t->out + t->out_at, t->out_len - t->out_at, MSG_NOSIGNAL);

        if (n > 0)
            t->out_at += (size_t)n;
        else if (errno == EAGAIN)
            return -EAGAIN;
        else if (errno != EINTR)
            return -(t->io_errno = errno);
    }
    t->out_at = t->out_len = 0;
    return 0;
}

static int
bio_write(BIO *bio, const char *p, int len)
{
    struct tls *t = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (t->out_len + (size_t)len > OUT_BYTES) {
        int rc = flush_locked(t);

        if (rc && rc != -EAGAIN)
            return -1;
        memmove(t->out, t->out + t->out_at, t->out_len - t->out_at);
        t->out_len -= t->out_at;
        t->out_at = 0;
    }
    if ((size_t)len > OUT_BYTES - t->out_len)
        len = (int)(OUT_BYTES - t->out_len);
    if (len == 0) {
        BIO_set_retry_write(bio);
        return -1;
    }
    memcpy(t->out + t->out_len, p, (size_t)len);
    t->out_len += (size_t)len;
    return len;
}

static int
bio_read(BIO *bio, char *p, int len)
{
    struct tls *t = BIO_get_data(bio);
    ssize_t n;

    BIO_clear_retry_flags(bio);
    if (t->in_at < t->in_len) {
        n = (ssize_t)(t->in_len - t->in_at < (size_t)len ? t->in_len - t->in_at : (size_t)len);
        memcpy(p, t->in + t->in_at, (size_t)n);
        t->in_at += (size_t)n;
        return (int)n;
    }
    do
        n = recv(t->fd, t->in, IN_BYTES, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        for (ssize_t i = 0; i < n && t->first_len < sizeof t->first; i++)
            t->first[t->first_len++] = t->in[i];
        t->in_at = 0;
        t->in_len = (size_t)n;
        return bio_read(bio, p, len);
    }
    if (n == 0) {
        t->eof = true;
        return 0;
    }
    if (errno == EAGAIN) {
        t->again = true;
        BIO_set_retry_read(bio);
    } else {
        t->io_errno = errno;
    }
    return -1;
}

static long
bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    struct tls *t = BIO_get_data(bio);

    (void)num, (void)ptr;
    if (cmd == BIO_CTRL_EOF)
        return t->eof;
    /* tls_flush does it, when the caller has no more. */
    return cmd == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;

static void
make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "drover socket");
    if (!method)
        abort(); /* no memory */
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_ctrl(method, bio_ctrl);
}

static BIO_METHOD *
bio_method(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_method);
    return method;
}
