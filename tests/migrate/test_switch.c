/* The switchover's two machines against each other: two hosts with journals and guests, a network
 * that cuts and loses, crashes at every step, in simulation. After every single step at most one
 * guest runs; when faults end, exactly one does and its memory is whole. Hosts behave as
 * docs/protocol.md says (what the handlers do around the engine). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/rng.h"
#include "migrate/switch.h"

#define SEEDS     20000
#define MAX_STEPS 2000
#define MAX_MSGS  8
#define PAGES     3 /* that post-copy leaves behind */

enum msg {
    M_FINISH,
    M_PREPARED,
    M_COMMIT,
    M_RUNNING,
    M_NEVER,
    M_ABORT,
    M_ERROR,
    M_QUESTION,
    M_COMPLETE
};
enum src_journal { SJ_RUNNING, SJ_COMMITTED, SJ_MOVED };
enum dst_journal { DJ_INCOMING, DJ_PREPARED, DJ_COMMITTED, DJ_NEVER, DJ_NONE };

struct pipe { /* one direction of a connection */
    enum msg msgs[MAX_MSGS];
    int len;
    bool closed; /* by the sender: end of file behind the messages */
};

struct sim {
    struct rng rng;
    int faults; /* that may still happen */
    /* source host */
    struct switch_source s;
    unsigned s_todo;
    bool s_up, s_over, s_running, s_exists, s_asking, s_connected;
    enum src_journal sj;
    /* target host */
    struct switch_target t;
    unsigned t_todo;
    bool t_up, t_over, t_running, t_exists, t_alive, t_whole, t_listening, t_connected;
    enum dst_journal dj;
    bool ever_ran_at_target;
    bool post;   /* this switchover is post-copy */
    int missing; /* pages that are at the source only; the target's file knows */
    bool failed; /* the controller's object, written by the source's host */
    struct pipe to_s, to_t;
    bool trace;
};

static void
note(struct sim *m, const char *what)
{
    if (m->trace)
        print_message("# %-28s S %s%s%s j%d  T %s%s%s j%d\n", what, switch_source_name(m->s.state),
                      m->s_up ? "" : " (down)", m->s_running ? " RUNS" : "", (int)m->sj,
                      switch_target_name(m->t.state), m->t_up ? "" : " (down)",
                      m->t_running ? " RUNS" : "", (int)m->dj);
}

static void
put(struct pipe *p, enum msg msg)
{
    if (!p->closed && p->len < MAX_MSGS)
        p->msgs[p->len++] = msg;
}

static enum msg
take(struct pipe *p)
{
    enum msg msg = p->msgs[0];

    memmove(p->msgs, p->msgs + 1, (size_t)(--p->len) * sizeof p->msgs[0]);
    return msg;
}

/* --- source host --- */

static void
s_event(struct sim *m, enum switch_event ev)
{
    unsigned actions;

    if (switch_source_step(&m->s, ev, 0, &actions) != 0) {
        /* a message out of turn: the engine calls that trouble */
        assert_int_equal(switch_source_step(&m->s, SWITCH_EV_TROUBLE, 0, &actions), 0);
    }
    m->s_todo = actions;
}

