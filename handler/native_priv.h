/* Between handler/native_*.c only. */
#ifndef HANDLER_NATIVE_PRIV_H
#define HANDLER_NATIVE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "handler/guest_wire.h"
#include "handler/native_guest.h"

#define NATIVE_CONFIG_FILE "config.json"
#define NATIVE_PID_FILE    "pid"
#define NATIVE_LOG_FILE    "guest.log"
#define NATIVE_FILE_MAX    (64u << 10) /* of any of them that is read */
#define NATIVE_CALL_US     10000000ull
#define NATIVE_KILL_MS     60000

struct native_guest {
    /* constant after it was made */
    char *dir, *uid, *name;
    uint64_t memory_bytes;
    bool incoming;
    pid_t pid;
    int pidfd; /* -1: gone when it was opened */
    atomic_bool held;
    /* guarded by mu: made on first use, constant then */
    pthread_mutex_t mu;
    int memfd; /* -1 = not yet */
    uint8_t *map;
    uint64_t hva;
    int throttle_fd; /* the connection that a throttle lasts for; -1 = none */
};

/* Held while a directory is without a pid file although its guest is being started. */
extern pthread_mutex_t native_spawn_mu;

/* Reads config.json. Takes pidfd when it succeeds; dir and uid are copied. */
int native_new(const char *dir, const char *uid, pid_t pid, int pidfd, struct native_guest **ret,
               struct err *err);
int native_uid_check(const char *uid, struct err *err);

/* --- native_proc.c --- */
/* Records the process of pid, which the caller knows to live, in DIR/pid. */
int native_proc_record(const char *dir, pid_t pid, struct err *err);
/* The process of DIR/pid: *ret_pidfd is -1 when it is gone (or its number is another's now).
 * -ENOENT: no such file. */
int native_proc_open(const char *dir, pid_t *ret_pid, int *ret_pidfd, struct err *err);
bool native_proc_alive(int pidfd);
/* Waits for its end; false when timeout_ms went by. */
bool native_proc_wait(int pidfd, int timeout_ms);
/* SIGKILL and wait. 0, or -errno. */
int native_proc_kill(int pidfd, struct err *err);

/* --- native_wire.c --- */
struct native_request {
    enum guest_wire_op op;
    uint64_t arg;
    const void *data;
    size_t len;
    uint64_t timeout_us; /* for the answer; 0 = NATIVE_CALL_US */
};

/* One request on a connection of its own. The answer's bytes go to buf: with ret_len at most cap of
 * them, without it (a struct) what is over cap is dropped and what is missing is zeroed. With
 * ret_fd a descriptor must come, the caller's. -ESRCH when the guest has ended; otherwise the
 * guest's own error, or what the socket says. */
int native_call(struct native_guest *g, const struct native_request *q, void *buf, size_t cap,
                size_t *ret_len, int *ret_fd, struct err *err);

/* The same on a connection that stays: *fd is made when it is -1, and closed, -1, on an error. */
int native_call_on(struct native_guest *g, int *fd, const struct native_request *q, void *buf,
                   size_t cap, size_t *ret_len, int *ret_fd, struct err *err);

#endif
