/* Memory that a peer may reach: registrations, WRITEs and READs of lanes, limits. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/rng.h"
#include "base/sb.h"
#include "migrate/conn.h"
#include "tests/migrate/lane_pair.h"
#include "tests/migrate/verbs_double.h"

/* --- WRITE --- */

#define PIECE  4096
#define PIECES 1000

/* Pieces in any order, of one page to sixteen, in one call of several lists; a byte of the stream says
 * that they are there. */
static void
test_write_before_send(void **state)
{
    struct lane_pair k = {0};
    struct region from, to;
    struct lane_write w[PIECES];
    struct rng rng;
    struct err err = {0};

    (void)state;
    lane_pair_up(&k);
    from = region_new(k.near, PIECES * PIECE, NIC_LOCAL);
    to = region_new(k.far, PIECES * PIECE, NIC_PEER_WRITES);
    assert_true(nic_registered_bytes(k.far) >= to.bytes);
    rng_seed(&rng, 3);
    for (uint8_t round = 0; round < 5; round++) {
        uint64_t ticket = 0, before = lane_bytes(k.d);
        size_t n = 0;

        region_fill(&from, round);
        for (size_t at = 0; at < PIECES;) {
            size_t len = 1 + rng_below(&rng, 16);

            len = len < PIECES - at ? len : PIECES - at;
            w[n++] = (struct lane_write){.from = from.p + at * PIECE,
                                         .mr = from.mr,
                                         .to = nic_mr_address(to.mr) + at * PIECE,
                                         .key = nic_mr_key(to.mr),
                                         .bytes = (uint32_t)(len * PIECE)};
            at += len;
        }
        for (size_t i = n - 1; i > 0; i--) {
            size_t j = rng_below(&rng, i + 1);
            struct lane_write x = w[i];

            w[i] = w[j];
            w[j] = x;
        }
        assert_true(n > LANE_LIST_MAX);
        if (lane_write(k.d, w, n, &ticket, &err) != 0)
            fail_msg("%s", err_msg(&err));
        lane_pair_send_byte(k.d, round);
        assert_int_equal(lane_pair_recv_byte(k.a), round);
        assert_memory_equal(from.p, to.p, to.bytes);
        assert_int_equal(lane_wait(k.d, ticket, &err), 0);
        assert_true(lane_bytes(k.d) > before + to.bytes);
    }
    assert_int_equal(lane_wait(k.d, 0, &err), 0);
    region_drop(&from);
    region_drop(&to);
    assert_int_equal(lane_wait(k.d, 0, &err), 0);
    lane_pair_down(&k);
}

/* After lane_wait the source's memory may change, and what went before is at the peer. */
static void
test_tickets(void **state)
{
    struct lane_pair k = {0};
    struct region from, to;
    struct err err = {0};
    uint64_t ticket[2] = {0};

    (void)state;
    lane_pair_up(&k);
    from = region_new(k.near, 2 * MIB, NIC_LOCAL);
    to = region_new(k.far, 4 * MIB, NIC_PEER_WRITES);
    region_fill(&from, 1);
    for (size_t turn = 0; turn < 4; turn++) {
        struct lane_write w = {.from = from.p + turn % 2 * MIB,
                               .mr = from.mr,
                               .to = nic_mr_address(to.mr) + turn * MIB,
                               .key = nic_mr_key(to.mr),
                               .bytes = LANE_WRITE_MAX};

        assert_int_equal(lane_wait(k.d, ticket[turn % 2], &err), 0);
        memset(from.p + turn % 2 * MIB, (int)turn + 1, MIB);
        assert_int_equal(lane_write(k.d, &w, 1, &ticket[turn % 2], &err), 0);
    }
    assert_true(ticket[1] > ticket[0]);
    assert_int_equal(lane_wait(k.d, ticket[1], &err), 0);
    for (size_t i = 0; i < 4 * MIB; i += 512)
        assert_int_equal(to.p[i], i / MIB + 1);
    region_drop(&from);
    region_drop(&to);
    lane_pair_down(&k);
}