/* One effect of the source. A crash may come before or after it. */
static void
s_act(struct sim *m)
{
    switch (m->s.state) {
    case SWITCH_SRC_COPYING:
        s_event(m, SWITCH_EV_SWITCH);
        return;
    case SWITCH_SRC_PAUSING:
        m->s_running = false;
        s_event(m, SWITCH_EV_DONE);
        return;
    case SWITCH_SRC_SENDING:
        s_event(m, SWITCH_EV_DONE);
        return;
    case SWITCH_SRC_WAITING:
        put(&m->to_t, M_FINISH);
        m->s_todo = 0;
        return;
    case SWITCH_SRC_COMMITTING:
        m->sj = SJ_COMMITTED;
        s_event(m, SWITCH_EV_DONE);
        return;
    case SWITCH_SRC_COMMITTED:
        put(&m->to_t, M_COMMIT);
        m->s_todo = 0;
        return;
    case SWITCH_SRC_ROLLBACK:
        if (m->s_todo & SWITCH_DO_RESUME) {
            m->s_running = true;
            m->s_todo &= ~(unsigned)SWITCH_DO_RESUME;
        } else {
            if (m->s_todo & SWITCH_DO_SAY_ABORT)
                put(&m->to_t, M_ABORT);
            s_event(m, SWITCH_EV_DONE);
        }
        return;
    case SWITCH_SRC_FAILED: /* the handler */
        if (m->s_todo & SWITCH_DO_SAY_ABORT)
            put(&m->to_t, M_ABORT);
        m->s_todo = 0;
        m->to_t.closed = true;
        m->s_connected = false;
        m->s_running = true; /* resolve: resume here; else it runs already */
        m->sj = SJ_RUNNING;
        m->failed = true;
        m->s_over = true;
        return;
    case SWITCH_SRC_MOVED:
        m->to_t.closed = true;
        m->s_connected = false;
        m->sj = SJ_MOVED;
        m->s_exists = m->s_running = false;
        m->s_over = true;
        return;
    case SWITCH_SRC_UNKNOWN:
        m->to_t.closed = true;
        m->s_connected = false;
        m->s_asking = true; /* asks when it can */
        return;
    case SWITCH_SRC_ASKING:
        return;
    case SWITCH_SRC_DIALING: /* the guest first */
        m->s_running = true;
        m->s_todo = 0;
        return;
    case SWITCH_SRC_SERVING:
        m->s_todo = 0;
        return;
    case SWITCH_SRC_COUNT:
        return;
    }
}

static bool
s_waits(const struct sim *m)
{
    return m->s.state == SWITCH_SRC_ASKING || m->s.state == SWITCH_SRC_SERVING ||
           (m->s.state == SWITCH_SRC_DIALING && m->s_running) ||
           ((m->s.state == SWITCH_SRC_WAITING || m->s.state == SWITCH_SRC_COMMITTED) && !m->s_todo);
}

static void
s_receive(struct sim *m)
{
    static const enum switch_event events[] = {
        [M_PREPARED] = SWITCH_EV_PREPARED, [M_RUNNING] = SWITCH_EV_RUNNING,
        [M_NEVER] = SWITCH_EV_NEVER,       [M_ERROR] = SWITCH_EV_TROUBLE,
        [M_COMPLETE] = SWITCH_EV_ARRIVED,
    };
    enum msg msg = take(&m->to_s);

    /* RUNNING, or an ANSWER that says what is missing */
    if (msg == M_RUNNING && m->post && (m->s.state == SWITCH_SRC_COMMITTED || m->missing > 0))
        s_event(m, SWITCH_EV_PARTLY);
    else
        s_event(m, events[msg]);
}

static void
s_restart(struct sim *m)
{
    m->s_up = true;
    m->s_over = false;
    m->s_todo = 0;
    if (m->sj == SJ_RUNNING) {
        m->s.state = SWITCH_SRC_FAILED; /* resumes, writes failed */
    } else if (m->sj == SJ_COMMITTED) {
        m->s.state = SWITCH_SRC_UNKNOWN;
    } else {
        m->s.state = SWITCH_SRC_MOVED;
    }
}

/* Dials the target that listens for a question. */
static void
s_ask(struct sim *m)
{
    m->s = (struct switch_source){.state = SWITCH_SRC_ASKING};
    m->s_asking = false;
    if (m->t.state == SWITCH_DST_FILLING) { /* it is told what is missing, and hangs up */
        m->to_s = m->to_t = (struct pipe){.closed = true};
        m->to_s.msgs[m->to_s.len++] = M_RUNNING;
        return;
    }
    m->s_connected = m->t_connected = true;
    m->to_s = m->to_t = (struct pipe){0};
    m->t_listening = false;
    put(&m->to_t, M_QUESTION);
}

/* --- target host --- */

static void
t_event(struct sim *m, enum switch_event ev)
{
    unsigned actions;

    if (switch_target_step(&m->t, ev, 0, &actions) != 0)
        assert_int_equal(switch_target_step(&m->t, SWITCH_EV_TROUBLE, 0, &actions), 0);
    m->t_todo = actions;
}

static void
throw_away(struct sim *m)
{
    m->t_exists = m->t_running = false;
    m->dj = DJ_NONE;
}

