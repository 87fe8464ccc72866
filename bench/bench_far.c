/* The far side of a measurement: takes orders and answers each with an address, a byte when
 * everything has come, and its figures. See bench_sides.h. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/sb.h"
#include "bench/bench_certs.h"
#include "bench/bench_house.h"
#include "bench/bench_prober.h"
#include "bench/bench_raw.h"
#include "bench/bench_relay.h"
#include "bench/bench_sides.h"
#include "handler/native_guest.h"
#include "migrate/tls.h"
#include "migrate/xport.h"
#include "proto/sum.h"

#define STATE_DIR    BENCH_HOUSE_DIR "/far"
#define RELAY_PATH   BENCH_HOUSE_DIR "/relay-far.sock"
#define DOWNTIME_US  5000000 /* the guest knows it at its first step */
#define ANSWER_BYTES 4096

struct far {
    int sock;
    const char *ip;
    uint8_t *raw; /* kept from one RAW order to the next: already touched */
    uint64_t raw_bytes;
    unsigned seq;
};

static void do_raw(struct far *f, const struct bench_order *o, struct bench_result *r);
static void do_move(struct far *f, const struct bench_order *o, struct bench_result *r);
static void do_faults(struct far *f, const struct bench_order *o, struct bench_result *r);
static void do_echo(struct far *f, struct bench_result *r);
static void do_relay(struct far *f, const struct bench_order *o, struct bench_result *r);

void
bench_far_loop(int sock, const char *ip)
{
    struct far f = {.sock = sock, .ip = ip};
    struct bench_order o;

    while (recv(sock, &o, sizeof o, 0) == (ssize_t)sizeof o) {
        struct bench_result r = {0};

        switch (o.job) {
        case BENCH_JOB_RAW:
            do_raw(&f, &o, &r);
            break;
        case BENCH_JOB_MOVE:
            do_move(&f, &o, &r);
            break;
        case BENCH_JOB_FAULTS:
            do_faults(&f, &o, &r);
            continue; /* it has answered */
        case BENCH_JOB_ECHO:
            do_echo(&f, &r);
            break;
        case BENCH_JOB_RELAY:
            do_relay(&f, &o, &r);
            break;
        }
        if (send(sock, &r, sizeof r, MSG_NOSIGNAL) < 0)
            return;
    }
}

static void
tell_address(struct far *f, const char *addr)
{
    char buf[MIG_ADDR_SIZE] = "";

    snprintf(buf, sizeof buf, "%s", addr);
    if (send(f->sock, buf, sizeof buf, MSG_NOSIGNAL) < 0)
        _exit(1);
}

static void
tell_arrived(struct far *f)
{
    if (send(f->sock, "x", 1, MSG_NOSIGNAL) < 0)
        _exit(1);
}

/* --- RAW --- */

