/* One valid message of each control type, and one page-stream frame of each kind: for the codec
 * tests and, written to files, the seeds of the fuzz targets. */
#ifndef TESTS_PROTO_SAMPLES_H
#define TESTS_PROTO_SAMPLES_H

#include "proto/control.h"
#include "proto/frame.h"

#define SAMPLES_CONTROL 23

/* i from 0 to SAMPLES_CONTROL - 1; what it points to is static. */
void samples_control(unsigned i, struct control_msg *ret);
/* Memory of two regions and three channels. */
void samples_layout(struct layout *ret);
/* A batch of raw and zero runs that belong to channel 1; the runs are static. */
extern const uint64_t samples_sums[3]; /* of its three pages */
void samples_batch(struct frame_header *ret, const struct frame_run **ret_runs);
/* Writes every sample into DIR/control and DIR/frame, where fuzz_control and fuzz_frame expect
 * them. */
int samples_write(const char *dir);

#endif
