/* Two processes: this one (near: the source) and a far one (the target) that does what it is told, one
 * order at a time. Each is in a network namespace of its own, joined by a veth pair; or both are at one
 * address of a network that there is. To be used inside a house (bench_house.h). One thread. */
#ifndef BENCH_BENCH_SIDES_H
#define BENCH_BENCH_SIDES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "bench/bench_stat.h"
#include "migrate/engine.h"

#define BENCH_NEAR_IP "198.18.0.1"
#define BENCH_FAR_IP  "198.18.0.2"

#define BENCH_MAX_FAULTS 8192u

enum bench_job {
    BENCH_JOB_RAW,    /* receive a known number of bytes over plain TCP streams */
    BENCH_JOB_MOVE,   /* be the target of a migration, with a drover-guest */
    BENCH_JOB_FAULTS, /* be the target of a migration, with a guest that measures its page faults;
                         after the result come fault_len doubles: bench_sides_faults */
    BENCH_JOB_ECHO,   /* answer requests with 4 KiB until the connection ends */
    BENCH_JOB_RELAY,  /* be the far end of a relay, and receive what it carries */
};

struct bench_order {
    enum bench_job job;
    uint64_t bytes;   /* of memory */
    unsigned streams; /* RAW, RELAY */
    unsigned relay;   /* RELAY: of bench_relay_kinds */
    bool allocated;   /* the memory is touched before anything comes */
    bool encrypted;   /* RAW: AES-128-GCM records; MOVE: TLS */
    bool downtime;    /* MOVE: wait until the guest knows how long it stood */
    bool verify;      /* MOVE: every byte of the guest's memory, RAW, RELAY: a sum of it */
    bool trusted;     /* MOVE, FAULTS: the network is; so RDMA may be used */
};

struct bench_result { /* of the far side */
    int rc;
    char text[256];
    uint64_t sum;           /* RAW, RELAY: of the memory that arrived */
    uint64_t cpu_us;        /* user and system, of the far process while it received; RELAY: of the
                               relay's process */
    uint64_t downtime_us;   /* MOVE: as the guest's own clock saw it */
    struct mig_stats stats; /* MOVE, FAULTS */
    uint64_t faults;        /* FAULTS: that the guest had */
    uint32_t fault_len;     /* FAULTS: latencies of them that follow, at most BENCH_MAX_FAULTS */
};

struct bench_sides {
    pid_t far; /* 0 = none */
    int sock;
};

/* Forks the far side and moves this process into a namespace of its own. -EPERM: not root. After an
 * error, too, bench_sides_stop is called. */
int bench_sides_start(struct bench_sides *s, struct err *err);
/* The same with both in this network namespace, which this process moves to, and the far side's sockets
 * at this address of it (borrowed until bench_sides_stop). */
int bench_sides_start_at(struct bench_sides *s, int netns, const char *ip, struct err *err);
void bench_sides_stop(struct bench_sides *s);
/* Gives an order; ret_addr is where the far side listens for it now. */
int bench_sides_order(struct bench_sides *s, const struct bench_order *o,
                      char ret_addr[MIG_ADDR_SIZE], struct err *err);
/* Waits until the far side has received everything (its figures come later: bench_sides_result). */
int bench_sides_arrived(struct bench_sides *s, struct err *err);
int bench_sides_result(struct bench_sides *s, struct bench_result *ret, struct err *err);

/* Appends what the guest at the far side measured, in microseconds. After a result of FAULTS. */
int bench_sides_faults(struct bench_sides *s, const struct bench_result *r,
                       struct bench_samples *ret, struct err *err);

/* Identity that both sides use. */
extern const struct mig_ident bench_ident;

/* User and system time of this process so far, in microseconds. */
uint64_t bench_cpu_us(void);

/* bench_far.c: the far side's loop, for bench_sides.c; it listens at ip. Ends when sock does. */
void bench_far_loop(int sock, const char *ip);

#endif
