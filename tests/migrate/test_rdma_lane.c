/* Lanes and nics, both ends in one process: the stream, WRITEs, READs, and what happens when something
 * is wrong. Runs over the double and, linked with the libraries, over a device at RDMA_TEST_IP. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/rng.h"
#include "base/sb.h"
#include "migrate/conn.h"
#include "migrate/rdma_int.h"
#include "tests/migrate/verbs_double.h"

#define SECOND   UINT64_C(1000000)
#define PATIENCE (20 * SECOND) /* for what must come */
#define MIB      ((size_t)1 << 20)

static const struct lane_config plain;

/* Two nics of one address and a lane between them: d dialled, a accepted. */
struct link {
    struct nic *near, *far;
    struct lane *d, *a;
    char addr[MIG_ADDR_SIZE];
    uint8_t shown[FRAME_PREAMBLE_SIZE], seen[FRAME_PREAMBLE_SIZE];
    struct lane_config dial_cfg, accept_cfg;
    int dial_rc;
    struct err dial_err;
};

static void *
dial_main(void *arg)
{
    struct link *k = arg;

    k->dial_rc =
        lane_dial(k->near, k->addr, k->shown, &k->dial_cfg, PATIENCE, -1, &k->d, &k->dial_err);
    return NULL;
}

static struct nic_request *
next_request(struct nic *n, uint8_t seen[FRAME_PREAMBLE_SIZE])
{
    struct nic_request *r = NULL;
    struct err err = {0};

    for (;;) {
        struct pollfd p = {.fd = nic_listen_fd(n), .events = POLLIN};
        int rc;

        assert_int_equal(poll(&p, 1, (int)(PATIENCE / 1000)), 1);
        rc = nic_next_request(n, &r, seen, &err);
        if (rc < 0)
            fail_msg("%s", err_msg(&err));
        if (rc == 1)
            return r;
    }
}

static void
open_nics(struct link *k)
{
    struct err err = {0};
    uint16_t port = 0;

    for (size_t i = 0; i < sizeof k->shown; i++)
        k->shown[i] = (uint8_t)(i * 7 + 1);
    if (nic_open(rdma_test_ip(), "", &k->near, &err) != 0 ||
        nic_open(rdma_test_ip(), "", &k->far, &err) != 0 || nic_listen(k->far, &port, &err) != 0)
        fail_msg("%s", err_msg(&err));
    snprintf(k->addr, sizeof k->addr, "%s:%u", rdma_test_ip(), port);
}

static void
connect_lanes(struct link *k)
{
    struct err err = {0};
    pthread_t t;

    pthread_create(&t, NULL, dial_main, k);
    if (lane_accept(next_request(k->far, k->seen), &k->accept_cfg, &k->a, &err) != 0)
        fail_msg("%s", err_msg(&err));
    pthread_join(t, NULL);
    if (k->dial_rc != 0)
        fail_msg("%s", err_msg(&k->dial_err));
    assert_memory_equal(k->shown, k->seen, sizeof k->shown);
}

static void
link_up(struct link *k)
{
    open_nics(k);
    connect_lanes(k);
}

static void
link_down(struct link *k)
{
    lane_free(k->d);
    lane_free(k->a);
    nic_close(k->near);
    nic_close(k->far);
}

/* --- the stream --- */

struct flow { /* one direction of a stream */
    struct lane *l;
    uint64_t seed;
    size_t bytes;
    int rc;
    struct err err;
};

/* The byte at this place of the stream with this seed. */
static uint8_t
byte_at(uint64_t seed, size_t i)
{
    return (uint8_t)(rng_mix(seed + i / 8) >> i % 8 * 8);
}

