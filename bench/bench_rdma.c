/* See bench_rdma.h. */
#include "bench/bench_rdma.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <math.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sb.h"
#include "bench/bench_house.h"

#define PERFTEST    "ib_write_bw"
#define PORT        "18615"
#define WRITE_BYTES 65536u
#define SERVER_LOG  BENCH_HOUSE_DIR "/perftest-server.log"
#define CLIENT_LOG  BENCH_HOUSE_DIR "/perftest-client.log"
#define LISTENS_US  5000000  /* until the server does */
#define MEASURES_US 60000000 /* until it has sent everything */
#define MAX_LOG     65536

/* Of a device that is software: rxe calls itself so; siw in a sentence. */
static bool
is_soft(const char *device)
{
    AUTO_FREE char *path = xasprintf("/sys/class/infiniband/%s/node_desc", device);
    AUTO_FREE char *text = NULL;
    size_t len;

    if (fs_read_all(path, 256, &text, &len, NULL) != 0)
        return false;
    return strncmp(text, "rxe", 3) == 0 || strstr(text, "Software iWARP");
}

static int
try_address(const char *ip, struct bench_rdma *ret, struct err *err)
{
    struct nic *nic;
    int rc = nic_open(ip, "", &nic, err);

    if (rc != 0)
        return rc;
    *ret = (struct bench_rdma){.soft = is_soft(nic_facts(nic)->device)};
    snprintf(ret->ip, sizeof ret->ip, "%s", ip);
    snprintf(ret->device, sizeof ret->device, "%s", nic_facts(nic)->device);
    nic_close(nic);
    return 0;
}

static int
find(const char *ip, struct bench_rdma *ret, struct err *err)
{
    struct ifaddrs *all = NULL;
    int rc = -ENODEV;

    if (ip)
        return try_address(ip, ret, err);
    if (getifaddrs(&all) < 0)
        return err_set(err, -errno, "addresses of this machine: %s", strerror(errno));
    for (const struct ifaddrs *i = all; i && rc != 0; i = i->ifa_next) {
        char text[INET6_ADDRSTRLEN];

        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK) ||
            !(i->ifa_flags & IFF_UP))
            continue;
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr, text,
                  sizeof text);
        rc = try_address(text, ret, NULL);
    }
    freeifaddrs(all);
    return rc ? err_set(err, -ENODEV, "no address of this machine belongs to an RDMA device") : 0;
}

/* In a process of its own: librdmacm keeps what it has opened, and one that is forked later would share
 * it. */
int
bench_rdma_find(const char *ip, struct bench_rdma *ret, struct err *err)
{
    struct {
        int rc;
        struct bench_rdma found;
        struct err err;
    } said = {0};
    int pair[2], status;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set(err, -errno, "socketpair: %s", strerror(errno));
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        said.rc = find(ip, &said.found, &said.err);
        _exit(send(pair[1], &said, sizeof said, MSG_NOSIGNAL) < 0);
    }
    close(pair[1]);
    if (pid < 0 || recv(pair[0], &said, sizeof said, 0) != (ssize_t)sizeof said)
        said.rc = err_set(&said.err, -EIO, "the search for a device came to no end");
    close(pair[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (said.rc != 0)
        return err_set(err, said.rc, "%s", err_msg(&said.err));
    *ret = said.found;
    return 0;
}

/* --- ib_write_bw --- */

static pid_t
start(const char *log, const char *iterations, const char *peer)
{
    char size[16];
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);

    int null_fd = open("/dev/null", O_RDONLY);
    int log_fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    if (dup2(null_fd, 0) < 0 || dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0)
        _exit(127);
    snprintf(size, sizeof size, "%u", WRITE_BYTES);
    execlp(PERFTEST, PERFTEST, "-R", "-F", "-p", PORT, "-s", size, "-n", iterations,
           "--report_gbits", peer, (char *)NULL);
    _exit(127);
}

/* Its exit status; -ETIMEDOUT, and then it is no more. */
static int
ended(pid_t pid, uint64_t until_us)
{
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (clock_mono_us() > until_us) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return -ETIMEDOUT;
        }
        poll(NULL, 0, 5);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool
bench_rdma_parse(const char *text, double *ret_gb_per_s)
{
    for (const char *line = text; line; line = strchr(line, '\n')) {
        unsigned long bytes, count;
        double peak, average;

        line += *line == '\n';
        /* #bytes #iterations BW peak[Gb/sec] BW average[Gb/sec] MsgRate[Mpps] */
        if (sscanf(line, " %lu %lu %lf %lf", &bytes, &count, &peak, &average) == 4) {
            *ret_gb_per_s = average / 8;
            return average > 0;
        }
    }
    return false;
}

int
bench_rdma_write_bw(const struct bench_rdma *d, uint64_t bytes, double *ret_gb_per_s,
                    struct err *err)
{
    AUTO_FREE char *iterations = xasprintf("%llu", (unsigned long long)(bytes / WRITE_BYTES));
    AUTO_FREE char *text = NULL;
    uint64_t began = clock_mono_us();
    pid_t server = start(SERVER_LOG, iterations, NULL);
    size_t len;
    int rc;

    if (server < 0)
        return err_set(err, -errno, "fork: %s", strerror(errno));
    do { /* it is refused until the server listens, which nothing says */
        pid_t client = start(CLIENT_LOG, iterations, d->ip);

        rc = client < 0 ? -errno : ended(client, clock_mono_us() + MEASURES_US);
    } while (rc > 0 && rc != 127 && clock_mono_us() < began + LISTENS_US);
    if (rc != 0)
        kill(server, SIGKILL);
    (void)ended(server, clock_mono_us() + LISTENS_US);
    if (rc == 127)
        return err_set(err, -ENOENT, PERFTEST " is not installed (package perftest)");
    if (rc != 0)
        return err_set(err, rc < 0 ? rc : -EIO, PERFTEST " over %s failed: %d", d->device, rc);
    rc = fs_read_all(CLIENT_LOG, MAX_LOG, &text, &len, err);
    if (rc == 0 && !bench_rdma_parse(text, ret_gb_per_s))
        rc = err_set(err, -EIO, PERFTEST " says nothing of a bandwidth");
    return rc;
}
