/* See bench_link.h. */
#include "bench/bench_link.h"

#include <errno.h>

#include "base/clock.h"
#include "bench/bench_raw.h"
#include "bench/bench_stat.h"
#include "migrate/xport.h"
#include "proto/sum.h"

#define WARM_UP 100 /* round trips that do not count */

int
bench_link_send(struct bench_sides *s, struct bench_link *l, struct err *err)
{
    struct bench_order o = {.job = BENCH_JOB_RAW,
                            .bytes = l->bytes,
                            .streams = l->streams,
                            .allocated = true,
                            .encrypted = l->encrypted,
                            .verify = true};
    struct bench_raw raw = {.control = l->control,
                            .memory = l->memory,
                            .len = l->bytes,
                            .streams = l->streams,
                            .encrypted = l->encrypted};
    char addr[MIG_ADDR_SIZE];
    struct bench_result r;
    uint64_t began;
    int rc = bench_sides_order(s, &o, addr, err), far_rc;

    if (rc != 0)
        return rc;
    began = clock_mono_us();
    raw.addr = addr;
    rc = bench_raw_send(&raw, err);
    far_rc = bench_sides_arrived(s, rc ? NULL : err);
    l->us = clock_mono_us() - began;
    if (far_rc == 0)
        far_rc = bench_sides_result(s, &r, rc ? NULL : err);
    if (rc != 0 || far_rc != 0)
        return rc ? rc : far_rc;
    l->far_cpu_us = r.cpu_us;
    return r.sum == l->sum ? 0 : err_set(err, -EIO, "the memory that arrived is wrong");
}

int
bench_link_speed(struct bench_sides *s, const uint8_t *memory, uint64_t bytes, unsigned runs,
                 double *ret_bytes_per_s, struct err *err)
{
    struct bench_link l = {.memory = memory, .bytes = bytes, .sum = sum_bytes(memory, bytes, 0)};
    struct bench_samples speed[3] = {0};
    double best = 0;
    int rc = 0;

    for (unsigned i = 0; i < runs * ARRAY_LEN(speed) && rc == 0; i++) {
        l.streams = 1u << (i % ARRAY_LEN(speed));
        rc = bench_link_send(s, &l, err);
        bench_samples_add(&speed[i % ARRAY_LEN(speed)], (double)bytes * 1e6 / (double)l.us);
    }
    for (size_t k = 0; k < ARRAY_LEN(speed); k++) {
        double m = bench_median(&speed[k]);

        best = m > best ? m : best;
        bench_samples_done(&speed[k]);
    }
    *ret_bytes_per_s = best;
    return rc;
}

static double
now_us(void)
{
    return (double)clock_mono_ns() / 1e3;
}

int
bench_link_round_trips(struct bench_sides *s, unsigned count, struct bench_samples *ret,
                       struct err *err)
{
    struct bench_order o = {.job = BENCH_JOB_ECHO};
    struct xport_dial d = {.local_ip = "",
                           .device = "",
                           .timeout_us = 10000000,
                           .user_timeout_us = 10000000,
                           .cancel_fd = -1};
    char addr[MIG_ADDR_SIZE];
    uint8_t request[16] = {1}, answer[4096];
    struct bench_result r;
    uint64_t rtt;
    int fd = -1, far_rc, rc = bench_sides_order(s, &o, addr, err);

    if (rc != 0)
        return rc;
    d.addr = addr;
    rc = xport_dial(&d, &fd, &rtt, err);
    for (unsigned i = 0; i < WARM_UP + count && rc == 0; i++) {
        double began = now_us();

        rc = bench_send_all(fd, request, sizeof request, err);
        if (rc == 0)
            rc = bench_recv_all(fd, answer, sizeof answer, err);
        if (i >= WARM_UP)
            bench_samples_add(ret, now_us() - began);
    }
    if (fd >= 0)
        close(fd);
    far_rc = bench_sides_arrived(s, rc ? NULL : err);
    if (far_rc == 0)
        far_rc = bench_sides_result(s, &r, rc ? NULL : err);
    return rc ? rc : far_rc;
}
