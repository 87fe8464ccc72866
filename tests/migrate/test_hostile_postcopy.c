/* A source that lies about post-copy or about the connection that it claims to have had. Whatever it
 * says, nothing is prepared, nothing runs, and nothing of the engine stays in the guest. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/migrate/pair.h"
#include "tests/migrate/wire_peer.h"

#define MIB (1u << 20)

static const struct fake_config small = {{5 * MIB}, .seed = 41, .fill_pages = 1280};

/* A connection with the urgent channel, before any round. */
static bool
offer_post_copy(struct wire_peer *w, const char *addr)
{
    uint32_t urgent = FRAME_URGENT_CHANNEL;

    w->hello.urgent = true;
    return wire_source_up(w, addr) && wire_source_data(w, addr, urgent);
}

static bool
say_missing(struct wire_peer *w, uint64_t first, uint64_t *bits, size_t words, bool last)
{
    return wire_say(
        w, (struct control_msg){
               .type = CONTROL_MISSING,
               .missing = {.first_page = first, .words = words, .bits = bits, .last = last}});
}

/* small: 1,280 pages in three stripes, whose bitmap has 1,536 bits. */
static void
test_post_copy_lies(void **state)
{
    static const struct {
        const char *name;
        uint64_t first;
        size_t words;
        uint64_t more; /* pages that FINISH names beyond those of MISSING */
        const char *text;
        bool last, round; /* a round is running */
    } rows[] = {
        {"behind the end", 1536, 1, 0, "MISSING out of turn", true, false},
        {"over the end", 1472, 2, 0, "MISSING out of turn", true, false},
        {"far behind the end", UINT64_MAX & ~63ull, 1, 0, "MISSING out of turn", true, false},
        {"pages that do not exist", 1280, 1, 0, "do not exist", true, false},
        {"in a round", 0, 1, 0, "MISSING out of turn", true, true},
        {"more than were named", 0, 1, 1, "other missing pages", true, false},
        {"no last piece", 0, 1, 0, "FINISH out of turn", false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fake_guest *g = fake_guest_new(&small, true);
        uint64_t bits[2] = {3, 1};
        struct wire_peer w;
        struct pair p;

        pair_init(&p, NULL, g);
        wire_peer_init(&w, &p.dst.ident, g, 2);
        pair_listen(&p);
        assert_true(offer_post_copy(&w, mig_target_address(p.target)));
        if (rows[i].round)
            (void)wire_say(
                &w, (struct control_msg){.type = CONTROL_ROUND_BEGIN, .round_begin.round = 1});
        (void)say_missing(&w, rows[i].first, bits, rows[i].words, rows[i].last);
        (void)wire_say(&w, (struct control_msg){
                               .type = CONTROL_FINISH,
                               .finish = {.post_copy = true, .missing_pages = 2 + rows[i].more}});
        pair_wait_target(&p);
        if (p.dst_outcome != MIG_TARGET_FAILED || !strstr(err_msg(&p.dst_err), rows[i].text))
            fail_msg("%s: outcome %d: %s", rows[i].name, p.dst_outcome, err_msg(&p.dst_err));
        assert_false(p.dst_prepared);
        assert_false(fake_guest_running(g));
        assert_int_equal(fake_guest_uffds_open(g), 0);
        wire_peer_done(&w);
        pair_done(&p);
        fake_guest_free(g);
    }
}

/* Going on with what never began, or in another way than it began: refused, and nothing changes. */
static void
test_resumes_that_are_refused(void **state)
{
    struct fake_guest *g = fake_guest_new(&small, true);
    struct wire_peer w;
    struct pair p;

    (void)state;
    pair_init(&p, NULL, g);
    pair_listen(&p);
    for (int serve = 0; serve < 2; serve++) {
        wire_peer_init(&w, &p.dst.ident, g, 2);
        w.hello.resume = w.hello.urgent = true;
        w.hello.serve = serve;
        w.hello.epoch = 2;
        assert_false(wire_source_hello(&w, mig_target_address(p.target)));
        wire_peer_done(&w);
    }
    wire_peer_init(&w, &p.dst.ident, g, 2); /* who begins properly is still welcome */
    assert_true(wire_source_up(&w, mig_target_address(p.target)));
    w.hello.epoch = 5; /* a data channel of another connection */
    close(w.data[1]);
    assert_false(wire_source_data(&w, mig_target_address(p.target), 1));
    wire_peer_done(&w);
    mig_target_stop(p.target);
    pair_wait_target(&p);
    assert_int_equal(p.dst_outcome, MIG_TARGET_FAILED);
    pair_done(&p);
    fake_guest_free(g);
}

int
main(void)
{
    struct CMUnitTest tests[] = {
        cmocka_unit_test(test_post_copy_lies),
        cmocka_unit_test(test_resumes_that_are_refused),
    };

    pair_skip_unless_supported(tests, sizeof tests / sizeof *tests);
    return cmocka_run_group_tests_name("hostile-postcopy", tests, NULL, NULL);
}
