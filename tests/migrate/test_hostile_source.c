/* A target against sources that lie, stumble or fall silent, and against strangers at its door: a
 * clear error, memory outside of what it owns untouched, and the right source still gets in. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "proto/sum.h"
#include "proto/wire.h"
#include "tests/migrate/wire_peer.h"

#define MIB    (1u << 20)
#define STRIPE LAYOUT_STRIPE_BYTES

static const struct fake_config small = {{5 * MIB}, .seed = 41, .fill_pages = 1280};

/* --- lies in the stream: the peer is up, says ROUND_BEGIN 1, and then this --- */

static struct frame_header
batch(uint32_t runs, uint64_t bytes)
{
    return (struct frame_header){.type = FRAME_BATCH,
                                 .round = 1,
                                 .runs = runs,
                                 .pages = (uint32_t)(bytes / 4096),
                                 .bytes = bytes};
}

static bool
raw_run(struct wire_peer *w, uint32_t channel, struct frame_run run, uint64_t bytes)
{
    run.kind = run.kind ? run.kind : FRAME_RAW;
    return wire_frame(w, channel, batch(1, bytes), &run, NULL, 0);
}

static bool
bad_magic(struct wire_peer *w)
{
    uint8_t junk[FRAME_HEADER_SIZE] = "GET / HTTP/1.1\r\nHost: drover\r\n\r\n";

    return wire_send(w->data[0], junk, sizeof junk);
}
static bool
raw_header(struct wire_peer *w, size_t at, uint32_t value)
{
    const struct frame_run run = {.pages = 1, .kind = FRAME_RAW};
    struct frame_header h = batch(1, 4096);
    const uint64_t sums[1] = {0};
    uint8_t buf[FRAME_HEADER_SIZE + FRAME_RUN_SIZE + FRAME_SUM_SIZE];

    frame_encode(buf, &h, &run, sums);
    wire_put32(buf + at, value);
    return wire_send(w->data[0], buf, sizeof buf);
}
static bool
bad_version(struct wire_peer *w)
{
    return raw_header(w, 4, 0x00000107);
}
static bool
too_many_runs(struct wire_peer *w)
{
    return raw_header(w, 12, 1000000);
}
static bool
too_many_bytes(struct wire_peer *w)
{
    return raw_header(w, 16, 1u << 30);
}
static bool
bad_head_sum(struct wire_peer *w)
{
    return raw_header(w, 32, 1);
}
static bool
offset_outside(struct wire_peer *w)
{
    return raw_run(w, 0, (struct frame_run){.offset = 1u << 30, .pages = 1}, 4096);
}
static bool
offset_wraps(struct wire_peer *w)
{
    return raw_run(w, 0, (struct frame_run){.offset = UINT64_MAX - 4095, .pages = 2}, 8192);
}
static bool
run_over_the_end(struct wire_peer *w)
{
    return raw_run(w, 0, (struct frame_run){.offset = 5 * MIB - 4096, .pages = 2}, 8192);
}
static bool
no_such_region(struct wire_peer *w)
{
    return raw_run(w, 0, (struct frame_run){.region = 3, .pages = 1}, 4096);
}
static bool
another_channels_pages(struct wire_peer *w)
{
    return raw_run(w, 0, (struct frame_run){.offset = STRIPE, .pages = 1}, 4096);
}
static bool
another_channels_zeros(struct wire_peer *w)
{
    return raw_run(w, 1, (struct frame_run){.offset = 0, .pages = 9, .kind = FRAME_ZERO}, 0);
}
static bool
fewer_bytes_than_pages(struct wire_peer *w)
{
    return raw_run(w, 0, (struct frame_run){.pages = 4}, 4096);
}
static bool
round_2_first(struct wire_peer *w)
{
    return wire_page(w, 0, 2, 1);
}
static bool
frame_left_out(struct wire_peer *w)
{
    w->seq[0]++;
    return wire_page(w, 0, 1, 1);
}
static bool
frame_twice(struct wire_peer *w)
{
    bool ok = wire_page(w, 0, 1, 1);

    w->seq[0]--;
    return ok && wire_page(w, 0, 1, 1);
}
static bool
truncated_payload(struct wire_peer *w)
{
    const struct frame_run run = {.pages = 2, .kind = FRAME_RAW};
    struct frame_header h = batch(1, 8192);
    const uint64_t sums[2] = {0};
    uint8_t buf[FRAME_HEADER_SIZE + FRAME_RUN_SIZE + 5000] = {0};

    frame_encode(buf, &h, &run, sums);
    return wire_send(w->data[0], buf, sizeof buf) && shutdown(w->data[0], SHUT_WR) == 0;
}
static bool
truncated_header(struct wire_peer *w)
{
    return wire_send(w->data[0], "DRVP", 4) && shutdown(w->data[0], SHUT_WR) == 0;
}
static bool
channel_closed(struct wire_peer *w)
{
    return shutdown(w->data[1], SHUT_RDWR) == 0;
}
static bool
control_closed(struct wire_peer *w)
{
    return shutdown(w->ctl, SHUT_RDWR) == 0;
}
static bool
control_garbage(struct wire_peer *w)
{
    return wire_send(w->ctl, "................................", 32);
}
static bool
control_other_generation(struct wire_peer *w)
{
    w->generation++;
    return wire_say_simple(w, CONTROL_COMMIT);
}
static bool
commit_at_once(struct wire_peer *w)
{
    return wire_say_simple(w, CONTROL_COMMIT);
}
static bool
targets_words(struct wire_peer *w)
{
    return wire_say_simple(w, CONTROL_RUNNING);
}
static bool
second_hello(struct wire_peer *w)
{
    return wire_say(w, (struct control_msg){.type = CONTROL_HELLO, .hello = w->hello});
}
static bool
round_begins_twice(struct wire_peer *w)
{
    return wire_say(w, (struct control_msg){.type = CONTROL_ROUND_BEGIN, .round_begin.round = 2});
}
static bool
round_ends_with_other_figures(struct wire_peer *w)
{
    struct control_msg m = {
        .type = CONTROL_ROUND_END,
        .round_end = {.round = 1, .channels = 2, .totals = {{1, 1, 0}, {7, 1, 0}}}};
    bool ok = true;

    for (uint32_t i = 0; i < 2; i++)
        ok = ok && wire_page(w, i, 1, 1) &&
             wire_frame(w, i, (struct frame_header){.type = FRAME_ROUND_END, .round = 1}, NULL,
                        NULL, 0);
    return ok && wire_say(w, m);
}
static bool
round_ends_with_other_channels(struct wire_peer *w)
{
    return wire_say(w, (struct control_msg){.type = CONTROL_ROUND_END,
                                            .round_end = {.round = 1, .channels = 3}});
}
static bool
state_before_the_pause(struct wire_peer *w)
{
    uint8_t b[4] = {0};

    return wire_say(w, (struct control_msg){.type = CONTROL_STATE, .state = {.len = 4, .data = b}});
}
static bool
finish_before_the_pause(struct wire_peer *w)
{
    return wire_say(w, (struct control_msg){.type = CONTROL_FINISH, .finish.round = 1});
}
static bool
missing_unasked(struct wire_peer *w)
{
    uint64_t bits = 1;

    return wire_say(w, (struct control_msg){.type = CONTROL_MISSING,
                                            .missing = {.words = 1, .bits = &bits, .last = true}});
}
static bool
post_copy_without_missing(struct wire_peer *w)
{
    return wire_say(
        w, (struct control_msg){.type = CONTROL_FINISH, .finish = {.round = 1, .post_copy = true}});
}
static bool
pages_of_post_copy(struct wire_peer *w)
{
    struct frame_run r = {.offset = 0, .pages = 1, .kind = FRAME_RAW};

    return wire_frame(
        w, 0,
        (struct frame_header){
            .type = FRAME_PAGES, .round = 1, .runs = 1, .pages = 1, .bytes = FAKE_PAGE},
        &r, NULL, 0);
}
static bool
bye_at_once(struct wire_peer *w)
{
    return wire_say_simple(w, CONTROL_BYE);
}
static bool
abort_now(struct wire_peer *w)
{
    return wire_say(w, (struct control_msg){.type = CONTROL_ABORT, .text.text = "second thoughts"});
}

