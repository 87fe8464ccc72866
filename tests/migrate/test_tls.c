/* Who may talk to whom over TLS, and what happens to those who may not; and that an encrypted
 * stream is whole or an error. Hostile peers speak OpenSSL by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sb.h"
#include "migrate/conn.h"
#include "migrate/tls_pki.h"
#include "migrate/xport.h"
#include "tests/migrate/certs.h"
#include "tests/migrate/pair.h"
#include "tests/migrate/relay.h"
#include "tests/migrate/wire_peer.h"

#define MIB        (1u << 20)
#define PATIENT_US 10000000

/* --- two ends on one machine --- */

static void
sockets(int fd[2])
{
    char addr[MIG_ADDR_SIZE];
    struct xport_dial d = {.addr = addr,
                           .local_ip = "127.0.0.1",
                           .device = "",
                           .timeout_us = PATIENT_US,
                           .user_timeout_us = PATIENT_US,
                           .cancel_fd = -1};
    AUTO_FD int l = -1;
    uint64_t rtt;
    struct pollfd p = {.events = POLLIN};

    assert_int_equal(xport_listen("127.0.0.1", "", &l, addr, NULL), 0);
    assert_int_equal(xport_dial(&d, &fd[0], &rtt, NULL), 0);
    p.fd = l;
    assert_int_equal(poll(&p, 1, 10000), 1);
    fd[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd[1] >= 0);
}

struct end {
    struct conn *c;
    int rc;
    struct err err;
};

/* Turn by turn until neither gets on. The dialling end is [0]. */
static void
shake(struct end e[2])
{
    uint64_t deadline = clock_mono_us() + PATIENT_US;

    e[0].rc = e[1].rc = 0;
    while ((e[0].rc == 0 || e[1].rc == 0) && clock_mono_us() < deadline) {
        for (int i = 0; i < 2; i++) {
            if (e[i].rc == 0)
                e[i].rc = conn_handshake(e[i].c, &e[i].err);
            if (e[i].rc < 0 && e[i].c) {
                conn_finish(e[i].c); /* the alert, and the end */
                if (e[!i].rc == 0)
                    e[!i].rc = conn_handshake(e[!i].c, &e[!i].err);
                if (e[!i].rc == 0)
                    e[!i].rc = conn_handshake_wait(e[!i].c, 1000000, -1, &e[!i].err) ?: 1;
                return;
            }
        }
    }
}

static void
connect_ends(struct end e[2], struct tls_ctx *a, const char *a_wants, struct tls_ctx *b,
             const char *b_wants)
{
    struct err err = {0};
    int fd[2];

    memset(e, 0, 2 * sizeof *e);
    sockets(fd);
    assert_int_equal(conn_tls(fd[0], a, false, a_wants, &e[0].c, &err), 0);
    assert_int_equal(conn_tls(fd[1], b, true, b_wants, &e[1].c, &err), 0);
    shake(e);
}

static void
free_ends(struct end e[2])
{
    conn_free(e[0].c);
    conn_free(e[1].c);
}

static void
test_who_is_who(void **state)
{
    struct tls_ctx *n1 = certs_node("n1"), *n2 = certs_node("n2");
    struct tls_ctx *stranger = certs_load(certs_make("other-ca", "n2", 10));
    char suite[TLS_SUITE_SIZE];
    struct end e[2];
    char byte;

    (void)state;
    connect_ends(e, n1, "n2", n2, "n1");
    assert_int_equal(e[0].rc, 1);
    assert_int_equal(e[1].rc, 1);
    conn_suite(e[0].c, suite);
    assert_string_equal(suite, "TLS 1.3, TLS_AES_128_GCM_SHA256");
    assert_false(conn_is_plain(e[0].c));
    free_ends(e);
    /* the right CA, another node: found by the one that dials ... */
    connect_ends(e, n1, "n3", n2, "n1");
    assert_int_equal(e[0].rc, -EACCES);
    assert_string_equal(e[0].err.msg,
                        "TLS: the certificate of node 'n3' is not accepted: it is another node's");
    assert_int_equal(e[1].rc, -EACCES);
    assert_non_null(strstr(e[1].err.msg, "node 'n1' does not accept our certificate"));
    free_ends(e);
    /* ... and by the one that is dialled: the other hears it when it next receives */
    connect_ends(e, n1, "n2", n2, "n9");
    assert_int_equal(e[1].rc, -EACCES);
    assert_string_equal(e[1].err.msg,
                        "TLS: the certificate of node 'n9' is not accepted: it is another node's");
    assert_int_equal(e[0].rc, 1);
    assert_int_equal(conn_recv(e[0].c, &byte, 1, PATIENT_US, &e[0].err), -EACCES);
    assert_non_null(strstr(e[0].err.msg, "node 'n2' does not accept our certificate"));
    free_ends(e);
    /* the right name from another CA */
    connect_ends(e, n1, "n2", stranger, "n1");
    assert_int_equal(e[0].rc, -EACCES);
    free_ends(e);
    connect_ends(e, stranger, "n1", n1, "n2");
    assert_true(e[0].rc == -EACCES || e[1].rc == -EACCES);
    free_ends(e);
    tls_ctx_unref(stranger);
}

