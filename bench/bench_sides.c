/* See bench_sides.h. */
#include "bench/bench_sides.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "bench/bench_guest.h"
#include "bench/bench_raw.h"
#include "migrate/xport.h"
#include "netpolicy/nl_link.h"

#define NEAR_IP "198.18.0.1"
#define FAR_IP  "198.18.0.2"
#define PREFIX  30

const struct mig_ident bench_ident = {
    .vmi_uid = "bench", .migration_uid = "bench", .generation = 1};

static void far_main(int sock) __attribute__((noreturn));
static int set_up(const char *ifname, const char *ip, struct err *err);
static void do_order(int sock, const struct bench_order *o);

int
bench_sides_start(struct bench_sides *s, struct err *err)
{
    int pair[2], rc;
    char path[64], go = 'g';

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set(err, -errno, "socketpair: %s", strerror(errno));
    fflush(NULL);
    s->far = fork();
    if (s->far < 0)
        return err_set(err, -errno, "fork: %s", strerror(errno));
    if (s->far == 0) {
        close(pair[0]);
        far_main(pair[1]);
    }
    close(pair[1]);
    s->sock = pair[0];
    if (unshare(CLONE_NEWNET) < 0)
        return err_set(err, -errno, "network namespace: %s", strerror(errno));
    if (recv(s->sock, &go, 1, 0) != 1) /* it has its namespace */
        return err_set(err, -EPERM, "the far side has no network namespace");
    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)s->far);

    AUTO_FD int ns = open(path, O_RDONLY | O_CLOEXEC);

    if (ns < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    rc = nl_veth_add("near", "far", ns, err);
    if (rc == 0)
        rc = set_up("near", NEAR_IP, err);
    if (rc == 0 && (send(s->sock, &go, 1, MSG_NOSIGNAL) != 1 || recv(s->sock, &go, 1, 0) != 1))
        rc = err_set(err, -EIO, "the far side could not set up its network");
    return rc;
}

void
bench_sides_stop(struct bench_sides *s)
{
    if (s->sock >= 0)
        close(s->sock); /* its loop ends */
    if (s->far > 0)
        waitpid(s->far, NULL, 0);
    s->sock = -1;
    s->far = 0;
}

int
bench_sides_order(struct bench_sides *s, const struct bench_order *o, char ret_addr[MIG_ADDR_SIZE],
                  struct err *err)
{
    if (send(s->sock, o, sizeof *o, MSG_NOSIGNAL) != (ssize_t)sizeof *o ||
        recv(s->sock, ret_addr, MIG_ADDR_SIZE, 0) != MIG_ADDR_SIZE)
        return err_set(err, -EIO, "the far side does not answer");
    return 0;
}

int
bench_sides_arrived(struct bench_sides *s, struct err *err)
{
    char c;

    return recv(s->sock, &c, 1, 0) == 1 ? 0 : err_set(err, -EIO, "the far side does not answer");
}

int
bench_sides_result(struct bench_sides *s, struct bench_result *ret, struct err *err)
{
    if (recv(s->sock, ret, sizeof *ret, 0) != (ssize_t)sizeof *ret)
        return err_set(err, -EIO, "the far side does not answer");
    return ret->rc ? err_set(err, ret->rc, "far side: %s", ret->text) : 0;
}

static int
set_up(const char *ifname, const char *ip, struct err *err)
{
    struct ip a;
    int rc = ip_parse(ip, &a, NULL);

    if (rc == 0)
        rc = nl_addr_add(ifname, &a, PREFIX, err);
    return rc ? rc : nl_link_up(ifname, err);
}

static void
far_main(int sock)
{
    struct err err = {0};
    struct bench_order o;
    char go = 'g';

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (unshare(CLONE_NEWNET) < 0 || send(sock, &go, 1, MSG_NOSIGNAL) != 1 ||
        recv(sock, &go, 1, 0) != 1)
        _exit(1);
    if (set_up("far", FAR_IP, &err) != 0) {
        fprintf(stderr, "drover-bench: %s\n", err_msg(&err));
        _exit(1);
    }
    if (send(sock, &go, 1, MSG_NOSIGNAL) != 1)
        _exit(1);
    while (recv(sock, &o, sizeof o, 0) == (ssize_t)sizeof o)
        do_order(sock, &o);
    _exit(0);
}

static void
do_order(int sock, const struct bench_order *o)
{
    struct bench_result r = {0};
    struct bench_guest g;
    struct mig_target_config cfg = {.ident = bench_ident};
    struct mig_target *t = NULL;
    struct mig_stats st;
    struct err err = {0};
    char addr[MIG_ADDR_SIZE] = "";
    AUTO_FD int fd = -1;

    r.rc = bench_guest_init(&g, o->bytes, &err);
    if (r.rc == 0 && o->allocated)
        bench_guest_allocate(&g);
    if (o->job == BENCH_JOB_RAW) {
        if (r.rc == 0)
            r.rc = xport_listen(FAR_IP, "", &fd, addr, &err);
    } else if (r.rc == 0) {
        snprintf(cfg.listen_ip, sizeof cfg.listen_ip, "%s", FAR_IP);
        cfg.guest = bench_guest_port(&g);
        r.rc = mig_target_new(&cfg, &t, &err);
        if (r.rc == 0)
            snprintf(addr, sizeof addr, "%s", mig_target_address(t));
    }
    if (send(sock, addr, sizeof addr, MSG_NOSIGNAL) < 0)
        _exit(1);
    if (r.rc == 0 && o->job == BENCH_JOB_RAW)
        r.rc = bench_raw_receive(fd, g.region.map, o->bytes, o->streams, &err);
    else if (r.rc == 0 && mig_target_run(t, &err) != MIG_TARGET_RUNNING)
        r.rc = -EIO;
    if (send(sock, "x", 1, MSG_NOSIGNAL) < 0)
        _exit(1);
    if (t) {
        mig_target_stats(t, &st);
        r.cpu_us = st.cpu_us;
    }
    mig_target_free(t);
    if (r.rc == 0)
        r.sum = bench_guest_sum(&g);
    snprintf(r.text, sizeof r.text, "%s", err_msg(&err));
    bench_guest_done(&g);
    if (send(sock, &r, sizeof r, MSG_NOSIGNAL) < 0)
        _exit(1);
}