static void *
send_main(void *arg)
{
    struct flow *f = arg;
    struct rng rng;
    uint8_t *buf = xmalloc(MIB);

    rng_seed(&rng, f->seed);
    for (size_t at = 0; at < f->bytes && f->rc == 0;) {
        size_t n = 1 + rng_below(&rng, rng_below(&rng, 4) ? 3000 : MIB);
        size_t cut;
        struct iovec iov[3];

        n = n < f->bytes - at ? n : f->bytes - at;
        cut = rng_below(&rng, n + 1);
        for (size_t i = 0; i < n; i++)
            buf[i] = byte_at(f->seed, at + i);
        iov[0] = (struct iovec){buf, cut};
        iov[1] = (struct iovec){buf + cut, 0};
        iov[2] = (struct iovec){buf + cut, n - cut};
        f->rc = lane_send(f->l, iov, 3, &f->err);
        at += n;
    }
    free(buf);
    return NULL;
}

static void *
recv_main(void *arg)
{
    struct flow *f = arg;
    struct rng rng;
    uint8_t *buf = xmalloc(MIB);

    rng_seed(&rng, f->seed + 1);
    for (size_t at = 0; at < f->bytes && f->rc == 0;) {
        size_t n = 1 + rng_below(&rng, rng_below(&rng, 4) ? 3000 : MIB);

        n = n < f->bytes - at ? n : f->bytes - at;
        f->rc = lane_recv(f->l, buf, n, PATIENCE, &f->err);
        for (size_t i = 0; i < n && f->rc == 0; i++)
            if (buf[i] != byte_at(f->seed, at + i))
                f->rc = err_set(&f->err, -EBADMSG, "byte %zu is wrong", at + i);
        at += n;
    }
    free(buf);
    return NULL;
}

static void
test_stream_both_ways(void **state)
{
    struct link k = {0};
    pthread_t t[4];
    struct flow f[4];

    (void)state;
    link_up(&k);
    f[0] = (struct flow){.l = k.d, .seed = 1, .bytes = 8 * MIB + 13};
    f[1] = (struct flow){.l = k.a, .seed = 1, .bytes = 8 * MIB + 13};
    f[2] = (struct flow){.l = k.a, .seed = 77, .bytes = 3 * MIB + 1};
    f[3] = (struct flow){.l = k.d, .seed = 77, .bytes = 3 * MIB + 1};
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, i % 2 ? recv_main : send_main, &f[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < 4; i++)
        if (f[i].rc != 0)
            fail_msg("%d: %s", i, err_msg(&f[i].err));
    assert_true(lane_bytes(k.d) >= 11 * MIB + 14);
    link_down(&k);
}

/* As much as there are credits goes, however much is offered; the rest when the reader comes. */
static void
test_slow_reader(void **state)
{
    struct link k = {0};
    struct flow out = {.seed = 5, .bytes = 4 * MIB}, in = out;
    pthread_t t;

    (void)state;
    link_up(&k);
    out.l = k.d;
    in.l = k.a;
    pthread_create(&t, NULL, send_main, &out);
    while (lane_bytes(k.a) == 0)
        lane_readable(k.a);
    assert_true(lane_readable(k.a));
    assert_true(lane_bytes(k.d) <= LANE_CREDITS * LANE_BUFFER_BYTES);
    recv_main(&in);
    pthread_join(t, NULL);
    assert_int_equal(out.rc, 0);
    assert_int_equal(in.rc, 0);
    assert_false(lane_readable(k.a));
    link_down(&k);
}

static void
test_conn(void **state)
{
    struct link k = {0};
    struct conn *d, *a;
    char in[2][8] = {0};
    struct iovec out[2] = {{(char[]){"one"}, 3}, {(char[]){"two"}, 3}},
                 to[2] = {{in[0], 3}, {in[1], 3}};
    struct err err = {0};

    (void)state;
    link_up(&k);
    d = conn_rdma(k.d);
    a = conn_rdma(k.a);
    assert_ptr_equal(conn_lane(d), k.d);
    assert_int_equal(conn_fd(d), -1);
    assert_true(conn_is_plain(d));
    assert_int_equal(conn_handshake(d, &err), 1);
    assert_false(conn_readable(a));
    assert_int_equal(conn_send(d, out, 2, &err), 0);
    assert_int_equal(conn_recvv(a, to, 2, &err), 0);
    assert_string_equal(in[0], "one");
    assert_string_equal(in[1], "two");
    assert_int_equal(conn_recv(a, in[0], 1, 1000, &err), -ETIMEDOUT);
    conn_shut(a);
    assert_int_equal(conn_recv(a, in[0], 1, 0, &err), -ENOTCONN);
    assert_int_equal(conn_recv(d, in[0], 1, PATIENCE, &err), -EPIPE);
    conn_break(d);
    conn_free(a);
    k.d = k.a = NULL;
    link_down(&k);
}

