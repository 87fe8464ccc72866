/* One end of a chaos run: its configuration, its hooks, the hand that does things to it, its thread
 * or process. See chaos_int.h. */
#include "tests/migrate/chaos_int.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "tests/migrate/certs.h"

/* constant while ends run */
static struct chaos_reach *reach;
static struct chaos_shared *shared;
static int only_side = -1; /* of this process; -1: both */

/* --- fault points --- */

static int
side_of_thread(void)
{
    static const struct {
        const char *name;
        int side;
    } names[] = {{"src", SRC},         {"mig-send", SRC},   {"mig-urgent", SRC},
                 {"dst", DST},         {"mig-recv", DST},   {"mig-fault", DST},
                 {"mig-windows", SRC}, {"mig-window", DST}, {"mig-read", DST}};
    char name[16] = "";

    if (only_side >= 0)
        return only_side;
    prctl(PR_GET_NAME, name);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strncmp(name, names[i].name, strlen(names[i].name)) == 0)
            return names[i].side;
    }
    return -1;
}

static void
on_fault(enum fault_point p, bool acts)
{
    int side = side_of_thread();

    if (side < 0)
        return;
    atomic_fetch_add(&reach->reached[p][side], 1);
    if (!acts)
        return;
    atomic_fetch_add(&reach->acted[p][side], 1);
    atomic_store(&shared->failed, true);
}

static void
arm(struct chaos_run *r, int side)
{
    struct err err = {0};

    if (r->period && r->period->fault[side][0] && fault_arm(r->period->fault[side], &err) != 0) {
        fprintf(stderr, "# %s\n", err_msg(&err));
        abort();
    }
}

void
ends_arm(struct chaos_run *r)
{
    reach = r->reach;
    shared = r->sh;
    fault_clear();
    if (!r->plan->processes) {
        arm(r, SRC);
        arm(r, DST);
    }
    fault_watch(on_fault);
}

/* --- hooks --- */

static int
word(struct chaos_shared *sh, atomic_bool *durable, atomic_int *left, const char *what,
     struct err *err)
{
    if (atomic_load(left) > 0) {
        atomic_fetch_sub(left, 1);
        atomic_store(&sh->failed, true);
        return err_set(err, -EIO, "%s: told to fail", what);
    }
    atomic_store(durable, true);
    return 0;
}

static int
on_commit(void *ctx, struct err *err)
{
    struct chaos_shared *sh = ctx;

    return word(sh, &sh->src_committed, &sh->fail_commit, "commit", err);
}

static int
on_prepared(void *ctx, struct err *err)
{
    struct chaos_shared *sh = ctx;

    return word(sh, &sh->dst_prepared, &sh->fail_prepared, "prepared", err);
}

static int
on_committed(void *ctx, struct err *err)
{
    struct chaos_shared *sh = ctx;

    return word(sh, &sh->dst_committed, &sh->fail_committed, "committed", err);
}

static int
on_never(void *ctx, struct err *err)
{
    struct chaos_shared *sh = ctx;

    return word(sh, &sh->dst_never, &sh->fail_never, "never", err);
}

/* --- the hand: what is done to an end from inside its process --- */

static bool
may_act(struct chaos_run *r, const struct chaos_act *a, uint64_t *paused_us)
{
    uint64_t now = clock_mono_us(), from = r->started_us;

    if (a->paused) {
        if (!atomic_load(&r->sh->paused))
            return false;
        if (!*paused_us)
            *paused_us = now;
        from = *paused_us;
    }
    return now >= from + a->after_us;
}

static void
act(struct chaos_run *r, int side, const struct chaos_act *a)
{
    struct end_result *res = &r->sh->res[side];

    pthread_mutex_lock(&r->mu);
    if (side == SRC && r->source && a->what == CHAOS_CANCEL) {
        if (mig_source_cancel(r->source))
            atomic_store(&res->cancelled, true);
        atomic_store(&res->acted, true);
    } else if (side == SRC && r->source && a->what == CHAOS_BANDWIDTH) {
        mig_source_set_bandwidth(r->source, a->ms % 2 ? 0 : (uint64_t)(20 + a->ms) << 20);
    } else if (side == DST && a->what == CHAOS_STOP) {
        if (r->target)
            mig_target_stop(r->target);
        atomic_store(&res->acted, true);
    } else if (side == DST && a->what == CHAOS_KILL_GUEST && r->guest[DST]->pid > 0) {
        kill(r->guest[DST]->pid, SIGKILL);
        atomic_store(&r->sh->guest_killed, true);
        atomic_store(&res->acted, true);
    }
    pthread_mutex_unlock(&r->mu);
}

