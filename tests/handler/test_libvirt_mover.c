/* Relayed migrations from end to end: both movers, the real relay over loopback and the gate, with a
 * libvirt of two hosts played by this file: what it does to the two copies of the guest is what
 * docs/decisions/0008-relay-commit.md has seen libvirt do. In every case exactly one copy runs at the
 * end, or the one that is left is paused because its user wants it so, and never do two run. */
#include "tests/handler/mover_world.h"

/* --- one migration --- */

static struct hv_ops ops = {
    .kind = HV_LIBVIRT, .memory_bytes = memory_bytes, .pause = guest_pause, .resume = guest_resume};
static struct lv_guest guests[2];

struct end {
    enum mig_outcome source;
    enum mig_cause cause;
    enum mig_target_outcome target;
    struct err err, target_err;
};

static void *
run_target(void *ctx)
{
    struct end *e = ctx;

    e->target = mover_relay.target_run(w.dst, &e->target_err);
    mover_relay.target_free(w.dst); /* nobody is there any more to be asked */
    return NULL;
}

static void
forget(const struct plan *plan)
{
    pthread_mutex_lock(&w.mu);
    memset(&w.dom, 0, sizeof w.dom);
    w.dom[SOURCE].there = true;
    w.dom[SOURCE].state = VIR_DOMAIN_RUNNING;
    w.two = w.aborted = w.asked_post_copy = false;
    w.began = w.committed = w.resumed_post_copy = false;
    w.recorded[0] = w.recorded[1] = 0;
    w.speed = 0;
    w.journal[0][0] = w.journal[1][0] = '\0';
    pthread_mutex_unlock(&w.mu);
    w.plan = *plan;
    if (plan->paused) {
        w.dom[SOURCE].state = VIR_DOMAIN_PAUSED;
        w.dom[SOURCE].reason = VIR_DOMAIN_PAUSED_USER;
    }
    fault_clear();
    if (plan->fault)
        fault_arm(plan->fault, NULL);
    ops.memory_bytes = plan->much ? much_memory : memory_bytes;
}

static void
source_config(struct mig_source_config *c, const char *address)
{
    *c = (struct mig_source_config){.ident = ident, .channels = 1, .commit = on_commit};
    snprintf(c->target_addr, sizeof c->target_addr, "%s", address);
}

static void *
cancel_when_it_began(void *ctx)
{
    pthread_mutex_lock(&w.mu);
    while (!w.began)
        pthread_cond_wait(&w.cond, &w.mu);
    pthread_mutex_unlock(&w.mu);
    assert_true(mover_relay.source_cancel(ctx));
    return NULL;
}

/* 5.5 MiB/s at first, which is 6 in libvirt's unit; then a user changes it, and takes it away. */
static void *
change_limit_and_cancel(void *ctx)
{
    static const struct {
        uint64_t want, then;
    } steps[] = {{6, 9u << 20}, {9, 0}, {INT64_MAX >> 20, 0}};

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        pthread_mutex_lock(&w.mu);
        while (w.speed != steps[i].want)
            pthread_cond_wait(&w.cond, &w.mu);
        pthread_mutex_unlock(&w.mu);
        mover_relay.source_set_bandwidth(ctx, steps[i].then);
    }
    assert_true(mover_relay.source_cancel(ctx));
    return NULL;
}

static void *
stop_target_when_it_began(void *ctx)
{
    (void)ctx;
    pthread_mutex_lock(&w.mu);
    while (!w.began)
        pthread_cond_wait(&w.cond, &w.mu);
    pthread_mutex_unlock(&w.mu);
    mover_relay.target_stop(w.dst);
    return NULL;
}

struct row {
    const char *name;
    struct plan plan;
    bool post_copy, at_once, cancel, stop_target, resolve, limited;
    enum mig_outcome source;
    enum mig_cause cause;
    enum mig_target_outcome target;
    int runs_at; /* -1: nowhere, and it is whole and paused at paused_at */
    int paused_at;
    const char *says;
};

