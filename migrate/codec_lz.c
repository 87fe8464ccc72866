/* lz4 and zstd of a group of pages by their libraries; see codec.h. Their headers stay here. */
#include "migrate/codec.h"

#include <errno.h>
#include <lz4.h>
#include <stdlib.h>
#include <zstd.h>

#include "base/sb.h"

#define ZSTD_LEVEL 1 /* its fastest regular one: a migration waits for nobody's best ratio */

struct codec_lz {
    void *lz4;
    ZSTD_CCtx *zc;
    ZSTD_DCtx *zd;
};

struct codec_lz *
codec_lz_new(void)
{
    return xcalloc(1, sizeof(struct codec_lz));
}

void
codec_lz_free(struct codec_lz *z)
{
    if (!z)
        return;
    free(z->lz4);
    ZSTD_freeCCtx(z->zc);
    ZSTD_freeDCtx(z->zd);
    free(z);
}

size_t
codec_lz4(struct codec_lz *z, const void *in, size_t len, uint8_t *out, size_t room)
{
    int n;

    if (!z->lz4)
        z->lz4 = xcalloc(1, (size_t)LZ4_sizeofState());
    n = LZ4_compress_fast_extState(z->lz4, in, (char *)out, (int)len, (int)room, 1);
    return n > 0 ? (size_t)n : 0;
}

size_t
codec_zstd(struct codec_lz *z, const void *in, size_t len, uint8_t *out, size_t room)
{
    size_t n;

    if (!z->zc)
        z->zc = ZSTD_createCCtx();
    if (!z->zc)
        return 0;
    n = ZSTD_compressCCtx(z->zc, out, room, in, len, ZSTD_LEVEL);
    return ZSTD_isError(n) ? 0 : n;
}

int
codec_unlz4(const uint8_t *in, size_t len, void *out, size_t want)
{
    return LZ4_decompress_safe((const char *)in, out, (int)len, (int)want) == (int)want ? 0
                                                                                        : -EPROTO;
}

int
codec_unzstd(struct codec_lz *z, const uint8_t *in, size_t len, void *out, size_t want)
{
    if (!z->zd)
        z->zd = ZSTD_createDCtx();
    if (!z->zd)
        return -EPROTO;
    /* One call with room for all of it needs no window: memory does not grow with what the frame
     * claims. */
    return ZSTD_decompressDCtx(z->zd, out, want, in, len) == want ? 0 : -EPROTO;
}
