/* The decoders of encoded pages. First byte: which; the rest: what a peer sent. Delta: also there
 * and back, the input being the new version. The sanitizer watches the edges of all buffers. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/sb.h"
#include "migrate/codec.h"

#define PAGE LAYOUT_PAGE_BYTES

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
apply(const uint8_t *in, size_t len)
{
    AUTO_FREE uint8_t *page = xcalloc(1, PAGE);
    size_t used = 0;

    if (codec_delta_apply(page, in, len, &used) == 0 && (used < FRAME_DELTA_MIN || used > len))
        abort();
}

static void
there_and_back(const uint8_t *in, size_t len)
{
    static _Alignas(64) uint8_t base[PAGE], page[PAGE], back[PAGE];
    uint8_t out[CODEC_DELTA_MAX + CODEC_DELTA_SLACK];
    size_t n, used;

    memset(base, 0x11, PAGE);
    memcpy(back, base, PAGE);
    memcpy(page, base, PAGE);
    for (size_t i = 0; i < len; i++)
        page[i * 37 % PAGE] ^= in[i];
    n = codec_delta(base, page, out, CODEC_DELTA_MAX);
    if (n == 0 || codec_delta_apply(back, out, n, &used) != 0 || used != n ||
        memcmp(back, page, PAGE) != 0 || memcmp(base, page, PAGE) != 0)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;

    size_t len = size - 1, want = (size_t)(data[0] / 4 + 1) * PAGE;
    AUTO_FREE uint8_t *in = xmalloc(len), *out = xmalloc(want);
    struct codec_lz *z = NULL;

    memcpy(in, data + 1, len);
    switch (data[0] % 4) {
    case 0:
        apply(in, len);
        break;
    case 1:
        there_and_back(in, len);
        break;
    case 2:
        (void)codec_unlz4(in, len, out, want);
        break;
    default:
        z = codec_lz_new();
        (void)codec_unzstd(z, in, len, out, want);
        codec_lz_free(z);
    }
    return 0;
}