static const struct row rows[] = {
    {"it moves", {0}, .source = MIG_MOVED, .target = MIG_TARGET_RUNNING, .runs_at = TARGET},
    {"libvirt is not done with what a handler before has begun",
     {.old_job = 5},
     .source = MIG_MOVED,
     .target = MIG_TARGET_RUNNING,
     .runs_at = TARGET},
    {"paused by its user: it stays so",
     {.paused = true},
     .source = MIG_MOVED,
     .target = MIG_TARGET_RUNNING,
     .runs_at = -1,
     .paused_at = TARGET},
    {"no room at the target",
     {.much = true},
     .source = MIG_FAILED,
     .cause = MIG_CAUSE_GUEST,
     .target = MIG_TARGET_FAILED,
     .runs_at = SOURCE,
     .says = "NotEnoughMemory"},
    {"the target's libvirt cannot finish",
     {.refuse = true},
     .source = MIG_FAILED,
     .cause = MIG_CAUSE_GUEST,
     .target = MIG_TARGET_FAILED,
     .runs_at = SOURCE,
     .says = "migration failed"},
    {"PREPARED cannot be recorded",
     {.fail_prepared = true},
     .source = MIG_FAILED,
     .cause = MIG_CAUSE_PEER,
     .target = MIG_TARGET_FAILED,
     .runs_at = SOURCE,
     .says = "the disk is full"},
    {"the guest is not whole there",
     {.fault = "dst.state:error"},
     .source = MIG_FAILED,
     .cause = MIG_CAUSE_PEER,
     .target = MIG_TARGET_FAILED,
     .runs_at = SOURCE,
     .says = "not whole"},
    {"the commit cannot be recorded",
     {.fail_commit = true},
     .source = MIG_FAILED,
     .cause = MIG_CAUSE_LOCAL,
     .target = MIG_TARGET_ABORTED,
     .runs_at = SOURCE,
     .says = "the disk is full"},
    {"nor at that fault point",
     {.fault = "src.prepared:error"},
     .source = MIG_FAILED,
     .cause = MIG_CAUSE_LOCAL,
     .target = MIG_TARGET_ABORTED,
     .runs_at = SOURCE,
     .says = "fault point"},
    {"cancelled",
     {.stays = true},
     .cancel = true,
     .source = MIG_FAILED,
     .cause = MIG_CAUSE_CANCELLED,
     .target = MIG_TARGET_FAILED,
     .runs_at = SOURCE,
     .says = "cancelled"},
    {"its limit changes; cancelled",
     {.stays = true},
     .limited = true,
     .source = MIG_FAILED,
     .cause = MIG_CAUSE_CANCELLED,
     .target = MIG_TARGET_FAILED,
     .runs_at = SOURCE},
    {"the target's handler ends",
     {.stays = true},
     .stop_target = true,
     .source = MIG_FAILED,
     .cause = MIG_CAUSE_PEER,
     .target = MIG_TARGET_FAILED,
     .runs_at = SOURCE},
    {"COMMIT is lost: the target is asked",
     {.fault = "dst.commit.received:error"},
     .resolve = true,
     .source = MIG_MOVED,
     .target = MIG_TARGET_RUNNING,
     .runs_at = TARGET},
    {"libvirt gives up while its answer is held: it runs on here",
     {.gives_up = true},
     .resolve = true,
     .source = MIG_FAILED,
     .target = MIG_TARGET_FAILED,
     .runs_at = SOURCE},
    {"post-copy is allowed and not needed",
     {0},
     .post_copy = true,
     .source = MIG_MOVED,
     .target = MIG_TARGET_RUNNING,
     .runs_at = TARGET},
    {"post-copy is wanted at once, and it ends by itself",
     {0},
     .post_copy = true,
     .at_once = true,
     .source = MIG_MOVED,
     .target = MIG_TARGET_RUNNING,
     .runs_at = TARGET},
    {"post-copy",
     {.stays = true},
     .post_copy = true,
     .at_once = true,
     .source = MIG_MOVED,
     .target = MIG_TARGET_RUNNING,
     .runs_at = TARGET},
    {"post-copy: all is there before libvirt is done",
     {.stays = true, .slow = true},
     .post_copy = true,
     .at_once = true,
     .source = MIG_MOVED,
     .target = MIG_TARGET_RUNNING,
     .runs_at = TARGET},
    {"post-copy: all is there, and libvirt here never hears of it",
     {.stays = true, .unsaid = true},
     .post_copy = true,
     .at_once = true,
     .source = MIG_MOVED,
     .target = MIG_TARGET_RUNNING,
     .runs_at = TARGET},
    {"post-copy breaks, and goes on",
     {.stays = true, .breaks = true},
     .post_copy = true,
     .at_once = true,
     .source = MIG_MOVED,
     .target = MIG_TARGET_RUNNING,
     .runs_at = TARGET},
};

