/* Migrations that fail, are cancelled, are slow, or end in doubt: the guest runs on exactly one
 * side afterwards, with every byte right, and nothing of the engine stays in its process. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "tests/migrate/pair.h"

#define MIB (1u << 20)

static const struct fake_config small = {
    {16 * MIB}, .seed = 31, .fill_pages = 4096, .set_pages = 1000, .pages_per_s = 3000};

/* It failed, for this reason, and the guest runs on at the source as if nothing had been. */
static void
check_failed(struct both *t, enum mig_cause cause, const char *text)
{
    if (t->p.src_outcome != MIG_FAILED || t->p.cause != cause ||
        !strstr(err_msg(&t->p.src_err), text))
        fail_msg("outcome %d, cause %d (%s): %s", t->p.src_outcome, t->p.cause,
                 mig_cause_text(t->p.cause), err_msg(&t->p.src_err));
    assert_true(fake_guest_running(t->a));
    assert_int_equal(fake_guest_uffds_open(t->a), 0);
    if (t->b->pid > 0)
        assert_false(fake_guest_running(t->b));
    assert_false(t->p.dst_committed);
    if (t->a->cfg.set_pages)
        fake_guest_wait_steps(t->a, fake_guest_steps(t->a) + 5);
    assert_int_equal(fake_guest_wrong_pages(t->a), 0);
}

/* The source asks again, as a restarted handler would, and the guest runs at the target. */
static void
resolve_to_target(struct both *t)
{
    struct pair q;
    struct err err = {0};

    pair_init(&q, t->a, t->b);
    q.dst.recovering = !t->p.dst_committed;
    q.dst.recovering_committed = t->p.dst_committed;
    pair_listen(&q);
    snprintf(q.src.target_addr, sizeof q.src.target_addr, "%s", mig_target_address(q.target));
    if (q.dst.recovering && mig_source_resolve(&q.src, &err) != MIG_MOVED)
        fail_msg("%s", err_msg(&err));
    pair_wait_target(&q);
    assert_int_equal(q.dst_outcome, MIG_TARGET_RUNNING);
    assert_true(q.dst_committed || t->p.dst_committed);
    assert_true(fake_guest_running(t->b));
    assert_false(fake_guest_running(t->a));
    assert_int_equal(fake_guest_wrong_pages(t->b), 0);
    pair_done(&q);
}

/* --- cancel --- */

static void
wait_for_bytes(struct both *t, uint64_t bytes)
{
    struct mig_stats st;

    do {
        poll(NULL, 0, 1);
        mig_source_stats(t->p.source, &st);
    } while (st.sent_bytes < bytes);
}

static void
test_cancel_before_it_starts(void **state)
{
    struct both t;

    (void)state;
    both_begin(&t, &small);
    pair_listen(&t.p);
    snprintf(t.p.src.target_addr, sizeof t.p.src.target_addr, "%s", mig_target_address(t.p.target));
    t.p.source = mig_source_new(&t.p.src);
    assert_true(mig_source_cancel(t.p.source));
    t.p.src_outcome = mig_source_run(t.p.source, &t.p.cause, &t.p.src_err);
    check_failed(&t, MIG_CAUSE_CANCELLED, "cancelled");
    assert_false(t.p.src_committed);
    both_end(&t);
}

/* A listening socket whose queue is full: connecting hangs. */
static void
test_cancel_while_connecting(void **state)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), full[4];
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    char addr[MIG_ADDR_SIZE];
    struct both t;

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    for (int i = 0; i < 4; i++) {
        full[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(full[i], (struct sockaddr *)&sa, sizeof sa);
    }
    snprintf(addr, sizeof addr, "127.0.0.1:%u", ntohs(sa.sin_port));
    both_begin(&t, &small);
    pair_dial(&t.p, addr);
    poll(NULL, 0, 50);
    assert_true(mig_source_cancel(t.p.source));
    pair_wait_source(&t.p);
    check_failed(&t, MIG_CAUSE_CANCELLED, "cancelled");
    both_end(&t);
    for (int i = 0; i < 4; i++)
        close(full[i]);
    close(fd);
}

