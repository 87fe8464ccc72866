/* The target of a relayed migration, as its files share it: libvirt_target.c (the run),
 * libvirt_target_domain.c (the domain that libvirt makes). */
#ifndef HANDLER_LIBVIRT_TARGET_INT_H
#define HANDLER_LIBVIRT_TARGET_INT_H

#include <pthread.h>

#include "handler/libvirt_api.h"
#include "handler/libvirt_conn.h"
#include "handler/libvirt_guest.h"
#include "handler/libvirt_mover.h"
#include "handler/limits.h"
#include "migrate/relay.h"
#include "proto/relay_msg.h"

struct lv_target {
    struct mover_target head;
    /* constant after target_new */
    struct mig_target_config cfg;
    struct hv_guest *guest; /* NULL: it is gone */
    struct lv_guest *g;     /* likewise */
    struct libvirt *lv;     /* likewise */
    const struct libvirt_api *api;
    struct relay_target *relay;
    struct relay_target *disks; /* run(): where disks are copied to; NULL = none are */
    pthread_mutex_t mu;
    pthread_cond_t cond; /* on CLOCK_MONOTONIC */
    /* guarded by mu */
    struct relay_msg queue[LV_TARGET_QUEUE];
    size_t queued;
    bool stop, source_lost, peer_gone;
    struct err broken; /* the first thing of the link that did */
    struct mig_stats stats;
    /* thread of run() */
    enum { LV_T_WAITING, LV_T_MIGRATING, LV_T_PREPARED, LV_T_SWITCHING, LV_T_POSTCOPY } state;
    bool paused;           /* by its user: it is not to run */
    uint64_t deadline_us;  /* of waiting for CHECK */
    uint64_t postcopy_us;  /* since when */
    uint64_t commit_at_us; /* COMMIT came */
};

/* What the domain here is. */
enum lv_here {
    LV_HERE_NONE,     /* there is none */
    LV_HERE_INCOMING, /* libvirt is not done with it */
    LV_HERE_WHOLE,    /* paused, all of it is here */
    LV_HERE_RUNS,     /* and all of it is here */
    LV_HERE_PARTLY,   /* it runs, or did, and memory is missing */
    LV_HERE_NOT_KNOWN /* libvirt does not answer */
};
enum lv_here lv_target_look(struct lv_target *t, struct err *err);
int lv_target_resume(struct lv_target *t, struct err *err);
/* Whether the guest of a CHECK can come here; why->reason is set when it cannot. */
int lv_target_check(struct lv_target *t, const struct relay_msg *m, struct hv_refusal *why,
                    struct err *err);
/* Nothing of the migration is left: domain, QEMU, sockets. Bounded. */
int lv_target_clean(struct lv_target *t, struct err *err);
/* libvirtd's socket, as the connection's URI has it. */
void lv_target_socket(struct libvirt *lv, char ret[RELAY_PATH_SIZE]);
void lv_target_path(const struct lv_target *t, const char *suffix, char ret[RELAY_PATH_SIZE]);

int lv_target_new(const struct mig_target_config *cfg, struct hv_guest *g,
                  struct mover_target **ret, struct err *err);
const char *lv_target_address(const struct mover_target *m);
const char *lv_target_fallback_address(const struct mover_target *m);
enum mig_target_outcome lv_target_run(struct mover_target *m, struct err *err);
int lv_target_relisten(struct mover_target *m, const char *ip, const char *device, bool trusted,
                       const char *fallback_ip, struct err *err);
void lv_target_stop(struct mover_target *m);
void lv_target_source_lost(struct mover_target *m);
size_t lv_target_damage(struct mover_target *m, struct mig_range *ret, size_t max);
void lv_target_stats(struct mover_target *m, struct mig_stats *ret);
void lv_target_free(struct mover_target *m);

#endif
