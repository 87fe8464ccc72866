/* See hosts.h. */
#include "tests/migrate/hosts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netpolicy/netns.h"
#include "netpolicy/nl_link.h"

static void
must(int rc, const char *what, const struct err *err)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "# %s: %s\n", what, err_msg(err));
    abort();
}

bool
hosts_permitted(const char **why)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0)
        _exit(unshare(CLONE_NEWNET) == 0 ? 0 : 1);
    *why = "needs root: it makes network namespaces";
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static int
here(void)
{
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        abort();
    return fd;
}

void
hosts_make(struct hosts *h)
{
    struct err err = {0};

    h->home = here();
    for (int i = 0; i < 2; i++) {
        if (unshare(CLONE_NEWNET) != 0)
            abort();
        must(nl_link_up("lo", &err), "lo", &err);
        h->ns[i] = here();
    }
    must(netns_enter(h->home, &err), "home", &err);
}

void
hosts_free(struct hosts *h)
{
    struct err err = {0};

    must(netns_enter(h->home, &err), "home", &err);
    for (int i = 0; i < 2; i++)
        close(h->ns[i]);
    close(h->home);
}

void
hosts_enter(const struct hosts *h, int host)
{
    struct err err = {0};

    must(netns_enter(h->ns[host], &err), "host", &err);
}

const char *
hosts_ip(unsigned net, bool v6, int host, char buf[INET6_ADDRSTRLEN])
{
    snprintf(buf, INET6_ADDRSTRLEN, v6 ? "fd00:%u::%d" : "198.18.%u.%d", net, host + 1);
    return buf;
}

struct side {
    const char *ifname;
    unsigned net;
    bool v6, up;
    uint32_t mtu;
    int host, peer_fd;
};

static int
make_pair(void *ctx, struct err *err)
{
    const struct side *s = ctx;

    return nl_veth_add(s->ifname, s->ifname, s->peer_fd, err);
}

static int
set_up(void *ctx, struct err *err)
{
    const struct side *s = ctx;
    char text[INET6_ADDRSTRLEN];
    struct ip ip;
    int rc = ip_parse(hosts_ip(s->net, s->v6, s->host, text), &ip, NULL);

    if (rc == 0)
        rc = nl_link_set_mtu(s->ifname, s->mtu, err);
    if (rc == 0)
        rc = nl_addr_add(s->ifname, &ip, s->v6 ? 64 : 24, err);
    return rc ? rc : nl_link_up(s->ifname, err);
}

void
hosts_cable(const struct hosts *h, const char *ifname, unsigned net, bool v6, uint32_t mtu)
{
    struct side s = {.ifname = ifname, .net = net, .v6 = v6, .mtu = mtu, .peer_fd = h->ns[1]};
    struct err err = {0};

    must(netns_call(h->ns[0], make_pair, &s, &err), ifname, &err);
    for (s.host = 0; s.host < 2; s.host++)
        must(netns_call(h->ns[s.host], set_up, &s, &err), ifname, &err);
}

static int
cut(void *ctx, struct err *err)
{
    return nl_link_del(ctx, err);
}

void
hosts_cut(const struct hosts *h, const char *ifname)
{
    struct err err = {0};
    char name[NL_IFNAME_SIZE];

    snprintf(name, sizeof name, "%s", ifname);
    must(netns_call(h->ns[0], cut, name, &err), ifname, &err);
}

static int
set_link(void *ctx, struct err *err)
{
    const struct side *s = ctx;

    return s->up ? nl_link_up(s->ifname, err) : nl_link_down(s->ifname, err);
}

void
hosts_link(const struct hosts *h, int host, const char *ifname, bool up)
{
    struct side s = {.ifname = ifname, .up = up};
    struct err err = {0};

    must(netns_call(h->ns[host], set_link, &s, &err), ifname, &err);
}

static int
set_offload(void *ctx, struct err *err)
{
    static const uint32_t settings[] = {ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO};
    const struct side *s = ctx;
    AUTO_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        struct ethtool_value v = {.cmd = settings[i], .data = s->up};
        struct ifreq r = {.ifr_data = (void *)&v};

        snprintf(r.ifr_name, sizeof r.ifr_name, "%s", s->ifname);
        if (ioctl(fd, SIOCETHTOOL, &r) < 0)
            return err_set(err, -errno, "ethtool: %s", strerror(errno));
    }
    return 0;
}

void
hosts_offload(const struct hosts *h, int host, const char *ifname, bool on)
{
    struct side s = {.ifname = ifname, .up = on};
    struct err err = {0};

    must(netns_call(h->ns[host], set_offload, &s, &err), ifname, &err);
}

struct count {
    const char *ifname;
    struct nl_counters *ret;
};

static int
read_counters(void *ctx, struct err *err)
{
    struct count *c = ctx;

    return nl_link_counters(c->ifname, c->ret, err);
}

void
hosts_counters(const struct hosts *h, int host, const char *ifname, struct nl_counters *ret)
{
    struct count c = {ifname, ret};
    struct err err = {0};

    must(netns_call(h->ns[host], read_counters, &c, &err), ifname, &err);
}

static int
run(void *ctx, struct err *err)
{
    (void)err;
    return system(ctx) == 0 ? 0 : -1; /* NOLINT(cert-env33-c): a test's own words */
}

bool
hosts_run(const struct hosts *h, int host, const char *command)
{
    char text[256];

    snprintf(text, sizeof text, "%s", command);
    return netns_call(h->ns[host], run, text, NULL) == 0;
}
