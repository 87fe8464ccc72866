/* See pair.h. */
#include "tests/migrate/pair.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tests/migrate/certs.h"
#include "tests/migrate/verbs_double.h"

static int
word(_Atomic bool *durable, int *left, const char *what, struct err *err)
{
    if (*left > 0) {
        (*left)--;
        return err_set(err, -EIO, "%s: told to fail", what);
    }
    *durable = true;
    return 0;
}

static int
on_commit(void *ctx, struct err *err)
{
    struct pair *p = ctx;

    if (p->on_commit)
        p->on_commit(p);
    return word(&p->src_committed, &p->fail_commit, "commit", err);
}

static int
on_prepared(void *ctx, struct err *err)
{
    struct pair *p = ctx;

    return word(&p->dst_prepared, &p->fail_prepared, "prepared", err);
}

static int
on_committed(void *ctx, struct err *err)
{
    struct pair *p = ctx;

    if (p->on_committed)
        p->on_committed(p);
    return word(&p->dst_committed, &p->fail_committed, "committed", err);
}

static int
on_never(void *ctx, struct err *err)
{
    struct pair *p = ctx;

    return word(&p->dst_never, &p->fail_never, "never", err);
}

static void
on_progress(void *ctx, const struct mig_stats *st)
{
    struct pair *p = ctx;

    if (p->on_progress)
        p->on_progress(p, st);
}

static void
on_decided(void *ctx, const struct mig_decision *d)
{
    struct pair *p = ctx;

    if (p->on_decided)
        p->on_decided(p, d);
}

bool pair_over_tls, pair_over_rdma;

void
pair_init(struct pair *p, struct fake_guest *src, struct fake_guest *dst)
{
    struct mig_ident id = {.vmi_uid = "vmi-1", .migration_uid = "migration-1", .generation = 7};

    pair_let_crash();
    memset(p, 0, sizeof *p);
    p->src.ident = p->dst.ident = id;
    if (src)
        p->src.guest = fake_guest_port(src);
    if (dst)
        p->dst.guest = fake_guest_port(dst);
    snprintf(p->src.local_ip, sizeof p->src.local_ip, "127.0.0.1");
    snprintf(p->dst.listen_ip, sizeof p->dst.listen_ip, "127.0.0.1");
    if (pair_over_tls) {
        p->src.tls = certs_node("n1");
        p->dst.tls = certs_node("n2");
        snprintf(p->src.tls_peer, sizeof p->src.tls_peer, "n2");
        snprintf(p->dst.tls_peer, sizeof p->dst.tls_peer, "n1");
    }
    if (pair_over_rdma) {
        snprintf(p->src.local_ip, sizeof p->src.local_ip, "%s", rdma_test_ip());
        snprintf(p->dst.listen_ip, sizeof p->dst.listen_ip, "%s", rdma_test_ip());
        p->src.network_trusted = p->dst.network_trusted = true;
        p->src.policy.transport = MIG_TRANSPORT_RDMA;
    }
    p->src.channels = 2;
    p->src.dead_peer_us = p->dst.dead_peer_us = PAIR_PATIENT_US;
    p->src.reconnect_us = p->dst.reconnect_us = 1; /* a cut ends it, unless a test says otherwise */
    p->src.commit = on_commit;
    p->src.progress = on_progress;
    p->src.decided = on_decided;
    p->dst.prepared = on_prepared;
    p->dst.committed = on_committed;
    p->dst.never = on_never;
    p->src.ctx = p->dst.ctx = p;
}

static void *
run_target(void *arg)
{
    struct pair *p = arg;

    p->dst_outcome = mig_target_run(p->target, &p->dst_err);
    mig_target_stats(p->target, &p->dst_stats);
    return NULL;
}

static void *
run_source(void *arg)
{
    struct pair *p = arg;

    p->src_outcome = mig_source_run(p->source, &p->cause, &p->src_err);
    mig_source_stats(p->source, &p->src_stats);
    p->src_ended = true;
    return NULL;
}

