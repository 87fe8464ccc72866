/* The page stream: what travels on a data channel, source to target only. Fixed little-endian
 * headers, no protobuf. After the preamble and its answer, a channel carries frames:
 *
 *   header  40 bytes   magic "DRVP", version u8, type u8, pages u16, round u32, runs u32, bytes u64,
 *                      seq u64, head_sum u64
 *   records 16 bytes   one for each run: offset u64, bytes u32, pages u16, region u8, kind u8
 *   sums     8 bytes   one for each page that the payload carries or that was placed: XXH3-64 of
 *                      the page itself, whatever its encoding
 *   payload            run after run. raw: its pages; zero and placed: nothing; the others: `bytes`
 *                      bytes that decode to its pages (migrate/codec.h says how)
 *
 * An lz4 or zstd run with bytes 0 goes on with the group of the run before it, of the same kind: its
 * pages follow that run's in what the group decodes to. So pages that lie apart are compressed
 * together, at most FRAME_GROUP_PAGES of them. A delta is against what the target's memory holds;
 * that this is what the source thinks is proved by the page's sum alone, as every page is.
 *
 * head_sum covers the first 32 bytes of the header, all records and all sums, and is checked before
 * anything else is believed; a bad one ends the migration, because nothing behind it can be
 * trusted. A page whose own sum is bad is dropped, and the target asks for it again when the round
 * is confirmed (ROUND_DONE). That also happens to a page that the guest writes between summing and
 * sending, and it is one sum a page because of that: of a batch that waits for a slow link some
 * page is nearly always written meanwhile. A run lies inside one stripe of the channel's own
 * (layout.h).
 *
 * Decoders check everything against limits.h and the layout and give plain structs. Pure; any
 * thread. */
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "proto/layout.h"
#include "proto/limits.h"

#define FRAME_HEADER_SIZE 40
#define FRAME_RUN_SIZE    16
#define FRAME_SUM_SIZE    8
#define FRAME_MAX_HEAD \
    (FRAME_HEADER_SIZE + FRAME_MAX_RUNS * FRAME_RUN_SIZE + FRAME_MAX_RAW_PAGES * FRAME_SUM_SIZE)
#define FRAME_KIND_BIT(kind) (1u << (kind))
/* Kinds that every receiver takes; the others are agreed on in Hello and Accept. */
#define FRAME_KINDS_PLAIN   (FRAME_KIND_BIT(FRAME_RAW) | FRAME_KIND_BIT(FRAME_ZERO))
#define FRAME_PREAMBLE_SIZE 48
#define FRAME_ANSWER_SIZE   16
#define FRAME_REQUEST_SIZE  32

#define FRAME_URGENT_CHANNEL CONTROL_MAX_CHANNELS       /* number that the urgent channel shows */
#define FRAME_READ_CHANNEL   (CONTROL_MAX_CHANNELS + 1) /* and the one for the target's RDMA READs */

enum frame_type { /* wire values, never reused */
                  FRAME_BATCH = 1,
                  FRAME_ROUND_END = 2, /* the channel has sent all of its pages of this round */
                  FRAME_PAGES = 3, /* a batch of post-copy: `round` is the connection's epoch, and
                                      any channel may carry any page, because none changes */
};

enum frame_kind { /* wire values, never reused */
                  FRAME_RAW = 1,
                  FRAME_ZERO = 2,
                  FRAME_DELTA = 3,
                  FRAME_LZ4 = 4,
                  FRAME_ZSTD = 5,
                  FRAME_PLACED =
                      6, /* raw pages that an RDMA WRITE of the same lane has put into the
                                       guest's memory already: nothing of them is in the payload, but
                                       each has its sum */
};

struct frame_run {
    uint64_t offset; /* bytes into the region */
    uint32_t pages;
    uint16_t region;
    uint16_t kind;  /* enum frame_kind */
    uint32_t bytes; /* delta, lz4, zstd: of the encoded payload; 0: goes on with the group before.
                       raw, zero and placed: 0 */
};

struct frame_header {
    enum frame_type type;
    uint32_t round; /* 1 = first */
    uint32_t runs;
    uint32_t pages; /* that the payload carries, and those that were placed */
    uint64_t bytes; /* of the payload */
    uint64_t seq;   /* 0, 1, 2 ... of this channel */
    uint64_t head_sum;
};

/* Bytes of header, records and sums together. */
size_t frame_head_size(const struct frame_header *h);
/* Writes them to buf (frame_head_size bytes) and computes head_sum. sums: h->pages of them.
 * Returns the bytes written. */
size_t frame_encode(uint8_t *buf, const struct frame_header *h, const struct frame_run *runs,
                    const uint64_t *sums);
/* Checks one header alone: magic, version, type, counts. -EPROTO with a text. */
int frame_decode_header(const uint8_t buf[FRAME_HEADER_SIZE], struct frame_header *ret,
                        struct err *err);
/* buf: header, records and sums as received. Checks head_sum, each run (region, range, stripe, that
 * `channel` owns it, that its kind is in the set `kinds` of FRAME_KIND_BITs, its length), and that
 * pages and bytes add up to the header's. -EPROTO with a text. */
int frame_decode_runs(const uint8_t *buf, const struct frame_header *h, const struct layout *l,
                      uint32_t channel, uint32_t kinds, struct frame_run *ret_runs,
                      struct err *err);
/* Sum of page number i of the payload, from the same buffer. */
uint64_t frame_sum(const uint8_t *buf, const struct frame_header *h, uint32_t i);
/* What the sum of a page is. */
uint64_t frame_page_sum(const void *page);

/* First bytes of a data connection, source to target: binds it to one migration. */
struct frame_preamble {
    uint32_t channel;                  /* or FRAME_URGENT_CHANNEL, or (RDMA) FRAME_READ_CHANNEL */
    uint32_t epoch;                    /* of the connection that it belongs to, from Hello */
    uint64_t uid_sum;                  /* frame_uid_sum of the migration's uid */
    uint8_t token[CONTROL_TOKEN_SIZE]; /* secret, from Accept */
};

/* The target's answer. */
enum frame_answer { /* wire values, never reused */
                    FRAME_ANSWER_OK = 1,
                    FRAME_ANSWER_REFUSED = 2,
};

uint64_t frame_uid_sum(const char *migration_uid, uint64_t generation);
void frame_encode_preamble(uint8_t buf[FRAME_PREAMBLE_SIZE], const struct frame_preamble *p);
int frame_decode_preamble(const uint8_t buf[FRAME_PREAMBLE_SIZE], struct frame_preamble *ret,
                          struct err *err);
void frame_encode_answer(uint8_t buf[FRAME_ANSWER_SIZE], enum frame_answer a);
int frame_decode_answer(const uint8_t buf[FRAME_ANSWER_SIZE], enum frame_answer *ret,
                        struct err *err);
/* Target to source on the urgent channel, the only thing that travels against the stream: pages that
 * a guest waits for. 32 bytes: magic, version, region, pages, offset, sum of these. The answer is
 * FRAME_PAGES on the same channel. Decoding checks that they lie inside a stripe. -EPROTO. */
struct frame_request {
    uint64_t offset;
    uint32_t pages; /* 1 to FRAME_MAX_ASKED */
    uint16_t region;
};
void frame_encode_request(uint8_t buf[FRAME_REQUEST_SIZE], const struct frame_request *r);
int frame_decode_request(const uint8_t buf[FRAME_REQUEST_SIZE], const struct layout *l,
                         struct frame_request *ret, struct err *err);

/* Whether the first 4 bytes of a connection are those of a preamble. */
bool frame_is_preamble(const uint8_t magic[4]);

#endif
