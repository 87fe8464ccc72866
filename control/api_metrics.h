/* The controller's figures: GET /metrics of its API server, in Prometheus' text format. Gauges are
 * counted from the store when they are asked for, so a restart changes nothing; histograms begin
 * with the process. docs/metrics.md is printed from the same table. Loop thread only. */
#ifndef CONTROL_API_METRICS_H
#define CONTROL_API_METRICS_H

#include "base/sb.h"

struct api;
struct api_call;

void api_metrics_start(struct api *a);
void api_metrics_stop(struct api *a);
int api_metrics(struct api_call *c); /* answers */
/* The table as Markdown. */
void api_metrics_docs(struct sb *out);

#endif
