/* The native guest as the handler sees it: a drover-guest process of its own session that outlives
 * the handler, one directory each, reached through its control socket. This is the driver behind
 * the port of migrate/guest.h. docs/native-guest.md has the files, the life and the control
 * protocol.
 *
 *   <state>/guests/<vmi-uid>/  config.json  what it was started with (native_find reads it)
 *                              pid          pid, start time and boot id: a reused pid is never
 * taken for it control      its socket (mode 0600) exit         why it ended, written by the guest
 * itself guest.log    its standard output and error
 *
 * Not here: which guest may run (the journal and the generation decide that), and what a guest does
 * inside (handler/guest_*). Every call that takes a struct err may block for a bounded time (stated
 * where it is more than 10 s) and may run on any thread; two threads may use one guest at the same
 * time, except that native_free, native_kill and native_remove want it for themselves. */
#ifndef HANDLER_NATIVE_GUEST_H
#define HANDLER_NATIVE_GUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "handler/guest_limits.h"
#include "migrate/guest.h"

struct native_guest;

struct native_config {
    const char *state_dir; /* the handler's; <state_dir>/guests is made when it is not there */
    const char *program;   /* path of drover-guest; NULL: beside the running program */
    const char *vmi_uid;   /* names the directory: letters, digits, '-', '.', '_'; at most 63 */
    const char *name;      /* NS/NAME, for people; may be NULL */
    uint64_t memory_bytes; /* a multiple of 4096 */
    /* An incoming guest takes all below from the state that is loaded into it. */
    bool incoming;
    unsigned vcpus;            /* 1..GUEST_MAX_VCPUS */
    const char *workload;      /* idle sequential hotcold randomwords zipf mix; NULL = idle */
    uint64_t rate_bytes_per_s; /* written by all vCPUs together; 0 = no steps */
    uint64_t set_bytes;        /* working set, rounded up to pages; 0 = all of memory */
    uint64_t fill_bytes;       /* random data at the start of memory, rounded up to pages */
    uint64_t zero_bytes;       /* pages written with zeros, right after the filled ones */
    uint64_t seed;             /* 0 = a fresh random one */
};

/* Whether guests can be started with this program (as in native_config): it is there. */
int native_ready(const char *program, struct err *err);
/* Starts a guest; 0 when it runs (or, incoming, waits) and its initial fill is done, which takes
 * about a second a GiB of fill_bytes on top. *ret is the caller's (native_free). On error nothing
 * stays: no process, no directory. -EEXIST: there is a directory for this uid (native_open tells
 * what is in it). */
int native_spawn(const struct native_config *cfg, struct native_guest **ret, struct err *err);

/* The guest of this uid, alive or ended (native_alive tells). -ENOENT: no such directory, or one in
 * which no process was ever started (it is removed). Never waits for the guest itself. */
int native_open(const char *state_dir, const char *vmi_uid, struct native_guest **ret,
                struct err *err);
/* All guests under state_dir, alive and ended, sorted by uid; each is the caller's (native_free)
 * and so is the array (free). Directories in which no process was ever started are removed. An
 * ended guest keeps its directory until native_remove, so that its end can be reported first. 0
 * guests is no error. */
int native_find(const char *state_dir, struct native_guest ***ret, size_t *ret_len,
                struct err *err);
/* Lets go of our handles (mapping, descriptors). The process runs on. NULL is fine. */
void native_free(struct native_guest *g);

/* Borrowed until native_free. */
const char *native_uid(const struct native_guest *g);
const char *native_name(const struct native_guest *g); /* "" when none was given */
const char *native_dir(const struct native_guest *g);
uint64_t native_memory_bytes(const struct native_guest *g);
bool native_was_incoming(const struct native_guest *g); /* started with `incoming` */

/* Its pid; 0 when the process was gone already when it was opened. */
pid_t native_pid(const struct native_guest *g);
/* Readable (LOOP_READ) once the process has ended, and from then on. Borrowed; -1 when it was gone
 * already when it was opened. */
int native_pidfd(const struct native_guest *g);
/* Whether the process lives. Never blocks. */
bool native_alive(const struct native_guest *g);

enum native_exit_kind {
    NATIVE_EXIT_NONE,    /* it lives */
    NATIVE_EXIT_QUIT,    /* in order: asked by native_quit, or SIGTERM */
    NATIVE_EXIT_FAILED,  /* it gave up by itself: text says why */
    NATIVE_EXIT_CRASHED, /* a signal such as SIGSEGV or SIGBUS; text names it */
    NATIVE_EXIT_KILLED   /* it left no word: SIGKILL, out of memory, power */
};