/* --- files --- */

static int
load(const char *ca, const char *cert, const char *key, struct err *err)
{
    struct tls_files f = {ca, cert, key};
    struct tls_ctx *ctx = NULL;
    int rc = tls_ctx_new(&f, &ctx, err);

    tls_ctx_unref(ctx);
    return rc;
}

static void
test_files(void **state)
{
    char ca[200], cert[200], key[200], other_key[200], other_ca[200], old_cert[200], old_key[200];
    const char *dir = certs_make("ca", "n1", 10), *b = certs_make("other-ca", "n1", 10),
               *old = certs_make("ca", "n1", -1);
    struct err err = {0};

    (void)state;
    snprintf(ca, sizeof ca, "%s/ca.crt", dir);
    snprintf(cert, sizeof cert, "%s/tls.crt", dir);
    snprintf(key, sizeof key, "%s/tls.key", dir);
    snprintf(other_key, sizeof other_key, "%s/tls.key", b);
    snprintf(other_ca, sizeof other_ca, "%s/ca.crt", b);
    snprintf(old_cert, sizeof old_cert, "%s/tls.crt", old);
    snprintf(old_key, sizeof old_key, "%s/tls.key", old);
    assert_int_equal(load(ca, cert, key, &err), 0);
    assert_int_equal(load(ca, cert, other_key, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "is not that of"));
    assert_int_equal(load(other_ca, cert, key, &err), -EINVAL);
    assert_int_equal(load(ca, old_cert, old_key, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "expired"));
    assert_int_equal(load("/nonexistent", cert, key, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "/nonexistent"));
    assert_int_equal(load(ca, key, key, &err), -EINVAL);
    assert_int_equal(load(ca, cert, cert, &err), -EINVAL);
}

static void
test_own_name(void **state)
{
    struct tls_ctx *n1 = certs_node("n1");

    (void)state;
    assert_true(tls_ctx_names(n1, "n1"));
    assert_false(tls_ctx_names(n1, "n2"));
    assert_false(tls_ctx_names(n1, "x.n1"));
    assert_true(tls_ctx_left_s(n1) > 9 * 86400 && tls_ctx_left_s(n1) <= 10 * 86400);
}

static void
test_pki_refuses(void **state)
{
    const char *ca = certs_path("refusals");
    char out[160];
    struct err err = {0};

    (void)state;
    snprintf(out, sizeof out, "%s/out", ca);
    assert_int_equal(tls_pki_node(ca, "n1", out, 1, &err), -ENOENT); /* no CA yet */
    assert_int_equal(tls_pki_ca(ca, &err), 0);
    assert_int_equal(tls_pki_ca(ca, &err), -EEXIST);
    assert_int_equal(tls_pki_node(ca, "", out, 1, &err), -EINVAL);
    assert_int_equal(tls_pki_node(ca, "n1,DNS:n2", out, 1, &err), -EINVAL);
    assert_int_equal(tls_pki_node(ca, "*", out, 1, &err), -EINVAL);
    assert_int_equal(tls_pki_node(ca, "n1", out, 1, &err), 0);
}

/* --- by hand --- */

static SSL_CTX *
raw_ctx(const char *dir, bool server)
{
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    char path[200];

    assert_non_null(ctx);
    if (dir) {
        snprintf(path, sizeof path, "%s/tls.crt", dir);
        assert_int_equal(SSL_CTX_use_certificate_file(ctx, path, SSL_FILETYPE_PEM), 1);
        snprintf(path, sizeof path, "%s/tls.key", dir);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM), 1);
    }
    return ctx;
}

