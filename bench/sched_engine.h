/* The two ways to a decision, one face: the engine that keeps what it knows between decisions
 * (sched/fast.h), and place(), the plain scan that it must agree with. */
#ifndef BENCH_SCHED_ENGINE_H
#define BENCH_SCHED_ENGINE_H

#include "base/err.h"
#include "sched/fast.h"

struct sched_engine {
    struct cluster *c;
    struct fast *fast; /* NULL: place() */
};

/* c is borrowed, and must outlive it. */
void sched_engine_open(struct sched_engine *e, struct cluster *c, bool plain);
void sched_engine_close(struct sched_engine *e);

/* The node for v, or NULL; where there is one, v is reserved there, unless keep is false. Borrowed
 * from the cluster. */
const char *sched_engine_place(struct sched_engine *e, const struct vmi *v, bool keep);
/* 0 when the engine says of v what place() says: node, message, total, and all nodes that share the
 * highest total; else -EBADMSG, and err says what differs. Nothing is reserved. */
int sched_engine_agrees(struct sched_engine *e, const struct vmi *v, struct err *err);

#endif
