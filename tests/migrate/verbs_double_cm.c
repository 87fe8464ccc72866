/* The double's librdmacm: ids, events, connections between two ids of this process. A connection stands
 * as with the library: accepting asks, and when the dialling end fetches the answer its queue pair is
 * ready and the accepting end hears of it. */
#include "tests/migrate/verbs_double_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROCE_REQUEST_DATA 56 /* private data of a request, always so long */
#define ROCE_REPLY_DATA   196
#define ROCE_REJECT_DATA  148
#define REJ_NO_LISTENER   8
#define REJ_CONSUMER      28

static struct dbl_id *
id_of(struct rdma_cm_id *id)
{
    return (struct dbl_id *)id;
}

static int
answer(int code)
{
    errno = code;
    return code ? -1 : 0;
}

/* --- addresses --- */

static void
ip_text(const struct sockaddr *a, char buf[INET6_ADDRSTRLEN])
{
    const void *raw = a->sa_family == AF_INET6
                          ? (const void *)&((const struct sockaddr_in6 *)a)->sin6_addr
                          : &((const struct sockaddr_in *)a)->sin_addr;
    if (!inet_ntop(a->sa_family, raw, buf, INET6_ADDRSTRLEN))
        buf[0] = '\0';
}

static socklen_t
addr_size(const struct sockaddr *a)
{
    return a->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static bool
is_any(const struct sockaddr *a)
{
    char ip[INET6_ADDRSTRLEN];
    ip_text(a, ip);
    return !strcmp(ip, "0.0.0.0") || !strcmp(ip, "::");
}

static __be16 *
port_of(struct sockaddr *a)
{
    return a->sa_family == AF_INET6 ? &((struct sockaddr_in6 *)a)->sin6_port
                                    : &((struct sockaddr_in *)a)->sin_port;
}

static void
store(struct sockaddr_storage *to, const struct sockaddr *from)
{
    memset(to, 0, sizeof *to);
    memcpy(to, from, addr_size(from));
}

/* Whether the host has it. */
static bool
is_local(const struct sockaddr *a)
{
    struct sockaddr_storage s;
    store(&s, a);
    *port_of((struct sockaddr *)&s) = 0;
    int fd = socket(a->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool yes = fd >= 0 && bind(fd, (struct sockaddr *)&s, addr_size(a)) == 0;
    if (fd >= 0)
        close(fd);
    return yes;
}

/* The device by which `to` is reached, as the host's routes say. */
static struct dbl_device *
device_towards(const struct sockaddr *to)
{
    struct sockaddr_storage s;
    socklen_t len = sizeof s;
    char ip[INET6_ADDRSTRLEN];
    struct dbl_device *d;

    ip_text(to, ip);
    d = dbl_device_of_ip(ip);
    if (d)
        return d;
    int fd = socket(to->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, to, addr_size(to)) == 0 &&
        getsockname(fd, (struct sockaddr *)&s, &len) == 0) {
        ip_text((struct sockaddr *)&s, ip);
        d = dbl_device_of_ip(ip);
    }
    if (fd >= 0)
        close(fd);
    return d;
}

static struct sockaddr *
src(struct dbl_id *id)
{
    return &id->pub.route.addr.src_addr;
}

static struct sockaddr *
dst(struct dbl_id *id)
{
    return &id->pub.route.addr.dst_addr;
}

static void
id_on_device(struct dbl_id *id, struct dbl_device *dev, int family)
{
    id->dev = dev;
    id->pub.verbs = dev ? &dev->cm->context : NULL;
    id->pub.port_num = dev ? 1 : 0;
    if (dev && (!src(id)->sa_family || is_any(src(id)))) {
        struct sockaddr *a = src(id);
        a->sa_family = (sa_family_t)family;
        inet_pton(family, dev->ip,
                  family == AF_INET6 ? (void *)&((struct sockaddr_in6 *)a)->sin6_addr
                                     : &((struct sockaddr_in *)a)->sin_addr);
    }
}

/* --- events --- */

struct rdma_event_channel *
rdma_create_event_channel(void)
{
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    bool any = false;
    for (struct dbl_device *d = dbl.devices; d; d = d->next)
        any |= !d->removed;
    if (!code && !any)
        code = ENODEV; /* a host without RDMA */
    struct dbl_events *c = code ? NULL : calloc(1, sizeof *c);
    if (c) {
        c->pub.fd = eventfd(0, EFD_CLOEXEC);
        dbl.n.event_channels++;
    }
    pthread_mutex_unlock(&dbl.mu);
    errno = code;
    return c ? &c->pub : NULL;
}

void
rdma_destroy_event_channel(struct rdma_event_channel *pub)
{
    struct dbl_events *c = (struct dbl_events *)pub;
    pthread_mutex_lock(&dbl.mu);
    if (c->users)
        dbl_die("rdma_destroy_event_channel: %u ids use it", c->users);
    close(c->pub.fd);
    free(c);
    dbl.n.event_channels--;
    pthread_mutex_unlock(&dbl.mu);
}

static struct dbl_event *
event_push(struct dbl_id *id, enum rdma_cm_event_type type, int status)
{
    struct dbl_id *on = type == RDMA_CM_EVENT_CONNECT_REQUEST ? id->listener : id;
    struct dbl_events *c = (struct dbl_events *)on->pub.channel;
    struct dbl_event *e = calloc(1, sizeof *e);
    e->pub.id = &id->pub;
    e->pub.event = type;
    e->pub.status = status;
    if (type == RDMA_CM_EVENT_CONNECT_REQUEST)
        e->pub.listen_id = &on->pub;
    if (!c->first)
        dbl_fd_set(c->pub.fd);
    LIST_APPEND(c->first, e);
    return e;
}

static void
event_data(struct dbl_event *e, const struct rdma_conn_param *p, size_t padded)
{
    struct rdma_conn_param *to = &e->pub.param.conn;
    if (p) {
        *to = *p;
        if (p->private_data)
            memcpy(e->data, p->private_data, p->private_data_len);
    }
    to->private_data = e->data;
    to->private_data_len = (uint8_t)padded;
}

/* Those of this id that nobody has fetched; to: where they go, or NULL. */
static void
events_move(struct dbl_id *id, struct dbl_events *to)
{
    struct dbl_events *c = (struct dbl_events *)id->pub.channel;
    for (struct dbl_event **at = &c->first, *e; (e = *at);) {
        const struct rdma_cm_id *on = e->pub.listen_id ? e->pub.listen_id : e->pub.id;
        if (on != &id->pub) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        e->next = NULL;
        if (!to) {
            free(e);
            continue;
        }
        if (!to->first)
            dbl_fd_set(to->pub.fd);
        LIST_APPEND(to->first, e);
    }
    if (!c->first)
        dbl_fd_clear(c->pub.fd);
}

static void
qp_ready(struct dbl_id *id, struct dbl_id *peer)
{
    struct dbl_qp *q = (struct dbl_qp *)id->pub.qp;
    q->pub.state = IBV_QPS_RTS;
    q->reads = id->param.initiator_depth;
    q->peer_reads = id->param.responder_resources;
    q->rnr_retry = peer->param.rnr_retry_count;
    q->access = IBV_ACCESS_REMOTE_WRITE;
    if (q->peer_reads)
        q->access |= IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;
    pthread_cond_broadcast(&dbl.work);
}

/* The dialling end learns that it was accepted: what librdmacm does then. */
static void
response_fetched(struct dbl_id *id)
{
    if (id->state != ID_CONNECTING || !id->peer)
        return;
    id->state = ID_CONNECTED;
    if (id->pub.qp && id->pub.qp->state == IBV_QPS_INIT)
        qp_ready(id, id->peer);
    event_data(event_push(id->peer, RDMA_CM_EVENT_ESTABLISHED, 0), NULL, 0);
}

int
rdma_get_cm_event(struct rdma_event_channel *pub, struct rdma_cm_event **ret)
{
    struct dbl_events *c = (struct dbl_events *)pub;
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    while (!code && !c->first)
        code = dbl_fd_wait(c->pub.fd);
    if (!code) {
        struct dbl_event *e = c->first;
        c->first = e->next;
        if (!c->first)
            dbl_fd_clear(c->pub.fd);
        id_of(e->pub.listen_id ? e->pub.listen_id : e->pub.id)->got++;
        if (e->pub.event == RDMA_CM_EVENT_ESTABLISHED)
            response_fetched(id_of(e->pub.id));
        *ret = &e->pub;
    }
    pthread_mutex_unlock(&dbl.mu);
    return answer(code);
}

int
rdma_ack_cm_event(struct rdma_cm_event *pub)
{
    pthread_mutex_lock(&dbl.mu);
    id_of(pub->listen_id ? pub->listen_id : pub->id)->acked++;
    pthread_cond_broadcast(&dbl.change);
    pthread_mutex_unlock(&dbl.mu);
    free((struct dbl_event *)pub);
    return 0;
}

/* --- ids --- */

static struct dbl_id *
id_new(struct dbl_events *c, void *context, enum rdma_port_space ps)
{
    struct dbl_id *id = calloc(1, sizeof *id);
    id->pub.channel = &c->pub;
    id->pub.context = context;
    id->pub.ps = ps;
    id->pub.qp_type = IBV_QPT_RC;
    c->users++;
    LIST_APPEND(dbl.ids, id);
    dbl.n.ids++;
    return id;
}

int
rdma_create_id(struct rdma_event_channel *c, struct rdma_cm_id **ret, void *context,
               enum rdma_port_space ps)
{
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (!code && (!c || ps != RDMA_PS_TCP))
        code = EINVAL;
    if (!code)
        *ret = &id_new((struct dbl_events *)c, context, ps)->pub;
    pthread_mutex_unlock(&dbl.mu);
    return answer(code);
}

static void
tell(struct dbl_id *id, enum rdma_cm_event_type type, int status, const void *data, uint8_t len)
{
    struct rdma_conn_param p = {.private_data = data, .private_data_len = len};
    event_data(event_push(id, type, status), &p,
               type == RDMA_CM_EVENT_REJECTED && status == REJ_CONSUMER ? ROCE_REJECT_DATA : 0);
}

/* Takes the two ends apart; the other one hears of it. */
static void
part(struct dbl_id *id)
{
    struct dbl_id *peer = id->peer;
    if (!peer)
        return;
    id->peer = peer->peer = NULL;
    if (id->state == ID_CONNECTED && peer->state == ID_CONNECTED) {
        if (!dbl.no_disconnects)
            tell(peer, RDMA_CM_EVENT_DISCONNECTED, 0, NULL, 0);
        return;
    }
    /* not established: whoever asked or answered is told no */
    if (peer->state == ID_CONNECTING || peer->state == ID_ASKED || peer->state == ID_CONNECTED) {
        if (peer->state == ID_CONNECTING)
            events_move(peer, NULL); /* an answer that it has not seen */
        peer->state = ID_ENDED;
        tell(peer, RDMA_CM_EVENT_REJECTED, REJ_CONSUMER, NULL, 0);
    }
}

static void
id_free(struct dbl_id *id)
{
    part(id);
    events_move(id, NULL);
    ((struct dbl_events *)id->pub.channel)->users--;
    LIST_REMOVE(dbl.ids, id);
    dbl.n.ids--;
    free(id);
}

/* Requests that came to a listener and that nobody has fetched. */
static void
requests_drop(struct dbl_id *listener)
{
    struct dbl_events *c = (struct dbl_events *)listener->pub.channel;
    struct dbl_event *e = c->first;
    while (e) {
        if (e->pub.listen_id != &listener->pub) {
            e = e->next;
            continue;
        }
        struct dbl_id *child = id_of(e->pub.id);
        LIST_REMOVE(c->first, e);
        free(e);
        id_free(child);
        e = c->first;
    }
    for (struct dbl_id *i = dbl.ids; i; i = i->next)
        if (i->listener == listener)
            i->listener = NULL;
}

int
rdma_destroy_id(struct rdma_cm_id *pub)
{
    struct dbl_id *id = id_of(pub);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 30;
    pthread_mutex_lock(&dbl.mu);
    if (id->pub.qp)
        dbl_die("rdma_destroy_id: its queue pair is still there");
    while (id->got != id->acked)
        if (pthread_cond_timedwait(&dbl.change, &dbl.mu, &until) != 0)
            dbl_die("rdma_destroy_id: %u of %u events acknowledged", id->acked, id->got);
    if (id->state == ID_LISTENS)
        requests_drop(id);
    id_free(id);
    pthread_mutex_unlock(&dbl.mu);
    return 0;
}

int
rdma_migrate_id(struct rdma_cm_id *pub, struct rdma_event_channel *channel)
{
    struct dbl_id *id = id_of(pub);
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (!code) {
        events_move(id, (struct dbl_events *)channel);
        ((struct dbl_events *)id->pub.channel)->users--;
        id->pub.channel = channel;
        ((struct dbl_events *)channel)->users++;
    }
    pthread_mutex_unlock(&dbl.mu);
    return answer(code);
}

static bool
port_taken(const struct sockaddr *a, __be16 port)
{
    char want[INET6_ADDRSTRLEN], has[INET6_ADDRSTRLEN];
    ip_text(a, want);
    for (struct dbl_id *i = dbl.ids; i; i = i->next) {
        if (i->state != ID_BOUND && i->state != ID_LISTENS)
            continue;
        ip_text(src(i), has);
        if (*port_of(src(i)) == port && (!strcmp(want, has) || is_any(src(i)) || is_any(a)))
            return true;
    }
    return false;
}

static int
bind_locked(struct dbl_id *id, const struct sockaddr *a)
{
    char ip[INET6_ADDRSTRLEN];
    struct dbl_device *dev = NULL;
    if (id->state != ID_IDLE)
        return EINVAL;
    if (!is_any(a)) {
        ip_text(a, ip);
        dev = dbl_device_of_ip(ip);
        if (!dev)
            return is_local(a) ? ENODEV : EADDRNOTAVAIL;
    }
    store(&id->pub.route.addr.src_storage, a);
    if (*port_of(src(id)) && port_taken(a, *port_of(src(id))))
        return EADDRINUSE;
    while (*port_of(src(id)) == 0 || port_taken(src(id), *port_of(src(id)))) {
        dbl.next_port = dbl.next_port < 60000 ? dbl.next_port + 1 : 20000;
        *port_of(src(id)) = htons(dbl.next_port);
    }
    id_on_device(id, dev, a->sa_family);
    id->state = ID_BOUND;
    return 0;
}

int
rdma_bind_addr(struct rdma_cm_id *id, struct sockaddr *a)
{
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (!code)
        code = bind_locked(id_of(id), a);
    pthread_mutex_unlock(&dbl.mu);
    return answer(code);
}

int
rdma_resolve_addr(struct rdma_cm_id *pub, struct sockaddr *from, struct sockaddr *to,
                  int timeout_ms)
{
    struct dbl_id *id = id_of(pub);
    (void)timeout_ms;
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (!code && from)
        code = bind_locked(id, from);
    else if (!code && id->state != ID_IDLE && id->state != ID_BOUND)
        code = EINVAL;
    if (!code) {
        store(&id->pub.route.addr.dst_storage, to);
        if (!id->dev)
            id_on_device(id, device_towards(to), to->sa_family);
        if (id->dev && *port_of(src(id)) == 0) {
            dbl.next_port = dbl.next_port < 60000 ? dbl.next_port + 1 : 20000;
            *port_of(src(id)) = htons(dbl.next_port);
        }
        id->state = id->dev ? ID_RESOLVED : ID_BOUND;
        if (id->dev)
            event_push(id, RDMA_CM_EVENT_ADDR_RESOLVED, 0);
        else
            event_push(id, RDMA_CM_EVENT_ADDR_ERROR, -ENODEV);
    }
    pthread_mutex_unlock(&dbl.mu);
    return answer(code);
}

int
rdma_resolve_route(struct rdma_cm_id *pub, int timeout_ms)
{
    struct dbl_id *id = id_of(pub);
    (void)timeout_ms;
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (!code && id->state != ID_RESOLVED)
        code = EINVAL;
    else if (!code && id->dev->removed)
        code = ENODEV;
    if (!code) {
        id->state = ID_ROUTED;
        event_push(id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0);
    }
    pthread_mutex_unlock(&dbl.mu);
    return answer(code);
}

int
rdma_create_qp(struct rdma_cm_id *id, struct ibv_pd *pd, struct ibv_qp_init_attr *a)
{
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (!code && (!id->verbs || !pd || pd->context != id->verbs || id->qp))
        code = EINVAL;
    pthread_mutex_unlock(&dbl.mu);
    if (code)
        return answer(code);
    struct ibv_qp *qp = ibv_create_qp(pd, a);
    if (!qp)
        return -1;
    pthread_mutex_lock(&dbl.mu);
    qp->state = IBV_QPS_INIT;
    id->qp = qp;
    id->pd = pd;
    id->send_cq = a->send_cq;
    id->recv_cq = a->recv_cq;
    if (id_of(id)->dev->removed)
        dbl_qp_fail((struct dbl_qp *)qp, IBV_WC_WR_FLUSH_ERR);
    pthread_mutex_unlock(&dbl.mu);
    return 0;
}

void
rdma_destroy_qp(struct rdma_cm_id *id)
{
    pthread_mutex_lock(&dbl.mu);
    struct ibv_qp *qp = id->qp;
    id->qp = NULL;
    pthread_mutex_unlock(&dbl.mu);
    ibv_destroy_qp(qp);
}

int
rdma_listen(struct rdma_cm_id *pub, int backlog)
{
    struct dbl_id *id = id_of(pub);
    (void)backlog;
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (!code && id->state != ID_BOUND)
        code = EINVAL;
    if (!code)
        id->state = ID_LISTENS;
    pthread_mutex_unlock(&dbl.mu);
    return answer(code);
}

/* --- connections --- */

static struct dbl_id *
listener_at(struct sockaddr *to)
{
    char want[INET6_ADDRSTRLEN], has[INET6_ADDRSTRLEN];
    ip_text(to, want);
    for (struct dbl_id *i = dbl.ids; i; i = i->next) {
        if (i->state != ID_LISTENS || *port_of(src(i)) != *port_of(to) ||
            (i->dev && i->dev->removed))
            continue;
        ip_text(src(i), has);
        if (!strcmp(want, has) || is_any(src(i)))
            return i;
    }
    return NULL;
}

int
rdma_connect(struct rdma_cm_id *pub, struct rdma_conn_param *p)
{
    struct dbl_id *id = id_of(pub);
    char ip[INET6_ADDRSTRLEN];
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (!code &&
        (id->state != ID_ROUTED || !id->pub.qp || p->private_data_len > ROCE_REQUEST_DATA ||
         p->initiator_depth > dbl.read_depth || p->responder_resources > dbl.read_depth))
        code = EINVAL;
    else if (!code && id->dev->removed)
        code = ENODEV;
    if (!code) {
        ip_text(dst(id), ip);
        struct dbl_device *there = dbl_device_of_ip(ip);
        struct dbl_id *listener = there ? listener_at(dst(id)) : NULL;
        id->param = *p;
        id->param.private_data = NULL;
        id->state = ID_CONNECTING;
        ((struct dbl_qp *)id->pub.qp)->dialled = true;
        if (!there) {
            tell(id, RDMA_CM_EVENT_UNREACHABLE, -ETIMEDOUT, NULL, 0);
        } else if (!listener) {
            tell(id, RDMA_CM_EVENT_REJECTED, REJ_NO_LISTENER, NULL, 0);
        } else {
            struct dbl_id *child = id_new((struct dbl_events *)listener->pub.channel,
                                          listener->pub.context, listener->pub.ps);
            store(&child->pub.route.addr.src_storage, dst(id));
            store(&child->pub.route.addr.dst_storage, src(id));
            id_on_device(child, there, dst(id)->sa_family);
            child->state = ID_ASKED;
            child->listener = listener;
            child->peer = id;
            id->peer = child;
            struct rdma_conn_param seen = *p;
            seen.responder_resources = p->initiator_depth;
            seen.initiator_depth = p->responder_resources;
            event_data(event_push(child, RDMA_CM_EVENT_CONNECT_REQUEST, 0), &seen,
                       ROCE_REQUEST_DATA);
        }
    }
    pthread_mutex_unlock(&dbl.mu);
    return answer(code);
}

int
rdma_accept(struct rdma_cm_id *pub, struct rdma_conn_param *p)
{
    struct dbl_id *id = id_of(pub);
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (!code && (id->state != ID_ASKED || !id->pub.qp || p->private_data_len > ROCE_REPLY_DATA ||
                  p->initiator_depth > dbl.read_depth || p->responder_resources > dbl.read_depth))
        code = EINVAL;
    else if (!code && id->dev->removed)
        code = ENODEV;
    if (!code) {
        struct dbl_id *peer = id->peer;
        struct dbl_qp *q = (struct dbl_qp *)id->pub.qp, *other = (struct dbl_qp *)peer->pub.qp;
        id->param = *p;
        id->param.private_data = NULL;
        id->state = ID_CONNECTED;
        if (other) {
            q->peer = other;
            other->peer = q;
        }
        qp_ready(id, peer);
        struct rdma_conn_param seen = *p;
        seen.responder_resources = p->initiator_depth;
        seen.initiator_depth = p->responder_resources;
        event_data(event_push(peer, RDMA_CM_EVENT_ESTABLISHED, 0), &seen, ROCE_REPLY_DATA);
    }
    pthread_mutex_unlock(&dbl.mu);
    return answer(code);
}

int
rdma_reject(struct rdma_cm_id *pub, const void *data, uint8_t len)
{
    struct dbl_id *id = id_of(pub);
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (!code && (id->state != ID_ASKED || len > ROCE_REJECT_DATA))
        code = EINVAL;
    if (!code) {
        struct dbl_id *peer = id->peer;
        id->state = peer->state = ID_ENDED;
        id->peer = peer->peer = NULL;
        tell(peer, RDMA_CM_EVENT_REJECTED, REJ_CONSUMER, data, len);
    }
    pthread_mutex_unlock(&dbl.mu);
    return answer(code);
}

int
rdma_disconnect(struct rdma_cm_id *pub)
{
    struct dbl_id *id = id_of(pub);
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (!code && id->state != ID_CONNECTED)
        code = EINVAL;
    if (!code) {
        if (id->pub.qp)
            dbl_qp_fail((struct dbl_qp *)id->pub.qp, IBV_WC_WR_FLUSH_ERR);
        if (id->peer)
            tell(id, RDMA_CM_EVENT_DISCONNECTED, 0, NULL, 0);
        part(id);
        id->state = ID_ENDED;
    }
    pthread_mutex_unlock(&dbl.mu);
    return answer(code);
}

void
dbl_cm_device_gone(struct dbl_device *dev)
{
    for (struct dbl_id *i = dbl.ids; i; i = i->next)
        if (i->dev == dev)
            event_push(i, RDMA_CM_EVENT_DEVICE_REMOVAL, 0);
}

/* --- the rest --- */

__be16
rdma_get_src_port(struct rdma_cm_id *id)
{
    return *port_of(src(id_of(id)));
}

__be16
rdma_get_dst_port(struct rdma_cm_id *id)
{
    return *port_of(dst(id_of(id)));
}

int
rdma_set_option(struct rdma_cm_id *id, int level, int name, void *value, size_t size)
{
    (void)id, (void)value, (void)size;
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (!code && (level != RDMA_OPTION_ID || name > RDMA_OPTION_ID_ACK_TIMEOUT))
        code = ENOSYS;
    pthread_mutex_unlock(&dbl.mu);
    return answer(code);
}

const char *
rdma_event_str(enum rdma_cm_event_type e)
{
    static const char *const names[] = {
        [RDMA_CM_EVENT_ADDR_RESOLVED] = "RDMA_CM_EVENT_ADDR_RESOLVED",
        [RDMA_CM_EVENT_ADDR_ERROR] = "RDMA_CM_EVENT_ADDR_ERROR",
        [RDMA_CM_EVENT_ROUTE_RESOLVED] = "RDMA_CM_EVENT_ROUTE_RESOLVED",
        [RDMA_CM_EVENT_ROUTE_ERROR] = "RDMA_CM_EVENT_ROUTE_ERROR",
        [RDMA_CM_EVENT_CONNECT_REQUEST] = "RDMA_CM_EVENT_CONNECT_REQUEST",
        [RDMA_CM_EVENT_CONNECT_ERROR] = "RDMA_CM_EVENT_CONNECT_ERROR",
        [RDMA_CM_EVENT_UNREACHABLE] = "RDMA_CM_EVENT_UNREACHABLE",
        [RDMA_CM_EVENT_REJECTED] = "RDMA_CM_EVENT_REJECTED",
        [RDMA_CM_EVENT_ESTABLISHED] = "RDMA_CM_EVENT_ESTABLISHED",
        [RDMA_CM_EVENT_DISCONNECTED] = "RDMA_CM_EVENT_DISCONNECTED",
        [RDMA_CM_EVENT_DEVICE_REMOVAL] = "RDMA_CM_EVENT_DEVICE_REMOVAL",
        [RDMA_CM_EVENT_TIMEWAIT_EXIT] = "RDMA_CM_EVENT_TIMEWAIT_EXIT",
    };
    return (unsigned)e < sizeof names / sizeof *names && names[e] ? names[e] : "UNKNOWN EVENT";
}