/* --- memory --- */

struct region {
    uint8_t *p;
    size_t bytes;
    struct nic_mr *mr;
};

static struct region
region_new(struct nic *n, size_t bytes, unsigned access)
{
    struct region r = {.bytes = bytes};
    struct err err = {0};

    r.p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(r.p, MAP_FAILED);
    if (nic_register(n, r.p, bytes, access, &r.mr, &err) != 0)
        fail_msg("%s", err_msg(&err));
    assert_int_equal(nic_mr_address(r.mr), (uintptr_t)r.p);
    assert_true(nic_mr_key(r.mr) != 0);
    return r;
}

static void
region_drop(struct region *r)
{
    nic_unregister(r->mr);
    munmap(r->p, r->bytes);
}

static void
fill(struct region *r, uint64_t seed)
{
    for (size_t i = 0; i < r->bytes; i += 8)
        memcpy(r->p + i, &(uint64_t){rng_mix(seed + i)}, 8);
}

static void
send_byte(struct lane *l, uint8_t b)
{
    struct iovec iov = {&b, 1};
    struct err err = {0};

    if (lane_send(l, &iov, 1, &err) != 0)
        fail_msg("%s", err_msg(&err));
}

static uint8_t
recv_byte(struct lane *l)
{
    struct err err = {0};
    uint8_t b = 0;

    if (lane_recv(l, &b, 1, PATIENCE, &err) != 0)
        fail_msg("%s", err_msg(&err));
    return b;
}

/* --- WRITE --- */

#define PIECE  4096
#define PIECES 1000

/* Pieces in any order, of one page to sixteen, in one call of several lists; a byte of the stream says
 * that they are there. */
static void
test_write_before_send(void **state)
{
    struct link k = {0};
    struct region from, to;
    struct lane_write w[PIECES];
    struct rng rng;
    struct err err = {0};

    (void)state;
    link_up(&k);
    from = region_new(k.near, PIECES * PIECE, NIC_LOCAL);
    to = region_new(k.far, PIECES * PIECE, NIC_PEER_WRITES);
    assert_true(nic_registered_bytes(k.far) >= to.bytes);
    rng_seed(&rng, 3);
    for (uint8_t round = 0; round < 5; round++) {
        uint64_t ticket = 0, before = lane_bytes(k.d);
        size_t n = 0;

        fill(&from, round);
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
        send_byte(k.d, round);
        assert_int_equal(recv_byte(k.a), round);
        assert_memory_equal(from.p, to.p, to.bytes);
        assert_int_equal(lane_wait(k.d, ticket, &err), 0);
        assert_true(lane_bytes(k.d) > before + to.bytes);
    }
    assert_int_equal(lane_wait(k.d, 0, &err), 0);
    region_drop(&from);
    region_drop(&to);
    assert_int_equal(lane_wait(k.d, 0, &err), 0);
    link_down(&k);
}

/* After lane_wait the source's memory may change, and what went before is at the peer. */
static void
test_tickets(void **state)
{
    struct link k = {0};
    struct region from, to;
    struct err err = {0};
    uint64_t ticket[2] = {0};

    (void)state;
    link_up(&k);
    from = region_new(k.near, 2 * MIB, NIC_LOCAL);
    to = region_new(k.far, 4 * MIB, NIC_PEER_WRITES);
    fill(&from, 1);
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
    link_down(&k);
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
        struct link k = {0};
        struct region from, to;
        struct err err = {0};
        struct lane_write w;
        uint64_t ticket = 0;
        int rc;

        print_message("  %s\n", rows[i].name);
        link_up(&k);
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
        link_down(&k);
    }
}

