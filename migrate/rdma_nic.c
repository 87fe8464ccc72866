/* Finding and opening the device that an address leads to, and the connections that come to it; see
 * rdma_nic.h. What is registered: rdma_nic_memory.c. */
#include "migrate/rdma_nic.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sb.h"
#include "migrate/rdma_int.h"

#define OPEN_TIMEOUT_MS 1000
#define CAP_LOCK_BIT    14 /* CAP_IPC_LOCK */

static int find_device(struct nic *n, const char *local_ip, const char *peer, struct err *err);
static int learn_facts(struct nic *n, struct err *err);
static uint64_t lockable_bytes(void);
static struct nic_request *request_of(struct nic *n, const struct rdma_cm_id *id);
static void drop_request(struct nic_request *r);

int
nic_open(const char *local_ip, const char *peer, struct nic **ret, struct err *err)
{
    struct nic *n = xcalloc(1, sizeof *n);
    int rc;

    pthread_mutex_init(&n->mu, NULL);
    rc = nic_channel(&n->channel, err);
    if (rc == 0)
        rc = find_device(n, local_ip, peer, err);
    if (rc == 0)
        rc = learn_facts(n, err);
    if (rc == 0)
        *ret = n;
    else
        nic_close(n);
    return rc;
}

void
nic_close(struct nic *n)
{
    struct nic_request *r;

    if (!n)
        return;
    while ((r = n->requests)) {
        n->requests = r->next;
        rdma_reject(r->id, NULL, 0);
        drop_request(r);
    }
    nic_unregister_all(n);
    if (n->pd)
        ibv_dealloc_pd(n->pd);
    if (n->id)
        rdma_destroy_id(n->id);
    if (n->channel)
        rdma_destroy_event_channel(n->channel);
    pthread_mutex_destroy(&n->mu);
    free(n);
}

const struct nic_facts *
nic_facts(const struct nic *n)
{
    return &n->facts;
}

int
nic_listen(struct nic *n, uint16_t *ret_port, struct err *err)
{
    if (!n->local.ss_family)
        return err_set(err, -EINVAL, "RDMA: listening wants an address of this host");
    if (rdma_listen(n->id, NIC_BACKLOG) != 0)
        return err_set(err, -errno, "RDMA: listen on %s: %s", n->facts.device, strerror(errno));
    atomic_store(&n->listens, true);
    *ret_port = ntohs(rdma_get_src_port(n->id));
    return 0;
}

int
nic_listen_fd(const struct nic *n)
{
    return atomic_load(&n->listens) ? n->channel->fd : -1;
}

int
nic_next_request(struct nic *n, struct nic_request **ret, uint8_t preamble[FRAME_PREAMBLE_SIZE],
                 struct err *err)
{
    struct rdma_cm_event *e;

    while (!atomic_load(&n->gone) && rdma_get_cm_event(n->channel, &e) == 0) {
        const struct rdma_conn_param *p = &e->param.conn;
        struct nic_request *r = NULL;
        enum rdma_cm_event_type type = e->event;

        pthread_mutex_lock(&n->mu);
        if (type == RDMA_CM_EVENT_CONNECT_REQUEST) {
            r = xcalloc(1, sizeof *r);
            *r = (struct nic_request){.nic = n,
                                      .id = e->id,
                                      .responder_resources = p->responder_resources,
                                      .initiator_depth = p->initiator_depth,
                                      .next = n->requests};
            n->requests = r;
            /* What is shorter shows nothing that could be let in. */
            if (p->private_data && p->private_data_len >= FRAME_PREAMBLE_SIZE)
                memcpy(preamble, p->private_data, FRAME_PREAMBLE_SIZE);
            else
                r->gone = -EPROTO;
        } else if (type == RDMA_CM_EVENT_DEVICE_REMOVAL) {
            atomic_store(&n->gone, true);
        } else {
            struct nic_request *other = request_of(n, e->id);

            if (other) /* whoever dialled has given up */
                other->gone = -ECONNRESET;
        }
        pthread_mutex_unlock(&n->mu);
        rdma_ack_cm_event(e);
        if (r && r->gone) {
            lane_refuse(r);
        } else if (r) {
            *ret = r;
            return 1;
        }
    }
    if (atomic_load(&n->gone))
        return err_set(err, -ENODEV, "RDMA: device %s was removed", n->facts.device);
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    return err_set(err, -errno, "RDMA: events of %s: %s", n->facts.device, strerror(errno));
}

