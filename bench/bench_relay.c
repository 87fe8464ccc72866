/* One side's relay process; see bench_relay.h. */
#include "bench/bench_relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sb.h"
#include "bench/bench_certs.h"
#include "bench/bench_house.h"
#include "migrate/relay.h"
#include "migrate/tls.h"
#include "migrate/xport.h"

#define UP_US 5000000 /* for a relay to make its socket */
#define CONF  BENCH_HOUSE_DIR "/socat-openssl.cnf"
#define CERTS BENCH_HOUSE_DIR "/certs"

const struct bench_relay_kind bench_relay_kinds[BENCH_RELAY_KINDS] = {
    {NULL, false, 1}, {NULL, false, 2}, {"8192", false, 1}, {"1048576", false, 1},
    {NULL, true, 1},  {NULL, true, 2},  {"8192", true, 1},  {"1048576", true, 1},
};

static int start(struct bench_relay *r, int ret_out[2], struct err *err);
static void child_far(unsigned kind, const char *path, int out);
static void child_near(unsigned kind, const char *addr, const char *path, int out);
static void run_until_stopped(void);
static void nothing_said(void *ctx, const void *msg, size_t len);
static void nothing_broke(void *ctx, enum relay_kind kind, const struct err *err);
static void run_socat(const char *buffer, const char *from, const char *to);
static int free_port(char ret[MIG_ADDR_SIZE], struct err *err);
static int write_conf(struct err *err);

const char *
bench_relay_socat(void)
{
    static const char *const places[] = {"/usr/bin/socat", "/usr/local/bin/socat", "/bin/socat"};

    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        if (access(places[i], X_OK) == 0)
            return places[i];
    }
    return NULL;
}

int
bench_relay_far(unsigned kind, const char *path, struct bench_relay *ret,
                char ret_addr[MIG_ADDR_SIZE], struct err *err)
{
    const struct bench_relay_kind *k = &bench_relay_kinds[kind];
    int out[2] = {-1, -1}, rc = k->socat_buffer ? free_port(ret_addr, err) : 0;

    if (rc == 0 && k->encrypted)
        rc = write_conf(err);
    if (rc == 0)
        rc = start(ret, out, err);
    if (rc != 0)
        return rc;
    if (ret->pid == 0) {
        if (!k->socat_buffer)
            child_far(kind, path, out[1]);

        AUTO_FREE char *from =
            xasprintf(k->encrypted ? "OPENSSL-LISTEN:%s,bind=" BENCH_FAR_IP
                                     ",reuseaddr,verify=1,cafile=" CERTS "/far/ca.crt,cert=" CERTS
                                     "/far/tls.crt,key=" CERTS "/far/tls.key,commonname=near"
                                   : "TCP-LISTEN:%s,bind=" BENCH_FAR_IP ",reuseaddr",
                      strrchr(ret_addr, ':') + 1);
        AUTO_FREE char *to = xasprintf("UNIX-CONNECT:%s", path);

        run_socat(k->socat_buffer, from, to);
    }
    close(out[1]);
    if (!k->socat_buffer && fs_read_full(out[0], ret_addr, MIG_ADDR_SIZE) != 0)
        rc = err_set(err, -EIO, "the far relay did not start");
    close(out[0]);
    return rc;
}

int
bench_relay_near(unsigned kind, const char *addr, const char *path, struct bench_relay *ret,
                 struct err *err)
{
    const struct bench_relay_kind *k = &bench_relay_kinds[kind];
    uint64_t until = clock_mono_us() + UP_US;
    struct stat st;
    int out[2] = {-1, -1}, rc = start(ret, out, err);

    if (rc != 0)
        return rc;
    if (ret->pid == 0) {
        if (!k->socat_buffer)
            child_near(kind, addr, path, out[1]);

        AUTO_FREE char *from = xasprintf("UNIX-LISTEN:%s", path);
        AUTO_FREE char *to =
            xasprintf(k->encrypted ? "OPENSSL:%s,retry=100,interval=0.02,verify=1,cafile=" CERTS
                                     "/near/ca.crt,cert=" CERTS "/near/tls.crt,key=" CERTS
                                     "/near/tls.key,commonname=far"
                                   : "TCP:%s,retry=100,interval=0.02",
                      addr);

        run_socat(k->socat_buffer, from, to);
    }
    close(out[1]);
    close(out[0]);
    while (stat(path, &st) != 0) {
        if (clock_mono_us() > until)
            return err_set(err, -ETIMEDOUT, "the near relay did not start");
        poll(NULL, 0, 2);
    }
    return 0;
}