static bool
not_agreed_on(struct wire_peer *w)
{
    const struct frame_run run = {.pages = 1, .kind = FRAME_LZ4, .bytes = 100};
    struct frame_header h = batch(1, 4096);

    h.bytes = 100;
    return wire_frame(w, 0, h, &run, NULL, 0);
}

static bool
digests_while_it_runs(struct wire_peer *w)
{
    return wire_say(
        w, (struct control_msg){.type = CONTROL_DIGESTS, .digests = {.round = 1, .len = 0}});
}

static const struct lie {
    const char *name;
    bool (*tell)(struct wire_peer *w);
    const char *text;
    bool told; /* ERROR is sent back */
} lies[] = {
    {"not a page stream", bad_magic, "not a drover stream", true},
    {"wrong version", bad_version, "version 7", true},
    {"a million runs", too_many_runs, "1000000 runs", true},
    {"a gigabyte in a batch", too_many_bytes, "1073741824 bytes", true},
    {"bad header checksum", bad_head_sum, "bad checksum", true},
    {"offset outside of memory", offset_outside, "not inside", true},
    {"offset that wraps", offset_wraps, "not inside", true},
    {"run over the end of memory", run_over_the_end, "not inside", true},
    {"no such region", no_such_region, "not inside", true},
    {"pages of another channel", another_channels_pages, "belongs to channel 1, not 0", true},
    {"zeros for another channel's pages", another_channels_zeros, "belongs to channel 0, not 1",
     true},
    {"fewer bytes than pages", fewer_bytes_than_pages, "runs of 16384 bytes for 4 pages", true},
    {"a round too early", round_2_first, "round 2 where 1", true},
    {"a frame is missing", frame_left_out, "frame 1 where 0", true},
    {"a frame comes twice", frame_twice, "frame 0 where 1", true},
    {"payload cut off", truncated_payload, "closed the connection", false},
    {"header cut off", truncated_header, "closed the connection", false},
    {"a data channel closes", channel_closed, "closed the connection", false},
    {"the control connection closes", control_closed, "control connection: ", false},
    {"garbage for control", control_garbage, "not a drover stream", true},
    {"another generation", control_other_generation, "generation 8", true},
    {"COMMIT at once", commit_at_once, "COMMIT", true},
    {"a target's message", targets_words, "RUNNING", true},
    {"HELLO again", second_hello, "HELLO", true},
    {"a second round within the first", round_begins_twice, "ROUND_BEGIN out of turn", true},
    {"other figures than what came", round_ends_with_other_figures, "other pages than came", true},
    {"other channels than there are", round_ends_with_other_channels, "ROUND_END out of turn",
     true},
    {"state while the guest runs", state_before_the_pause, "STATE out of turn", true},
    {"FINISH while the guest runs", finish_before_the_pause, "FINISH out of turn", true},
    {"an encoding that was not agreed on", not_agreed_on, "unknown kind 4", true},
    {"digests while the guest runs", digests_while_it_runs, "DIGESTS out of turn", true},
    {"missing pages without post-copy", missing_unasked, "MISSING out of turn", true},
    {"post-copy without a word of what is missing", post_copy_without_missing, "FINISH out of turn",
     true},
    {"pages of post-copy in a round", pages_of_post_copy, "post-copy out of turn", true},
    {"BYE at once", bye_at_once, "BYE", true},
    {"ABORT", abort_now, "second thoughts", true},
};