static void
t_act(struct sim *m)
{
    switch (m->t.state) {
    case SWITCH_DST_LOADING:
        m->t_whole = m->t_alive;
        m->missing = m->post ? PAGES : 0;
        t_event(m, m->t_alive ? SWITCH_EV_DONE : SWITCH_EV_TROUBLE);
        return;
    case SWITCH_DST_RECORDING:
        m->dj = DJ_PREPARED;
        t_event(m, SWITCH_EV_DONE);
        return;
    case SWITCH_DST_PREPARED:
        if (m->t_todo & SWITCH_DO_SAY_PREPARED)
            put(&m->to_s, M_PREPARED);
        m->t_todo = 0;
        return;
    case SWITCH_DST_COMMITTING:
        m->dj = DJ_COMMITTED;
        t_event(m, SWITCH_EV_DONE);
        return;
    case SWITCH_DST_RESUMING:
        if (!m->t_alive) {
            t_event(m, SWITCH_EV_GONE);
            return;
        }
        m->t_running = m->ever_ran_at_target = true;
        t_event(m, m->post ? SWITCH_EV_PARTLY : SWITCH_EV_DONE);
        return;
    case SWITCH_DST_FILLING:
        if (m->t_todo & SWITCH_DO_SAY_RUNNING)
            put(&m->to_s, M_RUNNING);
        m->t_todo = 0;
        if (m->missing == 0)
            t_event(m, SWITCH_EV_ARRIVED);
        return;
    case SWITCH_DST_LISTENING:
        return;
    case SWITCH_DST_DENYING:
        m->dj = DJ_NEVER;
        t_event(m, SWITCH_EV_DONE);
        return;
    case SWITCH_DST_RUNNING:
        put(&m->to_s, m->post ? M_COMPLETE : M_RUNNING);
        break;
    case SWITCH_DST_NEVER:
        put(&m->to_s, M_NEVER);
        break;
    case SWITCH_DST_FAILED:
        put(&m->to_s, M_ERROR);
        throw_away(m);
        break;
    case SWITCH_DST_ABORTED:
        throw_away(m);
        break;
    default:
        break;
    }
    /* over: the handler closes; a prepared or denied one listens again */
    m->t_todo = 0;
    m->to_s.closed = true;
    m->t_connected = false;
    m->t_over = true;
}

static bool
t_waits(const struct sim *m)
{
    return m->t.state == SWITCH_DST_RECEIVING || m->t.state == SWITCH_DST_LISTENING ||
           (m->t.state == SWITCH_DST_FILLING && !m->t_todo && m->missing > 0) ||
           (m->t.state == SWITCH_DST_PREPARED && !m->t_todo);
}

static void
t_receive(struct sim *m)
{
    enum msg msg = take(&m->to_t);

    if (msg == M_ABORT && m->t.state == SWITCH_DST_RECEIVING)
        t_event(m, SWITCH_EV_TROUBLE);
    else if ((msg == M_QUESTION || msg == M_COMMIT) && !m->t_alive)
        t_event(m, SWITCH_EV_GONE);
    else
        t_event(m, msg == M_FINISH ? SWITCH_EV_FINISH
                   : msg == M_ABORT
                       ? SWITCH_EV_ABORT
                       : SWITCH_EV_COMMIT); /* COMMIT, or QUESTION that offers it again */
}

/* What a handler does with its journal: at its start, and after a run of the engine that left the
 * guest prepared. */
static void
t_recover(struct sim *m)
{
    m->t_up = true;
    m->t_over = false;
    m->t_todo = 0;
    switch (m->dj) {
    case DJ_INCOMING:
        throw_away(m);
        m->t_over = true;
        break;
    case DJ_PREPARED:
    case DJ_NEVER: /* without a guest, NEVER is the answer */
        m->t.state = SWITCH_DST_PREPARED;
        m->t_listening = true;
        break;
    case DJ_COMMITTED:
        if (m->t_alive)
            m->t_running = m->ever_ran_at_target = true;
        m->t.state = SWITCH_DST_RUNNING; /* and tells the controller */
        m->t_over = true;
        if (m->missing > 0) { /* goes on from the file */
            m->t.state = SWITCH_DST_FILLING;
            m->t_over = false;
        }
        break;
    case DJ_NONE:
        m->t_over = true;
        break;
    }
}

/* --- the world --- */

static void
cut(struct sim *m)
{
    m->to_s = m->to_t = (struct pipe){.closed = true};
}