struct peer {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd, rc;
    void (*then)(struct peer *p);
    pthread_t thread;
};

static void *
peer_main(void *arg)
{
    struct peer *p = arg;
    char byte;

    p->rc = SSL_do_handshake(p->ssl);
    if (p->rc == 1 && p->then)
        p->then(p);
    else if (p->rc == 1)
        SSL_read(p->ssl, &byte, 1); /* what the other end thinks of it */
    return NULL;
}

/* A peer by hand dials ours, which must be that of node n2 and wants n1. */
static void
raw_peer(struct peer *p, SSL_CTX *ctx, struct end *ours)
{
    int fd[2];

    sockets(fd);
    p->ctx = ctx;
    p->fd = fd[0];
    p->ssl = SSL_new(ctx);
    SSL_set_fd(p->ssl, p->fd);
    SSL_set_connect_state(p->ssl);
    memset(ours, 0, sizeof *ours);
    assert_int_equal(conn_tls(fd[1], certs_node("n2"), true, "n1", &ours->c, &ours->err), 0);
    assert_int_equal(pthread_create(&p->thread, NULL, peer_main, p), 0);
    ours->rc = conn_handshake_wait(ours->c, PATIENT_US, -1, &ours->err);
}

static void
raw_done(struct peer *p, struct end *ours)
{
    conn_shut(ours->c);
    pthread_join(p->thread, NULL);
    conn_free(ours->c);
    SSL_free(p->ssl);
    SSL_CTX_free(p->ctx);
    close(p->fd);
}

static void
test_expired_peer(void **state)
{
    struct peer p = {0};
    struct end e;

    (void)state;
    raw_peer(&p, raw_ctx(certs_make("ca", "n1", -1), false), &e);
    assert_int_equal(e.rc, -EACCES);
    assert_non_null(strstr(e.err.msg, "node 'n1' is not accepted: certificate has expired"));
    raw_done(&p, &e);
}

static void
test_no_certificate(void **state)
{
    struct peer p = {0};
    struct end e;

    (void)state;
    raw_peer(&p, raw_ctx(NULL, false), &e);
    assert_int_equal(e.rc, -EACCES);
    assert_string_equal(e.err.msg, "TLS: the peer shows no certificate; that of node 'n1' is due");
    raw_done(&p, &e);
}

static void
test_old_version(void **state)
{
    SSL_CTX *ctx = raw_ctx(certs_make("ca", "n1", 10), false);
    struct peer p = {0};
    struct end e;

    (void)state;
    SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
    raw_peer(&p, ctx, &e);
    assert_int_equal(e.rc, -EPROTO);
    raw_done(&p, &e);
    assert_int_not_equal(p.rc, 1);
}

/* KeyUpdate costs the sender nothing and the receiver a derivation. */
static void
flood(struct peer *p)
{
    for (int i = 0; i < 100000; i++) {
        if (!SSL_key_update(p->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) || SSL_do_handshake(p->ssl) != 1)
            return;
    }
}

static void
test_key_update_flood(void **state)
{
    struct peer p = {.then = flood};
    struct end e;
    char byte;

    (void)state;
    raw_peer(&p, raw_ctx(certs_make("ca", "n1", 10), false), &e);
    assert_int_equal(e.rc, 0);
    assert_int_equal(conn_recv(e.c, &byte, 1, PATIENT_US, &e.err), -EPROTO);
    assert_non_null(strstr(e.err.msg, "changes its keys without end"));
    raw_done(&p, &e);
}

/* The connection ends without TLS having said so: somebody cut it. */
static void
cut(struct peer *p)
{
    SSL_write(p->ssl, "ab", 2);
    shutdown(p->fd, SHUT_WR);
}

static void
say_bye(struct peer *p)
{
    SSL_write(p->ssl, "ab", 2);
    SSL_shutdown(p->ssl);
}