/* Outside of memory there are guard pages of the test: nothing of it may change. */
static void
test_lie(void **state)
{
    const struct lie *l = *state;
    struct fake_guest *g = fake_guest_new(&small, true);
    struct control_msg m;
    struct wire_peer w;
    struct pair p;

    pair_init(&p, NULL, g);
    wire_peer_init(&w, &p.dst.ident, g, 2);
    pair_listen(&p);
    assert_true(wire_source_up(&w, mig_target_address(p.target)));
    assert_true(
        wire_say(&w, (struct control_msg){.type = CONTROL_ROUND_BEGIN, .round_begin.round = 1}));
    (void)l->tell(&w); /* the target may hang up before all of it is sent */
    if (l->told) {
        w.generation = p.dst.ident.generation;
        if (!wire_hear(&w, &m) || m.type != CONTROL_ERROR || !strstr(m.text.text, l->text))
            fail_msg("told: '%s'", m.type == CONTROL_ERROR ? m.text.text : "nothing");
    }
    pair_wait_target(&p);
    if (p.dst_outcome != MIG_TARGET_FAILED || !strstr(err_msg(&p.dst_err), l->text))
        fail_msg("outcome %d: %s", p.dst_outcome, err_msg(&p.dst_err));
    assert_false(p.dst_prepared);
    assert_false(fake_guest_running(g));
    wire_peer_done(&w);
    pair_done(&p);
    fake_guest_free(g);
}

/* --- lies at the end --- */

struct state_data {
    uint64_t magic, steps, seed;
};

static bool
say_state(struct wire_peer *w, struct state_data *s)
{
    return wire_say(
        w, (struct control_msg){.type = CONTROL_STATE,
                                .state = {.len = sizeof *s, .data = (uint8_t *)(void *)s}});
}

static bool
say_finish(struct wire_peer *w, uint32_t round, uint64_t bytes, uint64_t sum)
{
    return wire_say(w, (struct control_msg){
                           .type = CONTROL_FINISH,
                           .finish = {.round = round, .state_bytes = bytes, .state_sum = sum}});
}

