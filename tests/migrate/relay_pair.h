/* Both ends of a migration's relay (migrate/relay.h) in one process, with sockets of the test's own
 * where libvirtd and QEMU would be. */
#ifndef TESTS_MIGRATE_RELAY_PAIR_H
#define TESTS_MIGRATE_RELAY_PAIR_H

#include <pthread.h>

#include "migrate/relay.h"

#define RELAY_PAIR_MESSAGES 64

struct relay_pair_end { /* what an end was told; guarded by mu */
    unsigned messages;
    size_t len[RELAY_PAIR_MESSAGES];
    uint32_t first[RELAY_PAIR_MESSAGES]; /* word of each message */
    unsigned broken[RELAY_CONTROL + 1];
    uint64_t broken_us[RELAY_CONTROL + 1];
    struct err why[RELAY_CONTROL + 1];
    char refused[512];
};

struct relay_pair {
    struct relay_source_config src; /* relay_pair_init fills in something that works */
    struct relay_target_config dst;
    struct relay_source *source;
    struct relay_target *target;
    enum mig_cause cause; /* of relay_pair_dial */
    struct err err;
    char dir[64];
    int listen_fd[RELAY_DATA + 1]; /* libvirtd's and QEMU's at the target */
    pthread_mutex_t mu;
    pthread_cond_t cv;
    struct relay_pair_end at[2];                       /* 0: source */
    void (*on_message)(struct relay_pair *p, int end); /* on the relay's thread; or NULL */
};

/* tls: both ends have certificates. */
void relay_pair_init(struct relay_pair *p, bool tls);
/* Makes the target, which listens, and both sockets behind it. */
void relay_pair_listen(struct relay_pair *p);
/* QEMU's socket, or libvirtd's, appears at the target. */
void relay_pair_serve(struct relay_pair *p, enum relay_kind kind);
/* Makes the source; its result. */
int relay_pair_dial(struct relay_pair *p);
/* listen, dial, which works. */
void relay_pair_start(struct relay_pair *p);
void relay_pair_done(struct relay_pair *p);

/* A connection of the process at the source, and the one that comes to the process at the target:
 * blocking, with a timeout that ends the test. */
int relay_pair_connect(struct relay_pair *p, enum relay_kind kind);
int relay_pair_accept(struct relay_pair *p, enum relay_kind kind);
void relay_pair_stream(struct relay_pair *p, enum relay_kind kind, int ret[2]);
/* Waits until an end was told so. */
void relay_pair_wait_messages(struct relay_pair *p, int end, unsigned n);
void relay_pair_wait_broken(struct relay_pair *p, int end, enum relay_kind kind, unsigned n);
void relay_pair_wait_refused(struct relay_pair *p, const char *part);
/* How often an end was told so: until now. */
unsigned relay_pair_broken(struct relay_pair *p, int end, enum relay_kind kind);
/* Waits until no stream is open any more at either end. */
void relay_pair_wait_idle(struct relay_pair *p);

/* Bytes from which each can be told, from this place of this stream on. */
void relay_pair_fill(uint8_t *buf, size_t len, uint64_t stream, uint64_t at);
/* Sends or receives and checks so many of them, in chunks of random size; false: it was cut. */
bool relay_pair_send(int fd, uint64_t stream, uint64_t at, uint64_t len, uint64_t seed);
bool relay_pair_receive(int fd, uint64_t stream, uint64_t at, uint64_t len, uint64_t seed);
/* What the process has open. */
unsigned relay_pair_fds(void);
unsigned relay_pair_threads(void);

#endif
