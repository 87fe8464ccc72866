/* How a guest gets from here to there: the two ends of a migration as vm_source.c and vm_target.c see
 * them. Implemented for native guests by migrate/engine.h (handler/mover_engine.c) and for domains by
 * relaying libvirt's and QEMU's own streams (handler/libvirt_source.c, libvirt_target.c over
 * migrate/relay.h). The meaning of every call, hook and outcome is that of migrate/engine.h: the same
 * two-phase commit, the same statistics, decisions and causes. What a method does not have (encodings,
 * faults) stays 0. config.guest is not used: the guest is `g`. */
#ifndef HANDLER_MOVER_H
#define HANDLER_MOVER_H

#include "handler/hv.h"
#include "migrate/engine.h"

struct mover_source { /* the head of the implementation's own structure */
    const struct mover *mover;
};
struct mover_target {
    const struct mover *mover;
};

struct mover {
    const char *method; /* "engine" "relay": for the decision log and the result */

    struct mover_source *(*source_new)(const struct mig_source_config *cfg, struct hv_guest *g);
    enum mig_outcome (*source_run)(struct mover_source *s, enum mig_cause *ret_cause,
                                   struct err *err);
    bool (*source_cancel)(struct mover_source *s);
    void (*source_stop)(struct mover_source *s);
    void (*source_redirect)(struct mover_source *s, const char *addr, const char *fallback_addr);
    void (*source_rebind)(struct mover_source *s, const char *local_ip, const char *device,
                          bool trusted, const char *why);
    void (*source_set_bandwidth)(struct mover_source *s, uint64_t bytes_per_s);
    void (*source_stats)(struct mover_source *s, struct mig_stats *ret);
    void (*source_free)(struct mover_source *s);
    /* g: the guest here; NULL: there is none any more. */
    enum mig_outcome (*source_resolve)(const struct mig_source_config *cfg, struct hv_guest *g,
                                       struct err *err);

    /* g: the incoming guest (HV_INCOMING); NULL while recovering when it is gone. */
    int (*target_new)(const struct mig_target_config *cfg, struct hv_guest *g,
                      struct mover_target **ret, struct err *err);
    const char *(*target_address)(const struct mover_target *t);
    const char *(*target_fallback_address)(const struct mover_target *t);
    enum mig_target_outcome (*target_run)(struct mover_target *t, struct err *err);
    int (*target_relisten)(struct mover_target *t, const char *ip, const char *device, bool trusted,
                           const char *fallback_ip, struct err *err);
    void (*target_stop)(struct mover_target *t);
    void (*target_source_lost)(struct mover_target *t);
    size_t (*target_damage)(struct mover_target *t, struct mig_range *ret, size_t max);
    void (*target_stats)(struct mover_target *t, struct mig_stats *ret);
    void (*target_free)(struct mover_target *t);
};

extern const struct mover mover_engine; /* handler/mover_engine.c */
extern const struct mover mover_relay;  /* handler/libvirt_mover.c; without libvirt: never used */

#endif