static void
one(const struct row *r)
{
    struct mig_target_config tc = {.ident = ident,
                                   .listen_ip = "127.0.0.1",
                                   .prepared = on_prepared,
                                   .committed = on_committed,
                                   .never = on_never};
    struct mig_source_config sc;
    struct mig_stats st;
    pthread_t target, other;
    struct end e = {0};

    print_message("%s\n", r->name);
    forget(&r->plan);
    assert_int_equal(mover_relay.target_new(&tc, &guests[TARGET].head, &w.dst, &e.target_err), 0);
    source_config(&sc, mover_relay.target_address(w.dst));
    sc.policy.allow_post_copy = r->post_copy;
    sc.policy.post_copy_at_once = r->at_once;
    sc.limits.bandwidth_bytes_per_s = r->limited ? 11u << 19 : 0;
    w.src = mover_relay.source_new(&sc, &guests[SOURCE].head);
    assert_int_equal(pthread_create(&target, NULL, run_target, &e), 0);
    if (r->cancel)
        pthread_create(&other, NULL, cancel_when_it_began, w.src);
    if (r->limited)
        pthread_create(&other, NULL, change_limit_and_cancel, w.src);
    if (r->stop_target)
        pthread_create(&other, NULL, stop_target_when_it_began, NULL);
    e.source = mover_relay.source_run(w.src, &e.cause, &e.err);
    if (r->cancel || r->stop_target || r->limited)
        pthread_join(other, NULL);
    mover_relay.source_stats(w.src, &st);
    mover_relay.source_free(w.src);
    if (r->resolve) {
        assert_int_equal(e.source, MIG_UNKNOWN);
        assert_string_equal(w.journal[SOURCE], "committed");
        e.source = mover_relay.source_resolve(&sc, &guests[SOURCE].head, &e.err);
    } else if (e.cause != r->cause) {
        fail_msg("%s: cause %d: %s", r->name, e.cause, err_msg(&e.err));
    }
    pthread_join(target, NULL);
    if (e.source != r->source || e.target != r->target)
        fail_msg("%s: source %d (%s), target %d (%s)", r->name, e.source, err_msg(&e.err), e.target,
                 err_msg(&e.target_err));
    if (r->says && !strstr(err_msg(&e.err), r->says))
        fail_msg("%s: '%s'", r->name, err_msg(&e.err));
    assert_false(w.two);
    for (int side = SOURCE; side <= TARGET; side++) {
        bool is_there = r->runs_at == side || (r->runs_at < 0 && r->paused_at == side);

        assert_int_equal(runs(side), r->runs_at == side);
        if (side == TARGET || !r->plan.unsaid) /* else the driver's to remove */
            assert_int_equal(w.dom[side].there, is_there);
    }
    if (r->source == MIG_MOVED)
        assert_string_equal(w.journal[TARGET], "running");
    if (w.began && !r->at_once && !w.aborted && w.recorded[TARGET])
        assert_true(w.finish_flags & VIR_MIGRATE_PAUSED); /* also where it could not be asked for */
    assert_int_equal((w.flags & VIR_MIGRATE_PAUSED) != 0,
                     w.began ? !r->post_copy : (w.flags & VIR_MIGRATE_PAUSED) != 0);
    if (r->at_once && r->plan.stays)
        assert_int_equal(st.mode, MIG_MODE_POSTCOPY);
    assert_int_equal(w.resumed_post_copy, r->plan.breaks);
    assert_true(r->limited || w.speed == 0);
}

static void
test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        one(&rows[i]);
}

/* --- a peer that is not what it should be --- */

static struct {
    struct relay_target *t;
    const char *how;
} hostile;