static void
test_cancel_during_a_round(void **state)
{
    struct both t;

    (void)state;
    both_begin(&t, &small);
    t.p.src.limits.bandwidth_bytes_per_s = 4 * MIB;
    pair_listen(&t.p);
    pair_dial(&t.p, NULL);
    wait_for_bytes(&t, MIB);
    assert_true(mig_source_cancel(t.p.source));
    pair_wait_source(&t.p);
    pair_wait_target(&t.p);
    check_failed(&t, MIG_CAUSE_CANCELLED, "cancelled");
    assert_int_equal(t.p.dst_outcome, MIG_TARGET_FAILED);
    assert_non_null(strstr(err_msg(&t.p.dst_err), "cancelled"));
    both_end(&t);
}

/* The guest is paused already, and the target loads its state. */
static void
test_cancel_while_paused(void **state)
{
    struct mig_stats st;
    struct both t;

    (void)state;
    both_begin(&t, &small);
    t.b->load_delay_ms = 300;
    pair_listen(&t.p);
    pair_dial(&t.p, NULL);
    do {
        poll(NULL, 0, 1);
        mig_source_stats(t.p.source, &st);
    } while (!st.paused_us);
    assert_true(mig_source_cancel(t.p.source));
    pair_wait_source(&t.p);
    pair_wait_target(&t.p);
    check_failed(&t, MIG_CAUSE_CANCELLED, "cancelled");
    assert_true(t.p.dst_outcome == MIG_TARGET_ABORTED || t.p.dst_outcome == MIG_TARGET_FAILED);
    assert_int_equal(t.a->resumes, 1);
    both_end(&t);
}

static void
cancel_now(struct pair *p)
{
    *(int *)p->user = mig_source_cancel(p->source);
}

static void
test_cancel_at_commit_is_too_late(void **state)
{
    int in_time = -1;
    struct both t;

    (void)state;
    both_begin(&t, &small);
    t.p.on_commit = cancel_now;
    t.p.user = &in_time;
    pair_run(&t.p);
    assert_int_equal(in_time, 0);
    assert_int_equal(t.p.src_outcome, MIG_MOVED);
    assert_true(fake_guest_running(t.b));
    assert_int_equal(fake_guest_wrong_pages(t.b), 0);
    assert_false(mig_source_cancel(t.p.source));
    both_end(&t);
}

/* --- limits --- */

static void
test_bandwidth(void **state)
{
    const struct fake_config c = {{16 * MIB}, .seed = 32, .fill_pages = 4096};
    struct both t;
    double seconds, rate;

    (void)state;
    both_begin(&t, &c);
    t.p.src.limits.bandwidth_bytes_per_s = 16 * MIB;
    pair_run(&t.p);
    assert_int_equal(t.p.src_outcome, MIG_MOVED);
    seconds = (double)(t.p.src_stats.paused_us - t.p.src_stats.started_us) / 1e6;
    rate = (double)t.p.src_stats.sent_bytes / seconds / MIB;
    print_message("# %.3f s, %.2f MiB/s of 16\n", seconds, rate);
    assert_true(rate <= 16 * 1.03);
    assert_true(rate >= 16 * 0.80); /* a busy machine may be late */
    assert_int_equal(fake_guest_wrong_pages(t.b), 0);
    both_end(&t);
}

/* Memory that is written while it waits for its turn is not sent for nothing. */
static void
test_bandwidth_with_a_writer(void **state)
{
    const struct fake_config c = {
        {8 * MIB}, .seed = 34, .fill_pages = 2048, .set_pages = 2048, .pages_per_s = 1500};
    struct both t;

    (void)state;
    both_begin(&t, &c);
    t.p.src.limits.bandwidth_bytes_per_s = 16 * MIB;
    pair_run(&t.p);
    assert_int_equal(t.p.src_outcome, MIG_MOVED);
    print_message("# %llu of %llu pages were asked for again\n",
                  (unsigned long long)t.p.src_stats.again_pages,
                  (unsigned long long)t.p.src_stats.raw_pages);
    assert_true(t.p.src_stats.again_pages * 20 <= t.p.src_stats.raw_pages);
    assert_int_equal(fake_guest_wrong_pages(t.b), 0);
    both_end(&t);
}

static void
test_completion_timeout(void **state)
{
    struct both t;

    (void)state;
    both_begin(&t, &small);
    t.p.src.limits.bandwidth_bytes_per_s = MIB;
    t.p.src.limits.completion_timeout_us = 300000;
    pair_run(&t.p);
    check_failed(&t, MIG_CAUSE_COMPLETION_TIMEOUT, "not complete after 0.3 s");
    assert_int_equal(t.p.dst_outcome, MIG_TARGET_FAILED);
    both_end(&t);
}