void
lane_refuse(struct nic_request *r)
{
    if (nic_request_take(r) == 0)
        rdma_reject(r->id, NULL, 0);
    drop_request(r);
}

int
nic_request_take(struct nic_request *r)
{
    struct nic *n = r->nic;
    int gone;

    pthread_mutex_lock(&n->mu);
    for (struct nic_request **p = &n->requests; *p; p = &(*p)->next) {
        if (*p == r) {
            *p = r->next;
            break;
        }
    }
    gone = r->gone;
    pthread_mutex_unlock(&n->mu);
    return gone;
}

int
nic_channel(struct rdma_event_channel **ret, struct err *err)
{
    struct rdma_event_channel *c = rdma_create_event_channel();
    int rc;

    if (!c) {
        rc = errno == ENOENT || errno == ENOSYS ? -ENODEV : -errno;
        return err_set(err, rc, rc == -ENODEV ? "this host has no RDMA device" : "RDMA: %s",
                       strerror(-rc));
    }
    rc = fs_set_nonblock(c->fd, true);
    if (rc != 0) {
        rdma_destroy_event_channel(c);
        return err_set(err, rc, "RDMA: event channel: %s", strerror(-rc));
    }
    *ret = c;
    return 0;
}

int
nic_event(struct rdma_event_channel *c, uint64_t deadline_us, int cancel_fd,
          struct rdma_cm_event *ret)
{
    for (;;) {
        struct rdma_cm_event *e;
        struct pollfd p[2] = {{.fd = c->fd, .events = POLLIN}, {.fd = cancel_fd, .events = POLLIN}};
        uint64_t now = clock_mono_us();

        if (rdma_get_cm_event(c, &e) == 0) {
            *ret = *e;
            rdma_ack_cm_event(e);
            return 0;
        }
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        if (now >= deadline_us)
            return -ETIMEDOUT;
        poll(p, 2, (int)((deadline_us - now) / 1000 + 1));
        if (p[1].revents)
            return -ECANCELED;
    }
}

int
nic_parse(const char *addr, struct sockaddr_storage *ret, struct err *err)
{
    char copy[MIG_ADDR_SIZE];
    char *host = copy, *colon;

    snprintf(copy, sizeof copy, "%s", addr);
    colon = strrchr(copy, ':');
    if (!colon || colon == copy)
        return err_set(err, -EINVAL, "address '%s': want ip:port", addr);
    *colon = '\0';
    if (copy[0] == '[' && colon[-1] == ']') {
        colon[-1] = '\0';
        host++;
    }
    return nic_parse_ip(host, colon + 1, ret, err);
}

int
nic_parse_ip(const char *ip, const char *port, struct sockaddr_storage *ret, struct err *err)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *ai;

    if (!*ip || !*port || getaddrinfo(ip, port, &hints, &ai) != 0)
        return err_set(err, -EINVAL, "address '%s', port '%s': want an IPv4 or IPv6 address", ip,
                       port);
    memset(ret, 0, sizeof *ret);
    memcpy(ret, ai->ai_addr, ai->ai_addrlen);
    freeaddrinfo(ai);
    return 0;
}