/* --- READ --- */

#define READS 16

static void
read_link_up(struct link *k)
{
    k->dial_cfg.reads = READS;
    k->accept_cfg.read_by_peer = true;
    link_up(k);
}

static void
test_read(void **state)
{
    struct link k = {0};
    struct region from, to;
    struct err err = {0};
    bool seen[300] = {false};
    size_t open = 0, most = 0, next = 0, ended = 0;

    (void)state;
    read_link_up(&k);
    from = region_new(k.far, ARRAY_LEN(seen) * PIECE, NIC_PEER_READS);
    to = region_new(k.near, ARRAY_LEN(seen) * PIECE, NIC_LOCAL);
    fill(&from, 9);
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
    link_down(&k);
}

/* One that the peer does not grant breaks the lane; whatever else was open is reported, once each. */
static void
test_read_not_granted(void **state)
{
    struct link k = {0};
    struct region from, to;
    struct err err = {0};
    unsigned seen = 0, refused = 0;
    uint64_t cookie = 0;
    int rc = 0, one = 0;

    (void)state;
    read_link_up(&k);
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
    link_down(&k);
}

/* An end that was not made to be read is not, and says so at once. */
static void
test_read_not_agreed(void **state)
{
    struct link k = {.dial_cfg.reads = READS};
    struct err err = {0};
    pthread_t t;
    struct lane *a = NULL;

    (void)state;
    open_nics(&k);
    pthread_create(&t, NULL, dial_main, &k);
    if (lane_accept(next_request(k.far, k.seen), &plain, &a, &err) == 0)
        lane_free(a);
    pthread_join(t, NULL);
    assert_int_equal(k.dial_rc, -EOPNOTSUPP);
    link_down(&k);
}

/* --- ends --- */

enum call { CALL_RECV, CALL_SEND, CALL_REAP, CALL_WAIT, CALLS };

struct blocked {
    struct lane *l;
    struct region *to, *from;
    enum call call;
    int rc;
    struct err err;
};

static void *
blocked_main(void *arg)
{
    struct blocked *b = arg;
    uint8_t byte = 0, *big = xcalloc(1, MIB);
    uint64_t cookie;
    int one;

    while (b->rc >= 0) {
        struct iovec iov = {big, MIB};

        switch (b->call) {
        case CALL_RECV:
            b->rc = lane_recv(b->l, &byte, 1, 0, &b->err);
            break;
        case CALL_SEND:
            b->rc = lane_send(b->l, &iov, 1, &b->err);
            break;
        case CALL_REAP:
            b->rc = lane_reap(b->l, PATIENCE, &cookie, &one, &b->err);
            break;
        default:
            b->rc = lane_wait(b->l, UINT64_MAX, &b->err);
            break;
        }
    }
    free(big);
    return NULL;
}

/* A call that blocks ends when another thread shuts the lane, and when the peer leaves. */
static void
test_blocked_calls_end(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * CALLS; i++) {
        struct link k = {0};
        struct blocked b = {.call = (enum call)(i / 2)};
        bool peer_leaves = i % 2;
        struct err err = {0};
        pthread_t t;

        if (b.call == CALL_REAP)
            read_link_up(&k);
        else
            link_up(&k);
        b.l = k.d;
        pthread_create(&t, NULL, blocked_main, &b);
        if (b.call == CALL_SEND) /* it has begun, and soon has no credit left */
            while (!lane_readable(k.a))
                ;
        if (peer_leaves) {
            lane_free(k.a);
            k.a = NULL;
        } else {
            lane_shut(k.d);
        }
        pthread_join(t, NULL);
        if (b.rc != (peer_leaves ? -EPIPE : -ENOTCONN))
            fail_msg("call %d, %s: %d, %s", b.call, peer_leaves ? "left" : "shut", b.rc,
                     err_msg(&b.err));
        assert_int_equal(lane_send(k.d, &(struct iovec){k.shown, 1}, 1, &err), b.rc);
        lane_shut(k.d);
        link_down(&k);
    }
}