static void
s_crash(struct sim *m)
{
    m->s_up = false;
    m->s_connected = false;
    m->to_t.closed = true;
    if (rng_below(&m->rng, 2))
        m->to_t.len = 0; /* what was not yet on the wire */
    m->s_asking = false;
}

static void
t_crash(struct sim *m)
{
    m->t_up = false;
    m->t_connected = m->t_listening = false;
    m->to_s.closed = true;
    if (rng_below(&m->rng, 2))
        m->to_s.len = 0;
}

static void
check(const struct sim *m)
{
    assert_false(m->s_running && m->t_running);
    /* what runs at the target is whole; who said NEVER never ran */
    assert_true(!m->t_running || (m->t_whole && m->t_alive));
    assert_false(m->dj == DJ_NEVER && m->ever_ran_at_target);
    /* a source copy goes only when the target has run it and has all of its memory */
    assert_true(m->s_exists || (m->ever_ran_at_target && m->missing == 0));
}

enum step {
    S_ACT,
    S_RECV,
    S_LOST,
    S_ASK,
    T_ACT,
    T_RECV,
    T_LOST,
    T_LISTEN,
    T_CLEAN,
    S_SERVE,
    PAGE,
    REDIAL,
    S_GIVES_UP,
    T_GIVES_UP,
    S_HEARS, /* progress */
    S_CRASH,
    T_CRASH,
    CUT,
    S_TROUBLE,
    T_TROUBLE,
    KILL_GUEST, /* faults */
    S_RESTART,
    T_RESTART,
    STEPS
};

static bool
possible(const struct sim *m, enum step step, bool faults)
{
    bool s_live = m->s_up && !m->s_over, t_live = m->t_up && !m->t_over;

    if (step >= S_CRASH && step <= KILL_GUEST && (!faults || m->faults == 0))
        return false;
    switch (step) {
    case S_ACT:
        return s_live && !s_waits(m) && !m->s_asking;
    case S_RECV:
        return s_live && s_waits(m) && m->to_s.len > 0;
    case S_LOST:
        return s_live && m->to_s.len == 0 && m->to_s.closed &&
               ((s_waits(m) && m->s.state != SWITCH_SRC_DIALING &&
                 m->s.state != SWITCH_SRC_SERVING) ||
                m->s.state == SWITCH_SRC_COPYING || m->s.state == SWITCH_SRC_SENDING);
    case S_ASK:
        return s_live && m->s_asking && m->t_up &&
               ((m->t_listening && !m->t_connected) ||
                (m->t.state == SWITCH_DST_FILLING && !m->t_over && m->to_t.closed));
    case S_SERVE: /* HELLO with serve */
        return s_live && m->s.state == SWITCH_SRC_SERVING && t_live &&
               m->t.state == SWITCH_DST_FILLING && m->to_s.len == 0 && m->to_s.closed;
    case PAGE:
        return s_live && m->s.state == SWITCH_SRC_SERVING && t_live &&
               m->t.state == SWITCH_DST_FILLING && !m->to_s.closed && m->missing > 0;
    case REDIAL:
        return s_live && m->s.state == SWITCH_SRC_DIALING && m->s_running && t_live &&
               m->t.state == SWITCH_DST_LISTENING;
    case S_GIVES_UP: /* its time is over, and nobody answered */
        return s_live && m->s.state == SWITCH_SRC_DIALING && m->s_running &&
               !(t_live && (m->t.state == SWITCH_DST_LISTENING ||
                            (m->t.state == SWITCH_DST_RECEIVING && m->to_t.closed)));
    case T_GIVES_UP:
        return t_live && m->t.state == SWITCH_DST_LISTENING &&
               !(s_live && (m->s.state == SWITCH_SRC_DIALING || m->s.state == SWITCH_SRC_COPYING ||
                            m->s.state == SWITCH_SRC_SENDING));
    case T_ACT:
        return t_live && !t_waits(m);
    case T_RECV:
        return t_live && t_waits(m) && !m->t_listening && m->to_t.len > 0;
    case T_LOST:
        return t_live && t_waits(m) && !m->t_listening && m->to_t.len == 0 && m->to_t.closed &&
               m->t.state != SWITCH_DST_LISTENING && m->t.state != SWITCH_DST_FILLING;
    case T_LISTEN: /* IN_DOUBT and NEVER: the handler runs the engine again */
        return m->t_up && m->t_over && !m->t_listening && m->t_exists &&
               (m->t.state == SWITCH_DST_IN_DOUBT || m->t.state == SWITCH_DST_NEVER);
    case T_CLEAN: /* the object says that the source has failed */
        return m->t_up && m->failed && m->t_exists && m->dj != DJ_COMMITTED && m->dj != DJ_NONE &&
               (m->t_over || m->t_listening);
    case S_HEARS: /* targetNodeDomainDetected */
        return m->s_up && (m->s_asking || m->s.state == SWITCH_SRC_SERVING) && !m->s_over &&
               m->t_up && m->dj == DJ_COMMITTED && m->t_over && m->missing == 0;
    case S_CRASH:
        return m->s_up;
    case T_CRASH:
        /* Left out on purpose: the incoming guest dies and, between the record of COMMIT and the
         * failed resume, its handler too. No journal can tell then whether it ever ran. */
        return m->t_up && !(m->dj == DJ_COMMITTED && !m->t_alive && !m->ever_ran_at_target);
    case CUT:
        return m->s_connected || m->t_connected;
    case S_TROUBLE:
        return s_live && (m->s.state == SWITCH_SRC_COPYING || s_waits(m) ||
                          m->s.state == SWITCH_SRC_SENDING || m->s.state == SWITCH_SRC_PAUSING ||
                          m->s.state == SWITCH_SRC_COMMITTING);
    case T_TROUBLE:
        return t_live && m->t.state != SWITCH_DST_RESUMING && !m->t_listening &&
               !switch_target_final(m->t.state) &&
               !(m->t.state == SWITCH_DST_DENYING && m->dj == DJ_COMMITTED) /* as for T_CRASH */;
    case KILL_GUEST: /* while it waits; one that ran and died is another story */
        return m->t_alive && !m->ever_ran_at_target && (m->dj != DJ_COMMITTED || m->t_up);
    case S_RESTART:
        return !m->s_up;
    case T_RESTART:
        return !m->t_up;
    case STEPS:
        break;
    }
    return false;
}

