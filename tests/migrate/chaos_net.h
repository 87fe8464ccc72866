/* The network as it can be, between the two ends of a migration: a TCP relay that plays tricks. On
 * plain connections it knows frames, so that a trick can be played on "the first COMMIT"; on TLS it
 * sees bytes only. One thread; nothing in it blocks, because the two directions of a migration wait
 * for each other. */
#ifndef TESTS_MIGRATE_CHAOS_NET_H
#define TESTS_MIGRATE_CHAOS_NET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/sb.h"
#include "migrate/engine.h"

#define NET_CONNS  192
#define NET_TRICKS 4

enum net_effect {
    NET_CUT,     /* reset this connection */
    NET_CUT_ALL, /* reset all of them */
    NET_REFUSE,  /* the same, and no new one ever again */
    NET_HALF,    /* this direction ends properly, the other one goes on */
    NET_STALL,   /* nothing goes through, for a while */
    NET_HOLE,    /* nothing goes through any more, not even a reset */
    /* from here on the peer is told something else than was said */
    NET_FLIP,   /* one bit */
    NET_DUP,    /* the same again */
    NET_SWAP,   /* two in the wrong order */
    NET_DROP,   /* left out */
    NET_TRUNC,  /* cut short, and what follows moves up */
    NET_INSERT, /* garbage in between */
    NET_NOISE,  /* a bit of some page in every other frame from here on */
    NET_EFFECTS
};

enum net_when {
    NET_AT_BYTE,  /* n: of this direction of the connection */
    NET_AT_FRAME, /* n: the n-th frame, from 0 */
    NET_AT_TYPE,  /* the n-th control frame of this type, from 0 */
};

struct net_dir;

struct net_trick {
    enum net_effect effect;
    enum net_when when;
    bool data;      /* on a data connection, else on a control connection */
    bool to_source; /* direction */
    int connection; /* the n-th of its kind; -1 = the first that gets so far */
    uint64_t n;
    int type;
    unsigned place; /* with frames: 0 before it, 1 in its middle, 2 behind it */
    unsigned ms;    /* NET_STALL */
    uint64_t salt;  /* which bit, how many bytes */
    /* the net's: where it was played, and the bytes that this direction passed on since */
    const struct net_dir *where;
    uint64_t since;
};

struct net_dir {
    struct sb in, out; /* received and not yet looked at; to be sent */
    uint64_t passed;   /* bytes that were put into out */
    uint64_t frames, types[32];
    bool eof;       /* nothing more comes */
    bool shut;      /* and that was passed on */
    bool raw;       /* no frames can be seen */
    struct sb held; /* a frame that is to come after the next */
};

struct net_conn {
    int fd[2]; /* source's side, target's side; -1 = gone */
    bool known, data;
    int index;             /* among those of its kind */
    struct net_dir dir[2]; /* to target, to source */
    uint64_t stalled_until;
};

struct chaos_net {
    /* set before net_start */
    struct net_trick tricks[NET_TRICKS];
    unsigned tricks_len;
    bool framed;

    char addr[MIG_ADDR_SIZE]; /* where the source dials; valid after net_listen */
    char target[MIG_ADDR_SIZE];
    int listen_fd, stop_fd;
    pthread_t thread;
    bool running;
    atomic_bool played[NET_TRICKS];
    /* the thread's */
    struct net_conn conns[NET_CONNS];
    int conns_len, seen[2];
    bool hole, refuse;
    uint64_t stalled_until;
};

void net_listen(struct chaos_net *n);
void net_start(struct chaos_net *n, const char *target);
/* Also after net_listen alone. */
void net_stop(struct chaos_net *n);
bool net_tampers(enum net_effect e);
const char *net_effect_name(enum net_effect e);

#endif
