/* What libvirt says of a migration's job, as the engine's statistics, and what is to be done about it:
 * the same limits, means and words as the engine's own migrations, by the same controller
 * (migrate/converge.h). QEMU decides by itself when it switches over and how far it slows the guest
 * down; post-copy, pause and giving up are decided here. Pure: the time is passed in. */
#ifndef HANDLER_LIBVIRT_WATCH_H
#define HANDLER_LIBVIRT_WATCH_H

#include "migrate/converge.h"
#include "migrate/engine.h"

struct lv_job { /* of virDomainGetJobStats; 0 = not said */
    uint64_t memory_total, memory_remaining, memory_processed; /* bytes */
    uint64_t dirty_pages_per_s, page_size, iteration;
    uint64_t normal_pages, constant_pages;
    uint64_t downtime_ms; /* expected */
    uint64_t throttle_percent;
    uint64_t disk_total, disk_remaining;
};

struct lv_watch_config {
    uint64_t total_bytes;
    struct mig_limits limits;
    struct mig_policy policy;
    bool can_post_copy; /* libvirt was told that it may */
    uint64_t seed, link_bytes_per_s;
};

enum lv_todo { LV_GO_ON, LV_POST_COPY, LV_PAUSE, LV_GIVE_UP };

struct lv_watch { /* its own */
    struct lv_watch_config cfg;
    struct converge converge;
    struct stall stall;
    uint64_t started_us, round_us, last_us, last_processed, last_sent;
    uint64_t round_processed, round_bytes;
    uint64_t iteration;
    bool told, paused, post_copy, decided;
};

/* say: a sentence for the decision log (MIG_DECISION_TEXT bytes); "" = nothing. */
void lv_watch_init(struct lv_watch *w, const struct lv_watch_config *cfg, uint64_t now_us,
                   char *say);
/* After each look: st is brought up to date (what the job says of it), and what is to be done. sent:
 * bytes of its streams by now. With LV_GIVE_UP *ret_cause and err say why. */
enum lv_todo lv_watch_step(struct lv_watch *w, const struct lv_job *job, uint64_t sent_bytes,
                           uint64_t now_us, struct mig_stats *st, char *say,
                           enum mig_cause *ret_cause, struct err *err);
/* The limit in force is another; 0 = none. */
void lv_watch_limit(struct lv_watch *w, uint64_t bytes_per_s);
/* What was to be done could not be: it goes on as it was, and is not decided again. */
void lv_watch_failed(struct lv_watch *w, enum lv_todo what);

#endif