/* What a peer does not grant is not reached: the lane breaks with -EREMOTEIO, and memory is as it was. */
static void
test_not_granted(void **state)
{
    static const struct {
        const char *name;
        unsigned access;
        uint32_t key_off;
        int64_t to_off;
        bool unregister, local_too_long;
        int rc;
    } rows[] = {
        {"granted", NIC_PEER_WRITES, 0, 0, false, false, 0},
        {"the last bytes", NIC_PEER_WRITES, 0, PIECE, false, false, 0},
        {"another key", NIC_PEER_WRITES, 0x100, 0, false, false, -EREMOTEIO},
        {"before it", NIC_PEER_WRITES, 0, -8, false, false, -EREMOTEIO},
        {"past its end", NIC_PEER_WRITES, 0, PIECE + 8, false, false, -EREMOTEIO},
        {"far away", NIC_PEER_WRITES, 0, INT64_MAX / 2, false, false, -EREMOTEIO},
        {"may only be read", NIC_PEER_READS, 0, 0, false, false, -EREMOTEIO},
        {"may not be reached", NIC_LOCAL, 0, 0, false, false, -EREMOTEIO},
        {"not any more", NIC_PEER_WRITES, 0, 0, true, false, -EREMOTEIO},
        {"more than is registered here", NIC_PEER_WRITES, 0, 0, false, true, -EINVAL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct lane_pair k = {0};
        struct region from, to;
        struct err err = {0};
        struct lane_write w;
        uint64_t ticket = 0;
        int rc;

        print_message("  %s\n", rows[i].name);
        lane_pair_up(&k);
        from = region_new(k.near, PIECE, NIC_LOCAL);
        to = region_new(k.far, 2 * PIECE, rows[i].access);
        memset(from.p, 0xaa, PIECE);
        w = (struct lane_write){.from = from.p,
                                .mr = from.mr,
                                .to = nic_mr_address(to.mr) + (uint64_t)rows[i].to_off,
                                .key = nic_mr_key(to.mr) + rows[i].key_off,
                                .bytes = PIECE + (rows[i].local_too_long ? 1 : 0)};
        if (rows[i].unregister) {
            nic_unregister(to.mr);
            to.mr = NULL;
        }
        rc = lane_write(k.d, &w, 1, &ticket, &err);
        if (rc == 0)
            rc = lane_wait(k.d, ticket, &err);
        if (rc != rows[i].rc)
            fail_msg("%s: %d, %s", rows[i].name, rc, err_msg(&err));
        for (size_t j = 0; j < to.bytes; j++)
            if (to.p[j] != 0 && rc != 0)
                fail_msg("%s: byte %zu was written", rows[i].name, j);
        if (rc == -EREMOTEIO) { /* and stays so */
            assert_int_equal(lane_write(k.d, &w, 1, &ticket, &err), -EREMOTEIO);
            assert_int_equal(lane_send(k.d, &(struct iovec){from.p, 1}, 1, &err), -EREMOTEIO);
            assert_int_equal(lane_recv(k.d, from.p, 1, 0, &err), -EREMOTEIO);
        }
        region_drop(&from);
        region_drop(&to);
        lane_pair_down(&k);
    }
}

/* --- READ --- */

static void
test_read(void **state)
{
    struct lane_pair k = {0};
    struct region from, to;
    struct err err = {0};
    bool seen[300] = {false};
    size_t open = 0, most = 0, next = 0, ended = 0;

    (void)state;
    lane_pair_up_to_read(&k);
    from = region_new(k.far, ARRAY_LEN(seen) * PIECE, NIC_PEER_READS);
    to = region_new(k.near, ARRAY_LEN(seen) * PIECE, NIC_LOCAL);
    region_fill(&from, 9);
    while (ended < ARRAY_LEN(seen)) {
        uint64_t cookie = 0;
        int rc = -EAGAIN, one = 0;

        if (next < ARRAY_LEN(seen))
            rc = lane_read(k.d, to.p + next * PIECE, to.mr, nic_mr_address(from.mr) + next * PIECE,
                           nic_mr_key(from.mr), PIECE, next, &err);
        if (rc == 0) {
            next++;
            open++;
            most = open > most ? open : most;
            continue;
        }
        assert_int_equal(rc, -EAGAIN);
        assert_int_equal(lane_reap(k.d, PATIENCE, &cookie, &one, &err), 1);
        assert_int_equal(one, 0);
        assert_true(cookie < ARRAY_LEN(seen) && !seen[cookie]);
        assert_memory_equal(from.p + cookie * PIECE, to.p + cookie * PIECE, PIECE);
        seen[cookie] = true;
        open--;
        ended++;
    }
    assert_true(most <= READS && most <= nic_facts(k.near)->read_depth && most > 0);
    assert_int_equal(lane_reap(k.d, 1000, &(uint64_t){0}, &(int){0}, &err), 0);
    region_drop(&from);
    region_drop(&to);
    lane_pair_down(&k);
}

/* One that the peer does not grant breaks the lane; whatever else was open is reported, once each. */
static void
test_read_not_granted(void **state)
{
    struct lane_pair k = {0};
    struct region from, to;
    struct err err = {0};
    unsigned seen = 0, refused = 0;
    uint64_t cookie = 0;
    int rc = 0, one = 0;

    (void)state;
    lane_pair_up_to_read(&k);
    from = region_new(k.far, READS * PIECE, NIC_PEER_WRITES);
    to = region_new(k.near, READS * PIECE, NIC_LOCAL);
    memset(from.p, 1, from.bytes);
    for (unsigned i = 0; i < 4 && rc == 0; i++) {
        rc = lane_read(k.d, to.p + i * PIECE, to.mr, nic_mr_address(from.mr) + i * PIECE,
                       nic_mr_key(from.mr), PIECE, i, &err);
        seen |= rc ? 1u << i : 0; /* the lane was broken already */
    }
    while ((rc = lane_reap(k.d, PATIENCE, &cookie, &one, &err)) == 1) {
        assert_true(cookie < 4 && !(seen & 1u << cookie));
        assert_true(one < 0);
        refused += one == -EREMOTEIO;
        seen |= 1u << cookie;
    }
    assert_int_equal(rc, -EREMOTEIO);
    assert_true(refused > 0);
    for (size_t i = 0; i < to.bytes; i++)
        assert_int_equal(to.p[i], 0);
    region_drop(&from);
    region_drop(&to);
    lane_pair_down(&k);
}

/* An end that was not made to be read is not, and says so at once. */
static void
test_read_not_agreed(void **state)
{
    struct lane_pair k = {.dial_cfg.reads = READS};
    struct err err = {0};
    pthread_t t;
    struct lane *a = NULL;

    (void)state;
    lane_pair_open(&k);
    pthread_create(&t, NULL, lane_pair_dial, &k);
    if (lane_accept(lane_pair_request(k.far, k.seen), &(struct lane_config){0}, &a, &err) == 0)
        lane_free(a);
    pthread_join(t, NULL);
    assert_int_equal(k.dial_rc, -EOPNOTSUPP);
    lane_pair_down(&k);
}

/* --- limits --- */

/* CAP_IPC_LOCK of this thread, which stands above the limit. */
static bool
lock_capability(bool on)
{
    struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct d[2];
    uint32_t bit = 1u << CAP_IPC_LOCK;

    if (syscall(SYS_capget, &h, d) != 0)
        return false;
    d[0].effective = on ? d[0].effective | (d[0].permitted & bit) : d[0].effective & ~bit;
    return syscall(SYS_capset, &h, d) == 0;
}

static void
test_lock_limit(void **state)
{
    struct rlimit old, low = {.rlim_cur = 16 * MIB, .rlim_max = RLIM_INFINITY};
    struct lane_pair k = {0};
    struct nic_mr *mr = NULL;
    struct err err = {0};
    uint8_t *p = mmap(NULL, 32 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct region small;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &old), 0);
    low.rlim_max = old.rlim_max;
    if (verbs_is_double()) {
        verbs_set_lock_limit(low.rlim_cur);
    } else if (setrlimit(RLIMIT_MEMLOCK, &low) != 0 || !lock_capability(false)) {
        munmap(p, 32 * MIB);
        skip();
    }
    lane_pair_open(&k);
    if (!verbs_is_double())
        assert_true(nic_facts(k.near)->lock_bytes <= low.rlim_cur);
    assert_int_equal(nic_register(k.near, p, 32 * MIB, NIC_PEER_WRITES, &mr, &err), -ENOMEM);
    assert_non_null(strstr(err_msg(&err), "locked"));
    small = region_new(k.near, MIB, NIC_PEER_WRITES);
    assert_int_equal(nic_registered_bytes(k.near), MIB);
    region_drop(&small);
    assert_int_equal(nic_registered_bytes(k.near), 0);
    munmap(p, 32 * MIB);
    lane_pair_down(&k);
    if (!verbs_is_double()) {
        lock_capability(true);
        setrlimit(RLIMIT_MEMLOCK, &old);
    }
}

/* nic_close ends what is registered; memory that is gone at that point does not matter. */
static void
test_close_ends_all(void **state)
{
    struct lane_pair k = {0};
    struct region r[3];

    (void)state;
    lane_pair_open(&k);
    for (int i = 0; i < 3; i++)
        r[i] = region_new(k.near, MIB, i == 0 ? NIC_PEER_READS : NIC_PEER_WRITES);
    munmap(r[2].p, r[2].bytes);
    assert_int_equal(nic_registered_bytes(k.near), 3 * MIB);
    lane_pair_down(&k);
    munmap(r[0].p, r[0].bytes);
    munmap(r[1].p, r[1].bytes);
    nic_close(NULL);
    nic_unregister(NULL);
    lane_free(NULL);
    lane_shut(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        LANE_TEST(test_write_before_send), LANE_TEST(test_tickets),
        LANE_TEST(test_not_granted),       LANE_TEST(test_read),
        LANE_TEST(test_read_not_granted),  LANE_TEST(test_read_not_agreed),
        LANE_TEST(test_lock_limit),        LANE_TEST(test_close_ends_all),
    };
    int rc = lane_pair_missing();

    return rc ? rc : cmocka_run_group_tests(tests, lane_pair_warm_up, NULL);
}