static bool
is_mine(int side, enum chaos_what w)
{
    return side == SRC ? w == CHAOS_CANCEL || w == CHAOS_BANDWIDTH
                       : w == CHAOS_STOP || w == CHAOS_KILL_GUEST;
}

static void
hand(struct chaos_run *r, int side)
{
    struct end_result *res = &r->sh->res[side];
    const struct chaos_period *q = r->period;
    bool done[CHAOS_ACTS] = {0}, stopped = false, ended = false;
    uint64_t paused_us = 0;

    while (!atomic_load(&res->done)) {
        pthread_mutex_lock(&r->mu);
        if (side == SRC && r->source && !atomic_load(&r->sh->paused)) {
            struct mig_stats st;

            mig_source_stats(r->source, &st);
            if (st.paused_us)
                atomic_store(&r->sh->paused, true);
        }
        if (side == SRC && r->source && !ended && atomic_load(&r->sh->stop_source)) {
            mig_source_stop(r->source);
            ended = true;
        }
        if (side == DST && r->target && !stopped && atomic_load(&r->sh->stop_target)) {
            mig_target_stop(r->target);
            stopped = true;
        }
        pthread_mutex_unlock(&r->mu);
        for (unsigned i = 0; q && i < q->acts_len; i++) {
            if (!done[i] && is_mine(side, q->acts[i].what) && may_act(r, &q->acts[i], &paused_us)) {
                done[i] = true;
                act(r, side, &q->acts[i]);
            }
        }
        poll(NULL, 0, 1);
    }
}

static void *
hand_of_source(void *arg)
{
    prctl(PR_SET_NAME, "chaos-hand");
    hand(arg, SRC);
    return NULL;
}

static void *
hand_of_target(void *arg)
{
    prctl(PR_SET_NAME, "chaos-hand");
    hand(arg, DST);
    return NULL;
}

/* --- the ends --- */

static struct mig_ident
ident(void)
{
    return (struct mig_ident){.vmi_uid = "vmi-1", .migration_uid = "migration-1", .generation = 7};
}

static void
fail_guest(struct fake_guest *g, const struct chaos_fails *f, int side)
{
    g->fail_rc = f->gone ? -ESRCH : 0;
    g->fail_pause = side == SRC ? f->src_pause : f->dst_pause;
    g->fail_resume = side == SRC ? f->src_resume : f->dst_resume;
    g->fail_save = f->src_save;
    g->fail_uffd = side == SRC ? f->src_uffd : 0;
    g->fail_load = f->dst_load;
}

static int
fails_left(const struct fake_guest *g)
{
    return g->fail_pause + g->fail_resume + g->fail_save + g->fail_uffd + g->fail_load;
}

static void
run_source(struct chaos_run *r)
{
    const struct chaos_plan *p = r->plan;
    struct mig_source_config c = {.ident = ident(),
                                  .guest = fake_guest_port(r->guest[SRC]),
                                  .channels = p->channels,
                                  .limits = p->limits,
                                  .policy = p->policy,
                                  .dead_peer_us = p->dead_peer_us,
                                  .reconnect_us = p->reconnect_us,
                                  .recovering = r->job[SRC] == JOB_SERVE,
                                  .network_trusted = p->rdma,
                                  .rdma_window_bytes = p->window_bytes,
                                  .commit = on_commit,
                                  .ctx = r->sh};
    struct end_result *res = &r->sh->res[SRC];

    snprintf(c.target_addr, sizeof c.target_addr, "%s", r->dial);
    snprintf(c.local_ip, sizeof c.local_ip, "127.0.0.1");
    if (p->tls) {
        c.tls = certs_node("n1");
        snprintf(c.tls_peer, sizeof c.tls_peer, "n2");
    }
    if (r->job[SRC] == JOB_RESOLVE) {
        res->outcome = mig_source_resolve(&c, &res->err);
        return;
    }

    struct mig_source *s = mig_source_new(&c);

    pthread_mutex_lock(&r->mu);
    r->source = s;
    pthread_mutex_unlock(&r->mu);
    res->outcome = mig_source_run(s, &res->cause, &res->err);
    mig_source_stats(s, &res->stats);
    pthread_mutex_lock(&r->mu);
    r->source = NULL;
    pthread_mutex_unlock(&r->mu);
    mig_source_free(s);
}