/* An id bound to an address of the device, or on the way to the peer through it, has its verbs. */
static int
find_device(struct nic *n, const char *local_ip, const char *peer, struct err *err)
{
    const char *at = *local_ip ? local_ip : peer;
    struct sockaddr_storage to;
    int rc = *local_ip ? nic_parse_ip(local_ip, "0", &n->local, err) : nic_parse(peer, &to, err);

    if (rc != 0)
        return rc;
    if (rdma_create_id(n->channel, &n->id, NULL, RDMA_PS_TCP) != 0)
        return err_set(err, -errno, "RDMA: %s", strerror(errno));
    if (*local_ip) {
        rc = rdma_bind_addr(n->id, (struct sockaddr *)&n->local) == 0 ? 0 : -errno;
    } else {
        struct rdma_cm_event e = {0};

        rc = rdma_resolve_addr(n->id, NULL, (struct sockaddr *)&to, OPEN_TIMEOUT_MS) ? -errno : 0;
        if (rc == 0)
            rc = nic_event(n->channel, clock_mono_us() + OPEN_TIMEOUT_MS * UINT64_C(1000), -1, &e);
        if (rc == 0 && e.event != RDMA_CM_EVENT_ADDR_RESOLVED)
            rc = e.status < 0 ? e.status : -EHOSTUNREACH;
    }
    if (rc == -EADDRNOTAVAIL)
        return err_set(err, rc, "RDMA: %s is no address of this host", at);
    if (rc != 0 || !n->id->verbs)
        return err_set(err, -ENODEV, "no RDMA device is reached by %s%s%s", at, rc ? ": " : "",
                       rc ? strerror(-rc) : "");
    return 0;
}

static int
learn_facts(struct nic *n, struct err *err)
{
    struct ibv_context *v = n->id->verbs;
    struct ibv_device_attr_ex ex = {0};
    uint32_t both = IBV_ODP_SUPPORT_WRITE | IBV_ODP_SUPPORT_READ;
    int rc = ibv_query_device(v, &n->attr);

    snprintf(n->facts.device, sizeof n->facts.device, "%s", ibv_get_device_name(v->device));
    if (rc != 0)
        return err_set(err, -rc, "RDMA: %s: %s", n->facts.device, strerror(rc));
    n->pd = ibv_alloc_pd(v);
    if (!n->pd)
        return err_set(err, -errno, "RDMA: protection domain of %s: %s", n->facts.device,
                       strerror(errno));
    n->facts.lock_bytes = lockable_bytes();
    n->facts.read_depth = (uint32_t)(n->attr.max_qp_init_rd_atom < n->attr.max_qp_rd_atom
                                         ? n->attr.max_qp_init_rd_atom
                                         : n->attr.max_qp_rd_atom);
    if (n->facts.read_depth > LANE_READS_MAX)
        n->facts.read_depth = LANE_READS_MAX;
    n->facts.on_demand = ibv_query_device_ex(v, NULL, &ex) == 0 &&
                         ex.odp_caps.general_caps & IBV_ODP_SUPPORT &&
                         (ex.odp_caps.per_transport_caps.rc_odp_caps & both) == both;
    /* iWARP has none (and siw says so with a status of its own). */
    n->facts.write_imm = v->device->transport_type == IBV_TRANSPORT_IB;
    return 0;
}

/* What the kernel counts for registrations is VmPin. */
static uint64_t
lockable_bytes(void)
{
    struct rlimit lim;
    uint64_t pinned_kib = 0, caps = 0;
    char line[128];
    AUTO_FILE FILE *f = fopen("/proc/self/status", "re");

    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "VmPin:", 6) == 0)
            pinned_kib = strtoull(line + 6, NULL, 10);
        else if (strncmp(line, "CapEff:", 7) == 0)
            caps = strtoull(line + 7, NULL, 16);
    }
    if (caps >> CAP_LOCK_BIT & 1 || getrlimit(RLIMIT_MEMLOCK, &lim) != 0 ||
        lim.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    return lim.rlim_cur > pinned_kib * 1024 ? lim.rlim_cur - pinned_kib * 1024 : 0;
}

static struct nic_request *
request_of(struct nic *n, const struct rdma_cm_id *id)
{
    struct nic_request *r = n->requests;

    while (r && r->id != id)
        r = r->next;
    return r;
}

static void
drop_request(struct nic_request *r)
{
    rdma_destroy_id(r->id);
    free(r);
}