/* Everything that was sent before the end arrives; then the stream has ended. */
static void
test_end_after_data(void **state)
{
    struct link k = {0};
    uint8_t b;
    struct err err = {0};

    (void)state;
    link_up(&k);
    for (int i = 0; i < LANE_CREDITS; i++)
        send_byte(k.d, (uint8_t)i);
    lane_free(k.d);
    k.d = NULL;
    for (int i = 0; i < LANE_CREDITS; i++)
        assert_int_equal(recv_byte(k.a), i);
    assert_int_equal(lane_recv(k.a, &b, 1, PATIENCE, &err), -EPIPE);
    assert_int_equal(lane_recv(k.a, &b, 1, PATIENCE, &err), -EPIPE);
    assert_non_null(strstr(err_msg(&err), "closed"));
    link_down(&k);
}

/* --- dialling --- */

static void
test_refused(void **state)
{
    struct link k = {0};
    pthread_t t;

    (void)state;
    open_nics(&k);
    pthread_create(&t, NULL, dial_main, &k);
    lane_refuse(next_request(k.far, k.seen));
    pthread_join(t, NULL);
    assert_int_equal(k.dial_rc, -ECONNREFUSED);
    link_down(&k);
}

static void
test_nobody_listens(void **state)
{
    struct link k = {0};

    (void)state;
    open_nics(&k);
    nic_close(k.far);
    k.far = NULL;
    dial_main(&k);
    assert_int_equal(k.dial_rc, -ECONNREFUSED);
    assert_non_null(strstr(k.dial_err.msg, k.addr));
    link_down(&k);
}

/* Nobody answers: the time is up, or it is cancelled. The request is of no use then. */
static void
test_no_answer(void **state)
{
    (void)state;
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        struct link k = {0};
        struct lane *l = NULL;
        struct err err = {0};
        AUTO_FD int fd = eventfd(cancelled ? 1 : 0, EFD_CLOEXEC);

        open_nics(&k);
        assert_int_equal(lane_dial(k.near, k.addr, k.shown, &plain,
                                   cancelled ? PATIENCE : SECOND / 5, fd, &l, &err),
                         cancelled ? -ECANCELED : -ETIMEDOUT);
        assert_null(l);
        link_down(&k); /* and with it the request */
    }
}

/* Requests that come while one is accepted wait. */
static void
test_several_at_once(void **state)
{
    struct link k[6] = {{0}};
    struct lane *a[6];
    pthread_t t[6];
    struct err err = {0};
    bool seen[6] = {false};

    (void)state;
    open_nics(&k[0]);
    for (uint8_t i = 0; i < 6; i++) {
        k[i].near = k[0].near;
        memcpy(k[i].addr, k[0].addr, sizeof k[i].addr);
        k[i].shown[0] = i;
        pthread_create(&t[i], NULL, dial_main, &k[i]);
    }
    for (int i = 0; i < 6; i++) {
        struct nic_request *r = next_request(k[0].far, k[0].seen);
        uint8_t who = k[0].seen[0];

        assert_true(who < 6 && !seen[who]);
        seen[who] = true;
        if (lane_accept(r, &plain, &a[who], &err) != 0)
            fail_msg("%s", err_msg(&err));
    }
    for (uint8_t i = 0; i < 6; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(k[i].dial_rc, 0);
        send_byte(k[i].d, i);
    }
    for (uint8_t i = 0; i < 6; i++) {
        assert_int_equal(recv_byte(a[i]), i);
        lane_free(a[i]);
        if (i > 0)
            lane_free(k[i].d);
    }
    link_down(&k[0]);
}

