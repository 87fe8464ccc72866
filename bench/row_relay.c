/* Row relay: what it costs to carry a stream of libvirt's and QEMU's from one host to the other: our
 * relay beside socat, in the clear and over TLS with the same suite, in turn with one another. Each
 * relay is two processes, and their CPU time is what the kernel says they used; who writes the stream
 * and who reads it are the same for all. */
#include "bench/bench_rows.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/sb.h"
#include "bench/bench_certs.h"
#include "bench/bench_house.h"
#include "bench/bench_raw.h"
#include "bench/bench_relay.h"
#include "proto/sum.h"

#define CPU_BOUND   0.8
#define WRITE_BYTES (256u << 10) /* QEMU's own writes are 32 to 512 KiB */
#define CONNECT_US  5000000
#define NEAR_PATH   BENCH_HOUSE_DIR "/relay-near.sock"

struct relay_run {
    struct bench_run *b;
    struct bench_sides sides;
    uint8_t *memory;
    uint64_t bytes, sum;
    struct bench_samples cpu[BENCH_RELAY_KINDS], gb_per_s[BENCH_RELAY_KINDS];
};

struct writer {
    const uint8_t *p;
    uint64_t bytes;
    int fd, rc;
    struct err err;
    pthread_t thread;
};

static int measure(struct relay_run *r, unsigned kind, struct err *err);
static int write_all(struct relay_run *r, unsigned streams, struct err *err);
static int connect_near(int fd, struct err *err);
static void *writer_main(void *arg);
static void report(struct relay_run *r, struct bench_row *row, bool encrypted);

static const char *
kind_text(unsigned kind, char *buf, size_t size)
{
    const struct bench_relay_kind *k = &bench_relay_kinds[kind];

    snprintf(buf, size, "%s%s%s%s", k->socat_buffer ? "socat -b " : "relay",
             k->socat_buffer ? k->socat_buffer : "", k->encrypted ? ", TLS" : "",
             k->streams > 1 ? ", 2 streams" : "");
    return buf;
}

int
bench_row_relay(struct bench_run *b, struct err *err)
{
    struct relay_run r = {.b = b, .bytes = bench_run_memory(b, 1ull << 30, 256ull << 20)};
    unsigned runs = bench_run_runs(b, 5, 3);
    double gib = (double)r.bytes / (1u << 30);
    struct bench_row *plain = bench_report_row(
        b->report, "relay", "%.3g GiB through a relay in the clear, %u runs in turn", gib, runs);
    struct bench_row *tls = bench_report_row(
        b->report, "relay", "%.3g GiB through a relay over TLS, %u runs in turn", gib, runs);
    int rc = 0;

    snprintf(plain->size, sizeof plain->size, "plain");
    snprintf(tls->size, sizeof tls->size, "TLS");
    if (!bench_relay_socat()) {
        snprintf(plain->absent, sizeof plain->absent, "there is no socat: install it (make deps)");
        memcpy(tls->absent, plain->absent, sizeof tls->absent);
        return 0;
    }
    bench_machine_touch(2 * r.bytes);
    r.memory = mmap(NULL, r.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (r.memory == MAP_FAILED)
        return err_set(err, -errno, "memory: %s", strerror(errno));
    /* Page tables that a relay's process got, and gave back, would be counted as its work. */
    madvise(r.memory, r.bytes, MADV_DONTFORK);
    for (uint64_t i = 0; i < r.bytes; i += 8)
        memcpy(r.memory + i, &(uint64_t){rng_mix(i)}, 8);
    r.sum = sum_bytes(r.memory, r.bytes, 0);
    rc = bench_sides_start(&r.sides, err);
    if (rc == 0)
        rc = bench_certs_make(err);
    for (unsigned i = 0; i < runs && rc == 0; i++) {
        for (unsigned k = 0; k < BENCH_RELAY_KINDS && rc == 0; k++) {
            char text[64];

            bench_run_progress(b, "run %u of %u: %s", i + 1, runs, kind_text(k, text, sizeof text));
            rc = measure(&r, k, err);
            if (rc != 0)
                err_prefix(err, rc, "%s", kind_text(k, text, sizeof text));
        }
    }
    bench_sides_stop(&r.sides);
    munmap(r.memory, r.bytes);
    if (rc == 0) {
        report(&r, plain, false);
        report(&r, tls, true);
    }
    for (unsigned k = 0; k < BENCH_RELAY_KINDS; k++) {
        bench_samples_done(&r.cpu[k]);
        bench_samples_done(&r.gb_per_s[k]);
    }
    return rc;
}

static int
measure(struct relay_run *r, unsigned kind, struct err *err)
{
    const struct bench_relay_kind *k = &bench_relay_kinds[kind];
    struct bench_order o = {.job = BENCH_JOB_RELAY,
                            .bytes = r->bytes,
                            .streams = k->streams,
                            .allocated = true,
                            .relay = kind,
                            .verify = true};
    double gb = (double)r->bytes / 1e9;
    struct bench_relay near = {0};
    char addr[MIG_ADDR_SIZE];
    struct bench_result far = {0};
    uint64_t began, us, cpu = 0;
    int rc = bench_sides_order(&r->sides, &o, addr, err), far_rc;

    if (rc != 0)
        return rc;
    rc = bench_relay_near(kind, addr, NEAR_PATH, &near, err);
    began = clock_mono_us();
    if (rc == 0)
        rc = write_all(r, k->streams, err);
    far_rc = bench_sides_arrived(&r->sides, rc ? NULL : err);
    us = clock_mono_us() - began;
    if (bench_relay_stop(&near, &cpu, rc ? NULL : err) != 0 && rc == 0)
        rc = -EIO;
    (void)unlink(NEAR_PATH);
    if (far_rc == 0)
        far_rc = bench_sides_result(&r->sides, &far, rc ? NULL : err);
    if (rc != 0 || far_rc != 0)
        return rc ? rc : far_rc;
    if (far.sum != r->sum)
        return err_set(err, -EIO, "what arrived is wrong");
    bench_samples_add(&r->cpu[kind], (double)(cpu + far.cpu_us) / 1e6 / gb);
    bench_samples_add(&r->gb_per_s[kind], gb * 1e6 / (double)us);
    return 0;
}

/* Each stream its contiguous share; the relay keeps the order in which they connect. */
static int
write_all(struct relay_run *r, unsigned streams, struct err *err)
{
    struct writer w[BENCH_RELAY_MAX_STREAMS] = {0};
    uint64_t share = r->bytes / streams;
    int rc = 0;

    for (unsigned i = 0; i < streams; i++) {
        w[i].p = r->memory + i * share;
        w[i].bytes = share;
        w[i].fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        w[i].rc = connect_near(w[i].fd, &w[i].err);
        if (w[i].rc == 0)
            pthread_create(&w[i].thread, NULL, writer_main, &w[i]);
    }
    for (unsigned i = 0; i < streams; i++) {
        if (w[i].thread)
            pthread_join(w[i].thread, NULL);
        if (w[i].rc != 0 && rc == 0) {
            rc = w[i].rc;
            *err = w[i].err;
        }
        close(w[i].fd);
    }
    return rc;
}

/* The path may be there a moment before its owner listens. */
static int
connect_near(int fd, struct err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX, .sun_path = NEAR_PATH};
    uint64_t until = clock_mono_us() + CONNECT_US;

    while (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0) {
        if (errno != ECONNREFUSED || clock_mono_us() > until)
            return err_set(err, -errno, "connect to the near relay: %s", strerror(errno));
        poll(NULL, 0, 1);
    }
    return 0;
}

