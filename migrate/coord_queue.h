/* Who may migrate now: the limits of a cluster and of a source node, the order of those who wait,
 * the backoff between failed evacuations, and which finished attempts are kept. Pure; called by
 * control/loop_migration*.c. Rules: liveMigrationConfig in the OpenShift
 * Virtualization 4.15 documents, KubeVirt's migration controller. */
#ifndef MIGRATE_COORD_QUEUE_H
#define MIGRATE_COORD_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "migrate/coord.h"

#define COORD_KEEP_FINISHED   5
#define COORD_BACKOFF_FIRST_S 20
#define COORD_BACKOFF_MAX_S   320

/* Upstream's numbers: system-critical, and a user's plain request. Higher goes first. */
enum coord_class { COORD_CLASS_USER = 0, COORD_CLASS_EVACUATION = 100 };

struct coord_entry {
    const char *ns, *name, *vmi; /* borrowed */
    const char *node;            /* recorded source, else the VMI's node */
    enum coord_class class_;
    int64_t created_us, pending_us; /* creation, first seen */
};

/* qsort-style order of those who wait: class, creation, when it was first seen, namespace/name. */
int coord_entry_cmp(const struct coord_entry *a, const struct coord_entry *b);

struct coord_queue;

/* per_cluster and per_node below 0 count as 0 (nothing is admitted). */
struct coord_queue *coord_queue_new(int64_t per_cluster, int64_t per_node);
void coord_queue_free(struct coord_queue *q);
/* e holds a slot from now on. Borrowed until coord_queue_free. */
void coord_queue_hold(struct coord_queue *q, const struct coord_entry *e);
/* True: a slot is free for e (coord_queue_hold takes it). False: *ret_reason (a literal) and
 * message say why not, naming those who hold them. */
bool coord_queue_allows(const struct coord_queue *q, const struct coord_entry *e,
                        const char **ret_reason, char *message, size_t size);
size_t coord_queue_held(const struct coord_queue *q);

/* One attempt to migrate a VMI. */
struct coord_attempt {
    const char *name;
    enum coord_phase phase;
    bool deleting;
    int64_t created_us, ended_us;
};

/* Until when a new evacuation of the VMI waits, given the evacuations before it: 20, 40, 80, 160,
 * 320 s after the newest one failed, by how many failed in a row since the last success. Attempts
 * that are being deleted do not count. 0: need not wait. ret_failures may be NULL. Sorts a. */
int64_t coord_backoff_until_us(struct coord_attempt *a, size_t len, unsigned *ret_failures);
/* Sorts a: the newest COORD_KEEP_FINISHED finished ones and all unfinished ones first; returns how
 * many of the tail may be deleted. */
size_t coord_retention(struct coord_attempt *a, size_t len);

#endif