static void
test_end_lies(void **state)
{
    static const struct {
        const char *name;
        uint32_t round;
        int64_t more_bytes, more_sum;
        bool more_pages, data_behind, bad_batch, state_gap;
        const char *text; /* NULL: it works */
    } rows[] = {
        {"the truth", 2, 0, 0, false, false, false, false, NULL},
        {"another round", 3, 0, 0, false, false, false, false, "FINISH out of turn"},
        {"the first round", 1, 0, 0, false, false, false, false, "FINISH out of turn"},
        {"more state than was sent", 2, 1, 0, false, false, false, false, "other device state"},
        {"another checksum of the state", 2, 0, 1, false, false, false, false,
         "other device state"},
        {"pages behind the last round", 2, 0, 0, true, false, false, false, NULL},
        {"a gap in the state", 2, 0, 0, false, false, false, true, "STATE out of turn"},
        {"bad checksums left", 2, 0, 0, false, false, true, false, "asked for again"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fake_guest *g = fake_guest_new(&small, true);
        struct state_data s = {0x6661b3573a7e0001ull, 0, 5};
        struct control_msg m = {0};
        struct wire_peer w;
        struct pair p;
        bool ok;

        pair_init(&p, NULL, g);
        wire_peer_init(&w, &p.dst.ident, g, 2);
        pair_listen(&p);
        assert_true(wire_source_up(&w, mig_target_address(p.target)) && wire_round(&w, 1, false));
        if (rows[i].bad_batch) {
            const struct frame_run run = {.pages = 1, .kind = FRAME_RAW};
            struct frame_header h = {
                .type = FRAME_BATCH, .round = 2, .runs = 1, .pages = 1, .bytes = 4096};
            struct control_msg e = {
                .type = CONTROL_ROUND_END,
                .round_end = {.round = 2, .channels = 2, .totals = {{2, 2, 0}, {1, 1, 0}}}};

            assert_true(
                wire_say(&w, (struct control_msg){.type = CONTROL_ROUND_BEGIN,
                                                  .round_begin = {.round = 2, .paused = true}}));
            assert_true(wire_frame(&w, 0, h, &run, NULL, 1));
            for (uint32_t c = 0; c < 2; c++)
                assert_true(wire_frame(&w, c,
                                       (struct frame_header){.type = FRAME_ROUND_END, .round = 2},
                                       NULL, NULL, 0));
            assert_true(wire_say(&w, e) && wire_hear(&w, &m));
            assert_int_equal(m.type, CONTROL_ROUND_DONE);
            assert_int_equal(m.round_done.bad_len, 1);
            assert_int_equal(m.round_done.bad[0].pages, 1);
            control_msg_done(&m);
        } else {
            assert_true(wire_round(&w, 2, true));
        }
        if (rows[i].state_gap)
            ok = wire_say(&w, (struct control_msg){
                                  .type = CONTROL_STATE,
                                  .state = {.offset = 9, .len = 8, .data = (uint8_t *)(void *)&s}});
        else
            ok = say_state(&w, &s);
        assert_true(ok);
        if (rows[i].more_pages) {
            /* a byte behind the last round: whether it is there when FINISH is checked, or comes
             * later, it must never get into the guest */
            assert_true(wire_page(&w, 0, 3, 0xee));
        }
        assert_true(say_finish(&w, rows[i].round, sizeof s + (uint64_t)rows[i].more_bytes,
                               sum_bytes(&s, sizeof s, 0) + (uint64_t)rows[i].more_sum));
        assert_true(wire_hear(&w, &m));
        if (rows[i].text) {
            if (m.type != CONTROL_ERROR || !strstr(m.text.text, rows[i].text))
                fail_msg("%s: %s", rows[i].name,
                         m.type == CONTROL_ERROR ? m.text.text : control_type_name(m.type));
        } else if (rows[i].more_pages) {
            assert_true(m.type == CONTROL_ERROR || m.type == CONTROL_PREPARED);
            assert_int_equal(g->regions[0].map[0], 2); /* of round 2, not 0xee */
            if (m.type == CONTROL_ERROR)
                assert_non_null(strstr(m.text.text, "pages behind FINISH"));
            else
                assert_true(
                    wire_say(&w, (struct control_msg){.type = CONTROL_ABORT, .text.text = "x"}));
        } else {
            assert_int_equal(m.type, CONTROL_PREPARED);
            assert_true(p.dst_prepared);
            assert_false(fake_guest_running(g));
            assert_true(wire_say_simple(&w, CONTROL_COMMIT) && wire_hear_type(&w, CONTROL_RUNNING));
            assert_true(p.dst_committed);
            assert_true(fake_guest_running(g));
            assert_int_equal(g->regions[0].map[0], 2);
            assert_int_equal(g->regions[0].map[STRIPE], 3);
        }
        control_msg_done(&m);
        pair_wait_target(&p);
        if (rows[i].text)
            assert_int_equal(p.dst_outcome, MIG_TARGET_FAILED);
        else if (!rows[i].more_pages)
            assert_int_equal(p.dst_outcome, MIG_TARGET_RUNNING);
        wire_peer_done(&w);
        pair_done(&p);
        fake_guest_free(g);
    }
}

/* PREPARED was said: whatever happens now, the target never runs without COMMIT, and does not throw
 * the guest away without ABORT. */
static void
test_after_prepared(void **state)
{
    static const struct {
        const char *name;
        int what; /* 0 close, 1 ABORT, 2 garbage, 3 RUNNING, 4 silence, 5 FINISH again */
        enum mig_target_outcome outcome;
    } rows[] = {
        {"the source vanishes", 0, MIG_TARGET_IN_DOUBT},
        {"ABORT", 1, MIG_TARGET_ABORTED},
        {"garbage", 2, MIG_TARGET_IN_DOUBT},
        {"nonsense", 3, MIG_TARGET_IN_DOUBT},
        {"silence", 4, MIG_TARGET_IN_DOUBT},
        {"FINISH again", 5, MIG_TARGET_IN_DOUBT},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fake_guest *g = fake_guest_new(&small, true);
        struct state_data s = {0x6661b3573a7e0001ull, 0, 5};
        struct wire_peer w;
        struct pair p;

        pair_init(&p, NULL, g);
        p.dst.dead_peer_us = rows[i].what == 4 ? 300000 : PAIR_PATIENT_US;
        wire_peer_init(&w, &p.dst.ident, g, 2);
        pair_listen(&p);
        assert_true(wire_source_up(&w, mig_target_address(p.target)) && wire_round(&w, 1, true) &&
                    say_state(&w, &s) && say_finish(&w, 1, sizeof s, sum_bytes(&s, sizeof s, 0)) &&
                    wire_hear_type(&w, CONTROL_PREPARED));
        if (rows[i].what == 0)
            wire_peer_done(&w);
        else if (rows[i].what == 1)
            wire_say(&w, (struct control_msg){.type = CONTROL_ABORT, .text.text = "no"});
        else if (rows[i].what == 2)
            wire_send(w.ctl, "0123456789012345678901234567890", 31);
        else if (rows[i].what == 3)
            wire_say_simple(&w, CONTROL_RUNNING);
        else if (rows[i].what == 5)
            say_finish(&w, 1, sizeof s, sum_bytes(&s, sizeof s, 0));
        pair_wait_target(&p);
        if (p.dst_outcome != rows[i].outcome)
            fail_msg("%s: outcome %d: %s", rows[i].name, p.dst_outcome, err_msg(&p.dst_err));
        assert_false(p.dst_committed);
        assert_false(fake_guest_running(g));
        wire_peer_done(&w);
        pair_done(&p);
        fake_guest_free(g);
    }
}

static void
test_silent_source(void **state)
{
    struct fake_guest *g = fake_guest_new(&small, true);
    struct wire_peer w;
    struct pair p;
    uint64_t began;

    (void)state;
    pair_init(&p, NULL, g);
    p.dst.dead_peer_us = 400000;
    wire_peer_init(&w, &p.dst.ident, g, 2);
    pair_listen(&p);
    assert_true(wire_source_up(&w, mig_target_address(p.target)));
    began = clock_mono_us();
    pair_wait_target(&p);
    assert_int_equal(p.dst_outcome, MIG_TARGET_FAILED);
    assert_non_null(strstr(err_msg(&p.dst_err), "nothing was heard from the source for 400 ms"));
    assert_true(clock_mono_us() - began < 5000000);
    wire_peer_done(&w);
    pair_done(&p);
    fake_guest_free(g);
}

static void
test_nobody_comes(void **state)
{
    struct fake_guest *g = fake_guest_new(&small, true);
    struct pair p;

    (void)state;
    pair_init(&p, NULL, g);
    p.dst.idle_timeout_us = 200000;
    pair_listen(&p);
    pair_wait_target(&p);
    assert_int_equal(p.dst_outcome, MIG_TARGET_FAILED);
    assert_non_null(strstr(err_msg(&p.dst_err), "no source came in time"));
    pair_done(&p);
    fake_guest_free(g);
}

/* --- at the door --- */

/* Strangers of every kind, many of them silent; then the real source, which is served at once and
 * in full. */
static void
test_strangers(void **state)
{
    struct fake_guest *a = fake_guest_new(&small, false), *b = fake_guest_new(&small, true);
    struct mig_ident wrong;
    struct control_msg m = {.type = CONTROL_HELLO};
    struct wire_peer w;
    struct pair p;
    int silent[40];
    uint64_t began;

    (void)state;
    pair_init(&p, a, b);
    pair_listen(&p);

    const char *addr = mig_target_address(p.target);

    /* garbage is hung up on */
    int fd = wire_connect(addr);

    assert_true(wire_send(fd, "SSH-2.0-OpenSSH_9.2p1\r\n", 23) && wire_closed(fd));
    close(fd);
    /* a first frame that would be too long */
    fd = wire_connect(addr);
    {
        uint8_t head[CONTROL_HEADER_SIZE] = {'D', 'R', 'V', 'C', 1, 0, 1, 0, 0, 0, 3, 0};

        assert_true(wire_send(fd, head, sizeof head) && wire_closed(fd));
        close(fd);
    }
    /* another migration: told so */
    wrong = p.dst.ident;
    snprintf(wrong.migration_uid, sizeof wrong.migration_uid, "other");
    wire_peer_init(&w, &wrong, b, 2);
    w.ctl = wire_connect(addr);
    m.hello = w.hello;
    assert_true(wire_say(&w, m) && wire_hear(&w, &m));
    assert_int_equal(m.type, CONTROL_ERROR);
    assert_int_equal(m.text.code, CONTROL_ERR_IDENT);
    wire_peer_done(&w);
    /* another generation */
    wrong = p.dst.ident;
    wrong.generation++;
    wire_peer_init(&w, &wrong, b, 2);
    m = (struct control_msg){.type = CONTROL_HELLO, .hello = w.hello};
    w.ctl = wire_connect(addr);
    assert_true(wire_say(&w, m) && wire_hear(&w, &m));
    assert_int_equal(m.text.code, CONTROL_ERR_IDENT);
    wire_peer_done(&w);
    /* no version in common */
    wire_peer_init(&w, &p.dst.ident, b, 2);
    m = (struct control_msg){.type = CONTROL_HELLO, .hello = w.hello};
    m.hello.version_min = m.hello.version_max = 9;
    w.ctl = wire_connect(addr);
    assert_true(wire_say(&w, m) && wire_hear(&w, &m));
    assert_int_equal(m.text.code, CONTROL_ERR_VERSION);
    wire_peer_done(&w);
    /* a data channel before there is a session, and one with a guessed token */
    wire_peer_init(&w, &p.dst.ident, b, 2);
    assert_false(wire_source_data(&w, addr, 0));
    wire_peer_done(&w);
    /* more silent ones than there are places */
    for (int i = 0; i < 40; i++)
        silent[i] = wire_connect(addr);
    assert_int_equal(b->resumes, 0);

    began = clock_mono_us();
    pair_dial(&p, NULL);
    pair_wait_source(&p);
    pair_wait_target(&p);
    if (p.src_outcome != MIG_MOVED)
        fail_msg("%s", err_msg(&p.src_err));
    assert_true(clock_mono_us() - began < 8000000);
    assert_int_equal(fake_guest_wrong_pages(b), 0);
    for (int i = 0; i < 40; i++)
        close(silent[i]);
    pair_done(&p);
    fake_guest_free(a);
    fake_guest_free(b);
}

/* While a session is being built, others cannot take part in it. */
static void
test_intruders(void **state)
{
    struct fake_guest *g = fake_guest_new(&small, true);
    struct wire_peer w, x;
    struct control_msg m;
    struct pair p;
    const char *addr;

    (void)state;
    pair_init(&p, NULL, g);
    wire_peer_init(&w, &p.dst.ident, g, 2);
    pair_listen(&p);
    addr = mig_target_address(p.target);
    assert_true(wire_source_hello(&w, addr));
    /* a second source of the same name */
    wire_peer_init(&x, &p.dst.ident, g, 2);
    m = (struct control_msg){.type = CONTROL_HELLO, .hello = x.hello};
    x.ctl = wire_connect(addr);
    assert_true(wire_say(&x, m) && wire_hear(&x, &m));
    assert_int_equal(m.text.code, CONTROL_ERR_BUSY);
    /* channels with a wrong token, a wrong uid, a wrong number, a number that is taken */
    assert_false(wire_source_data(&x, addr, 0));
    wire_peer_done(&x);
    assert_true(wire_source_data(&w, addr, 0));
    x = w;
    x.data[0] = -1;
    assert_false(wire_source_data(&x, addr, 0));
    assert_false(wire_source_data(&x, addr, 2));
    assert_false(wire_source_data(&x, addr, 63));
    x.generation++;
    assert_false(wire_source_data(&x, addr, 1));
    x = w;
    x.token[15] ^= 1;
    assert_false(wire_source_data(&x, addr, 1));
    /* and the session goes on as if nothing had been */
    assert_true(wire_source_data(&w, addr, 1));
    assert_true(wire_round(&w, 1, false));
    wire_peer_done(&w);
    pair_wait_target(&p);
    assert_int_equal(p.dst_outcome, MIG_TARGET_FAILED);
    pair_done(&p);
    fake_guest_free(g);
}

static void
test_source_gives_up_half_way_in(void **state)
{
    struct fake_guest *g = fake_guest_new(&small, true);
    struct wire_peer w;
    struct pair p;

    (void)state;
    for (int how = 0; how < 2; how++) {
        pair_init(&p, NULL, g);
        wire_peer_init(&w, &p.dst.ident, g, 2);
        pair_listen(&p);
        assert_true(wire_source_hello(&w, mig_target_address(p.target)));
        if (how)
            wire_say(&w,
                     (struct control_msg){.type = CONTROL_ABORT, .text.text = "changed my mind"});
        else
            wire_peer_done(&w);
        pair_wait_target(&p);
        assert_int_equal(p.dst_outcome, MIG_TARGET_FAILED);
        assert_non_null(
            strstr(err_msg(&p.dst_err), how ? "changed my mind" : "control connection: "));
        wire_peer_done(&w);
        pair_done(&p);
    }
    fake_guest_free(g);
}

/* Pages that were damaged on their way are asked for again, and never get into the guest. */
static void
test_damaged_pages(void **state)
{
    struct fake_guest *g = fake_guest_new(&small, true);
    const struct frame_run runs[] = {
        {.offset = 0, .pages = 2, .kind = FRAME_RAW},
        {.offset = 5 * 4096, .pages = 3, .kind = FRAME_ZERO},
        {.offset = 9 * 4096, .pages = 1, .kind = FRAME_RAW},
    };
    struct control_msg m = {
        .type = CONTROL_ROUND_END,
        .round_end = {.round = 1, .channels = 2, .totals = {{2, 4, 3}, {0, 0, 0}}}};
    uint8_t payload[3 * 4096];
    struct frame_header h = batch(3, sizeof payload);
    struct wire_peer w;
    struct pair p;

    (void)state;
    memset(payload, 0x5a, sizeof payload);
    pair_init(&p, NULL, g);
    wire_peer_init(&w, &p.dst.ident, g, 2);
    pair_listen(&p);
    assert_true(wire_source_up(&w, mig_target_address(p.target)));
    assert_true(
        wire_say(&w, (struct control_msg){.type = CONTROL_ROUND_BEGIN, .round_begin.round = 1}));
    assert_true(wire_page(&w, 0, 1, 0x11));                            /* page 0, good */
    assert_true(wire_frame(&w, 0, h, runs, payload, 1 << 1 | 1 << 2)); /* pages 1 and 9 */
    for (uint32_t i = 0; i < 2; i++)
        assert_true(wire_frame(&w, i, (struct frame_header){.type = FRAME_ROUND_END, .round = 1},
                               NULL, NULL, 0));
    assert_true(wire_say(&w, m) && wire_hear(&w, &m));
    assert_int_equal(m.type, CONTROL_ROUND_DONE);
    assert_int_equal(m.round_done.bad_len, 2);
    assert_int_equal(m.round_done.bad[0].offset, 4096);
    assert_int_equal(m.round_done.bad[0].pages, 1);
    assert_int_equal(m.round_done.bad[1].offset, 9 * 4096);
    assert_false(m.round_done.more);
    control_msg_done(&m);
    assert_int_equal(g->regions[0].map[0], 0x5a); /* the good page of the run came through */
    assert_int_equal(g->regions[0].map[4096], 0);
    assert_int_equal(g->regions[0].map[9 * 4096], 0);
    wire_peer_done(&w);
    pair_wait_target(&p);
    pair_done(&p);
    fake_guest_free(g);
}

/* Encoded pages that are not what they say: asked for again, and not a byte gets into the guest. */
static void
test_encoded_garbage(void **state)
{
    static const uint8_t nothing[8];
    static const uint8_t one_word[] = {1, 0, 0, 0, 0, 0, 0, 0, 1, 'w', 'o', 'r', 'd', 0, 0, 0, 0};
    static const struct {
        struct frame_run run;
        const uint8_t *payload;
        bool good; /* a delta against zeros that gives what its sum says */
    } rows[] = {
        {{.offset = 0, .pages = 1, .kind = FRAME_DELTA, .bytes = 17}, one_word, true},
        {{.offset = 4096, .pages = 1, .kind = FRAME_DELTA, .bytes = 16}, one_word, false},
        {{.offset = 8192, .pages = 1, .kind = FRAME_DELTA, .bytes = 18}, one_word, false},
        {{.offset = 12288, .pages = 2, .kind = FRAME_DELTA, .bytes = 17}, one_word, false},
        /* against a base that is not there: page 0 has the word already, so the sum is another */
        {{.offset = 0, .pages = 1, .kind = FRAME_DELTA, .bytes = 8}, nothing, false},
        {{.offset = 20480, .pages = 2, .kind = FRAME_LZ4, .bytes = 17}, one_word, false},
        {{.offset = 28672, .pages = 2, .kind = FRAME_ZSTD, .bytes = 17}, one_word, false},
    };
    struct fake_guest *g = fake_guest_new(&small, true);
    struct control_msg m = {
        .type = CONTROL_ROUND_END,
        .round_end = {.round = 1, .channels = 2, .totals = {{ARRAY_LEN(rows), 10, 0}}}};
    uint8_t page[4096] = {0};
    struct wire_peer w;
    struct pair p;

    (void)state;
    memcpy(page, "word", 4);
    pair_init(&p, NULL, g);
    wire_peer_init(&w, &p.dst.ident, g, 2);
    w.hello.capabilities = CONTROL_CAPS_ENCODINGS;
    pair_listen(&p);
    assert_true(wire_source_up(&w, mig_target_address(p.target)));
    assert_true(
        wire_say(&w, (struct control_msg){.type = CONTROL_ROUND_BEGIN, .round_begin.round = 1}));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const uint64_t sums[2] = {rows[i].good ? frame_page_sum(page) : 1, 1};
        struct frame_header h = {.type = FRAME_BATCH,
                                 .round = 1,
                                 .runs = 1,
                                 .pages = rows[i].run.pages,
                                 .bytes = rows[i].run.bytes,
                                 .seq = w.seq[0]++};
        uint8_t head[FRAME_HEADER_SIZE + FRAME_RUN_SIZE + 2 * FRAME_SUM_SIZE], payload[32] = {0};

        memcpy(payload, rows[i].payload, rows[i].run.bytes < 17 ? rows[i].run.bytes : 17);
        assert_true(wire_send(w.data[0], head, frame_encode(head, &h, &rows[i].run, sums)) &&
                    wire_send(w.data[0], payload, rows[i].run.bytes));
        if (i == 0) { /* let it be written before the next one is read */
            while (memcmp(g->regions[0].map, "word", 4) != 0)
                poll(NULL, 0, 1);
        }
    }
    for (uint32_t i = 0; i < 2; i++)
        assert_true(wire_frame(&w, i, (struct frame_header){.type = FRAME_ROUND_END, .round = 1},
                               NULL, NULL, 0));
    assert_true(wire_say(&w, m) && wire_hear(&w, &m));
    assert_int_equal(m.type, CONTROL_ROUND_DONE);
    assert_int_equal(m.round_done.bad_len, 1); /* pages 0 to 8, all in a row */
    assert_int_equal(m.round_done.bad[0].pages, 9);
    control_msg_done(&m);
    assert_memory_equal(g->regions[0].map, page, 4096);
    for (size_t i = 4096; i < 9 * 4096; i++)
        assert_int_equal(g->regions[0].map[i], 0);
    wire_peer_done(&w);
    pair_wait_target(&p);
    pair_done(&p);
    fake_guest_free(g);
}

