/* The target's end of a relay; see relay.h. One thread: the door (relay_door.h), and time. */
#include "migrate/relay.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/sb.h"
#include "migrate/relay_door.h"
#include "migrate/xport.h"

struct listener {
    int fd[2]; /* main, fallback */
    char addr[2][MIG_ADDR_SIZE];
};

struct relay_target {
    struct relay_end end;
    struct relay_target_config cfg;
    struct relay_door *door;
    pthread_t thread;
    bool running;
    _Atomic bool stop, cut;
    /* owned by who asks for addresses */
    struct listener listener;
    /* guarded by mu */
    pthread_mutex_t mu;
    int next_fd[2]; /* what it listens on from now on */
    bool fresh;     /* they are to be taken */
    /* owned by the thread */
    int listen_fd[2];
};

static int open_listener(const char *ip, const char *device, const char *fallback_ip,
                         struct listener *ret, struct err *err);
static int check_path(const char *path, const char *what, struct err *err);
static void install(struct relay_target *t, const struct listener *l);
static void take_listeners(struct relay_target *t);
static void *target_main(void *arg);

int
relay_target_new(const struct relay_target_config *cfg, struct relay_target **ret, struct err *err)
{
    struct relay_target *t = xcalloc(1, sizeof *t);
    struct listener l = {.fd = {-1, -1}};
    sigset_t all, old;
    int rc = relay_end_init(&t->end, err);

    if (rc != 0) {
        free(t);
        return rc;
    }
    t->cfg = *cfg;
    t->end.dead_peer_us = cfg->dead_peer_us;
    t->end.message = cfg->message;
    t->end.broken = cfg->broken;
    t->end.ctx = cfg->ctx;
    t->listen_fd[0] = t->listen_fd[1] = t->next_fd[0] = t->next_fd[1] = -1;
    pthread_mutex_init(&t->mu, NULL);
    rc = check_path(cfg->rpc_path, "libvirtd's socket", err);
    if (rc == 0)
        rc = check_path(cfg->data_path, "QEMU's socket", err);
    if (rc == 0)
        rc = open_listener(cfg->listen_ip, cfg->bind_device, cfg->fallback_listen_ip, &l, err);
    if (rc == 0) {
        struct relay_door_config door = {.target = &t->cfg, .end = &t->end, .cut = &t->cut};

        install(t, &l);
        t->door = relay_door_new(&door);
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &old);
        rc = -pthread_create(&t->thread, NULL, target_main, t);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        t->running = rc == 0;
        if (rc != 0)
            err_set(err, rc, "a thread for the relay: %s", strerror(-rc));
    }
    if (rc != 0) {
        relay_target_free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

void
relay_target_free(struct relay_target *t)
{
    if (!t)
        return;
    atomic_store(&t->stop, true);
    if (t->running) {
        eventfd_write(t->end.wake_fd, 1);
        pthread_join(t->thread, NULL);
    }
    for (int i = 0; i < 2; i++) {
        if (t->listen_fd[i] >= 0)
            close(t->listen_fd[i]);
        if (t->next_fd[i] >= 0)
            close(t->next_fd[i]);
    }
    relay_door_free(t->door);
    relay_end_done(&t->end);
    pthread_mutex_destroy(&t->mu);
    free(t);
}

const char *
relay_target_address(const struct relay_target *t)
{
    return t->listener.addr[0];
}

const char *
relay_target_fallback_address(const struct relay_target *t)
{
    return t->listener.addr[1];
}

int
relay_target_relisten(struct relay_target *t, const char *ip, const char *device,
                      const char *fallback_ip, struct err *err)
{
    struct listener l = {.fd = {-1, -1}};
    int rc = open_listener(ip, device, fallback_ip, &l, err);

    if (rc == 0) {
        install(t, &l);
        eventfd_write(t->end.wake_fd, 1);
    }
    return rc;
}

int
relay_target_send(struct relay_target *t, const void *msg, size_t len, struct err *err)
{
    return relay_end_send(&t->end, msg, len, err);
}

void
relay_target_cut(struct relay_target *t)
{
    atomic_store(&t->cut, true);
    relay_end_cut(&t->end, NULL);
    eventfd_write(t->end.wake_fd, 1);
}

void
relay_target_stats(struct relay_target *t, struct relay_stats *ret)
{
    relay_end_stats(&t->end, ret);
}

static int
open_listener(const char *ip, const char *device, const char *fallback_ip, struct listener *ret,
              struct err *err)
{
    int rc = xport_listen(ip, device, &ret->fd[0], ret->addr[0], err);

    if (rc == 0 && *fallback_ip)
        rc = xport_listen(fallback_ip, "", &ret->fd[1], ret->addr[1], err);
    if (rc != 0 && ret->fd[0] >= 0)
        close(ret->fd[0]);
    return rc;
}

static int
check_path(const char *path, const char *what, struct err *err)
{
    struct sockaddr_un sa;

    if (*path && strnlen(path, RELAY_PATH_SIZE) < sizeof sa.sun_path)
        return 0;
    return err_set(err, -ENAMETOOLONG, "%s: want a path of 1 to %zu bytes", what,
                   sizeof sa.sun_path - 1);
}

static void
install(struct relay_target *t, const struct listener *l)
{
    pthread_mutex_lock(&t->mu);
    for (int i = 0; i < 2; i++) {
        if (t->next_fd[i] >= 0)
            close(t->next_fd[i]);
        t->next_fd[i] = l->fd[i];
    }
    t->fresh = true;
    pthread_mutex_unlock(&t->mu);
    t->listener = *l;
}

static void
take_listeners(struct relay_target *t)
{
    pthread_mutex_lock(&t->mu);
    for (int i = 0; t->fresh && i < 2; i++) {
        if (t->listen_fd[i] >= 0)
            close(t->listen_fd[i]);
        t->listen_fd[i] = take_fd(&t->next_fd[i]);
    }
    t->fresh = false;
    pthread_mutex_unlock(&t->mu);
}

static void *
target_main(void *arg)
{
    struct relay_target *t = arg;
    struct pollfd p[3 + RELAY_DOOR_PLACES] = {
        {.fd = t->end.wake_fd, .events = POLLIN}, {.events = POLLIN}, {.events = POLLIN}};
    uint64_t ticked = 0;

    while (!atomic_load(&t->stop)) {
        uint64_t wait = RELAY_TICK_US, now;
        size_t n = relay_door_poll(t->door, p + 3, &wait);
        eventfd_t count;

        take_listeners(t);
        p[1].fd = t->listen_fd[0];
        p[2].fd = t->listen_fd[1];
        poll(p, 3 + n, (int)(wait / 1000));
        now = clock_mono_us();
        if (p[0].revents)
            eventfd_read(t->end.wake_fd, &count);
        relay_door_look(t->door, p + 3, n, now);
        for (int i = 0; i < 2; i++) {
            if (p[1 + i].revents)
                relay_door_accept(t->door, t->listen_fd[i], now);
        }
        relay_end_reap(&t->end, false);
        if (now - ticked >= RELAY_TICK_US) {
            relay_end_tick(&t->end, now);
            ticked = now;
        }
    }
    return NULL;
}
