/* See bench_sides.h. */
#include "bench/bench_sides.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/sb.h"
#include "netpolicy/nl_link.h"

#define PREFIX 30

const struct mig_ident bench_ident = {
    .vmi_uid = "bench", .migration_uid = "bench", .generation = 2};

static int fork_far(struct bench_sides *s, const char *ip, struct err *err);
static void far_main(int sock) __attribute__((noreturn));
static int set_up(const char *ifname, const char *ip, struct err *err);

int
bench_sides_start(struct bench_sides *s, struct err *err)
{
    int rc = fork_far(s, NULL, err);
    char path[64], go = 'g';

    if (rc != 0)
        return rc;
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
        rc = set_up("near", BENCH_NEAR_IP, err);
    if (rc == 0 && (send(s->sock, &go, 1, MSG_NOSIGNAL) != 1 || recv(s->sock, &go, 1, 0) != 1))
        rc = err_set(err, -EIO, "the far side could not set up its network");
    return rc;
}

int
bench_sides_start_at(struct bench_sides *s, int netns, const char *ip, struct err *err)
{
    *s = (struct bench_sides){.sock = -1};
    if (setns(netns, CLONE_NEWNET) < 0)
        return err_set(err, -errno, "network namespace: %s", strerror(errno));
    return fork_far(s, ip, err);
}

void
bench_sides_stop(struct bench_sides *s)
{
    if (s->sock >= 0)
        close(s->sock); /* its loop ends */
    while (s->far > 0 && waitpid(s->far, NULL, 0) < 0 && errno == EINTR)
        continue;
    *s = (struct bench_sides){.sock = -1};
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

int
bench_sides_faults(struct bench_sides *s, const struct bench_result *r, struct bench_samples *ret,
                   struct err *err)
{
    AUTO_FREE double *v = xcalloc(BENCH_MAX_FAULTS, sizeof *v);
    size_t bytes = r->fault_len * sizeof *v;

    if (r->fault_len > 0 && recv(s->sock, v, BENCH_MAX_FAULTS * sizeof *v, 0) != (ssize_t)bytes)
        return err_set(err, -EIO, "the far side does not answer");
    for (uint32_t i = 0; i < r->fault_len; i++)
        bench_samples_add(ret, v[i]);
    return 0;
}

uint64_t
bench_cpu_us(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000u +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* ip: NULL = it gets a network of its own. */
static int
fork_far(struct bench_sides *s, const char *ip, struct err *err)
{
    int pair[2];

    *s = (struct bench_sides){.sock = -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set(err, -errno, "socketpair: %s", strerror(errno));
    fflush(NULL);
    s->far = fork();
    if (s->far < 0) {
        s->far = 0;
        close(pair[0]);
        close(pair[1]);
        return err_set(err, -errno, "fork: %s", strerror(errno));
    }
    if (s->far == 0) {
        close(pair[0]);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!ip)
            far_main(pair[1]);
        bench_far_loop(pair[1], ip);
        _exit(0);
    }
    close(pair[1]);
    s->sock = pair[0];
    return 0;
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
    char go = 'g';

    if (unshare(CLONE_NEWNET) < 0 || send(sock, &go, 1, MSG_NOSIGNAL) != 1 ||
        recv(sock, &go, 1, 0) != 1)
        _exit(1);
    if (set_up("far", BENCH_FAR_IP, &err) != 0) {
        fprintf(stderr, "drover-bench: %s\n", err_msg(&err));
        _exit(1);
    }
    if (send(sock, &go, 1, MSG_NOSIGNAL) != 1)
        _exit(1);
    bench_far_loop(sock, BENCH_FAR_IP);
    _exit(0);
}
