/* One domain as a guest, within handler/libvirt_guest*.c. libvirt_guest.h has the outside. */
#ifndef HANDLER_LIBVIRT_GUEST_INT_H
#define HANDLER_LIBVIRT_GUEST_INT_H

#include <pthread.h>

#include "handler/libvirt_conn.h"
#include "handler/libvirt_guest.h"
#include "handler/libvirt_target_name.h"

#define LV_MAX_COPIES 64 /* disks of a guest that a migration copies */

/* --- what its directory says (libvirt_record.c): written before the domain is made --- */

struct lv_record {
    char uid[64], namespace_[256], name[256]; /* of the VMI */
    char uuid[VIR_UUID_STRING_BUFLEN], domain[512];
    uint64_t memory_bytes;
    bool incoming; /* waits for the migration that brings it */
    char copies[LV_MAX_COPIES][LV_TARGET_NAME_SIZE];
    size_t copies_len;
    struct hv_exit exit; /* kind HV_EXIT_NONE: it has not ended, as far as was seen */
};

/* "6695eb01-f6a4-...", dashes anywhere, as bytes. */
bool lv_uuid_parse(const char *text, unsigned char *ret);
/* -EINVAL: not what a uid may be (it names a directory). */
int lv_record_check_uid(const char *uid, struct err *err);
/* dir: STATE/guests/UID, which must be there. */
int lv_record_write(const char *dir, const struct lv_record *r, struct err *err);
/* -ENOENT: there is no guest of libvirt's in dir. */
int lv_record_read(const char *dir, struct lv_record *ret, struct err *err);

/* --- one guest --- */

struct lv_guest {
    struct hv_guest head;
    const struct libvirt_api *api;
    struct lv_driver *d;
    char *dir, *full_name;
    unsigned char uuid[VIR_UUID_BUFLEN];

    pthread_mutex_t record_mu; /* while the record is written; taken before mu */
    pthread_mutex_t mu;
    struct lv_record rec; /* exit and incoming guarded by mu, the rest constant */
    /* guarded by mu */
    enum hv_state state; /* as of the last event or look */
    enum hv_pause pause;
    bool agent, lost; /* lost: libvirt does not answer */
    unsigned resets;
    bool migrating, moved; /* moved: a migration that is at work has taken the domain away */
    bool from_host;        /* the shutdown under way was the host's */
    bool removed;          /* its directory is going: nothing is written there any more */
    unsigned seq;          /* counts events: a look that one overtook is void */

    /* guarded by d->watch_mu */
    struct lv_guest *next_watched;
    bool changed;          /* and the watcher does not know yet */
    void (*fn)(void *ctx); /* set on the loop's thread, like the next */
    void *ctx;
};

struct lv_driver {
    struct hv_driver head;
    struct libvirt *lv;
    const struct libvirt_api *api;
    char *state_dir, *images, *vm_bridge;
    struct loop *loop;
    void (*changed)(void *ctx, bool up);
    void *ctx;
    pthread_mutex_t cpus_mu; /* from picking host CPUs until the domain has them */
    /* guarded by cpus_mu: whether lv_host_broken_feature was asked, and what it said */
    bool model_asked;
    const char *broken_feature;
    pthread_mutex_t watch_mu;
    /* guarded by watch_mu */
    struct lv_guest *watched;
    bool posted; /* a turn of the loop will look for guests that have changed, and at up */
    bool up, up_changed;
};

/* A guest of that record; it is told of events from now on. Its state is unknown until lv_guest_look. */
struct lv_guest *lv_guest_new(struct lv_driver *d, const char *dir, const struct lv_record *r);
/* Asks libvirt how the domain is. Blocks. -ENOTCONN. */
int lv_guest_look(struct lv_guest *g, struct err *err);
/* Its domain (the caller frees it), on a connection that the caller closes. -ESRCH: there is none. */
int lv_guest_domain(struct lv_guest *g, virConnectPtr *ret_c, virDomainPtr *ret_d, struct err *err);
/* Destroys and undefines the domain of this record, when there is one and it is ours. */
int lv_guest_wipe(struct libvirt *lv, const struct lv_record *r, struct err *err);
/* Tells the watcher that something has changed. */
void lv_guest_changed(struct lv_guest *g);
/* The driver's turn of the loop, soon. With watch_mu. */
void lv_driver_post_locked(struct lv_driver *d);

/* --- pure: libvirt's states and reasons as ours (libvirt_guest_state.c) --- */

enum hv_pause lv_pause_of_event(int detail);
enum hv_pause lv_pause_of_reason(int reason);
void lv_exit_of_event(int detail, bool from_host, struct hv_exit *ret);
void lv_exit_of_reason(int reason, struct hv_exit *ret);
/* One event of libvirt, applied; true when the record must be written. */
bool lv_guest_event_locked(struct lv_guest *g, const struct libvirt_event *ev);
/* What a look saw; the same. gone: libvirt has no such domain. */
bool lv_guest_seen_locked(struct lv_guest *g, bool gone, int state, int reason, bool agent);

/* --- starting (libvirt_start.c) --- */

int lv_start(struct lv_driver *d, const struct hv_want *w, struct hv_guest **ret,
             struct hv_refusal *why, struct err *err);

/* Why libvirt did not want the domain, from its last error on this thread: a reason by cause and its
 * message on one line. False: it is not about the domain (the connection, or a bug), and why is
 * unchanged. fallback: the reason when no cause is recognized. */
bool lv_refusal_of(const struct libvirt_api *api, const char *fallback, struct hv_refusal *why);

#endif