static void
perform(struct sim *m, enum step step)
{
    static const char *const names[STEPS] = {
        "source acts",         "source receives", "source notices the loss", "source asks",
        "target acts",         "target receives", "target notices the loss", "target listens again",
        "target cleans up",    "source serves",   "a page arrives",          "dialled again",
        "source gives up",     "target gives up", "source hears of it",      "SOURCE CRASHES",
        "TARGET CRASHES",      "LINK CUT",        "SOURCE TROUBLE",          "TARGET TROUBLE",
        "INCOMING GUEST DIES", "source restarts", "target restarts"};

    if (step >= S_CRASH && step <= KILL_GUEST)
        m->faults--;
    switch (step) {
    case S_ACT:
        s_act(m);
        break;
    case S_RECV:
        s_receive(m);
        break;
    case S_LOST:
        if (m->s.state == SWITCH_SRC_COPYING || m->s.state == SWITCH_SRC_SENDING)
            s_event(m, SWITCH_EV_LOST);
        else
            s_event(m, SWITCH_EV_TROUBLE);
        break;
    case S_GIVES_UP:
    case S_TROUBLE:
        s_event(m, SWITCH_EV_TROUBLE);
        break;
    case S_SERVE:
        m->s_connected = m->t_connected = true;
        m->to_s = m->to_t = (struct pipe){0};
        break;
    case PAGE:
        m->missing--;
        break;
    case REDIAL:
        m->s_connected = m->t_connected = true;
        m->to_s = m->to_t = (struct pipe){0};
        s_event(m, SWITCH_EV_DONE);
        t_event(m, SWITCH_EV_DONE);
        break;
    case S_ASK:
        s_ask(m);
        break;
    case T_ACT:
        t_act(m);
        break;
    case T_RECV:
        t_receive(m);
        break;
    case T_LOST:
        t_event(m, m->t.state == SWITCH_DST_RECEIVING ? SWITCH_EV_LOST : SWITCH_EV_TROUBLE);
        break;
    case T_GIVES_UP:
    case T_TROUBLE:
        t_event(m, SWITCH_EV_TROUBLE);
        break;
    case T_LISTEN:
        t_recover(m);
        break;
    case T_CLEAN:
        throw_away(m);
        m->t_listening = m->t_connected = false;
        m->t_over = true;
        break;
    case S_HEARS:
        m->s.state = SWITCH_SRC_MOVED;
        m->s_asking = false;
        break;
    case S_CRASH:
        s_crash(m);
        break;
    case T_CRASH:
        t_crash(m);
        break;
    case CUT:
        cut(m);
        break;
    case KILL_GUEST:
        m->t_alive = false;
        break;
    case S_RESTART:
        s_restart(m);
        break;
    case T_RESTART:
        t_recover(m);
        break;
    case STEPS:
        break;
    }
    note(m, names[step]);
    check(m);
}