struct native_exit {
    enum native_exit_kind kind;
    char text[256]; /* one line for people */
};

/* Why the process ended. Reads one small file. */
void native_exit_reason(const struct native_guest *g, struct native_exit *ret);

/* SIGKILL to this process and no other, and waits until it is gone (up to 60 s: freeing much memory
 * takes time). 0 also when it was gone before. */
int native_kill(struct native_guest *g, struct err *err);
/* native_kill, then removes the directory. g stays valid for native_free (and its names), nothing
 * else. */
int native_remove(struct native_guest *g, struct err *err);
/* Asks it to end in order and waits until it has (-ETIMEDOUT after 10 s; native_kill then). */
int native_quit(struct native_guest *g, struct err *err);

enum native_state {
    NATIVE_INCOMING, /* waits for load_state */
    NATIVE_PAUSED,   /* no vCPU writes (also: loaded, not yet resumed) */
    NATIVE_RUNNING,
    NATIVE_ENDED /* the process is gone: native_exit_reason */
};
const char *native_state_name(enum native_state s); /* "incoming" "paused" "running" "ended" */

struct native_status {
    enum native_state state;
    bool verifying; /* a verify is under way (vCPUs are held for it) */
    bool pausing;   /* pause was asked for and not all vCPUs have stopped yet */
    uint64_t memory_bytes;
    unsigned vcpus;    /* 0 while incoming */
    char workload[16]; /* "" while incoming */
    uint64_t rate_bytes_per_s;
    uint64_t set_bytes, fill_bytes, zero_bytes;
    uint64_t steps; /* of all vCPUs, since the guest was first started, migrations included */
    uint64_t written_bytes;    /* likewise */
    uint64_t checked_reads;    /* likewise: reads that were compared with what was written */
    uint64_t read_mismatches;  /* of those; any makes verify fail */
    uint64_t resumes;          /* of this process; a migrated guest that runs has at least 1 */
    bool downtime_known;       /* loaded, resumed, and every vCPU has made a step since */
    uint64_t downtime_us;      /* longest gap between two steps of a vCPU around the last load */
    uint64_t last_gap_us;      /* the same around the last pause of any kind; 0 = none yet */
    unsigned throttle_percent; /* in force; 0 = none */
    bool throttle_writers;     /* only for vCPUs that write */
    uint64_t throttled_us;     /* that vCPUs slept for it in this process, all together */
};

/* Asks the guest. An ended one is no error: state is NATIVE_ENDED and memory_bytes is set. */
int native_status(struct native_guest *g, struct native_status *ret, struct err *err);

struct native_verify {
    bool ok;
    uint64_t pages;         /* checked: all of memory */
    uint64_t present_pages; /* that have memory behind them */
    uint64_t bad_pages;
    uint64_t read_mismatches;
    uint64_t steps;
    char text[512]; /* "" when ok; else what was found first: page, offset, expected, found */
};

/* Compares every byte of memory with what the steps done so far must have left. vCPUs are held
 * while it runs (a running guest goes on afterwards; resume and quit cut it short: -ECANCELED).
 * Blocks for about a second a GiB that is present, at most timeout_us (0 = an hour). -EINVAL while
 * incoming. A bad memory is not an error: ret->ok is false. */
int native_verify(struct native_guest *g, uint64_t timeout_us, struct native_verify *ret,
                  struct err *err);

int native_set_rate(struct native_guest *g, uint64_t rate_bytes_per_s, struct err *err);

/* Held: the port's resume does nothing, because a user paused the guest, so that a migration leaves it
 * paused on whichever side it is then. Forgotten with the handle. Any thread. */
void native_hold(struct native_guest *g, bool on);
bool native_held(const struct native_guest *g);

/* The port of migrate/guest.h. Borrows g, which must outlive its use. What the operations do
 * here: regions: one region; maps the memfd into this process on first use (kept until
 * native_free). userfaultfd: each call makes the guest close the one before and open a new one:
 * full where that is permitted, else user-mode-only. pause: waits until all vCPUs have stopped
 * (-ETIMEDOUT after 10 s, the request stands then). Pausing a paused guest and resuming a running
 * one are fine. resume of an incoming guest before load: -EINVAL. throttle: lasts until it is
 * lifted, or the connection that this keeps for it ends (native_free, the end of this process).
 * save_state: -EBUSY unless paused. The buffer is malloc'd; at most GUEST_MAX_STATE_BYTES.
 * load_state: -EBUSY unless incoming; afterwards the guest is paused. */
struct guest native_guest(struct native_guest *g);

#endif