static int
raw_memory(struct far *f, const struct bench_order *o, struct err *err)
{
    void *p;

    if (f->raw && f->raw_bytes == o->bytes && o->allocated)
        return 0;
    if (f->raw)
        munmap(f->raw, f->raw_bytes);
    f->raw = NULL;
    p = mmap(NULL, o->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return err_set(err, -errno, "memory of %" PRIu64 " bytes: %s", o->bytes, strerror(errno));
    f->raw = p;
    f->raw_bytes = o->bytes;
    for (uint64_t i = 0; o->allocated && i < o->bytes; i += 4096)
        ((volatile uint8_t *)p)[i] = 1;
    return 0;
}

static void
do_raw(struct far *f, const struct bench_order *o, struct bench_result *r)
{
    struct err err = {0};
    char addr[MIG_ADDR_SIZE] = "";
    AUTO_FD int fd = -1;
    uint64_t cpu;

    r->rc = raw_memory(f, o, &err);
    if (r->rc == 0)
        r->rc = xport_listen(f->ip, "", &fd, addr, &err);
    tell_address(f, addr);
    cpu = bench_cpu_us();
    if (r->rc == 0)
        r->rc = bench_raw_receive(fd, f->raw, o->bytes, o->streams, o->encrypted, &err);
    r->cpu_us = bench_cpu_us() - cpu;
    tell_arrived(f);
    if (r->rc == 0 && o->verify)
        r->sum = sum_bytes(f->raw, o->bytes, 0);
    snprintf(r->text, sizeof r->text, "%s", err_msg(&err));
}

/* --- MOVE --- */

static int
durable(void *ctx, struct err *err)
{
    (void)ctx, (void)err;
    return 0;
}

/* Touches all memory through the mapping that the engine will write to. */
static int
allocate(struct native_guest *g, struct err *err)
{
    struct guest port = native_guest(g);
    struct guest_region regions[GUEST_MAX_REGIONS];
    int n = port.ops->regions(port.impl, regions, err);

    for (int i = 0; i < n; i++) {
        for (uint64_t at = 0; at < regions[i].size; at += 4096)
            ((volatile uint8_t *)regions[i].map)[at] = 0;
    }
    return n < 0 ? n : 0;
}

static int
guest_downtime(struct native_guest *g, uint64_t *ret_us, struct err *err)
{
    uint64_t until = clock_mono_us() + DOWNTIME_US;
    struct native_status st;
    int rc;

    do {
        rc = native_status(g, &st, err);
        if (rc != 0)
            return rc;
        if (st.downtime_known) {
            *ret_us = st.downtime_us;
            return 0;
        }
        poll(NULL, 0, 2);
    } while (clock_mono_us() < until);
    return err_set(err, -ETIMEDOUT, "the guest that arrived makes no step");
}

static int
check_guest(struct native_guest *g, struct err *err)
{
    struct native_verify v;
    int rc = native_verify(g, 0, &v, err);

    if (rc == 0 && !v.ok)
        rc = err_set(err, -EIO, "the memory that arrived is wrong: %s", v.text);
    return rc;
}

static void
do_move(struct far *f, const struct bench_order *o, struct bench_result *r)
{
    AUTO_FREE char *uid = xasprintf("t%u", f->seq++);
    struct native_config nc = {.state_dir = STATE_DIR,
                               .program = bench_house_guest_program(),
                               .vmi_uid = uid,
                               .memory_bytes = o->bytes,
                               .incoming = true};
    struct mig_target_config cfg = {.ident = bench_ident,
                                    .network_trusted = o->trusted,
                                    .prepared = durable,
                                    .committed = durable,
                                    .never = durable};
    struct native_guest *g = NULL;
    struct tls_ctx *tls = NULL;
    struct mig_target *t = NULL;
    struct err err = {0};
    uint64_t cpu;

    r->rc = native_spawn(&nc, &g, &err);
    if (r->rc == 0 && o->allocated)
        r->rc = allocate(g, &err);
    if (r->rc == 0 && o->encrypted) {
        r->rc = bench_certs_load(BENCH_CERTS_FAR, &tls, &err);
        cfg.tls = tls;
        snprintf(cfg.tls_peer, sizeof cfg.tls_peer, "%s", BENCH_CERTS_NEAR);
    }
    if (r->rc == 0) {
        cfg.guest = native_guest(g);
        snprintf(cfg.listen_ip, sizeof cfg.listen_ip, "%s", f->ip);
        r->rc = mig_target_new(&cfg, &t, &err);
    }
    tell_address(f, t ? mig_target_address(t) : "");
    cpu = bench_cpu_us();
    if (r->rc == 0 && mig_target_run(t, &err) != MIG_TARGET_RUNNING)
        r->rc = -EIO;
    r->cpu_us = bench_cpu_us() - cpu;
    tell_arrived(f);
    if (t)
        mig_target_stats(t, &r->stats);
    mig_target_free(t);
    tls_ctx_unref(tls);
    if (r->rc == 0 && o->downtime)
        r->rc = guest_downtime(g, &r->downtime_us, &err);
    if (r->rc == 0 && o->verify)
        r->rc = check_guest(g, &err);
    snprintf(r->text, sizeof r->text, "%s", err_msg(&err));
    if (g)
        (void)native_remove(g, NULL);
    native_free(g);
}

/* --- FAULTS --- */

static void
do_faults(struct far *f, const struct bench_order *o, struct bench_result *r)
{
    struct mig_target_config cfg = {.ident = bench_ident,
                                    .network_trusted = o->trusted,
                                    .prepared = durable,
                                    .committed = durable,
                                    .never = durable};
    struct bench_prober g;
    struct mig_target *t = NULL;
    struct err err = {0};
    size_t all;

    r->rc = bench_prober_init(&g, o->bytes, &err);
    if (r->rc == 0) {
        cfg.guest = bench_prober_port(&g);
        snprintf(cfg.listen_ip, sizeof cfg.listen_ip, "%s", f->ip);
        r->rc = mig_target_new(&cfg, &t, &err);
    }
    tell_address(f, t ? mig_target_address(t) : "");
    if (r->rc == 0 && mig_target_run(t, &err) != MIG_TARGET_RUNNING)
        r->rc = -EIO;
    bench_prober_stop(&g);
    tell_arrived(f);
    if (t)
        mig_target_stats(t, &r->stats);
    mig_target_free(t);
    if (r->rc == 0)
        r->sum = bench_prober_sum(&g);
    snprintf(r->text, sizeof r->text, "%s", err_msg(&err));
    all = g.fault_us.len;
    r->fault_len = (uint32_t)(all < BENCH_MAX_FAULTS ? all : BENCH_MAX_FAULTS);
    r->faults = all;
    for (uint32_t i = 0; i < r->fault_len; i++) /* spread over the whole time */
        g.fault_us.v[i] = g.fault_us.v[all * i / r->fault_len];
    if (send(f->sock, r, sizeof *r, MSG_NOSIGNAL) < 0 ||
        (r->fault_len > 0 &&
         send(f->sock, g.fault_us.v, r->fault_len * sizeof *g.fault_us.v, MSG_NOSIGNAL) < 0))
        _exit(1);
    bench_prober_done(&g);
}

/* --- ECHO --- */

static void
do_echo(struct far *f, struct bench_result *r)
{
    uint8_t answer[ANSWER_BYTES] = {1}, request[16];
    struct err err = {0};
    char addr[MIG_ADDR_SIZE] = "";
    AUTO_FD int fd = -1;
    AUTO_FD int conn = -1;

    r->rc = xport_listen(f->ip, "", &fd, addr, &err);
    tell_address(f, addr);
    if (r->rc == 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        poll(&p, 1, 10000);
        conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        r->rc = conn < 0 ? err_set(&err, -errno, "accept: %s", strerror(errno)) : 0;
    }
    if (r->rc == 0)
        xport_tune(conn, 10000000);
    while (r->rc == 0 && bench_recv_all(conn, request, sizeof request, NULL) == 0)
        r->rc = bench_send_all(conn, answer, sizeof answer, &err);
    tell_arrived(f);
    snprintf(r->text, sizeof r->text, "%s", err_msg(&err));
}

/* --- RELAY --- */

static int
listen_relay(int *ret, struct err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX, .sun_path = RELAY_PATH};
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)unlink(RELAY_PATH);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 ||
        listen(fd, BENCH_RELAY_MAX_STREAMS) < 0)
        return err_set(err, -errno, RELAY_PATH ": %s", strerror(errno));
    *ret = take_fd(&fd);
    return 0;
}

static void
do_relay(struct far *f, const struct bench_order *o, struct bench_result *r)
{
    struct bench_relay relay = {0};
    char addr[MIG_ADDR_SIZE] = "";
    struct err err = {0};
    AUTO_FD int fd = -1;
    int rc;

    r->rc = raw_memory(f, o, &err);
    if (r->rc == 0)
        r->rc = listen_relay(&fd, &err);
    if (r->rc == 0)
        r->rc = bench_relay_far(o->relay, RELAY_PATH, &relay, addr, &err);
    tell_address(f, addr);
    if (r->rc == 0)
        r->rc = bench_raw_receive(fd, f->raw, o->bytes, o->streams, false, &err);
    tell_arrived(f);
    rc = bench_relay_stop(&relay, &r->cpu_us, r->rc ? NULL : &err);
    r->rc = r->rc ? r->rc : rc;
    if (r->rc == 0 && o->verify)
        r->sum = sum_bytes(f->raw, o->bytes, 0);
    snprintf(r->text, sizeof r->text, "%s", err_msg(&err));
}
