/* The source of a relayed migration, as its files share it: libvirt_source.c (the run and what follows
 * it), libvirt_source_link.c (the other handler), libvirt_source_call.c (libvirt's call and job),
 * libvirt_source_end.c (what became of it: recovery and resolving). */
#ifndef HANDLER_LIBVIRT_SOURCE_INT_H
#define HANDLER_LIBVIRT_SOURCE_INT_H

#include <pthread.h>

#include "handler/libvirt_api.h"
#include "handler/libvirt_conn.h"
#include "handler/libvirt_gate.h"
#include "handler/libvirt_guest.h"
#include "handler/libvirt_mover.h"
#include "handler/libvirt_watch.h"
#include "handler/limits.h"
#include "migrate/relay.h"
#include "proto/relay_msg.h"

struct lv_call;

struct lv_source {
    struct mover_source head;
    /* constant after source_new */
    struct mig_source_config cfg;
    struct hv_guest *guest;
    struct lv_guest *g;
    struct libvirt *lv;
    const struct libvirt_api *api;
    pthread_mutex_t mu;
    pthread_cond_t cond; /* on CLOCK_MONOTONIC; something below has changed */
    /* guarded by mu */
    struct mig_source_config place; /* where to dial from and to, now */
    uint64_t bandwidth;
    bool cancel, stop;
    enum { LV_COMMIT_NOT_ASKED, LV_COMMIT_ASKING, LV_COMMIT_OVER } commit_state;
    int commit_rc; /* of LV_COMMIT_OVER */
    enum mig_cause commit_cause;
    struct err commit_err;
    bool committing, committed, commit_sent;
    bool closed;    /* it has failed: nothing commits any more */
    bool post_copy; /* it was asked to switch */
    bool finishing; /* Finish is on its way */
    bool switched;  /* and the guest is in post-copy: it runs there as soon as that arrives */
    char network_why[256];
    bool released; /* Finish's answer, or it could not be */
    bool ready, prepared, running, complete, answered, peer_gone;
    struct err broken;     /* the first thing of the link that did */
    struct relay_msg peer; /* READY, ANSWER or RUNNING: what it said last */
    enum mig_cause cause;  /* the first trouble */
    struct err err;
    struct mig_stats stats;
    uint64_t paused_us;                            /* the guest stood still since */
    uint64_t sent_before, cpu_before, wait_before; /* by relays that are gone */
    /* thread of run() */
    struct relay_source *relay,
        *disks; /* set and cleared under mu; disks: NULL = none are copied */
    struct lv_gate *gate;
    struct lv_call *call;
    virConnectPtr conn;
    virDomainPtr dom;
    bool user_paused; /* before it began */
    bool parallel, disk_copy;
    struct lv_watch watch;
    uint64_t limit;     /* that the watch knows */
    uint64_t speed_mib; /* that QEMU was told; 0 = none */
};

/* The first trouble counts. Returns rc. Any thread. */
int lv_source_trouble(struct lv_source *s, enum mig_cause cause, int rc, const struct err *why);
void lv_source_say(struct lv_source *s, const char *text); /* into the decision log */

/* Connection and domain, for libvirt's call. */
int lv_source_attach(struct lv_source *s, struct err *err);
/* The gate and libvirt's call; resume: goes on with a post-copy that broke. */
int lv_source_begin(struct lv_source *s, bool resume, struct err *err);
int lv_source_wait(struct lv_source *s, struct err *err); /* for its end; what the call returned */

/* --- libvirt_source_link.c --- */
/* Dials the target, and makes the sockets that QEMU and (through the gate) libvirt get. */
int lv_link_open(struct lv_source *s, enum mig_cause *ret_cause, struct err *err);
/* A second one, to where READY says, for the disks that are copied. */
int lv_link_open_disks(struct lv_source *s, enum mig_cause *ret_cause, struct err *err);
void lv_link_close(struct lv_source *s);
void lv_link_stats(struct lv_source *s); /* what the relay says of itself */
void lv_link_cut(struct lv_source *s);   /* what libvirt and QEMU have open */
int lv_link_send(struct lv_source *s, struct relay_msg *m, struct err *err);
/* Until *flag (of s, guarded by mu), trouble, or the end of us: -ETIMEDOUT, with what waited for. */
int lv_link_await(struct lv_source *s, const bool *flag, uint64_t us, const char *what,
                  struct err *err);
/* FINISH, PREPARED, and the commit of this side. 0: from now on this copy must not run again by itself.
 * Any thread, once. */
int lv_link_commit(struct lv_source *s, enum mig_cause *ret_cause, struct err *err);
void lv_link_path(const struct lv_source *s, const char *suffix, char ret[RELAY_PATH_SIZE]);

/* --- libvirt_source_call.c --- */
/* virDomainMigrateToURI3 on a thread of its own. resume: goes on with a post-copy that broke. */
int lv_call_start(struct lv_source *s, bool resume, struct err *err);
bool lv_call_ended(struct lv_source *s, int *ret_rc, struct err *err);
void lv_call_let_go(struct lv_source *s); /* it may still hang in libvirt */
/* One look at the job; what the policy calls for is done. */
void lv_call_watch(struct lv_source *s, uint64_t now_us);

/* --- libvirt_source_end.c --- */
enum lv_truth {
    LV_RUNS_HERE, /* or is paused by its user, and nothing of a migration is left */
    LV_GONE,      /* there is no domain any more, or it is shut off */
    LV_PAUSED,    /* by the migration; nothing but us will resume it */
    LV_BROKEN,    /* post-copy failed: both are needed */
    LV_MOVING,    /* libvirt is at work on it */
    LV_NOT_KNOWN  /* libvirt does not answer */
};
/* A migration, a save, a backup, whoever asked for it. */
bool lv_source_has_job(const struct libvirt_api *api, virDomainPtr dom);
/* What the domain here really is. */
enum lv_truth lv_source_look(struct lv_source *s, struct err *err);
void lv_source_silence(struct lv_source *s);
/* After a failure: until the guest runs here as before. */
void lv_source_restore(struct lv_source *s);
/* A committed migration that is not known to be over: asks both sides until it is, or (once) reports
 * UNKNOWN. May go on with a post-copy. */
enum mig_outcome lv_source_settle(struct lv_source *s, bool once, struct err *err);

enum mig_outcome lv_source_resolve(const struct mig_source_config *cfg, struct hv_guest *g,
                                   struct err *err);
struct mover_source *lv_source_new(const struct mig_source_config *cfg, struct hv_guest *g);
enum mig_outcome lv_source_run(struct mover_source *m, enum mig_cause *ret_cause, struct err *err);
bool lv_source_cancel(struct mover_source *m);
void lv_source_stop(struct mover_source *m);
void lv_source_redirect(struct mover_source *m, const char *addr, const char *fallback_addr);
void lv_source_rebind(struct mover_source *m, const char *local_ip, const char *device,
                      bool trusted, const char *why);
void lv_source_set_bandwidth(struct mover_source *m, uint64_t bytes_per_s);
void lv_source_stats(struct mover_source *m, struct mig_stats *ret);
void lv_source_free(struct mover_source *m);

#endif
