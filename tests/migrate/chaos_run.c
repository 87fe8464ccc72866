/* One chaos run: the handlers' part on both sides, and the checks. See chaos.h. */
#include <assert.h>
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/migrate/chaos_int.h"
#include "tests/migrate/verbs_double.h"

#define MANY_PERIODS 10
#define POSTCOPY_US  2500000
#define HUNG_US      40000000

enum src_state { S_RUNS, S_ASKS, S_MOVED, S_FAILED };
enum dst_state { D_RUNS, D_PREPARED, D_COMMITTED, D_GONE, D_DEAD, D_RUNNING };

struct verdict {
    struct sb *why;
    bool bad;
};

static void PRINTF_LIKE(2, 3) blame(struct verdict *v, const char *fmt, ...)
{
    va_list ap;

    if (v->bad)
        sb_puts(v->why, "; ");
    v->bad = true;
    va_start(ap, fmt);
    sb_vprintf(v->why, fmt, ap);
    va_end(ap);
}

unsigned
chaos_point_sides(enum fault_point p)
{
    const char *name = fault_name(p);

    if (p == FAULT_DST_PREPARE || p == FAULT_DST_LISTENING || p == FAULT_SRC_GUEST_GONE)
        return 0; /* in handler/ */
    if (strstr(name, ".postcopy.") && mig_probe_post_copy(NULL) != 0)
        return 0;
    if (strncmp(name, "src.", 4) == 0)
        return 1;
    if (strncmp(name, "dst.", 4) == 0)
        return 2;
    return strncmp(name, "xport.", 6) == 0 ? 3 : 0;
}

/* --- what is left behind --- */