void
pair_listen(struct pair *p)
{
    struct err err = {0};

    if (mig_target_new(&p->dst, &p->target, &err) != 0) {
        fprintf(stderr, "# listen: %s\n", err_msg(&err));
        abort();
    }
    assert(pthread_create(&p->dst_thread, NULL, run_target, p) == 0);
    p->dst_started = true;
}

void
pair_dial(struct pair *p, const char *addr)
{
    snprintf(p->src.target_addr, sizeof p->src.target_addr, "%s",
             addr ? addr : mig_target_address(p->target));
    p->source = mig_source_new(&p->src);
    p->src_ended = false;
    assert(pthread_create(&p->src_thread, NULL, run_source, p) == 0);
    p->src_started = true;
}

void
pair_wait_source(struct pair *p)
{
    if (p->src_started)
        pthread_join(p->src_thread, NULL);
    p->src_started = false;
}

void
pair_wait_target(struct pair *p)
{
    if (p->dst_started)
        pthread_join(p->dst_thread, NULL);
    p->dst_started = false;
}

void
pair_run(struct pair *p)
{
    pair_listen(p);
    pair_dial(p, NULL);
    pair_wait_source(p);
    pair_wait_target(p);
}

void
pair_done(struct pair *p)
{
    pair_wait_source(p);
    if (p->dst_started)
        mig_target_stop(p->target);
    pair_wait_target(p);
    mig_source_free(p->source);
    mig_target_free(p->target);
    p->source = NULL;
    p->target = NULL;
}

static struct err unsupported;

static void
skip_test(void **state)
{
    (void)state;
    print_message("# SKIP %s\n", err_msg(&unsupported));
    skip();
}

static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
static struct sigaction
    at_start[ARRAY_LEN(crashes)]; /* a sanitizer's, which prints a stack, or the default */

__attribute__((constructor)) static void
note_handlers(void)
{
    for (size_t i = 0; i < ARRAY_LEN(crashes); i++)
        sigaction(crashes[i], NULL, &at_start[i]);
}

void
pair_let_crash(void)
{
    for (size_t i = 0; i < ARRAY_LEN(crashes); i++)
        sigaction(crashes[i], &at_start[i], NULL);
}

void
both_begin(struct both *t, const struct fake_config *c)
{
    *t = (struct both){.a = fake_guest_new(c, false), .b = fake_guest_new(c, true)};
    pair_init(&t->p, t->a, t->b);
}

uint64_t
both_sent(struct both *t)
{
    struct mig_stats st;

    mig_source_stats(t->p.source, &st);
    return st.sent_bytes;
}

uint64_t
both_received(struct both *t)
{
    struct mig_stats st;

    mig_target_stats(t->p.target, &st);
    return st.sent_bytes;
}

void
both_end(struct both *t)
{
    pair_done(&t->p);
    fake_guest_free(t->a);
    fake_guest_free(t->b);
}

void
pair_skip_unless_supported(struct CMUnitTest *tests, size_t n)
{
    if (mig_probe(&unsupported) == 0)
        return;
    for (size_t i = 0; i < n; i++)
        tests[i].test_func = skip_test;
}

int
pair_run_both(const char *name, const struct CMUnitTest *tests, size_t n)
{
    char over_tls[64];
    int failed = _cmocka_run_group_tests(name, tests, n, NULL, NULL);

    snprintf(over_tls, sizeof over_tls, "%s over TLS", name);
    pair_over_tls = true;
    failed += _cmocka_run_group_tests(over_tls, tests, n, NULL, NULL);
    pair_over_tls = false;
    return failed;
}

int
pair_run_rdma(const char *name, const struct CMUnitTest *tests, size_t n)
{
    char over_rdma[64];
    int failed;

    if (!rdma_test_ip()) {
        print_message("# SKIP %s over RDMA: no device (RDMA_TEST_IP)\n", name);
        return 0;
    }
    snprintf(over_rdma, sizeof over_rdma, "%s over RDMA", name);
    pair_over_rdma = true;
    failed = _cmocka_run_group_tests(over_rdma, tests, n, NULL, NULL);
    pair_over_rdma = false;
    return failed;
}
