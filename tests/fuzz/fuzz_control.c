/* Control frames, one after the other, as they come off a connection. What decodes is encoded again
 * and must decode to the same. Seeds: DROVER_SEEDS=tests/fuzz/corpus build/.../test_control. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
again(const struct control_msg *m)
{
    AUTO_SB struct sb out = SB_INIT, out2 = SB_INIT;
    struct control_header h;
    struct control_msg back;

    control_encode(&out, m);
    if (control_decode_header((uint8_t *)out.buf, &h, NULL) != 0 ||
        control_decode(&h, (uint8_t *)out.buf + CONTROL_HEADER_SIZE, &back, NULL) != 0)
        abort();
    control_encode(&out2, &back);
    if (out.len != out2.len || memcmp(out.buf, out2.buf, out.len) != 0)
        abort();
    control_msg_done(&back);
}

/* The fuzzer cannot guess checksums: each payload is tried with a right one, too. */
static void
try_one(struct control_header h, const uint8_t *payload, uint32_t sum)
{
    AUTO_FREE uint8_t *exact = xmalloc(h.length + 1);
    struct control_msg m;
    struct err err = {0};

    memcpy(exact, payload, h.length);
    h.sum = sum;
    if (control_decode(&h, exact, &m, &err) != 0)
        return;
    again(&m);
    control_msg_done(&m);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    while (size >= CONTROL_HEADER_SIZE) {
        struct control_header h;
        struct err err = {0};

        if (control_decode_header(data, &h, &err) != 0)
            return 0;
        data += CONTROL_HEADER_SIZE;
        size -= CONTROL_HEADER_SIZE;
        if (h.length > size)
            h.length = (uint32_t)size;
        try_one(h, data, h.sum);
        try_one(h, data, control_sum(&h, data));
        data += h.length;
        size -= h.length;
    }
    return 0;
}