static void
answer_badly(void *ctx, const void *msg, size_t len)
{
    AUTO_SB struct sb out = SB_INIT;
    struct relay_msg m = {.type = RELAY_MSG_READY, .generation = GENERATION};

    (void)ctx;
    (void)msg;
    (void)len;
    snprintf(m.directory, sizeof m.directory, "/x");
    if (strcmp(hostile.how, "rubbish") == 0) {
        (void)relay_target_send(hostile.t, "\xff\xff\xff\xff", 4, NULL);
        return;
    }
    if (strcmp(hostile.how, "another generation") == 0)
        m.generation++;
    if (strcmp(hostile.how, "out of turn") == 0)
        m.type = RELAY_MSG_CHECK, m.memory_bytes = 1, memcpy(m.data_path, "/x", 3);
    relay_msg_encode(&m, &out);
    (void)relay_target_send(hostile.t, out.buf, out.len, NULL);
}

static void
nothing_broken(void *ctx, enum relay_kind kind, const struct err *err)
{
    (void)ctx;
    (void)kind;
    (void)err;
}

static void
test_hostile_target(void **state)
{
    static const char *const how[] = {"rubbish", "another generation", "out of turn"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(how); i++) {
        struct relay_target_config c = {.ident = ident,
                                        .listen_ip = "127.0.0.1",
                                        .rpc_path = "/nowhere",
                                        .data_path = "/nowhere",
                                        .message = answer_badly,
                                        .broken = nothing_broken};
        struct mig_source_config sc;
        enum mig_cause cause;
        struct err err = {0};

        forget(&(const struct plan){0});
        hostile.how = how[i];
        assert_int_equal(relay_target_new(&c, &hostile.t, &err), 0);
        source_config(&sc, relay_target_address(hostile.t));
        w.src = mover_relay.source_new(&sc, &guests[SOURCE].head);
        assert_int_equal(mover_relay.source_run(w.src, &cause, &err), MIG_FAILED);
        if (cause != MIG_CAUSE_PROTOCOL)
            fail_msg("%s: cause %d: %s", how[i], cause, err_msg(&err));
        mover_relay.source_free(w.src);
        relay_target_free(hostile.t);
        assert_true(runs(SOURCE));
        assert_false(w.began);
    }
}

static void
no_message(void *ctx, const void *msg, size_t len)
{
    (void)ctx;
    (void)msg;
    (void)len;
}

/* COMMIT or FINISH of a source that has not done what comes before: nothing is recorded, nothing runs. */
static void
test_hostile_source(void **state)
{
    static const enum relay_msg_type first[] = {RELAY_MSG_COMMIT, RELAY_MSG_FINISH,
                                                RELAY_MSG_QUESTION, RELAY_MSG_RUNNING};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(first); i++) {
        struct mig_target_config tc = {.ident = ident,
                                       .listen_ip = "127.0.0.1",
                                       .prepared = on_prepared,
                                       .committed = on_committed,
                                       .never = on_never};
        struct relay_source_config c = {
            .ident = tc.ident, .message = no_message, .broken = nothing_broken};
        struct relay_msg m = {.type = first[i], .generation = GENERATION};
        AUTO_SB struct sb out = SB_INIT;
        struct relay_source *peer;
        enum mig_cause cause;
        pthread_t target;
        struct end e = {0};

        forget(&(const struct plan){0});
        assert_int_equal(mover_relay.target_new(&tc, &guests[TARGET].head, &w.dst, &e.target_err),
                         0);
        assert_int_equal(pthread_create(&target, NULL, run_target, &e), 0);
        snprintf(c.target_addr, sizeof c.target_addr, "%s", mover_relay.target_address(w.dst));
        snprintf(c.rpc_path, sizeof c.rpc_path, LV_MIGRATE_DIR "/%s.rpc", ident.migration_uid);
        snprintf(c.data_path, sizeof c.data_path, LV_MIGRATE_DIR "/%s.sock", ident.migration_uid);
        if (relay_source_new(&c, &peer, &cause, &e.err) != 0)
            fail_msg("%s", err_msg(&e.err));
        relay_msg_encode(&m, &out);
        assert_int_equal(relay_source_send(peer, out.buf, out.len, &e.err), 0);
        pthread_join(target, NULL);
        relay_source_free(peer);
        assert_int_equal(e.target, MIG_TARGET_FAILED);
        assert_non_null(strstr(err_msg(&e.target_err), "out of turn"));
        assert_string_equal(w.journal[TARGET], "");
        assert_false(runs(TARGET));
    }
}

