/* Encoding of batches at the source: what stands between the list of pages that a worker wants to
 * send (source_send.c) and the frame. A batch is either left alone (raw pages go straight from the
 * guest's memory) or encoded entirely: then its payload is a private copy, and no page of it can
 * change between its sum and its sending. Each worker has its own; only its thread uses it, but for
 * init and done. */
#ifndef MIGRATE_SOURCE_ENCODE_H
#define MIGRATE_SOURCE_ENCODE_H

#include <stdbool.h>
#include <stdint.h>

struct source_worker;
struct source_encode;

/* Makes w->encode after the handshake; NULL when policy or target leave nothing but raw. */
void source_encode_init(struct source_worker *w);
void source_encode_done(struct source_worker *w);

/* A send phase begins: time that passed before it does not count. */
void source_encode_begin(struct source_worker *w);
/* Encodes w->batch: true when it did. Then runs, runs_len, bytes and sums are the frame's, and the
 * payload lies at source_encode_payload; otherwise nothing has changed. */
bool source_encode_batch(struct source_worker *w);
/* The batch was sent: `bytes` on the wire, send_ns for holding back and sending. */
void source_encode_sent(struct source_worker *w, uint64_t bytes, uint64_t send_ns, bool encoded);

/* Where it encodes to: a buffer of FRAME_MAX_RAW_PAGES and two more pages that stays the caller's; NULL:
 * one of its own, as at first. */
void source_encode_into(struct source_worker *w, uint8_t *payload);
uint8_t *source_encode_payload(struct source_worker *w); /* that buffer; NULL: nothing is encoded */

/* It is not known that the target has what was sent of these pages last (it asked for them again, or
 * the connection was lost before it confirmed them): bit i of mask is page `page` + i, by number of
 * the layout. They travel whole next time. */
void source_encode_forget(struct source_worker *w, uint64_t page, uint64_t mask);

#endif