static void
test_truncation(void **state)
{
    struct peer p = {.then = cut};
    struct end e;
    char buf[3];

    (void)state;
    raw_peer(&p, raw_ctx(certs_make("ca", "n1", 10), false), &e);
    assert_int_equal(conn_recv(e.c, buf, 2, PATIENT_US, &e.err), 0);
    assert_int_equal(conn_recv(e.c, buf, 1, PATIENT_US, &e.err), -ECONNRESET);
    assert_non_null(strstr(e.err.msg, "cut short"));
    raw_done(&p, &e);
    p = (struct peer){.then = say_bye};
    raw_peer(&p, raw_ctx(certs_make("ca", "n1", 10), false), &e);
    assert_int_equal(conn_recv(e.c, buf, 3, PATIENT_US, &e.err), -EPIPE);
    raw_done(&p, &e);
}

/* --- streams --- */

struct stream {
    struct conn *c;
    uint32_t seed;
    size_t len;
    int rc;
    struct err err;
};

static void
fill(uint8_t *p, size_t len, uint32_t x)
{
    for (size_t i = 0; i < len; i++) {
        x = x * 1664525 + 1013904223;
        p[i] = (uint8_t)(x >> 24);
    }
}

/* Heads, odd pieces and long runs, as batches have them. */
static void *
send_stream(void *arg)
{
    static const size_t sizes[] = {40, 4096, 1, 65536, 16384, 100000, 7};
    struct stream *s = arg;
    AUTO_FREE uint8_t *p = xmalloc(s->len);

    fill(p, s->len, s->seed);
    for (size_t at = 0; at < s->len && s->rc == 0;) {
        struct iovec iov[ARRAY_LEN(sizes)];
        int n = 0;

        for (; n < (int)ARRAY_LEN(sizes) && at < s->len; n++) {
            size_t len = sizes[n] < s->len - at ? sizes[n] : s->len - at;

            iov[n] = (struct iovec){p + at, len};
            at += len;
        }
        s->rc = conn_send(s->c, iov, n, &s->err);
    }
    return NULL;
}

static void *
receive_stream(void *arg)
{
    struct stream *s = arg;
    AUTO_FREE uint8_t *want = xmalloc(s->len);
    AUTO_FREE uint8_t *got = xmalloc(s->len);

    fill(want, s->len, s->seed);
    for (size_t at = 0, n = 1; at < s->len && s->rc == 0; at += n, n = n * 3 % 200003) {
        n = n < s->len - at ? n : s->len - at;
        s->rc = conn_recv(s->c, got + at, n, 0, &s->err);
    }
    if (s->rc == 0 && memcmp(want, got, s->len) != 0)
        s->rc = err_set(&s->err, -EBADMSG, "other bytes");
    return NULL;
}

