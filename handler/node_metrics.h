/* The handler's figures in Prometheus' text format: what runs and has just ended on this node, by
 * VM, and sums and histograms of all that has ended since the handler was started. Loop thread.
 * docs/metrics.md is printed from the same table. */
#ifndef HANDLER_NODE_METRICS_H
#define HANDLER_NODE_METRICS_H

#include "base/sb.h"
#include "migrate/engine.h"

struct handler;
struct node_metrics;

struct node_metrics *node_metrics_new(void);
void node_metrics_free(struct node_metrics *m); /* NULL is fine */
/* A migration has ended here: of the source, outcome and cause count; of the target only st. */
void node_metrics_source_ended(struct node_metrics *m, const char *ns, const char *vm,
                               enum mig_outcome outcome, enum mig_cause cause,
                               const struct mig_stats *st, int64_t now_us);
void node_metrics_target_ended(struct node_metrics *m, const struct mig_stats *st);
/* All of it, as of now. */
void node_metrics_text(struct handler *h, struct sb *out);
/* The table as Markdown. */
void node_metrics_docs(struct sb *out);

#endif