static void
run_target(struct chaos_run *r)
{
    const struct chaos_plan *p = r->plan;
    struct mig_target_config c = {.ident = ident(),
                                  .guest = fake_guest_port(r->guest[DST]),
                                  .dead_peer_us = p->dead_peer_us,
                                  .idle_timeout_us = 20000000,
                                  .reconnect_us = p->reconnect_us,
                                  .recovering =
                                      r->job[DST] == JOB_RECOVER || r->job[DST] == JOB_GONE,
                                  .recovering_committed = r->job[DST] == JOB_COMMITTED,
                                  .network_trusted = p->rdma,
                                  .rdma_window_bytes = p->window_bytes,
                                  .prepared = on_prepared,
                                  .committed = on_committed,
                                  .never = on_never,
                                  .ctx = r->sh};
    struct end_result *res = &r->sh->res[DST];
    struct mig_target *t = NULL;

    if (r->guest[DST]->pid <= 0)
        c.guest = (struct guest){0};
    snprintf(c.state_path, sizeof c.state_path, "%s", r->state_path);
    snprintf(c.listen_ip, sizeof c.listen_ip, "127.0.0.1");
    if (p->tls) {
        c.tls = certs_node("n2");
        snprintf(c.tls_peer, sizeof c.tls_peer, "n1");
    }
    if (mig_target_new(&c, &t, &res->err) != 0) {
        res->outcome =
            c.recovering || c.recovering_committed ? MIG_TARGET_IN_DOUBT : MIG_TARGET_FAILED;
        return;
    }
    snprintf(r->sh->target_addr, sizeof r->sh->target_addr, "%s", mig_target_address(t));
    pthread_mutex_lock(&r->mu);
    r->target = t;
    pthread_mutex_unlock(&r->mu);
    atomic_store(&r->sh->listening, true);
    res->outcome = mig_target_run(t, &res->err);
    mig_target_stats(t, &res->stats);
    pthread_mutex_lock(&r->mu);
    r->target = NULL;
    pthread_mutex_unlock(&r->mu);
    mig_target_free(t);
}

static void
body(struct chaos_run *r, int side)
{
    struct fake_guest *g = r->guest[side];
    int before;

    prctl(PR_SET_NAME, side == SRC ? "src-run" : "dst-run");
    if (r->period)
        fail_guest(g, &r->period->fails, side);
    before = fails_left(g);
    assert(pthread_create(&r->hand[side], NULL, side == SRC ? hand_of_source : hand_of_target, r) ==
           0);
    if (side == SRC)
        run_source(r);
    else
        run_target(r);
    if (fails_left(g) != before)
        atomic_store(&r->sh->failed, true);
    fail_guest(g, &(struct chaos_fails){0}, side);
    atomic_store(&r->sh->res[side].done, true);
    pthread_join(r->hand[side], NULL);
}

static void *
source_main(void *arg)
{
    body(arg, SRC);
    return NULL;
}

static void *
target_main(void *arg)
{
    body(arg, DST);
    return NULL;
}

void
end_start(struct chaos_run *r, int side)
{
    struct end_result *res = &r->sh->res[side];

    *res = (struct end_result){0};
    r->running[side] = true;
    r->died[side] = false;
    if (!r->plan->processes) {
        assert(pthread_create(&r->thread[side], NULL, side == SRC ? source_main : target_main, r) ==
               0);
        return;
    }
    fflush(NULL);
    r->pid[side] = fork();
    assert(r->pid[side] >= 0);
    if (r->pid[side] > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    only_side = side;
    if (r->net.listen_fd > 0)
        close(r->net.listen_fd);
    arm(r, side);
    body(r, side);
    _exit(0);
}

bool
end_over(struct chaos_run *r, int side)
{
    struct end_result *res = &r->sh->res[side];
    int status;

    if (!r->running[side])
        return true;
    if (!r->plan->processes) {
        if (!atomic_load(&res->done))
            return false;
        pthread_join(r->thread[side], NULL);
        r->running[side] = false;
        return true;
    }
    if (waitpid(r->pid[side], &status, WNOHANG) != r->pid[side])
        return false;
    r->running[side] = false;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        r->died[side] = !atomic_load(&res->done);
        atomic_store(&res->acted, true);
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "# %s: ended with status %#x\n", side ? "target" : "source", status);
        abort();
    }
    return true;
}

bool
end_fired(const struct chaos_run *r)
{
    for (unsigned i = 0; i < r->net.tricks_len; i++) {
        if (atomic_load(&r->net.played[i]))
            return true;
    }
    return (r->plan->struck && r->plan->struck()) || atomic_load(&r->sh->failed) ||
           atomic_load(&r->sh->res[SRC].acted) || atomic_load(&r->sh->res[DST].acted);
}
