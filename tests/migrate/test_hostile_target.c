/* A source against targets that lie, stumble or fall silent: a clear error with the right cause,
 * soon, and the guest runs on as if nothing had been. After COMMIT nothing but the truth ends the
 * doubt. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/migrate/wire_peer.h"

#define MIB (1u << 20)

static const struct fake_config small = {
    {8 * MIB}, .seed = 51, .fill_pages = 2048, .set_pages = 500, .pages_per_s = 2000};

/* --- lies, each in the target's thread --- */

static bool
closes_at_once(struct wire_peer *w)
{
    return wire_target_accept(w);
}
static bool
garbage(struct wire_peer *w)
{
    return wire_target_accept(w) && wire_send(w->ctl, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
}
static bool
silent(struct wire_peer *w)
{
    return wire_target_accept(w) && wire_closed(w->ctl);
}
static bool
half_a_header(struct wire_peer *w)
{
    return wire_target_accept(w) && wire_send(w->ctl, "DRVC", 4) && wire_closed(w->ctl);
}
static bool
huge_message(struct wire_peer *w)
{
    static const uint8_t head[CONTROL_HEADER_SIZE] = {'D', 'R', 'V', 'C', 1, 0,
                                                      2,   0,   0,   0,   0, 0x7f};

    return wire_target_accept(w) && wire_send(w->ctl, head, sizeof head) && wire_closed(w->ctl);
}
static bool
another_version(struct wire_peer *w)
{
    static const uint8_t head[CONTROL_HEADER_SIZE] = {'D', 'R', 'V', 'C', 2, 0, 2, 0};

    return wire_target_accept(w) && wire_send(w->ctl, head, sizeof head) && wire_closed(w->ctl);
}
static bool
another_generation(struct wire_peer *w)
{
    w->generation++;
    return wire_target_hello(w) && wire_closed(w->ctl);
}
static bool
refuses(struct wire_peer *w)
{
    struct control_msg m = {.type = CONTROL_ERROR,
                            .text = {.code = CONTROL_ERR_MEMORY, .text = "no room for it"}};

    return wire_target_accept(w) && wire_hear_type(w, CONTROL_HELLO) && wire_say(w, m);
}
static bool
accepts_other_channels(struct wire_peer *w)
{
    struct control_msg m = {.type = CONTROL_ACCEPT,
                            .accept = {.version = PROTO_VERSION, .channels = 7}};

    return wire_target_accept(w) && wire_hear_type(w, CONTROL_HELLO) && wire_say(w, m);
}
static bool
prepared_at_once(struct wire_peer *w)
{
    return wire_target_accept(w) && wire_hear_type(w, CONTROL_HELLO) &&
           wire_say_simple(w, CONTROL_PREPARED);
}
static bool
refuses_a_channel(struct wire_peer *w)
{
    return wire_target_hello(w) && wire_target_data(w, FRAME_ANSWER_OK) &&
           wire_target_data(w, FRAME_ANSWER_REFUSED);
}
static bool
silent_on_a_channel(struct wire_peer *w)
{
    struct pollfd p = {.fd = w->listen_fd, .events = POLLIN};

    return wire_target_hello(w) && poll(&p, 1, 10000) > 0 && wire_closed(w->ctl);
}
static bool
garbage_on_a_channel(struct wire_peer *w)
{
    struct pollfd p = {.fd = w->listen_fd, .events = POLLIN};
    bool ok;
    int fd;

    if (!wire_target_hello(w) || poll(&p, 1, 10000) <= 0)
        return false;
    fd = accept4(w->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    ok = wire_send(fd, "220 mail.example ESMTP", 22) && wire_closed(w->ctl);
    close(fd);
    return ok;
}
static bool
dead_after_the_handshake(struct wire_peer *w)
{
    return wire_target_up(w) && wire_closed(w->ctl);
}
static bool
closes_a_channel(struct wire_peer *w)
{
    return wire_target_up(w) && shutdown(w->data[1], SHUT_RDWR) == 0 && wire_closed(w->ctl);
}
static bool
closes_in_a_round(struct wire_peer *w)
{
    return wire_target_up(w) && wire_hear_type(w, CONTROL_ROUND_BEGIN);
}
static bool
error_in_a_round(struct wire_peer *w)
{
    struct control_msg m = {.type = CONTROL_ERROR,
                            .text = {.code = CONTROL_ERR_LOCAL, .text = "out of memory here"}};

    return wire_target_up(w) && wire_hear_type(w, CONTROL_ROUND_BEGIN) &&
           shutdown(w->data[0], SHUT_RDWR) == 0 && wire_say(w, m);
}
static bool
done_too_early(struct wire_peer *w)
{
    return wire_target_up(w) &&
           wire_say(w, (struct control_msg){.type = CONTROL_ROUND_DONE, .round_done.round = 1}) &&
           wire_closed(w->ctl);
}
static bool
done_with_another_round(struct wire_peer *w)
{
    return wire_target_up(w) && wire_target_drain_round(w) &&
           wire_say(w, (struct control_msg){.type = CONTROL_ROUND_DONE, .round_done.round = 2}) &&
           wire_closed(w->ctl);
}
static bool
asks_for_pages_outside(struct wire_peer *w)
{
    struct control_bad_run bad = {.offset = 1u << 30, .pages = 1};

    return wire_target_up(w) && wire_target_drain_round(w) &&
           wire_say(w,
                    (struct control_msg){.type = CONTROL_ROUND_DONE,
                                         .round_done = {.round = 1, .bad_len = 1, .bad = &bad}}) &&
           wire_closed(w->ctl);
}
static bool
running_before_commit(struct wire_peer *w)
{
    return wire_target_up(w) && wire_say_simple(w, CONTROL_RUNNING) && wire_closed(w->ctl);
}
static bool
never_before_commit(struct wire_peer *w)
{
    struct control_msg m = {.type = CONTROL_ANSWER, .text.code = CONTROL_GUEST_NEVER};

    return wire_target_up(w) && wire_say(w, m) && wire_closed(w->ctl);
}
static bool
sources_words(struct wire_peer *w)
{
    return wire_target_up(w) && wire_say_simple(w, CONTROL_COMMIT) && wire_closed(w->ctl);
}

/* Says ROUND_DONE to every round until FINISH. */
static bool
until_finish(struct wire_peer *w)
{
    AUTO_FREE uint8_t *buf = xmalloc((FRAME_MAX_RAW_PAGES + 8) * FAKE_PAGE);
    struct control_msg m;

    if (!wire_target_up(w))
        return false;
    while (wire_hear(w, &m)) {
        enum control_type t = m.type;
        uint32_t round = t == CONTROL_ROUND_BEGIN ? m.round_begin.round : 0;

        control_msg_done(&m);
        if (t == CONTROL_FINISH)
            return true;
        if (t != CONTROL_ROUND_BEGIN)
            continue; /* STATE */
        if (!wire_target_drain_data(w))
            return false;
        /* while paused, STATE comes before ROUND_END */
        do {
            if (!wire_hear(w, &m))
                return false;
            t = m.type;
            control_msg_done(&m);
        } while (t == CONTROL_STATE);
        if (!wire_say(w,
                      (struct control_msg){.type = CONTROL_ROUND_DONE, .round_done.round = round}))
            return false;
    }
    return false;
}
static bool
closes_at_finish(struct wire_peer *w)
{
    return until_finish(w);
}
static bool
error_at_finish(struct wire_peer *w)
{
    struct control_msg m = {
        .type = CONTROL_ERROR,
        .text = {.code = CONTROL_ERR_GUEST, .text = "cannot load the virtio thing"}};

    return until_finish(w) && wire_say(w, m);
}
static bool
silent_at_finish(struct wire_peer *w)
{
    return until_finish(w) && wire_closed(w->ctl);
}
static bool
running_instead_of_prepared(struct wire_peer *w)
{
    return until_finish(w) && wire_say_simple(w, CONTROL_RUNNING) && wire_closed(w->ctl);
}

/* --- after PREPARED --- */

static bool
until_commit(struct wire_peer *w)
{
    return until_finish(w) && wire_say_simple(w, CONTROL_PREPARED) &&
           wire_hear_type(w, CONTROL_COMMIT);
}
static bool
closes_at_commit(struct wire_peer *w)
{
    return until_commit(w);
}
static bool
silent_at_commit(struct wire_peer *w)
{
    return until_commit(w) && wire_closed(w->ctl);
}
static bool
garbage_at_commit(struct wire_peer *w)
{
    return until_commit(w) && wire_send(w->ctl, "................................", 32) &&
           wire_closed(w->ctl);
}
static bool
error_at_commit(struct wire_peer *w)
{
    struct control_msg m = {.type = CONTROL_ERROR,
                            .text = {.code = CONTROL_ERR_GUEST, .text = "it does not run"}};

    return until_commit(w) && wire_say(w, m);
}
static bool
prepared_again(struct wire_peer *w)
{
    return until_commit(w) && wire_say_simple(w, CONTROL_PREPARED) && wire_closed(w->ctl);
}
static bool
vague_at_commit(struct wire_peer *w)
{
    struct control_msg m = {.type = CONTROL_ANSWER, .text.code = CONTROL_GUEST_NOT_PREPARED};

    return until_commit(w) && wire_say(w, m) && wire_closed(w->ctl);
}
static bool
never_at_commit(struct wire_peer *w)
{
    struct control_msg m = {.type = CONTROL_ANSWER,
                            .text = {.code = CONTROL_GUEST_NEVER, .text = "gone"}};

    return until_commit(w) && wire_say(w, m);
}
static bool
runs_at_commit(struct wire_peer *w)
{
    return until_commit(w) && wire_say_simple(w, CONTROL_RUNNING);
}

static const struct lie {
    const char *name;
    bool (*tell)(struct wire_peer *w);
    enum mig_outcome outcome;
    enum mig_cause cause;
    const char *text;
    bool impatient; /* dead_peer_us 300 ms */
} lies[] = {
    {"closes at once", closes_at_once, MIG_FAILED, MIG_CAUSE_CONNECT,
     "control connection: ", false},
    {"speaks something else", garbage, MIG_FAILED, MIG_CAUSE_PROTOCOL, "not a drover stream",
     false},
    {"never answers", silent, MIG_FAILED, MIG_CAUSE_CONNECT, "no answer for", true},
    {"answers half a header", half_a_header, MIG_FAILED, MIG_CAUSE_CONNECT, "no answer for", true},
    {"a message of 2 GB", huge_message, MIG_FAILED, MIG_CAUSE_PROTOCOL, "at most", false},
    {"another version", another_version, MIG_FAILED, MIG_CAUSE_PROTOCOL, "version 2", false},
    {"another generation", another_generation, MIG_FAILED, MIG_CAUSE_PROTOCOL, "generation 8",
     false},
    {"refuses", refuses, MIG_FAILED, MIG_CAUSE_PEER, "no room for it", false},
    {"accepts other channels", accepts_other_channels, MIG_FAILED, MIG_CAUSE_PROTOCOL,
     "ACCEPT to HELLO", false},
    {"is prepared at once", prepared_at_once, MIG_FAILED, MIG_CAUSE_PROTOCOL, "PREPARED to HELLO",
     false},
    {"refuses a channel", refuses_a_channel, MIG_FAILED, MIG_CAUSE_CONNECT, "data channel 1",
     false},
    {"silent on a channel", silent_on_a_channel, MIG_FAILED, MIG_CAUSE_CONNECT,
     "data channel 0: no answer", true},
    {"garbage on a channel", garbage_on_a_channel, MIG_FAILED, MIG_CAUSE_PROTOCOL, "data channel 0",
     false},
    {"dead after the handshake", dead_after_the_handshake, MIG_FAILED, MIG_CAUSE_PEER,
     "nothing was heard from the target for 300 ms", true},
    {"closes a channel", closes_a_channel, MIG_FAILED, MIG_CAUSE_PEER, "data channel 1", false},
    {"closes in a round", closes_in_a_round, MIG_FAILED, MIG_CAUSE_PEER, "", false},
    {"an error in a round", error_in_a_round, MIG_FAILED, MIG_CAUSE_PEER, "out of memory here",
     false},
    {"a round done too early", done_too_early, MIG_FAILED, MIG_CAUSE_PROTOCOL,
     "ROUND_DONE out of turn", false},
    {"another round done", done_with_another_round, MIG_FAILED, MIG_CAUSE_PROTOCOL,
     "ROUND_DONE out of turn", false},
    {"asks for pages outside", asks_for_pages_outside, MIG_FAILED, MIG_CAUSE_PROTOCOL,
     "asks for region 0", false},
    {"runs before COMMIT", running_before_commit, MIG_FAILED, MIG_CAUSE_PROTOCOL,
     "RUNNING out of turn", false},
    {"NEVER before COMMIT", never_before_commit, MIG_FAILED, MIG_CAUSE_PROTOCOL,
     "ANSWER out of turn", false},
    {"a source's message", sources_words, MIG_FAILED, MIG_CAUSE_PROTOCOL, "COMMIT out of turn",
     false},
    {"closes at FINISH", closes_at_finish, MIG_FAILED, MIG_CAUSE_PEER, "", false},
    {"an error at FINISH", error_at_finish, MIG_FAILED, MIG_CAUSE_PEER,
     "cannot load the virtio thing", false},
    {"silent at FINISH", silent_at_finish, MIG_FAILED, MIG_CAUSE_PEER, "nothing was heard", true},
    {"runs instead of PREPARED", running_instead_of_prepared, MIG_FAILED, MIG_CAUSE_PROTOCOL,
     "RUNNING out of turn", false},
    {"closes at COMMIT", closes_at_commit, MIG_UNKNOWN, MIG_CAUSE_PEER, "", false},
    {"silent at COMMIT", silent_at_commit, MIG_UNKNOWN, MIG_CAUSE_PEER, "nothing was heard", true},
    {"garbage at COMMIT", garbage_at_commit, MIG_UNKNOWN, MIG_CAUSE_PROTOCOL, "not a drover stream",
     false},
    {"an error at COMMIT", error_at_commit, MIG_UNKNOWN, MIG_CAUSE_PEER, "it does not run", false},
    {"PREPARED again", prepared_again, MIG_UNKNOWN, MIG_CAUSE_PROTOCOL, "PREPARED out of turn",
     false},
    {"a vague answer at COMMIT", vague_at_commit, MIG_UNKNOWN, MIG_CAUSE_PROTOCOL,
     "ANSWER out of turn", false},
    {"NEVER at COMMIT", never_at_commit, MIG_FAILED, MIG_CAUSE_PEER, "lost the guest", false},
    {"runs", runs_at_commit, MIG_MOVED, MIG_CAUSE_NONE, "", false},
};

struct teller {
    struct wire_peer w;
    bool (*tell)(struct wire_peer *w);
    bool ok;
};

static void *
tell_main(void *arg)
{
    struct teller *t = arg;

    t->ok = t->tell(&t->w);
    wire_peer_done(&t->w);
    return NULL;
}

static void
test_lie(void **state)
{
    const struct lie *l = *state;
    struct fake_guest *g = fake_guest_new(&small, false);
    struct teller t = {.tell = l->tell};
    char addr[MIG_ADDR_SIZE];
    pthread_t thread;
    struct pair p;
    uint64_t began = clock_mono_us();

    pair_init(&p, g, NULL);
    if (l->impatient)
        p.src.dead_peer_us = 300000;
    wire_peer_init(&t.w, &p.src.ident, g, 2);
    assert_true(wire_target_listen(&t.w, addr));
    assert_int_equal(pthread_create(&thread, NULL, tell_main, &t), 0);
    pair_dial(&p, addr);
    pair_wait_source(&p);
    pthread_join(thread, NULL);
    if (p.src_outcome != l->outcome || p.cause != l->cause || !strstr(p.src_err.msg, l->text))
        fail_msg("outcome %d, cause %d: %s", p.src_outcome, p.cause, p.src_err.msg);
    assert_true(t.ok);
    assert_true(clock_mono_us() - began < 8000000);
    assert_true(l->outcome == MIG_MOVED || p.src_err.msg[0]);
    assert_int_equal(fake_guest_running(g), l->outcome == MIG_FAILED);
    assert_int_equal(p.src_committed, l->outcome != MIG_FAILED || l->tell == never_at_commit);
    assert_int_equal(fake_guest_uffds_open(g), 0);
    if (l->outcome == MIG_FAILED)
        fake_guest_wait_steps(g, fake_guest_steps(g) + 5);
    assert_int_equal(fake_guest_wrong_pages(g), 0);
    pair_done(&p);
    fake_guest_free(g);
}

/* --- a target that lives but does not read: sends block, and the clocks go on --- */

static bool
lives_but_does_not_read(struct wire_peer *w)
{
    struct pollfd p = {.fd = w->ctl, .events = POLLIN};
    uint64_t until = clock_mono_us() + 8000000, seq = 0;
    uint8_t buf[4096];

    if (!wire_target_up(w))
        return false;
    p.fd = w->ctl;
    while (clock_mono_us() < until) {
        if (!wire_say(w, (struct control_msg){.type = CONTROL_HEARTBEAT, .heartbeat_seq = ++seq}))
            return true;
        if (poll(&p, 1, 50) > 0 && recv(w->ctl, buf, sizeof buf, MSG_DONTWAIT) == 0)
            return true;
    }
    return false;
}

static void
stuck(struct mig_limits limits, enum mig_cause cause, bool cancel)
{
    struct fake_config c = {{64 * MIB}, .seed = 52, .fill_pages = 16384};
    struct fake_guest *g = fake_guest_new(&c, false);
    struct teller t = {.tell = lives_but_does_not_read};
    char addr[MIG_ADDR_SIZE];
    pthread_t thread;
    struct pair p;
    uint64_t began = clock_mono_us();

    pair_init(&p, g, NULL);
    p.src.limits = limits;
    wire_peer_init(&t.w, &p.src.ident, g, 2);
    assert_true(wire_target_listen(&t.w, addr));
    assert_int_equal(pthread_create(&thread, NULL, tell_main, &t), 0);
    pair_dial(&p, addr);
    if (cancel) {
        struct mig_stats st = {0};
        uint64_t last = 1;

        while (last == 0 || st.raw_pages != last || st.round == 0) { /* until nothing moves */
            last = st.raw_pages;
            poll(NULL, 0, 100);
            mig_source_stats(p.source, &st);
        }
        assert_true(mig_source_cancel(p.source));
    }
    pair_wait_source(&p);
    pthread_join(thread, NULL);
    assert_int_equal(p.src_outcome, MIG_FAILED);
    assert_int_equal(p.cause, cause);
    assert_true(t.ok);
    assert_true(clock_mono_us() - began < 8000000);
    assert_true(fake_guest_running(g));
    assert_int_equal(fake_guest_uffds_open(g), 0);
    pair_done(&p);
    fake_guest_free(g);
}

static void
test_completion_timeout_while_stuck(void **state)
{
    (void)state;
    stuck((struct mig_limits){.completion_timeout_us = 500000}, MIG_CAUSE_COMPLETION_TIMEOUT,
          false);
}

static void
test_progress_timeout_while_stuck(void **state)
{
    (void)state;
    stuck((struct mig_limits){.progress_timeout_us = 500000}, MIG_CAUSE_PROGRESS_TIMEOUT, false);
}

static void
test_cancel_while_stuck(void **state)
{
    (void)state;
    stuck((struct mig_limits){0}, MIG_CAUSE_CANCELLED, true);
}

/* --- resolve --- */

static bool
answer(struct wire_peer *w, int code)
{
    struct control_msg m = {.type = CONTROL_ANSWER, .text = {.code = code, .text = "as asked"}};

    return wire_target_accept(w) && wire_hear_type(w, CONTROL_QUESTION) && wire_say(w, m);
}
static bool
answers_running(struct wire_peer *w)
{
    return answer(w, CONTROL_GUEST_RUNNING);
}
static bool
answers_never(struct wire_peer *w)
{
    return answer(w, CONTROL_GUEST_NEVER);
}
static bool
answers_prepared(struct wire_peer *w)
{
    return answer(w, CONTROL_GUEST_PREPARED);
}
static bool
answers_not_prepared(struct wire_peer *w)
{
    return answer(w, CONTROL_GUEST_NOT_PREPARED);
}
static bool
answers_nonsense(struct wire_peer *w)
{
    return wire_target_accept(w) && wire_hear_type(w, CONTROL_QUESTION) &&
           wire_say_simple(w, CONTROL_PREPARED);
}
static bool
answers_of_another_generation(struct wire_peer *w)
{
    w->generation++;
    return answer(w, CONTROL_GUEST_NEVER);
}

static void
test_resolve(void **state)
{
    static const struct {
        const char *name;
        bool (*tell)(struct wire_peer *w);
        enum mig_outcome outcome;
        const char *text;
    } rows[] = {
        {"running", answers_running, MIG_MOVED, ""},
        {"never", answers_never, MIG_FAILED, "as asked"},
        {"prepared", answers_prepared, MIG_UNKNOWN, "cannot say"},
        {"not prepared", answers_not_prepared, MIG_UNKNOWN, "cannot say"},
        {"nonsense", answers_nonsense, MIG_UNKNOWN, "PREPARED to QUESTION"},
        {"another generation's NEVER", answers_of_another_generation, MIG_UNKNOWN, "generation"},
        {"garbage", garbage, MIG_UNKNOWN, "not a drover stream"},
        {"closes", closes_at_once, MIG_UNKNOWN, "control connection: "},
        {"silence", silent, MIG_UNKNOWN, "no answer"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fake_guest *g = fake_guest_new(&small, true);
        struct teller t = {.tell = rows[i].tell};
        pthread_t thread;
        struct pair p;
        struct err err = {0};
        enum mig_outcome got;

        pair_init(&p, NULL, NULL);
        p.src.dead_peer_us = 400000;
        wire_peer_init(&t.w, &p.src.ident, g, 2);
        assert_true(wire_target_listen(&t.w, p.src.target_addr));
        assert_int_equal(pthread_create(&thread, NULL, tell_main, &t), 0);
        got = mig_source_resolve(&p.src, &err);
        pthread_join(thread, NULL);
        if (got != rows[i].outcome || !strstr(err.msg, rows[i].text))
            fail_msg("%s: outcome %d: %s", rows[i].name, got, err.msg);
        fake_guest_free(g);
    }
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_completion_timeout_while_stuck),
        cmocka_unit_test(test_progress_timeout_while_stuck),
        cmocka_unit_test(test_cancel_while_stuck),
    };
    struct CMUnitTest tests[ARRAY_LEN(lies) + ARRAY_LEN(others) + 1] = {0};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(lies); i++)
        tests[n++] = (struct CMUnitTest){.name = lies[i].name,
                                         .test_func = test_lie,
                                         .initial_state = (void *)(uintptr_t)&lies[i]};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        tests[n++] = others[i];
    pair_skip_unless_supported(tests, n);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_resolve);
    return cmocka_run_group_tests_name("hostile target", tests, NULL, NULL);
}