static void *
writer_main(void *arg)
{
    struct writer *w = arg;
    char c;

    for (uint64_t at = 0; at < w->bytes && w->rc == 0; at += WRITE_BYTES) {
        uint64_t n = w->bytes - at < WRITE_BYTES ? w->bytes - at : WRITE_BYTES;

        w->rc = bench_send_all(w->fd, w->p + at, n, &w->err);
    }
    shutdown(w->fd, SHUT_WR);
    if (w->rc == 0 && recv(w->fd, &c, 1, 0) < 0) /* until the reader has closed */
        w->rc = err_set(&w->err, -errno, "the stream broke: %s", strerror(errno));
    return NULL;
}

static void
report(struct relay_run *r, struct bench_row *row, bool encrypted)
{
    double ours = NAN, ours_speed = NAN, best = NAN, speed = NAN;
    char text[64], name[64] = "";

    for (unsigned k = 0; k < BENCH_RELAY_KINDS; k++) {
        const struct bench_relay_kind *kind = &bench_relay_kinds[k];
        double cpu = bench_median(&r->cpu[k]), s = bench_median(&r->gb_per_s[k]);

        if (kind->encrypted != encrypted || (!kind->socat_buffer && kind->streams > 1))
            continue;
        if (!kind->socat_buffer) {
            ours = cpu;
            ours_speed = s;
        } else if (!(best <= cpu)) {
            best = cpu;
            speed = s;
            kind_text(k, name, sizeof name);
        }
    }
    bench_row_against(row, "s/GB", ours, best, CPU_BOUND, false, "CPU of the relay, both ends",
                      name);
    snprintf(row->note, sizeof row->note, "carries %.2f GB/s, %.2f of what that socat carries",
             ours_speed, ours_speed / speed);
    for (unsigned k = 0; k < BENCH_RELAY_KINDS; k++) {
        if (bench_relay_kinds[k].encrypted != encrypted)
            continue;
        kind_text(k, text, sizeof text);
        bench_row_take(row, "s/GB", &r->cpu[k], "%s: CPU", text);
        bench_row_take(row, "GB/s", &r->gb_per_s[k], "%s", text);
    }
}