static void
test_progress_timeout(void **state)
{
    const struct fake_config c = {
        {4 * MIB}, .seed = 33, .fill_pages = 1024, .set_pages = 1024, .pages_per_s = 40000};
    struct both t;

    (void)state;
    both_begin(&t, &c);
    t.p.src.limits.bandwidth_bytes_per_s = 16 * MIB; /* dirtied ten times as fast */
    t.p.src.limits.max_downtime_us = 10000;
    t.p.src.limits.progress_timeout_us = 600000;
    pair_run(&t.p);
    check_failed(&t, MIG_CAUSE_PROGRESS_TIMEOUT, "no fewer for 0.6 s");
    assert_true(t.p.src_stats.round > 2);
    both_end(&t);
}

/* --- guests and hooks that fail --- */

static void
fail_pause(struct both *t)
{
    t->a->fail_pause = 1;
}
static void
fail_save(struct both *t)
{
    t->a->fail_save = 1;
}
static void
fail_load(struct both *t)
{
    t->b->fail_load = 1;
}
static void
fail_uffd(struct both *t)
{
    t->a->fail_uffd = 1;
}
static void
fail_prepared(struct both *t)
{
    t->p.fail_prepared = 1;
}
static void
fail_commit(struct both *t)
{
    t->p.fail_commit = 1;
}
static void
fail_commit_and_two_resumes(struct both *t)
{
    t->p.fail_commit = 1;
    t->a->fail_resume = 2;
}
static void
big_state(struct both *t)
{
    t->a->cfg.state_bytes = 65u * MIB;
}
static void
kill_target(struct pair *p)
{
    fake_guest_kill(p->user);
}
static void
target_guest_dies(struct both *t)
{
    t->p.on_commit = kill_target;
    t->p.user = t->b;
}
static void
other_size(struct both *t)
{
    t->b->regions[0].size -= 4096;
    t->p.dst.idle_timeout_us = 500000;
}
static void
other_vm(struct both *t)
{
    snprintf(t->p.dst.ident.vmi_uid, sizeof t->p.dst.ident.vmi_uid, "vmi-2");
    t->p.dst.idle_timeout_us = 500000;
}
static void
other_migration(struct both *t)
{
    snprintf(t->p.dst.ident.migration_uid, sizeof t->p.dst.ident.migration_uid, "migration-2");
    t->p.dst.idle_timeout_us = 500000;
}
static void
other_generation(struct both *t)
{
    t->p.dst.ident.generation++;
    t->p.dst.idle_timeout_us = 500000;
}
static void
nobody_there(struct both *t)
{
    t->p.src.dead_peer_us = 200000;
}

static const struct failing {
    const char *name;
    void (*how)(struct both *t);
    enum mig_cause cause;
    const char *text;
    enum mig_target_outcome target;
    bool never;
} failing[] = {
    {"guest gives no userfaultfd", fail_uffd, MIG_CAUSE_GUEST, "told to fail", MIG_TARGET_FAILED,
     false},
    {"guest cannot be paused", fail_pause, MIG_CAUSE_GUEST, "pause: told to fail",
     MIG_TARGET_FAILED, false},
    {"state cannot be saved", fail_save, MIG_CAUSE_GUEST, "save: told to fail", MIG_TARGET_FAILED,
     false},
    {"state is too large", big_state, MIG_CAUSE_GUEST, "at most 67108864", MIG_TARGET_FAILED,
     false},
    {"state cannot be loaded", fail_load, MIG_CAUSE_PEER, "load: told to fail", MIG_TARGET_FAILED,
     false},
    {"prepared is not durable", fail_prepared, MIG_CAUSE_PEER, "prepared: told to fail",
     MIG_TARGET_FAILED, false},
    {"commit is not durable", fail_commit, MIG_CAUSE_LOCAL, "commit: told to fail",
     MIG_TARGET_ABORTED, false},
    {"resuming works at the third try", fail_commit_and_two_resumes, MIG_CAUSE_LOCAL,
     "commit: told to fail", MIG_TARGET_ABORTED, false},
    {"incoming guest dies before COMMIT: NEVER", target_guest_dies, MIG_CAUSE_PEER,
     "lost the guest before it ran", MIG_TARGET_FAILED, true},
    {"memory of another size", other_size, MIG_CAUSE_PEER, "differs in size", MIG_TARGET_FAILED,
     false},
    {"another VM", other_vm, MIG_CAUSE_PEER, "another VM", MIG_TARGET_FAILED, false},
    {"another migration", other_migration, MIG_CAUSE_PEER, "another VM", MIG_TARGET_FAILED, false},
    {"another generation", other_generation, MIG_CAUSE_PEER, "generation", MIG_TARGET_FAILED,
     false},
};

