/* Lanes for tests; see lane_pair.h. */
#include "tests/migrate/lane_pair.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/rng.h"
#include "tests/migrate/verbs_double.h"

void *
lane_pair_dial(void *arg)
{
    struct lane_pair *k = arg;

    k->dial_rc =
        lane_dial(k->near, k->addr, k->shown, &k->dial_cfg, PATIENCE, -1, &k->d, &k->dial_err);
    return NULL;
}

struct nic_request *
lane_pair_request(struct nic *n, uint8_t seen[FRAME_PREAMBLE_SIZE])
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

void
lane_pair_open(struct lane_pair *k)
{
    struct err err = {0};
    uint16_t port = 0;

    for (size_t i = 0; i < sizeof k->shown; i++)
        k->shown[i] = (uint8_t)(i * 7 + 1);
    if (nic_open(rdma_test_ip(), "", &k->near, &err) != 0 ||
        nic_open(rdma_test_ip(), "", &k->far, &err) != 0 || nic_listen(k->far, &port, &err) != 0)
        fail_msg("%s", err_msg(&err));
    snprintf(k->addr, sizeof k->addr, strchr(rdma_test_ip(), ':') ? "[%s]:%u" : "%s:%u",
             rdma_test_ip(), port);
}

void
lane_pair_connect(struct lane_pair *k)
{
    struct err err = {0};
    pthread_t t;

    pthread_create(&t, NULL, lane_pair_dial, k);
    if (lane_accept(lane_pair_request(k->far, k->seen), &k->accept_cfg, &k->a, &err) != 0)
        fail_msg("%s", err_msg(&err));
    pthread_join(t, NULL);
    if (k->dial_rc != 0)
        fail_msg("%s", err_msg(&k->dial_err));
    assert_memory_equal(k->shown, k->seen, sizeof k->shown);
}

void
lane_pair_up(struct lane_pair *k)
{
    lane_pair_open(k);
    lane_pair_connect(k);
}

void
lane_pair_down(struct lane_pair *k)
{
    lane_free(k->d);
    lane_free(k->a);
    nic_close(k->near);
    nic_close(k->far);
}

void
lane_pair_up_to_read(struct lane_pair *k)
{
    k->dial_cfg.reads = READS;
    k->accept_cfg.read_by_peer = true;
    lane_pair_up(k);
}

struct region
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

void
region_drop(struct region *r)
{
    nic_unregister(r->mr);
    munmap(r->p, r->bytes);
}

void
region_fill(struct region *r, uint64_t seed)
{
    for (size_t i = 0; i < r->bytes; i += 8)
        memcpy(r->p + i, &(uint64_t){rng_mix(seed + i)}, 8);
}

void
lane_pair_send_byte(struct lane *l, uint8_t b)
{
    struct iovec iov = {&b, 1};
    struct err err = {0};

    if (lane_send(l, &iov, 1, &err) != 0)
        fail_msg("%s", err_msg(&err));
}

uint8_t
lane_pair_recv_byte(struct lane *l)
{
    struct err err = {0};
    uint8_t b = 0;

    if (lane_recv(l, &b, 1, PATIENCE, &err) != 0)
        fail_msg("%s", err_msg(&err));
    return b;
}

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

int
lane_pair_before(void **state)
{
    (void)state;
    fds_before = descriptors();
    return 0;
}

int
lane_pair_after(void **state)
{
    (void)state;
    assert_int_equal(descriptors(), fds_before);
    assert_int_equal(pinned_kib(), 0);
    assert_false(verbs_reset());
    return 0;
}

/* The libraries keep what they need to know of the devices. */
int
lane_pair_warm_up(void **state)
{
    struct lane_pair k = {0};

    (void)state;
    lane_pair_up(&k);
    lane_pair_down(&k);
    return 0;
}

int
lane_pair_missing(void)
{
    if (rdma_test_ip())
        return 0;
    print_message("skipped: no RDMA device (RDMA_TEST_IP says where one is)\n");
    return 77;
}