/* More of them than one message may hold. */
static void
test_very_many_damaged_pages(void **state)
{
    const struct fake_config c = {{40 * MIB}, .seed = 42};
    struct fake_guest *g = fake_guest_new(&c, true);
    struct control_msg m = {.type = CONTROL_ROUND_END,
                            .round_end = {.round = 1, .channels = 1, .totals = {{20, 5120, 0}}}};
    uint64_t next = 0, asked = 0;
    unsigned messages = 0;
    struct wire_peer w;
    struct pair p;
    bool more;

    (void)state;
    pair_init(&p, NULL, g);
    wire_peer_init(&w, &p.dst.ident, g, 1);
    pair_listen(&p);
    assert_true(wire_source_up(&w, mig_target_address(p.target)));
    assert_true(
        wire_say(&w, (struct control_msg){.type = CONTROL_ROUND_BEGIN, .round_begin.round = 1}));
    for (int f = 0; f < 20; f++) {
        struct frame_run runs[FRAME_MAX_RAW_PAGES];

        for (uint32_t i = 0; i < FRAME_MAX_RAW_PAGES; i++, next += 2)
            runs[i] = (struct frame_run){.offset = next * 4096, .pages = 1, .kind = FRAME_RAW};
        assert_true(wire_frame(&w, 0, batch(FRAME_MAX_RAW_PAGES, FRAME_MAX_RAW_PAGES * 4096), runs,
                               NULL, UINT64_MAX));
    }
    assert_true(wire_frame(&w, 0, (struct frame_header){.type = FRAME_ROUND_END, .round = 1}, NULL,
                           NULL, 0));
    assert_true(wire_say(&w, m));
    next = 0;
    do {
        assert_true(wire_hear(&w, &m));
        assert_int_equal(m.type, CONTROL_ROUND_DONE);
        for (uint32_t i = 0; i < m.round_done.bad_len; i++, next += 2) {
            assert_int_equal(m.round_done.bad[i].offset, next * 4096);
            asked += m.round_done.bad[i].pages;
        }
        more = m.round_done.more;
        messages++;
        control_msg_done(&m);
    } while (more);
    assert_int_equal(asked, 5120);
    assert_int_equal(messages, 2);
    assert_int_equal(fake_guest_allocated_pages(g), 0);
    wire_peer_done(&w);
    pair_wait_target(&p);
    pair_done(&p);
    fake_guest_free(g);
}