static int
set_up(void **state)
{
    const struct libvirt_api *api = libvirt_api(NULL);
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct err err = {0};
    char *slash, uri[256];
    pthread_t thread;

    (void)state;
    if (!api) {
        print_message("skipped: no libvirt library\n");
        exit(77);
    }
    if (lv_make_dir(&err) != 0 || access(LV_MIGRATE_DIR, W_OK) != 0) {
        print_message("skipped: %s cannot be written\n", LV_MIGRATE_DIR);
        exit(77);
    }
    snprintf(ident.migration_uid, sizeof ident.migration_uid, "test-mover-%d", (int)getpid());
    slash = strrchr(socket_path, '/');
    *slash = '\0';
    assert_non_null(mkdtemp(socket_path));
    *slash = '/';
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", socket_path);
    w.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(w.listen_fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(w.listen_fd, 4), 0);
    assert_int_equal(pthread_create(&thread, NULL, run_libvirtd, NULL), 0);
    pthread_detach(thread);
    real = table = *api;
    table.virConnectOpen = fake_open;
    table.virDomainLookupByUUID = fake_lookup;
    table.virDomainFree = fake_nothing;
    table.virDomainRef = fake_nothing;
    table.virDomainGetState = fake_state;
    table.virDomainResume = fake_resume;
    table.virDomainSuspend = fake_suspend;
    table.virDomainDestroy = fake_destroy;
    table.virDomainUndefineFlags = fake_undefine;
    table.virDomainGetXMLDesc = fake_xml;
    table.virDomainAbortJob = fake_abort;
    table.virDomainMigrateStartPostCopy = fake_post_copy;
    table.virDomainMigrateSetMaxDowntime = fake_max_downtime;
    table.virDomainMigrateSetMaxSpeed = fake_max_speed;
    table.virDomainMigrateToURI3 = fake_migrate;
    table.virDomainGetJobStats = fake_job;
    table.virGetLastError = fake_last_error;
    libvirt_api_replace(&table);
    for (int side = SOURCE; side <= TARGET; side++) {
        snprintf(uri, sizeof uri, side == SOURCE ? "test:///default" : "test:///default?socket=%s",
                 socket_path);
        struct libvirt_config c = {.uri = uri};

        guests[side] =
            (struct lv_guest){.head = {.ops = &ops, .mover = &mover_relay}, .side = side};
        assert_int_equal(libvirt_new(&c, &guests[side].lv, &err), 0);
        virConnectPtr conn = libvirt_wait(guests[side].lv, 10000000, &err);

        if (!conn)
            fail_msg("%s", err_msg(&err));
        real.virConnectClose(conn);
    }
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    for (int side = SOURCE; side <= TARGET; side++)
        libvirt_free(guests[side].lv);
    shutdown(w.listen_fd, SHUT_RDWR);
    (void)unlink(socket_path);
    *strrchr(socket_path, '/') = '\0';
    (void)rmdir(socket_path);
    return 0;
}

/* Whoever wants RDMA hears why a relay does not use it; who leaves it open misses nothing. */
static void
test_wants_rdma(void **state)
{
    static const struct {
        enum mig_transport wanted;
        const char *why;
    } asked[] = {{MIG_TRANSPORT_RDMA, "relayed over TCP"},
                 {MIG_TRANSPORT_AUTO, NULL},
                 {MIG_TRANSPORT_TCP, NULL}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        struct mig_source_config c;
        struct mover_source *s;
        struct mig_stats st;

        source_config(&c, "127.0.0.1:1");
        c.policy.transport = asked[i].wanted;
        s = mover_relay.source_new(&c, NULL);
        mover_relay.source_stats(s, &st);
        mover_relay.source_free(s);
        if (asked[i].why)
            assert_non_null(strstr(st.transport_why, asked[i].why));
        else
            assert_string_equal(st.transport_why, "");
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_hostile_target),
        cmocka_unit_test(test_hostile_source),
        cmocka_unit_test(test_wants_rdma),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