/* Both ways at once over one connection: two threads at each end use one SSL. */
static void
both_ways(struct tls_ctx *a, struct tls_ctx *b, size_t len)
{
    struct stream s[4];
    struct end e[2];
    pthread_t t[4];

    connect_ends(e, a, "n2", b, "n1");
    assert_int_equal(e[0].rc, 1);
    assert_int_equal(e[1].rc, 1);
    for (int i = 0; i < 4; i++) {
        s[i] = (struct stream){.c = e[i % 2].c, .seed = i == 0 || i == 3 ? 1 : 2, .len = len};
        assert_int_equal(pthread_create(&t[i], NULL, i < 2 ? send_stream : receive_stream, &s[i]),
                         0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < 4; i++) {
        if (s[i].rc)
            fail_msg("%d: %s", i, err_msg(&s[i].err));
    }
    free_ends(e);
}

static void
test_both_ways(void **state)
{
    (void)state;
    both_ways(certs_node("n1"), certs_node("n2"), 8 * MIB);
}

/* Keys change before they have encrypted too much, and the other end follows. */
static void
test_new_keys(void **state)
{
    struct tls_ctx *a = certs_load(certs_make("ca", "n1", 10));
    struct tls_ctx *b = certs_load(certs_make("ca", "n2", 10));

    (void)state;
    tls_ctx_set_rekey(a, MIB);
    tls_ctx_set_rekey(b, MIB);
    both_ways(a, b, 8 * MIB);
    tls_ctx_unref(a);
    tls_ctx_unref(b);
}

/* The path for kernels that encrypt; where this one does not, OpenSSL does it on the same path. */
static void
test_asking_the_kernel(void **state)
{
    struct tls_ctx *a = certs_load(certs_make("ca", "n1", 10));
    struct tls_ctx *b = certs_load(certs_make("ca", "n2", 10));

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    tls_ctx_set_kernel(a, true);
    tls_ctx_set_kernel(b, true);
    both_ways(a, b, 4 * MIB);
    both_ways(a, certs_node("n2"), 4 * MIB);
    tls_ctx_unref(a);
    tls_ctx_unref(b);
}

/* --- migrations --- */

static const struct fake_config small = {{16 * MIB}, .seed = 40, .fill_pages = 4000};

struct refusal {
    struct fake_guest *a, *b;
    struct pair p;
    pthread_mutex_t mu;
    pthread_cond_t cv;
    char refused[256]; /* guarded by mu */
};

static void
on_refused(void *ctx, const char *why)
{
    struct pair *p = ctx;
    struct refusal *t = p->user;

    pthread_mutex_lock(&t->mu);
    snprintf(t->refused, sizeof t->refused, "%s", why);
    pthread_cond_signal(&t->cv);
    pthread_mutex_unlock(&t->mu);
}

static void
begin(struct refusal *t)
{
    memset(t, 0, sizeof *t);
    pthread_mutex_init(&t->mu, NULL);
    pthread_cond_init(&t->cv, NULL);
    t->a = fake_guest_new(&small, false);
    t->b = fake_guest_new(&small, true);
    pair_over_tls = true;
    pair_init(&t->p, t->a, t->b);
    pair_over_tls = false;
    t->p.user = t;
    t->p.dst.refused = on_refused;
}

static void
end(struct refusal *t)
{
    pair_done(&t->p);
    fake_guest_free(t->a);
    fake_guest_free(t->b);
}

static void
check_not_moved(struct refusal *t, const char *why)
{
    assert_int_equal(t->p.src_outcome, MIG_FAILED);
    if (!strstr(t->p.src_err.msg, why))
        fail_msg("'%s': want '%s'", t->p.src_err.msg, why);
    assert_true(fake_guest_running(t->a));
    assert_int_equal(fake_guest_wrong_pages(t->a), 0);
    assert_false(fake_guest_running(t->b));
}

/* The first source is turned away, and then the right one gets in all the same. */
static void
refused_then_moved(struct refusal *t, const char *source_says, const char *target_says)
{
    struct mig_source_config right = t->p.src;

    pair_over_tls = t->p.dst.tls != NULL;
    pair_listen(&t->p);
    pair_dial(&t->p, NULL);
    pair_wait_source(&t->p);
    check_not_moved(t, source_says);
    pthread_mutex_lock(&t->mu);
    while (!t->refused[0]) /* it may be a little later than the source's end */
        pthread_cond_wait(&t->cv, &t->mu);
    pthread_mutex_unlock(&t->mu);
    if (!strstr(t->refused, target_says))
        fail_msg("'%s': want '%s'", t->refused, target_says);
    mig_source_free(t->p.source);
    right.tls = t->p.dst.tls ? certs_node("n1") : NULL;
    snprintf(right.tls_peer, sizeof right.tls_peer, "n2");
    t->p.src = right;
    pair_dial(&t->p, NULL);
    pair_wait_source(&t->p);
    pair_wait_target(&t->p);
    pair_over_tls = false;
    if (t->p.src_outcome != MIG_MOVED)
        fail_msg("%s", err_msg(&t->p.src_err));
    assert_int_equal(t->p.src_stats.encrypted, t->p.dst.tls != NULL);
    assert_int_equal(fake_guest_wrong_pages(t->b), 0);
    end(t);
}

static void
test_plaintext_source(void **state)
{
    struct refusal t;

    (void)state;
    begin(&t);
    t.p.src.tls = NULL;
    refused_then_moved(&t, "the source sends in the clear, and this target wants TLS 1.3",
                       "does not speak TLS");
}

static void
test_plaintext_target(void **state)
{
    struct refusal t;

    (void)state;
    begin(&t);
    t.p.dst.tls = NULL;
    refused_then_moved(&t, "the peer does not speak TLS",
                       "the source encrypts, and this target was told not to");
}

static void
test_wrong_source(void **state)
{
    struct refusal t;

    (void)state;
    begin(&t);
    t.p.src.tls = certs_node("n3");
    refused_then_moved(&t, "node 'n2' does not accept our certificate",
                       "the certificate of node 'n1' is not accepted: it is another node's");
}

static void
test_wrong_target(void **state)
{
    struct refusal t;

    (void)state;
    begin(&t);
    snprintf(t.p.src.tls_peer, sizeof t.p.src.tls_peer, "n7");
    refused_then_moved(&t, "the certificate of node 'n7' is not accepted: it is another node's",
                       "node 'n1' does not accept our certificate");
}

/* Who says nothing, or nonsense, or gets half through a handshake, holds up nobody. */
static void
test_strangers(void **state)
{
    static const uint8_t half_hello[] = {22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3};
    uint64_t began;
    int fds[40];
    struct refusal t;

    (void)state;
    begin(&t);
    pair_listen(&t.p);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = wire_connect(mig_target_address(t.p.target));
        assert_true(fds[i] >= 0);
        if (i % 4 == 1)
            wire_send(fds[i], "GET / HTTP/1.1\r\n\r\n", 18);
        else if (i % 4 == 2)
            wire_send(fds[i], half_hello, sizeof half_hello);
        else if (i % 4 == 3)
            wire_send(fds[i], "\x16\x03\x01\x40\x00garbage", 12);
    }
    began = clock_mono_us();
    pair_dial(&t.p, NULL);
    pair_wait_source(&t.p);
    pair_wait_target(&t.p);
    assert_int_equal(t.p.src_outcome, MIG_MOVED);
    assert_true(clock_mono_us() - began < 5000000);
    assert_int_equal(fake_guest_wrong_pages(t.b), 0);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    end(&t);
}