static void
test_failing(void **state)
{
    const struct failing *f = *state;
    struct both t;

    both_begin(&t, &small);
    f->how(&t);
    pair_run(&t.p);
    check_failed(&t, f->cause, f->text);
    assert_int_equal(t.p.dst_outcome, f->target);
    assert_int_equal(t.p.dst_never, f->never);
    both_end(&t);
}

static void
test_nobody_listens(void **state)
{
    struct both t;

    (void)state;
    both_begin(&t, &small);
    nobody_there(&t);
    pair_dial(&t.p, "127.0.0.1:1");
    pair_wait_source(&t.p);
    check_failed(&t, MIG_CAUSE_CONNECT, "connect to 127.0.0.1:1: Connection refused");
    both_end(&t);
}

static void
test_bad_addresses(void **state)
{
    static const char *const bad[] = {"",           "127.0.0.1",      ":80",     "host.example:80",
                                      "127.0.0.1:", "127.0.0.1:http", "[::1:80", "1.2.3.4.5:80"};
    struct both t;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        both_begin(&t, &small);
        pair_dial(&t.p, bad[i]);
        pair_wait_source(&t.p);
        check_failed(&t, MIG_CAUSE_CONNECT, "address '");
        both_end(&t);
    }
}

static void
test_source_of_one_address_only(void **state)
{
    struct both t;

    (void)state;
    both_begin(&t, &small);
    pair_listen(&t.p);
    snprintf(t.p.src.local_ip, sizeof t.p.src.local_ip, "198.18.77.77"); /* not ours */
    pair_dial(&t.p, NULL);
    pair_wait_source(&t.p);
    check_failed(&t, MIG_CAUSE_CONNECT, "migration address 198.18.77.77");
    both_end(&t);
}

static void
test_target_of_one_address_only(void **state)
{
    struct mig_target_config c = {0};
    struct fake_guest *g = fake_guest_new(&small, true);
    struct mig_target *m;
    struct err err = {0};

    (void)state;
    c.guest = fake_guest_port(g);
    assert_true(mig_target_new(&c, &m, &err) < 0); /* no address at all */
    snprintf(c.listen_ip, sizeof c.listen_ip, "198.18.77.77");
    assert_int_equal(mig_target_new(&c, &m, &err), -EADDRNOTAVAIL);
    snprintf(c.listen_ip, sizeof c.listen_ip, "127.0.0.1");
    snprintf(c.bind_device, sizeof c.bind_device, "drvnodevice0");
    assert_int_equal(mig_target_new(&c, &m, &err), -ENODEV);
    assert_non_null(strstr(err_msg(&err), "drvnodevice0"));
    fake_guest_free(g);
}

static void
test_ipv6(void **state)
{
    const struct fake_config c = {{4 * MIB}, .seed = 3, .fill_pages = 100};
    struct mig_target *probe;
    struct both t;

    (void)state;
    both_begin(&t, &c);
    snprintf(t.p.dst.listen_ip, sizeof t.p.dst.listen_ip, "::1");
    snprintf(t.p.src.local_ip, sizeof t.p.src.local_ip, "::1");
    if (mig_target_new(&t.p.dst, &probe, NULL) != 0) {
        both_end(&t);
        print_message("# SKIP no IPv6 on loopback\n");
        skip();
    }
    mig_target_free(probe);
    pair_run(&t.p);
    assert_int_equal(t.p.src_outcome, MIG_MOVED);
    assert_int_equal(strncmp(mig_target_address(t.p.target), "[::1]:", 6), 0);
    assert_int_equal(fake_guest_wrong_pages(t.b), 0);
    both_end(&t);
}

/* --- doubt --- */