static void
test_no_device(void **state)
{
    static const struct {
        const char *local, *peer;
        int rc;
    } rows[] = {
        {"127.0.0.2", "", -ENODEV}, {"0.0.0.0", "", -ENODEV}, {"", "", -EINVAL},
        {"", "nowhere", -EINVAL},   {"", "1.2.3.4", -EINVAL}, {"host", "", -EINVAL},
    };
    struct nic *n = NULL;
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        err = (struct err){0};
        if (nic_open(rows[i].local, rows[i].peer, &n, &err) != rows[i].rc)
            fail_msg("'%s' '%s': %d %s", rows[i].local, rows[i].peer, err.code, err_msg(&err));
        assert_null(n);
        assert_true(err.msg[0] != '\0');
    }
}

/* Without an address of its own the way to the peer says which device it is. */
static void
test_by_peer(void **state)
{
    struct link k = {0};
    struct nic *by_peer = NULL, *own;
    struct err err = {0};
    uint16_t port;

    (void)state;
    open_nics(&k);
    if (nic_open("", k.addr, &by_peer, &err) != 0)
        fail_msg("%s", err_msg(&err));
    assert_string_equal(nic_facts(by_peer)->device, nic_facts(k.near)->device);
    assert_int_equal(nic_listen(by_peer, &port, &err), -EINVAL);
    assert_int_equal(nic_listen_fd(by_peer), -1);
    own = k.near;
    k.near = by_peer;
    connect_lanes(&k);
    send_byte(k.d, 7);
    assert_int_equal(recv_byte(k.a), 7);
    link_down(&k);
    nic_close(own);
}

/* --- a peer that breaks the rules of the stream --- */

static void
post_raw(struct lane *l, struct lane_head h, size_t bytes)
{
    uint8_t *buf =
        l->mem + (size_t)(LANE_RECV_BUFFERS + l->sends++ % LANE_SEND_BUFFERS) * LANE_BUFFER_BYTES;
    struct ibv_sge sge = {
        .addr = (uintptr_t)buf, .length = (uint32_t)bytes, .lkey = l->mem_mr->mr->lkey};
    struct ibv_send_wr wr = {.wr_id = ++l->posted,
                             .sg_list = &sge,
                             .num_sge = 1,
                             .opcode = IBV_WR_SEND,
                             .send_flags = IBV_SEND_SIGNALED},
                       *bad;

    memcpy(buf, &h, sizeof h);
    assert_int_equal(ibv_post_send(l->id->qp, &wr, &bad), 0);
}

