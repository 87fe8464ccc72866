/* What a native guest writes, as a pure function of its configuration: step i of a vCPU goes to a
 * place and puts bytes there that follow from (seed, vCPU, i) alone. So the whole of memory can be
 * recomputed from the configuration and one step counter a vCPU, which is all the device state
 * there is. Used by the vCPU threads (guest_vcpu), by verify (guest_verify) and by tests that
 * damage memory.
 *
 * Each vCPU owns a slice of the working set, cut into streams that share no page (one stream; four
 * for `mix`). A stream walks a fixed cyclic schedule of `period` positions: its k-th step stands at
 * position k mod period, always at the same place with the same operation, with new content. What a
 * place holds was therefore written within the last period, or never. docs/native-guest.md
 * explains. No input or output, no state; any thread. */
#ifndef HANDLER_GUEST_WORKLOAD_H
#define HANDLER_GUEST_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "handler/guest_limits.h"

#define GUEST_PAGE_WORDS (GUEST_PAGE_BYTES / 8)

/* Values are part of the saved state: never reused. */
enum guest_workload {
    GUEST_IDLE = 0,        /* writes nothing */
    GUEST_SEQUENTIAL = 1,  /* whole pages, one after another */
    GUEST_HOTCOLD = 2,     /* whole pages; nine in ten go to the first tenth */
    GUEST_RANDOMWORDS = 3, /* single 8-byte words anywhere */
    GUEST_ZIPF = 4, /* 1 KiB values of a key-value store, half reads, popular keys far more often */
    GUEST_MIX = 5,  /* all four, each on a quarter */
    GUEST_WORKLOAD_COUNT
};

extern const char *const guest_workload_names[GUEST_WORKLOAD_COUNT + 1]; /* NULL-terminated */

struct guest_config {
    uint64_t memory_bytes, set_bytes, fill_bytes, zero_bytes; /* multiples of GUEST_PAGE_BYTES */
    uint64_t rate_bytes_per_s;
    uint64_t seed;
    uint32_t vcpus;
    enum guest_workload workload;
};

/* Rounds set, fill and zero up to pages and replaces set 0 by all of memory; then 0, or -EINVAL
 * with the field, its value and what is allowed. Nothing else here may be called with a
 * configuration that was not checked. */
int guest_config_check(struct guest_config *cfg, struct err *err);

enum guest_op { GUEST_OP_NONE, GUEST_OP_WRITE, GUEST_OP_READ };

struct guest_place {
    enum guest_op op;
    uint32_t page;       /* of the stream, 0..pages-1 */
    uint32_t first_word; /* in the page */
    uint32_t words;      /* written or read; 0 for NONE */
};

#define GUEST_MAX_STREAMS 4

struct guest_stream {
    enum guest_workload kind; /* never MIX */
    uint64_t first_page;      /* of memory */
    uint32_t pages;           /* 0 for IDLE */
    uint32_t period;          /* at least 1 */
    uint32_t hot_pages;       /* HOTCOLD */
    uint32_t keys, octaves;   /* ZIPF */
    uint64_t salt;
};

struct guest_plan { /* of one vCPU */
    struct guest_stream streams[GUEST_MAX_STREAMS];
    unsigned streams_len; /* 1 or 4 */
};

void guest_plan_init(struct guest_plan *p, const struct guest_config *cfg, unsigned vcpu);
/* Which stream step i of the vCPU belongs to; *ret_k is the number of that step in the stream. */
unsigned guest_plan_stream(const struct guest_plan *p, uint64_t i, uint64_t *ret_k);
/* How many of the first `steps` steps of the vCPU belong to stream s. */
uint64_t guest_plan_count(const struct guest_plan *p, unsigned s, uint64_t steps);

/* The place of position pos (0..period-1). */
void guest_stream_place(const struct guest_stream *s, uint32_t pos, struct guest_place *ret);
/* What the k-th step of the stream writes (if it writes), for guest_content_*. */
uint64_t guest_stream_key(const struct guest_stream *s, uint64_t k);

/* Content of a page before any step wrote to it: false when it is all zeros, else its key. */
bool guest_initial_key(const struct guest_config *cfg, uint64_t page, uint64_t *ret_key);

/* The words of a content key, from its word `first` on: written to dst by plain stores, in order;
 * or compared with src, giving the index of the first word that differs, or `words`. */
void guest_content_write(uint64_t key, uint32_t first, uint64_t *dst, uint32_t words);
uint32_t guest_content_compare(uint64_t key, uint32_t first, const uint64_t *src, uint32_t words);
uint64_t guest_content_word(uint64_t key, uint32_t i);

#endif
