/* How the bytes of a page travel when not as they are: pure kernels. Frames of them are in
 * proto/frame.h, the choice among them in codec_choose.h, the versions that deltas are made against
 * in codec_cache.h.
 *
 * Delta, of one page against another version of it:
 *   u64    one bit for each of the 64 blocks of 64 bytes: something in it changed
 *   then for each of those, in order:
 *   u8     one bit for each of its 8 words: it changed; never 0
 *   8 B..  the new values of those words as they lie in memory, in order
 * Masks are little-endian, bit 0 the first. It ends by itself: 8 bytes for a page that did not change, 17 for one changed
 * word. A few pages' deltas one after the other need no lengths.
 *
 * lz4 is one block of the LZ4 block format, zstd one frame, both of all pages of a group one after
 * the other.
 *
 * Encoders may be given memory that the guest writes meanwhile only where it says so. Decoders take
 * anything: they read no byte behind `len` and write no byte outside the page or the buffer. Pure
 * but for struct codec_lz, which belongs to one thread. */
#ifndef MIGRATE_CODEC_H
#define MIGRATE_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "proto/limits.h"

#define CODEC_DELTA_MAX   (8u + 64u * 65u) /* bytes of a delta in which every word changed */
#define CODEC_DELTA_SLACK 136u             /* bytes behind the budget that the encoder may write */

/* Encodes what turns base into page (LAYOUT_PAGE_BYTES each, at multiples of 64), and makes base
 * equal to it: each word of page is read once, so base and the delta agree even when the guest
 * writes page meanwhile. out: budget + CODEC_DELTA_SLACK bytes. Returns the bytes written, at most
 * budget; 0 when it would be more: then base is neither of both, and the caller fills it anew. */
size_t codec_delta(void *base, const void *page, uint8_t *out, size_t budget);
/* Changes page (LAYOUT_PAGE_BYTES, 8-byte aligned) as the delta at the start of in says.
 * *ret_used: its length. 0, or -EPROTO when it is none: then some of page may be changed. */
int codec_delta_apply(void *page, const uint8_t *in, size_t len, size_t *ret_used);

/* Contexts of the two libraries. Any thread, one at a time. */
struct codec_lz;
struct codec_lz *codec_lz_new(void);
void codec_lz_free(struct codec_lz *z);
/* in must not change meanwhile. Bytes written to out, or 0 when room bytes do not suffice. */
size_t codec_lz4(struct codec_lz *z, const void *in, size_t len, uint8_t *out, size_t room);
size_t codec_zstd(struct codec_lz *z, const void *in, size_t len, uint8_t *out, size_t room);
/* Decode to exactly `want` bytes. 0, or -EPROTO: then out holds anything. */
int codec_unlz4(const uint8_t *in, size_t len, void *out, size_t want);
int codec_unzstd(struct codec_lz *z, const uint8_t *in, size_t len, void *out, size_t want);

/* The implementations, for the test that compares them, and for codec_delta.c. NULL: not on this
 * machine. */
typedef size_t codec_delta_fn(void *base, const void *page, uint8_t *out, size_t budget);
codec_delta_fn codec_delta_plain;
codec_delta_fn *codec_delta_avx2(void);
codec_delta_fn *codec_delta_avx512(void);

#endif