static void
test_target_cannot_record_commit(void **state)
{
    struct both t;

    (void)state;
    both_begin(&t, &small);
    t.p.fail_committed = 1;
    pair_run(&t.p);
    assert_int_equal(t.p.src_outcome, MIG_UNKNOWN);
    assert_int_equal(t.p.dst_outcome, MIG_TARGET_IN_DOUBT);
    assert_false(fake_guest_running(t.a) || fake_guest_running(t.b));
    resolve_to_target(&t);
    both_end(&t);
}

static void
test_target_cannot_resume(void **state)
{
    struct both t;

    (void)state;
    both_begin(&t, &small);
    t.b->fail_resume = 1;
    pair_run(&t.p);
    assert_int_equal(t.p.src_outcome, MIG_UNKNOWN);
    assert_int_equal(t.p.dst_outcome, MIG_TARGET_IN_DOUBT);
    assert_true(t.p.dst_committed);
    assert_false(t.p.dst_never);
    resolve_to_target(&t);
    both_end(&t);
}

/* The answer that brings the guest back to the source is given only when it is durable. */
static void
test_never(void **state)
{
    struct mig_source_config c;
    struct pair q;
    struct err err = {0};
    struct both t;

    (void)state;
    both_begin(&t, &small);
    t.p.fail_committed = 1;
    pair_run(&t.p);
    assert_int_equal(t.p.src_outcome, MIG_UNKNOWN);
    fake_guest_kill(t.b);

    for (int durable = 0; durable < 2; durable++) {
        pair_init(&q, t.a, NULL); /* no guest: guest.ops is NULL */
        q.dst.recovering = true;
        q.fail_never = !durable;
        pair_listen(&q);
        c = q.src;
        snprintf(c.target_addr, sizeof c.target_addr, "%s", mig_target_address(q.target));
        assert_int_equal(mig_source_resolve(&c, &err), durable ? MIG_FAILED : MIG_UNKNOWN);
        pair_wait_target(&q);
        assert_int_equal(q.dst_outcome, durable ? MIG_TARGET_FAILED : MIG_TARGET_IN_DOUBT);
        assert_int_equal(q.dst_never, durable);
        pair_done(&q);
    }
    assert_false(fake_guest_running(t.a)); /* the handler resumes it, not resolve */
    both_end(&t);
}

static void
slow_record(struct pair *p)
{
    (void)p;
    poll(NULL, 0, 700);
}

static void
look_away(struct pair *p, const struct mig_stats *st)
{
    (void)st;
    if (p->src_committed)
        poll(NULL, 0, 900);
}

/* The target says RUNNING and closes, with heartbeats of the source that it has not read, before
 * the source looks: its last word must not be lost with them. */
static void
test_last_word_is_heard(void **state)
{
    struct both t;

    (void)state;
    both_begin(&t, &small);
    t.p.on_committed = slow_record;
    t.p.on_progress = look_away;
    pair_run(&t.p);
    if (t.p.src_outcome != MIG_MOVED)
        fail_msg("outcome %d: %s", t.p.src_outcome, err_msg(&t.p.src_err));
    assert_int_equal(t.p.cause, MIG_CAUSE_NONE);
    assert_true(t.p.src_stats.downtime_us > 700000);
    both_end(&t);
}

static void
test_resolve_without_answer(void **state)
{
    struct mig_source_config c;
    struct err err = {0};
    struct both t;

    (void)state;
    both_begin(&t, &small);
    c = t.p.src;
    snprintf(c.target_addr, sizeof c.target_addr, "127.0.0.1:1");
    assert_int_equal(mig_source_resolve(&c, &err), MIG_UNKNOWN);
    assert_non_null(strstr(err_msg(&err), "refused"));
    /* a target that has not received anything yet */
    t.p.dst.idle_timeout_us = 300000;
    pair_listen(&t.p);
    snprintf(c.target_addr, sizeof c.target_addr, "%s", mig_target_address(t.p.target));
    assert_int_equal(mig_source_resolve(&c, &err), MIG_UNKNOWN);
    assert_non_null(strstr(err_msg(&err), "has not received"));
    pair_wait_target(&t.p);
    assert_int_equal(t.p.dst_outcome, MIG_TARGET_FAILED);
    assert_false(t.p.dst_committed);
    both_end(&t);
}