static void
begin(struct sim *m, uint64_t seed, int faults)
{
    *m = (struct sim){.faults = faults,
                      .s_up = true,
                      .s_running = true,
                      .s_exists = true,
                      .s_connected = true,
                      .t_up = true,
                      .t_exists = true,
                      .t_alive = true,
                      .t_connected = true,
                      .s = {.state = SWITCH_SRC_COPYING},
                      .t = {.state = SWITCH_DST_RECEIVING}};
    rng_seed(&m->rng, seed);
    m->post = seed % 2;
}

/* Random steps; faults only in the first part. Then the end must be good. */
static void
play(struct sim *m, int fault_steps)
{
    for (int i = 0; i < MAX_STEPS; i++) {
        enum step can[STEPS];
        unsigned n = 0;

        bool faults = i < fault_steps && rng_below(&m->rng, 6) == 0;

        for (int s = 0; s < STEPS; s++) {
            if (possible(m, (enum step)s, faults) && (!faults || (s >= S_CRASH && s <= KILL_GUEST)))
                can[n++] = (enum step)s;
        }
        if (n == 0 && faults)
            continue;
        if (n == 0)
            break;
        perform(m, can[rng_below(&m->rng, n)]);
    }
}

static void
check_end(const struct sim *m, uint64_t seed)
{
    if (m->s_running == m->t_running)
        fail_msg("seed %llu: source %s, target %s", (unsigned long long)seed,
                 m->s_running ? "runs" : "does not run", m->t_running ? "runs" : "does not run");
    if (m->t_running) {
        assert_true(m->sj == SJ_MOVED && !m->s_exists && m->missing == 0);
    } else {
        assert_true(m->s_exists && m->failed);
        assert_true(m->dj == DJ_NONE || !m->t_exists);
    }
}

static void
test_seeds(void **state)
{
    unsigned at_source = 0, at_target = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim m;

        begin(&m, seed, (int)(seed % 5));
        play(&m, 60);
        check_end(&m, seed);
        at_source += m.s_running;
        at_target += m.t_running;
    }
    /* the simulation is worth something only if it goes both ways often */
    assert_true(at_source > SEEDS / 20 && at_target > SEEDS / 20);
    print_message("# %d schedules: %u ended at the source, %u at the target\n", SEEDS, at_source,
                  at_target);
}

/* Each fault at each step of the undisturbed course, alone and with a crash of the other side two
 * steps later. */
static void
test_each_fault_at_each_step(void **state)
{
    (void)state;
    for (int at = 0; at < 24; at++) {
        for (int fault = S_CRASH; fault <= KILL_GUEST; fault++) {
            for (int second = S_CRASH - 1; second <= T_CRASH; second++) {
                struct sim m;
                int i;

                begin(&m, (uint64_t)at * 1000 + (uint64_t)fault, 2);
                for (i = 0; i < 64; i++) {
                    enum step next = STEPS;

                    if (i == at && possible(&m, (enum step)fault, true))
                        next = (enum step)fault;
                    else if (i == at + 2 && second >= S_CRASH &&
                             possible(&m, (enum step)second, true))
                        next = (enum step)second;
                    for (int s = 0; s < STEPS && next == STEPS; s++) {
                        if (possible(&m, (enum step)s, false))
                            next = (enum step)s;
                    }
                    if (next == STEPS)
                        break;
                    perform(&m, next);
                }
                assert_true(i < 64);
                check_end(&m, (uint64_t)at);
            }
        }
    }
}