int
bench_relay_stop(struct bench_relay *r, uint64_t *ret_cpu_us, struct err *err)
{
    struct rusage u;
    int status;

    if (r->pid <= 0)
        return 0;
    close(r->stop_fd); /* socat ends by itself, when both of its ends have */
    for (unsigned i = 0; wait4(r->pid, &status, i < 500 ? WNOHANG : 0, &u) == 0; i++) {
        if (i == 499)
            kill(r->pid, SIGKILL);
        poll(NULL, 0, 10);
    }
    r->pid = 0;
    *ret_cpu_us = (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000u +
                  (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return err_set(err, -EIO, "a relay ended with status %#x", (unsigned)status);
    return 0;
}

/* In the child the pid is 0, and standard input ends when it is to end. */
static int
start(struct bench_relay *r, int ret_out[2], struct err *err)
{
    int stop[2];

    if (pipe2(stop, O_CLOEXEC) < 0 || pipe2(ret_out, O_CLOEXEC) < 0)
        return err_set(err, -errno, "pipe: %s", strerror(errno));
    fflush(NULL);
    r->pid = fork();
    if (r->pid < 0)
        return err_set(err, -errno, "fork: %s", strerror(errno));
    if (r->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(stop[0], STDIN_FILENO);
        close(stop[1]);
    }
    close(stop[0]);
    r->stop_fd = stop[1];
    return 0;
}

static void
child_far(unsigned kind, const char *path, int out)
{
    struct relay_target_config c = {.ident = bench_ident,
                                    .listen_ip = BENCH_FAR_IP,
                                    .tls_peer = BENCH_CERTS_NEAR,
                                    .message = nothing_said,
                                    .broken = nothing_broke};
    char addr[MIG_ADDR_SIZE] = "";
    struct relay_target *t;
    struct err err = {0};

    snprintf(c.rpc_path, sizeof c.rpc_path, "%s", path);
    snprintf(c.data_path, sizeof c.data_path, "%s", path);
    if ((bench_relay_kinds[kind].encrypted && bench_certs_load(BENCH_CERTS_FAR, &c.tls, &err)) ||
        relay_target_new(&c, &t, &err) != 0) {
        fprintf(stderr, "drover-bench: %s\n", err_msg(&err));
        _exit(1);
    }
    snprintf(addr, sizeof addr, "%s", relay_target_address(t));
    if (fs_write_full(out, addr, sizeof addr) != 0)
        _exit(1);
    run_until_stopped();
    relay_target_free(t);
    tls_ctx_unref(c.tls);
    _exit(0);
}

static void
child_near(unsigned kind, const char *addr, const char *path, int out)
{
    struct relay_source_config c = {.ident = bench_ident,
                                    .tls_peer = BENCH_CERTS_FAR,
                                    .message = nothing_said,
                                    .broken = nothing_broke};
    struct relay_source *s;
    enum mig_cause cause;
    struct err err = {0};

    close(out);
    snprintf(c.target_addr, sizeof c.target_addr, "%s", addr);
    snprintf(c.rpc_path, sizeof c.rpc_path, "%.100s-rpc", path);
    snprintf(c.data_path, sizeof c.data_path, "%s", path);
    if ((bench_relay_kinds[kind].encrypted && bench_certs_load(BENCH_CERTS_NEAR, &c.tls, &err)) ||
        relay_source_new(&c, &s, &cause, &err) != 0) {
        fprintf(stderr, "drover-bench: %s\n", err_msg(&err));
        _exit(1);
    }
    run_until_stopped();
    relay_source_free(s);
    tls_ctx_unref(c.tls);
    _exit(0);
}

static void
run_until_stopped(void)
{
    char c;

    while (read(STDIN_FILENO, &c, 1) > 0)
        continue;
}

static void
nothing_said(void *ctx, const void *msg, size_t len)
{
    (void)ctx, (void)msg, (void)len;
}

static void
nothing_broke(void *ctx, enum relay_kind kind, const struct err *err)
{
    (void)ctx, (void)kind, (void)err; /* what was not carried shows at the other side */
}

static void
run_socat(const char *buffer, const char *from, const char *to)
{
    setenv("OPENSSL_CONF", CONF, 1);
    execl(bench_relay_socat(), "socat", "-b", buffer, from, to, (char *)NULL);
    _exit(127);
}

/* socat wants to be told one. */
static int
free_port(char ret[MIG_ADDR_SIZE], struct err *err)
{
    int fd, rc = xport_listen(BENCH_FAR_IP, "", &fd, ret, err);

    if (rc == 0)
        close(fd);
    return rc;
}

/* The suite that ours agree on: socat has no option for those of TLS 1.3. */
static int
write_conf(struct err *err)
{
    static const char text[] = "openssl_conf = top\n[top]\nssl_conf = ssl\n[ssl]\n"
                               "system_default = suite\n[suite]\nMinProtocol = TLSv1.3\n"
                               "Ciphersuites = TLS_AES_128_GCM_SHA256\n";

    return fs_replace(CONF, text, sizeof text - 1, 0644, err);
}