/* A recovering target is asked by others first: nothing happens until the right one comes. */
static void
test_resolve_strangers(void **state)
{
    struct mig_source_config c;
    struct pair q;
    struct err err = {0};
    struct both t;

    (void)state;
    both_begin(&t, &small);
    t.p.fail_committed = 1;
    pair_run(&t.p);
    pair_init(&q, t.a, t.b);
    q.dst.recovering = true;
    pair_listen(&q);
    c = q.src;
    snprintf(c.target_addr, sizeof c.target_addr, "%s", mig_target_address(q.target));
    snprintf(c.ident.migration_uid, sizeof c.ident.migration_uid, "other");
    assert_int_equal(mig_source_resolve(&c, &err), MIG_UNKNOWN);
    c = q.src;
    snprintf(c.target_addr, sizeof c.target_addr, "%s", mig_target_address(q.target));
    c.ident.generation--;
    assert_int_equal(mig_source_resolve(&c, &err), MIG_UNKNOWN);
    assert_false(fake_guest_running(t.b));
    assert_false(q.dst_committed);
    c.ident.generation++;
    assert_int_equal(mig_source_resolve(&c, &err), MIG_MOVED);
    pair_wait_target(&q);
    assert_int_equal(q.dst_outcome, MIG_TARGET_RUNNING);
    pair_done(&q);
    assert_int_equal(fake_guest_wrong_pages(t.b), 0);
    both_end(&t);
}

static void
test_stop(void **state)
{
    struct both t;

    (void)state;
    both_begin(&t, &small);
    pair_listen(&t.p);
    mig_target_stop(t.p.target);
    pair_wait_target(&t.p);
    assert_int_equal(t.p.dst_outcome, MIG_TARGET_FAILED);
    both_end(&t);
    /* while pages arrive */
    both_begin(&t, &small);
    t.p.src.limits.bandwidth_bytes_per_s = 4 * MIB;
    pair_listen(&t.p);
    pair_dial(&t.p, NULL);
    wait_for_bytes(&t, MIB);
    mig_target_stop(t.p.target);
    pair_wait_source(&t.p);
    pair_wait_target(&t.p);
    assert_int_equal(t.p.dst_outcome, MIG_TARGET_FAILED);
    check_failed(&t, MIG_CAUSE_PEER, "stopped");
    both_end(&t);
    /* whole: in doubt, not thrown away */
    both_begin(&t, &small);
    t.p.dst.recovering = true;
    pair_listen(&t.p);
    mig_target_stop(t.p.target);
    pair_wait_target(&t.p);
    assert_int_equal(t.p.dst_outcome, MIG_TARGET_IN_DOUBT);
    both_end(&t);
}

/* --- fault points: each makes its step fail, cleanly --- */

struct fault_row {
    const char *spec;
    enum mig_outcome source;
    enum mig_target_outcome target;
};

static const struct fault_row faults[] = {
    {"src.connect:error", MIG_FAILED, MIG_TARGET_FAILED},
    {"src.round:error", MIG_FAILED, MIG_TARGET_FAILED},
    {"src.round@9:error", MIG_FAILED, MIG_TARGET_FAILED},
    {"src.paused:error", MIG_FAILED, MIG_TARGET_FAILED},
    {"src.state.sent:error", MIG_FAILED, MIG_TARGET_ABORTED},
    {"src.prepared:error", MIG_FAILED, MIG_TARGET_ABORTED},
    {"src.commit.recorded:error", MIG_UNKNOWN, MIG_TARGET_IN_DOUBT},
    {"src.commit.sent:error", MIG_UNKNOWN, MIG_TARGET_RUNNING},
    {"src.running.heard:error", MIG_UNKNOWN, MIG_TARGET_RUNNING},
    {"dst.stream:error", MIG_FAILED, MIG_TARGET_FAILED},
    {"dst.stream@6:error", MIG_FAILED, MIG_TARGET_FAILED},
    {"dst.state:error", MIG_FAILED, MIG_TARGET_FAILED},
    {"dst.prepared:error", MIG_FAILED, MIG_TARGET_IN_DOUBT},
    {"dst.commit.received:error", MIG_UNKNOWN, MIG_TARGET_IN_DOUBT},
    {"dst.commit.recorded:error", MIG_UNKNOWN, MIG_TARGET_IN_DOUBT},
    {"dst.running:error", MIG_UNKNOWN, MIG_TARGET_RUNNING},
    {"xport.send.short:error", MIG_FAILED, MIG_TARGET_FAILED},
    {"xport.send.short@12:error", MIG_FAILED, MIG_TARGET_FAILED},
    {"xport.recv.short:error", MIG_FAILED, MIG_TARGET_FAILED},
    {"xport.recv.short@30:error", MIG_FAILED, MIG_TARGET_FAILED},
};