/* Pages that are received in place (a batch that fills a huge page) and are damaged: asked for again,
 * and zeros until they come; a good page among them is there. */
static void
test_damaged_in_place(void **state)
{
    const struct fake_config c = {{4 * MIB}, .seed = 42};
    struct fake_guest *g = fake_guest_new(&c, true);
    const struct frame_run run = {.pages = FRAME_MAX_RAW_PAGES, .kind = FRAME_RAW};
    const size_t bytes = FRAME_MAX_RAW_PAGES * 4096;
    AUTO_FREE uint8_t *payload = xmalloc(bytes);
    const struct frame_header h = batch(1, bytes);
    struct control_msg m = {
        .type = CONTROL_ROUND_END,
        .round_end = {.round = 1, .channels = 1, .totals = {{1, FRAME_MAX_RAW_PAGES, 0}}}};
    uint64_t asked = 0;
    struct wire_peer w;
    struct pair p;

    (void)state;
    memset(payload, 0xa5, bytes);
    pair_init(&p, NULL, g);
    wire_peer_init(&w, &p.dst.ident, g, 1);
    pair_listen(&p);
    assert_true(wire_source_up(&w, mig_target_address(p.target)));
    assert_true(
        wire_say(&w, (struct control_msg){.type = CONTROL_ROUND_BEGIN, .round_begin.round = 1}));
    assert_true(wire_frame(&w, 0, h, &run, payload, ~2ull)); /* pages 1, 65 ... are good */
    assert_true(wire_frame(&w, 0, (struct frame_header){.type = FRAME_ROUND_END, .round = 1}, NULL,
                           NULL, 0));
    assert_true(wire_say(&w, m));
    assert_true(wire_hear(&w, &m));
    assert_int_equal(m.type, CONTROL_ROUND_DONE);
    for (uint32_t i = 0; i < m.round_done.bad_len; i++)
        asked += m.round_done.bad[i].pages;
    control_msg_done(&m);
    assert_int_equal(asked, FRAME_MAX_RAW_PAGES - FRAME_MAX_RAW_PAGES / 64);
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(g->regions[0].map[i], i / 4096 % 64 == 1 ? 0xa5 : 0);
    wire_peer_done(&w);
    pair_wait_target(&p);
    pair_done(&p);
    fake_guest_free(g);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_end_lies),
        cmocka_unit_test(test_after_prepared),
        cmocka_unit_test(test_silent_source),
        cmocka_unit_test(test_nobody_comes),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_intruders),
        cmocka_unit_test(test_source_gives_up_half_way_in),
        cmocka_unit_test(test_damaged_pages),
        cmocka_unit_test(test_encoded_garbage),
        cmocka_unit_test(test_very_many_damaged_pages),
        cmocka_unit_test(test_damaged_in_place),
    };
    struct CMUnitTest tests[ARRAY_LEN(lies) + ARRAY_LEN(others)] = {0};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(lies); i++)
        tests[n++] = (struct CMUnitTest){.name = lies[i].name,
                                         .test_func = test_lie,
                                         .initial_state = (void *)(uintptr_t)&lies[i]};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        tests[n++] = others[i];
    return cmocka_run_group_tests_name("hostile source", tests, NULL, NULL);
}