static void
test_hostile_stream(void **state)
{
    static const struct {
        const char *name;
        struct lane_head head;
        size_t bytes;
        int times;
    } rows[] = {
        {"half a head", {LANE_DATA, 0, 1}, 4, 1},
        {"no data", {LANE_DATA, 0, 0}, 8, 1},
        {"less than it says", {LANE_DATA, 0, 100}, 40, 1},
        {"more than it says", {LANE_DATA, 0, 100}, 200, 1},
        {"a length that wraps", {LANE_DATA, 0, UINT32_MAX}, 40, 1},
        {"no type", {0, 1, 0}, 8, 1},
        {"an unknown type", {3, 0, 8}, 16, 1},
        {"credits that were not owed", {LANE_NOTE, 1, 0}, 8, 1},
        {"many of them", {LANE_NOTE, UINT16_MAX, 0}, 8, 1},
        {"the same with data", {LANE_DATA, 1, 8}, 16, 1},
        {"a note of nothing", {LANE_NOTE, 0, 0}, 8, 1},
        {"a note with data", {LANE_NOTE, 1, 8}, 16, 1},
        {"more messages than credits", {LANE_DATA, 0, 8}, 16, LANE_CREDITS + 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct link k = {0};
        struct lane_nap z = {.role = LANE_RECEIVER, .cqs = 1u << LANE_RCQ};
        uint8_t b[8 * (LANE_CREDITS + 2)];
        struct err err = {0};
        int rc;

        print_message("  %s\n", rows[i].name);
        link_up(&k);
        for (int n = 0; n < rows[i].times; n++)
            post_raw(k.d, rows[i].head, rows[i].bytes);
        while (!atomic_load(&k.a->broken)) { /* nothing is taken from the stream */
            lane_readable(k.a);
            lane_nap(k.a, &z);
        }
        rc = lane_recv(k.a, b, sizeof b, PATIENCE, &err);
        if (rc != -EPROTO)
            fail_msg("%s: %d, %s", rows[i].name, rc, err_msg(&err));
        link_down(&k);
    }
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
    struct link k = {0};
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
    open_nics(&k);
    if (!verbs_is_double())
        assert_true(nic_facts(k.near)->lock_bytes <= low.rlim_cur);
    assert_int_equal(nic_register(k.near, p, 32 * MIB, NIC_PEER_WRITES, &mr, &err), -ENOMEM);
    assert_non_null(strstr(err_msg(&err), "locked"));
    small = region_new(k.near, MIB, NIC_PEER_WRITES);
    assert_int_equal(nic_registered_bytes(k.near), MIB);
    region_drop(&small);
    assert_int_equal(nic_registered_bytes(k.near), 0);
    munmap(p, 32 * MIB);
    link_down(&k);
    if (!verbs_is_double()) {
        lock_capability(true);
        setrlimit(RLIMIT_MEMLOCK, &old);
    }
}

/* nic_close ends what is registered; memory that is gone at that point does not matter. */
static void
test_close_ends_all(void **state)
{
    struct link k = {0};
    struct region r[3];

    (void)state;
    open_nics(&k);
    for (int i = 0; i < 3; i++)
        r[i] = region_new(k.near, MIB, i == 0 ? NIC_PEER_READS : NIC_PEER_WRITES);
    munmap(r[2].p, r[2].bytes);
    assert_int_equal(nic_registered_bytes(k.near), 3 * MIB);
    link_down(&k);
    munmap(r[0].p, r[0].bytes);
    munmap(r[1].p, r[1].bytes);
    nic_close(NULL);
    nic_unregister(NULL);
    lane_free(NULL);
    lane_shut(NULL);
}

/* --- after each: nothing is left --- */

static size_t fds_before;

static size_t
descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static unsigned long
pinned_kib(void)
{
    AUTO_FILE FILE *f = fopen("/proc/self/status", "re");
    unsigned long n = 0;
    char line[128];

    while (fgets(line, sizeof line, f))
        if (sscanf(line, "VmPin: %lu", &n) == 1)
            break;
    return n;
}

static int
before(void **state)
{
    (void)state;
    fds_before = descriptors();
    return 0;
}

static int
after(void **state)
{
    (void)state;
    assert_int_equal(descriptors(), fds_before);
    assert_int_equal(pinned_kib(), 0);
    return 0;
}

/* The libraries keep what they need to know of the devices. */
static int
warm_up(void **state)
{
    struct link k = {0};

    (void)state;
    link_up(&k);
    link_down(&k);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, before, after)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_stream_both_ways),
        TEST(test_slow_reader),
        TEST(test_conn),
        TEST(test_write_before_send),
        TEST(test_tickets),
        TEST(test_not_granted),
        TEST(test_read),
        TEST(test_read_not_granted),
        TEST(test_read_not_agreed),
        TEST(test_blocked_calls_end),
        TEST(test_end_after_data),
        TEST(test_refused),
        TEST(test_nobody_listens),
        TEST(test_no_answer),
        TEST(test_several_at_once),
        TEST(test_no_device),
        TEST(test_by_peer),
        TEST(test_hostile_stream),
        TEST(test_lock_limit),
        TEST(test_close_ends_all),
    };

    if (!rdma_test_ip()) {
        print_message("skipped: no RDMA device (RDMA_TEST_IP says where one is)\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