/* Runs in a process of its own: fault points are armed for a process' life. 0 = good. */
static int
fault_child(const struct fault_row *r)
{
    struct both t;
    struct err err = {0};
    bool aborted_is_fine = r->target == MIG_TARGET_ABORTED || r->target == MIG_TARGET_FAILED;

    both_begin(&t, &small);
    t.p.dst.idle_timeout_us = 500000;
    setenv("DROVER_FAULT", r->spec, 1);
    if (fault_init(&err) != 0) {
        fprintf(stderr, "# %s\n", err_msg(&err));
        return 1;
    }
    pair_run(&t.p);
    fault_armed = false;
    /* when the ABORT comes while the target still receives or loads, it is FAILED there */
    if (t.p.src_outcome != r->source ||
        (t.p.dst_outcome != r->target &&
         !(aborted_is_fine &&
           (t.p.dst_outcome == MIG_TARGET_FAILED || t.p.dst_outcome == MIG_TARGET_ABORTED)))) {
        fprintf(stderr, "# source %d (%s), target %d (%s)\n", t.p.src_outcome,
                err_msg(&t.p.src_err), t.p.dst_outcome, err_msg(&t.p.dst_err));
        return 2;
    }
    if (t.p.src_outcome == MIG_FAILED) {
        if (!fake_guest_running(t.a) || fake_guest_running(t.b) || t.p.cause == MIG_CAUSE_NONE ||
            fake_guest_uffds_open(t.a) != 0 || fake_guest_wrong_pages(t.a) != 0)
            return 3;
        if (t.p.src_committed)
            return 4;
    } else {
        if (fake_guest_running(t.a) || !t.p.src_committed)
            return 5;
        if (t.p.dst_outcome == MIG_TARGET_IN_DOUBT)
            resolve_to_target(&t);
        else if (!fake_guest_running(t.b) || fake_guest_wrong_pages(t.b) != 0)
            return 6;
    }
    both_end(&t);
    return 0;
}

static void
test_fault(void **state)
{
    const struct fault_row *r = *state;
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(fault_child(r));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_cancel_before_it_starts),
        cmocka_unit_test(test_cancel_while_connecting),
        cmocka_unit_test(test_cancel_during_a_round),
        cmocka_unit_test(test_cancel_while_paused),
        cmocka_unit_test(test_cancel_at_commit_is_too_late),
        cmocka_unit_test(test_bandwidth),
        cmocka_unit_test(test_bandwidth_with_a_writer),
        cmocka_unit_test(test_completion_timeout),
        cmocka_unit_test(test_progress_timeout),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_bad_addresses),
        cmocka_unit_test(test_source_of_one_address_only),
        cmocka_unit_test(test_target_of_one_address_only),
        cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_target_cannot_record_commit),
        cmocka_unit_test(test_target_cannot_resume),
        cmocka_unit_test(test_never),
        cmocka_unit_test(test_last_word_is_heard),
        cmocka_unit_test(test_resolve_without_answer),
        cmocka_unit_test(test_resolve_strangers),
        cmocka_unit_test(test_stop),
    };
    struct CMUnitTest tests[ARRAY_LEN(faults) + ARRAY_LEN(failing) + ARRAY_LEN(others)] = {0};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(faults); i++)
        tests[n++] = (struct CMUnitTest){.name = faults[i].spec,
                                         .test_func = test_fault,
                                         .initial_state = (void *)(uintptr_t)&faults[i]};
    for (size_t i = 0; i < ARRAY_LEN(failing); i++)
        tests[n++] = (struct CMUnitTest){.name = failing[i].name,
                                         .test_func = test_failing,
                                         .initial_state = (void *)(uintptr_t)&failing[i]};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        tests[n++] = others[i];
    pair_skip_unless_supported(tests, n);
    /* not those that fork: the double's devices would not be in the child */
    return pair_run_both("trouble", tests, n) +
           pair_run_rdma("trouble", tests + ARRAY_LEN(faults), n - ARRAY_LEN(faults));
}