/* Somebody on the way changes or cuts what passes: never a wrong page, never two guests. */
static void
test_on_the_way(void **state)
{
    static const struct {
        enum relay_trick trick;
        int connection;
        bool to_source;
        uint64_t at;
    } rows[] = {
        {RELAY_FLIP, 0, false, 100},    {RELAY_FLIP, 0, true, 700},   {RELAY_FLIP, 1, false, 3000},
        {RELAY_FLIP, 1, false, 200000}, {RELAY_CUT, 0, false, 300},   {RELAY_CUT, 0, true, 1},
        {RELAY_CUT, 1, false, 16400},   {RELAY_CUT, 1, false, 99999}, {RELAY_CUT, 2, true, 10},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct relay r = {.trick = rows[i].trick,
                          .connection = rows[i].connection,
                          .to_source = rows[i].to_source,
                          .at = rows[i].at};
        struct refusal t;

        begin(&t);
        t.p.src.reconnect_us = 1;
        pair_listen(&t.p);
        relay_start(&r, mig_target_address(t.p.target));
        pair_dial(&t.p, r.addr);
        pair_wait_source(&t.p);
        if (t.p.src_outcome == MIG_FAILED) {
            assert_true(fake_guest_running(t.a));
            assert_int_equal(fake_guest_wrong_pages(t.a), 0);
            assert_false(fake_guest_running(t.b));
            mig_target_stop(t.p.target);
        } else {
            assert_int_equal(t.p.src_outcome, MIG_MOVED);
        }
        pair_wait_target(&t.p);
        if (t.p.src_outcome == MIG_MOVED)
            assert_int_equal(fake_guest_wrong_pages(t.b), 0);
        assert_true(r.done);
        relay_stop(&r);
        end(&t);
    }
}

int
main(void)
{
    static const struct CMUnitTest alone[] = {
        cmocka_unit_test(test_who_is_who),   cmocka_unit_test(test_files),
        cmocka_unit_test(test_own_name),     cmocka_unit_test(test_pki_refuses),
        cmocka_unit_test(test_expired_peer), cmocka_unit_test(test_no_certificate),
        cmocka_unit_test(test_old_version),  cmocka_unit_test(test_key_update_flood),
        cmocka_unit_test(test_truncation),   cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_new_keys),     cmocka_unit_test(test_asking_the_kernel),
    };
    struct CMUnitTest moves[] = {
        cmocka_unit_test(test_plaintext_source), cmocka_unit_test(test_plaintext_target),
        cmocka_unit_test(test_wrong_source),     cmocka_unit_test(test_wrong_target),
        cmocka_unit_test(test_strangers),        cmocka_unit_test(test_on_the_way),
    };
    int failed;

    signal(SIGPIPE, SIG_IGN); /* OpenSSL by hand writes without MSG_NOSIGNAL */
    failed = cmocka_run_group_tests_name("tls", alone, NULL, NULL);
    pair_skip_unless_supported(moves, ARRAY_LEN(moves));
    return failed + cmocka_run_group_tests_name("tls migrations", moves, NULL, NULL);
}