static void
test_undisturbed(void **state)
{
    struct sim m;

    (void)state;
    begin(&m, 1, 0);
    play(&m, 0);
    assert_true(m.t_running && !m.s_running);
    assert_int_equal(m.s.state, SWITCH_SRC_MOVED);
    assert_int_equal(m.t.state, SWITCH_DST_RUNNING);
}

/* --- the tables --- */

static void
test_illegal_events_change_nothing(void **state)
{
    unsigned legal = 0, actions = 99;

    (void)state;
    for (int st = 0; st < SWITCH_SRC_COUNT; st++) {
        for (int ev = 0; ev < SWITCH_EV_COUNT; ev++) {
            struct switch_source m = {.state = (enum switch_source_state)st, .since_us = 5};
            int rc = switch_source_step(&m, (enum switch_event)ev, 9, &actions);

            if (rc == 0) {
                legal++;
                assert_false(switch_source_final((enum switch_source_state)st));
                assert_int_equal(m.since_us, 9);
            } else {
                assert_int_equal(rc, -EPROTO);
                assert_int_equal(m.state, st);
                assert_int_equal(m.since_us, 5);
            }
        }
    }
    assert_int_equal(legal, 26);
}

/* No way leads to a resume of the source once COMMIT may be out, but the target's NEVER. */
static void
test_committed_source_resumes_only_on_never(void **state)
{
    (void)state;
    for (int ev = 0; ev < SWITCH_EV_COUNT; ev++) {
        struct switch_source m = {.state = SWITCH_SRC_COMMITTED};
        unsigned actions = 0;

        if (switch_source_step(&m, (enum switch_event)ev, 1, &actions) == 0)
            assert_int_equal((actions & SWITCH_DO_RESUME) != 0, ev == SWITCH_EV_NEVER);
    }
}

static void
test_target_resumes_only_after_commit(void **state)
{
    (void)state;
    for (int st = 0; st < SWITCH_DST_COUNT; st++) {
        for (int ev = 0; ev < SWITCH_EV_COUNT; ev++) {
            struct switch_target m = {.state = (enum switch_target_state)st};
            unsigned actions = 0;

            if (switch_target_step(&m, (enum switch_event)ev, 1, &actions) == 0 &&
                (actions & SWITCH_DO_RESUME))
                assert_true(st == SWITCH_DST_COMMITTING && ev == SWITCH_EV_DONE);
        }
    }
}

static void
test_every_state_has_words_and_a_way_out(void **state)
{
    (void)state;
    for (int st = 0; st < SWITCH_SRC_COUNT; st++) {
        struct switch_source m = {.state = (enum switch_source_state)st};
        unsigned actions;

        assert_true(strlen(switch_source_text(m.state)) > 10 &&
                    strlen(switch_source_name(m.state)) > 3);
        if (!switch_source_final(m.state))
            assert_int_equal(switch_source_step(&m, SWITCH_EV_TROUBLE, 1, &actions), 0);
    }
    for (int st = 0; st < SWITCH_DST_COUNT; st++) {
        struct switch_target m = {.state = (enum switch_target_state)st};
        unsigned actions;

        assert_true(strlen(switch_target_text(m.state)) > 10 &&
                    strlen(switch_target_name(m.state)) > 3);
        if (!switch_target_final(m.state))
            assert_int_equal(switch_target_step(&m, SWITCH_EV_TROUBLE, 1, &actions), 0);
    }
    for (int ev = 0; ev < SWITCH_EV_COUNT; ev++)
        assert_non_null(switch_event_name((enum switch_event)ev));
}

static void
test_deadlines(void **state)
{
    struct switch_source m = {.state = SWITCH_SRC_COMMITTED, .since_us = 1000};

    (void)state;
    assert_int_equal(switch_source_deadline_us(&m), 1000 + 30000000);
    m.state = SWITCH_SRC_COPYING;
    assert_int_equal(switch_source_deadline_us(&m), 0);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_undisturbed),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_each_fault_at_each_step),
        cmocka_unit_test(test_illegal_events_change_nothing),
        cmocka_unit_test(test_committed_source_resumes_only_on_never),
        cmocka_unit_test(test_target_resumes_only_after_commit),
        cmocka_unit_test(test_every_state_has_words_and_a_way_out),
        cmocka_unit_test(test_deadlines),
    };

    return cmocka_run_group_tests_name("switch", tests, NULL, NULL);
}