static int
count_entries(const char *dir)
{
    DIR *d = opendir(dir);
    int n = 0;

    assert(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static int
count_maps(void)
{
    FILE *f = fopen("/proc/self/maps", "re");
    char line[512];
    int n = 0;

    assert(f);
    while (fgets(line, sizeof line, f))
        n += strstr(line, "fake-guest") != NULL;
    fclose(f);
    return n;
}

static void
check_nothing_left(struct verdict *v, int fds, int threads)
{
    struct verbs_counts n;
    int now = 0;

    for (int i = 0; i < 200; i++) { /* a joined thread's entry may outlive it by a moment */
        now = count_entries("/proc/self/task");
        if (now <= threads)
            break;
        poll(NULL, 0, 1);
    }
    if (now > threads)
        blame(v, "%d threads left", now - threads);
    now = count_entries("/proc/self/fd");
    if (now != fds)
        blame(v, "%d descriptors left", now - fds);
    if (count_maps() != 0)
        blame(v, "guest memory is still mapped");
    verbs_counts(&n);
    if (n.mrs + n.qps + n.ids + n.cqs + n.pds + n.contexts > 0)
        blame(v, "%u registrations, %u queue pairs, %u ids are left", n.mrs, n.qps, n.ids);
}

/* A process that was killed, and is not reaped, does not live. */
static bool
guest_lives(const struct fake_guest *g)
{
    siginfo_t info = {0};

    return g->pid > 0 && !(waitid(P_PID, (id_t)g->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                           info.si_pid == g->pid);
}

/* A process that was killed (or was told so, and may not have heard it yet) is gone for the port,
 * too. */
/* --- one period: both ends run, and what is planned happens --- */

static void
signal_end(struct chaos_run *r, int side, int sig)
{
    if (r->running[side] && r->plan->processes) {
        kill(r->pid[side], sig);
        atomic_store(&r->sh->res[side].acted, true);
    }
}

/* What is done to the ends' processes from outside. */
static void
outside(struct chaos_run *r, bool done[CHAOS_ACTS], uint64_t *paused_us)
{
    static const struct {
        int side, sig;
    } how[] = {[CHAOS_KILL_SRC] = {SRC, SIGKILL},
               [CHAOS_KILL_DST] = {DST, SIGKILL},
               [CHAOS_FREEZE_SRC] = {SRC, SIGSTOP},
               [CHAOS_FREEZE_DST] = {DST, SIGSTOP}};
    uint64_t now = clock_mono_us();

    if (atomic_load(&r->sh->paused) && !*paused_us)
        *paused_us = now;
    for (unsigned i = 0; r->period && i < r->period->acts_len; i++) {
        const struct chaos_act *a = &r->period->acts[i];

        if (done[i] || a->what < CHAOS_KILL_SRC || a->what > CHAOS_FREEZE_DST ||
            (a->paused && !*paused_us) ||
            now < (a->paused ? *paused_us : r->started_us) + a->after_us)
            continue;
        done[i] = true;
        signal_end(r, how[a->what].side, how[a->what].sig);
        if (how[a->what].sig == SIGSTOP) {
            poll(NULL, 0, (int)a->ms);
            signal_end(r, how[a->what].side, SIGCONT);
        }
    }
}

static void
run_period(struct chaos_run *r, bool source, bool target)
{
    struct chaos_strangers strangers = {.seed = r->plan->seed};
    bool acts_done[CHAOS_ACTS] = {0}, meet = false, relay = r->period && r->period->relay;
    uint64_t source_over_us = 0, target_over_us = 0, paused_us = 0;

    memset(&r->net, 0, sizeof r->net);
    atomic_store(&r->sh->listening, false);
    atomic_store(&r->sh->stop_target, false);
    atomic_store(&r->sh->stop_source, false);
    atomic_store(&r->sh->paused, false);
    ends_arm(r);
    r->started_us = clock_mono_us();
    if (r->period) {
        atomic_store(&r->sh->fail_commit, r->period->fails.commit);
        atomic_store(&r->sh->fail_prepared, r->period->fails.prepared);
        atomic_store(&r->sh->fail_committed, r->period->fails.committed);
        atomic_store(&r->sh->fail_never, r->period->fails.never);
        memcpy(r->net.tricks, r->period->tricks, sizeof r->net.tricks);
        r->net.tricks_len = r->period->tricks_len;
    }
    r->net.framed = !r->plan->tls;
    if (target)
        end_start(r, DST);
    while (target && !atomic_load(&r->sh->listening) && !end_over(r, DST))
        poll(NULL, 0, 1);
    meet = atomic_load(&r->sh->listening);
    if (meet && relay)
        net_listen(&r->net); /* processes are forked before there is a thread */
    snprintf(r->dial, sizeof r->dial, "%s",
             !meet   ? "127.0.0.1:1"
             : relay ? r->net.addr
                     : r->sh->target_addr);
    if (source)
        end_start(r, SRC);
    if (meet && relay)
        net_start(&r->net, r->sh->target_addr);
    if (meet && r->period && r->period->strangers) {
        strangers.count = r->period->strangers;
        snprintf(strangers.addr, sizeof strangers.addr, "%s", r->sh->target_addr);
        chaos_strangers_start(&strangers);
    }
    while (!end_over(r, SRC) || !end_over(r, DST)) {
        uint64_t now = clock_mono_us();

        outside(r, acts_done, &paused_us);
        if (!r->running[SRC] && !source_over_us)
            source_over_us = now;
        /* its handler hears what became of it */
        if (source && !r->running[SRC] && now - source_over_us > 30000 &&
            (r->sh->res[SRC].outcome != MIG_MOVED || r->died[SRC] ||
             now - source_over_us > 5000000))
            atomic_store(&r->sh->stop_target, true);
        /* in post-copy neither gives up by itself: a handler is restarted, a guest has died, or
         * this network does not come back */
        if (!r->running[DST] && !target_over_us)
            target_over_us = now;
        if (r->plan->policy.allow_post_copy &&
            ((!r->running[DST] && now - target_over_us > 200000) ||
             now - r->started_us > POSTCOPY_US))
            atomic_store(&r->sh->stop_source, true);
        if (r->plan->policy.allow_post_copy && now - r->started_us > POSTCOPY_US)
            atomic_store(&r->sh->res[DST].acted, true);
        if (r->plan->policy.allow_post_copy &&
            (now - r->started_us > POSTCOPY_US || !guest_lives(r->guest[DST])))
            atomic_store(&r->sh->stop_target, true);
        if (now - r->started_us > HUNG_US) {
            AUTO_SB struct sb out = SB_INIT;

            chaos_describe(r->plan, &out);
            fprintf(stderr, "# seed %llu hangs (source %d, target %d): %s\n",
                    (unsigned long long)r->plan->seed, r->running[SRC], r->running[DST],
                    sb_str(&out));
            for (int side = 0; r->plan->processes && side < 2; side++)
                signal_end(r, side, SIGKILL);
            abort();
        }
        poll(NULL, 0, 1);
    }
    if (strangers.count)
        chaos_strangers_end(&strangers);
    if (meet && relay)
        net_stop(&r->net);
    for (unsigned i = 0; i < r->net.tricks_len; i++) {
        if (atomic_load(&r->net.played[i]))
            atomic_fetch_add(&r->reach->played[r->net.tricks[i].effect], 1);
    }
    fault_clear();
}

/* --- the handlers' part --- */

static void
reap_guest(struct fake_guest *g, bool told)
{
    if (!guest_lives(g) || told)
        fake_guest_kill(g);
}

static void
resume_source(struct chaos_run *r, struct verdict *v)
{
    struct guest port = fake_guest_port(r->guest[SRC]);
    struct err err = {0};

    port.ops->userfaultfd_close(port.impl, NULL);
    if (port.ops->resume(port.impl, &err) != 0)
        blame(v, "the handler cannot resume: %s", err_msg(&err));
}

static enum src_state
source_after(struct chaos_run *r, struct verdict *v)
{
    struct end_result *res = &r->sh->res[SRC];
    bool committed = atomic_load(&r->sh->src_committed);

    if (r->died[SRC]) {
        if (committed)
            return S_ASKS;
        resume_source(r, v);
        return S_FAILED;
    }
    if (res->outcome == MIG_MOVED)
        return S_MOVED;
    if (res->outcome == MIG_FAILED) {
        if (r->job[SRC] != JOB_RUN)
            resume_source(r, v);
        return S_FAILED;
    }
    if (!committed)
        blame(v, "UNKNOWN, and nothing was committed: %s", err_msg(&res->err));
    return S_ASKS;
}

static enum dst_state
target_after(struct chaos_run *r, struct verdict *v)
{
    struct end_result *res = &r->sh->res[DST];
    bool never = atomic_load(&r->sh->dst_never);

    reap_guest(r->guest[DST], atomic_load(&r->sh->guest_killed));
    if (!r->died[DST]) {
        switch ((enum mig_target_outcome)res->outcome) {
        case MIG_TARGET_RUNNING:
            return D_RUNNING;
        case MIG_TARGET_FAILED:
        case MIG_TARGET_ABORTED:
            fake_guest_kill(r->guest[DST]);
            return never ? D_GONE : D_DEAD;
        case MIG_TARGET_IN_DOUBT:
            if (!atomic_load(&r->sh->dst_prepared))
                blame(v, "IN_DOUBT, and PREPARED is not on record: %s", err_msg(&res->err));
            break;
        }
    }
    if (never)
        return D_GONE;
    if (atomic_load(&r->sh->dst_committed))
        return D_COMMITTED;
    if (atomic_load(&r->sh->dst_prepared))
        return D_PREPARED;
    fake_guest_kill(r->guest[DST]);
    return D_DEAD;
}

/* --- the verdict --- */

static bool
planned(const struct chaos_plan *p, enum chaos_what w)
{
    for (unsigned i = 0; i < p->periods[0].acts_len; i++) {
        if (p->periods[0].acts[i].what == w)
            return true;
    }
    return false;
}

static void
check_cause(const struct chaos_plan *p, const struct end_result *res, struct verdict *v)
{
    const struct chaos_period *q = &p->periods[0];
    const struct chaos_fails *f = &q->fails;
    bool ok = true, tampers = false;

    for (unsigned i = 0; i < q->tricks_len; i++)
        tampers = tampers || net_tampers(q->tricks[i].effect);
    switch (res->cause) {
    case MIG_CAUSE_NONE:
        ok = res->outcome != MIG_FAILED;
        break;
    case MIG_CAUSE_CANCELLED:
        ok = planned(p, CHAOS_CANCEL) || res->outcome == MIG_UNKNOWN; /* mig_source_stop */
        break;
    case MIG_CAUSE_COMPLETION_TIMEOUT:
        ok = p->limits.completion_timeout_us > 0;
        break;
    case MIG_CAUSE_PROGRESS_TIMEOUT:
        ok = p->limits.progress_timeout_us > 0;
        break;
    case MIG_CAUSE_GUEST:
        ok = f->src_pause || f->src_resume || f->src_save || f->src_uffd;
        break;
    case MIG_CAUSE_PROTOCOL:
        ok = tampers || (p->tls && q->tricks_len); /* a handshake that is cut short */
        break;
    case MIG_CAUSE_LOCAL:
        ok = f->commit || q->fault[SRC][0] || (!p->processes && q->fault[DST][0]);
        break;
    case MIG_CAUSE_CONNECT:
    case MIG_CAUSE_PEER:
        ok = true;
        break;
    }
    if (!ok)
        blame(v, "cause %d (%s) fits nothing that was done: %s", res->cause,
              mig_cause_text(res->cause), err_msg(&res->err));
    if (res->outcome == MIG_FAILED && !*err_msg(&res->err))
        blame(v, "it failed without a word");
}

/* With something that the peer had to hear, so not behind the last record of a connection. */
static bool
tampered(const struct chaos_run *r)
{
    for (unsigned i = 0; i < r->net.tricks_len; i++) {
        if (atomic_load(&r->net.played[i]) && net_tampers(r->net.tricks[i].effect) &&
            r->net.tricks[i].since > 100 &&
            /* the first record's version: whoever receives it ignores it (RFC 8446, 5.1) */
            !(r->net.tricks[i].when == NET_AT_BYTE && r->net.tricks[i].n < 3))
            return true;
    }
    return false;
}

static void
check_first(struct chaos_run *r, struct verdict *v, bool fired)
{
    const struct chaos_plan *p = r->plan;
    struct end_result *res = r->sh->res;
    bool limits = p->limits.completion_timeout_us != CHAOS_LONG_US ||
                  p->limits.progress_timeout_us || res[SRC].cause == MIG_CAUSE_COMPLETION_TIMEOUT;

    if (r->died[SRC])
        return;
    check_cause(p, &res[SRC], v);
    if (atomic_load(&res[SRC].cancelled) &&
        (res[SRC].outcome != MIG_FAILED || atomic_load(&r->sh->src_committed)))
        blame(v, "cancel said that it will not commit: outcome %d, committed %d", res[SRC].outcome,
              atomic_load(&r->sh->src_committed));
    if (((!fired && !limits) || p->must_move) &&
        (res[SRC].outcome != MIG_MOVED || res[DST].outcome != MIG_TARGET_RUNNING))
        blame(v, "%s, and yet: source %d (%s), target %d (%s)",
              fired ? "nothing that stops it" : "nothing happened", res[SRC].outcome,
              err_msg(&res[SRC].err), res[DST].outcome, err_msg(&res[DST].err));
    if (res[SRC].outcome == MIG_MOVED && res[SRC].stats.encrypted != p->tls &&
        !(p->rdma && p->tls)) /* what has crossed RDMA was in the clear */
        blame(v, "encrypted: %d, and it should be %d", res[SRC].stats.encrypted, p->tls);
    if (res[SRC].stats.encrypted && res[SRC].stats.transport == MIG_TRANSPORT_RDMA)
        blame(v, "over RDMA, and it is called encrypted");
    if (res[SRC].outcome == MIG_MOVED && p->tls && tampered(r) && !res[SRC].stats.reconnects)
        blame(v, "TLS did not see that somebody tampered with a connection");
    if (res[SRC].outcome == MIG_MOVED &&
        !(atomic_load(&r->sh->src_committed) && atomic_load(&r->sh->dst_committed)))
        blame(v, "MOVED without both records of COMMIT");
}

static void
check_guest(struct chaos_run *r, struct verdict *v, int side, bool other_too)
{
    struct fake_guest *g = r->guest[side];
    uint64_t wrong;

    if (fake_guest_uffds_open(g) != 0)
        blame(v, "%s: a userfaultfd is left in the guest", side ? "target" : "source");
    if (!fake_guest_running(g)) {
        blame(v, "the guest is paused at the %s", side ? "target" : "source");
    } else if (g->cfg.set_pages) {
        uint64_t steps = fake_guest_steps(g) + 2, until = clock_mono_us() + 5000000;

        while (fake_guest_steps(g) < steps && clock_mono_us() < until)
            poll(NULL, 0, 1);
        if (fake_guest_steps(g) < steps)
            blame(v, "the guest stands still at the %s", side ? "target" : "source");
    }
    if (other_too && r->guest[!side]->pid > 0 && fake_guest_running(r->guest[!side]))
        blame(v, "and it runs at the other side, too");
    wrong = fake_guest_wrong_pages(g);
    if (wrong)
        blame(v, "%llu pages are wrong at the %s", (unsigned long long)wrong,
              side ? "target" : "source");
}

static void
judge(struct chaos_run *r, struct verdict *v, enum src_state s, enum dst_state d, bool resume_told)
{
    if (atomic_load(&r->sh->twins.both))
        blame(v, "both copies ran at once");
    if (s == S_MOVED) {
        if (fake_guest_running(r->guest[SRC]))
            blame(v, "MOVED, and it runs at the source");
        if (d != D_RUNNING)
            blame(v, "MOVED, and the target is in state %d", d);
        else if (guest_lives(r->guest[DST]))
            check_guest(r, v, DST, true);
        return;
    }
    if (s == S_FAILED) {
        if (d == D_RUNNING)
            blame(v, "FAILED, and the target says that it runs there");
        /* a guest that cannot be resumed is paused, and is said to be: its handler tries again */
        if (resume_told && !fake_guest_running(r->guest[SRC])) {
            if (r->sh->res[SRC].cause != MIG_CAUSE_GUEST)
                blame(v, "the guest could not be resumed, and the cause is %d",
                      r->sh->res[SRC].cause);
            resume_source(r, v);
        }
        check_guest(r, v, SRC, true);
        return;
    }
    /* The one case without an answer: the incoming guest died after COMMIT was recorded there, and
     * so did what knew whether it had run. The source's copy is paused and whole. */
    if (d != D_COMMITTED || guest_lives(r->guest[DST]))
        blame(v, "it never became known where the guest runs (target state %d)", d);
    if (fake_guest_running(r->guest[SRC]))
        blame(v, "not known, and it runs at the source");
    if (fake_guest_wrong_pages(r->guest[SRC]))
        blame(v, "not known, and the source's memory is wrong");
}

static struct chaos_shared *
shared_memory(void)
{
    static struct chaos_shared *sh;

    if (!sh) {
        sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert(sh != MAP_FAILED);
    }
    memset(sh, 0, sizeof *sh);
    return sh;
}

static void
count_outcome(struct chaos_run *r, bool fired)
{
    if (!r->died[SRC]) {
        atomic_fetch_add(&r->reach->outcomes[r->sh->res[SRC].outcome], 1);
        if (r->sh->res[SRC].outcome == MIG_FAILED)
            atomic_fetch_add(&r->reach->causes[r->sh->res[SRC].cause], 1);
    }
    if (!r->died[DST])
        atomic_fetch_add(&r->reach->targets[r->sh->res[DST].outcome], 1);
    atomic_fetch_add(&r->reach->rounds, r->sh->res[SRC].stats.round > 2);
    atomic_fetch_add(&r->reach->faultless, !fired);
    atomic_fetch_add(&r->reach->processes, r->plan->processes);
    atomic_fetch_add(&r->reach->tls, r->plan->tls);
}

/* The migration, and then what handlers do until it is known where the guest runs. */
static void
live(struct chaos_run *r, struct verdict *v)
{
    enum src_state s;
    enum dst_state d;
    bool fired, resume_told;

    r->period = &r->plan->periods[0];
    r->job[SRC] = r->job[DST] = JOB_RUN;
    run_period(r, true, true);
    fired = end_fired(r);
    resume_told = r->period->fails.src_resume > 0;
    check_first(r, v, fired);
    count_outcome(r, fired);
    s = source_after(r, v);
    d = target_after(r, v);
    for (int i = 0; i < MANY_PERIODS && !v->bad; i++) {
        static const enum end_job jobs[] = {
            [D_PREPARED] = JOB_RECOVER, [D_COMMITTED] = JOB_COMMITTED, [D_GONE] = JOB_GONE};
        bool asks = s == S_ASKS, again = d == D_PREPARED || d == D_COMMITTED || d == D_GONE;

        if (asks && d == D_RUNNING) {
            s = S_MOVED; /* its handler has written so */
            break;
        }
        if (asks && d == D_DEAD) {
            blame(v, "lost: committed, and the target has thrown its copy away");
            break;
        }
        if (s == S_FAILED || !again || (s == S_MOVED && d != D_COMMITTED))
            break;
        if (d == D_COMMITTED && !guest_lives(r->guest[DST]) && i > 1)
            break;
        r->period = i == 0 ? &r->plan->periods[1] : NULL;
        r->job[SRC] = r->plan->policy.allow_post_copy ? JOB_SERVE : JOB_RESOLVE;
        r->job[DST] = jobs[d];
        if (asks)
            atomic_fetch_add(&r->reach->resolved, 1);
        run_period(r, asks, true);
        if (asks)
            s = source_after(r, v);
        d = target_after(r, v);
    }
    if (s == S_FAILED && d != D_RUNNING)
        fake_guest_kill(r->guest[DST]); /* thrown away */
    judge(r, v, s, d, resume_told);
}

bool
chaos_run(const struct chaos_plan *p, struct chaos_reach *reach, struct sb *why)
{
    struct chaos_run *r = xcalloc(1, sizeof *r);
    struct verdict v = {.why = why};
    struct fake_config c = p->guest;
    int threads, fds;

    if (p->rdma)
        rdma_test_ip(); /* has a thread */
    threads = count_entries("/proc/self/task");
    fds = count_entries("/proc/self/fd");
    r->plan = p;
    r->reach = reach;
    r->sh = shared_memory();
    pthread_mutex_init(&r->mu, NULL);
    c.twins = &r->sh->twins;
    r->guest[SRC] = fake_guest_new(&c, false);
    c.twin = 1;
    r->guest[DST] = fake_guest_new(&c, true);
    r->guest[DST]->load_delay_ms = p->load_ms;
    snprintf(r->state_path, sizeof r->state_path, "/tmp/drover-chaos-%d.postcopy", (int)getpid());
    live(r, &v);
    unlink(r->state_path); /* its handler's */
    fake_guest_free(r->guest[SRC]);
    fake_guest_free(r->guest[DST]);
    check_nothing_left(&v, fds, threads);
    pthread_mutex_destroy(&r->mu);
    free(r);
    return !v.bad;
}
