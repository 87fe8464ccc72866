/* What waits for a node: VMIs that have none, and migrations that look for a target. Follows
 * kube-scheduler's scheduling queue (1.31): what is new is tried at once, by priority and then by
 * age; what fits nowhere is tried again when something has changed that can help it, but not
 * before a backoff of 1 s, doubling to 10 s, has passed since the last time; and all after 5
 * minutes. Times are wall times. Part of control/loop_core.h's state. */
#ifndef CONTROL_LOOP_QUEUE_H
#define CONTROL_LOOP_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/types.h"

#define QUEUE_BACKOFF_FIRST_S 1
#define QUEUE_BACKOFF_MAX_S   10
#define QUEUE_FLUSH_S         300

/* What has changed, and what a refusal can be helped by. */
enum {
    QUEUE_ROOM = 1 << 0,  /* resources were freed */
    QUEUE_NODES = 1 << 1, /* nodes: new ones, their labels, taints, room, readiness */
    QUEUE_PEERS = 1 << 2, /* which VMs run where, their labels, and those of namespaces */
    QUEUE_ALL = QUEUE_ROOM | QUEUE_NODES | QUEUE_PEERS,
};

enum queue_state {
    QUEUE_READY,   /* to be tried in the next pass */
    QUEUE_BACKOFF, /* something has changed, but it was tried a moment ago */
    QUEUE_PARKED,  /* nothing has changed that can help */
    QUEUE_TRYING,  /* given out by loop_queue_pop */
};

struct queued {
    enum kind kind; /* VMI or VMIM */
    char *uid, *ns, *name;
    int64_t priority, queued_us;
    enum queue_state state;
    /* of the last attempt */
    unsigned attempts, helps; /* helps: the changes that can help */
    int64_t tried_us;
    const char *reason; /* a literal, or NULL: not tried yet */
    char *message;
    /* the events about it */
    unsigned said;
    int64_t said_us;
    /* loop_queue.c's */
    int64_t until_us;
    size_t pos;
    struct queued *next, **prev;
};

struct loop_queue;

struct loop_queue *loop_queue_new(void);
void loop_queue_free(struct loop_queue *q); /* NULL is fine */
/* The one of this uid; new ones are ready. queued_us: since when it waits. */
struct queued *loop_queue_add(struct loop_queue *q, enum kind kind, const struct meta *m,
                              int64_t priority, int64_t queued_us);
/* NULL when there is none. */
struct queued *loop_queue_find(const struct loop_queue *q, const char *uid);
/* It does not wait any more. Nothing when there is none. */
void loop_queue_drop(struct loop_queue *q, const char *uid);

/* The ready VMI that comes first: highest priority, then the longest queued, then by name; NULL when
 * there is none. It is QUEUE_TRYING until it is parked, dropped or put back. */
struct queued *loop_queue_pop(struct loop_queue *q);
/* It was given out, or was ready, and fits nowhere. reason is borrowed for ever (a literal). */
void loop_queue_park(struct loop_queue *q, struct queued *e, const char *reason,
                     const char *message, int64_t now_us);
/* It was given out, and that came to nothing: it is ready again. */
void loop_queue_put_back(struct loop_queue *q, struct queued *e);

/* Something has changed (QUEUE_ROOM | ...): what that can help is ready, now or after its backoff. */
void loop_queue_changed(struct loop_queue *q, unsigned what, int64_t now_us);
/* The same for a single one: what it asks for has changed. */
void loop_queue_retry(struct loop_queue *q, struct queued *e, int64_t now_us);
/* What has waited long enough by now becomes ready. */
void loop_queue_turn(struct loop_queue *q, int64_t now_us);
/* When loop_queue_turn has something to do next; 0: never. */
int64_t loop_queue_next_us(const struct loop_queue *q);
size_t loop_queue_count(const struct loop_queue *q);

/* What can help a VM that was refused with place()'s message. */
unsigned loop_queue_helps(const char *message);

#endif
